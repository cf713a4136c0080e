"""What CONTRIBUTING.md says of a new method is true: its row is all that it touches."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
TOY = ROOT / "tests" / "toy"


def row(method: str) -> set[str]:
    """Files of a method, as the table in CONTRIBUTING.md lists them."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| level | file")[2].partition("\n\n")[0]
    return {
        re.sub(r"\bX\b", method, path)
        for path in re.findall(r"`([\w/.]+\.(?:py|md|ipynb|yml))`", table)
    }


def files(folder: Path) -> set[str]:
    """Source files of a package, relative to its tree."""
    return {
        path.relative_to(folder).as_posix()
        for path in (folder / "mmgen").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with a toy method in it."""
    folder = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "mmgen", folder / "mmgen", ignore=ignored)
    shutil.copy(TOY / "model.py", folder / "mmgen" / "models" / "toy.py")
    shutil.copy(TOY / "preset.py", folder / "mmgen" / "presets" / "toy.py")
    registry = folder / "mmgen" / "registry.py"
    lines = registry.read_text(encoding="utf-8").splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.startswith("METHODS"))
    lines.insert(first + 1, '    "toy": "mmgen.models.toy:ToyTask",\n')
    registry.write_text("".join(lines), encoding="utf-8")
    return folder


def python(tree: Path, *words: str) -> str:
    """What Python prints in the copy of the tree."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def mmgen(tree: Path, *words: str) -> str:
    """What a command prints there."""
    return python(tree, "-m", "mmgen.cli", *words)


@pytest.fixture(scope="module")
def run(tree: Path) -> str:
    """The toy, trained through the command line at the smallest scale."""
    command = ["train", "toy", "--data", "shapes", "--scale", "smoke"]
    said = mmgen(tree, *command, "--data-size", "256", "--out", "runs/toy")
    assert "4 steps" in said
    return "runs/toy"


def test_only_files_of_the_row_are_touched(tree: Path) -> None:
    here, there = files(ROOT), files(tree)
    assert here <= there
    _, differing, errors = filecmp.cmpfiles(ROOT, tree, here, shallow=False)
    touched = (there - here) | set(differing) | set(errors)
    added = {"mmgen/models/toy.py", "mmgen/presets/toy.py"}
    assert touched == added | {"mmgen/registry.py"}
    assert touched <= row("toy")


def test_the_copy_is_what_runs(tree: Path) -> None:
    said = python(tree, "-c", "import mmgen; print(mmgen.__file__)")
    assert Path(said.strip()) == tree / "mmgen" / "__init__.py"


def test_the_method_is_listed(tree: Path) -> None:
    assert "toy" in mmgen(tree, "info")
    assert "--width" in mmgen(tree, "train", "toy", "--help")


@pytest.mark.slow
def test_it_samples(tree: Path, run: str) -> None:
    mmgen(tree, "sample", run, "a red circle", "a blue star", "--out", "toy.png")
    with Image.open(tree / "toy.png") as picture:
        assert picture.width >= 64 and picture.height >= 32


@pytest.mark.slow
def test_it_is_evaluated(tree: Path, run: str) -> None:
    mmgen(tree, "evaluate", run, "--count", "8", "--out", "toy.json")
    report = json.loads((tree / "toy.json").read_text(encoding="utf-8"))
    assert report["count"] == 8
    assert report["metrics"]["semantic_accuracy"]["overall"]["n"] == 8


@pytest.mark.slow
def test_it_is_exported_with_the_same_results(tree: Path, run: str) -> None:
    mmgen(tree, "export", run, "--out", "toy.onnx")
    code = """
import onnxruntime
import torch
from mmgen.pretrained import load

graph = load("runs/toy").graph()
session = onnxruntime.InferenceSession("toy.onnx")
for row in range(3):  # of captions of three lengths; the file takes one at a call
    given = {name: value[row : row + 1] for name, value in graph.inputs.items()}
    (images,) = session.run(
        list(graph.outputs), {name: value.numpy() for name, value in given.items()}
    )
    with torch.no_grad():
        (expected,) = graph.module(*given.values())
    torch.testing.assert_close(torch.from_numpy(images), expected, rtol=0, atol=1e-4)
print(tuple(images.shape))
"""
    assert python(tree, "-c", code).strip() == "(1, 3, 32, 32)"
