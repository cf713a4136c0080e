"""What both tasks of AttnGAN minimise: the game at every stage, KL, and DAMSM.

Xu et al., *AttnGAN*, CVPR 2018, equations 3-6. Where paper and published code differ,
this follows the code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mmgen.objectives.adversarial import OBJECTIVES


def pictures_of_stages(images: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Real pictures at the size of every stage, by averaging squares of pixels.

    Args:
        images: (B, 3, S, S), S the last of ``sizes``.
        sizes: ascending, each a divisor of S.

    Returns:
        A tensor (B, 3, size, size) for each size.
    """
    side = images.shape[-1]
    return [
        images if size == side else avg_pool2d(images, side // size) for size in sizes
    ]


def condition_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    r"""Divergence of the condition's distribution from N(0, I), a mean over entries.

    .. math:: L_{KL} = -\tfrac12 \, \mathrm{mean}_{b,k}
        \big(1 + \log\sigma^2 - \mu^2 - \sigma^2\big)

    A VAE sums over the C dimensions instead: this is that sum, divided by C.

    Args:
        mu, logvar: (B, C).

    Returns:
        A scalar, at least 0, in nats per dimension.
    """
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean()


def discriminator_loss(
    real: tuple[Tensor, ...],
    fake: tuple[Tensor, ...],
    objective: str,
    wrong: Tensor | None = None,
) -> Tensor:
    r"""What one stage's discriminator minimises.

    .. math:: L_D = \tfrac12 \big[\ell(D^u(x), 1) + \ell(D^c(x, \bar e), 1)\big]
        + \tfrac13 \big[\ell(D^u(\hat x), 0) + \ell(D^c(\hat x, \bar e), 0)
        + \ell(D^c(x, \bar e_{wrong}), 0)\big]

    with the cross-entropy :math:`\ell(s, y)` of a logit, or its hinge
    :math:`\max(0, 1 \mp s)`. The paper's equation 5 has no wrong pairs and 1/2
    everywhere; this is its code.

    Args:
        real: conditional, unconditional and mismatched logits of real pictures.
        fake: conditional and unconditional logits of generated ones.
        objective: a name in ``OBJECTIVES``.
        wrong: of mismatched logits (B, N) which pairs are wrong, bool; each picture's
            mean over them counts. All by default.

    Returns:
        A scalar.
    """
    conditional, unconditional, mismatched = real
    costs = OBJECTIVES[objective]
    refused = costs.fake_cost(mismatched)
    if wrong is not None:
        count = wrong.sum(dim=1).clamp_min(1)  # (B,)
        refused = (refused * wrong).sum(dim=1) / count
    right = [costs.real_cost(s).mean() for s in (conditional, unconditional)]
    drawn = [costs.fake_cost(s).mean() for s in fake[:2]]
    return sum(right) / 2 + (sum(drawn) + refused.mean()) / 3


def adversarial_loss(fake: Sequence[tuple[Tensor, ...]], objective: str) -> Tensor:
    r"""What the generator minimises to pass for real, a sum over stages.

    .. math:: \sum_i \ell(D_i^u(\hat x_i), 1) + \ell(D_i^c(\hat x_i, \bar e), 1)

    The hinge game has :math:`-s` for :math:`\ell(s, 1)` here (Lim and Ye 2017).

    Args:
        fake: conditional and unconditional logits of every stage.
        objective: a name in ``OBJECTIVES``.

    Returns:
        A scalar. (The paper's equation 4 has 1/2 before each; this is its code.)
    """
    costs = OBJECTIVES[objective]
    terms = [costs.generator(logits) for pair in fake for logits in pair[:2]]
    return torch.stack(terms).sum()
