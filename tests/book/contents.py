"""What a page must hold, counted in its source, and what the built page holds."""

from __future__ import annotations

import importlib
import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from built_book import BUILT, ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

VIEW = "application/vnd.jupyter.widget-view+json"
# what each part of a page is in the built one; the browser looks for them too
PARTS = {
    "headings": ":is(h1, h2, h3, h4, h5, h6)",
    "figures": "img",
    "tables": "table",
    "diagrams": "pre.mermaid",
    "explorers": f"script[type='{VIEW}']",
    "cells": ".cell_input",
    "boxes": "div.admonition",
    "equations": "div.math",
}
# directives whose content is no Markdown
_OTHER = {"bibliography", "eval-rst", "image", "leaderboard", "mermaid"}
_OTHER |= {"tableofcontents"}
_BOXES = {"admonition", "exercise", "note", "solution"}


def sources() -> list[Path]:
    """All pages as they are written: Markdown and the chapters."""
    return sorted([*ROOT.glob("book/**/*.md"), *ROOT.glob("notebooks/*.ipynb")])


def built(source: Path) -> Path:
    """The page that is made of a source."""
    return BUILT / source.relative_to(ROOT).with_suffix(".html")


def source_of(page: str) -> Path:
    """The source of a page, from its address below the book's root."""
    path = ROOT / page
    kind = ".ipynb" if page.startswith("notebooks/") else ".md"
    return path.with_suffix(kind)


@cache
def article(page: Path) -> Tag:
    """The body of a built page, without what the theme puts around it."""
    found = BeautifulSoup(page.read_text("utf-8"), "html.parser")
    bodies = found.select("article.bd-article")
    assert len(bodies) == 1, f"{page} has {len(bodies)} bodies"
    return bodies[0]


def counted(page: Path) -> dict[str, int]:
    """How many of each part a built page holds."""
    return {name: len(article(page).select(chosen)) for name, chosen in PARTS.items()}


def expected(source: Path) -> dict[str, int]:
    """How many of each part a page must hold, from its source."""
    found = Counter(dict.fromkeys(PARTS, 0))
    for text in _markdown(source):
        found += _parts(text)
    for cell in _code(source):
        found["cells"] += 1
        for output in cell["outputs"]:
            data = output.get("data", {})
            found["figures"] += "image/png" in data
            found["explorers"] += VIEW in data
            found["tables"] += "".join(data.get("text/html", "")).count("<table")
    return {name: found[name] for name in PARTS}


def words(source: Path) -> Counter[str]:
    """The words of a page's prose, from its source."""
    found: Counter[str] = Counter()
    for text in _markdown(source):
        for token in _tokens(text):
            for part in token.children or ():
                if part.type == "text":
                    prose = re.sub(r"\{[\w:-]+\}", " ", part.content)  # names of roles
                    found.update(re.findall(r"\w+", prose))
    return found


def words_built(page: Path) -> Counter[str]:
    """All words of a built page's body."""
    return Counter(re.findall(r"\w+", article(page).get_text(" ")))


def passages(source: Path) -> list[str]:
    """Code of a page, and what its cells printed and tabulated, without spaces."""
    found: list[str] = []
    for cell in _cells(source):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            found += [
                token.content
                for token in _tokens(text)
                if token.type in ("fence", "code_block") and not _directive(token)
            ]
            continue
        found.append(text)
        for output in cell["outputs"]:
            found.append("".join(output.get("text", "")))
            html = "".join(output.get("data", {}).get("text/html", ""))
            found.append(BeautifulSoup(html, "html.parser").get_text())
    return ["".join(passage.split()) for passage in found]


def figures(source: Path) -> list[tuple[str, bytes]]:
    """Alternative text and PNG of each figure that a chapter's cells drew."""
    return [
        (output["metadata"]["image/png"]["alt"], b64decode(output["data"]["image/png"]))
        for cell in _code(source)
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]


def figures_built(page: Path) -> list[tuple[str, bytes]]:
    """Alternative text and file of each figure below a cell of a built page."""
    return [
        (str(image["alt"]), (page.parent / str(image["src"])).read_bytes())
        for image in article(page).select(".cell_output img")
    ]


def entries(source: Path) -> set[str]:
    """Names that an API page must explain: what is public and has a docstring."""
    found = set()
    for directive, options in re.findall(
        r"\.\. automodule:: (\S+)((?:\n +:.*)*)", source.read_text("utf-8")
    ):
        module = importlib.import_module(directive)
        left_out = re.findall(r"[\w.]+", "".join(options.split("exclude-members:")[1:]))
        public = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == directive
        ]
        found |= {
            f"{directive}.{name}"
            for name in public
            if ":members:" in options
            and name not in left_out
            and not name.startswith("_")
            and callable(vars(module)[name])
            and vars(module)[name].__doc__
        }
    return found


def _cells(source: Path) -> list[dict]:
    """Cells of a chapter; a page is one of Markdown."""
    text = source.read_text("utf-8")
    if source.suffix == ".ipynb":
        return json.loads(text)["cells"]
    # less the names that links go to
    prose = re.sub(r"(?m)^\([\w-]+\)=$", "", text)
    return [{"cell_type": "markdown", "source": prose}]


def _code(source: Path) -> list[dict]:
    return [cell for cell in _cells(source) if cell["cell_type"] == "code"]


def _markdown(source: Path) -> list[str]:
    cells = [cell for cell in _cells(source) if cell["cell_type"] == "markdown"]
    return ["".join(cell["source"]) for cell in cells]


def _tokens(text: str) -> Iterator[Token]:
    """Tokens of Markdown, and of the Markdown inside of its directives."""
    parser = MarkdownIt("commonmark").enable("table")
    parser.use(colon_fence_plugin).use(dollarmath_plugin, double_inline=True)
    for token in parser.parse(text):
        yield token
        if (name := _directive(token)) and name not in _OTHER:
            # options stand before the content
            yield from _tokens(re.sub(r"\A(\s*:[\w-]+:.*\n)+", "", token.content))


def _directive(token: Token) -> str:
    """The name of a directive, or nothing for any other token."""
    found = re.match(r"\{([\w:-]+)\}", token.info)
    return found[1] if found and token.type in ("fence", "colon_fence") else ""


def _parts(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for token in _tokens(text):
        name = _directive(token)
        found["headings"] += token.type == "heading_open"
        found["tables"] += token.type == "table_open"
        found["equations"] += token.type.startswith("math_block")
        found["figures"] += name == "image"
        found["diagrams"] += name == "mermaid"
        found["boxes"] += name in _BOXES
        if name == "leaderboard":
            found += _of_leaderboard(token.info.split()[1])
        for part in token.children or ():
            found["figures"] += part.type == "image"
            found["equations"] += part.type == "math_inline_double"
    return found


def _of_leaderboard(part: str) -> Counter[str]:
    """Tables and figures of a part of the leaderboard, from what was measured."""
    path = ROOT / "results" / "benchmarks" / "leaderboard.json"
    rows = json.loads(path.read_text("utf-8"))["models"].values()
    shown = sum(first["verdict"] is not None for row in rows for first in row["first"])
    return Counter(
        tables=int(part in ("scores", "details", "pictures")),
        figures={"pictures": shown, "plot": 1}.get(part, 0),
    )
