"""Grids of pictures with their verdicts."""

import pytest
import torch

from mmgen import explore
from mmgen.data.shapes import Object, Scene, render
from mmgen.explore.verdicts import RIGHT, UNCLEAR, WRONG, verdict_words
from mmgen.metrics import semantic_accuracy

CAPTIONS = ["a large red star in the center"] * 3


def _pictures():
    star = Scene((Object("star", "red", "large", 0.5, 0.5),), "white")
    heart = Scene((Object("heart", "red", "large", 0.5, 0.5),), "white")
    pictures = render([star, heart, star], 64)
    pictures[2] = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    return pictures


def test_right_wrong_and_not_recognisable_are_told_apart():
    words = verdict_words(semantic_accuracy(_pictures(), CAPTIONS))
    assert [kind for kind, _ in words] == [RIGHT, WRONG, UNCLEAR]
    assert words[1][1] == "shape"


def test_a_grid_says_how_many_are_right_and_what_is_wrong():
    figure = explore.verdicts(_pictures(), CAPTIONS, real=_pictures(), title="Three")
    assert figure._suptitle.get_text() == "Three: 1 of 3 right"
    said = " ".join(text.get_text() for text in figure.texts)
    assert "right" in said and "shape" in said and "not" in said
    assert len(figure.axes) == 6  # a real picture beside each


def test_another_number_of_real_pictures_is_an_error():
    with pytest.raises(ValueError, match="real must hold one picture for each of 3"):
        explore.verdicts(_pictures(), CAPTIONS, real=_pictures()[:2])
