"""R-precision: its protocol, decided on scorers whose answers are known."""

import pytest
import torch
from torch import Tensor, nn

from mmgen.data import load_dataset
from mmgen.data.shapes.parsing import parse
from mmgen.data.shapes.verdict import judge
from mmgen.metrics.retrieval import _also_true, _draw, r_precision


class Table:
    """A scorer that reads its scores from a table, by the numbers in the captions."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def scores(self, images: Tensor, captions: list[str]) -> Tensor:
        return self.table[:, [int(caption) for caption in captions]]


CAPTIONS = [str(i) for i in range(40)]
IMAGES = torch.zeros(40, 3, 4, 4)


def test_a_perfect_a_constant_and_a_reversed_scorer() -> None:
    for table, expected in (
        (torch.eye(40), 1.0),
        (torch.zeros(40, 40), 0.0),  # ties are lost
        (-torch.eye(40), 0.0),
    ):
        found = r_precision(IMAGES, CAPTIONS, Table(table), candidates=10)
        assert found.precision.value == expected
        assert found.precision.n == 40 and found.candidates == 10
    assert r_precision(IMAGES, CAPTIONS, Table(-torch.eye(40)), 10).ranks == [10] * 40


def test_chance_is_one_in_the_number_of_candidates() -> None:
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for seed in range(50):
        table = torch.rand(40, 40, generator=generator)
        hits += r_precision(
            IMAGES, CAPTIONS, Table(table), 10, seed
        ).precision.successes
    assert 150 < hits < 250  # 2000 choices among 10; deviation 13


def test_the_two_directions_read_rows_and_columns() -> None:
    table = torch.eye(40)
    table[:, 3] = 2.0  # a caption that every picture likes
    words = r_precision(IMAGES, CAPTIONS, Table(table), 40)
    pictures = r_precision(
        IMAGES, CAPTIONS, Table(table), 40, direction="text_to_image"
    )
    assert words.precision.successes == 1
    assert pictures.precision.successes == 39


def test_others_are_seeded_distinct_and_of_other_classes() -> None:
    classes = torch.arange(40) % 8
    rows = _draw(40, 12, 5, classes, None, "image_to_text")
    assert torch.equal(rows, _draw(40, 12, 5, classes, None, "image_to_text"))
    assert not torch.equal(rows, _draw(40, 12, 6, classes, None, "image_to_text"))
    for i, row in enumerate(rows):
        assert len(set(row.tolist())) == 12
        assert (classes[row] != classes[i]).all()


def test_captions_that_are_true_of_the_scene_are_never_drawn() -> None:
    data = load_dataset("shapes", "test", image_size=16, objects=(1,), size=150)
    batch = data.batch(range(150))
    suits = _also_true(batch.captions, batch.scenes)
    demands = [parse(caption) for caption in batch.captions]
    for direction in ("image_to_text", "text_to_image"):
        rows = _draw(150, 50, 0, batch.class_ids, suits, direction)
        for i, row in enumerate(rows.tolist()):
            for j in row:
                picture, caption = (i, j) if direction == "image_to_text" else (j, i)
                verdict = judge(demands[caption], batch.scenes[picture])
                assert not all(verdict.values())
    # without this rule there are such captions among the others
    plain = _draw(150, 50, 0, batch.class_ids, None, "image_to_text")
    assert any(suits(i, j) for i, row in enumerate(plain.tolist()) for j in row)


def test_the_scorer_that_was_the_trainer_is_named() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def scores(self, images: Tensor, captions: list[str]) -> Tensor:
            return torch.eye(len(images))

    scorer, other = Net(), Net()
    generator = nn.ModuleDict({"inside": Net(), "head": nn.Linear(2, 2)})
    generator["inside"].load_state_dict(scorer.state_dict())
    assert r_precision(IMAGES, CAPTIONS, scorer, 10, trained_with=other).warning is None
    with pytest.warns(UserWarning, match="can be gamed"):
        found = r_precision(IMAGES, CAPTIONS, scorer, 10, trained_with=generator)
    assert "can be gamed" in str(found) and found.to_json()["warning"]


def test_what_no_training_touched_makes_no_two_networks_one() -> None:
    class Fresh(nn.Module):
        """One weight, and norms and biases as they begin."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, bias=False)
            self.norms = nn.ModuleList(nn.LayerNorm(3) for _ in range(4))

        def scores(self, images: Tensor, captions: list[str]) -> Tensor:
            return torch.eye(len(images))

    found = r_precision(IMAGES, CAPTIONS, Fresh(), 10, trained_with=Fresh())
    assert found.warning is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": IMAGES[:3]},
            "images must be one for each of the 40 captions; got 3",
        ),
        ({"class_ids": torch.zeros(4)}, "class_ids must be one for each.*got 4"),
        ({"candidates": 1}, "candidates must be at least 2; got 1"),
        ({"candidates": 41}, "candidates must be at most 40 here"),
        ({"class_ids": torch.zeros(40)}, "candidates must be at most 1 here"),
        ({"direction": "sideways"}, "direction must be one of.*'sideways'"),
        ({"scorer": Table(torch.full((40, 40), float("nan")))}, "finite scores"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    good = {
        "images": IMAGES,
        "captions": CAPTIONS,
        "scorer": Table(torch.eye(40)),
        "candidates": 10,
    }
    with pytest.raises(ValueError, match=message):
        r_precision(**(good | change))
