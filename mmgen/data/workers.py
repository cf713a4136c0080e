"""What processes that load data hand over, and how it is told that one has died."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from torch.utils.data import DataLoader

from mmgen.errors import MmgenError

T = TypeVar("T")


@dataclass
class Failed:
    """An error on its way from a worker, as it was raised there."""

    error: Exception


def or_failure(call: Callable[[], T]) -> T | Failed:
    """What a call returns, or its error, for ``handed_over`` to raise.

    Left to torch, an error comes with all of a traceback as its message. Here the
    worker's traceback is a note on the error, and the message stays its own.
    """
    try:
        return call()
    except Exception as error:
        error.add_note("In a process that loads data:\n" + traceback.format_exc())
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # it cannot travel; torch sends what it can of it
            raise error from None
        return Failed(error)


class WorkerError(MmgenError, RuntimeError):
    """A process that loads data has died."""


def handed_over(loader: DataLoader, step: int, per_step: int = 1) -> Iterator[list]:
    """Items of a loader that never ends, ``per_step`` at a time.

    Torch may also raise from a signal handler, wherever this process then happens to
    be, outside this function too: ``tells_of_death`` knows such an error.

    Args:
        loader: with worker processes.
        step: the first one, to be named if a worker dies.
        per_step: items of a step.

    Raises:
        WorkerError: a worker has died: killed, most often because memory ran out.
        Exception: what a worker raised, with its own message.
    """
    stream: Iterator[Any] | None = None
    while True:
        try:
            if stream is None:
                stream = iter(loader)
            items = [next(stream) for _ in range(per_step)]
        except (RuntimeError, EOFError, OSError) as error:
            if "Caught" in str(error):  # torch's first word on an error in a worker
                raise
            # A death shows as torch's RuntimeError, or as a broken connection where the
            # dead process still had tensors to hand over.
            raise died(step, error) from error
        for item in items:
            if isinstance(item, Failed):
                raise item.error
        yield items
        step += 1


def died(step: int, error: Exception) -> WorkerError:
    """The error to raise for a process that died before ``step`` was whole."""
    return WorkerError(
        f"a process that loads data died before step {step} ({type(error).__name__}: "
        f"{error}). Often memory ran out: use fewer workers. Nothing is lost: "
        f"start_step={step} goes on from here."
    )


def tells_of_death(error: BaseException) -> bool:
    """Whether torch's signal handler raised this, wherever the process then was."""
    return isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)
