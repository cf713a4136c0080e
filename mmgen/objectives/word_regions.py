r"""How well pictures match captions: by words and regions, and as a whole.

.. math::
    s_{tr} = e_t^\top v_r, \quad
    \bar s_{tr} = \frac{\exp s_{tr}}{\sum_{t'} \exp s_{t'r}}, \quad
    \alpha_{tr} = \frac{\exp(\gamma_1 \bar s_{tr})}
                       {\sum_{r'} \exp(\gamma_1 \bar s_{tr'})}, \quad
    c_t = \sum_r \alpha_{tr} v_r, \quad
    R = \log \sum_t \exp(\gamma_2 \cos(c_t, e_t))

The first softmax lets the words of a caption compete for a region, the second spreads
each word over regions. Sums over t take real words only.

Xu et al., *AttnGAN*, CVPR 2018, section 3.2, equations 7-10. R is that of the published
code: without the paper's outer exponent :math:`1/\gamma_2`.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmgen.layers.attention import masked_softmax
from mmgen.layers.validation import require_finite, require_positive

EPSILON = 1e-8  # least product of two norms in a cosine
_BLOCK_ELEMENTS = 2**21  # word-region pairs that a CPU makes its passes over at once
_REUSED_ELEMENTS = 2**26  # memory that is kept from one call to the next at most


def word_region_attention(
    words: Tensor, regions: Tensor, mask: Tensor, gamma1: float
) -> tuple[Tensor, Tensor]:
    r"""Attend from each word of a caption to the regions of its picture (eq. 7-9).

    Args:
        words: word features e, (B, T, D).
        regions: region features v, (B, D, H, W), pictures in the order of captions.
        mask: (B, T) bool, True = a real word.
        gamma1: sharpness of the attention over regions, above 0.

    Returns:
        Context c, shape (B, T, D), and weights, shape (B, T, H, W), which sum to 1 over
        the regions. Both are zero at padding, and all zero for a caption of padding.

    Raises:
        ValueError: shapes that do not fit, a mask that is not bool, gamma1 <= 0,
            features that are not finite (looked at on the CPU only).
    """
    _check_local(regions, words, mask)
    require_positive(gamma1=gamma1)
    if len(words) != len(regions):
        raise ValueError(
            f"words and regions must have one batch size; got {tuple(words.shape)} and "
            f"{tuple(regions.shape)}."
        )
    real = mask[:, :, None]  # (B, T, 1)
    flat = regions.flatten(2)  # (B, D, R)
    scores = words @ flat  # s_tr = e_t . v_r, (B, T, R)
    competed = masked_softmax(scores, real, dim=1)
    weights = (gamma1 * competed).softmax(dim=2).masked_fill(~real, 0.0)
    context = weights @ flat.transpose(1, 2)  # c_t = sum_r alpha_tr v_r, (B, T, D)
    return context, weights.unflatten(2, regions.shape[2:])


def word_region_scores(
    regions: Tensor,
    words: Tensor,
    mask: Tensor,
    gamma1: float = 4.0,
    gamma2: float = 5.0,
    chunk_size: int | None = None,
) -> Tensor:
    r"""Word-level scores R of every picture with every caption (eq. 10).

    All pairs are computed in a few large matrix products. Contexts are never formed:
    with the Gram matrix :math:`G = V^\top V` of a picture's regions,
    :math:`c_t^\top e_t = \sum_r \alpha_{tr} s_{tr}` and
    :math:`\|c_t\|^2 = \alpha_t^\top G \alpha_t`. The gradient is written out by hand,
    which needs no other quantity of that size than s-bar, alpha and its products with s
    and G alpha.

    A caption of N words on an image of R regions costs 2NR(D + R) floating-point
    operations forward and 2NR(2D + R) backward.

    Args:
        regions: v, (B_images, D, H, W).
        words: e, (B_captions, T, D).
        mask: (B_captions, T) bool, True = a real word.
        gamma1: sharpness of the attention over regions, above 0.
        gamma2: how much the best-matching words count, above 0.
        chunk_size: pictures computed at a time. Memory then grows with chunk_size
            instead of B_images, for one more forward pass in the backward pass; values
            and gradients do not change. None keeps everything for the backward pass.

    Returns:
        Scores R, shape (B_images, B_captions), float32 (float64 for such features);
        zero, without a gradient, for a caption of padding only.

    Raises:
        ValueError: shapes that do not fit, a mask that is not bool, a gamma <= 0,
            chunk_size < 1, features that are not finite (looked at on the CPU only).
    """
    _check_local(regions, words, mask)
    require_positive(gamma1=gamma1, gamma2=gamma2)
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1; got {chunk_size}.")
    # The scores are exponents: under autocast they are computed in float32 all the same
    dtype = torch.promote_types(words.dtype, regions.dtype)
    dtype = dtype if dtype == torch.float64 else torch.float32
    with torch.autocast(words.device.type, enabled=False):
        return _WordRegionScores.apply(
            regions.to(dtype), words.to(dtype), mask, gamma1, gamma2, chunk_size
        )


def sentence_scores(image_features: Tensor, sentence: Tensor) -> Tensor:
    r"""Cosine of every picture's feature with every caption's (section 3.2).

    .. math:: \cos(\bar v, \bar e) =
        \frac{\bar v^\top \bar e}{\max(\|\bar v\| \|\bar e\|, 10^{-8})}

    Args:
        image_features: v-bar, (B_images, D).
        sentence: e-bar, (B_captions, D).

    Returns:
        Scores in [-1, 1], shape (B_images, B_captions), float32 (float64 for such
        features).

    Raises:
        ValueError: shapes that do not fit, features that are not finite (looked at on
            the CPU only).
    """
    if (
        image_features.ndim != 2
        or sentence.ndim != 2
        or image_features.shape[1] != sentence.shape[1]
    ):
        raise ValueError(
            f"image_features and sentence must be of shapes (B_images, D) and "
            f"(B_captions, D); got {tuple(image_features.shape)} and "
            f"{tuple(sentence.shape)}."
        )
    require_finite(image_features=image_features, sentence=sentence)
    dtype = torch.promote_types(image_features.dtype, sentence.dtype)
    dtype = dtype if dtype == torch.float64 else torch.float32
    with torch.autocast(sentence.device.type, enabled=False):
        v, e = image_features.to(dtype), sentence.to(dtype)
        norms = v.norm(dim=1)[:, None] * e.norm(dim=1)  # (B_images, B_captions)
        return v @ e.t() / norms.clamp(min=EPSILON)


def _check_local(regions: Tensor, words: Tensor, mask: Tensor) -> None:
    if regions.ndim != 4 or 0 in regions.shape:
        raise ValueError(
            f"regions must be of shape (B, D, H, W) and not empty; got "
            f"{tuple(regions.shape)}."
        )
    if words.ndim != 3 or 0 in words.shape:
        raise ValueError(
            f"words must be of shape (B, T, D) and not empty; got {tuple(words.shape)}."
        )
    if words.shape[2] != regions.shape[1]:
        raise ValueError(
            f"words and regions must have one feature size D; got {tuple(words.shape)} "
            f"with D = {words.shape[2]} and {tuple(regions.shape)} with D = "
            f"{regions.shape[1]}."
        )
    if mask.shape != words.shape[:2]:
        raise ValueError(
            f"mask must be of shape {tuple(words.shape[:2])}, one entry a word of "
            f"words {tuple(words.shape)}; got {tuple(mask.shape)}."
        )
    if mask.dtype != torch.bool:
        raise ValueError(f"mask must be bool, True = a real word; got {mask.dtype}.")
    require_finite(regions=regions, words=words)


# --------------------------------------------- word_region_scores, forward and backward


class _Layout(NamedTuple):
    """In which rows the words of a batch of captions are computed.

    On the CPU captions are sorted into groups of equal length, and only real words have
    a row. Elsewhere every caption has T rows, so that no size depends on data.
    """

    rows: Tensor | None  # (N,) rows of the flattened words that are used; None: all
    groups: list[tuple[int, int, int]]  # (first row, captions, words of each)
    mask: Tensor | None  # (N,) bool, real rows; None: all are
    inverse: Tensor | None  # (B_captions,) where the scores of a caption stand

    @classmethod
    def of(cls, mask: Tensor) -> _Layout:
        captions, width = mask.shape
        if mask.device.type != "cpu" or torch.compiler.is_compiling():
            return cls(None, [(0, captions, width)], mask.flatten(), None)
        counts = mask.sum(dim=1)
        order = counts.argsort(stable=True)
        sizes, many = counts[order].unique_consecutive(return_counts=True)
        groups, first = [], 0
        for size, count in zip(sizes.tolist(), many.tolist(), strict=True):
            if size:
                groups.append((first, count, size))
            first += size * count
        # Real words of caption after caption, in the order of their lengths.
        places = torch.arange(mask.numel()).view_as(mask)[order]
        return cls(places[mask[order]], groups, None, order.argsort())


class _Block(NamedTuple):
    """What the backward pass needs of a block of k pictures and all N word rows."""

    scores: Tensor  # alpha s, (N, k, R)
    competed: Tensor  # gamma_1 s-bar, (N, k, R)
    weights: Tensor  # alpha, (N, k, R)
    mixed: Tensor  # alpha G alpha, (N, k, R)
    dots: Tensor  # c . e, (N, k)
    squares: Tensor  # |c|^2, (N, k)


class _Memory(threading.local):
    """Room for the blocks of one call, given to a later call once it is free.

    On a CPU the system hands over fresh memory page by page, which took a fifth of this
    loss's time at CUB's size; a GPU's allocator reuses memory by itself.
    """

    def __init__(self) -> None:
        self.room = torch.empty(0)
        self.holder: weakref.ref[_Holder] | None = None

    def take(self, like: Tensor, rows: int, size: int) -> tuple[_Holder, Tensor]:
        """Entries (rows, size), which are the caller's while it keeps the holder."""
        holder = _Holder()
        reusable = (
            like.device.type == "cpu"
            and rows * size <= _REUSED_ELEMENTS
            and not torch.compiler.is_compiling()
        )
        if not reusable or (self.holder is not None and self.holder() is not None):
            return holder, like.new_empty(rows, size)
        if self.room.dtype != like.dtype or len(self.room) < rows * size:
            self.room = like.new_empty(rows * size)
        self.holder = weakref.ref(holder)
        return holder, self.room[: rows * size].view(rows, size)


class _Holder:
    """Somebody who still needs the memory."""

    __slots__ = ("__weakref__",)


_memory, _spare = _Memory(), _Memory()


def _forward_block(
    flat: Tensor,
    words: Tensor,
    layout: _Layout,
    gamma1: float,
    rooms: Tensor,
) -> _Block:
    """Scores, attention and the parts of the cosines for ``flat`` (k, D, R).

    The four large parts are written into the rows of ``rooms``.
    """
    pictures, _, regions = flat.shape
    shape = (len(words), pictures, regions)
    used = len(words) * pictures * regions
    scores, competed, weights, mixed = (part[:used].view(shape) for part in rooms)
    torch.mm(words, flat.transpose(0, 1).flatten(1), out=scores.flatten(1))
    if layout.mask is not None:
        padding = ~layout.mask[:, None, None]
        scores.masked_fill_(padding, torch.finfo(scores.dtype).min)
    for first, captions, width in layout.groups:
        rows = slice(first, first + captions * width)
        by_word = (captions, width, pictures * regions)
        torch.softmax(scores[rows].view(by_word), 1, out=competed[rows].view(by_word))
    torch.softmax(competed.mul_(gamma1), 2, out=weights)
    gram = flat.transpose(1, 2) @ flat  # G, (k, R, R)
    torch.bmm(weights.transpose(0, 1), gram, out=mixed.transpose(0, 1))
    if layout.mask is not None:
        scores.masked_fill_(padding, 0.0)
    dots = scores.mul_(weights).sum(dim=2)
    squares = mixed.mul_(weights).sum(dim=2).clamp_(min=0)
    return _Block(scores, competed, weights, mixed, dots, squares)


def _backward_block(
    block: _Block,
    to_cosines: Tensor,
    flat: Tensor,
    words: Tensor,
    norms: Tensor,
    layout: _Layout,
    gamma1: float,
    room: Tensor,
    to_flat: Tensor | None,
    to_words: Tensor | None,
) -> None:
    """Gradients for ``flat`` (k, D, R) and ``words`` (N, D), given cosines' (N, k).

    That for ``flat`` is written into ``to_flat``, that for ``words`` added to
    ``to_words``; None: not asked for. ``room`` is for intermediate products.
    """
    pictures, _, regions = flat.shape
    products = block.squares.sqrt() * norms[:, None]  # |c||e|
    inside = products > EPSILON
    inverse = products.clamp(min=EPSILON).reciprocal()
    to_dots = to_cosines * inverse  # (N, k)
    # d cos / d|c|^2 = -(c.e) / (2 |c|^3 |e|); under the clamp the norm is a constant
    slope = torch.where(
        inside, to_dots * block.dots / block.squares.clamp(min=EPSILON**2), 0.0
    )
    # A cosine does not change with the length of c, so that sum_r alpha_r dL/dalpha_r,
    # which the softmax over regions subtracts, is zero, except where the clamp acts.
    shift = torch.where(inside, 0.0, to_dots * block.dots)

    room = room[: block.scores.numel()].view_as(block.scores)
    if to_flat is not None:
        # d|c|^2 / dV = 2 V alpha alpha^T, summed over all words
        scaled = torch.mul(block.weights, slope[:, :, None], out=room)
        outer = block.weights.permute(1, 2, 0) @ scaled.transpose(0, 1)  # (k, R, R)

    # alpha times dL/dalpha less its mean is what the softmax over regions hands on
    gradient = torch.mul(block.scores, to_dots[:, :, None], out=room)  # (N, k, R)
    gradient.addcmul_(block.mixed, -slope[:, :, None])
    if flat.device.type != "cpu" or bool(shift.any()):
        gradient.addcmul_(block.weights, -shift[:, :, None])
    gradient.mul_(block.competed)  # s-bar dL/ds-bar
    # and through the softmax over the words of a caption
    for first, captions, width in layout.groups:
        rows = slice(first, first + captions * width)
        shape = (captions, width, pictures * regions)
        part = gradient[rows].view(shape)
        total = part.sum(dim=1, keepdim=True)
        part.addcmul_(block.competed[rows].view(shape), total, value=-1 / gamma1)
    gradient.addcmul_(block.weights, to_dots[:, :, None])  # s itself is in c . e
    if layout.mask is not None:
        gradient.mul_(layout.mask[:, None, None])

    rows2d = gradient.flatten(1)  # dL/ds, (N, kR)
    if to_flat is not None:
        by_picture = gradient.transpose(0, 1)  # (k, N, R)
        torch.bmm(words.t().expand(pictures, -1, -1), by_picture, out=to_flat)
        to_flat.baddbmm_(flat, outer, alpha=-1)
    if to_words is not None:
        to_words.addmm_(rows2d, flat.transpose(0, 1).flatten(1).t())
        # d cos / d|e| = -cos / |e|
        radial = torch.where(inside, to_dots * block.dots, 0.0).sum(dim=1)
        to_words.addcmul_(
            words, (-radial / norms.square().clamp(min=EPSILON**2))[:, None]
        )


class _WordRegionScores(torch.autograd.Function):
    """``word_region_scores`` with its gradient; see there for what is computed."""

    @staticmethod
    def forward(
        ctx: Any,
        regions: Tensor,
        words: Tensor,
        mask: Tensor,
        gamma1: float,
        gamma2: float,
        chunk_size: int | None,
    ) -> Tensor:
        layout = _Layout.of(mask)
        flat = regions.flatten(2)  # (B_images, D, R)
        rows = words.flatten(0, 1)
        rows = rows if layout.rows is None else rows[layout.rows]  # (N, D)
        norms = torch.linalg.vector_norm(rows, dim=1)  # |e|
        size = _block_size(flat, len(rows), chunk_size)
        keep = chunk_size is None and any(ctx.needs_input_grad)

        ctx.layout, ctx.gamma1, ctx.gamma2, ctx.size = layout, gamma1, gamma2, size
        scores = flat.new_zeros(len(flat), len(words))
        cosines: list[Tensor] = []
        kept: list[Tensor] = []
        parts = flat.split(size)
        many = len(parts) if keep else 1
        room = len(rows) * size * flat.shape[2]
        holder, memory = _memory.take(flat, 4 * many, room)
        ctx.holder = holder if keep else None
        for i, part in enumerate(parts):
            first = 4 * (i % many)
            block = _forward_block(
                part, rows, layout, gamma1, memory[first : first + 4]
            )
            products = (block.squares.sqrt() * norms[:, None]).clamp_(min=EPSILON)
            cosines.append(block.dots / products)  # (N, k)
            if keep:
                kept.extend(block)
        cosine = torch.cat(cosines, dim=1)  # (N, B_images)
        scores = _pool(cosine, layout, gamma2, mask)
        ctx.save_for_backward(regions, words, mask, rows, norms, cosine, *kept)
        return scores

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(upstream.device.type, enabled=False):
            return (*_WordRegionScores._gradients(ctx, upstream), *(None,) * 4)

    @staticmethod
    def _gradients(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None]:
        regions, words, mask, rows, norms, cosine, *kept = ctx.saved_tensors
        layout = ctx.layout
        flat = regions.flatten(2)
        needs = ctx.needs_input_grad[:2]
        to_cosines = _unpool(upstream, cosine, layout, ctx.gamma2, mask)
        to_flat = torch.empty_like(flat) if needs[0] else None
        to_rows = torch.zeros_like(rows) if needs[1] else None
        room = len(rows) * ctx.size * flat.shape[2]
        _busy, spare = _spare.take(flat, 1, room)
        if not kept:
            _holder, memory = _memory.take(flat, 4, room)
        for i, first in enumerate(range(0, len(flat), ctx.size)):
            chosen = slice(first, first + ctx.size)
            part = flat[chosen]
            if kept:
                block = _Block(*kept[6 * i : 6 * i + 6])
            else:
                block = _forward_block(part, rows, layout, ctx.gamma1, memory)
            _backward_block(
                block,
                to_cosines[:, chosen],
                part,
                rows,
                norms,
                layout,
                ctx.gamma1,
                spare[0],
                None if to_flat is None else to_flat[chosen],
                to_rows,
            )
        to_words = None
        if to_rows is not None:
            if layout.rows is not None:
                every = to_rows.new_zeros(words.shape[0] * words.shape[1], len(rows[0]))
                to_rows = every.index_copy_(0, layout.rows, to_rows)
            to_words = to_rows.view_as(words)
        to_regions = None if to_flat is None else to_flat.view_as(regions)
        return to_regions, to_words


def _block_size(flat: Tensor, rows: int, chunk_size: int | None) -> int:
    """Pictures computed at a time."""
    limit = len(flat) if chunk_size is None else min(chunk_size, len(flat))
    if flat.device.type != "cpu":
        return max(1, limit)
    # Smaller blocks stay in the cache, larger ones multiply faster.
    return max(1, min(limit, _BLOCK_ELEMENTS // max(1, rows * flat.shape[2])))


def _pool(cosine: Tensor, layout: _Layout, gamma2: float, mask: Tensor) -> Tensor:
    """R from the cosines (N, B_images), shape (B_images, B_captions)."""
    pooled = []
    for first, captions, width in layout.groups:
        part = gamma2 * cosine[first : first + captions * width]
        part = part.view(captions, width, -1)
        if layout.mask is not None:
            padding = ~layout.mask.view(captions, width, 1)
            part = part.masked_fill(padding, torch.finfo(part.dtype).min)
        pooled.append(part.logsumexp(dim=1))
    empty = len(mask) - sum(len(part) for part in pooled)
    if empty:  # captions without a word come first in the order of lengths
        pooled.insert(0, cosine.new_zeros(empty, cosine.shape[1]))
    scores = torch.cat(pooled)
    if layout.inverse is not None:
        scores = scores[layout.inverse]
    else:
        scores = scores.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)
    return scores.t()


def _unpool(
    upstream: Tensor, cosine: Tensor, layout: _Layout, gamma2: float, mask: Tensor
) -> Tensor:
    """The gradient for the cosines (N, B_images) from that for R."""
    upstream = upstream.t()  # (B_captions, B_images)
    if layout.inverse is not None:
        ordered = torch.empty_like(upstream)
        ordered[layout.inverse] = upstream
        upstream = ordered[len(mask) - sum(group[1] for group in layout.groups) :]
    gradient = torch.empty_like(cosine)
    done = 0
    for first, captions, width in layout.groups:
        rows = slice(first, first + captions * width)
        part = (gamma2 * cosine[rows]).view(captions, width, -1)
        if layout.mask is None:
            shares = part.softmax(dim=1)
        else:
            shares = masked_softmax(part, layout.mask.view(captions, width, 1), dim=1)
        shares = gamma2 * shares * upstream[done : done + captions, None]
        gradient[rows] = shares.view(captions * width, -1)
        done += captions
    return gradient
