"""Caption files: Python 2's pickles, refused pickles, captions made from text."""

import os
import pickle
import pickletools
import tracemalloc

import numpy as np
import pytest
import torch
from fakes import make_cub, python2_pickle

from mmgen.data import Vocabulary, load_dataset
from mmgen.data.photographs.caption_files import (
    build_captions,
    load_plain_pickle,
    original_tokens,
    original_words,
    read_caption_pickle,
)

PICTURES = {"train": 6, "test": 3}


def content_of(root):
    return load_plain_pickle(root / "captions.pickle")


def rewrite(root, change):
    """The caption file after ``change`` was done to its four parts."""
    content = content_of(root)
    changed = change(content)
    python2_pickle(content if changed is None else changed, root / "captions.pickle")
    return root / "captions.pickle"


# ------------------------------------------------------------------- reading


def test_the_fake_is_a_pickle_as_python_2_writes_it(tmp_path):
    root = make_cub(tmp_path / "birds")
    stored = (root / "captions.pickle").read_bytes()
    codes = {code.name for code, _, _ in pickletools.genops(stored)}
    assert "BINSTRING" in codes and "BINUNICODE" not in codes


def test_captions_come_out_in_the_order_of_the_pictures(tmp_path):
    root = make_cub(tmp_path / "birds")
    file = read_caption_pickle(root / "captions.pickle", PICTURES, 3)
    assert file.words[:4] == ("<end>", "this", "red", "bird")
    assert len(file.splits["train"]) == 6 and len(file.splits["test"]) == 3
    rows = file.splits["test"].of_image(1)
    assert " ".join(file.words[i] for i in rows[2]) == (
        "this green bird is picture 7 caption 2"
    )


def test_our_vocabulary_keeps_the_originals_order_shifted_by_one(tmp_path):
    root = make_cub(tmp_path / "birds")
    file = read_caption_pickle(root / "captions.pickle", PICTURES, 3)
    vocabulary = file.vocabulary
    assert vocabulary.tokens[2:] == file.words[1:]
    tokens, lengths = vocabulary.encode(["a red qwxz bird", "this bird"])
    theirs, counts = original_tokens(tokens, lengths)
    index = {word: i for i, word in enumerate(file.words)}
    # unknown words are dropped and the rest moves up, as the original does
    assert theirs.tolist() == [
        [index["a"], index["red"], index["bird"], 0],
        [index["this"], index["bird"], 0, 0],
    ]
    assert counts.tolist() == [3, 2]
    with pytest.raises(ValueError, match=r"at \[1\] of the batch have none"):
        original_tokens(torch.tensor([[2, 3], [1, 1]]), torch.tensor([2, 2]))


def test_captions_made_from_text_say_the_same_as_the_pickle(tmp_path):
    root = make_cub(tmp_path / "birds")
    keys = {
        split: load_plain_pickle(root / split / "filenames.pickle")
        for split in ("train", "test")
    }
    stored = read_caption_pickle(root / "captions.pickle", PICTURES, 3)
    built = build_captions(root / "text", keys, 3)
    # the fake numbers its words in order of first sight too, so all of it is equal
    assert built.words == stored.words
    for split in ("train", "test"):
        assert np.array_equal(built.splits[split].tokens, stored.splits[split].tokens)
        assert np.array_equal(built.splits[split].starts, stored.splits[split].starts)


def test_words_of_the_original():
    caption = "The bird's wing-bars: 2\ufffd\ufffdcm, caf\u00e9 \u9e1f!"
    assert original_words(caption) == [
        "the", "bird", "s", "wing", "bars", "2", "cm", "caf",
    ]  # fmt: skip


def test_a_vocabulary_saved_beside_a_run_reads_back(tmp_path):
    root = make_cub(tmp_path / "birds")
    file = read_caption_pickle(root / "captions.pickle", PICTURES, 3)
    file.vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == file.vocabulary


# ------------------------------------------------------------------- refused pickles


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_before_its_code_runs(tmp_path, protocol):
    trap = tmp_path / "made by the pickle"
    path = tmp_path / "captions.pickle"
    path.write_bytes(pickle.dumps([[[1, 2]], Malicious(trap)], protocol=protocol))
    with pytest.raises(ValueError, match=r"refused: it asks for .*mkdir"):
        load_plain_pickle(path)
    assert not trap.exists()
    pickle.loads(path.read_bytes())  # the trap is real
    assert trap.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",  # protocol 0
        b"(S'true'\nios\nsystem\n.",  # INST
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x02Pid\n.",  # a persistent id
        b"\x80\x02U\x02idQ.",
    ],
)
def test_other_ways_to_name_code_are_refused(tmp_path, content):
    path = tmp_path / "captions.pickle"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"refused|damaged"):
        load_plain_pickle(path)


@pytest.mark.parametrize("content", [np.arange(3), {1, 2}, range(3), 1 + 2j])
def test_foreign_objects_are_refused(tmp_path, content):
    path = tmp_path / "captions.pickle"
    path.write_bytes(pickle.dumps([content], protocol=2))
    with pytest.raises(ValueError, match="refused: it asks for"):
        load_plain_pickle(path)


def test_a_pickle_cut_off_anywhere_is_called_damaged(tmp_path):
    root = make_cub(tmp_path / "birds")
    whole = (root / "captions.pickle").read_bytes()
    path = tmp_path / "captions.pickle"
    for size in (*range(40), *range(40, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"damaged or cut off|refused"):
            load_plain_pickle(path)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda c: c[:-1], "its end is missing. Download it again"),
        (lambda c: c.replace(b"\n", b"\r\n"), "changed to CRLF.*Copy it again as bin"),
        (lambda c: b"\xef\xbb\xbf" + c, "begins with a byte-order mark"),
        (lambda c: c[:9] + b"\xff" + c[10:], "Its bytes were changed"),
        (lambda c: b"cos\nsystem\n.", "Nothing in it was run. It is not the file"),
        (lambda c: b"", "is empty"),
        (lambda c: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (lambda c: b"<!DOCTYPE html>", "a web page"),
        (lambda c: b"PK\x03\x04" + c, "a zip archive: unpack it"),
        (lambda c: b"\x1f\x8b" + c, "a gzip archive: unpack it"),
    ],
)
@pytest.mark.parametrize("name", ["captions", "train/filenames", "train/class_info"])
def test_each_damage_has_its_own_cure(tmp_path, damage, message, name):
    root = make_cub(tmp_path / "birds")
    path = root / f"{name}.pickle"
    rows = list(range(8, 13))  # 10 is a line feed where it is stored
    whole = pickle.dumps([rows] * 2, protocol=2)
    path.write_bytes(damage(whole))
    with pytest.raises(ValueError, match=message) as caught:
        load_dataset("cub", "train", 16, root=root, captions_per_image=3)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    # only captions can be had in another way
    assert ("made from the text files" in text) == (name == "captions")


def test_a_number_in_the_file_does_not_ask_for_memory(tmp_path):
    path = tmp_path / "captions.pickle"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x00.")  # the list is thing 16 777 215
    tracemalloc.start()
    try:
        assert load_plain_pickle(path) == []
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pickle"):
        load_plain_pickle(tmp_path / "nowhere.pickle")


# ------------------------------------------------------------------- other content


def drop_last(content):
    del content[0][-1]


def drop_word(content):
    del content[2][3]


def not_inverse(content):
    content[3]["red"] = 7


def no_end(content):
    del content[3]["<end>"]
    content[2][0], content[3]["<start>"] = "<start>", 0


def number_words(content):
    content[2][2] = 5


def outside(content):
    content[1][0][1] = 10_000


def negative(content):
    content[0][0][0] = -1


def strings(content):
    content[0][2] = ["red", "bird"]


def nested(content):
    content[0][2] = "red bird"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: {"train": c[0]}, r"must hold \[train captions.*got dict of 1"),
        (lambda c: c[:3], "got list of 3"),
        (drop_last, "has 17 train captions; 6 pictures with 3 captions each need 18"),
        (drop_word, "numbered 0.. .*without gaps|without gaps"),
        (not_inverse, "each other's inverse"),
        (no_end, "word 0 must be '<end>'; got '<start>'"),
        (number_words, "words must be strings"),
        (lambda c: [c[0], c[1], [1], c[3]], "words must be two dictionaries; got list"),
        (outside, "the test captions have a word 10000, but the file lists words 0.."),
        (negative, "the train captions have a word -1"),
        (strings, "the train captions must hold whole numbers only"),
        (nested, "the train captions must be lists of lists"),
    ],
)
def test_files_that_are_not_captions_of_these_pictures(tmp_path, change, message):
    path = rewrite(make_cub(tmp_path / "birds"), change)
    with pytest.raises(ValueError, match=message):
        read_caption_pickle(path, PICTURES, 3)


def test_another_number_of_captions_a_picture_is_named(tmp_path):
    root = make_cub(tmp_path / "birds")
    with pytest.raises(ValueError, match="captions_per_image is not 10"):
        read_caption_pickle(root / "captions.pickle", PICTURES, 10)


def test_text_files_missing_short_or_not_text(tmp_path):
    root = make_cub(tmp_path / "birds", pickled=False)
    keys = {
        split: load_plain_pickle(root / split / "filenames.pickle")
        for split in ("train", "test")
    }
    with pytest.raises(ValueError, match=r"\.txt has 3 captions; captions_per_image=4"):
        build_captions(root / "text", keys, 4)
    path = root / "text" / f"{keys['test'][0]}.txt"
    path.write_bytes(b"\xff\xfe\x00broken")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        build_captions(root / "text", keys, 3)
    path.write_bytes("a red bird\n".encode("utf-16") * 3)
    with pytest.raises(ValueError, match="but UTF-16: save it as UTF-8"):
        build_captions(root / "text", keys, 3)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="a Git-LFS pointer"):
        build_captions(root / "text", keys, 3)
    path.write_bytes(b"\xef\xbb\xbfA red bird\r\n" * 3)
    assert "red" in build_captions(root / "text", keys, 3).words  # no harm done
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"Bird_0006\.txt is missing"):
        build_captions(root / "text", keys, 3)
    path.with_name(path.name + ".txt").write_text("a red bird\n" * 3)
    with pytest.raises(FileNotFoundError, match=r"There is Bird_0006\.txt\.txt in its"):
        build_captions(root / "text", keys, 3)
