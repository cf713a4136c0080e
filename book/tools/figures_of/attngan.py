"""The diagram of the chapter on AttnGAN."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "AttnGAN",
        "The frozen text encoder gives words e and a sentence. Conditioning "
        "augmentation turns the sentence into c; F0 turns c and noise z into features "
        "h0 of 64 by 64 pixels. F1 and F2 each let every pixel attend to the words e "
        "and double the resolution, to 128 and 256. A head draws a picture from each "
        "h, and a discriminator of its own size scores it, without and with the "
        "sentence. The last picture also goes through the frozen image encoder of "
        "DAMSM, whose matching loss compares it with words and sentence.",
    )
    diagram.row(caption=("tensor", "caption\n(B, T) tokens"), gap=26)
    diagram.row(text=("frozen", "text encoder of DAMSM"), gap=30)
    diagram.row(
        words=("tensor", "words e\n(B, T, D)"),
        sentence=("tensor", "sentence ē\n(B, D)"),
        gap=30,
    )
    diagram.row(
        noise=("tensor", "noise z\n(B, Z)", 0.6),
        augment=("network", "augmentation\nc = μ + εσ  (B, C)"),
        gap=34,
    )
    for i, (stage, side) in enumerate(
        (
            ("F₀: linear,\ndouble", 64),
            ("attention, F₁:\ndouble", 128),
            ("attention, F₂:\ndouble", 256),
        )
    ):
        diagram.row(
            **{
                f"stage{i}": ("network", stage),
                f"image{i}": ("tensor", f"x̂{'₀₁₂'[i]} (B, 3,\n{side}, {side})"),
                f"score{i}": ("network", f"D{'₀₁₂'[i]}: logits\nDᵘ and Dᶜ", 0.92),
            },
            gap=36,
        )
        diagram.arrow(f"stage{i}", f"image{i}")
        diagram.arrow(f"image{i}", f"score{i}")
        diagram.arrow("sentence", f"score{i}", side="right")
        if i:
            diagram.arrow("words", f"stage{i}", side="left")
            before = f"h{'₀₁'[i - 1]} (B, N, {side // 2}, {side // 2})"
            diagram.arrow(f"stage{i - 1}", f"stage{i}", before)
    diagram.row(match=("frozen", "image encoder of DAMSM"), gap=34)
    diagram.row(loss=("loss", "λ L_DAMSM: does x̂₂ match e and ē?"), gap=12)
    diagram.arrows(
        *(("caption", "text"), ("text", "words"), ("text", "sentence")),
        *(("sentence", "augment"), ("noise", "stage0"), ("augment", "stage0")),
        ("image2", "match"),
    )
    diagram.arrow("match", "loss", "regions, and the whole picture")
    return diagram


DIAGRAMS = {"attngan-architecture": _architecture()}
