"""Captions, pictures, and both: what the trained model can be asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmgen.interfaces import Describes, Draws, Exports, Imagines, Matches, Weighs
from mmgen.layers.logits import choose, filtered
from mmgen.models.autoregressive import ARConfig, ARSampler, shifted
from mmgen.models.codes import OPEN
from mmgen.models.joint import (
    JointSampler,
    JointTask,
    Language,
    PictureWriter,
    begin_writer,
)
from mmgen.pretrained import load
from mmgen.sampling import seeded_noise
from mmgen.training import TrainingConfig, build, fit
from tests.models.joint.toy import (
    CAPTIONS,
    CONFIG,
    LENGTHS,
    WORDS,
    batch,
    coder,
    data,
    every_caption,
    every_picture,
    sampler_of,
    task,
)
from tests.models.steps import OneStep
from tests.models.tiny_codes import autoencoder_run, world

SAID = ["red", "star red", "red star star"]


@pytest.fixture(scope="module")
def model() -> JointSampler:
    return sampler_of(task())


def test_it_can_do_what_it_says(model: JointSampler) -> None:
    for verb in (Draws, Describes, Imagines, Matches, Weighs, Exports):
        assert isinstance(model, verb)
    assert model.languages == ("en",)
    assert model.sample(SAID).shape == (3, 3, 16, 16)
    assert len(model.describe(batch().images)) == 4
    assert JointSampler.options() == ARSampler.options()


# ------------------------------------------------------------------------ likelihoods


def test_the_likelihoods_are_those_of_all_that_can_be(model: JointSampler) -> None:
    tokens, lengths = every_caption()
    real = lengths > 0
    said = [WORDS.decode(row[None])[0] for row in tokens[real]]
    known = [i for i, caption in enumerate(said) if "<unk>" not in caption]
    captions = [said[i] for i in known]
    images = batch().images[:1].expand(len(captions), -1, -1, -1)
    with torch.no_grad():
        writer = PictureWriter(model.language, model.fusion, WORDS)
        for found, each, about in (
            (model.caption_log_likelihood(captions), model.language, torch.zeros(1, 0)),
            (
                model.caption_log_likelihood(captions, images),
                writer,
                model.look(images[:1]),
            ),
        ):
            for row, log_p in zip(captions, found, strict=True):
                state, last = each.enter(about), each.starts("en", about)
                told = [*WORDS.encode([row], 3)[0][0].tolist()]
                sum_p = torch.zeros(())
                for at, token in enumerate(told):
                    logits, state = each.step(last, at, state)
                    sum_p = sum_p + logits.log_softmax(dim=1)[0, token]
                    last = torch.tensor([token])
                    if token == 0:
                        break
                torch.testing.assert_close(log_p, sum_p, rtol=1e-4, atol=1e-4)


def test_likelihoods_and_scores_of_pictures(model: JointSampler) -> None:
    shown = batch()
    found = model.log_likelihood(shown.images[:3], SAID)
    scores = model.scores(shown.images[:3], SAID)
    torch.testing.assert_close(scores.diagonal(), found, rtol=1e-5, atol=1e-5)
    pictures, codes = every_picture(), model.tokenizer.encode(shown.images).flatten(1)
    tokens, lengths = model.read_captions(SAID[:1])
    with torch.no_grad():
        log_p = model.log_probability(
            tokens.expand(81, -1), lengths.expand(81), pictures
        )
    at = (pictures == codes[0]).all(dim=1)
    torch.testing.assert_close(found[:1], log_p[at], rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------ the cache


def test_m_reads_with_a_cache_as_without(model: JointSampler) -> None:
    tokens, _ = every_caption()
    with torch.no_grad():
        states = model.language(tokens)
        state, last = model.language.enter(tokens), model.language.starts("en", tokens)
        for at in range(3):
            read = model.language.read(last, at, state)
            torch.testing.assert_close(read, states[:, at], rtol=1e-5, atol=1e-5)
            last = tokens[:, at]


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_codes_are_written_with_a_cache_as_without(guidance: float) -> None:
    model = sampler_of(task(caption_dropout=0.1))
    noise = seeded_noise(3, 4, seed=5)
    written = model.write(SAID, noise=noise, guidance=guidance).flatten(1)
    tokens, lengths = model.read_captions(SAID)
    codes = torch.zeros_like(written)
    with torch.no_grad():
        for i in range(4):
            told, untold = (
                model.writer.tell(
                    model.told(tokens, each), shifted(model.writer, codes)
                )[:, i]
                for each in (lengths, torch.zeros_like(lengths))
            )
            logits = untold + guidance * (told - untold)
            codes[:, i] = choose(filtered(logits), noise[:, i])
    assert torch.equal(codes, written)


def test_captions_are_drawn_as_often_as_they_are_likely(model: JointSampler) -> None:
    """Of those of known words alone, which is what a model writes."""
    drawn = model.say(4000, seed=1)
    captions = sorted(set(drawn))
    shares = torch.tensor([drawn.count(caption) / 4000 for caption in captions])
    rows = [WORDS.encode([caption], 3)[0] for caption in captions]
    for caption, share, row in zip(captions, shares, rows, strict=True):
        state = model.language.enter(row)
        last, expected = model.language.starts("en", row), 1.0
        for at in range(3):
            with torch.no_grad():
                logits, state = model.language.step(last, at, state)
            logits[:, 1] = -torch.inf  # not <unk>
            if at == 0:
                logits[:, 0] = -torch.inf  # at least one word
            expected *= logits.softmax(dim=1)[0, row[0, at]].item()
            last = row[:, at]
            if last.item() == 0:
                break
        error = 4 * (expected * (1 - expected) / 4000) ** 0.5 + 1e-3
        assert share.item() == pytest.approx(expected, abs=error), caption
    assert len(captions) > 5


# ---------------------------------------------------------------- ways between the two


def test_both_from_nothing(model: JointSampler) -> None:
    pictures, captions = model.imagine(5, seed=2)
    assert captions == model.say(5, seed=2)
    noise = seeded_noise(5, 3 + 4, 2)[:, 3:]
    assert torch.equal(pictures, model.sample(captions, noise=noise))


def test_half_a_picture_is_completed(model: JointSampler) -> None:
    codes = torch.full((3, 2, 2), OPEN)
    codes[:, 0] = 1
    assert torch.equal(model.write(SAID, codes=codes)[:, 0], codes[:, 0])
    drawn = model.complete(SAID, codes, seed=4)
    assert torch.equal(drawn, model.sample(SAID, seed=4, codes=codes))


def test_descriptions_follow_their_pictures(model: JointSampler) -> None:
    images = batch().images
    greedy = model.describe(images)
    assert model.describe(images[:2]) == greedy[:2]
    best = model.describe(images, beams=40, length_power=0.0)
    likelier = model.caption_log_likelihood(best, images)
    assert (likelier >= model.caption_log_likelihood(greedy, images) - 1e-5).all()
    begun = model.describe(images, prompt="star")
    assert all(caption.startswith("star") for caption in begun)
    assert model.describe(images, temperature=1.0, seed=1) != model.describe(
        images, temperature=1.0, seed=2
    )


def test_the_graph_is_the_sampler(model: JointSampler) -> None:
    graph = model.graph()
    (logits,) = graph.module(*graph.inputs.values())
    tokens, lengths, codes = graph.inputs.values()
    told = logits.log_softmax(dim=2).gather(2, codes[:, :, None])[:, :, 0].sum(dim=1)
    with torch.no_grad():
        expected = model.log_probability(tokens, lengths, codes)
    torch.testing.assert_close(told, expected)


# ------------------------------------------------------------------ beginnings and runs


def ar() -> ARSampler:
    """An autoregressive model of the toy's words, its tables of G's ranks."""
    torch.manual_seed(7)
    config = ARConfig(width=12, depth=1, heads=2)
    made = ARSampler(config, WORDS, 3, coder().init_args()).eval()
    made.tokenizer.load_state_dict(coder().state_dict())
    made.writer.codebook.copy_(coder().codebook())
    for parameter in made.writer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        for table, rank in ((made.writer.pieces, 3), (made.writer.head, 2)):
            table.weight.copy_(
                torch.randn(len(table.weight), rank) @ table.weight[:rank]
            )
    return made


def test_g_begins_as_the_model_of_codes_that_it_is_given() -> None:
    given = ar()
    config = JointTask.requires(CONFIG)
    assert "begun" not in config
    made = JointTask.build(
        type(CONFIG)(**{**vars(CONFIG), "begun": "some"}),
        data(),
        {"tokenizer": coder(), "begun": given},
    )
    model, images = sampler_of(made), batch().images
    torch.testing.assert_close(
        model.log_likelihood(images[:3], SAID),
        given.log_likelihood(images[:3], SAID),
        rtol=1e-4,
        atol=1e-4,
    )
    assert torch.equal(model.write(SAID, seed=3), given.write(SAID, seed=3))


def test_a_model_that_g_cannot_begin_as() -> None:
    writer, given = task().model.writer, ar()
    with pytest.raises(ValueError, match=r"autoregressive model .*'x' is a Linear"):
        begin_writer(writer, WORDS, torch.nn.Linear(2, 2), "x")
    other = type(WORDS)(["<pad>", "<unk>", "red", "moon"])
    with pytest.raises(ValueError, match="model of the data set's words"):
        begin_writer(writer, other, given, "x")
    deeper = task(depth=2).model.writer
    with pytest.raises(ValueError, match=r"in 'x' \d+ of \d+ tensors do not fit"):
        begin_writer(deeper, WORDS, given, "x")
    given.writer.codebook.add_(1)
    with pytest.raises(ValueError, match=r"codes of config\.tokenizer"):
        begin_writer(writer, WORDS, given, "x")


def training(folder: Path, **changes: object) -> TrainingConfig:
    return TrainingConfig(
        steps=2,
        batch_size=4,
        accelerator="cpu",
        progress="none",
        tensorboard=False,
        out=str(folder),
        **changes,  # type: ignore[arg-type]
    )


def test_a_chain_of_trainings(tmp_path: Path) -> None:
    """M is trained on captions first; then nothing is begun anew but F and G."""
    name = str(autoencoder_run(tmp_path / "codes"))
    sizes = {**vars(CONFIG), "tokenizer": name, "caption_dropout": 0.1}
    words = {**sizes, "multi_weight": 0.0, "generate_weight": 0.0}
    first = build(JointTask, type(CONFIG)(**words), world())
    plain = {"ema_decay": 0.0}  # what is stored are the last weights themselves
    fit(first, world(), training(tmp_path / "words", **plain))
    kept = {**sizes, "language_rate": 0.0}  # so that M must stay as it is
    second = build(JointTask, type(CONFIG)(**kept), world())
    begun = {k: v.clone() for k, v in second.model.state_dict().items()}
    out, start = tmp_path / "joint", {"start_from": str(tmp_path / "words")}
    run = fit(second, world(), training(out, **plain, **start))
    loaded = load(out)
    learned = load(tmp_path / "words").language.state_dict()
    for key, value in loaded.language.state_dict().items():
        assert torch.equal(value, learned[key]), key
    assert not torch.equal(learned["words.weight"], begun["language.words.weight"])
    for name in ("fusion", "writer"):  # two steps away from where they were
        value = getattr(loaded, name).state_dict()
        moved = {k: (v - begun[f"{name}.{k}"]).abs().max() for k, v in value.items()}
        assert 0 < max(v for k, v in moved.items() if k.endswith("weight")) < 0.02
    assert isinstance(loaded, JointSampler)
    images = world().batch(range(3)).images
    assert loaded.describe(images) == run.sampler().describe(images)
    again = JointSampler.from_args(json.loads(json.dumps(loaded.init_args())))
    again.load_state_dict(loaded.state_dict())
    captions = world().batch(range(3)).captions
    assert torch.equal(again.eval().sample(captions), loaded.sample(captions))
    stored = loaded.init_args()["config"]
    assert "learning_rate" not in stored and stored["generate_weight"] == 1.0


def test_what_was_not_trained_is_not_asked_for() -> None:
    model = sampler_of(task(multi_weight=0.0, generate_weight=0.0))
    assert len(model.say(2)) == 2
    images = batch().images[:1]
    for ask in (
        lambda: model.sample(["red"]),
        lambda: model.imagine(1),
        lambda: model.log_likelihood(images, ["red"]),
    ):
        with pytest.raises(ValueError, match="generate_weight above 0"):
            ask()
    for ask in (
        lambda: model.describe(images),
        lambda: model.caption_log_likelihood(["red"], images),
    ):
        with pytest.raises(ValueError, match="multi_weight above 0"):
            ask()


# ---------------------------------------------------------------------------- bad input


def test_configs_out_of_range() -> None:
    for changes, message in (
        ({"fusion": "product"}, "fusion must be one of concatenation, sum"),
        ({"text_weight": -1.0}, "at least 0"),
        (
            {"text_weight": 0.0, "multi_weight": 0.0, "generate_weight": 0.0},
            "one of them above",
        ),
        ({"language_rate": -0.1}, "language_rate must be at least 0"),
        ({"rank": 0}, "rank must be at least 1"),
        ({"caption_dropout": 1.0}, "caption_dropout must lie"),
    ):
        with pytest.raises(ValueError, match=message):
            type(CONFIG)(**{**vars(CONFIG), **changes})


def test_tasks_that_cannot_be_built() -> None:
    def built(frozen: dict, **changes: object) -> None:
        JointTask.build(type(CONFIG)(**{**vars(CONFIG), **changes}), data(), frozen)

    with pytest.raises(ValueError, match="image_size must be the data set's, 16"):
        built({"tokenizer": coder()}, image_size=32)
    with pytest.raises(ValueError, match="must name an autoencoder of codes"):
        built({})
    large = type(coder())(coder().config, 32)
    with pytest.raises(ValueError, match=r"pictures of 16 pixels.* trained on 32"):
        built({"tokenizer": large})
    with pytest.raises(ValueError, match="must name a matching model"):
        built({"tokenizer": coder(), "aligned": torch.nn.Linear(2, 2)}, aligned="x")


class Lacking:
    """A vocabulary without the symbol that ends captions."""

    tokens = ("red", "star")


def test_words_without_an_end() -> None:
    with pytest.raises(ValueError, match="vocabulary must begin with '<pad>'"):
        Language(CONFIG, Lacking(), 3)  # type: ignore[arg-type]


def test_a_batch_that_lacks_a_modality() -> None:
    made, shown = task(), batch()
    without: list[tuple[object, str]] = [
        (replace(shown, images=torch.zeros(4, 0)), "must hold pictures"),
        (replace(shown, images=torch.zeros(4, 3, 32, 32)), r"\(B, 3, 16, 16\)"),
        (replace(shown, lengths=torch.zeros_like(LENGTHS)), "at least one word"),
    ]
    for wrong, message in without:
        with pytest.raises(ValueError, match=message):
            made.training_step(wrong, OneStep())  # type: ignore[arg-type]


def test_what_cannot_be_asked(model: JointSampler) -> None:
    images: Tensor = batch().images
    with pytest.raises(ValueError, match=r"of shape \(B, 3, 16, 16\)"):
        model.describe(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="language must be one of en"):
        model.describe(images, "zh")
    with pytest.raises(ValueError, match="prompt must not be empty"):
        model.describe(images, prompt=" ")
    with pytest.raises(ValueError, match="beams look for the likeliest"):
        model.describe(images, beams=2, temperature=1.0)
    with pytest.raises(ValueError, match="count must be at least 1"):
        model.say(0)
    with pytest.raises(ValueError, match="language must be one of en"):
        model.imagine(1, 0, "zh")
    with pytest.raises(ValueError, match="captions must be one for each picture"):
        model.caption_log_likelihood(["red"], images)
    with pytest.raises(ValueError, match=r"codes must have shape \(1, 2, 2\)"):
        model.complete(["red"], torch.zeros(1, 3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="trained with empty captions"):
        model.sample(["red"], guidance=2.0)
    with pytest.raises(ValueError, match="got 5"):
        model.log_likelihood(images, SAID + SAID[:2])
    assert CAPTIONS.shape == (4, 3)
