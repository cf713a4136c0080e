"""Skips that nobody expects fail, and no test leaves torch's switches to the next."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from mmgen.training.devices import switches_put_back

# On somebody's machine a package, a tool or a font may lack, and its tests are skipped.
# Where all of them were installed a skip would hide a test that no longer runs: these
# reasons alone hold there too.
EXPECTED = {
    "the reference knows no spaces between Chinese words": (
        "the reference grammar of the captions ends there, not the parser"
    ),
    "the reference knows no traditional characters": (
        "the reference grammar of the captions ends there, not the parser"
    ),
    "this machine has CUDA": "asks what is said on a machine without",
}
STRICT = ("MMGEN_NO_SKIPS", "CI")  # either, set and not empty, makes skips fail


def _fail_if_unexpected(report: Any) -> None:
    """Turn the report of a skip into that of a failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    if not any(os.environ.get(name) for name in STRICT):
        return
    where, line, reason = report.longrepr
    reason = reason.removeprefix("Skipped: ")
    if reason in EXPECTED:
        return
    report.outcome = "failed"
    report.longrepr = (
        f"{where}:{line}: skipped, and this machine skips nothing "
        f"({' or '.join(STRICT)} is set): {reason}. Install what lacks, or name the "
        f"reason in tests/conftest.py with why it holds everywhere."
    )


@pytest.fixture(autouse=True, scope="module")
def torch_switches() -> Iterator[None]:
    """Chapters and benchmarks demand determinism of their whole process; a file of
    tests puts it back, or what another file sees depends on which worker runs it."""
    with switches_put_back():
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    report = yield
    _fail_if_unexpected(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    report = yield  # a module that skips itself is never run
    _fail_if_unexpected(report)
    return report
