"""Any text is understood as a caption of Shapes, or refused in one short line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgen.data.shapes import parse
from mmgen.data.shapes.demand import Demand

MOST = 1000  # characters of a message, the vocabulary of Shapes among them


def understood(text: str) -> Demand | str:
    """What a text demands, or why it demands nothing."""
    try:
        return parse.__wrapped__(text)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < MOST
        return str(error)


@given(st.text(max_size=250))
def test_any_text_is_understood_or_refused(text: str) -> None:
    assert isinstance(understood(text), Demand | str)


@pytest.mark.parametrize("size", [300, 100_000])
@pytest.mark.parametrize(
    "piece",
    [
        "a star and ",
        "!",
        ".",
        "! ",
        " ",
        "\r\n",
        "(",
        "大",
        "the ",
        "-",
        "a-",
        "\u0323\u0301",
    ],
)
@pytest.mark.timeout(60)
def test_a_long_text_is_refused_at_once(piece: str, size: int) -> None:
    """Also those on which the marks at the end were looked for in every place."""
    for text in (piece * size, piece * size + "a", "a " + piece * size + "a star"):
        why = understood(text)
        assert isinstance(why, str)
        if len(text.strip()) > 200 and text.strip(" .!\r\n"):
            assert "is longer than 200 characters" in why


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a large красная star", "'красная'"),
        ("a 🔴 star", "large red circle"),
        ("a 𠮷 star", "'𠮷'"),
        ("красная звезда", "'красная'"),
        ("a \x00 star", "'\\x00'"),
        ("a red \u200d star", "zero width joiner"),
    ],
)
def test_what_is_not_of_shapes_is_named(text: str, named: str) -> None:
    assert named in understood(text)


def test_spaces_around_a_caption_are_nothing() -> None:
    assert understood(" " * 5000 + "a red star" + "\n" * 5000) == parse("a red star")
