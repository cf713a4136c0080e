"""Whether a scene or a picture shows what a caption demands, attribute by attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from mmgen.data.shapes.demand import Demand, ObjectDemand
from mmgen.data.shapes.evidence import Evidence
from mmgen.data.shapes.world import ATTRIBUTES, Object, Scene, holds

# What a caption may demand of an object by itself.
OF_OBJECTS = ("shape", "colour", "size", "position")
NOT_SHOWN = "not as asked"


def judge(
    demand: Demand, scene: Scene, evidence: Evidence | None = None
) -> dict[str, bool]:
    """Decide which of its demands a caption finds met.

    The objects shown are matched to those demanded in the way that meets most demands.
    Then "count" is right if exactly as many are shown as demanded; "shape", "colour",
    "size" and "position" if all matched objects have what is demanded of them and every
    demanded group is matched; "relation" if the matched two stand so, and both can be
    recognised. What is not shown is not right.

    Args:
        demand: of ``parse``.
        scene: any, usually of ``read``.
        evidence: of ``read``, for a picture; what it cannot recognise is not right.

    Returns:
        One entry for each of ``ATTRIBUTES`` that the caption demands; the picture is
        right if all are true.
    """
    whole = {} if evidence is None else evidence.doubts
    found = match(demand, scene, evidence)
    reached = {found.wanted[w] for w, _ in found.pairs} == set(found.wanted)
    verdict = {"count": len(scene.objects) == len(found.wanted)}
    for column, name in enumerate(OF_OBJECTS):
        if any(getattr(group, name) is not None for group in demand.objects):
            verdict[name] = reached and all(
                found.met[w][s][column] for w, s in found.pairs
            )
    if demand.relation is not None:
        verdict["relation"] = found.related
    if demand.background is not None:
        verdict["background"] = scene.background == demand.background
    return {name: right and name not in whole for name, right in verdict.items()}


@dataclass(frozen=True)
class Match:
    """Objects demanded, and which of those shown each is taken to be.

    Args:
        wanted: the objects demanded, alike ones one by one.
        met: of each wanted and shown, whether the one shown meets each of
            ``OF_OBJECTS``; what is left open is met.
        pairs: indices of wanted and shown; of two numbers the smaller is paired.
        related: whether the demanded relation holds of the pairs.
    """

    wanted: list[ObjectDemand]
    met: list[list[tuple[bool, ...]]]
    pairs: list[tuple[int, int]]
    related: bool


def match(demand: Demand, scene: Scene, evidence: Evidence | None = None) -> Match:
    """Match objects to those demanded in the way that meets most demands.

    Of equally good ways one that meets most shapes. Arguments as for ``judge``.
    """
    doubts: Sequence[Mapping[str, str]] = [{}] * len(scene.objects)
    if evidence is not None:
        doubts = [thing.doubts for thing in evidence.objects]
    wanted = [group for group in demand.objects for _ in range(group.count)]
    shown = scene.objects
    looks = list(zip(shown, doubts, strict=True))
    met = [[_meets(group, *look) for look in looks] for group in wanted]
    best: tuple[int, int] = (-1, -1)
    pairs: list[tuple[int, int]] = []
    related = False
    for matching in _matchings(len(wanted), len(shown)):
        score = [met[w][s] for w, s in matching]
        partner = dict(matching)
        holding = (
            demand.relation is not None
            and partner.keys() >= {0, 1}
            and holds(demand.relation, shown[partner[0]], shown[partner[1]])
            # of things that have no shape nobody could say which stands where
            and not any("shape" in doubts[partner[w]] for w in (0, 1))
        )
        value = sum(map(sum, score)) + holding, sum(shape for shape, *_ in score)
        if value > best:
            best, pairs, related = value, matching, holding
    return Match(wanted, met, pairs, related)


def reasons(verdict: Mapping[str, bool], evidence: Evidence) -> dict[str, str]:
    """Why each attribute that is not right is not.

    Args:
        verdict: of ``judge`` with this evidence.
        evidence: of the picture.

    Returns:
        For each attribute that is false either one of ``REASONS``, why it cannot be
        recognised, or ``NOT_SHOWN``: it can be, and is another than asked for.
    """
    found = {}
    unclear = [evidence.doubts, *(thing.doubts for thing in evidence.objects)]
    for name in ATTRIBUTES:
        if verdict.get(name, True):
            continue
        asked = "shape" if name == "relation" else name
        found[name] = next(
            (doubts[asked] for doubts in unclear if asked in doubts), NOT_SHOWN
        )
    return found


def _meets(
    group: ObjectDemand, thing: Object, unclear: Mapping[str, str]
) -> tuple[bool, ...]:
    """Shape, colour, size, position: met and clear, or left open."""
    return tuple(
        (value := getattr(group, name)) is None
        or (name not in unclear and value == getattr(thing, name))
        for name in OF_OBJECTS
    )


def _matchings(wanted: int, shown: int) -> list[list[tuple[int, int]]]:
    """All ways to pair as many of the wanted with as many of the shown as possible."""
    if shown >= wanted:
        return [list(enumerate(way)) for way in permutations(range(shown), wanted)]
    return [
        [(w, s) for s, w in enumerate(way)]
        for way in permutations(range(wanted), shown)
    ]
