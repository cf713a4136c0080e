"""The leaderboard's tables, pictures and plot, made of results when the book is built.

``{leaderboard} PART`` stands for a part of what ``benchmarks/leaderboard.py`` wrote:
``firsts`` who is first in each column, ``scores`` and ``details`` tables that a reader
can sort, ``pictures`` those of the first captions with their verdicts, ``plot``
accuracy against seconds. A model that is measured has its row in each of them.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).resolve().parents[2] / "results" / "benchmarks"
GUTTER = 2  # pixels between the pictures of a file
SIDE = 64  # of a picture
VARIED = 0.5  # of the world's variety: who has less has an open mark in the plot
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A figure of a model; without an interval, both ends are the value."""

    value: float
    text: str
    small: str = ""  # what stands below it, in lines
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The interval that the true value is taken to lie in."""
        low, high = self.low, self.high
        return (
            self.value if low is None else low,
            self.value if high is None else high,
        )


@dataclass(frozen=True)
class Column:
    """A column: how a row's figure is found, and which end of it is the good one."""

    title: str
    cell: Callable[[Row], Cell | None]  # None: it has none
    less_is_better: bool = False
    unit: str = ""
    lacking: str = "not trained"  # what stands in place of a figure

    def leaders(self, rows: Mapping[str, Row]) -> list[str]:
        """The best model, and those whose intervals reach the best one's.

        Where no model gets anything right, nobody leads.
        """
        cells = {name: cell for name, row in rows.items() if (cell := self.cell(row))}
        sign = -1 if self.less_is_better else 1
        order = sorted(cells, key=lambda name: -sign * cells[name].value)
        if not order or cells[order[0]].value == 0:
            return []
        reached = min(sign * end for end in cells[order[0]].ends)
        return [
            name
            for name in order
            if name == order[0]
            or max(sign * end for end in cells[name].ends) >= reached
        ]


def share(*keys: str) -> Callable[[Row], Cell | None]:
    """Finds a share of right pictures in a row, with its interval and n."""

    def cell(row: Row) -> Cell | None:
        found: Any = row
        for key in keys:
            found = (found or {}).get(key)
        if found is None:
            return None
        low, high = found["low"], found["high"]
        small = f"{low:.2f}–{high:.2f}\nn {found['n']:,}"
        return Cell(found["value"], f"{found['value']:.2f}", small, low, high)

    return cell


def coverage(row: Row) -> Cell | None:
    """The share of the world's variety, and in how many pictures it could be seen."""
    found = row["coverage"]["share"]
    value, error = found["value"], found["error"] or 0.0
    if value is None:
        return None
    small = f"± {1.96 * error:.2f}\nreadable\n{row['coverage']['readable']:.2f}"
    low, high = value - 1.96 * error, value + 1.96 * error
    return Cell(value, f"{value:.2f}", small, low, high)


def seconds(at_once: int) -> Callable[[Row], Cell]:
    """Finds the seconds that a picture takes when so many are drawn at once."""

    def cell(row: Row) -> Cell:
        value = row["seconds"][str(at_once)]
        return Cell(value, f"{value:.2g}" if value < 10 else f"{value:.0f}")

    return cell


def parameters(row: Row) -> Cell:
    """Millions of parameters."""
    return Cell(row["parameters"], f"{row['parameters'] / 1e6:.1f}")


def minutes(row: Row) -> Cell:
    """Minutes of training, with those of the models that it was built on."""
    spent = row["minutes"]
    others = spent["all"] - spent["own"]
    small = f"{others:.0f} for\nothers" if others else ""
    return Cell(spent["all"], f"{spent['all']:.0f}", small)


KNOWN = ("one object", "two objects")  # scenes as those of training
QUESTIONS = {  # title of a column -> question
    **{name: name for name in KNOWN},
    "never seen, one": "never seen, one object",
    "never seen, two": "never seen, two objects",
}
ALIKE = ("three alike", "four alike")
TASKS = (
    *("single object", "colours", "two objects"),
    *("counting", "position", "attribute binding"),
)


def columns_of(part: str, report: Mapping[str, Any]) -> list[Column]:
    """The columns of a table."""
    at_once = report["at_once"]
    if part == "scores":
        return [
            *(Column(t, share("questions", name)) for t, name in QUESTIONS.items()),
            Column("six tasks", share("six tasks"), unit="mean"),
            Column("coverage", coverage, False, "of the world's", "not readable"),
            Column("seconds", seconds(at_once), True, "a picture"),
            Column("size", parameters, True, "million parameters"),
            Column("minutes", minutes, True, "of training"),
        ]
    languages = {"en": "English", "zh": "Chinese"}
    return [
        *(Column(name, share("tasks", name)) for name in TASKS),
        *(Column(name, share("questions", name)) for name in ALIKE),
        *(
            Column(name, share("languages", f"{name}, {code}"), unit=language)
            for name in KNOWN
            for code, language in languages.items()
        ),
        Column("seconds", seconds(1), True, "a picture alone"),
    ]


def read_report(results: Path) -> dict[str, Any]:
    """What the benchmark wrote.

    Raises:
        ValueError: there is no such file, it is no JSON, or it has no models.
    """
    path = results / "leaderboard.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if not report["models"]:
            raise ValueError("it has no models")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path.name} cannot be read ({error!r}); python -m "
            f"benchmarks.leaderboard writes it."
        ) from error
    return report


# ------------------------------------------------------------------------------- tables


def table(part: str, report: Mapping[str, Any]) -> str:
    """A sortable table, its rows in the order of its first column."""
    rows = report["models"]
    every = columns_of(part, report)
    columns = [c for c in every if any(c.cell(row) for row in rows.values())]
    empty = [column.title for column in every if column not in columns]
    leaders = [column.leaders(rows) for column in columns]
    order = sorted(rows, key=lambda name: _rank(columns[0].cell(rows[name])))
    heads = "".join(_head(column, i == 0) for i, column in enumerate(columns))
    lines = []
    for name in order:
        cells = "".join(
            _cell(column, rows[name], name in best)
            for column, best in zip(columns, leaders, strict=True)
        )
        lines.append(f"<tr>{_row_head(name, rows[name])}{cells}</tr>")
    after = f"<p>No model was trained for {' or '.join(empty)}.</p>" if empty else ""
    if part == "details":
        after += _trained_on(rows)
    first = '<th scope="col" data-first="ascending">model</th>'
    return (
        '<div class="pst-scrollable-table-container"><table class="table sortable '
        f'leaderboard"><thead><tr>{first}{heads}</tr></thead><tbody>'
        f"{''.join(lines)}</tbody></table></div>{after}"
    )


def _trained_on(rows: Mapping[str, Row]) -> str:
    """On what the models were trained."""
    places: dict[str, list[str]] = {}
    for name, row in rows.items():
        device, threads = row["trained_on"]["device"], row["trained_on"]["threads"]
        many = "thread" if threads == 1 else "threads"
        places.setdefault(f"{device}, {threads} {many}", []).append(_code(name))
    said = [f"{html.escape(place)}: {', '.join(of)}" for place, of in places.items()]
    return f"<p>Trained on: {'; '.join(said)}.</p>"


def _rank(cell: Cell | None) -> float:
    return -cell.value if cell else float("inf")


def _head(column: Column, sorted_by: bool) -> str:
    first = "ascending" if column.less_is_better else "descending"
    now = ' aria-sort="descending"' if sorted_by else ""
    unit = f" <small>{html.escape(column.unit)}</small>" if column.unit else ""
    title = html.escape(column.title)
    return f'<th scope="col" data-first="{first}"{now}>{title}{unit}</th>'


def _row_head(name: str, row: Row) -> str:
    page = f"api/{row['module']}.html"
    return (
        f'<th scope="row" data-value="{name}"><a href="{page}"><code>{short(name)}'
        f"</code></a><small>{html.escape(row['family'])}</small></th>"
    )


def short(name: str) -> str:
    """A model's name without that of its data set."""
    return name.rpartition("-shapes")[0] or name


def _cell(column: Column, row: Row, best: bool) -> str:
    cell = column.cell(row)
    if cell is None:
        return f'<td class="none">{column.lacking}</td>'
    text = f"<strong>{cell.text}</strong>" if best else cell.text
    small = f"<small>{html.escape(cell.small)}</small>" if cell.small else ""
    return f'<td data-value="{cell.value!r}">{text}{small}</td>'


def firsts(report: Mapping[str, Any]) -> str:
    """Who is first in each column of the scores, and who cannot be told from it."""
    rows, lines, winners = report["models"], [], set()
    for column in columns_of("scores", report):
        leaders = column.leaders(rows)
        if not leaders:
            continue
        first, *near = leaders
        winners.add(first)
        cell = column.cell(rows[first])
        assert cell is not None  # it leads
        what = f"{column.title}, {column.unit}" if column.unit else column.title
        line = f"<strong>{html.escape(what)}</strong>: {_code(first)} {cell.text}"
        if near:
            line += f"; too close to tell: {', '.join(map(_code, near))}"
        lines.append(f"<li>{line}</li>")
    many = f"{len(lines)} columns, {len(winners)} different models at their top."
    return f'<ul class="leaderboard">{"".join(lines)}</ul><p>{many}</p>'


def _code(name: str) -> str:
    return f"<code>{html.escape(short(name))}</code>"


# ----------------------------------------------------------------------------- pictures


def pictures(report: Mapping[str, Any], results: Path) -> str:
    """Every model's pictures of the first captions, each with its verdict.

    Raises:
        ValueError: a model whose pictures are not there, or are fewer than verdicts.
    """
    from mmgen.explore.verdicts import SIGNS, UNCLEAR, WRONG

    heads = ['<th scope="col">model</th>']
    for asked in report["captions"]:
        gloss = html.escape(asked["gloss"])
        gloss = f"<small>{gloss}</small>" if gloss else ""
        words = html.escape(asked["caption"])
        lang = asked["language"]
        heads.append(f'<th scope="col"><span lang="{lang}">{words}</span>{gloss}</th>')
    lines = []
    for name, row in report["models"].items():
        shown = _pieces(results / "leaderboard" / f"{name}.png")
        cells = []
        for asked, first in zip(report["captions"], row["first"], strict=True):
            if first["verdict"] is None:
                cells.append('<td class="none">not trained</td>')
                continue
            kind, what = first["verdict"], first["what"]
            try:
                source = next(shown)
            except (StopIteration, OSError) as error:
                raise ValueError(
                    f"the pictures of {name} are missing ({error!r}); python -m "
                    f"benchmarks.leaderboard --only {name} draws them."
                ) from error
            alt = f"What {short(name)} drew for “{asked['caption']}”: {kind}."
            said = f"{SIGNS[kind][1]} " + (what if kind == UNCLEAR else kind)
            said += f": {what}" if kind == WRONG else ""
            cells.append(
                f'<td class="{kind.replace(" ", "-")}"><img src="{source}" '
                f'width="{SIDE}" height="{SIDE}" alt="{html.escape(alt)}">'
                f"<small>{html.escape(said)}</small></td>"
            )
        lines.append(f'<tr><th scope="row">{_code(name)}</th>{"".join(cells)}</tr>')
    return (
        '<div class="pst-scrollable-table-container"><table class="table leaderboard '
        f'pictures"><thead><tr>{"".join(heads)}</tr></thead><tbody>{"".join(lines)}'
        "</tbody></table></div>"
    )


def _pieces(path: Path) -> Iterator[str]:
    """The pictures of a file, from left to right, each as an address of itself."""
    with Image.open(path) as sheet:
        for left in range(0, sheet.width, SIDE + GUTTER):
            buffer = io.BytesIO()
            piece = sheet.crop((left, 0, left + SIDE, SIDE))
            piece.save(buffer, "WEBP", lossless=True, method=6)
            yield _address("image/webp", buffer.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


# --------------------------------------------------------------------------------- plot


def plot(report: Mapping[str, Any]) -> str:
    """Accuracy against seconds a picture, of one object and of two, as an SVG."""
    import matplotlib
    from matplotlib import ticker

    from mmgen.explore import INK, PALETTE, new_figure

    rows = report["models"]
    time = seconds(report["at_once"])
    times = [time(row).value for row in rows.values()]
    figure, axes = new_figure(2, 1, width=6.4, height=7.4)
    for axis, question in zip(axes, KNOWN, strict=True):
        points = {}
        for i, (name, row) in enumerate(rows.items()):
            cell = share("questions", question)(row)
            if cell is None:
                continue
            covered = coverage(row)
            colour = PALETTE[i % len(PALETTE)]
            low, high = cell.ends
            x = time(row).value
            axis.errorbar(
                x,
                cell.value,
                yerr=[[max(cell.value - low, 0)], [max(high - cell.value, 0)]],
                color=colour,
                marker="os^Dv<>pPX"[i % 10],
                markersize=8,
                markerfacecolor=(
                    colour if covered and covered.value >= VARIED else "none"
                ),
                markeredgewidth=1.6,
                elinewidth=1,
                capsize=2,
            )
            points[name] = (x, cell.value)
        axis.set(xscale="log", ylim=(-0.04, 1.04), title=question)
        axis.set_ylabel("right pictures, share")
        axis.set_xlim(min(times) / 1.6, max(times) * 3.5)
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        for name, (x, y, height) in _apart(points).items():
            axis.annotate(
                short(name),
                (x, y),
                (x * 1.14, height),
                va="center",
                fontsize=10,
                color=INK,
            )
    axes[-1].set_xlabel("seconds a picture, on one thread (logarithmic)")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "mmgen"}):  # the same file every time
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    alt = html.escape(plotted(report))
    source = _address("image/svg+xml", buffer.getvalue())
    return (
        f'<img class="leaderboard plot" src="{source}" alt="{alt}"><p>Bars are 95 % '
        "intervals. A filled mark stands for a model that draws at least "
        f"{VARIED:.0%} of the world's variety, an open one for a model that draws "
        "less.</p>"
    )


def plotted(report: Mapping[str, Any]) -> str:
    """What the plot shows, in words."""
    rows = report["models"]
    time = seconds(report["at_once"])
    by_time = sorted(rows, key=lambda name: time(rows[name]).value)
    said = [
        "The share of right pictures against seconds a picture on a logarithmic scale.",
        f"From the fastest to the slowest: {', '.join(map(short, by_time))}.",
    ]
    for question in KNOWN:
        cells = {n: c for n in rows if (c := share("questions", question)(rows[n]))}
        order = sorted(cells, key=lambda name: -cells[name].value)
        told = ", ".join(f"{short(name)} {cells[name].text}" for name in order)
        said.append(f"{question.capitalize()}, from the most right: {told}.")
    varied = [n for n in rows if (c := coverage(rows[n])) and c.value >= VARIED]
    said.append(f"Filled marks, of varied pictures: {', '.join(map(short, varied))}.")
    return " ".join(said)


def _apart(
    points: Mapping[str, tuple[float, float]], least: float = 0.06
) -> dict[str, tuple[float, float, float]]:
    """Heights of the points' names: the nearest at which none covers another."""
    placed: dict[str, tuple[float, float, float]] = {}
    steps = sorted(range(-100, 101), key=abs)
    for name, (x, y) in sorted(points.items(), key=lambda item: item[1][1]):
        taken = [height for other, _, height in placed.values() if 0.25 < x / other < 4]
        placed[name] = (x, y, y)
        for height in (y + step / 100 for step in steps):
            if 0 <= height <= 1 and all(abs(height - t) >= least for t in taken):
                placed[name] = (x, y, height)
                break
    return placed


# ---------------------------------------------------------------------------- directive

PARTS: dict[str, Callable[[Mapping[str, Any], Path], str]] = {
    "firsts": lambda report, _: firsts(report),
    "scores": lambda report, _: table("scores", report),
    "details": lambda report, _: table("details", report),
    "pictures": lambda report, results: pictures(report, results),
    "plot": lambda report, _: plot(report),
}


class Leaderboard(SphinxDirective):
    """``{leaderboard} PART``; the page follows the results."""

    required_arguments = 1

    def run(self) -> Sequence[nodes.Node]:
        """The part as HTML.

        Raises:
            DirectiveError: no such part, or no results.
        """
        part = self.arguments[0]
        if part not in PARTS:
            raise self.error(f"unknown part {part!r}; there are {', '.join(PARTS)}.")
        try:
            made = PARTS[part](read_report(RESULTS), RESULTS)
        except ValueError as error:
            raise self.error(str(error)) from error
        for path in (RESULTS / "leaderboard.json", *RESULTS.glob("leaderboard/*.png")):
            self.env.note_dependency(str(path))
        return [nodes.raw("", made, format="html", classes=["leaderboard"])]


def add_files(
    app: Sphinx, page: str, template: str, context: object, document: nodes.Node | None
) -> None:
    """Load what sorts and dresses the tables, on their page alone."""
    if document is not None and any(
        "leaderboard" in node["classes"] for node in document.findall(nodes.raw)
    ):
        app.add_css_file("leaderboard.css")
        app.add_js_file("sortable.js")


def setup(app: Sphinx) -> dict[str, object]:
    app.add_directive("leaderboard", Leaderboard)
    app.connect("html-page-context", add_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
