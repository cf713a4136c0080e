"""``mmgen sample NAME "caption" … --out file.png``."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional, UseAppendAction

from mmgen.cli.inputs import (
    check_copies,
    chosen_options,
    device_of,
    sampler_of,
    writable,
)
from mmgen.cli.options import Parser, UsageError

MOST = 10_000  # pictures of one file


@dataclass(frozen=True)
class Options:
    """Pictures of captions."""

    model: Positional[str]
    """weights (mmgen info lists them), or the folder of a run"""
    captions: Positional[tuple[str, ...]]
    """what to draw"""
    out: str = "sample.png"
    """PNG to write"""
    seed: int = 0
    """of the noise"""
    copies: int = 1
    """pictures of each caption"""
    option: UseAppendAction[tuple[str, ...]] = ()
    """a number that the model draws with; again for each"""
    device: str = "cpu"
    """cpu, cuda or mps"""


def sample(words: list[str]) -> int:
    """Draw captions, one picture each."""
    parser = Parser("mmgen sample", "Draw captions with weights.", {"command": Options})
    given: Options = parser.read(words)["command"]
    if not given.captions:
        raise UsageError("name at least one CAPTION to draw.")
    check_copies(given.copies, len(given.captions), MOST, "pictures in one file")
    out = writable(given.out, ".png")
    if not all(caption.strip() for caption in given.captions):
        raise UsageError("a caption must not be empty; write at least one word.")
    sampler = sampler_of(given.model, device_of(given.device))

    from mmgen.interfaces import Draws
    from mmgen.training.logs import save_grid

    if not isinstance(sampler, Draws):
        raise UsageError(f"{given.model} matches pictures and captions; it draws none.")
    options = chosen_options(given.model, sampler, given.option)
    captions = [caption for caption in given.captions for _ in range(given.copies)]
    images = sampler.sample(captions, seed=given.seed, **options)
    save_grid(out, images, columns=given.copies if given.copies > 1 else 8)
    print(f"{out}: {len(images)} of {images.shape[3]} x {images.shape[2]} pixels")
    return 0
