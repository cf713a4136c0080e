"""Does the picture show what the caption says? On Shapes that is decided.

GenEval (Ghosh et al. 2023) estimates it: it asks object detectors, which agree with
people in 83 % of cases. A caption of Shapes has a known demand and a picture of Shapes
can be read, so that only the reader can err; ``benchmarks/shapes.py`` measures that it
reads thousands of clean and of blurred, noisy renders without an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmgen.data.shapes_demand import TASKS
from mmgen.data.shapes_judge import ATTRIBUTES, judge
from mmgen.data.shapes_parse import parse
from mmgen.data.shapes_read import read
from mmgen.metrics.interval import Proportion

# A scene that explains less of its picture than this was not seen in it.
LEAST_CONFIDENCE = 0.5


@dataclass(frozen=True)
class SemanticReport:
    """How many pictures show what their captions say.

    Args:
        overall: pictures right in everything that their captions demand.
        attributes: of ``ATTRIBUTES``, over the captions that demand it.
        tasks: pictures right in everything, over the captions of a task of GenEval.
        empty: pictures in which no object was found.
        unreadable: pictures that no scene explains to half; they count as wrong.
        confidence: mean over the pictures.
        verdicts: what was right, a picture; of ``ATTRIBUTES`` those demanded.
    """

    overall: Proportion
    attributes: dict[str, Proportion]
    tasks: dict[str, Proportion]
    empty: int
    unreadable: int
    confidence: float
    verdicts: list[dict[str, bool]]

    def to_json(self) -> dict[str, Any]:
        """Everything but the single verdicts."""
        return {
            "overall": self.overall.to_json(),
            "attributes": {k: v.to_json() for k, v in self.attributes.items()},
            "tasks": {k: v.to_json() for k, v in self.tasks.items()},
            "empty": self.empty,
            "unreadable": self.unreadable,
            "confidence": self.confidence,
        }

    def __str__(self) -> str:
        rows = [("everything", self.overall)]
        rows += [(f"  {name}", value) for name, value in self.attributes.items()]
        rows += [(f"task: {name}", value) for name, value in self.tasks.items()]
        lines = [f"{name:24}{value}" for name, value in rows]
        lines.append(
            f"{'read with confidence':24}{self.confidence:.3f} (no object found in "
            f"{self.empty}, unreadable {self.unreadable})"
        )
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
    unreadable = [confidence < LEAST_CONFIDENCE for _, confidence in readings]
    verdicts = []
    for demand, scene, lost in zip(demands, readings.scenes, unreadable, strict=True):
        verdict = judge(demand, scene)
        verdicts.append(dict.fromkeys(verdict, False) if lost else verdict)

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
        unreadable=sum(unreadable),
        confidence=float(readings.confidence.mean()),
        verdicts=verdicts,
    )
