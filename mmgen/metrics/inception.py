r"""Inception score, and the real FID where Inception's weights are at hand.

.. math:: \mathrm{IS} = \exp E_x\, \mathrm{KL}\big(p(y|x) \,\|\, p(y)\big)

Salimans et al., NeurIPS 2016. It rises if a classifier is sure of every picture and its
answers are varied: it never looks at a caption or at a real picture, and the classifier
knows ImageNet's classes only. Scores by different classifiers do not compare (papers on
CUB use one tuned to birds).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.errors import DownloadError


@dataclass(frozen=True)
class InceptionScore:
    """Mean and deviation of the score over splits, as papers report it.

    Args:
        mean: of the splits' scores, 1 (nothing told) to the number of classes.
        std: over the splits (it is no interval of the mean).
        splits: how many.
        n: pictures in all.
    """

    mean: float
    std: float
    splits: int
    n: int

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return dict(vars(self))

    def __str__(self) -> str:
        return (
            f"{self.mean:.3f} +- {self.std:.3f} over {self.splits} splits, n={self.n}"
        )


def inception_score(
    logits: Tensor, splits: int = 10, *, seed: int | None = 0
) -> InceptionScore:
    """Inception score from a classifier's logits.

    Args:
        logits: (N, classes), of generated pictures; ``inception_logits`` computes them.
        splits: parts whose scores are averaged. A score of few pictures is too low, so
            n and splits belong to the number.
        seed: of the shuffle before the split; None keeps the order.

    Raises:
        ValueError: logits of another shape or not finite, fewer pictures than splits.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"logits must be of shape (N, classes); got {tuple(logits.shape)}."
        )
    if not 1 <= splits <= len(logits):
        raise ValueError(
            f"splits must lie in 1..{len(logits)}, the pictures given; got {splits}."
        )
    if not logits.isfinite().all():
        raise ValueError("logits must be finite; some are NaN or infinite.")
    rows = logits.double().cpu()
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        rows = rows[torch.randperm(len(rows), generator=generator)]
    scores = []
    for part in rows.log_softmax(dim=1).tensor_split(splits):
        marginal = part.logsumexp(dim=0) - torch.tensor(float(len(part))).log()
        divergence = (part.exp() * (part - marginal)).sum(dim=1)  # KL, nats
        scores.append(divergence.mean().exp())
    stacked = torch.stack(scores)
    return InceptionScore(
        stacked.mean().item(), stacked.std(correction=0).item(), splits, len(rows)
    )


def inception_logits(
    images: Tensor, weights: str | Path | None = None, batch_size: int = 32
) -> Tensor:
    """Logits of the Inception network that published scores use, shape (N, 1008).

    Args:
        images: (N, 3, H, W) in [-1, 1].
        weights: path of ``pt_inception-2015-12-05-6726825d.pth``; downloaded by
            torch-fidelity if None.
        batch_size: pictures at a time.

    Raises:
        ValueError: pictures of another shape.
        DownloadError: torch-fidelity or the weights are missing; the message says where
            to get them.
    """
    return _inception(images, weights, batch_size)["logits_unbiased"]


def inception_features(
    images: Tensor, weights: str | Path | None = None, batch_size: int = 32
) -> Tensor:
    """The 2048 features of FID; ``frechet_distance`` of two such sets is the FID.

    Args, raises: as ``inception_logits``.
    """
    return _inception(images, weights, batch_size)["2048"]


_WEIGHTS = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)


def _inception(
    images: Tensor, weights: str | Path | None, batch_size: int
) -> dict[str, Tensor]:
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(
            f"images must be of shape (N, 3, H, W), N >= 1; got {tuple(images.shape)}."
        )
    if weights is not None and not Path(weights).is_file():
        raise DownloadError(
            f"weights must be a file; there is no {weights}. Get it from {_WEIGHTS}."
        )
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import (
            FeatureExtractorInceptionV3,
        )
    except ModuleNotFoundError as error:
        raise DownloadError(
            'Inception scores need torch-fidelity: pip install "mmgen-book[metrics]".'
        ) from error
    wanted = ["2048", "logits_unbiased"]
    try:
        if weights is not None:
            # torch-fidelity unpickles whatever it is given: only plain tensors here
            torch.load(weights, map_location="cpu", weights_only=True)
        network = FeatureExtractorInceptionV3(
            "inception",
            wanted,
            feature_extractor_weights_path=None if weights is None else str(weights),
        )
    except Exception as error:  # whatever a download meets
        raise DownloadError(
            f"FID's Inception weights could not be read or downloaded ({error}). "
            f"Get {_WEIGHTS} on another machine and give its path as weights; offline, "
            f"use efficientnet_features for a Fréchet distance of its own kind."
        ) from error
    network = network.to(images.device)
    found: dict[str, list[Tensor]] = {name: [] for name in wanted}
    with torch.no_grad():
        for part in images.split(batch_size):
            levels = ((part + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            for name, value in zip(wanted, network(levels), strict=True):
                found[name].append(value)
    return {name: torch.cat(values) for name, values in found.items()}
