"""DAMSM at laptop scale on Shapes: what it takes, and what it finds, seed by seed.

    python -m benchmarks.matching                # seeds 0 to 3

Trains the preset of ``mmgen train damsm --data shapes --scale laptop`` from new random
weights for every seed, and asks it for one true counterpart among a hundred on test
scenes. Writes ``results/benchmarks/matching.json``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import torch

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.metrics import r_precision
from mmgen.metrics.retrieval import DIRECTIONS
from mmgen.models.damsm import DAMSMTask
from mmgen.presets import find
from mmgen.training import fit, reproducible

PRESET = find("damsm", "laptop", "shapes")
SLOW = "it trains for many minutes"  # so make bench leaves it out


def train(seed: int, pictures: int) -> dict[str, Any]:
    """Seconds of training (processor and clock), and retrieval in both directions."""
    data = load_dataset(**PRESET.data)
    held = load_dataset(**{**PRESET.data, "split": "test"}).batch(range(pictures))
    reproducible(seed)
    settings = replace(PRESET.training, accelerator="cpu", progress="none", seed=seed)
    cpu, wall = time.process_time(), time.perf_counter()
    run = fit(DAMSMTask.build(PRESET.config, data), data, settings)
    result: dict[str, Any] = {
        "seed": seed,
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
    }
    for direction in DIRECTIONS:
        found = r_precision(
            held.images,
            held.captions,
            run.sampler(),
            class_ids=held.class_ids,
            scenes=held.scenes,
            direction=direction,
        )
        result[direction] = found.to_json()
    return result


def main() -> None:
    """Train and ask for every seed, and write all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--pictures", type=int, default=1000, help="of the test split")
    given = parser.parse_args()
    runs: list[dict[str, Any]] = []
    for seed in given.seeds:
        runs.append(train(seed, given.pictures))
        found = "  ".join(f"{way} {runs[-1][way]['value']:.3f}" for way in DIRECTIONS)
        seconds = runs[-1]["wall_seconds"]
        print(f"seed {seed}: {seconds:.0f} s, {found}", flush=True)
        values = [run[way]["value"] for run in runs for way in DIRECTIONS]
        report = {
            "steps": PRESET.training.steps,
            "batch_size": PRESET.training.batch_size,
            "image_size": PRESET.config.image_size,
            "threads": torch.get_num_threads(),
            "seeds": len(runs),
            "least": min(values),
            "largest": max(values),
            "most_cpu_seconds": max(run["cpu_seconds"] for run in runs),
            "most_wall_seconds": max(run["wall_seconds"] for run in runs),
            "runs": runs,
        }
        timing.write("matching", report, torch.device("cpu"))  # so far


if __name__ == "__main__":
    main()
