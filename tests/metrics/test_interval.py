"""Wilson's interval against its definition and known values."""

import pytest

from mmgen.metrics.interval import Proportion, pooled, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_values(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(1, 3), (50, 100), (997, 1000)])
def test_the_ends_solve_the_score_equation(successes, n):
    share = successes / n
    for end in wilson(successes, n):
        z = (share - end) / (end * (1 - end) / n) ** 0.5
        assert abs(z) == pytest.approx(1.959964, abs=1e-5)


def test_nothing_and_everything_touch_the_ends():
    assert wilson(0, 7)[0] == 0 and wilson(7, 7)[1] == 1
    low, high = wilson(3, 10)
    mirrored = wilson(7, 10)
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 4), (5, 4)])
def test_what_is_no_proportion_is_refused(successes, n):
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        wilson(successes, n)


def test_a_proportion_says_all_of_it():
    proportion = Proportion(9, 12)
    assert str(proportion) == "0.750 [0.468, 0.911] n=12"
    low, high = proportion.interval
    assert proportion.to_json() == {
        "value": 0.75,
        "low": low,
        "high": high,
        "successes": 9,
        "n": 12,
    }


def test_runs_are_pooled_by_their_counts():
    # not by the mean of their shares
    assert pooled([Proportion(1, 2), Proportion(10, 100)]) == Proportion(11, 102)
