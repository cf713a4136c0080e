"""What people write about Shapes: the phrases, and the sentences made of them.

``ENGLISH`` and ``CHINESE`` are grammars: a lexicon from phrases to kinds of phrase
(capital letters), and rules that put kinds together (small letters; ``?`` marks what
may be left out), each with a function from the values of its parts to its own.
Rules also derive what Shapes cannot show, so that a caption which may mean it is
refused with the reason, and not read as something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from mmgen.data.shapes.language import (
    EN_POSITIONS,
    EN_RELATIONS,
    EN_SHAPES,
    EN_SIZES,
    ZH_BACKGROUNDS,
    ZH_COLOURS,
    ZH_SHAPES,
    plural,
)
from mmgen.data.shapes.world import BACKGROUNDS, COLOURS, POSITIONS, RELATIONS, SIZES

# A run of letters and digits is a word; a Chinese character or a mark is one by itself.
HANZI = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"(?:(?![{HANZI}])[^\W_])+(?:'[a-z]+)?|\S")

Attribute = tuple[str, Any]  # a kind ("colour", "size", "position") and its value


class Group(NamedTuple):
    """Objects that a noun names, with what is said about them."""

    shape: str
    many: bool  # the noun is an English plural
    number: int | None = None  # None: none was said
    opened: bool = False  # it begins with a number or an article of its own
    before: tuple[Attribute, ...] = ()  # adjectives before the noun
    after: tuple[Attribute, ...] = ()  # "in red", "that is red", "in the center"
    front: Place | None = None  # "in the center is a star"
    clause: bool = False  # "the star is red"


class Place(NamedTuple):
    """A position that is said before an object."""

    position: str
    sure: bool  # of the picture; "upper left" might also be that of another object
    verb: bool  # a verb follows: the place belongs to what comes, not to what was


class Row(NamedTuple):
    """Groups side by side in a sentence."""

    groups: tuple[Group, ...]
    joints: tuple[str | None, ...]  # before all but the first: "and", "," or nothing


class Refusal(NamedTuple):
    """A derivation that is no demand.

    ``meant``: somebody may well mean it, so the caption cannot be read as anything
    else. If not, it only says why nothing could be read.
    """

    why: str
    meant: bool = True


class Related(NamedTuple):
    """One row of groups in relation to another.

    ``apart``: what is said of one cannot be meant of the other as well, as it can in "a
    star left of a circle in red".
    """

    first: Row
    relation: str
    second: Row
    apart: bool = False


Build = Callable[..., Any]
Rules = list[tuple[str, Build]]  # alternatives: the parts, and their function


@dataclass
class Step:
    """A part of rules, and what may follow: rules that begin alike share their steps.

    Args:
        symbol: what is read.
        optional: whether it may be left out.
        starts: kinds of phrase that the symbol may begin with.
        builds: of the rules that end here.
        next: the steps after this one.
    """

    symbol: str
    optional: bool
    starts: frozenset[str]
    builds: list[Build]
    next: list[Step]


@dataclass(frozen=True)
class Grammar:
    """A lexicon and rules, ready for the chart.

    Args:
        phrases: from the first token of a phrase to (the rest, kind, value).
        rules: from a symbol to the first steps of its rules.
        known: all tokens of all phrases.
    """

    phrases: dict[str, list[tuple[tuple[str, ...], str, Any]]]
    rules: dict[str, list[Step]]
    known: frozenset[str]


SIDES_OF_PICTURE = Refusal(
    "puts something at a side of the picture; of one object Shapes knows only the "
    "positions below, of two their relation, e.g. 'a star left of a circle'"
)
NO_RELATION = Refusal(
    "places an object in, on, near or at a corner of another, or may mean that; of two "
    "objects Shapes knows only the relations below (and 'and')"
)
ONE_RELATION = Refusal("must state one relation, of two objects")
BELOW_WHAT = Refusal(
    "may mean that the first object is above or below the second, or the second the "
    "first; write 'a star below a circle'"
)


def _grammar(
    lexicon: Iterator[tuple[str, Any, str]], rules: dict[str, Rules]
) -> Grammar:
    phrases: dict[str, list[tuple[tuple[str, ...], str, Any]]] = {}
    for kind, value, text in dict.fromkeys(lexicon):
        first, *rest = tokens_of(text)
        phrases.setdefault(first, []).append((tuple(rest), kind, value))
    later = (rest for found in phrases.values() for rest, *_ in found)
    starts = _starts(rules)
    steps = {name: _steps(alternatives, starts) for name, alternatives in rules.items()}
    return Grammar(phrases, steps, frozenset(phrases).union(*later))


def _steps(alternatives: Rules, starts: dict[str, frozenset[str]]) -> list[Step]:
    steps: list[Step] = []
    for parts, build in alternatives:
        level, names = steps, parts.split()
        for name in names:
            symbol, optional = name.rstrip("?"), name.endswith("?")
            for step in level:
                if (step.symbol, step.optional) == (symbol, optional):
                    break
            else:
                step = Step(symbol, optional, starts[symbol], [], [])
                level.append(step)
            level = step.next
        step.builds.append(build)
    return steps


def _starts(rules: dict[str, Rules]) -> dict[str, frozenset[str]]:
    """First kinds of every symbol; a kind begins with itself. No symbol is empty."""
    starts: dict[str, set[str]] = {symbol: set() for symbol in rules}
    kinds: set[str] = set()
    grown = True
    while grown:
        sizes = {symbol: len(found) for symbol, found in starts.items()}
        for symbol, alternatives in rules.items():
            for parts, _ in alternatives:
                names = parts.split()
                kinds |= {name.rstrip("?") for name in names} - rules.keys()
                for name in names:
                    first = name.rstrip("?")
                    starts[symbol] |= starts.get(first, {first})
                    if first == name:
                        break
        grown = any(len(found) > sizes[symbol] for symbol, found in starts.items())
    return {
        **{kind: frozenset((kind,)) for kind in kinds},
        **{symbol: frozenset(found) for symbol, found in starts.items()},
    }


def tokens_of(text: str) -> list[str]:
    """Words, numbers, Chinese characters and marks; nothing but spaces is dropped."""
    return _TOKEN.findall(text)


# Functions from parts to values


def _same(value: Any = None, *_: Any) -> Any:
    return value


def _adjectives(first: Attribute, more: tuple | None = None) -> tuple:
    """What is said twice is kept once: 大大大 may be cut into words in many ways."""
    return (first, *(other for other in more or () if other != first))


def _row(first: Group, more: tuple | None = None) -> Row:
    pairs = more or ()
    return Row((first, *(g for _, g in pairs)), tuple(joint for joint, _ in pairs))


def _and_more(joint: str | None, group: Group, more: tuple | None = None) -> tuple:
    return ((joint, group), *(more or ()))


def _alone(group: Group) -> Row:
    return Row((group,), ())


def _pair(relation: str, first: Group, second: Group) -> Related:
    return Related(_alone(first), relation, _alone(second), apart=True)


def _sided(first: Group, one: str, second: Group, other: str) -> Related | Refusal:
    """Two objects at two sides of the picture, which must be opposite ones."""
    opposite = {("left of", "right of"), ("above", "below")}
    if (one, other) in opposite or (other, one) in opposite:
        return _pair(one, first, second)
    return SIDES_OF_PICTURE


def _fronted(place: Place, group: Group) -> Group:
    return group._replace(front=place)


def _stated(group: Group, *attributes: Attribute) -> Group:
    """The group of a sentence that says more of it: "the star is red"."""
    return group._replace(after=(*group.after, *attributes), clause=True)


def _placed(group: Group, place: Place) -> Group:
    return group._replace(after=(*group.after, ("position", place.position)))


# English

_EN_COUNTS = (
    *((2, "two"), (2, "2"), (3, "three"), (3, "3"), (4, "four"), (4, "4")),
    *((5, "five"), (6, "six"), (7, "seven"), (8, "eight"), (9, "nine"), (10, "ten")),
    *((0, "zero"), (11, "eleven"), (12, "twelve")),
)
_EN_MORE_SHAPES = {"circle": ("dot", "disk"), "cross": ("plus",)}
_PICTURES = ("picture", "image", "drawing", "photo", "painting")


def _english_lexicon() -> Iterator[tuple[str, Any, str]]:
    for word in ("a", "an", "one", "1", "a single", "one single"):
        yield "ONE", 1, word
    yield "THE", None, "the"
    for number, word in _EN_COUNTS:
        yield "NUMBER", number, word
    for word in ("a pair of", "the pair of"):
        yield "PAIR", 2, word
    for word in ("a group of", "the group of"):
        yield "GROUP-OF", None, word
    for word in ("only", "exactly", "just"):
        yield "ONLY", None, word
    for shape, names in EN_SHAPES.items():
        for noun in (*names, *_EN_MORE_SHAPES.get(shape, ())):
            yield "NOUN", (shape, False), noun
            yield "NOUN", (shape, True), plural(noun)
    for size in SIZES:
        for word in EN_SIZES[size]:
            yield "SIZE", ("size", size), word
    for colour in COLOURS:
        yield "COLOUR", ("colour", colour), colour
    for ground in BACKGROUNDS:
        yield "PALE", ("colour", ground), ground
    yield "PALE", ("colour", "gray"), "grey"
    for word in ("colored", "coloured"):
        yield "COLORED", None, word
    for position in POSITIONS:
        words = EN_POSITIONS[position]
        turned = [" ".join(word.split()[::-1]) for word in words]
        extra = ("centre",) if position == "center" else turned
        for word in (*words, *extra):
            yield "POSITION", position, word
    for word in ("corner", "hand corner"):
        yield "CORNER", True, word
    for word in ("in", "at", "on"):
        yield "PREPOSITION", None, word
    yield "IN", None, "in"
    yield "TO", None, "to"
    for word in _PICTURES:
        yield "OF-PICTURE", True, f"of the {word}"
    yield "OF", None, "of"
    for relation in RELATIONS:
        for word in EN_RELATIONS[relation]:
            yield "RELATION", relation, word
    more = {
        "left of": ("at the left of", "to the left side of"),
        "right of": ("at the right of", "to the right side of"),
        "above": ("on top of",),
        "below": ("underneath",),
    }
    for relation, others in more.items():
        for word in others:
            yield "RELATION", relation, word
    yield "IT", None, "it"
    for side, relation in (("left", "left of"), ("right", "right of")):
        yield "SIDE-NAME", relation, side
        for form in ("on the {}", "at the {}", "to the {}"):
            yield "SIDE", relation, form.format(side)
            yield "SIDE", relation, form.format(f"{side} side")
        for form in ("on its {}", "to its {}", "at its {}"):
            yield "ITS-SIDE", relation, form.format(side)
            yield "ITS-SIDE", relation, form.format(f"{side} side")
    for side, relation in (("top", "above"), ("bottom", "below")):
        yield "SIDE-NAME", relation, side
        for form in ("on the {}", "at the {}", "in the {}"):
            yield "SIDE", relation, form.format(side)
    for word, relation in (("above", "above"), ("below", "below")):
        yield "ADVERB", relation, word
    for word in ("underneath", "beneath"):
        yield "ADVERB", "below", word
    for word in ("in", "inside", "on", "with", "next to", "beside", "near", "between"):
        yield "SOMEWHERE", None, word
    for word in ("behind", "in front of", "within", "around", "inside of", "touching"):
        yield "SOMEWHERE", None, word
    for word in ("background", "backdrop"):
        yield "BACKGROUND", None, word
    for word in ("on", "against", "with"):
        yield "AGAINST", None, word
    for word in ("on", "against"):
        yield "ON", None, word
    for word in ("is", "are", "is located", "are located", "is placed", "are placed"):
        yield "IS", None, word
    for word in ("that is", "that are", "which is", "which are"):
        yield "THAT-IS", None, word
    for word in ("there is", "there are", "there's"):
        yield "THERE", None, word
    for noun, article in product(_PICTURES, ("a", "an", "the", "")):
        for verb in ("of", "with", "showing"):
            yield "FRAME", None, f"{article} {noun} {verb}"
    for noun in _PICTURES:
        yield "FRAME", None, f"the {noun} shows"
        yield "FRAME", None, f"in the {noun} there is"
        yield "FRAME", None, f"in the {noun} there are"
    for word in ("this is", "draw", "please draw", "draw me", "show", "show me"):
        yield "FRAME", None, word
    yield "AND", "and", "and"
    yield "WITH", None, "with"
    for mark, kind in ((",", "COMMA"), (";", "COMMA"), (":", "COLON"), (".", "STOP")):
        yield kind, ",", mark
    yield "END", None, "."
    yield "END", None, "!"


def _group(
    only: Any, number: Any, adjectives: tuple | None, noun: tuple, after: Any = None
) -> Group:
    shape, many = noun
    opened, count = number or (False, None)
    return Group(shape, many, count, opened, adjectives or (), after or ())


def _english_place(preposition: Any, the: Any, position: str, *sure: Any) -> Place:
    """The corner of something is a picture's; "upper left" might be another's side."""
    return Place(position, any(part is not None for part in sure), False)


_EN_RULES: dict[str, Rules] = {
    "caption": [
        ("before? opening? core after? END?", lambda b, _, c, a, __: (c, b, a)),
    ],
    "opening": [("FRAME", _same), ("THERE", _same)],
    "core": [
        ("row", _same),
        ("group COMMA place", lambda g, _, p: _alone(_placed(g, p))),
        ("groups COMMA? be? RELATION groups", lambda a, c, b, r, d: Related(a, r, d)),
        ("groups be? RELATION groups chain", lambda *_: ONE_RELATION),
        (
            "RELATION group COMMA? verb group",
            lambda r, b, _, __, a: _pair(r, a, b),
        ),
        ("RELATION group COMMA group", lambda r, b, _, a: _pair(r, a, b)),
        ("group link THERE? group its", lambda b, _, __, a, r: _pair(r, a, b)),
        (
            "group link its COMMA? verb? group",
            lambda b, _, r, __, ___, a: _pair(r, a, b),
        ),
        ("group pause ADVERB COMMA group", lambda b, _, r, __, a: _pair(r, a, b)),
        ("group pause ADVERB group", lambda *_: BELOW_WHAT),
        (
            "group IS? side joint? group IS? side",
            lambda a, _, s, __, b, ___, t: _sided(a, s, b, t),
        ),
        (
            "at-side group joint at-side group",
            lambda s, a, _, t, b: _sided(a, s, b, t),
        ),
        ("groups IS? side", lambda *_: SIDES_OF_PICTURE),
        ("groups IS? side joint groups", lambda *_: SIDES_OF_PICTURE),
        ("at-side groups", lambda *_: SIDES_OF_PICTURE),
        ("groups joint at-side groups", lambda *_: SIDES_OF_PICTURE),
        ("groups be? SOMEWHERE groups", lambda *_: NO_RELATION),
        ("groups be? SOMEWHERE groups chain", lambda *_: ONE_RELATION),
        ("groups be? TO? place OF groups", lambda *_: NO_RELATION),
    ],
    "chain": [("joint? be? RELATION groups chain?", _same)],
    "row": [("item items?", _row)],
    "items": [
        ("joint THERE? item items?", lambda joint, _, *rest: _and_more(joint, *rest)),
        ("counted items?", lambda *rest: _and_more(None, *rest)),
    ],
    # with a number or an article, a group needs no "and" before it: a caption that a
    # model wrote, or that was tokens once, has no commas
    "counted": [("ONLY? number adjectives? NOUN afters?", _group)],
    "item": [
        ("group", _same),
        ("group IS adjective-list", lambda g, _, a: _stated(g, *a)),
        ("group IS place", lambda g, _, p: _stated(g, ("position", p.position))),
        ("front group", _fronted),
    ],
    "groups": [("group more?", _row)],
    "more": [("joint group more?", _and_more)],
    "group": [
        ("ONLY? number? adjectives? NOUN afters?", _group),
        ("ONLY? number adjective-commas NOUN afters?", _group),
        (
            "ONLY? one adjective AND adjective NOUN afters?",
            lambda o, n, a, _, b, noun, after: _group(o, n, (a, b), noun, after),
        ),
    ],
    "one": [("ONE", lambda n: (True, n))],
    "number": [
        ("ONE", lambda n: (True, n)),
        ("THE", lambda _: (True, None)),
        ("THE? NUMBER", lambda _, n: (True, n)),
        ("GROUP-OF NUMBER", lambda _, n: (True, n)),
        ("PAIR", lambda n: (True, n)),
    ],
    "adjectives": [("adjective adjectives?", _adjectives)],
    "adjective-commas": [
        ("adjective COMMA adjectives", lambda a, _, more: (a, *more)),
    ],
    "adjective-list": [
        ("adjective", lambda a: (a,)),
        ("adjective AND adjective", lambda a, _, b: (a, b)),
    ],
    "adjective": [
        ("SIZE", _same),
        ("COLOUR COLORED?", _same),
        ("PALE COLORED?", _same),
    ],
    "afters": [("after-noun afters?", lambda a, more: (*a, *(more or ())))],
    "after-noun": [
        ("IN COLOUR", lambda _, c: (c,)),
        ("IN PALE", lambda _, c: (c,)),
        ("COLORED COLOUR", lambda _, c: (c,)),
        ("THAT-IS adjective-list", lambda _, a: a),
        ("THAT-IS? place", lambda _, p: (("position", p.position),)),
    ],
    "place": [
        ("PREPOSITION? THE? POSITION CORNER? OF-PICTURE?", _english_place),
    ],
    "front-place": [
        ("PREPOSITION THE? POSITION CORNER? OF-PICTURE?", _english_place),
    ],
    "front": [
        ("front-place COMMA?", _same),
        ("place COLON", _same),
        ("place COMMA? verb", lambda p, *_: p._replace(verb=True)),
    ],
    "verb": [("IS", _same), ("THERE", _same)],
    "be": [("IS", _same), ("THAT-IS", _same)],
    "side": [("SIDE OF-PICTURE?", _same)],
    "at-side": [
        ("side COMMA? verb?", _same),
        ("side COLON", _same),
        ("SIDE-NAME COLON?", _same),
        ("ADVERB COLON", _same),
    ],
    "its": [("RELATION IT", _same), ("ITS-SIDE", _same)],
    "link": [
        ("WITH", _same),
        ("joint", _same),
        ("COMMA WITH", _same),
    ],
    "pause": [("COMMA AND?", _same), ("STOP", _same), ("AND", _same)],
    "joint": [
        ("COMMA", _same),
        ("STOP", _same),
        ("AND", _same),
        ("COMMA AND", lambda _, a: a),
    ],
    "before": [
        ("ground", lambda g: (g,)),
        ("ground COMMA", lambda g, _: (g,)),
        ("ground STOP", lambda g, _: (g,)),
        ("ground COLON", lambda g, _: (g,)),
        ("ground COMMA? WITH", lambda g, *_: (g,)),
        ("ground COMMA? AND", lambda g, *_: (g,)),
    ],
    "after": [("joint? ground after?", lambda _, g, more: (g, *(more or ())))],
    "ground": [
        ("AGAINST? article? shade BACKGROUND", lambda _, __, g, ___: g),
        ("ON shade", lambda _, g: g),
        ("THE? BACKGROUND ground-is shade", lambda _, __, ___, g: g),
    ],
    "article": [("ONE", _same), ("THE", _same)],
    "ground-is": [("IS", _same), ("COLON", _same)],
    "shade": [("PALE", lambda c: c[1]), ("COLOUR", lambda c: c[1])],
}


# Chinese

_ZH_COUNTS = (
    *((0, "零"), (1, "一"), (2, "两"), (2, "二"), (3, "三"), (4, "四"), (5, "五")),
    *((6, "六"), (7, "七"), (8, "八"), (9, "九"), (10, "十")),
    *((1, "1"), (2, "2"), (3, "3"), (4, "4")),
)
_ZH_MORE_SHAPES = {
    "circle": ("圆圈",),
    "square": ("四方形",),
    "triangle": ("三角图形", "三角块"),
    "star": ("星形",),
    "heart": ("心形",),
    "cross": ("十字架", "十字形"),
}
_ZH_SIZES = {
    "small": ("小", "小的", "小小", "小小的", "很小的", "小号", "小号的", "小型"),
    "large": ("大", "大的", "大大", "大大的", "很大的", "大号", "大号的", "大型"),
}
_ZH_SIDES = {"left of": "左", "right of": "右", "above": "上", "below": "下"}
_ZH_PLACES = {"upper left": "左上", "upper right": "右上"}
_ZH_PLACES |= {"lower left": "左下", "lower right": "右下"}
_ZH_PICTURES = ("图", "图片", "画面", "图像", "画")


def _chinese_colours() -> Iterator[tuple[Attribute, str]]:
    """Colours and the characters for them, without 色."""
    for colour, hanzi in ZH_COLOURS.items():
        yield ("colour", colour), hanzi
    yield ("colour", "orange"), "橘"
    yield ("colour", "pink"), "粉红"
    yield ("colour", "red"), "大红"  # a bright red, not a large one


def _chinese_lexicon() -> Iterator[tuple[str, Any, str]]:
    for number, word in _ZH_COUNTS:
        yield "NUMBER", number, word
    for word in "个颗":
        yield "COUNTER", None, word
    for number, word in ((2, "俩"), (2, "一对"), (3, "仨")):
        yield "COUNTED", number, word
    for shape, names in ZH_SHAPES.items():
        for noun in (*names, *_ZH_MORE_SHAPES[shape]):
            yield "NOUN", (shape, False), noun
    for size, words in _ZH_SIZES.items():
        for word in words:
            yield "ADJECTIVE", ("size", size), word
            if word.endswith("的"):
                yield "PREDICATE", ("size", size), f"是{word}"
    for value, hanzi in _chinese_colours():
        for form in ("{}", "{}的", "{}色", "{}色的", "{}颜色", "{}颜色的"):
            yield "ADJECTIVE", value, form.format(hanzi)
            yield "SHADE", value[1], form.format(hanzi)
        for form in ("是{}的", "是{}色的", "是{}颜色的"):
            yield "PREDICATE", value, form.format(hanzi)
    pale = {ground: name.removesuffix("色") for ground, name in ZH_BACKGROUNDS.items()}
    for ground, hanzi in (*pale.items(), ("light blue", "淡蓝")):
        for form in ("{}", "{}色", "{}色的"):
            yield "ADJECTIVE", ("colour", ground), form.format(hanzi)
            yield "SHADE", ground, form.format(hanzi)
    for word in ("中央", "中间", "中心", "正中", "正中央", "正中间", "正中心"):
        yield "POSITION", ("center", False), word
    for position, word in _ZH_PLACES.items():
        yield "POSITION", (position, True), f"{word}角"
        for tail in ("", "方", "部", "边"):
            yield "POSITION", (position, False), word + tail
    for relation, word in _ZH_SIDES.items():
        tails = "边侧面方" + ("头" if word in "上下" else "")
        for tail in tails:
            yield "SIDE", relation, word + tail
            yield "SIDE", relation, f"正{word}{tail}"
        yield "SIDE-NAME", relation, word
    for relation, word in (("above", "之上"), ("below", "之下"), ("below", "底下")):
        yield "SIDE", relation, word
    for relation, word in (("left of", "左手边"), ("right of", "右手边")):
        yield "SIDE", relation, word
    for word in ("里", "里面", "里边", "内", "中", "中间", "之中", "之间", "旁边"):
        yield "SOMEWHERE", None, word
    for word in ("上", "下", "外面", "周围", "附近", "前面", "后面"):
        yield "SOMEWHERE", None, word
    for word in ("在", "位于", "处于"):
        yield "AT", None, word
    yield "OF", None, "的"
    for word in ("有", "是"):
        yield "VERB", None, word
    yield "HAS", None, "有"
    for picture in _ZH_PICTURES:
        for tail in ("", "的", "中", "里", "中的", "里的"):
            yield "PICTURE", None, picture + tail
    frames = [f"{p}{w}" for p in _ZH_PICTURES for w in ("中", "里", "上", "里面")]
    for frame in ("", *frames, "这里"):
        for word in ("有", "只有", "仅有", "共有", "一共", "一共有", "总共", "总共有"):
            yield "FRAME", None, frame + word
        if frame:
            yield "FRAME", None, f"{frame}是"
    for word in ("这是", "画", "请画", "画着", "共"):
        yield "FRAME", None, word
    for word in ("它的", "其", "它"):
        yield "ITS", None, word
    for word in ("背景", "底", "底色"):
        yield "BACKGROUND", None, word
    for word in ("是", "为", "是:", ":"):
        yield "GROUND-IS", None, word
    yield "ON", None, "上"
    for word in ("和", "与", "跟", "及", "以及", "还有", "、"):
        yield "AND", "and", word
    for mark, kind in ((",", "COMMA"), (";", "COMMA"), (":", "COLON"), (".", "COMMA")):
        yield kind, ",", mark
    for mark in "!.":
        yield "END", None, mark


def _chinese_group(
    number: tuple | None, adjectives: tuple | None, noun: tuple
) -> Group:
    return _group(None, number, adjectives, noun)


_ZH_RULES: dict[str, Rules] = {
    "caption": [
        ("before? FRAME? core after? END?", lambda b, _, c, a, __: (c, b, a)),
    ],
    "core": [
        ("row", _same),
        ("group COMMA AT place", lambda g, _, __, p: _alone(_placed(g, p))),
        ("groups AT groups OF? SIDE", lambda a, _, b, __, r: Related(a, r, b)),
        (
            "AT? groups OF? SIDE COMMA? VERB told-groups",
            lambda _, b, __, r, ___, ____, a: Related(a, r, b),
        ),
        (
            "group joint ITS OF? SIDE COMMA? VERB told",
            lambda b, _, __, ___, r, ____, _____, a: _pair(r, a, b),
        ),
        (
            "at-side told joint? at-side told",
            lambda s, a, _, t, b: _sided(a, s, b, t),
        ),
        (
            "SIDE-NAME VERB? told joint? SIDE-NAME VERB? told",
            lambda s, _, a, __, t, ___, b: _sided(a, s, b, t),
        ),
        (
            "group AT side joint? group AT side",
            lambda a, _, s, __, b, ___, t: _sided(a, s, b, t),
        ),
        (
            "group AT SIDE-NAME joint? group AT SIDE-NAME",
            lambda a, _, s, __, b, ___, t: _sided(a, s, b, t),
        ),
        ("groups AT side", lambda *_: SIDES_OF_PICTURE),
        ("groups AT side joint? groups", lambda *_: SIDES_OF_PICTURE),
        ("groups joint at-side told-groups", lambda *_: SIDES_OF_PICTURE),
        ("at-side told-groups", lambda *_: SIDES_OF_PICTURE),
        ("groups AT groups OF? where", lambda *_: NO_RELATION),
        ("AT? groups OF? where COMMA? VERB told-groups", lambda *_: NO_RELATION),
        ("group joint ITS OF? where COMMA? VERB told", lambda *_: NO_RELATION),
    ],
    "where": [("POSITION", _same), ("SOMEWHERE", _same)],
    "row": [("item items?", _row)],
    "items": [
        ("joint item items?", _and_more),
        ("counted items?", lambda *rest: _and_more(None, *rest)),
    ],
    "item": [
        ("HAS? group", lambda _, group: group),
        ("HAS unnumbered", lambda _, group: group),
        ("group PREDICATE", _stated),
        ("group AT place", lambda g, _, p: _stated(g, ("position", p.position))),
        ("fronted", _same),
    ],
    "fronted": [("front group", _fronted), ("front-verb unnumbered", _fronted)],
    # with a number or a place of its own, a group needs no mark or word before it
    "counted": [
        ("number adjectives? NOUN", _chinese_group),
        ("fronted", _same),
    ],
    "counted-more": [
        ("counted counted-more?", lambda *counted: _and_more(None, *counted)),
    ],
    "groups": [("group more?", _row), ("counted counted-more", _row)],
    "more": [("joint group more?", _and_more)],
    "told": [("group", _same), ("unnumbered", _same)],
    "told-groups": [("told more?", _row), ("counted counted-more", _row)],
    "group": [("number? adjectives? NOUN", _chinese_group)],
    # "有个红圆": after a verb, one needs no number
    "unnumbered": [
        (
            "COUNTER adjectives? NOUN",
            lambda _, adjectives, noun: _chinese_group((True, 1), adjectives, noun),
        ),
    ],
    "number": [
        ("NUMBER COUNTER", lambda n, _: (True, n)),
        ("COUNTED", lambda n: (True, n)),
    ],
    "adjectives": [("ADJECTIVE adjectives?", _adjectives)],
    "place": [
        ("POSITION", lambda where: Place(where[0], where[1], False)),
        ("PICTURE POSITION", lambda _, where: Place(where[0], True, False)),
    ],
    "front": [
        ("front-verb", _same),
        ("AT? place COMMA?", lambda _, p, __: p),
        ("AT? place OF", lambda _, p, __: p),
        ("AT? place COLON", lambda _, p, __: p._replace(verb=True)),
    ],
    "front-verb": [
        ("AT? place COMMA? VERB", lambda _, p, *__: p._replace(verb=True)),
    ],
    "side": [("PICTURE? SIDE", lambda _, s: s)],
    "at-side": [
        ("AT? side VERB?", lambda _, s, __: s),
        ("AT? side COMMA VERB?", lambda _, s, *__: s),
        ("side COLON", _same),
    ],
    "joint": [
        ("COMMA", _same),
        ("AND", _same),
        ("GAP", _same),
        ("COMMA AND", lambda comma, _: comma),
    ],
    "before": [
        ("AT? SHADE BACKGROUND ON? COMMA?", lambda _, g, *__: (g,)),
        ("AT? SHADE BACKGROUND COLON", lambda _, g, *__: (g,)),
        ("BACKGROUND GROUND-IS? SHADE COMMA", lambda _, __, g, ___: (g,)),
    ],
    "after": [("joint? ground after?", lambda _, g, more: (g, *(more or ())))],
    "ground": [
        ("SHADE BACKGROUND", lambda g, _: g),
        ("AT SHADE BACKGROUND ON", lambda _, g, *__: g),
        ("BACKGROUND GROUND-IS? SHADE", lambda _, __, g: g),
    ],
}


@lru_cache(maxsize=2)
def grammar(language: str) -> Grammar:
    """The grammar of "en" or "zh"."""
    if language == "en":
        return _grammar(_english_lexicon(), _EN_RULES)
    return _grammar(_chinese_lexicon(), _ZH_RULES)
