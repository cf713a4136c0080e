"""What damaged input does: thousands of captions, files and notebooks, each used once.

``python -m benchmarks.survival [NAME …]`` prints a table and writes
``results/benchmarks/survival.json``. Every input either works or is refused with a
message of ours; anything else, a call of more than a minute, or a command that a file
brought in and that ran, is a failure. The tests try a tenth of each.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.damage import Tally
from benchmarks.timing import RESULTS
from mmgen.data.files import write_json
from mmgen.training.manifest import environment

SLOW = "it grades and draws for many minutes"  # so make bench leaves it out
SEED = 0
# Module of benchmarks.damage -> inputs tried.
COUNTS = {
    "captions": 10_000,
    "stored": 1_600,
    "shards": 400,
    "pictures": 300,
    "notebooks": 500,
}


def summed(tallies: list[Tally], seconds: float) -> dict[str, Any]:
    """One entry of the results: all of a module's damages, and each by itself."""

    def entry(some: list[Tally]) -> dict[str, Any]:
        return {
            "tried": sum(each.tried for each in some),
            "accepted": sum(each.accepted for each in some),
            "refused": sum(each.refused for each in some),
            "failed": sum(len(each.failures) for each in some),
            "slowest": round(max(each.slowest for each in some), 2),
        }

    return {
        **entry(tallies),
        "seconds": round(seconds, 1),
        "of": {each.kind: entry([each]) for each in tallies},
    }


def main() -> None:
    """Try all, print and keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*COUNTS, []], metavar="NAME")
    given = parser.parse_args()
    file = RESULTS / "survival.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in given.names or COUNTS:
        module = importlib.import_module(f"benchmarks.damage.{name}")
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            tallies = module.tried(COUNTS[name], SEED, Path(folder))
        known[name] = summed(tallies, time.monotonic() - started)
        known[name]["environment"] = environment(torch.device("cpu"))
        print(f"\n{name}: tried, accepted, refused, failed, slowest in s")
        for kind, each in known[name]["of"].items():
            print(
                f"  {kind:44} {each['tried']:6} {each['accepted']:6} "
                f"{each['refused']:6} {each['failed']:6} {each['slowest']:8.2f}"
            )
        for each in tallies:
            for failure in each.failures:
                print(f"  FAILED {failure}")
        write_json(file, known)


if __name__ == "__main__":
    main()
