"""Eight fusions at equal parameters and budget, and without one of the modalities.

    python -m benchmarks.fusion                 # seeds 0 to 2

Two tasks, each fusion with as many parameters as the others:

- *both*: is a caption true of a picture, and if not, which fact is wrong? A side alone
  says nothing. Trained is the laptop model of ``mmgen train fuse``, end to end from
  encoders that are aligned already.
- *each*: what are shape, colour, size, position and background of the one object? A
  picture of coarse patches tells it, and a caption in English and one in Chinese tell
  a part of it each, every fact with chance one half. So each of the three is of use,
  and none is needed. Trained with all of them there, and with a third of them left out
  at random; asked with all, and without each. Then the picture is exchanged for another
  one's: whose colour is told where picture and captions contradict each other?

Writes ``results/benchmarks/fusion.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.data.batch import word_mask
from mmgen.data.shapes import Demand, ObjectDemand, describe
from mmgen.data.shapes.dataset import LABEL_VALUES
from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.fusion import FUSIONS, Fusion
from mmgen.metrics.examination import verification
from mmgen.metrics.interval import Proportion, pooled
from mmgen.models.fusion import FusionNetwork, FusionTask
from mmgen.presets import find
from mmgen.training import build, fit, reproducible

SLOW = "it trains for many minutes"  # so make bench leaves it out
LABELS = ("shape", "colour", "size", "position", "background")
SIDES = ("picture", "english", "chinese")
PRESET = find("fuse", "laptop", "shapes")
PIXELS, PATCH = 16, 4  # of a picture in "each": 4 x 4 tokens of 4 x 4 pixels
NOISE = 0.3  # deviation of the pixels' noise there, so that captions are of use


def parameters(module: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in module.parameters())


def equal(name: str, dims: Sequence[int], feature_dim: int, budget: int) -> int:
    """The ``hidden`` with which a fusion comes nearest to a number of parameters."""
    heads = 4 if name in ("cross-attention", "bottleneck") else 1
    sizes = range(heads, 4096, heads)
    low, high = 0, len(sizes) - 1
    while low < high:  # the number grows with hidden
        middle = (low + high) // 2
        fusion = FUSIONS[name](dims, feature_dim, sizes[middle])
        low, high = (middle + 1, high) if parameters(fusion) < budget else (low, middle)

    def far(hidden: int) -> int:
        return abs(parameters(FUSIONS[name](dims, feature_dim, hidden)) - budget)

    return min(sizes[max(low - 1, 0) : low + 1], key=far)


# -------------------------------------------------------------------------------- both


def both(name: str, seed: int, steps: int, pictures: int) -> dict[str, Any]:
    """Train the laptop model with a fusion, and verify captions of test pictures."""
    width = PRESET.config.feature_dim
    budget = parameters(
        FUSIONS["cross-attention"]((width, width), width, PRESET.config.hidden)
    )
    hidden = equal(name, (width, width), width, budget)
    data = load_dataset(**PRESET.data)
    reproducible(seed)
    config = replace(PRESET.config, fusion=name, hidden=hidden)
    task = build(FusionTask, config, data)
    network = task.networks["network"]
    assert isinstance(network, FusionNetwork)
    count = parameters(network.fusion)
    settings = replace(
        PRESET.training, steps=steps, accelerator="cpu", progress="none", seed=seed
    )
    start = time.process_time()
    run = fit(task, data, settings)
    seconds = time.process_time() - start
    test = load_dataset(**{**PRESET.data, "split": "test"})
    found = verification(run.sampler(), test, pictures).to_json()
    return {
        "fusion": name,
        "seed": seed,
        "hidden": hidden,
        "parameters": count,
        "cpu_seconds": seconds,
        **found,
    }


# -------------------------------------------------------------------------------- each


class World:
    """Noisy pictures with two captions that each tell a part, and all labels.

    Args:
        split: of Shapes, one object a picture.
        size: pictures.
    """

    def __init__(self, split: str, size: int) -> None:
        data = load_dataset(
            "shapes", split, PIXELS, objects=(1,), attributes=LABELS, size=size
        )
        batch = data.batch(range(size))
        assert batch.attributes is not None  # Shapes has them
        self.labels = batch.attributes  # (N, 5)
        generator = torch.Generator().manual_seed(size)
        noise = torch.randn(batch.images.shape, generator=generator)
        patches = (batch.images + NOISE * noise).unfold(2, PATCH, PATCH)
        patches = patches.unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5)
        self.pictures = patches.flatten(3).flatten(1, 2)  # (N, 16, 48)
        self.told = torch.rand(2, size, len(LABELS), generator=generator) < 0.5
        self.told[:, :, 0] = True  # a caption has a noun
        both_languages = load_dataset("shapes", split, PIXELS, language="both", size=1)
        self.vocabulary: Vocabulary = both_languages.vocabulary
        self.texts = [self._write(i, generator) for i in range(2)]

    def _write(self, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        words = torch.randint(2**31, (len(self.labels),), generator=generator).tolist()
        captions = []
        for row, told, rng in zip(
            self.labels.tolist(), self.told[side].tolist(), words, strict=True
        ):
            said: dict[str, Any] = {
                name: LABEL_VALUES[name][value] if tells else None
                for name, value, tells in zip(LABELS, row, told, strict=True)
            }
            ground = said.pop("background")
            demand = Demand((ObjectDemand(**said),), background=ground)
            captions.append(describe(demand, ("en", "zh")[side], rng))
        return self.vocabulary.encode(captions)

    def sides(self, rows: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens of all three for some samples, and their masks."""
        inputs, masks = [self.pictures[rows]], []
        masks.append(torch.ones(inputs[0].shape[:2], dtype=torch.bool))
        for tokens, lengths in self.texts:
            inputs.append(tokens[rows])
            masks.append(word_mask(lengths[rows], tokens.shape[1]))
        return inputs, masks


class Teller(nn.Module):
    """Patches and words, each through two layers, fused, to all labels."""

    def __init__(self, name: str, words: int, width: int, budget: int) -> None:
        super().__init__()
        dims = (width,) * 3
        self.hidden = equal(name, dims, width, budget)
        self.fusion: Fusion = FUSIONS[name](dims, width, self.hidden)
        self.words = nn.Embedding(words, width)
        self.patches = nn.Linear(3 * PATCH**2, width)
        self.places = nn.Parameter(torch.randn((PIXELS // PATCH) ** 2, width) / 2)
        self.deeper = nn.ModuleList(nn.Linear(width, width) for _ in SIDES)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in SIDES)
        self.sizes = [len(LABEL_VALUES[name]) for name in LABELS]
        self.labels = nn.Linear(width, sum(self.sizes))

    def forward(self, inputs: list[Tensor], masks: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits of every label, (B, values) each."""
        tokens = [self.patches(inputs[0]) + self.places, *map(self.words, inputs[1:])]
        for m, (deeper, norm) in enumerate(zip(self.deeper, self.norms, strict=True)):
            tokens[m] = norm(tokens[m] + deeper(relu(tokens[m])))
        fused = relu(self.fusion(tokens, masks))
        return self.labels(fused).split(self.sizes, dim=1)


def lost(count: int, share: float) -> Tensor:
    """Which side of which sample is left out, (count, 3) bool; never all three."""
    drawn = torch.rand(count, len(SIDES))
    gone = drawn < share
    kept = torch.arange(len(SIDES)) == drawn.argmax(dim=1)[:, None]
    return gone & ~kept


def each(
    name: str, seed: int, dropout: float, worlds: tuple[World, World], steps: int
) -> dict[str, Any]:
    """Train a fusion of three sides, and ask it with all and without each of them."""
    train, test = worlds
    torch.manual_seed(seed)
    model = Teller(name, len(train.vocabulary), width=32, budget=30_000)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=steps, pct_start=0.1
    )
    start = time.process_time()
    for _ in range(steps):
        rows = torch.randint(len(train.labels), (64,))
        inputs, masks = train.sides(rows)
        gone = lost(len(rows), dropout)
        masks = [mask & ~gone[:, m, None] for m, mask in enumerate(masks)]
        told = zip(model(inputs, masks), train.labels[rows].T, strict=True)
        loss = torch.stack([cross_entropy(*pair) for pair in told]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.process_time() - start
    every = torch.arange(len(test.labels))
    inputs, masks = test.sides(every)

    def told_by(given: list[Tensor], seen: list[Tensor]) -> Tensor:
        with torch.no_grad():
            return torch.stack([x.argmax(dim=1) for x in model(given, seen)], dim=1)

    def right(found: Tensor) -> dict[str, Any]:
        return Proportion(int((found == test.labels).sum()), found.numel()).to_json()

    result: dict[str, Any] = {
        "fusion": name,
        "seed": seed,
        "dropout": dropout,
        "hidden": model.hidden,
        "parameters": parameters(model.fusion),
        "cpu_seconds": seconds,
        "all": right(told_by(inputs, masks)),
    }
    for m, side in enumerate(SIDES):
        seen = [mask & (m != i) for i, mask in enumerate(masks)]
        result[f"without_{side}"] = right(told_by(inputs, seen))
    # Colours where one of the captions tells it, and the picture is another sample's.
    column = LABELS.index("colour")
    own, other = test.labels[:, column], test.labels.roll(1, 0)[:, column]
    asked = (test.told[:, :, column].sum(dim=0) == 1) & (own != other)
    colours = told_by([inputs[0].roll(1, 0), *inputs[1:]], masks)[asked, column]
    result["exchanged"] = {
        side: Proportion(int((colours == colour[asked]).sum()), len(colours)).to_json()
        for side, colour in (("picture", other), ("captions", own))
    }
    return result


# ------------------------------------------------------------------------------ report


def together(runs: list[dict[str, Any]], *path: str) -> dict[str, Any]:
    """The proportions at a place of several runs, pooled, with the least and most."""
    found = []
    for run in runs:
        for key in path:
            run = run[key]
        found.append(Proportion(run["successes"], run["n"]))
    values = [share.value for share in found]
    return {**pooled(found).to_json(), "least": min(values), "most": max(values)}


def report(
    runs: dict[str, list[dict[str, Any]]], given: argparse.Namespace
) -> dict[str, Any]:
    """All runs so far, and a table row of each fusion."""
    rows: dict[str, Any] = {"both": {}, "each": {}}
    for name in FUSIONS:
        mine = [run for run in runs["both"] if run["fusion"] == name]
        if mine:
            rows["both"][name] = {
                "parameters": mine[0]["parameters"],
                "cpu_seconds": float(np.mean([run["cpu_seconds"] for run in mine])),
                "truth": together(mine, "truth"),
                "which_fact": together(mine, "which_fact"),
            }
        for dropout in sorted({run["dropout"] for run in runs["each"]}):
            mine = [
                run
                for run in runs["each"]
                if (run["fusion"], run["dropout"]) == (name, dropout)
            ]
            if mine:
                rows["each"].setdefault(f"dropout {dropout:g}", {})[name] = {
                    "parameters": mine[0]["parameters"],
                    "all": together(mine, "all"),
                    **{
                        f"without_{side}": together(mine, f"without_{side}")
                        for side in SIDES
                    },
                    "exchanged": {
                        side: together(mine, "exchanged", side)
                        for side in ("picture", "captions")
                    },
                }
    return {
        "seeds": len(given.seeds),
        "steps": {"both": given.steps, "each": given.steps_each},
        "threads": torch.get_num_threads(),
        "rows": rows,
        "runs": runs,
    }


def main() -> None:
    """Train and ask all fusions from all seeds, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fusions", nargs="+", default=list(FUSIONS), choices=FUSIONS)
    parser.add_argument("--steps", type=int, default=PRESET.training.steps)
    parser.add_argument("--steps-each", type=int, default=600)
    parser.add_argument("--pictures", type=int, default=1000, help="of the test split")
    parser.add_argument("--dropouts", type=float, nargs="+", default=[0.0, 1 / 3])
    given = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {"both": [], "each": []}
    worlds = World("train", 20_000), World("test", given.pictures)
    for seed in given.seeds:
        for name in given.fusions:
            for dropout in given.dropouts:
                if given.steps_each:
                    found = each(name, seed, dropout, worlds, given.steps_each)
                    runs["each"].append(found)
                    values = [found[key]["value"] for key in found if "with" in key]
                    print(
                        f"each  seed {seed}  {name:16} dropout {dropout:.2f}  all "
                        f"{found['all']['value']:.3f}  without each  "
                        + "  ".join(f"{value:.3f}" for value in values),
                        flush=True,
                    )
            if given.steps:
                found = both(name, seed, given.steps, given.pictures)
                runs["both"].append(found)
                print(
                    f"both  seed {seed}  {name:16} truth {found['truth']['value']:.3f}"
                    f"  which fact {found['which_fact']['value']:.3f}  "
                    f"{found['cpu_seconds']:.0f} s",
                    flush=True,
                )
            timing.write("fusion", report(runs, given), torch.device("cpu"))  # so far


if __name__ == "__main__":
    main()
