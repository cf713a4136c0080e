"""Tables of measured values, with their intervals, as HTML and as text."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from mmgen.explore.settings import results
from mmgen.metrics.interval import Proportion

# how published weights were measured, in the words of the files of results
DATA = {
    "one object": "--split test --data-objects 1",
    "two objects": "--split test --data-objects 2",
    "new combinations": "--split compositional",
}
NOTHING = "–"


class Table:
    """Rows by columns; the last line of a cell displays it.

    Args:
        cells: for each row its name and a value for each column, already formatted: the
            value and, or "", its interval.
        columns: their names.
        title: what the values are.
        note: what holds for all values.
        corner: what the rows are.
    """

    def __init__(
        self,
        cells: Mapping[str, Sequence[tuple[str, str]]],
        columns: Sequence[str],
        title: str = "",
        note: str = "",
        corner: str = "",
    ) -> None:
        self.cells, self.columns = cells, columns
        self.title, self.note, self.corner = title, note, corner

    def __repr__(self) -> str:
        rows = [[self.corner, *self.columns]]
        for name, cells in self.cells.items():
            rows.append([name, *(" ".join(cell).strip() for cell in cells)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                text.ljust(width) if i == 0 else text.rjust(width)
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([line for line in [self.title, *lines, self.note] if line])

    def _repr_html_(self) -> str:
        # "dataframe" is what Jupyter and the book's theme know how to show, dark too
        parts = ['<table class="dataframe mmgen-table">']
        if self.title:
            parts.append(f"<caption>{html.escape(self.title)}</caption>")
        heads = "".join(
            f'<th scope="col">{html.escape(name)}</th>' for name in self.columns
        )
        parts.append(
            f"<thead><tr><td>{html.escape(self.corner)}</td>{heads}</tr></thead>"
        )
        parts.append("<tbody>")
        for name, cells in self.cells.items():
            row = "".join(f"<td>{_cell(*cell)}</td>" for cell in cells)
            parts.append(f'<tr><th scope="row">{html.escape(name)}</th>{row}</tr>')
        parts.append("</tbody>")
        if self.note:
            parts.append(
                f'<tfoot><tr><td colspan="{len(self.columns) + 1}">'
                f"<small>{html.escape(self.note)}</small></td></tr></tfoot>"
            )
        parts.append("</table>")
        return "\n".join(parts)


def _cell(value: str, interval: str) -> str:
    value = html.escape(value)
    return f"{value}<br><small>{html.escape(interval)}</small>" if interval else value


def _parts(value: Any, digits: int) -> tuple[str, str, int | None]:
    """A value, its interval and its number of trials, as they are printed."""
    if isinstance(value, Proportion):
        value = value.to_json()
    if value is None:
        return NOTHING, "", None
    if isinstance(value, Mapping):
        share, low, high = (f"{value[k]:.{digits}f}" for k in ("value", "low", "high"))
        return share, f"[{low}, {high}]", value.get("n")
    if isinstance(value, float):
        return f"{value:.{digits}f}", "", None
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}", "", None
    return str(value), "", None


def table(
    rows: Mapping[str, Mapping[str, Any]],
    title: str = "",
    note: str = "",
    corner: str = "",
    digits: int = 2,
) -> Table:
    """Values in rows and columns, proportions with their 95 % intervals.

    Args:
        rows: for each row its values by column: a ``Proportion`` or its JSON, a number,
            a text, or None where there is none. Columns stand in the order in which
            they first occur; a row may lack some.
        title: what the values are.
        note: what holds for all of them; how many trials the proportions have is said
            by the table itself.
        corner: what the rows are.
        digits: after the point.

    Returns:
        What a cell displays; make it the last line of the cell.

    Raises:
        ValueError: no rows, or no columns.
    """
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not columns:
        raise ValueError("rows must hold at least one value; got none.")
    trials: set[int] = set()
    cells: dict[str, list[tuple[str, str]]] = {}
    for name, row in rows.items():
        cells[name] = []
        for column in columns:
            share, interval, count = _parts(row.get(column), digits)
            cells[name].append((share, interval))
            if count is not None:
                trials.add(int(count))
    if trials:
        few, many = min(trials), max(trials)
        counted = f"n = {many:,}" if few == many else f"n = {few:,} to {many:,}"
        note = " ".join([f"In brackets 95 % intervals; {counted}.", note]).strip()
    return Table(cells, columns, title, note, corner)


def compare(
    models: Mapping[str, str],
    *keys: str,
    data: Mapping[str, str] = DATA,
    title: str = "",
    note: str = "",
    digits: int = 2,
) -> Table:
    """What published weights were measured at: rows by data, columns by model.

    Args:
        models: for each column its name, and whose file in ``results`` it reads.
        keys: of a metric in that file, down to a value or a proportion, e.g.
            "semantic_accuracy", "overall".
        data: for each row its name, and the words that the model was measured with.
        title, note, digits: as for ``table``.

    Returns:
        The table; where a model was not measured so, it says nothing.

    Raises:
        ValueError: a model without a file, or keys that no file has.
    """
    files = {name: results(model)["metrics"] for name, model in models.items()}
    rows: dict[str, dict[str, Any]] = {}
    for row, words in data.items():
        for name, metrics in files.items():
            value: Any = metrics.get(words, {}).get("metrics", {})
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            rows.setdefault(row, {})[name] = value
    if all(value is None for row in rows.values() for value in row.values()):
        raise ValueError(
            f"no file of {list(models.values())} holds {' > '.join(keys)}."
        )
    return table(rows, title, note, digits=digits)
