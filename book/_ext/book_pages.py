"""What the book's pages need beyond Sphinx.

Figures of notebooks keep their words, docstrings may be written for people, pages may
name a measured number in place of typing it, and no page loads thebe, which would start
its code on another host.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxRole

RESULTS = Path(__file__).resolve().parents[2] / "results"


class AlternativeText(SphinxTransform):
    """Give a notebook's figure the alternative text that was shown with it.

    ``mmgen.explore.show`` puts the words beside the PNG, as the first line of the plain
    text, above numbers that nobody needs to hear. MyST-NB keeps both until it chooses
    one for the page, so they must meet before that.
    """

    default_priority = 900

    def apply(self, **kwargs: object) -> None:
        for bundle in self.document.findall(nodes.container):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            words = [
                c.astext().split("\n")[0]
                for c in bundle
                if c["mime_type"] == "text/plain"
            ]
            pictures = [c for c in bundle if c["mime_type"].startswith("image/")]
            for container in pictures:
                for image in container.findall(nodes.image):
                    image["alt"] = " ".join(words)


# what stays as it is: ``code`` and *one emphasised phrase*
_MARKED = re.compile(r"(``.+?``|(?<!\S)\*[^\s*](?:[^*]*[^\s*])?\*(?!\w))")


def escape_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep Sphinx from reading mathematics in a docstring as its own markup.

    ``*shape``, ``|x|`` and ``W_`` are formulas to a reader and markup to docutils. The
    first line of a property may hold a colon without naming a type before it.
    """
    if what == "property" and lines:
        lines[0] = lines[0].replace(": ", " – ", 1)
    if what == "module":
        _mark_examples(lines)
    literal = -1  # indentation of the line that began a literal block
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= literal:
            literal = -1
        if literal < 0:
            bullet = re.match(r"\s*[*] ", line)
            start = bullet.end() if bullet else 0
            parts = _MARKED.split(line[start:])
            # every second part is marked up on purpose
            parts[::2] = [
                re.sub(r"(?<!\\)([*|]|(?<=\w)_(?!\w))", r"\\\1", part)
                for part in parts[::2]
            ]
            lines[i] = line[:start] + "".join(parts)
            if line.rstrip().endswith("::"):
                literal = indent


def _mark_examples(lines: list[str]) -> None:
    """Make an indented block after a colon an example: what a reader takes it for."""
    for i, line in enumerate(lines[:-2]):
        after = lines[i + 2]
        if (
            re.search(r"[^:]:$", line)
            and not lines[i + 1].strip()
            and len(after) - len(after.lstrip()) > len(line) - len(line.lstrip())
        ):
            lines[i] = line + ":"


def without_thebe(app: Sphinx, config: object) -> None:
    """Disconnect sphinx-thebe, which Jupyter Book always loads.

    It writes its constants into each page twice, which is an error in the browser.
    """
    for event, listeners in app.events.listeners.items():
        app.events.listeners[event] = [
            listener
            for listener in listeners
            if listener.handler.__module__ != "sphinx_thebe"
            # every page names its style sheet, so that one must be there
            or listener.handler.__name__ == "st_static_path"
        ]


def measured(text: str, results: Path = RESULTS) -> tuple[Path, str]:
    """What ``{measured}`` stands for: ``benchmarks/shapes.json > speed > … > ,.0f``.

    Args:
        text: file, keys (of a list, places) down to a number or a string, and its
            format, between ``>``.
        results: folder of the files.

    Returns:
        The file, and the formatted value.

    Raises:
        ValueError: a file, a key or a format that there is not.
    """
    name, *keys, form = (part.strip() for part in text.split(">"))
    path = results / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        for key in keys:
            value = value[int(key) if isinstance(value, list) else key]
        return path, format(value, form)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{text!r} names no measured value: {error!r}") from error


class Measured(SphinxRole):
    """A number that a run or a benchmark wrote; the page follows its file."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            path, value = measured(self.text)
        except ValueError as error:
            said = self.inliner.reporter.error(str(error), line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, said)], [said]
        self.env.note_dependency(str(path))
        return [nodes.Text(value)], []


def setup(app: Sphinx) -> dict[str, object]:
    # before napoleon, which writes markup of its own
    app.connect("autodoc-process-docstring", escape_docstring, priority=100)
    app.connect("config-inited", without_thebe, priority=1)
    app.add_transform(AlternativeText)
    app.add_role("measured", Measured())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
