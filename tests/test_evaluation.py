"""Measures apply to what a sampler can do, and find what they should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen import evaluation
from mmgen.data import CaptionedDataset, load_dataset
from mmgen.data.shapes import Scene, describe
from mmgen.data.shapes.telling import told
from mmgen.errors import MmgenError
from mmgen.evaluation import Measure, measure
from mmgen.metrics import r_precision
from mmgen.models.autoregressive import ARSampler
from mmgen.models.vqvae import VQVAEConfig, VQVAESampler
from mmgen.registry import MEASURES, find_class
from tests.models.tiny_codes import sampler, world

SIZE = 32


class Painter:
    """Draws each caption as the data set does."""

    def __init__(self, dataset: CaptionedDataset) -> None:
        batch = dataset.batch(range(len(dataset)))
        pairs = zip(batch.captions, batch.images, strict=True)
        self.pictures: dict[str, Tensor] = dict(pairs)
        self.seeds: list[int] = []

    def sample(
        self, captions: Sequence[str], seed: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        self.seeds.append(seed)
        return torch.stack([self.pictures[caption] for caption in captions])


class Matcher:
    """Knows for each picture what it was drawn for."""

    def __init__(self, dataset: CaptionedDataset) -> None:
        batch = dataset.batch(range(len(dataset)))
        self.captions = {
            image.numpy().tobytes(): caption
            for image, caption in zip(batch.images, batch.captions, strict=True)
        }

    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        own = [self.captions[image.numpy().tobytes()] for image in images]
        return torch.tensor([[float(a == b) for b in captions] for a in own])


class Namer(Painter):
    """Draws, and names pictures: in English alone."""

    languages = ("en",)

    def __init__(self, dataset: CaptionedDataset) -> None:
        super().__init__(dataset)
        self.names = Matcher(dataset).captions

    def describe(self, images: Tensor, language: str | None = None) -> list[str]:
        return [self.names[image.numpy().tobytes()] for image in images]


class Captioner:
    """Writes the captions of pictures that it knows, in both languages, and no more."""

    languages = ("en", "zh")

    def __init__(self, *datasets: CaptionedDataset) -> None:
        self.seeds: list[int] = []
        self.said: dict[tuple[str, bytes], str] = {}
        for dataset in datasets:
            batch = dataset.batch(range(len(dataset)))
            for i, image in enumerate(batch.images):
                for language in self.languages:
                    key = language, image.numpy().tobytes()
                    if batch.scenes and isinstance(batch.scenes[i], Scene):
                        self.said[key] = describe(batch.scenes[i], language, i)
                    elif dataset.language == language:
                        self.said[key] = batch.captions[i]

    def describe(self, images: Tensor, language: str | None = None) -> list[str]:
        return [self.said[language or "en", i.numpy().tobytes()] for i in images]


class Chatterer(Captioner):
    """Draws one of two captions: the right one, or "a star"."""

    def describe(
        self,
        images: Tensor,
        language: str | None = None,
        seed: int = 0,
        *,
        temperature: float = 0.0,
    ) -> list[str]:
        right = super().describe(images, language)
        if not temperature:
            return right
        self.seeds.append(seed)
        star = "a star" if language == "en" else "一个五角星"
        return [star if seed % 2 else caption for caption in right]


class Copier:
    """Pictures to the four codes of their place in a list, and nearly back."""

    bits, codes, has_codes = 12.0, 8, True  # four of three bits each

    def __init__(self, dataset: CaptionedDataset, error: float) -> None:
        self.images, self.error = dataset.batch(range(len(dataset))).images, error

    def encode(self, images: Tensor) -> Tensor:
        known = [image.numpy().tobytes() for image in self.images]
        place = torch.tensor([known.index(image.numpy().tobytes()) for image in images])
        digits = place[:, None] // torch.tensor([1, 8, 64, 512]) % 8
        return digits.view(-1, 2, 2)

    def decode(self, codes: Tensor) -> Tensor:
        place = (codes.flatten(1) * torch.tensor([1, 8, 64, 512])).sum(dim=1)
        return self.images[place] * (1 - self.error)


@pytest.fixture(scope="module")
def shapes() -> CaptionedDataset:
    return load_dataset("shapes", "test", SIZE, objects=(1,), size=120)


def test_every_line_of_the_table_is_a_measure() -> None:
    for name, path in MEASURES.items():
        assert isinstance(find_class(path), Measure), name


def test_pictures_of_a_decided_data_set(shapes: CaptionedDataset) -> None:
    painter = Painter(shapes)
    found = measure(painter, shapes, 70, 5, "cpu")
    assert list(found) == ["semantic_accuracy"]
    assert found["semantic_accuracy"]["overall"]["n"] == 70
    assert found["semantic_accuracy"]["overall"]["value"] == 1
    assert painter.seeds == [5, 6]  # of the noise of each batch


def test_what_is_left_of_real_pictures_when_they_were_codes(
    shapes: CaptionedDataset,
) -> None:
    copier = Copier(shapes, 0.01)
    found = measure(copier, shapes, 64, 0, "cpu")
    assert list(found) == ["reconstruction"]
    left = found["reconstruction"]
    assert left["overall"] == {**left["overall"], "n": 64, "value": 1.0}
    assert left["bits"] == 12
    images = shapes.batch(range(64)).images
    error = (0.01 * images).square().mean()
    assert left["psnr"] == pytest.approx(float(10 * torch.log10(4 / error)))
    # of 256 codes the last two of each picture are 0, and the others are even
    assert left["codes_used"] == 1
    frequencies = [(128 + 16) / 256, *[16 / 256] * 7]
    entropy = -sum(p * math.log2(p) for p in frequencies)
    assert left["perplexity"] == pytest.approx(2**entropy)


def test_a_bad_copy_is_seen_to_be_one(shapes: CaptionedDataset) -> None:
    grey = Copier(shapes, 1.0)  # all that comes back is grey
    left = measure(grey, shapes, 64, 0, "cpu")["reconstruction"]
    assert left["overall"]["value"] == 0
    squares = shapes.batch(range(64)).images.square().mean()
    assert left["psnr"] == pytest.approx(float(10 * torch.log10(4 / squares)))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_an_autoencoder_without_codes(shapes: CaptionedDataset, noise: float) -> None:
    """It has no table of codes to be used, and bits only through its noise."""
    torch.manual_seed(0)
    config = VQVAEConfig(quantiser="none", code_dim=2, noise=noise, channels=4, depth=1)
    sampler = VQVAESampler(config, SIZE).eval()
    left = measure(sampler, shapes, 8, 0, "cpu")["reconstruction"]
    images = shapes.batch(range(8)).images
    wrong = (sampler.reconstruct(images) - images).square().mean()
    assert left["psnr"] == pytest.approx(float(10 * torch.log10(4 / wrong)), abs=1e-3)
    assert "overall" in left and "codes_used" not in left
    if noise:
        # of a fresh channel, whose covariance is the identity
        places = (SIZE // config.reduction) ** 2
        assert left["bits"] == pytest.approx(places * math.log2(1 + 1 / 0.25))
    else:
        assert "bits" not in left


def test_a_matcher_is_asked_both_ways_about_real_pictures(
    shapes: CaptionedDataset,
) -> None:
    matcher = Matcher(shapes)
    found = measure(matcher, shapes, 120, 3, "cpu")
    assert list(found) == ["r_precision_image_to_text", "r_precision_text_to_image"]
    batch = shapes.batch(range(120))
    for direction in ("image_to_text", "text_to_image"):
        expected = r_precision(
            batch.images,
            batch.captions,
            matcher,
            seed=3,
            class_ids=batch.class_ids,
            scenes=batch.scenes,
            direction=direction,
        )
        result = found[f"r_precision_{direction}"]
        assert result == {**expected.to_json(), "scorer": "itself"}


def test_a_matcher_is_asked_which_colour_belongs_to_which_shape() -> None:
    two = load_dataset("shapes", "test", SIZE, objects=(1, 2), size=150)

    class First(Matcher):  # its own caption scores best, whatever the others
        def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
            own = super().scores(images, captions)
            return own - 0.001 * torch.arange(len(captions))

    found = measure(First(two), two, 150, 0, "cpu")
    assert list(found)[-1] == "binding"
    told = found["binding"]
    assert list(told) == ["overall", "colours", "shapes"]
    assert told["overall"]["value"] == 1 and told["overall"]["n"] > 20
    assert "binding" not in measure(Painter(two), two, 20, 0, "cpu")


def test_pictures_by_a_scorer(
    shapes: CaptionedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was asked for, or the one of the data set where there is one."""
    matcher, asked = Matcher(shapes), []

    def load(name: str, device: Any) -> Matcher:
        asked.append((name, device))
        return matcher

    monkeypatch.setattr(evaluation, "load", load)
    painter = torch.nn.Module()  # R-precision looks whether it holds the scorer
    painter.sample = Painter(shapes).sample
    found = measure(painter, shapes, 110, 0, "cpu", scorer="mine")
    assert found["r_precision"]["scorer"] == "mine" and asked == [("mine", "cpu")]
    assert "r_precision_image_to_text" not in found
    monkeypatch.setattr(
        evaluation, "available", lambda: (f"damsm-shapes{SIZE}-scorer",)
    )
    found = measure(painter, shapes, 110, 0, "cpu")
    assert found["r_precision"]["scorer"] == f"damsm-shapes{SIZE}-scorer"


def test_what_cannot_be_measured_says_why_and_the_rest_is_kept(
    shapes: CaptionedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Matcher(shapes)
    monkeypatch.setattr(evaluation, "load", lambda name, device=None: scorer)
    found = measure(Painter(shapes), shapes, 50, 0, "cpu", scorer="by-name")
    assert found["semantic_accuracy"]["overall"]["n"] == 50
    assert list(found["r_precision"]) == ["not_measured"]
    reason = found["r_precision"]["not_measured"]
    assert "of the 50 captions" in reason and "--count" in reason
    assert "fewer candidates" not in reason  # the command line cannot
    with pytest.raises(MmgenError, match="--count"):  # nothing is left to be kept
        measure(scorer, shapes, 50, 0, "cpu")


def test_a_fault_of_ours_is_no_reason(
    shapes: CaptionedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(asked: Any) -> None:
        raise KeyError("ours")

    broken_measure = Measure(lambda *_: True, broken)
    monkeypatch.setattr(evaluation, "LABELS_READ", broken_measure)
    with pytest.raises(KeyError):
        measure(Painter(shapes), shapes, 4, 0, "cpu")


def test_a_scorer_is_checked_before_anything_is_drawn(
    shapes: CaptionedDataset,
) -> None:
    painter = Painter(shapes)
    for name, said in (("nope", "got 'nope'"), ("vae-shapes64", "is a VAE")):
        with pytest.raises(ValueError, match=f"scorer.*{said}"):
            measure(painter, shapes, 110, 0, "cpu", scorer=name)
    assert painter.seeds == []


def test_options_reach_every_drawing(shapes: CaptionedDataset) -> None:
    painter, told = Painter(shapes), []

    class Choosy:
        def sample(self, captions: Any, seed: int = 0, **options: Any) -> Tensor:
            told.append(options)
            return painter.sample(captions)

    found = measure(Choosy(), shapes, 70, 0, "cpu", options={"warmth": 2.0})
    assert found["semantic_accuracy"]["overall"]["value"] == 1
    assert told == [{"warmth": 2.0}] * 3  # a first one, and both batches


def test_wrong_options_are_no_reason_of_one_measure(shapes: CaptionedDataset) -> None:
    class Cold(Painter):
        bits = 12.0

        def sample(self, captions: Any, seed: int = 0, **options: Any) -> Tensor:
            raise ValueError("warmth must be above 0")

        def log_likelihood(self, images: Any, captions: Any) -> Tensor:
            raise AssertionError("asked before the options were tried")

    with pytest.raises(ValueError, match="warmth must be above 0"):
        measure(Cold(shapes), shapes, 70, 0, "cpu", options={"warmth": 0.0})


def test_bits_of_real_pictures() -> None:
    """Who knows nothing pays what codes of equal length do; others by their shares."""
    model, data = sampler(ARSampler), world()
    found = measure(model, data, 64, 0, "cpu")["bits"]
    assert found["equal_length"] == pytest.approx(4 * math.log2(3))
    batch = data.batch(range(64))
    nats = model.log_likelihood(batch.images, batch.captions).double()
    assert found["a_picture"] == pytest.approx(float(-nats.mean() / math.log(2)))
    assert abs(found["a_picture"] - found["equal_length"]) > 0.01
    with torch.no_grad():
        model.writer.head.weight.zero_()
        model.writer.tell_vector[-1].weight.zero_()
        model.writer.head.bias.zero_()
    found = measure(model, data, 64, 0, "cpu")["bits"]
    assert found["a_picture"] == pytest.approx(found["equal_length"], rel=1e-6)


def test_captions_of_pictures_are_decided_in_each_language(
    shapes: CaptionedDataset,
) -> None:
    report = measure(Captioner(shapes), shapes, 70, 0, "cpu")
    assert list(report) == ["captions"] and list(report["captions"]) == ["en", "zh"]
    for found in report["captions"].values():
        assert found["overall"] == found["complete"]
        assert found["overall"]["value"] == 1 and found["overall"]["n"] == 70
        assert found["hallucinated"]["value"] == 0 and found["reward"] == 1
        assert 0.2 < found["bleu"] < 1 and 2 < found["cider_d"] < 10
        assert "samples" not in found  # it draws none
    assert "cider_d" not in measure(Captioner(shapes), shapes, 1, 0, "cpu")


def test_captions_drawn_by_chance_are_counted(shapes: CaptionedDataset) -> None:
    model = Chatterer(shapes)
    report = measure(model, shapes, 70, 3, "cpu")["captions"]
    assert model.seeds == [*range(3, 13)] * 2
    stars = sum(
        told("a star", scene).right for scene in shapes.batch(range(70)).scenes or []
    )
    for found in report.values():
        assert found["samples"]["of_a_picture"] == 10
        assert found["samples"]["distinct"] == 2
        right = found["samples"]["overall"]
        assert (right["successes"], right["n"]) == (350 + 5 * stars, 700)


def test_who_draws_too_is_measured_by_its_coherence(shapes: CaptionedDataset) -> None:
    assert "captions" not in measure(Namer(shapes), shapes, 10, 0, "cpu")


@pytest.fixture(scope="module")
def roles() -> CaptionedDataset:
    pytest.importorskip("emoji")
    return load_dataset("emoji", "test", 16, subset="roles", split_by="combination")


class TestEmoji:
    def test_recombination_and_names(self, roles: CaptionedDataset) -> None:
        found = measure(Namer(roles), roles, 20, 0, "cpu")
        assert list(found) == ["recombination", "naming"]
        assert found["recombination"]["overall"]["value"] == 1
        assert found["naming"]["n"] == len(roles)

    def test_who_cannot_write_is_not_asked_to(self, roles: CaptionedDataset) -> None:
        assert list(measure(Painter(roles), roles, 20, 0, "cpu")) == ["recombination"]
        options = {"subset": "roles", "split_by": "combination"}
        chinese = load_dataset("emoji", "test", 16, "zh", **options)
        found = measure(Namer(chinese), chinese, 20, 0, "cpu")
        assert list(found) == ["recombination"]

    def test_a_captioner_names_them_in_its_languages(
        self, roles: CaptionedDataset
    ) -> None:
        options = {"subset": "roles", "split_by": "combination"}
        chinese = load_dataset("emoji", "test", 16, "zh", **options)
        both = load_dataset("emoji", "test", 16, "both", **options)
        for data in (roles, chinese, both):
            model = Captioner(roles, chinese)
            report = measure(model, data, 20, 0, "cpu")
            assert list(report) == ["naming"] and list(report["naming"]) == ["en", "zh"]
            for found in report["naming"].values():
                assert found["overall"]["value"] == 1 and found["nameless"] == 0
                assert found["overall"]["n"] == len(roles)
                assert set(found["parts"]) == {"person", "skin_tone", "role"}

    def test_parts_of_a_name_are_told_apart(self, roles: CaptionedDataset) -> None:
        model = Captioner(roles)
        model.languages = ("en",)
        for key, name in model.said.items():  # another combination, and no name
            turned = name.replace("medium-dark", "light")
            model.said[key] = "a person" if "firefighter" in name else turned
        dark = sum("medium-dark" in name for name in roles.batch(range(166)).captions)
        fires = [n for n in roles.batch(range(166)).captions if "firefighter" in n]
        both = sum("medium-dark" in name for name in fires)
        found = measure(model, roles, 20, 0, "cpu")["naming"]["en"]
        assert found["nameless"] == len(fires) > 0
        n = len(roles)
        assert found["parts"]["role"]["successes"] == n - len(fires)
        assert found["parts"]["person"]["successes"] == n - len(fires)
        assert found["parts"]["skin_tone"]["successes"] == n - len(fires) - dark + both
        assert found["overall"] == found["parts"]["skin_tone"]

    def test_codes_of_pictures_that_nothing_decides(
        self, roles: CaptionedDataset
    ) -> None:
        left = measure(Copier(roles, 0.01), roles, 16, 0, "cpu")["reconstruction"]
        assert set(left) == {"bits", "psnr", "codes_used", "perplexity"}

    def test_other_emoji_are_not_decided(self) -> None:
        pytest.importorskip("emoji")
        every = load_dataset("emoji", "test", 16)
        assert measure(Painter(every), every, 20, 0, "cpu") == {}
