"""Grade a folder of submissions with otter, each in a sandbox of its own.

Everything that decides is the bundle's: assignment, kernel, tests and points. Of a
submission only the text of its cells is used.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import html
import io
import json
import re
import secrets
import sys
import tempfile
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmgen.classroom import sandbox
from mmgen.classroom.build import (
    CHECK,
    Bundle,
    bundle,
    stamp_of,
    test_sources,
    text_of,
)
from mmgen.classroom.handed_in import Unfit, content_of, shown, submissions, visible
from mmgen.data.files import write_atomically

CODE = 4 << 20  # characters of code that a notebook may have


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
    page: str = ""  # its feedback, below ``feedback/``


def notebook_of(content: bytes, name: str, expected: Bundle) -> dict[str, Any]:
    """The notebook that a file holds.

    Raises:
        Unfit: it cannot be graded; the message says why.
    """
    try:
        notebook = json.loads(content.removeprefix(b"\xef\xbb\xbf"))
        cells = notebook["cells"]
        code = [cell for cell in cells if _is_code(cell)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unfit(f"not a notebook: {name} ({type(error).__name__})") from None
    if not isinstance(cells, list) or not code:
        raise Unfit("a notebook without any code cell")
    stamp = stamp_of(notebook)
    if stamp is None:
        raise Unfit(
            "the first code cell, which names assignment and version, is missing or "
            "was changed"
        )
    if stamp[0] != expected.name:
        raise Unfit(f"another assignment: {stamp[0]}, graded is {expected.name}")
    if stamp[1] != expected.version:
        raise Unfit(
            f"another version: {stamp[1]}, graded is {expected.version}; copy the "
            "answers into a fresh notebook, or build that version"
        )
    if sum(len(text_of(cell)) for cell in code) > CODE:
        raise Unfit(f"more than {CODE >> 20} million characters of code")
    return notebook


def _is_code(cell: Any) -> bool:
    return isinstance(cell, dict) and cell.get("cell_type") == "code"


def allowed_imports(handed_out: dict[str, Any]) -> list[str]:
    """Modules of this package that the handed-out notebook itself imports."""
    found = set()
    for cell in filter(_is_code, handed_out["cells"]):
        try:
            tree = ast.parse(text_of(cell))
        except SyntaxError:
            continue  # a cell with a % command
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {node.module} - {"mmgen"}
    return sorted(name for name in found if name.partition(".")[0] == "mmgen")


def unanswered(notebook: dict[str, Any], handed_out: dict[str, Any]) -> set[str]:
    """Questions whose answer cells are still as they were handed out."""
    there = {text_of(cell).strip() for cell in notebook["cells"] if _is_code(cell)}
    found: set[str] = set()
    answers: list[str] = []
    for cell in filter(_is_code, handed_out["cells"]):
        source = text_of(cell)
        if check := CHECK.search(source):
            if answers and there.issuperset(answers):
                found.add(check[1])
            answers = []
        elif "otter_answer_cell" in cell["metadata"].get("tags", ()):
            answers.append(source.strip())
    return found


def job_of(
    notebook: dict[str, Any], handed_out: dict[str, Any], expected: Bundle, token: str
) -> dict[str, Any]:
    """What ``mmgen.classroom.run_one`` is to run."""
    stamped = next(c for c in handed_out["cells"] if stamp_of({"cells": [c]}))
    cells = []
    for number, cell in enumerate(notebook["cells"], start=1):
        if not _is_code(cell):
            continue
        # The cell that starts otter is the bundle's, whatever became of it.
        own = stamp_of({"cells": [cell]}) is None
        source = text_of(cell if own else stamped)
        checks = [match[1] for match in CHECK.finditer(source)]
        cells.append(
            {"number": number, "source": CHECK.sub("", source), "checks": checks}
        )
    return {
        "token": token,
        "file": expected.student.name,
        "notebook": handed_out,
        "cells": cells,
        "allowed": allowed_imports(handed_out),
        "tests": test_sources(expected.autograder),
    }


def checked(content: bytes, expected: Bundle, token: str) -> dict[str, Any]:
    """A report, if it is one that this grader asked for.

    Raises:
        ValueError: it is not.
    """
    report = json.loads(content)
    if not isinstance(report, dict) or report.get("token") != token:
        raise ValueError("without the token")
    failure, questions = report.get("failure"), report.get("questions")
    if not isinstance(questions, dict):
        raise ValueError("without questions")
    whole = (
        isinstance(failure, str | None)
        and _list_of(report.get("refused"), str)
        and _list_of(report.get("errors"), dict)
        and all(_has(e, cell=int, kind=str, message=str) for e in report["errors"])
        and all(_list_of(cases, dict) for cases in questions.values())
        and all(
            _has(case, passed=bool, message=str)
            for cases in questions.values()
            for case in cases
        )
    )
    if not whole:
        raise ValueError("with missing parts")
    counts = {question.name: len(question.cases) for question in expected.questions}
    given = {name: len(cases) for name, cases in questions.items()}
    if failure is None and given != counts:
        raise ValueError("about other tests")
    return report


def _list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


def _has(value: dict[str, Any], **kinds: type) -> bool:
    return all(isinstance(value.get(key), kind) for key, kind in kinds.items())


def grade_one(
    student: str,
    path: Path,
    expected: Bundle,
    wall: str,
    limits: sandbox.Limits,
    hide: Sequence[Path] = (),
) -> Grade:
    """Grade one file; whatever it does, or its grading, ends in a ``Grade``."""
    possible = sum(question.possible for question in expected.questions)
    result = Grade(student, shown(path.name), possible=possible)
    try:
        _grade(result, path, expected, wall, limits, hide)
    except Unfit as why:
        result.reason = str(why)
    except Exception as error:  # its neighbours go on
        words = " ".join(str(error).split())[:200]
        result.reason = f"could not be graded: {type(error).__name__}: {words}"
        result.score, result.questions = 0.0, []
    result.reason = visible(result.reason)  # it may quote what a student wrote
    return result


def _grade(
    result: Grade,
    path: Path,
    expected: Bundle,
    wall: str,
    limits: sandbox.Limits,
    hide: Sequence[Path],
) -> None:
    notebook = notebook_of(content_of(path), result.file, expected)
    handed_out = json.loads(expected.student.read_text(encoding="utf-8"))
    token = secrets.token_hex(16)
    job = json.dumps(job_of(notebook, handed_out, expected, token)).encode()
    if wall == "docker":  # the package of the image
        program = ["-m", "mmgen.classroom.run_one"]
    else:
        program = ["-P", str(Path(__file__).with_name("run_one.py"))]
    with tempfile.TemporaryDirectory(
        prefix="mmgen-grade-", ignore_cleanup_errors=True
    ) as scratch:
        outcome = sandbox.run(
            [sys.executable, *program],
            Path(scratch),
            wall=wall,
            limits=limits,
            job=job,
            hide=hide,
        )
    result.seconds = outcome.seconds
    if outcome.timed_out:
        result.reason = f"stopped after {limits.seconds:g} s: an endless loop?"
        return
    if outcome.status:
        last = outcome.output.strip().splitlines()[-1:] or ["no output"]
        result.reason = f"grading ended with status {outcome.status}: {last[0][:200]}"
        return
    try:
        report = checked(outcome.report or b"", expected, token)
    except (ValueError, RecursionError) as error:
        result.reason = f"no points: its report is not the grader's ({error})"[:200]
        return
    if report["failure"]:
        result.reason = report["failure"][:300]
        return
    left = unanswered(notebook, handed_out)
    for question in expected.questions:
        cases = [
            {
                "name": case.name,
                "hidden": case.hidden,
                "points": case.points,
                "hint": case.hint,
                **given,
            }
            for case, given in zip(
                question.cases, report["questions"][question.name], strict=True
            )
        ]
        result.questions.append(
            {
                "name": question.name,
                "title": question.title,
                "score": sum(case["points"] for case in cases if case["passed"]),
                "possible": question.possible,
                "answered": question.name not in left,
                "cases": cases,
            }
        )
    result.score = sum(q["score"] for q in result.questions)
    if report["refused"]:
        names = ", ".join(report["refused"])
        result.reason = (
            f"imports {names}: answers are written, not imported, so a graded cell "
            "cannot have it"
        )[:300]
    elif report["errors"]:
        first = report["errors"][0]
        message = first["message"].splitlines()[0] if first["message"] else ""
        result.reason = f"cell {first['cell']}: {first['kind']}: {message}"[:300]
    elif result.score == 0:
        result.reason = "no graded test passes"


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

    Table and page are whole on the disk after each submission. What an earlier call
    found out about others stays in the table until this one ends; where one student's
    file is graded alone, for good.

    Args:
        folder: one file, or one folder, a student; its name is the student's id. Or
            one student's file.
        assignment: name of an assignment that ``make assignments`` built.
        bundles: where it was built.
        out: where ``grades.csv``, ``feedback/ID.html`` and ``summary.png`` go.
        jobs: submissions graded at a time.
        limits: of one submission.
        wall: one of ``sandbox.WALLS``; the best available by default.

    Returns:
        One grade a student, in order of the ids.

    Raises:
        ValueError: ``jobs`` below 1.
        FileNotFoundError: no submissions, or an assignment that was not built.
        FileExistsError: ``out`` holds the grades of another assignment.
        OSError: ``out`` cannot be written (found out before anything is graded).
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1; got {jobs}.")
    expected = bundle(bundles, assignment)
    found = submissions(folder)
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    table = out / "grades.csv"
    names = [question.name for question in expected.questions]
    earlier = read_table(table, names)
    # a table that cannot be written shows now
    write_table([], names, table, earlier)
    wall = wall or sandbox.available_wall()
    limits = limits or sandbox.Limits()
    hide = [bundles, folder if folder.is_dir() else folder.parent, out]
    pages = page_names([shown(student) for student in found])
    grades: list[Grade] = []
    unwritten: list[OSError] = []
    writing = threading.Lock()

    def one(item: tuple[str, list[Path]]) -> None:
        student, files = shown(item[0]), item[1]
        if len(files) > 1:
            paths = ", ".join(shown(str(path.relative_to(folder))) for path in files)
            reason = f"several files of one student id: {paths}; keep one"
            possible = sum(question.possible for question in expected.questions)
            made = Grade(student, shown(files[0].name), 0.0, possible, reason)
        else:
            made = grade_one(student, files[0], expected, wall, limits, hide)
        made.page = pages[student]
        with writing:
            grades.append(made)
            grades.sort(key=lambda each: each.student)
            try:
                _write_page(made, assignment, out)
                write_table(grades, names, table, earlier)
            except OSError as error:  # a full disk may have room again for the next
                unwritten.append(error)

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        list(pool.map(one, sorted(found.items())))
    if unwritten:
        for made in grades:
            _write_page(made, assignment, out)
    alone = folder.is_file() and earlier
    write_table(grades, names, table, earlier if alone else {})
    if not alone:
        plot(grades, assignment, out / "summary.png")
    return grades


def _write_page(made: Grade, assignment: str, out: Path) -> None:
    page = feedback(made, assignment).encode("utf-8", "backslashreplace")
    write_atomically(out / "feedback" / made.page, page)


def page_names(students: Sequence[str]) -> dict[str, str]:
    """Student -> name of the feedback page: one file in its folder on any system."""
    pages: dict[str, str] = {}
    used = set()
    for student in students:
        plain = re.sub(r"[^\w.@+-]", "_", student).lstrip(".")
        plain = plain.encode()[:150].decode("utf-8", "ignore") or "_"
        # Some file systems hold Ana and ana, or two ways to write ñ, for one name.
        if plain != student or _alike(plain) in used:
            plain += f"-{hashlib.sha256(student.encode()).hexdigest()[:8]}"
        used.add(_alike(plain))
        pages[student] = f"{plain}.html"
    return pages


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _head(questions: Sequence[str]) -> list[str]:
    counted = ["score", "possible", *questions, "seconds"]
    return ["student", "file", *counted, "reason", "page"]


def read_table(path: Path, questions: Sequence[str]) -> dict[str, list[str]]:
    """The rows of a table that ``write_table`` wrote, by student; none without one.

    Raises:
        FileExistsError: a table with other columns.
    """
    if not path.is_file() or not path.stat().st_size:
        return {}
    text = path.read_text(encoding="utf-8", errors="backslashreplace")
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    if head != _head(questions):
        raise FileExistsError(
            f"{shown(str(path))} has other columns than this assignment's table: it "
            f"would be lost. Move it away, or name another folder to write."
        )
    return {row[0]: row for row in rows if len(row) == len(head)}


def write_table(
    grades: list[Grade],
    questions: Sequence[str],
    path: Path,
    earlier: Mapping[str, list[str]],
) -> None:
    """Write one row a student, whole or not at all.

    Args:
        grades: of this call.
        questions: names, a column each.
        path: of the table.
        earlier: rows of students that this call has not graded.
    """
    rows = dict(earlier)
    for each in grades:
        points = {q["name"]: f"{q['score']:g}" for q in each.questions}
        rows[_inert(each.student)] = [
            _inert(each.student),
            _inert(each.file),
            f"{each.score:g}",
            f"{each.possible:g}",
            *(points.get(name, "0") for name in questions),
            f"{each.seconds:.1f}",
            _inert(each.reason),
            each.page,
        ]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_head(questions))
    writer.writerows(rows[student] for student in sorted(rows))
    write_atomically(path, text.getvalue().encode("utf-8", "backslashreplace"))


def _inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula: a quote before its sign."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; color: #1c1c1c; background: #fff; }}
pre {{ background: #f3f3f3; padding: .6rem; overflow-x: auto; white-space: pre-wrap; }}
.passed {{ color: #005a32; }} .failed, .open {{ color: #9b1c1c; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e8e8e8; background: #16181c; }}
  pre {{ background: #24272d; }} .passed {{ color: #7fd6a4; }}
  .failed, .open {{ color: #ff9a9a; }} }}
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
        name = "a hidden test" if case["hidden"] else case["name"]
        got = f"{case['points'] if case['passed'] else 0:g} of {case['points']:g}"
        text = f'<li><span class="{kind}">{kind}</span> ({got}): {html.escape(name)}'
        if not case["passed"]:
            if case["hint"]:
                text += f"<br>{html.escape(case['hint'])}"
            message = case["message"].strip()[:1500]
            if message and message != case["hint"] and not case["hidden"]:
                text += f"<pre>{html.escape(message)}</pre>"
        yield text + "</li>"


def feedback(each: Grade, assignment: str) -> str:
    """The feedback page of one student, as HTML that stands alone."""
    parts = [f"<p>Please look at this: {html.escape(each.reason)}</p>"] * bool(
        each.reason
    )
    for question in each.questions:
        # Otter's masters end a heading with its points, which stand here already.
        title = re.sub(r"\s*\(\d+ points?\)$", "", question.get("title", ""))
        head = title or question["name"]
        points = f"{question['score']:g} of {question['possible']:g} points"
        parts.append(f"<h2>{html.escape(head)}: {points}</h2>")
        if not question.get("answered", True):
            parts.append(
                '<p class="open">Not answered: the cell for the answer is as it was '
                "handed out.</p>"
            )
        parts.append(f"<ul>{''.join(_cases(question))}</ul>")
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

    names = list(dict.fromkeys(q["name"] for g in grades for q in g.questions))
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
