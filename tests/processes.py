"""Processes that speak to each other over loopback, for tests of shared training."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def told_by(
    process: Callable[[int, int, str], None], folder: Path, count: int
) -> list[dict[str, Any]]:
    """What each of some processes stored as ``RANK.pt`` in a folder.

    Args:
        process: told its rank, a free port, and the folder.
        folder: an empty one.
        count: of processes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (port, str(folder)), nprocs=count)
    return [torch.load(folder / f"{rank}.pt") for rank in range(count)]
