"""A tenth of the damaged notebooks: none ends the class, and none gets out."""

from pathlib import Path

import pytest

from benchmarks.damage.notebooks import KINDS, tried


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_class_survives_damaged_notebooks(tmp_path: Path) -> None:
    tallies = tried(50, seed=3, folder=tmp_path)
    assert [tally.failures for tally in tallies] == [[]] * len(KINDS)
    assert sum(tally.tried for tally in tallies) == 50
    # Both ways are taken: what is no notebook is refused, what is one is graded.
    assert sum(tally.refused for tally in tallies) >= 40
    assert sum(tally.accepted for tally in tallies) >= 2
