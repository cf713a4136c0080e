"""The reader: labels told from captions, and what it must not be asked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import layer_norm, one_hot

from mmgen.data import load_dataset
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.shapes import TAUGHT
from mmgen.models.reader import Reader, ReaderConfig, ReaderTask
from mmgen.pretrained import load
from mmgen.training import TrainingConfig, fit

TINY = ReaderConfig(feature_dim=6, embedding_dim=4)
ALONE = SimpleNamespace(gather=lambda tensor: tensor)  # the step of one process


@pytest.fixture(scope="module")
def pairs() -> CaptionedDataset:
    return load_dataset(
        "shapes", "train", 16, objects=(1, 2), attributes=TAUGHT, size=64
    )


def test_the_loss_by_hand(pairs: CaptionedDataset) -> None:
    torch.manual_seed(0)
    one = load_dataset("shapes", "train", 16, objects=(1,), size=8)
    task, batch = ReaderTask.build(TINY, one), one.batch(range(5))
    found = task.training_step(batch, ALONE)["loss"]
    sentence = task.networks["text"](batch.tokens, batch.lengths)[1]
    logits = task.networks["labels"].linear(layer_norm(sentence, (6,)))
    told = one.alternatives.specified(batch)
    costs, first = [], 0
    for column, said, size in zip(batch.attributes.T, told.T, task.sizes, strict=True):
        options = logits[:, first : first + size + 1]  # "does not apply" is the first
        costs += [
            -row.log_softmax(0)[value + 1]
            for row, value, counts in zip(options, column, said, strict=True)
            if counts
        ]
        first += size + 1
    assert 5 < len(costs) < batch.attributes.numel()
    torch.testing.assert_close(found, torch.stack(costs).mean())
    # who knows nothing pays log (n + 1) for each label
    for parameter in task.networks["labels"].parameters():
        torch.nn.init.zeros_(parameter)
    ignorant = task.training_step(batch, ALONE)["loss"].item()
    counts = told.sum(dim=0).tolist()
    paid = sum(c * math.log(n + 1) for c, n in zip(counts, task.sizes, strict=True))
    assert ignorant == pytest.approx(paid / sum(counts), rel=1e-5)


def test_of_a_pair_whose_sides_are_open_either_order_will_do(
    pairs: CaptionedDataset,
) -> None:
    task = ReaderTask.build(TINY, pairs)
    linear = task.networks["labels"].linear
    seen = 0
    for row in range(64):
        batch = pairs.batch([row])
        one = batch.attributes[0]
        other = pairs.alternatives.equally_right(batch)[0, 0]
        both = (one != other) & pairs.alternatives.specified(batch)[0]

        def cost(rows: torch.Tensor, batch=batch) -> float:
            """Of somebody who is sure of these rows."""
            sure = [
                20.0 * one_hot(value + 1, size + 1)
                for value, size in zip(rows, task.sizes, strict=True)
            ]
            with torch.no_grad():
                linear.weight.zero_()
                linear.bias.copy_(torch.cat(sure))
            return task.training_step(batch, ALONE)["loss"].item()

        assert cost(one) < 1e-5 and cost(other) < 1e-5
        # half of one order and half of the other is no order
        if both.sum() > 1:
            mixed, first = one.clone(), both.nonzero()[0]
            mixed[first] = other[first]
            assert cost(mixed) > 1
            seen += 1
    assert seen > 3


def test_labels_read_are_the_likeliest_values(pairs: CaptionedDataset) -> None:
    reader = Reader(TINY, pairs.vocabulary, pairs.max_tokens, pairs.attributes)
    sizes = [len(values) for values in pairs.attributes.values()]
    wanted = [size - 1 - i % 3 for i, size in enumerate(sizes)]
    wanted[2] = -1  # none applies
    sure = [
        one_hot(torch.tensor(value + 1), size + 1).float()
        for value, size in zip(wanted, sizes, strict=True)
    ]
    with torch.no_grad():
        reader.labels.linear.weight.zero_()
        reader.labels.linear.bias.copy_(torch.cat(sure))
    assert reader.read_labels(["a red star", "a circle"]).tolist() == [wanted] * 2


def test_a_reader_is_built_again_and_exported(pairs: CaptionedDataset) -> None:
    torch.manual_seed(0)
    reader = Reader(TINY, pairs.vocabulary, pairs.max_tokens, pairs.attributes).eval()
    again = Reader.from_args(json.loads(json.dumps(reader.init_args()))).eval()
    again.load_state_dict(reader.state_dict())
    captions = ["a red circle", "a blue star above a green square"]
    labels = reader.read_labels(captions)
    assert labels.shape == (2, len(TAUGHT)) and labels.min() >= -1
    assert torch.equal(labels, again.read_labels(captions))
    graph = reader.graph()
    (logits,) = graph.module(*graph.inputs.values())
    assert logits.shape == (3, sum(len(v) + 1 for v in pairs.attributes.values()))
    with pytest.raises(ValueError, match="at least one caption"):
        reader.read_labels([])


def test_a_data_set_without_attributes_is_refused(pairs: CaptionedDataset) -> None:
    bare = SimpleNamespace(attributes={}, name="bare")
    with pytest.raises(ValueError, match="needs a data set with attributes; 'bare'"):
        ReaderTask.build(TINY, bare)


def test_the_published_reader_reads_which_object_is_which() -> None:
    reader = load("reader-shapes64")
    captions = [
        "a red circle left of a blue square",
        "a blue square left of a red circle",
        "红色的圆形在蓝色的正方形左边",
    ]
    one, other, chinese = reader.read_labels(captions)
    names = list(reader.attributes)
    for name in ("shape", "colour"):
        first, second = names.index(name), names.index(f"other_{name}")
        assert one[first] == other[second] != one[second] == other[first]
        assert chinese[first] == one[first] and chinese[second] == one[second]


@pytest.mark.slow
def test_training_teaches_it(tmp_path: Path) -> None:
    data = load_dataset(
        "shapes", "train", 16, objects=(1, 2), attributes=TAUGHT, size=4000
    )
    torch.manual_seed(0)
    task = ReaderTask.build(ReaderConfig(), data)
    settings = {"batch_size": 64, "log_every": 20, "progress": "none"}
    run = fit(task, data, TrainingConfig(steps=100, **settings))
    losses = [row["loss"] for row in run.history]
    assert losses[-1] < 0.5 * losses[0]
