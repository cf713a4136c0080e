"""How a ``MultimodalVAE`` is trained, and what is left when training is over.

Ghosh et al., *From Variational to Deterministic Autoencoders*, ICLR 2020 (a density of
codes that is fitted after training).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.captions import chosen_language, languages_of
from mmgen.layers.mixtures import MixturePrior
from mmgen.layers.validation import require_range
from mmgen.models.multimodal_vae.model import (
    MultimodalVAE,
    MultimodalVAEConfig,
    training_subsets,
)
from mmgen.models.vae import adam
from mmgen.objectives.variational import reparameterise
from mmgen.sampling import (
    CaptionSampler,
    Graph,
    example_captions,
    example_noise,
    in_parts,
    seeded_noise,
)

DRAWS = 4  # codes of each picture that a step of the joint prior looks at


def joint_prior(config: MultimodalVAEConfig) -> MixturePrior:
    """The second prior of a config, untrained."""
    return MixturePrior(
        config.latent_dim, 0, config.joint_prior, max(config.components, 1)
    )


class MultimodalVAETask(Task):
    """Trains a ``MultimodalVAE`` on every subset that its fusion asks for.

    The prior of the bound has to cover the codes of pictures and of captions, and of
    its codes the two decoders make pairs that agree less often than those of a prior
    for pictures' codes alone. A config with ``joint_prior`` asks for a second training,
    which begins with the weights of a finished one (``start_from``), keeps them, and
    fits such a prior, which may be larger (Ghosh et al. 2020, section 4). Joint samples
    come from it.
    """

    phases = ("mvae",)

    def __init__(self, config: MultimodalVAEConfig, data: DataInfo) -> None:
        self.config, self.data = config, data
        self.model = MultimodalVAE(config, data.image_size, data.vocabulary)
        self.networks: dict[str, nn.Module] = {"mvae": self.model}
        if config.joint_prior:
            self.model.requires_grad_(False)
            self.networks["joint_prior"] = joint_prior(config)
        self.averaged = tuple(self.networks)

    @classmethod
    def build(
        cls,
        config: MultimodalVAEConfig,
        data: DataInfo,
        frozen: Mapping[str, nn.Module] = NOTHING,
    ) -> MultimodalVAETask:
        """The task for a data set's pictures and captions."""
        return cls(config, data)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam (see ``adam``) for everything, or for the joint prior alone."""
        trained = "joint_prior" if self.config.joint_prior else "mvae"
        return {"mvae": adam(self.networks[trained], self.config.learning_rate)}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The mean negative bound over the training subsets, in nats a pair.

        With ``joint_prior`` the mean of -log p(z) under it, in nats a code.
        """
        config = self.config
        if config.joint_prior:
            noise = step.randn(len(batch), DRAWS, config.latent_dim)
            with torch.no_grad():
                mu, logvar = self.model.posterior(images=batch.images)
                z = reparameterise(mu[:, None], logvar[:, None], noise)
            return {"loss": -self.networks["joint_prior"](z.flatten(0, 1)).mean()}
        subsets = len(training_subsets(config.fusion))
        noise = step.randn(len(batch), subsets, config.latent_dim + config.style_dim)
        tokens = batch.tokens
        if tokens.device.type == "cpu":
            # No step for positions that no caption reaches, but for one end. (On a GPU
            # fixed shapes and no waiting are worth more.)
            tokens = tokens[:, : int(batch.lengths.max()) + 1]
        terms = self.networks["mvae"](batch.images, tokens, batch.lengths, noise)
        costs, logged = [], {}
        for seen, term in terms.items():
            name, bound = "+".join(seen), term.elbo
            logged[f"elbo {name}"] = bound.mean()
            logged[f"kl {name}"] = term.kl.mean()
            if term.caption is not None:
                # the bound holds it once already
                bound = bound + (config.caption_weight - 1) * term.caption
                logged[f"caption {name}"] = term.caption.mean()
            costs.append(-bound.mean())
        return {"loss": torch.stack(costs).mean(), **logged}

    def sampler(self, networks: Mapping[str, nn.Module]) -> MultimodalVAESampler:
        """A sampler with the given network's weights."""
        sampler = MultimodalVAESampler(
            self.config,
            self.data.image_size,
            self.data.vocabulary,
            self.data.max_tokens,
        )
        sampler.model.load_state_dict(networks["mvae"].state_dict())
        if sampler.joint_prior is not None:
            sampler.joint_prior.load_state_dict(networks["joint_prior"].state_dict())
        return sampler.eval()


# -------------------------------------------------- what is left when training is over


class MultimodalVAESampler(CaptionSampler):
    """Goes from captions to pictures, from pictures to captions, and makes both.

    Args:
        config: of the autoencoder.
        image_size: H = W of its pictures.
        vocabulary: of its captions.
        max_tokens: T, the longest caption it reads and writes.
    """

    config_class = MultimodalVAEConfig
    stored = ("image_size", *CaptionSampler.stored)

    def __init__(
        self,
        config: MultimodalVAEConfig,
        image_size: int,
        vocabulary: Vocabulary,
        max_tokens: int,
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.image_size = image_size
        self.model = MultimodalVAE(config, image_size, vocabulary)
        self.joint_prior = joint_prior(config) if config.joint_prior else None

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages it writes: "en", "zh" or both."""
        return languages_of(self.vocabulary)

    @property
    def noise_dim(self) -> int:
        """Numbers of noise that a caption's picture takes: Z for z, 2 W for w."""
        return self.config.latent_dim + 2 * self.config.style_dim

    @torch.no_grad()
    def sample(
        self, captions: Sequence[str], seed: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        """Text to image: a picture for each caption.

        Args:
            captions: what to draw.
            seed: of z and w, which decide what the caption leaves open.
            noise: (B, Z + 2 W), in place of a seed's.

        Returns:
            (B, 3, H, W) in [-1, 1], on the model's device.

        Raises:
            ValueError: an empty caption or list, a caption without a known word, or
                noise of another shape.
        """
        tokens, lengths = self.read_captions(captions)
        noise = seeded_noise(len(tokens), self.noise_dim, seed, noise).to(self.device)
        return in_parts(self._draw, tokens, lengths, noise)

    def _draw(self, tokens: Tensor, lengths: Tensor, noise: Tensor) -> Tensor:
        mu, logvar = self.model.posterior(tokens=tokens, lengths=lengths)
        z_noise, w_noise = noise.tensor_split([self.config.latent_dim], dim=1)
        return self.model.decode(reparameterise(mu, logvar, z_noise), w_noise)

    @torch.no_grad()
    def describe(self, images: Tensor, language: str | None = None) -> list[str]:
        """Image to text: a caption for each picture (B, 3, H, W), at the mean code.

        Args:
            images: in [-1, 1].
            language: "en" or "zh", one that the model learned; the first by default.

        Raises:
            ValueError: pictures out of range or of another size, or another language.
        """
        require_range(images)
        mu = in_parts(
            lambda part: self.model.posterior(images=part)[0], images.to(self.device)
        )
        return self._write(mu, language)

    @torch.no_grad()
    def imagine(
        self, count: int, seed: int = 0, language: str | None = None
    ) -> tuple[Tensor, list[str]]:
        """Both from the prior: pictures (count, 3, H, W) and a caption for each.

        From the joint prior, where the sampler has one; else from that of the bound.

        Raises:
            ValueError: a count below 1, or a language that the model did not learn.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1; got {count}.")
        prior = self.joint_prior or self.model.prior
        size = self.config.latent_dim if prior is None else prior.noise_dim
        noise = seeded_noise(count, size + 2 * self.config.style_dim, seed)
        z, w_noise = noise.to(self.device).tensor_split([size], dim=1)
        if prior is not None:
            z = prior.sample(z)
        return in_parts(self.model.decode, z, w_noise), self._write(z, language)

    def _write(self, z: Tensor, language: str | None) -> list[str]:
        language = chosen_language(language or None, self.vocabulary)
        tokens = self.model.captions.write(z, language, self.max_tokens)
        return self.vocabulary.decode(tokens)

    def graph(self) -> Graph:
        """Tokens, lengths and noise to pictures."""
        inputs = example_captions(self.vocabulary, self.max_tokens)
        inputs |= example_noise(self.noise_dim)
        return Graph.of(self, lambda *given: (self._draw(*given),), inputs, ("image",))
