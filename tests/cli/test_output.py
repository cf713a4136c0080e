"""What commands print arrives, whatever the encoding, and whoever reads it."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmgen
from mmgen.cli import main
from tests.cli.calls import QUIET

NARROW = ("ascii", "cp1252", "latin-1")


def narrow(encoding: str, errors: str = "strict") -> io.TextIOWrapper:
    """A stream as Python opens for a file."""
    return io.TextIOWrapper(io.BytesIO(), encoding, errors)


def printed(
    monkeypatch: pytest.MonkeyPatch, words: list[str], encoding: str
) -> tuple[int, str]:
    """Exit code and output of a command whose output goes into a file."""
    out, told = narrow(encoding), narrow(encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", told)
        code = main(words)
        text = [each.buffer.getvalue().decode(encoding) for each in (out, told)]
    assert text[1] == "", text[1]
    return code, text[0]


@pytest.mark.parametrize("encoding", NARROW)
class TestNarrowEncodings:
    @pytest.mark.parametrize(
        "words", ["--help", "train --help", "train cgan --help", "data --help"]
    )
    def test_help(self, monkeypatch, encoding, words):
        code, text = printed(monkeypatch, words.split(), encoding)
        assert code == 0 and "usage: mmgen" in text
        assert ("…" in text) == (encoding == "cp1252")

    def test_words_of_another_script(self, monkeypatch, encoding):
        pytest.importorskip("emoji")
        words = ["data", "emoji", "--language", "zh"]
        code, text = printed(monkeypatch, words, encoding)
        assert code == 0 and "emoji (train)" in text

    def test_json_can_be_read_again(self, monkeypatch, encoding):
        code, text = printed(monkeypatch, ["info", "--json"], encoding)
        assert code == 0
        words = json.loads(text)["weights"]["attngan-emoji64"]["init_args"]
        assert "笑" in "".join(words["vocabulary"]["tokens"])

    def test_a_training_that_ends_well(self, monkeypatch, encoding, tmp_path):
        out = tmp_path / "løb"
        words = ["train", "vae", "--scale", "smoke", "--data-size", "8", *QUIET]
        code, text = printed(monkeypatch, [*words, "--out", str(out)], encoding)
        assert code == 0 and "steps in" in text and "next: mmgen sample" in text


def test_errors_in_another_script(monkeypatch):
    told = narrow("ascii", "strict")
    monkeypatch.setattr(sys, "stderr", told)
    assert main(["sample", "nothing", "红色", "--device", "红"]) == 2
    assert rb"\u7ea2" in told.buffer.getvalue()


def called(command: str, **environment: str) -> subprocess.CompletedProcess:
    """A shell's command, in which $mmgen is ours."""
    env = {**os.environ, "mmgen": f"{sys.executable} -m mmgen.cli", **environment}
    return subprocess.run(
        ["bash", "-c", command], env=env, capture_output=True, timeout=300
    )


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's redirections")
class TestRealStreams:
    def test_the_c_locale(self, tmp_path: Path) -> None:
        done = called(
            f"$mmgen --help > {tmp_path / 'help'}",
            PYTHONUTF8="0",
            LC_ALL="C",
            PYTHONCOERCECLOCALE="0",
        )
        assert done.returncode == 0 and done.stderr == b""
        assert b"usage: mmgen COMMAND" in (tmp_path / "help").read_bytes()

    @pytest.mark.parametrize("command", ["--help", "train cgan --help"])
    def test_a_reader_that_has_gone(self, command: str) -> None:
        done = called(f"$mmgen {command} | true; exit ${{PIPESTATUS[0]}}")
        # 0 where everything fitted into the pipe before the reader went
        assert done.returncode in (0, 141) and done.stderr == b""

    @pytest.mark.parametrize("command", ["info >&-", "train cgan --help >&- 2>&-"])
    def test_closed_streams(self, command: str) -> None:
        done = called(f"$mmgen {command}")
        assert done.returncode == 0 and done.stderr == b""

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
    def test_a_full_disk(self) -> None:
        done = called("$mmgen --help > /dev/full")
        lines = done.stderr.decode().splitlines()
        assert done.returncode == 2 and len(lines) == 1
        assert lines[0].startswith("mmgen: error: ") and "No space left" in lines[0]


def test_a_name_that_is_no_text_is_kept(tmp_path: Path, capsys) -> None:
    """A file system's bytes that are no UTF-8, as a zip from elsewhere leaves them."""
    out = tmp_path / os.fsdecode(b"Mu\xf1oz")
    words = ["train", "vae", "--scale", "smoke", "--data-size", "8", *QUIET]
    assert main([*words, "--out", str(out)]) == 0
    about = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert about["training"]["out"] == str(out)
    assert main(["train", "--resume", str(out), "--steps", "9", *QUIET]) == 0


def test_every_file_is_read_and_written_in_a_named_encoding() -> None:
    """The machine's own encoding is cp1252 on many, and ASCII on some."""
    root = Path(mmgen.__file__).parent.parent
    nameless = []
    for folder in ("mmgen", "benchmarks", "book"):
        for path in sorted((root / folder).rglob("*.py")):
            if "_build" in path.parts:
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            nameless += [
                f"{path.relative_to(root)}:{node.lineno}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and not _names_encoding(node)
            ]
    assert nameless == []


def _names_encoding(call: ast.Call) -> bool:
    """Whether a call opens no text file, or says in which encoding."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else ""
    name = function.id if isinstance(function, ast.Name) else name
    named = {word.arg for word in call.keywords}
    if "encoding" in named:
        return True
    if name == "read_text":
        return bool(call.args)
    if name == "write_text":
        return len(call.args) > 1
    modes = [
        argument.value
        for argument in [*call.args, *(word.value for word in call.keywords)]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    owner = function.value.id if _is_named(function) else ""
    return (
        name != "open"
        or owner in ("Image", "os", "tarfile")  # other kinds of file
        or any("b" in mode for mode in modes if len(mode) <= 3)
        or (isinstance(function, ast.Attribute) and not modes)  # of our own classes
    )


def _is_named(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
