"""Ctrl-C and SIGTERM while a run trains."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


class Interrupt:
    """Ctrl-C and SIGTERM let the step end; a second one stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: object) -> None:
        if os.getpid() != self._owner:
            return  # a worker of the loader, forked: its owner will end it
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print(
            "\nStopping after this step; press Ctrl-C again to stop at once.",
            file=sys.stderr,
            flush=True,
        )


def farewell(done: int, last_checkpoint: Path | None, folder: Path | None) -> str:
    """What a stopped run has kept, and how to go on with it."""
    if last_checkpoint is None:
        return (
            f"training was stopped after step {done}; nothing was saved: no out folder "
            f"was named."
        )
    return (
        f"training was stopped; {last_checkpoint} holds step "
        f"{int(last_checkpoint.name[5:])}. Go on with Run.resume({str(folder)!r}) or "
        f"mmgen train … --resume {folder}."
    )
