"""Presets of the multimodal variational autoencoder."""

from __future__ import annotations

from dataclasses import replace

from mmgen.models.multimodal_vae import MultimodalVAEConfig
from mmgen.presets import Preset
from mmgen.presets.autoencoders import FLAT, SHAPES, on_cpu, picture_defaults
from mmgen.presets.datasets import both_languages
from mmgen.presets.measured import ONE_OBJECT


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    data, config, training = picture_defaults(scale, data_name)
    if scale == "smoke":
        config = {**config, "style_dim": 4, "sentence_dim": 16, "embedding_dim": 16}
    elif scale == "laptop":
        config = {**config, "style_dim": 8, "sentence_dim": 96, "embedding_dim": 64}
    else:
        data["language"] = both_languages(data_name)
        training = replace(training, steps=12_000)
    if scale == "full" and data_name == "shapes":
        # Two terms a step, not three; and words that weigh about what pixels do.
        config = {**config, "fusion": "moe", "caption_weight": 50.0}
    if scale == "full" and data_name == "emoji":
        # thousands of single pictures: more to tell apart, and more beyond words; with
        # all of those words the networks must fit into 12 MB
        config = {**config, "latent_dim": 32, "style_dim": 64, "channels": 28}
        config |= {"hidden_dim": 224, "embedding_dim": 64}
    name = f"mvae-{data_name}-{scale}"
    return Preset(name, "mvae", data, MultimodalVAEConfig(**config), training)


_CONFIG = MultimodalVAEConfig(
    **FLAT,
    latent_dim=16,
    channels=32,
    hidden_dim=160,
    style_dim=12,
    fusion="moe",
    caption_weight=25.0,
    sentence_dim=128,
    embedding_dim=64,
    learning_rate=2e-3,
)

# Networks of pictures and words are those of the conditional VAE, so that writing is
# what is left to learn; words weigh much first, and the joint prior comes last, alone.
_FIRST = Preset(
    "mvae-shapes64-first",
    "mvae",
    SHAPES,
    replace(_CONFIG, caption_weight=50.0, learning_rate=2.5e-3),
    on_cpu(steps=4500, ema_decay=0.995, warmup_steps=50),
    start="cvae-shapes64",
    stage=True,
)
_SECOND = Preset(
    "mvae-shapes64-second",
    "mvae",
    SHAPES,
    _CONFIG,
    on_cpu(steps=3000, ema_decay=0.995, warmup_steps=50),
    start=_FIRST.name,
    stage=True,
)
_THIRD = Preset(
    "mvae-shapes64-third",
    "mvae",
    SHAPES,
    _CONFIG,
    on_cpu(steps=2600, ema_decay=0.995, warmup_steps=50),
    start=_SECOND.name,
    stage=True,
)

PUBLISHED = (
    _FIRST,
    _SECOND,
    _THIRD,
    Preset(
        "mvae-shapes64",
        "mvae",
        SHAPES,
        replace(_CONFIG, joint_prior=320, learning_rate=4e-3),
        on_cpu(steps=4000, batch_size=128, ema_decay=0.995),
        start=_THIRD.name,
        measured=tuple((*words, "--count", "1000") for words in ONE_OBJECT),
    ),
    Preset(
        "mvae-emoji64",
        "mvae",
        {
            "name": "emoji",
            "split": "train",
            "image_size": 64,
            "language": "both",
            "subset": "roles",
            "split_by": "combination",
        },
        replace(
            _CONFIG,
            sigma=0.3,
            latent_dim=32,
            style_dim=8,
            caption_weight=50.0,
            learning_rate=2.5e-3,
        ),
        on_cpu(steps=2000, ema_decay=0.99),
        # combinations never seen, and those of the training
        measured=tuple(
            ("--split", split, "--language", language)
            for split in ("test", "train")
            for language in ("en", "zh")
        ),
    ),
)
