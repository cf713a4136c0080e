"""The data set of Shapes: scenes, captions and labels in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset, one_of
from mmgen.data.draws import draws
from mmgen.data.shapes.alternatives import ShapesAlternatives
from mmgen.data.shapes.demand import Demand
from mmgen.data.shapes.drawing import check_image_size, draw
from mmgen.data.shapes.language import MAX_TOKENS, describe, vocabulary
from mmgen.data.shapes.questions import examination
from mmgen.data.shapes.world import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    MAX_OBJECTS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    SPLITS,
    SceneTable,
    sample_scenes,
)
from mmgen.data.vocabulary import LANGUAGES

SPLIT_SIZES = {"train": 50_000, "validation": 2_000, "test": 5_000}
SPLIT_SIZES["compositional"] = SPLIT_SIZES["test"]
MOST = 1_000_000  # samples: all are laid out when the data set is made
LABELS = ("shape", "colour", "size", "position")
# Columns that teach besides captions. A background is said in a quarter of them only,
# and without its label pictures of one object had it wrong most often.
TAUGHT = (
    *("shape", "colour", "size", "position", "background", "count"),
    *("relation", "other_shape", "other_colour", "other_size"),
)
_VARIANTS = 4  # captions of a sample in a language; an epoch picks one


# What a column of ``Batch.attributes`` may be, and its values.
LABEL_VALUES = {
    "shape": SHAPES,
    "colour": COLOURS,
    "size": SIZES,
    "position": POSITIONS,
    "background": BACKGROUNDS,
    "count": tuple(str(number) for number in range(1, MAX_OBJECTS + 1)),
    "relation": RELATIONS,
    "other_shape": SHAPES,
    "other_colour": COLOURS,
    "other_size": SIZES,
}


def label_column(scenes: SceneTable, name: str) -> np.ndarray:
    """Index of every scene's value of one of ``LABEL_VALUES``, -1 where it has none.

    Args:
        scenes: N of them, with at least one object each.
        name: of ``LABEL_VALUES``.

    Returns:
        Shape (N,).
    """
    if name == "position":
        return scenes.positions()[:, 0]
    if name == "background":
        return scenes.backgrounds
    if name == "count":
        return scenes.counts() - 1
    if name == "relation":
        return scenes.relations()
    parts = ("shape", "colour", "size")
    which = 1 if name.startswith("other_") else 0
    return scenes.codes[:, which, parts.index(name.removeprefix("other_"))]


@dataclass
class _Prepared:
    """A batch before its pictures are drawn."""

    codes: Tensor  # (B, K, 5) int16, as in SceneTable
    backgrounds: Tensor  # (B,) int16
    tokens: Tensor  # (B, T) int16
    lengths: Tensor  # (B,) int16
    class_ids: Tensor  # (B,) int64
    attributes: Tensor  # (B, A) int16
    indices: Tensor  # (B,) int64
    captions: list[str]
    scenes: SceneTable


class ShapesDataset(CaptionedDataset):
    """Scenes with captions, drawn on the device that asks for them.

    ``Batch.scenes`` holds what is shown, ``Batch.class_ids`` are equal exactly if the
    captions demand the same, and the columns of ``Batch.attributes`` say what is shown:
    shape, colour, size and position of the first object, the background, the count, the
    relation of two objects, and other_shape, other_colour and other_size of the second.
    Of two objects the first is the one on the left where they lie more side by side,
    else the one above; of more, any.

    Args:
        split: "train", "validation", "test", or "compositional": scenes with a colour x
            shape pair of ``HELD_OUT``, which the other splits never show.
        image_size: 16, 32, 64, 128, 256 or 512.
        language: "en", "zh" or "both".
        objects: allowed numbers of objects, e.g. ``(1, 2)``.
        kinds: allowed kinds of scenes, of ``KINDS``.
        attributes: columns of ``Batch.attributes``, of the ten above.
        seed: another seed is another world.
        size: samples of the split; a smaller set is the beginning of a larger one.

    Raises:
        ValueError: an argument outside of what is listed here.
    """

    name = "shapes"

    def __init__(
        self,
        split: str = "train",
        image_size: int = 64,
        language: str = "en",
        *,
        objects: Sequence[int] = (1, 2, 3, 4),
        kinds: Sequence[str] = KINDS,
        attributes: Sequence[str] = LABELS,
        seed: int = 0,
        size: int | None = None,
    ) -> None:
        one_of("split", split, SPLITS)
        one_of("language", language, LANGUAGES)
        check_image_size(image_size)
        size = SPLIT_SIZES[split] if size is None else size
        if size < 1:
            raise ValueError(f"size must be at least 1 sample; got {size}.")
        if size > MOST:
            raise ValueError(f"size must be at most {MOST:,} samples; got {size}.")
        self.split, self.image_size, self.language = split, image_size, language
        self.options = {
            "objects": tuple(objects),
            "kinds": tuple(kinds),
            "seed": seed,
            "size": size,
        }
        self.vocabulary = vocabulary(language)
        self.max_tokens = MAX_TOKENS[language]
        if not attributes:
            raise ValueError("attributes must name at least one column; got none.")
        for name in attributes:
            one_of("attributes", name, tuple(LABEL_VALUES))
        if tuple(attributes) != LABELS:
            self.options["attributes"] = tuple(attributes)
        self.attributes = {name: LABEL_VALUES[name] for name in attributes}
        self.scenes = sample_scenes(
            size, seed=seed, split=split, objects=objects, kinds=kinds
        )
        self.alternatives = ShapesAlternatives(
            self.vocabulary, self.max_tokens, tuple(attributes)
        )
        self.examination = examination(language)
        self._languages = ("en", "zh") if language == "both" else (language,)
        # Drawn order is random, so that no picture shows which object is "the other":
        # a judge could not learn the labels of pairs in it.
        ordered = self.scenes.in_reading_order()
        self._attributes = np.stack(
            [label_column(ordered, name) for name in attributes], axis=1
        ).astype(np.int16)
        self._class_ids = demand_ids(self.scenes)
        self._used = max(1, int(self.scenes.counts().max()))
        # Captions are written when they are first asked for, and kept.
        slots = len(self._languages) * _VARIANTS
        self._captions: dict[int, str] = {}
        self._tokens = np.zeros((size, slots, self.max_tokens), dtype=np.int16)
        self._lengths = np.zeros((size, slots), dtype=np.int16)

    def __len__(self) -> int:
        return len(self.scenes)

    def _write(self, rows: np.ndarray, slots: np.ndarray) -> None:
        """Write and keep the captions of samples in slots of language and variant."""
        keys = (rows * self._lengths.shape[1] + slots).tolist()
        captions = [
            describe(
                Demand.of_id(int(self._class_ids[row])),
                self._languages[slot // _VARIANTS],
                (self.options["seed"] << 40) + (row * _VARIANTS + slot % _VARIANTS),
            )
            for row, slot in zip(rows.tolist(), slots.tolist(), strict=True)
        ]
        tokens, lengths = self.vocabulary.encode(captions, self.max_tokens)
        self._captions.update(zip(keys, captions, strict=True))
        self._tokens[rows, slots] = tokens.numpy()
        self._lengths[rows, slots] = lengths.numpy()

    def prepare(self, indices: Sequence[int], epoch: int) -> _Prepared:
        """Scenes and captions of the samples; cheap once they have been seen."""
        rows = np.asarray(indices, dtype=np.int64)
        slots = self._lengths.shape[1]
        # far from the streams of sample_scenes, so that captions do not hang on scenes
        stream = (self.options["seed"] + 2**40) * len(SPLITS) + SPLITS.index(self.split)
        picked = (draws(rows, epoch, 1, stream)[:, 0] * slots).astype(np.int64)
        new = self._lengths[rows, picked] == 0
        if new.any():
            self._write(rows[new], picked[new])
        return _Prepared(
            codes=torch.from_numpy(self.scenes.codes[rows, : self._used]),
            backgrounds=torch.from_numpy(self.scenes.backgrounds[rows]),
            tokens=torch.from_numpy(self._tokens[rows, picked]),
            lengths=torch.from_numpy(self._lengths[rows, picked]),
            class_ids=torch.from_numpy(self._class_ids[rows]),
            attributes=torch.from_numpy(self._attributes[rows]),
            indices=torch.from_numpy(rows),
            captions=[self._captions[key] for key in (rows * slots + picked).tolist()],
            scenes=self.scenes[rows],
        )

    def finish(self, prepared: _Prepared, device: torch.device | str) -> Batch:
        """The batch, its pictures drawn on ``device`` without waiting for it."""

        def there(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return Batch(
            images=draw(
                there(prepared.codes), there(prepared.backgrounds), self.image_size
            ),
            tokens=there(prepared.tokens).long(),
            lengths=there(prepared.lengths).long(),
            class_ids=there(prepared.class_ids),
            captions=prepared.captions,
            scenes=prepared.scenes,
            attributes=there(prepared.attributes).long(),
            indices=there(prepared.indices),
        )


def demand_ids(scenes: SceneTable) -> np.ndarray:
    """``facts(scene).id`` of every scene at once, shape (N,) int64."""
    says = [(scenes.mentions >> i & 1).astype(bool)[:, None] for i in range(5)]
    colour, size, position, relation, ground = says
    codes = scenes.codes.astype(np.int64)
    kind = codes[..., 0]
    for values, said, many in (
        (codes[..., 1], colour, len(COLOURS)),
        (codes[..., 2], size, len(SIZES)),
        (scenes.positions(), position, len(POSITIONS)),
    ):
        kind = kind * (many + 1) + np.where(said, values + 1, 0)
    kind = np.where(codes[..., 0] < 0, 0, kind + 1)
    dx, dy = (codes[:, 1, 3:] - codes[:, 0, 3:]).T
    # left of, right of, above, below, as relation_of tells them
    word = np.where(np.abs(dx) >= np.abs(dy), np.where(dx > 0, 0, 1), dy <= 0)
    word = np.where(np.abs(dx) >= np.abs(dy), word, word + 2)
    turned = kind[:, 0] > kind[:, 1]
    word = np.where(turned, word ^ 1, word)
    word = np.where(kind[:, 0] == kind[:, 1], word & 2, word)
    identity = np.zeros(len(codes), dtype=np.int64)
    for column in np.sort(kind, axis=1).T:
        identity = identity << 10 | column
    identity = identity << 3 | np.where(relation[:, 0], word + 1, 0)
    return identity << 3 | np.where(ground[:, 0], scenes.backgrounds + 1, 0)
