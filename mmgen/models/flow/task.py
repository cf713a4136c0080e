"""Training: the velocity of random points on the way from noise to latents."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import AdamW, Optimizer

from mmgen.data.batch import Batch
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.guidance import heard, up_to_longest
from mmgen.layers.transformer import decay_groups
from mmgen.models.aligned import begin_captions
from mmgen.models.codes import tokenizer_of
from mmgen.models.flow.latents import PixelLatents, Space, space_of
from mmgen.models.flow.networks import FlowConfig
from mmgen.models.flow.paths import logit_normal_times
from mmgen.models.flow.sampler import FlowSampler
from mmgen.models.flow.solvers import LINEAR
from mmgen.models.flow.unet import velocity_network


class FlowTask(Task):
    r"""The training of a velocity field of captioned pictures.

    .. math:: L = E_{x, \varepsilon, t}
              \lVert u(x_t, t, c) - (x - \varepsilon) \rVert^2

    Its gradient is that of the squared distance to the marginal velocity, which nobody
    can compute for pictures (Lipman et al. 2023, theorem 2).

    Args:
        config: sizes.
        data: whose captions and pictures.
        space: that is drawn in.
    """

    phases = ("flow",)
    averaged = ("network",)

    def __init__(self, config: FlowConfig, data: DataInfo, space: Space) -> None:
        self.config, self.data, self.space = config, data, space.requires_grad_(False)
        self.model = velocity_network(
            config, len(data.vocabulary), data.max_tokens, space.channels, space.side
        )
        self.networks: dict[str, nn.Module] = {"network": self.model}

    @staticmethod
    def requires(config: FlowConfig) -> Mapping[str, str]:
        """The autoencoder whose latents are drawn, the model that begins the text."""
        named = {"tokenizer": config.tokenizer, "aligned": config.aligned}
        return {part: name for part, name in named.items() if name}

    @classmethod
    def build(
        cls, config: FlowConfig, data: DataInfo, frozen: Mapping = NOTHING
    ) -> FlowTask:
        """The task for a data set, with those of ``frozen`` that the config names.

        Raises:
            ValueError: as for ``tokenizer_of`` and ``begin_captions``, or sizes that
                do not fit.
        """
        tokenizer = None
        if config.tokenizer:
            tokenizer = tokenizer_of(config.tokenizer, data, frozen)
        task = cls(config, data, space_of(tokenizer, config.channels, data.image_size))
        if config.aligned:
            encoder, matcher = task.model.reader.encoder, frozen["aligned"]
            begin_captions(encoder, data.vocabulary, matcher, config.aligned)
        return task

    def optimizers(self) -> dict[str, Optimizer]:
        """AdamW, whose decay is of the blocks' matrices alone."""
        groups = decay_groups(self.networks["network"], self.config.weight_decay)
        return {"flow": AdamW(groups, self.config.learning_rate, betas=(0.9, 0.99))}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Mean squared error of the velocity, captions left out now and then.

        A network that says 0 pays E x² + E ε², 2 for latents of variance 1. What is
        left at best is the variance of the velocity where paths cross, never 0.
        """
        config, count = self.config, len(batch)
        with torch.no_grad():
            latents = self.space.to(batch.images.device).encode(batch.images)
        lengths = heard(batch.lengths, config.caption_dropout, step)
        tokens = up_to_longest(batch.tokens, batch.lengths)
        time = logit_normal_times(
            step.randn(count), config.time_mean, config.time_deviation
        )
        noise = step.randn(*latents.shape)
        points = LINEAR.point(latents, noise, time)
        velocity = self.networks["network"](points, time, tokens, lengths)
        return {"loss": mse_loss(velocity, LINEAR.velocity(latents, noise, time))}

    def sampler(self, networks: Mapping[str, nn.Module]) -> FlowSampler:
        """A sampler with the given network's weights, and the autoencoder."""
        data, space = self.data, self.space
        autoencoder = None
        if not isinstance(space, PixelLatents):
            autoencoder = space.tokenizer.init_args()
        sampler = FlowSampler(
            self.config, data.vocabulary, data.max_tokens, data.image_size, autoencoder
        )
        sampler.network.load_state_dict(networks["network"].state_dict())
        sampler.space.load_state_dict(space.state_dict())
        return sampler.to(next(networks["network"].parameters()).device).eval()
