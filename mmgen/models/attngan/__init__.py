"""AttnGAN: from a caption to a picture, coarse to fine, word by word.

``networks`` holds the stages, ``paper`` the published model and its training,
``modern`` a variant with what was learnt since, ``original`` reads the published
checkpoints.

Xu et al., *AttnGAN: Fine-Grained Text to Image Generation with Attentional Generative
Adversarial Networks*, CVPR 2018.
"""

from mmgen.models.attngan.modern import (
    ModernConfig,
    ModernGenerator,
    ModernSampler,
    ModernTask,
    ProjectionDiscriminator,
)
from mmgen.models.attngan.networks import (
    ConditioningAugmentation,
    Discriminators,
    GeneratorOutput,
)
from mmgen.models.attngan.objectives import (
    adversarial_loss,
    condition_kl,
    discriminator_loss,
    pictures_of_stages,
)
from mmgen.models.attngan.original import load_original
from mmgen.models.attngan.paper import (
    AttnGANConfig,
    AttnGANSampler,
    AttnGANTask,
    Discriminator,
    Generator,
)

__all__ = [
    "AttnGANConfig",
    "AttnGANSampler",
    "AttnGANTask",
    "ConditioningAugmentation",
    "Discriminator",
    "Discriminators",
    "Generator",
    "GeneratorOutput",
    "ModernConfig",
    "ModernGenerator",
    "ModernSampler",
    "ModernTask",
    "ProjectionDiscriminator",
    "adversarial_loss",
    "condition_kl",
    "discriminator_loss",
    "load_original",
    "pictures_of_stages",
]
