"""What presets of models that write share: of codes their sizes, and a training."""

from __future__ import annotations

from typing import Any

from mmgen.presets.datasets import begun, both_languages
from mmgen.training import TrainingConfig


def writing_defaults(
    scale: str, data_name: str
) -> tuple[dict[str, Any], dict[str, Any], TrainingConfig]:
    """Arguments of load_dataset and of a config, and the training, at a scale."""
    full = scale == "full"
    size = 64 if full else 32
    # the codes of a data set that has none of its own yet: train them, and name the run
    tokenizer = f"vq-{data_name}{size}"
    data = begun(data_name, size, both_languages(data_name) if full else "en")
    if data_name == "shapes":
        data["objects"] = (1, 2) if full else (1,)
    if data_name == "emoji":
        data["split_by"] = "combination"
    config: dict[str, Any]
    if scale == "smoke":
        config = {"width": 16, "depth": 1, "heads": 2}
        training = TrainingConfig(steps=3, batch_size=8)
    elif scale == "laptop":
        config = {"width": 128, "depth": 4, "heads": 4, "learning_rate": 3e-3}
        training = TrainingConfig(
            steps=800, schedule="cosine", warmup_steps=50, ema_decay=0.98
        )
    else:  # the sizes of the published weights, which may take 12 MB
        config = {"learning_rate": 1e-3}
        training = TrainingConfig(
            steps=60_000,
            batch_size=256,
            schedule="cosine",
            warmup_steps=1000,
            precision="bf16-mixed",
            gradient_clip=1.0,
            checkpoint_every=2000,
        )
    return data, {"tokenizer": tokenizer, **config}, training


# Published weights: in full precision, which is twice as fast on a processor without
# matrix units for bfloat16.
ON_CPU = TrainingConfig(
    batch_size=16,
    schedule="cosine",
    warmup_steps=300,
    ema_decay=0.998,
    gradient_clip=1.0,
)
