"""Unpicked pictures with what the exact measure says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from mmgen.data.shapes.verdict import NOT_SHOWN
from mmgen.explore.figures import (
    _FAINT,
    _new_figure,
    _place_picture,
    _place_text,
    _set_fonts,
    _to_pixels,
    _wrap,
)
from mmgen.metrics.semantic import SemanticReport, semantic_accuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT, WRONG, UNCLEAR = "right", "wrong", "not recognisable"
# a frame's colour and its sign: told apart without colours too
SIGNS = {
    RIGHT: ("#00664b", "\u2713"),
    WRONG: ("#a8400a", "\u2717"),
    UNCLEAR: ("#333333", "?"),
}
# the later, the more a reason for it says
_TELLING = ("count", "relation", "background", "position", "size", "colour", "shape")
_BETWEEN = 0.04  # a picture and the real one beside it, inches


def verdict_words(report: SemanticReport) -> list[tuple[str, str]]:
    """Of each picture "right", "wrong" or "not recognisable", and in what.

    A picture is not recognisable where something that its caption demands is false
    because nobody could name it; wrong where all that is false could be named.
    """
    words = []
    for verdict, why in zip(report.verdicts, report.reasons, strict=True):
        false = [name for name, right in verdict.items() if not right]
        unclear = [name for name in false if why.get(name, NOT_SHOWN) != NOT_SHOWN]
        if not false:
            words.append((RIGHT, ""))
        elif unclear:
            # an odd outline says more than what is left over of it
            words.append((UNCLEAR, why[max(unclear, key=_TELLING.index)]))
        else:
            words.append((WRONG, ", ".join(false)))
    return words


def verdicts(
    images: Tensor,
    captions: Sequence[str],
    real: Tensor | None = None,
    columns: int = 4,
    *,
    title: str | None = None,
    tile: float = 0.85,
) -> Figure:
    """Pictures, each framed by its verdict, with the real picture beside it.

    Args:
        images: (B, 3, H, W) in [-1, 1], the first of a seed and not chosen.
        captions: one a picture, in the words of Shapes.
        real: pictures of the data set for the same captions, same shape.
        columns: pictures in a row.
        title: line above the grid; how many are right is added to it.
        tile: side of a picture, inches.

    Raises:
        ValueError: as ``semantic_accuracy``, or another number of real pictures.
    """
    if real is not None and len(real) != len(images):
        raise ValueError(
            f"real must hold one picture for each of {len(images)}; got {len(real)}."
        )
    report = semantic_accuracy(images, captions)
    words = verdict_words(report)
    heading = f"{report.overall.successes} of {report.overall.n} right"
    title = f"{title}: {heading}" if title else heading
    wide = tile if real is None else 2 * tile + _BETWEEN
    texts = []
    for caption, (kind, what) in zip(captions, words, strict=True):
        said = f"{SIGNS[kind][1]} {kind}" + (f": {what}" if what else "")
        texts.append((_wrap(caption, wide * 13.5), _wrap(said, wide * 13.5), kind))
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    gap, line, top = 0.14, 0.15, 0.4  # inches
    pitch = (
        tile + gap + line * max(len(above) + len(below) for above, below, _ in texts)
    )
    width, height = columns * (wide + gap) + gap, rows * pitch + top
    figure = _new_figure(width, height, layout="none")
    for i, (above, below, kind) in enumerate(texts):
        left = gap + (i % columns) * (wide + gap)
        bottom = height - top - (i // columns) * pitch - tile
        colour, middle, beneath = SIGNS[kind][0], left + wide / 2, bottom - 0.04
        drawn = _to_pixels(images[i])
        _place_picture(figure, drawn, left, bottom, tile, colour, 2)
        if real is not None:
            beside = left + tile + _BETWEEN
            _place_picture(figure, _to_pixels(real[i]), beside, bottom, tile, _FAINT, 1)
        _place_text(figure, above, middle, beneath)
        _place_text(figure, below, middle, beneath - line * len(above), colour)
    figure.suptitle(title, fontsize=10.5, y=1 - 0.1 / height, va="top")
    _set_fonts(figure)
    return figure
