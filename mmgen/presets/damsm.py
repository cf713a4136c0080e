"""Presets of the matching model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmgen.layers.text import UNIT_RANGE
from mmgen.models.damsm import DAMSMConfig
from mmgen.presets import Preset
from mmgen.presets.measured import EMOJI_MATCHING, SHAPES
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set.

    Photographs, and features of them, are matched as in the paper: through a frozen
    Inception-v3, for as many epochs as the published weights had.
    """
    if data_name in ("cub", "coco", "features"):
        return _paper(scale, data_name)
    emoji = data_name == "emoji"
    data: dict[str, Any] = {
        "name": data_name,
        "split": "train",
        "image_size": {"smoke": 16, "laptop": 32, "full": 64}[scale],
        "language": "en" if scale == "laptop" else "both",
    }
    if emoji and scale != "smoke":
        data["split_by"] = "combination"
    training = TrainingConfig(schedule="cosine", gradient_clip=1.0)
    if scale == "smoke":
        config = DAMSMConfig(16, 32, 16, width=8, grid=4)
        training = replace(training, steps=4, batch_size=8)
    elif scale == "laptop":
        # Shapes are told apart last. 32 px in patches of 2 show them sooner than
        # patches of 4, and so do, from most seeds, words that begin with unit variance.
        data |= {"objects": (1,)} if data_name == "shapes" else {}
        config = DAMSMConfig(
            image_size=32,
            feature_dim=64,
            embedding_dim=32,
            width=16,
            grid=4,
            pooling="mean",
            dropout=0.0,
            word_range=UNIT_RANGE,
            learning_rate=4.5e-3,
        )
        training = replace(
            training,
            steps=1200,
            batch_size=64,
            warmup_steps=50,
            ema_decay=0.99,
            channels_last=True,
        )
    else:
        data |= {"shift": 2} if emoji else {"objects": (1, 2)}
        # Words begin faint, as in the original: ten minutes are long enough for them.
        config = DAMSMConfig(dropout=0.1 if emoji else 0.2)
        training = replace(
            training,
            steps=4000,
            batch_size=256,
            warmup_steps=200,
            precision="bf16-mixed",
            workers=2,
            ema_decay=0.998,
        )
    return Preset(f"damsm-{data_name}-{scale}", "damsm", data, config, training)


def _paper(scale: str, data_name: str) -> Preset:
    """AttnGAN's sizes and rates; the smaller scales are fewer steps of them."""
    epochs, pictures = (100, 82_783) if data_name == "coco" else (200, 8_855)
    steps = {"smoke": 2, "laptop": 200, "full": epochs * (pictures // 48)}
    return Preset(
        f"damsm-{data_name}-{scale}",
        "damsm",
        {"name": data_name, "split": "train", "image_size": 299, "language": "en"},
        DAMSMConfig(
            299, 256, 300, encoder="inception", dropout=0.5, learning_rate=2e-3
        ),
        TrainingConfig(
            steps=steps[scale],
            batch_size=4 if scale == "smoke" else 48,
            schedule="cosine",
            gradient_clip=1.0,
            workers=4 if scale == "full" else 0,
        ),
    )


_SMALL = DAMSMConfig(
    feature_dim=128, embedding_dim=64, width=48, patch=4, learning_rate=2e-3
)
_TRAINING = TrainingConfig(
    steps=4500,
    batch_size=48,
    precision="bf16-mixed",
    ema_decay=0.995,
    gradient_clip=1.0,
    schedule="cosine",
    warmup_steps=100,
    channels_last=True,
)
_SHAPES = Preset(
    "damsm-shapes64",
    "damsm",
    {
        "name": "shapes",
        "split": "train",
        "image_size": 64,
        "language": "both",
        "objects": (1, 2),
    },
    _SMALL,
    _TRAINING,
    measured=SHAPES,
)
_EMOJI = Preset(
    "damsm-emoji64",
    "damsm",
    {
        "name": "emoji",
        "split": "train",
        "image_size": 64,
        "language": "both",
        "split_by": "combination",
        "shift": 2,
    },
    replace(_SMALL, dropout=0.1),
    _TRAINING,
    measured=EMOJI_MATCHING,
)

# Scorers are trained apart from the models whose pictures they score, from other first
# weights.
PUBLISHED = (
    _SHAPES,
    _EMOJI,
    replace(_SHAPES, name="damsm-shapes64-scorer", training=replace(_TRAINING, seed=1)),
    replace(
        _EMOJI,
        name="damsm-emoji64-scorer",
        training=replace(_TRAINING, seed=1, steps=3200),
    ),
)
