"""A figure's digest follows what is plotted, and nothing else."""

import re

import numpy as np
import pytest
import torch

from mmgen import explore
from mmgen.explore.digests import digest, mean_colour, numbers

TIME = torch.linspace(0, 6, 200)


def _curves(time=TIME, values=None, label="sine", scale="linear"):
    figure, axis = explore.new_figure()
    axis.plot(time, time.sin() + 1.5 if values is None else values, label=label)
    axis.plot(time, time.cos() + 1.5, label="cosine")
    axis.set(xlabel="time, s", ylabel="height, m", yscale=scale)
    axis.legend()
    return figure


def test_a_digest_says_what_is_plotted():
    figure, axis = explore.new_figure()
    axis.plot([0, 1, 2, 3], [1.0, 3.0, 2.0, 4.0])
    axis.set(xlabel="x", ylabel="y", yscale="log")
    first, second, third = digest(figure).splitlines()
    assert first == "panel of 1, y log"
    assert second == (
        "curve of 4: x 0.00 to 3.00, by quarters 0.00, 1.00, 2.00, 3.00, "
        "way 3.00; y 1.00 to 4.00, by quarters 1.00, 3.00, 2.00, 4.00, way 5.00"
    )
    assert re.fullmatch("texts 2, [0-9a-f]{4}", third)
    assert digest(figure, varies=True) == "panel of 1, y log\ncurve of 4\ntexts 2"


@pytest.mark.parametrize(
    "changed",
    [
        {"time": TIME[:-1]},
        {"time": TIME + 0.05},
        {"values": (TIME.sin() + 1.5).flip(0)},
        {"values": 1.01 * (TIME.sin() + 1.5)},
        {"values": torch.where(TIME.eq(TIME[70]), 2.2, TIME.sin() + 1.5)},
        {"label": "a sine"},
        {"scale": "log"},
    ],
    ids=["a point less", "moved", "mirrored", "scaled", "one point", "label", "scale"],
)
def test_other_curves_have_another_digest(changed):
    assert digest(_curves()) != digest(_curves(**changed))


@pytest.mark.parametrize(
    "draw",
    [
        lambda axis, values: axis.scatter(values, values**2),
        lambda axis, values: axis.bar([1, 2, 3], values),
        lambda axis, values: axis.hist(values, bins=[0, 1.5, 2, 3]),
        lambda axis, values: axis.fill_between([1, 2, 3], values),
        lambda axis, values: axis.errorbar([1, 2, 3], [1, 1, 1], yerr=values),
        lambda axis, values: axis.scatter([1, 2, 3], [4, 5, 6], c=values),
        lambda axis, values: axis.pcolormesh(values.outer(torch.ones(4)).numpy()),
        lambda axis, values: axis.imshow(values.outer(torch.ones(4))),
        lambda axis, values: axis.imshow(torch.ones(4).outer(values)),
        lambda axis, values: axis.text(0.5, 0.5, f"{values[1]:.1f}"),
        lambda axis, values: axis.set_xticks([0, 1], [f"{v:.1f}" for v in values[:2]]),
    ],
    ids=[
        "cloud",
        "bars",
        "counts",
        "area",
        "errors",
        "colours",
        "mesh",
        "rows",
        "columns",
        "text",
        "tick",
    ],
)
def test_other_values_of_every_kind_of_plot_have_another_digest(draw):
    digests = []
    for values in ([0.4, 1.2, 2.1], [0.4, 1.7, 2.1], [0.4, 2.1, 1.2], [0.4, 1.2, 2.1]):
        figure, axis = explore.new_figure()
        draw(axis, torch.tensor(values))
        digests.append(digest(figure))
    assert digests[0] == digests[3]
    assert digests[0] != digests[1]
    # a histogram counts, whatever the order
    assert digests[1] != digests[2] or draw.__code__.co_names[0] == "hist"


def _pictures():
    images = torch.ones(4, 3, 64, 64)
    for i, colour in enumerate(([1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, -1])):
        images[i, :, 10:32, 8:28] = torch.tensor(colour)[:, None, None].float()
    return images


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[[1, 0, 2, 3]],
        lambda images: images[:3],
        lambda images: images.flip(2),
        lambda images: images.flip(3),
        lambda images: images.transpose(2, 3).roll(20, 3),
        lambda images: torch.cat([images[:3], images[:1]]),
        lambda images: images[:, [2, 1, 0]],
        lambda images: 0.9 * images,
        lambda images: images[..., ::2, ::2],
    ],
    ids=[
        *("order", "one less", "upside down", "mirrored", "place"),
        *("double", "colours", "paler", "size"),
    ],
)
def test_other_pictures_have_another_digest(change):
    given, other = _pictures(), change(_pictures())
    assert digest(explore.image_grid(given)) != digest(explore.image_grid(other))
    if given[0].shape != other[0].shape:
        return  # an explorer shows both at the same size
    labels = ["a", "b", "c", "d"]
    boxes = [
        explore.frames_explorer(list(images), labels[: len(images)], "step")
        for images in (given, other)
    ]
    plain = [box._repr_mimebundle_()["text/plain"] for box in boxes]
    assert plain[0] != plain[1]


def test_captions_are_part_of_a_digest():
    images = _pictures()[:2]
    digests = {
        digest(explore.image_grid(images, captions, title=title))
        for captions, title in (
            (["a", "b"], None),
            (["b", "a"], None),
            (["a", "b"], "two"),
            (["a", "红"], None),
        )
    }
    assert len(digests) == 4


def test_a_digest_is_the_same_whatever_fonts_there_are(monkeypatch):
    drawn = []
    for fonts in (explore.figures._CHINESE_FONTS, ()):
        monkeypatch.setattr(explore.figures, "_CHINESE_FONTS", fonts)
        drawn.append(
            digest(explore.image_grid(_pictures(), ["红色的圆", "b", "c", "d"]))
        )
    assert drawn[0] == drawn[1]


def test_last_bits_change_no_digit():
    generator = torch.Generator().manual_seed(0)
    for k in range(200):
        # numbers that people write, among them many half-way between two roundings
        values = torch.randint(-2000, 2000, (40,), generator=generator).double() / 1000
        noise = 1e-6 * torch.rand(40, generator=generator, dtype=torch.double)
        assert numbers(values + noise) == numbers(values - noise), k
    # the scale does not hang on the last bit of the largest, nor a sum near zero
    assert numbers([0.5, 1 - 1e-7]) == numbers([0.5, 1 + 1e-7])
    assert numbers([-1e-9, 1e-12, 1.0, -1.0]) == numbers([1e-9, -1e-12, 1.0, -1.0])


def test_pixels_that_round_the_other_way_change_no_colour():
    generator = np.random.default_rng(0)
    for _ in range(50):
        picture = generator.integers(0, 255, (64, 64, 3))
        other = picture + (generator.random(picture.shape) < 1e-3)
        assert mean_colour(picture) == mean_colour(other)


def test_values_that_are_not_finite_are_left_out():
    assert numbers([float("nan"), 1.0, float("inf")]) == numbers([1.0])
    assert numbers([float("nan")]) == numbers([]) == "none"
    assert numbers([0.0, 0.0]) == "0"


def test_what_varies_is_counted():
    figure = explore.image_grid(_pictures(), ["a", "b", "c", "d"])
    assert digest(figure, varies=True) == "pictures 4, of 64 x 64 pixels\ntexts 4"
    box = explore.frames_explorer(
        list(_pictures()), ["a", "b", "c", "d"], "step", varies=True
    )
    assert box._repr_mimebundle_()["text/plain"] == (
        "Explorer with 4 pictures. step: a, b, c, d."
    )
