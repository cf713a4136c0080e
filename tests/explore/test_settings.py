"""The first cell of a notebook: scale, device, results, and a run that was cut off."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmgen import explore
from mmgen.explore import settings
from mmgen.presets import find


def test_the_environment_names_the_scale(monkeypatch):
    monkeypatch.setenv("MMGEN_SCALE", "smoke")
    assert explore.scale() == "smoke"
    monkeypatch.setenv("MMGEN_SCALE", "huge")
    with pytest.raises(ValueError, match=r"MMGEN_SCALE.*'huge'"):
        explore.scale()


def test_the_hardware_names_the_scale_where_nobody_does(monkeypatch):
    monkeypatch.delenv("MMGEN_SCALE", raising=False)
    assert explore.scale() == ("full" if torch.cuda.is_available() else "laptop")


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(settings._NEEDED, "no_such_package", "notebooks")
    with pytest.raises(
        explore.SettingError, match=r'no_such_package.*-e ".\[notebooks\]"'
    ):
        explore.scale()


def test_another_folder_is_named(monkeypatch, tmp_path):
    # as if installed without the checkout
    monkeypatch.setattr(settings.mmgen, "__file__", str(tmp_path / "mmgen" / "x.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(explore.SettingError, match=rf"{tmp_path.name}.*notebooks/"):
        explore.scale()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "cgan-shapes64.json").write_text("{}")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert settings.results_folder() == tmp_path / "results"


def test_results_are_read_and_unknown_ones_named():
    assert explore.results("cgan-shapes64")["name"] == "cgan-shapes64"
    assert "environment" in explore.results("benchmarks/vae")
    with pytest.raises(ValueError, match=r"'cgan'.*cgan-shapes64"):
        explore.results("cgan")


def test_a_device_begins_at_its_seed():
    explore.device(seed=3)
    first = torch.rand(4)
    explore.device(seed=3)
    assert torch.equal(torch.rand(4), first)


@pytest.mark.slow
def test_a_run_at_full_scale_goes_on_where_it_was_cut_off(monkeypatch, tmp_path):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(settings, "results_folder", lambda: tmp_path / "results")
    preset = find("vae", "smoke", "shapes")
    assert explore.train(preset, "smoke").folder is None
    assert not (tmp_path / "runs").exists()

    folder = tmp_path / "runs" / preset.name
    # as if killed while the first checkpoint was being written
    (folder / "checkpoints" / ".tmp-step-00000001").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    longer = replace(preset, training=replace(preset.training, checkpoint_every=1))
    run = explore.train(longer, "full")
    assert Path(run.folder) == folder
    steps = run.history[-1]["step"]
    # finished: nothing is trained again
    again = explore.train(longer, "full")
    assert again.history[-1]["step"] == steps
