"""A skip fails where every test can run, and is a skip elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import EXPECTED, STRICT

HERE = Path(__file__).parent
TESTS = f"""
import pytest

def test_passes(): pass

def test_expected(): pytest.skip({next(iter(EXPECTED))!r})

def test_inside(): pytest.skip("no font")

@pytest.mark.skipif(True, reason="no browser")
def test_marked(): pass

@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False
"""
MODULE = 'import pytest\npytest.importorskip("no_such_package")\ndef test_it(): pass\n'


def outcomes(folder: Path, **environment: str) -> tuple[int, dict[str, int]]:
    """Exit status, and outcomes by name, of pytest with this suite's conftest."""
    shutil.copy(HERE / "conftest.py", folder)
    (folder / "test_some.py").write_text(TESTS)
    (folder / "test_module.py").write_text(MODULE)
    # not those of a run that this one is part of
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in STRICT and not name.startswith("PYTEST_")
    }
    words = ("-q", "-p", "no:cacheprovider", "--continue-on-collection-errors")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=folder,
        # other people's plugins take seconds to load, and say nothing here
        env=kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    last = done.stdout.strip().splitlines()[-1]
    found = re.findall(r"(\d+) ([a-z]+?)s?\b", last.rpartition(" in ")[0])
    return done.returncode, {name: int(number) for number, name in found}


def test_elsewhere_a_skip_stays_a_skip(tmp_path: Path) -> None:
    expected = {"passed": 1, "skipped": 4, "xfailed": 1}
    assert outcomes(tmp_path) == (0, expected)


@pytest.mark.parametrize("name", STRICT)
def test_where_all_can_run_it_fails(tmp_path: Path, name: str) -> None:
    # a test fails where it is run; one that is marked, and a module, before that
    expected = {"failed": 1, "error": 2, "passed": 1, "skipped": 1, "xfailed": 1}
    assert outcomes(tmp_path, **{name: "1"}) == (1, expected)


def test_reasons_that_are_expected_are_still_given() -> None:
    """No reason stays on the list after its test is gone."""
    text = "".join(
        path.read_text("utf-8")
        for path in HERE.rglob("test_*.py")
        if path != Path(__file__)
    )
    assert [reason for reason in EXPECTED if f'"{reason}"' not in text] == []


def test_continuous_integration_skips_nothing() -> None:
    script = (HERE.parent / ".ci" / "run").read_text("utf-8")
    assert re.search(rf"^export .*{STRICT[0]}=1", script, re.MULTILINE)
