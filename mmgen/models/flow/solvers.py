r"""From noise to data along a velocity field: four ways to take a step.

A field is any function of points (B, ...) and times (B,) to velocities (B, ...): a
network, or one that is known in closed form.

Song, Meng and Ermon, *Denoising Diffusion Implicit Models*, ICLR 2021.
Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*,
NeurIPS 2022.
Meng et al., *SDEdit*, ICLR 2022.
Lugmayr et al., *RePaint*, CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mmgen.models.flow.paths import LinearPath, Path

Field = Callable[[Tensor, Tensor], Tensor]
Solver = Literal["euler", "heun", "ddim", "ancestral"]
SOLVERS: tuple[Solver, ...] = ("euler", "heun", "ddim", "ancestral")

MOST_STEPS = 1000  # as many as DDPM took

LINEAR = LinearPath()


def time_grid(steps: int, begin: float = 0.0) -> Tensor:
    """Times of equal distance from ``begin`` to 1, (steps + 1,) float64.

    Args:
        steps: from 1 to 1000.
        begin: of the first, in [0, 1). Above 0, the start is a point with some data in
            it: a picture to which noise was added (SDEdit).

    Raises:
        ValueError: either out of range.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"steps must lie in 1..{MOST_STEPS}; got {steps}.")
    if not 0 <= begin < 1:
        raise ValueError(
            f"begin must lie in [0, 1), 0 = from noise alone; got {begin}."
        )
    return torch.linspace(begin, 1, steps + 1, dtype=torch.float64)


class Held(NamedTuple):
    """What stays as it is while the rest is drawn (inpainting)."""

    data: Tensor  # (B, ...)
    noise: Tensor  # (B, ...), that the solver started from
    mask: Tensor  # (B, ...) bool, True = stays; broadcast to data


def euler_step(field: Field, points: Tensor, now: float, then: float) -> Tensor:
    """Along the velocity here: an error of the order of 1 / steps in all."""
    return points + (then - now) * field(points, _rows(now, points))


def heun_step(field: Field, points: Tensor, now: float, then: float) -> Tensor:
    """Along the mean of the velocities here and there: an error of 1 / steps².

    The step to time 1 is Euler's. There the variance-preserving path has no velocity,
    and one step of Euler's costs no order (Karras et al. 2022, algorithm 1).
    """
    here = field(points, _rows(now, points))
    guess = points + (then - now) * here
    if then == 1:
        return guess
    return points + (then - now) * (here + field(guess, _rows(then, points))) / 2


def ddim_step(
    field: Field, points: Tensor, now: float, then: float, path: Path
) -> Tensor:
    r"""To the data and the noise that the velocity tells of, mixed as at ``then``.

    .. math:: x_{t'} = a(t')\, \hat x + s(t')\, \hat\varepsilon

    On the linear path this is Euler's step. On any other it is Euler's step on the
    linear one, in that path's time and scale.

    Source:
        Song, Meng and Ermon 2021, eq. 12 with σ = 0.
    """
    time = _rows(now, points)
    ends = path.ends(field(points, time), "velocity", points, time)
    return path.point(*ends, _rows(then, points))


def ancestral_step(
    field: Field, points: Tensor, now: float, then: float, path: Path, noise: Tensor
) -> Tensor:
    r"""A draw from the distribution of a less noisy point (DDPM).

    .. math:: x_{t'} = a' \hat x + \sqrt{s'^2 - \eta^2}\, \hat\varepsilon + \eta\, n,
              \qquad \eta^2 = s'^2 \Bigl(1 - \frac{a^2 s'^2}{s^2 a'^2}\Bigr)

    with primes for time t'. On the variance-preserving path η² is the posterior's
    variance, :math:`\frac{1 - \bar\alpha'}{1 - \bar\alpha} (1 - \bar\alpha /
    \bar\alpha')`.

    Args:
        noise: n, as points.

    Source:
        Ho et al. 2020, eq. 6-7; for any two times Song, Meng and Ermon 2021, eq. 16.
    """
    time, later = _rows(now, points), _rows(then, points)
    ends = path.ends(field(points, time), "velocity", points, time)
    before = path.coefficients(points.new_tensor(now))
    after = path.coefficients(points.new_tensor(then))
    old_share = (before.data * after.noise / (before.noise * after.data)).square()
    # what is left of the old noise, and what is new
    kept = ends.noise * old_share.sqrt() + noise * (1 - old_share).sqrt()
    return path.point(ends.data, kept, later)


def solve(
    field: Field,
    start: Tensor,
    times: Tensor,
    solver: Solver = "euler",
    path: Path = LINEAR,
    noise: Tensor | None = None,
    held: Held | None = None,
) -> Tensor:
    """Follow a field from the first time to the last.

    Args:
        field: of the path.
        start: points (B, ...) at the first time.
        times: (N + 1,), rising, in [0, 1].
        solver: "euler", "heun", "ddim" or "ancestral"; "heun" asks the field 2 N - 1
            times on the way to time 1, the others N times.
        path: that the field belongs to; "euler" and "heun" need not know.
        noise: (N, B, ...) standard normal, for "ancestral" alone. (Of the last nothing
            is left where the steps end at time 1, in data without noise.)
        held: what stays; None: nothing does.

    Returns:
        Points (B, ...) at the last time.

    Raises:
        ValueError: an unknown solver, times that do not rise within [0, 1], or noise
            where it is not needed or of another shape.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}; got {solver!r}.")
    if times.ndim != 1 or len(times) < 2 or not bool((times.diff() > 0).all()):
        raise ValueError(f"times must be two numbers or more that rise; got {times}.")
    if not (times[0] >= 0 and times[-1] <= 1):
        raise ValueError(
            f"times must lie in [0, 1], 0 = noise and 1 = data; got "
            f"{times[0]:g}..{times[-1]:g}."
        )
    wanted = (len(times) - 1, *start.shape) if solver == "ancestral" else None
    got = None if noise is None else tuple(noise.shape)
    if got != wanted:
        raise ValueError(f"noise must be of shape {wanted} for {solver!r}; got {got}.")
    points = start
    for i, (now, then) in enumerate(pairwise(times.tolist())):
        if solver == "euler":
            points = euler_step(field, points, now, then)
        elif solver == "heun":
            points = heun_step(field, points, now, then)
        elif solver == "ddim":
            points = ddim_step(field, points, now, then, path)
        else:
            assert noise is not None
            points = ancestral_step(field, points, now, then, path, noise[i])
        if held is not None:
            there = path.point(held.data, held.noise, _rows(then, points))
            points = torch.where(held.mask, there, points)
    return points


def _rows(time: float, points: Tensor) -> Tensor:
    """One time for all points, (B,), of their type and device."""
    return points.new_full((len(points),), time)
