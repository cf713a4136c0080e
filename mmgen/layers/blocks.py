"""The convolutional parts that image generators and discriminators are made of.

``ConditionalBatchNorm2d`` is how a condition reaches every layer of a generator;
``UpBlock`` and ``DownBlock`` double and halve a feature map; ``shift_and_cover`` moves
pictures and hides a part of them, so that a discriminator cannot learn a small data set
by heart.

De Vries et al., *Modulating early visual processing by language*, NeurIPS 2017.
Zhao et al., *Differentiable Augmentation for Data-Efficient GAN Training*, NeurIPS
2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad

SLOPE = 0.2  # of the leaky ReLU for negative inputs, as in DCGAN


class ConditionalBatchNorm2d(nn.Module):
    r"""Batch normalisation whose scale and shift are functions of a condition.

    .. math:: y = \big(1 + \gamma(c)\big) \frac{x - \mu}{\sigma} + \beta(c)

    with the mean and deviation of each channel over the batch and all pixels, and
    linear maps :math:`\gamma, \beta` (de Vries et al. 2017, eq. 4-5; the 1 keeps an
    untrained layer near plain batch normalisation).

    Args:
        channels: C of the feature maps.
        condition_dim: size of the condition c.
    """

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.modulate = nn.Linear(condition_dim, 2 * channels)
        nn.init.normal_(self.modulate.weight, std=0.02)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Features (B, C, H, W) and a condition (B, condition_dim) to (B, C, H, W)."""
        gamma, beta = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
        return (1 + gamma) * self.normalise(features) + beta


class UpBlock(nn.Module):
    """Double height and width of a feature map, steered by a condition.

    A transposed 4x4 convolution of stride 2 costs under half of "enlarge, then 3x3": it
    never multiplies the zeros in between. Its kernel is a multiple of its stride, so
    every output pixel gets the same number of inputs and no checkerboard is built in.

    Args:
        in_channels, out_channels: before and after.
        condition_dim: size of the condition.
    """

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = ConditionalBatchNorm2d(in_channels, condition_dim)
        self.enlarge = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """(B, in_channels, H, W), (B, condition_dim) to (B, out_channels, 2H, 2W)."""
        return self.enlarge(torch.relu(self.norm(features, condition)))


class DownBlock(nn.Module):
    """Halve height and width of a feature map by a strided 4x4 convolution.

    Without normalisation: statistics of a batch that mixes real and generated pictures
    would tell a discriminator which is which.

    Args:
        in_channels, out_channels: before and after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, out_channels, 4, 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H/2, W/2), after a leaky ReLU."""
        return leaky_relu(self.reduce(features), SLOPE)


def shift_and_cover(images: Tensor, draws: Tensor) -> Tensor:
    """Shift every picture by up to an eighth of its size and cover a random square.

    Both keep gradients flowing to the pixels that remain, so a generator can be trained
    through them (Zhao et al. 2020, "translation" and "cutout"; the square's side is a
    third of the picture's here, not half: an emoji is mostly face).

    Args:
        images: (B, 3, H, W).
        draws: (B, 4), uniform in [0, 1): the shift down and right, and the square's
            centre.

    Returns:
        Shape (B, 3, H, W); what was shifted in and the square are 0 (mid-grey).
    """
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)

    reach = height // 8
    shift = (draws[:, :2] * (2 * reach + 1)).long()  # (B, 2) in 0..2*reach
    padded = pad(images, (reach, reach, reach, reach))
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    # (B, H, W, 3): channels come last, because the three indices are not side by side
    moved = padded[
        batch, :, (shift[:, :1] + rows)[:, :, None], (shift[:, 1:] + columns)[:, None]
    ].permute(0, 3, 1, 2)

    half = height / 6
    near_row = (rows - draws[:, 2:3] * height).abs() < half  # (B, H)
    near_column = (columns - draws[:, 3:4] * width).abs() < half  # (B, W)
    covered = near_row[:, None, :, None] & near_column[:, None, None, :]
    return moved.masked_fill(covered, 0.0)
