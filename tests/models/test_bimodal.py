"""The bimodal autoencoder: one code for a picture, its caption, or both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmgen import pretrained
from mmgen.data import load_dataset
from mmgen.data.shapes import ShapesDataset
from mmgen.interfaces import Draws, Matches
from mmgen.models.bimodal import VIEWS, Bimodal, BimodalConfig, BimodalTask
from mmgen.training import TrainingConfig, fit

CONFIG = BimodalConfig(
    code_dim=6,
    channels=4,
    patch=2,
    hidden_dim=16,
    sentence_dim=8,
    embedding_dim=8,
    caption_weight=3.0,
)
TRAINING = TrainingConfig(
    steps=6, batch_size=8, accelerator="cpu", log_every=1, progress="none"
)


@pytest.fixture(scope="module")
def shapes() -> ShapesDataset:
    data = load_dataset("shapes", "train", 16, objects=(1,), size=64)
    assert isinstance(data, ShapesDataset)
    return data


@pytest.fixture
def model(shapes: ShapesDataset) -> Bimodal:
    torch.manual_seed(0)
    return Bimodal(CONFIG, 16, shapes.vocabulary).eval()


def told(shapes: ShapesDataset, count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    batch = shapes.batch(range(count))
    return batch.images, batch.tokens, batch.lengths


def test_the_code_of_both_is_the_mean_of_the_codes(
    model: Bimodal, shapes: ShapesDataset
) -> None:
    images, tokens, lengths = told(shapes)
    image, caption = model.encode(images), model.encode(None, tokens, lengths)
    assert not torch.allclose(image, caption)
    torch.testing.assert_close(
        model.encode(images, tokens, lengths), (image + caption) / 2
    )


def test_every_view_makes_both(model: Bimodal, shapes: ShapesDataset) -> None:
    images, tokens, lengths = told(shapes)
    views = model(images, tokens, lengths)
    assert tuple(views) == VIEWS
    for seen, (image, caption) in views.items():
        code = model.encode(
            images if "image" in seen else None,
            tokens if "caption" in seen else None,
            lengths if "caption" in seen else None,
        )
        torch.testing.assert_close(image, model.likelihood(images, model.decoder(code)))
        torch.testing.assert_close(caption, model.captions(code, tokens, lengths))


def test_what_is_not_seen_changes_nothing(
    model: Bimodal, shapes: ShapesDataset
) -> None:
    images, tokens, lengths = told(shapes)
    code = model.encode(images)
    code.sum().backward()
    assert all(p.grad is None for p in model.text.parameters())
    assert all(p.grad is not None for p in model.encoder.parameters())
    model.zero_grad(set_to_none=True)
    model.encode(None, tokens, lengths).sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())


def test_the_loss_is_the_mean_of_the_views(shapes: ShapesDataset) -> None:
    torch.manual_seed(0)
    task = BimodalTask.build(CONFIG, shapes)
    network = task.networks["bimodal"].eval()  # no word is forgotten
    batch = shapes.batch(range(5))
    found = task.training_step(batch, None)  # type: ignore[arg-type]  # draws nothing
    views = network(batch.images, batch.tokens, batch.lengths)
    by_hand = sum(
        -(image.sum() + 3.0 * caption.sum()) / 5 for image, caption in views.values()
    )
    torch.testing.assert_close(found["loss"], by_hand / 3)
    torch.testing.assert_close(found["caption given image"], views["image",][1].mean())


def test_no_sample_looks_at_another(model: Bimodal, shapes: ShapesDataset) -> None:
    images, tokens, lengths = told(shapes)
    together = model(images, tokens, lengths)
    alone = model(images[:1], tokens[:1], lengths[:1])
    for seen in VIEWS:
        for many, one in zip(together[seen], alone[seen], strict=True):
            torch.testing.assert_close(many[:1], one)


def test_nothing_has_no_code(model: Bimodal) -> None:
    with pytest.raises(ValueError, match="nothing has no code"):
        model.encode()


def test_a_run_matches_after_it_was_stored(
    shapes: ShapesDataset, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    task = BimodalTask.build(CONFIG, shapes)
    fit(task, shapes, replace(TRAINING, out=str(tmp_path / "run")))
    sampler = pretrained.load(tmp_path / "run")
    assert isinstance(sampler, Matches) and not isinstance(sampler, Draws)
    batch = shapes.batch(range(3))
    scores = sampler.scores(batch.images, batch.captions)
    codes = (
        sampler.model.encode(batch.images),
        sampler.model.encode(None, batch.tokens, batch.lengths),
    )
    image, caption = (normalize(code, dim=1) for code in codes)
    torch.testing.assert_close(scores, image @ caption.T)
    assert scores.abs().max() <= 1 + 1e-6


def test_training_lowers_the_loss(shapes: ShapesDataset) -> None:
    torch.manual_seed(0)
    task = BimodalTask.build(CONFIG, shapes)
    batch = shapes.batch(range(16))
    optimizer = task.optimizers()["bimodal"]
    losses = []
    for _ in range(30):
        loss = task.training_step(batch, None)["loss"]  # type: ignore[arg-type]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_bad_input(model: Bimodal, shapes: ShapesDataset) -> None:
    with pytest.raises(ValueError, match="image_size"):
        Bimodal(CONFIG, 24, shapes.vocabulary)
    with pytest.raises(ValueError, match="images must have shape"):
        model.encode(torch.zeros(2, 3, 32, 32))
    task = BimodalTask.build(CONFIG, shapes)
    sampler = task.sampler(task.networks)
    with pytest.raises(ValueError, match="caption"):
        sampler.embed_captions([])
