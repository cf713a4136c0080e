"""Devices, processes and precision: what Lightning Fabric brings, and torch's switches.

Fabric is imported only when a run begins: it takes seconds, and drawing samples does
not need it.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import random
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmgen.training.config import TrainingConfig
from mmgen.training.step import stream_seed


def launch(config: TrainingConfig) -> Any:
    """A Fabric for the config's devices, with all its processes started."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    strategy: Any = config.strategy
    # torchrun says how many machines there are.
    machines = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    many = config.devices * machines > 1
    if strategy == "ddp" or (strategy == "auto" and many):
        # Buffers sent anew before each forward pass would overwrite running
        # statistics that an earlier pass of the same step still needs.
        switch = "forward_sync_buffers"  # torch < 2.13 knows its older name alone
        if switch not in inspect.signature(DistributedDataParallel).parameters:
            switch = "broadcast_buffers"
        options: dict[str, Any] = {switch: False}
        strategy = DDPStrategy(**options)
    _check_accelerator(config)
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=machines,
        strategy=strategy,
        precision=config.precision,
    )
    fabric.launch()
    return fabric


def _check_accelerator(config: TrainingConfig) -> None:
    """Refuse devices that this machine does not have.

    Raises:
        ValueError: the field, what it got and what there is.
    """
    kind = "cuda" if config.accelerator == "gpu" else config.accelerator
    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if kind in counts and counts[kind] < config.devices:
        raise ValueError(
            f"accelerator={config.accelerator!r} with devices={config.devices} cannot "
            f"be had: torch finds {counts[kind]} such devices here. Leave accelerator "
            f"at 'auto', or say 'cpu'."
        )


def main_process() -> bool:
    """Whether this is the first of all processes, before any Fabric is launched."""
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    return int(rank) == 0


def learns(network: nn.Module) -> bool:
    """Whether any parameter of a network may change."""
    return any(parameter.requires_grad for parameter in network.parameters())


def wrap(fabric: Any, network: nn.Module, compiled: bool) -> nn.Module:
    """A network as a task calls it while it trains: in train mode where it learns."""
    network.train(learns(network))
    if compiled:
        # A shape is compiled in until another one comes, such as a longer caption's.
        network = torch.compile(network)  # type: ignore[assignment]
    if fabric.world_size > 1 and not learns(network):
        # Data parallelism refuses a network without gradients to exchange.
        return _Frozen(network, fabric.strategy.precision)
    return fabric.setup_module(network)


class _Frozen(nn.Module):
    """A network without gradients, in the run's precision."""

    def __init__(self, network: nn.Module, precision: Any) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = self.precision.convert_input((args, kwargs))
        with self.precision.forward_context():
            output = self.network(*args, **kwargs)
        return self.precision.convert_output(output)


def exchange(
    fabric: Any, networks: Iterable[nn.Module], last: bool
) -> contextlib.AbstractContextManager:
    """Exchange gradients between processes only after the last part of a batch."""
    if fabric.world_size == 1 or last:
        return contextlib.nullcontext()
    stack = contextlib.ExitStack()
    for network in networks:
        if not isinstance(network, _Frozen):
            stack.enter_context(fabric.no_backward_sync(network))
    return stack


def agree(stop: str | None, device: torch.device) -> str | None:
    """The most pressing of all processes' reasons to stop."""
    reasons = (None, "max_minutes", "interrupted")
    code = torch.tensor(reasons.index(stop), device=device)
    torch.distributed.all_reduce(code, torch.distributed.ReduceOp.MAX)
    return reasons[int(code)]


def seed_step(seed: int, index: int, rank: int, device: torch.device) -> None:
    """Make dropout a function of the step, so that resuming is exact."""
    seed = stream_seed(seed, index, "global", rank)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)


def reproducible(seed: int = 0) -> None:
    """Seed Python, numpy and torch and demand deterministic algorithms.

    Results then repeat bit for bit on the same machine with the same number of threads.

    Raises:
        ValueError: a seed outside 0..2^32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in 0..2^32 - 1; got {seed}.")
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy generator is what others use
    torch.manual_seed(seed)
    _demand_determinism()
    torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def switches_put_back() -> Iterator[None]:
    """Leave torch's switches, which hold for the whole process, as they were found."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
        torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def backends(deterministic: bool) -> Iterator[None]:
    """Set torch's switches for a run, and put them back."""
    with switches_put_back():
        if deterministic:
            _demand_determinism()
        searches = not torch.are_deterministic_algorithms_enabled()
        # All batches have one shape: the search for the fastest convolution pays.
        torch.backends.cudnn.benchmark = searches
        yield


def _demand_determinism() -> None:
    # cuBLAS reads this when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
