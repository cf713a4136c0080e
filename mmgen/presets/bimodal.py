"""Presets of the bimodal autoencoder."""

from __future__ import annotations

from mmgen.models.bimodal import BimodalConfig
from mmgen.presets import Preset
from mmgen.presets.autoencoders import picture_defaults
from mmgen.presets.datasets import both_languages


def at_scale(scale: str, data_name: str) -> Preset:
    """What is trained at "smoke", "laptop" or "full" scale on a data set."""
    data, _, training = picture_defaults(scale, data_name)
    if scale == "smoke":
        config = BimodalConfig(8, 4, 4, 32, 16, 16)
    elif scale == "laptop":
        config = BimodalConfig(32, 16, 2, 128, 96, 64)
    else:
        config = BimodalConfig()
        data["language"] = both_languages(data_name)
        if data_name == "shapes":
            data["objects"] = (1, 2)
    return Preset(f"bimodal-{data_name}-{scale}", "bimodal", data, config, training)


# None: what it reaches stands in results/benchmarks/representations.json, and weights
# that one benchmark alone reads are not worth their place.
PUBLISHED: tuple[Preset, ...] = ()
