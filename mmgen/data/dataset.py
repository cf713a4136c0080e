"""What every captioned data set has in common.

A data set here is a pure function of (index, epoch): which caption is picked, which
crop is cut, is decided by these two numbers and the data set's seed alone. So the order
of a run can be resumed at any step, and is the same for any number of processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmgen.data.batch import Batch
from mmgen.data.examination import Examination
from mmgen.data.vocabulary import Vocabulary
from mmgen.data.workers import handed_over, or_failure

if TYPE_CHECKING:
    from mmgen.interfaces import Alternatives


def epoch_order(length: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch: a permutation of ``length`` set by seed and epoch.

    Drawn by torch, whose shuffle takes a tenth of the time of sorting hashed counters,
    but which promises the same order for one release only. A test holds the order that
    is known, and the manifest of a run names the release that trained it.
    """
    generator = torch.Generator().manual_seed(hash((seed, epoch)) & (2**63 - 1))
    return torch.randperm(length, generator=generator)


def one_of(argument: str, value: object, known: Sequence[str]) -> None:
    """Raise a ValueError that names the argument unless ``value`` is known."""
    if value not in known:
        raise ValueError(
            f"{argument} must be one of {', '.join(known)}; got {value!r}."
        )


def check_batch_size(
    dataset: CaptionedDataset, batch_size: int, world_size: int
) -> None:
    """Refuse a batch that the data set or the processes cannot fill.

    Raises:
        ValueError: ``batch_size`` and what it would have to be.
    """
    if batch_size % world_size:
        raise ValueError(
            f"batch_size must be a multiple of the {world_size} processes; got "
            f"{batch_size}."
        )
    if not 0 < batch_size <= len(dataset):
        raise ValueError(
            f"batch_size must lie in 1..{len(dataset)}, the samples of {dataset.name} "
            f"({dataset.split}); got {batch_size}."
        )


class Order(NamedTuple):
    """Which samples a process takes, and from which step on."""

    batch_size: int  # of all processes
    seed: int
    start_step: int
    rank: int
    world_size: int


class CaptionedDataset(ABC):
    """Captioned pictures with random access by (index, epoch).

    A subclass sets the attributes below and defines ``__len__``, ``prepare`` (cheap,
    picklable, may run in a worker process) and ``finish`` (on the device, in the
    process that trains: drawing pictures, normalising).
    """

    name: str  # as in load_dataset
    split: str
    image_size: int  # H = W, pixels
    language: str
    vocabulary: Vocabulary
    max_tokens: int  # T of every batch of this data set
    attributes: dict[str, tuple[str, ...]]  # column of Batch.attributes -> its values
    options: dict[str, Any]  # what load_dataset needs besides, to make this set again
    synonyms: Mapping[str, str] = MappingProxyType({})  # words for words of values
    alternatives: Alternatives | None = None  # what its captions leave open, if known
    examination: Examination | None = None  # what can be asked about it, if known
    shortened: int = 0  # captions longer than T: they lose words, others in every epoch

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def prepare(self, indices: Sequence[int], epoch: int) -> Any:
        """What ``finish`` needs for these samples, on the CPU."""

    @abstractmethod
    def finish(self, prepared: Any, device: torch.device | str) -> Batch:
        """The batch of ``prepare``'s result on ``device``."""

    def batch(
        self,
        indices: Sequence[int] | Tensor,
        epoch: int = 0,
        device: torch.device | str = "cpu",
    ) -> Batch:
        """The samples at ``indices`` as they look in ``epoch``.

        Raises:
            IndexError: an index outside the data set.
        """
        rows = [int(i) for i in indices]
        bad = [i for i in rows if not 0 <= i < len(self)]
        if bad:
            raise IndexError(
                f"indices must lie in 0..{len(self) - 1} ({self.name}, {self.split}); "
                f"got {bad[:5]}."
            )
        return self.finish(self.prepare(rows, epoch), device)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Shuffled batches without end, beginning at any step.

        Args:
            batch_size: samples of a step over all processes; a multiple of world_size.
            seed: order of the samples.
            start_step: step to begin at; the same batches follow as in one long run.
            rank, world_size: this process takes the rank-th part of every batch.
            device: where the tensors end.
            workers: processes that prepare batches ahead; 0 prepares them here.

        Raises:
            ValueError: a batch that the data set or the processes cannot fill.
            WorkerError: a worker that died.
            ShardError: a shard that cannot be read to its end.
        """
        check_batch_size(self, batch_size, world_size)
        order = Order(batch_size, seed, start_step, rank, world_size)
        yield from self._batches(order, device, workers)

    def _batches(
        self, order: Order, device: torch.device | str, workers: int
    ) -> Iterator[Batch]:
        """What ``batches`` gives, in an order that has been checked."""
        steps = _Steps(len(self), *order)
        if workers == 0:
            for rows, epoch in steps:
                yield self.finish(self.prepare(rows, epoch), device)
        loader = DataLoader(
            _Prepared(self),
            sampler=steps,
            batch_size=None,
            num_workers=workers,
            persistent_workers=False,
        )
        for (prepared,) in handed_over(loader, order.start_step):
            yield self.finish(prepared, device)


class _Prepared(Dataset):
    """The ``prepare`` of a data set, as the loader's workers call it."""

    def __init__(self, dataset: CaptionedDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: tuple[list[int], int]) -> Any:
        return or_failure(lambda: self.dataset.prepare(*key))


class _Steps:
    """(indices, epoch) of every step from ``start_step`` on, without end."""

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        start_step: int,
        rank: int,
        world_size: int,
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start_step, self.rank, self.world_size = start_step, rank, world_size

    def __iter__(self) -> Iterator[tuple[list[int], int]]:
        per_epoch = self.length // self.batch_size  # the incomplete last batch is left
        share = self.batch_size // self.world_size
        step, known = self.start_step, -1
        while True:
            epoch, position = divmod(step, per_epoch)
            if epoch != known:
                order, known = epoch_order(self.length, self.seed, epoch), epoch
            start = position * self.batch_size + self.rank * share
            yield order[start : start + share].tolist(), epoch
            step += 1
