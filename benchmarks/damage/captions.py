"""Captions that nobody wrote for us, through everything that reads captions.

Each goes through ``parse``, a model's vocabulary and its ``sample``. It survives if it
is drawn, or refused in one short line; a warning has to be as short. No caption is ever
run or opened, so that there is no execution to watch for.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.damage import Tally
from mmgen.data.shapes import describe, parse, sample_scenes
from mmgen.pretrained import load

MODELS = ("cvae-shapes64", "mvae-emoji64", "cgan-emoji64")  # sentences and attributes
LONGEST_MESSAGE = 1500  # the vocabulary of Shapes is listed in full
_SCRIPTS = (
    *(
        "красная звезда",
        "नीला तारा",
        "نجمة حمراء",
        "כוכב אדום",
        "赤い星",
        "별",
        "ngôi sao đỏ",
    ),
    *(
        "🔴",
        "👩🏽‍🚀",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "❤️",
        "3️⃣",
        "𠮷",
        "ﷺ",
        "ｒｅｄ",
        "𝐫𝐞𝐝",
        "½",
        "①",
        "√2",
        "№",
        "r̷e̷d̷",
    ),
    *("\u200b", "\u200d", "\u202e", "\ufeff", "\u0000", "\x1b[2J", "\ud800", "\u2028"),
    *("<unk>", "<pad>", "%s", "{0}", "\\n", "'; --", "$(x)", "../", "\t", "\r\n"),
)
_WORDS = (
    *(
        "a",
        "an",
        "the",
        "two",
        "three",
        "red",
        "blue",
        "large",
        "small",
        "tiny",
        "star",
    ),
    *("circle", "stars", "left", "of", "above", "and", "in", "on", "upper", "corner"),
    *(
        "background",
        "light",
        "is",
        "are",
        "there",
        "with",
        "that",
        ",",
        ".",
        "-",
        "not",
    ),
    *(
        "一个",
        "两",
        "红色",
        "的",
        "大",
        "小",
        "圆",
        "星",
        "在",
        "左边",
        "上面",
        "，",
        "背景",
    ),
    *("woman", "health", "worker:", "medium-dark", "skin", "tone", "man", "女", "肤色"),
)


def tried(count: int, seed: int, folder: Path) -> list[Tally]:
    """Captions of every kind, ``count`` together.

    Args:
        count: captions.
        seed: that they follow from.
        folder: not needed.
    """
    makers: dict[str, Callable[[random.Random], str]] = {
        "captions: any characters": _anything,
        "captions: right ones, damaged": _damaged,
        "captions: known words in any order": _shuffled,
        "captions: other scripts among known words": _mixed,
        "captions: up to 100,000 characters": _long,
    }
    models = [load(name) for name in MODELS]
    tallies = []
    for kind, make in makers.items():
        tally = Tally(kind)
        share = count // len(makers) + (len(tallies) < count % len(makers))
        for number in range(share):
            draw = random.Random(f"{seed}/{kind}/{number}")
            caption, model = make(draw), models[number % len(models)]
            tally.attempt(
                lambda caption=caption, model=model: _read(caption, model),
                (ValueError,),
                f"caption {number} of seed {seed}",
            )
        tallies.append(tally)
    return tallies


def _read(caption: str, model: Any) -> None:
    """Parse, encode and draw.

    Raises:
        ValueError: the vocabulary or the model refuses it.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # few captions are of Shapes, and a model draws others too
        with contextlib.suppress(ValueError):
            _short(parse, caption)
        _short(_encoded, caption, model)
        images = _short(model.sample, [caption])
    assert images.isfinite().all() and images.abs().max() <= 1
    for warning in caught:
        _check_message(str(warning.message))


def _encoded(caption: str, model: Any) -> None:
    """Numbers of the vocabulary in their ranges, and words again."""
    if "attributes" in getattr(model.config, "condition", ""):
        return
    vocabulary, most = model.vocabulary, model.max_tokens
    tokens, lengths = vocabulary.read([caption], most)
    (length,) = lengths.tolist()
    row = tokens[0].tolist()
    assert 1 <= length <= most == len(row)
    assert all(0 < token < len(vocabulary) for token in row[:length])
    assert not any(row[length:]) and any(token > 1 for token in row[:length])
    (text,) = vocabulary.decode(tokens)
    assert text and not vocabulary.unknown(text.replace("<unk>", ""))


def _short(call: Callable[..., Any], *args: Any) -> Any:
    """The call, whose refusal must be one line that can be read."""
    try:
        return call(*args)
    except ValueError as error:
        _check_message(str(error))
        raise


def _check_message(text: str) -> None:
    assert 0 < len(text) <= LONGEST_MESSAGE, f"a message of {len(text)} characters"
    assert len(text.splitlines()) == 1, f"several lines: {text!r}"
    text.encode()  # half of a pair of surrogates could not be printed


# ---------------------------------------------------------------------------- captions


def _anything(draw: random.Random) -> str:
    """Any code points, from the common and from the far planes."""
    last = draw.choice((0x7F, 0x7FF, 0xFFFF, 0x10FFFF))
    size = draw.choice((0, 1, 2, 5, 30, 300))
    return "".join(chr(draw.randint(0, last)) for _ in range(size))


def _right(draw: random.Random) -> str:
    (scene,) = sample_scenes(1, seed=draw.randrange(1000))
    return describe(scene, draw.choice(("en", "zh")), draw.randrange(1000))


def _damaged(draw: random.Random) -> str:
    """Letters lost, doubled, swapped or replaced."""
    letters = list(_right(draw))
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(letters))
        letters[at] = draw.choice(
            ("", letters[at] * 2, letters[-1], chr(draw.randint(1, 0x2FFF)), " ", "\n")
        )
    return "".join(letters)


def _shuffled(draw: random.Random) -> str:
    return draw.choice(("", " ")).join(draw.choices(_WORDS, k=draw.randint(1, 60)))


def _mixed(draw: random.Random) -> str:
    parts = [*_right(draw).split(), *draw.choices(_SCRIPTS, k=draw.randint(1, 5))]
    draw.shuffle(parts)
    return draw.choice(("", " ")).join(parts)


def _long(draw: random.Random) -> str:
    """A short text again and again, or nested: what makes slow patterns slow."""
    size = draw.choice((1_000,) * 7 + (10_000,) * 2 + (100_000,))
    text = draw.choice(
        (
            *_SCRIPTS,
            *_WORDS,
            "a ",
            "!",
            ". ",
            "'",
            "-",
            "a'",
            "the the ",
            "(",
            "а́",
            "\u0323\u0301",
        )
    )
    many = text * (size // len(text))
    end = draw.choice(("", " a red star", "!", "女"))
    return draw.choice((many + end, end + many, many + " " + many[: size // 2] + end))
