"""Effective numbers by hand, painters that repeat themselves, and the world itself."""

import json
import math

import pytest
import torch

from benchmarks.agreement import spoil_noise
from mmgen.data.shapes import Object, Scene, render, sample_scenes
from mmgen.metrics.coverage import (
    OPEN,
    effective_number,
    mode_coverage,
    world_coverage,
)


class Painter:
    """Draws given scenes, whatever it is asked, one after the other."""

    def __init__(self, scenes):
        self.scenes = list(scenes)

    def sample(self, captions, seed=0):
        rows = [self.scenes[i % len(self.scenes)] for i in range(len(captions))]
        return render(rows)


def scene(position="center", size="large", ground="white"):
    return Scene((Object.at("circle", "red", size, position),), ground)


def test_effective_numbers_by_hand():
    assert effective_number("aaaa") == 1
    assert effective_number("abcd") == pytest.approx(4)
    # three quarters and one quarter
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_number("aaab") == pytest.approx(math.exp(entropy))
    assert effective_number("aab") == pytest.approx(effective_number("baabaa"))
    with pytest.raises(ValueError, match="at least one"):
        effective_number([])


def test_who_draws_one_picture_covers_one_mode_and_who_draws_all_covers_all():
    same = mode_coverage(Painter([scene()]), ["a red circle", "a blue star"], 6)
    assert same.effective == {"position": 1, "size": 1, "background": 1}
    assert same.readable == 1 and same.standard_error["position"] == 0
    both = [scene("center", "small"), scene("upper left", "large", "beige")]
    two = mode_coverage(Painter(both), ["a red circle"], 8)
    assert two.effective == pytest.approx({name: 2.0 for name in OPEN})
    assert math.isnan(two.standard_error["size"])  # of a single caption


def test_a_place_between_two_is_no_place_but_the_rest_counts():
    between = Scene((Object("circle", "red", "large", 0.36, 0.4),), "beige")
    report = mode_coverage(Painter([scene("center"), between]), ["a red circle"], 4)
    assert report.readable == 1 and report.effective["position"] == 1
    assert report.effective["background"] == pytest.approx(2)


def test_errors_are_those_of_the_mean_over_captions():
    class ByCaption:
        """Of one caption always the same picture, of the other two in turn."""

        def sample(self, captions, seed=0):
            both = [scene("center"), scene("upper left")]
            turns = 2 if captions[0] == "a red circle" else 1
            return render([both[i % turns] for i in range(len(captions))])

    captions = ["a red circle", "a blue star", "a blue star"]
    report = mode_coverage(ByCaption(), captions, 4)
    # 2, 1 and 1: deviation 1 / sqrt(3), of a mean of three 1 / 3
    assert report.effective["position"] == pytest.approx(4 / 3)
    assert report.standard_error["position"] == pytest.approx(1 / 3)


def test_what_the_caption_tells_is_not_counted():
    both = [scene("center", "small"), scene("upper left", "large")]
    report = mode_coverage(
        Painter(both), ["a large red circle in the center", "a red circle"], 4
    )
    assert report.captions == {"position": 1, "size": 1, "background": 2}
    assert report.effective["position"] == pytest.approx(2)
    assert "position" in str(report) and report.to_json()["pictures"] == 4


def test_smears_are_no_variety():
    class Smearer:
        """Draws the same object in many places, of coloured noise."""

        def sample(self, captions, seed=0):
            table = sample_scenes(len(captions), seed=seed, objects=(1,))
            return spoil_noise(table, 1.0)

    report = mode_coverage(Smearer(), ["a red circle"], 16)
    assert report.readable == 0 and math.isnan(report.effective["position"])


def test_pictures_that_show_no_single_object_are_left_out():
    empty = Painter([scene(), Scene(()), scene("lower right")])
    report = mode_coverage(empty, ["a red circle"], 6)
    assert report.readable == pytest.approx(4 / 6)
    assert report.effective["position"] == pytest.approx(2)
    nothing = mode_coverage(Painter([Scene(())]), ["a red circle"], 2)
    assert nothing.readable == 0 and math.isnan(nothing.effective["size"])
    assert json.loads(json.dumps(nothing.to_json()))["effective"]["size"] is None


def test_the_world_draws_nearly_all_there_is():
    report = world_coverage(["a red circle"] * 8, 64)
    for name, most in OPEN.items():
        assert 0.9 * most < report.effective[name] <= most
    # and reads as what it was drawn from
    scenes = list(sample_scenes(512, objects=(1,)))
    places = [
        effective_number(s.objects[0].position for s in scenes[i : i + 64])
        for i in range(0, 512, 64)
    ]
    assert report.effective["position"] == pytest.approx(sum(places) / 8)
    assert report.readable == 1


@pytest.mark.parametrize(
    ("captions", "pictures", "match"),
    [
        (["a red circle"], 1, "at least 2"),
        ([], 4, "at least one"),
        ("a red circle", 4, "a list"),
        (["a red circle and a blue star"], 4, "asks for 2"),
    ],
)
def test_what_cannot_be_counted_is_refused(captions, pictures, match):
    with pytest.raises(ValueError, match=match):
        mode_coverage(Painter([scene()]), captions, pictures)


def test_seeds_are_of_the_caption_and_repeat():
    seen = []

    class Noisy:
        def sample(self, captions, seed=0):
            seen.append((len(set(captions)), len(captions), seed))
            return torch.zeros(len(captions), 3, 64, 64)

    mode_coverage(Noisy(), ["a red circle", "a blue star"], 3, seed=5)
    assert seen == [(1, 3, 5), (1, 3, 6)]
