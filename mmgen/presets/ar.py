"""Presets of the autoregressive model of codes."""

from __future__ import annotations

from dataclasses import replace

from mmgen.models.autoregressive import ARConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun
from mmgen.presets.measured import SHAPES
from mmgen.presets.writers import ON_CPU, writing_defaults


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    data, config, training = writing_defaults(scale, data_name)
    return Preset(f"ar-{data_name}-{scale}", "ar", data, ARConfig(**config), training)


PUBLISHED = (
    Preset(
        "ar-shapes64",
        "ar",
        {**begun("shapes", 64, "both"), "objects": (1, 2), "size": 400_000},
        ARConfig(tokenizer="vq-shapes64", guidance=1.5),
        replace(ON_CPU, steps=10_000),
        measured=SHAPES,
    ),
)
