"""Two towers: their step is the objective, and their matcher gives its cosines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmgen.configs import architecture
from mmgen.data import CaptionedDataset, load_dataset
from mmgen.interfaces import Draws, Matches, MatchesChosen
from mmgen.metrics import r_precision
from mmgen.models.alignment import AlignmentConfig, AlignmentMatcher, AlignmentTask
from mmgen.objectives.contrastive import info_nce, sigmoid_loss, triplet_loss
from mmgen.presets import find
from mmgen.training import Step, fit

TINY = AlignmentConfig(16, 6, 8, 10, width=8, grid=4, patch=2)


@pytest.fixture(scope="module")
def data() -> CaptionedDataset:
    return load_dataset("shapes", "train", 16, "both", objects=(1, 2), size=64)


@pytest.fixture
def task(data: CaptionedDataset) -> AlignmentTask:
    torch.manual_seed(0)
    return AlignmentTask.build(TINY, data)


def place(size: int, seed: int = 0) -> Step:
    return Step(
        index=0,
        phase="alignment",
        accumulating=False,
        device=torch.device("cpu"),
        rank=0,
        world_size=1,
        seed=seed,
        first=0,
        size=size,
        global_size=size,
        generator=torch.Generator(),
    )


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("objective", ["clip", "sigmoid", "triplet"])
def test_a_step_is_the_objective_of_the_batch(
    data: CaptionedDataset, objective: Any, hard: bool
) -> None:
    torch.manual_seed(0)
    config = replace(TINY, objective=objective, hard_negatives=hard)
    task = AlignmentTask.build(config, data)
    for network in task.networks.values():
        network.eval()
    batch = data.batch([*range(8), 0])  # the last shows and says what the first does
    found = task.training_step(batch, place(9))
    tokens, lengths, ids = batch.tokens, batch.lengths, batch.class_ids
    if hard:
        assert data.alternatives is not None
        chances = place(9).rand(9, 3).tolist()
        wrong = data.alternatives.hard_negatives(batch, chances)
        assert not (wrong[2] == ids).any()
        tokens, lengths = torch.cat([tokens, wrong[0]]), torch.cat([lengths, wrong[1]])
        ids = torch.cat([ids, wrong[2]])
    shown = task.networks["images"](batch.images)
    said = task.networks["captions"](tokens, lengths)
    cosines = normalize(shown, dim=1) @ normalize(said, dim=1).T
    told = batch.class_ids, ids
    expected = {
        "clip": lambda: info_nce(shown, said, 1 / 0.07, *told),
        "sigmoid": lambda: sigmoid_loss(shown, said, 10.0, -5.0, *told),
        "triplet": lambda: triplet_loss(cosines, 0.2, *told),
    }[objective]()
    torch.testing.assert_close(found["loss"], expected)
    assert ("scale" in found) == (objective != "triplet")
    assert ("hard_negatives_refused" in found) == hard
    best = (cosines[:, :9].argmax(dim=1) == torch.arange(9)).float().mean()
    assert found["retrieval_in_batch"] == best
    found["loss"].backward()
    without = [
        f"{name}.{key}"
        for name, network in task.networks.items()
        for key, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


def test_a_scale_that_ran_away_is_brought_back(
    task: AlignmentTask, data: CaptionedDataset
) -> None:
    temperature: Any = task.networks["similarity"].temperature
    with torch.no_grad():
        temperature.log_scale.fill_(1e4)
    found = task.training_step(data.batch(range(8)), place(8))
    assert found["loss"].isfinite()
    assert found["scale"].item() == pytest.approx(100)
    assert temperature.log_scale.item() == pytest.approx(4.605, abs=1e-3)


def test_bad_input_is_named(task: AlignmentTask, data: CaptionedDataset) -> None:
    with pytest.raises(ValueError, match=r"must be the data set's, 16; got 32"):
        AlignmentTask.build(replace(TINY, image_size=32), data)
    other: Any = "cosine"
    with pytest.raises(ValueError, match=r"clip, sigmoid, triplet; got 'cosine'"):
        AlignmentTask.build(replace(TINY, objective=other), data)
    emoji = load_dataset("emoji", "train", 16)
    with pytest.raises(ValueError, match=r"hard_negatives needs.*'emoji' does not"):
        AlignmentTask.build(replace(TINY, hard_negatives=True), emoji)
    with pytest.raises(ValueError, match=r"at least 2 samples.*got 1"):
        task.check_parts(1, 1)
    with pytest.raises(ValueError, match=r"at least 2 samples.*got 1"):
        task.training_step(data.batch(range(1)), place(1))
    matcher = task.sampler(task.networks)
    with pytest.raises(ValueError, match=r"images must be 16 x 16"):
        matcher.embed_images(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="images must be finite"):
        matcher.embed_images(torch.full((2, 3, 16, 16), torch.nan))
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\); got \(3, 16, 16\)"):
        matcher.embed_images(torch.zeros(3, 16, 16))
    with pytest.raises(ValueError, match="empty"):
        matcher.embed_captions(["a red circle", ""])


@pytest.mark.filterwarnings("ignore:.*qwxz")
def test_captions_without_a_known_word_are_refused(task: AlignmentTask) -> None:
    with pytest.raises(ValueError, match="qwxz"):
        task.sampler(task.networks).embed_captions(["qwxz"])


def test_the_matcher_gives_cosines_of_unit_vectors(
    task: AlignmentTask, data: CaptionedDataset
) -> None:
    matcher, batch = task.sampler(task.networks), data.batch(range(12))
    assert isinstance(matcher, Matches) and isinstance(matcher, MatchesChosen)
    assert not isinstance(matcher, Draws)
    shown = matcher.embed_images(batch.images)
    said = matcher.embed_captions(batch.captions)
    for vectors in (shown, said):
        assert vectors.shape == (12, 6) and not vectors.requires_grad
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(12))
    scores = matcher.scores(batch.images, batch.captions)
    torch.testing.assert_close(scores, shown @ said.T)
    one: Tensor = matcher.embed_images(batch.images[3:4])  # in any batch
    torch.testing.assert_close(one, shown[3:4])
    chosen = torch.tensor([[0, 5], [3, 3]] * 6)
    for direction, rows in (("image_to_text", scores), ("text_to_image", scores.T)):
        found = matcher.candidate_scores(
            batch.images, batch.captions, chosen, direction
        )
        torch.testing.assert_close(found, rows.gather(1, chosen))


def test_a_matcher_is_built_again(task: AlignmentTask, data: CaptionedDataset) -> None:
    matcher, batch = task.sampler(task.networks), data.batch(range(6))
    args = matcher.init_args()
    assert args["config"] == architecture(TINY)
    assert not set(args["config"]) & AlignmentConfig.TRAINING
    again = AlignmentMatcher.from_args(args).eval()
    again.load_state_dict(matcher.state_dict())
    expected = matcher.scores(batch.images, batch.captions)
    assert torch.equal(again.scores(batch.images, batch.captions), expected)


@pytest.mark.slow
def test_towers_learn_to_match_one_object() -> None:
    preset = find("align", "laptop", "shapes")
    data = load_dataset(**preset.data)
    torch.manual_seed(0)
    task = AlignmentTask.build(preset.config, data)
    training = replace(preset.training, accelerator="cpu", progress="none")
    matcher = fit(task, data, replace(training, steps=300)).sampler()
    held = load_dataset(**{**preset.data, "split": "test"}).batch(range(200))
    found = r_precision(
        held.images,
        held.captions,
        matcher,
        class_ids=held.class_ids,
        scenes=held.scenes,
    )
    assert found.precision.value > 0.3
