"""Picture files of every mode: shown as they are meant, or refused by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmgen.data.photographs import decoding
from mmgen.data.photographs.decoding import UndecodableError, decode

GREY, SIZE = 100, (40, 30)


def stored(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def deep_grey() -> np.ndarray:
    """Levels 0, 1, …, 255 in 16 bits."""
    return (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)


def portable_grey() -> bytes:
    levels = deep_grey().astype(">u2").tobytes()
    return b"P5 16 16 65535\n" + levels


@pytest.mark.parametrize(
    "content",
    [
        stored(Image.fromarray(deep_grey())),
        stored(Image.fromarray(deep_grey()), "TIFF"),
        stored(Image.fromarray(deep_grey().astype(">u2")), "TIFF"),
        portable_grey(),
    ],
    ids=["PNG", "TIFF", "TIFF of the other byte order", "PGM"],
)
def test_sixteen_bits_keep_their_levels(content):
    levels = np.asarray(decode(content))
    assert levels.shape == (16, 16, 3)
    assert (levels.reshape(256, 3) == np.arange(256)[:, None]).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
def test_plain_modes_keep_their_colour(mode):
    grey = Image.new("RGB", SIZE, (GREY,) * 3).convert(mode)
    pixels = np.asarray(decode(stored(grey, "JPEG" if mode != "L" else "PNG")))
    assert abs(pixels.astype(int) - GREY).max() <= 2


def test_black_and_white_is_black_and_white():
    pixels = np.asarray(decode(stored(Image.fromarray(np.eye(8) > 0))))
    assert (pixels == 255 * np.eye(8)[..., None]).all()


def half_transparent(mode: str) -> bytes:
    """The left half opaque grey, the right half transparent, over hidden black."""
    pixels = np.zeros((10, 20, 4), np.uint8)
    pixels[:, :10] = (GREY, GREY, GREY, 255)
    picture = Image.fromarray(pixels)
    if mode == "P":
        flat = Image.fromarray(np.where(pixels[..., 3] > 0, 1, 0).astype(np.uint8))
        flat = flat.convert("P")
        flat.putpalette([0, 0, 0, GREY, GREY, GREY])
        return stored(flat, transparency=0)
    if mode == "RGB":
        return stored(picture.convert("RGB"), transparency=(0, 0, 0))
    return stored(picture.convert(mode))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_what_is_transparent_is_white(mode):
    pixels = np.asarray(decode(half_transparent(mode)))
    assert (pixels[:, :10] == GREY).all() and (pixels[:, 10:] == 255).all()


def test_half_transparent_colours_are_mixed_with_white():
    pixels = decode(stored(Image.new("RGBA", SIZE, (255, 0, 0, 128))))
    assert pixels.getpixel((3, 3)) == (255, 127, 127)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_levels_without_a_range_are_refused(mode):
    content = stored(Image.new(mode, SIZE, 300), "TIFF")
    with pytest.raises(UndecodableError, match=f"mode {mode}.* no fixed range"):
        decode(content)


def test_an_invisible_picture_is_refused():
    with pytest.raises(UndecodableError, match="all of its pixels are transparent"):
        decode(stored(Image.new("RGBA", SIZE, (9, 9, 9, 0))))


def test_moving_pictures_show_their_first():
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "blue")]
    for form in ("GIF", "PNG", "WEBP"):
        options = {"save_all": True, "append_images": frames[1:]}
        content = stored(frames[0], form, **options)
        red, _, blue = decode(content).getpixel((5, 5))
        assert red > 200 and blue < 50


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_upright_and_its_box_is_that_of_the_file(orientation):
    upright = np.zeros((30, 40, 3), np.uint8)
    upright[:10, :10] = 255  # white where the picture's top left is
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, 3),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = Image.fromarray(np.ascontiguousarray(turn(upright)))
    content = stored(file, exif=exif)
    assert np.array_equal(np.asarray(decode(content)), upright)
    # the white corner, in the pixels of the file
    rows, columns = np.nonzero(np.asarray(file)[..., 0])
    box = (columns.min(), rows.min(), 10, 10)
    assert (np.asarray(decode(content, box))[:5, :5] == 255).all()


@pytest.mark.parametrize("exif", [b"MM", b"II*\0\xff\xff\xff\xff", b"MM\0*", b"\0" * 9])
def test_damaged_exif_leaves_the_picture(exif):
    content = stored(Image.new("RGB", SIZE, "red"), "JPEG", exif=b"Exif\0\0" + exif)
    assert decode(content).size == SIZE


@pytest.mark.parametrize(
    "box", [(90, 20, 50, 40), (30, 70, 50, 40), (400, 20, 50, 40), (-9, 0, 20, 20)]
)
def test_a_box_beyond_its_picture_is_refused(box):
    content = stored(Image.new("RGB", (100, 80), "red"))
    with pytest.raises(
        UndecodableError, match=rf"bounding box \(left {box[0]}.*beyond its 100 x 80"
    ):
        decode(content, box)


def test_a_box_may_end_a_hair_beyond_its_picture():
    content = stored(Image.new("RGB", (100, 80), "red"))
    assert decode(content, (51, 41, 50, 40)).size == (61, 56)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs pull"),
        (b"  <!DOCTYPE html><html>", "a web page"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture of a kind"),
        (b"some text", "no picture of a kind"),
        (b"P6 0 0 255\n", "pixels|identify|kind"),
        (b"P5 100000 100000 255\n", "DecompressionBombError"),
        (b"P5 10000 9000 255\n", "10000 x 9000 pixels"),
        (b"P5 5000 1 255\n" + bytes(5000), "5000 x 1 pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_picture_is_named(content, message):
    with pytest.raises(UndecodableError, match=message):
        decode(content)


def test_half_a_picture_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    for form in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
        content = stored(Image.fromarray(noise), form)
        with pytest.raises(UndecodableError):
            decode(content[: len(content) // 2])


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(UndecodableError, match="FileNotFoundError: No such file"):
        decode(tmp_path / "gone.jpg")


def test_no_format_that_another_program_draws_is_read():
    assert not {"EPS", "WMF", "PDF"} & set(decoding.FORMATS)
