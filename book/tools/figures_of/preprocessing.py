"""The diagram of the chapter on preprocessing."""

from diagrams import Diagram


def _path() -> Diagram:
    diagram = Diagram(
        "From files to a batch, and to scores",
        "Files of pictures are decoded, turned upright, brought to eight bits, scaled "
        "and cut, and become bytes B, 3, H, W, then numbers in minus one to one. "
        "Captions are cut into tokens, numbered by a vocabulary and padded to B, T. A "
        "matcher turns both into vectors of D numbers and compares all pictures with "
        "all captions of the batch. Vocabulary, mean and deviation come from training "
        "pairs alone.",
    )
    diagram.row(
        files=("tensor", "picture files\nJPEG, PNG, ..."),
        texts=("tensor", "captions\nUTF-8"),
        gap=26,
    )
    diagram.row(
        decode=("network", "decode, turn,\n8 bits, RGB"),
        tokens=("network", "cut into tokens\nnumber, pad"),
    )
    diagram.row(
        square=("network", "scale, cut a square"),
        rows=("tensor", "tokens, mask\n(B, T)"),
    )
    diagram.row(
        images=("tensor", "pictures in [−1, 1]\n(B, 3, H, W)"),
        words=("network", "vectors of tokens,\ntheir mean"),
    )
    diagram.row(
        thumbnail=("network", "thumbnail, scaled,\nlinear layer"),
        v=("tensor", "v (B, D)"),
    )
    diagram.row(u=("tensor", "u (B, D)"), scores=("tensor", "scores S\n(B, B)"))
    diagram.row(loss=("loss", "cross-entropy of rows and of columns"), gap=26)
    diagram.arrows(
        *(("files", "decode"), ("decode", "square"), ("square", "images")),
        *(("texts", "tokens"), ("tokens", "rows"), ("rows", "words")),
        *(("images", "thumbnail"), ("thumbnail", "u"), ("words", "v")),
        *(("v", "scores"), ("scores", "loss")),
    )
    diagram.arrow("u", "scores")
    return diagram


DIAGRAMS = {"preprocessing-path": _path()}
