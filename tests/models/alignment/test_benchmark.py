"""The benchmark of alignments, on features that are one another's turn."""

from __future__ import annotations

import pytest
import torch

from benchmarks import alignment
from benchmarks.alignment import CLOSED_FORM, TERMS, Samples, align, bags, ways


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "STEPS", 120)
    monkeypatch.setattr(alignment, "BATCH", 32)
    monkeypatch.setattr(alignment, "RATE", 2e-2)


@pytest.fixture
def turned() -> Samples:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(200, 6, generator=draw)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=draw))[0]
    texts = [f"number {i}" for i in range(200)]
    return Samples(images, images @ turn, texts, torch.arange(200), [])


def found(alignment: alignment.Scores, test: Samples) -> float:
    best = alignment.scores(test.images, test.captions).argmax(dim=1)
    return (best == test.class_ids).double().mean().item()


@pytest.mark.parametrize("way", [CLOSED_FORM, "contrastive", "contrastive + both"])
def test_pairs_align(way: str, turned: Samples) -> None:
    assert found(align(turned, 100, way, "linear", 0), turned) > 0.9


def test_without_pairs_nothing_is_known_of_pairs(turned: Samples) -> None:
    assert found(align(turned, 0, "cycle", "linear", 0), turned) < 0.1


def test_what_needs_pairs_is_tried_with_pairs() -> None:
    without, given = ways(0), ways(50)
    assert {way for way, _ in without} == {
        "adversarial",
        "cycle",
        "adversarial + cycle",
    }
    assert {way for way, _ in given} == {CLOSED_FORM, *TERMS} - {w for w, _ in without}
    assert len(given) == len(set(given)) == 9


def test_a_bag_counts_words_and_no_padding() -> None:
    tokens = torch.tensor([[3, 2, 3, 0], [1, 0, 0, 0]])
    assert bags(tokens, 4).tolist() == [[0, 0, 1, 2], [0, 1, 0, 0]]
