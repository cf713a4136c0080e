"""What captions of Shapes may mean: a second grammar, slow and written for reading.

It shares nothing with ``mmgen.data.shapes.parsing`` but the objects it returns. The
grammars below are lines ``name = one way | another way``. In a way, ``<name>`` is a
part, ``[...]`` may be left out, ``{...}`` is a mark that says what was read, and
anything else is a word of English or a run of Chinese characters. ``meanings`` derives
a caption in all ways, and then gives every reading of every way: an adjective or a
place that may belong to several objects has one reading for each choice. ``sentence``
writes any caption that the grammar has.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product

from mmgen.data.shapes.demand import Demand, ObjectDemand, canonical

ENGLISH = """
caption = [<ground-first>] [<opening>] <body> [<grounds-last>] [<stop>]
stop = <dots> | <shouts>
dots = . [<dots>]
shouts = ! [<shouts>]
opening = there is | there are | there's | [<article>] <picture> <of> | <do>
opening = the <picture> shows | in the <picture> there is | in the <picture> there are
do = this is | draw | please draw | draw me | show | show me
article = a | an | the
picture = picture | image | drawing | photo | painting
of = of | with | showing

ground-first = <ground> | <ground> , | <ground> ; | <ground> : | <ground> .
ground-first = <ground> with | <ground> , with | <ground> and | <ground> , and
ground-first = <ground> ; with | <ground> ; and
grounds-last = [<joint>] <ground> [<grounds-last>]
ground = [<against>] [<article>] <pale> <ground-noun> | [<article>] <pale> <ground-noun>
ground = [one] <pale> <ground-noun> | [1] <pale> <ground-noun>
ground = <against> 1 <pale> <ground-noun> | <against> one <pale> <ground-noun>
ground = on <pale> | against <pale>
ground = [the] <ground-noun> is <pale> | [the] <ground-noun> : <pale>
ground = [the] <ground-noun> are <pale>
against = on | against | with
ground-noun = background | backdrop
pale = white {ground white} | gray {ground gray} | grey {ground gray}
pale = beige {ground beige} | light blue {ground light_blue}

body = <list>
body = <alone> , {after} <place> {end} | <alone> ; {after} <place> {end}
body = <object> [,] [<be>] <relation> <object>
body = <object> ; [<be>] <relation> <object>
body = {turn} <relation> <object> [,] <is-there> <object>
body = {turn} <relation> <object> ; [<is-there>] <object>
body = {turn} <relation> <object> , <object>
body = {turn} <object> <link> <there-object> <its>
body = {turn} <object> <link> <its> [,] [<is-there>] <object>
body = {turn} <object> <link> <its> ; [<is-there>] <object>
body = {turn} <object> <pause> <adverb> [,] <object>
body = {turn} <object> <pause> <adverb> ; <object>
body = <object> [<is>] <left> [<joint>] <object> [<is>] <right>
body = <object> [<is>] <right> [<joint>] <object> [<is>] <left>
body = <object> [<is>] <top> [<joint>] <object> [<is>] <bottom>
body = <object> [<is>] <bottom> [<joint>] <object> [<is>] <top>
body = <at-left> <object> <joint> <at-right> <object>
body = <at-right> <object> <joint> <at-left> <object>
body = <at-top> <object> <joint> <at-bottom> <object>
body = <at-bottom> <object> <joint> <at-top> <object>

left = <l> [<of-picture>]
right = <r> [<of-picture>]
top = <t> [<of-picture>]
bottom = <b> [<of-picture>]
l = <to> left {one left_of} | <to> left side {one left_of}
r = <to> right {one right_of} | <to> right side {one right_of}
t = <on> top {one above}
b = <on> bottom {one below}
to = on the | at the | to the
on = on the | at the | in the
at-left = <left> [,] [<is-there>] | <left> ; [<is-there>] | <left> :
at-left = left {one left_of} [:]
at-right = <right> [,] [<is-there>] | <right> ; [<is-there>] | <right> :
at-right = right {one right_of} [:]
at-top = <top> [,] [<is-there>] | <top> ; [<is-there>] | <top> :
at-top = top {one above} [:] | above {one above} :
at-bottom = <bottom> [,] [<is-there>] | <bottom> ; [<is-there>] | <bottom> :
at-bottom = bottom {one below} [:] | below {one below} : | underneath {one below} :
at-bottom = beneath {one below} :

link = with | <joint> | , with | ; with
pause = , | , and | ; | ; and | . | and
adverb = above {relation above} | below {relation below}
adverb = underneath {relation below} | beneath {relation below}
its = <relation> it | <to-its> left {relation left_of} [side]
its = <to-its> right {relation right_of} [side]
to-its = on its | to its | at its
is-there = <is> | there is | there are | there's
there-object = [there is] <object> | there are <object> | there's <object>
be = <is> | <that-is>
is = is | are | is located | are located | is placed | are placed
that-is = that is | that are | which is | which are

relation = [<to>] left of {relation left_of} | [<to>] right of {relation right_of}
relation = to the left side of {relation left_of}
relation = on the left side of {relation left_of}
relation = to the right side of {relation right_of}
relation = on the right side of {relation right_of}
relation = above {relation above} | over {relation above} | higher than {relation above}
relation = further up than {relation above} | on top of {relation above}
relation = below {relation below} | under {relation below} | beneath {relation below}
relation = lower than {relation below} | underneath {relation below}

list = <item> [<more>]
more = <joint> {and} <item> [<more>]
more = <joint> {and} there is <item> [<more>] | <joint> {and} there are <item> [<more>]
more = <joint> {and} there's <item> [<more>]
more = {and} <counted> [<more>] | {and} <in> <place> {front} <object> [<more>]
counted = {object} [<only>] <number> [<adjectives>] <noun> [<afters>] {end}
joint = , | ; | . | and {with_and} | , and {with_and} | ; and {with_and}
item = <object>
item = <alone> {sentence} {after} <is> <adjective-list> {end}
item = <alone> {sentence} {after} <is> <place> {end}
item = <fronted>
fronted = <place> : {front} <object>
fronted = <place> [,] {verb} <is-there> {front} <object>
fronted = <place> ; {verb} <is-there> {front} <object>
fronted = <in> <place> [,] {front} <object> | <in> <place> ; {front} <object>

object = <alone> {end}
alone = {object} [<only>] [<number>] [<adjectives>] <noun> [<afters>]
alone = {object} [<only>] <number> <adjective> <comma> <adjectives> <noun> [<afters>]
alone = {object} [<only>] <one> <adjective> and <adjective> <noun> [<afters>]
comma = , | ;
only = only | exactly | just
one = a {number 1} | an {number 1} | one {number 1} | 1 {number 1}
one = a single {number 1} | one single {number 1}
number = <one> | the {number the} | [the] <more-than-one> | <group-of> <more-than-one>
number = a pair of {number 2} | the pair of {number 2}
group-of = a group of | the group of
more-than-one = two {number 2} | 2 {number 2} | three {number 3} | 3 {number 3}
more-than-one = four {number 4} | 4 {number 4}
adjectives = <adjective> [<adjectives>]
adjective-list = <adjective> | <adjective> and <adjective>
adjective = <colour> [<colored>] | <size>
colored = colored | coloured
colour = red {colour red} | orange {colour orange} | yellow {colour yellow}
colour = green {colour green} | blue {colour blue} | purple {colour purple}
colour = pink {colour pink} | black {colour black}
size = small {size small} | little {size small} | tiny {size small} | mini {size small}
size = large {size large} | big {size large} | huge {size large} | giant {size large}
afters = {after} <after> [<afters>]
after = in <colour> | <colored> <colour> | <that-is> <adjective-list>
after = [<that-is>] <place> | [<that-is>] <in> <place>
in = in | at | on
place = [<in>] <where> | [<in>] <where> {sure} corner [<of-picture>]
place = [<in>] <where> {sure} hand corner [<of-picture>]
place = [<in>] <where> {sure} <of-picture>
of-picture = of the <picture>
where = [the] center {place center} | [the] centre {place center}
where = [the] middle {place center}
where = [the] upper left {place upper_left} | [the] top left {place upper_left}
where = [the] left upper {place upper_left} | [the] left top {place upper_left}
where = [the] upper right {place upper_right} | [the] top right {place upper_right}
where = [the] right upper {place upper_right} | [the] right top {place upper_right}
where = [the] lower left {place lower_left} | [the] bottom left {place lower_left}
where = [the] left lower {place lower_left} | [the] left bottom {place lower_left}
where = [the] lower right {place lower_right} | [the] bottom right {place lower_right}
where = [the] right lower {place lower_right} | [the] right bottom {place lower_right}

noun = <one-noun> | {many} <many-noun>
one-noun = circle {shape circle} | disc {shape circle} | disk {shape circle}
one-noun = dot {shape circle} | circle shape {shape circle} | round shape {shape circle}
one-noun = square {shape square} | square shape {shape square} | box {shape square}
one-noun = block {shape square}
one-noun = triangle {shape triangle} | triangle shape {shape triangle}
one-noun = triangular shape {shape triangle} | pyramid {shape triangle}
one-noun = star {shape star} | star shape {shape star} | star symbol {shape star}
one-noun = star figure {shape star}
one-noun = heart {shape heart} | heart shape {shape heart} | heart symbol {shape heart}
one-noun = love heart {shape heart}
one-noun = cross {shape cross} | plus sign {shape cross} | cross shape {shape cross}
one-noun = plus symbol {shape cross} | plus {shape cross}
many-noun = circles {shape circle} | discs {shape circle} | disks {shape circle}
many-noun = dots {shape circle} | circle shapes {shape circle}
many-noun = round shapes {shape circle}
many-noun = squares {shape square} | square shapes {shape square} | boxes {shape square}
many-noun = blocks {shape square}
many-noun = triangles {shape triangle} | triangle shapes {shape triangle}
many-noun = triangular shapes {shape triangle} | pyramids {shape triangle}
many-noun = stars {shape star} | star shapes {shape star} | star symbols {shape star}
many-noun = star figures {shape star}
many-noun = hearts {shape heart} | heart shapes {shape heart}
many-noun = heart symbols {shape heart} | love hearts {shape heart}
many-noun = crosses {shape cross} | plus signs {shape cross}
many-noun = cross shapes {shape cross} | plus symbols {shape cross}
"""

CHINESE = """
caption = [<ground-first>] [<opening>] <body> [<grounds-last>] [<stop>]
stop = <dots> | <shouts>
dots = . [<dots>]
shouts = ! [<shouts>]
opening = [<in-picture>] 有 | [<in-picture>] 只有 | [<in-picture>] 仅有
opening = [<in-picture>] 共有 | [<in-picture>] 一共 | [<in-picture>] 一共有
opening = [<in-picture>] 总共 | [<in-picture>] 总共有 | <in-picture> 是 | 这是 | 共
opening = 画 | 请画 | 画着
in-picture = <picture> 中 | <picture> 里 | <picture> 上 | <picture> 里面 | 这里
picture = 图 | 图片 | 画面 | 图像 | 画

ground-first = [<at>] <shade> <ground-noun> [上] [<comma>]
ground-first = [<at>] <shade> <ground-noun> :
ground-first = <ground-noun> [<ground-is>] <shade> <comma>
grounds-last = [<joint>] <ground> [<grounds-last>]
ground = <shade> <ground-noun> | <at> <shade> <ground-noun> 上
ground = <ground-noun> [<ground-is>] <shade>
ground-noun = 背景 | 底 | 底色
ground-is = 是 | 为 | : | 是 :
shade = <pale> | <pale> 色 | <pale> 色的
pale = 白 {ground white} | 灰 {ground gray} | 米 {ground beige}
pale = 浅蓝 {ground light_blue} | 淡蓝 {ground light_blue}

body = <list> | <alone> <comma> <at> {after} <place> {end}
body = <object> <at> <object> [的] <side>
body = {turn} [<at>] <object> [的] <side> [<comma>] <verb> <told>
body = {turn} <object> <joint> <its> [的] <side> [<comma>] <verb> <told>
body = <left> <told> [<joint>] <right> <told> | <right> <told> [<joint>] <left> <told>
body = <top> <told> [<joint>] <bottom> <told> | <bottom> <told> [<joint>] <top> <told>
body = <l> <told> [<joint>] <r> <told> | <r> <told> [<joint>] <l> <told>
body = <t> <told> [<joint>] <b> <told> | <b> <told> [<joint>] <t> <told>
body = <object> <at> <on-left> [<joint>] <object> <at> <on-right>
body = <object> <at> <on-right> [<joint>] <object> <at> <on-left>
body = <object> <at> <on-top> [<joint>] <object> <at> <on-bottom>
body = <object> <at> <on-bottom> [<joint>] <object> <at> <on-top>
body = <object> <at> 左 {one left_of} [<joint>] <object> <at> 右 {one right_of}
body = <object> <at> 右 {one right_of} [<joint>] <object> <at> 左 {one left_of}
body = <object> <at> 上 {one above} [<joint>] <object> <at> 下 {one below}
body = <object> <at> 下 {one below} [<joint>] <object> <at> 上 {one above}
l = 左 {one left_of} [<verb>]
r = 右 {one right_of} [<verb>]
t = 上 {one above} [<verb>]
b = 下 {one below} [<verb>]
left = [<at>] <on-left> [<comma>] [<verb>] | <on-left> :
right = [<at>] <on-right> [<comma>] [<verb>] | <on-right> :
top = [<at>] <on-top> [<comma>] [<verb>] | <on-top> :
bottom = [<at>] <on-bottom> [<comma>] [<verb>] | <on-bottom> :
on-left = [<of-picture>] <left-side> {one left_of}
on-right = [<of-picture>] <right-side> {one right_of}
on-top = [<of-picture>] <upper-side> {one above}
on-bottom = [<of-picture>] <lower-side> {one below}
side = <left-side> {relation left_of} | <right-side> {relation right_of}
side = <upper-side> {relation above} | <lower-side> {relation below}
left-side = [正] 左边 | [正] 左侧 | [正] 左面 | [正] 左方 | 左手边
right-side = [正] 右边 | [正] 右侧 | [正] 右面 | [正] 右方 | 右手边
upper-side = [正] 上边 | [正] 上侧 | [正] 上面 | [正] 上方 | [正] 上头 | 之上
lower-side = [正] 下边 | [正] 下侧 | [正] 下面 | [正] 下方 | [正] 下头 | 之下 | 底下
its = 它 | 它的 | 其
at = 在 | 位于 | 处于
verb = 有 | 是
comma = , | ; | .

list = <item> [<more>]
more = <joint> {and} <item> [<more>] | {and} <counted> [<more>]
joint = <comma> | <both> {with_and} | <comma> <both>
both = 和 | 与 | 跟 | 及 | 以及 | 还有 | 、
item = [有] <object> | 有 <bare-one>
item = <alone> {sentence} {after} <predicate> {end}
item = <alone> {sentence} {after} <at> <place> {end}
item = <fronted>
counted = {object} <number> [<adjectives>] <noun> {end} | <fronted>
fronted = <place-before> {front} <object>
fronted = [<at>] <place> [<comma>] {verb} <verb> {front} <bare-one>
place-before = [<at>] <place> [<comma>] | [<at>] <place> [<comma>] {verb} <verb>
place-before = [<at>] <place> 的 | [<at>] <place> {verb} :
told = <object> | <bare-one>
object = <alone> {end}
alone = {object} [<number>] [<adjectives>] <noun>
bare-one = {object} <counter> {number 1} [<adjectives>] <noun> {end}
counter = 个 | 颗
number = 一 <counter> {number 1} | 1 <counter> {number 1}
number = 两 <counter> {number 2} | 二 <counter> {number 2} | 2 <counter> {number 2}
number = 三 <counter> {number 3} | 3 <counter> {number 3}
number = 四 <counter> {number 4} | 4 <counter> {number 4}
number = 俩 {number 2} | 一对 {number 2} | 仨 {number 3}
adjectives = <adjective> [<adjectives>]
adjective = <colour> | <colour> 的 | <colour> 色 | <colour> 色的
adjective = <colour> 颜色 | <colour> 颜色的
adjective = <small> {size small} | <large> {size large}
predicate = 是 <colour> 的 | 是 <colour> 色的 | 是 <colour> 颜色的
predicate = 是 <small-de> {size small} | 是 <large-de> {size large}
small = 小 | 小小 | 小号 | 小型 | <small-de>
small-de = 小的 | 小小的 | 很小的 | 小号的
large = 大 | 大大 | 大号 | 大型 | <large-de>
large-de = 大的 | 大大的 | 很大的 | 大号的
colour = 红 {colour red} | 大红 {colour red} | 橙 {colour orange} | 橘 {colour orange}
colour = 黄 {colour yellow} | 绿 {colour green} | 蓝 {colour blue} | 紫 {colour purple}
colour = 緋 {colour red}
colour = 粉 {colour pink} | 粉红 {colour pink} | 黑 {colour black}
place = <corner> {sure} 角 | <corner> | <corner> 方 | <corner> 部 | <corner> 边
place = {sure} <of-picture> <corner> 角 | {sure} <of-picture> <corner>
place = {sure} <of-picture> <corner> 方 | {sure} <of-picture> <corner> 部
place = {sure} <of-picture> <corner> 边
place = <center> {place center} | {sure} <of-picture> <center> {place center}
of-picture = <picture> [的] | <picture> 中 [的] | <picture> 里 [的]
center = 中央 | 中间 | 中心 | 正中 | 正中央 | 正中间 | 衷
corner = 左上 {place upper_left} | 右上 {place upper_right}
corner = 左下 {place lower_left} | 右下 {place lower_right}
noun = 圆 {shape circle} | 圆形 {shape circle} | 圆点 {shape circle}
noun = 圆盘 {shape circle} | 圆圈 {shape circle}
noun = 正方形 {shape square} | 方形 {shape square} | 方块 {shape square}
noun = 四方形 {shape square}
noun = 三角形 {shape triangle} | 三角 {shape triangle} | 三角图形 {shape triangle}
noun = 三角块 {shape triangle}
noun = 五角星 {shape star} | 星星 {shape star} | 星 {shape star} | 星形 {shape star}
noun = 爱心 {shape heart} | 桃心 {shape heart} | 心 {shape heart} | 心形 {shape heart}
noun = 十字 {shape cross} | 十字形 {shape cross} | 加号 {shape cross}
noun = 十字架 {shape cross}
"""

Way = list[tuple[str, str]]  # of ("word" | "part" | "mark", text)


def _ways(text: str) -> list[Way]:
    """A way without and with everything that it may leave out."""
    optional = re.search(r"\[([^\]]*)\]", text)
    if optional:
        before, after = text[: optional.start()], text[optional.end() :]
        return _ways(before + after) + _ways(f"{before} {optional[1]} {after}")
    way = []
    for part, mark, word in re.findall(r"<([^>]*)>|\{([^}]*)\}|([^\s<{]+)", text):
        if part:
            way.append(("part", part))
        elif mark:
            way.append(("mark", mark))
        else:
            han = re.search("[\u4e00-\u9fff]", word)
            way += [("word", w) for w in (list(word) if han else [word])]
    return [way]


@lru_cache(maxsize=2)
def _rules(text: str) -> dict[str, list[Way]]:
    rules: dict[str, list[Way]] = {}
    for line in text.strip().splitlines():
        if line:
            name, _, ways = line.partition(" = ")
            for way in ways.split(" | "):
                rules.setdefault(name, []).extend(_ways(way))
    return rules


def derivations(words: list[str], rules: dict[str, list[Way]]) -> set[tuple[str, ...]]:
    """The marks of every derivation of the words from ``caption``."""
    known: dict[tuple[str, int], set[tuple[tuple[str, ...], int]]] = {}

    def derive(name: str, at: int) -> set[tuple[tuple[str, ...], int]]:
        if (name, at) not in known:
            found: set[tuple[tuple[str, ...], int]] = set()
            for way in rules[name]:
                partial: set[tuple[tuple[str, ...], int]] = {((), at)}
                for kind, text in way:
                    step: set[tuple[tuple[str, ...], int]] = set()
                    for marks, here in partial:
                        if kind == "mark":
                            step.add(((*marks, text), here))
                        elif kind == "word":
                            if here < len(words) and words[here] == text:
                                step.add((marks, here + 1))
                        else:
                            step |= {((*marks, *m), e) for m, e in derive(text, here)}
                    partial = step
                    if not partial:
                        break
                found |= partial
            known[name, at] = found
        return known[name, at]

    return {marks for marks, end in derive("caption", 0) if end == len(words)}


OUTSIDE = "something that Shapes cannot show"


@dataclass
class Told:
    """What a caption says of one group of objects, and where it says it."""

    shape: str = ""
    many: bool = False  # a plural
    number: str | None = None  # "the" for a plain "the"
    before: list[tuple[str, str]] = field(default_factory=list)
    after: list[tuple[str, str]] = field(default_factory=list)
    front: str | None = None  # a place that is said before the object
    sure: bool = False  # and means the picture for certain


def readings(marks: tuple[str, ...]) -> set[Demand | str]:
    """All that one derivation may mean; nothing if it contradicts itself."""
    told: list[Told] = []
    joints: list[bool] = []  # between the objects of a list: whether by "and"
    relations: list[str] = []
    grounds: set[str] = set()
    loose: list[tuple[str, str]] = []  # said before the next object
    target = loose
    for mark in marks:
        kind, _, value = mark.replace("_", " ").partition(" ")
        if kind == "object":
            thing = Told()
            places = [value for kind, value in loose if kind == "front"]
            if places:
                thing.front = places[0]
                thing.sure = {("sure", ""), ("verb", "")} <= set(loose)
            told.append(thing)
            target = thing.before
        elif kind == "after":
            target = told[-1].after
        elif kind == "end":
            target = loose = []
        elif kind == "front":
            loose += [("front", v) for k, v in loose if k == "place"]
        elif kind in ("number", "shape"):
            setattr(told[-1], kind, value)
        elif kind == "many":
            told[-1].many = True
        elif kind == "ground":
            grounds.add(value)
        elif kind in ("relation", "one"):
            relations.append(value)
        elif mark == "and":
            joints.append(("with and", "") in loose)
            loose.clear()
        elif mark == "with_and":
            loose.append(("with and", ""))
        elif kind in ("colour", "size", "place", "sure", "verb"):
            target.append((kind, value))
    if len(grounds) > 1:
        return set()
    relation = relations[0] if relations else None
    found: set[Demand | str] = set()
    # "left of a square is a circle in red": the circle alone
    apart = "turn" in marks or any(mark.startswith("one") for mark in marks)
    for things in _everything_shared(told, joints, apart):
        total = sum(thing.count for thing in things)
        if total > 4 or (relation and (total != 2 or len(things) != 2)):
            continue
        if relation and any(thing.position for thing in things):
            found.add(OUTSIDE)
            continue
        order = things[::-1] if "turn" in marks else things
        found.add(canonical(order, relation, next(iter(grounds), None)))
    for i, thing in enumerate(told):
        unplaced = any(not _has(other, "place") for other in told[:i])
        if thing.front and not thing.sure and unplaced:
            found.add(OUTSIDE)  # "upper left" of another object
    return found


def _has(thing: Told, kind: str) -> bool:
    said = {k for k, _ in (*thing.before, *thing.after)}
    return kind in said or (kind == "place" and thing.front is not None)


def _everything_shared(
    told: list[Told], joints: list[bool], apart: bool
) -> list[list[ObjectDemand]]:
    """Objects, for each choice of what words they share with their neighbours."""
    facts = [
        [(k, v) for k, v in (*t.before, *t.after) if k in ("colour", "size", "place")]
        + ([("place", t.front)] if t.front else [])
        for t in told
    ]
    shares: list[list[list[tuple[int, tuple[str, str]]]]] = []  # choices of additions
    numbers: list[list[str | None]] = []
    for i, thing in enumerate(told):
        numbers.append([thing.number])
        bare = i > 0 and thing.number is None and thing.front is None and bool(joints)
        if bare and told[i - 1].number not in (None, "the", "1"):
            numbers[i].append(told[i - 1].number)  # "two circles and square"
        if bare and any(joints[i - 1 :]):
            start = i - 1
            lead = told[start].before
            shares.append([[(i, a) for a in lead[:n]] for n in range(len(lead) + 1)])
        for attribute in () if apart else thing.after:
            if attribute[0] in ("colour", "size", "place"):
                ends = range(i + 1)
                shares += [[[(i - 1 - k, attribute) for k in range(n)] for n in ends]]
        if thing.front:
            later = len(told) - i
            place = ("place", thing.front)
            shares.append(
                [[(i + 1 + k, place) for k in range(n)] for n in range(later)]
            )
    results = []
    for choice in product(*shares):
        for counts in product(*numbers):
            all_facts = [set(f) for f in facts]
            for addition in choice:
                for i, attribute in addition:
                    all_facts[i].add(attribute)
            things = [
                _thing(thing, facts_of, number)
                for thing, facts_of, number in zip(told, all_facts, counts, strict=True)
            ]
            if all(things):
                results.append([thing for thing in things if thing is not None])
    return results


def _thing(
    told: Told, facts: set[tuple[str, str]], number: str | None
) -> ObjectDemand | None:
    """The demand for one group; none if it contradicts itself or has no number."""
    if len({kind for kind, _ in facts}) < len(facts):
        return None
    if told.many and number in (None, "the", "1"):
        return None
    said = dict(facts)
    count = int(number) if number not in (None, "the") else 1
    return ObjectDemand(
        told.shape, said.get("colour"), said.get("size"), said.get("place"), count
    )


def meanings(caption: str) -> set[Demand | str]:
    """All that a caption may mean."""
    if re.search("[\u4e00-\u9fff]", caption):
        caption = caption.translate(_HALF_WIDTH)
        # each is one word, the first for a bright red; here they have a character each
        caption = re.sub("大红(?=色|颜色)", "緋", caption).replace("正中心", "衷")
        words = list(caption)
        rules = _rules(CHINESE)
    else:
        words = re.sub(r"([,;:.!])", r" \1 ", caption.lower()).split()
        rules = _rules(ENGLISH)
    return {
        meaning for marks in derivations(words, rules) for meaning in readings(marks)
    }


_HALF_WIDTH = str.maketrans("，；：。！", ",;:.!")


def sentence(language: str, rng: random.Random) -> str:
    """Any caption of a language, "en" or "zh"."""
    rules = _rules(ENGLISH if language == "en" else CHINESE)

    def write(name: str) -> list[str]:
        ways = rules[name]
        if rng.random() < 0.9:  # seldom says a thing twice, and comes to an end
            ways = [way for way in ways if ("part", name) not in way]
        if rng.random() < 0.5:  # half the time leaves out what may be left out
            least = min(len(way) for way in ways)
            ways = [way for way in ways if len(way) <= least + 1]
        words: list[str] = []
        for kind, text in rng.choice(ways):
            if kind == "word":
                words.append(text)
            elif kind == "part":
                words += write(text)
        return words

    words = write("caption")
    return (
        (" " if language == "en" else "")
        .join(words)
        .replace("緋", "大红")
        .replace("衷", "正中心")
    )
