"""Captions that are wrong in one fact: what teaches a judge to read closely.

Another caption of the batch is usually wrong in everything, so that a judge need only
look at a colour to refuse it. Change one fact of the right caption, the background say,
or which of two objects has which colour, and nothing else will do than to look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from mmgen.data.shapes.demand import Demand, ObjectDemand, canonical
from mmgen.data.shapes.world import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    MAX_OBJECTS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
)

# Kinds of facts of which a caption may have one wrong. "binding": which of two groups
# has which shape or colour.
WRONG_KINDS = (
    *("number", "shape", "colour", "size"),
    *("position", "relation", "binding", "background"),
)
_EXCHANGES = ("shapes exchanged", "colours exchanged")
_VALUES = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "position": POSITIONS}
_Groups = list[ObjectDemand]
_Options = Callable[[], Iterator[Demand]]


def nearly(demand: Demand, which: float, what: float) -> Demand:
    """The demand with one of its facts changed, or two of its facts exchanged.

    Args:
        demand: of a caption.
        which: in [0, 1), picks the kind of fact: a shape, colour, size or position that
            is stated, a number above one, the relation, the background, or which of two
            groups has which shape or colour. All are equally likely.
        what: in [0, 1), picks one of the demands that differ in it.

    Returns:
        A demand that no picture meets together with the first. Pairs of colour and
        shape that are held out of training are not made, unless the demand has them
        itself: they would be learned as always wrong.
    """
    return nearly_of_kind(demand, which, what)[1]


def nearly_of_kind(demand: Demand, which: float, what: float) -> tuple[str, Demand]:
    """``nearly``, and which kind of fact is wrong in it, of ``WRONG_KINDS``.

    The kind is one: where to exchange two shapes, or two colours, is to turn the
    relation around, as of a red circle left of a red square, the relation is wrong.
    """
    kinds = _kinds(demand)
    names = list(kinds)
    first = int(which * len(names))
    for name in names[first:] + names[:first]:
        options = _wrong(demand, kinds[name])
        if options:
            chosen = options[int(what * len(options))]
            if name not in _EXCHANGES:
                return name, chosen
            turned = _wrong(demand, kinds["relation"]) if "relation" in kinds else []
            alike = chosen.id in [option.id for option in turned]
            return ("relation" if alike else "binding"), chosen
    raise AssertionError(f"every shape of {demand} could be another one")


def wrong_in_one_fact(demand: Demand) -> dict[str, list[Demand]]:
    """All that ``nearly`` may make of a demand, by the kind of fact that is wrong."""
    made = {name: _wrong(demand, kind) for name, kind in _kinds(demand).items()}
    return {name: options for name, options in made.items() if options}


def _wrong(demand: Demand, kind: _Options) -> list[Demand]:
    never = HELD_OUT - {(group.colour, group.shape) for group in demand.objects}
    return [
        option
        for option in kind()
        if option.id != demand.id
        # two alike have no relation that a caption could tell
        and (option.relation is None or len(option.objects) == 2)
        and not any((g.colour, g.shape) in never for g in option.objects)
    ]


def _kinds(demand: Demand) -> dict[str, _Options]:
    """One function for each kind of fact that the demand states."""
    groups: _Groups = list(demand.objects)
    if demand.relation is not None:  # the first is here of the second, one by one
        groups = [replace(g, count=1) for g in groups for _ in range(g.count)]

    def made(changed: _Groups) -> Demand:
        return canonical(changed, demand.relation, demand.background)

    def values(name: str) -> Iterator[Demand]:
        for i, group in enumerate(groups):
            if getattr(group, name) is not None:
                for value in _VALUES[name]:
                    changed = _with(group, name, value)
                    yield made([*groups[:i], changed, *groups[i + 1 :]])

    def numbers() -> Iterator[Demand]:
        free = MAX_OBJECTS - demand.count
        for i, group in enumerate(groups):
            for count in range(1, group.count + free + 1):
                yield made([*groups[:i], replace(group, count=count), *groups[i + 1 :]])

    def swapped(name: str) -> Iterator[Demand]:
        a, b = groups
        yield made(exchanged(a, b, name))

    def relations() -> Iterator[Demand]:
        for relation in RELATIONS:
            yield canonical(groups, relation, demand.background)

    def backgrounds() -> Iterator[Demand]:
        for background in BACKGROUNDS:
            yield replace(demand, background=background)

    kinds: dict[str, _Options] = {
        name: partial(values, name)
        for name in _VALUES
        if any(getattr(group, name) is not None for group in groups)
    }
    if demand.relation is not None:
        kinds["relation"] = relations
    elif demand.count > 1:
        kinds["number"] = numbers
    if len(groups) == 2:
        for name in ("shape", "colour"):
            if getattr(groups[0], name) != getattr(groups[1], name):
                kinds[f"{name}s exchanged"] = partial(swapped, name)
    if demand.background is not None:
        kinds["background"] = backgrounds
    return kinds


def exchanged(a: ObjectDemand, b: ObjectDemand, name: str) -> _Groups:
    """Two groups, each with the other's value of an attribute."""
    return [_with(a, name, getattr(b, name)), _with(b, name, getattr(a, name))]


def _with(group: ObjectDemand, name: str, value: Any) -> ObjectDemand:
    return replace(group, **{name: value})
