"""How long 64 pictures take on a CPU once the weights are loaded.

``python -m benchmarks.vae``: every autoencoder among the book's weights draws 64
pictures, in turns, on two threads. Limit: 1 s, for each. Wall seconds say what a reader
waits; CPU seconds are what the drawing costs, whatever else the machine does. Writes
``results/benchmarks/vae.json``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from benchmarks import timing
from mmgen import pretrained

COUNT = 64
LIMIT = 1.0  # seconds
WORDS = {
    "shapes": "a large red star in the upper left",
    "emoji": "woman astronaut medium skin tone",
}


def draw(sampler: Any) -> tuple[float, float]:
    """Wall and CPU seconds of 64 pictures."""
    captions = [WORDS[sampler.card["data"]["name"]]] * COUNT
    wall, cpu = time.perf_counter(), time.process_time()
    sampler.sample(captions)
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    names = [n for n in pretrained.available() if n.split("-")[0].endswith("vae")]
    if not names:
        parser.error("no autoencoder is among the weights here")
    samplers = {name: pretrained.load(name) for name in names}
    for sampler in samplers.values():
        draw(sampler)  # the first call also sets up the libraries
    rounds = [
        {name: draw(sampler) for name, sampler in samplers.items()}
        for _ in range(given.repetitions)
    ]
    report = {}
    for name in names:
        walls, cpus = zip(*(each[name] for each in rounds), strict=True)
        found = {
            "wall_seconds": {"median": statistics.median(walls), "least": min(walls)},
            "cpu_seconds": {"median": statistics.median(cpus), "least": min(cpus)},
            "under_limit": sum(wall < LIMIT for wall in walls),
        }
        report[name] = found
        print(
            f"{name:16} wall {statistics.median(walls):.3f} s (least {min(walls):.3f}),"
            f" CPU {statistics.median(cpus):.3f} s; under {LIMIT:g} s in "
            f"{found['under_limit']} of {len(rounds)} rounds"
        )
    facts = {
        "pictures": COUNT,
        "limit_seconds": LIMIT,
        "threads": given.threads,
        "rounds": len(rounds),
        "models": report,
    }
    print(timing.write("vae", facts))


if __name__ == "__main__":
    main()
