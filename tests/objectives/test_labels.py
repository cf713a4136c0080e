"""Labels: scores of single values against all combinations of values."""

from __future__ import annotations

import torch

from mmgen.conditioning import AttributeEncoder
from mmgen.objectives.labels import (
    completed,
    rows_score,
    value_rows,
    values_loss,
)


def test_all_values_of_labels_are_all_their_combinations() -> None:
    """The product of short sums against the sum over every row of labels."""
    torch.manual_seed(0)
    sizes = (2, 3, 4)
    encode, features = AttributeEncoder(sizes, 5), torch.randn(6, 5)
    every = torch.cartesian_prod(*(torch.arange(-1, size) for size in sizes))
    right = every[torch.randint(len(every), (6,))]
    whole = -(features @ encode(every).T).log_softmax(dim=1)  # (6, 60)
    same = (every[None] == right[:, None]).all(dim=2)
    logits = features @ encode(value_rows(sizes)).T
    assert logits.shape == (6, 12)
    torch.testing.assert_close(
        values_loss(logits, right[None], sizes), whole[same].mean()
    )
    # of several rows that are right each picture is held against its surest
    rows = every[torch.randint(len(every), (3, 6))]
    costs = torch.stack(
        [whole[(every[None] == row[:, None]).all(dim=2)] for row in rows]
    )
    torch.testing.assert_close(
        values_loss(logits, rows, sizes), costs.amin(dim=0).mean()
    )


def test_what_a_caption_leaves_open_pulls_at_no_picture() -> None:
    torch.manual_seed(0)
    sizes = (2, 3)
    logits = torch.randn(4, 7, requires_grad=True)
    right = torch.tensor([[[0, 1], [1, 2], [1, -1], [0, 0]]])
    told = torch.tensor([[True, False], [True, True], [False, True], [False, False]])
    loss = values_loss(logits, right, sizes, told)
    by_hand = [
        -logits[0, :3].log_softmax(0)[1],
        -logits[1, :3].log_softmax(0)[2] - logits[1, 3:].log_softmax(0)[3],
        -logits[2, 3:].log_softmax(0)[0],  # that it does not apply
    ]
    torch.testing.assert_close(loss, torch.stack(by_hand).sum() / 4)
    loss.backward()
    pulled = torch.stack([part.any(dim=1) for part in logits.grad.split([3, 4], 1)], 1)
    assert torch.equal(pulled, told)


def test_rows_of_values_name_one_each() -> None:
    rows = value_rows((2, 1))
    assert rows.tolist() == [[-1, -1], [0, -1], [1, -1], [-1, -1], [-1, 0]]


def test_scores_of_values_add_up_to_those_of_rows() -> None:
    torch.manual_seed(0)
    sizes = (2, 3, 4)
    encode, features, psi = AttributeEncoder(sizes, 5), torch.randn(6, 5), 3.0
    rows = torch.stack([torch.randint(-1, size, (6,)) for size in sizes], dim=1)
    logits = psi + features @ encode(value_rows(sizes)).T
    torch.testing.assert_close(
        rows_score(logits, rows, sizes), psi + (features * encode(rows)).sum(dim=1)
    )


def test_what_is_left_open_is_completed_with_what_a_picture_shows() -> None:
    sizes = (2, 2)
    logits = torch.tensor(
        [[0.0, 1.0, 9.0, 0.0, 9.0, 2.0], [8.0, 1.0, 2.0, 0.0, 9.0, 2.0]]
    )
    right = torch.tensor([[[0, 1], [0, 1]], [[1, 0], [1, 0]]])
    told = torch.tensor([[True, False], [True, True]])
    # the second row fits both best; the first picture's other label is open
    expected = [[1, 0], [1, 0]]
    assert completed(logits, right, sizes, told).tolist() == expected
    # alone the first row is asked for as far as it is told
    assert completed(logits, right[:1], sizes, told).tolist() == [[0, 0], [0, 1]]
    # what does not apply may be what a picture shows
    nothing = torch.zeros_like(told)
    assert completed(logits, right, sizes, nothing).tolist() == [[1, 0], [-1, 0]]
    assert torch.equal(completed(logits, right[:1], sizes), right[0])
