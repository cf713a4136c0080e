"""The convolutional parts of generators and discriminators."""

from __future__ import annotations

import torch

from mmgen.layers.blocks import (
    ConditionalBatchNorm2d,
    DownBlock,
    UpBlock,
    shift_and_cover,
)


def logits(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_conditional_batch_norm_is_batch_norm_then_scale_and_shift() -> None:
    layer = ConditionalBatchNorm2d(3, 4).double()
    x, c = logits(6, 3, 5, 5), logits(6, 4, seed=1)
    weight, bias = layer.modulate.weight, layer.modulate.bias
    parameters = c @ weight.T + bias
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    deviation = (x.var(dim=(0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    expected = (1 + parameters[:, :3, None, None]) * (x - mean) / deviation
    expected = expected + parameters[:, 3:, None, None]
    torch.testing.assert_close(layer(x, c), expected)


def test_blocks_double_and_halve() -> None:
    c = torch.randn(2, 4)
    assert UpBlock(6, 3, 4)(torch.randn(2, 6, 8, 8), c).shape == (2, 3, 16, 16)
    assert DownBlock(3, 6)(torch.randn(2, 3, 16, 16)).shape == (2, 6, 8, 8)


def test_every_pixel_of_an_upblock_has_as_many_inputs() -> None:
    """No checkerboard by construction: ones in, the same number inside everywhere."""
    block = UpBlock(1, 1, 1).eval()  # statistics of nothing: mean 0, deviation 1
    torch.nn.init.ones_(block.enlarge.weight)
    torch.nn.init.zeros_(block.enlarge.bias)
    inside = block(torch.ones(1, 1, 6, 6), torch.zeros(1, 1))[..., 1:-1, 1:-1]
    assert inside.shape == (1, 1, 10, 10)
    torch.testing.assert_close(inside, torch.full_like(inside, 4.0), rtol=1e-4, atol=0)


def test_an_upblock_hears_its_condition_before_it_cuts_at_zero() -> None:
    block = UpBlock(2, 1, 3).eval()
    x, c = torch.randn(2, 2, 4, 4), torch.randn(2, 3)
    torch.nn.init.normal_(block.norm.modulate.weight)
    expected = block.enlarge(block.norm(x, c).clamp(min=0))
    torch.testing.assert_close(block(x, c), expected)
    assert (block(x, c) - block(x, c.flip(0))).abs().max() > 1e-2


def test_a_downblock_lets_a_fifth_of_what_is_negative_through() -> None:
    block, x = DownBlock(2, 3), torch.randn(2, 2, 8, 8)
    sums = block.reduce(x)
    assert (sums < 0).any() and (sums > 0).any()
    torch.testing.assert_close(block(x), torch.where(sums > 0, sums, 0.2 * sums))


def test_shift_and_cover_by_hand() -> None:
    image = torch.arange(1.0, 257.0).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    # 16 px: shifts of -2..2, a square of half side 16/6, so 5 px, around the centre
    draws = torch.tensor([[0.0, 0.99, 0.5, 0.5]])
    expected = torch.zeros(1, 3, 16, 16)
    # draw 0 takes rows from 2 above (moves down), draw 0.99 columns from 2 to the right
    expected[:, :, 2:, :14] = image[:, :, :14, 2:]
    expected[:, :, 6:11, 6:11] = 0
    torch.testing.assert_close(shift_and_cover(image, draws), expected)
    # the third draw is the square's row, the fourth its column
    elsewhere = shift_and_cover(image, torch.tensor([[0.5, 0.5, 0.25, 0.75]]))
    expected = image.clone()
    expected[:, :, 2:7, 10:15] = 0
    torch.testing.assert_close(elsewhere, expected)


def test_shift_and_cover_lets_gradients_through() -> None:
    images = torch.rand(4, 3, 32, 32, requires_grad=True)
    shift_and_cover(images, torch.rand(4, 4)).sum().backward()
    assert images.grad is not None
    assert set(images.grad.unique().tolist()) == {0.0, 1.0}
    assert images.grad.mean() > 0.6
