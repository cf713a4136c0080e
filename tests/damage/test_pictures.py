"""A tenth of the damaged pictures: each is shown, or named and left out."""

from __future__ import annotations

from pathlib import Path

from benchmarks.damage.pictures import tried


def test_damaged_pictures_harm_nothing(tmp_path: Path) -> None:
    tallies = tried(30, seed=1, folder=tmp_path)
    assert sum(tally.tried for tally in tallies) == 30
    assert [fault for tally in tallies for fault in tally.failures] == []
    assert sum(tally.refused for tally in tallies) > 5
    assert sum(tally.accepted for tally in tallies) > 5
