"""``mmgen data NAME``, ``mmgen data pack NAME``, ``mmgen data features NAME``."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any, Literal

from tyro.conf import Positional

from mmgen.cli.inputs import device_of, folder, writable
from mmgen.cli.options import Parser, UsageError, asks_for_help, data_options
from mmgen.data import DATASETS, CaptionedDataset, load_dataset


@dataclass(frozen=True)
class Look:
    """What is shown."""

    name: Positional[str]
    """of the data set"""
    split: str = "train"
    """of the data set"""
    preview: bool = False
    """draw a few samples"""
    count: int = 16
    """of them"""
    out: str = "preview.png"
    """PNG to write"""


@dataclass(frozen=True)
class Pack:
    """What is packed."""

    name: Positional[str]
    """of the data set"""
    out: str
    """folder of the shards"""
    split: str = "train"
    """of the data set"""


@dataclass(frozen=True)
class Features:
    """What is seen, and by which network."""

    name: Positional[str]
    """of the data set"""
    out: str
    """folder of the features"""
    split: str = "train"
    """of the data set"""
    encoder: Literal["inception", "efficientnet-lite0"] = "inception"
    """the network"""
    encoder_weights: str = "torchvision"
    """of Inception: torchvision, which downloads them, or a path"""
    augmentations: int = 1
    """cuts of a picture"""
    device: str | None = None
    """cpu, cuda or mps; none: what there is"""


def data(words: list[str]) -> int:
    """Describe a data set, or write one for many readers."""
    if words[:1] == ["pack"]:
        return _pack(words[1:])
    if words[:1] == ["features"]:
        return _features(words[1:])
    return _look(words)


def _read(
    prog: str, text: str, options: type, words: list[str], **defaults: Any
) -> tuple[Any, CaptionedDataset]:
    """The options of a command, and the data set that they name."""
    text += f" NAME is one of {', '.join(DATASETS)}; other options as in train."
    parser = Parser(prog, text, {"command": options})
    if not asks_for_help(words):
        name = parser.read_known(words)[0]["command"].name
        parser = parser.and_data(data_options(name, defaults, ("split",)))
    chosen = parser.read(words)
    given = chosen["command"]
    return given, load_dataset(given.name, split=given.split, **vars(chosen["data"]))


def _look(words: list[str]) -> int:
    text = (
        "Describe a data set. mmgen data pack NAME writes one as tar shards, "
        "mmgen data features NAME what a frozen network sees in it."
    )
    given, dataset = _read("mmgen data", text, Look, words)
    if given.preview and not 1 <= given.count <= len(dataset):
        raise UsageError(f"--count must lie in 1..{len(dataset)}; got {given.count}.")
    size = dataset.image_size
    print(
        f"{given.name} ({given.split}): {len(dataset)} samples of {size} x {size} "
        f"pixels, language {dataset.language}, {len(dataset.vocabulary) - 2} words, at "
        f"most {dataset.max_tokens} a caption"
    )
    if dataset.shortened:
        print(
            f"{dataset.shortened} captions are longer than that and lose words, others "
            f"in every epoch; --data-max-tokens N keeps more"
        )
    for name, values in dataset.attributes.items():
        text = f"{name}: {', '.join(values)}"
        print(textwrap.shorten(text, 88, placeholder=" …"))
    if given.preview:
        from mmgen.training.logs import save_grid

        out = writable(given.out, ".png")
        batch = dataset.batch(range(given.count))
        save_grid(out, batch.images)
        for i, caption in enumerate(batch.captions):
            print(f"{i:3d}  {caption}")
        print(out)
    return 0


def _pack(words: list[str]) -> int:
    given, dataset = _read(
        "mmgen data pack", "Write a split as tar shards.", Pack, words
    )

    from mmgen.data.storage.shards import pack

    packed = pack(dataset, folder(given.out))
    print(
        f"{packed.manifest}: {packed.samples} samples in {packed.shards} shards, "
        f"{packed.bytes / 1e6:.1f} MB"
    )
    for name, why in packed.left_out.items():
        print(f"left out: {name} ({why})")
    return 0


def _features(words: list[str]) -> int:
    text = (
        "Write what a frozen network gives for each picture, so that mmgen train damsm "
        "--data features never runs it."
    )
    given, dataset = _read("mmgen data features", text, Features, words, image_size=299)

    from mmgen.data.storage.features import pack_features
    from mmgen.models.damsm import DAMSMConfig, image_encoder

    device = device_of(given.device)
    config = DAMSMConfig(encoder=given.encoder, encoder_weights=given.encoder_weights)
    encoder = image_encoder(config).eval().to(device)
    packed = pack_features(
        dataset,
        encoder.trunk,
        folder(given.out),
        given.augmentations,
        encoder=given.encoder,
        fingerprint=encoder.fingerprint(),
        device=device,
        progress=lambda done, of: print(f"{done} of {of} samples", flush=True),
    )
    print(
        f"{packed.manifest}: {packed.samples} samples in {packed.augmentations} cuts, "
        f"{packed.bytes / 1e6:.1f} MB"
    )
    print(
        f"next: mmgen train damsm --data features --data-root {given.out} --encoder "
        f"{given.encoder} --image-size {dataset.image_size} --language "
        f"{dataset.language}"
    )
    return 0
