"""Networks whose picture encoder begins as that of a matching model.

A model which matches pictures with captions was taught by these what in a picture is
spoken of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import AdamW, Optimizer

from mmgen.interfaces import NOTHING, Task
from mmgen.layers.images import ImageEncoder

# Where matching models keep their picture encoder: of word and region, of two towers.
PLACES = ("image_encoder.", "images.")


def begin_pictures(encoder: ImageEncoder, matcher: Any, name: str) -> None:
    """Give a picture encoder the weights of a matching model's.

    A model of two towers compares whole pictures: it has no map to features of regions,
    and that of the encoder stays as it is.

    Args:
        encoder: a small one.
        matcher: such as damsm-shapes64 or align-shapes64.
        name: of the matcher, for messages.

    Raises:
        ValueError: a model that has no such encoder, or one of other sizes.
    """
    given: dict[str, Tensor] = {}
    for key, value in matcher.state_dict().items():
        for place in PLACES:
            if key.startswith(place):
                given[key.removeprefix(place)] = value
    own = encoder.state_dict()
    wanted = [key for key in own if key in given or key != "to_regions.weight"]
    wrong = [k for k in wanted if k not in given or own[k].shape != given[k].shape]
    if wrong:
        raise ValueError(
            f"config.aligned must name a matching model whose picture encoder has the "
            f"sizes of this one (image_size, feature_dim, width, grid and patch), such "
            f"as align-shapes64 for the defaults; in {name!r} {len(wrong)} of "
            f"{len(own)} tensors do not fit, {wrong[0]} the first."
        )
    for key in wanted:
        own[key].copy_(given[key])


class AlignedTask(Task):
    """The training of a network, the only one, that may begin as a matching model's.

    A subclass names its only phase. Its config has ``aligned``, a pretrained name or a
    run's folder, ``learning_rate`` and ``weight_decay``.
    """

    averaged: tuple[str, ...] = ("network",)

    @staticmethod
    def requires(config: Any) -> Mapping[str, str]:
        """The matching model that the network begins with, if there is one."""
        return {"aligned": config.aligned} if config.aligned else NOTHING

    def optimizers(self) -> dict[str, Optimizer]:
        """AdamW, whose decay leaves biases, norms and single vectors alone."""
        config, parameters = self.config, list(self.networks["network"].parameters())
        groups = [
            {
                "params": [p for p in parameters if p.ndim > 1],
                "weight_decay": config.weight_decay,
            },
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        rate, (phase,) = config.learning_rate, self.phases
        return {phase: AdamW(groups, rate, betas=(0.9, 0.98))}
