"""Presets of the two towers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmgen.models.alignment import AlignmentConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun, both_languages
from mmgen.presets.measured import EMOJI_MATCHING, SHAPES
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    shapes = data_name == "shapes"
    size = {"smoke": 16, "laptop": 32, "full": 64}[scale]
    language = "en" if scale == "laptop" else both_languages(data_name)
    data: dict[str, Any] = begun(data_name, size, language)
    if data_name == "emoji" and scale != "smoke":
        data["split_by"] = "combination"
    training = TrainingConfig(schedule="cosine", gradient_clip=1.0)
    if scale == "smoke":
        config = AlignmentConfig(16, 32, 16, 32, width=8, grid=4, patch=2)
        training = replace(training, steps=4, batch_size=8)
    elif scale == "laptop":
        data |= {"objects": (1,)} if shapes else {}
        config = AlignmentConfig(
            32, 64, 32, 64, width=16, grid=4, patch=2, learning_rate=4e-3
        )
        training = replace(
            training,
            steps=1000,
            batch_size=64,
            warmup_steps=50,
            ema_decay=0.99,
            channels_last=True,
        )
    else:
        data |= {"objects": (1, 2)} if shapes else {}
        config = AlignmentConfig(feature_dim=256, width=56, patch=2)
        training = replace(
            training,
            steps=20_000,
            batch_size=512,
            warmup_steps=500,
            precision="bf16-mixed",
            workers=4,
            ema_decay=0.998,
        )
    # A minute is better spent on more steps: of one object, captions of other pictures
    # teach all that there is to tell apart.
    config = replace(config, hard_negatives=shapes and scale != "laptop")
    return Preset(f"align-{data_name}-{scale}", "align", data, config, training)


_ON_CPU = TrainingConfig(
    steps=10_000,
    batch_size=64,
    schedule="cosine",
    warmup_steps=200,
    ema_decay=0.998,
    gradient_clip=1.0,
    channels_last=True,
)

PUBLISHED = (
    Preset(
        "align-shapes64",
        "align",
        {**begun("shapes", 64, "both"), "objects": (1, 2)},
        AlignmentConfig(hard_negatives=True),
        _ON_CPU,
        measured=SHAPES,
    ),
    Preset(
        "align-emoji64",
        "align",
        {**begun("emoji", 64, "both"), "split_by": "combination", "shift": 2},
        AlignmentConfig(),
        replace(_ON_CPU, steps=6000),
        measured=EMOJI_MATCHING,
    ),
)
