"""Attributes as a condition: read from text, and turned into a vector."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch

from mmgen.conditioning import (
    AttributeEncoder,
    attribute_ids,
    condition_encoder,
    left_open,
    read_attributes,
)
from mmgen.data.vocabulary import Vocabulary

ATTRIBUTES = {
    "person": ("woman", "man"),
    "skin_tone": ("light", "medium-light", "medium", "dark"),
    "role": ("astronaut", "farmer"),
}
PLURALS = {"women": "woman", "men": "man"}


def test_attribute_encoder_adds_vectors() -> None:
    encoder = AttributeEncoder([2, 3], feature_dim=5)
    table = encoder.table.weight
    # rows: person n/a, woman, man, then tone n/a, three tones
    found = encoder(torch.tensor([[1, 0], [-1, 2]]))
    torch.testing.assert_close(found[0], table[2] + table[4])
    torch.testing.assert_close(found[1], table[0] + table[6])
    assert len(table) == 7


def test_label_ids_are_equal_exactly_where_labels_are() -> None:
    grid = torch.cartesian_prod(*(torch.arange(-1, size) for size in (2, 4, 3)))
    ids = attribute_ids(grid, (2, 4, 3))
    assert ids.unique().numel() == len(grid)


def test_attributes_are_read_from_text_and_from_mappings() -> None:
    assert read_attributes("woman farmer", ATTRIBUTES) == [0, -1, 1]
    # the longer value wins: this is not "light", nor "medium"
    assert read_attributes("Man, medium-light", ATTRIBUTES) == [1, 1, -1]
    assert read_attributes({"role": "astronaut"}, ATTRIBUTES) == [-1, -1, 0]
    # an attribute's own name says nothing more, and needs no warning
    assert read_attributes("dark skin tone", ATTRIBUTES) == [-1, 3, -1]
    assert read_attributes("women, dark", ATTRIBUTES, PLURALS) == [0, 3, -1]
    assert read_attributes("men farmer", ATTRIBUTES, PLURALS) == [1, -1, 1]


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ({"hat": "red"}, "attributes are person, skin_tone, role; got 'hat'"),
        ({"person": "cat"}, "person must be one of woman, man; got 'cat'"),
        ("woman and man", "one person; got"),
        ("zebra", "at least one attribute's value; got 'zebra'"),
        ({}, "at least one attribute's value"),
    ],
)
def test_wrong_attributes_are_errors(caption: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_attributes(caption, ATTRIBUTES)  # type: ignore[arg-type]


def test_words_that_are_no_attribute_are_named() -> None:
    with pytest.warns(UserWarning, match="zebra"):
        assert read_attributes("dark zebra", ATTRIBUTES) == [-1, 3, -1]


@pytest.mark.parametrize(
    "stranger", ["красный", "🔴", "𠮷", "별", "हिन्दी", "+", "qwxz"]
)
def test_every_character_that_is_no_attribute_is_named(stranger: str) -> None:
    with pytest.warns(UserWarning, match="no attribute has the value") as told:
        assert read_attributes(f"a dark {stranger} farmer", ATTRIBUTES) == [-1, 3, 1]
    assert len(told) == 1 and repr(stranger) in str(told[0].message)
    with pytest.raises(ValueError, match="at least one attribute's value") as refused:
        read_attributes(stranger, ATTRIBUTES)
    assert repr(stranger) in str(refused.value)


@pytest.mark.parametrize(
    "written", ["ｗｏｍａｎ", "wo\u00adman", "WÓMAN", "\ufeffwoman"]
)
def test_other_ways_to_write_a_value_are_known(written: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_attributes(f"{written}, dark", ATTRIBUTES) == [0, 3, -1]


@pytest.mark.parametrize("caption", [None, 3, b"woman", ["woman"]])
def test_what_is_neither_text_nor_mapping_is_refused(caption: object) -> None:
    with pytest.raises(ValueError, match="captions must be strings, or mappings"):
        read_attributes(caption, ATTRIBUTES)  # type: ignore[arg-type]


def test_messages_about_long_captions_are_short() -> None:
    for caption in ("zebra " * 10_000, "woman man " * 10_000):
        with pytest.raises(ValueError, match=r"captions? must name") as refused:
            read_attributes(caption, ATTRIBUTES)
        assert len(str(refused.value)) < 300
    words = " ".join(f"x{i}" for i in range(5000))
    with pytest.warns(UserWarning, match="and 4980 more"):
        read_attributes(f"woman {words}", ATTRIBUTES)


def test_another_kind_of_condition_is_an_error() -> None:
    vocabulary = Vocabulary.build(["a red star"])
    config = SimpleNamespace(condition="class", embedding_dim=8, condition_dim=8)
    with pytest.raises(ValueError, match="got 'class'"):
        condition_encoder(config, vocabulary, ATTRIBUTES)
    config.condition = "attributes"
    with pytest.raises(ValueError, match="needs a data set with attributes"):
        condition_encoder(config, vocabulary, {})


def test_left_open_hides_a_share() -> None:
    attributes = torch.zeros(2, 3, dtype=torch.int64)
    draws = torch.tensor([[0.0, 0.5, 0.2], [0.9, 0.1, 0.3]])
    opened = left_open(attributes, draws, 0.3)
    assert opened.tolist() == [[-1, 0, -1], [0, -1, 0]]
