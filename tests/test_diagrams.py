"""The chapters' diagrams: drawn by code, as committed, and read without seeing them."""

from __future__ import annotations

import importlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "book" / "figures"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "tools")
    return importlib.import_module("diagrams")


def test_committed_diagrams_are_those_that_the_code_draws(tool):
    drawn = {f"{name}.svg": d.svg() for name, d in tool.diagrams().items()}
    committed = {path.name: path.read_text("utf-8") for path in FIGURES.glob("*.svg")}
    assert committed == drawn


def test_diagrams_are_valid_and_described(tool):
    for name, diagram in tool.diagrams().items():
        root = ET.fromstring(diagram.svg())
        tags = [child.tag.split("}")[1] for child in root]
        assert {"title", "desc"} <= set(tags), name
        assert len(diagram.description) > 80, name


def test_every_box_lies_on_the_card_and_on_no_other(tool):
    for name, diagram in tool.diagrams().items():
        boxes = list(diagram.boxes.values())
        for box in boxes:
            assert box.x - box.width / 2 >= 0 and box.x + box.width / 2 <= tool.WIDTH
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                beside = abs(a.x - b.x) >= (a.width + b.width) / 2
                assert beside or a.bottom <= b.y or b.bottom <= a.y, name


def test_a_line_that_does_not_fit_is_an_error(tool):
    diagram = tool.Diagram("t", "d")
    with pytest.raises(ValueError, match="'a' has a line"):
        diagram.row(a=("network", "x" * 90))
    with pytest.raises(ValueError, match="kind"):
        diagram.row(a=("thing", "x"))


def test_notebooks_show_each_diagram_with_its_description(tool):
    pattern = r"!\[([^\]]*)\]\(\.\./book/figures/([\w-]+)\.svg\)"
    shown = [
        (name, alt)
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for alt, name in re.findall(pattern, path.read_text("utf-8"))
    ]
    described = {name: d.description for name, d in tool.diagrams().items()}
    assert [name for name, alt in shown if described.get(name) != alt] == []
    assert {name for name, _ in shown} == set(described)
