"""Guidance, temperature, top-k, nucleus and the choice, each in its limits."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from mmgen.layers.logits import check_choice, choose, filtered, guided


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def with_shares(*shares: float) -> Tensor:
    """Logits, of any height, of these probabilities."""
    return torch.tensor(shares, dtype=torch.float64).log() + 3.5


# --- guidance -------------------------------------------------------------------------


def test_guidance_of_one_is_the_model_itself_bit_for_bit() -> None:
    told, untold = torch.randn(64, 50), 1e4 * torch.randn(64, 50)
    assert torch.equal(guided(told, untold, 1.0), told)
    torch.testing.assert_close(guided(told, untold, 0.0), untold)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5, 7.0])
def test_where_the_caption_says_nothing_the_scale_is_irrelevant(scale: float) -> None:
    told = torch.randn(8, 50)
    assert torch.equal(guided(told, told, scale), told)


def test_guidance_is_the_other_convention_s_shifted_by_one() -> None:
    told, untold = torch.randn(2, 8, 50, dtype=torch.float64)
    for scale in (0.0, 0.5, 1.5, 4.0):
        w = scale - 1  # of Ho and Salimans
        expected = (1 + w) * told - w * untold
        torch.testing.assert_close(guided(told, untold, scale), expected)


# --- temperature, top-k, nucleus ------------------------------------------------------


def test_without_options_it_is_the_softmax() -> None:
    logits = torch.randn(5, 3, 20)
    for found in (filtered(logits), filtered(logits, 1.0, None, 1.0)):
        assert torch.equal(found, logits.softmax(dim=-1))


def test_temperature_divides_the_logits() -> None:
    logits = torch.randn(6, 20)
    for temperature in (0.3, 0.8, 2.0):
        expected = (logits / temperature).softmax(dim=-1)
        torch.testing.assert_close(filtered(logits, temperature), expected)
    flat = filtered(logits, 1e6)
    torch.testing.assert_close(flat, torch.full_like(flat, 1 / 20), atol=1e-5, rtol=0)


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-3, 1e-30, 1e-300])
def test_temperature_zero_and_nearly_zero_are_the_likeliest_alone(
    temperature: float,
) -> None:
    logits = 30 * torch.randn(5, 3, 20)
    best = logits.argmax(dim=-1)
    found = filtered(logits, temperature, top_k=4, top_p=0.5)
    assert torch.equal(found, torch.nn.functional.one_hot(best, 20).float())
    for noise in (-8.0, 0.0, 8.0):  # there is nothing left to draw
        assert torch.equal(choose(found, torch.full((5, 3), noise)), best)


def test_of_equal_ones_temperature_zero_takes_one() -> None:
    found = filtered(torch.zeros(4, 6), 0.0)
    assert found.sum(dim=1).eq(1).all() and found.max(dim=1).values.eq(1).all()


def test_top_k_of_all_is_none() -> None:
    logits = torch.randn(4, 20)
    for top_k in (20, 21, 10**9):
        assert torch.equal(filtered(logits, 0.7, top_k), filtered(logits, 0.7))


def test_top_k_keeps_the_likeliest_in_their_proportions() -> None:
    logits = torch.randn(4, 20)
    for top_k in (1, 3, 19):
        found = filtered(logits, 1.0, top_k)
        kept = logits.argsort(dim=1, descending=True)[:, :top_k]
        expected = torch.zeros_like(found).scatter_(
            1, kept, logits.gather(1, kept).softmax(dim=1)
        )
        torch.testing.assert_close(found, expected)
        assert (found > 0).sum(dim=1).eq(top_k).all()


def test_equal_ones_at_the_edge_of_top_k_all_stay() -> None:
    logits = torch.tensor([3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    assert (filtered(logits, top_k=2) > 0).tolist() == [1, 0, 1, 1, 1, 0]
    assert (filtered(logits, top_k=1) > 0).tolist() == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.3, 1), (0.49, 1), (0.51, 2), (0.74, 2), (0.76, 3), (0.99, 4)]
)
def test_the_nucleus_is_the_fewest_that_sum_to_p(top_p: float, kept: int) -> None:
    shares = [0.125, 0.5, 0.125, 0.25]
    found = filtered(with_shares(*shares), top_p=top_p)
    assert (found > 0).sum() == kept
    falling = sorted(shares, reverse=True)
    assert sum(falling[:kept]) >= top_p > sum(falling[: kept - 1])
    likeliest = found.sort(descending=True).values[:kept]
    expected = torch.tensor(falling[:kept], dtype=torch.float64) / sum(falling[:kept])
    torch.testing.assert_close(likeliest, expected)
    assert found.argmax() == 1


def test_a_nucleus_of_one_is_none_and_a_tiny_one_is_greedy() -> None:
    logits = torch.randn(4, 20)
    assert torch.equal(filtered(logits, top_p=1.0), filtered(logits))
    best = torch.nn.functional.one_hot(logits.argmax(dim=1), 20).float()
    assert torch.equal(filtered(logits, top_p=1e-9), best)


def test_the_nucleus_is_of_what_top_k_leaves_after_the_temperature() -> None:
    logits = with_shares(0.4, 0.3, 0.2, 0.1)
    # of the likeliest two the first has 4/7 > 0.5; of all, 0.4 < 0.5
    assert (filtered(logits, top_p=0.5) > 0).tolist() == [1, 1, 0, 0]
    assert (filtered(logits, top_k=2, top_p=0.5) > 0).tolist() == [1, 0, 0, 0]
    # hotter, it is all nearly even
    assert (filtered(logits, 1e3, top_p=0.51) > 0).tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_probabilities_sum_to_one_in_any_precision(dtype: torch.dtype) -> None:
    logits = (10 * torch.randn(9, 500)).to(dtype)
    found = filtered(logits, 0.9, 100, 0.95)
    assert found.dtype == (dtype if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found.sum(dim=1).double(), torch.ones(9).double())


# --- the choice -----------------------------------------------------------------------


def test_the_choice_is_the_quantile_of_the_noise() -> None:
    shares = torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=torch.float64)
    edges = torch.tensor([0.1, 0.1, 0.7], dtype=torch.float64)
    quantiles = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
    noise = torch.special.ndtri(quantiles)
    found = choose(shares.expand(1000, 4), noise)
    expected = (quantiles[:, None] > edges).sum(dim=1)
    assert torch.equal(found, expected)
    assert found.bincount(minlength=4).tolist() == [100, 0, 600, 300]


def test_frequencies_of_choices_are_the_probabilities() -> None:
    shares = torch.tensor([0.05, 0.4, 0.0, 0.25, 0.3])
    many = 50_000
    found = choose(shares.expand(many, 5), torch.randn(many)).bincount(minlength=5)
    assert found[2] == 0
    likely = shares > 0
    expected = shares[likely].double()
    expected = many * expected / expected.sum()
    test = chisquare(found[likely].numpy(), expected.numpy())
    assert test.pvalue > 1e-3


@pytest.mark.parametrize("noise", [0.0, 5.0, 8.0, 40.0, math.inf])
def test_what_has_no_probability_is_never_chosen(noise: float) -> None:
    """Not at the ends either, where the sums of probabilities round to 0 and 1."""
    for size in (4, 1000):
        for dtype in (torch.float32, torch.float64):
            shares = torch.rand(20, size, dtype=dtype)
            shares[:, 0] = shares[:, -1] = shares[:, 2] = 0
            shares = shares / shares.sum(dim=1, keepdim=True)
            for sign in (-1, 1):
                found = choose(shares, torch.full((20,), sign * noise, dtype=dtype))
                assert shares.gather(1, found[:, None]).gt(0).all()


def test_the_same_noise_makes_the_same_choice_alone_and_in_company() -> None:
    shares = torch.randn(16, 9, 30).softmax(dim=-1)
    noise = torch.randn(16, 9)
    together = choose(shares, noise)
    assert together.shape == (16, 9) and together.dtype == torch.int64
    for row in range(16):
        assert torch.equal(choose(shares[row], noise[row]), together[row])


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((-0.1, None, 1.0), "temperature must be a number from 0.*upwards; got -0.1"),
        ((math.nan, None, 1.0), "temperature must be a number from 0.*got nan"),
        ((math.inf, None, 1.0), "temperature must be a number from 0.*got inf"),
        ((1.0, 0, 1.0), "top_k must be at least 1, or None for all codes; got 0"),
        ((1.0, -3, 1.0), "top_k must be at least 1, or None for all codes; got -3"),
        ((1.0, None, 0.0), r"top_p must lie in \(0, 1\]; got 0.0"),
        ((1.0, None, 1.1), r"top_p must lie in \(0, 1\]; got 1.1"),
        ((1.0, None, math.nan), r"top_p must lie in \(0, 1\]; got nan"),
    ],
)
def test_options_out_of_range_are_named(options: tuple, message: str) -> None:
    check_choice(0, 1, 1.0)
    with pytest.raises(ValueError, match=message):
        check_choice(*options)
    with pytest.raises(ValueError, match=message):
        filtered(torch.zeros(4), *options)
