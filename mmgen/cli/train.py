"""``mmgen train METHOD --data NAME …``, ``--preset NAME`` or ``--resume RUN``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgen.cli.inputs import holds_run, trained_on
from mmgen.cli.options import Parser, UsageError, asks_for_help, data_options
from mmgen.interfaces import NOTHING
from mmgen.registry import METHODS, class_path, find_class, stored_class, unknown

if TYPE_CHECKING:
    from mmgen.presets import Preset
    from mmgen.training import Run, TrainingConfig

# What --help lists of TrainingConfig; how many fields of a method's config, and how
# long their names may be before tyro breaks every line in two. So the help fits a
# screen, and --help-all lists the others too.
COMMON = frozenset(["steps", "batch_size", "seed", "precision", "max_minutes", "out"])
MOST = 8
LONGEST = 20


@dataclass(frozen=True)
class Which:
    """Which training it is."""

    data: str = "shapes"
    """data set"""
    scale: str | None = None
    """smoke, laptop or full; none: MMGEN_SCALE, or else what the machine has"""
    preset: str | None = None
    """train exactly as these weights of the book were trained"""
    resume: str | None = None
    """go on with the run in this folder"""


def train(words: list[str]) -> int:
    """Train a method, or go on with a run."""
    method = words.pop(0) if words and not words[0].startswith("-") else None
    if method is not None and method not in METHODS:
        raise UsageError(unknown("method", method, METHODS))
    text = (
        f"METHOD is one of {', '.join(METHODS)}; mmgen train METHOD --help lists the "
        f"options of a method."
    )
    parser = Parser("mmgen train [METHOD]", text, {"command": Which})
    found, rest = parser.read_known(words)
    which: Which = found["command"]
    if which.resume:
        return _resume(which.resume, method, rest)
    if which.preset:
        return _preset(which.preset, rest)
    if method is None:
        if asks_for_help(words):
            parser.read(words)
        raise UsageError(f"name a method: {', '.join(METHODS)}.")
    return _method(method, which, rest)


def _method(method: str, which: Which, words: list[str]) -> int:
    """Train with the defaults of a scale, but for what the words change."""
    from mmgen.presets import find, fit_preset
    from mmgen.training import scale

    size = scale(which.scale)
    preset = find(method, size, which.data)
    out = preset.training.out or f"runs/{method}-{which.data}"
    training = dataclasses.replace(preset.training, out=out)
    fields = [field.name for field in dataclasses.fields(preset.config)]
    # One option decides for both: the method's, where it has such a field.
    shared = [name for name in ("image_size", "language") if name in fields]
    listed = [name for name in fields if len(name) <= LONGEST]
    rare = {field.name for field in dataclasses.fields(training)} - COMMON
    parser = Parser(
        f"mmgen train {method}",
        f"Defaults are those of --data {which.data} --scale {size}.",
        {
            "data": data_options(which.data, preset.data, ("split", *shared)),
            "method": preset.config,
            "training": training,
        },
        rare=frozenset(rare | set(fields) - {*listed[:MOST], *shared}),
    )
    chosen = parser.read(words)
    data = preset.data | vars(chosen["data"]) | {n: chosen["method"][n] for n in shared}
    changed = dataclasses.replace(
        preset,
        data=data,
        config=dataclasses.replace(preset.config, **chosen["method"]),
    )
    _report(fit_preset(changed, dataclasses.replace(training, **chosen["training"])))
    return 0


def _preset(name: str, words: list[str]) -> int:
    """Train the last link of a chain; the words say where, and nothing else."""
    from mmgen.presets import DECISIVE, chain, fit_preset

    *before, preset = chain(name)
    training = dataclasses.replace(preset.training, out=f"runs/{name}")
    parser = Parser(
        "mmgen train --preset",
        f"Train {preset.method} as {name} was trained.",
        {"training": training},
        fixed=frozenset([*DECISIVE, "start_from"]),
    )
    chosen = parser.read(words)
    training = dataclasses.replace(training, **chosen["training"])
    if before:
        start = beside(Path(str(training.out)), before[-1])
        if not holds_run(start):
            raise UsageError(
                f"{name} begins with the weights of {before[-1].name}, and {start} "
                f"holds no run: train it there first (mmgen train --preset "
                f"{before[-1].name} --out {start}), or run mmgen weights {name}."
            )
        training = dataclasses.replace(training, start_from=str(start))
    _report(fit_preset(preset, training))
    return 0


def _resume(folder: str, method: str | None, words: list[str]) -> int:
    from mmgen.configs import from_json
    from mmgen.training.folder import PLACES
    from mmgen.training.run import CHANGEABLE, required_fields

    about, before = _told(folder)
    task = about["task"]
    ours = class_path(find_class(METHODS[method])) if method else task
    if ours != task:
        raise UsageError(f"--resume {folder}: this run trains {task}, not {method}.")
    config_class = stored_class(about["config"], "TRAINING")
    task_config = from_json(config_class, about["task_config"])
    task_class = stored_class(task, "build", "requires")
    models = required_fields(task_class, task_config)
    data = trained_on(folder)
    places = [name for name in PLACES if data.get(name) is not None]
    training = {field.name for field in dataclasses.fields(before)}
    others = {field.name for field in dataclasses.fields(task_config)} - {*models}
    groups: dict[str, Any] = {}
    if places:
        groups["data"] = data_options(data["name"], data, only=places)
    groups["training"] = before
    if models:
        groups["method"] = task_config
    parser = Parser(
        "mmgen train --resume",
        "Go on with a run. What is learned stays; where things lie may change.",
        groups,
        fixed=frozenset((training | others) - CHANGEABLE),
    )
    chosen = parser.read(words)
    wanted = {k: str(getattr(chosen["data"], k)) for k in places}
    wanted |= {k: chosen["method"][k] for k in models}
    told = {**about["task_config"], **data}
    moved = {k: v for k, v in wanted.items() if v != told[k]}
    _report(go_on(folder, chosen["training"], moved))
    return 0


def go_on(
    folder: str | Path, wanted: dict[str, Any], moved: Mapping[str, Any] = NOTHING
) -> Run:
    """Resume a run, with what differs from what it was told before.

    A limit of time holds for one call: the run's own is forgotten.

    Args:
        folder: the run's.
        wanted: fields of TrainingConfig, of which those count that may change.
        moved: where its data and the models that it is built on lie.
    """
    from mmgen.training import Run
    from mmgen.training.run import CHANGEABLE

    _, before = _told(folder)
    changes = {
        key: value
        for key, value in wanted.items()
        if key in CHANGEABLE and value != getattr(before, key)
    }
    return Run.resume(folder, moved=moved, **changes)


def beside(out: Path, preset: Preset) -> Path:
    """The folder of a preset that another, in ``out``, begins with."""
    return out.with_name(preset.name)


def _told(folder: str | Path) -> tuple[dict[str, Any], TrainingConfig]:
    """What a run's folder says of it, and what it was told, but for its limit of time.

    Args:
        folder: the run's, or one checkpoint in it.
    """
    from mmgen.configs import from_json
    from mmgen.training import TrainingConfig

    path = Path(folder)
    try:
        from mmgen.data.files import read_object
        from mmgen.pretrained import run_of

        about = read_object(run_of(path) / "config.json")
        before = from_json(TrainingConfig, about["training"])
        for key in ("task", "config", "task_config", "dataset"):
            about[key]
        return about, dataclasses.replace(before, max_minutes=None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"--resume {folder}: no run can be read there ({error})."
        ) from error


def _report(run: Run) -> None:
    from mmgen.interfaces import Describes, Draws
    from mmgen.training.devices import main_process

    if not run.history or not run.folder or not main_process():
        return  # every process of a run comes here; the first speaks for all
    row, steps = run.history[-1], run.manifest["steps"]
    losses = ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k.endswith("loss"))
    print(
        f"{run.folder}: {steps} steps in {run.manifest['seconds']:.0f} s "
        f"({run.manifest['stopped'].replace('_', ' ')}); {losses}"
    )
    sampler = run.sampler()
    if isinstance(sampler, Draws):
        print(f'next: mmgen sample {run.folder} "…" --out picture.png')
    elif isinstance(sampler, Describes):
        print(f"next: mmgen describe {run.folder} picture.png")
    else:
        print(f"next: mmgen evaluate {run.folder}")
