"""A step's noise: a function of its place, however the batch is cut."""

from __future__ import annotations

import pytest
import torch

from mmgen.training import Step


class TestNoise:
    def step(self, first: int, size: int, **other) -> Step:
        values = {"index": 5, "phase": "train", "seed": 1, **other}
        return Step(
            accumulating=False,
            device=torch.device("cpu"),
            rank=0,
            world_size=1,
            first=first,
            size=size,
            global_size=8,
            generator=torch.Generator(),
            **values,
        )

    def test_a_part_draws_its_rows_of_the_whole(self):
        whole = self.step(0, 8)
        first, second = whole.randn(8, 3), whole.randn(8, 3)
        part = self.step(4, 2)
        assert torch.equal(part.randn(2, 3), first[4:6])
        assert torch.equal(part.randn(2, 3), second[4:6])
        uniform = self.step(0, 8).rand(8, 2, 2)
        assert uniform.shape == (8, 2, 2)
        assert uniform.min() >= 0 and uniform.max() < 1

    @pytest.mark.parametrize("other", [{"index": 6}, {"phase": "b"}, {"seed": 2}])
    def test_step_phase_and_seed_decide_the_noise(self, other):
        a, b = self.step(0, 8), self.step(0, 8, **other)
        assert not torch.equal(a.randn(8, 3), b.randn(8, 3))

    def test_its_moments_are_those_of_the_normal_distribution(self):
        draws = torch.cat([self.step(0, 8, index=i).randn(8, 100) for i in range(50)])
        assert abs(draws.mean()) < 0.02 and abs(draws.std() - 1) < 0.02

    def test_another_number_than_the_batch_is_refused(self):
        with pytest.raises(ValueError, match="batch_size must be 2"):
            self.step(0, 2).randn(3, 4)

    def test_one_process_gathers_its_own_rows(self):
        rows = torch.randn(3, 2)
        assert self.step(0, 2).gather(rows) is rows
