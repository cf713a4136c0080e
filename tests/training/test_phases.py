"""Rates of the optimisers, and what each phase may change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from toy_task import CONFIG, ToyDataset, ToyTask, new_task

from mmgen.training import fit
from mmgen.training.errors import CheckpointError
from mmgen.training.phases import Phases, rate_factor


class TestRate:
    def test_warm_up_then_cosine(self):
        config = replace(CONFIG, steps=14, warmup_steps=4, schedule="cosine")
        factors = [rate_factor(config, i) for i in range(15)]
        assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
        assert factors[9] == pytest.approx(0.5)
        assert factors[14] == pytest.approx(0.0)

    def test_the_optimisers_follow_it(self):
        rates = []

        class Recording(ToyTask):
            def optimizers(self):
                self.made = super().optimizers()
                return self.made

            def training_step(self, batch, step):
                rates.append(self.made[step.phase].param_groups[0]["lr"])
                return super().training_step(batch, step)

        config = replace(CONFIG, steps=3, warmup_steps=2, log_every=1)
        run = fit(new_task(cls=Recording), ToyDataset(), config)
        assert rates == [0.005, 0.005, 0.01, 0.01, 0.01, 0.01]
        assert [row["rate_factor"] for row in run.history] == [0.5, 1.0, 1.0]


def test_a_state_of_parameters_in_another_order_is_refused():
    """Each would be stepped with the averages of another, of another size."""

    class Turned(ToyTask):
        def optimizers(self):
            made = super().optimizers()
            for optimizer in made.values():
                optimizer.param_groups[0]["params"].reverse()
            return made

    def phases(cls):
        task = new_task(cls=cls)
        return Phases(task, task.networks, Fabric(accelerator="cpu", devices=1))

    first = phases(ToyTask)
    for optimizer in first.optimizers.values():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    states = first.states()
    phases(ToyTask).restore(states)
    with pytest.raises(CheckpointError, match=r"do not fit \(exp_avg of shape"):
        phases(Turned).restore(states)
