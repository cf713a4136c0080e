"""Batches: mask, slices, moving, and refusing what does not fit together."""

import pytest
import torch

from mmgen.data import Batch


def make(size: int = 3, **changes) -> Batch:
    fields = {
        "images": torch.arange(size * 12.0).reshape(size, 3, 2, 2),
        "tokens": torch.tensor([[2, 3, 4, 0], [5, 0, 0, 0], [2, 3, 4, 5]])[:size],
        "lengths": torch.tensor([3, 1, 4])[:size],
        "class_ids": torch.arange(size),
        "captions": ["a b c", "d", "a b c d"][:size],
    }
    return Batch(**{**fields, **changes})


def test_mask_is_true_exactly_at_words():
    batch = make()
    assert batch.mask.dtype == torch.bool
    assert torch.equal(batch.mask, batch.tokens != 0)


def test_a_slice_holds_the_same_samples():
    batch = make(scenes=["x", "y", "z"], attributes=torch.arange(6).reshape(3, 2))
    part = batch[1:]
    assert len(part) == 2
    assert torch.equal(part.images, batch.images[1:])
    assert part.captions == ["d", "a b c d"]
    assert list(part.scenes) == ["y", "z"]
    assert torch.equal(part.attributes, batch.attributes[1:])
    assert part.indices is None


def test_to_moves_every_tensor_and_keeps_the_rest():
    moved = make(attributes=torch.zeros(3, 1)).to("meta")
    for name in ("images", "tokens", "lengths", "class_ids", "attributes"):
        assert getattr(moved, name).device.type == "meta", name
    assert moved.captions == make().captions


@pytest.mark.parametrize("name", ["images", "tokens", "lengths", "class_ids"])
def test_fields_of_another_size_are_refused_by_name(name):
    short = getattr(make(), name)[:2]
    with pytest.raises(ValueError, match=f"{name} must hold one entry a caption"):
        make(**{name: short})
