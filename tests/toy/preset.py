"""Presets of the toy."""

from __future__ import annotations

from mmgen.models.toy import ToyConfig

from mmgen.presets import Preset
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    return Preset(
        f"toy-{data_name}-{scale}",
        "toy",
        {"name": data_name, "split": "train", "image_size": 32, "language": "en"},
        ToyConfig(),
        TrainingConfig(steps={"smoke": 4, "laptop": 200, "full": 2000}[scale]),
    )


PUBLISHED: tuple[Preset, ...] = ()
