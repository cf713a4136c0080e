"""Reading pictures of Shapes: analysis by synthesis, then a second look.

A picture minus its background is a sum of objects: coverage times contrast. Matching
pursuit (Mallat and Zhang 1993) explains it with renders of every shape and size at
every place, the one that explains most first; each object found is fitted on a finer
grid of places and blurs, in the end once more with all the others subtracted. Contrasts
are whatever explains best and are named as colours only at the end, so that a picture
that is a little blurred or off in colour is read like any other.

That says what explains a picture best, not whether it explains it well: something
always explains most. So ``shapes_look`` looks again at what was found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from mmgen.data.shapes.drawing import IMAGE_SIZES, coverage, palettes
from mmgen.data.shapes.evidence import Evidence
from mmgen.data.shapes.look import look
from mmgen.data.shapes.world import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIZES,
    UNITS,
    Object,
    Scene,
)

_SIDE = 32  # pictures are read at this size: details below its pixel decide nothing
_COARSE_SIDE = 16  # where an object roughly is can be seen at this size
_BLOCK = (_SIDE // _COARSE_SIDE) ** 2
_COARSE = range(64, UNITS - 63, 32)  # centres that are tried first, units
_FINE = range(-24, 25, 8)  # offsets from there that the fit tries, units
_BLURS = (0.0, 0.6, 1.2)  # standard deviations of the blur that the fit tries, pixels
_WINDOW = 18  # side of the square that the fit looks at, pixels
_SLOTS = 5  # objects looked for: one more than a scene has, to see what is too many
_LEAST_ENERGY = 4.0  # a third of the faintest object's squared contrast, summed
_LEAST_STRENGTH = 0.4  # of the contrast of the colour named: less is a stain
_CHUNK = 128  # pictures at a time
_BEYOND = 0.05  # mean overshoot of [-1, 1] that grain of 0.1 does not reach


@dataclass(frozen=True)
class Readings:
    """What pictures show.

    Args:
        scenes: one a picture, the object that stands out most first, each attribute by
            its nearest name. A scene without objects means that none was found.
        confidence: (B,) in 0..1, the share of the picture's contrast to its background
            that the scene explains: 1 for a clean render, near 0 for noise.
        evidence: one a picture: how clear each attribute is, and what cannot be
            recognised.
    """

    scenes: list[Scene]
    confidence: Tensor
    evidence: list[Evidence]

    def __len__(self) -> int:
        return len(self.scenes)

    def __iter__(self) -> Iterator[tuple[Scene, float]]:
        return iter(zip(self.scenes, self.confidence.tolist(), strict=True))


@dataclass(frozen=True)
class _Dictionary:
    """Renders to explain pictures with, each scaled to energy one."""

    coarse: Tensor  # (coarse side * side, N)
    coarse_codes: Tensor  # (N, 6): as in SceneTable, then the blur
    fine: Tensor  # (window * window, M)
    fine_codes: Tensor  # (M, 6); x and y are offsets


@lru_cache(maxsize=4)
def _dictionary(device: torch.device) -> _Dictionary:
    def codes(places: range, blurs: int) -> Tensor:
        axes = [len(SHAPES), 1, len(SIZES), len(places), len(places), blurs]
        grid = torch.cartesian_prod(*(torch.arange(n, device=device) for n in axes))
        grid[:, 3:5] = grid[:, 3:5] * places.step + places.start
        return grid

    def unit(tables: Tensor) -> Tensor:
        return functional.normalize(tables.flatten(1), dim=1).T.contiguous()

    coarse_codes, fine_codes = codes(_COARSE, 1), codes(_FINE, len(_BLURS))
    coarse = coverage(coarse_codes[None, :, :5], _COARSE_SIDE)[0]
    centred = fine_codes.clone()
    centred[:, 3:5] += UNITS // 2
    first = (_SIDE - _WINDOW) // 2
    inner = slice(first, first + _WINDOW)
    fine = _blurred_coverage(centred[None])[0][:, inner, inner]
    return _Dictionary(unit(coarse), coarse_codes, unit(fine), fine_codes)


@lru_cache(maxsize=4)
def _blur_matrices(device: torch.device) -> Tensor:
    """Blurs along an axis as matrices, (blurs, side, side)."""
    pixels = torch.arange(_SIDE, dtype=torch.float32, device=device)
    distance2 = (pixels[:, None] - pixels).square()
    kernels = [
        torch.exp(-distance2 / (2 * blur**2)) if blur else torch.eye(_SIDE).to(device)
        for blur in _BLURS
    ]
    # Numbers near the smallest that there are would slow products down manyfold.
    kernels = [kernel * (kernel > 1e-8) for kernel in kernels]
    middle = _SIDE // 2
    return torch.stack([kernel / kernel[middle].sum() for kernel in kernels])


def _blurred_coverage(codes: Tensor) -> Tensor:
    """Coverage (B, K, side, side) of codes (B, K, 6), blurred as their last says."""
    blur = _blur_matrices(codes.device)[codes[..., 5]]
    return blur @ coverage(codes[..., :5], _SIDE) @ blur.transpose(2, 3)


def read(images: Tensor) -> Readings:
    """Find out what pictures show, and how clearly.

    Args:
        images: (B, 3, H, W) in [-1, 1], H = W of ``IMAGE_SIZES`` from 32 on, on any
            device; every picture is read by itself.

    Returns:
        The readings; ``confidence`` is on the CPU.

    Raises:
        ValueError: another shape or size, or values that are not finite.
    """
    parts = [_read(chunk) for chunk in _pictures(images)]
    return Readings(
        [scene for scenes, _, _ in parts for scene in scenes],
        torch.cat([confidence for _, confidence, _ in parts] or [torch.empty(0)]),
        [evidence for _, _, several in parts for evidence in several],
    )


def explain(images: Tensor) -> tuple[list[Scene], Tensor]:
    """The scenes that explain pictures best, good or bad: ``read`` without evidence.

    Args:
        images: as for ``read``.

    Returns:
        Scenes, and the share of the contrast that each explains, (B,) in 0..1.

    Raises:
        ValueError: as for ``read``.
    """
    parts = [_explain(chunk) for chunk in _pictures(images)]
    return (
        [scene for part in parts for scene in part.scenes()],
        torch.cat([part.confidence.cpu() for part in parts] or [torch.empty(0)]),
    )


def _pictures(images: Tensor) -> Sequence[Tensor]:
    """Chunks of pictures that can be read, or a ValueError that says why not."""
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(
            f"images must have shape (B, 3, H, W) with H = W; got "
            f"{tuple(images.shape)}. Gray pictures: repeat the channel three times."
        )
    if images.shape[2] not in IMAGE_SIZES or images.shape[2] < _SIDE:
        raise ValueError(
            f"images must be {', '.join(map(str, IMAGE_SIZES[1:]))} pixels wide to be "
            f"read; got {images.shape[2]}. Resize them."
        )
    if not images.is_floating_point():
        raise ValueError(
            f"images must be floats in [-1, 1]; got {images.dtype}. Of bytes: "
            f"images / 127.5 - 1."
        )
    images = images.detach().float()
    if not len(images):
        return []
    low, high = (float(end) for end in images.aminmax())
    if not math.isfinite(low + high):
        raise ValueError("images must be finite; they hold NaN or infinite values.")
    if max(-low, high) <= 1:
        return images.split(_CHUNK)
    # Grain around the ends of the range overshoots a little here and there, and is
    # seen as the end of the range; a wrong scale overshoots everywhere.
    beyond = (images.abs() - 1).clamp(min=0).mean((1, 2, 3)).max()
    if float(beyond) > _BEYOND or max(-low, high) > 2:
        raise ValueError(
            f"images must lie in [-1, 1]; got values from {low:.3g} to {high:.3g}. Of "
            f"0..255: images / 127.5 - 1; of 0..1: images * 2 - 1."
        )
    return images.clamp(-1, 1).split(_CHUNK)


def _background(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The background's colour as it is (B, 3), and which of the palette it is (B,).

    The colour that most pixels (B, 3, P) share: from each of the palette, three steps
    of mean shift (Fukunaga and Hostetler 1975), so that it may be a little off.
    """
    palette = palettes(pixels.device)[1]
    centres = palette.expand(len(pixels), -1, -1)  # (B, 4, 3)
    for _ in range(3):
        distance2 = (
            pixels.square().sum(1)[:, None]
            + centres.square().sum(2)[..., None]
            - 2 * centres @ pixels
        )  # (B, 4, P)
        weights = torch.exp(-distance2.clamp(min=0) / (2 * 0.2**2))
        total = weights.sum(2, keepdim=True)
        moved = weights @ pixels.transpose(1, 2) / total.clamp(min=1e-6)
        centres = torch.where(total > 1, moved, centres)
    best = total[..., 0].argmax(dim=1)
    ground = centres[torch.arange(len(pixels), device=pixels.device), best]
    return ground, torch.cdist(ground, palette).argmin(dim=1)


def _halved(target: Tensor) -> Tensor:
    """Pictures (B, 3, P) at the coarse side."""
    whole = target.unflatten(2, (_SIDE, _SIDE))
    return functional.avg_pool2d(whole, _SIDE // _COARSE_SIDE).flatten(2)


def _contrasts(target: Tensor, alpha: Tensor) -> Tensor:
    """Contrasts (B, K, 3) with which coverages (B, K, P) explain (B, 3, P) best."""
    gram = alpha @ alpha.transpose(1, 2)
    gram = gram + 1e-3 * torch.eye(alpha.shape[1], device=alpha.device)
    return torch.linalg.solve(gram, alpha @ target.transpose(1, 2))


def _fit(left: Tensor, coarse: Tensor, words: _Dictionary) -> Tensor:
    """The object that explains most near a coarse one, alone.

    Args:
        left: (N, 3, P), what is to be explained.
        coarse: (N, 6) codes; the fit moves at most 24 units from there.

    Returns:
        Codes, shape (N, 6).
    """
    half = _WINDOW // 2
    padded = functional.pad(left.unflatten(2, (_SIDE, _SIDE)), (half,) * 4)
    steps = torch.arange(_WINDOW, device=left.device)
    x, y = (coarse[:, 3:5, None] // (UNITS // _SIDE) + steps).unbind(
        1
    )  # (N, window) each
    pixels = (y[:, :, None] * (_SIDE + 2 * half) + x[:, None]).flatten(1)
    windows = padded.flatten(2).gather(2, pixels[:, None].expand(-1, 3, -1))
    best = (windows @ words.fine).square().sum(1).argmax(dim=1)
    fitted = words.fine_codes[best]
    fitted[:, 3:5] += coarse[:, 3:5]
    return fitted


@dataclass
class _Explanation:
    """The objects found so far in a chunk of pictures."""

    coarse: Tensor  # (B, K, 6) codes around which an object is fitted
    codes: Tensor  # (B, K, 6)
    exists: Tensor  # (B, K) bool
    alpha: Tensor  # (B, K, P) coverage, zero where no object exists
    contrast: Tensor  # (B, K, 3)

    def rest(self, target: Tensor) -> Tensor:
        """What (B, 3, P) of the target the objects leave unexplained."""
        return target - self.contrast.transpose(1, 2) @ self.alpha

    def update(self, target: Tensor, rows: Tensor, slot: int, codes: Tensor) -> None:
        """Put codes (N, 6) into a slot of the pictures ``rows``, and weigh anew."""
        self.codes[rows, slot] = codes
        self.alpha[rows, slot] = _blurred_coverage(codes[:, None]).flatten(1)
        self.contrast[rows] = _contrasts(target[rows], self.alpha[rows])


def _pursue(target: Tensor) -> _Explanation:
    """Find up to five objects in pictures without their background, (B, 3, P)."""
    words = _dictionary(target.device)
    size, device = len(target), target.device
    found = _Explanation(
        torch.zeros(size, _SLOTS, 6, dtype=torch.int64, device=device),
        torch.zeros(size, _SLOTS, 6, dtype=torch.int64, device=device),
        torch.zeros(size, _SLOTS, dtype=torch.bool, device=device),
        torch.zeros(size, _SLOTS, target.shape[2], device=device),
        torch.zeros(size, _SLOTS, 3, device=device),
    )
    rows = torch.arange(size, device=device)
    for slot in range(_SLOTS):
        left = found.rest(target)[rows]
        match = _halved(left) @ words.coarse  # (rows, 3, N)
        energy, best = match.square().sum(1).max(dim=1)
        more = energy * _BLOCK > _LEAST_ENERGY
        rows, left, best = rows[more], left[more], best[more]
        if len(rows) == 0:
            break
        found.exists[rows, slot] = True
        found.coarse[rows, slot] = words.coarse_codes[best]
        codes = _fit(left, words.coarse_codes[best], words)
        found.update(target, rows, slot, codes)
    # Once more, each with all the others subtracted.
    for slot in range(_SLOTS):
        rows = found.exists[:, slot].nonzero()[:, 0]
        if len(rows) == 0:
            break
        own = found.contrast[rows, slot, :, None] * found.alpha[rows, slot, None]
        left = found.rest(target)[rows] + own
        found.update(target, rows, slot, _fit(left, found.coarse[rows, slot], words))
    return found


def _name_colours(contrast: Tensor, ground: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the palette each contrast is, and how strong, 1 being the palette's own.

    Blur mixes an object with its background, so contrasts may be up to a third weaker
    than the palette's.

    Args:
        contrast: (B, K, 3), of objects to the background ``ground`` (B, 3).

    Returns:
        Indices into ``COLOURS`` and strengths, (B, K) each.
    """
    ideal = (palettes(contrast.device)[0] - ground[:, None])[:, None]  # (B, 1, 8, 3)
    strength = (contrast[:, :, None] * ideal).sum(-1) / ideal.square().sum(-1)
    scaled = strength.clamp(0.67, 1.1)[..., None] * ideal
    best = (contrast[:, :, None] - scaled).square().sum(-1).argmin(dim=2)
    return best, strength.gather(2, best[..., None])[..., 0]


@dataclass
class _Found:
    """What explains a chunk of pictures, the strongest objects first."""

    codes: Tensor  # (B, K, 5) as in SceneTable
    exists: Tensor  # (B, K) bool
    ground: Tensor  # (B, 3) the background's colour
    background: Tensor  # (B,) which of the palette it is
    confidence: Tensor  # (B,) share of the contrast explained

    def scenes(self, evidence: Sequence[Evidence] | None = None) -> list[Scene]:
        """As scenes; with evidence its names count, which look closer."""
        grounds = [BACKGROUNDS[i] for i in self.background.tolist()]
        codes = [
            [code for code, there in zip(*row, strict=True) if there]
            for row in zip(self.codes.tolist(), self.exists.tolist(), strict=True)
        ]
        if evidence is None:
            names = [
                [(SHAPES[s], COLOURS[c], SIZES[z]) for s, c, z, _, _ in row]
                for row in codes
            ]
        else:
            grounds = [seen.background.name for seen in evidence]
            names = [
                [(o.shape.name, o.colour.name, o.size.name) for o in seen.objects]
                for seen in evidence
            ]
        return [
            Scene(
                tuple(
                    Object(*name, x / UNITS, y / UNITS)
                    for name, (_, _, _, x, y) in zip(things, row, strict=True)
                ),
                ground,
            )
            for things, row, ground in zip(names, codes, grounds, strict=True)
        ]


def _explain(images: Tensor) -> _Found:
    pictures = functional.avg_pool2d(images, images.shape[2] // _SIDE).flatten(2)
    ground, background = _background(pictures)
    target = pictures - ground[..., None]  # (B, 3, P)
    found = _pursue(target)
    colours, strength = _name_colours(found.contrast, ground)
    energy = found.contrast.square().sum(2) * found.alpha.square().sum(2)  # (B, K)
    exists = found.exists & (energy > _LEAST_ENERGY) & (strength > _LEAST_STRENGTH)
    found.alpha *= exists[..., None]
    # Seen from a little farther off, noise and the edges of blurred objects fade. An
    # empty picture is explained by its background, up to a faint object's worth.
    rest, total = (
        _halved(part).square().sum((1, 2)) for part in (found.rest(target), target)
    )
    total = total + 3 * _LEAST_ENERGY / _BLOCK
    codes = found.codes[..., :5]
    codes[..., 1] = colours
    order = energy.masked_fill(~exists, -1).argsort(dim=1, descending=True)
    return _Found(
        codes.gather(1, order[..., None].expand(-1, -1, 5)),
        exists.gather(1, order),
        ground,
        background,
        (1 - rest / total).clamp(0, 1),
    )


def _read(images: Tensor) -> tuple[list[Scene], Tensor, list[Evidence]]:
    found = _explain(images)
    evidence, found.exists = look(
        images, found.codes, found.exists, found.ground, found.confidence
    )
    return found.scenes(evidence), found.confidence.cpu(), evidence
