"""The learned prior: a density, in its order, that draws what it says."""

import math

import pytest
import torch

from mmgen.layers.mixtures import MixturePrior


def shaken(prior: MixturePrior) -> MixturePrior:
    """The prior with weights that matter."""
    torch.manual_seed(1)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return prior


@pytest.mark.parametrize("condition_dim", [0, 3])
def test_prior_of_two_dimensions_integrates_to_one(condition_dim: int) -> None:
    prior = shaken(MixturePrior(2, condition_dim, 8, 3))
    axis = torch.linspace(-12, 12, 481)
    grid = torch.cartesian_prod(axis, axis)
    given = torch.randn(1, condition_dim).expand(len(grid), -1)
    log_p = prior.log_prob(grid, given if condition_dim else None)
    assert log_p.exp().sum().item() * (24 / 480) ** 2 == pytest.approx(1, abs=5e-3)


def test_prior_looks_back_and_at_the_condition_only() -> None:
    prior = shaken(MixturePrior(4, 2, 16, 3))
    z, condition = torch.randn(4), torch.randn(2)
    _, mean, _ = prior._mixtures(z[None], condition[None])
    by_z = torch.autograd.functional.jacobian(
        lambda v: prior._mixtures(v[None], condition[None])[1][0], z
    )  # (Z, K, Z)
    seen = by_z.abs().sum(dim=1) > 0
    assert torch.equal(seen, torch.ones(4, 4).tril(-1).bool())
    by_c = torch.autograd.functional.jacobian(
        lambda c: prior._mixtures(z[None], c[None])[1][0], condition
    )
    assert mean.shape == (1, 4, 3) and (by_c.abs().sum(dim=(1, 2)) > 0).all()


def test_prior_draws_what_its_density_says() -> None:
    prior = shaken(MixturePrior(2, 0, 8, 3))
    noise = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0))
    drawn = prior.sample(noise).detach()
    edges = torch.linspace(-12, 12, 481)
    grid = torch.cartesian_prod(edges, edges)
    density = prior.log_prob(grid).exp().detach().view(481, 481)
    for axis in (0, 1):  # marginals; no distribution function differs by 2 %
        truth = (density.sum(dim=1 - axis) * (24 / 480) ** 2).cumsum(0)
        found = (drawn[:, axis, None] <= edges).float().mean(dim=0)
        assert (truth - found).abs().max() < 0.02
    # and together: the mean log-density is that of the density itself
    expected = (density * prior.log_prob(grid).view(481, 481)).sum() * (24 / 480) ** 2
    found = prior.log_prob(drawn).mean().item()
    assert found == pytest.approx(expected.item(), abs=0.05)


def test_half_of_the_noise_picks_and_the_other_half_places() -> None:
    prior = shaken(MixturePrior(2, 0, 8, 3))
    with torch.no_grad():  # as narrow as a component can be: 5 nats below 1
        prior.last.weight.zero_()
        prior.last.bias.view(2, 3, 3)[:, 2] = -50.0
        prior.last.bias.view(2, 3, 3)[:, 1] = torch.tensor([-4.0, 0.0, 4.0])
    picks, places = torch.randn(2, 50, 2, generator=torch.Generator().manual_seed(0))
    one = prior.sample(torch.cat([picks, places], dim=1))
    other = prior.sample(torch.cat([picks, places.flip(0)], dim=1))
    # each number by its own draw, among shares that add up to 1
    below = prior.last.bias.view(2, 3, 3)[:, 0].softmax(dim=1).cumsum(dim=1)[:, :2]
    chances = torch.distributions.Normal(0.0, 1.0).cdf(picks)
    picked = (chances[..., None] > below).sum(dim=2)
    assert torch.equal(one.round(), torch.tensor([-4.0, 0.0, 4.0])[picked])
    assert len(picked.unique()) == 3 and (picked[:, 0] != picked[:, 1]).any()
    assert 0 < (one - other).abs().max() < 0.1
    torch.testing.assert_close(
        one - one.round(), places * math.exp(-5), atol=1e-4, rtol=0
    )


def test_fresh_components_stand_side_by_side() -> None:
    prior = MixturePrior(3, 0, 8, 4)
    torch.nn.init.zeros_(prior.last.weight)
    log_weight, mean, log_sigma = prior._mixtures(torch.randn(2, 3), None)
    torch.testing.assert_close(log_weight.exp(), torch.full((2, 3, 4), 0.25))
    torch.testing.assert_close(mean, torch.linspace(-1.5, 1.5, 4).expand(2, 3, 4))
    # neighbours, 1 apart, overlap: each is 0.6 wide
    torch.testing.assert_close(
        log_sigma.exp(), torch.full((2, 3, 4), 0.6), atol=0.02, rtol=0
    )


def test_prior_learns_modes_that_the_condition_leaves_open() -> None:
    # c says left or right; the codes lie above or below, and nowhere in between
    generator = torch.Generator().manual_seed(0)
    prior = MixturePrior(2, 1, 32, 4)
    optimizer = torch.optim.Adam(prior.parameters(), lr=5e-3)
    for _ in range(300):
        signs = torch.randint(0, 2, (128, 2), generator=generator) * 2.0 - 1
        z = 3 * signs + 0.3 * torch.randn(128, 2, generator=generator)
        optimizer.zero_grad()
        (-prior.log_prob(z, signs[:, :1]).mean()).backward()
        optimizer.step()
    right = torch.ones(1000, 1)
    drawn = prior.sample(torch.randn(1000, 4, generator=generator), right).detach()
    near = torch.stack(
        [(drawn - torch.tensor([3.0, y])).norm(dim=1) < 1.2 for y in (3.0, -3.0)]
    )
    assert near.any(0).float().mean() > 0.95  # a normal of this spread: under 0.3
    assert near.float().mean(1).min() > 0.35


def test_prior_without_components_is_refused() -> None:
    with pytest.raises(ValueError, match="components must be at least 1; got 0"):
        MixturePrior(4, 2, 8, 0)
