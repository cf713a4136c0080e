"""How the tests look at a page of the built book."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, TimeoutError

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "_build" / "html"


# one of the modules whose pages look alike: the one with most equations
API_PAGE = "book/api/mmgen.models.vae.html"


def pages() -> list[str]:
    """Addresses of all pages below the book's root."""
    found = sorted(
        path.relative_to(BUILT).as_posix()
        for folder in ("book", "notebooks")
        for path in (BUILT / folder).rglob("*.html")
    )
    return found or ["book/index.html"]  # which fails where nothing was built


def api_pages() -> list[str]:
    """Addresses of the pages that are made of one module's docstrings."""
    return [page for page in pages() if page.startswith("book/api/mmgen.")]


def together(address: str) -> object:
    """A page as a parameter of tests that one worker runs, so that it opens it once."""
    return pytest.param(address, marks=pytest.mark.xdist_group(address))


_REACHABLE = """() => [...document.querySelectorAll(
    "pre, .cell_output > .output, .pst-scrollable-table-container"
)].every((e) => e.tabIndex === 0 || e.scrollWidth <= e.clientWidth)"""


@dataclass
class Visit:
    """A page after it has settled, and what happened on the way."""

    page: Page
    requests: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    received: int = 0  # bytes over the wire, as compressed

    def look(self, theme: str, width: int) -> Visit:
        """The same page in another theme and at another width, CSS pixels."""
        self.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        self.page.set_viewport_size({"width": width, "height": 900})
        # The theme lets keys reach what can be scrolled, a moment after a new width. If
        # it never does, the accessibility test says so.
        with suppress(TimeoutError):
            self.page.wait_for_function(_REACHABLE, timeout=5_000)
        return self


def visit(
    browser: Browser, address: str, path: str, *, theme: str, width: int
) -> Iterator[Visit]:
    """Open a page and wait until its equations and widgets are drawn."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page = context.new_page()
    seen = Visit(page)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("requestfailed", lambda request: seen.failures.append(request.url))
    page.on(
        "response",
        lambda r: seen.failures.append(f"{r.status} {r.url}") if r.status > 399 else 0,
    )
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.on(
        "console",
        lambda m: seen.messages.append(m.text) if m.type == "error" else None,
    )

    def count(request: object) -> None:
        if not request.url.startswith(("data:", "blob:")):  # type: ignore[attr-defined]
            seen.received += request.sizes()["responseBodySize"]  # type: ignore[attr-defined]

    page.on("requestfinished", count)
    page.goto(address + path, wait_until="networkidle")
    page.evaluate("() => window.MathJax?.startup?.promise")
    # of every diagram and every explorer, not of the first
    page.wait_for_function(
        """() => {
            const count = (chosen) => document.querySelectorAll(chosen).length;
            const views = "script[type='application/vnd.jupyter.widget-view+json']";
            return count("pre.mermaid:not(:has(svg))") === 0 &&
                count(".mmgen-explorer:has(.noUi-handle)") === count(views);
        }"""
    )
    yield seen
    context.close()
