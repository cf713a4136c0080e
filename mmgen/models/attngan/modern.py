"""AttnGAN with what was learnt since: a hinge game, projections, and labels.

The stages, the attention and the matching model are the original's. New are a
generator whose normalisations c and z modulate, discriminators without normalisation
that compare every picture with every caption by an inner product (Miyato and Koyama
2018), text encoders that go on learning, and, where a data set knows them, labels and
captions that are wrong in one fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.optim import Adam, Optimizer

from mmgen.conditioning import AttributeEncoder
from mmgen.data.batch import Batch
from mmgen.interfaces import NOTHING, DataInfo, Step
from mmgen.layers.blocks import shift_and_cover
from mmgen.layers.text import TextEncoder
from mmgen.models.attngan.networks import (
    Discriminators,
    GeneratorOutput,
    GeneratorSizes,
    StagedGenerator,
    StageDiscriminator,
    block,
    initialise,
)
from mmgen.models.attngan.objectives import (
    adversarial_loss,
    condition_kl,
    discriminator_loss,
    pictures_of_stages,
)
from mmgen.models.attngan.sampler import StagedSampler
from mmgen.models.attngan.task import (
    StagedTask,
    check_matcher,
    check_sizes,
    check_vocabulary,
    copied,
)
from mmgen.models.damsm import DAMSMMatcher
from mmgen.models.reader import Reader
from mmgen.objectives.adversarial import OBJECTIVES
from mmgen.objectives.contrastive import wrong_pairs
from mmgen.objectives.labels import Asked, Labels


@dataclass(frozen=True)
class ModernConfig(GeneratorSizes):
    """Sizes and choices of the modern variant; by default 16, 32 and 64 pixels.

    Every earlier stage has twice the channels of the next.
    """

    sizes: tuple[int, ...] = (16, 32, 64)  # side of each stage's picture, in pixels
    generator_channels: int = 24  # channels of the last stage's features
    attention: bool = True  # False: every pixel gets the sentence in place of words
    discriminator_channels: int = 64  # features of a discriminator at half of 64 px
    labels: bool = True  # labels and hard negatives teach as well
    augment: bool = False  # shift and partly cover what the discriminators see
    damsm: str = ""  # the matching model: a pretrained name, or the folder of a run
    reader: str = ""  # whose text encoder to begin with; none: the matching model's
    damsm_weight: float = 0.5  # lambda, of the matching loss of the last stage
    kl_weight: float = 0.1  # of conditioning augmentation's divergence from N(0, I)
    gamma1: float = 4.0  # sharpness of a word's attention over regions
    gamma2: float = 5.0  # how much the best matching words count
    gamma3: float = 10.0  # sharpness of the choice among captions
    learning_rate: float = 4e-4  # of the generator
    discriminator_learning_rate: float = 4e-4  # of the discriminators
    adam_betas: tuple[float, float] = (0.5, 0.999)  # of both

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        [
            *("discriminator_channels", "labels", "augment", "damsm", "reader"),
            *("damsm_weight", "kl_weight", "gamma1", "gamma2", "gamma3"),
            *("learning_rate", "discriminator_learning_rate", "adam_betas"),
        ]
    )

    def channels(self, stage: int) -> int:
        """Channels of the generator's features at a stage, counted from 0."""
        return self.generator_channels * 2 ** (len(self.sizes) - 1 - stage)


# ---------------------------------------------------------------- networks


class ModernGenerator(StagedGenerator):
    """The stages of AttnGAN, modulated by c and z.

    Args:
        config: sizes.
    """

    def __init__(self, config: ModernConfig) -> None:
        super().__init__(config, modulated=True)
        self.config = config

    def forward(
        self,
        noise: Tensor,
        words: Tensor,
        sentence: Tensor,
        mask: Tensor,
        eps: Tensor | None = None,
    ) -> GeneratorOutput:
        """Draw a batch; arguments and result as for ``StagedGenerator``."""
        # A matching model's features are told apart by direction; their size is as it
        # happens (0.17 a feature on Shapes), and eps of size 1 would drown them.
        sentence = layer_norm(sentence, sentence.shape[-1:])
        words = layer_norm(words, words.shape[-1:])
        if not self.config.attention:
            # The sentence as the only word: each pixel gets the same map of it.
            words, mask = sentence[:, None], mask.new_ones(len(mask), 1)
        return super().forward(noise, words, sentence, mask, eps)


class ProjectionDiscriminator(StageDiscriminator):
    r"""Logits of the pictures of one stage: real, and real for each of many captions.

    .. math:: s(x, e) = \psi(x) + \langle \phi(x), V e \rangle

    with a vector V e for every one of the 4x4 places. No layer looks at the batch.

    Args:
        config: sizes.
        stage: whose pictures it scores, counted from 0.

    Raises:
        ValueError: a stage that the configuration does not have.
    """

    def __init__(self, config: ModernConfig, stage: int) -> None:
        base, top = config.discriminator_channels, 8 * config.discriminator_channels
        super().__init__(config.sizes, stage, base, normalised=False)
        self.joint = nn.Sequential(*block(top, top, 3, 1, normalised=False))
        self.projection = nn.Linear(config.feature_dim, top * 4 * 4, bias=False)  # W
        self.conditional = nn.Conv2d(top, 1, 4, 4)  # psi
        self.apply(initialise)

    def forward(
        self, images: Tensor, sentence: Tensor, others: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Logits of images (B, 3, S, S) with their sentences (B, D), and without.

        (B,) each; with ``others`` (N, D) also those of every picture with each, (B, N).
        """
        features = self.features(images)  # (B, 8Nd, 4, 4)
        unconditional = self.unconditional(features).flatten()
        joint = self.joint(features)
        psi, phi = (
            self.conditional(joint).flatten(),
            joint.flatten(1),
        )  # (B,), (B, 8Nd16)
        conditional = psi + (phi * self.projection(sentence)).sum(dim=1)
        if others is None:
            return conditional, unconditional
        return (
            conditional,
            unconditional,
            psi[:, None] + phi @ self.projection(others).T,
        )


# ---------------------------------------------------------------- training


class _Drawn(NamedTuple):
    """What the generator drew in the discriminators' phase, for its own phase."""

    output: GeneratorOutput
    words: Tensor  # (B, T, D) of the matching model
    sentence: Tensor  # (B, D) of the matching model
    captions: Asked | None = None  # what the pictures were compared with


class ModernTask(StagedTask):
    """The training of the modern variant.

    Two copies of a text encoder go on learning: one what the generator needs, one what
    the discriminators need.

    Arguments as for ``StagedTask``, and the encoder that both copies begin with.
    """

    averaged: tuple[str, ...] = ("generator", "text")

    def __init__(
        self,
        config: ModernConfig,
        data: DataInfo,
        matcher: DAMSMMatcher,
        text: TextEncoder,
    ) -> None:
        super().__init__(config, data, matcher)
        self.sizes = [len(values) for values in data.attributes.values()]
        stages = range(len(config.sizes))
        self.networks["generator"] = ModernGenerator(config)
        self.networks["discriminator"] = Discriminators(
            ProjectionDiscriminator(config, stage) for stage in stages
        )
        self.networks["text"] = copied(text)
        self.networks["discriminator_text"] = copied(text)
        if config.labels:
            self.networks["labels"] = AttributeEncoder(self.sizes, config.feature_dim)
        self._drawn: _Drawn | None = None  # of the discriminators' phase

    @staticmethod
    def requires(config: ModernConfig) -> Mapping[str, str]:
        """The matching model, and the reader if there is one."""
        named = {"damsm": config.damsm}
        return named | ({"reader": config.reader} if config.reader else {})

    @classmethod
    def build(
        cls, config: ModernConfig, data: DataInfo, frozen: Mapping = NOTHING
    ) -> ModernTask:
        """A task for a data set, with ``frozen["damsm"]`` and perhaps a reader.

        Raises:
            ValueError: no matching model, one of another vocabulary, pictures of
                another size than the last stage's, or labels where a set has none.
        """
        check_sizes(config, data)
        if config.labels and not data.attributes:
            raise ValueError(
                f"labels=True needs a data set with attributes; {data.name!r} has "
                f"none. Leave it out."
            )
        matcher = check_matcher(frozen, data)
        text, reader = matcher.text_encoder, frozen.get("reader")
        if reader is not None:
            if not isinstance(reader, Reader):
                raise ValueError(
                    f"config.reader must name a reader: mmgen train reader --data "
                    f"{data.name}; {config.reader!r} is a {type(reader).__name__}."
                )
            check_vocabulary("reader", reader.vocabulary, data)
            text = reader.text
        return cls(replace(config, feature_dim=text.feature_dim), data, matcher, text)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each phase."""
        sides = {
            "discriminator": (
                ("discriminator", "discriminator_text", "labels"),
                self.config.discriminator_learning_rate,
            ),
            "generator": (("generator", "text"), self.config.learning_rate),
        }
        return {
            phase: Adam(
                [
                    parameter
                    for name in names
                    if name in self.networks
                    for parameter in self.networks[name].parameters()
                ],
                rate,
                self.config.adam_betas,
            )
            for phase, (names, rate) in sides.items()
        }

    def _discriminator_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        if step.accumulating:
            with torch.no_grad():
                drawn = self._draw(batch, step)
        else:
            drawn = self._drawn = self._draw(batch, step)
        size = len(batch)
        sentence = self._read(batch.tokens, batch.lengths)
        captions = self._captions(batch, sentence, step)
        if self._drawn is not None:  # the generator's phase shows the same ones
            self._drawn = drawn._replace(captions=captions.detach())
        asked = self._with_values(captions)
        reals = pictures_of_stages(batch.images, self.config.sizes)
        fakes = [images.detach() for images in drawn.output.images]
        shown = self._augmented(reals, step), self._augmented(fakes, step)
        # No statistics of the batch: real and drawn pictures may share one pass.
        both = [torch.cat(pair) for pair in zip(*shown, strict=True)]
        scored = self.networks["discriminator"](
            both, torch.cat([sentence, sentence]), asked.conditions
        )
        real = [(c[:size], u[:size], o[:size]) for c, u, o in scored]
        fake = [(c[size:], u[size:], o[size:]) for c, u, o in scored]
        count = asked.pictures  # N, captions of all processes
        wrong = wrong_pairs(batch.class_ids, asked.ids[:count])  # (B, N)
        losses = [
            discriminator_loss((c, u, o[:, :count]), of_fakes, "hinge", wrong)
            for (c, u, o), of_fakes in zip(real, fake, strict=True)
        ]
        shows, meets = self._labels(batch)
        losses += [asked.matching_loss(o, shows, step) for _, _, o in real]
        if self.config.labels:
            # pictures also have to look real with their labels
            losses += [
                asked.label_discriminator_loss(
                    OBJECTIVES["hinge"], r[2], shows, f[2], meets
                )
                for r, f in zip(real, fake, strict=True)
            ]
        return {
            "loss": torch.stack(losses).sum(),
            "real": real[-1][0].mean(),
            "fake": fake[-1][0].mean(),
            "wrong": real[-1][2][:, :count].mean(),
        }

    def _generator_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        drawn, self._drawn = self._drawn, None
        if drawn is None:
            drawn = self._draw(batch, step)
        output, config = drawn.output, self.config
        with torch.no_grad():
            sentence = self._read(batch.tokens, batch.lengths)
            captions = drawn.captions or self._captions(batch, sentence, step)
            asked = self._with_values(captions)
        scored = self.networks["discriminator"](
            self._augmented(output.images, step), sentence, asked.conditions
        )
        adversarial = adversarial_loss(scored, "hinge")
        _, meets = self._labels(batch)
        matching = torch.stack(
            [asked.matching_loss(o, meets, step) for _, _, o in scored]
        ).sum()
        if config.labels:
            claims = [asked.label_generator_loss(o, meets) for _, _, o in scored]
            adversarial = adversarial + torch.stack(claims).sum()
        kl = condition_kl(output.mu, output.logvar)
        loss = adversarial + matching + config.kl_weight * kl
        logged = {"adversarial": adversarial, "kl": kl, "matching": matching}
        if config.damsm_weight:
            logged["damsm"] = self._match(
                output.images[-1], drawn.words, drawn.sentence, batch, step
            )
            loss = loss + config.damsm_weight * logged["damsm"]
        return {"loss": loss, **logged}

    def _draw(self, batch: Batch, step: Step) -> _Drawn:
        """Encode the captions and draw a picture for each, at every size."""
        words, sentence = self._read_for_matcher(batch)
        told = self.networks["text"](batch.tokens, batch.lengths)
        noise = step.randn(len(batch), self.config.noise_dim)
        eps = step.randn(len(batch), self.config.condition_dim)
        output = self.networks["generator"](noise, *told, batch.mask, eps)
        return _Drawn(output, words, sentence)

    def _read(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The sentence features that the discriminators are told, (B, D)."""
        return self.networks["discriminator_text"](tokens, lengths)[1]

    def _captions(self, batch: Batch, sentence: Tensor, step: Step) -> Asked:
        """The captions that pictures are compared with, hard negatives among them."""
        asked = Asked.captions(batch, sentence, step)
        if not self.config.labels:
            return asked
        alternatives = self.data.alternatives
        return asked.with_hard_negatives(batch, alternatives, self._read, step)

    def _with_values(self, captions: Asked) -> Asked:
        """The same and, where labels teach, all their values."""
        if not self.config.labels:
            return captions
        return captions.with_values(self.networks["labels"], self.sizes)

    def _labels(self, batch: Batch) -> tuple[Labels | None, Labels | None]:
        """What the real pictures show, and what drawn ones answer for."""
        if not self.config.labels:
            return None, None
        meets = Labels.of_captions(batch, self.data.alternatives)
        return Labels.of_pictures(batch), meets

    def _augmented(self, images: list[Tensor], step: Step) -> list[Tensor]:
        if not self.config.augment:
            return images
        draws = step.rand(len(images[0]), 4)  # the same at every size
        return [shift_and_cover(pictures, draws) for pictures in images]

    def sampler(self, networks: Mapping[str, nn.Module]) -> ModernSampler:
        """A sampler with the weights of ``networks``."""
        return ModernSampler.of(
            self.config, self.data, networks["text"], networks["generator"]
        )


class ModernSampler(StagedSampler):
    """A trained modern generator with its text encoder."""

    config_class = ModernConfig
    generator_class = ModernGenerator
