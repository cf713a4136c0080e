"""What a process that loads data says arrives as it was said."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
from fakes import make_cub

from mmgen.cli import main
from mmgen.data import load_dataset
from mmgen.data.photographs.dataset import PicturesError
from mmgen.data.shapes import ShapesDataset
from mmgen.data.storage.shards import ShardError, pack


class LocalError(Exception):
    """Needs two arguments, so that it cannot be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class Failing(ShapesDataset):
    def __init__(self, error: Exception) -> None:
        super().__init__("train", 16, size=32)
        self.error, self.rest = error, ("y",) * isinstance(error, LocalError)

    def prepare(self, indices: Any, epoch: int) -> Any:
        raise type(self.error)(*self.error.args[:1], *self.rest)


@pytest.mark.parametrize("error", [ValueError("a b"), OSError("c"), KeyError("d")])
def test_an_error_keeps_its_kind_and_its_words(error):
    with pytest.raises(type(error)) as caught:
        next(Failing(error).batches(4, workers=1))
    assert str(caught.value) == str(error)
    (note,) = caught.value.__notes__
    assert "in prepare" in note  # where it was raised, for whoever looks for it


def test_an_error_that_cannot_travel_is_named_all_the_same():
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(LocalError("x", "y")))
    with pytest.raises(Exception, match="x y y"):
        next(Failing(LocalError("x", "y")).batches(4, workers=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_without_a_picture_is_one_line(workers, tmp_path, capsys):
    root = make_cub(tmp_path / "birds")
    for path in (root / "CUB_200_2011" / "images").rglob("*.jpg"):
        path.write_bytes(b"<html>")
    data = load_dataset("cub", "train", 32, root=root, captions_per_image=3)
    with pytest.raises(PicturesError) as caught:
        next(data.batches(2, workers=workers))
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text
    assert "6 pictures of cub in a row do not decode" in text and "web page" in text
    words = ["train", "cgan", "--data", "cub", "--data-root", str(root)]
    words += ["--data-captions-per-image", "3", "--image-size", "32", "--scale"]
    words += ["smoke", "--batch-size", "4", "--progress", "none", "--no-tensorboard"]
    words += ["--workers", str(workers), "--out", str(tmp_path / "run")]
    capsys.readouterr()
    assert main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("mmgen: error: ") and "in a row do not decode" in line


def test_a_damaged_shard_is_one_line(tmp_path: Path):
    pack(ShapesDataset("train", 16, size=16), tmp_path, 16)
    path = tmp_path / "train-000000.tar"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"captions"', b'"captiOns"'))
    data = load_dataset("shards", "train", 16, root=tmp_path)
    with pytest.raises(ShardError) as caught:
        list(itertools.islice(data.batches(8, workers=1), 2))
    assert "\n" not in str(caught.value)
    assert "json in" in str(caught.value) and str(path) in str(caught.value)
