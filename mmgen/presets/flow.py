"""Presets of flow matching."""

from __future__ import annotations

from dataclasses import replace

from mmgen.models.flow import FlowConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun
from mmgen.presets.measured import EMOJI, SHAPES
from mmgen.presets.writers import ON_CPU, writing_defaults


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    data, sizes, training = writing_defaults(scale, data_name)
    config = FlowConfig(**sizes)
    return Preset(f"flow-{data_name}-{scale}", "flow", data, config, training)


PUBLISHED = (
    Preset(
        "flow-shapes64",
        "flow",
        {**begun("shapes", 64, "both"), "objects": (1, 2), "size": 400_000},
        FlowConfig(
            tokenizer="ae-shapes64",
            aligned="align-shapes64",
            channels=4,
            network="unet",
            depth=4,
            time_mean=-1.0,
            learning_rate=1.2e-3,
            guidance=3.0,
            draw_steps=12,
        ),
        replace(ON_CPU, steps=4500, batch_size=32, channels_last=True),
        measured=SHAPES,
    ),
    Preset(
        "flow-emoji64",
        "flow",
        {**begun("emoji", 64, "both"), "split_by": "combination"},
        FlowConfig(
            tokenizer="ae-emoji64",
            aligned="align-emoji64",
            channels=4,
            network="unet",
            width=96,
            depth=4,
            time_mean=-1.0,
            learning_rate=1.2e-3,
            guidance=3.0,
            draw_steps=12,
        ),
        replace(ON_CPU, steps=3000, batch_size=32, channels_last=True),
        measured=EMOJI,
    ),
)
