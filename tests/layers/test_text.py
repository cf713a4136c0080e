"""The text encoder against PyTorch's packed sequences."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmgen.data.batch import word_mask
from mmgen.layers.text import UNIT_RANGE, TextEncoder


def original_state(vocabulary: int, embedding: int, half: int) -> dict[str, Tensor]:
    """A state dictionary with the names that the original AttnGAN saves."""
    lstm = nn.LSTM(embedding, half, batch_first=True, bidirectional=True)
    state = {f"rnn.{name}": value for name, value in lstm.state_dict().items()}
    return {"encoder.weight": torch.randn(vocabulary, embedding), **state}


def packed(
    state: dict[str, Tensor], tokens: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """The same encoder by PyTorch's own packed bidirectional LSTM."""
    embedding = state["encoder.weight"]
    lstm = nn.LSTM(
        embedding.shape[1],
        state["rnn.weight_hh_l0"].shape[1],
        batch_first=True,
        bidirectional=True,
    ).to(embedding.dtype)
    lstm.load_state_dict(
        {k.removeprefix("rnn."): state[k] for k in state if "rnn" in k}
    )
    sequence = pack_padded_sequence(
        embedding[tokens], lengths, batch_first=True, enforce_sorted=False
    )
    output, (last, _) = lstm(sequence)
    words, _ = pad_packed_sequence(
        output, batch_first=True, total_length=tokens.shape[1]
    )
    return words, torch.cat([last[0], last[1]], dim=1)


@pytest.fixture
def captions() -> tuple[Tensor, Tensor]:
    """Captions in no order, none as long as the tensor, rubbish after their ends."""
    torch.manual_seed(0)
    return torch.randint(1, 30, (6, 9)), torch.tensor([3, 8, 1, 5, 2, 8])


def test_equals_a_packed_lstm_with_its_gradients(
    captions: tuple[Tensor, Tensor],
) -> None:
    tokens, lengths = captions
    state = original_state(30, 12, 8)
    encoder = TextEncoder.from_attngan(state).eval()
    state = {name: value.clone().requires_grad_() for name, value in state.items()}
    words, sentence = encoder(tokens, lengths)
    expected_words, expected_sentence = packed(state, tokens, lengths)
    torch.testing.assert_close(words, expected_words, atol=1e-6, rtol=0)
    torch.testing.assert_close(sentence, expected_sentence, atol=1e-6, rtol=0)

    weight = torch.randn_like(words)
    ((words * weight).sum() + sentence.square().sum()).backward()
    expected = (expected_words * weight).sum() + expected_sentence.square().sum()
    gradient = torch.autograd.grad(expected, state["encoder.weight"])[0]
    torch.testing.assert_close(
        encoder.embedding.weight.grad, gradient, atol=1e-5, rtol=1e-5
    )


def test_words_are_zero_at_padding_and_padding_has_no_gradient(
    captions: tuple[Tensor, Tensor],
) -> None:
    tokens, lengths = captions
    mask = word_mask(lengths, 9)
    tokens = tokens.masked_fill(~mask, 0)  # so that 0 occurs as padding only
    words, sentence = (encoder := TextEncoder(30, 12, 16)).eval()(tokens, lengths)
    assert words[~mask].eq(0).all() and words[mask].ne(0).all()
    (words.square().sum() + sentence.square().sum()).backward()
    assert encoder.embedding.weight.grad[0].eq(0).all()


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_order_padding_and_batch_mates_change_nothing(
    captions: tuple[Tensor, Tensor], pooling: str
) -> None:
    tokens, lengths = captions
    encoder = TextEncoder(30, 12, 16, pooling).eval()
    words, sentence = encoder(tokens, lengths)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    again = encoder(tokens[order], lengths[order])
    torch.testing.assert_close(again[0], words[order], atol=1e-6, rtol=0)
    torch.testing.assert_close(again[1], sentence[order], atol=1e-6, rtol=0)
    for i, length in enumerate(lengths.tolist()):
        alone = encoder(tokens[i : i + 1, :length], lengths[i : i + 1])
        torch.testing.assert_close(alone[0][0], words[i, :length], atol=1e-6, rtol=0)
        torch.testing.assert_close(alone[1][0], sentence[i], atol=1e-6, rtol=0)


def test_mean_pooling_is_the_mean_over_real_words(
    captions: tuple[Tensor, Tensor],
) -> None:
    words, sentence = TextEncoder(30, 12, 16, "mean").eval()(*captions)
    for i, length in enumerate(captions[1].tolist()):
        torch.testing.assert_close(sentence[i], words[i, :length].mean(dim=0))


def test_loud_words_tell_fresh_captions_apart() -> None:
    tokens = torch.randint(2, 40, (30, 8), generator=torch.Generator().manual_seed(0))
    lengths = torch.full((30,), 8)

    def apart(word_range: float) -> float:
        """Distance of captions' features from their mean, over its length."""
        torch.manual_seed(0)
        encoder = TextEncoder(40, 32, 64, "mean", 0.0, word_range).eval()
        assert encoder.embedding.weight.abs().max() <= word_range
        with torch.no_grad():
            _, sentence = encoder(tokens, lengths)
        middle = sentence.mean(dim=0)
        return ((sentence - middle).norm(dim=1).mean() / middle.norm()).item()

    assert apart(0.1) < 0.25
    assert apart(UNIT_RANGE) > 4 * apart(0.1)


def test_dropout_hits_a_word_alike_in_both_directions() -> None:
    encoder = TextEncoder(30, 64, 16, dropout=0.5).train()
    seen: list[Tensor] = []
    for lstm in (encoder.forward_lstm, encoder.backward_lstm):
        lstm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoder(torch.randint(2, 30, (3, 5)), torch.full((3,), 5))
    torch.testing.assert_close(seen[0].flip(1), seen[1])
    assert 0.35 < float(seen[0].eq(0).float().mean()) < 0.65


def test_parameters_of_the_papers_size() -> None:
    encoder = TextEncoder(5450, 300, 256)
    assert sum(p.numel() for p in encoder.parameters()) == 2_075_320
    assert sum(p.numel() for p in TextEncoder(27297).parameters()) == 8_629_420


def test_exports_to_onnx_with_free_lengths(
    captions: tuple[Tensor, Tensor], tmp_path
) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    tokens, lengths = captions
    encoder = TextEncoder(30, 12, 16).eval()
    path = tmp_path / "text.onnx"
    torch.onnx.export(encoder, (tokens, lengths), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    lengths = lengths.flip(0)
    names = [entry.name for entry in session.get_inputs()]
    words, sentence = session.run(
        None, dict(zip(names, (tokens.numpy(), lengths.numpy()), strict=True))
    )
    expected = encoder(tokens, lengths)
    torch.testing.assert_close(torch.tensor(words), expected[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.tensor(sentence), expected[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": torch.tensor([3, 10])}, r"lengths must lie in 1\.\.9.*3\.\.10"),
        ({"lengths": torch.tensor([0, 2])}, r"lengths must lie in 1\.\.9.*0\.\.2"),
        ({"lengths": torch.tensor([3])}, r"lengths must be int64 of shape \(2,\)"),
        ({"lengths": torch.tensor([3.0, 4.0])}, r"lengths must be int64.*float32"),
        ({"tokens": torch.full((2, 9), 30)}, r"tokens must lie in 0\.\.29.*30\.\.30"),
        ({"tokens": torch.ones(2, 9)}, r"tokens must be int64.*float32, \(2, 9\)"),
        ({"tokens": torch.ones(9).long()}, r"tokens must be int64 of shape \(B, T\)"),
    ],
)
def test_bad_captions_are_named(change: dict[str, Tensor], message: str) -> None:
    good = {"tokens": torch.ones(2, 9).long(), "lengths": torch.tensor([3, 9])}
    encoder = TextEncoder(30, 12, 16)
    encoder(**good)
    with pytest.raises(ValueError, match=message):
        encoder(**(good | change))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature_dim": 15}, "feature_dim must be even.*got 15.*Choose 16"),
        ({"pooling": "max"}, "pooling must be.*'max'"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\).*1.0"),
        ({"word_range": 0.0}, "word_range must be above 0; got 0.0"),
        ({"embedding_dim": 0}, "embedding_dim must be at least 1; got 0"),
    ],
)
def test_bad_sizes_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextEncoder(30, **arguments)


def test_foreign_weights_are_named() -> None:
    state = original_state(30, 12, 8)
    with pytest.raises(ValueError, match=r"missing.*rnn\.bias_hh_l0"):
        TextEncoder.from_attngan({k: state[k] for k in state if k != "rnn.bias_hh_l0"})
    gru = nn.GRU(12, 8, bidirectional=True).state_dict()
    gru_state = {f"rnn.{name}": value for name, value in gru.items()}
    with pytest.raises(ValueError, match="must hold an LSTM"):
        TextEncoder.from_attngan({**gru_state, "encoder.weight": torch.ones(30, 12)})
