"""Right or varied: what a setting of drawing buys, and what it costs.

``python -m benchmarks.guidance`` draws test captions of one object with the published
autoregressive model under several settings and counts right pictures; then captions
that leave place, size and ground open, and counts how many of these it draws, and how
often an object stands in each place. Writes ``results/benchmarks/guidance.json``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmarks import timing
from benchmarks.coverage import CAPTIONS
from mmgen.data import CaptionedDataset, load_dataset
from mmgen.data.shapes import POSITIONS, read
from mmgen.interfaces import Draws
from mmgen.metrics import semantic_accuracy
from mmgen.metrics.coverage import mode_coverage, world_coverage
from mmgen.pretrained import load

SLOW = "it draws for many minutes"  # so make bench leaves it out
MODEL = "ar-shapes64"
SETTINGS: dict[str, dict[str, float]] = {
    "as it is": {"guidance": 1.0},
    "guidance 1.2": {"guidance": 1.2},
    "guidance 1.5": {"guidance": 1.5},
    "guidance 2": {"guidance": 2.0},
    "guidance 4": {"guidance": 4.0},
    "temperature 0.8": {"guidance": 1.0, "temperature": 0.8},
    "nucleus 0.95": {"guidance": 1.0, "top_p": 0.95},
}
EVERY = 4  # one caption in so many is drawn again and again
PICTURES = 64  # of each


@dataclass(frozen=True)
class Chosen:
    """A model that draws with options of its own."""

    model: Draws
    options: Mapping[str, Any]

    def sample(self, captions: Sequence[str], seed: int = 0) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], one for each caption."""
        return self.model.sample(captions, seed, **self.options)


def places(chosen: Chosen, captions: Sequence[str], pictures: int) -> dict[str, float]:
    """Share of each position among drawn pictures of one object; 0 of none."""
    found: Counter[str] = Counter()
    for number, caption in enumerate(captions):
        for scene in read(chosen.sample([caption] * pictures, seed=number)).scenes:
            if len(scene.objects) == 1:
                found[scene.objects[0].position] += 1
    return {place: found[place] / max(found.total(), 1) for place in POSITIONS}


def measure(
    model: Draws,
    data: CaptionedDataset,
    count: int,
    captions: Sequence[str] = CAPTIONS[::EVERY],
    pictures: int = PICTURES,
) -> dict[str, Any]:
    """Right pictures and effective numbers, for every setting.

    Args:
        model: draws Shapes and takes guidance, temperature and top_p.
        data: Shapes, whose first ``count`` captions are drawn once.
        count: captions.
        captions: of one object, each drawn ``pictures`` times.
        pictures: of each of these.
    """
    asked = data.batch(range(count)).captions
    found: dict[str, Any] = {}
    for name, options in SETTINGS.items():
        chosen = Chosen(model, options)
        right = semantic_accuracy(chosen.sample(asked), asked).to_json()["overall"]
        covered = mode_coverage(chosen, captions, pictures).to_json()
        found[name] = {
            "right": right,
            "covered": covered["effective"],
            "places": places(chosen, captions, pictures),
        }
        print(f"{name:16} {right['value']:.3f}  {covered['effective']}", flush=True)
    world = world_coverage(captions, pictures).to_json()
    return {"settings": found, "world": world["effective"], "pictures": pictures}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--count", type=int, default=1000, help="captions")
    given = parser.parse_args()
    data = load_dataset("shapes", "test", 64, "en", objects=(1,))
    report = measure(load(given.model), data, given.count)
    facts = {"model": given.model, "captions": given.count, **report}
    print(timing.write("guidance", facts))


if __name__ == "__main__":
    main()
