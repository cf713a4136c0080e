r"""A variational autoencoder of pictures and their captions: one code, two senses.

One latent code z holds what picture and caption have in common; a second one, w, what
only the picture knows (where exactly, which shade). Each modality has an *expert*, an
encoder that guesses z from that modality alone. How the experts of a subset of
modalities become one posterior, and which subsets are trained, is what distinguishes

* ``"poe"``, MVAE: a product; every subset explains its own modalities;
* ``"moe"``, MMVAE: a mixture; every single expert explains all modalities;
* ``"mopoe"``, MoPoE: a mixture of products; every subset explains all modalities.

The same network then goes from text to picture, from picture to text, and makes both
from nothing.

Wu and Goodman, *Multimodal Generative Models for Scalable Weakly-Supervised Learning*,
NeurIPS 2018 (MVAE).
Shi et al., *Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative
Models*, NeurIPS 2019 (MMVAE).
Sutter, Daunhawer and Vogt, *Generalized Multimodal ELBO*, ICLR 2021 (MoPoE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.captions import CaptionDecoder
from mmgen.layers.mixtures import MixturePrior
from mmgen.layers.pictures import GaussianHead, PictureDecoder, PictureEncoder
from mmgen.layers.text import UNIT_RANGE, TextEncoder
from mmgen.models.vae import VAEConfig
from mmgen.objectives.variational import (
    PixelLikelihood,
    gaussian_kl,
    gaussian_log_prob,
    reparameterise,
)

MODALITIES = ("image", "caption")
FUSIONS = ("poe", "moe", "mopoe")

# ---------------------------------------------------------------- experts and subsets


def product_of_experts(mus: Tensor, logvars: Tensor) -> tuple[Tensor, Tensor]:
    r"""The Gaussian proportional to a product of Gaussians.

    .. math:: \frac1{\sigma^2} = \sum_m \frac1{\sigma_m^2}, \qquad
              \mu = \sigma^2 \sum_m \frac{\mu_m}{\sigma_m^2}

    Args:
        mus, logvars: of M experts, (M, B, Z) each. The prior is an expert like any
            other: give it as a row of zeros.

    Returns:
        mu and logvar of the product, (B, Z) each.

    Raises:
        ValueError: no expert, or different shapes.

    Source:
        Wu and Goodman 2018, section 2.2.
    """
    if mus.shape != logvars.shape or mus.ndim != 3 or len(mus) == 0:
        raise ValueError(
            f"mus and logvars must both have shape (M, B, Z) with M >= 1 experts; got "
            f"{tuple(mus.shape)} and {tuple(logvars.shape)}. An empty subset of "
            f"modalities has a posterior too, the prior: give that as its expert."
        )
    # Precisions are summed as logarithms, their softmax are the weights: an expert of
    # any certainty neither overflows nor divides by zero.
    weights = torch.softmax(-logvars, dim=0)  # precision_m / sum of precisions
    return (weights * mus).sum(dim=0), -torch.logsumexp(-logvars, dim=0)


class Subset(NamedTuple):
    """One term of the objective: who is looked at, and what must be explained."""

    seen: tuple[str, ...]
    explained: tuple[str, ...]


def training_subsets(fusion: str) -> tuple[Subset, ...]:
    """The terms of an objective; their mean is trained.

    Args:
        fusion: "poe", "moe" or "mopoe".

    Raises:
        ValueError: another name.

    Source:
        Wu and Goodman 2018, eq. 4 (all subsets, each explains itself); Shi et al. 2019,
        eq. 3 (single experts explain everything); Sutter et al. 2021, eq. 6 (all
        subsets explain everything).
    """
    if fusion not in FUSIONS:
        raise ValueError(
            f"fusion must be one of {', '.join(map(repr, FUSIONS))}; got {fusion!r}."
        )
    sizes = (1,) if fusion == "moe" else (1, 2)
    return tuple(
        Subset(seen, seen if fusion == "poe" else MODALITIES)
        for size in sizes
        for seen in combinations(MODALITIES, size)
    )


# ---------------------------------------------------------------------------- the model


@dataclass(frozen=True)
class MultimodalVAEConfig(VAEConfig):
    """Sizes, objective and optimiser of an autoencoder of pictures and captions."""

    TRAINING: ClassVar[frozenset[str]] = VAEConfig.TRAINING | {"caption_weight"}

    latent_dim: int = 16  # Z of the code that picture and caption share
    style_dim: int = 16  # W of the picture's own code; 0: it has none
    fusion: Literal["poe", "moe", "mopoe"] = "mopoe"  # MVAE, MMVAE or MoPoE
    components: int = 8  # in each mixture of the learned p(z); 0: a standard normal
    joint_prior: int = 0  # hidden units of a second p(z), then trained alone; 0: none
    caption_weight: float = 20.0  # of log p(caption|z), which has far fewer terms
    sentence_dim: int = 192  # of the caption's feature
    embedding_dim: int = 128  # of a word's vector


class SubsetTerms(NamedTuple):
    """What one subset of modalities contributes, each (B,) in nats or absent."""

    kl: Tensor  # log q(z|seen) - log p(z)
    image: Tensor | None  # log p(image|z, w)
    style_kl: Tensor | None  # KL(q(w|image, z) || p(w|z)); 0 without a style
    caption: Tensor | None  # log p(caption|z)

    @property
    def elbo(self) -> Tensor:
        """The lower bound of log p of what is explained, (B,)."""
        bound = -self.kl if self.caption is None else self.caption - self.kl
        if self.image is None or self.style_kl is None:
            return bound
        return bound + self.image - self.style_kl


class MultimodalVAE(nn.Module):
    r"""An autoencoder of pictures and captions with one shared code.

    For a subset S of modalities that is looked at,

    .. math:: \log p(x, t) \ge E_{q(z|S)}\big[\log p(t|z) + E_{q(w|x,z)} \log p(x|z,w)
              - \mathrm{KL}(q(w|x,z) \| p(w|z))\big] - \mathrm{KL}(q(z|S) \| p(z))

    Args:
        config: sizes, likelihoods and fusion.
        image_size: H = W of the pictures.
        vocabulary: of the captions.

    Raises:
        ValueError: an unknown fusion, or sizes the networks cannot have.
    """

    def __init__(
        self, config: MultimodalVAEConfig, image_size: int, vocabulary: Vocabulary
    ) -> None:
        super().__init__()
        config.check(image_size)
        self.subsets = training_subsets(config.fusion)
        self.latent_dim, self.style_dim = config.latent_dim, config.style_dim
        latent, style, hidden = config.latent_dim, config.style_dim, config.hidden_dim
        pictures = (image_size, config.channels, config.patch, hidden)
        self.encoder = PictureEncoder(*pictures)
        self.image_expert = GaussianHead(hidden, latent)
        # a mean: every word is one step from the code
        self.text = TextEncoder(
            len(vocabulary),
            config.embedding_dim,
            config.sentence_dim,
            pooling="mean",
            dropout=0.0,
            word_range=UNIT_RANGE,
        )
        self.caption_expert = GaussianHead(config.sentence_dim, latent, hidden)
        self.prior: MixturePrior | None = None
        if config.components:
            self.prior = MixturePrior(latent, 0, hidden, config.components)
        if style:
            self.style_posterior = GaussianHead(hidden + latent, style, hidden)
            self.style_prior = MixturePrior(
                style, latent, hidden, max(config.components, 1)
            )
        self.decoder = PictureDecoder(latent + style, *pictures)
        self.likelihood = PixelLikelihood(
            config.likelihood, config.sigma, config.learn_sigma
        )
        self.captions = CaptionDecoder(vocabulary, latent, config.embedding_dim, hidden)

    def _experts(
        self, features: Tensor | None, tokens: Tensor | None, lengths: Tensor | None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """mu and logvar of the experts of what is given, (B, Z) each."""
        experts = {}
        if features is not None:
            experts["image"] = self.image_expert(features)
        if tokens is not None and lengths is not None:
            sentence = self.text(tokens, lengths)[1]
            experts["caption"] = self.caption_expert(sentence.float())
        return experts

    @staticmethod
    def _fuse(experts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The product of some experts and of a standard normal one, which keeps it
        from being wider than that."""
        mus = torch.stack([mu for mu, _ in experts])  # (M, B, Z)
        logvars = torch.stack([logvar for _, logvar in experts])
        normal = (0, 0, 0, 0, 1, 0)  # a row of zeros before the others
        return product_of_experts(pad(mus, normal), pad(logvars, normal))

    def posterior(
        self,
        images: Tensor | None = None,
        tokens: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """mu and logvar of q(z|...), (B, Z) each, given either modality or both.

        Args:
            images: (B, 3, H, W), where seen.
            tokens, lengths: captions, (B, T) and (B,), where seen.

        Raises:
            ValueError: neither is given: use ``prior``.
        """
        features = None if images is None else self.encoder(images)
        experts = self._experts(features, tokens, lengths)
        if not experts:
            raise ValueError(
                "images or captions must be given: the posterior of no modality is the "
                "prior. Draw from model.prior."
            )
        return self._fuse(list(experts.values()))

    def decode(self, z: Tensor, noise: Tensor) -> Tensor:
        """Mean pictures in [-1, 1] for codes (B, Z); noise for styles is (B, 2 W)."""
        if self.style_dim:
            z = torch.cat([z, self.style_prior.sample(noise, z)], dim=1)
        return self.likelihood.mean(self.decoder(z))

    def forward(
        self,
        images: Tensor | None,
        tokens: Tensor | None,
        lengths: Tensor | None,
        noise: Tensor,
    ) -> dict[tuple[str, ...], SubsetTerms]:
        """The terms of every training subset that a batch has the modalities for.

        Args:
            images: (B, 3, H, W), or None for captions alone.
            tokens, lengths: (B, T) and (B,), or None for pictures alone.
            noise: standard normal, (B, S, Z + W), a row for each training subset.

        Returns:
            The terms by subset. What a batch lacks is neither seen nor explained.

        Raises:
            ValueError: a batch of neither, or nothing to train on in it.
        """
        features = None if images is None else self.encoder(images)
        experts = self._experts(features, tokens, lengths)
        rows = [i for i, s in enumerate(self.subsets) if set(s.seen) <= set(experts)]
        if not rows:
            raise ValueError(
                "images or captions must be given; a batch of neither teaches nothing."
            )
        subsets = [self.subsets[i] for i in rows]
        z_noise, w_noise = (
            noise[:, rows].transpose(0, 1).split([self.latent_dim, self.style_dim], 2)
        )  # (S, B, Z) and (S, B, W)
        fused = [self._fuse([experts[name] for name in s.seen]) for s in subsets]
        mu, logvar = (torch.stack(part) for part in zip(*fused, strict=True))
        z = reparameterise(mu, logvar, z_noise)  # (S, B, Z)
        kl = self._divergence(z, mu, logvar)

        # Each decoder runs once, on the codes of all subsets that must explain its
        # modality: S' of them.
        image: dict[int, Tensor] = {}
        style_kl: dict[int, Tensor] = {}
        caption: dict[int, Tensor] = {}
        shown = [k for k, s in enumerate(subsets) if "image" in s.explained]
        if images is not None and features is not None and shown:
            log_p, cost = self._explain(
                images.repeat(len(shown), 1, 1, 1),
                features.repeat(len(shown), 1),
                z[shown].flatten(0, 1),  # (S' B, Z)
                w_noise[shown].flatten(0, 1),
            )
            image = dict(zip(shown, log_p.chunk(len(shown)), strict=True))
            style_kl = dict(zip(shown, cost.chunk(len(shown)), strict=True))
        said = [k for k, s in enumerate(subsets) if "caption" in s.explained]
        if tokens is not None and lengths is not None and said:
            log_p = self.captions(
                z[said].flatten(0, 1),
                tokens.repeat(len(said), 1),
                lengths.repeat(len(said)),
            )
            caption = dict(zip(said, log_p.chunk(len(said)), strict=True))
        return {
            s.seen: SubsetTerms(kl[k], image.get(k), style_kl.get(k), caption.get(k))
            for k, s in enumerate(subsets)
        }

    def _divergence(self, z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
        """KL(q || p), (S, B), of (S, B, Z): exact, or estimated at the codes."""
        if self.prior is None:
            return gaussian_kl(mu, logvar)
        log_p = self.prior.log_prob(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        return gaussian_log_prob(z, mu, logvar) - log_p

    def _explain(
        self, images: Tensor, features: Tensor, z: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """log p(x|z, w) and the cost of w, (B,) each, for codes z."""
        if not self.style_dim:
            return self.likelihood(images, self.decoder(z)), torch.zeros_like(z[:, 0])
        mu, logvar = self.style_posterior(torch.cat([features, z], dim=1))
        w = reparameterise(mu, logvar, noise)
        decoded = self.decoder(torch.cat([z, w], dim=1))
        kl = gaussian_log_prob(w, mu, logvar) - self.style_prior.log_prob(w, z)
        return self.likelihood(images, decoded), kl
