"""A toy method, in which every word adds its own picture.

``tests/test_contributing.py`` puts it into a copy of the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from mmgen.data.batch import Batch, word_mask
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.sampling import CaptionSampler, Graph, example_captions


@dataclass(frozen=True)
class ToyConfig:
    """Sizes and optimiser of the toy."""

    width: int = 8  # of a word's vector
    learning_rate: float = 1e-2  # of Adam

    TRAINING: ClassVar[frozenset[str]] = frozenset(["learning_rate"])


class Painter(nn.Module):
    """Captions to the pictures that a squared error is least for.

    Args:
        config: its sizes.
        words: in the vocabulary.
        image_size: H = W of the pictures.
    """

    def __init__(self, config: ToyConfig, words: int, image_size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, config.width)
        self.paint = nn.Linear(config.width, 3 * image_size**2)
        self.shape = (3, image_size, image_size)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) for tokens (B, T) and lengths (B,)."""
        mask = word_mask(lengths, tokens.shape[1])
        sentence = (self.words(tokens) * mask[:, :, None]).sum(dim=1)  # (B, width)
        return self.paint(sentence).tanh().unflatten(1, self.shape)


class ToyTask(Task):
    """Paints what the captions' words have in common."""

    phases = ("painter",)
    averaged = ("painter",)

    def __init__(self, config: ToyConfig, data: DataInfo) -> None:
        self.config, self.data = config, data
        painter = Painter(config, len(data.vocabulary), data.image_size)
        self.networks: dict[str, nn.Module] = {"painter": painter}

    @classmethod
    def build(
        cls, config: ToyConfig, data: DataInfo, frozen: Mapping[str, Any] = NOTHING
    ) -> ToyTask:
        """A painter for the words and the pictures of a data set."""
        return cls(config, data)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam."""
        parameters = self.networks["painter"].parameters()
        return {"painter": torch.optim.Adam(parameters, lr=self.config.learning_rate)}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The mean squared error of a batch."""
        images = self.networks["painter"](batch.tokens, batch.lengths)
        return {"loss": mse_loss(images, batch.images)}

    def sampler(self, networks: Mapping[str, nn.Module]) -> ToySampler:
        """A sampler with these weights."""
        data = self.data
        sampler = ToySampler(
            self.config, data.vocabulary, data.max_tokens, data.image_size
        )
        sampler.painter.load_state_dict(networks["painter"].state_dict())
        return sampler.eval()


class ToySampler(CaptionSampler):
    """Draws captions; its noise changes nothing."""

    config_class = ToyConfig
    stored = ("vocabulary", "max_tokens", "image_size")

    def __init__(
        self,
        config: ToyConfig,
        vocabulary: Vocabulary,
        max_tokens: int,
        image_size: int,
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.image_size = image_size
        self.painter = Painter(config, len(vocabulary), image_size)

    @torch.no_grad()
    def sample(
        self, captions: Sequence[str], seed: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        """Pictures (B, 3, H, W), one for each caption."""
        return self.painter(*self.read_captions(captions))

    def graph(self) -> Graph:
        """From tokens and lengths to pictures."""
        inputs = example_captions(self.vocabulary, self.max_tokens)
        return Graph.of(self, self._draw, inputs, ("images",))

    def _draw(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return (self.painter(tokens, lengths),)
