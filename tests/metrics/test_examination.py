"""Verification and answers, of models that know, guess, or look at one side only."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mmgen.data import load_dataset
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.shapes import judge, parse, read
from mmgen.evaluation import measure
from mmgen.metrics.examination import answering, judged, verification

VERDICTS = (
    *("true", "number", "shape", "colour", "size"),
    *("position", "relation", "binding", "background"),
)


@pytest.fixture(scope="module")
def data() -> CaptionedDataset:
    return load_dataset("shapes", "test", 64, objects=(1, 2), size=200)


class Reads:
    """Reads the pictures by the measure of Shapes; of a wrong caption it says why."""

    verdicts = VERDICTS

    def verify(self, images: Tensor | None, captions: Sequence[str]) -> Tensor:
        said = torch.full((len(captions), len(VERDICTS)), 0.01)
        if images is None:
            said[:, 0] = 0.9
            return said
        for row, scene, caption in zip(
            said, read(images).scenes, captions, strict=True
        ):
            met = judge(parse(caption), scene)
            wrong = [fact for fact, right in met.items() if not right]
            if wrong:
                name = "number" if "count" in wrong else wrong[0]
                row[VERDICTS.index(name)] = 0.9
            else:
                row[0] = 0.9
        return said


def test_who_reads_pictures_finds_what_is_wrong(data: CaptionedDataset) -> None:
    found = verification(Reads(), data, 100)
    assert found.truth.n == 200 and found.which_fact.n == 100
    assert found.truth.value >= 0.98
    # it cannot tell an exchange from two wrong colours, but it names single facts
    for kind in ("number", "background", "size", "position"):
        assert found.named[kind].value >= 0.9, kind
    assert found.named["binding"].value == 0
    assert found.found["binding"].value >= 0.9
    assert sum(share.n for share in found.found.values()) == 100
    assert found.without_picture.successes == 100  # all true: half are


def test_who_guesses_is_right_in_half(data: CaptionedDataset) -> None:
    class Trusts:
        verdicts = VERDICTS

        def verify(self, images: Tensor | None, captions: Sequence[str]) -> Tensor:
            return torch.eye(len(VERDICTS))[0].repeat(len(captions), 1)

    found = verification(Trusts(), data, 50)
    assert found.truth.value == 0.5 and found.which_fact.value == 0


def test_a_verdict_is_true_if_that_is_likelier_than_not() -> None:
    said = torch.tensor([[0.6, 0.4, 0.0], [0.4, 0.3, 0.3], [0.45, 0.2, 0.35]])
    assert judged(said).tolist() == [0, 1, 2]


class Knows:
    """Answers of the pictures in a table, or always with what it said of a question."""

    def __init__(self, data: CaptionedDataset, looks: bool) -> None:
        self.data, self.looks = data, looks
        self.known: dict[str, str] = {}

    def answer(self, images: Tensor | None, questions: Sequence[str]) -> list[str]:
        if images is None:
            return ["yes"] * len(questions)
        if self.looks:
            return [scene.background for scene in read(images).scenes]
        return [self.known.setdefault(question, "yes") for question in questions]


def test_answers_that_follow_the_picture(data: CaptionedDataset) -> None:
    """Who names the background is right in questions about it, and follows there."""
    found = answering(Knows(data, looks=True), data, 200)
    assert found.overall.n == 200
    assert found.kinds["background"].value == 1
    others = [share for kind, share in found.kinds.items() if kind != "background"]
    assert sum(share.successes for share in others) == 0
    assert found.follows is not None and found.stays is not None
    assert found.follows.n == found.stays.n > 30
    assert found.follows.successes > 0 and found.stays.successes == 0


def test_answers_that_stay_with_the_question(data: CaptionedDataset) -> None:
    found = answering(Knows(data, looks=False), data, 200)
    right = found.kinds["relation"].successes
    assert found.overall.successes == right > 0  # "yes" is right in half of them
    assert found.overall.value == found.without_picture.value
    assert found.follows is not None and found.stays is not None
    assert found.to_json()["exchanged"]["stays"]["n"] == found.stays.n


def test_of_one_picture_nothing_is_exchanged(data: CaptionedDataset) -> None:
    found = answering(Knows(data, looks=True), data, 1)
    assert found.follows is None and "exchanged" not in found.to_json()


def test_evaluation_asks_both_of_what_can(data: CaptionedDataset) -> None:
    class Both(Reads, Knows):
        def __init__(self) -> None:
            Knows.__init__(self, data, looks=True)

    found = measure(Both(), data, 20, 0, "cpu")
    assert set(found) == {"verification", "answers"}
    assert found["verification"]["truth"]["n"] == 40
    assert set(measure(Reads(), data, 20, 0, "cpu")) == {"verification"}


def test_data_that_cannot_be_examined(data: CaptionedDataset) -> None:
    emoji = load_dataset("emoji", "validation", 16)
    with pytest.raises(ValueError, match="'emoji' cannot"):
        verification(Reads(), emoji, 5)
    with pytest.raises(ValueError, match=r"count must lie in 1\.\.200"):
        answering(Knows(data, looks=True), data, 201)
    with pytest.raises(ValueError, match="got 0"):
        verification(Reads(), data, 0)
    assert measure(Reads(), emoji, 5, 0, "cpu") == {}
