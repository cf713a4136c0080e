"""What pyproject.toml allows and constraints.txt fixes has no known fault.

``make audit`` asks a database of advisories, which needs the network; this table holds
what such a search found for the packages that the project names, so that a bound cannot
sink below it.
"""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
# Package -> first version without the faults, and their names.
MENDED = {
    "torch": ("2.10.0", "CVE-2026-24747: weights_only loading corrupts memory"),
    "pillow": ("12.3.0", "PYSEC-2026-2253 to 2257, CVE-2026-40192, CVE-2026-25990"),
    "lightning-fabric": ("2.6.6", "GHSA-w37p-236h-pfx3, CVE-2026-58659"),
    "tqdm": ("4.66.3", "CVE-2024-34062"),
    "jupyterlab": ("4.6.2", "GHSA-pppj-hq3g-57pj, GHSA-gx64-gj6p-pc4c and three more"),
    "onnx": ("1.21.0", "CVE-2026-27489, CVE-2026-28500, CVE-2026-34445"),
    "nbconvert": ("7.17.1", "CVE-2025-53000, CVE-2026-39377, CVE-2026-39378"),
    "pytest": ("9.0.3", "CVE-2025-71176"),
}


def required() -> dict[str, Requirement]:
    """Every requirement of the project and its extras, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        lines += extra
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(each.name): each for each in found}


def fixed() -> list[Requirement]:
    """The exact versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def version(each: Requirement, *operators: str) -> Version:
    """The version that a requirement names behind one of the operators."""
    (found,) = [s.version for s in each.specifier if s.operator in operators]
    return Version(found)


@pytest.mark.parametrize("name", MENDED)
def test_no_lower_bound_allows_a_known_fault(name: str) -> None:
    mended, faults = MENDED[name]
    assert version(required()[name], ">=") >= Version(mended), faults


def test_the_exact_versions_are_within_the_bounds() -> None:
    bounds = required()
    pinned = {canonicalize_name(each.name) for each in fixed()}
    assert set(bounds) <= pinned
    for each in fixed():
        bound = bounds.get(canonicalize_name(each.name))
        if bound is not None:
            assert version(each, "==") in bound.specifier, (str(each), str(bound))
