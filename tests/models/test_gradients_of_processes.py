"""The gradient of a batch does not depend on how many processes share it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmgen.data.batch import Batch
from mmgen.data.shapes import TAUGHT, ShapesDataset
from mmgen.models.alignment import AlignmentConfig, AlignmentTask
from mmgen.models.attngan import AttnGANConfig, AttnGANTask, ModernConfig, ModernTask
from mmgen.models.autoregressive import ARConfig, ARTask
from mmgen.models.bimodal import BimodalConfig, BimodalTask
from mmgen.models.captioning import CaptioningConfig, CaptioningTask
from mmgen.models.cgan import CGANConfig, CGANTask
from mmgen.models.damsm import DAMSMConfig, DAMSMMatcher, DAMSMTask
from mmgen.models.flow import FlowConfig, FlowTask
from mmgen.models.fusion import FusionConfig, FusionTask
from mmgen.models.joint import JointConfig, JointTask
from mmgen.models.masked import MaskedConfig, MaskedTask
from mmgen.models.multimodal_vae import MultimodalVAEConfig, MultimodalVAETask
from mmgen.models.reader import ReaderConfig, ReaderTask
from mmgen.models.vae import (
    ConditionalVAEConfig,
    ConditionalVAETask,
    VAEConfig,
    VAETask,
)
from mmgen.models.vqvae import VQVAEConfig, VQVAESampler, VQVAETask
from mmgen.registry import METHODS, find_class
from mmgen.training import Step, TrainingConfig, fit
from tests.processes import told_by

pytestmark = pytest.mark.slow

PROCESSES, BATCH, SEED = 2, 8, 5
MATCHER = DAMSMConfig(
    16, feature_dim=6, embedding_dim=4, width=8, grid=4, dropout=0.0, word_range=1.0
)
FUSION = FusionConfig(
    16, feature_dim=8, width=4, grid=4, patch=2, hidden=8, modality_dropout=0.5
)
CAPTIONS = CaptioningConfig(
    16, feature_dim=8, width=4, grid=4, patch=2, hidden=8, depth=2, heads=2
)
STAGES: dict[str, Any] = {
    "sizes": (8, 16),
    "generator_channels": 4,
    "residual_blocks": 1,
    "noise_dim": 5,
    "condition_dim": 3,
    "feature_dim": 6,
    "discriminator_channels": 2,
}
GAN = CGANConfig(
    noise_dim=8, embedding_dim=8, condition_dim=16, width=4, max_width=16, augment=True
)
PICTURES: dict[str, Any] = {
    "latent_dim": 5,
    "channels": 4,
    "patch": 1,
    "hidden_dim": 16,
}
CONDITION: dict[str, Any] = {"condition_dim": 6, "embedding_dim": 6, "components": 2}
WRITER: dict[str, Any] = {"width": 12, "depth": 1, "heads": 2}
TEXTS: dict[str, Any] = {"style_dim": 3, "sentence_dim": 8, "embedding_dim": 6}
CODES = VQVAEConfig(
    codes=6, code_dim=3, reduction=4, patch=2, channels=4, depth=1, restart_below=0.3
)

JOINT = JointConfig(
    **WRITER,
    rank=2,
    image_size=16,
    language_width=8,
    language_depth=1,
    language_heads=2,
    feature_dim=8,
    picture_width=4,
    grid=4,
    patch=2,
    hidden=8,
)
FLOW = FlowConfig(width=24, depth=2, heads=2, text_depth=1, caption_dropout=0.3)
TOWERS = AlignmentConfig(16, 6, 4, 6, width=8, grid=4, patch=2, hard_negatives=True)

CASES: dict[str, tuple[Any, Any]] = {
    "align, clip": (AlignmentTask, TOWERS),
    "align, sigmoid": (AlignmentTask, replace(TOWERS, objective="sigmoid")),
    "align, triplet": (AlignmentTask, replace(TOWERS, objective="triplet")),
    "damsm": (DAMSMTask, MATCHER),
    "cgan, captions": (CGANTask, replace(GAN, objective="non-saturating")),
    "cgan, labels": (CGANTask, replace(GAN, labels=True)),
    "cgan, attributes": (CGANTask, replace(GAN, condition="attributes")),
    "attngan": (AttnGANTask, AttnGANConfig(**STAGES)),
    "attngan-modern": (ModernTask, ModernConfig(**STAGES, augment=True)),
    "attngan-modern, captions": (ModernTask, ModernConfig(**STAGES, labels=False)),
    "reader": (ReaderTask, ReaderConfig(feature_dim=6, embedding_dim=4)),
    "fuse": (FusionTask, FUSION),
    "fuse, vectors": (FusionTask, replace(FUSION, fusion="gated")),
    "caption": (CaptioningTask, CAPTIONS),
    "caption, lstm": (CaptioningTask, replace(CAPTIONS, decoder="lstm")),
    "vae": (VAETask, VAEConfig(**PICTURES)),
    "cvae": (ConditionalVAETask, ConditionalVAEConfig(**PICTURES, **CONDITION)),
    "bimodal": (BimodalTask, BimodalConfig(5, 4, 1, 16, 8, 6)),
    "mvae": (MultimodalVAETask, MultimodalVAEConfig(**PICTURES, **TEXTS)),
    "vqvae, average": (VQVAETask, CODES),
    "vqvae, gradient": (VQVAETask, replace(CODES, learned="gradient")),
    "vqvae, scalar": (
        VQVAETask,
        replace(CODES, quantiser="scalar", levels=(16, 9, 12)),
    ),
    "ar": (ARTask, ARConfig(**WRITER)),
    "masked": (MaskedTask, MaskedConfig(**WRITER)),
    "joint": (JointTask, JOINT),
    "flow": (FlowTask, FLOW),
    "flow, unet": (FlowTask, replace(FLOW, network="unet", width=16)),
}
# Losses over pairs *within* a process's share, in this phase: two processes are one
# that takes the batch in two parts. (The wrong caption of the published AttnGAN is the
# next one, and the last picture of a share has none.)
IN_SHARES = {("attngan", "discriminator")}


class FewScenes(ShapesDataset):
    """Five scenes again and again, so that processes show and say the same."""

    def prepare(self, indices: Sequence[int], epoch: int) -> Any:
        return super().prepare([i % 5 for i in indices], epoch)


@dataclass
class Gradients:
    """What an optimiser would have stepped along, by phase and parameter."""

    task: Any
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    def codebook(self) -> dict[str, Tensor]:
        """What a quantiser holds when the step is over, by name; none without one."""
        return {
            plain(name): tensor.clone()
            for module in self.task.networks.values()
            for name, tensor in module.state_dict().items()
            if "quantiser." in name
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The task's own parameters, under gradient descent that keeps its gradients.

        At a rate of 0 every phase has the gradient at the first weights. (Adam would
        not do: its steps are the same for a gradient and for half of it.)
        """
        return {
            phase: _Kept(self, phase, [g["params"] for g in adam.param_groups])
            for phase, adam in type(self.task).optimizers(self.task).items()
        }


class _Kept(torch.optim.SGD):
    def __init__(
        self, kept: Gradients, phase: str, groups: Sequence[list[nn.Parameter]]
    ) -> None:
        super().__init__([{"params": group} for group in groups], lr=0.0)
        self.kept, self.phase = kept, phase

    def step(self, closure: Any = None) -> None:
        mine = {p for group in self.param_groups for p in group["params"]}
        self.kept.found[self.phase] = {
            f"{network}.{plain(name)}": (
                None if parameter.grad is None else parameter.grad.clone()
            )
            for network, module in self.kept.task.networks.items()
            for name, parameter in module.named_parameters()
            if parameter in mine
        }
        super().step(closure)


def plain(name: str) -> str:
    """A tensor's name without those of its wrappers.

    Of one process that is Fabric's; of several, also data parallelism's.
    """
    return name.split("_forward_module.")[-1].removeprefix("module.")


def new_task(name: str) -> tuple[Any, FewScenes]:
    """A task with the same weights every time, and its data."""
    size = 32 if name.startswith("cgan") else 16
    data = FewScenes("train", size, objects=(1, 2), attributes=TAUGHT, size=24)
    torch.manual_seed(0)
    matcher = DAMSMMatcher(MATCHER, data.vocabulary, data.max_tokens)
    frozen = {"damsm": matcher, "tokenizer": VQVAESampler(CODES, size).eval()}
    task_class, config = CASES[name]
    task = task_class.build(config, data, frozen)
    # what begins at 0 would leave what is before it without a gradient
    for network in task.networks.values():
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    return task, data


def assert_close(found: Tensor, expected: Tensor, largest: float, what: str) -> None:
    """Equal but for the order of sums, in a gradient with this largest entry."""
    torch.testing.assert_close(
        found,
        expected,
        rtol=1e-3,
        atol=1e-5 * largest,
        msg=lambda text: f"{what}: {text}",
    )


def gradients(
    name: str, processes: int = 1, accumulate: int = 1
) -> dict[str, dict[str, Any]]:
    """The gradient of every phase of one step of the loop, by parameter."""
    return one_step(name, processes, accumulate)[0]


def one_step(
    name: str, processes: int = 1, accumulate: int = 1
) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
    """Gradients of one step of the loop, and the codebook after it."""
    task, data = new_task(name)
    kept = Gradients(task)
    task.optimizers = kept.optimizers
    step = task.training_step

    def without_statistics(batch: Batch, place: Any) -> dict[str, Tensor]:
        # batch norm's statistics are of each process's own share, by design
        for network in task.networks.values():
            network.eval()
        return step(batch, place)

    task.training_step = without_statistics
    training = TrainingConfig(
        steps=1,
        batch_size=BATCH,
        accumulate=accumulate,
        devices=processes,
        accelerator="cpu",
        seed=SEED,
        progress="none",
    )
    fit(task, data, training)
    return kept.found, kept.codebook()


def _process(rank: int, port: int, folder: str) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # as torchrun says it, so that Fabric starts no processes of its own
        "TORCHELASTIC_RUN_ID": "test",
        "GROUP_RANK": "0",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(PROCESSES),
        "LOCAL_WORLD_SIZE": str(PROCESSES),
    }
    torch.set_num_threads(1)
    found = {name: one_step(name, PROCESSES) for name in CASES}
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes steps along, for every case."""
    return told_by(_process, tmp_path_factory.mktemp("gradients"), PROCESSES)


def test_every_method_is_tried() -> None:
    tried = {task for task, _ in CASES.values()}
    assert tried == {find_class(path) for path in METHODS.values()}


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_gradient_of_one(
    name: str, of_two: list[dict[str, Any]]
) -> None:
    expected = gradients(name)
    if any(case == name for case, _ in IN_SHARES):
        in_parts = gradients(name, accumulate=PROCESSES)
        expected |= {phase: in_parts[phase] for _, phase in IN_SHARES}
    assert expected.keys() == of_two[0][name][0].keys() == set(CASES[name][0].phases)
    for phase, by_name in expected.items():
        without = [k for k, g in by_name.items() if g is None or not g.any()]
        assert without == []
        largest = max(float(g.abs().max()) for g in by_name.values())
        for found in of_two:
            there_by_name = found[name][0][phase]
            assert there_by_name.keys() == by_name.keys()
            for key, gradient in by_name.items():
                there = there_by_name[key]
                assert_close(there, gradient, largest, f"{phase}: {key}")


@pytest.mark.parametrize("name", ["vqvae, average", "vqvae, gradient"])
def test_two_processes_and_two_parts_leave_the_codebook_of_one(
    name: str, of_two: list[dict[str, Any]]
) -> None:
    """Its averages and restarts are of the whole step."""
    _, expected = one_step(name)
    kept = {"quantiser.codebook", "quantiser.counts", "quantiser.sums"}
    assert set(expected) == kept
    before = new_task(name)[0].model.quantiser.codebook
    assert not torch.equal(before, expected["quantiser.codebook"])
    others = [found[name][1] for found in of_two]
    for found in (*others, one_step(name, accumulate=2)[1]):
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            assert_close(found[key], tensor, float(tensor.abs().max()), key)


@pytest.mark.parametrize("name", CASES)
def test_a_batch_in_parts_has_the_mean_of_their_gradients(name: str) -> None:
    """Each part by itself, from a new task that has seen no other."""
    found = gradients(name, accumulate=2)
    for phase, by_name in found.items():
        of_parts = []
        for part in range(2):
            task, data = new_task(name)
            (batch,) = itertools.islice(data.batches(BATCH, seed=SEED), 1)
            for network in task.networks.values():
                network.eval()
            step = Step(
                index=0,
                phase=phase,
                accumulating=True,
                device=torch.device("cpu"),
                rank=0,
                world_size=1,
                seed=SEED,
                first=part * BATCH // 2,
                size=BATCH // 2,
                global_size=BATCH,
                generator=torch.Generator(),
            )
            share = batch[step.first : step.first + step.size]
            task.training_step(share, step)["loss"].backward()
            parameters = {
                f"{network}.{key}": parameter
                for network, module in task.networks.items()
                for key, parameter in module.named_parameters()
            }
            of_parts.append({key: parameters[key].grad for key in by_name})
        largest = max(float(g.abs().max()) for g in by_name.values())
        for key, gradient in by_name.items():
            mean = (of_parts[0][key] + of_parts[1][key]) / 2
            assert_close(gradient, mean, largest, f"{phase}: {key}")
