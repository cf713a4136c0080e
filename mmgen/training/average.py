"""The exponential moving average of networks."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Average:
    """Moving averages of networks: a <- d a + (1 - d) w after every step.

    The decay of step t is min(decay, (1 + t) / (10 + t)): the first weights, which are
    random, are forgotten early, where a fixed decay of 0.999 would still hold a third
    of them after a thousand steps. Buffers (running statistics) are copied.

    Args:
        networks: those to average; their copies are kept in eval mode.
        decay: in [0, 1); 0 keeps the last weights themselves.
    """

    def __init__(self, networks: dict[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.networks = {
            name: copy.deepcopy(network).eval().requires_grad_(False)
            for name, network in networks.items()
        }
        sources, copies = networks.values(), self.networks.values()
        self._from = _tensors(network.parameters() for network in sources)
        self._to = _tensors(network.parameters() for network in copies)
        self._buffers_from = _tensors(network.buffers() for network in sources)
        self._buffers_to = _tensors(network.buffers() for network in copies)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step ``step`` (from 0); two kernels in all."""
        decay = min(self.decay, (1 + step) / (10 + step))
        if self._to:
            torch._foreach_lerp_(self._to, self._from, 1 - decay)
        if self._buffers_to:
            torch._foreach_copy_(self._buffers_to, self._buffers_from)


def _tensors(groups: Iterable[Iterable[Tensor]]) -> list[Tensor]:
    return [tensor for group in groups for tensor in group]
