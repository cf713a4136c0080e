"""``mmgen evaluate NAME|RUN --data NAME --split SPLIT``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional, UseAppendAction

from mmgen.cli.inputs import (
    chosen_options,
    device_of,
    sampler_of,
    trained_on,
    writable,
)
from mmgen.cli.options import Parser, UsageError, asks_for_help, data_options
from mmgen.data.files import write_json


@dataclass(frozen=True)
class Options:
    """What is measured."""

    model: Positional[str]
    """weights (mmgen info lists them), or the folder of a run"""
    data: str | None = None
    """data set; none: the one it was trained on"""
    split: str = "test"
    """of the data set"""
    count: int = 2000
    """captions"""
    seed: int = 0
    """of the noise"""
    scorer: str | None = None
    """weights that R-precision is measured with; none: those of the data set"""
    option: UseAppendAction[tuple[str, ...]] = ()
    """a number that the model draws with; again for each"""
    device: str | None = None
    """cpu, cuda or mps; none: what there is"""
    out: str | None = None
    """JSON to write; none: it is printed only"""


PARSER = Parser(
    "mmgen evaluate",
    "Measure weights or a run on captions of a split; data options as in train.",
    {"command": Options},
)


def evaluate(words: list[str]) -> int:
    """Measure a model, print a table, and write JSON where it is asked for."""
    if asks_for_help(words):
        PARSER.read(words)
    given: Options = PARSER.read_known(words)[0]["command"]
    out = writable(given.out, ".json") if given.out else None
    device = device_of(given.device)
    sampler, before = sampler_of(given.model, device), trained_on(given.model)
    name = given.data or before["name"]
    if name != before["name"]:
        before = {"image_size": before["image_size"]}
    before.pop("size", None)  # the split has its own
    chosen = PARSER.and_data(data_options(name, before, ("split",))).read(words)
    options = chosen_options(given.model, sampler, given.option)

    from mmgen.data import load_dataset
    from mmgen.data.files import refuse_addresses
    from mmgen.evaluation import measure

    typed = {word.partition("=")[0].replace("_", "-") for word in words}
    stored = {
        key: value
        for key, value in before.items()
        if f"--data-{key}".replace("_", "-") not in typed
    }
    refuse_addresses(stored, given.model, "Name it yourself: --data-root ADDRESS.")

    dataset = load_dataset(name, split=given.split, **vars(chosen["data"]))
    count = min(given.count, len(dataset))
    if count < 1:
        raise UsageError(f"--count must be at least 1; got {given.count}.")
    metrics = measure(
        sampler, dataset, count, given.seed, device, given.scorer, options
    )
    if not metrics:
        warnings.warn(
            f"no measure applies to {given.model} on {name}: what it draws cannot be "
            f"decided there, and it neither matches nor reads labels.",
            stacklevel=1,
        )
    report = {
        "model": Path(given.model).stem,  # a name; a path would tell of the machine
        "data": {
            "name": name,
            "split": given.split,
            "image_size": dataset.image_size,
            "language": dataset.language,
            "options": dataset.options,
        },
        "count": count,
        "seed": given.seed,
        "options": options,
        "metrics": metrics,
    }
    print(_table(report))
    if out:
        write_json(out, report)
    return 0


def _table(report: dict[str, Any]) -> str:
    """The proportions of a report, with their intervals, as lines."""
    data = report["data"]
    lines = [
        f"{report['model']} on {data['name']} ({data['split']}), "
        f"{report['count']} captions, seed {report['seed']}"
    ]
    rows = list(_leaves(report["metrics"]))
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([*lines, *(f"  {name:{width}}  {text}" for name, text in rows)])


def _leaves(data: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        name = f"{above}{key}".replace("_", " ")
        if isinstance(value, dict) and {"value", "low", "high"} <= set(value):
            text = f"{value['value']:.3f}  [{value['low']:.3f}, {value['high']:.3f}]"
            yield name, text + (f"  n = {value['n']}" if "n" in value else "")
        elif isinstance(value, dict):
            yield from _leaves(value, f"{name}: ")
        elif isinstance(value, float):
            yield name, f"{value:.4g}"
        elif isinstance(value, int | str):
            yield name, str(value)
