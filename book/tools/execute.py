"""Run the chapters' notebooks and write their outputs the same way every time.

    python book/tools/execute.py                    all of notebooks/*.ipynb
    python book/tools/execute.py notebooks/vae.ipynb
    python book/tools/execute.py --normalise-only   leaves the outputs as they are

A notebook is written only when all of its cells ran. What differs from run to run and
means nothing (times, widget identifiers, the patch version of Python) is taken out, so
that a difference in version control is a difference in what the chapter says.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
COLUMNS = 88
LARGE = 45_000  # bytes of a figure that is stored in fewer colours
# The chapters' outputs are those of one thread at laptop scale on a CPU, wherever they
# are made: sums are added up in another order with more threads.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MMGEN_SCALE": "laptop",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONHASHSEED": "0",
}


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run every cell in order in a fresh kernel, keeping the state of the widgets."""
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=True,
        # By default what a busy machine delivers more than four seconds after a cell
        # ended is dropped without a word.
        iopub_timeout=600,
        raise_on_iopub_timeout=True,
    ).execute()


def normalise(notebook: nbformat.NotebookNode, name: str) -> None:
    """Take out what two runs of the same notebook do not share."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    widgets = notebook.metadata.get("widgets", {}).get(WIDGET_STATE)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )
    for i, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _small(output.data["image/png"])
        cell["id"] = f"{name}-{i + 1:02d}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    if widgets:
        _normalise_widgets(notebook, widgets, name)


def few_colours(image: Image.Image) -> Image.Image:
    """A picture in 256 colours, chosen so that rare ones are kept.

    The usual median cut gives most of them to what covers most, such as backgrounds,
    and makes a small orange star red.
    """
    return image.convert("RGB").quantize(
        256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE
    )


def _small(figure: str) -> str:
    """A large figure, as base64, in the 256 colours that suit it best.

    Grids of generated pictures hold more colours than an eye tells apart, and a
    chapter is to stay under 1.5 MB.
    """
    content = base64.b64decode(figure)
    image = Image.open(io.BytesIO(content))
    if len(content) < LARGE or image.mode == "P":
        return figure
    buffer = io.BytesIO()
    few = few_colours(image)
    few.save(buffer, "PNG", optimize=True, dpi=image.info.get("dpi"))
    return base64.b64encode(buffer.getvalue()).decode()


def fit_page(notebook: nbformat.NotebookNode) -> None:
    """Format the cells whose code is wider than the page; the others stay as written.

    A hand-set column of comments is worth keeping where it fits.
    """
    for cell in notebook.cells:
        if cell.cell_type != "code" or all(
            len(line) <= COLUMNS for line in cell.source.splitlines()
        ):
            continue
        formatted = subprocess.run(
            [sys.executable, "-m", "ruff", "format", f"--line-length={COLUMNS}", "-"],
            input=cell.source,
            capture_output=True,
            text=True,
            check=True,
        )
        cell.source = formatted.stdout.rstrip("\n")


def _normalise_widgets(
    notebook: nbformat.NotebookNode, widgets: dict, name: str
) -> None:
    """Keep the widgets that are shown, under identifiers counted from the top."""
    state = widgets["state"]
    shown = [
        output.data[WIDGET_VIEW]["model_id"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if WIDGET_VIEW in output.get("data", {})
    ]
    order: list[str] = []

    def visit(model: str) -> None:
        if model not in order:
            order.append(model)
            for other in _references(state[model]):
                visit(other)

    for model in shown:
        visit(model)
    # A link in the browser hangs on nothing; it stays where both of its ends stay.
    links = []
    for model, entry in state.items():
        ends = _references([entry["state"].get("source"), entry["state"].get("target")])
        if len(ends) == 2 and all(end in order for end in ends):
            links.append(([order.index(end) for end in ends], model))
    for _, model in sorted(links):
        visit(model)
    # All at once: a new identifier may be another model's old one.
    numbers = {
        model: hashlib.md5(f"{name}/{i}".encode()).hexdigest()
        for i, model in enumerate(order)
    }
    text = json.dumps({"state": {model: state[model] for model in order}})
    text = re.sub("|".join(numbers), lambda found: numbers[found.group()], text)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(WIDGET_VIEW)
            if view:
                view["model_id"] = numbers[view["model_id"]]
    notebook.metadata["widgets"] = nbformat.from_dict(
        {
            WIDGET_STATE: {
                "version_major": widgets["version_major"],
                "version_minor": widgets["version_minor"],
                **json.loads(text),
            }
        }
    )


def _references(value: object) -> list[str]:
    """Identifiers of the widgets that a widget's state points to."""
    if isinstance(value, str) and value.startswith("IPY_MODEL_"):
        return [value.removeprefix("IPY_MODEL_")]
    if isinstance(value, dict):
        # in the order of a written file, so that a second pass counts as the first did
        return [found for _, v in sorted(value.items()) for found in _references(v)]
    if isinstance(value, list | tuple):
        return [found for v in value for found in _references(v)]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all by default")
    parser.add_argument("--normalise-only", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    paths = arguments.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))
    os.environ.update(ENVIRONMENT)
    failed = []
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        start = time.monotonic()
        if not arguments.normalise_only:
            try:
                execute(notebook, path.resolve().parent)
            except CellExecutionError as error:
                print(f"{path}: a cell failed; the file is left as it was\n{error}")
                failed.append(path)
                continue
        normalise(notebook, path.stem)
        fit_page(notebook)
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
        size = path.stat().st_size / 1e6
        print(f"{path}: {time.monotonic() - start:.0f} s, {size:.2f} MB", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
