"""Variational autoencoders of pictures and captions: MVAE, MMVAE and MoPoE.

``model`` holds the experts, their fusion and the network, ``task`` its training and the
sampler that is left.
"""

from mmgen.models.multimodal_vae.model import (
    MODALITIES,
    MultimodalVAE,
    MultimodalVAEConfig,
    Subset,
    SubsetTerms,
    product_of_experts,
    training_subsets,
)
from mmgen.models.multimodal_vae.task import (
    MultimodalVAESampler,
    MultimodalVAETask,
    joint_prior,
)

__all__ = [
    "MODALITIES",
    "MultimodalVAE",
    "MultimodalVAEConfig",
    "MultimodalVAESampler",
    "MultimodalVAETask",
    "Subset",
    "SubsetTerms",
    "joint_prior",
    "product_of_experts",
    "training_subsets",
]
