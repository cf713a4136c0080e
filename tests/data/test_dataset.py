"""What all data sets share: one order, wherever it begins and whoever walks it."""

from itertools import islice

import pytest
import torch

from mmgen.data import epoch_order, load_dataset


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("shapes", "train", image_size=16, size=50, language="both")


def take(batches, count):
    return list(islice(batches, count))


def same(a, b) -> None:
    for name in ("images", "tokens", "lengths", "class_ids", "attributes", "indices"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert a.captions == b.captions


def test_an_epoch_shows_every_sample_once_and_the_next_another_order(dataset):
    batches = take(dataset.batches(10), 10)
    first = torch.cat([batch.indices for batch in batches[:5]])
    second = torch.cat([batch.indices for batch in batches[5:]])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert not torch.equal(first, second)
    assert torch.equal(first, epoch_order(50, 0, 0))


def test_the_order_is_the_one_that_the_books_runs_were_trained_in():
    # torch promises it for one release: where this fails, results will not repeat
    assert epoch_order(8, 0, 0).tolist() == [4, 5, 7, 1, 3, 0, 2, 6]
    assert epoch_order(8, 3, 2).tolist() == [7, 3, 1, 6, 2, 5, 4, 0]


def test_another_seed_is_another_order(dataset):
    assert next(dataset.batches(50, seed=1)).indices.tolist() != (
        next(dataset.batches(50, seed=2)).indices.tolist()
    )


@pytest.mark.parametrize("start", [1, 4, 9, 23])
def test_any_start_step_goes_on_as_the_long_run_does(dataset, start):
    whole = take(dataset.batches(12, seed=3), start + 3)
    late = take(dataset.batches(12, seed=3, start_step=start), 3)
    for a, b in zip(whole[start:], late, strict=True):
        same(a, b)


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_processes_together_see_the_batches_of_one(dataset, world_size):
    alone = take(dataset.batches(12, seed=5), 6)
    parts = [
        take(dataset.batches(12, seed=5, rank=rank, world_size=world_size), 6)
        for rank in range(world_size)
    ]
    for whole, *shares in zip(alone, *parts, strict=True):
        for name in ("images", "tokens", "class_ids", "indices"):
            joined = torch.cat([getattr(share, name) for share in shares])
            assert torch.equal(joined, getattr(whole, name)), name


def test_workers_change_nothing(dataset):
    here = take(dataset.batches(8, seed=7, start_step=2), 9)
    there = take(dataset.batches(8, seed=7, start_step=2, workers=2), 9)
    for a, b in zip(here, there, strict=True):
        same(a, b)


def test_a_sample_hangs_on_its_index_and_epoch_alone(dataset):
    together = dataset.batch(torch.tensor([4, 9, 31]), epoch=6)
    alone = dataset.batch([31], epoch=6)
    assert together.captions[2] == alone.captions[0]
    # sums of a matrix product may differ in their last bit with its size
    torch.testing.assert_close(together.images[2:], alone.images)


@pytest.mark.parametrize("bad", [[50], [-1], [3, 99]])
def test_an_index_outside_is_refused(dataset, bad):
    with pytest.raises(IndexError, match=r"0\.\.49 \(shapes, train\)"):
        dataset.batch(bad)


@pytest.mark.parametrize(
    ("batch_size", "world_size", "match"),
    [(51, 1, "1..50"), (0, 1, "1..50"), (7, 2, "multiple of the 2 processes; got 7")],
)
def test_a_batch_that_cannot_be_filled_is_refused(
    dataset, batch_size, world_size, match
):
    with pytest.raises(ValueError, match=match):
        next(dataset.batches(batch_size, world_size=world_size))


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("shape", {}, "name must be one of 'shapes'.* got 'shape'"),
        ("shapes", {"split": "dev"}, "split must be one of train.* got 'dev'"),
        ("shapes", {"language": "fr"}, "language must be one of .* got 'fr'"),
        ("shapes", {"image_size": 60}, "image_size must be one of .* got 60"),
        ("shapes", {"image_size": "64"}, "image_size must be a whole number"),
        (
            "shapes",
            {"colour": "red"},
            "options of 'shapes' are: .*objects.* got colour",
        ),
        ("shapes", {"objects": (0, 1)}, r"objects must be numbers from 1 to 4"),
        ("shapes", {"objects": ()}, r"objects must be numbers from 1 to 4"),
        ("shapes", {"kinds": ("pairs",)}, "kinds must be one of .* got 'pairs'"),
        ("shapes", {"kinds": ("two",), "objects": (1,)}, "do not occur with objects"),
        ("shapes", {"size": 0}, "size must be at least 1"),
        ("shapes", {"seed": -1}, "seed .*must be at least 0; got -1"),
    ],
)
def test_load_dataset_names_what_is_wrong(name, arguments, match):
    with pytest.raises(ValueError, match=match):
        load_dataset(name, **arguments)
