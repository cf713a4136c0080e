"""Presets of captioning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmgen.models.captioning import CaptioningConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun, both_languages
from mmgen.presets.measured import SHAPES
from mmgen.presets.writers import ON_CPU
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    language = both_languages(data_name) if scale == "full" else "en"
    data: dict[str, Any] = begun(data_name, 16 if scale == "smoke" else 64, language)
    if data_name == "shapes":
        data["objects"] = (1,) if scale == "laptop" else (1, 2)
    if data_name == "emoji":
        data["split_by"] = "combination"
    # An encoder that was taught by captions knows what is spoken of.
    aligned = f"damsm-{data_name}64" if data_name in ("shapes", "emoji") else ""
    if scale == "smoke":
        config = CaptioningConfig(
            16, 16, width=8, grid=4, patch=2, hidden=16, depth=1, heads=2
        )
        training = TrainingConfig(steps=3, batch_size=8)
    elif scale == "laptop":
        config = CaptioningConfig(decoder="lstm", aligned=aligned)
        training = TrainingConfig(
            steps=300,
            batch_size=32,
            schedule="cosine",
            warmup_steps=30,
            ema_decay=0.98,
            gradient_clip=1.0,
            channels_last=True,
        )
    else:
        config = CaptioningConfig(aligned=aligned)
        training = TrainingConfig(
            steps=40_000,
            batch_size=256,
            schedule="cosine",
            warmup_steps=500,
            gradient_clip=1.0,
            precision="bf16-mixed",
            workers=2,
        )
    return Preset(f"caption-{data_name}-{scale}", "caption", data, config, training)


_ON_CPU = replace(ON_CPU, steps=8000, batch_size=32, channels_last=True)

# Emoji of combinations never seen, where they were drawn; in each language.
_AS_DRAWN = (("--split", "test", "--data-shift", "0"),)
_SHAPES = {**begun("shapes", 64, "both"), "size": 400_000}

PUBLISHED = (
    # First alone those captions that tell a relation: elsewhere few words do, and what
    # decides them takes long to be found.
    Preset(
        "caption-shapes64-relations",
        "caption",
        {**_SHAPES, "objects": (2,), "kinds": ("position",)},
        CaptioningConfig(aligned="damsm-shapes64"),
        replace(_ON_CPU, steps=2000, schedule="constant"),
        stage=True,
    ),
    Preset(
        "caption-shapes64",
        "caption",
        {**_SHAPES, "objects": (1, 2)},
        CaptioningConfig(aligned="damsm-shapes64"),
        _ON_CPU,
        start="caption-shapes64-relations",
        measured=SHAPES,
    ),
    Preset(
        "caption-emoji64",
        "caption",
        {**begun("emoji", 64, "both"), "split_by": "combination", "shift": 2},
        CaptioningConfig(aligned="damsm-emoji64"),
        replace(_ON_CPU, steps=1500),
        measured=_AS_DRAWN,
    ),
)
