"""The benchmark that asks all families the same, at tiny size."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmarks import leaderboard, timing
from benchmarks.leaderboard import EVERY, FIRST, QUESTIONS, SHOWN
from mmgen.data.shapes import KINDS, language_of, parse
from mmgen.metrics.coverage import ModeCoverage
from mmgen.metrics.interval import Proportion, wilson
from mmgen.pretrained import available, card

COUNT = 4
ALL = {
    "language": "both",
    "options": {"objects": [1, 2, 3, 4], "kinds": list(KINDS)},
}


class Painter:
    """Draws English captions as the data sets do, and nothing for Chinese ones."""

    def __init__(self) -> None:
        self.pictures: dict[str, Tensor] = {}
        for question, language in EVERY:
            batch = question.captions(language, COUNT).batch(range(COUNT))
            self.pictures |= dict(zip(batch.captions, batch.images, strict=True))

    def sample(
        self, captions: Sequence[str], seed: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        return torch.stack(
            [
                self.pictures[caption]
                if language_of(caption) == "en"
                else torch.ones(3, 64, 64)
                for caption in captions
            ]
        )


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter()


def test_models_are_found_by_what_they_do() -> None:
    found = leaderboard.models()
    assert {"cgan-shapes64", "cvae-shapes64", "ar-shapes64"} <= set(found)
    # matches, does not read its captions, draws 32 pixels, draws emoji
    others = (
        "damsm-shapes64",
        "vae-shapes64",
        "attngan-paper-shapes32",
        "cgan-emoji64",
    )
    assert set(others) <= set(available())
    assert not set(others) & set(found)


def test_a_question_is_asked_only_of_who_was_trained_for_it() -> None:
    options = {"objects": [1], "kinds": ["single", "colours", "two"]}
    data = {"language": "en", "options": options}
    asked = {(q.name, language) for q, language in EVERY if q.trained(data, language)}
    assert asked == {("one object", "en"), ("never seen, one object", "en")}
    assert all(q.trained(ALL, language) for q, language in EVERY)
    options["kinds"] = ["single"]
    assert not any(q.trained(data, language) for q, language in EVERY)


def test_captions_are_of_the_question(painter: Painter) -> None:
    for question, language in EVERY:
        captions = question.captions(language, 20).batch(range(20)).captions
        assert {parse(caption).count for caption in captions} == {question.objects}
        assert {language_of(caption) for caption in captions} == {language}
        if question.kinds == ("counting",):
            assert {parse(caption).task for caption in captions} == {"counting"}


def test_languages_have_scenes_of_their_own() -> None:
    question = QUESTIONS[0]
    english, chinese = (question.captions(each, 50).scenes for each in ("en", "zh"))
    assert (english.codes != chinese.codes).any(axis=(1, 2)).mean() > 0.9


def test_right_pictures_are_counted(painter: Painter) -> None:
    found = list(leaderboard.answers(painter, ALL, COUNT))
    assert [(question, language) for question, language, *_ in found] == list(EVERY)
    assert all(len(images) == SHOWN for *_, images in found)
    report = leaderboard.accuracy(each[:3] for each in found)
    for question in QUESTIONS:
        share = report["questions"][question.name]
        assert (share["successes"], share["n"]) == (COUNT, 2 * COUNT)
        assert report["languages"][f"{question.name}, en"]["value"] == 1
        assert report["languages"][f"{question.name}, zh"]["value"] == 0
    known = sum(question.known for question in QUESTIONS)
    tasks = report["tasks"].values()
    assert sum(share["n"] for share in tasks) == known * 2 * COUNT
    assert "several groups" not in report["tasks"]


def test_no_mean_of_tasks_where_one_was_not_asked(painter: Painter) -> None:
    data = {**ALL, "options": {**ALL["options"], "objects": [1]}}
    found = leaderboard.answers(painter, data, COUNT)
    report = leaderboard.accuracy(each[:3] for each in found)
    assert "six tasks" not in report
    assert set(report["questions"]) == {"one object", "never seen, one object"}


class TestAveraged:
    def test_one_share_keeps_its_interval(self) -> None:
        found = leaderboard.averaged([Proportion(7, 20)])
        assert (found["low"], found["high"]) == pytest.approx(wilson(7, 20))
        assert (found["value"], found["n"]) == (0.35, 20)

    def test_every_task_counts_alike(self) -> None:
        found = leaderboard.averaged([Proportion(0, 10), Proportion(90, 90)])
        assert found["value"] == 0.5
        assert 0 < found["low"] < 0.5 < found["high"] < 1

    def test_the_interval_holds_the_mean_as_often_as_it_says(self) -> None:
        generator, truth, n = np.random.default_rng(0), (0.2, 0.6, 0.95), 24
        mean, held, trials = sum(truth) / 3, 0, 2000
        for row in generator.binomial(n, truth, (trials, 3)):
            found = leaderboard.averaged([Proportion(int(k), n) for k in row])
            held += found["low"] <= mean <= found["high"]
        assert 0.93 < held / trials < 0.975


def coverage_of(number: float) -> ModeCoverage:
    names = ("position", "size", "background")
    return ModeCoverage(
        dict.fromkeys(names, number),
        dict.fromkeys(names, 0.1),
        dict.fromkeys(names, 3),
        1.0,
        8,
    )


def test_variety_runs_from_none_to_the_worlds() -> None:
    world = coverage_of(3.0)
    for number, share in ((1.0, 0.0), (2.0, 0.5), (3.0, 1.0)):
        found = leaderboard.share_of_world(coverage_of(number), world)
        assert found["value"] == pytest.approx(share)
        assert found["error"] == pytest.approx(0.05 / math.sqrt(3))
    found = leaderboard.share_of_world(coverage_of(math.nan), world)
    assert found["value"] is None


def test_drawing_is_timed_in_turns_with_fixed_work(painter: Painter) -> None:
    at_once = max(leaderboard.AT_ONCE)
    for language in ("en", "zh"):
        batch = QUESTIONS[0].captions(language, at_once).batch(range(at_once))
        painter.pictures |= dict(zip(batch.captions, batch.images, strict=True))
    names = {"one": "en", "two": "zh"}
    found = leaderboard.speeds(dict.fromkeys(names, painter), names, 1)
    assert set(found) == set(names)
    for speed in found.values():
        assert set(speed["works"]) == {str(count) for count in leaderboard.AT_ONCE}
        assert min(*speed["works"].values(), speed["work_seconds"]) > 0


def row_of(work: float, works: float) -> dict:
    return {"speed": {"works": {"1": works}, "work_seconds": work}}


def test_rows_are_kept_replaced_and_dropped() -> None:
    known = {"old": row_of(1.0, 1.0), "kept": row_of(1.0, 2.0), "gone": row_of(9.0, 1)}
    found = leaderboard.merged(known, {"old": row_of(3.0, 4.0)}, ["kept", "old", "new"])
    assert list(found) == ["kept", "old"]
    # of a machine that took 1 s and one that took 3 s: both on a clock between them
    assert found["kept"]["seconds"] == {"1": 4.0}
    assert found["old"]["seconds"] == {"1": 8.0}


def test_other_trainings_are_counted_once() -> None:
    assert leaderboard.needs("cgan-shapes64") == {}
    # it starts from ar-shapes64, whose minutes are among its own
    assert set(leaderboard.needs("masked-shapes64")) == {"vq-shapes64"}
    found = leaderboard.needs("joint-shapes64")
    assert set(found) == {"vq-shapes64", "damsm-shapes64", "ar-shapes64"}
    assert found["ar-shapes64"] == card("ar-shapes64")["minutes"]


def test_first_captions_and_their_glosses() -> None:
    found = leaderboard.first_captions()
    assert len(found) == len(FIRST) * SHOWN == 8
    assert {parse(each["caption"]).count for each in found} == {1, 2}
    for each in found:
        assert language_of(each["caption"]) == each["language"]
        if each["language"] == "zh":
            assert parse(each["gloss"]) == parse(each["caption"])


@pytest.mark.slow
def test_a_model_is_added_beside_those_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(timing, "RESULTS", tmp_path)
    monkeypatch.setattr(leaderboard, "COVERED", ("a red star",))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(leaderboard.measure, "__defaults__", ((), 2, 2, 1))
    file = tmp_path / "leaderboard.json"
    before = {}
    for name in ("cvae-shapes64", "cgan-shapes64"):
        words = ["leaderboard", "--count", "2", "--only", name]
        monkeypatch.setattr(sys, "argv", words)
        leaderboard.main()
        report = json.loads(file.read_text("utf-8"))
        assert name in report["models"]
        for other, row in before.items():
            clock = {"seconds": row["seconds"]}  # follows the fixed work
            assert {**report["models"][other], **clock} == row
        before = report["models"]
    assert list(before) == ["cgan-shapes64", "cvae-shapes64"]
    one, both = before["cvae-shapes64"], before["cgan-shapes64"]
    assert [first["verdict"] is None for first in one["first"]] == [False] * 4 + [
        True
    ] * 4
    assert None not in [first["verdict"] for first in both["first"]]
    assert set(one["questions"]) == {"one object", "never seen, one object"}
    for name, count in (("cvae-shapes64", 4), ("cgan-shapes64", 8)):
        with Image.open(tmp_path / "leaderboard" / f"{name}.png") as sheet:
            assert sheet.size == (count * 66 - 2, 64)
    assert str(file) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--only", "cgan-shapes46"],
            "Did you mean cgan-shapes64?",
        ),
        (["--only", "damsm-shapes64"], "there are cgan-shapes64"),
        (["--count", "1"], "count must be at least 2 captions; got 1"),
    ],
)
def test_what_cannot_be_measured_is_an_error(
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["leaderboard", *words])
    with pytest.raises(SystemExit) as ended:
        leaderboard.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_every_published_model_has_a_row_of_its_own_weights() -> None:
    path = timing.RESULTS / "leaderboard.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["models"]
    cards = {name: card(name)["sha256"] for name in leaderboard.models()}
    stale = [n for n, sha in cards.items() if rows.get(n, {}).get("sha256") != sha]
    assert stale == [], f"python -m benchmarks.leaderboard --only {' '.join(stale)}"
    assert list(rows) == list(cards)
    pictures = {file.stem for file in (path.parent / "leaderboard").glob("*.png")}
    assert pictures == set(cards)
