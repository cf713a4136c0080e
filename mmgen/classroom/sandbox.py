"""Run a command on which nobody may rely: limited time and memory, no network.

Three walls, the best that the machine has:

* ``docker``: a container without network (needs a Docker engine and an image),
* ``namespaces``: Linux namespaces through ``unshare``; the whole file system is
  read-only but for the working folder; no network but a loopback of its own,
* ``process``: a child process with limits only. It can reach the network and every
  file that the teacher can, so ``run`` warns.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

WALLS = ("docker", "namespaces", "process")


@dataclass(frozen=True)
class Limits:
    """What a sandboxed command may use."""

    seconds: float = 120.0  # wall time
    memory_gb: float = 6.0  # data segment of a process, GiB
    file_gb: float = 0.5  # largest file it may write, GiB


@dataclass(frozen=True)
class Outcome:
    """How a sandboxed command ended."""

    status: int  # exit status; negative: the signal that ended it
    timed_out: bool
    output: str  # stdout and stderr together, the last 20,000 characters
    seconds: float


def available_wall() -> str:
    """The best wall that works here: "docker", "namespaces" or "process"."""
    if shutil.which("docker") and os.environ.get("MMGEN_GRADE_IMAGE"):
        answer = subprocess.run(["docker", "info"], capture_output=True, timeout=30)
        if answer.returncode == 0:
            return "docker"
    if shutil.which("unshare") and shutil.which("setpriv"):
        trial = subprocess.run(
            [*_NAMESPACES, "true"], capture_output=True, text=True, timeout=30
        )
        if trial.returncode == 0:
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
    report_fd: int | None = None,
) -> Outcome:
    """Run ``command`` in ``folder``, the one place that it may write to.

    Args:
        command: program and arguments.
        folder: working folder; HOME and TMPDIR lie in it.
        wall: one of ``WALLS``.
        limits: time, memory and file size.
        report_fd: a file descriptor that the command inherits, named to it in
            ``MMGEN_REPORT_FD``; not for Docker, which gets a file instead.

    Raises:
        ValueError: an unknown wall.
    """
    if wall not in WALLS:
        raise ValueError(f"wall must be one of {WALLS}; got {wall!r}.")
    folder = folder.resolve()
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        # One thread each: two graders that both use every core are slower than one.
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
    }
    fds: tuple[int, ...] = ()
    if report_fd is not None:
        environment["MMGEN_REPORT_FD"] = str(report_fd)
        fds = (report_fd,)
    if wall == "docker":
        full = _docker(command, folder, environment, limits)
    elif wall == "namespaces":
        inside = Path(__file__).with_name("walls.py")
        full = [*_NAMESPACES, sys.executable, str(inside), str(folder), *command]
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
    log = folder / "sandbox.log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            full,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            preexec_fn=limit,
        )
        timed_out = False
        try:
            status = child.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            status = child.wait()
        finally:
            # Also when the teacher presses Ctrl-C: nothing of it may live on.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    seconds = time.monotonic() - start
    output = log.read_text(encoding="utf-8", errors="replace")[-20_000:]
    return Outcome(status, timed_out, output, seconds)


def _docker(
    command: list[str], folder: Path, environment: dict[str, str], limits: Limits
) -> list[str]:
    """The ``docker run`` line that holds ``command``."""
    inside = {**environment, "MMGEN_REPORT_FILE": str(folder / "report.json")}
    inside.pop("MMGEN_REPORT_FD", None)
    inside.pop("PATH")
    variables = [f"--env={name}={value}" for name, value in inside.items()]
    return [
        *("docker", "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL"),
        *("--security-opt=no-new-privileges", "--pids-limit=256", "--tmpfs=/tmp"),
        f"--memory={limits.memory_gb:g}g",
        f"--volume={folder}:{folder}",
        f"--workdir={folder}",
        f"--user={os.getuid()}:{os.getgid()}",
        *variables,
        os.environ["MMGEN_GRADE_IMAGE"],
        *("python", *command[1:]),
    ]
