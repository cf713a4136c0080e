"""Damaged pictures through the loader of photographs.

Three photographs lie in a folder, and the one in the middle is damaged. It is shown, or
named and left out; its neighbours look as before; no program runs.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import random
import stat
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.damage import DAMAGES, Tally
from mmgen.data import load_dataset
from mmgen.data.photographs import Photographs
from mmgen.data.photographs.decoding import UndecodableError

NAMES = ("first", "middle", "last")
SIZE = 16  # pixels that the loader gives
# programs that readers of pictures may call
PROGRAMS = ("gs", "gswin32c", "gswin64c", "djpeg", "pbmplus", "sh")
POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 40 40
(%pipe%touch CANARY) (w) file closefile
showpage
%%EOF
"""


def tried(count: int, seed: int, folder: Path) -> list[Tally]:
    """Load ``count`` damaged pictures, of all kinds of files and damages."""
    draw = random.Random(seed)
    canary = folder / "EXECUTED"
    whole = list(_pictures(seed).values())
    others = _other_files(canary)

    def replaced(content: bytes, draw: random.Random) -> bytes:
        return draw.choice(others)

    damages: dict[str, Callable[[bytes, random.Random], bytes]] = {
        **DAMAGES,
        "another file under its name": replaced,
    }
    tallies = {name: Tally(f"picture: {name}") for name in damages}
    dataset = _folder(folder / "pictures", whole[0])
    reference = dataset.batch(range(3))
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{_programs(folder / 'programs', canary)}{os.pathsep}{path}"
    try:
        for number, (name, content) in enumerate(
            itertools.islice(itertools.cycle(itertools.product(damages, whole)), count)
        ):
            damaged = damages[name](content, draw)
            dataset.path(1).write_bytes(damaged)

            def load() -> None:
                _load(dataset, reference.images, canary)

            what = f"seed {seed}, attempt {number}, {content[:4]!r}"
            tallies[name].attempt(load, (UndecodableError,), what)
    finally:
        os.environ["PATH"] = path
    return list(tallies.values())


def _load(dataset: Photographs, reference: torch.Tensor, canary: Path) -> None:
    """Read all three, and look at the neighbours.

    Raises:
        UndecodableError: the one in the middle is named and left out.
        AssertionError: anything else happened to any of them.
    """
    dataset.skipped.clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        batch = dataset.batch(range(3))
    assert not canary.exists(), "a program was run"
    assert torch.equal(batch.images[[0, 2]], reference[[0, 2]]), "a neighbour changed"
    assert batch.images.isfinite().all() and batch.images.abs().max() <= 1
    if dataset.skipped:
        ((name, reason),) = dataset.skipped.items()
        assert name == str(dataset.path(1)), name
        assert any(name in str(warning.message) for warning in said), "not named"
        assert batch.indices is not None and batch.indices.tolist() == [0, 2, 2]
        raise UndecodableError(reason)


def _pictures(seed: int) -> dict[str, bytes]:
    """One picture in every format and mode that photographs come in."""
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 4), dtype=np.uint8)
    colours = Image.fromarray(noise[..., :3])
    grey = Image.fromarray(noise[..., 0])
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    see_through = Image.fromarray(noise)
    indexed = colours.quantize(16)
    turned = Image.Exif()
    turned[0x0112] = 6
    saved = {
        "JPEG": (colours, {"format": "JPEG"}),
        "progressive JPEG": (colours, {"format": "JPEG", "progressive": True}),
        "turned JPEG": (colours, {"format": "JPEG", "exif": turned}),
        "CMYK JPEG": (colours.convert("CMYK"), {"format": "JPEG"}),
        "grey PNG": (grey, {"format": "PNG"}),
        "16-bit PNG": (deep, {"format": "PNG"}),
        "PNG with transparency": (see_through, {"format": "PNG"}),
        "PNG with a palette": (indexed, {"format": "PNG", "transparency": 3}),
        "moving GIF": (
            indexed,
            {"format": "GIF", "save_all": True, "append_images": [indexed] * 2},
        ),
        "WebP": (colours, {"format": "WEBP"}),
        "TIFF": (colours, {"format": "TIFF", "compression": "tiff_lzw"}),
        "BMP": (colours, {"format": "BMP"}),
    }
    contents = {}
    for name, (picture, options) in saved.items():
        buffer = io.BytesIO()
        picture.save(buffer, **options)
        contents[name] = buffer.getvalue()
    return contents


def _other_files(canary: Path) -> list[bytes]:
    """What may lie under a picture's name, or pretend to be one."""
    return [
        b"",
        b"\xff\xd8\xff",
        b"<!doctype html><title>404</title>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
        b"PK\x03\x04" + bytes(60),
        POSTSCRIPT.replace(b"CANARY", str(canary).encode()),
        b"\xd7\xcd\xc6\x9a" + bytes(200),  # a Windows metafile
        pickle.dumps([canary.name]),
        b"P5 100000 100000 65535\n",  # a grey picture of 20 GB
        b"P6 0 0 255\n",
        bytes(4096),
    ]


def _folder(root: Path, picture: bytes) -> Photographs:
    """Three photographs with captions in the layout of COCO."""
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        (root / split / "filenames.pickle").write_bytes(pickle.dumps(list(NAMES)))
    for kind in ("images", "text"):
        (root / kind).mkdir()
    for name in NAMES:
        (root / "images" / f"{name}.jpg").write_bytes(picture)
        (root / "text" / f"{name}.txt").write_text(
            f"the {name} of three pictures\n", "utf-8"
        )
    options = {"root": root, "captions_per_image": 1, "augment": False}
    dataset = load_dataset("coco", "train", SIZE, **options)
    assert isinstance(dataset, Photographs)
    return dataset


def _programs(folder: Path, canary: Path) -> Path:
    """Programs that leave a trace where they are called."""
    folder.mkdir()
    for name in PROGRAMS:
        path = folder / name
        path.write_text(f"#!/bin/sh\n/bin/touch '{canary}'\n", "utf-8")
        path.chmod(stat.S_IRWXU)
    return folder
