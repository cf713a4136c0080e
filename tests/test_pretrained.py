"""Weights and cards: what is written comes back, and nothing else is taken."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from mmgen import pretrained
from mmgen.pretrained import WeightsError, available, card, load, save


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

    @pytest.mark.parametrize("text", ["{", "[]", '{"sampler": "a:b"}'])
    def test_a_card_that_is_none(self, saved, text):
        (saved[0] / "tiny.json").write_text(text)
        with pytest.raises(WeightsError, match="card"):
            load("tiny", folder=saved[0])

    def test_a_class_that_is_gone(self, saved):
        about = json.loads((saved[0] / "tiny.json").read_text())
        about["sampler"] = "mmgen.models.cgan:Gone"
        (saved[0] / "tiny.json").write_text(json.dumps(about))
        with pytest.raises(WeightsError, match=r"mmgen\.models\.cgan:Gone"):
            load("tiny", folder=saved[0])

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
        assert total <= 60 * 10**6

    def test_looking_at_cards_loads_no_torch(self):
        code = (
            "import sys, mmgen.pretrained as p; p.available(); "
            "assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
