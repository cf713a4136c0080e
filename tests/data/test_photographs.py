"""CUB and COCO, on tiny fakes of the same layout."""

import itertools
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import warnings

import numpy as np
import pytest
import torch
from fakes import CLASSES, make_coco, make_cub, original, python2_pickle
from PIL import Image

from mmgen.data import Vocabulary, load_dataset
from mmgen.data.photographs.caption_files import load_plain_pickle
from mmgen.data.photographs.cub import CUBDataset
from mmgen.data.photographs.dataset import crop, some_words
from mmgen.data.photographs.decoding import bird_crop
from mmgen.data.workers import WorkerError


@pytest.fixture(scope="module")
def cub_folder(tmp_path_factory):
    return make_cub(tmp_path_factory.mktemp("cub") / "birds")


@pytest.fixture
def birds(cub_folder, tmp_path):
    """A copy to damage."""
    return shutil.copytree(cub_folder, tmp_path / "birds")


def cub(root, split="train", image_size=16, **options):
    options = {"captions_per_image": 3, "max_tokens": 8} | options
    return load_dataset("cub", split, image_size, root=root, **options)


# ------------------------------------------------------------------- samples


def test_a_batch_of_birds(cub_folder):
    dataset = cub(cub_folder)
    batch = dataset.batch([0, 3, 4])
    assert len(dataset) == 6 and batch.images.shape == (3, 3, 16, 16)
    assert batch.images.min() >= -1 and batch.images.max() <= 1
    assert batch.tokens.shape == (3, 8)
    assert batch.class_ids.tolist() == [1, 2, 1]
    assert dataset.attributes == {"species": CLASSES}
    assert batch.attributes.tolist() == [[0], [1], [0]]
    # the middle of a picture is its bird: red, blue, red
    middle = batch.images[:, :, 6:10, 6:10].mean((2, 3))
    assert middle.argmax(1).tolist() == [0, 2, 0]
    for row, index in enumerate([0, 3, 4]):
        assert batch.captions[row] in dataset.captions(index)
        shown = batch.tokens[row, : batch.lengths[row]]
        words = [dataset.vocabulary.tokens[i] for i in shown]
        said = iter(batch.captions[row].split())
        assert all(word in said for word in words)  # in the caption's order
    assert (batch.tokens[~batch.mask] == 0).all()


def test_a_batch_of_scenes(tmp_path):
    root = make_coco(tmp_path / "coco")
    dataset = load_dataset("coco", "test", 16, root=root, captions_per_image=2)
    batch = dataset.batch([0, 1, 2])
    assert dataset.max_tokens == 15 and batch.tokens.shape == (3, 15)
    assert batch.class_ids.tolist() == [0, 1, 2] and batch.attributes is None
    assert batch.captions[1] == "this grey bird is picture 6 caption 0"


def test_defaults_are_the_papers(cub_folder):
    options = CUBDataset.__init__.__kwdefaults__
    assert options["max_tokens"] == 18 and options["captions_per_image"] == 10


def test_the_crop_around_a_bird():
    # CUB's first picture: 500 x 335, box 60 27 325 304; by hand with r = int(.75 * 325)
    assert bird_crop((60.0, 27.0, 325.0, 304.0), 500, 335) == (0, 0, 465, 335)
    assert bird_crop((100, 100, 40, 20), 500, 335) == (90, 80, 150, 140)
    assert bird_crop((480, 300, 20, 35), 500, 335) == (464, 291, 500, 335)


@pytest.mark.parametrize("size, scaled", [(64, 76), (256, 304), (299, 355)])
def test_a_crop_is_a_window_of_the_resized_picture(size, scaled):
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    width = int(scaled * 600 / 400)
    whole = np.asarray(picture.resize((width, scaled), Image.BILINEAR))
    for down, across, mirror in ((0.0, 0.0, 0.9), (0.999, 0.999, 0.9), (0.3, 0.7, 0.1)):
        top = int(down * (scaled - size + 1))
        left = int(across * (width - size + 1))
        window = whole[top : top + size, left : left + size]
        if mirror < 0.5:
            window = window[:, ::-1]
        ours = crop(picture, size, chance=(down, across, mirror)).permute(1, 2, 0)
        assert np.array_equal(ours.numpy(), window)


def test_long_captions_lose_random_words_and_keep_their_order():
    tokens = np.arange(100, 130)
    subsets = [some_words(tokens, 12, 5, epoch) for epoch in range(300)]
    assert all(len(s) == 12 and (np.diff(s) > 0).all() for s in subsets)
    assert np.array_equal(subsets[7], some_words(tokens, 12, 5, 7))
    assert not np.array_equal(subsets[7], some_words(tokens, 12, 6, 7))
    # every word equally often: 300 * 12 / 30 = 120, standard deviation 8.5
    counts = np.bincount(np.concatenate(subsets) - 100, minlength=30)
    assert abs(counts - 120).max() < 5 * 8.5
    assert np.array_equal(some_words(tokens[:12], 12, 5, 0), tokens[:12])


def test_training_draws_anew_each_epoch_and_the_test_stays(cub_folder):
    train, test = cub(cub_folder), cub(cub_folder, "test")
    first = [train.batch(range(6), epoch) for epoch in range(8)]
    assert len({b.images.numpy().tobytes() for b in first}) == 8
    assert len({c for b in first for c in b.captions}) == 18  # all of all
    for epoch, batch in enumerate(first):
        again = train.batch([4, 2], epoch)
        assert torch.equal(again.images, batch.images[[4, 2]])
        assert torch.equal(again.tokens, batch.tokens[[4, 2]])
    still = [test.batch(range(3), epoch) for epoch in range(3)]
    assert torch.equal(still[0].images, still[2].images)
    assert [b.captions[0][-1] for b in still] == ["0", "e", "2"]  # 1 ends in "side"
    moving = cub(cub_folder, "test", augment=True)
    assert not torch.equal(moving.batch([0], 0).images, moving.batch([0], 1).images)


def test_workers_and_processes_see_the_same_batches(cub_folder):
    dataset = cub(cub_folder)
    here = list(itertools.islice(dataset.batches(4, seed=1), 5))
    there = list(itertools.islice(dataset.batches(4, seed=1, workers=2), 5))
    halves = [
        list(itertools.islice(dataset.batches(4, seed=1, rank=r, world_size=2), 5))
        for r in (0, 1)
    ]
    later = list(itertools.islice(dataset.batches(4, seed=1, start_step=3), 2))
    for step, batch in enumerate(here):
        assert torch.equal(batch.images, there[step].images)
        assert torch.equal(batch.tokens, there[step].tokens)
        joined = torch.cat([halves[0][step].images, halves[1][step].images])
        assert torch.equal(batch.images, joined)
    assert torch.equal(here[3].images, later[0].images)
    assert torch.equal(here[4].tokens, later[1].tokens)


def test_a_data_set_travels_to_a_spawned_worker(cub_folder):
    dataset = cub(cub_folder)
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy.batch([1], 3).images, dataset.batch([1], 3).images)


# ------------------------------------------------------------------- vocabularies


def test_tokens_in_the_numbering_of_released_weights(cub_folder):
    dataset = cub(cub_folder, max_tokens=30, augment=False)
    _, _, words, index = load_plain_pickle(cub_folder / "captions.pickle")
    batch = dataset.batch(range(6), 1)
    tokens, lengths = dataset.original_tokens(batch, len(words))
    for row, caption, length in zip(tokens, batch.captions, lengths, strict=True):
        assert row[:length].tolist() == [index[w] for w in original(caption)]
        assert (row[length:] == 0).all()


def test_weights_of_another_vocabulary_are_named(cub_folder):
    dataset = cub(cub_folder)
    batch = dataset.batch([0])
    with pytest.raises(
        ValueError, match=r"embedding_rows must be .*got weights with 5450"
    ):
        dataset.original_tokens(batch, 5450)


def test_a_run_keeps_its_own_numbering(birds, tmp_path):
    before = cub(birds, augment=False, max_tokens=30)
    before.vocabulary.save(tmp_path / "vocabulary.json")
    (birds / "captions.pickle").unlink()
    text = birds / "text" / CLASSES[0] / "Bird_0000.txt"
    text.write_text("A new red bird.\n" * 3)  # shifts all numbers
    renumbered = cub(birds, augment=False, max_tokens=30)
    assert renumbered.vocabulary.tokens != before.vocabulary.tokens
    with pytest.warns(UserWarning, match="lacks 1 of the .* words .* become <unk>"):
        kept = cub(birds, augment=False, max_tokens=30,
                   vocabulary=str(tmp_path / "vocabulary.json"))  # fmt: skip
    assert kept.vocabulary == before.vocabulary
    assert torch.equal(kept.batch([1, 2]).tokens, before.batch([1, 2]).tokens)
    assert kept.batch([0]).tokens[0, :4].tolist() == [
        *before.vocabulary.encode("a").__getitem__(0)[0].tolist(), 1,
        *before.vocabulary.encode("red bird")[0][0].tolist(),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="without the option 'vocabulary'"):
        kept.original_tokens(kept.batch([1]), len(kept.caption_file.words))


def test_the_vocabulary_of_another_data_set_is_refused(cub_folder, tmp_path):
    Vocabulary.build(["quite other words"]).save(tmp_path / "vocabulary.json")
    with pytest.raises(ValueError, match="it belongs to another data set"):
        cub(cub_folder, vocabulary=tmp_path / "vocabulary.json")
    (tmp_path / "vocabulary.json").write_text("{")
    with pytest.raises(ValueError, match="is no vocabulary: "):
        cub(cub_folder, vocabulary=tmp_path / "vocabulary.json")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        cub(cub_folder, vocabulary=tmp_path / "nowhere.json")


def test_options_make_the_set_again(cub_folder):
    dataset = cub(cub_folder, max_tokens=5)
    options = json.loads(json.dumps(dataset.options))
    again = load_dataset("cub", dataset.split, dataset.image_size, **options)
    assert torch.equal(again.batch([2], 4).images, dataset.batch([2], 4).images)


# ------------------------------------------------------------------- damaged folders


@pytest.mark.parametrize("name", ["cub", "coco"])
def test_a_missing_data_set_says_where_to_get_it(name, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_dataset(name, root=tmp_path / "nowhere")
    text = str(error.value)
    assert f"no {name} data set at {tmp_path / 'nowhere'}" in text
    assert "captions.pickle" in text and "https://" in text and ".jpg" in text


@pytest.mark.parametrize(
    "part, message",
    [
        ("train/filenames.pickle", "train/filenames.pickle is missing"),
        ("test/filenames.pickle", "test/filenames.pickle is missing"),
        ("train/class_info.pickle", "class_info.pickle is missing: without classes"),
        ("CUB_200_2011/images.txt", "images.txt is missing"),
        ("CUB_200_2011/bounding_boxes.txt", "bounding_boxes.txt is missing"),
        ("CUB_200_2011/images", "6 of the 6 train pictures of cub are missing"),
        (f"CUB_200_2011/images/{CLASSES[1]}", f"Missing as a whole: {CLASSES[1]}"),
        (f"CUB_200_2011/images/{CLASSES[0]}/Bird_0002.jpg", "1 of the 6 train"),
    ],
)
def test_half_a_download_is_named(birds, part, message):
    path = birds / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        cub(birds)


def test_no_captions_at_all(birds):
    (birds / "captions.pickle").unlink()
    shutil.rmtree(birds / "text")
    with pytest.raises(FileNotFoundError, match="has no captions"):
        cub(birds)


@pytest.mark.parametrize(
    "classes, message",
    [
        ([1, 2, 1], "has 3 classes for 6 pictures"),
        ([1, 2, 1, 2, 2, 2], "pictures of 001.Red_Robin are of classes 1 and 2"),
        ([1, 1, 1, 1, 1, 1], "2 folders, but 1 classes"),
        (["1"] * 6, "must be a list of whole numbers"),
    ],
)
def test_classes_that_do_not_match(birds, classes, message):
    python2_pickle(classes, birds / "train" / "class_info.pickle")
    with pytest.raises(ValueError, match=message):
        cub(birds)


@pytest.mark.parametrize(
    "line, broken", [("3 30.0 20.0", 1), ("3 a b c d", 1), ("3 1 1 0 0", 1), ("", 1)]
)
def test_a_bounding_box_missing_or_broken(birds, line, broken):
    path = birds / "CUB_200_2011" / "bounding_boxes.txt"
    lines = path.read_text().splitlines()
    lines[2] = line
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"{broken} of 6 have none, e.g. .*Bird_0002"):
        cub(birds)


@pytest.mark.parametrize("keys", [["../../etc/x"], ["/etc/x"], [3], [], {"a": 1}])
def test_a_list_of_pictures_must_stay_inside(birds, keys):
    python2_pickle(keys, birds / "train" / "filenames.pickle")
    with pytest.raises(ValueError, match=r"filenames\.pickle must"):
        cub(birds)


def test_captions_of_other_pictures(birds):
    python2_pickle(
        load_plain_pickle(birds / "train" / "filenames.pickle")[:5],
        birds / "train" / "filenames.pickle",
    )
    with pytest.raises(
        ValueError, match="18 train captions; 5 pictures with 3 captions"
    ):
        cub(birds)


def test_a_picture_without_any_word_is_named(birds):
    content = load_plain_pickle(birds / "captions.pickle")
    content[0][6:9] = [[], [], []]
    python2_pickle(content, birds / "captions.pickle")
    with pytest.raises(ValueError, match=r"all captions of .*Bird_0002 .* are empty"):
        cub(birds)
    content[0][7] = [1, 2]
    python2_pickle(content, birds / "captions.pickle")
    assert cub(birds).captions(2) == ["this red"]


def broken_pictures(birds):
    folder = birds / "CUB_200_2011" / "images" / CLASSES[0]
    whole = (folder / "Bird_0000.jpg").read_bytes()
    (folder / "Bird_0000.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "Bird_0004.jpg").write_bytes(b"<html>404 not found</html>")
    return [str(folder / f"Bird_000{i}.jpg") for i in (0, 4)]


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_that_do_not_decode_are_named_once_and_skipped(birds, workers):
    broken = broken_pictures(birds)
    dataset = cub(birds)
    with pytest.warns(UserWarning) as caught:
        batches = list(itertools.islice(dataset.batches(6, workers=workers), 3))
    messages = [str(w.message) for w in caught if "does not decode" in str(w.message)]
    assert sorted(m.split(" does")[0] for m in messages) == broken
    assert sorted(dataset.skipped) == broken
    for batch in batches:
        # the next picture stands in, with its own caption and class
        assert sorted(batch.indices.tolist()) == [1, 1, 2, 3, 5, 5]
        for row, index in enumerate(batch.indices.tolist()):
            assert batch.captions[row] in dataset.captions(index)
            assert batch.class_ids[row] == dataset.class_ids[index]


def test_when_nothing_decodes_training_stops(birds):
    for path in (birds / "CUB_200_2011" / "images").rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(RuntimeError, match="6 pictures of cub in a row do not decode"):
        cub(birds).batch([1])


def test_a_grey_picture_and_one_with_transparency_are_fine(birds):
    folder = birds / "CUB_200_2011" / "images" / CLASSES[0]
    Image.new("L", (90, 90), 128).save(folder / "Bird_0000.jpg")
    Image.new("RGBA", (90, 90), (255, 0, 0, 128)).save(folder / "Bird_0002.jpg", "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cub(birds).batch([0, 2]).images.shape == (2, 3, 16, 16)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_a_killed_worker_is_an_error_and_the_run_goes_on_from_its_step(
    cub_folder, deaths_are_polled
):
    dataset = cub(cub_folder)
    wanted = list(itertools.islice(dataset.batches(6), 6))
    stream = dataset.batches(6, workers=1)
    done = [next(stream) for _ in range(2)]
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"died before step (\d+) .*start_step=\1"):
        done.extend(stream)  # what the worker had ready still comes
    assert 2 <= len(done) <= 6
    later = dataset.batches(6, start_step=len(done), workers=1)
    for step, batch in zip(range(len(done), 6), later, strict=False):
        assert torch.equal(batch.images, wanted[step].images)


# ------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"split": "validation"}, "split must be 'train' or 'test' for cub"),
        ({"language": "zh"}, "language must be 'en': cub has English captions only"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"captions_per_image": 0}, "captions_per_image must be at least 1"),
    ],
)
def test_bad_arguments_are_named(cub_folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        CUBDataset(root=cub_folder, **arguments)
