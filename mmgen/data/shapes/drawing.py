"""Drawing scenes: exact coverage tables, looked up in batches on the CPU or a GPU.

Each shape is a polygon with rounded corners, drawn once on the grid of 1/512. A pixel
of a picture covers a block of that grid, and where the block begins depends only on the
object's centre modulo the pixel: so all that a renderer ever needs fits in a table of a
million numbers, and drawing is two look-ups and one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmgen.data.shapes.world import (
    BACKGROUND_PALETTE,
    PALETTE,
    REACH,
    SCALE,
    SHAPES,
    SIZES,
    UNITS,
    Scene,
    SceneTable,
)

IMAGE_SIZES = (16, 32, 64, 128, 256, 512)
_GRID = 224  # side of a drawn shape, units; holds the farthest tip of a large one


def outline(shape: str) -> tuple[np.ndarray, float]:
    """Polygon (N, 2) and corner radius, in radii of the circle; y points down."""
    turn = 2 * np.pi
    if shape == "circle":
        angles = np.arange(96) / 96 * turn
        return np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.0
    if shape == "square":
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.76, 0.12
    if shape == "triangle":
        angles = np.arange(3) / 3 * turn - turn / 4
        return np.stack([np.cos(angles), np.sin(angles)], axis=1) * 1.14, 0.12
    if shape == "star":
        angles = np.arange(10) / 10 * turn - turn / 4
        radii = np.where(np.arange(10) % 2 == 0, 1.22, 0.5)[:, None]
        return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii, 0.08
    if shape == "heart":
        t = np.arange(96) / 96 * turn
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([x, -y - 1.0], axis=1) / 15.0, 0.0
    arm, tip = 0.26, 0.98  # cross
    corners = [(arm, tip), (arm, arm), (tip, arm)]
    points = []
    for _ in range(4):
        points += corners
        corners = [(y, -x) for x, y in corners]
    return np.array(points), 0.1


def signed_distance(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distance of (..., 2) points to a polygon's outline, negative inside."""
    starts, ends = polygon, np.roll(polygon, -1, axis=0)
    nearest = np.full(points.shape[:-1], np.inf)
    inside = np.zeros(points.shape[:-1], dtype=bool)
    for (x0, y0), (x1, y1) in zip(starts, ends, strict=True):
        dx, dy = x1 - x0, y1 - y0
        px, py = points[..., 0] - x0, points[..., 1] - y0
        t = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, (px - t * dx) ** 2 + (py - t * dy) ** 2)
        # a ray to the right crosses the edge: inside if it crosses an odd number
        if dy != 0:
            crosses = ((py >= 0) != (points[..., 1] - y1 >= 0)) & (px < py * dx / dy)
            inside ^= crosses
    return np.where(inside, -1.0, 1.0) * np.sqrt(nearest)


@lru_cache(maxsize=1)
def _coverage() -> np.ndarray:
    """How much of each unit a shape covers: (shapes x sizes, 224, 224) in 0..1."""
    half = _GRID // 2
    axis = np.arange(_GRID) - half + 0.5  # centres of the units, from the shape's
    y, x = np.meshgrid(axis, axis, indexing="ij")
    points = np.stack([x, y], axis=-1)
    tables = []
    for shape in SHAPES:
        polygon, corner = outline(shape)
        farthest = np.hypot(*polygon.T).max() + corner
        assert farthest <= REACH, (shape, farthest)
        for size in SIZES:
            scale = SCALE[size]
            distance = signed_distance(points / scale, polygon) - corner
            tables.append(np.clip(0.5 - distance * scale, 0, 1))
    return np.stack(tables).astype(np.float32)


def window(image_size: int) -> int:
    """Side of the square of pixels that holds any object at any phase."""
    units = UNITS // image_size  # units of a pixel
    return -(-(_GRID + units - 1) // units)


@lru_cache(maxsize=16)
def templates(image_size: int) -> Tensor:
    """Every shape and size at every phase, in pixels.

    Returns:
        Coverage in 0..1, shape (shapes x sizes, U, U, w, w): U = 512 / image_size
        phases down and across, windows of w = ``window(image_size)`` pixels.
    """
    units, side = UNITS // image_size, window(image_size)
    tables = torch.from_numpy(_coverage())
    result = torch.empty(len(tables), units, units, side, side)
    for i in range(units):
        for j in range(units):
            room = side * units - _GRID
            padded = functional.pad(tables, (j, room - j, i, room - i))
            result[:, i, j] = functional.avg_pool2d(padded, units)
    return result


@lru_cache(maxsize=16)
def _atlas(image_size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the templates with an empty border, and the two palettes."""
    bordered = functional.pad(templates(image_size), (1, 1, 1, 1))
    rows = bordered.reshape(-1, bordered.shape[-1])
    return (
        rows.to(device),
        _palette(PALETTE, device),
        _palette(BACKGROUND_PALETTE, device),
    )


def _palette(colours: dict[str, tuple[int, int, int]], device: torch.device) -> Tensor:
    """Colours as rows in [-1, 1]."""
    return (
        torch.tensor(list(colours.values()), dtype=torch.float32, device=device)
        .div(127.5)
        .sub(1)
    )


def palettes(device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """The colours of objects (8, 3) and of backgrounds (4, 3), in [-1, 1]."""
    device = torch.device(device)
    return _palette(PALETTE, device), _palette(BACKGROUND_PALETTE, device)


def coverage(codes: Tensor, image_size: int) -> Tensor:
    """How much of each pixel each object covers.

    Args:
        codes: (B, K, 5) int64, as in ``SceneTable``; shape -1 = no object.
        image_size: H = W, of ``IMAGE_SIZES``.

    Returns:
        Shape (B, K, H, W) in 0..1.
    """
    units, side = UNITS // image_size, window(image_size) + 2
    rows = _atlas(image_size, codes.device)[0]
    kind = codes[..., 0] * len(SIZES) + codes[..., 2]
    corner = codes[..., 3:] - _GRID // 2  # left and top edge of the drawn shape, units
    pixel = torch.div(corner, units, rounding_mode="floor")
    phase = corner - pixel * units
    pixels = torch.arange(image_size, device=codes.device)
    # a pixel outside an object's window reads the empty border
    local = (pixels - pixel[..., None] + 1).clamp(0, side - 1)  # (B, K, 2, S)
    absent = (codes[..., 0] < 0)[..., None]
    across, down = local[..., 0, :], local[..., 1, :].masked_fill(absent, 0)
    block = ((kind * units + phase[..., 1]) * units + phase[..., 0]).clamp(min=0)
    lines = functional.embedding(block[..., None] * side + down, rows)  # (B, K, H, w)
    return lines.gather(3, across[:, :, None, :].expand(-1, -1, image_size, -1))


def draw(codes: Tensor, backgrounds: Tensor, image_size: int) -> Tensor:
    """The pictures of scene tensors, on their device and without waiting for it.

    Args:
        codes: (B, K, 5) integers, as in ``SceneTable``; K may be less than four.
        backgrounds: (B,) integers.
        image_size: H = W, of ``IMAGE_SIZES``.

    Returns:
        Pictures, shape (B, 3, H, W) in [-1, 1].
    """
    codes, backgrounds = codes.long(), backgrounds.long()
    _, colours, grounds = _atlas(image_size, codes.device)
    ground = grounds[backgrounds]  # (B, 3)
    contrast = colours[codes[..., 1].clamp(min=0)] - ground[:, None]  # (B, K, 3)
    alpha = coverage(codes, image_size).flatten(2)  # (B, K, H W)
    # Objects do not overlap, so that what each adds to the background adds up.
    pictures = torch.baddbmm(ground[..., None], contrast.transpose(1, 2), alpha)
    return pictures.unflatten(2, (image_size, image_size))


def check_image_size(image_size: int) -> None:
    """Raise a ValueError unless Shapes can draw pictures of this size."""
    if image_size not in IMAGE_SIZES:
        raise ValueError(
            f"image_size must be one of {IMAGE_SIZES} for Shapes; got {image_size!r}."
        )


def render(
    scenes: Iterable[Scene], image_size: int = 64, device: torch.device | str = "cpu"
) -> Tensor:
    """Draw scenes, anti-aliased: each pixel is the mean of the area that it covers.

    Args:
        scenes: any number of scenes, or a ``SceneTable``.
        image_size: H = W, of ``IMAGE_SIZES``.
        device: where to draw.

    Returns:
        Pictures, shape (B, 3, H, W) float32 in [-1, 1].

    Raises:
        ValueError: a size that is not offered.
    """
    check_image_size(image_size)
    table = SceneTable.of(scenes)
    used = max(1, int(table.counts().max(initial=1)))
    # A few pictures at a time: their coverage then stays in the processor's cache.
    step = len(table) if torch.device(device).type != "cpu" else 32
    pictures = [
        draw(
            torch.from_numpy(table.codes[i : i + step, :used]).to(device),
            torch.from_numpy(table.backgrounds[i : i + step]).to(device),
            image_size,
        )
        for i in range(0, len(table), max(step, 1))
    ]
    if not pictures:
        return torch.empty(0, 3, image_size, image_size, device=device)
    return torch.cat(pictures)
