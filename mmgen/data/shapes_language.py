"""Captions of Shapes in English and Chinese: from facts to words and back.

``describe`` writes what a caption states of a scene in one of many ways, ``parse``
finds out what any such caption demands of a picture. Both go through a ``Demand``,
which is canonical: two captions demand the same exactly if their demands are equal.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mmgen.data.shapes_world import (
    BACKGROUNDS,
    COLOURS,
    MAX_OBJECTS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    one_of,
    relation_of,
)
from mmgen.data.vocabulary import Vocabulary, tokenize

MAX_TOKENS = {"en": 24, "zh": 30, "both": 30}  # no caption is longer; tests hold it
OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}


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
        for value, values in (
            (self.colour, COLOURS),
            (self.size, SIZES),
            (self.position, POSITIONS),
        ):
            code = code * (len(values) + 1)
            code += 0 if value is None else 1 + values.index(value)
        return code + 1


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
    wanted = [
        ObjectDemand(
            thing.shape,
            thing.colour if "colour" in said else None,
            thing.size if "size" in said else None,
            thing.position if "position" in said else None,
        )
        for thing in scene.objects
    ]
    return canonical(
        wanted,
        relation_of(scene.objects) if "relation" in said else None,
        scene.background if "background" in said else None,
    )


# --------------------------------------------------------------------------------------
# The words. In a tuple of paraphrases the first is the plain one, and is used most.

_EN_SHAPES = {
    "circle": ("circle", "disc", "circle shape", "round shape"),
    "square": ("square", "square shape", "box", "block"),
    "triangle": ("triangle", "triangle shape", "triangular shape", "pyramid"),
    "star": ("star", "star shape", "star symbol", "star figure"),
    "heart": ("heart", "heart shape", "heart symbol", "love heart"),
    "cross": ("cross", "plus sign", "cross shape", "plus symbol"),
}
_ZH_SHAPES = {
    "circle": ("圆形", "圆", "圆点", "圆盘"),
    "square": ("正方形", "方形", "方块", "四方形"),
    "triangle": ("三角形", "三角", "三角图形", "三角块"),
    "star": ("五角星", "星形", "星星", "星"),
    "heart": ("心形", "爱心", "桃心", "心"),
    "cross": ("十字", "十字形", "加号", "十字架"),
}
_EN_SIZES = {
    "small": ("small", "little", "tiny", "mini"),
    "large": ("large", "big", "huge", "giant"),
}
_ZH_SIZES = {
    "small": ("小的", "小号的", "很小的", "小小的"),
    "large": ("大的", "大号的", "很大的", "大大的"),
}
_ZH_COLOURS = {
    "red": "红",
    "orange": "橙",
    "yellow": "黄",
    "green": "绿",
    "blue": "蓝",
    "purple": "紫",
    "pink": "粉",
    "black": "黑",
}
_ZH_COLOUR_FORMS = ("{}色的", "{}色", "{}颜色的", "{}")
_EN_POSITIONS = {
    "center": ("center", "middle"),
    "upper left": ("upper left", "top left"),
    "upper right": ("upper right", "top right"),
    "lower left": ("lower left", "bottom left"),
    "lower right": ("lower right", "bottom right"),
}
_ZH_POSITIONS = {
    "center": ("中央", "中间", "中心", "正中"),
    "upper left": ("左上角", "左上方", "左上", "左上部"),
    "upper right": ("右上角", "右上方", "右上", "右上部"),
    "lower left": ("左下角", "左下方", "左下", "左下部"),
    "lower right": ("右下角", "右下方", "右下", "右下部"),
}
_EN_RELATIONS = {
    "left of": ("left of", "to the left of", "on the left of", "on the left side of"),
    "right of": (
        "right of",
        "to the right of",
        "on the right of",
        "on the right side of",
    ),
    "above": ("above", "over", "higher than", "further up than"),
    "below": ("below", "under", "beneath", "lower than"),
}
_ZH_RELATIONS = {
    "left of": ("左边", "左侧", "左面", "左方"),
    "right of": ("右边", "右侧", "右面", "右方"),
    "above": ("上方", "上面", "上边", "上侧"),
    "below": ("下方", "下面", "下边", "下侧"),
}
_ZH_BACKGROUNDS = {
    "white": "白色",
    "gray": "灰色",
    "beige": "米色",
    "light blue": "浅蓝色",
}
_EN_BACKGROUND_FORMS = (
    "on a {} background",
    "on {}",
    "against a {} background",
    "with a {} background",
)
_ZH_BACKGROUND_FORMS = ("背景是{}", "背景为{}", "{}背景", "{}的背景")
_EN_NUMBERS = {2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4")}
_EN_GROUPS = ("{}", "{}", "exactly {}", "a group of {}")
_ZH_NUMBERS = {1: ("一",), 2: ("两", "2"), 3: ("三", "3"), 4: ("四", "4")}
_ZH_GROUPS = ("{}个", "{}个", "一共{}个", "共有{}个")
_EN_FRAMES = (
    "",
    "",
    "",
    "there {is} ",
    "a picture of ",
    "an image of ",
    "a drawing of ",
)
_ZH_FRAMES = ("", "", "", "图中有", "画面中有", "这里有", "有")


class _Choices:
    """Choices that are all spelled out by one integer."""

    def __init__(self, rng: int) -> None:
        digest = hashlib.blake2b(str(rng).encode(), digest_size=16).digest()
        self.state = int.from_bytes(digest, "big")

    def below(self, limit: int) -> int:
        self.state, choice = divmod(self.state, limit)
        return choice

    def plainly(self, paraphrases: tuple[str, ...]) -> str:
        """The plain word half the time, else any."""
        return paraphrases[self.below(len(paraphrases)) * self.below(2)]

    def any(self, paraphrases: tuple[str, ...]) -> str:
        return paraphrases[self.below(len(paraphrases))]


def describe(scene: Scene | Demand, language: str = "en", rng: int = 0) -> str:
    """Write a caption that states exactly ``facts(scene)``.

    Args:
        scene: a scene, or a demand directly.
        language: "en" or "zh".
        rng: any integer; it picks one of the paraphrases.

    Returns:
        The caption: at most 24 English words or 30 Chinese characters for scenes that
        ``sample_scenes`` makes.

    Raises:
        ValueError: another language, or a scene without objects.
    """
    one_of("language", language, ("en", "zh"))
    demand = facts(scene) if isinstance(scene, Scene) else scene
    write = _describe_english if language == "en" else _describe_chinese
    return write(demand, _Choices(rng))


def _order(demand: Demand, choices: _Choices) -> tuple[list[ObjectDemand], str | None]:
    """The groups in the order of telling: any order states the same facts."""
    groups, relation = list(demand.objects), demand.relation
    turn = choices.below(len(groups))
    if turn and relation is not None:
        relation = OPPOSITE[relation]
    return groups[turn:] + groups[:turn], relation


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("x", "ss")) else "s")


def _english_group(group: ObjectDemand, choices: _Choices, alone: bool) -> str:
    words = []
    if group.size is not None:
        words.append(choices.plainly(_EN_SIZES[group.size]))
    colour = group.colour or ""
    form = choices.below(8) if alone and colour else 7
    if form > 2:
        words.append(colour)
    elif form == 0:
        words.append(f"{colour} colored")
    noun = choices.plainly(_EN_SHAPES[group.shape])
    words.append(_plural(noun) if group.count > 1 else noun)
    if form in (1, 2):
        verb = "are" if group.count > 1 else "is"
        words.append(f"in {colour}" if form == 1 else f"that {verb} {colour}")
    phrase = " ".join(word for word in words if word)
    if group.count == 1:
        return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
    # "2" and "exactly" suit a caption that counts one kind of thing
    number = choices.any(_EN_NUMBERS[group.count][: 2 if alone else 1])
    return f"{choices.any(_EN_GROUPS).format(number) if alone else number} {phrase}"


def _english_position(position: str, choices: _Choices) -> str:
    place = choices.any(_EN_POSITIONS[position])
    corner = " corner" if position != "center" and choices.below(2) else ""
    return f"{choices.any(('in', 'at'))} the {place}{corner}"


def _describe_english(demand: Demand, choices: _Choices) -> str:
    groups, relation = _order(demand, choices)
    alone = len(groups) == 1
    phrases = [_english_group(group, choices, alone) for group in groups]
    verb = "are" if groups[0].count > 1 else "is"
    # three or four phrases fill the caption
    frame = choices.any(_EN_FRAMES).format(**{"is": verb}) if len(groups) < 3 else ""
    if relation is not None:
        text = f"{phrases[0]} {choices.any(_EN_RELATIONS[relation])} {phrases[1]}"
    elif alone:
        text = phrases[0]
    else:
        text = f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    if alone and groups[0].position is not None:
        place = _english_position(groups[0].position, choices)
        if choices.below(4) == 0:
            text = f"{place} there {verb} {text}"
            frame = ""
        else:
            text = f"{text} {place}"
    ground = ""
    if demand.background is not None:
        ground = " " + choices.plainly(_EN_BACKGROUND_FORMS).format(demand.background)
    return f"{frame}{text}{ground}"


def _chinese_group(group: ObjectDemand, choices: _Choices, groups: int) -> str:
    # Several groups, or two facts about each: the shorter words keep the caption short.
    number = _ZH_NUMBERS[group.count][choices.below(4) == 0 and group.count > 1]
    counting = groups == 1 and group.count > 1
    phrase = (choices.any(_ZH_GROUPS) if counting else "{}个").format(number)
    if group.size is not None:
        phrase += choices.plainly(_ZH_SIZES[group.size][: 4 if groups == 1 else 1])
    if group.colour is not None:
        short = groups > 2 or (groups == 2 and group.size is not None)
        forms = _ZH_COLOUR_FORMS if groups == 1 else _ZH_COLOUR_FORMS[:2]
        form = _ZH_COLOUR_FORMS[1] if short else choices.any(forms)
        phrase += form.format(_ZH_COLOURS[group.colour])
    nouns = [n for n in _ZH_SHAPES[group.shape] if groups == 1 or len(n) <= 3]
    return phrase + choices.plainly(tuple(nouns))


def _describe_chinese(demand: Demand, choices: _Choices) -> str:
    groups, relation = _order(demand, choices)
    alone = len(groups) == 1
    phrases = [_chinese_group(group, choices, len(groups)) for group in groups]
    frame = choices.any(_ZH_FRAMES)
    if relation is not None:
        place = choices.any(_ZH_RELATIONS[relation])
        form = choices.below(4)
        if form < 2:
            text = f"{phrases[0]}{('在', '位于')[form]}{phrases[1]}的{place}"
            frame = ""
        else:
            text = f"{phrases[1]}的{place}{('有', '是')[form - 2]}{phrases[0]}"
            frame = ""
    elif alone and groups[0].position is not None:
        place = choices.any(_ZH_POSITIONS[groups[0].position])
        form = choices.below(4)
        if form < 2:
            text, frame = f"{phrases[0]}{('在', '位于')[form]}{place}", ""
        else:
            text = f"{place}{('有', '是')[form - 2]}{phrases[0]}"
            frame = choices.any(("", "图的", "画面的"))
    else:
        text = phrases[0]
        if len(phrases) > 1:
            text = f"{'、'.join(phrases[:-1])}{choices.any(('和', '与'))}{phrases[-1]}"
        if len(phrases) > 2 or (phrases[0][0] in "一共" and groups[0].count > 1):
            frame = ""
    text = frame + text
    if demand.background is None:
        return text
    ground = _ZH_BACKGROUNDS[demand.background]
    form = choices.below(len(_ZH_BACKGROUND_FORMS) + 1)
    if form == len(_ZH_BACKGROUND_FORMS):
        return f"{ground}背景上，{text}"
    return f"{text}，{_ZH_BACKGROUND_FORMS[form].format(ground)}"


def _paraphrases(*tables: Mapping[Any, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    for table in tables:
        yield from table.values()


@lru_cache(maxsize=3)
def vocabulary(language: str) -> Vocabulary:
    """All the words that ``describe`` may write, the same for every data set."""
    english = [*COLOURS, "a", "an", "and", "colored", "that", "corner", "there is are"]
    for words in _paraphrases(
        _EN_SHAPES, _EN_SIZES, _EN_POSITIONS, _EN_RELATIONS, _EN_NUMBERS
    ):
        english += words
    english += [_plural(noun) for nouns in _EN_SHAPES.values() for noun in nouns]
    english += ["in at the", *BACKGROUNDS]
    english += [*_EN_FRAMES, *_EN_GROUPS, *_EN_BACKGROUND_FORMS]
    chinese = ["个在位于的有是和与图画面背景上"]
    for words in _paraphrases(
        _ZH_SHAPES, _ZH_SIZES, _ZH_POSITIONS, _ZH_RELATIONS, _ZH_NUMBERS
    ):
        chinese += words
    chinese += [*_ZH_COLOURS.values(), *_ZH_BACKGROUNDS.values(), *_ZH_COLOUR_FORMS]
    chinese += [*_ZH_FRAMES, *_ZH_GROUPS, *_ZH_BACKGROUND_FORMS]
    texts = {"en": english, "zh": chinese, "both": english + chinese}
    return Vocabulary.build(texts[language], language)


# --------------------------------------------------------------------------------------
# Reading captions: the longest known phrase at every token, then one pass over them.


@lru_cache(maxsize=1)
def _lexicon() -> dict[tuple[str, ...], tuple[str, object]]:
    """Token sequences -> (what kind of word, what it stands for)."""
    entries: dict[tuple[str, ...], tuple[str, object]] = {}

    def add(kind: str, value: object, *texts: str) -> None:
        for text in texts:
            entries[tuple(tokenize(text))] = (kind, value)

    add("filler", None, "the", "of", "there is", "there are", "picture", "image")
    add("filler", None, "drawing", "a picture of", "an image of", "a drawing of")
    add("filler", None, "that is", "that are", "is", "are", "colored", "coloured", "in")
    add("filler", None, "exactly", "a group of", "photo", "a photo of", "with")
    add(
        "filler",
        None,
        "的",
        "图中",
        "图的",
        "画面中",
        "画面的",
        "这里",
        "有",
        "是",
        "一共",
        "共有",
    )
    add("and", None, "and", "和", "与", "以及", "还有")
    add("at", None, "在", "位于")
    add("count", 1, "a", "an", "one", "1", "1个")
    for number, english in _EN_NUMBERS.items():
        add("count", number, *english)
    add("count", 2, "a pair of", "二个", "二")
    for number, chinese in _ZH_NUMBERS.items():
        add("count", number, *chinese, *(f"{word}个" for word in chinese))
    for shape in SHAPES:
        for noun in _EN_SHAPES[shape]:
            add("shape", shape, noun, _plural(noun))
        add("shape", shape, *_ZH_SHAPES[shape])
    add("shape", "circle", "dot", "dots", "disk", "disks", "圆圈")
    for size in SIZES:
        add("size", size, *_EN_SIZES[size], *_ZH_SIZES[size])
    add("size", "small", "小", "小号")
    add("size", "large", "大", "大号", "巨大", "巨大的")
    for colour in COLOURS:
        add("colour", colour, colour)
        forms = [form.format(_ZH_COLOURS[colour]) for form in _ZH_COLOUR_FORMS]
        add("colour", colour, *forms)
    add("colour", "pink", "粉红", "粉红色", "粉红色的")
    for position in POSITIONS:
        for place in _EN_POSITIONS[position]:
            tails = [place] if position == "center" else [place, f"{place} corner"]
            for tail in tails:
                add("position", position, *(f"{p} the {tail}" for p in ("in", "at")))
                add("position", position, f"on the {tail}", f"at {tail}", tail)
        add("position", position, *_ZH_POSITIONS[position])
    add("position", "center", "in the centre", "at the centre", "centre", "中")
    for relation in RELATIONS:
        add("relation", relation, *_EN_RELATIONS[relation], *_ZH_RELATIONS[relation])
        add("relation", relation, *(f"的{word}" for word in _ZH_RELATIONS[relation]))
    for ground in BACKGROUNDS:
        names = [ground, "grey"] if ground == "gray" else [ground]
        for name in names:
            forms = [form.format(name) for form in _EN_BACKGROUND_FORMS]
            add("background", ground, *forms, f"the background is {name}")
            add("background", ground, f"{name} background", f"a {name} background")
        word = _ZH_BACKGROUNDS[ground]
        forms = [form.format(word) for form in _ZH_BACKGROUND_FORMS]
        add("background", ground, *forms, f"{word}背景上", f"在{word}背景上")
    return entries


@lru_cache(maxsize=1)
def _longest() -> int:
    return max(len(words) for words in _lexicon())


def _scan(caption: str) -> list[tuple[str, object, str]]:
    """Kind, value and text of every phrase."""
    tokens, lexicon = tokenize(caption), _lexicon()
    found, at = [], 0
    while at < len(tokens):
        for end in range(min(len(tokens), at + _longest()), at, -1):
            entry = lexicon.get(tuple(tokens[at:end]))
            if entry is not None:
                found.append((*entry, " ".join(tokens[at:end])))
                at = end
                break
        else:
            known = sorted({word for words in lexicon for word in words})
            close = difflib.get_close_matches(tokens[at], known, n=3)
            hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
            raise ValueError(
                f"caption has a word that Shapes does not know: {tokens[at]!r} in "
                f"{caption!r}. {hint}Shapes: {', '.join(SHAPES)}; colours: "
                f"{', '.join(COLOURS)}; sizes: {', '.join(SIZES)}."
            )
    return found


class _Reader:
    """The phrases of a caption, put together into a demand."""

    def __init__(self, caption: str) -> None:
        self.caption = caption
        self.groups: list[dict] = []  # those whose noun has been read
        self.open: dict = {}  # attributes of the next noun
        self.relation: tuple[int, int, str] | None = None
        self.pending: str | None = None  # a relation that waits for its second noun
        self.background: str | None = None
        self.located = False  # a Chinese "at" stands before the last noun

    def fail(self, why: str) -> ValueError:
        return ValueError(
            f"caption {why}: {self.caption!r}. Write for example 'a large red star "
            f"left of a small blue circle' or '左上角有一个红色的五角星'."
        )

    def attribute(self, kind: str, value: object) -> None:
        # "a star in red": after its noun, unless the next object has begun
        target = self.open
        if kind != "count" and not self.open and self.groups and not self.expects:
            target = self.groups[-1]
        if target.get(kind, value) != value:
            raise self.fail(
                f"gives one object two values of {kind}, {target[kind]!r} and {value!r}"
            )
        target[kind] = value

    @property
    def expects(self) -> bool:
        """Whether an object must follow, so that an adjective belongs to it."""
        return self.pending is not None or self.joined

    joined = False  # the last word was "and"

    def noun(self, shape: str) -> None:
        self.groups.append({"shape": shape, "count": 1, **self.open})
        self.open, self.joined = {}, False
        if self.pending is not None:
            self.relate(len(self.groups) - 2, len(self.groups) - 1, self.pending)
            self.pending = None

    def relate(self, first: int, second: int, relation: str) -> None:
        if self.relation is not None:
            raise self.fail("states more than one relation")
        self.relation = (first, second, relation)

    def place(self, relation: str) -> None:
        if not self.groups:
            raise self.fail(f"says {relation!r} before it names an object")
        if self.located and len(self.groups) > 1:  # A 在 B 的左边
            self.relate(len(self.groups) - 2, len(self.groups) - 1, relation)
            self.located = False
        elif not self.last.isascii():  # B 的左边有 A
            self.pending = OPPOSITE[relation]
        else:
            self.pending = relation

    last = ""

    def demand(self) -> Demand:
        for kind, value, text in _scan(self.caption):
            self.last = text
            if kind == "shape":
                self.noun(str(value))
            elif kind == "relation":
                self.place(str(value))
            elif kind == "background":
                if self.background not in (None, value):
                    raise self.fail("names two backgrounds")
                self.background = str(value)
            elif kind == "at":
                self.located = True
            elif kind == "and":
                self.joined = True
            elif kind != "filler":
                self.attribute(kind, value)
        return self.result()

    def result(self) -> Demand:
        if not self.groups:
            raise self.fail(f"names none of the shapes ({', '.join(SHAPES)})")
        if set(self.open) - {"count", "position"}:
            raise self.fail("ends with an adjective that belongs to no object")
        if self.open.get("position") is not None:
            raise self.fail("gives two positions, or one that belongs to no object")
        if self.pending is not None:
            raise self.fail(f"says {self.pending!r} of what is not named")
        total = sum(group["count"] for group in self.groups)
        if total > MAX_OBJECTS:
            raise self.fail(f"asks for {total} objects, more than {MAX_OBJECTS}")
        relation = None
        if self.relation is not None:
            if total != 2:
                raise self.fail("states a relation of other than two objects")
            first, _, relation = self.relation
            if first == 1:
                relation = OPPOSITE[relation]
        wanted = [ObjectDemand(**group) for group in self.groups]
        return canonical(wanted, relation, self.background)


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
    return _Reader(caption).demand()
