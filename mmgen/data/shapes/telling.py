"""What a caption tells of a scene, fact by fact: right, wrong, or not at all.

A caption states how many objects there are, and of each group of alike objects its
shape and whatever else it says; it may state a relation and the background. ``judge``
says of each kind of fact whether all of it is right; here every fact is counted. What a
caption may leave open, it is not wrong to leave open: what is *missing* is counted
apart from what is wrong, against the facts that the scene's own caption states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mmgen.data.dataset import one_of
from mmgen.data.shapes.demand import Demand, facts, told_objects
from mmgen.data.shapes.language import language_of
from mmgen.data.shapes.parsing import parse
from mmgen.data.shapes.verdict import OF_OBJECTS, Match, match
from mmgen.data.shapes.world import ATTRIBUTES, Scene


@dataclass(frozen=True)
class FactCounts:
    """Facts of one kind.

    Args:
        stated: by the caption; of alike objects a fact is one.
        right: of those stated; the others are wrong, which is called hallucinated.
        asked: that the scene's own caption states.
        told: of those asked, that the caption tells rightly.
        missing: of those asked, that the caption leaves open; the others it tells
            wrongly.
    """

    stated: int = 0
    right: int = 0
    asked: int = 0
    told: int = 0
    missing: int = 0

    @property
    def wrong(self) -> int:
        """Facts that are stated and not so."""
        return self.stated - self.right


@dataclass(frozen=True)
class Telling:
    """What a caption tells of a scene.

    Args:
        kinds: of ``ATTRIBUTES``, those of which a fact is stated or asked.
        parsed: whether the caption can be understood; if not, it states nothing.
    """

    kinds: Mapping[str, FactCounts]
    parsed: bool

    @property
    def total(self) -> FactCounts:
        """Facts of all kinds together."""
        return _sum(list(self.kinds.values()))

    @property
    def right(self) -> bool:
        """Whether the caption is understood and all that it states is so.

        The same as that ``judge`` finds every demand met.
        """
        return self.parsed and self.total.wrong == 0

    @property
    def complete(self) -> bool:
        """Whether it is right, and tells all that the scene's own caption does."""
        return self.right and self.total.missing == 0

    @property
    def reward(self) -> float:
        """Facts told of those asked, each wrong one counted as one more asked; 0..1.

        The overlap of two sets of facts, intersection over union. It is 1 exactly for
        complete captions, which may say more. To say less, to say a fact twice, and to
        add true facts in place of those asked earn nothing; what is wrong costs.
        """
        total = self.total
        return total.told / (total.asked + total.wrong)


def told(caption: str, scene: Scene, language: str | None = None) -> Telling:
    """Decide every fact that a caption states about a scene, and what it leaves out.

    Objects are matched to those of the caption as ``judge`` does. A fact about a group
    of alike objects is right if at least one of them is there, and all that are have
    it; how many there are is a fact of its own, the number of all objects. A fact that
    is asked is missing if some object that it is about is not told of, or without it;
    of a group with too few objects, the others count as told of.

    Args:
        caption: any text. A text that ``parse`` refuses states nothing.
        scene: what is shown; its ``mentions`` say what is asked besides the shapes and
            how many there are.
        language: "en" or "zh", in which the caption must be written to be understood;
            either by default.

    Raises:
        ValueError: a scene with no object or more than four, or another language.
    """
    if language is not None:
        one_of("language", language, ("en", "zh"))
    asked = facts(scene)
    demand = _understood(caption)
    if demand is None or language not in (None, language_of(caption)):
        missing = {kind: FactCounts(asked=n, missing=n) for kind, n in _each(asked)}
        return Telling(_in_order(missing), parsed=False)
    found = match(demand, scene)
    counted = {"count": len(scene.objects) == demand.count}
    if demand.relation is not None:
        counted["relation"] = found.related
    if demand.background is not None:
        counted["background"] = demand.background == scene.background
    # of the whole picture
    kinds = {
        kind: FactCounts(
            stated=int(kind in counted),
            right=int(counted.get(kind, False)),
            asked=int(wanted),
            told=int(wanted and counted.get(kind, False)),
            missing=int(wanted and kind not in counted),
        )
        for kind, wanted in (
            ("count", True),
            ("relation", asked.relation is not None),
            ("background", asked.background is not None),
        )
        if wanted or kind in counted
    }
    # of its objects
    kinds |= _of_objects(found, demand, scene)
    return Telling(_in_order(kinds), parsed=True)


@lru_cache(maxsize=65536)
def _understood(caption: str) -> Demand | None:
    try:
        return parse(caption)
    except ValueError:
        return None


def _of_objects(
    found: Match, demand: Demand, scene: Scene
) -> Iterator[tuple[str, FactCounts]]:
    """Kinds of facts about objects, those that are stated or asked."""
    said = {shown: wanted for wanted, shown in found.pairs}
    objects = told_objects(scene)
    alike = {
        group: [s for s, each in enumerate(objects) if each == group]
        for group in dict.fromkeys(objects)
    }
    for column, kind in enumerate(OF_OBJECTS):
        stated = right = asked = true = missing = 0
        for group in demand.objects:
            if getattr(group, kind) is not None:
                verdicts = [
                    found.met[w][s][column]
                    for w, s in found.pairs
                    if found.wanted[w] == group
                ]
                stated += 1
                right += bool(verdicts) and all(verdicts)
        for group, members in alike.items():
            if getattr(group, kind) is not None:
                paired = [s for s in members if s in said]
                open_ = [getattr(found.wanted[said[s]], kind) is None for s in paired]
                wrong = any(not found.met[said[s]][s][column] for s in paired)
                asked += 1
                missing += not wrong and (not paired or any(open_))
                true += bool(paired) and not wrong and not any(open_)
        if stated or asked:
            yield kind, FactCounts(stated, right, asked, true, missing)


def _each(demand: Demand) -> Iterator[tuple[str, int]]:
    """How many facts of each kind a caption states."""
    yield "count", 1
    for kind in OF_OBJECTS:
        number = sum(getattr(group, kind) is not None for group in demand.objects)
        if number:
            yield kind, number
    for kind in ("relation", "background"):
        if getattr(demand, kind) is not None:
            yield kind, 1


def _in_order(kinds: Mapping[str, FactCounts]) -> dict[str, FactCounts]:
    return {kind: kinds[kind] for kind in ATTRIBUTES if kind in kinds}


def _sum(counts: Sequence[FactCounts]) -> FactCounts:
    return FactCounts(
        sum(c.stated for c in counts),
        sum(c.right for c in counts),
        sum(c.asked for c in counts),
        sum(c.told for c in counts),
        sum(c.missing for c in counts),
    )
