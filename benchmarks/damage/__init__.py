"""Damaged input by the thousand: what is tried, and what counts as surviving it.

A module of this package tries one kind of input: ``captions``, ``stored`` (checkpoints,
cards, manifests), ``shards``, ``pictures`` and ``notebooks``. Each has one function,
``tried(count, seed, folder) -> list[Tally]``. ``python -m benchmarks.survival`` runs
all of them at full length; the tests run a tenth.
"""

from __future__ import annotations

import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

SECONDS = 60  # beyond this a call hangs


class HangError(Exception):
    """A call took longer than ``SECONDS``."""


@dataclass
class Tally:
    """What became of one kind of damage."""

    kind: str  # what was damaged and how, such as "card: a bit flipped"
    accepted: int = 0  # worked: the damage does not matter there
    refused: int = 0  # an error of ours that says what is wrong
    slowest: float = 0.0  # seconds
    failures: list[str] = field(default_factory=list)  # anything else: must be none

    @property
    def tried(self) -> int:
        return self.accepted + self.refused + len(self.failures)

    def attempt(
        self, call: Callable[[], Any], refusals: tuple[type[Exception], ...], what: str
    ) -> None:
        """Count one call.

        Args:
            call: uses the damaged input; what it returns is not looked at.
            refusals: errors with which it may refuse the input. Their message must not
                be empty.
            what: how to make this input again, for the list of failures.
        """
        started = time.monotonic()
        try:
            with _at_most(SECONDS):
                call()
        except refusals as error:
            if str(error).strip():
                self.refused += 1
            else:
                self.failures.append(f"{what}: {type(error).__name__} without a word")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.failures.append(
                f"{what}: {type(error).__name__}: {error} ({place.name}, {place.line})"
            )
        else:
            self.accepted += 1
        self.slowest = max(self.slowest, time.monotonic() - started)


def flipped(content: bytes, draw: random.Random) -> bytes:
    """One bit changed; nothing happens to no bytes."""
    if not content:
        return content
    changed = bytearray(content)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(content: bytes, draw: random.Random) -> bytes:
    """The first part of a file, as a download that broke off leaves it."""
    return content[: draw.randrange(max(len(content), 1))]


def overwritten(content: bytes, draw: random.Random) -> bytes:
    """Up to 64 bytes in a row replaced by random ones."""
    start = draw.randrange(max(len(content), 1))
    length = min(draw.randint(1, 64), len(content) - start)
    return content[:start] + draw.randbytes(length) + content[start + length :]


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "a bit flipped": flipped,
    "cut short": cut,
    "bytes overwritten": overwritten,
}


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raise ``HangError`` in the main thread after some seconds."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise HangError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
