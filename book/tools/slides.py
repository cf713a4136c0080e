"""Turn the chapters into slides that need no network: build/slides/NAME.html.

    python book/tools/slides.py                 all chapters
    python book/tools/slides.py notebooks/vae.ipynb

A section of the chapter begins a slide, and goes on below it (press Space) where one
does not hold it. What a class should look at goes onto it: headings, equations, lists,
tables, the sentences that a bold word opens, and figures; code only where the cell
carries the tag ``slide``. The full text becomes the speaker's notes (press S).
"""

from __future__ import annotations

import math
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
window.MathJax = {
  tex: {inlineMath: [["$", "$"]], displayMath: [["$$", "$$"]]},
  startup: {ready() {
    MathJax.startup.defaultReady();
    // nbconvert's page asks MathJax 2 to draw hidden formulas again; 3 need not
    MathJax.Hub = {getAllJax: () => false};
  }},
};
</script>
<script src="lib/mathjax/tex-mml-chtml.js" defer></script>
<style>
.reveal { font-size: 25px; }
.reveal h1, .reveal h2, .reveal h3 { text-transform: none; margin: 0 0 18px; }
.reveal h1 { font-size: 44px; } .reveal h2, .reveal h3 { font-size: 34px; }
.reveal .jp-RenderedHTMLCommon { font-size: 25px; overflow: visible; }
.reveal .jp-RenderedHTMLCommon > *:not(h1, h2, h3) { margin: 0 0 14px; }
.reveal .jp-RenderedHTMLCommon table { font-size: 20px; }
.reveal .jp-RenderedImage { text-align: center; }
.reveal .jp-RenderedImage img { max-height: 540px; width: auto; margin: 0 auto; }
.reveal .jp-InputPrompt, .reveal .jp-OutputPrompt { display: none; }
.reveal section .jp-InputArea-editor { font-size: 17px; }
</style>
</head>"""


class Deck:
    """Slides under way: blocks are packed until one is full.

    Weights are lines of text, roughly; a slide of 700 pixels takes ``FULL`` of them.
    """

    FULL = 12.0

    def __init__(self) -> None:
        self.cells: list[NotebookNode] = []
        self.heading = ""
        self.kind = "slide"
        self.blocks: list[str] = []
        self.notes: list[str] = []
        self.weight = 0.0

    def add(self, block: str) -> None:
        """Put a block onto the slide, or onto a new one that repeats the heading."""
        size = weight(block)
        if self.blocks and self.weight + size > self.FULL:
            self.finish()
        self.blocks.append(block)
        self.weight += size

    def begin(self, heading: str) -> None:
        """Begin a section."""
        self.finish()
        self.heading = heading
        self.kind = "subslide" if heading.startswith("###") else "slide"

    def finish(self, cell: NotebookNode | None = None) -> None:
        """Close the slide; ``cell`` is a figure that fills one of its own."""
        if self.blocks:
            self._slide("\n\n".join([self.heading, *self.blocks]))
        if cell is not None:
            self._slide(self.heading)
            cell.metadata["slideshow"] = {"slide_type": "-"}
            self.cells.append(cell)
        if self.notes and (self.blocks or cell is not None):
            notes = nbformat.v4.new_markdown_cell("\n\n".join(self.notes))
            notes.metadata["slideshow"] = {"slide_type": "notes"}
            self.cells.append(notes)
            self.notes = []
        self.blocks, self.weight = [], 2.0

    def _slide(self, text: str) -> None:
        slide = nbformat.v4.new_markdown_cell(text)
        slide.metadata["slideshow"] = {"slide_type": self.kind}
        self.kind = "subslide"
        self.cells.append(slide)


def weight(block: str) -> float:
    """Lines that a block takes on a slide."""
    if block.startswith("$$"):
        return 2.6 + 1.6 * block.count(r"\\")
    if block.startswith("!["):
        return Deck.FULL
    lines = block.splitlines()
    if block.startswith("|"):
        return 1.8 * (len(lines) - 1)
    items = re.split(r"\n(?=[-*] |\d+\. )", block)
    return sum(0.4 + math.ceil(len(item) / 72) for item in items)


def parts(block: str) -> list[str]:
    """What of a block belongs onto a slide, in pieces that each fit on one."""
    if block.startswith(("$$", "| ", "![")):
        return [block]
    if re.match(r"[-*] |\d+\. ", block):
        return re.split(r"\n(?=[-*] |\d+\. )", block)
    if block.startswith("**"):  # what a bold word opens: a few sentences
        text = " ".join(block.split())
        return [" ".join(re.split(r"(?<=[.?!:])\s+(?=[A-Z*$(])", text)[:5])]
    return []


def arrange(notebook: NotebookNode) -> NotebookNode:
    """The notebook's cells as slides, with notes behind them."""
    deck = Deck()
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            for block in re.split(r"\n\s*\n", cell.source.strip()):
                if block.startswith("#"):
                    deck.begin(block.splitlines()[0])
                else:
                    deck.notes.append(block)
                    for part in parts(block):
                        deck.add(part)
        else:
            pictures = [o for o in cell.outputs if "image/png" in o.get("data", {})]
            if "slide" in tags:
                cell.outputs = []
                deck.finish(cell)
            elif pictures:
                cell.outputs = pictures
                cell.metadata["transient"] = {"remove_source": True}
                deck.finish(cell)
    deck.finish()
    title = re.search(r"^# (.+)", notebook.cells[0].source, flags=re.M)
    notebook.metadata["title"] = title[1] if title else "Slides"
    notebook.cells = deck.cells
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
