"""Presets of AttnGAN's modern variant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmgen.data.shapes import TAUGHT
from mmgen.models.attngan import ModernConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import LABELLED, TAUGHT_SHAPES, begun, both_languages
from mmgen.presets.measured import EMOJI, SHAPES
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    full = scale == "full"
    data: dict[str, Any] = begun(
        data_name, 64 if full else 32, both_languages(data_name)
    )
    if data_name == "emoji":
        data["split_by"] = "combination"
    if data_name == "shapes":
        data["objects"] = (1, 2) if full else (1,)
    told: dict[str, Any] = {
        "damsm": f"damsm-{data_name}64",
        "labels": data_name in LABELLED,
        # A few thousand pictures: without it the discriminators know each by heart.
        "augment": data_name == "emoji",
    }
    if full:
        if data_name == "shapes":
            data["attributes"] = TAUGHT
        # more channels, and the weights would not fit into the repository
        config = ModernConfig(**told, generator_channels=16)
        training = TrainingConfig(
            steps=30_000,
            precision="bf16-mixed",
            channels_last=True,
            checkpoint_every=2000,
            sample_every=2000,
            # without it, one burst at step 2,200 undid what an hour had taught
            gradient_clip=5.0,
        )
    else:
        config = ModernConfig(
            **told,
            sizes=(16, 32),
            residual_blocks=1,
            generator_channels=8,
            discriminator_channels=8,
            noise_dim=32,
            condition_dim=64,
            learning_rate=1e-3,
            discriminator_learning_rate=8e-4,
        )
        training = TrainingConfig(
            steps=3 if scale == "smoke" else 240,
            batch_size=8 if scale == "smoke" else 32,
            ema_decay=0.98,
        )
    name = f"attngan-modern-{data_name}-{scale}"
    return Preset(name, "attngan-modern", data, config, training)


_SMALL = ModernConfig(
    sizes=(32, 64),
    generator_channels=8,
    residual_blocks=1,
    noise_dim=32,
    condition_dim=64,
    feature_dim=128,  # that of the text encoder
    discriminator_channels=12,
    learning_rate=1e-3,
    discriminator_learning_rate=8e-4,
)
_TRAINING = TrainingConfig(
    batch_size=32, ema_decay=0.998, gradient_clip=5.0, channels_last=True
)
_FROM_READER = replace(_SMALL, damsm="damsm-shapes64", reader="reader-shapes64")
_SLOWER = replace(_FROM_READER, learning_rate=7e-4, discriminator_learning_rate=6e-4)

PUBLISHED = (
    # one object first: shapes, colours and grounds are learned in a third of the steps
    Preset(
        "attngan-shapes64-first",
        "attngan-modern",
        {**TAUGHT_SHAPES, "objects": (1,)},
        _FROM_READER,
        replace(_TRAINING, steps=2500),
        stage=True,
    ),
    # then one and two, twice: the rate falls to nothing, and begins once more
    Preset(
        "attngan-shapes64-second",
        "attngan-modern",
        {**TAUGHT_SHAPES, "objects": (1, 2)},
        _SLOWER,
        replace(_TRAINING, steps=3500, schedule="cosine", warmup_steps=100),
        start="attngan-shapes64-first",
        stage=True,
    ),
    Preset(
        "attngan-shapes64",
        "attngan-modern",
        {**TAUGHT_SHAPES, "objects": (1, 2)},
        _SLOWER,
        replace(_TRAINING, steps=3500, schedule="cosine", warmup_steps=100),
        start="attngan-shapes64-second",
        measured=SHAPES,
    ),
    Preset(
        "attngan-emoji64",
        "attngan-modern",
        {
            **begun("emoji", 64, "both"),
            "split_by": "combination",
        },
        replace(_SMALL, damsm="damsm-emoji64", augment=True),
        replace(_TRAINING, steps=1600),
        measured=EMOJI,
    ),
)
