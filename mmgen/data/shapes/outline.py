"""Outlines of Shapes: how far a region's outline is from each shape's.

A region is brought into a frame of its own: its centroid at the origin, its area that
of the circle of radius one. There it is compared with every shape, turned, stretched,
slanted and rounded a little, and the best fit of each shape counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmgen.data.shapes.drawing import outline, signed_distance
from mmgen.data.shapes.world import SHAPES

FRAME = 40  # side of the frame, pixels
EXTENT = 1.9  # half its side, radii of the circle of equal area: a star's tip has 1.5
CELL = (2 * EXTENT / FRAME) ** 2  # area of its pixel
# A hand draws a shape no truer than this, and nobody minds.
_TURNS = (-12, -6, 0, 6, 12)  # degrees
_STRETCHES = (0.82, 0.9, 1.0, 1.11, 1.22)  # width against height, at equal area
_SLANTS = (-0.12, 0.0, 0.12)  # shear
# Edges as blurred as this, in radii, round a shape's corners; one level each.
ROUNDINGS = (0.0, 0.1, 0.2, 0.3, 0.4)
_FINE = 112  # side of the grid on which the shapes themselves are measured
_FINE_EXTENT = 2.5  # half its side, radii: holds the frame slanted and stretched


@dataclass(frozen=True)
class _Templates:
    """Every shape in every pose at one level of rounding, R of them."""

    of_shape: list[slice]  # which of them are of each of ``SHAPES``
    inside: Tensor  # (R, F) 1 inside, F = FRAME * FRAME
    distance: Tensor  # (R, F) to the outline, radii, negative inside
    missing: Tensor  # (R,) the distances inside, summed
    perimeter: Tensor  # (R,) radii


def _axis(side: int, extent: float) -> np.ndarray:
    """Centres of the pixels of a frame, from its middle."""
    return ((np.arange(side) + 0.5) / side * 2 - 1) * extent


def frame_axis() -> Tensor:
    """Centres of the frame's pixels along an axis, in radii, (FRAME,)."""
    return torch.from_numpy(_axis(FRAME, EXTENT)).float()


def _grid(side: int, extent: float) -> np.ndarray:
    axis = _axis(side, extent)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([x, y], axis=-1)


def _area_and_centroid(polygon: np.ndarray) -> tuple[float, np.ndarray]:
    """Of a polygon (N, 2), by the shoelace formula."""
    following = np.roll(polygon, -1, axis=0)
    cross = polygon[:, 0] * following[:, 1] - following[:, 0] * polygon[:, 1]
    area = cross.sum() / 2
    return abs(area), ((polygon + following) * cross[:, None]).sum(0) / (6 * area)


def _rounded(shape: str, rounding: float) -> np.ndarray:
    """Outline (N, 2) of a shape blurred by ``rounding`` radii, of area pi, centred.

    Blur leaves the half-way line of an edge where it was, and takes corners away. Every
    shape is seen whole from its middle, so its outline is a distance for each angle.
    """
    polygon, corner = outline(shape)
    side, extent = 192, 1.8
    distance = signed_distance(_grid(side, extent), polygon) - corner
    pixel = 2 * extent / side
    soft = torch.from_numpy(np.clip(0.5 - distance / pixel, 0, 1)).float()[None, None]
    radius = math.sqrt(float(soft.sum()) * pixel**2 / math.pi)
    if rounding:
        reach = math.ceil(3 * rounding * radius / pixel)
        offsets = torch.arange(-reach, reach + 1) * pixel / (rounding * radius)
        line = torch.exp(-offsets.square() / 2)
        line = line / line.sum()
        soft = functional.conv2d(soft, line[None, None, None], padding=(0, reach))
        soft = functional.conv2d(soft, line[None, None, :, None], padding=(reach, 0))
    angles = torch.arange(120) / 120 * 2 * math.pi
    steps = torch.linspace(0, extent, 600)
    rays = torch.stack([angles.cos(), angles.sin()], -1)[:, None] * steps[:, None]
    along = functional.grid_sample(
        soft, rays[None] / extent, align_corners=False, padding_mode="border"
    )[0, 0]
    last = (along >= 0.5).long().mul(torch.arange(600)).argmax(dim=1)
    edge = (rays[torch.arange(120), last]).double().numpy()
    area, centre = _area_and_centroid(edge)
    return (edge - centre) * math.sqrt(math.pi / area)


@lru_cache(maxsize=1)
def outline_radii() -> tuple[float, ...]:
    """Radius of the circle of a shape's area, in radii of the circle of its size."""
    side, extent = 256, 1.4
    grid, cell = _grid(side, extent), (2 * extent / side) ** 2
    radii = []
    for shape in SHAPES:
        polygon, corner = outline(shape)
        area = (signed_distance(grid, polygon) < corner).sum() * cell
        radii.append(math.sqrt(area / math.pi))
    return tuple(radii)


@lru_cache(maxsize=8)
def _templates(rounding: float, device: torch.device) -> _Templates:
    grid = torch.from_numpy(_grid(FRAME, EXTENT)).float().reshape(-1, 2)
    fine = _grid(_FINE, _FINE_EXTENT)
    of_shape: list[slice] = []
    distances: list[Tensor] = []
    perimeters: list[float] = []
    for shape in SHAPES:
        polygon = _rounded(shape, rounding)
        base = torch.from_numpy(signed_distance(fine, polygon)).float()[None, None]
        begin = len(distances)
        turns = (0,) if shape == "circle" else _TURNS
        for turn, stretch, slant in product(turns, _STRETCHES, _SLANTS):
            cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
            pose = torch.tensor([[cos, -sin], [sin, cos]]) @ torch.tensor(
                [[stretch**0.5, slant], [0.0, stretch**-0.5]]
            )
            back = grid @ torch.linalg.inv(pose).T
            there = functional.grid_sample(
                base, back[None, None] / _FINE_EXTENT, align_corners=False
            ).reshape(FRAME, FRAME)
            # A pose changes distances; dividing by the slope mends it near the outline.
            down, across = torch.gradient(there, spacing=2 * EXTENT / FRAME)
            slope = torch.hypot(down, across).clamp(min=0.5)
            distances.append((there / slope).flatten())
            posed = polygon @ pose.double().numpy().T
            steps = np.roll(posed, -1, axis=0) - posed
            perimeters.append(float(np.hypot(*steps.T).sum()))
        of_shape.append(slice(begin, len(distances)))
    distance = torch.stack(distances).to(device)
    return _Templates(
        of_shape=of_shape,
        inside=(distance < 0).float(),
        distance=distance,
        missing=(-distance).clamp(min=0).sum(1),
        perimeter=torch.tensor(perimeters, device=device),
    )


def perimeters(device: torch.device) -> Tensor:
    """Perimeter of every shape of area pi, (6,)."""
    words = _templates(0.0, device)
    return torch.stack([words.perimeter[rows].min() for rows in words.of_shape])


def compare(regions: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
    """How far regions are from every shape, and how much they share with it.

    The deviation of an outline is the root of the mean square of its distance from the
    shape's outline. Where the two differ by d, the area between them is passed at
    distances 0 to d, which add up to d^2 / 2 for each unit of outline: so it is the
    first moment of the area that only one of them covers.

    Args:
        regions: (N, FRAME, FRAME) of 0 and 1, with area pi and centroid 0.
        rounding: of ``ROUNDINGS``.

    Returns:
        Deviation in radii of the circle of equal area, and intersection over union,
        (N, 6) each: of the pose in which a shape's outline fits best.
    """
    words = _templates(rounding, regions.device)
    flat = regions.flatten(1)
    # outside of the shape its distances count where the region is, inside where not
    moment = flat @ words.distance.T + words.missing
    square = 2 * CELL * moment.clamp(min=0) / words.perimeter
    least = [square[:, rows].min(dim=1) for rows in words.of_shape]
    deviation = torch.stack([fit.values for fit in least], dim=1).sqrt()
    overlap = torch.empty_like(deviation)
    for column, (rows, fit) in enumerate(zip(words.of_shape, least, strict=True)):
        shape = words.inside[rows][fit.indices]
        shared = (shape * flat).sum(1)
        overlap[:, column] = shared / (shape.sum(1) + flat.sum(1) - shared)
    return deviation, overlap
