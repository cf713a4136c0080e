"""The training of captioners: cross-entropy by hand, rewards by enumeration, runs."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmgen.data import load_dataset
from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.captions import caption_log_p
from mmgen.models.aligned import begin_pictures
from mmgen.models.captioning import (
    DECODERS,
    CaptioningConfig,
    CaptioningNetwork,
    CaptioningSampler,
    CaptioningTask,
    self_critical_loss,
)
from mmgen.models.damsm import DAMSMConfig, DAMSMMatcher
from mmgen.presets import find
from mmgen.pretrained import load
from mmgen.training import Run, TrainingConfig, build, fit
from tests.models.captioning.tiny import REGIONS, TINY, new_task, scenes, shaken
from tests.models.steps import OneStep

# --- cross-entropy -------------------------------------------------------------------


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_loss_by_hand(decoder: str) -> None:
    """Captions one by one, word by word; every word and every end counts alike."""
    task, batch = new_task(decoder=decoder), scenes().batch(range(6))
    network = task.networks["network"].eval()
    found = task.training_step(batch, OneStep())
    surprises, right = [], []
    for i, length in enumerate(batch.lengths.tolist()):
        row = slice(i, i + 1)
        logits = network(batch.images[row], batch.tokens[row])[0]
        for place in range(min(length + 1, scenes().max_tokens)):
            token = batch.tokens[i, place]
            surprises.append(cross_entropy(logits[place], token))
            right.append(bool(logits[place].argmax() == token))
    assert len({*batch.lengths.tolist()}) > 1
    torch.testing.assert_close(found["loss"], torch.stack(surprises).mean())
    assert found["word_right"].item() == pytest.approx(sum(right) / len(right))


class Certain(nn.Module):
    """Tells every word and end with certainty, and the second of each row not at all.

    At such logits the surprise at a word is 0 to the last digit.
    """

    def forward(self, _: Tensor, tokens: Tensor) -> Tensor:
        logits = 100.0 * nn.functional.one_hot(tokens, len(scenes().vocabulary))
        logits[:, 1] = 0.0
        return logits


def test_words_that_are_told_with_certainty_count_too() -> None:
    task, batch = new_task(), scenes().batch(range(6))
    task.networks["network"] = Certain()
    words = int((batch.lengths + 1).clamp(max=scenes().max_tokens).sum())
    surprise = torch.tensor(float(len(scenes().vocabulary))).log()
    found = task.training_step(batch, OneStep())
    torch.testing.assert_close(found["loss"], 6 * surprise / words)
    assert found["word_right"].item() == pytest.approx((words - 6) / words)


def test_every_weight_learns() -> None:
    for decoder in DECODERS:
        task = new_task(decoder=decoder)
        task.training_step(scenes().batch(range(8)), OneStep())["loss"].backward()
        without = [
            name
            for name, parameter in task.networks["network"].named_parameters()
            if parameter.grad is None or not parameter.grad.any()
        ]
        assert without == []


def test_the_decay_is_of_matrices_alone() -> None:
    groups = new_task().optimizers()["captioning"].param_groups
    assert [group["weight_decay"] for group in groups] == [TINY.weight_decay, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert all(p.ndim < 2 for p in groups[1]["params"])
    count = sum(len(group["params"]) for group in groups)
    assert count == len(list(new_task().networks["network"].parameters()))


# --- encoders that begin as aligned ones ---------------------------------------------


@pytest.mark.parametrize(
    ("name", "place"),
    [("align-shapes64", "images."), ("damsm-shapes64", "image_encoder.")],
)
def test_the_encoder_begins_as_that_of_published_weights(name: str, place: str) -> None:
    config = CaptioningConfig(aligned=name)
    assert CaptioningTask.requires(config) == {"aligned": name}
    assert CaptioningTask.requires(TINY) == {}
    data = load_dataset("shapes", "train", 64, "both", objects=(1, 2), size=64)
    matcher = load(name)
    given = matcher.state_dict()
    torch.manual_seed(0)
    fresh = CaptioningNetwork(config, data.vocabulary, data.max_tokens).state_dict()
    torch.manual_seed(0)
    task = CaptioningTask.build(config, data, {"aligned": matcher})
    copied = 0
    for key, value in task.networks["network"].state_dict().items():
        there = key.replace("pictures.", place) if key.startswith("pictures.") else ""
        assert torch.equal(value, given[there] if there in given else fresh[key]), key
        copied += there in given
    lacks = {"align-shapes64": ["to_regions.weight"], "damsm-shapes64": []}[name]
    own = [key for key in fresh if key.startswith("pictures.")]
    left = [key for key in own if key.replace("pictures.", place) not in given]
    assert left == [f"pictures.{key}" for key in lacks]
    assert copied == len(own) - len(lacks)
    parameters = [*task.networks["network"].parameters()]
    assert all(parameter.requires_grad for parameter in parameters)
    theirs = {value.data_ptr() for value in given.values()}
    assert theirs.isdisjoint(parameter.data_ptr() for parameter in parameters)


def test_an_aligned_model_that_does_not_fit() -> None:
    data = scenes()
    config = replace(TINY, aligned="some")
    sizes = {"feature_dim": 8, "embedding_dim": 4, "width": 4, "grid": 4, "patch": 2}
    fits = DAMSMMatcher(DAMSMConfig(16, **sizes), data.vocabulary, data.max_tokens)
    CaptioningTask.build(config, data, {"aligned": fits})
    for changes in ({"width": 8}, {"feature_dim": 4}):
        other = DAMSMMatcher(
            DAMSMConfig(16, **{**sizes, **changes}), data.vocabulary, data.max_tokens
        )
        with pytest.raises(ValueError, match=r"in 'some' \d+ of \d+ tensors do not"):
            CaptioningTask.build(config, data, {"aligned": other})
    network = CaptioningNetwork(TINY, data.vocabulary, data.max_tokens)
    with pytest.raises(ValueError, match="must name a matching model whose picture"):
        begin_pictures(network.pictures, nn.Linear(2, 2), "some")


def test_pictures_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"image_size must be the data set's, 16; got"):
        CaptioningTask.build(replace(TINY, image_size=32), scenes())


# --- rewards -------------------------------------------------------------------------


def every_caption(
    decoder: str,
) -> tuple[CaptioningNetwork, Tensor, Tensor, Tensor]:
    """A network of three tokens, and all captions of up to two words for a picture."""
    vocabulary = Vocabulary(["<pad>", "<unk>", "red"], "en")
    network = CaptioningNetwork(replace(TINY, decoder=decoder), vocabulary, 2)
    network.writer = shaken(network.writer)  # type: ignore[assignment]
    network = network.double().eval()
    rows = [
        [*words, *[0] * (2 - length)]
        for length in range(3)
        for words in itertools.product((1, 2), repeat=length)
    ]
    tokens = torch.tensor(rows)
    about = torch.randn(1, 1 + REGIONS, TINY.feature_dim, dtype=torch.float64)
    return network, about.expand(len(rows), -1, -1), tokens, (tokens != 0).sum(dim=1)


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None])


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_self_critical_gradient_is_that_of_the_expected_reward(
    decoder: str,
) -> None:
    """Its mean over all captions, by their probabilities; whatever the baseline."""
    torch.manual_seed(0)
    network, about, tokens, lengths = every_caption(decoder)
    writer = network.writer
    rewards = torch.rand(len(tokens), dtype=torch.float64)
    log_p = caption_log_p(writer(about, tokens), tokens, lengths)
    chances = log_p.sum(dim=1).exp()
    assert chances.sum().item() == pytest.approx(1, abs=1e-5)
    expected = gradient(-(chances * rewards).sum(), writer)
    assert expected.abs().max() > 1e-3
    for baseline in (0.0, 0.7):
        mean = torch.zeros_like(expected)
        for i, chance in enumerate(chances.tolist()):
            row = slice(i, i + 1)
            loss = self_critical_loss(
                log_p[row], rewards[row], torch.full((1,), baseline)
            )
            mean += chance * gradient(loss, writer)
        torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-6)
    # a reward that is the same for all teaches nothing: of samples, and so in the mean
    same = torch.full_like(rewards, 0.3)
    loss = self_critical_loss(log_p, same, same)
    assert loss.item() == 0 and not gradient(loss, writer).any()


def test_the_self_critical_loss_by_hand() -> None:
    log_p = torch.tensor([[-1.0, -2.0, 0.0], [-0.5, -0.5, -0.5]], requires_grad=True)
    rewards = torch.tensor([1.0, 0.2], requires_grad=True)
    loss = self_critical_loss(log_p, rewards, torch.tensor([0.5, 0.6]))
    # -(0.5 x -3 + -0.4 x -1.5) / 2
    assert loss.item() == pytest.approx(0.45)
    loss.backward()
    assert rewards.grad is None  # rewards are not learned
    expected = torch.tensor([[-0.25] * 3, [0.2] * 3])
    torch.testing.assert_close(log_p.grad, expected)


# --- runs ----------------------------------------------------------------------------


def training(out: Path, steps: int) -> TrainingConfig:
    return TrainingConfig(
        steps=steps,
        batch_size=8,
        checkpoint_every=2,
        ema_decay=0.9,
        accelerator="cpu",
        progress="none",
        tensorboard=False,
        out=str(out),
    )


def test_a_run_is_stored_loaded_and_resumed_bit_for_bit(tmp_path: Path) -> None:
    data, images = scenes(), scenes().batch(range(4)).images
    run = fit(new_task(), data, training(tmp_path / "run", 2))
    sampler = run.sampler()
    assert isinstance(sampler, CaptioningSampler)
    args = json.loads(json.dumps(sampler.init_args()))
    assert not {"aligned", "learning_rate", "weight_decay"} & set(args["config"])
    again = CaptioningSampler.from_args(args).eval()
    again.load_state_dict(sampler.state_dict())
    captions = sampler.describe(images)
    assert again.describe(images) == captions == load(run.folder).describe(images)

    whole = fit(new_task(), data, training(tmp_path / "whole", 4)).sampler()
    resumed = Run.resume(tmp_path / "run", data, steps=4).sampler()
    states = zip(
        whole.state_dict().values(), resumed.state_dict().values(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in states)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_laptop_preset_learns(decoder: str) -> None:
    """A few steps of it, from the aligned encoder."""
    preset = find("caption", "laptop", "shapes")
    config = replace(preset.config, decoder=decoder)
    data = load_dataset(**{**preset.data, "size": 128})
    torch.manual_seed(0)
    task = build(CaptioningTask, config, data)
    batch = data.batch(range(32))

    def surprise() -> float:
        network = task.networks["network"].eval()
        with torch.no_grad():
            logits = network(batch.images, batch.tokens)
        network.train()
        log_p = caption_log_p(logits, batch.tokens, batch.lengths).sum()
        return -float(log_p) / float((batch.lengths + 1).sum())

    before = surprise()
    few = replace(
        preset.training,
        steps=30,
        batch_size=16,
        warmup_steps=0,
        accelerator="cpu",
        progress="none",
        tensorboard=False,
    )
    fit(task, data, few)
    assert surprise() < 0.9 * before


def test_a_description_of_a_data_set_is_enough_to_build() -> None:
    """A run is drawn from without its data."""
    data = scenes()
    known = SimpleNamespace(
        image_size=16, vocabulary=data.vocabulary, max_tokens=data.max_tokens
    )
    task = CaptioningTask.build(TINY, known)  # type: ignore[arg-type]
    assert task.sampler(task.networks).languages == ("en", "zh")
