"""Every page as a reader meets it: on a desk by day, on a phone by night."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from built_book import API_PAGE, Visit, api_pages, pages, together, visit
from contents import PARTS, expected, source_of

pytestmark = pytest.mark.book

LARGEST_PAGE = 3_000_000  # bytes
# The pages of modules are made alike: one is visited, the others pass through it.
VISITED = [page for page in pages() if page not in api_pages() or page == API_PAGE]


@pytest.fixture(scope="module")
def opened(browser, address, request) -> Iterator[Visit]:
    """A page that is loaded once, and then looked at from the desk and by phone."""
    yield from visit(browser, address, request.param, theme="light", width=1280)


@pytest.fixture
def desk(opened) -> Visit:
    """The page in the light theme, 1280 pixels wide."""
    return opened.look("light", 1280)


@pytest.fixture
def phone(opened) -> Visit:
    """The page in the dark theme, 375 pixels wide."""
    return opened.look("dark", 375)


def on(chosen: list[str]) -> pytest.MarkDecorator:
    """Parameters of the tests that look at some pages."""
    return pytest.mark.parametrize(
        "opened", [together(page) for page in chosen], indirect=True, scope="module"
    )


def _faults(seen: Visit, within: str | None = None) -> list[str]:
    """What axe-core calls serious or critical, in a part of the page or in all."""
    # The words of code have a dozen colours and come by the thousand, and axe-core
    # works out what lies behind each of them: of every colour the first is enough.
    seen.page.evaluate(
        """() => {
            const known = new Set();
            for (const e of document.querySelectorAll(".highlight span[class]")) {
                if (known.has(e.className)) e.replaceWith(...e.childNodes);
                known.add(e.className);
            }
        }"""
    )
    # preload would fetch what style sheets import, and not from where they lie
    options = {"resultTypes": ["violations"], "preload": False}
    result = Axe().run(seen.page, context=within, options=options)
    return [
        f"{fault['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for fault in result.response["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]


def _check_equations(seen: Visit) -> None:
    """Every equation is typeset, and no TeX stands in the text."""
    raw = seen.page.evaluate(
        """() => [...document.querySelectorAll(".bd-article .math")]
            .filter((e) => !e.querySelector("mjx-container"))
            .map((e) => e.textContent)"""
    )
    assert raw == []
    errors = "mjx-merror, [data-mjx-error], .mjx-error"
    assert seen.page.locator(errors).count() == 0
    # TeX that nobody took for an equation: in the text, outside of code
    text = seen.page.evaluate(
        """() => {
            const copy = document.querySelector(".bd-article").cloneNode(true);
            for (const e of copy.querySelectorAll(
                "pre, code, mjx-container, script, style, svg, dl.py")) e.remove();
            return copy.textContent;
        }"""
    )
    for sign in ("$", "\\(", "\\[", "\\frac", "\\mathbb", "\\begin{"):
        assert sign not in text, text[max(text.index(sign) - 60, 0) :][:160]


def _check_width(seen: Visit) -> None:
    """Nothing on the page is wider than a phone."""
    widest = seen.page.evaluate("document.documentElement.scrollWidth")
    assert widest <= 375


@on(VISITED)
class TestDesk:
    def test_asks_no_other_host(self, desk, address):
        local = (address, "data:", "blob:")
        assert [url for url in desk.requests if not url.startswith(local)] == []
        assert desk.failures == []

    def test_says_nothing_on_the_console(self, desk):
        assert desk.messages == []

    def test_shows_all_that_its_source_holds(self, desk, opened, request):
        page = request.node.callspec.params["opened"]
        shown = desk.page.evaluate(
            """(parts) => {
                const folded = "details:not([open]), .toggle-hidden";
                const seen = (e) => e.closest(folded) ||
                    (e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})
                        && e.getBoundingClientRect().height > 0);
                const count = (chosen) =>
                    [...document.querySelectorAll(`.bd-article ${chosen}`)]
                        .filter((e) => !e.closest(".mmgen-explorer") && seen(e)).length;
                return Object.fromEntries(
                    Object.entries(parts).map(([k, v]) => [k, count(v)]));
            }""",
            {name: chosen for name, chosen in PARTS.items() if name != "explorers"},
        )
        shown["explorers"] = desk.page.locator(".mmgen-explorer:visible").count()
        wanted = expected(source_of(page))
        if page == API_PAGE:  # docstrings bring equations of their own
            assert shown["equations"] > 0
            wanted["equations"] = shown["equations"]
        assert shown == wanted

    def test_every_equation_is_typeset(self, desk):
        _check_equations(desk)

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


@on([page for page in VISITED if page.startswith("notebooks/")])
def test_explorers_change_their_picture_by_keyboard(desk):
    explorers = desk.page.locator(".mmgen-explorer").all()
    assert explorers
    for explorer in explorers:
        handles = explorer.locator(".noUi-handle").all()
        assert handles
        for handle in handles:
            before = _shown(explorer)
            words = handle.get_attribute("aria-valuetext")
            handle.focus()
            desk.page.keyboard.press("ArrowRight")
            after = _shown(explorer)
            assert before["source"] != after["source"]
            assert before["alt"] != after["alt"]
            assert handle.get_attribute("aria-valuetext") != words
            assert handle.get_attribute("aria-label")


def _shown(explorer) -> dict[str, str]:
    """The one visible frame of an explorer."""
    frames = explorer.locator("img:visible")
    assert frames.count() == 1
    return {
        "source": frames.first.get_attribute("src"),
        "alt": frames.first.get_attribute("alt"),
    }


@on(VISITED)
class TestPhone:
    def test_does_not_scroll_sideways(self, phone):
        _check_width(phone)

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


def test_a_phone_that_loads_a_chapter_sees_what_a_narrow_window_sees(browser, address):
    # so that one load, looked at twice, is enough for the other pages
    page = next(page for page in VISITED if page.startswith("notebooks/"))
    shapes = []
    for theme, width in (("light", 1280), ("dark", 375)):
        for seen in visit(browser, address, page, theme=theme, width=width):
            seen.look("dark", 375)
            _check_width(seen)
            assert seen.messages == []
            box = seen.page.locator(".bd-article").bounding_box()
            style = "getComputedStyle(document.body).backgroundColor"
            shapes.append((box["width"], seen.page.evaluate(style)))
    assert shapes[0] == shapes[1]


@pytest.fixture(scope="module")
def stage(browser, address) -> Iterator[Visit]:
    """A page of the API, through which the bodies of the others pass."""
    yield from visit(browser, address, API_PAGE, theme="light", width=1280)


@pytest.mark.xdist_group("api")
@pytest.mark.parametrize("page", [page for page in api_pages() if page != API_PAGE])
def test_an_api_page_reads_like_the_one_that_is_visited(stage, address, page):
    stage.messages.clear()
    stage.page.evaluate(
        """async (address) => {
            const text = await (await fetch(address)).text();
            const other = new DOMParser().parseFromString(text, "text/html");
            const body = other.querySelector(".bd-article");
            MathJax.typesetClear();
            document.querySelector(".bd-article").replaceWith(body);
            await MathJax.typesetPromise([body]);
        }""",
        address + page,
    )
    _check_equations(stage.look("light", 1280))
    assert _faults(stage, ".bd-article") == []
    _check_width(stage.look("dark", 375))
    assert _faults(stage, ".bd-article") == []
    assert stage.messages == []


def test_search_finds_a_term(browser, address):
    path = "search.html?q=discriminator"
    for seen in visit(browser, address, path, theme="light", width=1280):
        seen.page.wait_for_selector("#search-results li a")
        assert seen.page.locator("#search-results li a").count() >= 3
        assert seen.messages == []
