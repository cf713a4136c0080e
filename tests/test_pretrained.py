"""Weights and cards: what is written comes back, and nothing else is taken."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from mmgen import pretrained
from mmgen.pretrained import WeightsError, available, card, load, save, save_run
from mmgen.sampling import Sampler


class TinySampler(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.layer = nn.Linear(width, 12)
        self.register_buffer("count", torch.tensor(3))

    def init_args(self) -> dict:
        return {"width": self.width}

    @classmethod
    def from_args(cls, args: dict) -> TinySampler:
        return cls(args["width"])

    def sample(self, captions: list[str], seed: int = 0) -> Tensor:
        noise = torch.randn(
            len(captions), self.width, generator=torch.Generator().manual_seed(seed)
        )
        return self.layer(noise).tanh().view(-1, 3, 2, 2)


@dataclass(frozen=True)
class SmallConfig:
    TRAINING: ClassVar[frozenset[str]] = frozenset({"rate"})
    width: int
    rate: float = 0.1


class FieldSampler(Sampler):
    config_class = SmallConfig

    def __init__(self, config: SmallConfig) -> None:
        super().__init__(config)
        self.layer = nn.Linear(config.width, 2)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, TinySampler]:
    torch.manual_seed(0)
    sampler = TinySampler(4)
    save("tiny", sampler, {"device": "a CPU", "minutes": 0.5}, tmp_path)
    return tmp_path, sampler


def forge(folder: Path, content: bytes) -> None:
    """Other weights, and a card whose hash fits them."""
    (folder / "tiny.safetensors").write_bytes(content)
    about = json.loads((folder / "tiny.json").read_text())
    about["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "tiny.json").write_text(json.dumps(about))


class TestRoundTrip:
    def test_half_precision_and_back(self, saved):
        folder, sampler = saved
        again = load("tiny", folder=folder)
        for key, value in sampler.state_dict().items():
            stored = again.state_dict()[key]
            assert stored.dtype == value.dtype
            expected = value.half().float() if value.is_floating_point() else value
            assert torch.equal(stored, expected)
        assert not again.training
        assert not any(p.requires_grad for p in again.parameters())
        captions = ["a", "b"]
        torch.testing.assert_close(
            again.sample(captions), sampler.sample(captions), rtol=0, atol=2e-3
        )

    def test_the_card(self, saved):
        folder, _ = saved
        about = load("tiny", folder=folder).card
        assert about == card("tiny", folder)
        assert about["device"] == "a CPU" and about["minutes"] == 0.5
        assert about["init_args"] == {"width": 4}
        assert about["parameters"] == 4 * 12 + 12
        content = (folder / "tiny.safetensors").read_bytes()
        assert about["bytes"] == len(content)
        assert about["sha256"] == hashlib.sha256(content).hexdigest()
        assert available(folder) == ("tiny",)

    def test_saving_again_replaces(self, saved):
        folder, _ = saved
        save("tiny", TinySampler(5), {}, folder)
        assert load("tiny", folder=folder).width == 5
        assert sorted(path.name for path in folder.iterdir()) == [
            "tiny.json",
            "tiny.safetensors",
        ]


class TestRefusals:
    def test_an_unknown_name(self, saved):
        with pytest.raises(ValueError, match=r"got 'tinny'\. Did you mean 'tiny'"):
            load("tinny", folder=saved[0])

    def test_a_changed_byte(self, saved):
        path = saved[0] / "tiny.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="SHA-256"):
            load("tiny", folder=saved[0])

    def test_a_pickle_in_disguise(self, saved, tmp_path):
        target = tmp_path / "executed"

        class Attack:
            def __reduce__(self):
                return Path.touch, (target,)

        forge(saved[0], pickle.dumps(Attack()))
        with pytest.raises(WeightsError, match="no safetensors"):
            load("tiny", folder=saved[0])
        assert not target.exists()

    def test_weights_of_another_shape(self, saved):
        forge(saved[0], safetensors.torch.save(TinySampler(6).state_dict()))
        with pytest.raises(WeightsError, match="another config"):
            load("tiny", folder=saved[0])

    @pytest.mark.parametrize("place", ["published", "run"])
    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda state: state.pop("layer.bias"), "layer.bias"),
            (lambda state: state.pop("count"), "count"),
            (lambda state: state.update(other=torch.zeros(2)), "other"),
            (lambda state: state.update({"layer.bias": torch.zeros(1)}), "layer.bias"),
            (lambda state: state.clear(), "is of another config"),
        ],
        ids=["missing", "missing buffer", "extra", "broadcast", "none"],
    )
    def test_tensors_that_are_missing_or_too_many(
        self, saved, monkeypatch, place, change, named
    ):
        """Also where the sizes are not compared beforehand."""
        folder, sampler = saved
        state = dict(sampler.state_dict())
        change(state)
        content = safetensors.torch.save(state)
        if place == "run":
            save_run(folder, sampler, {})
            for ending in ("json", "safetensors"):
                (folder / f"sampler.{ending}").rename(folder / f"tiny.{ending}")
        forge(folder, content)
        if place == "run":
            for ending in ("json", "safetensors"):
                (folder / f"tiny.{ending}").rename(folder / f"sampler.{ending}")
        wanted = folder if place == "run" else "tiny"
        where = {} if place == "run" else {"folder": folder}
        with pytest.raises(WeightsError, match=named):
            load(wanted, **where)
        monkeypatch.setattr(pretrained, "_check_sizes", lambda *_: None)
        with pytest.raises(WeightsError, match=named):
            load(wanted, **where)

    @pytest.mark.parametrize("value", [65_537, 10**9, 2**62, -1])
    def test_a_card_of_other_sizes_costs_no_memory(self, saved, value):
        """The weights decide how much is built, not the card."""
        about = json.loads((saved[0] / "tiny.json").read_text())
        about["init_args"]["width"] = value
        (saved[0] / "tiny.json").write_text(json.dumps(about))
        with pytest.raises(WeightsError, match=r"tiny\.(json|safetensors)"):
            load("tiny", folder=saved[0])

    def test_a_card_of_endless_layers_ends(self, tmp_path):
        class Deep(TinySampler):
            def __init__(self, width: int) -> None:
                super().__init__(4)
                self.width = width
                self.layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(width))

        sys.modules[__name__].Deep = Deep
        Deep.__qualname__ = "Deep"
        save("deep", Deep(2), {}, tmp_path)
        about = json.loads((tmp_path / "deep.json").read_text())
        about["init_args"]["width"] = 10**12
        (tmp_path / "deep.json").write_text(json.dumps(about))
        with pytest.raises(WeightsError, match="many more parameters"):
            load("deep", folder=tmp_path)

    @pytest.mark.parametrize(
        "text", ["{", "[]", '{"sampler": "a:b"}', "[" * 200_000, "1e999", "\ud800"]
    )
    def test_a_card_that_is_none(self, saved, text):
        content = text.encode("utf-8", "surrogatepass")
        (saved[0] / "tiny.json").write_bytes(content)
        with pytest.raises(WeightsError, match="card"):
            load("tiny", folder=saved[0])

    @pytest.mark.parametrize("value", ["3", 1.5, None, True, [3], {}, float("nan")])
    def test_a_field_of_another_type(self, tmp_path, value):
        torch.manual_seed(0)
        save("small", FieldSampler(SmallConfig(3)), {}, tmp_path)
        about = card("small", tmp_path)
        about["init_args"]["config"]["width"] = value
        (tmp_path / "small.json").write_text(json.dumps(about))
        with pytest.raises(
            WeightsError, match=r"SmallConfig\.width must be of type int"
        ):
            load("small", folder=tmp_path)

    def test_a_class_that_is_gone(self, saved):
        about = json.loads((saved[0] / "tiny.json").read_text())
        about["sampler"] = "mmgen.models.cgan:Gone"
        (saved[0] / "tiny.json").write_text(json.dumps(about))
        with pytest.raises(WeightsError, match=r"mmgen\.models\.cgan:Gone"):
            load("tiny", folder=saved[0])

    def test_a_card_of_another_version_names_the_field_and_what_to_do(self, tmp_path):
        torch.manual_seed(0)
        save("small", FieldSampler(SmallConfig(3)), {"commit": "abc123"}, tmp_path)
        assert load("small", folder=tmp_path).config == SmallConfig(3)
        about = card("small", tmp_path)
        about["init_args"]["config"]["mismatch_focus"] = 0.5
        (tmp_path / "small.json").write_text(json.dumps(about))
        with pytest.raises(WeightsError, match="no field mismatch_focus") as caught:
            load("small", folder=tmp_path)
        message = str(caught.value)
        assert "small.json" in message
        assert "with the version that wrote them (commit abc123)" in message
        assert "make weights NAME=small" in message

    def test_more_than_twelve_megabytes(self, tmp_path):
        with pytest.raises(ValueError, match="at most 12 MB"):
            save("big", TinySampler(600_000), {}, tmp_path)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("value", [1e6, float("nan")])
    def test_what_half_precision_cannot_hold(self, tmp_path, value):
        sampler = TinySampler(2)
        with torch.no_grad():
            sampler.layer.weight[0, 0] = value
        with pytest.raises(ValueError, match=r"layer\.weight"):
            save("tiny", sampler, {}, tmp_path)


class TestRunFolder:
    """What a run writes; how it does so is in tests/training/test_run.py."""

    def test_single_precision_and_no_bound(self, tmp_path):
        sampler = TinySampler(600_000)  # 29 MB
        with torch.no_grad():
            sampler.layer.weight[0, 0] = 1e6
        save_run(tmp_path, sampler, {"steps": 7})
        again = load(tmp_path)
        assert torch.equal(again.layer.weight, sampler.layer.weight)
        assert again.count.dtype == torch.int64
        assert again.card["steps"] == 7 and again.card["name"] == tmp_path.name
        assert load(str(tmp_path), device="cpu").width == 600_000

    def test_half_precision_networks_are_stored_in_single(self, tmp_path):
        sampler = TinySampler(3).bfloat16()
        save_run(tmp_path, sampler, {})
        weight = load(tmp_path).layer.weight
        assert weight.dtype == torch.float32
        assert torch.equal(weight, sampler.layer.weight.float())

    def test_a_reader_never_meets_half_of_two_pairs(self, tmp_path):
        samplers = {width: TinySampler(width) for width in (2, 3)}
        save_run(tmp_path, samplers[2], {})
        ended = threading.Event()

        def write() -> None:
            for i in range(60):
                save_run(tmp_path, samplers[2 + i % 2], {})
            ended.set()

        writer = threading.Thread(target=write)
        writer.start()
        reads = 0
        while not ended.is_set() or reads < 10:
            again = load(tmp_path)
            assert torch.equal(again.layer.weight, samplers[again.width].layer.weight)
            reads += 1
        writer.join()

    def test_a_name_comes_before_a_folder_only_where_one_looks(
        self, saved, tmp_path, monkeypatch
    ):
        place = tmp_path / "elsewhere"
        save_run(place / "tiny", TinySampler(9), {})
        monkeypatch.chdir(place)
        assert load("tiny").width == 9
        assert load("tiny", folder=saved[0]).width == 4

    @pytest.mark.parametrize("forged", [b"", b"\x00" * 64])
    def test_damaged_weights(self, tmp_path, monkeypatch, forged):
        monkeypatch.setattr(pretrained, "PAUSES", (0.0, 0.0))
        save_run(tmp_path, TinySampler(2), {})
        (tmp_path / "sampler.safetensors").write_bytes(forged)
        with pytest.raises(WeightsError, match=r"SHA-256.*Run\.resume"):
            load(tmp_path)

    def test_a_card_that_is_none(self, tmp_path):
        save_run(tmp_path, TinySampler(2), {})
        (tmp_path / "sampler.json").write_text("[]")
        with pytest.raises(WeightsError, match="card"):
            load(tmp_path)

    def test_another_folder(self, tmp_path):
        with pytest.raises(WeightsError, match=r"holds no sampler.*no run's folder"):
            load(tmp_path)

    def test_no_training_code_and_no_models_are_imported(self, tmp_path):
        save_run(tmp_path, FieldSampler(SmallConfig(2)), {})
        about = json.loads((tmp_path / "sampler.json").read_text())
        about["sampler"] = "small_sampler:FieldSampler"
        (tmp_path / "sampler.json").write_text(json.dumps(about))
        source = Path(__file__).read_text()
        start, end = source.index("@dataclass"), source.index("@pytest.fixture")
        (tmp_path / "small_sampler.py").write_text(
            "from dataclasses import dataclass\nfrom typing import ClassVar\n"
            "from torch import nn\nfrom mmgen.sampling import Sampler\n"
            + source[start:end]
        )
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
            "import small_sampler  # a card imports nothing\n"
            f"from mmgen.pretrained import load; load({str(tmp_path)!r})\n"
            "print([n for n in sys.modules if n.startswith(('mmgen.training', "
            "'mmgen.models', 'lightning_fabric'))])"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == "[]"


class OuterSampler(TinySampler):
    """One that is built on another, which may be published already."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.inner = TinySampler(width)


class TestParts:
    """What is published under a name of its own is not stored a second time."""

    @pytest.fixture
    def built(self, saved) -> tuple[Path, OuterSampler]:
        folder, inner = saved
        outer = OuterSampler(4)
        outer.inner.load_state_dict(inner.state_dict())
        save("outer", outer, {"task_config": {"inner": "tiny"}}, folder)
        return folder, outer

    def test_left_out_and_found_again(self, built):
        folder, outer = built
        stored = safetensors.torch.load_file(folder / "outer.safetensors")
        assert not any(key.startswith("inner.") for key in stored)
        about = card("outer", folder)
        digest = card("tiny", folder)["sha256"]
        assert about["parts"] == {"inner": {"weights": "tiny", "sha256": digest}}
        again = load("outer", folder=folder).state_dict()
        for key, value in outer.state_dict().items():
            assert torch.equal(again[key], value.half().float()), key

    def test_a_part_that_differs_is_stored(self, saved):
        folder, _ = saved
        outer = OuterSampler(4)
        save("outer", outer, {"task_config": {"inner": "tiny"}}, folder)
        assert "parts" not in card("outer", folder)
        again = load("outer", folder=folder).state_dict()
        assert torch.equal(again["inner.layer.bias"], outer.inner.layer.bias.half())

    def test_a_part_that_is_gone(self, built):
        folder, _ = built
        (folder / "tiny.safetensors").unlink()
        (folder / "tiny.json").unlink()
        with pytest.raises(WeightsError, match="needs the weights tiny, its inner"):
            load("outer", folder=folder)

    def test_a_part_that_was_made_again(self, built):
        folder, _ = built
        save("tiny", TinySampler(4), {}, folder)
        with pytest.raises(WeightsError, match="trained with other weights tiny"):
            load("outer", folder=folder)


class TestPackage:
    def test_every_model_loads_and_stays_small(self):
        total = 0
        for name in available():
            about = load(name).card
            assert about["name"] == name
            assert about["bytes"] <= pretrained.MOST_BYTES
            for field in ("data", "command", "device", "minutes", "licence"):
                assert about[field] is not None, (name, field)
            assert about["command"] == f"mmgen weights {name}"
            total += about["bytes"]
        assert total <= 100 * 10**6

    def test_looking_at_cards_loads_no_torch(self):
        code = (
            "import sys, mmgen.pretrained as p; p.available(); "
            "assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
