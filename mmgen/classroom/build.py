"""From master notebooks to what students, graders and teachers get.

A master is an otter-grader notebook, ``notebooks/assignments/NAME/NAME.ipynb``. Its
hidden tests draw their cases from a seed, written ``0  # TEACHER_SEED`` in the master:
building replaces the number by the teacher's own, so that a reader of the public
repository knows how the cases are made, but not which ones are used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MASTERS = Path("notebooks/assignments")
_SEED = re.compile(r"\b\d+(?=\s*# TEACHER_SEED)")
_STAMP = re.compile(r"^# Assignment (\w+), version ([0-9a-f]{8})", re.MULTILINE)


@dataclass(frozen=True)
class Bundle:
    """What building one assignment made."""

    name: str
    version: str  # of the master, whatever the seed
    student: Path  # notebook to hand out
    autograder: Path  # zip for otter, Gradescope or ``mmgen grade``
    solution: Path  # notebook with the reference solution


def masters(folder: Path = MASTERS) -> dict[str, Path]:
    """The master notebooks by name.

    Raises:
        FileNotFoundError: no master below ``folder``.
    """
    found = {path.stem: path for path in sorted(folder.glob("*/*.ipynb"))}
    found = {name: path for name, path in found.items() if path.parent.name == name}
    if not found:
        raise FileNotFoundError(
            f"folder must hold masters as NAME/NAME.ipynb; found none in {folder}. Run "
            "this from the root of the repository."
        )
    return found


def version_of(notebook: dict[str, Any]) -> str:
    """Eight hexadecimal digits that change when a cell's source does."""
    sources = [
        ["".join(cell["source"]), cell["cell_type"]] for cell in notebook["cells"]
    ]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:8]


def stamp_of(notebook: dict[str, Any]) -> tuple[str, str] | None:
    """(assignment, version) that a student's notebook carries, or None.

    It stands in a code cell, because some platforms drop a notebook's metadata.
    """
    for cell in notebook.get("cells", []):
        if match := _STAMP.search("".join(cell.get("source", ""))):
            return match[1], match[2]
    return None


def build(master: Path, out: Path, seed: int) -> Bundle:
    """Build one assignment into ``out/NAME``.

    Args:
        master: the master notebook.
        out: folder of all assignments; ``out/NAME`` is made anew.
        seed: the teacher's seed for the hidden cases.

    Raises:
        ValueError: a master whose hidden tests do not use the seed.
        RuntimeError: otter refused the master; its words are in the message.
    """
    name = master.stem
    notebook = json.loads(master.read_text(encoding="utf-8"))
    version = version_of(notebook)
    replaced = 0
    for cell in notebook["cells"]:
        source, n = _SEED.subn(str(seed), "".join(cell["source"]))
        cell["source"], replaced = source, replaced + n
    if not replaced:
        raise ValueError(
            f"a hidden test of {master} must draw its cases from `0  # TEACHER_SEED`; "
            "found no such line."
        )
    target = out / name
    with tempfile.TemporaryDirectory() as scratch:
        seeded = Path(scratch) / f"{name}.ipynb"
        seeded.write_text(json.dumps(notebook), encoding="utf-8")
        made = Path(scratch) / "dist"
        # Its own process: otter changes the working folder while it builds.
        otter = subprocess.run(
            [
                *(sys.executable, "-m", "otter", "assign", str(seeded), str(made)),
                *("--no-pdfs", "--no-run-tests"),
            ],
            capture_output=True,
            text=True,
        )
        zips = list(made.glob("autograder/*.zip"))
        if otter.returncode or len(zips) != 1:
            raise RuntimeError(
                f"otter could not build {master}:\n{otter.stderr[-2000:]}"
            )
        if target.exists():
            shutil.rmtree(target)
        for part in ("student", "solution"):
            (target / part).mkdir(parents=True)
        shutil.move(zips[0], target / "autograder.zip")
        for part, origin in (("student", "student"), ("solution", "autograder")):
            stamped = json.loads((made / origin / seeded.name).read_text("utf-8"))
            _stamp(stamped, name, version)
            (target / part / seeded.name).write_text(
                json.dumps(stamped, indent=1, ensure_ascii=False) + "\n", "utf-8"
            )
    return bundle(out, name)


def bundle(out: Path, name: str) -> Bundle:
    """The files of an assignment that was built into ``out``.

    Raises:
        FileNotFoundError: it was not built; the message says how.
    """
    folder = out / name
    parts = Bundle(
        name=name,
        version="",
        student=folder / "student" / f"{name}.ipynb",
        autograder=folder / "autograder.zip",
        solution=folder / "solution" / f"{name}.ipynb",
    )
    if not parts.autograder.is_file() or not parts.student.is_file():
        built = sorted(path.parent.name for path in out.glob("*/autograder.zip"))
        raise FileNotFoundError(
            f"assignment must be one that was built into {out}; got {name!r} (built: "
            f"{', '.join(built) or 'none'}). Build with `make assignments`."
        )
    stamp = stamp_of(json.loads(parts.student.read_text(encoding="utf-8")))
    assert stamp is not None, "build stamps every student's notebook"
    return Bundle(name, stamp[1], parts.student, parts.autograder, parts.solution)


def _stamp(notebook: dict[str, Any], name: str, version: str) -> None:
    """Write the stamp into the first code cell, which otter made."""
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    first["source"] = (
        f"# Assignment {name}, version {version}: please leave this cell as it is.\n"
        + "".join(first["source"])
    )


def build_all(out: Path, seed: int, folder: Path = MASTERS) -> list[Bundle]:
    """Build every assignment, as many at a time as there are processor cores."""
    paths = list(masters(folder).values())
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(lambda path: build(path, out, seed), paths))


def teacher_seed(out: Path, given: int | None) -> int:
    """The seed of this teacher: given, kept from the last build, or drawn now."""
    kept = out / "seed.txt"
    if given is None and kept.is_file():
        given = int(kept.read_text(encoding="utf-8"))
    seed = secrets.randbelow(2**31) if given is None else given
    out.mkdir(parents=True, exist_ok=True)
    kept.write_text(f"{seed}\n", encoding="utf-8")
    return seed


def main() -> None:
    parser = argparse.ArgumentParser(description="Build all assignments.")
    parser.add_argument("--out", type=Path, default=Path("build/assignments"))
    parser.add_argument(
        "--seed", type=int, help="of the hidden cases (default: the last one, or new)"
    )
    arguments = parser.parse_args()
    seed = teacher_seed(arguments.out, arguments.seed)
    for made in build_all(arguments.out, seed):
        print(f"{made.name:10} version {made.version}  {made.student.parent.parent}")
    print(f"seed of the hidden cases: {seed} (kept in {arguments.out / 'seed.txt'})")


if __name__ == "__main__":
    main()
