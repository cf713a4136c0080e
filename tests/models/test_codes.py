"""What the models that write codes share: what they are built on, and refuse."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgen.models.autoregressive import ARConfig, ARTask
from mmgen.models.codes import CodesConfig, CodeTransformer
from mmgen.models.masked import MaskedConfig, MaskedTask
from mmgen.models.vqvae import VQVAESampler
from mmgen.pretrained import load
from mmgen.training import Run, TrainingConfig, build, fit
from tests.models.tiny_codes import (
    CAPTIONS,
    SIZES,
    autoencoder_config,
    autoencoder_run,
    sampler,
    tokenizer,
    world,
)

CODEBOOK = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
TASKS = {"ar": (ARTask, ARConfig), "masked": (MaskedTask, MaskedConfig)}


@pytest.mark.parametrize("name", TASKS)
def test_a_tokenizer_that_does_not_fit(name: str) -> None:
    task, config_class = TASKS[name]
    config, data = config_class(tokenizer="mine", **SIZES), world()
    assert task.requires(config) == {"tokenizer": "mine"}
    for other in ({}, {"tokenizer": torch.nn.Linear(2, 2)}):
        with pytest.raises(ValueError, match="must name an autoencoder of codes"):
            task.build(config, data, other)
    larger = VQVAESampler(autoencoder_config(), 32)
    with pytest.raises(ValueError, match=r"of 16 pixels.*'mine' was trained on 32"):
        task.build(config, data, {"tokenizer": larger})
    without = VQVAESampler(replace(autoencoder_config(), quantiser="none"), 16)
    with pytest.raises(ValueError, match=r'no codes.*quantiser="none"'):
        task.build(config, data, {"tokenizer": without})


def test_configs_that_cannot_be() -> None:
    with pytest.raises(
        ValueError, match=r"caption_dropout must lie in \[0, 1\); got 1"
    ):
        CodesConfig(caption_dropout=1.0)
    with pytest.raises(ValueError, match="trained with empty captions"):
        CodesConfig(caption_dropout=0.0, guidance=2.0)
    assert CodesConfig(caption_dropout=0.0, guidance=1.0).guidance == 1
    with pytest.raises(ValueError, match="guidance must lie in 0"):
        CodesConfig(guidance=-1.0)
    with pytest.raises(ValueError, match="passes must be at least 1; got 0"):
        MaskedConfig(passes=0)
    with pytest.raises(ValueError, match=r"annealing must lie in 0.*got nan"):
        MaskedConfig(annealing=float("nan"))
    with pytest.raises(ValueError, match="guidance must lie in 0"):
        MaskedConfig(guidance=-1.0)


@pytest.mark.parametrize("name", TASKS)
def test_the_tokenizer_is_not_trained(name: str) -> None:
    task, config_class = TASKS[name]
    coder = tokenizer()
    built = task.build(config_class(**SIZES), world(), {"tokenizer": coder})
    (optimizer,) = built.optimizers().values()
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in built.networks["writer"].parameters()}
    decayed, others = optimizer.param_groups
    assert others["weight_decay"] == 0 < decayed["weight_decay"]
    assert all(p.ndim == 2 for p in decayed["params"])
    assert len(decayed["params"]) == 4 * SIZES["depth"]  # matrices of a block
    made = built.sampler(built.networks)
    images = world().batch(range(4)).images
    assert torch.equal(made.tokenizer.encode(images), coder.encode(images))


@pytest.mark.parametrize("causal", [True, False])
def test_a_fresh_network_finds_all_codes_about_equally_likely(causal: bool) -> None:
    network = CodeTransformer(CodesConfig(**SIZES), 9, 5, CODEBOOK, 2, causal)
    tokens, lengths = torch.randint(2, 9, (2, 5)), torch.tensor([5, 2])
    shares = network(tokens, lengths, torch.zeros(2, 4).long()).softmax(dim=2)
    torch.testing.assert_close(shares, torch.full((2, 4, 7), 1 / 7), rtol=0.3, atol=0)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_and_width_change_nothing(causal: bool) -> None:
    torch.manual_seed(0)
    network = CodeTransformer(CodesConfig(**SIZES), 9, 5, CODEBOOK, 2, causal)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    tokens = torch.randint(2, 9, (1, 5))
    pieces = torch.randint(7, (1, 4))
    length = torch.tensor([3])
    logits = network(tokens, length, pieces)
    other = tokens.clone()
    other[:, 3:] = 0
    torch.testing.assert_close(network(other, length, pieces), logits)
    torch.testing.assert_close(network(tokens[:, :3], length, pieces), logits)
    changed = tokens.clone()
    changed[:, 2] = (tokens[:, 2] - 1) % 7 + 2
    gap = (network(changed, length, pieces) - logits).abs().amax(dim=2)
    assert gap.min() > 1e-4  # of every code


def test_places_of_words_and_codes() -> None:
    network = CodeTransformer(CodesConfig(**SIZES), 9, 5, CODEBOOK, 2, True)
    assert network.places(2).tolist() == [
        [1, 0, 0],
        [2, 0, 0],
        [0, 1, 1],
        [0, 1, 2],
        [0, 2, 1],
        [0, 2, 2],
    ]
    with pytest.raises(ValueError, match="multiple of 2 x heads"):
        CodeTransformer(CodesConfig(width=6, heads=2), 9, 5, CODEBOOK, 2, True)


# ------------------------------------------------------------------- kept and built


@pytest.mark.parametrize("name", TASKS)
def test_it_is_built_again_from_json(name: str) -> None:
    model = sampler(TASKS[name][0].sampler_class, side=4, codes=7)
    args = json.loads(json.dumps(model.init_args()))
    again = type(model).from_args(args).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.sample(CAPTIONS), model.sample(CAPTIONS))
    assert again.init_args() == args


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "nats", "changes"),
    [("ar", "loss", {}), ("masked", "nats a hidden code", {"passes": 2})],
)
def test_training_lowers_the_loss_and_goes_on_where_it_stopped(
    name: str, nats: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    task, config_class = TASKS[name]
    data, codes = world(), str(autoencoder_run(tmp_path / "codes"))
    config = config_class(tokenizer=codes, learning_rate=0.03, **changes, **SIZES)
    quiet: dict[str, Any] = {"progress": "none", "tensorboard": False}
    training = TrainingConfig(steps=40, batch_size=16, log_every=1, **quiet)

    def fresh() -> Any:
        torch.manual_seed(0)
        return build(task, config, data)

    whole = fit(fresh(), data, training)
    paid = [row[nats] for row in whole.history]
    assert paid[0] == pytest.approx(math.log(8), abs=0.1)  # nothing is known yet
    assert sum(paid[-5:]) / 5 < 0.9 * paid[0]

    out = tmp_path / "run"
    fit(fresh(), data, replace(training, steps=13, out=out))
    again = Run.resume(out, data, steps=40)
    ours, theirs = (run.task.networks["writer"].state_dict() for run in (whole, again))
    for (key, one), (_, other) in zip(ours.items(), theirs.items(), strict=True):
        assert torch.equal(one, other), key
    drawn = load(out).sample(CAPTIONS)
    assert torch.equal(drawn, again.sampler().sample(CAPTIONS))
