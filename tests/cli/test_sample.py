"""``mmgen sample``: pictures of captions, and refusals."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mmgen.cli import main
from tests.cli.calls import fails


class TestSample:
    def test_a_run_draws(self, run, tmp_path, capsys):
        out = tmp_path / "a.png"
        assert main(["sample", str(run), "a red star", "--out", str(out)]) == 0
        assert Image.open(out).size == (32, 32)
        assert str(out) in capsys.readouterr().out

    def test_weights_draw_several_captions_in_copies(self, weights, tmp_path):
        out = tmp_path / "a.png"
        words = ["a red star", "a blue circle", "--copies", "3", "--out", str(out)]
        assert main(["sample", str(weights), *words]) == 0
        assert Image.open(out).size == (3 * 34 - 2, 2 * 34 - 2)

    def test_the_seed_decides(self, weights, tmp_path):
        contents = []
        for i, seed in enumerate((1, 1, 2)):
            out = tmp_path / f"{i}.png"
            words = ["a red star", "--seed", str(seed), "--out", str(out)]
            assert main(["sample", str(weights), *words]) == 0
            contents.append(out.read_bytes())
        assert contents[0] == contents[1] != contents[2]

    def test_an_unknown_word_is_reported(self, weights, tmp_path, capsys):
        out = tmp_path / "a.png"
        assert main(["sample", str(weights), "a red zorp", "--out", str(out)]) == 0
        error = capsys.readouterr().err
        assert error.startswith("mmgen: warning: ") and "zorp" in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize("name", [None, "attngan-shapes64", "cvae-shapes64"])
    def test_it_loads_nothing_slow(self, name, weights, tmp_path):
        out = str(tmp_path / "a.png")
        words = ["sample", name or str(weights), "a red star", "--out", out]
        code = f"""
import sys
from mmgen.cli import main
assert main({words!r}) == 0
slow = {{"torchvision", "lightning_fabric", "torchmetrics", "torch._dynamo",
        "matplotlib", "scipy"}}
assert not slow & set(sys.modules), slow & set(sys.modules)
"""
        subprocess.run([sys.executable, "-c", code], check=True)


class TestRuns:
    def test_each_checkpoint_draws(self, run, tmp_path):
        drawn = []
        last, first = (f"checkpoints/step-{i:08d}" for i in (4, 2))
        for name in ("", last, first):
            out = tmp_path / "a.png"
            words = ["a red star", "--seed", "3", "--out", str(out)]
            assert main(["sample", str(run / name), *words]) == 0
            drawn.append(out.read_bytes())
        assert drawn[0] == drawn[1] != drawn[2]

    def test_a_run_whose_sampler_is_missing_draws_the_same(self, run, tmp_path):
        copy = tmp_path / "copy"
        shutil.copytree(run, copy)
        (copy / "sampler.json").unlink()
        out = [str(tmp_path / f"{i}.png") for i in range(2)]
        for folder, path in zip((run, copy), out, strict=True):
            assert main(["sample", str(folder), "a red star", "--out", path]) == 0
        assert Path(out[0]).read_bytes() == Path(out[1]).read_bytes()


class TestOptions:
    def test_the_model_is_told(self, writer, tmp_path):
        def drawn(*words):
            out = tmp_path / "a.png"
            words = [str(writer), "a red star", *words, "--out", str(out)]
            assert main(["sample", *words]) == 0
            return out.read_bytes()

        seeds = [["--seed", "1"], ["--seed", "2"]]
        free = [drawn(*seed) for seed in seeds]
        assert free[0] != free[1]
        greedy = [drawn("--option", "temperature=0", *seed) for seed in seeds]
        assert greedy[0] == greedy[1]
        several = ["--option", "guidance=1", "--option", "top-k=7"]
        assert drawn(*several, *seeds[0]) == free[0]

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("temprature=1", "Did you mean temperature"),
            ("temprature=1", "there are guidance, temperature, top_k, top_p"),
            ("temperature", "must be NAME=NUMBER, with one of guidance, temp"),
            ("", "must be NAME=NUMBER"),
            ("=1", "unknown option ''"),
            ("temperature=hot", "temperature must be a number; got 'hot'"),
            ("temperature=", "temperature must be a number; got ''"),
            ("top_k=1.5", "top_k must be a whole number; got '1.5'"),
            ("top_k=0", "top_k must be at least 1"),
            ("temperature=-1", "temperature must be a number from 0"),
            ("temperature=nan", "temperature must be a number from 0"),
            ("guidance=1e308", "guidance must lie in 0..1000"),
            ("top_p=2", "top_p must lie in (0, 1]"),
            ("codes=1", "unknown option 'codes'"),
        ],
    )
    def test_a_wrong_one(self, capsys, writer, tmp_path, word, said):
        out = tmp_path / "a.png"
        line = fails(
            capsys, "sample", writer, "a star", f"--option={word}", "--out", out
        )
        assert said in line and not out.exists()

    def test_one_that_is_given_twice(self, capsys, writer):
        twice = ["--option=top_k=1", "--option=top_k=2"]
        line = fails(capsys, "sample", writer, "a star", *twice)
        assert "--option top_k is given twice" in line

    @pytest.mark.parametrize("command", ["sample", "evaluate"])
    def test_a_model_without_options(self, capsys, weights, command):
        words = ("a star",) if command == "sample" else ()
        line = fails(capsys, command, weights, *words, "--option", "guidance=2")
        assert "'guidance=2'" in line and "draws without options" in line


class TestBadInput:
    def test_model(self, capsys, weights):
        line = fails(capsys, "sample", weights.with_stem("tiney"), "a star")
        assert "Did you mean tiny" in line
        damsm = "damsm-shapes64"
        assert "it draws none" in fails(capsys, "sample", damsm, "a star")

    def test_option(self, capsys):
        assert "--colour" in fails(capsys, "sample", "x", "a star", "--colour", "red")

    def test_runs(self, capsys, run, tmp_path):
        assert "no sampler" in fails(capsys, "sample", tmp_path, "a star")
        copy = tmp_path / "copy"
        shutil.copytree(run, copy)
        damaged = copy / "sampler.safetensors"
        damaged.write_bytes(b"\x80\x04K\x01.")
        assert str(damaged) in fails(capsys, "sample", copy, "a star")

    def test_caption(self, capsys, weights, tmp_path):
        out = tmp_path / "a.png"
        assert "empty" in fails(capsys, "sample", weights, "", "--out", out)
        assert "empty" in fails(capsys, "sample", weights, "?!", "--out", out)
        line = fails(capsys, "sample", weights, "zorp qwx", "--out", out)
        assert "zorp qwx" in line and "known word" in line
        assert "CAPTION" in fails(capsys, "sample", weights, "--out", out)
        assert not out.exists()

    def test_out(self, capsys, weights, tmp_path):
        sample = ("sample", weights, "a red star", "--out")
        assert "no folder" in fails(capsys, *sample, tmp_path / "no" / "a.png")
        assert "end in .png" in fails(capsys, *sample, tmp_path / "a.gif")
        folder = tmp_path / "a.png"
        folder.mkdir()
        assert "is a folder" in fails(capsys, *sample, folder)

    def test_weights(self, capsys, weights, tmp_path):
        for path in weights.parent.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "tiny.safetensors").write_bytes(b"no weights")
        assert "SHA-256" in fails(
            capsys, "sample", tmp_path / "tiny.safetensors", "a star"
        )

    def test_weights_without_their_card(self, capsys, weights, tmp_path):
        alone = tmp_path / "only.safetensors"
        line = fails(capsys, "sample", alone, "a star")
        assert "no such file" in line
        alone.write_bytes(weights.read_bytes())
        line = fails(capsys, "sample", alone, "a star")
        assert "without its card" in line and "only.json" in line

    def test_numbers_that_nothing_holds(self, capsys, weights):
        line = fails(capsys, "sample", weights, "a star", "--seed", "9" * 20)
        assert "--seed must lie in -2^63..2^63 - 1; got 9999" in line
        line = fails(capsys, "sample", weights, "a star", "--copies", "10" * 8)
        assert "--copies must lie in 1..10000" in line

    @pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "meta", "cpu:-1", "tpu:0"])
    def test_a_device_of_no_kind(self, capsys, weights, device):
        line = fails(capsys, "sample", weights, "a star", f"--device={device}")
        assert "--device must be cpu, cuda" in line and repr(device) in line

    @pytest.mark.parametrize("command", ["sample", "evaluate"])
    @pytest.mark.parametrize("device", ["cuda:7", "mps", "cpu:1"])
    def test_a_device_that_is_not_there(self, capsys, weights, device, command):
        words = ("a star",) if command == "sample" else ()
        line = fails(capsys, command, weights, *words, "--device", device)
        assert f"--device {device}: " in line

    def test_device(self, capsys, weights):
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has CUDA")
        line = fails(capsys, "sample", weights, "a star", "--device", "cuda")
        assert "no CUDA device" in line
