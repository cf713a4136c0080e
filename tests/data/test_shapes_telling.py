"""What captions tell of scenes: every fact decided, nothing earned by saying less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmgen.data.shapes import (
    COLOURS,
    Object,
    Scene,
    describe,
    facts,
    judge,
    parse,
    sample_scenes,
)
from mmgen.data.shapes.hard_negatives import wrong_in_one_fact
from mmgen.data.shapes.telling import FactCounts, told

STAR = Object("star", "red", "small", 0.2, 0.5)
HEART = Object("heart", "blue", "large", 0.8, 0.5)
ONE = Scene((Object.at("star", "red", "small", "upper left"),), "white")
PAIR = Scene((STAR, HEART), "beige", ("colour", "relation", "background"))
THREE = Scene(
    (
        Object("circle", "green", "small", 0.2, 0.2),
        Object("circle", "green", "small", 0.8, 0.2),
        Object("cross", "pink", "large", 0.5, 0.8),
    ),
    "white",
)


def counts(caption: str, scene: Scene) -> dict[str, tuple[int, ...]]:
    """Stated, right, asked, told and missing facts of each kind."""
    return {
        kind: (c.stated, c.right, c.asked, c.told, c.missing)
        for kind, c in told(caption, scene).kinds.items()
    }


RIGHT, OPEN, WRONG = (1, 1, 1, 1, 0), (0, 0, 1, 0, 1), (1, 0, 1, 0, 0)
MORE, UNTRUE = (1, 1, 0, 0, 0), (1, 0, 0, 0, 0)  # not asked


@pytest.mark.parametrize(
    ("english", "chinese", "expected"),
    [
        ("a red star", "一个红色的五角星", {"colour": RIGHT}),
        ("a star", "一个五角星", {"colour": OPEN}),
        ("a blue star", "一个蓝色的五角星", {"colour": WRONG}),
        ("a small red star", "一个小的红色五角星", {"colour": RIGHT, "size": MORE}),
        ("a large red star", "一个大的红色五角星",
         {"colour": RIGHT, "size": UNTRUE}),
        ("a red heart", "一个红色的爱心", {"shape": WRONG, "colour": RIGHT}),
        ("a red star in the upper left", "左上角有一个红色的五角星",
         {"colour": RIGHT, "position": MORE}),
        ("two red stars", "两个红色的五角星", {"count": WRONG, "colour": RIGHT}),
        ("a red star on a gray background", "灰色背景上有一个红色的五角星",
         {"colour": RIGHT, "background": UNTRUE}),
        (
            "a red star and a blue heart",  # which is not there, nor its colour
            "一个红色的五角星和一个蓝色的爱心",
            {"count": WRONG, "shape": (2, 1, 1, 1, 0), "colour": (2, 1, 1, 1, 0)},
        ),
    ],
)  # fmt: skip
def test_one_star(english, chinese, expected):
    expected = {"count": RIGHT, "shape": RIGHT, **expected}
    for caption in (english, chinese):
        assert counts(caption, ONE) == expected
        assert told(caption, ONE).parsed


@pytest.mark.parametrize(
    ("english", "chinese", "reward"),
    [
        # asked: the number, two shapes, two colours, a relation, the background
        ("a red star left of a blue heart on a beige background",
         "米色背景上，红色的五角星在蓝色的爱心的左边", 1),
        ("a blue heart right of a red star on a beige background",
         "米色背景上，蓝色的爱心在红色的五角星的右边", 1),
        ("a small red star left of a large blue heart on a beige background",
         "米色背景上，小的红色五角星在大的蓝色爱心的左边", 1),
        ("a red star left of a blue heart", "红色的五角星在蓝色的爱心的左边", 6 / 7),
        ("a red star and a blue heart", "一个红色的五角星和一个蓝色的爱心", 5 / 7),
        ("a star and a heart", "一个五角星和一个爱心", 3 / 7),
        ("a star left of a heart", "五角星在爱心的左边", 4 / 7),
        ("a star right of a heart", "五角星在爱心的右边", 3 / 8),
        ("a blue star and a red heart", "一个蓝色的五角星和一个红色的爱心", 3 / 9),
        ("a red star", "一个红色的五角星", 2 / 8),
        ("a star", "一个五角星", 1 / 8),
        ("two stars", "两个五角星", 2 / 8),
        ("nothing at all", "什么都没有", 0),
    ],
)  # fmt: skip
def test_the_reward_of_a_pair(english, chinese, reward):
    for caption in (english, chinese):
        assert told(caption, PAIR).reward == reward, caption


def test_alike_objects_are_one_fact_and_their_number_another():
    caption = "two green circles and a pink cross"
    two = (2, 2, 2, 2, 0)
    assert counts(caption, THREE) == {"count": RIGHT, "shape": two, "colour": two}
    # the number is that of all objects: one circle more is one fact wrong
    for n in ("three green circles", "a green circle"):
        found = told(f"{n} and a pink cross", THREE)
        assert counts(f"{n} and a pink cross", THREE)["count"] == WRONG
        assert found.total == FactCounts(stated=5, right=4, asked=5, told=4, missing=0)
    # a colour of one of two does not tell that of the other
    found = told("a green circle, a circle and a pink cross", THREE)
    assert found.right and not found.complete
    assert found.kinds["colour"] == FactCounts(2, 2, 2, 1, 1)
    # who tells of no circle tells neither its shape nor its colour
    assert counts("a pink cross", THREE) == {
        "count": WRONG,
        "shape": (1, 1, 2, 1, 1),
        "colour": (1, 1, 2, 1, 1),
    }


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_own_caption_is_complete(language):
    for i, scene in enumerate(sample_scenes(2000, seed=5)):
        found = told(describe(scene, language, i), scene, language)
        assert found.complete and found.right and found.reward == 1
        assert found.total.stated == found.total.asked == found.total.told


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_wrong_is_found_and_nothing_else(language):
    """Of 500 scenes, every kind of fact wrong in turn."""
    seen = set()
    for i, scene in enumerate(sample_scenes(500, seed=7, split="test")):
        for kind, options in wrong_in_one_fact(facts(scene)).items():
            found = told(describe(options[i % len(options)], language, i), scene)
            wrong = {name for name, c in found.kinds.items() if c.wrong}
            assert found.parsed and not found.right and found.reward < 1
            assert found.total.missing == 0
            if kind.endswith("exchanged"):  # which fact to call wrong is a choice
                assert len(wrong) == 1 and wrong <= {"shape", "colour", "relation"}
                assert found.total.wrong in (1, 2)
            else:
                assert wrong == {"count" if kind == "number" else kind}
                assert found.total.wrong == 1
            seen.add(kind)
    assert len(seen) == 9


def test_it_agrees_with_the_verdict():
    """Right as a whole, and by kinds, as ``judge`` finds, for captions of any scene."""
    scenes = list(sample_scenes(600, seed=3))
    others = np.random.default_rng(0).integers(0, 600, 600)
    right = 0
    for i, other in enumerate(others):
        caption = describe(scenes[other], "en", i)
        found, verdict = told(caption, scenes[i]), judge(parse(caption), scenes[i])
        assert found.right == all(verdict.values())
        assert {k for k, c in found.kinds.items() if c.stated} == set(verdict)
        for kind, met in verdict.items():
            # one group that is not there makes every kind wrong for ``judge``
            assert not met or found.kinds[kind].wrong == 0
        right += found.right
    assert 0 < right < 60


def test_saying_less_and_guessing_earn_less():
    for i, scene in enumerate(sample_scenes(300, seed=11, split="validation")):
        said = scene.mentions
        for mention in said:
            less = replace(scene, mentions=tuple(m for m in said if m != mention))
            if len(facts(less).objects) == 1 and "relation" in less.mentions:
                continue  # of two alike, nobody tells which is on the left
            found = told(describe(less, "en", i), scene)
            assert found.right and not found.complete and found.reward < 1
        # many things, for one to be right
        shape = scene.objects[0].shape
        listed = " and ".join(f"a {colour} {shape}" for colour in COLOURS[:4])
        if facts(scene).count < 4:
            assert told(listed, scene).reward <= 0.5
    # more than is asked, all of it true, is as good; true in place of asked is not
    full = "a small red star in the upper left on a white background"
    assert told(full, ONE).complete and told(full, ONE).reward == 1
    assert told("a small star in the upper left", ONE).reward == 2 / 3
    # twice the same is two objects
    assert told("a red star and a red star", ONE).reward == 2 / 4


def test_what_cannot_be_understood_states_nothing():
    for text in ("", "  ", "red red of", "<unk> star", "a star and", "红红的"):
        found = told(text, PAIR)
        assert not found.parsed and not found.right and found.reward == 0
        assert found.total == FactCounts(asked=7, missing=7)
    # nor what is written in another language than was asked for
    assert told("a red star", ONE, "en").complete
    assert not told("a red star", ONE, "zh").parsed
    assert told("一个红色的五角星", ONE, "zh").complete
    assert not told("一个红色的五角星", ONE, "en").parsed


def test_bad_inputs():
    with pytest.raises(ValueError, match="scene must hold an object"):
        told("a red star", Scene((), "white"))
    crowd = tuple(Object("star", "red", "small", x / 5, 0.5) for x in range(5))
    with pytest.raises(ValueError, match="at most 4 objects"):
        told("a red star", Scene(crowd, "white"))
    with pytest.raises(ValueError, match="language must be one of"):
        told("a red star", ONE, "fr")
