"""Grade a folder of submissions with otter, each in a sandbox of its own."""

from __future__ import annotations

import csv
import html
import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmgen.classroom import sandbox
from mmgen.classroom.build import Bundle, bundle, stamp_of


@dataclass
class Grade:
    """One submission's result."""

    student: str
    file: str
    score: float = 0.0
    possible: float = 0.0
    reason: str = ""  # why it is zero or needs a look; empty where nothing is
    seconds: float = 0.0
    questions: list[dict[str, Any]] = field(default_factory=list)


def submissions(folder: Path) -> dict[str, list[Path]]:
    """Student id -> files: ``ID.ipynb`` (any ending), or ``ID/anything``.

    Raises:
        FileNotFoundError: no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"submissions must be a folder with one file or folder a student; got "
            f"{folder}, which does not exist."
        )
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        files = (
            sorted(p for p in path.rglob("*") if p.is_file())
            if path.is_dir()
            else [path]
        )
        notebooks = [p for p in files if p.suffix == ".ipynb"] or files
        found[path.stem if path.is_file() else path.name] += notebooks or [path]
    if not found:
        raise FileNotFoundError(
            f"submissions must not be an empty folder; got {folder}."
        )
    return dict(found)


def unfit(path: Path, expected: Bundle) -> str:
    """Why a file cannot be graded at all; empty when it can."""
    if not path.is_file() or path.stat().st_size == 0:
        return "empty: nothing was handed in"
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = notebook["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        return f"not a notebook: {path.name} ({type(error).__name__})"
    if not code:
        return "a notebook without any code cell"
    stamp = stamp_of(notebook)
    if stamp is None:
        return (
            "the first code cell, which names assignment and version, is missing or "
            "was changed"
        )
    if stamp[0] != expected.name:
        return f"another assignment: {stamp[0]}, graded is {expected.name}"
    if stamp[1] != expected.version:
        return (
            f"another version: {stamp[1]}, graded is {expected.version}; copy the "
            "answers into a fresh notebook, or build that version"
        )
    return ""


def grade_one(
    student: str, path: Path, expected: Bundle, wall: str, limits: sandbox.Limits
) -> Grade:
    """Grade one file; whatever it does ends in a ``Grade``."""
    result = Grade(student, path.name, possible=float("nan"))
    if reason := unfit(path, expected):
        result.reason = reason
        return result
    with tempfile.TemporaryDirectory(prefix="mmgen-grade-") as scratch:
        folder = Path(scratch)
        # Otter insists on the name that its first cell was made with.
        notebook = folder / f"{expected.name}.ipynb"
        shutil.copy(path, notebook)
        shutil.copy(expected.autograder, folder / "autograder.zip")
        read_end, write_end = os.pipe()
        command = [sys.executable, "-m", "mmgen.classroom.run_one"]
        try:
            outcome = sandbox.run(
                [*command, "autograder.zip", notebook.name],
                folder,
                wall=wall,
                limits=limits,
                report_fd=write_end,
            )
        finally:
            os.close(write_end)
            with os.fdopen(read_end, encoding="utf-8") as stream:
                text = stream.read()
        if wall == "docker" and (folder / "report.json").is_file():
            text = (folder / "report.json").read_text(encoding="utf-8")
    result.seconds = outcome.seconds
    if outcome.timed_out:
        result.reason = f"stopped after {limits.seconds:g} s: an endless loop?"
        return result
    if not text:
        last = outcome.output.strip().splitlines()[-1:] or ["no output"]
        result.reason = f"grading ended with status {outcome.status}: {last[0][:200]}"
        return result
    report = json.loads(text)
    result.questions = report["questions"]
    result.score = sum(q["score"] for q in report["questions"])
    result.possible = sum(q["possible"] for q in report["questions"])
    if report["failure"]:
        result.reason = report["failure"][:300]
    elif report["errors"]:
        first = report["errors"][0]
        message = first["message"].splitlines()[0] if first["message"] else ""
        result.reason = f"cell {first['cell']}: {first['kind']}: {message}"[:300]
    elif result.score == 0:
        result.reason = "no graded test passes"
    return result


def grade(
    folder: Path,
    assignment: str,
    *,
    bundles: Path,
    out: Path,
    jobs: int = 2,
    limits: sandbox.Limits | None = None,
    wall: str | None = None,
) -> list[Grade]:
    """Grade every submission of ``folder``; write CSV, feedback pages and a plot.

    Args:
        folder: one file, or one folder, a student; its name is the student's id.
        assignment: name of an assignment that ``make assignments`` built.
        bundles: where it was built.
        out: where ``grades.csv``, ``feedback/ID.html`` and ``summary.png`` go.
        jobs: submissions graded at a time.
        limits: of one submission.
        wall: one of ``sandbox.WALLS``; the best available by default.

    Returns:
        One grade a student, in order of the ids.

    Raises:
        FileNotFoundError: no submissions, or an assignment that was not built.
        OSError: ``out`` cannot be written (found out before anything is graded).
    """
    expected = bundle(bundles, assignment)
    found = submissions(folder)
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    table = out / "grades.csv"
    with table.open("a", encoding="utf-8"):
        pass  # a table open elsewhere or a read-only folder shows now, not at the end
    wall = wall or sandbox.available_wall()
    limits = limits or sandbox.Limits()

    def one(item: tuple[str, list[Path]]) -> Grade:
        student, files = item
        if len(files) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in files)
            reason = f"several files of one student id: {names}; keep one"
            return Grade(student, files[0].name, possible=float("nan"), reason=reason)
        return grade_one(student, files[0], expected, wall, limits)

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        grades = list(pool.map(one, sorted(found.items())))
    possible = max(
        (g.possible for g in grades if g.possible == g.possible), default=0.0
    )
    for each in grades:
        if each.possible != each.possible:  # not run: out of what the others could get
            each.possible = possible
    write_table(grades, table)
    for each in grades:
        page = out / "feedback" / f"{each.student}.html"
        page.write_text(feedback(each, assignment), encoding="utf-8")
    plot(grades, assignment, out / "summary.png")
    return grades


def _names(grades: list[Grade]) -> list[str]:
    """All questions, in the order of the assignment."""
    return sorted({q["name"] for g in grades for q in g.questions})


def write_table(grades: list[Grade], path: Path) -> None:
    """Write one row a student, under a temporary name first."""
    questions = _names(grades)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        head = ["student", "file", "score", "possible", *questions, "seconds", "reason"]
        writer.writerow(head)
        for each in grades:
            points = {q["name"]: f"{q['score']:g}" for q in each.questions}
            writer.writerow(
                [
                    each.student,
                    each.file,
                    f"{each.score:g}",
                    f"{each.possible:g}",
                    *(points.get(name, "0") for name in questions),
                    f"{each.seconds:.1f}",
                    each.reason,
                ]
            )
    partial.replace(path)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; color: #1c1c1c; background: #fff; }}
pre {{ background: #f3f3f3; padding: .6rem; overflow-x: auto; white-space: pre-wrap; }}
.passed {{ color: #005a32; }} .failed {{ color: #9b1c1c; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e8e8e8; background: #16181c; }}
  pre {{ background: #24272d; }} .passed {{ color: #7fd6a4; }}
  .failed {{ color: #ff9a9a; }} }}
</style>
<h1>{title}</h1>
<p>{student}: <strong>{score:g} of {possible:g} points</strong></p>
{body}
</html>
"""


def _cases(question: dict[str, Any]) -> Iterator[str]:
    """One list item a test; a hidden test tells its hint, not its cases."""
    for case in question["cases"]:
        kind = "passed" if case["passed"] else "failed"
        name = case["name"].removeprefix("test_").replace("_", " ")
        text = f'<li><span class="{kind}">{kind}</span>: {html.escape(name)}'
        if not case["passed"]:
            if case["hint"]:
                text += f"<br>{html.escape(case['hint'])}"
            if case["message"] and not case["hidden"]:
                text += f"<pre>{html.escape(case['message'].strip()[:1500])}</pre>"
        yield text + "</li>"


def feedback(each: Grade, assignment: str) -> str:
    """The feedback page of one student, as HTML that stands alone."""
    parts = [f"<p>Please look at this: {html.escape(each.reason)}</p>"] * bool(
        each.reason
    )
    for question in each.questions:
        head = f"{question['name']}: {question['score']:g} of {question['possible']:g}"
        parts.append(
            f"<h2>{html.escape(head)}</h2><ul>{''.join(_cases(question))}</ul>"
        )
    return _PAGE.format(
        title=f"Feedback: {html.escape(assignment)}",
        student=html.escape(each.student),
        score=each.score,
        possible=each.possible,
        body="\n".join(parts),
    )


def plot(grades: list[Grade], assignment: str, path: Path) -> None:
    """Draw the class: share of the points of every question, a dot a student."""
    from matplotlib.figure import Figure

    names = _names(grades)
    figure = Figure(figsize=(1.6 + 1.1 * max(len(names), 2), 3.6), layout="constrained")
    axes = figure.add_subplot()
    for i, name in enumerate(names):
        shares = [
            q["score"] / q["possible"]
            for g in grades
            for q in g.questions
            if q["name"] == name and q["possible"]
        ]
        shares += [0.0] * (len(grades) - len(shares))  # what did not run has no points
        # Dots of equal height stand side by side instead of on top of each other.
        seen: dict[float, int] = defaultdict(int)
        offsets = []
        for share in shares:
            offsets.append((seen[share] % 9 - 4) * 0.07)
            seen[share] += 1
        xs = [i + offset for offset in offsets]
        axes.plot(xs, shares, "o", color="#0072B2", alpha=0.35, markersize=5)
        mean = sum(shares) / len(shares)
        axes.plot([i - 0.35, i + 0.35], [mean, mean], color="#D55E00", linewidth=2.5)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(-0.06, 1.06)
    axes.set_ylabel("share of the points")
    axes.set_xlabel("question (line: mean of the class)")
    axes.set_title(f"{assignment}: {len(grades)} submissions")
    figure.savefig(path, dpi=150)
