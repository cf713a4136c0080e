"""What a caption of Shapes demands of a picture, in a form that can be compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from mmgen.data.shapes.world import (
    BACKGROUNDS,
    COLOURS,
    MAX_OBJECTS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    relation_of,
)

OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}


# What a caption may leave open about an object.
_OPEN = (("colour", COLOURS), ("size", SIZES), ("position", POSITIONS))


@dataclass(frozen=True)
class ObjectDemand:
    """Objects that a caption asks for; None leaves an attribute open."""

    shape: str
    colour: str | None = None
    size: str | None = None
    position: str | None = None
    count: int = 1

    @property
    def code(self) -> int:
        """An integer for the kind of object, without its count; below 1024, never 0."""
        code = SHAPES.index(self.shape)
        for name, values in _OPEN:
            value = getattr(self, name)
            code = code * (len(values) + 1)
            code += 0 if value is None else 1 + values.index(value)
        return code + 1


@lru_cache(maxsize=4096)
def _object_of(code: int, count: int) -> ObjectDemand:
    """The demand for ``count`` objects of a code."""
    rest, values = code - 1, []
    for _, known in reversed(_OPEN):
        rest, value = divmod(rest, len(known) + 1)
        values.append(None if value == 0 else known[value - 1])
    position, size, colour = values
    return ObjectDemand(SHAPES[rest], colour, size, position, count)


@dataclass(frozen=True)
class Demand:
    """What a caption demands of a picture.

    A picture must show these objects and no others. Alike objects are counted together,
    and the groups are in a fixed order, so that equal demands compare equal.

    Args:
        objects: at least one group.
        relation: of the first object to the second, of ``RELATIONS``.
        background: of ``BACKGROUNDS``.
    """

    objects: tuple[ObjectDemand, ...]
    relation: str | None = None
    background: str | None = None

    @property
    def count(self) -> int:
        """How many objects the picture must show."""
        return sum(group.count for group in self.objects)

    @property
    def id(self) -> int:
        """An integer below 2**48 that no other demand has."""
        codes = [group.code for group in self.objects for _ in range(group.count)]
        codes = sorted(codes + [0] * (MAX_OBJECTS - len(codes)))
        identity = 0
        for code in codes:
            identity = identity << 10 | code
        relation = 0 if self.relation is None else 1 + RELATIONS.index(self.relation)
        ground = (
            0 if self.background is None else 1 + BACKGROUNDS.index(self.background)
        )
        return (identity << 3 | relation) << 3 | ground

    @classmethod
    def of_id(cls, identity: int) -> Demand:
        """The demand that has this ``id``."""
        rest, ground = divmod(identity, 8)
        rest, relation = divmod(rest, 8)
        codes = [rest >> shift & 1023 for shift in (30, 20, 10, 0)]
        totals = Counter(code for code in codes if code)
        return cls(
            tuple(_object_of(code, count) for code, count in totals.items()),
            RELATIONS[relation - 1] if relation else None,
            BACKGROUNDS[ground - 1] if ground else None,
        )

    @property
    def task(self) -> str:
        """The task of GenEval (Ghosh et al. 2023) that the caption belongs to.

        "counting": alike objects only. "position": a relation. "attribute binding":
        objects that differ in shape and colour. "two objects": any other two.
        "colours": one object with its colour, wherever it is. "single object": any
        other. "several groups", which GenEval lacks: three or four objects not alike.
        """
        groups = self.objects
        if self.count == 1:
            coloured = groups[0].colour is not None and groups[0].position is None
            return "colours" if coloured else "single object"
        if len(groups) == 1:
            return "counting"
        if self.relation is not None:
            return "position"
        if self.count > 2:
            return "several groups"
        shapes, colours = {g.shape for g in groups}, {g.colour for g in groups}
        bound = len(shapes) == len(colours) == 2 and None not in colours
        return "attribute binding" if bound else "two objects"


TASKS = (
    "single object",
    "two objects",
    "counting",
    "colours",
    "position",
    "attribute binding",
    "several groups",
)


def canonical(
    wanted: list[ObjectDemand], relation: str | None, background: str | None
) -> Demand:
    """The demand for groups in any order; the relation is the first's to the other."""
    totals: Counter[ObjectDemand] = Counter()
    for group in wanted:
        alike = ObjectDemand(group.shape, group.colour, group.size, group.position)
        totals[alike] += group.count
    kinds = sorted(totals, key=lambda kind: kind.code)
    if relation is not None and wanted[0].code > wanted[1].code:
        relation = OPPOSITE[relation]
    if relation is not None and len(kinds) == 1:
        # two alike: either may be called the first
        relation = {"right of": "left of", "below": "above"}.get(relation, relation)
    groups = tuple(
        ObjectDemand(kind.shape, kind.colour, kind.size, kind.position, totals[kind])
        for kind in kinds
    )
    return Demand(groups, relation, background)


def facts(scene: Scene) -> Demand:
    """What a caption of the scene demands: its objects with the facts it mentions.

    Raises:
        ValueError: a scene without objects or with more than four, which no caption
            describes.
    """
    if not scene.objects:
        raise ValueError("scene must hold an object to be described; it has none.")
    if len(scene.objects) > MAX_OBJECTS:
        raise ValueError(
            f"scene must hold at most {MAX_OBJECTS} objects to be described; it has "
            f"{len(scene.objects)}."
        )
    said = scene.mentions
    return canonical(
        told_objects(scene),
        relation_of(scene.objects) if "relation" in said else None,
        scene.background if "background" in said else None,
    )


def told_objects(scene: Scene) -> list[ObjectDemand]:
    """Each object of a scene, as far as its caption tells of it."""
    said = scene.mentions
    return [
        ObjectDemand(
            thing.shape,
            thing.colour if "colour" in said else None,
            thing.size if "size" in said else None,
            thing.position if "position" in said else None,
        )
        for thing in scene.objects
    ]
