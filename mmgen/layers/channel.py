r"""A bottleneck without codes: vectors that pass through noise.

What noise of a known size leaves of a vector can be counted in bits, as codes can; and
vectors near each other must be painted alike, which a flow that draws them needs.

Shannon, *A Mathematical Theory of Communication*, 1948.
Rombach et al., *High-Resolution Image Synthesis with Latent Diffusion Models*, CVPR
2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgen.layers.validation import require_decay


class GaussianChannel(nn.Module):
    r"""Noise of one size on every number of a vector, and what the vectors are like.

    .. math:: z' = z + \sigma\varepsilon, \qquad
              D_{\mathrm{KL}}(N(z, \sigma^2) \,\|\, N(0, 1))
              = \tfrac{1}{2}(z^2 + \sigma^2 - 1 - \ln \sigma^2)

    Without a price on :math:`z^2` an encoder would speak louder and louder, until no
    noise is heard. It is a variational autoencoder's, whose variances are all the same.

    Mean and covariance of the vectors are kept as averages over the last steps,
    weighted by :math:`\gamma^{\text{age}}`: who draws vectors must know their size.

    Args:
        dim: D of a vector.
        deviation: sigma, at least 0.
        decay: gamma, in [0, 1).

    Raises:
        ValueError: numbers out of range.

    Source:
        Rombach et al. 2022, appendix G, with a fixed variance.
    """

    mean: Tensor  # (D,)
    covariance: Tensor  # (D, D)
    steps: Tensor  # () how many were averaged

    def __init__(self, dim: int, deviation: float, decay: float = 0.99) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"code_dim must be at least 1; got {dim}.")
        if not 0 <= deviation < float("inf"):
            raise ValueError(f"noise must be a number from 0 on; got {deviation}.")
        require_decay(decay)
        self.deviation, self.decay = deviation, decay
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("covariance", torch.eye(dim))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def bits(self) -> float:
        r"""What a vector can tell at most, :math:`\sum_i \frac{1}{2} \log_2(1 +
        \lambda_i / \sigma^2)` of the eigenvalues of the covariance; without noise, inf.

        Source:
            Shannon 1948, theorem 17.
        """
        if not self.deviation:
            return float("inf")
        values = torch.linalg.eigvalsh(self.covariance.double()).clamp(min=0)
        return float((1 + values / self.deviation**2).log2().sum() / 2)

    def forward(self, vectors: Tensor, noise: Tensor) -> Tensor:
        """Vectors with standard normal noise of their shape, as loud as it is here."""
        return vectors + self.deviation * noise

    @staticmethod
    def price(vectors: Tensor) -> Tensor:
        """Mean of what the numbers pay, z² / 2: the divergence up to a constant."""
        return vectors.square().mean() / 2

    @torch.no_grad()
    def update(self, vectors: Tensor) -> None:
        """Take a step's vectors (N, D), of all processes, into the averages."""
        vectors = vectors.float()
        mean = vectors.mean(dim=0)
        rest = vectors - mean
        # the first takes the place of what nobody has measured
        share = 1 - self.decay if self.steps else 1.0
        self.mean.lerp_(mean, share)
        self.covariance.lerp_(rest.T @ rest / len(rest), share)
        self.steps += 1
