"""A network that is shared out learns what a whole one learns, and comes back whole."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from mmgen.models.joint import JointTask
from mmgen.training.sharding import shard, whole_state
from tests.models.joint.toy import batch, task
from tests.models.steps import OneStep
from tests.processes import told_by

pytestmark = pytest.mark.slow

PROCESSES, STEPS, LARGEST = 2, 3, 0.05
# In shares of two of the four pairs each; the losses are means over pairs.
SHARES = [slice(0, 2), slice(2, 4)]


def train(made: JointTask, rows: slice) -> list[float]:
    """A few steps of AdamW with a bound on the gradient, whose norms are told."""
    network = made.networks["network"]
    network.eval()  # batch norm's statistics are of each process's own share, by design
    # small gradients make small steps: rounding is not magnified
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2, eps=1e-2)
    norms = []
    for _ in range(STEPS):
        made.training_step(batch(rows), OneStep())["loss"].backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), LARGEST)
        norms.append((norm.full_tensor() if isinstance(norm, DTensor) else norm).item())
        optimizer.step()
        optimizer.zero_grad()
    if isinstance(next(network.parameters()), DTensor):
        for parameter, state in optimizer.state.items():
            own = state["exp_avg"].to_local().shape
            assert own == parameter.to_local().shape
    return norms


def _process(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    made, told = task(), SimpleNamespace()
    network = made.networks["network"]
    shard(network, init_device_mesh("cpu", (PROCESSES,)))
    parts = [p for p in network.parameters() if isinstance(p, DTensor)]
    told.all_are_parts = len(parts) == len(list(network.parameters()))
    told.held = sum(p.to_local().numel() for p in parts)
    told.norms = train(made, SHARES[rank])
    told.state = whole_state(network)
    torch.save(vars(told), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes tells after its steps."""
    return told_by(_process, tmp_path_factory.mktemp("sharding"), PROCESSES)


def test_the_same_weights_are_learned(told: list[dict[str, Any]]) -> None:
    made = task()
    network = made.networks["network"]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    norms = train(made, slice(None))
    first, other = (each["state"] for each in told)
    assert other == {}
    expected = network.state_dict()
    assert first.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(first[key], value, rtol=0, atol=1e-5)
    moved = sum(not torch.equal(before[key], value) for key, value in expected.items())
    assert moved > 50
    for each in told:
        assert each["norms"] == pytest.approx(norms, rel=1e-4)
    assert min(norms) > LARGEST  # so the bound was of the whole gradient
    fresh = task().networks["network"]
    fresh.load_state_dict(first)


def test_each_process_holds_its_part_alone(told: list[dict[str, Any]]) -> None:
    size = sum(p.numel() for p in task().networks["network"].parameters())
    assert all(each["all_are_parts"] for each in told)
    assert sum(each["held"] for each in told) == size
    assert max(each["held"] for each in told) < 0.6 * size  # rows may be uneven


def test_single_numbers_are_refused() -> None:
    network = nn.Linear(2, 2)
    network.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"single number.*Linear has scale"):
        shard(network, mesh=None)  # type: ignore[arg-type]
