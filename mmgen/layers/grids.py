"""Pictures to grids of vectors and back.

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

from mmgen.layers.pictures import GROUPS, check_groups


class SquareBlock(nn.Module):
    """A network for each place by itself, beside the identity.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(channels, eps=1e-6)
        self.widen = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(..., channels) to the same."""
        return features + self.narrow(silu(self.widen(self.norm(features))))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity, normalised in groups of channels.

    Args:
        channels: a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        update = self.conv1(silu(self.norm1(features)))
        return features + self.conv2(silu(self.norm2(update)))


def _widths(reduction: int, patch: int, channels: int) -> list[int]:
    """Channels at each size of the map, from the largest to the grid's."""
    halvings = round(math.log2(max(reduction / max(patch, 1), 1)))
    if patch < 1 or reduction != patch * 2**halvings:
        raise ValueError(
            f"reduction must be patch x 1, 2, 4, …; got reduction {reduction} and "
            f"patch {patch}."
        )
    check_groups(channels)
    return [channels * min(2**level, 4) for level in range(halvings + 1)]


def _require_sizes(depth: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1; got {size}.")
    if depth < 0:
        raise ValueError(f"depth must be at least 0; got {depth}.")


class GridEncoder(nn.Module):
    """Pictures to a grid of vectors, each of one square of pixels.

    Without context a vector tells of its own square and of no other. So the squares of
    an empty ground all have the same vector, and an object is told by those that it
    lies in. With convolutions that look further the squares around an object tell of it
    as well: as codes they are as good, and much harder to foresee one by one. Drawn all
    at once they are easier: what an object is stands in every square of it, as its
    colour does, and not in its outline alone.

    Args:
        code_dim: D of a vector.
        reduction: side of the square of pixels that a vector stands for.
        width: features of a square; with context a multiple of 4.
        depth: blocks, each a network for every square by itself, or with context two
            3x3 convolutions.
        context: whether squares look at their neighbours.

    Raises:
        ValueError: a size below 1, or a depth below 0.
    """

    def __init__(
        self,
        code_dim: int,
        reduction: int,
        width: int,
        depth: int,
        context: bool = False,
    ) -> None:
        super().__init__()
        _require_sizes(depth, code_dim=code_dim, reduction=reduction, width=width)
        self.reduction, self.context = reduction, context
        if context:
            check_groups(width)
        self.squares = nn.Conv2d(3, width, reduction, stride=reduction)
        block = ResidualBlock if context else SquareBlock
        self.blocks = nn.Sequential(*(block(width) for _ in range(depth)))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.last = nn.Linear(width, code_dim)

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
        features = self.squares(images)
        if self.context:
            features = self.blocks(features).permute(0, 2, 3, 1)  # (B, h, w, C)
        else:
            features = self.blocks(features.permute(0, 2, 3, 1))
        return self.last(self.norm(features)).permute(0, 3, 1, 2)


class GridDecoder(nn.Module):
    """Grids of vectors to pictures.

    Each place may look at all others: what a code leaves unclear, its neighbours tell.

    Args:
        code_dim, reduction: as for ``GridEncoder``.
        patch: side of the squares that the last layer paints as one; ``reduction``
            divided by a power of two.
        channels: of the largest feature map; doubled with each halving, up to 4 times.
        depth: residual blocks at the grid; after each doubling stands one more.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self, code_dim: int, reduction: int, patch: int, channels: int, depth: int
    ) -> None:
        super().__init__()
        _require_sizes(depth, code_dim=code_dim)
        widths = _widths(reduction, patch, channels)[::-1]
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
