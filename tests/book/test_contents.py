"""Built pages against their sources: all that was written stands on them."""

from __future__ import annotations

import re
from pathlib import Path

import contents
import pytest
from built_book import BUILT, ROOT, pages
from contents import (
    article,
    built,
    counted,
    entries,
    expected,
    figures,
    figures_built,
    passages,
    sources,
    words,
    words_built,
)

pytestmark = pytest.mark.book

CHAPTERS = sorted(ROOT.glob("notebooks/*.ipynb"))
API = sorted(ROOT.glob("book/api/mmgen.*.md"))


def _name(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


# the tests of a page together, in one worker: it is parsed once
every_page = pytest.mark.parametrize(
    "source",
    [pytest.param(one, marks=pytest.mark.xdist_group(_name(one))) for one in sources()],
    ids=_name,
)
chapters = pytest.mark.parametrize("source", CHAPTERS, ids=lambda source: source.stem)
api = pytest.mark.parametrize("source", API, ids=lambda source: source.stem)


def test_every_source_has_its_page_and_every_page_its_source():
    assert {built(source) for source in sources()} == {BUILT / page for page in pages()}


@every_page
def test_a_page_has_as_many_parts_as_its_source(source):
    wanted, found = expected(source), counted(built(source))
    if source in API:
        # docstrings bring equations and boxes of their own; see the test of entries
        wanted |= {name: found[name] for name in ("equations", "boxes")}
    assert found == wanted
    assert wanted["headings"] >= 1


@every_page
def test_no_word_of_a_page_is_lost(source):
    assert words(source) - words_built(built(source)) == {}


@every_page
def test_code_and_what_it_printed_stand_in_their_order(source):
    text = "".join(article(built(source)).get_text().split())
    place = 0
    for passage in passages(source):
        found = text.find(passage, place)
        assert found >= 0, passage[:200]
        place = found + len(passage)


@chapters
def test_figures_of_a_chapter_are_those_of_its_notebook(source):
    assert figures(source)
    assert figures_built(built(source)) == figures(source)
    wanted = expected(source)
    assert wanted["explorers"] and wanted["tables"] and wanted["equations"]


@api
def test_an_api_page_explains_all_that_is_public(source):
    shown = {entry["id"] for entry in article(built(source)).select("dt[id]")}
    assert entries(source) - shown == set()
    assert entries(source) or source.stem == "mmgen.metrics"


@pytest.mark.parametrize(
    ("pattern", "noticed"),
    [
        (
            r"(?s)(?<=<article class=\"bd-article\">).*(?=</article>)",
            "parts words code",
        ),
        (r"<img [^>]*_images/\w+\.png[^>]*>", "parts figures"),
        (r"(?s)<table.*?</table>", "parts code"),
        (r"<script type=\"application/vnd.jupyter.widget-view[^<]*</script>", "parts"),
        (r"(?s)<h2><span.*?</h2>", "parts"),
        (r"(?s)<p>.*?</p>", "words"),
        (r"(?s)<pre>.*?</pre>", "code"),
        (r"(?<=_images/)\w+(?=\.png)", "figures"),
        (r"(?<=<img alt=\").", "figures"),
    ],
    ids=[
        "body",
        "figures",
        "table",
        "explorer",
        "heading",
        "paragraph",
        "code",
        "picture",
        "words",
    ],
)
def test_a_damaged_page_is_noticed(pattern, noticed, monkeypatch, tmp_path):
    source = CHAPTERS[0]
    text = built(source).read_text("utf-8")
    damaged = re.sub(pattern, "", text, count=1)
    assert damaged != text
    page = tmp_path / "notebooks" / f"{source.stem}.html"
    page.parent.mkdir()
    page.write_text(damaged, "utf-8")
    (tmp_path / "_images").symlink_to(BUILT / "_images")
    monkeypatch.setattr(contents, "BUILT", tmp_path)
    tests = {
        "parts": test_a_page_has_as_many_parts_as_its_source,
        "words": test_no_word_of_a_page_is_lost,
        "code": test_code_and_what_it_printed_stand_in_their_order,
        "figures": test_figures_of_a_chapter_are_those_of_its_notebook,
    }
    for name in noticed.split():
        with pytest.raises((AssertionError, OSError)):
            tests[name](source)
