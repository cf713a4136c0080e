"""The autoencoders are their parts put together; they learn, draw and speak up."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mmgen.data import Batch, Vocabulary
from mmgen.interfaces import Draws, Exports
from mmgen.layers.text import TextEncoder
from mmgen.models.vae import (
    VAE,
    ConditionalVAE,
    ConditionalVAEConfig,
    ConditionalVAESampler,
    ConditionalVAETask,
    VAEConfig,
    VAESampler,
    VAETask,
)
from mmgen.objectives.variational import gaussian_kl_terms

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
        synonyms={},
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
    torch.testing.assert_close(scalars["elbo"], -scalars["loss"])
    torch.testing.assert_close(
        scalars["elbo"], scalars["reconstruction"] - scalars["kl"]
    )


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
            assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_attributes_are_left_open_now_and_then(
    batch: Batch, dataset: SimpleNamespace
) -> None:
    task = ConditionalVAETask.build(conditional_config("attributes"), dataset)
    open_ = replace(batch, attributes=torch.full_like(batch.attributes, -1))
    losses = []
    for given, chance in ((batch, 0.0), (open_, 1.0), (batch, 1.0)):
        step = step_of()
        step.rand = lambda *shape, chance=chance: torch.full(shape, chance)
        losses.append(task.training_step(given, step)["loss"].item())
    # the surest draw hides all of them, the other none
    assert losses[0] == losses[1] != losses[2]


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
        condition = model.condition(batch.tokens, batch.lengths)
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
    given = (batch.tokens, batch.lengths)
    if condition == "attributes":
        given = (batch.attributes,)
    vectors = network["cvae"].condition(*given)
    assert vectors.shape == (4, 8)
    torch.testing.assert_close(
        vectors.square().sum(dim=1), torch.full((4,), 3.0), atol=0.3, rtol=0
    )


def test_fresh_sentences_differ_from_caption_to_caption() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(2, 300, (64, 10))
    lengths = torch.full((64,), 10)
    config = replace(conditional_config("sentence"), embedding_dim=32, condition_dim=64)
    words = Vocabulary(["<pad>", "<unk>", *map(str, range(298))], "en")
    ours = ConditionalVAE(config, 16, words, {}).text(tokens, lengths)[1]
    faint = TextEncoder(300, 32, 64, pooling="mean", dropout=0.0)(tokens, lengths)[1]

    def differing_share(sentences: torch.Tensor) -> float:
        normed = torch.nn.functional.layer_norm(sentences, (64,))
        return normed.var(dim=0).mean().item()  # of 1 in all

    assert differing_share(ours) > 0.4
    assert differing_share(faint) < 0.05  # why it does not begin as AttnGAN's does


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
    noise = torch.randn(5, 6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(sampler.sample(5, noise=noise), pictures)
    assert isinstance(sampler, Draws) and isinstance(sampler, Exports)
    with pytest.raises(ValueError, match="at least one picture"):
        sampler.sample(0)
    with pytest.raises(ValueError, match=r"noise must have shape \(4, 6\)"):
        sampler.sample(4, noise=noise)


@pytest.mark.parametrize("condition", ["sentence", "attributes"])
def test_conditional_sampler_repeats_and_comes_back(
    dataset: SimpleNamespace, condition: str
) -> None:
    task = ConditionalVAETask.build(conditional_config(condition), dataset)
    sampler = task.sampler(task.networks)
    captions = ["red circle", "blue square top left"]
    # "top" and "left" are in no sentence here; as attributes they are a position, and
    # colours are none
    said = {
        "sentence": "never saw, and cannot follow: left, top",
        "attributes": "no attribute has the value '(red|blue)'",
    }[condition]
    with pytest.warns(UserWarning, match=said):
        pictures = sampler.sample(captions, seed=1)
        copy = ConditionalVAESampler.from_args(sampler.init_args())
        copy.load_state_dict(sampler.state_dict())
        torch.testing.assert_close(copy.sample(captions, seed=1), pictures)
        noise = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(sampler.sample(captions, noise=noise), pictures)
    assert "learning_rate" not in sampler.init_args()["config"]
    assert pictures.shape == (2, 3, 16, 16) and pictures.abs().max() <= 1


def test_conditional_sampler_reads_attributes_as_said(dataset: SimpleNamespace) -> None:
    task = ConditionalVAETask.build(conditional_config("attributes"), dataset)
    sampler = task.sampler(task.networks)
    said = sampler.condition(["a circle at the top left", "a square"])
    meant = sampler.condition(
        [{"shape": "circle", "position": "top left"}, {"shape": "square"}]
    )
    torch.testing.assert_close(said, meant)
    for wrong, message in (
        ("a triangle", "at least one attribute's value; got 'a triangle'"),
        ({"shape": "triangle"}, "shape must be one of circle, square; got 'triangle'"),
        ({"size": "big"}, "attributes are shape, position; got 'size'"),
        ({}, "at least one attribute's value"),
    ):
        with pytest.raises(ValueError, match=message):
            sampler.sample([wrong])
    for nothing in ([], "a circle"):
        with pytest.raises(ValueError, match="a list with at least one caption"):
            sampler.sample(nothing)


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
    with pytest.raises(ValueError, match=r"\(B, 3, 16, 16\).*got \(2, 3, 8, 8\)"):
        VAE(SMALL, 16).encode(torch.zeros(2, 3, 8, 8))
