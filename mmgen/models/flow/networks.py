r"""A Transformer from a point of the path, its time and a caption to a velocity.

The point is cut into squares, a token each (Peebles and Xie's diffusion Transformer,
DiT). Time sets scales, shifts and gates of every block; words are read by attention,
one by one, and so can each of them change another place of the picture.

Peebles and Xie, *Scalable Diffusion Models with Transformers*, ICCV 2023.
Chen et al., *PixArt-α*, ICLR 2024.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad, scaled_dot_product_attention, silu

from mmgen.data.batch import word_mask
from mmgen.layers.guidance import check_caption_dropout, check_guidance
from mmgen.layers.text import UNIT_RANGE, TextEncoder
from mmgen.layers.transformer import (
    INITIAL_STD,
    Attention,
    Transformer,
    rotary_frequencies,
    rotate,
    rotation_of,
)
from mmgen.layers.validation import require_positive
from mmgen.models.flow.solvers import time_grid

AXES = 3  # of places: words, rows, columns; place 0: not on this axis
WAVES = 64  # pairs of features of the time
PLACE_STD = 0.5  # of fresh vectors of places: about that of fresh tokens
MODULATIONS = 9  # shift, scale and gate of the three parts of a block


@dataclass(frozen=True)
class FlowConfig:
    """Sizes and training of a flow from noise to pictures."""

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        [
            *("tokenizer", "aligned", "time_mean", "time_deviation"),
            *("learning_rate", "weight_decay"),
        ]
    )

    # autoencoder whose codes' vectors are drawn: a pretrained name, or a run's folder;
    # "": pixels are drawn
    tokenizer: str = "vq-shapes64"
    channels: int = 6  # C of latents, at most: the main directions of the vectors
    network: Literal["transformer", "unet"] = "transformer"  # from points to velocities
    patch: int = 1  # side of the squares of latents, or of pixels, that are a token
    width: int = 128  # D of a token; of the U-Net at its coarse grid
    depth: int = 6  # blocks over the picture; of the U-Net at its coarse grid
    heads: int = 4  # of the attention
    embedding_dim: int = 64  # of a token's vector in the text encoder
    feature_dim: int = 128  # of its word features
    # matching model as whose the text encoder begins: a pretrained name, or a run's
    # folder; "": fresh
    aligned: str = ""
    text_depth: int = 2  # blocks over the words
    caption_dropout: float = 0.1  # share of captions left out, which guidance needs
    guidance: float = 1.0  # of drawing, where nothing else is asked for
    draw_steps: int = 25  # of drawing, where nothing else is asked for
    time_mean: float = -0.5  # m of logit-normal training times: below 0 toward noise
    time_deviation: float = 1.2  # d of them
    learning_rate: float = 1e-3  # of AdamW
    weight_decay: float = 0.01  # of the blocks' matrices

    def __post_init__(self) -> None:
        check_caption_dropout(self.caption_dropout)
        check_guidance(self.guidance, self.caption_dropout)
        time_grid(self.draw_steps)  # refuses what cannot be drawn with
        if not math.isfinite(self.time_mean):
            raise ValueError(f"time_mean must be a number; got {self.time_mean}.")
        require_positive(
            time_deviation=self.time_deviation,
            patch=self.patch,
            channels=self.channels,
        )


class Words(NamedTuple):
    """Captions as vectors, with one in front of each that says "a picture"."""

    features: Tensor  # (B, 1 + T, D)
    mask: Tensor  # (B, 1 + T) bool, True = a real word; the first always is


class Placed(NamedTuple):
    """Tokens of pictures, and how attention turns them and the words."""

    tokens: Tensor  # (B, N, D)
    rotation: tuple[Tensor, Tensor]  # cosines and sines of the tokens' places
    word_rotation: tuple[Tensor, Tensor]  # of the words'


def begin_linear(linear: nn.Linear) -> None:
    """Glorot and Bengio's range for the weights, and no bias."""
    nn.init.xavier_uniform_(linear.weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


class WordReader(nn.Module):
    """Captions to vectors of their words, each of which knows its neighbours.

    Args:
        config: sizes.
        vocabulary_size: V of the captions.
        max_tokens: T, longest caption.
    """

    def __init__(
        self, config: FlowConfig, vocabulary_size: int, max_tokens: int
    ) -> None:
        super().__init__()
        width = config.width
        # "A picture", in front of every caption: what is read where nothing is said.
        self.nothing = nn.Parameter(torch.empty(width))
        self.encoder = TextEncoder(
            vocabulary_size,
            config.embedding_dim,
            config.feature_dim,
            dropout=0.0,
            word_range=UNIT_RANGE,
        )
        self.words = nn.Linear(config.feature_dim, width)
        self.text = Transformer(
            width, config.text_depth, config.heads, (max_tokens + 1,), causal=False
        )
        begin_linear(self.words)
        nn.init.normal_(self.nothing, std=INITIAL_STD)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Words:
        """Captions as vectors; they do not depend on the time, and are read once.

        Args:
            tokens: (B, T) int64.
            lengths: (B,), of which 0 is no caption at all.
        """
        mask = pad(word_mask(lengths, tokens.shape[1]), (1, 0), value=True)
        read = self.nothing.expand(len(tokens), 1, -1)
        if tokens.shape[1]:  # else no caption has a word
            # the encoder reads at least one; of no caption the mask hides it
            features, _ = self.encoder(tokens, lengths.clamp(min=1))
            read = torch.cat([read, self.words(features)], dim=1)
        places = torch.arange(mask.shape[1], device=tokens.device)[:, None]
        return Words(self.text(read, places, mask), mask)


class WordAttention(nn.Module):
    """Multi-head attention of the tokens of a picture to words (cross-attention).

    Both are turned by their places, on axes of their own. So a product of the two
    depends on the row and the column in the picture, and on the place in the caption.

    Args:
        width: D of a token, and of a word.
        heads: H; d = D / H is even, and at least 6.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        pieces: Tensor,
        rotation: tuple[Tensor, Tensor],
        words: Words,
        word_rotation: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Pieces (B, N, D) to what they read, (B, N, D).

        Args:
            pieces: normalised.
            rotation, word_rotation: cosines and sines for ``rotate``.
            words: that are read.
        """
        query = self.query(pieces).unflatten(2, (self.heads, -1)).transpose(1, 2)
        both = self.key_value(words.features).unflatten(2, (2, self.heads, -1))
        key, value = both.permute(2, 0, 3, 1, 4)  # of (B, 1 + T, 2, H, d)
        context = scaled_dot_product_attention(
            rotate(query, rotation),
            rotate(key, word_rotation),
            value,
            attn_mask=words.mask[:, None, None],
        )
        return self.out(context.transpose(1, 2).flatten(2))


class FlowBlock(nn.Module):
    r"""Attention to the picture, to the words, and a network for each token.

    .. math:: x \leftarrow x + g \odot
              F\bigl((1 + \gamma) \odot \mathrm{norm}(x) + \beta\bigr)

    for each of the three F. Shift β, scale γ and gate g are functions of the time, one
    for all blocks plus an offset of this block's own. All begin as 0 (adaLN-zero): a
    fresh block is the identity.

    Args:
        width, heads: as for ``WordAttention``.

    Source:
        Peebles and Xie 2023, section 3.2; the shared function is PixArt-α's
        (adaLN-single, section 2.3): one a block would be a third of all weights.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.reading = WordAttention(width, heads)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.offsets = nn.Parameter(torch.zeros(MODULATIONS * width))

    def forward(
        self,
        pieces: Tensor,
        modulation: Tensor,
        rotation: tuple[Tensor, Tensor],
        words: Words,
        word_rotation: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Pieces (B, N, D) to the same.

        Args:
            modulation: (B, 9 D), before the offsets.
            rotation, words, word_rotation: as for ``WordAttention``.
        """
        parts = (modulation + self.offsets)[:, None].chunk(MODULATIONS, dim=2)
        (b1, c1, g1), (b2, c2, g2), (b3, c3, g3) = parts[:3], parts[3:6], parts[6:]
        seen = self.attention(self._modulated(pieces, b1, c1), rotation, None)
        pieces = pieces + g1 * seen
        asking = self._modulated(pieces, b2, c2)
        pieces = pieces + g2 * self.reading(asking, rotation, words, word_rotation)
        each = gelu(self.widen(self._modulated(pieces, b3, c3)))
        return pieces + g3 * self.narrow(each)

    def _modulated(self, pieces: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return (1 + scale) * self.norm(pieces) + shift


def time_features(time: Tensor) -> Tensor:
    """Cosines and sines of times (B,) in [0, 1], (B, 2 x 64).

    Made for 1,000 times the time, as DiT's are for DDPM's index. Of the time itself all
    but the fastest would hardly change.
    """
    speeds = torch.arange(WAVES, device=time.device, dtype=torch.float32) / WAVES
    angles = 1000 * time[:, None] * torch.exp(-math.log(10_000) * speeds)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeNetwork(nn.Module):
    """Times to vectors.

    Args:
        width: D of a vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * WAVES, width)
        self.second = nn.Linear(width, width)
        begin_linear(self.first)
        begin_linear(self.second)

    def forward(self, time: Tensor) -> Tensor:
        """Times (B,) in [0, 1] to (B, D)."""
        features = time_features(time).to(self.first.weight)
        return silu(self.second(silu(self.first(features))))


class Places(nn.Module):
    """Where the tokens of a picture stand, told twice.

    Attention turns them by their places, and so by differences of these; a vector for
    each place says which it is.

    Args:
        width: D of a token.
        heads: of the attention.
        side: rows and columns of the grid of tokens.
    """

    frequencies: Tensor  # (3, d / 2) radians a place
    grid: Tensor  # (N, 3) places of the tokens

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(side**2, width))
        # as loud as what is drawn there: where things are is decided first
        nn.init.normal_(self.vectors, std=PLACE_STD)
        count = torch.arange(side**2)
        grid = [torch.zeros_like(count), count // side + 1, count % side + 1]
        self.register_buffer("grid", torch.stack(grid, dim=1), persistent=False)
        frequencies = rotary_frequencies(width // heads, AXES)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, tokens: Tensor, words: Words) -> Placed:
        """Tokens (B, N, D) at their places, beside what turns them and the words."""
        places = torch.arange(words.mask.shape[1], device=tokens.device)
        places = pad(places[:, None], (0, AXES - 1))
        rotation = rotation_of(self.grid, self.frequencies, tokens)
        turned = rotation_of(places, self.frequencies, tokens)
        return Placed(tokens + self.vectors, rotation, turned)


def patchify(latents: Tensor, patch: int) -> Tensor:
    """Latents (B, C, h, w) to tokens (B, N, patch² C), row by row."""
    batch, channels, height, width = latents.shape
    cut = (batch, channels, height // patch, patch, width // patch, patch)
    return latents.reshape(cut).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(tokens: Tensor, patch: int, side: int) -> Tensor:
    """Tokens (B, N, patch² C) to latents (B, C, side, side)."""
    many = side // patch
    cut = tokens.reshape(len(tokens), many, many, patch, patch, -1)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(len(tokens), -1, side, side)


class VelocityNetwork(nn.Module, ABC):
    """Points, times and captions to velocities.

    Args:
        config: sizes.
        vocabulary_size: V of the captions.
        max_tokens: T, longest caption.
        channels: C of the latents.
        side: h = w of the latents, a multiple of ``config.patch``.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self,
        config: FlowConfig,
        vocabulary_size: int,
        max_tokens: int,
        channels: int,
        side: int,
    ) -> None:
        super().__init__()
        self._check(config, side)
        self.channels, self.side, self.patch = channels, side, config.patch
        self.max_tokens = max_tokens
        self.reader = WordReader(config, vocabulary_size, max_tokens)
        self.time = TimeNetwork(config.width)

    @staticmethod
    def _check(config: FlowConfig, side: int) -> None:
        """Refuse sizes that do not fit, before anything is made of them."""
        width, patch = config.width, config.patch
        if side % patch or side < patch:
            raise ValueError(
                f"config.patch must divide the side of the latents, {side}; got "
                f"{patch}."
            )
        if config.depth < 1 or config.heads < 1 or width < 2 * AXES * config.heads:
            raise ValueError(
                f"config.depth must be at least 1, and width at least 6 x heads, a "
                f"pair to turn for each axis of places; got depth {config.depth}, "
                f"width {width} and {config.heads} heads."
            )

    def read(self, tokens: Tensor, lengths: Tensor) -> Words:
        """Captions as ``WordReader`` reads them: once, for all times."""
        return self.reader(tokens, lengths)

    def velocity(self, points: Tensor, time: Tensor, words: Words) -> Tensor:
        """Velocities (B, C, h, w) of points (B, C, h, w) at times (B,).

        Raises:
            ValueError: points of another size.
        """
        size = (self.channels, self.side, self.side)
        if points.ndim != 4 or tuple(points.shape[1:]) != size:
            raise ValueError(
                f"latents must be of shape (B, {self.channels}, {self.side}, "
                f"{self.side}), the size that this network draws; got "
                f"{tuple(points.shape)}."
            )
        return self._velocity(points, self.time(time), words).to(points.dtype)

    @abstractmethod
    def _velocity(self, points: Tensor, told: Tensor, words: Words) -> Tensor:
        """As ``velocity``, of times as vectors (B, D)."""

    def forward(
        self, points: Tensor, time: Tensor, tokens: Tensor, lengths: Tensor
    ) -> Tensor:
        """As ``velocity``, of captions as for ``read``."""
        return self.velocity(points, time, self.read(tokens, lengths))


class VelocityTransformer(VelocityNetwork):
    """Squares of the points as tokens; arguments as for ``VelocityNetwork``."""

    def __init__(
        self,
        config: FlowConfig,
        vocabulary_size: int,
        max_tokens: int,
        channels: int,
        side: int,
    ) -> None:
        super().__init__(config, vocabulary_size, max_tokens, channels, side)
        width, patch = config.width, config.patch
        self.enter = nn.Linear(channels * patch**2, width)
        self.places = Places(width, config.heads, side // patch)
        self.modulate = nn.Linear(width, MODULATIONS * width)
        self.blocks = nn.ModuleList(
            FlowBlock(width, config.heads) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.last_modulate = nn.Linear(width, 2 * width)
        self.last = nn.Linear(width, channels * patch**2)
        for part in (self.enter, *self.blocks.modules()):
            if isinstance(part, nn.Linear):
                begin_linear(part)
        for linear in (self.modulate, self.last_modulate, self.last):
            nn.init.zeros_(linear.weight)  # at first the velocity is 0
            nn.init.zeros_(linear.bias)

    def _velocity(self, points: Tensor, told: Tensor, words: Words) -> Tensor:
        modulation = self.modulate(told)
        tokens = self.enter(patchify(points, self.patch))
        pieces, rotation, word_rotation = self.places(tokens, words)
        for block in self.blocks:
            pieces = block(pieces, modulation, rotation, words, word_rotation)
        shift, scale = self.last_modulate(told)[:, None].chunk(2, dim=2)
        pieces = self.last((1 + scale) * self.norm(pieces) + shift)
        return unpatchify(pieces, self.patch, self.side)
