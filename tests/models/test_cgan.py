"""CGAN: objectives against closed forms, networks against their formulas."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mmgen.data import load_dataset
from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import DataInfo, Draws, Exports
from mmgen.models import cgan
from mmgen.models.cgan import (
    CGANConfig,
    CGANSampler,
    CGANTask,
    Generator,
    ProjectionDiscriminator,
)
from mmgen.objectives import adversarial
from mmgen.objectives.contrastive import pair_matching_loss
from mmgen.objectives.labels import Labels, completed, rows_score, values_loss
from tests.models.steps import OneStep

ATTRIBUTES = {
    "person": ("woman", "man"),
    "skin_tone": ("light", "medium-light", "medium", "dark"),
    "role": ("astronaut", "farmer"),
}
TINY = CGANConfig(noise_dim=8, embedding_dim=8, condition_dim=16, width=4, max_width=16)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build(["a large red star", "a small blue circle"])


def data_info(vocabulary: Vocabulary, **attributes: tuple[str, ...]) -> DataInfo:
    """What a task needs to know of a data set that knows no alternatives."""
    return SimpleNamespace(
        name="tiny",
        image_size=32,
        language="en",
        vocabulary=vocabulary,
        max_tokens=6,
        attributes=attributes,
        synonyms={},
        alternatives=None,
    )


def test_the_chapter_finds_the_objectives_beside_the_networks() -> None:
    for name in adversarial.__all__:
        assert getattr(cgan, name) is getattr(adversarial, name)


# ------------------------------------------------------------------ networks


def test_projection_discriminator_equals_its_formula() -> None:
    torch.manual_seed(0)
    network = ProjectionDiscriminator(TINY)
    images, condition = torch.randn(5, 3, 32, 32), torch.randn(4, 16)
    found = network(images, condition)
    assert found.shape == (5, 4)
    psi, bias = network.realness.weight[0], network.realness.bias[0]
    v = network.project.weight  # (F, C)
    for i in range(5):
        # one picture at a time: no statistics over the batch, neighbours change nothing
        phi = network.features(images[i : i + 1])[0]
        for j in range(4):
            expected = psi @ phi + bias + phi @ v @ condition[j]
            torch.testing.assert_close(found[i, j], expected)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_networks_of_every_size(size: int) -> None:
    config = replace(TINY, image_size=size)
    noise, condition = torch.randn(2, 8), torch.randn(2, 16)
    images = Generator(config)(noise, condition)
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    assert ProjectionDiscriminator(config)(images, condition).shape == (2, 2)


def test_generator_listens_to_noise_and_to_condition() -> None:
    torch.manual_seed(0)
    generator = Generator(TINY).eval()
    noise, condition = torch.randn(2, 8), torch.randn(2, 16)
    base = generator(noise[:1], condition[:1])
    assert (generator(noise[1:], condition[:1]) - base).abs().max() > 1e-3
    assert (generator(noise[:1], condition[1:]) - base).abs().max() > 1e-3


# ---------------------------------------------------------------------- task


def shapes_batch(vocabulary: Vocabulary, size: int = 6) -> Batch:
    captions = ["a large red star", "a small blue circle"] * (size // 2)
    tokens, lengths = vocabulary.encode(captions)
    images = torch.rand(size, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return Batch(
        images * 2 - 1,
        tokens,
        lengths,
        torch.tensor([0, 1] * (size // 2)),
        captions,
        attributes=torch.tensor([[0, 1, -1], [1, -1, 0]] * (size // 2)),
    )


@pytest.mark.parametrize("condition", ["sentence", "sentence+labels", "attributes"])
@pytest.mark.parametrize("accumulating", [False, True])
@pytest.mark.parametrize("augment", [False, True])
def test_each_phase_reaches_its_own_networks(
    vocabulary: Vocabulary, condition: str, accumulating: bool, augment: bool
) -> None:
    torch.manual_seed(0)
    condition, labels, _ = condition.partition("+labels")
    config = replace(TINY, condition=condition, labels=bool(labels), augment=augment)
    task = CGANTask(config, data_info(vocabulary, **ATTRIBUTES))
    batch, optimizers = shapes_batch(vocabulary), task.optimizers()
    owners = {
        "generator": {"generator"},
        "discriminator": {"discriminator", "encoder", "labels"},
    }
    trained: set[int] = set()
    for phase in task.phases:
        # as the loop does: what no later phase trains needs no gradient any more
        for network in task.networks.values():
            for parameter in network.parameters():
                parameter.grad = None
                parameter.requires_grad_(id(parameter) not in trained)
        groups = optimizers[phase].param_groups
        trained |= {id(p) for group in groups for p in group["params"]}
        terms = task.training_step(batch, OneStep(phase, accumulating))
        assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
        terms["loss"].backward()
        for name, network in task.networks.items():
            reached = {
                p.grad is not None and bool(p.grad.any()) for p in network.parameters()
            }
            assert reached == {name in owners[phase]}, (phase, name)


def assert_same_gradient(
    found: torch.Tensor, expected: torch.Tensor, task: CGANTask, *names: str
) -> None:
    """Of two ways to a loss: a term that was cut off has the same value."""
    learns = [p for name in names for p in task.networks[name].parameters()]
    for one, other in zip(
        torch.autograd.grad(found, learns),
        torch.autograd.grad(expected, learns),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_discriminator_loss_by_hand(vocabulary: Vocabulary) -> None:
    """The batched step equals the terms of the text, one picture at a time."""
    torch.manual_seed(0)
    config = replace(TINY, objective="non-saturating", matching_weight=0.7)
    task = CGANTask(config, data_info(vocabulary))
    batch = shapes_batch(vocabulary)
    step = OneStep("discriminator", accumulating=True)
    got = task.training_step(batch, step)["loss"]

    generator = torch.Generator().manual_seed(0)  # the same draws again
    _, condition = task.networks["encoder"](batch.tokens, batch.lengths)
    noise = torch.randn(6, TINY.noise_dim, generator=generator)
    fakes = task.networks["generator"](noise, condition).detach()

    def score(image: torch.Tensor, caption: int) -> torch.Tensor:
        network = task.networks["discriminator"]
        return network(image[None], condition[[caption]])[0, 0]

    log_real, log_fake, log_wrong, picked = [], [], [], []
    for i in range(6):
        image, own = batch.images[i], score(batch.images[i], i)
        log_real.append(torch.sigmoid(own).log())
        log_fake.append((1 - torch.sigmoid(score(fakes[i], i))).log())
        # the two captions alternate: those at odd distance say something else
        others = [j for j in range(6) if (i - j) % 2]
        wrong = torch.stack([score(image, j) for j in others])
        log_wrong.extend((1 - torch.sigmoid(wrong)).log())
        rivals = torch.stack([score(batch.images[j], i) for j in others])
        picked += [own.exp() / (own.exp() + s.exp().sum()) for s in (wrong, rivals)]
    real, fake, wrong = (
        torch.stack(terms).mean() for terms in (log_real, log_fake, log_wrong)
    )
    matching = -2 * torch.stack(picked).log().mean()
    expected = -(real + (wrong + fake) / 2) + 0.7 * matching
    torch.testing.assert_close(got, expected)
    assert_same_gradient(got, expected, task, "discriminator", "encoder")


def test_pictures_answer_for_captions_hard_negatives_and_label_values() -> None:
    dataset = load_dataset("shapes", "train", 32, objects=(1, 2), size=32)
    batch = dataset.batch(range(6))
    values = sum(len(v) + 1 for v in dataset.attributes.values())
    for labels, captions, count in ((False, 6, 6), (True, 12, 12 + values)):
        task = CGANTask.build(replace(TINY, labels=labels), dataset)
        step = OneStep("discriminator")
        asked = task._asked(batch, task._encode(batch), step)
        assert len(asked.ids) == captions and len(asked.conditions) == count
    assert torch.equal(asked.ids[:6], batch.class_ids)
    assert (asked.ids[6:] != batch.class_ids).all()
    right, wrong = asked.conditions[:6], asked.conditions[6:12]
    assert (right != wrong).any(dim=1).all()
    # each under its own name
    chances = OneStep("discriminator").rand(6, 3).tolist()
    tokens, lengths, ids = dataset.alternatives.hard_negatives(batch, chances)
    torch.testing.assert_close(wrong, task._read(tokens, lengths))
    assert torch.equal(asked.ids[6:], ids)


def test_the_game_of_labels_by_hand() -> None:
    """What labels=True adds to both losses, from the logits that both see."""
    dataset = load_dataset("shapes", "train", 32, objects=(1, 2), size=32)
    batch = dataset.batch(range(6))
    torch.manual_seed(0)
    task = CGANTask.build(replace(TINY, labels=True, matching_weight=0.0), dataset)
    sizes = [len(values) for values in dataset.attributes.values()]
    meets = Labels.of_captions(batch, dataset.alternatives)
    step = OneStep("discriminator", accumulating=True)
    terms = task.training_step(batch, step)

    step = OneStep("discriminator", accumulating=True)  # the same draws again
    condition = task._encode(batch)
    fakes = task._generate(condition, step).detach()
    asked = task._asked(batch, condition, step)
    scores = task.networks["discriminator"]
    real = scores(batch.images, asked.conditions)[:, 12:]
    fake = scores(fakes, asked.conditions)[:, 12:]
    accepted = rows_score(real, batch.attributes, sizes)
    rows = completed(fake, meets.rows, sizes, meets.counted)
    refused = rows_score(fake, rows, sizes)
    expected = (1 - accepted).relu().mean() / 2 + (1 + refused).relu().mean() / 3
    added = terms["loss"] - terms["adversarial"]
    torch.testing.assert_close(added, expected)
    # real pictures are matched with all that they show
    matched = values_loss(real, batch.attributes[None], sizes)
    captions = scores(batch.images, asked.conditions)[:, :12]
    matched = matched + pair_matching_loss(captions, asked.ids[:6], asked.ids)
    torch.testing.assert_close(terms["matching"], matched)
    assert_same_gradient(added, expected, task, "discriminator", "labels")

    # the generator's side is bounded below: nothing is gained beyond the margin
    terms = task.training_step(batch, OneStep("generator", accumulating=True))
    step = OneStep("generator", accumulating=True)
    fakes = task._generate(condition.detach(), step)
    asked = task._asked(batch, condition, step)
    fake = scores(fakes, asked.conditions)[:, 12:]
    rows = completed(fake, meets.rows, sizes, meets.counted)
    claims = (1 - rows_score(fake, rows, sizes)).relu().mean()
    added = terms["loss"] - terms["adversarial"]
    torch.testing.assert_close(added, claims)
    # drawn pictures are matched with what their captions specify, no more
    matched = values_loss(fake, meets.rows, sizes, meets.counted)
    captions = scores(fakes, asked.conditions)[:, :12]
    matched = matched + pair_matching_loss(captions, asked.ids[:6], asked.ids)
    torch.testing.assert_close(terms["matching"], matched)
    assert_same_gradient(added, claims, task, "generator")


def test_attributes_are_left_open_now_and_then(vocabulary: Vocabulary) -> None:
    config = replace(TINY, condition="attributes")
    batch, told = shapes_batch(vocabulary), []
    open_ = torch.full_like(batch.attributes, -1)
    for attributes, chance in ((batch.attributes, 0.0), (open_, 1.0), (None, 1.0)):
        torch.manual_seed(0)
        task = CGANTask(config, data_info(vocabulary, **ATTRIBUTES))
        step = OneStep("discriminator")
        step.rand = lambda *shape, chance=chance: torch.full(shape, chance)
        given = batch if attributes is None else replace(batch, attributes=attributes)
        told.append(task.training_step(given, step)["loss"].item())
    # the surest draw hides all of them, the other none
    assert told[0] == told[1] != told[2]


# ------------------------------------------------------------------- sampler


def a_sampler(condition: str, vocabulary: Vocabulary) -> CGANSampler:
    torch.manual_seed(0)
    config = replace(TINY, condition=condition)
    return CGANSampler(config, vocabulary, 6, ATTRIBUTES).eval()


def test_the_sampler_draws_and_exports(vocabulary: Vocabulary) -> None:
    for condition in ("sentence", "attributes"):
        sampler = a_sampler(condition, vocabulary)
        assert isinstance(sampler, Draws) and isinstance(sampler, Exports)
        graph = sampler.graph()
        (images,) = graph.module(*graph.inputs.values())
        assert images.shape == (3, 3, 32, 32)


def test_training_options_are_not_stored(vocabulary: Vocabulary) -> None:
    stored = a_sampler("sentence", vocabulary).init_args()["config"]
    assert stored["width"] == 4
    assert not CGANConfig.TRAINING & set(stored)


def test_same_seed_same_pictures(vocabulary: Vocabulary) -> None:
    sampler = a_sampler("sentence", vocabulary)
    captions = ["a large red star", "a small blue circle"]
    first = sampler.sample(captions, seed=3)
    assert first.shape == (2, 3, 32, 32)
    assert torch.equal(first, sampler.sample(captions, seed=3))
    assert not torch.equal(first, sampler.sample(captions, seed=4))
    # a caption's picture does not depend on its neighbours
    noise = torch.randn(2, TINY.noise_dim)
    both = sampler.sample(captions, noise=noise)
    torch.testing.assert_close(both[:1], sampler.sample(captions[:1], noise=noise[:1]))


def test_sampler_is_rebuilt_from_json_and_weights(vocabulary: Vocabulary) -> None:
    for condition in ("sentence", "attributes"):
        sampler = a_sampler(condition, vocabulary)
        again = CGANSampler.from_args(
            json.loads(json.dumps(sampler.init_args()))
        ).eval()
        again.load_state_dict(sampler.state_dict())
        captions = ["red star" if condition == "sentence" else "dark farmer"]
        assert torch.equal(again.sample(captions), sampler.sample(captions))


def test_task_hands_its_weights_to_the_sampler(vocabulary: Vocabulary) -> None:
    task = CGANTask(TINY, data_info(vocabulary))
    sampler = task.sampler(task.networks)
    assert not sampler.training
    _, sentence = task.networks["encoder"](*vocabulary.encode(["a red star"], 6))
    torch.testing.assert_close(sampler.condition(["a red star"]), sentence)


def test_unknown_word_is_named(vocabulary: Vocabulary) -> None:
    sampler = a_sampler("sentence", vocabulary)
    with pytest.warns(UserWarning, match="qwxz"):
        sampler.sample(["a red qwxz"])


@pytest.mark.parametrize("captions", [[], "a red star", [""], ["a red star", "  "]])
@pytest.mark.parametrize("condition", ["sentence", "attributes"])
def test_no_caption_is_an_error(
    condition: str, captions: list[str], vocabulary: Vocabulary
) -> None:
    if condition == "attributes":
        captions = (
            [c.replace("a red star", "woman") for c in captions]
            if isinstance(captions, list)
            else captions
        )
    with pytest.raises(ValueError, match="captions must"):
        a_sampler(condition, vocabulary).sample(captions)


def test_caption_of_unknown_words_only_is_an_error(vocabulary: Vocabulary) -> None:
    with pytest.raises(ValueError, match="at least one known word; got 'qwxz'"):
        a_sampler("sentence", vocabulary).sample(["qwxz"])


def test_noise_of_another_shape_is_an_error(vocabulary: Vocabulary) -> None:
    with pytest.raises(ValueError, match=r"\(1, 8\).*got \(2, 8\)"):
        a_sampler("sentence", vocabulary).sample(["a star"], noise=torch.zeros(2, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 48}, "32, 64 or 128; got 48"),
        ({"objective": "wasserstein"}, "'hinge'; got 'wasserstein'"),
        ({"condition": "attributes", "labels": True}, "Leave one of them out"),
    ],
)
def test_config_names_what_is_wrong(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CGANConfig(**changes)


# ------------------------------------------------------------------ training


@pytest.mark.slow
def test_training_teaches_the_discriminator_what_words_mean() -> None:
    """It learns to pick a real picture's caption among those of the batch."""
    from mmgen.training import TrainingConfig, fit

    dataset = load_dataset("shapes", image_size=32, objects=(1,), size=2048)
    torch.manual_seed(0)
    task = CGANTask.build(CGANConfig(width=16, max_width=64), dataset)
    run = fit(
        task,
        dataset,
        TrainingConfig(
            steps=150, batch_size=32, log_every=30, ema_decay=0.9, progress="none"
        ),
    )
    matching = [row["discriminator/matching"] for row in run.history]
    # chance is log 32 in both directions together, 6.9
    assert matching[0] > 5.0 > 3.0 > matching[-1]
    pictures = run.sampler().sample(["a large red star in the center"] * 2, seed=1)
    assert pictures.shape == (2, 3, 32, 32)
    assert not torch.equal(pictures[0], pictures[1])  # two noises, two pictures
