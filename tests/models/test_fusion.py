"""Fusion: verdicts and answers by hand, lost sides, and what it must not be asked."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmgen.data import load_dataset
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.shapes import parse
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import Answers, Matches, Verifies
from mmgen.layers.fusion import FUSIONS
from mmgen.models.damsm import DAMSMConfig, DAMSMMatcher
from mmgen.models.fusion import FusionConfig, FusionSampler, FusionTask
from mmgen.pretrained import load
from mmgen.training import Run, TrainingConfig, fit

TINY = FusionConfig(
    16,
    feature_dim=8,
    width=4,
    grid=4,
    patch=2,
    embedding_dim=4,
    hidden=8,
    modality_dropout=0.0,
)


@pytest.fixture(scope="module")
def scenes() -> CaptionedDataset:
    return load_dataset("shapes", "train", 16, language="both", objects=(1, 2), size=64)


def new_task(data: CaptionedDataset, **changes: Any) -> FusionTask:
    torch.manual_seed(0)
    return FusionTask.build(replace(TINY, **changes), data)


class Fixed:
    """The step of one process, with the same chances for all."""

    def __init__(self, chance: float = 0.25) -> None:
        self.chance = chance

    def rand(self, *shape: int) -> Tensor:
        return torch.full(shape, self.chance)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_loss_by_hand(scenes: CaptionedDataset, fusion: str) -> None:
    """Captions and questions one by one, each with its own picture."""
    task, batch = new_task(scenes, fusion=fusion), scenes.batch(range(5))
    network = task.networks["network"].eval()
    found = task.training_step(batch, Fixed())
    chances = [[0.25] * 3] * 5
    wrong, kinds = scenes.alternatives.wrong_captions(batch, chances)
    asked = scenes.alternatives.questions(batch, chances)
    verdicts, answers = [], []
    for i in range(5):
        image = batch.images[i : i + 1]

        def logits(text: str, image: Tensor = image) -> tuple[Tensor, Tensor]:
            return network(image, *task.vocabulary.encode([text], scenes.max_tokens))

        true = logits(batch.captions[i])[0]
        verdicts.append(cross_entropy(true, torch.tensor([0])))
        kind = task.examination.verdicts.index(kinds[i])
        verdicts.append(cross_entropy(logits(wrong[i])[0], torch.tensor([kind])))
        told = task.examination.answers.index(asked[i].answer)
        answers.append(cross_entropy(logits(asked[i].text)[1], torch.tensor([told])))
    torch.testing.assert_close(found["verdict"], torch.stack(verdicts).mean())
    # both questions are the same one here
    torch.testing.assert_close(found["answer"], torch.stack(answers).mean())
    torch.testing.assert_close(found["loss"], found["verdict"] + found["answer"])


def test_texts_meet_their_own_pictures(scenes: CaptionedDataset) -> None:
    """Another picture changes the rows of its texts, and no others."""
    task, batch = new_task(scenes), scenes.batch(range(4))
    network = task.networks["network"].eval()
    tokens, lengths, *_ = task.examined(batch, torch.full((4, 4, 4), 0.5))
    assert len(tokens) == 16
    before = network(batch.images, tokens, lengths)
    images = batch.images.clone()
    images[2] = -images[2]
    after = network(images, tokens, lengths)
    for old, new in zip(before, after, strict=True):
        changed = (old != new).any(dim=1).nonzero().flatten().tolist()
        assert changed == [2, 6, 10, 14]


def test_captions_are_as_their_verdicts_say(scenes: CaptionedDataset) -> None:
    task, batch = new_task(scenes), scenes.batch(range(32))
    chances = torch.rand(32, 4, 4, generator=torch.Generator().manual_seed(0))
    tokens, lengths, verdicts, answers = task.examined(batch, chances)
    said = scenes.vocabulary.decode(tokens[:64])
    assert [parse(text).id for text in said[:32]] == batch.class_ids.tolist()
    same = [
        parse(text).id == right
        for text, right in zip(said[32:], batch.class_ids.tolist(), strict=True)
    ]
    assert not any(same)
    assert (verdicts[:32] == 0).all() and (verdicts[32:] > 0).all()
    assert len(verdicts[32:].unique()) > 4 and len(answers.unique()) > 10
    assert lengths.shape == (128,) and answers.shape == (64,)


def test_pairs_lose_a_side_as_often_as_asked(scenes: CaptionedDataset) -> None:
    task, batch = new_task(scenes, modality_dropout=0.5), scenes.batch(range(64))
    seen: list[Tensor] = []
    task.networks["network"].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[3])
    )
    generator = torch.Generator().manual_seed(0)
    step = SimpleNamespace(rand=lambda *s: torch.rand(s, generator=generator))
    for _ in range(8):
        task.training_step(batch, step)
    keeps = torch.cat(seen).float()
    assert len(keeps) == 8 * 64 * 4
    lost = (1 - keeps).mean(dim=0)
    margin = 4 * math.sqrt(0.25 * 0.75 / len(keeps))
    assert lost.tolist() == pytest.approx([0.25, 0.25], abs=margin)
    assert (keeps.sum(dim=1) >= 1).all()  # none loses both


def test_a_lost_side_is_as_if_it_were_not_there(scenes: CaptionedDataset) -> None:
    task, batch = new_task(scenes), scenes.batch(range(6))
    network = task.networks["network"].eval()
    pair = batch.images, batch.tokens, batch.lengths
    keeps = torch.tensor([[False, True]] * 3 + [[True, False]] * 3)
    found = network(*pair, keeps)[0]
    no_picture = network(None, batch.tokens, batch.lengths)[0]
    no_text = network(batch.images, None, None)[0]
    torch.testing.assert_close(found, torch.cat([no_picture[:3], no_text[3:]]))
    # and what it was changes nothing
    spoiled = torch.where(keeps[:, :1, None, None], batch.images, 0.7)
    again = network(spoiled, batch.tokens, batch.lengths, keeps)[0]
    assert torch.equal(again, found)


def test_one_pair_is_enough(scenes: CaptionedDataset) -> None:
    """Nothing is compared within a batch, so that one sample can be trained on."""
    task = new_task(scenes)
    task.networks["network"].eval()  # a batch norm cannot do with one
    loss = task.training_step(scenes.batch([3]), Fixed())["loss"]
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in task.networks["network"].parameters())


def test_without_questions_only_verdicts_are_learned(scenes: CaptionedDataset) -> None:
    found = new_task(scenes, questions=0).training_step(scenes.batch([1, 2]), Fixed())
    assert set(found) == {"loss", "verdict", "truth_right"}
    assert torch.equal(found["loss"], found["verdict"])


def matcher(scenes: CaptionedDataset, **changes: Any) -> DAMSMMatcher:
    sizes = {"feature_dim": 8, "embedding_dim": 4, "width": 4, "grid": 4, **changes}
    config = DAMSMConfig(16, patch=2, **sizes)
    return DAMSMMatcher(config, scenes.vocabulary, scenes.max_tokens)


def test_encoders_begin_as_those_that_are_aligned(scenes: CaptionedDataset) -> None:
    config, aligned = replace(TINY, aligned="some"), matcher(scenes)
    assert FusionTask.requires(TINY) == {}
    assert FusionTask.requires(config) == {"aligned": "some"}
    task = FusionTask.build(config, scenes, {"aligned": aligned})
    network = task.networks["network"]
    known = len(scenes.vocabulary)
    for own, other in (
        (network.pictures, aligned.image_encoder),
        (network.texts, aligned.text_encoder),
    ):
        given = other.state_dict()
        for key, value in own.state_dict().items():
            # questions have words that captions do not
            begun = value[:known] if key == "embedding.weight" else value
            assert torch.equal(begun, given[key]) and value is not given[key], key
        assert all(p.requires_grad for p in own.parameters())  # and learns further


def test_tokens_keep_their_vectors_in_another_order(scenes: CaptionedDataset) -> None:
    """Where the matcher's words stand elsewhere, and some are not there at all."""
    first, *others = scenes.vocabulary.tokens[2:]
    tokens = (*scenes.vocabulary.tokens[:2], *reversed(others))
    aligned = DAMSMMatcher(
        matcher(scenes).config, Vocabulary(tokens, "both"), scenes.max_tokens
    )
    torch.manual_seed(0)
    fresh = new_task(scenes).networks["network"].texts.embedding.weight
    torch.manual_seed(0)
    config = replace(TINY, aligned="some")
    task = FusionTask.build(config, scenes, {"aligned": aligned})
    found = task.networks["network"].texts.embedding.weight
    given = aligned.text_encoder.embedding.weight
    places = {token: i for i, token in enumerate(tokens)}
    for i, token in enumerate(task.vocabulary.tokens):
        wanted = given[places[token]] if token in places else fresh[i]
        assert torch.equal(found[i], wanted), token
    assert first not in places


def test_an_aligned_model_that_does_not_fit(scenes: CaptionedDataset) -> None:
    config = replace(TINY, aligned="some")
    for changes in ({"width": 8}, {"embedding_dim": 8}):
        with pytest.raises(ValueError, match=r"in 'some' \d+ of \d+ tensors do not"):
            FusionTask.build(config, scenes, {"aligned": matcher(scenes, **changes)})
    with pytest.raises(ValueError, match="must name a matching model"):
        FusionTask.build(config, scenes, {"aligned": torch.nn.Linear(2, 2)})


@pytest.fixture(scope="module")
def run(scenes: CaptionedDataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("fuse") / "run"
    config = TrainingConfig(
        steps=2, batch_size=8, accelerator="cpu", progress="none", out=str(out)
    )
    return fit(new_task(scenes), scenes, config)


def test_a_run_leaves_what_verifies_and_answers(
    run: Run, scenes: CaptionedDataset
) -> None:
    sampler = run.sampler()
    assert isinstance(sampler, Verifies) and isinstance(sampler, Answers)
    assert not isinstance(sampler, Matches)
    batch = scenes.batch(range(40))
    # more than are fused at a time
    said = sampler.verify(batch.images.repeat(2, 1, 1, 1), 2 * batch.captions)
    assert said.shape == (80, len(sampler.verdicts))
    torch.testing.assert_close(said.sum(dim=1), torch.ones(80))
    torch.testing.assert_close(said[:40], said[40:])
    one = sampler.verify(batch.images[5:6], batch.captions[5:6])
    torch.testing.assert_close(one[0], said[5])
    questions = ["how many objects are there?", "背景是什么颜色？"]
    told = sampler.answer(batch.images[:2], questions)
    assert set(told) <= set(sampler.answers)
    # without one side
    assert sampler.verify(None, batch.captions[:3]).shape[0] == 3
    assert len(sampler.answer(batch.images[:3], None)) == 3


def test_it_is_stored_and_loaded(run: Run, scenes: CaptionedDataset) -> None:
    sampler = run.sampler()
    args = json.loads(json.dumps(sampler.init_args()))
    again = FusionSampler.from_args(args)
    again.load_state_dict(sampler.state_dict())
    batch = scenes.batch(range(4))
    expected = sampler.verify(batch.images, batch.captions)
    assert torch.equal(again.eval().verify(batch.images, batch.captions), expected)
    assert "learning_rate" not in args["config"] and "questions" not in args["config"]
    loaded = load(run.folder)
    assert torch.equal(loaded.verify(batch.images, batch.captions), expected)
    assert loaded.answers == sampler.answers


def test_a_run_goes_on_and_is_drawn_from_by_its_folder_alone(run: Run) -> None:
    """The folder tells what can be asked, without the data set."""
    folder = Path(run.folder)
    about = json.loads((folder / "config.json").read_text())
    assert about["known"]["examination"]["wrong"]
    again = Run.load(folder)
    assert again.sampler().verdicts == run.sampler().verdicts
    longer = Run.resume(folder, steps=3)
    assert longer.manifest["steps"] == 3


def test_the_graph_is_the_sampler(run: Run) -> None:
    sampler = run.sampler()
    graph = sampler.graph()
    verdicts, answers = graph.module(*graph.inputs.values())
    texts = sampler.vocabulary.decode(graph.inputs["tokens"])
    said = sampler.network(
        graph.inputs["images"], graph.inputs["tokens"], graph.inputs["lengths"]
    )
    assert len(texts) == len(verdicts)
    assert torch.equal(verdicts, said[0]) and torch.equal(answers, said[1])


# ---------------------------------------------------------------------------- bad input


def test_configs_out_of_range(scenes: CaptionedDataset) -> None:
    with pytest.raises(ValueError, match="fusion must be one of concatenation, sum"):
        replace(TINY, fusion="product")
    with pytest.raises(ValueError, match="questions must be at least 0"):
        replace(TINY, questions=-1)
    with pytest.raises(ValueError, match=r"modality_dropout must lie in \[0, 1\)"):
        replace(TINY, modality_dropout=1.0)
    with pytest.raises(ValueError, match=r"image_size must be the data set's, 16"):
        FusionTask.build(replace(TINY, image_size=32), scenes)
    with pytest.raises(ValueError, match="hidden a multiple of heads"):
        new_task(scenes, hidden=6)


def test_data_that_cannot_be_examined(scenes: CaptionedDataset) -> None:
    known = {
        name: getattr(scenes, name)
        for name in ("name", "image_size", "language", "vocabulary", "max_tokens")
    }
    with pytest.raises(
        ValueError, match=r"can make a caption wrong .*; 'birds' cannot"
    ):
        FusionTask.build(
            TINY, SimpleNamespace(**{**known, "name": "birds"}, examination=None)
        )
    described = SimpleNamespace(
        **known, examination=scenes.examination, alternatives=None
    )
    task = FusionTask.build(TINY, described)
    with pytest.raises(ValueError, match="only a description"):
        task.training_step(scenes.batch([0]), Fixed())


def test_what_cannot_be_asked(run: Run, scenes: CaptionedDataset) -> None:
    sampler, batch = run.sampler(), scenes.batch(range(3))
    with pytest.raises(ValueError, match="images and captions must not both be None"):
        sampler.verify(None, None)
    with pytest.raises(ValueError, match="questions must be one for each picture"):
        sampler.answer(batch.images, ["where is the star?"])
    with pytest.raises(ValueError, match="must not be empty"):
        sampler.verify(batch.images[:1], [""])
    with pytest.raises(ValueError, match="images must be 16 x 16"):
        sampler.verify(torch.zeros(1, 3, 32, 32), ["a star"])
    with pytest.raises(ValueError, match="must be finite"):
        sampler.verify(torch.full((1, 3, 16, 16), float("nan")), ["a star"])
    with pytest.warns(UserWarning, match="never saw"):
        sampler.answer(batch.images[:1], ["is the star lonely?"])
