"""The Transformer: what reaches what, the cache, places, and the formulas of others."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from mmgen.layers.attention import scaled_dot_product_attention
from mmgen.layers.transformer import (
    BASE,
    INITIAL_STD,
    Attention,
    Transformer,
    rotary_frequencies,
    rotate,
)

WIDTH, HEADS, SIZE = 16, 2, 7
GRID = (8, 4, 4)  # words, rows, columns


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def shaken(network: Transformer) -> Transformer:
    """In float64, with weights large enough for every path to count."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.4)
    return network.double()


def transformer(
    causal: bool = True,
    positions: str = "rotary",
    axes: tuple[int, ...] = (12,),
    depth: int = 2,
) -> Transformer:
    network = Transformer(WIDTH, depth, HEADS, axes, causal, positions)  # type: ignore[arg-type]
    return shaken(network)


def tokens_of(batch: int, size: int = SIZE) -> Tensor:
    return torch.randn(batch, size, WIDTH, dtype=torch.float64)


def in_line(size: int = SIZE) -> Tensor:
    """Places on one axis."""
    return torch.arange(size)[:, None]


def words_and_grid(words: int, side: int) -> Tensor:
    """Places of words, then of a grid, on three axes."""
    text = [(i + 1, 0, 0) for i in range(words)]
    grid = [(0, y + 1, x + 1) for y in range(side) for x in range(side)]
    return torch.tensor(text + grid)


def padding(lengths: list[int], size: int) -> Tensor:
    return torch.arange(size) < torch.tensor(lengths)[:, None]


# --- formulas -------------------------------------------------------------------------


def test_attention_is_that_of_the_chapters() -> None:
    layer = Attention(WIDTH, HEADS).double()
    tokens, mask = tokens_of(3), padding([7, 4, 1], SIZE)
    allowed = mask[:, None, None, :] | torch.eye(SIZE, dtype=torch.bool)
    query, key, value = (
        part.unflatten(2, (HEADS, -1)).transpose(1, 2)
        for part in layer.project(tokens).chunk(3, dim=2)
    )
    context, weights = scaled_dot_product_attention(query, key, value, allowed)
    assert weights[2, :, 1, 2:].eq(0).all()  # the mask counts
    expected = layer.out(context.transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(tokens, None, allowed), expected)


def test_norms_are_the_root_mean_square_formula() -> None:
    network = transformer()
    tokens = 3 * tokens_of(2)
    for norm in (network.norm, network.blocks[0].norm1, network.blocks[1].norm2):
        size = (tokens.square().mean(dim=2, keepdim=True) + 1e-6).sqrt()
        torch.testing.assert_close(norm(tokens), norm.weight * tokens / size)
    # of a token alone, without a mean: what is added to all its numbers stays
    assert norm(torch.ones(1, 1, WIDTH, dtype=torch.float64)).abs().min() > 0


def test_a_network_is_its_blocks_put_together() -> None:
    network = transformer(causal=False)
    tokens, places = tokens_of(2), in_line()
    angles = places.double() * network.frequencies  # (S, d / 2)
    rotation = angles.cos(), angles.sin()
    everything = torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
    expected = tokens
    for block in network.blocks:
        seen = block.attention(block.norm1(expected), rotation, everything)
        expected = expected + seen
        hidden = nn.functional.gelu(block.widen(block.norm2(expected)))
        expected = expected + block.narrow(hidden)
    torch.testing.assert_close(network(tokens, places), network.norm(expected))


@pytest.mark.parametrize("depth", [1, 8])
def test_fresh_weights_are_small_and_those_of_a_branch_s_end_smaller(
    depth: int,
) -> None:
    network = Transformer(64, depth, 4, (9,), True, "learned")
    spread = {
        name: float(weight.detach().std())
        for name, weight in network.named_parameters()
        if weight.ndim == 2
    }
    smaller = INITIAL_STD / math.sqrt(2 * depth)
    for name, found in spread.items():
        ends = name.endswith(("attention.out.weight", "narrow.weight"))
        expected = smaller if ends else INITIAL_STD
        assert found == pytest.approx(expected, rel=0.15), name
    for name, weight in network.named_parameters():
        if name.endswith("bias"):
            assert not weight.any(), name


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_half_precision_stays_close(positions: str) -> None:
    """Rotary queries and keys are of another kind than values then."""
    network = Transformer(WIDTH, 2, HEADS, (12,), True, positions)  # type: ignore[arg-type]
    tokens = torch.randn(3, SIZE, WIDTH)
    expected = network(tokens, in_line())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(tokens, in_line())
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0)


# --- what reaches what ----------------------------------------------------------------


def reach(network: Transformer, places: Tensor, mask: Tensor | None = None) -> Tensor:
    """Which inputs the outputs of the first row hang on, (S outputs, S inputs) bool."""
    size = len(places)
    tokens = tokens_of(1 if mask is None else len(mask), size)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: network(x, places, mask)[0].sum(dim=1), tokens
    )  # (S, B, S, D)
    assert not jacobian[:, 1:].any()  # nobody sees another row
    return jacobian[:, 0].abs().sum(dim=2) > 0


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_no_later_token_reaches_an_earlier_output(positions: str) -> None:
    network = transformer(True, positions)
    before = torch.ones(SIZE, SIZE, dtype=torch.bool).tril()
    assert torch.equal(reach(network, in_line()), before)
    places = words_and_grid(3, 2)
    grid = transformer(True, positions, GRID)
    assert torch.equal(reach(grid, places), before)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_without_the_mask_every_token_reaches_every_output(positions: str) -> None:
    assert reach(transformer(False, positions), in_line()).all()


@pytest.mark.parametrize("causal", [True, False])
def test_padding_reaches_itself_alone(causal: bool) -> None:
    network = transformer(causal)
    mask = padding([4, 7], SIZE)
    expected = torch.ones(SIZE, SIZE, dtype=torch.bool)
    if causal:
        expected = expected.tril()
    expected[:, 4:] = False  # nobody sees padding
    expected |= torch.eye(SIZE, dtype=torch.bool)  # but itself
    assert torch.equal(reach(network, in_line(), mask), expected)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_has_no_influence_whatever_it_holds(causal: bool) -> None:
    network = transformer(causal, axes=GRID)
    words, side = 4, 2
    places = words_and_grid(words, side)
    mask = torch.cat([padding([4, 2, 0], words), torch.ones(3, 4).bool()], dim=1)
    tokens = tokens_of(3, 8)
    loud = torch.where(mask[:, :, None], tokens, 1e3 * tokens_of(3, 8))
    there, again = network(tokens, places, mask), network(loud, places, mask)
    assert torch.equal(there[mask], again[mask])
    assert again.isfinite().all()  # that of padding too, which a loss may multiply by 0
    # and what stands behind it is as if it were not there
    short = [0, 1, 4, 5, 6, 7]
    alone = network(tokens[1:2, short], places[short])
    torch.testing.assert_close(there[1:2, short], alone)


def test_a_row_does_not_hang_on_its_companions() -> None:
    network = transformer()
    tokens, mask = tokens_of(3), padding([7, 4, 1], SIZE)
    together = network(tokens, in_line(), mask)
    for row in range(3):
        alone = network(tokens[row : row + 1], in_line(), mask[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)


# --- places ---------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_products_hang_on_the_difference_of_places_alone(axes: int) -> None:
    """In one dimension and in several: of rows, columns, or words."""
    frequencies = rotary_frequencies(12, axes).double()
    query, key = torch.randn(2, 12, dtype=torch.float64)

    def product(here: tuple[int, ...], there: tuple[int, ...]) -> float:
        turned = []
        for vector, place in ((query, here), (key, there)):
            angles = torch.tensor(place, dtype=torch.float64) @ frequencies
            turned.append(
                rotate(vector[None], (angles.cos()[None], angles.sin()[None]))
            )
        return float((turned[0] * turned[1]).sum())

    found: dict[tuple[int, ...], list[float]] = {}
    every = list(itertools.product(range(3), repeat=axes))
    for here, there in itertools.product(every, repeat=2):
        difference = tuple(a - b for a, b in zip(here, there, strict=True))
        found.setdefault(difference, []).append(product(here, there))
    assert len(found) == 5**axes
    for values in found.values():
        assert max(values) - min(values) < 1e-12
    means = sorted(values[0] for values in found.values())
    gaps = [b - a for a, b in itertools.pairwise(means)]
    assert min(gaps) > 1e-9  # and each difference, on each axis, counts


def test_outputs_of_rotary_places_do_not_change_when_all_move_along() -> None:
    network = transformer(axes=(12,))
    tokens = tokens_of(2)
    moved = network(tokens, in_line() + 5)
    torch.testing.assert_close(network(tokens, in_line()), moved)
    two = transformer(axes=(9, 9))
    places = torch.cartesian_prod(torch.arange(3), torch.arange(2))
    tokens = tokens_of(2, 6)
    moved = two(tokens, places + torch.tensor([4, 2]))
    torch.testing.assert_close(two(tokens, places), moved)
    turned = two(tokens, places.flip(1))  # rows for columns is another picture
    assert (two(tokens, places) - turned).abs().max() > 1e-3


def test_rotation_is_that_of_the_plane() -> None:
    vectors = torch.randn(5, 6)
    angles = torch.randn(5, 3)
    turned = rotate(vectors, (angles.cos(), angles.sin()))
    a, b = vectors.chunk(2, dim=1)
    expected = torch.complex(a, b) * torch.polar(torch.ones(5, 3), angles)
    torch.testing.assert_close(turned, torch.cat([expected.real, expected.imag], 1))
    torch.testing.assert_close(turned.norm(dim=1), vectors.norm(dim=1))


@pytest.mark.parametrize(("size", "axes"), [(8, 1), (8, 2), (12, 3), (10, 2)])
def test_pairs_are_dealt_to_the_axes_from_fast_to_slow(size: int, axes: int) -> None:
    frequencies = rotary_frequencies(size, axes)
    assert frequencies.shape == (axes, size // 2)
    assert (frequencies != 0).sum(dim=0).eq(1).all()  # a pair has one axis
    each = math.ceil(size // 2 / axes)
    for axis in range(axes):
        mine = frequencies[axis][frequencies[axis] != 0]
        expected = [BASE ** (-i / each) for i in range(len(mine))]
        torch.testing.assert_close(mine, torch.tensor(expected))


@pytest.mark.parametrize("axes", [(12,), (5, 5)])
def test_learned_places_are_added_to_the_tokens(axes: tuple[int, ...]) -> None:
    network = transformer(False, "learned", axes)
    places = torch.stack([torch.tensor([2, 0, 4, 1]) for _ in axes], dim=1)
    tokens = tokens_of(2, 4)
    added = tokens.clone()
    for axis, table in enumerate(network.tables):
        assert table.weight.shape == (axes[axis], WIDTH)
        added = added + table.weight[places[:, axis]]
    nowhere = torch.zeros_like(places)
    with torch.no_grad():
        expected = network(tokens, places)
        for table in network.tables:
            table.weight.zero_()
        torch.testing.assert_close(network(added, nowhere), expected)
        assert (network(tokens, nowhere) - expected).abs().max() > 1e-3


def test_without_places_order_says_nothing() -> None:
    """So what follows from the order follows from the places."""
    network = transformer(False)
    tokens, order = tokens_of(1), torch.randperm(SIZE)
    nowhere = torch.zeros(SIZE, 1, dtype=torch.int64)
    mixed = network(tokens[:, order], nowhere)
    torch.testing.assert_close(mixed, network(tokens, nowhere)[:, order])
    mixed = network(tokens[:, order], in_line())
    assert (mixed - network(tokens, in_line())[:, order]).abs().max() > 1e-3


# --- the cache ------------------------------------------------------------------------


def step_by_step(
    network: Transformer, tokens: Tensor, places: Tensor, mask: Tensor, first: int
) -> Tensor:
    """Outputs of the tokens, ``first`` at once and then one by one, with a cache."""
    size = tokens.shape[1]
    cache = network.new_cache(len(tokens), size, tokens)
    at = torch.arange(size)
    parts = [slice(0, first), *(slice(i, i + 1) for i in range(first, size))]
    read = [
        network(tokens[:, part], places[part], mask, at[part], cache) for part in parts
    ]
    return torch.cat(read, dim=1)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("first", [1, 4])
def test_the_cache_changes_nothing_at_any_step(positions: str, first: int) -> None:
    """Rows of several lengths, words before the grid, and a prefix read at once."""
    network = transformer(True, positions, GRID, depth=3)
    words, side = 4, 3
    places = words_and_grid(words, side)
    tokens = tokens_of(3, len(places))
    mask = torch.cat([padding([4, 2, 0], words), torch.ones(3, 9).bool()], dim=1)
    with torch.no_grad():
        whole = network(tokens, places, mask)
        cached = step_by_step(network, tokens, places, mask, first)
        torch.testing.assert_close(cached, whole, atol=1e-12, rtol=0)
        network.float()
        whole = network(tokens.float(), places, mask)
        cached = step_by_step(network, tokens.float(), places, mask, first)
        torch.testing.assert_close(cached, whole, atol=1e-5, rtol=0)


def test_a_cache_holds_every_layer_s_keys_and_values() -> None:
    network = transformer(True, depth=3)
    tokens = tokens_of(2)
    cache = network.new_cache(2, SIZE, tokens)
    assert cache.keys.shape == cache.values.shape == (3, 2, HEADS, SIZE, WIDTH // HEADS)
    assert cache.keys.dtype == torch.float64 and not cache.keys.any()
    with torch.no_grad():
        network(tokens[:, :3], in_line(3), None, torch.arange(3), cache)
    for kept in (cache.keys, cache.values):
        assert kept[:, :, :, :3].ne(0).all() and not kept[:, :, :, 3:].any()


def test_room_that_is_not_written_yet_has_no_influence() -> None:
    network = transformer()
    tokens = tokens_of(2)
    with torch.no_grad():
        expected = network(tokens[:, :3], in_line(3))
        for room in (3, 10):
            cache = network.new_cache(2, room, tokens)
            cache.keys.fill_(50.0)
            cache.values.fill_(50.0)
            found = network(tokens[:, :3], in_line(3), None, torch.arange(3), cache)
            torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 15}, "width a multiple of 2 x heads; got"),
        ({"width": 10, "heads": 2}, "width a multiple of 2 x heads; got"),
        ({"width": 0}, "width a multiple of 2 x heads; got"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"heads": 0}, "depth must be at least 1"),
        ({"axes": ()}, r"axes must be at least one size above 0; got \(\)"),
        ({"axes": (4, 0)}, r"axes must be at least one size above 0; got \(4, 0\)"),
        ({"axes": (4, 4, 4)}, "at least 2 x heads x axes = 18, a pair.*got 12"),
        (
            {"positions": "sine"},
            'positions must be "rotary" or "learned"; got \'sine\'',
        ),
    ],
)
def test_bad_sizes_are_named(change: dict, message: str) -> None:
    good = {"width": 12, "depth": 1, "heads": 3, "axes": (4,), "causal": True}
    Transformer(**good)
    with pytest.raises(ValueError, match=message):
        Transformer(**(good | change))


def test_caches_that_cannot_be_used_are_named() -> None:
    tokens, at = tokens_of(1), torch.arange(SIZE)
    for causal in (True, False):
        network = transformer(causal)
        cache = network.new_cache(1, SIZE, tokens)
        for given in ((at, None), (None, cache)):
            with pytest.raises(ValueError, match="at and cache must be given together"):
                network(tokens, in_line(), None, *given)
    with pytest.raises(ValueError, match="cache must be None where tokens see those"):
        network(tokens, in_line(), None, at, cache)


@pytest.mark.parametrize(
    "places", [torch.zeros(7, 2), torch.zeros(6, 1), torch.zeros(7)]
)
def test_places_that_do_not_fit_are_named(places: Tensor) -> None:
    with pytest.raises(
        ValueError, match="a row of 1 numbers for each of 7 tokens; got"
    ):
        transformer()(tokens_of(1), places.long())
