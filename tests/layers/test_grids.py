"""Grids of vectors: shapes, what a place sees, and what it does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmgen.layers.grids import GridDecoder, GridEncoder, PlaceNorm, ResidualBlock

SIZES = [(8, 4), (8, 2), (8, 8), (4, 1), (2, 2), (1, 1)]  # reduction, patch


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def field(reduction: int, patch: int, depth: int) -> tuple[int, int]:
    """First and last pixel that the vector at place 0 sees, layer by layer from it."""
    first, last, side = 0, 0, reduction
    while side > patch:  # a 4x4 convolution of stride 2, then 3x3 convolutions
        first, last = 2 * first - 1, 2 * last + 2
        first, last = first - 2 * depth, last + 2 * depth
        side //= 2
    if patch == 1:
        return first - 1, last + 1
    return patch * first - patch // 2, patch * last + 2 * patch - 1 - patch // 2


@pytest.mark.parametrize(("reduction", "patch"), SIZES)
@pytest.mark.parametrize("shape", [(16, 16), (8, 24)])
def test_pictures_to_grids_and_back(
    reduction: int, patch: int, shape: tuple[int, int]
) -> None:
    sizes = (5, reduction, patch, 8, 1)
    latents = GridEncoder(*sizes)(torch.rand(2, 3, *shape) * 2 - 1)
    height, width = shape
    assert latents.shape == (2, 5, height // reduction, width // reduction)
    images = GridDecoder(*sizes)(3 * latents)
    assert images.shape == (2, 3, *shape)
    assert images.abs().max() <= 1


def seen_by(encoder: GridEncoder, size: int, row: int, column: int) -> Tensor:
    """Pixels that a place's vector hangs on, (size, size) bool."""
    images = (
        torch.rand(1, 3, size, size, dtype=torch.float64) * 2 - 1
    ).requires_grad_()
    encoder(images)[0, :, row, column].square().sum().backward()
    return images.grad[0].abs().sum(dim=0) > 0


@pytest.mark.parametrize(
    ("reduction", "patch", "depth"), [(8, 4, 1), (8, 4, 2), (4, 1, 1), (8, 8, 1)]
)
def test_a_place_sees_its_surroundings_and_nothing_else(
    reduction: int, patch: int, depth: int
) -> None:
    encoder = GridEncoder(5, reduction, patch, 8, depth).double()
    first, last = field(reduction, patch, depth)
    size = reduction * (2 + (last - first) // reduction)
    pixels = torch.arange(size)
    for row, column in ((0, 0), (1, 2)):
        inside = [
            (pixels >= place * reduction + first) & (pixels <= place * reduction + last)
            for place in (row, column)
        ]
        expected = inside[0][:, None] & inside[1]
        assert not expected.all()  # there is something that it does not see
        assert torch.equal(seen_by(encoder, size, row, column), expected)


def test_a_vector_far_from_a_change_does_not_change() -> None:
    encoder = GridEncoder(5, 8, 4, 8, 1).double()
    images = torch.rand(1, 3, 128, 128, dtype=torch.float64) * 2 - 1
    changed = images.clone()
    changed[:, :, 96:, 96:] *= -1
    with torch.no_grad():
        moved = (encoder(images) - encoder(changed)).abs().sum(dim=(0, 1)) > 0
    assert moved[12:, 12:].all()
    assert not moved[:8].any() and not moved[:, :8].any()


def test_every_pixel_of_a_decoder_hangs_on_every_place() -> None:
    """Its norms are of the whole map: colours may agree from one end to the other."""
    decoder = GridDecoder(5, 8, 4, 8, 1).double()
    latents = torch.randn(1, 5, 12, 12, dtype=torch.float64, requires_grad=True)
    decoder(latents)[0, :, 0, 0].sum().backward()
    assert latents.grad.abs().sum(dim=1).gt(0).all()


def test_place_norms_are_root_mean_squares_of_a_place() -> None:
    norm = PlaceNorm(8)
    torch.nn.init.normal_(norm.norm.weight)
    features = 3 * torch.randn(2, 8, 4, 5)
    size = (features.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
    expected = norm.norm.weight[:, None, None] * features / size
    torch.testing.assert_close(norm(features), expected)


@pytest.mark.parametrize("local", [True, False])
def test_a_residual_block_begins_with_the_identity(local: bool) -> None:
    block = ResidualBlock(8, local)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)
    features = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(features), features)


@pytest.mark.parametrize("local", [True, False])
def test_only_maps_that_are_no_statistic_keep_a_change_at_its_place(
    local: bool,
) -> None:
    block = ResidualBlock(8, local).double()
    features = torch.randn(1, 8, 16, 16, dtype=torch.float64)
    changed = features.clone()
    changed[:, :, 15, 15] += 5
    with torch.no_grad():
        moved = (block(features) - block(changed)).abs().sum(dim=(0, 1)) > 0
    assert moved[:12, :12].any() == (not local)


def test_all_parts_of_both_learn() -> None:
    encoder, decoder = GridEncoder(5, 8, 2, 8, 1), GridDecoder(5, 8, 2, 8, 1)
    decoder(encoder(torch.rand(2, 3, 16, 16))).square().sum().backward()
    for module in (encoder, decoder):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.any(), name


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize("part", [GridEncoder, GridDecoder])
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
def test_bad_sizes_are_named(part: type, sizes: tuple[int, ...], message: str) -> None:
    part(5, 8, 4, 8, 1)
    with pytest.raises(ValueError, match=message):
        part(*sizes)


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
        GridEncoder(5, 8, 4, 8, 1)(torch.zeros(shape))


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
