"""Products of experts, the terms of every subset, and all directions."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from mmgen.data import Batch, Vocabulary, load_dataset
from mmgen.interfaces import Describes, Draws, Imagines
from mmgen.models.multimodal_vae import (
    MultimodalVAE,
    MultimodalVAEConfig,
    MultimodalVAESampler,
    MultimodalVAETask,
    product_of_experts,
    training_subsets,
)
from mmgen.models.vae import ConditionalVAE, ConditionalVAEConfig
from mmgen.training import TrainingConfig, fit
from mmgen.training.checkpoint import begin_with

CAPTIONS = ["a red circle", "a large blue square", "红色的圆", "蓝色的大方块"]
CONFIG = MultimodalVAEConfig(
    latent_dim=5,
    style_dim=3,
    channels=4,
    patch=1,
    hidden_dim=16,
    sentence_dim=8,
    embedding_dim=6,
    components=2,
)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build(CAPTIONS, "both")


@pytest.fixture
def batch(vocabulary: Vocabulary) -> Batch:
    tokens, lengths = vocabulary.encode(CAPTIONS, 7)
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.rand(4, 3, 16, 16, generator=generator) * 2 - 1,
        tokens=tokens,
        lengths=lengths,
        class_ids=torch.arange(4),
        captions=CAPTIONS,
    )


@pytest.fixture
def build(vocabulary: Vocabulary) -> Callable[..., MultimodalVAETask]:
    """A task, its config changed."""

    def with_changes(**changes: object) -> MultimodalVAETask:
        torch.manual_seed(0)
        config = replace(CONFIG, **changes)
        dataset = SimpleNamespace(image_size=16, vocabulary=vocabulary, max_tokens=7)
        return MultimodalVAETask.build(config, dataset)

    return with_changes


def step_of(index: int = 0) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(index)
    return SimpleNamespace(
        index=index, randn=lambda *shape: torch.randn(*shape, generator=generator)
    )


def test_product_of_experts_is_the_closed_form() -> None:
    torch.manual_seed(0)
    mus, logvars = torch.randn(2, 3, 6, 4, dtype=torch.float64) * 2
    mu, logvar = product_of_experts(mus, logvars)
    precision = torch.exp(-logvars)
    torch.testing.assert_close(torch.exp(-logvar), precision.sum(0))
    torch.testing.assert_close(mu, (precision * mus).sum(0) / precision.sum(0))


def test_product_of_experts_is_proportional_to_the_product_of_densities() -> None:
    torch.manual_seed(0)
    mus, logvars = torch.randn(2, 3, 1, 2, dtype=torch.float64)
    mu, logvar = product_of_experts(mus, logvars)

    def log_density(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
        return MultivariateNormal(mu, torch.diag(logvar.exp())).log_prob(z)

    z = torch.randn(50, 2, dtype=torch.float64)
    product = sum(log_density(z, mus[m, 0], logvars[m, 0]) for m in range(3))
    difference = product - log_density(z, mu[0], logvar[0])
    torch.testing.assert_close(difference, difference[:1].expand(50))


def test_product_of_experts_limits() -> None:
    mus = torch.tensor([[[3.0]], [[-1.0]]])
    # one expert alone is itself; equal experts halve the variance
    mu, logvar = product_of_experts(mus[:1], torch.full((1, 1, 1), 0.4))
    assert (mu.item(), logvar.item()) == pytest.approx((3.0, 0.4))
    mu, logvar = product_of_experts(mus, torch.zeros(2, 1, 1))
    assert (mu.item(), logvar.item()) == pytest.approx((1.0, -math.log(2)))
    # an expert without opinion, and one that is sure beyond any exponential
    for extreme, winner in ((1e4, 3.0), (-1e4, -1.0)):
        mu, logvar = product_of_experts(mus, torch.tensor([[[0.0]], [[extreme]]]))
        assert mu.item() == pytest.approx(winner)
        # as sure as the surer of the two
        assert logvar.item() == pytest.approx(min(0.0, extreme))


def test_product_of_no_expert_points_to_the_prior() -> None:
    with pytest.raises(ValueError, match=r"empty subset.*the prior"):
        product_of_experts(torch.zeros(0, 2, 3), torch.zeros(0, 2, 3))
    with pytest.raises(ValueError, match="shape"):
        product_of_experts(torch.zeros(2, 3), torch.zeros(2, 3))


def test_training_subsets_are_those_of_the_papers() -> None:
    image, caption, both = ("image",), ("caption",), ("image", "caption")
    assert training_subsets("poe") == (
        (image, image), (caption, caption), (both, both)
    )  # fmt: skip
    assert training_subsets("moe") == ((image, both), (caption, both))
    assert training_subsets("mopoe") == ((image, both), (caption, both), (both, both))
    with pytest.raises(ValueError, match="'sum'"):
        training_subsets("sum")


def test_posterior_of_both_is_the_product_of_experts_and_prior(
    build: Callable[..., MultimodalVAETask], batch: Batch
) -> None:
    model = build().networks["mvae"]
    image = model.image_expert(model.encoder(batch.images))
    sentence = model.text(batch.tokens, batch.lengths)[1]
    caption = model.caption_expert(sentence)
    zeros = torch.zeros_like(image[0])
    expected = product_of_experts(
        torch.stack([zeros, image[0], caption[0]]),
        torch.stack([zeros, image[1], caption[1]]),
    )
    both = model.posterior(batch.images, batch.tokens, batch.lengths)
    torch.testing.assert_close(both, expected)
    # more evidence, less doubt: never wider than with one modality, or than the prior
    for single in (
        model.posterior(batch.images),
        model.posterior(tokens=batch.tokens, lengths=batch.lengths),
    ):
        assert (both[1] < single[1]).all() and (single[1] < 0).all()
    with pytest.raises(ValueError, match="images or captions must be given"):
        model.posterior()


@pytest.mark.parametrize("fusion", ["poe", "moe", "mopoe"])
@pytest.mark.parametrize("components", [0, 2])
@pytest.mark.parametrize("style_dim", [0, 3])
def test_every_parameter_learns(
    build: Callable[..., MultimodalVAETask],
    batch: Batch,
    fusion: str,
    components: int,
    style_dim: int,
) -> None:
    task = build(fusion=fusion, components=components, style_dim=style_dim)
    scalars = task.training_step(batch, step_of())
    scalars["loss"].backward()
    for name, parameter in task.networks["mvae"].named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_loss_is_the_weighted_mean_of_the_terms(
    build: Callable[..., MultimodalVAETask], batch: Batch
) -> None:
    task = build(caption_weight=3.0)
    task.model.eval()  # no word is dropped
    loss = task.training_step(batch, step_of())["loss"]
    noise = step_of().randn(4, 3, 8)
    terms = task.networks["mvae"](batch.images, batch.tokens, batch.lengths, noise)
    assert set(terms) == {("image",), ("caption",), ("image", "caption")}
    costs = [t.kl + t.style_kl - t.image - 3 * t.caption for t in terms.values()]
    torch.testing.assert_close(loss, torch.stack(costs).mean())
    for t in terms.values():
        torch.testing.assert_close(t.elbo, t.image + t.caption - t.kl - t.style_kl)


def test_subset_sees_nothing_of_the_other_modality(
    build: Callable[..., MultimodalVAETask], batch: Batch
) -> None:
    model = build(style_dim=0).networks["mvae"].eval()
    noise = torch.randn(4, 3, 5)
    terms = model(batch.images, batch.tokens, batch.lengths, noise)
    other = model(-batch.images, batch.tokens, batch.lengths, noise)
    torch.testing.assert_close(terms["caption",].kl, other["caption",].kl)
    torch.testing.assert_close(terms["caption",].caption, other["caption",].caption)
    assert not torch.equal(terms["image",].kl, other["image",].kl)


def test_batch_of_one_modality_trains_what_it_can(
    build: Callable[..., MultimodalVAETask], batch: Batch
) -> None:
    model, noise = build().networks["mvae"].eval(), torch.randn(4, 3, 8)
    full = model(batch.images, batch.tokens, batch.lengths, noise)
    pictures = model(batch.images, None, None, noise)
    captions = model(None, batch.tokens, batch.lengths, noise)
    assert set(pictures) == {("image",)} and set(captions) == {("caption",)}
    image, caption = pictures["image",], captions["caption",]
    assert image.caption is None and caption.image is None and caption.style_kl is None
    torch.testing.assert_close(image.image, full["image",].image)
    torch.testing.assert_close(caption.caption, full["caption",].caption)
    torch.testing.assert_close(caption.elbo, caption.caption - caption.kl)
    torch.testing.assert_close(image.elbo, image.image - image.kl - image.style_kl)
    with pytest.raises(ValueError, match="a batch of neither"):
        model(None, None, None, noise)


def test_overfits_two_pairs_and_then_speaks_in_all_directions(
    vocabulary: Vocabulary,
) -> None:
    torch.manual_seed(0)
    tokens, lengths = vocabulary.encode(CAPTIONS[:2], 7)
    images = torch.full((2, 3, 8, 8), -0.8)
    images[1] = 0.8
    data = Batch(images, tokens, lengths, torch.arange(2), CAPTIONS[:2])
    config = replace(CONFIG, learning_rate=5e-3, hidden_dim=32)
    dataset = SimpleNamespace(image_size=8, vocabulary=vocabulary, max_tokens=7)
    task = MultimodalVAETask.build(config, dataset)
    (optimizer,) = task.optimizers().values()
    for index in range(250):
        optimizer.zero_grad()
        task.training_step(data, step_of(index))["loss"].backward()
        optimizer.step()
    sampler = task.sampler(task.networks)
    drawn = sampler.sample(CAPTIONS[:2], seed=5)
    torch.testing.assert_close(drawn, images, atol=0.25, rtol=0)
    assert sampler.describe(images, "en") == CAPTIONS[:2]
    pictures, captions = sampler.imagine(32, seed=1, language="en")
    dark = pictures.mean(dim=(1, 2, 3)) < 0
    agree = [CAPTIONS[0 if d else 1] == c for d, c in zip(dark, captions, strict=True)]
    assert sum(agree) >= 29 and 4 < dark.sum() < 28


def test_sampler_repeats_comes_back_and_speaks_up(
    build: Callable[..., MultimodalVAETask], batch: Batch
) -> None:
    task = build()
    sampler = task.sampler(task.networks)
    copy = MultimodalVAESampler.from_args(sampler.init_args())
    copy.load_state_dict(sampler.state_dict())
    copy.eval()
    for one, other in (
        (sampler.sample(CAPTIONS, seed=2), copy.sample(CAPTIONS, seed=2)),
        (sampler.imagine(3, seed=2)[0], copy.imagine(3, seed=2)[0]),
    ):
        assert one.abs().max() <= 1 and one.shape[1:] == (3, 16, 16)
        torch.testing.assert_close(one, other)
    assert sampler.describe(batch.images) == copy.describe(batch.images, "en")
    assert sampler.languages == ("en", "zh")
    assert all(isinstance(sampler, verb) for verb in (Draws, Describes, Imagines))
    noise = torch.randn(4, 5 + 2 * 3, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        sampler.sample(CAPTIONS, noise=noise), sampler.sample(CAPTIONS, seed=2)
    )
    graph = sampler.eval().graph()
    (drawn,) = graph.module(*graph.inputs.values())
    assert drawn.shape == (3, 3, 16, 16)
    assert not torch.equal(sampler.sample(CAPTIONS, 2), sampler.sample(CAPTIONS, 3))
    with pytest.warns(UserWarning, match="chartreuse"):
        sampler.sample(["a chartreuse circle"])
    for wrong, message in (
        (lambda: sampler.sample([""]), "must not be empty"),
        (lambda: sampler.sample([]), "at least one caption"),
        (lambda: sampler.imagine(0), "count must be at least 1"),
        (lambda: sampler.describe(batch.images, "fr"), "one of en, zh.*'fr'"),
        (lambda: sampler.describe(batch.images * 255), r"lie in \[-1, 1\]"),
        (lambda: sampler.describe(batch.images[:, :, :8]), r"\(B, 3, 16, 16\)"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


def test_joint_prior_is_fitted_to_pictures_codes_and_nothing_else_moves(
    build: Callable[..., MultimodalVAETask], batch: Batch
) -> None:
    first = build()
    task = build(joint_prior=24, learning_rate=2e-2)
    tensors = {f"mvae.{k}": t for k, t in first.networks["mvae"].state_dict().items()}
    fresh = begin_with(task.networks, tensors)
    assert fresh and all(name.startswith("joint_prior.") for name in fresh)
    (optimizer,) = task.optimizers().values()
    losses = []
    for index in range(60):
        optimizer.zero_grad()
        loss = task.training_step(batch, step_of(index))["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5
    for name, value in task.networks["mvae"].state_dict().items():
        torch.testing.assert_close(value, tensors[f"mvae.{name}"], atol=0, rtol=0)
    # It is a density of pictures' codes: no other code is as likely under it.
    prior = task.networks["joint_prior"]
    with torch.no_grad():
        mu, _ = task.model.posterior(images=batch.images)
        assert prior.log_prob(mu).mean() > prior.log_prob(mu + 3).mean() + 1


def test_second_training_keeps_what_samplers_of_the_first_use(tmp_path: Path) -> None:
    data = load_dataset("shapes", "train", 16, objects=(1,))
    settings = {"steps": 4, "batch_size": 8, "accelerator": "cpu", "progress": "none"}
    first = fit(
        MultimodalVAETask.build(CONFIG, data),
        data,
        TrainingConfig(**settings, out=str(tmp_path / "first")),
    ).sampler()
    second = fit(
        MultimodalVAETask.build(replace(CONFIG, joint_prior=16), data),
        data,
        TrainingConfig(
            **settings,
            start_from=str(tmp_path / "first"),
            out=str(tmp_path / "second"),
        ),
    ).sampler()
    kept, theirs = second.model.state_dict(), first.model.state_dict()
    for name, value in theirs.items():
        torch.testing.assert_close(kept[name], value, atol=0, rtol=0)
    assert second.joint_prior is not None and first.joint_prior is None


def test_joint_samples_come_from_the_joint_prior(
    build: Callable[..., MultimodalVAETask],
) -> None:
    task = build(joint_prior=24)
    sampler = task.sampler(task.networks)
    copy = MultimodalVAESampler.from_args(sampler.init_args())
    copy.load_state_dict(sampler.state_dict())
    copy.eval()
    torch.testing.assert_close(sampler.imagine(3)[0], copy.imagine(3)[0])
    joint, plain = sampler.joint_prior, sampler.model.prior
    assert joint is not None and plain is not None
    with torch.no_grad():  # all codes at one place: all captions are one caption
        for name, value in joint.named_parameters():
            value.zero_()
            if name == "last.bias":
                value.view(5, 3, 2)[:, 2] = -20.0  # log σ
    assert len(set(sampler.imagine(8)[1])) == 1
    # and what a caption or a picture is answered with has not changed
    torch.testing.assert_close(sampler.sample(CAPTIONS), copy.sample(CAPTIONS))


def test_more_latent_than_data_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(ValueError, match="nothing to compress"):
        MultimodalVAE(replace(CONFIG, latent_dim=193), 8, vocabulary)


def test_begins_with_what_a_conditional_vae_knows(
    build: Callable[..., MultimodalVAETask], vocabulary: Vocabulary
) -> None:
    task = build(sentence_dim=8)
    shared = {"channels": 4, "patch": 1, "hidden_dim": 16, "embedding_dim": 6}
    config = ConditionalVAEConfig(condition_dim=8, **shared)
    source = ConditionalVAE(config, 16, vocabulary, {})
    tensors = {f"cvae.{key}": t for key, t in source.state_dict().items()}
    fresh = begin_with(task.networks, tensors)
    mine, theirs = task.networks["mvae"].state_dict(), source.state_dict()
    taken = [key for key in mine if f"mvae.{key}" not in fresh]
    for key in taken:
        torch.testing.assert_close(mine[key], theirs[key])
    # all of its eyes and words; of its hands all but the layer that reads the code
    parts = ("encoder.", "text.", "decoder.")
    left = {key for key in mine if key.startswith(parts)} - set(taken)
    assert left == {"decoder.embed.0.weight"}
