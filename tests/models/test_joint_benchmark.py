"""The benchmark of joint training, at tiny size."""

from __future__ import annotations

import argparse
import math

import pytest
import torch

from benchmarks import joint as benchmark
from mmgen.data.shapes import COLOURS
from mmgen.data.shapes.telling import told
from mmgen.models.joint.networks import TERMS


@pytest.fixture(scope="module")
def world() -> benchmark.World:
    return benchmark.World.of(("star", "heart"), COLOURS[:1])


def test_captions_are_true_of_the_pictures_that_fit_them(world) -> None:
    assert len(world.scenes) == 40 and len(world.texts) == 160
    for text, row in zip(world.texts[::7], world.true[::7].tolist(), strict=True):
        right = [told(text, scene).right for scene in world.scenes]
        assert right == row
        assert told(text, world.scenes[row.index(True)]).parsed


def test_pictures_have_codes_of_their_own(world) -> None:
    assert len(world.codes.unique(dim=0)) == len(world.scenes)
    assert world.codebook.shape[0] == int(world.codes.max()) + 1


def test_both_ways_to_a_pair_agree_in_the_truth(world) -> None:
    truth = world.log_p()
    one, other = truth["t"] + truth["x | t"], truth["x"] + truth["t | x"]
    torch.testing.assert_close(one, other)
    assert one.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    distinct = dict(zip(world.texts, truth["t"].tolist(), strict=True))
    assert sum(map(math.exp, distinct.values())) == pytest.approx(1.0, abs=1e-5)


def test_training_lowers_the_divergence(world) -> None:
    network = benchmark.new_network(world, 0)
    before = benchmark.measured(world, network.eval())
    network.train()
    parts = benchmark.groups(network, 1.0)
    benchmark.train(world, parts, benchmark.joint_loss(network), 25, 0)
    after = benchmark.measured(world, network.eval())
    for name, nats in after["divergence"].items():
        assert -1e-3 < nats < before["divergence"][name]
    assert set(after["right"]) == {"text to picture", "picture to text", "both"}
    assert all(share["n"] == 40 for share in after["right"].values())


def test_what_has_no_term_is_not_asked(world) -> None:
    asked = {
        name: set(found["divergence"])
        for name, found in benchmark.terms(world, 0, steps=1)
    }
    everything = {"t", "t | x", "x", "x | t"}
    assert asked == {
        "all three": everything,
        "without text": everything - {"t"},
        "without multi": everything - {"t | x"},
        "without generate": {"t", "t | x"},
    }
    assert len(asked) == 1 + len(TERMS)


def test_m_forgets_only_where_it_learns_on(world) -> None:
    found = dict(benchmark.begin(world, 0, steps=2, first=8, rates=(0.0, 1.0)))
    assert len(found) == 4
    for name, run in found.items():
        same = run["captions_after"] == pytest.approx(run["captions_before"], abs=1e-4)
        assert same == name.startswith("rate 0,")


def test_two_models_get_the_time_of_one(world) -> None:
    ((name, found),) = benchmark.apart(world, 0, seconds=0.5, probe=2)
    assert name == "two models" and found["steps"] >= 1
    assert set(found["divergence"]) == {"t | x", "x", "x | t"}
    assert set(found["right"]) == {"text to picture", "picture to text"}


def test_a_right_picture_is_counted_as_right(world) -> None:
    # of a writer that is made to say the codes of the first picture, always
    network = benchmark.new_network(world, 0, text_weight=0.0, multi_weight=0.0)
    first = world.codes[0]

    class Certain:
        codes = world.codebook.shape[0]

        def table(self) -> None:
            return None

        weights = table

        def told(self, tokens, lengths):
            return tokens

        def tell(self, told, pieces, tables):
            sure = torch.full((len(told), len(first), self.codes), -50.0)
            return sure.scatter(2, first.expand(len(told), -1)[:, :, None], 0.0)

    found = benchmark.drawn(world, network, Certain())["text to picture"]
    asked = torch.arange(40) * 4 + torch.arange(40) % 4
    assert found.successes == int(world.true[asked, 0].sum())
    assert 0 < found.successes < 40


def test_the_report_pools_the_seeds(world) -> None:
    runs = []
    for seed in range(2):
        network = benchmark.new_network(world, seed, generate_weight=0.0).eval()
        found = benchmark.measured(world, network)
        runs.append({"part": "terms", "seed": seed, "name": "untrained", **found})
    given = argparse.Namespace(seeds=[0, 1], steps=0, first=0)
    report = benchmark.report(world, runs, given)
    row = report["rows"]["terms"]["untrained"]
    values = [run["divergence"]["t | x"] for run in runs]
    assert row["divergence"]["t | x"]["mean"] == pytest.approx(sum(values) / 2)
    assert row["right"]["picture to text"]["n"] == 80
    assert report["captions"] == 60
