"""Command lines as a reader types them, right and wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmgen.cli import main

SCREEN = 50, 100  # lines and columns
QUIET = ("--progress", "none", "--no-tensorboard")


def fails(capsys: pytest.CaptureFixture, *words: str | Path) -> str:
    """Run a command that must fail with exit code 2 and one line on stderr."""
    assert main([str(word) for word in words]) == 2
    out, error = capsys.readouterr()
    lines = error.strip().splitlines()
    assert len(lines) == 1, error
    assert lines[0].startswith("mmgen: error: ")
    assert "Traceback" not in out + error
    return lines[0]


def help_text(capsys: pytest.CaptureFixture, *words: str, fits: bool = True) -> str:
    """What a command prints when asked for help, which must fit a screen."""
    try:
        assert main([*words]) == 0
    except SystemExit as stop:  # tyro's own help
        assert stop.code == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    if fits:
        assert len(lines) <= SCREEN[0] and max(map(len, lines)) <= SCREEN[1], text
    return text
