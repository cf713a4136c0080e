"""Solvers: their order, each against the formula that it is known by, what is held."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.models.flow import (
    Held,
    LinearPath,
    Path,
    VariancePreservingPath,
    ancestral_step,
    gaussian_velocity,
    index_time,
    solve,
    time_grid,
)
from mmgen.models.flow.solvers import SOLVERS, Field, Solver

LINEAR = LinearPath()
COSINE = VariancePreservingPath("cosine")
MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)


def some(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def gaussian(path: Path) -> Field:
    return lambda y, t: gaussian_velocity(path, y, t, MEAN, COVARIANCE)


def known(path: Path, data: Tensor) -> Field:
    """The field of a data set of one point: its prediction is perfect."""
    return lambda y, t: path.translate(data.expand_as(y), "data", "velocity", y, t)


def exact_end(start: Tensor) -> Tensor:
    """Where the path of Gaussian data leads from noise: m + C^(1/2) y_0."""
    values, axes = torch.linalg.eigh(COVARIANCE)
    return MEAN + (start @ axes * values.sqrt()) @ axes.T


def error(solver: Solver, steps: int) -> float:
    start = some(64, 2)
    found = solve(gaussian(LINEAR), start, time_grid(steps), solver)
    return (found - exact_end(start)).norm().item()


def test_the_error_of_euler_and_of_heun() -> None:
    euler = [error("euler", n) for n in (30, 60, 120)]
    heun = [error("heun", n) for n in (30, 60, 120)]
    for fine, coarse in zip(euler[1:], euler, strict=False):
        assert coarse / fine == pytest.approx(2, rel=0.05)
    for fine, coarse in zip(heun[1:], heun, strict=False):
        assert coarse / fine == pytest.approx(4, rel=0.15)
    assert heun[0] < euler[2]


def test_how_often_the_field_is_asked() -> None:
    for solver, expected in (("euler", 5), ("heun", 9), ("ddim", 5)):
        asked: list[float] = []

        def field(points: Tensor, time: Tensor, asked: list = asked) -> Tensor:
            asked.append(time[0].item())
            return torch.zeros_like(points)

        solve(field, torch.zeros(2, 3), time_grid(5), solver)  # type: ignore[arg-type]
        assert len(asked) == expected
        assert max(asked) < 1  # where no noise is left, nothing is asked


def test_a_straight_path_is_one_step() -> None:
    data, start = some(4, 2, seed=1), some(4, 2, seed=2)
    for solver in ("euler", "heun", "ddim"):
        for steps in (1, 3):
            found = solve(
                lambda y, t: data - start,
                start,
                time_grid(steps),
                solver,  # type: ignore[arg-type]
            )
            torch.testing.assert_close(found, data)


def test_ddim_is_euler_on_the_linear_path() -> None:
    start = some(8, 2)
    times = torch.tensor([0.0, 0.1, 0.15, 0.6, 1.0], dtype=torch.float64)
    ddim = solve(gaussian(LINEAR), start, times, "ddim", LINEAR)
    euler = solve(gaussian(LINEAR), start, times, "euler")
    torch.testing.assert_close(ddim, euler, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_ddim_of_diffusion_is_euler_in_the_linear_time(schedule: Any) -> None:
    """To rounding, for a few large steps: it is one solver under two names."""
    path = VariancePreservingPath(schedule)
    start = some(8, 2)
    times = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    found = solve(gaussian(path), start, times, "ddim", path)
    there, first = path.as_linear(start, torch.zeros(8).double())
    _, others = path.as_linear(torch.zeros(3, 1).double(), times[1:])
    euler = solve(gaussian(LINEAR), there, torch.cat([first[:1], others]), "euler")
    torch.testing.assert_close(found, euler, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("path", [LINEAR, COSINE])
def test_of_one_picture_every_subset_of_steps_draws_it(path: Path) -> None:
    data, start = some(1, 2, seed=3), some(6, 2, seed=4)
    for steps in (1, 2, 7):
        found = solve(known(path, data), start, time_grid(steps), "ddim", path)
        torch.testing.assert_close(found, data.expand(6, 2))
        noise = some(steps, 6, 2, seed=5)
        found = solve(
            known(path, data), start, time_grid(steps), "ancestral", path, noise
        )
        torch.testing.assert_close(found, data.expand(6, 2))


def test_an_ancestral_step_is_ddpms_posterior() -> None:
    """From index 500 of 1,000 to 499, with the formula in betas."""
    data, point, count = some(1, 2, seed=6), some(1, 2, seed=7), 1000
    now, then = (index_time(k, count).item() for k in (500, 499))
    bar, bar_then = (
        COSINE.coefficients(torch.tensor([t]).double()).data.square()
        for t in (now, then)
    )
    beta = 1 - bar / bar_then
    mean = beta * bar_then.sqrt() / (1 - bar) * data
    mean = mean + (1 - bar_then) * (1 - beta).sqrt() / (1 - bar) * point
    deviation = (beta * (1 - bar_then) / (1 - bar)).sqrt()
    field, nothing = known(COSINE, data), torch.zeros(1, 2).double()
    found = ancestral_step(field, point, now, then, COSINE, nothing)
    torch.testing.assert_close(found, mean, rtol=1e-6, atol=1e-6)
    moved = ancestral_step(field, point, now, then, COSINE, nothing + 1) - found
    torch.testing.assert_close(moved, deviation.expand(1, 2), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("path", [LINEAR, COSINE])
@pytest.mark.parametrize("solver", SOLVERS)
def test_gaussian_data_is_drawn_with_its_mean_and_covariance(
    solver: Solver, path: Path
) -> None:
    count, steps = 4000, 40
    start = some(count, 2, seed=8)
    noise = some(steps, count, 2, seed=9) if solver == "ancestral" else None
    found = solve(gaussian(path), start, time_grid(steps), solver, path, noise)
    torch.testing.assert_close(found.mean(dim=0), MEAN, rtol=0, atol=0.05)
    torch.testing.assert_close(torch.cov(found.T), COVARIANCE, rtol=0, atol=0.05)


# ---------------------------------------------------------------- begun, and held


def test_begun_later_more_is_left_of_the_picture() -> None:
    data, noise = some(200, 2, seed=10) * 0.6 + MEAN, some(200, 2, seed=11)
    far = []
    for begin in (0.0, 0.5, 0.9):
        time = torch.full((200,), begin, dtype=torch.float64)
        start = LINEAR.point(data, noise, time)
        found = solve(gaussian(LINEAR), start, time_grid(50, begin), "heun")
        far.append((found - data).norm().item())
    assert far[0] > 1.3 * far[1] > 2 * far[2]
    times = time_grid(4, 0.6)
    expected = torch.tensor([0.6, 0.7, 0.8, 0.9, 1.0], dtype=torch.float64)
    torch.testing.assert_close(times, expected)


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_held_stays_and_is_seen(solver: Solver) -> None:
    """Of correlated numbers, the one that is drawn follows the one that is held."""
    start = some(1000, 2, seed=12)
    data = (MEAN + torch.tensor([0.7, 0.0])).expand(1000, 2).contiguous()
    mask = torch.tensor([True, False]).expand(1000, 2)
    noise = some(100, 1000, 2, seed=13) if solver == "ancestral" else None
    found = solve(
        gaussian(LINEAR),
        start,
        time_grid(100),
        solver,
        noise=noise,
        held=Held(data, start, mask),
    )
    assert torch.equal(found[:, 0], data[:, 0])
    free = solve(gaussian(LINEAR), start, time_grid(100), solver, noise=noise)
    conditional = MEAN[1] + COVARIANCE[0, 1] / COVARIANCE[0, 0] * 0.7
    # toward the conditional mean, if not all the way: the rest is drawn as if what is
    # held were noise of its own
    assert free[:, 1].mean() + 0.1 < found[:, 1].mean() < conditional + 0.05


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0,), r"steps must lie in 1\.\.1000; got 0"),
        ((-3,), r"steps must lie in 1\.\.1000; got -3"),
        ((10**6,), r"steps must lie in 1\.\.1000; got 1000000"),
        ((5, 1.0), r"begin must lie in \[0, 1\).*got 1.0"),
        ((5, -0.5), r"begin must lie in \[0, 1\).*got -0.5"),
        ((5, math.nan), r"begin must lie in \[0, 1\).*got nan"),
    ],
)
def test_bad_grids(arguments: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        time_grid(*arguments)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"solver": "rk4"}, "solver must be one of euler, heun, ddim, .*'rk4'"),
        ({"times": torch.tensor([0.0, 1.5])}, r"times must lie in \[0, 1\].*0\.\.1.5"),
        ({"times": torch.tensor([-0.5, 1.0])}, r"times must lie in \[0, 1\].*-0.5"),
        ({"times": torch.tensor([0.5, 0.2])}, "times must be two numbers .* that rise"),
        ({"times": torch.tensor([0.0])}, "times must be two numbers .* that rise"),
        ({"times": torch.tensor([0.0, math.nan])}, "times must be two numbers"),
        ({"solver": "ancestral"}, r"noise must be of shape \(2, 4, 3\).*got None"),
        ({"noise": torch.zeros(2, 4, 3)}, r"noise must be of shape None for 'euler'"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], said: str) -> None:
    arguments = {"times": time_grid(2), "solver": "euler", **changes}
    with pytest.raises(ValueError, match=said):
        solve(lambda y, t: y, torch.zeros(4, 3), **arguments)
