"""What an emoji shows: person, skin tone, role; and which split it belongs to."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

GROUPS = (
    "Activities",
    "Animals & Nature",
    "Flags",
    "Food & Drink",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
)
THINGS = frozenset(GROUPS) - {"Flags", "People & Body", "Symbols"}
PERSONS = ("woman", "man")
SKIN_TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
# What a name says of two who are each a woman or a man ("women wrestling").
SYNONYMS = {"women": "woman", "men": "man"}
SUBSETS = ("all", "things", "people", "roles")
SPLITS = ("train", "validation", "test")
SPLIT_BY = ("emoji", "combination")


TONE_CODES = {0x1F3FB + i: tone for i, tone in enumerate(SKIN_TONES)}
VARIATION, JOINER = 0xFE0F, 0x200D
ADULTS = {0x1F468, 0x1F469, 0x1F9D1}  # man, woman, person
_SIGNS = {0x2640, 0x2642, 0x27A1}  # female, male, facing right
REGIONAL = range(0x1F1E6, 0x1F200)  # the letters that make flags
_TONE_NAME = re.compile(r" (?:medium-light|medium-dark|light|dark|medium) skin tone")
_GENDER_NAME = re.compile(r"\b(wo)?m[ae]n\b")


@dataclass(frozen=True)
class Emoji:
    """One emoji and what is known about it."""

    character: str
    english: str
    chinese: str
    group: str | None  # one of GROUPS; None for a few of 2024 and later
    person: str | None  # "woman" or "man" where the picture is one of a role's
    skin_tone: str | None  # where exactly one is shown
    role: str | None  # what is left of the name without woman/man and skin tone


def label(raw: Iterable[tuple[str, str, str, str | None]]) -> tuple[Emoji, ...]:
    """Find person, skin tone and role in code points and English names.

    A role is what remains of a name with one skin tone and one word for a woman or a
    man, when all ten pictures of it exist: 83 of them.

    Args:
        raw: (character, English name, Chinese name, group) of each emoji.
    """
    rows = list(raw)
    found: list[tuple[str, str | None, str | None]] = []
    for character, english, _, _ in rows:
        tones = [TONE_CODES[ord(c)] for c in character if ord(c) in TONE_CODES]
        base = _TONE_NAME.sub("", english)
        genders = _GENDER_NAME.findall(base)  # "wo" of a woman, "" of a man
        person = None
        if len(genders) == 1:
            person = PERSONS[0] if genders[0] else PERSONS[1]
        # "person running", "people wrestling" show a role too, of neither.
        role = re.sub(r"\b(person|people)\b", "", _GENDER_NAME.sub("", base))
        tone = tones[0] if len(tones) == 1 else None
        found.append((" ".join(role.split()) or "adult", person, tone))
    pictures = Counter(role for role, person, tone in set(found) if person and tone)
    ten = len(PERSONS) * len(SKIN_TONES)
    items = []
    for row, (role, person, tone) in zip(rows, found, strict=True):
        known = pictures[role] == ten
        items.append(
            Emoji(
                *row,
                person=person if known else None,
                skin_tone=tone,
                role=role if known else None,
            )
        )
    return tuple(items)


def _concepts(items: Sequence[Emoji], class_ids: np.ndarray) -> list[str]:
    """A key for each emoji, shared by all variants of one thing.

    Variants differ in skin tone, woman/man/person or direction. Both the code points
    and the names tell some of them ("bald man" by code, "man dancing" by name), and
    equal pictures must not be parted either: the three are joined.
    """
    parent = list(range(len(items)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Any, int] = {}
    for i, item in enumerate(items):
        codes = [ord(c) for c in item.character]
        code_key = tuple(
            0 if code in ADULTS else code
            for code in codes
            if code not in TONE_CODES and code not in _SIGNS
            if code not in (VARIATION, JOINER)
        )
        name = _GENDER_NAME.sub("", _TONE_NAME.sub("", item.english))
        name = re.sub(r"\b(person|people|facing right)\b", "", name)
        for key in (code_key, " ".join(name.split()), int(class_ids[i])):
            parent[root(i)] = root(first.setdefault(key, i))
    return [items[root(i)].character for i in range(len(items))]


def _share(key: str) -> float:
    """A number in [0, 1) that only the key decides."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def split_by_emoji(items: Sequence[Emoji], class_ids: np.ndarray) -> tuple[str, ...]:
    """Home of each emoji: 80 % train, 10 % validation, 10 % test, whole concepts.

    Concepts come in an order that only their keys decide, and each goes to the split
    that is furthest behind: so the shares also hold among roles and in every group,
    although some concepts have 104 variants and most have one.
    """
    concepts: dict[str, list[int]] = defaultdict(list)
    for i, concept in enumerate(_concepts(items, class_ids)):
        concepts[concept].append(i)
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    counts: dict[Any, Counter[str]] = defaultdict(Counter)
    homes = [""] * len(items)
    for concept in sorted(concepts, key=_share):
        members = concepts[concept]
        has_role = any(items[i].role is not None for i in members)
        count = counts[items[members[0]].group, has_role]
        total = count.total() + len(members)
        home = max(shares, key=lambda s: shares[s] * total - count[s])
        count[home] += len(members)
        for i in members:
            homes[i] = home
    return tuple(homes)


def split_by_combination(
    items: Sequence[Emoji], class_ids: np.ndarray
) -> tuple[str, ...]:
    """Home of each emoji, holding out three of the ten pictures of every role.

    The three have different skin tones. So in training every role is seen in every
    tone (on the other person) and on both persons; only the combination is new. A
    picture that some other emoji shares is never held out: it would be seen anyway.
    """
    shared = {int(k) for k, n in Counter(class_ids.tolist()).items() if n > 1}
    roles: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for i, item in enumerate(items):
        if item.role and item.person and item.skin_tone:
            roles[item.role][item.skin_tone, item.person] = i
    homes = ["train"] * len(items)
    for role, members in roles.items():
        # "running facing right" is "running" mirrored: hold out the same of both
        role = role.removesuffix(" facing right")
        kept = {key for key, i in members.items() if int(class_ids[i]) not in shared}
        tones = sorted(SKIN_TONES, key=lambda tone: _share(f"{role}/{tone}"))
        held = []
        for tone in tones:
            person = PERSONS[_share(f"{role}/{tone}/person") < 0.5]
            if (tone, person) in kept:
                held.append(members[tone, person])
        for i, home in zip(held, ("test", "test", "validation"), strict=False):
            homes[i] = home
    return tuple(homes)
