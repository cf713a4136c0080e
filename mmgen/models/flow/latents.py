r"""The space that a flow draws in: vectors of codes, or the pixels themselves.

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
# Of a channel that is the same in all codes nothing can be drawn; divided by 0, it
# would spoil the others.
LEAST_DEVIATION = 1e-4


class CodeLatents(nn.Module):
    r"""The codes' vectors of a picture, with mean 0 and variance 1 in every channel.

    .. math:: h = (e_k - m) / d, \qquad
              m = \sum_k p_k e_k, \quad d^2 = \sum_k p_k (e_k - m)^2

    p_k is how often the tokenizer chose the code in the last steps of its training,
    which it keeps (``VectorQuantiser.counts``). So the numbers are those of the data
    set, without a pass through it, and the same on every machine. Of all codes alike
    they would not be: most stand for what pictures seldom show. (Of codes that keep no
    counts, as those of finite scalar quantisation, all weigh alike.)

    The numbers are stored with the weights: a flow draws in the space in which it was
    trained, whatever becomes of the tokenizer.

    Args:
        tokenizer: a trained autoencoder of codes.

    Raises:
        ValueError: an autoencoder without codes.

    Source:
        Rombach et al. 2022, appendix G: there one number for all channels.
    """

    mean: Tensor  # (D,)
    deviation: Tensor  # (D,)

    def __init__(self, tokenizer: VQVAESampler) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        codebook = tokenizer.codebook()
        self.channels, self.side = codebook.shape[1], tokenizer.side
        quantiser = tokenizer.model.quantiser
        shares = torch.ones_like(codebook[:, 0])
        if isinstance(quantiser, VectorQuantiser):
            # untrained, it has chosen none
            shares = torch.where(quantiser.counts.any(), quantiser.counts, shares)
        shares = (shares / shares.sum())[:, None]
        mean = (shares * codebook).sum(dim=0)
        deviation = (shares * (codebook - mean).square()).sum(dim=0).sqrt()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation.clamp(min=LEAST_DEVIATION))

    def vectors(self) -> Tensor:
        """The latent of every code, (K, D)."""
        return (self.tokenizer.codebook() - self.mean) / self.deviation

    def encode(self, images: Tensor) -> Tensor:
        """Latents (B, D, h, w) of the codes of images (B, 3, H, W) in [-1, 1]."""
        codes = self.tokenizer.encode(images)
        return embedding(codes, self.vectors()).permute(0, 3, 1, 2).contiguous()

    @torch.no_grad()
    def codes(self, latents: Tensor) -> Tensor:
        """The code (B, h, w) nearest to each of the latents (B, D, h, w).

        Nearest among latents, where the flow's errors are of one size in every channel.
        """
        vectors = self.vectors()

        def of_part(part: Tensor) -> Tensor:
            flat = part.permute(0, 2, 3, 1).flatten(0, 2)
            return nearest(flat, vectors).view(len(part), *part.shape[2:])

        return in_parts(of_part, latents, part=PART)

    def decode(self, latents: Tensor, snap: bool = True) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] of latents (B, D, h, w).

        Args:
            latents: drawn.
            snap: whether the nearest code takes the place of each vector. The decoder
                has seen no other vectors; without, what is drawn between two codes
                shows.
        """
        if snap:
            codes = self.codes(latents)
            return self.tokenizer.decode(codes)
        shape = (1, -1, 1, 1)
        return self.tokenizer.paint(
            latents * self.deviation.view(shape) + self.mean.view(shape)
        )


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
