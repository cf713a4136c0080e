"""The modern AttnGAN: projections, the labels' game, and text encoders that learn."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmgen.data import load_dataset
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.shapes import TAUGHT
from mmgen.interfaces import Draws, Exports
from mmgen.layers.blocks import shift_and_cover
from mmgen.models.attngan import (
    ModernConfig,
    ModernGenerator,
    ModernSampler,
    ModernTask,
    ProjectionDiscriminator,
)
from mmgen.models.attngan.objectives import condition_kl
from mmgen.models.damsm import DAMSMConfig, DAMSMMatcher, damsm_losses
from mmgen.models.reader import Reader, ReaderConfig
from mmgen.objectives.contrastive import pair_matching_loss
from mmgen.objectives.labels import Labels, completed, value_rows, values_loss
from mmgen.training import Run, TrainingConfig, fit

TINY = ModernConfig(
    sizes=(8, 16),
    generator_channels=4,
    residual_blocks=1,
    noise_dim=5,
    condition_dim=3,
    feature_dim=6,
    discriminator_channels=2,
)
VARIANTS = {
    "labels": TINY,
    "captions alone": replace(TINY, labels=False),
    "augmented": replace(TINY, augment=True),
    "without attention": replace(TINY, attention=False),
}


@pytest.fixture(scope="module")
def pairs() -> CaptionedDataset:
    return load_dataset(
        "shapes", "train", 16, objects=(1, 2), attributes=TAUGHT, size=32
    )


@pytest.fixture(scope="module")
def matcher(pairs: CaptionedDataset) -> DAMSMMatcher:
    torch.manual_seed(0)
    config = DAMSMConfig(16, feature_dim=6, embedding_dim=4, width=8, grid=4)
    return DAMSMMatcher(config, pairs.vocabulary, pairs.max_tokens)


def a_task(
    config: ModernConfig, matcher: DAMSMMatcher, data: CaptionedDataset
) -> ModernTask:
    torch.manual_seed(0)
    return ModernTask.build(config, data, {"damsm": copy.deepcopy(matcher)})


def one_step(
    config: ModernConfig, matcher: DAMSMMatcher, data: CaptionedDataset, **training
) -> tuple[ModernTask, Run]:
    task = a_task(config, matcher, data)
    settings = {"steps": 1, "batch_size": 4, "log_every": 1, "progress": "none"}
    return task, fit(task, data, TrainingConfig(**(settings | training)))


def a_place(phase: str, accumulating: bool = False) -> SimpleNamespace:
    """The loop's step, for one process."""
    draws = torch.Generator().manual_seed(1)
    return SimpleNamespace(
        phase=phase,
        accumulating=accumulating,
        gather=lambda x: x,
        rand=lambda *shape: torch.rand(shape, generator=draws),
        randn=lambda *shape: torch.randn(shape, generator=draws),
    )


def test_earlier_stages_have_twice_the_channels_of_the_next() -> None:
    assert [TINY.channels(i) for i in range(2)] == [8, 4]
    drawn = ModernGenerator(TINY)(
        torch.randn(3, 5), torch.randn(3, 4, 6), torch.randn(3, 6), torch.ones(3, 4) > 0
    )
    assert [tuple(x.shape) for x in drawn.images] == [(3, 3, 8, 8), (3, 3, 16, 16)]
    assert [tuple(a.shape) for a in drawn.attention] == [(3, 4, 8, 8)]


def test_the_size_of_text_features_does_not_matter() -> None:
    torch.manual_seed(0)
    generator = ModernGenerator(TINY).eval()
    noise, eps = torch.randn(2, 5), torch.randn(2, 3)
    words, sentence = torch.randn(2, 4, 6), torch.randn(2, 6)
    mask = torch.ones(2, 4) > 0
    one = generator(noise, words, sentence, mask, eps).images[-1]
    two = generator(noise, 3 * words, 3 * sentence, mask, eps).images[-1]
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def test_without_attention_words_change_nothing() -> None:
    torch.manual_seed(0)
    noise, eps = torch.randn(2, 5), torch.randn(2, 3)
    words, sentence = torch.randn(2, 4, 6), torch.randn(2, 6)
    mask = torch.ones(2, 4) > 0
    for attention in (False, True):
        generator = ModernGenerator(replace(TINY, attention=attention)).eval()
        one = generator(noise, words, sentence, mask, eps).images
        two = generator(noise, words.flip(2), sentence, mask, eps).images
        torch.testing.assert_close(one[0], two[0])
        assert torch.allclose(one[1], two[1]) != attention


def test_every_picture_is_scored_with_every_condition() -> None:
    torch.manual_seed(0)
    network = ProjectionDiscriminator(TINY, 0)
    images, sentence = torch.randn(4, 3, 8, 8), torch.randn(4, 6)
    conditional, unconditional, matrix = network(images, sentence, sentence)
    assert matrix.shape == (4, 4) and unconditional.shape == (4,)
    torch.testing.assert_close(matrix.diagonal(), conditional)
    for i in range(4):  # one picture at a time: no layer looks at the batch
        alone = network(images[i : i + 1], sentence[i : i + 1], sentence)
        torch.testing.assert_close(alone[2][0], matrix[i])
        torch.testing.assert_close(alone[1][0], unconditional[i])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_changes_what_is_trained_and_nothing_else(
    variant: str, matcher: DAMSMMatcher, pairs: CaptionedDataset
) -> None:
    config = VARIANTS[variant]
    before = a_task(config, matcher, pairs).networks
    task, run = one_step(config, matcher, pairs)
    assert ("labels" in task.networks) == config.labels
    for name, network in task.networks.items():
        old = dict(before[name].named_parameters())
        moved = {k for k, p in network.named_parameters() if not torch.equal(p, old[k])}
        assert moved == (set() if name.startswith("matcher") else set(old)), name
    assert {"discriminator/loss", "generator/damsm"} <= set(run.history[-1])


def test_both_losses_by_hand(matcher: DAMSMMatcher, pairs: CaptionedDataset) -> None:
    """Every term of both phases, stage by stage, from the networks themselves."""
    gammas = {"gamma1": 3.0, "gamma2": 2.0, "gamma3": 7.0}
    config = replace(TINY, damsm_weight=0.5, kl_weight=0.1, **gammas)
    # one scene twice, so that it matters whose class is whose
    task, batch = a_task(config, matcher, pairs), pairs.batch([0, 1, 2, 3, 4, 0, 5, 6])
    sizes = [len(values) for values in pairs.attributes.values()]
    meets = Labels.of_captions(batch, pairs.alternatives)
    own = Labels.of_pictures(batch)
    of_discriminators = task.training_step(batch, a_place("discriminator"))["loss"]
    drawn = task._drawn
    assert drawn is not None and drawn.captions is not None
    of_generator = task.training_step(batch, a_place("generator"))["loss"]

    captions, ids = drawn.captions.conditions, drawn.captions.ids
    assert captions.shape == (16, 6) and (ids[8:] != batch.class_ids).all()
    wrong = batch.class_ids[:, None] != batch.class_ids
    values = task.networks["labels"](value_rows(sizes))
    reals = torch.nn.functional.avg_pool2d(batch.images, 2), batch.images
    first, second = torch.zeros(()), torch.zeros(())
    stages = zip(
        task.networks["discriminator"], reals, drawn.output.images, strict=True
    )
    for network, real, fake in stages:
        right, plain, others = network(real, captions[:8], captions)
        false, drawn_plain, claims = network(fake, captions[:8], captions)
        of_values = network(real, captions[:8], values)[2]
        of_claims = network(fake, captions[:8], values)[2]
        refused = (1 + others[:, :8]).relu() * wrong
        first = first + ((1 - right).relu().mean() + (1 - plain).relu().mean()) / 2
        first = first + (refused.sum(1) / wrong.sum(1)).mean() / 3
        first = first + (1 + false).relu().mean() / 3
        first = first + (1 + drawn_plain).relu().mean() / 3
        first = first + pair_matching_loss(others, ids[:8], ids)
        first = first + values_loss(of_values, own.rows, sizes)
        second = second - false.mean() - drawn_plain.mean()
        second = second + pair_matching_loss(claims, ids[:8], ids)
        second = second + values_loss(of_claims, *meets[:1], sizes, meets.counted)
        # real with its labels; drawn with what the caption specifies
        accepted = network(real, task.networks["labels"](batch.attributes))[0]
        rows = completed(of_claims, meets.rows, sizes, meets.counted)
        claimed = network(fake, task.networks["labels"](rows))[0]
        first = first + (1 - accepted).relu().mean() / 2
        first = first + (1 + claimed).relu().mean() / 3
        second = second + (1 - claimed).relu().mean()
    words, sentence = task._read_for_matcher(batch)
    regions, features = task.networks["matcher_image"](drawn.output.images[-1])
    ours = damsm_losses(
        regions, features, words, sentence, batch.mask, batch.class_ids, **gammas
    ).total
    kl = condition_kl(drawn.output.mu, drawn.output.logvar)
    second = second + config.damsm_weight * ours + config.kl_weight * kl
    for found, expected, names in (
        (of_discriminators, first, ("discriminator", "labels")),
        (of_generator, second, ("generator", "text")),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        learns = [p for name in names for p in task.networks[name].parameters()]
        # a term that was cut off from its networks has the same value
        gradients = torch.autograd.grad(found, learns, retain_graph=True)
        by_hand = torch.autograd.grad(expected, learns, retain_graph=True)
        for one, other in zip(gradients, by_hand, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_pictures_come_to_the_matchers_size_without_a_pixel_skipped(
    matcher: DAMSMMatcher, pairs: CaptionedDataset
) -> None:
    task, batch = a_task(TINY, matcher, pairs), pairs.batch(range(4))
    features = task._read_for_matcher(batch)
    one = a_place("generator")

    def match(images: torch.Tensor) -> float:
        return task._match(images, *features, batch, one).item()

    own = match(batch.images)
    large = batch.images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert match(large) == pytest.approx(own, rel=1e-4)
    checked = large.clone()  # the same mean in every square of four, other corners
    checked[..., ::2, ::2] += 0.3
    checked[..., 1::2, 1::2] -= 0.3
    assert match(checked) == pytest.approx(own, rel=1e-4)
    small = torch.nn.functional.avg_pool2d(batch.images, 2)
    enlarged = torch.nn.functional.interpolate(small, 16, mode="bilinear")
    assert match(small) == pytest.approx(match(enlarged), rel=1e-4) != own


def test_a_picture_is_augmented_alike_at_every_size(
    matcher: DAMSMMatcher, pairs: CaptionedDataset
) -> None:
    task = a_task(VARIANTS["augmented"], matcher, pairs)
    stages = [torch.randn(4, 3, size, size) for size in (8, 16)]
    draws = a_place("discriminator").rand(4, 4)
    found = task._augmented(stages, a_place("discriminator"))
    for pictures, changed in zip(stages, found, strict=True):
        assert torch.equal(changed, shift_and_cover(pictures, draws))


def test_text_encoders_begin_with_the_readers(
    matcher: DAMSMMatcher, pairs: CaptionedDataset
) -> None:
    config = ReaderConfig(feature_dim=8, embedding_dim=4)
    reader = Reader(config, pairs.vocabulary, pairs.max_tokens, pairs.attributes)
    named = replace(TINY, damsm="a", reader="b")
    assert ModernTask.requires(named) == {"damsm": "a", "reader": "b"}
    assert ModernTask.requires(replace(TINY, damsm="a")) == {"damsm": "a"}
    task = ModernTask.build(named, pairs, {"damsm": matcher, "reader": reader})
    assert task.config.feature_dim == 8
    for name in ("text", "discriminator_text"):
        for key, value in reader.text.state_dict().items():
            assert torch.equal(task.networks[name].state_dict()[key], value)
    assert task.networks["text"] is not task.networks["discriminator_text"]


def test_build_says_what_does_not_fit(
    matcher: DAMSMMatcher, pairs: CaptionedDataset
) -> None:
    with pytest.raises(ValueError, match=r"config\.damsm must name a matching model"):
        ModernTask.build(TINY, pairs)
    frozen = {"damsm": matcher}
    with pytest.raises(ValueError, match=r"sizes must end with.*16; got \(16, 32"):
        ModernTask.build(ModernConfig(), pairs, frozen)
    with pytest.raises(ValueError, match=r"config\.reader must name a reader.*DAMSM"):
        ModernTask.build(replace(TINY, reader="x"), pairs, frozen | {"reader": matcher})
    other = Reader(
        ReaderConfig(8, 4),
        load_dataset("shapes", "train", 16, "zh", size=8).vocabulary,
        pairs.max_tokens,
        pairs.attributes,
    )
    with pytest.raises(ValueError, match=r"config\.reader.*vocabulary"):
        ModernTask.build(replace(TINY, reader="x"), pairs, frozen | {"reader": other})
    bare = SimpleNamespace(
        image_size=16, attributes={}, name="bare", vocabulary=pairs.vocabulary
    )
    with pytest.raises(ValueError, match=r"labels=True needs.*'bare' has none"):
        ModernTask.build(TINY, bare, frozen)


def test_a_run_is_sampled_resumed_and_exported(
    matcher: DAMSMMatcher, pairs: CaptionedDataset, tmp_path: Path
) -> None:
    _, run = one_step(TINY, matcher, pairs, steps=2)
    sampler = run.sampler()
    assert isinstance(sampler, ModernSampler)
    assert isinstance(sampler, Draws) and isinstance(sampler, Exports)
    pictures = sampler.sample(["a red circle"], seed=2)
    assert pictures.shape == (1, 3, 16, 16)
    again = ModernSampler.from_args(sampler.init_args()).eval()
    again.load_state_dict(sampler.state_dict())
    assert torch.equal(pictures, again.sample(["a red circle"], seed=2))
    graph = sampler.graph()
    assert graph.outputs == ("image8", "image16", "attention8")
    drawn = graph.module(*graph.inputs.values())
    assert [len(tensor) for tensor in drawn] == [3, 3, 3]
