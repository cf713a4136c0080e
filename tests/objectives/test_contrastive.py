"""In-batch contrastive losses by hand, and by the formula of textbooks."""

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from mmgen.objectives.contrastive import (
    Temperature,
    in_batch_losses,
    info_nce,
    pair_matching_loss,
    sigmoid_loss,
    triplet_loss,
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


# ------------------------------------------------------------- of features, with scales


def features(
    pictures: int, captions: int, size: int = 5
) -> tuple[torch.Tensor, torch.Tensor]:
    shown = torch.randn(pictures, size, dtype=torch.float64)
    return shown, torch.randn(captions, size, dtype=torch.float64)


def cosines(shown: torch.Tensor, said: torch.Tensor) -> list[list[float]]:
    return [[float(cosine_similarity(v, t, dim=0)) for t in said] for v in shown]


def test_info_nce_is_the_symmetric_cross_entropy_of_the_full_matrix() -> None:
    shown, said = features(6, 6)
    scale = 1 / 0.07
    s = scale * torch.tensor(cosines(shown, said), dtype=torch.float64)
    own = torch.arange(6)
    expected = (cross_entropy(s, own) + cross_entropy(s.T, own)) / 2
    found = info_nce(shown, said, scale)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    low = info_nce(shown.float(), said.float(), scale)
    torch.testing.assert_close(low.double(), expected, rtol=0, atol=1e-6)


def test_info_nce_knows_no_order_side_or_length() -> None:
    shown, said = features(6, 6)
    ids = torch.tensor([1, 2, 2, 3, 4, 5])
    expected = info_nce(shown, said, 10, ids)
    order = torch.randperm(6)
    for other in (
        info_nce(shown[order], said[order], 10, ids[order]),
        info_nce(said, shown, 10, ids),
        info_nce(3 * shown, said / 7, 10, ids),
    ):
        torch.testing.assert_close(other, expected)


def test_features_that_know_nothing_have_the_loss_of_chance() -> None:
    same = torch.ones(8, 3)
    for scale in (1.0, 1 / 0.07, 100.0):
        found = info_nce(same, same, scale)
        torch.testing.assert_close(found, torch.tensor(math.log(8)))


def test_hard_negatives_are_more_captions_for_pictures_alone() -> None:
    shown, said = features(3, 5)
    s = torch.tensor(cosines(shown, said)).exp()
    by_picture = -(s.diagonal() / s.sum(dim=1)).log().mean()
    by_caption = -(s.diagonal() / s[:, :3].sum(dim=0)).log().mean()
    found = info_nce(shown, said, 1.0).float()
    torch.testing.assert_close(found, (by_picture + by_caption) / 2)
    # one that says what picture 1 shows is no negative of it
    kept = info_nce(
        shown, said, 1.0, torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2, 1, 4])
    )
    assert kept < info_nce(shown, said, 1.0)


@pytest.mark.parametrize("ids", [None, [4, 4, 5, 6]])
def test_sigmoid_loss_is_a_sum_over_pairs_over_pictures(ids: list[int] | None) -> None:
    shown, said = features(4, 6)
    scale, bias = 3.0, -1.5
    s = cosines(shown, said)
    class_ids = [0, 1, 2, 3] if ids is None else ids
    caption_ids = [*class_ids, 8, 5]
    total = 0.0
    for i in range(4):
        for j in range(6):
            if i != j and class_ids[i] == caption_ids[j]:
                continue
            y = 1 if i == j else -1
            total += -math.log(1 / (1 + math.exp(-y * (scale * s[i][j] + bias))))
    told = torch.tensor(class_ids), torch.tensor(caption_ids)
    found = sigmoid_loss(shown, said, scale, bias, *told)
    assert found.item() == pytest.approx(total / 4, abs=1e-12)
    if ids is None:
        plain = sigmoid_loss(shown, said[:4], scale, bias)
        told = torch.arange(4), torch.arange(4)
        assert plain == sigmoid_loss(shown, said[:4], scale, bias, *told)


def test_sigmoid_loss_of_orthogonal_features() -> None:
    shown, said = torch.eye(16).chunk(2)
    found = sigmoid_loss(shown, said, 10.0, -10.0)
    assert found.item() == pytest.approx(10.0004, abs=5e-5)
    # features that know nothing cost least at -ln(B - 1)
    best = -math.log(7)
    costs = [sigmoid_loss(shown, said, 10.0, best + d).item() for d in (-0.1, 0, 0.1)]
    assert min(costs) == costs[1]


@pytest.mark.parametrize("hardest", [True, False])
def test_triplet_loss_by_loops(hardest: bool) -> None:
    s = torch.randn(4, 6, dtype=torch.float64)
    class_ids, caption_ids = [4, 4, 5, 6], [4, 4, 5, 6, 5, 9]
    margin, total, worst = 0.3, 0.0, max if hardest else sum
    for i in range(4):
        own = s[i, i].item()
        rows = [
            max(0.0, margin - own + s[i, j].item())
            for j in range(6)
            if class_ids[i] != caption_ids[j]
        ]
        columns = [
            max(0.0, margin - own + s[j, i].item())
            for j in range(4)
            if class_ids[j] != caption_ids[i]
        ]
        total += worst(rows) + worst(columns)
    told = torch.tensor(class_ids), torch.tensor(caption_ids)
    found = triplet_loss(s, margin, *told, hardest=hardest)
    assert found.item() == pytest.approx(total / 4, abs=1e-12)


def test_triplets_told_apart_by_the_margin_cost_nothing() -> None:
    assert triplet_loss(torch.eye(3), 1.0) == 0
    assert triplet_loss(torch.eye(3), 1.25) == pytest.approx(0.5)  # both ways
    alike = torch.full((3, 3), 0.4)
    assert triplet_loss(alike, 0.2, torch.tensor([7, 7, 7])) == 0


LOSSES = {
    "info_nce": lambda v, t, *ids: info_nce(v, t, 10.0, *ids),
    "sigmoid": lambda v, t, *ids: sigmoid_loss(v, t, 10.0, -2.0, *ids),
    "triplet": lambda v, t, *ids: triplet_loss(
        v @ t.T if v.ndim == 2 and v.shape[1:] == t.shape[1:] else v, 0.2, *ids
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_no_loss_can_compare_is_refused(name: str) -> None:
    loss = LOSSES[name]
    with pytest.raises(ValueError, match=r"at least 2 samples.*got 1"):
        loss(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"caption for each picture.*got \(4, 3\)"):
        loss(torch.ones(4, 3), torch.ones(3, 3))
    with pytest.raises(ValueError, match=r"\(4,\) and \(5,\).*got \(3,\) and \(5,\)"):
        ids = torch.arange(3), torch.arange(5)
        loss(torch.ones(4, 3), torch.ones(5, 3), *ids)
    with pytest.raises(ValueError, match="need class_ids"):
        loss(torch.ones(4, 3), torch.ones(5, 3), None, torch.arange(5))
    with pytest.raises(ValueError, match="finite"):
        loss(torch.full((2, 3), torch.nan), torch.ones(2, 3))


def test_features_of_two_spaces_are_refused() -> None:
    for loss in (LOSSES["info_nce"], LOSSES["sigmoid"]):
        with pytest.raises(ValueError, match=r"one space; got \(4, 3\) and \(4, 2\)"):
            loss(torch.ones(4, 3), torch.ones(4, 2))
    with pytest.raises(ValueError, match="margin must be above 0"):
        triplet_loss(torch.eye(3), 0.0)


def test_temperature_cannot_overflow() -> None:
    temperature = Temperature()
    assert temperature().item() == pytest.approx(1 / 0.07)
    assert temperature.log_scale.item() == pytest.approx(2.659, abs=1e-3)
    with torch.no_grad():
        temperature.log_scale.fill_(1e4)  # e to this is more than a float can hold
    assert temperature().item() == pytest.approx(100)
    shown, said = features(4, 4)
    assert info_nce(shown, said, temperature()).isfinite()
    temperature.clamp_()
    assert temperature.log_scale.item() == pytest.approx(math.log(100))
    with torch.no_grad():
        temperature.log_scale.fill_(-3)
    temperature.clamp_()
    assert temperature.log_scale.item() == 0 and temperature().item() == 1


def test_temperature_learns_at_both_ends() -> None:
    for start, gradient in ((1.0, 1.0), (100.0, 100.0)):
        temperature = Temperature(start)
        temperature.clamp_()
        temperature().backward()
        assert temperature.log_scale.grad == pytest.approx(gradient)
    with pytest.raises(ValueError, match=r"start must lie in 1..100; got 0.07"):
        Temperature(0.07)  # the temperature in place of its inverse
