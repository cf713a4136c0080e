"""Presets of AttnGAN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmgen.data.shapes import TAUGHT
from mmgen.models.attngan import AttnGANConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import LABELLED, both_languages
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    if data_name in ("cub", "coco") and scale == "full":
        return _paper(data_name)
    labels = data_name in LABELLED
    config = AttnGANConfig.small(damsm=f"damsm-{data_name}64", labels=labels)
    data: dict[str, Any] = {
        "name": data_name,
        "split": "train",
        "image_size": 64 if scale == "full" else 32,
        "language": both_languages(data_name),
    }
    if data_name == "emoji":
        # A few thousand pictures: without it the discriminators know each by heart.
        config = replace(config, augment=True)
        data["split_by"] = "combination"
    if data_name == "shapes":
        config = replace(config, every_value=True)
        data["objects"] = (1, 2) if scale == "full" else (1,)
    if scale == "full":
        if data_name == "shapes":
            data["attributes"] = TAUGHT
            config = replace(config, reading_weight=1.0)
        training = TrainingConfig(
            steps=30_000,
            precision="bf16-mixed",
            channels_last=True,
            max_minutes=14.0,
            checkpoint_every=2000,
            sample_every=2000,
            # without it, one burst at step 2,200 undid what an hour had taught
            gradient_clip=5.0,
        )
    else:
        config = replace(
            config,
            sizes=(16, 32),
            taper=True,
            residual_blocks=1,
            generator_channels=8,
            discriminator_channels=8,
            noise_dim=32,
            condition_dim=64,
            learning_rate=1e-3,
            discriminator_learning_rate=8e-4,
        )
        if data_name == "shapes":
            # It draws shapes early; a long training runs away with it.
            config = replace(config, labels_weight=1.0)
        training = TrainingConfig(steps=240, batch_size=32, ema_decay=0.98)
        if scale == "smoke":
            training = replace(training, steps=3, batch_size=8)
    return Preset(f"attngan-{data_name}-{scale}", "attngan", data, config, training)


def _paper(data_name: str) -> Preset:
    """The original's networks, batch and number of epochs, in today's arithmetic."""
    if data_name == "cub":
        config, batch_size, epochs, pictures = AttnGANConfig.cub(), 20, 600, 8855
    else:
        config, batch_size, epochs, pictures = AttnGANConfig.coco(), 14, 120, 82_783
    return Preset(
        f"attngan-{data_name}-full",
        "attngan",
        {"name": data_name, "split": "train", "image_size": 256, "language": "en"},
        config,
        TrainingConfig(
            steps=epochs * (pictures // batch_size),
            batch_size=batch_size,
            precision="bf16-mixed",
            channels_last=True,
            compile=True,
            workers=8,
            checkpoint_every=2000,
            sample_every=2000,
        ),
    )


PUBLISHED: tuple[Preset, ...] = ()
