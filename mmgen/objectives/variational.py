r"""The evidence lower bound, its parts, and the likelihoods of pictures; all in nats.

Kingma and Welling, *Auto-Encoding Variational Bayes*, ICLR 2014.
Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, ICLR 2016.
Bowman et al., *Generating Sentences from a Continuous Space*, CoNLL 2016 (warm-up).
Kingma et al., *Improving Variational Inference with Inverse Autoregressive Flow*,
NeurIPS 2016 (free bits).
Rybkin, Daniilidis and Levine, *Simple and Effective VAE Training with Calibrated
Decoders*, ICML 2021 (one learned scale).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

# A density narrower than one grey level of [-1, 1] rewards what nobody can see.
GREY_LEVEL = 2 / 255


def gaussian_kl_terms(
    mu: Tensor,
    logvar: Tensor,
    prior_mu: Tensor | None = None,
    prior_logvar: Tensor | None = None,
) -> Tensor:
    r"""KL divergence of diagonal Gaussians, dimension by dimension.

    .. math:: \mathrm{KL}_d = \tfrac12\Big(e^{\delta_d} - 1 - \delta_d
              + \frac{(\mu_d - m_d)^2}{s_d^2}\Big),
              \qquad \delta_d = \log\sigma_d^2 - \log s_d^2

    Args:
        mu, logvar: of q, shape (..., Z).
        prior_mu, prior_logvar: m and log s² of p, broadcastable to (..., Z); standard
            normal where left out.

    Returns:
        Shape (..., Z), each at least 0; infinite, not NaN, where it exceeds the type's
        range.

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
    """KL divergence of diagonal Gaussians, **summed** over dimensions.

    Args:
        mu, logvar: of q, shape (B, Z).
        prior_mu, prior_logvar: of p, standard normal where left out.

    Returns:
        Shape (B,), see ``gaussian_kl_terms``.

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
    """The evidence lower bound with its two terms apart."""

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
    """Log-density of a diagonal Gaussian at z, (..., Z) to (...)."""
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
        One estimate of the bound for each picture, shape (B,).

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
    closes the channel before anything was sent through it.

    Args:
        index: step, from 0.
        warmup_steps: steps until the weight is beta, and stays.
        beta: the final weight.

    Source:
        Bowman et al. 2016; beta: Higgins et al., *beta-VAE*, ICLR 2017.
    """
    return beta * min(1.0, (index + 1) / (warmup_steps + 1))


def free_bits(kl_terms: Tensor, nats: float) -> Tensor:
    r"""A KL that asks nothing of a dimension as long as it carries under ``nats``.

    .. math:: \sum_d \max\big(\lambda, \tfrac1B \sum_b \mathrm{KL}_{bd}\big)

    Args:
        kl_terms: KL of each dimension, shape (B, Z).
        nats: λ >= 0; 0 gives the plain mean KL.

    Returns:
        A scalar.

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
    r"""Log-density of pictures under a Gaussian for every pixel and channel.

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
    errors = (images - mean).flatten(1)  # (B, D)
    squared = errors.square().sum(dim=1)  # before σ: one number a picture to scale
    normaliser = errors.shape[1] * (torch.log(sigma) + 0.5 * math.log(2 * math.pi))
    return -0.5 * squared / sigma**2 - normaliser


def bernoulli_log_likelihood(images: Tensor, logits: Tensor) -> Tensor:
    r"""Log-probability of black-and-white pictures, pixels independent.

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
            then sets it to the root mean square error that is left, and so weighs the
            two terms by itself.

    Raises:
        ValueError: an unknown ``kind``, or a ``sigma`` below one grey level (2/255).

    Source:
        Rybkin et al. 2021, eq. 4-5.
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
        """log p(x|z), (B,), of images (B, 3, H, W) given decoder output."""
        decoded = decoded.float()  # half precision cannot sum 12,288 squares
        if self.kind == "bernoulli":
            return bernoulli_log_likelihood((images + 1) / 2, decoded)
        return gaussian_log_likelihood(images, decoded, self.sigma)

    def mean(self, decoded: Tensor) -> Tensor:
        """The mean picture in [-1, 1], shape (B, 3, H, W)."""
        if self.kind == "bernoulli":
            return 2 * torch.sigmoid(decoded) - 1
        return decoded.clamp(-1, 1)
