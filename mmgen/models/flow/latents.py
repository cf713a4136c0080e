r"""The space that a flow draws in: vectors of an autoencoder, or the pixels.

Rombach et al., *High-Resolution Image Synthesis with Latent Diffusion Models*, CVPR
2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from mmgen.layers.quantise import VectorQuantiser, nearest
from mmgen.models.vqvae import VQVAESampler
from mmgen.sampling import in_parts

PART = 64  # pictures whose distances to all codes stand in memory at once
# Along a direction that is the same in all codes nothing can be drawn; divided by 0, it
# would spoil the others.
LEAST_DEVIATION = 1e-4


class Directions(nn.Module):
    r"""Vectors along their main directions, each of variance 1 (whitening).

    .. math:: h = \Lambda^{-1/2} V^\top (z - m), \qquad
              E (z - m)(z - m)^\top = V \Lambda V^\top

    of which the C largest :math:`\lambda` are kept. Where a few directions hold almost
    all variance, noise hides the others until the end of the path: with one number a
    channel in place of V, colours were drawn long before outlines.

    The numbers are stored with the weights: a flow draws in the space in which it was
    trained, whatever becomes of the autoencoder.

    Args:
        mean: m, (D,).
        covariance: (D, D).
        channels: C, at most; D if that is less.

    Source:
        Rombach et al. 2022, appendix G: there one number for all channels.
    """

    mean: Tensor  # (D,)
    axes: Tensor  # V, (D, C)
    deviation: Tensor  # the square roots of Λ, (C,)

    def __init__(self, mean: Tensor, covariance: Tensor, channels: int) -> None:
        super().__init__()
        self.channels = min(channels, len(mean))
        values, axes = torch.linalg.eigh(covariance)  # the largest last
        self.register_buffer("mean", mean.clone())
        self.register_buffer("axes", axes[:, -self.channels :].contiguous())
        deviation = values[-self.channels :].clamp(min=LEAST_DEVIATION**2).sqrt()
        self.register_buffer("deviation", deviation)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (..., D) to (..., C)."""
        return (vectors - self.mean) @ self.axes / self.deviation

    def inverse(self, latents: Tensor) -> Tensor:
        """Latents (..., C) to vectors (..., D), with the means of what was left out."""
        return (latents * self.deviation) @ self.axes.T + self.mean


class CodeLatents(nn.Module):
    r"""The codes' vectors of a picture, along their main directions.

    Mean and covariance are sums over codes, weighted by how often the tokenizer chose
    each in the last steps of its training, which it keeps (``VectorQuantiser.counts``).
    So the numbers are those of the data set, without a pass through it, and the same on
    every machine. Of all codes alike they would not be: most stand for what pictures
    seldom show. (Of codes that keep no counts, as those of finite scalar quantisation,
    all weigh alike.)

    Args:
        tokenizer: a trained autoencoder of codes.
        channels: C of ``Directions``.

    Raises:
        ValueError: an autoencoder without codes.
    """

    def __init__(self, tokenizer: VQVAESampler, channels: int) -> None:
        super().__init__()
        self.tokenizer, self.side = tokenizer, tokenizer.side
        codebook = tokenizer.codebook()
        quantiser = tokenizer.model.quantiser
        shares = torch.ones_like(codebook[:, 0])
        if isinstance(quantiser, VectorQuantiser):
            # untrained, it has chosen none
            shares = torch.where(quantiser.counts.any(), quantiser.counts, shares)
        shares = (shares / shares.sum())[:, None]
        mean = (shares * codebook).sum(dim=0)
        rest = codebook - mean
        self.directions = Directions(mean, rest.T @ (shares * rest), channels)
        self.channels = self.directions.channels

    def vectors(self) -> Tensor:
        """The latent of every code, (K, C)."""
        return self.directions(self.tokenizer.codebook())

    def encode(self, images: Tensor) -> Tensor:
        """Latents (B, C, h, w) of the codes of images (B, 3, H, W) in [-1, 1]."""
        codes = self.tokenizer.encode(images)
        return embedding(codes, self.vectors()).permute(0, 3, 1, 2).contiguous()

    @torch.no_grad()
    def codes(self, latents: Tensor) -> Tensor:
        """The code (B, h, w) nearest to each of the latents (B, C, h, w).

        Nearest among latents, where the flow's errors are of one size in every channel.
        """
        vectors = self.vectors()

        def of_part(part: Tensor) -> Tensor:
            flat = part.permute(0, 2, 3, 1).flatten(0, 2)
            return nearest(flat, vectors).view(len(part), *part.shape[2:])

        return in_parts(of_part, latents, part=PART)

    def decode(self, latents: Tensor, snap: bool = True) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] of latents (B, C, h, w).

        Args:
            latents: drawn.
            snap: whether the nearest code takes the place of each vector. The decoder
                has seen no other vectors; without, what is drawn between two codes
                shows.
        """
        if snap:
            codes = self.codes(latents)
            return self.tokenizer.decode(codes)
        return _painted(self.tokenizer, self.directions, latents)


class GridLatents(nn.Module):
    """The vectors of an autoencoder without codes, along their main directions.

    Args:
        tokenizer: trained with quantiser "none"; it keeps mean and covariance.
        channels: C of ``Directions``.

    Raises:
        ValueError: an autoencoder of codes.
    """

    def __init__(self, tokenizer: VQVAESampler, channels: int) -> None:
        super().__init__()
        channel = tokenizer.model.channel
        if channel is None:
            raise ValueError(
                "tokenizer must be an autoencoder without codes: its vectors would not "
                "be what its decoder has seen."
            )
        self.tokenizer, self.side = tokenizer, tokenizer.side
        self.directions = Directions(channel.mean, channel.covariance, channels)
        self.channels = self.directions.channels

    def encode(self, images: Tensor) -> Tensor:
        """Latents (B, C, h, w) of images (B, 3, H, W) in [-1, 1]."""
        vectors = self.tokenizer.latents(images).movedim(1, -1)
        return self.directions(vectors).movedim(-1, 1).contiguous()

    def decode(self, latents: Tensor, snap: bool = True) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] of latents (B, C, h, w).

        There are no codes to ``snap`` to.
        """
        return _painted(self.tokenizer, self.directions, latents)


def _painted(
    tokenizer: VQVAESampler, directions: Directions, latents: Tensor
) -> Tensor:
    vectors = directions.inverse(latents.movedim(1, -1))
    return tokenizer.paint(vectors.movedim(-1, 1))


class PixelLatents(nn.Module):
    """Pictures as they are: the space of a flow without a tokenizer.

    Args:
        image_size: H = W.
    """

    channels = 3

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.side = image_size

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] themselves."""
        return images

    def decode(self, latents: Tensor, snap: bool = True) -> Tensor:
        """Latents (B, 3, H, W), cut to [-1, 1]; there are no codes to ``snap`` to."""
        return latents.clamp(-1, 1)


Space = CodeLatents | GridLatents | PixelLatents


def space_of(tokenizer: VQVAESampler | None, channels: int, image_size: int) -> Space:
    """The space of an autoencoder; without one, of pixels.

    Args:
        tokenizer: of either kind, or None.
        channels: C of ``Directions``.
        image_size: H = W of the pictures.
    """
    if tokenizer is None:
        return PixelLatents(image_size)
    if tokenizer.model.channel is None:
        return CodeLatents(tokenizer, channels)
    return GridLatents(tokenizer, channels)
