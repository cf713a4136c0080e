"""Figures: captioned pictures, curves, attention maps, and how to show them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgen.explore.digests import digest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, less the yellow, which is too faint on the card: told apart
# with every common colour-vision deficiency; neighbours differ in lightness too.
PALETTE = (
    "#0072b2",  # blue
    "#d55e00",  # vermilion
    "#009e73",  # green
    "#aa4499",  # purple
    "#e69f00",  # orange
    "#56b4e9",  # sky
    "#333333",  # ink
)
CARD = "#fbfaf6"  # the paper every figure stands on
INK = "#26262b"  # text and axes: contrast 14.6 to 1 against CARD
_FAINT = "#d9d7cf"
# A second sign beside colour, for curves that cross in grey print.
_DASHES: tuple[Any, ...] = (
    "solid",
    (0, (5, 2)),
    (0, (1, 1.2)),
    (0, (7, 2, 1.5, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
# DejaVu Sans comes with matplotlib and has no Chinese; the first of these found has.
_CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
)
_CHINESE = re.compile(r"[\u2e80-\uffef]")  # its letters and punctuation
_DOTS_PER_INCH = 120


def _fonts() -> list[str]:
    """Font families, in the order in which a letter is looked for."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *[f for f in _CHINESE_FONTS if f in installed][:1]]


def _style() -> Any:
    """The settings of matplotlib that every figure of the book is made with."""
    from cycler import cycler

    return {
        "figure.facecolor": CARD,
        "savefig.facecolor": CARD,
        "axes.facecolor": CARD,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlesize": 10.5,
        "axes.labelsize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=PALETTE),
        "grid.color": _FAINT,
        "grid.linewidth": 0.7,
        "lines.linewidth": 1.8,
        "legend.frameon": False,
        "legend.fontsize": 9.5,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "font.family": _fonts(),
        # the same bytes every time, for figures that are saved as SVG
        "svg.hashsalt": "mmgen",
    }


def new_figure(
    rows: int = 1, columns: int = 1, width: float = 7.0, height: float = 3.2
) -> tuple[Figure, Any]:
    """An empty figure in the book's style, to be drawn in and passed to ``show``.

    Args:
        rows, columns: panels.
        width, height: of the whole figure, inches.

    Returns:
        The figure, and its one ``Axes`` or an array of them, shape (rows, columns)
        without the sides of length 1.
    """
    import matplotlib

    with matplotlib.rc_context(_style()):
        figure = _new_figure(width, height, layout="constrained")
        return figure, figure.subplots(rows, columns)


def _new_figure(width: float, height: float, layout: str) -> Figure:
    """An empty card of ``width`` by ``height`` inches."""
    # Not pyplot: it keeps figures alive and shows those that a cell forgot about.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout, facecolor=CARD)  # type: ignore[arg-type]


def _set_fonts(figure: Figure) -> None:
    """Give all text the book's fonts and ink, whenever it was added.

    Where no Chinese font is installed, a box stands for each character: a figure
    without its letters is better than a page of warnings about them.
    """
    from matplotlib.text import Text

    fonts = _fonts()
    for text in figure.findobj(Text):
        text.set_fontfamily(fonts)
        if len(fonts) == 1:
            text.set_text(_CHINESE.sub("\u25a1", text.get_text()))
        if text.get_color() == "black":
            text.set_color(INK)


def _to_pixels(image: Any) -> Any:
    """A picture as an (H, W, 3) uint8 array, from whatever the package draws with."""
    import numpy as np
    from PIL.Image import Image

    if isinstance(image, Tensor):
        if image.dim() != 3 or image.shape[0] != 3:
            raise ValueError(
                f"a picture must have shape (3, H, W); got {tuple(image.shape)}."
            )
        scaled = (image.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
        return scaled.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    array = np.asarray(image.convert("RGB") if isinstance(image, Image) else image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(
            "a picture must be a tensor (3, H, W) in [-1, 1], a PIL image or an "
            f"(H, W, 3) uint8 array; got {array.dtype} of shape {array.shape}."
        )
    return array


def _wrap(caption: str, width: float) -> list[str]:
    """Break a caption into lines of ``width`` letters.

    Chinese breaks between any two characters, each as wide as two Latin letters; the
    standard library's textwrap knows neither.
    """
    lines, room = [""], width
    for piece in re.findall(
        r"[\u2e80-\uffef]|[^\s\u2e80-\uffef]+|\s+", caption.strip()
    ):
        length = 1.8 if piece >= "\u2e80" else len(piece)
        if length > room and lines[-1] and not piece.isspace():
            lines[-1] = lines[-1].rstrip()
            lines.append("")
            room = width
        if lines[-1] or not piece.isspace():
            lines[-1] += piece
            room -= length
    return lines


def _place_picture(
    figure: Figure,
    picture: Any,
    left: float,
    bottom: float,
    side: float,
    edge: str = _FAINT,
    edge_width: float = 0.6,
) -> None:
    """A picture as ``_to_pixels`` gives it, at a place in inches."""
    width, height = figure.get_size_inches()
    axis = figure.add_axes((left / width, bottom / height, side / width, side / height))
    axis.set(xticks=[], yticks=[])
    # a white picture has an edge too
    axis.spines[:].set(visible=True, color=edge, linewidth=edge_width)
    # 64 px shown larger: nearest neighbour shows the pixels that were drawn
    axis.imshow(picture, interpolation="nearest")


def _place_text(
    figure: Figure, lines: Sequence[str], middle: float, top: float, colour: str = INK
) -> None:
    """Centred lines of a caption, at a place in inches."""
    width, height = figure.get_size_inches()
    figure.text(
        middle / width,
        top / height,
        "\n".join(lines),
        ha="center",
        va="top",
        fontsize=8,
        linespacing=1.2,
        color=colour,
    )


def image_grid(
    images: Tensor | Sequence[Any],
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    title: str | None = None,
    tile: float = 1.25,
) -> Figure:
    """Pictures in rows, each with its caption underneath.

    Args:
        images: (B, 3, H, W) in [-1, 1], or a list of pictures (PIL, (H, W, 3) uint8).
        captions: one for each picture.
        columns: pictures in a row; all in one row, up to 8, by default.
        title: line above the grid.
        tile: side of a picture, inches.

    Raises:
        ValueError: no picture, or another number of captions than of pictures.
    """
    pictures = [_to_pixels(image) for image in images]
    if not pictures:
        raise ValueError("images must hold at least one picture; got none.")
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(
            f"captions must be one for each picture; got {len(captions)} for "
            f"{len(pictures)} pictures."
        )
    columns = min(columns or 8, len(pictures))
    rows = -(-len(pictures) // columns)
    texts = [_wrap(text, tile * 13.5) for text in captions or ()]
    gap, line, top = 0.1, 0.15, 0.38 if title else 0.1  # inches
    pitch = tile + gap + line * max((len(text) for text in texts), default=0)
    width, height = columns * (tile + gap) + gap, rows * pitch + top + 0.02
    figure = _new_figure(width, height, layout="none")
    for i, picture in enumerate(pictures):
        left = gap + (i % columns) * (tile + gap)
        bottom = height - top - (i // columns) * pitch - tile
        _place_picture(figure, picture, left, bottom, tile)
        if texts:
            _place_text(figure, texts[i], left + tile / 2, bottom - 0.03)
    if title:
        figure.suptitle(title, fontsize=10.5, y=1 - 0.1 / height, va="top")
    _set_fonts(figure)
    return figure


def loss_curves(
    history: Iterable[Mapping[str, Any]],
    keys: Sequence[str] | Mapping[str, str],
    *,
    smooth: int = 1,
    ylabel: str = "loss",
    logarithmic: bool = False,
) -> Figure:
    """Curves of a run's logged values against the training step.

    Args:
        history: rows with "step" and the logged values, as ``Run.history``; rows that
            lack a key are passed over.
        keys: what to draw, or a mapping from it to the name in the legend.
        smooth: rows averaged for a point (a running mean); the raw values stay visible
            behind it.
        ylabel: with the unit, where there is one.
        logarithmic: scale of the y axis.

    Raises:
        ValueError: a key that no row has.
    """
    import numpy as np

    rows = list(history)
    names = dict(keys) if isinstance(keys, Mapping) else {key: key for key in keys}
    figure, axis = new_figure()
    for i, (key, name) in enumerate(names.items()):
        points = [(r["step"], r[key]) for r in rows if r.get(key) is not None]
        if not points:
            known = sorted({k for row in rows for k in row} - {"step"})
            raise ValueError(f"keys must be logged; {key!r} is not among {known}.")
        steps, values = (np.asarray(part, dtype=float) for part in zip(*points))  # noqa: B905
        colour = PALETTE[i % len(PALETTE)]
        if 1 < smooth <= len(values):
            axis.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
            window = np.ones(smooth) / smooth
            values = np.convolve(values, window, mode="valid")
            steps = steps[smooth - 1 :]  # a mean stands at the last step it knows
        dashes = _DASHES[i % len(_DASHES)]
        axis.plot(steps, values, color=colour, linestyle=dashes, label=name)
    axis.set_xlabel("training step")
    axis.set_ylabel(ylabel)
    if logarithmic:
        axis.set_yscale("log")
    if len(names) > 1:
        axis.legend(frameon=False)
    return figure


def attention_overlay(image: Tensor, weights: Tensor, strength: float = 0.8) -> Tensor:
    """A picture dimmed where a word does not look, kept where it looks.

    Args:
        image: (3, H, W) in [-1, 1].
        weights: (h, w), not negative; scaled so that the largest keeps its pixels.
        strength: how far an unattended pixel fades to grey, in [0, 1].

    Returns:
        Shape (3, H, W) in [-1, 1].
    """
    peak = weights.max().clamp_min(torch.finfo(weights.dtype).tiny)
    size = tuple(image.shape[-2:])
    seen = torch.nn.functional.interpolate(
        (weights / peak)[None, None], size=size, mode="bilinear", align_corners=False
    )[0]
    fade = strength * (1 - seen.clamp(0, 1))
    grey = torch.full_like(image, -0.35)
    return (1 - fade) * image + fade * grey


def _check_alternative(alt: str) -> str:
    """The alternative text in one line, or an error that says what to write."""
    text = " ".join(alt.split())
    if len(text) < 20 or text.lower().startswith(("image of", "picture of", "figure")):
        raise ValueError(
            "alt must say in a sentence what a reader who cannot see the figure would "
            f"miss (not 'image of ...', at least 20 letters); got {alt!r}."
        )
    return text


def show(figure: Figure, alt: str, *, varies: bool = False) -> None:
    """Display a figure as a PNG with alternative text.

    The output's plain text is the alternative text and below it a few rounded numbers
    for what is plotted: the strict comparison of a notebook's outputs sees them, and
    so notices a picture that the code no longer draws. Pages show the PNG alone.

    Args:
        figure: any matplotlib figure.
        alt: what the figure shows, for a reader who cannot see it: one or two
            sentences, with the finding, without numbers that depend on the machine.
        varies: whether what is plotted depends on the processor, as all that follows
            from weights trained in the same notebook does; then the plain text
            counts panels, curves, pictures and texts without their values.

    Raises:
        ValueError: an alternative text that says nothing, or axes without labels.
    """
    from IPython.display import display

    text = _check_alternative(alt)
    for axis in figure.axes:
        _check_labels(axis)
    plotted = digest(figure, varies)
    _set_fonts(figure)
    buffer = io.BytesIO()
    # no Software entry: the file must not change with matplotlib's version alone
    figure.savefig(
        buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None}
    )
    display(
        {"image/png": buffer.getvalue(), "text/plain": f"{text}\n{plotted}"},
        raw=True,
        metadata={"image/png": {"alt": text}},
    )
    if figure.canvas.manager is not None:  # made by pyplot
        from matplotlib import pyplot

        pyplot.close(figure)  # or the notebook would show it again, without text


def _check_labels(axis: Axes) -> None:
    """Refuse a plot whose axes do not say what they measure."""
    if not axis.axison or not (axis.lines or axis.patches):
        return
    sides = (
        (axis.get_shared_x_axes(), "xlabel"),
        (axis.get_shared_y_axes(), "ylabel"),
    )
    for shared, label in sides:
        # panels that share an axis may leave the label to one of them
        siblings = shared.get_siblings(axis)
        if not any(getattr(other, f"get_{label}")() for other in siblings):
            raise ValueError(
                f"every plot needs labelled axes; call set_{label} on the panel "
                f"titled {axis.get_title()!r}."
            )
