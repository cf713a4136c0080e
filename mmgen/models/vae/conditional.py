r"""A variational autoencoder of pictures, given a condition: a caption or attributes.

Sohn, Lee and Yan, *Learning Structured Output Representation using Deep Conditional
Generative Models*, NeurIPS 2015.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmgen.conditioning import ConditionSampler, condition_encoder, left_open
from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.mixtures import MixturePrior
from mmgen.layers.pictures import GaussianHead, PictureDecoder, PictureEncoder
from mmgen.models.vae.unconditional import VAEConfig, VAEOutput, adam, negative_bound
from mmgen.objectives.variational import (
    PixelLikelihood,
    gaussian_log_prob,
    reparameterise,
)
from mmgen.sampling import Graph, example_noise, in_parts, seeded_noise

LEFT_OPEN = 0.1  # share of attributes that a training leaves open


@dataclass(frozen=True)
class ConditionalVAEConfig(VAEConfig):
    """Sizes, condition and optimiser of a conditional variational autoencoder."""

    condition: Literal["sentence", "attributes"] = "sentence"  # what is given with z
    condition_dim: int = 192  # C of the condition's vector
    embedding_dim: int = 128  # of a word's vector
    latent_dim: int = 16  # Z: what the condition leaves open
    components: int = 8  # Gaussians in each mixture of the learned prior p(z|c)


class ConditionalVAE(nn.Module):
    r"""An autoencoder of pictures whose every part knows a condition c.

    .. math:: \log p(x|c) \ge E_{q(z|x,c)}[\log p(x|z,c)]
              - \mathrm{KL}(q(z|x,c) \,\|\, p(z|c))

    The prior p(z|c) is learned. So a fact may reach the picture through c or through z,
    and is right either way: what the posterior writes into z, the prior has to foresee.
    The divergence from a mixture has no closed form; it is estimated at the one code
    that is drawn anyway.

    Args:
        config: sizes, likelihood and kind of condition.
        image_size: H = W of the pictures.
        vocabulary: of the captions, for a sentence.
        attributes: each attribute's values, for attributes.

    Raises:
        ValueError: an unknown condition, or attributes of a data set without any.

    Source:
        Sohn et al. 2015, eq. 4.
    """

    def __init__(
        self,
        config: ConditionalVAEConfig,
        image_size: int,
        vocabulary: Vocabulary,
        attributes: Mapping[str, Sequence[str]],
    ) -> None:
        super().__init__()
        config.check(image_size)
        self.kind = config.condition
        latent, hidden = config.latent_dim, config.hidden_dim
        given = config.condition_dim
        encoder = condition_encoder(config, vocabulary, attributes)
        if config.condition == "sentence":
            self.text = encoder
        else:
            self.attributes = encoder
        # c and z begin equally long: of two inputs a decoder learns the larger one
        # first, and ignores z beside a longer c, or a c that is faint.
        self.condition_norm = nn.LayerNorm(given)
        nn.init.constant_(self.condition_norm.weight, math.sqrt(latent / given))
        pictures = (image_size, config.channels, config.patch, hidden)
        self.encoder = PictureEncoder(*pictures)
        self.posterior = GaussianHead(hidden + given, latent, hidden)
        self.prior = MixturePrior(latent, given, hidden, config.components)
        self.decoder = PictureDecoder(latent + given, *pictures)
        self.likelihood = PixelLikelihood(
            config.likelihood, config.sigma, config.learn_sigma
        )

    def condition(self, *given: Tensor) -> Tensor:
        """The condition's vector c, shape (B, C).

        Args:
            given: tokens (B, T) and lengths (B,); or attributes (B, A), -1 where
                nothing is said, if these are the model's condition.
        """
        if self.kind == "attributes":
            return self.condition_norm(self.attributes(*given).float())
        return self.condition_norm(self.text(*given)[1].float())

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Mean pictures in [-1, 1] for codes (B, Z) and conditions (B, C)."""
        return self.likelihood.mean(self.decoder(torch.cat([z, condition], dim=1)))

    def draw(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Pictures for conditions (B, C), their codes drawn with noise (B, 2 Z)."""
        return self.decode(self.prior.sample(noise, condition), condition)

    def forward(
        self,
        images: Tensor,
        tokens: Tensor,
        lengths: Tensor,
        attributes: Tensor | None,
        noise: Tensor,
    ) -> VAEOutput:
        """Encode, draw a code with ``noise`` (B, Z), decode, and weigh the result.

        Raises:
            ValueError: no attributes for a model whose condition they are.
        """
        if self.kind == "sentence":
            condition = self.condition(tokens, lengths)
        elif attributes is not None:
            condition = self.condition(attributes)
        else:
            raise ValueError(
                "attributes must be given: this model was built for them. Use a data "
                'set whose batches have them, or condition="sentence".'
            )
        features = self.encoder(images)
        mu, logvar = self.posterior(torch.cat([features, condition], dim=1))
        z = reparameterise(mu, logvar, noise)
        decoded = self.decoder(torch.cat([z, condition], dim=1))
        log_likelihood = self.likelihood(images, decoded)
        # one dimension at a time: what is summed over is the last, of one
        log_q = gaussian_log_prob(z[..., None], mu[..., None], logvar[..., None])
        kl_terms = log_q - self.prior.log_prob_terms(z, condition)  # (B, Z)
        return VAEOutput(decoded, log_likelihood, kl_terms, mu, logvar)


class ConditionalVAETask(Task):
    """Trains a ``ConditionalVAE``: one optimiser, one phase."""

    phases = averaged = ("cvae",)

    def __init__(self, config: ConditionalVAEConfig, data: DataInfo) -> None:
        self.config, self.data = config, data
        model = ConditionalVAE(
            config, data.image_size, data.vocabulary, data.attributes
        )
        self.networks: dict[str, nn.Module] = {"cvae": model}

    @classmethod
    def build(
        cls,
        config: ConditionalVAEConfig,
        data: DataInfo,
        frozen: Mapping[str, nn.Module] = NOTHING,
    ) -> ConditionalVAETask:
        """The task for a data set's pictures, captions and attributes."""
        return cls(config, data)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for everything (see ``adam``)."""
        return {"cvae": adam(self.networks["cvae"], self.config.learning_rate)}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The negative bound of log p(x|c) of a batch, in nats a picture."""
        noise = step.randn(len(batch), self.config.latent_dim)
        attributes = batch.attributes
        if self.config.condition == "attributes" and attributes is not None:
            attributes = left_open(attributes, step.rand(*attributes.shape), LEFT_OPEN)
        given = (batch.tokens, batch.lengths, attributes)
        return negative_bound(self.networks["cvae"](batch.images, *given, noise))

    def sampler(self, networks: Mapping[str, nn.Module]) -> ConditionalVAESampler:
        """A sampler with the given network's weights."""
        sampler = ConditionalVAESampler(
            self.config,
            self.data.image_size,
            self.data.vocabulary,
            self.data.max_tokens,
            self.data.attributes,
            self.data.synonyms,
        )
        sampler.model.load_state_dict(networks["cvae"].state_dict())
        return sampler.eval()


class ConditionalVAESampler(ConditionSampler):
    """Draws pictures for captions or for attributes.

    Args:
        config: of the autoencoder.
        image_size: H = W of its pictures.
        vocabulary, max_tokens, attributes, synonyms: as for ``ConditionSampler``.
    """

    config_class = ConditionalVAEConfig
    stored = ("image_size", *ConditionSampler.stored)

    def __init__(
        self,
        config: ConditionalVAEConfig,
        image_size: int,
        vocabulary: Vocabulary,
        max_tokens: int,
        attributes: Mapping[str, Sequence[str]],
        synonyms: Mapping[str, str] = NOTHING,
    ) -> None:
        super().__init__(config, vocabulary, max_tokens, attributes, synonyms)
        self.image_size = image_size
        self.model = ConditionalVAE(config, image_size, vocabulary, attributes)

    @torch.no_grad()
    def condition(self, captions: Sequence[str | Mapping[str, str]]) -> Tensor:
        """Condition vectors (B, C) of captions or attributes, see ``read``."""
        return self.model.condition(*self.read(captions))

    @torch.no_grad()
    def sample(
        self,
        captions: Sequence[str | Mapping[str, str]],
        seed: int = 0,
        noise: Tensor | None = None,
    ) -> Tensor:
        """One picture for each caption.

        Args:
            captions: as for ``read``; what they do not say is left open.
            seed: of the codes, which decide what is left open.
            noise: (B, 2 Z), in place of a seed's (see ``MixturePrior.sample``).

        Returns:
            (B, 3, H, W) in [-1, 1], on the model's device.

        Raises:
            ValueError: as ``read``, or noise of another shape.
        """
        condition = self.condition(captions)
        size = self.model.prior.noise_dim
        noise = seeded_noise(len(condition), size, seed, noise).to(condition)
        return in_parts(self.model.draw, condition, noise)

    def graph(self) -> Graph:
        """Tokens and lengths, or attributes, and noise to pictures."""

        def draw(*inputs: Tensor) -> tuple[Tensor, ...]:
            *told, noise = inputs
            return (self.model.draw(self.model.condition(*told), noise),)

        inputs = self.examples() | example_noise(self.model.prior.noise_dim)
        return Graph.of(self, draw, inputs, ("image",))
