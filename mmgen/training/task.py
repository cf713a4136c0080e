"""What a method must offer to be trained: a protocol, so that models import no loop."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset
from mmgen.training.step import Step


class Task(Protocol):
    """A method: its networks, its optimisers and one step of its training.

    ``phases`` are optimised one after the other in every step. In a phase, parameters
    that belong only to earlier phases are frozen: their gradients are not computed.
    Those of this and of later phases are not, so a task may keep a forward pass made in
    one phase for a later one (not while ``step.accumulating``), and detaches what the
    present phase must not change.
    """

    phases: tuple[str, ...]  # e.g. ("discriminator", "generator")
    networks: dict[str, nn.Module]  # the loop puts wrapped ones in their place
    averaged: tuple[str, ...]  # names of networks whose moving average samplers use
    config: Any  # a frozen dataclass of JSON-able fields

    @classmethod
    def build(cls, config: Any, dataset: CaptionedDataset) -> Task:
        """New networks for a data set."""

    @staticmethod
    def defaults(scale: str, dataset_name: str) -> tuple[Any, dict, dict]:
        """Config, fields of TrainingConfig and options of load_dataset for a scale."""

    def optimizers(self) -> dict[str, Optimizer]:
        """One optimiser a phase, over the parameters of ``networks``."""

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Scalars of one phase: "loss", and any others to log."""

    def sampler(self, networks: dict[str, nn.Module]) -> Any:
        """The module that draws or matches with these (averaged) networks."""


def class_path(cls: type) -> str:
    """Where a class is found again: ``"module:name"``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def find_class(path: str) -> Any:
    """The class at ``"module:name"``.

    Raises:
        ValueError: no such module or class.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"the class {path!r} cannot be found ({error}). Define or install it in "
            f"this Python first."
        ) from error
    return found
