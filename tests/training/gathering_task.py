"""Tasks whose weights tell a gradient from half of it, and a share from a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from toy_task import ToyTask


class DescendingTask(ToyTask):
    """Gradient descent: Adam would step as far along half the gradient."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            phase: torch.optim.SGD(self.networks[phase].parameters(), lr=0.2)
            for phase in self.phases
        }


class GatheringTask(DescendingTask):
    """One phase: pictures drawn for a caption find their real picture in the batch."""

    phases = ("generator",)

    def training_step(self, batch: Any, step: Any) -> dict[str, Tensor]:
        drawn = self.networks["generator"](step.randn(len(batch), 4), batch.tokens)
        drawn = step.gather(drawn.flatten(1))
        real = step.gather(batch.images.flatten(1) + step.rand(len(batch), 48))
        targets = torch.arange(len(drawn), device=drawn.device)
        return {"loss": F.cross_entropy(drawn @ real.T, targets)}
