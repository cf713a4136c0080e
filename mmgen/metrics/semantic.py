"""Does the picture show what the caption says? On Shapes that is decided.

GenEval (Ghosh et al. 2023) estimates it: it asks object detectors, which agree with
people in 83 % of cases. A caption of Shapes has a known demand, and every object that
is read in a picture is looked at again: whether its outline is a shape's and no
other's, whether it is of one colour and that colour has a name, and what is left over.
What a careful person could not name is not recognisable, and counts as wrong.
``benchmarks/agreement.py`` measures how often people agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmgen.data.shapes.demand import TASKS
from mmgen.data.shapes.drawing import palettes
from mmgen.data.shapes.parsing import parse
from mmgen.data.shapes.reading import read
from mmgen.data.shapes.verdict import judge, reasons
from mmgen.data.shapes.world import ATTRIBUTES, COLOURS
from mmgen.metrics.interval import Proportion


@dataclass(frozen=True)
class SemanticReport:
    """How many pictures show what their captions say.

    Args:
        overall: pictures right in everything that their captions demand.
        attributes: of ``ATTRIBUTES``, over the captions that demand it.
        tasks: pictures right in everything, over the captions of a task of GenEval.
        empty: pictures in which no object was found.
        confidence: mean over the pictures of the share of contrast explained, 0..1.
        verdicts: what was right, a picture; of ``ATTRIBUTES`` those demanded.
        reasons: why what is false in a verdict is; a picture, by attribute.
    """

    overall: Proportion
    attributes: dict[str, Proportion]
    tasks: dict[str, Proportion]
    empty: int
    confidence: float
    verdicts: list[dict[str, bool]]
    reasons: list[dict[str, str]]

    @property
    def reason_counts(self) -> dict[str, int]:
        """Pictures by "attribute: reason", the most frequent first.

        A picture counts once for each reason that it has.
        """
        counts = Counter(
            f"{name}: {why}" for found in self.reasons for name, why in found.items()
        )
        return dict(counts.most_common())

    def to_json(self) -> dict[str, Any]:
        """Everything but what is known of single pictures."""
        return {
            "overall": self.overall.to_json(),
            "attributes": {k: v.to_json() for k, v in self.attributes.items()},
            "tasks": {k: v.to_json() for k, v in self.tasks.items()},
            "reasons": self.reason_counts,
            "empty": self.empty,
            "confidence": self.confidence,
        }

    def __str__(self) -> str:
        rows = [("everything", self.overall)]
        rows += [(f"  {name}", value) for name, value in self.attributes.items()]
        rows += [(f"task: {name}", value) for name, value in self.tasks.items()]
        lines = [f"{name:24}{value}" for name, value in rows]
        lines.append(
            f"{'contrast explained':24}{self.confidence:.3f} (no object found in "
            f"{self.empty})"
        )
        if self.reason_counts:
            lines.append("wrong, and why (a picture may have several reasons):")
        lines += [f"  {count:5}  {why}" for why, count in self.reason_counts.items()]
        return "\n".join(lines)


def semantic_accuracy(images: Tensor, captions: Sequence[str]) -> SemanticReport:
    """Decide for every picture whether it shows what its caption says.

    Args:
        images: (B, 3, H, W) in [-1, 1], H = W of 32, 64, 128, 256 or 512.
        captions: one a picture, in the words of Shapes, English or Chinese.

    Returns:
        The report, with every proportion's n and 95 % interval.

    Raises:
        ValueError: no pictures, not one caption a picture, pictures that cannot be read
            (see ``read``), or a caption that cannot be parsed (see ``parse``).
    """
    captions = [captions] if isinstance(captions, str) else list(captions)
    if len(captions) != len(images) or not captions:
        raise ValueError(
            f"captions must be one for each of at least one picture; got "
            f"{len(captions)} captions for {len(images)} pictures."
        )
    demands = [parse(caption) for caption in captions]
    readings = read(images)
    looks = list(zip(readings.scenes, readings.evidence, strict=True))
    verdicts = [
        judge(demand, scene, evidence)
        for demand, (scene, evidence) in zip(demands, looks, strict=True)
    ]

    def share(rights: list[bool]) -> Proportion:
        return Proportion(sum(rights), len(rights))

    right = [all(verdict.values()) for verdict in verdicts]
    attributes = {
        name: share([verdict[name] for verdict in verdicts if name in verdict])
        for name in ATTRIBUTES
        if any(name in verdict for verdict in verdicts)
    }
    tasks = [demand.task for demand in demands]
    return SemanticReport(
        overall=share(right),
        attributes=attributes,
        tasks={
            task: share([r for r, t in zip(right, tasks, strict=True) if t == task])
            for task in TASKS
            if task in tasks
        },
        empty=sum(not scene.objects for scene in readings.scenes),
        confidence=float(readings.confidence.mean()),
        verdicts=verdicts,
        reasons=[
            reasons(verdict, evidence)
            for verdict, (_, evidence) in zip(verdicts, looks, strict=True)
        ],
    )


def mean_colour_accuracy(images: Tensor, captions: Sequence[str]) -> Proportion:
    """How often an object's mean colour is the one that its caption names.

    More lenient than ``semantic_accuracy``, which takes an object of many colours for
    one that cannot be recognised: it tells whose colour a speckled object has. The
    object's pixels are those that differ from the ground, the median, by more than half
    as much as the farthest; the colour is the named one that is nearest to their mean.

    Args:
        images: (B, 3, H, W) in [-1, 1], of one object each.
        captions: one a picture; those that name no colour do not count.

    Raises:
        ValueError: another number of captions, one of several objects, or no caption
            that names a colour.
    """
    wanted = [parse(caption).objects for caption in captions]
    if len(wanted) != len(images) or any(len(objects) != 1 for objects in wanted):
        raise ValueError(
            f"captions must name one kind of object each, one for each of "
            f"{len(images)} pictures; got {len(captions)} captions."
        )
    ground = images.flatten(2).median(dim=2).values[:, :, None, None]  # (B, 3, 1, 1)
    distance = (images - ground).norm(dim=1, keepdim=True)
    of_object = distance > distance.amax(dim=(2, 3), keepdim=True) / 2
    count = of_object.sum(dim=(2, 3)).clamp_min(1)  # (B, 1)
    mean = (images * of_object).sum(dim=(2, 3)) / count  # (B, 3)
    nearest = torch.cdist(mean, palettes(images.device)[0]).argmin(dim=1).tolist()
    hits = [
        COLOURS[found] == objects[0].colour
        for found, objects in zip(nearest, wanted, strict=True)
        if objects[0].colour is not None
    ]
    if not hits:
        raise ValueError("captions must name a colour; none of them does.")
    return Proportion(sum(hits), len(hits))
