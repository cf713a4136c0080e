r"""Flow matching and diffusion: pictures drawn along a velocity field.

A network learns in which direction a point between noise and data moves. To draw is to
begin with noise, and to follow. ``paths`` holds the ways from noise to data,
``solvers`` how they are followed, ``networks`` the Transformer, ``unet`` the network of
convolutions, and ``latents`` the space drawn in.

Lipman et al., *Flow Matching for Generative Modeling*, ICLR 2023.
Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
Peebles and Xie, *Scalable Diffusion Models with Transformers*, ICCV 2023.
"""

from mmgen.models.flow.latents import CodeLatents, GridLatents, PixelLatents
from mmgen.models.flow.networks import (
    FlowBlock,
    FlowConfig,
    VelocityNetwork,
    VelocityTransformer,
    Words,
)
from mmgen.models.flow.paths import (
    Coefficients,
    Ends,
    LinearPath,
    Path,
    VariancePreservingPath,
    discrete_velocity,
    gaussian_velocity,
    index_time,
    logit_normal_times,
)
from mmgen.models.flow.sampler import FlowSampler
from mmgen.models.flow.solvers import (
    Held,
    ancestral_step,
    ddim_step,
    euler_step,
    heun_step,
    solve,
    time_grid,
)
from mmgen.models.flow.task import FlowTask
from mmgen.models.flow.unet import VelocityUNet

__all__ = [
    "CodeLatents",
    "Coefficients",
    "Ends",
    "FlowBlock",
    "FlowConfig",
    "FlowSampler",
    "FlowTask",
    "GridLatents",
    "Held",
    "LinearPath",
    "Path",
    "PixelLatents",
    "VariancePreservingPath",
    "VelocityNetwork",
    "VelocityTransformer",
    "VelocityUNet",
    "Words",
    "ancestral_step",
    "ddim_step",
    "discrete_velocity",
    "euler_step",
    "gaussian_velocity",
    "heun_step",
    "index_time",
    "logit_normal_times",
    "solve",
    "time_grid",
]
