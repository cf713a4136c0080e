"""A world that can be counted out: 40 captions of three words, 81 pictures."""

from __future__ import annotations

import itertools
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.models.joint import JointConfig, JointSampler, JointTask
from mmgen.models.vqvae import VQVAESampler
from tests.models.tiny_codes import tokenizer, world

WORDS = Vocabulary(["<pad>", "<unk>", "red", "star"])
LONGEST = 3
CONFIG = JointConfig(
    width=12,
    depth=1,
    heads=2,
    rank=2,
    caption_dropout=0.0,
    image_size=16,
    language_width=8,
    language_depth=2,
    language_heads=2,
    feature_dim=8,
    picture_width=4,
    grid=4,
    patch=2,
    hidden=8,
    language_rate=1.0,
)
# Of no word, which only a model may write, of one, of two, and of all there is room for
CAPTIONS = torch.tensor([[2, 0, 0], [3, 2, 0], [2, 3, 3], [2, 2, 0]])
LENGTHS = torch.tensor([1, 2, 3, 2])


@lru_cache
def coder() -> VQVAESampler:
    """Pictures of 16 pixels as 2 x 2 codes, of three each."""
    return tokenizer(side=2, codes=3)


def data() -> Any:
    """What a task is told of the world."""
    return SimpleNamespace(
        name="toy",
        image_size=16,
        language="en",
        vocabulary=WORDS,
        max_tokens=LONGEST,
        attributes={},
        synonyms={},
        alternatives=None,
        examination=None,
    )


def batch(rows: Any = slice(None)) -> Batch:
    """Four pictures, with captions that need not fit them."""
    tokens, lengths = CAPTIONS[rows], LENGTHS[rows]
    images = world().batch(range(4)).images[rows]
    captions = WORDS.decode(tokens)
    return Batch(images, tokens, lengths, torch.arange(len(tokens)), captions)


def task(**changes: Any) -> JointTask:
    """A task with weights that are sure of some words and codes, not of others."""
    config = JointConfig(**{**vars(CONFIG), **changes})
    known = {"tokenizer": coder()}  # drawn once: the seed must come after it
    torch.manual_seed(3)
    made = JointTask.build(config, data(), known)
    for parameter in made.model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    made.model.eval()
    return made


def sampler_of(made: JointTask) -> JointSampler:
    """What is left of a task."""
    return made.sampler(made.networks)


def every_caption() -> tuple[Tensor, Tensor]:
    """All that can be written, (40, 3), and lengths: 0 to 3 words, then the end."""
    words = range(1, len(WORDS))
    rows, lengths = [], []
    for length in range(LONGEST + 1):
        for row in itertools.product(words, repeat=length):
            rows.append([*row, *[0] * (LONGEST - length)])
            lengths.append(length)
    return torch.tensor(rows), torch.tensor(lengths)


def every_picture() -> Tensor:
    """All grids of codes, (81, 4)."""
    return torch.tensor(list(itertools.product(range(3), repeat=4)))


def by_counting(rows: Tensor, log_p: Tensor, one: Tensor, told: int) -> list[Tensor]:
    """-log p of each token of one row, given those before it, from sums over all rows.

    Args:
        rows: all sequences, (N, T).
        log_p: theirs, (N,) nats.
        one: a sequence, (T,).
        told: how many of its tokens are told.
    """
    sums = []
    for place in range(told + 1):
        same = (rows[:, :place] == one[:place]).all(dim=1)
        sums.append(log_p[same].logsumexp(dim=0))
    return [before - after for before, after in itertools.pairwise(sums)]
