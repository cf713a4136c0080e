"""How much of what a caption leaves open a model draws: mode coverage.

"A red circle" does not say where, how large, or on which ground. The world draws it in
five places; a model that draws it always in the same one is right every time, and still
no model of these pictures. ``semantic_accuracy`` cannot see that; this measure can, and
needs no network either, for a program reads what each picture shows. What it cannot
recognise is not counted: a smear must not pass for variety.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from mmgen.data.shapes import (
    BACKGROUNDS,
    POSITIONS,
    SIZES,
    Demand,
    Readings,
    parse,
    read,
    render,
    sample_scenes,
)

# What a caption of one object may leave open, and how many values it has.
OPEN = {"position": len(POSITIONS), "size": len(SIZES), "background": len(BACKGROUNDS)}


class Drawer(Protocol):
    """What draws captions; every sampler for Shapes does."""

    def sample(self, captions: Sequence[str], seed: int = 0) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], one for each caption."""


def effective_number(values: Iterable[Hashable]) -> float:
    r"""How many equally frequent values would be as varied as these.

    .. math:: \exp\Big(-\sum_v p_v \log p_v\Big)

    Args:
        values: at least one.

    Returns:
        From 1, all are the same, to the number of different values.

    Raises:
        ValueError: no values.

    Source:
        Jost, *Entropy and diversity*, Oikos 113 (2006), for order 1.
    """
    counts = Counter(values)
    total = counts.total()
    if not total:
        raise ValueError("values must hold at least one; got none.")
    shares = [count / total for count in counts.values()]
    return math.exp(-sum(share * math.log(share) for share in shares))


@dataclass(frozen=True)
class ModeCoverage:
    """How varied pictures of one caption are, in what it leaves open.

    Args:
        effective: of position, size and background the effective number of values
            among the pictures of a caption, averaged over captions; at most as many as
            ``OPEN`` says, and a little less from finitely many pictures. NaN where
            nothing could be counted.
        standard_error: of these averages.
        captions: how many captions left each of them open and were counted.
        readable: share of pictures that show one object of a shape that can be
            recognised and nothing else, which alone are counted; of them, for each
            attribute, those in which it is clear.
        pictures: drawn of each caption.
    """

    effective: dict[str, float]
    standard_error: dict[str, float]
    captions: dict[str, int]
    readable: float
    pictures: int

    def to_json(self) -> dict[str, Any]:
        """All fields, None in place of NaN, which JSON does not know."""
        effective, error = (
            {name: None if math.isnan(value) else value for name, value in part.items()}
            for part in (self.effective, self.standard_error)
        )
        return {
            "effective": effective,
            "standard_error": error,
            "captions": self.captions,
            "readable": self.readable,
            "pictures": self.pictures,
        }

    def __str__(self) -> str:
        rows = [
            f"{name:12}{value:.2f} ± {self.standard_error[name]:.2f} of {OPEN[name]}"
            for name, value in self.effective.items()
        ]
        return "\n".join([*rows, f"{'readable':12}{self.readable:.2f}"])


def mode_coverage(
    sampler: Drawer, captions: Sequence[str], pictures: int = 32, seed: int = 0
) -> ModeCoverage:
    """Draw each caption many times and count what it leaves open.

    Args:
        sampler: draws captions of Shapes.
        captions: of one object each, e.g. "a red circle".
        pictures: of each caption, at least 2.
        seed: of the noise of the first caption; the next ones follow.

    Returns:
        The report.

    Raises:
        ValueError: too few pictures, no caption, or one that asks for several objects.
    """
    demands = _of_one_object(captions, pictures)
    drawn = (
        read(sampler.sample([caption] * pictures, seed=seed + number))
        for number, caption in enumerate(captions)
    )
    return _report(demands, drawn, pictures)


def world_coverage(
    captions: Sequence[str], pictures: int = 32, seed: int = 0
) -> ModeCoverage:
    """The same of the world's own pictures, which nothing can exceed but by luck.

    Args:
        captions, pictures: as for ``mode_coverage``.
        seed: of the world from which fitting scenes are taken.

    Returns:
        The report.

    Raises:
        ValueError: as for ``mode_coverage``.
    """
    demands = _of_one_object(captions, pictures)
    scenes = sample_scenes(len(demands) * pictures, seed=seed, objects=(1,))
    # In the world these three are drawn by themselves, whatever shape and colour are:
    # pictures of any object will do, turn by turn.
    shown = (
        read(render(scenes[number * pictures : (number + 1) * pictures]))
        for number in range(len(demands))
    )
    return _report(demands, shown, pictures)


def _of_one_object(captions: Sequence[str], pictures: int) -> list[Demand]:
    if pictures < 2:
        raise ValueError(f"pictures must be at least 2 of a caption; got {pictures}.")
    if isinstance(captions, str) or not captions:
        raise ValueError(f"captions must be a list of at least one; got {captions!r}.")
    demands = [parse(caption) for caption in captions]
    for caption, demand in zip(captions, demands, strict=True):
        if demand.count != 1:
            raise ValueError(
                f"captions must ask for one object each; {caption!r} asks for "
                f"{demand.count}."
            )
    return demands


def _report(
    demands: Sequence[Demand], drawn: Iterable[Readings], pictures: int
) -> ModeCoverage:
    found: dict[str, list[float]] = defaultdict(list)
    readable = 0
    for demand, readings in zip(demands, drawn, strict=True):
        alone = [
            (scene, evidence)
            for scene, evidence in zip(readings.scenes, readings.evidence, strict=True)
            if len(scene.objects) == 1
            and "count" not in evidence.doubts
            and "shape" not in evidence.objects[0].doubts
        ]
        readable += len(alone)
        (wanted,) = demand.objects
        for name in OPEN:
            of_ground = name == "background"
            if getattr(demand if of_ground else wanted, name) is not None:
                continue
            values = [
                getattr(scene if of_ground else scene.objects[0], name)
                for scene, evidence in alone
                if name not in (evidence if of_ground else evidence.objects[0]).doubts
            ]
            if values:
                found[name].append(effective_number(values))
    means, errors = {}, {}
    for name in OPEN:
        numbers = found[name]
        mean = sum(numbers) / len(numbers) if numbers else math.nan
        spread = sum((number - mean) ** 2 for number in numbers)
        count = len(numbers)
        means[name] = mean
        errors[name] = (
            math.sqrt(spread / (count - 1) / count) if count > 1 else math.nan
        )
    return ModeCoverage(
        means,
        errors,
        {name: len(found[name]) for name in OPEN},
        readable / (len(demands) * pictures),
        pictures,
    )
