"""Files that are whole under their name, or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically."""
    write_atomically(path, json_bytes(data))
