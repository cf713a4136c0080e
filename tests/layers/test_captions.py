"""The caption decoder: a distribution that learns, and writes one language."""

from types import SimpleNamespace

import pytest
import torch

from mmgen.data import Vocabulary
from mmgen.layers import captions
from mmgen.layers.captions import UNKNOWN_TOKEN, CaptionDecoder, Choice

CAPTIONS = ["a red circle", "a large blue square", "红色的圆", "蓝色的大方块"]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build(CAPTIONS, "both")


def test_caption_likelihood_is_a_distribution_over_captions() -> None:
    # every caption of up to two words, written out: probabilities add up to 1
    vocabulary = Vocabulary(["<pad>", "<unk>", "red"], "en")
    decoder = CaptionDecoder(vocabulary, 2, 4, 5).eval()
    rows = [[0, 0], [1, 0], [2, 0], *([a, b] for a in (1, 2) for b in (1, 2))]
    tokens = torch.tensor(rows)
    lengths = (tokens != 0).sum(1)
    code = torch.randn(1, 2).expand(len(rows), 2)
    log_p = decoder(code, tokens, lengths)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_caption_likelihood_ignores_what_follows_the_end(
    vocabulary: Vocabulary,
) -> None:
    decoder = CaptionDecoder(vocabulary, 3, 4, 8).eval()
    code = torch.randn(4, 3)
    short = vocabulary.encode(CAPTIONS, 7)
    long = vocabulary.encode(CAPTIONS, 12)
    torch.testing.assert_close(decoder(code, *short), decoder(code, *long))


def test_decoder_learns_to_say_what_the_code_means(vocabulary: Vocabulary) -> None:
    torch.manual_seed(0)
    decoder = CaptionDecoder(vocabulary, 2, 8, 24)
    tokens, lengths = vocabulary.encode(CAPTIONS, 7)
    # the language is given, so code k serves caption k in English and k + 2 in Chinese
    code = torch.eye(2).repeat(2, 1)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=2e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (-decoder(code, tokens, lengths).mean()).backward()
        optimizer.step()
    decoder.eval()
    english = decoder.write(code[:2], "en", 7)
    chinese = decoder.write(code[:2], "zh", 7)
    assert vocabulary.decode(english) == CAPTIONS[:2]
    assert vocabulary.decode(chinese) == CAPTIONS[2:]
    assert english.shape == (2, 7)


def test_untrained_decoder_writes_words_of_the_language_only(
    vocabulary: Vocabulary,
) -> None:
    torch.manual_seed(0)
    decoder = CaptionDecoder(vocabulary, 2, 4, 8)
    for language in ("en", "zh"):
        tokens = decoder.write(20 * torch.randn(64, 2), language, 7)
        assert len(tokens.unique()) > 3
        assert (tokens[:, 0] > 1).all() and not (tokens == 1).any()
        assert (decoder.chinese[tokens[tokens > 0]] == (language == "zh")).all()
        # nothing after the end
        ends = (tokens == 0).cumsum(1) > 0
        assert (tokens[ends] == 0).all()


def test_the_start_is_never_dropped(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every word forgotten, what is read is the language and then nothing."""
    torch.manual_seed(0)
    decoder = CaptionDecoder(vocabulary, 3, 4, 8).train()
    monkeypatch.setattr(captions, "WORD_DROPOUT", 1.0)
    tokens, lengths = vocabulary.encode(CAPTIONS, 7)
    code = torch.randn(4, 3)
    read = torch.full((4, 7), UNKNOWN_TOKEN)
    read[:, 0] = decoder.start(tokens)
    assert read[0, 0] != read[2, 0]
    log_p = decoder._logits(read, code, decoder.enter(code)[0])[0].log_softmax(dim=2)
    said = log_p.gather(2, tokens[..., None])[..., 0]
    expected = [said[i, : lengths[i] + 1].sum() for i in range(4)]
    torch.testing.assert_close(decoder(code, tokens, lengths), torch.stack(expected))


def test_words_read_back_are_dropped_in_training_only(vocabulary: Vocabulary) -> None:
    torch.manual_seed(0)
    decoder = CaptionDecoder(vocabulary, 3, 4, 8)
    caption = (torch.randn(4, 3), *vocabulary.encode(CAPTIONS, 7))
    assert not torch.equal(decoder(*caption), decoder(*caption))
    decoder.eval()
    torch.testing.assert_close(decoder(*caption), decoder(*caption), atol=0, rtol=0)


def test_another_language_is_no_language(vocabulary: Vocabulary) -> None:
    decoder = CaptionDecoder(vocabulary, 2, 4, 8)
    with pytest.raises(ValueError, match="language must be one of en, zh; got 'fr'"):
        decoder.write(torch.zeros(1, 2), "fr", 7)


@pytest.mark.parametrize("tokens", [("red", "<unk>", "<pad>"), ("<unk>", "<pad>"), ()])
def test_a_vocabulary_without_the_symbols_that_end_captions(tokens: tuple) -> None:
    """A ``Vocabulary`` refuses these itself; other lists of tokens may come."""
    with pytest.raises(ValueError, match="must begin with '<pad>', which ends caption"):
        CaptionDecoder(SimpleNamespace(tokens=tokens), 2, 4, 8)  # type: ignore[arg-type]


def test_a_prompt_begins_every_caption(vocabulary: Vocabulary) -> None:
    torch.manual_seed(0)
    decoder = CaptionDecoder(vocabulary, 2, 4, 8)
    codes = 20 * torch.randn(16, 2)
    prompt = vocabulary.encode(["large blue"])[0][0]
    written = decoder.write(codes, "en", 7, prompt=prompt)
    assert (written[:, :2] == prompt).all()
    assert len(written[:, 2].unique()) > 1
    # what follows is what the decoder says after these words
    state, last = decoder.enter(codes), decoder.starts("en", codes)
    for place, token in enumerate(prompt.tolist()):
        _, state = decoder.step(last, place, state)
        last = torch.full_like(last, token)
    logits, _ = decoder.step(last, 2, state)
    logits[:, decoder.never("en")] = -torch.inf
    assert torch.equal(written[:, 2], logits.argmax(dim=1))
    whole = vocabulary.encode(["a large blue square"])[0][0]
    assert (decoder.write(codes, "en", 4, prompt=whole) == whole).all()


def test_noise_chooses_among_words_and_each_row_for_itself(
    vocabulary: Vocabulary,
) -> None:
    torch.manual_seed(0)
    decoder = CaptionDecoder(vocabulary, 2, 4, 8)
    code = torch.randn(1, 2).expand(4000, 2)
    noise = torch.randn(4000, 5)
    written = decoder.write(code, "en", 5, noise, Choice(1.0))
    some = decoder.write(code[:7], "en", 5, noise[:7], Choice(1.0))
    assert torch.equal(some, written[:7])
    # first words come as often as the decoder says
    logits, _ = decoder.step(decoder.starts("en", code[:1]), 0, decoder.enter(code[:1]))
    logits[:, decoder.never("en")] = -torch.inf
    logits[:, 0] = -torch.inf
    shares = written[:, 0].bincount(minlength=len(vocabulary)) / 4000
    torch.testing.assert_close(shares, logits[0].softmax(dim=0), atol=0.03, rtol=0)
    greedy = decoder.write(code[:7], "en", 5)
    cold = decoder.write(code[:7], "en", 5, noise[:7], Choice(0.0))
    assert torch.equal(cold, greedy) and not torch.equal(some, greedy)
    assert torch.equal(
        decoder.write(code[:7], "en", 5, noise[:7], Choice(1.0, top_k=1)), greedy
    )


def test_what_cannot_be_written_with(vocabulary: Vocabulary) -> None:
    decoder, code = CaptionDecoder(vocabulary, 2, 4, 8), torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"noise must be given with a temperature"):
        decoder.write(code, "en", 7, None, Choice(0.5))
    with pytest.raises(ValueError, match=r"noise must have shape \(3, 7\)"):
        decoder.write(code, "en", 7, torch.zeros(3, 6), Choice(0.5))
    with pytest.raises(ValueError, match=r"at most max_tokens = 2 words; got 3"):
        decoder.write(code, "en", 2, prompt=torch.tensor([2, 3, 4]))
    with pytest.raises(ValueError, match="temperature must be a number from 0"):
        decoder.write(code, "en", 2, None, Choice(-1.0))
