"""Files: read without trusting them, written whole or not at all."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# "pipe:", "s3:" and the like; one letter is a drive of Windows
_SCHEME = re.compile(r"\s*[a-z][a-z0-9+.-]+:", re.IGNORECASE)
# how files begin that stand where another was expected -> what they are, and the cure
_FOREIGN = (
    (b"version https://git-lfs", "a Git-LFS pointer, not the file: run git lfs pull"),
    (b"<!doctype", "a web page that was saved under this name: download it again"),
    (b"<html", "a web page that was saved under this name: download it again"),
    (b"<?xml", "a web page that was saved under this name: download it again"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
)


def is_address(text: str) -> bool:
    """Whether a text is no path of this machine.

    Without ``://`` it is a path where there is one: a folder may be called ``file:x``.
    """
    if "://" in text or "\0" in text:
        return True
    return bool(_SCHEME.match(text)) and not os.path.exists(text)


def refuse_addresses(stored: Any, source: object, advice: str) -> None:
    """Refuse what would leave this machine, in options that were read from a file.

    Args:
        stored: JSON values; strings in them are looked at.
        source: where they were read, for the message.
        advice: how to name an address oneself.

    Raises:
        ValueError: a string is an address; nothing was opened.
    """
    share = r"[\\/]{2}"  # //server/folder
    if isinstance(stored, str) and (is_address(stored) or re.match(share, stored)):
        raise ValueError(
            f"{source} names {stored!r}, which is no path on this machine. An address "
            f"from a file is never opened. {advice}"
        )
    if isinstance(stored, dict):
        stored = list(stored.values())
    if isinstance(stored, list | tuple):
        for each in stored:
            refuse_addresses(each, source, advice)


def foreign(content: bytes) -> str | None:
    """What stands in place of an expected file, and the cure; None if nothing known."""
    if not content:
        return "empty, damaged or cut off: get it again"
    start = content[:64].lstrip().lower()
    return next((s for head, s in _FOREIGN if start.startswith(head.lower())), None)


def misnamed(path: Path) -> str:
    """A hint for a file that is missing: one with its name but for the endings."""
    stem = path.name.removesuffix(path.suffix).lower()
    there = path.parent.iterdir() if path.parent.is_dir() else ()
    for name in sorted(other.name for other in there if other.is_file()):
        rest = name.lower().removeprefix(stem)
        if name.lower().startswith(stem) and re.fullmatch(r"(\.[a-z0-9]+)*", rest):
            return f" There is {name} in its place: its ending is wrong, rename it."
    return ""


def read_text(path: Path) -> str:
    """A text in UTF-8, with a byte-order mark or without.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: no such text; the message says what it is.
    """
    return text_of(path.read_bytes(), path)


def text_of(content: bytes, source: object) -> str:
    """``content`` as ``read_text`` reads it; ``source`` is for messages."""
    if kind := foreign(content):
        raise ValueError(f"{source} is {kind}.")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{source} is not UTF-8 text but UTF-16: save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not UTF-8 text: {error}.") from error


def read_json(path: Path) -> Any:
    """JSON, with a byte-order mark or without.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: something else; the message names the file.
    """
    return json_of(path.read_bytes(), path)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object, read as by ``read_json``.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: something else; the message names the file.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise ValueError(f"{path} is no JSON object.")
    return data


def json_of(content: bytes, source: object) -> Any:
    """``content`` as ``read_json`` reads it; ``source`` is for messages."""
    text = text_of(content, source)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{source} is not JSON: {type(error).__name__}: {error}."
        ) from error


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is whole under its name, or leave the old one.

    Raises:
        OSError: the folder cannot be written or the disk is full; no part is left.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together, or leave the old ones.

    All are on the disk before the first gets its name, so that a disk that fills up
    leaves the old ones. Only a process killed between two renames, which follow each
    other at once, leaves some new and some old: let the last file name the others'
    hashes.

    Raises:
        OSError: the folder cannot be written or the disk is full; no part is left.
    """
    temporary = {p: p.with_name(f".{p.name}.{os.getpid()}.tmp") for p in files}
    try:
        for path, content in files.items():
            write_synced(temporary[path], content)
        for path in files:
            os.replace(temporary[path], path)
    finally:
        for left in temporary.values():
            left.unlink(missing_ok=True)


def json_bytes(data: Any) -> bytes:
    """JSON as the files of the package hold it: indented, in UTF-8."""
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    # A file name that is no text has lone surrogates, which JSON writes as escapes.
    return text.encode("utf-8", "backslashreplace")


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically."""
    write_atomically(path, json_bytes(data))
