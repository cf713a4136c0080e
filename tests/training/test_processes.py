"""Several processes, and processes that are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toy_task import ToyDataset

from mmgen.training import Run
from mmgen.training import checkpoint as checkpoints

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow

TRAIN = """
import sys
sys.path.insert(0, {here!r})
from dataclasses import replace
from test_loop import CONFIG, new_task
from toy_task import ToyConfig, ToyDataset
from gathering_task import GatheringTask
from mmgen.training import fit

if __name__ == "__main__":
    fit(
        {task},
        ToyDataset(),
        replace(CONFIG, devices={devices}, accumulate={accumulate}, out={out!r}),
    )
"""
TOY = "new_task(ToyConfig(dropout=0.0, keep={keep}))"
GATHERING = "new_task(cls=GatheringTask)"


def train(folder: Path, name: str, task: str, devices: int, accumulate: int) -> Path:
    out = folder / f"{name}-{devices}-{accumulate}"
    script = folder / f"{out.name}.py"
    script.write_text(
        TRAIN.format(
            here=str(HERE),
            task=task,
            devices=devices,
            accumulate=accumulate,
            out=str(out),
        )
    )
    subprocess.run(
        [sys.executable, script],
        check=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return out


@pytest.mark.parametrize(
    ("name", "task", "accumulate"),
    [
        ("kept", TOY.format(keep=True), 1),
        ("parts", TOY.format(keep=False), 2),
        ("gathering", GATHERING, 1),
    ],
)
def test_two_processes_train_the_weights_of_one(tmp_path, name, task, accumulate):
    runs = [train(tmp_path, name, task, devices, accumulate) for devices in (1, 2)]
    ends = [checkpoints.load(checkpoints.newest(run / "checkpoints")) for run in runs]
    assert ends[0].step == ends[1].step == 12
    for part in ("weights", "average"):
        a, b = (getattr(end, part) for end in ends)
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=1e-5, atol=1e-5)
    rows = [(run / "metrics.csv").read_text().splitlines() for run in runs]
    assert len(rows[0]) == len(rows[1])
    moved = checkpoints.load(checkpoints.listed(runs[0] / "checkpoints")[0])
    assert any(
        not torch.equal(moved.weights[key], ends[0].weights[key])
        for key in moved.weights
    )


def test_kill_at_ten_moments_leaves_a_checkpoint_that_loads(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(
        f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from dataclasses import replace
from pathlib import Path
from test_loop import CONFIG, new_task
from toy_task import ToyConfig, ToyDataset
from mmgen.training import Run, fit

out = {str(tmp_path / "run")!r}
if Path(out, "config.json").exists():
    Run.resume(out, ToyDataset(), steps=10**9)
else:
    # Wide, so that a good part of the time is spent writing.
    config = replace(CONFIG, checkpoint_every=2, log_every=2, steps=10**9, out=out)
    fit(new_task(ToyConfig(width=1500)), ToyDataset(), config)
"""
    )
    folder = tmp_path / "run" / "checkpoints"
    moments = random.Random(0)
    step, torn = 0, 0
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, script], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        try:
            limit = time.monotonic() + 300
            while latest(folder) <= step:  # it has gone on from the last one
                assert process.poll() is None, "the run ended by itself"
                assert time.monotonic() < limit
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.5))
        finally:
            process.kill()
            process.wait()
        torn += bool(list(folder.glob(".tmp-*")))
        names = [path.name for path in folder.iterdir() if path.name[0] != "."]
        assert names and all(name.startswith("step-") for name in names)
        for path in checkpoints.listed(folder):  # not only the last is whole
            checkpoints.load(path)
        saved = checkpoints.load(checkpoints.newest(folder))
        assert saved.step > step
        step = saved.step
        assert Run.load(tmp_path / "run", ToyDataset()).manifest["seed"] == 3
    print(f"{torn} of 10 kills met a checkpoint half written")


def latest(folder: Path) -> int:
    newest = checkpoints.newest(folder)
    return int(newest.name[5:]) if newest else 0
