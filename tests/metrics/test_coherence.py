"""Agreement of pictures and captions whose truth is known."""

import json
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mmgen.data import load_dataset
from mmgen.data.shapes import Object, Scene, describe, render
from mmgen.metrics.coherence import (
    cross_modal_coherence,
    naming_accuracy,
    pair_coherence,
)

SAYS = ("colour", "size", "position")
SCENES = [
    Scene((Object.at("star", "red", "large", "center"),), "white", SAYS),
    Scene((Object.at("circle", "blue", "small", "upper left"),), "white", SAYS),
    Scene((Object.at("cross", "green", "large", "lower right"),), "beige", SAYS),
]
CAPTIONS = [describe(scene, "en", rng=i) for i, scene in enumerate(SCENES)]


def test_pairs_of_the_world_agree() -> None:
    report = pair_coherence(render(SCENES), CAPTIONS)
    assert report.verdicts == [True] * 3 and report.unparsed == 0
    assert report.overall.value == 1.0 and report.overall.n == 3
    assert report.facts == 4.0  # shape, colour, size, position


def test_swapped_and_senseless_captions_do_not_agree() -> None:
    captions = [CAPTIONS[1], "red red of the of", CAPTIONS[2]]
    report = pair_coherence(render(SCENES), captions)
    assert report.verdicts == [False, False, True] and report.unparsed == 1
    assert report.overall.successes == 1
    assert report.attributes["colour"].successes == 1
    assert report.attributes["colour"].n == 2  # what cannot be parsed states none
    assert json.loads(json.dumps(report.to_json()))["unparsed"] == 1


def test_one_wrong_attribute_is_named() -> None:
    report = pair_coherence(render(SCENES[:1]), ["a small red star in the center"])
    assert not report.verdicts[0]
    wrong = {name for name, share in report.attributes.items() if share.value == 0}
    assert wrong == {"size"}


def test_nothing_sensible_is_zero_and_not_an_error() -> None:
    report = pair_coherence(render(SCENES), ["qwxz", "of", "the the"])
    assert report.overall.value == 0 and report.attributes == {} and report.facts == 0


def test_pairs_must_be_pairs() -> None:
    for images, captions in ((render(SCENES), CAPTIONS[:2]), (torch.zeros(0), [])):
        with pytest.raises(ValueError, match="captions must be one for each"):
            pair_coherence(images, captions)


class Oracle:
    """Knows the world: draws what it reads, tells what it sees, except one lie."""

    languages = ("en",)

    def __init__(self, truth: list[str] | None = None) -> None:
        self.truth = truth or []
        self.asked: list[tuple] = []

    def sample(
        self, captions: Sequence[str], seed: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        self.asked.append(("sample", seed))
        return render([SCENES[0]] * len(captions), 32)  # always the same star

    def describe(self, images: Tensor, language: str | None = None) -> list[str]:
        self.asked.append(("describe", language))
        return self.truth

    def imagine(
        self, count: int, seed: int = 0, language: str | None = None
    ) -> tuple[Tensor, list[str]]:
        self.asked.append(("imagine", seed, language))
        half = count // 2
        return (
            render([SCENES[0]] * count, 32),
            [CAPTIONS[0]] * half + [CAPTIONS[1]] * (count - half),
        )


def test_three_directions_are_kept_apart() -> None:
    dataset = load_dataset("shapes", "test", 32, objects=(1,), size=8)
    oracle = Oracle(dataset.batch(range(8)).captions)
    report = cross_modal_coherence(oracle, dataset, n=8, seed=3, language="zh")
    # each is asked with the seed and in the language of the measurement
    assert sorted(oracle.asked) == [
        ("describe", "zh"),
        ("imagine", 3, "zh"),
        ("sample", 3),
    ]
    assert report.text_to_image.overall.value < 0.5
    assert report.image_to_text.overall.value == 1
    assert report.joint.overall.value == 0.5
    assert set(report.to_json()) == {"text_to_image", "image_to_text", "joint"}
    assert "n=8" in str(report) and "both from the prior" in str(report)
    for n in (0, 9):
        with pytest.raises(ValueError, match=r"n must lie in 1\.\.8"):
            cross_modal_coherence(oracle, dataset, n=n)


def test_a_name_is_right_to_the_letter_or_wrong() -> None:
    dataset = load_dataset("shapes", "test", 32, objects=(1,), size=4)
    truth = dataset.batch(range(4)).captions
    said = [truth[0], truth[1] + " too", truth[2].split(" ", 1)[1], truth[3]]
    oracle = Oracle(said)
    found = naming_accuracy(oracle, dataset, "en")
    assert oracle.asked == [("describe", "en")]
    assert (found.successes, found.n) == (2, 4)
    with pytest.raises(ValueError, match="language must be that of the data set's"):
        naming_accuracy(oracle, dataset, "zh")
