"""Questions about scenes of Shapes, and their answers from a closed list.

A question names its objects by facts that single them out: "what color is the large
star?" where there is one large star. So the scene decides the answer, and says too
where a question has none: ``answer`` of another scene tells what exchanging pictures
should change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from mmgen.data.dataset import one_of
from mmgen.data.examination import Examination
from mmgen.data.shapes.demand import OPPOSITE
from mmgen.data.shapes.hard_negatives import WRONG_KINDS
from mmgen.data.shapes.language import (
    EN_RELATIONS,
    EN_SHAPES,
    EN_SIZES,
    ZH_BACKGROUNDS,
    ZH_COLOURS,
    ZH_POSITIONS,
    ZH_RELATIONS,
    ZH_SHAPES,
    Choices,
    plural,
    vocabulary,
)
from mmgen.data.shapes.world import (
    BACKGROUNDS,
    COLOURS,
    MAX_OBJECTS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    Object,
    Scene,
    holds,
    relation_of,
)
from mmgen.data.vocabulary import tokenize

QUESTIONS = (
    *("number", "shape", "colour", "size"),
    *("position", "relation", "background"),
)
NUMBERS = tuple(str(number) for number in range(MAX_OBJECTS + 1))
ANSWERS = (
    *(*NUMBERS, *SHAPES, *COLOURS, *SIZES),
    *(*POSITIONS, "yes", "no", *BACKGROUNDS),
)
# The words of an answer in Chinese; in English they are the values themselves.
ZH_ANSWERS = {
    **dict(zip(NUMBERS, ("零", "一", "二", "三", "四"), strict=True)),
    **{shape: names[0] for shape, names in ZH_SHAPES.items()},
    **{colour: f"{name}色" for colour, name in ZH_COLOURS.items()},
    **{"small": "小", "large": "大"},
    **{position: names[0] for position, names in ZH_POSITIONS.items()},
    **{"yes": "是", "no": "不是"},
    **ZH_BACKGROUNDS,
}
_FACTS = ("shape", "colour", "size")  # that may single an object out
_EN_FORMS = {
    "shape": ("what shape is the {}?", "which shape does the {} have?"),
    "colour": ("what color is the {}?", "which colour does the {} have?"),
    "size": ("is the {} small or large?", "what size is the {}?", "how big is the {}?"),
    "position": ("where is the {}?", "in which position is the {}?"),
    "number": ("how many {} are there?", "how many {} does the picture show?"),
    "background": ("what color is the background?", "which background is there?"),
    "relation": ("is the {} {} the {}?",),
}
_ZH_FORMS = {
    "shape": ("{}是什么形状？", "{}的形状是什么？"),
    "colour": ("{}是什么颜色？", "{}的颜色是什么？"),
    "size": ("{}是大的还是小的？", "{}有多大？"),
    "position": ("{}在哪里？", "{}在图的哪个位置？"),
    "number": ("图中有几{}？", "一共有多少{}？"),
    "background": ("背景是什么颜色？", "背景的颜色是什么？"),
    "relation": ("{}在{}的{}吗？",),
}
_ANY = range(1, 100)  # objects of a scene
_OBJECTS = {"position": range(1, 2), "relation": range(2, 100)}
_EN_THING, _ZH_THING = ("object", "thing"), ("物体", "图形")


@dataclass(frozen=True)
class Name:
    """Facts by which an object is called; None leaves one out."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None

    def suits(self, thing: Object) -> bool:
        """Whether the object is so called."""
        return all(
            getattr(self, fact) in (None, getattr(thing, fact)) for fact in _FACTS
        )


@dataclass(frozen=True)
class Question:
    """A question about a scene, and its answer there.

    Args:
        kind: of ``QUESTIONS``.
        names: of the objects it is about: none of the background, two of a relation.
        relation: that is asked for.
        text: in English or Chinese.
        answer: of ``ANSWERS``.
    """

    kind: str
    names: tuple[Name, ...]
    relation: str | None
    text: str
    answer: str


def answer(question: Question, scene: Scene) -> str | None:
    """What a question is answered with about a scene, of ``ANSWERS``.

    None where it has no clear answer: no object is called so, or several are; a place
    of one object among several; or a relation between the directions.
    """
    return _decided(question.kind, question.names, question.relation, scene)


def ask(
    scene: Scene, language: str, which: float, what: float, words: float
) -> Question:
    """A question that the scene answers.

    Args:
        scene: with at least one object.
        language: "en" or "zh".
        which: in [0, 1), picks the kind; one that the scene has no question of gives
            its share to the others.
        what: in [0, 1), picks the answer, of those that a question of the kind can
            have here, and a question that has it.
        words: in [0, 1), picks one of the paraphrases.

    Raises:
        ValueError: another language, or a scene without objects.
    """
    one_of("language", language, ("en", "zh"))
    if not scene.objects:
        raise ValueError("scene must hold an object to be asked about; it has none.")
    kinds = [
        kind for kind in QUESTIONS if len(scene.objects) in _OBJECTS.get(kind, _ANY)
    ]
    options: dict[str, list[tuple[tuple[Name, ...], str | None]]] = {}
    while not options:
        place = which * len(kinds)
        kind, which = kinds.pop(int(place)), place % 1
        for names, relation in _askable(kind, scene):
            told = _decided(kind, names, relation, scene)
            if told is not None:
                options.setdefault(told, []).append((names, relation))
    told = list(options)[int(what * len(options))]
    found = options[told]
    names, relation = found[int(what * len(options) % 1 * len(found))]
    choices = Choices(int(words * 2**31))
    write = _english if language == "en" else _chinese
    return Question(kind, names, relation, write(kind, names, relation, choices), told)


def answer_in(told: str, language: str) -> str:
    """The words of an answer of ``ANSWERS`` in "en" or "zh".

    Raises:
        ValueError: another language or answer.
    """
    one_of("language", language, ("en", "zh"))
    one_of("answer", told, ANSWERS)
    return told if language == "en" else ZH_ANSWERS[told]


def examination(language: str) -> Examination:
    """What Shapes asks in a language, "en", "zh" or "both"."""
    known, words = vocabulary(language), []
    if language != "zh":
        words += [*_EN_THING, *map(plural, _EN_THING)]
        words += [form for forms in _EN_FORMS.values() for form in forms]
    if language != "en":
        words += [*_ZH_THING, *(form for forms in _ZH_FORMS.values() for form in forms)]
    new = {token for text in words for token in tokenize(text.replace("{}", " "))}
    lacking = tuple(sorted(token for token in new if token not in known))
    return Examination(WRONG_KINDS, QUESTIONS, ANSWERS, lacking)


# ------------------------------------------------------------------------------ meaning


def _decided(
    kind: str, names: tuple[Name, ...], relation: str | None, scene: Scene
) -> str | None:
    if kind == "background":
        return scene.background
    called = [[o for o in scene.objects if name.suits(o)] for name in names]
    if kind == "number":
        return str(len(called[0]))
    if any(len(found) != 1 for found in called):
        return None
    things = [found[0] for found in called]
    if kind != "relation":
        alone = kind != "position" or len(scene.objects) == 1
        return getattr(things[0], kind) if alone else None
    if things[0] is things[1] or relation is None:
        return None
    # The longer offset decides, where people agree: along it, against it, or across
    # it where it is twice the other.
    longer = relation_of(things)
    if longer is None or not holds(longer, *things):
        return None
    if relation in (longer, OPPOSITE[longer]):
        return "yes" if relation == longer else "no"
    return None if holds(relation, *things) or _slanted(*things) else "no"


def _slanted(first: Object, second: Object) -> bool:
    """Whether the offsets of two objects across and down are of like size."""
    offsets = sorted((abs(second.x - first.x), abs(second.y - first.y)))
    return 2 * offsets[0] > offsets[1]


def _askable(kind: str, scene: Scene) -> Iterator[tuple[tuple[Name, ...], str | None]]:
    """Names, and a relation, that questions of a kind about the scene may hold."""
    if kind == "background":
        yield (), None
    elif kind == "number":
        yield (Name(),), None
        for shape in SHAPES:  # those too of which there is none
            yield (Name(shape=shape),), None
        for colour in dict.fromkeys(thing.colour for thing in scene.objects):
            yield (Name(colour=colour),), None
    elif kind == "relation":
        for first, second in combinations(scene.objects, 2):
            for pair in ((first, second), (second, first)):
                a, b = (list(_names(thing, scene, ""))[:2] for thing in pair)
                for names in ((one, other) for one in a for other in b):
                    for relation in RELATIONS:
                        yield names, relation
    else:
        for thing in scene.objects:
            for name in _names(thing, scene, kind):
                yield (name,), None


def _names(thing: Object, scene: Scene, asked: str) -> Iterator[Name]:
    """What singles an object out, in one or two facts, but not by the fact asked for.

    Fewer facts first; a size goes with a shape or a colour.
    """
    usable = [fact for fact in _FACTS if fact != asked]
    for number in (1, 2):
        for facts in combinations(usable, number):
            name = Name(**{fact: getattr(thing, fact) for fact in facts})
            if facts != ("size",) and sum(map(name.suits, scene.objects)) == 1:
                yield name


# ---------------------------------------------------------------------------- sentences


def _english(
    kind: str, names: tuple[Name, ...], relation: str | None, choices: Choices
) -> str:
    form = choices.plainly(_EN_FORMS[kind])
    parts: list[Any] = [
        _english_name(name, choices, many=kind == "number") for name in names
    ]
    if relation is not None:
        parts.insert(1, choices.plainly(EN_RELATIONS[relation]))
    return form.format(*parts)


def _english_name(name: Name, choices: Choices, many: bool) -> str:
    noun = choices.plainly(_EN_THING if name.shape is None else EN_SHAPES[name.shape])
    size = choices.plainly(EN_SIZES[name.size]) if name.size else None
    words = (size, name.colour, plural(noun) if many else noun)
    return " ".join(word for word in words if word)


def _chinese(
    kind: str, names: tuple[Name, ...], relation: str | None, choices: Choices
) -> str:
    form = choices.plainly(_ZH_FORMS[kind])
    parts: list[Any] = [_chinese_name(name, choices) for name in names]
    if kind == "number":  # the measure word comes first
        parts[0] = ("颗" if parts[0][-1] in "心星" else "个") + parts[0]
    if relation is not None:
        parts.append(choices.plainly(ZH_RELATIONS[relation]))
    return form.format(*parts)


def _chinese_name(name: Name, choices: Choices) -> str:
    # nouns of one character limp after 色的, and 小心 is "careful"
    nouns = [noun for noun in ZH_SHAPES.get(name.shape or "", ()) if len(noun) > 1]
    noun = choices.plainly(tuple(nouns) or _ZH_THING)
    if name.colour:
        noun = f"{ZH_COLOURS[name.colour]}色的{noun}"
    return noun if name.size is None else f"{ZH_ANSWERS[name.size]}的{noun}"
