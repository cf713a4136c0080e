"""From a master to grades, as a teacher walks it, broken submissions included."""

import csv
import html
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmgen.classroom.build import (
    Bundle,
    build,
    bundle,
    masters,
    stamp_of,
    teacher_seed,
    version_of,
)
from mmgen.classroom.grade import Grade, feedback, grade, submissions, unfit
from mmgen.classroom.sandbox import Limits

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
for fd in range(3, 100):
    try:
        os.write(fd, b"garbage")
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
for folder, _, files in os.walk("BUNDLES"):
    found += files
for start in ("..", os.path.expanduser("~"), "/tmp"):
    for folder, _, files in os.walk(start):
        for name in files:
            if name in ("autograder.zip", "seed.txt", "questions.json", "q1.py"):
                found.append(name)
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
CALLS = """
def double(x):
    from mmgen.models.damsm import matching_loss
    return 2 * x
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
    hand_in("right", right)
    # What platforms do to the metadata decides nothing.
    bare = {**right, "metadata": {}}
    bare["cells"] = [{**cell, "metadata": {}} for cell in right["cells"]]
    hand_in("bare", bare)
    elsewhere = {"name": "conda-env-ml-py", "display_name": "ml", "language": "R"}
    hand_in("elsewhere", {**right, "metadata": {"kernelspec": elsewhere}})
    hand_in("special", json.loads(text.replace("return 2 * x", "return 6")))
    hand_in("untouched", read(tiny.student))
    insert("syntax", "def f(:")
    insert("memory", "x = bytearray(20 << 30)")
    insert("deletes", f"import os\nos.remove({str(victim)!r})")
    insert("ends", "import os\nos._exit(0)")
    insert("prints", "for i in range(10_000):\n    print('Total Score: 3 / 3' * 50)")
    insert("garbage", GARBAGE, tiny.student)
    insert("forks", FORKS, tiny.student)
    insert("reads", READS.replace("BUNDLES", str(tiny.autograder.parents[1])))
    insert("fills", FILLS)
    insert("imports", IMPORTS)
    insert("calls", CALLS, tiny.student)
    message = "'both' quotes 'stay'"
    insert("quotes", f"def double(x):\n    raise ValueError({message!r})", tiny.student)
    later = json.loads(text)  # a name used again behind its check
    later["cells"].append({"cell_type": "code", "source": "def double(x): return 0"})
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
        "damaged": (3, "cell 7: SyntaxError"),
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
        "later": (3, ""),
        "empty": (0, "empty"),
        "word": (0, "not a notebook"),
        "deep": (0, "not a notebook: deep.ipynb (RecursionError)"),
        "other": (0, "another assignment: vae"),
        "old": (0, "another version: 0badc0de"),
        "twice": (0, "several files of one student id: twice/mine.ipynb, twice.ipynb"),
        "Mu\\xf1oz": (0, "empty"),
        "n" * 249: (0, "empty"),
    }
    assert set(grades) == set(expected)
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
    quoted = html.escape(f"ValueError: {message}")
    assert pages["quotes"].read_text(encoding="utf-8").count(quoted) == 1
    assert "a graded cell" in pages["calls"].read_text(encoding="utf-8")
    assert (out / "summary.png").read_bytes().startswith(b"\x89PNG")


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
    stamp = Bundle("tiny", "0" * 8, *[tmp_path] * 3)
    assert unfit(tmp_path / "cleo", stamp).startswith("empty")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        submissions(tmp_path / "nowhere")


def test_an_assignment_that_was_not_built_says_how(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"got 'poetry'.*make assignments"):
        bundle(tmp_path, "poetry")
    with pytest.raises(FileNotFoundError, match="root of the repository"):
        masters(tmp_path)


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
