"""What a frozen network sees in a data set, computed once and kept on disk.

AttnGAN's matcher looks at pictures through an Inception-v3 that is never trained: in
every epoch it computes the same features again, and nearly all of a step's time goes
there. Here each picture is cut out in ``augmentations`` ways, and what the network gave
for each cut lies in half precision in files that are read in place, a sample at a time.
Training then never runs the network. Epoch e sees the cut of epoch e modulo the number
of them, so that the first epochs are those of training on the pictures themselves, and
later ones repeat cuts: that is the price, beside the space.

Captions are still drawn anew in each epoch.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.draws import draws
from mmgen.data.files import misnamed, read_json, write_atomically
from mmgen.data.photographs.dataset import CAPTION, Photographs, padded, some_words
from mmgen.data.storage.shards import at_least_one, new_manifest, whole
from mmgen.data.vocabulary import LANGUAGES, Vocabulary

FORMAT = 1  # of the manifest; raise it when its meaning changes
_NAME = re.compile(r"[\w-]+-\d{6,}")
_KINDS = ("map", "vector")  # two files a shard, beside one of captions
_Trunk = Callable[[Tensor], tuple[Tensor, Tensor]]
_Caption = tuple[list[int], str, int]  # tokens, text, class


@dataclass(frozen=True)
class PackedFeatures:
    """What ``pack_features`` wrote."""

    manifest: Path
    samples: int
    augmentations: int
    bytes: int


@torch.no_grad()
def pack_features(
    dataset: CaptionedDataset,
    trunk: _Trunk,
    folder: str | Path,
    augmentations: int = 1,
    *,
    encoder: str,
    fingerprint: str,
    samples_per_shard: int = 256,
    captions_per_sample: int = 4,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> PackedFeatures:
    """Write what a frozen network gives for every picture, cut out in several ways.

    Inception-v3 gives 768 x 17 x 17 + 2,048 numbers a cut, 448 kB: 4 GB for the
    training pictures of CUB and 37 GB for those of COCO, times ``augmentations``.

    Args:
        dataset: one split; its cuts are those of its epochs 0, 1, ...
        trunk: (B, 3, H, W) -> map (B, C, h, w) and vector (B, C'), on ``device``.
        folder: where the files go; it may hold other splits.
        augmentations: cuts of a picture, at least 1.
        encoder: name of the network, which ``FeatureDataset.check_trunk`` asks for.
        fingerprint: of its weights, likewise.
        samples_per_shard: pictures to a file.
        captions_per_sample: for data sets other than photographs, epochs to take
            captions from; of photographs, all captions are kept.
        batch_size: pictures seen at a time.
        device: of the network.
        progress: called with (samples done, samples in all) after each shard.

    Raises:
        ValueError: an argument below 1, or features that half precision cannot hold.
        FileExistsError: the folder holds this split already.
        OSError: the folder cannot be written, or the disk is full; nothing is left
            that looks complete.
    """
    at_least_one(
        augmentations=augmentations,
        samples_per_shard=samples_per_shard,
        captions_per_sample=captions_per_sample,
        batch_size=batch_size,
    )
    manifest = new_manifest(folder, dataset.split)
    folder = manifest.parent
    shards: list[dict[str, Any]] = []
    for start in range(0, len(dataset), samples_per_shard):
        rows = range(start, min(start + samples_per_shard, len(dataset)))
        name = f"{dataset.split}-{len(shards):06d}"
        paths = {kind: folder / f"{name}.{kind}.npy" for kind in _KINDS}
        shown = _write_arrays(
            paths, dataset, rows, trunk, augmentations, batch_size, device
        )
        captions = _captions(dataset, shown, captions_per_sample)
        text = json.dumps(captions, ensure_ascii=False)
        write_atomically(folder / f"{name}.json", text.encode("utf-8"))
        sizes = {kind: path.stat().st_size for kind, path in paths.items()}
        shards.append({"name": name, "samples": len(rows), "bytes": sizes})
        if progress is not None:
            progress(rows.stop, len(dataset))
    content = {
        "format": FORMAT,
        "dataset": dataset.name,
        "split": dataset.split,
        "image_size": dataset.image_size,
        "language": dataset.language,
        "max_tokens": dataset.max_tokens,
        "vocabulary": dataset.vocabulary.to_json(),
        "encoder": encoder,
        "fingerprint": fingerprint,
        "augmentations": augmentations,
        "shards": shards,
    }
    # The manifest comes last: without it the folder does not count as packed.
    write_atomically(manifest, json.dumps(content, ensure_ascii=False).encode("utf-8"))
    return PackedFeatures(
        manifest,
        len(dataset),
        augmentations,
        sum(sum(shard["bytes"].values()) for shard in shards),
    )


def _write_arrays(
    paths: dict[str, Path],
    dataset: CaptionedDataset,
    rows: range,
    trunk: _Trunk,
    augmentations: int,
    batch_size: int,
    device: torch.device | str,
) -> list[int]:
    """Write a shard's two files; return the picture that is shown at each row.

    That is another one where a photograph does not decode.
    """
    partial = {
        kind: path.with_name(f".{path.name}.tmp") for kind, path in paths.items()
    }
    shown = list(rows)
    try:
        files: dict[str, np.ndarray] = {}
        for epoch in range(augmentations):
            for first in range(0, len(rows), batch_size):
                part = rows[first : first + batch_size]
                batch = dataset.batch(part, epoch, device)
                place = slice(first, first + len(part))
                if batch.indices is not None:
                    shown[place] = batch.indices.tolist()
                for kind, found in zip(_KINDS, trunk(batch.images), strict=True):
                    half = found.half()
                    if not half.isfinite().all():
                        raise ValueError(
                            f"the trunk's {kind} has values that half precision cannot "
                            f"hold (above 65,504, or not finite)."
                        )
                    if kind not in files:
                        shape = (len(rows), augmentations, *half.shape[1:])
                        files[kind] = np.lib.format.open_memmap(
                            partial[kind], mode="w+", dtype=np.float16, shape=shape
                        )
                    files[kind][place, epoch] = half.cpu().numpy()
        for kind, file in files.items():
            file.flush()  # type: ignore[attr-defined]
            os.replace(partial[kind], paths[kind])
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
    return shown


def _captions(
    dataset: CaptionedDataset, rows: Sequence[int], epochs: int
) -> list[list[_Caption]]:
    """All captions of photographs; of others, the different ones of some epochs."""
    if isinstance(dataset, Photographs):
        return [
            [
                (tokens.tolist(), text, int(dataset.class_ids[row]))
                for tokens, text in dataset.numbered_captions(row)
            ]
            for row in rows
        ]
    said: list[dict[str, _Caption]] = [{} for _ in rows]
    for epoch in range(epochs):
        batch = dataset.batch(rows, epoch)
        for i, text in enumerate(batch.captions):
            tokens = batch.tokens[i, : int(batch.lengths[i])].tolist()
            said[i][text] = (tokens, text, int(batch.class_ids[i]))
    return [list(captions.values()) for captions in said]


class FeatureDataset(CaptionedDataset):
    """Captions with a frozen network's features in place of pictures.

    ``Batch.trunk_map`` and ``Batch.trunk_vector`` hold them, in half precision;
    ``Batch.images`` has no pixels, (B, 3, 0, 0).

    Args:
        split: name of the manifest: ``<split>.json``.
        image_size: the one packed.
        language: the one packed.
        root: folder that ``pack_features`` wrote.
        max_tokens: longer captions lose words, others in every epoch; by default as in
            the data set that was packed.

    Raises:
        FileNotFoundError: no manifest, or a file is missing.
        ValueError: a damaged manifest, a file of another length than written, or an
            argument outside what was packed.
    """

    name = "features"

    def __init__(
        self,
        split: str = "train",
        image_size: int = 299,
        language: str = "en",
        *,
        root: str | Path = "data/features",
        max_tokens: int | None = None,
    ) -> None:
        self.root = Path(root)
        manifest = _read_manifest(self.root, split)
        for argument, given in (("image_size", image_size), ("language", language)):
            if given != manifest[argument]:
                raise ValueError(
                    f"{argument} must be {manifest[argument]!r}, which was packed; got "
                    f"{given!r}."
                )
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1; got {max_tokens}.")
        self.split, self.image_size, self.language = split, image_size, language
        self.vocabulary = Vocabulary.from_json(manifest["vocabulary"])
        self.max_tokens = max_tokens or int(manifest["max_tokens"])
        self.attributes: dict[str, tuple[str, ...]] = {}
        self.options = {"root": str(root), "max_tokens": max_tokens}
        self.encoder = str(manifest["encoder"])
        self.fingerprint = str(manifest["fingerprint"])
        self.augmentations = int(manifest["augmentations"])
        self._shards = manifest["shards"]
        counts = [shard["samples"] for shard in self._shards]
        self._firsts = np.concatenate([[0], np.cumsum(counts)])
        self._captions: list[list[_Caption]] = []
        for shard in self._shards:
            self._captions += _read_captions(self.root, shard, len(self.vocabulary))
        self._files: dict[tuple[int, str], np.ndarray] = {}

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getstate__(self) -> dict[str, Any]:
        # Pickling a mapped file would copy its content; a worker maps it again.
        return {**self.__dict__, "_files": {}}

    def check_trunk(self, encoder: str, fingerprint: str) -> None:
        """Refuse to train heads for another trunk than the one that looked.

        Raises:
            ValueError: another network, or other weights of it.
        """
        if encoder != self.encoder:
            raise ValueError(
                f"encoder must be {self.encoder!r}, whose features {self.root} holds; "
                f"got {encoder!r}."
            )
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"the features in {self.root} are those of other weights of "
                f"{self.encoder} (their SHA-256 begins with {self.fingerprint[:12]}, "
                f"these with {fingerprint[:12]}). Name the weights that they were made "
                f"with, or make them again."
            )

    def prepare(self, indices: Sequence[int], epoch: int) -> Batch:
        """Read the features of samples, and pick captions; safe in a worker."""
        cut = epoch % self.augmentations
        drawn = list(self._drawn(indices, epoch))
        tokens, lengths = padded([words for words, _, _ in drawn], self.max_tokens)
        maps, vectors = (
            torch.from_numpy(np.stack([self._row(i, kind)[cut] for i in indices]))
            for kind in _KINDS
        )
        return Batch(
            images=torch.empty(len(drawn), 3, 0, 0),
            tokens=tokens,
            lengths=lengths,
            class_ids=torch.tensor([kind for _, _, kind in drawn]),
            captions=[text for _, text, _ in drawn],
            indices=torch.tensor(indices),
            trunk_map=maps,
            trunk_vector=vectors,
        )

    def finish(self, prepared: Batch, device: torch.device | str) -> Batch:
        """The batch on ``device``."""
        return prepared.to(device, non_blocking=True)

    def _drawn(
        self, indices: Sequence[int], epoch: int
    ) -> Iterator[tuple[np.ndarray, str, int]]:
        """A caption of each sample: as photographs do, at random in training only."""
        chances = draws(indices, epoch, 1, CAPTION)[:, 0]
        for index, chance in zip(indices, chances, strict=True):
            captions = self._captions[index]
            chosen = epoch % len(captions)
            if self.split == "train":
                chosen = int(chance * len(captions))
            tokens, text, kind = captions[chosen]
            words = some_words(np.array(tokens), self.max_tokens, index, epoch)
            yield words, text, kind

    def _row(self, index: int, kind: str) -> np.ndarray:
        """All cuts of a sample, read in place: (augmentations, ...) float16."""
        shard = int(np.searchsorted(self._firsts, index, side="right")) - 1
        if (shard, kind) not in self._files:
            path = self.root / f"{self._shards[shard]['name']}.{kind}.npy"
            self._files[shard, kind] = _mapped(path, self._shards[shard]["samples"])
        return self._files[shard, kind][index - self._firsts[shard]]


def _mapped(path: Path, samples: int) -> np.ndarray:
    """A file of features, read in place; objects in it are refused, not unpickled."""
    try:
        file = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, TypeError, SyntaxError) as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    if file.dtype != np.float16 or file.ndim < 3 or len(file) != samples:
        raise ValueError(
            f"{path} is damaged: it holds {file.shape} of {file.dtype} where {samples} "
            f"samples of float16 were written."
        )
    return file


def _read_manifest(root: Path, split: str) -> dict[str, Any]:
    if not re.fullmatch(r"[\w-]+", split):
        raise ValueError(f"split must be a plain word; got {split!r}.")
    path = root / f"{split}.json"
    if not path.is_file():
        there = sorted(p.stem for p in root.glob("*.json") if "-0" not in p.stem)
        raise FileNotFoundError(
            f"no manifest at {path}; splits there: {', '.join(there) or 'none'}. "
            f"mmgen data features writes it, as its last file.{misnamed(path)}"
        )
    try:
        manifest = read_json(path)
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}, not {FORMAT}")
        for shard in manifest["shards"]:
            if not _NAME.fullmatch(shard["name"]) or not whole(shard["samples"], 1):
                raise ValueError(f"it lists a shard {shard}")
        Vocabulary.from_json(manifest["vocabulary"])
        right = {
            "image_size": whole(manifest["image_size"], 1),
            "language": manifest["language"] in LANGUAGES,
            "max_tokens": whole(manifest["max_tokens"], 1),
            "augmentations": whole(manifest["augmentations"], 1),
            "encoder": isinstance(manifest["encoder"], str),
            "fingerprint": isinstance(manifest["fingerprint"], str),
        }
        if wrong := [name for name, fine in right.items() if not fine]:
            raise ValueError(f"it has no such {wrong[0]}: {manifest[wrong[0]]!r}")
        sizes = {
            root / f"{shard['name']}.{kind}.npy": shard["bytes"][kind]
            for shard in manifest["shards"]
            for kind in _KINDS
        }
        if not sizes:
            raise ValueError("it lists no shards")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}".rstrip(".")
        raise ValueError(f"{path} is no manifest of features: {said}.") from error
    for file, size in sizes.items():
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing, which {path} lists.")
        if file.stat().st_size != size:
            raise ValueError(
                f"{file} has {file.stat().st_size} bytes where {size} were written: it "
                f"is damaged, or copied in part."
            )
    return manifest


def _read_captions(
    root: Path, shard: dict[str, Any], words: int
) -> list[list[_Caption]]:
    path = root / f"{shard['name']}.json"
    rows = read_json(path)
    if not isinstance(rows, list) or len(rows) != shard["samples"]:
        raise ValueError(
            f"{path} has captions of {len(rows) if isinstance(rows, list) else 'no'} "
            f"samples where {shard['samples']} were written."
        )
    try:
        found = [[(tokens, text, kind) for tokens, text, kind in row] for row in rows]
        fine = all(
            captions
            and all(
                tokens and all(whole(t, 1) and t < words for t in tokens)
                and isinstance(text, str) and type(kind) is int
                for tokens, text, kind in captions
            )
            for captions in found
        )  # fmt: skip
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise ValueError(f"{path} is damaged: it holds something else than captions.")
    return found
