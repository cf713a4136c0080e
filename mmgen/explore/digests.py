"""A few rounded numbers for what a figure plots, in place of its pixels.

A comparison of pixels fails with every version of matplotlib and every font. These
lines follow the data alone: they change when a curve or a picture does, and stay when
another processor changes the last bits.
"""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# People write 0.125, which lies between two roundings, where the last bit decides. A
# little more than that lies on one side.
_ASIDE = 1.00007
_DIGITS = 3  # of the largest value
_COLOUR_STEP = 5  # of 255: a small object of another colour moves a mean by 7
_PICTURES_IN_A_LINE = 8
# which of these letters is drawn depends on the fonts of the machine
_WITH_FONTS = re.compile(r"[\u2e80-\uffef]")


def numbers(values: Any) -> str:
    """The range of some values, the means of four equal parts, and the way along them.

    The way is the sum of all steps from one value to the next, up or down: a single
    point that moves changes it, where a mean hides the point.

    Args:
        values: any shape, in their order; what is not finite is left out.
    """
    import numpy as np

    flat = np.asarray(values, dtype=float).ravel()
    flat = flat[np.isfinite(flat)]
    peak = np.abs(flat).max(initial=0.0) * _ASIDE
    if not flat.size or not peak:
        return "0" if flat.size else "none"
    # all by the scale of the largest, or the noise of a sum near zero would show
    decimals = _DIGITS - 1 - math.floor(math.log10(peak))

    def rounded(value: float) -> str:
        near = round(float(value) * _ASIDE, decimals) + 0.0  # no "-0"
        return f"{near:.{max(decimals, 0)}f}"

    parts = [part.mean() for part in np.array_split(flat, min(4, flat.size))]
    means = ", ".join(rounded(part) for part in parts)
    way = np.abs(np.diff(flat)).sum()
    span = f"{rounded(flat.min())} to {rounded(flat.max())}"
    return f"{span}, by quarters {means}, way {rounded(way)}"


def mean_colour(pixels: Any) -> str:
    """A picture's mean colour, "#rrggbb", in which the lower right counts most.

    So it changes with the place of an object too.

    Args:
        pixels: (H, W, 3) or (H, W, 4), 0 to 255, or 0 to 1 as floats.
    """
    import numpy as np

    picture = np.asarray(pixels)[..., :3]
    if picture.dtype.kind == "f":
        picture = picture * 255
    height, width = picture.shape[:2]
    rows, columns = np.linspace(0.4, 1.6, height), np.linspace(-0.4, 0.4, width)
    weights = (rows[:, None] + columns) / (height * width)
    mean = np.einsum("hwc,hw->c", picture, weights)
    steps = np.rint(mean * _ASIDE / _COLOUR_STEP).astype(int)
    return "#" + "".join(f"{_COLOUR_STEP * step:02x}" for step in steps)


def pictures(all_pixels: Sequence[Any], varies: bool = False) -> list[str]:
    """Lines on pictures as ``mean_colour`` takes them: how many, how large, which.

    Args:
        all_pixels: the pictures, in order.
        varies: leave the colours out.
    """
    sizes = sorted({f"{one.shape[1]} x {one.shape[0]}" for one in all_pixels})
    head = f"pictures {len(all_pixels)}, of {' and '.join(sizes)} pixels"
    if varies:
        return [head]
    colours = [mean_colour(one) for one in all_pixels]
    rows = range(0, len(colours), _PICTURES_IN_A_LINE)
    return [head, *(" ".join(colours[i : i + _PICTURES_IN_A_LINE]) for i in rows)]


def digest(figure: Figure, varies: bool = False) -> str:
    """What a figure plots, in a few lines of plain text.

    Args:
        figure: any matplotlib figure.
        varies: count panels, curves, points, pictures and texts only.

    Returns:
        Lines for the pictures and panels in their order, and one for all texts: their
        number and, as four hexadecimal digits, a sum that changes with any of them.
    """
    lines = []
    for plain, group in itertools.groupby(figure.axes, key=_is_picture):
        axes = list(group)
        if plain:
            shown = [axis.images[0].get_array() for axis in axes]
            lines += pictures(shown, varies)
        else:
            lines += [line for axis in axes for line in _panel(axis, varies)]
    words = _texts(figure)
    text = f"texts {len(words)}"
    if not varies:
        content = _WITH_FONTS.sub("\u25a1", "\n".join(words))
        text += f", {zlib.crc32(content.encode()) & 0xFFFF:04x}"
    return "\n".join([*lines, text])


def _is_picture(axis: Axes) -> bool:
    """Whether a panel holds one picture and nothing else."""
    others = (axis.lines, axis.collections, axis.patches)
    return len(axis.images) == 1 and _coloured(axis.images[0]) and not any(others)


def _coloured(image: Any) -> bool:
    return image.get_array().ndim == 3


def _panel(axis: Axes, varies: bool) -> Iterable[str]:
    """What one panel plots: a line for each curve, cloud, bar or map."""
    scales = [
        f"{name} {scale}"
        for name, scale in (("x", axis.get_xscale()), ("y", axis.get_yscale()))
        if scale != "linear"
    ]
    drawn = len(axis.lines) + len(axis.collections) + len(axis.patches)
    yield ", ".join([f"panel of {drawn + len(axis.images)}", *scales])
    for curve in axis.lines:
        yield _points("curve", curve.get_xydata(), varies)
    for collection in axis.collections:
        points: Any = collection.get_offsets()
        if len(points) < 2:  # not a cloud of points but areas or segments
            points = _joined([path.vertices for path in collection.get_paths()])
        yield _points("points", points, varies)
        shades = collection.get_array()
        if shades is not None and not varies:
            yield f"their shades: {numbers(shades)}"
    for patch in axis.patches:
        corners = patch.get_patch_transform().transform(patch.get_path().vertices)
        yield _points("area", corners, varies)
    for image in axis.images:
        values: Any = image.get_array()
        if _coloured(image):
            yield from pictures([values], varies)
            continue
        size = f"map of {values.shape[1]} x {values.shape[0]}"
        down, across = numbers(values), numbers(values.T)
        yield size if varies else f"{size}: down {down}; across {across}"


def _joined(parts: Sequence[Any]) -> Any:
    import numpy as np

    return np.concatenate([np.zeros((0, 2)), *parts])


def _points(name: str, points: Any, varies: bool) -> str:
    """How many points of the plane, and where they lie."""
    head = f"{name} of {len(points)}"
    if varies:
        return head
    return f"{head}: x {numbers(points[:, 0])}; y {numbers(points[:, 1])}"


def _texts(figure: Figure) -> list[str]:
    """All that is written in a figure, less the numbers at free ticks."""
    from matplotlib.category import StrCategoryLocator
    from matplotlib.ticker import FixedLocator

    places = [*figure.texts]
    for axis in figure.axes:
        places += [axis.title, axis.xaxis.label, axis.yaxis.label, *axis.texts]
        legend = axis.get_legend()
        places += legend.get_texts() if legend else []
        for side in (axis.xaxis, axis.yaxis):
            # ticks that somebody placed or named; others follow from the data
            if isinstance(side.get_major_locator(), (FixedLocator, StrCategoryLocator)):
                places += side.get_ticklabels()
    return [text for place in places if (text := place.get_text())]
