"""Options of the commands, which tyro reads from dataclasses and docstrings.

tyro is imported inside the functions: ``mmgen --help`` does not wait for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import io
import itertools
import math
import textwrap
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from mmgen.errors import MmgenError
from mmgen.registry import find_class, unknown


class UsageError(MmgenError):
    """Words on the command line that mean nothing here."""


@dataclasses.dataclass(frozen=True)
class Parser:
    """The options of a command: the fields of dataclasses, which tyro reads.

    Args:
        prog: the command, as help and complaints name it.
        text: what the command does.
        groups: name -> a dataclass, or an object of one whose values are the defaults.
        rare: options that ``--help`` leaves to ``--help-all``.
        fixed: fields of the objects that are no options, and keep their values.
    """

    prog: str
    text: str
    groups: Mapping[str, Any]
    rare: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        """Group -> what was chosen: of a dataclass an object, of an object a dict.

        (An object is not made anew here, because its values may have to be put together
        with others before they fit.)

        Raises:
            UsageError: an option that there is not, or a value of another type.
            SystemExit: help was asked for and has been printed; code 0.
        """
        if asks_for_help(words):
            rare = frozenset() if "--help-all" in words else self.rare
            self._tyro(["--help"], rare, shows=True)
        values, rest = self.read_known(words)
        if rest:
            what = "option" if rest[0].startswith("-") else "word"
            name = rest[0].partition("=")[0]
            raise UsageError(unknown(what, name, self._names(), listed=False))
        return values

    def read_known(self, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """The same, and the words that mean nothing here."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                found, rest = self._tyro(words, frozenset(), shows=False)
        except SystemExit as stop:
            raise UsageError(_complaint(said.getvalue())) from stop
        for group in vars(found).values():
            values = group if isinstance(group, dict) else vars(group)
            for name, value in values.items():
                _check_range(_option(name), value)
        return vars(found), rest

    def and_data(self, options: type) -> Parser:
        """The same parser with the options of a data set."""
        return dataclasses.replace(self, groups={**self.groups, "data": options})

    def _tyro(self, words: Sequence[str], rare: frozenset[str], shows: bool) -> Any:
        """Let tyro read the words, or show the help without what is rare."""
        import tyro

        config: list[Any] = [
            tyro.conf.OmitArgPrefixes,
            tyro.conf.PositionalMetavarFromFieldName,
        ]
        if shows:
            config.append(tyro.conf.FlagCreatePairsOff)  # takes less room
        text = self.text + (f" --help-all lists {len(rare)} more." if rare else "")
        read: Any = tyro.cli
        return read(
            dataclasses.make_dataclass("Options", self._fields()),
            prog=self.prog,
            # tyro joins lines, but for those that begin with a space
            description=textwrap.fill(text, 80, subsequent_indent=" "),
            args=list(words),
            add_help=shows,
            return_unknown_args=not shows,
            config=config,
            registry=self._rules(self.fixed | rare, shows),
        )

    def _fields(self) -> list[Any]:
        """The groups as fields of one dataclass."""
        return [
            (name, group)
            if isinstance(group, type)
            else (name, type(group), dataclasses.field(default=group))
            for name, group in self.groups.items()
        ]

    def _rules(self, hidden: frozenset[str], shows: bool) -> Any:
        """How tyro takes the groups apart: as it does, but for what is hidden."""
        import tyro
        from tyro.constructors import ConstructorRegistry

        registry = ConstructorRegistry()
        objects = {type(group) for group in self.groups.values()} - {type}
        _, positional = typing.get_args(tyro.conf.Positional[int])
        _, repeated = typing.get_args(tyro.conf.UseAppendAction[int])
        asked: list[Any] = []
        # types that are made while the program runs are none to a type checker
        annotated: Any = Annotated
        suppress: Any = tyro.conf.Suppress

        def mark(field: Any, changeable: bool) -> Any:
            kind = field.type
            if field.name in hidden and not changeable:
                kind = suppress[kind]
            elif shows:
                # One line an option: its default says of which type it is.
                bare = kind is bool or positional in typing.get_args(kind)
                several = repeated in typing.get_args(kind)
                name = None if bare else "NAME=…" if several else "…"
                hint = functools.partial(_default, choices=_choices(kind))
                brief = tyro.conf.arg(metavar=name, help_behavior_hint=hint)
                kind = annotated[kind, brief]
            return dataclasses.replace(field, type=kind)

        @registry.struct_rule
        def rule(info: Any) -> Any:
            if asked or info.type not in (*objects, *self.groups.values()):
                return None
            asked.append(info)  # so that tyro's own rule answers
            spec: Any = ConstructorRegistry.get_struct_spec(info)
            asked.clear()
            own = info.type not in objects
            return dataclasses.replace(
                spec,
                fields=tuple(mark(field, own) for field in spec.fields),
                instantiate=info.type if own else dict,
            )

        return registry

    def _names(self) -> list[str]:
        """All options as they are written."""
        return [
            _option(field.metadata.get("option", field.name))
            for group in self.groups.values()
            for field in dataclasses.fields(group)
            if isinstance(group, type) or field.name not in self.fixed
        ]


def _option(name: str) -> str:
    """A field's name as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def _check_range(option: str, value: Any) -> None:
    """Refuse numbers that no computation here can hold, and texts that no file has.

    Raises:
        UsageError: the option, and what it got.
    """
    if isinstance(value, tuple | list):
        for item in value:
            _check_range(option, item)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UsageError(f"{option} must lie in -2^63..2^63 - 1; got {value}.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{option} must be a finite number; got {value}.")
    elif isinstance(value, str | Path) and "\0" in str(value):
        raise UsageError(f"{option} must not hold a null character; got {value!r}.")


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether the help is asked for, in one of its lengths."""
    return any(word in ("-h", "--help", "--help-all") for word in words)


def _default(default: str, choices: Sequence[str]) -> str:
    """A default in brackets, first of the choices where there are some."""
    others = [choice for choice in choices if choice != default]
    return f"[{' | '.join([default, *others])}]" if default else ""


def _choices(kind: Any) -> tuple[str, ...]:
    """What a ``Literal`` allows, with or without None."""
    if typing.get_origin(kind) is typing.Literal:
        return tuple(map(str, typing.get_args(kind)))
    return sum((_choices(part) for part in typing.get_args(kind)), ())


def _complaint(box: str) -> str:
    """One line of what tyro draws a box around: what stands between title and help."""
    lines = [line.strip("│|+╭╮╰╯ ") for line in box.strip().splitlines()[1:]]
    texts = [line if line.strip("─- ") else "" for line in lines]  # "" is a rule
    said = itertools.dropwhile(lambda text: not text, texts)
    return " ".join(itertools.takewhile(bool, said)) or "the options cannot be read."


def data_options(
    name: str,
    defaults: Mapping[str, Any],
    without: Collection[str] = (),
    only: Collection[str] | None = None,
) -> type:
    """The arguments of a data set's class, as a dataclass for ``Parser``.

    Those that every data set has keep their names; others begin with ``data_``.

    Args:
        name: of the data set.
        defaults: in place of its own.
        without: arguments that are no options here.
        only: those that are, where it is not all the others.

    Raises:
        UsageError: an unknown data set.
    """
    import tyro

    from mmgen.data import DATASETS

    if name not in DATASETS:
        raise UsageError(unknown("data set", name, DATASETS))
    cls = find_class(DATASETS[name])
    hints = typing.get_type_hints(cls.__init__)
    annotated: Any = Annotated  # a type made here is none to a type checker
    fields: list[Any] = []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.name in without or (only and parameter.name not in only):
            continue
        shared = parameter.name in ("split", "image_size", "language")
        option = parameter.name if shared else f"data_{parameter.name}"
        kind = annotated[hints[parameter.name], tyro.conf.arg(name=option)]
        default = defaults.get(parameter.name, parameter.default)
        if isinstance(default, list):
            default = tuple(default)
        field = dataclasses.field(default=default, metadata={"option": option})
        fields.append((parameter.name, kind, field))
    # tyro reads the "Args:" of the docstring; the rest would fill the screen.
    head, _, arguments = (inspect.getdoc(cls) or "").partition("Args:\n")
    doc = f"{head.splitlines()[0]}\n\nArgs:\n{arguments}"
    return dataclasses.make_dataclass(
        "DataOptions", fields, namespace={"__doc__": doc}, frozen=True
    )
