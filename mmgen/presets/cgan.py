"""Presets of the conditional GAN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmgen.data.shapes import TAUGHT
from mmgen.models.cgan import CGANConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import LABELLED, TAUGHT_SHAPES, begun, both_languages
from mmgen.presets.measured import SHAPES
from mmgen.training import TrainingConfig


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    full = scale == "full"
    data: dict[str, Any] = begun(
        data_name, 64 if full else 32, both_languages(data_name) if full else "en"
    )
    if data_name == "shapes" and full:
        data |= {"objects": (1, 2), "attributes": TAUGHT}
    elif data_name == "shapes":
        data["objects"] = (1,)
        if scale == "laptop":  # labels are the condition: captions that state all
            data["kinds"] = ("single",)
    if data_name == "emoji":
        # recombination is asked for: each part of a test picture was seen before
        data |= {"subset": "roles", "split_by": "combination"}
    # a few thousand pictures are soon known by heart; Shapes are endless
    augment = data_name != "shapes"
    if scale == "smoke":
        config = CGANConfig(
            noise_dim=8, condition_dim=16, width=4, max_width=16, augment=augment
        )
        training = TrainingConfig(steps=4, batch_size=8)
    elif scale == "laptop":
        config = CGANConfig(
            # labels are learned in a minute and a half, sentences in half an hour
            condition="attributes" if data_name in LABELLED else "sentence",
            width=16,
            augment=augment,
            generator_rate=8e-4,
            discriminator_rate=1e-3,
        )
        training = TrainingConfig(
            steps=500,
            batch_size=48,
            ema_decay=0.99,
            # one run in several would otherwise lose half of it in a single burst
            gradient_clip=5.0,
        )
    else:
        config = CGANConfig(
            image_size=64,
            embedding_dim=128,
            condition_dim=256,
            max_width=256,
            labels=data_name in LABELLED,
            augment=augment,
            generator_rate=2e-4,
        )
        training = TrainingConfig(
            steps=20_000,
            batch_size=128,
            precision="bf16-mixed",
            channels_last=True,
            # without it, one burst at step 2,600 undid what 1,500 steps had taught
            gradient_clip=5.0,
        )
    return Preset(f"cgan-{data_name}-{scale}", "cgan", data, config, training)


_SMALL = CGANConfig(
    image_size=64,
    embedding_dim=128,
    condition_dim=192,
    width=16,
    max_width=192,
    generator_rate=6e-4,
    discriminator_rate=8e-4,
)

_TRAINING = TrainingConfig(
    batch_size=48, ema_decay=0.998, gradient_clip=5.0, channels_last=True
)

PUBLISHED = (
    # one object first: shapes, colours and grounds are learned in a third of the steps
    Preset(
        "cgan-shapes64-first",
        "cgan",
        {**TAUGHT_SHAPES, "objects": (1,)},
        replace(_SMALL, labels=True),
        replace(_TRAINING, steps=1500),
        stage=True,
    ),
    Preset(
        "cgan-shapes64",
        "cgan",
        {**TAUGHT_SHAPES, "objects": (1, 2)},
        replace(_SMALL, labels=True),
        replace(_TRAINING, steps=2500, schedule="cosine", warmup_steps=100),
        start="cgan-shapes64-first",
        measured=SHAPES,
    ),
    Preset(
        "cgan-emoji64",
        "cgan",
        {
            **begun("emoji", 64, "en"),
            "subset": "roles",
            "split_by": "combination",
        },
        replace(_SMALL, condition="attributes", augment=True),
        replace(_TRAINING, steps=900),
        # combinations never seen, and those of the training
        measured=tuple(
            ("--split", split, "--scorer", "damsm-emoji64")
            for split in ("test", "train")
        ),
    ),
)
