"""Several processes, and processes that are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy_task import assert_same

from mmgen import pretrained
from mmgen.training import checkpoint as checkpoints

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow

TRAIN = """
import sys
sys.path.insert(0, {here!r})
from dataclasses import replace
from toy_task import CONFIG, ToyConfig, ToyDataset, new_task
from gathering_task import DescendingTask, GatheringTask
from mmgen.training import fit

if __name__ == "__main__":
    fit(
        {task},
        ToyDataset(),
        replace(CONFIG, devices={devices}, accumulate={accumulate}, out={out!r}),
    )
"""
TOY = "new_task(ToyConfig(dropout=0.0, keep={keep}), DescendingTask)"
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
    for run, end in zip(runs, ends, strict=True):  # written by the first process alone
        drawing = {"generator": pretrained.load(run).generator}
        assert_same(checkpoints.flatten(drawing), end.average)
    rows = [(run / "metrics.csv").read_text().splitlines() for run in runs]
    assert len(rows[0]) == len(rows[1])
    moved = checkpoints.load(checkpoints.listed(runs[0] / "checkpoints")[0])
    assert any(
        not torch.equal(moved.weights[key], ends[0].weights[key])
        for key in moved.weights
    )


def test_kill_at_ten_moments_leaves_a_checkpoint_that_loads(tmp_path):
    done = subprocess.run(
        [sys.executable, HERE / "killing.py", tmp_path / "run"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("last step ")
    assert int(done.stdout.split()[2].strip(";")) >= 20
