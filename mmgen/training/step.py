"""What a task is told about the step that it computes, and the noise that it draws."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


def stream_seed(*parts: int | str) -> int:
    """A seed in 0..2^63 - 1 that is a pure function of its parts (BLAKE2b)."""
    text = "/".join(map(str, parts)).encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest, "little") & (2**63 - 1)


class _Gather(torch.autograd.Function):
    """Concatenation over processes whose gradient is the sum over processes."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = len(tensor)
        parts = [
            torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())
        ]
        torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        # Every process computed a loss from these rows. Data parallelism averages over
        # processes later, so with the sum here that is the mean loss's gradient.
        torch.distributed.all_reduce(gradient)
        start = torch.distributed.get_rank() * ctx.rows
        return gradient[start : start + ctx.rows]


@dataclass
class Step:
    """The place of a `training_step` in the run, and its source of noise.

    Noise is drawn for the whole batch of the step from a generator seeded by (seed,
    step, phase, number of the call) and then cut to the samples of this process and
    part. So sample i meets the same noise however many processes or parts there are,
    and drawing costs what the whole batch costs.
    """

    index: int  # step of the run, from 0
    phase: str  # which optimiser steps after this
    accumulating: bool  # the batch comes in parts: keep no forward pass between phases
    device: torch.device
    rank: int  # of this process
    world_size: int  # processes
    seed: int  # of the run
    first: int  # global position of the first sample of this part
    size: int  # samples of this part
    global_size: int  # samples of the whole step
    generator: torch.Generator = field(repr=False)
    calls: int = 0  # draws so far

    def randn(self, batch_size: int, *shape: int) -> Tensor:
        """Standard normal noise, shape (batch_size, *shape) float32 on the device.

        Raises:
            ValueError: a batch size that is not the batch's.
        """
        rows = self._rows(batch_size)
        full = (self.global_size, *shape)
        return torch.randn(full, generator=self._next(), device=self.device)[rows]

    def rand(self, batch_size: int, *shape: int) -> Tensor:
        """Uniform noise in [0, 1), shape (batch_size, *shape) float32 on the device.

        Raises:
            ValueError: a batch size that is not the batch's.
        """
        rows = self._rows(batch_size)
        full = (self.global_size, *shape)
        return torch.rand(full, generator=self._next(), device=self.device)[rows]

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the rows of all processes: (B, ...) -> (world_size * B, ...).

        Gradients flow back to the process that a row came from. With one process the
        tensor itself.
        """
        return tensor if self.world_size == 1 else _Gather.apply(tensor)

    def _rows(self, batch_size: int) -> slice:
        if batch_size != self.size:
            raise ValueError(
                f"batch_size must be {self.size}, the samples of this batch; got "
                f"{batch_size}. Draw several values a sample as a further dimension."
            )
        return slice(self.first, self.first + self.size)

    def _next(self) -> torch.Generator:
        seed = stream_seed(self.seed, self.index, self.phase, self.calls)
        self.calls += 1
        return self.generator.manual_seed(seed)
