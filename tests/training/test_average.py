"""Moving averages of weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_task import CONFIG, ToyDataset, new_task, weights

from mmgen.training import fit
from mmgen.training.average import Average


def test_it_is_the_formula_with_its_warm_up():
    network = nn.Linear(2, 1, bias=False)
    network.register_buffer("count", torch.tensor(0))
    with torch.no_grad():
        network.weight.fill_(1.0)
    average = Average({"n": network}, 0.5)
    expected = 1.0
    for step, value in enumerate([3.0, -1.0, 5.0, 2.0, 8.0, 1.0, 0.0, 4.0, 7.0]):
        with torch.no_grad():
            network.weight.fill_(value)
            network.count += 1
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    copy = average.networks["n"]
    assert copy.weight[0, 0].item() == pytest.approx(expected, rel=1e-6)
    assert copy.count.item() == 9
    assert not copy.training and not copy.weight.requires_grad


def test_no_decay_keeps_the_last_weights():
    run = fit(new_task(), ToyDataset(), replace(CONFIG, ema_decay=0.0))
    named = weights(run)
    averaged = [name for name in named if name.startswith("average ")]
    assert len(averaged) == len(list(run.task.networks["generator"].parameters()))
    for name in averaged:
        assert torch.equal(named[name], named[name.removeprefix("average ")])
