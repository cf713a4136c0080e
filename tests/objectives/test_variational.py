"""The bound against closed forms, likelihoods against torch, and every bad input."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from mmgen.objectives.variational import (
    ELBO,
    GREY_LEVEL,
    PixelLikelihood,
    bernoulli_log_likelihood,
    elbo,
    free_bits,
    gaussian_kl,
    gaussian_kl_terms,
    gaussian_log_likelihood,
    gaussian_log_prob,
    iwae_bound,
    kl_weight,
    reparameterise,
)

# ------------------------------------------------------------------------ divergences


def test_gaussian_kl_equals_torch_distributions() -> None:
    torch.manual_seed(0)
    mu, logvar, m, s = torch.randn(4, 50, 20, dtype=torch.float64) * 2
    q = Independent(Normal(mu, (logvar / 2).exp()), 1)
    p = Independent(Normal(m, (s / 2).exp()), 1)
    standard = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    torch.testing.assert_close(
        gaussian_kl(mu, logvar, m, s), kl_divergence(q, p), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        gaussian_kl(mu, logvar), kl_divergence(q, standard), rtol=1e-12, atol=1e-12
    )


def test_gaussian_kl_keeps_its_digits_near_zero_in_single_precision() -> None:
    # exp(δ) - 1 - δ ≈ δ²/2 cancels to noise if written out as it stands
    delta = torch.full((1, 1), 1e-3)
    exact = 0.5 * (math.exp(1e-3) - 1 - 1e-3)
    assert gaussian_kl(torch.zeros(1, 1), delta).item() == pytest.approx(
        exact, abs=1e-6 * exact + 1e-10
    )
    q = Normal(torch.full((1,), 0.3), torch.full((1,), 0.9))
    ours = gaussian_kl(q.loc[None], 2 * q.scale.log()[None])
    torch.testing.assert_close(
        ours, kl_divergence(q, Normal(0.0, 1.0)), rtol=0, atol=1e-6
    )


def test_gaussian_kl_is_the_sum_that_a_mean_makes_100_times_smaller() -> None:
    torch.manual_seed(0)
    mu, logvar = torch.randn(2, 8, 100)
    terms = gaussian_kl_terms(mu, logvar)
    torch.testing.assert_close(gaussian_kl(mu, logvar), 100 * terms.mean(dim=1))


def test_overflowing_log_variance_is_infinite_not_nan() -> None:
    for logvar in (1e3, -1e3):
        kl = gaussian_kl(torch.zeros(1, 2), torch.full((1, 2), logvar))
        assert not kl.isnan().any() and (kl > 900).all()
    assert gaussian_kl(torch.zeros(1, 1), torch.full((1, 1), 1e3)).isinf().all()


def test_gaussian_kl_names_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 1\)"):
        gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 1))


def test_free_bits_ask_nothing_below_the_threshold() -> None:
    # the threshold is of a dimension's mean: 0.7 alone would lie above it
    terms = torch.tensor([[0.1, 2.0], [0.7, 4.0]], requires_grad=True)
    cost = free_bits(terms, 0.5)
    cost.backward()
    assert cost.item() == pytest.approx(0.5 + 3.0)
    assert terms.grad is not None
    torch.testing.assert_close(terms.grad, torch.tensor([[0.0, 0.5], [0.0, 0.5]]))
    torch.testing.assert_close(free_bits(terms, 0.0), terms.sum(dim=1).mean())
    with pytest.raises(ValueError, match="at least 0; got -1"):
        free_bits(terms, -1)


def test_kl_weight_rises_in_a_line_and_stays() -> None:
    weights = [kl_weight(i, 4, beta=2.0) for i in range(7)]
    assert weights == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0, 2.0])
    assert kl_weight(0, 0) == 1.0


# ------------------------------------------------------------------------- likelihoods


def test_likelihoods_equal_torch_distributions() -> None:
    torch.manual_seed(0)
    images, mean = torch.rand(2, 5, 3, 8, 8) * 2 - 1
    scale = torch.tensor(0.3)
    torch.testing.assert_close(
        gaussian_log_likelihood(images, mean, scale),
        Normal(mean, scale).log_prob(images).flatten(1).sum(1),
    )
    bits = (images > 0).float()
    torch.testing.assert_close(
        bernoulli_log_likelihood(bits, mean),
        Bernoulli(logits=mean).log_prob(bits).flatten(1).sum(1),
    )


def test_learned_scale_ends_at_the_root_mean_square_error() -> None:
    torch.manual_seed(0)
    images = (torch.randn(16, 3, 8, 8) * 0.15).clamp(-1, 1)
    likelihood = PixelLikelihood("gaussian", 0.8, learn_sigma=True)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (
            -likelihood(images, torch.zeros_like(images)).mean() / images[0].numel()
        ).backward()
        optimizer.step()
    rms = images.square().mean().sqrt()
    torch.testing.assert_close(likelihood.sigma.detach(), rms, rtol=1e-3, atol=0)


def test_fixed_scale_is_no_parameter_and_survives_saving() -> None:
    fixed = PixelLikelihood("gaussian", 0.25, learn_sigma=False)
    assert list(fixed.parameters()) == []
    other = PixelLikelihood("gaussian", 0.5, learn_sigma=False)
    other.load_state_dict(fixed.state_dict())
    assert other.sigma.item() == pytest.approx(0.25)


@pytest.mark.parametrize("value", [1.5, -1.01, float("nan"), 255.0])
def test_gaussian_refuses_pictures_out_of_range(value: float) -> None:
    images = torch.zeros(1, 3, 4, 4)
    images[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"Gaussian likelihood must lie in \[-1, 1\]"):
        gaussian_log_likelihood(images, torch.zeros_like(images), torch.tensor(1.0))


def test_bernoulli_refuses_pictures_below_zero() -> None:
    images = torch.full((1, 3, 4, 4), -0.5)
    with pytest.raises(ValueError, match=r"Bernoulli likelihood must lie in \[0, 1\]"):
        bernoulli_log_likelihood(images, images)


def test_likelihood_refuses_what_it_is_not() -> None:
    with pytest.raises(ValueError, match="'laplace'"):
        PixelLikelihood("laplace", 0.1, True)
    with pytest.raises(ValueError, match="one grey level"):
        PixelLikelihood("gaussian", GREY_LEVEL, True)


# ------------------------------------------------ the bound where the evidence is known


class LinearGaussian:
    """z ~ N(0, I), x|z ~ N(Wz + b, s² I) with orthogonal columns of W.

    Then log p(x) = log N(x; b, WW' + s²I) in closed form, and the true posterior has
    independent dimensions, so that the family of q contains it.
    """

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        basis = torch.randn(5, 2, generator=generator, dtype=torch.float64)
        self.w = torch.linalg.qr(basis)[0] * torch.tensor([1.5, 0.7]).double()
        self.b = torch.randn(5, generator=generator, dtype=torch.float64)
        self.scale = torch.tensor(0.6, dtype=torch.float64)
        z = torch.randn(7, 2, generator=generator, dtype=torch.float64)
        noise = torch.randn(7, 5, generator=generator, dtype=torch.float64)
        self.x = z @ self.w.T + self.b + self.scale * noise

    def log_likelihood(self, z: Tensor) -> Tensor:
        mean = z @ self.w.T + self.b
        return Normal(mean, self.scale).log_prob(self.x).sum(-1)

    def expected_log_likelihood(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """E_q[log p(x|z)] exactly: the mean's term and the variance's."""
        spread = (self.w**2 @ logvar.exp().T).T.sum(-1)
        return self.log_likelihood(mu) - spread / (2 * self.scale**2)

    def evidence(self) -> Tensor:
        covariance = self.w @ self.w.T + self.scale**2 * torch.eye(5).double()
        return torch.distributions.MultivariateNormal(self.b, covariance).log_prob(
            self.x
        )

    def posterior(self) -> tuple[Tensor, Tensor]:
        precision = 1 + (self.w**2).sum(0) / self.scale**2
        mu = (self.x - self.b) @ self.w / self.scale**2 / precision
        return mu, -precision.log().expand_as(mu)

    def log_weights(self, mu: Tensor, logvar: Tensor, k: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(k, *mu.shape, generator=generator, dtype=torch.float64)
        z = reparameterise(mu, logvar, noise)
        zeros = torch.zeros_like(mu)
        log_joint = self.log_likelihood(z) + gaussian_log_prob(z, zeros, zeros)
        return log_joint - gaussian_log_prob(z, mu, logvar)


def test_elbo_reaches_the_evidence_and_never_exceeds_it() -> None:
    model = LinearGaussian()
    evidence = model.evidence()
    mu = torch.zeros(7, 2, dtype=torch.float64, requires_grad=True)
    logvar = torch.zeros(7, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([mu, logvar], lr=0.05)
    gaps = []
    for _ in range(1500):
        optimizer.zero_grad()
        bound = elbo(model.expected_log_likelihood(mu, logvar), mu, logvar).value
        gaps.append((evidence - bound).min().item())
        (-bound.sum()).backward()
        optimizer.step()
    assert min(gaps) > -1e-10  # never above, at any step and for any x
    assert gaps[0] > 0.1  # and it had a way to go
    assert (evidence - bound).abs().max() < 1e-3
    torch.testing.assert_close(mu.detach(), model.posterior()[0], atol=2e-2, rtol=0)


def test_sampled_elbo_agrees_with_the_evidence_at_the_posterior() -> None:
    model = LinearGaussian()
    mu, logvar = model.posterior()
    # at the true posterior every single weight is p(x): no noise is left
    log_weights = model.log_weights(mu, logvar, k=3, seed=1)
    torch.testing.assert_close(log_weights, model.evidence().expand(3, 7))
    noise = torch.randn(40_000, *mu.shape, dtype=torch.float64)
    z = reparameterise(mu, logvar, torch.cat([noise, -noise]))
    sampled = elbo(model.log_likelihood(z), mu, logvar).value
    torch.testing.assert_close(sampled, model.evidence(), atol=0.03, rtol=0)


def test_iwae_begins_at_the_elbo_and_rises_to_the_evidence() -> None:
    model = LinearGaussian()
    mu, logvar = model.posterior()
    mu, logvar = mu + 0.5, logvar + 1.0  # a wrong q: the bounds differ
    estimates = {}
    for k in (1, 2, 5, 20, 100):
        weights = model.log_weights(mu, logvar, k * 4000, seed=k)
        bounds = torch.stack([iwae_bound(w) for w in weights.split(k)])  # (4000, 7)
        error = bounds.std(dim=0) / math.sqrt(len(bounds))
        estimates[k] = (bounds.mean(dim=0), error)
    exact = elbo(model.expected_log_likelihood(mu, logvar), mu, logvar).value
    first, error = estimates[1]
    assert ((first - exact).abs() < 5 * error).all()
    ks = sorted(estimates)
    for low, high in pairwise(ks):
        (a, error_a), (b, error_b) = estimates[low], estimates[high]
        assert (b - a > -4 * (error_a + error_b)).all()
    last, error = estimates[100]
    assert (last > first + 0.1).all()
    assert (last < model.evidence() + 5 * error).all()
    assert (model.evidence() - last < 0.05).all()


def test_iwae_of_one_sample_is_that_weight() -> None:
    weights = torch.randn(1, 9)
    torch.testing.assert_close(iwae_bound(weights), weights[0])
    assert (iwae_bound(torch.full((3, 2), -1e4)) == -1e4).all()  # no underflow
    with pytest.raises(ValueError, match=r"K >= 1; got \(0, 3\)"):
        iwae_bound(torch.zeros(0, 3))


def test_elbo_averages_samples_and_keeps_its_terms_apart() -> None:
    mu, logvar = torch.randn(2, 4, 3)
    log_likelihood = torch.randn(10, 4)
    bound = elbo(log_likelihood, mu, logvar)
    assert isinstance(bound, ELBO)
    torch.testing.assert_close(bound.reconstruction, log_likelihood.mean(0))
    torch.testing.assert_close(bound.kl, gaussian_kl(mu, logvar))
    torch.testing.assert_close(bound.value, bound.reconstruction - bound.kl)


def test_reparameterised_samples_have_the_distribution_and_its_gradients() -> None:
    mu = torch.tensor([1.0, -2.0], requires_grad=True)
    logvar = torch.tensor([0.0, 1.0], requires_grad=True)
    noise = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    z = reparameterise(mu, logvar, noise)
    torch.testing.assert_close(z.mean(0), mu, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), logvar.exp(), atol=0.03, rtol=0)
    # E[z²] = μ² + σ², so its gradients are 2μ and σ²
    (z**2).mean(0).sum().backward()
    assert mu.grad is not None and logvar.grad is not None
    torch.testing.assert_close(mu.grad, 2 * mu.detach(), atol=0.02, rtol=0)
    torch.testing.assert_close(logvar.grad, logvar.detach().exp(), atol=0.03, rtol=0)
