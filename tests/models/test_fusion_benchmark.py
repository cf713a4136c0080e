"""The benchmark of fusions, at tiny size."""

from __future__ import annotations

import argparse

import pytest
import torch

from benchmarks import fusion as benchmark
from mmgen.data.shapes import parse
from mmgen.layers.fusion import FUSIONS
from mmgen.metrics.interval import Proportion


@pytest.fixture(scope="module")
def worlds() -> tuple[benchmark.World, benchmark.World]:
    return benchmark.World("train", 300), benchmark.World("test", 60)


@pytest.mark.parametrize("name", FUSIONS)
def test_all_fusions_get_as_many_parameters(name: str) -> None:
    budget = 140_000
    hidden = benchmark.equal(name, (64, 64), 64, budget)
    found = benchmark.parameters(FUSIONS[name]((64, 64), 64, hidden))
    step = 4 if name in ("cross-attention", "bottleneck") else 1
    near = [
        benchmark.parameters(FUSIONS[name]((64, 64), 64, hidden + change))
        for change in (-step, step)
    ]
    assert abs(found - budget) <= min(abs(other - budget) for other in near)
    assert abs(found / budget - 1) < 0.1


def test_captions_tell_what_the_world_says_they_tell(worlds) -> None:
    world = worlds[0]
    for side in range(2):
        tokens, lengths = world.texts[side]
        assert (lengths > 0).all()
        for row, told, text in zip(
            world.labels.tolist(),
            world.told[side].tolist(),
            world.vocabulary.decode(tokens),
            strict=True,
        ):
            demand = parse(text)
            (thing,) = demand.objects
            said = [getattr(thing, name) for name in benchmark.LABELS[:-1]]
            said.append(demand.background)
            values = [
                benchmark.LABEL_VALUES[name][value] if tells else None
                for name, value, tells in zip(benchmark.LABELS, row, told, strict=True)
            ]
            assert said == values
    assert 0.4 < world.told[:, :, 1:].float().mean() < 0.6


def test_no_sample_loses_all_sides() -> None:
    torch.manual_seed(0)
    gone = benchmark.lost(5000, 1 / 3)
    assert not gone.all(dim=1).any()
    # of all three at once, 1 in 27, one is kept after all
    expected = 1 / 3 - 1 / 27 / 3
    assert gone.float().mean(dim=0).tolist() == pytest.approx([expected] * 3, abs=0.03)
    assert not benchmark.lost(50, 0.0).any()


def test_each_learns_and_is_asked_without_a_side(worlds) -> None:
    found = benchmark.each("sum", 0, 0.0, worlds, steps=150)
    assert found["all"]["n"] == 60 * 5
    assert found["all"]["value"] > 0.4  # guessing gets a quarter
    assert {f"without_{side}" for side in benchmark.SIDES} <= set(found)
    shares = found["exchanged"]
    assert shares["picture"]["n"] == shares["captions"]["n"] > 10
    assert shares["picture"]["value"] + shares["captions"]["value"] <= 1
    assert benchmark.each("sum", 0, 0.0, worlds, steps=150)["all"] == found["all"]


def test_the_report_pools_the_seeds(worlds) -> None:
    runs = {
        "both": [],
        "each": [benchmark.each("film", s, 0.5, worlds, steps=2) for s in range(2)],
    }
    given = argparse.Namespace(seeds=[0, 1], steps=0, steps_each=2)
    rows = benchmark.report(runs, given)["rows"]["each"]["dropout 0.5"]
    assert set(rows) == {"film"}
    row = rows["film"]["all"]
    both = [Proportion(run["all"]["successes"], 300).value for run in runs["each"]]
    assert row["n"] == 600 and row["value"] == pytest.approx(sum(both) / 2)
    assert (row["least"], row["most"]) == (min(both), max(both))
