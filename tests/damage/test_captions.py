"""A tenth of the captions that ``benchmarks.survival`` tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.damage import captions


@pytest.mark.slow
def test_captions_of_any_kind_are_drawn_or_refused(tmp_path: Path) -> None:
    tallies = captions.tried(1000, seed=0, folder=tmp_path)
    assert sum(tally.tried for tally in tallies) == 1000
    assert not [failure for tally in tallies for failure in tally.failures]
    for tally in tallies:  # both happen: neither is everything refused nor accepted
        assert tally.accepted and tally.refused, tally
    assert not list(tmp_path.iterdir())


def test_what_is_tried_follows_from_the_seed(tmp_path: Path) -> None:
    first, again, other = (
        [
            (tally.accepted, tally.refused)
            for tally in captions.tried(40, seed=seed, folder=tmp_path)
        ]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_message_that_no_terminal_could_show_is_a_failure() -> None:
    for text in ("", "two\nlines", "x" * 2000):
        with pytest.raises(AssertionError):
            captions._check_message(text)
    with pytest.raises(UnicodeEncodeError):
        captions._check_message("\ud800")
