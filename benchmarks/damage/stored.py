"""Checkpoints, cards and manifests, damaged in storage or changed by hand.

A tiny run and the same model as published weights are made once; every attempt damages
one file of a copy and uses the copy as a reader would: it draws with it, asks about it,
loads it, or goes on with the run. Hashes are noted anew for half of the attempts, so
that the readers behind them are reached too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import pickle
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.damage import DAMAGES, Tally
from mmgen import pretrained
from mmgen.cli import main
from mmgen.errors import MmgenError
from mmgen.presets import find, fit_preset
from mmgen.training import Run

REFUSALS = (MmgenError, ValueError, OSError)
NAME = "tiny"  # of the weights
QUIET = ("--progress", "none", "--no-tensorboard")
DEEP = "@deep@"  # stands for lists in lists, deeper than Python's own reader goes
CANARY_MODULE = "benchmark_canary"  # a module that writes a file when it is imported
# File of the run or of the weights -> what uses it. Files that are large or read often
# come more than once.
CHECKPOINT = "run/checkpoints/step-00000002"
FILES = (
    f"{NAME}.safetensors",
    f"{NAME}.json",
    f"{NAME}.json",
    "run/sampler.safetensors",
    "run/sampler.json",
    "run/config.json",
    "run/config.json",
    "run/manifest.json",
    "run/vocabulary.json",
    "run/metrics.csv",
    f"{CHECKPOINT}/checkpoint.json",
    f"{CHECKPOINT}/weights.safetensors",
    f"{CHECKPOINT}/average.safetensors",
    f"{CHECKPOINT}/state.pt",
)


def tried(count: int, seed: int, folder: Path) -> list[Tally]:
    """Damage stored models and use them.

    Args:
        count: attempts in all.
        seed: of what is damaged, and how.
        folder: an empty one, for the copies.

    Returns:
        What became of each kind of damage.
    """
    whole = folder / "whole"
    _make(whole)
    canary = folder / "EXECUTED"
    _module(folder, canary)
    kinds: dict[str, Callable[[Path, str, random.Random], None]] = {
        **{
            name: lambda place, file, draw, harm=harm: _harm(place / file, harm, draw)
            for name, harm in DAMAGES.items()
        },
        "JSON values replaced": lambda place, file, draw: _replace(
            place / file, draw, canary
        ),
        "swapped with another file": _swap,
        "replaced by a pickle that would run a command": (
            lambda place, file, draw: (
                (place / file).write_bytes(_attack(canary)) and None
            )
        ),
    }
    tallies = {kind: Tally(f"stored: {kind}") for kind in kinds}
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        kind = draw.choices(list(kinds), (4, 2, 4, 8, 1, 1))[0]
        files = FILES
        if kind == "JSON values replaced":
            files = tuple(file for file in FILES if file.endswith(".json"))
        file = draw.choice(files)
        place = folder / "copy"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)
        kinds[kind](place, file, draw)
        if draw.random() < 0.5:
            _hash_again(place, file)
        use = draw.choice(_USES[file.partition("/")[0] == "run"])
        what = f"attempt {number} of seed {seed}: {file}, {use.__name__}"
        with _quiet():
            tallies[kind].attempt(
                lambda use=use, place=place: use(place),  # type: ignore[misc]
                REFUSALS,
                what,
            )
        if canary.exists():
            canary.unlink()
            tallies[kind].failures.append(f"{what}: something was executed")
    return list(tallies.values())


# ---------------------------------------------------------------------------- to damage


def _make(place: Path) -> None:
    """A run of two steps, and its sampler as weights with a card."""
    preset = find("cgan", "smoke", "shapes")
    training = dataclasses.replace(
        preset.training,
        steps=2,
        out=str(place / "run"),
        tensorboard=False,
        progress="none",
    )
    preset = dataclasses.replace(preset, data={**preset.data, "size": 16})
    fit_preset(preset, training)
    about = json.loads((place / "run" / "config.json").read_text(encoding="utf-8"))
    fields = {"data": about["dataset"], "minutes": 0.1, "device": "a CPU"}
    pretrained.save(NAME, pretrained.load(place / "run"), fields, place)


def _module(folder: Path, canary: Path) -> None:
    """What a stored name must not import."""
    text = f"open({str(canary)!r}, 'w', encoding='utf-8').close()\n"
    (folder / f"{CANARY_MODULE}.py").write_text(text, encoding="utf-8")


def _harm(
    path: Path, harm: Callable[[bytes, random.Random], bytes], draw: random.Random
) -> None:
    path.write_bytes(harm(path.read_bytes(), draw))


def _swap(place: Path, file: str, draw: random.Random) -> None:
    """Two files in each other's place."""
    other = draw.choice([name for name in FILES if name != file])
    first, second = (place / file).read_bytes(), (place / other).read_bytes()
    (place / file).write_bytes(second)
    (place / other).write_bytes(first)


def _replace(path: Path, draw: random.Random, canary: Path) -> None:
    """One or two values of a JSON file replaced, removed or put deep into lists."""
    data = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(draw.randint(1, 2)):
        holder, key = draw.choice(list(_places(data)))
        value = draw.choice(_values(holder[key], canary))
        if value is None and isinstance(holder, dict) and draw.random() < 0.5:
            del holder[key]
        else:
            holder[key] = value
    text = json.dumps(data)
    deep = draw.choice((2_000, 200_000))
    path.write_text(text.replace(f'"{DEEP}"', "[" * deep + "]" * deep), "utf-8")


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of JSON as (what holds it, its key), but few of long lists."""
    keys = list(data) if isinstance(data, dict) else list(range(min(len(data), 3)))
    for key in keys:
        yield data, key
        if isinstance(data[key], dict | list):
            yield from _places(data[key])


def _values(before: Any, canary: Path) -> list[Any]:
    command = f"touch {canary}"
    numbers = [0, -1, 1.5, 3, 65_537, 10**9, 2**63, -(10**30), 1e308]
    return [
        *(None, True, "", "x" * 5_000, "\0", "\ud800", "../../etc", [], {}, [before]),
        *numbers,
        *(float("nan"), float("inf"), DEEP, {"a": before}, [[[1, "b"], None]]),
        *(f"pipe:{command}; cat", f"$({command})", f"| {command}"),
        *(f"{CANARY_MODULE}:Task", "os:system", "subprocess:Popen", "builtins:exec"),
        *("mmgen.models.cgan:CGANTask", "mmgen.models.vae:VAE", "mmgen.cli:main"),
    ]


class _Attack:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def _attack(canary: Path) -> bytes:
    return pickle.dumps(_Attack(canary))


def _hash_again(place: Path, file: str) -> None:
    """Note the hash of a damaged file where the true one stands."""
    path = place / file
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if file.startswith(CHECKPOINT):
        about, keys = path.parent / "checkpoint.json", ("sha256", path.name)
    else:
        about, keys = path.with_suffix(".json"), ("sha256",)
    if about == path or path.suffix == ".json":
        return
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        data = json.loads(about.read_text(encoding="utf-8"))
        holder = data[keys[0]] if len(keys) == 2 else data
        holder[keys[-1]] = digest
        about.write_text(json.dumps(data), encoding="utf-8")


# ------------------------------------------------------------------------------- to use


def _command(*words: str) -> None:
    """A command, which must end well or with one line."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(list(words))
    if code == 0:
        return
    lines = [line for line in said.getvalue().splitlines() if "mmgen: error: " in line]
    if code != 2 or len(lines) != 1:
        raise AssertionError(f"code {code}: {said.getvalue()!r}")
    raise MmgenError(lines[0].partition("mmgen: error: ")[2])


def draws_with_weights(place: Path) -> None:
    pretrained.load(NAME, folder=place).sample(["a red star"], seed=1)


def commands_on_weights(place: Path) -> None:
    file = str(place / f"{NAME}.safetensors")
    _command("sample", file, "a red star", "--out", str(place / "a.png"))


def evaluates_weights(place: Path) -> None:
    _command("evaluate", str(place / f"{NAME}.safetensors"), "--count", "2")


def lists_weights(place: Path) -> None:
    with mock.patch.object(pretrained, "FOLDER", place):
        _command("info")


def draws_with_the_run(place: Path) -> None:
    _command("sample", str(place / "run"), "a star", "--out", str(place / "a.png"))


def draws_with_a_checkpoint(place: Path) -> None:
    path = str(place / CHECKPOINT)
    _command("sample", path, "a star", "--out", str(place / "a.png"))


def evaluates_the_run(place: Path) -> None:
    _command("evaluate", str(place / "run"), "--count", "2")


def loads_the_run(place: Path) -> None:
    Run.load(place / "run").sampler().sample(["a red star"])


def resumes_the_run(place: Path) -> None:
    Run.resume(place / "run", steps=3, progress="none", tensorboard=False)


def goes_on_with_the_run(place: Path) -> None:
    _command("train", "--resume", str(place / "run"), "--steps", "3", *QUIET)


# False: the weights; True: the run.
_USES: dict[bool, tuple[Callable[[Path], None], ...]] = {
    False: (draws_with_weights, commands_on_weights, evaluates_weights, lists_weights),
    True: (
        draws_with_the_run,
        draws_with_a_checkpoint,
        evaluates_the_run,
        loads_the_run,
        resumes_the_run,
        goes_on_with_the_run,
    ),
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No waiting for a run that would write its sampler anew, and no warnings."""
    with warnings.catch_warnings(), mock.patch.object(pretrained, "PAUSES", (0.0,)):
        # thousands of damaged words and values are warned of; errors are what counts
        warnings.simplefilter("ignore")
        yield
