"""From captions to integers and back."""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

PADDING, UNKNOWN = "<pad>", "<unk>"
LANGUAGES = ("en", "zh", "both")
# A Chinese character is a word by itself; a run of letters and digits is one; and so is
# a run of anything else that is neither space nor punctuation. Read off the characters'
# kinds (``_kind``), a letter each.
_WORDS = re.compile(r"h|[adw](?:[adwmi]*[adwm])?(?:'[awm]+)?|[sm][smi]*")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
# They choose between forms of the character before them, such as emoji and text.
_VARIATIONS = re.compile("[\u034f\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_ZERO_WIDTH_SPACE = "\u200b"  # cannot be seen, and parts words all the same
_MOST_SHOWN = 60  # characters of a caption in a message
_MOST_NAMED = 20  # words or captions in a message


def tokenize(caption: str) -> list[str]:
    """Words of an English caption in lower case, characters of a Chinese one.

    Accents and widths are dropped ("piñata" is the word "pinata", as English readers
    type it, and "ｓｔａｒ" is "star"), and so are characters that cannot be seen.
    Spaces and punctuation part words. Whatever else there is, of other scripts, emoji
    and symbols, is a word too: no vocabulary has it, so that it is named as unknown.
    """
    text = plain(caption)
    if text.isascii():  # most captions are, and a data set reads a great many
        kinds = text.translate(_ASCII_KINDS)
    else:
        kinds = "".join(map(_kind, text))
    return [text[slice(*match.span())] for match in _WORDS.finditer(kinds)]


@lru_cache(maxsize=8192)
def _kind(character: str) -> str:
    """What a character of a caption in lower case is, as a letter.

    "a": an ASCII letter, "d": an ASCII digit, "h": a Chinese character, "w": any other
    letter or digit, "m": a mark on the letter before it, "i": invisible, "s": a symbol,
    an apostrophe itself, and " ": what parts words.
    """
    if character.isascii() and character.isalnum():
        return "d" if character.isdigit() else "a"
    if character == "'":
        return character
    if _CHINESE.match(character):
        return "h"
    category = unicodedata.category(character)
    if category[0] == "M":
        return "i" if _VARIATIONS.match(character) else "m"
    if category == "Cf":
        return " " if character == _ZERO_WIDTH_SPACE else "i"
    if category[0] in "ZP" or character.isspace():
        return " "
    return "w" if category[0] in "LN" else "s"


_ASCII_KINDS = {code: _kind(chr(code)) for code in range(128)}


@lru_cache(maxsize=8192)
def _form(character: str) -> str:
    """A character in letters of vocabularies, if any: "ｒ" is r, "é" e and a mark."""
    form = unicodedata.normalize("NFKD", character.replace("’", "'")).lower()
    return form if any(_kind(part) in "adh'" for part in form) else character


def plain(caption: str) -> str:
    """A caption in lower case, without marks on plain letters and what is not seen.

    Letters of other scripts keep their marks, so that a message names them as typed.
    """
    text = caption.lower()
    if text.isascii():
        return text
    # Each character by itself: to bring a long run of marks into Unicode's order takes
    # a time that grows with its square.
    kept: list[str] = []
    before = " "
    for character in text:
        for part in _form(character):
            kind = _kind(part)
            if kind not in "mi" or before in "wsm" or (before == " " and kind == "m"):
                kept.append(part)
                before = before if kind == "i" else kind
    return "".join(kept)


class Vocabulary:
    """A fixed list of tokens; index 0 is padding, index 1 stands for unknown words.

    Args:
        tokens: all tokens in order, beginning with ``<pad>`` and ``<unk>``.
        language: "en" (words), "zh" (characters) or "both".

    Raises:
        ValueError: an unknown language, doubled tokens, or a list that does not begin
            with the two special tokens.
    """

    def __init__(self, tokens: Iterable[str], language: str = "en") -> None:
        self.tokens = tuple(tokens)
        if language not in LANGUAGES:
            raise ValueError(f"language must be one of {LANGUAGES}; got {language!r}.")
        if self.tokens[:2] != (PADDING, UNKNOWN):
            raise ValueError(
                f"tokens must begin with {PADDING!r}, {UNKNOWN!r}; got "
                f"{list(self.tokens[:2])}."
            )
        self.language = language
        self._index = {token: i for i, token in enumerate(self.tokens)}
        if len(self._index) != len(self.tokens):
            raise ValueError("tokens must be distinct; some occur twice.")

    @classmethod
    def build(cls, captions: Iterable[str], language: str = "en") -> Vocabulary:
        """Collect the tokens of ``captions``, sorted, so that order changes nothing."""
        seen = {token for caption in captions for token in tokenize(caption)}
        return cls([PADDING, UNKNOWN, *sorted(seen)], language)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._index

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vocabulary)
            and self.tokens == other.tokens
            and self.language == other.language
        )

    def __hash__(self) -> int:
        return hash((self.tokens, self.language))

    def unknown(self, caption: str) -> list[str]:
        """Tokens of ``caption`` that the vocabulary lacks, in order."""
        return [token for token in tokenize(caption) if token not in self._index]

    def read(
        self, captions: Sequence[str], max_tokens: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode what a person typed; warn of unknown words, and of what is cut off.

        Args:
            captions: at least one, in a list.
            max_tokens: as for ``encode``.

        Returns:
            Tokens (B, T) and lengths (B,), as ``encode`` does.

        Raises:
            ValueError: a single string, an empty list, or what ``encode`` refuses.
        """
        if isinstance(captions, str) or not len(captions):
            raise ValueError(
                f"captions must be a list with at least one caption; got {captions!r}."
            )
        tokens, lengths, cut = self._encode(captions, max_tokens)
        unknown = sorted({word for text in captions for word in self.unknown(text)})
        if unknown:
            warnings.warn(
                f"captions hold words that the model never saw, and cannot follow: "
                f"{listed(map(_printable, unknown))}.",
                stacklevel=4,  # where a model's own method was called
            )
        if cut:
            warnings.warn(cut, stacklevel=4)
        return tokens, lengths

    def encode(
        self, captions: str | Iterable[str], max_tokens: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn captions into padded indices.

        Args:
            captions: one caption or several.
            max_tokens: width T of the result, at least 1; longer captions are cut, and
                a warning names what was. The longest caption by default.

        Returns:
            Tokens, shape (B, T) int64 with 0 = padding, and lengths, shape (B,) int64.

        Raises:
            ValueError: what is no string, a caption without any token or without any
                known one among the first T, or a ``max_tokens`` below 1.
        """
        tokens, lengths, cut = self._encode(captions, max_tokens)
        if cut:
            warnings.warn(cut, stacklevel=2)
        return tokens, lengths

    def _encode(
        self, captions: str | Iterable[str], max_tokens: int | None
    ) -> tuple[Tensor, Tensor, str]:
        """What ``encode`` returns, and a warning of what was cut, or nothing."""
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1; got {max_tokens}.")
        texts = [captions] if isinstance(captions, str) else list(captions)
        rows = []
        cut: list[str] = []
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(
                    f"captions must be strings; got {text!r}, a {type(text).__name__}."
                )
            words = tokenize(text)
            if not words:
                raise ValueError(
                    f"captions must not be empty; got {quoted(text)}. Write at least "
                    f"one word."
                )
            known = [word in self._index for word in words]
            if not any(known):
                examples = ", ".join(repr(t) for t in self.tokens[2:8])
                raise ValueError(
                    f"captions must have at least one known word; got {quoted(text)} "
                    f"(vocabulary: {len(self) - 2} tokens, e.g. {examples})."
                )
            if not any(known[:max_tokens]):
                raise ValueError(
                    f"captions must have a known word among their first {max_tokens} "
                    f"tokens, the longest caption that is read; got {quoted(text)}, "
                    f"whose known words come later. Make it shorter."
                )
            if max_tokens is not None and len(words) > max_tokens:
                rest = quoted(_written(words[max_tokens:]))
                cut.append(f"{rest} of {quoted(text)}")
            rows.append([self._index.get(word, 1) for word in words][:max_tokens])
        width = max_tokens or max((len(row) for row in rows), default=0)
        padded = [row + [0] * (width - len(row)) for row in rows]
        tokens = torch.tensor(padded, dtype=torch.int64).reshape(len(rows), width)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        if not cut:
            return tokens, lengths, ""
        are = "is" if len(cut) == 1 else "are"
        return (
            tokens,
            lengths,
            f"{len(cut)} of {len(texts)} captions {are} longer than {max_tokens} "
            f"tokens; not read: {listed(dict.fromkeys(cut))}.",
        )

    def decode(self, tokens: Tensor) -> list[str]:
        """Captions of token rows, shape (B, T) or (T,); padding is left out."""
        rows = tokens.reshape(-1, tokens.shape[-1]).tolist()
        return [_written([self.tokens[i] for i in row if i != 0]) for row in rows]

    def to_json(self) -> dict[str, object]:
        """A dictionary for a checkpoint or a card; ``from_json`` reads it back."""
        return {"language": self.language, "tokens": list(self.tokens)}

    @classmethod
    def from_json(cls, data: dict) -> Vocabulary:
        """The vocabulary of a dictionary written by ``to_json``."""
        return cls(data["tokens"], data["language"])

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON."""
        Path(path).write_text(
            json.dumps(self.to_json(), ensure_ascii=False, indent=1), encoding="utf-8"
        )

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read a vocabulary written by ``save``.

        Raises:
            ValueError: the file is damaged, or something else; it is named.
            OSError: there is none, or it may not be read.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no vocabulary: {type(error).__name__}: {error}. It must be "
                f"a JSON object with a language and tokens, as Vocabulary.save writes."
            ) from error


def _written(words: Sequence[str]) -> str:
    """Words as a caption; Chinese has no spaces between its characters."""
    return re.sub(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])", "", " ".join(words))


def quoted(text: str) -> str:
    """A caption for a message, not longer than that a line can hold it."""
    return repr(text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…")


def _printable(word: str) -> str:
    """A word for a message: what cannot be printed, or turns a line around, escaped."""
    joiners = "\u200c\u200d"  # parts of Persian words and of emoji
    return "".join(
        c if c.isprintable() or c in joiners else ascii(c)[1:-1]
        for c in word[:_MOST_SHOWN]
    )


def listed(things: Iterable[str]) -> str:
    """A list for a message, cut where it would fill the screen."""
    names = list(things)
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
