"""``mmgen grade SUBMISSIONS --assignment NAME``: grade a class in one command."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NoReturn

from mmgen.classroom import sandbox
from mmgen.classroom.grade import grade as grade_folder


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is an error like any other of the command line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. mmgen grade --help lists the options.")


def grade(words: list[str]) -> int:
    """Grade a folder of submissions; print a table and where the pages lie.

    Returns:
        0 when every submission could be run, 1 when at least one could not.
    """
    limits = sandbox.Limits()
    parser = _Parser(
        prog="mmgen grade",
        description="Grade a folder of submissions, each in a sandbox of its own.",
    )
    parser.add_argument(
        "submissions",
        type=Path,
        help="folder with one file or folder a student, or one student's file",
    )
    parser.add_argument("--assignment", required=True, help="its name, such as cgan")
    parser.add_argument(
        "--bundles",
        type=Path,
        default=Path("build/assignments"),
        help="where `make assignments` built [%(default)s]",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("grades"), help="folder to write [%(default)s]"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="submissions graded at a time [%(default)s]",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=limits.seconds,
        help="time of one submission [%(default)g]",
    )
    parser.add_argument(
        "--memory-gb",
        type=float,
        default=limits.memory_gb,
        help="memory of one process, GiB [%(default)g]",
    )
    parser.add_argument(
        "--wall", choices=sandbox.WALLS, help="kind of sandbox [the best there is]"
    )
    given = parser.parse_args(words)
    grades = grade_folder(
        given.submissions,
        given.assignment,
        bundles=given.bundles,
        out=given.out,
        jobs=given.jobs,
        limits=sandbox.Limits(given.seconds, given.memory_gb),
        wall=given.wall,
    )
    width = max(len(each.student) for each in grades)
    for each in grades:
        points = f"{each.score:g} of {each.possible:g}"
        print(f"{each.student:{width}}  {points:>10}  {each.reason}")
    print(f"{given.out / 'grades.csv'}, feedback/ and summary.png beside it")
    return int(any(not each.questions for each in grades))
