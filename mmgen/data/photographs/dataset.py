"""Captioned photographs on disk, in the folders of AttnGAN's release.

A data set is a folder with lists of pictures, captions and JPEG files. What a sample
looks like in an epoch (which caption, which words of it, which crop, mirrored or not)
is decided by (index, epoch) alone; decoding runs in the loader's worker processes.

Source of the geometry and of the caption rules: Xu et al., AttnGAN (CVPR 2018), code at
https://github.com/taoxugit/AttnGAN.
"""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.draws import draws
from mmgen.data.files import misnamed
from mmgen.data.photographs.caption_files import (
    CaptionFile,
    build_captions,
    load_plain_pickle,
    original_tokens,
    read_caption_pickle,
)
from mmgen.data.photographs.decoding import UndecodableError, decode
from mmgen.data.vocabulary import Vocabulary
from mmgen.errors import MmgenError

SPLITS = ("train", "test")
# Streams of random numbers of one sample: so that asking for more of one kind later
# changes none of the others.
GEOMETRY, CAPTION, WORDS = 0, 1, 2
GIVE_UP = 16  # undecodable pictures in a row


class PicturesError(MmgenError, RuntimeError):
    """So many pictures in a row do not decode that the folder must be damaged."""


def crop(
    picture: Image.Image,
    image_size: int,
    chance: Sequence[float] | None = None,
    margin: float = 76 / 64,
) -> Tensor:
    """A square of a photograph: 64/76 of its shorter side, anywhere in it.

    Args:
        picture: RGB.
        image_size: H = W of the result, pixels.
        chance: down, across, mirror: numbers in [0, 1) that place the square and, below
            1/2 in the last, mirror it. The middle, not mirrored, by default.
        margin: the shorter side divided by that of the square, at least 1.

    Returns:
        Tensor of shape (3, image_size, image_size) uint8.
    """
    # Imported here: it takes seconds, and whoever only draws pictures needs none of it.
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as transforms

    scaled = transforms.resize(
        picture, [int(image_size * margin)], InterpolationMode.BILINEAR
    )
    down, across = scaled.height - image_size, scaled.width - image_size
    if chance is None:
        top, left = down // 2, across // 2
    else:
        top, left = int(chance[0] * (down + 1)), int(chance[1] * (across + 1))
    square = transforms.crop(scaled, top, left, image_size, image_size)
    if chance is not None and chance[2] < 0.5:
        square = transforms.horizontal_flip(square)
    return transforms.pil_to_tensor(square)


def some_words(tokens: np.ndarray, most: int, index: int, epoch: int) -> np.ndarray:
    """A caption, or, where it is too long, ``most`` of its words in their order.

    Which words is drawn anew in every epoch: cutting at the end would hide the ends of
    long captions for good.
    """
    if len(tokens) <= most:
        return tokens
    chance = draws([index], epoch, len(tokens), stream=WORDS)[0]
    return tokens[np.sort(np.argsort(chance, kind="stable")[:most])]


def padded(rows: Sequence[np.ndarray], width: int) -> tuple[Tensor, Tensor]:
    """Captions of (B,) lengths as tokens, (B, width) int64, and the lengths."""
    tokens = torch.zeros(len(rows), width, dtype=torch.int64)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.from_numpy(row)
    return tokens, torch.tensor([len(row) for row in rows], dtype=torch.int64)


@dataclass
class Prepared:
    """Samples on the CPU, as they travel from a worker process."""

    images: Tensor  # (B, 3, H, W) uint8
    tokens: Tensor  # (B, T) int64
    lengths: Tensor  # (B,) int64
    class_ids: Tensor  # (B,) int64
    attributes: Tensor | None  # (B, A) int64
    indices: Tensor  # (B,) int64
    captions: list[str]
    # what was met on the way, for the process that trains to say
    skipped: list[tuple[str, str]]  # picture and what is wrong with it


def to_batch(prepared: Prepared, device: torch.device | str) -> Batch:
    """The batch on ``device``, the pictures in [-1, 1].

    Bytes travel, not floats: a quarter of the traffic.
    """
    device = torch.device(device)

    def sent(tensor: Tensor) -> Tensor:
        if device.type == "cuda":
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)

    attributes = prepared.attributes
    return Batch(
        images=sent(prepared.images).float().div_(127.5).sub_(1.0),
        tokens=sent(prepared.tokens),
        lengths=sent(prepared.lengths),
        class_ids=sent(prepared.class_ids),
        captions=prepared.captions,
        attributes=None if attributes is None else sent(attributes),
        indices=sent(prepared.indices),
    )


def name_skipped(prepared: Prepared, known: dict[str, str], dataset: str) -> None:
    """Warn of each picture that did not decode, once, and note it in ``known``."""
    for picture, reason in prepared.skipped:
        if picture not in known:
            known[picture] = reason
            warnings.warn(
                f"{picture} does not decode ({reason}); another picture of {dataset} "
                f"takes its place.",
                stacklevel=3,
            )


class PictureFiles(CaptionedDataset):
    """Captioned pictures that lie on disk as files, each decoded when it is asked for.

    A subclass says where a picture lies and how its captions are numbered.
    """

    augment: bool  # random crops, mirroring and captions
    margin: float = 76 / 64  # as in ``crop``
    class_ids: np.ndarray  # (N,) int64
    skipped: dict[str, str]  # pictures that did not decode so far
    cure: str  # what to do about a folder of which too much does not decode
    _attribute_table: np.ndarray | None = None
    _boxes: np.ndarray | None = None

    @abstractmethod
    def path(self, index: int) -> Path:
        """Where the picture at ``index`` lies."""

    @abstractmethod
    def numbered_captions(self, index: int) -> list[tuple[np.ndarray, str]]:
        """All captions of the picture at ``index``: tokens, (T,) int64, and text."""

    def prepare(self, indices: Sequence[int], epoch: int) -> Prepared:
        """Decode, crop and pick captions; safe in a worker process.

        A picture that does not decode is replaced by the next one that does, and named
        by ``finish``.

        Raises:
            PicturesError: too many pictures in a row do not decode.
        """
        images, shown = [], []
        skipped: list[tuple[str, str]] = []
        for index in indices:
            image, at = self._image(index, epoch, skipped)
            images.append(image)
            shown.append(at)
        drawn = [self._caption(index, epoch) for index in shown]
        tokens, lengths = padded([words for words, _ in drawn], self.max_tokens)
        table = self._attribute_table
        return Prepared(
            images=torch.stack(images),
            tokens=tokens,
            lengths=lengths,
            class_ids=torch.from_numpy(self.class_ids[shown]),
            attributes=None if table is None else torch.from_numpy(table[shown]),
            indices=torch.tensor(shown),
            captions=[text for _, text in drawn],
            skipped=skipped,
        )

    def finish(self, prepared: Prepared, device: torch.device | str) -> Batch:
        """The batch on ``device``; pictures that did not decode are named here."""
        name_skipped(prepared, self.skipped, self.name)
        return to_batch(prepared, device)

    def captions(self, index: int) -> list[str]:
        """All captions of the picture at ``index``."""
        return [text for _, text in self.numbered_captions(index)]

    def box_of(self, index: int) -> list[float] | None:
        """Left, top, width, height of what is to be cut out, pixels, where known."""
        return None if self._boxes is None else self._boxes[index].tolist()

    def attributes_of(self, index: int) -> list[int] | None:
        """The row of ``Batch.attributes``."""
        table = self._attribute_table
        return None if table is None else table[index].tolist()

    def _image(
        self, index: int, epoch: int, skipped: list[tuple[str, str]]
    ) -> tuple[Tensor, int]:
        """The crop at ``index``, or of the next picture that decodes, and where."""
        for step in range(min(GIVE_UP, len(self))):
            at = (index + step) % len(self)
            try:
                picture = decode(self.path(at), self.box_of(at))
            except UndecodableError as error:
                skipped.append((str(self.path(at)), str(error)))
                continue
            chance = draws([at], epoch, 3, GEOMETRY)[0] if self.augment else None
            return crop(picture, self.image_size, chance, self.margin), at
        first, reason = skipped[-step - 1]
        raise PicturesError(
            f"{step + 1} pictures of {self.name} in a row do not decode, the first is "
            f"{first} ({reason}). {self.cure}"
        )

    def _caption(self, index: int, epoch: int) -> tuple[np.ndarray, str]:
        captions = self.numbered_captions(index)
        chosen = epoch % len(captions)
        if self.augment:
            chance = draws([index], epoch, 1, CAPTION)[0, 0]
            chosen = int(chance * len(captions))
        words, text = captions[chosen]
        return some_words(words, self.max_tokens, index, epoch), text


class Photographs(PictureFiles):
    """A folder of captioned photographs: what CUB and COCO have in common.

    Args:
        split: "train" or "test"; the releases have no validation split.
        image_size: H = W, pixels.
        language: "en"; there are no other captions.
        root: folder of ``captions.pickle``, ``train/`` and ``test/``.
        captions_per_image: captions that each picture has.
        max_tokens: longer captions lose words, others in every epoch.
        augment: random crops, mirroring and captions. In training only by default; the
            original's code also has them at test time.
        vocabulary: JSON file of the vocabulary to number the words by, as saved beside
            a run. By default the words of the captions, in their file's order.

    Raises:
        FileNotFoundError: no such folder, or a part of it is missing.
        ValueError: parts that do not belong together, a damaged or refused file, or an
            argument outside what is listed above.
    """

    image_folder: ClassVar[str]  # below root
    layout: ClassVar[str]  # for messages: what is expected, and where it is to be had
    pictures_from: ClassVar[str]

    def __init__(
        self,
        split: str,
        image_size: int,
        language: str,
        *,
        root: str | Path,
        captions_per_image: int,
        max_tokens: int,
        augment: bool | None,
        vocabulary: str | Path | None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(
                f"split must be 'train' or 'test' for {self.name}, which has no other; "
                f"got {split!r}."
            )
        if language != "en":
            raise ValueError(
                f"language must be 'en': {self.name} has English captions only; got "
                f"{language!r}."
            )
        for argument, value in (
            ("image_size", image_size),
            ("captions_per_image", captions_per_image),
            ("max_tokens", max_tokens),
        ):
            if value < 1:
                raise ValueError(f"{argument} must be at least 1; got {value}.")
        self.split, self.image_size, self.language = split, image_size, language
        self.root = Path(root)
        self.max_tokens = max_tokens
        self.augment = split == "train" if augment is None else augment
        self.options = {
            "root": str(root),
            "captions_per_image": captions_per_image,
            "max_tokens": max_tokens,
            "augment": augment,
            "vocabulary": None if vocabulary is None else str(vocabulary),
        }
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"no {self.name} data set at {root}.\n{self.layout}"
            )
        keys = {name: self._read_keys(name) for name in SPLITS}
        self.keys = keys[split]
        self._check_pictures()
        self.caption_file = self._read_captions(keys, captions_per_image)
        self._captions = self.caption_file.splits[split]
        self._check_captions()
        lengths = np.diff(self._captions.starts)
        self.shortened = int((lengths > max_tokens).sum())
        self.vocabulary = self.caption_file.vocabulary
        if vocabulary is not None:
            self.vocabulary = other_vocabulary(
                vocabulary, self.caption_file.words[1:], self.caption_file.source
            )
        place = {token: i for i, token in enumerate(self.vocabulary.tokens)}
        # the file's numbering -> ours; only its padding, 0, becomes our padding
        self._numbers = np.array(
            [0, *(place.get(word, 1) for word in self.caption_file.words[1:])]
        )
        self.attributes = {}
        self.class_ids = np.arange(len(self.keys))
        self.skipped = {}
        self.cure = (
            f"The data set at {root} is damaged; unpack {self.pictures_from} again."
        )

    def __len__(self) -> int:
        return len(self.keys)

    # ------------------------------------------------------------ samples

    def original_tokens(
        self, batch: Batch, embedding_rows: int
    ) -> tuple[Tensor, Tensor]:
        """Tokens of a batch as released weights number them.

        Args:
            batch: of this data set.
            embedding_rows: rows of the released text encoder's embedding.

        Returns:
            Tokens, (B, T) int64 with 0 = padding, and their lengths, (B,) int64.

        Raises:
            ValueError: weights of another vocabulary.
        """
        words = self.caption_file.words
        if embedding_rows != len(words):
            raise ValueError(
                f"embedding_rows must be {len(words)}, the words of "
                f"{self.caption_file.source}; got weights with {embedding_rows}. Use "
                f"the captions.pickle that came with the weights: one made again "
                f"numbers the words differently."
            )
        if self.vocabulary != self.caption_file.vocabulary:
            raise ValueError(
                "original tokens need the words of the caption file; load the data set "
                "without the option 'vocabulary'."
            )
        return original_tokens(batch.tokens, batch.lengths)

    def path(self, index: int) -> Path:
        """Where the picture at ``index`` lies."""
        return self.root / self.image_folder / f"{self.keys[index]}.jpg"

    def numbered_captions(self, index: int) -> list[tuple[np.ndarray, str]]:
        """All captions of the picture at ``index``: tokens, (T,) int64, and text."""
        words = self.caption_file.words
        return [
            (self._numbers[row], " ".join(words[i] for i in row))
            for row in self._captions.of_image(index)
        ]

    # ------------------------------------------------------------ reading the folder

    def _read_keys(self, split: str) -> list[str]:
        path = self.root / split / "filenames.pickle"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: the data set {self.name} is incomplete."
                f"{misnamed(path)}\n{self.layout}"
            )
        keys = load_plain_pickle(path)
        if not isinstance(keys, list) or not keys:
            raise ValueError(f"{path} must be a list of picture names, not empty.")
        for key in keys:
            parts = Path(key).parts if isinstance(key, str) else ("..",)
            if ".." in parts or Path(*parts).is_absolute():
                raise ValueError(
                    f"{path} must list names of pictures below "
                    f"{self.image_folder}; got {key!r}."
                )
            if key.lower().endswith((".jpg", ".jpeg", ".png")):
                raise ValueError(
                    f"{path} must list names without their ending; got {key!r}, whose "
                    f"picture would be {key}.jpg. Take the endings off the list."
                )
        return keys

    def _check_pictures(self) -> None:
        """Compare folder listings with the list: one call a folder, none a picture."""
        listed: dict[str, list[str]] = defaultdict(list)
        for key in self.keys:
            parent, _, name = key.rpartition("/")
            listed[parent].append(name)
        missing: list[str] = []
        whole: list[str] = []
        for parent, names in listed.items():
            folder = self.root / self.image_folder / parent
            there = set(os.listdir(folder)) if folder.is_dir() else set()
            absent = [name for name in names if f"{name}.jpg" not in there]
            missing += [str(folder / f"{name}.jpg") for name in absent]
            if len(absent) == len(names) and parent:
                whole.append(parent)
        if missing:
            stopped = (
                f" The download or the unpacking stopped half way: unpack "
                f"{self.pictures_from} again."
            )
            classes = f" Missing as a whole: {', '.join(whole[:5])}." if whole else ""
            raise FileNotFoundError(
                f"{len(missing)} of the {len(self.keys)} {self.split} pictures of "
                f"{self.name} are missing, e.g. {missing[0]}."
                f"{misnamed(Path(missing[0])) or stopped}{classes}"
            )

    def _read_captions(self, keys: dict[str, list[str]], per_image: int) -> CaptionFile:
        path = self.root / "captions.pickle"
        if path.is_file():
            counts = {split: len(names) for split, names in keys.items()}
            return read_caption_pickle(path, counts, per_image)
        if not (self.root / "text").is_dir():
            raise FileNotFoundError(
                f"neither {path} nor {self.root / 'text'} is there: the data set "
                f"{self.name} has no captions.{misnamed(path)}\n{self.layout}"
            )
        return build_captions(self.root / "text", keys, per_image)

    def _check_captions(self) -> None:
        words = np.diff(self._captions.starts[:: self._captions.per_image])
        if (words == 0).any():
            raise ValueError(
                f"captions must have at least one word; all captions of "
                f"{self.keys[int(np.argmin(words))]} in {self.caption_file.source} are "
                f"empty."
            )


def other_vocabulary(
    path: str | Path, words: Sequence[str], source: object
) -> Vocabulary:
    """The vocabulary of a run, for captions that are made of these words.

    Raises:
        ValueError: it knows less than half of them, or the file is no vocabulary.
        OSError: there is none, or it may not be read.
    """
    vocabulary = Vocabulary.load(path)
    known = sum(word in vocabulary for word in words)
    if known < len(words) / 2:
        raise ValueError(
            f"vocabulary {path} knows {known} of the {len(words)} words of {source}: "
            f"it belongs to another data set."
        )
    if known < len(words):
        warnings.warn(
            f"vocabulary {path} lacks {len(words) - known} of the {len(words)} words "
            f"of {source}; they become <unk>.",
            stacklevel=4,
        )
    return vocabulary
