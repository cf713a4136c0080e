"""Noise between encoder and decoder: what it costs, tells and keeps."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mmgen.layers.channel import GaussianChannel


def test_noise_is_as_loud_as_asked() -> None:
    channel = GaussianChannel(3, 0.2)
    vectors = torch.randn(5, 3)
    noise = torch.randn(5, 3)
    assert torch.equal(channel(vectors, noise), vectors + 0.2 * noise)
    assert torch.equal(GaussianChannel(3, 0.0)(vectors, noise), vectors)


def test_the_price_is_the_divergence_up_to_a_constant() -> None:
    first, second = torch.randn(2, 50, 4).double()

    def divergence(means: torch.Tensor) -> torch.Tensor:
        prior = Normal(torch.zeros_like(means), 1.0)
        return kl_divergence(Normal(means, 0.3), prior).mean()

    expected = divergence(first) - divergence(second)
    price = GaussianChannel.price(first) - GaussianChannel.price(second)
    torch.testing.assert_close(price, expected)


def test_bits_are_those_of_shannon() -> None:
    """Of one number, half the logarithm of 1 + signal to noise; of turned ones, too."""
    channel = GaussianChannel(2, 0.5)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    channel.covariance.copy_(turn @ torch.diag(torch.tensor([0.75, 3.75])) @ turn.T)
    assert channel.bits == pytest.approx(0.5 * math.log2(4) + 0.5 * math.log2(16))
    assert GaussianChannel(2, 0.0).bits == math.inf


def test_averages_are_those_of_the_last_steps() -> None:
    channel = GaussianChannel(2, 0.1, decay=0.75)
    steps = torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(0)) * 2 + 1
    for vectors in steps:
        channel.update(vectors)
    # the first counts as all that was before it
    weights = torch.tensor([0.5625, 0.1875, 0.25])
    means = steps.mean(dim=1)
    torch.testing.assert_close(channel.mean, weights @ means)
    covariances = torch.stack([torch.cov(v.T, correction=0) for v in steps])
    expected = torch.einsum("s,sij->ij", weights, covariances)
    torch.testing.assert_close(channel.covariance, expected)
    assert channel.steps == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, 0.1), "code_dim must be at least 1"),
        ((2, -0.1), "noise must be a number from 0 on"),
        ((2, math.inf), "noise must be a number from 0 on"),
        ((2, math.nan), "noise must be a number from 0 on"),
        ((2, 0.1, 1.0), r"decay must lie in \[0, 1\)"),
    ],
)
def test_numbers_out_of_range(given: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GaussianChannel(*given)
