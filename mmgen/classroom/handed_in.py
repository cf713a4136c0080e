"""What students hand in: which file is whose, and what is in it."""

from __future__ import annotations

import lzma
import os
import stat
import zipfile
import zlib
from collections import defaultdict
from pathlib import Path, PurePosixPath

BIGGEST = 100 << 20  # bytes of a notebook; one with large outputs has some millions


class Unfit(Exception):
    """Why a file cannot be graded at all."""


def shown(name: str) -> str:
    """A file name as text that can be printed and stored.

    Bytes that are no valid text, and signs that cannot be seen, are written as in
    Python, such as ``\\xf1``.
    """
    return visible(os.fsencode(name).decode("utf-8", "backslashreplace"))


def visible(text: str) -> str:
    """Text whose signs that cannot be seen are written as in Python."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in text
    )


def _left_by_a_system(parts: tuple[str, ...]) -> bool:
    """Whether a path is one that editors, browsers and macOS leave behind."""
    known = {"__macosx", "thumbs.db", "desktop.ini"}
    names = [part for part in parts if part not in (".", "..")]
    return any(name.startswith(".") or name.lower() in known for name in names)


def submissions(folder: Path) -> dict[str, list[Path]]:
    """Student id -> files: ``ID.ipynb`` (any ending), or ``ID/anything``.

    Hidden files, ``.ipynb_checkpoints`` and ``__MACOSX`` do not count. ``folder`` may
    also be one student's file.

    Raises:
        FileNotFoundError: no such folder, or nothing in it.
    """
    if folder.is_file():
        return {folder.stem: [folder]}
    if not folder.is_dir():
        raise FileNotFoundError(
            f"submissions must be a folder with one file or folder a student, or one "
            f"student's file; got {shown(str(folder))}, which does not exist."
        )
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if _left_by_a_system((path.name,)):
            continue
        if not path.is_dir():
            found[path.stem].append(path)
            continue
        files = [
            each
            for each in sorted(path.rglob("*"))
            if each.is_file() and not _left_by_a_system(each.relative_to(path).parts)
        ]
        # A notebook counts before a zip, and both before what lies beside them.
        for ending in (".ipynb", ".zip", ""):
            chosen = [each for each in files if each.name.lower().endswith(ending)]
            if chosen:
                break
        found[path.name] += chosen or [path]
    if not found:
        raise FileNotFoundError(
            f"submissions must not be an empty folder; got {shown(str(folder))}."
        )
    return dict(found)


def content_of(path: Path) -> bytes:
    """The notebook that a student handed in, from a zip, too.

    Raises:
        Unfit: there is none; the message says why.
    """
    try:
        if path.is_symlink():
            raise Unfit("a link: hand in the file itself")
        if not path.is_file() or path.stat().st_size == 0:
            raise Unfit("empty: nothing was handed in")
        if path.stat().st_size > BIGGEST:
            raise Unfit(f"larger than {BIGGEST >> 20} MB: clear the outputs")
        if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
            return _from_zip(path)
        return path.read_bytes()
    except OSError as error:
        raise Unfit(f"cannot be read: {error.strerror or error}") from None


def _from_zip(path: Path) -> bytes:
    """The one notebook of a zip, read in memory: nothing is unpacked."""
    try:
        with zipfile.ZipFile(path) as parts:
            inside = [
                part
                for part in parts.infolist()
                if not part.is_dir()
                and not _left_by_a_system(PurePosixPath(part.filename).parts)
            ]
            notebooks = [p for p in inside if p.filename.lower().endswith(".ipynb")]
            if len(notebooks) != 1:
                kind = "several notebooks" if notebooks else "no notebook"
                names = ", ".join(shown(p.filename) for p in (notebooks or inside)[:3])
                raise Unfit(
                    f"a zip with {kind} ({names or 'nothing'}): hand in one notebook"
                )
            [notebook] = notebooks
            if stat.S_ISLNK(notebook.external_attr >> 16):
                raise Unfit("a zip with a link: hand in the file itself")
            if notebook.flag_bits & 1:
                raise Unfit("a zip with a password: hand in the notebook itself")
            with parts.open(notebook) as stream:
                content = stream.read(BIGGEST + 1)
            if len(content) > BIGGEST:
                raise Unfit(
                    f"a zip with a notebook larger than {BIGGEST >> 20} MB: clear the "
                    "outputs"
                )
            return content
    except (
        *(zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError),
        *(EOFError, zlib.error, lzma.LZMAError),
    ) as error:
        raise Unfit(f"a damaged zip ({type(error).__name__})") from None
