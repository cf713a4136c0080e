r"""Measures of a latent-variable model: how much it codes, how well, and where.

The two terms of the bound are a *rate*, the nats that a code costs, and a *distortion*,
the nats that are then still missing; a model is a point in that plane, and models with
the same sum can be very different things (Alemi et al., *Fixing a Broken ELBO*, ICML
2018).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

GREY_LEVEL = 2 / 255  # between neighbouring 8-bit values, in units of [-1, 1]


def bits_per_dimension(
    log_likelihood: Tensor, dimensions: int, bin_width: float = GREY_LEVEL
) -> Tensor:
    r"""Bits a value that a model needs to code data at the precision of its bins.

    .. math:: -\frac{\log p(x) + D \log \Delta}{D \log 2}

    A density has no bits: it is turned into the probability of a bin of width Δ by
    taking it as constant across the bin. Compare only numbers of the same Δ, and only
    with likelihoods that are not narrower than a bin.

    Args:
        log_likelihood: log p(x), or a lower bound of it, in nats, any shape.
        dimensions: D, values in one datum: 3 H W.
        bin_width: Δ in the units of the density; 1 for the probability of discrete
            data.

    Returns:
        The same shape. Where a lower bound went in, an upper bound comes out.

    Raises:
        ValueError: no dimension, or a width that is not positive.

    Source:
        Theis, van den Oord and Bethge, *A note on the evaluation of generative models*,
        ICLR 2016, section 3.1.
    """
    if dimensions < 1:
        raise ValueError(f"dimensions must be at least 1; got {dimensions}.")
    if not bin_width > 0:
        raise ValueError(f"bin_width must be positive; got {bin_width}.")
    nats = -(log_likelihood / dimensions + math.log(bin_width))
    return nats / math.log(2)


@dataclass(frozen=True)
class ActiveUnits:
    """Which dimensions of a code depend on the datum at all."""

    active: tuple[bool, ...]  # of each dimension
    variances: tuple[float, ...]  # of the posterior means over the data
    n: int  # data looked at

    @property
    def count(self) -> int:
        """How many dimensions are active."""
        return sum(self.active)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"count": self.count, **asdict(self)}


def active_units(mu: Tensor, threshold: float = 0.01) -> ActiveUnits:
    r"""Dimensions whose posterior mean varies over the data.

    .. math:: \mathrm{Var}_x\big(E_{q(z|x)}[z_d]\big) > 0.01

    A collapsed dimension has the prior as posterior for every x: mean 0 always.

    Args:
        mu: posterior means of N data, (N, Z), N >= 2.
        threshold: variance above which a dimension counts as active.

    Raises:
        ValueError: fewer than two data, of which no variance can be taken, or another
            shape.

    Source:
        Burda, Grosse and Salakhutdinov, ICLR 2016, section 5.1.
    """
    if mu.ndim != 2 or len(mu) < 2:
        raise ValueError(
            f"mu must have shape (N, Z) with N >= 2, over which it varies; got "
            f"{tuple(mu.shape)}."
        )
    variances = mu.double().var(dim=0)
    return ActiveUnits(
        tuple((variances > threshold).tolist()), tuple(variances.tolist()), len(mu)
    )


@dataclass(frozen=True)
class RateDistortion:
    """A model's place in the rate-distortion plane, means over n data in nats."""

    rate: float  # mean KL(q(z|x) || p(z)): what the codes cost
    distortion: float  # mean -E_q[log p(x|z)]: what they fail to say
    rate_error: float  # standard error of the mean
    distortion_error: float
    n: int

    @property
    def elbo(self) -> float:
        """The bound, -(rate + distortion)."""
        return -(self.rate + self.distortion)

    def to_json(self) -> dict[str, Any]:
        """The point as JSON values."""
        return {"elbo": self.elbo, **asdict(self)}


def rate_distortion(kl: Tensor, log_likelihood: Tensor) -> RateDistortion:
    """Where a model lies in the rate-distortion plane.

    Args:
        kl: KL(q(z|x) || p(z)) of N data, (N,), nats.
        log_likelihood: E_q[log p(x|z)] of the same data, (N,), nats.

    Raises:
        ValueError: different shapes, or fewer than two data.

    Source:
        Alemi et al. 2018, section 2.2.
    """
    if kl.shape != log_likelihood.shape or kl.ndim != 1 or len(kl) < 2:
        raise ValueError(
            f"kl and log_likelihood must both have shape (N,) with N >= 2; got "
            f"{tuple(kl.shape)} and {tuple(log_likelihood.shape)}."
        )
    rate, rate_error = _mean_and_error(kl)
    distortion, distortion_error = _mean_and_error(-log_likelihood)
    return RateDistortion(rate, distortion, rate_error, distortion_error, len(kl))


@dataclass(frozen=True)
class ReconstructionError:
    """How far reconstructions are from their pictures."""

    rmse: (
        float  # root mean square error of a picture, mean over pictures, [-1, 1] units
    )
    rmse_error: float  # standard error of that mean
    psnr: float  # peak signal-to-noise ratio, mean over pictures, decibel
    n: int

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


def reconstruction_error(
    images: Tensor, reconstructions: Tensor
) -> ReconstructionError:
    r"""Pixel error of reconstructions; PSNR is :math:`20 \log_{10}(2 / \mathrm{RMSE})`.

    Args:
        images: (N, 3, H, W) in [-1, 1], N >= 2.
        reconstructions: the same shape.

    Raises:
        ValueError: different shapes, or fewer than two pictures.
    """
    if images.shape != reconstructions.shape or images.ndim != 4 or len(images) < 2:
        raise ValueError(
            f"images and reconstructions must both have shape (N, 3, H, W), N >= 2; "
            f"got {tuple(images.shape)} and {tuple(reconstructions.shape)}."
        )
    squares = (images.double() - reconstructions.double()).square()
    rmse = squares.flatten(1).mean(dim=1).sqrt()
    mean, error = _mean_and_error(rmse)
    psnr = 20 * torch.log10(2 / rmse)  # infinite for a perfect picture
    return ReconstructionError(mean, error, psnr.mean().item(), len(images))


def _mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean of (N,) values and the standard error of that mean."""
    values = values.double()
    return values.mean().item(), (values.std() / math.sqrt(len(values))).item()
