"""A step of the training loop, for tests that ask a task for a loss by hand."""

from __future__ import annotations

import torch
from torch import Tensor


class OneStep:
    """The place of a batch that is the whole step of one process.

    Args:
        phase: of the task.
        index: of the step.
        accumulating: whether more parts of the batch follow.
        global_size: samples of the whole step.
        seed: of its noise; the uniform numbers are kept in ``drawn``.
    """

    rank = 0

    def __init__(
        self,
        phase: str = "",
        index: int = 0,
        accumulating: bool = False,
        global_size: int = 0,
        seed: int = 0,
    ) -> None:
        self.phase, self.index, self.accumulating = phase, index, accumulating
        self.global_size = global_size
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn: list[Tensor] = []

    def rand(self, *shape: int) -> Tensor:
        """Uniform noise in [0, 1)."""
        self.drawn.append(torch.rand(*shape, generator=self.generator))
        return self.drawn[-1]

    def randn(self, *shape: int) -> Tensor:
        """Standard normal noise."""
        return torch.randn(*shape, generator=self.generator)

    def gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes: of this one."""
        return tensor
