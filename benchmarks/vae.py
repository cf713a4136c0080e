"""How long 64 pictures take on a CPU once a model is loaded.

``python -m benchmarks.vae``: the three autoencoders at their full size (64 px) draw 64
pictures, in turns, on two threads. Limit: 1 s, for each. The weights are untrained: how
long the arithmetic takes does not depend on what it computes. Wall seconds say what a
reader waits; CPU seconds are what the drawing costs, whatever else the machine does.
Writes ``results/benchmarks/vae.json``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.presets import find
from mmgen.registry import METHODS, find_class

COUNT = 64
LIMIT = 1.0  # seconds
NAMES = ("vae", "cvae", "mvae")
CAPTION = "a large red star in the upper left"


def full_size(method: str) -> Any:
    """The untrained sampler of a method at the scale "full", on Shapes."""
    preset = find(method, "full", "shapes")
    data = load_dataset(**{**preset.data, "split": "test", "size": 1})
    built = find_class(METHODS[method]).build(preset.config, data)
    return built.sampler(built.networks)


def draw(sampler: Any) -> tuple[float, float]:
    """Wall and CPU seconds of 64 pictures."""
    wall, cpu = time.perf_counter(), time.process_time()
    sampler.sample([CAPTION] * COUNT)
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    samplers = {name: full_size(name) for name in NAMES}
    for sampler in samplers.values():
        draw(sampler)  # the first call also sets up the libraries
    rounds = [
        {name: draw(sampler) for name, sampler in samplers.items()}
        for _ in range(given.repetitions)
    ]
    report = {}
    for name in samplers:
        walls, cpus = zip(*(each[name] for each in rounds), strict=True)
        found = {
            "wall_seconds": {"median": statistics.median(walls), "least": min(walls)},
            "cpu_seconds": {"median": statistics.median(cpus), "least": min(cpus)},
            "under_limit": sum(wall < LIMIT for wall in walls),
        }
        report[name] = found
        print(
            f"{name:5} wall {statistics.median(walls):.3f} s (least {min(walls):.3f}),"
            f" CPU {statistics.median(cpus):.3f} s; under {LIMIT:g} s in "
            f"{found['under_limit']} of {len(rounds)} rounds"
        )
    facts = {
        "pictures": COUNT,
        "limit_seconds": LIMIT,
        "weights": "untrained",
        "threads": given.threads,
        "rounds": len(rounds),
        "models": report,
    }
    print(timing.write("vae", facts))


if __name__ == "__main__":
    main()
