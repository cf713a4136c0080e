"""What captions of Shapes demand: understood in full, or refused with the reason.

Every word and mark of a caption must have its place in a sentence of the grammar
(``shapes_grammar``). A chart holds all derivations at once, so Chinese is cut into
words in all possible ways; a caption that can mean two things is refused.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from functools import lru_cache
from typing import Any

from mmgen.data.shapes.demand import Demand, ObjectDemand, canonical
from mmgen.data.shapes.grammar import (
    HANZI,
    Grammar,
    Group,
    Refusal,
    Related,
    Row,
    Step,
    grammar,
    tokens_of,
)
from mmgen.data.shapes.world import (
    BACKGROUNDS,
    COLOURS,
    MAX_OBJECTS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
)
from mmgen.data.vocabulary import quoted

_CONTENT = re.compile(r"[^\s.,;:!?。，、；：！？…]")
_MOST_CHARACTERS = 200  # far more than any caption needs
_HANZI = re.compile(f"[{HANZI}]")

# Full-width letters and marks are the plain ones; and traditional characters of Shapes
# are the simplified ones. All are single characters: places in the text stay the same.
_PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PLAIN |= str.maketrans("’‘。", "''.") | str.maketrans(
    "個顆兩倆圓紅藍綠黃塊邊側點盤愛號顏圖畫裡裏間於與還這淺總處對無沒僅請著為爲為頭",
    "个颗两俩圆红蓝绿黄块边侧点盘爱号颜图画里里间于与还这浅总处对无没仅请着为为为头",
)

# 大红色 is a bright red and no large one, 小心 is "careful", 正中心 is the very middle.
_LONGER = {"大": ("红色", "红颜"), "小": ("心",), "正中": ("心",)}

# Words that people use and Shapes does not, each with what to do about it.
_ADVICE = {
    "Shapes knows no negation; say only what the picture shows": (
        *("not", "no", "none", "without", "except", "never", "nothing", "isn't"),
        *("aren't", "neither", "nor", "but", "没", "不", "无", "除", "别", "非"),
    ),
    "Shapes knows no alternatives; say one of them": (
        *("or", "either", "maybe", "perhaps", "或", "可能"),
    ),
    "say how many, from one to four": (
        *("some", "several", "many", "few", "multiple", "lots", "any", "various"),
        *("couple", "dozen", "几", "些", "许多", "很多", "多"),
    ),
    "Shapes compares no objects; give each its own size": (
        *("bigger", "larger", "smaller", "biggest", "largest", "smallest", "same"),
        *("equal", "比", "最", "较", "更", "同"),
    ),
    "say what each object is by itself": (
        *("both", "each", "all", "them", "other", "another", "every", "都", "各"),
        *("每", "其中", "另", "它们"),
    ),
    "小心 means 'careful'; write 小的心 or 小爱心": ("小",),
}
_ADVICE_ON = {word: advice for advice, words in _ADVICE.items() for word in words}


class _Chart:
    """All derivations of all parts of one caption, each found once."""

    def __init__(self, tokens: list[str], gaps: set[int], language: Grammar) -> None:
        self.tokens, self.gaps, self.grammar = tokens, gaps, language
        self.found: list[dict[str, list]] = [{} for _ in range(len(tokens) + 1)]
        self.phrases = [self._phrases(at) for at in range(len(tokens))] + [{}]
        self.furthest = 0  # tokens that some attempt to read the caption understood

    def _phrases(self, at: int) -> dict[str, list[tuple[Any, int]]]:
        """Phrases that begin at a token, by kind: values and ends."""
        here: dict[str, list[tuple[Any, int]]] = {}
        tokens = self.tokens
        for rest, kind, value in self.grammar.phrases.get(tokens[at], ()):
            end = at + 1 + len(rest)
            if rest and (
                tuple(tokens[at + 1 : end]) != rest
                or (self.gaps and not self.gaps.isdisjoint(range(at + 1, end)))
            ):
                continue
            if self._is_other_word(at, end):
                continue
            here.setdefault(kind, []).append((value, end))
        word = tokens[at]
        if not here and re.fullmatch("[1-9][0-9]*|0", word):
            here["NUMBER"] = [(int(word), at + 1)]
        if at in self.gaps:
            here["GAP"] = [("and", at)]
        return here

    def _is_other_word(self, at: int, end: int) -> bool:
        """Whether a Chinese phrase is no word here, but the beginning of another."""
        if end in self.gaps or end - at > 2:
            return False
        following = "".join(self.tokens[end : end + 2])
        return following.startswith(_LONGER.get("".join(self.tokens[at:end]), ()))

    def stranger(self) -> str | None:
        """The first token that is in no phrase."""
        reached = 0
        for at, here in enumerate(self.phrases[:-1]):
            ends = [end for found in here.values() for _, end in found]
            reached = max(reached, *ends) if ends else reached
            if reached <= at:
                return self.tokens[at]
        return None

    def read(self, symbol: str, at: int) -> list[tuple[Any, int]]:
        """Values and ends of all derivations of a symbol from a token on."""
        steps = self.grammar.rules.get(symbol)
        if steps is None:
            return self.phrases[at].get(symbol, [])
        known = self.found[at]
        if symbol not in known:
            results: list[tuple[Any, int]] = []
            self._follow(steps, [((), at)], results)
            if len(results) > 1:  # the same may be derived in several ways
                results = list(dict.fromkeys(results))
            known[symbol] = results
        return known[symbol]

    def _follow(
        self, steps: list[Step], so_far: list[tuple[tuple, int]], results: list
    ) -> None:
        """Collect what rules derive whose first parts are read already."""
        for step in steps:
            longer = [
                ((*values, value), end)
                for values, middle in so_far
                if not step.starts.isdisjoint(self.phrases[middle])
                for value, end in self.read(step.symbol, middle)
            ]
            for _, end in longer:
                if end > self.furthest:
                    self.furthest = end
            if step.optional:
                longer += [((*values, None), end) for values, end in so_far]
            if longer:
                for build in step.builds:
                    results += [(build(*values), end) for values, end in longer]
                if step.next:
                    self._follow(step.next, longer, results)


# From derivations to demands


def _count(group: Group) -> int | Refusal:
    if group.number is None and group.many:
        return Refusal(
            f"does not say how many {group.shape} shapes; write a number from one to "
            f"four"
        )
    if group.number == 1 and group.many:
        return Refusal("has 'a' or 'one' before a plural")
    return 1 if group.number is None else group.number


def _object(group: Group) -> ObjectDemand | Refusal:
    """The demand for one group of objects."""
    count = _count(group)
    if isinstance(count, Refusal):
        return count
    told: dict[str, str] = {}
    for kind, value in (*group.before, *group.after):
        if told.get(kind, value) != value:
            return Refusal(
                f"gives one object two values of {kind}, {told[kind]!r} and {value!r}",
                meant=False,
            )
        if kind == "colour" and value in BACKGROUNDS:
            return Refusal(
                f"uses {value!r} as the colour of an object; it is a colour of "
                f"backgrounds only"
            )
        told[kind] = value
    if group.front is not None:
        if "position" in told:
            return Refusal("gives one object two positions")
        told["position"] = group.front.position
    return ObjectDemand(
        group.shape, told.get("colour"), told.get("size"), told.get("position"), count
    )


def _said(group: Group) -> dict[str, str]:
    """What is said about a group, by kind."""
    said = dict((*group.before, *group.after))
    return said if group.front is None else {**said, "position": group.front.position}


def _misleading(row: Row) -> Refusal | None:
    """Whether a word of a row of groups may belong to more groups than it stands at."""
    groups = row.groups
    for i, (one, joint, two) in enumerate(
        zip(groups, row.joints, groups[1:], strict=False)
    ):
        fronts = one.front is not None and two.front is not None
        if joint is None and (one.after or not (fronts or (one.opened and two.opened))):
            return Refusal(
                "puts two objects next to each other; write 'and' or a comma between",
                meant=False,
            )
        said = _said(two)
        # "a red circle and square": the square may be red as well
        if not two.opened and two.front is None:
            if one.number not in (None, 1):
                return Refusal(f"does not say how many {two.shape} shapes; write 'one'")
            if "and" in row.joints[i:]:
                for kind, value in one.before:
                    if kind not in said:
                        return _two_owners(value, one.shape, two.shape)
                    if said[kind] != value:
                        break  # not shared, nor is what stands closer to the noun
        # "a circle and a square in red": the circle may be red as well
        for kind, value in two.after:
            for earlier in reversed(groups[: i + 1]):
                known = _said(earlier).get(kind)
                if known is None:
                    return _two_owners(value, earlier.shape, two.shape)
                if known != value:
                    break
    placed = ["position" in _said(group) for group in groups]
    for i, group in enumerate(groups):
        front = group.front
        if front is None:
            continue
        if not all(placed[i:]):
            return _two_owners(front.position, group.shape, "others")
        if not all(placed[:i]) and not (front.sure and front.verb):
            # "a circle, upper left a star" may be the circle's place, or relative to it
            return Refusal(
                f"may mean {front.position!r} of the picture or of the "
                f"{groups[i - 1].shape}"
            )
    if len({g.clause for g in groups if g.front is None}) > 1:
        return Refusal("says something of one object by a sentence, of another not")
    return None


def _two_owners(value: str, one: str, two: str) -> Refusal:
    return Refusal(
        f"may say {value!r} of the {one}, the {two} or both; say it of each, or begin "
        f"each with 'a' (一个)"
    )


def _demand(core: Row | Related | Refusal, grounds: list[str]) -> Demand | Refusal:
    """What one derivation demands."""
    if isinstance(core, Refusal):
        return core
    for ground in grounds:
        if ground not in BACKGROUNDS:
            return Refusal(f"uses {ground!r} as a background, which Shapes lacks")
    if len(set(grounds)) > 1:
        return Refusal("names two backgrounds", meant=False)
    relation = core.relation if isinstance(core, Related) else None
    rows = [core.first, core.second] if isinstance(core, Related) else [core]
    objects = []
    for group in (group for row in rows for group in row.groups):
        thing = _object(group)
        if isinstance(thing, Refusal):
            return thing
        objects.append(thing)
    total = sum(thing.count for thing in objects)
    if isinstance(core, Related):
        if len(objects) > 2:
            return Refusal("must state one relation, of two objects")
        if total != 2:
            return Refusal("must state its relation of two objects")
        if any(thing.position is not None for thing in objects):
            return Refusal("gives a position and a relation; say one of them")
        one, two = core.first.groups[0], core.second.groups[0]
        for kind, value in two.after:
            if kind not in _said(one) and not core.apart:
                return _two_owners(value, one.shape, two.shape)
    for row in rows:
        misleading = _misleading(row)
        if misleading is not None:
            return misleading
    if total > MAX_OBJECTS:
        return Refusal(f"asks for {total} objects; at most {MAX_OBJECTS} fit")
    if any(thing.count == 0 for thing in objects):
        return Refusal("asks for no object at all of a kind; leave that kind out")
    return canonical(objects, relation, grounds[0] if grounds else None)


# Errors


def _error(why: str, caption: str) -> ValueError:
    return ValueError(
        f"caption {why}: {caption!r}. Shapes: {', '.join(SHAPES)}; colours: "
        f"{', '.join(COLOURS)}; sizes: {', '.join(SIZES)}; positions: "
        f"{', '.join(POSITIONS)}; relations of two objects: {', '.join(RELATIONS)}; "
        f"backgrounds: {', '.join(BACKGROUNDS)}. Write for example 'a large red star "
        f"left of a small blue circle' or '左上角有一个红色的五角星'."
    )


def _told(demand: Demand) -> str:
    """A demand in few words, for people who have to choose between two."""
    things = [
        " ".join(str(part) for part in (g.count, g.size, g.colour, g.shape) if part)
        + (f" at {g.position}" if g.position else "")
        for g in demand.objects
    ]
    relation = f", the first {demand.relation} the other" if demand.relation else ""
    ground = f" on {demand.background}" if demand.background else ""
    return " and ".join(things) + relation + ground


def _unknown(word: str, known: frozenset[str]) -> str:
    if word in _ADVICE_ON:
        return f"has a word that Shapes does not know, {word!r}; {_ADVICE_ON[word]}"
    if word in known and word.isascii():
        return f"uses {word!r} in a way that Shapes does not understand"
    if len(word) == 1 and not word.isalnum():
        name = unicodedata.name(word, f"U+{ord(word):04X}")
        return f"has a symbol that Shapes does not know, {word!r} ({name.lower()})"
    why = f"has a word that Shapes does not know, {word!r}"
    # short words are like too many others
    names = sorted(w for w in known if len(w) > 2 and w.isalpha() and w.isascii())
    close = difflib.get_close_matches(word, names, n=2, cutoff=0.75)
    if close and len(word) > 3:
        why += f" (did you mean {' or '.join(map(repr, close))}?)"
    return why


def _where_it_ends(chart: _Chart, said: list[str], language: str) -> str:
    """Why a caption of known words is no sentence."""
    nouns = [at for at, here in enumerate(chart.phrases) if "NOUN" in here]
    if not nouns:
        return "names no shape"
    space = " " if language == "en" else ""
    at = chart.furthest
    before = space.join(said[max(0, at - 4) : at])
    if at == len(said):
        return f"ends where more should follow, after {before!r}"
    ends = [end for found in chart.phrases[at].values() for _, end in found]
    word = space.join(said[at : max(ends, default=at + 1)] or said[at : at + 1])
    if not ends:
        return _unknown(word, chart.grammar.known)
    after = f", after {before!r}" if before else ""
    return f"uses {word!r} in a way that Shapes does not understand{after}"


def _normalised(caption: str) -> str:
    """Lower case, with plain letters and marks; letters keep their places."""
    text = unicodedata.normalize("NFC", caption).translate(_PLAIN).lower()
    # "top-left" is two words; any other dash is a symbol that Shapes does not know
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)
    # a mark at the end may be written several times
    return re.sub(r"([.!])\1*\s*$", r"\1", text.strip())


def _read(caption: str) -> Demand:
    text = _normalised(caption)
    if "\n" in text:
        raise _error("has more than one line", caption)
    language = "zh" if _HANZI.search(text) else "en"
    tokens = tokens_of(text)
    gaps: set[int] = set()
    if language == "zh":  # a space may part two words
        for part in text.split():
            gaps.add(len(tokens_of(part)) + max(gaps, default=0))
        gaps -= {len(tokens)}
    chart = _Chart(tokens, gaps, grammar(language))
    stranger = chart.stranger()
    if stranger is not None:
        if language == "zh" and stranger in grammar("en").known:
            raise _error(f"mixes two languages, {stranger!r} and Chinese", caption)
        raise _error(_unknown(stranger, chart.grammar.known), caption)
    demands: dict[Demand, None] = {}
    refusals = []
    for (core, before, after), end in chart.read("caption", 0):
        if end == len(tokens):
            result = _demand(core, [*(before or ()), *(after or ())])
            if isinstance(result, Refusal):
                refusals.append(result)
            else:
                demands[result] = None
    meant = [refusal for refusal in refusals if refusal.meant]
    if len(demands) == 1 and not meant:
        return next(iter(demands))
    if len(demands) > 1:
        ways = " or ".join(f"'{_told(demand)}'" for demand in demands)
        raise _error(f"can be read in {len(demands)} ways, as {ways}", caption)
    if refusals:
        raise _error((meant or refusals)[0].why, caption)
    raise _error(_where_it_ends(chart, tokens, language), caption)


@lru_cache(maxsize=65536)
def parse(caption: str) -> Demand:
    """What a caption demands of a picture, in English or Chinese.

    Args:
        caption: any caption that ``describe`` writes, and what people type of the same
            kind; it is understood to the last character or refused.

    Returns:
        The demand; ``parse(describe(scene)) == facts(scene)``.

    Raises:
        ValueError: an empty caption, one with a word or mark that has no place in a
            sentence about Shapes, or one that may mean several things, nothing, the
            impossible, or too much.
    """
    if not _CONTENT.search(caption):
        raise ValueError(
            f"caption must not be empty; got {quoted(caption)}. Write at least a "
            f"shape, e.g. 'a star'."
        )
    caption = caption.strip()
    # Before anything else is done with it: some steps take the square of the length.
    if len(caption) > _MOST_CHARACTERS:
        raise _error(f"is longer than {_MOST_CHARACTERS} characters", caption[:40])
    return _read(caption)
