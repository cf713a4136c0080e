"""A small world of codes: pictures of 16 pixels as grids of 2 x 2 or 4 x 4 codes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from mmgen.data import CaptionedDataset, load_dataset
from mmgen.models.codes import CodeSampler
from mmgen.models.vqvae import VQVAEConfig, VQVAESampler, VQVAETask
from mmgen.pretrained import load
from mmgen.training import TrainingConfig, fit

# Of different lengths; all words are known.
CAPTIONS = ["a star", "a large red circle in the upper left", "a small blue square"]
SIZES: dict[str, Any] = {"width": 12, "depth": 2, "heads": 2}


@lru_cache
def world() -> CaptionedDataset:
    """A few pictures of one and of two objects."""
    return load_dataset("shapes", "train", 16, objects=(1, 2), size=64)


def autoencoder_config(side: int = 2, codes: int = 3) -> VQVAEConfig:
    """Of grids of ``side`` x ``side`` codes."""
    return VQVAEConfig(
        codes=codes, code_dim=3, channels=4, depth=1, reduction=16 // side, patch=4
    )


def tokenizer(side: int = 2, codes: int = 3) -> VQVAESampler:
    """An untrained autoencoder whose codes are all in use."""
    torch.manual_seed(1)
    made = VQVAESampler(autoencoder_config(side, codes), 16).eval()
    vectors = made.latents(world().batch(range(64)).images)  # (B, D, h, w)
    pool = vectors.permute(0, 2, 3, 1).flatten(0, 2)
    assert made.model.quantiser is not None
    made.model.quantiser.restart(pool, torch.rand(codes), 1.0)
    return made


def sampler(
    cls: type[CodeSampler], side: int = 2, codes: int = 3, **changes: Any
) -> Any:
    """An untrained model that is sure of some codes, and listens to its caption."""
    coder = tokenizer(side, codes)
    torch.manual_seed(2)
    config = cls.config_class(**{**SIZES, **changes})
    data = world()
    made = cls(config, data.vocabulary, data.max_tokens, coder.init_args()).eval()
    # fresh ones find all codes equally likely
    for parameter in made.writer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    made.tokenizer.load_state_dict(coder.state_dict())
    made.writer.codebook.copy_(coder.codebook())
    return made


def autoencoder_run(folder: Path) -> Path:
    """The folder of a run of the autoencoder, which a task may require."""
    training = TrainingConfig(
        steps=2, batch_size=16, out=folder, progress="none", tensorboard=False
    )
    fit(VQVAETask(autoencoder_config(codes=8), 16), world(), training)
    assert isinstance(load(folder), VQVAESampler)
    return folder
