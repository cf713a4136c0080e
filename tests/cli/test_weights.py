"""``mmgen weights``: one command trains a chain, publishes and measures it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mmgen.cli import main
from mmgen.cli import weights as command
from mmgen.presets import Preset, find
from mmgen.pretrained import card, load
from tests.cli.calls import fails

MEASURED = (
    ("--split", "test", "--count", "8"),
    ("--split", "validation", "--count", "9"),
)


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch) -> Preset:
    """A published preset of two steps, begun with another of two."""
    first = find("cgan", "smoke", "shapes")
    training = replace(first.training, steps=2, tensorboard=False, progress="none")
    first = replace(first, name="tiny-first", training=training)
    last = replace(first, name="tiny", start="tiny-first", measured=MEASURED)
    monkeypatch.setattr(command, "published", lambda: {"tiny": last})
    monkeypatch.setattr(command, "chain", lambda name: (first, last))
    return last


def call(folder: Path, *words: str) -> int:
    """``mmgen weights tiny`` with everything in a folder."""
    places = {"out": "runs/tiny", "weights": "weights", "results": "results"}
    given = [word for k, v in places.items() for word in (f"--{k}", str(folder / v))]
    return main(["weights", "tiny", *given, *words])


@pytest.fixture
def made(preset: Preset, tmp_path: Path) -> Path:
    assert call(tmp_path) == 0
    return tmp_path


def test_from_the_first_step_to_the_results(made: Path, preset: Preset) -> None:
    runs = [made / "runs" / name for name in ("tiny-first", "tiny")]
    first, last = (json.loads((run / "manifest.json").read_text()) for run in runs)
    assert first["steps"] == last["steps"] == 2
    assert first["started_from"] is None and last["started_from"]["step"] == 2
    about = card("tiny", made / "weights")
    assert about == load("tiny", folder=made / "weights").card
    assert about["preset"] == about["name"] == "tiny"
    assert about["start"] == "tiny-first"
    assert about["command"] == "mmgen weights tiny"
    assert about["data"]["name"] == "shapes" and about["steps"] == 2
    assert about["task_config"]["width"] == preset.config.width
    assert about["training"]["batch_size"] == preset.training.batch_size
    assert not {"out", "start_from"} & set(about["training"])
    assert str(made) not in json.dumps(about)
    results = json.loads((made / "results" / "tiny.json").read_text())
    assert list(results["metrics"]) == [" ".join(words) for words in MEASURED]
    for words, report in results["metrics"].items():
        assert about["metrics"][words] == report["metrics"]
        assert report["model"] == "tiny"
    assert [report["count"] for report in results["metrics"].values()] == [8, 9]
    assert results["manifest"] == last and results["last_row"]["step"] == 2
    assert "init_args" not in results


def test_it_goes_on_with_what_is_there(made: Path, capsys) -> None:
    shutil.rmtree(made / "runs" / "tiny")
    assert call(made, "--only", "train") == 0
    text = capsys.readouterr().out
    assert f"tiny-first: goes on in {made / 'runs' / 'tiny-first'}" in text
    manifest = json.loads((made / "runs" / "tiny-first" / "manifest.json").read_text())
    assert manifest["steps"] == 2


def test_measuring_without_the_run_keeps_what_it_said(made: Path) -> None:
    path = made / "results" / "tiny.json"
    before = json.loads(path.read_text())
    shutil.rmtree(made / "runs")
    changed = {**before, "metrics": {}}
    path.write_text(json.dumps(changed))
    assert call(made, "--only", "measure") == 0
    assert json.loads(path.read_text()) == before
    path.unlink()
    assert call(made, "--only", "measure") == 2


def test_refusals(preset: Preset, made: Path, monkeypatch, capsys) -> None:
    assert "Did you mean tiny" in fails(capsys, "weights", "tinny")
    line = fails(capsys, "weights", "tiny", "--steps", "3")
    assert "unknown option '--steps'" in line
    empty = made / "empty"
    line = fails(capsys, "weights", "tiny", "--only", "publish", "--out", empty)
    assert "holds no run" in line
    other = replace(preset, config=replace(preset.config, width=6))
    monkeypatch.setattr(command, "chain", lambda name: (other,))
    words = ("--only", "publish", "--out", made / "runs" / "tiny")
    line = fails(capsys, "weights", "tiny", *words, "--weights", made / "weights")
    assert "width is 4 there and 6 in the preset" in line
