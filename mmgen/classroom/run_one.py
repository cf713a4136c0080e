"""Inside the sandbox: let otter grade one notebook, and report what it found.

Run as ``python -m mmgen.classroom.run_one AUTOGRADER_ZIP NOTEBOOK``. The report goes
through a file descriptor that the notebook's kernel does not inherit (or, in a
container, into a file): what a submission prints is never read as a score.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mmgen.classroom.build import stamp_of


def cell_errors(notebook: Any) -> list[dict[str, Any]]:
    """Errors of the executed cells: number as the student counts, kind, message.

    Otter puts cells of its own before the student's first one, which build stamped.
    """
    cells = notebook["cells"] if notebook else []
    stamps = (i for i, cell in enumerate(cells) if stamp_of({"cells": [cell]}))
    first = next(stamps, 0)
    return [
        {"cell": i - first + 1, "kind": out["ename"], "message": out["evalue"][:500]}
        for i, cell in enumerate(cells)
        for out in cell.get("outputs", [])
        if out["output_type"] == "error"
    ]


def report_of(results: Any) -> dict[str, Any]:
    """What of otter's ``GradingResults`` a teacher needs, as plain JSON."""
    failure = results.catastrophic_error
    return {
        "failure": None if failure is None else f"{type(failure).__name__}: {failure}",
        "errors": cell_errors(results.notebook),
        "questions": [
            {
                "name": name,
                "score": float(results.get_result(name).score),
                "possible": float(results.get_result(name).possible),
                "cases": [
                    {
                        "name": case.test_case.name,
                        "hidden": bool(case.test_case.hidden),
                        "passed": bool(case.passed),
                        "points": float(case.test_case.points or 0),
                        "hint": case.test_case.failure_message,
                        "message": case.message,
                    }
                    for case in results.get_result(name).test_case_results
                ],
            }
            for name in results.test_files
        ],
    }


def main() -> None:
    autograder, notebook = sys.argv[1:]
    fd = os.environ.pop("MMGEN_REPORT_FD", None)
    path = os.environ.pop("MMGEN_REPORT_FILE", None)
    if fd is not None:
        os.set_inheritable(int(fd), False)

    from otter.run import main as otter_run

    results = otter_run(notebook, autograder=autograder, output_dir="", no_logo=True)
    text = json.dumps(report_of(results))
    if fd is not None:
        with os.fdopen(int(fd), "w", encoding="utf-8") as stream:
            stream.write(text)
    elif path is not None:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)


if __name__ == "__main__":
    main()
