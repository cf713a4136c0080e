"""Drawing: noise and seeds, guidance, solvers, edited pictures, and what is refused."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.interfaces import Draws, Exports
from mmgen.models.flow import FlowSampler, LinearPath, solve, time_grid
from mmgen.sampling import seeded_noise
from tests.models.flow.tiny_flow import PIXELS, sampler, task
from tests.models.tiny_codes import CAPTIONS, world

SIZE = 3 * 4 * 4  # numbers of the latents of a picture


@pytest.fixture(scope="module")
def small() -> FlowSampler:
    """Latents of (3, 4, 4), four steps."""
    return sampler(draw_steps=4)


@pytest.fixture(scope="module")
def pixels() -> FlowSampler:
    """Pictures of 16 pixels as they are, four steps."""
    return sampler(draw_steps=4, **PIXELS)


def test_it_can_do_what_it_says(small: FlowSampler, pixels: FlowSampler) -> None:
    for model in (small, pixels):
        for verb in (Draws, Exports):
            assert isinstance(model, verb)
        images = model.sample(CAPTIONS)
        assert images.shape == (3, 3, 16, 16) and images.abs().max() <= 1
    assert FlowSampler.options() == {"steps": int, "guidance": float}
    # what is snapped is a picture of codes
    images = small.sample(CAPTIONS)
    codes = small.space.codes(small.draw(CAPTIONS))  # type: ignore[operator]
    assert torch.equal(small.space.tokenizer.decode(codes), images)  # type: ignore
    assert not torch.equal(small.sample(CAPTIONS, snap=False), images)


@pytest.mark.parametrize("solver", ["euler", "heun", "ddim", "ancestral"])
def test_noise_draws_the_same_whatever_else_is_drawn(
    small: FlowSampler, solver: Any
) -> None:
    many = [[*CAPTIONS, ""][i % 4] for i in range(66)]  # more than a part
    size = 3 * SIZE if solver == "ancestral" else SIZE
    noise = seeded_noise(66, size, seed=6)
    options: dict[str, Any] = {"solver": solver, "steps": 2, "guidance": 2.0}
    latents = small.draw(many, noise=noise, **options)
    assert torch.equal(small.draw(many, seed=6, **options), latents)
    for rows in ([0], [1, 65], [3, 2, 7]):
        alone = small.draw([many[i] for i in rows], noise=noise[rows], **options)
        torch.testing.assert_close(alone, latents[rows], rtol=1e-3, atol=1e-3)
    other = small.draw(many, seed=7, **options)
    assert (other - latents).abs().amin(dim=(1, 2, 3)).max() > 0


def test_it_solves_the_equation_of_its_network(small: FlowSampler) -> None:
    noise = seeded_noise(3, SIZE, seed=1)
    tokens, lengths = small.read_captions(CAPTIONS)

    @torch.no_grad()
    def field(points: Tensor, time: Tensor) -> Tensor:
        return small.network(points, time, tokens, lengths)

    for solver in ("euler", "heun"):
        expected = solve(field, noise.view(3, 3, 4, 4), time_grid(4), solver)  # type: ignore[arg-type]
        found = small.draw(CAPTIONS, noise=noise, solver=solver)  # type: ignore[arg-type]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


# -------------------------------------------------------------------------- guidance


def test_guidance_one_is_none_and_the_configs_is_taken(small: FlowSampler) -> None:
    model = sampler(draw_steps=4, guidance=3.0)  # of the same weights
    plain = small.draw(CAPTIONS)
    assert torch.equal(model.draw(CAPTIONS, guidance=1.0), plain)
    assert torch.equal(small.draw(CAPTIONS, guidance=1.0), plain)
    assert torch.equal(model.draw(CAPTIONS), small.draw(CAPTIONS, guidance=3.0))
    assert not torch.equal(model.draw(CAPTIONS), plain)


def test_guidance_is_that_of_the_equation(small: FlowSampler) -> None:
    noise = seeded_noise(3, SIZE, seed=2)
    points, time = noise.view(3, 3, 4, 4), torch.zeros(3)
    tokens, lengths = small.read_captions(CAPTIONS)
    with torch.no_grad():
        told = small.network(points, time, tokens, lengths)
        untold = small.network(points, time, tokens, torch.zeros_like(lengths))
    expected = points + untold + 2.5 * (told - untold)
    found = small.draw(CAPTIONS, noise=noise, steps=1, guidance=2.5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (told - untold).abs().max() > 0.01
    # without a caption the conditional and the unconditional velocity are one
    empty = small.draw([""] * 3, noise=noise, guidance=2.5)
    plain = small.draw([""] * 3, noise=noise)
    torch.testing.assert_close(empty, plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        small.draw(CAPTIONS, noise=noise, guidance=0.0), plain, rtol=1e-4, atol=1e-4
    )


def test_an_empty_caption_is_the_unconditional_model(small: FlowSampler) -> None:
    tokens, lengths = small.read_captions(["a red star", " ", "a circle"])
    assert lengths.tolist() == [3, 0, 2] and not tokens[1].any()
    mixed = small.draw(["a red star", ""], seed=3)
    assert torch.isfinite(mixed).all()
    never = sampler(draw_steps=2, caption_dropout=0.0)
    never.sample(CAPTIONS)
    with pytest.raises(ValueError, match="never met the empty caption"):
        never.sample(["a star", ""])
    with pytest.raises(ValueError, match="trained with empty captions"):
        never.sample(CAPTIONS, guidance=2.0)


# ------------------------------------------------------------------- edited pictures


@pytest.mark.parametrize("kind", ["latents", "pixels"])
def test_edited_pictures_begin_from_the_given_ones(
    kind: str, small: FlowSampler, pixels: FlowSampler
) -> None:
    model = small if kind == "latents" else pixels
    images = world().batch(range(3)).images
    # at a time near 1 nothing is left to change
    near = model.edit(images, CAPTIONS, begin=0.9999)
    expected = model.space.decode(model.space.encode(images))
    torch.testing.assert_close(near, expected, rtol=0, atol=0.02)
    # at 0 nothing is left of them
    assert torch.equal(model.edit(images, CAPTIONS), model.sample(CAPTIONS))


def test_what_is_masked_stays(small: FlowSampler) -> None:
    images = world().batch(range(3)).images
    known = small.space.encode(images)
    mask = torch.zeros(3, 4, 4, dtype=torch.bool)
    mask[:, :2] = True  # the upper half
    latents = small.draw(CAPTIONS, known=known, mask=mask)
    assert torch.equal(latents[:, :, :2], known[:, :, :2])
    free = small.draw(CAPTIONS)
    assert not torch.allclose(latents[:, :, 2:], free[:, :, 2:])  # it was seen
    everything = torch.ones_like(mask)
    same = small.edit(images, CAPTIONS, mask=everything)
    assert torch.equal(same, small.space.decode(known))


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, r"steps must lie in 1\.\.1000; got 0"),
        ({"steps": 10**9}, r"steps must lie in 1\.\.1000"),
        ({"guidance": -1.0}, r"guidance must lie in 0\.\.1000.*got -1.0"),
        ({"guidance": math.nan}, r"guidance must lie in 0\.\.1000.*got nan"),
        ({"solver": "rk4"}, r"solver must be one of .*'rk4'"),
        ({"noise": torch.zeros(3, 5)}, r"noise must have shape \(3, 48\).*\(3, 5\)"),
        ({"noise": torch.zeros(3, 48), "solver": "ancestral"}, r"shape \(3, 240\)"),
    ],
)
def test_bad_options(small: FlowSampler, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small.sample(CAPTIONS, **options)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"begin": 1.0}, r"begin must lie in \[0, 1\)"),
        ({"begin": -0.1}, r"begin must lie in \[0, 1\)"),
        ({"images": torch.zeros(3, 3, 32, 32)}, r"\(3, 3, 16, 16\).*\(3, 3, 32, 32\)"),
        ({"images": torch.zeros(2, 3, 16, 16)}, r"\(3, 3, 16, 16\).*\(2, 3, 16, 16\)"),
        ({"mask": torch.ones(3, 8, 8).bool()}, r"mask must be bool of shape \(3, 4, 4"),
        ({"mask": torch.ones(3, 4, 4)}, "mask must be bool.*float32"),
    ],
)
def test_bad_edits(small: FlowSampler, changes: dict[str, Any], said: str) -> None:
    arguments = {"images": torch.zeros(3, 3, 16, 16), "captions": CAPTIONS, **changes}
    with pytest.raises(ValueError, match=said):
        small.edit(**arguments)


def test_latents_of_another_size(small: FlowSampler) -> None:
    with pytest.raises(
        ValueError, match=r"known must be latents of shape \(3, 3, 4, 4"
    ):
        small.draw(CAPTIONS, known=torch.zeros(3, 3, 8, 8))
    for alone in ({"begin": 0.5}, {"mask": torch.ones(3, 4, 4).bool()}):
        with pytest.raises(ValueError, match="known must be given with begin or mask"):
            small.draw(CAPTIONS, **alone)  # type: ignore[arg-type]
    args = small.init_args()
    with pytest.raises(ValueError, match="pictures of 32 pixels; got 16"):
        FlowSampler.from_args({**args, "image_size": 32})


def test_captions_that_cannot_be_read(small: FlowSampler) -> None:
    for captions in ([], "a star", "", ["qwxz"], ["", "qwxz"], [3], ["", 3]):
        with pytest.raises(ValueError, match="captions must"):
            small.sample(captions)  # type: ignore[arg-type]
    long = " ".join(["a", "red", "star"] * 20)
    with pytest.warns(UserWarning, match="longer than .* tokens; not read"):
        images = small.sample([long])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut = " ".join(long.split()[: small.max_tokens])
        assert torch.equal(small.sample([cut]), images)


# ------------------------------------------------------------------- kept and exported


@pytest.mark.parametrize("kind", ["latents", "pixels"])
def test_it_is_built_again_from_json(
    kind: str, small: FlowSampler, pixels: FlowSampler
) -> None:
    model = small if kind == "latents" else pixels
    args = json.loads(json.dumps(model.init_args()))
    again = FlowSampler.from_args(args).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.sample(CAPTIONS), model.sample(CAPTIONS))
    assert again.init_args() == args


def test_the_scale_is_kept_with_the_weights() -> None:
    made = task()
    kept = made.sampler(made.networks)
    again = FlowSampler.from_args(kept.init_args())  # of a tokenizer without weights
    assert not torch.equal(again.space.directions.mean, kept.space.directions.mean)
    again.load_state_dict(kept.state_dict())
    for name, numbers in made.space.directions.state_dict().items():
        assert torch.equal(again.space.directions.state_dict()[name], numbers)


@pytest.mark.slow
def test_a_file_takes_the_steps_that_sample_takes(
    small: FlowSampler, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from mmgen.export import export_graph

    path = export_graph(small.step_graph(), tmp_path / "step.onnx", {})
    session = onnxruntime.InferenceSession(path)
    noise = seeded_noise(1, SIZE, seed=9)
    tokens, length = small.vocabulary.encode(CAPTIONS[1:2], small.max_tokens)

    def velocity(points: Tensor, time: Tensor, length: Tensor) -> Tensor:
        inputs = {"tokens": tokens, "lengths": length, "points": points, "time": time}
        feed = {name: value.numpy() for name, value in inputs.items()}
        return torch.from_numpy(session.run(None, feed)[0])

    def field(points: Tensor, time: Tensor) -> Tensor:
        untold = velocity(points, time, torch.zeros_like(length))
        return untold + 2.0 * (velocity(points, time, length) - untold)

    found = solve(field, noise.view(1, 3, 4, 4), time_grid(4))
    expected = small.draw(CAPTIONS[1:2], noise=noise, guidance=2.0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert LinearPath().point(found, found, torch.ones(1)).shape == found.shape


@pytest.mark.slow
@pytest.mark.parametrize("network", ["transformer", "unet"])
def test_a_file_draws_what_sample_draws(network: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from mmgen.export import export_onnx

    model = sampler(draw_steps=2, guidance=2.0, network=network)
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "flow.onnx"))
    size = model.channels * model.side**2
    noise = seeded_noise(1, size, seed=9)
    tokens, length = model.vocabulary.encode(CAPTIONS[1:2], model.max_tokens)
    given = {"tokens": tokens, "lengths": length, "noise": noise}
    feed = {name: value.numpy() for name, value in given.items()}
    found = torch.from_numpy(session.run(["image"], feed)[0])
    expected = model.sample(CAPTIONS[1:2], noise=noise)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
