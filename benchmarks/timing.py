"""How every benchmark of the book measures: ways side by side in one process.

The ways take turns, in a new order each round, so that a slow spell of the machine
meets all of them. On a CPU, a repetition during which the process got less of the
processors than it usually does was disturbed by other load: wall time against CPU time
tells, and such repetitions are thrown away and made again.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mmgen.training.manifest import environment

RESULTS = Path(__file__).resolve().parent.parent / "results" / "benchmarks"
# A repetition counts if it got this share of the CPU time per wall time of the best.
UNDISTURBED = 0.93


@dataclass(frozen=True)
class Comparison:
    """Medians of several ways of doing the same."""

    seconds: dict[str, float]  # median of a call, per way
    spread: dict[str, float]  # half the distance between the quartiles, seconds
    ratios: dict[str, float]  # to the first way: median over rounds of the quotients
    kept: int  # rounds in which no way was disturbed
    rounds: int  # rounds made
    device: str

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)

    def table(self) -> str:
        """A table for people: milliseconds and ratios."""
        width = max(len(name) for name in self.seconds)
        lines = [f"{'':{width}}   median ms    +-      ratio"]
        lines += [
            f"{name:{width}}  {1e3 * self.seconds[name]:10.3f}  "
            f"{1e3 * self.spread[name]:6.3f}  {self.ratios[name]:7.3f}"
            for name in self.seconds
        ]
        lines.append(
            f"({self.kept} of {self.rounds} rounds undisturbed; {self.device})"
        )
        return "\n".join(lines)


def compare(
    ways: dict[str, Callable[[], Any]],
    repetitions: int = 20,
    *,
    warmup: int = 3,
    device: torch.device | str = "cpu",
    patience: int = 5,
) -> Comparison:
    """Time several ways of doing the same; the first is the one to compare with.

    Args:
        ways: name -> function without arguments; long enough to time (>= 1 ms).
        repetitions: undisturbed rounds to reach.
        warmup: calls of each way before.
        device: where they compute; CUDA is waited for after every call.
        patience: gives up after repetitions x patience rounds and then takes all.

    Raises:
        ValueError: no way, or no repetition, is given.
    """
    if not ways or repetitions < 1:
        raise ValueError(
            f"ways and repetitions must not be empty; got {len(ways)}, {repetitions}."
        )
    device = torch.device(device)
    cuda = device.type == "cuda"
    for way in ways.values():
        for _ in range(warmup):
            way()
    order, rounds = list(ways), []
    shuffled = random.Random(0)
    best = dict.fromkeys(ways, 0.0)
    while True:
        shuffled.shuffle(order)
        wall, share = {}, {}
        for name in order:
            wall[name], share[name] = _time(ways[name], cuda, device)
            best[name] = max(best[name], share[name])
        rounds.append((wall, share))
        # On CUDA the processor only launches: its time says nothing about the GPU's.
        quiet = [
            wall
            for wall, share in rounds
            if cuda or all(share[name] >= UNDISTURBED * best[name] for name in ways)
        ]
        if len(quiet) >= repetitions or len(rounds) >= repetitions * patience:
            break
    kept = len(quiet)
    if kept < min(5, repetitions):
        quiet, kept = [wall for wall, _ in rounds], 0
    first = next(iter(ways))
    columns = {name: [wall[name] for wall in quiet] for name in ways}
    return Comparison(
        seconds={name: statistics.median(column) for name, column in columns.items()},
        spread={name: _spread(column) for name, column in columns.items()},
        ratios={
            name: statistics.median(wall[name] / wall[first] for wall in quiet)
            for name in ways
        },
        kept=kept,
        rounds=len(rounds),
        device=environment(device)["device"],
    )


def write(
    name: str, results: dict[str, Any], device: torch.device | str = "cpu"
) -> Path:
    """Write ``results/benchmarks/NAME.json``, with the machine that it was made on."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"environment": environment(torch.device(device)), **results}
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def _time(
    way: Callable[[], Any], cuda: bool, device: torch.device
) -> tuple[float, float]:
    """Wall seconds of a call, and CPU seconds of the process in each of them."""
    if cuda:
        torch.cuda.synchronize(device)
    cpu, wall = time.process_time(), time.perf_counter()
    way()
    if cuda:
        torch.cuda.synchronize(device)
    wall = time.perf_counter() - wall
    return wall, (time.process_time() - cpu) / wall


def _spread(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2
