"""Canonical correlations: scikit-learn's, and what they are by definition."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmgen.models.alignment import canonical_correlations

# Of scikit-learn 1.9.1: CCA(n_components=4, scale=False, max_iter=100000, tol=1e-14),
# the correlations of its transformed samples.
REFERENCE = Path(__file__).parents[2] / "data" / "cca_tiny.npz"


@pytest.fixture
def samples() -> dict[str, Tensor]:
    with np.load(REFERENCE) as stored:
        return {
            name: torch.from_numpy(stored[name])
            for name in ("images", "captions", "correlations")
        }


def test_correlations_are_those_of_scikit_learn(samples: dict[str, Tensor]) -> None:
    found = canonical_correlations(samples["images"], samples["captions"])
    torch.testing.assert_close(
        found.correlations, samples["correlations"], rtol=0, atol=1e-10
    )
    two = canonical_correlations(samples["images"], samples["captions"], 2)
    # Two calls may differ in the last bit: how a product is added up depends on where
    # its matrices lie in memory.
    torch.testing.assert_close(two.correlations, found.correlations[:2])
    torch.testing.assert_close(two.image_directions, found.image_directions[:, :2])


def test_canonical_variables_are_white_and_correlate_in_pairs(
    samples: dict[str, Tensor],
) -> None:
    images, captions = samples["images"], samples["captions"]
    cca = canonical_correlations(images, captions)
    shown, said = cca.project_images(images), cca.project_captions(captions)
    both = torch.cat([shown, said], dim=1)
    covariance = torch.cov(both.T)
    identity, rho = torch.eye(4, dtype=torch.float64), cca.correlations.diag()
    expected = torch.cat([torch.cat([identity, rho]), torch.cat([rho, identity])], 1)
    torch.testing.assert_close(covariance, expected, rtol=0, atol=1e-10)


def test_units_of_the_features_do_not_matter(samples: dict[str, Tensor]) -> None:
    images, captions = samples["images"], samples["captions"]
    torch.manual_seed(0)
    mixed = 5 + images @ torch.randn(5, 5, dtype=torch.float64)
    found = canonical_correlations(mixed, 0.1 * captions)
    torch.testing.assert_close(found.correlations, samples["correlations"])


def test_scores_find_what_has_one_cause() -> None:
    torch.manual_seed(0)
    cause = torch.randn(300, 6)
    images = cause @ torch.randn(6, 9) + 0.01 * torch.randn(300, 9)
    captions = cause @ torch.randn(6, 7) + 0.01 * torch.randn(300, 7)
    cca = canonical_correlations(images[:200], captions[:200])
    scores = cca.scores(images[200:], captions[200:])
    assert scores.shape == (100, 100) and scores.abs().max() <= 1 + 1e-9
    found = (scores.argmax(dim=1) == torch.arange(100)).double().mean()
    assert found > 0.9


@pytest.mark.parametrize("case", ["a sum of others", "fewer samples than features"])
def test_a_singular_covariance_is_said_and_regularised(
    case: str, samples: dict[str, Tensor]
) -> None:
    images, captions = samples["images"], samples["captions"]
    if case == "a sum of others":
        images = torch.cat([images, images.sum(dim=1, keepdim=True)], dim=1)
        rank = "60 samples vary in 5 of 6"
    else:
        images, captions = images[:4], captions[:4, :1]
        rank = "4 samples vary in 3 of 5"
    with pytest.warns(UserWarning, match=f"images is singular: {rank} directions"):
        found = canonical_correlations(images, captions)
    for tensor in (found.image_directions, found.caption_directions):
        assert tensor.isfinite().all()
    assert (found.correlations <= 1).all()
    assert found.project_images(images).isfinite().all()
    with warnings.catch_warnings():  # asked for, nothing is warned of
        warnings.simplefilter("error")
        again = canonical_correlations(images, captions, ridge=1e-3)
    assert again.correlations.isfinite().all()


def test_a_ridge_keeps_from_correlations_by_chance() -> None:
    torch.manual_seed(0)
    images, captions = torch.randn(12, 9), torch.randn(12, 9)  # nothing in common
    plain = canonical_correlations(images, captions).correlations[0]
    held = canonical_correlations(images, captions, ridge=1.0).correlations[0]
    assert plain > 0.95 and held < 0.8


@pytest.mark.parametrize(
    ("images", "captions", "options", "message"),
    [
        (torch.ones(4, 2), torch.ones(5, 2), {}, r"same samples; got \(4, 2\) and"),
        (torch.ones(4), torch.ones(4, 2), {}, "same samples"),
        (torch.ones(1, 2), torch.ones(1, 2), {}, "at least 2 samples; got 1"),
        (torch.ones(4, 2), torch.eye(4), {}, "images must differ between samples"),
        (torch.eye(4), torch.full((4, 2), torch.inf), {}, "captions must be finite"),
        (torch.eye(4), torch.eye(4)[:, :2], {"components": 3}, r"lie in 1\.\.2.*got 3"),
        (torch.eye(4), torch.eye(4), {"components": 0}, "got 0"),
        (torch.eye(4), torch.eye(4), {"ridge": -0.1}, "ridge must be at least 0"),
    ],
)
def test_what_cannot_be_correlated_is_refused(
    images: Tensor, captions: Tensor, options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        canonical_correlations(images, captions, **options)
