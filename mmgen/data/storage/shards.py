"""WebDataset shards: a data set as a row of tar files, read from front to back.

Beyond one machine's disk, millions of small files are slow and random access is slower.
Here samples lie in shards of some hundred, in random order, and a run reads them as
streams. Any tool for the WebDataset format reads these shards; the manifest beside them
says how many samples each must have, so that a shard that ends early is noticed.

The order of a run stays a pure function of (seed, epoch, step). An epoch puts the
shards in a random row and cuts it into *lanes* of equal length; each step takes an
equal share from every lane, and each lane shuffles within a window. Lanes depend on the
batch size and the number of shards, not on processes or workers: so two GPUs together
see what one GPU sees, each opens only the lanes of its part of the batch, and a resumed
run skips to its place within a window.

Source of the format: Aizman, Maltby and Breuel, High Performance I/O For Large Scale
Deep Learning (2019), https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import bisect
import contextlib
import importlib
import io
import itertools
import json
import re
import tarfile
import time
import urllib.error
import urllib.request
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset, Order, epoch_order
from mmgen.data.draws import draws
from mmgen.data.files import is_address, json_of, text_of, write_atomically
from mmgen.data.photographs.dataset import (
    CAPTION,
    GEOMETRY,
    GIVE_UP,
    Photographs,
    Prepared,
    crop,
    name_skipped,
    padded,
    some_words,
    to_batch,
)
from mmgen.data.photographs.decoding import UndecodableError, decode
from mmgen.data.vocabulary import LANGUAGES, Vocabulary
from mmgen.data.workers import Failed, handed_over, or_failure
from mmgen.errors import MmgenError

FORMAT = 1  # of the manifest; raise it when its meaning changes
LANES = 16  # most shards that a run has open at once, over all processes
WINDOW = 256  # samples that a lane shuffles among themselves
_ORDER = 8  # stream of random numbers; photographs have the ones below
_NAME = re.compile(r"[\w-]+-\d{6,}\.tar")
_HTTP = re.compile(r"https?://", re.IGNORECASE)
_PAUSES = (1.0, 4.0, None)  # seconds before an address is asked again; None: never
_SILENCE = 60  # seconds after which an address counts as dead
# what reading a file or an address may end with
_BROKEN = (tarfile.TarError, EOFError, OSError, ValueError, HTTPException)


class ShardError(MmgenError, RuntimeError):
    """A shard that cannot be read to its end."""


@dataclass(frozen=True)
class Packed:
    """What ``pack`` wrote."""

    manifest: Path
    shards: int
    samples: int
    bytes: int
    left_out: dict[str, str]  # pictures that do not decode, and why


def _webdataset(module: str) -> Any:
    """A module of the library, imported where shards are written and nowhere else.

    They are read without it: its opener hands ``pipe:`` to a shell, and other schemes
    to other programs.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(f"webdataset.{module}")
    except ModuleNotFoundError as error:
        raise ImportError(
            "shards need the package webdataset: run pip install 'mmgen-book[data]'."
        ) from error


# ---------------------------------------------------------------------- writing


def at_least_one(**numbers: int) -> None:
    """Raise a ValueError that names the argument which is below 1."""
    for argument, value in numbers.items():
        if value < 1:
            raise ValueError(f"{argument} must be at least 1; got {value}.")


def new_manifest(folder: str | Path, split: str) -> Path:
    """Where the manifest of a split will be, in a folder that is made if need be.

    Raises:
        ValueError: an address in place of a folder.
        FileExistsError: the folder holds this split already.
    """
    if "://" in str(folder):
        raise ValueError(f"folder must be on this machine; got {str(folder)!r}.")
    folder = Path(folder)
    manifest = folder / f"{split}.json"
    if manifest.exists():
        raise FileExistsError(
            f"{manifest} exists: the folder holds the split {split!r} already. "
            f"Remove it first, or choose another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return manifest


def pack(
    dataset: CaptionedDataset,
    folder: str | Path,
    samples_per_shard: int = 512,
    *,
    captions_per_sample: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Write a data set as shards, in random order, with a manifest.

    Photographs go in as the files that they are, with their boxes and all captions, so
    that the shards can be read at any image size with the same crops. Of other data
    sets, pictures go in as PNG at their size, as they look in epoch 0, with the
    captions of the first epochs. The same data set gives the same bytes.

    Args:
        dataset: one split.
        folder: where the shards go; it may hold other splits.
        samples_per_shard: at least 1. Some ten megabytes a shard read well; have more
            shards than processes.
        captions_per_sample: for data sets other than photographs, epochs to take
            captions from.
        progress: called with (samples done, samples in all) after each shard.

    Raises:
        ValueError: an argument outside what is listed above.
        FileExistsError: the folder holds this split already.
        OSError: the folder cannot be written, or the disk is full; nothing is left
            that looks complete.
    """
    at_least_one(
        samples_per_shard=samples_per_shard, captions_per_sample=captions_per_sample
    )
    manifest = new_manifest(folder, dataset.split)
    folder = manifest.parent
    order = epoch_order(len(dataset), seed=0, epoch=0).tolist()
    photographs = isinstance(dataset, Photographs)
    shards: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for start in range(0, len(order), samples_per_shard):
        rows = order[start : start + samples_per_shard]
        if isinstance(dataset, Photographs):
            samples = _photographs(dataset, rows, left_out)
        else:
            samples = _pictures(dataset, rows, captions_per_sample)
        if samples:
            name = f"{dataset.split}-{len(shards):06d}.tar"
            size = _write_shard(folder / name, samples)
            shards.append({"name": name, "samples": len(samples), "bytes": size})
        if progress is not None:
            progress(start + len(rows), len(order))
    if not shards:
        raise ValueError(f"no picture of {dataset.name} ({dataset.split}) decodes.")
    content = {
        "format": FORMAT,
        "dataset": dataset.name,
        "split": dataset.split,
        "photographs": photographs,
        "image_size": None if photographs else dataset.image_size,
        "language": dataset.language,
        "max_tokens": dataset.max_tokens,
        "attributes": {name: list(v) for name, v in dataset.attributes.items()},
        "vocabulary": dataset.vocabulary.to_json(),
        "shards": shards,
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    # The manifest comes last: without it the folder does not count as packed.
    write_atomically(manifest, text.encode("utf-8"))
    return Packed(
        manifest=manifest,
        shards=len(shards),
        samples=sum(shard["samples"] for shard in shards),
        bytes=sum(shard["bytes"] for shard in shards),
        left_out=left_out,
    )


def _write_shard(path: Path, samples: list[dict[str, Any]]) -> int:
    """Write a shard and return its size in bytes."""
    content = io.BytesIO()
    writer = _webdataset("writer").TarWriter
    # a fixed time, so that packing twice gives the same bytes
    with writer(content, encoder=False, mtime=0, compress=False) as tar:
        for sample in samples:
            tar.write(sample)
    write_atomically(path, content.getvalue())
    return len(content.getvalue())


def _photographs(
    dataset: Photographs, rows: Sequence[int], left_out: dict[str, str]
) -> list[dict[str, Any]]:
    samples = []
    for index in rows:
        path = dataset.path(index)
        try:
            content = path.read_bytes()
            decode(content, dataset.box_of(index))
        except (OSError, UndecodableError) as error:
            left_out[str(path)] = str(error)
            warnings.warn(
                f"{path} does not decode ({error}) and is left out.", stacklevel=3
            )
            continue
        captions = dataset.numbered_captions(index)
        kind = int(dataset.class_ids[index])
        samples.append(
            _sample(
                index,
                {"jpg": content},
                captions=[text for _, text in captions],
                tokens=[numbers.tolist() for numbers, _ in captions],
                class_ids=[kind] * len(captions),
                attributes=dataset.attributes_of(index),
                box=dataset.box_of(index),
            )
        )
    return samples


def _pictures(
    dataset: CaptionedDataset, rows: Sequence[int], epochs: int
) -> list[dict[str, Any]]:
    samples = []
    for start in range(0, len(rows), 64):  # bounds the memory of large pictures
        part = rows[start : start + 64]
        batches = [dataset.batch(part, epoch) for epoch in range(epochs)]
        samples += [_picture(batches, i, index) for i, index in enumerate(part)]
    return samples


def _picture(batches: list[Batch], i: int, index: int) -> dict[str, Any]:
    """Sample i of the batches of some epochs: its first picture, all its captions."""
    said = {}  # a data set that repeats itself is stored once
    for batch in batches:
        tokens = batch.tokens[i, : int(batch.lengths[i])].tolist()
        said[batch.captions[i]] = (tokens, int(batch.class_ids[i]))
    image, attributes = batches[0].images[i], batches[0].attributes
    pixels = ((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0)
    picture = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(picture, "PNG")
    return _sample(
        index,
        {"png": picture.getvalue()},
        captions=list(said),
        tokens=[tokens for tokens, _ in said.values()],
        class_ids=[kind for _, kind in said.values()],
        attributes=None if attributes is None else attributes[i].tolist(),
        box=None,
    )


def _sample(index: int, picture: dict[str, bytes], **known: Any) -> dict[str, Any]:
    text = json.dumps({"index": index, **known}, ensure_ascii=False)
    return {"__key__": f"{index:09d}", **picture, "json": text.encode("utf-8")}


# ---------------------------------------------------------------------- reading


class ShardedDataset(CaptionedDataset):
    """A data set packed by ``pack``, streamed.

    ``batches`` reads shards from front to back. ``batch`` finds single samples, too,
    but reads a shard for it: fit for a sheet of samples, not for training.
    ``Batch.indices`` count samples in the order of the shards.

    Args:
        split: name of the manifest: ``<split>.json``.
        image_size: H = W, pixels. Of photographs any, else the one packed.
        language: the one packed.
        root: folder of the shards, or its address, ``http://…`` or ``https://…``;
            without ``://`` it is a folder. Runs do not open an address by themselves.
        augment: random crops, mirroring and captions; by default in training only.
        max_tokens: longer captions lose words, others in every epoch; by default as in
            the data set that was packed.

    Raises:
        FileNotFoundError: no manifest, or a shard is missing.
        ValueError: a damaged manifest, a shard of another length than written, or an
            argument outside what was packed.
    """

    name = "shards"

    def __init__(
        self,
        split: str = "train",
        image_size: int = 64,
        language: str = "en",
        *,
        root: str | Path = "data/shards",
        augment: bool | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.root = _checked_root(root)
        self.split, self.image_size, self.language = split, image_size, language
        manifest = _read_manifest(self.root, split)
        if language != manifest["language"]:
            raise ValueError(
                f"language must be {manifest['language']!r}, which was packed; got "
                f"{language!r}."
            )
        packed_size = manifest["image_size"]
        if packed_size is not None and image_size != packed_size:
            raise ValueError(
                f"image_size must be {packed_size}: the pictures of "
                f"{manifest['dataset']} were packed at that size; got {image_size}."
            )
        if image_size < 1 or (max_tokens is not None and max_tokens < 1):
            raise ValueError(
                f"image_size and max_tokens must be at least 1; got {image_size} and "
                f"{max_tokens}."
            )
        self.photographs = bool(manifest["photographs"])
        self.augment = split == "train" if augment is None else augment
        self.vocabulary = Vocabulary.from_json(manifest["vocabulary"])
        self.max_tokens = max_tokens or int(manifest["max_tokens"])
        self.attributes = {k: tuple(v) for k, v in manifest["attributes"].items()}
        self.options = {
            "root": self.root,
            "augment": augment,
            "max_tokens": max_tokens,
        }
        self.shards = [shard["name"] for shard in manifest["shards"]]
        self.counts = np.array([shard["samples"] for shard in manifest["shards"]])
        self._firsts = np.concatenate([[0], np.cumsum(self.counts)])
        self.skipped: dict[str, str] = {}  # pictures that did not decode so far
        _check_sizes(self.root, manifest["shards"])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def prepare(self, indices: Sequence[int], epoch: int) -> Prepared:
        """Find samples, reading each shard that has one of them up to the last."""
        wanted: dict[int, list[int]] = defaultdict(list)
        for index in indices:
            shard = int(np.searchsorted(self._firsts, index, side="right")) - 1
            wanted[shard].append(index - int(self._firsts[shard]))
        found = {}
        for shard, places in wanted.items():
            stop = min(max(places) + GIVE_UP, int(self.counts[shard]))
            samples = list(self._read(shard, 0, stop))
            for place in places:
                number = place + int(self._firsts[shard])
                found[number] = samples[place : place + GIVE_UP]
        return self._prepared([found[index] for index in indices], epoch)

    def finish(self, prepared: Prepared, device: torch.device | str) -> Batch:
        """The batch on ``device``; pictures that did not decode are named here."""
        name_skipped(prepared, self.skipped, self.name)
        return to_batch(prepared, device)

    def _batches(
        self, order: Order, device: torch.device | str, workers: int
    ) -> Iterator[Batch]:
        """Batches read as streams; at most one process a lane reads and decodes."""
        plan = _Plan(self, *order)
        used = min(workers, len(plan.parts))
        if used == 0:
            for parts in plan.steps(0, 1):
                yield self.finish(_joined([parts]), device)
        loader = DataLoader(plan, batch_size=None, num_workers=used)
        for pieces in handed_over(loader, order.start_step, per_step=used):
            yield self.finish(_joined(pieces), device)

    def _read(self, shard: int, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Samples start..stop of a shard, undecoded, from front to back."""
        url = _join(self.root, self.shards[shard])
        done = 0
        reason = "its end is missing"
        try:
            with _opened(url) as stream:
                for raw in _samples_of(stream):
                    if done >= start:
                        number = int(self._firsts[shard]) + done
                        yield {**raw, "__number__": number, "__url__": url}
                    done += 1
                    if done == stop:
                        return
        except _BROKEN as error:
            said = getattr(error, "strerror", None) or (error.args or ("",))[0]
            reason = f"{type(error).__name__}: {said}"
        raise ShardError(
            f"shard {url} ends early: {done} of {self.counts[shard]} samples could be "
            f"read ({reason}). Copy or pack it again; training goes on from its last "
            f"checkpoint."
        )

    def _prepared(self, choices: list[list[dict[str, Any]]], epoch: int) -> Prepared:
        """Decode samples; each comes with others that may stand in for it."""
        images, drawn, known, numbers = [], [], [], []
        skipped: list[tuple[str, str]] = []
        for candidates in choices:
            image, facts, number = self._first_decodable(candidates, epoch, skipped)
            images.append(image)
            known.append(facts)
            numbers.append(number)
            drawn.append(self._pick(facts, epoch))
        tokens, lengths = padded([words for words, _, _ in drawn], self.max_tokens)
        attributes = None
        if self.attributes:
            attributes = torch.tensor([facts["attributes"] for facts in known])
        return Prepared(
            images=torch.stack(images),
            tokens=tokens,
            lengths=lengths,
            class_ids=torch.tensor([kind for _, kind, _ in drawn]),
            attributes=attributes,
            indices=torch.tensor(numbers),
            captions=[text for _, _, text in drawn],
            skipped=skipped,
        )

    def _first_decodable(
        self,
        candidates: list[dict[str, Any]],
        epoch: int,
        skipped: list[tuple[str, str]],
    ) -> tuple[Tensor, dict[str, Any], int]:
        suffix = "jpg" if self.photographs else "png"
        for raw in candidates:
            facts = self._facts(raw)
            try:
                picture = self._decoded(raw.get(suffix), facts["box"])
            except UndecodableError as error:
                name = f"{raw['__key__']}.{suffix} in {raw['__url__']}"
                skipped.append((name, str(error)))
                continue
            if not self.photographs:
                pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
                return pixels, facts, raw["__number__"]
            # by the sample's number before packing: the crops of the unpacked data set
            chance = None
            if self.augment:
                chance = draws([facts["index"]], epoch, 3, GEOMETRY)[0]
            pixels = crop(picture, self.image_size, chance)
            return pixels, facts, raw["__number__"]
        name, reason = skipped[-1]
        raise ShardError(f"{name} does not decode ({reason}), nor do those after it.")

    def _decoded(self, content: bytes | None, box: list[float] | None) -> Image.Image:
        if content is None:
            raise UndecodableError("there is no such file")
        picture = decode(content, box)
        size = self.image_size
        if not self.photographs and picture.size != (size, size):
            raise UndecodableError(f"it has {picture.size} pixels in place of {size}²")
        return picture

    def _facts(self, raw: dict[str, Any]) -> dict[str, Any]:
        """What a sample's JSON says, checked: a damaged one must not train."""
        try:
            facts = json_of(raw.get("json", b""), "it")
            if fault := self._fault(facts):
                raise ValueError(f"{fault} is not as it is packed.")
        except (ValueError, KeyError, TypeError) as error:
            raise ShardError(
                f"{raw['__key__']}.json in {raw['__url__']} is damaged: "
                f"{type(error).__name__}: {error} Copy or pack the shard again."
            ) from error
        return facts

    def _fault(self, facts: dict[str, Any]) -> str | None:
        """Which of the facts no packed sample has."""
        texts, rows, kinds = (facts[k] for k in ("captions", "tokens", "class_ids"))
        box, values = facts["box"], facts["attributes"]
        words, sizes = len(self.vocabulary), map(len, self.attributes.values())
        numbers = (int, float)
        right = {
            "index": whole(facts["index"], 0),
            "captions": len(texts) == len(rows) == len(kinds) > 0
            and all(type(text) is str for text in texts),
            "tokens": all(
                row and all(whole(t, 1) and t < words for t in row) for row in rows
            ),
            "class_ids": all(type(k) is int and abs(k) < 2**63 for k in kinds),
            "box": box is None
            or [type(x) in numbers and abs(x) < 1e6 for x in box] == [True] * 4,
            "attributes": not self.attributes
            if values is None
            else len(values) == len(self.attributes)
            and all(whole(v, -1) and v < n for v, n in zip(values, sizes, strict=True)),
        }
        return next((name for name, fine in right.items() if not fine), None)

    def _pick(self, facts: dict[str, Any], epoch: int) -> tuple[np.ndarray, int, str]:
        index, count = facts["index"], len(facts["captions"])
        chosen = epoch % count
        if self.augment:
            chosen = int(draws([index], epoch, 1, CAPTION)[0, 0] * count)
        tokens = np.array(facts["tokens"][chosen], dtype=np.int64)
        words = some_words(tokens, self.max_tokens, index, epoch)
        return words, facts["class_ids"][chosen], facts["captions"][chosen]


class _Plan(IterableDataset):
    """Parts of the batches of one process, from ``start_step`` on, without end.

    In a worker process only its share of the lanes is read. An item is a list of
    (place in the batch, samples).
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        batch_size: int,
        seed: int,
        start_step: int,
        rank: int,
        world_size: int,
    ) -> None:
        self.dataset, self.seed, self.start_step = dataset, seed, start_step
        most = min(LANES, batch_size, len(dataset.shards))
        self.lanes = next(n for n in range(most, 0, -1) if batch_size % n == 0)
        self.share = batch_size // self.lanes  # samples of a lane in each step
        self.length = len(dataset) // self.lanes  # samples of a lane in each epoch
        share = batch_size // world_size
        first, last = rank * share, (rank + 1) * share
        # (lane, from, to): the rows of each lane's share that are this process's
        self.parts = [
            (lane, max(first - begin, 0), min(last - begin, self.share))
            for lane in range(self.lanes)
            if (begin := lane * self.share) < last and begin + self.share > first
        ]

    def __iter__(self) -> Iterator[list[tuple[int, Prepared]] | Failed]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        steps = self.steps(number, count)
        while True:
            parts = or_failure(lambda: next(steps))
            yield parts
            if isinstance(parts, Failed):
                return

    def steps(self, number: int, count: int) -> Iterator[list[tuple[int, Prepared]]]:
        """The steps of every ``count``-th lane from ``number`` on."""
        mine = list(enumerate(self.parts))[number::count]
        epoch, step = divmod(self.start_step, self.length // self.share)
        while True:
            order = epoch_order(len(self.dataset.shards), self.seed, epoch).tolist()
            lanes = [self._lane(part, order, epoch, step) for _, part in mine]
            for prepared in zip(*lanes, strict=True):
                places = (place for place, _ in mine)
                yield list(zip(places, prepared, strict=True))
            epoch, step = epoch + 1, 0

    def _lane(
        self, part: tuple[int, int, int], order: list[int], epoch: int, step: int
    ) -> Iterator[Prepared]:
        """A lane's part of every step of an epoch."""
        lane, begin, end = part
        waiting: list[list[dict[str, Any]]] = []
        at = step * self.share
        # Lanes come to the ends of their windows in turn, so that no step waits for all
        # of them to be read: the first window of each has another length. None is so
        # short that a picture that does not decode would find no other in its place.
        first = max(WINDOW * (lane + 1) // self.lanes, GIVE_UP)
        cuts = range(first, self.length - GIVE_UP + 1, WINDOW)
        bounds = [0, *cuts, self.length]
        window = bisect.bisect_right(bounds, at) - 1
        skip = at - bounds[window]
        end_of_lane = (lane + 1) * self.length
        raws = self._raws(
            order, end_of_lane - self.length + bounds[window], end_of_lane
        )
        while step < self.length // self.share:
            while len(waiting) < self.share:
                size = bounds[window + 1] - bounds[window]
                row = list(itertools.islice(raws, size))
                numbers = [raw["__number__"] for raw in row]
                chance = draws(numbers, epoch, 1, (self.seed << 4) % 2**60 + _ORDER)
                row = [row[i] for i in np.argsort(chance[:, 0])]
                ring = row + row[: GIVE_UP - 1]
                waiting += [ring[i : i + GIVE_UP] for i in range(size)][skip:]
                window, skip = window + 1, 0
            yield self.dataset._prepared(waiting[begin:end], epoch)
            waiting = waiting[self.share :]
            step += 1

    def _raws(self, order: list[int], begin: int, end: int) -> Iterator[dict[str, Any]]:
        """Samples begin..end of the shards in this order, undecoded."""
        position = 0
        for shard in order:
            count = int(self.dataset.counts[shard])
            start, stop = max(begin - position, 0), min(end - position, count)
            if start < stop:
                yield from self.dataset._read(shard, start, stop)
            position += count


def _joined(pieces: list[list[tuple[int, Prepared]]]) -> Prepared:
    """One batch of the parts that the workers hand over."""
    parts = [p for _, p in sorted((x for piece in pieces for x in piece), key=_place)]
    attributes = [part.attributes for part in parts if part.attributes is not None]
    return Prepared(
        images=torch.cat([part.images for part in parts]),
        tokens=torch.cat([part.tokens for part in parts]),
        lengths=torch.cat([part.lengths for part in parts]),
        class_ids=torch.cat([part.class_ids for part in parts]),
        attributes=torch.cat(attributes) if attributes else None,
        indices=torch.cat([part.indices for part in parts]),
        captions=[caption for part in parts for caption in part.captions],
        skipped=[fault for part in parts for fault in part.skipped],
    )


def _place(part: tuple[int, Prepared]) -> int:
    return part[0]


# ---------------------------------------------------------------------- manifest


def _checked_root(root: Any) -> str:
    """A folder or an address, as text.

    Raises:
        ValueError: what neither is; nothing was opened.
    """
    text = str(root)
    bad = is_address(text) and not _HTTP.match(text)
    if bad or not isinstance(root, str | Path):
        raise ValueError(
            f"root must be a folder on this machine, or an address that begins with "
            f"http:// or https://; got {root!r}, of which nothing was opened or run."
        )
    return text


def _join(root: str, name: str) -> str:
    if _HTTP.match(root):
        return f"{root.rstrip('/')}/{name}"
    return str(Path(root) / name)


def _opened(place: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    """A file, or what an http(s) address answers; no other kind of address is known."""
    if not _HTTP.match(place):
        return Path(place).open("rb")
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler, urllib.request.UnknownHandler),
        *(urllib.request.HTTPHandler, urllib.request.HTTPSHandler),
        *(urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor),
        urllib.request.HTTPRedirectHandler,
    ):
        opener.add_handler(handler())
    for pause in _PAUSES:
        try:
            return opener.open(place, timeout=_SILENCE)
        except urllib.error.HTTPError as error:
            if error.code < 500 or pause is None:
                raise
        except OSError:
            if pause is None:
                raise
        time.sleep(pause)
    raise AssertionError("the last pause is None")


def _samples_of(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Samples of a tar file: files in a row that share a name up to its first dot.

    Only plain files are read, and nothing is unpacked onto the disk.
    """
    sample: dict[str, Any] = {}
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            folder, slash, name = member.name.rpartition("/")
            key, _, suffix = name.partition(".")
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not suffix:
                continue
            if sample and sample["__key__"] != folder + slash + key:
                yield sample
                sample = {}
            file = tar.extractfile(member)
            content = file.read() if file else b""
            sample |= {"__key__": folder + slash + key, suffix.lower(): content}
            tar.members = []  # type: ignore[attr-defined]
    if sample:
        yield sample


def _read_manifest(root: str, split: str) -> dict[str, Any]:
    if not re.fullmatch(r"[\w-]+", split):
        raise ValueError(f"split must be a plain word; got {split!r}.")
    url = _join(root, f"{split}.json")
    try:
        with _opened(url) as stream:
            content = stream.read()
    except (OSError, HTTPException) as error:
        there = sorted(p.stem for p in Path(root).glob("*.json"))
        raise FileNotFoundError(
            f"no manifest at {url} ({error}); splits there: "
            f"{', '.join(there) or 'none'}. Shards are made by mmgen data pack; "
            f"without a manifest, packing did not come to its end."
        ) from error
    try:
        manifest = json.loads(text_of(content, "it"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}, not {FORMAT}")
        for shard in manifest["shards"]:
            if not (
                _NAME.fullmatch(shard["name"])
                and whole(shard["samples"], 1)
                and whole(shard["bytes"], 0)
            ):
                raise ValueError(f"it lists a shard {shard}")
        if not manifest["shards"]:
            raise ValueError("it lists no shards")
        Vocabulary.from_json(manifest["vocabulary"])
        size = manifest["image_size"]
        right = {
            "dataset": isinstance(manifest["dataset"], str),
            "photographs": type(manifest["photographs"]) is bool,
            "image_size": size is None or whole(size, 1),
            "language": manifest["language"] in LANGUAGES,
            "max_tokens": whole(manifest["max_tokens"], 1),
            "attributes": all(
                isinstance(values, list) and all(isinstance(v, str) for v in values)
                for values in dict(manifest["attributes"]).values()
            ),
        }
        if wrong := [name for name, fine in right.items() if not fine]:
            raise ValueError(f"it has no such {wrong[0]}: {manifest[wrong[0]]!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = f"{type(error).__name__}: {error}".rstrip(".")
        raise ValueError(f"{url} is no manifest of shards: {said}.") from error
    return manifest


def whole(value: Any, least: int) -> bool:
    """Whether a JSON value is a whole number, not too small and not absurdly large."""
    return type(value) is int and least <= value < 2**40


def _check_sizes(root: str, shards: list[dict[str, Any]]) -> None:
    """Compare sizes on a disk; what an address holds is seen when it is read."""
    if _HTTP.match(root):
        return
    for shard in shards:
        path = Path(root) / shard["name"]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: copy or pack it again.")
        size = path.stat().st_size
        if size != shard["bytes"]:
            raise ValueError(
                f"{path} has {size} of {shard['bytes']} bytes: it was cut off or "
                f"changed. Copy or pack it again."
            )
