r"""Attention: look up values by how well their keys match a query.

Every function and layer here computes scores :math:`s_{ij}` of query i and key j, turns
them into weights by a softmax over the keys, and returns the weighted sum of values,

.. math:: \alpha_{ij} = \frac{\exp s_{ij}}{\sum_{j'} \exp s_{ij'}}, \qquad
          c_i = \sum_j \alpha_{ij} v_j .

They differ in the score. **A mask is True where a key is real**, everywhere in this
package. A query that may look at nothing at all (a caption of padding only) gets the
context zero, with weights zero, instead of NaN.

Bahdanau, Cho and Bengio, ICLR 2015 (additive scores); Luong, Pham and Manning, EMNLP
2015 (dot, general, concat); Vaswani et al., NeurIPS 2017 (scaled dot product, many
heads); Xu et al., CVPR 2018 (words to pixels).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgen.layers.validation import require_finite


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    need_weights: bool = True,
) -> tuple[Tensor, Tensor | None]:
    r"""Attention with the score of Vaswani et al. (eq. 1).

    .. math:: s_{ij} = \frac{q_i^\top k_j}{\sqrt{D}}

    Args:
        query: (..., L, D).
        key: (..., S, D).
        value: (..., S, V).
        mask: bool, True = takes part; real keys as (B, S), or pairs with as many
            dimensions as ``query``, broadcast to (..., L, S). All keys by default.
        need_weights: return the weights. Without them PyTorch's fused kernels do the
            work, which never store all L x S weights.

    Returns:
        Context, shape (..., L, V), and weights, shape (..., L, S), or None.

    Raises:
        ValueError: shapes that do not fit, a mask that is not bool, features that are
            not finite (looked at on the CPU only).
    """
    _check_lookup(query, key, value)
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query and key must have one feature size D; got {tuple(query.shape)} and "
            f"{tuple(key.shape)}."
        )
    pairs = _pair_mask(mask, query, key)
    return _dot_attention(
        query, key, value, pairs, 1 / math.sqrt(query.shape[-1]), need_weights
    )


class AdditiveAttention(nn.Module):
    r"""Attention with Bahdanau's score: a small network looks at query and key.

    .. math:: s_{ij} = w^\top \tanh(W q_i + U k_j)

    Args:
        query_dim: size of a query.
        key_dim: size of a key.
        hidden_dim: size of the hidden layer in which both meet.
    """

    def __init__(self, query_dim: int, key_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.query_dim, self.key_dim = query_dim, key_dim
        self.query = nn.Linear(query_dim, hidden_dim, bias=False)  # W
        self.key = nn.Linear(key_dim, hidden_dim, bias=False)  # U
        self.score = nn.Linear(hidden_dim, 1, bias=False)  # w

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Look up ``value`` (the keys themselves by default).

        Args:
            query: (B, L, query_dim).
            key: (B, S, key_dim).
            value: (B, S, V).
            mask: bool, (B, S) or broadcast to (B, L, S), True = takes part.

        Returns:
            Context, shape (B, L, V), and weights, shape (B, L, S).

        Raises:
            ValueError: as for ``scaled_dot_product_attention``.
        """
        value = key if value is None else value
        _check_lookup(query, key, value)
        _check_sizes(self, query, key)
        hidden = self.query(query)[:, :, None] + self.key(key)[:, None]  # (B, L, S, h)
        scores = self.score(torch.tanh(hidden)).squeeze(-1)  # (B, L, S)
        weights = masked_softmax(scores, _pair_mask(mask, query, key))
        return weights @ value, weights


class LuongAttention(nn.Module):
    r"""Attention with one of Luong's three scores (section 3.1).

    .. math::
        \text{dot: } q_i^\top k_j, \qquad \text{general: } q_i^\top W k_j, \qquad
        \text{concat: } w^\top \tanh(W [q_i; k_j])

    "concat" is the additive score again, with W cut into a part for each: it is written
    that way here, so that query and key are each projected once and not once a pair.

    Args:
        query_dim: size of a query.
        key_dim: size of a key; equal to ``query_dim`` for "dot".
        score: "dot", "general" or "concat".
        hidden_dim: rows of W for "concat"; ``query_dim`` by default.

    Raises:
        ValueError: an unknown score, or sizes that "dot" cannot multiply.
    """

    def __init__(
        self,
        query_dim: int,
        key_dim: int,
        score: str = "general",
        hidden_dim: int | None = None,
    ) -> None:
        super().__init__()
        if score not in ("dot", "general", "concat"):
            raise ValueError(
                f'score must be "dot", "general" or "concat"; got {score!r}.'
            )
        if score == "dot" and query_dim != key_dim:
            raise ValueError(
                f'score "dot" needs query_dim == key_dim; got {query_dim} and '
                f'{key_dim}. Use "general".'
            )
        self.query_dim, self.key_dim, self.score = query_dim, key_dim, score
        if score == "general":
            self.key = nn.Linear(key_dim, query_dim, bias=False)  # W
        elif score == "concat":
            self.concat = AdditiveAttention(query_dim, key_dim, hidden_dim or query_dim)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        need_weights: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Look up ``value`` (the keys themselves by default).

        Args:
            query: (B, L, query_dim).
            key: (B, S, key_dim).
            value: (B, S, V).
            mask: bool, (B, S) or broadcast to (B, L, S), True = takes part.
            need_weights: as for ``scaled_dot_product_attention``; "concat" has them
                anyway.

        Returns:
            Context, shape (B, L, V), and weights, shape (B, L, S), or None.

        Raises:
            ValueError: as for ``scaled_dot_product_attention``.
        """
        value = key if value is None else value
        if self.score == "concat":
            return self.concat(query, key, value, mask)
        _check_lookup(query, key, value)
        _check_sizes(self, query, key)
        pairs = _pair_mask(mask, query, key)
        if self.score == "general":
            key = self.key(key)
        return _dot_attention(query, key, value, pairs, 1.0, need_weights)


class MultiHeadAttention(nn.Module):
    r"""Several attentions side by side, each in its own projection of the features.

    .. math::
        \mathrm{head}_h = \mathrm{attention}(Q W^Q_h, K W^K_h, V W^V_h), \qquad
        c = [\mathrm{head}_1; \dots; \mathrm{head}_H]\, W^O

    Args:
        dim: size of queries and of the result; a multiple of ``heads``.
        heads: H.
        key_dim: size of keys, ``dim`` by default.
        value_dim: size of values, ``key_dim`` by default.
        bias: whether the four projections have a bias.

    Raises:
        ValueError: ``dim`` is not a multiple of ``heads``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        key_dim: int | None = None,
        value_dim: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(
                f"dim must be a multiple of heads; got {dim} and {heads}. Choose heads "
                f"such as {next(h for h in (8, 4, 3, 2, 1) if dim % h == 0)}."
            )
        self.heads = heads
        self.query_dim, self.key_dim = dim, key_dim or dim
        self.value_dim = value_dim or self.key_dim
        self.query = nn.Linear(dim, dim, bias=bias)
        self.key = nn.Linear(self.key_dim, dim, bias=bias)
        self.value = nn.Linear(self.value_dim, dim, bias=bias)
        self.output = nn.Linear(dim, dim, bias=bias)

    @classmethod
    def from_torch(cls, module: nn.MultiheadAttention) -> MultiHeadAttention:
        """The same layer with the weights of PyTorch's.

        Its dropout is not taken over (in evaluation mode it does nothing).

        Raises:
            ValueError: the module adds a learned key or a zero key to every look-up.
        """
        if module.bias_k is not None or module.add_zero_attn:
            raise ValueError(
                "module must not use add_bias_kv or add_zero_attn: they give every "
                "query one more key."
            )
        dim = module.embed_dim
        assert module.kdim is not None and module.vdim is not None  # set by PyTorch
        copy = cls(
            dim,
            module.num_heads,
            module.kdim,
            module.vdim,
            module.in_proj_bias is not None,
        )
        if module.in_proj_weight is not None:
            query, key, value = module.in_proj_weight.chunk(3)
        else:
            query, key, value = (
                module.q_proj_weight,
                module.k_proj_weight,
                module.v_proj_weight,
            )
        state = {
            "query.weight": query,
            "key.weight": key,
            "value.weight": value,
            "output.weight": module.out_proj.weight,
        }
        if module.in_proj_bias is not None:
            biases = (*module.in_proj_bias.chunk(3), module.out_proj.bias)
            names = ("query.bias", "key.bias", "value.bias", "output.bias")
            state |= dict(zip(names, biases, strict=True))
        copy.to(query.device, query.dtype).load_state_dict(state)
        return copy

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend to ``key``; to the queries themselves by default (self-attention).

        Args:
            query: (B, L, dim).
            key: (B, S, key_dim).
            value: (B, S, value_dim), ``key`` by default.
            mask: bool, (B, S), or broadcast to (B, L, S) for all heads, True = takes
                part.
            need_weights: also return the weights of every head.

        Returns:
            Context, shape (B, L, dim), and weights, shape (B, H, L, S), or None.

        Raises:
            ValueError: as for ``scaled_dot_product_attention``.
        """
        key = query if key is None else key
        value = key if value is None else value
        _check_lookup(query, key, value)
        _check_sizes(self, query, key)
        if value.shape[-1] != self.value_dim:
            raise ValueError(
                f"value must have {self.value_dim} features; got {tuple(value.shape)}."
            )
        pairs = _pair_mask(mask, query, key)
        context, weights = _dot_attention(
            self._split(self.query(query)),
            self._split(self.key(key)),
            self._split(self.value(value)),
            None if pairs is None else pairs[:, None],  # the same for every head
            1 / math.sqrt(self.query_dim // self.heads),
            need_weights,
        )
        return self.output(context.transpose(1, 2).flatten(2)), weights

    def _split(self, features: Tensor) -> Tensor:
        """(B, S, dim) -> (B, H, S, dim / H)."""
        return features.unflatten(2, (self.heads, -1)).transpose(1, 2)


class WordToPixelAttention(nn.Module):
    r"""Every pixel of a feature map looks up the words of its caption (AttnGAN, 3.1).

    .. math::
        e'_t = U e_t, \qquad s_{jt} = h_j^\top e'_t, \qquad
        c_j = \sum_t \beta_{jt} e'_t

    Keys and values are the same projected words, and the score is not divided by
    :math:`\sqrt{C}`, as in AttnGAN.

    Args:
        pixel_dim: C, channels of the feature map.
        word_dim: D, size of a word feature.
        legacy_mask: reproduce a mistake of the original's code for weights that were
            trained with it. There the padding mask of the batch is repeated pixel by
            pixel, though scores are laid out caption by caption: pixel q of caption b
            is masked with the padding of caption (b HW + q) mod B. So pixels of short
            captions see padding, those of long ones miss words, and a picture depends
            on its batch mates. Without effect if all captions are equally long.
    """

    def __init__(
        self, pixel_dim: int, word_dim: int, *, legacy_mask: bool = False
    ) -> None:
        super().__init__()
        self.pixel_dim, self.word_dim = pixel_dim, word_dim
        self.legacy_mask = legacy_mask
        self.project = nn.Linear(word_dim, pixel_dim, bias=False)  # U

    def forward(
        self,
        pixels: Tensor,
        words: Tensor,
        mask: Tensor | None = None,
        *,
        need_weights: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from pixels to words.

        Args:
            pixels: feature map h, (B, C, H, W).
            words: word features e, (B, T, D).
            mask: (B, T) bool, True = a real word. All words by default.
            need_weights: return the attention maps; without them the fused kernels of
                PyTorch are used and the maps are never stored.

        Returns:
            Context, shape (B, C, H, W), and weights, shape (B, T, H, W), which sum to 1
            over the words; or None in their place.

        Raises:
            ValueError: shapes that do not fit, a mask that is not bool, features that
                are not finite (looked at on the CPU only).
        """
        self._check(pixels, words, mask)
        height, width = pixels.shape[2:]
        keys = self.project(words)  # (B, T, C)
        flat = pixels.flatten(2)  # (B, C, HW)
        pairs = self._word_mask(mask, height * width)  # (B, T, HW or 1)
        if not need_weights:
            context, _ = _dot_attention(
                flat.transpose(1, 2),
                keys,
                keys,
                None if pairs is None else pairs.transpose(1, 2),
                1.0,
                need_weights=False,
            )
            return context.transpose(1, 2).unflatten(2, (height, width)), None
        # Words lead and pixels stay last, so nothing has to be transposed in memory.
        scores = keys @ flat  # s_tj = e'_t . h_j, (B, T, HW)
        weights = masked_softmax(scores, pairs, dim=1)
        context = keys.transpose(1, 2) @ weights  # (B, C, HW)
        shape = (height, width)
        return context.unflatten(2, shape), weights.unflatten(2, shape)

    def _word_mask(self, mask: Tensor | None, pixels: int) -> Tensor | None:
        """Which word takes part for which pixel, broadcasting to (B, T, HW)."""
        if mask is None or not self.legacy_mask:
            return None if mask is None else mask[:, :, None]
        rows = torch.arange(len(mask) * pixels, device=mask.device) % len(mask)
        return mask[rows].unflatten(0, (len(mask), pixels)).transpose(1, 2)

    def _check(self, pixels: Tensor, words: Tensor, mask: Tensor | None) -> None:
        if pixels.ndim != 4 or pixels.shape[1] != self.pixel_dim:
            raise ValueError(
                f"pixels must be of shape (B, {self.pixel_dim}, H, W); got "
                f"{tuple(pixels.shape)}."
            )
        if words.ndim != 3 or words.shape[2] != self.word_dim:
            raise ValueError(
                f"words must be of shape (B, T, {self.word_dim}); got "
                f"{tuple(words.shape)}."
            )
        if len(words) != len(pixels):
            raise ValueError(
                f"pixels and words must have one batch size; got {tuple(pixels.shape)} "
                f"and {tuple(words.shape)}."
            )
        if mask is not None and mask.shape != words.shape[:2]:
            raise ValueError(
                f"mask must be of shape {tuple(words.shape[:2])}, one entry a word of "
                f"words {tuple(words.shape)}; got {tuple(mask.shape)}."
            )
        _check_mask_type(mask)
        require_finite(pixels=pixels, words=words)


def masked_softmax(scores: Tensor, mask: Tensor | None, dim: int = -1) -> Tensor:
    """Softmax over the entries that ``mask`` keeps; zero elsewhere.

    Args:
        scores: any shape.
        mask: bool, broadcast to ``scores``, True = takes part; None keeps all.
        dim: the dimension that sums to 1; where nothing is kept it sums to 0.

    Returns:
        Weights in the shape of ``scores``.
    """
    if mask is None:
        return scores.softmax(dim)
    # The least finite number, not minus infinity: a row without any real entry would
    # otherwise be 0/0, and its NaN would survive every later where() in the gradient.
    least = torch.finfo(scores.dtype).min
    weights = scores.masked_fill(~mask, least).softmax(dim)
    return weights.masked_fill(~mask, 0.0)


def _dot_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float,
    need_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """Attention with the score ``scale * q.k`` and a mask over pairs."""
    if need_weights:
        scores = scale * query @ key.transpose(-2, -1)  # (..., L, S)
        weights = masked_softmax(scores, mask)
        return weights @ value, weights
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value, scale=scale), None
    # What a query without any key gets from the fused kernels depends on the kernel:
    # let it look at everything, and then put the zero that we promise in its place.
    sees = mask.any(dim=-1, keepdim=True)
    context = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask | ~sees, scale=scale
    )
    return context.masked_fill(~sees, 0.0), None


def _pair_mask(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
    """The mask with as many dimensions as the scores (..., L, S)."""
    _check_mask_type(mask)
    if mask is None:
        return None
    pairs = (*query.shape[:-1], key.shape[-2])  # (..., L, S)
    keys = (*pairs[:1], pairs[-1]) if query.ndim > 2 else pairs[-1:]  # (B, S) or (S,)
    if mask.ndim == len(pairs):
        fits = all(m in (1, p) for m, p in zip(mask.shape, pairs, strict=True))
        shaped = mask
    else:
        fits = mask.shape == keys
        between = (1,) * (len(pairs) - len(keys))  # heads, if any, and queries
        shaped = mask.reshape(*keys[:-1], *between, keys[-1]) if fits else mask
    if not fits:
        raise ValueError(
            f"mask must be {keys} (real keys) or broadcast to {pairs} (pairs of query "
            f"and key, with all {len(pairs)} dimensions); got {tuple(mask.shape)} for "
            f"query {tuple(query.shape)} and key {tuple(key.shape)}."
        )
    return shaped


def _check_mask_type(mask: Tensor | None) -> None:
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be bool, True = takes part; got {mask.dtype}. (A mask that is "
            f"added to scores, or that is True at padding, has another meaning.)"
        )


def _check_lookup(query: Tensor, key: Tensor, value: Tensor) -> None:
    """One batch for all three, one value a key, nothing empty, all finite."""
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value "
    shapes += f"{tuple(value.shape)}"
    if not query.ndim == key.ndim == value.ndim >= 2:
        raise ValueError(
            f"query, key and value must have the same number of dimensions, at least "
            f"2; got {shapes}."
        )
    if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        raise ValueError(
            f"query, key and value must have one batch size; got {shapes}."
        )
    if key.shape[-2] != value.shape[-2] or key.shape[-2] == 0:
        raise ValueError(
            f"key and value must have one entry each for the same S >= 1 positions; "
            f"got {shapes}."
        )
    require_finite(query=query, key=key, value=value)


def _check_sizes(
    layer: AdditiveAttention | LuongAttention | MultiHeadAttention,
    query: Tensor,
    key: Tensor,
) -> None:
    """The feature sizes that the layer was built for, in three dimensions."""
    for name, tensor, size in (
        ("query", query, layer.query_dim),
        ("key", key, layer.key_dim),
    ):
        if tensor.ndim != 3 or tensor.shape[-1] != size:
            raise ValueError(
                f"{name} must be of shape (B, length, {size}); got "
                f"{tuple(tensor.shape)}."
            )
