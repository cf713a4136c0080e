"""The picture encoder and the two decoders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.attention import AdditiveAttention
from mmgen.layers.captions import State, Writer
from mmgen.layers.images import Coordinates, ImageEncoder


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
    depth: int = 3  # blocks of the Transformer; the LSTM has one layer
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
        if self.depth < 1 or self.heads < 1 or self.hidden % self.heads:
            raise ValueError(
                f"depth and heads must be at least 1, and hidden a multiple of heads; "
                f"got depth {self.depth}, {self.heads} heads and hidden {self.hidden}."
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


class WordBlock(nn.Module):
    r"""Words look back at the words before them, then at the picture.

    .. math:: x \leftarrow x + \mathrm{A}(x, x_{\le}), \quad
              x \leftarrow x + \mathrm{A}(x, v), \quad
              x \leftarrow x + \mathrm{MLP}(x)

    with attentions A of normalised x.

    Args:
        width, heads: of a word's vector and of both attentions.
        feature_dim: D, of a token of the picture.
    """

    def __init__(self, width: int, heads: int, feature_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query, self.ask = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.picture = nn.Linear(feature_dim, 2 * width)
        self.out, self.tell = nn.Linear(width, width), nn.Linear(width, width)
        self.widen, self.narrow = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def split(self, tokens: Tensor) -> Tensor:
        """(B, S, H d) to (B, H, S, d)."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def of_words(self, words: Tensor) -> list[Tensor]:
        """Keys and values (B, H, S, d) of words (B, S, width)."""
        both = self.key_value(self.norms[0](words)).chunk(2, dim=2)
        return [self.split(part) for part in both]

    def of_picture(self, about: Tensor) -> list[Tensor]:
        """Keys and values (B, H, 1 + R, d) of picture tokens (B, 1 + R, D)."""
        return [self.split(part) for part in self.picture(about).chunk(2, dim=2)]

    def forward(
        self,
        words: Tensor,
        before: Sequence[Tensor],
        allowed: Tensor,
        picture: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Words (B, S, width), and what they ask the picture for, (B, H, S, d).

        Args:
            words: (B, S, width).
            before: keys and values of the words that may be seen, (B, H, K, d).
            allowed: (S, K) bool, which of these each word sees.
            picture: keys and values of the picture's tokens.
        """
        query = self.split(self.query(self.norms[0](words)))
        seen = scaled_dot_product_attention(query, before[0], before[1], allowed)
        words = words + self.out(seen.transpose(1, 2).flatten(2))
        asked = self.split(self.ask(self.norms[1](words)))
        told = scaled_dot_product_attention(asked, picture[0], picture[1])
        words = words + self.tell(told.transpose(1, 2).flatten(2))
        return words + self.narrow(gelu(self.widen(self.norms[2](words)))), asked


class TransformerWriter(Writer):
    """A causal Transformer over words that looks at the picture in every block.

    What was read of picture and words is kept as keys and values.

    Args:
        config: sizes.
        vocabulary: V words.
        max_tokens: T, longest caption.

    Source:
        Vaswani et al. 2017, the decoder of section 3.1, its norms before each part.
    """

    def __init__(
        self, config: CaptioningConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        super().__init__(vocabulary)
        width, self.max_tokens = config.hidden, max_tokens
        self.shape = (config.depth, config.heads, max_tokens, width // config.heads)
        self.embedding = nn.Embedding(self.symbols, width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.places = nn.Parameter(torch.empty(max_tokens, width))
        nn.init.normal_(self.places, std=0.3)
        self.blocks = nn.ModuleList(
            WordBlock(width, config.heads, config.feature_dim)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.words = nn.Linear(width, self.first_start)

    def _blocks(self) -> Iterator[WordBlock]:
        for block in self.blocks:
            assert isinstance(block, WordBlock)
            yield block

    def enter(self, about: Tensor) -> State:
        """Keys and values of words to come, and of picture tokens (B, 1 + R, D).

        (B, depth, H, T, d) twice, of zeros, and (B, depth, H, 1 + R, d) twice.
        """
        of_picture = [block.of_picture(about) for block in self._blocks()]
        empty = about.new_zeros(len(about), *self.shape)
        keys, values = (
            torch.stack(part, dim=1) for part in zip(*of_picture, strict=True)
        )
        return empty, empty.clone(), keys, values

    def step(self, last: Tensor, at: int, state: State) -> tuple[Tensor, State]:
        """As for ``Writer``; keys and values are written into the state itself."""
        place = torch.tensor([at], device=last.device)
        return self.read(last, place, state), state

    def read(self, last: Tensor, place: Tensor, state: State) -> Tensor:
        """Logits (B, V) after a word (B,) at ``place`` (1,), kept in ``state``."""
        words = (self.embedding(last) + self.places[place])[:, None]  # (B, 1, width)
        allowed = torch.arange(self.max_tokens, device=last.device) <= place  # (T,)
        for i, block in enumerate(self._blocks()):
            keys, values, *picture = (part[:, i] for part in state)
            key, value = block.of_words(words)
            before = (
                keys.index_copy_(2, place, key),
                values.index_copy_(2, place, value),
            )
            words, _ = block(words, before, allowed[None], picture)
        return self.words(self.norm(words[:, 0]))

    def forward(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """Arguments and result as for ``AttentionWriter``."""
        return self.words(self.norm(self._read(pictures, tokens)[0]))

    def maps(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """What words ask of each region, mean of blocks and heads, (B, T, R).

        Rows have a sum below 1: the rest goes to the token of the whole.
        """
        shares = []
        for asked, keys in self._read(pictures, tokens)[1]:
            scores = asked @ keys.mT / math.sqrt(asked.shape[3])
            shares.append(scores.softmax(dim=3).mean(dim=1))
        return torch.stack(shares).mean(dim=0)[:, :, 1:]

    def _read(
        self, pictures: Tensor, tokens: Tensor
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Words (B, T, width) after all blocks, and what each block compares.

        Of each, queries (B, H, T, d) of the words and keys (B, H, 1 + R, d) of the
        picture.
        """
        size = tokens.shape[1]
        words = self.embedding(self.shifted(tokens)) + self.places[:size]
        at = torch.arange(size, device=tokens.device)
        compared = []
        for block in self._blocks():
            picture = block.of_picture(pictures)
            before = block.of_words(words)
            words, asked = block(words, before, at[:, None] >= at, picture)
            compared.append((asked, picture[0]))
        return words, compared


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
        self.coordinates = Coordinates(config.grid, config.feature_dim)
        self.writer: AttentionWriter | TransformerWriter
        if config.decoder == "lstm":
            self.writer = AttentionWriter(config, vocabulary)
        else:
            self.writer = TransformerWriter(config, vocabulary, max_tokens)

    def look(self, images: Tensor) -> Tensor:
        """Tokens of pictures (B, 3, H, W), (B, 1 + R, D): the whole, then regions."""
        return self.coordinates(self.norm(self.pictures.tokens(images)))

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of each word of captions (B, T), given those before it."""
        return self.writer(self.look(images), tokens)
