"""The task: what a step pays, what it is built on, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgen.data.vocabulary import Vocabulary
from mmgen.models.alignment import AlignmentConfig, AlignmentMatcher
from mmgen.models.damsm import DAMSMConfig, DAMSMMatcher
from mmgen.models.flow import (
    CodeLatents,
    FlowConfig,
    FlowTask,
    GridLatents,
    PixelLatents,
)
from mmgen.models.vqvae import VQVAESampler
from mmgen.pretrained import load
from mmgen.training import Run, TrainingConfig, build, fit
from tests.models.flow.tiny_flow import PIXELS, SIZES, task
from tests.models.steps import OneStep
from tests.models.tiny_codes import (
    CAPTIONS,
    autoencoder_config,
    autoencoder_run,
    world,
)

QUIET: dict[str, Any] = {"progress": "none", "tensorboard": False}


def test_what_it_is_built_on() -> None:
    assert FlowTask.requires(FlowConfig()) == {"tokenizer": "vq-shapes64"}
    assert FlowTask.requires(FlowConfig(tokenizer="", patch=4)) == {}
    assert isinstance(task().space, CodeLatents)
    assert isinstance(task(**PIXELS).space, PixelLatents)
    config, data = FlowConfig(tokenizer="mine", **SIZES), world()
    for other in ({}, {"tokenizer": torch.nn.Linear(2, 2)}):
        with pytest.raises(ValueError, match="must name an autoencoder of codes"):
            FlowTask.build(config, data, other)
    larger = VQVAESampler(autoencoder_config(), 32)
    with pytest.raises(ValueError, match=r"of 16 pixels.*'mine' was trained on 32"):
        FlowTask.build(config, data, {"tokenizer": larger})
    without = VQVAESampler(replace(autoencoder_config(), quantiser="none"), 16)
    assert isinstance(
        FlowTask.build(config, data, {"tokenizer": without}).space, GridLatents
    )


def test_the_tokenizer_is_not_trained() -> None:
    made = task()
    (optimizer,) = made.optimizers().values()
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in made.networks["network"].parameters()}
    assert not any(p.requires_grad for p in made.space.parameters())
    decayed, others = optimizer.param_groups
    assert others["weight_decay"] == 0 < decayed["weight_decay"]
    # matrices: seven of a block of the picture (its fused ones counted once), four of
    # one of the text
    assert len(decayed["params"]) == 7 * SIZES["depth"] + 4 * SIZES["text_depth"]


def test_a_fresh_network_pays_the_size_of_the_velocity() -> None:
    made = task()
    batch = world().batch(range(64))
    loss = made.training_step(batch, OneStep())["loss"].item()
    latents = made.space.encode(batch.images)
    # E |x - e|² with x and e apart
    assert loss == pytest.approx(latents.square().mean().item() + 1, rel=0.1)


def test_a_share_of_the_captions_is_left_out() -> None:
    """Those rows, and no others, pay what they pay without their caption."""
    made = task(caption_dropout=0.5)
    torch.manual_seed(6)
    for parameter in made.model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    heard: list[torch.Tensor] = []
    made.model.register_forward_pre_hook(lambda _, given: heard.append(given[3]))
    batch, step = world().batch(range(64)), OneStep()
    made.training_step(batch, step)
    dropped = step.drawn[0] < 0.5
    assert 20 < dropped.sum() < 44  # by its own coin each, not one a batch
    assert torch.equal(heard[0], batch.lengths.masked_fill(dropped, 0))


@pytest.mark.parametrize("kind", ["latents", "pixels", "unet"])
def test_twenty_steps_lower_the_loss(kind: str) -> None:
    kinds: dict[str, Any] = {"pixels": PIXELS, "unet": {"network": "unet"}}
    changes = kinds.get(kind, {})
    made = task(learning_rate=0.01, **changes)
    batch = world().batch(range(16))

    def paid() -> float:
        with torch.no_grad():
            steps = [OneStep(seed=seed) for seed in range(100, 104)]
            return sum(made.training_step(batch, s)["loss"].item() for s in steps) / 4

    before = paid()
    (optimizer,) = made.optimizers().values()
    for seed in range(20):
        optimizer.zero_grad()
        made.training_step(batch, OneStep(seed=seed))["loss"].backward()
        optimizer.step()
    assert paid() < 0.9 * before


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    data, codes = world(), str(autoencoder_run(tmp_path / "codes"))
    config = FlowConfig(tokenizer=codes, draw_steps=3, learning_rate=0.01, **SIZES)
    training = TrainingConfig(steps=8, batch_size=8, ema_decay=0.9, **QUIET)

    def fresh() -> Any:
        torch.manual_seed(0)
        return build(FlowTask, config, data)

    whole = fit(fresh(), data, training)
    out = tmp_path / "run"
    fit(fresh(), data, replace(training, steps=5, out=out))
    again = Run.resume(out, data, steps=8)
    ours, theirs = (run.sampler().state_dict() for run in (whole, again))
    for (key, one), (_, other) in zip(ours.items(), theirs.items(), strict=True):
        assert torch.equal(one, other), key
    # what is drawn with is the average of the weights
    last = again.task.networks["network"].state_dict()
    averaged = again.sampler().network.state_dict()
    assert not torch.equal(last["last.weight"], averaged["last.weight"])
    drawn = load(out).sample(CAPTIONS)
    assert torch.equal(drawn, again.sampler().sample(CAPTIONS))


@pytest.mark.slow
def test_two_captions_get_their_two_pictures() -> None:
    """Codes and all, from noise; without a caption, one or the other."""
    made, data = task(learning_rate=0.01, caption_dropout=0.3), world()
    codes = made.space.codes(made.space.encode(data.batch(range(64)).images))
    far = (codes != codes[:1]).sum(dim=(1, 2))
    other = int((far > 3).nonzero()[0])
    pair = data.batch([0, other] * 16)
    wanted = codes[[0, other] * 16]
    (optimizer,) = made.optimizers().values()
    for index in range(140):
        optimizer.zero_grad()
        made.training_step(pair, OneStep(seed=index))["loss"].backward()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * min(1, (140 - index) / 70)
    sampler = made.sampler(made.networks)
    drawn = sampler.space.codes(sampler.draw(pair.captions, seed=1, steps=10))
    right = (drawn == wanted).flatten(1).all(dim=1)
    assert right.float().mean() > 0.9
    free = sampler.space.codes(sampler.draw([""] * 64, seed=1, steps=10))
    shares = [
        (free == codes[row]).flatten(1).all(dim=1).float().mean().item()
        for row in (0, other)
    ]
    assert min(shares) > 0.2 and sum(shares) > 0.7


def test_words_begin_as_a_matching_models() -> None:
    data = world()
    sizes: dict[str, Any] = {"feature_dim": 8, "embedding_dim": 4}
    config = FlowConfig(aligned="some", **PIXELS, **SIZES, **sizes)
    assert FlowTask.requires(config) == {"aligned": "some"}
    towers = {"width": 4, "grid": 4, "patch": 2}
    plan = AlignmentConfig(16, **sizes, sentence_dim=8, **towers)
    matcher = AlignmentMatcher(plan, data.vocabulary, data.max_tokens)
    regions = DAMSMMatcher(
        DAMSMConfig(16, **sizes, **towers), data.vocabulary, data.max_tokens
    )
    for some, theirs in (
        (matcher, matcher.captions.encoder),
        (regions, regions.text_encoder),
    ):
        own = FlowTask.build(config, data, {"aligned": some}).model.reader.encoder
        for key, value in theirs.state_dict().items():
            assert torch.equal(own.state_dict()[key], value)
        pointers = {p.data_ptr() for p in theirs.parameters()}
        assert pointers.isdisjoint(p.data_ptr() for p in own.parameters())
        assert all(p.requires_grad for p in own.parameters())


def test_a_matching_model_that_does_not_fit() -> None:
    data = world()
    sizes: dict[str, Any] = {"feature_dim": 8, "embedding_dim": 4}
    config = FlowConfig(aligned="some", **PIXELS, **SIZES, **sizes)
    plan = AlignmentConfig(16, **sizes, sentence_dim=4, width=4, grid=4, patch=2)
    other = AlignmentMatcher(plan, data.vocabulary, data.max_tokens)
    with pytest.raises(ValueError, match=r"whose text encoder has.*\d+ of 9 tensors"):
        FlowTask.build(config, data, {"aligned": other})
    with pytest.raises(ValueError, match=r"embedding\.weight the first"):
        FlowTask.build(config, data, {"aligned": torch.nn.Linear(2, 2)})
    words = data.vocabulary.tokens
    exchanged = Vocabulary([*words[:2], words[3], words[2], *words[4:]])
    plan = replace(plan, sentence_dim=8)
    strange = AlignmentMatcher(plan, exchanged, data.max_tokens)
    with pytest.raises(ValueError, match="reads the vocabulary of the data set"):
        FlowTask.build(config, data, {"aligned": strange})
