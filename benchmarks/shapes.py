"""Shapes: how exactly captions and pictures are read, and how fast.

    python -m benchmarks.shapes [--device cuda]

Prints the tables and writes ``results/benchmarks/shapes.json`` (``shapes-cuda.json`` on
a GPU). Exactness is counted over scenes that no training split holds (another seed).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.timing import compare, write
from mmgen.data import load_dataset
from mmgen.data.shapes import (
    Scene,
    describe,
    facts,
    judge,
    parse,
    read,
    reasons,
    render,
    sample_scenes,
)
from mmgen.metrics.interval import Proportion

SEED = 1_000_003  # of no data set
ROUNDS = 5
FACTS = ("colour", "size", "background")


def disturb(images: Tensor, blur: float, noise: float) -> Tensor:
    """Blurred by a Gaussian of ``blur`` pixels, with white noise of sigma ``noise``."""
    axis = torch.arange(-4, 5, device=images.device)
    line = torch.exp(-axis.square() / (2 * blur**2))
    kernel = (line[:, None] * line / line.sum() ** 2).expand(3, 1, 9, 9)
    padded = functional.pad(images, (4, 4, 4, 4), mode="replicate")
    generator = torch.Generator().manual_seed(0)
    grain = torch.randn(images.shape, generator=generator).to(images.device)
    return functional.conv2d(padded, kernel, groups=3) + noise * grain


def captions_parsed(count: int = 10_000) -> dict[str, Any]:
    """parse(describe(scene)) == facts(scene), in both languages."""
    table = sample_scenes(count, seed=SEED)
    results = {}
    for language in ("en", "zh"):
        captions = [describe(scene, language, i) for i, scene in enumerate(table)]
        right = [
            parse(caption) == facts(scene)
            for caption, scene in zip(captions, table, strict=True)
        ]
        share = Proportion(sum(right), count)
        results[language] = share.to_json() | {"distinct": len(set(captions))}
        print(f"captions parsed, {language}: {share}, {len(set(captions))} distinct")
    return results


def pictures_read(device: str, count: int = 10_000) -> dict[str, Any]:
    """read(render(scene)) right and clear in every attribute, clean and disturbed."""
    ways = {
        "clean": lambda images: images,
        "blur 1 px, noise 0.05": lambda images: disturb(images, 1.0, 0.05),
        "blur 1.5 px, noise 0.1": lambda images: disturb(images, 1.5, 0.1),
    }
    most = (1, 2, 3, 4)
    cases = [(64, most, name, count) for name in ways]
    cases += [(32, (1, 2), name, count) for name in list(ways)[:2]]
    cases += [(size, most, "clean", count // 10) for size in (128, 256)]
    results: dict[str, Any] = {}
    for size, objects, name, many in cases:
        table = sample_scenes(many, seed=SEED + 1, objects=objects)
        wrong: Counter[str] = Counter()
        right, confidence = 0, 0.0
        for start in range(0, many, 1_000):  # a thousand at a time fit the memory
            part = table[start : start + 1_000]
            readings = read(ways[name](render(part, size, device)))
            confidence += float(readings.confidence.sum())
            for truth, seen, evidence in zip(
                part, readings.scenes, readings.evidence, strict=True
            ):
                verdict = judge(facts(everything(truth)), seen, evidence)
                why = reasons(verdict, evidence)
                wrong.update(f"{key}: {reason}" for key, reason in why.items())
                right += all(verdict.values())
        share = Proportion(right, many)
        key = f"{size} px, up to {max(objects)} objects, {name}"
        results[key] = share.to_json() | {
            "wrong": dict(wrong),
            "confidence": confidence / many,
        }
        print(f"pictures read, {key}: {share}; wrong: {dict(wrong)}", flush=True)
    return results


def everything(scene: Scene) -> Scene:
    """The scene with every fact mentioned that its number of objects allows."""
    told = {*FACTS, "position"} if len(scene.objects) == 1 else {*FACTS}
    told |= {"relation"} & set(scene.mentions)
    return Scene(scene.objects, scene.background, tuple(told))


def speeds(device: str) -> dict[str, Any]:
    """Pictures a second: drawn, read and loaded; in batches against one by one."""
    batch = 256
    table = sample_scenes(batch, seed=SEED + 2)
    images = render(table, 64, device)
    few = list(table[:32])
    results = {}

    def report(
        name: str, ways: dict[str, Callable[[], Any]], pictures: dict[str, int]
    ) -> None:
        timing = compare(ways, ROUNDS, device=device)
        rates = {way: pictures[way] / timing.seconds[way] for way in pictures}
        first, second = rates
        # A processor's own seconds: what other load on the machine disturbs least.
        begin = time.process_time()
        for _ in range(ROUNDS):
            ways[second]()
        busy = (time.process_time() - begin) / ROUNDS
        results[name] = timing.to_json() | {
            "images_per_second": rates,
            "images_per_processor_second": pictures[second] / busy,
            "times_faster": rates[second] / rates[first],
        }
        text = ", ".join(f"{way} {rate:,.0f}/s" for way, rate in rates.items())
        print(f"{name}: {text}; {pictures[second] / busy:,.0f} a processor second")

    for size in (32, 64, 128):
        report(
            f"render, {size} px",
            {
                "one by one": lambda size=size: [
                    render([scene], size, device) for scene in few
                ],
                "in a batch": lambda size=size: render(table, size, device),
            },
            {"one by one": len(few), "in a batch": batch},
        )
    report(
        "read, 64 px",
        {
            "one by one": lambda: [read(image[None]) for image in images[:16]],
            "in a batch": lambda: read(images),
        },
        {"one by one": 16, "in a batch": batch},
    )
    dataset = load_dataset("shapes", "train", 64, "both", size=12_800)
    fresh = dataset.batches(128, device=device)
    known = load_dataset("shapes", "train", 64, "both", size=256)
    list(islice(known.batches(128, device=device), 60))  # every caption is written
    kept = known.batches(128, device=device)
    report(
        "load batches of 128, 64 px",
        {"captions new": lambda: next(fresh), "captions kept": lambda: next(kept)},
        {"captions new": 128, "captions kept": 128},
    )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    results = {
        "parse": captions_parsed(),
        "read": pictures_read(device),
        "speed": speeds(device),
    }
    name = "shapes" if device == "cpu" else f"shapes-{device}"
    print(f"written to {write(name, results, device)}")


if __name__ == "__main__":
    main()
