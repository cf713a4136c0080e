r"""Paths from noise to data, and the velocity fields that follow them.

A path mixes a data point x with noise :math:`\varepsilon \sim N(0, I)`, from noise at
time 0 to data at time 1:

.. math:: x_t = a(t)\, x + s(t)\, \varepsilon, \qquad
          v_t = \dot a(t)\, x + \dot s(t)\, \varepsilon

The linear path of flow matching and the variance-preserving path of diffusion differ in
a and s alone. Each is the other in another time and scale: ``Path.as_linear``.

Lipman et al., *Flow Matching for Generative Modeling*, ICLR 2023.
Liu, Gong and Liu, *Flow Straight and Fast* (rectified flow), ICLR 2023.
Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

# What a network may predict at a point of a path: v, x or epsilon.
Prediction = Literal["velocity", "data", "noise"]

COSINE_OFFSET = 0.008  # of Nichol and Dhariwal 2021: so that the last steps are visible
BETA_FIRST, BETA_LAST = 0.1, 20.0  # 1,000 times DDPM's 1e-4 and 0.02


class Coefficients(NamedTuple):
    """A path's a(t), s(t) and their derivatives, (B,) each."""

    data: Tensor
    noise: Tensor
    data_rate: Tensor
    noise_rate: Tensor


class Ends(NamedTuple):
    """The data and the noise that a point lies between, (B, ...) each."""

    data: Tensor
    noise: Tensor


class Path(ABC):
    """A way from noise (time 0) to data (time 1)."""

    @abstractmethod
    def _coefficients(self, time: Tensor) -> Coefficients:
        """At times (B,) in [0, 1]."""

    def coefficients(self, time: Tensor) -> Coefficients:
        """a, s and their derivatives at times (B,).

        Raises:
            ValueError: a time outside [0, 1], or NaN (looked at on the CPU only).
        """
        if time.device.type == "cpu" and not torch.compiler.is_compiling():
            outside = ~((time >= 0) & (time <= 1))
            if bool(outside.any()):
                raise ValueError(
                    f"time must lie in [0, 1], 0 = noise and 1 = data; got "
                    f"{time[outside].flatten()[0].item():g}."
                )
        return self._coefficients(time)

    def point(self, data: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """The point x_t (B, ...) between data and noise (B, ...) at times (B,)."""
        at = self.coefficients(time)
        return _each(at.data, data) * data + _each(at.noise, data) * noise

    def velocity(self, data: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """The conditional target v_t (B, ...), d x_t / dt with both ends held."""
        at = self.coefficients(time)
        return _each(at.data_rate, data) * data + _each(at.noise_rate, data) * noise

    def ends(
        self, prediction: Tensor, given: Prediction, points: Tensor, time: Tensor
    ) -> Ends:
        r"""The data and the noise that a prediction at points x_t implies.

        .. math:: \varepsilon = \frac{x_t - a x}{s}, \qquad
                  x = \frac{x_t - s \varepsilon}{a}, \qquad
                  (x, \varepsilon) = \frac{(\dot s x_t - s v,\; a v - \dot a x_t)}
                                          {a \dot s - s \dot a}

        Args:
            prediction: (B, ...) of the kind ``given``.
            given: "velocity", "data" or "noise".
            points: x_t, (B, ...).
            time: (B,).

        Raises:
            ValueError: a time at which this kind does not decide both ends: "data"
                where no noise is left, "noise" where no data is in the point, or a
                velocity that is infinite (the variance-preserving path's at 1).
        """
        at = self.coefficients(time)
        a, s, a_rate, s_rate = (_each(value, points) for value in at)
        if given == "data":
            _require_decided(at.noise, given, "no noise is left at time 1")
            return Ends(prediction, (points - a * prediction) / s)
        if given == "noise":
            _require_decided(at.data, given, "no data is in the point at time 0")
            return Ends((points - s * prediction) / a, prediction)
        _require_decided(1 / at.noise_rate, given, "it is infinite at time 1")
        determinant = a * s_rate - s * a_rate
        return Ends(
            (s_rate * points - s * prediction) / determinant,
            (a * prediction - a_rate * points) / determinant,
        )

    def translate(
        self,
        prediction: Tensor,
        given: Prediction,
        wanted: Prediction,
        points: Tensor,
        time: Tensor,
    ) -> Tensor:
        """A prediction (B, ...) of one kind as another kind.

        Args:
            prediction, given, points, time: as for ``ends``.
            wanted: the kind to be given back.

        Raises:
            ValueError: as for ``ends``.
        """
        if given == wanted:
            return prediction
        ends = self.ends(prediction, given, points, time)
        if wanted == "velocity":
            return self.velocity(*ends, time)
        return ends.data if wanted == "data" else ends.noise

    def as_linear(self, points: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        r"""The same points on the linear path, and their times on it.

        .. math:: \frac{x_t}{a + s} = t'\, x + (1 - t')\, \varepsilon, \qquad
                  t' = \frac{a}{a + s}

        Args:
            points: x_t, (B, ...).
            time: (B,).
        """
        at = self.coefficients(time)
        whole = at.data + at.noise
        return points / _each(whole, points), at.data / whole


class LinearPath(Path):
    r"""The straight line: a(t) = t, s(t) = 1 - t, v = x - ε.

    Source:
        Liu et al. 2023, eq. 1; Lipman et al. 2023, eq. 20-23 with σ_min = 0.
    """

    def _coefficients(self, time: Tensor) -> Coefficients:
        one = torch.ones_like(time)
        return Coefficients(time, 1 - time, one, -one)


class VariancePreservingPath(Path):
    r"""The path of diffusion models: :math:`a^2 + s^2 = 1`.

    DDPM's :math:`\bar\alpha_k` is :math:`a(t)^2` at ``index_time(k, T)``. Between
    these times stands the limit of ever smaller steps:

    .. math:: \bar\alpha = e^{-\beta_0 u - (\beta_1 - \beta_0) u^2 / 2}
              \;\;\text{(linear)}, \qquad
              \bar\alpha = \frac{\cos^2 \theta(u)}{\cos^2 \theta(0)},\;
              \theta(u) = \frac{\pi}{2}\, \frac{u + 0.008}{1.008}
              \;\;\text{(cosine)}

    with the diffusion's own time u = 1 - t, β_0 = 0.1 and β_1 = 20.

    Args:
        schedule: "linear" (of the betas) or "cosine".

    Raises:
        ValueError: another schedule.

    Source:
        Ho et al. 2020, eq. 4; Song et al., *Score-Based Generative Modeling through
        SDEs*, ICLR 2021, appendix C; Nichol and Dhariwal, *Improved
        Denoising Diffusion Probabilistic Models*, ICML 2021, eq. 17.
    """

    def __init__(self, schedule: Literal["linear", "cosine"] = "cosine") -> None:
        if schedule not in ("linear", "cosine"):
            raise ValueError(
                f'schedule must be "linear" or "cosine"; got {schedule!r}.'
            )
        self.schedule = schedule

    def _coefficients(self, time: Tensor) -> Coefficients:
        u = 1 - time
        if self.schedule == "linear":
            log_share = -(BETA_FIRST * u + (BETA_LAST - BETA_FIRST) * u.square() / 2)
            a = (log_share / 2).exp()
            a_rate = a * (BETA_FIRST + (BETA_LAST - BETA_FIRST) * u) / 2
            s = (-torch.expm1(log_share)).sqrt()
        else:
            slope = math.pi / 2 / (1 + COSINE_OFFSET)
            first, theta = slope * COSINE_OFFSET, slope * (u + COSINE_OFFSET)
            # cos(π / 2) is not 0 in floating point
            a = theta.cos().clamp(min=0) / math.cos(first)
            a_rate = slope * theta.sin() / math.cos(first)
            # 1 - a² without the digits that the difference loses near time 1
            product = (theta + first).sin() * (slope * u).sin()
            s = product.clamp(min=0).sqrt() / math.cos(first)
        return Coefficients(a, s, a_rate, -a * a_rate / s)


def _each(values: Tensor, like: Tensor) -> Tensor:
    """A number a sample, (B,), to be multiplied with (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _require_decided(values: Tensor, given: str, why: str) -> None:
    """Refuse a division by 0, on the CPU."""
    if values.device.type == "cpu" and bool((values == 0).any()):
        raise ValueError(
            f"given must be another kind of prediction at this time: {given!r} does "
            f"not decide both ends, as {why}."
        )


def index_time(index: Tensor | int, count: int) -> Tensor:
    """The time of DDPM's index k in 0..T-1, where index 0 has one step of noise.

    Args:
        index: k.
        count: T.

    Returns:
        1 - (k + 1) / T, float32.
    """
    return 1 - (torch.as_tensor(index) + 1) / count


def logit_normal_times(noise: Tensor, mean: float, deviation: float) -> Tensor:
    r"""Training times :math:`t = \sigma(m + d\, n)` of standard normal noise n.

    A mean below 0 draws more times near the noise, where it is decided what is where.
    SD3's shift by :math:`\alpha` of the time of noise u = 1 - t,
    :math:`\alpha u / (1 + (\alpha - 1) u)`, is a mean that is lower by
    :math:`\ln \alpha`.

    Args:
        noise: (B,).
        mean: m.
        deviation: d.

    Returns:
        (B,) in [0, 1].

    Source:
        Esser et al., *Scaling Rectified Flow Transformers*, ICML 2024, eq. 19 and 23.
    """
    return (mean + deviation * noise).sigmoid()


# ------------------------------------------------- fields that are known in closed form


def discrete_velocity(path: Path, points: Tensor, time: Tensor, data: Tensor) -> Tensor:
    r"""The marginal velocity of a path to N equally likely data points.

    .. math:: v_t(y) = \sum_i w_i\, v_t(y \mid x_i), \qquad
              w = \operatorname{softmax}_i \frac{-\lVert y - a x_i \rVert^2}{2 s^2}

    w is the posterior of the data point, given where the path is. This is what a
    network with no limit learns of a data set; it draws the training data.

    Args:
        path: of which the field is.
        points: y, (B, D).
        time: (B,) in [0, 1): at 1, the softmax has no width left.
        data: (N, D).

    Returns:
        (B, D).

    Raises:
        ValueError: a time outside [0, 1).

    Source:
        Lipman et al. 2023, eq. 8.
    """
    at = path.coefficients(time)
    squares = (points[:, None] - at.data[:, None, None] * data).square().sum(dim=2)
    weights = (-squares / (2 * at.noise.square()[:, None])).softmax(dim=1)  # (B, N)
    return path.translate(weights @ data, "data", "velocity", points, time)


def gaussian_velocity(
    path: Path, points: Tensor, time: Tensor, mean: Tensor, covariance: Tensor
) -> Tensor:
    r"""The marginal velocity of a path to data :math:`N(m, C)`.

    .. math:: v_t(y) = \dot a\, E[x | y] + \dot s\, E[\varepsilon | y], \quad
              E[x | y] = m + a C r, \quad E[\varepsilon | y] = s\, r, \quad
              r = (a^2 C + s^2 I)^{-1} (y - a m)

    Args:
        path: of which the field is.
        points: y, (B, D).
        time: (B,).
        mean: m, (D,).
        covariance: C, (D, D), symmetric, no eigenvalue below 0.

    Returns:
        (B, D).

    Raises:
        ValueError: a time outside [0, 1].
    """
    at = path.coefficients(time)
    a, s = at.data[:, None], at.noise[:, None]
    values, axes = torch.linalg.eigh(covariance)
    rest = (points - a * mean) @ axes / (a.square() * values + s.square())
    return path.velocity(mean + a * (values * rest) @ axes.T, s * rest @ axes.T, time)
