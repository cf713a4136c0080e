"""Captions of pictures: greedy, drawn and searched, and what cannot be described."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import Describes, Draws, Exports, Matches
from mmgen.layers.captions import caption_log_p
from mmgen.models.captioning import DECODERS, CaptioningSampler
from tests.models.captioning.tiny import TINY, pictures, sampler, scenes


@pytest.fixture(scope="module", params=DECODERS)
def model(request: pytest.FixtureRequest) -> CaptioningSampler:
    return sampler(request.param)


def by_hand(model: CaptioningSampler, image: Tensor, language: str) -> list[int]:
    """The likeliest word each time, from the whole network's logits."""
    writer, words = model.network.writer, []
    tokens = torch.zeros(1, model.max_tokens, dtype=torch.int64)
    pictures = model.network.look(image[None])
    if language == "zh":  # the symbol of the start is told by a word of the language
        writer_start = writer.starts("zh", tokens)
        writer.start = lambda _: writer_start  # type: ignore[method-assign]
    try:
        for place in range(model.max_tokens):
            logits = writer(pictures, tokens)[0, place]
            logits[writer.never(language)] = -torch.inf
            if place == 0:
                logits[0] = -torch.inf
            tokens[0, place] = logits.argmax()
            if tokens[0, place] == 0:
                break
            words.append(int(tokens[0, place]))
    finally:
        writer.__dict__.pop("start", None)
    return words


@pytest.mark.parametrize("language", ["en", "zh"])
def test_by_default_each_word_is_the_likeliest(
    model: CaptioningSampler, language: str
) -> None:
    images = pictures(4)
    with torch.no_grad():
        rows = [by_hand(model, image, language) for image in images]
    expected = [model.vocabulary.decode(torch.tensor(row))[0] for row in rows]
    said = model.describe(images, language)
    assert said == expected and len(set(said)) > 1
    assert model.describe(images, language, beams=1, seed=9) == said


def test_languages_stay_apart(model: CaptioningSampler) -> None:
    assert isinstance(model, Describes) and isinstance(model, Exports)
    assert not isinstance(model, Draws) and not isinstance(model, Matches)
    assert model.languages == ("en", "zh")
    images = pictures(8)
    chinese, options = model.vocabulary, [{}, {"temperature": 2.0}, {"beams": 3}]
    for option in options:
        english = model.describe(images, **option)
        assert english == model.describe(images, "en", **option)
        assert all(text and text.isascii() for text in english)
        for text in model.describe(images, "zh", **option):
            assert text and not any(c.isascii() and c.isalnum() for c in text)
    assert chinese.language == "both"


def test_one_language_is_all_that_it_writes() -> None:
    words = Vocabulary.build(["a red circle"], "en")
    made = CaptioningSampler(TINY, words, 5).eval()
    assert made.languages == ("en",)
    with pytest.raises(ValueError, match="language must be one of en, which the model"):
        made.describe(pictures(1), "zh")


def test_beams_are_those_of_the_search(model: CaptioningSampler) -> None:
    images = pictures(3)
    found = model.search(images, "zh", beams=4, length_power=0.5)
    best = model.vocabulary.decode(found.tokens[:, 0])
    assert best == model.describe(images, "zh", beams=4, length_power=0.5)
    assert found.tokens.shape == (3, 4, model.max_tokens)
    assert (found.scores.diff(dim=1) <= 0).all()
    with torch.no_grad():
        look = model.network.look(images)
    for place in range(4):
        tokens = found.tokens[:, place]
        lengths = (tokens != 0).sum(dim=1)
        with torch.no_grad():
            logits = model.network.writer(look, tokens)
        log_p = caption_log_p(logits, tokens, lengths).sum(dim=1)
        torch.testing.assert_close(found.log_p[:, place], log_p, rtol=1e-4, atol=1e-4)
        counted = (lengths + 1).clamp(max=model.max_tokens)
        torch.testing.assert_close(
            found.scores[:, place], found.log_p[:, place] / counted**0.5
        )
    # and the log-likelihood of what was found is what the search says
    said = model.log_likelihood(images, best)
    torch.testing.assert_close(said, found.log_p[:, 0], rtol=1e-4, atol=1e-4)
    assert model.describe(images, beams=4, length_power=0.0) != model.describe(
        images, beams=4, length_power=3.0
    )


def test_the_seed_decides_where_there_is_chance(model: CaptioningSampler) -> None:
    images = pictures(70)  # more than are described at a time
    drawn = model.describe(images, seed=1, temperature=1.0)
    assert len(drawn) == 70
    assert drawn == model.describe(images, seed=1, temperature=1.0)
    assert drawn != model.describe(images, seed=2, temperature=1.0)
    assert drawn[:16] == model.describe(images[:16], seed=1, temperature=1.0)
    greedy = model.describe(images)
    assert greedy == model.describe(images, seed=2) != drawn
    assert greedy[64:] == greedy[:6]  # the same pictures
    assert model.describe(images, temperature=1.0, top_k=1) == greedy
    assert model.describe(images, temperature=1.0, top_p=1e-9) == greedy


@pytest.mark.parametrize(("language", "prompt"), [("en", "a small"), ("zh", "红色的")])
def test_a_prompt_is_kept(model: CaptioningSampler, language: str, prompt: str) -> None:
    images = pictures(6)
    for option in ({}, {"temperature": 1.0}):
        said = model.describe(images, language, prompt=prompt, **option)
        assert all(text.startswith(prompt) for text in said)
        assert any(text != prompt for text in said)
    assert model.describe(images[:1], "en", prompt="A  small,")[0].startswith("a small")


def test_log_likelihoods_are_of_pairs(model: CaptioningSampler) -> None:
    batch = scenes().batch(range(5))
    found = model.log_likelihood(batch.images, batch.captions)
    assert found.shape == (5,) and (found < 0).all()
    for i in range(5):
        tokens, lengths = batch.tokens[i : i + 1], batch.lengths[i : i + 1]
        with torch.no_grad():
            logits = model.network(batch.images[i : i + 1], tokens)
        expected = caption_log_p(logits, tokens, lengths).sum()
        torch.testing.assert_close(found[i], expected, rtol=1e-4, atol=1e-4)
    many = model.log_likelihood(pictures(70), batch.captions * 14)
    torch.testing.assert_close(many[:5], found, rtol=1e-4, atol=1e-4)


def test_maps_are_pictures_of_attention(model: CaptioningSampler) -> None:
    batch = scenes().batch(range(5))
    maps = model.maps(batch.images, batch.captions)
    assert maps.shape == (5, model.max_tokens, TINY.grid, TINY.grid)
    sums = maps.flatten(2).sum(dim=2)
    if model.config.decoder == "lstm":
        torch.testing.assert_close(sums, torch.ones_like(sums))
    else:
        assert (sums > 0).all() and (sums < 1).all()
    one = model.maps(batch.images[2:3], batch.captions[2:3])
    torch.testing.assert_close(one[0], maps[2])


# ---------------------------------------------------------------------------- bad input


GOOD = torch.zeros(2, 3, 16, 16)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 32, 32), r"shape \(B, 3, 16, 16\).*got \(2, 3, 32, 32\)"),
        (torch.zeros(2, 1, 16, 16), r"got \(2, 1, 16, 16\)"),
        (torch.zeros(3, 16, 16), r"got \(3, 16, 16\)"),
        (torch.zeros(0, 3, 16, 16), r"with B at least 1; got \(0, 3, 16, 16\)"),
        (255 * torch.ones(1, 3, 16, 16), r"lie in \[-1, 1\]; got values in \[255, 255"),
        (torch.full((1, 3, 16, 16), 255, dtype=torch.uint8), r"lie in \[-1, 1\]"),
        (torch.full((1, 3, 16, 16), float("nan")), "images must be finite"),
        (torch.full((1, 3, 16, 16), float("inf")), "images must be finite"),
    ],
)
def test_pictures_that_cannot_be_described(
    model: CaptioningSampler, images: Tensor, message: str
) -> None:
    texts = ["a red circle"] * len(images)
    for call in (
        lambda: model.describe(images),
        lambda: model.describe(images, beams=2),
        lambda: model.search(images),
        lambda: model.log_likelihood(images, texts),
        lambda: model.maps(images, texts),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "fr"}, "language must be one of en, zh, which the model learned"),
        ({"language": ""}, "language must be one of en, zh.*got ''"),
        ({"beams": 0}, "beams must be a whole number, at least 1; got 0"),
        ({"beams": 1.5}, "beams must be a whole number, at least 1; got 1.5"),
        ({"length_power": float("nan")}, "length_power must be a number"),
        ({"temperature": -1.0}, "temperature must be a number from 0"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\]"),
        ({"beams": 2, "temperature": 1.0}, "leave temperature at 0 and prompt out"),
        ({"beams": 2, "prompt": "a"}, "leave temperature at 0 and prompt out"),
        ({"prompt": ""}, "prompt must not be empty"),
        ({"prompt": "  "}, "prompt must not be empty"),
        ({"prompt": "?!"}, "must not be empty"),
        ({"prompt": "zorp"}, "at least one known word"),
        ({"prompt": "a zorp"}, "words that the model writes in 'en'.*not write zorp"),
        ({"prompt": "红色"}, "words that the model writes in 'en'; got '红色'"),
        (
            {"prompt": "a star", "language": "zh"},
            "words that the model writes in 'zh'.*not write a, star",
        ),
    ],
)
def test_options_that_mean_nothing(
    model: CaptioningSampler, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.describe(GOOD, **options)


def test_captions_that_are_not_those_of_the_pictures(model: CaptioningSampler) -> None:
    for call in (model.log_likelihood, model.maps):
        with pytest.raises(ValueError, match="one for each picture; got 1 for 2"):
            call(GOOD, ["a star"])
        with pytest.raises(ValueError, match="must not be empty"):
            call(GOOD, ["a star", ""])
