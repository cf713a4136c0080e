"""The diagram of the chapter on captioning."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "A state asks the regions, and the next word is told",
        "A picture goes through an encoder to one vector for the whole and R vectors "
        "for its regions, D numbers each; to a region's vector a map of its "
        "coordinates is added. The whole gives the first state h and memory c of an "
        "LSTM, H numbers each. Then, for every word: the state asks the regions, and "
        "softmax weights over the R regions give one vector of D numbers, which a gate "
        "multiplies. This vector and the word before go into the LSTM, which gives the "
        "new state. From the word before, the new state and the vector come V logits "
        "of the next word, which is read in the next step.",
    )
    diagram.row(x=("tensor", "pictures x\n(B, 3, 64, 64)"))
    diagram.row(encoder=("network", "image encoder, norm; coordinates added"))
    diagram.row(
        whole=("tensor", "whole v̄\n(B, D)"),
        regions=("tensor", "regions v\n(B, R, D), R = 64"),
    )
    diagram.row(
        first=("network", "first: h₀, c₀\n(B, H) each"),
        attention=("network", "attention, gate\nα (B, R), v̂ (B, D)"),
    )
    diagram.row(
        last=("tensor", "word before\n(B,) int64"),
        cell=("network", "LSTM of [e; v̂]\nh, c (B, H) each"),
    )
    diagram.row(words=("network", "linear(tanh(e + Lₕh + Lᵥv̂))"))
    diagram.row(logits=("tensor", "next word\n(B, V) logits"), gap=12)
    diagram.arrows(
        *(("x", "encoder"), ("encoder", "whole"), ("encoder", "regions")),
        *(("whole", "first"), ("regions", "attention"), ("first", "attention")),
        *(("attention", "cell"), ("last", "cell"), ("last", "words")),
        *(("cell", "words"), ("words", "logits")),
    )
    diagram.arrow("cell", "attention", "h", side="right")
    diagram.arrow("logits", "last", side="left")
    return diagram


DIAGRAMS = {"captioning-architecture": _architecture()}
