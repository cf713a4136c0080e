"""Captions that are left out now and then, and guidance, which needs that.

Ho and Salimans, *Classifier-Free Diffusion Guidance*, arXiv 2207.12598, 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmgen.interfaces import Step
from mmgen.layers.logits import guided

MOST_GUIDANCE = 1000.0  # far above what is of use, and far from where floats end


def check_caption_dropout(share: float) -> None:
    """Refuse a share of captions that cannot be left out.

    Raises:
        ValueError: a number outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"caption_dropout must lie in [0, 1); got {share}.")


def check_guidance(guidance: float, caption_dropout: float) -> None:
    """Refuse a scale that a model cannot use.

    Raises:
        ValueError: a number outside 0..1000, or guidance for a model that never met
            the empty caption.
    """
    if not 0 <= guidance <= MOST_GUIDANCE:
        raise ValueError(
            f"guidance must lie in 0..{MOST_GUIDANCE:.0f}, 1 for none; got {guidance}."
        )
    if guidance != 1 and not caption_dropout:
        raise ValueError(
            f"guidance {guidance} needs a model that was trained with empty captions "
            f"too; this one has caption_dropout 0. Use guidance 1, or train with "
            f"caption_dropout 0.1."
        )


def heard(lengths: Tensor, share: float, step: Step) -> Tensor:
    """Lengths of captions (B,) in training, 0 where one is left out.

    Args:
        lengths: theirs.
        share: of the captions that are left out.
        step: whose noise decides which.
    """
    return lengths.masked_fill(step.rand(len(lengths)) < share, 0)


def up_to_longest(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Captions (B, T) without the places after the longest, on the CPU.

    On a GPU nothing is cut, because reading the lengths would mean to wait.
    """
    if tokens.device.type == "cpu":
        tokens = tokens[:, : int(lengths.max())]
    return tokens


def told_and_untold(
    tokens: Tensor, lengths: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Captions to read for guidance: theirs, then as many of none; at scale 1 theirs.

    Args:
        tokens: (B, T) int64.
        lengths: (B,).
        scale: s.
    """
    if scale == 1:
        return tokens, lengths
    lengths = torch.cat([lengths, torch.zeros_like(lengths)])
    return torch.cat([tokens, tokens]), lengths


def guide(logits: Tensor, scale: float) -> Tensor:
    """Logits (B, ...) of what ``told_and_untold`` gave to read."""
    if scale == 1:
        return logits
    told, untold = logits.chunk(2)
    return guided(told, untold, scale)
