"""The benchmarks of captioning, at tiny size."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from benchmarks import captioning, self_critical
from mmgen.data import Batch, load_dataset
from mmgen.layers.captions import END_TOKEN
from mmgen.layers.logits import filtered
from mmgen.models.captioning import CaptioningConfig, CaptioningSampler

TINY = CaptioningConfig(16, 16, width=8, grid=4, patch=2, hidden=16, depth=1, heads=2)
FEW: dict[str, Any] = {"steps": 2, "every": 1, "batch_size": 4, "drawn": 3, "seed": 0}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures() -> Batch:
    data = load_dataset("shapes", "train", 16, "en", objects=(1,), size=40)
    return data.batch(range(40))


def untrained(decoder: str = "transformer", language: str = "both") -> Any:
    torch.manual_seed(0)
    data = load_dataset("shapes", "train", 16, language, objects=(1,), size=1)
    config = CaptioningConfig(**{**vars(TINY), "decoder": decoder})
    return CaptioningSampler(config, data.vocabulary, data.max_tokens).eval()


@pytest.mark.parametrize("decoder", ["transformer", "lstm"])
def test_log_p_is_that_of_what_is_drawn(decoder: str, pictures: Batch) -> None:
    sampler = untrained(decoder)
    writer = sampler.network.writer
    with torch.no_grad():
        seen = sampler.network.look(pictures.images[:6])
        tokens = self_critical.draw(sampler, seen, torch.Generator().manual_seed(1))
        found = self_critical.log_p(sampler, seen, tokens)
        state, last = writer.enter(seen), writer.starts("en", seen)
        never = writer.never("en")
        for place in range(found.shape[1]):
            logits, state = writer.step(last, place, state)
            logits = logits.masked_fill(never, -torch.inf)
            if place == 0:
                logits[:, END_TOKEN] = -torch.inf
            last = tokens[:, place]
            own = filtered(logits).gather(1, last[:, None])[:, 0].log()
            whole = (tokens[:, :place] != END_TOKEN).all(dim=1)
            assert_close(found[whole, place], own[whole], rtol=1e-4, atol=1e-4)
            assert (found[~whole, place] == 0).all()


def test_equal_rewards_change_nothing(pictures: Batch) -> None:
    sampler = untrained()
    rows = self_critical.train(
        sampler, lambda telling: 0.7, pictures, pictures[:5], learning_rate=0.1, **FEW
    )
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert {row["entropy"] for row in rows} == {rows[0]["entropy"]}
    assert rows[1]["earned"] == pytest.approx(0.7)
    assert rows[0]["drawn"]["overall"]["n"] == 5 * FEW["drawn"]
    assert 1 <= rows[0]["distinct"] <= FEW["drawn"]


def test_what_is_paid_is_learned(
    pictures: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To write less, if each word costs; the weights given stay as they are."""
    start = untrained().requires_grad_(False)  # as published weights are
    before = {name: value.clone() for name, value in start.state_dict().items()}
    monkeypatch.setattr(self_critical, "told", lambda c, *_: -len(c.split()))
    size = {**FEW, "steps": 40, "every": 20, "batch_size": 32}
    rows = self_critical.train(
        start, float, pictures, pictures[:10], learning_rate=0.01, **size
    )
    words = [row["words"] for row in rows]
    assert words[0] - 3 > words[-1]
    assert rows[1]["earned"] < rows[2]["earned"] < 0
    for name, value in start.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_rewards_differ_in_what_is_left_out(pictures: Batch) -> None:
    assert pictures.scenes is not None
    scenes = [s for s in pictures.scenes if s.objects[0].colour == "red"]
    scenes = [s for s in scenes if s.objects[0].shape == "star"] or scenes[:1]
    nouns = [f"a {s.objects[0].shape}" for s in scenes]
    wrong = ["three circles"] * len(scenes)
    whole, right = self_critical.REWARDS.values()
    of_nouns = [self_critical.rewards_of(r, nouns, scenes) for r in (whole, right)]
    of_wrong = [self_critical.rewards_of(r, wrong, scenes) for r in (whole, right)]
    assert (of_nouns[1] == 1).all() and (of_wrong[1] == 0).all()
    assert (of_nouns[0] <= 1).all() and (of_wrong[0] < of_nouns[0]).all()


def test_the_report_pools_the_seeds(pictures: Batch) -> None:
    def run(seed: int) -> dict[str, Any]:
        rows = self_critical.train(
            untrained(),
            lambda telling: float(telling.parsed),
            pictures,
            pictures[:5],
            learning_rate=0.01,
            **{**FEW, "seed": seed},
        )
        return {"seed": seed, "rows": rows}

    given = argparse.Namespace(
        **{"weights": "tiny", "objects": [1], "seeds": [0, 1], "learning_rate": 0.01},
        **{"steps": 2, "batch_size": 4, "asked": 5, "drawn": 3},
    )
    runs = {"nothing wrong": [run(0), run(1)], "facts told": []}
    found = self_critical.report(runs, given)["rows"]
    assert list(found) == ["before", "nothing wrong"]
    after, ends = found["nothing wrong"], [r["rows"][-1] for r in runs["nothing wrong"]]
    assert after["drawn_right"]["n"] == 2 * 5 * 3 and after["greedy_right"]["n"] == 10
    assert after["distinct"] == pytest.approx(sum(r["distinct"] for r in ends) / 2)
    assert found["before"]["entropy"] == runs["nothing wrong"][1]["rows"][0]["entropy"]
    assert self_critical.line(ends[0]).startswith("  step    2  right")


@pytest.mark.parametrize("decoder", ["transformer", "lstm"])
def test_the_cache_changes_no_word(decoder: str, pictures: Batch) -> None:
    report = captioning.measure(untrained(decoder), pictures.images[:3], 2, 1)
    assert report["times_faster_with_cache"] > 0
    assert report["times_slower_with_beams"] > 0
    assert report["words"] >= 1 and report["pictures"] == 3


def test_other_words_are_noticed(
    pictures: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = untrained()
    tokens = sampler.vocabulary.encode(["a star"] * 3, sampler.max_tokens)[0]
    monkeypatch.setattr(captioning, "write_anew", lambda *_: tokens)
    with pytest.raises(RuntimeError, match="other words"):
        captioning.measure(sampler, pictures.images[:3], 2, 1)
