"""Inside the sandbox: run one notebook in a kernel, test it, report what came out.

Run as ``python -m mmgen.classroom.run_one``: the job comes through stdin, the report
goes to stdout, both as JSON. The kernel with the student's code is a child; it inherits
neither, and cannot open them through ``/proc``. The report is written when everything
that the student started has been ended.
"""

from __future__ import annotations

import ast
import ctypes
import json
import os
import queue
import secrets
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

JUDGE = "_mmgen_judge"
ERRORS = 20  # cells with an error that are reported


def close_doors() -> None:
    """Keep children of the same user out of this process (Linux).

    Without "dumpable", /proc/PID/fd, its memory and tracing are for those only who have
    the capability to trace, which is taken from all that will be started from here.
    """
    if sys.platform != "linux":
        return
    prctl = ctypes.CDLL(None).prctl
    set_dumpable, drop_from_bounding_set, set_no_new_privileges = 4, 24, 38
    prctl(set_dumpable, 0, 0, 0, 0)
    for capability in range(64):
        prctl(drop_from_bounding_set, capability, 0, 0, 0)
    prctl(set_no_new_privileges, 1, 0, 0, 0)


class Kernel:
    """A Jupyter kernel of this very Python; outputs are thrown away."""

    def __init__(self) -> None:
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import KernelManager

        # No folder to search: the kernel of this environment, whatever is installed.
        specs = KernelSpecManager(kernel_dirs=[])
        self.manager = KernelManager(
            kernel_name="python3", kernel_spec_manager=specs, autorestart=False
        )
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        # Nobody listens to what is printed: it can be endless.
        self.client.start_channels(iopub=False, stdin=False, hb=False)
        self._reply(self.client.kernel_info())

    def run(self, source: str, **options: Any) -> dict[str, Any]:
        """Run a cell.

        Returns:
            The content of the kernel's reply.

        Raises:
            ChildProcessError: the kernel ended.
        """
        options = {"allow_stdin": False, "stop_on_error": False, **options}
        return self._reply(self.client.execute(source, **options))

    def _reply(self, asked: str) -> dict[str, Any]:
        while True:
            try:
                message = self.client.get_shell_msg(timeout=0.5)
            except queue.Empty:
                if not self.manager.is_alive():
                    raise ChildProcessError("the notebook's process ended") from None
                continue
            if message["parent_header"].get("msg_id") == asked:
                return message["content"]

    def end(self) -> None:
        """End the kernel and what it started, as far as it can be found."""
        group = getattr(self.manager.provisioner, "pgid", None)
        with suppress(Exception):
            self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        if group is not None and group != os.getpgid(0):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        if os.getpid() == 1:  # in a process namespace of its own: everybody else
            with suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Run the cells, then the tests.

    Args:
        job: ``file`` and ``notebook`` (the handed-out notebook and its name, for
            otter), ``cells`` (number, source, and the questions checked after it),
            ``allowed`` (modules of mmgen) and ``tests`` (question -> source).

    Returns:
        ``errors`` (cell, kind, message), ``failure`` (why there is no result, or
        None), ``refused`` and ``questions`` as ``mmgen.classroom.judge.judge``.
    """
    Path(job["file"]).write_text(json.dumps(job["notebook"]), encoding="utf-8")
    report: dict[str, Any] = {
        "errors": [],
        "failure": None,
        "refused": [],
        "questions": {},
    }
    source = Path(__file__).with_name("judge.py").read_text(encoding="utf-8")
    package = str(Path(__file__).parents[1]) + os.sep
    load = (
        f"import sys as s, types as t; m = t.ModuleType({JUDGE!r})\n"
        f"s.modules[{JUDGE!r}] = m; exec(compile({source!r}, {JUDGE!r}, 'exec'), "
        "m.__dict__)\ndel s, t, m\n"
        f"__import__({JUDGE!r}).start(get_ipython().user_ns, {package!r}, "
        f"{job['allowed']!r})"
    )
    quiet = {"store_history": False}
    kernel = Kernel()
    where = "before the first cell"
    try:
        begun = kernel.run(load, **quiet)
        if begun["status"] != "ok":
            raise RuntimeError(f"the judge does not start: {begun.get('evalue')}")
        for cell in job["cells"]:
            where = f"in cell {cell['number']}"
            reply = kernel.run(cell["source"])
            if reply["status"] != "ok" and len(report["errors"]) < ERRORS:
                error = {
                    "cell": cell["number"],
                    "kind": str(reply.get("ename"))[:100],
                    "message": str(reply.get("evalue"))[:500],
                }
                report["errors"].append(error)
            for check in cell["checks"]:
                kernel.run(f"__import__({JUDGE!r}).remember({check!r})", **quiet)
        where = "in the tests"
        token = secrets.token_hex(16)
        call = f"__import__({JUDGE!r}).judge({job['tests']!r}, {token!r})"
        reply = kernel.run("", user_expressions={"report": call}, **quiet)
        answer, why = _answer(reply, token)
        if answer is None:
            report["failure"] = f"the tests could not be run: {why}"
        else:
            report.update(answer)
    except ChildProcessError as error:
        report["failure"] = f"{error} {where} (os._exit, a crash, or too much memory)"
    finally:
        kernel.end()
    return report


def _answer(reply: dict[str, Any], token: str) -> tuple[dict[str, Any] | None, str]:
    """What the judge said in a kernel's reply, or why it is not the judge's word."""
    said = reply.get("user_expressions", {}).get("report", {})
    if said.get("status") != "ok":
        return None, f"{said.get('ename')}: {said.get('evalue')}"[:300]
    try:
        answer = json.loads(ast.literal_eval(said["data"]["text/plain"]))
        assert answer["token"] == token
        return {key: answer[key] for key in ("refused", "questions")}, ""
    except (ValueError, SyntaxError, TypeError, KeyError, AssertionError):
        return None, "the notebook changed what runs them"


def main() -> None:
    close_doors()
    job = json.loads(sys.stdin.buffer.read())
    # What anything here prints must not get into the report.
    report_fd = os.dup(1)
    os.dup2(2, 1)
    report = {**run_job(job), "token": job["token"]}
    with os.fdopen(report_fd, "w", encoding="utf-8") as stream:
        json.dump(report, stream)


if __name__ == "__main__":
    main()
