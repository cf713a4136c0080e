"""Kill a training run ten times at random moments: ``python killing.py FOLDER``.

The runs are forks of this process, which has imported everything, so that the ten of
them start in no time. One thread: OpenMP's do not survive a fork.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import lightning_fabric  # noqa: F401 - before the forks, not in each of them
import torch
from toy_task import CONFIG, ToyConfig, ToyDataset, new_task

from mmgen import pretrained
from mmgen.pretrained import WeightsError
from mmgen.training import Run, fit
from mmgen.training import checkpoint as checkpoints


def train(out: Path) -> None:
    """Train without end; writing checkpoints is a good part of the time."""
    if (out / "config.json").exists():
        Run.resume(out, ToyDataset(), steps=10**9)
    else:
        config = replace(
            CONFIG, checkpoint_every=2, log_every=2, steps=10**9, out=str(out)
        )
        fit(new_task(ToyConfig(width=1500)), ToyDataset(), config)


def latest(folder: Path) -> int:
    """The step of the last checkpoint, 0 before the first."""
    newest = checkpoints.newest(folder)
    return int(newest.name[5:]) if newest else 0


def main(out: Path) -> None:
    torch.set_num_threads(1)
    folder = out / "checkpoints"
    moments = random.Random(0)
    step, torn = 0, 0
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            try:
                train(out)
            finally:
                os._exit(1)
        limit = time.monotonic() + 300
        while latest(folder) <= step:  # it has gone on from the last one
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the run ended by itself"
            assert time.monotonic() < limit, "the run does not go on"
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.2))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        torn += bool(list(folder.glob(".tmp-*")))
        names = [path.name for path in folder.iterdir() if path.name[0] != "."]
        assert names and all(name.startswith("step-") for name in names), names
        for path in checkpoints.listed(folder):  # not only the last is whole
            saved = checkpoints.load(path)
        assert saved.step > step
        step = saved.step
        assert Run.load(out, ToyDataset()).manifest["seed"] == CONFIG.seed
        try:
            assert 0 < pretrained.load(out).card["steps"] <= step
        except WeightsError as error:  # killed between the two files
            assert "Run.resume" in str(error), error
    print(f"last step {step}; {torn} of 10 kills met a half-written checkpoint")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
