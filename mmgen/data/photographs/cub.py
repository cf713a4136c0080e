"""CUB-200-2011: 11,788 photographs of 200 kinds of birds, ten captions each.

Pictures: Wah et al., The Caltech-UCSD Birds-200-2011 Dataset (2011). Captions: Reed et
al., Learning Deep Representations of Fine-Grained Visual Descriptions (CVPR 2016).
Training has 150 kinds (8,855 pictures), the test 50 others (2,933).
"""

from __future__ import annotations

import codecs
import math
import warnings
from pathlib import Path

import numpy as np

from mmgen.data.files import misnamed, read_text
from mmgen.data.photographs.caption_files import load_plain_pickle
from mmgen.data.photographs.dataset import SPLITS, Photographs


class CUBDataset(Photographs):
    """Birds, cut out by their bounding boxes.

    ``Batch.class_ids`` are the kinds as numbered by ``class_info.pickle``; the column
    "species" of ``Batch.attributes`` names them.

    Args:
        split: "train" or "test".
        image_size: H = W, pixels.
        language: "en".
        root: folder with the layout of ``CUBDataset.layout``.
        captions_per_image: captions that each picture has.
        max_tokens: longer captions lose words, others in every epoch.
        augment: random crops, mirroring and captions; by default in training only.
        vocabulary: JSON file of the vocabulary to number the words by.

    Raises:
        FileNotFoundError: no such folder, or a part of it is missing.
        ValueError: parts that do not belong together, or a bad argument.
    """

    name = "cub"
    image_folder = "CUB_200_2011/images"
    pictures_from = "CUB_200_2011.tgz"
    layout = """\
Expected below root (by default data/birds):
  captions.pickle, or text/<class>/<picture>.txt with one caption a line
  train/filenames.pickle, train/class_info.pickle, and the same two below test/
  CUB_200_2011/images.txt, CUB_200_2011/bounding_boxes.txt
  CUB_200_2011/images/<class>/<picture>.jpg
Pictures: https://www.vision.caltech.edu/datasets/cub_200_2011/ (CUB_200_2011.tgz).
Captions and lists: "birds.zip", linked at https://github.com/taoxugit/AttnGAN#data"""

    def __init__(
        self,
        split: str = "train",
        image_size: int = 256,
        language: str = "en",
        *,
        root: str | Path = "data/birds",
        captions_per_image: int = 10,
        max_tokens: int = 18,
        augment: bool | None = None,
        vocabulary: str | Path | None = None,
    ) -> None:
        super().__init__(
            split,
            image_size,
            language,
            root=root,
            captions_per_image=captions_per_image,
            max_tokens=max_tokens,
            augment=augment,
            vocabulary=vocabulary,
        )
        self.class_ids = self._read_class_ids()
        self._boxes = self._read_boxes()
        species = {key.rpartition("/")[0] for s in SPLITS for key in self._read_keys(s)}
        self.attributes = {"species": tuple(sorted(species))}
        place = {name: i for i, name in enumerate(self.attributes["species"])}
        self._attribute_table = np.array(
            [[place[key.rpartition("/")[0]]] for key in self.keys], dtype=np.int64
        )

    def _read_class_ids(self) -> np.ndarray:
        path = self.root / self.split / "class_info.pickle"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: without classes, captions of the same kind of "
                f"bird would count as wrong ones.{misnamed(path)}\n{self.layout}"
            )
        ids = load_plain_pickle(path)
        if not isinstance(ids, list) or not all(type(i) is int for i in ids):
            raise ValueError(f"{path} must be a list of whole numbers, one a picture.")
        if len(ids) != len(self.keys):
            raise ValueError(
                f"{path} has {len(ids)} classes for {len(self.keys)} pictures: the two "
                f"files of {path.parent} do not belong together."
            )
        class_of: dict[str, int] = {}
        for key, number in zip(self.keys, ids, strict=True):
            folder = key.rpartition("/")[0]
            if class_of.setdefault(folder, number) != number:
                raise ValueError(
                    f"{path} does not match filenames.pickle: pictures of {folder} are "
                    f"of classes {class_of[folder]} and {number}."
                )
        if len(set(class_of.values())) != len(class_of):
            raise ValueError(
                f"{path} does not match filenames.pickle: {len(class_of)} folders, but "
                f"{len(set(class_of.values()))} classes."
            )
        return np.array(ids, dtype=np.int64)

    def _read_boxes(self) -> np.ndarray:
        """Left, top, width, height of each picture's bird, pixels: (N, 4)."""
        folder = self.root / "CUB_200_2011"
        names = _numbered_lines(folder / "images.txt", self.layout)
        boxes = _numbered_lines(folder / "bounding_boxes.txt", self.layout)
        found: dict[str, list[float]] = {}
        faults: dict[str, str] = {}
        for number, (_, fields) in names.items():
            key = " ".join(fields).removesuffix(".jpg")
            try:
                found[key] = _box(number, boxes)
            except ValueError as error:
                faults[key] = str(error)
        absent = [key for key in self.keys if key not in found]
        if absent:
            first = absent[0]
            fault = faults.get(first, "images.txt does not list it")
            if f"{first}.jpg" in found:
                fault = f"images.txt has its ending twice, {first}.jpg.jpg"
            raise ValueError(
                f"{folder}/bounding_boxes.txt must have a line of five numbers for "
                f"each picture of images.txt; {len(absent)} of {len(self.keys)} have "
                f"none, e.g. {first}: {fault}."
            )
        return np.array([found[key] for key in self.keys])


_Lines = dict[str, tuple[int, list[str]]]  # first word -> number of its line, the rest


def _numbered_lines(path: Path, layout: str) -> _Lines:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing.{misnamed(path)}\n{layout}")
    if path.read_bytes().startswith(codecs.BOM_UTF8):
        warnings.warn(
            f"{path} begins with a byte-order mark, which an editor has added; it is "
            f"left out.",
            stacklevel=5,
        )
    lines: _Lines = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        first, *rest = line.split() or [""]
        if first:
            lines[first] = number, rest
    return lines


def _box(number: str, boxes: _Lines) -> list[float]:
    """Left, top, width and height from the line that begins with a picture's number.

    Raises:
        ValueError: what is wrong with the line.
    """
    if number not in boxes:
        raise ValueError(f"no line begins with its number, {number}")
    line, fields = boxes[number]
    try:
        box = [float(field) for field in fields]
    except ValueError as error:
        raise ValueError(f"line {line} is {number} {' '.join(fields)}") from error
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise ValueError(f"line {line} is {number} {' '.join(fields)}")
    if min(box) < 0:
        raise ValueError(
            f"line {line} has a negative number, {min(box):g}, where left, top, width "
            f"and height are counted from the corner of the picture"
        )
    if min(box[2:]) < 2:
        raise ValueError(f"line {line} gives a box of {box[2]:g} x {box[3]:g} pixels")
    return box
