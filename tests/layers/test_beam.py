"""Beam search: the best of all sequences, written out one by one."""

from __future__ import annotations

import itertools
import math
from functools import cached_property

import pytest
import torch
from torch import Tensor

from mmgen.layers.beam import Beams, beam_search, check_beams

END = 0


class Network:
    """Random logits for every beginning of a sequence, and for each row its own.

    Args:
        words: V, the end included.
        longest: T.
        rows: B.
    """

    def __init__(self, words: int, longest: int, rows: int = 1, seed: int = 0) -> None:
        self.words, self.longest, self.rows = words, longest, rows
        generator = torch.Generator().manual_seed(seed)
        self.logits = [
            2 * torch.randn(rows, words**place, words, generator=generator)
            for place in range(longest)
        ]
        self.never = torch.zeros(words, dtype=torch.bool)

    def step(
        self, last: Tensor, at: int, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits after a beginning, which the state knows as a number."""
        row, begun = state
        begun = begun * self.words + last if at else begun
        return self.logits[at][row, begun], (row, begun)

    def search(self, width: int, power: float = 1.0, row: int | None = None) -> Beams:
        rows = torch.arange(self.rows) if row is None else torch.tensor([row])
        state = rows, torch.zeros_like(rows)
        first = torch.full_like(rows, 99)  # what stands before is not looked at here
        return beam_search(
            self.step, state, first, self.never, width, self.longest, power
        )

    @cached_property
    def told(self) -> list:
        """Log-probabilities as lists; logits must not change after the first look."""
        return [table.double().log_softmax(dim=2).tolist() for table in self.logits]

    def log_p(self, row: int, tokens: tuple[int, ...]) -> float:
        """Of a sequence, token by token."""
        total, begun = 0.0, 0
        for place, token in enumerate(tokens):
            total += self.told[place][row][begun][token]
            begun = begun * self.words + token
        return total

    def every(self) -> list[tuple[int, ...]]:
        """All sequences, with their ends: none is empty, none is longer than T."""
        open_words = [w for w in range(1, self.words) if not self.never[w]]
        found = list(itertools.product(open_words, repeat=self.longest))
        for length in range(1, self.longest):
            bodies = itertools.product(open_words, repeat=length)
            found += [(*body, END) for body in bodies]
        return found

    def ranked(self, row: int, power: float) -> list[tuple[float, tuple[int, ...]]]:
        """All sequences by their score, the best first."""
        scores = [(self.log_p(row, s) / len(s) ** power, s) for s in self.every()]
        return sorted(scores, reverse=True)


def padded(tokens: tuple[int, ...], longest: int) -> list[int]:
    return [*tokens, *[END] * (longest - len(tokens))]


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("never", [(), (2,)])
def test_a_beam_as_wide_as_all_sequences_finds_them_in_their_order(
    power: float, never: tuple[int, ...]
) -> None:
    network = Network(words=4, longest=4, rows=3)
    network.never[list(never)] = True
    width = 4**4
    found = network.search(width, power)
    assert found.tokens.shape == (3, width, 4)
    lengths = set()
    for row in range(3):
        ranked = network.ranked(row, power)
        expected = [padded(tokens, 4) for _, tokens in ranked]
        count = int(found.scores[row].isfinite().sum())
        # a search may end when what is open can no longer be among the best
        assert count == len(ranked)
        assert found.tokens[row, :count].tolist() == expected
        scores = torch.tensor([score for score, _ in ranked])
        torch.testing.assert_close(found.scores[row, :count], scores)
        log_p = torch.tensor([network.log_p(row, tokens) for _, tokens in ranked])
        torch.testing.assert_close(found.log_p[row, :count], log_p)
        assert found.scores[row, count:].eq(-math.inf).all()
        lengths.add(len(ranked[0][1]))
    assert power != 0 or min(lengths) < 4  # the best may be short


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
def test_a_beam_of_the_vocabulary_finds_the_best_of_two_words(
    power: float, seed: int
) -> None:
    """All first words stay open, so that no second is missed."""
    network = Network(words=6, longest=2, rows=4, seed=seed)
    found = network.search(6, power)
    for row in range(4):
        score, tokens = network.ranked(row, power)[0]
        assert found.tokens[row, 0].tolist() == padded(tokens, 2)
        assert found.scores[row, 0].item() == pytest.approx(score, abs=1e-5)


def test_a_narrow_beam_misses_some_of_the_best_and_a_wide_one_none() -> None:
    network = Network(words=4, longest=5, rows=24, seed=1)
    narrow, wide = (network.search(width).scores[:, 0] for width in (1, 4**5))
    exact = torch.tensor([network.ranked(row, 1.0)[0][0] for row in range(24)])
    torch.testing.assert_close(wide, exact)
    assert (narrow <= exact + 1e-5).all() and (narrow < exact - 1e-3).any()


def greedy(network: Network, row: int) -> tuple[int, ...]:
    """The likeliest token each time, up to the end."""
    tokens: tuple[int, ...] = ()
    begun = 0
    while len(tokens) < network.longest and tokens[-1:] != (END,):
        told = network.logits[len(tokens)][row, begun].clone()
        if not tokens:
            told[END] = -math.inf
        token = int(told.argmax())
        tokens, begun = (*tokens, token), begun * network.words + token
    return tokens


def test_one_beam_is_greedy_where_nothing_ends_early() -> None:
    network = Network(words=5, longest=5, rows=8)
    for table in network.logits:
        table[:, :, END] = -30.0
    found = network.search(1)
    assert found.tokens[:, 0].tolist() == [[*greedy(network, i)] for i in range(8)]


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_one_beam_ends_the_greedy_sequence_where_it_scores_most(power: float) -> None:
    network = Network(words=5, longest=5, rows=32)
    found = network.search(1, power)
    others = 0
    for row in range(32):
        tokens = greedy(network, row)
        score = network.log_p(row, tokens) / len(tokens) ** power
        assert found.scores[row, 0].item() >= score - 1e-5
        others += found.tokens[row, 0].tolist() != padded(tokens, 5)
        body = [t for t in found.tokens[row, 0].tolist() if t != END]
        shared = min(len(body), len([t for t in tokens if t != END]))
        assert body[:shared] == list(tokens[:shared])
    assert others  # the two are not one


def test_the_power_decides_between_short_and_long() -> None:
    r"""0.4 in two tokens against 0.36 in four: log 0.4 / 2 < log 0.36 / 4."""
    chances = {
        (): (0.0, 0.4, 0.6),
        (1,): (1.0, 0.0, 0.0),
        (2,): (0.0, 0.4, 0.6),
        (2, 1): (0.0, 0.5, 0.5),
        (2, 2): (0.0, 0.0, 1.0),
        (2, 2, 2): (1.0, 0.0, 0.0),
    }
    network = Network(words=3, longest=4)
    for tokens, row in chances.items():
        begun = 0
        for token in tokens:
            begun = begun * 3 + token
        network.logits[len(tokens)][0, begun] = torch.tensor(row).log()
    short, long = network.search(3, power=0.0), network.search(3, power=1.0)
    assert short.tokens[0, 0].tolist() == [1, 0, 0, 0]
    assert long.tokens[0, 0].tolist() == [2, 2, 2, 0]
    assert short.log_p[0, 0].exp().item() == pytest.approx(0.4)
    assert long.log_p[0, 0].exp().item() == pytest.approx(0.36)


def test_a_search_ends_when_nothing_open_can_win() -> None:
    network = Network(words=4, longest=6, rows=4)
    network.logits[2][:, :, END] += 20.0  # two words and an end: nearly sure
    found = network.search(1, power=0.0)
    assert len(found.steps) == 3 and found.scores.isfinite().all()
    assert (found.tokens[:, :, 3:] == END).all()


def test_rows_know_nothing_of_one_another() -> None:
    network = Network(words=4, longest=5, rows=6)
    together = network.search(3)
    for row in range(6):
        alone = network.search(3, row=row)
        assert torch.equal(alone.tokens[0], together.tokens[row])
        torch.testing.assert_close(alone.scores[0], together.scores[row])


@pytest.mark.parametrize("width", [1, 3, 7])
def test_steps_lead_to_every_sequence_that_was_found(width: int) -> None:
    network = Network(words=4, longest=4, rows=3)
    found = network.search(width)
    for row in range(3):
        ended: dict[tuple[int, ...], float] = {}
        before: list[tuple[int, ...]] = [()] * width
        for place, grown in enumerate(found.steps):
            now = []
            rows = (grown.parent[row], grown.token[row], grown.log_p[row])
            for parent, token, log_p in zip(*(r.tolist() for r in rows), strict=True):
                sequence = (*before[parent], token)
                now.append(sequence)
                if not math.isfinite(log_p):
                    continue
                assert log_p == pytest.approx(network.log_p(row, sequence), abs=1e-5)
                if token == END or place + 1 == network.longest:
                    ended[sequence] = log_p
            before = now[:width]
        for place in range(width):
            if math.isfinite(found.log_p[row, place]):
                tokens = found.tokens[row, place].tolist()
                length = tokens.index(END) + 1 if END in tokens else len(tokens)
                log_p = ended[tuple(tokens[:length])]
                assert log_p == pytest.approx(found.log_p[row, place].item())


def test_what_is_not_written_lends_its_probability_to_nobody() -> None:
    network = Network(words=4, longest=3)
    free = network.search(4**3)
    network.never[3] = True
    kept = network.search(4**3)
    assert not (kept.tokens == 3).any() and (free.tokens == 3).any()
    of_free = {
        tuple(tokens): log_p
        for tokens, log_p in zip(
            free.tokens[0].tolist(), free.log_p[0].tolist(), strict=True
        )
    }
    for tokens, log_p in zip(
        kept.tokens[0].tolist(), kept.log_p[0].tolist(), strict=True
    ):
        if math.isfinite(log_p):
            assert log_p == pytest.approx(of_free[tuple(tokens)], abs=1e-5)
        else:  # nothing more was found
            assert tokens == [END] * 3


@pytest.mark.parametrize("width", [0, -1, 2.0, True])
def test_a_width_that_is_none(width: int) -> None:
    with pytest.raises(ValueError, match=r"beams must be a whole number, at least 1"):
        check_beams(width, 1.0)
    with pytest.raises(ValueError, match=f"got {width!r}"):
        Network(3, 2).search(width)


@pytest.mark.parametrize("power", [math.nan, math.inf, -math.inf])
def test_a_power_that_is_none(power: float) -> None:
    with pytest.raises(ValueError, match=f"length_power must be a number; got {power}"):
        Network(3, 2).search(2, power)


def test_no_place_for_a_token() -> None:
    network = Network(3, 0)
    with pytest.raises(ValueError, match="max_tokens must be at least 1; got 0"):
        network.search(2)
