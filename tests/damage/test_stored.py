"""A tenth of the damaged checkpoints, cards and manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.damage import stored


@pytest.mark.slow
def test_stored_models_are_used_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)  # so that a stored name could import from it
    tallies = stored.tried(160, 0, tmp_path)
    assert sum(tally.tried for tally in tallies) == 160
    assert [failure for tally in tallies for failure in tally.failures] == []
    assert all(tally.refused for tally in tallies)
    accepted = sum(tally.accepted for tally in tallies)
    assert accepted > 10  # the rest of the folder is whole
