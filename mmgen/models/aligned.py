"""Networks whose picture or text encoder begins as that of a matching model.

A model which matches pictures with captions was taught by these what in a picture is
spoken of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, Task
from mmgen.layers.images import ImageEncoder
from mmgen.layers.text import TextEncoder

# Where matching models keep their encoders: of words and regions, of two towers.
PICTURES = ("image_encoder.", "images.")
CAPTIONS = ("text_encoder.", "captions.encoder.")


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
    given = _within(matcher, PICTURES)
    given.setdefault("to_regions.weight", encoder.state_dict()["to_regions.weight"])
    what = "picture encoder has the sizes of this one (image_size, feature_dim, width, "
    _begin(encoder, given, f"{what}grid and patch)", name)


def begin_captions(
    encoder: TextEncoder, vocabulary: Vocabulary, matcher: Any, name: str
) -> None:
    """Give a text encoder the weights of a matching model's.

    Args:
        encoder: of the same vocabulary.
        vocabulary: that the encoder reads.
        matcher, name: as for ``begin_pictures``.

    Raises:
        ValueError: a model that has no such encoder, or one of other sizes or of
            another vocabulary.
    """
    what = "text encoder has the sizes of this one (embedding_dim and feature_dim)"
    _begin(encoder, _within(matcher, CAPTIONS), what, name)
    if matcher.vocabulary != vocabulary:
        raise ValueError(
            f"config.aligned must name a matching model that reads the vocabulary of "
            f"the data set; {name!r} reads another."
        )


def _within(matcher: Any, places: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of an encoder of a matching model, under the encoder's names."""
    return {
        key.removeprefix(place): value
        for key, value in matcher.state_dict().items()
        for place in places
        if key.startswith(place)
    }


def _begin(
    encoder: nn.Module, given: Mapping[str, Tensor], what: str, name: str
) -> None:
    """Give an encoder these tensors, if all fit."""
    own = encoder.state_dict()
    wrong = [k for k in own if k not in given or own[k].shape != given[k].shape]
    if wrong:
        raise ValueError(
            f"config.aligned must name a matching model whose {what}, such as "
            f"align-shapes64 for the defaults; in {name!r} {len(wrong)} of {len(own)} "
            f"tensors do not fit, {wrong[0]} the first."
        )
    for key, value in own.items():
        value.copy_(given[key])


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
