"""Paths: one table of translations, one path in two scales, targets that agree."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jvp

from mmgen.models.flow import (
    LinearPath,
    Path,
    VariancePreservingPath,
    discrete_velocity,
    gaussian_velocity,
    index_time,
    logit_normal_times,
)
from mmgen.models.flow.paths import Prediction

PATHS: dict[str, Path] = {
    "linear": LinearPath(),
    "diffusion, linear": VariancePreservingPath("linear"),
    "diffusion, cosine": VariancePreservingPath("cosine"),
}
KINDS: tuple[Prediction, ...] = ("velocity", "data", "noise")
TIMES = torch.tensor([0.02, 0.3, 0.5, 0.77, 0.98], dtype=torch.float64)


def some(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def told(path: Path) -> tuple[Tensor, dict[str, Tensor]]:
    """Points at ``TIMES``, and what is true of them."""
    data, noise = some(5, 2, 3, seed=1), some(5, 2, 3, seed=2)
    velocity = path.velocity(data, noise, TIMES)
    points = path.point(data, noise, TIMES)
    return points, {"velocity": velocity, "data": data, "noise": noise}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(("given", "wanted"), list(itertools.product(KINDS, KINDS)))
def test_every_prediction_is_every_other(
    name: str, given: Prediction, wanted: Prediction
) -> None:
    path = PATHS[name]
    points, true = told(path)
    found = path.translate(true[given], given, wanted, points, TIMES)
    torch.testing.assert_close(found, true[wanted], rtol=1e-6, atol=1e-6)


def test_the_signs_of_the_linear_path() -> None:
    """As they are printed: x = x_t + (1 - t) v, e = x_t - t v, v = x - e."""
    points, true = told(PATHS["linear"])
    t, v = TIMES[:, None, None], true["velocity"]
    torch.testing.assert_close(v, true["data"] - true["noise"])
    torch.testing.assert_close(true["data"], points + (1 - t) * v)
    torch.testing.assert_close(true["noise"], points - t * v)


def test_an_error_weighs_what_its_kind_says() -> None:
    """|dv|² = |de|² / t² = |dx|² / (1 - t)²."""
    path = PATHS["linear"]
    points, true = told(path)
    off = true["velocity"] + some(5, 2, 3, seed=5)

    def error(kind: Prediction) -> Tensor:
        found = path.translate(off, "velocity", kind, points, TIMES)
        return (found - true[kind]).square().sum(dim=(1, 2))

    torch.testing.assert_close(error("noise") / TIMES**2, error("velocity"))
    torch.testing.assert_close(error("data") / (1 - TIMES) ** 2, error("velocity"))


@pytest.mark.parametrize("name", PATHS)
def test_a_paths_rates_are_its_derivatives(name: str) -> None:
    path = PATHS[name]
    one = torch.ones_like(TIMES)
    for which, rate in (("data", "data_rate"), ("noise", "noise_rate")):
        _, slope = jvp(lambda t, w=which: getattr(path.coefficients(t), w), TIMES, one)
        torch.testing.assert_close(slope, getattr(path.coefficients(TIMES), rate))
    start, end = (path.coefficients(torch.tensor([t])) for t in (0.0, 1.0))
    assert start.data.item() == pytest.approx(0, abs=0.007)
    assert start.noise.item() == pytest.approx(1, abs=1e-4)
    assert end.data.item() == pytest.approx(1) and end.noise.item() == 0


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_diffusion_has_the_shares_of_ddpm(schedule: str) -> None:
    """Against the product of 1,000 steps, each with the beta of the papers."""
    count = 1000
    if schedule == "linear":
        betas = torch.linspace(1e-4, 0.02, count, dtype=torch.float64)
    else:
        bar = ((torch.arange(count + 1) / count + 0.008) / 1.008 * math.pi / 2).cos()
        bar = bar.double().square()
        betas = (1 - bar[1:] / bar[:-1]).clamp(max=0.999)
    shares = (1 - betas).cumprod(dim=0)
    path = VariancePreservingPath(schedule)  # type: ignore[arg-type]
    times = index_time(torch.arange(count, dtype=torch.float64), count)
    assert times[-1] == 0 and times[0] == pytest.approx(0.999)
    at = path.coefficients(times)
    torch.testing.assert_close(
        at.data.square() + at.noise.square(), torch.ones(count).double()
    )
    # a step of finite length removes a little more than its limit
    gap = 0.002 if schedule == "linear" else 1e-5
    torch.testing.assert_close(at.data.square(), shares, rtol=0, atol=gap)
    # there is some picture left in the last step of one, and none of the other
    left = path.coefficients(torch.zeros(1, dtype=torch.float64)).data.item()
    assert left == pytest.approx(0.0066 if schedule == "linear" else 0, abs=1e-4)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_the_linear_one_in_another_time_and_scale(name: str) -> None:
    path, linear = PATHS[name], LinearPath()
    points, true = told(path)
    there, time = path.as_linear(points, TIMES)
    assert (time.diff() > 0).all()
    expected = linear.point(true["data"], true["noise"], time)
    torch.testing.assert_close(there, expected, rtol=1e-9, atol=1e-9)
    if name == "linear":
        assert torch.equal(time, TIMES) and torch.equal(there, points)


def test_times_lean_toward_noise() -> None:
    normal = some(20_000)
    assert logit_normal_times(normal, 0.0, 1.0).median() == pytest.approx(0.5, abs=0.01)
    times = logit_normal_times(normal, -1.0, 1.2)
    assert times.median() == pytest.approx(1 / (1 + math.e), abs=0.01)
    assert times.min() > 0 and times.max() < 1
    # SD3's shift of the time of noise, here of 3, is another mean
    shifted = logit_normal_times(normal, -math.log(3), 1.0)
    noisy = 1 - logit_normal_times(normal, 0.0, 1.0)
    torch.testing.assert_close(1 - shifted, 3 * noisy / (1 + 2 * noisy))


# ---------------------------------------------------------------- fields in closed form


@pytest.mark.parametrize("name", PATHS)
def test_the_marginal_velocity_is_the_mean_of_the_conditional_ones(name: str) -> None:
    """By Bayes' rule, point by point, for three data points in two dimensions."""
    path, data, points = PATHS[name], some(3, 2, seed=3), some(5, 2, seed=4)
    found = discrete_velocity(path, points, TIMES, data)
    for row in range(5):
        time = TIMES[row, None]
        at = path.coefficients(time)
        densities = [
            math.exp(-(points[row] - at.data * x).square().sum() / (2 * at.noise**2))
            for x in data
        ]
        told = [
            path.translate(x[None], "data", "velocity", points[row, None], time)[0]
            for x in data
        ]
        mean = sum(p * v for p, v in zip(densities, told, strict=True))
        torch.testing.assert_close(found[row], mean / sum(densities))


def test_both_targets_have_the_same_gradient() -> None:
    """Summed over a grid of points with the density of each data point's path.

    Losses differ, by what no network can tell of the data point; gradients do not.
    """
    path = LinearPath()
    data = torch.tensor([[-1.0], [0.3], [1.5]], dtype=torch.float64)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    ).double()
    grid = torch.linspace(-4, 4, 81, dtype=torch.float64)[:, None]
    conditional, marginal = torch.zeros((), dtype=torch.float64), 0.0
    for t in (0.1, 0.4, 0.8):
        time = grid.new_full((len(grid),), t)
        told = network(torch.cat([grid, time[:, None]], dim=1))
        mean = discrete_velocity(path, grid, time, data)
        for x in data:
            density = (-(grid - t * x).square() / (2 * (1 - t) ** 2)).exp() / (1 - t)
            target = path.translate(x.expand_as(grid), "data", "velocity", grid, time)
            conditional = conditional + (density * (told - target).square()).sum()
            marginal = marginal + (density * (told - mean).square()).sum()
    parameters = list(network.parameters())
    ours = torch.autograd.grad(conditional, parameters, retain_graph=True)
    theirs = torch.autograd.grad(marginal, parameters)
    assert conditional - marginal > 1
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PATHS)
def test_the_field_of_gaussian_data(name: str) -> None:
    """In one dimension as on paper; in two as that of very many data points."""
    path = PATHS[name]
    y, m, s = some(5, 1, seed=6), torch.tensor([0.7]).double(), 0.4
    found = gaussian_velocity(path, y, TIMES, m, torch.tensor([[s**2]]).double())
    if name == "linear":
        t = TIMES[:, None]
        k = (t * s**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * s**2)
        torch.testing.assert_close(found, m + k * (y - t * m))
    covariance = torch.tensor([[1.0, 0.5], [0.5, 0.6]]).double()
    mean = torch.tensor([0.3, -0.8]).double()
    data = mean + some(40_000, 2, seed=7) @ torch.linalg.cholesky(covariance).T
    points, times = some(3, 2, seed=8) * 0.5, TIMES[:3]
    exact = gaussian_velocity(path, points, times, mean, covariance)
    counted = discrete_velocity(path, points, times, data)
    torch.testing.assert_close(counted, exact, rtol=0.05, atol=0.05)


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("time", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("name", PATHS)
def test_times_outside(name: str, time: float) -> None:
    path, here = PATHS[name], torch.tensor([0.5, time])
    ends = torch.zeros(2, 3), torch.zeros(2, 3)
    for ask in (path.point, path.velocity):
        with pytest.raises(ValueError, match=rf"time must lie in \[0, 1\].*got {time}"):
            ask(*ends, here)
    with pytest.raises(ValueError, match="time must lie in"):
        path.ends(ends[0], "velocity", ends[1], here)


def test_predictions_that_decide_nothing() -> None:
    linear, diffusion = PATHS["linear"], PATHS["diffusion, linear"]
    nothing, start, end = torch.zeros(1, 2), torch.zeros(1), torch.ones(1)
    with pytest.raises(ValueError, match=r"'noise' does not decide.*time 0"):
        linear.translate(nothing, "noise", "velocity", nothing, start)
    for path in (linear, diffusion):
        with pytest.raises(ValueError, match=r"'data' does not decide.*time 1"):
            path.translate(nothing, "data", "velocity", nothing, end)
    with pytest.raises(ValueError, match=r"'velocity' does not decide.*infinite"):
        diffusion.ends(nothing, "velocity", nothing, end)
    with pytest.raises(ValueError, match="'data' does not decide"):
        discrete_velocity(linear, nothing, end, torch.zeros(4, 2))
    # a velocity decides both ends of the linear path at all times
    for time in (start, end):
        assert torch.isfinite(
            linear.ends(nothing, "velocity", nothing, time).data
        ).all()


def test_schedules_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match='schedule must be "linear" or "cosine"'):
        VariancePreservingPath("sigmoid")  # type: ignore[arg-type]
