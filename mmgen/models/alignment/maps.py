r"""Maps between features of two modalities, learned with pairs, few pairs or none.

Pictures and captions have features already, of networks that know nothing of the other
side. A map f takes those of pictures into the space of the captions, a map g takes
those of captions back. Three terms may teach them:

- **contrastive**: f(x) of a picture is nearest to its own caption's y. Needs pairs.
- **adversarial**: a discriminator cannot tell f(x) from y, nor g(y) from x. Needs no
  pairs: it makes the two *distributions* alike.
- **cycle**: :math:`g(f(x)) = x` and :math:`f(g(y)) = y`. Needs no pairs: it makes the
  maps one-to-one.

Neither of the last two says which picture belongs to which caption: any one-to-one map
between equal distributions meets both. What they add to pairs is a question for a
measurement.

Conneau et al., *Word Translation Without Parallel Data*, ICLR 2018; Zhu et al.,
*Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks*, ICCV
2017.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmgen.layers.reversal import reverse_gradient
from mmgen.layers.validation import require_finite
from mmgen.objectives.adversarial import minimax_discriminator_loss
from mmgen.objectives.contrastive import info_nce


class AlignmentNetwork(nn.Module):
    """One map, from the features of one modality into the space of another.

    Args:
        from_dim, to_dim: sizes of the features.
        hidden_dim: of a layer between; None: a linear map, the smallest alignment
            network there is.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self, from_dim: int, to_dim: int, hidden_dim: int | None = None
    ) -> None:
        super().__init__()
        sizes = {"from_dim": from_dim, "to_dim": to_dim, "hidden_dim": hidden_dim}
        for name, size in sizes.items():
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1; got {size}.")
        self.from_dim = from_dim
        self.map: nn.Module = nn.Linear(from_dim, to_dim)
        if hidden_dim is not None:
            self.map = nn.Sequential(
                nn.Linear(from_dim, hidden_dim),
                nn.GELU(),
                nn.Linear(hidden_dim, to_dim),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, from_dim) to (B, to_dim).

        Raises:
            ValueError: features of another size.
        """
        if features.ndim != 2 or features.shape[1] != self.from_dim:
            raise ValueError(
                f"features must be of shape (B, {self.from_dim}); got "
                f"{tuple(features.shape)}."
            )
        return self.map(features)


class ModalityDiscriminator(nn.Module):
    """Are features a modality's own, or mapped there from the other?

    Args:
        feature_dim: D.
        hidden_dim: of its one hidden layer.
    """

    def __init__(self, feature_dim: int, hidden_dim: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(feature_dim, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, D) to logits (B,): above 0, its own."""
        return self.layers(features).squeeze(1)


class AlignmentTerms(NamedTuple):
    """What teaches the maps: three scalars."""

    contrastive: Tensor  # nats; 0 with fewer than 2 pairs
    adversarial: Tensor  # nats; 2 ln 2 if both discriminators are at a loss
    cycle: Tensor  # mean squared error, of features


class Maps(nn.Module):
    """Maps there and back, and a discriminator for each side.

    Args:
        image_dim, caption_dim: sizes of the features, which are expected to have about
            mean 0 and variance 1.
        hidden_dim: of the maps; None: linear.
    """

    def __init__(
        self, image_dim: int, caption_dim: int, hidden_dim: int | None = None
    ) -> None:
        super().__init__()
        self.there = AlignmentNetwork(image_dim, caption_dim, hidden_dim)  # f
        self.back = AlignmentNetwork(caption_dim, image_dim, hidden_dim)  # g
        self.is_caption = ModalityDiscriminator(caption_dim)
        self.is_image = ModalityDiscriminator(image_dim)

    def terms(
        self,
        images: Tensor,
        captions: Tensor,
        paired: int,
        scale: Tensor | float,
        strength: float = 1.0,
    ) -> AlignmentTerms:
        r"""The three terms for a batch of which some samples are pairs.

        The discriminators are trained by the adversarial term in the same step as the
        maps: behind ``reverse_gradient`` they lower it, and the maps raise it.

        Args:
            images: x, features of pictures, (B, Dx).
            captions: y, features of captions, (M, Dy).
            paired: P; the first P pictures and captions belong together, row by row,
                and nothing is known of the others. 0: nothing is paired.
            scale: :math:`e^l`, of the contrastive term's similarities.
            strength: :math:`\lambda` of the reversed gradient.

        Raises:
            ValueError: more pairs than rows, an empty side, values that are not finite.
        """
        if not 0 <= paired <= min(len(images), len(captions)):
            raise ValueError(
                f"paired must lie in 0..{min(len(images), len(captions))}, the rows "
                f"that images and captions both have; got {paired}."
            )
        if not (len(images) and len(captions)):
            raise ValueError(
                f"a batch must hold pictures and captions; got {len(images)} and "
                f"{len(captions)}. A modality that is absent cannot be aligned."
            )
        require_finite(images=images, captions=captions)
        mapped, returned = self.there(images), self.back(captions)  # f(x), g(y)
        contrastive = mapped.new_zeros(())
        if paired >= 2:  # of one pair there is nothing to tell it from
            contrastive = (
                info_nce(mapped[:paired], captions[:paired], scale)
                + info_nce(images[:paired], returned[:paired], scale)
            ) / 2
        adversarial = _told_apart(
            self.is_caption, captions, reverse_gradient(mapped, strength)
        ) + _told_apart(self.is_image, images, reverse_gradient(returned, strength))
        cycle = (self.back(mapped) - images).square().mean() + (
            self.there(returned) - captions
        ).square().mean()
        return AlignmentTerms(contrastive, adversarial, cycle)

    @torch.no_grad()
    def scores(self, images: Tensor, captions: Tensor) -> Tensor:
        """How well pictures suit captions, (B, M): the mean cosine of both spaces.

        Args:
            images, captions: features (B, Dx) and (M, Dy).
        """
        there = normalize(self.there(images), dim=1) @ normalize(captions, dim=1).T
        back = normalize(images, dim=1) @ normalize(self.back(captions), dim=1).T
        return (there + back) / 2


def _told_apart(discriminator: nn.Module, own: Tensor, mapped: Tensor) -> Tensor:
    """Cross-entropy of telling own features from mapped ones, in nats."""
    return minimax_discriminator_loss(discriminator(own), discriminator(mapped)) / 2
