"""Each assignment proved: right answers, no answers, and typical wrong ones by name."""

import importlib
import json
import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from mmgen.classroom.build import Bundle, build, masters
from mmgen.classroom.grade import Grade, grade
from mmgen.classroom.sandbox import Limits

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(masters(ROOT / "notebooks" / "assignments"))
Mistakes = dict[str, dict[str, tuple[float, str]]]


def mistakes_of(name: str) -> Mistakes:
    """Question -> name of the mistake -> (points it deserves, wrong answer)."""
    return importlib.import_module(f"tests.classroom.mistakes.{name}").MISTAKES


def answered(notebook: dict[str, Any], answers: list[str]) -> dict[str, Any]:
    """The notebook with answers in place of the cells that define the same names."""
    changed = json.loads(json.dumps(notebook))
    for answer in answers:
        first = re.search(r"^(?:def|class) (\w+)|^(\w+) *=", answer, re.MULTILINE)
        assert first is not None
        name = first[1] or first[2]
        pattern = re.compile(rf"^(?:(?:def|class) {name}\b|{name} *=)", re.MULTILINE)
        places = [
            cell
            for cell in changed["cells"]
            if cell["cell_type"] == "code" and pattern.search("".join(cell["source"]))
        ]
        assert len(places) == 1, f"{name} must be defined in one cell"
        places[0]["source"] = answer.strip("\n")
    return changed


def submitted(bundle: Bundle, mistakes: Mistakes) -> dict[str, dict[str, Any]]:
    """Student -> notebook: right, untouched, the others with one mistake a question."""
    solution = json.loads(bundle.solution.read_text(encoding="utf-8"))
    untouched = json.loads(bundle.student.read_text(encoding="utf-8"))
    made = {"right": solution, "untouched": untouched}
    rows = zip_longest(*(question.values() for question in mistakes.values()))
    for i, row in enumerate(rows):
        answers = [mistake[1] for mistake in row if mistake is not None]
        made[f"wrong{i}"] = answered(solution, answers)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_four_typical_mistakes_a_question(name: str) -> None:
    for question, known in mistakes_of(name).items():
        assert len(known) >= 4, f"{name}, {question}: {list(known)}"
        # A mistake that gets everything is none.
        assert len(set(known)) == len(known)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:No sandbox")  # where a kernel gives no namespaces
def test_points_are_what_they_should_be(name: str, tmp_path: Path) -> None:
    bundles, folder = tmp_path / "bundles", tmp_path / "handed-in"
    folder.mkdir()
    master = masters(ROOT / "notebooks" / "assignments")[name]
    # Not the master's own seed: the solution must be right for any.
    bundle = build(master, bundles, seed=20_777)
    mistakes = mistakes_of(name)
    for student, notebook in submitted(bundle, mistakes).items():
        (folder / f"{student}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    grades: dict[str, Grade] = {
        each.student: each
        for each in grade(
            folder,
            name,
            bundles=bundles,
            out=tmp_path / "grades",
            jobs=2,
            limits=Limits(seconds=400),
        )
    }
    right = grades["right"]
    assert right.score == right.possible > 0 and not right.reason, right
    untouched = grades["untouched"]
    assert untouched.score == 0 and untouched.possible == right.possible, untouched
    assert {q["name"] for q in right.questions} == set(mistakes)
    possible = {q["name"]: q["possible"] for q in right.questions}
    wrong_points = []
    for question, known in mistakes.items():
        for i, (mistake, (points, _)) in enumerate(known.items()):
            got = {q["name"]: q["score"] for q in grades[f"wrong{i}"].questions}
            if got.get(question) != points or points >= possible[question]:
                wrong_points.append((question, mistake, points, got.get(question)))
    assert not wrong_points, wrong_points
