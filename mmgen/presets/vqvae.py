"""Presets of the autoencoder of codes."""

from __future__ import annotations

from dataclasses import replace

from mmgen.models.vqvae import VQVAEConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun
from mmgen.presets.measured import EMOJI, SHAPES
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    full = scale == "full"
    data = begun(data_name, 64 if full else 32, "en")
    if data_name == "shapes":
        data["objects"] = (1, 2, 3, 4) if full else (1,)
    if scale == "smoke":
        config = VQVAEConfig(codes=16, channels=8, depth=1)
        training = TrainingConfig(steps=4, batch_size=8)
    elif scale == "laptop":
        # a scalar quantiser: in a minute, vectors and codebook hardly meet
        config = VQVAEConfig(
            quantiser="scalar",
            levels=(8, 6, 5),
            reduction=4,
            patch=2,
            channels=32,
            depth=1,
        )
        training = TrainingConfig(
            steps=400,
            batch_size=32,
            schedule="cosine",
            warmup_steps=50,
            ema_decay=0.98,
        )
    else:
        config = VQVAEConfig(codes=1024, channels=128, learning_rate=1e-3)
        training = TrainingConfig(
            steps=20_000,
            batch_size=128,
            schedule="cosine",
            warmup_steps=200,
            precision="bf16-mixed",
            max_minutes=20.0,
        )
    name = f"vqvae-{data_name}-{scale}"
    return Preset(name, "vqvae", data, config, training)


# 64 codes of 12 bits: with a vector quantiser of as many codes, outlines of small
# objects came into focus more slowly.
_SMALL = VQVAEConfig(quantiser="scalar", levels=(8, 8, 8, 8), channels=64, depth=1)
_ON_CPU = TrainingConfig(
    batch_size=32,
    schedule="cosine",
    warmup_steps=100,
    ema_decay=0.995,
    gradient_clip=1.0,
    channels_last=True,
)

PUBLISHED = (
    Preset(
        "vq-shapes64",
        "vqvae",
        {**begun("shapes", 64, "en"), "objects": (1, 2, 3, 4)},
        _SMALL,
        replace(_ON_CPU, steps=10_000),
        measured=SHAPES,
    ),
    Preset(
        "vq-shapes32",
        "vqvae",
        {**begun("shapes", 32, "en"), "objects": (1,)},
        # objects are half as wide here, and so are the squares
        replace(_SMALL, levels=(8, 6, 5), reduction=4, patch=2, channels=48),
        replace(_ON_CPU, steps=5000),
        measured=SHAPES[:1],
    ),
    Preset(
        "vq-emoji64",
        "vqvae",
        {**begun("emoji", 64, "en"), "split_by": "combination"},
        _SMALL,
        replace(_ON_CPU, steps=6000),
        measured=EMOJI,
    ),
)
