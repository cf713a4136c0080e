"""Paths through the latent space."""

import pytest
import torch

from mmgen.explore import interpolate


@pytest.mark.parametrize("spherical", [True, False])
def test_path_begins_and_ends_at_its_ends(spherical):
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 16, generator=generator)
    path = interpolate(start, end, 7, spherical)
    assert path.shape == (7, 16)
    torch.testing.assert_close(path[0], start)
    torch.testing.assert_close(path[-1], end)


def test_great_circle_keeps_the_norm_that_a_line_loses():
    start, end = torch.eye(2)
    arc = interpolate(start, end, 5)
    torch.testing.assert_close(arc.norm(dim=1), torch.ones(5))
    # equal steps of angle: the middle stands at 45 degrees
    torch.testing.assert_close(arc[2], torch.full((2,), 0.5**0.5))
    line = interpolate(start, end, 5, spherical=False)
    torch.testing.assert_close(line[2].norm(), torch.tensor(0.5**0.5))


def test_ends_in_one_direction_fall_back_to_the_line():
    start = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(interpolate(start, 3 * start, 3)[1], 2 * start)


@pytest.mark.parametrize(
    ("start", "end", "steps", "message"),
    [
        (torch.ones(2), torch.ones(3), 4, "one shape"),
        (torch.ones(2), torch.ones(2), 1, "at least 2"),
        (torch.zeros(2), torch.ones(2), 4, "norm 0"),
    ],
)
def test_bad_paths_are_refused(start, end, steps, message):
    with pytest.raises(ValueError, match=message):
        interpolate(start, end, steps)
