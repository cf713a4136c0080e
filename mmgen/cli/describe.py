"""``mmgen describe NAME picture.png …``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from mmgen.cli.inputs import check_copies, device_of, sampler_of, trained_on
from mmgen.cli.options import Parser, UsageError

if TYPE_CHECKING:
    from torch import Tensor

MOST = 10_000  # captions of one call
SMALLEST = 32  # pixels at which a picture's kind can be told
# A line is a caption, and what else could part a line is written as in Python.
_ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Options:
    """Captions of pictures."""

    model: Positional[str]
    """weights (mmgen info lists them), or the folder of a run"""
    pictures: Positional[tuple[str, ...]]
    """files, of any size"""
    copies: int = 1
    """captions of each picture; more need a temperature"""
    device: str = "cpu"
    """cpu, cuda or mps"""


@dataclass(frozen=True)
class Writing:
    """How captions are written; not every model takes all of these."""

    language: str | None = None
    """en or zh; none: the first that the model learned"""
    beams: int = 1
    """captions that are kept open; 1: the likeliest word each time"""
    temperature: float = 0.0
    """of the choice of words; 0: no chance"""
    seed: int = 0
    """of the noise, where there is a temperature"""
    prompt: str | None = None
    """the first words of every caption"""


def describe(words: list[str]) -> int:
    """Write captions of pictures, a line each: file, caption, and what is to be noted.

    Between them stand tabs, for other programs; what is noted is left out where there
    is nothing.
    """
    text = "Write captions of pictures with weights: file, tab, caption, a line each."
    groups = {"command": Options, "writing": Writing}
    read = Parser("mmgen describe", text, groups).read(words)
    given: Options = read["command"]
    if not given.pictures:
        raise UsageError("name at least one PICTURE to describe.")
    check_copies(given.copies, len(given.pictures), MOST, "captions")
    paths = [existing(name) for name in given.pictures]
    sampler = sampler_of(given.model, device_of(given.device))

    import torch

    from mmgen.interfaces import Describes

    if not isinstance(sampler, Describes):
        raise UsageError(
            f"{given.model} describes no pictures: it was not trained to write "
            f"captions. Weights whose names begin with caption or mvae are."
        )
    options = taken_options(given.model, sampler, read["writing"])
    if given.copies > 1 and not options.get("temperature"):
        raise UsageError(
            f"--copies {given.copies} would be the same caption each time: give a "
            f"--temperature above 0 too, where the model takes one."
        )
    data = trained_on(given.model)
    images, notes = read_pictures(paths, data["image_size"])
    shown = torch.stack(images)
    for told, reason in zip(notes, strangers(shown, data), strict=True):
        if reason:
            told.append(f"not a picture like those of {data['name']}: {reason}")
    captions = sampler.describe(shown.repeat_interleave(given.copies, dim=0), **options)
    rows = [i for i in range(len(paths)) for _ in range(given.copies)]
    for i, caption in zip(rows, captions, strict=True):
        name = given.pictures[i].translate(_ESCAPES)
        print("\t".join([name, caption, *filter(None, ["; ".join(notes[i])])]))
    return 0


def existing(name: str) -> Path:
    """A picture's path.

    Raises:
        UsageError: there is no such file.
    """
    from mmgen.data.files import is_address, misnamed

    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise UsageError(
            f"{name} is a folder; name the pictures in it, as in "
            f"{path.as_posix().rstrip('/')}/*.png."
        )
    if is_address(name):
        raise UsageError(f"{name} is no file on this machine; download it first.")
    raise UsageError(f"there is no picture {name!r}.{misnamed(path)}")


def taken_options(model: str, sampler: Any, chosen: Writing) -> dict[str, Any]:
    """Options of ``sampler.describe`` that differ from their defaults.

    Raises:
        UsageError: one that the model does not take.
    """
    taken = inspect.signature(sampler.describe).parameters
    known = [field.name for field in fields(chosen) if field.name in taken]
    options = {}
    for field in fields(chosen):
        value = getattr(chosen, field.name)
        if value == field.default:
            continue
        if field.name not in taken:
            others = ", ".join(f"--{name}" for name in known)
            raise UsageError(
                f"--{field.name} {value}: {model} describes pictures without this "
                f"option; it takes {others}."
            )
        options[field.name] = value
    return options


def strangers(images: Tensor, data: dict[str, Any]) -> list[str]:
    """Why pictures are of another kind than a model's, "" where they are not.

    A model describes whatever it is shown, and is not less fluent about what it does
    not know. Data sets whose pictures cannot be told from others are not looked at.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        data: what the model was trained on.
    """
    from mmgen.metrics.familiar import KINDS, familiar

    if data["name"] not in KINDS or images.shape[2] < SMALLEST:
        return [""] * len(images)
    return familiar(images, data["name"], data).reasons


def read_pictures(
    paths: Sequence[Path], image_size: int
) -> tuple[list[Tensor], list[list[str]]]:
    """Pictures as a model sees them, and what was done to each.

    They are opened, turned and cut as those of a folder of one's own
    (``mmgen.data.storage.folder``): upright, in RGB, transparent pixels white; of other
    sizes the middle square is scaled.

    Args:
        paths: of files.
        image_size: H = W of the model, pixels.

    Returns:
        Tensors (3, H, W) in [-1, 1], and notes for each.

    Raises:
        UsageError: what is no picture; all of them are named.
    """
    import numpy as np
    import torch

    from mmgen.data.photographs.decoding import UndecodableError, decode
    from mmgen.data.vocabulary import listed

    images: list[Tensor] = []
    notes: list[list[str]] = []
    wrong = []
    for path in paths:
        try:
            picture = decode(path)
        except UndecodableError as error:
            wrong.append(f"{path} ({error})")
            continue
        told = []
        if picture.size == (image_size, image_size):
            # without torchvision, which takes seconds to import
            square = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        else:
            from mmgen.data.photographs.dataset import crop

            square = crop(picture, image_size, margin=1.0)
            told.append(
                f"{picture.width} x {picture.height} pixels, seen as their middle "
                f"square at {image_size} x {image_size}"
            )
        images.append(square.float().div(127.5).sub(1.0))
        notes.append(told)
    if wrong:
        raise UsageError(
            f"{len(wrong)} of {len(paths)} pictures cannot be opened: {listed(wrong)}. "
            f"Leave them out, or store them as PNG or JPEG."
        )
    return images, notes
