"""Codes whose cost, use and error are known beforehand."""

import json
import math

import pytest
import torch

from mmgen.metrics.generative import (
    active_units,
    bits_per_dimension,
    rate_distortion,
    reconstruction_error,
)


def test_bits_of_a_uniform_density_are_the_logarithm_of_the_bins() -> None:
    # density 1/2 on [-1, 1], cut into 2^k bins: k bits a value
    log_likelihood = torch.full((3,), 12 * math.log(0.5))
    for k in (1, 5, 8):
        bits = bits_per_dimension(log_likelihood, 12, bin_width=2 / 2**k)
        torch.testing.assert_close(bits, torch.full((3,), float(k)))


def test_bits_of_discrete_data_are_their_entropy() -> None:
    # ten fair coins
    bits = bits_per_dimension(torch.tensor(10 * math.log(0.5)), 10, bin_width=1)
    assert bits.item() == pytest.approx(1)


def test_bits_approximate_the_mass_of_a_bin() -> None:
    normal = torch.distributions.Normal(0.1, 0.2, validate_args=False)
    width = 2 / 255
    x = torch.tensor(0.3)
    mass = normal.cdf(x + width / 2) - normal.cdf(x - width / 2)
    bits = bits_per_dimension(normal.log_prob(x), 1, width)
    assert bits.item() == pytest.approx(-math.log2(mass.item()), abs=1e-2)


@pytest.mark.parametrize(("dimensions", "width"), [(0, 1.0), (3, 0.0), (3, -1.0)])
def test_bits_refuse_what_has_none(dimensions: int, width: float) -> None:
    with pytest.raises(ValueError, match=r"dimensions must|bin_width must"):
        bits_per_dimension(torch.zeros(1), dimensions, width)


def test_active_units_are_those_whose_mean_moves() -> None:
    generator = torch.Generator().manual_seed(0)
    mu = torch.randn(500, 4, generator=generator) * torch.tensor([1.0, 0.2, 0.05, 0.0])
    report = active_units(mu)
    assert report.active == (True, True, False, False) and report.count == 2
    assert report.variances[0] == pytest.approx(1, rel=0.2) and report.n == 500
    assert json.loads(json.dumps(report.to_json()))["count"] == 2
    # a constant offset is no information
    assert active_units(mu + 5).active == report.active


def test_active_units_with_more_dimensions_than_data_are_defined() -> None:
    report = active_units(torch.tensor([[0.0, 1.0, 2.0], [0.0, -1.0, 2.0]]))
    assert report.active == (False, True, False)
    with pytest.raises(ValueError, match=r"N >= 2.*got \(1, 3\)"):
        active_units(torch.zeros(1, 3))


def test_rate_distortion_are_the_means_with_their_errors() -> None:
    point = rate_distortion(torch.tensor([1.0, 3.0]), torch.tensor([-10.0, -14.0]))
    assert (point.rate, point.distortion, point.elbo) == (2.0, 12.0, -14.0)
    assert point.rate_error == pytest.approx(1.0)
    assert point.distortion_error == pytest.approx(2.0)
    assert json.loads(json.dumps(point.to_json()))["elbo"] == -14.0
    for shape in ((2, 1), (1,), (3,)):
        with pytest.raises(ValueError, match="must both have shape"):
            rate_distortion(torch.zeros(shape), torch.zeros(2))


def test_reconstruction_error_of_known_offsets() -> None:
    images = torch.zeros(2, 3, 4, 4)
    shifted = images + torch.tensor([0.1, 0.2])[:, None, None, None]
    report = reconstruction_error(images, shifted)
    assert report.rmse == pytest.approx(0.15) and report.n == 2
    assert report.psnr == pytest.approx(
        (20 * math.log10(20) + 20 * math.log10(10)) / 2, abs=1e-4
    )
    assert reconstruction_error(images, images).psnr == math.inf
    with pytest.raises(ValueError, match="must both have shape"):
        reconstruction_error(images, images[:1])
