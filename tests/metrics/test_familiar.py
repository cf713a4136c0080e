"""Pictures of a known kind are known, and others are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmgen.data import load_dataset
from mmgen.data.shapes import REASONS, Object, Scene, render
from mmgen.metrics.familiar import (
    BORDER,
    COLOURS,
    EMPTY,
    FORMS,
    NO_OBJECT,
    familiar,
)

ROLES = {"subset": "roles", "split_by": "combination"}


def pictures(name: str, count: int, split: str = "test", **options) -> Tensor:
    data = load_dataset(name, split, 64, **options)
    return data.batch(range(min(count, len(data)))).images


def strangers(count: int) -> dict[str, Tensor]:
    """Pictures of no data set."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, 3, *shape, generator=generator)

    x = torch.linspace(-1, 1, 64)
    slope, tilt, level = 0.6 * normal(1, 1), 0.6 * normal(1, 1), 0.4 * normal(1, 1)
    grain = 0.05 * normal(64, 64)
    # as in photographs, where slow changes are larger than fast ones
    frequency = torch.fft.fftfreq(64)
    distance = (frequency[:, None] ** 2 + frequency**2).sqrt().clamp(min=1 / 64)
    clouds = torch.fft.ifft2(torch.fft.fft2(normal(64, 64)) / distance**1.2).real
    clouds = clouds / clouds.std((1, 2, 3), keepdim=True)
    return {
        "noise": (0.5 * normal(64, 64)).clamp(-1, 1),
        "gradients": (slope * x + tilt * x[:, None] + level + grain).clamp(-1, 1),
        "clouds": (0.4 * clouds).clamp(-1, 1),
    }


def rate(images: Tensor, name: str, **options) -> float:
    """Share of pictures that are known."""
    found = familiar(images, name, options)
    assert found.known.shape == (len(images),) and found.known.dtype == torch.bool
    # known is what no reason speaks against
    assert found.known.tolist() == [reason == "" for reason in found.reasons]
    return float(found.known.float().mean())


def test_shapes_are_told_from_other_pictures():
    own = pictures("shapes", 100)
    assert rate(own, "shapes") >= 0.98
    assert rate(pictures("shapes", 50, "compositional"), "shapes") >= 0.98
    pytest.importorskip("emoji")
    others = strangers(30) | {"inverted": -own[:30], "emoji": pictures("emoji", 30)}
    for name, images in others.items():  # the flag of Japan is a circle on white
        assert rate(images, "shapes") <= (0.05 if name == "emoji" else 0.02), name


@pytest.mark.parametrize("options", [ROLES, {"subset": "all"}, {"subset": "things"}])
def test_emoji_are_told_from_other_pictures(options):
    pytest.importorskip("emoji")
    own, shapes = pictures("emoji", 400, **options), pictures("shapes", 600)
    least = 0.95 if options["subset"] == "things" else 0.98  # of 101 pictures
    assert rate(own, "emoji", **options) >= least
    white = shapes[:, :, 0, 0].amin(1) > 0.95
    for name, images in (strangers(200) | {"inverted": -own}).items():
        assert rate(images, "emoji", **options) <= 0.02, name
    assert rate(shapes[~white], "emoji", **options) == 0
    allowed = 0.02 if options == ROLES else 0.05
    assert rate(shapes[white], "emoji", **options) <= allowed
    if options == ROLES:  # the other emoji are of another kind
        assert rate(pictures("emoji", 400, subset="things"), "emoji", **options) <= 0.1


def test_reasons_of_shapes():
    scene = Scene((Object.at("star", "red", "large", "center"),), "white")
    image = render([scene], 64)
    noise = strangers(1)["noise"]
    half = image.clone()
    half[:, :, :, 32:] = image[0, :, 0, 0].view(3, 1, 1)  # of a star
    images = torch.cat([image, -image, noise, torch.ones_like(image), half])
    reasons = familiar(images, "shapes").reasons
    assert reasons[0] == "" and reasons[3] == NO_OBJECT
    assert {*reasons[1:3], reasons[4]} <= set(REASONS)
    assert familiar(image, "shapes", {"objects": (1, 2), "seed": 3}).known.all()
    (reason,) = familiar(image, "shapes", {"objects": (2, 3)}).reasons
    assert reason == "objects are 1, and not 2, 3"


def test_reasons_of_emoji():
    pytest.importorskip("emoji")
    own = pictures("emoji", 1, **ROLES)
    dot = torch.ones_like(own)
    dot[:, :, 30:34, 30:34] = -1
    found = familiar(
        torch.cat([own, -own, torch.ones_like(own), dot, own.roll(1, 1), own.flip(2)]),
        "emoji",
        {**ROLES, "shift": 4},
    )
    assert found.reasons == ["", BORDER, EMPTY, EMPTY, COLOURS, FORMS]


def test_sizes_and_kinds_of_numbers():
    pytest.importorskip("emoji")
    data = load_dataset("emoji", "test", 32, **ROLES)
    images = data.batch(range(60)).images
    assert familiar(images, "emoji", ROLES).known.float().mean() >= 0.95
    assert not familiar(-images.double(), "emoji", ROLES).known.any()
    empty = familiar(images[:0], "emoji", ROLES)
    assert empty.known.shape == (0,) and empty.reasons == []


def test_bad_inputs():
    with pytest.raises(ValueError, match="data_name must be one of"):
        familiar(torch.zeros(1, 3, 64, 64), "cub")
    with pytest.raises(ValueError, match="images must be 32"):
        familiar(torch.zeros(1, 3, 48, 48), "shapes")
    for images in (torch.zeros(1, 1, 64, 64), torch.zeros(1, 3, 64, 32)):
        for name in ("shapes", "emoji"):
            with pytest.raises(ValueError, match="images must have shape"):
                familiar(images, name)
    for value in (2.0, float("nan")):
        with pytest.raises(ValueError, match="images must be finite floats"):
            familiar(torch.full((1, 3, 64, 64), value), "emoji")
    with pytest.raises(ValueError, match="images must be finite floats"):
        familiar(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "emoji")
    pytest.importorskip("emoji")
    with pytest.raises(ValueError, match="subset must be one of"):
        familiar(torch.zeros(1, 3, 64, 64), "emoji", {"subset": "cats"})
