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
Bowman et al., *Generating Sentences from a Continuous Space*, CoNLL 2016 (dropout of
words).
Ghosh et al., *From Variational to Deterministic Autoencoders*, ICLR 2020 (a density of
codes that is fitted after training).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmgen.data.vocabulary import Vocabulary
from mmgen.models.vae import (
    CaptionSampler,
    GaussianHead,
    MixturePrior,
    PictureDecoder,
    PictureEncoder,
    PixelLikelihood,
    VAEConfig,
    adam,
    caption_encoder,
    gaussian_kl,
    gaussian_log_prob,
    kl_weight,
    normal_noise,
    picture_defaults,
    reparameterise,
    trim,
)

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmgen.data.batch import Batch
    from mmgen.data.dataset import CaptionedDataset

MODALITIES = ("image", "caption")
FUSIONS = ("poe", "moe", "mopoe")
UNKNOWN_TOKEN = 1  # of every Vocabulary
DRAWS = 4  # codes of each picture that a step of the joint prior looks at

# ---------------------------------------------------------------- experts and subsets


def product_of_experts(mus: Tensor, logvars: Tensor) -> tuple[Tensor, Tensor]:
    r"""The Gaussian proportional to a product of Gaussians.

    .. math:: \frac1{\sigma^2} = \sum_m \frac1{\sigma_m^2}, \qquad
              \mu = \sigma^2 \sum_m \frac{\mu_m}{\sigma_m^2}

    The precisions 1/σ² are summed as logarithms: weights are their softmax, so that an
    expert of any certainty neither overflows nor divides by zero.

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


# ------------------------------------------------------------------ captions from codes


class CaptionDecoder(nn.Module):
    r"""p(t|z): a caption word by word from a code, by a gated recurrent network.

    .. math:: \log p(t|z, \ell) = \sum_i \log p(t_i \mid t_{<i}, z, \ell)

    The language ℓ is given, as the symbol that a caption starts with; a caption ends
    with the padding token. In training some of the words it reads back are replaced by
    ``<unk>``: a network that can see every word before has little use for z.

    Args:
        vocabulary: of the captions; its Chinese characters mark Chinese captions.
        code_dim: size of z.
        embedding_dim: of a word's vector.
        hidden_dim: of the network's state.
        word_dropout: share of words replaced, in [0, 1).

    Source:
        Bowman et al. 2016.
    """

    chinese: Tensor

    def __init__(
        self,
        vocabulary: Vocabulary,
        code_dim: int,
        embedding_dim: int,
        hidden_dim: int,
        word_dropout: float,
    ) -> None:
        super().__init__()
        if not 0 <= word_dropout < 1:
            raise ValueError(f"word_dropout must lie in [0, 1); got {word_dropout}.")
        size = len(vocabulary)
        self.word_dropout = word_dropout
        # Tokens: the vocabulary, then the two symbols a caption may start with.
        self.embedding = nn.Embedding(size + 2, embedding_dim)
        self.first_start = size
        self.begin = nn.Linear(code_dim, hidden_dim)
        # A short way from the code to every word, past the recurrence: what is said
        # need not wait until the network has learned how things are said.
        self.content = nn.Sequential(
            nn.Linear(code_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
        )
        self.recurrent = nn.GRU(embedding_dim + code_dim, hidden_dim, batch_first=True)
        self.words = nn.Linear(hidden_dim, size)
        chinese = [not token.isascii() for token in vocabulary.tokens]
        self.register_buffer("chinese", torch.tensor(chinese), persistent=False)

    def start(self, tokens: Tensor) -> Tensor:
        """The symbol (B,) that captions (B, T) start with: English, or Chinese."""
        return self.first_start + self.chinese[tokens].any(dim=1).long()

    def _logits(
        self, read: Tensor, code: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Logits of the words after ``read`` (B, S), and the state after them."""
        if state is None:
            state = torch.tanh(self.begin(code))[None]  # (1, B, H)
        codes = code[:, None].expand(-1, read.shape[1], -1)
        inputs = torch.cat([self.embedding(read), codes.to(state.dtype)], dim=2)
        hidden, state = self.recurrent(inputs, state)
        return self.words(hidden + self.content(code)[:, None]), state

    def forward(self, code: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """log p(t|z) in nats, the end of the caption included.

        Args:
            code: z, (B, Z).
            tokens, lengths: captions, (B, T) and (B,).

        Returns:
            Shape (B,), at most 0.
        """
        read = torch.cat([self.start(tokens)[:, None], tokens[:, :-1]], dim=1)
        if self.training and self.word_dropout:
            forget = torch.rand(read.shape, device=read.device) < self.word_dropout
            forget[:, 0] = False
            read = read.masked_fill(forget, UNKNOWN_TOKEN)
        logits, _ = self._logits(read, code, None)  # (B, T, V)
        log_p = -cross_entropy(
            logits.float().transpose(1, 2), tokens, reduction="none"
        )  # (B, T)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        # One further than the words: the padding token that ends the caption. A caption
        # that fills all T positions has no end to predict.
        return (log_p * (positions[None, :] <= lengths[:, None])).sum(dim=1)

    @torch.no_grad()
    def write(
        self,
        code: Tensor,
        language: str,
        max_tokens: int,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Captions of codes, as tokens (B, T) padded with 0.

        Args:
            code: z, (B, Z).
            language: "en" or "zh"; words of the other language are not used.
            max_tokens: T, where a caption is cut.
            temperature: 0 takes the most probable word each time; 1 draws from the
                model, with ``generator`` (on the CPU).
        """
        foreign = self.chinese if language == "en" else ~self.chinese
        foreign = foreign.clone()
        foreign[0] = False  # the end belongs to both
        foreign[UNKNOWN_TOKEN] = True  # is for reading, not for writing
        last = torch.full_like(code[:, 0], self.first_start, dtype=torch.int64)
        last = last + int(language == "zh")
        ended = torch.zeros_like(last, dtype=torch.bool)
        state, written = None, []
        for position in range(max_tokens):
            logits, state = self._logits(last[:, None], code, state)
            scores = logits[:, 0].float().masked_fill(foreign, -math.inf)
            if position == 0:
                scores[:, 0] = -math.inf  # at least one word
            if temperature > 0:
                chances = torch.softmax(scores / temperature, dim=1).cpu()
                picked = torch.multinomial(chances, 1, generator=generator)[:, 0]
                last = picked.to(code.device)
            else:
                last = scores.argmax(dim=1)
            last = last.masked_fill(ended, 0)
            written.append(last)
            ended = ended | (last == 0)
            if ended.all():
                break
        tokens = torch.stack(written, dim=1)
        return nn.functional.pad(tokens, (0, max_tokens - tokens.shape[1]))


# ---------------------------------------------------------------------------- the model


@dataclass(frozen=True)
class MultimodalVAEConfig(VAEConfig):
    """Sizes, objective and optimiser of an autoencoder of pictures and captions."""

    latent_dim: int = 16  # Z of the code that picture and caption share
    style_dim: int = 16  # W of the picture's own code; 0: it has none
    fusion: Literal["poe", "moe", "mopoe"] = "mopoe"  # MVAE, MMVAE or MoPoE
    components: int = 8  # in each mixture of the learned p(z); 0: a standard normal
    joint_prior: int = 0  # hidden units of a second p(z), then trained alone; 0: none
    caption_weight: float = 20.0  # of log p(caption|z), which has far fewer terms
    sentence_dim: int = 192  # of the caption's feature
    embedding_dim: int = 128  # of a word's vector
    word_dropout: float = 0.2  # share of words that the caption decoder reads as <unk>


class SubsetTerms(NamedTuple):
    """What one subset of modalities contributes, each (B,) in nats or absent."""

    kl: Tensor  # log q(z|seen) - log p(z)
    image: Tensor | None  # log p(image|z, w)
    style_kl: Tensor | None  # KL(q(w|image, z) || p(w|z))
    caption: Tensor | None  # log p(caption|z)

    @property
    def elbo(self) -> Tensor:
        """The lower bound of log p of what is explained, (B,)."""
        bound = -self.kl
        for term in (self.image, self.caption):
            if term is not None:
                bound = bound + term
        return bound if self.style_kl is None else bound - self.style_kl


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
        hidden = config.hidden_dim
        self.encoder = PictureEncoder(image_size, config.channels, config.patch, hidden)
        self.image_expert = GaussianHead(hidden, config.latent_dim)
        # a mean: every word is one step from the code
        self.text = caption_encoder(
            len(vocabulary), config.embedding_dim, config.sentence_dim
        )
        self.caption_expert = GaussianHead(
            config.sentence_dim, config.latent_dim, hidden
        )
        self.prior: MixturePrior | None = None
        if config.components:
            self.prior = MixturePrior(config.latent_dim, 0, hidden, config.components)
        if config.style_dim:
            self.style_posterior = GaussianHead(
                hidden + config.latent_dim, config.style_dim, hidden
            )
            self.style_prior = MixturePrior(
                config.style_dim,
                config.latent_dim,
                hidden,
                max(config.components, 1),
            )
        self.decoder = PictureDecoder(
            config.latent_dim + config.style_dim,
            image_size,
            config.channels,
            config.patch,
            hidden,
        )
        self.likelihood = PixelLikelihood(
            config.likelihood, config.sigma, config.learn_sigma
        )
        self.captions = CaptionDecoder(
            vocabulary,
            config.latent_dim,
            config.embedding_dim,
            hidden,
            config.word_dropout,
        )

    def _fuse(self, experts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The product of some experts and of a standard normal one, which keeps it
        from being wider than that."""
        mus = torch.stack([mu for mu, _ in experts])
        logvars = torch.stack([logvar for _, logvar in experts])
        mus, logvars = (
            nn.functional.pad(t, (0, 0, 0, 0, 1, 0)) for t in (mus, logvars)
        )
        return product_of_experts(mus, logvars)

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
        experts = []
        if images is not None:
            experts.append(self.image_expert(self.encoder(images)))
        if tokens is not None and lengths is not None:
            experts.append(self.caption_expert(self._sentence(tokens, lengths)))
        if not experts:
            raise ValueError(
                "images or captions must be given: the posterior of no modality is the "
                "prior. Draw from model.prior."
            )
        return self._fuse(experts)

    def _sentence(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self.text(tokens, lengths)[1].float()

    def decode(self, z: Tensor, noise: Tensor) -> Tensor:
        """Mean pictures in [-1, 1] for codes (B, Z); noise for styles is (B, 2 W)."""
        code = z
        if self.style_dim:
            code = torch.cat([z, self.style_prior.sample(noise, z)], dim=1)
        return self.likelihood.mean(self.decoder(code))

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
        experts, features = {}, None
        if images is not None:
            features = self.encoder(images)
            experts["image"] = self.image_expert(features)
        if tokens is not None and lengths is not None:
            experts["caption"] = self.caption_expert(self._sentence(tokens, lengths))
        usable = [
            (i, s) for i, s in enumerate(self.subsets) if set(s.seen) <= set(experts)
        ]
        if not usable:
            raise ValueError(
                "images or captions must be given; a batch of neither teaches nothing."
            )
        z_noise, w_noise = noise.split([self.latent_dim, self.style_dim], dim=2)
        posteriors = [
            self._fuse([experts[name] for name in subset.seen]) for _, subset in usable
        ]
        codes = [
            reparameterise(mu, logvar, z_noise[:, i])
            for (i, _), (mu, logvar) in zip(usable, posteriors, strict=True)
        ]
        kls = self._divergences(codes, posteriors)

        # Each network runs once, on the codes of all subsets that it must explain.
        pictured = [k for k, (_, s) in enumerate(usable) if "image" in s.explained]
        told = [k for k, (_, s) in enumerate(usable) if "caption" in s.explained]
        image: dict[int, Tensor] = {}
        style_kl: dict[int, Tensor] = {}
        caption: dict[int, Tensor] = {}
        if images is not None and features is not None and pictured:
            log_p, kl = self._explain(
                _repeat(images, len(pictured)),
                _repeat(features, len(pictured)),
                torch.cat([codes[k] for k in pictured]),
                torch.cat([w_noise[:, usable[k][0]] for k in pictured]),
            )
            image = dict(zip(pictured, log_p.chunk(len(pictured)), strict=True))
            if kl is not None:
                style_kl = dict(zip(pictured, kl.chunk(len(pictured)), strict=True))
        if tokens is not None and lengths is not None and told:
            log_p = self.captions(
                torch.cat([codes[k] for k in told]),
                _repeat(tokens, len(told)),
                _repeat(lengths, len(told)),
            )
            caption = dict(zip(told, log_p.chunk(len(told)), strict=True))
        return {
            subset.seen: SubsetTerms(
                kls[k], image.get(k), style_kl.get(k), caption.get(k)
            )
            for k, (_, subset) in enumerate(usable)
        }

    def _divergences(
        self, codes: Sequence[Tensor], posteriors: Sequence[tuple[Tensor, Tensor]]
    ) -> Sequence[Tensor]:
        """KL(q || p) of every subset, (B,) each: exact, or estimated at its code."""
        if self.prior is None:
            return [gaussian_kl(mu, logvar) for mu, logvar in posteriors]
        log_q = [
            gaussian_log_prob(z, mu, logvar)
            for z, (mu, logvar) in zip(codes, posteriors, strict=True)
        ]
        log_p = self.prior.log_prob(torch.cat(list(codes))).chunk(len(codes))
        return [q - p for q, p in zip(log_q, log_p, strict=True)]

    def _explain(
        self, images: Tensor, features: Tensor, z: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """log p(x|z, w) and the cost of w, (B,) each, for codes z."""
        if not self.style_dim:
            return self.likelihood(images, self.decoder(z)), None
        mu, logvar = self.style_posterior(torch.cat([features, z], dim=1))
        w = reparameterise(mu, logvar, noise)
        decoded = self.decoder(torch.cat([z, w], dim=1))
        kl = gaussian_log_prob(w, mu, logvar) - self.style_prior.log_prob(w, z)
        return self.likelihood(images, decoded), kl


def _repeat(tensor: Tensor, times: int) -> Tensor:
    """(B, ...) to (times B, ...), the whole batch again and again."""
    return torch.cat([tensor] * times)


# ------------------------------------------------------------------------- the training


def joint_prior(config: MultimodalVAEConfig) -> MixturePrior:
    """The second prior of a config, untrained."""
    return MixturePrior(
        config.latent_dim, 0, config.joint_prior, max(config.components, 1)
    )


class MultimodalVAETask:
    """Trains a ``MultimodalVAE`` on every subset that its fusion asks for.

    The prior of the bound has to cover the codes of captions as well, and a caption
    that leaves something open has a code between the clumps of pictures' codes: there
    each decoder settles by itself what is open, and the two disagree. A config with
    ``joint_prior`` asks for a second training, which begins with the weights of a
    finished one (``start_from``), keeps them as they are, and fits another prior to the
    codes of pictures alone (Ghosh et al. 2020, section 4). Joint samples come from it.
    """

    phases: tuple[str, ...] = ("mvae",)
    averaged: tuple[str, ...]
    networks: dict[str, nn.Module]

    def __init__(
        self,
        config: MultimodalVAEConfig,
        image_size: int,
        vocabulary: Vocabulary,
        max_tokens: int,
    ) -> None:
        self.config = config
        self.given = (image_size, vocabulary, max_tokens)
        self.model = MultimodalVAE(config, image_size, vocabulary)
        self.networks = {"mvae": self.model}
        if config.joint_prior:
            self.model.requires_grad_(False)
            self.networks["joint_prior"] = joint_prior(config)
        self.averaged = tuple(self.networks)

    @classmethod
    def build(
        cls, config: MultimodalVAEConfig, dataset: CaptionedDataset
    ) -> MultimodalVAETask:
        """The task for a data set's pictures and captions."""
        return cls(config, dataset.image_size, dataset.vocabulary, dataset.max_tokens)

    @staticmethod
    def defaults(
        scale: str, dataset_name: str
    ) -> tuple[MultimodalVAEConfig, dict[str, Any], dict[str, Any]]:
        """Settings of a scale: of the task, of the training, of the data set."""
        config, training, options = picture_defaults(scale, dataset_name)
        if scale == "smoke":
            config |= {"style_dim": 4, "sentence_dim": 16, "embedding_dim": 16}
        elif scale == "laptop":
            config |= {"style_dim": 8, "sentence_dim": 96, "embedding_dim": 64}
        else:
            training["steps"] = 12_000
            options["language"] = "both"
        if scale == "full" and dataset_name == "shapes":
            # Two terms a step, not three; and words that weigh about what pixels do.
            config |= {"fusion": "moe", "caption_weight": 50.0}
        if scale == "full" and dataset_name == "emoji":
            # thousands of single pictures: more to tell apart, and more beyond words;
            # with all of those words the networks must fit into 12 MB
            config |= {"latent_dim": 32, "style_dim": 64, "channels": 28}
            config |= {"hidden_dim": 224, "embedding_dim": 64}
        return MultimodalVAEConfig(**config), training, options

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam (see ``adam``) for everything, or for the joint prior alone."""
        trained = "joint_prior" if self.config.joint_prior else "mvae"
        return {"mvae": adam(self.networks[trained], self.config.learning_rate)}

    def training_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
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
        tokens = trim(batch.tokens, batch.lengths)
        terms = self.networks["mvae"](batch.images, tokens, batch.lengths, noise)
        weight = kl_weight(step.index, config.kl_warmup_steps, config.beta)
        costs, logged = [], {}
        for seen, (kl, image, style_kl, caption) in terms.items():
            cost = weight * kl
            if image is not None:
                cost = cost - image
            if style_kl is not None:
                cost = cost + weight * style_kl
            if caption is not None:
                cost = cost - config.caption_weight * caption
            costs.append(cost.mean())
            name = "+".join(seen)
            logged[f"elbo {name}"] = terms[seen].elbo.mean()
            logged[f"kl {name}"] = kl.mean()
            if caption is not None:
                logged[f"caption {name}"] = caption.mean()
        return {"loss": torch.stack(costs).mean(), **logged}

    def sampler(self, networks: Mapping[str, nn.Module]) -> MultimodalVAESampler:
        """A sampler with the given network's weights."""
        sampler = MultimodalVAESampler(self.config, *self.given)
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

    config: MultimodalVAEConfig
    config_class = MultimodalVAEConfig

    def __init__(
        self,
        config: MultimodalVAEConfig,
        image_size: int,
        vocabulary: Vocabulary,
        max_tokens: int,
    ) -> None:
        super().__init__(config, image_size, vocabulary, max_tokens)
        self.model = MultimodalVAE(config, image_size, vocabulary)
        self.joint_prior = joint_prior(config) if config.joint_prior else None

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages it writes: "en", "zh" or both."""
        language = self.vocabulary.language
        return ("en", "zh") if language == "both" else (language,)

    @torch.no_grad()
    def sample(self, captions: Sequence[str], seed: int = 0) -> Tensor:
        """Text to image: pictures (B, 3, H, W) in [-1, 1], one for each caption.

        Args:
            captions: what to draw.
            seed: of z and w, which decide what the caption leaves open.

        Raises:
            ValueError: an empty caption or list, or a caption without a known word.
        """
        tokens, lengths = self.read_captions(captions)
        mu, logvar = self.model.posterior(tokens=tokens, lengths=lengths)
        z_noise, w_noise = self._noise(len(mu), self.config.latent_dim, seed)
        return self.model.decode(reparameterise(mu, logvar, z_noise), w_noise)

    @torch.no_grad()
    def caption(self, images: Tensor, language: str | None = None) -> list[str]:
        """Image to text: a caption for each picture (B, 3, H, W), at the mean code.

        Args:
            images: in [-1, 1].
            language: "en" or "zh", one that the model learned; the first by default.

        Raises:
            ValueError: pictures out of range or of another size, or another language.
        """
        if not -1 <= images.min().item() <= images.max().item() <= 1:
            raise ValueError(
                f"images must lie in [-1, 1]; got values in [{images.min():g}, "
                f"{images.max():g}]."
            )
        mu, _ = self.model.posterior(images=images.to(self.device))
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
        z, w_noise = self._noise(count, size, seed)
        if prior is not None:
            z = prior.sample(z)
        return self.model.decode(z, w_noise), self._write(z, language)

    def _noise(self, count: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
        """Noise (count, size) for z, and (count, 2 W) for w."""
        sizes = (size, 2 * self.config.style_dim)
        noise = normal_noise(count, sum(sizes), seed, self.device)
        z_noise, w_noise = noise.split(sizes, dim=1)
        return z_noise, w_noise

    def _write(self, z: Tensor, language: str | None) -> list[str]:
        language = language or self.languages[0]
        if language not in self.languages:
            raise ValueError(
                f"language must be one of {', '.join(self.languages)}, which the model "
                f"learned; got {language!r}."
            )
        tokens = self.model.captions.write(z, language, self.max_tokens)
        return self.vocabulary.decode(tokens)
