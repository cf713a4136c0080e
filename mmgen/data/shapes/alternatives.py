"""What captions of Shapes leave open, and captions that are wrong in one fact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmgen.data.batch import Batch
from mmgen.data.shapes.demand import Demand
from mmgen.data.shapes.hard_negatives import nearly_of_kind
from mmgen.data.shapes.language import describe, language_of
from mmgen.data.shapes.questions import Question, answer, ask
from mmgen.data.shapes.world import MENTIONS, RELATIONS, Scene, SceneTable
from mmgen.data.vocabulary import Vocabulary


class ShapesAlternatives:
    """Answers ``mmgen.interfaces.Alternatives`` for batches of Shapes.

    Args:
        vocabulary: of the captions.
        max_tokens: T of the batches.
        attributes: names of the columns of ``Batch.attributes``.
    """

    def __init__(
        self, vocabulary: Vocabulary, max_tokens: int, attributes: Sequence[str]
    ) -> None:
        self.vocabulary, self.max_tokens = vocabulary, max_tokens
        self.attributes = list(attributes)
        self._shared = [
            (self.attributes.index(name), self.attributes.index(f"other_{name}"))
            for name in ("shape", "colour", "size")
            if {name, f"other_{name}"} <= set(self.attributes)
        ]

    def specified(self, batch: Batch) -> Tensor:
        """Which attributes the captions specify; shapes and the count always."""
        own, table = _known(batch)
        said = [
            table.mentions >> MENTIONS.index(fact) & 1 == 1
            if (fact := name.removeprefix("other_")) in MENTIONS
            else np.full(len(table.mentions), True)
            for name in self.attributes
        ]
        return torch.from_numpy(np.stack(said, axis=1)).to(own.device) & (own >= 0)

    def equally_right(self, batch: Batch) -> Tensor:
        """Attributes of a pair with its objects exchanged, another relation, or both.

        Up to three rows for each sample; where the caption tells the relation, or there
        are not two objects, they are its own. No row without columns that two objects
        share.
        """
        own, table = _known(batch)
        if not self._shared:
            return own[None][:0]
        told = table.mentions >> MENTIONS.index("relation") & 1
        free = torch.from_numpy((table.counts() == 2) & (told == 0)).to(own.device)
        exchanged = own.clone()
        for first, second in self._shared:
            exchanged[:, first], exchanged[:, second] = own[:, second], own[:, first]
        rows = [exchanged]
        if "relation" in self.attributes:
            column = self.attributes.index("relation")
            for row in (own, exchanged):
                other = row.clone()
                # in reading order there are but these two
                beside = row[:, column] == RELATIONS.index("left of")
                other[:, column] = torch.where(
                    beside, RELATIONS.index("above"), RELATIONS.index("left of")
                )
                rows.append(other)
        return torch.where(free[:, None], torch.stack(rows), own)

    def hard_negatives(
        self, batch: Batch, chances: Sequence[Sequence[float]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Captions with one fact changed, in the languages of the right ones."""
        captions, _, wrong = self._in_one_fact(batch, chances)
        tokens, lengths = self.vocabulary.encode(captions, self.max_tokens)
        device = batch.class_ids.device
        ids = torch.tensor([demand.id for demand in wrong], device=device)
        return tokens.to(device), lengths.to(device), ids

    def wrong_captions(
        self, batch: Batch, chances: Sequence[Sequence[float]]
    ) -> tuple[list[str], list[str]]:
        """Those of ``hard_negatives`` as text, and their kinds, of ``WRONG_KINDS``."""
        return self._in_one_fact(batch, chances)[:2]

    def questions(
        self, batch: Batch, chances: Sequence[Sequence[float]]
    ) -> list[Question]:
        """A question about each picture, in the language of its caption."""
        _, table = _known(batch)
        return [
            ask(scene, language_of(caption), *chance)
            for scene, caption, chance in zip(
                table, batch.captions, chances, strict=True
            )
        ]

    def answered(
        self, questions: Sequence[Question], scenes: Sequence[Scene]
    ) -> list[str | None]:
        """What each question would be answered with about another scene."""
        return [answer(*pair) for pair in zip(questions, scenes, strict=True)]

    def _in_one_fact(
        self, batch: Batch, chances: Sequence[Sequence[float]]
    ) -> tuple[list[str], list[str], list[Demand]]:
        """Captions wrong in one fact, these facts' kinds, and what they demand."""
        made = [
            nearly_of_kind(Demand.of_id(identity), which, what)
            for identity, (which, what, _) in zip(
                batch.class_ids.tolist(), chances, strict=True
            )
        ]
        captions = [
            describe(demand, language_of(right), int(words * 2**31))
            for (_, demand), right, (_, _, words) in zip(
                made, batch.captions, chances, strict=True
            )
        ]
        kinds, wrong = zip(*made, strict=True) if made else ((), ())
        return captions, list(kinds), list(wrong)


def _known(batch: Batch) -> tuple[Tensor, SceneTable]:
    """Attributes and scenes of a batch of Shapes, which has both."""
    if batch.attributes is None or batch.scenes is None:
        raise ValueError("batch must be one of Shapes, with attributes and scenes.")
    return batch.attributes, SceneTable.of(batch.scenes)
