"""What a model makes of captions and questions whose truth the data set decides.

Half of the captions are true of their pictures, half are wrong in one fact: who guesses
is right in half of them. Three numbers say where an answer comes from. *Without the
picture* shows what the text alone gives away. After *exchanging the pictures* of the
questions, an answer should follow the new picture: the share that does, and the share
that stays with the old answer, are taken over the questions that both pictures answer,
and answer differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset
from mmgen.interfaces import Answers, Examines, Verifies
from mmgen.metrics.interval import Proportion

BATCH = 64  # samples at a time


@dataclass(frozen=True)
class VerificationReport:
    """How well captions are verified.

    Args:
        truth: of all captions, those judged rightly to be true or not.
        which_fact: of the wrong ones, those judged wrong for the fact that is.
        found: of the captions wrong in a kind of fact, those judged wrong.
        named: likewise, those judged wrong for this kind of fact.
        without_picture: ``truth`` where only the captions are shown.
    """

    truth: Proportion
    which_fact: Proportion
    found: dict[str, Proportion]
    named: dict[str, Proportion]
    without_picture: Proportion

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "truth": self.truth.to_json(),
            "which_fact": self.which_fact.to_json(),
            "found": _json(self.found),
            "named": _json(self.named),
            "without_picture": self.without_picture.to_json(),
        }


@dataclass(frozen=True)
class AnsweringReport:
    """How well questions are answered.

    Args:
        overall: of all questions.
        kinds: of the questions of each kind.
        without_picture: ``overall`` where only the questions are asked.
        follows: of the questions whose answer another picture changes, those answered
            as that picture says.
        stays: those answered as the first picture said.
    """

    overall: Proportion
    kinds: dict[str, Proportion]
    without_picture: Proportion
    follows: Proportion | None
    stays: Proportion | None

    def to_json(self) -> dict[str, Any]:
        """All of it; no exchange where no answer changes."""
        found = {
            "overall": self.overall.to_json(),
            "kinds": _json(self.kinds),
            "without_picture": self.without_picture.to_json(),
        }
        if self.follows is not None and self.stays is not None:
            found["exchanged"] = _json({"follows": self.follows, "stays": self.stays})
        return found


def judged(probabilities: Tensor) -> Tensor:
    """What probabilities of verdicts (B, V) amount to, (B,) int64.

    0, true, if that is likelier than not; else the likeliest kind of wrong fact.
    """
    kind = 1 + probabilities[:, 1:].argmax(dim=1)
    return kind.masked_fill(probabilities[:, 0] > 0.5, 0)


def verification(
    model: Verifies, dataset: CaptionedDataset, count: int, seed: int = 0
) -> VerificationReport:
    """Show pictures with a true caption each, and with one that is wrong in one fact.

    Args:
        model: that verifies.
        dataset: that can be examined.
        count: pictures; there are twice as many captions.
        seed: of the wrong facts.

    Raises:
        ValueError: a data set that cannot be examined, or no picture.
    """
    examiner, draws = _examiner(dataset, count), _Draws(seed)
    verdicts = list(model.verdicts)
    said, blind, right = [], [], []
    for batch in _batches(dataset, count):
        captions, kinds = examiner.wrong_captions(batch, draws(len(batch)))
        texts = [*batch.captions, *captions]
        images = batch.images.repeat(2, 1, 1, 1)
        said.append(judged(model.verify(images, texts)).cpu())
        blind.append(judged(model.verify(None, texts)).cpu())
        right += [0] * len(batch) + [verdicts.index(kind) for kind in kinds]
    found, unseen, wanted = torch.cat(said), torch.cat(blind), torch.tensor(right)
    wrong = wanted > 0
    of_kind = {
        kind: wanted == i
        for i, kind in enumerate(verdicts)
        if i and (wanted == i).any()
    }
    return VerificationReport(
        _share((found > 0) == wrong),
        _share((found == wanted)[wrong]),
        {kind: _share(found[rows] > 0) for kind, rows in of_kind.items()},
        {kind: _share((found == wanted)[rows]) for kind, rows in of_kind.items()},
        _share((unseen > 0) == wrong),
    )


def answering(
    model: Answers, dataset: CaptionedDataset, count: int, seed: int = 0
) -> AnsweringReport:
    """Ask a question about each picture, without it, and about another picture.

    Args:
        model: that answers.
        dataset: that can be examined.
        count: pictures.
        seed: of the questions.

    Raises:
        ValueError: as for ``verification``.
    """
    examiner, draws = _examiner(dataset, count), _Draws(seed)
    right, blind, follows, stays = [], [], [], []
    kinds: dict[str, list[bool]] = {}
    for batch in _batches(dataset, count):
        questions = examiner.questions(batch, draws(len(batch)))
        texts = [question.text for question in questions]
        answers = [question.answer for question in questions]
        same = _same(model.answer(batch.images, texts), answers)
        right += same
        blind += _same(model.answer(None, texts), answers)
        for question, good in zip(questions, same, strict=True):
            kinds.setdefault(question.kind, []).append(good)
        # each question goes to the picture after its own
        turned = [*range(1, len(batch)), 0]
        assert batch.scenes is not None  # who asks knows what is shown
        others = examiner.answered(questions, [batch.scenes[i] for i in turned])
        told = model.answer(batch.images[turned], texts)
        for said, old, new in zip(told, answers, others, strict=True):
            if new is not None and new != old:
                follows.append(said == new)
                stays.append(said == old)
    return AnsweringReport(
        _share(right),
        {kind: _share(kinds[kind]) for kind in sorted(kinds)},
        _share(blind),
        _share(follows) if follows else None,
        _share(stays) if stays else None,
    )


class _Draws:
    """Three numbers in [0, 1) a sample, of a seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, count: int) -> list[list[float]]:
        return torch.rand(count, 3, generator=self.generator).tolist()


def _examiner(dataset: CaptionedDataset, count: int) -> Examines:
    if not isinstance(dataset.alternatives, Examines):
        raise ValueError(
            f"dataset must be one that can be examined, such as shapes; "
            f"{dataset.name!r} cannot."
        )
    if not 1 <= count <= len(dataset):
        raise ValueError(
            f"count must lie in 1..{len(dataset)}, the samples of {dataset.name} "
            f"({dataset.split}); got {count}."
        )
    return dataset.alternatives


def _batches(dataset: CaptionedDataset, count: int) -> Iterator[Batch]:
    for start in range(0, count, BATCH):
        yield dataset.batch(range(start, min(start + BATCH, count)))


def _same(found: Sequence[str], wanted: Sequence[str]) -> list[bool]:
    return [a == b for a, b in zip(found, wanted, strict=True)]


def _share(right: Tensor | Sequence[bool]) -> Proportion:
    return Proportion(int(sum(right)), len(right))


def _json(shares: dict[str, Proportion]) -> dict[str, Any]:
    return {name: share.to_json() for name, share in shares.items()}
