"""The loop: what it trains, and what it shows and writes on the way."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_task import (
    CONFIG,
    ToyConfig,
    ToyDataset,
    ToyTask,
    assert_same,
    new_task,
    weights,
)

from mmgen.training import checkpoint as checkpoints
from mmgen.training import fit


class TestLearning:
    def test_a_run_learns_what_the_captions_ask_for(self):
        config = replace(CONFIG, steps=300, ema_decay=0.99)
        run = fit(new_task(ToyConfig(rate=3e-3)), ToyDataset(), config)
        images = run.sampler().sample(["dark", "grey", "light", "bright"])
        levels = images.mean((1, 2, 3))
        assert (levels - torch.tensor([-0.75, -0.25, 0.25, 0.75])).abs().max() < 0.25
        assert [row["step"] for row in run.history[:3]] == [4, 8, 12]
        assert set(run.history[-1]) == {
            "step",
            "seconds",
            "discriminator/loss",
            "discriminator/real",
            "generator/loss",
            "step_seconds",
            "data_seconds",
        }

    def test_same_seed_same_weights_and_another_seed_others(self):
        a, b = (fit(new_task(), ToyDataset(), CONFIG) for _ in range(2))
        c = fit(new_task(), ToyDataset(), replace(CONFIG, seed=4))
        assert_same(weights(a), weights(b))
        assert not torch.equal(
            weights(a)["generator.out.weight"], weights(c)["generator.out.weight"]
        )

    def test_parts_of_a_batch_give_the_gradient_of_the_whole(self):
        task = ToyConfig(dropout=0.0, keep=False)
        whole = fit(new_task(task), ToyDataset(), CONFIG)
        parts = fit(new_task(task), ToyDataset(), replace(CONFIG, accumulate=4))
        assert_same(weights(whole), weights(parts), 1e-5)
        for a, b in zip(whole.history, parts.history, strict=True):
            assert a["discriminator/loss"] == pytest.approx(
                b["discriminator/loss"], 1e-4
            )

    def test_a_phase_freezes_those_before_it_and_all_learn_again_after(self):
        seen = {}

        class Recording(ToyTask):
            def training_step(self, batch, step):
                seen[step.index, step.phase] = [
                    all(p.requires_grad for p in self.networks[name].parameters())
                    for name in ("generator", "discriminator")
                ]
                return super().training_step(batch, step)

        run = fit(new_task(cls=Recording), ToyDataset(), replace(CONFIG, steps=2))
        for index in range(2):
            assert seen[index, "discriminator"] == [True, True]
            assert seen[index, "generator"] == [True, False]
        assert all(
            p.requires_grad for n in run.task.networks.values() for p in n.parameters()
        )

    def test_a_network_that_was_frozen_when_built_never_changes(self):
        task = new_task()
        task.networks["discriminator"].embed.requires_grad_(False)
        before = task.networks["discriminator"].embed.weight.clone()
        optimizers = task.optimizers

        def without_frozen():
            made = optimizers()
            group = made["discriminator"].param_groups[0]
            group["params"] = [p for p in group["params"] if p.requires_grad]
            return made

        task.optimizers = without_frozen  # type: ignore[method-assign]
        run = fit(task, ToyDataset(), CONFIG)
        assert torch.equal(run.task.networks["discriminator"].embed.weight, before)

    def test_parameters_of_no_optimiser_get_no_gradient(self):
        task = new_task()
        task.networks["spare"] = nn.Linear(1, 1)
        without = task.training_step

        def step(batch, step):
            values = without(batch, step)
            spare = task.networks["spare"](torch.ones(1, 1)).sum()
            return {**values, "loss": values["loss"] + 0 * spare}

        task.training_step = step  # type: ignore[method-assign]
        fit(task, ToyDataset(), replace(CONFIG, steps=2))
        spare = task.networks["spare"].weight
        assert spare.grad is None and spare.requires_grad

    def test_the_clip_bounds_what_a_step_can_change(self):
        config = replace(CONFIG, gradient_clip=0.5, log_every=1)
        run = fit(new_task(), ToyDataset(), config)
        assert all(row["generator/gradient_norm"] > 0 for row in run.history)
        sgd = new_task()
        sgd.optimizers = lambda: {  # type: ignore[method-assign]
            p: torch.optim.SGD(sgd.networks[p].parameters(), lr=1.0) for p in sgd.phases
        }
        before = checkpoints.flatten({"g": sgd.networks["generator"]})
        fit(sgd, ToyDataset(), replace(config, steps=1, gradient_clip=0.01))
        after = checkpoints.flatten({"g": sgd.networks["generator"]})
        moved = math.sqrt(sum(((after[k] - before[k]) ** 2).sum() for k in before))
        assert moved == pytest.approx(0.01, rel=1e-3)

    def test_bf16_computes_in_bf16_and_hands_out_float32(self):
        kinds = set()

        class Recording(ToyTask):
            def training_step(self, batch, step):
                values = super().training_step(batch, step)
                kinds.add(values["loss"].dtype)
                return values

        task = new_task(cls=Recording)
        inner = task.networks["generator"].hidden
        inner.register_forward_hook(lambda _, __, output: kinds.add(output.dtype))
        config = replace(CONFIG, steps=2, precision="bf16-mixed")
        fit(task, ToyDataset(), config)
        assert kinds == {torch.float32, torch.bfloat16}

    def test_channels_last_reaches_the_pictures(self):
        seen = []

        class Recording(ToyTask):
            def training_step(self, batch, step):
                seen.append(
                    batch.images.is_contiguous(memory_format=torch.channels_last)
                )
                return super().training_step(batch, step)

        config = replace(CONFIG, steps=1, channels_last=True)
        fit(new_task(cls=Recording), ToyDataset(), config)
        assert seen == [True, True]

    @pytest.mark.slow
    def test_compiled_networks_train_the_same_weights(self):
        task = ToyConfig(dropout=0.0)
        plain = fit(new_task(task), ToyDataset(), replace(CONFIG, steps=3))
        config = replace(CONFIG, steps=3, compile=True)
        compiled = fit(new_task(task), ToyDataset(), config)
        assert_same(weights(plain), weights(compiled), 1e-5)


class TestOnTheWay:
    def test_sampling_on_the_way_changes_nothing(self, tmp_path):
        plain = fit(new_task(), ToyDataset(), CONFIG)
        config = replace(CONFIG, sample_every=1, out=tmp_path / "r")
        assert_same(weights(plain), weights(fit(new_task(), ToyDataset(), config)))

    def test_progress_goes_to_stderr_or_nowhere(self, capsys, monkeypatch):
        fit(new_task(), ToyDataset(), CONFIG)
        out, error = capsys.readouterr()
        assert out == error == ""
        fit(new_task(), ToyDataset(), replace(CONFIG, progress="auto"))
        out, error = capsys.readouterr()
        assert out == "" and error.count("\n") == 1
        assert error.startswith("step 12/12  discriminator/loss")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        fit(new_task(), ToyDataset(), replace(CONFIG, progress="auto"))
        assert "12/12" in capsys.readouterr().err

    def test_the_task_gets_its_own_networks_back(self):
        task = new_task()
        before = dict(task.networks)
        fit(task, ToyDataset(), CONFIG)
        assert all(task.networks[name] is before[name] for name in before)
