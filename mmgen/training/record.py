"""What a run's folder says of the run: config.json, vocabulary.json, manifest.json."""

from __future__ import annotations

import contextlib
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from mmgen.data.files import write_json
from mmgen.training import checkpoint as checkpoints
from mmgen.training import manifest as manifests
from mmgen.training.errors import CheckpointError, TrainingError
from mmgen.training.folder import read_json, run_folder
from mmgen.training.logs import Row


class Record:
    """The commands, source and machine of a run, and what came of it.

    Args:
        folder: the run's; None writes nothing.
        device: that the run trains on.
    """

    def __init__(self, folder: Path | None, device: torch.device) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = {}
        self._environment = manifests.environment(device)
        self._began = manifests.now()
        # the program's name without its folder, which is this machine's alone
        self._commands = [[Path(sys.argv[0]).name, *sys.argv[1:]]]
        self._commits = [self._environment["commit"]]
        self._started_from: dict[str, Any] | None = None

    @property
    def commit(self) -> str | None:
        """The commit of the package's source now."""
        return self._environment["commit"]

    def open(self, about: dict[str, Any], words: Any, resumed: bool) -> None:
        """Make the folder; fail before training where it cannot be written.

        Args:
            about: from ``describe``.
            words: the vocabulary as JSON.
            resumed: the folder has a run, which goes on.

        Raises:
            TrainingError: the folder cannot be written.
        """
        assert self.folder is not None
        try:
            (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            checkpoints.clean(self.folder / "checkpoints")
            for left in self.folder.glob(".*.tmp"):  # of a run that was killed
                left.unlink()
            if resumed:
                # What decides the weights stays as it was written first: checkpoints
                # are compared with it.
                before = read_json(self.folder / "config.json")
                about = {**before, "training": about["training"]}
            write_json(self.folder / "config.json", about)
            write_json(self.folder / "vocabulary.json", words)
        except OSError as error:
            raise TrainingError(
                f"out={str(self.folder)!r} cannot be written: "
                f"{error.strerror or error}. Name a folder on a disk that can."
            ) from error
        if resumed:
            before = read_json(self.folder / "manifest.json")
            self._began = before.get("started", self._began)
            self._started_from = before.get("started_from")
            self._follow(before)

    def start_from(self, path: Path, step: int, fresh: list[str]) -> None:
        """Note the run whose weights this one begins with, and what those lack."""
        folder = run_folder(path)
        self._started_from = {"run": str(folder), "step": step, "fresh": fresh}
        self._follow(read_json(folder / "manifest.json"))

    def _follow(self, before: dict[str, Any]) -> None:
        """Put the commands and commits of an earlier manifest in front."""
        commits = before.get("commits", [before.get("commit")])
        past = {"commands": before.get("commands", []), "commits": commits}
        for name, values in past.items():
            if not isinstance(values, list):
                raise CheckpointError(
                    f"manifest.json of the run lists no {name}: it has {values!r:.60}. "
                    f"Remove it to go on without what it says of the past."
                )
        self._commands = [*past["commands"], *self._commands]
        self._commits = [*commits, *self._commits]

    def write(
        self,
        *,
        stopped: str,
        seed: int,
        processes: int,
        steps: int,
        seconds: float,
        rows: list[Row],
        peak_memory: int,
        parameters: dict[str, int],
    ) -> None:
        """Write the manifest anew.

        Args:
            stopped: "running", or why the run ended.
            seed: of the run.
            processes: that train.
            steps: done so far.
            seconds: trained so far.
            rows: of the metrics.
            peak_memory: bytes.
            parameters: of each network.
        """
        self.manifest = {
            **self._environment,
            "commands": self._commands,  # the first, and each that went on
            "commits": self._commits,  # of the source, for each of them
            "started": self._began,
            "updated": manifests.now(),
            "stopped": stopped,
            "seed": seed,
            "processes": processes,
            "steps": steps,
            "started_from": self._started_from,
            "seconds": round(seconds, 3),
            "median_step_seconds": _median([row["step_seconds"] for row in rows]),
            "median_data_seconds": _median([row["data_seconds"] for row in rows]),
            "peak_memory_bytes": peak_memory,
            "parameters": parameters,
        }
        if self.folder:
            # Where the disk is full, the error that ended the run says so already.
            with contextlib.suppress(OSError):
                write_json(self.folder / "manifest.json", self.manifest)


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
