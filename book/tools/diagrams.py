"""Draw the chapters' diagrams: networks as boxes, tensors as labelled arrows, as SVG.

    python book/tools/diagrams.py            writes book/figures/NAME.svg, all of them
    python book/tools/diagrams.py cgan       one

Every diagram is 400 units wide, the width of a phone, and stands on a light card, so
that it reads the same in either theme. Its description is its alternative text.
"""

from __future__ import annotations

import argparse
import html
import importlib
import pkgutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 400
SIDE = 18.0  # left free, for arrows that go round
CARD, INK, EDGE = "#fbfaf6", "#26262b", "#8a8a8a"
# what a box is: its paper, its border, and whether the border is dashed
KINDS = {
    "network": ("#dcebf5", "#0072b2", False),  # has weights that are trained
    "frozen": ("#eeeeea", "#6b6b6b", True),  # has weights that are not
    "tensor": ("#ffffff", "#26262b", False),  # given, drawn or made
    "loss": ("#fbe5da", "#b34f00", False),  # a number that is minimised
}
TEXT, SMALL, LINE = 13, 11.5, 15
LETTER = 0.56  # of a font's size: the mean width of a letter
FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Box:
    """A box of a diagram, placed by the middle of its upper edge."""

    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float
    kind: str

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass
class Diagram:
    """Rows of boxes from top to bottom, joined by arrows.

    Args:
        title: what it shows, for the picture's own title.
        description: the alternative text: what a reader who cannot see it must know.
    """

    title: str
    description: str
    boxes: dict[str, Box] = field(default_factory=dict)
    _parts: list[str] = field(default_factory=list)
    _arrows: list[str] = field(default_factory=list)
    _y: float = 12

    def row(self, gap: float = 40, **boxes: tuple[str, str] | tuple[str, str, float]):
        """A row of boxes below the last one.

        Args:
            gap: below the row, for arrows and their labels.
            boxes: name -> (kind, text) or (kind, text, weight): lines of the text are
                parted by a line feed, shapes stand on a line of their own; the weight
                is the share of the width, 1 by default.
        """
        weights = [box[2] if len(box) == 3 else 1.0 for box in boxes.values()]
        room = WIDTH - 2 * SIDE - 12 * (len(boxes) - 1)
        left, height = SIDE, 0.0
        placed = []
        for (name, (kind, text, *_)), weight in zip(
            boxes.items(), weights, strict=True
        ):
            lines = tuple(text.split("\n"))
            width = room * weight / sum(weights)
            widest = max(len(line) for line in lines) * LETTER * TEXT
            if widest > width - 8:
                raise ValueError(
                    f"{name!r} has a line of about {widest:.0f} units in a box of "
                    f"{width:.0f}: {max(lines, key=len)!r}."
                )
            if kind not in KINDS:
                raise ValueError(f"kind must be one of {list(KINDS)}; got {kind!r}.")
            height = max(height, LINE * len(lines) + 12)
            placed.append((name, kind, lines, left + width / 2, width))
            left += width + 12
        for name, kind, lines, x, width in placed:
            if name in self.boxes:
                raise ValueError(f"{name!r} is the name of two boxes.")
            self.boxes[name] = Box(lines, x, self._y, width, height, kind)
        self._y += height + gap

    def arrow(
        self,
        start: str,
        end: str,
        label: str = "",
        *,
        side: str = "",
    ) -> None:
        """An arrow from a box down to another, or along a row to its neighbour.

        Args:
            start, end: names of boxes.
            label: what flows, usually a shape; beside the arrow's middle.
            side: "left" or "right": goes round the boxes between on this side.
        """
        a, b = self.boxes[start], self.boxes[end]
        if side:
            self._round(a, b, label, side)
            return
        if a.y == b.y:  # along a row
            sign = 1 if b.x > a.x else -1
            x1, x2 = a.x + sign * a.width / 2, b.x - sign * b.width / 2
            y = a.y + a.height / 2
            self._line([(x1, y), (x2, y)])
            self._label((x1 + x2) / 2, y - 5, label, "middle")
            return
        x1 = min(max(b.x, a.x - a.width / 2 + 12), a.x + a.width / 2 - 12)
        x2 = min(max(x1, b.x - b.width / 2 + 12), b.x + b.width / 2 - 12)
        points = [(x1, a.bottom), (x2, b.y)]
        if x1 != x2:
            half = (a.bottom + b.y) / 2
            points = [(x1, a.bottom), (x1, half), (x2, half), (x2, b.y)]
        self._line(points)
        long = len(label) * LETTER * SMALL
        anchor, x = ("start", x2 + 6) if x2 + 6 + long < WIDTH - 4 else ("end", x2 - 6)
        self._label(x, (a.bottom + b.y) / 2 + 4, label, anchor)

    def arrows(self, *pairs: tuple[str, str]) -> None:
        """Arrows without labels, each from the first box of a pair to the second."""
        for start, end in pairs:
            self.arrow(start, end)

    def note(self, text: str) -> None:
        """A line of small text below the last row."""
        for line in text.split("\n"):
            self._parts.append(_text(WIDTH / 2, self._y - 18, line, SMALL, "middle"))
            self._y += LINE

    def _round(self, a: Box, b: Box, label: str, side: str) -> None:
        sign = -1 if side == "left" else 1
        edge = WIDTH / 2 + sign * (WIDTH / 2 - 7)
        y1, y2 = a.y + a.height / 2, b.y + b.height / 2
        x1, x2 = a.x + sign * a.width / 2, b.x + sign * b.width / 2
        self._line([(x1, y1), (edge, y1), (edge, y2), (x2, y2)])
        anchor = "start" if side == "left" else "end"
        self._label(edge - sign * 5, (y1 + y2) / 2 + 4, label, anchor)

    def _line(self, points: list[tuple[float, float]]) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._arrows.append(
            f'<polyline points="{path}" fill="none" stroke="{INK}" '
            f'stroke-width="1.4" marker-end="url(#head)"/>'
        )

    def _label(self, x: float, y: float, text: str, anchor: str) -> None:
        if text:
            self._arrows.append(_text(x, y, text, SMALL, anchor, halo=True))

    def svg(self) -> str:
        """The whole file."""
        height = self._y
        boxes = []
        for box in self.boxes.values():
            paper, border, dashed = KINDS[box.kind]
            dash = ' stroke-dasharray="4 3"' if dashed else ""
            radius = 3 if box.kind == "tensor" else 8
            boxes.append(
                f'<rect x="{box.x - box.width / 2:.1f}" y="{box.y:.1f}" '
                f'width="{box.width:.1f}" height="{box.height:.1f}" rx="{radius}" '
                f'fill="{paper}" stroke="{border}" stroke-width="1.4"{dash}/>'
            )
            first = box.y + (box.height - LINE * len(box.lines)) / 2 + LINE - 3.5
            for i, line in enumerate(box.lines):
                boxes.append(_text(box.x, first + LINE * i, line, TEXT, "middle"))
        head = (
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" '
            f'width="{1.2 * WIDTH:.0f}" height="{1.2 * height:.0f}" '
            f'font-family="{FONT}" role="img">'
        )
        return "\n".join(
            [
                head,
                f"<title>{html.escape(self.title)}</title>",
                f"<desc>{html.escape(self.description)}</desc>",
                '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" '
                f'markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L8,4 '
                f'L0,8 Z" fill="{INK}"/></marker></defs>',
                f'<rect width="{WIDTH}" height="{height:.0f}" rx="6" fill="{CARD}"/>',
                *self._arrows,
                *boxes,
                *self._parts,
                "</svg>",
                "",
            ]
        )


def _text(
    x: float, y: float, text: str, size: float, anchor: str, halo: bool = False
) -> str:
    back = (
        f' stroke="{CARD}" stroke-width="4" paint-order="stroke" '
        'stroke-linejoin="round"'
        if halo
        else ""
    )
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{INK}"{back}>{html.escape(text)}</text>'
    )


def diagrams() -> dict[str, Diagram]:
    """All diagrams of the book by name: one module of ``figures_of`` a chapter."""
    package = importlib.import_module("figures_of")
    found: dict[str, Diagram] = {}
    for module in pkgutil.iter_modules(package.__path__):
        drawn = importlib.import_module(f"figures_of.{module.name}").DIAGRAMS
        found.update(drawn)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="all by default")
    names = parser.parse_args().names
    sys.path.insert(0, str(Path(__file__).parent))
    for name, diagram in diagrams().items():
        if not names or name in names:
            path = ROOT / "book" / "figures" / f"{name}.svg"
            path.write_text(diagram.svg(), encoding="utf-8")
            print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
