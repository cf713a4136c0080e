"""How every benchmark of the book measures: ways side by side in one process.

The ways take turns, in a new order each round, so that a slow spell of the machine
meets all of them. On a CPU, a repetition during which the process got less of the
processors than it usually does was disturbed by other load: wall time against CPU time
tells, and such repetitions are thrown away and made again.
"""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mmgen.training.manifest import device_name, environment

RESULTS = Path(__file__).resolve().parent.parent / "results" / "benchmarks"
# A repetition counts if it got this share of the CPU time per wall time of the best.
UNDISTURBED = 0.93


@dataclass(frozen=True)
class Comparison:
    """Medians of several ways of doing the same."""

    seconds: dict[str, float]  # median of a call, per way
    spread: dict[str, float]  # half the distance between the quartiles, seconds
    ratios: dict[str, float]  # to the first way: median over rounds of the quotients
    cpu_ratios: dict[str, float]  # the same of CPU seconds, which other load leaves be
    cpu_seconds: dict[str, float]  # median of a call, per way
    kept: int  # rounds in which no way was disturbed
    rounds: int  # rounds made
    device: str

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)

    def table(self) -> str:
        """A table for people: milliseconds and ratios."""
        width = max(len(name) for name in self.seconds)
        lines = [f"{'':{width}}   median ms    +-      ratio  of CPU time"]
        lines += [
            f"{name:{width}}  {1e3 * self.seconds[name]:10.3f}  "
            f"{1e3 * self.spread[name]:6.3f}  {self.ratios[name]:7.3f}  "
            f"{self.cpu_ratios[name]:11.3f}"
            for name in self.seconds
        ]
        lines.append(
            f"({self.kept} of {self.rounds} rounds undisturbed; {self.device})"
        )
        return "\n".join(lines)


class Rounds:
    """Repetitions of several ways, until enough of them were undisturbed.

    Args:
        ways: names; the first is the one to compare with.
        repetitions: undisturbed rounds to reach.
        device: where they compute; CUDA is waited for before and after a call.
        patience: gives up after repetitions x patience rounds and then takes all.

    Raises:
        ValueError: no way, or no repetition, is given.
    """

    def __init__(
        self,
        ways: Iterable[str],
        repetitions: int,
        device: torch.device | str = "cpu",
        patience: int = 5,
    ) -> None:
        self.ways, self.repetitions = list(ways), repetitions
        if not self.ways or repetitions < 1:
            raise ValueError(
                f"ways and repetitions must not be empty; got {self.ways}, "
                f"{repetitions}."
            )
        self.device = torch.device(device)
        self.most = repetitions * patience
        self.rounds: list[dict[str, tuple[float, float]]] = [{}]  # wall s, CPU share

    @contextlib.contextmanager
    def measure(self, way: str) -> Iterator[None]:
        """Time what stands in the block as this round's repetition of a way."""
        self._wait()
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self._wait()
        wall = time.perf_counter() - wall
        if way in self.rounds[-1]:
            self.rounds.append({})
        self.rounds[-1][way] = wall, (time.process_time() - cpu) / wall

    @property
    def complete(self) -> list[dict[str, tuple[float, float]]]:
        """Rounds in which every way had its turn."""
        return [each for each in self.rounds if len(each) == len(self.ways)]

    @property
    def undisturbed(self) -> list[dict[str, tuple[float, float]]]:
        """Complete rounds in which every way got the processors that it can use."""
        rounds = self.complete
        if self.device.type == "cuda":
            # The processor only launches there: its time says nothing of the GPU's.
            return rounds
        best = {way: max(each[way][1] for each in rounds) for way in self.ways}
        return [
            each
            for each in rounds
            if all(each[way][1] >= UNDISTURBED * best[way] for way in self.ways)
        ]

    def enough(self) -> bool:
        """Whether it is time to stop."""
        rounds = self.complete
        if not rounds:
            return False
        return len(self.undisturbed) >= self.repetitions or len(rounds) >= self.most

    def comparison(self) -> Comparison:
        """Medians over the undisturbed rounds; over all, and kept = 0, if too few."""
        quiet = self.undisturbed
        kept = len(quiet)
        if kept < min(5, self.repetitions):
            quiet, kept = self.complete, 0
        columns = {way: [each[way][0] for each in quiet] for way in self.ways}
        cpu = {
            way: [w * share for w, share in (e[way] for e in quiet)] for way in columns
        }
        return Comparison(
            seconds={way: statistics.median(column) for way, column in columns.items()},
            spread={way: _spread(column) for way, column in columns.items()},
            ratios=_ratios(columns, self.ways[0]),
            cpu_ratios=_ratios(cpu, self.ways[0]),
            cpu_seconds={way: statistics.median(column) for way, column in cpu.items()},
            kept=kept,
            rounds=len(self.complete),
            device=device_name(self.device),
        )

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


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
        repetitions, device, patience: as for ``Rounds``.
        warmup: calls of each way before.
    """
    rounds = Rounds(ways, repetitions, device, patience)
    for way in ways.values():
        for _ in range(warmup):
            way()
    order, shuffled = list(ways), random.Random(0)
    while not rounds.enough():
        shuffled.shuffle(order)
        for name in order:
            with rounds.measure(name):
                ways[name]()
    return rounds.comparison()


def write(
    name: str, results: dict[str, Any], device: torch.device | str = "cpu"
) -> Path:
    """Write ``results/benchmarks/NAME.json``, with the machine that it was made on."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"environment": environment(torch.device(device)), **results}
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def _ratios(columns: dict[str, list[float]], first: str) -> dict[str, float]:
    """Median over the rounds of each way's quotient with the first."""
    return {
        way: statistics.median(
            value / base for value, base in zip(column, columns[first], strict=True)
        )
        for way, column in columns.items()
    }


def _spread(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2
