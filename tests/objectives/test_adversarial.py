"""The objectives of the game against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mmgen.objectives.adversarial import (
    EQUILIBRIUM_VALUE,
    OBJECTIVES,
    hinge_discriminator_loss,
    hinge_generator_loss,
    minimax_discriminator_loss,
    minimax_generator_loss,
    minimax_value,
    non_saturating_generator_loss,
    optimal_discriminator,
    value_at_optimum,
)


def logits(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_discriminator_loss_is_cross_entropy() -> None:
    real, fake, wrong = logits(7), logits(5, seed=1), logits(5, 4, seed=2)
    ones, zeros = torch.ones_like, torch.zeros_like
    right = binary_cross_entropy_with_logits(real, ones(real))
    refused = binary_cross_entropy_with_logits(fake, zeros(fake))
    mismatched = binary_cross_entropy_with_logits(wrong, zeros(wrong))
    torch.testing.assert_close(minimax_discriminator_loss(real, fake), right + refused)
    torch.testing.assert_close(
        minimax_discriminator_loss(real, fake, wrong),
        right + (refused + mismatched) / 2,
    )
    torch.testing.assert_close(minimax_value(real, fake), -(right + refused))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_masked_pairs_do_not_count(name: str) -> None:
    loss = OBJECTIVES[name].discriminator
    real, fake, wrong = logits(6), logits(6, seed=1), logits(6, 6, seed=2)
    mask = ~torch.eye(6, dtype=torch.bool)
    expected = loss(real, fake, wrong[mask])
    torch.testing.assert_close(loss(real, fake, wrong, mask), expected)
    # no pair is wrong: what is left are the fakes, with their full weight
    nothing = torch.zeros(6, 6, dtype=torch.bool)
    torch.testing.assert_close(loss(real, fake, wrong, nothing), loss(real, fake))


def test_generator_losses_are_the_logarithms_of_their_names() -> None:
    fake = logits(9)
    probability = torch.sigmoid(fake)
    torch.testing.assert_close(
        minimax_generator_loss(fake), torch.log(1 - probability).mean()
    )
    torch.testing.assert_close(
        non_saturating_generator_loss(fake), -torch.log(probability).mean()
    )


def test_hinge_by_hand() -> None:
    real = torch.tensor([2.0, 0.5, -1.0])  # costs 0, 0.5, 2
    fake = torch.tensor([-3.0, 0.0, 1.0])  # costs 0, 1, 2
    assert hinge_discriminator_loss(real, fake).item() == pytest.approx(2.5 / 3 + 1)
    assert hinge_generator_loss(fake).item() == pytest.approx(2 / 3)


def test_losses_stay_finite_for_a_certain_discriminator() -> None:
    certain = torch.tensor([1e4, -1e4])
    margin = {"hinge": 1.0}  # of the two, one is wrong by 10,000 and the margin
    for name, objective in OBJECTIVES.items():
        wrong = (1e4 + margin.get(name, 0.0)) / 2
        assert objective.discriminator(certain, certain).item() == 2 * wrong
        drawn = {"minimax": -5e3, "non-saturating": 5e3, "hinge": 0.0}[name]
        assert objective.generator(certain).item() == drawn


@pytest.mark.parametrize("name", OBJECTIVES)
def test_generator_gradient_against_a_sure_discriminator(name: str) -> None:
    """Minimax starves the generator there, the other two push with full force."""
    expected = {
        # d/ds of log(1 - sigmoid(s)), -log sigmoid(s), -s
        "minimax": lambda s: -torch.sigmoid(s),
        "non-saturating": lambda s: -torch.sigmoid(-s),
        "hinge": lambda s: -torch.ones_like(s),
    }[name]
    s = torch.linspace(-12, 12, 25, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(OBJECTIVES[name].generator(s) * len(s), s)
    torch.testing.assert_close(gradient, expected(s.detach()))
    force = gradient[0].abs().item()  # at s = -12: "surely generated"
    assert force < 1e-5 if name == "minimax" else force > 0.9999


def densities() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    both = torch.rand(2, 6, generator=generator, dtype=torch.float64)
    p, q = both / both.sum(dim=1, keepdim=True)
    return p, q


def test_optimal_discriminator_is_found_by_gradient_ascent() -> None:
    """No formula inside: one free logit an outcome climbs the value of the game."""
    p, q = densities()
    s = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    ascent = torch.optim.LBFGS(
        [s],
        max_iter=200,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        ascent.zero_grad()
        value = (p * torch.log(torch.sigmoid(s))).sum()
        value = value + (q * torch.log(1 - torch.sigmoid(s))).sum()
        (-value).backward()
        return -value

    ascent.step(loss)
    found = torch.sigmoid(s.detach())
    torch.testing.assert_close(optimal_discriminator(p, q), found, atol=1e-6, rtol=0)
    torch.testing.assert_close(value_at_optimum(p, q), -loss(), atol=1e-10, rtol=0)


def test_value_at_optimum_is_jensen_shannon() -> None:
    p, q = densities()
    mean = (p + q) / 2
    divergence = ((p * (p / mean).log()).sum() + (q * (q / mean).log()).sum()) / 2
    torch.testing.assert_close(
        value_at_optimum(p, q), EQUILIBRIUM_VALUE + 2 * divergence
    )


def test_equilibrium_is_minus_log_four() -> None:
    p, _ = densities()
    half = torch.full_like(p, 0.5)
    torch.testing.assert_close(optimal_discriminator(p, p), half)
    assert value_at_optimum(p, p).item() == pytest.approx(-math.log(4), abs=1e-12)
    # and by the loss itself: a discriminator that knows nothing has logit 0
    blind = torch.zeros(5, dtype=torch.float64)
    assert minimax_value(blind, blind).item() == pytest.approx(EQUILIBRIUM_VALUE)


def test_distributions_that_never_meet_are_worth_zero() -> None:
    p, q = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    expected = torch.tensor([1.0, 0.0, 0.5])
    torch.testing.assert_close(optimal_discriminator(p, q), expected)
    assert value_at_optimum(p, q).item() == 0


def test_densities_of_different_points_are_an_error() -> None:
    for function in (optimal_discriminator, value_at_optimum):
        with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
            function(torch.ones(3), torch.ones(4))
