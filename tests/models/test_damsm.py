"""DAMSM against the original's numbers, its losses, and its training."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from mmgen.configs import architecture
from mmgen.data import load_dataset
from mmgen.data.batch import word_mask
from mmgen.interfaces import Matches, MatchesChosen
from mmgen.models.damsm import (
    DAMSMConfig,
    DAMSMMatcher,
    DAMSMTask,
    damsm_losses,
    matching_loss,
    word_region_attention,
)
from mmgen.objectives.word_regions import sentence_scores, word_region_scores
from tests.data.fakes import make_cub

REFERENCE = Path(__file__).parents[1] / "data" / "damsm_tiny.npz"
TINY = DAMSMConfig(16, 32, 16, width=8, grid=4)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def reference() -> dict[str, Tensor]:
    """The original's inputs and results; words as (B, T, D), floats in float64."""
    with np.load(REFERENCE) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    words = ("words", "unmasked/grad_words", "class_masked/grad_words")
    for name, value in arrays.items():
        value = value.double() if value.is_floating_point() else value
        arrays[name] = value.transpose(1, 2).contiguous() if name in words else value
    return arrays


# --- the original's numbers


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 5, 99])
@pytest.mark.parametrize("case", ["unmasked", "class_masked"])
def test_losses_and_gradients_are_the_originals(
    reference: dict[str, Tensor], case: str, chunk_size: int | None
) -> None:
    names = ("regions", "image_features", "words", "sentence_features")
    inputs = [reference[name].clone().requires_grad_() for name in names]
    mask = word_mask(reference["lengths"], 6)
    class_ids = reference["class_ids"] if case == "class_masked" else None
    losses = damsm_losses(*inputs, mask, class_ids, chunk_size=chunk_size)
    for name, value in losses._asdict().items():
        expected = reference[f"{case}/{name}"]
        torch.testing.assert_close(value, expected, atol=1e-10, rtol=0)
    losses.total.backward()
    for name, tensor in zip(names, inputs, strict=True):
        expected = reference[f"{case}/grad_{name}"]
        torch.testing.assert_close(tensor.grad, expected, atol=1e-10, rtol=0)


def test_attention_is_the_originals(reference: dict[str, Tensor]) -> None:
    mask = word_mask(reference["lengths"], 6)
    context, weights = word_region_attention(
        reference["words"], reference["regions"], mask, 4.0
    )
    torch.testing.assert_close(
        context[:1].transpose(1, 2), reference["attended_full_length"]
    )
    torch.testing.assert_close(weights[:1], reference["attention_full_length"])


# --- the losses


def test_matching_loss_sums_over_the_negatives_that_are_left() -> None:
    scores = torch.randn(5, 5, dtype=torch.float64)
    class_ids = torch.tensor([7, 3, 7, 7, 1])
    for ids in (None, class_ids):
        rows, columns = [], []
        for i in range(5):
            used = [
                j
                for j in range(5)
                if ids is None or i == j or int(ids[i]) != int(ids[j])
            ]
            z = (3 * scores).exp()
            rows.append(-(z[i, i] / z[i, used].sum()).log())
            columns.append(-(z[i, i] / z[used, i].sum()).log())
        found = matching_loss(scores, 3.0, ids)
        torch.testing.assert_close(found[0], torch.stack(rows).mean())
        torch.testing.assert_close(found[1], torch.stack(columns).mean())


def test_losses_without_any_negative_are_zero_with_zero_gradient() -> None:
    scores = torch.randn(4, 4, requires_grad=True)
    losses = matching_loss(scores, 10.0, torch.full((4,), 2))  # every class repeats
    assert [loss.item() for loss in losses] == [0, 0]
    sum(losses).backward()
    assert scores.grad.eq(0).all()


def test_saturated_scores_keep_losses_finite() -> None:
    scores = torch.full((3, 3), -1e4).requires_grad_()
    losses = matching_loss(scores + 2e4 * torch.eye(3).flip(0), 10.0)
    # one of three is sure of its own, two are surely wrong: 10 x 20,000 nats each
    assert [loss.item() for loss in losses] == pytest.approx([2e5 * 2 / 3] * 2)
    sum(losses).backward()
    # each direction pulls a third of gamma3 from the wrong to the own pair
    pull = torch.tensor([[-1.0, 0, 1], [0, 0, 0], [1, 0, -1]]) * 2 * 10 / 3
    torch.testing.assert_close(scores.grad, pull)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"scores must be square.*\(2, 3\)"):
        matching_loss(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"class_ids must be of shape \(3,\).*\(2,\)"):
        matching_loss(torch.ones(3, 3), 10.0, torch.ones(2))
    with pytest.raises(ValueError, match="gamma3 must be above 0"):
        matching_loss(torch.ones(3, 3), 0.0)
    with pytest.raises(ValueError, match="scores must be finite"):
        matching_loss(torch.full((3, 3), math.nan))


# --- the task and the matcher ---------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Iterator[SimpleNamespace]:
    """A tiny task with its data, untrained."""
    data = load_dataset("shapes", "train", 16, "both", size=64)
    yield SimpleNamespace(config=TINY, data=data, task=DAMSMTask.build(TINY, data))


def test_weights_keep_no_field_of_the_training(small: SimpleNamespace) -> None:
    changed = DAMSMConfig(
        16, 32, 16, width=8, grid=4, dropout=0.0, gamma3=3.0, learning_rate=1.0
    )
    args = DAMSMTask.build(changed, small.data).sampler(small.task.networks).init_args()
    assert args == small.task.sampler(small.task.networks).init_args()
    assert DAMSMMatcher.from_args(args).config == TINY


def one_process(tensor: Tensor) -> Tensor:
    return tensor


def test_step_is_the_loss_of_the_batch_and_reaches_all_weights(
    small: SimpleNamespace,
) -> None:
    batch = small.data.batch(range(8))
    task = DAMSMTask.build(small.config, small.data)
    for network in task.networks.values():
        network.eval()
    out = task.training_step(batch, SimpleNamespace(gather=one_process))
    words, sentence = task.networks["text_encoder"](batch.tokens, batch.lengths)
    regions, overall = task.networks["image_encoder"](batch.images)
    losses = damsm_losses(
        regions, overall, words, sentence, batch.mask, batch.class_ids
    )
    torch.testing.assert_close(out["loss"], losses.total)
    scores = word_region_scores(
        regions, words, batch.mask, small.config.gamma1, small.config.gamma2
    ) + sentence_scores(overall, sentence)
    own = scores.diagonal()
    found = (scores.max(dim=1).values == own).float().mean()
    assert found != (scores.max(dim=0).values == own).float().mean()
    assert out["retrieval_in_batch"] == found
    matcher = task.sampler(task.networks)
    torch.testing.assert_close(matcher.scores(batch.images, batch.captions), scores)
    out["loss"].backward()
    for network in task.networks.values():
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.ne(0).any(), name


def test_build_refuses_pictures_of_another_size(small: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"must be the data set's, 16; got 64"):
        DAMSMTask.build(DAMSMConfig(), small.data)


@pytest.mark.slow
def test_training_on_features_is_training_on_the_pictures(tmp_path: Path) -> None:
    """As long as each epoch has its own cuts: then only half precision differs."""
    from torchvision.models import Inception3

    from mmgen.data.storage.features import pack_features
    from mmgen.training import TrainingConfig, fit

    weights = tmp_path / "inception.pth"
    torch.save(Inception3(aux_logits=False, init_weights=False).state_dict(), weights)
    config = DAMSMConfig(
        75, 16, 8, encoder="inception", encoder_weights=str(weights), dropout=0.0
    )
    root = make_cub(tmp_path / "cub")
    pictures = load_dataset("cub", "train", 75, root=root, captions_per_image=3)
    encoder = DAMSMTask.build(config, pictures).networks["image_encoder"]
    pack_features(
        pictures,
        encoder.trunk,
        tmp_path / "features",
        2,
        encoder="inception",
        fingerprint=encoder.fingerprint(),
    )
    features = load_dataset("features", "train", 75, root=tmp_path / "features")
    losses = []
    for data in (pictures, features):
        torch.manual_seed(0)
        task = DAMSMTask.build(config, data)
        training = TrainingConfig(
            steps=4, batch_size=3, log_every=1, progress="none", accelerator="cpu"
        )
        run = fit(task, data, training)
        losses.append([row["loss"] for row in run.history])
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)
    # the matcher that comes of it is asked about pictures
    batch = pictures.batch(range(3))
    assert run.sampler().scores(batch.images, batch.captions).shape == (3, 3)
    torch.save(Inception3(aux_logits=False, init_weights=False).state_dict(), weights)
    with pytest.raises(ValueError, match="those of other weights of inception"):
        DAMSMTask.build(config, features)


def test_matcher_is_rebuilt_and_scores_alike_in_any_batch(
    small: SimpleNamespace,
) -> None:
    matcher = small.task.sampler(small.task.networks)
    assert isinstance(matcher, Matches) and isinstance(matcher, MatchesChosen)
    args = json.loads(json.dumps(matcher.init_args()))
    assert args["config"] == architecture(small.config)
    again = DAMSMMatcher.from_args(args).eval()
    again.load_state_dict(matcher.state_dict())
    batch = small.data.batch(range(6))
    scores = matcher.scores(batch.images, batch.captions)
    assert scores.shape == (6, 6) and not scores.requires_grad
    torch.testing.assert_close(again.scores(batch.images, batch.captions), scores)
    alone = matcher.scores(batch.images[4:5], batch.captions[2:3])
    torch.testing.assert_close(alone[0, 0], scores[4, 2])
    best = matcher.image_to_text(batch.images, batch.captions)
    torch.testing.assert_close(best[:, 0], scores.argmax(1))
    best = matcher.text_to_image(batch.captions, batch.images)
    torch.testing.assert_close(best[:, 0], scores.argmax(0))
    maps = matcher.attention_maps(batch.images, batch.captions)
    lengths = matcher.vocabulary.encode(batch.captions)[1]
    torch.testing.assert_close(maps.sum((1, 2, 3)), lengths.float())


def test_matcher_reports_unknown_words_and_refuses_empty_captions(
    small: SimpleNamespace,
) -> None:
    matcher = small.task.sampler(small.task.networks)
    images = small.data.batch(range(2)).images
    with pytest.warns(UserWarning, match="never saw.*qwxz"):
        matcher.scores(images, ["a red qwxz"])
    with pytest.raises(ValueError, match="captions must not be empty"):
        matcher.scores(images, [""])
    with pytest.raises(ValueError, match="captions must be a list"):
        matcher.scores(images, "a red circle")
    with pytest.raises(ValueError, match="images must be 16 x 16"):
        matcher.scores(torch.zeros(1, 3, 32, 32), ["a red circle"])


@pytest.mark.slow
def test_learns_to_match_one_object_scenes() -> None:
    from mmgen.training import TrainingConfig, fit

    config = DAMSMConfig(16, 64, 32, width=16, grid=4, learning_rate=4e-3)
    data = load_dataset("shapes", "train", 16, objects=(1,), size=4000)
    training = TrainingConfig(
        steps=450,
        batch_size=32,
        schedule="cosine",
        gradient_clip=1.0,
        ema_decay=0.9,
        progress="none",
        accelerator="cpu",
    )
    run = fit(DAMSMTask.build(config, data), data, training)
    held = load_dataset("shapes", "test", 16, objects=(1,), size=100)
    batch = held.batch(range(100))
    scores = run.sampler().scores(batch.images, batch.captions)
    true = scores.diagonal()[:, None]
    other = batch.class_ids[:, None] != batch.class_ids[None, :]
    beaten = ((scores < true) & other).sum() / other.sum()
    assert beaten > 0.9  # untrained: a half
