"""Grids of vectors: shapes, what a place sees, and what it does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmgen.layers.grids import GridDecoder, GridEncoder, ResidualBlock, SquareBlock

SIZES = [(8, 4), (8, 2), (8, 8), (4, 1), (2, 2), (1, 1)]  # reduction, patch


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("reduction", "patch"), SIZES)
@pytest.mark.parametrize("shape", [(16, 16), (8, 24)])
def test_pictures_to_grids_and_back(
    reduction: int, patch: int, shape: tuple[int, int]
) -> None:
    latents = GridEncoder(5, reduction, 12, 1)(torch.rand(2, 3, *shape) * 2 - 1)
    height, width = shape
    assert latents.shape == (2, 5, height // reduction, width // reduction)
    images = GridDecoder(5, reduction, patch, 8, 1)(3 * latents)
    assert images.shape == (2, 3, *shape)
    assert images.abs().max() <= 1


def seen_by(encoder: GridEncoder, size: int, row: int, column: int) -> Tensor:
    """Pixels that a place's vector hangs on, (size, size) bool."""
    images = (
        torch.rand(1, 3, size, size, dtype=torch.float64) * 2 - 1
    ).requires_grad_()
    encoder(images)[0, :, row, column].square().sum().backward()
    return images.grad[0].abs().sum(dim=0) > 0


@pytest.mark.parametrize(("reduction", "depth"), [(8, 0), (8, 2), (4, 1), (1, 1)])
def test_a_vector_sees_its_own_square_and_nothing_else(
    reduction: int, depth: int
) -> None:
    encoder = GridEncoder(5, reduction, 12, depth).double()
    pixels = torch.arange(4 * reduction)
    for row, column in ((0, 0), (1, 2)):
        inside = [pixels // reduction == place for place in (row, column)]
        expected = inside[0][:, None] & inside[1]
        assert torch.equal(seen_by(encoder, 4 * reduction, row, column), expected)


def test_equal_squares_have_equal_vectors_wherever_they_are() -> None:
    square = torch.rand(1, 3, 8, 8) * 2 - 1
    latents = GridEncoder(5, 8, 12, 1)(square.repeat(1, 1, 3, 2))
    torch.testing.assert_close(latents, latents[:, :, :1, :1].expand_as(latents))


def test_every_pixel_of_a_decoder_hangs_on_every_place() -> None:
    """Its norms are of the whole map: colours may agree from one end to the other."""
    decoder = GridDecoder(5, 8, 4, 8, 1).double()
    latents = torch.randn(1, 5, 12, 12, dtype=torch.float64, requires_grad=True)
    decoder(latents)[0, :, 0, 0].sum().backward()
    assert latents.grad.abs().sum(dim=1).gt(0).all()


def test_blocks_begin_with_the_identity() -> None:
    block = ResidualBlock(8)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)
    features = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(features), features)
    square = SquareBlock(8)
    torch.nn.init.zeros_(square.narrow.weight)
    torch.nn.init.zeros_(square.narrow.bias)
    places = torch.randn(2, 3, 4, 8)
    assert torch.equal(square(places), places)


def test_all_parts_of_both_learn() -> None:
    encoder, decoder = GridEncoder(5, 8, 12, 1), GridDecoder(5, 8, 2, 8, 1)
    decoder(encoder(torch.rand(2, 3, 16, 16))).square().sum().backward()
    for module in (encoder, decoder):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.any(), name


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            (5, 6, 4, 8, 1),
            r"reduction must be patch x 1, 2, 4.*got reduction 6 and pat",
        ),
        (
            (5, 4, 8, 8, 1),
            r"reduction must be patch x 1, 2, 4.*got reduction 4 and pat",
        ),
        ((5, 12, 2, 8, 1), r"reduction must be patch x 1, 2, 4.*got reduction 12 and"),
        (
            (5, 8, 0, 8, 1),
            r"reduction must be patch x 1, 2, 4.*got reduction 8 and pat",
        ),
        (
            (5, 0, 4, 8, 1),
            r"reduction must be patch x 1, 2, 4.*got reduction 0 and pat",
        ),
        ((5, 8, 4, 6, 1), "channels must be a multiple of 4; got 6"),
        ((5, 8, 4, 0, 1), "channels must be a multiple of 4; got 0"),
        ((0, 8, 4, 8, 1), "code_dim must be at least 1; got 0"),
        ((5, 8, 4, 8, -1), "depth must be at least 0; got -1"),
    ],
)
def test_bad_sizes_of_a_decoder_are_named(sizes: tuple[int, ...], message: str) -> None:
    GridDecoder(5, 8, 4, 8, 1)
    with pytest.raises(ValueError, match=message):
        GridDecoder(*sizes)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 8, 12, 1), "code_dim must be at least 1; got 0"),
        ((5, 0, 12, 1), "reduction must be at least 1; got 0"),
        ((5, 8, 0, 1), "width must be at least 1; got 0"),
        ((5, 8, 12, -1), "depth must be at least 0; got -1"),
    ],
)
def test_bad_sizes_of_an_encoder_are_named(
    sizes: tuple[int, ...], message: str
) -> None:
    GridEncoder(5, 8, 12, 1)
    with pytest.raises(ValueError, match=message):
        GridEncoder(*sizes)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 20, 16), r"multiples of 8; got \(2, 3, 20, 16\)"),
        ((2, 3, 16, 4), r"multiples of 8; got \(2, 3, 16, 4\)"),
        ((2, 1, 16, 16), r"shape \(B, 3, H, W\); got \(2, 1, 16, 16\)"),
        ((3, 16, 16), r"shape \(B, 3, H, W\); got \(3, 16, 16\)"),
    ],
)
def test_pictures_that_do_not_fit_are_named(
    shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GridEncoder(5, 8, 12, 1)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 2, 2), r"latents must be of shape \(B, 5, h, w\); got \(2, 4, 2, 2\)"),
        ((5, 2, 2), r"latents must be of shape \(B, 5, h, w\); got \(5, 2, 2\)"),
    ],
)
def test_vectors_that_do_not_fit_are_named(
    shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GridDecoder(5, 8, 4, 8, 1)(torch.zeros(shape))
