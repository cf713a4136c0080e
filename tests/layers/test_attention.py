"""Attention against PyTorch's own, against loops, and in its limits."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgen.layers.attention import (
    AdditiveAttention,
    LuongAttention,
    MultiHeadAttention,
    WordToPixelAttention,
    masked_softmax,
    scaled_dot_product_attention,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def random_mask(batch: int, keys: int) -> Tensor:
    """Real keys of captions with lengths 1..keys, always one of each extreme."""
    lengths = torch.randint(1, keys + 1, (batch,))
    lengths[0], lengths[-1] = 1, keys
    return torch.arange(keys)[None, :] < lengths[:, None]


# --- scaled dot product ---------------------------------------------------------------


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("heads", [(), (3,)])
def test_equals_pytorchs_function(heads: tuple[int, ...], need_weights: bool) -> None:
    query = torch.randn(4, *heads, 5, 8)
    key, value = torch.randn(4, *heads, 7, 8), torch.randn(4, *heads, 7, 6)
    mask = random_mask(4, 7)
    pairs = mask.reshape(4, *(1 for _ in heads), 1, 7)
    for given, expected in ((None, None), (mask, pairs), (pairs, pairs)):
        context, weights = scaled_dot_product_attention(
            query, key, value, given, need_weights=need_weights
        )
        reference = F.scaled_dot_product_attention(query, key, value, expected)
        torch.testing.assert_close(context, reference, atol=1e-6, rtol=0)
        if need_weights:
            torch.testing.assert_close(weights @ value, context)
            torch.testing.assert_close(weights.sum(-1), torch.ones(query.shape[:-1]))
        else:
            assert weights is None


def test_causal_mask_of_pairs() -> None:
    x = torch.randn(2, 6, 8)
    causal = torch.ones(1, 6, 6, dtype=torch.bool).tril()
    context, weights = scaled_dot_product_attention(x, x, x, causal)
    expected = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    torch.testing.assert_close(context, expected, atol=1e-6, rtol=0)
    assert weights[:, 0, 0].eq(1).all() and weights.triu(1).eq(0).all()


def test_half_precision_stays_close() -> None:
    query, key = torch.randn(2, 5, 64), torch.randn(2, 7, 64)
    mask = random_mask(2, 7)
    exact, _ = scaled_dot_product_attention(query, key, key, mask)
    half = [x.bfloat16() for x in (query, key, key)]
    for need_weights in (True, False):
        context, _ = scaled_dot_product_attention(
            *half, mask, need_weights=need_weights
        )
        assert context.dtype == torch.bfloat16
        torch.testing.assert_close(context.float(), exact, atol=0.05, rtol=0)


# --- additive, Luong ------------------------------------------------------------------


def test_additive_equals_its_formula_pair_by_pair() -> None:
    layer = AdditiveAttention(6, 5, 9)
    query, key, mask = torch.randn(3, 4, 6), torch.randn(3, 7, 5), random_mask(3, 7)
    context, weights = layer(query, key, mask=mask)
    for b in range(3):
        real = int(mask[b].sum())
        for i in range(4):
            scores = torch.stack(
                [
                    layer.score.weight[0]
                    @ torch.tanh(
                        layer.query.weight @ query[b, i] + layer.key.weight @ key[b, j]
                    )
                    for j in range(real)
                ]
            )
            expected = scores.exp() / scores.exp().sum()
            torch.testing.assert_close(weights[b, i, :real], expected)
            torch.testing.assert_close(context[b, i], expected @ key[b, :real])
        assert weights[b, :, real:].eq(0).all()


def test_luong_scores_equal_their_formulas() -> None:
    query, key = torch.randn(3, 4, 6), torch.randn(3, 7, 6)
    value, mask = torch.randn(3, 7, 2), random_mask(3, 7)
    dot = LuongAttention(6, 6, "dot")
    general = LuongAttention(6, 6, "general")
    concat = LuongAttention(6, 6, "concat", hidden_dim=5)
    both = torch.cat([concat.concat.query.weight, concat.concat.key.weight], dim=1)
    pairs = torch.cat(
        [
            query[:, :, None].expand(-1, -1, 7, -1),
            key[:, None].expand(-1, 4, -1, -1),
        ],
        dim=3,
    )
    scores = {
        dot: torch.einsum("bid,bjd->bij", query, key),
        general: torch.einsum("bid,de,bje->bij", query, general.key.weight, key),
        concat: torch.tanh(pairs @ both.T) @ concat.concat.score.weight[0],
    }
    for layer, expected in scores.items():
        weights = expected.masked_fill(~mask[:, None], -math.inf).softmax(-1)
        context, found = layer(query, key, value, mask)
        torch.testing.assert_close(found, weights, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(context, weights @ value, atol=1e-6, rtol=1e-5)
    for layer in (dot, general):
        fused, none = layer(query, key, value, mask, need_weights=False)
        assert none is None
        torch.testing.assert_close(
            fused, layer(query, key, value, mask)[0], atol=1e-6, rtol=1e-5
        )


# --- many heads -----------------------------------------------------------------------


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "sizes", [{}, {"kdim": 10, "vdim": 6}, {"bias": False}], ids=str
)
def test_multi_head_equals_pytorchs_after_copying(
    sizes: dict, need_weights: bool
) -> None:
    theirs = nn.MultiheadAttention(12, 3, batch_first=True, **sizes).eval()
    if theirs.in_proj_bias is not None:  # PyTorch starts them at zero: that hides bugs
        nn.init.normal_(theirs.in_proj_bias)
        nn.init.normal_(theirs.out_proj.bias)
    ours = MultiHeadAttention.from_torch(theirs)
    query, mask = torch.randn(4, 5, 12), random_mask(4, 7)
    key = torch.randn(4, 7, sizes.get("kdim", 12))
    value = torch.randn(4, 7, sizes.get("vdim", 12))
    expected, expected_weights = theirs(
        query, key, value, key_padding_mask=~mask, average_attn_weights=False
    )
    context, weights = ours(query, key, value, mask, need_weights=need_weights)
    torch.testing.assert_close(context, expected, atol=1e-6, rtol=1e-6)
    if need_weights:
        torch.testing.assert_close(weights, expected_weights, atol=1e-6, rtol=1e-6)


def test_self_attention_is_the_default_and_follows_permutations() -> None:
    layer = MultiHeadAttention(12, 3)
    x, order = torch.randn(2, 5, 12), torch.randperm(5)
    context, _ = layer(x)
    torch.testing.assert_close(context, layer(x, x, x)[0])
    torch.testing.assert_close(layer(x[:, order])[0], context[:, order])


# --- words to pixels ------------------------------------------------------------------


def loop_over_pixels(
    layer: WordToPixelAttention, pixels: Tensor, words: Tensor, real: Tensor
) -> tuple[Tensor, Tensor]:
    """AttnGAN's attention one pixel at a time; ``real`` is (B, H * W, T)."""
    batch, _, height, width = pixels.shape
    context = torch.zeros_like(pixels)
    weights = pixels.new_zeros(batch, words.shape[1], height, width)
    for b in range(batch):
        projected = words[b] @ layer.project.weight.T  # (T, C)
        for q in range(height * width):
            y, x = divmod(q, width)
            keep = real[b, q]
            beta = (projected[keep] @ pixels[b, :, y, x]).softmax(0)
            weights[b, keep, y, x] = beta
            context[b, :, y, x] = beta @ projected[keep]
    return context, weights


@pytest.mark.parametrize("legacy", [False, True])
def test_word_to_pixel_equals_a_loop_over_pixels(legacy: bool) -> None:
    layer = WordToPixelAttention(6, 10, legacy_mask=legacy).double()
    pixels = torch.randn(3, 6, 4, 5, dtype=torch.float64)
    words, mask = torch.randn(3, 7, 10, dtype=torch.float64), random_mask(3, 7)
    real = mask[:, None].expand(-1, 20, -1)
    if legacy:
        real = torch.stack(
            [torch.stack([mask[(b * 20 + q) % 3] for q in range(20)]) for b in range(3)]
        )
    context, weights = layer(pixels, words, mask)
    expected_context, expected_weights = loop_over_pixels(layer, pixels, words, real)
    torch.testing.assert_close(weights, expected_weights)
    torch.testing.assert_close(context, expected_context)
    fused, none = layer(pixels, words, mask, need_weights=False)
    assert none is None
    torch.testing.assert_close(fused, expected_context)


def test_only_the_misplaced_mask_lets_batch_mates_in() -> None:
    pixels, words = torch.randn(3, 6, 4, 4), torch.randn(3, 7, 8)
    mask = random_mask(3, 7)
    words = words * mask[:, :, None]
    right = WordToPixelAttention(6, 8)
    wrong = WordToPixelAttention(6, 8, legacy_mask=True)
    wrong.load_state_dict(right.state_dict())

    def change_in_company(layer: WordToPixelAttention) -> float:
        alone = layer(pixels[:1], words[:1], mask[:1])[0]
        return (layer(pixels, words, mask)[0][:1] - alone).abs().max().item()

    assert change_in_company(right) < 1e-6
    assert change_in_company(wrong) > 0.1
    full = torch.ones_like(mask)  # equally long captions: the mistake cannot show
    torch.testing.assert_close(
        right(pixels, words, full)[0], wrong(pixels, words, full)[0]
    )


# --- common to all --------------------------------------------------------------------

Lookup = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor | None]]


def make_lookup(name: str) -> Lookup:
    """One layer as a function of queries (B, 4, 6), keys (B, 5, 6), key mask (B, 5)."""
    if name in ("scaled", "fused"):
        return lambda q, k, m: scaled_dot_product_attention(
            q, k, k, m, need_weights=name == "scaled"
        )
    if name == "heads":
        heads = MultiHeadAttention(6, 2).double()
        return lambda q, k, m: heads(q, k, k, m, need_weights=True)
    if name == "pixels":
        maps = WordToPixelAttention(6, 6).double()
        return lambda q, k, m: maps(q.transpose(1, 2).unflatten(2, (2, 2)), k, m)
    layer = (
        AdditiveAttention(6, 6, 3) if name == "additive" else LuongAttention(6, 6, name)
    )
    layer.double()
    return lambda q, k, m: layer(q, k, k, m)


LAYERS = ("scaled", "fused", "additive", "dot", "general", "concat", "heads", "pixels")


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_with_a_caption_of_padding_only(name: str) -> None:
    lookup = make_lookup(name)
    query = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    key = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    mask = random_mask(3, 5)
    mask[1] = False
    context, weights = lookup(query, key, mask)
    if name != "heads":  # there a projection with a bias follows
        assert context[1].eq(0).all()
    assert weights is None or weights[1].eq(0).all()
    assert context[0].ne(0).any()
    outputs = (
        (lambda q, k: lookup(q, k, mask)[0])
        if weights is None
        else (lambda q, k: lookup(q, k, mask))
    )
    torch.autograd.gradcheck(outputs, (query, key))


@pytest.mark.parametrize("name", LAYERS)
def test_masked_keys_have_no_influence(name: str) -> None:
    lookup = make_lookup(name)
    query = torch.randn(3, 4, 6, dtype=torch.float64)
    key, mask = torch.randn(3, 5, 6, dtype=torch.float64), random_mask(3, 5)
    other = torch.where(mask[:, :, None], key, 100 * torch.randn_like(key))
    torch.testing.assert_close(
        lookup(query, key, mask)[0], lookup(query, other, mask)[0]
    )


def test_saturated_scores_pick_one_key_and_stay_finite() -> None:
    query = torch.tensor([[[1e4, 0.0]]], requires_grad=True)
    key = torch.tensor([[[1e4, 0.0], [-1e4, 0.0], [0.0, 1.0]]])
    context, weights = scaled_dot_product_attention(
        query, key, key, torch.tensor([[False, True, True]])
    )
    torch.testing.assert_close(weights[0, 0], torch.tensor([0.0, 0.0, 1.0]))
    context.sum().backward()
    assert query.grad.isfinite().all()


def test_masked_softmax_over_any_dimension() -> None:
    scores, mask = torch.randn(2, 3, 4), torch.rand(2, 3, 1) > 0.5
    weights = masked_softmax(scores, mask, dim=1)
    expected = mask.any(1, keepdim=True).float().expand(2, 1, 4)
    torch.testing.assert_close(weights.sum(1, keepdim=True), expected)


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.ones(2, 4, 5)}, r"one feature size D; got \(2, 4, 5\)"),
        ({"query": torch.ones(3, 4, 6)}, r"one batch size; got query \(3, 4, 6\)"),
        ({"query": torch.ones(4, 6)}, "same number of dimensions"),
        ({"value": torch.ones(2, 4, 6)}, r"same S >= 1.*value \(2, 4, 6\)"),
        ({"mask": torch.ones(2, 4).bool()}, r"mask must be \(2, 5\).*got \(2, 4\)"),
        ({"mask": torch.ones(4, 5).bool()}, r"mask must be \(2, 5\).*got \(4, 5\)"),
        ({"mask": torch.ones(2, 5)}, "mask must be bool.*float32"),
        (
            {"key": torch.full((2, 5, 6), math.nan)},
            "key must be finite; got 60 entries",
        ),
        ({"query": torch.full((2, 4, 6), math.inf)}, "query must be finite"),
    ],
)
def test_bad_lookups_are_named(change: dict[str, Tensor], message: str) -> None:
    good = {
        "query": torch.ones(2, 4, 6),
        "key": torch.ones(2, 5, 6),
        "value": torch.ones(2, 5, 6),
        "mask": torch.ones(2, 5).bool(),
    }
    scaled_dot_product_attention(**good)
    with pytest.raises(ValueError, match=message):
        scaled_dot_product_attention(**(good | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": torch.ones(2, 5, 3, 3)}, r"pixels must be of shape \(B, 6, H, W\)"),
        ({"words": torch.ones(2, 4, 7)}, r"words must be.*\(B, T, 8\).*\(2, 4, 7\)"),
        (
            {"words": torch.ones(3, 4, 8)},
            r"one batch size.*\(2, 6, 3, 3\).*\(3, 4, 8\)",
        ),
        (
            {"mask": torch.ones(2, 5).bool()},
            r"mask must be of shape \(2, 4\).*\(2, 5\)",
        ),
        ({"mask": torch.ones(2, 4).long()}, "mask must be bool.*int64"),
        ({"words": torch.full((2, 4, 8), math.nan)}, "words must be finite"),
    ],
)
def test_bad_maps_are_named(change: dict[str, Tensor], message: str) -> None:
    good = {
        "pixels": torch.ones(2, 6, 3, 3),
        "words": torch.ones(2, 4, 8),
        "mask": torch.ones(2, 4).bool(),
    }
    layer = WordToPixelAttention(6, 8)
    layer(**good)
    with pytest.raises(ValueError, match=message):
        layer(**(good | change))


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match=r"multiple of heads; got 10 and 4.*such as 2"):
        MultiHeadAttention(10, 4)
    with pytest.raises(ValueError, match=r"score must be.*'cosine'"):
        LuongAttention(4, 4, "cosine")
    with pytest.raises(
        ValueError, match='"dot" needs query_dim == key_dim; got 4 and 5'
    ):
        LuongAttention(4, 5, "dot")
    with pytest.raises(ValueError, match=r"key must be of shape \(B, length, 5\)"):
        AdditiveAttention(4, 5, 3)(torch.ones(2, 3, 4), torch.ones(2, 3, 4))
    with pytest.raises(ValueError, match="value must have 5 features"):
        MultiHeadAttention(4, 2, 5)(
            torch.ones(1, 1, 4), torch.ones(1, 1, 5), torch.ones(1, 1, 4)
        )
    with pytest.raises(ValueError, match="add_bias_kv"):
        MultiHeadAttention.from_torch(nn.MultiheadAttention(4, 2, add_bias_kv=True))
