"""The diagram of the chapter on alignment."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "Two towers and the matrix between them",
        "A picture goes through convolutions, its mean and largest values and a "
        "linear map to a vector v; a caption goes through a recurrent network over its "
        "words and a linear map to a vector t. Both vectors have D numbers and are "
        "divided by their lengths. All pictures of the batch with all captions give a "
        "matrix of cosines, B by B, which a learned scale multiplies. Cross-entropies "
        "over rows and over columns make the loss; entries on the diagonal are the "
        "right answers.",
    )
    diagram.row(
        x=("tensor", "pictures x\n(B, 3, H, W)"),
        y=("tensor", "captions\n(B, T) int64"),
    )
    diagram.row(
        seen=("network", "convolutions\nmean and maximum"),
        read=("network", "recurrent network\nlast real word"),
    )
    diagram.row(
        to_v=("network", "linear, length 1"),
        to_t=("network", "linear, length 1"),
    )
    diagram.row(v=("tensor", "v\n(B, D)"), t=("tensor", "t\n(B, D)"))
    diagram.row(s=("tensor", "scores s = scale · v tᵀ\n(B, B), pairs on the diagonal"))
    diagram.row(
        rows=("loss", "each picture\nchooses in its row"),
        columns=("loss", "each caption\nchooses in its column"),
        gap=12,
    )
    diagram.arrows(
        *(("x", "seen"), ("seen", "to_v"), ("to_v", "v"), ("v", "s")),
        *(("y", "read"), ("read", "to_t"), ("to_t", "t"), ("t", "s")),
        *(("s", "rows"), ("s", "columns")),
    )
    return diagram


DIAGRAMS = {"alignment-architecture": _architecture()}
