"""Which caption makes a picture likelier: the autoregressive model as a classifier.

``python -m benchmarks.likelihoods`` takes real test pictures of two objects. Beside its
caption each gets one for every kind of fact that could be wrong in it: a colour, the
relation, which object has which shape, and so on. By Bayes' rule the likelier caption
is the one that makes the picture likelier. A matcher, which was trained to tell a
picture's caption from those of other pictures, is asked the same questions. Writes
``results/benchmarks/likelihoods.json``.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.data.batch import Batch
from mmgen.data.shapes.demand import Demand
from mmgen.data.shapes.hard_negatives import wrong_in_one_fact
from mmgen.data.shapes.language import describe, language_of
from mmgen.interfaces import MatchesChosen, Weighs
from mmgen.metrics.interval import Proportion, pooled
from mmgen.pretrained import load

MODEL, MATCHER = "ar-shapes64", "damsm-shapes64-scorer"
PART = 64  # pictures asked about at a time


@dataclass(frozen=True)
class Question:
    """A picture, its caption and one that is wrong."""

    picture: int  # index in the batch
    kind: str  # of the fact that is wrong
    wrong: str  # caption


def questions(batch: Batch, seed: int = 0) -> list[Question]:
    """One question for each picture of Shapes and each kind of fact in its caption.

    Args:
        batch: of Shapes.
        seed: of which wrong value is taken, and in which words it is said.
    """
    draws, found = random.Random(seed), []
    for picture, right in enumerate(batch.captions):
        demand = Demand.of_id(int(batch.class_ids[picture]))
        for kind, options in wrong_in_one_fact(demand).items():
            words = draws.randrange(2**31)
            wrong = describe(draws.choice(options), language_of(right), words)
            found.append(Question(picture, kind, wrong))
    return found


def by_likelihood(model: Weighs, batch: Batch, asked: Sequence[Question]) -> Tensor:
    """Whether the right caption makes its picture likelier, (Q,) bool."""
    right = model.log_likelihood(batch.images, batch.captions)  # (B,)
    pictures = torch.tensor([question.picture for question in asked])
    wrong = model.log_likelihood(
        batch.images[pictures], [question.wrong for question in asked]
    )
    return (right[pictures] > wrong).cpu()


def by_matching(
    matcher: MatchesChosen, batch: Batch, asked: Sequence[Question]
) -> Tensor:
    """Whether the right caption scores higher with its picture, (Q,) bool."""
    captions = [*batch.captions, *(question.wrong for question in asked)]
    pictures = torch.tensor([question.picture for question in asked])
    others = torch.arange(len(asked)) + len(batch.captions)
    # a picture's row: its caption, then its wrong ones, repeated where it has fewer
    rows = []
    for picture in range(len(batch.captions)):
        own = others[pictures == picture].tolist()
        rows.append([picture, *own])
    most = max(map(len, rows))
    chosen = torch.tensor([row + row[:1] * (most - len(row)) for row in rows])
    scores = matcher.candidate_scores(batch.images, captions, chosen).cpu()  # (B, most)
    won = scores[:, :1] > scores[:, 1:]
    return torch.cat([won[i, : len(row) - 1] for i, row in enumerate(rows)])


def accuracy(
    decide: Callable[[Batch, Sequence[Question]], Tensor],
    data: Any,
    count: int,
    seed: int = 0,
) -> dict[str, Any]:
    """How often the right caption wins, by kind of wrong fact and over all.

    Args:
        decide: (Q,) bool for a batch and its questions, in their order.
        data: Shapes.
        count: pictures, the first of the data.
        seed: of the questions.
    """
    won: dict[str, list[bool]] = {}
    for start in range(0, count, PART):
        batch = data.batch(range(start, min(start + PART, count)))
        asked = questions(batch, seed + start)
        for question, right in zip(asked, decide(batch, asked).tolist(), strict=True):
            won.setdefault(question.kind, []).append(right)
    shares = {
        kind: Proportion(sum(each), len(each)) for kind, each in sorted(won.items())
    }
    return {
        "overall": pooled(shares.values()).to_json(),
        "by_kind": {kind: share.to_json() for kind, share in shares.items()},
    }


def main() -> None:
    """Ask both, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--matcher", default=MATCHER)
    parser.add_argument("--count", type=int, default=1000, help="pictures")
    given = parser.parse_args()
    model, matcher = load(given.model), load(given.matcher)
    data = load_dataset("shapes", "test", 64, "en", objects=(2,))
    ways: dict[str, Callable[[Batch, Sequence[Question]], Tensor]] = {
        given.model: lambda batch, asked: by_likelihood(model, batch, asked),
        given.matcher: lambda batch, asked: by_matching(matcher, batch, asked),
    }
    report = {name: accuracy(way, data, given.count) for name, way in ways.items()}
    for name, found in report.items():
        print(f"{name}: {found['overall']['value']:.3f}")
        for kind, share in found["by_kind"].items():
            low, high = share["low"], share["high"]
            print(f"  {kind:18} {share['value']:.3f} [{low:.3f}, {high:.3f}]")
    facts = {"pictures": given.count, "objects": 2, "split": "test", "models": report}
    print(timing.write("likelihoods", facts))


if __name__ == "__main__":
    main()
