"""Networks that are shared out: each process holds a part of every parameter.

The parts are put together only while they are computed with, a block at a time, and
gradients and the state of an optimiser that is made afterwards are shared out in the
same way. So a network can be trained that does not fit on one device. Batches are
divided as for data parallelism, and the same weights are learned.

Rajbhandari et al., *ZeRO: Memory Optimizations Toward Training Trillion Parameter
Models*, SC 2020.
Zhao et al., *PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel*,
PVLDB 16(12), 2023.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from mmgen.layers.transformer import Block


def shard(network: nn.Module, mesh: DeviceMesh, half: bool = False) -> None:
    """Share a network out, in place: each process keeps its rows of each parameter.

    A block of a Transformer is put together when it is its turn, all else when the
    network begins, and both again on the way back. So a network must be called as a
    whole, not part by part, and an optimiser must be made afterwards.

    Args:
        network: with equal weights on every process, on the mesh's devices.
        mesh: the processes, in one dimension.
        half: put the weights of blocks together in bfloat16, for autocast; parts, and
            sums of gradients, stay as they are.

    Raises:
        ValueError: a parameter that is a single number, which has no rows.
    """
    numbers = [name for name, p in network.named_parameters() if p.ndim == 0]
    if numbers:
        raise ValueError(
            f"network must have no parameter that is a single number, which cannot be "
            f"shared out by rows; {type(network).__name__} has {', '.join(numbers)}."
        )
    plain: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": True}
    # elsewhere stand layers that need all digits, such as batch norm
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32)
    halved: dict[str, Any] = {"mp_policy": policy} if half else {}
    for module in network.modules():
        if isinstance(module, Block):
            fully_shard(module, **plain, **halved)
    fully_shard(network, **plain)


def whole_state(network: nn.Module) -> dict[str, Any]:
    """The ``state_dict`` of a shared out network, put together on the CPU.

    All processes call this together. It fits the network as it was before.

    Returns:
        All tensors on the first process, none on the others.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(network, options=options)
