"""What a second process adds: training AttnGAN with one and with two of them.

``python -m benchmarks.scaling [--processes N] [--size small|cub]``: the command that a
reader types, ``mmgen train attngan``, as whole runs in turns. Every process has the
same share of the batch whatever their number, on a GPU of its own where there are that
many, else on one processor core. Efficiency is the pictures a second of N processes
over N times those of one. Cores share caches and memory, so on a CPU N separate runs
at the same time say what N processes could reach at best. Writes
``results/benchmarks/scaling.json``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.timing import write
from mmgen.training.logs import read_history

# Options of a run, and each process's share of the batch.
SIZES = {
    "small": (["--data", "shapes", "--scale", "laptop"], 16),
    "cub": (["--data", "cub", "--scale", "full"], 20),
}


def pictures_per_second(
    processes: int,
    accelerator: str,
    size: str,
    steps: int,
    options: list[str],
    copies: int = 1,
) -> float:
    """Train for some steps; batch size over the median seconds of a step.

    ``copies`` runs of the kind go on at the same time and know nothing of each other;
    their rates are added.
    """
    words, share = SIZES[size]
    batch = share * processes
    threads = {"OMP_NUM_THREADS": "1"} if accelerator == "cpu" else {}
    command = [sys.executable, "-m", "mmgen.cli", "train", "attngan", *words]
    command += ["--accelerator", accelerator, "--devices", str(processes)]
    command += ["--batch-size", str(batch), "--steps", str(steps), *options]
    command += ["--log-every", "5", "--checkpoint-every", str(steps)]
    command += ["--no-tensorboard", "--progress", "none", "--out"]
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"run{copy}" for copy in range(copies)]
        running = [
            subprocess.Popen(
                [*command, str(out)],
                env=os.environ | threads,
                stdout=subprocess.DEVNULL,
            )
            for out in outs
        ]
        try:
            for process in running:
                if process.wait():
                    raise subprocess.CalledProcessError(
                        process.returncode, process.args
                    )
        finally:  # one that fails, or Ctrl-C: the others would write on unread
            for process in running:
                process.terminate()
                process.wait()
        rate = 0.0
        for out in outs:
            # the first interval also holds what is set up once
            rows = read_history(out / "metrics.csv", sys.maxsize)[1:]
            rate += batch / statistics.median(row["step_seconds"] for row in rows)
    return rate


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--size", choices=tuple(SIZES), default="small")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    given, options = parser.parse_known_args()  # more options for mmgen train
    accelerator = "cpu"
    if torch.cuda.device_count() >= given.processes:
        accelerator = "cuda"
    many = given.processes
    ways = {"one": (1, 1), "together": (many, 1)}
    if accelerator == "cpu":  # what the cores leave to each other, nothing exchanged
        ways["apart"] = (1, many)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, (processes, copies) in ways.items():
            rates[name].append(
                pictures_per_second(
                    processes, accelerator, given.size, given.steps, options, copies
                )
            )
            print(f"{name}: {rates[name][-1]:.1f} pictures/s", flush=True)
    # the best round is the one that other programs disturbed least
    best = {name: max(found) for name, found in rates.items()}
    efficiency = best["together"] / (many * best["one"])
    print(f"efficiency of {many} processes on {accelerator}: {efficiency:.2f}")
    facts = {
        "size": given.size,
        "accelerator": accelerator,
        "processes": many,
        "steps": given.steps,
        "pictures_per_second": best,
        "rounds": rates,
        "efficiency": efficiency,
    }
    if "apart" in best:
        facts["of_what_the_cores_allow"] = best["together"] / best["apart"]
        print(
            f"runs that know nothing of each other: {best['apart']:.1f} pictures/s in "
            f"all, of which together reach {facts['of_what_the_cores_allow']:.2f}"
        )
    print(write("scaling", facts))


if __name__ == "__main__":
    main()
