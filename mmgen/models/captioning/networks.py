"""The picture encoder and the two decoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.attention import AdditiveAttention
from mmgen.layers.captions import State, Writer
from mmgen.layers.images import ImageEncoder
from mmgen.layers.transformer import INITIAL_STD, Cache, Transformer


@dataclass(frozen=True)
class CaptioningConfig:
    """Sizes of the encoder and the decoder, and how they learn."""

    image_size: int = 64  # height and width of the pictures; the data set's
    feature_dim: int = 128  # D, of a region and of the whole
    width: int = 48  # channels of the image encoder's first layer
    grid: int = 8  # regions across and down
    patch: int = 4  # step of the image encoder's first layer
    decoder: Literal["transformer", "lstm"] = "transformer"  # that writes the words
    hidden: int = 128  # of a word's vector and of the decoder's states
    depth: int = 4  # blocks of the Transformer; the LSTM has one layer
    heads: int = 4  # of the Transformer's attention
    # matching model whose picture encoder this one begins with: a pretrained name, or a
    # run's folder; none: from random weights
    aligned: str = ""
    learning_rate: float = 1e-3  # of AdamW
    weight_decay: float = 0.01  # of matrices

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        ["aligned", "learning_rate", "weight_decay"]
    )

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise ValueError(
                f"decoder must be one of {', '.join(DECODERS)}; got {self.decoder!r}."
            )


class AttentionWriter(Writer):
    r"""An LSTM that looks at the regions before each word (Show, Attend and Tell).

    .. math:: \alpha_i = \operatorname{softmax}_r\, w^\top
              \tanh(W h_{i-1} + U v_r), \quad
              \hat v_i = \beta_i \sum_r \alpha_{ir} v_r, \quad
              \beta_i = \sigma(f(h_{i-1}))

    .. math:: h_i, c_i = \mathrm{LSTM}([e_{i-1}; \hat v_i], h_{i-1}, c_{i-1}), \quad
              p(t_i) = \operatorname{softmax} L_o \tanh(
              e_{i-1} + L_h h_i + L_v \hat v_i)

    The first states are told by the feature of the whole picture.

    Args:
        config: sizes.
        vocabulary: V words.

    Source:
        Xu et al. 2015, sections 3.1.2 and 4.2, eqs. 1-7; the feature of the whole in
        place of the mean of the regions.
    """

    def __init__(self, config: CaptioningConfig, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)
        hidden, feature = config.hidden, config.feature_dim
        self.embedding = nn.Embedding(self.symbols, hidden)
        self.first = nn.Linear(feature, 2 * hidden)
        self.attention = AdditiveAttention(hidden, feature, hidden)
        self.gate = nn.Linear(hidden, 1)
        self.cell = nn.LSTMCell(hidden + feature, hidden)
        self.from_state = nn.Linear(hidden, hidden)
        self.from_context = nn.Linear(feature, hidden, bias=False)
        self.words = nn.Linear(hidden, self.first_start)

    def enter(self, about: Tensor) -> State:
        """States h and c, and the regions, of picture tokens (B, 1 + R, D)."""
        h, c = torch.tanh(self.first(about[:, 0])).chunk(2, dim=1)
        return h, c, about[:, 1:]

    def step(self, last: Tensor, at: int, state: State) -> tuple[Tensor, State]:
        """As for ``Writer``."""
        logits, state, _ = self.look_and_step(last, state)
        return logits, state

    def look_and_step(self, last: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        """Logits (B, V), state, and how much each region told, (B, R)."""
        h, c, regions = state
        context, weights = self.attention(h[:, None], regions)  # (B, 1, D), (B, 1, R)
        context = torch.sigmoid(self.gate(h)) * context[:, 0]  # beta_i sum alpha_i v
        word = self.embedding(last)  # e_{i-1}
        h, c = self.cell(torch.cat([word, context], dim=1), (h, c))
        output = torch.tanh(word + self.from_state(h) + self.from_context(context))
        return self.words(output), (h, c, regions), weights[:, 0]

    def forward(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of each word, given those before it.

        Args:
            pictures: tokens of them, (B, 1 + R, D).
            tokens: captions, (B, T).
        """
        return self._read(pictures, tokens)[0]

    def maps(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """How much each region told each word, (B, T, R), rows of sum 1."""
        return self._read(pictures, tokens)[1]

    def _read(self, pictures: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        state, logits, maps = self.enter(pictures), [], []
        for last in self.shifted(tokens).unbind(dim=1):
            told, state, weights = self.look_and_step(last, state)
            logits.append(told)
            maps.append(weights)
        return torch.stack(logits, dim=1), torch.stack(maps, dim=1)


class PrefixWriter(Writer):
    """A causal Transformer that reads the picture's tokens, then writes words.

    Picture and words are one sentence; what was read is kept as keys and values.

    Args:
        config: sizes.
        vocabulary: V words.
        max_tokens: T, longest caption.

    Source:
        Vaswani et al. 2017; the picture as a prefix: Mokady et al., *ClipCap*, 2021.
    """

    def __init__(
        self, config: CaptioningConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        super().__init__(vocabulary)
        width, self.side, self.max_tokens = config.hidden, config.grid, max_tokens
        self.prefix = config.grid**2 + 1
        self.from_picture = nn.Linear(config.feature_dim, width)
        self.embedding = nn.Embedding(self.symbols, width)
        nn.init.normal_(self.embedding.weight, std=INITIAL_STD)
        # words, rows, columns; place 0: not on this axis
        axes = (max_tokens + 1, config.grid + 1, config.grid + 1)
        self.transformer = Transformer(
            width, config.depth, config.heads, axes, causal=True, positions="learned"
        )
        self.words = nn.Linear(width, self.first_start)

    @property
    def room(self) -> int:
        """Tokens that are read at most: the picture's, and those before each word."""
        return self.prefix + self.max_tokens

    def places(self) -> Tensor:
        """Places (1 + R + T, 3): of the whole, of the regions, of the words."""
        device = self.words.weight.device
        cells = torch.arange(self.side**2, device=device)
        rows, columns = cells // self.side + 1, cells % self.side + 1
        words = torch.arange(1, self.max_tokens + 1, device=device)
        places = words.new_zeros(self.room, 3)
        places[1 : self.prefix, 1], places[1 : self.prefix, 2] = rows, columns
        places[self.prefix :, 0] = words
        return places

    def enter(self, about: Tensor) -> State:
        """Keys and values (B, depth, heads, room, d) of tokens (B, 1 + R, D)."""
        tokens = self.from_picture(about)
        cache = self.transformer.new_cache(len(tokens), self.room, tokens)
        at = torch.arange(self.prefix, device=tokens.device)
        self.transformer(tokens, self.places()[: self.prefix], None, at, cache)
        return cache.keys.transpose(0, 1), cache.values.transpose(0, 1)

    def step(self, last: Tensor, at: int, state: State) -> tuple[Tensor, State]:
        """As for ``Writer``; keys and values are written into the state itself."""
        place = torch.tensor([self.prefix + at], device=last.device)
        return self.read(self.embedding(last), place, state), state

    def read(self, vectors: Tensor, place: Tensor, state: State) -> Tensor:
        """Logits (B, V) after one token more.

        Args:
            vectors: (B, hidden), of the token.
            place: (1,) int64, how many stand before it.
            state: keys and values, written into.
        """
        cache = Cache(*(part.transpose(0, 1) for part in state))
        features = self.transformer(
            vectors[:, None], self.places()[place], None, place, cache
        )
        return self.words(features[:, 0])

    def sentence(self, pictures: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of picture and words, (B, 1 + R + T, hidden), and their places."""
        words = self.embedding(self.shifted(tokens))
        whole = torch.cat([self.from_picture(pictures), words], dim=1)
        return whole, self.places()[: whole.shape[1]]

    def forward(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """Arguments and result as for ``AttentionWriter``."""
        features = self.transformer(*self.sentence(pictures, tokens))
        return self.words(features[:, self.prefix :])

    def maps(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """What words take from the regions, mean of blocks and heads, (B, T, R).

        Rows have a sum below 1: words look at the whole and at each other too.
        """
        weights = self.transformer.weights(*self.sentence(pictures, tokens))
        return weights.mean(dim=(0, 2))[:, self.prefix :, 1 : self.prefix]


DECODERS = ("transformer", "lstm")


class CaptioningNetwork(nn.Module):
    """Pictures and captions to log-probabilities of the words.

    Args:
        config: sizes.
        vocabulary: V words.
        max_tokens: T, longest caption.
    """

    def __init__(
        self, config: CaptioningConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        super().__init__()
        self.pictures = ImageEncoder.small(
            config.image_size,
            config.feature_dim,
            config.width,
            config.grid,
            config.patch,
        )
        self.norm = nn.LayerNorm(config.feature_dim)
        self.writer: AttentionWriter | PrefixWriter
        if config.decoder == "lstm":
            self.writer = AttentionWriter(config, vocabulary)
        else:
            self.writer = PrefixWriter(config, vocabulary, max_tokens)

    def look(self, images: Tensor) -> Tensor:
        """Tokens of pictures (B, 3, H, W), (B, 1 + R, D): the whole, then regions."""
        return self.norm(self.pictures.tokens(images))

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of each word of captions (B, T), given those before it."""
        return self.writer(self.look(images), tokens)
