"""What can go wrong with a run ends in one clear error, and keeps the rest."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from toy_task import CONFIG, ToyConfig, ToyDataset, ToyTask, new_task

from mmgen import presets
from mmgen.configs import from_json, to_json
from mmgen.data import load_dataset
from mmgen.registry import METHODS, find_class
from mmgen.training import (
    CheckpointError,
    NonFiniteError,
    Run,
    TrainingConfig,
    TrainingError,
    build,
    fit,
    scale,
)
from mmgen.training import checkpoint as checkpoints

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fit(new_task(), ToyDataset(), replace(CONFIG, out=tmp_path / "run"))
    return tmp_path / "run"


def last(folder: Path) -> Path:
    path = checkpoints.newest(folder / "checkpoints")
    assert path is not None
    return path


def put(path: Path, content: bytes) -> None:
    """Replace a file of a checkpoint and make its noted hash fit, as a forger would."""
    path.write_bytes(content)
    about = json.loads((path.parent / "checkpoint.json").read_text())
    about["sha256"][path.name] = hashlib.sha256(content).hexdigest()
    (path.parent / "checkpoint.json").write_text(json.dumps(about))


class TestNonFinite:
    def test_a_nan_loss_names_step_loss_and_checkpoint(self, tmp_path):
        task = new_task(ToyConfig(break_at=6))
        with pytest.raises(NonFiniteError) as caught:
            fit(task, ToyDataset(), replace(CONFIG, out=tmp_path / "r"))
        message = str(caught.value)
        assert "generator/loss = nan in step 6" in message
        assert str(last(tmp_path / "r")) in message
        assert last(tmp_path / "r").name == "step-00000005"
        saved = checkpoints.load(last(tmp_path / "r"))
        assert all(torch.isfinite(t).all() for t in saved.weights.values())
        manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
        assert manifest["stopped"] == "error"

    def test_before_the_first_checkpoint_it_says_so(self):
        task = new_task(ToyConfig(break_at=1))
        with pytest.raises(NonFiniteError, match="No checkpoint had been written"):
            fit(task, ToyDataset(), CONFIG)

    def test_infinite_weights_are_never_written(self, tmp_path):
        class Broken(ToyTask):
            def training_step(self, batch, step):
                values = super().training_step(batch, step)
                if step.index == 9 and step.phase == "generator":
                    # The loss is finite; its gradient is 0 / 0.
                    weight = self.networks["generator"].hidden.weight
                    values["loss"] = values["loss"] + (weight * 0).sum().square().sqrt()
                return values

        config = replace(CONFIG, out=tmp_path / "r")
        with pytest.raises(NonFiniteError, match=r"a weight .* after step 9"):
            fit(new_task(cls=Broken), ToyDataset(), config)
        assert last(tmp_path / "r").name == "step-00000005"


class TestDamage:
    @pytest.mark.parametrize("name", [*checkpoints.FILES, "checkpoint.json"])
    def test_a_file_cut_short_is_named(self, folder, name):
        path = last(folder) / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(CheckpointError) as caught:
            Run.resume(folder, ToyDataset())
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("name", [*checkpoints.FILES, "checkpoint.json"])
    def test_a_missing_file_is_named(self, folder, name):
        (last(folder) / name).unlink()
        with pytest.raises(CheckpointError, match=name):
            Run.resume(last(folder), ToyDataset()) if name != "checkpoint.json" else (
                Run.resume(folder, ToyDataset())
            )

    @pytest.mark.parametrize("name", checkpoints.FILES)
    @pytest.mark.parametrize("zipped", [False, True])
    def test_a_pickle_in_disguise_is_not_run(self, folder, name, zipped, tmp_path):
        target = tmp_path / "executed"

        class Attack:
            def __reduce__(self):
                return Path.touch, (target,)

        content = pickle.dumps(Attack(), protocol=2)  # torch's own
        if zipped:  # in the layout of torch.save
            buffer = io.BytesIO()
            torch.save({"a": torch.zeros(1)}, buffer)
            out = io.BytesIO()
            with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(out, "w") as new:
                for item in old.namelist():
                    is_pickle = item.endswith("data.pkl")
                    new.writestr(item, content if is_pickle else old.read(item))
            content = out.getvalue()
        put(last(folder) / name, content)
        with pytest.raises(CheckpointError, match=name):
            Run.resume(folder, ToyDataset())
        assert not target.exists()

    def test_the_one_before_it_still_loads(self, folder):
        whole = Run.load(folder, ToyDataset())
        before = checkpoints.load(checkpoints.listed(folder / "checkpoints")[-2])
        last(folder).rename(folder / "damaged")
        loaded = checkpoints.flatten(Run.load(folder, ToyDataset()).task.networks)
        assert before.step == 10 and loaded.keys() == before.weights.keys()
        assert all(torch.equal(loaded[k], before.weights[k]) for k in loaded)
        at_end = checkpoints.flatten(whole.task.networks)
        assert not all(torch.equal(loaded[k], at_end[k]) for k in loaded)


class TestAnotherConfig:
    def edit(self, path: Path, change) -> None:
        about = json.loads(path.read_text())
        change(about)
        path.write_text(json.dumps(about))

    def test_of_the_task(self, folder):
        self.edit(folder / "config.json", lambda c: c["task_config"].update(width=32))
        with pytest.raises(CheckpointError, match="width is 16 there and 32 here"):
            Run.resume(folder, ToyDataset())

    def test_of_another_shape(self, folder):
        for path in (folder / "config.json", last(folder) / "checkpoint.json"):
            self.edit(path, lambda c: c["task_config"].update(width=32))
        with pytest.raises(
            CheckpointError, match=r"\(16, 20\) there|shape \("
        ) as caught:
            Run.resume(folder, ToyDataset())
        assert "generator" in str(caught.value)

    def test_of_another_data_set(self, folder):
        with pytest.raises(CheckpointError, match="options is"):
            Run.resume(folder, ToyDataset(size=32))

    def test_with_an_unknown_field(self, folder):
        for path in (folder / "config.json", last(folder) / "checkpoint.json"):
            self.edit(path, lambda c: c["task_config"].update(depth=3))
        with pytest.raises(CheckpointError, match="no field depth"):
            Run.resume(folder, ToyDataset())

    def test_a_change_that_makes_another_run(self, folder):
        with pytest.raises(ValueError, match="batch_size cannot change"):
            Run.resume(folder, ToyDataset(), batch_size=8)

    def test_more_steps_under_a_cosine(self, tmp_path):
        config = replace(CONFIG, schedule="cosine", steps=3, out=tmp_path / "r")
        fit(new_task(), ToyDataset(), config)
        with pytest.raises(ValueError, match="steps must stay 3"):
            Run.resume(tmp_path / "r", ToyDataset(), steps=9)

    def test_a_task_that_is_gone(self, folder):
        self.edit(folder / "config.json", lambda c: c.update(task="toy_task:Gone"))
        with pytest.raises(CheckpointError, match="toy_task:Gone"):
            Run.resume(folder, ToyDataset())


class TestFolders:
    def test_no_run(self, tmp_path):
        with pytest.raises(CheckpointError, match="holds no run"):
            Run.resume(tmp_path)

    def test_no_checkpoint_yet(self, folder):
        for path in checkpoints.listed(folder / "checkpoints"):
            path.rename(folder / path.name)
        with pytest.raises(CheckpointError, match="no checkpoint yet"):
            Run.resume(folder, ToyDataset())

    def test_a_folder_that_holds_a_run(self, folder):
        with pytest.raises(ValueError, match="already holds a run"):
            fit(new_task(), ToyDataset(), replace(CONFIG, out=folder))

    @pytest.mark.parametrize("out", ["/dev/null/run", "/proc/run"])
    def test_a_folder_that_cannot_be_made(self, out):
        if not Path(out).parent.exists():
            pytest.skip(f"no {Path(out).parent} on this system")
        with pytest.raises(TrainingError, match="cannot be written"):
            fit(new_task(), ToyDataset(), replace(CONFIG, out=out))

    @pytest.mark.slow  # a process of its own, for the limit
    def test_a_full_disk_keeps_the_last_checkpoint(self, tmp_path):
        pytest.importorskip("resource")
        # A limit on the size of files makes write() fail half-way, as a full disk does.
        script = f"""
import resource, sys
sys.path.insert(0, {str(HERE)!r})
from dataclasses import replace
from toy_task import CONFIG, ToyDataset, ToyTask, new_task
from mmgen.training import CheckpointError, fit

class Filling(ToyTask):
    def training_step(self, batch, step):
        if step.index == 7:
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY))
        return super().training_step(batch, step)

try:
    config = replace(CONFIG, out={str(tmp_path / "r")!r})
    fit(new_task(cls=Filling), ToyDataset(), config)
except CheckpointError as error:
    print(error)
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        folder = tmp_path / "r" / "checkpoints"
        assert "step 10 cannot be written" in done.stdout, done.stdout + done.stderr
        assert "File too large" in done.stdout
        assert str(folder / "step-00000005") in done.stdout
        assert [path.name for path in folder.iterdir()] == ["step-00000005"]
        assert checkpoints.load(folder / "step-00000005").step == 5


class TestConfig:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("steps", 0),
            ("batch_size", 0),
            ("accumulate", 3),
            ("precision", "16-mixed"),
            ("schedule", "linear"),
            ("progress", "loud"),
            ("strategy", "fsdp"),
            ("ema_decay", 1.0),
            ("gradient_clip", 0.0),
            ("max_minutes", -1.0),
            ("seed", -1),
            ("workers", -1),
        ],
    )
    def test_a_value_out_of_range_is_named(self, field, value):
        with pytest.raises(ValueError, match=field) as caught:
            TrainingConfig(**{field: value})
        assert str(value) in str(caught.value)

    def test_a_batch_that_the_data_cannot_fill(self):
        with pytest.raises(ValueError, match="batch_size must lie in"):
            fit(new_task(), ToyDataset(8), CONFIG)

    def test_json_and_back(self):
        @dataclass(frozen=True)
        class Outer:
            inner: ToyConfig
            pairs: tuple[tuple[int, str], ...] = ()
            maybe: tuple[float, ...] | None = None

        globals()["Outer"] = Outer
        config = Outer(ToyConfig(sizes=(1, 2)), ((1, "a"), (2, "b")), (0.5,))
        data = json.loads(json.dumps(to_json(config)))
        assert from_json(Outer, data) == config
        training = replace(CONFIG, gradient_clip=1.5, out="x")
        assert from_json(TrainingConfig, json.loads(json.dumps(to_json(training)))) == (
            training
        )

    def test_scale(self, monkeypatch):
        monkeypatch.delenv("MMGEN_SCALE", raising=False)
        assert scale() == ("full" if torch.cuda.is_available() else "laptop")
        monkeypatch.setenv("MMGEN_SCALE", "smoke")
        assert scale() == "smoke" and scale("full") == "full"
        monkeypatch.setenv("MMGEN_SCALE", "huge")
        with pytest.raises(ValueError, match=r"MMGEN_SCALE.*huge"):
            scale()


class TestTasks:
    def step(self, values):
        class Wrong(ToyTask):
            def training_step(self, batch, step):
                super().training_step(batch, step)
                return values

        fit(new_task(cls=Wrong), ToyDataset(), CONFIG)

    def test_a_step_without_a_loss(self):
        with pytest.raises(ValueError, match="must return a 'loss'"):
            self.step({"other": torch.zeros(())})

    def test_a_step_whose_loss_is_no_scalar(self):
        with pytest.raises(ValueError, match="scalar tensors"):
            self.step({"loss": torch.zeros(3)})

    def test_a_loss_that_depends_on_nothing(self):
        with pytest.raises(ValueError, match="depends on no parameter"):
            self.step({"loss": torch.zeros(())})

    def test_optimisers_that_do_not_fit_the_phases(self):
        task = new_task()
        made = task.optimizers
        task.optimizers = lambda: {"generator": made()["generator"]}
        with pytest.raises(ValueError, match="phases"):
            fit(task, ToyDataset(), CONFIG)

    def test_averages_of_unknown_networks(self):
        task = new_task()
        task.averaged = ("encoder",)
        with pytest.raises(ValueError, match="encoder"):
            fit(task, ToyDataset(), CONFIG)


class TestSizes:
    """A config's numbers of which no network can be made are named."""

    @pytest.mark.parametrize(
        ("method", "field", "value"),
        [
            ("vae", "hidden_dim", -1),
            ("vae", "hidden_dim", 2**63 - 1),
            ("mvae", "style_dim", -1),
            ("mvae", "joint_prior", 2**63 - 1),
            ("damsm", "word_range", 1e308),
            ("attngan", "residual_blocks", 2**63 - 1),
        ],
    )
    def test_a_size_that_is_none(self, method, field, value):
        preset = presets.find(method, "smoke", "shapes")
        config = replace(preset.config, **{field: value})
        if method == "attngan":
            config = replace(config, damsm="damsm-shapes64")
        data = load_dataset(**{**preset.data, "size": 8})
        with pytest.raises(ValueError, match=rf"{type(config).__name__}.*{field}="):
            build(find_class(METHODS[method]), config, data)


class TestTensors:
    """A checkpoint has the networks' tensors: all of them, and no other."""

    CHANGES = (
        ("missing", lambda t: t.pop("generator.out.bias"), "lacks .'generator.out.b"),
        ("extra", lambda t: t.update({"generator.x": torch.zeros(2)}), "has .'gen.*x'"),
        ("foreign", lambda t: t.update({"other.x": torch.zeros(2)}), "has .'other.x'"),
        ("shorter", lambda t: _shorten(t, "generator.out.bias"), "out.bias has shape"),
        ("none", lambda t: t.clear(), "lacks"),
    )

    @pytest.mark.parametrize(
        ("change", "said"), [case[1:] for case in CHANGES], ids=[c[0] for c in CHANGES]
    )
    def test_restoring_refuses_others_and_changes_nothing(self, change, said):
        networks = dict(new_task().networks)
        before = checkpoints.flatten(networks)
        tensors = {name: value + 1 for name, value in before.items()}
        change(tensors)
        with pytest.raises(CheckpointError, match=said):
            checkpoints.restore(networks, tensors)
        after = checkpoints.flatten(networks)
        assert all(torch.equal(after[name], before[name]) for name in before)

    @pytest.mark.parametrize("name", ["weights.safetensors", "average.safetensors"])
    @pytest.mark.parametrize(
        ("change", "said"), [case[1:] for case in CHANGES], ids=[c[0] for c in CHANGES]
    )
    def test_a_run_is_neither_loaded_nor_resumed(self, folder, name, change, said):
        path = last(folder) / name
        tensors = safetensors.torch.load(path.read_bytes())
        change(tensors)
        put(path, safetensors.torch.save(tensors))
        with pytest.raises(CheckpointError, match=said):
            Run.load(folder, ToyDataset())
        with pytest.raises(CheckpointError, match=said):
            Run.resume(folder, ToyDataset(), steps=20)


def _shorten(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name][:1].clone()
