"""Presets of the variational autoencoder."""

from __future__ import annotations

from dataclasses import replace

from mmgen.models.vae import VAEConfig
from mmgen.presets import Preset
from mmgen.presets.autoencoders import FLAT, SHAPES, on_cpu, picture_defaults


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    data, config, training = picture_defaults(scale, data_name)
    name = f"vae-{data_name}-{scale}"
    return Preset(name, "vae", data, VAEConfig(**config), training)


PUBLISHED = (
    Preset(
        "vae-shapes64",
        "vae",
        {**SHAPES, "language": "en"},
        VAEConfig(
            **FLAT, latent_dim=32, channels=32, hidden_dim=160, learning_rate=3e-3
        ),
        replace(on_cpu(steps=2000, ema_decay=0.99), precision="32-true"),
    ),
)
