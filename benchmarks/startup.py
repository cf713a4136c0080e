"""How long a reader waits: for the help, for one picture, and for 64 once loaded.

``python -m benchmarks.startup``: ``mmgen --help`` and ``mmgen sample`` against ``import
torch`` alone, whole processes, in turns; then 64 captions drawn by each model in this
process, on two threads. Limits: 0.5 s for the help; 2 s more than ``import torch`` for
a picture; 3 s for 64 captions.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.timing import UNDISTURBED, write
from mmgen.data import load_dataset
from mmgen.pretrained import load

MMGEN = (sys.executable, "-m", "mmgen.cli")
MODELS = ("cgan-shapes64", "attngan-shapes64")
CAPTIONS = 64


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall seconds of a process, and CPU seconds in each of them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu / wall


def drawing(models: Sequence[str], repetitions: int) -> dict[str, dict[str, float]]:
    """Wall and CPU seconds, medians, of 64 different captions by loaded models."""
    torch.set_num_threads(2)
    captions = load_dataset("shapes", "test", size=CAPTIONS).batch(range(CAPTIONS))
    samplers = {name: load(name) for name in models}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for repetition in range(1 + repetitions):  # the first also sets up the libraries
        for name, sampler in samplers.items():
            wall, cpu = time.perf_counter(), time.process_time()
            sampler.sample(captions.captions)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if repetition:
                times[name].append((wall, cpu))
    return {
        name: {
            "wall_seconds": statistics.median(wall for wall, _ in rounds),
            "cpu_seconds": statistics.median(cpu for _, cpu in rounds),
        }
        for name, rounds in times.items()
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", default=MODELS, help="weights to draw with, or runs"
    )
    parser.add_argument("--repetitions", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "picture.png")
        ways = {
            "python": [sys.executable, "-c", "pass"],
            "mmgen --help": [*MMGEN, "--help"],
            "import torch": [sys.executable, "-c", "import torch"],
        }
        for model in given.models:
            draw = [*MMGEN, "sample", model, "a red star", "--out", picture]
            ways[f"mmgen sample {model}"] = draw
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
            f"{name:30} {medians[name]:6.2f} s  ({kept[name]} of {len(rounds)} rounds)"
        )
    more = {
        model: medians[f"mmgen sample {model}"] - medians["import torch"]
        for model in given.models
    }
    for model, difference in more.items():
        print(f"{model}: {difference:.2f} s more than import torch (limit 2 s)")
    loaded = drawing(given.models, given.repetitions)
    for model, took in loaded.items():
        print(f"{model}: {CAPTIONS} captions in {took['wall_seconds']:.2f} s (limit 3)")
    facts = {
        "seconds": medians,
        "kept": kept,
        "rounds": len(rounds),
        "sample_over_torch": more,
        "captions": CAPTIONS,
        "loaded": loaded,
        "limits": {"mmgen --help": 0.5, "sample_over_torch": 2.0, "loaded": 3.0},
    }
    print(write("startup", facts))


if __name__ == "__main__":
    main()
