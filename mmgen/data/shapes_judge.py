"""Whether a scene shows what a caption demands, attribute by attribute."""

from __future__ import annotations

from itertools import permutations

from mmgen.data.shapes_demand import Demand, ObjectDemand
from mmgen.data.shapes_world import Object, Scene, holds

ATTRIBUTES = (
    "count",
    "shape",
    "colour",
    "size",
    "position",
    "relation",
    "background",
)
_OF_OBJECTS = ("shape", "colour", "size", "position")


def judge(demand: Demand, scene: Scene) -> dict[str, bool]:
    """Decide which of its demands a caption finds met.

    The objects shown are matched to those demanded in the way that meets most demands.
    Then "count" is right if exactly as many are shown as demanded; "shape", "colour",
    "size" and "position" if all matched objects have what is demanded of them and every
    demanded group is matched; what is not shown is not right.

    Args:
        demand: of ``parse``.
        scene: any, usually of ``read``.

    Returns:
        One entry for each of ``ATTRIBUTES`` that the caption demands; the picture is
        right if all are true.
    """
    wanted = [group for group in demand.objects for _ in range(group.count)]
    shown = scene.objects
    met = [[_meets(group, thing) for thing in shown] for group in wanted]
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
        )
        value = sum(map(sum, score)) + holding, sum(shape for shape, *_ in score)
        if value > best:
            best, pairs, related = value, matching, holding
    reached = {wanted[w] for w, _ in pairs} == set(wanted)
    verdict = {"count": len(shown) == len(wanted)}
    for column, name in enumerate(_OF_OBJECTS):
        if any(getattr(group, name) is not None for group in demand.objects):
            verdict[name] = reached and all(met[w][s][column] for w, s in pairs)
    if demand.relation is not None:
        verdict["relation"] = related
    if demand.background is not None:
        verdict["background"] = scene.background == demand.background
    return verdict


def _meets(group: ObjectDemand, thing: Object) -> tuple[bool, ...]:
    """Shape, colour, size, position: met or left open."""
    return tuple(
        getattr(group, name) in (None, getattr(thing, name)) for name in _OF_OBJECTS
    )


def _matchings(wanted: int, shown: int) -> list[list[tuple[int, int]]]:
    """All ways to pair as many of the wanted with as many of the shown as possible."""
    if shown >= wanted:
        return [list(enumerate(way)) for way in permutations(range(shown), wanted)]
    return [
        [(w, s) for s, w in enumerate(way)]
        for way in permutations(range(wanted), shown)
    ]
