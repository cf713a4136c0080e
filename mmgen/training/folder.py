"""A run's folder: what describes the run there, found, read and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgen.configs import check_arguments, to_json
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.examination import Examination
from mmgen.data.files import read_object, refuse_addresses
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import Alternatives, DataInfo, Task
from mmgen.pretrained import run_of
from mmgen.registry import DATASETS, class_path, find_class
from mmgen.training import checkpoint as checkpoints
from mmgen.training.checkpoint import Checkpoint
from mmgen.training.config import TrainingConfig
from mmgen.training.errors import CheckpointError

# Options of data sets that say where one lies. The words that it must have are told
# apart by their digest, wherever they come from.
PLACES = ("root", "vocabulary")


def describe(
    task: Task, dataset: CaptionedDataset, config: TrainingConfig
) -> dict[str, Any]:
    """What makes a run again: config.json, and part of every checkpoint."""
    asked = dataset.examination
    return {
        "task": class_path(type(task)),
        "config": class_path(type(task.config)),
        "task_config": to_json(task.config),
        "dataset": describe_dataset(dataset),
        "known": {
            "max_tokens": dataset.max_tokens,
            "attributes": {k: list(v) for k, v in dataset.attributes.items()},
            "synonyms": dict(dataset.synonyms),
            **({} if asked is None else {"examination": asked.to_json()}),
        },
        "training": to_json(config),
    }


def describe_dataset(dataset: CaptionedDataset) -> dict[str, Any]:
    """What makes a data set again, and a digest of its vocabulary."""
    return {
        "name": dataset.name,
        "split": dataset.split,
        "image_size": dataset.image_size,
        "language": dataset.language,
        "options": dataset.options,
        "vocabulary": _digest(dataset.vocabulary),
    }


def _digest(vocabulary: Vocabulary) -> str:
    tokens = json.dumps(vocabulary.to_json(), ensure_ascii=False)
    return hashlib.sha256(tokens.encode()).hexdigest()[:16]


def load_described(
    about: dict[str, Any], named: Collection[str] = ()
) -> CaptionedDataset:
    """The data set that ``describe_dataset`` described.

    Args:
        about: the description.
        named: options that the user has named now; the others come from a file, and
            must not leave this machine.

    Raises:
        ValueError: no such data set, or an address that the user has not named.
    """
    from mmgen.data import load_dataset

    refuse_addresses(
        {name: value for name, value in about["options"].items() if name not in named},
        "the run's config.json",
        "If you trust it, load the data set yourself: Run.resume(folder, dataset).",
    )
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in about["options"].items()
    }
    if about["name"] in DATASETS:
        check_arguments(find_class(DATASETS[about["name"]]), options)
    return load_dataset(
        about["name"],
        split=about["split"],
        image_size=about["image_size"],
        language=about["language"],
        **options,
    )


@dataclass
class Known:
    """What a run's folder knows of its data set: enough to build networks, and draw."""

    name: str
    image_size: int
    language: str
    vocabulary: Vocabulary
    max_tokens: int
    attributes: dict[str, tuple[str, ...]]
    synonyms: Mapping[str, str]
    examination: Examination | None
    alternatives: Alternatives | None = None  # training alone asks for them


def known_data(folder: Path, about: dict[str, Any]) -> DataInfo | None:
    """What a run was built for, by its folder alone; None where an older version wrote.

    Args:
        folder: of the run.
        about: its config.json.

    Raises:
        ValueError, OSError: a vocabulary that is missing, damaged or not the run's.
    """
    if "known" not in about:
        return None
    path, data, known = folder / "vocabulary.json", about["dataset"], about["known"]
    vocabulary = Vocabulary.load(path)
    if _digest(vocabulary) != data["vocabulary"]:
        raise ValueError(f"{path} is not the vocabulary that the run was trained with.")
    return Known(
        data["name"],
        data["image_size"],
        data["language"],
        vocabulary,
        known["max_tokens"],
        {name: tuple(values) for name, values in known["attributes"].items()},
        known["synonyms"],
        Examination.from_json(known["examination"]) if "examination" in known else None,
    )


def run_folder(path: Path) -> Path:
    """The run's folder, of itself or of one checkpoint in it.

    Raises:
        CheckpointError: no run there.
    """
    folder = run_of(path)
    if not (folder / "config.json").exists():
        raise CheckpointError(f"{folder} holds no run: there is no config.json in it.")
    return folder


def last_checkpoint(path: Path) -> Path:
    """The newest checkpoint of a run's folder, or the one that ``path`` names.

    Raises:
        CheckpointError: no run there, or none that has a checkpoint.
    """
    folder = run_folder(path)
    newest = checkpoints.newest(folder / "checkpoints") if folder == path else path
    if newest is None:
        raise CheckpointError(
            f"{folder} holds no checkpoint yet. Remove the folder and start again."
        )
    return newest


def load_start(path: Path, dataset: CaptionedDataset) -> Checkpoint:
    """What a new run begins with: another run's weights, for the same words.

    Raises:
        CheckpointError: no run there, or one of another vocabulary.
    """
    saved = checkpoints.load(last_checkpoint(path))
    here = describe_dataset(dataset)["vocabulary"]
    there = saved.about.get("dataset", {}).get("vocabulary")
    if there != here:
        raise CheckpointError(
            f"start_from={str(path)!r} knows other words than this data set: its "
            f"vocabulary is {there}, this one {here}. A word's vector would stand for "
            f"another word."
        )
    return saved


def check_same(
    about: dict[str, Any],
    saved: Checkpoint,
    dataset: CaptionedDataset | None,
    path: Path,
    places: Collection[str],
) -> None:
    """Refuse a checkpoint of another config or another data set.

    Args:
        about: the run's config.json.
        saved: a checkpoint of the run.
        dataset: what the run is to go on with, if it goes on.
        path: of the checkpoint.
        places: fields of the task's config that say where trained models lie; as with
            ``PLACES``, what lies there may have moved.

    Raises:
        CheckpointError: they differ; the message says in what.
    """
    for key in ("task", "task_config", "dataset"):
        there, here = saved.about.get(key), about[key]
        if _unplaced(there, places) != _unplaced(here, places):
            raise CheckpointError(
                f"{path} is of another config than the run: {_difference(there, here)}."
            )
    if dataset is None:
        return
    described = json.loads(json.dumps(describe_dataset(dataset)))  # tuples as in JSON
    if _unplaced(described, ()) != _unplaced(about["dataset"], ()):
        raise CheckpointError(
            f"the data set is not the one that {path} was trained on: "
            f"{_difference(about['dataset'], described)}."
        )


def _unplaced(described: Any, places: Collection[str]) -> Any:
    """The description of a config or a data set without where things lie."""
    if not isinstance(described, dict):
        return described
    kept = {name: value for name, value in described.items() if name not in places}
    options = kept.get("options")
    if isinstance(options, dict):
        kept["options"] = {k: v for k, v in options.items() if k not in PLACES}
    return kept


def _difference(there: Any, here: Any) -> str:
    if not isinstance(there, dict) or not isinstance(here, dict):
        return f"{there!r} there, {here!r} here"
    changed = [k for k in {**there, **here} if there.get(k) != here.get(k)]
    return "; ".join(
        f"{key} is {there.get(key)!r} there and {here.get(key)!r} here"
        for key in changed[:3]
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run's folder; empty where there is no such file.

    Raises:
        CheckpointError: a file that holds something else.
    """
    try:
        return read_object(path)
    except OSError:
        return {}
    except ValueError as error:
        raise CheckpointError(str(error)) from error
