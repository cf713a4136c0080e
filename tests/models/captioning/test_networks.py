"""The two decoders: step by step as at once, distributions, and where they look."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.captions import caption_log_p
from mmgen.models.captioning import (
    DECODERS,
    AttentionWriter,
    CaptioningConfig,
    CaptioningNetwork,
    TransformerWriter,
)
from tests.models.captioning.tiny import REGIONS, TINY, scenes, shaken

CAPTIONS = ["a red circle", "a large blue square left of a red star", "红色的圆"]
VOCABULARY = Vocabulary.build(CAPTIONS, "both")
LONGEST = 12


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def new_writer(
    decoder: str, vocabulary: Vocabulary = VOCABULARY, longest: int = LONGEST
) -> AttentionWriter | TransformerWriter:
    """In float64, with weights large enough for every path to count."""
    config = replace(TINY, decoder=decoder)
    network = CaptioningNetwork(config, vocabulary, longest)
    writer = network.writer
    assert isinstance(writer, AttentionWriter) == (decoder == "lstm")
    return shaken(writer).double()  # type: ignore[return-value]


def seen(batch: int) -> Tensor:
    """Tokens of pictures."""
    return torch.randn(batch, 1 + REGIONS, TINY.feature_dim, dtype=torch.float64)


@pytest.mark.parametrize("decoder", DECODERS)
def test_word_by_word_the_logits_are_those_of_the_whole(decoder: str) -> None:
    """With what was kept of picture and words, at every step, for several rows."""
    writer, about = new_writer(decoder), seen(3)
    tokens, _ = VOCABULARY.encode(CAPTIONS, LONGEST)
    with torch.no_grad():
        whole = writer(about, tokens)
        assert whole.shape == (3, LONGEST, len(VOCABULARY))
        state, last = writer.enter(about), writer.start(tokens)
        assert last.tolist() == [writer.first_start] * 2 + [writer.first_start + 1]
        for place in range(LONGEST):
            logits, state = writer.step(last, place, state)
            torch.testing.assert_close(logits, whole[:, place], atol=1e-12, rtol=0)
            last = tokens[:, place]
    assert whole.flatten(1).std(dim=1).min() > 0.1


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_step_belongs_to_its_row(decoder: str) -> None:
    """Rows may be reordered between steps, as a beam search does."""
    writer, about = new_writer(decoder), seen(4)
    order = torch.tensor([2, 0, 0, 3])
    words = torch.tensor([[2, 3, 4, 5], [6, 7, 2, 3]])
    with torch.no_grad():
        state = writer.enter(about)
        _, state = writer.step(words[0], 0, state)
        mixed, _ = writer.step(words[1][order], 1, tuple(s[order] for s in state))
        straight, _ = writer.step(words[1], 1, state)
    torch.testing.assert_close(mixed, straight[order])


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_word_is_told_by_those_before_it_alone(decoder: str) -> None:
    writer, about = new_writer(decoder), seen(1)
    tokens = torch.randint(2, writer.first_start, (1, LONGEST))
    english = [i for i in range(2, writer.first_start) if not writer.chinese[i]]
    tokens = torch.tensor([[english[i % len(english)] for i in range(LONGEST)]])
    before = writer(about, tokens)
    other = tokens.clone()
    other[0, 4] = english[0] if tokens[0, 4] != english[0] else english[1]
    after = writer(about, other)
    changed = (before != after).any(dim=2)[0]
    assert not changed[:5].any() and changed[5:].all()
    # and every region counts
    moved = about.clone()
    for place in range(about.shape[1]):
        moved[0, place] += 1.0
        assert not torch.equal(writer(moved, tokens)[0, 0], before[0, 0]), place
        moved[0, place] -= 1.0


@pytest.mark.parametrize("decoder", DECODERS)
def test_all_captions_together_have_probability_1(decoder: str) -> None:
    """Of three tokens, the end among them, and at most three words."""
    vocabulary = Vocabulary(["<pad>", "<unk>", "red"], "en")
    writer, about = new_writer(decoder, vocabulary, 3), seen(2)
    rows = [
        [*words, *[0] * (3 - length)]
        for length in range(4)
        for words in itertools.product((1, 2), repeat=length)
    ]
    tokens = torch.tensor(rows)
    lengths = (tokens != 0).sum(dim=1)
    for picture in about:
        logits = writer(picture.expand(len(rows), -1, -1), tokens)
        log_p = caption_log_p(logits, tokens, lengths).sum(dim=1)
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
        assert log_p.exp().max() < 0.99  # no sum of one term


@pytest.mark.parametrize("decoder", DECODERS)
def test_what_follows_the_end_changes_nothing(decoder: str) -> None:
    writer, about = new_writer(decoder), seen(3)
    found = []
    for width in (9, LONGEST):
        tokens, lengths = VOCABULARY.encode(CAPTIONS, width)
        log_p = caption_log_p(writer(about, tokens), tokens, lengths)
        assert (log_p[:, :4] < 0).all() and log_p.shape == (3, width)
        found.append(log_p[:, :9])
    torch.testing.assert_close(*found)
    spoiled = tokens.clone()
    word = VOCABULARY.encode("red")[0][0, 0]
    for row, length in enumerate(lengths[:2].tolist()):
        spoiled[row, length + 1 :] = word
    log_p = caption_log_p(writer(about, spoiled), spoiled, lengths)
    torch.testing.assert_close(log_p[:, :9], found[0])


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_language_is_told_by_what_the_caption_starts_with(decoder: str) -> None:
    writer, about = new_writer(decoder), seen(1)
    first = [
        writer.step(writer.starts(language, about), 0, writer.enter(about))[0]
        for language in ("en", "zh")
    ]
    assert (first[0] - first[1]).abs().max() > 0.01


# --- the LSTM ------------------------------------------------------------------------


def test_the_lstm_is_the_equations_word_by_word() -> None:
    """Xu et al., eqs. 1-7 with their gate, for one caption, in loops."""
    writer, about = new_writer("lstm"), seen(1)
    assert isinstance(writer, AttentionWriter)
    tokens, _ = VOCABULARY.encode(["a large blue square"], 6)
    weights = {key: value.detach() for key, value in writer.named_parameters()}
    whole, regions = about[0, 0], about[0, 1:]
    begun = torch.tanh(weights["first.weight"] @ whole + weights["first.bias"])
    h, c = begun[: TINY.hidden], begun[TINY.hidden :]
    expected, looked = [], []
    read = [writer.first_start, *tokens[0, :-1].tolist()]
    for token in read:
        energies = []
        for region in regions:  # e_ir = w tanh(W h + U v_r)
            hidden = torch.tanh(
                weights["attention.query.weight"] @ h
                + weights["attention.key.weight"] @ region
            )
            energies.append(float(weights["attention.score.weight"][0] @ hidden))
        shares = torch.tensor(energies, dtype=torch.float64).exp()
        shares = shares / shares.sum()  # alpha_ir
        beta = 1 / (1 + (-(weights["gate.weight"] @ h + weights["gate.bias"])).exp())
        context = sum(a * v for a, v in zip(shares, regions, strict=True)) * beta
        word = weights["embedding.weight"][token]
        gates = (
            weights["cell.weight_ih"] @ torch.cat([word, context])
            + weights["cell.bias_ih"]
            + weights["cell.weight_hh"] @ h
            + weights["cell.bias_hh"]
        )
        into, forget, new, out = gates.chunk(4)
        c = forget.sigmoid() * c + into.sigmoid() * new.tanh()
        h = out.sigmoid() * c.tanh()
        deep = torch.tanh(
            word
            + weights["from_state.weight"] @ h
            + weights["from_state.bias"]
            + weights["from_context.weight"] @ context
        )
        expected.append(weights["words.weight"] @ deep + weights["words.bias"])
        looked.append(shares)
    torch.testing.assert_close(writer(about, tokens)[0], torch.stack(expected))
    torch.testing.assert_close(writer.maps(about, tokens)[0], torch.stack(looked))


def test_maps_of_the_lstm_are_shares_and_go_with_the_regions() -> None:
    writer, about = new_writer("lstm"), seen(3)
    tokens, _ = VOCABULARY.encode(CAPTIONS, LONGEST)
    maps = writer.maps(about, tokens)
    assert maps.shape == (3, LONGEST, REGIONS) and (maps >= 0).all()
    torch.testing.assert_close(maps.sum(dim=2), torch.ones_like(maps[:, :, 0]))
    assert (maps[:, 0] - maps[:, 2]).abs().max() > 0.01  # another word, another look
    order = torch.randperm(REGIONS)
    mixed = torch.cat([about[:, :1], about[:, 1:][:, order]], dim=1)
    torch.testing.assert_close(writer.maps(mixed, tokens), maps[:, :, order])


# --- the Transformer -----------------------------------------------------------------


def test_maps_of_the_transformer_are_what_words_ask_of_regions() -> None:
    """Against one query at a time, from the maps of each block by name."""
    writer, about = new_writer("transformer"), seen(2)
    assert isinstance(writer, TransformerWriter)
    tokens, _ = VOCABULARY.encode(CAPTIONS[:2], LONGEST)
    maps = writer.maps(about, tokens)
    assert maps.shape == (2, LONGEST, REGIONS) and (maps > 0).all()
    assert (maps.sum(dim=2) < 1).all()
    words = writer.embedding(writer.shifted(tokens)) + writer.places[:LONGEST]
    width, size = TINY.hidden, TINY.hidden // TINY.heads
    expected = torch.zeros(2, LONGEST, 1 + REGIONS, dtype=torch.float64)
    for block in writer.blocks:
        key = block.picture(about)[:, :, :width]
        value = block.picture(about)[:, :, width:]
        for row in range(2):
            after = []
            normal = block.norms[0](words[row])
            for i in range(LONGEST):
                word = words[row, i]
                own = torch.zeros(width, dtype=torch.float64)
                told = own.clone()
                for head in range(TINY.heads):
                    part = slice(head * size, (head + 1) * size)
                    query = block.query(normal[i])[part]
                    pairs = block.key_value(normal[: i + 1])
                    keys, values = pairs[:, :width][:, part], pairs[:, width:][:, part]
                    own[part] = (keys @ query / size**0.5).softmax(dim=0) @ values
                word = word + block.out(own)
                asked = block.ask(block.norms[1](word))
                for head in range(TINY.heads):
                    part = slice(head * size, (head + 1) * size)
                    scores = key[row][:, part] @ asked[part] / size**0.5
                    shares = scores.softmax(dim=0)
                    told[part] = shares @ value[row][:, part]
                    expected[row, i] += shares / (TINY.heads * TINY.depth)
                word = word + block.tell(told)
                wide = torch.nn.functional.gelu(block.widen(block.norms[2](word)))
                after.append(word + block.narrow(wide))
            words = words.clone()
            words[row] = torch.stack(after)
    torch.testing.assert_close(maps, expected[:, :, 1:])
    torch.testing.assert_close(writer(about, tokens), writer.words(writer.norm(words)))


# --- the encoder and sizes -----------------------------------------------------------


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_network_is_its_encoder_and_its_writer(decoder: str) -> None:
    data = scenes()
    config = replace(TINY, decoder=decoder)
    network = CaptioningNetwork(config, data.vocabulary, data.max_tokens).eval()
    batch = data.batch(range(3))
    about = network.look(batch.images)
    regions, whole = network.pictures(batch.images)
    assert about.shape == (3, 1 + REGIONS, TINY.feature_dim)
    torch.testing.assert_close(about[:, 0], network.norm(whole))
    steps = torch.linspace(-1, 1, TINY.grid)
    for place in range(REGIONS):
        row, column = divmod(place, TINY.grid)
        where = network.coordinates.map(torch.stack([steps[column], steps[row]]))
        torch.testing.assert_close(
            about[:, 1 + place], network.norm(regions[:, :, row, column]) + where
        )
    expected = network.writer(about, batch.tokens)
    assert torch.equal(network(batch.images, batch.tokens), expected)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="decoder must be one of transformer, lstm"):
        replace(TINY, decoder="gru")
    data = scenes()
    for changes, message in (
        ({"hidden": 7}, "hidden a multiple of heads"),
        ({"depth": 0}, "depth and heads must be at least 1"),
        ({"grid": 5}, "grid"),
    ):
        with pytest.raises(ValueError, match=message):
            config: CaptioningConfig = replace(TINY, **changes)
            CaptioningNetwork(config, data.vocabulary, data.max_tokens)
