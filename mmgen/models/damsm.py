r"""DAMSM: how well does a picture match a caption, word by word and as a whole?

Two encoders put regions v and words e into one space. Two scores compare a picture with
a caption: one through word-region attention, R, and one between the global features.
Both are trained so that, within a batch, each picture finds its own caption and each
caption its own picture: four cross-entropies, added.

.. math::
    s_{tr} = e_t^\top v_r, \quad
    \bar s_{tr} = \frac{\exp s_{tr}}{\sum_{t'} \exp s_{t'r}}, \quad
    \alpha_{tr} = \frac{\exp(\gamma_1 \bar s_{tr})}
                       {\sum_{r'} \exp(\gamma_1 \bar s_{tr'})}, \quad
    c_t = \sum_r \alpha_{tr} v_r, \quad
    R = \log \sum_t \exp(\gamma_2 \cos(c_t, e_t))

The first softmax lets the words of a caption compete for a region, the second spreads
each word over regions. Sums over t take real words only.

Xu et al., *AttnGAN*, CVPR 2018, section 3.2, equations 7-13. Where paper and code
differ, this follows the code, whose weights were published: R has no outer exponent
:math:`1/\gamma_2`, all words are summed, losses are means over the batch, and pairs
of one class are not used as negatives.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.storage.features import FeatureDataset
from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.attention import masked_softmax
from mmgen.layers.images import ImageEncoder
from mmgen.layers.text import UNIT_RANGE, TextEncoder
from mmgen.layers.validation import require_finite

EPSILON = 1e-8  # least product of two norms in a cosine
_BLOCK_ELEMENTS = 2**21  # word-region pairs that a CPU makes its passes over at once
_REUSED_ELEMENTS = 2**26  # memory that is kept from one call to the next at most
_MATCHED_AT_ONCE = 64  # pictures encoded and scored at a time when nothing is trained


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
    _check_gammas(gamma1=gamma1)
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
    _check_gammas(gamma1=gamma1, gamma2=gamma2)
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1; got {chunk_size}.")
    # The scores are exponents: under autocast they are computed in float32 all the same
    dtype = torch.promote_types(words.dtype, regions.dtype)
    dtype = dtype if dtype == torch.float64 else torch.float32
    with torch.autocast(words.device.type, enabled=False):
        return _WordRegionScores.apply(
            regions.to(dtype), words.to(dtype), mask, gamma1, gamma2, chunk_size
        )


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


def matching_loss(
    scores: Tensor, gamma3: float = 10.0, class_ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""How surely each picture picks its caption, and each caption its picture (11-12).

    .. math::
        L_0 = -\frac{1}{B} \sum_i \log
              \frac{\exp(\gamma_3 S_{ii})}{\sum_j \exp(\gamma_3 S_{ij})}, \qquad
        L_1 = -\frac{1}{B} \sum_i \log
              \frac{\exp(\gamma_3 S_{ii})}{\sum_j \exp(\gamma_3 S_{ji})}

    The other captions of the batch are the negatives, so the loss depends on the batch
    size: chance is log B. Pairs of different samples of one class are left out of both
    sums.

    Args:
        scores: S, (B, B), pictures in rows, captions in columns, true pairs on the
            diagonal.
        gamma3: inverse temperature, above 0.
        class_ids: (B,) integers; equal ids mean that either caption suits either
            picture. None keeps all negatives.

    Returns:
        Image-to-text loss L_0 and text-to-image loss L_1, scalars in nats.

    Raises:
        ValueError: scores that are not square, class ids of another length, or a gamma3
            that is not above 0.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not len(scores):
        raise ValueError(
            f"scores must be square, (B, B), with true pairs on the diagonal; got "
            f"{tuple(scores.shape)}."
        )
    _check_gammas(gamma3=gamma3)
    require_finite(scores=scores)
    logits = gamma3 * scores
    if class_ids is not None:
        if class_ids.shape != scores.shape[:1]:
            raise ValueError(
                f"class_ids must be of shape ({len(scores)},), one for each row of "
                f"scores {tuple(scores.shape)}; got {tuple(class_ids.shape)}."
            )
        same = class_ids[:, None] == class_ids[None, :]
        same = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        logits = logits.masked_fill(same, -torch.inf)
    targets = torch.arange(len(scores), device=scores.device)
    return F.cross_entropy(logits, targets), F.cross_entropy(logits.t(), targets)


def caption_log_probabilities(
    image_features: Tensor, sentence: Tensor, gamma: float = 1.0
) -> Tensor:
    r"""The formula by which DAMSM is often introduced: a softmax over all captions.

    .. math:: R(I, S) = \log \frac{\exp(\gamma\, \phi(I)^\top \phi(S))}
                               {\sum_{S'} \exp(\gamma\, \phi(I)^\top \phi(S'))}

    with the loss :math:`-\tfrac12 (E_I[R] + E_S[R])`. It differs from what AttnGAN
    trains in four ways. S' runs over every caption of the training set, which no step
    can afford: in practice the negatives are the other captions *of the batch*
    (``matching_loss``). There is one score, of global features, and no words: AttnGAN
    has two, ``sentence_scores`` and ``word_region_scores``. Both expectations take the
    same R, normalised over captions: a true second direction normalises over pictures.
    And R is here a log-probability of a caption among captions, while AttnGAN's R is a
    log-sum-exp *over the words of one caption*; its softmax over captions comes after,
    on gamma3 R. The products are not normalised by lengths here, as in that formula.

    Args:
        image_features: phi(I), (B_images, D).
        sentence: phi(S) of all captions, (B_captions, D).
        gamma: inverse temperature, above 0.

    Returns:
        Log-probabilities of the captions given each picture, (B_images, B_captions).

    Raises:
        ValueError: as for ``sentence_scores``; gamma <= 0.
    """
    _check_gammas(gamma=gamma)
    if image_features.ndim != 2 or image_features.shape[1:] != sentence.shape[1:]:
        raise ValueError(
            f"image_features and sentence must be of shapes (B_images, D) and "
            f"(B_captions, D); got {tuple(image_features.shape)} and "
            f"{tuple(sentence.shape)}."
        )
    require_finite(image_features=image_features, sentence=sentence)
    return (gamma * image_features @ sentence.t()).log_softmax(dim=1)


class DAMSMLosses(NamedTuple):
    """The four matching losses, scalars in nats."""

    word_image_to_text: Tensor
    word_text_to_image: Tensor
    sentence_image_to_text: Tensor
    sentence_text_to_image: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum, the DAMSM loss (eq. 13)."""
        return sum(self[1:], self[0])


def damsm_losses(
    regions: Tensor,
    image_features: Tensor,
    words: Tensor,
    sentence: Tensor,
    mask: Tensor,
    class_ids: Tensor | None = None,
    *,
    gamma1: float = 4.0,
    gamma2: float = 5.0,
    gamma3: float = 10.0,
    chunk_size: int | None = None,
) -> DAMSMLosses:
    """All four losses of B pictures with their captions (eq. 13).

    Args:
        regions, image_features: of the pictures, (B, D, H, W) and (B, D).
        words, sentence, mask: of the captions, (B, T, D), (B, D) and (B, T) bool.
        class_ids: as for ``matching_loss``.
        gamma1, gamma2, chunk_size: as for ``word_region_scores``.
        gamma3: as for ``matching_loss``.

    Raises:
        ValueError: as for the functions named.
    """
    word = word_region_scores(regions, words, mask, gamma1, gamma2, chunk_size)
    sentences = sentence_scores(image_features, sentence)
    return DAMSMLosses(
        *matching_loss(word, gamma3, class_ids),
        *matching_loss(sentences, gamma3, class_ids),
    )


@dataclass(frozen=True)
class DAMSMConfig:
    """Sizes of the two encoders, and how they are matched."""

    image_size: int = 64
    """height and width of the pictures; the data set's by default"""
    feature_dim: int = 256
    """D, size of word, region, sentence and picture features"""
    embedding_dim: int = 128
    """size of the learned vector of a token"""
    width: int = 32
    """channels of the image encoder's first layer"""
    grid: int = 8
    """regions across and down"""
    patch: int = 2
    """step of the image encoder's first layer; 4 saves two thirds of its time"""
    encoder: Literal["small", "inception", "efficientnet-lite0"] = "small"
    """of pictures: trained from scratch, or a frozen ImageNet trunk under two maps"""
    encoder_weights: str = "torchvision"
    """of Inception: torchvision, which downloads them, or a path"""
    pooling: str = "last"
    """sentence feature: last states (AttnGAN) or mean of the words"""
    dropout: float = 0.2
    """share of a token's vector that is dropped in training"""
    word_range: float = 0.1
    """fresh token vectors lie within this of zero; 1.73 gives them unit variance"""
    gamma1: float = 4.0
    """sharpness of the attention over regions"""
    gamma2: float = 5.0
    """how much the best-matching words count"""
    gamma3: float = 10.0
    """inverse temperature of the matching losses"""
    class_mask: bool = True
    """leave other samples of the same class out of the negatives"""
    chunk_size: int | None = None
    """pictures matched at a time; none: all at once"""
    learning_rate: float = 1e-3
    """of Adam"""


class DAMSMTask:
    """Pretrain both encoders: every picture finds its caption, and the other way round.

    Args:
        config: sizes and objective.
        vocabulary: of the captions.
        max_tokens: longest caption of the data.
    """

    phases = ("matching",)
    averaged = ("text_encoder", "image_encoder")

    def __init__(
        self, config: DAMSMConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        self.config = config
        self.vocabulary, self.max_tokens = vocabulary, max_tokens
        self.networks: dict[str, nn.Module] = {
            "text_encoder": _text_encoder(config, vocabulary),
            "image_encoder": image_encoder(config),
        }

    @classmethod
    def build(cls, config: DAMSMConfig, dataset: CaptionedDataset) -> DAMSMTask:
        """New encoders for the captions and the picture size of a data set.

        Raises:
            ValueError: the data set's pictures are of another size, or it holds the
                features of another trunk in their place.
            FileNotFoundError, RuntimeError: the trunk's weights are not to be had.
        """
        if dataset.image_size != config.image_size:
            raise ValueError(
                f"config.image_size must be the data set's, {dataset.image_size}; got "
                f"{config.image_size}."
            )
        task = cls(config, dataset.vocabulary, dataset.max_tokens)
        if isinstance(dataset, FeatureDataset):
            encoder = task.networks["image_encoder"]
            assert isinstance(encoder, ImageEncoder)
            dataset.check_trunk(config.encoder, encoder.fingerprint())
        return task

    @staticmethod
    def defaults(
        scale: str, dataset_name: str
    ) -> tuple[DAMSMConfig, dict[str, Any], dict[str, Any]]:
        """Config, training and data for "smoke" (seconds), "laptop" or "full".

        Photographs, and features of them, are matched as in the paper: through a frozen
        Inception-v3, for as many epochs as the published weights had.
        """
        if dataset_name in ("cub", "coco", "features"):
            return _paper_defaults(scale, dataset_name)
        emoji = dataset_name == "emoji"
        data: dict[str, Any] = {"image_size": 64, "language": "both"}
        training: dict[str, Any] = {"schedule": "cosine", "gradient_clip": 1.0}
        if scale == "smoke":
            data["image_size"] = 16
            config = DAMSMConfig(16, 32, 16, width=8, grid=4)
            return config, {**training, "steps": 4, "batch_size": 8}, data
        if emoji:
            data["split_by"] = "combination"
        if scale == "laptop":
            # Shapes are told apart last. 32 px in patches of 2 show them sooner than
            # patches of 4, and so do, from most seeds, words that begin with unit
            # variance.
            data |= {"language": "en", "image_size": 32}
            data |= {"objects": (1,)} if dataset_name == "shapes" else {}
            config = DAMSMConfig(
                image_size=32,
                feature_dim=64,
                embedding_dim=32,
                width=16,
                grid=4,
                pooling="mean",
                dropout=0.0,
                word_range=UNIT_RANGE,
                learning_rate=4.5e-3,
            )
            training |= {
                "steps": 1200,
                "batch_size": 64,
                "warmup_steps": 50,
                "ema_decay": 0.99,
                "channels_last": True,
            }
            return config, training, data
        data |= {"shift": 2} if emoji else {"objects": (1, 2)}
        training |= {
            "steps": 4000,
            "batch_size": 256,
            "warmup_steps": 200,
            "precision": "bf16-mixed",
            "workers": 2,
            "ema_decay": 0.998,
        }
        # Words begin faint, as in the original: ten minutes are long enough for them.
        config = DAMSMConfig(dropout=0.1 if emoji else 0.2)
        return config, training, data

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam over what is trained of both encoders."""
        parameters = [p for net in self.networks.values() for p in net.parameters()]
        trained = [p for p in parameters if p.requires_grad]
        return {
            "matching": torch.optim.Adam(
                trained, lr=self.config.learning_rate, betas=(0.9, 0.99)
            )
        }

    def training_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        """The four matching losses of a batch; ``step`` is a training step's place.

        Every process scores its own pictures against the captions of all, and the rows
        are put together: nothing is computed twice, and the loss is that of the whole
        batch.
        """
        config = self.config
        words, sentence = self.networks["text_encoder"](batch.tokens, batch.lengths)
        shown: Tensor | tuple[Tensor, Tensor] = batch.images
        if batch.trunk_map is not None and batch.trunk_vector is not None:
            shown = batch.trunk_map.float(), batch.trunk_vector.float()
        regions, features = self.networks["image_encoder"](shown)
        lengths = step.gather(batch.lengths)
        positions = torch.arange(words.shape[1], device=words.device)
        word = word_region_scores(
            regions.float(),
            step.gather(words.float()),
            positions[None, :] < lengths[:, None],
            config.gamma1,
            config.gamma2,
            config.chunk_size,
        )
        overall = sentence_scores(features.float(), step.gather(sentence.float()))
        word, overall = step.gather(word), step.gather(overall)  # (B, B) of all
        class_ids = step.gather(batch.class_ids) if config.class_mask else None
        losses = DAMSMLosses(
            *matching_loss(word, config.gamma3, class_ids),
            *matching_loss(overall, config.gamma3, class_ids),
        )
        # How often the true caption is first in its row, of those in the batch.
        found = (word + overall).argmax(1) == torch.arange(
            len(word), device=word.device
        )
        return {
            "loss": losses.total,
            **losses._asdict(),
            "retrieval_in_batch": found.float().mean(),
        }

    def sampler(self, networks: dict[str, nn.Module]) -> DAMSMMatcher:
        """A matcher with these encoders."""
        matcher = DAMSMMatcher(self.config, self.vocabulary, self.max_tokens)
        for name in self.averaged:
            getattr(matcher, name).load_state_dict(networks[name].state_dict())
        return matcher.eval()


class DAMSMMatcher(nn.Module):
    """Two trained encoders: which caption suits which picture?

    Args:
        config: as trained.
        vocabulary: of the captions.
        max_tokens: longest caption of the training; longer ones are cut.
    """

    def __init__(
        self, config: DAMSMConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        self.max_tokens = max_tokens
        self.text_encoder = _text_encoder(config, vocabulary)
        self.image_encoder = image_encoder(config, trained=False)

    def init_args(self) -> dict[str, Any]:
        """What ``from_args`` needs to build this matcher again, fit for JSON."""
        return {
            "config": asdict(self.config),
            "vocabulary": self.vocabulary.to_json(),
            "max_tokens": self.max_tokens,
        }

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> DAMSMMatcher:
        """An untrained matcher of the sizes that ``init_args`` wrote down."""
        return cls(
            DAMSMConfig(**args["config"]),
            Vocabulary.from_json(args["vocabulary"]),
            args["max_tokens"],
        )

    def encode_captions(self, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Word features (B, T, D), sentence features (B, D) and mask (B, T).

        Raises:
            ValueError: no caption, an empty one, or one without a known word.
        """
        tokens, lengths = self.vocabulary.read(captions, self.max_tokens)
        device = next(self.parameters()).device
        tokens, lengths = tokens.to(device), lengths.to(device)
        mask = torch.arange(tokens.shape[1], device=device)[None, :] < lengths[:, None]
        return *self.text_encoder(tokens, lengths), mask

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Region features (B, D, h, w) and picture features (B, D), a part at a time.

        Raises:
            ValueError: pictures that the encoder cannot take.
        """
        device = next(self.parameters()).device
        parts = [
            self.image_encoder(part.to(device))
            for part in images.split(_MATCHED_AT_ONCE)
        ]
        regions, features = zip(*parts, strict=True)
        return torch.cat(regions), torch.cat(features)

    @torch.no_grad()
    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """How well every picture suits every caption; more is better.

        The sum of the word-level score R and the sentence-level cosine, each as it was
        trained: comparable within a row or a column. (On validation data the sum finds
        more than either; the cosine alone, which R-precision was first defined with, is
        clearly worse on two objects.)

        Args:
            images: (B_images, 3, H, W) in [-1, 1], of the size of the training.
            captions: B_captions texts.

        Returns:
            Scores, shape (B_images, B_captions).

        Raises:
            ValueError: pictures or captions that the encoders cannot take.
        """
        return self._match(*self.encode_images(images), *self.encode_captions(captions))

    @torch.no_grad()
    def candidate_scores(
        self,
        images: Tensor,
        captions: Sequence[str],
        chosen: Tensor,
        direction: str = "image_to_text",
    ) -> Tensor:
        """The scores of a few pairs only, each side encoded once.

        Args:
            images: (N, 3, H, W).
            captions: N texts.
            chosen: (N, K) int64, for each picture the captions to score; for
                ``direction`` "text_to_image", for each caption the pictures.

        Returns:
            Scores, shape (N, K).
        """
        regions, features = self.encode_images(images)
        words, sentence, mask = self.encode_captions(captions)
        rows = []
        for i, others in enumerate(chosen.to(words.device)):
            pictures, texts = slice(i, i + 1), others
            if direction == "text_to_image":
                pictures, texts = texts, pictures
            row = self._match(
                regions[pictures],
                features[pictures],
                words[texts],
                sentence[texts],
                mask[texts],
            )
            rows.append(row.flatten())
        return torch.stack(rows)

    def _match(
        self,
        regions: Tensor,
        features: Tensor,
        words: Tensor,
        sentence: Tensor,
        mask: Tensor,
    ) -> Tensor:
        gamma1, gamma2 = self.config.gamma1, self.config.gamma2
        word = word_region_scores(
            regions, words, mask, gamma1, gamma2, chunk_size=_MATCHED_AT_ONCE
        )
        return word + sentence_scores(features, sentence)

    def image_to_text(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Captions of each picture from best to worst: (B_images, B_captions)."""
        return self.scores(images, captions).argsort(dim=1, descending=True)

    def text_to_image(self, captions: Sequence[str], images: Tensor) -> Tensor:
        """Pictures of each caption from best to worst: (B_captions, B_images)."""
        return self.scores(images, captions).t().argsort(dim=1, descending=True)

    @torch.no_grad()
    def attention_maps(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Where each word of a caption looks in its picture: (B, T, h, w)."""
        words, _, mask = self.encode_captions(captions)
        regions, _ = self.image_encoder(images.to(words.device))
        return word_region_attention(words, regions, mask, self.config.gamma1)[1]


def image_encoder(config: DAMSMConfig, trained: bool = True) -> ImageEncoder:
    """The image encoder that a config asks for.

    Args:
        config: its ``encoder``, and the sizes of a small one.
        trained: give a frozen trunk its ImageNet weights; otherwise random ones, to be
            replaced by those of a checkpoint.

    Raises:
        ValueError: sizes that do not fit, or a file of weights of something else.
        FileNotFoundError, RuntimeError, ModuleNotFoundError: weights that are not to be
            had.
    """
    if config.encoder == "inception":
        weights = config.encoder_weights if trained else None
        return ImageEncoder.inception(config.feature_dim, weights)
    if config.encoder == "efficientnet-lite0":
        return ImageEncoder.efficientnet_lite0(config.feature_dim, trained)
    return ImageEncoder.small(
        config.image_size, config.feature_dim, config.width, config.grid, config.patch
    )


def _text_encoder(config: DAMSMConfig, vocabulary: Vocabulary) -> TextEncoder:
    return TextEncoder(
        len(vocabulary),
        config.embedding_dim,
        config.feature_dim,
        config.pooling,
        config.dropout,
        config.word_range,
    )


def _paper_defaults(
    scale: str, dataset_name: str
) -> tuple[DAMSMConfig, dict[str, Any], dict[str, Any]]:
    """AttnGAN's sizes and rates; the smaller scales are fewer steps of them."""
    config = DAMSMConfig(
        299, 256, 300, encoder="inception", dropout=0.5, learning_rate=2e-3
    )
    epochs, pictures = (100, 82_783) if dataset_name == "coco" else (200, 8_855)
    steps = {"smoke": 2, "laptop": 200, "full": epochs * (pictures // 48)}
    training = {
        "steps": steps[scale],
        "batch_size": 4 if scale == "smoke" else 48,
        "schedule": "cosine",
        "gradient_clip": 1.0,
        "workers": 4 if scale == "full" else 0,
    }
    return config, training, {"image_size": 299, "language": "en"}


def _check_gammas(**gammas: float) -> None:
    for name, value in gammas.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0; got {value}.")


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
