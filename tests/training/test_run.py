"""Runs: resumed, loaded, begun with another's weights, and what their folder holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from toy_task import (
    CONFIG,
    WORDS,
    ToyConfig,
    ToyDataset,
    ToyTask,
    assert_same,
    new_task,
    weights,
)

from mmgen import pretrained
from mmgen.data import Vocabulary, files
from mmgen.pretrained import WeightsError
from mmgen.training import CheckpointError, Run, TrainingError, build, fit
from mmgen.training import checkpoint as checkpoints


class TestResume:
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


class TestSampler:
    """A run's folder holds its sampler as published weights are held, but exactly."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Run:
        return fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "run"))

    def test_it_comes_back_bit_for_bit(self, run):
        loaded = pretrained.load(run.folder)
        expected = run.sampler()
        assert_same(loaded.state_dict(), expected.state_dict())
        assert all(t.dtype == torch.float32 for t in loaded.state_dict().values())
        assert torch.equal(loaded.sample(WORDS, seed=1), expected.sample(WORDS, seed=1))
        assert not loaded.training
        assert not any(p.requires_grad for p in loaded.parameters())

    def test_its_card_says_what_it_was_trained_on_and_keeps_the_architecture(self, run):
        about = pretrained.load(run.folder).card
        described = json.loads((run.folder / "config.json").read_text())
        assert about["data"] == described["dataset"]
        assert about["task"] == "toy_task:ToyTask" and about["steps"] == 12
        assert about["init_args"]["config"] == {"width": 16, "sizes": [4]}

    def test_a_run_that_trains_can_be_looked_at(self, tmp_path):
        seen = {}

        class Watched(ToyTask):
            def training_step(self, batch, step):
                if step.index in (4, 7) and step.phase == "generator":
                    try:
                        seen[step.index] = pretrained.load(tmp_path / "run")
                    except WeightsError as error:
                        seen[step.index] = str(error)
                return super().training_step(batch, step)

        config = replace(CONFIG, out=tmp_path / "run")
        fit(new_task(cls=Watched), ToyDataset(), replace(config, steps=9))
        assert "The run has no checkpoint yet" in seen[4]
        assert seen[7].card["steps"] == 5
        fifth = checkpoints.load(tmp_path / "run" / "checkpoints" / "step-00000005")
        assert_same(
            checkpoints.flatten({"generator": seen[7].generator}), fifth.average
        )

    def test_writing_it_changes_nothing(self, tmp_path):
        plain = fit(new_task(), ToyDataset(), CONFIG)
        drawn = torch.rand(3)
        config = replace(CONFIG, checkpoint_every=1, out=tmp_path / "r")
        assert_same(weights(plain), weights(fit(new_task(), ToyDataset(), config)))
        assert torch.equal(torch.rand(3), drawn)

    def test_a_torn_pair_is_told_of_and_mended_by_going_on(self, run, tmp_path):
        path = run.folder / "sampler.json"
        whole = path.read_text()
        path.write_text(whole.replace(json.loads(whole)["sha256"], 64 * "0"))
        with pytest.raises(WeightsError, match=r"killed while it wrote.*Run\.resume"):
            pretrained.load(run.folder)
        Run.resume(run.folder, ToyDataset())  # finished already
        assert path.read_text() == whole
        assert_same(
            pretrained.load(run.folder).state_dict(), run.sampler().state_dict()
        )

    @pytest.mark.parametrize("name", ["sampler.json", "sampler.safetensors"])
    def test_a_folder_without_one_says_what_to_do(self, run, name):
        (run.folder / name).unlink()
        with pytest.raises(WeightsError, match=r"Run\.resume\(.*Run\.load\(") as caught:
            pretrained.load(run.folder)
        assert str(run.folder) in str(caught.value)

    def test_a_full_disk_keeps_the_old_pair(self, tmp_path, monkeypatch):
        written = files.write_synced

        class Filling(ToyTask):
            def training_step(self, batch, step):
                if step.index == 9:
                    monkeypatch.setattr(files, "write_synced", full)
                return super().training_step(batch, step)

        def full(path: Path, content: bytes) -> None:
            if path.name.startswith(".sampler.json"):  # the second of the two
                raise OSError(28, "No space left on device")
            written(path, content)

        folder = tmp_path / "r"
        with pytest.raises(TrainingError, match=r"sampler\.safetensors cannot be"):
            fit(new_task(cls=Filling), ToyDataset(), replace(CONFIG, out=folder))
        assert pretrained.load(folder).card["steps"] == 5
        assert not list(folder.glob(".*.tmp"))
        last = checkpoints.newest(folder / "checkpoints")
        assert last.name == "step-00000010"

    def test_a_sampler_that_no_folder_can_keep_is_refused_before_training(
        self, tmp_path
    ):
        class Plain(ToyTask):
            def sampler(self, networks):
                return nn.Sequential(networks["generator"])

        with pytest.raises(ValueError, match=r"init_args.*got a Sequential"):
            fit(new_task(cls=Plain), ToyDataset(), replace(CONFIG, out=tmp_path / "r"))
        assert not (tmp_path / "r").exists()
        assert fit(new_task(cls=Plain), ToyDataset(), CONFIG).history


@dataclass(frozen=True)
class PupilConfig(ToyConfig):
    teacher: str = ""
    """weights, or the folder of a run"""


class Pupil(ToyTask):
    """A task with the generator of another run, frozen."""

    @staticmethod
    def requires(config: PupilConfig) -> Mapping[str, str]:
        return {"teacher": config.teacher}

    @classmethod
    def build(cls, config, data, frozen):
        task = cls(config, data)
        task.networks["teacher"] = frozen["teacher"].generator
        return task

    def training_step(self, batch, step):
        values = super().training_step(batch, step)
        noise = step.randn(len(batch), 4)
        taught = self.networks["teacher"](noise, batch.tokens)
        drawn = self.networks["generator"](noise, batch.tokens)
        if step.phase == "generator":
            values["loss"] = values["loss"] + (drawn - taught).square().mean()
        return values


class TestRequired:
    """Trained models that a task is built on come frozen from weights or runs."""

    @pytest.fixture
    def teacher(self, tmp_path: Path) -> Run:
        return fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "teacher"))

    def test_it_is_loaded_frozen_and_stays_as_it_is(self, teacher, tmp_path):
        config = PupilConfig(teacher=str(teacher.folder))
        task = build(Pupil, config, ToyDataset())
        network = task.networks["teacher"]
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
        run = fit(task, ToyDataset(), replace(CONFIG, steps=5, out=tmp_path / "pupil"))
        before = checkpoints.flatten({"": teacher.averages["generator"]})
        assert_same(checkpoints.flatten({"": run.task.networks["teacher"]}), before)

    def test_resume_and_load_find_it_again(self, teacher, tmp_path):
        def begin(steps: int, name: str) -> Run:
            torch.manual_seed(0)
            task = build(Pupil, PupilConfig(teacher=str(teacher.folder)), ToyDataset())
            config = replace(CONFIG, steps=steps, out=tmp_path / name)
            return fit(task, ToyDataset(), config)

        whole = begin(12, "whole")
        begin(5, "cut")
        again = Run.resume(tmp_path / "cut", ToyDataset(), steps=12)
        assert_same(weights(whole), weights(again))
        loaded = Run.load(tmp_path / "cut", ToyDataset())
        assert_same(weights(whole), weights(loaded))

    @pytest.mark.parametrize("name", ["", "damsm-shape64", "runs/nothing"])
    def test_a_wrong_name_names_the_field(self, name):
        with pytest.raises(ValueError, match=r"config\.teacher must name") as caught:
            build(Pupil, PupilConfig(teacher=name), ToyDataset())
        message = str(caught.value)
        assert f"got {name!r}" in message and "its teacher" in message
        assert "damsm-shapes64" in message  # one of those that there are

    def test_a_name_that_no_field_holds_names_the_method(self):
        class Fixed(Pupil):
            @staticmethod
            def requires(config):
                return {"teacher": "nowhere"}

        with pytest.raises(ValueError, match=r"Fixed\.requires\(config\) must name"):
            build(Fixed, PupilConfig(), ToyDataset())

    def test_a_folder_without_weights_is_told_of(self, tmp_path):
        with pytest.raises(WeightsError, match=r"holds no sampler.*no run's folder"):
            build(Pupil, PupilConfig(teacher=str(tmp_path)), ToyDataset())

    def test_a_task_that_needs_nothing_is_only_built(self):
        torch.manual_seed(0)
        task = build(ToyTask, ToyConfig(), ToyDataset())
        assert_same(
            checkpoints.flatten(task.networks),
            checkpoints.flatten(new_task().networks),
        )
