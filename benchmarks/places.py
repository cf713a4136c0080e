"""Which of two objects is on the left: how regions must know where they are.

    python -m benchmarks.places                # seeds 0 to 2, a few minutes

A block of attention is asked about one of two objects, by its colour and its shape, and
answers how it stands to the other: left, right, above or below. It reads the regions of
``damsm-shapes64``, frozen, which were told where they are in one of several ways:
not at all, by a learned vector for each place, or by a linear map of their coordinates.
Which of the two objects is meant is drawn, so that the picture alone tells no more than
whether they lie side by side. Writes ``results/benchmarks/places.json``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.data.shapes import COLOURS, RELATIONS, SHAPES
from mmgen.data.shapes.demand import OPPOSITE
from mmgen.data.shapes.world import relation_of
from mmgen.layers.images import Coordinates
from mmgen.metrics.interval import Proportion, pooled
from mmgen.pretrained import load

WEIGHTS = "damsm-shapes64"
PICTURES = {"train": 8000, "test": 1000}
STEPS, BATCH, RATE = 400, 64, 1e-3
ASKED = (100, 200, 400)  # steps after which it is measured
WIDTH, GRID = 128, 8
# way -> deviation of the learned vectors at first; None: no such vectors
WAYS = {
    "not told": None,
    "learned, from 0.02": 0.02,
    "learned, from 0.3": 0.3,
    "coordinates": None,
}


@dataclass(frozen=True)
class Samples:
    """Pictures of two objects, as the frozen encoder sees them."""

    regions: Tensor  # (N, R, D)
    objects: Tensor  # (N, 2, 2) int64: colour and shape of each object
    relations: Tensor  # (N,) int64, of the first object to the second

    @classmethod
    def of(cls, split: str, part: int = 250) -> Samples:
        """The first of a split."""
        count = PICTURES[split]
        data = load_dataset("shapes", split, 64, "en", objects=(2,), size=count)
        encoder = load(WEIGHTS).image_encoder
        regions, objects, relations = [], [], []
        for start in range(0, count, part):
            batch = data.batch(range(start, start + part))
            with torch.no_grad():
                regions.append(encoder(batch.images)[0].flatten(2).mT)
            for scene in batch.scenes or []:
                objects.append(
                    [
                        (COLOURS.index(thing.colour), SHAPES.index(thing.shape))
                        for thing in scene.objects
                    ]
                )
                relations.append(RELATIONS.index(relation_of(scene.objects) or ""))
        return cls(torch.cat(regions), torch.tensor(objects), torch.tensor(relations))

    def asked(
        self, rows: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Regions, the object that is asked about, and its relation to the other."""
        second = torch.rand(len(rows), generator=generator) < 0.5
        turned = torch.tensor([RELATIONS.index(OPPOSITE[name]) for name in RELATIONS])
        relation = self.relations[rows]
        relation = torch.where(second, turned[relation], relation)
        meant = self.objects[rows, second.long()]
        return self.regions[rows], meant, relation


class Asker(nn.Module):
    """One block of attention from an object's name to the regions."""

    def __init__(self, way: str, feature_dim: int) -> None:
        super().__init__()
        self.colours = nn.Embedding(len(COLOURS), WIDTH)
        self.shapes = nn.Embedding(len(SHAPES), WIDTH)
        self.norm = nn.LayerNorm(feature_dim)
        self.coordinates: Coordinates | None = None
        self.places: nn.Parameter | None = None
        if way == "coordinates":
            self.coordinates = Coordinates(GRID, feature_dim)
        deviation = WAYS[way]
        if deviation is not None:
            self.places = nn.Parameter(torch.randn(GRID**2, feature_dim) * deviation)
        self.attention = nn.MultiheadAttention(
            WIDTH, 4, kdim=feature_dim, vdim=feature_dim, batch_first=True
        )
        self.answer = nn.Sequential(
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, 4 * WIDTH),
            nn.GELU(),
            nn.Linear(4 * WIDTH, len(RELATIONS)),
        )

    def forward(self, regions: Tensor, meant: Tensor) -> Tensor:
        """Logits of the relations, (B, 4)."""
        seen = self.norm(regions)
        if self.coordinates is not None:
            # whose first token is that of the whole picture, which is not read here
            seen = self.coordinates(F.pad(seen, (0, 0, 1, 0)))[:, 1:]
        if self.places is not None:
            seen = seen + self.places
        query = (self.colours(meant[:, 0]) + self.shapes(meant[:, 1]))[:, None]
        told, _ = self.attention(query, seen, seen, need_weights=False)
        return self.answer((query + told)[:, 0])


def measure(way: str, seed: int, train: Samples, test: Samples) -> dict[str, Any]:
    """Proportions of right answers after each of ``ASKED`` steps."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Asker(way, train.regions.shape[2])
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    found = {}
    for step in range(1, STEPS + 1):
        rows = torch.randint(len(train.relations), (BATCH,), generator=generator)
        regions, meant, relation = train.asked(rows, generator)
        loss = F.cross_entropy(network(regions, meant), relation)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in ASKED:
            every = torch.arange(len(test.relations))
            regions, meant, relation = test.asked(every, generator)
            with torch.no_grad():
                right = network(regions, meant).argmax(dim=1) == relation
            found[str(step)] = Proportion(int(right.sum()), len(right))
    return found


def main() -> None:
    """Train in every way and for every seed, and write what was answered."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    train, test = Samples.of("train"), Samples.of("test")
    rows = {}
    for way in WAYS:
        runs = [measure(way, seed, train, test) for seed in given.seeds]
        rows[way] = {
            step: pooled([run[step] for run in runs]).to_json() for step in runs[0]
        }
        said = "  ".join(f"{s}: {found['value']:.3f}" for s, found in rows[way].items())
        print(f"{way:20} right after steps {said}", flush=True)
    report = {
        "weights": WEIGHTS,
        "pictures": PICTURES,
        "batch_size": BATCH,
        "seeds": len(given.seeds),
        "rows": rows,
    }
    timing.write("places", report)


if __name__ == "__main__":
    main()
