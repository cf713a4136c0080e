"""What a run is told: `TrainingConfig`, and the scale to train at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SCALES = ("smoke", "laptop", "full")
PRECISIONS = ("32-true", "bf16-mixed")
SCHEDULES = ("constant", "cosine")
PROGRESS = ("auto", "bar", "line", "none")
MOST_PROCESSES = 1024  # on one machine: far more than any has use for
ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")
# Those that copy the whole model to every process. Sharding makes optimisers after
# wrapping and hides single parameters, which freezing per phase, the averages and
# checkpoints of this loop need: ``mmgen.training.sharding`` is for loops without them.
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, on what and with which bookkeeping to train.

    Raises:
        ValueError: a value out of its range; the message names the field.
    """

    steps: int = 1000
    """optimiser steps of every phase"""
    batch_size: int = 64
    """samples a step, over all processes"""
    accumulate: int = 1
    """parts that a batch is cut into to save memory"""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """numbers that the networks compute with"""
    accelerator: str = "auto"
    """auto, cpu, cuda or mps"""
    devices: int = 1
    """processes on this machine"""
    strategy: str = "auto"
    """auto, ddp or ddp_find_unused_parameters_true"""
    seed: int = 0
    """order of samples, noise and dropout"""
    ema_decay: float = 0.999
    """decay of the averaged weights; 0: no averaging"""
    gradient_clip: float | None = None
    """largest norm of a phase's gradient"""
    schedule: Literal["constant", "cosine"] = "constant"
    """learning rate after the warm-up"""
    warmup_steps: int = 0
    """steps of linear warm-up"""
    checkpoint_every: int = 500
    """steps between checkpoints"""
    log_every: int = 50
    """steps between rows of the metrics"""
    sample_every: int = 0
    """steps between grids of samples; 0: none"""
    workers: int = 0
    """processes that prepare batches ahead"""
    max_minutes: float | None = None
    """stop after this time, with a checkpoint"""
    compile: bool = False
    """torch.compile the networks"""
    channels_last: bool = False
    """store pictures channel by channel last"""
    deterministic: bool = False
    """only algorithms that repeat bit for bit"""
    tensorboard: bool = True
    """write TensorBoard logs where it is installed"""
    progress: Literal["auto", "bar", "line", "none"] = "auto"
    """auto: bar in a terminal, else a line a minute"""
    out: str | None = None
    """the run's folder; none: nothing is written"""
    start_from: str | None = None
    """run whose weights to begin with, where they fit; averages if only used"""

    def __post_init__(self) -> None:
        for name in ("out", "start_from"):
            value = getattr(self, name)
            if isinstance(value, Path):
                object.__setattr__(self, name, str(value))
            _require(value != "", name, value, "a folder, or None")
        for name in (
            "steps",
            "batch_size",
            "accumulate",
            "devices",
            "checkpoint_every",
            "log_every",
        ):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("warmup_steps", "sample_every", "workers"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("devices", "workers"):
            value = getattr(self, name)
            _require(value <= MOST_PROCESSES, name, value, f"at most {MOST_PROCESSES}")
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "in [0, 1)")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "in 0..2^63 - 1")
        for name in ("gradient_clip", "max_minutes"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "above 0, or None")
        for name, choices in (
            ("precision", PRECISIONS),
            ("schedule", SCHEDULES),
            ("progress", PROGRESS),
            ("strategy", STRATEGIES),
            ("accelerator", ACCELERATORS),
        ):
            value = getattr(self, name)
            _require(value in choices, name, value, "one of " + ", ".join(choices))
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size must be a multiple of accumulate={self.accumulate}, the "
                f"parts that it is cut into; got {self.batch_size}."
            )


def _require(fine: bool, name: str, value: object, demand: str) -> None:
    if not fine:
        raise ValueError(f"{name} must be {demand}; got {value!r}.")


def scale(given: str | None = None) -> str:
    """The size to train at: "smoke", "laptop" or "full".

    Args:
        given: a choice; else the environment variable MMGEN_SCALE decides, else the
            hardware: "full" where CUDA has a device.

    Raises:
        ValueError: another name.
    """
    choice = given or os.environ.get("MMGEN_SCALE")
    if choice is None:
        import torch

        return "full" if torch.cuda.is_available() else "laptop"
    if choice not in SCALES:
        source = "scale" if given else "MMGEN_SCALE"
        raise ValueError(
            f"{source} must be one of {', '.join(SCALES)}; got {choice!r}."
        )
    return choice
