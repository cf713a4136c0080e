"""Parts of a batch from which nothing can be learned are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from toy_task import CONFIG, ToyDataset, ToyTask, new_task

from mmgen.data import load_dataset
from mmgen.data.batch import Batch
from mmgen.models.attngan import (
    AttnGANConfig,
    AttnGANTask,
    ModernConfig,
    ModernTask,
)
from mmgen.models.cgan import CGANConfig, CGANTask
from mmgen.models.damsm import DAMSMConfig, DAMSMMatcher, DAMSMTask, damsm_losses
from mmgen.training import TrainingConfig, fit

TINY = DAMSMConfig(32, 16, 8, width=8, grid=4)
SMALL = {
    "sizes": (16, 32),
    "generator_channels": 4,
    "residual_blocks": 1,
    "noise_dim": 5,
    "condition_dim": 3,
    "feature_dim": 16,
    "discriminator_channels": 4,
}


@pytest.fixture(scope="module")
def data():
    return load_dataset("shapes", "train", 32, size=64)


def tasks(data) -> dict[str, object]:
    matcher = DAMSMMatcher(TINY, data.vocabulary, data.max_tokens)
    frozen = {"damsm": matcher}
    return {
        "damsm": DAMSMTask.build(TINY, data),
        "cgan": CGANTask.build(CGANConfig(width=4, max_width=8), data),
        "attngan": AttnGANTask.build(AttnGANConfig(**SMALL), data, frozen),
        "attngan-modern": ModernTask.build(ModernConfig(**SMALL), data, frozen),
    }


@pytest.mark.parametrize("method", ["damsm", "cgan", "attngan", "attngan-modern"])
@pytest.mark.parametrize("batch_size, accumulate", [(1, 1), (4, 4)])
def test_a_part_of_one_sample_has_no_negatives(
    data, method: str, batch_size: int, accumulate: int, tmp_path: Path
) -> None:
    training = TrainingConfig(
        steps=1,
        batch_size=batch_size,
        accumulate=accumulate,
        progress="none",
        tensorboard=False,
        accelerator="cpu",
        out=str(tmp_path / "run"),
    )
    with pytest.raises(ValueError, match=r"at least 2 samples.*got 1") as told:
        fit(tasks(data)[method], data, training)
    assert "\n" not in str(told.value) and "accumulate" in str(told.value)
    assert not (tmp_path / "run").exists()  # its name can be used again


def test_samples_of_other_processes_are_negatives_but_give_no_statistics(data) -> None:
    found = tasks(data)
    for method in ("damsm", "cgan", "attngan-modern"):
        found[method].check_parts(1, 2)
    with pytest.raises(ValueError, match=r"2 samples on each process: .*batch norm"):
        found["attngan"].check_parts(1, 2)
    found["attngan"].check_parts(2, 2)


@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_attngan_names_its_reason_where_there_is_no_loop(data, phase: str) -> None:
    """And not torch's: more than 1 value per channel."""
    task = tasks(data)["attngan"]
    step = SimpleNamespace(
        phase=phase,
        accumulating=False,
        gather=lambda tensor: tensor,
        randn=lambda *shape: torch.randn(shape),
    )
    with pytest.raises(ValueError, match="at least 2 samples"):
        task.training_step(data.batch([0]), step)


def test_the_damsm_losses_of_one_pair_are_refused() -> None:
    regions, words = torch.randn(1, 4, 2, 2), torch.randn(1, 3, 4)
    mask = torch.ones(1, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="at least 2 samples"):
        damsm_losses(regions, torch.randn(1, 4), words, torch.randn(1, 4), mask)


class OneClass(ToyDataset):
    """All captions ask for the same."""

    def __init__(self) -> None:
        super().__init__(image_size=32)

    def finish(self, prepared, device) -> Batch:
        batch = super().finish(prepared, device)
        return replace(batch, class_ids=torch.zeros_like(batch.class_ids))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_batch_of_one_class_teaches_nothing_and_is_refused(accumulate: int) -> None:
    data = OneClass()
    training = replace(CONFIG, steps=3, accumulate=accumulate)
    with pytest.raises(ValueError, match=r"'matching' nothing: .*ask for the same"):
        fit(DAMSMTask.build(TINY, data), data, training)


def test_a_first_step_without_any_gradient_is_refused() -> None:
    class Idle(ToyTask):
        def training_step(self, batch, step):
            values = super().training_step(batch, step)
            return {name: 0 * value for name, value in values.items()}

    with pytest.raises(ValueError, match="teaches phase 'discriminator' nothing"):
        fit(new_task(cls=Idle), ToyDataset(), CONFIG)


def test_a_gradient_in_one_place_is_enough() -> None:
    class Faint(ToyTask):
        def training_step(self, batch, step):
            values = super().training_step(batch, step)
            network: nn.Module = self.networks[step.phase]
            *_, last = network.parameters()
            return values | {"loss": 0 * values["loss"] + 1e-9 * last.sum()}

    fit(new_task(cls=Faint), ToyDataset(), replace(CONFIG, steps=2))
