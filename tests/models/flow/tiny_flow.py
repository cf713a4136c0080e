"""A small flow over the latents of 2 x 2 or 4 x 4 codes of 16-pixel pictures."""

from __future__ import annotations

from typing import Any

import torch

from mmgen.models.flow import FlowConfig, FlowSampler, FlowTask
from tests.models.tiny_codes import tokenizer, world

SIZES: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "text_depth": 1}
PIXELS: dict[str, Any] = {"tokenizer": "", "patch": 4}


def task(side: int = 4, codes: int = 7, **changes: Any) -> FlowTask:
    """An untrained task, of latents unless ``tokenizer`` is empty."""
    torch.manual_seed(3)
    config = FlowConfig(**{**SIZES, **changes})
    frozen = {"tokenizer": tokenizer(side, codes)} if config.tokenizer else {}
    torch.manual_seed(4)
    return FlowTask.build(config, world(), frozen)


def sampler(side: int = 4, codes: int = 7, **changes: Any) -> FlowSampler:
    """An untrained sampler that listens to its caption."""
    made = task(side, codes, **changes)
    # a fresh network says 0 everywhere
    torch.manual_seed(5)
    for parameter in made.model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.sampler(made.networks)
