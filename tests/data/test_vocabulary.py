"""Words and characters to integers and back."""

import pytest
import torch

from mmgen.data import Vocabulary, tokenize

CAPTIONS = ["A red star", "a star left of a blue circle"]


def test_english_splits_into_words_and_chinese_into_characters():
    assert tokenize("A large, RED star!") == ["a", "large", "red", "star"]
    assert tokenize("左上角有一个红色的五角星。") == list("左上角有一个红色的五角星")
    assert tokenize("2个 star") == ["2", "个", "star"]


def test_the_vocabulary_hangs_neither_on_order_nor_on_repetition():
    forward = Vocabulary.build(CAPTIONS)
    assert forward == Vocabulary.build([*reversed(CAPTIONS), CAPTIONS[0]])
    assert hash(forward) == hash(Vocabulary.build(reversed(CAPTIONS)))
    assert forward.tokens[:2] == ("<pad>", "<unk>")
    assert list(forward.tokens[2:]) == sorted(forward.tokens[2:])


def test_encode_pads_and_decode_gives_the_words_back():
    vocabulary = Vocabulary.build(CAPTIONS)
    tokens, lengths = vocabulary.encode(CAPTIONS, max_tokens=9)
    assert tokens.shape == (2, 9) and tokens.dtype == torch.int64
    assert lengths.tolist() == [3, 7]
    assert (tokens[0, 3:] == 0).all() and (tokens[0, :3] > 1).all()
    assert vocabulary.decode(tokens) == ["a red star", "a star left of a blue circle"]


def test_chinese_is_decoded_without_spaces():
    vocabulary = Vocabulary.build(["一个红色的五角星"], "zh")
    tokens, _ = vocabulary.encode("红色五角星")
    assert vocabulary.decode(tokens) == ["红色五角星"]


def test_long_captions_are_cut_and_one_caption_need_not_be_a_list():
    vocabulary = Vocabulary.build(CAPTIONS)
    tokens, lengths = vocabulary.encode("a star left of a circle", max_tokens=2)
    assert tokens.tolist() == vocabulary.encode("a star")[0].tolist()
    assert lengths.tolist() == [2]


def test_unknown_words_become_one_token_and_are_named():
    vocabulary = Vocabulary.build(CAPTIONS)
    tokens, _ = vocabulary.encode("a wobbly star")
    assert tokens[0, 1] == 1
    assert vocabulary.unknown("a wobbly green star") == ["wobbly", "green"]
    assert "star" in vocabulary and "wobbly" not in vocabulary


@pytest.mark.parametrize("empty", ["", "   ", "?!"])
def test_an_empty_caption_is_refused(empty):
    with pytest.raises(ValueError, match="captions must not be empty"):
        Vocabulary.build(CAPTIONS).encode(["a star", empty])


def test_a_caption_of_unknown_words_alone_is_refused_with_examples():
    with pytest.raises(ValueError, match=r"'qwxz' \(vocabulary: 7 tokens, e\.g\. 'a'"):
        Vocabulary.build(CAPTIONS).encode("qwxz")


@pytest.mark.parametrize(
    ("tokens", "language", "match"),
    [
        (["<pad>", "<unk>"], "fr", "language must be one of .* got 'fr'"),
        (["a", "b"], "en", "must begin with '<pad>', '<unk>'"),
        (["<pad>", "<unk>", "a", "a"], "en", "distinct"),
    ],
)
def test_what_is_no_vocabulary_is_refused(tokens, language, match):
    with pytest.raises(ValueError, match=match):
        Vocabulary(tokens, language)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    vocabulary = Vocabulary.build([*CAPTIONS, "红色"], "both")
    vocabulary.save(tmp_path / "words.json")
    assert Vocabulary.load(tmp_path / "words.json") == vocabulary
    assert "红" in (tmp_path / "words.json").read_text(encoding="utf-8")


def test_what_a_person_typed_is_read_and_unknown_words_are_named():
    vocabulary = Vocabulary.build(CAPTIONS)
    known, strange = CAPTIONS[0], f"zebra {CAPTIONS[1]} qwxz"
    tokens, lengths = vocabulary.read([known], 9)
    expected = vocabulary.encode([known], 9)
    assert torch.equal(tokens, expected[0]) and torch.equal(lengths, expected[1])
    with pytest.warns(UserWarning, match="never saw, and cannot follow: qwxz, zebra"):
        assert vocabulary.read([known, strange], 9)[0][1, 0] == 1
    for nothing in (known, []):
        with pytest.raises(ValueError, match="a list with at least one caption"):
            vocabulary.read(nothing, 9)


@pytest.mark.parametrize(
    "content",
    ['{"language": "en", "tokens": ["<pad>", "<u', "[1, 2]", '{"tokens": []}', "\xff"],
    ids=["cut off", "a list", "no language", "no JSON"],
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "words.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"words\.json is no vocabulary: .*object"):
        Vocabulary.load(path)
