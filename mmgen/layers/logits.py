"""From logits to a choice: guidance, temperature, top-k, nucleus.

Ho and Salimans, *Classifier-Free Diffusion Guidance*, arXiv 2207.12598, 2022.
Holtzman et al., *The Curious Case of Neural Text Degeneration*, ICLR 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor


def guided(told: Tensor, untold: Tensor, scale: float) -> Tensor:
    r"""Logits moved away from what would be written without a caption.

    .. math:: \ell = \ell_\emptyset + s\,(\ell_c - \ell_\emptyset)

    s = 1 is the model itself, s = 0 forgets the caption. (Ho and Salimans write
    :math:`(1 + w)\ell_c - w\,\ell_\emptyset`: their w is s - 1.)

    Args:
        told, untold: logits with the caption and without, of one shape.
        scale: s.

    Source:
        Ho and Salimans 2022, eq. 6, there on scores.
    """
    return told if scale == 1 else untold + scale * (told - untold)


def check_choice(temperature: float, top_k: int | None, top_p: float) -> None:
    """Refuse what ``filtered`` cannot use.

    Raises:
        ValueError: a negative temperature, a top_k below 1, or a top_p outside (0, 1].
    """
    if not 0 <= temperature < float("inf"):
        raise ValueError(
            f"temperature must be a number from 0 (always the likeliest code) upwards; "
            f"got {temperature}."
        )
    if top_k is not None and top_k < 1:
        raise ValueError(
            f"top_k must be at least 1, or None for all codes; got {top_k}."
        )
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1]; got {top_p}.")


def filtered(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> Tensor:
    r"""Probabilities of what may be chosen.

    First the temperature, :math:`\mathrm{softmax}(\ell / \tau)`. Then all but the
    likeliest k are left out; equal ones at the edge all stay. Then the nucleus: the
    fewest of the likeliest whose probabilities sum to at least p.

    Args:
        logits: (..., K).
        temperature: tau; at 0 the likeliest alone.
        top_k: k, or None for all.
        top_p: p in (0, 1].

    Returns:
        (..., K) float32 (of float64: float64), sums of 1.

    Raises:
        ValueError: as for ``check_choice``.
    """
    check_choice(temperature, top_k, top_p)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if temperature == 0:
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.zeros_like(logits).scatter_(-1, best, 1.0)
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    # of the distance to the largest: near temperature 0 the quotient leaves the floats
    logits = logits - logits.amax(dim=-1, keepdim=True)
    logits = logits / max(temperature, torch.finfo(logits.dtype).tiny)
    shares = logits.softmax(dim=-1)
    if top_p < 1:
        falling, order = shares.sort(dim=-1, descending=True)
        before = falling.cumsum(dim=-1) - falling  # of those likelier
        falling = falling.masked_fill(before >= top_p, 0.0)
        shares = torch.zeros_like(shares).scatter_(-1, order, falling)
        shares = shares / shares.sum(dim=-1, keepdim=True)
    return shares


def choose(shares: Tensor, noise: Tensor) -> Tensor:
    r"""Draw from probabilities with given noise, one normal number a choice.

    Its quantile :math:`u = \Phi(n)` says how far up the sum of the probabilities to go.
    So the same noise makes the same choice, however many rows are drawn at once.

    Args:
        shares: (..., K), sums of 1.
        noise: (...) standard normal.

    Returns:
        (...) int64; never one of probability 0.
    """
    sums = shares.cumsum(dim=-1)
    # of the last sum, which rounding leaves near 1, not at it
    level = quantile(noise.to(shares))[..., None] * sums[..., -1:]
    return (sums <= level).sum(dim=-1)


def quantile(noise: Tensor) -> Tensor:
    r"""Uniform numbers :math:`\Phi(n)` of standard normal noise, kept off 0 and 1."""
    return torch.special.ndtr(noise).clamp(1e-6, 1 - 1e-6)
