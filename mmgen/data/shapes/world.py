"""The world of Shapes: objects, scenes, and which scenes a split holds.

Coordinates run from 0 to 1, x to the right and y down, in steps of 1/512 (``UNITS``):
exact in floating point, so scenes compare exactly and pictures of every size agree.
Every random choice is taken from an integer hash of (seed, split, index), so sample i
is the same on every machine and under every version of every library.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from mmgen.data.dataset import one_of
from mmgen.data.draws import draws

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
SIZES = ("small", "large")
POSITIONS = ("center", "upper left", "upper right", "lower left", "lower right")
RELATIONS = ("left of", "right of", "above", "below")
BACKGROUNDS = ("white", "gray", "beige", "light blue")
# What a caption may demand, in the order of reports.
ATTRIBUTES = (
    *("count", "shape", "colour", "size"),
    *("position", "relation", "background"),
)
MENTIONS = ("colour", "size", "position", "relation", "background")
KINDS = ("single", "colours", "two", "counting", "position", "binding", "mixed")
SPLITS = ("train", "validation", "test", "compositional")
MAX_OBJECTS = 4  # that a caption may ask for

# sRGB. The eight differ in lightness as well as in hue, so that people who confuse hues
# can still tell them apart; the backgrounds are paler than every object.
PALETTE = {
    "red": (214, 32, 44),
    "orange": (250, 130, 20),
    "yellow": (250, 210, 20),
    "green": (20, 140, 70),
    "blue": (25, 85, 215),
    "purple": (120, 30, 150),
    "pink": (245, 110, 185),
    "black": (25, 25, 30),
}
BACKGROUND_PALETTE = {
    "white": (252, 252, 252),
    "gray": (176, 180, 186),
    "beige": (242, 226, 192),
    "light blue": (186, 222, 246),
}

UNITS = 512  # steps of a coordinate across the picture
SCALE = {"small": 50, "large": 82}  # radius of a circle, units
REACH = 1.3  # farthest point of any shape from its centre, in radii of the circle
GAP = 16  # least space between two objects, units: a pixel at 32 px
MARGIN = 6  # least space to the border, units
_NEAR, _FAR = 144, 368  # coordinates of the four corner positions, units
ANCHORS = {
    "center": (256, 256),
    "upper left": (_NEAR, _NEAR),
    "upper right": (_FAR, _NEAR),
    "lower left": (_NEAR, _FAR),
    "lower right": (_FAR, _FAR),
}

# Colour x shape pairs that training never shows, one a colour; every colour and every
# shape is seen in other pairs.
HELD_OUT = frozenset(
    (colour, SHAPES[(5 * i + 3) % len(SHAPES)]) for i, colour in enumerate(COLOURS)
)

_KIND_COUNTS = {
    "single": (1,),
    "colours": (1,),
    "two": (2,),
    "counting": (2, 3, 4),
    "position": (2,),
    "binding": (2,),
    "mixed": (3, 4),
}
_KIND_WEIGHTS = {
    "single": 30,
    "colours": 10,
    "two": 10,
    "counting": 15,
    "position": 15,
    "binding": 12,
    "mixed": 8,
}


@dataclass(frozen=True)
class Object:
    """One thing in a picture.

    Args:
        shape, colour, size: of ``SHAPES``, ``COLOURS``, ``SIZES``.
        x, y: centre, 0 (left, top) to 1 (right, bottom); rounded to 1/512.

    Raises:
        ValueError: an unknown shape, colour or size, or a centre outside the picture.
    """

    shape: str
    colour: str
    size: str
    x: float
    y: float

    def __post_init__(self) -> None:
        one_of("shape", self.shape, SHAPES)
        one_of("colour", self.colour, COLOURS)
        one_of("size", self.size, SIZES)
        for name in ("x", "y"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in 0..1; got {value!r}.")
            object.__setattr__(self, name, round(value * UNITS) / UNITS)

    @classmethod
    def at(cls, shape: str, colour: str, size: str, position: str) -> Object:
        """The object at the middle of one of the five positions."""
        one_of("position", position, POSITIONS)
        x, y = ANCHORS[position]
        return cls(shape, colour, size, x / UNITS, y / UNITS)

    @property
    def position(self) -> str:
        """The nearest of the five positions."""
        distances = [
            (self.x * UNITS - x) ** 2 + (self.y * UNITS - y) ** 2
            for x, y in ANCHORS.values()
        ]
        return POSITIONS[distances.index(min(distances))]


@dataclass(frozen=True)
class Scene:
    """What a picture shows, and which of its facts its caption states.

    Args:
        objects: any number, the one that a caption would name first in front.
        background: of ``BACKGROUNDS``.
        mentions: of ``MENTIONS``; a caption states these facts besides the shapes and
            how many there are. "position" belongs to one object, "relation" to two.

    Raises:
        ValueError: an unknown background or mention, or a mention that does not fit the
            number of objects.
    """

    objects: tuple[Object, ...]
    background: str = "white"
    mentions: tuple[str, ...] = ("colour",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", tuple(self.objects))
        one_of("background", self.background, BACKGROUNDS)
        for mention in self.mentions:
            one_of("mentions", mention, MENTIONS)
        if "position" in self.mentions and len(self.objects) != 1:
            raise ValueError(
                f"mentions: a position is stated of one object; the scene has "
                f"{len(self.objects)}. State a relation, or leave it out."
            )
        if "relation" in self.mentions and relation_of(self.objects) is None:
            raise ValueError(
                "mentions: a relation is stated of two objects that lie clearly left "
                f"and right or one above the other; got {self.objects}."
            )


def relation_of(objects: Sequence[Object]) -> str | None:
    """The relation in which the first of two objects stands to the second.

    The word for the longer of the two offsets; none if the objects are not two or their
    centres coincide.
    """
    if len(objects) != 2:
        return None
    dx, dy = objects[1].x - objects[0].x, objects[1].y - objects[0].y
    if dx == dy == 0:
        return None
    if abs(dx) >= abs(dy):
        return "left of" if dx > 0 else "right of"
    return "above" if dy > 0 else "below"


def holds(relation: str, first: Object, second: Object) -> bool:
    """Whether ``first`` stands in ``relation`` to ``second``.

    It does if the second centre lies within 60 degrees of that direction and at least a
    tenth of the picture away: somebody who looks at a diagonal pair accepts both words.
    """
    one_of("relation", relation, RELATIONS)
    dx, dy = second.x - first.x, second.y - first.y
    along, across = {
        "left of": (dx, dy),
        "right of": (-dx, dy),
        "above": (dy, dx),
        "below": (-dy, dx),
    }[relation]
    return along >= 0.1 and abs(across) <= 3**0.5 * along


class _Dice:
    """Columns of independent draws, one row a sample."""

    def __init__(self, indices: np.ndarray, stream: int) -> None:
        self.indices, self.stream = indices, stream
        self.calls = 0

    def below(
        self, limit: int, columns: int = 1, rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Integers in 0..limit-1, (N, columns); for the samples ``rows`` if given."""
        self.calls += 1
        indices = self.indices if rows is None else self.indices[rows]
        uniform = draws(indices, self.calls, columns, self.stream)
        return (uniform * limit).astype(np.int64)


class SceneTable(Sequence):
    """Scenes as columns of integers: what ``render`` draws a batch from.

    Args:
        codes: (N, K, 5) int16: shape, colour, size, x, y of every object; x and y in
            units of 1/512; shape -1 where there is no object. K is at least four.
        backgrounds: (N,) int16.
        mentions: (N,) int16; bit i stands for ``MENTIONS[i]``.
    """

    def __init__(
        self, codes: np.ndarray, backgrounds: np.ndarray, mentions: np.ndarray
    ) -> None:
        self.codes, self.backgrounds, self.mentions = codes, backgrounds, mentions

    @classmethod
    def of(cls, scenes: Iterable[Scene]) -> SceneTable:
        """The table of some scenes; a table is returned as it is."""
        if isinstance(scenes, SceneTable):
            return scenes
        scenes = list(scenes)
        most = max((len(scene.objects) for scene in scenes), default=0)
        codes = np.full((len(scenes), max(most, MAX_OBJECTS), 5), -1, dtype=np.int16)
        for i, scene in enumerate(scenes):
            for k, thing in enumerate(scene.objects):
                codes[i, k] = (
                    SHAPES.index(thing.shape),
                    COLOURS.index(thing.colour),
                    SIZES.index(thing.size),
                    round(thing.x * UNITS),
                    round(thing.y * UNITS),
                )
        backgrounds = [BACKGROUNDS.index(scene.background) for scene in scenes]
        mentions = [
            sum(1 << MENTIONS.index(mention) for mention in set(scene.mentions))
            for scene in scenes
        ]
        return cls(codes, np.array(backgrounds, np.int16), np.array(mentions, np.int16))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, key: int) -> Scene: ...
    @overload
    def __getitem__(self, key: slice | np.ndarray) -> SceneTable: ...
    def __getitem__(self, key: int | slice | np.ndarray) -> Scene | SceneTable:
        if not isinstance(key, int | np.integer):
            return SceneTable(
                self.codes[key], self.backgrounds[key], self.mentions[key]
            )
        objects = tuple(
            Object(SHAPES[s], COLOURS[c], SIZES[z], x / UNITS, y / UNITS)
            for s, c, z, x, y in self.codes[key].tolist()
            if s >= 0
        )
        bits = int(self.mentions[key])
        mentions = tuple(m for i, m in enumerate(MENTIONS) if bits >> i & 1)
        return Scene(objects, BACKGROUNDS[self.backgrounds[key]], mentions)

    def counts(self) -> np.ndarray:
        """Objects of every scene, shape (N,)."""
        return (self.codes[:, :, 0] >= 0).sum(axis=1)

    def positions(self) -> np.ndarray:
        """Index of the nearest position of every object, shape (N, K)."""
        anchors = np.array(list(ANCHORS.values()))
        offsets = self.codes[:, :, None, 3:].astype(np.int64) - anchors
        return (offsets**2).sum(axis=-1).argmin(axis=-1)

    def relations(self) -> np.ndarray:
        """Index of ``relation_of`` every scene, -1 where it has none; shape (N,)."""
        first, second = self.codes[:, 0, 3:], self.codes[:, 1, 3:]
        dx, dy = (second - first).astype(np.int64).T
        beside = np.where(
            dx > 0, RELATIONS.index("left of"), RELATIONS.index("right of")
        )
        stacked = np.where(dy > 0, RELATIONS.index("above"), RELATIONS.index("below"))
        relation = np.where(np.abs(dx) >= np.abs(dy), beside, stacked)
        defined = (self.counts() == 2) & ((dx != 0) | (dy != 0))
        return np.where(defined, relation, -1)

    def in_reading_order(self) -> SceneTable:
        """The same scenes, of two objects the one on the left, or above, first."""
        turned = np.isin(
            self.relations(), [RELATIONS.index(r) for r in ("right of", "below")]
        )
        codes = self.codes.copy()
        codes[turned, :2] = codes[turned, 1::-1]
        return SceneTable(codes, self.backgrounds, self.mentions)


def sample_scenes(
    count: int,
    *,
    seed: int = 0,
    split: str = "train",
    objects: Sequence[int] = (1, 2, 3, 4),
    kinds: Sequence[str] = KINDS,
    start: int = 0,
) -> SceneTable:
    """Scenes ``start`` to ``start + count - 1`` of a split.

    Args:
        count: how many.
        seed: the world; another seed has other scenes.
        split: of ``SPLITS``. "compositional" scenes show at least one colour x shape
            pair of ``HELD_OUT``, the other splits none.
        objects: allowed numbers of objects, of 1 to 4.
        kinds: allowed kinds of scenes, of ``KINDS``; those which need a number of
            objects that is not allowed never occur.

    Raises:
        ValueError: an unknown split or kind, or kinds and numbers that exclude each
            other.
    """
    one_of("split", split, SPLITS)
    wanted = sorted(set(objects))
    if not wanted or not all(n in range(1, MAX_OBJECTS + 1) for n in wanted):
        raise ValueError(
            f"objects must be numbers from 1 to {MAX_OBJECTS}, e.g. (1, 2); got "
            f"{tuple(objects)}."
        )
    for kind in kinds:
        one_of("kinds", kind, KINDS)
    # A kind that may have several numbers of objects is split over the allowed ones.
    choices = [
        (kind, n, _KIND_WEIGHTS[kind] / len(fitting))
        for kind in KINDS
        if kind in kinds and (fitting := [n for n in _KIND_COUNTS[kind] if n in wanted])
        for n in fitting
    ]
    if seed < 0 or start < 0:
        raise ValueError(f"seed and start must be at least 0; got {seed}, {start}.")
    if not choices:
        raise ValueError(
            f"kinds {tuple(kinds)} do not occur with objects {tuple(objects)}. Kinds "
            f"and their numbers of objects: {_KIND_COUNTS}."
        )
    parts = [
        _sample_block(
            np.arange(first, min(first + 8192, start + count)), seed, split, choices
        )
        for first in range(start, start + count, 8192)
    ]
    if not parts:
        return SceneTable.of([])
    return SceneTable(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.backgrounds for part in parts]),
        np.concatenate([part.mentions for part in parts]),
    )


def _sample_block(
    indices: np.ndarray, seed: int, split: str, choices: list[tuple[str, int, float]]
) -> SceneTable:
    dice = _Dice(indices, seed * len(SPLITS) + SPLITS.index(split))
    weights = np.array([round(weight * 6) for _, _, weight in choices])
    draw = dice.below(int(weights.sum()))[:, 0]
    choice = np.searchsorted(np.cumsum(weights), draw, side="right")
    kind = np.array([KINDS.index(k) for k, _, _ in choices])[choice]
    number = np.array([n for _, n, _ in choices])[choice]

    def is_kind(*names: str) -> np.ndarray:
        return np.isin(kind, [KINDS.index(name) for name in names])

    shape, colour = _sample_pairs(dice, split, is_kind)
    size = dice.below(len(SIZES), MAX_OBJECTS)
    alike = is_kind("counting")
    shape[alike], colour[alike] = shape[alike, :1], colour[alike, :1]
    size[alike] = size[alike, :1]
    percent = dice.below(100, 2)
    says_colour = ~is_kind("two") | (split == "compositional")
    says_size = is_kind("single") | (
        is_kind("counting", "position", "binding") & (percent[:, 0] < 35)
    )
    # Three or four objects fill a caption; there the background goes unsaid.
    says_background = (number <= 2) & (percent[:, 1] < 25)
    says = (says_colour, says_size, is_kind("single"), is_kind("position"))
    mentions = sum(
        fact.astype(np.int16) << i for i, fact in enumerate((*says, says_background))
    )
    places = _sample_places(dice, number, is_kind("position"), shape, size)
    codes = np.concatenate([np.stack([shape, colour, size], -1), places], -1)
    codes[np.arange(MAX_OBJECTS) >= number[:, None]] = -1
    background = dice.below(len(BACKGROUNDS))[:, 0]
    return SceneTable(
        codes.astype(np.int16), background.astype(np.int16), np.asarray(mentions)
    )


def _sample_pairs(dice: _Dice, split: str, is_kind) -> tuple[np.ndarray, np.ndarray]:
    """Shapes and colours, (N, 4) each, with what a kind asks of them."""
    pairs = [(s, c) for s in range(len(SHAPES)) for c in range(len(COLOURS))]
    held_out = [p for p in pairs if (COLOURS[p[1]], SHAPES[p[0]]) in HELD_OUT]
    seen = [p for p in pairs if p not in held_out]
    tries = 6  # of the second object, until it differs as the kind asks
    rest = np.array(pairs if split == "compositional" else seen)
    first = np.array(held_out if split == "compositional" else seen)
    lead = first[dice.below(len(first))[:, 0]]  # (N, 2)
    others = rest[dice.below(len(rest), tries + 2)]  # (N, tries + 2, 2)
    seconds = others[:, :tries]
    same_shape = seconds[..., 0] == lead[:, None, 0]
    same_colour = seconds[..., 1] == lead[:, None, 1]
    unfit = np.where(
        is_kind("binding")[:, None], same_shape | same_colour, same_shape & same_colour
    )
    unfit = np.where(is_kind("two")[:, None], same_shape, unfit)
    chosen = unfit.argmin(axis=1)  # the first that fits
    rows = np.arange(len(lead))
    second = seconds[rows, chosen]
    # None of them fits in one scene of thousands: step through the pairs to one.
    for row in np.flatnonzero(unfit[rows, chosen]):
        fitting = rest[(rest != lead[row]).all(axis=1)]
        second[row] = fitting[row % len(fitting)]
    both = np.concatenate([lead[:, None], second[:, None], others[:, tries:]], axis=1)
    return both[..., 0], both[..., 1]


def _sample_places(
    dice: _Dice,
    number: np.ndarray,
    related: np.ndarray,
    shape: np.ndarray,
    size: np.ndarray,
) -> np.ndarray:
    """Centres in units, (N, 4, 2), that keep objects apart and inside."""
    scales = np.array([SCALE[name] for name in SIZES])
    reach = np.ceil(REACH * scales).astype(np.int64)[size]  # (N, 4)
    low, high = reach + MARGIN, UNITS - reach - MARGIN

    # One object: a position and a little freedom, so that the word stays true.
    anchors = np.array(list(ANCHORS.values()))
    alone = anchors[dice.below(len(ANCHORS))] + dice.below(49, 2)[:, None, :] - 24

    # Several: attempts until one fits, first anywhere, then one object a quarter.
    result = np.repeat(alone, MAX_OBJECTS, axis=1)
    quarters = np.array([(140, 140), (372, 372), (372, 140), (140, 372)])
    axis, turned = dice.below(2)[:, 0], dice.below(2)[:, 0].astype(bool)
    left = np.flatnonzero(number > 1)
    for attempt in range(24):
        free = dice.below(1 << 20, MAX_OBJECTS * 2, left).reshape(-1, MAX_OBJECTS, 2)
        turn = dice.below(MAX_OBJECTS, 1, left) + np.arange(MAX_OBJECTS)
        if attempt < 12:
            span = (high - low + 1)[left, :, None]
            places = low[left, :, None] + (free * span >> 20)
        else:
            places = quarters[turn % MAX_OBJECTS] + (free * 61 >> 20) - 30
        fits = _fit(places, related[left], axis[left], turned[left])
        fits &= _apart(places, number[left], reach[left])
        fits &= (places >= low[left, :, None]).all(axis=(1, 2))
        fits &= (places <= high[left, :, None]).all(axis=(1, 2))
        result[left[fits]] = places[fits]
        left = left[~fits]
    # What never fitted: the middles of the quarters, or a row of two, do for any scene.
    result[left] = quarters
    row = np.where(turned[left, None], [372, 140], [140, 372])  # (left, 2)
    for k in range(2):
        line = np.full((len(left), 2), 256)
        line[np.arange(len(left)), axis[left]] = row[:, k]
        result[left, k] = np.where(related[left, None], line, result[left, k])
    return result


def _fit(
    places: np.ndarray,
    related: np.ndarray,
    axis: np.ndarray,
    turned: np.ndarray,
) -> np.ndarray:
    """Whether two related objects lie clearly along their axis, in the chosen order."""
    offset = places[:, 1] - places[:, 0]
    rows = np.arange(len(offset))
    along, across = offset[rows, axis], offset[rows, 1 - axis]
    clear = np.abs(along) >= 2 * np.abs(across)
    return ~related | (clear & ((along < 0) == turned))


def _apart(places: np.ndarray, number: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Whether no two objects come closer than ``GAP``."""
    apart = np.ones(len(places), dtype=bool)
    for i in range(MAX_OBJECTS):
        for j in range(i):
            distance2 = ((places[:, i] - places[:, j]) ** 2).sum(axis=-1)
            least = reach[:, i] + reach[:, j] + GAP
            apart &= (distance2 >= least**2) | (i >= number)
    return apart
