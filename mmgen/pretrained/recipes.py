"""How the weights of the book were made: one ``mmgen train …`` each, then measured.

``python -m mmgen.pretrained.recipes NAME`` trains (or goes on with the run that the
folder holds), writes the weights and their card, measures the stored weights, and
writes ``results/NAME.json``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgen.data.files import write_json
from mmgen.pretrained import FOLDER, available, card, save
from mmgen.training.logs import read_history

RESULTS = FOLDER.parent.parent / "results"

_SHAPES = (
    ("--split", "test", "--data-objects", "1"),
    ("--split", "test", "--data-objects", "2"),
    ("--split", "compositional"),
)
_ONE_OBJECT = tuple(
    ("--split", split, "--data-objects", "1") for split in ("test", "compositional")
)
_EMOJI = (("--split", "test"),)
# A matcher is asked in each language, about pictures where they were drawn.
_EMOJI_MATCHING = tuple(
    ("--split", "test", "--language", language, "--data-shift", "0")
    for language in ("en", "zh")
)


@dataclass(frozen=True)
class Recipe:
    """The words behind ``mmgen train``, and behind each ``mmgen evaluate NAME``."""

    train: str
    evaluate: tuple[tuple[str, ...], ...]
    first: str = ""  # another training before, whose weights this one begins with

    def command(self, name: str) -> str:
        """What a reader with a GPU types; the card says what was typed for it."""
        if not self.first:
            return f"mmgen train {self.train}"
        before = _first(Path("runs") / name).as_posix()
        return (
            f"mmgen train {self.first} --out {before} && "
            f"mmgen train {self.train} --start-from {before}"
        )


def _first(out: Path) -> Path:
    """Folder of the first of two trainings, beside that of the second."""
    return out.with_name(f"{out.name}-first")


RECIPES: dict[str, Recipe] = {
    "cgan-shapes64": Recipe("cgan --data shapes --scale full", _SHAPES),
    "cgan-emoji64": Recipe(
        "cgan --data emoji --scale full",
        # combinations never seen, and those of the training
        tuple(
            ("--split", split, "--scorer", "damsm-emoji64")
            for split in ("test", "train")
        ),
    ),
    "damsm-shapes64": Recipe("damsm --data shapes --scale full", _SHAPES),
    "damsm-emoji64": Recipe("damsm --data emoji --scale full", _EMOJI_MATCHING),
    # The judges: trained apart from what they judge, from other first weights.
    "damsm-shapes64-scorer": Recipe(
        "damsm --data shapes --scale full --seed 1", _SHAPES
    ),
    "damsm-emoji64-scorer": Recipe(
        "damsm --data emoji --scale full --seed 1", _EMOJI_MATCHING
    ),
    "vae-shapes64": Recipe("vae --data shapes --scale full", ()),
    "cvae-shapes64": Recipe("cvae --data shapes --scale full", _ONE_OBJECT),
    # Eyes, hands and words of the model before it, so that writing is what is left.
    "mvae-shapes64": Recipe(
        "mvae --data shapes --scale full --joint-prior 320 --batch-size 128 "
        "--steps 4000 --learning-rate 4e-3",
        tuple((*words, "--count", "1000") for words in _ONE_OBJECT),
        first="mvae --data shapes --scale full --start-from runs/cvae-shapes64",
    ),
    "mvae-emoji64": Recipe(
        "mvae --data emoji --data-subset roles --data-split-by combination "
        "--scale full",
        # combinations never seen, and those of the training
        tuple(
            ("--split", split, "--language", language)
            for split in ("test", "train")
            for language in ("en", "zh")
        ),
    ),
    # Its text encoders learn to read before there is anything to draw.
    "attngan-shapes64": Recipe(
        "attngan --data shapes --scale full",
        _SHAPES,
        first="attngan --data shapes --scale full --reading-weight 1 --reading-only "
        "--learning-rate 2e-3 --precision 32-true --batch-size 128 --steps 5000",
    ),
    "attngan-emoji64": Recipe("attngan --data emoji --scale full", _EMOJI),
}


def train(name: str, out: Path, extra: list[str]) -> None:
    """Run a recipe's command, or go on with the run in ``out``.

    Args:
        name: of ``RECIPES``.
        out: folder of the run.
        extra: more options for ``mmgen train``, of both trainings where there are two.
    """
    recipe = RECIPES[name]
    words = shlex.split(recipe.train)
    if recipe.first and not (out / "config.json").exists():
        _go_on(shlex.split(recipe.first), _first(out), extra)
        words += ["--start-from", str(_first(out))]
    _go_on(words, out, extra)


def _go_on(words: list[str], out: Path, extra: list[str]) -> None:
    """``mmgen train``, or the same with ``--resume`` where the folder has a run."""
    if (out / "config.json").exists():
        words = [words[0], "--resume", str(out)]
    else:
        words += ["--out", str(out)]
    _mmgen(["train", *words, *extra])


def publish(name: str, out: Path, weights: Path) -> None:
    """Write weights and card of a run; its metrics come with ``measure``."""
    from mmgen.training import Run

    run = Run.load(out)
    about = json.loads((out / "config.json").read_text(encoding="utf-8"))
    manifest = run.manifest
    known = card(name, weights) if name in available(weights) else {}
    fields = {
        "command": " && ".join(
            shlex.join(["mmgen", *words[1:]]) for words in manifest["commands"]
        ),
        "recipe": RECIPES[name].command(name),
        "data": about["dataset"],
        "task": about["task"],
        "task_config": about["task_config"],
        "training": {k: v for k, v in about["training"].items() if k != "out"},
        "steps": manifest["steps"],
        "minutes": round(manifest["seconds"] / 60, 2),
        "stopped": manifest["stopped"],
        "device": manifest["device"],
        "threads": manifest["threads"],
        "seed": manifest["seed"],
        "torch": manifest["torch"],
        # a run that went on may have gone on with other source
        "commit": " && ".join(map(str, manifest.get("commits", [manifest["commit"]]))),
        "date": manifest["updated"],
        "metrics": known.get("metrics", {}),
    }
    path = save(name, run.sampler(), fields, weights)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def measure(name: str, out: Path, weights: Path, results: Path) -> None:
    """Measure the stored weights; put the figures on the card and into results.

    What the run itself says is kept from the results where its folder is gone.
    """
    file, kept = weights / f"{name}.safetensors", results / f"{name}.json"
    if (out / "manifest.json").exists():
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        rows = read_history(out / "metrics.csv", sys.maxsize)
        of_run = {"manifest": manifest, "last_row": rows[-1] if rows else {}}
    elif kept.exists():
        before = json.loads(kept.read_text(encoding="utf-8"))
        of_run = {key: before[key] for key in ("manifest", "last_row")}
    else:
        sys.exit(f"{out} holds no run, and {kept} does not exist: train it first.")
    reports: dict[str, Any] = {}
    for words in RECIPES[name].evaluate:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "report.json"
            _mmgen(["evaluate", str(file), *words, "--out", str(path)])
            report = json.loads(path.read_text(encoding="utf-8"))
            # by its name: where the file lay is this machine's alone
            reports[" ".join(words)] = {**report, "model": name}
    about = card(name, weights)
    about["metrics"] = {words: report["metrics"] for words, report in reports.items()}
    write_json(file.with_suffix(".json"), about)
    del about["init_args"]  # the vocabulary is long, and stands on the card
    results.mkdir(parents=True, exist_ok=True)
    write_json(kept, {**about, "metrics": reports, **of_run})


def _mmgen(words: list[str]) -> None:
    """Run a command line as a reader would; its output goes where ours goes."""
    print("mmgen " + shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", "mmgen.cli", *words], check=True)


def main() -> None:
    """Train, publish and measure one model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "name", choices=RECIPES, metavar="NAME", help=", ".join(RECIPES)
    )
    parser.add_argument("--out", type=Path, help="folder of the run [runs/NAME]")
    parser.add_argument(
        "--max-minutes", type=float, help="stop training after this time"
    )
    parser.add_argument(
        "--only", choices=("train", "publish", "measure"), help="this step alone"
    )
    parser.add_argument(
        "--weights", type=Path, default=FOLDER, help="folder of the weights"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of the results"
    )
    given, extra = parser.parse_known_args()  # more options for mmgen train
    out = given.out or Path("runs") / given.name
    if given.max_minutes is not None:
        extra += ["--max-minutes", str(given.max_minutes)]
    try:
        if given.only in (None, "train"):
            train(given.name, out, extra)
        if given.only in (None, "publish"):
            publish(given.name, out, given.weights)
        if given.only in (None, "measure"):
            measure(given.name, out, given.weights, given.results)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the command said why


if __name__ == "__main__":
    main()
