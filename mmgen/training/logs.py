"""What a run writes down and shows while it trains."""

from __future__ import annotations

import builtins
import contextlib
import csv
import importlib.util
import io
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.data.files import write_atomically
from mmgen.training.errors import NonFiniteError, TrainingError

Row = dict[str, float]


class Interval:
    """The scalars of the steps since the last row.

    They stay on the device until the row is made: reading them any earlier would make
    the processor wait for the GPU in every step.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[Tensor]] = {}
        self.steps: list[int] = []

    def add(self, step: int, values: dict[str, Tensor]) -> None:
        """Take in the scalars of a step."""
        self.steps.append(step)
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def read(self, world_size: int) -> tuple[Row, str | None]:
        """Means over the steps and the processes; waits for the device once.

        Returns:
            The means, and which loss became NaN or infinite in which step, if one did.
        """
        names = list(self.values)
        if not names:
            return {}, None
        counts = [len(self.values[name]) for name in names]
        flat = torch.stack(
            [value.float() for name in names for value in self.values[name]]
        )
        if world_size > 1:
            torch.distributed.all_reduce(flat)
            flat /= world_size
        columns = flat.cpu().split(counts)
        bad: tuple[int, str] | None = None
        for name, column in zip(names, columns, strict=True):
            if name.rpartition("/")[2] != "loss":
                continue
            wrong = (~torch.isfinite(column)).nonzero()
            if len(wrong):
                position = int(wrong[0])
                step = self.steps[position]
                if bad is None or step < bad[0]:
                    bad = step, f"{name} = {column[position].item()} in step {step}"
        means = {
            name: column.double().mean().item()
            for name, column in zip(names, columns, strict=True)
        }
        self.values, self.steps = {}, []
        return means, bad[1] if bad else None


class Logs:
    """metrics.csv and, where it is installed, TensorBoard.

    Args:
        folder: the run's; None writes nothing.
        history: rows so far; those of a longer run that was cut are left out.
        tensorboard: write TensorBoard logs too.
    """

    def __init__(
        self, folder: Path | None, history: list[Row], tensorboard: bool
    ) -> None:
        self.path = folder / "metrics.csv" if folder else None
        self.history = history
        # of all rows: a clip that came later brought columns which the first one lacks
        self.columns = list(dict.fromkeys(name for row in history for name in row))
        self._writer: Any = None
        if folder and tensorboard and importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            step = int(history[-1]["step"]) if history else 0
            self._writer = SummaryWriter(
                str(folder / "tensorboard"), purge_step=step + 1
            )
        if history:
            self._rewrite()

    def add(self, row: Row) -> None:
        """Append a row; a new column rewrites the file."""
        self.history.append(row)
        if self.path is None:
            return
        new = [name for name in row if name not in self.columns]
        if new:
            self.columns += new
            self._rewrite()
        else:
            text = _csv([row], self.columns)
            try:
                with self.path.open("a", encoding="utf-8", newline="") as file:
                    file.write(text)
            except OSError as error:
                raise unwritable(self.path, error) from error
        if self._writer:
            for name, value in row.items():
                if name != "step":
                    self._writer.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """Flush what is buffered."""
        if self._writer:
            self._writer.close()

    def _rewrite(self) -> None:
        if self.path is None:
            return
        text = ",".join(self.columns) + "\r\n" + _csv(self.history, self.columns)
        try:
            write_atomically(self.path, text.encode())
        except OSError as error:
            raise unwritable(self.path, error) from error


def read_history(path: Path, last_step: int) -> list[Row]:
    """The rows of a metrics.csv up to a step; a row cut short by a kill is left out."""
    if not path.exists():
        return []
    rows: list[Row] = []
    with path.open(encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            if None in record or None in record.values():
                continue
            with contextlib.suppress(ValueError):
                row = {name: float(value) for name, value in record.items() if value}
                if row.get("step", math.inf) <= last_step:
                    rows.append({**row, "step": int(row["step"])})
    return rows


class Progress:
    """A bar in a terminal, a line a minute in a log, or nothing.

    "auto" shows nothing in a notebook's kernel: a cell's output is kept and compared.
    """

    def __init__(self, kind: str, start: int, steps: int) -> None:
        if kind == "auto":
            kind = "none" if _in_notebook() else "line"
            if sys.stderr.isatty():
                kind = "bar"
        self.kind, self.start, self.steps = kind, start, steps
        self._began = self._printed = time.monotonic()
        self._text = ""
        self._bar: Any = None
        if kind == "bar":
            from tqdm import tqdm

            self._bar = tqdm(
                total=steps, initial=start, unit="step", dynamic_ncols=True, leave=True
            )

    def step(self, done: int) -> None:
        """Another step is done."""
        if self._bar is not None:
            self._bar.update()
        elif self.kind == "line" and time.monotonic() - self._printed >= 60:
            self._line(done)

    def row(self, row: Row) -> None:
        """Show the losses of a new row from now on."""
        losses = [
            f"{name} {value:.4g}"
            for name, value in row.items()
            if name.endswith("loss")
        ]
        self._text = "  ".join(losses)
        if self._bar is not None:
            self._bar.set_postfix_str(self._text, refresh=False)

    def say(self, text: str) -> None:
        """Print a message beside the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self.kind == "line":
            print(text, file=sys.stderr, flush=True)

    def close(self, done: int) -> None:
        """The end: the last state of the bar, or a last line."""
        if self._bar is not None:
            self._bar.close()
        elif self.kind == "line":
            self._line(done)

    def _line(self, done: int) -> None:
        self._printed = time.monotonic()
        speed = (done - self.start) / max(self._printed - self._began, 1e-9)
        left = (self.steps - done) / speed / 60 if speed else math.inf
        ending = f"  {left:.1f} min left" if done < self.steps and speed else ""
        print(
            f"step {done}/{self.steps}  {self._text}  {speed:.3g} steps/s{ending}",
            file=sys.stderr,
            flush=True,
        )


def save_grid(path: Path, images: Tensor, columns: int = 8) -> None:
    """Write pictures as one PNG.

    Args:
        path: where to.
        images: shape (B, 3, H, W) in [-1, 1]; others are clipped.
        columns: pictures a row.

    Raises:
        TrainingError: the file cannot be written.
    """
    from PIL import Image

    count, _, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    canvas = torch.full((rows * (height + 2) - 2, columns * (width + 2) - 2, 3), 255)
    pixels = ((images.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round()
    for i, picture in enumerate(pixels.permute(0, 2, 3, 1)):
        top, left = (i // columns) * (height + 2), (i % columns) * (width + 2)
        canvas[top : top + height, left : left + width] = picture
    buffer = io.BytesIO()
    Image.fromarray(canvas.to(torch.uint8).numpy()).save(buffer, format="PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise unwritable(path, error) from error


def non_finite(what: str, last: Path | None) -> NonFiniteError:
    """The error that ends a run whose numbers are no longer numbers."""
    kept = (
        f"Last good checkpoint: {last}."
        if last
        else "No checkpoint had been written before."
    )
    return NonFiniteError(
        f"training stopped: {what}. {kept} Try a lower learning rate, gradient_clip, "
        f"or precision 32-true."
    )


def _csv(rows: list[Row], columns: list[str]) -> str:
    buffer = io.StringIO()
    csv.DictWriter(buffer, columns).writerows(rows)
    return buffer.getvalue()


def unwritable(path: Path, error: OSError) -> TrainingError:
    """The error for a file that cannot be written."""
    return TrainingError(f"{path} cannot be written: {error.strerror or error}.")


def _in_notebook() -> bool:
    shell = getattr(builtins, "get_ipython", None)  # IPython puts it there
    return shell is not None and "IPKernelApp" in shell().config
