"""Dropout is a function of seed, step and process: no two of these share a mask."""

from __future__ import annotations

from dataclasses import replace

import torch
from toy_task import CONFIG, ToyDataset, ToyTask, new_task

from mmgen.training import devices, fit
from mmgen.training.loop import Loop


class Watching(ToyTask):
    """Writes down what torch's own generator gives in each phase of each step."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.drawn: dict[tuple[int, str, int], tuple[float, ...]] = {}

    def training_step(self, batch, step):
        key = step.index, step.phase, step.first
        self.drawn[key] = tuple(torch.rand(4).tolist())
        return {"loss": sum(p.sum() for p in self.networks[step.phase].parameters())}


def draws(seed: int = 3, rank: int = 0, accumulate: int = 1, steps: int = 4) -> dict:
    """What one process of a run draws."""
    task = new_task(cls=Watching)
    config = replace(CONFIG, steps=steps, seed=seed, accumulate=accumulate)
    loop = Loop(task, ToyDataset(), config)
    loop.rank = rank  # of one process that computes like the second of two
    loop.dataset.batches = _first(loop.dataset.batches)
    loop.run()
    return task.drawn


def _first(batches):
    """The batches of the first process, whichever asks."""
    return lambda size, **place: batches(size, **{**place, "rank": 0})


def test_every_step_phase_and_part_has_its_own_masks() -> None:
    drawn = draws(accumulate=2)
    assert len(drawn) == 4 * 2 * 2
    assert len(set(drawn.values())) == len(drawn)


def test_processes_and_seeds_have_their_own_masks() -> None:
    runs = [draws(), draws(rank=1), draws(seed=4)]
    places = [key[:2] for key in runs[0]]
    values = [run[key] for run in runs for key in sorted(run)]
    assert len(places) == 8 and len(set(values)) == len(values) == 3 * 8


def test_the_same_step_has_the_same_masks_whatever_came_before() -> None:
    torch.manual_seed(1)
    first = draws()
    torch.manual_seed(2)
    assert draws(steps=2).items() <= first.items()


def test_dropout_itself_follows() -> None:
    """The seed reaches the generator that dropout draws from."""
    masks = []
    for index, rank in ((0, 0), (1, 0), (0, 1), (0, 0)):
        devices.seed_step(3, index, rank, torch.device("cpu"))
        masks.append(torch.nn.functional.dropout(torch.ones(64), 0.5))
    assert torch.equal(masks[0], masks[3])
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_a_run_repeats_itself_with_dropout() -> None:
    runs = [fit(new_task(), ToyDataset(), replace(CONFIG, steps=4)) for _ in range(2)]
    kept = [{k: v for k, v in run.history[-1].items() if "loss" in k} for run in runs]
    assert kept[0] == kept[1]
