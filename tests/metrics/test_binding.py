"""Exchanged captions are wrong in the same words, and a bag of words gets a half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mmgen.data import load_dataset
from mmgen.data.batch import Batch
from mmgen.data.shapes import HELD_OUT, Scene, judge, parse
from mmgen.data.vocabulary import tokenize
from mmgen.metrics.binding import KINDS, Binding, binding_accuracy, exchanged_captions


@pytest.fixture(scope="module", params=["en", "zh"])
def batch(request: pytest.FixtureRequest) -> Batch:
    data = load_dataset("shapes", "test", 32, request.param, objects=(2,), size=200)
    return data.batch(range(200))


class Words:
    """Scores a caption by how often each word of a list stands in it."""

    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        counts = [sum(map(hash, tokenize(caption))) % 1009 for caption in captions]
        return torch.tensor(counts, dtype=torch.float64).expand(len(images), -1)


class Knows:
    """Knows the scene of each picture, and judges."""

    def __init__(self, batch: Batch) -> None:
        assert batch.scenes is not None
        self.scenes: dict[bytes, Scene] = {
            image.numpy().tobytes(): scene
            for image, scene in zip(batch.images, batch.scenes, strict=True)
        }

    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        demands = [parse(caption) for caption in captions]
        rows = [self.scenes[image.numpy().tobytes()] for image in images]
        return torch.tensor(
            [[float(all(judge(d, row).values())) for d in demands] for row in rows]
        )


class KnowsChosen(Knows):
    """The same, asked for the pairs in question alone."""

    def candidate_scores(
        self,
        images: Tensor,
        captions: Sequence[str],
        chosen: Tensor,
        direction: str = "image_to_text",
    ) -> Tensor:
        assert len(images) == len(captions) == len(chosen)
        assert direction == "image_to_text"
        return self.scores(images, captions).gather(1, chosen)


def test_exchanged_captions_are_wrong_in_the_same_words(batch: Batch) -> None:
    assert batch.scenes is not None
    found: Counter[str] = Counter()
    for caption, scene in zip(batch.captions, batch.scenes, strict=True):
        for kind, wrong in exchanged_captions(caption).items():
            found[kind] += 1
            assert Counter(tokenize(wrong)) == Counter(tokenize(caption))
            assert all(judge(parse(caption), scene).values())
            assert not all(judge(parse(wrong), scene).values())
            pairs = {(group.colour, group.shape) for group in parse(wrong).objects}
            assert not pairs & set(HELD_OUT)
    assert min(found[kind] for kind in KINDS) > 50


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        (
            "an orange heart left of a pink circle",
            {
                "colours": "a pink heart left of an orange circle",
                "shapes": "an orange circle left of a pink heart",
            },
        ),
        (
            "一颗大的黄色五角星的上边是一个小紫加号",
            {
                "colours": "一颗大的紫色五角星的上边是一个小黄加号",
                "shapes": "一个大的黄色加号的上边是一颗小紫五角星",
            },
        ),
        ("a green cross shape and a pink cross", {}),  # the same, whatever is exchanged
        (
            "a green heart above a pink heart",
            {"colours": "a pink heart above a green heart"},
        ),
        ("a blue heart", {}),
        ("two blue hearts", {}),
        ("two blue hearts and a pink circle", {}),
        ("a circle and a heart", {}),
    ],
)
def test_what_is_exchanged(caption: str, expected: dict[str, str]) -> None:
    assert exchanged_captions(caption) == expected


def test_a_bag_of_words_gets_a_half(batch: Batch) -> None:
    found = binding_accuracy(batch.images, batch.captions, Words())
    assert set(found.won) == set(KINDS)
    assert {each for answers in found.won.values() for each in answers} == {0.5}
    told = found.to_json()
    questions = told["overall"]["n"]
    assert questions == sum(map(len, found.won.values())) > 100
    assert told["overall"]["successes"] == questions // 2


@pytest.mark.parametrize("matcher", [Knows, KnowsChosen])
def test_who_knows_gets_all(batch: Batch, matcher: type) -> None:
    found = binding_accuracy(batch.images, batch.captions, matcher(batch))
    assert {each for answers in found.won.values() for each in answers} == {1.0}
    assert found.to_json()["overall"]["value"] == 1


def test_ties_count_half_and_are_put_together() -> None:
    found = Binding({"colours": [1, 0.5, 0, 0.5], "shapes": [0.5]}).to_json()
    assert [found[name]["successes"] for name in ("overall", *KINDS)] == [2, 2, 0]
    assert [found[name]["n"] for name in ("overall", *KINDS)] == [5, 4, 1]


def test_without_a_question_nothing_is_found() -> None:
    found = binding_accuracy(torch.zeros(1, 3, 8, 8), ["a blue heart"], Words())
    assert found.won == {} and found.to_json() == {}


def test_bad_input() -> None:
    captions = ["a green heart above a pink heart"]
    with pytest.raises(ValueError, match="must be pairs; got 2 and 1"):
        binding_accuracy(torch.zeros(2, 3, 8, 8), captions, Words())
    with pytest.raises(ValueError, match="qwxz"):
        binding_accuracy(torch.zeros(1, 3, 8, 8), ["a qwxz"], Words())

    class Lost(Words):
        def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
            return super().scores(images, captions) * torch.nan

    with pytest.raises(ValueError, match="finite scores"):
        binding_accuracy(torch.zeros(1, 3, 8, 8), captions, Lost())
