"""The pages' own pictures: drawn again, and compared with what was committed."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from PIL import Image

from mmgen.explore.digests import digest

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "book" / "figures"


@pytest.mark.slow
def test_committed_pictures_are_those_that_the_code_draws(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "book" / "tools")
    tool = importlib.import_module("pictures")
    drawn = {}

    def save(figure, name, dpi=150, few=True, varies=False):
        drawn[name] = digest(figure, varies)

    monkeypatch.setattr(tool, "save", save)
    monkeypatch.setattr(tool, "LOGOS", tmp_path)
    tool.draw_all()
    committed = {}
    for path in FIGURES.glob("*.png"):
        with Image.open(path) as picture:
            committed[path.name] = picture.info.get("Description")
    assert committed == drawn
    for logo in tmp_path.iterdir():
        kept = ROOT / "book" / "_static" / logo.name
        assert logo.read_text("utf-8") == kept.read_text("utf-8")
