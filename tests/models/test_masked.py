"""Codes many at a time: how many in each pass, which are kept, what it costs."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.interfaces import Draws, Exports, Matches
from mmgen.layers.logits import choose, filtered, guided
from mmgen.models import masked
from mmgen.models.codes import OPEN
from mmgen.models.masked import (
    MEAN_SHARE,
    MaskedConfig,
    MaskedSampler,
    MaskedTask,
    gumbel,
    hidden_share,
    open_counts,
)
from mmgen.sampling import seeded_noise
from tests.models.steps import OneStep
from tests.models.tiny_codes import (
    CAPTIONS,
    SIZES,
    sampler,
    tokenizer,
    world,
)


@pytest.fixture(scope="module")
def model() -> MaskedSampler:
    """Pictures of 4 x 4 codes, of seven each, in five passes."""
    return sampler(MaskedSampler, side=4, codes=7, passes=5)


def test_it_can_do_what_it_says(model: MaskedSampler) -> None:
    assert isinstance(model, Draws) and isinstance(model, Exports)
    assert not isinstance(model, Matches)
    images = model.sample(CAPTIONS, seed=1)
    assert images.shape == (3, 3, 16, 16) and images.abs().max() <= 1
    codes = model.write(CAPTIONS, seed=1)
    assert torch.equal(model.tokenizer.decode(codes), images)
    assert torch.equal(codes, model.stages(CAPTIONS, seed=1)[-1])
    assert not torch.equal(codes, model.write(CAPTIONS, seed=2))
    assert MaskedSampler.options() == {
        "passes": int,
        "guidance": float,
        "temperature": float,
        "annealing": float,
    }


# --------------------------------------------------------------------- the schedule


def test_counts_of_each_pass() -> None:
    """Of 256 codes in 8 passes, as the authors' program has them."""
    left = open_counts(torch.tensor([256, 0, 1, 3]), 8)
    assert left[:, 0].tolist() == [251, 236, 212, 181, 142, 97, 49, 0]
    assert left[:, 1].tolist() == [0] * 8
    assert left[:, 2].tolist() == [0] * 8  # one fewer than before, in any case
    assert left[:, 3].tolist() == [2, 1, 0, 0, 0, 0, 0, 0]
    assert open_counts(torch.tensor([256]), 1).tolist() == [[0]]


@pytest.mark.parametrize("passes", [1, 2, 5, 16])
def test_stages_follow_the_schedule_and_keep_what_they_have(
    model: MaskedSampler, passes: int
) -> None:
    stages = model.stages(CAPTIONS, passes=passes)
    assert stages.shape == (passes, 3, 4, 4)
    still_open = (stages == OPEN).flatten(2).sum(dim=2)  # (passes, B)
    assert torch.equal(still_open, open_counts(torch.tensor([16] * 3), passes))
    for before, after in itertools.pairwise(stages):
        known = before != OPEN
        assert torch.equal(after[known], before[known])
    assert ((stages[-1] >= 0) & (stages[-1] < 7)).all()


def test_given_codes_never_change_and_are_seen(model: MaskedSampler) -> None:
    free = model.write(CAPTIONS, seed=3)
    given = torch.full_like(free, OPEN)
    given[0, 1:3, 1:3] = (free[0, 1:3, 1:3] + 1) % 7  # any region, not the same in all
    given[1, 3] = 2
    known = given != OPEN
    for stage in model.stages(CAPTIONS, seed=3, codes=given):
        assert torch.equal(stage[known], given[known])
    written = model.write(CAPTIONS, seed=3, codes=given)
    others = ~known[0]
    # an untrained model may hold to its choice under one noise, not under all
    assert any(
        not torch.equal(told[0][others], untold[0][others])
        for told, untold in (
            (
                model.write(CAPTIONS, seed=seed, codes=given),
                model.write(CAPTIONS, seed=seed),
            )
            for seed in range(8)
        )
    )
    assert torch.equal(written[2], free[2])
    images = model.complete(CAPTIONS, given, seed=3)
    assert torch.equal(images, model.tokenizer.decode(written))
    # with nothing left open, nothing is drawn
    assert torch.equal(model.write(CAPTIONS, codes=free), free)


# ---------------------------------------------------------------- what is kept, why


def independent() -> MaskedSampler:
    """Two open codes that know nothing of each other, each 0 with probability 0.7."""
    made = sampler(MaskedSampler, codes=2)
    with torch.no_grad():
        made.writer.head.weight.zero_()
        made.writer.tell_vector[-1].weight.zero_()
        made.writer.head.bias.copy_(torch.tensor([0.7, 0.3]).log())
    return made


@pytest.mark.parametrize(
    ("passes", "annealing", "expected"),
    [
        (2, 0.0, ((1 - 0.3**2) + 0.7) / 2),  # the surer of two draws is kept
        (2, 1e6, 0.7),  # chance decides what is kept
        # Of a 0 and a 1, noise half as large on log p keeps the 0 with
        # .7^2 / (.7^2 + .3^2). (On p itself it would be drawn .740 of the time.)
        (2, 1.0, (0.7**2 + 2 * 0.7 * 0.3 * 0.49 / 0.58 + 0.7) / 2),
        (1, 0.0, 0.7),
    ],
)
def test_how_often_the_likelier_code_is_drawn(
    passes: int, annealing: float, expected: float
) -> None:
    draws = 4000
    given = torch.tensor([[OPEN, 0], [1, OPEN]]).expand(draws, -1, -1)
    codes = independent().write(
        ["a star"] * draws, seed=1, codes=given, passes=passes, annealing=annealing
    )
    drawn = codes[given == OPEN]
    assert len(drawn) == 2 * draws
    assert (drawn == 0).double().mean().item() == pytest.approx(expected, abs=0.015)


def test_chance_falls_to_nothing(
    model: MaskedSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masked, "gumbel", torch.ones_like)
    known, noise = torch.full((2, 16), OPEN), torch.zeros(2, 2 * 5 * 16)
    chances = [chance for _, chance, _ in model._schedule(known, noise, 5, 4.0)]
    for chance, expected in zip(chances, (3.2, 2.4, 1.6, 0.8, 0.0), strict=True):
        torch.testing.assert_close(chance, torch.full((2, 16), expected))


def test_quantiles_of_gumbel_noise() -> None:
    normal = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.Gumbel(0.0, 1.0)
    shares = torch.tensor([0.01, 0.2, 0.5, 0.9, 0.999])
    torch.testing.assert_close(
        gumbel(normal.icdf(shares)), expected.icdf(shares), rtol=1e-3, atol=1e-3
    )
    assert gumbel(torch.tensor([-50.0, 50.0])).isfinite().all()


def test_told_and_untold_rows_are_read_together(
    model: MaskedSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def filter_too(logits: Tensor, temperature: float) -> Tensor:
        seen.append(logits)
        return logits.softmax(dim=-1)

    monkeypatch.setattr(masked, "filtered", filter_too)
    model.write(CAPTIONS, guidance=3.0, passes=1)
    tokens, lengths = model.read_captions(CAPTIONS)
    pieces = torch.full((3, 16), model.codes)
    with torch.no_grad():
        told = model.writer(tokens, lengths, pieces)
        untold = model.writer(tokens, torch.zeros_like(lengths), pieces)
    expected = guided(told, untold, 3.0)
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-4)
    assert (expected - told).abs().max() > 0.1
    model.write(CAPTIONS, guidance=1.0, passes=1)
    torch.testing.assert_close(seen[1], told, rtol=1e-5, atol=1e-5)


def test_guidance_one_equals_none(model: MaskedSampler) -> None:
    codes = model.write(CAPTIONS)
    assert torch.equal(model.write(CAPTIONS, guidance=1.0), codes)
    guiding = sampler(MaskedSampler, side=4, codes=7, passes=5, guidance=3.0)
    assert torch.equal(guiding.write(CAPTIONS, guidance=1.0), codes)
    assert not torch.equal(guiding.write(CAPTIONS), codes)


def test_temperature_zero_takes_the_likeliest(model: MaskedSampler) -> None:
    tokens, lengths = model.read_captions(CAPTIONS)
    with torch.no_grad():
        logits = model.writer(tokens, lengths, torch.full((3, 16), 7))
    codes = model.write(CAPTIONS, passes=1, temperature=0.0)
    assert torch.equal(codes.flatten(1), logits.argmax(dim=2))
    for seed in (1, 2):
        cold = model.write(CAPTIONS, seed, passes=1, temperature=1e-320)
        assert torch.equal(cold, codes)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 3.0])
def test_what_is_kept_hangs_on_the_network_at_every_temperature(
    model: MaskedSampler, temperature: float
) -> None:
    """Of the draws of a first pass, those that are likeliest at temperature 1."""
    tokens, lengths = model.read_captions(CAPTIONS)
    with torch.no_grad():
        logits = model.writer(tokens, lengths, torch.full((3, 16), 7))
    noise = seeded_noise(3, 2 * 5 * 16, seed=4)
    first, *_ = model.stages(
        CAPTIONS, noise=noise, temperature=temperature, annealing=0.0
    )
    drawn = choose(filtered(logits, temperature), noise.view(3, 5, 2, 16)[:, 0, 0])
    sure = logits.log_softmax(dim=2).gather(2, drawn[:, :, None]).squeeze(2)
    left = int(open_counts(torch.tensor([16]), 5)[0])
    kept = first.flatten(1) != OPEN
    assert torch.equal(kept, sure.argsort(dim=1).argsort(dim=1) >= left)
    assert torch.equal(first.flatten(1)[kept], drawn[kept])


def test_noise_draws_the_same_whatever_else_is_drawn(model: MaskedSampler) -> None:
    many = [CAPTIONS[i % 3] for i in range(70)]  # more than a part
    noise = seeded_noise(70, 2 * 5 * 16, seed=6)
    codes = model.stages(many, noise=noise)
    for rows in ([0], [1, 69], [4, 3, 2]):
        alone = model.stages([many[i] for i in rows], noise=noise[rows])
        assert torch.equal(alone, codes[:, rows])


# ------------------------------------------------------------------------ the loss


def new_task(side: int = 4, codes: int = 7, **changes: Any) -> MaskedTask:
    torch.manual_seed(0)
    frozen = {"tokenizer": tokenizer(side, codes)}
    config = MaskedConfig(**{**SIZES, **changes})
    return MaskedTask.build(config, world(), frozen)


def test_the_loss_is_of_hidden_codes_alone() -> None:
    """Who is right where codes are hidden pays nothing, whatever it says elsewhere."""
    task, rows = new_task(), 6
    codes = torch.randint(7, (rows, 16), generator=torch.Generator().manual_seed(1))
    asked: list[Tensor] = []
    right_where_hidden = True

    def writer(tokens: Tensor, lengths: Tensor, pieces: Tensor) -> Tensor:
        asked.append(pieces)
        hidden = pieces == 7
        sure = hidden if right_where_hidden else ~hidden
        told = torch.where(sure, codes, (codes + 1) % 7)
        return 50.0 * torch.nn.functional.one_hot(told, 7).float()

    task.networks["writer"] = writer  # type: ignore[assignment]
    tokens, lengths = torch.ones(rows, 3).long(), torch.full((rows,), 3)
    free = task._loss(tokens, lengths, codes, OneStep())
    assert free["loss"] < 1e-6
    right_where_hidden = False
    wrong = task._loss(tokens, lengths, codes, OneStep())
    hidden = asked[1] == 7
    assert torch.equal(hidden, asked[0] == 7)
    # the others are shown as they are
    assert torch.equal(asked[1][~hidden], codes[~hidden])
    nats = 50.0  # of a code that is told wrong
    expected = nats * hidden.sum() / (rows * 16 * MEAN_SHARE)
    torch.testing.assert_close(wrong["loss"], expected)
    assert wrong["nats a hidden code"].item() == pytest.approx(nats)


def test_the_share_of_hidden_codes_follows_the_cosine() -> None:
    task, asked = new_task(), []

    def writer(tokens: Tensor, lengths: Tensor, pieces: Tensor) -> Tensor:
        asked.append(pieces)
        return torch.zeros(*pieces.shape, 7)

    task.networks["writer"] = writer  # type: ignore[assignment]
    rows, steps = 3000, OneStep()
    codes = torch.zeros(rows, 16).long()
    tokens, lengths = torch.ones(rows, 3).long(), torch.full((rows,), 3)
    task._loss(tokens, lengths, codes, steps)
    hidden = asked[0] == 7
    share = hidden_share(steps.drawn[0])
    assert torch.equal(hidden.sum(dim=1), (share * 16).ceil().long().clamp(min=1))
    # every place is hidden as often as every other
    each = hidden.double().mean(dim=0)
    assert (each.max() - each.min()).item() < 0.06
    assert each.mean().item() == pytest.approx(MEAN_SHARE + 0.5 / 16, abs=0.02)
    assert hidden_share(0.0) == 1 and hidden_share(1.0) == pytest.approx(0)
    assert hidden_share(0.5) == pytest.approx(math.sqrt(0.5))


def test_captions_are_left_out_now_and_then() -> None:
    task, told = new_task(caption_dropout=0.5), []
    batch = world().batch(range(64))

    def loss(tokens: Tensor, lengths: Tensor, codes: Tensor, step: Any) -> Any:
        told.append(lengths)
        return {}

    task._loss = loss  # type: ignore[method-assign]
    step = OneStep()
    task.training_step(batch, step)
    dropped = step.drawn[0] < 0.5
    assert torch.equal(told[0] == 0, dropped) and 10 < dropped.sum() < 54
    assert torch.equal(told[0][~dropped], batch.lengths[~dropped])


# ------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"passes": 0}, r"passes must lie in 1\.\.16.*got 0"),
        ({"passes": 17}, r"passes must lie in 1\.\.16.*got 17"),
        ({"annealing": -1.0}, "annealing must lie in 0.*got -1"),
        ({"annealing": math.inf}, "annealing must lie in 0.*got inf"),
        ({"temperature": -0.1}, "temperature must be .*got -0.1"),
        ({"guidance": -1.0}, "guidance must lie in 0"),
        ({"noise": torch.zeros(3, 16)}, r"noise must have shape \(3, 160\)"),
        ({"codes": torch.zeros(3, 2, 2).long()}, r"shape \(3, 4, 4\).*\(3, 2, 2\)"),
        ({"codes": torch.full((3, 4, 4), 7)}, r"lie in 0\.\.6, the codebook"),
    ],
)
def test_bad_options(model: MaskedSampler, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model.sample(CAPTIONS, **options)


# ----------------------------------------------------------------------------- ONNX


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_file_draws_what_sample_draws(guidance: float, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from mmgen.export import export_onnx

    made = sampler(MaskedSampler, codes=5, passes=3, guidance=guidance)
    path = export_onnx(made, tmp_path / "masked.onnx")
    session = onnxruntime.InferenceSession(path)
    noise = seeded_noise(3, 2 * 3 * 4, seed=9)
    tokens, lengths = made.vocabulary.encode(CAPTIONS, made.max_tokens)
    images = made.sample(CAPTIONS, noise=noise)
    for row in range(3):
        inputs = {"tokens": tokens, "lengths": lengths, "noise": noise}
        given = {name: value[row : row + 1].numpy() for name, value in inputs.items()}
        (image,) = session.run(None, given)
        torch.testing.assert_close(
            torch.from_numpy(image), images[row : row + 1], rtol=0, atol=1e-4
        )
    assert images.flatten(1).std(dim=0).max() > 0.01
