"""Beam search: the best sequences that a network writes, several kept at each step.

Sutskever, Vinyals and Le, *Sequence to Sequence Learning with Neural Networks*, NeurIPS
2014.
Wu et al., *Google's Neural Machine Translation System*, arXiv 1609.08144, 2016, section
7, for the normalisation by length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

State = tuple[Tensor, ...]  # tensors with a row a sequence


class Grown(NamedTuple):
    """One step of a search: the W beams that go on, then those that end here.

    In the last step, at ``max_tokens``, there are only those that end.
    """

    parent: Tensor  # (B, N) int64, which of the beams before it goes on from
    token: Tensor  # (B, N) int64
    log_p: Tensor  # (B, N) nats, of all tokens so far; -inf: no beam


class Beams(NamedTuple):
    """What a search found, best first."""

    tokens: Tensor  # (B, W, T) int64, padded with the end token; no beam: only these
    log_p: Tensor  # (B, W) nats, the end included
    scores: Tensor  # (B, W), log_p / length ** power; -inf: fewer than W were found
    steps: list[Grown]  # how they came about


def check_beams(width: int, power: float) -> None:
    """Refuse a search that cannot be made.

    Raises:
        ValueError: a width that is no whole number from 1, or a power that is none.
    """
    if type(width) is not int or width < 1:
        raise ValueError(f"beams must be a whole number, at least 1; got {width!r}.")
    if not math.isfinite(power):
        raise ValueError(f"length_power must be a number; got {power}.")


def beam_search(
    step: Callable[[Tensor, int, State], tuple[Tensor, State]],
    state: State,
    first: Tensor,
    never: Tensor,
    width: int,
    max_tokens: int,
    power: float = 1.0,
    end: int = 0,
) -> Beams:
    r"""The sequences with the largest :math:`\log p(t) / |t|^a` that a beam meets.

    In every step each of W open sequences is followed by every token; of all that end,
    the W best are kept, and of all that do not, the W likeliest stay open. With a = 0
    the likeliest sequence wins, and short ones have an advantage: each further token
    costs. The length counts the end token; a sequence of ``max_tokens`` needs none. The
    first token cannot be the end. Probabilities are the network's own: what is not
    written is left out, and the rest not scaled up. One beam follows the likeliest
    token each time, but may stop earlier or later than that does, where it scores more.

    Args:
        step: (tokens (R,), place, state) -> logits (R, V) of what comes next, state.
        state: at the beginning, B rows.
        first: (B,) what stands before the first token.
        never: (V,) bool, tokens that are not written.
        width: W.
        max_tokens: T.
        power: a.
        end: the token that ends a sequence.

    Raises:
        ValueError: as for ``check_beams``, or ``max_tokens`` below 1.

    Source:
        Wu et al. 2016, eq. 14, with the length itself in place of (5 + length) / 6.
    """
    check_beams(width, power)
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1; got {max_tokens}.")
    count, device = len(first), first.device
    rows = torch.arange(count, device=device)[:, None]  # (B, 1)
    state = tuple(part.repeat_interleave(width, dim=0) for part in state)
    last = first.repeat_interleave(width)  # (B W,)
    # Of W equal beginnings all but one are left out.
    open_p = torch.full((count, width), -math.inf, device=device)
    open_p[:, 0] = 0.0
    open_tokens = first.new_zeros(count, width, 0)
    done_tokens = torch.full((count, width, max_tokens), end, device=device)
    done_p = torch.full((count, width), -math.inf, device=device)
    done_scores = done_p.clone()
    steps: list[Grown] = []
    for place in range(max_tokens):
        logits, state = step(last, place, state)
        told = logits.float().log_softmax(dim=1).masked_fill(never, -math.inf)
        if place == 0:
            told[:, end] = -math.inf
        joint = open_p[:, :, None] + told.unflatten(0, (count, width))  # (B, W, V)
        length = place + 1
        full = length == max_tokens
        if full:  # whatever stands there is whole now
            ended_p, at = joint.flatten(1).topk(min(width, joint[0].numel()), dim=1)
            parent, token = at // joint.shape[2], at % joint.shape[2]
        else:
            ended_p, token = joint[:, :, end], torch.full_like(last, end)
            token = token.view(count, width)
            parent = torch.arange(width, device=device).expand(count, -1)
        ended = torch.cat([open_tokens[rows, parent], token[:, :, None]], dim=2)
        ended = pad(ended, (0, max_tokens - length), value=end)
        every_p = torch.cat([done_p, ended_p], dim=1)
        every_scores = torch.cat([done_scores, ended_p / length**power], dim=1)
        done_scores, best = every_scores.topk(width, dim=1)
        done_p = every_p[rows, best]
        done_tokens = torch.cat([done_tokens, ended], dim=1)[rows, best]
        if full:
            steps.append(Grown(parent, token, ended_p))
            break
        joint = joint.clone()
        joint[:, :, end] = -math.inf
        found, at = joint.flatten(1).topk(min(width, joint[0].numel()), dim=1)
        found = pad(found, (0, width - found.shape[1]), value=-math.inf)
        at = pad(at, (0, width - at.shape[1]))
        parent, token = at // joint.shape[2], at % joint.shape[2]
        steps.append(_with_ends(Grown(parent, token, found), ended_p, end))
        open_tokens = torch.cat([open_tokens[rows, parent], token[:, :, None]], dim=2)
        open_p, last = found, token.flatten()
        chosen = (rows * width + parent).flatten()
        state = tuple(part[chosen] for part in state)
        # A log-probability only falls: what is open can at best keep its own.
        longest = float(max_tokens) if power > 0 else float(length + 1)
        if bool((open_p.amax(dim=1) / longest**power <= done_scores[:, -1]).all()):
            break
    done_tokens = done_tokens.masked_fill(done_p.isinf()[:, :, None], end)
    return Beams(done_tokens, done_p, done_scores, steps)


def _with_ends(grown: Grown, ended_p: Tensor, end: int) -> Grown:
    """The step of a tree: beams that go on, and those that ended here, likeliest first.

    The end is not in the way of others: a beam both ends and goes on.
    """
    log_p, parent = ended_p.sort(dim=1, descending=True)
    return Grown(
        torch.cat([grown.parent, parent], dim=1),
        torch.cat([grown.token, torch.full_like(grown.token, end)], dim=1),
        torch.cat([grown.log_p, log_p], dim=1),
    )
