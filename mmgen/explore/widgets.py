"""Explorers: pictures computed once, then looked through without a running kernel.

The pages of the built book have no Python behind them, so a callback would be dead
there. All frames are therefore part of the widget, and sliders and stack are linked in
the browser: the same explorer works in Jupyter and in the book, by mouse or by keys.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

from mmgen.explore.digests import mean_colour
from mmgen.explore.figures import _to_pixels

_MAXIMUM_BYTES = 700_000  # two explorers and the figures keep a page under 3 MB


def _encode(frame: Any) -> str:
    """A picture as the data URL of a lossless WebP or PNG, whichever is smaller."""
    from PIL import Image

    picture = Image.fromarray(_to_pixels(frame))
    versions = []
    for kind, options in (("webp", {"lossless": True}), ("png", {"optimize": True})):
        buffer = io.BytesIO()
        picture.save(buffer, format=kind, **options)
        content = base64.b64encode(buffer.getvalue()).decode()
        versions.append(f"data:image/{kind};base64,{content}")
    return min(versions, key=len)


def _tile(frame: Any, label: str, size: int) -> Any:
    """One frame as a widget; the label is what a screen reader says for the picture.

    Written as HTML because ipywidgets' Image has no alternative text, and its tooltip
    stops the whole widget from being drawn (ipywidgets 8.1).
    """
    import ipywidgets

    return ipywidgets.HTML(
        f'<img src="{_encode(frame)}" alt="{html.escape(label)}" width="{size}" '
        'style="image-rendering: pixelated; max-width: 100%; border-radius: 4px">'
    )


def _slider(labels: Sequence[str], description: str, start: int = 0) -> Any:
    """A slider over named positions."""
    import ipywidgets

    return ipywidgets.SelectionSlider(
        options=list(labels),
        value=labels[start],
        description=description,
        continuous_update=True,
        style={"description_width": "initial"},
        layout={"width": "100%"},
    )


def _explorer(children: Sequence[Any], summary: str) -> Any:
    """The finished box; ``summary`` is its plain text, the same on every machine."""
    import ipywidgets

    class Explorer(ipywidgets.VBox):
        def _repr_mimebundle_(self, **kwargs: Any) -> Any:
            bundle = super()._repr_mimebundle_(**kwargs)
            # the default text prints the bytes of every frame
            return {**bundle, "text/plain": summary}

    box = Explorer(list(children), layout={"max_width": "34rem", "width": "100%"})
    box.add_class("mmgen-explorer")
    return box


def _with_digest(summary: str, frames: Sequence[Any], varies: bool) -> str:
    """The plain text of an explorer: what it offers, and its frames' mean colours."""
    if varies:
        return summary
    # a single word: some readers see it, and the words of a chapter are counted
    colours = ",".join(mean_colour(_to_pixels(frame)) for frame in frames)
    return f"{summary}\n{colours}"


def _check_size(tiles: Sequence[Any]) -> None:
    """Refuse frames that would make the page slow to load."""
    size = sum(len(tile.value) for tile in tiles)
    if size > _MAXIMUM_BYTES:
        raise ValueError(
            f"the frames of an explorer may take {_MAXIMUM_BYTES // 1000} kB; these "
            f"take {size // 1000} kB. Show fewer or smaller ones."
        )


def _check_labels(labels: Sequence[str], count: int, name: str) -> None:
    if count < 2 or len(labels) != count:
        raise ValueError(
            f"{name} must be at least two, one for each frame; got {len(labels)} "
            f"labels for {count} frames."
        )
    if len(set(labels)) != len(labels):
        raise ValueError(f"{name} must be distinct; got {list(labels)}.")


def frames_explorer(
    frames: Sequence[Any],
    labels: Sequence[str],
    description: str,
    size: int = 224,
    *,
    varies: bool = False,
) -> Any:
    """A slider through frames that needs no kernel.

    Args:
        frames: pictures: tensors (3, H, W) in [-1, 1], PIL images or (H, W, 3) uint8.
            Small ones; the browser enlarges them.
        labels: what each frame shows; read beside the slider and by screen readers.
        description: what the slider changes.
        size: width of the shown picture, CSS pixels.
        varies: as for ``show``; the plain text leaves the frames' colours out.

    Returns:
        An ipywidgets box; make it the last line of a cell.

    Raises:
        ValueError: fewer than two frames, labels that are doubled or of another number,
            or frames that would make the page too large.
    """
    import ipywidgets

    _check_labels(labels, len(frames), "labels")
    tiles = [_tile(f, label, size) for f, label in zip(frames, labels, strict=True)]
    _check_size(tiles)
    stack = ipywidgets.Stack(tiles, selected_index=0)
    slider = _slider(labels, description)
    ipywidgets.jslink((slider, "index"), (stack, "selected_index"))
    summary = (
        f"Explorer with {len(tiles)} pictures. {description}: {', '.join(labels)}."
    )
    return _explorer([slider, stack], _with_digest(summary, frames, varies))


def grid_explorer(
    frames: Sequence[Sequence[Any]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    row_description: str,
    column_description: str,
    size: int = 224,
    start: tuple[int, int] = (0, 0),
    *,
    varies: bool = False,
) -> Any:
    """Two sliders over a table of frames, without a kernel.

    Args:
        frames: rows of pictures, as for ``frames_explorer``.
        row_labels, column_labels: what changes from row to row, and along a row.
        row_description, column_description: names of the two sliders.
        size: width of the shown picture, CSS pixels.
        start: row and column of the picture that is shown first.
        varies: as for ``show``; the plain text leaves the frames' colours out.

    Returns:
        An ipywidgets box; make it the last line of a cell.

    Raises:
        ValueError: rows of different lengths, labels that do not match the table, a
            start outside it, or frames that would make the page too large.
    """
    import ipywidgets

    _check_labels(row_labels, len(frames), "row_labels")
    for row in frames:
        _check_labels(column_labels, len(row), "column_labels")
    if not (0 <= start[0] < len(row_labels) and 0 <= start[1] < len(column_labels)):
        raise ValueError(
            f"start must be a place in the table of {len(row_labels)} x "
            f"{len(column_labels)} frames; got {start}."
        )
    rows_slider = _slider(row_labels, row_description, start[0])
    columns_slider = _slider(column_labels, column_description, start[1])
    rows = []
    for row, row_label in zip(frames, row_labels, strict=True):
        tiles = [
            _tile(frame, f"{row_label}; {label}", size)
            for frame, label in zip(row, column_labels, strict=True)
        ]
        stack = ipywidgets.Stack(tiles, selected_index=start[1])
        ipywidgets.jslink((columns_slider, "index"), (stack, "selected_index"))
        rows.append(stack)
    _check_size([tile for stack in rows for tile in stack.children])
    table = ipywidgets.Stack(rows, selected_index=start[0])
    ipywidgets.jslink((rows_slider, "index"), (table, "selected_index"))
    summary = (
        f"Explorer with {len(rows)}x{len(column_labels)} pictures. "
        f"{row_description}: {', '.join(row_labels)}. "
        f"{column_description}: {', '.join(column_labels)}."
    )
    every = [frame for row in frames for frame in row]
    children = [rows_slider, columns_slider, table]
    return _explorer(children, _with_digest(summary, every, varies))
