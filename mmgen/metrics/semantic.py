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

from torch import Tensor

from mmgen.data.shapes.demand import TASKS
from mmgen.data.shapes.parsing import parse
from mmgen.data.shapes.reading import read
from mmgen.data.shapes.verdict import judge, reasons
from mmgen.data.shapes.world import ATTRIBUTES
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
