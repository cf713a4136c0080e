"""What both tasks of AttnGAN share: phases, a frozen matcher, and its loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import DataInfo, Step, Task
from mmgen.layers.text import TextEncoder
from mmgen.models.attngan.networks import GeneratorSizes
from mmgen.models.damsm import DAMSMMatcher, damsm_losses
from mmgen.objectives.contrastive import require_negatives


class StagedTask(Task):
    """The training of a generator of several stages, with one discriminator each.

    The generator draws once a step: its pictures are shown to the discriminators,
    detached, and then scored by the updated discriminators for its own loss.

    Args:
        config: sizes and objective; ``feature_dim`` is the text encoder's.
        data: its vocabulary is the matching model's.
        matcher: a trained DAMSM; it is frozen.
    """

    phases: tuple[str, ...] = ("discriminator", "generator")

    def __init__(self, config: Any, data: DataInfo, matcher: DAMSMMatcher) -> None:
        self.config, self.data = config, data
        self.matcher_size = matcher.config.image_size
        self.networks: dict[str, nn.Module] = {
            "matcher_text": matcher.text_encoder.requires_grad_(False).eval(),
            "matcher_image": matcher.image_encoder.requires_grad_(False).eval(),
        }

    def check_parts(self, part: int, together: int) -> None:
        """Refuse parts without negatives for the matching losses."""
        require_negatives(together)

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The loss of one phase, and scalars to log."""
        if step.phase == "discriminator":
            return self._discriminator_step(batch, step)
        return self._generator_step(batch, step)

    @abstractmethod
    def _discriminator_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The loss of the discriminators, and scalars to log."""

    @abstractmethod
    def _generator_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The loss of the generator, and scalars to log."""

    @torch.no_grad()
    def _read_for_matcher(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The matching model's words (B, T, D) and sentence (B, D)."""
        return self.networks["matcher_text"](batch.tokens, batch.lengths)

    def _match(
        self, images: Tensor, words: Tensor, sentence: Tensor, batch: Batch, step: Step
    ) -> Tensor:
        """The DAMSM loss of drawn pictures with the captions of all processes (eq. 6).

        Args:
            images: (B, 3, S, S), brought to the matcher's size first.
            words, sentence: the matcher's features of the captions.
            batch: whose captions were drawn.
            step: the loop's step: ``gather``.

        Returns:
            A scalar, the sum of the four losses.
        """
        side, wanted = images.shape[-1], self.matcher_size
        if side > wanted and side % wanted == 0:
            images = avg_pool2d(images, side // wanted)  # bilinear would skip pixels
        elif side != wanted:
            images = interpolate(images, wanted, mode="bilinear")
        regions, features = self.networks["matcher_image"](images)
        losses = damsm_losses(
            step.gather(regions),
            step.gather(features),
            step.gather(words),
            step.gather(sentence),
            step.gather(batch.mask.byte()).bool(),
            step.gather(batch.class_ids),
            gamma1=self.config.gamma1,
            gamma2=self.config.gamma2,
            gamma3=self.config.gamma3,
        )
        return losses.total


def check_sizes(config: GeneratorSizes, data: DataInfo) -> None:
    """Refuse a data set whose pictures are not of the last stage's size.

    Raises:
        ValueError: both sizes.
    """
    if data.image_size != config.sizes[-1]:
        raise ValueError(
            f"config.sizes must end with the data set's image_size, {data.image_size}; "
            f"got {config.sizes}."
        )


def check_matcher(frozen: Mapping[str, nn.Module], data: DataInfo) -> DAMSMMatcher:
    """The matching model ``frozen["damsm"]``, made for the words of a data set.

    Raises:
        ValueError: none, something else, or one of another vocabulary.
    """
    matcher = frozen.get("damsm")
    if not isinstance(matcher, DAMSMMatcher):
        raise ValueError(
            f"config.damsm must name a matching model: weights of the package "
            f'("damsm-shapes64") or the folder of a run. Train one first: mmgen train '
            f"damsm --data NAME --out runs/damsm. Got a {type(matcher).__name__}."
        )
    check_vocabulary("damsm", matcher.vocabulary, data)
    return matcher


def check_vocabulary(field: str, known: Vocabulary, data: DataInfo) -> None:
    """Refuse a trained model that knows other words than a data set.

    Raises:
        ValueError: what each knows.
    """
    if known != data.vocabulary:
        raise ValueError(
            f"config.{field} must name a model of this data set's vocabulary "
            f"({len(data.vocabulary)} tokens, language {data.vocabulary.language!r}); "
            f"it has {len(known)}, {known.language!r}. Choose its language, or train "
            f"one: mmgen train {field} --data {data.name}."
        )


def copied(encoder: TextEncoder) -> TextEncoder:
    """The same encoder without dropout: a caption here must lose no word."""
    copy = TextEncoder(
        encoder.vocabulary_size,
        encoder.embedding_dim,
        encoder.feature_dim,
        encoder.pooling,
        dropout=0.0,
    )
    copy.load_state_dict(encoder.state_dict())
    return copy
