"""What commands are given: models, their data sets, and paths to write to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mmgen.cli.options import UsageError
from mmgen.registry import unknown


def device_of(given: str | None) -> str:
    """The device that was asked for, or what there is."""
    import torch

    return given or ("cuda" if torch.cuda.is_available() else "cpu")


def sampler_of(model: str, device: str | None) -> Any:
    """The sampler of a run's folder, or of weights that come with the package.

    Raises:
        UsageError: no such model or device.
    """
    import torch

    from mmgen.pretrained import available, load

    place = torch.device(device or "cpu")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: torch finds no CUDA device here.")
    if Path(model).is_dir():
        return load(model, place)
    name, folder = _weights(model)
    if name not in available(folder):
        text = unknown("model", name, available(folder))
        raise UsageError(f"{text} The folder of a run can be named too.")
    return load(name, place, folder)


def trained_on(model: str) -> dict[str, Any]:
    """Arguments of ``load_dataset`` for what a run or weights were trained on."""
    from mmgen.pretrained import card

    if Path(model).is_dir():
        path = Path(model) / "config.json"
        data = json.loads(path.read_text(encoding="utf-8"))["dataset"]
    else:
        data = card(*_weights(model))["data"]
    # runs, and cards of older weights, keep what is special to a data set in "options"
    shared = {k: v for k, v in data.items() if k not in ("options", "vocabulary")}
    return shared | data.get("options", {})


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
    if "://" in path:
        raise UsageError(f"--out {path}: it must be a folder on this machine.")
    place = Path(path)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {path}: {error.strerror}.") from error
    return place


def _weights(model: str) -> tuple[str, Path | None]:
    """Name and folder of weights: of the package, or of a file elsewhere."""
    if model.endswith(".safetensors"):
        return Path(model).stem, Path(model).parent
    return model, None
