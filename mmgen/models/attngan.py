"""AttnGAN: from a caption to a picture, coarse to fine, word by word.

A first stage draws a small picture from the sentence; every further stage doubles it
and lets each of its pixels look up the words that matter there. A discriminator at each
size judges "real?" and "real for this caption?", and a frozen matching model (DAMSM)
says which word is missing where. The file reads in that order: configuration,
generator, discriminators, objectives, the training task, the sampler.

Xu et al., *AttnGAN: Fine-Grained Text to Image Generation with Attentional Generative
Adversarial Networks*, CVPR 2018. Where the paper and its published code differ,
``.cub()`` and ``.coco()`` follow the code; ``.small()`` adds what was learnt since.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    interpolate,
    layer_norm,
    relu,
    softplus,
)
from torch.nn.utils.parametrizations import spectral_norm

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.attention import WordToPixelAttention
from mmgen.layers.blocks import SLOPE, ConditionalBatchNorm2d, shift_and_cover
from mmgen.layers.text import TextEncoder
from mmgen.models.cgan import (
    LABELLED,
    TAUGHT,
    AttributeEncoder,
    ByLot,
    Choices,
    EquallyRight,
    NearlyRight,
    Told,
    choices_loss,
    completed,
    label_choices,
    rows_score,
    value_rows,
    values_loss,
    with_nearly_right,
)
from mmgen.models.damsm import DAMSMMatcher, damsm_losses

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmgen.data.batch import Batch
    from mmgen.data.dataset import CaptionedDataset
    from mmgen.models.attngan_original import Original


@dataclass(frozen=True)
class AttnGANConfig:
    """Sizes and objectives; the defaults are the original's for CUB.

    Raises:
        ValueError: sizes that do not double from stage to stage, or an unknown choice.
    """

    sizes: tuple[int, ...] = (64, 128, 256)  # side of each stage's picture, in pixels
    generator_channels: int = 32  # channels of the last stage's features (GF_DIM)
    taper: bool = False  # each earlier stage has twice the channels of the next
    residual_blocks: int = 2  # in each refinement stage (R_NUM)
    noise_dim: int = 100  # size of z
    condition_dim: int = 100  # size of c, what conditioning augmentation makes
    feature_dim: int = 256  # size of a word's and of the sentence's feature
    attention: bool = True  # False: every pixel gets the sentence in place of words
    legacy_mask: bool = False  # True: the published code's misplaced padding mask
    modulate: bool = False  # let c and z scale and shift every normalisation
    normalise_text: bool = False  # features of sentence and words to unit variance
    discriminator_channels: int = 64  # features of a discriminator at half of 64 px
    judge_norm: Literal["batch", "spectral", "none"] = "batch"  # of discriminators
    projection: bool = False  # judge the caption by an inner product, not a convolution
    objective: Literal["non-saturating", "hinge"] = "non-saturating"  # of the game
    mismatch: Literal["next", "drawn", "all"] = "next"  # captions of wrong pairs
    mismatch_focus: float = 0.0  # all: how much the pairs that still pass count more
    matching_weight: float = 0.0  # all: of picking the caption among the batch's
    labels: bool = False  # all: among near misses too, of captions and of labels
    every_value: bool = False  # labels: among all values of each, not one near miss
    noise_labels: bool = False  # every_value: the noise tells what captions do not
    labels_weight: float = 0.0  # every_value: of judging "real with its labels?" too
    reading_weight: float = 0.0  # train_text: of telling the labels from the caption
    reading_only: bool = False  # a first training, of the text encoders, by that alone
    damsm_weight: float = 5.0  # lambda, of the matching loss of the last stage
    kl_weight: float = 1.0  # of conditioning augmentation's divergence from N(0, I)
    gamma1: float = 4.0  # sharpness of a word's attention over regions
    gamma2: float = 5.0  # how much the best matching words count
    gamma3: float = 10.0  # sharpness of the choice among captions
    damsm: str = ""  # the matching model: a pretrained name, or the folder of a run
    train_text: bool = False  # go on training copies of its text encoder, G's and D's
    augment: bool = False  # shift and partly cover what the discriminators see
    r1_weight: float = 0.0  # gradient penalty on real pictures; 0: none
    r1_every: int = 16  # steps between two penalties, each weighted as many times
    learning_rate: float = 2e-4  # of the generator
    discriminator_learning_rate: float = 2e-4  # of the discriminators
    adam_betas: tuple[float, float] = (0.5, 0.999)  # of both

    def __post_init__(self) -> None:
        doubling = all(b == 2 * a for a, b in itertools.pairwise(self.sizes))
        if not self.sizes or not doubling or not _is_power_of_two(self.sizes[0]):
            raise ValueError(
                f"sizes must begin with a power of two of at least 8 and double from "
                f"stage to stage, e.g. (64, 128, 256); got {self.sizes}."
            )
        for name, known in (
            ("objective", ("non-saturating", "hinge")),
            ("mismatch", ("next", "drawn", "all")),
            ("judge_norm", ("batch", "spectral", "none")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {known}; got {getattr(self, name)!r}."
                )
        if self.mismatch == "all" and not self.projection:
            raise ValueError(
                'mismatch="all" judges every picture with every caption, which only '
                "projection=True makes cheap; got projection=False."
            )
        if (self.matching_weight or self.labels) and self.mismatch != "all":
            raise ValueError(
                "matching_weight and labels compare every picture with every caption: "
                f'they need mismatch="all"; got {self.mismatch!r}.'
            )
        if self.reading_weight and not (self.labels and self.train_text):
            raise ValueError(
                "reading_weight teaches text encoders to tell labels: it needs "
                f"labels=True and train_text=True; got {self.labels} and "
                f"{self.train_text}."
            )
        if self.reading_only and not self.reading_weight:
            raise ValueError(
                "reading_only=True trains by what reading_weight weights; got "
                "reading_weight=0. Give it a weight, e.g. 1.0."
            )
        if self.every_value and not self.labels:
            raise ValueError(
                "every_value=True compares pictures with all values of their labels; "
                "got labels=False. Set labels=True as well."
            )
        if self.labels_weight and not self.every_value:
            raise ValueError(
                "labels_weight judges pictures by scores of all values of their "
                "labels; got every_value=False. Set every_value=True as well."
            )
        if self.noise_labels and not self.every_value:
            raise ValueError(
                "noise_labels=True asks drawn pictures for values of labels; got "
                "every_value=False. Set every_value=True as well."
            )
        if self.labels and not self.matching_weight:
            raise ValueError(
                "labels=True adds labels to what matching_weight weights; got "
                "matching_weight=0. Give it a weight, e.g. 1.0."
            )

    def channels(self, stage: int) -> int:
        """Channels of the generator's features at a stage, counted from 0."""
        later = len(self.sizes) - 1 - stage
        return self.generator_channels * (2**later if self.taper else 1)

    @classmethod
    def cub(cls, **changes: Any) -> AttnGANConfig:
        """The original's network and objective for CUB: 64, 128 and 256 pixels."""
        return replace(cls(), **changes)

    @classmethod
    def coco(cls, **changes: Any) -> AttnGANConfig:
        """The original's network and objective for COCO: wider, and lambda = 50."""
        wider = cls(
            generator_channels=48,
            residual_blocks=3,
            discriminator_channels=96,
            damsm_weight=50.0,
        )
        return replace(wider, **changes)

    @classmethod
    def small(cls, **changes: Any) -> AttnGANConfig:
        """16, 32 and 64 pixels, trained in minutes.

        It has what later work added to the original's recipe: a hinge objective,
        discriminators without normalisation, a projection for the caption, modulated
        normalisation, wrong pairs that are wrong, near misses of the data set's labels
        (``labels=False`` where it has none), and text encoders that go on learning.
        ``benchmarks/ablations.py`` measures what each is worth.
        """
        small = cls(
            sizes=(16, 32, 64),
            generator_channels=48,
            discriminator_channels=64,
            modulate=True,
            normalise_text=True,
            judge_norm="none",
            projection=True,
            objective="hinge",
            mismatch="all",
            matching_weight=1.0,
            labels=True,
            damsm_weight=0.5,
            kl_weight=0.1,
            train_text=True,
            learning_rate=4e-4,
            discriminator_learning_rate=4e-4,
            adam_betas=(0.5, 0.999),
        )
        return replace(small, **changes)


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

    def __init__(self, config: AttnGANConfig, modulation_dim: int) -> None:
        super().__init__()
        doublings = int(math.log2(config.sizes[0])) - 2
        channels = config.channels(0) * 2**doublings
        width = config.condition_dim + config.noise_dim
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

    Without attention each pixel gets the same linear map of the sentence, so that the
    two differ in nothing but where words go.
    """

    def __init__(self, config: AttnGANConfig, stage: int, modulation_dim: int) -> None:
        super().__init__()
        channels = config.channels(stage - 1)
        self.attend: WordToPixelAttention | None = None
        self.project: nn.Linear | None = None
        if config.attention:
            self.attend = WordToPixelAttention(
                channels, config.feature_dim, legacy_mask=config.legacy_mask
            )
        else:
            self.project = nn.Linear(config.feature_dim, channels, bias=False)
        self.residuals = nn.ModuleList(
            Residual(2 * channels, modulation_dim)
            for _ in range(config.residual_blocks)
        )
        self.enlarge = Enlarge(2 * channels, config.channels(stage), modulation_dim)

    def forward(
        self,
        features: Tensor,
        words: Tensor,
        sentence: Tensor,
        mask: Tensor,
        condition: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Features (B, C, S, S) to (B, C', 2S, 2S), with weights (B, T, S, S)."""
        weights = None
        if self.attend is not None:
            context, weights = self.attend(features, words, mask)
        else:
            assert self.project is not None
            context = self.project(sentence)[:, :, None, None].expand_as(features)
        features = torch.cat([features, context], dim=1)
        for residual in self.residuals:
            features = residual(features, condition)
        return self.enlarge(features, condition), weights


class Generator(nn.Module):
    """All stages: noise and an encoded caption to one picture a size.

    Args:
        config: sizes; parts that the generator does not have are ignored.
    """

    def __init__(self, config: AttnGANConfig) -> None:
        super().__init__()
        self.config = config
        stages = range(len(config.sizes))
        modulation = config.condition_dim + config.noise_dim if config.modulate else 0
        self.augmentation = ConditioningAugmentation(
            config.feature_dim, config.condition_dim
        )
        self.first = FirstStage(config, modulation)
        self.refinements = nn.ModuleList(
            RefinementStage(config, stage, modulation) for stage in stages[1:]
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(config.channels(i), 3, 3, 1, 1, bias=False) for i in stages
        )
        self.apply(_initialise)

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
        if self.config.normalise_text:
            # A matching model's features are told apart by direction; their size is as
            # it happens (0.17 a feature on Shapes), and eps of size 1 would drown them.
            sentence = layer_norm(sentence, sentence.shape[-1:])
            words = layer_norm(words, words.shape[-1:])
        mu, logvar = self.augmentation(sentence)
        eps = torch.randn_like(mu) if eps is None else eps
        condition = mu + eps * torch.exp(0.5 * logvar)  # c = mu + eps * sigma
        seed = torch.cat([condition, noise], dim=1)
        features = self.first(condition, noise)
        images, attention = [torch.tanh(self.heads[0](features))], []
        for refine, head in zip(self.refinements, self.heads[1:], strict=True):
            features, weights = refine(features, words, sentence, mask, seed)
            images.append(torch.tanh(head(features)))
            if weights is not None:
                attention.append(weights)
        return GeneratorOutput(images, attention, mu, logvar)

    def widen(self, narrow: Mapping[str, Tensor]) -> None:
        """Begin with a narrower generator's weights, and draw its very pictures.

        Its channels become the first ones here; what they compute does not hear the
        others, until the first step of training. These begin as in a new network, so
        that no two of them are alike. (The idea of Net2Net, Chen et al. 2016, which
        doubles channels and halves weights; two equal channels need noise to part.)

        Args:
            narrow: state of a generator of this configuration but for
                ``generator_channels``.

        Raises:
            ValueError: a state that differs in more, or is wider than this one.
        """
        state = self.state_dict()
        if set(narrow) != set(state):
            raise ValueError(
                "narrow must be a generator of this configuration but for "
                f"generator_channels; {sorted(set(narrow) ^ set(state))[:3]} are in "
                "one of the two only."
            )
        for name, wide in state.items():  # all of them before the first is changed
            few = narrow[name]
            if not _is_narrower(name, few.shape, wide.shape):
                raise ValueError(
                    "narrow must differ from this generator in having fewer "
                    f"channels; {name} has shape {tuple(few.shape)} there and "
                    f"{tuple(wide.shape)} here."
                )
        with torch.no_grad():
            for name, wide in state.items():
                few = narrow[name]
                _put_first(few, wide, *_parts(name))
                if name.endswith("attend.project.weight"):
                    wide[len(few) :] = 0  # or new channels would change every score


def _parts(name: str) -> tuple[int, int]:
    """Of how many equal parts a weight's outputs and inputs consist, by its name.

    A gated unit has values and gates, a modulation scales and shifts of both, and a
    refinement works on features beside their context.
    """
    beside = name.startswith("refinements.") and name.endswith(
        (".widen.weight", ".enlarge.conv.weight")
    )
    if name.startswith(("augmentation.", "heads.")) or ".project." in name:
        outputs = 1
    else:
        outputs = 4 if ".modulate." in name else 2
    return outputs, 2 if beside else 1


def _is_narrower(name: str, few: torch.Size, wide: torch.Size) -> bool:
    """Whether shapes of the weight differ, if at all, in fewer channels of features."""
    if name.startswith("augmentation."):
        return few == wide
    channels = (
        2 if len(wide) == 4 else 1
    )  # convolutions hear features, the rest z, c, e
    return (
        len(few) == len(wide)
        and all(a <= b for a, b in zip(few, wide, strict=True))
        and few[channels:] == wide[channels:]
    )


def _put_first(few: Tensor, wide: Tensor, outputs: int, inputs: int) -> None:
    """Copy ``few`` to the beginnings of the parts of ``wide``, deaf to the rest."""
    if few.ndim == 0:
        wide.copy_(few)
        return
    count = few.shape[0] // outputs
    to = wide.unflatten(0, (outputs, -1))[:, :count]
    of = few.unflatten(0, (outputs, -1))
    if few.ndim > 1:
        heard = few.shape[1] // inputs
        to, of = to.unflatten(2, (inputs, -1)), of.unflatten(2, (inputs, -1))
        to.zero_()
        to = to[:, :, :, :heard]
    to.copy_(of)


def _initialise(module: nn.Module) -> None:
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


class Discriminator(nn.Module):
    """Two judgements on the pictures of one stage: real, and real for the caption.

    Strided convolutions lead to 4x4 features of 8 Nd channels. One head sees these
    alone; the other also sees the sentence itself (not c).

    Args:
        config: sizes and choices.
        stage: whose pictures are judged, counted from 0.

    Raises:
        ValueError: a stage that the configuration does not have.
    """

    def __init__(self, config: AttnGANConfig, stage: int) -> None:
        super().__init__()
        if not 0 <= stage < len(config.sizes):
            raise ValueError(
                f"stage must lie in 0..{len(config.sizes) - 1} for sizes "
                f"{config.sizes}; got {stage}."
            )
        self.size = config.sizes[stage]
        self.every_pair = config.mismatch == "all"
        base, top = config.discriminator_channels, 8 * config.discriminator_channels
        halvings = int(math.log2(self.size)) - 2
        # 64 px: Nd, 2Nd, 4Nd, 8Nd. Larger pictures go on to 16Nd and 32Nd and come
        # back, smaller ones begin wider.
        widths = [base * 2 ** (max(0, 4 - halvings) + i) for i in range(halvings)]
        layers: list[nn.Module] = [
            _conv(config, 3, widths[0], 4, 2, norm=False),
            nn.LeakyReLU(SLOPE),
        ]
        for before, after in itertools.pairwise(widths):
            layers += _judging_block(config, before, after, 4, 2)
        width = widths[-1]
        while width > top:
            layers += _judging_block(config, width, width // 2, 3, 1)
            width //= 2
        self.trunk = nn.Sequential(*layers)
        self.unconditional = _spectral(config, nn.Conv2d(top, 1, 4, 4))
        self.joint: nn.Sequential
        self.projection: nn.Module | None = None
        if config.projection:
            self.joint = nn.Sequential(*_judging_block(config, top, top, 3, 1))
            self.projection = _spectral(
                config, nn.Linear(config.feature_dim, top * 4 * 4, bias=False)
            )
        else:
            both = top + config.feature_dim
            self.joint = nn.Sequential(*_judging_block(config, both, top, 3, 1))
        self.conditional = _spectral(config, nn.Conv2d(top, 1, 4, 4))
        self.apply(_initialise)

    def forward(
        self, images: Tensor, sentence: Tensor, mismatched: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Judge a batch.

        Args:
            images: (B, 3, S, S) in [-1, 1].
            sentence: of these pictures, (B, D).
            mismatched: sentences of other pictures, (N, D). With ``mismatch="all"``
                they are judged with every picture; else N <= B, and they are judged
                with the first N pictures, one each.

        Returns:
            Logits with the caption and without, (B,) each; with ``mismatched`` also
            those of the wrong pairs, (B, N) or (N,).

        Raises:
            ValueError: pictures of another size.
        """
        if images.shape[-1] != self.size or images.shape[-2] != self.size:
            raise ValueError(
                f"images must be {self.size} x {self.size} pixels for this stage; got "
                f"{tuple(images.shape)}."
            )
        features = self.trunk(images)  # (B, 8Nd, 4, 4)
        unconditional = self.unconditional(features).flatten()
        if self.projection is None:
            conditional = self._judge_together(features, sentence)
            if mismatched is None:
                return conditional, unconditional
            wrong = self._judge_together(features[: len(mismatched)], mismatched)
            return conditional, unconditional, wrong

        joint = self.joint(features)
        # psi(x) + <phi(x), V e>, with a vector V e for every one of the 4x4 places
        psi, phi = self.conditional(joint).flatten(), joint.flatten(1)
        conditional = psi + (phi * self.projection(sentence)).sum(dim=1)
        if mismatched is None:
            return conditional, unconditional
        asked = self.projection(mismatched)  # (N, 8Nd * 16)
        if self.every_pair:
            return conditional, unconditional, psi[:, None] + phi @ asked.T
        count = len(mismatched)
        wrong = psi[:count] + (phi[:count] * asked).sum(dim=1)
        return conditional, unconditional, wrong

    def _judge_together(self, features: Tensor, sentence: Tensor) -> Tensor:
        everywhere = sentence[:, :, None, None].expand(-1, -1, 4, 4)
        joint = self.joint(torch.cat([features, everywhere], dim=1))
        return self.conditional(joint).flatten()


class Discriminators(nn.ModuleList):
    """One discriminator a stage, called together so that one wrapper holds them all."""

    def __init__(self, config: AttnGANConfig) -> None:
        super().__init__(Discriminator(config, i) for i in range(len(config.sizes)))

    def forward(
        self, images: list[Tensor], sentence: Tensor, mismatched: Tensor | None = None
    ) -> list[tuple[Tensor, ...]]:
        """The judgements of every stage; arguments as for one, images a stage each."""
        return [
            judge(pictures, sentence, mismatched)
            for judge, pictures in zip(self, images, strict=True)
        ]


def _spectral(config: AttnGANConfig, layer: nn.Module) -> nn.Module:
    return spectral_norm(layer) if config.judge_norm == "spectral" else layer


def _conv(
    config: AttnGANConfig, before: int, after: int, kernel: int, stride: int, norm: bool
) -> nn.Module:
    # A bias before batch norm would be subtracted again.
    bias = norm and config.judge_norm != "batch"
    return _spectral(config, nn.Conv2d(before, after, kernel, stride, 1, bias=bias))


def _judging_block(
    config: AttnGANConfig, before: int, after: int, kernel: int, stride: int
) -> list[nn.Module]:
    """Convolution, normalisation, leaky ReLU."""
    layers = [_conv(config, before, after, kernel, stride, norm=True)]
    if config.judge_norm == "batch":
        layers.append(nn.BatchNorm2d(after))
    return [*layers, nn.LeakyReLU(SLOPE)]


# ---------------------------------------------------------------- objectives


def pictures_of_stages(images: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Real pictures at the size of every stage, by averaging squares of pixels.

    Args:
        images: (B, 3, S, S), S the last of ``sizes``.
        sizes: ascending, each a divisor of S.

    Returns:
        A tensor (B, 3, size, size) for each size.
    """
    side = images.shape[-1]
    return [
        images if size == side else avg_pool2d(images, side // size) for size in sizes
    ]


def condition_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    r"""Divergence of the condition's distribution from N(0, I), a mean over entries.

    .. math:: L_{KL} = -\tfrac12 \, \mathrm{mean}_{b,k}
        \big(1 + \log\sigma^2 - \mu^2 - \sigma^2\big)

    A VAE sums over the C dimensions instead: this is that sum, divided by C.

    Args:
        mu, logvar: (B, C).

    Returns:
        A scalar, at least 0, in nats per dimension.
    """
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean()


def discriminator_loss(
    real: tuple[Tensor, ...],
    fake: tuple[Tensor, ...],
    objective: str,
    weights: Tensor | None = None,
) -> Tensor:
    r"""What one stage's discriminator minimises.

    .. math:: L_D = \tfrac12 \big[\ell(D^u(x), 1) + \ell(D^c(x, \bar e), 1)\big]
        + \tfrac13 \big[\ell(D^u(\hat x), 0) + \ell(D^c(\hat x, \bar e), 0)
        + \ell(D^c(x, \bar e_{wrong}), 0)\big]

    with the cross-entropy :math:`\ell(s, y)` of a logit, or its hinge
    :math:`\max(0, 1 \mp s)`. The paper's equation 5 has no wrong pairs and 1/2
    everywhere; this is its code.

    Args:
        real: conditional, unconditional and mismatched logits of real pictures.
        fake: conditional and unconditional logits of generated ones.
        objective: "non-saturating" or "hinge".
        weights: of the mismatched logits, same shape, each row summing to 1 (or to 0,
            where a picture has no wrong caption); their plain mean by default.

    Returns:
        A scalar.
    """
    conditional, unconditional, mismatched = real
    refused = _loss_of_fakes(mismatched, objective)
    if weights is not None:
        refused = (weights * refused).sum(dim=1)
    right = [_loss_of_reals(s, objective).mean() for s in (conditional, unconditional)]
    wrong = [_loss_of_fakes(s, objective).mean() for s in fake]
    return sum(right) / 2 + (sum(wrong) + refused.mean()) / 3


def adversarial_loss(fake: Sequence[tuple[Tensor, ...]], objective: str) -> Tensor:
    r"""What the generator minimises to pass for real, a sum over stages.

    .. math:: \sum_i \ell(D_i^u(\hat x_i), 1) + \ell(D_i^c(\hat x_i, \bar e), 1)

    The hinge game has :math:`-s` for :math:`\ell(s, 1)` here (Lim and Ye 2017).

    Args:
        fake: conditional and unconditional logits of every stage.
        objective: "non-saturating" or "hinge".

    Returns:
        A scalar. (The paper's equation 4 has 1/2 before each; this is its code.)
    """
    terms = [
        (-logits if objective == "hinge" else softplus(-logits)).mean()
        for pair in fake
        for logits in pair[:2]
    ]
    return torch.stack(terms).sum()


def _loss_of_reals(logits: Tensor, objective: str) -> Tensor:
    return relu(1 - logits) if objective == "hinge" else softplus(-logits)


def _loss_of_fakes(logits: Tensor, objective: str) -> Tensor:
    return relu(1 + logits) if objective == "hinge" else softplus(logits)


def mismatch_weights(logits: Tensor, different: Tensor, focus: float) -> Tensor:
    r"""How much each wrong pair counts: more, the more it passes for right.

    .. math:: w_{ij} \propto [j \text{ says something else}] \exp(focus \cdot s_{ij})

    Most captions of a batch are wrong in every word, and soon refused. What is left to
    learn, as which of two objects is red, is in the few pairs that still pass.

    Args:
        logits: of pictures with captions, (B, N).
        different: (B, N) bool, True where the caption says something else.
        focus: 0 for equal weights.

    Returns:
        (B, N) without gradients; rows sum to 1, or to 0 where no caption is different.
    """
    scores = (focus * logits.detach()).masked_fill(~different, -torch.inf)
    return torch.softmax(scores, dim=1).nan_to_num(0.0)


# ---------------------------------------------------------------------- task


class AttnGANTask:
    """What the training loop needs to know: networks, optimisers, losses.

    The generator draws once a step: its pictures are shown to the discriminators,
    detached, and then scored by the updated discriminators for its own loss.

    A config with ``reading_only`` asks for a training before: both text encoders learn
    what a caption says by telling the labels of its scene, pictures are not looked at,
    and the other networks stay as they are. The training proper begins with its weights
    (``start_from``). A matching model's encoder may match without it: the words tell a
    hundred captions apart, and in which order they stand hardly ever matters.

    Args:
        config: sizes and objective; ``feature_dim`` is the matching model's.
        matcher: a trained DAMSM; it is frozen.
        max_tokens: longest caption.

    Raises:
        ValueError: features of the matching model of another size than the config's.
    """

    phases: tuple[str, ...] = ("discriminator", "generator")

    def __init__(
        self,
        config: AttnGANConfig,
        matcher: DAMSMMatcher,
        max_tokens: int,
        label_sizes: Sequence[int] = (),
        nearly_right: NearlyRight = lambda batch, chances: None,
        equally_right: EquallyRight = lambda batch: None,
        told: Told = lambda batch: None,
        by_lot: ByLot = lambda batch, noise: None,
    ) -> None:
        if matcher.text_encoder.feature_dim != config.feature_dim:
            raise ValueError(
                f"config.feature_dim must be that of the matching model, "
                f"{matcher.text_encoder.feature_dim}; got {config.feature_dim}."
            )
        self.config = config
        self.vocabulary = matcher.vocabulary
        self.max_tokens = max_tokens
        self.matcher_size = matcher.config.image_size
        self.averaged: tuple[str, ...] = ("generator",)
        self.networks: dict[str, nn.Module] = {
            "generator": Generator(config),
            "discriminator": Discriminators(config),
            "matcher_text": matcher.text_encoder.requires_grad_(False).eval(),
            "matcher_image": matcher.image_encoder.requires_grad_(False).eval(),
        }
        if config.train_text:
            # One copy learns what the generator needs, the other what the judges need.
            self.averaged = ("generator", "text")
            self.networks["text"] = _copy_of(matcher.text_encoder)
            self.networks["judge_text"] = _copy_of(matcher.text_encoder)
        self.label_sizes = tuple(label_sizes)
        self.nearly_right, self.equally_right = nearly_right, equally_right
        self.told, self.by_lot = told, by_lot
        if config.labels:
            self.networks["labels"] = AttributeEncoder(
                self.label_sizes, config.feature_dim
            )
        if config.reading_weight:
            for name in _READERS.values():
                self.networks[name] = nn.Linear(
                    config.feature_dim, sum(self.label_sizes) + len(self.label_sizes)
                )
        if config.reading_only:
            self.phases = ("reading",)
            for name in ("generator", "discriminator", "labels"):
                self.networks[name].requires_grad_(False)
        self._drawn: _Drawn | None = None  # of the discriminators' phase

    @classmethod
    def build(cls, config: AttnGANConfig, dataset: CaptionedDataset) -> AttnGANTask:
        """A task for a data set, with the matching model that ``config.damsm`` names.

        Raises:
            ValueError: no matching model, one of another vocabulary, pictures of
                another size than the last stage's, or labels where a set has none.
        """
        if dataset.image_size != config.sizes[-1]:
            raise ValueError(
                f"config.sizes must end with the data set's image_size, "
                f"{dataset.image_size}; got {config.sizes}."
            )
        if config.noise_labels:
            noise = torch.zeros(1, config.noise_dim)
            if dataset.by_lot(dataset.batch([0]), noise) is None:
                raise ValueError(
                    f"noise_labels=True needs a data set that knows what its captions "
                    f"leave open; {dataset.name!r} does not. Leave it out."
                )
        if config.labels and not dataset.attributes:
            raise ValueError(
                f"labels=True needs a data set with attributes; {dataset.name!r} has "
                f"none. Leave it out."
            )
        matcher = load_matcher(config.damsm)
        if matcher.vocabulary != dataset.vocabulary:
            raise ValueError(
                f"config.damsm must name a model of this data set's vocabulary "
                f"({len(dataset.vocabulary)} tokens, language "
                f"{dataset.vocabulary.language!r}); {config.damsm!r} has "
                f"{len(matcher.vocabulary)}, {matcher.vocabulary.language!r}. Choose "
                f"its language, or train one: mmgen train damsm --data {dataset.name}."
            )
        config = replace(config, feature_dim=matcher.text_encoder.feature_dim)
        sizes = [len(values) for values in dataset.attributes.values()]
        return cls(
            config,
            matcher,
            dataset.max_tokens,
            sizes,
            dataset.nearly_right,
            dataset.equally_right,
            dataset.told,
            dataset.by_lot,
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each phase.

        One optimiser for all discriminators does what the original's one for each does:
        Adam treats every parameter by itself.
        """
        sides = {
            "discriminator": (
                ("discriminator", "judge_text", "labels", "judge_reader"),
                self.config.discriminator_learning_rate,
            ),
            "generator": (("generator", "text", "reader"), self.config.learning_rate),
            "reading": ((*_READERS, *_READERS.values()), self.config.learning_rate),
        }
        return {
            phase: torch.optim.Adam(
                [
                    parameter
                    for name in names
                    if name in self.networks
                    for parameter in self.networks[name].parameters()
                ],
                lr=rate,
                betas=self.config.adam_betas,
            )
            for phase, (names, rate) in sides.items()
            if phase in self.phases
        }

    def training_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        """The loss of one phase.

        Args:
            batch: captioned pictures of the last stage's size.
            step: the loop's step: ``phase``, ``index``, ``accumulating``, ``rand``,
                ``randn`` and ``gather``.

        Returns:
            "loss", and scalars to log.
        """
        if step.phase == "discriminator":
            return self._discriminator_step(batch, step)
        if step.phase == "reading":
            meeting = self._meeting(batch)
            losses = [
                self._reading(
                    name, self.networks[name](batch.tokens, batch.lengths)[1], meeting
                )
                for name in _READERS
            ]
            return {"loss": torch.stack(losses).sum()}
        return self._generator_step(batch, step)

    def _reading(self, name: str, sentence: Tensor, meeting: _Labels) -> Tensor:
        """How well a text encoder's sentence (B, D) tells its scene's labels, in nats.

        A mean over labels that captions tell. Of two objects whose sides are left open
        either may be called the first, as the encoder likes best: held to the order of
        one picture, it could but guess, half and half for every label, and would forget
        which colour belongs to which shape.
        """
        sentence = layer_norm(sentence, sentence.shape[-1:])
        logits = self.networks[_READERS[name]](sentence)
        rows, counted = meeting
        if counted is None:
            counted = rows[0] >= 0
        cost = values_loss(logits, rows, self.label_sizes, counted)
        return cost * len(sentence) / counted.sum().clamp(min=1)

    def _discriminator_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        if step.accumulating:
            with torch.no_grad():
                drawn = self._draw(batch, step)
        else:
            drawn = self._drawn = self._draw(batch, step)
        judge, size = self.networks["discriminator"], len(batch)
        sentence = self._judged_sentence(batch, drawn)
        mismatched, different = self._mismatched(batch, sentence, step)
        choices = self._choices(batch, mismatched, step)
        if self._drawn is not None:  # the generator's phase shows the same ones
            self._drawn = drawn._replace(choices=[group.detach() for group in choices])
        asked = self._asked(choices) if choices else mismatched
        reals = pictures_of_stages(batch.images, self.config.sizes)
        fakes = [images.detach() for images in drawn.output.images]
        shown = self._augmented(reals, step), self._augmented(fakes, step)
        if self.config.judge_norm != "batch":
            # No statistics of the batch: both kinds may share one pass.
            both = [torch.cat(pair) for pair in zip(*shown, strict=True)]
            judged = judge(both, torch.cat([sentence, sentence]), asked)
            real = [(c[:size], u[:size], w[:size]) for c, u, w in judged]
            fake = [(c[size:], u[size:], w[size:]) for c, u, w in judged]
        else:
            real = judge(shown[0], sentence, asked)
            fake = judge(
                shown[1], sentence, asked if self.config.labels_weight else None
            )
        matching = self._matching([wrong for _, _, wrong in real], choices, batch, step)
        with_labels = self._with_labels([w for _, _, w in real], batch, None)
        drawn_labels = self._with_labels([stage[-1] for stage in fake], batch, drawn)
        if choices:
            real = [(c, u, w[:, : len(mismatched)]) for c, u, w in real]
        weights = [
            None
            if different is None
            else mismatch_weights(wrong, different, self.config.mismatch_focus)
            for _, _, wrong in real
        ]
        losses = [
            discriminator_loss(r, f[:2], self.config.objective, w)
            for r, f, w in zip(real, fake, weights, strict=True)
        ]
        loss = torch.stack(losses).sum() + self.config.matching_weight * matching
        for shows, claims in zip(with_labels, drawn_labels, strict=True):
            accepted = _loss_of_reals(shows, self.config.objective).mean()
            refused = _loss_of_fakes(claims, self.config.objective).mean()
            loss = loss + self.config.labels_weight * (accepted / 2 + refused / 3)
        if self.config.reading_weight:
            assert drawn.meeting is not None  # _draw() has made sure
            reading = self._reading("judge_text", sentence, drawn.meeting)
            loss = loss + self.config.reading_weight * reading
        if self.config.r1_weight and step.index % self.config.r1_every == 0:
            penalty = self._penalty(reals, sentence.detach(), batch)
            loss = loss + self.config.r1_every * penalty
        return {
            "loss": loss,
            "real": real[-1][0].mean(),
            "fake": fake[-1][0].mean(),
            "wrong": real[-1][2].mean(),
        }

    def _generator_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        drawn, self._drawn = self._drawn, None
        if drawn is None:
            drawn = self._draw(batch, step)
        output = drawn.output
        with torch.no_grad():
            sentence = self._judged_sentence(batch, drawn)
            choices = drawn.choices
            if choices is None:
                choices = self._choices(batch, step.gather(sentence), step)
            asked = self._asked(choices) if choices else None
        judged = self.networks["discriminator"](
            self._augmented(output.images, step), sentence, asked
        )
        adversarial = adversarial_loss(judged, self.config.objective)
        claims = self._with_labels([stage[-1] for stage in judged], batch, drawn)
        if claims:
            pairs = [(stage,) for stage in claims]
            adversarial = adversarial + self.config.labels_weight * adversarial_loss(
                pairs, self.config.objective
            )
        kl = condition_kl(output.mu, output.logvar)
        scalars = {
            "loss": adversarial + self.config.kl_weight * kl,
            "adversarial": adversarial,
            "kl": kl,
        }
        if choices:
            matching = self._matching(
                [wrong for _, _, wrong in judged], choices, batch, step, drawn
            )
            scalars["loss"] = scalars["loss"] + self.config.matching_weight * matching
            scalars["matching"] = matching
        if self.config.damsm_weight:
            match = self._match(output.images[-1], batch, drawn, step)
            scalars["loss"] = scalars["loss"] + self.config.damsm_weight * match
            scalars["damsm"] = match
        if self.config.reading_weight:
            assert drawn.meeting is not None  # _draw() has made sure
            reading = self._reading("text", drawn.told, drawn.meeting)
            scalars["loss"] = scalars["loss"] + self.config.reading_weight * reading
            scalars["reading"] = reading
        return scalars

    def sampler(self, networks: dict[str, nn.Module]) -> AttnGANSampler:
        """A sampler with the weights of ``networks``."""
        name = "text" if self.config.train_text else "matcher_text"
        text = networks[name].state_dict()
        embedding = text["embedding.weight"]
        sampler = AttnGANSampler(
            self.config, self.vocabulary, self.max_tokens, embedding.shape[1]
        )
        sampler.text.load_state_dict(text)
        sampler.generator.load_state_dict(networks["generator"].state_dict())
        return sampler.to(embedding.device).eval()

    def _draw(self, batch: Batch, step: Any) -> _Drawn:
        """Encode the captions and draw a picture for each, at every size."""
        with torch.no_grad():
            words, sentence = self.networks["matcher_text"](batch.tokens, batch.lengths)
        shown = words, sentence
        if self.config.train_text:
            shown = self.networks["text"](batch.tokens, batch.lengths)
        noise = step.randn(len(batch), self.config.noise_dim)
        eps = step.randn(len(batch), self.config.condition_dim)
        output = self.networks["generator"](noise, *shown, batch.mask, eps)
        drawn = _Drawn(output, words, sentence, shown[1])
        if not (self.config.every_value or self.config.reading_weight):
            return drawn
        meeting = asked = self._meeting(batch)
        if self.config.noise_labels:
            decided = self.by_lot(batch, noise)
            assert decided is not None  # build() has made sure
            asked = _Labels(decided[0][None], decided[1])
        return drawn._replace(meeting=meeting, asked=asked)

    def _judged_sentence(self, batch: Batch, drawn: _Drawn) -> Tensor:
        """The sentence feature that the discriminators are told, (B, D)."""
        if self.config.train_text:
            return self._read_judging(batch.tokens, batch.lengths)
        return drawn.sentence

    def _read_judging(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        name = "judge_text" if self.config.train_text else "matcher_text"
        return self.networks[name](tokens, lengths)[1]

    def _mismatched(
        self, batch: Batch, sentence: Tensor, step: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Sentences of other pictures; for all pairs also which say something else."""
        if self.config.mismatch == "next":
            return sentence[1:], None
        # The wrong caption may come from any process, as it would in one big batch.
        candidates = step.gather(sentence)
        asked = step.gather(batch.class_ids)
        different = batch.class_ids[:, None] != asked[None, :]
        if self.config.mismatch == "all":
            return candidates, different
        draws = step.rand(len(batch), len(candidates))
        partner = draws.masked_fill(~different, -1.0).argmax(dim=1)
        # Where the whole batch says the same there is no wrong caption: one of zeros.
        exists = different.any(dim=1)
        return torch.where(exists[:, None], candidates[partner], 0.0), None

    def _choices(self, batch: Batch, captions: Tensor, step: Any) -> list[Choices]:
        """What a picture has to be told from, and numbers of what is asked for.

        Captions (N, D) of the whole batch first, followed, where the data set can write
        them, by as many that are wrong in one fact; then, where there are labels and
        not all their values are compared, those of the whole batch, as many near misses
        and what the captions allow besides. Nothing without matching.
        """
        if not self.config.matching_weight:
            return []
        asked = Choices(captions, step.gather(batch.class_ids))
        if not self.config.labels:
            return [asked]
        assert batch.attributes is not None  # build() has made sure
        labels = self.networks["labels"]
        with_near = with_nearly_right(
            asked, batch, self.nearly_right, self._read_judging, step
        )
        if self.config.every_value:
            return [with_near]
        return [
            with_near,
            label_choices(
                batch.attributes,
                self.label_sizes,
                labels,
                step,
                allowed=self.equally_right(batch),
            ),
        ]

    def _asked(self, choices: list[Choices]) -> Tensor:
        """Conditions of all choices, then, if so configured, of every label's values.

        The latter have no need of other processes: they are the same for all.
        """
        conditions = [group.conditions for group in choices]
        if self.config.every_value:
            rows = value_rows(self.label_sizes, conditions[0].device)
            conditions.append(self.networks["labels"](rows))
        return torch.cat(conditions)

    def _matching(
        self,
        logits: list[Tensor],
        choices: list[Choices],
        batch: Batch,
        step: Any,
        drawn: _Drawn | None = None,
    ) -> Tensor:
        """How surely the pictures of all stages pick among the choices, a scalar.

        Args:
            logits: with what ``_asked`` returned, (B, N) a stage.
            choices: of ``_choices``; what follows them are values of labels.
            batch: this process's.
            step: the loop's step: ``gather``.
            drawn: where the pictures were drawn from the batch's captions. They answer
                for what these tell; where they lie in which order is free.
        """
        if not choices:
            return torch.zeros((), device=logits[0].device)
        counts = [len(group.ids) for group in choices]
        compared = sum(counts)
        stages = [stage[:, :compared].split(counts, dim=1) for stage in logits]
        losses = [choices_loss(s, choices, step, drawn is not None) for s in stages]
        if self.config.every_value:
            rows, counted = self._labels_of(batch, drawn)
            losses += [
                values_loss(stage[:, compared:], rows, self.label_sizes, counted)
                for stage in logits
            ]
        return torch.stack(losses).sum()

    def _with_labels(
        self, logits: list[Tensor], batch: Batch, drawn: _Drawn | None
    ) -> list[Tensor]:
        """How real the pictures of every stage look with their labels, (B,) each.

        Real ones have the labels of their scenes. Drawn ones have those that their
        captions tell, and of what is open whatever they look like most.
        """
        if not self.config.labels_weight:
            return []
        rows, counted = self._labels_of(batch, drawn)
        count = sum(self.label_sizes) + len(self.label_sizes)
        return [
            rows_score(
                stage[:, -count:],
                completed(stage[:, -count:].detach(), rows, self.label_sizes, counted),
                self.label_sizes,
            )
            for stage in logits
        ]

    def _labels_of(self, batch: Batch, drawn: _Drawn | None) -> _Labels:
        """What pictures answer for: their own labels, or, if drawn, what was asked."""
        assert batch.attributes is not None  # build() has made sure
        if drawn is None:
            return _Labels(batch.attributes[None], None)
        assert drawn.asked is not None  # _draw() has made sure
        return drawn.asked

    def _meeting(self, batch: Batch) -> _Labels:
        """Labels of pictures that would meet the captions, and what these tell."""
        assert batch.attributes is not None  # build() has made sure
        own, allowed = batch.attributes[None], self.equally_right(batch)
        rows = own if allowed is None else torch.cat([own, allowed])
        return _Labels(rows, self.told(batch))

    def _match(self, images: Tensor, batch: Batch, drawn: _Drawn, step: Any) -> Tensor:
        """The matching loss of drawn pictures against the captions of all processes."""
        side, wanted = images.shape[-1], self.matcher_size
        if side > wanted and side % wanted == 0:
            images = avg_pool2d(images, side // wanted)  # bilinear would skip pixels
        elif side != wanted:
            images = interpolate(images, wanted, mode="bilinear")
        regions, features = self.networks["matcher_image"](images)
        losses = damsm_losses(
            step.gather(regions),
            step.gather(features),
            step.gather(drawn.words),
            step.gather(drawn.sentence),
            step.gather(batch.mask.byte()).bool(),
            step.gather(batch.class_ids),
            gamma1=self.config.gamma1,
            gamma2=self.config.gamma2,
            gamma3=self.config.gamma3,
        )
        return losses.total

    def _penalty(self, reals: list[Tensor], sentence: Tensor, batch: Batch) -> Tensor:
        """R1: half the squared gradient of the logits at real pictures, weighted.

        Of all logits by which pictures are told to be real, also with their labels.
        """
        reals = [images.detach().requires_grad_() for images in reals]
        # The networks themselves: the loop's wrapper lets nobody differentiate inside
        # a step, and squares of gradients want full precision anyway.
        judge: Any = self.networks["discriminator"]
        judge, asked = getattr(judge, "module", judge), None
        if self.config.labels_weight:
            labels: Any = self.networks["labels"]
            labels = getattr(labels, "module", labels)
            asked = labels(value_rows(self.label_sizes, sentence.device))
        judged = judge([images.float() for images in reals], sentence.float(), asked)
        logits = [logit for stage in judged for logit in stage[:2]]
        logits += self._with_labels([stage[-1] for stage in judged], batch, None)
        total = torch.stack([logit.sum() for logit in logits]).sum()
        gradients = torch.autograd.grad(total, reals, create_graph=True)
        squares = [g.square().sum(dim=(1, 2, 3)).mean() for g in gradients]
        return 0.5 * self.config.r1_weight * torch.stack(squares).sum()

    def _augmented(self, images: list[Tensor], step: Any) -> list[Tensor]:
        if not self.config.augment:
            return images
        draws = step.rand(len(images[0]), 4)  # the same at every size
        return [shift_and_cover(pictures, draws) for pictures in images]

    @staticmethod
    def defaults(
        scale: str, dataset_name: str
    ) -> tuple[AttnGANConfig, dict[str, Any], dict[str, Any]]:
        """Config, fields of TrainingConfig and options of load_dataset for a scale.

        Args:
            scale: "smoke", "laptop" or "full".
            dataset_name: "shapes", "emoji", "cub" or "coco".
        """
        if dataset_name in ("cub", "coco") and scale == "full":
            return _paper_defaults(dataset_name)
        labels = dataset_name in LABELLED
        config = AttnGANConfig.small(damsm=f"damsm-{dataset_name}64", labels=labels)
        training: dict[str, Any] = {"ema_decay": 0.999}
        data: dict[str, Any] = {"image_size": 64, "language": "both"}
        if dataset_name == "emoji":
            # A few thousand pictures: without it the judges know each by heart.
            config = replace(config, augment=True)
            data["split_by"] = "combination"
        if dataset_name == "shapes":
            config = replace(config, every_value=True)
            data["objects"] = (1, 2)
        if scale == "full":
            if dataset_name == "shapes":
                data["attributes"] = TAUGHT
                config = replace(config, reading_weight=1.0)
            training |= {
                "steps": 30_000,
                "batch_size": 64,
                "precision": "bf16-mixed",
                "channels_last": True,
                "max_minutes": 14.0,
                "checkpoint_every": 2000,
                "sample_every": 2000,
                # without it, one burst at step 2,200 undid what an hour had taught
                "gradient_clip": 5.0,
            }
            return config, training, data
        config = replace(
            config,
            sizes=(16, 32),
            taper=True,
            residual_blocks=1,
            generator_channels=8,
            discriminator_channels=8,
            noise_dim=32,
            condition_dim=64,
            learning_rate=1e-3,
            discriminator_learning_rate=8e-4,
        )
        data["image_size"] = 32
        if dataset_name == "shapes":
            # It draws shapes early; a long training runs away with it.
            config = replace(config, labels_weight=1.0)
            data["objects"] = (1,)
        training |= {"batch_size": 32, "steps": 240, "ema_decay": 0.98}
        if scale == "smoke":
            config = replace(config, generator_channels=8, discriminator_channels=8)
            training |= {"batch_size": 8, "steps": 3}
        return config, training, data


def load_matcher(name: str) -> DAMSMMatcher:
    """A trained matching model.

    Args:
        name: a folder that ``mmgen train damsm --out`` made, or the name of weights
            that come with the package.

    Raises:
        ValueError: no name, or what it names is no matching model.
    """
    # Imported here: models otherwise know neither the loop nor the weights.
    if not name:
        raise ValueError(
            "config.damsm must name a trained matching model: weights of the package "
            '("damsm-shapes64") or the folder of a run. Train one first: mmgen train '
            "damsm --data NAME --out runs/damsm, then --config.damsm runs/damsm."
        )
    if Path(name).is_dir():
        from mmgen.training import Run

        matcher = Run.load(name).sampler()
    else:
        from mmgen.pretrained import load

        matcher = load(name)
    if not isinstance(matcher, DAMSMMatcher):
        raise ValueError(
            f"config.damsm must name a matching model; {name!r} is a "
            f"{type(matcher).__name__}."
        )
    return matcher


def _paper_defaults(
    dataset_name: str,
) -> tuple[AttnGANConfig, dict[str, Any], dict[str, Any]]:
    """The original's networks, batch and number of epochs, in today's arithmetic."""
    training: dict[str, Any] = {
        "precision": "bf16-mixed",
        "channels_last": True,
        "compile": True,
        "ema_decay": 0.999,
        "workers": 8,
        "checkpoint_every": 2000,
        "sample_every": 2000,
    }
    if dataset_name == "cub":
        # 600 epochs of 8,855 pictures
        training |= {"batch_size": 20, "steps": 600 * (8855 // 20)}
        return AttnGANConfig.cub(), training, {"image_size": 256}
    # 120 epochs of 82,783 pictures
    training |= {"batch_size": 14, "steps": 120 * (82_783 // 14)}
    return AttnGANConfig.coco(), training, {"image_size": 256}


# What each text encoder that learns tells labels by.
_READERS = {"text": "reader", "judge_text": "judge_reader"}


class _Labels(NamedTuple):
    """Rows of labels of which a picture may show any, and which labels count."""

    rows: Tensor  # (N, B, A)
    counted: Tensor | None  # (B, A) bool; None: all


class _Drawn(NamedTuple):
    """What the generator drew in the discriminators' phase, for its own phase."""

    output: GeneratorOutput
    words: Tensor  # (B, T, D) of the matching model
    sentence: Tensor  # (B, D) of the matching model
    told: Tensor  # (B, D), what the generator was told
    meeting: _Labels | None = None  # what would meet the captions
    asked: _Labels | None = (
        None  # of that, where the noise tells it, what was asked for
    )
    choices: list[Choices] | None = None  # what the pictures were compared with


def _copy_of(encoder: TextEncoder) -> TextEncoder:
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


# ------------------------------------------------------------------- sampler


class AttnGANSampler(nn.Module):
    """A trained generator with its text encoder: captions to pictures.

    Args:
        config: as trained.
        vocabulary: of the captions.
        max_tokens: longest caption of the training; longer ones are cut.
        embedding_dim: size of a token's vector in the text encoder.
    """

    def __init__(
        self,
        config: AttnGANConfig,
        vocabulary: Vocabulary,
        max_tokens: int,
        embedding_dim: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.max_tokens = max_tokens
        self.text = TextEncoder(
            len(vocabulary), embedding_dim, config.feature_dim, dropout=0.0
        )
        self.generator = Generator(config)

    def init_args(self) -> dict[str, Any]:
        """What ``from_args`` needs to build this sampler again, fit for JSON."""
        return {
            "config": asdict(self.config),
            "vocabulary": self.vocabulary.to_json(),
            "max_tokens": self.max_tokens,
            "embedding_dim": self.text.embedding_dim,
        }

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> AttnGANSampler:
        """An untrained sampler of the sizes that ``init_args`` wrote down."""
        config: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in args["config"].items()
        }
        return cls(
            AttnGANConfig(**config),
            Vocabulary.from_json(args["vocabulary"]),
            args["max_tokens"],
            args["embedding_dim"],
        )

    @property
    def noise_dim(self) -> int:
        """Random numbers for a picture: z, then the augmentation's epsilon."""
        return self.config.noise_dim + self.config.condition_dim

    def draw(self, tokens: Tensor, lengths: Tensor, noise: Tensor) -> GeneratorOutput:
        """Draw encoded captions.

        Args:
            tokens: (B, T) int64, 0 = padding.
            lengths: (B,) int64.
            noise: (B, noise_dim), standard normal.

        Returns:
            Pictures and attention maps of every stage.
        """
        words, sentence = self.text(tokens, lengths)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        mask = positions[None, :] < lengths[:, None]  # (B, T)
        z, eps = noise.split([self.config.noise_dim, self.config.condition_dim], dim=1)
        return self.generator(z, words, sentence, mask, eps)

    @torch.no_grad()
    def stages(
        self,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
    ) -> GeneratorOutput:
        """Pictures of every stage and where each word went.

        Args:
            captions: at least one; words that the model never saw are named in a
                warning.
            seed: of the noise; the same seed and captions give the same pictures.
            noise: (B, noise_dim), in place of a seed's.

        Returns:
            As the generator's; attention maps have ``max_tokens`` words, zero past a
            caption's end.

        Raises:
            ValueError: no caption, an empty one, or one without a known word.
        """
        tokens, lengths = self.vocabulary.read(captions, self.max_tokens)
        shape = (len(captions), self.noise_dim)
        if noise is None:
            # on the CPU, so that a seed means the same pictures on every device
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        elif tuple(noise.shape) != shape:
            raise ValueError(
                f"noise must have shape {shape}, a row a caption; got "
                f"{tuple(noise.shape)}."
            )
        device = next(self.parameters()).device
        return self.draw(tokens.to(device), lengths.to(device), noise.to(device))

    def sample(
        self,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
    ) -> Tensor:
        """One picture for each caption; arguments as for ``stages``.

        Returns:
            Images (B, 3, S, S) of the last stage, in [-1, 1].
        """
        if noise is None and not isinstance(captions, str):
            shape = (len(captions), self.noise_dim)
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        # in parts: attention over a thousand pictures at once would need gigabytes
        pictures = [
            self.stages(
                captions[i : i + 64],
                noise=None if noise is None else noise[i : i + 64],
            ).images[-1]
            for i in range(0, max(len(captions), 1), 64)
        ]
        return torch.cat(pictures)


# ------------------------------------------------------------------ original


def load_original(folder: str | Path, *, legacy_mask: bool = False) -> Original:
    """Load the checkpoints of the published AttnGAN into these classes.

    Args:
        folder: holds ``netG*.pth``, ``netD0.pth`` .. ``netD2.pth``,
            ``text_encoder*.pth`` or ``image_encoder*.pth``, whichever there are.
        legacy_mask: mask words as the original did, misplaced, to get the very pictures
            of weights that were trained with that mistake.

    Returns:
        The networks found, in evaluation mode on the CPU: ``.generator``,
        ``.discriminators``, ``.text_encoder``, ``.image_encoder``, and ``.config``.

    Raises:
        FileNotFoundError: no such folder, or none of these files in it.
        ValueError: a file that is damaged, that holds more than tensors, or tensors of
            another network.
    """
    from mmgen.models.attngan_original import read_folder  # it needs this module

    return read_folder(folder, legacy_mask=legacy_mask)
