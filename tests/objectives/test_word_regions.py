"""Scores of pictures with captions against a loop, and in their limits."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.damsm import scores_by_caption
from mmgen.data.batch import word_mask
from mmgen.models.damsm import matching_loss
from mmgen.objectives.word_regions import (
    sentence_scores,
    word_region_attention,
    word_region_scores,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


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
    mask = word_mask(torch.tensor(lengths), width)
    return regions.requires_grad_(), words.requires_grad_(), mask


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


# --- attention, sentence


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


# --- bad input


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
    with pytest.raises(ValueError, match=r"\(3, 8\) and \(4, 7\)"):
        sentence_scores(torch.ones(3, 8), torch.ones(4, 7))
