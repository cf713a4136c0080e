"""Captions of pictures: facts counted, words compared, and where words mislead."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from mmgen.data import load_dataset
from mmgen.data.shapes import Object, Scene, describe, facts, parse, sample_scenes
from mmgen.data.shapes.hard_negatives import WRONG_KINDS, nearly_of_kind
from mmgen.metrics.captions import (
    CiderD,
    bleu,
    caption_facts,
    distinct,
    paraphrases,
    preferred_wrong,
)

SAVED = json.loads((Path(__file__).parent / "caption_scores.json").read_text("utf-8"))
STAR = Scene((Object.at("star", "red", "large", "center"),), "white")
THINGS = (
    Object("star", "red", "small", 0.2, 0.5),
    Object("heart", "blue", "large", 0.8, 0.5),
)
PAIR = Scene(THINGS, "beige", ("colour", "relation"))


def test_facts_are_counted():
    captions = [
        "a red star",
        "a small star",  # one wrong, the colour missing
        "a red star above a blue heart",  # one wrong
        "star star",
    ]
    report = caption_facts(captions, [STAR, STAR, PAIR, PAIR])
    assert report.verdicts == [True, False, False, False]
    assert str(report.overall) == str(report.complete)
    assert report.overall.successes == 1 and report.unparsed == 1
    shares = {k: (p.successes, p.n) for k, p in report.facts.items()}
    assert shares == {
        "count": (3, 3),
        "shape": (4, 4),
        "colour": (3, 3),
        "size": (0, 1),
        "relation": (0, 1),
    }
    assert report.hallucinated is not None
    assert (report.hallucinated.successes, report.hallucinated.n) == (2, 12)
    # all six of the caption that says nothing, and a colour
    assert (report.missing.successes, report.missing.n) == (7, 18)
    assert report.stated == 4.0
    assert report.reward == (1 + 2 / 4 + 5 / 7 + 0) / 4
    stored = json.loads(json.dumps(report.to_json()))
    assert stored["facts"]["shape"]["value"] == 1.0 and "verdicts" not in stored
    assert "hallucinated 0.167" in str(report)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_data_speaks_the_truth_and_wrong_captions_do_not(language):
    scenes = sample_scenes(200, seed=2)
    captions = [describe(scene, language, i) for i, scene in enumerate(scenes)]
    report = caption_facts(captions, scenes, language)
    assert report.complete.value == report.overall.value == report.reward == 1
    assert report.hallucinated is not None and report.hallucinated.value == 0
    wrong = [
        describe(nearly_of_kind(facts(scene), i % 7 / 7, 0.5)[1], language, i)
        for i, scene in enumerate(scenes)
    ]
    report = caption_facts(wrong, scenes)
    assert report.overall.value == 0 and report.missing.value == 0


def test_another_language_is_not_understood():
    captions = ["a red star", "一个红色的五角星"]
    assert caption_facts(captions, [STAR] * 2).overall.successes == 2
    report = caption_facts(captions, [STAR] * 2, "zh")
    assert report.verdicts == [False, True] and report.unparsed == 1


def test_nothing_sensible_is_a_result():
    report = caption_facts(["of of", ""], [STAR, PAIR])
    assert report.overall.value == 0 and report.missing.value == 1
    assert report.hallucinated is None and report.facts == {} and report.stated == 0
    assert "hallucinated" not in report.to_json() and "none" in str(report)


def test_distinct_captions_of_a_picture():
    assert distinct([["a star", "A star.", "one star"], ["a", "b", "c"]]) == 2.5
    assert distinct([["一个星", "一 个星", "红星"]]) == 2
    assert distinct([["same"] * 10] * 3) == 1
    for bad in ([], [[]], [["a"], ["a", "b"]]):
        with pytest.raises(ValueError, match="captions must be as many of each"):
            distinct(bad)


def test_paraphrases_say_the_same():
    scenes = [STAR, PAIR, *sample_scenes(20, seed=1)]
    for scene in scenes:
        for language in ("en", "zh"):
            found = paraphrases(scene, language, 5, seed=3)
            assert len(set(found)) == len(found) == 5
            assert {parse(text) for text in found} == {facts(scene)}
            assert found == paraphrases(scene, language, 5, seed=3)
            assert found != paraphrases(scene, language, 5, seed=4)
    with pytest.raises(ValueError, match="count must be at least 1 caption"):
        paraphrases(STAR, "en", 0)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_scores_are_those_of_the_authors_code(language):
    saved = SAVED[language]
    captions, references = saved["captions"], saved["references"]
    assert CiderD(references).scores(captions) == pytest.approx(
        saved["cider_d"], abs=2e-6
    )
    assert bleu(captions, references) == pytest.approx(saved["bleu_4"], abs=2e-6)


def test_cider_by_hand():
    scorer = CiderD([["a red star here"], ["one blue heart there"]])
    assert scorer.scores(["a red star here"] * 2) == [pytest.approx(10), 0]
    # three, two and one of the four, three and two runs; all weigh ln 2
    (score, _) = scorer.scores(["a red star", ""])
    same = (3 / math.sqrt(3 * 4) + 2 / math.sqrt(2 * 3) + 1 / math.sqrt(1 * 2)) / 4
    assert score == pytest.approx(10 * same * math.exp(-1 / 72))
    # what every picture has in a reference weighs nothing
    scorer = CiderD([["a star"], ["a heart"]])
    assert scorer.scores(["a", "a heart"]) == [0, pytest.approx(5)]
    # repeating a word is clipped at how often the reference has it
    once, _ = scorer.scores(["star", "x"])
    often, _ = scorer.scores(["star star star", "x"])
    assert often < once


def test_bleu_counts_characters_of_chinese_as_words():
    assert bleu(["一个红星"], [["一个红星"]]) == 1
    assert bleu(["一个红星"], [["一个蓝星"]]) == 0  # no run of four
    assert bleu(["A red star."], [["a blue star", "a red heart"]]) == 0
    assert bleu(["a big red star"], [["a  Big red star!"]]) == 1


def test_bleu_by_hand():
    # 4 of 5, 3 of 4, 2 of 3 and 1 of 2 runs; lengths are equal
    caption, reference = "a big red star here", "a big red star there"
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert bleu([caption], [[reference]]) == pytest.approx(expected)
    # of a corpus runs are pooled, and so are lengths
    both = bleu([caption, "a star"], [[reference], ["a red star", "a star"]])
    assert both == pytest.approx((6 / 7 * 4 / 5 * 2 / 3 * 1 / 2) ** 0.25)
    # what is shorter than its nearest reference pays exp(1 - r / c)
    short = bleu(["a big red star"], [[reference, "a big red star far over there"]])
    assert short == pytest.approx(math.exp(1 - 5 / 4))
    # of two equally near references the shorter counts
    assert bleu(["a big red star"], [["a big red", "so a big red star"]]) == 1
    assert bleu([""], [["a star"]]) == 0


def test_where_words_mislead():
    data = load_dataset("shapes", "test", 32, "en", size=300)
    own, echoing = preferred_wrong(data, 300), preferred_wrong(data, 300, echoing=True)
    assert own.right == echoing.right > echoing.wrong > own.wrong > 0
    assert own.overall.n == 300 == sum(share.n for share in own.kinds.values())
    assert set(own.kinds) <= set(WRONG_KINDS) and len(own.kinds) >= 7
    # a wrong caption in a reference's words is preferred more often
    assert 0.1 < own.overall.value < 0.3 < echoing.overall.value < 0.5
    stored = json.loads(json.dumps(own.to_json()))
    assert stored["overall"]["n"] == 300 and stored["kinds"].keys() == own.kinds.keys()
    again, other = (preferred_wrong(data, 20, seed=seed) for seed in (0, 1))
    assert preferred_wrong(data, 20) == again != other


def test_bad_inputs():
    for captions in (["a star"], [], "as"):
        with pytest.raises(ValueError, match="captions must be a list of at least one"):
            caption_facts(captions, [STAR, STAR])
    with pytest.raises(ValueError, match="captions must be a list of at least one"):
        caption_facts([], [])
    with pytest.raises(ValueError, match="at least two pictures"):
        CiderD([["a star"]])
    for references in ([["a star"], []], [["a star"], "a star"]):
        with pytest.raises(ValueError, match="list of captions for each picture"):
            CiderD(references)
        with pytest.raises(ValueError, match="list of captions for each picture"):
            bleu(["a star", "a star"], references)
    with pytest.raises(ValueError, match="1 captions and 2 pictures"):
        CiderD([["a star"], ["a star"]]).scores(["a star"])
    data = load_dataset("shapes", "test", 32, "en", size=10)
    for count in (1, 11):
        with pytest.raises(ValueError, match=r"count must lie in 2\.\.10"):
            preferred_wrong(data, count)
    with pytest.raises(ValueError, match="references must be at least 1"):
        preferred_wrong(data, 5, references=0)
