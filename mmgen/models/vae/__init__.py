"""Variational autoencoders: of pictures, and of pictures with a condition.

``unconditional`` holds the first, ``conditional`` the second; both are read in the
chapter's order. The bound and its parts stand in ``mmgen.objectives.variational``, the
networks in ``mmgen.layers.pictures`` and ``mmgen.layers.mixtures``. Several modalities:
``mmgen.models.multimodal_vae``.
"""

from mmgen.models.vae.conditional import (
    ConditionalVAE,
    ConditionalVAEConfig,
    ConditionalVAESampler,
    ConditionalVAETask,
)
from mmgen.models.vae.unconditional import (
    VAE,
    VAEConfig,
    VAEOutput,
    VAESampler,
    VAETask,
    adam,
    negative_bound,
)
from mmgen.objectives.variational import (
    ELBO,
    elbo,
    free_bits,
    gaussian_kl,
    gaussian_log_likelihood,
    gaussian_log_prob,
    iwae_bound,
    kl_weight,
    reparameterise,
)

__all__ = [
    "ELBO",
    "VAE",
    "ConditionalVAE",
    "ConditionalVAEConfig",
    "ConditionalVAESampler",
    "ConditionalVAETask",
    "VAEConfig",
    "VAEOutput",
    "VAESampler",
    "VAETask",
    "adam",
    "elbo",
    "free_bits",
    "gaussian_kl",
    "gaussian_log_likelihood",
    "gaussian_log_prob",
    "iwae_bound",
    "kl_weight",
    "negative_bound",
    "reparameterise",
]
