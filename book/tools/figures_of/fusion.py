"""The diagram of the chapter on fusion."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "Words look at regions, and one vector gives a verdict",
        "A picture goes through a frozen encoder to R tokens of D numbers, the whole "
        "picture and its regions; a caption goes through a text encoder to T words "
        "of D numbers. A learned token joins the words, and each of the T + 1 tokens "
        "has H numbers. In each of two blocks tokens read each other, then read the "
        "picture's tokens by cross-attention; token, what it read and the product of "
        "both go through a small network and are added to the token. The largest value "
        "over the tokens and a linear map give one vector, from which the verdicts are "
        "told.",
    )
    diagram.row(
        x=("tensor", "pictures\n(B, 3, 64, 64)"),
        y=("tensor", "captions\n(B, T) int64"),
    )
    diagram.row(
        seen=("frozen", "image encoder"),
        read=("network", "text encoder"),
    )
    diagram.row(
        x1=("tensor", "whole and regions\n(B, R, D), R = 65"),
        x2=("tensor", "words x₂\n(B, T, D)"),
    )
    diagram.row(
        places=("network", "norm, + places\nx₁ (B, R, D)"),
        enter=("network", "enter; token c joins\nx (B, T + 1, H)"),
    )
    diagram.row(own=("network", "two blocks: x + A(x, x)\nwords read each other"))
    diagram.row(across=("network", "r = A₁(x, x₁)\nwords read regions"))
    diagram.row(mlp=("network", "x + MLP([x; r; x ⊙ r])\n(B, T + 1, H)"))
    diagram.row(
        h=("network", "largest, linear\n(B, D)"),
        v=("tensor", "verdicts\n(B, 9) logits"),
        gap=12,
    )
    diagram.arrows(
        *(("x", "seen"), ("seen", "x1"), ("x1", "places")),
        *(("y", "read"), ("read", "x2"), ("x2", "enter"), ("enter", "own")),
        *(("own", "across"), ("across", "mlp"), ("mlp", "h"), ("h", "v")),
    )
    diagram.arrow("places", "across", side="left")
    return diagram


DIAGRAMS = {"fusion-architecture": _architecture()}
