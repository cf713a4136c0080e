"""What ``mmgen.training.fit`` costs over the same steps written by hand.

``python -m benchmarks.training_loop [--method cgan] [--data shapes] [--scale laptop]``.
The loop and the hand-written steps train two copies of a task on the same batches,
block by block in turns. The loop's blocks are what a user gets: wrapped networks, noise
by sample, averages, metrics, the guard against NaN. Writing checkpoints is not part of
a step, and is off.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import Comparison, Rounds, write
from mmgen.data import Batch, load_dataset
from mmgen.presets import find
from mmgen.registry import METHODS, find_class
from mmgen.training import build, fit
from mmgen.training.config import SCALES


@dataclass
class HandStep:
    """What a task needs to know of a step when nothing else is wanted."""

    index: int
    phase: str
    device: torch.device
    accumulating: bool = False
    rank: int = 0
    world_size: int = 1

    def randn(self, *shape: int) -> Tensor:
        """Normal noise from the global generator."""
        return torch.randn(shape, device=self.device)

    def rand(self, *shape: int) -> Tensor:
        """Uniform noise from the global generator."""
        return torch.rand(shape, device=self.device)

    def gather(self, tensor: Tensor) -> Tensor:
        """One process has all rows."""
        return tensor


@dataclass
class ByHand:
    """The steps as one would write them in a notebook."""

    task: Any
    device: torch.device
    precision: str
    decay: float
    index: int = 0
    losses: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        networks = self.task.networks
        for network in networks.values():
            network.to(self.device).train(
                any(p.requires_grad for p in network.parameters())
            )
        self.optimizers = self.task.optimizers()
        if self.device.type == "cuda":
            for optimizer in self.optimizers.values():
                for group in optimizer.param_groups:
                    group["fused"] = True
        self.averages = {
            name: copy.deepcopy(networks[name]).eval() for name in self.task.averaged
        }
        self.to = [p for a in self.averages.values() for p in a.parameters()]
        self.source = [p for a in self.task.averaged for p in networks[a].parameters()]
        self.buffers_to = [b for a in self.averages.values() for b in a.buffers()]
        self.buffers = [b for a in self.task.averaged for b in networks[a].buffers()]
        owned = {
            phase: {p for g in optimizer.param_groups for p in g["params"]}
            for phase, optimizer in self.optimizers.items()
        }
        phases = self.task.phases
        self.freeze = {
            phase: owned[phase].difference(*(owned[p] for p in phases[i + 1 :]))
            for i, phase in enumerate(phases)
        }

    def step(self, batch: Batch) -> None:
        """One step of every phase, and the averages."""
        mixed = self.precision == "bf16-mixed"
        for phase in self.task.phases:
            for p in self.freeze[phase]:
                p.requires_grad_(True)
        for phase in self.task.phases:
            self.optimizers[phase].zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
                values = self.task.training_step(
                    batch, HandStep(self.index, phase, self.device)
                )
            values["loss"].backward()
            self.optimizers[phase].step()
            self.losses.append(values["loss"].detach())
            for p in self.freeze[phase]:
                p.requires_grad_(False)
        with torch.no_grad():
            torch._foreach_lerp_(self.to, self.source, 1 - self.decay)
            if self.buffers:
                torch._foreach_copy_(self.buffers_to, self.buffers)
        self.index += 1
        if self.index % 50 == 0:
            torch.stack(self.losses).mean().item()
            self.losses.clear()


class Turns:
    """A data set for ``fit`` that lets the hand-written steps have every other block.

    ``fit`` asks for a batch; the time from handing out the first of a block to being
    asked for the next block is what the loop took for it.
    """

    def __init__(self, dataset: Any, hand: ByHand, rounds: Rounds, block: int) -> None:
        self.dataset, self.hand, self.rounds, self.block = dataset, hand, rounds, block
        # of the loop's blocks, and of getting their batches; here nothing else loads
        self.cpu_seconds, self.data_cpu_seconds = 0.0, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def batches(self, batch_size: int, **options: Any) -> Iterator[Batch]:
        """Batches of the data set, with interruptions; ends when enough was timed."""
        ours = self.dataset.batches(batch_size, **options)
        theirs = self.dataset.batches(batch_size, **options)
        for _ in range(self.block):  # both ways run warm first
            self.hand.step(next(theirs))
            yield next(ours)
        while not self.rounds.enough():
            with self.rounds.measure("by hand"):
                for _ in range(self.block):
                    self.hand.step(next(theirs))
            with self.rounds.measure("mmgen.training"):
                began = time.process_time()
                for _ in range(self.block):
                    asked = time.process_time()
                    batch = next(ours)
                    self.data_cpu_seconds += time.process_time() - asked
                    yield batch
                self.cpu_seconds += time.process_time() - began
        raise Enough


class Enough(Exception):
    """There are rounds enough; ends the run."""


def run(
    method: str, data: str, scale: str, device: str, repetitions: int, block: int
) -> tuple[Comparison, float]:
    """Compare the loop with steps by hand for a method at a scale.

    Returns:
        The comparison, and the share of the loop's CPU seconds that loading took.
    """
    task_class = find_class(METHODS[method])
    preset = find(method, scale, data)
    dataset = load_dataset(**preset.data)
    tasks = []
    for _ in range(2):
        torch.manual_seed(0)
        tasks.append(build(task_class, preset.config, dataset))
    settings = replace(
        preset.training,
        steps=10**9,
        max_minutes=None,
        checkpoint_every=10**9,
        sample_every=0,
        log_every=50,
        workers=0,
        compile=False,
        channels_last=False,
        gradient_clip=None,
        accelerator=device,
        progress="none",
    )
    place = torch.device(device, 0) if device == "cuda" else torch.device(device)
    hand = ByHand(tasks[0], place, settings.precision, settings.ema_decay)
    rounds = Rounds(["by hand", "mmgen.training"], repetitions, place)
    turns: Any = Turns(dataset, hand, rounds, block)
    try:
        fit(tasks[1], turns, settings)
    except Enough:
        return rounds.comparison(), turns.data_cpu_seconds / turns.cpu_seconds
    raise AssertionError("fit ended before there were rounds enough")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--method", default="cgan", choices=METHODS)
    parser.add_argument("--data", default="shapes")
    parser.add_argument("--scale", default="laptop", choices=SCALES)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--block", type=int, default=10, help="steps a repetition")
    given = parser.parse_args()
    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    result, loading = run(
        given.method, given.data, given.scale, device, given.repetitions, given.block
    )
    print(f"{given.block} steps of {given.method} on {given.data}, {given.scale} scale")
    print(result.table())
    print(f"loading took {loading:.1%} of the loop's CPU time")
    facts = {
        "method": given.method,
        "data": given.data,
        "scale": given.scale,
        "steps_a_repetition": given.block,
        "comparison": result.to_json(),
        "overhead": result.ratios["mmgen.training"] - 1,
        "limit": 0.05,
        "loading_share_of_cpu_time": loading,
    }
    name = "training_loop" if device == "cpu" else "training_loop_gpu"
    print(write(name, facts, device))


if __name__ == "__main__":
    main()
