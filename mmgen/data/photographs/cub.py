"""CUB-200-2011: 11,788 photographs of 200 kinds of birds, ten captions each.

Pictures: Wah et al., The Caltech-UCSD Birds-200-2011 Dataset (2011). Captions: Reed et
al., Learning Deep Representations of Fine-Grained Visual Descriptions (CVPR 2016).
Training has 150 kinds (8,855 pictures), the test 50 others (2,933).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mmgen.data.photographs.caption_files import load_plain_pickle
from mmgen.data.photographs.dataset import SPLITS, Photographs

_NUMBER = re.compile(r"\d+(\.\d+)?")


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
                f"bird would count as wrong ones.\n{self.layout}"
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
        by_key: dict[str, list[float]] = {}
        for number, fields in names.items():
            box = [float(x) for x in boxes.get(number, []) if _NUMBER.fullmatch(x)]
            if len(box) == 4 and min(box[2:]) >= 2:
                by_key[" ".join(fields).removesuffix(".jpg")] = box
        absent = [key for key in self.keys if key not in by_key]
        if absent:
            raise ValueError(
                f"{folder}/bounding_boxes.txt must have a line of five numbers for "
                f"each picture of images.txt; {len(absent)} of {len(self.keys)} have "
                f"none, e.g. {absent[0]}."
            )
        return np.array([by_key[key] for key in self.keys])


def _numbered_lines(path: Path, layout: str) -> dict[str, list[str]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing.\n{layout}")
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {fields[0]: fields[1:] for fields in lines if fields}
