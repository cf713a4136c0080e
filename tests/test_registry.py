"""The registry: names to classes and back, and what is said of unknown ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmgen.interfaces import Task
from mmgen.registry import METHODS, class_path, find_class, stored_class, unknown


class Outer:
    class Inner:
        pass


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_found_and_found_again(method: str) -> None:
    task = find_class(METHODS[method])
    assert Task in task.__mro__
    assert find_class(class_path(task)) is task


@pytest.mark.parametrize("cls", [Outer, Outer.Inner])
def test_paths_lead_back(cls: type) -> None:
    assert class_path(cls) == f"{__name__}:{cls.__qualname__}"
    assert find_class(class_path(cls)) is cls


@pytest.mark.parametrize(
    "path",
    ["mmgen.models.gone:Task", "mmgen.registry:Gone", "mmgen.registry:METHODS.gone"],
)
def test_what_does_not_exist_is_named(path: str) -> None:
    with pytest.raises(ValueError, match=f"the class '{path}' cannot be found"):
        find_class(path)


@pytest.mark.parametrize("path", ["mmgen.registry", ""])
def test_a_path_without_a_class_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="cannot be found"):
        find_class(path)


def test_a_file_may_name_a_method_or_what_is_imported() -> None:
    assert stored_class(METHODS["cgan"], "build") is find_class(METHODS["cgan"])
    assert stored_class(class_path(Outer.Inner)) is Outer.Inner


@pytest.mark.parametrize(
    "path, said",
    [
        ("this:s", "Nothing was imported"),
        ("mmgen.cli.__main__:main", "Nothing was imported"),
        ("mmgen.models:cgan", "must name a class"),
        ("mmgen.models.__main__.x;import this:s", "Nothing was imported"),
        ("os:system", "must name a class that has build"),
        ("subprocess:Popen", "must name a class that has build"),
        ("mmgen.models.cgan:CGANConfig", "must name a class that has build"),
        ("mmgen.models.cgan:torch.nn.Module", "must name a class"),
        (["mmgen.models.cgan:CGANTask"], "Nothing was imported"),
        (None, "Nothing was imported"),
    ],
)
def test_a_file_names_no_other_class(path: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stored_class(path, "build")
    assert "this" not in sys.modules


def test_unknown_says_what_there_is_and_the_nearest() -> None:
    said = unknown("method", "damms", METHODS)
    assert said == (
        f"unknown method 'damms'; there are {', '.join(METHODS)}. Did you mean damsm?"
    )
    assert unknown("run", "zzz", ["a"]) == "unknown run 'zzz'; there are a."
    assert unknown("run", "zzz", []) == "unknown run 'zzz'."


def test_names_are_known_without_torch() -> None:
    code = "import sys, mmgen.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
