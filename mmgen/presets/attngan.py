"""Presets of AttnGAN as published."""

from __future__ import annotations

from typing import Any

from mmgen.models.attngan import AttnGANConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun, both_languages
from mmgen.presets.measured import ONE_OBJECT
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    if data_name in ("cub", "coco") and scale == "full":
        return _paper(data_name)
    full = scale == "full"
    config = AttnGANConfig.small(damsm=f"damsm-{data_name}64")
    data: dict[str, Any] = begun(
        data_name, 64 if full else 32, both_languages(data_name)
    )
    if data_name == "emoji":
        data["split_by"] = "combination"
    if data_name == "shapes":
        data["objects"] = (1, 2) if full else (1,)
    if full:
        training = TrainingConfig(
            steps=30_000,
            precision="bf16-mixed",
            channels_last=True,
            checkpoint_every=2000,
            sample_every=2000,
        )
    else:
        config = AttnGANConfig.small(
            damsm=config.damsm,
            sizes=(16, 32),
            generator_channels=8,
            discriminator_channels=8,
            residual_blocks=1,
            noise_dim=32,
            condition_dim=64,
        )
        training = TrainingConfig(
            steps=3 if scale == "smoke" else 240,
            batch_size=8 if scale == "smoke" else 32,
            ema_decay=0.98,
        )
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


PUBLISHED = (
    # The paper's recipe at half the size of the other weights: without labels it takes
    # four times as many steps, and at 32 px a step costs a quarter.
    Preset(
        "attngan-paper-shapes32",
        "attngan",
        {**begun("shapes", 32, "both"), "objects": (1,)},
        AttnGANConfig.small(
            damsm="damsm-shapes64",
            feature_dim=128,  # that of the text encoder
            sizes=(16, 32),
            residual_blocks=1,
            learning_rate=1e-3,
        ),
        TrainingConfig(
            steps=14_000,
            batch_size=32,
            ema_decay=0.999,
            schedule="cosine",
            warmup_steps=100,
            channels_last=True,
        ),
        measured=ONE_OBJECT,
    ),
)
