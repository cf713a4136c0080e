"""The networks of AttnGAN: a generator of several stages, and one discriminator each.

A first stage draws a small picture from the sentence; every further stage doubles it
and lets each of its pixels look up the words that matter there.

Xu et al., *AttnGAN: Fine-Grained Text to Image Generation with Attentional Generative
Adversarial Networks*, CVPR 2018, section 3.1. Where paper and published code differ,
this follows the code.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mmgen.layers.attention import WordToPixelAttention
from mmgen.layers.blocks import SLOPE, ConditionalBatchNorm2d
from mmgen.layers.validation import require_positive


@dataclass(frozen=True)
class GeneratorSizes:
    """Sizes of a generator of several stages; the defaults are the original's for CUB.

    Raises:
        ValueError: sizes that do not double from stage to stage, or below 1.
    """

    sizes: tuple[int, ...] = (64, 128, 256)  # side of each stage's picture, in pixels
    generator_channels: int = 32  # channels of the last stage's features (GF_DIM)
    residual_blocks: int = 2  # in each refinement stage (R_NUM)
    noise_dim: int = 100  # size of z
    condition_dim: int = 100  # size of c, what conditioning augmentation makes
    feature_dim: int = 256  # size of a word's and of the sentence's feature

    def __post_init__(self) -> None:
        doubling = all(b == 2 * a for a, b in itertools.pairwise(self.sizes))
        if not self.sizes or not doubling or not _is_power_of_two(self.sizes[0]):
            raise ValueError(
                f"sizes must begin with a power of two of at least 8 and double from "
                f"stage to stage, e.g. (64, 128, 256); got {self.sizes}."
            )
        numbers = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name.endswith(("_dim", "_channels"))
        }
        require_positive(**numbers)

    def channels(self, stage: int) -> int:
        """Channels of the generator's features at a stage, counted from 0."""
        return self.generator_channels


def _is_power_of_two(size: int) -> bool:
    return size >= 8 and size & (size - 1) == 0


# ----------------------------------------------------------------- generator


class GeneratorOutput(NamedTuple):
    """What a generator draws, and how it came to it."""

    images: list[Tensor]  # a stage each, (B, 3, S, S) in [-1, 1]
    attention: list[Tensor]  # of each refinement stage, (B, T, S/2, S/2)
    mu: Tensor  # (B, C) of the condition's distribution
    logvar: Tensor  # (B, C)


def gated(features: Tensor) -> Tensor:
    """The first half of the channels, each times the sigmoid of one of the second half.

    What ``torch.nn.functional.glu`` computes. The gradient of that one is laid out
    channel by channel whatever its input's layout, which makes the batch norm before it
    six times slower on a CPU where channels come last.

    Args:
        features: (B, 2C, ...).

    Returns:
        (B, C, ...).
    """
    value, gate = features.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


class ConditioningAugmentation(nn.Module):
    r"""A distribution around a sentence, so that few captions fill the space of c.

    .. math:: c = \mu(\bar e) + \epsilon \exp(\tfrac12 \log \sigma^2(\bar e))

    (StackGAN, ICCV 2017, eq. 4; AttnGAN draws in evaluation too.)

    Args:
        feature_dim: D of the sentence feature.
        condition_dim: C of the condition.
    """

    def __init__(self, feature_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_dim, 4 * condition_dim)

    def forward(self, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, (B, C) each, for sentences of shape (B, D)."""
        mu, logvar = gated(self.linear(sentence)).chunk(2, dim=1)
        return mu, logvar


class Normalise(nn.Module):
    """Batch norm, modulated by the condition where its size is given.

    Args:
        channels: C of the feature maps.
        condition_dim: size of the condition; 0 for plain batch norm.
    """

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm: nn.Module
        if condition_dim:
            self.norm = ConditionalBatchNorm2d(channels, condition_dim)
        else:
            self.norm = nn.BatchNorm2d(channels)
        self.modulated = condition_dim > 0

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Normalised features, same shape (B, C, H, W)."""
        return self.norm(features, condition) if self.modulated else self.norm(features)


class Enlarge(nn.Module):
    """Double a feature map: nearest neighbour, 3x3 convolution, norm, gated unit."""

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 2 * out_channels, 3, 1, 1, bias=False)
        self.norm = Normalise(2 * out_channels, condition_dim)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, 2H, 2W)."""
        features = interpolate(features, scale_factor=2.0, mode="nearest")
        return gated(self.norm(self.conv(features), condition))


class Residual(nn.Module):
    """Two 3x3 convolutions with a gated unit between them, added to their input."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(channels, 2 * channels, 3, 1, 1, bias=False)
        self.widen_norm = Normalise(2 * channels, condition_dim)
        self.narrow = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.narrow_norm = Normalise(channels, condition_dim)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Features of the same shape (B, C, H, W)."""
        change = gated(self.widen_norm(self.widen(features), condition))
        return features + self.narrow_norm(self.narrow(change), condition)


class FirstStage(nn.Module):
    """From condition and noise to the first feature map, by way of 4x4 pixels."""

    def __init__(self, sizes: GeneratorSizes, modulation_dim: int) -> None:
        super().__init__()
        doublings = int(math.log2(sizes.sizes[0])) - 2
        channels = sizes.channels(0) * 2**doublings
        width = sizes.condition_dim + sizes.noise_dim
        self.linear = nn.Linear(width, channels * 4 * 4 * 2, bias=False)
        self.norm = nn.BatchNorm1d(channels * 4 * 4 * 2)
        self.enlarge = nn.ModuleList(
            Enlarge(channels >> i, channels >> (i + 1), modulation_dim)
            for i in range(doublings)
        )

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """c (B, C) and z (B, Z) to features (B, Ng, S, S) of the first size S."""
        seed = torch.cat([condition, noise], dim=1)
        features = gated(self.norm(self.linear(seed)))
        features = features.unflatten(1, (-1, 4, 4))  # (B, Ng * S / 4, 4, 4)
        for enlarge in self.enlarge:
            features = enlarge(features, seed)
        return features


class RefinementStage(nn.Module):
    """Every pixel looks up its words, then the feature map doubles.

    Args:
        channels: C of the features that come in.
        out_channels: C' of those that go out.
        word_dim: D of the words that its pixels look up.
        legacy_mask: as for ``WordToPixelAttention``.
        residual_blocks: how many work on features and context together.
        modulation_dim: size of what modulates the normalisations; 0: nothing.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        word_dim: int,
        residual_blocks: int,
        modulation_dim: int,
        legacy_mask: bool,
    ) -> None:
        super().__init__()
        self.attend = WordToPixelAttention(channels, word_dim, legacy_mask=legacy_mask)
        self.residuals = nn.ModuleList(
            Residual(2 * channels, modulation_dim) for _ in range(residual_blocks)
        )
        self.enlarge = Enlarge(2 * channels, out_channels, modulation_dim)

    def forward(
        self, features: Tensor, words: Tensor, mask: Tensor, seed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features (B, C, S, S) to (B, C', 2S, 2S), with weights (B, T, S, S)."""
        context, weights = self.attend(features, words, mask)
        features = torch.cat([features, context], dim=1)  # (B, 2C, S, S)
        for residual in self.residuals:
            features = residual(features, seed)
        return self.enlarge(features, seed), weights


class StagedGenerator(nn.Module):
    """All stages: noise and an encoded caption to one picture a size.

    Args:
        config: its sizes.
        modulated: let c and z scale and shift every normalisation.
        legacy_mask: as for ``WordToPixelAttention``.
    """

    def __init__(
        self, config: GeneratorSizes, modulated: bool, legacy_mask: bool = False
    ) -> None:
        super().__init__()
        stages = range(len(config.sizes))
        modulation = config.condition_dim + config.noise_dim if modulated else 0
        self.augmentation = ConditioningAugmentation(
            config.feature_dim, config.condition_dim
        )
        self.first = FirstStage(config, modulation)
        self.refinements = nn.ModuleList(
            RefinementStage(
                config.channels(stage - 1),
                config.channels(stage),
                config.feature_dim,
                config.residual_blocks,
                modulation,
                legacy_mask,
            )
            for stage in stages[1:]
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(config.channels(i), 3, 3, 1, 1, bias=False) for i in stages
        )
        self.apply(initialise)

    def forward(
        self,
        noise: Tensor,
        words: Tensor,
        sentence: Tensor,
        mask: Tensor,
        eps: Tensor | None = None,
    ) -> GeneratorOutput:
        """Draw a batch.

        Args:
            noise: z, shape (B, Z), standard normal.
            words: e, shape (B, T, D).
            sentence: shape (B, D).
            mask: (B, T) bool, True = a real word.
            eps: noise of the conditioning augmentation, shape (B, C); drawn if None.

        Returns:
            Pictures and attention of every stage, mu and logvar.
        """
        mu, logvar = self.augmentation(sentence)
        eps = torch.randn_like(mu) if eps is None else eps
        condition = mu + eps * torch.exp(0.5 * logvar)  # c = mu + eps * sigma, (B, C)
        seed = torch.cat([condition, noise], dim=1)  # (B, C + Z)
        features = self.first(condition, noise)  # (B, Ng, S, S)
        images, attention = [torch.tanh(self.heads[0](features))], []
        for refine, head in zip(self.refinements, self.heads[1:], strict=True):
            features, weights = refine(features, words, mask, seed)
            images.append(torch.tanh(head(features)))
            attention.append(weights)
        return GeneratorOutput(images, attention, mu, logvar)


def initialise(module: nn.Module) -> None:
    """The original's start: orthogonal maps, scales drawn around 1."""
    for child in module.children():
        if isinstance(child, nn.Conv2d | nn.Linear) and not child.weight.is_meta:
            nn.init.orthogonal_(child.weight)
            if isinstance(child, nn.Linear) and child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, ConditionalBatchNorm2d):
            # Near plain batch norm: z would otherwise turn the signs of channels.
            nn.init.normal_(child.modulate.weight, std=0.02)
        elif isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d) and child.affine:
            nn.init.normal_(child.weight, 1.0, 0.02)


# ------------------------------------------------------------ discriminators


def trunk(size: int, base: int, normalised: bool) -> nn.Sequential:
    """Strided convolutions from (B, 3, size, size) to 4x4 features of 8 Nd channels.

    64 px: Nd, 2Nd, 4Nd, 8Nd. Larger pictures go on to 16Nd and 32Nd and come back,
    smaller ones begin wider.

    Args:
        size: of the pictures, pixels.
        base: Nd.
        normalised: batch norm after every convolution but the first.
    """
    halvings = int(math.log2(size)) - 2
    widths = [base * 2 ** (max(0, 4 - halvings) + i) for i in range(halvings)]
    layers: list[nn.Module] = [
        nn.Conv2d(3, widths[0], 4, 2, 1, bias=False),
        nn.LeakyReLU(SLOPE),
    ]
    for before, after in itertools.pairwise(widths):
        layers += block(before, after, 4, 2, normalised)
    width = widths[-1]
    while width > 8 * base:
        layers += block(width, width // 2, 3, 1, normalised)
        width //= 2
    return nn.Sequential(*layers)


def block(
    before: int, after: int, kernel: int, stride: int, normalised: bool
) -> list[nn.Module]:
    """Convolution, perhaps batch norm, leaky ReLU."""
    # A bias before batch norm would be subtracted again.
    layers: list[nn.Module] = [
        nn.Conv2d(before, after, kernel, stride, 1, bias=not normalised)
    ]
    if normalised:
        layers.append(nn.BatchNorm2d(after))
    return [*layers, nn.LeakyReLU(SLOPE)]


class StageDiscriminator(nn.Module):
    """What discriminators of one stage share: a trunk, and a head that sees no caption.

    Args:
        sizes: of all stages, pixels.
        stage: whose pictures it scores, counted from 0.
        base: Nd, features at half of 64 px.
        normalised: batch norm in the trunk.

    Raises:
        ValueError: a stage that there is not.
    """

    def __init__(
        self, sizes: tuple[int, ...], stage: int, base: int, normalised: bool
    ) -> None:
        super().__init__()
        if not 0 <= stage < len(sizes):
            raise ValueError(
                f"stage must lie in 0..{len(sizes) - 1} for sizes {sizes}; got {stage}."
            )
        self.size = sizes[stage]
        self.trunk = trunk(self.size, base, normalised)
        self.unconditional = nn.Conv2d(8 * base, 1, 4, 4)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] to (B, 8Nd, 4, 4).

        Raises:
            ValueError: pictures of another size.
        """
        if images.shape[-1] != self.size or images.shape[-2] != self.size:
            raise ValueError(
                f"images must be {self.size} x {self.size} pixels for this stage; got "
                f"{tuple(images.shape)}."
            )
        return self.trunk(images)


class Discriminators(nn.ModuleList):
    """One discriminator a stage, called together so that one wrapper holds them all."""

    def forward(
        self, images: list[Tensor], sentence: Tensor, others: Tensor | None = None
    ) -> list[tuple[Tensor, ...]]:
        """The logits of every stage; arguments as for one, images a stage each."""
        return [
            discriminator(pictures, sentence, others)
            for discriminator, pictures in zip(self, images, strict=True)
        ]
