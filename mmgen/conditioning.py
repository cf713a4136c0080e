"""Attributes as a condition: read from a caption, and turned into a vector.

What all models that take attributes share. Captions are read by
``mmgen.layers.text.TextEncoder``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmgen.data.vocabulary import Vocabulary, listed, plain, quoted, tokenize
from mmgen.interfaces import NOTHING
from mmgen.layers.text import UNIT_RANGE, TextEncoder
from mmgen.sampling import CaptionSampler, example_attributes, example_captions

SILENT_WORDS = {"a", "an", "and", "at", "in", "of", "on", "the", "with"}


class AttributeEncoder(nn.Module):
    """The sum of one learned vector per attribute.

    Args:
        sizes: number of values of each of the A attributes.
        feature_dim: C, size of the result.
    """

    def __init__(self, sizes: Sequence[int], feature_dim: int) -> None:
        super().__init__()
        # one table for all; row 0 of each attribute's part means "does not apply"
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + size + 1)
        self.table = nn.Embedding(starts[-1], feature_dim)
        self.starts: Tensor
        self.register_buffer("starts", torch.tensor(starts[:-1]), persistent=False)

    def forward(self, attributes: Tensor) -> Tensor:
        """Attributes (B, A) int64, -1 where one does not apply, to (B, feature_dim)."""
        return self.table(attributes + 1 + self.starts).sum(dim=1)


def condition_encoder(
    config: Any, vocabulary: Vocabulary, attributes: Mapping[str, Sequence[str]]
) -> TextEncoder | AttributeEncoder:
    """The network that turns captions or attributes into a condition (B, C).

    Args:
        config: of the method: ``condition`` ("sentence" or "attributes"),
            ``embedding_dim`` of a word, ``condition_dim`` C.
        vocabulary: of the captions.
        attributes: each attribute's values.

    Raises:
        ValueError: another ``condition``, or attributes wanted and none there.
    """
    if config.condition not in ("sentence", "attributes"):
        raise ValueError(
            f'condition must be "sentence" or "attributes"; got {config.condition!r}.'
        )
    if config.condition == "attributes":
        if not attributes:
            raise ValueError(
                'condition="attributes" needs a data set with attributes; this one '
                'has none. Choose condition="sentence".'
            )
        sizes = [len(values) for values in attributes.values()]
        return AttributeEncoder(sizes, config.condition_dim)
    # Trained from scratch beside other networks, a sentence must tell captions apart
    # from the first steps: words begin with unit variance, and their mean counts. No
    # dropout: a caption here is a few words, and each of them changes the picture.
    return TextEncoder(
        len(vocabulary),
        config.embedding_dim,
        config.condition_dim,
        pooling="mean",
        dropout=0.0,
        word_range=UNIT_RANGE,
    )


def left_open(attributes: Tensor, draws: Tensor, share: float) -> Tensor:
    """Attributes (B, A) with a share of them left open: -1 where a draw is below it.

    So an encoder learns what "nothing said" means.

    Args:
        attributes: (B, A) int64.
        draws: (B, A), uniform in [0, 1).
        share: of those left open, in [0, 1].
    """
    return attributes.masked_fill(draws < share, -1)


def attribute_ids(attributes: Tensor, sizes: Sequence[int]) -> Tensor:
    """A number for each row of attributes (B, A), equal where the rows are equal."""
    ids = torch.zeros_like(attributes[:, 0])
    for column, size in enumerate(sizes):
        ids = ids * (size + 1) + attributes[:, column] + 1
    return ids


class ConditionSampler(CaptionSampler):
    """A sampler whose condition is a caption, or the attributes that it names.

    Args:
        config: of the method; its ``condition`` is "sentence" or "attributes".
        vocabulary: of the captions.
        max_tokens: T, longest caption of the training; longer ones are cut.
        attributes: each attribute's values.
        synonyms: words that stand for words of these values.
    """

    stored: ClassVar[tuple[str, ...]] = (
        "vocabulary",
        "max_tokens",
        "attributes",
        "synonyms",
    )

    def __init__(
        self,
        config: Any,
        vocabulary: Vocabulary,
        max_tokens: int,
        attributes: Mapping[str, Sequence[str]],
        synonyms: Mapping[str, str] = NOTHING,
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        self.synonyms = dict(synonyms)

    def read(self, captions: Sequence[str | Mapping[str, str]]) -> tuple[Tensor, ...]:
        """Tokens (B, T) and lengths (B,) of captions, or attributes (B, A) alone.

        Args:
            captions: text; where attributes are the condition, text that names their
                values, or mappings from attribute to value.

        Raises:
            ValueError: no caption, an empty one, one without a known word, a mapping
                where sentences are read, or a wrong attribute.
        """
        if isinstance(captions, str) or not captions:
            raise ValueError(
                f"captions must be a list with at least one caption; got {captions!r}."
            )
        if self.config.condition == "attributes":
            rows = [
                read_attributes(caption, self.attributes, self.synonyms)
                for caption in captions
            ]
            return (torch.tensor(rows, device=self.device),)
        if any(not isinstance(caption, str) for caption in captions):
            raise ValueError("captions must be strings: this model reads sentences.")
        return self.read_captions([str(caption) for caption in captions])

    def examples(self) -> dict[str, Tensor]:
        """What ``read`` returns, as a graph's example inputs."""
        if self.config.condition == "attributes":
            return example_attributes(self.attributes)
        return example_captions(self.vocabulary, self.max_tokens)


def read_attributes(
    caption: str | Mapping[str, str],
    attributes: Mapping[str, Sequence[str]],
    synonyms: Mapping[str, str] | None = None,
) -> list[int]:
    """What a caption or a dictionary says about each attribute.

    Args:
        caption: text that names values, in any order ("large red star"), or a mapping
            from attribute to value.
        attributes: each attribute's values.
        synonyms: words of the data set that stand for words of values ("women" for
            "woman").

    Returns:
        One position among its values for each attribute, -1 where nothing is said.

    Raises:
        ValueError: an empty caption, an attribute or value that does not exist, or an
            attribute with two values.
    """
    if isinstance(caption, str):
        named = _named_values(caption, attributes, synonyms or {})
        got = quoted(caption)
    elif isinstance(caption, Mapping):
        named, got = dict(caption), repr(caption)
    else:
        raise ValueError(
            f"captions must be strings, or mappings from attribute to value; got "
            f"{caption!r}, a {type(caption).__name__}."
        )
    if not named:
        examples = ", ".join(repr(values[0]) for values in attributes.values())
        raise ValueError(
            f"captions must name at least one attribute's value; got {got}. "
            f"Values are, for example, {examples}."
        )
    for name, value in named.items():
        if name not in attributes:
            raise ValueError(
                f"attributes are {', '.join(attributes)}; got {name!r} in {got}."
            )
        if value not in attributes[name]:
            raise ValueError(
                f"{name} must be one of {', '.join(attributes[name])}; got {value!r}."
            )
    return [
        values.index(named[name]) if name in named else -1
        for name, values in ((name, list(v)) for name, v in attributes.items())
    ]


def _named_values(
    caption: str, attributes: Mapping[str, Sequence[str]], synonyms: Mapping[str, str]
) -> dict[str, str]:
    """Attribute -> value for every value that stands in the text."""
    named: dict[str, str] = {}
    rest = f" {plain(caption)} "
    for word, meaning in synonyms.items():
        rest = re.sub(rf"\b{re.escape(word)}\b", meaning, rest)
    known = [(value, name) for name, values in attributes.items() for value in values]
    # longest first: "medium-light" is not "light"
    for value, name in sorted(known, key=lambda pair: -len(pair[0])):
        pattern = rf"(?<![\w-]){re.escape(plain(value))}(?![\w-])"
        rest, found = re.subn(pattern, " ", rest)
        if not found:
            continue
        if name in named:
            raise ValueError(
                f"a caption must name one {name}; got {named[name]!r} and {value!r} in "
                f"{quoted(caption)}."
            )
        named[name] = value
    silent = {word for name in attributes for word in name.split("_")} | SILENT_WORDS
    left = [word for word in tokenize(rest) if word not in silent]
    if left and named:
        warnings.warn(
            f"{quoted(caption)}: no attribute has the value "
            f"{listed(map(quoted, left))}; the picture will not show it.",
            stacklevel=4,
        )
    return named
