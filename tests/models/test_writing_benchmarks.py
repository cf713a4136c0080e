"""The benchmarks of models that write codes, at tiny size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import decoding, guidance, likelihoods, passes
from mmgen.data import CaptionedDataset, load_dataset
from mmgen.data.shapes import Object, Scene, render
from mmgen.models.autoregressive import ARSampler
from mmgen.models.masked import MaskedSampler
from tests.models.tiny_codes import sampler

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures() -> CaptionedDataset:
    return load_dataset("shapes", "test", 16, objects=(2,), size=30)


class Knowing:
    """A matcher that knows the right captions, or always prefers the others."""

    def __init__(self, right: Sequence[str], sign: float) -> None:
        self.right, self.sign = list(right), sign

    def candidate_scores(
        self, images: Tensor, captions: Sequence[str], chosen: Tensor, *_: Any
    ) -> Tensor:
        scores = torch.zeros(chosen.shape)
        for row, others in enumerate(chosen.tolist()):
            for column, other in enumerate(others):
                if captions[other] == self.right[row]:
                    scores[row, column] = self.sign
        return scores


def test_questions_and_answers(pictures: CaptionedDataset) -> None:
    batch = pictures.batch(range(30))
    asked = likelihoods.questions(batch)
    assert [q.picture for q in asked] == sorted(q.picture for q in asked)
    assert all(q.wrong != batch.captions[q.picture] for q in asked)
    for sign, expected in ((1.0, 1.0), (-1.0, 0.0)):
        knowing = Knowing(batch.captions, sign)
        found = likelihoods.accuracy(
            lambda batch, asked, knowing=knowing: likelihoods.by_matching(
                knowing, batch, asked
            ),
            pictures,
            30,
        )
        assert found["overall"]["value"] == expected
        assert found["overall"]["n"] == len(asked)
        assert sum(share["n"] for share in found["by_kind"].values()) == len(asked)
        assert {"shape", "colour"} <= set(found["by_kind"])


def test_the_likelier_caption(pictures: CaptionedDataset) -> None:
    model, batch = sampler(ARSampler), pictures.batch(range(4))
    asked = likelihoods.questions(batch)
    decided = likelihoods.by_likelihood(model, batch, asked)
    captions = [*batch.captions, *(q.wrong for q in asked)]
    scores = model.scores(batch.images, captions)
    by_hand = [
        bool(scores[q.picture, q.picture] > scores[q.picture, 4 + i])
        for i, q in enumerate(asked)
    ]
    assert decided.tolist() == by_hand
    assert 0 < sum(by_hand) < len(by_hand)


def test_writing_is_timed() -> None:
    ar = sampler(ARSampler, guidance=2.0)
    masked = sampler(MaskedSampler, passes=2, guidance=2.0)
    report = decoding.measure(ar, masked, count=3, repetitions=1)
    assert report["codes"] == 4 and set(report["pictures_at_once"]) == {"1", "3"}
    for found in report["pictures_at_once"].values():
        assert found["times_faster_with_cache"] > 0
        assert found["times_faster_masked"] > 0
        assert set(found["seconds"]) == {"ar", "masked"}


def test_both_models_are_of_one_size() -> None:
    ar, masked = decoding.samplers({"width": 16, "depth": 1, "heads": 2})
    assert ar.side == masked.side == 8
    sizes = [sum(p.numel() for p in m.writer.parameters()) for m in (ar, masked)]
    assert sizes[0] == sizes[1]


class Painter:
    """Draws a data set's own pictures; a red circle left and right; guided, nothing."""

    def __init__(self, pictures: CaptionedDataset) -> None:
        batch = pictures.batch(range(len(pictures)))
        self.known = dict(zip(batch.captions, batch.images, strict=True))
        scenes = [
            Scene((Object("circle", "red", "large", x, 0.25),), "white")
            for x in (0.25, 0.75)
        ]
        self.circles = render(scenes, 32)

    def sample(
        self,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
        guidance: float = 1.0,
        **others: float,
    ) -> Tensor:
        drawn = [
            self.known.get(caption, self.circles[i % 2])
            for i, caption in enumerate(captions)
        ]
        return (
            torch.stack(drawn) if guidance == 1 else torch.ones(len(drawn), 3, 32, 32)
        )


def test_settings_are_compared() -> None:
    data = load_dataset("shapes", "test", 32, objects=(1,), size=4)
    report = guidance.measure(Painter(data), data, 4, ["a red circle"], 8)
    assert set(report["settings"]) == set(guidance.SETTINGS)
    for name, found in report["settings"].items():
        guided = guidance.SETTINGS[name]["guidance"] != 1
        assert found["right"]["successes"] == (0 if guided else 4)
        number, shares = found["covered"]["position"], found["places"]
        assert number is None if guided else number == pytest.approx(2.0)
        there = {place for place, share in shares.items() if share}
        assert there == (set() if guided else {"upper left", "upper right"})


def test_a_setting_reaches_the_model() -> None:
    model, captions = sampler(ARSampler, guidance=2.0), ["a red circle"] * 8
    options = {"temperature": 0.0}
    drawn = guidance.Chosen(model, options).sample(captions, 5)
    assert torch.equal(drawn, model.sample(captions, 5, **options))
    assert not torch.equal(drawn, model.sample(captions, 5))


def test_passes_are_counted_and_timed() -> None:
    data = load_dataset("shapes", "test", 32, objects=(1,), size=4)
    captions = data.batch(range(4)).captions
    found = passes.measure(Painter(data), captions)
    assert found["right"]["successes"] == 4 and found["processor_seconds"] > 0
    found = passes.measure(Painter(data), captions, guidance=2)
    assert found["right"]["successes"] == 0
