"""Pictures to features and codes to pictures: the networks of the autoencoders.

No layer mixes the pictures of a batch, for the bound is one picture's.

Ulyanov, Vedaldi and Lempitsky, *Instance Normalization*, arXiv 1607.08022, 2016.
Watters et al., *Spatial Broadcast Decoder*, arXiv 1901.07017, 2019.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

# |log σ²| that a head may give: σ from 1/400 to 400, so that no exponential overflows.
LOGVAR_BOUND = 12.0
GROUPS = 4  # of a group normalisation


def check_groups(channels: int) -> None:
    """Refuse channels that cannot be normalised in ``GROUPS``.

    Raises:
        ValueError: not a multiple of them, or below 1.
    """
    if channels < GROUPS or channels % GROUPS:
        raise ValueError(f"channels must be a multiple of {GROUPS}; got {channels}.")


def _widths(image_size: int, channels: int, patch: int) -> list[int]:
    """Channels at image_size / patch, half of it, and so on down to 4 pixels."""
    side = image_size // patch if patch >= 1 else 0
    halvings = int(math.log2(side / 4)) if side >= 8 else 0
    if halvings < 1 or 4 * 2**halvings * patch != image_size:
        raise ValueError(
            f"image_size / patch must be 8, 16, 32, 64, …, which the networks halve "
            f"down to 4; got {image_size} / {patch}."
        )
    check_groups(channels)
    return [channels * min(2**level, 8) for level in range(halvings + 1)]


class InstanceDownBlock(nn.Module):
    """Halve a feature map: a strided convolution and a residual one.

    Each channel of each picture is normalised by itself (Ulyanov et al. 2016): a
    channel whose mean is the background would drown the few places that differ from it.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, out_channels, 4, 2, 1)
        self.norm1 = nn.InstanceNorm2d(out_channels)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.InstanceNorm2d(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H/2, W/2)."""
        features = self.reduce(features)
        features = features + self.conv(silu(self.norm1(features)))
        return self.norm2(features)


class PictureEncoder(nn.Module):
    """Pictures to feature vectors, by convolutions down to 4 x 4.

    Places and colours go two ways. The map of 4 x 4 places is normalised in every
    channel; what that takes away comes back beside it: mean, least and most of every
    channel of the first layer. In one vector the large colours, those of the
    background, hide for long that there is an object at all.

    Args:
        image_size: H = W; divided by ``patch``, a power of two from 8 on.
        channels: of the first feature map; doubled with each halving, up to 8 times.
        patch: side of the squares of pixels that the first layer takes as one. Work at
            full resolution costs most and, on pictures as plain as ours, gains least.
        feature_dim: F of the result.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self, image_size: int, channels: int, patch: int, feature_dim: int
    ) -> None:
        super().__init__()
        widths = _widths(image_size, channels, patch)
        self.image_size = image_size
        if patch == 1:
            self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        else:
            self.stem = nn.Conv2d(3, widths[0], patch, stride=patch)
        self.norm = nn.InstanceNorm2d(widths[0])
        self.blocks = nn.ModuleList(
            InstanceDownBlock(wide, deep) for wide, deep in pairwise(widths)
        )
        self.places = nn.Linear(16 * widths[-1], feature_dim)
        self.colours = nn.Sequential(
            nn.LayerNorm(3 * widths[0]), nn.Linear(3 * widths[0], feature_dim)
        )
        self.loudness = nn.LayerNorm(feature_dim)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to (B, F)."""
        if images.shape[1:] != (3, self.image_size, self.image_size):
            raise ValueError(
                f"images must have shape (B, 3, {self.image_size}, {self.image_size}), "
                f"the size this network was built for; got {tuple(images.shape)}."
            )
        features = self.stem(images)  # (B, C, H / patch, W / patch)
        values = features.flatten(2)
        seen = [values.mean(dim=2), values.amin(dim=2), values.amax(dim=2)]  # (B, C)
        features = self.norm(features)
        for block in self.blocks:
            features = block(silu(features))
        places = self.places(features.flatten(1))  # of (B, C', 4, 4)
        colours = self.colours(torch.cat(seen, dim=1))
        return silu(self.loudness(places + colours))


class PictureDecoder(nn.Module):
    """Codes to what a ``PixelLikelihood`` needs, with the code at every place.

    Each place of a grid has its coordinates and the whole code (Watters et al. 2019);
    "where" is then a comparison at every place, not a pattern to be built up from
    4 x 4. A coarse picture of 4 x 4 is added, and residual convolutions, whose scales
    and shifts the code sets, compute the rest.

    Args:
        code_dim: size of the code: z, or z and a condition, side by side.
        image_size, patch: as for ``PictureEncoder``; the grid has S = image_size /
            patch places a side, and the last layer paints patch x patch pixels each.
        channels: half the channels of the grid.
        hidden_dim: size of the code's image that steers every layer.

    Raises:
        ValueError: sizes that do not fit.
    """

    WAVES = 4  # per axis, beside the coordinates: a period of 4 / 2^i picture widths
    DEPTH = 3  # residual convolutions

    grid: Tensor

    def __init__(
        self,
        code_dim: int,
        image_size: int,
        channels: int,
        patch: int,
        hidden_dim: int,
    ) -> None:
        super().__init__()
        _widths(image_size, channels, patch)  # refuses what the encoder would refuse
        width, side = 2 * channels, image_size // patch
        axis = (torch.arange(side) + 0.5) / side * 2 - 1
        places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))  # (2, S, S)
        angles = [math.pi / 2 * 2**i * places for i in range(self.WAVES)]
        waves = [wave for t in angles for wave in (t.sin(), t.cos())]
        self.register_buffer("grid", torch.cat([places, *waves])[None], False)
        self.embed = nn.Sequential(
            nn.Linear(code_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LayerNorm(hidden_dim),  # or the code's share of fresh layers is faint
            nn.SiLU(),
        )
        self.place = nn.Conv2d(self.grid.shape[1], width, 1)
        self.tell = nn.Linear(hidden_dim, width)
        self.spread = nn.Linear(hidden_dim, 16 * width)
        self.enlarge = nn.Upsample(side, mode="bilinear")
        self.norms = nn.ModuleList(
            nn.GroupNorm(GROUPS, width, affine=False) for _ in range(self.DEPTH)
        )
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1) for _ in range(self.DEPTH)
        )
        # One for each convolution, and one after them: what is where times which
        # colour is a product.
        self.modulate = nn.ModuleList(
            nn.Linear(hidden_dim, 2 * width) for _ in range(self.DEPTH + 1)
        )
        self.paint = nn.Conv2d(width, 3 * patch**2, 3, padding=1)
        self.arrange = nn.PixelShuffle(patch)

    def forward(self, code: Tensor) -> Tensor:
        """(B, code_dim) to (B, 3, H, W): means or logits."""
        code = self.embed(code)
        *steps, (last_scale, last_shift) = [
            layer(code)[:, :, None, None].chunk(2, dim=1) for layer in self.modulate
        ]  # (B, C, 1, 1) each
        coarse = self.spread(code).unflatten(1, (-1, 4, 4))
        features = self.place(self.grid) + self.tell(code)[:, :, None, None]
        features = features + self.enlarge(coarse)  # (B, C, S, S)
        for norm, conv, (scale, shift) in zip(
            self.norms, self.convs, steps, strict=True
        ):
            update = silu((1 + scale) * norm(features) + shift)
            features = features + conv(update)
        # the last scales and shifts are of features as they are
        features = silu((1 + last_scale) * features + last_shift)
        return self.arrange(self.paint(features))


class GaussianHead(nn.Module):
    """Features to the mean and log-variance of a diagonal Gaussian.

    Args:
        feature_dim: F, size of the features.
        latent_dim: Z.
        hidden_dim: of one layer in between; none where 0.
    """

    def __init__(self, feature_dim: int, latent_dim: int, hidden_dim: int = 0) -> None:
        super().__init__()
        # Features of fresh networks are faint; as they are, means would drown in noise.
        layers: list[nn.Module] = [nn.LayerNorm(feature_dim)]
        if hidden_dim:
            layers += [nn.Linear(feature_dim, hidden_dim), nn.SiLU()]
        last = nn.Linear(hidden_dim or feature_dim, 2 * latent_dim)
        # Begin with σ = 0.1, for the same reason.
        nn.init.constant_(last.bias[latent_dim:], -4.6)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(..., F) to mu and logvar, (..., Z) each, float32; |logvar| < 12."""
        mu, logvar = self.layers(features).float().chunk(2, dim=-1)
        return mu, LOGVAR_BOUND * torch.tanh(logvar / LOGVAR_BOUND)
