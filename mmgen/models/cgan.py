"""Conditional generative adversarial networks.

A generator turns noise and a condition into a picture; a discriminator scores how real
a picture is *for that condition*. The file reads in the chapter's order: sizes, the two
networks, the training step, and the sampler that is left when training is over. The
objectives of the game stand in ``mmgen.objectives.adversarial``.

Goodfellow et al., *Generative Adversarial Nets*, NeurIPS 2014.
Mirza and Osindero, *Conditional Generative Adversarial Nets*, 2014.
Reed et al., *Generative Adversarial Text to Image Synthesis*, ICML 2016 (wrong pairs).
Miyato and Koyama, *cGANs with Projection Discriminator*, ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.optim import Adam, Optimizer

from mmgen import conditioning
from mmgen.conditioning import AttributeEncoder, ConditionSampler
from mmgen.data.batch import Batch
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.blocks import (
    SLOPE,
    ConditionalBatchNorm2d,
    DownBlock,
    UpBlock,
    shift_and_cover,
)
from mmgen.layers.validation import require_positive
from mmgen.objectives.adversarial import *  # noqa: F403 - the chapter finds them here
from mmgen.objectives.adversarial import OBJECTIVES
from mmgen.objectives.contrastive import (
    pair_matching_loss,  # noqa: F401
    require_negatives,
    wrong_pairs,
)
from mmgen.objectives.labels import Asked, Labels
from mmgen.sampling import Graph, example_noise, in_parts, seeded_noise


@dataclass(frozen=True)
class CGANConfig:
    """Sizes and choices of a conditional GAN."""

    image_size: int = 32  # H = W, pixels: 32, 64 or 128; the data set's, when trained
    condition: Literal["sentence", "attributes"] = "sentence"  # reads captions, labels
    objective: str = "hinge"  # "minimax", "non-saturating" or "hinge"
    noise_dim: int = 64  # Z
    embedding_dim: int = 64  # of a word, where sentences are read
    condition_dim: int = 128  # C, of the sentence or the attributes together
    width: int = 32  # channels at full resolution; doubled at every halving
    max_width: int = 128  # and no wider than this
    matching_weight: float = 1.0  # of picking the caption among the batch's
    labels: bool = False  # sentences: labels and hard negatives teach as well
    augment: bool = False  # shift and cover what the discriminator sees (small data)
    generator_rate: float = 4e-4  # Adam's learning rate
    discriminator_rate: float = 6e-4  # of the discriminator, which leads
    encoder_rate: float = 2e-3  # of the encoder, whose rows are seldom all in use

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        [
            *("objective", "matching_weight", "labels", "augment"),
            *("generator_rate", "discriminator_rate", "encoder_rate"),
        ]
    )

    def __post_init__(self) -> None:
        if self.image_size not in (32, 64, 128):
            raise ValueError(
                f"image_size must be 32, 64 or 128; got {self.image_size}."
            )
        sizes = ("noise_dim", "embedding_dim", "condition_dim", "width", "max_width")
        require_positive(**{name: getattr(self, name) for name in sizes})
        if self.objective not in OBJECTIVES:
            raise ValueError(
                f"objective must be one of {', '.join(map(repr, OBJECTIVES))}; got "
                f"{self.objective!r}."
            )
        if self.labels and self.condition == "attributes":
            raise ValueError(
                'labels=True adds labels to sentences; with condition="attributes" the '
                "labels are the condition already. Leave one of them out."
            )

    def channels(self, resolution: int) -> int:
        """Channels of a feature map of height and width ``resolution``."""
        return min(self.width * self.image_size // resolution, self.max_width)

    @property
    def resolutions(self) -> list[int]:
        """Heights of the feature maps, from 4 up to ``image_size``."""
        return [2**i for i in range(2, self.image_size.bit_length())]


# ------------------------------------------------------------------ networks


class Generator(nn.Module):
    """Noise and a condition to a picture.

    Noise and condition are mixed once by a small network; what comes out sets the first
    4x4 feature map and, through conditional batch normalisation, scale and shift of
    every channel in every later layer. So "red" need not survive six convolutions to
    reach the pixels that it colours.
    """

    def __init__(self, config: CGANConfig) -> None:
        super().__init__()
        style = config.condition_dim
        first, second = (
            nn.Linear(config.noise_dim + style, style),
            nn.Linear(style, style),
        )
        self.mix = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
        self.first_width = config.channels(4)
        self.start = nn.Linear(style, self.first_width * 16)
        widths = [config.channels(resolution) for resolution in config.resolutions]
        self.blocks = nn.ModuleList(
            UpBlock(before, after, style) for before, after in pairwise(widths)
        )
        self.norm = ConditionalBatchNorm2d(widths[-1], style)
        self.to_rgb = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Noise (B, Z) and condition (B, C) to images (B, 3, H, W) in [-1, 1]."""
        style = self.mix(torch.cat([noise, condition], dim=1))
        features = self.start(style).view(-1, self.first_width, 4, 4)
        for block in self.blocks:
            features = block(features, style)
        return torch.tanh(self.to_rgb(torch.relu(self.norm(features, style))))


class ProjectionDiscriminator(nn.Module):
    r"""How real a picture looks, plus how well it fits a condition.

    .. math:: s(x, c) = \psi^\top \phi(x) + \phi(x)^\top W c

    The first term scores the picture alone; the second compares it with the condition,
    so that one matrix product scores every picture of a batch with every caption.
    (Miyato and Koyama 2018, eq. 3; here :math:`\phi` keeps the 4x4 layout until its
    last layer instead of summing over it, because captions say where things are.)
    """

    def __init__(self, config: CGANConfig) -> None:
        super().__init__()
        widths = [config.channels(r) for r in reversed(config.resolutions)]
        # at full resolution, before anything is halved: a shape 6 pixels wide is told
        # by its edges
        self.from_rgb = nn.Conv2d(3, widths[0], 3, padding=1)
        halvings = [DownBlock(before, after) for before, after in pairwise(widths)]
        self.blocks = nn.Sequential(*halvings)
        self.feature_dim = 2 * config.condition_dim
        self.flatten = nn.Linear(widths[-1] * 16, self.feature_dim)
        self.realness = nn.Linear(self.feature_dim, 1)  # psi
        # W
        self.project = nn.Linear(config.condition_dim, self.feature_dim, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # PyTorch's own start shrinks a signal to a third at every layer
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)

    def features(self, images: Tensor) -> Tensor:
        """phi(x), shape (B, F), of images (B, 3, H, W)."""
        maps = self.blocks(leaky_relu(self.from_rgb(images), SLOPE))
        return leaky_relu(self.flatten(maps.flatten(1)), SLOPE)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Logits (B, N) float32 of images (B, 3, H, W) with every condition (N, C)."""
        phi = self.features(images)
        return (self.realness(phi) + phi @ self.project(condition).T).float()


# ---------------------------------------------------------------------- training

LEFT_OPEN = 0.03  # share of attributes that a condition does not tell


class CGANTask(Task):
    """The training of a conditional GAN.

    One pass through the generator a step: the discriminator learns from its pictures
    first, then the same pictures carry the new discriminator's gradient back. The
    encoder of the condition learns with the discriminator, whose wrong pairs are the
    only place where real pictures teach what words mean; the generator takes its
    features as they are.
    """

    phases: tuple[str, ...] = ("discriminator", "generator")
    averaged: tuple[str, ...] = ("encoder", "generator")

    def __init__(self, config: CGANConfig, data: DataInfo) -> None:
        self.config, self.data = config, data
        self.sizes = [len(values) for values in data.attributes.values()]
        self.networks: dict[str, nn.Module] = {
            "encoder": conditioning.condition_encoder(
                config, data.vocabulary, data.attributes
            ),
            "generator": Generator(config),
            "discriminator": ProjectionDiscriminator(config),
        }
        if config.labels:
            self.networks["labels"] = AttributeEncoder(self.sizes, config.condition_dim)
        # what the discriminator's phase has drawn, and compared it with
        self._shown: tuple[Tensor, Asked] | None = None

    @classmethod
    def build(
        cls, config: CGANConfig, data: DataInfo, frozen: Mapping = NOTHING
    ) -> CGANTask:
        """A task for a data set, which also sets the size of the pictures."""
        config = replace(config, image_size=data.image_size)
        if config.labels and not data.attributes:
            raise ValueError(
                f"labels=True needs a data set with attributes; {data.name!r} has none."
            )
        return cls(config, data)

    def check_parts(self, part: int, together: int) -> None:
        """Refuse parts without negatives for the matching loss."""
        require_negatives(together)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each phase, with the momentum that GANs are trained with."""
        config, networks = self.config, self.networks
        rates = {"discriminator": config.discriminator_rate}
        rates |= dict.fromkeys(("encoder", "labels"), config.encoder_rate)
        groups = [
            {"params": list(networks[name].parameters()), "lr": rate}
            for name, rate in rates.items()
            if name in networks
        ]
        generator = networks["generator"].parameters()
        # beta1 = 0.5: a long memory of gradients that an opponent has since answered
        # makes both players overshoot (Radford et al. 2016)
        return {
            "generator": Adam(generator, config.generator_rate, (0.5, 0.999)),
            "discriminator": Adam(groups, betas=(0.5, 0.999)),
        }

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The loss of one phase, and scalars to log."""
        if self.config.condition == "attributes":
            assert batch.attributes is not None  # build() has made sure
            draws = step.rand(len(batch), len(self.sizes))
            opened = conditioning.left_open(batch.attributes, draws, LEFT_OPEN)
            batch = replace(batch, attributes=opened)
        if step.phase == "discriminator":
            return self._discriminator_step(batch, step)
        return self._generator_step(batch, step)

    def _discriminator_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        condition = self._encode(batch)  # (B, C)
        fakes = self._generate(condition.detach(), step)
        asked = self._asked(batch, condition, step)
        # with accumulation other microbatches come in between: drawn again then
        self._shown = None if step.accumulating else (fakes, asked.detach())

        reals = self._augmented(batch.images, step)
        drawn = self._augmented(fakes.detach(), step).to(reals.dtype)
        # real and generated pictures together, every one with every condition
        logits = self.networks["discriminator"](
            torch.cat([reals, drawn]), asked.conditions
        )
        of_reals, of_fakes = logits.split(len(batch))  # (B, M + R) each
        first = step.rank * len(batch)
        real, fake = of_reals.diagonal(first), of_fakes.diagonal(first)  # (B,)
        # N captions come with pictures. The pairs of all processes at once: their mean
        # is over those that are wrong, and shares of a batch have more or fewer.
        others = asked.ids[: asked.pictures]
        pairs = step.gather(of_reals[:, : asked.pictures])  # (N, N)
        objective = OBJECTIVES[self.config.objective]
        adversarial = objective.discriminator(
            real, fake, pairs, wrong_pairs(others, others)
        )
        shows = self._shows(batch)
        matching = asked.matching_loss(of_reals, shows, step)
        loss = adversarial + self.config.matching_weight * matching
        if self.config.labels:
            # a picture also has to look real with its labels
            loss = loss + asked.label_discriminator_loss(
                objective, of_reals, shows, of_fakes, self._meets(batch)
            )
        logged = {"adversarial": adversarial, "matching": matching}
        return {"loss": loss, **logged, "real": real.mean(), "fake": fake.mean()}

    def _generator_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        if self._shown is None:
            condition = self._encode(batch).detach()
            fakes = self._generate(condition, step)
            with torch.no_grad():
                asked = self._asked(batch, condition, step)
        else:
            (fakes, asked), self._shown = self._shown, None
        logits = self.networks["discriminator"](
            self._augmented(fakes, step), asked.conditions
        )
        fake = logits.diagonal(step.rank * len(batch))
        adversarial = OBJECTIVES[self.config.objective].generator(fake)
        meets = self._meets(batch)
        matching = asked.matching_loss(logits, meets, step)
        loss = adversarial + self.config.matching_weight * matching
        if self.config.labels:
            loss = loss + asked.label_generator_loss(logits, meets)
        return {"loss": loss, "adversarial": adversarial, "matching": matching}

    def _encode(self, batch: Batch) -> Tensor:
        """The condition of every caption, or of its attributes, (B, C)."""
        if self.config.condition == "attributes":
            return self.networks["encoder"](batch.attributes)
        return self._read(batch.tokens, batch.lengths)

    def _generate(self, condition: Tensor, step: Step) -> Tensor:
        noise = step.randn(len(condition), self.config.noise_dim)
        return self.networks["generator"](noise, condition)

    def _augmented(self, images: Tensor, step: Step) -> Tensor:
        if not self.config.augment:
            return images
        return shift_and_cover(images, step.rand(len(images), 4))

    def _asked(self, batch: Batch, condition: Tensor, step: Step) -> Asked:
        """What pictures are compared with: captions, hard negatives, label values."""
        asked = Asked.captions(batch, condition, step)
        if self.config.condition == "attributes":
            assert batch.attributes is not None  # build() has made sure
            ids = conditioning.attribute_ids(step.gather(batch.attributes), self.sizes)
            asked = asked._replace(ids=ids)
            return asked.with_values(self.networks["encoder"], self.sizes)
        if not self.config.labels:
            return asked
        alternatives = self.data.alternatives
        asked = asked.with_hard_negatives(batch, alternatives, self._read, step)
        return asked.with_values(self.networks["labels"], self.sizes)

    def _read(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self.networks["encoder"](tokens, lengths)[1]

    def _shows(self, batch: Batch) -> Labels | None:
        """The labels of real pictures, less those that are left open."""
        if self.config.condition == "attributes":
            return Labels.of_captions(batch, None)
        return Labels.of_pictures(batch) if self.config.labels else None

    def _meets(self, batch: Batch) -> Labels | None:
        """The labels that generated pictures answer for."""
        if not self.config.labels:
            return self._shows(batch)
        return Labels.of_captions(batch, self.data.alternatives)

    def sampler(self, networks: Mapping[str, nn.Module]) -> CGANSampler:
        """A sampler with the weights of ``networks`` ("encoder", "generator")."""
        data = self.data
        described = data.vocabulary, data.max_tokens, data.attributes, data.synonyms
        sampler = CGANSampler(self.config, *described)
        for name in self.averaged:
            getattr(sampler, name).load_state_dict(networks[name].state_dict())
        return sampler.to(next(networks["generator"].parameters()).device).eval()


# ------------------------------------------------------------------- sampler


class CGANSampler(ConditionSampler):
    """A trained generator with the encoder of its condition: captions to pictures.

    Arguments as for ``ConditionSampler``.
    """

    config_class = CGANConfig

    def __init__(self, config: CGANConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.encoder = conditioning.condition_encoder(
            config, self.vocabulary, self.attributes
        )
        self.generator = Generator(config)

    def condition(self, captions: Sequence[str | Mapping[str, str]]) -> Tensor:
        """What the generator is told about each caption, (B, C); see ``read``."""
        return self._condition(*self.read(captions))

    def _condition(self, *told: Tensor) -> Tensor:
        encoded = self.encoder(*told)
        return encoded if len(told) == 1 else encoded[1]  # attributes, or a sentence

    @torch.no_grad()
    def sample(
        self, captions: Sequence[Any], seed: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1], one for each caption (see ``read``).

        The same seed, or noise (B, Z), and captions give the same pictures.
        """
        noise = seeded_noise(len(captions), self.config.noise_dim, seed, noise)
        condition = self.condition(captions)
        return in_parts(self.generator, noise.to(condition), condition)

    def graph(self) -> Graph:
        """Captions (or attributes) and noise to pictures, for export."""

        def draw(*inputs: Tensor) -> tuple[Tensor, ...]:
            *told, noise = inputs
            return (self.generator(noise, self._condition(*told)),)

        inputs = self.examples() | example_noise(self.config.noise_dim)
        return Graph.of(self, draw, inputs, ("image",))
