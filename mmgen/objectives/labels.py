r"""Labels beside captions: scores of a picture with every value of every attribute.

A condition that is a sum of one vector for each attribute has a score
:math:`s(x, a) = s_0(x) + \sum_k s_k(x, a_k)` with a projection discriminator, because
that is linear in the condition. All combinations of values are therefore compared by as
many scores as there are values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu

from mmgen.data.batch import Batch
from mmgen.interfaces import Alternatives, Step
from mmgen.objectives.adversarial import Objective
from mmgen.objectives.contrastive import pair_matching_loss


class Labels(NamedTuple):
    """Rows of labels of which a picture may show any, and which labels count."""

    rows: Tensor  # (N, B, A) int64, -1 where one does not apply
    counted: Tensor | None = None  # (B, A) bool; None: all

    @classmethod
    def of_pictures(cls, batch: Batch) -> Labels:
        """What the real pictures of a batch show."""
        assert batch.attributes is not None  # a task's build() has made sure
        return cls(batch.attributes[None])

    @classmethod
    def of_captions(cls, batch: Batch, alternatives: Alternatives | None) -> Labels:
        """What pictures drawn from the captions of a batch answer for.

        Where the data set does not know what its captions leave open, every attribute
        that applies counts.
        """
        assert batch.attributes is not None  # a task's build() has made sure
        own = batch.attributes[None]  # (1, B, A)
        if alternatives is None:
            return cls(own, own[0] >= 0)
        rows = torch.cat([own, alternatives.equally_right(batch)])  # (1 + R, B, A)
        return cls(rows, alternatives.specified(batch))


def value_rows(sizes: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Attributes that name one value each, "does not apply" (-1) first of every column.

    Args:
        sizes: number of values of each of the A attributes.
        device: where to.

    Returns:
        (sum of ``sizes`` + A, A) int64. Columns that a row does not name are -1.
    """
    rows = [
        [value if other == column else -1 for other in range(len(sizes))]
        for column, size in enumerate(sizes)
        for value in range(-1, size)
    ]
    return torch.tensor(rows, device=device)


def values_loss(
    logits: Tensor, right: Tensor, sizes: Sequence[int], counted: Tensor | None = None
) -> Tensor:
    r"""How surely pictures pick their attributes among all that there are.

    .. math::
        -\frac{1}{B} \sum_i \log \frac{e^{s(x_i, a_i)}}{\sum_{a'} e^{s(x_i, a')}}
        = -\frac{1}{B} \sum_i \sum_k
        \log \frac{e^{s_k(x_i, a_{ik})}}{\sum_v e^{s_k(x_i, v)}}

    The sum on the left goes over every combination of values; on the right it is a
    product of short sums.

    Args:
        logits: of pictures with the conditions of ``value_rows``, (B, R). All scores of
            an attribute may be off by the same number.
        right: attributes that each picture may show, (N, B, A) int64, -1 where one does
            not apply; of N the surest counts.
        sizes: number of values of each of the A attributes.
        counted: (B, A) bool, False where an attribute shall not count; all do by
            default.

    Returns:
        A scalar in nats, at least 0.
    """
    return _value_costs(logits, right, sizes, counted).sum(dim=2).amin(dim=0).mean()


def completed(
    logits: Tensor, right: Tensor, sizes: Sequence[int], counted: Tensor | None = None
) -> Tensor:
    """Of what pictures may show what they fit best, and where it is open their own.

    Args:
        logits, right, sizes, counted: as for ``values_loss``.

    Returns:
        Attributes (B, A), -1 where one does not apply.
    """
    best = _value_costs(logits, right, sizes, counted).sum(dim=2).argmin(dim=0)  # (B,)
    row = right[best, torch.arange(right.shape[1], device=right.device)]
    if counted is None:
        return row
    parts = by_attribute(logits, sizes)
    shown = torch.stack([part.argmax(dim=1) - 1 for part in parts], dim=1)
    return torch.where(counted, row, shown)


def rows_score(logits: Tensor, rows: Tensor, sizes: Sequence[int]) -> Tensor:
    """Scores of pictures with whole rows of attributes, from those of single values.

    A row of ``value_rows`` differs from that in which nothing applies in one value, so
    the differences add up.

    Args:
        logits: of pictures with the conditions of ``value_rows``, (B, R).
        rows: a picture's attributes each, (B, A) int64, -1 where one does not apply.
        sizes: number of values of each of the A attributes.

    Returns:
        (B,), what the discriminator gives for the condition of these rows.
    """
    nothing = logits[:, 0]
    parts = by_attribute(logits, sizes)
    differences = [
        part.gather(1, column[:, None] + 1)[:, 0] - nothing
        for part, column in zip(parts, rows.unbind(dim=1), strict=True)
    ]
    return nothing + torch.stack(differences).sum(dim=0)


class Asked(NamedTuple):
    """Conditions that every picture of a batch is scored with.

    M captions, the pictures' own first and in their order, and then perhaps the R
    conditions of ``value_rows``.
    """

    conditions: Tensor  # (M + R, C)
    ids: Tensor  # (M,), of the captions, equal where the same is said
    pictures: int  # N, of all processes; the first N captions are theirs
    sizes: Sequence[int] = ()  # number of values of each attribute; none: R = 0

    @classmethod
    def captions(cls, batch: Batch, conditions: Tensor, step: Step) -> Asked:
        """The captions of all processes, as in one big batch.

        Args:
            batch: this process's.
            conditions: what its captions say, (B, C).
            step: the loop's step: ``gather``.
        """
        ids = step.gather(batch.class_ids)
        return cls(step.gather(conditions), ids, len(ids))

    def with_hard_negatives(
        self,
        batch: Batch,
        alternatives: Alternatives | None,
        encode: Callable[[Tensor, Tensor], Tensor],
        step: Step,
    ) -> Asked:
        """Captions followed by as many that are wrong in one fact, if a set can.

        The data set writes text, so that the processor waits for a GPU's draws.

        Args:
            batch: this process's.
            alternatives: of the data set.
            encode: tokens and lengths of captions to their conditions, (B, C).
            step: the loop's step: ``rand`` and ``gather``.
        """
        if alternatives is None:
            return self
        chances = step.rand(len(batch), 3).tolist()
        tokens, lengths, wrong = alternatives.hard_negatives(batch, chances)
        conditions = [self.conditions, step.gather(encode(tokens, lengths))]
        ids = [self.ids, step.gather(wrong)]
        return self._replace(conditions=torch.cat(conditions), ids=torch.cat(ids))

    def with_values(
        self, encode: Callable[[Tensor], Tensor], sizes: Sequence[int]
    ) -> Asked:
        """Captions followed by the values of all labels, the same for all processes."""
        values = encode(value_rows(sizes, self.conditions.device))  # (R, C)
        conditions = torch.cat([self.conditions, values])
        return self._replace(conditions=conditions, sizes=sizes)

    def detach(self) -> Asked:
        """The same without gradients."""
        return self._replace(conditions=self.conditions.detach())

    def matching_loss(
        self, logits: Tensor, labels: Labels | None, step: Step
    ) -> Tensor:
        """How surely pictures pick their captions, and the values of their labels.

        Args:
            logits: of this process's pictures with all conditions, (B, M + R).
            labels: what the pictures answer for; needed where there are values.
            step: the loop's step: ``gather``.

        Returns:
            A scalar in nats.
        """
        count = len(self.ids)
        everyone = step.gather(logits[:, :count])
        loss = pair_matching_loss(everyone, self.ids[: len(everyone)], self.ids)
        if self.sizes and labels is not None:
            values = logits[:, count:]
            loss = loss + values_loss(values, labels.rows, self.sizes, labels.counted)
        return loss

    def label_scores(self, logits: Tensor, labels: Labels | None) -> Tensor:
        """How real pictures look with their labels, (B,), of logits (B, M + R).

        Of what the labels leave open a picture is scored with what it looks like most.
        """
        assert labels is not None and self.sizes  # with_values() came before
        values = logits[:, len(self.ids) :]
        rows = completed(values.detach(), labels.rows, self.sizes, labels.counted)
        return rows_score(values, rows, self.sizes)

    def label_discriminator_loss(
        self,
        objective: Objective,
        of_reals: Tensor,
        shows: Labels | None,
        of_fakes: Tensor,
        meets: Labels | None,
    ) -> Tensor:
        """Cost of ``label_scores`` of real and of generated pictures, a scalar.

        Weighted as AttnGAN weights its logits: 1/2 for real, 1/3 for generated ones.

        Args:
            objective: of the game.
            of_reals, of_fakes: logits with all conditions, (B, M + R).
            shows, meets: what the real and the generated pictures answer for.
        """
        accepted = objective.real_cost(self.label_scores(of_reals, shows)).mean()
        refused = objective.fake_cost(self.label_scores(of_fakes, meets)).mean()
        return accepted / 2 + refused / 3

    def label_generator_loss(self, logits: Tensor, meets: Labels | None) -> Tensor:
        r"""E[max(0, 1 - s)] of generated pictures' ``label_scores``, a scalar >= 0.

        Bounded below, unlike the hinge game's :math:`-E[s]`, which would reward labels
        that are exaggerated beyond any real picture's. The bound alone does not keep
        the game from running away.
        """
        return relu(1 - self.label_scores(logits, meets)).mean()


def by_attribute(logits: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Scores (B, R) with ``value_rows``, a tensor (B, 1 + size) for each attribute."""
    return logits.split([size + 1 for size in sizes], dim=1)


def _value_costs(
    logits: Tensor, right: Tensor, sizes: Sequence[int], counted: Tensor | None
) -> Tensor:
    """Surprise at every attribute of every row, (N, B, A)."""
    parts = by_attribute(logits.float(), sizes)
    costs = [
        -part.log_softmax(dim=1).gather(1, column.T + 1).T  # (N, B)
        for part, column in zip(parts, right.unbind(dim=2), strict=True)
    ]
    together = torch.stack(costs, dim=2)
    return together if counted is None else together * counted
