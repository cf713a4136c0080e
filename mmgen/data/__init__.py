"""Captions, vocabularies, data sets and batches."""

from __future__ import annotations

import inspect
from typing import Any

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset, epoch_order
from mmgen.data.vocabulary import LANGUAGES, Vocabulary, tokenize
from mmgen.registry import DATASETS, find_class

__all__ = [
    "DATASETS",
    "LANGUAGES",
    "Batch",
    "CaptionedDataset",
    "Vocabulary",
    "epoch_order",
    "load_dataset",
    "tokenize",
]


def load_dataset(
    name: str,
    split: str = "train",
    image_size: int = 64,
    language: str = "en",
    **options: Any,
) -> CaptionedDataset:
    """A captioned data set by name.

    Args:
        name: a key of ``DATASETS``.
        split: "train", "validation" or "test"; some sets have more.
        image_size: H = W of its pictures, pixels.
        language: "en", "zh" or "both" (each sample then picks one by epoch).
        options: what the data set takes besides; its class lists them.

    Returns:
        The data set.

    Raises:
        ValueError: a name, split, size, language or option that does not exist.
    """
    if name not in DATASETS:
        raise ValueError(
            f"name must be one of {', '.join(map(repr, DATASETS))}; got {name!r}."
        )
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {LANGUAGES}; got {language!r}.")
    if isinstance(image_size, bool) or not isinstance(image_size, int):
        raise ValueError(f"image_size must be a whole number; got {image_size!r}.")
    dataset = find_class(DATASETS[name])
    known = set(inspect.signature(dataset).parameters) - {
        "split",
        "image_size",
        "language",
    }
    unknown = [option for option in options if option not in known]
    if unknown:
        takes = ", ".join(sorted(known)) or "none"
        raise ValueError(
            f"options of {name!r} are: {takes}; got {', '.join(unknown)}. Leave out "
            f"what the data set does not know."
        )
    return dataset(split=split, image_size=image_size, language=language, **options)
