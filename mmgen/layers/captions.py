"""Captions word by word: what all that write them share, and a decoder of codes.

A caption starts with a symbol that says its language, and ends with the padding token.

Bowman et al., *Generating Sentences from a Continuous Space*, CoNLL 2016.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from mmgen.data.batch import word_mask
from mmgen.data.vocabulary import PADDING, UNKNOWN, Vocabulary
from mmgen.layers.logits import check_choice, choose, filtered

END_TOKEN, UNKNOWN_TOKEN = 0, 1  # of every Vocabulary: padding ends a caption
WORD_DROPOUT = 0.2  # share of words that a decoder of codes reads as <unk> in training
LANGUAGES = ("en", "zh")  # of captions, in the order of the symbols they start with

State = tuple[Tensor, ...]  # what a writer has read, all tensors with a row a caption


def languages_of(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Languages that captions of a vocabulary are written in."""
    language = vocabulary.language
    return LANGUAGES if language == "both" else (language,)


def chosen_language(language: str | None, vocabulary: Vocabulary) -> str:
    """The language to write in: that which was asked for, or the first.

    Raises:
        ValueError: one that the vocabulary does not have.
    """
    known = languages_of(vocabulary)
    if language is None:
        return known[0]
    if language not in known:
        raise ValueError(
            f"language must be one of {', '.join(known)}, which the model learned; got "
            f"{language!r}."
        )
    return language


class Choice(NamedTuple):
    """How a word is chosen; by default the likeliest, always."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0


class Writer(nn.Module):
    """A network that writes captions word by word.

    A subclass says in ``enter`` what it keeps of what a caption is about, and in
    ``step`` how likely each word is to come next.

    Args:
        vocabulary: V words; its Chinese characters mark Chinese captions.

    Raises:
        ValueError: a vocabulary without the symbols that start, end and pad captions.
    """

    chinese: Tensor  # (V,) bool

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        if vocabulary.tokens[:2] != (PADDING, UNKNOWN):
            raise ValueError(
                f"vocabulary must begin with {PADDING!r}, which ends captions, and "
                f"{UNKNOWN!r}; got {list(vocabulary.tokens[:2])}."
            )
        # Tokens: the vocabulary, then the symbols a caption may start with.
        self.first_start = len(vocabulary)
        self.symbols = self.first_start + len(LANGUAGES)
        chinese = [not token.isascii() for token in vocabulary.tokens]
        self.register_buffer("chinese", torch.tensor(chinese), persistent=False)

    def enter(self, about: Any) -> State:
        """What is kept of what captions are about, a row a caption."""
        raise NotImplementedError  # what that is, a subclass says

    def step(self, last: Tensor, at: int, state: State) -> tuple[Tensor, State]:
        """Logits (B, V) of the word after ``last`` (B,), which stands at ``at``."""
        raise NotImplementedError  # how words are foreseen, a subclass says

    def start(self, tokens: Tensor) -> Tensor:
        """The symbol (B,) that captions (B, T) start with: English, or Chinese."""
        return self.first_start + self.chinese[tokens].any(dim=1).long()

    def shifted(self, tokens: Tensor) -> Tensor:
        """What stands where each word is to be told, (B, T): start, t_1, ..., t_T-1."""
        return torch.cat([self.start(tokens)[:, None], tokens[:, :-1]], dim=1)

    def never(self, language: str) -> Tensor:
        """What a caption of a language must not hold, (V,) bool.

        Raises:
            ValueError: another language.
        """
        if language not in LANGUAGES:
            raise ValueError(
                f"language must be one of {', '.join(LANGUAGES)}; got {language!r}."
            )
        never = self.chinese.clone() if language == "en" else ~self.chinese
        never[END_TOKEN] = False  # the end belongs to both
        never[UNKNOWN_TOKEN] = True  # is for reading, not for writing
        return never

    def starts(self, language: str, like: Tensor) -> Tensor:
        """The symbol of a language, (B,), for the rows of a tensor."""
        symbol = self.first_start + LANGUAGES.index(language)
        return torch.full((len(like),), symbol, device=like.device)

    @torch.no_grad()
    def write(
        self,
        about: Any,
        language: str,
        max_tokens: int,
        noise: Tensor | None = None,
        choice: Choice = Choice(),  # noqa: B008 - it is frozen
        prompt: Tensor | None = None,
    ) -> Tensor:
        """Captions, one word after the other.

        Args:
            about: what ``enter`` takes.
            language: "en" or "zh"; words of the other language are not used.
            max_tokens: T, where a caption is cut.
            noise: (B, T) standard normal, one number a word; needed unless the
                temperature is 0.
            choice: how words are chosen.
            prompt: (P,) words that every caption begins with, P <= T.

        Returns:
            Tokens (B, T), padded with 0.

        Raises:
            ValueError: another language, a choice that ``filtered`` cannot use, a
                prompt longer than T, or noise that lacks or has another shape.
        """
        check_choice(*choice)
        never = self.never(language)
        given = [] if prompt is None else prompt.tolist()
        if len(given) > max_tokens:
            raise ValueError(
                f"prompt must have at most max_tokens = {max_tokens} words; got "
                f"{len(given)}."
            )
        state = self.enter(about)
        last = self.starts(language, state[0])
        if noise is None and choice.temperature:
            raise ValueError(
                f"noise must be given with a temperature above 0, a number a word; got "
                f"None with {choice.temperature}."
            )
        if noise is not None and tuple(noise.shape) != (len(last), max_tokens):
            raise ValueError(
                f"noise must have shape {(len(last), max_tokens)}, a row a caption; "
                f"got {tuple(noise.shape)}."
            )
        ended = torch.zeros_like(last, dtype=torch.bool)
        written: list[Tensor] = []
        for position in range(max_tokens):
            logits, state = self.step(last, position, state)
            if position < len(given):
                last = torch.full_like(last, given[position])
            else:
                scores = logits.float().masked_fill(never, -math.inf)  # (B, V)
                if position == 0:
                    scores[:, END_TOKEN] = -math.inf  # at least one word
                if noise is None:
                    last = scores.argmax(dim=1)
                else:
                    last = choose(filtered(scores, *choice), noise[:, position])
            last = last.masked_fill(ended, END_TOKEN)
            written.append(last)
            ended = ended | (last == END_TOKEN)
            if ended.all():
                break
        tokens = torch.stack(written, dim=1)
        return pad(tokens, (0, max_tokens - tokens.shape[1]))


def caption_log_p(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    r"""log p of captions, word by word and the end included, (B, T) nats.

    .. math:: \log p(t_i \mid t_{<i}), \quad i = 1, \ldots, |t| + 1

    What follows the end is 0; a caption that fills all T places has no end to tell.

    Args:
        logits: (B, T, V), of the word at each place.
        tokens, lengths: captions, (B, T) and (B,).
    """
    wrong = cross_entropy(logits.float().transpose(1, 2), tokens, reduction="none")
    return -wrong * word_mask(lengths + 1, tokens.shape[1])


class CaptionDecoder(Writer):
    r"""p(t|z): a caption word by word from a code, by a gated recurrent network.

    .. math:: \log p(t|z, \ell) = \sum_i \log p(t_i \mid t_{<i}, z, \ell)

    The language ℓ is given, as the symbol that a caption starts with. In training a
    fifth of the words that it reads back is replaced by ``<unk>``: a network that can
    see every word before has little use for z.

    Args:
        vocabulary: V words; its Chinese characters mark Chinese captions.
        code_dim: Z.
        embedding_dim: of a word's vector.
        hidden_dim: of the network's state.

    Source:
        Bowman et al. 2016.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        code_dim: int,
        embedding_dim: int,
        hidden_dim: int,
    ) -> None:
        super().__init__(vocabulary)
        self.embedding = nn.Embedding(self.symbols, embedding_dim)
        self.begin = nn.Linear(code_dim, hidden_dim)
        # A short way from the code to every word, past the recurrence: what is said
        # need not wait until the network has learned how things are said.
        self.content = nn.Sequential(
            nn.Linear(code_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
        )
        self.recurrent = nn.GRU(embedding_dim + code_dim, hidden_dim, batch_first=True)
        self.words = nn.Linear(hidden_dim, self.first_start)

    def _logits(
        self, read: Tensor, code: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, S, V) of the words after ``read`` (B, S), and the state then."""
        codes = code[:, None].expand(-1, read.shape[1], -1)
        inputs = torch.cat([self.embedding(read), codes.to(hidden.dtype)], dim=2)
        states, last = self.recurrent(inputs, hidden[None])
        return self.words(states + self.content(code)[:, None]), last[0]

    def enter(self, about: Tensor) -> State:
        """The first state, and the code z (B, Z) itself."""
        return torch.tanh(self.begin(about)), about

    def step(self, last: Tensor, at: int, state: State) -> tuple[Tensor, State]:
        """As for ``Writer``."""
        hidden, code = state
        logits, hidden = self._logits(last[:, None], code, hidden)
        return logits[:, 0], (hidden, code)

    def forward(self, code: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """log p(t|z) in nats, the end of the caption included.

        Args:
            code: z, (B, Z).
            tokens, lengths: captions, (B, T) and (B,).

        Returns:
            Shape (B,), at most 0.
        """
        read = self.shifted(tokens)
        if self.training:
            forget = torch.rand(read.shape, device=read.device) < WORD_DROPOUT
            forget[:, 0] = False
            read = read.masked_fill(forget, UNKNOWN_TOKEN)
        hidden, _ = self.enter(code)
        logits, _ = self._logits(read, code, hidden)  # (B, T, V)
        return caption_log_p(logits, tokens, lengths).sum(dim=1)
