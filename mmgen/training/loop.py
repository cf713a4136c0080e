"""The one loop that trains every method of the book."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmgen import pretrained
from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.workers import died, tells_of_death
from mmgen.interfaces import Draws, Task
from mmgen.training import checkpoint as checkpoints
from mmgen.training.average import Average
from mmgen.training.checkpoint import Checkpoint
from mmgen.training.config import TrainingConfig
from mmgen.training.devices import (
    agree,
    backends,
    exchange,
    launch,
    learns,
    seed_step,
    wrap,
)
from mmgen.training.folder import describe, load_start
from mmgen.training.logs import (
    Interval,
    Logs,
    Progress,
    Row,
    non_finite,
    read_history,
    save_grid,
    unwritable,
)
from mmgen.training.manifest import peak_memory
from mmgen.training.phases import Phases, check_scalars, rate_factor
from mmgen.training.record import Record
from mmgen.training.signals import Interrupt, farewell
from mmgen.training.step import Step

GRID = 32  # pictures of a sample grid


class Loop:
    """One run, from its set-up to its last checkpoint.

    Args:
        task: the method, with new networks.
        dataset: what it learns from.
        config: how long, on what, and where to write the run.
        saved: the checkpoint of this run that it goes on from.
    """

    def __init__(
        self,
        task: Task,
        dataset: CaptionedDataset,
        config: TrainingConfig,
        saved: Checkpoint | None = None,
    ) -> None:
        self.task, self.dataset, self.config = task, dataset, config
        self.saved = saved
        self.folder = Path(config.out) if config.out else None
        self.fabric = launch(config)
        self.device = self.fabric.device
        self.rank, self.world_size = self.fabric.global_rank, self.fabric.world_size
        self.writes = self.folder if self.rank == 0 else None
        parts = self.world_size * config.accumulate
        if config.batch_size % parts:
            raise ValueError(
                f"batch_size must be a multiple of processes x accumulate = {parts}; "
                f"got {config.batch_size}."
            )
        task.check_parts(
            config.batch_size // parts, config.batch_size // config.accumulate
        )
        self.done = saved.step if saved else 0
        self.start = None  # a checkpoint of another run, whose weights this begins with
        if config.start_from and saved is None:
            self.start = load_start(Path(config.start_from), dataset)
        before = saved or self.start
        self.seconds_before = float(before.about["seconds"]) if before else 0.0
        self.last_checkpoint: Path | None = None
        if self.folder and saved:
            self.last_checkpoint = checkpoints.newest(self.folder / "checkpoints")

    # -- set-up ------------------------------------------------------------------------

    def set_up(self) -> None:
        """Move, average, wrap, compile, and make the optimisers."""
        task, config = self.task, self.config
        self.networks = dict(task.networks)  # themselves, under their own names
        unknown = set(task.averaged) - set(self.networks)
        if unknown:
            raise ValueError(
                f"averaged must name networks of the task "
                f"({', '.join(self.networks)}); got {', '.join(sorted(unknown))}."
            )
        for network in self.networks.values():
            network.to(self.device)
            if config.channels_last:
                network.to(memory_format=torch.channels_last)
        averaged = {name: self.networks[name] for name in task.averaged}
        self.fresh: list[str] = []  # tensors that what it starts from does not have
        if self.saved:
            checkpoints.restore(self.networks, self.saved.weights)
        elif self.start:
            tensors = _beginning(self.start, self.networks)
            self.fresh = checkpoints.begin_with(self.networks, tensors)
        for name, network in self.networks.items():
            task.networks[name] = wrap(self.fabric, network, config.compile)
        # After wrapping, which gives every process the weights of the first.
        self.average = Average(averaged, config.ema_decay)
        if self.saved:
            checkpoints.restore(self.average.networks, self.saved.average)
        self.phases = Phases(task, self.networks, self.fabric)
        if self.saved:
            self.phases.restore(self.saved.optimizers)
        self.generator = torch.Generator(self.device)
        self.interval = Interval()
        self.checked = False  # whether the first step gave what it should
        self.waited = 0.0  # seconds, for data, since the last row

    # -- the run -----------------------------------------------------------------------

    def run(self) -> None:
        """Train from where it stands to the last step.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM; the message says what was saved.
        """
        original = dict(self.task.networks)
        self.history: list[Row] = []
        self.started = time.monotonic()
        self.record = Record(self.writes, self.device)
        stopped = "error"
        with contextlib.ExitStack() as stack:
            stack.enter_context(backends(self.config.deterministic))
            self.interrupt = stack.enter_context(Interrupt())
            # Notebooks go on with the networks themselves, not with their wrappers.
            stack.callback(self.task.networks.update, original)
            self.set_up()
            stack.callback(self.phases.give_back)
            self._open_folder()
            self.logs = Logs(self.writes, self.history, self.config.tensorboard)
            stack.callback(self.logs.close)
            shown = self.config.progress if self.rank == 0 else "none"
            self.progress = Progress(shown, self.done, self.config.steps)
            try:
                stopped = self._train()
            except KeyboardInterrupt:  # the second Ctrl-C
                stopped = "interrupted"
            finally:
                self.progress.close(self.done)
                self._write_manifest(stopped)
        if stopped == "interrupted":
            text = farewell(self.done, self.last_checkpoint, self.folder)
            raise KeyboardInterrupt(text)

    @property
    def manifest(self) -> dict[str, Any]:
        """What was written down last about the run."""
        return self.record.manifest

    def _train(self) -> str:
        """All steps; returns why it ended."""
        config = self.config
        if config.sample_every and self.done == 0:
            self._sample()
        batches = self.dataset.batches(
            config.batch_size,
            seed=config.seed,
            start_step=self.done,
            rank=self.rank,
            world_size=self.world_size,
            device=self.device,
            workers=config.workers,
        )
        deadline = math.inf
        if config.max_minutes is not None:
            deadline = self.started + 60 * config.max_minutes
        stop = None
        self.mark = time.perf_counter()
        with contextlib.ExitStack() as stack:
            if isinstance(batches, Generator):  # which ends its worker processes
                stack.callback(batches.close)
            while self.done < config.steps and stop is None:
                began = time.perf_counter()
                try:
                    batch = next(batches)
                except RuntimeError:
                    if not self.interrupt.asked:
                        raise
                    # Ctrl-C reached the loader's workers too; every step so far is
                    # whole.
                    stop = "interrupted"
                    self._log()
                    self._save()
                    break
                self.waited += time.perf_counter() - began
                try:
                    self.step(batch, self.done)
                except RuntimeError as error:
                    # The step may be half done: the last checkpoint is what holds.
                    if not tells_of_death(error):
                        raise
                    if not self.interrupt.asked:
                        raise died(self.done, error) from error
                    stop = "interrupted"
                    break
                self.done += 1
                self.progress.step(self.done)
                logs = self.done % config.log_every == 0
                if self.interrupt.asked:
                    stop = "interrupted"
                elif time.monotonic() > deadline:
                    stop = "max_minutes"
                if self.world_size > 1:
                    # All must stop in the same step; agreeing costs an exchange.
                    stop = agree(stop, self.device) if logs else None
                if stop is None and self.done == config.steps:
                    stop = "finished"
                saves = stop is not None or (
                    self.folder is not None and self.done % config.checkpoint_every == 0
                )
                if logs or saves:
                    self._log()
                if saves:
                    self._save()
                if config.sample_every and self.done % config.sample_every == 0:
                    self._sample()
                if logs or saves:
                    self.mark = time.perf_counter()
        return stop or "finished"

    def step(self, batch: Batch, index: int) -> None:
        """All phases of one step.

        Args:
            batch: this process's samples of it.
            index: of the step, from 0.
        """
        config, task, phases = self.config, self.task, self.phases
        seed_step(config.seed, index, self.rank, self.device)
        phases.begin(rate_factor(config, index))
        if config.channels_last:
            images = batch.images.contiguous(memory_format=torch.channels_last)
            batch = replace(batch, images=images)
        size = len(batch) // config.accumulate
        parts = [batch]
        if config.accumulate > 1:
            parts = [batch[i * size : (i + 1) * size] for i in range(config.accumulate)]
        row: dict[str, Tensor] = {}
        for phase in task.phases:
            prefix = f"{phase}/" if len(task.phases) > 1 else ""
            phases.clear(phase)
            for i, part in enumerate(parts):
                step = Step(
                    index=index,
                    phase=phase,
                    accumulating=len(parts) > 1,
                    device=self.device,
                    rank=self.rank,
                    world_size=self.world_size,
                    seed=config.seed,
                    first=self.rank * len(batch) + i * size,
                    size=size,
                    global_size=config.batch_size,
                    generator=self.generator,
                )
                last = i == len(parts) - 1
                with exchange(self.fabric, task.networks.values(), last):
                    values = task.training_step(part, step)
                    if not self.checked:
                        check_scalars(values, phase)
                    if len(parts) > 1:
                        values = {k: v / len(parts) for k, v in values.items()}
                    self.fabric.backward(values["loss"])
                for name, value in values.items():
                    name, value = prefix + name, value.detach()
                    row[name] = row[name] + value if i else value
            if index == 0:
                phases.check_gradient(phase)
            if config.gradient_clip is not None:
                norm = phases.clip(phase, config.gradient_clip)
                row[f"{prefix}gradient_norm"] = norm
            phases.step(phase)
        self.checked = True
        self.average.update(index)
        self.interval.add(index, row)

    # -- what is written ---------------------------------------------------------------

    def _open_folder(self) -> None:
        """Begin the run's folder, or go on with it."""
        if self.writes is None:
            return
        with self._sampler() as sampler:
            if not isinstance(sampler, pretrained.Storable):
                raise ValueError(
                    f"sampler() must return what a run's folder can keep: a module "
                    f"with init_args and from_args, as mmgen.sampling.Sampler has "
                    f"them; got a {type(sampler).__name__}. Without out, any will do."
                )
        about = describe(self.task, self.dataset, self.config)
        resumed = self.saved is not None
        self.record.open(about, self.dataset.vocabulary.to_json(), resumed)
        if resumed:
            self.history = read_history(self.writes / "metrics.csv", self.done)
            self._save_sampler()  # the killed run's may be half new, or lack
        elif self.start and self.config.start_from:
            path = Path(self.config.start_from)
            self.record.start_from(path, self.start.step, self.fresh)
        self._write_manifest("running")

    def _log(self) -> None:
        """Make a row; this waits for the device."""
        steps = len(self.interval.steps)
        if steps == 0:
            return
        means, bad = self.interval.read(self.world_size)
        if bad:
            raise non_finite(bad, self.last_checkpoint)
        row: Row = {"step": self.done, "seconds": round(self._seconds(), 3), **means}
        if self.config.warmup_steps or self.config.schedule != "constant":
            row["rate_factor"] = rate_factor(self.config, self.done - 1)
        row["step_seconds"] = (time.perf_counter() - self.mark) / steps
        row["data_seconds"] = self.waited / steps
        self.waited = 0.0
        self.logs.add(row)
        self.progress.row(row)

    def _save(self) -> None:
        """Write a checkpoint and the sampler, unless a weight is not finite."""
        averages = self.average.networks
        everything = [*self.networks.values(), *averages.values()]
        if not checkpoints.all_finite(everything):
            raise non_finite(
                f"a weight is NaN or infinite after step {self.done - 1}, though the "
                f"losses are finite",
                self.last_checkpoint,
            )
        if self.writes is None:
            return
        about = describe(self.task, self.dataset, self.config)
        saved = Checkpoint(
            step=self.done,
            weights=checkpoints.flatten(self.networks),
            average=checkpoints.flatten(averages),
            optimizers=self.phases.states(),
            about={**about, "seconds": self._seconds()},
        )
        self.last_checkpoint = checkpoints.save(self.writes / "checkpoints", saved)
        self._save_sampler()
        self._write_manifest("running")

    def _save_sampler(self) -> None:
        """Write what is left of the method now, for ``mmgen.pretrained.load``."""
        assert self.writes is not None
        about = describe(self.task, self.dataset, self.config)
        fields = {
            "data": about["dataset"],
            "task": about["task"],
            "steps": self.done,
            "commit": self.record.commit,
        }
        with self._sampler() as sampler:
            try:
                pretrained.save_run(self.writes, sampler, fields)
            except OSError as error:
                raise unwritable(self.writes / "sampler.safetensors", error) from error

    @contextlib.contextmanager
    def _sampler(self) -> Iterator[Any]:
        """The task's sampler over the averages; training goes on as if not asked."""
        modes = {name: network.training for name, network in self.networks.items()}
        with torch.random.fork_rng(devices=[]):  # its networks may begin at random
            sampler = self.task.sampler({**self.networks, **self.average.networks})
        try:
            yield sampler
        finally:
            for name, mode in modes.items():  # a sampler may hold one that trains
                self.networks[name].train(mode)

    @torch.no_grad()
    def _sample(self) -> None:
        """Draw a grid of the data set's first captions with the averaged networks."""
        if self.writes is None:
            return
        with self._sampler() as sampler:
            sampler.eval()
            if not isinstance(sampler, Draws):  # a matcher draws nothing
                return
            captions = self.dataset.batch(range(min(GRID, len(self.dataset)))).captions
            images = sampler.sample(captions, seed=0)
        save_grid(self.writes / "samples" / f"step-{self.done:08d}.png", images)
        listing = self.writes / "samples" / "captions.txt"
        if not listing.exists():
            listing.write_text("\n".join(captions) + "\n", encoding="utf-8")

    def _seconds(self) -> float:
        """How long the run has trained, with what came before it."""
        return self.seconds_before + time.monotonic() - self.started

    def _write_manifest(self, stopped: str) -> None:
        self.record.write(
            stopped=stopped,
            seed=self.config.seed,
            processes=self.world_size,
            steps=self.done,
            seconds=self._seconds(),
            rows=self.history,
            peak_memory=peak_memory(self.device),
            parameters={
                name: sum(p.numel() for p in network.parameters())
                for name, network in self.networks.items()
            },
        )


def _beginning(start: Checkpoint, networks: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Another run's weights; its averages for networks that this one only uses."""
    used = {name for name, network in networks.items() if not learns(network)}
    averages = {
        name: tensor
        for name, tensor in start.average.items()
        if name.partition(".")[0] in used
    }
    return start.weights | averages
