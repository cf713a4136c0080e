"""A tiny master notebook, and ways to break what students hand in."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from mmgen.classroom.build import Bundle, build

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


@pytest.fixture(scope="session")
def tiny_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a master notebook with one question of three points."""
    folder = tmp_path_factory.mktemp("masters") / "tiny"
    folder.mkdir()
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
    path = folder / "tiny.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="session")
def tiny(tiny_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny assignment, built with seed 7."""
    return build(tiny_master, tmp_path_factory.mktemp("bundles"), seed=7)


@pytest.fixture
def with_cell() -> Callable[[Path, str], dict[str, Any]]:
    """A function that puts a code cell behind the first cell of a notebook."""

    def insert(path: Path, source: str) -> dict[str, Any]:
        notebook = copy.deepcopy(json.loads(path.read_text(encoding="utf-8")))
        notebook["cells"].insert(1, dict(new_code_cell(source)))
        return notebook

    return insert
