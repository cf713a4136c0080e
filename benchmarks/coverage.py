"""How varied the pictures of one caption are, for every model that draws Shapes.

``python -m benchmarks.coverage [NAME …]`` draws captions of one object that leave open
where it is, how large, and the ground, and writes ``results/mode-coverage.json``: one
entry for each model, and one for the world's own pictures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from mmgen.data.files import write_json
from mmgen.data.shapes import COLOURS, HELD_OUT, SHAPES
from mmgen.metrics.coverage import mode_coverage, world_coverage
from mmgen.pretrained import load
from mmgen.training.manifest import environment

RESULTS = Path(__file__).resolve().parent.parent / "results"
MODELS = (
    *("ar-shapes64", "attngan-shapes64", "cgan-shapes64", "cvae-shapes64"),
    *("masked-shapes64", "mvae-shapes64"),
)
CAPTIONS = tuple(
    f"a {colour} {shape}"
    for colour in COLOURS
    for shape in SHAPES
    if (colour, shape) not in HELD_OUT
)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="NAME")
    parser.add_argument("--pictures", type=int, default=64, help="of each caption")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    file = given.results / "mode-coverage.json"
    known: dict[str, Any] = {}
    if file.exists():
        known = json.loads(file.read_text(encoding="utf-8"))["models"]
    known["the world itself"] = world_coverage(CAPTIONS, given.pictures).to_json()
    for name in given.models:
        report = mode_coverage(load(name), CAPTIONS, given.pictures)
        known[name] = report.to_json()
        print(f"{name}\n{report}\n", flush=True)
    given.results.mkdir(parents=True, exist_ok=True)
    write_json(file, {"models": known, "environment": environment(torch.device("cpu"))})


if __name__ == "__main__":
    main()
