"""Picture files that nobody has checked: an RGB picture, or an error that says why not.

Pillow opens far more than photographs. It hands PostScript to another program, shows
16-bit grey as white, and leaves hidden colours where a pixel is transparent. Here only
the formats of pictures are opened, and what has no one right look is refused.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from mmgen.data.files import foreign

# without EPS and WMF, which other programs draw
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000")
MOST_PIXELS = 89_478_485  # above these Pillow suspects a bomb: 256 MB of RGB
LONGEST = 100  # times as long as wide: scaled up, a hair would fill the memory
# A box of CUB may reach beyond its picture by so much, as annotators draw it.
_BEYOND_PIXELS, _BEYOND_SHARE = 2.0, 0.05

# value of EXIF's orientation -> what turns the picture upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UndecodableError(Exception):
    """A picture that cannot be shown as it is meant."""


def bird_crop(
    box: Sequence[float], width: int, height: int
) -> tuple[int, int, int, int]:
    """The square around a bounding box, clipped to the picture.

    Half its side is 3/4 of the longer side of the box, so that a box fills 2/3 of it.

    Args:
        box: left, top, width, height, pixels.
        width, height: of the picture, pixels.

    Returns:
        left, top, right, bottom, pixels.
    """
    left, top, across, down = (int(value) for value in box)
    radius = int(max(across, down) * 0.75)
    x, y = (2 * left + across) // 2, (2 * top + down) // 2
    return (
        max(0, x - radius),
        max(0, y - radius),
        min(width, x + radius),
        min(height, y + radius),
    )


def decode(source: Path | bytes, box: Sequence[float] | None = None) -> Image.Image:
    """An RGB picture, upright, transparent pixels white; the first of moving ones.

    Args:
        source: a file or its content.
        box: left, top, width, height, pixels of the file as it is stored: the square
            around it (``bird_crop``) is cut out.

    Raises:
        UndecodableError: what is wrong with the file, or that the box is not in it.
    """
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise UndecodableError(f"{type(error).__name__}: {error.strerror}") from error
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _check_sides(picture.width, picture.height)
            picture.load()
            return _rgb(picture, box)
    except UndecodableError:
        raise
    except UnidentifiedImageError as error:
        known = foreign(content) or f"no picture of a kind that is read: {FORMATS}"
        raise UndecodableError(f"it is {known}") from error
    except Exception as error:  # readers of damaged files raise nearly anything
        raise UndecodableError(f"{type(error).__name__}: {error}") from error


def _rgb(picture: Image.Image, box: Sequence[float] | None) -> Image.Image:
    """A picture that has been read, cut out, in RGB and upright."""
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
    scaled = picture.format == "PPM"  # Pillow scales its grey values to 16 bits
    if box is not None:
        _check_box(box, picture.width, picture.height)
        picture = picture.crop(bird_crop(box, picture.width, picture.height))
        _check_sides(picture.width, picture.height)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and scaled):
        values = np.asarray(picture).astype(np.int64).clip(0, 65535)
        shown = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        raise UndecodableError(
            f"its grey values (mode {picture.mode}) have no fixed range; store them "
            f"with 8 or 16 bits"
        )
    elif picture.has_transparency_data:
        colours = picture.convert("RGBA")
        if colours.getextrema()[3] == (0, 0):
            raise UndecodableError("all of its pixels are transparent")
        shown = Image.new("RGBA", colours.size, "white")
        shown.alpha_composite(colours)
    else:
        shown = picture
    shown = shown.convert("RGB")
    return shown if turn is None else shown.transpose(turn)


def _check_sides(width: int, height: int) -> None:
    shorter, longer = sorted((width, height))
    if shorter < 1 or width * height > MOST_PIXELS or longer > LONGEST * shorter:
        raise UndecodableError(
            f"it has {width} x {height} pixels; at most {MOST_PIXELS:,} are read, of "
            f"pictures at most {LONGEST} times as long as wide"
        )


def _check_box(box: Sequence[float], width: int, height: int) -> None:
    left, top, across, down = box
    for start, length, side in ((left, across, width), (top, down, height)):
        slack = max(_BEYOND_PIXELS, _BEYOND_SHARE * side)
        if start < -slack or start + length > side + slack or start >= side - 1:
            raise UndecodableError(
                f"its bounding box (left {left:g}, top {top:g}, width {across:g}, "
                f"height {down:g}) reaches beyond its {width} x {height} pixels: it is "
                f"another picture's, or damaged"
            )
