"""Captions from codes, word by word.

Bowman et al., *Generating Sentences from a Continuous Space*, CoNLL 2016.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from mmgen.data.batch import word_mask
from mmgen.data.vocabulary import Vocabulary

UNKNOWN_TOKEN = 1  # of every Vocabulary
WORD_DROPOUT = 0.2  # share of words that a decoder reads as <unk> in training


class CaptionDecoder(nn.Module):
    r"""p(t|z): a caption word by word from a code, by a gated recurrent network.

    .. math:: \log p(t|z, \ell) = \sum_i \log p(t_i \mid t_{<i}, z, \ell)

    The language ℓ is given, as the symbol that a caption starts with; a caption ends
    with the padding token. In training a fifth of the words that it reads back is
    replaced by ``<unk>``: a network that can see every word before has little use for
    z.

    Args:
        vocabulary: V words; its Chinese characters mark Chinese captions.
        code_dim: Z.
        embedding_dim: of a word's vector.
        hidden_dim: of the network's state.

    Source:
        Bowman et al. 2016.
    """

    chinese: Tensor

    def __init__(
        self,
        vocabulary: Vocabulary,
        code_dim: int,
        embedding_dim: int,
        hidden_dim: int,
    ) -> None:
        super().__init__()
        size = len(vocabulary)
        # Tokens: the vocabulary, then the two symbols a caption may start with.
        self.embedding = nn.Embedding(size + 2, embedding_dim)
        self.first_start = size
        self.begin = nn.Linear(code_dim, hidden_dim)
        # A short way from the code to every word, past the recurrence: what is said
        # need not wait until the network has learned how things are said.
        self.content = nn.Sequential(
            nn.Linear(code_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
        )
        self.recurrent = nn.GRU(embedding_dim + code_dim, hidden_dim, batch_first=True)
        self.words = nn.Linear(hidden_dim, size)
        chinese = [not token.isascii() for token in vocabulary.tokens]
        self.register_buffer("chinese", torch.tensor(chinese), persistent=False)

    def start(self, tokens: Tensor) -> Tensor:
        """The symbol (B,) that captions (B, T) start with: English, or Chinese."""
        return self.first_start + self.chinese[tokens].any(dim=1).long()

    def _logits(
        self, read: Tensor, code: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, S, V) of the words after ``read`` (B, S), and the state then."""
        if state is None:
            state = torch.tanh(self.begin(code))[None]  # (1, B, H)
        codes = code[:, None].expand(-1, read.shape[1], -1)
        inputs = torch.cat([self.embedding(read), codes.to(state.dtype)], dim=2)
        hidden, state = self.recurrent(inputs, state)
        return self.words(hidden + self.content(code)[:, None]), state

    def forward(self, code: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """log p(t|z) in nats, the end of the caption included.

        Args:
            code: z, (B, Z).
            tokens, lengths: captions, (B, T) and (B,).

        Returns:
            Shape (B,), at most 0.
        """
        read = torch.cat([self.start(tokens)[:, None], tokens[:, :-1]], dim=1)
        if self.training:
            forget = torch.rand(read.shape, device=read.device) < WORD_DROPOUT
            forget[:, 0] = False
            read = read.masked_fill(forget, UNKNOWN_TOKEN)
        logits, _ = self._logits(read, code, None)  # (B, T, V)
        log_p = -cross_entropy(
            logits.float().transpose(1, 2), tokens, reduction="none"
        )  # (B, T)
        # One further than the words: the padding token that ends the caption. A caption
        # that fills all T positions has no end to predict.
        return (log_p * word_mask(lengths + 1, tokens.shape[1])).sum(dim=1)

    @torch.no_grad()
    def write(self, code: Tensor, language: str, max_tokens: int) -> Tensor:
        """Captions of codes (B, Z), the most probable word each time.

        Args:
            code: z, (B, Z).
            language: "en" or "zh"; words of the other language are not used.
            max_tokens: T, where a caption is cut.

        Returns:
            Tokens (B, T), padded with 0.
        """
        foreign = self.chinese if language == "en" else ~self.chinese
        foreign = foreign.clone()
        foreign[0] = False  # the end belongs to both
        foreign[UNKNOWN_TOKEN] = True  # is for reading, not for writing
        last = torch.full_like(code[:, 0], self.first_start, dtype=torch.int64)
        last = last + int(language == "zh")
        ended = torch.zeros_like(last, dtype=torch.bool)
        state, written = None, []
        for position in range(max_tokens):
            logits, state = self._logits(last[:, None], code, state)
            scores = logits[:, 0].float().masked_fill(foreign, -math.inf)  # (B, V)
            if position == 0:
                scores[:, 0] = -math.inf  # at least one word
            last = scores.argmax(dim=1).masked_fill(ended, 0)
            written.append(last)
            ended = ended | (last == 0)
            if ended.all():
                break
        tokens = torch.stack(written, dim=1)
        return pad(tokens, (0, max_tokens - tokens.shape[1]))
