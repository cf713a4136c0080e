"""Pictures that are known, nearly known, and taken for another."""

import pytest
import torch

from mmgen.data import load_dataset
from mmgen.metrics.recombination import (
    emoji_gallery,
    nearest_pictures,
    recombination_accuracy,
)

GREYS = torch.tensor([-1.0, -0.5, 0.0, 0.5])[:, None, None, None].expand(4, 3, 8, 8)
SHOWN = torch.tensor([[0, 0, 7], [0, 1, 7], [1, 0, 7], [1, 1, 7]])
NAMES = ("person", "tone", "group")


def test_nearest_is_the_smallest_distance_and_not_the_largest_product():
    torch.manual_seed(0)
    images, known = torch.rand(20, 3, 8, 8), 3 * torch.rand(30, 3, 8, 8)
    wanted = torch.cdist(images.flatten(1), known.flatten(1)).argmin(1)
    assert torch.equal(nearest_pictures(images, known), wanted)


def test_close_pictures_are_told_apart():
    base = torch.rand(1, 3, 64, 64)
    known = base + 1e-4 * torch.arange(3.0)[:, None, None, None]
    assert nearest_pictures(known, known).tolist() == [0, 1, 2]


def test_each_attribute_is_counted_by_itself():
    images = GREYS[[0, 1, 1, 3]] + 0.1
    report = recombination_accuracy(images, SHOWN[[0, 1, 0, 0]], GREYS, SHOWN, NAMES)
    assert report.nearest.tolist() == [0, 1, 1, 3]
    assert (report.overall.successes, report.overall.n) == (2, 4)
    assert {name: share.successes for name, share in report.attributes.items()} == {
        "person": 3,
        "tone": 2,
    }
    assert "person" in str(report) and report.to_json()["overall"]["value"] == 0.5


@pytest.mark.parametrize(
    ("images", "asked", "match"),
    [
        (GREYS[:0], SHOWN[:0], "at least one picture; got 0 and 0"),
        (GREYS, SHOWN[:3], "got 4 and 3"),
        (GREYS[..., :4], SHOWN, "size of images"),
        (GREYS, SHOWN + torch.tensor([0, 5, 0]), r"those at \[0, 1, 2, 3\]"),
    ],
)
def test_what_does_not_fit_is_refused(images, asked, match):
    with pytest.raises(ValueError, match=match):
        recombination_accuracy(images, asked, GREYS, SHOWN, NAMES)


def test_the_real_pictures_of_the_test_are_what_they_are():
    known = emoji_gallery(32)
    assert known[0].shape == (830, 3, 32, 32)
    test = load_dataset("emoji", "test", 32, subset="roles", split_by="combination")
    batch = test.batch(range(len(test)))
    report = recombination_accuracy(
        batch.images, batch.attributes, *known, test.attributes
    )
    assert report.overall.value == 1.0 and report.overall.n == len(test) > 100
    assert set(report.attributes) == {"person", "skin_tone", "role"}
