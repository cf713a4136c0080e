"""The one loop that trains every method of the book."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import inspect
import json
import math
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.workers import died, tells_of_death
from mmgen.training import checkpoint as checkpoints
from mmgen.training import manifest as manifests
from mmgen.training.average import Average
from mmgen.training.checkpoint import Checkpoint
from mmgen.training.config import TrainingConfig, from_json, to_json
from mmgen.training.errors import CheckpointError, TrainingError
from mmgen.training.logs import (
    Interval,
    Logs,
    Progress,
    Row,
    non_finite,
    read_history,
    save_grid,
)
from mmgen.training.step import Step, stream_seed
from mmgen.training.task import Task, class_path, find_class

# What may change when a run is resumed: how long it runs, where, and what is written
# down on the way, but nothing that decides what is learned. The one exception mends a
# run: a clip holds back the burst of gradients that threw it off.
CHANGEABLE = frozenset(
    [
        *("steps", "max_minutes", "accelerator", "devices", "strategy", "workers"),
        *("compile", "deterministic", "checkpoint_every", "log_every", "sample_every"),
        *("tensorboard", "progress", "gradient_clip"),
    ]
)
GRID = 32  # pictures of a sample grid


@dataclass
class Run:
    """A finished, stopped or loaded training run."""

    folder: Path | None  # None: nothing was written
    task: Task  # networks as the last step left them
    history: list[Row]  # the rows of metrics.csv
    manifest: dict[str, Any]  # versions, device, seed, wall time: manifest.json
    averages: dict[str, nn.Module] = field(repr=False)  # those of task.averaged

    def sampler(self) -> Any:
        """The task's sampler over copies of the averaged networks, in eval mode."""
        networks = copy.deepcopy({**self.task.networks, **self.averages})
        return self.task.sampler(networks).eval().requires_grad_(False)

    @classmethod
    def load(cls, path: str | Path, dataset: CaptionedDataset | None = None) -> Run:
        """The last checkpoint of a run's folder, not trained any further.

        Args:
            path: the folder, or one checkpoint in it.
            dataset: needed only for a data set that ``load_dataset`` does not know.

        Raises:
            CheckpointError: no run there, or one that is damaged or of another config.
        """
        folder, config, task, _, saved = _open(path, dataset, {})
        networks = dict(task.networks)
        averaged = {name: networks[name] for name in task.averaged}
        average = Average(averaged, config.ema_decay)
        checkpoints.restore(networks, saved.weights)
        checkpoints.restore(average.networks, saved.average)
        history = read_history(folder / "metrics.csv", saved.step)
        manifest = _read_json(folder / "manifest.json")
        return cls(folder, task, history, manifest, average.networks)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        dataset: CaptionedDataset | None = None,
        **changes: Any,
    ) -> Run:
        """Go on with a run exactly where its last checkpoint stands.

        Args:
            path: the run's folder, or one checkpoint in it.
            dataset: needed only for a data set that ``load_dataset`` does not know.
            changes: fields of TrainingConfig that decide how long and where to train
                (``steps``, ``max_minutes``, ``devices`` …), not what is learned.

        Raises:
            CheckpointError: no run there, or one that is damaged or of another config.
            ValueError: a change that would make it another run.
        """
        folder, config, task, dataset, saved = _open(path, dataset, changes)
        return _Loop(task, dataset, config, folder, saved).run()


def fit(task: Task, dataset: CaptionedDataset, config: TrainingConfig) -> Run:
    """Train a task on a data set.

    Args:
        task: new networks, from ``Task.build``.
        dataset: its pictures and captions.
        config: how long, on what, and where to write the run.

    Returns:
        The run; its ``manifest["stopped"]`` is "finished" or "max_minutes".

    Raises:
        ValueError: a config that data set or machine cannot serve, or a folder that
            already holds a run.
        NonFiniteError: a loss or a weight became NaN or infinite.
        CheckpointError: a checkpoint could not be written.
        KeyboardInterrupt: Ctrl-C (or SIGTERM); the step was finished and saved before.
    """
    folder = Path(config.out) if config.out else None
    if folder is not None and (folder / "config.json").exists() and _main_process():
        raise ValueError(
            f"out={str(folder)!r} already holds a run. Resume it, or name another "
            f"folder."
        )
    return _Loop(task, dataset, config, folder, None).run()


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
    # cuBLAS reads this when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


class _Loop:
    """One run, from its set-up to its last checkpoint."""

    def __init__(
        self,
        task: Task,
        dataset: CaptionedDataset,
        config: TrainingConfig,
        folder: Path | None,
        saved: Checkpoint | None,
    ) -> None:
        with _without("torchmetrics"):
            # Imported here: it takes seconds, and drawing samples does not need it.
            from lightning_fabric import Fabric
            from lightning_fabric.strategies import DDPStrategy

        self.task, self.dataset, self.config = task, dataset, config
        self.folder, self.saved = folder, saved
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
        self.fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=machines,
            strategy=strategy,
            precision=config.precision,
        )
        self.fabric.launch()
        self.device = self.fabric.device
        self.rank, self.world_size = self.fabric.global_rank, self.fabric.world_size
        parts = self.world_size * config.accumulate
        if config.batch_size % parts:
            raise ValueError(
                f"batch_size must be a multiple of processes x accumulate = {parts}; "
                f"got {config.batch_size}."
            )
        self.done = saved.step if saved else 0
        self.start = None
        if config.start_from and saved is None:
            self.start = _start(Path(config.start_from), dataset)
        before = saved or self.start
        self.seconds_before = float(before.about["seconds"]) if before else 0.0
        self.last_checkpoint: Path | None = None
        if folder and saved:
            self.last_checkpoint = checkpoints.newest(folder / "checkpoints")

    # -- set-up ------------------------------------------------------------------------

    def _set_up(self) -> None:
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
            self.fresh = checkpoints.begin_with(self.networks, self._beginning())
        for name, network in self.networks.items():
            task.networks[name] = self._wrap(network)
        # After wrapping, which gives every process the weights of the first.
        self.average = Average(averaged, config.ema_decay)
        if self.saved:
            checkpoints.restore(self.average.networks, self.saved.average)
        self.optimizers = self._make_optimizers()
        self.rates = {
            phase: [group["lr"] for group in optimizer.param_groups]
            for phase, optimizer in self.optimizers.items()
        }
        if self.saved:
            self._load_optimizers(self.saved.optimizers)
        groups = {
            phase: [p for g in optimizer.param_groups for p in g["params"]]
            for phase, optimizer in self.optimizers.items()
        }
        self.parameters = groups
        self.trained = {p for group in groups.values() for p in group}
        # Nobody would read or clear the gradients of the others.
        self.untrained = [
            p
            for network in self.networks.values()
            for p in network.parameters()
            if p.requires_grad and p not in self.trained
        ]
        for parameter in self.untrained:
            parameter.requires_grad_(False)
        # Phase -> parameters of no later phase: frozen once it is over.
        self.freeze: dict[str, list[nn.Parameter]] = {}
        for i, phase in enumerate(task.phases):
            later = {p for other in task.phases[i + 1 :] for p in groups[other]}
            self.freeze[phase] = [p for p in groups[phase] if p not in later]
        self.generator = torch.Generator(self.device)
        self.interval = Interval()
        self.checked = False  # whether the first step gave what it should
        self.waited = 0.0  # seconds, for data, since the last row

    def _beginning(self) -> dict[str, Tensor]:
        """Another run's weights; its averages for networks that this one only uses."""
        assert self.start is not None
        used = {name for name, net in self.networks.items() if not _learns(net)}
        averages = {
            name: tensor
            for name, tensor in self.start.average.items()
            if name.partition(".")[0] in used
        }
        return self.start.weights | averages

    def _wrap(self, network: nn.Module) -> nn.Module:
        learns = _learns(network)
        network.train(learns)
        if self.config.compile:
            # Every batch has the same shape, so shapes are compiled in.
            network = torch.compile(network, dynamic=False)  # type: ignore[assignment]
        if self.world_size > 1 and not learns:
            # Data parallelism refuses a network without gradients to exchange.
            return _Frozen(network, self.fabric.strategy.precision)
        return self.fabric.setup_module(network)

    def _make_optimizers(self) -> dict[str, Optimizer]:
        optimizers = self.task.optimizers()
        if set(optimizers) != set(self.task.phases):
            raise ValueError(
                f"optimizers() must give one optimiser for each of the phases "
                f"{', '.join(self.task.phases)}; got {', '.join(optimizers)}."
            )
        if self.device.type in ("cuda", "cpu"):
            for optimizer in optimizers.values():
                for group in optimizer.param_groups:
                    # One pass over all parameters, unless the task chose otherwise.
                    if group.get("fused", False) is None and not group.get("foreach"):
                        group["fused"] = True
        self.steppers: dict[str, Any] = {
            phase: self.fabric.setup_optimizers(optimizer)
            for phase, optimizer in optimizers.items()
        }
        return optimizers

    def _load_optimizers(self, states: dict[str, Any]) -> None:
        try:
            for phase, optimizer in self.optimizers.items():
                optimizer.load_state_dict(states[phase])
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint is of another config: its optimisers do not fit "
                f"({error})."
            ) from error

    # -- the run -----------------------------------------------------------------------

    def run(self) -> Run:
        """Train from where it stands to the last step."""
        original = dict(self.task.networks)
        self.history: list[Row] = []
        self.started = time.monotonic()
        self.began = manifests.now()
        # the program's name without its folder, which is this machine's alone
        self.commands = [[Path(sys.argv[0]).name, *sys.argv[1:]]]
        self.environment = manifests.environment(self.device)
        self.commits = [self.environment["commit"]]
        self.started_from: dict[str, Any] | None = None
        stopped = "error"
        with contextlib.ExitStack() as stack:
            stack.enter_context(_backends(self.config.deterministic))
            self.interrupt = stack.enter_context(_Interrupt())
            # Notebooks go on with the networks themselves, not with their wrappers.
            stack.callback(self.task.networks.update, original)
            self._set_up()
            stack.callback(self._give_back)
            self._open_folder()
            writes = self.folder if self.rank == 0 else None
            self.logs = Logs(writes, self.history, self.config.tensorboard)
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
            raise KeyboardInterrupt(self._farewell())
        return Run(
            self.folder, self.task, self.history, self.manifest, self.average.networks
        )

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
            if hasattr(batches, "close"):  # a generator ends its worker processes
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
                    self._step(batch, self.done)
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
                    stop = self._agree(stop) if logs else None
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

    def _step(self, batch: Batch, index: int) -> None:
        """All phases of one step."""
        config, task = self.config, self.task
        self._seed(index)
        self._set_rates(index)
        if config.channels_last:
            images = batch.images.contiguous(memory_format=torch.channels_last)
            batch = replace(batch, images=images)
        size = len(batch) // config.accumulate
        parts = [batch]
        if config.accumulate > 1:
            parts = [batch[i * size : (i + 1) * size] for i in range(config.accumulate)]
        row: dict[str, Tensor] = {}
        self._thaw()
        for phase in task.phases:
            prefix = f"{phase}/" if len(task.phases) > 1 else ""
            self.optimizers[phase].zero_grad(set_to_none=True)
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
                with self._exchange(last=i == len(parts) - 1):
                    values = task.training_step(part, step)
                    if not self.checked:
                        _check_scalars(values, phase)
                    if len(parts) > 1:
                        values = {k: v / len(parts) for k, v in values.items()}
                    self.fabric.backward(values["loss"])
                for name, value in values.items():
                    name, value = prefix + name, value.detach()
                    row[name] = row[name] + value if i else value
            if config.gradient_clip is not None:
                row[f"{prefix}gradient_norm"] = nn.utils.clip_grad_norm_(
                    self.parameters[phase], config.gradient_clip
                )
            self.steppers[phase].step()
            for parameter in self.freeze[phase]:
                parameter.requires_grad_(False)
        self.checked = True
        self.average.update(index)
        self.interval.add(index, row)

    def _thaw(self) -> None:
        for parameter in self.trained:
            parameter.requires_grad_(True)

    def _give_back(self) -> None:
        """Let every parameter learn that did before the run."""
        for parameter in [*self.trained, *self.untrained]:
            parameter.requires_grad_(True)

    def _exchange(self, last: bool) -> contextlib.AbstractContextManager:
        """Exchange gradients between processes only after the last part."""
        if self.world_size == 1 or last:
            return contextlib.nullcontext()
        stack = contextlib.ExitStack()
        for network in self.task.networks.values():
            if not isinstance(network, _Frozen):
                wrapped: Any = network
                stack.enter_context(self.fabric.no_backward_sync(wrapped))
        return stack

    def _seed(self, index: int) -> None:
        """Make dropout a function of the step, so that resuming is exact."""
        seed = stream_seed(self.config.seed, index, "global", self.rank)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index].manual_seed(seed)

    def _set_rates(self, index: int) -> None:
        factor = rate_factor(self.config, index)
        for phase, rates in self.rates.items():
            groups = self.optimizers[phase].param_groups
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * factor

    def _agree(self, stop: str | None) -> str | None:
        """The most pressing of all processes' reasons to stop."""
        reasons = (None, "max_minutes", "interrupted")
        code = torch.tensor(reasons.index(stop), device=self.device)
        torch.distributed.all_reduce(code, torch.distributed.ReduceOp.MAX)
        return reasons[int(code)]

    # -- what is written ---------------------------------------------------------------

    def _open_folder(self) -> None:
        """Make the run's folder; fail before training where it cannot be written."""
        if self.folder is None or self.rank:
            return
        try:
            (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            checkpoints.clean(self.folder / "checkpoints")
            about = self._describe()
            if self.saved:
                # What decides the weights stays as it was written first: checkpoints
                # are compared with it.
                before = _read_json(self.folder / "config.json")
                about = {**before, "training": about["training"]}
            checkpoints.write_json(self.folder / "config.json", about)
            words = self.dataset.vocabulary.to_json()
            checkpoints.write_json(self.folder / "vocabulary.json", words)
        except OSError as error:
            raise TrainingError(
                f"out={str(self.folder)!r} cannot be written: "
                f"{error.strerror or error}. Name a folder on a disk that can."
            ) from error
        if self.saved:
            self.history = read_history(self.folder / "metrics.csv", self.done)
            before = _read_json(self.folder / "manifest.json")
            self.began = before.get("started", self.began)
            self.started_from = before.get("started_from")
            self._follow(before)
        elif self.start:
            assert self.config.start_from is not None  # or there were no start
            folder = _run_folder(Path(self.config.start_from))
            before = _read_json(folder / "manifest.json")
            self.started_from = {
                "run": str(folder),
                "step": self.start.step,
                "fresh": self.fresh,
            }
            self._follow(before)
        self._write_manifest("running")

    def _follow(self, before: dict[str, Any]) -> None:
        """Put the commands and commits of an earlier manifest in front."""
        self.commands = [*before.get("commands", []), *self.commands]
        earlier = before.get("commits", [before.get("commit")])
        self.commits = [*earlier, *self.commits]

    def _describe(self) -> dict[str, Any]:
        return {
            "task": class_path(type(self.task)),
            "config": class_path(type(self.task.config)),
            "task_config": to_json(self.task.config),
            "dataset": describe_dataset(self.dataset),
            "training": to_json(self.config),
        }

    def _log(self) -> None:
        """Make a row; this waits for the device."""
        steps = len(self.interval.steps)
        if steps == 0:
            return
        means, bad = self.interval.read(self.world_size)
        if bad:
            raise non_finite(bad, self.last_checkpoint)
        elapsed = self.seconds_before + time.monotonic() - self.started
        row: Row = {"step": self.done, "seconds": round(elapsed, 3), **means}
        if self.config.warmup_steps or self.config.schedule != "constant":
            row["rate_factor"] = rate_factor(self.config, self.done - 1)
        row["step_seconds"] = (time.perf_counter() - self.mark) / steps
        row["data_seconds"] = self.waited / steps
        self.waited = 0.0
        self.logs.add(row)
        self.progress.row(row)

    def _save(self) -> None:
        """Write a checkpoint, unless a weight is not finite."""
        averages = self.average.networks
        everything = [*self.networks.values(), *averages.values()]
        if not checkpoints.all_finite(everything):
            raise non_finite(
                f"a weight is NaN or infinite after step {self.done - 1}, though the "
                f"losses are finite",
                self.last_checkpoint,
            )
        if self.folder is None or self.rank:
            return
        about = {
            **self._describe(),
            "seconds": self.seconds_before + time.monotonic() - self.started,
        }
        saved = Checkpoint(
            step=self.done,
            weights=checkpoints.flatten(self.networks),
            average=checkpoints.flatten(averages),
            optimizers={p: o.state_dict() for p, o in self.optimizers.items()},
            about=about,
        )
        self.last_checkpoint = checkpoints.save(self.folder / "checkpoints", saved)
        self._write_manifest("running")

    @torch.no_grad()
    def _sample(self) -> None:
        """Draw a grid of the data set's first captions with the averaged networks."""
        if self.folder is None or self.rank:
            return
        sampler = self.task.sampler({**self.networks, **self.average.networks})
        if not hasattr(sampler, "sample"):  # a matcher draws nothing
            return
        modes = {name: network.training for name, network in self.networks.items()}
        sampler.eval()
        captions = self.dataset.batch(range(min(GRID, len(self.dataset)))).captions
        images = sampler.sample(captions, seed=0)
        save_grid(self.folder / "samples" / f"step-{self.done:08d}.png", images)
        listing = self.folder / "samples" / "captions.txt"
        if not listing.exists():
            listing.write_text("\n".join(captions) + "\n", encoding="utf-8")
        for name, mode in modes.items():  # a sampler may hold a network that trains
            self.networks[name].train(mode)

    def _write_manifest(self, stopped: str) -> None:
        elapsed = time.monotonic() - self.started
        rows = self.history
        self.manifest = {
            **self.environment,
            "commands": self.commands,  # the first, and each that went on
            "commits": self.commits,  # of the source, for each of them
            "started": self.began,
            "updated": manifests.now(),
            "stopped": stopped,
            "seed": self.config.seed,
            "processes": self.world_size,
            "steps": self.done,
            "started_from": self.started_from,
            "seconds": round(self.seconds_before + elapsed, 3),
            "median_step_seconds": _median([row["step_seconds"] for row in rows]),
            "median_data_seconds": _median([row["data_seconds"] for row in rows]),
            "peak_memory_bytes": manifests.peak_memory(self.device),
            "parameters": {
                name: sum(p.numel() for p in network.parameters())
                for name, network in self.networks.items()
            },
        }
        if self.folder and self.rank == 0:
            # Where the disk is full, the error that ended the run says so already.
            with contextlib.suppress(OSError):
                checkpoints.write_json(self.folder / "manifest.json", self.manifest)

    def _farewell(self) -> str:
        if self.last_checkpoint is None:
            return (
                f"training was stopped after step {self.done}; nothing was saved: no "
                f"out folder was named."
            )
        return (
            f"training was stopped; {self.last_checkpoint} holds step "
            f"{int(self.last_checkpoint.name[5:])}. Go on with "
            f"Run.resume({str(self.folder)!r}) or mmgen train … --resume {self.folder}."
        )


def _check_scalars(values: dict[str, Tensor], phase: str) -> None:
    """Say early what a task's step must return."""
    if "loss" not in values:
        raise ValueError(
            f"training_step must return a 'loss' in phase {phase!r}; got "
            f"{', '.join(values) or 'nothing'}."
        )
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.ndim:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value)
            raise ValueError(
                f"training_step must return scalar tensors; {name!r} in phase "
                f"{phase!r} has {shape}."
            )
    if not values["loss"].requires_grad:
        raise ValueError(
            f"the loss of phase {phase!r} depends on no parameter that it may change."
        )


def _learns(network: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in network.parameters())


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


class _Interrupt:
    """Ctrl-C and SIGTERM let the step end; a second one stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interrupt:
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


def rate_factor(config: TrainingConfig, index: int) -> float:
    """What the learning rate of step ``index`` is multiplied by, in [0, 1].

    A linear warm-up, then constant, or half a cosine down to 0 at the last step.
    """
    if index < config.warmup_steps:
        return (index + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    length = max(config.steps - config.warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * (index - config.warmup_steps) / length))


def describe_dataset(dataset: CaptionedDataset) -> dict[str, Any]:
    """What makes a data set again, and a digest of its vocabulary."""
    tokens = json.dumps(dataset.vocabulary.to_json(), ensure_ascii=False)
    return {
        "name": dataset.name,
        "split": dataset.split,
        "image_size": dataset.image_size,
        "language": dataset.language,
        "options": dataset.options,
        "vocabulary": hashlib.sha256(tokens.encode()).hexdigest()[:16],
    }


def _open(
    path: str | Path, dataset: CaptionedDataset | None, changes: dict[str, Any]
) -> tuple[Path, TrainingConfig, Task, CaptionedDataset, Checkpoint]:
    """Everything that a run's folder describes, made again."""
    folder, newest = _run_folder(Path(path)), _last_checkpoint(Path(path))
    about = _read_json(folder / "config.json")
    saved = checkpoints.load(newest)
    try:
        config = from_json(TrainingConfig, about["training"])
        task_class = find_class(about["task"])
        task_config = from_json(find_class(about["config"]), about["task_config"])
        dataset = dataset or _load_dataset(about["dataset"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} does not describe a run: {error}"
        ) from error
    _same(about, saved, describe_dataset(dataset), newest)
    config = _changed(config, changes)
    if folder != Path(config.out or ""):
        config = replace(config, out=str(folder))  # the folder was moved
    torch.manual_seed(config.seed)
    return folder, config, task_class.build(task_config, dataset), dataset, saved


def _run_folder(path: Path) -> Path:
    """The run's folder, of itself or of one checkpoint in it."""
    folder = path.parent.parent if (path / "checkpoint.json").exists() else path
    if not (folder / "config.json").exists():
        raise CheckpointError(f"{folder} holds no run: there is no config.json in it.")
    return folder


def _last_checkpoint(path: Path) -> Path:
    """The newest checkpoint of a run's folder, or the one that ``path`` names."""
    folder = _run_folder(path)
    newest = checkpoints.newest(folder / "checkpoints") if folder == path else path
    if newest is None:
        raise CheckpointError(
            f"{folder} holds no checkpoint yet. Remove the folder and start again."
        )
    return newest


def _start(path: Path, dataset: CaptionedDataset) -> Checkpoint:
    """What a new run begins with: another run's weights, for the same words."""
    saved = checkpoints.load(_last_checkpoint(path))
    here = describe_dataset(dataset)["vocabulary"]
    there = saved.about.get("dataset", {}).get("vocabulary")
    if there != here:
        raise CheckpointError(
            f"start_from={str(path)!r} knows other words than this data set: its "
            f"vocabulary is {there}, this one {here}. A word's vector would stand for "
            f"another word."
        )
    return saved


def _same(
    about: dict[str, Any], saved: Checkpoint, dataset: dict[str, Any], path: Path
) -> None:
    """Refuse a checkpoint of another config or another data set."""
    dataset = json.loads(json.dumps(dataset))  # tuples as JSON has them
    for key, here in (
        ("task", about["task"]),
        ("task_config", about["task_config"]),
        ("dataset", about["dataset"]),
    ):
        there = saved.about.get(key)
        if there != here:
            raise CheckpointError(
                f"{path} is of another config than the run: {_difference(there, here)}."
            )
    if dataset != about["dataset"]:
        raise CheckpointError(
            f"the data set is not the one that {path} was trained on: "
            f"{_difference(about['dataset'], dataset)}."
        )


def _difference(there: Any, here: Any) -> str:
    if not isinstance(there, dict) or not isinstance(here, dict):
        return f"{there!r} there, {here!r} here"
    changed = [k for k in {**there, **here} if there.get(k) != here.get(k)]
    return "; ".join(
        f"{key} is {there.get(key)!r} there and {here.get(key)!r} here"
        for key in changed[:3]
    )


def _changed(config: TrainingConfig, changes: dict[str, Any]) -> TrainingConfig:
    fixed = sorted(set(changes) - CHANGEABLE)
    if fixed:
        raise ValueError(
            f"{', '.join(fixed)} cannot change when a run is resumed, only "
            f"{', '.join(sorted(CHANGEABLE))}."
        )
    steps = changes.get("steps", config.steps)
    if steps != config.steps and config.schedule == "cosine":
        raise ValueError(
            f"steps must stay {config.steps}: with schedule='cosine' the learning rate "
            f"of every step depends on it; got {steps}."
        )
    if "max_minutes" not in changes:
        changes = {**changes, "max_minutes": None}  # it belonged to the last call
    return replace(config, **changes)


def _load_dataset(about: dict[str, Any]) -> CaptionedDataset:
    from mmgen.data import load_dataset

    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in about["options"].items()
    }
    return load_dataset(
        about["name"],
        split=about["split"],
        image_size=about["image_size"],
        language=about["language"],
        **options,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is not a JSON object.")
    return data


def _main_process() -> bool:
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    return int(rank) == 0


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Let an import find that a package is not installed.

    Fabric imports torchmetrics, and with it torchvision and scipy, only to compare its
    version for a feature that is not used here: 4 of the 10 seconds that it takes.
    """
    hide = package not in sys.modules
    if hide:
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hide:
            del sys.modules[package]


@contextlib.contextmanager
def _backends(deterministic: bool) -> Iterator[None]:
    """Set torch's switches for a run, and put them back."""
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    # All batches have one shape: the search for the fastest convolution pays.
    torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_deterministic, warn_only=warns)
        torch.backends.cudnn.benchmark = benchmark
