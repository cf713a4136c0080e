"""Do a model's two senses agree? On Shapes that is decided, not estimated.

A model of pictures and captions can be asked in three ways: for a picture of a caption,
for a caption of a picture, and for both at once. In each case there is a caption and a
picture, and they agree if the picture shows what the caption demands (``parse`` against
``read``). Papers on multimodal autoencoders call this coherence and estimate it with
classifiers (Shi et al., NeurIPS 2019, section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mmgen.data.dataset import CaptionedDataset
from mmgen.data.shapes import parse
from mmgen.data.vocabulary import tokenize
from mmgen.interfaces import Describes, Draws, Imagines
from mmgen.metrics.interval import Proportion
from mmgen.metrics.semantic import semantic_accuracy


class Speaker(Draws, Describes, Imagines, Protocol):
    """A model that goes both ways, and makes both from nothing."""


@dataclass(frozen=True)
class PairReport:
    """How many pictures and captions agree.

    Args:
        overall: pairs whose caption can be parsed and whose picture shows all of it.
        attributes: the same for each attribute, over the parsed captions that state it.
        unparsed: captions that demand nothing anyone could check; they count as wrong.
        facts: attributes that a parsed caption states, mean: who says less errs less.
        verdicts: for each pair, whether it agrees.
    """

    overall: Proportion
    attributes: dict[str, Proportion]
    unparsed: int
    facts: float
    verdicts: list[bool]

    def to_json(self) -> dict[str, Any]:
        """Everything but the single verdicts."""
        return {
            "overall": self.overall.to_json(),
            "attributes": {k: v.to_json() for k, v in self.attributes.items()},
            "unparsed": self.unparsed,
            "facts": self.facts,
        }


@dataclass(frozen=True)
class CoherenceReport:
    """Agreement in each direction."""

    text_to_image: PairReport  # captions of the data set, pictures of the model
    image_to_text: PairReport  # pictures of the data set, captions of the model
    joint: PairReport  # both of the model, from its prior

    def to_json(self) -> dict[str, Any]:
        """The three reports."""
        return {
            "text_to_image": self.text_to_image.to_json(),
            "image_to_text": self.image_to_text.to_json(),
            "joint": self.joint.to_json(),
        }

    def __str__(self) -> str:
        rows = (
            ("text to image", self.text_to_image),
            ("image to text", self.image_to_text),
            ("both from the prior", self.joint),
        )
        return "\n".join(
            f"{name:20}{report.overall}  facts stated {report.facts:.1f}  "
            f"unparsed {report.unparsed}"
            for name, report in rows
        )


def pair_coherence(images: Tensor, captions: Sequence[str]) -> PairReport:
    """Decide for every pair whether the picture shows what the caption says.

    Unlike ``semantic_accuracy``, which judges pictures and takes captions as given,
    this judges both: a caption that makes no sense is not an error but a failure.

    Args:
        images: (B, 3, H, W) in [-1, 1], of sizes that ``read`` takes.
        captions: one a picture.

    Raises:
        ValueError: no pairs, or not one caption a picture.
    """
    captions = list(captions)
    if len(captions) != len(images) or not captions:
        raise ValueError(
            f"captions must be one for each of at least one picture; got "
            f"{len(captions)} captions for {len(images)} pictures."
        )
    sensible = [i for i, caption in enumerate(captions) if _parses(caption)]
    verdicts = [False] * len(captions)
    attributes: dict[str, Proportion] = {}
    facts = 0.0
    if sensible:
        rows = torch.tensor(sensible, device=images.device)
        report = semantic_accuracy(images[rows], [captions[i] for i in sensible])
        for i, verdict in zip(sensible, report.verdicts, strict=True):
            verdicts[i] = all(verdict.values())
        attributes = report.attributes
        # the number of objects is demanded by every caption, and no fact of one's own
        stated = [len(verdict) - ("count" in verdict) for verdict in report.verdicts]
        facts = sum(stated) / len(stated)
    return PairReport(
        Proportion(sum(verdicts), len(verdicts)),
        attributes,
        len(captions) - len(sensible),
        facts,
        verdicts,
    )


def _parses(caption: str) -> bool:
    try:
        parse(caption)
    except ValueError:
        return False
    return True


def cross_modal_coherence(
    model: Speaker,
    dataset: CaptionedDataset,
    n: int = 500,
    seed: int = 0,
    language: str | None = None,
) -> CoherenceReport:
    """Measure a model's agreement with the data and with itself, n times each way.

    Costs n readings three times, about 3 ms each on a CPU, besides the model.

    Args:
        model: of Shapes; see ``Speaker``.
        dataset: Shapes that the model was not trained on; its first n samples.
        n: pairs in each direction.
        seed: of the model's samples.
        language: that the model writes in; its first by default.

    Raises:
        ValueError: fewer than one pair, or more than the data set has.
    """
    if not 1 <= n <= len(dataset):
        raise ValueError(f"n must lie in 1..{len(dataset)}; got {n}.")
    batch = dataset.batch(range(n))
    pictures, captions = model.imagine(n, seed, language)
    return CoherenceReport(
        pair_coherence(model.sample(batch.captions, seed), batch.captions),
        pair_coherence(batch.images, model.describe(batch.images, language)),
        pair_coherence(pictures, captions),
    )


def naming_accuracy(
    model: Describes, dataset: CaptionedDataset, language: str
) -> Proportion:
    """How many pictures a model names as the data set does, to the letter.

    For data in which a picture has one name, such as the emoji: a name that leaves
    anything out, or adds anything, is wrong.

    Args:
        model: writes captions of pictures.
        dataset: pictures with their names in ``language``.
        language: that the model is asked to write in.

    Raises:
        ValueError: a language other than the data set's.
    """
    written, names, _ = _named(model, dataset, language)
    return _agreeing(written, names)


@dataclass(frozen=True)
class NamingReport:
    """How pictures are named.

    Args:
        overall: with their names to the letter, all parts right.
        parts: for each attribute, with a name of some picture that agrees in it.
        nameless: texts that are no picture's name; all their parts count as wrong.
    """

    overall: Proportion
    parts: dict[str, Proportion]
    nameless: int

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "overall": self.overall.to_json(),
            "parts": {name: share.to_json() for name, share in self.parts.items()},
            "nameless": self.nameless,
        }


def naming_parts(
    model: Describes,
    dataset: CaptionedDataset,
    others: Sequence[CaptionedDataset],
    language: str,
) -> NamingReport:
    """``naming_accuracy``, and which parts of the names are right.

    Args:
        model: writes captions of pictures.
        dataset: pictures with their names and attributes.
        others: the same kind of pictures, whose names a model may write by mistake.
        language: of all names, that the model is asked to write in.

    Returns:
        The report. Attributes in which all pictures agree, or which they lack, are left
        out: nothing could be wrong in them.

    Raises:
        ValueError: a language other than the data sets', or data without attributes.
    """
    written, names, attributes = _named(model, dataset, language)
    known: dict[tuple[str, ...], Tensor] = {}
    for each in (dataset, *others):
        batch = each.batch(range(len(each)))
        _check_names(each, language)
        if batch.attributes is None or attributes is None:
            raise ValueError(f"dataset must have attributes; {each.name!r} has none.")
        for name, row in zip(batch.captions, batch.attributes, strict=True):
            known.setdefault(tuple(tokenize(name)), row)
    assert attributes is not None  # refused above
    nothing = torch.full_like(attributes[0], -2)  # which no picture has
    told = torch.stack([known.get(text, nothing) for text in written])
    rows = torch.stack(list(known.values()))
    return NamingReport(
        _agreeing(written, names),
        {
            part: Proportion(
                int((told[:, i] == attributes[:, i]).sum()), len(attributes)
            )
            for i, part in enumerate(dataset.attributes)
            if (rows[:, i] != rows[0, i]).any()
        },
        sum(text not in known for text in written),
    )


_Words = tuple[str, ...]


def _named(
    model: Describes, dataset: CaptionedDataset, language: str
) -> tuple[list[_Words], list[_Words], Tensor | None]:
    """What a model calls the pictures, their names, and their attributes."""
    _check_names(dataset, language)
    batch = dataset.batch(range(len(dataset)))
    # as words: capitals, spaces and marks are no fault of the model's
    written = [tuple(tokenize(t)) for t in model.describe(batch.images, language)]
    names = [tuple(tokenize(name)) for name in batch.captions]
    return written, names, batch.attributes


def _check_names(dataset: CaptionedDataset, language: str) -> None:
    if dataset.language != language:
        raise ValueError(
            f"language must be that of the data set's names, {dataset.language!r}; got "
            f"{language!r}."
        )


def _agreeing(written: Sequence[_Words], names: Sequence[_Words]) -> Proportion:
    right = sum(a == b for a, b in zip(written, names, strict=True))
    return Proportion(right, len(names))
