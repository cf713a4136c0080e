"""A tenth of the damaged shards: what is read is right, or the file is named."""

from __future__ import annotations

from pathlib import Path

from benchmarks.damage.shards import tried


def test_damaged_shards_harm_nothing(tmp_path: Path) -> None:
    tallies = tried(40, seed=1, folder=tmp_path)
    assert sum(tally.tried for tally in tallies) == 40
    assert [fault for tally in tallies for fault in tally.failures] == []
    assert sum(tally.refused for tally in tallies) > 10
    assert sum(tally.accepted for tally in tallies) > 2
