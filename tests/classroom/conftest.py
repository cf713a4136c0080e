"""A tiny master notebook, and ways to break what students hand in."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell

from benchmarks.damage import notebooks
from mmgen.classroom.build import Bundle, build


@pytest.fixture(scope="session")
def tiny_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a master notebook with one question of three points."""
    return notebooks.tiny_master(tmp_path_factory.mktemp("masters"))


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
