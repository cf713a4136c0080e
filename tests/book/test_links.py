"""Links, anchors and sources of the built pages, without a browser."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from built_book import BUILT, pages, together

pytestmark = pytest.mark.book


class _Links(HTMLParser):
    """Targets and anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[tuple[str, str]] = []
        self.anchors: set[str] = {""}

    def handle_starttag(self, tag, attributes) -> None:
        values = dict(attributes)
        for name in ("id", "name"):
            if values.get(name):
                self.anchors.add(values[name])
        for name in ("href", "src"):
            if values.get(name):
                self.targets.append((tag, values[name]))


@cache
def _read(path: Path) -> _Links:
    parser = _Links()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("page", [together(page) for page in pages()])
def test_everything_that_a_page_points_to_exists(page):
    here = BUILT / page
    assert here.exists(), "there is no built book; run: make book"
    missing = []
    for _, target in _read(here).targets:
        address, anchor = urldefrag(target)
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue  # another host, on which nothing here depends
        path = (here.parent / unquote(parts.path)).resolve() if parts.path else here
        known = path.suffix != ".html" or (
            path.exists() and unquote(anchor) in _read(path).anchors
        )
        if not path.exists() or not known:
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize("page", [together(page) for page in pages()])
def test_a_page_loads_nothing_from_another_host(page):
    loaded = [
        target
        for tag, target in _read(BUILT / page).targets
        if tag not in ("a", "link") and urlsplit(target).netloc
    ]
    assert loaded == []


def test_the_first_page_leads_to_the_book():
    assert "book/index.html" in (BUILT / "index.html").read_text(encoding="utf-8")
