"""A text encoder that knows what a caption says: it tells the labels of its scene.

A matching model's text encoder has to tell the captions of a batch apart. Their words
do that; the order in which the words stand hardly ever matters, so that "a red circle
left of a blue square" and its mirror may get nearly one feature. Here the sentence
feature has to tell every label that the caption specifies, one softmax a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.optim import Adam, Optimizer

from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.text import UNIT_RANGE, TextEncoder
from mmgen.objectives.labels import Labels, by_attribute, values_loss
from mmgen.sampling import CaptionSampler, Graph, example_captions


@dataclass(frozen=True)
class ReaderConfig:
    """Sizes of a reader, and how it learns."""

    feature_dim: int = 128  # D, of a word's and of the sentence's feature
    embedding_dim: int = 64  # of a token's vector
    learning_rate: float = 2e-3  # of Adam

    TRAINING: ClassVar[frozenset[str]] = frozenset(["learning_rate"])


class Labeller(nn.Module):
    """From a sentence feature to a score for every value of every label.

    Args:
        feature_dim: D.
        sizes: number of values of each of the A labels.
    """

    def __init__(self, feature_dim: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_dim, sum(sizes) + len(sizes))

    def forward(self, sentence: Tensor) -> Tensor:
        """(B, D) to logits (B, sum of sizes + A), "does not apply" first of each."""
        return self.linear(layer_norm(sentence, sentence.shape[-1:]))


class ReaderTask(Task):
    """The training of a reader; pictures are not looked at."""

    phases: tuple[str, ...] = ("reading",)
    averaged: tuple[str, ...] = ("text", "labels")

    def __init__(self, config: ReaderConfig, data: DataInfo) -> None:
        self.config, self.data = config, data
        self.sizes = [len(values) for values in data.attributes.values()]
        # words that begin with unit variance are told apart from the first steps
        text = TextEncoder(
            len(data.vocabulary),
            config.embedding_dim,
            config.feature_dim,
            dropout=0.0,
            word_range=UNIT_RANGE,
        )
        labels = Labeller(config.feature_dim, self.sizes)
        self.networks: dict[str, nn.Module] = {"text": text, "labels": labels}

    @classmethod
    def build(
        cls, config: ReaderConfig, data: DataInfo, frozen: Mapping = NOTHING
    ) -> ReaderTask:
        """A task for a data set.

        Raises:
            ValueError: a data set without attributes.
        """
        if not data.attributes:
            raise ValueError(
                f"a reader needs a data set with attributes; {data.name!r} has none."
            )
        return cls(config, data)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for both networks."""
        parameters = [p for net in self.networks.values() for p in net.parameters()]
        return {"reading": Adam(parameters, self.config.learning_rate)}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """How well sentences tell the labels, in nats: a mean over those specified.

        Of two objects whose sides are left open either may be called the first, as the
        encoder likes best: held to the order of one picture, it could but guess, half
        and half for every label, and would forget which colour belongs to which shape.
        """
        sentence = self.networks["text"](batch.tokens, batch.lengths)[1]  # (B, D)
        logits = self.networks["labels"](sentence)
        rows, counted = Labels.of_captions(batch, self.data.alternatives)
        assert counted is not None  # of captions some labels are open
        cost = values_loss(logits, rows, self.sizes, counted)
        # of all processes: captions of one share may specify more than another's
        told = step.gather(counted.sum(dim=1))  # (N,)
        return {"loss": cost * len(told) / told.sum().clamp(min=1)}

    def sampler(self, networks: Mapping[str, nn.Module]) -> Reader:
        """A reader with these networks."""
        data = self.data
        reader = Reader(self.config, data.vocabulary, data.max_tokens, data.attributes)
        for name in self.averaged:
            getattr(reader, name).load_state_dict(networks[name].state_dict())
        return reader.to(next(networks["text"].parameters()).device).eval()


class Reader(CaptionSampler):
    """Captions to labels.

    Args:
        config: as trained.
        vocabulary: of the captions.
        max_tokens: longest caption of the training; longer ones are cut.
        attributes: each label's values.
    """

    config_class = ReaderConfig
    stored = (*CaptionSampler.stored, "attributes")

    def __init__(
        self,
        config: ReaderConfig,
        vocabulary: Vocabulary,
        max_tokens: int,
        attributes: Mapping[str, Sequence[str]],
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        self.text = TextEncoder(
            len(vocabulary), config.embedding_dim, config.feature_dim, dropout=0.0
        )
        sizes = [len(values) for values in self.attributes.values()]
        self.labels = Labeller(config.feature_dim, sizes)

    @torch.no_grad()
    def read_labels(self, captions: Sequence[str]) -> Tensor:
        """The likeliest value of every label, (B, A) int64, -1 where none applies.

        What a caption leaves open is guessed.

        Raises:
            ValueError: no caption, an empty one, or one without a known word.
        """
        logits = self.labels(self.text(*self.read_captions(captions))[1])
        sizes = [len(values) for values in self.attributes.values()]
        parts = by_attribute(logits, sizes)
        return torch.stack([part.argmax(dim=1) - 1 for part in parts], dim=1)

    def graph(self) -> Graph:
        """Captions to scores of all values, for export."""

        def read(tokens: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
            return (self.labels(self.text(tokens, lengths)[1]),)

        inputs = example_captions(self.vocabulary, self.max_tokens)
        return Graph.of(self, read, inputs, ("logits",))
