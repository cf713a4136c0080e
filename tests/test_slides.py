"""Slides are made of the chapters: nothing overflows, nothing is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "tools"))
from slides import Deck, arrange, parts, weight  # noqa: E402  (a tool, not a package)

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_fits_on_its_slides(path: Path) -> None:
    chapter = nbformat.read(path, as_version=4)
    texts = [c.source for c in chapter.cells if c.cell_type == "markdown"]
    figures = sum(
        any("image/png" in o.get("data", {}) for o in c.outputs)
        for c in chapter.cells
        if c.cell_type == "code"
    )
    deck = arrange(chapter)
    assert texts[0].startswith(f"# {deck.metadata['title']}")
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in deck.cells]
    assert kinds.count("slide") >= 4
    notes = ""
    for cell, kind in zip(deck.cells, kinds, strict=True):
        if kind == "notes":
            notes += cell.source + "\n\n"
        elif cell.cell_type == "markdown":
            heading, *blocks = cell.source.split("\n\n")
            assert heading.startswith("#")
            assert sum(map(weight, blocks)) <= Deck.FULL or len(blocks) == 1
    # a figure is not shown twice or left out, and the speaker has the whole text
    assert figures == sum(cell.cell_type == "code" for cell in deck.cells)
    spoken = [b for text in texts for b in text.split("\n\n") if not b.startswith("#")]
    last_shown = max(
        i for i, block in enumerate(spoken) if parts(block.strip()) and block in notes
    )
    for block in spoken[: last_shown + 1]:
        assert block.strip() in notes


def test_what_is_shown_of_a_block() -> None:
    assert parts("Plain prose is for the speaker.") == []
    assert parts("$$ x = 1 $$") == ["$$ x = 1 $$"]
    assert parts("- one\n  goes on\n- two") == ["- one\n  goes on", "- two"]
    assert parts("**Bold.** A. B. C. D. E. F. G.") == ["**Bold.** A. B. C. D. E."]
    assert weight("- " + "w " * 200) > weight("- short")
