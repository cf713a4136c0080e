r"""A network of convolutions at two sizes from a point of the path to a velocity.

Convolutions know from the beginning that neighbours belong together; a Transformer has
to learn it. Attention, to all other places and to the words, stands at the coarse grid.
The mean over the words joins the time, so that every convolution hears what holds for
the whole picture.

Ronneberger, Fischer and Brox, *U-Net*, MICCAI 2015.
Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
Dhariwal and Nichol, *Diffusion Models Beat GANs on Image Synthesis*, NeurIPS 2021.
Rombach et al., *High-Resolution Image Synthesis with Latent Diffusion Models*, CVPR
2022.
Esser et al., *Scaling Rectified Flow Transformers*, ICML 2024: the mean of the words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu

from mmgen.layers.pictures import GROUPS, check_groups
from mmgen.layers.transformer import Attention
from mmgen.models.flow.networks import (
    FlowConfig,
    Placed,
    Places,
    VelocityNetwork,
    VelocityTransformer,
    WordAttention,
    Words,
)


class TimedBlock(nn.Module):
    r"""Two 3x3 convolutions beside the identity, between which it is told something.

    .. math:: x \leftarrow x + F_2\bigl((1 + \gamma) \odot
              \mathrm{norm}(F_1(x)) + \beta\bigr)

    Scale γ and shift β are functions of what is told: the time and the whole caption.

    Args:
        channels: C, a multiple of 4.
        width: D of the vector that is told.

    Source:
        Dhariwal and Nichol 2021, section 3.1 (adaptive group normalisation).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulate = nn.Linear(width, 2 * channels)
        self.norm2 = nn.GroupNorm(GROUPS, channels, affine=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in (*self.modulate.parameters(), *self.conv2.parameters()):
            nn.init.zeros_(parameter)  # a fresh block is the identity

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        """(B, C, H, W), told vectors (B, D), to (B, C, H, W)."""
        shift, scale = self.modulate(told)[:, :, None, None].chunk(2, dim=1)
        update = self.norm2(self.conv1(silu(self.norm1(features))))
        return features + self.conv2(silu((1 + scale) * update + shift))


class CoarseBlock(nn.Module):
    """Convolutions, then attention to the other places and to the words.

    Args:
        width: D of a place, and of a word.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.near = TimedBlock(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.reading = WordAttention(width, heads)
        for linear in (self.attention.out, self.reading.out):
            nn.init.zeros_(linear.weight)

    def forward(
        self,
        features: Tensor,
        told: Tensor,
        rotation: tuple[Tensor, Tensor],
        words: Words,
        word_rotation: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Features (B, D, h, w) to the same.

        Args:
            told: (B, D) vectors of times and captions.
            rotation, words, word_rotation: as for ``WordAttention``.
        """
        features = self.near(features, told)
        tokens = features.flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(self.norm1(tokens), rotation, None)
        asking = self.norm2(tokens)
        tokens = tokens + self.reading(asking, rotation, words, word_rotation)
        return tokens.transpose(1, 2).reshape(features.shape)


def mean_word(words: Words) -> Tensor:
    """The mean over the words of each caption, (B, D)."""
    mask = words.mask[:, :, None].to(words.features)
    return (words.features * mask).sum(dim=1) / mask.sum(dim=1)


class VelocityUNet(VelocityNetwork):
    """Convolutions at a fine and a coarse grid, and attention at the coarse one.

    Args:
        config: sizes; the fine grid has half of its width.
        vocabulary_size, max_tokens, channels: as for ``VelocityNetwork``.
        side: h = w of the latents, a multiple of 2 ``config.patch``.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self,
        config: FlowConfig,
        vocabulary_size: int,
        max_tokens: int,
        channels: int,
        side: int,
    ) -> None:
        super().__init__(config, vocabulary_size, max_tokens, channels, side)
        width, fine = config.width, config.width // 2
        self.whole = nn.Linear(width, width)  # of the mean over the words
        self.enter = nn.Conv2d(channels * config.patch**2, fine, 3, padding=1)
        self.down = nn.ModuleList(TimedBlock(fine, width) for _ in range(2))
        self.reduce = nn.Conv2d(fine, width, 4, 2, 1)
        self.places = Places(width, config.heads, side // (2 * config.patch))
        self.coarse = nn.ModuleList(
            CoarseBlock(width, config.heads) for _ in range(config.depth)
        )
        self.enlarge = nn.ConvTranspose2d(width, fine, 4, 2, 1)
        self.join = nn.Conv2d(2 * fine, fine, 3, padding=1)
        self.up = nn.ModuleList(TimedBlock(fine, width) for _ in range(2))
        self.norm = nn.GroupNorm(GROUPS, fine)
        self.last = nn.Conv2d(fine, channels * config.patch**2, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)  # at first the velocity is 0

    @staticmethod
    def _check(config: FlowConfig, side: int) -> None:
        VelocityNetwork._check(config, side)
        if side % (2 * config.patch) or config.width % 2:
            raise ValueError(
                f"the U-Net halves its grid: side {side} must be a multiple of twice "
                f"config.patch, and config.width even; got patch {config.patch} and "
                f"width {config.width}."
            )
        check_groups(config.width // 2)

    def _velocity(self, points: Tensor, told: Tensor, words: Words) -> Tensor:
        # which word belongs where is left to the attention
        told = told + silu(self.whole(mean_word(words)))
        features = self.enter(pixel_unshuffle(points, self.patch))
        for block in self.down:
            features = block(features, told)
        coarse = self.reduce(features)
        size = coarse.shape
        tokens = coarse.flatten(2).transpose(1, 2)
        placed: Placed = self.places(tokens, words)
        coarse = placed.tokens.transpose(1, 2).reshape(size)
        turned = (placed.rotation, words, placed.word_rotation)
        for block in self.coarse:
            coarse = block(coarse, told, *turned)
        both = torch.cat([features, self.enlarge(coarse)], dim=1)
        features = self.join(both)
        for block in self.up:
            features = block(features, told)
        drawn = self.last(silu(self.norm(features)))
        return pixel_shuffle(drawn, self.patch)


def velocity_network(
    config: FlowConfig, vocabulary_size: int, max_tokens: int, channels: int, side: int
) -> VelocityNetwork:
    """The network that ``config.network`` names; arguments as for it.

    Raises:
        ValueError: no such network, or sizes that do not fit.
    """
    sizes = (config, vocabulary_size, max_tokens, channels, side)
    if config.network == "transformer":
        return VelocityTransformer(*sizes)
    if config.network == "unet":
        return VelocityUNet(*sizes)
    raise ValueError(
        f'network must be "transformer" or "unet"; got {config.network!r}.'
    )
