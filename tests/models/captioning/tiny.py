"""A small world of captions: pictures of 16 pixels, and networks that see them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from mmgen.data import load_dataset
from mmgen.data.dataset import CaptionedDataset
from mmgen.models.captioning import CaptioningConfig, CaptioningSampler, CaptioningTask

TINY = CaptioningConfig(
    16, feature_dim=8, width=4, grid=4, patch=2, hidden=8, depth=2, heads=2
)
REGIONS = TINY.grid**2


@lru_cache
def scenes() -> CaptionedDataset:
    """A few pictures, described in both languages."""
    return load_dataset("shapes", "train", 16, "both", objects=(1, 2), size=64)


def new_task(**changes: Any) -> CaptioningTask:
    """An untrained task, the same every time."""
    torch.manual_seed(0)
    return CaptioningTask.build(CaptioningConfig(**{**vars(TINY), **changes}), scenes())


def shaken(network: nn.Module, std: float = 0.5) -> nn.Module:
    """With weights so large that every path counts."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=std)
    return network


def sampler(decoder: str = "lstm") -> CaptioningSampler:
    """One that has learned nothing, and yet says different things of pictures."""
    task = new_task(decoder=decoder)
    made = task.sampler(task.networks)
    torch.manual_seed(1)
    shaken(made.network.writer, 0.3)
    return made.eval()


def pictures(count: int) -> Tensor:
    """The first of the world, (B, 3, 16, 16)."""
    return scenes().batch([i % 64 for i in range(count)]).images
