"""The casebook: each story keeps its form, and its code runs."""

from __future__ import annotations

import math
import re

import pytest
from built_book import ROOT

from benchmarks import casebook
from mmgen.data import load_dataset
from mmgen.data.shapes import TAUGHT, facts, judge
from tests.code_blocks import blocks, run

FOLDER = ROOT / "book" / "casebook"
STORIES = sorted(page for page in FOLDER.glob("*.md") if page.stem != "index")
SECTIONS = ["Symptom", "Measurement", "Cause", "Cure", "What was not separated"]
LONGEST = 900  # words


def test_the_book_and_the_index_have_every_story():
    toc = (ROOT / "_toc.yml").read_text("utf-8")
    index = (FOLDER / "index.md").read_text("utf-8")
    assert len(STORIES) == 9
    for page in STORIES:
        assert f"book/casebook/{page.stem}\n" in toc
        assert f"({page.name})" in index


@pytest.mark.parametrize("page", STORIES, ids=lambda p: p.stem)
def test_a_story_has_its_five_sections_and_is_short(page):
    text = page.read_text("utf-8")
    assert re.findall(r"^## (.+)$", text, re.M) == SECTIONS
    assert re.search(r"^\*Found by step \d of \[the list\]\(index.md\)", text, re.M)
    words = re.sub(r"\{measured\}`[^`]+`", "1", text).replace("|", " ").split()
    assert len(words) <= LONGEST


@pytest.mark.parametrize("page", STORIES, ids=lambda p: p.stem)
def test_files_that_a_story_names_exist(page):
    text = page.read_text("utf-8")
    named = re.findall(r"`((?:results|benchmarks)/[\w./-]+)`", text)
    gone = {"benchmarks/judges.py"}  # of the commit that is named beside it
    assert [n for n in named if n not in gone and not (ROOT / n).exists()] == []
    modules = re.findall(r"python -m benchmarks\.(\w+)", text)
    assert [m for m in modules if not (ROOT / f"benchmarks/{m}.py").exists()] == []


BLOCKS = [b for page in STORIES for b in blocks(page) if b.language == "python"]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_code_of_a_story_runs(block, capsys):
    run(block)


def test_the_product_has_the_terms_that_the_page_says():
    data = load_dataset("shapes", image_size=32, objects=(2,), attributes=TAUGHT)
    sizes = [len(values) + 1 for values in data.attributes.values()]  # or none
    page = (FOLDER / "all-values-at-once.md").read_text("utf-8")
    assert f"has {math.prod(sizes):,} terms" in page
    assert re.search(rf"needs {sum(sizes)}\s+scores", page)


@pytest.mark.parametrize("kind", casebook.WRONG)
def test_a_wrong_caption_is_false_of_its_scene(kind):
    data = load_dataset("shapes", "validation", 32, objects=(2,), size=60)
    changed = 0
    for row, scene in enumerate(data.batch(range(60)).scenes):
        own = facts(scene)
        if len(own.objects) != 2:  # two that a caption counts together
            continue
        other = casebook.wrong(own, kind, row)
        if other is None:
            continue
        changed += 1
        assert all(judge(own, scene).values())
        assert not all(judge(other, scene).values())
    assert changed >= 5
