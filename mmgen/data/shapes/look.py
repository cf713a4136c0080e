"""A second look at the objects that explain a picture of Shapes.

Each object found is looked at again at the picture's own resolution, up to ``FINEST``
pixels: the part of the picture that is its own, the colour of that part, its outline
(``shapes_outline``), and whatever neither objects nor background explain. What comes of
it is ``Evidence``; its limits stand with it, in ``shapes_evidence``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from mmgen.data.shapes import outline as outlines
from mmgen.data.shapes.drawing import coverage, palettes
from mmgen.data.shapes.evidence import (
    FAINT,
    GRAIN,
    MANY_COLOURS,
    MANY_IF_THIN,
    UNNAMED,
    Evidence,
    Named,
    ObjectEvidence,
)
from mmgen.data.shapes.world import (
    ANCHORS,
    BACKGROUNDS,
    COLOURS,
    POSITIONS,
    REACH,
    SCALE,
    SHAPES,
    SIZES,
    UNITS,
)

FINEST = 128  # pixels: finer pictures are averaged down to it
_ROOM = 1.25  # how far an object's part reaches, in radii of its circle's reach
_GROUND_BLUR = UNITS / 8  # background colours vary over this distance, units
_GROUND_SPREAD = 0.15  # colours this far from those of backgrounds may be background
_FRINGE = 24.0  # what is thinner is a fringe and no thing, units: 3 pixels of 64
_EYE_BLUR = 6.4  # averaging before colours are compared, units: 0.8 pixels of 64
_SHARP = 0.15  # an edge blurred less, in radii, leaves an object an inside
_SAME = 0.3  # colours this far from an object's may be its own
_SIZES = torch.tensor([float(SCALE[name]) for name in SIZES])


def lab(colours: Tensor) -> Tensor:
    """CIELAB coordinates (..., 3) of sRGB colours (..., 3) in [-1, 1]; white is D65."""
    # Whole pictures pass through here: powers as exp(p log x), and in place.
    values = colours.reshape(-1, 3).mul(0.5).add_(0.5).clamp_(0, 1)
    linear = values.add(0.055).mul_(1 / 1.055).log_().mul_(2.4).exp_()
    linear = torch.where(values <= 0.04045, values.mul_(1 / 12.92), linear)
    to_xyz = colours.new_tensor(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ (to_xyz / to_xyz.sum(dim=1, keepdim=True)).T
    root = xyz.clamp(min=1e-6).log_().mul_(1 / 3).exp_()
    low = xyz <= (6 / 29) ** 3
    root = torch.where(low, xyz.mul_(841 / 108).add_(4 / 29), root)
    x, y, z = root.unbind(-1)
    coordinates = torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)
    return coordinates.view(colours.shape)


def _blur_line(side: int, sigma: Tensor) -> Tensor:
    """Gaussian blurs along an axis as matrices, (..., side, side) of (..., 1, 1)."""
    pixels = torch.arange(side, dtype=torch.float32, device=sigma.device)
    line = torch.exp(-(pixels[:, None] - pixels).square() / (2 * sigma**2))
    line = line * (line > 1e-8)  # numbers near the smallest would slow products down
    return line / line.sum(-1, keepdim=True)


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Pictures (..., S, S) blurred by a Gaussian of ``sigma`` pixels."""
    line = _blur_line(images.shape[-1], torch.tensor(sigma, device=images.device))
    return line @ images @ line.T


def _grain(images: Tensor) -> Tensor:
    """Standard deviation of the noise of pictures (B, 3, S, S) in a channel, (B,).

    From differences across two by two pixels, which a smooth picture and a straight
    edge do not have; their median does not see what only some of a picture has, such as
    corners, or one speckled object (Donoho and Johnstone 1994, for wavelets).
    """
    across = images[..., 1:] - images[..., :-1]
    both = (across[..., 1:, :] - across[..., :-1, :]).abs() / 2
    return 1.4826 * both[..., ::2].flatten(1).median(dim=1).values


def _averaged(images: Tensor, sigma: Tensor) -> Tensor:
    """Pictures (B, 3, S, S), each blurred by its own ``sigma`` pixels, (B,)."""
    rows = sigma.nonzero()[:, 0]
    if not len(rows):
        return images
    line = _blur_line(images.shape[-1], sigma[rows, None, None])[:, None]
    images = images.clone()
    images[rows] = line @ images[rows] @ line.transpose(2, 3)
    return images


def _left_of(grain: Tensor, sigma: Tensor, eye: float) -> Tensor:
    """What two blurs of ``sigma`` and ``eye`` pixels leave of white noise, (B,)."""
    together = torch.hypot(sigma, torch.full_like(sigma, eye))
    return grain / (2 * math.sqrt(math.pi) * together).clamp(min=1)


def _unrest(colours: Tensor, grain: Tensor) -> Tensor:
    """Root mean square Delta E (N,) by which grain (N,) moves colours (N, 3)."""
    steps = grain[:, None, None] * torch.eye(3, device=grain.device)
    moved = torch.stack([lab(colours[:, None] + way * steps) for way in (1, -1)])
    return (moved - lab(colours)[:, None]).square().sum((2, 3)).mean(0).sqrt()


def _opened(marked: Tensor, width: int) -> Tensor:
    """What of (B, S, S) is in some square of ``width`` pixels that is marked whole."""
    if width < 2:
        return marked
    before, after = (width - 1) // 2, width // 2
    sides = (before, after, before, after)
    whole = functional.pad(marked.float(), sides)[:, None]
    whole = -functional.max_pool2d(-whole, width, 1)
    whole = functional.pad(whole, (after, before, after, before))
    return functional.max_pool2d(whole, width, 1)[:, 0]


def _local_ground(images: Tensor, away: Tensor, ground: Tensor) -> Tensor:
    """The background's colour everywhere, from where it is seen.

    Backgrounds drawn by a model may shade from one of the palette's colours to another.
    So a colour on the line from this picture's background to one of the palette may be
    background; what has another colour, a ghost or a stain, must not pass for it.

    Args:
        images: (B, 3, S, S).
        away: (B, S, S), 1 away from the objects.
        ground: (B, 3), the picture's background.

    Returns:
        Shape (B, 3, S, S).
    """
    lines = palettes(images.device)[1] - ground[:, None]  # (B, 4, 3)
    offset = images.flatten(2) - ground[..., None]  # (B, 3, P)
    along = lines @ offset / lines.square().sum(2, keepdim=True).clamp(min=0.02)
    on_line = along.clamp(0, 1)
    # squared distance from a point on a line, without a tensor of four pictures
    distance2 = (
        offset.square().sum(1)[:, None]
        - 2 * on_line * (lines @ offset)
        + on_line.square() * lines.square().sum(2, keepdim=True)
    ).amin(1)
    weight = away * torch.exp(
        -distance2.clamp(min=0) / (2 * _GROUND_SPREAD**2)
    ).view_as(away)
    sigma = _GROUND_BLUR * images.shape[-1] / UNITS
    weight = weight[:, None]
    total, seen = _blur(images * weight, sigma), _blur(weight, sigma)
    little = 0.03  # where hardly any is seen, the picture's own
    return (total + little * ground[..., None, None]) / (seen + little)


def _named(values: Tensor, names: tuple[str, ...]) -> list[Named]:
    """The two nearest names by distances (N, names)."""
    distance, order = values.topk(2, dim=1, largest=False)
    return [
        Named(names[i], a, names[j], b)
        for (i, j), (a, b) in zip(order.tolist(), distance.tolist(), strict=True)
    ]


def look(
    images: Tensor,
    codes: Tensor,
    exists: Tensor,
    ground: Tensor,
    explained: Tensor,
) -> tuple[list[Evidence], Tensor]:
    """Look again at the objects that explain pictures.

    An outline that is no shape's is explained by several objects side by side. Where
    their parts touch and are of one colour, they are one thing, and it is looked at
    again as a whole.

    Args:
        images: (B, 3, H, W) in [-1, 1], H = W of 32 to 512.
        codes: (B, K, 5) int64 of objects, as in ``SceneTable``.
        exists: (B, K) bool, which of them there are.
        ground: (B, 3), the colour of each background.
        explained: (B,), share of the contrast that the objects explain, 0..1.

    Returns:
        The evidence, one for each picture, its objects in the order of ``codes``; and
        which objects are left, (B, K) bool.
    """
    evidence, parts = _look(images, codes, exists, ground, explained)
    rows = parts.any(dim=1).nonzero()[:, 0]
    if len(rows):
        exists = exists & ~parts
        of_rows = (t[rows] for t in (images, codes, exists, ground, explained))
        again, _ = _look(*of_rows)
        for row, seen in zip(rows.tolist(), again, strict=True):
            evidence[row] = seen
    return evidence, exists


def _look(
    images: Tensor,
    codes: Tensor,
    exists: Tensor,
    ground: Tensor,
    explained: Tensor,
) -> tuple[list[Evidence], Tensor]:
    """``look`` once: evidence, and objects that are part of a stronger one, (B, K)."""
    if images.shape[2] > FINEST:
        images = functional.avg_pool2d(images, images.shape[2] // FINEST)
    grain = _grain(images)
    # a blur of s pixels leaves 1 / (2 sqrt(pi) s) of white noise
    sigma = (grain > GRAIN) * grain / (GRAIN * 2 * math.sqrt(math.pi))
    images = _averaged(images, sigma)
    size, device = images.shape[2], images.device
    pixel = UNITS / size  # units
    used = exists.any(dim=0).nonzero()
    slots, unused = (int(used.max()) + 1 if len(used) else 1), exists.shape[1]
    codes, exists, unused = codes[:, :slots], exists[:, :slots], unused - slots

    # Each pixel belongs to the object whose circle it is nearest to, or to none.
    middle = torch.arange(size, device=device) + 0.5
    reach = REACH * _SIZES.to(device)[codes[..., 2]] / pixel
    dx, dy = (
        (middle - codes[..., axis, None] / pixel) / reach[..., None] for axis in (3, 4)
    )
    distance = torch.sqrt(dx.square()[:, :, None] + dy.square()[..., None])
    distance = distance.masked_fill(~exists[..., None, None], torch.inf)
    nearest, owner = distance.min(dim=1)  # (B, S, S)
    surroundings = _local_ground(images, (nearest > 1.1).float(), ground)
    contrast = images - surroundings  # (B, 3, S, S)

    # From here on a row is an object, seen through a window that holds its part.
    picture, slot = exists.nonzero().unbind(1)
    half = math.ceil(_ROOM * REACH * SCALE["large"] / pixel)
    centre = (codes[picture, slot, 3:5] / pixel).floor().long()  # x, y
    side = 2 * half + 1
    steps = torch.arange(-half, half + 1, device=device)
    x, y = (centre[:, axis, None] + steps for axis in (0, 1))
    inside = ((x >= 0) & (x < size))[:, None] & ((y >= 0) & (y < size))[..., None]
    x, y = x.clamp(0, size - 1), y.clamp(0, size - 1)
    place = (picture[:, None, None], y[..., None], x[:, None])
    own = inside & (owner[place] == slot[:, None, None]) & (nearest[place] < _ROOM)
    own = own.flatten(1).float()  # (N, P)
    pixels = images.permute(0, 2, 3, 1)[place].flatten(1, 2)  # (N, P, 3)
    offset = contrast.permute(0, 2, 3, 1)[place].flatten(1, 2)

    fit = coverage(codes, size)[picture[:, None, None], slot[:, None, None], *place[1:]]
    fit = fit.flatten(1) * own
    colour, direction = _colours(pixels, offset, own, fit)
    along = _projection(offset, direction) * own  # (N, P)
    alpha = along.clamp(0, 1)
    square = (side, side)
    shape, overlap, radius, blur = _outlines(
        alpha.unflatten(1, square), fit.unflatten(1, square)
    )

    edge = torch.hypot(blur * radius, torch.full_like(blur, _EYE_BLUR / pixel))
    depth = (2 * edge).round().clamp(1, 8).long()  # pixels
    solid = (alpha > 0.5).float().unflatten(1, square)
    parts = _parts(solid, slot, colour, place, exists, size)

    # What neither the background nor the objects explain. Blur mixes thin parts with
    # the background, so the middle may be purer than the colour of the whole, and
    # there is a margin; what is farther off is no edge.
    share = along.clamp(min=0).minimum(1 + blur[:, None]) * inside.flatten(1)
    share = share * _grown(solid, depth + 1).flatten(1)
    rest = contrast.clone()
    rest.permute(0, 2, 3, 1).index_put_(
        (place[0].expand(-1, *square), *(i.expand(-1, *square) for i in place[1:])),
        -(share[..., None] * direction[:, None]).unflatten(1, square),
        accumulate=True,
    )
    shown, meant = (
        lab(_blur(part, _EYE_BLUR / pixel).permute(0, 2, 3, 1))
        for part in (images, images - rest)
    )
    seen = (shown - meant).square().sum(3).sqrt()  # (B, S, S)
    still = _left_of(grain, sigma, _EYE_BLUR / pixel)  # (B,)
    faint = FAINT + 3 * _unrest(ground, still)
    things = _opened(seen > faint[:, None, None], round(_FRINGE / pixel))
    left = (seen * things).sum((1, 2)) * (64 / size) ** 2

    # Inside an object, away from its edge, pixels have its colour; what is too thin or
    # blurred to have an inside is compared with its mixture with the background.
    inner = 1 - _grown(1 - solid, depth).flatten(1)
    off = shown[place].flatten(1, 2) - lab(colour)[:, None]
    spread = _mean(inner, off.square().sum(2, keepdim=True))[:, 0]
    thin = _mean((alpha > 0.85).float(), seen[place].flatten(1)[..., None].square())
    whole = (inner.sum(1) > 0) & (blur < _SHARP)
    spread = torch.where(whole, spread, thin[:, 0])
    most = torch.where(whole, MANY_COLOURS, MANY_IF_THIN)
    spread = (spread - _unrest(colour, still[picture]).square()).clamp(min=0).sqrt()

    nearest_shape = shape.argmin(dim=1)
    radii = torch.tensor(outlines.outline_radii(), device=device)
    scale = radius * pixel / radii[nearest_shape]
    ratio = (scale[:, None].clamp(min=1) / _SIZES.to(device)).log().abs()
    anchors = torch.tensor(list(ANCHORS.values()), device=device) / UNITS
    away = torch.cdist(codes[picture, slot, 3:5] / UNITS, anchors)
    colours, grounds = (lab(palette) for palette in palettes(device))
    columns = (
        _named(shape, SHAPES),
        overlap.gather(1, nearest_shape[:, None])[:, 0].tolist(),
        _named(torch.cdist(lab(colour), colours), COLOURS),
        _named(ratio, SIZES),
        _named(away, POSITIONS),
        spread.tolist(),
        most.tolist(),
        blur.tolist(),
    )
    objects: list[list[ObjectEvidence]] = [[] for _ in images]
    for number, *row in zip(picture.tolist(), *columns, strict=True):
        objects[number].append(ObjectEvidence(*row))

    named = torch.cdist(lab(ground), grounds)
    few = functional.avg_pool2d(surroundings, size // 16).permute(0, 2, 3, 1)
    names = torch.cdist(lab(few).flatten(1, 2), grounds).argmin(2)
    uneven = (names != named.argmin(1, keepdim=True)).float().mean(1)
    of_whole = (
        _named(named, BACKGROUNDS),
        uneven.tolist(),
        left.tolist(),
        grain.tolist(),
        explained.tolist(),
    )
    evidence = [
        Evidence(tuple(things), *whole)
        for things, *whole in zip(objects, *of_whole, strict=True)
    ]
    return evidence, functional.pad(parts, (0, unused))


def _mean(weight: Tensor, values: Tensor) -> Tensor:
    """Means (N, C) of values (N, P, C) with weights (N, P)."""
    total = weight.sum(1, keepdim=True).clamp(min=1e-6)
    return (weight[:, None] @ values)[:, 0] / total


def _colours(
    pixels: Tensor, offset: Tensor, own: Tensor, fit: Tensor
) -> tuple[Tensor, Tensor]:
    """The colour of each object, and its difference from the colour around.

    First of what lies inside the object's fit, then, by mean shift, of its pixels that
    are like that and far enough from the background to be no edge.

    Args:
        pixels: (N, P, 3).
        offset: (N, P, 3), their differences from the background.
        own: (N, P), 1 where a pixel is the object's part.
        fit: (N, P), how much of a pixel its fit covers.

    Returns:
        (N, 3) each.
    """
    around = _mean(own, pixels - offset)
    colour = _mean((fit > 0.95).float() + 1e-3 * fit, pixels)
    for least in (0.6, 0.75, 0.85):
        near = (pixels - colour[:, None]).square().sum(2)
        deep = _projection(offset, colour - around) > least
        like = torch.exp(-near / (2 * _SAME**2)) * (own * deep)
        moved = _mean(like, pixels)
        colour = torch.where(like.sum(1, keepdim=True) > 1, moved, colour)
    return colour, colour - around


def _grown(masks: Tensor, steps: Tensor) -> Tensor:
    """Masks (N, W, W), each grown by its own number of pixels, (N,)."""
    most = int(steps.amax()) if len(steps) else 0
    for step in range(most):
        larger = functional.max_pool2d(masks[:, None], 3, 1, 1)[:, 0]
        masks = torch.where((steps > step)[:, None, None], larger, masks)
    return masks


def _parts(
    solid: Tensor,
    slot: Tensor,
    colour: Tensor,
    place: tuple[Tensor, ...],
    exists: Tensor,
    size: int,
) -> Tensor:
    """Objects that touch a stronger one of their colour, (B, K) bool.

    Args:
        solid: (N, W, W), 1 where an object is.
        slot, colour: (N,) and (N, 3) of the objects.
        place: of their windows in the pictures.
        exists: (B, K).
        size: of the pictures, pixels.
    """
    count, slots = exists.shape
    picture = place[0][:, 0, 0]
    owner = solid.new_zeros(count, size, size)
    index = tuple(i.expand(-1, *solid.shape[1:]) for i in place)
    owner.index_put_(index, solid * (slot + 1)[:, None, None], accumulate=True)
    touching = solid.new_zeros(count, slots + 1, slots + 1)
    for one, other in (
        (owner[:, 1:], owner[:, :-1]),
        (owner[:, :, 1:], owner[:, :, :-1]),
    ):
        pairs = ((one > 0) & (other > 0) & (one != other)).nonzero()
        ends = torch.stack([one[tuple(pairs.T)], other[tuple(pairs.T)]], 1).long()
        ends = ends.sort(dim=1).values
        ones = solid.new_ones(len(pairs))
        touching.index_put_((pairs[:, 0], *ends.T), ones, accumulate=True)
    colours = colour.new_full((count, slots, 3), torch.nan)
    colours[picture, slot] = lab(colour)
    alike = torch.cdist(colours, colours) < UNNAMED / 2
    least = max(2, round(_FRINGE * size / UNITS))
    return ((touching[:, 1:, 1:] >= least) & alike).any(dim=1)


def _projection(offset: Tensor, direction: Tensor) -> Tensor:
    """How far pixels (N, P, 3) go along directions (N, 3), 1 being all the way."""
    length2 = direction.square().sum(1, keepdim=True).clamp(min=1e-3)
    return (offset @ direction[..., None])[..., 0] / length2


def _outlines(alpha: Tensor, fit: Tensor) -> tuple[Tensor, ...]:
    """Compare the outlines of objects with those of shapes.

    Args:
        alpha: (N, W, W) in 0..1, how much of a pixel is of the object's colour.
        fit: (N, W, W), the coverage that explained the object.

    Returns:
        Deviations (N, 6) and overlaps (N, 6) as ``compare`` gives them; radius of equal
        area, pixels, and standard deviation of the edge, radii, (N,) each.
    """
    side, device = alpha.shape[1], alpha.device
    middle = torch.arange(side, device=device) + 0.5
    axis = outlines.frame_axis().to(device)
    solid = torch.where(
        (alpha > 0.5).sum((1, 2), keepdim=True) > 0, alpha, fit.clamp(min=1e-6)
    )
    mask = (solid > 0.5).float()
    mask = torch.where(mask.sum((1, 2), keepdim=True) > 0, mask, solid)
    area = mask.sum((1, 2))
    x = (mask.sum(1) @ middle) / area
    y = (mask.sum(2) @ middle) / area
    # The half-way line runs between pixels: found by interpolation, in two rounds.
    for _ in range(2):
        radius = (area / math.pi).sqrt()
        columns = ((x[:, None] + axis * radius[:, None]) / side) * 2 - 1
        lines = ((y[:, None] + axis * radius[:, None]) / side) * 2 - 1
        n = outlines.FRAME
        grid = torch.stack(
            [
                columns[:, None].expand(-1, n, -1),
                lines[..., None].expand(-1, -1, n),
            ],
            dim=-1,
        )
        region = functional.grid_sample(solid[:, None], grid, align_corners=False)
        region = (region[:, 0] > 0.5).float()
        cells = region.sum((1, 2)).clamp(min=1)
        area = cells * outlines.CELL * radius.square()
        x = x + (region.sum(1) @ axis) / cells * radius
        y = y + (region.sum(2) @ axis) / cells * radius
    # An edge blurred by s has a (1 - a) of s / sqrt(pi) for each unit of its length.
    length = outlines.perimeters(device)[0] * radius
    soft = (alpha * (1 - alpha)).sum((1, 2))
    blur = soft * math.sqrt(math.pi) / length / radius
    levels = torch.tensor(outlines.ROUNDINGS, device=device)
    level = (blur[:, None] - levels).abs().argmin(dim=1)
    deviation = torch.empty(len(alpha), len(SHAPES), device=device)
    overlap = torch.empty_like(deviation)
    for number, rounding in enumerate(outlines.ROUNDINGS):
        rows = (level == number).nonzero()[:, 0]
        if len(rows):
            deviation[rows], overlap[rows] = outlines.compare(region[rows], rounding)
    return deviation, overlap, (area / math.pi).sqrt(), blur
