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
from mmgen.data.shapes_demand import OPPOSITE, Demand, ObjectDemand, facts
from mmgen.data.shapes_world import BACKGROUNDS, COLOURS, Scene
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
    "square": ("正方形", "方形", "方块", "四方形"),
    "triangle": ("三角形", "三角", "三角图形", "三角块"),
    "star": ("五角星", "星形", "星星", "星"),
    "heart": ("心形", "爱心", "桃心", "心"),
    "cross": ("十字", "十字形", "加号", "十字架"),
}
EN_SIZES = {
    "small": ("small", "little", "tiny", "mini"),
    "large": ("large", "big", "huge", "giant"),
}
ZH_SIZES = {
    "small": ("小的", "小号的", "很小的", "小小的"),
    "large": ("大的", "大号的", "很大的", "大大的"),
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
ZH_COLOUR_FORMS = ("{}色的", "{}色", "{}颜色的", "{}")
EN_POSITIONS = {
    "center": ("center", "middle"),
    "upper left": ("upper left", "top left"),
    "upper right": ("upper right", "top right"),
    "lower left": ("lower left", "bottom left"),
    "lower right": ("lower right", "bottom right"),
}
ZH_POSITIONS = {
    "center": ("中央", "中间", "中心", "正中"),
    "upper left": ("左上角", "左上方", "左上", "左上部"),
    "upper right": ("右上角", "右上方", "右上", "右上部"),
    "lower left": ("左下角", "左下方", "左下", "左下部"),
    "lower right": ("右下角", "右下方", "右下", "右下部"),
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
    "left of": ("左边", "左侧", "左面", "左方"),
    "right of": ("右边", "右侧", "右面", "右方"),
    "above": ("上方", "上面", "上边", "上侧"),
    "below": ("下方", "下面", "下边", "下侧"),
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
ZH_GROUPS = ("{}个", "{}个", "一共{}个", "共有{}个")
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


def plural(noun: str) -> str:
    """The plural of an English noun of Shapes."""
    return noun + ("es" if noun.endswith(("x", "ss")) else "s")


def _english_group(group: ObjectDemand, choices: _Choices, alone: bool) -> str:
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


def _english_position(position: str, choices: _Choices) -> str:
    place = choices.any(EN_POSITIONS[position])
    corner = " corner" if position != "center" and choices.below(2) else ""
    return f"{choices.any(('in', 'at'))} the {place}{corner}"


def _describe_english(demand: Demand, choices: _Choices) -> str:
    groups, relation = _order(demand, choices)
    alone = len(groups) == 1
    phrases = [_english_group(group, choices, alone) for group in groups]
    verb = "are" if groups[0].count > 1 else "is"
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


def _chinese_group(group: ObjectDemand, choices: _Choices, groups: int) -> str:
    # Several groups, or two facts about each: the shorter words keep the caption short.
    number = ZH_NUMBERS[group.count][choices.below(4) == 0 and group.count > 1]
    counting = groups == 1 and group.count > 1
    phrase = (choices.any(ZH_GROUPS) if counting else "{}个").format(number)
    if group.size is not None:
        phrase += choices.plainly(ZH_SIZES[group.size][: 4 if groups == 1 else 1])
    if group.colour is not None:
        short = groups > 2 or (groups == 2 and group.size is not None)
        forms = ZH_COLOUR_FORMS if groups == 1 else ZH_COLOUR_FORMS[:2]
        form = ZH_COLOUR_FORMS[1] if short else choices.any(forms)
        phrase += form.format(ZH_COLOURS[group.colour])
    nouns = [n for n in ZH_SHAPES[group.shape] if groups == 1 or len(n) <= 3]
    return phrase + choices.plainly(tuple(nouns))


def _describe_chinese(demand: Demand, choices: _Choices) -> str:
    groups, relation = _order(demand, choices)
    alone = len(groups) == 1
    phrases = [_chinese_group(group, choices, len(groups)) for group in groups]
    frame = choices.any(ZH_FRAMES)
    if relation is not None:
        place = choices.any(ZH_RELATIONS[relation])
        form = choices.below(4)
        if form < 2:
            text = f"{phrases[0]}{('在', '位于')[form]}{phrases[1]}的{place}"
            frame = ""
        else:
            text = f"{phrases[1]}的{place}{('有', '是')[form - 2]}{phrases[0]}"
            frame = ""
    elif alone and groups[0].position is not None:
        place = choices.any(ZH_POSITIONS[groups[0].position])
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
    ground = ZH_BACKGROUNDS[demand.background]
    form = choices.below(len(ZH_BACKGROUND_FORMS) + 1)
    if form == len(ZH_BACKGROUND_FORMS):
        return f"{ground}背景上，{text}"
    return f"{text}，{ZH_BACKGROUND_FORMS[form].format(ground)}"


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
    chinese = ["个在位于的有是和与图画面背景上"]
    for words in _paraphrases(
        ZH_SHAPES, ZH_SIZES, ZH_POSITIONS, ZH_RELATIONS, ZH_NUMBERS
    ):
        chinese += words
    chinese += [*ZH_COLOURS.values(), *ZH_BACKGROUNDS.values(), *ZH_COLOUR_FORMS]
    chinese += [*ZH_FRAMES, *ZH_GROUPS, *ZH_BACKGROUND_FORMS]
    texts = {"en": english, "zh": chinese, "both": english + chinese}
    return Vocabulary.build(texts[language], language)
