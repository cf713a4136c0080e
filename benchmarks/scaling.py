"""What a second process adds: training AttnGAN with one and with two of them.

``python -m benchmarks.scaling [--processes N] [--size small|cub]``: the command that a
reader types, ``mmgen train attngan``, as whole runs in turns. Every process has the
same share of the batch whatever their number, on a GPU of its own where there are that
many, else on one processor core. Efficiency is the pictures a second of N processes
over N times those of one. Writes ``results/benchmarks/scaling.json``.
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
    processes: int, accelerator: str, size: str, steps: int, options: list[str]
) -> float:
    """Train for some steps; batch size over the median seconds of a step."""
    words, share = SIZES[size]
    batch = share * processes
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "mmgen.cli", "train", "attngan", *words]
        command += ["--accelerator", accelerator, "--devices", str(processes)]
        command += ["--batch-size", str(batch), "--steps", str(steps), *options]
        command += ["--log-every", "5", "--checkpoint-every", str(steps)]
        command += ["--no-tensorboard", "--progress", "none", "--out", str(out)]
        threads = {"OMP_NUM_THREADS": "1"} if accelerator == "cpu" else {}
        subprocess.run(
            command, check=True, env=os.environ | threads, stdout=subprocess.DEVNULL
        )
        rows = read_history(out / "metrics.csv", sys.maxsize)
    # the first interval also holds what is set up once
    return batch / statistics.median(row["step_seconds"] for row in rows[1:])


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
    rates: dict[int, list[float]] = {1: [], given.processes: []}
    for _ in range(given.rounds):
        for processes, found in rates.items():
            found.append(
                pictures_per_second(
                    processes, accelerator, given.size, given.steps, options
                )
            )
            print(f"processes {processes}: {found[-1]:.1f} pictures/s", flush=True)
    # the best round is the one that other programs disturbed least
    one, many = max(rates[1]), max(rates[given.processes])
    efficiency = many / (given.processes * one)
    print(
        f"efficiency of {given.processes} processes on {accelerator}: {efficiency:.2f}"
    )
    facts = {
        "size": given.size,
        "accelerator": accelerator,
        "processes": given.processes,
        "steps": given.steps,
        "pictures_per_second": {str(n): found for n, found in rates.items()},
        "efficiency": efficiency,
    }
    print(write("scaling", facts))


if __name__ == "__main__":
    main()
