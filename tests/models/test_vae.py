"""The bound against closed forms, the parts against torch, and every bad input."""

import contextlib
import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from mmgen.data import Batch, Vocabulary
from mmgen.layers.text import TextEncoder
from mmgen.models.vae import (
    ELBO,
    GREY_LEVEL,
    LOGVAR_BOUND,
    VAE,
    ConditionalVAEConfig,
    ConditionalVAESampler,
    ConditionalVAETask,
    GaussianHead,
    MixturePrior,
    PixelLikelihood,
    VAEConfig,
    VAESampler,
    VAETask,
    bernoulli_log_likelihood,
    caption_encoder,
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

CAPTIONS = ["a red circle", "a large blue square", "a small red square", "a circle"]
ATTRIBUTES = {
    "shape": ("circle", "square"),
    "position": ("left", "top left", "centre"),
}
SMALL = VAEConfig(latent_dim=6, channels=4, patch=1, hidden_dim=16)


@pytest.fixture
def dataset() -> SimpleNamespace:
    """What a task reads off a data set."""
    return SimpleNamespace(
        image_size=16,
        vocabulary=Vocabulary.build(CAPTIONS),
        max_tokens=6,
        attributes=ATTRIBUTES,
    )


@pytest.fixture
def batch(dataset: SimpleNamespace) -> Batch:
    tokens, lengths = dataset.vocabulary.encode(CAPTIONS, dataset.max_tokens)
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.rand(4, 3, 16, 16, generator=generator) * 2 - 1,
        tokens=tokens,
        lengths=lengths,
        class_ids=torch.arange(4),
        captions=CAPTIONS,
        attributes=torch.tensor([[0, 0], [1, 1], [1, -1], [-1, 2]]),
    )


def step_of(index: int = 0) -> SimpleNamespace:
    """A step of the loop, with noise from a generator of its own."""
    generator = torch.Generator().manual_seed(index)
    return SimpleNamespace(
        index=index,
        randn=lambda *shape: torch.randn(*shape, generator=generator),
        rand=lambda *shape: torch.rand(*shape, generator=generator),
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


def test_gaussian_head_cannot_overflow() -> None:
    head = GaussianHead(4, 3)
    torch.nn.init.constant_(head.layers[-1].bias, 1e30)  # raw log-variances of 1e30
    _, logvar = head(torch.randn(2, 4) * 1e12)
    assert logvar.abs().max() <= LOGVAR_BOUND
    assert reparameterise(torch.zeros(2, 3), logvar, torch.ones(2, 3)).isfinite().all()


def test_gaussian_kl_names_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 1\)"):
        gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 1))


def test_free_bits_ask_nothing_below_the_threshold() -> None:
    terms = torch.tensor([[0.1, 2.0], [0.3, 4.0]], requires_grad=True)
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


# ------------------------------------------------------------------- networks and tasks


def test_vae_forward_is_its_parts_put_together(batch: Batch) -> None:
    torch.manual_seed(0)
    model, noise = VAE(SMALL, 16), torch.randn(4, 6)
    output = model(batch.images, noise)
    mu, logvar = model.encode(batch.images)
    z = mu + (logvar / 2).exp() * noise
    torch.testing.assert_close(output.decoded.clamp(-1, 1), model.decode(z))
    q = Normal(mu, (logvar / 2).exp())
    log_likelihood = Normal(output.decoded, model.likelihood.sigma).log_prob(
        batch.images
    )
    torch.testing.assert_close(
        output.elbo.reconstruction, log_likelihood.flatten(1).sum(1)
    )
    torch.testing.assert_close(
        output.elbo.kl, kl_divergence(q, Normal(0.0, 1.0)).sum(1), atol=1e-6, rtol=1e-5
    )
    # and one weight is log p(x|z) + log p(z) - log q(z|x)
    weight = output.log_likelihood + Normal(0.0, 1.0).log_prob(z).sum(1)
    weight = weight - q.log_prob(z).sum(1)
    torch.testing.assert_close(model.log_weights(batch.images, noise[None])[0], weight)


def test_networks_do_not_see_the_batch(batch: Batch) -> None:
    model, noise = VAE(SMALL, 16), torch.randn(4, 6)
    together = model(batch.images, noise).log_likelihood
    alone = torch.cat(
        [model(batch.images[i : i + 1], noise[i : i + 1])[1] for i in range(4)]
    )
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_vae_task_learns(
    batch: Batch, dataset: SimpleNamespace, likelihood: str
) -> None:
    torch.manual_seed(0)
    config = replace(SMALL, likelihood=likelihood, learning_rate=3e-3)
    task = VAETask.build(config, dataset)
    (optimizer,) = task.optimizers().values()
    losses = []
    for index in range(30):
        optimizer.zero_grad()
        scalars = task.training_step(batch, step_of(index))
        scalars["loss"].backward()
        optimizer.step()
        losses.append(scalars["loss"].item())
    assert losses[-1] < losses[0] - 20
    torch.testing.assert_close(
        scalars["elbo"], -scalars["loss"]
    )  # beta 1, no free bits


def test_every_parameter_of_the_tasks_gets_a_gradient(
    batch: Batch, dataset: SimpleNamespace
) -> None:
    tasks = [VAETask.build(SMALL, dataset)]
    for condition in ("sentence", "attributes"):
        config = conditional_config(condition)
        tasks.append(ConditionalVAETask.build(config, dataset))
    for task in tasks:
        task.training_step(batch, step_of())["loss"].backward()
        (network,) = task.networks.values()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


# ---------------------------------------------------------------- the learned prior


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


def test_conditional_kl_is_estimated_without_bias(
    batch: Batch, dataset: SimpleNamespace
) -> None:
    # one component that ignores what came before is a Gaussian, with a closed form
    torch.manual_seed(0)
    config = replace(conditional_config("sentence"), components=1)
    model = ConditionalVAETask.build(config, dataset).networks["cvae"]
    with torch.no_grad():
        model.prior.second.weight.zero_()
        model.prior.first.weight.zero_()
        condition = model.condition(batch.tokens, batch.lengths, None)
        _, mean, log_sigma = model.prior._mixtures(torch.zeros(4, 3), condition)
        estimates, given = [], (batch.images, batch.tokens, batch.lengths, None)
        for _ in range(600):
            output = model(*given, torch.randn(4, 3))
            estimates.append(output.kl_terms)
    exact = gaussian_kl_terms(
        output.mu, output.logvar, mean[..., 0], 2 * log_sigma[..., 0]
    )
    torch.testing.assert_close(
        torch.stack(estimates).mean(0), exact, atol=0.15, rtol=0.05
    )


def conditional_config(condition: str) -> ConditionalVAEConfig:
    return ConditionalVAEConfig(
        latent_dim=3,
        channels=4,
        patch=2,
        hidden_dim=16,
        condition=condition,  # type: ignore[arg-type]
        condition_dim=8,
        embedding_dim=6,
    )


@pytest.mark.parametrize("condition", ["sentence", "attributes"])
def test_a_fresh_condition_is_as_loud_as_a_code(
    batch: Batch, dataset: SimpleNamespace, condition: str
) -> None:
    # Of two inputs a decoder learns the louder one; a code of unit size has length √Z.
    torch.manual_seed(0)
    network = ConditionalVAETask.build(conditional_config(condition), dataset).networks
    vectors = network["cvae"].condition(batch.tokens, batch.lengths, batch.attributes)
    assert vectors.shape == (4, 8)
    torch.testing.assert_close(
        vectors.square().sum(dim=1), torch.full((4,), 3.0), atol=0.3, rtol=0
    )


def test_fresh_sentences_differ_from_caption_to_caption() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(2, 300, (64, 10))
    lengths = torch.full((64,), 10)
    ours = caption_encoder(300, 32, 64)(tokens, lengths)[1]
    faint = TextEncoder(300, 32, 64, pooling="mean", dropout=0.0)(tokens, lengths)[1]

    def differing_share(sentences: torch.Tensor) -> float:
        normed = torch.nn.functional.layer_norm(sentences, (64,))
        return normed.var(dim=0).mean().item()  # of 1 in all

    assert differing_share(ours) > 0.4
    assert differing_share(faint) < 0.05  # why it does not begin as AttnGAN's does


def test_beta_and_warm_up_weigh_the_kl(batch: Batch, dataset: SimpleNamespace) -> None:
    config = replace(SMALL, beta=3.0, kl_warmup_steps=1)
    task = VAETask.build(config, dataset)
    for index, weight in ((0, 1.5), (1, 3.0), (9, 3.0)):
        scalars = task.training_step(batch, step_of(index))
        torch.testing.assert_close(
            scalars["loss"], weight * scalars["kl"] - scalars["reconstruction"]
        )


def test_vae_sampler_repeats_and_comes_back_from_its_arguments(
    dataset: SimpleNamespace,
) -> None:
    task = VAETask.build(SMALL, dataset)
    sampler = task.sampler(task.networks)
    pictures = sampler.sample(5, seed=3)
    assert pictures.shape == (5, 3, 16, 16) and pictures.abs().max() <= 1
    torch.testing.assert_close(sampler.sample(["any"] * 5, seed=3), pictures)
    assert not torch.equal(sampler.sample(5, seed=4), pictures)
    copy = VAESampler.from_args(sampler.init_args())
    copy.load_state_dict(sampler.state_dict())
    torch.testing.assert_close(copy.sample(5, seed=3), pictures)
    with pytest.raises(ValueError, match="at least one picture"):
        sampler.sample(0)


@pytest.mark.parametrize("condition", ["sentence", "attributes"])
def test_conditional_sampler_repeats_and_comes_back(
    dataset: SimpleNamespace, condition: str
) -> None:
    task = ConditionalVAETask.build(conditional_config(condition), dataset)
    sampler = task.sampler(task.networks)
    captions = ["red circle", "blue square top left"]
    # "top" and "left" are in no sentence here; as attributes they are a position
    said = (
        pytest.warns(UserWarning, match="never saw, and cannot follow: left, top")
        if condition == "sentence"
        else contextlib.nullcontext()
    )
    with said:
        pictures = sampler.sample(captions, seed=1)
        copy = ConditionalVAESampler.from_args(sampler.init_args())
        copy.load_state_dict(sampler.state_dict())
        torch.testing.assert_close(copy.sample(captions, seed=1), pictures)
    assert pictures.shape == (2, 3, 16, 16) and pictures.abs().max() <= 1


def test_conditional_sampler_reads_attributes_as_said(dataset: SimpleNamespace) -> None:
    task = ConditionalVAETask.build(conditional_config("attributes"), dataset)
    sampler = task.sampler(task.networks)
    said = sampler.condition(["a circle at the top left", "a square"])
    meant = sampler.condition(
        [{"shape": "circle", "position": "top left"}, {"shape": "square"}]
    )
    torch.testing.assert_close(said, meant)
    for wrong in ("a triangle", {"shape": "triangle"}, {"size": "big"}, {}):
        with pytest.raises(ValueError, match="shape: circle, square; position: left"):
            sampler.sample([wrong])


def test_conditional_sampler_speaks_up(dataset: SimpleNamespace) -> None:
    task = ConditionalVAETask.build(conditional_config("sentence"), dataset)
    sampler = task.sampler(task.networks)
    with pytest.warns(UserWarning, match="never saw.*: chartreuse"):
        sampler.sample(["a chartreuse circle"])
    for captions in ([""], [], "a red circle", ["chartreuse"]):
        with pytest.raises(ValueError, match="captions must"):
            sampler.sample(captions)


def test_attributes_are_asked_for_where_there_are_none(
    dataset: SimpleNamespace, batch: Batch
) -> None:
    dataset.attributes = {}
    with pytest.raises(ValueError, match="needs a data set with attributes"):
        ConditionalVAETask.build(conditional_config("attributes"), dataset)
    dataset.attributes = ATTRIBUTES
    task = ConditionalVAETask.build(conditional_config("attributes"), dataset)
    with pytest.raises(ValueError, match="attributes must be given"):
        task.training_step(replace(batch, attributes=None), step_of())


def test_config_refuses_more_latent_than_data_and_odd_sizes() -> None:
    with pytest.raises(ValueError, match=r"1\.\.192.*got 193.*nothing to compress"):
        VAE(replace(SMALL, latent_dim=193), 8)
    VAE(replace(SMALL, latent_dim=192), 8)
    for size in (4, 24, 48, 0):
        with pytest.raises(
            ValueError, match=f"8, 16, 32, 64.*got {size}|1..{3 * size * size}"
        ):
            VAE(SMALL, size)
    with pytest.raises(ValueError, match="multiple of 4; got 6"):
        VAE(replace(SMALL, channels=6), 16)
    with pytest.raises(ValueError, match="beta must be at least 0"):
        VAE(replace(SMALL, beta=-1.0), 16)
    with pytest.raises(ValueError, match=r"\(B, 3, 16, 16\).*got \(2, 3, 8, 8\)"):
        VAE(SMALL, 16).encode(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize("task", [VAETask, ConditionalVAETask])
@pytest.mark.parametrize("scale", ["smoke", "laptop", "full"])
def test_defaults_make_networks(task: type, scale: str) -> None:
    config, training, options = task.defaults(scale, "shapes")
    config.check(options["image_size"])
    assert training["steps"] > 0 and options["objects"] == (1,)
    assert "objects" not in task.defaults(scale, "emoji")[2]
