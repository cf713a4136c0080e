r"""Transformer blocks over sentences of words and codes, causal or not.

One network for all that reads or writes in order here. Every token has a place: numbers
on one or more axes, such as its position among the words, or row and column in a grid.

Vaswani et al., *Attention Is All You Need*, NeurIPS 2017.
Su et al., *RoFormer: Enhanced Transformer with Rotary Position Embedding*,
Neurocomputing 568, 2024.
Zhang and Sennrich, *Root Mean Square Layer Normalization*, NeurIPS 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

# Of rotary positions: no pair takes more than 2 pi x this many places to turn once. The
# usual 10,000 is for texts of thousands of words; here no axis has more than dozens.
BASE = 100.0
INITIAL_STD = 0.02  # of fresh weights, as in GPT-2


@dataclass
class Cache:
    """Keys and values of the tokens that were read before, for all layers.

    Args:
        keys, values: (layers, B, heads, S, d) each, with room for S tokens.
    """

    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    """Multi-head attention of tokens among themselves (self-attention).

    Args:
        width: D of a token.
        heads: H; d = D / H is even.

    Source:
        Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width, bias=False)  # queries, keys, values
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        tokens: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        allowed: Tensor | None,
        at: Tensor | None = None,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Tokens (B, S, D) to (B, S, D).

        Args:
            tokens: normalised.
            rotation: cosines and sines for ``rotate``, or none.
            allowed: which keys a query may see, (B or 1, 1, S, keys) bool; None: all.
            at: (S,) where these tokens stand in ``past``.
            past: keys and values (B, H, room, d), into which theirs are written.
        """
        parts = self.project(tokens).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # of (B, S, 3, H, d)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        if past is not None and at is not None:
            key = past[0].index_copy_(2, at, key.to(past[0].dtype))
            value = past[1].index_copy_(2, at, value.to(past[1].dtype))
        context = scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.out(context.transpose(1, 2).flatten(2))


class Block(nn.Module):
    r"""Attention, then a network for each token, both beside the identity.

    .. math:: x \leftarrow x + \mathrm{Attention}(\mathrm{norm}(x)), \quad
              x \leftarrow x + \mathrm{MLP}(\mathrm{norm}(x))

    Args:
        width, heads: as for ``Attention``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.RMSNorm(width, eps=1e-6)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(
        self,
        tokens: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        allowed: Tensor,
        at: Tensor | None = None,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Arguments and result as for ``Attention``."""
        seen = self.attention(self.norm1(tokens), rotation, allowed, at, past)
        tokens = tokens + seen
        return tokens + self.narrow(gelu(self.widen(self.norm2(tokens))))


class Transformer(nn.Module):
    """Blocks of attention over tokens at places, and a last normalisation.

    Args:
        width: D of a token.
        depth: blocks.
        heads: of the attention; D / heads is even, and with "rotary" at least 2 x axes.
        axes: number of places on each axis, such as (words,) or (words, rows, columns).
        causal: a token sees itself and those before it; otherwise all.
        positions: "rotary": queries and keys are turned by their places, so that their
            product depends on the difference of places alone; "learned": a vector for
            each place of each axis is added to the tokens.

    Raises:
        ValueError: sizes that do not fit, or other positions.
    """

    frequencies: Tensor  # (A, d / 2) radians a place

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        axes: Sequence[int],
        causal: bool,
        positions: Literal["rotary", "learned"] = "rotary",
    ) -> None:
        super().__init__()
        if depth < 1 or heads < 1 or width < 1 or width % (2 * heads):
            raise ValueError(
                f"depth must be at least 1, and width a multiple of 2 x heads; got "
                f"depth {depth}, width {width} and {heads} heads."
            )
        if not axes or min(axes) < 1:
            raise ValueError(f"axes must be at least one size above 0; got {axes}.")
        if positions not in ("rotary", "learned"):
            raise ValueError(
                f'positions must be "rotary" or "learned"; got {positions!r}.'
            )
        if positions == "rotary" and width // heads < 2 * len(axes):
            raise ValueError(
                f"width must be at least 2 x heads x axes = {2 * heads * len(axes)}, a "
                f"pair to turn for each axis in each head; got {width}."
            )
        self.width, self.depth, self.heads = width, depth, heads
        self.axes, self.causal = tuple(axes), causal
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.tables: nn.ModuleList | None = None
        if positions == "learned":
            self.tables = nn.ModuleList(nn.Embedding(size, width) for size in axes)
        else:
            self.register_buffer(
                "frequencies",
                rotary_frequencies(width // heads, len(axes)),
                persistent=False,
            )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        # 2 x depth branches add up: each starts smaller, so that the sum does not grow
        smaller = INITIAL_STD / math.sqrt(2 * self.depth)
        for name, weight in self.named_parameters():
            if name.endswith(("attention.out.weight", "narrow.weight")):
                nn.init.normal_(weight, std=smaller)

    def forward(
        self,
        tokens: Tensor,
        places: Tensor,
        mask: Tensor | None = None,
        at: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Read tokens.

        Args:
            tokens: (B, S, D).
            places: (S, A) int64, the place of each on every axis.
            mask: (B, S) bool, True = a real token; of padding nothing is seen. With a
                cache, of all the tokens that it has room for.
            at: (S,) int64, where the tokens stand among those of ``cache``; given with
                it, or not at all.
            cache: of the tokens before; theirs are written into it. For causal networks
                alone: the others would see room that is not written yet.

        Returns:
            (B, S, D), normalised.

        Raises:
            ValueError: places on another number of axes, or a cache that cannot be
                used.
        """
        if places.shape != (tokens.shape[1], len(self.axes)):
            raise ValueError(
                f"places must have a row of {len(self.axes)} numbers for each of "
                f"{tokens.shape[1]} tokens; got shape {tuple(places.shape)}."
            )
        if (at is None) != (cache is None):
            raise ValueError("at and cache must be given together: one is None.")
        if cache is not None and not self.causal:
            raise ValueError(
                "cache must be None where tokens see those after them: what is kept of "
                "a token would change with every one that comes."
            )
        allowed = self._allowed(tokens, mask, at, cache)
        rotation = None
        if self.tables is not None:
            for axis, table in enumerate(self.tables):
                tokens = tokens + table(places[:, axis])
        else:
            rotation = rotation_of(places, self.frequencies, tokens)
        for i, block in enumerate(self.blocks):
            past = None if cache is None else (cache.keys[i], cache.values[i])
            tokens = block(tokens, rotation, allowed, at, past)
        return self.norm(tokens)

    def _allowed(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        at: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        """Which keys a query may see, (B or 1, 1, S, keys) bool."""
        size = tokens.shape[1] if cache is None else cache.keys.shape[3]
        keys = torch.arange(size, device=tokens.device)
        queries = keys if at is None else at
        itself = queries[:, None] == keys  # (S, keys)
        before = queries[:, None] >= keys if self.causal else torch.ones_like(itself)
        if mask is None:
            return before[None, None]
        # Padding sees itself: with nothing to see, its softmax would be 0 / 0.
        return (before & mask[:, None, None, :]) | itself

    def new_cache(self, batch: int, room: int, like: Tensor) -> Cache:
        """An empty cache for ``room`` tokens of ``batch`` rows, of a tensor's kind."""
        shape = (self.depth, batch, self.heads, room, self.width // self.heads)
        return Cache(like.new_zeros(shape), like.new_zeros(shape))


def decay_groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Groups of an optimiser: matrices of blocks, which decay, and all others."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        decays = "blocks." in name and parameter.ndim == 2
        (matrices if decays else others).append(parameter)
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]


def rotary_frequencies(size: int, axes: int) -> Tensor:
    r"""By how much each pair of a query's numbers turns per place, (axes, size / 2).

    Pairs are dealt to the axes in turn; those of an axis turn by
    :math:`100^{-i/n}`, i = 0, 1, ..., radians a place, from fast to slow, where n is
    the number of pairs of the axis that has most. Elsewhere is 0: a pair has one axis.

    Args:
        size: d of a query, even.
        axes: A.

    Source:
        Su et al. 2024, section 3.2.2, on one axis and with 10,000 in place of 100.
    """
    pairs = size // 2
    each = math.ceil(pairs / axes)
    frequencies = torch.zeros(axes, pairs)
    for pair in range(pairs):
        frequencies[pair % axes, pair] = BASE ** (-(pair // axes) / each)
    return frequencies


def rotation_of(
    places: Tensor, frequencies: Tensor, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Cosines and sines (S, d / 2) for ``rotate``, of a tensor's kind.

    Args:
        places: (S, A) int64, the place of each token on every axis.
        frequencies: of ``rotary_frequencies``, (A, d / 2).
        like: what is to be turned.
    """
    angles = (places.to(frequencies)[:, :, None] * frequencies).sum(1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(vectors: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    r"""Turn each pair of numbers (Su et al. 2024, eq. 34).

    .. math:: (a, b) \mapsto
              (a \cos\theta - b \sin\theta,\; a \sin\theta + b \cos\theta)

    Args:
        vectors: (..., S, d); the first half of d are the a, the second the b.
        rotation: cosines and sines, (S, d / 2) each.
    """
    cos, sin = rotation
    a, b = vectors.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
