"""Published weights reach what their cards say."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import binomtest

from mmgen.cli.evaluate import evaluate
from mmgen.data.dataset import CaptionedDataset
from mmgen.evaluation import measure
from mmgen.pretrained import available, card, load
from mmgen.training.folder import load_described

COUNT = 200  # captions; a figure of a card is of up to 2,000
UNLIKELY = 0.001  # how seldom a right figure may be called wrong

# Autoencoders of pictures alone draw without being asked for anything, so no figure of
# what they draw stands on the card: how well they encode is asked instead.
UNASKED = {"vae-shapes64"}


def shares(report: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, dict]]:
    """The main proportions of a report, by where they stand in it."""
    if isinstance(report, dict):
        if {"successes", "n"} <= set(report):
            yield " > ".join(path), report
        else:
            for key, value in report.items():
                if key not in ("attributes", "tasks", "scenes"):
                    yield from shares(value, (*path, key))


def short(words: str) -> list[str]:
    """What a card says that it was measured with, less the count."""
    given = words.split()
    if "--count" in given:
        i = given.index("--count")
        del given[i : i + 2]
    return given


def doubted(said: dict[str, Any], found: dict[str, Any]) -> dict[str, str]:
    """Figures of a card that so many draws can hardly come from, with both values."""
    there = dict(shares(said))
    return {
        name: f"{there[name]['value']:.3f} on the card; {share['value']:.3f} found"
        for name, share in shares(found)
        if binomtest(share["successes"], share["n"], there[name]["value"]).pvalue
        < UNLIKELY
    }


def on_test(name: str) -> CaptionedDataset:
    """One object of the kind that weights were trained on, unseen."""
    about = card(name)["data"]
    options = {**about["options"], "objects": [1]}
    del options["size"]  # the split has its own
    return load_described({**about, "split": "test", "options": options})


def test_every_weight_is_asked() -> None:
    without = {name for name in available() if not card(name)["metrics"]}
    assert without == UNASKED


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(available()) - UNASKED))
def test_figures_of_the_card_are_found_again(name: str, tmp_path: Path) -> None:
    words, said = next(iter(card(name)["metrics"].items()))
    out = tmp_path / "report.json"
    evaluate([name, *short(words), "--count", str(COUNT), "--out", str(out)])
    found = json.loads(out.read_text("utf-8"))["metrics"]
    assert dict(shares(found)).keys() == dict(shares(said)).keys()
    assert doubted(said, found) == {}
    if not dict(shares(said)):
        # nothing is right or wrong in codes of emoji: the same pictures, all there are
        assert found["reconstruction"] == pytest.approx(said["reconstruction"], 1e-3)


def disturbed(name: str, share: float) -> Any:
    """Weights with noise, as large as this share of each tensor's entries."""
    sampler = load(name)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sampler.parameters():
            size = share * parameter.square().mean().sqrt()
            parameter += size * torch.randn(parameter.shape, generator=noise)
    return sampler


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "share"),
    [("cgan-shapes64", 0.2), ("reader-shapes64", 0.3), ("damsm-shapes64", 0.5)],
)
def test_weights_that_changed_are_noticed(name: str, share: float) -> None:
    found = measure(disturbed(name, share), on_test(name), COUNT, 0, "cpu")
    assert doubted(card(name)["metrics"]["--split test --data-objects 1"], found)


@pytest.mark.slow
def test_the_published_vae_encodes_as_well_as_in_training() -> None:
    results = Path(__file__).parents[1] / "results" / "vae-shapes64.json"
    said = json.loads(results.read_text("utf-8"))["last_row"]["elbo"]
    images = on_test("vae-shapes64").batch(range(COUNT)).images

    def doubt(sampler: Any) -> float:
        """By how many of its errors a mean bound misses that of the training."""
        draws = torch.Generator().manual_seed(0)
        noise = torch.randn(COUNT, sampler.config.latent_dim, generator=draws)
        with torch.no_grad():
            elbo = sampler.model(images, noise).elbo
        bounds = elbo.reconstruction - elbo.kl
        error = bounds.std().item() / math.sqrt(COUNT)
        return abs(bounds.mean().item() - said) / error

    assert doubt(load("vae-shapes64")) < 4 < doubt(disturbed("vae-shapes64", 0.1))
