"""The three objectives of the first chapter on one budget, on pictures.

``python -m benchmarks.objectives`` trains the chapter's laptop model with each of them,
from the same seeds, with and without the matching term, and asks every model for the
same pictures. Writes ``results/objectives.json``. Learning rates are the laptop model's
for all: they were chosen with the hinge, which a reader should know.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from mmgen.data import load_dataset
from mmgen.data.files import write_json
from mmgen.data.shapes import HELD_OUT, read
from mmgen.metrics import semantic_accuracy
from mmgen.metrics.coverage import effective_number
from mmgen.metrics.interval import Proportion, pooled
from mmgen.models.cgan import OBJECTIVES, CGANConfig, CGANTask
from mmgen.presets import find
from mmgen.training import TrainingConfig, fit
from mmgen.training.config import PRECISIONS
from mmgen.training.manifest import environment

SLOW = "it trains for many minutes"  # so make bench leaves it out
RESULTS = Path(__file__).resolve().parent.parent / "results"
COPIES = 2  # pictures of each order


def train(config: CGANConfig, dataset: Any, training: dict[str, Any]) -> Any:
    """The sampler of a run from the seed in ``training``."""
    torch.manual_seed(training["seed"])
    task = CGANTask.build(config, dataset)
    return fit(task, dataset, TrainingConfig(**training)).sampler()


def measure(sampler: Any) -> dict[str, Any]:
    """Semantic accuracy on all orders of seen pairs, and how much the noise changes."""
    attributes = sampler.attributes
    rows = product(*attributes.values())
    orders = [dict(zip(attributes, values, strict=True)) for values in rows]
    orders = [
        each for each in orders if (each["colour"], each["shape"]) not in HELD_OUT
    ]
    orders *= COPIES
    images = sampler.sample(orders, seed=1)
    words = "a {size} {colour} {shape} in the {position}"
    report = semantic_accuracy(images, [words.format(**order) for order in orders])
    backgrounds = [scene.background for scene in read(images).scenes]
    return {
        **report.to_json(),
        # nothing orders one: an even mixture is what the data show
        "effective_backgrounds": effective_number(backgrounds),
    }


def overall(reports: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The accuracy of several runs' pictures together."""
    shares = [report["overall"] for report in reports]
    return pooled(Proportion(s["successes"], s["n"]) for s in shares).to_json()


def main() -> None:
    """Train, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, help="of every run [the laptop model's]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--matching", type=float, nargs="+", default=[1.0, 0.0], help="weights"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="32-true")
    parser.add_argument("--out", type=Path, default=RESULTS / "objectives.json")
    given = parser.parse_args()
    preset = find("cgan", "laptop", "shapes")
    told = ("steps", "batch_size", "ema_decay", "gradient_clip")
    training: dict[str, Any] = {name: getattr(preset.training, name) for name in told}
    training |= {"progress": "none", "precision": given.precision}
    # what a processor with matrix units wants; a run in 32 bits keeps its usual layout
    training["channels_last"] = given.precision == "bf16-mixed"
    if given.steps:
        training["steps"] = given.steps
    dataset = load_dataset(**preset.data)
    found: dict[str, Any] = {}
    if given.out.exists():  # other weights of the same training are kept
        before = json.loads(given.out.read_text(encoding="utf-8"))
        if before["training"] == training:
            found = before["matching"]
    for weight, objective in product(given.matching, OBJECTIVES):
        chosen = replace(preset.config, objective=objective, matching_weight=weight)
        runs = []
        for seed in given.seeds:
            began = time.process_time()
            sampler = train(chosen, dataset, {**training, "seed": seed})
            seconds = time.process_time() - began
            runs.append({"seed": seed, "cpu_seconds": seconds, **measure(sampler)})
            print(
                f"matching {weight:g}, {objective}, seed {seed}: "
                f"{runs[-1]['overall']['value']:.3f} in {seconds:.0f} CPU seconds",
                flush=True,
            )
        found.setdefault(f"{weight:g}", {})[objective] = {
            "overall": overall(runs),
            "runs": runs,
        }
    write_json(
        given.out,
        {
            "environment": environment(torch.device("cpu")),
            "task_config": {
                name: value
                for name, value in vars(preset.config).items()
                if name not in ("objective", "matching_weight")
            },
            "training": training,
            "data": preset.data,
            "copies": COPIES,
            "matching": found,
        },
    )
    print(given.out)


if __name__ == "__main__":
    main()
