"""Every page as a reader meets it: on a desk by day, on a phone by night."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from built_book import BUILT, Visit, pages, visit

pytestmark = pytest.mark.book

LARGEST_PAGE = 3_000_000  # bytes


@pytest.fixture(scope="module", params=pages())
def desk(browser, address, request) -> Iterator[Visit]:
    """A page in the light theme, 1280 pixels wide."""
    yield from visit(browser, address, request.param, theme="light", width=1280)


@pytest.fixture(scope="module", params=pages())
def phone(browser, address, request) -> Iterator[Visit]:
    """A page in the dark theme, 375 pixels wide."""
    yield from visit(browser, address, request.param, theme="dark", width=375)


def _faults(seen: Visit) -> list[str]:
    """What axe-core calls serious or critical."""
    result = Axe().run(seen.page)
    return [
        f"{fault['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for fault in result.response["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]


class TestDesk:
    def test_asks_no_other_host(self, desk, address):
        local = (address, "data:", "blob:")
        assert [url for url in desk.requests if not url.startswith(local)] == []
        assert desk.failures == []

    def test_says_nothing_on_the_console(self, desk):
        assert desk.messages == []

    def test_every_equation_is_typeset(self, desk):
        raw = desk.page.evaluate(
            """() => [...document.querySelectorAll(".bd-article .math")]
                .filter((e) => !e.querySelector("mjx-container"))
                .map((e) => e.textContent)"""
        )
        assert raw == []
        errors = "mjx-merror, [data-mjx-error], .mjx-error"
        assert desk.page.locator(errors).count() == 0
        # TeX that nobody took for an equation: in the text, outside of code
        text = desk.page.evaluate(
            """() => {
                const copy = document.querySelector(".bd-article").cloneNode(true);
                for (const e of copy.querySelectorAll(
                    "pre, code, mjx-container, script, style, svg, dl.py")) e.remove();
                return copy.textContent;
            }"""
        )
        for sign in ("$", "\\(", "\\[", "\\frac", "\\mathbb", "\\begin{"):
            assert sign not in text, text[max(text.index(sign) - 60, 0) :][:160]

    def test_every_picture_is_there_and_has_words(self, desk):
        pictures = desk.page.evaluate(
            """() => [...document.querySelectorAll(".bd-article img")].map((e) => ({
                source: e.getAttribute("src").slice(0, 80),
                alt: e.getAttribute("alt") ?? "",
                shown: e.getClientRects().length > 0,
                loaded: e.complete && e.naturalWidth > 0}))"""
        )
        assert [p for p in pictures if p["shown"] and not p["loaded"]] == []
        assert [p for p in pictures if len(p["alt"].strip()) < 3] == []

    def test_is_small(self, desk):
        assert desk.received < LARGEST_PAGE
        # and so is what the page itself holds, before any compression
        own = desk.page.evaluate("document.documentElement.outerHTML.length")
        assert own < LARGEST_PAGE

    def test_has_no_serious_accessibility_fault(self, desk):
        assert _faults(desk) == []

    def test_has_one_search_and_the_light_theme(self, desk):
        assert desk.page.locator(".search-button-field:visible").count() == 1
        assert desk.page.locator("html").get_attribute("data-theme") == "light"

    def test_explorers_change_their_picture_by_keyboard(self, desk):
        explorers = desk.page.locator(".mmgen-explorer")
        for i in range(explorers.count()):
            explorer = explorers.nth(i)
            handles = explorer.locator(".noUi-handle")
            for k in range(handles.count()):
                before = _shown(explorer)
                words = handles.nth(k).get_attribute("aria-valuetext")
                handles.nth(k).focus()
                desk.page.keyboard.press("ArrowRight")
                after = _shown(explorer)
                assert before["source"] != after["source"]
                assert before["alt"] != after["alt"]
                assert handles.nth(k).get_attribute("aria-valuetext") != words
                assert handles.nth(k).get_attribute("aria-label")


def _shown(explorer) -> dict[str, str]:
    """The one visible frame of an explorer."""
    frames = explorer.locator("img:visible")
    assert frames.count() == 1
    return {
        "source": frames.first.get_attribute("src"),
        "alt": frames.first.get_attribute("alt"),
    }


class TestPhone:
    def test_does_not_scroll_sideways(self, phone):
        widest = phone.page.evaluate("document.documentElement.scrollWidth")
        assert widest <= 375

    def test_is_dark(self, phone):
        assert phone.page.locator("html").get_attribute("data-theme") == "dark"
        channels = phone.page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        assert max(channels[:3]) < 60

    def test_asks_no_other_host_and_is_silent(self, phone, address):
        local = (address, "data:", "blob:")
        assert [url for url in phone.requests if not url.startswith(local)] == []
        assert phone.messages == []

    def test_has_no_serious_accessibility_fault(self, phone):
        assert _faults(phone) == []


def test_search_finds_a_term(browser, address):
    path = "search.html?q=discriminator"
    for seen in visit(browser, address, path, theme="light", width=1280):
        seen.page.wait_for_selector("#search-results li a")
        assert seen.page.locator("#search-results li a").count() >= 3
        assert seen.messages == []


def test_chapters_have_explorers():
    chapters = sorted((BUILT / "notebooks").glob("*.html"))
    assert chapters
    lacking = [
        page.name
        for page in chapters
        if "application/vnd.jupyter.widget-view+json" not in page.read_text("utf-8")
    ]
    assert lacking == []
