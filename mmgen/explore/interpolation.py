"""Paths between two points of a latent space."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(
    start: Tensor, end: Tensor, steps: int, spherical: bool = True
) -> Tensor:
    """Points from ``start`` to ``end``, both included.

    A straight line between two Gaussian samples of dimension Z passes through points of
    norm near sqrt(Z/2), where almost no sample lies; the great circle keeps the norm
    (White, "Sampling Generative Networks", 2016, section 2.1).

    Args:
        start, end: shape (Z,) each, or any equal shape, taken as one vector.
        steps: number of points, at least 2.
        spherical: along the great circle; the norm changes linearly from one end to the
            other. Otherwise along the straight line.

    Returns:
        Shape (steps, *start.shape).

    Raises:
        ValueError: different shapes, fewer than two steps, or an end of norm 0 on the
            great circle.
    """
    if start.shape != end.shape:
        raise ValueError(
            f"start and end must have one shape; got {tuple(start.shape)} and "
            f"{tuple(end.shape)}."
        )
    if steps < 2:
        raise ValueError(f"steps must be at least 2, the two ends; got {steps}.")
    share = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype)
    share = share.reshape(steps, *[1] * start.dim())
    line = (1 - share) * start + share * end
    if not spherical:
        return line
    norm_start, norm_end = start.norm(), end.norm()
    if norm_start == 0 or norm_end == 0:
        raise ValueError(
            "a point of norm 0 has no direction to turn from; pass spherical=False."
        )
    cosine = (start * end).sum() / (norm_start * norm_end)
    angle = torch.arccos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    # Ends in the same or in opposite directions span no plane to turn in.
    if sine.abs() < 1e-4:
        return line
    direction = (
        torch.sin((1 - share) * angle) * (start / norm_start)
        + torch.sin(share * angle) * (end / norm_end)
    ) / sine
    return ((1 - share) * norm_start + share * norm_end) * direction
