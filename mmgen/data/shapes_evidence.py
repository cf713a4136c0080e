"""What speaks for and against a reading of a picture: outlines, colours, what is left.

A reading names the objects that explain a picture best; whether the picture shows them
is another question. Here each object found is looked at again at the picture's own
resolution, up to ``FINEST`` pixels: the part of the picture that is its own, the colour
of that part, its outline, and whatever neither objects nor background explain.

Every limit stands here once, in pixels of a picture of 64, in radii, or in distances of
colours, with what it means. ``benchmarks.agreement`` measures what they decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mmgen.data import shapes_outline as outlines
from mmgen.data.shapes_render import coverage, palettes
from mmgen.data.shapes_world import (
    ANCHORS,
    ATTRIBUTES,
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
# Of two names the nearer is said only if it is half again as near as the next. So for
# shapes, colours, sizes (as ratios), positions and backgrounds.
CLEAR = 2 / 3
# An outline farther from its shape than this, in radii, could be another's: a circle
# and a square, the two most alike, are 0.097 apart.
LEAST_ALIKE = 0.09
# A colour farther from the palette's than this (CIELAB, Delta E of 1976) has no name.
# People named colours of up to 25, and none of 34 and more; blue and purple, the two
# most alike, are 35 apart.
UNNAMED = 30.0
# Root mean square distance of an object's pixels from what they should be (Delta E),
# beyond what grain makes of it; of two colours of the palette, half and half, it is 17
# and more.
MANY_COLOURS = 10.0
# ... and of what is too thin to have an inside, where edges count as well.
MANY_IF_THIN = 12.0
# Standard deviation of grain in a channel, in units of [-1, 1], to which a picture is
# averaged before it is looked at: an eye that stands back does so, too.
GRAIN = 0.06
# What differs from its surroundings by less than this (Delta E) is not seen as a thing:
# clouds in drawn backgrounds stay below it nearly everywhere.
FAINT = 12.0
# Area times contrast of all that is left over, pixels of a picture of 64 times Delta E:
# a twelfth of what the faintest small object has, a pink triangle on gray.
LEFT_OVER = 500.0
# Share of a background that has another name than its whole.
UNEVEN = 0.1
# Where much is left over, or no object has a shape, and the objects explain less of a
# picture's contrast than this, it is a picture of something else: nothing counts.
LEAST_EXPLAINED = 0.5

_ROOM = 1.25  # how far an object's part reaches, in radii of its circle's reach
_GROUND_BLUR = UNITS / 8  # background colours vary over this distance, units
_GROUND_SPREAD = 0.15  # colours this far from those of backgrounds may be background
_FRINGE = 24.0  # what is thinner is a fringe and no thing, units: 3 pixels of 64
_EYE_BLUR = 6.4  # averaging before colours are compared, units: 0.8 pixels of 64
_SHARP = 0.15  # an edge blurred less, in radii, leaves an object an inside
_SAME = 0.3  # colours this far from an object's may be its own
_RADII = torch.tensor(outlines.outline_radii())
_SIZES = torch.tensor([float(SCALE[name]) for name in SIZES])

OUTLINE = "outline is of no shape"
TWO_SHAPES = "outline is between two shapes"
COLOURLESS = "colour has no name"
TWO_COLOURS = "colour is between two"
MANY = "many colours"
BETWEEN_SIZES = "size is between small and large"
BETWEEN_PLACES = "place is between two"
REST = "something else is left over"
LOST = "hardly anything of the picture is explained"
GROUND = "background has no name"
PATCHY = "background has several colours"
REASONS = (
    *(OUTLINE, TWO_SHAPES, MANY, COLOURLESS, TWO_COLOURS, BETWEEN_SIZES),
    *(BETWEEN_PLACES, REST, LOST, GROUND, PATCHY),
)


@dataclass(frozen=True)
class Named:
    """A name, how far off it is, and the next.

    Args:
        name, distance: the nearest name, and its distance in the attribute's own unit.
        next, next_distance: the second nearest.
    """

    name: str
    distance: float
    next: str
    next_distance: float

    @property
    def clear(self) -> bool:
        """Whether the name is half again as near as the next."""
        return self.distance <= CLEAR * self.next_distance


@dataclass(frozen=True)
class ObjectEvidence:
    """What an object looks like.

    Args:
        shape: distances are root mean square deviations of outlines, in radii of the
            circle of equal area.
        overlap: intersection over union with the nearest shape in its best pose, 0..1.
        colour: distances in CIELAB (Delta E of 1976).
        size: distances as ratios of radii, in natural logarithms.
        position: distances in widths of the picture.
        spread: root mean square distance of its pixels from what they should be
            (Delta E), beyond what the picture's grain makes of it.
        many: a spread above this is of many colours (Delta E).
        blur: standard deviation of its edge, radii.
    """

    shape: Named
    overlap: float
    colour: Named
    size: Named
    position: Named
    spread: float
    many: float
    blur: float

    @property
    def doubts(self) -> dict[str, str]:
        """Attributes that cannot be recognised, each with its reason of ``REASONS``.

        What is of many colours is no object, whatever its outline: its shape counts as
        not recognisable.
        """
        doubts = {}
        if self.spread > self.many:
            doubts = {"shape": MANY, "colour": MANY}
        elif self.shape.distance > LEAST_ALIKE:
            doubts["shape"] = OUTLINE
        elif not self.shape.clear:
            doubts["shape"] = TWO_SHAPES
        if "colour" not in doubts:
            if self.colour.distance > UNNAMED:
                doubts["colour"] = COLOURLESS
            elif not self.colour.clear:
                doubts["colour"] = TWO_COLOURS
        if not self.size.clear:
            doubts["size"] = BETWEEN_SIZES
        if not self.position.clear:
            doubts["position"] = BETWEEN_PLACES
        return doubts


@dataclass(frozen=True)
class Evidence:
    """What a picture looks like.

    Args:
        objects: of each object found.
        background: distances in CIELAB.
        uneven: share of the background that has another name, 0..1.
        left_over: area times contrast of what neither objects nor background explain,
            pixels of a picture of 64 times Delta E.
        grain: standard deviation of noise in each channel, in units of [-1, 1].
        explained: share of the picture's contrast that the objects explain, 0..1.
    """

    objects: tuple[ObjectEvidence, ...]
    background: Named
    uneven: float
    left_over: float
    grain: float
    explained: float

    @property
    def doubts(self) -> dict[str, str]:
        """Attributes of the whole that cannot be recognised, each with its reason."""
        more = self.left_over > LEFT_OVER
        nothing = all("shape" in thing.doubts for thing in self.objects)
        if self.explained < LEAST_EXPLAINED and (more or nothing):
            return dict.fromkeys(ATTRIBUTES, LOST)
        doubts = {"count": REST} if more else {}
        if self.uneven > UNEVEN:
            doubts["background"] = PATCHY
        elif self.background.distance > UNNAMED or not self.background.clear:
            doubts["background"] = GROUND
        return doubts


def lab(colours: Tensor) -> Tensor:
    """CIELAB coordinates (..., 3) of sRGB colours (..., 3) in [-1, 1]; white is D65."""
    values = ((colours.reshape(-1, 3) + 1) / 2).clamp(0, 1)
    linear = torch.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )
    to_xyz = colours.new_tensor(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(dim=1)
    root = torch.where(
        xyz > (6 / 29) ** 3, xyz.clamp(min=1e-6) ** (1 / 3), xyz * 841 / 108 + 4 / 29
    )
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
    base = pixels - offset

    def mean(weight: Tensor, values: Tensor) -> Tensor:
        total = weight.sum(1, keepdim=True).clamp(min=1e-6)
        return (weight[:, None] @ values)[:, 0] / total

    # The colour of an object: of what lies inside its fit, then of what is like it.
    fit = coverage(codes, size)[picture[:, None, None], slot[:, None, None], *place[1:]]
    fit = fit.flatten(1) * own
    around = mean(own, base)
    colour = mean((fit > 0.95).float() + 1e-3 * fit, pixels)
    for least in (0.6, 0.75, 0.85):
        direction = colour - around
        alpha = _projection(offset, direction)
        like = torch.exp(
            -(pixels - colour[:, None]).square().sum(2) / (2 * _SAME**2)
        ) * (own * (alpha > least))
        moved = mean(like, pixels)
        colour = torch.where(like.sum(1, keepdim=True) > 1, moved, colour)
    direction = colour - around
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
    spread = mean(inner, off.square().sum(2, keepdim=True))[:, 0]
    thin = mean((alpha > 0.85).float(), seen[place].flatten(1)[..., None].square())
    whole = (inner.sum(1) > 0) & (blur < _SHARP)
    spread = torch.where(whole, spread, thin[:, 0])
    most = torch.where(whole, MANY_COLOURS, MANY_IF_THIN)
    spread = (spread - _unrest(colour, still[picture]).square()).clamp(min=0).sqrt()

    nearest_shape = shape.argmin(dim=1)
    scale = radius * pixel / _RADII.to(device)[nearest_shape]
    ratio = (scale[:, None].clamp(min=1) / _SIZES.to(device)).log().abs()
    anchors = torch.tensor(list(ANCHORS.values()), device=device) / UNITS
    away = torch.cdist(codes[picture, slot, 3:5] / UNITS, anchors)
    colours, grounds = (lab(palette) for palette in palettes(device))
    rows = list(
        zip(
            _named(shape, SHAPES),
            overlap.gather(1, nearest_shape[:, None])[:, 0].tolist(),
            _named(torch.cdist(lab(colour), colours), COLOURS),
            _named(ratio, SIZES),
            _named(away, POSITIONS),
            spread.tolist(),
            most.tolist(),
            blur.tolist(),
            strict=True,
        )
    )
    named = torch.cdist(lab(ground), grounds)
    few = functional.avg_pool2d(surroundings, size // 16).permute(0, 2, 3, 1)
    names = torch.cdist(lab(few).flatten(1, 2), grounds).argmin(2)
    uneven = (names != named.argmin(1, keepdim=True)).float().mean(1)
    objects: list[list[ObjectEvidence]] = [[] for _ in images]
    for number, row in zip(picture.tolist(), rows, strict=True):
        objects[number].append(ObjectEvidence(*row))
    evidence = [
        Evidence(tuple(things), *whole)
        for things, *whole in zip(
            objects,
            _named(named, BACKGROUNDS),
            uneven.tolist(),
            left.tolist(),
            grain.tolist(),
            explained.tolist(),
            strict=True,
        )
    ]
    return evidence, parts


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
