"""The diagram of the chapter on codes."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "A picture as codes, and back",
        "The encoder turns a picture into a grid with a vector for each 8 x 8 pixels. "
        "The quantiser gives each vector the number of the nearest of K vectors in a "
        "codebook, and that vector in its place. The decoder paints a picture from the "
        "grid of chosen vectors. On the way back the gradient skips the quantiser and "
        "goes straight from the chosen vectors to the encoder. The reconstruction "
        "loss compares the two pictures, the commitment loss holds vectors to their "
        "codes, and the codebook follows the vectors.",
    )
    diagram.row(x=("tensor", "picture x\n(B, 3, 8h, 8w)"))
    diagram.row(encoder=("network", "encoder: a network for each square"))
    diagram.row(z=("tensor", "vectors z\n(B, D, h, w)"))
    diagram.row(quantiser=("network", "nearest of the codebook\n(K, D)"))
    diagram.row(k=("tensor", "codes k\n(B, h, w) int64"))
    diagram.row(q=("tensor", "chosen vectors z + sg[e_k − z]\n(B, D, h, w)"))
    diagram.row(decoder=("network", "decoder: convolutions over all places"))
    diagram.row(mean=("tensor", "reconstruction x̂\n(B, 3, 8h, 8w)"))
    diagram.row(
        hold=("loss", "β ‖z − sg[e_k]‖²\ncommitment"),
        fit=("loss", "distance of x and x̂\nreconstruction"),
        gap=12,
    )
    diagram.arrows(
        *(("x", "encoder"), ("encoder", "z"), ("z", "quantiser")),
        *(("quantiser", "k"), ("k", "q")),
        *(("q", "decoder"), ("decoder", "mean")),
    )
    diagram.arrow("mean", "fit", "compared with x")
    diagram.arrow("q", "z", "gradient, straight through", side="right")
    diagram.arrow("z", "hold", side="left")
    return diagram


DIAGRAMS = {"codes-architecture": _architecture()}
