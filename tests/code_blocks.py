"""Code blocks of the book's Markdown pages, and how tests run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<info>[^`\n]*)$")


class Block(NamedTuple):
    """A fenced code block of a page."""

    page: str
    line: int  # of its fence, from 1
    language: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.page}-{self.line}"

    @property
    def slow(self) -> bool:
        return self.code.startswith("# slow: ")


def blocks(page: Path) -> Iterator[Block]:
    """Code blocks; directives, whose names stand in braces, are looked into."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if fence is None:
            continue
        info = fence["info"].strip()
        if start is None and info and not info.startswith("{"):
            start = number
        elif start is not None and not info:
            language = lines[start - 1].lstrip("`").strip()
            yield Block(
                page.stem, start, language, "\n".join(lines[start : number - 1])
            )
            start = None
    assert start is None, f"{page.name}:{start} is not closed"


def run(block: Block) -> None:
    """Run a block by itself, on one thread, with random numbers from seed 0."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # numbers of lines in a traceback are those of the page
    code = compile("\n" * block.line + block.code, f"{block.page}.md", "exec")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            exec(code, {"__name__": "page"})
    finally:
        torch.set_num_threads(threads)
