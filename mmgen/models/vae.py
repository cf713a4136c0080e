r"""Variational autoencoders: of pictures, and of pictures with a condition.

A decoder turns a latent code z into a distribution over pictures, an encoder guesses
which codes a picture may have come from, and both climb a lower bound of log p(x). The
file reads in the chapter's order: the bound and its parts, the likelihoods, the
networks, ``VAE`` and ``ConditionalVAE``, the training tasks, and the samplers that are
left when training is over. Several modalities: ``mmgen.models.multimodal_vae``.

Kingma and Welling, *Auto-Encoding Variational Bayes*, ICLR 2014.
Sohn, Lee and Yan, *Learning Structured Output Representation using Deep Conditional
Generative Models*, NeurIPS 2015.
Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, ICLR 2016.
Kingma et al., *Improving Variational Inference with Inverse Autoregressive Flow*,
NeurIPS 2016 (free bits).
Rybkin, Daniilidis and Levine, *Simple and Effective VAE Training with Calibrated
Decoders*, ICML 2021 (one learned scale).
Ulyanov, Vedaldi and Lempitsky, *Instance Normalization*, arXiv 1607.08022, 2016.
Germain et al., *MADE: Masked Autoencoder for Distribution Estimation*, ICML 2015.
Papamakarios, Pavlakou and Murray, *Masked Autoregressive Flow for Density Estimation*,
NeurIPS 2017 (MADE with mixtures of Gaussians).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, silu

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.text import TextEncoder

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmgen.data.batch import Batch
    from mmgen.data.dataset import CaptionedDataset

# |log σ²| that a head may give: σ from 1/400 to 400, so that no exponential overflows.
LOGVAR_BOUND = 12.0
# A density narrower than one grey level of [-1, 1] rewards what nobody can see.
GREY_LEVEL = 2 / 255
GROUPS = 4  # of a group normalisation


# ------------------------------------------------------------- the bound and its parts


def gaussian_kl_terms(
    mu: Tensor,
    logvar: Tensor,
    prior_mu: Tensor | None = None,
    prior_logvar: Tensor | None = None,
) -> Tensor:
    r"""KL divergence of diagonal Gaussians, dimension by dimension, in nats.

    .. math:: \mathrm{KL}_d = \tfrac12\Big(e^{\delta_d} - 1 - \delta_d
              + \frac{(\mu_d - m_d)^2}{s_d^2}\Big),
              \qquad \delta_d = \log\sigma_d^2 - \log s_d^2

    Args:
        mu, logvar: of q, shape (..., Z).
        prior_mu, prior_logvar: m and log s² of p, broadcastable to (..., Z); standard
            normal where left out.

    Returns:
        Shape (..., Z), each at least 0. Where a variance ratio or a squared distance
        exceeds the type's range, the divergence does too: the result is infinite, not
        NaN.

    Source:
        Kingma and Welling 2014, appendix B, for a standard normal p.
    """
    delta = logvar if prior_logvar is None else logvar - prior_logvar
    squared = (mu if prior_mu is None else mu - prior_mu) ** 2
    if prior_logvar is not None:
        squared = squared * torch.exp(-prior_logvar)
    # expm1 keeps the digits that exp(δ) - 1 loses where q is close to p
    return 0.5 * (torch.expm1(delta) - delta + squared)


def gaussian_kl(
    mu: Tensor,
    logvar: Tensor,
    prior_mu: Tensor | None = None,
    prior_logvar: Tensor | None = None,
) -> Tensor:
    """KL divergence of diagonal Gaussians in nats, **summed** over dimensions.

    Args:
        mu, logvar: of q, shape (B, Z).
        prior_mu, prior_logvar: of p, standard normal where left out.

    Returns:
        Shape (B,), at least 0 (see ``gaussian_kl_terms``, also for overflow).

    Raises:
        ValueError: ``mu`` and ``logvar`` of different shapes.

    Source:
        Kingma and Welling 2014, appendix B. AttnGAN's code takes the mean over its 100
        dimensions where this is the sum, so its term is 100 times smaller.
    """
    if mu.shape != logvar.shape:
        raise ValueError(
            f"mu and logvar must have one shape; got {tuple(mu.shape)} and "
            f"{tuple(logvar.shape)}."
        )
    return gaussian_kl_terms(mu, logvar, prior_mu, prior_logvar).sum(dim=-1)


def reparameterise(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    r"""A sample of a Gaussian as a differentiable function of its parameters.

    .. math:: z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim N(0, I)

    Args:
        mu, logvar: shape (..., Z).
        noise: standard normal ε, broadcastable with them (K samples: (K, B, Z)).

    Returns:
        Samples z, of the broadcast shape.
    """
    return mu + torch.exp(0.5 * logvar) * noise


class ELBO(NamedTuple):
    """The evidence lower bound with its two terms apart, in nats."""

    reconstruction: Tensor  # (B,) E_q[log p(x|z)]: how well codes explain the picture
    kl: Tensor  # (B,) KL(q(z|x) || p(z)): what the codes cost

    @property
    def value(self) -> Tensor:
        """The bound itself, reconstruction - kl, shape (B,)."""
        return self.reconstruction - self.kl


def elbo(
    log_likelihood: Tensor,
    mu: Tensor,
    logvar: Tensor,
    prior_mu: Tensor | None = None,
    prior_logvar: Tensor | None = None,
) -> ELBO:
    r"""The evidence lower bound, with the divergence in closed form.

    .. math:: \log p(x) \ge E_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x) \,\|\, p(z))

    Args:
        log_likelihood: log p(x|z) for z ~ q, shape (B,), or (S, B) for S samples of z,
            which are averaged.
        mu, logvar: of q(z|x), shape (B, Z).
        prior_mu, prior_logvar: of p(z), standard normal where left out.

    Returns:
        Both terms, shape (B,) each.

    Source:
        Kingma and Welling 2014, eq. 3 and 10.
    """
    if log_likelihood.ndim == 2:
        log_likelihood = log_likelihood.mean(dim=0)
    return ELBO(log_likelihood, gaussian_kl(mu, logvar, prior_mu, prior_logvar))


def gaussian_log_prob(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """Log-density of a diagonal Gaussian at z, (..., Z) to (...), in nats."""
    squared = (z - mu) ** 2 * torch.exp(-logvar)
    return -0.5 * (squared + logvar + math.log(2 * math.pi)).sum(dim=-1)


def iwae_bound(log_weights: Tensor) -> Tensor:
    r"""The importance-weighted bound of log p(x) from K samples of q.

    .. math:: \mathcal L_K = E\Big[\log \frac1K \sum_{k=1}^K w_k\Big], \qquad
              w_k = \frac{p(x|z_k)\,p(z_k)}{q(z_k|x)}

    K = 1 is the ELBO; the bound rises with K towards log p(x).

    Args:
        log_weights: log w, shape (K, B) with K >= 1.

    Returns:
        One estimate of the bound for each picture, shape (B,), in nats.

    Raises:
        ValueError: no sample.

    Source:
        Burda et al. 2016, eq. 8.
    """
    if log_weights.ndim != 2 or len(log_weights) == 0:
        raise ValueError(
            f"log_weights must have shape (K, B) with K >= 1; got "
            f"{tuple(log_weights.shape)}."
        )
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))


def kl_weight(index: int, warmup_steps: int, beta: float = 1.0) -> float:
    """Weight of the KL term at step ``index``: from near 0 in a line to ``beta``.

    A decoder that has learned nothing has no use for z, and a KL at full weight then
    closes the channel before anything was sent through it (Bowman et al., *Generating
    Sentences from a Continuous Space*, 2016; beta: Higgins et al. 2017).

    Args:
        index: step, from 0.
        warmup_steps: steps until the weight is beta, and stays.
        beta: the final weight.
    """
    return beta * min(1.0, (index + 1) / (warmup_steps + 1))


def free_bits(kl_terms: Tensor, nats: float) -> Tensor:
    r"""A KL that asks nothing of a dimension as long as it carries under ``nats``.

    .. math:: \sum_d \max\big(\lambda, \tfrac1B \sum_b \mathrm{KL}_{bd}\big)

    Args:
        kl_terms: KL of each dimension, shape (B, Z).
        nats: λ >= 0; 0 gives the plain mean KL.

    Returns:
        A scalar in nats.

    Raises:
        ValueError: a negative λ.

    Source:
        Kingma et al. 2016, eq. 15 (one dimension a group).
    """
    if nats < 0:
        raise ValueError(f"nats must be at least 0; got {nats}.")
    return kl_terms.mean(dim=0).clamp(min=nats).sum()


# ------------------------------------------------------------------------- likelihoods


def _check_range(images: Tensor, low: float, high: float, name: str) -> None:
    """Raise where a picture leaves [low, high]; only on the CPU.

    Looking at values on a GPU would make every training step wait for it.
    """
    if images.device.type != "cpu" or torch.compiler.is_compiling():
        return
    smallest, largest = images.min().item(), images.max().item()
    if not (low <= smallest and largest <= high):  # "not" also catches NaN
        raise ValueError(
            f"images of a {name} likelihood must lie in [{low:g}, {high:g}]; got "
            f"values in [{smallest:g}, {largest:g}]. Divide 8-bit pictures by 127.5 "
            f"and subtract 1 to reach [-1, 1]; add 1 and halve to go on to [0, 1]."
        )


def gaussian_log_likelihood(images: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
    r"""Log-density of pictures under a Gaussian for every pixel and channel, in nats.

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i)^2}{2\sigma^2}
              - D \log \sigma - \tfrac D2 \log 2\pi

    Args:
        images: (B, 3, H, W) in [-1, 1].
        mean: the decoder's picture μ, (B, 3, H, W).
        sigma: above 0, one for all pixels, shape ().

    Returns:
        Shape (B,). It is the log of a density: it may be positive.

    Raises:
        ValueError: pictures outside [-1, 1] (looked at on the CPU only).
    """
    _check_range(images, -1, 1, "Gaussian")
    errors = (images - mean).flatten(1)
    squared = errors.square().sum(dim=1)  # before σ: one number a picture to scale
    normaliser = errors.shape[1] * (torch.log(sigma) + 0.5 * math.log(2 * math.pi))
    return -0.5 * squared / sigma**2 - normaliser


def bernoulli_log_likelihood(images: Tensor, logits: Tensor) -> Tensor:
    r"""Log-probability of black-and-white pictures, pixels independent, in nats.

    .. math:: \log p(x|z) = \sum_i x_i \log \pi_i + (1 - x_i) \log(1 - \pi_i), \qquad
              \pi = \mathrm{sigmoid}(\mathrm{logits})

    For grey values between 0 and 1 this is the usual cross-entropy, but no longer the
    log of a probability (Loaiza-Ganem and Cunningham 2019 supply what is missing).

    Args:
        images: (B, C, H, W) in [0, 1].
        logits: the same shape.

    Returns:
        Shape (B,), at most 0.

    Raises:
        ValueError: pictures outside [0, 1] (looked at on the CPU only).
    """
    _check_range(images, 0, 1, "Bernoulli")
    terms = binary_cross_entropy_with_logits(logits, images, reduction="none")
    return -terms.flatten(1).sum(dim=1)


class PixelLikelihood(nn.Module):
    """p(x|z) for pictures in [-1, 1], given what a decoder puts out.

    Args:
        kind: "gaussian", or "bernoulli" (pictures are then moved to [0, 1]).
        sigma: of the Gaussian, in [-1, 1] units; the starting point if it is learned.
        learn_sigma: whether σ, one number for all pixels, is a parameter. The bound
            then sets it to the root mean square error that is left (Rybkin et al. 2021,
            eq. 4-5), and so weighs the two terms by itself.

    Raises:
        ValueError: an unknown ``kind``, or a ``sigma`` below one grey level (2/255).
    """

    log_excess: Tensor

    def __init__(self, kind: str, sigma: float, learn_sigma: bool) -> None:
        super().__init__()
        if kind not in ("gaussian", "bernoulli"):
            raise ValueError(
                f'likelihood must be "gaussian" or "bernoulli"; got {kind!r}.'
            )
        if not sigma > GREY_LEVEL:
            raise ValueError(
                f"sigma must exceed one grey level, 2/255 = {GREY_LEVEL:.4f}; got "
                f"{sigma}."
            )
        self.kind = kind
        start = torch.tensor(math.log(sigma - GREY_LEVEL))
        if learn_sigma and kind == "gaussian":
            self.log_excess = nn.Parameter(start)
        else:
            self.register_buffer("log_excess", start)

    @property
    def sigma(self) -> Tensor:
        """σ of the Gaussian, shape ()."""
        return GREY_LEVEL + torch.exp(self.log_excess)

    def forward(self, images: Tensor, decoded: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), of images (B, 3, H, W) given decoder output."""
        decoded = decoded.float()  # half precision cannot sum 12,288 squares
        if self.kind == "bernoulli":
            return bernoulli_log_likelihood((images + 1) / 2, decoded)
        return gaussian_log_likelihood(images, decoded, self.sigma)

    def mean(self, decoded: Tensor) -> Tensor:
        """The mean picture in [-1, 1], shape (B, 3, H, W)."""
        if self.kind == "bernoulli":
            return 2 * torch.sigmoid(decoded) - 1
        return decoded.clamp(-1, 1)


# ---------------------------------------------------------------------------- networks


def _widths(image_size: int, channels: int, patch: int) -> list[int]:
    """Channels at image_size / patch, half of it, and so on down to 4 pixels."""
    side = image_size // patch if patch >= 1 else 0
    halvings = int(math.log2(side / 4)) if side >= 8 else 0
    if halvings < 1 or 4 * 2**halvings * patch != image_size:
        raise ValueError(
            f"image_size / patch must be 8, 16, 32, 64, …, which the networks halve "
            f"down to 4; got {image_size} / {patch}."
        )
    if channels < GROUPS or channels % GROUPS:
        raise ValueError(f"channels must be a multiple of {GROUPS}; got {channels}.")
    return [channels * min(2**level, 8) for level in range(halvings + 1)]


class DownBlock(nn.Module):
    """Halve a feature map: a strided convolution and a residual one.

    Each channel of each picture is normalised by itself (Ulyanov et al. 2016). The
    networks of a VAE must not see the batch, for the bound is one picture's; and a
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

    What is where, and which colours there are, go two ways: the map of 4 x 4 places is
    normalised in every channel, and what that takes away comes back beside it: mean,
    least and most of every channel of the first layer. In one vector the large colours,
    those of the background, would hide for long that there is an object at all.

    Args:
        image_size: H = W; divided by ``patch``, a power of two from 8 on.
        channels: of the first feature map; doubled with each halving, up to 8 times.
        patch: side of the squares of pixels that the first layer takes as one. Work at
            full resolution costs most and, on pictures as plain as ours, gains least.
        feature_dim: F of the result.
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
            DownBlock(wide, deep) for wide, deep in pairwise(widths)
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
        features = self.stem(images)
        values = features.flatten(2)
        seen = [values.mean(dim=2), values.amin(dim=2), values.amax(dim=2)]  # (B, C)
        features = self.norm(features)
        for block in self.blocks:
            features = block(silu(features))
        places = self.places(features.flatten(1))  # of (B, C, 4, 4)
        colours = self.colours(torch.cat(seen, dim=1))
        return silu(self.loudness(places + colours))


class PictureDecoder(nn.Module):
    """Codes to what a ``PixelLikelihood`` needs: a code told to every place.

    Each place of a grid knows its coordinates and hears the whole code (Watters et al.
    2019, *Spatial Broadcast Decoder*, arXiv 1901.07017); "where" is then a comparison
    that every place makes for itself, not a pattern to be built up from 4 x 4. A coarse
    picture of 4 x 4 is added for what no coordinates tell, and residual convolutions,
    whose scales and shifts the code sets, work out the rest.

    Args:
        code_dim: size of the code: z, or z and a condition, side by side.
        image_size, patch: as for ``PictureEncoder``; the grid has image_size / patch
            places a side, and the last layer paints patch x patch pixels from each.
        channels: half the channels of the grid.
        hidden_dim: size of the code's image that steers every layer.
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
            nn.LayerNorm(hidden_dim),  # or fresh layers would hardly hear the code
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
        # One for each convolution; and the code has the last word too: what is where
        # times which colour is a product.
        self.modulate = nn.ModuleList(
            nn.Linear(hidden_dim, 2 * width) for _ in range(self.DEPTH + 1)
        )
        self.paint = nn.Conv2d(width, 3 * patch**2, 3, padding=1)
        self.arrange = nn.PixelShuffle(patch)

    def forward(self, code: Tensor) -> Tensor:
        """(B, code_dim) to (B, 3, H, W): means or logits."""
        code = self.embed(code)
        told = [
            layer(code)[:, :, None, None].chunk(2, dim=1) for layer in self.modulate
        ]
        coarse = self.spread(code).unflatten(1, (-1, 4, 4))
        features = self.place(self.grid) + self.tell(code)[:, :, None, None]
        features = features + self.enlarge(coarse)
        # scales and shifts of the last layer are of features as they are
        *steps, (last_scale, last_shift) = told
        for norm, conv, (scale, shift) in zip(
            self.norms, self.convs, steps, strict=True
        ):
            update = silu((1 + scale) * norm(features) + shift)
            features = features + conv(update)
        features = silu((1 + last_scale) * features + last_shift)
        return self.arrange(self.paint(features))


class GaussianHead(nn.Module):
    """Features to the mean and log-variance of a diagonal Gaussian.

    Args:
        feature_dim: size of the features.
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


class MaskedLinear(nn.Linear):
    """A linear map some of whose weights are zero for good.

    Args:
        mask: (out_features, in_features) bool, True where a weight may be.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_features) to (B, out_features)."""
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


class MixturePrior(nn.Module):
    r"""A learned density over codes that can have gaps: p(z), or p(z|c).

    Number by number, each a mixture of K Gaussians that depends on the numbers before
    it and on the condition:

    .. math:: p(z|c) = \prod_d \sum_k \pi_{dk}\,
              N(z_d;\, \mu_{dk}, \sigma_{dk}^2), \qquad
              (\pi, \mu, \sigma)_d = f_d(z_1, \dots, z_{d-1}, c)

    "A red circle" leaves open where: five places, and nothing in between. A Gaussian
    around their mean draws a faint circle nowhere, or none; a mixture picks a place.
    One masked network gives all parameters at once (Germain et al. 2015), so a density
    costs one pass; a sample costs one for each number.

    Args:
        latent_dim: Z.
        condition_dim: C; 0: there is no condition.
        hidden_dim: of the network's two layers.
        components: K, at least 1.

    Raises:
        ValueError: no component.

    Source:
        Papamakarios et al. 2017, section 2.1 and "MADE MoG" of section 4.
    """

    def __init__(
        self, latent_dim: int, condition_dim: int, hidden_dim: int, components: int
    ) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"components must be at least 1; got {components}.")
        self.latent_dim, self.components = latent_dim, components
        # A unit of degree m sees z_1 to z_m; the parameters of z_d see degrees below d.
        given = torch.arange(1, latent_dim + 1)
        hidden = torch.arange(hidden_dim) % max(latent_dim - 1, 1) + 1
        wanted = given.repeat_interleave(3 * components)
        self.first = MaskedLinear(hidden[:, None] >= given)
        self.second = MaskedLinear(hidden[:, None] >= hidden)
        self.last = MaskedLinear(wanted[:, None] > hidden)
        with torch.no_grad():
            # Begin with components side by side: alike, they would learn alike.
            weight, mean, spread = self.last.bias.unflatten(
                0, (latent_dim, 3, components)
            ).unbind(1)
            weight.zero_()
            mean.copy_(torch.linspace(-1.5, 1.5, components).expand_as(mean))
            spread.fill_(-0.5)
        self.conditions = nn.ModuleList()
        if condition_dim:
            # The condition speaks to every layer, past all masks.
            self.conditions.append(nn.Linear(condition_dim, hidden_dim))
            self.conditions.append(nn.Linear(hidden_dim, hidden_dim))
            self.conditions.append(nn.Linear(hidden_dim, len(wanted)))

    @property
    def noise_dim(self) -> int:
        """Numbers of noise that a sample takes: which component, and where in it."""
        return 2 * self.latent_dim

    def _mixtures(
        self, z: Tensor, condition: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log π, μ and log σ of every number, (B, Z, K) each; |log σ| < 5."""
        hidden, heard, spoken = self.first(z), None, None
        if condition is not None:
            heard = silu(self.conditions[0](condition))
            hidden = hidden + heard
            heard = silu(self.conditions[1](heard))
            spoken = self.conditions[2](heard)
        hidden = silu(hidden)
        hidden = hidden + self.second(hidden)
        if heard is not None:
            hidden = hidden + heard
        result = self.last(silu(hidden))
        if spoken is not None:
            result = result + spoken
        shape = (self.latent_dim, 3, self.components)
        logits, mean, log_sigma = result.unflatten(1, shape).unbind(2)
        return logits.log_softmax(dim=2), mean, 5 * torch.tanh(log_sigma / 5)

    def log_prob_terms(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p(z_d | z_1 … z_d-1, c) in nats, (B, Z) to (B, Z); c is (B, C)."""
        # Densities need all digits: no half precision in here.
        with torch.autocast(z.device.type, enabled=False):
            given = None if condition is None else condition.float()
            log_weight, mean, log_sigma = self._mixtures(z.float(), given)
            scaled = (z.float()[..., None] - mean) * torch.exp(-log_sigma)
            log_p = -0.5 * (scaled**2 + math.log(2 * math.pi)) - log_sigma
            return torch.logsumexp(log_weight + log_p, dim=2)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p(z|c) in nats, (B, Z) to (B,)."""
        return self.log_prob_terms(z, condition).sum(dim=1)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """``log_prob``, for a training that calls networks and not their methods."""
        return self.log_prob(z, condition)

    def sample(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes (B, Z) of standard normal noise (B, 2 Z).

        The first half of the noise picks components, by its probability under a normal
        distribution; the second half is where in the component a number lies.
        """
        picks, places = noise.chunk(2, dim=1)
        uniform = 0.5 * (1 + torch.erf(picks / math.sqrt(2)))
        drawn: list[Tensor] = []
        for d in range(self.latent_dim):
            rest = torch.zeros_like(places[:, d:])
            z = torch.cat([torch.stack(drawn, dim=1), rest], 1) if drawn else rest
            log_weight, mean, log_sigma = (
                t[:, d] for t in self._mixtures(z, condition)
            )
            below = torch.exp(log_weight).cumsum(dim=1)[:, :-1]  # (B, K - 1)
            k = (uniform[:, d, None] > below).sum(dim=1, keepdim=True)
            sigma = torch.exp(log_sigma.gather(1, k))[:, 0]
            drawn.append(mean.gather(1, k)[:, 0] + sigma * places[:, d])
        return torch.stack(drawn, dim=1)


# ------------------------------------------------------------------- a VAE of pictures


@dataclass(frozen=True)
class VAEConfig:
    """Sizes, objective and optimiser of a variational autoencoder."""

    latent_dim: int = 32  # Z, dimensions of the code
    channels: int = 32  # of the largest feature map; doubled with each halving
    patch: int = 2  # side of the squares of pixels that the networks take as one
    hidden_dim: int = 256  # of the vectors between convolutions and codes
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"  # p(x|z) of a pixel
    sigma: float = 0.1  # σ of the Gaussian, in [-1, 1] units; the start if learned
    learn_sigma: bool = True  # whether σ is a parameter
    beta: float = 1.0  # weight of the KL after its warm-up; 1 is the bound itself
    kl_warmup_steps: int = 0  # steps until the weight of the KL has got to beta
    free_bits: float = 0.0  # nats of KL a dimension may use at no cost
    learning_rate: float = 1e-3  # of Adam

    def check(self, image_size: int) -> None:
        """Refuse what cannot be a VAE of pictures of this size.

        Raises:
            ValueError: no latent dimension, or more of them than a picture has values;
                a negative weight.
        """
        values = 3 * image_size**2
        if not 1 <= self.latent_dim <= values:
            raise ValueError(
                f"latent_dim must lie in 1..{values}, the values of a picture of "
                f"{image_size} x {image_size} pixels; got {self.latent_dim}. A code "
                f"longer than the data has nothing to compress."
            )
        for name in ("beta", "kl_warmup_steps", "free_bits"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must be at least 0; got {getattr(self, name)}."
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
        self.latent_dim = config.latent_dim
        self.encoder = PictureEncoder(
            image_size, config.channels, config.patch, config.hidden_dim
        )
        self.posterior = GaussianHead(config.hidden_dim, config.latent_dim)
        self.decoder = PictureDecoder(
            config.latent_dim,
            image_size,
            config.channels,
            config.patch,
            config.hidden_dim,
        )
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
        return VAEOutput(
            decoded,
            self.likelihood(images, decoded),
            gaussian_kl_terms(mu, logvar),
            mu,
            logvar,
        )

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


def _objective(
    output: VAEOutput, config: VAEConfig, index: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, and what to log of it."""
    weight = kl_weight(index, config.kl_warmup_steps, config.beta)
    reconstruction, kl = output.elbo
    cost = free_bits(output.kl_terms, config.free_bits)
    loss = weight * cost - reconstruction.mean()
    return loss, {
        "elbo": (reconstruction - kl).mean(),
        "reconstruction": reconstruction.mean(),
        "kl": kl.mean(),
    }


def adam(network: nn.Module, learning_rate: float) -> Optimizer:
    """Adam with a memory of a hundred steps for squared gradients, not a thousand.

    The gradients of a Gaussian likelihood fall a hundredfold while pictures come into
    focus; with the usual 0.999 their early size goes on to throttle everything else.
    """
    return torch.optim.Adam(network.parameters(), learning_rate, betas=(0.9, 0.99))


class VAETask:
    """Trains a ``VAE``: one optimiser, one phase; captions are not looked at."""

    phases: tuple[str, ...] = ("vae",)
    averaged: tuple[str, ...] = ("vae",)
    networks: dict[str, nn.Module]

    def __init__(self, config: VAEConfig, image_size: int) -> None:
        self.config = config
        self.image_size = image_size
        self.networks = {"vae": VAE(config, image_size)}

    @classmethod
    def build(cls, config: VAEConfig, dataset: CaptionedDataset) -> VAETask:
        """The task for a data set's picture size."""
        return cls(config, dataset.image_size)

    @staticmethod
    def defaults(
        scale: str, dataset_name: str
    ) -> tuple[VAEConfig, dict[str, Any], dict[str, Any]]:
        """Settings of a scale: of the task, of the training, of the data set."""
        config, training, options = picture_defaults(scale, dataset_name)
        return VAEConfig(**config), training, options

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for everything (see ``adam``)."""
        return {"vae": adam(self.networks["vae"], self.config.learning_rate)}

    def training_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        """The negative bound of a batch, in nats a picture."""
        noise = step.randn(len(batch), self.config.latent_dim)
        output = self.networks["vae"](batch.images, noise)
        loss, logged = _objective(output, self.config, step.index)
        return {"loss": loss, **logged}

    def sampler(self, networks: Mapping[str, nn.Module]) -> VAESampler:
        """A sampler with the given network's weights."""
        sampler = VAESampler(self.config, self.image_size)
        sampler.model.load_state_dict(networks["vae"].state_dict())
        return sampler.eval()


def picture_defaults(
    scale: str, dataset_name: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings that all autoencoders share: of the task, the training, the data set."""
    options: dict[str, Any] = {"image_size": 64 if scale == "full" else 32}
    if dataset_name == "shapes":
        options["objects"] = (1,)
    if scale == "smoke":
        return (
            {"latent_dim": 8, "channels": 4, "patch": 4, "hidden_dim": 32},
            {"steps": 4, "batch_size": 8},
            options,
        )
    if scale == "laptop":
        return (
            {
                "latent_dim": 16,
                "channels": 16,
                "hidden_dim": 128,
                "learning_rate": 2e-3,
            },
            {"steps": 600, "batch_size": 64, "schedule": "cosine", "ema_decay": 0.98},
            options,
        )
    training = {
        "steps": 16_000,
        "batch_size": 128,
        "schedule": "cosine",
        "warmup_steps": 200,
        "ema_decay": 0.999,
        "precision": "bf16-mixed",
        "max_minutes": 8.0,
    }
    config: dict[str, Any] = {}
    if dataset_name == "shapes":
        # Flat colours need no finer grid. And with a σ of half the range a nat buys
        # what can be seen, so codes hold facts, which a prior can learn, not pixels.
        config = {"patch": 4, "sigma": 0.5, "learn_sigma": False}
    return config, training, options


# ------------------------------------------------ a VAE of pictures, given a condition


@dataclass(frozen=True)
class ConditionalVAEConfig(VAEConfig):
    """Sizes, objective and optimiser of a conditional variational autoencoder."""

    condition: Literal["sentence", "attributes"] = "sentence"  # what is given with z
    condition_dim: int = 192  # C of the condition's vector
    embedding_dim: int = 128  # of a word, or of an attribute's value
    attribute_dropout: float = 0.1  # how often an attribute is left unsaid in training
    latent_dim: int = 16  # Z: what the condition leaves open
    components: int = 8  # Gaussians in each mixture of the learned prior p(z|c)


def trim(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Leave out positions that no caption of a batch on the CPU reaches.

    Recurrent networks then take as many steps as there are words, and one for the end.
    On a GPU tokens stay as they are: fixed shapes and no waiting are worth more there.

    Args:
        tokens, lengths: captions, (B, T) and (B,).

    Returns:
        (B, T') with T' <= T.
    """
    if tokens.device.type != "cpu":
        return tokens
    return tokens[:, : int(lengths.max()) + 1]


class AttributeEncoder(nn.Module):
    """Attributes, some of them perhaps not said, to a vector.

    Args:
        sizes: number of values of each attribute.
        embedding_dim: of one value's vector.
        condition_dim: C of the result.
    """

    def __init__(
        self, sizes: Sequence[int], embedding_dim: int, condition_dim: int
    ) -> None:
        super().__init__()
        # Row 0 of every table stands for "not said", which a batch writes as -1.
        self.values = nn.ModuleList(
            nn.Embedding(size + 1, embedding_dim) for size in sizes
        )
        self.project = nn.Linear(embedding_dim * len(sizes), condition_dim)

    def forward(self, attributes: Tensor) -> Tensor:
        """(B, A) int64, -1 where an attribute is not said, to (B, C)."""
        columns = (attributes + 1).unbind(dim=1)
        vectors = [table(c) for table, c in zip(self.values, columns, strict=True)]
        return self.project(torch.cat(vectors, dim=1))


def caption_encoder(
    vocabulary_size: int, embedding_dim: int, feature_dim: int
) -> TextEncoder:
    """A text encoder whose sentence, a mean, differs from caption to caption at once.

    AttnGAN's words begin within 0.1 of zero. Biases then drown them: fresh means of any
    two captions agree up to a tenth of their size, and a decoder that has z to listen
    to hears no words. Here words begin with unit variance.

    Args:
        vocabulary_size, embedding_dim, feature_dim: as for ``TextEncoder``.
    """
    encoder = TextEncoder(
        vocabulary_size, embedding_dim, feature_dim, pooling="mean", dropout=0.0
    )
    nn.init.normal_(encoder.embedding.weight)
    return encoder


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
        vocabulary_size: V, for a sentence.
        attribute_sizes: number of values of each attribute, for attributes.

    Source:
        Sohn et al. 2015, eq. 4.
    """

    def __init__(
        self,
        config: ConditionalVAEConfig,
        image_size: int,
        vocabulary_size: int,
        attribute_sizes: Sequence[int],
    ) -> None:
        super().__init__()
        config.check(image_size)
        self.kind = config.condition
        if config.condition == "sentence":
            self.text = caption_encoder(
                vocabulary_size, config.embedding_dim, config.condition_dim
            )
        elif config.condition == "attributes":
            if not attribute_sizes:
                raise ValueError(
                    'condition="attributes" needs a data set with attributes; this one '
                    'has none. Choose condition="sentence".'
                )
            self.attributes = AttributeEncoder(
                attribute_sizes, config.embedding_dim, config.condition_dim
            )
        else:
            raise ValueError(
                f'condition must be "sentence" or "attributes"; got '
                f"{config.condition!r}."
            )
        # c and z begin equally long: of two inputs a decoder learns the louder one, and
        # is deaf to z beside a longer c, or to c where it is a faint mean of words.
        self.condition_norm = nn.LayerNorm(config.condition_dim)
        nn.init.constant_(
            self.condition_norm.weight,
            math.sqrt(config.latent_dim / config.condition_dim),
        )
        self.encoder = PictureEncoder(
            image_size, config.channels, config.patch, config.hidden_dim
        )
        self.posterior = GaussianHead(
            config.hidden_dim + config.condition_dim,
            config.latent_dim,
            config.hidden_dim,
        )
        self.prior = MixturePrior(
            config.latent_dim,
            config.condition_dim,
            config.hidden_dim,
            config.components,
        )
        self.decoder = PictureDecoder(
            config.latent_dim + config.condition_dim,
            image_size,
            config.channels,
            config.patch,
            config.hidden_dim,
        )
        self.likelihood = PixelLikelihood(
            config.likelihood, config.sigma, config.learn_sigma
        )

    def condition(
        self, tokens: Tensor, lengths: Tensor, attributes: Tensor | None
    ) -> Tensor:
        """The condition's vector c, shape (B, C).

        Args:
            tokens, lengths: captions, (B, T) and (B,); read where the model's condition
                is a sentence.
            attributes: (B, A), -1 where not said; read where it is attributes.
        """
        if self.kind == "sentence":
            return self.condition_norm(self.text(tokens, lengths)[1].float())
        if attributes is None:
            raise ValueError(
                "attributes must be given: this model was built for them. Use a data "
                'set whose batches have them, or condition="sentence".'
            )
        return self.condition_norm(self.attributes(attributes).float())

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Mean pictures in [-1, 1] for codes (B, Z) and conditions (B, C)."""
        return self.likelihood.mean(self.decoder(torch.cat([z, condition], dim=1)))

    def draw(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Pictures for conditions (B, C), codes drawn from the prior with noise.

        Args:
            condition: see ``condition``.
            noise: standard normal, (B, 2 Z), see ``MixturePrior.sample``.
        """
        return self.decode(self.prior.sample(noise, condition), condition)

    def forward(
        self,
        images: Tensor,
        tokens: Tensor,
        lengths: Tensor,
        attributes: Tensor | None,
        noise: Tensor,
    ) -> VAEOutput:
        """Encode, draw a code with ``noise`` (B, Z), decode, and weigh the result."""
        condition = self.condition(tokens, lengths, attributes)
        features = self.encoder(images)
        mu, logvar = self.posterior(torch.cat([features, condition], dim=1))
        z = reparameterise(mu, logvar, noise)
        decoded = self.decoder(torch.cat([z, condition], dim=1))
        # one dimension at a time: what is summed over is the last, of one
        log_q = gaussian_log_prob(z[..., None], mu[..., None], logvar[..., None])
        return VAEOutput(
            decoded,
            self.likelihood(images, decoded),
            log_q - self.prior.log_prob_terms(z, condition),
            mu,
            logvar,
        )


class ConditionalVAETask:
    """Trains a ``ConditionalVAE``: one optimiser, one phase."""

    phases: tuple[str, ...] = ("cvae",)
    averaged: tuple[str, ...] = ("cvae",)
    networks: dict[str, nn.Module]

    def __init__(
        self,
        config: ConditionalVAEConfig,
        image_size: int,
        vocabulary: Vocabulary,
        max_tokens: int,
        attributes: Mapping[str, Sequence[str]],
    ) -> None:
        self.config = config
        self.given = (image_size, vocabulary, max_tokens, attributes)
        sizes = [len(values) for values in attributes.values()]
        self.networks = {
            "cvae": ConditionalVAE(config, image_size, len(vocabulary), sizes)
        }

    @classmethod
    def build(
        cls, config: ConditionalVAEConfig, dataset: CaptionedDataset
    ) -> ConditionalVAETask:
        """The task for a data set's pictures, captions and attributes."""
        return cls(
            config,
            dataset.image_size,
            dataset.vocabulary,
            dataset.max_tokens,
            dataset.attributes,
        )

    @staticmethod
    def defaults(
        scale: str, dataset_name: str
    ) -> tuple[ConditionalVAEConfig, dict[str, Any], dict[str, Any]]:
        """Settings of a scale: of the task, of the training, of the data set."""
        config, training, options = picture_defaults(scale, dataset_name)
        if scale == "smoke":
            config |= {"condition_dim": 16, "embedding_dim": 16}
        elif scale == "laptop":
            config |= {"condition_dim": 96, "embedding_dim": 64}
        if scale == "full":
            options["language"] = "both"
        return ConditionalVAEConfig(**config), training, options

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for everything (see ``adam``)."""
        return {"cvae": adam(self.networks["cvae"], self.config.learning_rate)}

    def training_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        """The negative bound of log p(x|c) of a batch, in nats a picture."""
        noise = step.randn(len(batch), self.config.latent_dim)
        attributes = batch.attributes
        if self.config.condition == "attributes" and attributes is not None:
            draws = step.rand(*attributes.shape)
            unsaid = draws < self.config.attribute_dropout
            attributes = attributes.masked_fill(unsaid, -1)
        output = self.networks["cvae"](
            batch.images,
            trim(batch.tokens, batch.lengths),
            batch.lengths,
            attributes,
            noise,
        )
        loss, logged = _objective(output, self.config, step.index)
        return {"loss": loss, **logged}

    def sampler(self, networks: Mapping[str, nn.Module]) -> ConditionalVAESampler:
        """A sampler with the given network's weights."""
        sampler = ConditionalVAESampler(self.config, *self.given)
        sampler.model.load_state_dict(networks["cvae"].state_dict())
        return sampler.eval()


# -------------------------------------------------- what is left when training is over


def normal_noise(count: int, size: int, seed: int, device: torch.device) -> Tensor:
    """Standard normal noise (count, size), the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator).to(device)


class CaptionSampler(nn.Module):
    """What samplers that read captions share: words, noise, and arguments as JSON.

    Args:
        config: of the autoencoder.
        image_size: H = W of its pictures.
        vocabulary: of its captions.
        max_tokens: T, longer captions are cut.
    """

    config_class: type[VAEConfig]

    def __init__(
        self,
        config: VAEConfig,
        image_size: int,
        vocabulary: Vocabulary,
        max_tokens: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.image_size = image_size
        self.vocabulary = vocabulary
        self.max_tokens = max_tokens

    def init_args(self) -> dict[str, Any]:
        """What ``from_args`` needs, as JSON values."""
        return {
            "config": asdict(self.config),
            "image_size": self.image_size,
            "vocabulary": self.vocabulary.to_json(),
            "max_tokens": self.max_tokens,
        }

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> Self:
        """The sampler that ``init_args`` describes, with untrained weights."""
        config = cls.config_class(**args["config"])
        vocabulary = Vocabulary.from_json(args["vocabulary"])
        return cls(**{**args, "config": config, "vocabulary": vocabulary})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def read_captions(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens (B, T) and lengths (B,) of captions; unknown words are warned of.

        Raises:
            ValueError: no caption, an empty one, or one without any known word.
        """
        tokens, lengths = self.vocabulary.read(captions, self.max_tokens)
        return tokens.to(self.device), lengths.to(self.device)


class VAESampler(nn.Module):
    """Draws pictures from the prior; knows no captions.

    Args:
        config: of the autoencoder.
        image_size: H = W of its pictures.
    """

    def __init__(self, config: VAEConfig, image_size: int) -> None:
        super().__init__()
        self.config = config
        self.image_size = image_size
        self.model = VAE(config, image_size)

    def init_args(self) -> dict[str, Any]:
        """What ``from_args`` needs, as JSON values."""
        return {"config": asdict(self.config), "image_size": self.image_size}

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> VAESampler:
        """The sampler that ``init_args`` describes, with untrained weights."""
        return cls(VAEConfig(**args["config"]), args["image_size"])

    @torch.no_grad()
    def sample(self, captions: Sequence[str] | int, seed: int = 0) -> Tensor:
        """Pictures of codes drawn from the prior.

        Args:
            captions: how many pictures; or captions, of which only the number counts,
                so that this sampler can stand where one that reads them is expected.
            seed: of the codes.

        Returns:
            (B, 3, H, W) in [-1, 1], on the model's device.

        Raises:
            ValueError: no picture is asked for.
        """
        count = captions if isinstance(captions, int) else len(captions)
        if count < 1:
            raise ValueError("captions must ask for at least one picture; got none.")
        device = self.model.likelihood.log_excess.device
        return self.model.decode(
            normal_noise(count, self.config.latent_dim, seed, device)
        )


class ConditionalVAESampler(CaptionSampler):
    """Draws pictures for captions or for attributes.

    Args:
        config: of the autoencoder.
        image_size: H = W of its pictures.
        vocabulary: of its captions.
        max_tokens: T, longer captions are cut.
        attributes: names and values, as the data set has them.
    """

    config: ConditionalVAEConfig
    config_class = ConditionalVAEConfig

    def __init__(
        self,
        config: ConditionalVAEConfig,
        image_size: int,
        vocabulary: Vocabulary,
        max_tokens: int,
        attributes: Mapping[str, Sequence[str]],
    ) -> None:
        super().__init__(config, image_size, vocabulary, max_tokens)
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        sizes = [len(values) for values in self.attributes.values()]
        self.model = ConditionalVAE(config, image_size, len(vocabulary), sizes)

    def init_args(self) -> dict[str, Any]:
        """What ``from_args`` needs, as JSON values."""
        attributes = {name: list(values) for name, values in self.attributes.items()}
        return {**super().init_args(), "attributes": attributes}

    @torch.no_grad()
    def condition(
        self, captions: Sequence[str] | Sequence[Mapping[str, str]]
    ) -> Tensor:
        """Condition vectors (B, C) of captions, or of attributes where it reads those.

        Args:
            captions: for a model conditioned on attributes, either dictionaries such as
                ``{"shape": "circle"}``, or captions, in which the attributes' values
                are looked for word by word; what is not said is left open.

        Raises:
            ValueError: nothing the model can read; the message says what it knows.
        """
        if self.config.condition == "sentence":
            if any(not isinstance(caption, str) for caption in captions):
                raise ValueError(
                    "captions must be strings: this model reads sentences."
                )
            sentences = [str(caption) for caption in captions]
            tokens, lengths = self.read_captions(sentences)
            return self.model.condition(tokens, lengths, None)
        rows = torch.tensor([self._values(caption) for caption in captions])
        rows = rows.reshape(-1, len(self.attributes)).to(self.device)
        return self.model.condition_norm(self.model.attributes(rows))

    def _values(self, caption: str | Mapping[str, str]) -> list[int]:
        """Positions of the values that a caption or dictionary names, -1 if unsaid."""
        if isinstance(caption, str):
            text = f" {' '.join(caption.lower().split())} "
            said = {
                # the longest: "top left" also holds "left"
                name: max(found, key=len)
                for name, values in self.attributes.items()
                if (found := [value for value in values if f" {value} " in text])
            }
        else:
            said = dict(caption)
        wrong = {
            name: value
            for name, value in said.items()
            if value not in self.attributes.get(name, ())
        }
        if wrong or not said:
            known = "; ".join(
                f"{n}: {', '.join(v)}" for n, v in self.attributes.items()
            )
            raise ValueError(
                f"captions must name attributes that the model knows ({known}); got "
                f"{caption!r}."
            )
        return [
            values.index(said[name]) if name in said else -1
            for name, values in self.attributes.items()
        ]

    @torch.no_grad()
    def sample(
        self, captions: Sequence[str] | Sequence[Mapping[str, str]], seed: int = 0
    ) -> Tensor:
        """Pictures for captions (or attributes, see ``condition``).

        Args:
            captions: one for each picture.
            seed: of the codes, which decide what the caption leaves open.

        Returns:
            (B, 3, H, W) in [-1, 1], on the model's device.

        Raises:
            ValueError: an empty caption or list, or nothing the model can read.
        """
        condition = self.condition(captions)
        size = self.model.prior.noise_dim
        noise = normal_noise(len(condition), size, seed, condition.device)
        return self.model.draw(condition, noise)
