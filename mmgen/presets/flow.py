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


_DATA = {**begun("shapes", 64, "both"), "objects": (1, 2), "size": 400_000}
_SHAPES = FlowConfig(
    tokenizer="ae-shapes64",
    aligned="align-shapes64",
    channels=4,
    network="unet",
    depth=4,
    time_mean=-1.0,
    learning_rate=1.2e-3,
    guidance=3.0,
    draw_steps=12,
)
_TRAINING = replace(ON_CPU, steps=4500, batch_size=32, channels_last=True)

PUBLISHED = (
    # twice the same: the rate falls to nothing, and begins once more
    Preset(
        "flow-shapes64-first",
        "flow",
        _DATA,
        _SHAPES,
        _TRAINING,
        stage=True,
    ),
    Preset(
        "flow-shapes64",
        "flow",
        _DATA,
        _SHAPES,
        replace(_TRAINING, seed=1),
        start="flow-shapes64-first",
        measured=SHAPES,
    ),
    Preset(
        "flow-emoji64",
        "flow",
        {**begun("emoji", 64, "both"), "split_by": "combination"},
        replace(_SHAPES, tokenizer="ae-emoji64", aligned="align-emoji64", width=96),
        replace(_TRAINING, steps=3000),
        measured=EMOJI,
    ),
)
