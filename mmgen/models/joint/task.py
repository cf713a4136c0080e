"""Training: the sum of three likelihoods, M at a rate of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from mmgen.data.batch import Batch
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.guidance import heard
from mmgen.layers.transformer import decay_groups
from mmgen.layers.validation import require_image_size
from mmgen.models.aligned import begin_pictures
from mmgen.models.codes import tokenizer_of
from mmgen.models.joint.beginning import begin_writer
from mmgen.models.joint.networks import JointConfig, JointNetwork
from mmgen.models.joint.sampler import JointSampler
from mmgen.models.vqvae import VQVAESampler


class JointTask(Task):
    """The joint training of M, F and G on captioned pictures.

    Args:
        config: sizes, weights of the terms and rates.
        data: whose captions and pictures.
        tokenizer: the frozen autoencoder whose codes are written.
    """

    phases: tuple[str, ...] = ("joint",)
    averaged: tuple[str, ...] = ("network",)

    def __init__(
        self, config: JointConfig, data: DataInfo, tokenizer: VQVAESampler
    ) -> None:
        self.config, self.data, self.tokenizer = config, data, tokenizer
        self.model = JointNetwork(
            config,
            data.vocabulary,
            data.max_tokens,
            tokenizer.codebook(),
            tokenizer.side,
        )
        self.networks: dict[str, nn.Module] = {"network": self.model}

    @staticmethod
    def requires(config: JointConfig) -> Mapping[str, str]:
        """The autoencoder, and what F and G begin as, if they do."""
        begins = {"aligned": config.aligned, "begun": config.begun}
        return {
            "tokenizer": config.tokenizer,
            **{name: weights for name, weights in begins.items() if weights},
        }

    @classmethod
    def build(
        cls, config: JointConfig, data: DataInfo, frozen: Mapping = NOTHING
    ) -> JointTask:
        """The task for a data set, begun with ``frozen["aligned"]`` and ["begun"].

        Raises:
            ValueError: as for ``tokenizer_of``, ``begin_pictures`` and
                ``begin_writer``; or pictures of another size.
        """
        require_image_size(config.image_size, data.image_size)
        task = cls(config, data, tokenizer_of(config.tokenizer, data, frozen))
        model = task.model
        if config.aligned and config.multi_weight:
            pictures = model.fusion.pictures
            begin_pictures(pictures, frozen["aligned"], config.aligned)
        if config.begun and hasattr(model, "writer"):
            begun = frozen["begun"]
            begin_writer(model.writer, data.vocabulary, begun, config.begun)
        return task

    def optimizers(self) -> dict[str, Optimizer]:
        """AdamW, whose decay is of the blocks' matrices alone; M at its own rate."""
        config = self.config
        groups: list[dict[str, Any]] = []
        for name, part in self.model.named_children():
            factor = config.language_rate if name == "language" else 1.0
            for group in decay_groups(part, config.weight_decay):
                learned = [p for p in group["params"] if p.requires_grad]
                if learned and factor:
                    rate = config.learning_rate * factor
                    groups.append({**group, "params": learned, "lr": rate})
        return {"joint": AdamW(groups, config.learning_rate, betas=(0.9, 0.98))}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The weighted sum of the terms, and each of them, in nats a word or a code.

        Captions are left out for G now and then, which guidance needs.

        Raises:
            ValueError: a batch without captions or without pictures.
        """
        config = self.config
        tokens, lengths = batch.tokens, batch.lengths
        _check_both(batch, config.image_size)
        if tokens.device.type == "cpu":  # nothing to tell after the longest's end
            tokens = tokens[:, : int(lengths.max()) + 1]
        codes: Tensor | None = None
        if config.generate_weight:
            coder = self.tokenizer.to(batch.images.device)
            codes = coder.encode(batch.images).flatten(1)
        shown = heard(lengths, config.caption_dropout, step)
        log_p = self.networks["network"](batch.images, tokens, lengths, codes, shown)
        # the words that are told, and the end, where there is room for it
        words = (lengths + 1).clamp(max=tokens.shape[1])
        costs: dict[str, Tensor] = {}
        for term, told in log_p.items():
            if term == "generate":
                costs[term] = -told.mean()
            else:
                costs[term] = -(told.sum(dim=1) / words).mean()
        loss = torch.stack([config.weight(term) * costs[term] for term in costs]).sum()
        if codes is not None:
            costs["bits"] = costs["generate"] / math.log(2) * codes.shape[1]
        return {"loss": loss, **costs}

    def sampler(self, networks: Mapping[str, nn.Module]) -> JointSampler:
        """A sampler with these weights and the autoencoder's."""
        data, trained = self.data, networks["network"]
        sampler = JointSampler(
            self.config, data.vocabulary, data.max_tokens, self.tokenizer.init_args()
        )
        for name, part in trained.named_children():
            getattr(sampler, name).load_state_dict(part.state_dict())
        sampler.tokenizer.load_state_dict(self.tokenizer.state_dict())
        return sampler.to(next(trained.parameters()).device).eval()


def _check_both(batch: Batch, size: int) -> None:
    """Refuse a batch that lacks one of the two modalities.

    Raises:
        ValueError: no captions, or no pictures of the size.
    """
    if tuple(batch.images.shape[1:]) != (3, size, size):
        raise ValueError(
            f"a batch must hold pictures of shape (B, 3, {size}, {size}) beside its "
            f"captions; got {tuple(batch.images.shape)}."
        )
    if batch.tokens.device.type == "cpu" and not bool((batch.lengths > 0).all()):
        raise ValueError(
            f"a batch must hold a caption of at least one word beside each picture; "
            f"got lengths {batch.lengths.tolist()[:8]}."
        )
