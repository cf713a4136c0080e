"""The data set of emoji: pictures, captions and labels in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset, one_of
from mmgen.data.draws import draws
from mmgen.data.emoji.art import load_art
from mmgen.data.emoji.meaning import (
    GROUPS,
    PERSONS,
    SKIN_TONES,
    SPLIT_BY,
    SPLITS,
    SUBSETS,
    SYNONYMS,
    THINGS,
    Emoji,
)
from mmgen.data.vocabulary import LANGUAGES, Vocabulary, tokenize


class EmojiDataset(CaptionedDataset):
    """Twemoji pictures with Unicode's names, split by meaning.

    Columns of ``Batch.attributes``: group, person (woman, man), skin_tone, role.
    ``Batch.class_ids`` are equal where two pictures are the same pixel for pixel (the
    flags of Norway and Svalbard, families), ``Batch.scenes`` are the ``Emoji``.

    Args:
        split: "train", "validation" or "test".
        image_size: H = W, pixels; the art has 72.
        language: of the captions: "en", "zh" or "both" (each epoch picks one).
        subset: "all" (3,944), "things" (animals, food, travel, objects, activities,
            smileys: 1,021), "people", or "roles" (the 83 roles as woman and man in five
            skin tones: 830).
        split_by: "emoji" holds out whole emoji with all their variants, so that what a
            test picture shows was never seen in any skin tone; "combination" holds out
            (person, skin tone, role), each part of which was seen, and each two
            together: 1 of the ten pictures of a role for validation, 2 for the test.
        shift: largest shift of a picture in each direction, pixels, new in every epoch.
            Nothing is mirrored: letters, clocks and arrows would change their meaning.

    Raises:
        ValueError: an argument outside what is listed above.
        ImportError: neither the packages nor a cache file are there.
    """

    name = "emoji"
    synonyms = SYNONYMS

    def __init__(
        self,
        split: str = "train",
        image_size: int = 64,
        language: str = "en",
        *,
        subset: str = "all",
        split_by: str = "emoji",
        shift: int = 0,
    ) -> None:
        one_of("split", split, SPLITS)
        one_of("language", language, LANGUAGES)
        one_of("subset", subset, SUBSETS)
        one_of("split_by", split_by, SPLIT_BY)
        if not 8 <= image_size <= 512:
            raise ValueError(f"image_size must lie in 8..512 pixels; got {image_size}.")
        if not 0 <= shift <= image_size // 4:
            raise ValueError(
                f"shift must lie in 0..{image_size // 4} pixels, a quarter of the "
                f"picture; got {shift}."
            )
        if split_by == "combination" and subset == "things":
            raise ValueError(
                "split_by='combination' holds out (person, skin tone, role), which "
                "subset='things' does not have; use subset 'all', 'people' or 'roles', "
                "or split_by='emoji'."
            )
        self.split, self.image_size, self.language = split, image_size, language
        self.subset, self.split_by, self.shift = subset, split_by, shift
        self.options = {"subset": subset, "split_by": split_by, "shift": shift}

        art = load_art()
        chosen = [i for i, item in enumerate(art.items) if _belongs(item, subset)]
        # Captions of all splits: a held-out emoji's words must exist, if untrained.
        names = _names([art.items[i] for i in chosen], language)
        self.vocabulary = Vocabulary.build(
            (name for row in names for name in row), language
        )
        self.max_tokens = max(len(tokenize(name)) for row in names for name in row)
        self.attributes = {
            "group": GROUPS,
            "person": PERSONS,
            "skin_tone": SKIN_TONES,
            "role": art.roles,
        }
        homes = art.split_by_emoji if split_by == "emoji" else art.split_by_combination
        rows = [i for i in chosen if homes[i] == split]
        self.items = [art.items[i] for i in rows]
        self._rows = np.array(rows)
        self._captions = _names(self.items, language)
        encoded = [
            self.vocabulary.encode(row, self.max_tokens) for row in self._captions
        ]
        self._tables = {
            "tokens": torch.stack([tokens for tokens, _ in encoded]),
            "lengths": torch.stack([lengths for _, lengths in encoded]),
            "class_ids": torch.from_numpy(art.class_ids[self._rows]),
            "attributes": self._attribute_table(),
        }
        self._devices: dict[torch.device, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __getstate__(self) -> dict[str, Any]:
        # A worker process prepares only; it needs no second copy of the pictures.
        return {**self.__dict__, "_devices": {}}

    def prepare(self, indices: Sequence[int], epoch: int) -> Tensor:
        """Index, language, shift down and right of each sample: (B, 4) int64."""
        chance = draws(indices, epoch, 3)
        scale = (len(self._captions), 2 * self.shift + 1, 2 * self.shift + 1)
        picks = (chance * np.array(scale)).astype(np.int64)
        return torch.from_numpy(np.column_stack([np.array(indices), picks]))

    def finish(self, prepared: Tensor, device: torch.device | str) -> Batch:
        """The batch, gathered from tables that live on ``device`` since its first use.

        One copy of (B, 4) integers goes to the device; the host waits for nothing.
        """
        device = torch.device(device)
        tables = self._on(device)
        picks = prepared
        if device.type == "cuda":
            picks = prepared.pin_memory().to(device, non_blocking=True)
        elif device.type != "cpu":
            picks = prepared.to(device)
        index, language, down, right = picks.unbind(1)
        if self.shift:
            window = torch.arange(self.image_size, device=device)
            pixels = tables["pixels"][
                index[:, None, None, None],
                torch.arange(3, device=device)[None, :, None, None],
                (down[:, None] + window)[:, None, :, None],
                (right[:, None] + window)[:, None, None, :],
            ]
        else:
            pixels = tables["pixels"][index]
        listed = prepared.tolist()
        return Batch(
            images=pixels.float().div_(127.5).sub_(1.0),
            tokens=tables["tokens"][language, index],
            lengths=tables["lengths"][language, index],
            class_ids=tables["class_ids"][index],
            captions=[self._captions[k][i] for i, k, _, _ in listed],
            scenes=[self.items[i] for i, _, _, _ in listed],
            attributes=tables["attributes"][index],
            indices=index,
        )

    def _on(self, device: torch.device) -> dict[str, Tensor]:
        """The tables on ``device``; the pictures are drawn when first asked for."""
        if device not in self._devices:
            if "pixels" not in self._tables:
                pixels = resized(load_art().pixels[self._rows], self.image_size)
                padding = [self.shift] * 4
                self._tables["pixels"] = torch.nn.functional.pad(
                    pixels, padding, value=255
                )
            self._devices[device] = {
                name: table.to(device) for name, table in self._tables.items()
            }
        return self._devices[device]

    def _attribute_table(self) -> Tensor:
        columns = []
        for name, values in self.attributes.items():
            place = {value: i for i, value in enumerate(values)}
            columns.append([place.get(getattr(item, name), -1) for item in self.items])
        return torch.tensor(columns, dtype=torch.int64).T.contiguous()


def _belongs(item: Emoji, subset: str) -> bool:
    return {
        "all": True,
        "things": item.group in THINGS,
        "people": item.group == "People & Body",
        "roles": None not in (item.person, item.skin_tone, item.role),
    }[subset]


def _names(items: Sequence[Emoji], language: str) -> list[list[str]]:
    """Captions of ``items``, one list a language."""
    lists = {
        "en": [item.english for item in items],
        "zh": [item.chinese for item in items],
    }
    return [lists[key] for key in ("en", "zh") if language in (key, "both")]


def resized(art: np.ndarray, image_size: int) -> Tensor:
    """Pictures at another size, by Pillow's Lanczos filter.

    The filter is linear and separable, so its weights are read off once, from an
    identity matrix, and all pictures are resized by two matrix products: in half the
    time of one call a picture, and within one grey level of it.

    Args:
        art: (N, S, S, 3) uint8.
        image_size: H = W of the result, pixels.

    Returns:
        Tensor of shape (N, 3, image_size, image_size) uint8.
    """
    pixels = torch.from_numpy(art).permute(0, 3, 1, 2)
    size = art.shape[1]
    if image_size == size:
        return pixels.contiguous()
    identity = Image.fromarray(np.eye(size, dtype=np.float32))
    across = identity.resize((image_size, size), Image.Resampling.LANCZOS)
    weights = torch.from_numpy(np.array(across))  # (S, image_size)
    result = torch.empty(len(art), 3, image_size, image_size, dtype=torch.uint8)
    for start in range(0, len(art), 256):  # bounds the float32 copy to 100 MB
        # Pillow keeps bytes between the two passes, which cuts off the overshoot that
        # Lanczos makes beside an edge.
        part = (pixels[start : start + 256].float() @ weights).round_().clamp_(0, 255)
        part = (weights.T @ part).round_().clamp_(0, 255)
        result[start : start + 256] = part.byte()
    return result
