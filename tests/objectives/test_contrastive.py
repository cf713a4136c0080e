"""In-batch contrastive losses by hand, and by the formula of textbooks."""

import pytest
import torch

from mmgen.objectives.contrastive import (
    in_batch_losses,
    pair_matching_loss,
    wrong_pairs,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_losses_are_cross_entropies_over_what_is_left() -> None:
    s = 3 * torch.randn(3, 4, dtype=torch.float64)
    e = s.exp()
    # pictures 0 and 1 show the same, so that each caption suits both
    image_to_text, text_to_image = in_batch_losses(
        s, torch.tensor([7, 7, 8]), torch.tensor([7, 7, 8, 9])
    )
    pictures = [
        e[0, 0] / (e[0, 0] + e[0, 2] + e[0, 3]),
        e[1, 1] / (e[1, 1] + e[1, 2] + e[1, 3]),
        e[2, 2] / e[2].sum(),
    ]
    captions = [
        e[0, 0] / (e[0, 0] + e[2, 0]),
        e[1, 1] / (e[1, 1] + e[2, 1]),
        e[2, 2] / e[:, 2].sum(),
    ]
    torch.testing.assert_close(image_to_text, -torch.stack(pictures).log().mean())
    torch.testing.assert_close(text_to_image, -torch.stack(captions).log().mean())
    both = pair_matching_loss(s, torch.tensor([7, 7, 8]), torch.tensor([7, 7, 8, 9]))
    assert torch.equal(both, image_to_text + text_to_image)


def test_without_ids_all_captions_differ() -> None:
    s = torch.randn(3, 5, dtype=torch.float64)
    expected = in_batch_losses(s, torch.arange(3), torch.arange(5))
    assert in_batch_losses(s) == expected
    assert in_batch_losses(s[:, :3], torch.arange(3)) == in_batch_losses(s[:, :3])


def test_wrong_pairs_never_say_the_same() -> None:
    class_ids, caption_ids = torch.tensor([4, 4, 9]), torch.tensor([4, 9, 4, 7])
    expected = [[a != b for b in caption_ids.tolist()] for a in class_ids.tolist()]
    assert wrong_pairs(class_ids, caption_ids).tolist() == expected


@pytest.mark.parametrize("ids", [None, torch.tensor([3])], ids=["no ids", "ids"])
@pytest.mark.parametrize("captions", [1, 4], ids=["alone", "with hard negatives"])
def test_one_picture_is_no_choice_for_a_caption(
    ids: torch.Tensor | None, captions: int
) -> None:
    scores = torch.randn(1, captions)
    told = None if ids is None else torch.arange(3, 3 + captions)
    with pytest.raises(ValueError, match=r"at least 2 samples.*got 1.*accumulate"):
        in_batch_losses(scores, ids, told)
    if ids is not None:
        with pytest.raises(ValueError, match="at least 2 samples"):
            pair_matching_loss(scores, ids, told)


def test_pictures_without_a_negative_add_nothing() -> None:
    s = torch.randn(3, 3, requires_grad=True)
    losses = in_batch_losses(s, torch.tensor([5, 5, 5]))
    assert [loss.item() for loss in losses] == [0, 0]
    sum(losses).backward()
    assert s.grad.eq(0).all()
