"""Is a picture of the kind that a model was trained on?

A captioner describes whatever it is shown, and is not less fluent about a photograph
than about what it knows. So its pictures are looked at by something else first. Of
Shapes that is the reader (``mmgen.data.shapes.read``), which also says what it cannot
recognise. Of emoji it is four statistics of pictures, each with a limit that real ones
keep. Neither knows the model, nor what else a picture may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmgen.data.dataset import one_of
from mmgen.data.emoji import EmojiDataset
from mmgen.data.shapes import Evidence, Scene, read
from mmgen.interfaces import NOTHING

KINDS = ("shapes", "emoji")  # data sets that can be told from other pictures
NO_OBJECT = "no object"
BORDER = "border is not white"
EMPTY = "hardly anything is drawn"
COLOURS = "colours of another kind"
FORMS = "forms of another kind"

_WHITE = 0.9  # of every channel, in [-1, 1]: paler is the ground of emoji
_LEVELS = 16  # of a channel, in which colours are counted
_FEWEST = 0.01  # share of a picture over which its colours are averaged at least
_SIDE = 16  # pixels at which forms are compared
_COMPONENTS = 256  # of the forms of the training set
_TAIL = 0.01  # share of the validation set outside of a limit ...
_BEYOND = 1.2  # ... which is then put so many times farther off
_CHUNK = 256  # pictures at a time


@dataclass(frozen=True)
class Familiarity:
    """Whether pictures are of a known kind.

    Args:
        known: (B,) bool, on the CPU.
        reasons: for each picture why it is not; "" where it is.
    """

    known: Tensor
    reasons: list[str]


def familiar(
    images: Tensor, data_name: str, options: Mapping[str, Any] = NOTHING
) -> Familiarity:
    """Tell pictures of the kind of a data set from others.

    Pictures of Shapes are known if the reader explains all of them: a background with a
    name, and objects of known shapes and colours. An emoji is known if, as in 99 % of
    the validation set and a fifth beyond, its border is white, enough is drawn on it,
    its colours are frequent in the training set, and its form is near the span of the
    first 256 principal components of the training set's.

    At 64 pixels at least 98 % of the test pictures of Shapes, of the emoji roles and of
    all emoji are known, and at most 2 % of noise, of gradients, of inverted pictures,
    and of Shapes where roles are asked for. Up to one in twenty pass of the emoji as
    Shapes, for some are one shape on white, and of Shapes on white as emoji.

    Args:
        images: (B, 3, H, W) in [-1, 1], H = W, as the model is shown them.
        data_name: of ``KINDS``.
        options: of the data set: of Shapes ``objects``, of emoji ``subset`` and
            ``split_by``; others make no difference.

    Raises:
        ValueError: another data set, or pictures of another shape or range. Shapes must
            be of a size that ``read`` takes.
    """
    one_of("data_name", data_name, KINDS)
    if data_name == "shapes":
        readings = read(images)
        allowed = options.get("objects")
        reasons = [
            _unread(scene, evidence, allowed)
            for scene, evidence in zip(readings.scenes, readings.evidence, strict=True)
        ]
    else:
        _check(images)
        chosen = {k: options[k] for k in ("subset", "split_by") if k in options}
        limits = _limits(images.shape[2], tuple(sorted(chosen.items())))
        reasons = [r for part in images.split(_CHUNK) for r in limits.reasons(part)]
    return Familiarity(
        torch.tensor([not r for r in reasons], dtype=torch.bool), reasons
    )


# ------------------------------------------------------------------------------- Shapes


def _unread(scene: Scene, evidence: Evidence, allowed: Sequence[int] | None) -> str:
    """The first thing that the reader cannot recognise, or ""."""
    for doubts in (evidence.doubts, *(thing.doubts for thing in evidence.objects)):
        for fact in ("count", "background", "shape", "colour"):
            if fact in doubts:
                return doubts[fact]
    if not scene.objects:
        return NO_OBJECT
    if allowed is not None and len(scene.objects) not in allowed:
        taught = ", ".join(map(str, allowed))
        return f"objects are {len(scene.objects)}, and not {taught}"
    return ""


# -------------------------------------------------------------------------------- Emoji


@dataclass(frozen=True)
class _Limits:
    """Four statistics of pictures, and how large each may be."""

    costs: Tensor  # (levels ** 3,) bits of a colour of the training set
    mean: Tensor  # (D,) of its small pictures, white being 0
    components: Tensor  # (K, D)
    limits: Mapping[str, float]  # reason -> the largest value of its statistic

    @classmethod
    def of(cls, train: Tensor, held_out: Tensor) -> _Limits:
        """The statistics of a training set, with limits that other pictures keep."""
        counts = torch.bincount(_codes(train)[_drawn(train)], minlength=_LEVELS**3) + 1
        small = _small(train)
        mean = small.mean(dim=0)
        components = torch.linalg.svd(small - mean, full_matrices=False)[2]
        costs = -(counts / counts.sum()).log2()
        free = cls(costs, mean, components[:_COMPONENTS], {})
        limits = {
            reason: _BEYOND * float(values.quantile(1 - _TAIL))
            for reason, values in free.statistics(held_out)
        }
        return cls(free.costs, free.mean, free.components, limits)

    def statistics(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """For each reason a number a picture (B,), large where it applies."""
        drawn = _drawn(images)
        edge = torch.ones(drawn.shape[1:], dtype=torch.bool)
        width = max(1, len(edge) // 32)
        edge[width:-width, width:-width] = False
        # shares that must not be small, turned around
        yield BORDER, 1 / (~drawn[:, edge]).float().mean(1).clamp(min=1e-6)
        share = drawn.float().mean((1, 2))
        yield EMPTY, 1 / share.clamp(min=1e-6)
        paid = (self.costs[_codes(images)] * drawn).mean((1, 2))
        yield COLOURS, paid / share.clamp(min=_FEWEST)
        small = _small(images)
        rest = small - self.mean
        rest = rest - rest @ self.components.T @ self.components
        yield FORMS, rest.norm(dim=1) / small.norm(dim=1).clamp(min=1e-6)

    def reasons(self, images: Tensor) -> list[str]:
        """The first reason that applies to each picture, or ""."""
        found = [""] * len(images)
        for reason, values in self.statistics(images.detach().cpu().float()):
            for i in (values > self.limits[reason]).nonzero().flatten().tolist():
                found[i] = found[i] or reason
        return found


@lru_cache(maxsize=4)
def _limits(image_size: int, options: tuple[tuple[str, Any], ...]) -> _Limits:
    splits = []
    for split in ("train", "validation"):
        dataset = EmojiDataset(split, image_size, **dict(options))
        splits.append(dataset.batch(range(len(dataset))).images)
    return _Limits.of(*splits)


def _drawn(images: Tensor) -> Tensor:
    """Which pixels are not white, (B, H, W) bool."""
    return images.amin(dim=1) < _WHITE


def _codes(images: Tensor) -> Tensor:
    """Colours as integers, (B, H, W)."""
    levels = ((images + 1) / 2 * _LEVELS).long().clamp(0, _LEVELS - 1)
    return (levels[:, 0] * _LEVELS + levels[:, 1]) * _LEVELS + levels[:, 2]


def _small(images: Tensor) -> Tensor:
    """Small pictures as rows, (B, 3 side side), white being 0."""
    return functional.adaptive_avg_pool2d(images, _SIDE).flatten(1) - 1


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(
            f"images must have shape (B, 3, H, W) with H = W; got "
            f"{tuple(images.shape)}."
        )
    if not images.is_floating_point() or not bool((images.abs() <= 1.001).all()):
        raise ValueError(
            "images must be finite floats in [-1, 1]. Of bytes: images / 127.5 - 1."
        )
