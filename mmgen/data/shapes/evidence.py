"""What speaks for and against a reading of a picture: outlines, colours, what is left.

A reading names the objects that explain a picture best; whether the picture shows them
is another question. ``shapes_look`` measures what speaks for and against it, and here
stands what follows: which attributes can be recognised, and why others cannot.

Every limit stands here once, in radii or in distances of colours, with what it means.
They were placed with the labels of ``tests/data/judged`` in view; where one lies in a
gap between what people accepted and refused, it says so. ``benchmarks.agreement``
measures what they decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmgen.data.shapes.world import ATTRIBUTES

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
# and more. People accepted up to 8.1 and refused 10.2.
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
# a twelfth of what the faintest small object has, a pink triangle on gray. Pictures
# that people accepted have none; refused ones with a second object, 579 and more.
LEFT_OVER = 500.0
# Share of a background that has another name than its whole.
UNEVEN = 0.1
# Where much is left over, or no object has a shape, and the objects explain less of a
# picture's contrast than this, it is a picture of something else: nothing counts.
LEAST_EXPLAINED = 0.5

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
