"""Commands, help and errors of the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields

import pytest

from mmgen.cli import COMMANDS, main
from mmgen.errors import MmgenError
from mmgen.presets import find
from mmgen.registry import METHODS
from tests.cli.calls import fails, help_text


class TestHelp:
    def test_top(self, capsys):
        text = help_text(capsys, "--help")
        assert all(name in text for name in COMMANDS)
        assert help_text(capsys) == text

    @pytest.mark.parametrize("command", [c for c in COMMANDS if c != "grade"])
    def test_of_each_command(self, capsys, command):
        assert f"usage: mmgen {command}" in help_text(capsys, command, "--help")

    @pytest.mark.parametrize("method", METHODS)
    def test_of_each_method(self, capsys, method):
        text = help_text(capsys, "train", method, "--help", "--scale", "smoke")
        assert "--steps" in text and "--image-size" in text

    @pytest.mark.parametrize("method", METHODS)
    def test_all_of_a_method(self, capsys, method):
        """Every field of every config, with its default and what it is."""
        words = ("train", method, "--help-all", "--scale", "smoke")
        text = help_text(capsys, *words, fits=False)
        preset = find(method, "smoke", "shapes")
        for field in (*fields(preset.config), *fields(preset.training)):
            option = field.name.replace("_", "-")
            found = re.findall(rf"--(?:no-)?{option} ([^\[]*)\[", text)
            assert len(found) == 1, option
            assert re.search(r"\w", found[0]), f"{option} is not explained"

    def test_defaults_are_those_of_the_scale(self, capsys):
        text = help_text(capsys, "train", "cgan", "--help", "--scale", "smoke")
        assert "optimiser steps of every phase [4]" in text
        text = help_text(capsys, "train", "cgan", "--help", "--data", "emoji")
        assert "--data-split-by" in text and "--data-objects" not in text

    def test_help_loads_no_torch(self):
        code = (
            "import sys; from mmgen.cli import main; main(['--help']); "
            "assert 'torch' not in sys.modules and 'tyro' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


class TestErrors:
    def test_command(self, capsys):
        assert "Did you mean train" in fails(capsys, "trian")

    def test_our_own_errors_have_a_common_base(self):
        from mmgen.data.storage.shards import ShardError
        from mmgen.data.workers import WorkerError
        from mmgen.pretrained import WeightsError
        from mmgen.training import CheckpointError

        for error in (ShardError, WorkerError, WeightsError, CheckpointError):
            assert issubclass(error, MmgenError) and issubclass(error, RuntimeError)

    def test_all_of_an_error_on_demand(self, monkeypatch):
        monkeypatch.setenv("MMGEN_TRACEBACK", "1")
        with pytest.raises(MmgenError, match="unknown command"):
            main(["trian"])

    def test_as_a_module(self):
        command = [sys.executable, "-m", "mmgen.cli", "trian"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2 and "Did you mean train" in done.stderr

    def test_a_fault_of_ours_is_shown_in_full(self, monkeypatch):
        def broken(words):
            raise KeyError("ours")

        monkeypatch.setattr("mmgen.cli.info.info", broken)
        with pytest.raises(KeyError):
            main(["info"])

    def test_ctrl_c(self, monkeypatch, capsys):
        def stopped(words):
            raise KeyboardInterrupt("stopped; x holds step 5.")

        monkeypatch.setattr("mmgen.cli.info.info", stopped)
        assert main(["info"]) == 130
        assert capsys.readouterr().err == "mmgen: stopped; x holds step 5.\n"
