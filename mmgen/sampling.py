"""What all samplers share: arguments as JSON, device, seeded noise, parts of a batch.

A sampler is what is left of a method when training is over: networks that draw, match,
read or write. It can be stored as weights and a card, and be built again from these.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from mmgen.configs import architecture, from_json
from mmgen.data.vocabulary import Vocabulary

LONGEST = 4096  # tokens of a caption
EXAMPLES = 3  # rows of a graph's example inputs


def seeded_noise(
    count: int, size: int, seed: int = 0, noise: Tensor | None = None
) -> Tensor:
    """Standard normal noise (count, size), the same for a seed on every device.

    Args:
        count: rows, one a picture.
        size: numbers a row.
        seed: of the noise.
        noise: given in place of a seed's.

    Returns:
        On the CPU, or ``noise`` itself.

    Raises:
        ValueError: ``noise`` of another shape.
    """
    if noise is None:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, size, generator=generator)
    if tuple(noise.shape) != (count, size):
        raise ValueError(
            f"noise must have shape {(count, size)}, a row a caption; got "
            f"{tuple(noise.shape)}."
        )
    return noise


def in_parts(draw: Callable[..., Tensor], *tensors: Tensor, part: int = 256) -> Tensor:
    """``draw(*tensors)`` for rows of the tensors, a part at a time, put together.

    A thousand pictures at once would need gigabytes.
    """
    pieces = zip(*(tensor.split(part) for tensor in tensors), strict=True)
    return torch.cat([draw(*piece) for piece in pieces])


def named_numbers(method: Callable[..., Any]) -> dict[str, type]:
    """Keyword-only parameters of a method that are numbers: name -> int or float."""
    hints = typing.get_type_hints(method)
    found: dict[str, type] = {}
    for parameter in inspect.signature(method).parameters.values():
        hint = hints.get(parameter.name)
        for kind in (int, float):
            if parameter.kind is parameter.KEYWORD_ONLY and (
                hint is kind or kind in typing.get_args(hint)
            ):
                found[parameter.name] = kind
    return found


class Sampler(nn.Module):
    """A trained model without its training.

    A subclass sets ``config_class``, and names in ``stored`` the arguments of its
    constructor besides ``config``; each is kept as an attribute of its name.
    """

    config_class: ClassVar[type]
    stored: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def init_args(self) -> dict[str, Any]:
        """What ``from_args`` needs to build this sampler again, as JSON values."""
        args = {name: _plain(getattr(self, name)) for name in self.stored}
        return {"config": architecture(self.config), **args}

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> Self:
        """An untrained sampler of the sizes that ``init_args`` wrote down.

        Raises:
            ValueError: a field of the config that this version does not have.
        """
        given = dict(args)
        config: Any = from_json(cls.config_class, given.pop("config"))
        if "vocabulary" in given:
            given["vocabulary"] = Vocabulary.from_json(given["vocabulary"])
        return cls(config, **given)

    @classmethod
    def options(cls) -> dict[str, type]:
        """What ``sample`` can be told by name: option -> int or float; here nothing."""
        return {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


class CaptionSampler(Sampler):
    """A sampler that reads captions.

    Args:
        config: of the method.
        vocabulary: of the captions.
        max_tokens: T, longest caption of the training; longer ones are cut.
    """

    stored: ClassVar[tuple[str, ...]] = ("vocabulary", "max_tokens")

    def __init__(self, config: Any, vocabulary: Vocabulary, max_tokens: int) -> None:
        super().__init__(config)
        if type(max_tokens) is not int or not 1 <= max_tokens <= LONGEST:
            raise ValueError(
                f"max_tokens must be a whole number in 1..{LONGEST}; got "
                f"{max_tokens!r:.60}."
            )
        self.vocabulary = vocabulary
        self.max_tokens = max_tokens

    def read_captions(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens (B, T) and lengths (B,) of captions; unknown words are warned of.

        Raises:
            ValueError: no caption, an empty one, or one without any known word.
        """
        tokens, lengths = self.vocabulary.read(captions, self.max_tokens)
        return tokens.to(self.device), lengths.to(self.device)


def _plain(value: Any) -> Any:
    """A constructor's argument as JSON values."""
    if isinstance(value, Vocabulary):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value


# ------------------------------------------------------------------------------- graphs


@dataclass
class Graph:
    """A computation of a sampler that can be exported: tensors in, tensors out."""

    module: nn.Module  # called with the inputs in their order
    inputs: dict[str, Tensor]  # examples, a sample a row; the first is traced
    outputs: tuple[str, ...]  # names of what the module gives

    @classmethod
    def of(
        cls,
        sampler: nn.Module,
        draw: Callable[..., tuple[Tensor, ...]],
        inputs: dict[str, Tensor],
        outputs: tuple[str, ...],
    ) -> Graph:
        """The graph of ``draw``, a function of tensors that uses ``sampler``."""
        return cls(_Drawing(sampler, draw), inputs, outputs)


class _Drawing(nn.Module):
    """A function of tensors as a module that owns the sampler's weights."""

    def __init__(
        self, sampler: nn.Module, draw: Callable[..., tuple[Tensor, ...]]
    ) -> None:
        super().__init__()
        self.sampler, self.draw = sampler, draw

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.draw(*inputs)


def example_captions(vocabulary: Vocabulary, max_tokens: int) -> dict[str, Tensor]:
    """Tokens and lengths of the longest, the shortest and a middle caption."""
    lengths = torch.linspace(max_tokens, 1, EXAMPLES).round().long()
    generator = torch.Generator().manual_seed(0)
    shape, size = (EXAMPLES, max_tokens), len(vocabulary)
    tokens = torch.randint(2, max(size, 3), shape, generator=generator)
    tokens[torch.arange(max_tokens)[None] >= lengths[:, None]] = 0
    return {"tokens": tokens, "lengths": lengths}


def example_attributes(attributes: Mapping[str, Sequence[str]]) -> dict[str, Tensor]:
    """Rows of attributes, some of them left open."""
    generator = torch.Generator().manual_seed(0)
    columns = [
        torch.randint(-1, len(values), (EXAMPLES,), generator=generator)
        for values in attributes.values()
    ]
    return {"attributes": torch.stack(columns, dim=1)}


def example_noise(size: int) -> dict[str, Tensor]:
    """Rows of standard normal noise."""
    return {"noise": seeded_noise(EXAMPLES, size, seed=1)}
