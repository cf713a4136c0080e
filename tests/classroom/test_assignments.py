"""Each assignment proved: right answers, no answers, and typical wrong ones by name."""

import contextlib
import importlib
import io
import json
import re
import shutil
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from nbconvert.filters import markdown2html
from otter.test_files.exception_test import ExceptionTestFile
from torch import Tensor

from mmgen.classroom.build import Bundle, build, masters
from mmgen.classroom.grade import Grade, grade
from mmgen.classroom.sandbox import Limits
from mmgen.metrics import r_precision

ROOT = Path(__file__).resolve().parents[2]
MASTERS = masters(ROOT / "notebooks" / "assignments")
NAMES = sorted(MASTERS)
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
# A mistake: points that it deserves, the wrong answer, and (where given) a pattern of
# what the student must be told.
Mistakes = dict[str, dict[str, tuple[float, str] | tuple[float, str, str]]]
# A prediction or a measured number, which a student gives as `name = value`.
CHOICE = re.compile(r"^(\w+) = (True|False|-?[\d.]+) *# SOLUTION$", re.MULTILINE)
CHECK = re.compile(r'^grader\.check\("(\w+)"\)', re.MULTILINE)
BY_HAND = re.compile(r"about (?:half|a third|a quarter|two thirds)")


def mistakes_of(name: str) -> Mistakes:
    """Question -> name of the mistake -> (points it deserves, wrong answer, hint)."""
    return importlib.import_module(f"tests.classroom.mistakes.{name}").MISTAKES


def sources(notebook: Path, kind: str) -> list[str]:
    """What stands in the cells of a kind, "code" or "markdown"."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def points_of(master: Path) -> dict[str, tuple[float, float]]:
    """Question -> points of the tests that students see, and of all its tests."""
    points: dict[str, tuple[float, float]] = {}
    name = ""
    for cell in json.loads(master.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if begin := re.match(r"# BEGIN QUESTION\nname: (\w+)$", source, re.MULTILINE):
            name = begin[1]
            points[name] = 0.0, 0.0
        config, mark, _ = source.partition("# END TEST CONFIG")
        if mark:
            found = re.search(r"^points: ([\d.]+)$", config, re.MULTILINE)
            assert found is not None, source
            hidden = re.search(r"^hidden: true$", config, re.MULTILINE)
            visible, total = points[name]
            here = float(found[1])
            points[name] = visible + (0.0 if hidden else here), total + here
    return points


def summed(points: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """Points of all questions: of the tests that students see, and of all."""
    return sum(v for v, _ in points.values()), sum(t for _, t in points.values())


def answered(cells: list[str], answer: str) -> list[str]:
    """The cells with an answer in place of the one that defines the same name."""
    first = re.search(r"^(?:def|class) (\w+)|^(\w+) *=", answer, re.MULTILINE)
    assert first is not None
    name = first[1] or first[2]
    pattern = re.compile(rf"^(?:(?:def|class) {name}\b|{name} *=)", re.MULTILINE)
    places = [i for i, source in enumerate(cells) if pattern.search(source)]
    assert len(places) == 1, f"{name} must be defined in one cell"
    return [*cells[: places[0]], answer.strip("\n"), *cells[places[0] + 1 :]]


def cells_of(notebook: Path) -> dict[str, list[str]]:
    """Question -> its code cells, given ones too, but not the check."""
    cells: dict[str, list[str]] = {}
    waiting: list[str] = []
    for source in sources(notebook, "code"):
        if check := CHECK.search(source):
            cells[check[1]], waiting = waiting, []
        elif "otter.Notebook" not in source:
            waiting.append(source)
    return cells


class Desk:
    """A notebook, the right one by default, run once to try answers to a question on.

    In this process, as each wrong answer by its way through the grader's sandbox would
    take most of the time that the tests take.
    """

    def __init__(
        self, bundle: Bundle, folder: Path, notebook: Path | None = None
    ) -> None:
        with zipfile.ZipFile(bundle.autograder) as packed:
            packed.extractall(folder)
        self.tests = folder / "tests"
        self.cells = cells_of(notebook or bundle.solution)
        self.names: dict[str, Any] = {}
        for cells in self.cells.values():
            self.run(cells, self.names)

    @staticmethod
    def run(cells: list[str], names: dict[str, Any]) -> None:
        """Run cells as a notebook does: an error ends its own cell only."""
        for source in cells:
            silent = contextlib.redirect_stdout(io.StringIO())
            with silent, contextlib.suppress(Exception):
                exec(compile(source, "<cell>", "exec"), names)

    def judge(self, name: str, answer: str) -> dict[str, Any]:
        """What the grader would report of a question after one other answer to it."""
        return self.judge_cells(name, answered(self.cells[name], answer))

    def judge_cells(self, name: str, cells: list[str]) -> dict[str, Any]:
        """The same, of all cells of a question."""
        names = dict(self.names)
        self.run(cells, names)
        tests = ExceptionTestFile.from_file(str(self.tests / f"{name}.py"))
        tests.run(names)
        cases = [
            {
                "passed": result.passed,
                "hidden": result.test_case.hidden,
                "hint": result.test_case.failure_message,
                "message": result.message,
            }
            for result in tests.test_case_results
        ]
        return {"score": tests.score, "possible": tests.possible, "cases": cases}


def told(question: dict[str, Any], *, visible: bool = False) -> str:
    """What a student reads of the tests that failed: messages, and hints."""
    lines = []
    for case in question["cases"]:
        if not case["passed"] and not (visible and case["hidden"]):
            lines += [case["hint"] or "", "" if case["hidden"] else case["message"]]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def bundle(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Bundle:
    """The assignment of the name that a test is given, built once for all its tests."""
    # Not the master's own seed: the solution must be right for any.
    return build(MASTERS[request.param], tmp_path_factory.mktemp("built"), seed=20_777)


@pytest.mark.parametrize("name", NAMES)
def test_four_typical_mistakes_a_question(name: str) -> None:
    for question, known in mistakes_of(name).items():
        assert len(known) >= 4, f"{name}, {question}: {list(known)}"
        # A mistake that gets everything is none.
        assert len(set(known)) == len(known)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_text_is_indented_into_a_code_block(path: Path) -> None:
    for source in sources(path, "markdown"):
        if "```" not in source:
            assert "<pre" not in markdown2html(source), source


@pytest.mark.parametrize("bundle", NAMES, indirect=True)
def test_the_student_reads_the_true_share_of_visible_points(bundle: Bundle) -> None:
    points = points_of(MASTERS[bundle.name])
    visible, total = summed(points)
    assert 0 < visible < total
    assert not BY_HAND.search("\n".join(sources(MASTERS[bundle.name], "markdown")))
    text = "\n".join(sources(bundle.student, "markdown"))
    assert f" {visible:g} of {total:g} points" in text, text[:2000]
    checks = {
        check[1]: source
        for source in sources(bundle.student, "code")
        if (check := CHECK.search(source))
    }
    assert set(checks) == set(points)
    for name, (seen, possible) in points.items():
        assert f" {seen:g} of {possible:g} points" in checks[name]


@pytest.mark.parametrize("page", ["how-to-use.md", "teaching.md"])
def test_students_are_told_how_to_install_what_checks_their_answers(page: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (needed,) = project["project"]["optional-dependencies"]["assignments"]
    assert f'pip install "{needed}"' in (ROOT / "book" / page).read_text("utf-8")


def test_ties_count_as_the_package_and_the_damsm_assignment_say() -> None:
    class Undecided:
        def scores(self, images: Tensor, captions: list[str]) -> Tensor:
            return torch.zeros(len(images), len(captions))

    captions = [f"caption {i}" for i in range(20)]
    pictures = torch.zeros(20, 3, 8, 8)
    found = r_precision(pictures, captions, Undecided(), candidates=10)
    assert found.precision.value == 0
    assert "counts as lost" in (r_precision.__doc__ or "")
    asked = "\n".join(sources(MASTERS["damsm"], "markdown"))
    assert "`mmgen.metrics.r_precision`" in asked and "counts a tie as *lost*" in asked
    names: dict[str, Any] = {"torch": torch, "Tensor": Tensor}
    for source in sources(MASTERS["damsm"], "code"):
        if source.startswith("def fair_r_precision"):
            exec(source, names)
    true = torch.arange(10) < torch.ones(20, 1)
    assert abs(names["fair_r_precision"](torch.zeros(20, 10), true) - 0.1) < 1e-6


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bundle", NAMES, indirect=True)
@pytest.mark.filterwarnings("ignore:No sandbox")  # where a kernel gives no namespaces
def test_points_are_what_they_should_be(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "handed-in"
    folder.mkdir()
    for student, path in {
        "right": bundle.solution,
        "untouched": bundle.student,
    }.items():
        shutil.copy(path, folder / f"{student}.ipynb")
    grades: dict[str, Grade] = {
        each.student: each
        for each in grade(
            folder,
            bundle.name,
            bundles=bundle.autograder.parents[1],
            out=tmp_path / "grades",
            limits=Limits(seconds=1_200),  # of a machine that does other work, too
        )
    }
    right = grades["right"]
    assert right.score == right.possible > 0 and not right.reason, right
    assert {q["name"] for q in right.questions} == set(mistakes_of(bundle.name))
    seen = [case for q in right.questions for case in q["cases"] if not case["hidden"]]
    shown = sum(case["points"] for case in seen)
    assert (shown, right.possible) == summed(points_of(MASTERS[bundle.name]))

    untouched = grades["untouched"]
    assert untouched.score == 0 and untouched.possible == right.possible, untouched
    # No cell that the assignment gives needs an answer.
    assert not re.match(r"cell \d", untouched.reason), untouched.reason
    silent = [
        question["name"]
        for question in untouched.questions
        if "not answered yet" not in told(question, visible=True)
    ]
    assert not silent, f"an untouched answer is not said to be one: {silent}"


@pytest.mark.slow
@pytest.mark.parametrize("bundle", NAMES, indirect=True)
def test_a_question_needs_no_answer_to_another(bundle: Bundle, tmp_path: Path) -> None:
    desk = Desk(bundle, tmp_path, bundle.student)
    lost = []
    for name, answers in cells_of(bundle.solution).items():
        got = desk.judge_cells(name, answers)
        if got["score"] < got["possible"]:
            lost.append((name, told(got)))
    assert not lost, f"right, but for answers to others: {lost}"


@pytest.mark.slow
@pytest.mark.parametrize("bundle", NAMES, indirect=True)
def test_an_answer_left_out_or_given_as_a_text_loses_and_is_told(
    bundle: Bundle, tmp_path: Path
) -> None:
    desk, untouched = Desk(bundle, tmp_path), cells_of(bundle.student)
    silent = []
    for name, cells in desk.cells.items():
        tried = [  # one cell of a question left as it was, the others right
            (left, "not answered yet")
            for left, right in zip(untouched[name], cells, strict=True)
            if left != right
        ]
        for source in cells:
            for choice in CHOICE.finditer(source):
                before, after = source[: choice.start()], source[choice.end() :]
                left = f"{before}{choice[1]} = ...{after}"
                tried.append((left, "not answered yet"))
                text = f'{before}{choice[1]} = "{choice[2]}"{after}'
                tried.append((text, r"\bstr\b"))
        assert tried, name
        for answer, needed in tried:
            got = desk.judge(name, answer)
            said = told(got, visible=True)
            if got["score"] >= got["possible"] or not re.search(needed, said):
                silent.append((name, answer, needed, said))
    assert not silent, silent


@pytest.mark.parametrize("bundle", NAMES, indirect=True)
def test_at_most_a_quarter_of_the_points_can_be_copied_from_the_chapter(
    bundle: Bundle, tmp_path: Path
) -> None:
    desk = Desk(bundle, tmp_path, bundle.student)
    copied = importlib.import_module(f"tests.classroom.mistakes.{bundle.name}").COPIED
    points = {
        name: desk.judge(name, answer)["score"] for name, answer in copied.items()
    }
    _, total = summed(points_of(MASTERS[bundle.name]))
    assert 0 < sum(points.values()) <= total / 4, points


@pytest.mark.slow
@pytest.mark.parametrize("bundle", NAMES, indirect=True)
def test_typical_mistakes_lose_and_are_explained(
    bundle: Bundle, tmp_path: Path
) -> None:
    desk = Desk(bundle, tmp_path)
    wrong_points, not_told = [], []
    for name, known in mistakes_of(bundle.name).items():
        for mistake, (points, answer, *hint) in known.items():
            got = desk.judge(name, answer)
            said = told(got)
            if got["score"] != points or points >= got["possible"]:
                wrong_points.append((name, mistake, points, got["score"]))
            elif hint and not re.search(hint[0], said, re.MULTILINE):
                not_told.append((name, mistake, hint[0], said))
    assert not wrong_points, wrong_points
    assert not not_told, not_told
