"""Scores of chosen pairs, which R-precision asks for, are those of all pairs."""

from __future__ import annotations

import pytest
import torch

from mmgen.data import load_dataset
from mmgen.interfaces import MatchesChosen
from mmgen.metrics import r_precision
from mmgen.models.damsm import DAMSMConfig, DAMSMMatcher

N = 8


@pytest.fixture(scope="module")
def batch():
    return load_dataset("shapes", "train", 16, "both", size=64).batch(range(N))


@pytest.fixture(scope="module")
def matcher() -> DAMSMMatcher:
    data = load_dataset("shapes", "train", 16, "both", size=64)
    torch.manual_seed(0)
    config = DAMSMConfig(16, 32, 16, width=8, grid=4, word_range=1.7)
    return DAMSMMatcher(config, data.vocabulary, data.max_tokens).eval()


@pytest.mark.parametrize("direction", ["image_to_text", "text_to_image"])
def test_chosen_pairs_have_the_scores_of_all_pairs(matcher, batch, direction) -> None:
    every = matcher.scores(batch.images, batch.captions)
    assert every.std() > 1e-3  # else any other pair would do as well
    assert not torch.allclose(every, every.t(), atol=1e-3)
    draw = torch.Generator().manual_seed(1)
    chosen = torch.stack([torch.randperm(N, generator=draw)[:5] for _ in range(N)])
    found = matcher.candidate_scores(batch.images, batch.captions, chosen, direction)
    rows = every if direction == "image_to_text" else every.t()
    torch.testing.assert_close(found, rows.gather(1, chosen))
    assert not found.requires_grad


@pytest.mark.parametrize("direction", ["image_to_text", "text_to_image"])
def test_r_precision_by_chosen_pairs_is_that_by_all(matcher, batch, direction) -> None:
    class All:
        """The same matcher, without the short cut."""

        def scores(self, images, captions):
            return matcher.scores(images, captions)

    assert isinstance(matcher, MatchesChosen) and not isinstance(All(), MatchesChosen)
    given = {"candidates": 5, "seed": 2, "direction": direction}
    chosen = r_precision(batch.images, batch.captions, matcher, **given)
    every = r_precision(batch.images, batch.captions, All(), **given)
    assert chosen.ranks == every.ranks
    assert 1 < sum(chosen.ranks) / N < 5  # not all first, not all last


def test_scores_warn_of_what_they_do_not_read(matcher, batch) -> None:
    long = ["a " * 40 + "red star", "a " * 40 + "blue circle"]
    chosen = torch.zeros(2, 1, dtype=torch.int64)
    for call in (
        lambda: matcher.scores(batch.images[:2], long),
        lambda: matcher.candidate_scores(batch.images[:2], long, chosen),
        lambda: matcher.attention_maps(batch.images[:2], long),
    ):
        with pytest.warns(UserWarning, match=r"2 of 2 .* not read: .*red star.*circle"):
            call()
