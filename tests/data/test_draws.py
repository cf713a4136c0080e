"""Random numbers per (index, epoch): the same everywhere, and random."""

import numpy as np

from mmgen.data.draws import draws


def test_a_sample_draws_the_same_alone_and_in_any_company():
    together = draws([5, 9, 1_000_000], 3, 4)
    for row, index in zip(together, [5, 9, 1_000_000], strict=True):
        assert np.array_equal(draws([index], 3, 4)[0], row)
    # The values themselves are part of the contract: a run resumed on another machine,
    # or by a later version, must cut the same crops.
    known = [
        [0.6129305541874254, 0.4571219854292796],
        [0.8523231042738424, 0.4054357273313062],
    ]
    np.testing.assert_array_equal(draws([0, 1], 0, 2), known)


def test_numbers_are_uniform_and_do_not_depend_on_each_other():
    table = np.concatenate(
        [draws(range(20_000), epoch, 3) for epoch in range(3)], axis=1
    )
    assert table.min() >= 0 and table.max() < 1
    # 20,000 numbers in 10 bins: 2,000 each, standard deviation 42
    for column in table.T:
        counts = np.histogram(column, bins=10, range=(0, 1))[0]
        assert abs(counts - 2000).max() < 5 * 42
    off_diagonal = np.corrcoef(table.T) - np.eye(table.shape[1])
    assert abs(off_diagonal).max() < 5 / np.sqrt(20_000)
    neighbours = np.corrcoef(table[:-1, 0], table[1:, 0])[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(20_000)


def test_streams_are_independent():
    first, second = draws(range(5000), 0, 1), draws(range(5000), 0, 1, stream=1)
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 5 / np.sqrt(5000)
