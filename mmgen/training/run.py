"""Runs: `fit` begins one, `Run.resume` goes on with it, `Run.load` reads it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmgen import pretrained
from mmgen.configs import from_json
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.files import write_json
from mmgen.interfaces import NOTHING, DataInfo, Task
from mmgen.layers.validation import at_most
from mmgen.registry import stored_class
from mmgen.training import checkpoint as checkpoints
from mmgen.training.average import Average
from mmgen.training.checkpoint import Checkpoint
from mmgen.training.config import TrainingConfig
from mmgen.training.devices import main_process
from mmgen.training.errors import CheckpointError
from mmgen.training.folder import (
    PLACES,
    check_same,
    known_data,
    last_checkpoint,
    load_described,
    read_json,
    run_folder,
)
from mmgen.training.logs import Row, read_history
from mmgen.training.loop import Loop

MOST = 10_000  # tensors of parameters of a task; the largest preset has hundreds
# What may change when a run is resumed: how long it runs, where, and what is written
# down on the way, but nothing that decides what is learned. The one exception mends a
# run: a clip holds back the burst of gradients that threw it off.
CHANGEABLE = frozenset(
    [
        *("steps", "max_minutes", "accelerator", "devices", "strategy", "workers"),
        *("compile", "deterministic", "checkpoint_every", "log_every", "sample_every"),
        *("tensorboard", "progress", "gradient_clip"),
    ]
)


@dataclass
class Run:
    """A finished, stopped or loaded training run."""

    folder: Path | None  # None: nothing was written
    task: Task  # networks as the last step left them
    history: list[Row]  # the rows of metrics.csv
    manifest: dict[str, Any]  # versions, device, seed, wall time: manifest.json
    averages: dict[str, nn.Module] = field(repr=False)  # those of task.averaged

    def sampler(self) -> Any:
        """The task's sampler over copies of the averaged networks, in eval mode."""
        networks = copy.deepcopy({**self.task.networks, **self.averages})
        return self.task.sampler(networks).eval().requires_grad_(False)

    @classmethod
    def load(cls, path: str | Path, dataset: CaptionedDataset | None = None) -> Run:
        """The last checkpoint of a run's folder, not trained any further.

        The data set is not read: what the networks are built for stands in the folder.

        Args:
            path: the folder, or one checkpoint in it.
            dataset: needed only where an older version wrote the run, and
                ``load_dataset`` does not know its data set.

        Raises:
            CheckpointError: no run there, or one that is damaged or of another config.
        """
        opened = _open(path, dataset, trains=False)
        networks = dict(opened.task.networks)
        averaged = {name: networks[name] for name in opened.task.averaged}
        average = Average(averaged, opened.config.ema_decay)
        checkpoints.restore(networks, opened.saved.weights)
        checkpoints.restore(average.networks, opened.saved.average)
        history = read_history(opened.folder / "metrics.csv", opened.saved.step)
        manifest = read_json(opened.folder / "manifest.json")
        return cls(opened.folder, opened.task, history, manifest, average.networks)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        dataset: CaptionedDataset | None = None,
        moved: Mapping[str, str] = NOTHING,
        **changes: Any,
    ) -> Run:
        """Go on with a run exactly where its last checkpoint stands.

        Args:
            path: the run's folder, or one checkpoint in it.
            dataset: needed only for a data set that ``load_dataset`` does not know.
            moved: where things lie that the run was told another place of: the data
                set (``root``, ``vocabulary``), or models that the task requires (the
                field of its config, such as ``damsm``). It is noted in config.json.
            changes: fields of TrainingConfig that decide how long and where to train
                (``steps``, ``max_minutes``, ``devices`` …), not what is learned.

        Raises:
            CheckpointError: no run there, or one that is damaged or of another config.
            ValueError: a change that would make it another run.
        """
        opened = _open(path, dataset, moved=moved, changes=changes)
        assert opened.dataset is not None  # read, since the run trains
        return _train(Loop(opened.task, opened.dataset, opened.config, opened.saved))


def fit(task: Task, dataset: CaptionedDataset, config: TrainingConfig) -> Run:
    """Train a task on a data set.

    Args:
        task: new networks, from ``build``.
        dataset: its pictures and captions.
        config: how long, on what, and where to write the run.

    Returns:
        The run; its ``manifest["stopped"]`` is "finished" or "max_minutes".

    Raises:
        ValueError: a config that data set or machine cannot serve, or a folder that
            already holds a run.
        NonFiniteError: a loss or a weight became NaN or infinite.
        CheckpointError: a checkpoint could not be written.
        KeyboardInterrupt: Ctrl-C (or SIGTERM); the step was finished and saved before.
    """
    folder = Path(config.out) if config.out else None
    if folder is not None and (folder / "config.json").exists() and main_process():
        raise ValueError(
            f"out={str(folder)!r} already holds a run. Resume it, or name another "
            f"folder."
        )
    return _train(Loop(task, dataset, config))


def build(task_class: type[Task], config: Any, data: DataInfo) -> Task:
    """A task with new networks, on top of the trained models that it requires.

    Args:
        task_class: of a method.
        config: the method's, which names those models.
        data: what the task is built for.

    Raises:
        ValueError: a model that does not exist, what the method cannot be built for,
            or values of which no network can be made; the message names the fields.
        WeightsError: a model that cannot be read.
    """
    frozen = {
        part: _load_required(task_class, config, part, name)
        for part, name in task_class.requires(config).items()
    }
    too_many = MemoryError(f"it would have more than {MOST:,} tensors of parameters")
    try:
        with at_most(MOST, too_many):
            return task_class.build(config, data, frozen)
    # What torch and Python say of sizes below 1, or beyond memory and 64 bits.
    except (RuntimeError, TypeError, ArithmeticError, MemoryError) as error:
        values = ", ".join(
            f"{field.name}={getattr(config, field.name)!r}"
            for field in dataclasses.fields(config)
            if getattr(config, field.name) != field.default
        )
        raise ValueError(
            f"no network can be made of {type(config).__name__}({values}): {error}."
        ) from error


def _load_required(task_class: type[Task], config: Any, part: str, name: str) -> Any:
    """A trained model that a config names, frozen and in eval mode."""
    try:
        return pretrained.load(name)
    except ValueError as error:
        # The field that gave the name; requires() says only what it is needed for.
        fields = [
            f"config.{field.name}"
            for field in dataclasses.fields(config)
            if getattr(config, field.name) == name
        ]
        where = " or ".join(fields) or f"{task_class.__name__}.requires(config)"
        raise ValueError(
            f"{where} must name the trained model that {task_class.__name__} needs as "
            f"its {part}: weights of the package or the folder of a run; {error} "
            f"Train one first (mmgen train METHOD --out runs/{part}) and name its "
            f"folder."
        ) from error


def _train(loop: Loop) -> Run:
    loop.run()
    return Run(
        loop.folder, loop.task, loop.history, loop.manifest, loop.average.networks
    )


@dataclass
class _Opened:
    """Everything that a run's folder describes, made again."""

    folder: Path
    config: TrainingConfig
    task: Task  # new networks: the weights are in ``saved``
    dataset: CaptionedDataset | None  # None: only what the folder knows of it
    saved: Checkpoint


def _open(
    path: str | Path,
    dataset: CaptionedDataset | None,
    *,
    trains: bool = True,
    moved: Mapping[str, str] = NOTHING,
    changes: Mapping[str, Any] = NOTHING,
) -> _Opened:
    folder, newest = run_folder(Path(path)), last_checkpoint(Path(path))
    about = read_json(folder / "config.json")
    saved = checkpoints.load(newest)
    try:
        config = from_json(TrainingConfig, about["training"])
        task_class = stored_class(about["task"], "build", "training_step")
        config_class = stored_class(about["config"], "TRAINING")
        places = required_fields(
            task_class, from_json(config_class, about["task_config"])
        )
        about = _moved(about, places, moved)
        task_config = from_json(config_class, about["task_config"])
        known = None if dataset or trains else known_data(folder, about)
        if dataset is None and known is None:
            dataset = _described_data(about["dataset"], folder, moved)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} does not describe a run: {_named(error)}"
        ) from error
    check_same(about, saved, dataset, newest, places)
    config = _changed(config, changes)
    if folder != Path(config.out or ""):
        config = replace(config, out=str(folder))  # the folder was moved
    torch.manual_seed(config.seed)
    data = dataset or known
    assert data is not None
    task = build(task_class, task_config, data)
    if moved and main_process():
        write_json(folder / "config.json", about)
    return _Opened(folder, config, task, dataset, saved)


def _named(error: Exception) -> str:
    """An error as a clause; a KeyError is only the name of what is missing."""
    if isinstance(error, KeyError):
        return f"it has no {error}."
    return str(error) or type(error).__name__


def required_fields(task_class: type[Task], config: Any) -> tuple[str, ...]:
    """Fields of a method's config that name the trained models it is built on."""
    needed = set(task_class.requires(config).values())
    return tuple(
        field.name
        for field in dataclasses.fields(config)
        if isinstance(value := getattr(config, field.name), str) and value in needed
    )


def _moved(
    about: dict[str, Any], places: tuple[str, ...], moved: Mapping[str, str]
) -> dict[str, Any]:
    """A run's config.json with new places for what has moved.

    Raises:
        ValueError: a name that stands for no place of this run.
    """
    data, task_config = about["dataset"], about["task_config"]
    options = data["options"]
    known = [*(name for name in PLACES if name in options), *places]
    foreign = sorted(set(moved) - set(known))
    if foreign:
        raise ValueError(
            f"moved must name what this run was told the place of: "
            f"{', '.join(known) or 'nothing'}; got {', '.join(foreign)}."
        )
    places_of_data = {k: str(v) for k, v in moved.items() if k in options}
    models = {k: str(v) for k, v in moved.items() if k in places}
    return {
        **about,
        "dataset": {**data, "options": {**options, **places_of_data}},
        "task_config": {**task_config, **models},
    }


def _described_data(
    about: dict[str, Any], folder: Path, moved: Mapping[str, str]
) -> CaptionedDataset:
    """The data set of a run that goes on.

    Raises:
        CheckpointError: it is not where it was.
    """
    try:
        return load_described(about, moved)
    except OSError as error:
        raise CheckpointError(
            f"the data that {folder} was trained on cannot be read: {error} If it has "
            f"moved, say where to: mmgen train --resume {folder} --data-root FOLDER, "
            f"or Run.resume({str(folder)!r}, moved={{'root': FOLDER}})."
        ) from error


def _changed(config: TrainingConfig, changes: Mapping[str, Any]) -> TrainingConfig:
    fixed = sorted(set(changes) - CHANGEABLE)
    if fixed:
        raise ValueError(
            f"{', '.join(fixed)} cannot change when a run is resumed, only "
            f"{', '.join(sorted(CHANGEABLE))}."
        )
    steps = changes.get("steps", config.steps)
    if steps != config.steps and config.schedule == "cosine":
        raise ValueError(
            f"steps must stay {config.steps}: with schedule='cosine' the learning rate "
            f"of every step depends on it; got {steps}."
        )
    if "max_minutes" not in changes:
        changes = {**changes, "max_minutes": None}  # it belonged to the last call
    return replace(config, **changes)
