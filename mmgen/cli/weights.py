"""``mmgen weights NAME``: train, publish and measure weights of the book."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from mmgen.cli.evaluate import evaluate
from mmgen.cli.inputs import holds_run
from mmgen.cli.options import Parser, UsageError, asks_for_help
from mmgen.cli.train import beside, go_on
from mmgen.configs import to_json
from mmgen.data.files import write_json
from mmgen.presets import DECISIVE, Preset, chain, fit_preset, published
from mmgen.pretrained import FOLDER, available, card, load, save
from mmgen.registry import METHODS, class_path, find_class, unknown
from mmgen.training import TrainingConfig
from mmgen.training.logs import read_history

RESULTS = FOLDER.parent.parent / "results"


@dataclass(frozen=True)
class Options:
    """Which weights, and where things lie."""

    name: Positional[str]
    """of the weights"""
    out: str | None = None
    """folder of the run, beside those that it begins with; none: runs/NAME"""
    only: Literal["train", "publish", "measure"] | None = None
    """one of the three steps alone; none: all"""
    weights: str | None = None
    """folder of the weights and their card; none: the package's"""
    results: str | None = None
    """folder of the results; none: the one beside the package"""


def weights(words: list[str]) -> int:
    """Make the weights of the book again, in one command.

    A chain of trainings, each begun with the weights of the one before, goes on where
    its folders already hold runs.
    """
    parser = Parser(
        "mmgen weights",
        "Train published weights as they were trained, publish and measure them.",
        {"command": Options, "training": TrainingConfig()},
        fixed=frozenset([*DECISIVE, "out", "start_from"]),
    )
    if asks_for_help(words):
        parser.read(words)
    name = parser.read_known(words)[0]["command"].name
    if name not in published():
        raise UsageError(unknown("weights", name, published()))
    *_, preset = links = chain(name)
    groups = {"command": Options, "training": preset.training}
    chosen = dataclasses.replace(parser, groups=groups).read(words)
    given: Options = chosen["command"]
    told = {
        key: value
        for key, value in chosen["training"].items()
        if value != getattr(preset.training, key)
    }
    out, place = Path(given.out or f"runs/{name}"), Path(given.weights or FOLDER)
    if given.only in (None, "train"):
        _train(links, out, told)
    if given.only in (None, "publish"):
        _publish(preset, out, place)
    if given.only in (None, "measure"):
        _measure(preset, out, place, Path(given.results or RESULTS))
    return 0


def _train(links: Sequence[Preset], out: Path, told: dict[str, Any]) -> None:
    """Train a chain, or go on where its folders already hold runs."""
    start: Path | None = None
    for link in links:
        folder = out if link is links[-1] else beside(out, link)
        if holds_run(folder):
            print(f"{link.name}: goes on in {folder}", flush=True)
            run = go_on(folder, told)
        else:
            print(f"{link.name}: {folder}", flush=True)
            paths = {"out": str(folder), "start_from": str(start) if start else None}
            run = fit_preset(link, dataclasses.replace(link.training, **told | paths))
        if run.manifest["stopped"] == "max_minutes" and link is not links[-1]:
            raise UsageError(
                f"{folder} stopped after --max-minutes, before its last step, and "
                f"{links[-1].name} begins with it: the same command goes on."
            )
        start = folder


def _publish(preset: Preset, out: Path, place: Path) -> None:
    """Write weights and card of a run; its metrics come with ``_measure``.

    Raises:
        UsageError: no run in the folder, or one that is not the preset's.
    """
    if not holds_run(out):
        raise UsageError(f"--out {out} holds no run: train it first.")
    about = json.loads((out / "config.json").read_text(encoding="utf-8"))
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    _check_same(preset, about, out)
    known = card(preset.name, place) if preset.name in available(place) else {}
    folders = ("out", "start_from")  # of this machine alone
    fields = {
        "preset": preset.name,
        "command": f"mmgen weights {preset.name}",
        "start": preset.start,
        "data": about["dataset"],
        "task": about["task"],
        "task_config": about["task_config"],
        "training": {k: v for k, v in about["training"].items() if k not in folders},
        "steps": manifest["steps"],
        "minutes": round(manifest["seconds"] / 60, 2),
        "stopped": manifest["stopped"],
        "device": manifest["device"],
        "threads": manifest["threads"],
        "seed": manifest["seed"],
        "torch": manifest["torch"],
        # a run that went on may have gone on with other source
        "commit": " && ".join(map(str, manifest.get("commits", [manifest["commit"]]))),
        "date": manifest["updated"],
        "metrics": known.get("metrics", {}),
    }
    path = save(preset.name, load(out), fields, place)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _check_same(preset: Preset, about: dict[str, Any], out: Path) -> None:
    """Refuse a run that was told something else than its preset."""
    ours = {
        "task": class_path(find_class(METHODS[preset.method])),
        **to_json(preset.config),
        **{name: getattr(preset.training, name) for name in DECISIVE},
    }
    theirs = {"task": about["task"], **about["task_config"], **about["training"]}
    plain = json.loads(json.dumps(ours))  # tuples as in JSON
    other = [key for key, value in plain.items() if theirs.get(key) != value]
    if other:
        raise UsageError(
            f"{out} is no run of {preset.name}: "
            + "; ".join(
                f"{key} is {theirs.get(key)!r} there and {plain[key]!r} in the preset"
                for key in other[:3]
            )
            + ". Name another folder with --out."
        )


def _measure(preset: Preset, out: Path, place: Path, results: Path) -> None:
    """Measure the stored weights; put the figures on the card and into results.

    What the run itself says is kept from the results where its folder is gone.

    Raises:
        UsageError: neither a run in the folder, nor results of one.
    """
    name = preset.name
    file, kept = place / f"{name}.safetensors", results / f"{name}.json"
    if (out / "manifest.json").exists():
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        rows = read_history(out / "metrics.csv", sys.maxsize)
        of_run = {"manifest": manifest, "last_row": rows[-1] if rows else {}}
    elif kept.exists():
        before = json.loads(kept.read_text(encoding="utf-8"))
        of_run = {key: before[key] for key in ("manifest", "last_row")}
    else:
        raise UsageError(
            f"--out {out} holds no run, and {kept} does not exist: train it first."
        )
    reports: dict[str, Any] = {}
    for words in preset.measured:
        print(f"mmgen evaluate {name} {' '.join(words)}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "report.json"
            evaluate([str(file), *words, "--out", str(path)])
            reports[" ".join(words)] = json.loads(path.read_text(encoding="utf-8"))
    about = card(name, place)
    about["metrics"] = {words: report["metrics"] for words, report in reports.items()}
    write_json(file.with_suffix(".json"), about)
    del about["init_args"]  # the vocabulary is long, and stands on the card
    results.mkdir(parents=True, exist_ok=True)
    write_json(kept, {**about, "metrics": reports, **of_run})
