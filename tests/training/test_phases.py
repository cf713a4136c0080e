"""Rates of the optimisers, and what each phase may change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from toy_task import CONFIG, ToyDataset, ToyTask, new_task

from mmgen.training import fit
from mmgen.training.phases import rate_factor


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
