"""Presets of the masked model of codes."""

from __future__ import annotations

from dataclasses import replace

from mmgen.models.masked import MaskedConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun
from mmgen.presets.measured import SHAPES
from mmgen.presets.writers import ON_CPU, writing_defaults


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    data, config, training = writing_defaults(scale, data_name)
    return Preset(
        f"masked-{data_name}-{scale}", "masked", data, MaskedConfig(**config), training
    )


PUBLISHED = (
    Preset(
        "masked-shapes64",
        "masked",
        {**begun("shapes", 64, "both"), "objects": (1, 2), "size": 400_000},
        MaskedConfig(tokenizer="vq-shapes64", guidance=1.5, learning_rate=1e-3),
        replace(ON_CPU, steps=6000, warmup_steps=50),
        # the same network: what words and codes mean is learned already, and what is
        # new, to look ahead, takes a fraction of the steps that all would take
        start="ar-shapes64",
        measured=SHAPES,
    ),
)
