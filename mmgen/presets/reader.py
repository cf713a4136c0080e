"""Presets of the reader."""

from __future__ import annotations

from typing import Any

from mmgen.data.shapes import TAUGHT
from mmgen.models.reader import ReaderConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun, both_languages
from mmgen.presets.measured import SHAPES
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    # nobody looks at the pictures
    data: dict[str, Any] = begun(data_name, 32, both_languages(data_name))
    if data_name == "emoji":
        data["split_by"] = "combination"
    if data_name == "shapes":
        data |= {"objects": (1, 2), "attributes": TAUGHT}
    if scale == "smoke":
        config = ReaderConfig(feature_dim=16, embedding_dim=8)
        training = TrainingConfig(steps=4, batch_size=8)
    else:
        config = ReaderConfig()
        training = TrainingConfig(
            steps=5000 if scale == "full" else 1000,
            batch_size=128,
            schedule="cosine",
            warmup_steps=100,
        )
    return Preset(f"reader-{data_name}-{scale}", "reader", data, config, training)


PUBLISHED = (
    Preset(
        "reader-shapes64",
        "reader",
        {
            **begun("shapes", 32, "both"),
            "objects": (1, 2),
            "attributes": TAUGHT,
        },
        ReaderConfig(),
        TrainingConfig(
            steps=4000,
            batch_size=128,
            schedule="cosine",
            warmup_steps=50,
            ema_decay=0.99,
            gradient_clip=5.0,
        ),
        measured=SHAPES,
    ),
)
