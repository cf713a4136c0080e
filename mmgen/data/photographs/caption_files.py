"""Caption files of AttnGAN's layout: read without trusting them, or made again.

The files are pickles written by Python 2. A pickle is a program: loading a foreign one
runs it. What these files need (lists, dictionaries, strings, integers) needs no class
and no function, so every request for one is refused before anything is looked up.

Source of layout and word rules: Xu et al., AttnGAN (CVPR 2018), code at
https://github.com/taoxugit/AttnGAN.
"""

from __future__ import annotations

import codecs
import io
import itertools
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgen.data.files import foreign, misnamed, read_text
from mmgen.data.vocabulary import PADDING, UNKNOWN, Vocabulary

END = "<end>"  # index 0 of the original's numbering; it serves as padding there
_WORD = re.compile(r"\w+")


class _PlainUnpickler(pickle._Unpickler):
    """Knows containers, strings and numbers, and nothing that could be called.

    The unpickler in Python itself: the one in C takes a number from the file for the
    size of a table, so that one changed byte asks for 64 GB.
    """

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(
            f"it asks for {module}.{name}, which a file of captions never needs"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def load_plain_pickle(path: str | Path, otherwise: str = "") -> Any:
    """Load a pickle of lists, dictionaries, strings and numbers, also Python 2's.

    Args:
        path: the file. Python 2's byte strings are read as Latin-1.
        otherwise: what else can be done without the file, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a damaged file, or one that asks for a class or function; none of
            its code has run then.
    """
    content = Path(path).read_bytes()
    if kind := foreign(content):
        raise ValueError(f"{path} is {kind}.{otherwise}")
    try:
        return _PlainUnpickler(io.BytesIO(content), encoding="latin-1").load()
    except Exception as error:  # damage raises nearly anything
        raise ValueError(f"{path} {_cause(content, error)}{otherwise}") from error


def _cause(content: bytes, error: Exception) -> str:
    """Why a pickle cannot be read, and the cure for that."""
    if content.startswith(codecs.BOM_UTF8):
        return (
            "is damaged: it begins with a byte-order mark, which an editor adds that "
            "saves it as text. Unpack the original file again, and do not edit it."
        )
    if content.count(b"\n") == content.count(b"\r\n") > 0:
        return (
            "is damaged: each end of line was changed to CRLF, as git with "
            "core.autocrlf or a transfer in text mode does. Copy it again as binary."
        )
    if str(error).startswith("it "):
        return (
            f"is refused: {error}. Nothing in it was run. It is not the file of the "
            f"original release: use that one."
        )
    if not content.endswith(pickle.STOP):
        return "is damaged or cut off: its end is missing. Download it again."
    return (
        f"is damaged or cut off ({type(error).__name__}: {error}). Its bytes were "
        f"changed: compare it with the archive it came from, or unpack it again."
    )


def original_words(caption: str) -> list[str]:
    """The original's words of a caption: runs of letters and digits, ASCII only.

    A caption must pass through here (and be joined with spaces) before released weights
    see it: "bird's" is two words to them and one to ``tokenize``.
    """
    text = caption.replace("\ufffd\ufffd", " ").lower()
    words = (word.encode("ascii", "ignore").decode() for word in _WORD.findall(text))
    return [word for word in words if word]


@dataclass(frozen=True)
class Captions:
    """Captions of one split as one array, which worker processes share as it is.

    Caption j of picture i is row ``i * per_image + j``.
    """

    tokens: np.ndarray  # (total words,) int32, the original's numbering
    starts: np.ndarray  # (captions + 1,) int64
    per_image: int

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], per_image: int) -> Captions:
        """Captions given as lists of indices."""
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        flat = np.fromiter(
            itertools.chain.from_iterable(rows), dtype=np.int32, count=int(starts[-1])
        )
        return cls(flat, starts, per_image)

    def __len__(self) -> int:
        return (len(self.starts) - 1) // self.per_image

    def of_image(self, index: int) -> list[np.ndarray]:
        """Captions of a picture that have at least one word."""
        first = index * self.per_image
        spans = itertools.pairwise(self.starts[first : first + self.per_image + 1])
        return [self.tokens[a:b] for a, b in spans if b > a]


@dataclass(frozen=True)
class CaptionFile:
    """Captions of all splits and the words they are numbered by."""

    splits: dict[str, Captions]
    words: tuple[str, ...]  # words[0] is "<end>"; there is no word for the unknown
    source: str  # for messages

    @property
    def vocabulary(self) -> Vocabulary:
        """Our vocabulary with the original's words in the original's order.

        Ours has two special tokens and the original one, so that the indices of words
        differ by exactly one: see ``original_tokens``.
        """
        return Vocabulary([PADDING, UNKNOWN, *self.words[1:]], "en")


def original_tokens(tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens as released weights number them.

    The original has no token for unknown words and drops them: so do we.

    Args:
        tokens: (B, T) int64 by ``CaptionFile.vocabulary``.
        lengths: (B,) int64.

    Returns:
        Tokens, (B, T) int64 with 0 = padding, and their lengths, (B,) int64.

    Raises:
        ValueError: a caption without a known word.
    """
    known = tokens > 1
    counts = known.sum(1)
    if (counts == 0).any():
        raise ValueError(
            f"captions must have at least one known word; those at "
            f"{(counts == 0).nonzero().flatten().tolist()} of the batch have none."
        )
    # a stable sort by "dropped" moves the kept words to the front, in their order
    order = (~known).to(torch.int8).sort(dim=1, stable=True).indices
    kept = torch.where(known, tokens - 1, 0).gather(1, order)
    return kept, torch.minimum(lengths, counts)


def read_caption_pickle(
    path: str | Path, pictures: Mapping[str, int], per_image: int
) -> CaptionFile:
    """Read ``captions.pickle``: [train captions, test captions, words, indices].

    Args:
        path: the file.
        pictures: number of pictures of "train" and "test".
        per_image: captions of each picture.

    Raises:
        ValueError: a file that is not such a list, that is refused (see
            ``load_plain_pickle``), or that belongs to other pictures.
    """
    otherwise = ""
    if (Path(path).parent / "text").is_dir():
        otherwise = " Without it, the captions are made from the text files."
    content = load_plain_pickle(path, otherwise)
    if not isinstance(content, list | tuple) or len(content) != 4:
        raise ValueError(
            f"{path} must hold [train captions, test captions, words by index, indices "
            f"by word]; got {_kind(content)}."
        )
    train, test, by_index, by_word = content
    words = _checked_words(path, by_index, by_word)
    splits = {}
    for split, rows in (("train", train), ("test", test)):
        _check_rows(path, split, rows, len(words))
        if len(rows) != pictures[split] * per_image:
            raise ValueError(
                f"{path} has {len(rows)} {split} captions; {pictures[split]} pictures "
                f"with {per_image} captions each need {pictures[split] * per_image}. "
                f"It belongs to another list of pictures, or captions_per_image is "
                f"not {per_image}."
            )
        splits[split] = Captions.of(rows, per_image)
    return CaptionFile(splits, words, str(path))


def _kind(content: Any) -> str:
    size = f" of {len(content)}" if isinstance(content, list | tuple | dict) else ""
    return f"{type(content).__name__}{size}"


def _checked_words(path: str | Path, by_index: Any, by_word: Any) -> tuple[str, ...]:
    fault = None
    if not isinstance(by_index, dict) or not isinstance(by_word, dict):
        fault = f"words must be two dictionaries; got {_kind(by_index)}"
    elif set(by_index) != set(range(len(by_index))):
        fault = f"words must be numbered 0..{len(by_index) - 1} without gaps"
    elif not all(isinstance(word, str) for word in by_index.values()):
        fault = "words must be strings"
    elif by_index.get(0) != END:
        fault = f"word 0 must be {END!r}; got {by_index.get(0)!r}"
    elif by_word != {word: index for index, word in by_index.items()}:
        fault = "the two dictionaries of words must be each other's inverse"
    if fault:
        raise ValueError(f"{path} is not a caption file of this layout: {fault}.")
    return tuple(by_index[i] for i in range(len(by_index)))


def _check_rows(path: str | Path, split: str, rows: Any, words: int) -> None:
    fault = None
    if not isinstance(rows, list) or set(map(type, rows)) - {list}:
        fault = f"must be lists of lists; got {_kind(rows)}"
    elif set(map(type, itertools.chain.from_iterable(rows))) - {int}:
        fault = "must hold whole numbers only"
    else:
        flat = itertools.chain.from_iterable(rows)
        wrong = next((index for index in flat if not 0 <= index < words), None)
        if wrong is not None:
            fault = f"have a word {wrong}, but the file lists words 0..{words - 1}"
    if fault:
        raise ValueError(f"{path}: the {split} captions {fault}.")


def build_captions(
    folder: str | Path, keys: Mapping[str, Sequence[str]], per_image: int
) -> CaptionFile:
    """Make the captions from ``<key>.txt`` files, one caption a line.

    Words are numbered in the order in which they are first met, training captions
    first. Released weights were numbered by another Python's order: for them the
    original ``captions.pickle`` is needed.

    Args:
        folder: where the text files lie.
        keys: pictures of "train" and "test".
        per_image: captions to take of each picture.

    Raises:
        FileNotFoundError: a picture without a text file.
        ValueError: a picture with too few captions.
    """
    index: dict[str, int] = {END: 0}
    splits = {}
    for split in ("train", "test"):
        rows: list[list[int]] = []
        for key in keys[split]:
            captions = _captions_of(Path(folder) / f"{key}.txt", per_image)
            rows += [[index.setdefault(w, len(index)) for w in c] for c in captions]
        splits[split] = Captions.of(rows, per_image)
    return CaptionFile(splits, tuple(index), str(folder))


def _captions_of(path: Path, per_image: int) -> Iterable[list[str]]:
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} is missing: every picture needs its captions, one a line."
            f"{misnamed(path)}"
        ) from error
    captions = [words for line in text.split("\n") if (words := original_words(line))]
    if len(captions) < per_image:
        raise ValueError(
            f"{path} has {len(captions)} captions; captions_per_image={per_image} are "
            f"needed of every picture. Its download may have been cut off."
        )
    return captions[:per_image]
