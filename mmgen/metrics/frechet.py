r"""Fréchet distance: how far apart are two sets of pictures, in the eyes of a network?

Each set's features are summarised by a mean and a covariance, and

.. math:: d^2 = \|\mu_a - \mu_b\|^2 + \mathrm{tr}\big(C_a + C_b
              - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2}\big)

is the squared distance of the two normal distributions. With Inception's features it is
the FID (Heusel et al., NeurIPS 2017). This module's own features are those of
EfficientNet-Lite0, whose weights come in a package: such a number is called "Fréchet
distance (EfficientNet-Lite0 features)" and is **not comparable with any FID**.

The estimate is biased: it shrinks as sets grow, and is far from 0 even for two samples
of one distribution. So compare numbers of one n only, and read them against the
*floor*, the distance between two halves of the reference itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmgen.layers.efficientnet import EfficientNetLite0


@dataclass(frozen=True)
class FrechetDistance:
    """A Fréchet distance with what it must be read against.

    Args:
        value: squared distance, >= 0; smaller is better.
        floor: the same between two halves of the reference, each of ``n_floor``: what
            sampling alone gives at that size.
        n_a, n_b: features in each set.
        n_floor: features in each half.
        dim: of a feature.
    """

    value: float
    floor: float
    n_a: int
    n_b: int
    n_floor: int
    dim: int

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return dict(vars(self))

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return (
            f"{self.value:.2f} (n = {self.n_a} and {self.n_b}, {self.dim} dimensions; "
            f"two halves of the reference, n = {self.n_floor}: {self.floor:.2f})"
        )


def efficientnet_features(images: Tensor, batch_size: int = 64) -> Tensor:
    """Pooled EfficientNet-Lite0 features of pictures, shape (N, 1280) float32.

    Args:
        images: (N, 3, H, W) in [-1, 1], brought to 224 x 224 inside.
        batch_size: pictures at a time.

    Raises:
        ModuleNotFoundError: the package with the weights is not installed.
        ValueError: pictures of another shape.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(
            f"images must be of shape (N, 3, H, W), N >= 1; got {tuple(images.shape)}."
        )
    network = EfficientNetLite0().eval().to(images.device)
    with torch.no_grad():
        parts = [network(part.float())[1] for part in images.split(batch_size)]
    return torch.cat(parts)


def frechet_distance(
    features_a: Tensor, features_b: Tensor, *, seed: int = 0
) -> FrechetDistance:
    """Fréchet distance of two sets of features.

    Args:
        features_a: of the pictures to measure, (N_a, D).
        features_b: of the reference, (N_b, D).
        seed: of the split of the reference into the halves of the floor.

    Returns:
        The distance, computed in float64, with its floor.

    Raises:
        ValueError: other shapes, features that are not finite, fewer than 4 of them in
            the reference or 2 in the other set.
    """
    for name, features, least in (
        ("features_a", features_a, 2),
        ("features_b", features_b, 4),
    ):
        if features.ndim != 2 or len(features) < least:
            raise ValueError(
                f"{name} must be of shape (N, D) with N >= {least}; got "
                f"{tuple(features.shape)}."
            )
        if not features.isfinite().all():
            raise ValueError(f"{name} must be finite; some are NaN or infinite.")
    if features_a.shape[1] != features_b.shape[1]:
        raise ValueError(
            f"features_a and features_b must have one size D; got "
            f"{tuple(features_a.shape)} and {tuple(features_b.shape)}."
        )
    a, b = features_a.double().cpu(), features_b.double().cpu()
    order = torch.randperm(len(b), generator=torch.Generator().manual_seed(seed))
    half = len(b) // 2
    return FrechetDistance(
        value=_distance(a, b),
        floor=_distance(b[order[:half]], b[order[half : 2 * half]]),
        n_a=len(a),
        n_b=len(b),
        n_floor=half,
        dim=a.shape[1],
    )


def _distance(a: Tensor, b: Tensor) -> float:
    """The squared distance of the normal distributions fitted to two sets.

    The trace of the root is the sum of the singular values of X_a X_b^T, with X the
    centred features over sqrt(N - 1): C_a = X_a^T X_a, so that C_a C_b has the squares
    of these singular values as eigenvalues. No root of an ill-conditioned matrix is
    taken, fewer samples than dimensions are no trouble, and the cost is that of the
    smaller of N and D.
    """
    mean_a, mean_b = a.mean(dim=0), b.mean(dim=0)
    roots = []
    for features, mean in ((a, mean_a), (b, mean_b)):
        centred = (features - mean) / (len(features) - 1) ** 0.5  # X, (N, D)
        if len(centred) > centred.shape[1]:
            # Any X with X^T X = C will do: the symmetric root of C has D rows.
            values, vectors = torch.linalg.eigh(centred.t() @ centred)
            centred = (vectors * values.clamp(min=0).sqrt()) @ vectors.t()
        roots.append(centred)
    root_a, root_b = roots
    cross = torch.linalg.svdvals(root_a @ root_b.t()).sum()
    distance = (
        (mean_a - mean_b).square().sum()
        + root_a.square().sum()
        + root_b.square().sum()
        - 2 * cross
    )
    return max(0.0, distance.item())
