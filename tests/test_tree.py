"""The tree keeps its promises: methods have their rows, machines left no trace."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from mmgen.registry import METHODS

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "mmgen" / "pretrained"
TEXT = {
    "", ".bib", ".cff", ".cfg", ".css", ".ini", ".ipynb", ".js", ".json", ".md", ".mjs",
    ".py", ".sh", ".svg", ".toml", ".txt", ".yaml", ".yml",
}  # fmt: skip
# The methods share chapters where they share an idea.
CHAPTER_OF = {
    "align": "alignment",
    "bimodal": "alignment",
    "caption": "captioning",
    "cvae": "vae",
    "fuse": "fusion",
    "mvae": "multimodal-vae",
    "vqvae": "codes",
    "ar": "autoregression",
    "masked": "autoregression",
    **dict.fromkeys(("reader", "attngan-modern"), "attngan"),
}
# An assignment asks about its own chapter, and these two about the next one too: the
# question on experts is the multimodal chapter's, and models of codes need codes.
# Fusion is practised in its exercises; handed in is what it begins with, alignment.
# So is joint training: handed in is what its pictures are written with, codes.
ASSIGNMENT_OF = {
    "multimodal-vae": "vae",
    "autoregression": "codes",
    "fusion": "alignment",
    "joint": "codes",
}


def _files() -> list[Path]:
    """Committed files, and new ones that git would not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def _texts() -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in _files()
        if path.suffix in TEXT
    }


def _chapters() -> list[str]:
    """Names of the chapters, in the order of the book."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry.get("file", "") for p in toc["parts"] for entry in p["chapters"]]
    return [f.removeprefix("notebooks/") for f in files if f.startswith("notebooks/")]


def test_no_path_of_a_machine():
    # spelt so that this line is not found itself
    pattern = re.compile(r"(?<![\w./-])/(?:work|root|home|Users)/" + r"[\w.-]+")
    found = {
        name: m[0] for name, text in _texts().items() if (m := pattern.search(text))
    }
    assert found == {}


def test_no_registry_host():
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "registry." + "npmjs")
    found = [(n, h) for n, text in _texts().items() for h in hosts if h in text]
    assert found == []


def test_constraints_are_exact_and_hold_no_address():
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    bad = [line for line in lines if not re.match(r"[\w.-]+==[\w.+!]+( ; .+)?$", line)]
    assert bad == []
    assert len(lines) > 100


def test_weights_are_small_and_have_their_cards():
    weights = sorted(WEIGHTS.glob("*.safetensors"))
    sizes = {path.name: path.stat().st_size for path in weights}
    assert {name: size for name, size in sizes.items() if size > 12e6} == {}
    assert sum(sizes.values()) < 100e6
    assert [p.name for p in weights if not p.with_suffix(".json").exists()] == []


def test_no_other_file_is_large():
    large = {
        str(path.relative_to(ROOT)): path.stat().st_size
        for path in _files()
        if path.suffix != ".safetensors" and path.stat().st_size > 2_000_000
    }
    assert large == {}


def _tests_of(source: Path) -> list[Path]:
    """Where tests of a module stand: one file, or a folder as the module is one."""
    place = ROOT / "tests" / source.parent.name
    folder = place / source.name
    return sorted(folder.glob("test_*.py")) or [place / f"test_{source.name}.py"]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_its_row(method):
    """Files of the table in CONTRIBUTING.md; a module may be a folder of files."""
    module, _, task = METHODS[method].partition(":")
    source = ROOT / Path(*module.split("."))
    files = [*source.glob("*.py"), source.with_suffix(".py")]
    classes = {
        node.name
        for path in files
        if path.exists()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    assert task in classes
    chapter = CHAPTER_OF.get(method, method)
    assignment = ASSIGNMENT_OF.get(chapter, chapter)
    row = [
        ROOT / "mmgen" / "presets" / f"{method.replace('-', '_')}.py",
        *_tests_of(source),
        ROOT / "notebooks" / f"{chapter}.ipynb",
        ROOT / "notebooks" / "assignments" / assignment / f"{assignment}.ipynb",
        ROOT / "tests" / "classroom" / "mistakes" / f"{assignment}.py",
        ROOT / "book" / "exercises" / f"{chapter}.md",
        ROOT / "book" / "api" / f"{module}.md",
    ]
    assert [str(p.relative_to(ROOT)) for p in row if not p.exists()] == []
    assert chapter in _chapters()


def test_every_chapter_is_in_the_book_and_has_exercises():
    written = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(_chapters()) == written
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for chapter in written:
        assert (ROOT / "book" / "exercises" / f"{chapter}.md").exists()
        assert f"book/exercises/{chapter}\n" in toc


def test_every_public_module_has_an_api_page():
    # A package's own page shows what it exports; its other modules need no page.
    lacking = []
    for package in (ROOT / "mmgen" / "models", ROOT / "mmgen" / "layers"):
        for path in package.glob("[a-z]*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            public = f"book/api/{name}.md"
            if not (ROOT / public).exists():
                lacking.append(public)
    assert lacking == []


def test_citations_have_an_entry():
    entries = re.findall(
        r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text("utf-8"), re.M
    )
    assert len(entries) == len(set(entries))
    cited = {
        key.strip()
        for name, text in _texts().items()
        if name.startswith("book/") and name.endswith(".md")
        for group in re.findall(r"\{cite:\w+\}`([^`]+)`", text)
        for key in group.split(",")
    }
    assert cited - set(entries) == set()


def test_glossary_has_both_languages():
    glossary = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in glossary.splitlines()
        if line.startswith("| ") and not line.startswith(("| term", "| ---"))
    ]
    assert len(rows) >= 100
    # the mainland's term, another in brackets, and after a mark Taiwan's if it differs
    term = r"[\w ]*[\u4e00-\u9fff][\w ]*"
    terms = f"{term}(?:、{term})*"
    chinese = re.compile(f"{terms}(?:（{terms}）)?(?:；臺：{terms})?")
    assert [r for r in rows if len(r) != 3 or not chinese.fullmatch(r[1])] == []
    assert [r for r in rows if not r[0] or not r[2]] == []
    names = [row[0] for row in rows]
    assert len(names) == len(set(names))
