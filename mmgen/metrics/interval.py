"""How sure a measured proportion is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_Z = 1.959963984540054  # standard normal quantile of 97.5 %


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion.

    Args:
        successes: 0..n.
        n: trials, at least 1.

    Returns:
        Lower and upper end, in 0..1.

    Raises:
        ValueError: numbers that are not a proportion.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference
    (JASA 1927).
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(
            f"successes must lie in 0..n with n at least 1; got {successes} of {n}."
        )
    share = successes / n
    centre = share + _Z**2 / (2 * n)
    spread = _Z * (share * (1 - share) / n + _Z**2 / (4 * n**2)) ** 0.5
    scale = 1 + _Z**2 / n
    # at 0 and n the ends are 0 and 1 exactly, which rounding would miss
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == n else (centre + spread) / scale
    return low, high


@dataclass(frozen=True)
class Proportion:
    """So many of n, with the 95 % interval of Wilson."""

    successes: int
    n: int

    @property
    def value(self) -> float:
        """The share, 0..1."""
        return self.successes / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval, 0..1."""
        return wilson(self.successes, self.n)

    def to_json(self) -> dict[str, float]:
        """The share, its interval and its counts."""
        low, high = self.interval
        return {
            "value": self.value,
            "low": low,
            "high": high,
            "successes": self.successes,
            "n": self.n,
        }

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}] n={self.n}"


def pooled(shares: Iterable[Proportion]) -> Proportion:
    """Several runs' proportions taken together."""
    shares = list(shares)
    return Proportion(sum(s.successes for s in shares), sum(s.n for s in shares))
