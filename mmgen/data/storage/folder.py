"""A folder of pictures with their texts, as somebody's own data mostly come.

Texts stand beside the pictures (``cat.png`` and ``cat.txt``, one caption a line), or in
one list: ``captions.jsonl``, a JSON object a line with "image" and "caption" (or
"captions", several), or ``captions.csv`` with the columns image and caption. Names in a
list count from its own folder.

Splits are the folders ``train``, ``validation`` and ``test`` where one of them is
there. Otherwise each picture's content decides, by a hash: it keeps its split when
others are added, and two copies of a file are never parted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from mmgen.data.dataset import one_of
from mmgen.data.files import misnamed, read_text
from mmgen.data.photographs.dataset import PictureFiles, other_vocabulary
from mmgen.data.storage.shards import at_least_one
from mmgen.data.vocabulary import LANGUAGES, Vocabulary, listed, tokenize

SPLITS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)  # of the splits, where no folders say them
LISTS = ("captions.jsonl", "captions.csv")
ENDINGS = frozenset(
    (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".jp2")
)


class FolderDataset(PictureFiles):
    """Pictures of a folder with their texts.

    ``Batch.class_ids`` are equal where two files are, byte for byte. Pictures are
    turned upright, brought to 8 bits and RGB, and scaled until their shorter side has
    ``image_size`` pixels; the middle square is what is seen. One that does not decode
    is named, and another takes its place.

    Args:
        split: "train", "validation" or "test", or "all" for all of them.
        image_size: H = W, pixels.
        language: of the captions: "en", "zh" or "both".
        root: the folder.
        max_tokens: longer captions lose words, others in every epoch.
        augment: random crops of 64/76 of the shorter side, half of them mirrored, and
            random captions in place of one after the other. Mirroring makes *left of*
            false.
        vocabulary: JSON file of the vocabulary to number the words by, as saved beside
            a run. By default the words of all captions of the folder, sorted.

    Raises:
        FileNotFoundError: no such folder or split, or a list names pictures that are
            not there.
        ValueError: no pictures, none with a text, a list or a text that cannot be read,
            or an argument outside what is listed above.
    """

    name = "folder"

    def __init__(
        self,
        split: str = "train",
        image_size: int = 64,
        language: str = "en",
        *,
        root: str | Path = "data/folder",
        max_tokens: int = 32,
        augment: bool = False,
        vocabulary: str | Path | None = None,
    ) -> None:
        one_of("split", split, (*SPLITS, "all"))
        one_of("language", language, LANGUAGES)
        at_least_one(image_size=image_size, max_tokens=max_tokens)
        self.split, self.image_size, self.language = split, image_size, language
        self.root = Path(root)
        self.augment = augment
        self.margin = 76 / 64 if augment else 1.0
        self.options = {
            "root": str(root),
            "max_tokens": max_tokens,
            "augment": augment,
            "vocabulary": None if vocabulary is None else str(vocabulary),
        }
        self.attributes = {}
        self.skipped = {}
        self.cure = f"Look at the pictures of {root}, or copy them again."
        if not self.root.is_dir():
            raise FileNotFoundError(f"root must be a folder; there is none at {root}.")

        parts = [name for name in SPLITS if (self.root / name).is_dir()]
        if parts and split not in (*parts, "all"):
            raise FileNotFoundError(
                f"{root} has no folder {split}; its splits are {', '.join(parts)}."
            )
        texts: dict[str, list[str]] = {}
        silent: list[str] = []
        for part in parts or [""]:
            found, without = _read_pairs(self.root / part)
            place = PurePosixPath(part)
            texts |= {str(place / name): said for name, said in found.items()}
            silent += [str(place / name) for name in without]
        self._check_texts(texts, silent)
        digests = {name: _digest(self.root / name) for name in texts}
        self.keys = [
            name
            for name in texts
            if split in ("all", _home(name, digests[name], bool(parts)))
        ]
        if not self.keys:
            raise ValueError(
                f"split {split!r} holds none of the {len(texts)} pictures of {root}, "
                f"which are divided by their content. Make folders "
                f"{', '.join(SPLITS)}, or ask for split='all'."
            )
        first: dict[bytes, int] = {}
        kinds = [first.setdefault(digests[name], i) for i, name in enumerate(texts)]
        kind_of = dict(zip(texts, kinds, strict=True))
        self.class_ids = np.array([kind_of[name] for name in self.keys])

        words = {text: tokenize(text) for said in texts.values() for text in said}
        self.vocabulary = Vocabulary.build(words, language)
        if vocabulary is not None:
            self.vocabulary = other_vocabulary(
                vocabulary, self.vocabulary.tokens[2:], root
            )
        # of all splits, so that they fit the same model
        self.max_tokens = min(max_tokens, max(map(len, words.values())))
        number = {token: i for i, token in enumerate(self.vocabulary.tokens)}
        self._captions = [
            [
                (np.array([number.get(word, 1) for word in words[text]]), text)
                for text in texts[name]
            ]
            for name in self.keys
        ]
        rows = [row for said in self._captions for row, _ in said]
        self.shortened = sum(len(row) > self.max_tokens for row in rows)

    def __len__(self) -> int:
        return len(self.keys)

    def path(self, index: int) -> Path:
        """Where the picture at ``index`` lies."""
        return self.root / self.keys[index]

    def numbered_captions(self, index: int) -> list[tuple[np.ndarray, str]]:
        """All captions of the picture at ``index``: tokens, (T,) int64, and text."""
        return self._captions[index]

    def _check_texts(self, texts: Mapping[str, object], silent: list[str]) -> None:
        """Refuse a folder without pairs, and name the pictures that have no caption."""
        count = len(texts) + len(silent)
        if not count:
            raise ValueError(
                f"{self.root} holds no picture; endings of pictures are "
                f"{', '.join(sorted(ENDINGS))}."
            )
        if not texts:
            raise ValueError(
                f"none of the {count} pictures of {self.root} has a caption, e.g. "
                f"{silent[0]}. Put a text of the same name beside each, ending in "
                f".txt, or one list, {' or '.join(LISTS)}, with image and caption."
            )
        if silent:
            warnings.warn(
                f"{len(silent)} of the {count} pictures of {self.root} have no caption "
                f"and are left out: {listed(silent)}.",
                stacklevel=4,
            )


def _home(name: str, digest: bytes, divided: bool) -> str:
    """The split of a picture: that of its folder, or of its content."""
    if divided:
        return PurePosixPath(name).parts[0]
    place = int.from_bytes(digest[:7]) / 2**56  # in [0, 1), exact
    bounds = np.cumsum(SHARES[:-1])
    return SPLITS[int(np.searchsorted(bounds, place, side="right"))]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.blake2b(digest_size=16)
        ).digest()


# ---------------------------------------------------------------------- pairs


def _read_pairs(folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Captions of each picture below a folder, and the pictures that have none."""
    pictures = _pictures(folder)
    lists = [folder / name for name in LISTS if (folder / name).is_file()]
    if len(lists) > 1:
        raise ValueError(
            f"{folder} holds {' and '.join(LISTS)}; keep the list that is to be read."
        )
    if lists:
        texts = _listed_pairs(lists[0], set(pictures))
    else:
        texts = {}
        for name in pictures:
            path = (folder / name).with_suffix(".txt")
            if path.is_file():
                texts[name] = read_text(path).splitlines()
    said = {
        name: [text.strip() for text in texts.get(name, ()) if tokenize(text)]
        for name in pictures
    }
    without = [name for name, captions in said.items() if not captions]
    return {name: captions for name, captions in said.items() if captions}, without


def _pictures(folder: Path) -> list[str]:
    """Names of all pictures below a folder, sorted, with / between their parts."""
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if path.suffix.lower() in ENDINGS and not name.startswith("."):
                found.append(path.relative_to(folder).as_posix())
    return sorted(found)


def _listed_pairs(path: Path, there: set[str]) -> dict[str, list[str]]:
    """Captions by picture of a list, of which every picture must be there."""
    texts: dict[str, list[str]] = defaultdict(list)
    read = _json_lines if path.suffix == ".jsonl" else _csv_lines
    for line, name, captions in read(path):
        where = PurePosixPath(name.replace("\\", "/"))
        if where.is_absolute() or ".." in where.parts or not where.name:
            raise ValueError(
                f"{path}, line {line}, must name a picture below {path.parent}; got "
                f"{name!r}."
            )
        texts[str(where)] += captions
    missing = [name for name in texts if name not in there]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(texts)} pictures that {path} names are not "
            f"there: {listed(missing)}.{misnamed(path.parent / missing[0])}"
        )
    return texts


def _json_lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Line, picture and captions of a JSON list, an object a line."""
    for line, text in enumerate(read_text(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            pair = json.loads(text)
            captions = [pair["caption"]] if "caption" in pair else pair["captions"]
            name = pair["image"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {line}, must be an object with image and caption; got "
                f"{text[:60]!r}."
            ) from error
        if not isinstance(captions, list) or not _are_texts((name, *captions)):
            raise ValueError(f"{path}, line {line}: image and caption must be texts.")
        yield line, name, captions


def _csv_lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Line, picture and caption of a table with a head."""
    table = csv.DictReader(io.StringIO(read_text(path), newline=""))
    if not {"image", "caption"} <= set(table.fieldnames or ()):
        raise ValueError(
            f"{path} must begin with a line that names the columns image and caption; "
            f"got {table.fieldnames}."
        )
    for row in table:
        pair = (row["image"], row["caption"])
        # a cell too many or too few is a comma without quotes: the columns are shifted
        if None in row or not _are_texts(pair):
            raise ValueError(
                f"{path}, line {table.line_num}, must have as many cells as its first "
                f"line, {len(table.fieldnames or ())}. Put captions with commas in "
                f"quotes."
            )
        yield table.line_num, pair[0], [pair[1]]


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)
