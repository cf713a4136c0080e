"""A class of damaged notebooks, graded in one go beside one that is whole.

Most damage shows before a sandbox is started. What is still a notebook of the
assignment runs, and tries to write a file outside its sandbox: the canary.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from benchmarks.damage import DAMAGES, SECONDS, Tally, flipped
from mmgen.classroom.build import Bundle, build
from mmgen.classroom.grade import Grade, grade
from mmgen.classroom.sandbox import Limits, available_wall

CONFIG = """# ASSIGNMENT CONFIG
name: tiny
init_cell: true
export_cell: false
generate: true
tests:
  ok_format: false
solutions_pdf: false
save_environment: false
"""
SOLUTION = '''def double(x):
    """Twice x."""
    # BEGIN SOLUTION
    return 2 * x
    # END SOLUTION'''
PUBLIC = '''""" # BEGIN TEST CONFIG
points: 1
failure_message: double(3) must be 6
""" # END TEST CONFIG
def test_three(double):
    assert double(3) == 6
test_three(double) # IGNORE'''
HIDDEN = '''""" # BEGIN TEST CONFIG
hidden: true
points: 2
failure_message: other numbers must be doubled, too
""" # END TEST CONFIG
def test_others(double):
    import random
    seed = 0  # TEACHER_SEED
    numbers = random.Random(seed).sample(range(10, 1000), 5)
    assert [double(n) for n in numbers] == [n + n for n in numbers]
test_others(double) # IGNORE'''


def tiny_master(folder: Path) -> Path:
    """Write ``tiny/tiny.ipynb``, a master with one question of three points."""
    cells = [
        new_raw_cell(CONFIG),
        new_markdown_cell("# A tiny assignment"),
        new_raw_cell("# BEGIN QUESTION\nname: q1\npoints: 3"),
        new_markdown_cell("Write `double`."),
        new_raw_cell("# BEGIN SOLUTION"),
        new_code_cell(SOLUTION),
        new_raw_cell("# END SOLUTION"),
        new_raw_cell("# BEGIN TESTS"),
        new_code_cell(PUBLIC),
        new_code_cell(HIDDEN),
        new_raw_cell("# END TESTS"),
        new_raw_cell("# END QUESTION"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    path = folder / "tiny" / "tiny.ipynb"
    path.parent.mkdir()
    nbformat.write(notebook, path)
    return path


def _deep(content: bytes, draw: random.Random) -> bytes:
    """Brackets without end, alone or in place of a cell's text."""
    brackets = draw.choice((b"[", b'{"cells":')) * draw.randrange(10_000, 200_000)
    return draw.choice(
        (brackets, content.replace(b'"source": ', b'"source":' + brackets))
    )


def _other(content: bytes, draw: random.Random) -> bytes:
    """A file of another kind under the notebook's name."""
    kinds = (
        b"\x89PNG\r\n\x1a\n",
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"{}",
        b"0",
    )
    text = content.decode()
    return draw.choice(
        (
            draw.choice(kinds) + draw.randbytes(draw.randrange(200)),
            text.encode("utf-16"),
            text.replace("Assignment tiny", "Assignment vae").encode(),
            text.replace("version", "Version").encode(),
            b"9" * 10_000,
            b"",
        )
    )


def _zipped(content: bytes, draw: random.Random) -> bytes:
    """A damaged zip, or one with a path that leads outside, and too many notebooks."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("tiny.ipynb", content)
        if draw.random() < 0.5:
            parts.writestr("../../canary.ipynb", content)
            return made.getvalue()
    damage = draw.choice(list(DAMAGES.values()))
    return damage(made.getvalue(), draw)


def _misfit(content: bytes, draw: random.Random) -> bytes:
    """A value of the wrong kind in place of what makes a notebook one."""
    notebook = json.loads(content)
    wrong = draw.choice((None, 3, "text", [1, 2], {"a": 1}, True))
    place = draw.randrange(4)
    if place == 0:
        return json.dumps(wrong).encode()
    if place == 1:
        notebook["cells"] = wrong
    elif place == 2:
        notebook["cells"] = [wrong] * 3
    else:
        for cell in notebook["cells"]:
            cell["cell_type" if draw.random() < 0.5 else "source"] = wrong
    return json.dumps(notebook).encode()


def _still_one(content: bytes, draw: random.Random) -> bytes:
    """A notebook still: wrong kinds beside the code, cells twice, its own kernel."""
    notebook = json.loads(content)
    wrong = draw.choice((None, 3, "text", [1, [2]], {"a": {"b": 1}}))
    cell = draw.choice(notebook["cells"][1:])
    change = draw.randrange(4)
    if change == 0:
        notebook["metadata"] = wrong
    elif change == 1:
        cell["metadata"] = wrong
    elif change == 2:
        notebook["cells"].insert(draw.randrange(1, 4), draw.choice((wrong, cell)))
    else:
        argv = ["touch", "canary"]
        notebook["metadata"] = {"kernelspec": {"name": "../canary", "argv": argv}}
    return json.dumps(notebook).encode()


Damage = Callable[[bytes, random.Random], bytes]
# Share of the attempts: few where a sandbox is started, which takes seconds.
KINDS: dict[str, tuple[Damage, float]] = {
    "a bit flipped": (flipped, 0.06),
    "a notebook still": (_still_one, 0.04),
    "cut short": (DAMAGES["cut short"], 0.2),
    "bytes overwritten": (DAMAGES["bytes overwritten"], 0.2),
    "nested without end": (_deep, 0.1),
    "a file of another kind": (_other, 0.1),
    "a damaged zip": (_zipped, 0.15),
    "values of the wrong kind": (_misfit, 0.15),
}


def tried(count: int, seed: int, folder: Path) -> list[Tally]:
    """Grade a class of damaged notebooks.

    Args:
        count: how many.
        seed: of all draws.
        folder: empty folder to work in; ``grades`` in it is what a teacher gets.

    Returns:
        One tally a kind of damage.
    """
    (folder / "masters").mkdir()
    bundle = build(tiny_master(folder / "masters"), folder / "bundles", seed=seed)
    wall, canary = available_wall(), folder / "canary"
    whole = json.loads(bundle.solution.read_text(encoding="utf-8"))
    base = copy.deepcopy(whole)
    if wall != "process":  # which is none: a cell could write there
        base["cells"].append(dict(new_code_cell(f"open({str(canary)!r}, 'w')")))
    content = json.dumps(base).encode()
    handed_in = folder / "handed-in"
    handed_in.mkdir()
    (handed_in / "whole.ipynb").write_text(json.dumps(whole), encoding="utf-8")
    kinds = {}
    names = list(KINDS)
    shares = [KINDS[name][1] for name in names]
    starts = [round(count * sum(shares[:i])) for i in range(len(names) + 1)]
    for i, name in enumerate(names):
        for number in range(starts[i], starts[i + 1]):
            draw = random.Random(f"{seed} {number}")
            damaged = KINDS[name][0](content, draw)
            (handed_in / f"{number:04}.ipynb").write_bytes(damaged)
            kinds[f"{number:04}"] = name
    with warnings.catch_warnings():
        # "process" is asked for on purpose where a machine has no other wall
        warnings.filterwarnings("ignore", "No sandbox")
        grades = grade(
            handed_in,
            "tiny",
            bundles=folder / "bundles",
            out=folder / "grades",
            # Of computing they need three; a busy machine is slow to start a kernel.
            limits=Limits(seconds=3 * SECONDS),
            wall=wall,
        )
    return _tallies(grades, kinds, bundle, folder, seed)


def _tallies(
    grades: list[Grade], kinds: dict[str, str], bundle: Bundle, folder: Path, seed: int
) -> list[Tally]:
    tallies = {name: Tally(f"notebook: {name}") for name in KINDS}
    by_student = {each.student: each for each in grades}
    with (folder / "grades" / "grades.csv").open(encoding="utf-8") as stream:
        rows = {row["student"]: row for row in csv.DictReader(stream)}
    for student, kind in kinds.items():
        tally, what = tallies[kind], f"notebook {student}, seed {seed}"
        made = by_student.get(student)
        if made is None or student not in rows:
            tally.failures.append(f"{what}: no row")
            continue
        page = folder / "grades" / "feedback" / made.page
        tally.slowest = max(tally.slowest, made.seconds)
        unplanned = ("could not be graded", "grading ended", "stopped", "no points")
        if made.reason.startswith(unplanned):
            tally.failures.append(f"{what}: {made.reason}")
        elif not page.read_text(encoding="utf-8").endswith("</html>\n"):
            tally.failures.append(f"{what}: no page")
        elif made.questions:
            tally.accepted += 1
        else:
            tally.refused += 1
    first = next(iter(tallies.values()))
    neighbour = by_student.get("whole")
    if neighbour is None or neighbour.score != bundle.questions[0].possible:
        first.failures.append(f"seed {seed}: the neighbour's points are lost")
    if list(folder.rglob("canary*")):
        first.failures.append(f"seed {seed}: something was written outside its sandbox")
    return list(tallies.values())
