"""Ctrl-C, SIGTERM, and workers that die of them or by themselves."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from toy_task import CONFIG, ToyDataset, ToyTask, assert_same, new_task, weights

from mmgen.data.workers import WorkerError
from mmgen.training import Run, fit
from mmgen.training import checkpoint as checkpoints


class SignalTask(ToyTask):
    """Sends its own process a signal in the middle of a step."""

    signal_at = 6

    def training_step(self, batch, step):
        if step.index == self.signal_at and step.phase == "generator":
            os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch, step)


# as torch's handler of SIGCHLD writes it
DEATH = "DataLoader worker (pid 4711) is killed by signal: Killed."


class WorkerDies(ToyTask):
    """Torch's signal handler raises in the middle of a step."""

    def training_step(self, batch, step):
        if step.index == 6 and step.phase == "generator":
            raise RuntimeError(DEATH)
        return super().training_step(batch, step)


class TestInterrupt:
    def test_interrupt_and_resume_bit_for_bit(self, tmp_path):
        before = signal.getsignal(signal.SIGINT)
        whole = fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "whole"))
        config = replace(CONFIG, out=tmp_path / "cut")
        with pytest.raises(KeyboardInterrupt, match="holds step 7"):
            fit(new_task(cls=SignalTask), ToyDataset(), config)
        last = checkpoints.newest(tmp_path / "cut" / "checkpoints")
        assert last.name == "step-00000007"  # the step was finished first
        assert signal.getsignal(signal.SIGINT) is before
        self.rename_task(tmp_path / "cut")
        again = Run.resume(tmp_path / "cut", ToyDataset())
        assert_same(weights(whole), weights(again))
        ends = [
            checkpoints.load(checkpoints.newest(tmp_path / name / "checkpoints"))
            for name in ("whole", "cut")
        ]
        assert_same(ends[0].weights, ends[1].weights)
        assert_same(ends[0].average, ends[1].average)
        for phase in ToyTask.phases:
            a, b = (end.optimizers[phase]["state"] for end in ends)
            assert a and a.keys() == b.keys()
            for i in a:
                assert_same(a[i], b[i])
        losses = [
            {row["step"]: row["generator/loss"] for row in run.history}
            for run in (whole, again)
        ]
        assert losses[0][12] == losses[1][12] and losses[0][4] == losses[1][4]
        assert again.manifest["stopped"] == "finished"
        assert again.manifest["seconds"] > 0

    @staticmethod
    def rename_task(folder: Path) -> None:
        """The interrupted run's task differs in name alone from that of the other."""
        for path in [folder / "config.json", *folder.glob("checkpoints/*/*.json")]:
            path.write_text(
                path.read_text().replace("test_signals:SignalTask", "toy_task:ToyTask")
            )

    def test_two_interrupts_stop_at_once(self, tmp_path):
        class Impatient(ToyTask):
            def training_step(self, batch, step):
                if step.index == 6:
                    os.kill(os.getpid(), signal.SIGINT)
                    os.kill(os.getpid(), signal.SIGINT)
                return super().training_step(batch, step)

        with pytest.raises(KeyboardInterrupt, match="holds step 5"):
            fit(
                new_task(cls=Impatient),
                ToyDataset(),
                replace(CONFIG, out=tmp_path / "r"),
            )

    def test_an_interrupt_without_a_folder_says_that_nothing_was_saved(self):
        with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
            fit(new_task(cls=SignalTask), ToyDataset(), CONFIG)

    def test_workers_that_die_of_an_interrupt_leave_the_last_checkpoint(self, tmp_path):
        class Both(WorkerDies):
            def training_step(self, batch, step):
                if step.index == 6:
                    os.kill(os.getpid(), signal.SIGINT)
                return super().training_step(batch, step)

        with pytest.raises(KeyboardInterrupt, match="holds step 5"):
            fit(new_task(cls=Both), ToyDataset(), replace(CONFIG, out=tmp_path / "r"))

    def test_workers_that_die_between_steps_lose_nothing(self, tmp_path):
        class Interrupted(ToyDataset):
            def batches(self, batch_size, **options):
                for i, batch in enumerate(super().batches(batch_size, **options)):
                    if i == 7:
                        os.kill(os.getpid(), signal.SIGINT)
                        raise RuntimeError(DEATH)
                    yield batch

        with pytest.raises(KeyboardInterrupt, match="holds step 7"):
            fit(new_task(), Interrupted(), replace(CONFIG, out=tmp_path / "r"))

    def test_a_worker_that_dies_inside_a_step_is_named(self, tmp_path):
        config = replace(CONFIG, out=tmp_path / "r")
        with pytest.raises(WorkerError, match=r"died before step 6 .*is killed by"):
            fit(new_task(cls=WorkerDies), ToyDataset(), config)
        assert Run.load(tmp_path / "r", ToyDataset()).manifest["stopped"] == "error"
        last = checkpoints.newest(tmp_path / "r" / "checkpoints")
        assert last.name == "step-00000005"
