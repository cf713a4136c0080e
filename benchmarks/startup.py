"""How long a reader waits: ``mmgen --help``, and ``mmgen sample`` against torch alone.

``python -m benchmarks.startup``: whole processes, in turns. Limits: 0.5 s for the help;
2 s more than ``import torch`` for a picture.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import UNDISTURBED, write
from mmgen.pretrained import available

MMGEN = (sys.executable, "-m", "mmgen.cli")


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall seconds of a process, and CPU seconds in each of them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu / wall


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="weights to draw with [the first there are]")
    parser.add_argument("--repetitions", type=int, default=7)
    given = parser.parse_args()
    if not given.model and not available():
        parser.error("no weights are here; name a run with --model")
    model = given.model or available()[0]
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "picture.png")
        ways = {
            "python": [sys.executable, "-c", "pass"],
            "mmgen --help": [*MMGEN, "--help"],
            "import torch": [sys.executable, "-c", "import torch"],
            "mmgen sample": [*MMGEN, "sample", model, "a red star", "--out", picture],
        }
        for command in ways.values():  # the disk's cache is warm after this
            seconds(command)
        rounds = [
            {name: seconds(command) for name, command in ways.items()}
            for _ in range(given.repetitions)
        ]
    medians, kept = {}, {}
    for name in ways:
        best = max(each[name][1] for each in rounds)
        quiet = [e[name][0] for e in rounds if e[name][1] >= UNDISTURBED * best]
        medians[name], kept[name] = statistics.median(quiet), len(quiet)
        print(
            f"{name:14} {medians[name]:6.2f} s  ({kept[name]} of {len(rounds)} rounds)"
        )
    more = medians["mmgen sample"] - medians["import torch"]
    print(f"mmgen sample takes {more:.2f} s more than import torch (limit 2 s)")
    facts = {
        "model": model,
        "seconds": medians,
        "kept": kept,
        "rounds": len(rounds),
        "sample_over_torch": more,
        "limits": {"mmgen --help": 0.5, "sample_over_torch": 2.0},
    }
    print(write("startup", facts))


if __name__ == "__main__":
    main()
