"""The loop: what it trains, what it writes, and that it goes on where it stopped."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from toy_task import WORDS, ToyConfig, ToyDataset, ToyTask

from mmgen.data import Vocabulary
from mmgen.data.workers import WorkerError
from mmgen.training import Run, Step, TrainingConfig, fit, reproducible
from mmgen.training import checkpoint as checkpoints
from mmgen.training.average import Average
from mmgen.training.errors import CheckpointError
from mmgen.training.loop import rate_factor

CONFIG = TrainingConfig(
    steps=12,
    batch_size=16,
    log_every=4,
    checkpoint_every=5,
    seed=3,
    ema_decay=0.9,
    accelerator="cpu",
    tensorboard=False,
    progress="none",
)


def new_task(config: ToyConfig | None = None, cls: type = ToyTask) -> ToyTask:
    torch.manual_seed(0)
    return cls.build(config or ToyConfig(), ToyDataset())


def weights(run: Run) -> dict[str, Tensor]:
    averages = {f"average {k}": v for k, v in run.averages.items()}
    return checkpoints.flatten({**run.task.networks, **averages})


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float = 0.0):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(
            a[name],
            b[name],
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, n=name: n + m,
        )


class SignalTask(ToyTask):
    """Sends its own process a signal in the middle of a step."""

    signal_at = 6

    def training_step(self, batch, step):
        if step.index == self.signal_at and step.phase == "generator":
            os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch, step)


# as torch's handler of SIGCHLD writes it
DEATH = "DataLoader worker (pid 4711) is killed by signal: Killed."


class WorkerDies(ToyTask):
    """Torch's signal handler raises in the middle of a step."""

    def training_step(self, batch, step):
        if step.index == 6 and step.phase == "generator":
            raise RuntimeError(DEATH)
        return super().training_step(batch, step)


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


class TestAverage:
    def test_it_is_the_formula_with_its_warm_up(self):
        network = nn.Linear(2, 1, bias=False)
        network.register_buffer("count", torch.tensor(0))
        with torch.no_grad():
            network.weight.fill_(1.0)
        average = Average({"n": network}, 0.5)
        expected = 1.0
        for step, value in enumerate([3.0, -1.0, 5.0, 2.0, 8.0, 1.0, 0.0, 4.0, 7.0]):
            with torch.no_grad():
                network.weight.fill_(value)
                network.count += 1
            average.update(step)
            decay = min(0.5, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * value
        copy = average.networks["n"]
        assert copy.weight[0, 0].item() == pytest.approx(expected, rel=1e-6)
        assert copy.count.item() == 9
        assert not copy.training and not copy.weight.requires_grad

    def test_no_decay_keeps_the_last_weights(self):
        run = fit(new_task(), ToyDataset(), replace(CONFIG, ema_decay=0.0))
        named = weights(run)
        for name, value in named.items():
            if name.startswith("generator."):
                assert torch.equal(value, named["average " + name])


class TestNoise:
    def step(self, first: int, size: int, **other) -> Step:
        values = {"index": 5, "phase": "train", "seed": 1, **other}
        return Step(
            accumulating=False,
            device=torch.device("cpu"),
            rank=0,
            world_size=1,
            first=first,
            size=size,
            global_size=8,
            generator=torch.Generator(),
            **values,
        )

    def test_a_part_draws_its_rows_of_the_whole(self):
        whole = self.step(0, 8)
        first, second = whole.randn(8, 3), whole.randn(8, 3)
        part = self.step(4, 2)
        assert torch.equal(part.randn(2, 3), first[4:6])
        assert torch.equal(part.randn(2, 3), second[4:6])
        uniform = self.step(0, 8).rand(8, 2, 2)
        assert uniform.shape == (8, 2, 2)
        assert uniform.min() >= 0 and uniform.max() < 1

    @pytest.mark.parametrize("other", [{"index": 6}, {"phase": "b"}, {"seed": 2}])
    def test_step_phase_and_seed_decide_the_noise(self, other):
        a, b = self.step(0, 8), self.step(0, 8, **other)
        assert not torch.equal(a.randn(8, 3), b.randn(8, 3))

    def test_its_moments_are_those_of_the_normal_distribution(self):
        draws = torch.cat([self.step(0, 8, index=i).randn(8, 100) for i in range(50)])
        assert abs(draws.mean()) < 0.02 and abs(draws.std() - 1) < 0.02

    def test_another_number_than_the_batch_is_refused(self):
        with pytest.raises(ValueError, match="batch_size must be 2"):
            self.step(0, 2).randn(3, 4)

    def test_one_process_gathers_its_own_rows(self):
        rows = torch.randn(3, 2)
        assert self.step(0, 2).gather(rows) is rows


class TestRate:
    def test_warm_up_then_cosine(self):
        config = replace(CONFIG, steps=14, warmup_steps=4, schedule="cosine")
        factors = [rate_factor(config, i) for i in range(15)]
        assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
        assert factors[9] == pytest.approx(0.5)
        assert factors[14] == pytest.approx(0.0)

    def test_the_optimisers_follow_it(self):
        rates = []

        class Recording(ToyTask):
            def optimizers(self):
                self.made = super().optimizers()
                return self.made

            def training_step(self, batch, step):
                rates.append(self.made[step.phase].param_groups[0]["lr"])
                return super().training_step(batch, step)

        config = replace(CONFIG, steps=3, warmup_steps=2, log_every=1)
        run = fit(new_task(cls=Recording), ToyDataset(), config)
        assert rates == [0.005, 0.005, 0.01, 0.01, 0.01, 0.01]
        assert [row["rate_factor"] for row in run.history] == [0.5, 1.0, 1.0]


class TestResume:
    def test_interrupt_and_resume_bit_for_bit(self, tmp_path):
        before = signal.getsignal(signal.SIGINT)
        whole = fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "whole"))
        config = replace(CONFIG, out=tmp_path / "cut")
        with pytest.raises(KeyboardInterrupt, match="holds step 7"):
            fit(new_task(cls=SignalTask), ToyDataset(), config)
        last = checkpoints.newest(tmp_path / "cut" / "checkpoints")
        assert last.name == "step-00000007"  # the step was finished first
        assert signal.getsignal(signal.SIGINT) is before
        self.rename_task(tmp_path / "cut")
        again = Run.resume(tmp_path / "cut", ToyDataset())
        assert_same(weights(whole), weights(again))
        ends = [
            checkpoints.load(checkpoints.newest(tmp_path / name / "checkpoints"))
            for name in ("whole", "cut")
        ]
        assert_same(ends[0].weights, ends[1].weights)
        assert_same(ends[0].average, ends[1].average)
        for phase in ToyTask.phases:
            a, b = (end.optimizers[phase]["state"] for end in ends)
            for i in a:
                assert_same(a[i], b[i])
        losses = [
            {row["step"]: row["generator/loss"] for row in run.history}
            for run in (whole, again)
        ]
        assert losses[0][12] == losses[1][12] and losses[0][4] == losses[1][4]
        assert again.manifest["stopped"] == "finished"
        assert again.manifest["seconds"] > 0

    @staticmethod
    def rename_task(folder: Path) -> None:
        """The interrupted run's task differs in name alone from that of the other."""
        for path in [folder / "config.json", *folder.glob("checkpoints/*/*.json")]:
            path.write_text(
                path.read_text().replace("test_loop:SignalTask", "toy_task:ToyTask")
            )

    def test_two_interrupts_stop_at_once(self, tmp_path):
        class Impatient(ToyTask):
            def training_step(self, batch, step):
                if step.index == 6:
                    os.kill(os.getpid(), signal.SIGINT)
                    os.kill(os.getpid(), signal.SIGINT)
                return super().training_step(batch, step)

        with pytest.raises(KeyboardInterrupt, match="holds step 5"):
            fit(
                new_task(cls=Impatient),
                ToyDataset(),
                replace(CONFIG, out=tmp_path / "r"),
            )

    def test_an_interrupt_without_a_folder_says_that_nothing_was_saved(self):
        with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
            fit(new_task(cls=SignalTask), ToyDataset(), CONFIG)

    def test_a_longer_run_is_the_short_one_continued(self, tmp_path):
        whole = fit(new_task(), ToyDataset(), CONFIG)
        config = replace(CONFIG, steps=5, out=tmp_path / "r")
        fit(new_task(), ToyDataset(), config)
        again = Run.resume(tmp_path / "r", ToyDataset(), steps=12, workers=1)
        assert_same(weights(whole), weights(again))
        assert [row["step"] for row in again.history] == [4, 5, 8, 10, 12]

    def test_what_a_resumed_run_was_told_is_written_down_and_kept(self, tmp_path):
        config = replace(CONFIG, steps=5, out=tmp_path / "r")
        fit(new_task(), ToyDataset(), config)
        path = tmp_path / "r" / "config.json"
        first = json.loads(path.read_text())
        Run.resume(tmp_path / "r", ToyDataset(), steps=8, gradient_clip=0.5)
        second = json.loads(path.read_text())
        told = {"steps": 8, "gradient_clip": 0.5}
        assert second == {**first, "training": {**first["training"], **told}}
        manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
        assert len(manifest["commands"]) == len(manifest["commits"]) == 2
        again = Run.resume(tmp_path / "r", ToyDataset(), steps=12)
        assert again.history[-1]["generator/gradient_norm"] > 0

    def test_a_run_may_begin_with_the_weights_of_another(self, tmp_path):
        first = fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "a"))
        config = replace(CONFIG, start_from=tmp_path / "a", out=tmp_path / "b")
        untouched = replace(config, steps=1, ema_decay=0.0, out=tmp_path / "c")
        same = fit(new_task(ToyConfig(rate=0.0)), ToyDataset(), untouched)
        assert_same(
            checkpoints.flatten(first.task.networks),
            checkpoints.flatten(same.task.networks),
        )
        second = fit(new_task(), ToyDataset(), config)
        manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
        assert manifest["started_from"] == {
            "run": str(tmp_path / "a"),
            "step": 12,
            "fresh": [],
        }
        assert len(manifest["commands"]) == len(manifest["commits"]) == 2
        assert manifest["seconds"] > first.manifest["seconds"]
        assert second.history[0]["step"] == 4
        again = Run.resume(tmp_path / "b", ToyDataset(), steps=16)
        assert again.manifest["started_from"] == manifest["started_from"]

    def test_what_does_not_fit_begins_afresh(self, tmp_path):
        wide = ToyConfig(width=32, rate=0.0)
        first = fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "a"))
        task = new_task(wide)
        before = checkpoints.flatten(task.networks)
        config = replace(CONFIG, steps=1, start_from=tmp_path / "a", ema_decay=0.0)
        run = fit(task, ToyDataset(), replace(config, out=tmp_path / "b"))
        fresh = run.manifest["started_from"]["fresh"]
        # all have the width in their shape, but the biases of both last layers
        kept = {"generator.out.bias", "discriminator.out.bias"}
        assert set(fresh) == set(before) - kept
        after = checkpoints.flatten(task.networks)
        for name in before:
            source = (
                checkpoints.flatten(first.task.networks) if name in kept else before
            )
            torch.testing.assert_close(after[name], source[name])

    def test_weights_of_other_words_or_networks_are_refused(self, tmp_path):
        fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "a"))
        config = replace(CONFIG, start_from=tmp_path / "a")
        other = ToyDataset()
        other.vocabulary = Vocabulary.build([*WORDS, "black"])
        with pytest.raises(CheckpointError, match="knows other words"):
            fit(new_task(), other, config)
        task = new_task()
        task.networks["generator"] = nn.Linear(2, 7)
        task.networks["discriminator"] = nn.Linear(2, 7, bias=False)
        with pytest.raises(CheckpointError, match="none of these networks' weights"):
            fit(task, ToyDataset(), config)
        with pytest.raises(CheckpointError, match="holds no run"):
            fit(new_task(), ToyDataset(), replace(config, start_from=tmp_path / "x"))

    def test_a_worker_that_dies_inside_a_step_is_named(self, tmp_path):
        config = replace(CONFIG, out=tmp_path / "r")
        with pytest.raises(WorkerError, match=r"died before step 6 .*is killed by"):
            fit(new_task(cls=WorkerDies), ToyDataset(), config)
        assert Run.load(tmp_path / "r", ToyDataset()).manifest["stopped"] == "error"
        last = checkpoints.newest(tmp_path / "r" / "checkpoints")
        assert last.name == "step-00000005"

    def test_workers_that_die_of_an_interrupt_leave_the_last_checkpoint(self, tmp_path):
        class Both(WorkerDies):
            def training_step(self, batch, step):
                if step.index == 6:
                    os.kill(os.getpid(), signal.SIGINT)
                return super().training_step(batch, step)

        with pytest.raises(KeyboardInterrupt, match="holds step 5"):
            fit(new_task(cls=Both), ToyDataset(), replace(CONFIG, out=tmp_path / "r"))

    def test_workers_that_die_between_steps_lose_nothing(self, tmp_path):
        class Interrupted(ToyDataset):
            def batches(self, batch_size, **options):
                for i, batch in enumerate(super().batches(batch_size, **options)):
                    if i == 7:
                        os.kill(os.getpid(), signal.SIGINT)
                        raise RuntimeError(DEATH)
                    yield batch

        with pytest.raises(KeyboardInterrupt, match="holds step 7"):
            fit(new_task(), Interrupted(), replace(CONFIG, out=tmp_path / "r"))

    def test_a_finished_run_is_only_loaded(self, tmp_path):
        run = fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "r"))
        again = Run.resume(tmp_path / "r", ToyDataset())
        loaded = Run.load(tmp_path / "r", ToyDataset())
        assert_same(weights(run), weights(again))
        assert_same(weights(run), weights(loaded))
        assert loaded.history == run.history
        assert loaded.manifest["steps"] == 12
        captions = ["dark", "bright"]
        assert torch.equal(
            run.sampler().sample(captions), loaded.sampler().sample(captions)
        )

    def test_an_earlier_checkpoint_can_be_named(self, tmp_path):
        run = fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "r"))
        earlier = tmp_path / "r" / "checkpoints" / "step-00000010"
        assert_same(weights(run), weights(Run.resume(earlier, ToyDataset())))

    def test_rows_of_lost_steps_and_torn_rows_go(self, tmp_path):
        config = replace(CONFIG, steps=5, out=tmp_path / "r")
        fit(new_task(), ToyDataset(), config)
        path = tmp_path / "r" / "metrics.csv"
        path.write_text(path.read_text() + "9,9,9,9,9,9,9\r\n10,1.5,0.")
        again = Run.resume(tmp_path / "r", ToyDataset(), steps=8)
        assert [row["step"] for row in again.history] == [4, 5, 8]
        assert len(path.read_text().splitlines()) == 4

    def test_minutes_end_a_run_with_a_checkpoint(self, tmp_path):
        config = replace(CONFIG, steps=10**6, max_minutes=0.01, out=tmp_path / "r")
        run = fit(new_task(), ToyDataset(), config)
        assert run.manifest["stopped"] == "max_minutes"
        last = checkpoints.newest(tmp_path / "r" / "checkpoints")
        assert checkpoints.load(last).step == run.manifest["steps"] > 0


class TestFolder:
    def test_what_a_run_leaves(self, tmp_path):
        config = replace(CONFIG, sample_every=6, tensorboard=True, out=tmp_path / "r")
        run = fit(new_task(), ToyDataset(), config)
        folder = tmp_path / "r"
        about = json.loads((folder / "config.json").read_text())
        assert about["task"] == "toy_task:ToyTask"
        assert about["dataset"]["name"] == "toy"
        assert about["dataset"]["options"] == {"size": 64}
        assert about["training"]["batch_size"] == 16
        words = Vocabulary.load(folder / "vocabulary.json")
        assert words == ToyDataset().vocabulary
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest == json.loads(json.dumps(run.manifest))
        assert manifest["stopped"] == "finished" and manifest["seed"] == 3
        assert manifest["peak_memory_bytes"] > 10**7
        assert manifest["parameters"]["generator"] == sum(
            p.numel() for p in run.task.networks["generator"].parameters()
        )
        names = [path.name for path in checkpoints.listed(folder / "checkpoints")]
        assert names == ["step-00000010", "step-00000012"]
        grids = sorted(path.name for path in (folder / "samples").glob("*.png"))
        assert grids == [f"step-{i:08d}.png" for i in (0, 6, 12)]
        picture = Image.open(folder / "samples" / grids[-1])
        assert picture.size == (8 * 6 - 2, 4 * 6 - 2)
        captions = (folder / "samples" / "captions.txt").read_text().splitlines()
        assert captions[:4] == ["dark", "grey", "light", "bright"]
        pytest.importorskip("tensorboard")
        assert list((folder / "tensorboard").glob("events*"))

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

    def test_torch_is_left_as_it_was(self):
        assert not torch.are_deterministic_algorithms_enabled()
        fit(new_task(), ToyDataset(), replace(CONFIG, steps=1, deterministic=True))
        assert not torch.are_deterministic_algorithms_enabled()


def test_reproducible_repeats_draws_and_demands_determinism():
    import random

    import numpy as np

    def draw() -> tuple:
        reproducible(7)
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    try:
        assert draw() == draw()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    with pytest.raises(ValueError, match="seed"):
        reproducible(-1)
