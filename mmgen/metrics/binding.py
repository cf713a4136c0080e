"""Binding: which colour belongs to which shape, asked in the same words.

"A red star and a blue circle" and "a blue star and a red circle" are the same bag of
words, so that a matcher that looks at words alone cannot prefer one to the other: it
gets 0.5. On Shapes each caption of two objects has such a counterpart, and it is known
to be wrong.

Yuksekgonul et al., *When and Why Vision-Language Models Behave like Bags-of-Words, and
What to Do about It?*, ICLR 2023; Thrush et al., *Winoground*, CVPR 2022.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmgen.data.shapes import HELD_OUT, Demand, language_of, parse
from mmgen.data.shapes.demand import canonical
from mmgen.data.shapes.hard_negatives import exchanged
from mmgen.data.shapes.language import EN_SHAPES, ZH_COLOURS, ZH_SHAPES
from mmgen.interfaces import Matches, MatchesChosen
from mmgen.metrics.interval import Proportion

KINDS = {"colours": "colour", "shapes": "shape"}  # what is exchanged -> attribute
_ARTICLE = re.compile(r"\ban?\b(?= (\w))")
_MEASURE_WORDS = str.maketrans("个颗", "颗个")


@dataclass(frozen=True)
class Binding:
    """How often the right caption of two scores higher.

    Args:
        won: for each kind of exchange, for each question: 1, or 0.5 for a tie, or 0.
    """

    won: dict[str, list[float]]

    def to_json(self) -> dict[str, Any]:
        """Shares for each kind and over all; halves of ties together, rounded down."""
        every = [each for answers in self.won.values() for each in answers]
        parts = {"overall": every, **self.won}
        return {name: share(each).to_json() for name, each in parts.items() if each}


def share(won: Sequence[float]) -> Proportion:
    """The share won, of questions that each gave 1, 0.5 or 0."""
    return Proportion(int(sum(won)), len(won))


def exchanged_captions(caption: str) -> dict[str, str]:
    """The caption with the colours, or the shapes, of its two objects exchanged.

    Only captions of two objects with two colours or two shapes have any. Words are
    exchanged where they stand, so that the others stay as they are. Pairs of colour and
    shape that are held out of training are not made.

    Args:
        caption: of Shapes, English or Chinese.

    Returns:
        "colours" and "shapes" -> a caption of the same words that is wrong wherever
        this one is right; none, one or both.

    Raises:
        ValueError: a caption that cannot be parsed.
    """
    demand = parse(caption)
    if demand.count != 2 or len(demand.objects) != 2:
        return {}
    found = {}
    for kind, attribute in KINDS.items():
        wanted = _exchange(demand, attribute)
        if wanted is None:
            continue
        for text in _texts(caption, demand, attribute):
            if _parsed(text) == wanted:
                found[kind] = text
                break
    return found


def binding_accuracy(
    images: Tensor, captions: Sequence[str], matcher: Matches
) -> Binding:
    """Is the right caption of a picture preferred to those with parts exchanged?

    Args:
        images: (N, 3, H, W) in [-1, 1], as the matcher takes them.
        captions: N, right for their pictures; those without a counterpart are left out.
        matcher: scores pictures with captions. Of one that is ``MatchesChosen`` only
            the scores of the pairs in question are asked for.

    Returns:
        The answers; without any question, no kind is in them.

    Raises:
        ValueError: numbers of pictures and captions that differ, a caption that cannot
            be parsed, scores that are not finite.
    """
    if len(images) != len(captions):
        raise ValueError(
            f"images and captions must be pairs; got {len(images)} and {len(captions)}."
        )
    rows, kinds, wrong = [], [], []
    for i, caption in enumerate(captions):
        for kind, text in exchanged_captions(caption).items():
            rows.append(i)
            kinds.append(kind)
            wrong.append(text)
    won: dict[str, list[float]] = {}
    if not rows:
        return Binding(won)
    shown = images[rows]
    texts = [captions[i] for i in rows] + wrong  # question q: captions q and Q + q
    count = len(rows)
    chosen = torch.arange(2 * count).view(2, count).T  # (Q, 2)
    if isinstance(matcher, MatchesChosen):
        shown = torch.cat([shown, shown])  # it takes as many pictures as captions
        scores = matcher.candidate_scores(shown, texts, chosen.repeat(2, 1))[:count]
    else:
        scores = matcher.scores(shown, texts).cpu().gather(1, chosen)
    scores = scores.cpu()
    if not scores.isfinite().all():
        raise ValueError("matcher must give finite scores; some are NaN or infinite.")
    higher = scores[:, 0] > scores[:, 1]
    tied = scores[:, 0] == scores[:, 1]
    for kind, win, tie in zip(kinds, higher.tolist(), tied.tolist(), strict=True):
        won.setdefault(kind, []).append(win + 0.5 * tie)
    return Binding(won)


def _exchange(demand: Demand, attribute: str) -> Demand | None:
    """What a caption with an attribute of two objects exchanged demands, if a wrong."""
    a, b = demand.objects
    values = getattr(a, attribute), getattr(b, attribute)
    if None in values or values[0] == values[1]:
        return None
    groups = exchanged(a, b, attribute)
    other = canonical(groups, demand.relation, demand.background)
    made = any((group.colour, group.shape) in HELD_OUT for group in groups)
    return None if made or other.id == demand.id else other


def _texts(caption: str, demand: Demand, attribute: str) -> Iterator[str]:
    """The caption with a word for one value and one for the other exchanged."""
    if attribute == "shape" and {"个", "颗"} <= set(caption):
        caption = caption.translate(_MEASURE_WORDS)  # each follows its noun
    words = [
        _words(getattr(group, attribute), attribute, language_of(caption))
        for group in demand.objects
    ]
    for one in words[0]:
        for other in words[1]:
            if one in caption and other in caption:
                parts = caption.split(one)
                text = other.join(part.replace(other, one) for part in parts)
                yield _ARTICLE.sub(_article, text)


def _article(found: re.Match[str]) -> str:
    return "an" if found[1] in "aeiou" else "a"


def _words(value: str, attribute: str, language: str) -> tuple[str, ...]:
    """Words for a shape or a colour, longest first: "cross shape" holds "cross"."""
    if attribute == "colour":
        return (value,) if language == "en" else (ZH_COLOURS[value],)
    words = (EN_SHAPES if language == "en" else ZH_SHAPES)[value]
    return tuple(sorted(words, key=len, reverse=True))


def _parsed(caption: str) -> Demand | None:
    try:
        return parse(caption)
    except ValueError:
        return None
