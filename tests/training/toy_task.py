"""A data set and a two-phase task so small that the loop itself is what is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo
from mmgen.sampling import CaptionSampler, seeded_noise
from mmgen.training import Run, Task, TrainingConfig
from mmgen.training import checkpoint as checkpoints

WORDS = ("dark", "grey", "light", "bright")


class ToyDataset(CaptionedDataset):
    """Pictures of one grey level each, and its name."""

    def __init__(self, size: int = 64, image_size: int = 4) -> None:
        self.name, self.split, self.language = "toy", "train", "en"
        self.size, self.image_size = size, image_size
        self.vocabulary = Vocabulary.build(WORDS)
        self.max_tokens = 2
        self.attributes = {"level": WORDS}
        self.options = {"size": size}

    def __len__(self) -> int:
        return self.size

    def prepare(self, indices: Sequence[int], epoch: int) -> Any:
        return list(indices), epoch

    def finish(self, prepared: Any, device: torch.device | str) -> Batch:
        indices, epoch = prepared
        levels = torch.tensor([i % 4 for i in indices])
        captions = [WORDS[int(level)] for level in levels]
        tokens, lengths = self.vocabulary.encode(captions, self.max_tokens)
        ramp = torch.linspace(-0.1, 0.1, self.image_size)
        images = (levels / 2 - 0.75 + 0.01 * (epoch % 2))[:, None, None, None] + ramp
        images = images.expand(-1, 3, self.image_size, -1)
        return Batch(
            images.contiguous(),
            tokens,
            lengths,
            levels,
            captions,
            attributes=levels[:, None],
            indices=torch.tensor(indices),
        ).to(device)


@dataclass(frozen=True)
class ToyConfig:
    TRAINING: ClassVar[frozenset[str]] = frozenset(
        {"rate", "dropout", "keep", "break_at"}
    )
    width: int = 16
    """hidden units"""
    rate: float = 1e-2
    """learning rate"""
    dropout: float = 0.1
    """share of hidden units left out of the discriminator"""
    sizes: tuple[int, ...] = (4,)
    """a field that JSON turns into a list"""
    keep: bool = True
    """use the discriminator phase's pictures again in the generator's"""
    break_at: int = -1
    """step whose generator loss is made NaN"""


class Generator(nn.Module):
    def __init__(self, words: int, width: int, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.embed = nn.Embedding(words, width)
        self.hidden = nn.Linear(width + 4, width)
        self.out = nn.Linear(width, 3 * image_size**2)

    def forward(self, noise: Tensor, tokens: Tensor) -> Tensor:
        features = torch.cat([noise, self.embed(tokens[:, 0])], 1)
        pixels = self.out(F.relu(self.hidden(features)))
        return pixels.tanh().view(-1, 3, self.image_size, self.image_size)


class Discriminator(nn.Module):
    def __init__(self, words: int, width: int, image_size: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.hidden = nn.Linear(3 * image_size**2, width)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, 1)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        features = self.dropout(F.relu(self.hidden(images.flatten(1))))
        projected = (features * self.embed(tokens[:, 0])).sum(1)
        return self.out(features)[:, 0] + projected


class ToySampler(CaptionSampler):
    """The generator and its words."""

    config_class = ToyConfig
    stored = (*CaptionSampler.stored, "image_size")

    def __init__(
        self,
        config: ToyConfig,
        vocabulary: Vocabulary,
        max_tokens: int,
        image_size: int,
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.image_size = image_size
        self.generator = Generator(len(vocabulary), config.width, image_size)

    @torch.no_grad()
    def sample(
        self, captions: Sequence[str], seed: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        tokens, _ = self.read_captions(captions)
        noise = seeded_noise(len(captions), 4, seed, noise)
        return self.generator(noise.to(self.device), tokens)


class ToyTask(Task):
    phases = ("discriminator", "generator")
    averaged = ("generator",)

    def __init__(self, config: ToyConfig, data: DataInfo) -> None:
        self.config = config
        self.given = data.vocabulary, data.max_tokens, data.image_size
        words, size = len(data.vocabulary), data.image_size
        self.networks: dict[str, nn.Module] = {
            "generator": Generator(words, config.width, size),
            "discriminator": Discriminator(words, config.width, size, config.dropout),
        }

    @classmethod
    def build(
        cls,
        config: ToyConfig,
        data: DataInfo,
        frozen: Mapping[str, nn.Module] = NOTHING,
    ) -> ToyTask:
        return cls(config, data)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            phase: torch.optim.Adam(
                self.networks[phase].parameters(),
                lr=self.config.rate,
                betas=(0.5, 0.99),
            )
            for phase in self.phases
        }

    def training_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        generator = self.networks["generator"]
        discriminator = self.networks["discriminator"]
        if step.phase == "discriminator":
            fake = generator(step.randn(len(batch), 4), batch.tokens)
            self.fake = fake if self.config.keep and not step.accumulating else None
            real = discriminator(batch.images, batch.tokens)
            false = discriminator(fake.detach(), batch.tokens)
            return {
                "loss": F.softplus(-real).mean() + F.softplus(false).mean(),
                "real": real.mean(),
            }
        fake = self.fake
        if fake is None:
            fake = generator(step.randn(len(batch), 4), batch.tokens)
        loss = F.softplus(-discriminator(fake, batch.tokens)).mean()
        if step.index == self.config.break_at:
            loss = loss * float("nan")
        return {"loss": loss}

    def sampler(self, networks: Mapping[str, nn.Module]) -> ToySampler:
        sampler = ToySampler(self.config, *self.given)
        sampler.generator.load_state_dict(networks["generator"].state_dict())
        return sampler.to(next(networks["generator"].parameters()).device)


CONFIG = TrainingConfig(
    steps=12,
    batch_size=16,
    log_every=4,
    checkpoint_every=5,
    seed=3,
    ema_decay=0.9,
    accelerator="cpu",
    tensorboard=False,
    progress="none",
)


def new_task(config: ToyConfig | None = None, cls: type = ToyTask) -> ToyTask:
    torch.manual_seed(0)
    return cls.build(config or ToyConfig(), ToyDataset())


def weights(run: Run) -> dict[str, Tensor]:
    averages = {f"average {k}": v for k, v in run.averages.items()}
    return checkpoints.flatten({**run.task.networks, **averages})


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float = 0.0):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(
            a[name],
            b[name],
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, n=name: n + m,
        )
