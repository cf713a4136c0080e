"""Turn the chapters into slides that need no network: build/slides/NAME.html.

    python book/tools/slides.py                 all chapters
    python book/tools/slides.py notebooks/vae.ipynb

A section of the chapter begins a slide. What a class should look at goes onto it: its
headings, equations, lists, tables, sentences that open with a bold word, and figures;
code only where the cell carries the tag ``slide``. The full text becomes the speaker's
notes (press S).
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from vendor import VENDOR, download
from vendor import main as fetch_vendor

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "slides"
PACKAGES = ("reveal.js@4.6.1", "requirejs@2.3.7", "jquery@3.7.1")
MATHJAX = """<script>
window.MathJax = {tex: {inlineMath: [["$", "$"]], displayMath: [["$$", "$$"]]}};
</script>
<script src="lib/mathjax/tex-mml-chtml.js" defer></script>
<style>
.reveal { font-size: 26px; } .reveal h2, .reveal h3 { text-transform: none; }
.reveal .jp-RenderedHTMLCommon { font-size: 26px; overflow: visible; }
.reveal .jp-RenderedImage img { max-height: 62vh; width: auto; }
.reveal .jp-InputPrompt, .reveal .jp-OutputPrompt { display: none; }
.reveal section .jp-InputArea-editor { font-size: 17px; }
</style>
</head>"""


def shown(markdown: str) -> str:
    """The parts of a text cell that belong onto a slide."""
    blocks = re.split(r"\n\s*\n", markdown.strip())
    marks = ("#", "$$", "- ", "* ", "1. ", "| ", "**", "![")
    return "\n\n".join(block for block in blocks if block.startswith(marks))


def arrange(notebook: NotebookNode) -> NotebookNode:
    """The notebook's cells as slides, with notes behind them."""
    cells = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            text, kind = shown(cell.source), "-"
            if cell.source.startswith(("# ", "## ")):
                kind = "slide"
            elif cell.source.startswith("### "):
                kind = "subslide"
            if text:
                new = nbformat.v4.new_markdown_cell(text)
                new.metadata["slideshow"] = {"slide_type": kind}
                cells.append(new)
            if text != cell.source.strip():
                notes = nbformat.v4.new_markdown_cell(cell.source)
                notes.metadata["slideshow"] = {"slide_type": "notes"}
                cells.append(notes)
        elif cell.cell_type == "code":
            pictures = [
                output
                for output in cell.outputs
                if "image/png" in output.get("data", {})
            ]
            if pictures:
                cell.outputs = pictures
                cell.metadata["slideshow"] = {"slide_type": "subslide"}
            elif "slide" in tags:
                cell.outputs = []
                cell.metadata["slideshow"] = {"slide_type": "subslide"}
            else:
                continue
            if "slide" not in tags:
                cell.metadata["transient"] = {"remove_source": True}
            cells.append(cell)
    notebook.cells = cells
    notebook.metadata.pop("widgets", None)  # sliders stay in the book
    return notebook


def convert(path: Path) -> Path:
    """Write the slides of one chapter."""
    exporter = SlidesExporter(
        reveal_url_prefix="lib/reveal.js",
        require_js_url="lib/requirejs/require.js",
        jquery_url="lib/jquery/dist/jquery.min.js",
        font_awesome_url="",
        mathjax_url="",
        mermaid_js_url="",
        reveal_theme="white",
        reveal_transition="none",
        reveal_number="c/t",
    )
    page, _ = exporter.from_notebook_node(arrange(nbformat.read(path, as_version=4)))
    # Nothing of the page may come from another host, and MathJax is our own copy.
    page = re.sub(r'<(?:link|script)[^>]*(?:href|src)=""[^>]*>(?:</script>)?', "", page)
    page = re.sub(
        r'<script type="module">.*?mermaid.*?</script>', "", page, count=1, flags=re.S
    )
    target = OUT / f"{path.stem}.html"
    target.write_text(page.replace("</head>", MATHJAX, 1), encoding="utf-8")
    return target


def fetch() -> None:
    """Put reveal.js and what it needs beside the slides, once."""
    fetch_vendor()
    stamp = OUT / "lib" / "versions.txt"
    versions = "\n".join(PACKAGES) + "\n"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == versions:
        return
    with tempfile.TemporaryDirectory() as folder:
        packages = download(Path(folder), PACKAGES)
    packages["mathjax"] = {
        str(path.relative_to(VENDOR / "mathjax")): path.read_bytes()
        for path in (VENDOR / "mathjax").rglob("*")
        if path.is_file()
    }
    wanted = ("dist/", "plugin/notes/", "require.js", "tex-", "output/")
    for name, files in packages.items():
        for path, content in files.items():
            if path.startswith(wanted):
                target = OUT / "lib" / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    stamp.write_text(versions, encoding="utf-8")


def main() -> None:
    chapters = [Path(word) for word in sys.argv[1:]]
    chapters = chapters or sorted((ROOT / "notebooks").glob("*.ipynb"))
    OUT.mkdir(parents=True, exist_ok=True)
    fetch()
    for chapter in chapters:
        target = convert(chapter)
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
