"""Tiny data sets in the layouts of CUB and COCO as AttnGAN's release has them."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("001.Red_Robin", "002.Blue_Jay", "003.Green_Finch")
COLOURS = ((200, 40, 40), (40, 40, 200), (40, 180, 40))


def photograph(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    """A bird: a coloured block with a gradient, on grey noise; 100 x 80 pixels."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 130, (80, 100, 3), dtype=np.uint8)
    pixels[20:60, 30:80] = colour
    pixels[20:60, 30:80, seed % 3] += np.arange(50, dtype=np.uint8)[None, :]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


def caption(colour: str, number: int, j: int) -> str:
    tail = " with a very long tail and a short bill seen from the side" * (j == 1)
    return f"This {colour} bird is picture {number}, caption {j}{tail}."


def python2_pickle(content, path: Path) -> None:
    """As Python 2 writes with protocol 2: its strings are bytes without encoding."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_Python2().dump(content))


class _Python2:
    """Enough of Python 2's pickler: str becomes BINSTRING, which ours never writes."""

    def dump(self, content) -> bytes:
        return b"\x80\x02" + self._save(content) + b"."

    def _save(self, content) -> bytes:
        if isinstance(content, str):
            raw = content.encode("latin-1")
            return b"T" + len(raw).to_bytes(4, "little") + raw
        if isinstance(content, list):
            return b"](" + b"".join(map(self._save, content)) + b"e"
        if isinstance(content, dict):
            parts = (self._save(k) + self._save(v) for k, v in content.items())
            return b"}(" + b"".join(parts) + b"u"
        return pickle.dumps(content, protocol=2)[2:-1]


def _captions_pickle(root: Path, texts: dict[str, list[str]]) -> None:
    index = {"<end>": 0}
    rows = {
        split: [
            [index.setdefault(w, len(index)) for w in original(text)]
            for text in captions
        ]
        for split, captions in texts.items()
    }
    words = {i: word for word, i in index.items()}
    python2_pickle(
        [rows["train"], rows["test"], words, index], root / "captions.pickle"
    )


def original(text: str) -> list[str]:
    """Words of these captions, by hand: letters and digits, lower case."""
    return text.lower().replace(",", " ").replace(".", " ").split()


def make_cub(root: Path, per_image: int = 3, pickled: bool = True) -> Path:
    """Six training pictures of two kinds and three test pictures of a third."""
    keys = {
        "train": [f"{CLASSES[i % 2]}/Bird_{i:04d}" for i in range(6)],
        "test": [f"{CLASSES[2]}/Bird_{i:04d}" for i in range(6, 9)],
    }
    base = root / "CUB_200_2011"
    base.mkdir(parents=True)
    texts: dict[str, list[str]] = {"train": [], "test": []}
    images, boxes = [], []
    for split, names in keys.items():
        python2_pickle(names, root / split / "filenames.pickle")
        kinds = [CLASSES.index(name.split("/")[0]) for name in names]
        python2_pickle([k + 1 for k in kinds], root / split / "class_info.pickle")
        for name, kind in zip(names, kinds, strict=True):
            number = int(name[-4:])
            photograph(base / "images" / f"{name}.jpg", COLOURS[kind], number)
            images.append(f"{number + 1} {name}.jpg")
            boxes.append(f"{number + 1} 30.0 20.0 50.0 40.0")
            colour = CLASSES[kind][4:].split("_")[0]
            lines = [caption(colour, number, j) for j in range(per_image)]
            texts[split] += lines
            text = root / "text" / f"{name}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (base / "images.txt").write_text("\n".join(images) + "\n")
    (base / "bounding_boxes.txt").write_text("\n".join(boxes) + "\n")
    if pickled:
        _captions_pickle(root, texts)
    return root


def make_coco(root: Path, per_image: int = 2, train: int = 5, test: int = 3) -> Path:
    """Scenes without classes and boxes."""
    names = [f"COCO_train2014_{i:012d}" for i in range(train + test)]
    keys = {"train": names[:train], "test": names[train:]}
    texts: dict[str, list[str]] = {"train": [], "test": []}
    for split, listed in keys.items():
        python2_pickle(listed, root / split / "filenames.pickle")
        for name in listed:
            number = int(name[-12:])
            photograph(root / "images" / f"{name}.jpg", COLOURS[number % 3], number)
            texts[split] += [caption("grey", number, j) for j in range(per_image)]
    _captions_pickle(root, texts)
    return root
