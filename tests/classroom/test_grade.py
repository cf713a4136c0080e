"""From a master to grades, as a teacher walks it, broken submissions included."""

import csv
import html
import json
import os
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmgen.classroom.grade as grading
from mmgen.classroom.build import (
    Bundle,
    Case,
    Question,
    build,
    bundle,
    install_command,
    keep_quotes,
    masters,
    stamp_of,
    teacher_seed,
    titles_of,
    version_of,
)
from mmgen.classroom.build import main as build_command
from mmgen.classroom.grade import (
    Grade,
    feedback,
    grade,
    page_names,
    write_table,
)
from mmgen.classroom.handed_in import BIGGEST, Unfit, content_of, submissions
from mmgen.classroom.sandbox import Limits
from mmgen.cli import main

# Submissions on purpose, each a cell. The report goes through a descriptor of the
# process that started the kernel; tests and points are the bundle's.
GARBAGE = """
import glob, os
forged = b'{"token": "", "questions": {"q1": [{"passed": true, "message": ""}] * 2}}'
for path in glob.glob("/proc/[0-9]*/fd/*"):
    if int(path.split("/")[2]) != os.getpid():
        try:
            os.write(os.open(path, os.O_WRONLY | os.O_NONBLOCK), forged)
        except OSError:
            pass
"""
FORKS = """
import os, subprocess, sys, time
for _ in range(20):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"],
                     start_new_session=True)
if os.fork() == 0:  # lives on after the notebook, and would then report
    time.sleep(1)
    os.write(1, b'{"questions": {"q1": [{"passed": true, "message": ""}]}}')
    os._exit(0)
"""
READS = """
import glob, os
found = []
for start in ("BUNDLES", "CLASS", os.path.expanduser("~")):
    for folder, _, files in os.walk(start):
        found += [name for name in files if "autograder" in name or "q1" in name]
        found += files if start in ("BUNDLES", "CLASS") else []
for path in glob.glob("/proc/[0-9]*/*"):
    if os.path.basename(path) in ("environ", "cmdline"):
        try:
            if b"test_others" in open(path, "rb").read():
                found.append(path)
        except OSError:
            pass
assert not found, found
raise RuntimeError("nothing to read")
"""
FILLS = """
errors = []
try:
    for i in range(100):
        with open(f"part{i}", "wb") as stream:
            stream.write(bytes(100 << 20))
except OSError as error:
    errors.append(error.errno)
import os
for name in os.listdir("."):
    if name.startswith("part"):
        os.remove(name)
try:
    with open("big", "wb") as stream:
        stream.seek(600 << 20)
        stream.write(b"x")
except OSError as error:
    errors.append(error.errno)
raise RuntimeError(*[" ".join(map(str, errors))])
"""
IMPORTS = """
import importlib, runpy, sys
ways = [
    lambda: __import__("mmgen"),
    lambda: exec("import mmgen.models.damsm as d"),
    lambda: exec("from mmgen import objectives"),
    lambda: importlib.import_module("mmgen.layers"),
    lambda: importlib.import_module(".damsm", "mmgen.models"),
    lambda: runpy.run_module("mmgen.objectives.adversarial"),
    lambda: sys.modules["mmgen"],
]
for way in ways:
    try:
        way()
        print("GOT IT")
        double = None
    except (ImportError, KeyError):
        pass
"""

Insert = Callable[[Path, str], dict[str, Any]]


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def sources(path: Path) -> str:
    return "\n".join("".join(cell["source"]) for cell in read(path)["cells"])


@pytest.mark.slow
def test_students_get_neither_solutions_nor_hidden_tests(tiny: Bundle) -> None:
    student, solution = sources(tiny.student), sources(tiny.solution)
    assert "return 2 * x" in solution and "return 2 * x" not in student
    assert "test_others" not in student and "TEACHER_SEED" not in student


@pytest.mark.slow
def test_the_seed_changes_the_hidden_cases_but_not_the_version(
    tiny: Bundle, tiny_master: Path, tmp_path: Path
) -> None:
    other = build(tiny_master, tmp_path, seed=8)
    assert other.version == tiny.version == version_of(read(tiny_master))
    tests = [
        zipfile.ZipFile(made.autograder).read("tests/q1.py").decode()
        for made in (tiny, other)
    ]
    assert "seed = 7" in tests[0] and "seed = 8" in tests[1]
    assert stamp_of(read(tiny.student)) == ("tiny", tiny.version)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore:No sandbox")  # where a kernel gives no namespaces
def test_a_class_of_thirty(tiny: Bundle, with_cell: Insert, tmp_path: Path) -> None:
    folder, out = tmp_path / "handed-in", tmp_path / "grades"
    folder.mkdir()
    victim = tmp_path / "victim.txt"
    victim.write_text("keep me", encoding="utf-8")

    def hand_in(student: str, notebook: dict[str, Any]) -> None:
        (folder / f"{student}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")

    def insert(student: str, source: str, path: Path = tiny.solution) -> None:
        hand_in(student, with_cell(path, source))

    right = read(tiny.solution)
    text = json.dumps(right)

    def answered(answer: str) -> dict[str, Any]:
        return json.loads(text.replace("return 2 * x", json.dumps(answer)[1:-1]))

    hand_in("right", right)
    # What platforms do to the metadata decides nothing.
    bare = {**right, "metadata": {}}
    bare["cells"] = [{**cell, "metadata": {}} for cell in right["cells"]]
    hand_in("bare", bare)
    elsewhere = {"name": "conda-env-ml-py", "display_name": "ml", "language": "R"}
    hand_in("elsewhere", {**right, "metadata": {"kernelspec": elsewhere}})
    hand_in("special", answered("return 6"))
    hand_in("untouched", read(tiny.student))
    insert("syntax", "def f(:")
    insert("memory", "x = bytearray(20 << 30)")
    insert("deletes", f"import os\nos.remove({str(victim)!r})")
    insert("ends", "import os\nos._exit(0)")
    insert("prints", "for i in range(10_000):\n    print('Total Score: 3 / 3' * 50)")
    insert("garbage", GARBAGE, tiny.student)
    insert("forks", FORKS, tiny.student)
    reads = READS.replace("BUNDLES", str(tiny.autograder.parents[1]))
    insert("reads", reads.replace("CLASS", str(folder)))
    insert("fills", FILLS)
    insert("imports", IMPORTS)
    imported = "from mmgen.models.damsm import matching_loss; return 2 * x"
    hand_in("calls", answered(imported))
    message = "'both' quotes \ud800 'stay'"
    hand_in("quotes", answered(f"raise ValueError({message!r})"))
    later = json.loads(text)  # a name used again behind its check
    again = "def double(x): return 0\nraise ValueError('\\x1b[2J')"
    later["cells"].append({"cell_type": "code", "source": again})
    hand_in("later", later)
    damaged = json.loads(text)
    damaged["cells"] += [
        {"cell_type": "code", "source": None, "metadata": None},
        {"cell_type": "markdown", "source": [1, 2]},
        {"cell_type": "code", "source": ["1 +", 2, " 1\ud800"]},
        None,
    ]
    hand_in("damaged", damaged)
    (folder / "empty.ipynb").write_bytes(b"")
    (folder / "word.ipynb").write_bytes(b"PK\x03\x04 not a notebook \xff")
    (folder / "deep.ipynb").write_bytes(b"[" * 200_000)
    hand_in("other", json.loads(text.replace("Assignment tiny", "Assignment vae")))
    hand_in("old", json.loads(text.replace(tiny.version, "0badc0de")))
    hand_in("twice", right)
    (folder / "twice").mkdir()
    shutil.copy(tiny.solution, folder / "twice" / "mine.ipynb")
    (folder / "leftovers" / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / "leftovers" / "__MACOSX").mkdir()
    for name in ("a.ipynb", ".ipynb_checkpoints/a-checkpoint.ipynb", "__MACOSX/._a"):
        shutil.copy(tiny.solution, folder / "leftovers" / name)
    with zipfile.ZipFile(folder / "zipped.zip", "w") as parts:
        parts.write(tiny.solution, "../../mine/tiny.ipynb")
        parts.writestr("__MACOSX/mine/._tiny.ipynb", b"\0")
    with zipfile.ZipFile(folder / "pair.zip", "w") as parts:
        for name in ("one.ipynb", "two.ipynb"):
            parts.write(tiny.solution, name)
    latin = os.fsdecode(b"Mu\xf1oz.ipynb")
    shutil.copy(folder / "empty.ipynb", folder / latin)
    shutil.copy(folder / "empty.ipynb", folder / ("n" * 249 + ".ipynb"))

    bundles = tiny.autograder.parent.parent
    grades = {
        g.student: g
        for g in grade(
            folder, "tiny", bundles=bundles, out=out, jobs=2, limits=Limits(seconds=180)
        )
    }
    expected = {  # student -> (points, beginning of the reason)
        "right": (3, ""),
        "bare": (3, ""),
        "elsewhere": (3, ""),
        "leftovers": (3, ""),
        "zipped": (3, ""),
        "damaged": (3, "cell 8: SyntaxError"),
        "special": (1, ""),
        "untouched": (0, "no graded test passes"),
        "syntax": (3, "cell 2: SyntaxError"),
        "memory": (3, "cell 2: MemoryError"),
        "deletes": (3, "cell 2: OSError: [Errno 30] Read-only"),
        "ends": (0, "the notebook's process ended in cell 2"),
        "prints": (3, ""),
        "garbage": (0, "no graded test passes"),
        "forks": (0, "no graded test passes"),
        "reads": (3, "cell 2: RuntimeError: nothing to read"),
        "fills": (3, "cell 2: RuntimeError: 28 27"),
        "imports": (3, "imports mmgen, mmgen.layers, mmgen.models.damsm, mmgen.objec"),
        "calls": (0, "imports mmgen.models.damsm: answers are written"),
        "quotes": (0, "no graded test passes"),
        "later": (3, "cell 6: ValueError: \\x1b[2J"),
        "pair": (0, "a zip with several notebooks (one.ipynb, two.ipynb)"),
        "empty": (0, "empty"),
        "word": (0, "not a notebook"),
        "deep": (0, "not a notebook: deep.ipynb (RecursionError)"),
        "other": (0, "another assignment: vae"),
        "old": (0, "another version: 0badc0de"),
        "twice": (0, "several files of one student id: twice/mine.ipynb, twice.ipynb"),
        "Mu\\xf1oz": (0, "empty"),
        "n" * 249: (0, "empty"),
    }
    assert set(grades) == set(expected) and len(grades) == 30
    wrong = {
        student: grades[student]
        for student, (points, reason) in expected.items()
        if grades[student].score != points
        or not grades[student].reason.startswith(reason)
        or (not reason and grades[student].reason)
    }
    assert not wrong, wrong
    assert victim.read_text(encoding="utf-8") == "keep me"
    with (out / "grades.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["student"] for row in rows] == sorted(grades)
    assert {row["possible"] for row in rows} == {"3"}
    pages = {row["student"]: out / "feedback" / row["page"] for row in rows}
    assert set(pages.values()) == set((out / "feedback").iterdir())
    assert "Not answered" in pages["untouched"].read_text(encoding="utf-8")
    assert "Not answered" not in pages["special"].read_text(encoding="utf-8")
    quoted = html.escape("ValueError: 'both' quotes \\ud800 'stay'")
    assert pages["quotes"].read_text(encoding="utf-8").count(quoted) == 1
    assert "a graded cell" in pages["calls"].read_text(encoding="utf-8")
    assert (out / "summary.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No sandbox")
def test_results_are_whole_as_they_come(
    tiny: Bundle, with_cell: Insert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "handed-in", tmp_path / "grades"
    folder.mkdir()
    endless = json.dumps(with_cell(tiny.student, "while True:\n    pass"))
    (folder / "b-endless.ipynb").write_text(endless, encoding="utf-8")
    for student in ("a-crash", "c-stop", "d-never"):
        shutil.copy(tiny.solution, folder / f"{student}.ipynb")
    real = grading.content_of

    def content_of(path: Path) -> bytes:
        if path.stem == "a-crash":
            raise MemoryError("no room")
        if path.stem == "c-stop":
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(grading, "content_of", content_of)
    bundles = tiny.autograder.parent.parent
    limits = Limits(seconds=5)
    with pytest.raises(KeyboardInterrupt):
        grade(folder, "tiny", bundles=bundles, out=out, jobs=1, limits=limits)
    with (out / "grades.csv").open(encoding="utf-8") as stream:
        rows = {row["student"]: row["reason"] for row in csv.DictReader(stream)}
    assert rows["a-crash"] == "could not be graded: MemoryError: no room"
    assert rows["b-endless"] == "stopped after 5 s: an endless loop?"
    assert "c-stop" not in rows
    for student in ("a-crash", "b-endless"):
        page = (out / "feedback" / f"{student}.html").read_text(encoding="utf-8")
        assert html.escape(rows[student]) in page and page.endswith("</html>\n")
    assert not list(out.rglob("*.tmp"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda report: [report],
        lambda report: {**report, "token": "another"},
        lambda report: {**report, "questions": None},
        lambda report: {**report, "questions": {}},
        lambda report: {**report, "questions": {"q1": report["questions"]["q1"][:1]}},
        lambda report: {**report, "questions": {"q1": [{"passed": 1, "message": ""}]}},
        lambda report: {**report, "errors": [{"cell": "2"}]},
        lambda report: {**report, "failure": 3},
        lambda report: {key: report[key] for key in ("token", "questions")},
    ],
)
def test_a_report_that_the_grader_did_not_ask_for(
    damage: Callable[[dict[str, Any]], Any],
) -> None:
    cases = tuple(Case(name, False, 1.0, "") for name in "ab")
    stamp = Bundle("tiny", "0" * 8, *[Path()] * 3, (Question("q1", "", cases),))
    given = [{"passed": True, "message": ""}] * 2
    report = {"token": "t", "failure": None, "refused": [], "errors": []}
    report["questions"] = {"q1": given}
    assert grading.checked(json.dumps(report).encode(), stamp, "t") == report
    with pytest.raises(ValueError, match=r"with|about"):
        grading.checked(json.dumps(damage(report)).encode(), stamp, "t")
    for garbage in (b"", b"\xff", b"[" * 100_000, b"nonsense"):
        with pytest.raises((ValueError, RecursionError)):
            grading.checked(garbage, stamp, "t")


@pytest.mark.slow
def test_a_table_that_cannot_be_written_is_found_before_grading(
    tiny: Bundle, tmp_path: Path
) -> None:
    folder, out = tmp_path / "handed-in", tmp_path / "grades"
    folder.mkdir()
    shutil.copy(tiny.solution, folder / "ana.ipynb")
    (out / "grades.csv").mkdir(parents=True)  # a folder where the table should be
    bundles = tiny.autograder.parent.parent
    with pytest.raises(OSError, match=r"grades\.csv"):
        grade(folder, "tiny", bundles=bundles, out=out)
    assert not list((out / "feedback").glob("*.html"))


def test_feedback_keeps_hidden_cases_hidden_and_escapes_what_students_wrote() -> None:
    def case(name: str, hidden: bool) -> dict[str, Any]:
        return {
            "name": name,
            "hidden": hidden,
            "passed": False,
            "points": 1.0,
            "hint": f"hint of {name}",
            "message": f"<script>message of {name}</script>",
        }

    cases = [case("test_open", False), case("test_closed", True)]
    question = {"name": "q1", "score": 0.0, "possible": 2.0, "cases": cases}
    page = feedback(Grade("<b>ana</b>", "a.ipynb", questions=[question]), "tiny")
    assert "&lt;script&gt;message of test_open" in page and "<script>" not in page
    assert "hint of test_closed" in page and "message of test_closed" not in page
    assert "&lt;b&gt;ana&lt;/b&gt;" in page


def test_feedback_names_questions_points_and_what_is_hidden_or_open() -> None:
    message = "the weights must sum to one"
    cases = [
        {"name": "sums", "hidden": False, "passed": False, "points": 1.5},
        {"name": "secret", "hidden": True, "passed": True, "points": 2.0},
    ]
    for case in cases:
        case.update(hint=message, message=message)
    question = {
        **{"name": "q1", "title": "Question 1: weights (3 points)", "answered": False},
        **{"score": 2.0, "possible": 3.5, "cases": cases},
    }
    page = feedback(Grade("ana", "a.ipynb", questions=[question]), "tiny")
    assert "<h2>Question 1: weights: 2 of 3.5 points</h2>" in page
    assert "(0 of 1.5): sums" in page and "(2 of 2): a hidden test" in page
    assert "secret" not in page and page.count(message) == 1
    assert "Not answered" in page
    question["answered"] = True
    page = feedback(Grade("ana", "a.ipynb", questions=[question]), "tiny")
    assert "Not answered" not in page


def test_pages_of_students_with_names_that_are_no_file_names() -> None:
    names = ["ana", "Ana", "../../etc/passwd", "<b>x</b>", "n" * 255, "语" * 80, "..."]
    names += ["a b", "a_b", "mun\u0303oz", "mu\u00f1oz", "", "语" * 80 + "2"]
    pages = page_names(names)
    assert pages["ana"] == "ana.html"
    assert len({grading._alike(page) for page in pages.values()}) == len(names)
    for page in pages.values():
        assert Path(page).name == page and not page.startswith(".")
        assert len(page.encode()) < 200 and "<" not in page


def test_zips_are_opened_in_memory_or_refused_by_name(tmp_path: Path) -> None:
    def zipped(name: str, *members: str | zipfile.ZipInfo, size: int = 2) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts:
            for member in members:
                parts.writestr(member, b" " * size)
        return path

    before = set(tmp_path.parent.iterdir())
    good = zipped("a.zip", "../../x/a.ipynb", "../notes.txt", ".hidden/b.ipynb")
    assert content_of(good) == b"  "
    assert content_of(zipped("a.ipynb", "a.ipynb")) == b"  "
    link = zipfile.ZipInfo("a.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    locked = zipped("locked.zip", "a.ipynb").read_bytes()
    locked = locked.replace(
        b"PK\x01\x02\x14\x03\x14\0\0", b"PK\x01\x02\x14\x03\x14\0\1"
    )
    (tmp_path / "locked.zip").write_bytes(locked)
    (tmp_path / "cut.zip").write_bytes(good.read_bytes()[:60])
    refused = {
        zipped("none.zip", "thesis.docx"): r"a zip with no notebook \(thesis.docx\)",
        zipped("two.zip", "a.ipynb", "b/c.IPYNB"): r"several notebooks \(a.ipynb, b/c",
        zipped("link.zip", link): "a zip with a link",
        zipped("bomb.zip", "a.ipynb", size=BIGGEST + 1): "larger than 100 MB",
        tmp_path / "locked.zip": "a password",
        tmp_path / "cut.zip": "a damaged zip",
    }
    for path, reason in refused.items():
        with pytest.raises(Unfit, match=reason):
            content_of(path)
    assert set(tmp_path.parent.iterdir()) == before


def test_what_systems_leave_behind_is_nobodys(tmp_path: Path) -> None:
    leftovers = (".DS_Store", "__MACOSX/._ana.ipynb", ".ipynb_checkpoints/x.ipynb")
    for name in (*leftovers, *(f"ana/{name}" for name in leftovers), "ana/a.ipynb"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    (tmp_path / "ana" / "a.zip").write_bytes(b"PK")  # beside a notebook
    assert submissions(tmp_path) == {"ana": [tmp_path / "ana" / "a.ipynb"]}
    one = tmp_path / "ana" / "a.ipynb"
    assert submissions(one) == {"a": [one]}
    (tmp_path / "link.ipynb").symlink_to(one)
    with pytest.raises(Unfit, match=r"^a link: hand in the file itself$"):
        content_of(tmp_path / "link.ipynb")


def test_submissions_by_file_and_by_folder(tmp_path: Path) -> None:
    (tmp_path / "ana.ipynb").write_text("{}", encoding="utf-8")
    (tmp_path / "ben").mkdir()
    (tmp_path / "ben" / "answer.ipynb").write_text("{}", encoding="utf-8")
    (tmp_path / "ben" / "notes.txt").write_text("hi", encoding="utf-8")
    (tmp_path / "cleo").mkdir()
    found = submissions(tmp_path)
    assert [path.name for path in found["ana"] + found["ben"]] == [
        "ana.ipynb",
        "answer.ipynb",
    ]
    assert found["cleo"] == [tmp_path / "cleo"]
    with pytest.raises(Unfit, match=r"^empty"):
        content_of(tmp_path / "cleo")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        submissions(tmp_path / "nowhere")


def test_an_assignment_that_was_not_built_says_how(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"got 'poetry'.*make assignments"):
        bundle(tmp_path, "poetry")
    with pytest.raises(FileNotFoundError, match="root of the repository"):
        masters(tmp_path)


@pytest.mark.slow
def test_students_read_which_share_of_the_points_they_see(tiny: Bundle) -> None:
    cells = ["".join(cell["source"]) for cell in read(tiny.student)["cells"]]
    text = next(cell for cell in cells if cell.startswith("# A tiny assignment"))
    assert "The tests that you can see give 1 of 3 points; the others are " in text
    assert 'pip install "otter-grader' in text and install_command() in cells[0]
    bound = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    [otter] = bound["project"]["optional-dependencies"]["assignments"]
    versions = otter.removeprefix("otter-grader").split(",")
    assert all(version in install_command() for version in versions)
    check = 'print("q1: 1 of 3 points are visible here")\ngrader.check("q1")'
    assert cells.count(check) == 1
    [question] = tiny.questions
    assert (question.possible, question.visible) == (3, 1)
    assert [case.hidden for case in question.cases] == [False, True]


def test_messages_keep_the_quotes_that_otter_strips() -> None:
    from otter.test_files.exception_test import ExceptionTestFile

    messages = {
        "\"'red' is no 'yellow'\"": "'red' is no 'yellow'",
        "f\"{'é'!r} is {x}\"": "'é' is 3",
        "'plain'": "plain",
        "repr('a')": "'a'",
        '("two"\n  "lines\'")': "twolines'",
    }
    lines = ["name = 'q'", "from otter.test_files import test_case"]
    for i, message in enumerate(messages):
        lines += ["@test_case(points=1)", f"def test_{i}(x):  # ü"]
        lines += [f"    assert x == 4, {message}  # comment"]
    told = keep_quotes("\n".join(lines))
    assert "assert x == 4, 'plain'  # comment" in told
    assert told.count("# comment") == len(messages)
    tests = ExceptionTestFile.from_string(told)
    tests.run({"x": 3})
    shown = [result.message or "" for result in tests.test_case_results]
    said = [text.partition("AssertionError: ")[2].strip() for text in shown]
    assert said == list(messages.values())


def test_titles_come_from_the_headings_of_the_master() -> None:
    cells = [
        ("markdown", "# All"),
        ("raw", "# BEGIN QUESTION\npoints: 3\nname: q2"),
        ("markdown", "No heading"),
        ("markdown", "Text\n## Question 2: why (3 points)\nmore"),
        ("raw", "# BEGIN QUESTION\nname: q10"),
        ("code", "# not one"),
    ]
    master = {"cells": [{"cell_type": kind, "source": [text]} for kind, text in cells]}
    assert titles_of(master) == {"q2": "Question 2: why (3 points)", "q10": ""}


@pytest.mark.slow
def test_one_assignment_alone(
    tiny_master: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(tiny_master.parents[1], tmp_path / "notebooks" / "assignments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")  # help on one line
    assert build_command(["--only", "tiny", "--out", "made", "--seed", "5"]) == 0
    assert "1 of 3 points visible" in capsys.readouterr().out
    assert bundle(tmp_path / "made", "tiny").name == "tiny"
    assert build_command(["--only", "poetry", "--out", "made"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "got 'poetry' (known: tiny)" in error
    (tmp_path / "made" / "seed.txt").write_text("x", encoding="utf-8")
    assert build_command(["--out", "made"]) == 2
    assert "must hold the seed" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        build_command(["--help"])
    assert "a folder OUT/NAME with student/NAME.ipynb" in capsys.readouterr().out


def test_the_command_takes_one_file_or_says_what_is_wrong(
    tiny: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = str(tiny.autograder.parents[1])
    (tmp_path / "ana.ipynb").write_bytes(b"nothing")
    words = ["grade", str(tmp_path / "ana.ipynb"), "--assignment", "tiny"]
    words += ["--bundles", bundles, "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "ana      0 of 3  not a notebook: ana.ipynb" in capsys.readouterr().out
    wrong = {
        ("--jobs", "0"): "jobs must be at least 1; got 0",
        ("--seconds", "nan"): "seconds must be a positive number; got nan",
    }
    for option, message in wrong.items():
        assert main([*words, *option]) == 2
        assert message in capsys.readouterr().err


CELL = """
import importlib
def open_to_all(): from mmgen import registry; return 1
def loaded(): from mmgen import errors
def by_statement(): import mmgen.errors as e
def by_name(): importlib.import_module("mmgen.errors")
def by_dots(): importlib.import_module(".errors", "mmgen")
"""
TESTS = """
from otter.test_files import test_case
name = "q1"
@test_case(points=1)
def test_own(open_to_all):
    import mmgen.errors
    from mmgen import interfaces
    assert open_to_all() == 1
"""
TESTS += "".join(
    f"@test_case(points=1)\ndef test_{name}({name}): {name}()\n"
    for name in ("loaded", "by_statement", "by_name", "by_dots")
)
SCRIPT = """
import runpy, sys
judge = runpy.run_path(sys.argv[1] + "/classroom/judge.py")
names = {"__name__": "__main__"}
judge["start"](names, sys.argv[1] + "/", ["mmgen.registry"])
exec(sys.argv[2], names)
print(judge["judge"]({"q1": sys.argv[3]}, "t"))
"""


def test_tests_import_what_answers_may_not() -> None:
    package = str(Path(grading.__file__).parents[1])
    words = [sys.executable, "-c", SCRIPT, package, CELL, TESTS]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    answer = json.loads(done.stdout)
    first, *others = answer["questions"]["q1"]
    assert first == {"passed": True, "message": ""}
    assert answer["refused"] == ["mmgen.errors"]
    for each in others:
        assert not each["passed"]
        assert "answers are written, not imported: mmgen.errors" in each["message"]


def test_only_what_the_handed_out_notebook_imports_is_allowed() -> None:
    sources = [
        "import mmgen.data.shapes, torch\nfrom mmgen.layers import attention",
        "%pip install mmgen",
        "from mmgen import metrics",
    ]
    cells = [{"cell_type": "code", "source": source} for source in sources]
    assert grading.allowed_imports({"cells": cells}) == [
        *("mmgen.data.shapes", "mmgen.layers", "mmgen.layers.attention"),
        "mmgen.metrics",
    ]


def test_a_master_without_seeded_cases_is_refused(
    tiny_master: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "tiny.ipynb"
    text = tiny_master.read_text(encoding="utf-8").replace("# TEACHER_SEED", "")
    plain.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="TEACHER_SEED"):
        build(plain, tmp_path / "out", seed=1)


def test_the_teachers_seed_is_kept(tmp_path: Path) -> None:
    first = teacher_seed(tmp_path, None)
    assert teacher_seed(tmp_path, None) == first
    assert teacher_seed(tmp_path, 11) == 11 == teacher_seed(tmp_path, None)


def test_no_name_is_a_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    table = tmp_path / "grades.csv"
    names = ["=1+1", "+1", "-1", "@x", "\t=1", "ana-1"]
    write_table([Grade(name, f"{name}.ipynb") for name in names], ["q1"], table, {})
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    files = {row["student"]: row["file"] for row in rows}
    assert files == {
        **{f"'{name}": f"'{name}.ipynb" for name in names[:-1]},
        "ana-1": "ana-1.ipynb",
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No sandbox")  # where a kernel gives no namespaces
def test_one_student_graded_again_leaves_the_others_in_the_table(
    tiny: Bundle, tmp_path: Path
) -> None:
    folder, out = tmp_path / "handed-in", tmp_path / "grades"
    folder.mkdir()
    bundles = tiny.autograder.parent.parent
    for student in ("ana", "ben", "cleo"):
        (folder / f"{student}.ipynb").write_bytes(b"")

    def rows() -> dict[str, str]:
        with (out / "grades.csv").open(encoding="utf-8", newline="") as stream:
            return {row["student"]: row["score"] for row in csv.DictReader(stream)}

    grade(folder, "tiny", bundles=bundles, out=out)
    plotted = (out / "summary.png").read_bytes()
    assert rows() == {"ana": "0", "ben": "0", "cleo": "0"}
    shutil.copy(tiny.solution, folder / "ben.ipynb")
    grade(folder / "ben.ipynb", "tiny", bundles=bundles, out=out)
    assert rows() == {"ana": "0", "ben": "3", "cleo": "0"}
    assert (out / "summary.png").read_bytes() == plotted  # not of a class of one
    (folder / "cleo.ipynb").unlink()
    (folder / "ben.ipynb").write_bytes(b"")
    grade(folder, "tiny", bundles=bundles, out=out)
    assert rows() == {"ana": "0", "ben": "0"}


def test_the_table_of_another_assignment_is_not_overwritten(
    tiny: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "ana.ipynb").write_bytes(b"")
    table = tmp_path / "out" / "grades.csv"
    table.parent.mkdir()
    write_table([Grade("ana", "ana.ipynb")], ["q1", "q2", "q3"], table, {})
    before = table.read_bytes()
    with pytest.raises(FileExistsError, match="other columns"):
        grade(
            tmp_path / "ana.ipynb",
            "tiny",
            bundles=tiny.autograder.parent.parent,
            out=table.parent,
        )
    assert table.read_bytes() == before
