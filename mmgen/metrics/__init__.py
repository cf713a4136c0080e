"""What samples are measured by; each measure loads when it is first used."""

from __future__ import annotations

from typing import Any

from mmgen.registry import find_class

_HOMES = {
    "frechet_distance": "mmgen.metrics.frechet",
    "inception_score": "mmgen.metrics.inception",
    "mean_colour_accuracy": "mmgen.metrics.semantic",
    "mode_coverage": "mmgen.metrics.coverage",
    "r_precision": "mmgen.metrics.retrieval",
    "semantic_accuracy": "mmgen.metrics.semantic",
}
__all__ = [
    "frechet_distance",
    "inception_score",
    "mean_colour_accuracy",
    "mode_coverage",
    "r_precision",
    "semantic_accuracy",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(
            f"mmgen.metrics has no {name!r}; it has {', '.join(__all__)}."
        )
    return find_class(f"{_HOMES[name]}:{name}")
