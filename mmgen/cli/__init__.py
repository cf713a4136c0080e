"""The command line: ``mmgen COMMAND …``, a module of this package a command.

Only the standard library is imported here, so that ``mmgen --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from mmgen.cli.options import UsageError
from mmgen.errors import MmgenError
from mmgen.registry import COMMANDS, find_class, unknown

# Errors that say what to do; anything else is a fault of ours, shown in full.
EXPECTED = (MmgenError, ValueError, OSError, ImportError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0, or 2 after an error, which is printed as one line; 130 after
        Ctrl-C. The environment variable MMGEN_TRACEBACK=1 shows where it came from.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _run(words)
    except KeyboardInterrupt as stop:
        print(f"mmgen: {stop or 'stopped'}", file=sys.stderr)
        return 130
    except EXPECTED as error:
        if os.environ.get("MMGEN_TRACEBACK"):
            raise
        print(f"mmgen: error: {_one_line(error)}", file=sys.stderr)
        return 2


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0
    if words[0] == "--version":
        from mmgen import __version__

        print(__version__)
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise UsageError(unknown("command", name, COMMANDS))
    command: Callable[[list[str]], int] = find_class(COMMANDS[name][1])
    return command(rest)


def _help() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: mmgen COMMAND …",
            "",
            "Multimodal generation, taught and tested.",
            "",
            *(f"  {name:{width}}  {text}" for name, (text, _) in COMMANDS.items()),
            "",
            "mmgen COMMAND --help tells more, mmgen --version the version. E.g.:",
            "  mmgen train cgan --data shapes --scale laptop --out runs/cgan",
            '  mmgen sample cgan-shapes64 "a large red star" --out star.png',
        ]
    )


def _one_line(error: Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print(f"mmgen: warning: {_one_line(message)}", file=sys.stderr)
