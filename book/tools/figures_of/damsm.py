"""The diagram of the chapter on DAMSM."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "DAMSM",
        "A caption goes through a bidirectional LSTM to word features e and a sentence "
        "feature; a picture goes through a convolutional encoder to region features v "
        "and one feature of the whole picture. For every picture with every caption of "
        "the batch, words attend to regions, which gives a matrix of word scores R, B "
        "by B; the cosine of sentence and whole picture gives a second matrix. "
        "Cross-entropies over the rows and the columns of both are added up to the "
        "loss.",
    )
    diagram.row(
        text=("tensor", "captions\n(B, T) tokens"),
        image=("tensor", "pictures\n(B, 3, 64, 64)"),
        gap=26,
    )
    diagram.row(
        reads=("network", "text encoder\nbidirectional LSTM"),
        sees=("network", "image encoder\nconvolutions"),
    )
    diagram.row(
        sentence=("tensor", "sentence\nē (B, D)", 0.84),
        words=("tensor", "words\ne (B, T, D)", 1.1),
        regions=("tensor", "regions\nv (B, D, N)", 1.1),
        whole=("tensor", "whole\nv̄ (B, D)", 0.92),
    )
    diagram.row(
        attention=(
            "tensor",
            "attention: softmax over words,\nthen softmax over regions",
        )
    )
    diagram.row(
        scores=("tensor", "word scores R (B, B)\nsentence scores cos(v̄, ē) (B, B)"),
        gap=30,
    )
    diagram.row(
        loss=("loss", "cross-entropy of rows and of columns\nL₀ʷ + L₁ʷ + L₀ˢ + L₁ˢ"),
        gap=36,
    )
    diagram.note("N = 8 × 8 regions. AttnGAN has 17 × 17, from a frozen")
    diagram.note("Inception-v3 trunk; here all weights are trained.")
    diagram.arrows(
        *(("text", "reads"), ("image", "sees"), ("reads", "sentence")),
        *(("reads", "words"), ("sees", "regions"), ("sees", "whole")),
        *(("words", "attention"), ("regions", "attention"), ("scores", "loss")),
    )
    diagram.arrow("attention", "scores", "c (B, B, T, D)")
    diagram.arrow("sentence", "scores", side="left")
    diagram.arrow("whole", "scores", side="right")
    return diagram


DIAGRAMS = {"damsm-architecture": _architecture()}
