"""From captions to integers and back."""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

PADDING, UNKNOWN = "<pad>", "<unk>"
LANGUAGES = ("en", "zh", "both")
# A run of Latin letters or digits is a word; a Chinese character is one by itself.
_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def tokenize(caption: str) -> list[str]:
    """Words of an English caption in lower case, characters of a Chinese one.

    Accents are dropped ("piñata" is the word "pinata", as English readers type it).
    """
    text = caption.lower()
    if not text.isascii():  # most captions are, and a data set reads a great many
        text = unicodedata.normalize("NFKD", text.replace("’", "'"))
        text = "".join(c for c in text if not unicodedata.combining(c))
    return _TOKEN.findall(text)


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
        """Encode what a person typed, with a warning that names unknown words.

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
        encoded = self.encode(captions, max_tokens)
        unknown = sorted({word for text in captions for word in self.unknown(text)})
        if unknown:
            warnings.warn(
                f"captions hold words that the model never saw, and cannot follow: "
                f"{', '.join(unknown)}.",
                stacklevel=4,  # where a model's own method was called
            )
        return encoded

    def encode(
        self, captions: str | Iterable[str], max_tokens: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn captions into padded indices.

        Args:
            captions: one caption or several.
            max_tokens: width T of the result; longer captions are cut. The longest
                caption by default.

        Returns:
            Tokens, shape (B, T) int64 with 0 = padding, and lengths, shape (B,) int64.

        Raises:
            ValueError: a caption without any token, or without any known one.
        """
        texts = [captions] if isinstance(captions, str) else list(captions)
        rows = []
        for text in texts:
            words = tokenize(text)
            if not words:
                raise ValueError(
                    f"captions must not be empty; got {text!r}. Write at least one "
                    f"word."
                )
            if not any(word in self._index for word in words):
                examples = ", ".join(repr(t) for t in self.tokens[2:8])
                raise ValueError(
                    f"captions must have at least one known word; got {text!r} "
                    f"(vocabulary: {len(self) - 2} tokens, e.g. {examples})."
                )
            rows.append([self._index.get(word, 1) for word in words][:max_tokens])
        width = max_tokens or max((len(row) for row in rows), default=0)
        padded = [row + [0] * (width - len(row)) for row in rows]
        tokens = torch.tensor(padded, dtype=torch.int64).reshape(len(rows), width)
        return tokens, torch.tensor([len(row) for row in rows], dtype=torch.int64)

    def decode(self, tokens: Tensor) -> list[str]:
        """Captions of token rows, shape (B, T) or (T,); padding is left out."""
        rows = tokens.reshape(-1, tokens.shape[-1]).tolist()
        texts = []
        for row in rows:
            words = [self.tokens[i] for i in row if i != 0]
            text = " ".join(words)
            # Chinese is written without spaces between its characters.
            texts.append(re.sub(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])", "", text))
        return texts

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
