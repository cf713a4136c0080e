"""``mmgen train``: what reaches a run, and what does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from mmgen.cli import main
from mmgen.data import load_dataset
from mmgen.data.storage.shards import pack
from mmgen.presets import Preset, find
from mmgen.pretrained import load
from mmgen.registry import METHODS
from mmgen.training import CheckpointError, Run
from mmgen.training import checkpoint as checkpoints
from tests.cli.calls import QUIET, fails


class TestTrain:
    def test_what_a_run_records(self, run):
        about = json.loads((run / "config.json").read_text())
        assert about["task"] == METHODS["cgan"]
        assert about["training"]["checkpoint_every"] == 2
        assert about["dataset"]["name"] == "shapes"
        assert about["task_config"]["image_size"] == about["dataset"]["image_size"]

    def test_options_reach_method_data_and_training(self, tmp_path, capsys):
        out = tmp_path / "run"
        words = ["train", "cgan", "--scale", "smoke", "--out", str(out), "--width", "6"]
        words += ["--data-objects", "1", "2", "--data-seed", "5", "--language", "zh"]
        words += ["--image-size", "64", "--steps", "1", "--batch_size=4"]
        words += ["--no-tensorboard", "--augment", "--seed", "9"]
        assert main(words) == 0
        about = json.loads((out / "config.json").read_text())
        assert about["task_config"]["width"] == 6
        assert about["task_config"]["augment"] is True
        assert about["task_config"]["image_size"] == 64
        assert about["dataset"]["options"]["objects"] == [1, 2]
        assert about["dataset"]["options"]["seed"] == 5
        assert about["dataset"]["language"] == "zh"
        assert about["dataset"]["image_size"] == 64
        assert about["training"]["batch_size"] == 4
        assert about["training"]["seed"] == 9
        out_text = capsys.readouterr().out
        assert f"{out}: 1 steps" in out_text and "mmgen sample" in out_text

    def test_the_same_command_gives_the_same_weights(self, run, tmp_path):
        out = tmp_path / "again"
        words = ["train", "cgan", "--scale", "smoke", "--out", str(out), *QUIET]
        assert main([*words, "--checkpoint-every", "2"]) == 0
        a, b = (
            checkpoints.load(checkpoints.newest(folder / "checkpoints")).weights
            for folder in (run, out)
        )
        assert all((a[key] == b[key]).all() for key in a)

    def test_one_process_alone_says_what_came_of_it(
        self, monkeypatch, tmp_path, capsys
    ):
        words = ["train", "vae", "--scale", "smoke", "--data-size", "8", *QUIET]
        assert main([*words, "--out", str(tmp_path / "a")]) == 0
        assert capsys.readouterr().out.count("next: mmgen sample") == 1
        monkeypatch.setattr("mmgen.training.devices.main_process", lambda: False)
        assert main([*words, "--out", str(tmp_path / "b")]) == 0
        assert capsys.readouterr().out == ""

    def test_what_cannot_draw_is_measured_next(self, tmp_path, capsys):
        out = tmp_path / "towers"
        words = ["train", "align", "--scale", "smoke", "--data-size", "8", *QUIET]
        assert main([*words, "--out", str(out)]) == 0
        assert capsys.readouterr().out.endswith(f"next: mmgen evaluate {out}\n")

    def test_resume(self, run, tmp_path, capsys):
        copy = tmp_path / "copy"
        shutil.copytree(run, copy)
        assert main(["train", "--resume", str(copy), "--steps", "6"]) == 0
        assert "6 steps" in capsys.readouterr().out
        assert main(["train", "cgan", "--resume", str(copy), "--steps", "7"]) == 0
        assert Run.load(copy).manifest["steps"] == 7


class TestMoved:
    """Data and models that lie elsewhere than they did when the run was begun."""

    @pytest.fixture
    def moved(self, tmp_path) -> tuple[Path, Path]:
        """A run trained on shards, and where these lie now."""
        before, now, out = (tmp_path / name for name in ("old", "new", "run"))
        pack(load_dataset("shapes", "train", 32, size=16, objects=(1,)), before, 8)
        words = ["train", "cgan", "--scale", "smoke", "--image-size", "32", *QUIET]
        words += ["--data", "shards", "--data-root", str(before), "--out", str(out)]
        assert main(words) == 0
        before.rename(now)
        return out, now

    def test_drawing_needs_the_folder_alone(self, moved, tmp_path, monkeypatch):
        out, _ = moved
        drawn = Run.load(out).sampler().sample(["a red star"], seed=1)
        sampler = load(out)
        assert torch.equal(drawn, sampler.sample(["a red star"], seed=1))
        monkeypatch.setattr(
            "mmgen.training.folder.load_described", lambda *_: pytest.fail("data read")
        )
        for name in ("", "checkpoints/step-00000004"):
            picture = str(tmp_path / "a.png")
            assert main(["sample", str(out / name), "a star", "--out", picture]) == 0
        (out / "sampler.json").unlink()
        assert main(["sample", str(out), "a star", "--out", picture]) == 0

    def test_going_on_says_what_to_do_and_then_does(self, moved, capsys):
        out, now = moved
        line = fails(capsys, "train", "--resume", out, "--steps", "5")
        assert "no manifest" in line and f"--resume {out} --data-root" in line
        words = ["train", "--resume", str(out), "--steps", "5", *QUIET]
        assert main([*words, "--data-root", str(now)]) == 0
        assert Run.load(out).manifest["steps"] == 5
        # the new place is noted: it need not be said again, and evaluate finds it too
        assert main([*words[:-4], "6", *QUIET]) == 0
        about = json.loads((out / "config.json").read_text())
        assert about["dataset"]["options"]["root"] == str(now)
        assert load(out).card["data"]["options"]["root"] == str(now)
        words = ["evaluate", str(out), "--split", "train", "--count", "4"]
        assert main(words) == 0

    def test_it_is_the_same_run(self, moved, tmp_path):
        """As if nothing had moved."""
        out, now = moved
        copy = tmp_path / "copy"
        shutil.copytree(out, copy)
        quiet = {"progress": "none", "tensorboard": False}
        Run.resume(out, moved={"root": str(now)}, steps=8, **quiet)
        now.rename(tmp_path / "old")
        Run.resume(copy, steps=8, **quiet)
        a, b = (
            checkpoints.load(checkpoints.newest(folder / "checkpoints")).weights
            for folder in (out, copy)
        )
        assert all((a[key] == b[key]).all() for key in a)

    def test_other_data_is_refused(self, moved, tmp_path, capsys):
        out, _ = moved
        other = tmp_path / "other"
        pack(load_dataset("shapes", "train", 32, "zh", size=16), other, 8)
        words = ("train", "--resume", out, "--steps", "5", "--data-root", other)
        assert "language must be 'zh'" in fails(capsys, *words)
        line = fails(capsys, "train", "--resume", out, "--data-augment", "True")
        assert "unknown option '--data-augment'" in line
        with pytest.raises(CheckpointError, match=r"moved must name.*root.*got size"):
            Run.resume(out, moved={"size": "3"})

    def test_words_that_are_not_the_runs(self, moved):
        out, _ = moved
        path = out / "vocabulary.json"
        path.write_text(path.read_text().replace('"red"', '"rot"'))
        with pytest.raises(CheckpointError, match="is not the vocabulary"):
            Run.load(out)

    def test_a_model_that_it_is_built_on(self, tmp_path, capsys):
        matcher, out = tmp_path / "matcher", tmp_path / "attngan"
        small = ["--scale", "smoke", *QUIET]
        assert main(["train", "damsm", *small, "--out", str(matcher)]) == 0
        about = json.loads((matcher / "config.json").read_text())
        size = str(about["dataset"]["image_size"])
        language = about["dataset"]["language"]
        words = ["train", "attngan", *small, "--damsm", str(matcher), "--language"]
        assert main([*words, language, "--out", str(out)]) == 0, size
        now = tmp_path / "elsewhere"
        matcher.rename(now)
        line = fails(capsys, "train", "--resume", out, "--steps", "9")
        assert "config.damsm must name" in line
        go_on = ["train", "--resume", str(out), "--steps", "9", *QUIET]
        assert main([*go_on, "--damsm", str(now)]) == 0
        assert main(["train", "--resume", str(out), "--steps", "10", *QUIET]) == 0


class TestPreset:
    @pytest.fixture
    def tiny(self, monkeypatch) -> Preset:
        """Two presets of two steps each, the second begun with the first."""
        first = find("cgan", "smoke", "shapes")
        training = replace(first.training, steps=2, tensorboard=False, progress="none")
        first = replace(first, name="first", training=training)
        second = replace(first, name="second", start="first")
        monkeypatch.setattr(
            "mmgen.presets.chain",
            lambda name: (first,) if name == "first" else (first, second),
        )
        return second

    def test_a_chain_by_hand(self, tiny, tmp_path, capsys):
        words = ("train", "--preset", "second", "--out", tmp_path / "second")
        line = fails(capsys, *words)
        assert "weights of first" in line and "mmgen weights second" in line
        before = ["train", "--preset", "first", "--out", str(tmp_path / "first")]
        assert main(before) == 0
        assert main([str(word) for word in words]) == 0
        about = json.loads((tmp_path / "second" / "config.json").read_text())
        assert about["training"]["start_from"] == str(tmp_path / "first")
        assert about["task_config"] == json.loads(json.dumps(asdict(tiny.config)))

    def test_what_is_learned_is_no_option(self, tiny, capsys):
        for word in ("--steps", "--batch-size", "--width"):
            line = fails(capsys, "train", "--preset", "first", word, "3")
            assert f"unknown option '{word}'" in line


class TestBadInput:
    def test_method(self, capsys):
        assert "Did you mean cgan" in fails(capsys, "train", "cgann")
        assert "name a method" in fails(capsys, "train", "--data", "shapes")

    def test_data(self, capsys):
        assert "Did you mean shapes" in fails(
            capsys, "train", "cgan", "--data", "shape"
        )

    def test_option(self, capsys):
        line = fails(capsys, "train", "cgan", "--widht", "3")
        assert "'--widht'" in line and "Did you mean --width" in line
        assert "--data-shift" in fails(capsys, "train", "cgan", "--data-shift", "1")

    def test_value(self, capsys, tmp_path):
        line = fails(capsys, "train", "cgan", "--width", "wide")
        assert "--width" in line and "wide" in line
        assert "steps must be" in fails(capsys, "train", "cgan", "--steps", "0")
        line = fails(capsys, "train", "cgan", "--objective", "best", "--out", tmp_path)
        assert "objective" in line and "'best'" in line
        assert "scale must be" in fails(capsys, "train", "cgan", "--scale", "big")
        line = fails(capsys, "train", "cgan", "--precision", "half")
        assert "--precision" in line and "bf16-mixed" in line
        assert "--steps" in fails(capsys, "train", "cgan", "--steps")

    def test_out(self, capsys, run):
        train = ("train", "cgan", "--scale", "smoke", "--out")
        assert "already holds a run" in fails(capsys, *train, run)
        assert "cannot be written" in fails(capsys, *train, "/dev/null/run")

    def test_preset(self, capsys):
        line = fails(capsys, "train", "--preset", "cgan-emoji46")
        assert "Did you mean cgan-emoji64" in line

    def test_runs(self, capsys, run, tmp_path):
        assert "no run" in fails(capsys, "train", "--resume", tmp_path)
        assert "not damsm" in fails(capsys, "train", "damsm", "--resume", run)
        line = fails(capsys, "train", "--resume", run, "--batch-size", "2")
        assert "--batch-size" in line
        copy = tmp_path / "copy"
        shutil.copytree(run, copy)
        damaged = checkpoints.newest(copy / "checkpoints") / "weights.safetensors"
        damaged.write_bytes(b"\x80\x04K\x01.")
        assert str(damaged) in fails(capsys, "train", "--resume", copy)
