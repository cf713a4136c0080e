"""Questions about scenes: what they ask, what they know, and what has no answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmgen.data import load_dataset
from mmgen.data.examination import Examination
from mmgen.data.shapes import HELD_OUT, SPLITS, Object, Scene, sample_scenes
from mmgen.data.shapes.language import MAX_TOKENS
from mmgen.data.shapes.questions import (
    ANSWERS,
    QUESTIONS,
    Name,
    Question,
    answer,
    answer_in,
    ask,
    examination,
)
from mmgen.data.shapes.world import SHAPES
from mmgen.data.vocabulary import Vocabulary, tokenize
from mmgen.interfaces import Examines

RED = Object("star", "red", "small", 0.25, 0.5)
BLUE = Object("heart", "blue", "large", 0.75, 0.5)
PAIR = Scene((RED, BLUE), "beige")


def asked(count: int, seed: int = 0, **kwargs) -> list[tuple[Scene, Question]]:
    chances = np.random.default_rng(seed).random((count, 3)).tolist()
    scenes = sample_scenes(count, seed=seed, **kwargs)
    return [
        (scene, ask(scene, ("en", "zh")[i % 2], *chance))
        for i, (scene, chance) in enumerate(zip(scenes, chances, strict=True))
    ]


def test_the_scene_decides_the_answer():
    for scene, question in asked(2000):
        told = question.answer
        assert told in ANSWERS and answer(question, scene) == told
        things = [
            next(o for o in scene.objects if name.suits(o))
            for name in question.names
            if question.kind != "number"
        ]
        if question.kind in ("shape", "colour", "size", "position"):
            assert told == getattr(things[0], question.kind)
            # what is asked for is not told in the question
            assert getattr(question.names[0], question.kind, None) is None
        if question.kind == "background":
            assert told == scene.background
        if question.kind == "number":
            (name,) = question.names
            assert told == str(sum(map(name.suits, scene.objects)))
        if question.kind == "relation":
            first, second = things
            dx, dy = second.x - first.x, second.y - first.y
            along = {"left of": dx, "right of": -dx, "above": dy, "below": -dy}
            # clear: along the longer offset, or half of it at most the other way
            if told == "yes":
                assert along[question.relation] == max(abs(dx), abs(dy))
            else:
                assert along[question.relation] <= max(abs(dx), abs(dy)) / 2


def test_all_kinds_and_answers_occur_and_none_is_rare():
    found = asked(6000, objects=(1, 2))
    kinds = Counter(question.kind for _, question in found)
    assert set(kinds) == set(QUESTIONS) and min(kinds.values()) > 200
    told = Counter(question.answer for _, question in found)
    # three and four are never seen in pairs
    assert set(ANSWERS) - set(told) == {"3", "4"}
    yes, no = told["yes"], told["no"]
    assert abs(yes - no) < 4 * (yes + no) ** 0.5
    more = Counter(q.answer for _, q in asked(1000, objects=(3, 4)))
    assert more["3"] and more["4"]


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_every_word_of_every_question_is_known(language: str):
    """Else a network would read <unk> for it; and none is longer than captions are."""
    data = load_dataset("shapes", "train", 16, language=language, size=4)
    told = data.examination
    assert told is not None and told == examination(language)
    words = Vocabulary([*data.vocabulary.tokens, *told.words], language)
    kept = {"en": ("en",), "zh": ("zh",), "both": ("en", "zh")}[language]
    used: set[str] = set()
    for spoken in kept:
        chances = np.random.default_rng(0).random((3000, 3)).tolist()
        for (scene, _), chance in zip(asked(3000), chances, strict=True):
            text = ask(scene, spoken, *chance).text
            assert words.unknown(text) == []
            assert len(tokenize(text)) <= MAX_TOKENS[language]
            used.update(tokenize(text))
    assert set(told.words) <= used  # and no word is there for nothing


def test_pairs_that_are_held_out_stay_held_out():
    for split in SPLITS:
        named = {
            (name.colour, name.shape)
            for _, question in asked(3000, split=split)
            for name in question.names
        }
        assert bool(named & HELD_OUT) == (split == "compositional")


def test_a_question_may_have_no_answer_in_another_scene():
    def made(kind, *names, relation=None):
        return Question(kind, names, relation, "", "")

    colour = made("colour", Name(shape="star"))
    assert answer(colour, PAIR) == "red"
    assert answer(colour, Scene((BLUE,))) is None  # no star
    other = Object("star", "blue", "large", 0.75, 0.5)
    assert answer(colour, Scene((RED, other))) is None  # two
    assert answer(made("colour", Name("star", size="large")), Scene((RED, other))) == (
        "blue"
    )
    # the place of one of several is nobody's corner
    place = made("position", Name("star"))
    assert answer(place, PAIR) is None
    assert answer(place, Scene((Object.at("star", "red", "small", "center"),))) == (
        "center"
    )
    left = made("relation", Name("star"), Name("heart"), relation="left of")
    above = made("relation", Name("star"), Name("heart"), relation="above")
    assert answer(left, PAIR) == "yes" and answer(above, PAIR) == "no"
    assert answer(left, Scene((BLUE, RED))) == "yes"  # in whatever order
    slanted = Scene((RED, Object("heart", "blue", "large", 0.55, 0.85)))
    assert answer(above, slanted) == "yes"
    assert answer(left, slanted) is None  # between the directions
    assert answer(
        made("relation", Name("star"), Name("star"), relation="above"), PAIR
    ) is (None)
    assert answer(made("number", Name(colour="red")), PAIR) == "1"
    assert answer(made("number", Name(shape="cross")), PAIR) == "0"


def test_answers_in_both_languages_are_told_apart():
    assert answer_in("light blue", "en") == "light blue"
    chinese = [answer_in(told, "zh") for told in ANSWERS]
    assert len(set(chinese)) == len(ANSWERS) == len(set(ANSWERS))
    assert answer_in("blue", "zh") == "蓝色"
    with pytest.raises(ValueError, match="answer"):
        answer_in("maybe", "en")
    with pytest.raises(ValueError, match="language"):
        answer_in("yes", "fr")


def test_what_cannot_be_asked():
    with pytest.raises(ValueError, match="language"):
        ask(PAIR, "fr", 0, 0, 0)
    with pytest.raises(ValueError, match="hold an object"):
        ask(Scene(()), "en", 0, 0, 0)


def test_alike_objects_have_no_name_of_their_own():
    """Two small red stars: only number and background are left to ask."""
    twins = Scene((RED, Object("star", "red", "small", 0.75, 0.5)))
    chances = np.random.default_rng(0).random((200, 3)).tolist()
    kinds = Counter(ask(twins, "en", *chance).kind for chance in chances)
    assert set(kinds) == {"number", "background"}
    assert min(kinds.values()) > 60  # they share what the others leave


def test_a_batch_is_asked_in_the_language_of_its_captions():
    data = load_dataset("shapes", "train", 16, language="both", size=40)
    assert isinstance(data.alternatives, Examines)
    batch = data.batch(range(40))
    chances = np.random.default_rng(0).random((40, 3)).tolist()
    questions = data.alternatives.questions(batch, chances)
    for question, scene, caption in zip(
        questions, batch.scenes, batch.captions, strict=True
    ):
        assert question.text.isascii() == caption.isascii()
        assert answer(question, scene) == question.answer


def test_an_examination_as_json():
    told = examination("both")
    assert Examination.from_json(told.to_json()) == told
    assert told.verdicts[0] == "true" and len(told.verdicts) == len(told.wrong) + 1
    assert set(SHAPES) <= set(told.answers)
