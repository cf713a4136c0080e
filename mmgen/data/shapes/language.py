"""Captions of Shapes in English and Chinese, written from facts.

``describe`` states exactly what it is told to, in one of many ways; the word lists here
also serve to read captions (``shapes_parse``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from mmgen.data.dataset import one_of
from mmgen.data.shapes.demand import OPPOSITE, Demand, ObjectDemand, facts
from mmgen.data.shapes.world import BACKGROUNDS, COLOURS, Scene
from mmgen.data.vocabulary import Vocabulary

MAX_TOKENS = {"en": 24, "zh": 30, "both": 30}  # no caption is longer; tests hold it

# In a tuple of paraphrases the first is the plain one, and is used most.
EN_SHAPES = {
    "circle": ("circle", "disc", "circle shape", "round shape"),
    "square": ("square", "square shape", "box", "block"),
    "triangle": ("triangle", "triangle shape", "triangular shape", "pyramid"),
    "star": ("star", "star shape", "star symbol", "star figure"),
    "heart": ("heart", "heart shape", "heart symbol", "love heart"),
    "cross": ("cross", "plus sign", "cross shape", "plus symbol"),
}
ZH_SHAPES = {
    "circle": ("圆形", "圆", "圆点", "圆盘"),
    "square": ("正方形", "方块", "方形"),
    "triangle": ("三角形", "三角"),
    "star": ("五角星", "星星", "星"),
    "heart": ("爱心", "桃心", "心"),
    "cross": ("十字", "十字形", "加号"),
}
EN_SIZES = {
    "small": ("small", "little", "tiny", "mini"),
    "large": ("large", "big", "huge", "giant"),
}
ZH_SIZES = {
    "small": ("小的", "小小的", "很小的"),
    "large": ("大的", "大大的", "很大的"),
}
ZH_COLOURS = {
    "red": "红",
    "orange": "橙",
    "yellow": "黄",
    "green": "绿",
    "blue": "蓝",
    "purple": "紫",
    "pink": "粉",
    "black": "黑",
}
EN_POSITIONS = {
    "center": ("center", "middle"),
    "upper left": ("upper left", "top left"),
    "upper right": ("upper right", "top right"),
    "lower left": ("lower left", "bottom left"),
    "lower right": ("lower right", "bottom right"),
}
ZH_POSITIONS = {
    "center": ("中央", "中间", "中心", "正中央"),
    "upper left": ("左上角",),
    "upper right": ("右上角",),
    "lower left": ("左下角",),
    "lower right": ("右下角",),
}
EN_RELATIONS = {
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
ZH_RELATIONS = {
    "left of": ("左边", "左侧", "左面"),
    "right of": ("右边", "右侧", "右面"),
    "above": ("上方", "上面", "上边"),
    "below": ("下方", "下面", "下边"),
}
ZH_BACKGROUNDS = {
    "white": "白色",
    "gray": "灰色",
    "beige": "米色",
    "light blue": "浅蓝色",
}
EN_BACKGROUND_FORMS = (
    "on a {} background",
    "on {}",
    "against a {} background",
    "with a {} background",
)
ZH_BACKGROUND_FORMS = ("背景是{}", "背景为{}", "{}背景", "{}的背景")
EN_NUMBERS = {2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4")}
EN_GROUPS = ("{}", "{}", "exactly {}", "a group of {}")
ZH_NUMBERS = {1: ("一",), 2: ("两", "2"), 3: ("三", "3"), 4: ("四", "4")}
EN_FRAMES = (
    "",
    "",
    "",
    "there {is} ",
    "a picture of ",
    "an image of ",
    "a drawing of ",
)
ZH_FRAMES = ("", "", "", "图中有", "画面中有", "这里有", "有")
ZH_TOTALS = ("", "", "", "图中有", "有", "一共有", "图中共有", "画面中一共有")
# Nouns that a bare 红 suits as well as 红色.
_ZH_BARE = ("圆", "方块", "三角", "五角星", "星星", "星", "爱心", "心", "十字", "加号")
# In words that describe wrote once, and that weights published then know.
_ZH_EARLIER = "号颜部架四方图形块侧位于点盘"


class Choices:
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
    return write(demand, Choices(rng))


def _order(demand: Demand, choices: Choices) -> tuple[list[ObjectDemand], str | None]:
    """The groups in the order of telling: any order states the same facts."""
    groups, relation = list(demand.objects), demand.relation
    turn = choices.below(len(groups))
    if turn and relation is not None:
        relation = OPPOSITE[relation]
    return groups[turn:] + groups[:turn], relation


def plural(noun: str) -> str:
    """The plural of an English noun of Shapes."""
    return noun + ("es" if noun.endswith(("x", "ss")) else "s")


def _english_group(group: ObjectDemand, choices: Choices, alone: bool) -> str:
    words = []
    if group.size is not None:
        words.append(choices.plainly(EN_SIZES[group.size]))
    colour = group.colour or ""
    form = choices.below(8) if alone and colour else 7
    if form > 2:
        words.append(colour)
    elif form == 0:
        words.append(f"{colour} colored")
    noun = choices.plainly(EN_SHAPES[group.shape])
    words.append(plural(noun) if group.count > 1 else noun)
    if form in (1, 2):
        verb = "are" if group.count > 1 else "is"
        words.append(f"in {colour}" if form == 1 else f"that {verb} {colour}")
    phrase = " ".join(word for word in words if word)
    if group.count == 1:
        return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
    # "2" and "exactly" suit a caption that counts one kind of thing
    number = choices.any(EN_NUMBERS[group.count][: 2 if alone else 1])
    return f"{choices.any(EN_GROUPS).format(number) if alone else number} {phrase}"


def _english_position(position: str, choices: Choices) -> str:
    place = choices.any(EN_POSITIONS[position])
    corner = " corner" if position != "center" and choices.below(2) else ""
    word = choices.any(("in", "at"))
    return f"{'in' if place == 'middle' else word} the {place}{corner}"


def _describe_english(demand: Demand, choices: Choices) -> str:
    groups, relation = _order(demand, choices)
    alone = len(groups) == 1
    phrases = [_english_group(group, choices, alone) for group in groups]
    many = groups[0].count > 1 and not phrases[0].startswith("a group")
    verb = "are" if many else "is"
    # three or four phrases fill the caption
    frame = choices.any(EN_FRAMES).format(**{"is": verb}) if len(groups) < 3 else ""
    if relation is not None:
        text = f"{phrases[0]} {choices.any(EN_RELATIONS[relation])} {phrases[1]}"
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
        ground = " " + choices.plainly(EN_BACKGROUND_FORMS).format(demand.background)
    return f"{frame}{text}{ground}"


def _chinese_nouns(groups: list[ObjectDemand], choices: Choices) -> dict[str, str]:
    """A noun for every shape: a caption calls like things alike."""
    nouns = {}
    for shape in dict.fromkeys(group.shape for group in groups):
        sizes = {group.size for group in groups if group.shape == shape}
        fitting = [
            noun
            for noun in ZH_SHAPES[shape]
            # a dot is small, 小心 is "careful", and 大的星 limps
            if (noun != "圆点" or "large" not in sizes)
            and (noun not in ("心", "星") or sizes == {None})
            # three or four phrases fill the caption, and 红色圆 limps
            and (len(noun) > 1 or len(groups) < 3)
        ]
        nouns[shape] = choices.plainly(tuple(fitting))
    return nouns


def _bare(colour: str, noun: str) -> bool:
    """Whether a colour goes without 色; 粉圆 is food, and 黑心 is cruel."""
    return noun in _ZH_BARE and colour in "红黄绿蓝紫黑" and colour + noun != "黑心"


def _chinese_phrase(
    group: ObjectDemand, noun: str, number: str, size: str, style: int
) -> str:
    """A number, adjectives and a noun.

    Args:
        group: what it says.
        noun, number: in Chinese.
        size: the adjective for the size, with 的.
        style: 0 writes 红色的圆形, 1 红色圆形, 2 红圆, where they are good.
    """
    counted = number + ("颗" if noun.endswith(("心", "星")) else "个")
    brief = {"small": "小", "large": "大"}.get(group.size or "", "")
    if group.colour is None:
        return counted + (brief if style == 2 else size) + noun
    colour = ZH_COLOURS[group.colour]
    if group.size is None:
        tail = "" if style == 2 else "色的" if style == 0 or len(noun) == 1 else "色"
        return f"{counted}{colour}{tail}{noun}"
    if style == 2 and group.size == "small":
        return f"{counted}小{colour}{noun}"
    # 大红 is a bright red, so that 大 goes with 的 or with the noun
    if style == 0 or len(noun) == 1:
        return f"{counted}{colour}色的{brief}{noun}"
    return f"{counted}{size}{colour}色{noun}"


def _chinese_phrases(groups: list[ObjectDemand], choices: Choices) -> list[str]:
    """The groups, counted and coloured in one way."""
    nouns = _chinese_nouns(groups, choices)
    style = max(choices.below(4) - 1, 0) if len(groups) < 3 else 1
    if style == 2 and not all(
        group.colour is None or _bare(ZH_COLOURS[group.colour], nouns[group.shape])
        for group in groups
    ):
        style = 1
    digits = choices.below(4) == 0 and all(group.count > 1 for group in groups)
    # two facts about each of two groups: the shorter words keep the caption short
    longest = 3 if len(groups) == 1 else 1
    sizes = {size: choices.plainly(words[:longest]) for size, words in ZH_SIZES.items()}
    return [
        _chinese_phrase(
            group,
            nouns[group.shape],
            ZH_NUMBERS[group.count][digits],
            sizes.get(group.size or "", ""),
            style,
        )
        for group in groups
    ]


def _describe_chinese(demand: Demand, choices: Choices) -> str:
    groups, relation = _order(demand, choices)
    phrases = _chinese_phrases(groups, choices)
    alone = len(groups) == 1
    frame = ""
    if relation is not None:
        place = choices.any(ZH_RELATIONS[relation])
        form = choices.below(4)
        if form < 2:
            text = f"{phrases[0]}{('在', '位于')[form]}{phrases[1]}的{place}"
        else:
            text = f"{phrases[1]}的{place}{('有', '是')[form - 2]}{phrases[0]}"
    elif alone and groups[0].position is not None:
        place = choices.any(("", "", "图的", "画面的"))
        place += choices.any(ZH_POSITIONS[groups[0].position])
        form = choices.below(4)
        if form < 2:
            text = f"{phrases[0]}{('在', '位于')[form]}{place}"
        else:
            text = f"{place}{('有', '是')[form - 2]}{phrases[0]}"
    elif alone:
        text = phrases[0]
        frame = choices.any(ZH_TOTALS if groups[0].count > 1 else ZH_FRAMES)
    else:
        text = f"{'、'.join(phrases[:-1])}{choices.any(('和', '与'))}{phrases[-1]}"
        if len(phrases) < 3:
            frame = choices.any(ZH_FRAMES)
    if demand.background is None:
        return frame + text
    ground = ZH_BACKGROUNDS[demand.background]
    form = choices.below(len(ZH_BACKGROUND_FORMS) + 1)
    if form == len(ZH_BACKGROUND_FORMS):
        # where things are is said already: no 图中 after 背景上
        return f"{ground}背景上{'有' if frame else '，'}{text}"
    return f"{frame}{text}，{ZH_BACKGROUND_FORMS[form].format(ground)}"


def _paraphrases(*tables: Mapping[Any, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    for table in tables:
        yield from table.values()


@lru_cache(maxsize=3)
def vocabulary(language: str) -> Vocabulary:
    """All the words that ``describe`` may write, the same for every data set."""
    english = [*COLOURS, "a", "an", "and", "colored", "that", "corner", "there is are"]
    for words in _paraphrases(
        EN_SHAPES, EN_SIZES, EN_POSITIONS, EN_RELATIONS, EN_NUMBERS
    ):
        english += words
    english += [plural(noun) for nouns in EN_SHAPES.values() for noun in nouns]
    english += ["in at the", *BACKGROUNDS]
    english += [*EN_FRAMES, *EN_GROUPS, *EN_BACKGROUND_FORMS]
    chinese = ["个颗在位于的有是和与图画面背景上色大小", _ZH_EARLIER]
    for words in _paraphrases(
        ZH_SHAPES, ZH_SIZES, ZH_POSITIONS, ZH_RELATIONS, ZH_NUMBERS
    ):
        chinese += words
    chinese += [*ZH_COLOURS.values(), *ZH_BACKGROUNDS.values()]
    chinese += [*ZH_FRAMES, *ZH_TOTALS, *ZH_BACKGROUND_FORMS]
    texts = {"en": english, "zh": chinese, "both": english + chinese}
    return Vocabulary.build(texts[language], language)


def language_of(caption: str) -> str:
    """Language of a caption of Shapes, "en" or "zh"."""
    return "en" if caption.isascii() else "zh"
