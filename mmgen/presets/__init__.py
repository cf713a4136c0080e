"""What is trained: each method at three sizes, and every published weight.

One preset is one command and one set of weights. ``mmgen train`` begins with the
numbers of ``find``; published weights are made by training ``chain(name)``.

The card of a published weight equals its preset in its data, in its method's config and
in ``DECISIVE``, the fields of ``TrainingConfig`` that decide what is learned. The other
fields say where a run computes, how long it may take and what it writes down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgen.registry import METHODS, find_class, unknown

if TYPE_CHECKING:
    from mmgen.training import Run, TrainingConfig

# Batch normalisation and dropout also differ with the number of processes, and sums in
# their last digits with the machine: no preset can fix these.
DECISIVE = (
    *("steps", "batch_size", "accumulate", "precision", "seed"),
    *("ema_decay", "gradient_clip", "schedule", "warmup_steps"),
)


@dataclass(frozen=True)
class Preset:
    """What one training is told."""

    name: str  # "cgan-shapes64" as published, "cgan-shapes-laptop" at a scale
    method: str  # of METHODS
    data: dict[str, Any]  # arguments of load_dataset
    config: Any  # the method's
    training: TrainingConfig
    start: str | None = None  # a preset that is trained first: its weights begin here
    measured: tuple[tuple[str, ...], ...] = ()  # words for each ``mmgen evaluate NAME``
    stage: bool = False  # trained only for another to start from it, not published


def find(method: str, scale: str, data_name: str) -> Preset:
    """What a method is trained with on a data set.

    Args:
        method: of ``METHODS``.
        scale: "smoke" (seconds), "laptop" (a minute or two) or "full" (a GPU).
        data_name: of ``mmgen.data.DATASETS``.

    Raises:
        ValueError: a name that does not exist; the message says the nearest.
    """
    if method not in METHODS:
        raise ValueError(unknown("method", method, METHODS))

    from mmgen.data import DATASETS
    from mmgen.training.config import SCALES

    if scale not in SCALES:
        raise ValueError(unknown("scale", scale, SCALES))
    if data_name not in DATASETS:
        raise ValueError(unknown("data set", data_name, DATASETS))
    return find_class(f"{_module(method)}:at_scale")(scale, data_name)


def published() -> dict[str, Preset]:
    """The preset of every published weight, by its name."""
    return {preset.name: preset for preset in _named() if not preset.stage}


def chain(name: str) -> tuple[Preset, ...]:
    """The trainings that lead to a weight, in their order; the last is its own.

    Raises:
        ValueError: no preset of this name; the message says the nearest.
    """
    known = {preset.name: preset for preset in _named()}
    if name not in known:
        raise ValueError(unknown("preset", name, known))
    links = [known[name]]
    while (start := links[0].start) is not None:
        links.insert(0, known[start])
    return tuple(links)


def fit_preset(preset: Preset, training: TrainingConfig) -> Run:
    """Train what a preset says, with a training in place of its own.

    Raises:
        TrainingError, ValueError: as for ``mmgen.training.fit``.
    """
    import torch

    from mmgen.data import load_dataset
    from mmgen.training import build, fit

    dataset = load_dataset(**preset.data)
    torch.manual_seed(training.seed)  # of the first weights
    task = build(find_class(METHODS[preset.method]), preset.config, dataset)
    return fit(task, dataset, training)


def _module(method: str) -> str:
    return f"mmgen.presets.{method.replace('-', '_')}"


def _named() -> Iterator[Preset]:
    """Published presets of all methods, and their stages."""
    for method in METHODS:
        yield from find_class(f"{_module(method)}:PUBLISHED")
