"""A learned density over codes: an autoregressive mixture of Gaussians.

Germain et al., *MADE: Masked Autoencoder for Distribution Estimation*, ICML 2015.
Papamakarios, Pavlakou and Murray, *Masked Autoregressive Flow for Density Estimation*,
NeurIPS 2017 (MADE with mixtures of Gaussians).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


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
            # The condition is added to every layer, past all masks.
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
        added: list[Tensor | float] = [0.0, 0.0, 0.0]
        if condition is not None:
            first = silu(self.conditions[0](condition))
            second = silu(self.conditions[1](first))
            added = [first, second, self.conditions[2](second)]
        hidden = silu(self.first(z) + added[0])
        hidden = hidden + self.second(hidden) + added[1]
        result = self.last(silu(hidden)) + added[2]  # (B, 3 Z K)
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
