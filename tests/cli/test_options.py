"""Options are read from dataclasses, by tyro, and complaints take one line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import pytest

from mmgen.cli.options import Parser, UsageError, data_options
from mmgen.data import DATASETS


@dataclass(frozen=True)
class Base:
    width: int = 3  # channels
    kind: Literal["a", "b"] = "a"
    """which one"""


@dataclass(frozen=True)
class Derived(Base):
    sizes: tuple[int, ...] = (1, 2)  # of the
    weight: float | None = None
    """a text
    over two lines"""


@dataclass(frozen=True)
class Checked:
    low: int = 1  # below high
    high: int = 2  # above low

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must lie below high.")


class TestParser:
    def test_texts_of_fields(self, capsys):
        with pytest.raises(SystemExit):
            Parser("x", "It does.", {"method": Derived()}).read(["--help"])
        text = " ".join(capsys.readouterr().out.replace("│", " ").split())
        for told in (
            "--width … channels [3]",
            "--kind … which one [a | b]",
            "--sizes … of the [1 2]",
            "--weight … a text over two lines [None]",
        ):
            assert told in text, text

    def test_rare_and_fixed_options(self, capsys):
        parser = Parser(
            "x", "", {"method": Derived()}, frozenset(["sizes"]), frozenset(["width"])
        )
        for word, listed in (("--help", False), ("--help-all", True)):
            with pytest.raises(SystemExit):
                parser.read([word])
            text = capsys.readouterr().out
            assert "--kind" in text and "--width" not in text
            assert ("--sizes" in text) == listed
        assert parser.read(["--sizes", "7"])["method"]["sizes"] == (7,)
        with pytest.raises(UsageError, match="unknown option '--width'"):
            parser.read(["--width", "4"])

    def test_values_of_all_kinds(self):
        parser = Parser("x", "", {"method": Derived()})
        assert parser.read([])["method"] == asdict(Derived())
        words = ["--sizes", "4", "--weight", "0.5", "--kind", "b"]
        values = parser.read(words)["method"]
        assert values == {"width": 3, "kind": "b", "sizes": (4,), "weight": 0.5}
        with pytest.raises(UsageError, match=r"--kind.*'a', 'b'"):
            parser.read(["--kind", "c"])
        with pytest.raises(UsageError, match="unknown word 'c'"):
            parser.read(["c"])

    def test_a_class_is_made_and_an_object_is_not(self):
        parser = Parser("x", "", {"command": Derived, "other": Checked()})
        values = parser.read(["--width", "5", "--low", "9"])
        assert values == {"command": Derived(width=5), "other": {"low": 9, "high": 2}}


class TestDataOptions:
    def test_names_defaults_and_texts(self, capsys):
        options = data_options("shapes", {"objects": [1, 2]}, ("split", "image_size"))
        parser = Parser("x", "", {"data": options})
        chosen = parser.read(["--data-objects", "3", "--language", "zh"])["data"]
        assert list(chosen.objects) == [3] and chosen.language == "zh"
        assert not {"split", "image_size"} & set(vars(chosen))
        with pytest.raises(SystemExit):
            parser.read(["--help"])
        text = capsys.readouterr().out
        assert "allowed numbers of objects" in text and "[1 2]" in text
        assert len(text.splitlines()) < 25  # without the body of the docstring

    @pytest.mark.parametrize("name", DATASETS)
    def test_of_every_data_set(self, name):
        options = data_options(name, {}, ("split",))
        chosen = Parser("x", "", {"data": options}).read(["--image-size", "64"])["data"]
        assert chosen == options(image_size=64)

    def test_an_unknown_data_set(self):
        with pytest.raises(UsageError, match="Did you mean shapes"):
            data_options("shape", {}, ())
