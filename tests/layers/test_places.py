"""Regions that know where they are, and the benchmark that asks what it is worth."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks import places
from mmgen.data.shapes import RELATIONS
from mmgen.layers.images import Coordinates, ImageEncoder


def test_coordinates_are_those_of_the_cells() -> None:
    told = Coordinates(3, 4)
    torch.nn.init.zeros_(told.map.weight)
    with torch.no_grad():
        told.map.weight[0, 0], told.map.weight[1, 1] = 1.0, 1.0  # x, then y
        tokens = told(torch.zeros(2, 10, 4))
    assert tokens.shape == (2, 10, 4)
    assert tokens[:, 0].abs().max() == 0  # the whole picture is nowhere
    x, y = tokens[1, 1:, 0].view(3, 3), tokens[1, 1:, 1].view(3, 3)
    assert x[0].tolist() == x[2].tolist() == [-1.0, 0.0, 1.0]  # left to right
    assert y[:, 0].tolist() == [-1.0, 0.0, 1.0]  # top to bottom
    assert "cells" not in told.state_dict()


def test_tokens_are_the_whole_and_then_the_regions_in_reading_order() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder.small(16, 6, width=4, grid=4, patch=2).eval()
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    regions, whole = encoder(images)
    tokens = encoder.tokens(images)
    assert tokens.shape == (2, 17, 6)
    assert torch.equal(tokens[:, 0], whole)
    for place in (0, 5, 15):
        assert torch.equal(tokens[:, 1 + place], regions[:, :, place // 4, place % 4])


@pytest.fixture(scope="module")
def samples() -> places.Samples:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(places.PICTURES, "test", 12)
        return places.Samples.of("test", part=6)


class TestBenchmark:
    def test_what_is_asked_and_what_is_right(self, samples: places.Samples) -> None:
        assert samples.regions.shape == (12, 64, 128)
        rows = torch.arange(12)
        generator = torch.Generator().manual_seed(0)
        turned = {0: 1, 1: 0, 2: 3, 3: 2}
        assert [RELATIONS[i] for i in turned] == list(RELATIONS)
        seen = set()
        for _ in range(4):
            _, meant, relation = samples.asked(rows, generator)
            for i in range(12):
                second = torch.equal(meant[i], samples.objects[i, 1])
                first = torch.equal(meant[i], samples.objects[i, 0])
                assert first or second
                own = int(samples.relations[i])
                assert int(relation[i]) in (own, turned[own])
                if first != second:  # two alike could be either
                    seen.add(second)
                    assert int(relation[i]) == (turned[own] if second else own)
        assert seen == {True, False}

    def test_only_coordinates_tell_places_before_any_training(
        self, samples: places.Samples
    ) -> None:
        regions, meant, _ = samples.asked(
            torch.arange(6), torch.Generator().manual_seed(0)
        )
        mixed = regions[:, torch.randperm(64)]
        for way in places.WAYS:
            torch.manual_seed(0)
            network = places.Asker(way, 128).eval()
            with torch.no_grad():
                gap = (network(regions, meant) - network(mixed, meant)).abs().max()
            assert (gap < 1e-5) == (way == "not told"), way

    def test_a_short_training_is_measured(
        self, samples: places.Samples, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(places, "STEPS", 4)
        monkeypatch.setattr(places, "ASKED", (2, 4))
        found = places.measure("coordinates", 0, samples, samples)
        assert list(found) == ["2", "4"]
        assert all(0 <= share.successes <= share.n == 12 for share in found.values())
        half = replace(samples, relations=samples.relations * 0)
        assert places.measure("not told", 0, half, half)["4"].n == 12
