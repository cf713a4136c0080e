"""From master notebooks to what students, graders and teachers get.

A master is an otter-grader notebook, ``notebooks/assignments/NAME/NAME.ipynb``. Its
hidden tests draw their cases from a seed, written ``0  # TEACHER_SEED`` in the master:
building replaces the number by the teacher's own, so that a reader of the public
repository knows how the cases are made, but not which ones are used.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import itertools
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmgen.data.files import write_atomically, write_json
from mmgen.errors import MmgenError

MASTERS = Path("notebooks/assignments")
_SEED = re.compile(r"\b\d+(?=\s*# TEACHER_SEED)")
_STAMP = re.compile(r"^# Assignment (\w+), version ([0-9a-f]{8})", re.MULTILINE)
# A check, and the line that build puts before it.
CHECK = re.compile(
    r"^(?:print\(\"[^\"\n]* are visible here\"\)\n)?"
    r"grader\.check\(\"([^\"]+)\"\)[ \t]*$",
    re.MULTILINE,
)
_QUESTION = re.compile(r"^# BEGIN QUESTION\s.*?^name: *(\S+)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ *(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One test of a question."""

    name: str
    hidden: bool  # from the students, until grading
    points: float
    hint: str  # what a student reads when it fails


@dataclass(frozen=True)
class Question:
    """One question of an assignment."""

    name: str  # as in ``grader.check``, such as "q1"
    title: str  # heading of its text in the master; empty where it has none
    cases: tuple[Case, ...]

    @property
    def possible(self) -> float:
        """Points of all its tests."""
        return sum(case.points for case in self.cases)

    @property
    def visible(self) -> float:
        """Points of the tests that students can see."""
        return sum(case.points for case in self.cases if not case.hidden)


@dataclass(frozen=True)
class Bundle:
    """What building one assignment made."""

    name: str
    version: str  # of the master, whatever the seed
    student: Path  # notebook to hand out
    autograder: Path  # zip for otter, Gradescope or ``mmgen grade``
    solution: Path  # notebook with the reference solution
    questions: tuple[Question, ...] = ()  # in the order of the notebook


def masters(folder: Path = MASTERS) -> dict[str, Path]:
    """The master notebooks by name.

    Raises:
        FileNotFoundError: no master below ``folder``.
    """
    found = {path.stem: path for path in sorted(folder.glob("*/*.ipynb"))}
    found = {name: path for name, path in found.items() if path.parent.name == name}
    if not found:
        raise FileNotFoundError(
            f"folder must hold masters as NAME/NAME.ipynb; found none in {folder}. Run "
            "this from the root of the repository."
        )
    return found


def version_of(notebook: dict[str, Any]) -> str:
    """Eight hexadecimal digits that change when a cell's source does."""
    sources = [
        ["".join(cell["source"]), cell["cell_type"]] for cell in notebook["cells"]
    ]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:8]


def text_of(cell: Any) -> str:
    """A cell's source; empty where a damaged notebook holds no text there."""
    source = cell.get("source") if isinstance(cell, dict) else None
    lines = [source] if isinstance(source, str) else source
    if not isinstance(lines, list):
        return ""
    text = "".join(line for line in lines if isinstance(line, str))
    # Half of a surrogate pair is no text: it could not be sent to a kernel.
    return text.encode("utf-8", "replace").decode("utf-8")


def stamp_of(notebook: dict[str, Any]) -> tuple[str, str] | None:
    """(assignment, version) that a student's notebook carries, or None.

    It stands in a code cell, because some platforms drop a notebook's metadata.
    """
    for cell in notebook.get("cells", []):
        if match := _STAMP.search(text_of(cell)):
            return match[1], match[2]
    return None


def titles_of(master: dict[str, Any]) -> dict[str, str]:
    """Question -> heading of its text, in the order of the master notebook."""
    titles: dict[str, str] = {}
    name = ""
    for cell in master["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "raw" and (begin := _QUESTION.search(source)):
            name = begin[1]
            titles[name] = ""
        elif cell["cell_type"] == "markdown" and name and not titles[name]:
            heading = _HEADING.search(source)
            titles[name] = heading[1].strip() if heading else ""
    return titles


def test_sources(autograder: Path) -> dict[str, str]:
    """Question -> source of all its tests, the hidden ones too."""
    with zipfile.ZipFile(autograder) as parts:
        return {
            Path(name).stem: parts.read(name).decode("utf-8")
            for name in sorted(parts.namelist())
            if name.startswith("tests/") and name.endswith(".py")
        }


def keep_quotes(source: str) -> str:
    """A test whose messages reach the students whole.

    Otter strips the quotes from both ends of a message (``str(error).strip("'")``), so
    that ``'red' is no 'yellow'`` loses two. A space at each end keeps them.
    """
    content = source.encode()
    starts = [0, *itertools.accumulate(map(len, content.splitlines(keepends=True)))]
    messages = [
        node.msg
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assert) and node.msg is not None
    ]
    for message in sorted(messages, key=lambda m: (m.lineno, m.col_offset))[::-1]:
        parts = getattr(message, "values", None) or [message]  # of an f-string
        first, last = (getattr(part, "value", None) for part in (parts[0], parts[-1]))
        known = isinstance(first, str) and isinstance(last, str)
        if known and f"{first}"[:1] != "'" and f"{last}"[-1:] != "'":
            continue
        begin = starts[message.lineno - 1] + message.col_offset
        end = starts[(message.end_lineno or 0) - 1] + (message.end_col_offset or 0)
        said = content[begin:end]
        content = b"".join((content[:begin], b'" %s " % (', said, b",)", content[end:]))
    return content.decode()


def _question(name: str, title: str, source: str) -> Question:
    """A question as otter reads its test file, points resolved."""
    from otter.test_files.exception_test import ExceptionTestFile

    cases = [
        Case(
            name=case.body.test_func.__name__.removeprefix("test_").replace("_", " "),
            hidden=bool(case.hidden),
            points=float(case.points or 0),
            hint=case.failure_message or "",
        )
        for case in ExceptionTestFile.from_string(source, path=name).test_cases
    ]
    return Question(name, title, tuple(cases))


def build(master: Path, out: Path, seed: int) -> Bundle:
    """Build one assignment into ``out/NAME``.

    Students read in their notebook what share of the points they can see, in all and at
    each check: both are counted from the tests that were built.

    Args:
        master: the master notebook.
        out: folder of all assignments; ``out/NAME`` is made anew.
        seed: the teacher's seed for the hidden cases.

    Raises:
        ValueError: a master whose hidden tests do not use the seed.
        MmgenError: otter refused the master; its words are in the message.
    """
    name = master.stem
    notebook = json.loads(master.read_text(encoding="utf-8"))
    version = version_of(notebook)
    titles = titles_of(notebook)
    replaced = 0
    for cell in notebook["cells"]:
        source, n = _SEED.subn(str(seed), "".join(cell["source"]))
        if "# BEGIN TEST CONFIG" in source:
            source = keep_quotes(source)
        cell["source"], replaced = source, replaced + n
    if not replaced:
        raise ValueError(
            f"a hidden test of {master} must draw its cases from `0  # TEACHER_SEED`; "
            "found no such line."
        )
    target = out / name
    with tempfile.TemporaryDirectory() as scratch:
        seeded = Path(scratch) / f"{name}.ipynb"
        seeded.write_text(json.dumps(notebook), encoding="utf-8")
        made = Path(scratch) / "dist"
        # Its own process: otter changes the working folder while it builds.
        otter = subprocess.run(
            [
                *(sys.executable, "-m", "otter", "assign", str(seeded), str(made)),
                *("--no-pdfs", "--no-run-tests"),
            ],
            capture_output=True,
            text=True,
        )
        zips = list(made.glob("autograder/*.zip"))
        if otter.returncode or len(zips) != 1:
            raise MmgenError(f"otter could not build {master}:\n{otter.stderr[-2000:]}")
        tests = test_sources(zips[0])
        questions = [
            _question(question, title, tests[question])
            for question, title in titles.items()
            if question in tests  # one that a person reads has none
        ]
        if target.exists():
            shutil.rmtree(target)
        for part in ("student", "solution"):
            (target / part).mkdir(parents=True)
        shutil.move(zips[0], target / "autograder.zip")
        for part, origin in (("student", "student"), ("solution", "autograder")):
            stamped = json.loads((made / origin / seeded.name).read_text("utf-8"))
            _tell_shares(stamped, questions)
            _stamp(stamped, name, version)
            write_json(target / part / seeded.name, stamped)
        write_json(target / "questions.json", [asdict(each) for each in questions])
    return bundle(out, name)


def bundle(out: Path, name: str) -> Bundle:
    """The files of an assignment that was built into ``out``.

    Raises:
        FileNotFoundError: it was not built; the message says how.
    """
    folder = out / name
    parts = Bundle(
        name=name,
        version="",
        student=folder / "student" / f"{name}.ipynb",
        autograder=folder / "autograder.zip",
        solution=folder / "solution" / f"{name}.ipynb",
    )
    listed = folder / "questions.json"
    if not all(p.is_file() for p in (parts.autograder, parts.student, listed)):
        built = sorted(path.parent.name for path in out.glob("*/autograder.zip"))
        raise FileNotFoundError(
            f"assignment must be one that was built into {out}; got {name!r} (built: "
            f"{', '.join(built) or 'none'}). Build with `make assignments`."
        )
    stamp = stamp_of(json.loads(parts.student.read_text(encoding="utf-8")))
    assert stamp is not None, "build stamps every student's notebook"
    questions = [
        Question(
            each["name"], each["title"], tuple(Case(**case) for case in each["cases"])
        )
        for each in json.loads(listed.read_text(encoding="utf-8"))
    ]
    return replace(parts, version=stamp[1], questions=tuple(questions))


def install_command() -> str:
    """How a student installs otter, in the versions that the package takes."""
    needed = importlib.metadata.requires("mmgen-book") or []
    otter = next(each for each in needed if each.startswith("otter-grader"))
    bounds = otter.partition(";")[0].removeprefix("otter-grader").split(",")
    # The lower bound first, as a person writes it.
    return f'pip install "otter-grader{",".join(sorted(bounds, reverse=True))}"'


def _stamp(notebook: dict[str, Any], name: str, version: str) -> None:
    """Write the stamp into the first code cell, which otter made."""
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    first["source"] = (
        f"# Assignment {name}, version {version}: please leave this cell as it is.\n"
        f"# If otter is missing: {install_command()}\n" + "".join(first["source"])
    )


def share(visible: float, possible: float) -> str:
    """What of some points students can see, as "8 of 24 points"."""
    return f"{visible:g} of {possible:g} points"


def _tell_shares(notebook: dict[str, Any], questions: Sequence[Question]) -> None:
    """Say in the first text cell and at each check what the visible tests give."""
    visible, possible = (
        sum(q.visible for q in questions),
        sum(q.possible for q in questions),
    )
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    first["source"] = (
        "".join(first["source"]).rstrip()
        + f"\n\nThe tests that you can see give {share(visible, possible)}; the others "
        "are hidden until grading. Each check says how many points it shows.\n\n"
        f"The first cell needs otter, which checks your answers: `{install_command()}`"
        " in a terminal, or with `%` before it in a cell of its own."
    )
    by_name = {question.name: question for question in questions}

    def told(check: re.Match[str]) -> str:
        question = by_name[check[1]]
        shown = share(question.visible, question.possible)
        return f'print("{question.name}: {shown} are visible here")\n{check[0]}'

    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = CHECK.sub(told, "".join(cell["source"]))


def build_all(
    out: Path, seed: int, folder: Path = MASTERS, only: str | None = None
) -> list[Bundle]:
    """Build every assignment, as many at a time as there are processor cores.

    Args:
        out: folder to write.
        seed: the teacher's seed for the hidden cases.
        folder: where the masters are.
        only: name of the one assignment to build; all by default.

    Raises:
        ValueError: no master of that name.
    """
    paths = masters(folder)
    if only is not None and only not in paths:
        raise ValueError(
            f"only must be the name of an assignment; got {only!r} (known: "
            f"{', '.join(paths)})."
        )
    chosen = list(paths.values()) if only is None else [paths[only]]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(lambda path: build(path, out, seed), chosen))


def teacher_seed(out: Path, given: int | None) -> int:
    """The seed of this teacher: given, kept from the last build, or drawn now.

    Raises:
        ValueError: the file that keeps it holds no number.
    """
    kept = out / "seed.txt"
    if given is None and kept.is_file():
        text = kept.read_text(encoding="utf-8", errors="replace").strip()
        if not text.isdecimal():
            raise ValueError(
                f"{kept} must hold the seed, one number; got {text[:40]!r}. Correct "
                "it, or give --seed."
            )
        given = int(text)
    seed = secrets.randbelow(2**31) if given is None else given
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, f"{seed}\n".encode())
    return seed


def main(words: list[str] | None = None) -> int:
    """Build from the command line.

    Returns:
        The exit status: 0, or 2 after an error, which is printed as one line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mmgen.classroom.build",
        description="Build assignments: what students, graders and teachers get.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/assignments"),
        help="folder to write; each assignment gets a folder OUT/NAME with student/"
        "NAME.ipynb, autograder.zip, solution/NAME.ipynb and questions.json "
        "[%(default)s]",
    )
    parser.add_argument(
        "--only", metavar="NAME", help="the one assignment to build [all of them]"
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="of the hidden cases [the one of the last build, or a new one]",
    )
    arguments = parser.parse_args(words)
    try:
        seed = teacher_seed(arguments.out, arguments.seed)
        for made in build_all(arguments.out, seed, only=arguments.only):
            points = sum(question.possible for question in made.questions)
            visible = sum(question.visible for question in made.questions)
            print(
                f"{made.name:10} version {made.version}  {share(visible, points)} "
                f"visible  {made.student.parent.parent}"
            )
    except (MmgenError, ValueError, OSError, ImportError) as error:
        print(f"mmgen: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"seed of the hidden cases: {seed} (kept in {arguments.out / 'seed.txt'})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
