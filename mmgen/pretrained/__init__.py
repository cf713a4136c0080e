"""Trained models: those that come with the book, and those that a run has written.

A model is two files: ``NAME.safetensors`` with its weights, and ``NAME.json``, its
card, which says how it was made. Those of the book are in half precision and lie in
this folder; a run's folder holds its own, ``sampler.safetensors`` and ``sampler.json``,
in single precision. Nothing is unpickled, and weights whose hash is not the card's are
refused.
"""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

from mmgen.errors import MmgenError
from mmgen.interfaces import NOTHING

FOLDER = Path(__file__).resolve().parent
MOST_BYTES = 12 * 10**6  # of one file of the book's weights
OF_RUN = "sampler"  # name of the two files in a run's folder
PAUSES = (0.0, 0.05, 0.2, 1.0)  # seconds before each reading of a run's two files

__all__ = [
    "Storable",
    "WeightsError",
    "available",
    "card",
    "load",
    "run_of",
    "save",
    "save_run",
]


class WeightsError(MmgenError, RuntimeError):
    """Weights or their card are damaged, or do not belong together."""


@runtime_checkable
class Storable(Protocol):
    """A module that weights and a card can build again (``mmgen.sampling``)."""

    def init_args(self) -> dict[str, Any]:
        """What ``from_args`` needs, as JSON values."""

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> Self:
        """An untrained one of the same sizes."""

    def state_dict(self) -> dict[str, Tensor]:
        """Its weights, as a module has them."""


def run_of(folder: Path) -> Path:
    """The folder of a run, of itself or of one checkpoint in it."""
    inside = (folder / "checkpoint.json").exists()
    return folder.parent.parent if inside else folder


def available(folder: str | Path | None = None) -> tuple[str, ...]:
    """Names of the models whose weights are here.

    Args:
        folder: where to look; the package's own by default.
    """
    place = Path(folder) if folder else FOLDER
    return tuple(
        path.stem
        for path in sorted(place.glob("*.json"))
        if path.with_suffix(".safetensors").exists()
    )


def card(name: str, folder: str | Path | None = None) -> dict[str, Any]:
    """How a model was made: config, data, command, device, minutes, metrics, hash.

    Raises:
        ValueError: no such model.
        WeightsError: a card that cannot be read.
    """
    place = Path(folder) if folder else FOLDER
    names = available(place)
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"name must be one of {', '.join(names) or '(no weights here)'}; got "
            f"{name!r}.{hint}"
        )
    return _read_card(place / f"{name}.json")


def load(name: str | Path, device: Any = None, folder: str | Path | None = None) -> Any:
    """A trained sampler, in eval mode and single precision, with its ``card``.

    Args:
        name: one of ``available()``, or the folder of a run, which may still be
            training: its last checkpoint's averages are loaded.
        device: where to; the CPU by default.
        folder: where to look for a name; the package's own by default.

    Raises:
        ValueError: no such model.
        WeightsError: weights that are damaged, foreign or of another config, or a
            folder without any.
    """
    if name and folder is None and Path(name).is_dir():
        sampler = _load_run(Path(name))
    else:
        sampler = _load_published(str(name), Path(folder) if folder else FOLDER)
    return sampler if device is None else sampler.to(device)


def save(
    name: str,
    sampler: Any,
    card_fields: dict[str, Any],
    folder: str | Path | None = None,
) -> Path:
    """Write a sampler's weights in half precision, and its card.

    Args:
        name: of the model.
        sampler: a ``Storable`` module.
        card_fields: how it was made.
        folder: where to; the package's own by default.

    Returns:
        The file of the weights.

    Raises:
        ValueError: weights that half precision cannot hold, or of more than 12 MB.
    """
    import torch

    tensors = {}
    for key, value in sampler.state_dict().items():
        stored = value.detach().cpu()
        if stored.is_floating_point():
            stored = stored.half()
            if not torch.isfinite(stored).all():
                raise ValueError(
                    f"{key} of {name} has values that half precision cannot hold "
                    f"(above 65,504, or not finite)."
                )
        tensors[key] = stored
    place = Path(folder) if folder else FOLDER
    fields = {"name": name, "licence": "MIT", **card_fields}
    parts = _published_parts(sampler, tensors, fields.get("task_config", {}), place)
    if parts:
        fields["parts"] = parts
        own = tuple(f"{role}." for role in parts)
        tensors = {k: v for k, v in tensors.items() if not k.startswith(own)}
    return _write(place / f"{name}.safetensors", sampler, tensors, fields, MOST_BYTES)


def _published_parts(
    sampler: Any, tensors: Mapping[str, Tensor], config: Mapping[str, Any], place: Path
) -> dict[str, dict[str, str]]:
    """Modules of a sampler that are published already, as the codes' autoencoder is.

    Args:
        sampler: whose attributes have the names of the config's fields.
        tensors: its weights as they will be stored.
        config: the task's, which names what it was built on.
        place: the folder of the weights.

    Returns:
        Field -> name and hash of the weights, of those that are equal in every bit.
    """
    import safetensors.torch
    import torch

    names = available(place)
    parts = {}
    for role, name in config.items():
        if name not in names or not hasattr(sampler, role):
            continue
        stored = safetensors.torch.load_file(place / f"{name}.safetensors")
        own = {
            key.removeprefix(f"{role}."): value
            for key, value in tensors.items()
            if key.startswith(f"{role}.")
        }
        if own.keys() == stored.keys() and all(
            torch.equal(own[key], value) for key, value in stored.items()
        ):
            parts[role] = {"weights": name, "sha256": card(name, place)["sha256"]}
    return parts


def save_run(folder: str | Path, sampler: Any, card_fields: dict[str, Any]) -> Path:
    """Write a run's sampler, exactly, for ``load(folder)``: both files or neither.

    Args:
        folder: the run's.
        sampler: a ``Storable`` module.
        card_fields: how it was made.

    Returns:
        The file of the weights.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    tensors = {
        key: value.detach().cpu().float() if value.is_floating_point() else value.cpu()
        for key, value in sampler.state_dict().items()
    }
    fields = {"name": Path(folder).name, **card_fields}
    return _write(Path(folder) / f"{OF_RUN}.safetensors", sampler, tensors, fields)


def _write(
    path: Path,
    sampler: Any,
    tensors: dict[str, Tensor],
    fields: dict[str, Any],
    most_bytes: int | None = None,
) -> Path:
    """Write weights and their card, which names the weights' hash, together."""
    import safetensors.torch

    from mmgen.data.files import json_bytes, write_together
    from mmgen.registry import class_path

    # Tied tensors are stored twice: the format refuses shared memory.
    alone = {key: value.contiguous().clone() for key, value in tensors.items()}
    content = safetensors.torch.save(alone)
    if most_bytes is not None and len(content) > most_bytes:
        raise ValueError(
            f"the weights of {fields['name']} would take {len(content) / 1e6:.1f} MB; "
            f"at most {most_bytes / 1e6:.0f} MB belong in the repository. Make the "
            f"networks smaller."
        )
    about = {
        "name": fields["name"],
        "sampler": class_path(type(sampler)),
        "init_args": sampler.init_args(),
        **fields,
        "parameters": sum(p.numel() for p in sampler.parameters()),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_together({path: content, path.with_suffix(".json"): json_bytes(about)})
    return path


def _load_published(name: str, place: Path) -> Any:
    about = card(name, place)
    path = place / f"{name}.safetensors"
    content = path.read_bytes()
    if not _belongs(content, about):
        raise WeightsError(
            f"{path} is damaged or is not the file that its card describes: "
            f"{_hashes(content, about)}. Fetch it again."
        )
    again = f"make them again: make weights NAME={name}"
    return _build(path, about, content, again, _read_parts(about, place))


def _read_parts(about: dict[str, Any], place: Path) -> dict[str, Tensor]:
    """Weights that are stored under another name, as a card says.

    Raises:
        WeightsError: they are not there, or are others.
    """
    import safetensors.torch

    found: dict[str, Tensor] = {}
    for role, part in about.get("parts", {}).items():
        name, digest = str(part["weights"]), part["sha256"]
        folder = place if name in available(place) else FOLDER
        if name not in available(folder):
            raise WeightsError(
                f"{about['name']} needs the weights {name}, its {role}, and there are "
                f"none in {place}. Put them there, with their card."
            )
        content = (folder / f"{name}.safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise WeightsError(
                f"{about['name']} was trained with other weights {name}, its {role}, "
                f"than those in {folder}: their SHA-256 is not that on its card."
            )
        stored = safetensors.torch.load(content)
        found |= {f"{role}.{key}": value for key, value in stored.items()}
    return found


def _load_run(folder: Path) -> Any:
    path, on_card = folder / f"{OF_RUN}.safetensors", folder / f"{OF_RUN}.json"
    if not (path.exists() and on_card.exists()):
        raise _no_sampler(folder)
    for pause in PAUSES:  # a run that trains may write both between the two readings
        time.sleep(pause)
        about, content = _read_card(on_card), path.read_bytes()
        if _belongs(content, about):
            break
    else:
        raise WeightsError(
            f"{path} is not the file that {on_card.name} beside it describes: "
            f"{_hashes(content, about)}. The run was killed while it wrote the two, or "
            f"one was changed. Go on with the run, which writes them again: "
            f"mmgen.training.Run.resume({str(folder)!r})."
        )
    return _build(path, about, content, "train again")


def _no_sampler(folder: Path) -> WeightsError:
    """The error for a folder without a sampler, and what to do about it."""
    if (folder / "config.json").exists():
        advice = (
            f"The run has no checkpoint yet, or an older version wrote it. Go on with "
            f"it (mmgen.training.Run.resume({str(folder)!r}) writes the sampler), or "
            f"draw with mmgen.training.Run.load({str(folder)!r}).sampler()."
        )
    else:
        advice = (
            "It is no run's folder: name that of mmgen train … --out FOLDER, or "
            "weights of the package."
        )
    return WeightsError(
        f"{folder} holds no sampler: {OF_RUN}.json or {OF_RUN}.safetensors is "
        f"missing. {advice}"
    )


def _read_card(path: Path) -> dict[str, Any]:
    from mmgen.data.files import read_object

    try:
        data = read_object(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as a card: {error}.") from error
    for field, kind in (("sampler", str), ("init_args", dict), ("sha256", str)):
        if not isinstance(data.get(field), kind):
            raise WeightsError(f"{path} is no card: it has no {field!r}.")
    return data


def _belongs(content: bytes, about: dict[str, Any]) -> bool:
    return hashlib.sha256(content).hexdigest() == about["sha256"]


def _hashes(content: bytes, about: dict[str, Any]) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return (
        f"its SHA-256 begins with {digest[:12]}, the card's with "
        f"{str(about['sha256'])[:12]}"
    )


def _build(
    path: Path,
    about: dict[str, Any],
    content: bytes,
    again: str,
    parts: Mapping[str, Tensor] = NOTHING,
) -> Any:
    """The sampler that a card describes, with weights whose hash is the card's.

    Args:
        path, about, content: file, card and bytes of its own weights.
        again: how to make them again, for a message.
        parts: weights that are stored elsewhere.
    """
    import safetensors
    import safetensors.torch

    from mmgen.registry import stored_class

    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path} is no safetensors file: {error}.") from error
    state = {
        key: value.float() if value.is_floating_point() else value
        for key, value in {**tensors, **parts}.items()
    }
    on_card = path.with_suffix(".json")
    try:
        sampler_class = stored_class(about["sampler"], "from_args", "state_dict")
    except ValueError as error:
        raise WeightsError(f"{on_card}: {error}") from error
    try:
        if path.parent != FOLDER:  # the package's own cards are part of its code
            _check_sizes(sampler_class.from_args, about["init_args"], state)
        sampler = sampler_class.from_args(about["init_args"])
    except _AnotherConfigError as error:
        raise WeightsError(
            f"{path} is of another config than its card's {about['sampler']}: {error}"
        ) from error
    # A damaged card can make a constructor fail in any way that Python has.
    except Exception as error:
        commit = about.get("commit")
        which = f" (commit {commit})" if commit else ""
        raise WeightsError(
            f"{on_card} does not fit this version of mmgen: "
            f"{_summary(error)} Load these weights with the version that wrote "
            f"them{which}, or {again}."
        ) from error
    try:
        sampler.load_state_dict(state)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is of another config than this version's {about['sampler']}: "
            f"{_summary(error)}"
        ) from error
    sampler.eval().requires_grad_(False)
    sampler.card = about
    return sampler


class _AnotherConfigError(ValueError):
    """A card that describes other sizes than the weights beside it have."""


def _check_sizes(
    build: Any, args: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Build a sampler without memory, and compare it with the weights.

    So a card whose numbers were changed cannot ask for more memory or time than the
    weights that lie beside it justify.

    Raises:
        _AnotherConfigError: other sizes, or more parameters.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    from mmgen.layers.validation import at_most

    class Unfilled(TorchFunctionMode):
        """Without random numbers: "meta" has none, and they load torch's compiler."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if getattr(func, "__name__", "") in ("normal_", "uniform_"):
                return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
            return func(*args, **(kwargs or {}))

    most = 2 * len(state) + 64  # a parameter may be set twice while a module is made
    too_many = _AnotherConfigError("the card asks for many more parameters.")
    try:
        with torch.device("meta"), Unfilled(), at_most(most, too_many):
            shapes = {k: tuple(v.shape) for k, v in build(args).state_dict().items()}
    except NotImplementedError:  # it computes with its tensors, and "meta" has no data
        return
    there = {key: tuple(value.shape) for key, value in state.items()}
    for key in [*there, *shapes]:
        if there.get(key) != shapes.get(key):
            raise _AnotherConfigError(
                f"{key} is {there.get(key, 'missing')} in the file, and "
                f"{shapes.get(key, 'missing')} by the card."
            )


def _summary(error: Exception) -> str:
    """An error's first two lines as a sentence."""
    lines = [line.strip() for line in str(error).splitlines()[:2]]
    text = " ".join(lines) or type(error).__name__
    return text if text.endswith((".", "?", ":")) else f"{text}."
