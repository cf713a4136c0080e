"""The diagram of the chapter on DAMSM."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "DAMSM",
        "A caption goes through a text encoder to word features and a sentence "
        "feature; a picture goes through an image encoder to region features and one "
        "feature of the whole. Words attend to regions, which gives a score for each "
        "picture and caption; so do the sentence and the whole picture; the "
        "contrastive loss wants the right pair's score to be the largest.",
    )
    diagram.row(
        text=("tensor", "captions\n(B, T) tokens"),
        image=("tensor", "pictures\n(B, 3, H, W)"),
    )
    diagram.row(
        reads=("network", "text encoder\nbidirectional LSTM"),
        sees=("network", "image encoder\nconvolutions"),
    )
    diagram.row(
        sentence=("tensor", "ē\n(B, D)", 0.8),
        words=("tensor", "e\n(B, T, D)"),
        regions=("tensor", "v\n(B, R, D)"),
        whole=("tensor", "v̄\n(B, D)", 0.8),
    )
    diagram.row(attention=("tensor", "words attend to regions"))
    diagram.row(loss=("loss", "contrastive loss over B × B pairs"), gap=12)
    for start, end in (
        *(("text", "reads"), ("image", "sees"), ("reads", "sentence")),
        *(("reads", "words"), ("sees", "regions"), ("sees", "whole")),
        *(("words", "attention"), ("regions", "attention")),
    ):
        diagram.arrow(start, end)
    diagram.arrow("attention", "loss", "word scores (B, B)")
    diagram.arrow("sentence", "loss", side="left")
    diagram.arrow("whole", "loss", side="right")
    return diagram


DIAGRAMS = {"damsm-architecture": _architecture()}
