"""A class or a function of the package, shown in a chapter as it is."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any


def shortened(thing: Any) -> str:
    """The source of a class or function, docstrings cut to their first line.

    Args:
        thing: a class, a function or a method, not decorated beyond recognition.

    Raises:
        TypeError: something that has no source, such as an instance.
    """
    text = textwrap.dedent(inspect.getsource(thing))
    lines = text.splitlines()
    for node in reversed(list(ast.walk(ast.parse(text)))):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        start, end = node.body[0].lineno - 1, node.body[0].end_lineno
        if ast.get_docstring(node) and end is not None and end > start + 1:
            lines[start:end] = [lines[start].rstrip() + '"""']
    return "\n".join(lines)


class Source:
    """Code to display: highlighted in Jupyter and in the book, plain in a terminal."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}\n```"


def source(*things: Any) -> Source:
    """Source code of the package, so that a chapter cannot drift from it.

    Args:
        things: classes, functions or methods, e.g. ``cgan.Generator``. Of their
            docstrings only the first line is kept.

    Returns:
        What a cell displays; make it the last line of the cell.

    Raises:
        TypeError: something that has no source, such as an instance.
    """
    return Source("\n\n\n".join(shortened(thing) for thing in things))
