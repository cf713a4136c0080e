"""What every sampler that reads captions says of what it cannot follow."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch

from mmgen.data.vocabulary import Vocabulary
from mmgen.models.attngan import AttnGANConfig, AttnGANSampler
from mmgen.models.cgan import CGANConfig, CGANSampler
from mmgen.models.multimodal_vae import MultimodalVAEConfig, MultimodalVAESampler
from mmgen.models.reader import Reader, ReaderConfig
from mmgen.models.vae import ConditionalVAEConfig, ConditionalVAESampler
from mmgen.sampling import named_numbers

WORDS = Vocabulary.build(["a large red star", "a small blue circle"])
ATTRIBUTES = {"shape": ("star", "circle"), "colour": ("red", "blue")}
MOST = 6


def readers() -> dict[str, Callable]:
    """What each kind of sampler does with captions."""
    torch.manual_seed(0)
    attngan = AttnGANSampler(
        AttnGANConfig.small(
            sizes=(8, 16),
            generator_channels=4,
            residual_blocks=1,
            noise_dim=5,
            condition_dim=3,
            feature_dim=6,
        ),
        WORDS,
        MOST,
        embedding_dim=4,
    )
    cgan = CGANSampler(
        CGANConfig(noise_dim=4, condition_dim=8, width=4, max_width=16),
        WORDS,
        MOST,
        ATTRIBUTES,
    )
    sizes = {"hidden_dim": 16, "channels": 4}
    cvae = ConditionalVAESampler(
        ConditionalVAEConfig(**sizes), 16, WORDS, MOST, ATTRIBUTES
    )
    mvae = MultimodalVAESampler(MultimodalVAEConfig(**sizes), 16, WORDS, MOST)
    reader = Reader(
        ReaderConfig(feature_dim=8, embedding_dim=4), WORDS, MOST, ATTRIBUTES
    )
    return {
        "attngan": attngan.eval().sample,
        "stages": attngan.eval().stages,
        "cgan": cgan.eval().sample,
        "condition": cgan.eval().condition,
        "cvae": cvae.eval().sample,
        "mvae": mvae.eval().sample,
        "reader": reader.eval().read_labels,
    }


READERS = readers()


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Callable:
    return READERS[request.param]


def warned(read: Callable, captions: list[str]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read(captions)
    return [str(warning.message) for warning in caught]


def test_what_a_long_caption_loses_is_named_once_a_call(read: Callable) -> None:
    captions = ["a " * 6 + "large red star", "a " * 6 + "small blue circle", "a star"]
    (told,) = warned(read, captions)
    assert "2 of 3 captions are longer than 6 tokens" in told
    assert "'large red star' of" in told and "'small blue circle' of" in told
    assert not warned(read, captions[2:])


def test_a_caption_whose_known_words_are_cut_off_is_refused(read: Callable) -> None:
    with pytest.raises(ValueError, match="a known word among their first 6 tokens"):
        read(["zebra " * 6 + "a red star"])


@pytest.mark.parametrize("stranger", ["красная", "🔴", "𠮷", "zebra", "별"])
def test_a_word_that_it_cannot_follow_is_named(read: Callable, stranger: str) -> None:
    (told,) = warned(read, [f"a large {stranger} star"])
    assert told.endswith(f"cannot follow: {stranger}.")
    with pytest.raises(ValueError, match="at least one known word; got"):
        read([stranger])


def test_numbers_that_a_method_takes_by_name() -> None:
    def method(
        first: int,
        *,
        count: int | None = None,
        scale: float = 1.0,
        name: str = "",
        codes: torch.Tensor | None = None,
        flag: bool = False,
    ) -> None: ...

    assert named_numbers(method) == {"count": int, "scale": float}
    assert Reader.options() == {}
