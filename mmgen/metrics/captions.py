"""Captions that a model writes of pictures: facts decided, and words compared.

On Shapes every fact that a caption states is right or wrong, and is counted
(``mmgen.data.shapes.telling``). A caption that says less errs less, so what it leaves
out is counted too.

Elsewhere captions are judged by the words that they share with captions that people
wrote. BLEU (Papineni et al., ACL 2002) and CIDEr-D (Vedantam et al., *CIDEr:
Consensus-based Image Description Evaluation*, CVPR 2015) compare runs of one to four
words. ``preferred_wrong`` measures what that is worth where the truth is known: how
often CIDEr-D prefers a caption that is wrong in one fact to one that is right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmgen.data.shapes import (
    ATTRIBUTES,
    Scene,
    ShapesDataset,
    describe,
    facts,
    language_of,
)
from mmgen.data.shapes.hard_negatives import nearly_of_kind
from mmgen.data.shapes.telling import told
from mmgen.data.vocabulary import tokenize
from mmgen.metrics.interval import Proportion

_LONGEST = 4  # words of the runs that are compared
_SIGMA = 6.0  # of the penalty on lengths, words (Vedantam et al., equation 4)
_TRIES = 20  # paraphrases written for each that is kept


# ----------------------------------------------------------------------- facts, decided


@dataclass(frozen=True)
class FactsReport:
    """What captions tell of their pictures.

    Facts of one caption stand or fall together, so intervals over facts are somewhat
    too narrow; those over captions are not.

    Args:
        overall: captions that state nothing wrong, the number of objects included.
        complete: of all captions, those that moreover leave out nothing that the
            picture's own caption states.
        facts: for each kind of fact, of those stated the right ones.
        hallucinated: of all facts stated, the wrong ones; None if none is stated.
        missing: of all facts that the pictures' own captions state, those left out.
        unparsed: captions that state nothing anyone could check; they are not right.
        stated: facts that a parsed caption states, mean.
        reward: mean of ``Telling.reward``, 0..1.
        verdicts: for each caption, whether it is right.
    """

    overall: Proportion
    complete: Proportion
    facts: dict[str, Proportion]
    hallucinated: Proportion | None
    missing: Proportion
    unparsed: int
    stated: float
    reward: float
    verdicts: list[bool]

    def to_json(self) -> dict[str, Any]:
        """Everything but the single verdicts."""
        found: dict[str, Any] = {
            "overall": self.overall.to_json(),
            "complete": self.complete.to_json(),
            "facts": {name: share.to_json() for name, share in self.facts.items()},
            "missing": self.missing.to_json(),
            "unparsed": self.unparsed,
            "stated": self.stated,
            "reward": self.reward,
        }
        if self.hallucinated is not None:
            found["hallucinated"] = self.hallucinated.to_json()
        return found

    def __str__(self) -> str:
        return (
            f"right {self.overall}  complete {self.complete.value:.3f}  facts stated "
            f"{self.stated:.1f}  hallucinated {self.hallucinated or 'none'}  missing "
            f"{self.missing.value:.3f}  unparsed {self.unparsed}"
        )


def caption_facts(
    captions: Sequence[str], scenes: Sequence[Scene], language: str | None = None
) -> FactsReport:
    """Decide every fact that captions state about scenes.

    Costs about 0.5 ms a caption.

    Args:
        captions: any texts, one a scene.
        scenes: what the pictures show.
        language: "en" or "zh"; a caption in another is counted as unparsed.

    Raises:
        ValueError: no captions, not one a scene, a scene without objects, or another
            language.
    """
    _check_pairs(captions, "scenes", scenes)
    tellings = [
        told(caption, scene, language)
        for caption, scene in zip(captions, scenes, strict=True)
    ]
    verdicts = [telling.right for telling in tellings]
    right = {}
    for kind in ATTRIBUTES:
        counts = [t.kinds[kind] for t in tellings if kind in t.kinds]
        stated = sum(count.stated for count in counts)
        if stated:
            right[kind] = Proportion(sum(count.right for count in counts), stated)
    totals = [telling.total for telling in tellings]
    stated = sum(total.stated for total in totals)
    parsed = sum(telling.parsed for telling in tellings)
    return FactsReport(
        overall=Proportion(sum(verdicts), len(verdicts)),
        complete=Proportion(sum(t.complete for t in tellings), len(tellings)),
        facts=right,
        hallucinated=(
            Proportion(sum(total.wrong for total in totals), stated) if stated else None
        ),
        missing=Proportion(
            sum(total.missing for total in totals), sum(total.asked for total in totals)
        ),
        unparsed=len(tellings) - parsed,
        stated=stated / parsed if parsed else 0.0,
        reward=sum(telling.reward for telling in tellings) / len(tellings),
        verdicts=verdicts,
    )


def distinct(captions: Sequence[Sequence[str]]) -> float:
    """How many different captions a picture has, mean over pictures.

    Args:
        captions: those of each picture, as many of each. Two are the same if their
            words are (``tokenize``).

    Returns:
        From 1 to the number of captions a picture.

    Raises:
        ValueError: no pictures, no captions, or not as many of each.
    """
    numbers = {len(several) for several in captions}
    if len(numbers) != 1 or 0 in numbers:
        raise ValueError(
            f"captions must be as many of each picture, at least one of at least one "
            f"picture; got {sorted(numbers)} captions a picture."
        )
    different = [len({tuple(tokenize(c)) for c in several}) for several in captions]
    return sum(different) / len(different)


# ---------------------------------------------------------------------- words, compared


def paraphrases(scene: Scene, language: str, count: int, seed: int = 0) -> list[str]:
    """Different captions of a scene that state the same, as people would write them.

    Args:
        scene: of Shapes.
        language: "en" or "zh".
        count: how many; fewer come back where there are not so many.
        seed: of the words.

    Raises:
        ValueError: no caption asked for, a scene that cannot be described, or another
            language.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1 caption; got {count}.")
    return list(_worded(scene, language, count, seed))


def _worded(scene: Scene, language: str, count: int, seed: int) -> dict[str, int]:
    """Different captions, and for each the integer that ``describe`` made it of."""
    found: dict[str, int] = {}
    for number in range(seed << 32, (seed << 32) + count * _TRIES):
        found.setdefault(describe(scene, language, number), number)
        if len(found) == count:
            break
    return found


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU-4 of a corpus: the precision of runs of one to four words, and of lengths.

    Args:
        captions: one a picture; words are those of ``tokenize``, so that a Chinese
            character is one.
        references: captions of each picture, at least one.

    Returns:
        0..1.

    Raises:
        ValueError: no captions, not one a picture, or a picture without references.

    Source: Papineni et al., BLEU (ACL 2002), section 2.3: N = 4, equal weights, and the
    brevity penalty by the nearest length of a reference, of two the shorter.
    """
    _check_pairs(captions, "pictures", references)
    _check_each(references)
    matched, written = [0] * _LONGEST, [0] * _LONGEST
    length = nearest = 0  # words of all captions, and of the references nearest to them
    for caption, texts in zip(captions, references, strict=True):
        own, counted = _runs(caption), [_runs(text) for text in texts]
        known = Counter[tuple[str, ...]]()
        for runs in counted:
            known |= runs  # the most that a run occurs in any one reference
        for run, count in own.items():
            written[len(run) - 1] += count
            matched[len(run) - 1] += min(count, known[run])
        words = _length(own)
        lengths = [_length(runs) for runs in counted]
        length += words
        nearest += min(lengths, key=lambda each: (abs(each - words), each))
    if not all(matched):
        return 0.0
    precisions = zip(matched, written, strict=True)
    precision = sum(math.log(m / w) for m, w in precisions) / _LONGEST
    return math.exp(min(0.0, 1 - nearest / length) + precision)


class CiderD:
    """CIDEr-D of captions, by references of a set of pictures.

    A run of words counts the more, the fewer pictures have it in a reference. With
    g(c) the vector of the n-grams of a caption c, each its count times
    ln(pictures / pictures that have it), and l(c) its length in words,

        CIDEr-D_n(c, S) = 10 / m sum_j exp(-(l(c) - l(s_j))^2 / (2 sigma^2))
                          min(g(c), g(s_j)) . g(s_j) / (|g(c)| |g(s_j)|),

    and CIDEr-D is the mean over n = 1..4; sigma is 6. Captions of fewer than four words
    have no long runs, and cannot reach 10.

    Args:
        references: captions of each picture, at least one; words as for ``bleu``.

    Raises:
        ValueError: fewer than two pictures, for of one alone all weights are 0; or a
            picture without references.

    Source: Vedantam et al., CIDEr (CVPR 2015), section 5; equal to the authors' code
    where there is a caption, and 0 where there is none.
    """

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        if len(references) < 2:
            raise ValueError(
                f"references must be of at least two pictures: in one alone no words "
                f"are rarer than others; got {len(references)}."
            )
        _check_each(references)
        counted = [[_runs(text) for text in texts] for texts in references]
        # in how many pictures' references a run occurs
        self._pictures = Counter(run for runs in counted for run in set().union(*runs))
        self._log_count = math.log(len(references))
        self._references = [[self._weigh(runs) for runs in each] for each in counted]

    def scores(self, captions: Sequence[str]) -> list[float]:
        """CIDEr-D of one caption of each picture, 0..10.

        Raises:
            ValueError: not one caption a picture.
        """
        _check_pairs(captions, "pictures", self._references)
        found = []
        for caption, references in zip(captions, self._references, strict=True):
            own = self._weigh(_runs(caption))
            likeness = [_likeness(own, reference) for reference in references]
            found.append(10 * sum(likeness) / len(likeness))
        return found

    def _weigh(self, runs: Counter[tuple[str, ...]]) -> _Weighed:
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(_LONGEST)]
        for run, count in runs.items():
            rarity = self._log_count - math.log(max(1, self._pictures[run]))
            weights[len(run) - 1][run] = count * rarity
        norms = [math.hypot(*each.values()) for each in weights]
        return _Weighed(weights, norms, _length(runs))


@dataclass(frozen=True)
class _Weighed:
    """A caption's runs of n words by weight, for each n."""

    weights: Sequence[Mapping[tuple[str, ...], float]]
    norms: Sequence[float]
    length: int  # words


def _likeness(one: _Weighed, other: _Weighed) -> float:
    """Mean over n of the clipped cosine of two captions, 0..1."""
    total = 0.0
    for n in range(_LONGEST):
        if one.norms[n] and other.norms[n]:
            known = other.weights[n]
            dot = sum(
                min(weight, known[run]) * known[run]
                for run, weight in one.weights[n].items()
                if run in known
            )
            total += dot / (one.norms[n] * other.norms[n])
    apart = one.length - other.length
    return total / _LONGEST * math.exp(-(apart**2) / (2 * _SIGMA**2))


def _runs(caption: str) -> Counter[tuple[str, ...]]:
    """Runs of one to four words of a caption, with how often each occurs."""
    words = tokenize(caption)
    return Counter(
        tuple(words[start : start + n])
        for n in range(1, _LONGEST + 1)
        for start in range(len(words) - n + 1)
    )


def _length(runs: Counter[tuple[str, ...]]) -> int:
    """Words of the caption that has these runs."""
    return sum(count for run, count in runs.items() if len(run) == 1)


# ------------------------------------------------------------------ where words mislead


@dataclass(frozen=True)
class PreferredReport:
    """How often CIDEr-D scores a wrong caption higher than a right one.

    Args:
        overall: of all pictures.
        kinds: by the kind of the fact that is wrong.
        right, wrong: mean scores of the right and of the wrong captions, 0..10.
    """

    overall: Proportion
    kinds: dict[str, Proportion]
    right: float
    wrong: float

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "overall": self.overall.to_json(),
            "kinds": {name: share.to_json() for name, share in self.kinds.items()},
            "right": self.right,
            "wrong": self.wrong,
        }


def preferred_wrong(
    dataset: ShapesDataset,
    count: int,
    references: int = 5,
    seed: int = 0,
    echoing: bool = False,
) -> PreferredReport:
    """Let CIDEr-D choose between a right caption and one that is wrong in one fact.

    Of each picture there are references, paraphrases of one another; the right caption
    is one more of them, in words of its own. Of equal scores none is preferred.

    Args:
        dataset: whose first pictures and captions are used.
        count: pictures.
        references: captions that each picture has besides; fewer where Shapes has not
            so many.
        seed: of the wrong facts and of the references' words.
        echoing: whether the wrong caption chooses its words as a reference does, and
            differs from it in its fact; else they are its own, like the right one's.

    Raises:
        ValueError: fewer than two pictures, more than there are, or no references.
    """
    if not 2 <= count <= len(dataset):
        raise ValueError(f"count must lie in 2..{len(dataset)}; got {count}.")
    if references < 1:
        raise ValueError(
            f"references must be at least 1 caption a picture; got {references}."
        )
    batch = dataset.batch(range(count))
    assert batch.scenes is not None  # Shapes have them
    chances = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    known, wrong, kinds = [], [], []
    for i, (which, what, words) in enumerate(chances.tolist()):
        scene, right = batch.scenes[i], batch.captions[i]
        language = language_of(right)
        texts = _worded(scene, language, references + 1, seed * len(dataset) + i)
        if len(texts) > 1:
            texts.pop(right, None)
        kept = list(texts)[:references]
        kind, demand = nearly_of_kind(facts(scene), which, what)
        choices = texts[kept[0]] if echoing else int(words * 2**31)
        known.append(kept)
        kinds.append(kind)
        wrong.append(describe(demand, language, choices))
    scorer = CiderD(known)
    of_right, of_wrong = scorer.scores(batch.captions), scorer.scores(wrong)
    preferred = [b > a for a, b in zip(of_right, of_wrong, strict=True)]
    by_kind: dict[str, list[bool]] = {}
    for kind, is_preferred in zip(kinds, preferred, strict=True):
        by_kind.setdefault(kind, []).append(is_preferred)
    return PreferredReport(
        Proportion(sum(preferred), count),
        {k: Proportion(sum(by_kind[k]), len(by_kind[k])) for k in sorted(by_kind)},
        sum(of_right) / count,
        sum(of_wrong) / count,
    )


def _check_pairs(captions: Sequence[str], what: str, others: Sequence[Any]) -> None:
    if isinstance(captions, str) or len(captions) != len(others) or not captions:
        raise ValueError(
            f"captions must be a list of at least one, one for each of the {what}; got "
            f"{len(captions)} captions and {len(others)} {what}."
        )


def _check_each(references: Sequence[Sequence[str]]) -> None:
    for i, several in enumerate(references):
        if isinstance(several, str) or not several:
            raise ValueError(
                f"references must be a list of captions for each picture, at least "
                f"one; got {several!r} for picture {i}."
            )
