"""Semantic accuracy: right is right, and wrong is wrong in what was changed."""

import json

import pytest
import torch

from mmgen.data.shapes import (
    ATTRIBUTES,
    NOT_SHOWN,
    TASKS,
    Object,
    Scene,
    SceneTable,
    describe,
    facts,
    render,
    sample_scenes,
)
from mmgen.data.shapes.evidence import LOST
from mmgen.data.shapes.parsing import parse
from mmgen.data.shapes.verdict import judge
from mmgen.metrics import mean_colour_accuracy, semantic_accuracy


@pytest.fixture(scope="module")
def scenes() -> SceneTable:
    return sample_scenes(240, seed=61)


@pytest.fixture(scope="module")
def captions(scenes) -> list[str]:
    return [describe(s, ("en", "zh")[i % 2], i) for i, s in enumerate(scenes)]


def test_true_pictures_are_right_in_everything(scenes, captions):
    report = semantic_accuracy(render(scenes, 64), captions)
    assert report.overall.successes == report.overall.n == 240
    assert list(report.attributes) == list(ATTRIBUTES)
    assert list(report.tasks) == list(TASKS)
    for proportion in (*report.attributes.values(), *report.tasks.values()):
        assert proportion.successes == proportion.n
    assert sum(task.n for task in report.tasks.values()) == 240
    for name, attribute in report.attributes.items():
        assert attribute.n == sum(name in verdict for verdict in report.verdicts)
    assert report.empty == 0 and report.confidence > 0.97
    assert report.reasons == [{}] * 240 and report.reason_counts == {}


def test_pictures_of_other_captions_are_wrong(scenes, captions):
    order = torch.arange(240).roll(1)
    report = semantic_accuracy(render(scenes, 64)[order], captions)
    # decided from the scenes themselves, without a look at a picture
    shown = [scenes[i] for i in order.tolist()]
    verdicts = [judge(parse(c), s) for c, s in zip(captions, shown, strict=True)]
    right = [all(verdict.values()) for verdict in verdicts]
    assert report.overall.successes == sum(right) < 12
    assert [all(verdict.values()) for verdict in report.verdicts] == right
    assert all(proportion.value < 0.7 for proportion in report.attributes.values())


def swapped(scene: Scene, name: str) -> Scene:
    """The scene with one attribute of all objects changed."""
    new = {
        "shape": {"star": "heart"}.get,
        "colour": {"red": "green"}.get,
        "size": {"large": "small"}.get,
    }[name]
    fields = ("shape", "colour", "size", "x", "y")
    things = []
    for thing in scene.objects:
        values = {field: getattr(thing, field) for field in fields}
        values[name] = new(values[name], values[name])
        things.append(Object(**values))
    return Scene(tuple(things), scene.background)


@pytest.mark.parametrize("name", ["shape", "colour", "size"])
def test_a_changed_attribute_lowers_that_attribute_alone(name):
    thing = Object.at("star", "red", "large", "upper right")
    scene = Scene((thing,), "gray", ("colour", "size", "position", "background"))
    captions = [describe(scene, "en", i) for i in range(8)]
    pictures = render([swapped(scene, name)] * 3 + [scene] * 5, 64)
    report = semantic_accuracy(pictures, captions)
    assert report.overall.successes == 5
    for attribute, proportion in report.attributes.items():
        assert proportion.successes == (5 if attribute == name else 8), attribute
    assert set(report.tasks) == {"single object"}


def test_a_moved_object_and_a_missing_one_are_told_apart():
    star = Object.at("star", "red", "small", "upper left")
    circle = Object.at("circle", "blue", "small", "upper right")
    caption = "a red star left of a blue circle"
    right = Scene((star, circle))
    mirrored = Scene(
        (
            Object.at("star", "red", "small", "upper right"),
            Object.at("circle", "blue", "small", "upper left"),
        )
    )
    lonely = Scene((star,))
    report = semantic_accuracy(render([right, mirrored, lonely], 64), [caption] * 3)
    wrong = [[name for name, ok in v.items() if not ok] for v in report.verdicts]
    assert wrong == [[], ["relation"], ["count", "shape", "colour", "relation"]]


def test_empty_pictures_and_noise_are_wrong_and_counted():
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1
    empty = render([Scene(())] * 3, 64)
    report = semantic_accuracy(torch.cat([noise, empty]), ["a star"] * 5)
    assert report.empty >= 3 and report.overall.successes == 0
    assert all(proportion.successes == 0 for proportion in report.attributes.values())
    assert all(
        found == dict.fromkeys(("count", "shape"), LOST) for found in report.reasons[:2]
    )
    assert report.reasons[2:] == [{"count": NOT_SHOWN, "shape": NOT_SHOWN}] * 3


def test_the_report_is_json_and_a_table(scenes, captions):
    report = semantic_accuracy(render(scenes[:20], 32), captions[:20])
    data = json.loads(json.dumps(report.to_json()))
    assert data["overall"] == report.overall.to_json()
    assert set(data["overall"]) == {"value", "low", "high", "successes", "n"}
    assert data["overall"]["low"] < 1 == data["overall"]["high"]
    text = str(report)
    assert "everything" in text and "n=20" in text
    for name in (*report.attributes, *report.tasks):
        assert name in text


@pytest.mark.parametrize(
    ("count", "captions", "match"),
    [
        (2, ["a star"], "got 1 captions for 2 pictures"),
        (0, [], "at least one picture"),
        (1, ["a dog"], "does not know, 'dog'"),
        (1, [""], "caption must not be empty"),
    ],
)
def test_what_cannot_be_judged_is_refused(count, captions, match):
    with pytest.raises(ValueError, match=match):
        semantic_accuracy(torch.zeros(count, 3, 64, 64), captions)


def test_an_unknown_metric_is_an_error_that_lists_the_known():
    import mmgen.metrics

    with pytest.raises(AttributeError, match=r"has no 'clip_score'; it has .*semantic"):
        mmgen.metrics.clip_score  # noqa: B018


@pytest.fixture(scope="module")
def single() -> SceneTable:
    return sample_scenes(200, seed=7, objects=(1,), kinds=("single",))


def test_mean_colours_of_true_pictures_are_those_of_their_captions(single):
    captions = [describe(s, "en", i) for i, s in enumerate(single)]
    images = render(single, 32)
    assert mean_colour_accuracy(images, captions).value == 1
    others = captions[100:] + captions[:100]
    agree = [
        a == b
        for a, b in zip(
            [facts(s).objects[0].colour for s in single],
            [facts(s).objects[0].colour for s in (*single[100:], *single[:100])],
            strict=True,
        )
    ]
    assert mean_colour_accuracy(images, others).successes == sum(agree)


def test_speckled_objects_keep_their_mean_colour(single):
    captions = [describe(s, "en", i) for i, s in enumerate(single)]
    images = render(single, 32)
    speckle = 0.5 * torch.randn(
        images.shape, generator=torch.Generator().manual_seed(0)
    )
    ground = images.flatten(2).median(dim=2).values[:, :, None, None]
    of_object = (images - ground).abs().amax(dim=1, keepdim=True) > 0.3
    speckled = (images + speckle * of_object).clamp(-1, 1)
    assert mean_colour_accuracy(speckled, captions).value > 0.9
    assert semantic_accuracy(speckled, captions).attributes["colour"].value < 0.5


def test_mean_colours_are_of_one_object_and_of_captions_that_name_one(single):
    images = render(single[:1], 32)
    for captions, why in (
        (["a red circle"] * 2, "one for each of 1"),
        (["a red circle above a blue star"], "one kind of object"),
        (["a circle"], "name a colour"),
    ):
        with pytest.raises(ValueError, match=why):
            mean_colour_accuracy(images, captions)
