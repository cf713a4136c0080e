"""The diagram of the chapter on joint training."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "Three parts, three likelihoods",
        "A caption goes through M, a causal Transformer, to states s, (B, T + 1, W). A "
        "linear map of the states gives the logits of the next word: the term text. A "
        "picture goes through an image encoder to its tokens, (B, 1 + R, D); F fuses "
        "them with each state, and a linear map of the result is added to these "
        "logits: the term multi. Without a picture, F fuses the states of all words to "
        "one vector, (B, D). It is added to the start of the codes, and the states to "
        "the words; G, a causal Transformer over words and codes, gives the logits of "
        "the next code, (B, N, K): the term generate.",
    )
    diagram.row(
        t=("tensor", "caption t\n(B, T) words"),
        x=("tensor", "picture x\n(B, 3, H, W)"),
    )
    diagram.row(
        m=("network", "M: causal Transformer"),
        look=("network", "image encoder,\ncoordinates"),
    )
    diagram.row(
        s=("tensor", "states s\n(B, T + 1, W)"),
        v=("tensor", "tokens of x\n(B, 1 + R, D)"),
    )
    diagram.row(
        words=("network", "linear map: logits\n(B, T, V)"),
        fuse=("network", "F: f(x, s) of each state;\nf(∅, s) of all of them", 1.2),
    )
    diagram.row(
        text=("loss", "text\n−log p(tᵢ|t<ᵢ)"),
        added=("network", "+ U f(x, s) + c\n(B, T, V)", 1.1),
        whole=("tensor", "f(∅, s)\n(B, D)", 0.7),
    )
    diagram.row(
        multi=("loss", "multi\n−log p(tᵢ | t<ᵢ, x)"),
        g=("network", "G: words + s,\nstart + f(∅, s), codes"),
    )
    diagram.row(
        generate=("loss", "generate\n−log p(kⱼ | k<ⱼ, t)"),
        k=("tensor", "logits of codes\n(B, N, K)"),
        gap=12,
    )
    diagram.arrows(
        *(("t", "m"), ("m", "s"), ("x", "look"), ("look", "v"), ("s", "words")),
        *(("s", "fuse"), ("v", "fuse"), ("words", "text"), ("words", "added")),
        *(("fuse", "added"), ("fuse", "whole"), ("added", "multi"), ("whole", "g")),
        *(("g", "k"), ("k", "generate")),
    )
    return diagram


DIAGRAMS = {"joint-architecture": _architecture()}
