"""The diagram of the chapter on flow matching and diffusion."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "A Transformer from a noisy point, its time and a caption to a velocity",
        "The latents of a picture x, (B, C, h, w), and noise of the same shape are "
        "mixed to the point at time t. Each of its N places becomes a token, "
        "(B, N, D), with a learned vector of the place added. The tokens pass through "
        "blocks: attention among the tokens, attention to the words of the caption, a "
        "network for each token. The time, (B,), becomes shifts, scales and gates of "
        "these three, (B, 9 D). A last linear map gives the velocity, (B, C, h, w). In "
        "training the loss is its squared distance from x minus noise; in drawing the "
        "point moves along it by one step.",
    )
    diagram.row(
        x=("tensor", "latents of a\npicture, noise"),
        t=("tensor", "time t\n(B,)", 0.7),
        c=("tensor", "caption c\n(B, T) words", 0.9),
    )
    diagram.row(
        point=("tensor", "(1 − t) ε + t x\n(B, C, h, w)"),
        waves=("network", "waves,\nnetwork", 0.7),
        table=("network", "text encoder", 0.9),
    )
    diagram.row(
        enter=("network", "linear map\n+ place", 0.8),
        set=("tensor", "shifts, scales,\ngates (B, 9 D)"),
        words=("tensor", "word vectors\n(B, T, D)", 0.9),
    )
    diagram.row(
        block=(
            "network",
            "blocks: attention among tokens, attention\n"
            "to words, network for each token",
        )
    )
    diagram.row(last=("network", "norm, shifted and scaled by\nthe time, linear map"))
    diagram.row(u=("tensor", "velocity u\n(B, C, h, w)"))
    diagram.row(
        step=("tensor", "in drawing: a step\nfrom the point along u", 1.2),
        loss=("loss", "in training:\n‖u − (x − ε)‖²"),
        gap=12,
    )
    diagram.arrows(("x", "point"), ("t", "waves"), ("c", "table"), ("point", "enter"))
    diagram.arrows(("waves", "set"), ("table", "words"))
    diagram.arrow("enter", "block", "(B, N, D)")
    diagram.arrows(("set", "block"), ("words", "block"))
    diagram.arrow("block", "last", "(B, N, D)")
    diagram.arrows(("last", "u"), ("u", "loss"), ("u", "step"))
    diagram.arrow("step", "point", side="left")
    return diagram


DIAGRAMS = {"flow-architecture": _architecture()}
