"""What commands are given: models, their data sets, and paths to write to."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmgen.cli.options import UsageError
from mmgen.configs import check_arguments
from mmgen.registry import DATASETS, find_class, unknown


def device_of(given: str | None) -> str:
    """The device that was asked for, or what there is.

    Raises:
        UsageError: a device that torch does not have here.
    """
    import torch

    if given is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, number = given.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (colon and not number.isdecimal()):
        raise UsageError(
            f"--device must be cpu, cuda (or cuda:1 and so on) or mps; got {given!r}."
        )
    counts = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if not counts[kind]:
        raise UsageError(
            f"--device {given}: torch finds no {kind.upper()} device here. Leave the "
            f"option out, or say cpu."
        )
    if int(number or 0) >= counts[kind]:
        raise UsageError(
            f"--device {given}: there is no such device; the last is "
            f"{kind}:{counts[kind] - 1}."
        )
    return given


def sampler_of(model: str, device: str) -> Any:
    """The sampler of a run, of one of its checkpoints, or of weights.

    Args:
        model: a run's folder, a checkpoint's, a file of weights, or the name of those
            that come with the package.
        device: from ``device_of``.

    Raises:
        UsageError: no such model.
    """
    from mmgen.pretrained import OF_RUN, available, load, run_of

    path = Path(model)
    if model and path.is_dir():
        whole = all(
            (path / f"{OF_RUN}.{ending}").exists() for ending in ("json", "safetensors")
        )
        if not whole and holds_run(run_of(path)):
            from mmgen.training import Run

            return Run.load(path).sampler().to(device)
        return load(path, device)
    name, folder = _weights(model)
    if name not in available(folder):
        text = unknown("model", model, available(folder))
        raise UsageError(f"{text} The folder of a run can be named too.")
    return load(name, device, folder)


def chosen_options(model: str, sampler: Any, given: Sequence[str]) -> dict[str, Any]:
    """What a model is to draw with, from words such as ``guidance=2``.

    Args:
        model: its name, for messages.
        sampler: which names its options.
        given: a NAME=NUMBER each.

    Raises:
        UsageError: no such option, one that is given twice, or no number.
    """
    from mmgen.sampling import Sampler

    known = sampler.options() if isinstance(sampler, Sampler) else {}
    chosen: dict[str, Any] = {}
    for word in given:
        name, equals, text = word.partition("=")
        name = name.replace("-", "_")
        if not known:
            raise UsageError(f"--option {word!r:.80}: {model} draws without options.")
        if not equals:
            raise UsageError(
                f"--option must be NAME=NUMBER, with one of {', '.join(known)}; got "
                f"{word!r:.80}."
            )
        if name not in known:
            raise UsageError(f"--option: {unknown('option', name[:80], known)}")
        if name in chosen:
            raise UsageError(f"--option {name} is given twice; say it once.")
        try:
            chosen[name] = known[name](text)
        except ValueError as error:
            kind = "a whole number" if known[name] is int else "a number"
            raise UsageError(
                f"--option {name} must be {kind}; got {text!r:.80}."
            ) from error
    return chosen


def check_copies(copies: int, of_each: int, most: int, what: str) -> None:
    """Refuse a number of copies that is too small, or makes too much.

    Args:
        copies: that were asked for, of each thing that was named.
        of_each: how many were named.
        most: that one call makes.
        what: these are, for the message.

    Raises:
        UsageError: the number.
    """
    limit = most // of_each
    if not 1 <= copies <= limit:
        raise UsageError(
            f"--copies must lie in 1..{limit}, for at most {most:,} {what}; got "
            f"{copies}."
        )


def trained_on(model: str) -> dict[str, Any]:
    """Arguments of ``load_dataset`` for what a run or weights were trained on.

    Raises:
        UsageError: what the run or the card says of it cannot be read.
    """
    from mmgen.data.files import read_object
    from mmgen.pretrained import card, run_of

    path = Path(model)
    if path.is_dir():
        where = run_of(path) / "config.json"
        about = read_object(where)
        data = about.get("dataset")
    else:
        name, folder = _weights(model)
        where, about = Path(f"{name}.json"), card(name, folder)
        data = about.get("data")
    # runs, and cards of older weights, keep what is special to a data set in "options"
    if (
        not isinstance(data, dict)
        or not {"name", "image_size"} <= set(data)
        or not isinstance(data["name"], str)
        or not isinstance(data.get("options", {}), dict)
    ):
        raise UsageError(
            f"{where} does not say which data {model} was trained on. Make it again "
            f"with the version that wrote it."
        )
    shared = {k: v for k, v in data.items() if k not in ("options", "vocabulary")}
    told = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in (shared | data.get("options", {})).items()
    }
    if told["name"] in DATASETS:
        try:
            check_arguments(find_class(DATASETS[told["name"]]), told)
        except ValueError as error:
            raise UsageError(f"{where} describes no data set: {error}") from error
    return told


def holds_run(folder: Path) -> bool:
    """Whether a run was begun in a folder."""
    return (folder / "config.json").exists()


def writable(path: str, ending: str) -> Path:
    """A path to write to; an error now is better than one after an hour.

    Raises:
        UsageError: another ending, or a place that cannot be written.
    """
    out = Path(path)
    if out.suffix.lower() != ending:
        raise UsageError(f"--out must end in {ending}; got {path!r}.")
    if out.is_dir():
        raise UsageError(f"--out {path}: this is a folder.")
    if not out.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {str(out.parent)!r}.")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise UsageError(f"--out {path}: it cannot be written.")
    return out


def folder(path: str) -> Path:
    """A folder to write to, made if need be.

    Raises:
        UsageError: it cannot be made.
    """
    if "://" in path or not path:
        raise UsageError(f"--out {path!r}: it must be a folder on this machine.")
    place = Path(path)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {path}: {error.strerror}.") from error
    return place


def _files_beside(path: Path) -> list[str]:
    try:
        return [other.name for other in path.parent.iterdir()]
    except OSError:
        return []


def _weights(model: str) -> tuple[str, Path | None]:
    """Name and folder of weights: of the package, or of a file elsewhere.

    Raises:
        UsageError: a file that is not there, or lies without its card.
    """
    path = Path(model)
    if path.suffix != ".safetensors":
        return model, None
    on_card = path.with_suffix(".json")
    if not path.is_file():
        close = difflib.get_close_matches(path.name, _files_beside(path), 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"{model}: there is no such file of weights.{hint}")
    if not on_card.exists():
        raise UsageError(
            f"{model} lies without its card: {on_card.name}, which says what the "
            f"weights are of, must lie beside it."
        )
    return path.stem, path.parent
