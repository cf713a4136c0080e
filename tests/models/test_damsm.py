"""DAMSM against the original's numbers, against a loop, and in its limits."""

import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.damsm import scores_by_caption
from mmgen.data import load_dataset
from mmgen.models.damsm import (
    DAMSMConfig,
    DAMSMMatcher,
    DAMSMTask,
    caption_log_probabilities,
    damsm_losses,
    matching_loss,
    sentence_scores,
    word_region_attention,
    word_region_scores,
)
from tests.data.fakes import make_cub

REFERENCE = Path(__file__).parents[1] / "data" / "damsm_tiny.npz"


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


def features(
    pictures: int,
    lengths: list[int],
    *,
    width: int = 6,
    size: int = 8,
    grid: int = 4,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random regions, words and mask in float64 that take gradients."""
    regions = scale * torch.randn(pictures, size, grid, grid, dtype=torch.float64)
    words = scale * torch.randn(len(lengths), width, size, dtype=torch.float64)
    mask = torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]
    return regions.requires_grad_(), words.requires_grad_(), mask


# --- the original's numbers -----------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 5, 99])
@pytest.mark.parametrize("case", ["unmasked", "class_masked"])
def test_losses_and_gradients_are_the_originals(
    reference: dict[str, Tensor], case: str, chunk_size: int | None
) -> None:
    names = ("regions", "image_features", "words", "sentence_features")
    inputs = [reference[name].clone().requires_grad_() for name in names]
    mask = torch.arange(6)[None, :] < reference["lengths"][:, None]
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
    mask = torch.arange(6)[None, :] < reference["lengths"][:, None]
    context, weights = word_region_attention(
        reference["words"], reference["regions"], mask, 4.0
    )
    torch.testing.assert_close(
        context[:1].transpose(1, 2), reference["attended_full_length"]
    )
    torch.testing.assert_close(weights[:1], reference["attention_full_length"])


# --- the loop over captions -----------------------------------------------------------

CASES = {
    "lengths 1 and 2": features(3, [1, 2, 6, 1]),
    "one picture, one caption": features(1, [4]),
    "one region": features(2, [3, 6], grid=1),
    "one word wide": features(4, [1, 1], width=1),
    "more pictures than captions": features(5, [2, 6]),
    "saturated": features(3, [1, 5, 6], scale=30.0),
    "faint": features(3, [1, 5, 6], scale=1e-3),
}


@pytest.mark.parametrize("chunk_size", [None, 1, 2])
@pytest.mark.parametrize("name", CASES)
def test_scores_equal_a_loop_over_captions(name: str, chunk_size: int | None) -> None:
    regions, words, mask = CASES[name]
    ours = word_region_scores(regions, words, mask, 4.0, 5.0, chunk_size)
    loop = scores_by_caption(regions, words, mask, 4.0, 5.0)
    torch.testing.assert_close(ours, loop, atol=1e-10, rtol=1e-10)
    upstream = torch.randn_like(ours)
    found = torch.autograd.grad(ours, (regions, words), upstream)
    expected = torch.autograd.grad(loop, (regions, words), upstream)
    for gradient, other in zip(found, expected, strict=True):
        scale = max(1.0, other.abs().max().item())
        torch.testing.assert_close(gradient, other, atol=1e-10 * scale, rtol=1e-8)


def test_padded_rows_as_on_a_gpu_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    regions, words, mask = features(3, [1, 2, 6, 4, 0])
    upstream = torch.randn(3, 5, dtype=torch.float64)
    packed = word_region_scores(regions, words, mask)
    grouped = torch.autograd.grad(packed, (regions, words), upstream)
    # what makes the choice on a GPU: no size may hang on the data
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    padded = word_region_scores(regions, words, mask)
    torch.testing.assert_close(padded, packed)
    found = torch.autograd.grad(padded, (regions, words), upstream)
    for gradient, other in zip(found, grouped, strict=True):
        torch.testing.assert_close(gradient, other)


def test_float32_is_close_to_float64_at_the_papers_size() -> None:
    regions = 0.5 * torch.randn(4, 256, 17, 17)
    words = 0.5 * torch.randn(4, 18, 256)
    mask = torch.arange(18)[None, :] < torch.tensor([18, 5, 1, 11])[:, None]

    def run(dtype: torch.dtype) -> tuple[Tensor, ...]:
        v, e = (x.to(dtype).requires_grad_() for x in (regions, words))
        scores = word_region_scores(v, e, mask)
        losses = matching_loss(scores)
        return scores, *torch.autograd.grad(sum(losses), (v, e))

    for single, double in zip(run(torch.float32), run(torch.float64), strict=True):
        scale = double.abs().max().item()
        torch.testing.assert_close(single.double(), double, atol=2e-5 * scale, rtol=0)


def test_gradcheck_with_an_empty_caption_and_equal_regions() -> None:
    regions, words, mask = features(2, [3, 0, 1], width=3, size=4, grid=2)
    with torch.no_grad():
        regions[1] = regions[1, :, :1, :1]  # a blank picture: all regions alike
    for chunk_size in (None, 1):
        torch.autograd.gradcheck(
            lambda v, e, chunk=chunk_size: word_region_scores(v, e, mask, 4, 5, chunk),
            (regions, words),
        )


def test_zero_features_have_score_log_length_and_finite_gradients() -> None:
    regions, words, mask = features(2, [3, 6])
    with torch.no_grad():
        words[0] = 0
        regions[1] = 0
    scores = word_region_scores(regions, words, mask)
    expected = torch.tensor([[3.0, 0.0], [3.0, 6.0]], dtype=torch.float64).log()
    zero = torch.tensor([[True, False], [True, True]])
    torch.testing.assert_close(scores[zero], expected[zero])
    scores.sum().backward()
    assert regions.grad.isfinite().all() and words.grad.isfinite().all()


def test_empty_caption_scores_zero_and_takes_no_gradient() -> None:
    regions, words, mask = features(3, [4, 0, 6])
    scores = word_region_scores(regions, words, mask)
    assert scores[:, 1].eq(0).all() and scores[:, [0, 2]].ne(0).all()
    scores.square().sum().backward()
    assert words.grad[1].eq(0).all() and words.grad[0, :4].ne(0).all()
    context, weights = word_region_attention(words, regions, mask, 4.0)
    assert context[1].eq(0).all() and weights[1].eq(0).all()


def test_padding_has_no_influence() -> None:
    regions, words, mask = features(3, [1, 4, 6])
    other = torch.where(mask[:, :, None], words, 50 * torch.randn_like(words))
    torch.testing.assert_close(
        word_region_scores(regions, words, mask),
        word_region_scores(regions, other, mask),
    )


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_calls_that_wait_for_their_backward_pass_keep_their_memory(
    chunk_size: int | None,
) -> None:
    """Memory goes from call to call, never away from a call that still needs it."""
    data = [features(4, [5, 3, 8, 1]) for _ in range(3)]
    expected = []
    for regions, words, mask in data:
        loss = matching_loss(scores_by_caption(regions, words, mask))[0]
        expected.append(torch.autograd.grad(loss, (regions, words)))
    losses = [
        matching_loss(word_region_scores(*each, chunk_size=chunk_size))[0]
        for each in data
    ]
    for _ in range(2):  # a graph that is kept gives its gradient again
        for loss, each, wanted in zip(losses, data, expected, strict=True):
            found = torch.autograd.grad(loss, each[:2], retain_graph=True)
            torch.testing.assert_close(found, wanted, atol=1e-10, rtol=1e-8)
    del losses, loss
    again = matching_loss(word_region_scores(*data[1], chunk_size=chunk_size))[0]
    found = torch.autograd.grad(again, data[1][:2])
    torch.testing.assert_close(found, expected[1], atol=1e-10, rtol=1e-8)


def test_only_the_asked_gradient_is_computed() -> None:
    regions, words, mask = features(2, [3, 6])
    both = torch.autograd.grad(
        word_region_scores(regions, words, mask).sum(), (regions, words)
    )
    for chunk_size in (None, 1):
        scores = word_region_scores(regions, words.detach(), mask, 4, 5, chunk_size)
        torch.testing.assert_close(
            torch.autograd.grad(scores.sum(), regions)[0], both[0]
        )
        scores = word_region_scores(regions.detach(), words, mask, 4, 5, chunk_size)
        torch.testing.assert_close(torch.autograd.grad(scores.sum(), words)[0], both[1])


def test_autocast_does_not_touch_the_scores() -> None:
    regions, words, mask = features(3, [2, 6])
    regions, words = (x.detach().float().requires_grad_() for x in (regions, words))

    def run() -> tuple[Tensor, ...]:
        scores = word_region_scores(regions, words, mask)
        return scores, *torch.autograd.grad(scores.sum(), (regions, words))

    exact = run()
    with torch.autocast("cpu", torch.bfloat16):
        for found, expected in zip(run(), exact, strict=True):
            torch.testing.assert_close(found, expected)
    half = word_region_scores(regions.bfloat16(), words.bfloat16(), mask)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact[0], atol=0.05, rtol=0)


# --- the attention, the sentence, the losses ------------------------------------------


def test_attention_maps_sum_to_one_over_regions() -> None:
    regions, words, mask = features(3, [1, 4, 6])
    context, weights = word_region_attention(words, regions, mask, 4.0)
    torch.testing.assert_close(weights.sum((2, 3)), mask.double())
    expected = torch.einsum("bthw,bdhw->btd", weights, regions)
    torch.testing.assert_close(context, expected)


def test_gamma1_sharpens_the_maps() -> None:
    regions, words, mask = features(3, [1, 4, 6])

    def entropy(gamma1: float) -> float:
        weights = word_region_attention(words, regions, mask, gamma1)[1].flatten(2)
        return -(weights * weights.clamp(min=1e-300).log()).sum().item()

    values = [entropy(gamma1) for gamma1 in (1e-3, 1, 4, 16, 1e4)]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(mask.sum().item() * math.log(16), rel=1e-5)


def test_scores_are_those_of_the_attention() -> None:
    regions, words, mask = features(4, [1, 2, 6, 5])
    context, _ = word_region_attention(words, regions, mask, 4.0)
    cosine = F.cosine_similarity(context, words, dim=2)
    expected = (5 * cosine).masked_fill(~mask, -math.inf).logsumexp(1)
    torch.testing.assert_close(
        word_region_scores(regions, words, mask).diagonal(), expected
    )


def test_sentence_scores_are_cosines() -> None:
    v, e = torch.randn(3, 8).double(), torch.randn(4, 8).double()
    v[0] = 0
    expected = F.cosine_similarity(v[:, None], e[None], dim=2)
    torch.testing.assert_close(sentence_scores(v, e), expected)


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
    for scores, ids in (
        (torch.randn(4, 4), torch.full((4,), 2)),  # every class repeats
        (torch.randn(1, 1), None),  # batch size 1
    ):
        scores.requires_grad_()
        losses = matching_loss(scores, 10.0, ids)
        assert [loss.item() for loss in losses] == [0, 0]
        sum(losses).backward()
        assert scores.grad.eq(0).all()


def test_saturated_scores_keep_losses_finite() -> None:
    scores = torch.full((3, 3), -1e4).requires_grad_()
    losses = matching_loss(scores + 2e4 * torch.eye(3).flip(0), 10.0)
    assert all(loss.isfinite() for loss in losses)
    sum(losses).backward()
    assert scores.grad.isfinite().all()


def test_the_textbook_formula_is_a_softmax_over_all_captions() -> None:
    image, sentence = torch.randn(3, 8).double(), torch.randn(7, 8).double()
    found = caption_log_probabilities(image, sentence, 0.5)
    z = torch.exp(0.5 * torch.einsum("id,jd->ij", image, sentence))
    torch.testing.assert_close(found, (z / z.sum(1, keepdim=True)).log())
    # With unit vectors, the captions of the batch and gamma = gamma3 it is one
    # direction of AttnGAN's sentence loss.
    image, sentence = F.normalize(image), F.normalize(sentence[:3])
    expected = matching_loss(sentence_scores(image, sentence), 10.0)[0]
    one = -caption_log_probabilities(image, sentence, 10.0).diagonal().mean()
    torch.testing.assert_close(one, expected)


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regions": torch.ones(2, 8, 4)}, r"regions must be.*\(2, 8, 4\)"),
        ({"regions": torch.ones(2, 7, 4, 4)}, r"D = 8 and \(2, 7, 4, 4\) with D = 7"),
        ({"words": torch.ones(2, 8)}, r"words must be of shape \(B, T, D\).*\(2, 8\)"),
        (
            {"mask": torch.ones(2, 4).bool()},
            r"mask must be of shape \(2, 5\).*\(2, 4\)",
        ),
        ({"mask": torch.ones(2, 5)}, "mask must be bool.*float32"),
        ({"regions": torch.full((2, 8, 4, 4), math.nan)}, "regions must be finite"),
        ({"words": torch.full((2, 5, 8), -math.inf)}, "words must be finite"),
        ({"gamma1": 0.0}, r"gamma1 must be above 0; got 0\.0"),
        ({"gamma2": -1.0}, r"gamma2 must be above 0; got -1\.0"),
        ({"gamma2": math.nan}, "gamma2 must be above 0; got nan"),
        ({"chunk_size": 0}, "chunk_size must be at least 1; got 0"),
    ],
)
def test_bad_scores_arguments_are_named(change: dict, message: str) -> None:
    good = {
        "regions": torch.ones(2, 8, 4, 4),
        "words": torch.ones(2, 5, 8),
        "mask": torch.ones(2, 5).bool(),
    }
    word_region_scores(**good)
    with pytest.raises(ValueError, match=message):
        word_region_scores(**(good | change))


def test_other_bad_arguments_are_named() -> None:
    regions, words, mask = torch.ones(3, 8, 4, 4), torch.ones(2, 5, 8), torch.ones(2, 5)
    with pytest.raises(
        ValueError, match=r"one batch size.*\(2, 5, 8\).*\(3, 8, 4, 4\)"
    ):
        word_region_attention(words, regions, mask.bool(), 4.0)
    with pytest.raises(ValueError, match="gamma1 must be above 0; got -4"):
        word_region_attention(words, regions[:2], mask.bool(), -4)
    with pytest.raises(ValueError, match=r"scores must be square.*\(2, 3\)"):
        matching_loss(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"class_ids must be of shape \(3,\).*\(2,\)"):
        matching_loss(torch.ones(3, 3), 10.0, torch.ones(2))
    with pytest.raises(ValueError, match="gamma3 must be above 0"):
        matching_loss(torch.ones(3, 3), 0.0)
    with pytest.raises(ValueError, match="scores must be finite"):
        matching_loss(torch.full((3, 3), math.nan))
    with pytest.raises(ValueError, match=r"\(3, 8\) and \(4, 7\)"):
        sentence_scores(torch.ones(3, 8), torch.ones(4, 7))


# --- the task and the matcher ---------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Iterator[SimpleNamespace]:
    """A tiny task with its data, untrained."""
    config, _, options = DAMSMTask.defaults("smoke", "shapes")
    data = load_dataset("shapes", "train", size=64, **options)
    yield SimpleNamespace(config=config, data=data, task=DAMSMTask.build(config, data))


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
    assert 0 <= out["retrieval_in_batch"] <= 1
    out["loss"].backward()
    for network in task.networks.values():
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.ne(0).any(), name


def test_build_refuses_pictures_of_another_size(small: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"must be the data set's, 16; got 64"):
        DAMSMTask.build(DAMSMConfig(), small.data)


@pytest.mark.parametrize("scale", ["smoke", "laptop", "full"])
@pytest.mark.parametrize("name", ["shapes", "emoji"])
def test_defaults_fit_their_data_and_the_repository(scale: str, name: str) -> None:
    if name == "emoji":
        pytest.importorskip("emoji")
    config, training, options = DAMSMTask.defaults(scale, name)
    data = load_dataset(name, "validation", **options)
    matcher = DAMSMTask.build(config, data).sampler(
        DAMSMTask.build(config, data).networks
    )
    half = 2 * sum(value.numel() for value in matcher.state_dict().values())
    assert half <= 6e6  # bytes at half precision
    assert training["steps"] > 0


@pytest.mark.parametrize("scale", ["smoke", "laptop", "full"])
@pytest.mark.parametrize(("name", "steps"), [("cub", 36_800), ("coco", 172_400)])
def test_photographs_are_matched_as_in_the_paper(
    scale: str, name: str, steps: int
) -> None:
    config, training, options = DAMSMTask.defaults(scale, name)
    assert (config.encoder, config.feature_dim, config.embedding_dim) == (
        "inception",
        256,
        300,
    )
    assert options == {"image_size": 299, "language": "en"}
    assert training["steps"] <= steps
    if scale == "full":  # 200 and 100 epochs of batches of 48
        assert (training["steps"], training["batch_size"]) == (steps, 48)
    assert DAMSMTask.defaults(scale, "features")[0] == config


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
    import json

    matcher = small.task.sampler(small.task.networks)
    args = json.loads(json.dumps(matcher.init_args()))
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


# --- several processes ----------------------------------------------------------------


def _gradients(task: DAMSMTask, rank: int, world: int, data) -> list[Tensor]:
    from mmgen.training.step import Step

    step = Step(
        0, "matching", False, torch.device("cpu"), rank, world, 0, 0, 4, 8,
        torch.Generator(),
    )  # fmt: skip
    share = 8 // world
    batch = data.batch(range(rank * share, (rank + 1) * share))
    loss = task.training_step(batch, step)["loss"]
    parameters = [p for net in task.networks.values() for p in net.parameters()]
    return list(torch.autograd.grad(loss, parameters))


def _process(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    task, data = torch.load(f"{folder}/task.pt", weights_only=False)
    gradients = _gradients(task, rank, 2, data)
    for gradient in gradients:  # as data parallelism does
        torch.distributed.all_reduce(gradient)
        gradient /= 2
    if rank == 0:
        torch.save(gradients, f"{folder}/gradients.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    task = DAMSMTask.build(small.config, small.data)
    for network in task.networks.values():
        network.eval()
    expected = _gradients(task, 0, 1, small.data)
    torch.save((task, small.data), tmp_path / "task.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (port, str(tmp_path)), nprocs=2)
    found = torch.load(tmp_path / "gradients.pt")
    for gradient, other in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, other, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_learns_to_match_one_object_scenes() -> None:
    from mmgen.training import TrainingConfig, fit

    config, training, options = DAMSMTask.defaults("smoke", "shapes")
    config = DAMSMConfig(16, 64, 32, width=16, grid=4, learning_rate=4e-3)
    options |= {"objects": (1,), "language": "en"}
    data = load_dataset("shapes", "train", size=4000, **options)
    training |= {"steps": 450, "batch_size": 32, "ema_decay": 0.9}
    run = fit(
        DAMSMTask.build(config, data),
        data,
        TrainingConfig(progress="none", accelerator="cpu", **training),
    )
    batch = load_dataset("shapes", "test", size=100, **options).batch(range(100))
    scores = run.sampler().scores(batch.images, batch.captions)
    true = scores.diagonal()[:, None]
    other = batch.class_ids[:, None] != batch.class_ids[None, :]
    beaten = ((scores < true) & other).sum() / other.sum()
    assert beaten > 0.9  # untrained: a half
