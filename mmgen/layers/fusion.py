r"""From several modalities to one vector: eight ways to fuse.

A modality comes as tokens (B, S, D), such as the regions of a picture or the words of a
caption; a vector is one token. Each fusion takes two or more of them, any of which a
sample, or the whole batch, may lack: what is masked or missing changes no output.

Those of vectors first make one of a modality's tokens, by ``Pool``: then no word can
look at a region any more. ``CrossAttention`` and ``Bottleneck`` fuse tokens.

Baltrušaitis, Ahuja and Morency, *Multimodal Machine Learning: A Survey and Taxonomy*,
TPAMI 2019, section 6.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad, relu, scaled_dot_product_attention

Modalities = Sequence[Tensor | None]
FusionName = Literal[
    "concatenation",
    "sum",
    "weighted-mean",
    "gated",
    "film",
    "bilinear",
    "cross-attention",
    "bottleneck",
]


class Fusion(nn.Module, ABC):
    """Two or more modalities to one vector.

    Args:
        dims: D_m, size of a token of each modality.
        feature_dim: D of what is given back.
        hidden: size of what is fused.

    Raises:
        ValueError: fewer than two modalities, or a size below 1.
    """

    def __init__(self, dims: Sequence[int], feature_dim: int, hidden: int) -> None:
        super().__init__()
        if len(dims) < 2:
            raise ValueError(
                f"dims must name the sizes of two modalities or more; got {list(dims)}."
            )
        if min(*dims, feature_dim, hidden) < 1:
            raise ValueError(
                f"dims, feature_dim and hidden must be at least 1; got {list(dims)}, "
                f"{feature_dim} and {hidden}."
            )
        self.dims, self.feature_dim, self.hidden = tuple(dims), feature_dim, hidden
        self.out = nn.Linear(hidden, feature_dim)

    @abstractmethod
    def fuse(self, tokens: list[Tensor], masks: list[Tensor]) -> Tensor:
        """Tokens (B, S_m, D_m), 0 where masks (B, S_m) are False, to (B, hidden)."""

    def forward(
        self, modalities: Modalities, masks: Sequence[Tensor | None] | None = None
    ) -> Tensor:
        """Fuse a batch.

        Args:
            modalities: tokens (B, S_m, D_m) of each; None: the whole batch lacks it.
            masks: (B, S_m) bool for each, True = a real token; a sample without any
                lacks the modality. None, for one or for all: all tokens are real.

        Returns:
            (B, feature_dim).

        Raises:
            ValueError: another number of modalities or masks, shapes that do not fit,
                or no modality in the batch; on the CPU also a sample that lacks all of
                them. (On a GPU to look would mean to wait; such a row is finite, and
                means nothing.)
        """
        tokens, given = self._checked(modalities, masks)
        return self.out(self.fuse(tokens, given))

    def each(self, first: Tensor, last: Tensor) -> Tensor:
        """Fuse each token of the last of two modalities with the first, in order.

        No token sees one after it: what a causal network says of words stays causal.
        Here each is fused by itself; a fusion of tokens lets it see those before.

        Args:
            first: (B, S_1, D_1), all of whose tokens each is fused with.
            last: (B, S_2, D_2).

        Returns:
            (B, S_2, feature_dim).
        """
        alone = last.flatten(0, 1)[:, None]
        fused = self([first.repeat_interleave(last.shape[1], dim=0), alone])
        return fused.unflatten(0, last.shape[:2])

    def _checked(
        self, modalities: Modalities, masks: Sequence[Tensor | None] | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """All modalities and masks, as ``fuse`` takes them."""
        masks = [None] * len(self.dims) if masks is None else masks
        for name, entries in (("modalities", modalities), ("masks", masks)):
            if isinstance(entries, Tensor) or len(entries) != len(self.dims):
                what = "a tensor" if isinstance(entries, Tensor) else f"{len(entries)}"
                raise ValueError(
                    f"{name} must be a list of {len(self.dims)}, one entry a modality; "
                    f"got {what}."
                )
        here = [tokens for tokens in modalities if tokens is not None]
        if not here:
            raise ValueError(
                "modalities must hold at least one; all are None, and there is nothing "
                "to fuse."
            )
        batch = len(here[0])
        tokens, kept = [], []
        for m, (given, mask, dim) in enumerate(
            zip(modalities, masks, self.dims, strict=True)
        ):
            if given is None:
                given = here[0].new_zeros(batch, 1, dim)
                mask = torch.zeros(batch, 1, dtype=torch.bool, device=given.device)
            if (
                given.ndim != 3
                or given.shape[::2] != (batch, dim)
                or not given.shape[1]
            ):
                raise ValueError(
                    f"modalities[{m}] must be of shape (B, S, D) with B = {batch}, as "
                    f"the others, S at least 1 and D = {dim}; got "
                    f"{tuple(given.shape)}. A vector is a single token: "
                    f"vector[:, None]."
                )
            if mask is None:
                mask = torch.ones(
                    given.shape[:2], dtype=torch.bool, device=given.device
                )
            if mask.shape != given.shape[:2] or mask.dtype != torch.bool:
                raise ValueError(
                    f"masks[{m}] must be bool of shape {tuple(given.shape[:2])}, True "
                    f"= a real token; got {mask.dtype}, {tuple(mask.shape)}."
                )
            # Filled, and not multiplied by 0: NaN times 0 is NaN.
            tokens.append(given.masked_fill(~mask[:, :, None], 0.0))
            kept.append(mask)
        if here[0].device.type == "cpu" and not torch.compiler.is_compiling():
            has = torch.stack([mask.any(dim=1) for mask in kept]).any(dim=0)
            if not has.all():
                rows = (~has).nonzero().flatten().tolist()
                raise ValueError(
                    f"masks must leave every sample at least one modality; samples "
                    f"{rows[:5]} of {batch} have none."
                )
        return tokens, kept


def weights_of(scores: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    """A softmax over what the mask keeps, 0 elsewhere; all 0 where it keeps nothing."""
    scores = scores.masked_fill(~mask, -torch.inf)
    # a row of -inf alone has no softmax: it is given zeros first
    scores = torch.where(mask.any(dim=dim, keepdim=True), scores, 0.0)
    return scores.softmax(dim=dim).masked_fill(~mask, 0.0)


class Pool(nn.Module):
    r"""One vector of tokens: their mean, weighted by what each of them says.

    .. math:: \alpha_s = \operatorname{softmax}_s(w^\top x_s), \qquad
              x = \sum_s \alpha_s x_s

    A single token is given back as it is.

    Args:
        dim: D of a token.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, S, D) and their mask (B, S) to (B, D); without a token, 0."""
        weights = weights_of(self.score(tokens).squeeze(2), mask)  # (B, S)
        return (weights[:, None] @ tokens).squeeze(1)


class VectorFusion(Fusion):
    """A fusion of one vector a modality."""

    def __init__(self, dims: Sequence[int], feature_dim: int, hidden: int) -> None:
        super().__init__(dims, feature_dim, hidden)
        self.pools = nn.ModuleList(Pool(dim) for dim in dims)

    def fuse(self, tokens: list[Tensor], masks: list[Tensor]) -> Tensor:
        """Arguments and result as for ``Fusion``."""
        vectors = [
            pool(x, mask)
            for pool, x, mask in zip(self.pools, tokens, masks, strict=True)
        ]
        has = torch.stack([mask.any(dim=1) for mask in masks], dim=1)
        return self.fuse_vectors(vectors, has)

    @abstractmethod
    def fuse_vectors(self, vectors: list[Tensor], has: Tensor) -> Tensor:
        """Vectors x_m (B, D_m), 0 where missing, and which are there (B, M) bool."""


def _projections(dims: Sequence[int], hidden: int, bias: bool = True) -> nn.ModuleList:
    """One linear map to ``hidden`` for each modality."""
    return nn.ModuleList(nn.Linear(dim, hidden, bias) for dim in dims)


class Concatenation(VectorFusion):
    r"""Side by side, through a hidden layer.

    .. math:: h = \operatorname{relu}(W [x_1; \ldots; x_M; p])

    p has a 1 for each modality that is there: a missing one is not taken for zeros. One
    linear map of :math:`[x_1; x_2]`, without the hidden layer, could only add up what
    each modality says by itself.
    """

    def __init__(self, dims: Sequence[int], feature_dim: int, hidden: int) -> None:
        super().__init__(dims, feature_dim, hidden)
        self.join = nn.Linear(sum(dims) + len(dims), hidden)

    def fuse_vectors(self, vectors: list[Tensor], has: Tensor) -> Tensor:
        """Arguments and result as for ``VectorFusion``."""
        return relu(self.join(torch.cat([*vectors, has.to(vectors[0])], dim=1)))


class Sum(VectorFusion):
    r"""The sum of a linear map of each.

    .. math:: h = \operatorname{relu}\Big(\sum_{m \text{ there}} W_m x_m + b_m\Big)
    """

    def __init__(self, dims: Sequence[int], feature_dim: int, hidden: int) -> None:
        super().__init__(dims, feature_dim, hidden)
        self.maps = _projections(dims, hidden)

    def mapped(self, vectors: list[Tensor]) -> Tensor:
        """W_m x_m + b_m of each modality, (B, M, hidden)."""
        pairs = zip(self.maps, vectors, strict=True)
        return torch.stack([linear(x) for linear, x in pairs], dim=1)

    def fuse_vectors(self, vectors: list[Tensor], has: Tensor) -> Tensor:
        """Arguments and result as for ``VectorFusion``."""
        return relu((self.mapped(vectors) * has[:, :, None]).sum(dim=1))


class WeightedMean(Sum):
    r"""A mean with learned weights, over the modalities that are there.

    .. math:: h = \operatorname{relu}\Big(\sum_m \alpha_m (W_m x_m + b_m)\Big), \qquad
              \alpha = \operatorname{softmax}_{m \text{ there}}(a)

    A sum shrinks where a modality is missing; a mean keeps its size.
    """

    def __init__(self, dims: Sequence[int], feature_dim: int, hidden: int) -> None:
        super().__init__(dims, feature_dim, hidden)
        self.scores = nn.Parameter(torch.zeros(len(dims)))

    def fuse_vectors(self, vectors: list[Tensor], has: Tensor) -> Tensor:
        """Arguments and result as for ``VectorFusion``."""
        weights = weights_of(self.scores.expand(has.shape), has)  # (B, M)
        return relu((weights[:, None] @ self.mapped(vectors)).squeeze(1))


class GatedUnit(Sum):
    r"""Gates that look at all modalities choose, number by number, which to believe.

    .. math:: h = \sum_m z_m \odot \tanh(W_m x_m + b_m), \qquad
              z = \operatorname{softmax}_{m \text{ there}}(U_m [x_1; \ldots; x_M])

    Of two modalities :math:`z_2 = 1 - z_1`, a sigmoid, as in the paper.

    Source: Arevalo et al., *Gated Multimodal Units for Information Fusion*, 2017.
    """

    def __init__(self, dims: Sequence[int], feature_dim: int, hidden: int) -> None:
        super().__init__(dims, feature_dim, hidden)
        self.gates = nn.Linear(sum(dims), len(dims) * hidden, bias=False)

    def fuse_vectors(self, vectors: list[Tensor], has: Tensor) -> Tensor:
        """Arguments and result as for ``VectorFusion``."""
        scores = self.gates(torch.cat(vectors, dim=1)).unflatten(1, (len(vectors), -1))
        gates = weights_of(scores, has[:, :, None].expand(scores.shape))
        return (gates * self.mapped(vectors).tanh()).sum(dim=1)


class LowRankBilinear(Sum):
    r"""All products of a number of one modality with one of the other, in few numbers.

    .. math:: h = \prod_{m \text{ there}} \tanh(W_m x_m + b_m)

    The biases keep each modality's own part in the product.

    Source: Kim et al., *Hadamard Product for Low-rank Bilinear Pooling*, ICLR 2017; Liu
    et al., *Efficient Low-rank Multimodal Fusion*, ACL 2018.
    """

    def fuse_vectors(self, vectors: list[Tensor], has: Tensor) -> Tensor:
        """Arguments and result as for ``VectorFusion``."""
        factors = self.mapped(vectors).tanh()
        return torch.where(has[:, :, None], factors, 1.0).prod(dim=1)


class FiLM(Fusion):
    r"""The other modalities scale and shift every token of the first.

    .. math:: h = \operatorname{pool}_s \operatorname{relu}\big(
              (1 + \gamma) \odot W x_s + \beta\big), \qquad
              [\gamma; \beta] = \sum_{m > 1 \text{ there}} U_m x_m

    Where the first is missing, a learned token stands for it.

    Source: Perez et al., *FiLM: Visual Reasoning with a General Conditioning Layer*,
    AAAI 2018.
    """

    def __init__(self, dims: Sequence[int], feature_dim: int, hidden: int) -> None:
        super().__init__(dims, feature_dim, hidden)
        self.map = nn.Linear(dims[0], hidden)
        self.pools = nn.ModuleList(Pool(dim) for dim in (hidden, *dims[1:]))
        self.modulate = _projections(dims[1:], 2 * hidden, bias=False)
        self.missing = nn.Parameter(torch.zeros(hidden))

    def fuse(self, tokens: list[Tensor], masks: list[Tensor]) -> Tensor:
        """Arguments and result as for ``Fusion``."""
        has = masks[0].any(dim=1)  # (B,)
        mapped = self.map(tokens[0])  # (B, S, hidden)
        mapped = torch.where(has[:, None, None], mapped, self.missing)
        modulation = mapped.new_zeros(len(mapped), 2 * self.hidden)
        for linear, pool, x, mask in zip(
            self.modulate, self.pools[1:], tokens[1:], masks[1:], strict=True
        ):
            modulation = modulation + linear(pool(x, mask))  # 0 where it is missing
        gamma, beta = modulation[:, None].chunk(2, dim=2)  # (B, 1, hidden)
        modulated = relu((1 + gamma) * mapped + beta)
        return self.pools[0](modulated, masks[0] | ~has[:, None])


# ------------------------------------------------------------------------- over tokens


class Attention(nn.Module):
    """Multi-head attention of tokens to others, after a normalisation of each.

    Args:
        width: D of a token that asks, and of what is given back.
        heads: H, a divisor of D.
        other: size of a token that answers; by default tokens ask each other.
    """

    def __init__(self, width: int, heads: int, other: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.other_norm = None if other is None else nn.LayerNorm(other)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(other or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor, others: Tensor | None) -> Tensor:
        """What tokens (B, S, D) read, (B, S, D); where all is masked, exactly 0.

        Args:
            tokens: that ask.
            mask: (B, R) bool, of those which answer; (B, S, R) where it depends on who
                asks.
            others: that answer, (B, R, other); None: the tokens themselves.
        """
        tokens = self.norm(tokens)
        if others is None or self.other_norm is None:
            others = tokens
        else:
            others = self.other_norm(others)
        parts = (self.query(tokens), *self.key_value(others).chunk(2, dim=2))
        query, key, value = map(self._heads, parts)
        mask = mask[:, None] if mask.ndim == 2 else mask  # (B, 1 or S, R)
        # With nothing to see a softmax is 0 / 0: then all is seen, and dropped.
        any_there = mask.any(dim=2, keepdim=True)
        allowed = (mask | ~any_there)[:, None]
        context = scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        read = self.out(context.transpose(1, 2).flatten(2))
        return read.masked_fill(~any_there, 0.0)

    def _heads(self, tokens: Tensor) -> Tensor:
        """(B, S, H x d) to (B, H, S, d)."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Feedforward(nn.Module):
    """A network for each token, after a normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, S, D) to (B, S, D)."""
        return self.narrow(gelu(self.widen(self.norm(tokens))))


def check_heads(hidden: int, depth: int, heads: int) -> None:
    """Refuse sizes of attention that do not fit.

    Raises:
        ValueError: they do not.
    """
    if depth < 1 or heads < 1 or hidden % heads:
        raise ValueError(
            f"depth and heads must be at least 1, and hidden a multiple of heads; got "
            f"depth {depth}, {heads} heads and hidden {hidden}."
        )


@torch.no_grad()
def begin_as_identity(linear: nn.Linear, width: int) -> None:
    """Make a map hand on what it is given, every ``width`` of its outputs once more.

    Of fewer inputs than outputs, the rest begins as 0; of more, the rest is unread.
    """
    for part in linear.weight.split(width):
        nn.init.eye_(part)
    nn.init.zeros_(linear.bias)


class CrossBlock(nn.Module):
    """One block of ``CrossAttention``.

    Tokens are at first compared as they are: all maps of the attention to others begin
    as the identity. Of encoders that are aligned already, a word so begins with a look
    at the regions that it fits; from random maps the network would first have to find
    out how to compare.

    Args:
        width: of a token that asks.
        heads: of the attention.
        dims: sizes of a token of each modality that answers.
    """

    def __init__(self, width: int, heads: int, dims: Sequence[int]) -> None:
        super().__init__()
        self.own = Attention(width, heads)
        self.across = nn.ModuleList(Attention(width, heads, dim) for dim in dims)
        for linear in self.across.modules():
            if isinstance(linear, nn.Linear):
                begin_as_identity(linear, width)
        self.norm, self.read_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.widen = nn.Linear(3 * width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(
        self, asking: Tensor, own: Tensor, tokens: list[Tensor], masks: list[Tensor]
    ) -> Tensor:
        """Tokens (B, S, D) read each other and those of other modalities.

        Args:
            asking: tokens.
            own: (B, S) or (B, S, S) bool, which of them are read, in general or by
                each.
            tokens, masks: of the other modalities.
        """
        asking = asking + self.own(asking, own, None)
        read = torch.zeros_like(asking)
        for attention, others, mask in zip(self.across, tokens, masks, strict=True):
            read = read + attention(asking, mask, others)
        # Of one size, or the product would begin faint: what is read is at first a mean
        # over all that is there.
        asked, told = self.norm(asking), self.read_norm(read)
        both = torch.cat([asked, told, asked * told], dim=2)
        return asking + self.narrow(gelu(self.widen(both)))


class CrossAttention(Fusion):
    r"""Tokens of the last modality ask, those of the others answer.

    A learned token c joins those that ask, x. In each of the blocks

    .. math:: x \leftarrow x + \mathrm{A}(x, x), \quad
              r = \sum_{m \text{ there}} \mathrm{A}_m(x, x_m), \quad
              x \leftarrow x + \mathrm{MLP}([x; r; x \odot r])

    with attentions A; given back is the largest value that any of the tokens found, of
    each number. So a word meets the region that it speaks of, is compared with it by
    the product, and one word that is not true is enough: after a mean over the words
    hardly anything would be left of it. Where the last modality is missing, c asks
    alone.

    Args:
        dims, feature_dim, hidden: as for ``Fusion``.
        depth: blocks.
        heads: of the attention; divides ``hidden``.

    Source: Lu et al., *ViLBERT*, NeurIPS 2019; Li et al., *BLIP*, ICML 2022, the
    image-grounded text encoder; the product: Seo et al., *BiDAF*, ICLR 2017.
    """

    def __init__(
        self,
        dims: Sequence[int],
        feature_dim: int,
        hidden: int,
        depth: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__(dims, feature_dim, hidden)
        check_heads(hidden, depth, heads)
        self.enter = nn.Linear(dims[-1], hidden)
        begin_as_identity(self.enter, hidden)
        self.summary = nn.Parameter(torch.randn(hidden) / 2)
        self.blocks = nn.ModuleList(
            CrossBlock(hidden, heads, dims[:-1]) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(hidden)

    def fuse(self, tokens: list[Tensor], masks: list[Tensor]) -> Tensor:
        """Arguments and result as for ``Fusion``."""
        summary = self.summary.expand(len(tokens[0]), 1, -1)
        asking = torch.cat([summary, self.enter(tokens[-1])], dim=1)
        own = pad(masks[-1], (1, 0), value=True)
        for block in self.blocks:
            asking = block(asking, own, tokens[:-1], masks[:-1])
        found = self.norm(asking).masked_fill(~own[:, :, None], -torch.inf)
        return found.amax(dim=1)

    def each(self, first: Tensor, last: Tensor) -> Tensor:
        """As for ``Fusion``; each token sees c and those before it.

        Given back is what each found by itself: the largest of all would be that of
        words long past.
        """
        summary = self.summary.expand(len(last), 1, -1)
        asking = torch.cat([summary, self.enter(last)], dim=1)
        size = asking.shape[1]
        before = torch.ones(size, size, dtype=torch.bool, device=asking.device).tril()
        there = torch.ones(first.shape[:2], dtype=torch.bool, device=asking.device)
        for block in self.blocks:
            asking = block(asking, before.expand(len(last), -1, -1), [first], [there])
        return self.out(self.norm(asking[:, 1:]))


class OwnBlock(nn.Module):
    """One block of ``Bottleneck``, of one modality."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.feedforward = Feedforward(width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, S, D) with their mask (B, S) to (B, S, D)."""
        tokens = tokens + self.attention(tokens, mask, None)
        return tokens + self.feedforward(tokens)


class Bottleneck(Fusion):
    r"""Each modality keeps to itself, but for a few tokens that all of them share.

    .. math:: [x_m; b_m] \leftarrow \mathrm{Block}_m([x_m; b]), \qquad
              b \leftarrow \operatorname{mean}_{m \text{ there}} b_m

    What one modality tells another goes through the shared tokens b, whose mean is
    given back. The price grows with S, not with the product of two S.

    Args:
        dims, feature_dim, hidden: as for ``Fusion``.
        depth: blocks of each modality.
        heads: of the attention; divides ``hidden``.
        shared: tokens in b.

    Source: Nagrani et al., *Attention Bottlenecks for Multimodal Fusion*, NeurIPS 2021.
    """

    def __init__(
        self,
        dims: Sequence[int],
        feature_dim: int,
        hidden: int,
        depth: int = 2,
        heads: int = 4,
        shared: int = 4,
    ) -> None:
        super().__init__(dims, feature_dim, hidden)
        check_heads(hidden, depth, heads)
        if shared < 1:
            raise ValueError(f"shared must be at least 1 token; got {shared}.")
        self.enter = _projections(dims, hidden)
        self.shared = nn.Parameter(torch.randn(shared, hidden) / 2)
        self.blocks = nn.ModuleList(
            nn.ModuleList(OwnBlock(hidden, heads) for _ in dims) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(hidden)

    def fuse(self, tokens: list[Tensor], masks: list[Tensor]) -> Tensor:
        """Arguments and result as for ``Fusion``."""
        count = len(self.shared)
        has = torch.stack([mask.any(dim=1) for mask in masks])[:, :, None, None]
        shares = has / has.sum(dim=0).clamp(min=1)  # (M, B, 1, 1), of the mean
        own = [enter(x) for enter, x in zip(self.enter, tokens, strict=True)]
        shared = self.shared.expand(len(own[0]), -1, -1)
        seen = [pad(mask, (0, count), value=True) for mask in masks]
        for blocks in self.blocks:
            assert isinstance(blocks, nn.ModuleList)
            told = []
            for m, block in enumerate(blocks):
                both = block(torch.cat([own[m], shared], dim=1), seen[m])
                own[m] = both[:, :-count]
                told.append(both[:, -count:])
            shared = (torch.stack(told) * shares).sum(dim=0)
        return self.norm(shared).mean(dim=1)


FUSIONS: dict[FusionName, type[Fusion]] = {
    "concatenation": Concatenation,
    "sum": Sum,
    "weighted-mean": WeightedMean,
    "gated": GatedUnit,
    "film": FiLM,
    "bilinear": LowRankBilinear,
    "cross-attention": CrossAttention,
    "bottleneck": Bottleneck,
}


def check_fusion(name: str) -> None:
    """Refuse a fusion that there is none of.

    Raises:
        ValueError: another name than those of ``FUSIONS``.
    """
    if name not in FUSIONS:
        raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}; got {name!r}.")
