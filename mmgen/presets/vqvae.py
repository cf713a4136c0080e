"""Presets of the autoencoder of codes."""

from __future__ import annotations

from dataclasses import replace

from mmgen.models.vqvae import VQVAEConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun
from mmgen.presets.measured import EMOJI, SHAPES
from mmgen.training import TrainingConfig

# 64 codes a picture: at 64 px of 12 bits (emoji: 10), at 32 px of 9
_LARGE = VQVAEConfig(codes=4096, restart_below=0.005)
_SMALL = VQVAEConfig(codes=512, reduction=4, patch=2, channels=48)
# Of few pictures, a model of codes learns few codes better; they have more words, whose
# table takes room too.
_EMOJI = replace(_LARGE, codes=1024)

# no codes: for a flow to draw in, finer places of fewer numbers
_CONTINUOUS = VQVAEConfig(
    quantiser="none",
    code_dim=4,
    noise=0.4,
    price=0.01,
    reduction=4,
    width=64,
    context=True,
    patch=2,
    channels=32,
)


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    full = scale == "full"
    data = begun(data_name, 64 if full else 32, "en")
    if data_name == "shapes":
        data["objects"] = (1, 2, 3, 4) if full else (1,)
    if scale == "smoke":
        config = VQVAEConfig(codes=16, width=16, channels=8, depth=1)
        training = TrainingConfig(steps=4, batch_size=8)
    elif scale == "laptop":
        config = replace(_SMALL, codes=256, width=128, channels=32, depth=1)
        training = TrainingConfig(
            steps=400,
            batch_size=32,
            schedule="cosine",
            warmup_steps=50,
            ema_decay=0.98,
        )
    else:
        published = _EMOJI if data_name == "emoji" else _LARGE
        config = replace(published, channels=128)
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
        _LARGE,
        replace(_ON_CPU, steps=10_000),
        measured=SHAPES,
    ),
    Preset(
        "vq-shapes32",
        "vqvae",
        {**begun("shapes", 32, "en"), "objects": (1,)},
        _SMALL,
        replace(_ON_CPU, steps=5000),
        measured=SHAPES[:1],
    ),
    Preset(
        "vq-emoji64",
        "vqvae",
        {**begun("emoji", 64, "en"), "split_by": "combination"},
        _EMOJI,
        replace(_ON_CPU, steps=4000),
        measured=EMOJI,
    ),
    Preset(
        "ae-shapes64",
        "vqvae",
        {**begun("shapes", 64, "en"), "objects": (1, 2, 3, 4)},
        _CONTINUOUS,
        replace(_ON_CPU, steps=1600),
        measured=SHAPES,
    ),
    Preset(
        "ae-emoji64",
        "vqvae",
        {**begun("emoji", 64, "en"), "split_by": "combination"},
        _CONTINUOUS,
        replace(_ON_CPU, steps=1600),
        measured=EMOJI,
    ),
)
