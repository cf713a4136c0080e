"""A folder of somebody's own pictures: what lies in it is read, named or refused."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgen.cli import main
from mmgen.data import Batch, load_dataset
from mmgen.data.photographs.dataset import PicturesError
from mmgen.data.storage.folder import FolderDataset
from mmgen.data.storage.shards import pack
from mmgen.interfaces import Task
from mmgen.presets import find
from mmgen.registry import METHODS, find_class
from mmgen.training import build

SIZE = 16


def picture(place: int, width: int = 24, height: int = 24) -> Image.Image:
    """A picture that no other place has: a square of one grey on noise."""
    noise = np.random.default_rng(place).integers(0, 256, (height, width, 3))
    noise[4:12, 4:12] = 8 * place
    return Image.fromarray(noise.astype(np.uint8))


def fill(root: Path, count: int = 12) -> Path:
    """PNG pictures with a text beside each."""
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture(i).save(root / f"p{i:02d}.png")
        (root / f"p{i:02d}.txt").write_text(f"a grey square {i}\n", "utf-8")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "mine")


def load(root: Path, split: str = "all", size: int = SIZE, **options) -> FolderDataset:
    dataset = load_dataset("folder", split, size, root=root, **options)
    assert isinstance(dataset, FolderDataset)
    return dataset


def shown(batch: Batch) -> np.ndarray:
    """Pictures as bytes, (B, H, W, 3)."""
    values = ((batch.images + 1) * 127.5).round().byte()
    return values.permute(0, 2, 3, 1).numpy()


# ----------------------------------------------------------------------------- samples


def test_a_picture_comes_with_its_text_pixel_by_pixel(folder: Path) -> None:
    dataset = load(folder, size=24)
    batch = dataset.batch([3, 10])
    assert len(dataset) == 12 and batch.images.shape == (2, 3, 24, 24)
    assert batch.captions == ["a grey square 3", "a grey square 10"]
    for pixels, place in zip(shown(batch), (3, 10), strict=True):
        assert np.array_equal(pixels, np.asarray(picture(place)))
    assert dataset.vocabulary.decode(batch.tokens) == batch.captions
    assert batch.lengths.tolist() == [4, 4] and batch.class_ids.tolist() == [3, 10]


def test_texts_and_lists_say_the_same(folder: Path, tmp_path: Path) -> None:
    as_json, as_csv = tmp_path / "json", tmp_path / "csv"
    pairs = [(f"p{i:02d}.png", f"a grey square {i}") for i in range(12)]
    for root in (as_json, as_csv):
        shutil.copytree(folder, root)
        for path in root.glob("*.txt"):
            path.unlink()
    lines = [
        json.dumps(
            {"image": name, "caption": text}
            if i
            else {"captions": [text], "image": name}
        )
        for i, (name, text) in enumerate(pairs)
    ]
    (as_json / "captions.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    with (as_csv / "captions.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("image", "caption"), *pairs])
    expected = load(folder).batch(range(12))
    for root in (as_json, as_csv):
        batch = load(root).batch(range(12))
        assert batch.captions == expected.captions
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.tokens, expected.tokens)


def test_several_captions_take_turns(folder: Path) -> None:
    (folder / "p00.txt").write_text("one\n\n  two \n，。\nthree\n", "utf-8")
    dataset = load(folder)
    said = [dataset.batch([0], epoch).captions[0] for epoch in range(6)]
    assert said == ["one", "two", "three"] * 2
    drawn = load(folder, augment=True)
    chosen = {drawn.batch([0], epoch).captions[0] for epoch in range(30)}
    assert chosen == {"one", "two", "three"}


def test_long_captions_lose_words_and_are_counted(folder: Path) -> None:
    (folder / "p01.txt").write_text("the first of many words here", "utf-8")
    assert load(folder).max_tokens == 6 and load(folder).shortened == 0
    short = load(folder, max_tokens=5)
    batch = short.batch([0, 1])
    assert short.max_tokens == 5 and short.shortened == 1
    assert batch.lengths.tolist() == [4, 5]
    assert batch.captions[1] == "the first of many words here"


def test_chinese_is_read_by_character(folder: Path) -> None:
    (folder / "p00.txt").write_text("红色的星", "utf-8")
    dataset = load(folder, language="both")
    assert dataset.batch([0]).lengths.tolist() == [4]
    assert "星" in dataset.vocabulary and dataset.vocabulary.language == "both"


def test_augmentation_moves_and_mirrors_and_is_off_by_default(folder: Path) -> None:
    still, moving = load(folder), load(folder, augment=True)
    assert torch.equal(still.batch([0], 0).images, still.batch([0], 1).images)
    seen = {moving.batch([0], epoch).images.numpy().tobytes() for epoch in range(8)}
    assert len(seen) == 8
    assert torch.equal(moving.batch([0], 3).images, moving.batch([0], 3).images)


# ------------------------------------------------------------------------------- files


def test_pictures_of_all_kinds_look_as_they_are_meant(tmp_path: Path) -> None:
    """EXIF's turn, 16 bits, a palette and transparent pixels: right at (0, 0)."""
    red = np.full((24, 24, 3), 40, np.uint8)
    red[:12, :12] = (255, 0, 0)  # top left
    upright = Image.fromarray(red)
    root = tmp_path / "kinds"
    root.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: turn it by 90 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(
        root / "a.jpg", exif=exif, quality=100, subsampling=0
    )
    grey = np.full((24, 24), 10_000, np.uint16)
    grey[:12, :12] = 65_535
    Image.fromarray(grey).save(root / "b.png")
    upright.quantize(2).save(root / "c.png")
    hidden = np.dstack([red, np.full((24, 24), 255, np.uint8)])
    hidden[12:, 12:, 3] = 0  # over a colour that must not be seen
    Image.fromarray(hidden).save(root / "d.png")
    upright.convert("CMYK").save(root / "e.jpg", quality=100)
    for path in list(root.iterdir()):
        path.with_suffix(".txt").write_text("a corner", "utf-8")

    a, b, c, d, e = shown(load(root, size=24).batch(range(5))).astype(int)
    for turned in (a, e):
        assert np.abs(turned[2, 2] - (255, 0, 0)).max() < 12
        assert np.abs(turned[20, 20] - 40).max() < 12
    assert b[2, 2].tolist() == [255] * 3 and b[20, 20].tolist() == [39] * 3
    assert np.array_equal(c, red)
    assert d[2, 2].tolist() == [255, 0, 0] and d[20, 20].tolist() == [255] * 3


def test_the_middle_square_of_a_wide_picture(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    root = tmp_path / "wide"
    root.mkdir()
    Image.fromarray(wide).save(root / "a.png")
    (root / "a.txt").write_text("white", "utf-8")
    assert shown(load(root, size=20).batch([0])).min() == 255
    assert shown(load(root, size=10).batch([0]))[0, :, 2:8].min() > 250


def test_a_picture_that_does_not_decode_is_named_and_replaced(folder: Path) -> None:
    (folder / "p04.png").write_bytes(b"no picture")
    dataset = load(folder)
    with pytest.warns(UserWarning, match=r"p04\.png does not decode .*folder"):
        batch = dataset.batch([3, 4])
    assert batch.captions == ["a grey square 3", "a grey square 5"]
    assert batch.indices.tolist() == [3, 5] and len(dataset.skipped) == 1
    for path in folder.glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(PicturesError, match="12 pictures of folder in a row"):
        load(folder).batch([0])


# ------------------------------------------------------------------------------ splits


def test_folders_are_splits_with_one_vocabulary(tmp_path: Path) -> None:
    root = tmp_path / "divided"
    fill(root / "train", 5)
    fill(root / "test", 3)
    (root / "test" / "p00.txt").write_text("a word of its own", "utf-8")
    train, test, both = (load(root, split) for split in ("train", "test", "all"))
    assert [len(data) for data in (train, test, both)] == [5, 3, 8]
    assert train.vocabulary == test.vocabulary == both.vocabulary
    assert train.max_tokens == test.max_tokens == 5
    assert train.path(0) == root / "train" / "p00.png"
    # the same three files lie in both: they show the same
    assert both.class_ids.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    with pytest.raises(FileNotFoundError, match=r"no folder validation; .*train, test"):
        load(root, "validation")


def test_content_divides_a_folder_and_keeps_copies_together(tmp_path: Path) -> None:
    root = fill(tmp_path / "many", 200)
    homes = {s: load(root, s).keys for s in ("train", "validation", "test")}
    found = sorted(name for names in homes.values() for name in names)
    assert found == load(root).keys and len(found) == 200
    # binomial, 160 and 20 expected: five standard deviations
    assert abs(len(homes["train"]) - 160) < 29 and abs(len(homes["test"]) - 20) < 21
    for i in range(200):  # copies under other names, and nothing else moves
        shutil.copy(root / f"p{i:02d}.png", root / f"copy{i}.png")
        shutil.copy(root / f"p{i:02d}.txt", root / f"copy{i}.txt")
    for split, names in homes.items():
        dataset = load(root, split)
        assert len(dataset) == 2 * len(names) and set(names) < set(dataset.keys)
        _, counts = np.unique(dataset.class_ids, return_counts=True)
        assert set(counts) == {2}


def test_an_empty_part_of_a_small_folder_is_said(tmp_path: Path) -> None:
    root = fill(tmp_path / "small", 1)
    empty = [s for s in ("train", "validation", "test") if not _has(root, s)]
    assert len(empty) == 2
    with pytest.raises(
        ValueError, match=f"'{empty[0]}' holds none of the 1 pic.*'all'"
    ):
        load(root, empty[0])


def _has(root: Path, split: str) -> bool:
    try:
        return len(load(root, split)) > 0
    except ValueError:
        return False


# --------------------------------------------------------------------------- bad input


def test_pictures_without_a_text_are_named_and_left_out(folder: Path) -> None:
    (folder / "p03.txt").unlink()
    (folder / "p07.txt").write_text(" \n...\n", "utf-8")
    with pytest.warns(
        UserWarning, match=r"2 of the 12 .*: p03\.png, p07\.png\."
    ) as told:
        dataset = load(folder)
    assert told[0].filename == __file__.replace(".pyc", ".py")
    assert len(dataset) == 10 and "p03.png" not in dataset.keys
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset.batch(range(10))


def test_a_folder_without_texts_or_pictures_is_refused(tmp_path: Path) -> None:
    root = fill(tmp_path / "silent")
    for path in root.glob("*.txt"):
        path.unlink()
    with pytest.raises(ValueError, match=r"none of the 12 .*p00\.png.*captions\.csv"):
        load(root)
    for path in root.glob("*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"holds no picture; .*\.jpg"):
        load(root)
    with pytest.raises(FileNotFoundError, match="root must be a folder"):
        load(tmp_path / "nowhere")


LISTS = {
    '{"image": "p00.png"}': "line 1, must be an object with image and caption",
    '["p00.png", "a text"]': "line 1, must be an object",
    '{"image": "p00.png", "caption": "a"}\nno JSON': "line 2, must be an object",
    '{"image": "p00.png", "caption": 7}': "must be texts",
    '{"image": "../p00.png", "caption": "a"}': "must name a picture below",
    '{"image": "/etc/p00.png", "caption": "a"}': "must name a picture below",
    '{"image": "", "caption": "a"}': "must name a picture below",
}


@pytest.mark.parametrize("text", LISTS)
def test_a_list_that_cannot_be_read_is_refused(folder: Path, text: str) -> None:
    (folder / "captions.jsonl").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=LISTS[text]):
        load(folder)


def test_a_table_with_shifted_cells_is_refused(folder: Path) -> None:
    path = folder / "captions.csv"
    for text, message in (
        ("image,text\np00.png,a\n", "columns image and caption"),
        ("image,caption\np00.png,red, and blue\n", "line 2, must have as many cells"),
        ("image,caption\np00.png\n", "line 2, must have as many cells"),
        ("", "empty, damaged or cut off"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(ValueError, match=message):
            load(folder)
    path.write_text('image,caption\np00.png,"red, and blue"\n', "utf-8")
    with pytest.warns(UserWarning, match="11 of the 12 pictures"):
        assert load(folder).captions(0) == ["red, and blue"]
    (folder / "captions.jsonl").write_text("", "utf-8")
    with pytest.raises(ValueError, match="keep the list that is to be read"):
        load(folder)


def test_missing_pictures_of_a_list_are_named(folder: Path) -> None:
    names = [f"p{i:02d}.png" for i in range(10, 15)]
    lines = [json.dumps({"image": name, "caption": "a"}) for name in names]
    (folder / "captions.jsonl").write_text("\n".join(lines), "utf-8")
    shutil.copy(folder / "p00.png", folder / "p12.jpeg")
    with pytest.raises(FileNotFoundError, match=r"3 of the 5 .*p12\.png, p13") as told:
        load(folder)
    assert "There is p12.jpeg in its place" in str(told.value)


def test_a_text_of_another_encoding_is_named(folder: Path) -> None:
    (folder / "p05.txt").write_bytes("红色".encode("gbk"))
    with pytest.raises(ValueError, match=r"p05\.txt is not UTF-8"):
        load(folder)
    (folder / "p05.txt").write_bytes("a".encode("utf-16"))
    with pytest.raises(ValueError, match=r"p05\.txt is not UTF-8 text but UTF-16"):
        load(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "split must be one of train, validation, test, all"),
        ({"size": 0}, "image_size must be at least 1"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"language": "fr"}, "language"),
        ({"mirror": True}, "options of 'folder'"),
    ],
)
def test_arguments_outside_their_range(folder, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        load(folder, **options)


def test_a_vocabulary_of_a_run_numbers_the_words(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    load(folder).vocabulary.save(path)
    (folder / "p00.txt").write_text("a strange square", "utf-8")
    with pytest.warns(UserWarning, match="lacks 1 of the 15 words"):
        dataset = load(folder, vocabulary=path)
    assert dataset.batch([0]).tokens[0, :3].tolist()[1] == 1  # <unk>
    load_dataset("shapes", "train", 16).vocabulary.save(path)
    with pytest.raises(ValueError, match="belongs to another data set"):
        load(folder, vocabulary=path)


# ----------------------------------------------------------------- what is made of it


def test_shards_hold_what_the_folder_shows(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    (folder / "p00.txt").write_text("one\ntwo\n", "utf-8")
    dataset = load(folder, "train")
    pack(dataset, tmp_path / "shards", samples_per_shard=4, captions_per_sample=2)
    packed = load_dataset(
        "shards", "train", SIZE, root=tmp_path / "shards", augment=False
    )
    assert len(packed) == len(dataset)
    by_caption = {}
    for i in range(len(packed)):
        batch = packed.batch([i])
        by_caption[batch.captions[0]] = batch
    for i in range(len(dataset)):
        here = dataset.batch([i])
        there = by_caption[here.captions[0]]
        assert torch.equal(here.images, there.images)
        assert torch.equal(here.tokens, there.tokens)
        assert torch.equal(here.class_ids, there.class_ids)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """Shapes, saved as a person's own files."""
    root = tmp_path_factory.mktemp("scenes")
    (root / "train").mkdir()
    world = load_dataset("shapes", "train", 16, objects=(1,))
    batch = world.batch(range(24))
    for i, (pixels, text) in enumerate(zip(shown(batch), batch.captions, strict=True)):
        Image.fromarray(pixels).save(root / "train" / f"{i}.png")
        (root / "train" / f"{i}.txt").write_text(text, "utf-8")
    return root


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_built_on_a_folder(method: str, scenes: Path) -> None:
    preset = find(method, "smoke", "folder")
    data = load_dataset(**preset.data, root=scenes)
    task_class: type[Task] = find_class(METHODS[method])
    refused = None
    if method == "reader":  # it learns labels, which a folder does not have
        refused = "attributes"
    elif method == "fuse":  # nobody knows what else its pictures show
        refused = "ask questions, such as shapes; 'folder' cannot"
    elif task_class.requires(preset.config):
        refused = "Train one first"
    if refused:
        with pytest.raises(ValueError, match=refused):
            build(task_class, preset.config, data)
        return
    assert isinstance(build(task_class, preset.config, data), task_class)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["damsm", "cgan", "vqvae"])
def test_a_folder_trains_from_the_command_line(
    method: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["train", method, "--data", "folder", "--data-root", str(scenes)]
    words += ["--scale", "smoke", "--out", str(tmp_path / "run")]
    assert main([*words, "--progress", "none", "--no-tensorboard"]) == 0
    about = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert about["dataset"]["name"] == "folder"
    assert main(["data", "folder", "--data-root", str(scenes)]) == 0
    assert "24 samples of 64 x 64 pixels" in capsys.readouterr().out
