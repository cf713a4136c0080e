"""The leaderboard: what the directive makes of results, and how its page behaves."""

from __future__ import annotations

import base64
import importlib.util
import io
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from built_book import ROOT, Visit, visit
from docutils.core import publish_doctree
from docutils.parsers.rst import directives
from PIL import Image

path = ROOT / "book" / "_ext" / "leaderboard.py"
spec = importlib.util.spec_from_file_location("leaderboard_page", path)
assert spec is not None and spec.loader is not None
board = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = board  # where its dataclasses look for their types
spec.loader.exec_module(board)

PAGE = "book/leaderboard.html"
RIGHT = {"verdict": "right", "what": ""}
WRONG = {"verdict": "wrong", "what": "colour & <size>"}
UNASKED = {"verdict": None, "what": None}


def share(value: float, apart: float = 0.05, n: int = 40) -> dict[str, float]:
    return {"value": value, "low": value - apart, "high": value + apart, "n": n}


def row(
    one: float, two: float | None, seconds: float, covered: float | None
) -> dict[str, Any]:
    asked = {"one object": share(one)} | ({} if two is None else {"two objects": two})
    questions = {name: share(v) if v is two else v for name, v in asked.items()}
    return {
        "module": "mmgen.models.cgan",
        "family": "Networks that < play",
        "questions": questions,
        "languages": {f"{name}, en": found for name, found in questions.items()},
        "tasks": {"counting": share(one)},
        "coverage": {"share": {"value": covered, "error": 0.01}, "readable": 0.9},
        "parameters": 1_250_000,
        "minutes": {"own": 60.0, "all": 60.0 if two is None else 90.0},
        "trained_on": {"device": "CPU (A&B)", "threads": 1},
        "first": [RIGHT, UNASKED if two is None else WRONG],
        "seconds": {"1": 2 * seconds, "4": seconds},
    }


@pytest.fixture
def report() -> dict[str, Any]:
    return {
        "captions": [
            {"caption": "a red star", "language": "en", "gloss": ""},
            {"caption": "一颗红星", "language": "zh", "gloss": "a <red> star"},
        ],
        "at_once": 4,
        "models": {
            "slow-shapes64": row(0.90, 0.6, 0.5, 0.95),
            "quick-shapes64": row(0.82, 0.1, 0.001, 0.0),
            "plain-shapes64": row(0.60, None, 0.02, None),
        },
    }


@pytest.fixture
def results(tmp_path: Path, report: dict[str, Any]) -> Path:
    (tmp_path / "leaderboard.json").write_text(json.dumps(report), "utf-8")
    (tmp_path / "leaderboard").mkdir()
    for name, many in (("slow", 2), ("quick", 2), ("plain", 1)):
        sheet = Image.new("RGB", (many * 66 - 2, 64), "white")
        for i in range(many):
            sheet.paste((40 * i, 0, 90), (66 * i, 0, 66 * i + 64, 64))
        sheet.save(tmp_path / "leaderboard" / f"{name}-shapes64.png")
    return tmp_path


def parsed(text: str) -> BeautifulSoup:
    return BeautifulSoup(text, "html.parser")


def names_of(soup: Any) -> list[str]:
    return [head["data-value"] for head in soup.select("tbody th")]


class TestTables:
    def test_rows_stand_in_the_order_of_the_first_column(self, report):
        soup = parsed(board.table("scores", report))
        best = ["slow-shapes64", "quick-shapes64", "plain-shapes64"]
        assert names_of(soup) == best
        heads = soup.select("thead th")
        ordered = [head.get("aria-sort") for head in heads]
        assert ordered == [None, "descending"] + [None] * (len(heads) - 2)
        assert {head["scope"] for head in heads} == {"col"}
        first = {h.get_text(): h["data-first"] for h in heads}
        assert first["one object"] == "descending"
        assert first["seconds a picture"] == "ascending"

    def test_what_was_not_trained_is_no_zero(self, report):
        soup = parsed(board.table("scores", report))
        heads = [head.get_text() for head in soup.select("thead th")]
        plain = soup.select("tbody tr")[-1]
        cell = plain.select("th, td")[heads.index("two objects")]
        assert cell.get_text() == "not trained" and not cell.has_attr("data-value")
        cell = plain.select("th, td")[heads.index("coverage of the world's")]
        assert cell.get_text() == "not readable"

    def test_a_column_that_nobody_has_is_named_below(self, report):
        text = board.table("scores", report)
        heads = [head.get_text() for head in parsed(text).select("thead th")]
        assert not any("never seen" in head for head in heads)
        said = "No model was trained for never seen, one or never seen, two or six"
        assert said in text
        assert "Trained on: CPU (A&amp;B), 1 thread: " in board.table("details", report)

    def test_figures_stand_with_interval_and_number(self, report):
        soup = parsed(board.table("scores", report))
        cell = soup.select_one("tbody td")
        assert cell.get_text(" ") == "0.90 0.85–0.95\nn 40"
        assert float(cell["data-value"]) == 0.9
        text = " ".join(soup.select("tbody tr")[0].get_text(" ").split())
        assert "0.95 ± 0.02 readable 0.90" in text
        assert "90 30 for others" in text

    def test_bold_is_who_cannot_be_told_from_the_best(self, report):
        def bold(title):
            column = {c.title: c for c in board.columns_of("scores", report)}[title]
            return column.leaders(report["models"])

        assert bold("one object") == ["slow-shapes64", "quick-shapes64"]
        assert bold("two objects") == ["slow-shapes64"]
        assert bold("seconds") == ["quick-shapes64"]
        assert bold("minutes") == ["plain-shapes64"]
        assert bold("never seen, one") == []
        soup = parsed(board.table("scores", report))
        assert [len(row.select("strong")) for row in soup.select("tbody tr")][:2] == [
            4,  # one object, two, coverage, parameters
            3,  # one object, seconds, parameters
        ]

    def test_nobody_leads_where_nothing_is_right(self, report):
        for row in report["models"].values():
            row["questions"]["one object"] = share(0.0)
        leaders = [
            c.leaders(report["models"]) for c in board.columns_of("scores", report)
        ]
        assert leaders[0] == [] and leaders[1] != []
        assert "one object" not in board.firsts(report)

    def test_words_of_results_are_no_markup(self, report):
        text = board.table("scores", report)
        assert "Networks that &lt; play" in text and "< play" not in text


def test_who_is_first_is_told(report):
    soup = parsed(board.firsts(report))
    lines = [line.get_text() for line in soup.select("li")]
    assert lines[0] == "one object: slow 0.90; too close to tell: quick"
    assert "seconds, a picture: quick 0.001" in lines
    assert f"{len(lines)} columns, 3 different models" in soup.get_text()


class TestPictures:
    def test_each_stands_with_its_verdict(self, report, results):
        soup = parsed(board.pictures(report, results))
        cells = soup.select("tbody td")
        assert [cell["class"] for cell in cells] == [
            *(["right"], ["wrong"]) * 2,
            ["right"],
            ["none"],
        ]
        assert cells[1].small.get_text() == "✗ wrong: colour & <size>"
        alt = cells[1].img["alt"]
        assert alt == "What slow drew for “一颗红星”: wrong."
        chinese = soup.select("thead th")[2]
        assert chinese.span["lang"] == "zh"
        assert chinese.small.get_text() == "a <red> star"

    def test_they_are_those_of_the_file_in_its_order(self, report, results, tmp_path):
        soup = parsed(board.pictures(report, results))
        colours = []
        for image in soup.select("tbody tr")[0].select("img"):
            file = tmp_path / "piece.webp"
            file.write_bytes(base64.b64decode(image["src"].partition(",")[2]))
            with Image.open(file) as piece:
                assert piece.size == (64, 64)
                colours.append(piece.convert("RGB").getpixel((63, 63)))
        assert colours == [(0, 0, 90), (40, 0, 90)]

    @pytest.mark.parametrize("damage", ["missing", "too few"])
    def test_pictures_that_are_not_there_stop_the_build(self, report, results, damage):
        file = results / "leaderboard" / "slow-shapes64.png"
        if damage == "missing":
            file.unlink()
        else:
            Image.new("RGB", (64, 64)).save(file)
        with pytest.raises(ValueError, match="--only slow-shapes64 draws them"):
            board.pictures(report, results)


class TestPlot:
    def test_is_the_same_file_every_time(self, report):
        first = board.plot(report)
        assert first == board.plot(report)
        source = parsed(first).img["src"]
        assert source.startswith("data:image/svg+xml;base64,")
        drawn = ElementTree.fromstring(base64.b64decode(source.partition(",")[2]))
        assert drawn.tag.endswith("svg")

    def test_says_in_words_what_it_shows(self, report):
        alt = parsed(board.plot(report)).img["alt"]
        assert "From the fastest to the slowest: quick, plain, slow." in alt
        assert "Two objects, from the most right: slow 0.60, quick 0.10." in alt
        assert "Filled marks, of varied pictures: slow." in alt

    def test_names_do_not_cover_each_other(self):
        points = {str(i): (1.0 + 0.1 * i, 0.9 + 0.01 * i) for i in range(6)}
        heights = sorted(at for _, _, at in board._apart(points).values())
        gaps = [b - a for a, b in itertools.pairwise(heights)]
        assert min(gaps) > 0.05
        far = {"a": (0.001, 0.5), "b": (1.0, 0.5)}
        assert {at for _, _, at in board._apart(far).values()} == {0.5}


class TestDirective:
    @pytest.fixture
    def made(self, results, monkeypatch):
        monkeypatch.setattr(board, "RESULTS", results)
        directives.register_directive("leaderboard", board.Leaderboard)
        followed = []
        env = SimpleNamespace(note_dependency=followed.append)

        def make(text: str) -> Any:
            settings = {"env": env, "warning_stream": io.StringIO()}
            return publish_doctree(text, settings_overrides=settings), followed

        return make

    @pytest.mark.parametrize("part", board.PARTS)
    def test_every_part_is_html_that_follows_its_files(self, made, part):
        tree, followed = made(f".. leaderboard:: {part}")
        (node,) = tree.children
        assert node["format"] == "html" and node["classes"] == ["leaderboard"]
        assert {Path(file).suffix for file in followed} == {".json", ".png"}

    def test_an_unknown_part_is_an_error(self, made):
        tree, _ = made(".. leaderboard:: score")
        assert "unknown part 'score'; there are firsts, scores" in tree.astext()

    @pytest.mark.parametrize("content", [None, "{", "[]", '{"models": {}}'])
    def test_results_that_cannot_be_read_are_an_error(self, made, results, content):
        file = results / "leaderboard.json"
        file.unlink() if content is None else file.write_text(content)
        tree, _ = made(".. leaderboard:: scores")
        assert "benchmarks.leaderboard writes it" in tree.astext()


def test_the_page_has_every_part():
    text = (ROOT / "book" / "leaderboard.md").read_text("utf-8")
    assert set(re.findall(r"```\{leaderboard\} (\w+)", text)) == set(board.PARTS)


# ------------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def opened(browser, address) -> Iterator[Visit]:
    yield from visit(browser, address, PAGE, theme="light", width=1280)


@pytest.fixture
def page(opened) -> Any:
    """The page as it is loaded."""
    opened.page.reload(wait_until="networkidle")
    return opened.look("light", 1280).page


def column(page: Any, title: str) -> list[float | None]:
    """Values of a column of the first table, from top to bottom."""
    return page.evaluate(
        """(title) => {
            const table = document.querySelector("table.sortable");
            const heads = [...table.tHead.rows[0].cells];
            const at = heads.findIndex((h) => h.textContent.trim().startsWith(title));
            return [...table.tBodies[0].rows].map((row) => {
                const text = row.cells[at].dataset.value;
                return text === undefined ? null : Number(text);
            });
        }""",
        title,
    )


def head(page: Any, title: str) -> Any:
    table = page.locator("table.sortable").first
    return table.locator("thead th").filter(has_text=title).first


def in_order(values: list[float | None], falling: bool) -> bool:
    there = [value for value in values if value is not None]
    empty = [None] * (len(values) - len(there))
    return values == sorted(there, reverse=falling) + empty


@pytest.mark.book
@pytest.mark.xdist_group(PAGE)
class TestSorting:
    def test_by_mouse_and_back(self, page):
        assert in_order(column(page, "one object"), falling=True)
        seconds = head(page, "seconds")
        for falling, order in ((False, "ascending"), (True, "descending")):
            seconds.locator("button").click()
            assert in_order(column(page, "seconds"), falling)
            assert seconds.get_attribute("aria-sort") == order
        assert page.locator("th[aria-sort]").count() == 2  # one in each table
        said = page.locator("[role=status]").first.text_content()
        assert said.startswith("Sorted by seconds") and "descending" in said

    def test_by_keyboard(self, page):
        head(page, "one object").locator("button").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        two = head(page, "two objects")
        assert two.get_attribute("aria-sort") == "descending"
        assert in_order(column(page, "two objects"), falling=True)
        page.keyboard.press("Space")
        assert two.get_attribute("aria-sort") == "ascending"
        assert in_order(column(page, "two objects"), falling=False)

    def test_who_was_not_trained_stands_last_in_either_order(self, page):
        two = head(page, "two objects").locator("button")
        for _ in range(2):
            two.click()
            values = column(page, "two objects")
            assert None in values and values[0] is not None and values[-1] is None

    def test_names_are_ordered_as_words(self, page):
        head(page, "model").locator("button").click()
        names = page.locator("table.sortable").first.locator("tbody th")
        found = [name.get_attribute("data-value") for name in names.all()]
        assert found == sorted(found)


@pytest.mark.book
@pytest.mark.xdist_group(PAGE)
class TestLook:
    def test_names_stay_in_sight_while_a_phone_scrolls_the_table(self, opened):
        page = opened.look("dark", 375).page
        table = page.locator(".pst-scrollable-table-container").first
        table.evaluate("(e) => { e.scrollLeft = 300; }")
        name = table.locator("tbody th").first
        assert name.bounding_box()["x"] == pytest.approx(
            table.bounding_box()["x"], abs=2
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 375

    def test_wrong_pictures_are_marked_in_words_too(self, opened):
        page = opened.look("light", 1280).page
        for kind in ("right", "wrong"):
            for cell in page.locator(f"table.pictures td.{kind}").all():
                assert kind in cell.locator("small").text_content()
                assert kind in cell.locator("img").get_attribute("alt")
        assert page.locator("table.pictures td img").count() > 10

    def test_other_pages_load_nothing_of_it(self, browser, address, opened):
        assert any("sortable.js" in url for url in opened.requests)
        for seen in visit(
            browser, address, "book/speed.html", theme="light", width=1280
        ):
            assert not [url for url in seen.requests if "sortable" in url]
            assert not [url for url in seen.requests if "leaderboard.css" in url]
