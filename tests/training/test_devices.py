"""Torch's switches: set for a run, and put back."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_task import CONFIG, ToyDataset, new_task

from mmgen.training import fit, reproducible


def test_torch_is_left_as_it_was():
    assert not torch.are_deterministic_algorithms_enabled()
    fit(new_task(), ToyDataset(), replace(CONFIG, steps=1, deterministic=True))
    assert not torch.are_deterministic_algorithms_enabled()


def test_reproducible_repeats_draws_and_demands_determinism():
    def draw() -> tuple:
        reproducible(7)
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    try:
        assert draw() == draw()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    with pytest.raises(ValueError, match="seed"):
        reproducible(-1)
