"""Quantisers: what is chosen, which gradient goes where, and averages by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmgen.layers.quantise import (
    FiniteScalarQuantiser,
    VectorQuantiser,
    check_codes,
    nearest,
    straight_through,
    usage,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def with_codebook(codebook: Tensor, **options: object) -> VectorQuantiser:
    """A quantiser with these vectors."""
    quantiser = VectorQuantiser(*codebook.shape, **options)
    with torch.no_grad():
        quantiser.codebook.copy_(codebook)
    return quantiser


# --- nearest codes and the way back ---------------------------------------------------


def test_the_nearest_code_is_that_of_a_loop() -> None:
    vectors, codebook = torch.randn(40, 3), torch.randn(7, 3)
    expected = [
        min(range(7), key=lambda k, z=z: float((z - codebook[k]).square().sum()))
        for z in vectors
    ]
    assert nearest(vectors, codebook).tolist() == expected


def test_straight_through_has_the_gradient_of_the_identity() -> None:
    given = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(
        lambda z: straight_through(z, z.round()), given
    )
    identity = torch.eye(12, dtype=torch.float64).view(4, 3, 4, 3)
    assert torch.equal(jacobian, identity)
    torch.testing.assert_close(straight_through(given, given.round()), given.round())


@pytest.mark.parametrize("learned", ["average", "gradient"])
def test_what_comes_out_is_the_code_with_the_gradient_of_what_went_in(
    learned: str,
) -> None:
    quantiser = VectorQuantiser(5, 3, learned)  # type: ignore[arg-type]
    vectors = torch.randn(2, 4, 3, requires_grad=True)
    quantised = quantiser(vectors)
    assert quantised.codes.shape == (2, 4) and quantised.codes.dtype == torch.int64
    torch.testing.assert_close(
        quantised.vectors, quantiser.lookup(quantised.codes).detach(), atol=1e-6, rtol=0
    )
    weights = torch.randn(2, 4, 3)
    (quantised.vectors * weights).sum().backward()
    assert torch.equal(vectors.grad, weights)
    assert quantiser.codebook.grad is None  # nor is it reached around the rounding


# --- the two losses -------------------------------------------------------------------


def test_each_loss_moves_one_side() -> None:
    quantiser = VectorQuantiser(4, 3, "gradient")
    vectors = torch.randn(6, 3, requires_grad=True)
    sides = (vectors, quantiser.codebook)
    quantised = quantiser(vectors)
    by_codebook = torch.autograd.grad(
        quantised.codebook_loss, sides, retain_graph=True, allow_unused=True
    )
    by_commitment = torch.autograd.grad(
        quantised.commitment_loss, sides, allow_unused=True
    )
    assert by_codebook[0] is None and by_codebook[1].any()
    assert by_commitment[1] is None and by_commitment[0].any()


def test_the_losses_are_the_mean_square_before_the_straight_through_line() -> None:
    """Behind it z and its code have one value, and both losses would be zero."""
    quantiser = VectorQuantiser(4, 3, "gradient")
    vectors = torch.randn(2, 5, 3)
    quantised = quantiser(vectors)
    chosen = quantiser.lookup(quantised.codes)
    expected = (vectors - chosen).square().mean()
    assert expected > 0.1
    torch.testing.assert_close(quantised.codebook_loss, expected)
    torch.testing.assert_close(quantised.commitment_loss, expected)


def test_beta_weighs_the_vector_and_not_the_code() -> None:
    """One vector and its code pull at each other in the ratio -beta to 1."""
    beta = 0.25
    quantiser = with_codebook(
        torch.tensor([[0.0, 1.0], [9.0, 9.0]]), learned="gradient"
    )
    vector = torch.tensor([[0.5, -0.25]], requires_grad=True)
    quantised = quantiser(vector)
    (quantised.codebook_loss + beta * quantised.commitment_loss).backward()
    (pulled,) = vector.grad
    code = quantiser.codebook.grad[0]
    torch.testing.assert_close(pulled, -beta * code)
    # towards each other, by the derivative of the mean over two entries
    torch.testing.assert_close(code, torch.tensor([-0.5, 1.25]))


def test_a_codebook_that_is_an_average_has_no_loss_and_no_parameter() -> None:
    quantiser = VectorQuantiser(4, 3)
    assert not list(quantiser.parameters())
    assert {"codebook", "counts", "sums"} == set(quantiser.state_dict())
    quantised = quantiser(torch.randn(6, 3, requires_grad=True))
    assert quantised.codebook_loss == 0 and not quantised.codebook_loss.requires_grad
    assert quantised.commitment_loss.requires_grad


def test_near_codes_are_told_apart_in_half_precision_too() -> None:
    codebook = torch.tensor([[1.0, 0.0], [1.003, 0.0]])  # one number in bfloat16
    quantiser = with_codebook(codebook)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = quantiser(codebook).codes
    assert codes.tolist() == [0, 1]


# --- averages -------------------------------------------------------------------------


def test_at_decay_zero_a_step_is_one_of_k_means() -> None:
    quantiser = VectorQuantiser(5, 2, decay=0.0)
    quantiser.codebook.copy_(torch.randn(5, 2))
    vectors = torch.randn(60, 2)
    before = quantiser.codebook.clone()
    codes = quantiser(vectors).codes
    quantiser.update(vectors, codes)
    for k in range(5):
        mine = vectors[codes == k]
        expected = mine.mean(dim=0) if len(mine) else before[k]
        torch.testing.assert_close(quantiser.codebook[k], expected)
    assert quantiser.counts.sum() == 60


def test_averages_are_those_of_a_loop() -> None:
    decay = 0.9
    quantiser = VectorQuantiser(3, 2, decay=decay)
    counts, sums = torch.zeros(3), torch.zeros(3, 2)
    for _ in range(4):
        vectors, codes = torch.randn(8, 2), torch.randint(3, (8,))
        quantiser.update(vectors, codes)
        for k in range(3):
            mine = vectors[codes == k]
            counts[k] = decay * counts[k] + (1 - decay) * len(mine)
            sums[k] = decay * sums[k] + (1 - decay) * mine.sum(dim=0)
    torch.testing.assert_close(quantiser.counts, counts)
    torch.testing.assert_close(quantiser.sums, sums)
    torch.testing.assert_close(quantiser.codebook, sums / counts[:, None])


def test_counts_add_up_to_the_vectors_of_a_step() -> None:
    quantiser = VectorQuantiser(8, 2, decay=0.5)
    for _ in range(40):  # 2^-40 is left of the zeros at the beginning
        vectors = torch.randn(32, 2)
        quantiser.update(vectors, quantiser(vectors).codes)
    torch.testing.assert_close(quantiser.counts.sum(), torch.tensor(32.0))


def test_a_code_that_nobody_chooses_stays_where_it_is() -> None:
    quantiser = VectorQuantiser(3, 2, decay=0.5)
    untouched = quantiser.codebook[2].clone()
    for _ in range(60):
        quantiser.update(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))
    assert torch.equal(quantiser.codebook[2], untouched)
    # and one that was chosen once keeps its mean while its average dies away
    quantiser.update(torch.ones(1, 2), torch.tensor([2]))
    for _ in range(60):
        quantiser.update(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))
    torch.testing.assert_close(quantiser.codebook[2], torch.ones(2))


def test_a_codebook_that_learns_by_gradient_is_only_counted() -> None:
    quantiser = VectorQuantiser(3, 2, "gradient", decay=0.5)
    before = quantiser.codebook.detach().clone()
    quantiser.update(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))
    assert torch.equal(quantiser.codebook, before)
    assert quantiser.counts.tolist() == [1.0, 1.0, 0.0]


# --- restarts -------------------------------------------------------------------------


def dying() -> VectorQuantiser:
    """Two codes that live and one that has been forgotten, with an old sum."""
    quantiser = VectorQuantiser(3, 2, decay=0.9)
    quantiser.counts.copy_(torch.tensor([4.0, 4.0, 1e-3]))
    quantiser.sums.copy_(torch.tensor([[4.0, 0.0], [0.0, 4.0], [-5e-3, -5e-3]]))
    quantiser.codebook.copy_(quantiser.sums / quantiser.counts[:, None])
    return quantiser


def test_dead_codes_take_vectors_of_the_data_and_others_stay() -> None:
    quantiser = dying()
    before = quantiser.codebook.clone()
    pool = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    dead = quantiser.restart(pool, torch.tensor([0.9, 0.9, 0.4]), below=0.5)
    assert dead.tolist() == [False, False, True]
    assert torch.equal(quantiser.codebook[:2], before[:2])
    assert torch.equal(quantiser.codebook[2], pool[1])  # the 0.4th of three
    assert quantiser.counts.tolist() == [4.0, 4.0, 0.5]


def test_an_old_sum_does_not_undo_a_restart() -> None:
    quantiser = dying()
    pool = torch.tensor([[8.0, 8.0]])
    quantiser.restart(pool, torch.zeros(3), below=0.5)
    quantiser.update(pool, torch.tensor([2]))
    # with its old sum it would have been pulled back, to less than a fifth of the way
    torch.testing.assert_close(quantiser.codebook[2], pool[0])


def test_the_smallest_and_largest_draws_take_the_first_and_last_vector() -> None:
    quantiser = dying()
    pool = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    draws = torch.tensor([0.0, 0.5, 1 - 2**-24])
    quantiser.restart(pool, draws, below=9.0)
    assert torch.equal(quantiser.codebook, pool)


def test_a_first_restart_takes_the_whole_codebook_from_the_data() -> None:
    quantiser = VectorQuantiser(4, 2)
    pool = torch.randn(50, 2)
    dead = quantiser.restart(pool, torch.rand(4), below=0.1)
    assert dead.all()
    assert (torch.cdist(quantiser.codebook, pool).min(dim=1).values < 1e-6).all()


def test_a_pool_in_half_precision_is_taken_too() -> None:
    quantiser = dying()
    quantiser.update(torch.ones(2, 2).bfloat16(), torch.tensor([0, 1]))
    quantiser.restart(torch.ones(2, 2).bfloat16(), torch.rand(3), below=0.5)
    assert quantiser.codebook.dtype == torch.float32
    assert quantiser.codebook[2].tolist() == [1.0, 1.0]


# --- finite scalar quantisation -------------------------------------------------------

LEVELS = [(3,), (4,), (8, 6, 5), (7, 5, 5), (3, 4)]


@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_comes_back_from_its_vector(levels: tuple[int, ...]) -> None:
    quantiser = FiniteScalarQuantiser(levels)
    codes = torch.arange(quantiser.size)
    assert quantiser.size == math.prod(levels)
    vectors = quantiser.lookup(codes)
    assert vectors.shape == (quantiser.size, len(levels))
    assert len(vectors.unique(dim=0)) == quantiser.size
    # through the middle of its cell, undone by the inverse of the squashing
    middle = (vectors * quantiser.width + quantiser.offset) / quantiser.reach
    given = torch.atanh(middle.double()).float() - quantiser.shift
    quantised = quantiser(given)
    assert torch.equal(quantised.codes, codes)
    torch.testing.assert_close(quantised.vectors, vectors, atol=1e-6, rtol=0)
    assert quantised.codebook_loss == quantised.commitment_loss == 0


@pytest.mark.parametrize("count", range(3, 10))
def test_a_sweep_reaches_every_level_and_no_other(count: int) -> None:
    quantiser = FiniteScalarQuantiser((count,))
    quantised = quantiser(torch.linspace(-20, 20, 4001)[:, None])
    assert quantised.codes.tolist() == sorted(quantised.codes.tolist())
    assert quantised.codes.unique().tolist() == list(range(count))
    half = count // 2
    expected = [(level - half) / half for level in range(count)]
    torch.testing.assert_close(quantised.vectors.unique(), torch.tensor(expected))


@pytest.mark.parametrize("levels", LEVELS)
def test_zero_lands_on_zero(levels: tuple[int, ...]) -> None:
    quantiser = FiniteScalarQuantiser(levels)
    zero = torch.zeros(1, len(levels))
    torch.testing.assert_close(quantiser.bound(zero), zero, atol=1e-6, rtol=0)
    assert not quantiser(zero).vectors.any()


def test_the_first_channel_counts_fastest() -> None:
    quantiser = FiniteScalarQuantiser((3, 4))
    digits = [(a, b) for b in range(4) for a in range(3)]
    width = torch.tensor([1, 2])
    expected = (torch.tensor(digits) - width) / width
    torch.testing.assert_close(quantiser.lookup(torch.arange(12)), expected)
    assert quantiser.basis.tolist() == [1, 3]


@pytest.mark.parametrize("levels", LEVELS)
def test_the_gradient_is_the_squashing_s(levels: tuple[int, ...]) -> None:
    """Rounding is skipped on the way back, tanh is not: the gradient is no identity."""
    quantiser = FiniteScalarQuantiser(levels)
    vectors = torch.randn(9, len(levels), requires_grad=True)
    quantiser(vectors).vectors.sum().backward()
    slope = 1 - torch.tanh(vectors + quantiser.shift).square()
    expected = quantiser.reach * slope / quantiser.width
    torch.testing.assert_close(vectors.grad, expected.detach())
    assert (vectors.grad - 1).abs().max() > 0.1


def test_half_precision_gives_no_code_outside_the_grid() -> None:
    quantiser = FiniteScalarQuantiser((8, 8, 8, 6, 5))
    vectors = 20 * torch.randn(500, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quantised = quantiser(vectors.bfloat16())
    check_codes(quantised.codes, quantiser.size)
    assert quantised.vectors.dtype == torch.float32
    assert torch.equal(quantised.codes, quantiser(vectors.bfloat16().float()).codes)


# --- how codes are used ---------------------------------------------------------------


def test_usage_in_its_limits() -> None:
    assert usage(torch.full((3, 4), 5), 8) == (1 / 8, 1.0)
    share, perplexity = usage(torch.arange(8).repeat(3), 8)
    assert share == 1 and perplexity == pytest.approx(8)
    # half of them one code, and the rest shared by two: 2^(1/2 + 2 x 1/4 x 2)
    share, perplexity = usage(torch.tensor([0, 0, 1, 2]), 8)
    assert share == 3 / 8 and perplexity == pytest.approx(2**1.5)


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 4), "codes must be at least 2.*says nothing.*got 1"),
        ((0, 4), "codes must be at least 2.*got 0"),
        ((8, 0), "code_dim must be at least 1; got 0"),
        ((8, 4, "k-means"), '"average" or "gradient"; got \'k-means\''),
        ((8, 4, "average", 1.0), r"decay must lie in \[0, 1\); got 1.0"),
        ((8, 4, "average", -0.1), r"decay must lie in \[0, 1\); got -0.1"),
        ((8, 4, "average", math.nan), r"decay must lie in \[0, 1\); got nan"),
    ],
)
def test_bad_codebooks_are_named(arguments: tuple, message: str) -> None:
    VectorQuantiser(2, 1, "average", 0.0)
    with pytest.raises(ValueError, match=message):
        VectorQuantiser(*arguments)


@pytest.mark.parametrize("shape", [(5, 1), (5, 4), (6,), ()])
def test_vectors_that_do_not_fit_are_named(shape: tuple[int, ...]) -> None:
    for quantiser in (VectorQuantiser(8, 3), FiniteScalarQuantiser((5, 4, 3))):
        assert quantiser(torch.zeros(3)).codes.shape == ()
        with pytest.raises(ValueError, match=r"vectors must be of shape \(\.\.\., 3\)"):
            quantiser(torch.zeros(shape))


@pytest.mark.parametrize("levels", [(), (2,), (8, 2, 5), (0,), (-3,)])
def test_bad_levels_are_named(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="levels must be at least one number, each 3"):
        FiniteScalarQuantiser(levels)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.tensor([0, 8]), r"codes must lie in 0..7, the codebook; got 0..8"),
        (torch.tensor([-1, 3]), r"codes must lie in 0..7, the codebook; got -1..3"),
        (torch.tensor([0.0, 3.0]), "codes must be int64.*got torch.float32"),
        (torch.tensor([], dtype=torch.int64), r"at least one; got torch.int64, \(0,\)"),
    ],
)
def test_what_are_no_codes_is_named(codes: Tensor, message: str) -> None:
    check_codes(torch.tensor([0, 7]), 8)
    for look in (check_codes, usage):
        with pytest.raises(ValueError, match=message):
            look(codes, 8)
