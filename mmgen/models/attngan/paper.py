"""AttnGAN as it was published: the configuration, its discriminators, its training.

A discriminator at each size tells "real?" and "real for this caption?", and a frozen
matching model (DAMSM) says which word is missing where.

Xu et al., *AttnGAN*, CVPR 2018. Where paper and published code differ, this follows the
code, whose sizes ``.cub()`` and ``.coco()`` are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from mmgen.data.batch import Batch
from mmgen.interfaces import NOTHING, DataInfo, Step
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
from mmgen.models.attngan.task import StagedTask, check_matcher, check_sizes
from mmgen.models.damsm import DAMSMMatcher


@dataclass(frozen=True)
class AttnGANConfig(GeneratorSizes):
    """Sizes and objectives; the defaults are the original's for CUB."""

    legacy_mask: bool = False  # True: the published code's misplaced padding mask
    discriminator_channels: int = 64  # features of a discriminator at half of 64 px
    damsm: str = ""  # the matching model: a pretrained name, or the folder of a run
    damsm_weight: float = 5.0  # lambda, of the matching loss of the last stage
    kl_weight: float = 1.0  # of conditioning augmentation's divergence from N(0, I)
    gamma1: float = 4.0  # sharpness of a word's attention over regions
    gamma2: float = 5.0  # how much the best matching words count
    gamma3: float = 10.0  # sharpness of the choice among captions
    learning_rate: float = 2e-4  # of the generator
    discriminator_learning_rate: float = 2e-4  # of the discriminators
    adam_betas: tuple[float, float] = (0.5, 0.999)  # of both

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        [
            *("discriminator_channels", "damsm", "damsm_weight", "kl_weight"),
            *("gamma1", "gamma2", "gamma3", "learning_rate"),
            *("discriminator_learning_rate", "adam_betas"),
        ]
    )

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
        """The same recipe at 16, 32 and 64 pixels, for minutes instead of days."""
        small = cls(
            sizes=(16, 32, 64), generator_channels=16, discriminator_channels=16
        )
        return replace(small, **changes)


# ---------------------------------------------------------------- networks


class Generator(StagedGenerator):
    """The original's generator.

    Args:
        config: sizes; fields of the discriminators and of the training are not looked
            at.
    """

    def __init__(self, config: AttnGANConfig) -> None:
        super().__init__(config, modulated=False, legacy_mask=config.legacy_mask)
        self.config = config


class Discriminator(StageDiscriminator):
    """Logits of the pictures of one stage: real, and real for the caption.

    Strided convolutions lead to 4x4 features of 8 Nd channels. One head sees these
    alone; the other also sees the sentence itself (not c).

    Args:
        config: sizes.
        stage: whose pictures it scores, counted from 0.

    Raises:
        ValueError: a stage that the configuration does not have.
    """

    def __init__(self, config: AttnGANConfig, stage: int) -> None:
        base, top = config.discriminator_channels, 8 * config.discriminator_channels
        super().__init__(config.sizes, stage, base, normalised=True)
        both = top + config.feature_dim
        self.joint = nn.Sequential(*block(both, top, 3, 1, normalised=True))
        self.conditional = nn.Conv2d(top, 1, 4, 4)
        self.apply(initialise)

    def forward(
        self, images: Tensor, sentence: Tensor, mismatched: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Score a batch.

        Args:
            images: (B, 3, S, S) in [-1, 1].
            sentence: of these pictures, (B, D).
            mismatched: sentences of other pictures, (N, D), N <= B, for the first N
                pictures.

        Returns:
            Logits with the caption and without, (B,) each; with ``mismatched`` also
            those of the wrong pairs, (N,).

        Raises:
            ValueError: pictures of another size.
        """
        features = self.features(images)  # (B, 8Nd, 4, 4)
        unconditional = self.unconditional(features).flatten()
        conditional = self._with(features, sentence)
        if mismatched is None:
            return conditional, unconditional
        wrong = self._with(features[: len(mismatched)], mismatched)
        return conditional, unconditional, wrong

    def _with(self, features: Tensor, sentence: Tensor) -> Tensor:
        everywhere = sentence[:, :, None, None].expand(-1, -1, 4, 4)
        joint = self.joint(torch.cat([features, everywhere], dim=1))
        return self.conditional(joint).flatten()


# ---------------------------------------------------------------- training


class _Drawn(NamedTuple):
    """What the generator drew in the discriminators' phase, for its own phase."""

    output: GeneratorOutput
    words: Tensor  # (B, T, D) of the matching model
    sentence: Tensor  # (B, D) of the matching model


class AttnGANTask(StagedTask):
    """The original's training, from captions that a frozen text encoder reads.

    The wrong caption of a picture is that of the next one. Arguments as for
    ``StagedTask``.
    """

    averaged: tuple[str, ...] = ("generator",)

    def __init__(
        self, config: AttnGANConfig, data: DataInfo, matcher: DAMSMMatcher
    ) -> None:
        super().__init__(config, data, matcher)
        stages = range(len(config.sizes))
        self.networks["generator"] = Generator(config)
        self.networks["discriminator"] = Discriminators(
            Discriminator(config, stage) for stage in stages
        )
        self._drawn: _Drawn | None = None  # of the discriminators' phase

    @staticmethod
    def requires(config: AttnGANConfig) -> Mapping[str, str]:
        """The matching model that ``config.damsm`` names."""
        return {"damsm": config.damsm}

    @classmethod
    def build(
        cls, config: AttnGANConfig, data: DataInfo, frozen: Mapping = NOTHING
    ) -> AttnGANTask:
        """A task for a data set, with the matching model ``frozen["damsm"]``.

        Raises:
            ValueError: no matching model, one of another vocabulary, or pictures of
                another size than the last stage's.
        """
        check_sizes(config, data)
        matcher = check_matcher(frozen, data)
        feature_dim = matcher.text_encoder.feature_dim
        return cls(replace(config, feature_dim=feature_dim), data, matcher)

    def check_parts(self, part: int, together: int) -> None:
        """Refuse parts of one sample, of which batch norm has no statistics."""
        super().check_parts(part, together)
        if part < 2:
            raise ValueError(
                f"a part of a batch must hold at least 2 samples on each process: the "
                f"networks have batch norm, and the wrong caption of a picture is that "
                f"of the next one; got {part}. Raise batch_size, or lower accumulate "
                f"or devices."
            )

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each phase.

        One optimiser for all discriminators does what the original's one for each does:
        Adam treats every parameter by itself.
        """
        rates = {
            "discriminator": self.config.discriminator_learning_rate,
            "generator": self.config.learning_rate,
        }
        return {
            phase: Adam(self.networks[phase].parameters(), rate, self.config.adam_betas)
            for phase, rate in rates.items()
        }

    def _discriminator_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        if step.accumulating:
            with torch.no_grad():
                drawn = self._draw(batch, step)
        else:
            drawn = self._drawn = self._draw(batch, step)
        discriminator, sentence = self.networks["discriminator"], drawn.sentence
        reals = pictures_of_stages(batch.images, self.config.sizes)
        fakes = [images.detach() for images in drawn.output.images]
        # two passes: batch norm's statistics are of real or of drawn pictures alone
        real = discriminator(reals, sentence, sentence[1:])
        fake = discriminator(fakes, sentence)
        losses = [
            discriminator_loss(r, f, "non-saturating")
            for r, f in zip(real, fake, strict=True)
        ]
        return {
            "loss": torch.stack(losses).sum(),
            "real": real[-1][0].mean(),
            "fake": fake[-1][0].mean(),
            "wrong": real[-1][2].mean(),
        }

    def _generator_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        drawn, self._drawn = self._drawn, None
        if drawn is None:
            drawn = self._draw(batch, step)
        output, config = drawn.output, self.config
        scored = self.networks["discriminator"](output.images, drawn.sentence)
        adversarial = adversarial_loss(scored, "non-saturating")
        kl = condition_kl(output.mu, output.logvar)
        match = self._match(output.images[-1], drawn.words, drawn.sentence, batch, step)
        loss = adversarial + config.kl_weight * kl + config.damsm_weight * match
        return {"loss": loss, "adversarial": adversarial, "kl": kl, "damsm": match}

    def _draw(self, batch: Batch, step: Step) -> _Drawn:
        """Encode the captions and draw a picture for each, at every size."""
        self.check_parts(len(batch), len(batch))
        words, sentence = self._read_for_matcher(batch)
        noise = step.randn(len(batch), self.config.noise_dim)
        eps = step.randn(len(batch), self.config.condition_dim)
        output = self.networks["generator"](noise, words, sentence, batch.mask, eps)
        return _Drawn(output, words, sentence)

    def sampler(self, networks: Mapping[str, nn.Module]) -> AttnGANSampler:
        """A sampler with the weights of ``networks``."""
        return AttnGANSampler.of(
            self.config, self.data, networks["matcher_text"], networks["generator"]
        )


class AttnGANSampler(StagedSampler):
    """A trained generator of the original's kind, with its text encoder."""

    config_class = AttnGANConfig
    generator_class = Generator
