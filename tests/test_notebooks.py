"""The chapters' files: all cells were run, outputs are compared, figures have words."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MASTERS = sorted((ROOT / "notebooks" / "assignments").glob("*/*.ipynb"))
VIEW = "application/vnd.jupyter.widget-view+json"

chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


@cache
def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _code(path: Path) -> list[dict]:
    return [cell for cell in _read(path)["cells"] if cell["cell_type"] == "code"]


def _outputs(path: Path) -> list[dict]:
    return [output for cell in _code(path) for output in cell["outputs"]]


def _source(cell: dict) -> str:
    return "".join(cell["source"])


def test_there_are_chapters():
    assert CHAPTERS


@chapters
def test_every_cell_was_run_in_order(path):
    counts = [cell["execution_count"] for cell in _code(path)]
    assert counts == list(range(1, len(counts) + 1))


@chapters
def test_no_cell_failed_or_warned(path):
    bad = [
        output
        for cell in _code(path)
        if "raises-exception" not in cell["metadata"].get("tags", [])
        for output in cell["outputs"]
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
    assert bad == []


@chapters
def test_most_outputs_are_compared(path):
    cells = _code(path)
    ignored = [
        cell
        for cell in cells
        if {"nbval-ignore-output", "nbval-skip"} & set(cell["metadata"].get("tags", []))
        or re.search("NBVAL_(IGNORE_OUTPUT|SKIP)", _source(cell))
    ]
    assert 3 * len(ignored) < len(cells)


@chapters
def test_every_figure_has_words(path):
    for output in _outputs(path):
        if "image/png" in output.get("data", {}):
            words = output["metadata"].get("image/png", {}).get("alt", "")
            assert len(words) >= 20
            assert "".join(output["data"]["text/plain"]).split("\n")[0] == words
        assert not {"image/svg+xml", "image/jpeg"} & set(output.get("data", {}))


@chapters
def test_every_figure_and_explorer_says_what_it_plots(path):
    # images are not compared with those of another run, these numbers are
    for cell in _code(path):
        for output in cell["outputs"]:
            data = output.get("data", {})
            _, *plotted = "".join(data.get("text/plain", "")).split("\n")
            if "image/png" in data:
                assert re.match(r"(pictures|panel of) \d+", plotted[0])
            if {"image/png", VIEW} & set(data):
                values = re.search("#[0-9a-f]{6}|by quarters", "\n".join(plotted))
                counted = "varies=True" in _source(cell)
                assert bool(values) != counted


@pytest.mark.slow
def test_the_comparison_notices_a_figure_of_other_data(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.syspath_prepend(ROOT / "book" / "tools")
    execute = importlib.import_module("execute")
    for name, value in execute.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    cells = [
        "import torch\nfrom mmgen import explore",
        "figure, axis = explore.new_figure()\n"
        "axis.plot([0, 1, 2], [1.0, 3.0, 2.0])\n"
        "axis.set(xlabel='step', ylabel='loss')\n"
        "explore.show(figure, alt='A loss that rises and then falls.')",
        "images = torch.linspace(-1, 1, 4)[:, None, None, None].expand(-1, 3, 8, 8)\n"
        "explore.show(explore.image_grid(images), alt='Four squares, black to white.')",
        "explore.frames_explorer(list(images), ['a', 'b', 'c', 'd'], 'light')",
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in cells]
    )
    execute.execute(notebook, tmp_path)
    nbformat.write(notebook, tmp_path / "same.ipynb")
    notebook.cells[1].source = cells[1].replace("2.0]", "2.1]")
    notebook.cells[2].source = cells[2].replace("-1, 1, 4", "-1, 0.9, 4")
    nbformat.write(notebook, tmp_path / "other.ipynb")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "-q", "same.ipynb", "other.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    failed = re.findall(r"^FAILED (\S+ \d)", result.stdout, re.M)
    assert failed == [f"other.ipynb::Cell {i}" for i in (1, 2, 3)], result.stdout
    assert "5 passed" in result.stdout


@chapters
def test_every_widget_has_its_state(path):
    shown = [
        output["data"][VIEW]["model_id"]
        for output in _outputs(path)
        if VIEW in output.get("data", {})
    ]
    widgets = _read(path)["metadata"].get("widgets", {})
    state = {m: v for part in widgets.values() for m, v in part["state"].items()}
    assert set(shown) <= set(state)


@chapters
def test_every_stack_of_pictures_follows_a_slider(path):
    # without a kernel only links move a stack
    widgets = _read(path)["metadata"].get("widgets", {})
    state = {m: v for part in widgets.values() for m, v in part["state"].items()}
    linked = {
        model["state"]["target"][0].removeprefix("IPY_MODEL_")
        for model in state.values()
        if model["model_name"] == "LinkModel"
    }
    waiting = {
        output["data"][VIEW]["model_id"]
        for output in _outputs(path)
        if VIEW in output.get("data", {})
    }
    reached: set[str] = set()
    while waiting:
        reached |= waiting
        named = {
            name
            for model in waiting
            for name in re.findall(
                r"IPY_MODEL_(\w+)", json.dumps(state[model]["state"])
            )
        }
        waiting = named - reached
    stacks = {m for m in reached if state[m]["model_name"] == "StackModel"}
    assert stacks <= linked


@chapters
def test_what_was_normalised_stays_as_it_is(path, monkeypatch):
    # A second pass over the same file once lost half of the links between widgets.
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.syspath_prepend(ROOT / "book" / "tools")
    execute = importlib.import_module("execute")
    notebook = nbformat.read(path, as_version=4)
    execute.normalise(notebook, path.stem)
    assert nbformat.writes(notebook) == path.read_text(encoding="utf-8").rstrip("\n")


@chapters
def test_a_chapter_is_small(path):
    assert path.stat().st_size < 1_500_000


def words_of(path: Path) -> int:
    """Words of a chapter's Markdown export, code and printed outputs included."""
    from nbconvert import MarkdownExporter

    text, _ = MarkdownExporter().from_filename(str(path))
    # what a table is set with; a sign between numbers begins no tag
    text = re.sub(
        r"</?(?:table|caption|t(?:head|body|foot|[rdh])|br|small)\b[^>]*>", " ", text
    )
    return len(re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", text).split())


@chapters
def test_a_chapter_is_a_lesson_of_45_minutes(path):
    # 4,500 words: at 100 a minute, code and formulas among them
    assert words_of(path) <= 4500


@chapters
def test_the_first_cell_chooses_scale_and_device(path):
    first = _source(_code(path)[0])
    assert "scale = explore.scale()" in first
    assert re.search(r"device = explore\.device\(", first)


@chapters
def test_cells_that_show_results_are_folded(path):
    shows = ("explore.compare(", "explore.verdicts(", "explore.results(")
    unfolded = [
        i
        for i, cell in enumerate(_code(path))
        if any(call in _source(cell) for call in (*shows, "explore.loss_curves("))
        and "hide-input" not in cell["metadata"].get("tags", [])
    ]
    assert unfolded == []


@pytest.mark.smoke
@pytest.mark.slow
@chapters
def test_every_cell_runs_at_smoke_scale(path, monkeypatch):
    # that the switch works: what is printed is compared at laptop scale, by nbval
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.syspath_prepend(ROOT / "book" / "tools")
    execute = importlib.import_module("execute")
    for name, value in (execute.ENVIRONMENT | {"MMGEN_SCALE": "smoke"}).items():
        monkeypatch.setenv(name, value)
    execute.execute(nbformat.read(path, as_version=4), path.parent)


@pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
def test_an_assignment_has_one_scale(path):
    # so that its run by nbval is all there is to run, beside what the grader runs
    assert "MMGEN_SCALE" not in path.read_text("utf-8")
    assert not re.search(r"explore\.(scale|device|train)\(", path.read_text("utf-8"))


@chapters
def test_a_chapter_reads_in_plain_jupyter(path):
    markdown = [
        _source(cell)
        for cell in _read(path)["cells"]
        if cell["cell_type"] == "markdown"
    ]
    text = "\n".join(markdown)
    assert len(re.findall(r"^# ", re.sub("(?s)```.*?```", "", text), re.M)) == 1
    assert markdown[0].startswith("# ")
    assert not re.search(r"^(:::|```\{)|\{(cite|ref|doc|term|numref)", text, re.M)
    pictures = re.findall(r"!\[([^\]]*)\]", text)
    assert [alt for alt in pictures if len(alt) < 10] == []


@chapters
def test_code_fits_the_page(path):
    # a sentence may run on: alternative texts and messages are read, not looked at
    wide = [
        line
        for cell in _code(path)
        for line in _source(cell).splitlines()
        if len(line) > 88
        and not re.match(r"""\s*(\w+=)?f?["']""", line)
        and '"""' not in line
    ]
    assert wide == []
