"""What a submission must not be able to do, tried for real."""

import contextlib
import json
import math
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from mmgen.classroom import sandbox
from mmgen.classroom.sandbox import Limits, run

needs_namespaces = pytest.mark.skipif(
    sandbox.available_wall() == "process",
    reason="this kernel gives no user namespaces, so there is no wall to test",
)


# Where only one is here, the other is not skipped in silence: it cannot be asked for.
WALLS_HERE = [
    pytest.param(wall, marks=pytest.mark.filterwarnings("ignore:No sandbox"))
    for wall in ("namespaces", "process")
    if wall == "process" or sandbox.available_wall() != "process"
]


def python(code: str, folder: Path, **limits: float) -> sandbox.Outcome:
    command = [sys.executable, "-c", code]
    return run(command, folder, wall="namespaces", limits=Limits(**limits))


@needs_namespaces
def test_only_the_working_folder_can_be_written(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine", encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()
    code = f"""
import os
with open("inside.txt", "w") as stream:
    stream.write("ok")
assert open("inside.txt").read() == "ok"
path = {str(outside)!r}
for attempt in (lambda: open(path, "w"), lambda: os.remove(path)):
    try:
        attempt()
        print("BROKE OUT")
    except OSError as error:
        print(error.errno)
"""
    outcome = python(code, work, seconds=30)
    assert outcome.output.split() == ["30", "30"], outcome.output  # EROFS, twice
    assert outside.read_text(encoding="utf-8") == "mine"
    # In memory only: what is written there never reaches the teacher's disk.
    assert not list(work.iterdir())


@needs_namespaces
def test_the_wall_cannot_be_taken_down_from_inside(tmp_path: Path) -> None:
    code = """
import subprocess
mount = ["mount", "-o", "remount,rw,bind", "/"]
for how in (mount, ["unshare", "--user", "--map-root-user", "--mount", *mount]):
    print(subprocess.run(how, capture_output=True).returncode != 0)
"""
    assert python(code, tmp_path, seconds=30).output.split() == ["True", "True"]


@needs_namespaces
def test_no_network_but_a_loopback_of_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), 2)
    print("REACHED THE TEACHER")
except OSError:
    print("alone")
own = socket.create_server(("127.0.0.1", 0))
socket.create_connection(own.getsockname(), 2)
print("loopback")
"""
        assert python(code, tmp_path, seconds=30).output.split() == [
            "alone",
            "loopback",
        ]


def marked(marker: str) -> list[str]:
    """Processes with a word in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended while we looked
            if marker.encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


@needs_namespaces
def test_an_endless_loop_ends_and_leaves_no_process(tmp_path: Path) -> None:
    marker = f"mmgen-marker-{os.getpid()}"
    code = (
        f"import subprocess, sys; name = {marker!r}\n"
        "subprocess.Popen([sys.executable, '-c', 'while True: pass', name])\n"
        "while True: pass"
    )
    outcome = python(code, tmp_path, seconds=2)
    assert outcome.timed_out and outcome.seconds < 10
    # The kernel ends what was in the namespace, which can take it a moment.
    deadline = time.monotonic() + 20
    while (left := marked(marker)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No sandbox")
def test_a_kernel_ends_with_its_parent_where_there_is_no_wall(tmp_path: Path) -> None:
    started = tmp_path / "started"
    endless = f"open({str(started)!r}, 'w'); x = 1\nwhile True: pass"
    cells = [{"number": 1, "source": endless, "checks": []}]
    job = {"file": "a.ipynb", "notebook": {}, "cells": cells, "allowed": []}
    script = Path(sandbox.__file__).with_name("run_one.py")
    (tmp_path / "work").mkdir()
    outcome = run(
        [sys.executable, "-P", str(script)],
        tmp_path / "work",
        wall="process",
        limits=Limits(seconds=20),
        job=json.dumps({**job, "tests": {}, "token": ""}).encode(),
    )
    assert outcome.timed_out and started.exists(), outcome
    deadline = time.monotonic() + 20
    # The kernel's command line names its connection file, below the working folder.
    while (left := marked(str(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


@needs_namespaces
def test_twenty_gigabytes_are_refused(tmp_path: Path) -> None:
    outcome = python("x = bytearray(20 << 30)", tmp_path, seconds=30, memory_gb=2)
    assert outcome.status != 0 and "MemoryError" in outcome.output


@pytest.mark.parametrize("wall", WALLS_HERE)
def test_the_largest_file(wall: str, tmp_path: Path) -> None:
    code = """
for megabytes in (1, 3):
    try:
        with open("file", "wb") as stream:
            stream.write(bytes(megabytes << 20))
        print("written")
    except OSError as error:
        print(error.errno)
"""
    outcome = run(
        [sys.executable, "-c", code],
        tmp_path,
        wall=wall,
        limits=Limits(seconds=30, file_gb=2 / 1024),
    )
    assert outcome.output.split() == ["written", "27"]  # EFBIG


@needs_namespaces
def test_all_files_together(tmp_path: Path) -> None:
    code = """
try:
    for i in range(9):
        with open(str(i), "wb") as stream:
            stream.write(bytes(1 << 20))
except OSError as error:
    print(i, error.errno)
"""
    outcome = python(code, tmp_path, seconds=30, folder_gb=4 / 1024)
    assert outcome.output.split() == ["4", "28"]  # ENOSPC


REPORTS = """
import subprocess, sys
sys.path.append(FOLDER)
from run_one import close_doors
close_doors()
job = sys.stdin.read()
subprocess.run([sys.executable, "-c", CHILD], stdout=2)
print(job[::-1], end="")
"""
FORGES = """
import os
errors = []
for name, how in (("0", 1), ("1", 1), ("2", 1), ("../mem", 0)):
    try:
        os.write(os.open(f"/proc/{os.getppid()}/fd/{name}", how), b"forged")
    except OSError as error:
        errors.append(error.errno)
print(errors, end="")
"""


@pytest.mark.parametrize("wall", WALLS_HERE)
def test_a_report_is_the_commands_own(wall: str, tmp_path: Path) -> None:
    code = REPORTS.replace("FOLDER", repr(str(Path(sandbox.__file__).parent)))
    outcome = run(
        [sys.executable, "-c", code.replace("CHILD", repr(FORGES))],
        tmp_path,
        wall=wall,
        limits=Limits(seconds=30),
        job=b"a secret",
    )
    assert (outcome.status, outcome.report) == (0, b"terces a"), outcome
    assert outcome.output == "[13, 13, 13, 13]"  # EACCES


@pytest.mark.parametrize("wall", WALLS_HERE)
def test_a_report_without_end_is_none(wall: str, tmp_path: Path) -> None:
    code = (
        "import os\nwhile True: os.write(1, bytes(1 << 20)); os.write(2, b'x' * 9999)"
    )
    outcome = run(
        [sys.executable, "-c", code],
        tmp_path,
        wall=wall,
        limits=Limits(seconds=2),
        job=b"",
    )
    assert outcome.timed_out and outcome.report is None
    assert outcome.output == "x" * sandbox.OUTPUT


@needs_namespaces
def test_folders_of_the_class_look_empty_and_processes_are_unseen(
    tmp_path: Path,
) -> None:
    work, bundles = tmp_path / "work", tmp_path / "Bündel mit Raum"
    for folder in (work, bundles):
        folder.mkdir()
    (bundles / "autograder.zip").write_bytes(b"hidden tests")
    code = f"""
import os
print(os.listdir({str(bundles)!r}), os.path.exists("/proc/{os.getpid()}/cmdline"))
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/pid_max"):
    try:
        os.open(path, os.O_WRONLY)
        print("BROKE OUT")
    except OSError as error:
        print(error.errno)
"""
    outcome = run(
        [sys.executable, "-c", code],
        work,
        wall="namespaces",
        limits=Limits(seconds=30),
        hide=[bundles, tmp_path, Path(sys.prefix).parent],  # the latter two: needed
    )
    assert outcome.output.split() == ["[]", "False", "30", "30"], outcome.output
    assert (bundles / "autograder.zip").read_bytes() == b"hidden tests"


def test_limits_are_positive_numbers() -> None:
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="seconds must be a positive number"):
            Limits(seconds=wrong)


def test_a_plain_process_warns_that_it_is_no_wall(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="No sandbox"):
        outcome = run(
            [sys.executable, "-c", "print(6 * 7)"],
            tmp_path,
            wall="process",
            limits=Limits(seconds=30),
        )
    assert outcome.output.strip() == "42" and outcome.status == 0


def test_docker_gets_no_network_and_a_memory_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No engine here: a program of that name writes down what it was asked to do.
    fake = tmp_path / "bin" / "docker"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("MMGEN_GRADE_IMAGE", "mmgen:grade")
    monkeypatch.setattr(os, "defpath", f"{fake.parent}:{os.defpath}")
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    work = tmp_path / "work"
    work.mkdir()
    outcome = run(
        [sys.executable, "-m", "x"], work, wall="docker", limits=Limits(memory_gb=3)
    )
    asked = outcome.output.split()
    assert {"--network=none", "--read-only", "--cap-drop=ALL", "--memory=3g"} <= set(
        asked
    )
    # No folder of the teacher is inside: what it writes to is memory.
    assert not any(word.startswith("--volume") for word in asked)
    assert f"--tmpfs={work}:size=512m" in asked and "--interactive" in asked
    assert asked[-4:] == ["mmgen:grade", "python", "-m", "x"]


def test_unknown_wall(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"wall must be one of.*got 'moat'"):
        run(["true"], tmp_path, wall="moat", limits=Limits())
