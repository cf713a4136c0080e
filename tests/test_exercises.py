"""The exercise pages: every code block runs, and every exercise is whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.code_blocks import Block, blocks, run

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    path
    for path in sorted((ROOT / "book" / "exercises").glob("*.md"))
    if path.stem != "index"  # three questions of words; the chapters' pages have code
]
LEVELS = {"Warm-up": 0, "Practice": 1, "Project": 2}


class Exercise(NamedTuple):
    """An exercise with what stands between it and the next one."""

    label: str
    level: str
    minutes: int
    hint: bool
    solution: bool


def exercises(page: Path) -> list[Exercise]:
    """Exercises of a page in their order, or a failure that names what lacks."""
    text = page.read_text(encoding="utf-8")
    found = []
    for part in re.split(r"^`{3,}\{exercise\} ", text, flags=re.MULTILINE)[1:]:
        label = re.search(r"^:label: (\S+)$", part, re.MULTILINE)
        assert label is not None, f"{page.name}: no label: {part[:60]!r}"
        level = re.search(
            r"^\*(Warm-up|Practice|Project), (\d+) (minutes|hours)\.\*$", part, re.M
        )
        assert level is not None, f"{page.name}: {label[1]} names no level and minutes"
        found.append(
            Exercise(
                label[1],
                level[1],
                int(level[2]) * (60 if level[3] == "hours" else 1),
                "{admonition} Hint" in part,
                f"{{solution}} {label[1]}\n" in part,
            )
        )
    return found


ALL = [block for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b, id=b.name, marks=[pytest.mark.slow] if b.slow else [])
        for b in ALL
        if b.language == "python"
    ],
)
def test_a_code_block_runs_by_itself(block: Block, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(block)


def test_code_fits_the_page() -> None:
    wide = [(b.name, x) for b in ALL for x in b.code.splitlines() if len(x) > 88]
    assert wide == []


def test_every_page_has_code_and_no_other_language() -> None:
    assert {block.language for block in ALL} <= {"python", "text"}
    assert {block.page for block in ALL} == {page.stem for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_exercise_is_whole(page: Path) -> None:
    found = exercises(page)
    assert 8 <= len(found) <= 17
    assert [e.label for e in found if not e.solution] == []
    assert [e.label for e in found if not e.label.startswith(page.stem)] == []
    levels = [LEVELS[e.level] for e in found]
    assert levels == sorted(levels), "from easy to hard"
    assert set(levels) == {0, 1, 2}
    assert [e.label for e in found if e.level == "Warm-up" and e.minutes > 15] == []
    assert [e.label for e in found if e.level == "Practice" and e.minutes > 45] == []
    practice = [e for e in found if e.level == "Practice"]
    assert sum(e.hint for e in practice) >= len(practice) / 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_project_has_a_rubric_of_four_rows(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    project = text[text.index("*Project, ") :]
    table = re.search(r"^\| criterion \|.*\n(?:\|.*\n)+", project, re.MULTILINE)
    assert table is not None and len(table[0].splitlines()) == 2 + 4


def test_labels_are_unique() -> None:
    labels = [e.label for page in PAGES for e in exercises(page)]
    assert len(labels) == len(set(labels))


def test_no_second_name_for_a_discriminator() -> None:
    for page in PAGES:
        assert not re.search(r"\bjudges?\b", page.read_text(encoding="utf-8")), page
