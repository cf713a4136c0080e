"""CGAN: objectives against closed forms, networks against their formulas."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mmgen.data import load_dataset
from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.blocks import (
    ConditionalBatchNorm2d,
    DownBlock,
    UpBlock,
    shift_and_cover,
)
from mmgen.models.cgan import (
    EQUILIBRIUM_VALUE,
    OBJECTIVES,
    AttributeEncoder,
    CGANConfig,
    CGANSampler,
    CGANTask,
    Choices,
    Generator,
    ProjectionDiscriminator,
    choices_loss,
    completed,
    hinge_discriminator_loss,
    hinge_generator_loss,
    label_ids,
    minimax_discriminator_loss,
    minimax_generator_loss,
    minimax_value,
    near_misses,
    non_saturating_generator_loss,
    optimal_discriminator,
    pair_matching_loss,
    read_attributes,
    rows_score,
    value_at_optimum,
    value_rows,
    values_loss,
    wrong_pairs,
)

ATTRIBUTES = {
    "person": ("woman", "man"),
    "skin_tone": ("light", "medium-light", "medium", "dark"),
    "role": ("astronaut", "farmer"),
}
TINY = CGANConfig(noise_dim=8, embedding_dim=8, condition_dim=16, width=4, max_width=16)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build(["a large red star", "a small blue circle"])


def logits(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


# ---------------------------------------------------------------- objectives


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
    for objective in OBJECTIVES.values():
        assert objective.discriminator(certain, certain).isfinite()
        assert objective.generator(certain).isfinite()


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


# -------------------------------------------------------------------- theory


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


# ----------------------------------------------------------------- condition


def test_wrong_pairs_never_say_the_same() -> None:
    # four classes in a batch of twelve: a shuffle would nearly always collide
    class_ids = torch.randint(4, (12,), generator=torch.Generator().manual_seed(0))
    caption_ids = torch.arange(5)
    wrong = wrong_pairs(class_ids, caption_ids)
    for i in range(12):
        for j in range(5):
            assert wrong[i, j].item() == (class_ids[i].item() != j)
    assert not wrong_pairs(class_ids, class_ids).diagonal().any()


def test_pair_matching_loss_by_hand() -> None:
    s = logits(3, 4)
    # pictures 0 and 1 show the same, so that each caption suits both
    loss = pair_matching_loss(s, torch.tensor([7, 7, 8]), torch.tensor([7, 7, 8, 9]))
    e = s.exp()
    pictures = [
        e[0, 0] / (e[0, 0] + e[0, 2] + e[0, 3]),
        e[1, 1] / (e[1, 1] + e[1, 2] + e[1, 3]),
        e[2, 2] / e[2].sum(),
    ]
    captions = [
        e[0, 0] / (e[0, 0] + e[2, 0]),
        e[1, 1] / (e[1, 1] + e[2, 1]),
        e[2, 2] / e[:, 2].sum(),
    ]
    expected = -(
        torch.stack(pictures).log().mean() + torch.stack(captions).log().mean()
    )
    torch.testing.assert_close(loss, expected)


def test_near_misses_differ_in_one_attribute() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = (2, 3, 5)
    rows = torch.stack(
        [torch.randint(-1, size, (400,), generator=generator) for size in sizes], dim=1
    )
    missed = near_misses(rows, sizes, torch.rand(400, 2, generator=generator))
    differs = missed != rows
    assert ((missed >= -1) & (missed < torch.tensor(sizes))).all()
    assert not differs[rows < 0].any()
    # one of those that apply, each as often as the others; none where none applies
    assert differs.sum(dim=1).equal((rows >= 0).any(dim=1).long())
    whole = (rows >= 0).all(dim=1)
    shares = differs[whole].float().mean(dim=0)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.1, rtol=0)
    assert len({tuple(p) for p in missed[(rows == rows[0]).all(dim=1)].tolist()}) > 1


def test_attribute_encoder_adds_vectors() -> None:
    encoder = AttributeEncoder([2, 3], feature_dim=5)
    table = encoder.table.weight
    # rows: person n/a, woman, man, then tone n/a, three tones
    found = encoder(torch.tensor([[1, 0], [-1, 2]]))
    torch.testing.assert_close(found[0], table[2] + table[4])
    torch.testing.assert_close(found[1], table[0] + table[6])
    assert len(table) == 7


# ------------------------------------------------------------------ networks


def test_conditional_batch_norm_is_batch_norm_then_scale_and_shift() -> None:
    layer = ConditionalBatchNorm2d(3, 4).double()
    x, c = logits(6, 3, 5, 5), logits(6, 4, seed=1)
    weight, bias = layer.modulate.weight, layer.modulate.bias
    parameters = c @ weight.T + bias
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    deviation = (x.var(dim=(0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    expected = (1 + parameters[:, :3, None, None]) * (x - mean) / deviation
    expected = expected + parameters[:, 3:, None, None]
    torch.testing.assert_close(layer(x, c), expected)


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
@pytest.mark.parametrize("depth", [0, 1])
def test_networks_of_every_size(size: int, depth: int) -> None:
    config = replace(TINY, image_size=size, depth=depth)
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


def test_blocks_double_and_halve() -> None:
    c = torch.randn(2, 4)
    assert UpBlock(6, 3, 4, depth=2)(torch.randn(2, 6, 8, 8), c).shape == (2, 3, 16, 16)
    assert DownBlock(3, 6, depth=2)(torch.randn(2, 3, 16, 16)).shape == (2, 6, 8, 8)


def test_every_pixel_of_an_upblock_has_as_many_inputs() -> None:
    """No checkerboard by construction: ones in, the same number inside everywhere."""
    block = UpBlock(1, 1, 1, depth=0)
    torch.nn.init.ones_(block.enlarge.weight)
    inside = torch.nn.functional.conv_transpose2d(
        torch.ones(1, 1, 6, 6), block.enlarge.weight, stride=2, padding=1
    )[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.full_like(inside, 4.0))


# -------------------------------------------------------------- augmentation


def test_shift_and_cover_by_hand() -> None:
    image = torch.arange(1.0, 257.0).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    # 16 px: shifts of -2..2, a square of half side 16/6, so 5 px, around the centre
    draws = torch.tensor([[0.0, 0.99, 0.5, 0.5]])
    expected = torch.zeros(1, 3, 16, 16)
    # draw 0 takes rows from 2 above (moves down), draw 0.99 columns from 2 to the right
    expected[:, :, 2:, :14] = image[:, :, :14, 2:]
    expected[:, :, 6:11, 6:11] = 0
    torch.testing.assert_close(shift_and_cover(image, draws), expected)


def test_shift_and_cover_lets_gradients_through() -> None:
    images = torch.rand(4, 3, 32, 32, requires_grad=True)
    shift_and_cover(images, torch.rand(4, 4)).sum().backward()
    assert images.grad is not None
    assert set(images.grad.unique().tolist()) == {0.0, 1.0}
    assert images.grad.mean() > 0.6


# ---------------------------------------------------------------------- task


class OneStep(SimpleNamespace):
    """The loop's step, for one process."""

    def rand(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator)

    def randn(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator)

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor


def one_step(phase: str, accumulating: bool = False) -> OneStep:
    generator = torch.Generator().manual_seed(0)
    return OneStep(phase=phase, accumulating=accumulating, generator=generator, rank=0)


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
    task = CGANTask(config, vocabulary, ATTRIBUTES, max_tokens=4)
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
        terms = task.training_step(batch, one_step(phase, accumulating))
        assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
        terms["loss"].backward()
        for name, network in task.networks.items():
            reached = any(
                p.grad is not None and p.grad.abs().sum() > 0
                for p in network.parameters()
            )
            assert reached == (name in owners[phase]), (phase, name)


def test_nearly_right_captions_join_those_of_the_batch() -> None:
    dataset = load_dataset("shapes", "train", 32, objects=(1, 2), size=32)
    batch, step = dataset.batch(range(6)), one_step("discriminator")
    for labels, sizes in ((False, [6]), (True, [12, 12])):
        task = CGANTask.build(replace(TINY, labels=labels), dataset)
        groups = task._captions(batch, task._encode(batch), step)
        assert [len(group.ids) for group in groups] == sizes
        assert [len(group.conditions) for group in groups] == sizes
    sentences, ids, _ = groups[0]
    assert torch.equal(ids[:6], batch.class_ids)
    assert (ids[6:] != batch.class_ids).all()
    assert (sentences[6:] != sentences[:6]).any(dim=1).all()


def test_a_drawn_picture_may_choose_what_its_caption_leaves_open() -> None:
    """Labels of four pictures: own, near misses, and two more rows for each."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 16, generator=generator)
    ids = torch.arange(16)
    ids[[9, 13]] = 1  # the second caption leaves nothing open
    group = Choices(torch.zeros(16, 3), ids, allowed=2)
    step = one_step("generator")
    # of a real picture every row but its own is wrong
    real = choices_loss([logits], [group], step)
    own = pair_matching_loss(logits, ids[:4], ids)
    assert torch.equal(real, own)
    # a drawn one is compared with the best of its own and its two more
    best, asked = logits[:, :8].clone(), ids[:8].clone()
    for i in range(4):
        column = max((i, 8 + i, 12 + i), key=lambda j: float(logits[i, j]))
        if i != 1:
            best[:, i], asked[i] = logits[:, column], ids[column]
    best[:, 1] = logits[:, max((1, 9, 13), key=lambda j: float(logits[1, j]))]
    drawn = choices_loss([logits], [group], step, generated=True)
    torch.testing.assert_close(drawn, pair_matching_loss(best, asked[:4], asked))
    assert (asked != ids[:8]).any()
    # where nothing is allowed besides, both are the same
    closed = [Choices(torch.zeros(16, 3), torch.arange(16))]
    assert torch.equal(
        choices_loss([logits], closed, step),
        choices_loss([logits], closed, step, generated=True),
    )


def test_the_label_that_fits_best_is_the_one_that_is_taught() -> None:
    """The loss falls on the way to an allowed label, and rises without the freedom."""
    labels = torch.eye(12)  # two pictures: own, near misses, allowed
    group = Choices(labels, torch.arange(6), allowed=1)
    step = one_step("generator")

    def losses(strength: float) -> tuple[float, float]:
        logits = torch.zeros(2, 6)
        logits[0, 4] = logits[1, 1] = strength  # the first shows what is allowed
        return tuple(
            float(choices_loss([logits], [group], step, generated))
            for generated in (True, False)
        )

    free, held = zip(*map(losses, (0.0, 2.0, 8.0)), strict=True)
    assert free[0] > free[1] > free[2] and free[2] < 0.01
    assert held[2] > held[0]


def test_discriminator_loss_by_hand(vocabulary: Vocabulary) -> None:
    """The batched step equals the terms of the text, one picture at a time."""
    torch.manual_seed(0)
    config = replace(TINY, objective="non-saturating", matching_weight=0.7)
    task = CGANTask(config, vocabulary, {}, max_tokens=4)
    batch = shapes_batch(vocabulary)
    step = one_step("discriminator", accumulating=True)
    got = task.training_step(batch, step)["loss"]

    generator = torch.Generator().manual_seed(0)  # the same draws again
    _, condition = task.networks["encoder"](batch.tokens, batch.lengths)
    noise = torch.randn(6, TINY.noise_dim, generator=generator)
    fakes = task.networks["generator"](noise, condition)

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
    torch.testing.assert_close(got, -(real + (wrong + fake) / 2) + 0.7 * matching)


def test_label_ids_are_equal_exactly_where_labels_are() -> None:
    grid = torch.cartesian_prod(*(torch.arange(-1, size) for size in (2, 4, 3)))
    ids = label_ids(grid, (2, 4, 3))
    assert ids.unique().numel() == len(grid)


# ------------------------------------------------------------------- sampler


def a_sampler(condition: str, vocabulary: Vocabulary) -> CGANSampler:
    torch.manual_seed(0)
    config = replace(TINY, condition=condition)
    return CGANSampler(config, vocabulary, ATTRIBUTES, max_tokens=6).eval()


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
    task = CGANTask(TINY, vocabulary, {}, max_tokens=6)
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


def test_attributes_are_read_from_text_and_from_mappings() -> None:
    assert read_attributes("woman farmer", ATTRIBUTES) == [0, -1, 1]
    # the longer value wins: this is not "light", nor "medium"
    assert read_attributes("Man, medium-light", ATTRIBUTES) == [1, 1, -1]
    assert read_attributes({"role": "astronaut"}, ATTRIBUTES) == [-1, -1, 0]
    # an attribute's own name says nothing more, and needs no warning
    assert read_attributes("dark skin tone", ATTRIBUTES) == [-1, 3, -1]
    assert read_attributes("women, dark", ATTRIBUTES) == [0, 3, -1]
    assert read_attributes("men farmer", ATTRIBUTES) == [1, -1, 1]


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ({"hat": "red"}, "attributes are person, skin_tone, role; got 'hat'"),
        ({"person": "cat"}, "person must be one of woman, man; got 'cat'"),
        ("woman and man", "one person; got"),
        ("zebra", "at least one attribute's value; got 'zebra'"),
        ({}, "at least one attribute's value"),
    ],
)
def test_wrong_attributes_are_errors(caption: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_attributes(caption, ATTRIBUTES)  # type: ignore[arg-type]


def test_words_that_are_no_attribute_are_named() -> None:
    with pytest.warns(UserWarning, match="zebra"):
        assert read_attributes("dark zebra", ATTRIBUTES) == [-1, 3, -1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 48}, "32, 64 or 128; got 48"),
        ({"condition": "class"}, "got 'class'"),
        ({"objective": "wasserstein"}, "'hinge'; got 'wasserstein'"),
        ({"condition": "attributes", "labels": True}, "Leave one of them out"),
    ],
)
def test_config_names_what_is_wrong(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CGANConfig(**changes)


# ------------------------------------------------------------------ training


@pytest.mark.parametrize("scale", ["smoke", "laptop", "full"])
@pytest.mark.parametrize("name", ["shapes", "emoji"])
def test_defaults_fit_together(scale: str, name: str) -> None:
    from mmgen.training import TrainingConfig

    config, training, data = CGANTask.defaults(scale, name)
    TrainingConfig(**training)
    assert data["image_size"] == (64 if scale == "full" else 32)
    if scale == "full":
        # the published weights must fit into 12 MB at two bytes a number
        vocabulary = Vocabulary(["<pad>", "<unk>", *map(str, range(200))], "both")
        sampler = CGANSampler(config, vocabulary, ATTRIBUTES, max_tokens=30)
        assert sum(v.numel() for v in sampler.state_dict().values()) < 6e6


def test_unknown_scale_is_an_error() -> None:
    with pytest.raises(ValueError, match="got 'huge'"):
        CGANTask.defaults("huge", "shapes")


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


def test_all_values_of_labels_are_all_their_combinations() -> None:
    """The product of short sums against the sum over every row of labels."""
    torch.manual_seed(0)
    sizes = (2, 3, 4)
    encode, features = AttributeEncoder(sizes, 5), torch.randn(6, 5)
    every = torch.cartesian_prod(*(torch.arange(-1, size) for size in sizes))
    right = every[torch.randint(len(every), (6,))]
    whole = -(features @ encode(every).T).log_softmax(dim=1)  # (6, 60)
    same = (every[None] == right[:, None]).all(dim=2)
    logits = features @ encode(value_rows(sizes)).T
    assert logits.shape == (6, 12)
    torch.testing.assert_close(
        values_loss(logits, right[None], sizes), whole[same].mean()
    )
    # of several rows that are right each picture is held against its surest
    rows = every[torch.randint(len(every), (3, 6))]
    costs = torch.stack(
        [whole[(every[None] == row[:, None]).all(dim=2)] for row in rows]
    )
    torch.testing.assert_close(
        values_loss(logits, rows, sizes), costs.amin(dim=0).mean()
    )


def test_what_a_caption_leaves_open_pulls_at_no_picture() -> None:
    torch.manual_seed(0)
    sizes = (2, 3)
    logits = torch.randn(4, 7, requires_grad=True)
    right = torch.tensor([[[0, 1], [1, 2], [1, -1], [0, 0]]])
    told = torch.tensor([[True, False], [True, True], [False, True], [False, False]])
    loss = values_loss(logits, right, sizes, told)
    by_hand = [
        -logits[0, :3].log_softmax(0)[1],
        -logits[1, :3].log_softmax(0)[2] - logits[1, 3:].log_softmax(0)[3],
        -logits[2, 3:].log_softmax(0)[0],  # that it does not apply
    ]
    torch.testing.assert_close(loss, torch.stack(by_hand).sum() / 4)
    loss.backward()
    pulled = torch.stack([part.any(dim=1) for part in logits.grad.split([3, 4], 1)], 1)
    assert torch.equal(pulled, told)


def test_rows_of_values_name_one_each() -> None:
    rows = value_rows((2, 1))
    assert rows.tolist() == [[-1, -1], [0, -1], [1, -1], [-1, -1], [-1, 0]]


def test_scores_of_values_add_up_to_those_of_rows() -> None:
    torch.manual_seed(0)
    sizes = (2, 3, 4)
    encode, features, psi = AttributeEncoder(sizes, 5), torch.randn(6, 5), 3.0
    rows = torch.stack([torch.randint(-1, size, (6,)) for size in sizes], dim=1)
    logits = psi + features @ encode(value_rows(sizes)).T
    torch.testing.assert_close(
        rows_score(logits, rows, sizes), psi + (features * encode(rows)).sum(dim=1)
    )


def test_what_is_left_open_is_completed_with_what_a_picture_shows() -> None:
    sizes = (2, 2)
    logits = torch.tensor(
        [[0.0, 1.0, 9.0, 0.0, 9.0, 2.0], [8.0, 1.0, 2.0, 0.0, 9.0, 2.0]]
    )
    right = torch.tensor([[[0, 1], [0, 1]], [[1, 0], [1, 0]]])
    told = torch.tensor([[True, False], [True, True]])
    # the second row fits both best; the first picture's other label is open
    expected = [[1, 0], [1, 0]]
    assert completed(logits, right, sizes, told).tolist() == expected
    # alone the first row is asked for as far as it is told
    assert completed(logits, right[:1], sizes, told).tolist() == [[0, 0], [0, 1]]
    # what does not apply may be what a picture shows
    nothing = torch.zeros_like(told)
    assert completed(logits, right, sizes, nothing).tolist() == [[1, 0], [-1, 0]]
    assert torch.equal(completed(logits, right[:1], sizes), right[0])
