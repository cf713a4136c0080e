"""What the presets of all autoencoders share."""

from __future__ import annotations

from typing import Any

from mmgen.training import TrainingConfig

# Shapes at full size: flat colours need no finer grid. And with a σ of half
# the range a nat buys what can be seen, so codes hold facts, which a prior can learn,
# not pixels.
FLAT: dict[str, Any] = {"patch": 4, "sigma": 0.5, "learn_sigma": False}

SHAPES: dict[str, Any] = {
    "name": "shapes",
    "split": "train",
    "image_size": 64,
    "language": "both",
    "objects": (1,),
}


def picture_defaults(
    scale: str, data_name: str
) -> tuple[dict[str, Any], dict[str, Any], TrainingConfig]:
    """Arguments of load_dataset and of a config, and the training, at a scale."""
    data: dict[str, Any] = {
        "name": data_name,
        "split": "train",
        "image_size": 64 if scale == "full" else 32,
        "language": "en",
    }
    if data_name == "shapes":
        data["objects"] = (1,)
    if scale == "smoke":
        config = {"latent_dim": 8, "channels": 4, "patch": 4, "hidden_dim": 32}
        return data, config, TrainingConfig(steps=4, batch_size=8)
    if scale == "laptop":
        config = {"latent_dim": 16, "channels": 16, "hidden_dim": 128}
        training = TrainingConfig(steps=600, schedule="cosine", ema_decay=0.98)
        return data, {**config, "learning_rate": 2e-3}, training
    training = TrainingConfig(
        steps=16_000,
        batch_size=128,
        schedule="cosine",
        warmup_steps=200,
        precision="bf16-mixed",
        max_minutes=8.0,
    )
    return data, FLAT if data_name == "shapes" else {}, training


def on_cpu(**changes: Any) -> TrainingConfig:
    """A training of published weights: short, in small batches, on two cores."""
    shared: dict[str, Any] = {
        "batch_size": 32,
        "precision": "bf16-mixed",
        "schedule": "cosine",
        "warmup_steps": 100,
        "channels_last": True,
    }
    return TrainingConfig(**{**shared, **changes})
