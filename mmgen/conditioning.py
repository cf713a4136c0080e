"""Attributes as a condition: read from a caption, and turned into a vector.

What all models that take attributes share. Captions are read by
``mmgen.layers.text.TextEncoder``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

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
    else:
        named = dict(caption)
    if not named:
        examples = ", ".join(repr(values[0]) for values in attributes.values())
        raise ValueError(
            f"captions must name at least one attribute's value; got {caption!r}. "
            f"Values are, for example, {examples}."
        )
    for name, value in named.items():
        if name not in attributes:
            raise ValueError(
                f"attributes are {', '.join(attributes)}; got {name!r} in {caption!r}."
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
    rest = f" {caption.lower()} "
    for word, meaning in synonyms.items():
        rest = re.sub(rf"\b{re.escape(word)}\b", meaning, rest)
    known = [(value, name) for name, values in attributes.items() for value in values]
    # longest first: "medium-light" is not "light"
    for value, name in sorted(known, key=lambda pair: -len(pair[0])):
        pattern = rf"(?<![\w-]){re.escape(value.lower())}(?![\w-])"
        rest, found = re.subn(pattern, " ", rest)
        if not found:
            continue
        if name in named:
            raise ValueError(
                f"a caption must name one {name}; got {named[name]!r} and {value!r} in "
                f"{caption!r}."
            )
        named[name] = value
    silent = {word for name in attributes for word in name.split("_")} | SILENT_WORDS
    left = [word for word in re.findall(r"[\w-]+", rest) if word not in silent]
    if left and named:
        warnings.warn(
            f"{caption!r}: no attribute has the value {', '.join(map(repr, left))}; "
            f"the picture will not show it.",
            stacklevel=4,
        )
    return named
