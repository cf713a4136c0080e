"""Checkpoints: whole or absent, whatever happens while one is written.

A checkpoint is a folder ``step-00000500`` with

- ``weights.safetensors`` and ``average.safetensors``: networks and their averages,
- ``state.pt``: optimisers, read with ``weights_only=True``,
- ``checkpoint.json``: step, configs, and the SHA-256 of the other files.

It is written under another name, flushed to the disk and then renamed, which the file
system does at once or not at all. No file of it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mmgen.data.files import read_object, write_synced
from mmgen.training.errors import CheckpointError

_NAME = re.compile(r"step-(\d{8,})")
FILES = ("weights.safetensors", "average.safetensors", "state.pt")


@dataclass
class Checkpoint:
    """What a checkpoint holds, on the CPU."""

    step: int  # steps done
    weights: dict[str, Tensor]  # "network.parameter" -> values
    average: dict[str, Tensor]
    optimizers: dict[str, Any]  # phase -> state of its optimiser
    about: dict[str, Any]  # task, its config, seconds trained: JSON


def save(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Add a checkpoint to a folder and remove all but the newest ``keep``.

    Returns:
        The checkpoint's own folder.

    Raises:
        CheckpointError: it cannot be written; those written before stay as they are.
    """
    final = folder / f"step-{checkpoint.step:08d}"
    temporary = folder / f".tmp-{final.name}-{os.getpid()}"
    buffer = io.BytesIO()
    torch.save(checkpoint.optimizers, buffer)
    contents = {
        "weights.safetensors": safetensors.torch.save(checkpoint.weights),
        "average.safetensors": safetensors.torch.save(checkpoint.average),
        "state.pt": buffer.getvalue(),
    }
    about = {
        **checkpoint.about,
        "step": checkpoint.step,
        "sha256": {
            name: hashlib.sha256(content).hexdigest()
            for name, content in contents.items()
        },
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clean(folder)
        temporary.mkdir()
        for name, content in contents.items():
            write_synced(temporary / name, content)
        about_text = json.dumps(about, indent=1)
        write_synced(temporary / "checkpoint.json", about_text.encode())
        _sync_folder(temporary)
        if final.exists():
            _remove(final)
        os.rename(temporary, final)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        last = newest(folder)
        raise CheckpointError(
            f"the checkpoint of step {checkpoint.step} cannot be written to {folder}: "
            f"{error.strerror or error}. Last good checkpoint: {last or 'none'}."
        ) from error
    for old in listed(folder)[:-keep]:
        _remove(old)
    return final


def listed(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name[5:]))


def newest(folder: Path) -> Path | None:
    """The last checkpoint of a folder, or None."""
    return (listed(folder) or [None])[-1]  # type: ignore[list-item]


def clean(folder: Path) -> None:
    """Remove what an interrupted write or removal left."""
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint's folder; nothing in it is executed.

    Raises:
        CheckpointError: a file is missing, cut short, changed or of another kind.
    """
    about = _read_json(path / "checkpoint.json")
    contents = {}
    for name in FILES:
        try:
            contents[name] = (path / name).read_bytes()
        except OSError as error:
            raise _damaged(path / name, error.strerror or str(error)) from error
        digest = hashlib.sha256(contents[name]).hexdigest()
        if digest != about["sha256"].get(name):
            raise _damaged(path / name, "its hash is not the one noted when written")
    try:
        # weights_only: an object that is not plain data is refused, not built.
        optimizers = torch.load(
            io.BytesIO(contents["state.pt"]), map_location="cpu", weights_only=True
        )
    except Exception as error:  # whatever a damaged archive meets in torch's reader
        raise _damaged(
            path / "state.pt", "it holds more than plain tensors, or is cut short"
        ) from error
    return Checkpoint(
        step=int(about["step"]),
        weights=_tensors(path, "weights.safetensors", contents),
        average=_tensors(path, "average.safetensors", contents),
        optimizers=optimizers,
        about=about,
    )


def flatten(networks: dict[str, nn.Module]) -> dict[str, Tensor]:
    """All tensors of several networks as "network.name" -> CPU copy."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in _named(networks).items()
    }


def _named(networks: dict[str, nn.Module]) -> dict[str, Tensor]:
    """All tensors of several networks, themselves, as "network.name"."""
    return {
        f"{name}.{key}": value
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def restore(networks: dict[str, nn.Module], tensors: dict[str, Tensor]) -> None:
    """Copy tensors named as by ``flatten`` into networks.

    Raises:
        CheckpointError: names or shapes that are not the networks'.
    """
    wanted = _named(networks)
    missing, foreign = (
        sorted(set(wanted) - set(tensors)),
        sorted(set(tensors) - set(wanted)),
    )
    if missing or foreign:
        raise CheckpointError(
            f"the checkpoint is of another config: it lacks {missing[:3] or 'nothing'} "
            f"and has {foreign[:3] or 'nothing'} besides what the networks have."
        )
    for name, value in wanted.items():
        if value.shape != tensors[name].shape:
            raise CheckpointError(
                f"the checkpoint is of another config: {name} has shape "
                f"{tuple(tensors[name].shape)} there and {tuple(value.shape)} here."
            )
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(tensors[name])


def begin_with(networks: dict[str, nn.Module], tensors: dict[str, Tensor]) -> list[str]:
    """Copy those tensors, named as by ``flatten``, that networks have in their shape.

    Where one network is to begin with the weights of one other, it does not matter what
    the two are called: parts that they share fit.

    Returns:
        Names of the networks' tensors that stay as they were.

    Raises:
        CheckpointError: none fits.
    """
    wanted = _named(networks)
    if len(networks) == 1 and len({name.split(".")[0] for name in tensors}) == 1:
        (here,) = networks
        tensors = {f"{here}.{n.partition('.')[2]}": t for n, t in tensors.items()}
    fitting = {
        name
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape == value.shape
    }
    if not fitting:
        raise CheckpointError(
            f"start_from holds none of these networks' weights: it has "
            f"{sorted(tensors)[:3]}, they have {sorted(wanted)[:3]}."
        )
    with torch.no_grad():
        for name in fitting:
            wanted[name].copy_(tensors[name])
    return sorted(set(wanted) - fitting)


def all_finite(networks: Iterable[nn.Module]) -> bool:
    """Whether every floating-point tensor of the networks is finite; waits once."""
    checks = [
        torch.isfinite(value).all()
        for network in networks
        for value in network.state_dict().values()
        if value.is_floating_point()
    ]
    return bool(torch.stack(checks).all()) if checks else True


def _tensors(path: Path, name: str, contents: dict[str, bytes]) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(contents[name])
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path / name, f"it is no safetensors file ({error})") from error


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be read as part of a checkpoint: {reason}. Remove the folder "
        f"{path.parent.name} to go on from the one before it."
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = read_object(path)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise _damaged(path, str(error).removesuffix(".")) from error
    if type(data.get("step")) is not int:
        raise _damaged(path, "it names no step")
    if not isinstance(data.get("sha256"), dict):
        raise _damaged(path, "it names no hashes")
    seconds = data.get("seconds", 0.0)
    if not isinstance(seconds, float | int) or not 0 <= seconds < math.inf:
        raise _damaged(path, f"its seconds are {seconds!r:.60}")
    if not 0 <= data["step"] < 2**63:
        raise _damaged(path, f"its step is {data['step']!r:.60}")
    return data


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; its rename is journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    """Remove a checkpoint; half-removed it no longer has a checkpoint's name."""
    doomed = folder.with_name(f".tmp-old-{folder.name}-{os.getpid()}")
    os.rename(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)
