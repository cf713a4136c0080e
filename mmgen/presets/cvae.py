"""Presets of the conditional variational autoencoder."""

from __future__ import annotations

from dataclasses import replace

from mmgen.models.vae import ConditionalVAEConfig
from mmgen.presets import Preset
from mmgen.presets.autoencoders import FLAT, SHAPES, on_cpu, picture_defaults
from mmgen.presets.datasets import both_languages
from mmgen.presets.measured import ONE_OBJECT


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    data, config, training = picture_defaults(scale, data_name)
    if scale == "smoke":
        config = {**config, "condition_dim": 16, "embedding_dim": 16}
    elif scale == "laptop":
        config = {**config, "condition_dim": 96, "embedding_dim": 64}
    else:
        data["language"] = both_languages(data_name)
    name = f"cvae-{data_name}-{scale}"
    return Preset(name, "cvae", data, ConditionalVAEConfig(**config), training)


_CONFIG = ConditionalVAEConfig(
    **FLAT,
    latent_dim=16,
    channels=32,
    hidden_dim=160,
    condition_dim=128,
    embedding_dim=64,
    learning_rate=4e-3,
)
_FIRST = Preset(
    "cvae-shapes64-first",
    "cvae",
    SHAPES,
    _CONFIG,
    on_cpu(steps=3400, ema_decay=0.99),
    stage=True,
)

PUBLISHED = (
    _FIRST,
    Preset(
        "cvae-shapes64",
        "cvae",
        SHAPES,
        replace(_CONFIG, learning_rate=3e-3),
        on_cpu(steps=5000, ema_decay=0.995),
        start=_FIRST.name,
        measured=ONE_OBJECT,
    ),
)
