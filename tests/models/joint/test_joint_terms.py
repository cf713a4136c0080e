"""Each term of the loss by its definition, and what it teaches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import relu

from mmgen.layers.captions import Writer
from mmgen.models.codes import Told
from mmgen.models.joint import JointTask, PictureWriter
from tests.models.joint.toy import (
    CAPTIONS,
    LENGTHS,
    LONGEST,
    WORDS,
    batch,
    by_counting,
    every_caption,
    every_picture,
    sampler_of,
    task,
)
from tests.models.steps import OneStep

PARTS = ("language", "fusion", "writer")


def step_by_step(writer: Writer, about: Tensor) -> Tensor:
    """log p of every caption, (40,), each written word by word.

    Args:
        writer: M, or M and F.
        about: what it enters with, one row.
    """
    rows, lengths = every_caption()
    state = writer.enter(about.expand(len(rows), *about.shape[1:]))
    last, found = writer.starts("en", rows), torch.zeros(len(rows))
    for at in range(LONGEST):
        logits, state = writer.step(last, at, state)
        last = rows[:, at]
        told = logits.log_softmax(dim=1).gather(1, last[:, None])[:, 0]
        found += told * (at <= lengths)  # the end too, and nothing after it
    return found


def mean_by_counting(rows: Tensor, log_p: list[Tensor]) -> Tensor:
    """The mean over captions of the mean over their words, and their ends."""
    costs = []
    for i, length in enumerate(LENGTHS.tolist()):
        told = min(length + 1, LONGEST)
        costs.append(torch.stack(by_counting(rows, log_p[i], CAPTIONS[i], told)).mean())
    return torch.stack(costs).mean()


@torch.no_grad()
def test_text_is_what_captions_cost_without_a_picture() -> None:
    made = task()
    log_p = step_by_step(made.model.language, torch.zeros(1, 0))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert log_p.std() > 0.5
    found = made.training_step(batch(), OneStep())["text"]
    rows, _ = every_caption()
    torch.testing.assert_close(found, mean_by_counting(rows, [log_p] * len(CAPTIONS)))


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["cross-attention", "gated", "film"])
def test_multi_is_what_captions_cost_given_their_pictures(fusion: str) -> None:
    made = task(fusion=fusion)
    model = made.model
    writer = PictureWriter(model.language, model.fusion, WORDS)
    pictures = model.fusion.look(batch().images)
    log_p = [step_by_step(writer, pictures[i : i + 1]) for i in range(len(CAPTIONS))]
    for each in log_p:
        assert each.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert (log_p[0] - log_p[1]).abs().max() > 1e-3  # pictures make a difference
    found = made.training_step(batch(), OneStep())["multi"]
    rows, _ = every_caption()
    torch.testing.assert_close(found, mean_by_counting(rows, log_p))


@torch.no_grad()
def test_generate_is_what_codes_cost_given_their_captions() -> None:
    made = task()
    sampler, pictures = sampler_of(made), every_picture()
    codes = made.tokenizer.encode(batch().images).flatten(1)
    costs, firsts = [], []
    for i in range(len(CAPTIONS)):
        tokens = CAPTIONS[i : i + 1].expand(81, -1)
        lengths = LENGTHS[i : i + 1].expand(81)
        log_p = sampler.log_probability(tokens, lengths, pictures)
        assert log_p.double().exp().sum().item() == pytest.approx(1, abs=1e-5)
        firsts.append(log_p)
        costs.append(torch.stack(by_counting(pictures, log_p, codes[i], 4)).mean())
    assert (firsts[0] - firsts[1]).abs().max() > 1e-3  # captions make a difference
    found = made.training_step(batch(), OneStep())
    torch.testing.assert_close(found["generate"], torch.stack(costs).mean())
    log_2 = torch.log(torch.tensor(2.0))
    torch.testing.assert_close(found["bits"], found["generate"] * 4 / log_2)


@torch.no_grad()
def test_the_loss_is_their_weighted_sum() -> None:
    weights = {"text_weight": 0.5, "multi_weight": 2.0, "generate_weight": 3.0}
    found = task(**weights).training_step(batch(), OneStep())
    expected = 0.5 * found["text"] + 2 * found["multi"] + 3 * found["generate"]
    torch.testing.assert_close(found["loss"], expected)


# ---------------------------------------------------------------------------- gradients


def one_by_one(made: JointTask) -> Tensor:
    """The loss in loops: samples, words and codes by themselves, nothing padded."""
    model, config, shown = made.model, made.config, batch()
    codes = made.tokenizer.encode(shown.images).flatten(1)
    costs: list[Tensor] = []
    for i, length in enumerate(LENGTHS.tolist()):
        tokens = CAPTIONS[i : i + 1, :length]
        read = torch.cat([torch.tensor([[len(WORDS)]]), tokens], dim=1)
        places = torch.arange(length + 1)[:, None]
        vectors = model.language.embedding(read)
        states = model.language.transformer(vectors, places)  # (1, n + 1, W)
        image = shown.images[i : i + 1]
        text, multi, generate = [], [], []
        for at in range(min(length + 1, LONGEST)):
            right = CAPTIONS[i, at]
            logits = model.language.words(states[0, at])
            text.append(-logits.log_softmax(dim=0)[right])
            if config.multi_weight:
                pictures = model.fusion.look(image)
                said = states[:, : at + 1]  # nothing that comes later
                fused = relu(model.fusion.fusion.each(pictures, said)[:, -1])
                logits = logits + model.fusion.words(fused)[0]
                multi.append(-logits.log_softmax(dim=0)[right])
        if config.generate_weight:
            writer, after = model.writer, states[:, 1:]
            fused = relu(model.fusion.fusion([None, after]))
            words = writer.words(tokens) + writer.from_states(after)
            told = Told(words, torch.tensor([length]), writer.from_fused(fused))
            for at in range(4):
                # "start", and what was told; what comes later is not seen
                before = torch.full((1, 4), writer.codes)
                before[0, 1 : at + 1] = codes[i, :at]
                logits = writer.tell(told, before)[0, at]
                generate.append(-logits.log_softmax(dim=0)[codes[i, at]])
        for weight, told_costs in (
            (config.text_weight, text),
            (config.multi_weight, multi),
            (config.generate_weight, generate),
        ):
            if weight:
                costs.append(weight * torch.stack(told_costs).mean() / len(CAPTIONS))
    return torch.stack(costs).sum()


def gradients(made: JointTask, loss: Tensor) -> dict[str, Tensor | None]:
    made.model.zero_grad()
    loss.backward()
    return {
        name: None if p.grad is None else p.grad.clone()
        for name, p in made.model.named_parameters()
    }


@pytest.mark.parametrize("frozen", [None, *PARTS])
def test_what_learns_has_the_gradient_of_the_loops(frozen: str | None) -> None:
    made = task(text_weight=0.7, multi_weight=1.3, generate_weight=0.9)
    expected = gradients(made, one_by_one(made))
    assert all(g is not None and g.any() for g in expected.values())
    if frozen is not None:
        getattr(made.model, frozen).requires_grad_(False)
    found = gradients(made, made.training_step(batch(), OneStep())["loss"])
    for name, gradient in found.items():
        if name.split(".")[0] == frozen:
            assert gradient is None, name
        else:
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("term", ["text", "multi", "generate"])
def test_a_term_without_weight_is_not_computed(
    term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = task().training_step(batch(), OneStep())
    reference = task(**{f"{term}_weight": 0.0})
    expected = gradients(reference, one_by_one(reference))
    made = task(**{f"{term}_weight": 0.0})
    if term == "generate":
        assert not hasattr(made.model, "writer")

        def never(_: Tensor) -> Tensor:
            raise AssertionError("codes of pictures are not asked for")

        monkeypatch.setattr(made.tokenizer, "encode", never)
    if term == "multi":
        monkeypatch.setattr(made.model.fusion, "look", None)
    found = made.training_step(batch(), OneStep())
    assert term not in found and set(whole) - set(found) <= {term, "bits"}
    for name, gradient in gradients(made, found["loss"]).items():
        if expected[name] is None:
            assert gradient is None or not gradient.any(), name
        else:
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("taught", [1, 2, 3, 4, 5, 6, 7])
def test_whatever_can_learn_is_taught(taught: int) -> None:
    """By some term: several processes wait for the gradient of every parameter."""
    terms = ("text", "multi", "generate")
    made = task(**{f"{t}_weight": float(taught >> i & 1) for i, t in enumerate(terms)})
    found = gradients(made, made.training_step(batch(), OneStep())["loss"])
    learns = {k for k, p in made.model.named_parameters() if p.requires_grad}
    assert {k for k, g in found.items() if g is not None} == learns


def test_captions_alone_teach_m_alone() -> None:
    made = task(multi_weight=0.0, generate_weight=0.0)
    assert [name for name, _ in made.model.named_children()] == ["language"]
    found = made.training_step(batch(), OneStep())
    assert set(found) == {"loss", "text"}
    assert torch.equal(found["loss"], found["text"])


def test_a_caption_that_is_left_out_tells_g_nothing() -> None:
    made = task(caption_dropout=0.999)
    found = made.training_step(batch(), OneStep())["generate"]
    sampler = sampler_of(made)
    codes = made.tokenizer.encode(batch().images).flatten(1)
    with torch.no_grad():
        for tokens in (CAPTIONS, CAPTIONS.flip(0)):  # whatever they are
            log_p = sampler.log_probability(tokens, torch.zeros_like(LENGTHS), codes)
            torch.testing.assert_close(found.detach(), -log_p.mean() / 4)


def test_m_learns_at_its_own_rate() -> None:
    def rates(factor: float) -> dict[str, set[float]]:
        made = task(language_rate=factor, learning_rate=0.01)
        groups = made.optimizers()["joint"].param_groups
        rate_of = {p: g["lr"] for g in groups for p in g["params"]}
        found: dict[str, set[float]] = {}
        for part in PARTS:
            parameters = getattr(made.model, part).parameters()
            found[part] = {rate_of[p] for p in parameters if p in rate_of}
        return found

    others: dict[str, Any] = {"fusion": {0.01}, "writer": {0.01}}
    assert rates(0.1) == {"language": {0.001}, **others}
    assert rates(1.0) == {"language": {0.01}, **others}
    assert rates(0.0) == {"language": set(), **others}
