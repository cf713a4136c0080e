"""Random numbers that depend on nothing but what is being looked at.

A crop, a shift, a choice of caption is a pure function of (sample, epoch): it must not
change with the batch, the worker process or the number of GPUs that a sample meets.
Seeding a generator for each sample would cost more than the crop itself, so the
counter is hashed instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: SplitMix64's step


def _mix(state: Any) -> Any:
    """SplitMix64's finaliser: every input bit changes half of the output bits."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def draws(
    indices: Sequence[int] | np.ndarray, epoch: int, count: int, stream: int = 0
) -> np.ndarray:
    """Uniform numbers for samples: the same for the same (index, epoch, stream).

    Args:
        indices: samples, each at least 0.
        epoch: at least 0.
        count: numbers for each sample.
        stream: another independent set of numbers for the same samples.

    Returns:
        Array of shape (len(indices), count), float64 in [0, 1).

    Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators
    (OOPSLA 2014), used as a hash of the counters.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is what is meant
        state = _mix(np.uint64(stream) + _GOLDEN)
        state = _mix(state ^ (np.uint64(epoch) + _GOLDEN))
        rows = _mix(state ^ (np.asarray(indices, dtype=np.uint64) + _GOLDEN))
        columns = (np.arange(count, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
        bits = _mix(rows[:, None] + columns[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
