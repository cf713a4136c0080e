r"""A picture as a sentence of codes: config, network, objective, task, sampler.

An encoder turns a picture into a coarse grid of vectors, a quantiser puts the nearest
vector of a codebook in place of each, and a decoder paints a picture from what is left.
Between encoder and decoder stand whole numbers, which other models can write.

van den Oord, Vinyals and Kavukcuoglu, *Neural Discrete Representation Learning*,
NeurIPS 2017.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torch.optim import AdamW, Optimizer

from mmgen.data.batch import Batch
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.channel import GaussianChannel
from mmgen.layers.grids import GridDecoder, GridEncoder
from mmgen.layers.quantise import (
    FiniteScalarQuantiser,
    Quantised,
    VectorQuantiser,
    check_codes,
)
from mmgen.sampling import Graph, Sampler, in_parts


@dataclass(frozen=True)
class VQVAEConfig:
    """Sizes, quantiser and optimiser of an autoencoder of codes."""

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        ["commitment", "price", "restart_below", "decay", "learning_rate"]
    )

    quantiser: Literal["vector", "scalar", "none"] = "vector"  # what makes codes
    codes: int = 2048  # K of the vector quantiser
    code_dim: int = 16  # D of a code's vector, or of those that stay as they are
    noise: float = 0.0  # sigma on vectors that stay as they are, while it learns
    levels: tuple[int, ...] = (8, 5, 5, 5)  # of the scalar quantiser, in place of both
    learned: Literal["average", "gradient"] = "average"  # how the codebook learns
    reduction: int = 8  # side of the square of pixels that a code stands for
    width: int = 256  # features of a square, in the encoder
    context: bool = False  # whether the encoder's squares look at their neighbours
    patch: int = 4  # side of the squares that the last layer paints as one
    channels: int = 64  # of the decoder's largest map; doubled with each halving
    depth: int = 2  # blocks of the encoder, and of the decoder at the grid of codes
    commitment: float = 0.25  # beta, of the loss that holds vectors to their codes
    price: float = 0.0  # of the square of vectors that stay as they are
    decay: float = 0.99  # gamma, of a codebook that is an average
    restart_below: float = 0.01  # share of an even usage below which a code restarts
    learning_rate: float = 2e-3  # of AdamW

    @property
    def dim(self) -> int:
        """Numbers of the vector at each place."""
        return len(self.levels) if self.quantiser == "scalar" else self.code_dim

    def build_quantiser(self) -> VectorQuantiser | FiniteScalarQuantiser | None:
        """The layer between encoder and decoder; none where vectors stay as they are.

        Raises:
            ValueError: sizes that it cannot have.
        """
        if self.quantiser == "vector":
            return VectorQuantiser(self.codes, self.code_dim, self.learned, self.decay)
        if self.quantiser == "scalar":
            return FiniteScalarQuantiser(self.levels)
        if self.quantiser == "none":
            return None
        raise ValueError(
            f'quantiser must be "vector", "scalar" or "none"; got {self.quantiser!r}.'
        )


class VQVAEOutput(NamedTuple):
    """What one pass through the autoencoder gives."""

    images: Tensor  # (B, 3, H, W) painted, in [-1, 1]
    latents: Tensor  # (B, D, h, w) of the encoder
    quantised: Quantised | None  # of the latents, places last: (B, h, w, D)


class VQVAE(nn.Module):
    """Encoder, quantiser and decoder.

    Args:
        config: sizes and quantiser.

    Raises:
        ValueError: sizes that do not fit.

    Source:
        van den Oord et al. 2017, section 3.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        dim, reduction = config.dim, config.reduction
        self.encoder = GridEncoder(
            dim, reduction, config.width, config.depth, config.context
        )
        self.quantiser = config.build_quantiser()
        self.channel: GaussianChannel | None = None
        if self.quantiser is None:
            self.channel = GaussianChannel(dim, config.noise, config.decay)
        self.decoder = GridDecoder(
            dim, reduction, config.patch, config.channels, config.depth
        )

    def forward(self, images: Tensor, noise: Tensor | None = None) -> VQVAEOutput:
        """Encode, quantise and paint images (B, 3, H, W).

        Args:
            images: in [-1, 1].
            noise: (B, D, h, w) standard normal, where vectors stay as they are.
        """
        latents = self.encoder(images).float()
        if self.quantiser is None:
            given = latents
            if noise is not None:
                assert self.channel is not None
                given = self.channel(latents, noise)
            return VQVAEOutput(self.decoder(given).float(), latents, None)
        quantised = self.quantiser(latents.permute(0, 2, 3, 1))
        given = quantised.vectors.permute(0, 3, 1, 2)
        return VQVAEOutput(self.decoder(given).float(), latents, quantised)


class VQVAETask(Task):
    """Trains a ``VQVAE``: one optimiser, one phase; captions are not looked at.

    Args:
        config: of the autoencoder.
        image_size: H = W of its pictures, a multiple of ``config.reduction``.

    Raises:
        ValueError: sizes that do not fit.
    """

    phases = averaged = ("vqvae",)

    def __init__(self, config: VQVAEConfig, image_size: int) -> None:
        self.config, self.image_size = config, image_size
        self.model = VQVAE(config)
        _check_size(config, image_size)
        self.networks: dict[str, nn.Module] = {"vqvae": self.model}
        self._seen: list[list[Tensor]] = []  # in this step, so far

    @classmethod
    def build(
        cls,
        config: VQVAEConfig,
        data: DataInfo,
        frozen: Mapping[str, nn.Module] = NOTHING,
    ) -> VQVAETask:
        """The task for a data set's picture size."""
        return cls(config, data.image_size)

    def optimizers(self) -> dict[str, Optimizer]:
        """AdamW without decay; a codebook that is an average is no part of it."""
        parameters = self.networks["vqvae"].parameters()
        rate = self.config.learning_rate
        return {"vqvae": AdamW(parameters, rate, betas=(0.9, 0.99), weight_decay=0.0)}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """How far pictures are from their originals, and vectors from their codes.

        .. code-block:: none

            loss = mean |x - x'| + codebook loss + beta commitment loss

        Without codes, in place of the last two: price × mean z² / 2.
        """
        noise = None
        if self.config.noise and self.model.channel is not None:
            side = self.image_size // self.config.reduction
            noise = step.randn(len(batch), self.config.dim, side, side)
        output: VQVAEOutput = self.networks["vqvae"](batch.images, noise)
        reconstruction = l1_loss(output.images, batch.images)
        if self.model.channel is not None:
            price = self.config.price * self.model.channel.price(output.latents)
            whole = self._whole_step(step, output.latents.detach().movedim(1, -1))
            if whole is not None:
                self.model.channel.update(*whole)
            return {"loss": reconstruction + price, "reconstruction": reconstruction}
        assert output.quantised is not None
        _, codes, codebook_loss, commitment_loss = output.quantised
        loss = reconstruction + codebook_loss
        loss = loss + self.config.commitment * commitment_loss
        logged = {"reconstruction": reconstruction, "commitment": commitment_loss}
        if isinstance(self.model.quantiser, VectorQuantiser):
            logged["restarted"] = self._renew(output.latents, codes, step)
        return {"loss": loss, **logged}

    def _whole_step(self, step: Step, *parts: Tensor) -> list[Tensor] | None:
        """Tensors (B, h, w, …) as (N, …) of a step, when its last part has come."""
        self._seen.append([step.gather(part.contiguous()) for part in parts])
        if sum(len(first) for first, *_ in self._seen) < step.global_size:
            return None
        whole = zip(*self._seen, strict=True)
        tensors = [torch.cat(parts).flatten(0, 2) for parts in whole]
        self._seen.clear()
        return tensors

    def _renew(self, latents: Tensor, codes: Tensor, step: Step) -> Tensor:
        """Move codes at the end of a step, and restart dead ones; how many."""
        whole = self._whole_step(step, latents.detach().movedim(1, -1), codes)
        if whole is None:
            return codes.new_zeros((), dtype=torch.float32)  # further parts to come
        pool, chosen = whole
        quantiser = self.model.quantiser
        assert isinstance(quantiser, VectorQuantiser)
        quantiser.update(pool, chosen)
        # the same draws in every process, and again where a run is resumed
        generator = torch.Generator().manual_seed(step.index)
        draws = torch.rand(quantiser.size, generator=generator).to(pool.device)
        even = len(pool) / quantiser.size * self.config.restart_below
        return quantiser.restart(pool, draws, even).sum().float()

    def sampler(self, networks: Mapping[str, nn.Module]) -> VQVAESampler:
        """A sampler with the given network's weights."""
        sampler = VQVAESampler(self.config, self.image_size)
        sampler.model.load_state_dict(networks["vqvae"].state_dict())
        return sampler.eval()


class VQVAESampler(Sampler):
    """Pictures to codes and codes to pictures.

    Args:
        config: of the autoencoder.
        image_size: H = W of its pictures, a multiple of ``config.reduction``.

    Raises:
        ValueError: a size that is none.
    """

    config_class = VQVAEConfig
    stored = ("image_size",)

    def __init__(self, config: VQVAEConfig, image_size: int) -> None:
        super().__init__(config)
        self.model = VQVAE(config)
        _check_size(config, image_size)
        self.image_size = image_size
        self.side = image_size // config.reduction  # h = w of the grid

    @property
    def has_codes(self) -> bool:
        """Whether a quantiser stands between encoder and decoder."""
        return self.model.quantiser is not None

    @property
    def codes(self) -> int:
        """K, the size of the codebook.

        Raises:
            ValueError: an autoencoder without one.
        """
        if self.model.quantiser is None:
            raise ValueError(
                'this autoencoder has no codes: it was built with quantiser="none". '
                "Use latents() and paint()."
            )
        return self.model.quantiser.size

    def codebook(self) -> Tensor:
        """The vector of every code, (K, D)."""
        every = torch.arange(self.codes, device=self.device)
        assert self.model.quantiser is not None
        return self.model.quantiser.lookup(every).detach()

    @property
    def bits(self) -> float:
        """What a picture costs as codes of equal length, h w log2 K.

        Without codes, what its vectors can tell at most through their noise.
        """
        if self.model.channel is not None:
            return self.side**2 * self.model.channel.bits
        return self.side**2 * math.log2(self.codes)

    @torch.no_grad()
    def latents(self, images: Tensor) -> Tensor:
        """The encoder's vectors (B, D, h, w) of images (B, 3, H, W) in [-1, 1]."""
        images = images.to(self.device)
        return in_parts(lambda part: self.model.encoder(part).float(), images)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, h, w) int64 of images (B, 3, H, W) in [-1, 1].

        Raises:
            ValueError: pictures that are not made of whole squares, or no codes.
        """
        _ = self.codes
        quantiser = self.model.quantiser
        assert quantiser is not None

        def codes(part: Tensor) -> Tensor:
            return quantiser(self.latents(part).permute(0, 2, 3, 1)).codes

        # The distances to all codes too are of a part: of a thousand pictures, 4,096
        # codes at 64 places would take a gigabyte.
        return in_parts(codes, images)

    @torch.no_grad()
    def paint(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] of vectors (B, D, h, w)."""
        return in_parts(lambda part: self.model.decoder(part).float(), latents)

    def decode(self, codes: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] of codes (B, h, w) int64.

        Raises:
            ValueError: codes outside the codebook, or in no grid.
        """
        check_codes(codes, self.codes)
        if codes.ndim != 3:
            raise ValueError(
                f"codes must be of shape (B, h, w); got {tuple(codes.shape)}."
            )
        assert self.model.quantiser is not None
        return self.paint(self.model.quantiser.lookup(codes).permute(0, 3, 1, 2))

    def reconstruct(self, images: Tensor) -> Tensor:
        """What is left of pictures (B, 3, H, W) when they were codes."""
        if self.model.quantiser is None:
            return self.paint(self.latents(images))
        return self.decode(self.encode(images))

    def graph(self) -> Graph:
        """Codes to pictures; vectors to pictures where there are none."""
        generator = torch.Generator().manual_seed(0)
        if self.model.quantiser is None:
            shape = (3, self.config.dim, self.side, self.side)
            inputs = {"latents": torch.randn(shape, generator=generator)}
            return Graph.of(self, lambda z: (self.paint(z),), inputs, ("image",))
        grid = (3, self.side, self.side)
        inputs = {"codes": torch.randint(self.codes, grid, generator=generator)}
        return Graph.of(self, lambda k: (self.decode(k),), inputs, ("image",))


def _check_size(config: VQVAEConfig, image_size: int) -> None:
    if image_size < config.reduction or image_size % config.reduction:
        raise ValueError(
            f"image_size must be a multiple of config.reduction, {config.reduction}; "
            f"got {image_size}."
        )
