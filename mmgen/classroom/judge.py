"""Inside the notebook's kernel: refuse imports of answers, and run the tests.

``mmgen.classroom.run_one`` sends the text of this file to the kernel, where it is a
module without a parent: nothing of the package may be loaded there. The tests arrive
after the student's last cell has run.
"""

from __future__ import annotations

import builtins
import ctypes
import importlib
import importlib.util
import json
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import Any

MESSAGE = 1_500  # characters of one test's message that are kept

_names: dict[str, Any] = {}  # the student's namespace; the kernel's own dictionary
_moments: dict[str, dict[str, Any]] = {}  # question -> the names at its check
_refused: set[str] = set()
_allowed: tuple[str, ...] = ()
_package = ""
_tests: set[str] = set()  # file names under which the tests were compiled


def start(names: dict[str, Any], package: str, allowed: Sequence[str]) -> None:
    """Refuse from now on what a student could import in place of an answer.

    Args:
        names: the namespace of the notebook.
        package: folder of ``mmgen``, whose own imports go on working.
        allowed: modules of it that the handed-out notebook itself imports.
    """
    global _names, _package, _allowed
    _names, _package, _allowed = names, package, tuple(allowed)
    if sys.platform == "linux":  # where there is no wall, it ends with its parent
        signal_at_parents_end = 1
        ctypes.CDLL(None).prctl(signal_at_parents_end, signal.SIGKILL)
    sys.meta_path.insert(0, _Refusal)
    real_import, real_module = builtins.__import__, importlib.import_module

    # A finder is not asked for what is loaded already, so both ways are guarded, too.
    def guarded(
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if not level and name.partition(".")[0] == "mmgen":
            _check(name, sys._getframe(1))
            for part in fromlist or ():
                if f"{name}.{part}" in sys.modules:
                    _check(f"{name}.{part}", sys._getframe(1))
        return real_import(name, globals, locals, fromlist or (), level)

    def guarded_module(name: str, package: str | None = None) -> ModuleType:
        _check(importlib.util.resolve_name(name, package), sys._getframe(1))
        return real_module(name, package)

    builtins.__import__ = guarded
    importlib.import_module = guarded_module


class _Refusal:
    """A finder that finds nothing, and stops the search for what is refused."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        _check(name, sys._getframe(1))


def _check(name: str, frame: FrameType) -> None:
    if name.partition(".")[0] != "mmgen" or not _by_student(frame):
        return
    for each in _allowed:
        # Its parents are needed to load it; what is below it belongs to it.
        below = each != "mmgen" and name.startswith(f"{each}.")
        if name == each or each.startswith(f"{name}.") or below:
            return
    _refused.add(name)
    raise ImportError(
        f"answers are written, not imported: {name} is not available in a graded cell"
    )


def _by_student(frame: FrameType | None) -> bool:
    """Whether a cell asks, and neither a test nor the package for its own needs."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file in _tests or file.startswith(_package):
            return False
        if frame.f_globals is _names:
            return True
        frame = frame.f_back
    return True


def remember(question: str) -> None:
    """Keep the names as they are at a check: a later cell may use them again."""
    _moments[question] = dict(_names)


def judge(tests: dict[str, str], token: str) -> str:
    """Run all tests of all questions.

    Args:
        tests: question -> source of its tests.
        token: stands in the answer, and in the tests' file names.

    Returns:
        JSON: ``token``, ``refused`` (names of modules), and ``questions``, for each a
        list of ``passed`` and ``message``, one a test.
    """
    from otter.test_files.exception_test import ExceptionTestFile

    last = dict(_names)
    questions = {}
    for name, source in tests.items():
        _names.clear()
        _names.update(_moments.get(name, last))
        file = f"<tests of {name}, {token}>"
        _tests.add(file)
        cases = ExceptionTestFile.from_string(source, path=file).test_cases
        questions[name] = [_run(case.body, source, file) for case in cases]
    _names.clear()
    _names.update(last)
    return json.dumps(
        {"token": token, "refused": sorted(_refused), "questions": questions}
    )


def _run(case: Any, source: str, file: str) -> dict[str, Any]:
    try:
        case.call_func(_names)
    except BaseException as error:  # an answer may also call exit()
        return {"passed": False, "message": _message(error, source, file)[:MESSAGE]}
    return {"passed": True, "message": ""}


def _message(error: BaseException, source: str, file: str) -> str:
    """What the test says, or else the line that failed."""
    try:
        said = str(error).strip()
    except Exception:  # a student's own exception may be broken, too
        said = ""
    if isinstance(error, AssertionError) and said:
        return said
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals is _names:
            return f"{text} (in {frame.f_code.co_name}, line {line} of its cell)"
        if frame.f_code.co_filename == file:
            return f"{text} (at: {source.splitlines()[line - 1].strip()})"
    return text
