"""The command line: ``mmgen COMMAND …``, a module of this package a command.

Only the standard library is imported here, so that ``mmgen --help`` answers at once.
"""

from __future__ import annotations

import contextlib
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
UNHEARD = 141  # what a shell gives a program whose output nobody reads any more


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0, or 2 after an error, which is printed as one line; 130 after
        Ctrl-C, 141 where the output was a pipe whose reader has gone. The environment
        variable MMGEN_TRACEBACK=1 shows where an error came from.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _ready_streams()
    try:
        code = _call(words)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # as after `mmgen … | head -1`
        _silence()
        return UNHEARD
    except OSError as error:
        _silence()
        _complain(f"the output cannot be written: {error.strerror or error}.")
        return 2
    return code


def _call(words: list[str]) -> int:
    """Run a command; its errors are told, but for those of the output itself."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _run(words)
    except SystemExit as stop:  # a parser has printed its help
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt as stop:
        print(f"mmgen: {stop or 'stopped'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except EXPECTED as error:
        if os.environ.get("MMGEN_TRACEBACK"):
            raise
        _complain(error)
        return 2
    except Exception as error:
        if not _beyond_the_machine(error) or os.environ.get("MMGEN_TRACEBACK"):
            raise
        _complain(
            f"what was asked for is larger than this machine's memory or numbers "
            f"({str(error).partition(chr(10))[0] or type(error).__name__}). Ask for "
            f"smaller sizes."
        )
        return 2


def _beyond_the_machine(error: Exception) -> bool:
    """Whether a number was too large: for memory, or for 64 bits."""
    signs = ("allocate memory", "out of memory", "overflow")
    return isinstance(error, MemoryError | OverflowError) or (
        isinstance(error, RuntimeError | TypeError)  # torch has both
        and any(sign in str(error).lower() for sign in signs)
    )


def _ready_streams() -> None:
    """Let every text be printed, whatever the encoding, and where nothing is open."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by `>&-`
            opened = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, opened)
        elif getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            with contextlib.suppress(AttributeError):  # a notebook's has no such method
                stream.reconfigure(errors="backslashreplace")


def _silence() -> None:
    """Let what is still to be printed go nowhere: Python prints it when it ends."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # no file, as in a notebook
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


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


def _complain(error: Any) -> None:
    print(f"mmgen: error: {_one_line(error)}", file=sys.stderr)


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print(f"mmgen: warning: {_one_line(message)}", file=sys.stderr)
