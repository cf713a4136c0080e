from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmgen.cli import main
from mmgen.models.autoregressive import ARSampler
from mmgen.pretrained import load, save
from tests.cli.calls import QUIET
from tests.models.tiny_codes import sampler


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CGAN after four steps."""
    out = tmp_path_factory.mktemp("runs") / "cgan"
    words = ["train", "cgan", "--scale", "smoke", "--out", str(out), *QUIET]
    assert main([*words, "--checkpoint-every", "2"]) == 0
    return out


@pytest.fixture(scope="session")
def weights(run: Path) -> Path:
    """The same as weights with a card."""
    data = json.loads((run / "config.json").read_text())["dataset"]
    return save("tiny", load(run), {"data": data}, run.parent / "weights")


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a model that draws with options, of pictures of 16 pixels."""
    data = {"name": "shapes", "image_size": 16, "language": "en"}
    model = sampler(ARSampler, side=4, codes=7)
    return save("writer", model, {"data": data}, tmp_path_factory.mktemp("weights"))
