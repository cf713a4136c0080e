"""The autoencoder of codes: its parts put together, its codebook, and its sampler."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen import pretrained
from mmgen.data import load_dataset
from mmgen.data.shapes import ShapesDataset
from mmgen.interfaces import Draws, Exports, Matches, Reconstructs
from mmgen.layers.quantise import FiniteScalarQuantiser, VectorQuantiser
from mmgen.models.vqvae import VQVAE, VQVAEConfig, VQVAESampler, VQVAETask
from mmgen.training import Run, TrainingConfig, fit
from mmgen.training import checkpoint as checkpoints
from tests.models.steps import OneStep

AVERAGE = VQVAEConfig(
    codes=8, code_dim=3, reduction=4, patch=2, channels=4, depth=1, learning_rate=5e-3
)
GRADIENT = replace(AVERAGE, learned="gradient")
SCALAR = replace(AVERAGE, quantiser="scalar", levels=(16, 9, 12))
NONE = replace(AVERAGE, quantiser="none")
CONFIGS = {"average": AVERAGE, "gradient": GRADIENT, "scalar": SCALAR, "none": NONE}
WITH_CODES = {name: CONFIGS[name] for name in ("average", "gradient", "scalar")}
SIZE, SIDE = 16, 4
TRAINING = TrainingConfig(
    steps=6, batch_size=8, accelerator="cpu", log_every=1, progress="none"
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def shapes() -> ShapesDataset:
    data = load_dataset("shapes", "train", SIZE, objects=(1,), size=64)
    assert isinstance(data, ShapesDataset)
    return data


def pictures(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, SIZE, SIZE, generator=generator) * 2 - 1


def sampler_of(config: VQVAEConfig) -> VQVAESampler:
    """A sampler whose codes are near its vectors, so that several are chosen."""
    sampler = VQVAESampler(config, SIZE).eval()
    quantiser = sampler.model.quantiser
    if isinstance(quantiser, VectorQuantiser):
        pool = sampler.latents(pictures()).permute(0, 2, 3, 1).flatten(0, 2)
        quantiser.restart(pool, torch.rand(quantiser.size), below=1.0)
    return sampler


def trained(
    shapes: ShapesDataset, config: VQVAEConfig, **changes: Any
) -> tuple[VQVAE, Run]:
    """A fresh autoencoder after a few steps of the loop."""
    torch.manual_seed(1)
    task = VQVAETask.build(config, shapes)
    run = fit(task, shapes, replace(TRAINING, **changes))
    return task.model, run


# --- the network ----------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_CODES)
def test_a_pass_is_its_parts_put_together(name: str) -> None:
    model = sampler_of(CONFIGS[name]).model
    images = pictures()
    output = model(images)
    latents = model.encoder(images)
    torch.testing.assert_close(output.latents, latents)
    assert output.latents.shape == (4, 3, SIDE, SIDE)
    # place by place, not mixed with channels
    for row, y, x in ((0, 0, 0), (1, 2, 3), (3, 3, 0)):
        code = model.quantiser(latents[row, :, y, x][None]).codes
        assert output.quantised.codes[row, y, x] == code[0]
    given = model.quantiser.lookup(output.quantised.codes).permute(0, 3, 1, 2)
    torch.testing.assert_close(output.images, model.decoder(given))
    assert len(output.quantised.codes.unique()) > 1


def test_without_a_quantiser_the_vectors_pass_as_they_are() -> None:
    model, images = VQVAE(NONE), pictures()
    output = model(images)
    assert output.quantised is None
    assert torch.equal(output.images, model.decoder(model.encoder(images)))


def test_the_encoder_gets_the_gradient_at_the_decoder_s_input() -> None:
    model, images = sampler_of(AVERAGE).model, pictures()
    output = model(images)
    (at_encoder,) = torch.autograd.grad(
        (output.images - images).square().sum(), output.latents
    )
    given = output.quantised.vectors.detach().permute(0, 3, 1, 2).requires_grad_()
    error = (model.decoder(given) - images).square().sum()
    (at_decoder,) = torch.autograd.grad(error, given)
    assert at_decoder.any()
    torch.testing.assert_close(at_encoder, at_decoder)


def test_networks_do_not_see_the_batch() -> None:
    model, images = sampler_of(AVERAGE).model, pictures()
    together = model(images)
    for row in range(4):
        alone = model(images[row : row + 1])
        torch.testing.assert_close(alone.images[0], together.images[row])
        assert torch.equal(alone.quantised.codes[0], together.quantised.codes[row])


# --- the task -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_the_loss_is_the_sum_of_its_parts(name: str, shapes: ShapesDataset) -> None:
    config = replace(CONFIGS[name], commitment=0.6)
    task = VQVAETask.build(config, shapes)
    batch = shapes.batch(range(8))
    output = task.model(batch.images)
    scalars = task.training_step(batch, OneStep(global_size=8))
    expected = (output.images - batch.images).abs().mean()
    if name in ("average", "gradient"):
        chosen = output.quantised.vectors
        apart = (output.latents.permute(0, 2, 3, 1) - chosen).square().mean()
        weight = 0.6 + (name == "gradient")
        expected = expected + weight * apart
        torch.testing.assert_close(scalars["commitment"], apart)
    torch.testing.assert_close(scalars["loss"], expected)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_gets_a_gradient_and_is_optimised(
    name: str, shapes: ShapesDataset
) -> None:
    task = VQVAETask.build(CONFIGS[name], shapes)
    scalars = task.training_step(shapes.batch(range(8)), OneStep(global_size=8))
    scalars["loss"].backward()
    for key, parameter in task.model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), key
    (optimizer,) = task.optimizers().values()
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert stepped == {id(p) for p in task.model.parameters()}
    learned = "quantiser.codebook" in dict(task.model.named_parameters())
    assert learned == (name == "gradient")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_it_learns(name: str, shapes: ShapesDataset) -> None:
    _, run = trained(shapes, CONFIGS[name], steps=60)
    losses = [float(row["loss"]) for row in run.history]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


# --- the codebook in training ---------------------------------------------------------


def test_a_dead_codebook_is_cured(shapes: ShapesDataset) -> None:
    """All codes but one are far from anything: without restarts they stay unused."""
    used = {}
    for below in (0.0, 0.5):
        torch.manual_seed(1)
        task = VQVAETask.build(replace(AVERAGE, restart_below=below), shapes)
        codebook = task.model.quantiser.codebook
        codebook[1:] = 1e3 + torch.arange(7.0)[:, None]
        fit(task, shapes, TRAINING)
        codes = task.model(shapes.batch(range(32)).images).quantised.codes
        used[below] = len(codes.unique())
    assert used[0.0] == 1
    assert used[0.5] >= 4


def test_restarts_are_counted(shapes: ShapesDataset) -> None:
    _, run = trained(shapes, replace(AVERAGE, restart_below=0.0))
    assert [row["restarted"] for row in run.history] == [0] * 6
    # no code is chosen more often than a step has vectors
    _, run = trained(shapes, replace(AVERAGE, restart_below=8.01, decay=0.0))
    assert [row["restarted"] for row in run.history] == [8] * 6
    _, run = trained(shapes, SCALAR)
    assert "restarted" not in run.history[0]


def test_the_average_takes_the_vectors_of_the_step_as_they_were(
    shapes: ShapesDataset,
) -> None:
    """At decay 0 and without restarts: the means of the encoder before its step."""
    task = VQVAETask.build(replace(AVERAGE, decay=0.0, restart_below=0.0), shapes)
    batch = shapes.batch(range(8))
    output = task.model(batch.images)
    before = task.model.quantiser.codebook.clone()
    task.training_step(batch, OneStep(global_size=8))
    vectors = output.latents.permute(0, 2, 3, 1).flatten(0, 2)
    codes = output.quantised.codes.flatten()
    for k in range(8):
        mine = vectors[codes == k]
        expected = mine.mean(dim=0) if len(mine) else before[k]
        torch.testing.assert_close(task.model.quantiser.codebook[k], expected)


@pytest.mark.parametrize("config", [AVERAGE, GRADIENT], ids=["average", "gradient"])
def test_parts_of_a_batch_leave_the_codebook_that_the_whole_leaves(
    config: VQVAEConfig, shapes: ShapesDataset
) -> None:
    config = replace(config, restart_below=0.3)
    whole, _ = trained(shapes, config, steps=3)
    parts, run = trained(shapes, config, steps=3, accumulate=2)
    assert sum(row["restarted"] for row in run.history) > 0
    for name in ("codebook", "counts", "sums"):
        torch.testing.assert_close(
            getattr(parts.quantiser, name),
            getattr(whole.quantiser, name),
            atol=1e-5,
            rtol=1e-4,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_the_last_vectors_of_a_step_are_not_kept(shapes: ShapesDataset) -> None:
    task = VQVAETask.build(AVERAGE, shapes)
    for index in range(2):
        for _ in range(2):
            task.training_step(
                shapes.batch(range(4)), OneStep(index=index, global_size=8)
            )
        assert task._seen == []


@pytest.mark.parametrize("name", WITH_CODES)
def test_a_resumed_run_goes_on_bit_for_bit(
    name: str, shapes: ShapesDataset, tmp_path: Path
) -> None:
    """The averages of the codebook and its restarts included."""
    config = replace(CONFIGS[name], restart_below=0.3)
    model, whole = trained(shapes, config, ema_decay=0.9)
    first = {"steps": 3, "ema_decay": 0.9, "out": str(tmp_path / "run")}
    _, part = trained(shapes, config, **first)
    again = Run.resume(tmp_path / "run", shapes, steps=6)
    expected, found, early = (
        checkpoints.flatten(run.task.networks) for run in (whole, again, part)
    )
    assert expected.keys() == found.keys()
    for key, tensor in expected.items():
        assert torch.equal(tensor, found[key]), key
    averages = (whole.sampler().state_dict(), again.sampler().state_dict())
    for key, tensor in averages[0].items():
        assert torch.equal(tensor, averages[1][key]), key
    if name != "scalar":
        key = "vqvae.quantiser.codebook"
        assert not torch.equal(early[key], expected[key])
        assert torch.equal(expected[key], model.quantiser.codebook)


# --- the sampler ----------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_CODES)
def test_pictures_to_codes_and_back(name: str) -> None:
    sampler = sampler_of(CONFIGS[name])
    images = pictures()
    codes = sampler.encode(images)
    assert codes.shape == (4, SIDE, SIDE) and codes.dtype == torch.int64
    assert codes.min() >= 0 and codes.max() < sampler.codes
    output = sampler.model(images)
    assert torch.equal(codes, output.quantised.codes)
    again = sampler.decode(codes)
    assert again.shape == images.shape and again.abs().max() <= 1
    torch.testing.assert_close(again, output.images, atol=1e-6, rtol=0)
    assert torch.equal(again, sampler.reconstruct(images))
    vectors = sampler.codebook()[codes].permute(0, 3, 1, 2)
    assert torch.equal(sampler.paint(vectors), again)
    assert not again.requires_grad and not sampler.codebook().requires_grad
    other = sampler.decode((codes + 1) % sampler.codes)
    assert (other - again).abs().max() > 1e-3


@pytest.mark.parametrize("name", CONFIGS)
def test_a_sampler_comes_back_from_its_arguments(name: str) -> None:
    sampler = sampler_of(CONFIGS[name])
    args = sampler.init_args()
    assert "learning_rate" not in args["config"] and args["image_size"] == SIZE
    copy = VQVAESampler.from_args(args).eval()
    copy.load_state_dict(sampler.state_dict())
    assert torch.equal(copy.reconstruct(pictures()), sampler.reconstruct(pictures()))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_is_loaded_as_a_sampler(
    name: str, shapes: ShapesDataset, tmp_path: Path
) -> None:
    _, run = trained(shapes, CONFIGS[name], steps=2, out=str(tmp_path / "run"))
    sampler = pretrained.load(tmp_path / "run")
    assert isinstance(sampler, VQVAESampler)
    images = shapes.batch(range(4)).images
    assert torch.equal(sampler.reconstruct(images), run.sampler().reconstruct(images))


def test_bits_are_those_of_codes_of_equal_length() -> None:
    assert sampler_of(AVERAGE).bits == 16 * 3
    scalar = VQVAESampler(SCALAR, SIZE)
    assert isinstance(scalar.model.quantiser, FiniteScalarQuantiser)
    assert scalar.codes == 1728
    assert scalar.bits == pytest.approx(16 * math.log2(1728))
    twice = VQVAESampler(AVERAGE, 2 * SIZE)
    assert (twice.side, twice.bits) == (2 * SIDE, 4 * 16 * 3)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_it_can_do(name: str) -> None:
    sampler = VQVAESampler(CONFIGS[name], SIZE)
    assert isinstance(sampler, Reconstructs) and isinstance(sampler, Exports)
    assert not isinstance(sampler, Draws) and not isinstance(sampler, Matches)


def test_without_a_quantiser_there_are_vectors_and_no_codes() -> None:
    sampler, images = sampler_of(NONE), pictures()
    again = sampler.reconstruct(images)
    assert torch.equal(again, sampler.paint(sampler.latents(images)))
    assert sampler.bits == math.inf
    codes = torch.zeros(1, SIDE, SIDE, dtype=torch.int64)
    for ask in (
        lambda: sampler.codes,
        sampler.codebook,
        lambda: sampler.encode(images),
        lambda: sampler.decode(codes),
    ):
        with pytest.raises(ValueError, match=r'no codes: .*quantiser="none"'):
            ask()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_file_paints_what_the_sampler_paints(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from mmgen.export import export_onnx

    sampler = sampler_of(CONFIGS[name])
    path = export_onnx(sampler, tmp_path / "vqvae.onnx")
    session = onnxruntime.InferenceSession(path)
    if name == "none":
        given = {"latents": sampler.latents(pictures())}
    else:
        given = {"codes": sampler.encode(pictures())}
    expected = sampler.reconstruct(pictures())
    for row in range(4):
        inputs = {key: rows[row : row + 1].numpy() for key, rows in given.items()}
        (image,) = session.run(["image"], inputs)
        torch.testing.assert_close(
            torch.from_numpy(image), expected[row : row + 1], atol=1e-5, rtol=0
        )


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": 1}, "codes must be at least 2.*got 1"),
        ({"code_dim": 0}, "code_dim must be at least 1; got 0"),
        ({"quantiser": "scalar", "levels": (5, 2)}, "levels must be.*3 or more"),
        ({"quantiser": "round"}, '"vector", "scalar" or "none"; got \'round\''),
        ({"learned": "k-means"}, '"average" or "gradient"; got \'k-means\''),
        ({"decay": 1.0}, r"decay must lie in \[0, 1\); got 1.0"),
        ({"channels": 6}, "channels must be a multiple of 4; got 6"),
        (
            {"patch": 3},
            "reduction must be patch x 1, 2, 4.*got reduction 4 and patch 3",
        ),
        ({"depth": -1}, "depth must be at least 0; got -1"),
    ],
)
def test_bad_configs_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VQVAESampler(replace(AVERAGE, **change), SIZE)


@pytest.mark.parametrize("size", [0, 2, 18])
def test_sizes_that_are_no_whole_squares_are_named(
    size: int, shapes: ShapesDataset
) -> None:
    message = f"image_size must be a multiple of config.reduction, 4; got {size}"
    with pytest.raises(ValueError, match=message):
        VQVAESampler(AVERAGE, size)
    with pytest.raises(ValueError, match=message):
        VQVAETask(AVERAGE, size)


def test_codes_do_not_hang_on_how_many_pictures_are_given() -> None:
    torch.manual_seed(0)
    sampler, many = sampler_of(AVERAGE), pictures(300)  # more than a part
    codes = sampler.encode(many)
    assert codes.shape == (300, SIDE, SIDE) and len(codes.unique()) > 1
    for rows in (slice(0, 2), slice(255, 258)):
        assert torch.equal(codes[rows], sampler.encode(many[rows]))


def test_pictures_and_codes_that_do_not_fit_are_named() -> None:
    sampler = sampler_of(AVERAGE)
    grid = torch.zeros(1, SIDE, SIDE, dtype=torch.int64)
    for ask, message in (
        (lambda: sampler.encode(torch.zeros(1, 3, 18, 16)), r"multiples of 4; got \(1"),
        (lambda: sampler.latents(torch.zeros(3, 16, 16)), r"\(B, 3, H, W\); got \(3"),
        (lambda: sampler.decode(grid + 8), r"must lie in 0\.\.7.*got 8\.\.8"),
        (lambda: sampler.decode(grid - 1), r"must lie in 0\.\.7.*got -1\.\.-1"),
        (lambda: sampler.decode(grid.float()), "must be int64.*got torch.float32"),
        (lambda: sampler.decode(grid[0]), r"\(B, h, w\); got \(4, 4\)"),
        (lambda: sampler.paint(torch.zeros(1, 4, 4, 4)), r"\(B, 3, h, w\); got \(1, 4"),
    ):
        with pytest.raises(ValueError, match=message):
            ask()
    # another size of picture is another grid
    assert sampler.encode(torch.zeros(1, 3, 8, 24)).shape == (1, 2, 6)
    assert sampler.decode(grid[:, :2]).shape == (1, 3, 8, 16)
