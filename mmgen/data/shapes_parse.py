"""What captions of Shapes demand, found out word by word.

At every word the longest phrase that the lexicon knows is taken, in either language;
one pass over the phrases then puts them together.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from mmgen.data import shapes_language as words
from mmgen.data.shapes_demand import OPPOSITE, Demand, ObjectDemand, canonical
from mmgen.data.shapes_world import (
    BACKGROUNDS,
    COLOURS,
    MAX_OBJECTS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
)
from mmgen.data.vocabulary import tokenize

_Symbol = tuple[str, Any]  # what kind of phrase, and what it stands for

_FILLERS = (
    *("the", "of", "in", "is", "are", "with", "there is", "there are", "that is"),
    *("that are", "colored", "coloured", "exactly", "a group of", "a picture of"),
    *("an image of", "a drawing of", "a photo of", "picture", "image", "drawing"),
    *("photo", "的", "有", "是", "一共", "共有", "这里", "图中", "图的", "画面中"),
    "画面的",
)


@lru_cache(maxsize=1)
def _lexicon() -> dict[tuple[str, ...], _Symbol]:
    """Phrases, as tokens, and what they mean."""
    entries: dict[tuple[str, ...], _Symbol] = {}

    def add(kind: str, value: Any, *texts: str) -> None:
        for text in texts:
            entries[tuple(tokenize(text))] = (kind, value)

    add("filler", None, *_FILLERS)
    add("and", None, "and", "和", "与", "以及", "还有")
    add("at", None, "在", "位于")
    add("count", 1, "a", "an", "one", "1", "1个")
    add("count", 2, "a pair of", "二个")
    for number, english in words.EN_NUMBERS.items():
        add("count", number, *english)
    for number, chinese in words.ZH_NUMBERS.items():
        add("count", number, *chinese, *(f"{word}个" for word in chinese))
    for shape in SHAPES:
        for noun in words.EN_SHAPES[shape]:
            add("shape", shape, noun, words.plural(noun))
        add("shape", shape, *words.ZH_SHAPES[shape])
    add("shape", "circle", "dot", "dots", "disk", "disks", "圆圈")
    for size in SIZES:
        add("size", size, *words.EN_SIZES[size], *words.ZH_SIZES[size])
    add("size", "small", "小", "小号")
    add("size", "large", "大", "大号", "巨大", "巨大的")
    for colour in COLOURS:
        hanzi = words.ZH_COLOURS[colour]
        forms = (form.format(hanzi) for form in words.ZH_COLOUR_FORMS)
        add("colour", colour, colour, *forms)
    add("colour", "pink", "粉红", "粉红色", "粉红色的")
    for position in POSITIONS:
        for place in words.EN_POSITIONS[position]:
            for tail in (place, f"{place} corner"):
                forms = (f"{word} {tail}" for word in ("in the", "at the", "on the"))
                add("position", position, tail, f"at {tail}", f"the {tail}", *forms)
        add("position", position, *words.ZH_POSITIONS[position])
    add("position", "center", "in the centre", "at the centre", "the centre", "centre")
    for relation in RELATIONS:
        sides = words.ZH_RELATIONS[relation]
        add("relation", (relation, "en"), *words.EN_RELATIONS[relation])
        add("relation", (relation, "zh"), *sides, *(f"的{side}" for side in sides))
    add("relation", ("above", "en"), "on top of")
    for ground in BACKGROUNDS:
        for name in (ground, "grey") if ground == "gray" else (ground,):
            forms = (form.format(name) for form in words.EN_BACKGROUND_FORMS)
            add("background", ground, f"{name} background", f"a {name} background")
            add("background", ground, f"the background is {name}", *forms)
        hanzi = words.ZH_BACKGROUNDS[ground]
        forms = (form.format(hanzi) for form in words.ZH_BACKGROUND_FORMS)
        add("background", ground, f"{hanzi}背景上", f"在{hanzi}背景上", *forms)
    return entries


@lru_cache(maxsize=1)
def _known() -> tuple[int, frozenset[str]]:
    """Tokens of the longest phrase, and all tokens that occur in any."""
    lexicon = _lexicon()
    return max(map(len, lexicon)), frozenset().union(*lexicon)


def _scan(caption: str) -> Iterator[_Symbol]:
    """The phrases of a caption in order."""
    tokens, lexicon = tokenize(caption), _lexicon()
    longest, known = _known()
    at = 0
    while at < len(tokens):
        for end in range(min(len(tokens), at + longest), at, -1):
            entry = lexicon.get(tuple(tokens[at:end]))
            if entry is not None:
                yield entry
                at = end
                break
        else:
            word = tokens[at]
            if word in known:
                why = f"uses {word!r} in a way that Shapes does not understand"
            else:
                why = f"has a word that Shapes does not know, {word!r}"
                close = difflib.get_close_matches(word, sorted(known), n=3)
                if close:
                    why += f" (did you mean {' or '.join(map(repr, close))}?)"
            raise _error(why, caption)


def _error(why: str, caption: str) -> ValueError:
    return ValueError(
        f"caption {why}: {caption!r}. Shapes: {', '.join(SHAPES)}; colours: "
        f"{', '.join(COLOURS)}; sizes: {', '.join(SIZES)}. Write for example 'a large "
        f"red star left of a small blue circle' or '左上角有一个红色的五角星'."
    )


class _Reader:
    """The phrases of one caption, put together."""

    def __init__(self, caption: str) -> None:
        self.caption = caption
        self.groups: list[dict[str, Any]] = []  # those whose noun has been read
        self.next: dict[str, Any] = {}  # attributes of the noun to come
        self.joined = False  # "and" was read: an adjective belongs to what comes
        self.located = False  # a Chinese "at" was read: a side belongs to two before it
        self.relation: str | None = None  # of the first group to the second
        self.side: str | None = None  # a relation whose second group is to come
        self.background: str | None = None

    def read(self) -> Demand:
        for kind, value in _scan(self.caption):
            if kind == "shape":
                self._noun(value)
            elif kind == "relation":
                self._place(*value)
            elif kind == "background":
                if self.background not in (None, value):
                    raise self._fail("names two backgrounds")
                self.background = value
            elif kind == "at":
                self.located = True
            elif kind == "and":
                self.joined = True
            elif kind != "filler":
                self._attribute(kind, value)
        return self._demand()

    def _fail(self, why: str) -> ValueError:
        return _error(why, self.caption)

    def _attribute(self, kind: str, value: Any) -> None:
        # "a star in red", "a star in the center": after the noun, unless another object
        # has begun or the noun has such an attribute already
        begun = self.next or self.joined or self.side or not self.groups
        if kind == "count" or begun or kind in self.groups[-1]:
            target = self.next
        else:
            target = self.groups[-1]
        if target.get(kind, value) != value:
            raise self._fail(
                f"gives one object two values of {kind}, {target[kind]!r} and {value!r}"
            )
        target[kind] = value
        self.located = self.located and kind != "position"

    def _noun(self, shape: str) -> None:
        self.groups.append({**self.next, "shape": shape})
        self.next, self.joined = {}, False
        if self.side is not None:
            self._relate(self.side)
            self.side = None

    def _place(self, relation: str, tongue: str) -> None:
        if not self.groups:
            raise self._fail(f"says {relation!r} before it names an object")
        if self.located and len(self.groups) > 1:  # A 在 B 的左边
            self._relate(relation)
        else:  # "A left of B", but B 的左边有 A
            self.side = OPPOSITE[relation] if tongue == "zh" else relation

    def _relate(self, relation: str) -> None:
        if self.relation is not None or len(self.groups) != 2:
            raise self._fail("must state one relation, of two objects")
        self.relation = relation

    def _demand(self) -> Demand:
        if not self.groups:
            raise self._fail("names no shape")
        if self.next:
            values = " and ".join(map(str, self.next.values()))
            raise self._fail(f"ends before it says what is {values}")
        if self.side is not None:
            raise self._fail(f"ends before it says {self.side} what")
        wanted = [ObjectDemand(**group) for group in self.groups]
        total = sum(group.count for group in wanted)
        if total > MAX_OBJECTS:
            raise self._fail(f"asks for {total} objects; at most {MAX_OBJECTS} fit")
        if self.relation is not None and total != 2:
            raise self._fail("must state its relation of two objects")
        return canonical(wanted, self.relation, self.background)


@lru_cache(maxsize=65536)
def parse(caption: str) -> Demand:
    """What a caption demands of a picture, in English or Chinese.

    Args:
        caption: any caption that ``describe`` writes, and others of the same words.

    Returns:
        The demand; ``parse(describe(scene)) == facts(scene)``.

    Raises:
        ValueError: an empty caption, a word that Shapes does not know, or a caption
            that asks for nothing, for the impossible, or for too much.
    """
    if not tokenize(caption):
        raise ValueError(
            f"caption must not be empty; got {caption!r}. Write at least a shape, e.g. "
            f"'a star'."
        )
    return _Reader(caption).read()
