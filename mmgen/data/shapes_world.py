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

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
SIZES = ("small", "large")
POSITIONS = ("center", "upper left", "upper right", "lower left", "lower right")
RELATIONS = ("left of", "right of", "above", "below")
BACKGROUNDS = ("white", "gray", "beige", "light blue")
MENTIONS = ("colour", "size", "position", "relation", "background")
KINDS = ("single", "colours", "two", "counting", "position", "binding", "mixed")
SPLITS = ("train", "validation", "test", "compositional")
MAX_OBJECTS = 4

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


def one_of(name: str, value: object, known: Sequence[str]) -> None:
    """Raise a ValueError that names the argument unless ``value`` is known."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}.")


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
        objects: none to four of them, the one that a caption would name first in front.
        background: of ``BACKGROUNDS``.
        mentions: of ``MENTIONS``; a caption states these facts besides the shapes and
            how many there are. "position" belongs to one object, "relation" to two.

    Raises:
        ValueError: an unknown background or mention, a mention that does not fit the
            number of objects, or too many objects.
    """

    objects: tuple[Object, ...]
    background: str = "white"
    mentions: tuple[str, ...] = ("colour",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", tuple(self.objects))
        if len(self.objects) > MAX_OBJECTS:
            raise ValueError(
                f"objects must be at most {MAX_OBJECTS}; got {len(self.objects)}."
            )
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


_MASK = (1 << 64) - 1


def mix(value: int) -> int:
    """Hash of a 64-bit integer (splitmix64: Steele, Lea and Flood 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def mix_array(values: np.ndarray) -> np.ndarray:
    """``mix`` of every entry of a uint64 array."""
    values = values + np.uint64(0x9E3779B97F4A7C15)  # wraps, as it should
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_indices(indices: np.ndarray, *keys: int) -> np.ndarray:
    """A uint64 hash of every index under the integer keys."""
    base = 0
    for key in keys:
        base = mix(base ^ (key & _MASK))
    return mix_array(indices.astype(np.uint64) ^ np.uint64(base))


class _Dice:
    """Columns of independent draws, one row a sample."""

    def __init__(self, hashes: np.ndarray) -> None:
        self.hashes = hashes
        self.column = 0

    def below(self, limit: int | np.ndarray, columns: int = 1) -> np.ndarray:
        """Integers in 0..limit-1, shape (N, columns); ``limit`` may be (N, 1)."""
        steps = np.arange(self.column, self.column + columns, dtype=np.uint64)
        self.column += columns
        # multiplied, not added: neighbouring columns share no bits of the argument
        draws = mix_array(
            self.hashes[:, None] ^ (mix_array(steps)[None, :] | np.uint64(1))
        )
        high = (draws >> np.uint64(32)).astype(np.int64)  # 0..2^32-1
        return (high * np.asarray(limit, dtype=np.int64)) >> 32


class SceneTable(Sequence):
    """Scenes as columns of integers: what ``render`` draws a batch from.

    Args:
        codes: (N, 4, 5) int16: shape, colour, size, x, y of every object; x and y in
            units of 1/512; shape -1 where there is no object.
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
        codes = np.full((len(scenes), MAX_OBJECTS, 5), -1, dtype=np.int16)
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
        """Index of the nearest position of every object, shape (N, 4)."""
        anchors = np.array(list(ANCHORS.values()))
        offsets = self.codes[:, :, None, 3:].astype(np.int64) - anchors
        return (offsets**2).sum(axis=-1).argmin(axis=-1)


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
    dice = _Dice(hash_indices(indices, seed, SPLITS.index(split)))
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
    rows = np.arange(len(number))

    # One object: a position and a little freedom, so that the word stays true.
    anchors = np.array(list(ANCHORS.values()))
    alone = anchors[dice.below(len(ANCHORS))] + dice.below(49, 2)[:, None, :] - 24

    # Several: many attempts, the first that fits; first free ones, then one a quarter.
    attempts, free = 24, 12
    span = (high - low + 1)[:, None, :, None]
    draws = dice.below(1 << 20, attempts * MAX_OBJECTS * 2)
    draws = draws.reshape(-1, attempts, MAX_OBJECTS, 2)
    places = low[:, None, :, None] + ((draws * span) >> 20)
    order = np.array(
        [[0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1], [1, 2, 3, 0], [0, 3, 1, 2]]
    )[dice.below(5, attempts - free)]
    quarter = np.array([(140, 140), (372, 372), (372, 140), (140, 372)])[order]
    jitter = ((draws[:, free:] * 61) >> 20) - 30
    jitter[:, -1] = 0  # the last attempt always fits
    places[:, free:] = quarter + jitter
    places = np.clip(places, low[:, None, :, None], high[:, None, :, None])
    places[:, -1] = quarter[:, -1]

    # A relation: one axis is chosen, and the objects lie well apart along it.
    axis = dice.below(2)[:, 0]
    turned = dice.below(2)[:, 0]
    along = np.stack([related & (axis == 0), related & (axis == 1)], axis=-1)
    swap = along[:, None, :] & (
        (places[:, :, 0] > places[:, :, 1]) != (turned[:, None, None] == 1)
    )  # (N, attempts, 2): put the two in the wanted order
    first, second = places[:, :, 0].copy(), places[:, :, 1].copy()
    places[:, :, 0] = np.where(swap, second, first)
    places[:, :, 1] = np.where(swap, first, second)
    offset = np.abs(places[:, :, 0] - places[:, :, 1])
    chosen_axis = np.take_along_axis(offset, axis[:, None, None], axis=2)[..., 0]
    other_axis = np.take_along_axis(offset, 1 - axis[:, None, None], axis=2)[..., 0]
    unrelated = related[:, None] & (2 * other_axis > chosen_axis)
    # swapping moves an object to where the other, of another size, was
    outside = (places < low[:, None, :, None]) | (places > high[:, None, :, None])
    present = np.arange(MAX_OBJECTS) < number[:, None]
    unfit = unrelated | (outside & present[:, None, :, None]).any(axis=(2, 3))
    for i in range(MAX_OBJECTS):
        for j in range(i):
            distance2 = ((places[:, :, i] - places[:, :, j]) ** 2).sum(axis=-1)
            least = (reach[:, i] + reach[:, j] + GAP)[:, None]
            unfit |= (distance2 < least**2) & (i < number)[:, None]
    chosen = unfit.argmin(axis=1)
    several = places[rows, chosen]
    bad = unfit[rows, chosen]
    # the last attempt fits any four objects, but not every relation: a row of two does
    fallback = np.where(turned[:, None] == 1, [372, 140], [140, 372])  # (N, 2)
    line = np.full((len(number), MAX_OBJECTS, 2), 256)
    line[rows[:, None], [[0, 1]], axis[:, None]] = fallback
    several = np.where(bad[:, None, None], line, several)
    return np.where((number == 1)[:, None, None], alone, several)
