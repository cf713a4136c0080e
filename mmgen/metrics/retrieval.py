"""R-precision: is a picture's own caption the best of a hundred?

Each picture is held against its caption and 99 others that do not suit it. The share of
pictures that a matcher gives to their own caption is the R-precision (Xu et al.,
*AttnGAN*, CVPR 2018, section 4.1, with R = 1). Two things decide what it is worth:

- **Which network scores.** AttnGAN was scored by the very network it was trained to
  please, and a generator can please a network without showing what was asked for. Give
  a scorer that was trained apart from the generator (``mmgen.pretrained`` has them,
  ``...-scorer``), and name what the generator was trained with: if both are the same
  network the result carries a warning.
- **What the others are.** A caption of the same class, or one that is true of the
  picture as well ("a circle" for a red circle), is no mistake to prefer. ``class_ids``
  keeps the first out, ``scenes`` the second. Published numbers differ here, and by
  tens of percent.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmgen.interfaces import Matches, MatchesChosen
from mmgen.metrics.interval import Proportion
from mmgen.pretrained import load

DIRECTIONS = ("image_to_text", "text_to_image")
_SAME_NETWORK = (
    "the scorer is the network that the pictures were trained with, so this number can "
    "be gamed: use a scorer that was trained apart."
)


@dataclass(frozen=True)
class RPrecision:
    """How often the true counterpart is the best of the candidates.

    Args:
        precision: pictures (or captions) whose own counterpart scores highest.
        candidates: how many there were to choose from, the true one among them.
        direction: "image_to_text": each picture chooses a caption; "text_to_image":
            each caption a picture.
        seed: of the draw of the others.
        warning: why the number is not to be trusted, if so.
        ranks: of the true counterpart, 1 = best, for each picture (or caption).
    """

    precision: Proportion
    candidates: int
    direction: str
    seed: int
    warning: str | None
    ranks: list[int]

    def to_json(self) -> dict[str, Any]:
        """Everything but the single ranks; chance, without ties, is 1 / candidates."""
        return {
            **self.precision.to_json(),
            "candidates": self.candidates,
            "chance": 1 / self.candidates,
            "direction": self.direction,
            "median_rank": sorted(self.ranks)[len(self.ranks) // 2],
            "seed": self.seed,
            "warning": self.warning,
        }

    def __str__(self) -> str:
        text = f"{self.precision} (1 of {self.candidates})"
        return f"{text}; {self.warning}" if self.warning else text


def r_precision(
    images: Tensor,
    captions: Sequence[str],
    scorer: Matches | str,
    candidates: int = 100,
    seed: int = 0,
    class_ids: Tensor | None = None,
    trained_with: nn.Module | None = None,
    *,
    scenes: Sequence[Any] | None = None,
    direction: str = "image_to_text",
) -> RPrecision:
    """R-precision of pictures with the captions that they were made for.

    A tie of the true counterpart with another counts as lost: a scorer that gives every
    pair the same score gets 0, and 1 / candidates is what guessing gets from scores
    without ties. The two other conventions are to count a tie as won, by which such a
    scorer gets 1, and to draw it by lot, 1 / k for k equal ones, by which it gets
    1 / candidates: this function does neither; the assignment on DAMSM asks for a
    function of its own that draws by lot. They differ only where scores are rounded,
    saturated or counts.

    Args:
        images: (N, 3, H, W) in [-1, 1], as the scorer takes them.
        captions: N texts, one a picture.
        scorer: a matcher, or the name of a pretrained one ("damsm-shapes64-scorer").
            It should not be the network that a generator was trained with. Of one that
            is ``MatchesChosen`` only the scores of the candidates are asked for.
        candidates: captions that each picture chooses from.
        seed: of the draw of the others, without repetition, from ``captions``.
        class_ids: (N,) integers; captions of the picture's class are never drawn.
        trained_with: what the pictures' generator was trained with, or the generator
            with it inside; its weights are compared with the scorer's.
        scenes: of Shapes, what each caption was written for; then captions that are
            true of a picture's scene are never drawn.
        direction: "image_to_text", or "text_to_image" for the reverse choice.

    Returns:
        The result, with n and 95 % interval. If scorer and trainer are one network it
        carries a warning, which is also issued.

    Raises:
        ValueError: numbers of pictures, captions, class ids and scenes that differ,
            fewer than 2 candidates, or too few captions to draw them from; scores that
            are not finite.
    """
    captions = list(captions)
    count = len(captions)
    _check(images, captions, candidates, class_ids, scenes, direction)
    matcher: Matches = (
        load(scorer, images.device) if isinstance(scorer, str) else scorer
    )
    suits = _also_true(captions, scenes) if scenes is not None else None
    others = _draw(count, candidates - 1, seed, class_ids, suits, direction)
    chosen = torch.cat([torch.arange(count)[:, None], others], dim=1)  # (N, K)
    found = _candidate_scores(matcher, images, captions, chosen, direction)
    if not found.isfinite().all():
        raise ValueError("scorer must give finite scores; some are NaN or infinite.")
    ranks = 1 + (found[:, 1:] >= found[:, :1]).sum(dim=1)  # a tie is lost
    warning = None
    if trained_with is not None and _same_network(matcher, trained_with):
        warning = _SAME_NETWORK
        warnings.warn(warning, stacklevel=2)
    return RPrecision(
        Proportion(int((ranks == 1).sum()), count),
        candidates,
        direction,
        seed,
        warning,
        ranks.tolist(),
    )


def _check(
    images: Tensor,
    captions: list[str],
    candidates: int,
    class_ids: Tensor | None,
    scenes: Sequence[Any] | None,
    direction: str,
) -> None:
    count = len(captions)
    for name, values in (
        ("images", images),
        ("class_ids", class_ids),
        ("scenes", scenes),
    ):
        if values is not None and len(values) != count:
            raise ValueError(
                f"{name} must be one for each of the {count} captions; got "
                f"{len(values)}."
            )
    if class_ids is not None and class_ids.ndim != 1:
        raise ValueError(
            f"class_ids must be of shape ({count},); got {tuple(class_ids.shape)}."
        )
    if candidates < 2:
        raise ValueError(f"candidates must be at least 2; got {candidates}.")
    if direction not in DIRECTIONS:
        raise ValueError(
            f"direction must be one of {', '.join(DIRECTIONS)}; got {direction!r}."
        )


def _also_true(
    captions: list[str], scenes: Sequence[Any]
) -> Callable[[int, int], bool]:
    """Whether caption j is true of scene i, decided by the world of Shapes."""
    from mmgen.data.shapes.parsing import parse
    from mmgen.data.shapes.verdict import judge

    demands = [parse(caption) for caption in captions]

    def true(i: int, j: int) -> bool:
        if demands[j].count != len(scenes[i].objects):
            return False  # the usual case, and much faster than a verdict
        return all(judge(demands[j], scenes[i]).values())

    return true


def _draw(
    count: int,
    others: int,
    seed: int,
    class_ids: Tensor | None,
    suits: Callable[[int, int], bool] | None,
    direction: str,
) -> Tensor:
    """For each of ``count``, indices of others that it must not choose: (N, others)."""
    generator = torch.Generator().manual_seed(seed)
    classes = None if class_ids is None else class_ids.cpu()
    rows = []
    for i in range(count):
        order = torch.randperm(count, generator=generator)
        wrong = order != i
        if classes is not None:
            wrong &= classes[order] != classes[i]
        row: list[int] = []
        for j in order[wrong].tolist():
            picture, caption = (i, j) if direction == DIRECTIONS[0] else (j, i)
            if suits is None or not suits(picture, caption):
                row.append(j)
            if len(row) == others:
                break
        if len(row) < others:
            raise ValueError(
                f"candidates must be at most {len(row) + 1} here: of the {count} "
                f"captions only {len(row)} do not suit number {i}; got {others + 1}. "
                f"Give more pictures with captions, or ask for fewer candidates."
            )
        rows.append(row)
    return torch.tensor(rows)


def _candidate_scores(
    scorer: Matches,
    images: Tensor,
    captions: list[str],
    chosen: Tensor,
    direction: str,
) -> Tensor:
    """Scores of the chosen pairs only, shape (N, K), on the CPU."""
    if isinstance(scorer, MatchesChosen):
        return scorer.candidate_scores(images, captions, chosen, direction).cpu()
    every = scorer.scores(images, captions).cpu()
    if every.shape != (len(images), len(captions)):
        raise ValueError(
            f"scorer must give scores of shape {(len(images), len(captions))}, "
            f"pictures by captions; got {tuple(every.shape)}."
        )
    every = every if direction == DIRECTIONS[0] else every.t()
    return every.gather(1, chosen)


def _same_network(scorer: Any, trainer: nn.Module) -> bool:
    """Whether most weights of the scorer are found, unchanged, in the trainer."""
    if scorer is trainer:
        return True
    if not isinstance(scorer, nn.Module):
        return False
    known: dict[torch.Size, list[Tensor]] = {}
    for parameter in trainer.parameters():
        known.setdefault(parameter.shape, []).append(parameter)

    def found(parameter: Tensor) -> bool:
        return any(
            torch.equal(parameter, other.to(parameter.device, parameter.dtype))
            for other in known.get(parameter.shape, [])
        )

    # Biases and norms that were never trained are alike in any two networks.
    telling = [p for p in scorer.parameters() if p.unique().numel() > 1]
    return bool(telling) and sum(map(found, telling)) > len(telling) / 2
