"""From a master to grades, as a teacher walks it, broken submissions included."""

import csv
import json
import shutil
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
    import zipfile

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
def test_thirty_submissions_with_eleven_broken_ones(
    tiny: Bundle, with_cell: Insert, tmp_path: Path
) -> None:
    folder, out = tmp_path / "handed-in", tmp_path / "grades"
    folder.mkdir()
    victim = tmp_path / "victim.txt"
    victim.write_text("keep me", encoding="utf-8")

    def hand_in(student: str, notebook: dict[str, Any]) -> None:
        (folder / f"{student}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")

    right = read(tiny.solution)
    special_cased = json.loads(
        json.dumps(right).replace(
            "return 2 * x", "return 6  # what the public test asks"
        )
    )
    for i in range(13):
        hand_in(f"right{i:02}", right)
    for i in range(6):
        hand_in(f"special{i}", special_cased)
    broken = {
        "syntax": "def f(:",
        "endless": "while True:\n    pass",
        "memory": "x = bytearray(20 << 30)",
        "deletes": f"import os\nos.remove({str(victim)!r})",
        "forged": "print('Total Score: 3.000 / 3.000 (100.000%)')\n"
        "open('results.json', 'w').write('{\"tests\": [{\"score\": 3}]}')",
    }
    for student, source in broken.items():
        hand_in(student, with_cell(tiny.student, source))
    (folder / "empty.ipynb").write_bytes(b"")
    (folder / "word.ipynb").write_bytes(b"PK\x03\x04 not a notebook \xff")
    other = json.dumps(right).replace("Assignment tiny", "Assignment vae")
    hand_in("other", json.loads(other))
    old = json.dumps(right).replace(tiny.version, "0badc0de")
    hand_in("old", json.loads(old))
    hand_in("twice", right)
    (folder / "twice").mkdir()
    shutil.copy(tiny.solution, folder / "twice" / "mine.ipynb")
    hand_in("untouched", read(tiny.student))

    bundles = tiny.autograder.parent.parent
    grades = {
        g.student: g
        for g in grade(
            folder, "tiny", bundles=bundles, out=out, jobs=2, limits=Limits(seconds=180)
        )
    }
    assert len(grades) == 30
    assert all(grades[f"right{i:02}"].score == 3 for i in range(13))
    assert not any(grades[f"right{i:02}"].reason for i in range(13))
    assert all(grades[f"special{i}"].score == 1 for i in range(6))
    reasons = {
        "syntax": "cell 2: SyntaxError",
        "endless": "stopped after 180 s",
        "memory": "cell 2: MemoryError",
        "deletes": "cell 2: OSError: [Errno 30] Read-only",
        "forged": "no graded test passes",
        "empty": "empty",
        "word": "not a notebook",
        "other": "another assignment: vae",
        "old": "another version: 0badc0de",
        "twice": "several files of one student id",
        "untouched": "no graded test passes",
    }
    for student, start in reasons.items():
        assert grades[student].score == 0, student
        assert grades[student].reason.startswith(start), grades[student]
    assert victim.read_text(encoding="utf-8") == "keep me"
    with (out / "grades.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["student"] for row in rows] == sorted(grades)
    assert {row["possible"] for row in rows} == {"3"}
    assert len(list((out / "feedback").glob("*.html"))) == 30
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
