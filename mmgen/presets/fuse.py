"""Presets of fusion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmgen.models.fusion import FusionConfig
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
    # What is aligned already need only be fused.
    aligned = "damsm-shapes64" if data_name == "shapes" else ""
    if scale == "smoke":
        config = FusionConfig(16, feature_dim=16, width=8, grid=4, patch=2, hidden=16)
        training = TrainingConfig(steps=3, batch_size=8)
    elif scale == "laptop":
        config = FusionConfig(aligned=aligned)
        training = TrainingConfig(
            steps=400,
            batch_size=16,
            schedule="cosine",
            warmup_steps=50,
            ema_decay=0.98,
            gradient_clip=1.0,
            channels_last=True,
        )
    else:
        config = FusionConfig(aligned=aligned)
        training = TrainingConfig(
            steps=40_000,
            batch_size=128,
            schedule="cosine",
            warmup_steps=500,
            gradient_clip=1.0,
            precision="bf16-mixed",
            workers=2,
        )
    return Preset(f"fuse-{data_name}-{scale}", "fuse", data, config, training)


PUBLISHED = (
    Preset(
        "fuse-shapes64",
        "fuse",
        {**begun("shapes", 64, "both"), "objects": (1, 2), "size": 400_000},
        FusionConfig(aligned="damsm-shapes64"),
        replace(ON_CPU, steps=10_000, batch_size=32, channels_last=True),
        measured=SHAPES,
    ),
)
