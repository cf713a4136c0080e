"""Dataclasses to JSON and back: what cards, runs and checkpoints keep of a config."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")


def to_json(config: Any) -> dict[str, Any]:
    """A dataclass as a dictionary of JSON values."""
    return dataclasses.asdict(config)


def architecture(config: Any) -> dict[str, Any]:
    """The fields of a method's config that decide which networks are built.

    A config class names the others, which matter while a model is trained only, in
    ``TRAINING``. Weights are stored without them, so that no option of a training that
    is removed or renamed later makes weights unreadable.
    """
    training = type(config).TRAINING
    return {k: v for k, v in to_json(config).items() if k not in training}


def from_json(cls: type[T], data: dict[str, Any]) -> T:
    """The dataclass that ``to_json`` took apart: lists become tuples where it says so.

    Raises:
        ValueError: fields that the class does not have, or values of another type than
            theirs.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__} must be a JSON object; got {data!r:.60}.")
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cast(Any, cls))}
    foreign = sorted(set(data) - known)
    if foreign:
        raise ValueError(
            f"{cls.__name__} has no field {', '.join(foreign)}; it has "
            f"{', '.join(sorted(known))}. Was this written by another version?"
        )
    values = {name: _restore(hints[name], value) for name, value in data.items()}
    for name, value in values.items():
        if not _fits(hints[name], value):
            wanted = getattr(hints[name], "__name__", hints[name])
            raise ValueError(
                f"{cls.__name__}.{name} must be of type {wanted}; got {value!r:.60}."
            )
    return cls(**values)


def check_arguments(cls: type, values: Mapping[str, Any]) -> None:
    """Refuse arguments of another type than a class says, as a file may hold them.

    Args:
        cls: that is to be made with them.
        values: by the names of its parameters; others are not looked at.

    Raises:
        ValueError: the parameter, its type and what it got.
    """
    constructor: Any = cls.__init__  # type: ignore[misc]  # a class, never an object
    hints = typing.get_type_hints(constructor)
    for name, value in values.items():
        if name in hints and not _fits(hints[name], value):
            wanted = getattr(hints[name], "__name__", hints[name])
            raise ValueError(f"{name} must be of type {wanted}; got {value!r:.60}.")


def _restore(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_json(cast(type, hint), value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        # A union with a tuple or a dataclass in it: the first that fits the JSON.
        for option in arguments:
            if isinstance(value, dict) and dataclasses.is_dataclass(option):
                return from_json(cast(type, option), value)
            if isinstance(value, list) and typing.get_origin(option) is tuple:
                return _restore(option, value)
        return value
    if origin is tuple and isinstance(value, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_restore(arguments[0], item) for item in value)
        return tuple(_restore(a, v) for a, v in zip(arguments, value, strict=True))
    if hint is tuple and isinstance(value, list):
        return tuple(value)
    return value


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value can be what a field is said to be; other types are not judged."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(option, value) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        many = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = [arguments[0]] * len(value) if many else arguments
        return len(kinds) == len(value) and all(map(_fits, kinds, value))
    if hint is bool or hint is types.NoneType or hint is str:
        return isinstance(value, hint)
    if hint is int:
        return _whole(value) and abs(value) < 2**63
    if hint is Path:  # JSON keeps its text
        return isinstance(value, str | Path)
    if hint is float:
        number = _whole(value) or isinstance(value, float)
        return number and math.isfinite(value)
    return True


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
