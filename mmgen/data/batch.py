"""What a data set hands to a model: pictures, captions and what is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


def word_mask(lengths: Tensor, width: int) -> Tensor:
    """Real words, (B, width) bool, of captions of lengths (B,): True = a word."""
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


@dataclass
class Batch:
    """Captioned pictures, all tensors on one device.

    A caption without a word never comes this far: ``Vocabulary.encode`` refuses it, and
    the loaders of photographs leave it out. Lengths are not looked at here, because the
    processor would have to wait for a GPU to read them: in a batch made by hand, a
    length of 0 is a row of the mask without a single True, and attention over it gives
    zeros.

    Raises:
        ValueError: tensors of different batch sizes.
    """

    images: Tensor  # (B, 3, H, W) float in [-1, 1]
    tokens: Tensor  # (B, T) int64, 0 = padding
    lengths: Tensor  # (B,) int64, each in 1..T
    class_ids: Tensor  # (B,) int64; equal ids mean "the same thing is shown"
    captions: list[str]
    scenes: Sequence[Any] | None = None  # what is shown, where the data set knows it
    attributes: Tensor | None = None  # (B, A) int64, -1 where one does not apply
    indices: Tensor | None = None  # (B,) int64, positions in the data set
    # what a frozen trunk gave for the pictures, which are then of no pixels
    trunk_map: Tensor | None = None  # (B, C, h, w)
    trunk_vector: Tensor | None = None  # (B, C')

    def __post_init__(self) -> None:
        size = len(self.captions)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor) and len(value) != size:
                raise ValueError(
                    f"{field.name} must hold one entry a caption; got shape "
                    f"{tuple(value.shape)} for {size} captions."
                )

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def mask(self) -> Tensor:
        """Real words, shape (B, T) bool: True takes part in attention."""
        return word_mask(self.lengths, self.tokens.shape[1])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch with every tensor on ``device``."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=non_blocking)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    def __getitem__(self, rows: slice) -> Batch:
        """The samples of a slice, as a batch."""
        parts = {
            field.name: value[rows]
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        return replace(self, **parts)
