"""Numbers that pages name instead of typing them."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter

import pytest
from built_book import ROOT

path = ROOT / "book" / "_ext" / "book_pages.py"
spec = importlib.util.spec_from_file_location("book_pages", path)
assert spec is not None and spec.loader is not None
book_pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(book_pages)


@pytest.fixture
def results(tmp_path):
    content = {"speed": {"render, 64 px": {"rate": 12143.4}}, "device": "CPU"}
    content["runs"] = [{"loss": 1.5}, {"loss": 2.5}]
    (tmp_path / "b.json").write_text(json.dumps(content))
    return tmp_path


def test_a_number_is_found_and_formatted(results):
    text = "b.json > speed > render, 64 px > rate > ,.0f"
    assert book_pages.measured(text, results) == (results / "b.json", "12,143")
    assert book_pages.measured("b.json > device > s", results)[1] == "CPU"
    assert book_pages.measured("b.json > runs > 1 > loss > .1f", results)[1] == "2.5"


@pytest.mark.parametrize(
    "text",
    [
        "c.json > device > s",
        "b.json > speed > render, 32 px > rate > ,.0f",
        "b.json > device > .2f",
        "b.json > device > name > s",
        "b.json > runs > 2 > loss > .1f",
        "b.json > runs > last > loss > .1f",
    ],
)
def test_what_is_not_there_is_an_error_that_stops_the_build(results, text):
    with pytest.raises(ValueError, match="names no measured value"):
        book_pages.measured(text, results)


NAMED = [
    (page, text)
    for page in sorted(ROOT.glob("book/**/*.md"))
    for text in re.findall(r"\{measured\}`([^`]+)`", page.read_text("utf-8"))
]


@pytest.mark.parametrize(
    ("page", "text"), NAMED, ids=[f"{page.stem}: {text}" for page, text in NAMED]
)
def test_every_value_that_a_page_names_is_there(page, text):
    file, value = book_pages.measured(text)
    assert file.is_file() and value


def test_the_pages_that_measure_name_their_values():
    written = {
        page: page.read_text("utf-8").count("{measured}")
        for page in ROOT.glob("book/**/*.md")
    }
    found = Counter(page for page, _ in NAMED)
    assert {page: n for page, n in written.items() if n} == dict(found)
    assert ROOT / "book" / "speed.md" in found and len(found) > 5
