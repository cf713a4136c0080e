"""Run a command on which nobody may rely: limited time and memory, no network.

Three walls, the best that the machine has:

* ``docker``: a container without network (needs a Docker engine and an image),
* ``namespaces``: Linux namespaces through ``unshare``; the whole file system is
  read-only but for the working folder; no network but a loopback of its own,
* ``process``: a child process with limits only. It can reach the network and every
  file that the teacher can, so ``run`` warns.

In the first two the working folder is a file system in memory of limited size: nothing
that is written there reaches a disk.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

WALLS = ("docker", "namespaces", "process")
OUTPUT = 20_000  # characters of the output that are kept
REPORT = 4 << 20  # bytes that a report may have


@dataclass(frozen=True)
class Limits:
    """What a sandboxed command may use.

    Raises:
        ValueError: a limit that is not a positive number.
    """

    seconds: float = 120.0  # wall time
    memory_gb: float = 6.0  # data segment of a process, GiB
    file_gb: float = 0.5  # largest file it may write, GiB
    folder_gb: float = 0.5  # all that it may write, GiB; not held by "process"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (0 < value < math.inf):
                raise ValueError(
                    f"{field.name} must be a positive number; got {value:g}."
                )


@dataclass(frozen=True)
class Outcome:
    """How a sandboxed command ended."""

    status: int  # exit status; negative: the signal that ended it
    timed_out: bool
    output: str  # stdout and stderr together, the last 20,000 characters
    seconds: float
    report: bytes | None = None  # stdout of a command with a job; None: too long


def available_wall() -> str:
    """The best wall that works here: "docker", "namespaces" or "process"."""
    if shutil.which("docker") and os.environ.get("MMGEN_GRADE_IMAGE"):
        answer = subprocess.run(["docker", "info"], capture_output=True, timeout=30)
        if answer.returncode == 0:
            return "docker"
    if shutil.which("unshare") and shutil.which("setpriv"):
        with tempfile.TemporaryDirectory() as folder:
            trial = _in_namespaces(["true"], Path(folder), Limits(), [])
            answer = subprocess.run(trial, capture_output=True, timeout=30)
        if answer.returncode == 0:
            return "namespaces"
    return "process"


# A user namespace of its own makes the others possible without being root; --kill-child
# ends everything inside when unshare itself is ended.
_NAMESPACES = [
    *("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid"),
    *("--ipc", "--fork", "--kill-child"),
]


def run(
    command: list[str],
    folder: Path,
    *,
    wall: str,
    limits: Limits,
    job: bytes | None = None,
    hide: Sequence[Path] = (),
) -> Outcome:
    """Run ``command`` in ``folder``, the one place that it may write to.

    Args:
        command: program and arguments.
        folder: empty working folder; HOME and TMPDIR lie in it.
        wall: one of ``WALLS``.
        limits: time, memory and disk.
        job: what the command reads from stdin. With a job, its stdout is a report of
            its own, apart from the output.
        hide: folders that the command is to see empty; not for "process". Folders that
            hold this Python, the package or ``folder`` stay visible.

    Raises:
        ValueError: an unknown wall.
    """
    if wall not in WALLS:
        raise ValueError(f"wall must be one of {WALLS}; got {wall!r}.")
    folder = folder.resolve()
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        # One thread each: two graders that both use every core are slower than one.
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
    }
    name = f"mmgen-{secrets.token_hex(8)}"
    if wall == "docker":
        full = _docker(name, command, folder, environment, limits)
    elif wall == "namespaces":
        full = _in_namespaces(command, folder, limits, hide)
    else:
        warnings.warn(
            "No sandbox on this machine: submissions run as ordinary processes, which "
            "can reach the network and your files. Grade in a virtual machine, or on "
            "Linux with `unshare`, or with Docker.",
            stacklevel=2,
        )
        full = command

    def limit() -> None:  # runs in the child, before the command starts
        os.setsid()
        data, size = (int(gb * 2**30) for gb in (limits.memory_gb, limits.file_gb))
        resource.setrlimit(resource.RLIMIT_DATA, (data, data))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    start = time.monotonic()
    # A socket, for /proc/PID/fd of a pipe could be opened by others and written to.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            full,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL if job is None else subprocess.PIPE,
            stdout=subprocess.PIPE if job is None else theirs.fileno(),
            stderr=subprocess.STDOUT if job is None else subprocess.PIPE,
            preexec_fn=limit,
        )
        theirs.close()
        output, report = _Kept(OUTPUT, last=True), _Kept(REPORT, last=False)
        threads = [_started(output.fill, child.stdout if job is None else child.stderr)]
        if job is not None:
            threads.append(_started(report.fill, ours.makefile("rb")))
            threads.append(_started(_give, child.stdin, job))
        timed_out = False
        try:
            status = child.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
            status = _end(child)
        finally:
            # Also when the teacher presses Ctrl-C: nothing of it may live on.
            _end(child)
            if wall == "docker" and child.returncode:  # its client is not the container
                subprocess.run(["docker", "kill", name], capture_output=True)
        seconds = time.monotonic() - start
        for thread in threads:
            # What a plain process left behind may hold its end open for ever.
            thread.join(5)
    return Outcome(
        status,
        timed_out,
        bytes(output.content).decode("utf-8", "replace"),
        seconds,
        None if report.full else bytes(report.content),
    )


class _Kept:
    """The last or the first bytes of a stream that may be endless."""

    def __init__(self, size: int, *, last: bool) -> None:
        self.size, self.last = size, last
        self.content = bytearray()
        self.full = False

    def fill(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError), stream:
            while more := stream.read1(1 << 16):  # type: ignore[attr-defined]
                self.full = self.full or len(self.content) + len(more) > self.size
                if self.last:
                    self.content += more
                    del self.content[: -self.size]
                elif not self.full:
                    self.content += more


def _started(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def _give(stream: IO[bytes], job: bytes) -> None:
    with contextlib.suppress(OSError), stream:  # it need not want the job
        stream.write(job)


def _end(child: subprocess.Popen[bytes]) -> int:
    """Kill a command with its group; the exit status."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def _can_be_hidden(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Those of some folders without which the command still runs."""
    needed = [folder, Path(sys.prefix), Path(sys.base_prefix), Path(__file__)]
    needed += [Path(entry) for entry in sys.path if entry]
    needed += [path.resolve() for path in needed]
    resolved = (path.resolve() for path in paths if path.is_dir())
    return [p for p in resolved if not any(n.is_relative_to(p) for n in needed)]


def _in_namespaces(
    command: list[str], folder: Path, limits: Limits, hide: Sequence[Path]
) -> list[str]:
    """The ``unshare`` line that holds ``command``."""
    plan = {
        "folder": str(folder),
        "megabytes": math.ceil(limits.folder_gb * 1024),
        "hide": [str(path) for path in _can_be_hidden(hide, folder)],
    }
    inside = Path(__file__).with_name("walls.py")
    return [*_NAMESPACES, sys.executable, str(inside), json.dumps(plan), *command]


def _docker(
    name: str,
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    limits: Limits,
) -> list[str]:
    """The ``docker run`` line that holds ``command``."""
    inside = {key: value for key, value in environment.items() if key != "PATH"}
    variables = [f"--env={key}={value}" for key, value in inside.items()]
    megabytes = math.ceil(limits.folder_gb * 1024)
    return [
        *("docker", "run", "--rm", "--interactive", f"--name={name}"),
        *("--network=none", "--read-only", "--cap-drop=ALL"),
        *("--security-opt=no-new-privileges", "--pids-limit=256"),
        *(f"--tmpfs=/tmp:size={megabytes}m", f"--tmpfs={folder}:size={megabytes}m"),
        f"--memory={limits.memory_gb:g}g",
        f"--ulimit=fsize={int(limits.file_gb * 2**30)}",
        f"--workdir={folder}",
        f"--user={os.getuid()}:{os.getgid()}",
        *variables,
        os.environ["MMGEN_GRADE_IMAGE"],
        *("python", *command[1:]),
    ]
