"""Every option of the commands below, with values that it cannot have.

The options are taken from the commands' own parsers, so that a new one is tried without
a word here. What is asked is little and the same for all: no traceback, one line on
stderr and exit code 2, or, where a value is fine after all, code 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmgen.cli import main
from mmgen.cli import weights as weights_command
from mmgen.cli.options import Parser
from mmgen.presets import find
from mmgen.training.loop import Loop
from tests.cli.calls import QUIET

NUMBERS = {
    int: ("x", "-1", "0", "9223372036854775807", "99999999999999999999"),
    float: ("x", "-1", "0", "1e400", "nan", "1e308"),
}
NAMES = ("", "nothing-here", "a\0b", "x" * 5000, "\udcff")
# A line that works, for each command that is walked. {…} are paths of the fixture.
LINES = {
    "train cgan": "train cgan --scale smoke --out {new} --data-size 8",
    "resume": "train --resume {run} --progress none --no-tensorboard",
    "sample": "sample {weights} star --out {new}.png",
    "evaluate": "evaluate {weights} --count 2 --data-size 4 --out {new}.json",
    "data": "data shapes --preview --count 2 --data-size 4 --out {new}.png",
    "data shards": "data shards --data-root {shards} --image-size 16",
    "info": "info",
    "export": "export {weights} --out {new}.onnx",
    "grade": "grade {submissions} --assignment cgan --out {new} --bundles {folder}",
}


@pytest.fixture
def paths(
    run: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    """What the lines name; the working folder is an empty one."""
    from mmgen.data import load_dataset
    from mmgen.data.storage.shards import pack

    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "run")
    shards = tmp_path / "shards"
    pack(load_dataset("shapes", "train", 16, size=16, objects=(1,)), shards, 8)
    places = {name: tmp_path / name for name in ("folder", "submissions")}
    for place in places.values():
        place.mkdir()
    (tmp_path / "file").write_text("nothing of use", encoding="utf-8")
    return {
        **places,
        "weights": weights,
        "run": tmp_path / "run",
        "shards": shards,
        "file": tmp_path / "file",
        "new": tmp_path / "new",
    }


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings end after a step, and "tiny" is a preset."""

    def one_step(loop: Loop) -> str:
        batches = loop.dataset.batches(
            loop.config.batch_size,
            seed=loop.config.seed,
            start_step=loop.done,
            workers=loop.config.workers,
        )
        loop.step(next(batches), loop.done)
        return "finished"

    monkeypatch.setattr(Loop, "_train", one_step)
    preset = find("vae", "smoke", "shapes")
    training = dataclasses.replace(preset.training, tensorboard=False, progress="none")
    data = {**preset.data, "size": 16}
    preset = dataclasses.replace(preset, name="tiny", training=training, data=data)
    for module in ("mmgen.presets", "mmgen.cli.weights"):
        monkeypatch.setattr(f"{module}.chain", lambda name: (preset,))
    monkeypatch.setattr(weights_command, "published", lambda: {"tiny": preset})


class _Seen(Exception):
    """The parser that a command reads its words with."""


def options_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of a command line -> their types."""

    def show(self: Any, *_: Any) -> Any:
        raise _Seen(self)

    with monkeypatch.context() as patch:
        patch.setattr(Parser, "read", show)
        patch.setattr(argparse.ArgumentParser, "parse_args", show)
        with pytest.raises(_Seen) as caught:
            main(words)
    (parser,) = caught.value.args
    if isinstance(parser, argparse.ArgumentParser):
        return {
            action.option_strings[0]: action.type or str
            for action in parser._actions
            if action.option_strings and action.dest != "help"
        }
    found = {}
    for group in parser.groups.values():
        owner = group if isinstance(group, type) else type(group)
        hints = typing.get_type_hints(owner, include_extras=False)
        for field in dataclasses.fields(owner):
            if isinstance(group, type) or field.name not in parser.fixed:
                name = field.metadata.get("option", field.name).replace("_", "-")
                found[f"--{name}"] = hints[field.name]
    return found


def values_of(kind: Any, paths: dict[str, Path], ending: str) -> list[tuple[str, ...]]:
    """Words behind an option of a type; none of them is what it should be."""
    kinds = [kind, *_within(kind)]
    tried: list[str] = []
    for number, texts in NUMBERS.items():
        if number in kinds:
            tried += texts
    if str in kinds or Path in kinds:
        tried += NAMES
        tried += [str(paths[name]) for name in ("file", "folder")]
        tried += [f"{place}{ending}" for place in ("/dev/null/x", "/sys/x")]
    if not tried:  # a Literal, or a flag
        return [("",), ("nothing-here",)]
    return [*((text,) for text in tried), ()]


def _within(kind: Any) -> Iterator[Any]:
    for part in typing.get_args(kind):
        yield part
        yield from _within(part)


def complaint(words: list[str], capsys: pytest.CaptureFixture) -> str | None:
    """What is wrong with how a command line ended; None: nothing."""
    try:
        with warnings.catch_warnings():
            # of values that are fine after all; the command line shows its own way
            warnings.simplefilter("ignore")
            code = main(words)
    except BaseException as error:
        if isinstance(error, pytest.fail.Exception | KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {error}"[:300]
    out, told = capsys.readouterr()
    lines = [line for line in told.splitlines() if line.startswith("mmgen: error: ")]
    if "Traceback" in out + told:
        return told[-300:]
    if code == 0 or (code == 1 and words[0] == "grade"):
        return None
    if code != 2 or len(lines) != 1:
        return f"code {code}, said {told!r}"
    text = lines[0].removeprefix("mmgen: error: ")
    return None if len(text) > 15 else f"says only {text!r}"


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_every_option(line, paths, monkeypatch, capsys) -> None:
    words = LINES[line].format(**paths).split()
    if words[0] == "train" and "--resume" not in words:
        words += QUIET
    fresh = {name: paths[name] for name in ("new", "folder", "submissions")}
    kept = {path: path.read_bytes() for path in _files(paths["run"])}
    failures = []
    options = options_of(words, monkeypatch)
    if line.startswith("train "):
        # Options of the loop and of the data are not a method's own.
        shared = options_of(["train", "vae", "--scale", "smoke"], monkeypatch)
        options = {k: v for k, v in options.items() if k not in shared}
    if line != "info":
        assert options
    for option, kind in options.items():
        base, ending = list(words), ""
        if option in base:
            at = base.index(option)
            ending = Path(base[at + 1]).suffix
            base[at : at + 2] = []
        for value in values_of(kind, paths, ending):
            given = [f"{option}={value[0]}"] if value and value[0] == "" else None
            said = complaint([*base, *(given or (option, *value))], capsys)
            if said:
                failures.append(f"{option} {value}: {said}")
            for place in fresh.values():
                _empty(place)
            for path in [p for p in _files(paths["run"]) if p not in kept]:
                path.unlink()
            for path, content in kept.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    assert not failures, "\n".join(failures)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _empty(place: Path) -> None:
    """A folder of the fixture as it was, and nothing where a command may write."""
    for path in place.parent.glob(f"{place.name}*"):
        shutil.rmtree(path) if path.is_dir() else os.unlink(path)
    if place.name != "new":
        place.mkdir()
