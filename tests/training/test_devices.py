"""Torch's switches: set for a run, and put back."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_task import CONFIG, ToyDataset, ToyTask, new_task

from mmgen.training import fit, reproducible


def test_torch_is_left_as_it_was():
    seen = []

    class Looking(ToyTask):
        def training_step(self, batch, step):
            seen.append(torch.are_deterministic_algorithms_enabled())
            return super().training_step(batch, step)

    assert not torch.are_deterministic_algorithms_enabled()
    for wanted in (True, False):
        config = replace(CONFIG, steps=1, deterministic=wanted)
        fit(new_task(cls=Looking), ToyDataset(), config)
        assert not torch.are_deterministic_algorithms_enabled()
    assert seen == [True, True, False, False]  # in both phases of each run


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
