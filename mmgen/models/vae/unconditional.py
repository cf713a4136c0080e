r"""A variational autoencoder of pictures: config, network, objective, task, sampler.

A decoder turns a latent code z into a distribution over pictures, an encoder guesses
which codes a picture may have come from, and both climb a lower bound of log p(x).

Kingma and Welling, *Auto-Encoding Variational Bayes*, ICLR 2014.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmgen.data.batch import Batch
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.pictures import GaussianHead, PictureDecoder, PictureEncoder
from mmgen.objectives.variational import (
    ELBO,
    PixelLikelihood,
    gaussian_kl_terms,
    gaussian_log_prob,
    reparameterise,
)
from mmgen.sampling import Graph, Sampler, example_noise, in_parts, seeded_noise


@dataclass(frozen=True)
class VAEConfig:
    """Sizes, likelihood and optimiser of a variational autoencoder."""

    TRAINING: ClassVar[frozenset[str]] = frozenset({"learning_rate"})

    latent_dim: int = 32  # Z, dimensions of the code
    channels: int = 32  # of the largest feature map; doubled with each halving
    patch: int = 2  # side of the squares of pixels that the networks take as one
    hidden_dim: int = 256  # of the vectors between convolutions and codes
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"  # p(x|z) of a pixel
    sigma: float = 0.1  # σ of the Gaussian, in [-1, 1] units; the start if learned
    learn_sigma: bool = True  # whether σ is a parameter
    learning_rate: float = 1e-3  # of Adam

    def check(self, image_size: int) -> None:
        """Refuse what cannot be a VAE of pictures of this size.

        Raises:
            ValueError: no latent dimension, or more of them than a picture has values.
        """
        values = 3 * image_size**2
        if not 1 <= self.latent_dim <= values:
            raise ValueError(
                f"latent_dim must lie in 1..{values}, the values of a picture of "
                f"{image_size} x {image_size} pixels; got {self.latent_dim}. A code "
                f"longer than the data has nothing to compress."
            )


class VAEOutput(NamedTuple):
    """What one pass through an autoencoder gives."""

    decoded: Tensor  # (B, 3, H, W) the decoder's output: means or logits
    log_likelihood: Tensor  # (B,) log p(x|z), nats
    kl_terms: Tensor  # (B, Z) KL of each dimension, nats; or log q - log p at a sample
    mu: Tensor  # (B, Z) of q(z|x)
    logvar: Tensor  # (B, Z)

    @property
    def elbo(self) -> ELBO:
        """The bound, its terms apart."""
        return ELBO(self.log_likelihood, self.kl_terms.sum(dim=1))


class VAE(nn.Module):
    """An autoencoder of pictures with a standard normal prior over its codes.

    Args:
        config: sizes and likelihood.
        image_size: H = W of the pictures.
    """

    def __init__(self, config: VAEConfig, image_size: int) -> None:
        super().__init__()
        config.check(image_size)
        self.latent_dim, hidden = config.latent_dim, config.hidden_dim
        pictures = (image_size, config.channels, config.patch, hidden)
        self.encoder = PictureEncoder(*pictures)
        self.posterior = GaussianHead(hidden, config.latent_dim)
        self.decoder = PictureDecoder(config.latent_dim, *pictures)
        self.likelihood = PixelLikelihood(
            config.likelihood, config.sigma, config.learn_sigma
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar of q(z|x), (B, Z) each, for images (B, 3, H, W)."""
        return self.posterior(self.encoder(images))

    def decode(self, z: Tensor) -> Tensor:
        """Mean pictures in [-1, 1], shape (B, 3, H, W), for codes (B, Z)."""
        return self.likelihood.mean(self.decoder(z))

    def forward(self, images: Tensor, noise: Tensor) -> VAEOutput:
        """Encode, draw a code with ``noise`` (B, Z), decode, and weigh the result."""
        mu, logvar = self.encode(images)
        decoded = self.decoder(reparameterise(mu, logvar, noise))
        log_likelihood = self.likelihood(images, decoded)
        kl_terms = gaussian_kl_terms(mu, logvar)
        return VAEOutput(decoded, log_likelihood, kl_terms, mu, logvar)

    def log_weights(self, images: Tensor, noise: Tensor) -> Tensor:
        """log p(x|z) p(z) / q(z|x) for K codes a picture, shape (K, B).

        Args:
            images: (B, 3, H, W).
            noise: standard normal, (K, B, Z).
        """
        mu, logvar = self.encode(images)
        z = reparameterise(mu, logvar, noise)  # (K, B, Z)
        log_likelihood = torch.stack(
            [self.likelihood(images, self.decoder(code)) for code in z]
        )
        zeros = torch.zeros_like(mu)
        log_prior = gaussian_log_prob(z, zeros, zeros)
        return log_likelihood + log_prior - gaussian_log_prob(z, mu, logvar)


def negative_bound(output: VAEOutput) -> dict[str, Tensor]:
    """The loss of a batch, -(reconstruction - kl), and what to log; nats a picture."""
    reconstruction, kl = output.elbo
    bound = (reconstruction - kl).mean()
    parts = {"reconstruction": reconstruction.mean(), "kl": kl.mean()}
    return {"loss": -bound, "elbo": bound, **parts}


def adam(network: nn.Module, learning_rate: float) -> Optimizer:
    """Adam with a memory of a hundred steps for squared gradients, not a thousand.

    The gradients of a Gaussian likelihood fall a hundredfold while pictures come into
    focus; with the usual 0.999 their early size goes on to throttle everything else.
    """
    return torch.optim.Adam(network.parameters(), learning_rate, betas=(0.9, 0.99))


class VAETask(Task):
    """Trains a ``VAE``: one optimiser, one phase; captions are not looked at."""

    phases = averaged = ("vae",)

    def __init__(self, config: VAEConfig, image_size: int) -> None:
        self.config, self.image_size = config, image_size
        self.networks: dict[str, nn.Module] = {"vae": VAE(config, image_size)}

    @classmethod
    def build(
        cls,
        config: VAEConfig,
        data: DataInfo,
        frozen: Mapping[str, nn.Module] = NOTHING,
    ) -> VAETask:
        """The task for a data set's picture size."""
        return cls(config, data.image_size)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for everything (see ``adam``)."""
        return {"vae": adam(self.networks["vae"], self.config.learning_rate)}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The negative bound of log p(x) of a batch, in nats a picture."""
        noise = step.randn(len(batch), self.config.latent_dim)
        return negative_bound(self.networks["vae"](batch.images, noise))

    def sampler(self, networks: Mapping[str, nn.Module]) -> VAESampler:
        """A sampler with the given network's weights."""
        sampler = VAESampler(self.config, self.image_size)
        sampler.model.load_state_dict(networks["vae"].state_dict())
        return sampler.eval()


class VAESampler(Sampler):
    """Draws pictures from the prior; knows no captions.

    Args:
        config: of the autoencoder.
        image_size: H = W of its pictures.
    """

    config_class = VAEConfig
    stored = ("image_size",)

    def __init__(self, config: VAEConfig, image_size: int) -> None:
        super().__init__(config)
        self.image_size = image_size
        self.model = VAE(config, image_size)

    @torch.no_grad()
    def sample(
        self, captions: Sequence[str] | int, seed: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        """Pictures of codes drawn from the prior.

        Args:
            captions: how many pictures; or captions, of which only the number counts.
            seed: of the codes.
            noise: the codes, (B, Z), in place of a seed's.

        Returns:
            (B, 3, H, W) in [-1, 1], on the model's device.

        Raises:
            ValueError: no picture is asked for, or noise of another shape.
        """
        count = captions if isinstance(captions, int) else len(captions)
        if count < 1:
            raise ValueError("captions must ask for at least one picture; got none.")
        z = seeded_noise(count, self.config.latent_dim, seed, noise)
        return in_parts(self.model.decode, z.to(self.device))

    def graph(self) -> Graph:
        """Codes to pictures."""
        inputs = example_noise(self.config.latent_dim)
        return Graph.of(self, lambda z: (self.model.decode(z),), inputs, ("image",))
