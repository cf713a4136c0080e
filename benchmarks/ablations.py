"""What each part of AttnGAN is worth, on one budget.

``python -m benchmarks.ablations`` trains the small model at 32 pixels again and again,
from the same seeds and for the same steps, with one thing changed each time, and lets
every model draw the same captions. Writes ``results/attngan-ablations.json`` after
every model, and goes on where an earlier call stopped. On a GPU,
``--steps 20000 --channels 48 --objects 1 2`` asks the same question of a model that is
trained to the end.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.coverage import CAPTIONS
from benchmarks.objectives import overall
from mmgen.data import load_dataset
from mmgen.data.files import write_json
from mmgen.metrics import mode_coverage, semantic_accuracy
from mmgen.models.attngan import ModernConfig, ModernTask
from mmgen.training import TrainingConfig, build, fit
from mmgen.training.manifest import commit, environment

SLOW = "it trains for many minutes"  # so make bench leaves it out
RESULTS = Path(__file__).resolve().parent.parent / "results"

# name: (changes of the configuration, changes of the training)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "whole": ({}, {}),
    "without attention": ({"attention": False}, {}),
    "without DAMSM": ({"damsm_weight": 0.0}, {}),
    "one stage": ({"sizes": (32,)}, {}),
    "without labels": ({"labels": False}, {}),
    "DiffAugment": ({"augment": True}, {}),
    "without EMA": ({}, {"ema_decay": 0.0}),
}


def base(channels: int) -> ModernConfig:
    """The modern variant at 32 pixels, as the chapter trains it."""
    return ModernConfig(
        sizes=(16, 32),
        generator_channels=channels,
        discriminator_channels=channels,
        residual_blocks=1,
        noise_dim=32,
        condition_dim=64,
        damsm="damsm-shapes64",
        learning_rate=1e-3,
        discriminator_learning_rate=8e-4,
    )


def one(
    config: ModernConfig, training: dict[str, Any], objects: list[int], count: int
) -> dict[str, Any]:
    """Train a model and measure it on captions of the test split."""
    options = {"image_size": config.sizes[-1], "objects": tuple(objects)}
    dataset = load_dataset("shapes", language="both", **options)
    torch.manual_seed(training["seed"])
    task = build(ModernTask, config, dataset)
    began = time.process_time()
    run = fit(task, dataset, TrainingConfig(**training))
    seconds = time.process_time() - began
    sampler = run.sampler()
    captions = (
        load_dataset("shapes", "test", language="both", size=count, **options)
        .batch(range(count))
        .captions
    )
    report = semantic_accuracy(sampler.sample(captions, seed=1), captions)
    varied = mode_coverage(sampler, CAPTIONS)
    return {
        "seed": training["seed"],
        "commit": commit(),
        "cpu_seconds": seconds,
        "generator_parameters": sum(p.numel() for p in sampler.generator.parameters()),
        **report.to_json(),
        "coverage": varied.to_json(),
    }


def main() -> None:
    """Train, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--channels", type=int, default=12)
    parser.add_argument("--objects", type=int, nargs="+", default=[1])
    parser.add_argument("--count", type=int, default=1000, help="captions to draw")
    parser.add_argument("--out", type=Path, default=RESULTS / "attngan-ablations.json")
    given = parser.parse_args()
    config = base(given.channels)
    training: dict[str, Any] = {
        "steps": given.steps,
        "batch_size": 32,
        "ema_decay": 0.98,
        "precision": "bf16-mixed",
        "progress": "none",
    }
    about = {
        "task_config": json.loads(json.dumps(asdict(config))),
        "training": training,
        "objects": given.objects,
        "count": given.count,
    }
    found: dict[str, Any] = {}
    if given.out.exists():
        before = json.loads(given.out.read_text(encoding="utf-8"))
        if all(before[key] == value for key, value in about.items()):
            found = before["cases"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name in given.cases:
        changes, other = CASES[name]
        runs = found.get(name, {}).get("runs", [])
        for seed in set(given.seeds) - {run["seed"] for run in runs}:
            chosen = replace(config, **changes)
            words = {**training, **other, "seed": seed}
            runs.append(one(chosen, words, given.objects, given.count))
            print(
                f"{name}, seed {seed}: {runs[-1]['overall']['value']:.3f}, covers "
                f"{runs[-1]['coverage']['effective']['position']:.2f} places, in "
                f"{runs[-1]['cpu_seconds']:.0f} CPU seconds",
                flush=True,
            )
        found[name] = {
            **found.get(name, {}),  # such as what the row was on another machine
            "changes": json.loads(json.dumps({**changes, **other})),
            "overall": overall(runs),
            "runs": runs,
        }
        write_json(
            given.out, {"environment": environment(device), **about, "cases": found}
        )
    print(given.out)


if __name__ == "__main__":
    main()
