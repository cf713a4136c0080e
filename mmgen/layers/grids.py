"""Pictures to grids of features and back: convolutions that keep places.

The autoencoders of ``mmgen.layers.pictures`` press a picture into one vector. Here each
place of a coarse grid keeps a vector of its own, so that the grid can be read as a
sentence of codes, or be drawn into by a flow.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

GROUPS = 4  # of a group normalisation


class PlaceNorm(nn.Module):
    """The channels of each place, divided by their root mean square there.

    Statistics of a whole map would tell every place what there is anywhere else.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(channels, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W), twice."""
        return self.norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity.

    Args:
        channels: a multiple of 4.
        local: normalised place by place; otherwise over the map, in groups of channels.
    """

    def __init__(self, channels: int, local: bool = False) -> None:
        super().__init__()
        self.norm1 = PlaceNorm(channels) if local else nn.GroupNorm(GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = PlaceNorm(channels) if local else nn.GroupNorm(GROUPS, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W), twice."""
        update = self.conv1(silu(self.norm1(features)))
        return features + self.conv2(silu(self.norm2(update)))


def _widths(
    code_dim: int, reduction: int, patch: int, channels: int, depth: int
) -> list[int]:
    """Channels at each size of the map, from the largest to the grid's."""
    if code_dim < 1:
        raise ValueError(f"code_dim must be at least 1; got {code_dim}.")
    if depth < 0:
        raise ValueError(f"depth must be at least 0; got {depth}.")
    halvings = round(math.log2(max(reduction / max(patch, 1), 1)))
    if patch < 1 or reduction != patch * 2**halvings:
        raise ValueError(
            f"reduction must be patch x 1, 2, 4, …; got reduction {reduction} and "
            f"patch {patch}."
        )
    if channels < GROUPS or channels % GROUPS:
        raise ValueError(f"channels must be a multiple of {GROUPS}; got {channels}.")
    return [channels * min(2**level, 4) for level in range(halvings + 1)]


class GridEncoder(nn.Module):
    """Pictures to a grid of vectors, one for each square of pixels.

    Args:
        code_dim: D of a vector.
        reduction: side of the square of pixels that a vector stands for.
        patch: side of the squares that the first layer takes as one; ``reduction``
            divided by a power of two.
        channels: of the largest feature map; doubled with each halving, up to 4 times.
        depth: residual blocks before each halving.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self, code_dim: int, reduction: int, patch: int, channels: int, depth: int
    ) -> None:
        super().__init__()
        self.reduction = reduction
        widths = _widths(code_dim, reduction, patch, channels, depth)
        # neighbouring patches overlap by half: an edge between two is seen by both
        layers: list[nn.Module] = [
            nn.Conv2d(3, widths[0], 2 * patch, patch, patch // 2)
            if patch > 1
            else nn.Conv2d(3, widths[0], 3, padding=1)
        ]
        for wide, deep in pairwise(widths):
            layers += [ResidualBlock(wide, local=True) for _ in range(depth)]
            layers += [nn.Conv2d(wide, deep, 4, 2, 1)]
        self.layers = nn.Sequential(*layers)
        self.norm = PlaceNorm(widths[-1])
        self.mix = nn.Conv2d(widths[-1], widths[-1], 1)
        self.last = nn.Conv2d(widths[-1], code_dim, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to (B, D, H / reduction, W / reduction).

        Raises:
            ValueError: pictures that are not made of whole squares.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must be of shape (B, 3, H, W); got {tuple(images.shape)}."
            )
        if any(side % self.reduction for side in images.shape[2:]):
            raise ValueError(
                f"images must have sides that are multiples of {self.reduction}; got "
                f"{tuple(images.shape)}."
            )
        features = silu(self.norm(self.layers(images)))
        return self.last(silu(self.mix(features)))


class GridDecoder(nn.Module):
    """Grids of vectors to pictures.

    Arguments as for ``GridEncoder``, but ``depth`` counts the residual blocks at the
    grid: colours are agreed upon there. After each doubling stands one.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self, code_dim: int, reduction: int, patch: int, channels: int, depth: int
    ) -> None:
        super().__init__()
        widths = _widths(code_dim, reduction, patch, channels, depth)[::-1]
        self.code_dim = code_dim
        layers: list[nn.Module] = [nn.Conv2d(code_dim, widths[0], 3, padding=1)]
        layers += [ResidualBlock(widths[0]) for _ in range(depth)]
        for deep, wide in pairwise(widths):
            # a kernel of twice its stride: every pixel gets the same number of inputs
            layers += [nn.ConvTranspose2d(deep, wide, 4, 2, 1), ResidualBlock(wide)]
        self.layers = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(GROUPS, widths[-1])
        self.paint = nn.Conv2d(widths[-1], 3 * patch**2, 3, padding=1)
        self.arrange = nn.PixelShuffle(patch)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, D, h, w) to (B, 3, h reduction, w reduction), in [-1, 1].

        Raises:
            ValueError: vectors of another size.
        """
        if latents.ndim != 4 or latents.shape[1] != self.code_dim:
            raise ValueError(
                f"latents must be of shape (B, {self.code_dim}, h, w); got "
                f"{tuple(latents.shape)}."
            )
        features = silu(self.norm(self.layers(latents)))
        return torch.tanh(self.arrange(self.paint(features)))
