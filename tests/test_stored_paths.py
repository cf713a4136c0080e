"""What a file says is opened or imported only if it lies on this machine.

A run, a card or a list of shards may come from anybody. Whatever paths and classes it
names, no command runs a program, reaches for the network, imports a module of another's
or unpickles an object.
"""

from __future__ import annotations

import http.server
import json
import os
import pickle
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgen.cli import main
from mmgen.data import load_dataset
from mmgen.data.storage.shards import ShardedDataset, pack
from mmgen.metrics.inception import inception_features
from mmgen.training import Run
from tests.cli.calls import QUIET, fails

# what openers of data sets know, and what a shell would run
SPELLINGS = (
    "pipe:touch {canary}; cat",
    "PIPE:touch {canary}; cat",
    " \tpipe:touch {canary}; cat",
    "pipe://touch {canary}; cat",
    "{{pipe:touch {canary},x}}",
    "{{pipe,https}}://touch {canary}",
    "x::pipe:touch {canary}",
    "| touch {canary}",
    "$(touch {canary})",
    "-",
    "file://{canary}",
    "file:{canary}",
    "https://127.0.0.1:9/x",
    "HTTP://127.0.0.1:9/x",
    "s3://bucket/x; touch {canary}",
    "gs://bucket/x",
    "htgs://bucket/x",
    "hf://datasets/x",
    "ais://bucket/x",
    "hdfs://host/x",
    "ftp://127.0.0.1/x",
    "sftp://127.0.0.1/x",
    "scp://127.0.0.1/x",
    "scp:127.0.0.1:x",
    "ssh://127.0.0.1/x",
    "rsync://127.0.0.1/x",
    "data:application/json,{{}}",
    "\\\\server\\share",
    "//server/share",
    "a\0b",
)
PROGRAMS = ("ais", "aws", "curl", "gs", "gsutil", "hdfs", "rsync", "scp", "ssh", "sh")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shards"
    data = load_dataset("shapes", "train", 32, size=40)
    pack(data, folder)
    return folder


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on shards."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["train", "cgan", "--data", "shards", "--data-root", str(shards)]
    words += ["--image-size", "32", "--scale", "smoke", "--steps", "2"]
    assert main([*words, "--out", str(out), *QUIET]) == 0
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is there when something was run: every program here makes it."""
    canary = tmp_path / "EXECUTED"
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        path = programs / name
        path.write_text(f"#!/bin/sh\n/bin/touch {canary}\n")
        path.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    yield canary
    assert not canary.exists()


class Server:
    """Counts what it is asked for."""

    def __init__(self, folder: Path) -> None:
        asked = self.asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given, directory=str(folder))

            def do_GET(self) -> None:
                asked.append(self.path)
                super().do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(shards: Path) -> Iterator[Server]:
    server = Server(shards)
    yield server
    server.http.shutdown()
    server.http.server_close()


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    about = json.loads(path.read_text(encoding="utf-8"))
    change(about)
    path.write_text(json.dumps(about), encoding="utf-8")


def set_root(run: Path, root: Any) -> None:
    """Let a run and its checkpoints name another place of their data, as a forger."""
    files = [run / "config.json", *run.glob("checkpoints/*/checkpoint.json")]
    assert len(files) > 1
    for file in files:
        edit(file, lambda about: about["dataset"]["options"].update(root=root))


def call(*words: str | Path) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_command_opens_what_a_run_names(spelling, run, canary, capsys, tmp_path):
    root = spelling.format(canary=canary)
    set_root(run, root)
    fails(capsys, "train", "--resume", run, "--steps", "3", *QUIET)
    fails(capsys, "evaluate", run, "--split", "train", "--count", "4")
    (run / "sampler.json").unlink()  # as where a run was killed: more is read
    call("sample", run, "a red star", "--out", tmp_path / "a.png")


def test_drawing_and_exporting_open_nothing(run, canary, tmp_path):
    set_root(run, f"pipe:touch {canary}; cat")
    assert call("sample", run, "a red star", "--out", tmp_path / "a.png") == 0
    assert call("export", run, "--out", tmp_path / "a.onnx") == 0
    (run / "sampler.json").unlink()
    call("export", run, "--out", tmp_path / "a.onnx")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_is_typed_is_a_folder_or_http(spelling, canary, capsys, monkeypatch):
    monkeypatch.setattr("mmgen.data.storage.shards._PAUSES", (None,))
    root = spelling.format(canary=canary)
    fails(capsys, "data", "shards", f"--data-root={root}", "--image-size", "32")
    with pytest.raises((ValueError, FileNotFoundError), match=r"root|no manifest"):
        ShardedDataset(root=root)


def test_a_list_in_place_of_a_path(run, canary, capsys):
    set_root(run, [f"pipe:touch {canary}", "x"])
    fails(capsys, "train", "--resume", run, "--steps", "3", *QUIET)
    fails(capsys, "evaluate", run, "--split", "train")


def test_http_is_asked_only_where_it_is_typed(run, server, canary, capsys, tmp_path):
    set_root(run, server.root)
    words = ("--split", "train", "--count", "8", "--out", tmp_path / "report.json")
    line = fails(capsys, "evaluate", run, *words)
    assert server.root in line and "--data-root" in line
    line = fails(capsys, "train", "--resume", run, "--steps", "3", *QUIET)
    assert server.root in line
    assert server.asked == []
    assert call("evaluate", run, "--data-root", server.root, *words) == 0
    assert "/train.json" in server.asked


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_an_address_does_not_lead_back_to_files(target, tmp_path):
    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    httpd = http.server.HTTPServer(("127.0.0.1", 0), Redirect)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        with pytest.raises(FileNotFoundError, match="no manifest at http"):
            ShardedDataset(root=f"http://127.0.0.1:{httpd.server_port}")
    finally:
        httpd.shutdown()
        httpd.server_close()


@pytest.mark.parametrize("name", ["file:x", "D:", "C:\\birds", "pipe:x", "{a,b}", "~"])
def test_without_slashes_it_is_a_path(name, shards, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(shards, tmp_path / name / "deep")
    root = f"{name}/deep"
    assert len(load_dataset("shards", "train", 32, root=root)) == 40
    set_root(run, root)
    resumed = Run.resume(run, steps=3, progress="none", tensorboard=False)
    assert resumed.manifest["steps"] == 3


def test_packing_goes_to_folders_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = load_dataset("shapes", "train", 32, size=8)
    with pytest.raises(ValueError, match="on this machine; got 's3://b/x'"):
        pack(data, "s3://b/x")
    fails(capsys, "data", "pack", "shapes", "--data-size", "8", "--out", "s3://b/x")
    assert not any(tmp_path.iterdir())
    pack(data, "C:\\shards")
    assert len(load_dataset("shards", "train", 32, root="C:\\shards")) == 8


@pytest.mark.parametrize(
    "named", ["planted:Task", "planted.deep:Task", "mmgen.cli.__main__:main", "os:fork"]
)
@pytest.mark.parametrize("field", ["task", "config", "sampler"])
def test_no_module_is_imported_because_a_file_names_it(
    named, field, run, canary, capsys, tmp_path, monkeypatch
):
    planted = tmp_path / "planted"
    planted.mkdir()
    for module in ("__init__", "deep"):
        code = f"import pathlib; pathlib.Path({str(canary)!r}).touch()"
        (planted / f"{module}.py").write_text(f"{code}\nclass Task: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    out = tmp_path / "a.png"
    if field == "sampler":
        edit(run / "sampler.json", lambda about: about.update(sampler=named))
        line = fails(capsys, "sample", run, "a red star", "--out", out)
        fails(capsys, "export", run, "--out", tmp_path / "a.onnx")
        fails(capsys, "evaluate", run, "--split", "train")
    else:
        for file in (run / "config.json", *run.glob("checkpoints/*/checkpoint.json")):
            edit(file, lambda about: about.update({field: named}))
        line = fails(capsys, "train", "--resume", run, "--steps", "3", *QUIET)
    assert named in line and "refused" in line


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_weights_for_scores_are_not_unpickled(canary, tmp_path):
    pytest.importorskip("torch_fidelity")
    path = tmp_path / "inception.pth"
    path.write_bytes(pickle.dumps(Touch(canary), protocol=2))
    with pytest.raises(RuntimeError, match="could not be read"):
        inception_features(torch.zeros(1, 3, 8, 8), path)
