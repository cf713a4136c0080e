"""Fusions: against formulas by hand, and blind to what is masked or missing."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, pad, softmax

from mmgen.layers.fusion import (
    FUSIONS,
    Bottleneck,
    Concatenation,
    CrossAttention,
    FiLM,
    Fusion,
    GatedUnit,
    LowRankBilinear,
    Pool,
    Sum,
    WeightedMean,
    begin_as_identity,
)

DIMS, SIZES, BATCH = (6, 5, 4), (7, 1, 3), 5
ALL = list(FUSIONS)


def made(name: str, count: int = 3) -> Fusion:
    """A fusion of small sizes in which nothing is 0 by initialisation."""
    torch.manual_seed(1)
    fusion = FUSIONS[name](DIMS[:count], 3, 8)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return fusion.eval()


def some(count: int = 3, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pairs = zip(SIZES[:count], DIMS[:count], strict=True)
    return [torch.randn(BATCH, s, d, generator=generator) for s, d in pairs]


def masks() -> list[Tensor]:
    """Samples that lack words, and samples 1 and 2 that lack a modality."""
    kept = [torch.ones(BATCH, size, dtype=torch.bool) for size in SIZES]
    kept[0][0, 4:] = False
    kept[0][1] = False
    kept[1][1] = False
    kept[2][2] = False
    kept[2][3, :2] = False
    return kept


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [1e30, float("nan"), float("inf")])
def test_what_is_masked_changes_no_output(name: str, value: float) -> None:
    fusion, inputs, kept = made(name), some(), masks()
    found = fusion(inputs, kept)
    spoiled = [
        tokens.masked_fill(~mask[:, :, None], value)
        for tokens, mask in zip(inputs, kept, strict=True)
    ]
    assert torch.equal(fusion(spoiled, kept), found)
    assert found.shape == (BATCH, 3) and found.isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_what_is_there_changes_the_output(name: str) -> None:
    fusion, kept = made(name), masks()
    found = fusion(some(), kept)
    for m in range(3):
        other = some()
        other[m] = some(seed=3)[m]
        has = kept[m].any(dim=1)
        differs = (fusion(other, kept) != found).any(dim=1)
        assert torch.equal(differs, has)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("missing", range(3))
def test_a_modality_that_the_whole_batch_lacks(name: str, missing: int) -> None:
    """None, or a mask without a single True: the same, to rounding."""
    fusion, inputs = made(name), some()
    kept: list[Tensor | None] = [None, None, None]
    kept[missing] = torch.zeros(BATCH, SIZES[missing], dtype=torch.bool)
    by_mask = fusion(inputs, kept)
    lacking: list[Tensor | None] = [*inputs]
    lacking[missing] = None
    torch.testing.assert_close(fusion(lacking), by_mask)
    assert not torch.allclose(fusion(inputs), by_mask, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_gradients_of_what_is_masked_are_zero_and_none_is_nan(name: str) -> None:
    fusion, kept = made(name), masks()
    inputs = [
        tokens.masked_fill(~mask[:, :, None], float("nan")).requires_grad_()
        for tokens, mask in zip(some(), kept, strict=True)
    ]
    fusion(inputs, kept).square().sum().backward()
    for tokens, mask in zip(inputs, kept, strict=True):
        assert tokens.grad is not None and tokens.grad.isfinite().all()
        assert (tokens.grad[~mask] == 0).all()
        assert (tokens.grad[mask] != 0).any()
    assert all(
        p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters()
    )


@pytest.mark.parametrize("name", ALL)
def test_samples_do_not_meet(name: str) -> None:
    fusion, inputs, kept = made(name), some(), masks()
    rows = [
        fusion([x[i : i + 1] for x in inputs], [m[i : i + 1] for m in kept])
        for i in range(BATCH)
    ]
    torch.testing.assert_close(torch.cat(rows), fusion(inputs, kept))


@pytest.mark.parametrize("name", ALL)
def test_two_modalities_of_one_token_each(name: str) -> None:
    fusion = made(name, 2)
    vectors = [torch.randn(4, 6), torch.randn(4, 5)]
    found = fusion([vector[:, None] for vector in vectors])
    assert found.shape == (4, 3)
    again = fusion([vectors[0][:, None], vectors[1].roll(1, 0)[:, None]])
    assert not torch.allclose(found, again, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_in_order_no_token_sees_one_after_it(name: str) -> None:
    fusion = made(name, 2)
    pictures, words = torch.randn(4, 7, 6), torch.randn(4, 5, 5)
    found = fusion.each(pictures, words)
    assert found.shape == (4, 5, 3)
    for size in range(1, 6):
        part = fusion.each(pictures, words[:, :size])
        torch.testing.assert_close(part, found[:, :size])
        last = words[:, size - 1 : size]
        if name == "cross-attention":
            seen = torch.cat([words[:, : size - 1].roll(1, 0), last], dim=1)
            other = fusion.each(pictures, seen)[:, -1]
            assert size == 1 or not torch.allclose(other, part[:, -1], atol=1e-3)
        else:
            torch.testing.assert_close(fusion([pictures, last]), part[:, -1])


def test_in_order_the_last_word_reads_as_if_all_were_read() -> None:
    """Of a single block: who reads last sees everything, with a mask or without."""
    torch.manual_seed(1)
    fusion = CrossAttention((6, 5), 3, 8, depth=1)
    pictures, words = torch.randn(4, 7, 6), torch.randn(4, 5, 5)
    asking = torch.cat([fusion.summary.expand(4, 1, -1), fusion.enter(words)], dim=1)
    here, there = (torch.ones(4, n, dtype=torch.bool) for n in (6, 7))
    read = fusion.blocks[0](asking, here, [pictures], [there])
    expected = fusion.out(fusion.norm(read[:, -1]))
    torch.testing.assert_close(fusion.each(pictures, words)[:, -1], expected)


# ----------------------------------------------------------------- against the formulas


def by_hand(fusion: Fusion, hidden: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Compare with a formula of two vectors, sample by sample."""
    x, y = torch.randn(4, 6), torch.randn(4, 5)
    rows = [fusion.out(hidden(a, b)) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(fusion([x[:, None], y[:, None]]), torch.stack(rows))


def test_concatenation() -> None:
    fusion = made("concatenation", 2)
    assert isinstance(fusion, Concatenation)
    one = torch.ones(1)
    by_hand(fusion, lambda a, b: fusion.join(torch.cat([a, b, one, one])).clamp(min=0))


def test_sum_and_weighted_mean() -> None:
    fusion = made("sum", 2)
    assert isinstance(fusion, Sum)
    by_hand(fusion, lambda a, b: (fusion.maps[0](a) + fusion.maps[1](b)).clamp(min=0))
    mean = made("weighted-mean", 2)
    assert isinstance(mean, WeightedMean)
    share = torch.sigmoid(mean.scores[0] - mean.scores[1])
    by_hand(
        mean,
        lambda a, b: (share * mean.maps[0](a) + (1 - share) * mean.maps[1](b)).clamp(
            min=0
        ),
    )


def test_of_two_modalities_the_gates_are_z_and_one_minus_z() -> None:
    fusion = made("gated", 2)
    assert isinstance(fusion, GatedUnit)

    def hidden(a: Tensor, b: Tensor) -> Tensor:
        first, second = fusion.gates(torch.cat([a, b])).chunk(2)
        z = torch.sigmoid(first - second)
        return z * fusion.maps[0](a).tanh() + (1 - z) * fusion.maps[1](b).tanh()

    by_hand(fusion, hidden)


def test_bilinear() -> None:
    fusion = made("bilinear", 2)
    assert isinstance(fusion, LowRankBilinear)
    by_hand(fusion, lambda a, b: fusion.maps[0](a).tanh() * fusion.maps[1](b).tanh())


def test_film_scales_and_shifts_every_token_of_the_first() -> None:
    fusion = made("film", 2)
    assert isinstance(fusion, FiLM)
    tokens, condition = torch.randn(1, 3, 6), torch.randn(1, 1, 5)
    gamma, beta = fusion.modulate[0](condition[0, 0]).chunk(2)
    rows = [((1 + gamma) * fusion.map(x) + beta).clamp(min=0) for x in tokens[0]]
    shares = softmax(torch.cat([fusion.pools[0].score(row) for row in rows]), dim=0)
    pooled = sum(share * row for share, row in zip(shares, rows, strict=True))
    torch.testing.assert_close(fusion([tokens, condition])[0], fusion.out(pooled))


def test_pool_is_a_weighted_mean_and_nothing_without_tokens() -> None:
    pool = Pool(4)
    tokens, mask = (
        torch.randn(2, 3, 4),
        torch.tensor([[True, False, True], [False] * 3]),
    )
    found = pool(tokens, mask)
    share = softmax(pool.score(tokens[0, [0, 2]]).squeeze(1), dim=0)
    torch.testing.assert_close(found[0], share @ tokens[0, [0, 2]])
    assert (found[1] == 0).all()
    assert torch.equal(pool(tokens[:, :1], mask[:, :1])[0], tokens[0, 0])


def attention_by_hand(layer: torch.nn.Module, asks: Tensor, answers: Tensor) -> Tensor:
    """``Attention`` of one sample, (S, D) and (R, D'), head by head."""
    query = layer.query(layer.norm(asks))
    other = (
        layer.norm(answers) if layer.other_norm is None else layer.other_norm(answers)
    )
    keys, values = layer.key_value(other).chunk(2, dim=1)
    size = query.shape[1] // layer.heads
    heads = [
        softmax(part @ key.T / size**0.5, dim=1) @ value
        for part, key, value in zip(
            *(x.split(size, dim=1) for x in (query, keys, values)), strict=True
        )
    ]
    return layer.out(torch.cat(heads, dim=1))


def test_cross_attention_begins_by_comparing_tokens_as_they_are() -> None:
    """Of aligned tokens, one reads first of all what is nearest to it."""
    torch.manual_seed(0)
    block = CrossAttention((8, 8), 3, 8, depth=1, heads=1).blocks[0]
    tokens = torch.randn(1, 5, 8)
    normal = layer_norm(tokens, (8,))
    attention = softmax(normal @ normal.mT / 8**0.5, dim=2)
    found = block.across[0](tokens, torch.ones(1, 5, dtype=torch.bool), tokens)
    torch.testing.assert_close(found, attention @ normal)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 6), (6, 6), (8, 6)])
def test_a_map_begins_as_the_identity(inputs: int, outputs: int) -> None:
    linear = torch.nn.Linear(inputs, 2 * outputs)
    begin_as_identity(linear, outputs)
    given = torch.randn(4, inputs)
    kept = pad(given, (0, max(outputs - inputs, 0)))[:, :outputs]
    assert torch.equal(linear(given), torch.cat([kept, kept], dim=1))


def test_cross_attention_by_hand() -> None:
    torch.manual_seed(0)
    fusion = CrossAttention((6, 5), 3, 8, depth=2, heads=2)
    regions, words = torch.randn(1, 4, 6), torch.randn(1, 3, 5)
    mask = torch.tensor([[True, True, False]])
    asking = torch.cat([fusion.summary[None], fusion.enter(words[0, :2])])
    for block in fusion.blocks:
        asking = asking + attention_by_hand(block.own, asking, asking)
        read = attention_by_hand(block.across[0], asking, regions[0])
        own, read = block.norm(asking), block.read_norm(read)
        both = torch.cat([own, read, own * read], dim=1)
        asking = asking + block.narrow(gelu(block.widen(both)))
    last = layer_norm(asking, (8,), fusion.norm.weight, fusion.norm.bias)
    found = fusion([regions, words], [None, mask])[0]
    torch.testing.assert_close(found, fusion.out(last.amax(dim=0)))


def test_what_the_bottleneck_tells_goes_through_the_shared_tokens() -> None:
    """With one block a modality hears nothing of the other; the mean is of both."""
    torch.manual_seed(0)
    fusion = Bottleneck((6, 5), 3, 8, depth=1, heads=2, shared=2)
    inputs = [torch.randn(1, 4, 6), torch.randn(1, 3, 5)]
    alone = []
    for m in range(2):
        own = torch.cat([fusion.enter[m](inputs[m][0]), fusion.shared])
        block = fusion.blocks[0][m]
        own = own + attention_by_hand(block.attention, own, own)
        wide = block.feedforward.widen(block.feedforward.norm(own))
        alone.append((own + block.feedforward.narrow(gelu(wide)))[-2:])
    mean = layer_norm(
        (alone[0] + alone[1]) / 2, (8,), fusion.norm.weight, fusion.norm.bias
    )
    torch.testing.assert_close(fusion(inputs)[0], fusion.out(mean.mean(dim=0)))


def test_of_one_modality_the_mean_is_its_own() -> None:
    """The weighted mean of one modality does not shrink, as its sum does not either."""
    mean = made("weighted-mean", 2)
    single = copy.deepcopy(mean)
    assert isinstance(single, WeightedMean)
    single.scores.data[0] = 50.0  # the other's weight is 0
    inputs = some(2)
    torch.testing.assert_close(mean([inputs[0], None]), single(inputs))


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", ALL)
def test_a_sample_without_any_modality_is_an_error(name: str) -> None:
    fusion, inputs, kept = made(name), some(), masks()
    for mask in kept:
        mask[3] = False
    with pytest.raises(ValueError, match=r"at least one modality; samples \[3\] of 5"):
        fusion(inputs, kept)
    with pytest.raises(ValueError, match="all are None"):
        fusion([None, None, None])


@pytest.mark.parametrize("name", ALL)
def test_without_the_check_such_a_row_is_finite(name: str, monkeypatch) -> None:
    """As on a GPU, where to look would mean to wait."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    fusion, inputs, kept = made(name), some(), masks()
    found = fusion(inputs, kept)
    for mask in kept:
        mask[3] = False
    without = fusion(inputs, kept)
    assert without.isfinite().all()
    rest = [0, 1, 2, 4]
    torch.testing.assert_close(without[rest], found[rest])


def test_sizes_that_do_not_fuse() -> None:
    fusion, inputs = made("sum"), some()
    with pytest.raises(ValueError, match=r"modalities must be a list of 3.* got 2"):
        fusion(inputs[:2])
    with pytest.raises(ValueError, match=r"masks must be a list of 3.* got 1"):
        fusion(inputs, [None])
    with pytest.raises(ValueError, match="one entry a modality; got a tensor"):
        fusion(torch.randn(3, BATCH, 6))
    with pytest.raises(ValueError, match=r"modalities\[1\].*D = 5; got \(5, 1, 9\)"):
        fusion([inputs[0], torch.randn(5, 1, 9), inputs[2]])
    with pytest.raises(ValueError, match=r"modalities\[2\].*B = 5.* got \(4, 3, 4\)"):
        fusion([*inputs[:2], inputs[2][:4]])
    with pytest.raises(ValueError, match="A vector is a single token"):
        fusion([inputs[0], inputs[1][:, 0], inputs[2]])
    with pytest.raises(ValueError, match=r"S at least 1 .*got \(5, 0, 6\)"):
        fusion([inputs[0][:, :0], *inputs[1:]])
    kept = masks()
    with pytest.raises(ValueError, match=r"masks\[0\] must be bool of shape \(5, 7\)"):
        fusion(inputs, [kept[0][:, :3], *kept[1:]])
    with pytest.raises(ValueError, match=r"masks\[2\].* got torch.float32"):
        fusion(inputs, [*kept[:2], kept[2].float()])


def test_sizes_that_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="two modalities or more"):
        Sum((4,), 3, 8)
    with pytest.raises(ValueError, match="at least 1"):
        Concatenation((4, 0), 3, 8)
    with pytest.raises(ValueError, match="hidden a multiple of heads"):
        CrossAttention((4, 4), 3, 6, heads=4)
    with pytest.raises(ValueError, match="depth 0"):
        Bottleneck((4, 4), 3, 8, depth=0)
    with pytest.raises(ValueError, match="shared must be at least 1"):
        Bottleneck((4, 4), 3, 8, shared=0)
