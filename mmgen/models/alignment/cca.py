r"""Canonical correlation analysis: the best linear alignment, in closed form.

Two kinds of features of the same samples, such as those of pictures and of their
captions. Which directions a, b make their projections most alike?

.. math:: \rho = \max_{a, b} \frac{a^\top C_{xy} b}
          {\sqrt{a^\top C_{xx} a} \sqrt{b^\top C_{yy} b}}

Whiten each side, so that both square roots become lengths, and what is left is a
singular value decomposition,

.. math:: C_{xx}^{-1/2} C_{xy} C_{yy}^{-1/2} = U \, \mathrm{diag}(\rho) \, V^\top,
          \qquad A = C_{xx}^{-1/2} U, \quad B = C_{yy}^{-1/2} V .

Nothing is trained: it is the baseline of what is.

Hotelling, *Relations Between Two Sets of Variates*, Biometrika 1936; Hardoon, Szedmak
and Shawe-Taylor, *Canonical Correlation Analysis: An Overview with Application to
Learning Methods*, Neural Computation 2004.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmgen.layers.validation import require_finite

# A direction with less of the largest variance than this is one that rounding made.
RANK_TOLERANCE = 1e-10
SINGULAR_RIDGE = 1e-3  # of the mean variance: what a singular covariance is given


@dataclass(frozen=True)
class CCA:
    """The two projections, K directions each, from the most correlated on."""

    image_mean: Tensor  # (Dx,)
    caption_mean: Tensor  # (Dy,)
    image_directions: Tensor  # A, (Dx, K)
    caption_directions: Tensor  # B, (Dy, K)
    correlations: Tensor  # rho, (K,) in [0, 1], falling

    def project_images(self, images: Tensor) -> Tensor:
        """Canonical variables (N, K) of features (N, Dx), of variance 1 in training."""
        return (images.double() - self.image_mean) @ self.image_directions

    def project_captions(self, captions: Tensor) -> Tensor:
        """Canonical variables (N, K) of features (N, Dy), of variance 1 in training."""
        return (captions.double() - self.caption_mean) @ self.caption_directions

    def scores(self, images: Tensor, captions: Tensor) -> Tensor:
        r"""Cosines (N, M) of pictures with captions, by what is common to both.

        Each canonical variable counts by the root of its correlation: that is the mean
        of the common cause, given one of the two,
        :math:`E[z|x] = \mathrm{diag}(\rho)^{1/2} A^\top (x - \bar x)`.

        Args:
            images, captions: features (N, Dx) and (M, Dy).

        Source:
            Bach and Jordan, *A Probabilistic Interpretation of Canonical Correlation
            Analysis*, 2005.
        """
        weights = self.correlations.sqrt()
        shown = normalize(self.project_images(images) * weights, dim=1)
        said = normalize(self.project_captions(captions) * weights, dim=1)
        return shown @ said.T


def canonical_correlations(
    images: Tensor,
    captions: Tensor,
    components: int | None = None,
    ridge: float = 0.0,
) -> CCA:
    """Directions in which two kinds of features of the same samples are most alike.

    A covariance may be singular: there are no more samples than features, or one
    feature is a sum of others. Whitening would then divide by 0; this is warned of, and
    the covariance gets a ridge of a thousandth of its mean variance.

    Args:
        images: (N, Dx), row i of the same sample as row i of ``captions``.
        captions: (N, Dy).
        components: K, in 1..min(Dx, Dy); all by default.
        ridge: added to the diagonal of both covariances, in units of their mean
            variance, at least 0. With few samples it keeps directions from being found
            that are alike by chance.

    Returns:
        The projections, in double precision. (Signs are free: a direction may point
        either way, the same for both.)

    Raises:
        ValueError: sizes that do not fit, fewer than 2 samples, features that are not
            finite or all constant, components out of range, a ridge below 0.
    """
    if images.ndim != 2 or captions.ndim != 2 or len(images) != len(captions):
        raise ValueError(
            f"images and captions must be (N, Dx) and (N, Dy), features of the same "
            f"samples; got {tuple(images.shape)} and {tuple(captions.shape)}."
        )
    if len(images) < 2:
        raise ValueError(f"there must be at least 2 samples; got {len(images)}.")
    require_finite(images=images, captions=captions)
    most = min(images.shape[1], captions.shape[1])
    components = most if components is None else components
    if not 1 <= components <= most:
        raise ValueError(
            f"components must lie in 1..{most}, the smaller number of features; got "
            f"{components}."
        )
    if not ridge >= 0:
        raise ValueError(f"ridge must be at least 0; got {ridge}.")
    x, y = images.detach().double(), captions.detach().double()
    x_mean, y_mean = x.mean(dim=0), y.mean(dim=0)
    x, y = x - x_mean, y - y_mean
    whiten_x = _whitening("images", x, ridge)  # (Dx, Dx)
    whiten_y = _whitening("captions", y, ridge)
    between = x.T @ y / (len(x) - 1)  # C_xy
    u, rho, vt = torch.linalg.svd(whiten_x @ between @ whiten_y, full_matrices=False)
    return CCA(
        x_mean,
        y_mean,
        whiten_x @ u[:, :components],
        whiten_y @ vt.T[:, :components],
        rho[:components].clamp(max=1.0),  # beyond 1 by rounding only
    )


def _whitening(name: str, centred: Tensor, ridge: float) -> Tensor:
    """The inverse root (D, D) of a covariance; of a singular one with a ridge."""
    samples, size = centred.shape
    covariance = centred.T @ centred / (samples - 1)
    variance = covariance.diagonal().mean()
    if not variance > 0:
        raise ValueError(f"{name} must differ between samples; all rows are the same.")
    values, vectors = torch.linalg.eigh(covariance)
    rank = int((values > RANK_TOLERANCE * values[-1]).sum())
    if rank < size and ridge == 0:
        warnings.warn(
            f"the covariance of {name} is singular: {samples} samples vary in {rank} "
            f"of {size} directions. A ridge of {SINGULAR_RIDGE} of the mean variance "
            f"is added; give ridge, fewer features or more samples.",
            stacklevel=3,
        )
        ridge = SINGULAR_RIDGE
    values = values.clamp(min=0) + ridge * variance
    return vectors * values.rsqrt() @ vectors.T
