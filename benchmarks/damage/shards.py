"""Damaged shards and manifests through the reader of shards.

A folder of three shards loses bits, bytes or its end in one of them, has two of them
swapped, or a value of its manifest replaced. What is read is right, or the file is
named; samples of the other shards stay as they are; no program runs.
"""

from __future__ import annotations

import json
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.damage import DAMAGES, Tally
from mmgen.data import load_dataset
from mmgen.data.storage.shards import ShardError, pack

SAMPLES, EACH, SIZE = 24, 8, 16  # in all, in a shard; pixels
REFUSALS = (ShardError, ValueError, OSError)
_Damage = Callable[[Path, random.Random], set[int]]  # -> numbers of what it touched


def tried(count: int, seed: int, folder: Path) -> list[Tally]:
    """Read ``count`` damaged folders of shards."""
    draw = random.Random(seed)
    canary = folder / "EXECUTED"
    whole = folder / "whole"
    data = load_dataset("shapes", "train", SIZE, "both", size=SAMPLES)
    pack(data, whole, EACH, captions_per_sample=2)
    reference = load_dataset("shards", "train", SIZE, "both", root=whole, augment=False)
    pictures = reference.batch(range(SAMPLES)).images
    damages = _damages(canary)
    tallies = {name: Tally(name) for name in damages}
    names = list(damages)
    for number in range(count):
        name = names[number % len(names)]
        root = folder / "damaged"
        shutil.copytree(whole, root)
        touched = damages[name](root, draw)

        def read(root: Path = root, touched: set[int] = touched) -> None:
            _read(root, touched, pictures, canary)

        tallies[name].attempt(read, REFUSALS, f"seed {seed}, attempt {number}")
        shutil.rmtree(root)
    return list(tallies.values())


def _read(root: Path, touched: set[int], pictures: torch.Tensor, canary: Path) -> None:
    """Read a folder as training does.

    Raises:
        AssertionError: a sample of a shard that is whole has changed, or a program ran.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pictures that are left out are named in one
        try:
            dataset = load_dataset(
                "shards", "train", SIZE, "both", root=root, augment=False
            )
            others = [i for i in range(SAMPLES) if i // EACH not in touched]
            if touched and len(touched) < 3:
                batch = dataset.batch(others)
                assert torch.equal(batch.images, pictures[others]), "neighbours changed"
            stream = dataset.batches(6, workers=0)
            for _ in range(SAMPLES // 6):
                batch = next(stream)
                assert batch.images.shape == (6, 3, SIZE, SIZE)
                assert batch.images.isfinite().all()
                assert 0 < int(batch.tokens.max()) < len(dataset.vocabulary)
        finally:
            assert not canary.exists(), "a program was run"


def _damages(canary: Path) -> dict[str, _Damage]:
    """Kinds of damage, by their names in the table."""

    def in_shard(change: Callable[[bytes, random.Random], bytes]) -> _Damage:
        def damage(root: Path, draw: random.Random) -> set[int]:
            number = draw.randrange(3)
            path = root / f"train-{number:06d}.tar"
            path.write_bytes(change(path.read_bytes(), draw))
            if draw.random() < 0.5:  # as behind an address: sizes are not compared
                _edit(root, lambda manifest: _true_sizes(root, manifest))
            return {number}

        return damage

    def in_manifest(change: Callable[[bytes, random.Random], bytes]) -> _Damage:
        def damage(root: Path, draw: random.Random) -> set[int]:
            path = root / "train.json"
            path.write_bytes(change(path.read_bytes(), draw))
            return set()

        return damage

    def swapped(root: Path, draw: random.Random) -> set[int]:
        one, other = draw.sample(range(3), 2)
        files = [root / f"train-{number:06d}.tar" for number in (one, other)]
        contents = [file.read_bytes() for file in files]
        if draw.random() < 0.5:
            contents[0] = (root / "train.json").read_bytes()
        for file, content in zip(files, reversed(contents), strict=True):
            file.write_bytes(content)
        _edit(root, lambda manifest: _true_sizes(root, manifest))
        return {one, other}

    def replaced(root: Path, draw: random.Random) -> set[int]:
        values: tuple[Any, ...] = (
            *(None, -1, 0, 2**70, 1e308, True, "", [], {}, [[]], {"x": None}),
            *(f"pipe:touch {canary}", f"../../train-000000.tar;touch {canary}"),
            *(f"$(touch {canary})", "x" * 100_000, "\0", "https://127.0.0.1:9/x"),
        )
        _edit(root, lambda manifest: _replace(manifest, draw, draw.choice(values)))
        return set()

    return {
        **{f"shard: {name}": in_shard(change) for name, change in DAMAGES.items()},
        **{f"manifest: {n}": in_manifest(change) for n, change in DAMAGES.items()},
        "shard: swapped for another file": swapped,
        "manifest: a value of another kind": replaced,
    }


def _edit(root: Path, change: Callable[[Any], Any]) -> None:
    path = root / "train.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def _true_sizes(root: Path, manifest: Any) -> None:
    for shard in manifest["shards"]:
        shard["bytes"] = (root / shard["name"]).stat().st_size


def _replace(inside: Any, draw: random.Random, value: Any) -> None:
    """Put a value in a random place of a JSON object or list, or below it."""
    keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
    key = draw.choice(keys)
    if isinstance(inside[key], dict | list) and inside[key] and draw.random() < 0.7:
        _replace(inside[key], draw, value)
    else:
        inside[key] = value
