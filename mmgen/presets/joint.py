"""Presets of the joint model of captions and pictures."""

from __future__ import annotations

from dataclasses import replace

from mmgen.models.joint import JointConfig
from mmgen.presets import Preset
from mmgen.presets.datasets import begun
from mmgen.presets.measured import SHAPES
from mmgen.presets.writers import ON_CPU, writing_defaults


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    data, config, training = writing_defaults(scale, data_name)
    size = data["image_size"]
    if scale == "smoke":
        config |= {"rank": 8, "language_width": 16, "language_depth": 1}
        config |= {"feature_dim": 16, "picture_width": 8, "hidden": 16}
    elif scale == "laptop":
        config |= {"language_width": 64, "fusion": "film"}
        training = replace(training, steps=400, batch_size=16)
    else:
        # An encoder that was taught by captions knows what is spoken of.
        known = data_name in ("shapes", "emoji")
        config["aligned"] = f"damsm-{data_name}64" if known else ""
    config = {"language_rate": 1.0, **config}  # nothing that M could forget
    joint = JointConfig(image_size=size, **config)
    return Preset(f"joint-{data_name}-{scale}", "joint", data, joint, training)


_SHAPES = {**begun("shapes", 64, "both"), "objects": (1, 2), "size": 400_000}
_CONFIG = JointConfig(
    tokenizer="vq-shapes64",
    guidance=1.5,
    aligned="damsm-shapes64",
    begun="ar-shapes64",
    hidden=128,
    learning_rate=1e-3,
)
# M and F: what is told of pictures, before any is written
_TOLD = replace(_CONFIG, generate_weight=0.0, language_rate=1.0, begun="")

PUBLISHED = (
    Preset(
        "joint-shapes64-captions",
        "joint",
        _SHAPES,
        replace(_TOLD, multi_weight=0.0, aligned=""),
        replace(ON_CPU, batch_size=64, steps=2000),
        stage=True,
    ),
    # Of two objects that stand in a relation, first alone: elsewhere one word in fifty
    # tells of it, and what decides that word takes long to be found.
    Preset(
        "joint-shapes64-relations",
        "joint",
        {**_SHAPES, "objects": (2,), "kinds": ("position",)},
        _TOLD,
        replace(ON_CPU, batch_size=32, steps=4000, schedule="constant"),
        start="joint-shapes64-captions",
        stage=True,
    ),
    Preset(
        "joint-shapes64",
        "joint",
        _SHAPES,
        # G can already write: it goes on gently. M has to hear of all captions again.
        replace(_CONFIG, learning_rate=3e-4, language_rate=1.0),
        replace(ON_CPU, steps=2000),
        start="joint-shapes64-relations",
        measured=SHAPES,
    ),
)
