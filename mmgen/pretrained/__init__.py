"""Weights that come with the book, each with a card that says how it was made.

A model is two files: ``NAME.safetensors`` with its weights in half precision, and
``NAME.json``, its card. Nothing is unpickled, and weights whose hash is not the card's
are refused.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any

from mmgen.errors import MmgenError

FOLDER = Path(__file__).resolve().parent
MOST_BYTES = 12 * 10**6  # of one file of weights

__all__ = ["WeightsError", "available", "card", "load", "save"]


class WeightsError(MmgenError, RuntimeError):
    """Weights or their card are damaged, or do not belong together."""


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
    path = place / f"{name}.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as a card: {error}.") from error
    for field in ("sampler", "init_args", "sha256"):
        if field not in data:
            raise WeightsError(f"{path} is no card: it has no {field!r}.")
    return data


def load(name: str, device: Any = None, folder: str | Path | None = None) -> Any:
    """A trained sampler, in eval mode and single precision, with its ``card``.

    Args:
        name: one of ``available()``.
        device: where to; the CPU by default.
        folder: where to look; the package's own by default.

    Raises:
        ValueError: no such model.
        WeightsError: weights that are damaged, foreign or of another config.
    """
    import safetensors
    import safetensors.torch

    from mmgen.training.task import find_class

    place = Path(folder) if folder else FOLDER
    about = card(name, place)
    path = place / f"{name}.safetensors"
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != about["sha256"]:
        raise WeightsError(
            f"{path} is damaged or is not the file that its card describes: its "
            f"SHA-256 begins with {digest[:12]}, the card's with "
            f"{str(about['sha256'])[:12]}. Fetch it again."
        )
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path} is no safetensors file: {error}.") from error
    try:
        sampler = find_class(about["sampler"]).from_args(about["init_args"])
        state = {
            key: value.float() if value.is_floating_point() else value
            for key, value in tensors.items()
        }
        sampler.load_state_dict(state)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise WeightsError(
            f"{path} is of another config than this version's {about['sampler']}: "
            f"{' '.join(line.strip() for line in lines[:2])}"
        ) from error
    sampler.eval().requires_grad_(False)
    sampler.card = about
    return sampler if device is None else sampler.to(device)


def save(
    name: str,
    sampler: Any,
    card_fields: dict[str, Any],
    folder: str | Path | None = None,
) -> Path:
    """Write a sampler's weights in half precision, and its card.

    Args:
        name: as in ``load``.
        sampler: a module with ``init_args()`` and ``from_args(args)``.
        card_fields: what else the card says: data, command, device, minutes, metrics.
        folder: where to; the package's own by default.

    Returns:
        The file of the weights.

    Raises:
        ValueError: weights that half precision cannot hold, or of more than 12 MB.
    """
    import safetensors.torch
    import torch

    from mmgen.data.files import write_atomically
    from mmgen.training.checkpoint import write_json
    from mmgen.training.task import class_path

    place = Path(folder) if folder else FOLDER
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
        tensors[key] = stored.contiguous().clone()
    content = safetensors.torch.save(tensors)
    if len(content) > MOST_BYTES:
        raise ValueError(
            f"the weights of {name} would take {len(content) / 1e6:.1f} MB; at most "
            f"{MOST_BYTES / 1e6:.0f} MB belong in the repository. Make the networks "
            f"smaller."
        )
    about = {
        "name": name,
        "sampler": class_path(type(sampler)),
        "init_args": sampler.init_args(),
        "licence": "MIT",
        **card_fields,
        "parameters": sum(p.numel() for p in sampler.parameters()),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{name}.safetensors"
    write_atomically(path, content)
    write_json(path.with_suffix(".json"), about)
    return path
