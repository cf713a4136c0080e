"""What the parts of the package ask of each other: protocols, and nothing else.

A method offers a ``Task``, which the loop trains, and a sampler, which is left when
training is over. What a sampler can do is a verb with a protocol of its own; ask for it
with ``isinstance(sampler, Draws)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from mmgen.data.batch import Batch
    from mmgen.data.examination import Examination
    from mmgen.data.vocabulary import Vocabulary

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Alternatives(Protocol):
    """What a data set knows of captions that its pictures do not have."""

    def specified(self, batch: Batch) -> Tensor:
        """Which attributes the captions specify, (B, A) bool.

        What a caption leaves open, and what does not apply, is False.
        """

    def equally_right(self, batch: Batch) -> Tensor:
        """Further attributes that pictures of the same captions may have, (R, B, A).

        A row is repeated where a caption leaves nothing open; R may be 0.
        """

    def hard_negatives(
        self, batch: Batch, chances: Sequence[Sequence[float]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Captions that are each wrong for their picture in one fact.

        Args:
            batch: of the data set.
            chances: three numbers in [0, 1) a sample, which decide what is wrong.

        Returns:
            Tokens (B, T), lengths (B,) and ids (B,) as those of ``batch``.
        """


class Asked(Protocol):
    """A question about a picture, with its answer."""

    @property
    def kind(self) -> str:
        """Of ``Examination.questions``."""

    @property
    def text(self) -> str:
        """As a person would ask."""

    @property
    def answer(self) -> str:
        """Of ``Examination.answers``."""


@runtime_checkable
class Examines(Alternatives, Protocol):
    """Alternatives that can examine a model, as a data set's ``examination`` says."""

    def wrong_captions(
        self, batch: Batch, chances: Sequence[Sequence[float]]
    ) -> tuple[list[str], list[str]]:
        """As ``hard_negatives``, but texts, and of which kind each wrong fact is."""

    def questions(
        self, batch: Batch, chances: Sequence[Sequence[float]]
    ) -> Sequence[Asked]:
        """A question about each picture, from three numbers in [0, 1) a sample."""

    def answered(
        self, questions: Sequence[Any], scenes: Sequence[Any]
    ) -> list[str | None]:
        """Their answers about other scenes, a scene a question; None: it has none."""


class DataInfo(Protocol):
    """What a method is built for: a data set, or only what is known about one."""

    name: str
    image_size: int  # H = W, pixels
    language: str  # "en", "zh" or "both"
    vocabulary: Vocabulary
    max_tokens: int  # T
    attributes: dict[str, tuple[str, ...]]  # column of Batch.attributes -> its values
    synonyms: Mapping[str, str]  # words that stand for words of these values
    alternatives: Alternatives | None  # what its captions leave open, if it knows
    examination: Examination | None  # what can be asked about its pictures, if it knows


class Step(Protocol):
    """The place of a ``training_step`` in the run, and its source of noise."""

    index: int  # step of the run, from 0
    phase: str  # which optimiser steps after this
    accumulating: bool  # the batch comes in parts: keep no forward pass between phases
    rank: int  # of this process
    global_size: int  # samples of the whole step, over all processes and parts

    def randn(self, batch_size: int, *shape: int) -> Tensor:
        """Standard normal noise, shape (batch_size, *shape)."""

    def rand(self, batch_size: int, *shape: int) -> Tensor:
        """Uniform noise in [0, 1), shape (batch_size, *shape)."""

    def gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, with gradients."""


class Task(Protocol):
    """A method: its networks, its optimisers and one step of its training.

    ``phases`` are optimised one after the other in every step. In a phase, parameters
    that belong only to earlier phases are frozen: their gradients are not computed.
    Those of this and of later phases are not, so a task may keep a forward pass made in
    one phase for a later one (not while ``step.accumulating``), and detaches what the
    present phase must not change.
    """

    phases: tuple[str, ...]  # e.g. ("discriminator", "generator")
    networks: dict[str, nn.Module]  # the loop puts wrapped ones in their place
    averaged: tuple[str, ...]  # names of networks whose moving average samplers use
    config: Any  # a frozen dataclass of JSON-able fields

    @staticmethod
    def requires(config: Any) -> Mapping[str, str]:
        """Trained models that the task is built on: a name in the task -> weights.

        Weights of the package or folders of runs; whoever builds the task loads them
        and hands them to ``build``. None by default.
        """
        return NOTHING

    @classmethod
    def build(
        cls, config: Any, data: DataInfo, frozen: Mapping[str, nn.Module] = NOTHING
    ) -> Task:
        """New networks for a data set; ``frozen`` holds what ``requires`` names."""

    def check_parts(self, part: int, together: int) -> None:
        """Refuse parts of a batch that are too small for the method; none by default.

        Args:
            part: samples that a network sees at once.
            together: those of all processes.

        Raises:
            ValueError: what the method needs.
        """
        return None

    def optimizers(self) -> dict[str, Optimizer]:
        """One optimiser a phase, over the parameters of ``networks``."""

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Scalars of one phase: "loss", and any others to log."""

    def sampler(self, networks: Mapping[str, nn.Module]) -> Any:
        """The module that draws or matches with these (averaged) networks."""


@runtime_checkable
class Draws(Protocol):
    """Captions to pictures."""

    def sample(
        self,
        captions: Sequence[Any],
        seed: int = 0,
        noise: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], one for each caption.

        What is understood by name besides, ``mmgen.sampling.Sampler.options`` tells.
        """


@runtime_checkable
class Matches(Protocol):
    """Compares pictures with captions."""

    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Scores (B_images, B_captions); more is better."""


@runtime_checkable
class MatchesChosen(Matches, Protocol):
    """Compares chosen pairs only, each side encoded once."""

    def candidate_scores(
        self,
        images: Tensor,
        captions: Sequence[str],
        chosen: Tensor,
        direction: str = "image_to_text",
    ) -> Tensor:
        """Scores (N, K) for indices ``chosen`` (N, K) of the other side."""


@runtime_checkable
class ReadsLabels(Protocol):
    """Captions to labels."""

    attributes: Mapping[str, Sequence[str]]  # label -> its values

    def read_labels(self, captions: Sequence[str]) -> Tensor:
        """The likeliest value of every label, (B, A) int64, -1 where none applies."""


@runtime_checkable
class Describes(Protocol):
    """Pictures to captions."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that it writes: "en", "zh" or both."""

    def describe(self, images: Tensor, language: str | None = None) -> list[str]:
        """A caption for each picture (B, 3, H, W)."""


@runtime_checkable
class Imagines(Protocol):
    """Pictures and captions together, from nothing."""

    def imagine(
        self, count: int, seed: int = 0, language: str | None = None
    ) -> tuple[Tensor, list[str]]:
        """Pictures (count, 3, H, W) and a caption for each."""


@runtime_checkable
class Reconstructs(Protocol):
    """Pictures to codes and back."""

    @property
    def bits(self) -> float:
        """What a picture costs as codes of equal length."""

    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, h, w) int64 of images (B, 3, H, W)."""

    def decode(self, codes: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] of codes (B, h, w)."""


@runtime_checkable
class Weighs(Protocol):
    """Knows how likely pictures are, given their captions."""

    @property
    def bits(self) -> float:
        """What a picture costs as codes of equal length."""

    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """log p(codes of a picture | its caption), (B,) nats."""


@runtime_checkable
class Verifies(Protocol):
    """Says whether captions are true of pictures, and if not, which fact is wrong."""

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What it may say: "true" first, then kinds of facts that are wrong."""

    def verify(self, images: Tensor | None, captions: Sequence[str] | None) -> Tensor:
        """The probability of every verdict, (B, V); None: without this side."""


@runtime_checkable
class Answers(Protocol):
    """Answers questions about pictures."""

    def answer(
        self, images: Tensor | None, questions: Sequence[str] | None
    ) -> list[str]:
        """An answer for each pair, of a closed list; None: without this side."""


@runtime_checkable
class Exports(Protocol):
    """Offers its computation as a graph of tensors (see ``mmgen.sampling.Graph``)."""

    def graph(self) -> Any:
        """A ``Graph``: a module, example inputs, and names of its outputs."""

    def to(self, device: torch.device | str) -> Any:
        """The same on another device, as a module has it."""
