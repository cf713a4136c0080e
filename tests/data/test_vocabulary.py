"""Words and characters to integers and back."""

import re
import unicodedata
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
    with pytest.warns(UserWarning, match="'left of a circle' of 'a star left of"):
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


# --- what is cut off


def warned(call) -> list[str]:
    """Messages of all warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


def test_what_is_cut_off_is_named_once_a_call():
    vocabulary = Vocabulary.build([*CAPTIONS, "large small", "红色的星"], "both")
    long = ["a " * 30 + "large red star", "a star", "a " * 30 + "small blue circle"]
    for read in (vocabulary.encode, vocabulary.read):
        (told,) = warned(lambda read=read: read([*long, long[0]], 31))
        assert told.startswith("3 of 4 captions are longer than 31 tokens; not read: ")
        assert told.count("'red star' of 'a a a") == 1  # the same is named once
        assert "'blue circle' of 'a a a" in told and "\n" not in told
        assert not warned(lambda read=read: read(long[1:2], 2))
    (told,) = warned(lambda: vocabulary.encode("红色的星", 2))
    assert told == (
        "1 of 1 captions is longer than 2 tokens; not read: '的星' of '红色的星'."
    )


def test_a_message_does_not_grow_with_the_caption():
    vocabulary = Vocabulary.build(CAPTIONS)
    strange = " ".join(f"x{i}" for i in range(5000))
    told = warned(lambda: vocabulary.read([f"a star {strange}"], 4))
    assert len(told) == 2 and max(map(len, told)) < 400
    assert "and 4980 more" in told[0]
    with pytest.raises(ValueError, match="at least one known word") as refused:
        vocabulary.encode(strange)
    assert len(str(refused.value)) < 400


def test_a_caption_whose_known_words_are_all_cut_off_is_refused():
    vocabulary = Vocabulary.build(CAPTIONS)
    for read in (vocabulary.encode, vocabulary.read):
        with pytest.raises(ValueError, match="known word among their first 3 tokens"):
            read(["a star", "qwxz " * 3 + "a red star"], 3)


@pytest.mark.parametrize("most", [0, -1])
def test_no_room_for_a_token_is_refused(most):
    with pytest.raises(ValueError, match=f"max_tokens must be at least 1; got {most}"):
        Vocabulary.build(CAPTIONS).encode("a star", most)


@pytest.mark.parametrize("caption", [None, 3, b"a star", ["a star"]])
def test_what_is_no_string_is_refused(caption):
    with pytest.raises(ValueError, match=r"captions must be strings; got .*, a "):
        Vocabulary.build(CAPTIONS).encode([caption])


# --- characters that no vocabulary has


@pytest.mark.parametrize(
    ("caption", "stranger"),
    [
        ("a red красная star", "красная"),
        ("a 🔴 star", "🔴"),
        ("a 𠮷 star", "𠮷"),
        ("a 👩\u200d🚀 star", "👩\u200d🚀"),
        ("a red rötlicheß star", "rotlicheß"),
        ("a kırmızı star", "kırmızı"),
        ("a हिन्दी star", "हिन्दी"),  # its vowels are marks
        ("a red می\u200cشود star", "می\u200cشود"),  # joined by what is invisible
        ("a red יְרוֹק star", "יְרוֹק"),
        ("a 별 star", "별"),
        ("a ガ star", "ガ"),
        ("٣ red star", "٣"),
        ("a red + star", "+"),
        ("a red=star", "="),
        ("a \x00 star", "\\x00"),
        ("a \ud800 star", "\\ud800"),
        ("a \ue000 star", "\\ue000"),  # of private use
        ("a \u0308 star", "\u0308"),  # an accent on no letter
    ],
)
def test_every_other_character_is_an_unknown_word_and_named(caption, stranger):
    vocabulary = Vocabulary.build(CAPTIONS)
    (told,) = warned(lambda: vocabulary.read([caption]))
    assert told == (
        f"captions hold words that the model never saw, and cannot follow: {stranger}."
    )
    tokens, lengths = vocabulary.encode(caption)
    assert tokens.tolist()[0].count(1) == 1  # a word that is unknown has its place
    assert lengths.tolist() == [len(vocabulary.unknown(caption)) + (tokens > 1).sum()]


@pytest.mark.parametrize("caption", ["красная звезда", "🔴", "𠮷", "\x00", "별"])
def test_a_caption_in_another_script_is_not_called_empty(caption):
    with pytest.raises(ValueError, match="at least one known word; got") as told:
        Vocabulary.build(CAPTIONS).encode(caption)
    assert repr(caption) in str(told.value)


@pytest.mark.parametrize(
    "caption",
    [
        "A RED STAR",
        "ａ ｒｅｄ ｓｔａｒ",
        "ａ　ＲＥＤ　ＳＴＡＲ",
        "𝐚 𝐑𝐞𝐝 𝒔𝒕𝒂𝒓",
        "a r\u0301ed sta\u0308r",
        "á réd stär",
        "a re\u00add st\u200dar",
        "\ufeffa\u200bred\u00a0star\u200f",
        "a, red... (star)!?",
        "a—red–star‼\ufe0f",
        "a\tred\nstar",
    ],
)
def test_other_ways_to_write_known_words_are_known(caption):
    vocabulary = Vocabulary.build(CAPTIONS)
    assert not warned(lambda: vocabulary.read([caption]))
    assert torch.equal(
        vocabulary.encode(caption)[0], vocabulary.encode("a red star")[0]
    )


def test_tokens_of_plain_captions_are_what_they_were():
    """Published weights number their words by this."""
    before = re.compile(
        r"[a-z0-9]+(?:'[a-z]+)?|[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    )
    printable = "".join(map(chr, range(32, 127)))
    marks = "".join(c for c in printable if unicodedata.category(c)[0] in "PZLN")
    marks += "红星，。：（）“”、…’éÅñ"
    draw = torch.Generator().manual_seed(0)
    for _ in range(3000):
        size = int(torch.randint(0, 30, (), generator=draw))
        places = torch.randint(0, len(marks), (size,), generator=draw)
        text = "".join(marks[i] for i in places)
        plain = unicodedata.normalize("NFKD", text.lower().replace("’", "'"))
        plain = "".join(c for c in plain if not unicodedata.combining(c))
        assert tokenize(text) == before.findall(plain), text


def test_no_character_is_dropped_but_what_parts_words_and_what_cannot_be_seen():
    draw = torch.Generator().manual_seed(0)
    planes = [0x80, 0x800, 0x10000, 0x110000]
    codes = [int(torch.randint(0, p, (), generator=draw)) for p in planes * 2500]
    for character in map(chr, codes):
        category = unicodedata.category(character)
        dropped = category[0] in "PZ" or category == "Cf" or character.isspace()
        if unicodedata.name(character, "").startswith("VARIATION SELECTOR"):
            dropped = True
        words = tokenize(f"x {character} x")
        assert words[0] == words[-1] == "x"
        if not dropped and "GRAPHEME JOINER" not in unicodedata.name(character, ""):
            assert len(words) > 2, ascii(character)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    vocabulary = Vocabulary.build(CAPTIONS)
    assert "".join(tokenize(text)) == "".join(tokenize(" ".join(tokenize(text))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tokens, lengths = vocabulary.read([text], 5)
        except ValueError as error:
            assert not any(word in vocabulary for word in tokenize(text)[:5])
            assert len(str(error).splitlines()) == 1
        else:
            words = tokenize(text)
            assert lengths.tolist() == [min(len(words), 5)]
            known = [word if word in vocabulary else "<unk>" for word in words[:5]]
            assert [vocabulary.tokens[i] for i in tokens[0] if i] == known


def test_a_name_in_a_message_cannot_command_the_terminal():
    vocabulary = Vocabulary.build(CAPTIONS)
    (told,) = warned(lambda: vocabulary.read(["a star \x1b[31m \x07 \u202e +\u202e"]))
    assert told.isprintable() and "\\x1b" in told and "\\x07" in told


@pytest.mark.parametrize(
    "caption",
    [
        "a" + "\u0323\u0301" * 50_000,
        "a " * 50_000,
        "'" * 100_000 + "a",
        "é" * 100_000,
        "я'" * 50_000 + " a",
        "я" + "\u200d" * 100_000 + " a",
        "🔴\u200d" * 50_000 + "a",
    ],
    ids=["marks", "words", "apostrophes", "accents", "halves", "joiners", "emoji"],
)
@pytest.mark.timeout(60)
def test_the_time_of_a_long_caption_grows_with_its_length(caption):
    assert tokenize(caption)
