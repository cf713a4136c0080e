"""Codes one after the other: exact probabilities, one way to write with and without."""

from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks.decoding import write_anew
from mmgen.interfaces import Draws, Exports, Matches, Weighs
from mmgen.layers.logits import choose, filtered
from mmgen.models import autoregressive
from mmgen.models.autoregressive import ARConfig, ARSampler, ARTask, shifted
from mmgen.models.codes import OPEN
from mmgen.sampling import seeded_noise
from tests.models.steps import OneStep
from tests.models.tiny_codes import CAPTIONS, SIZES, sampler, world


@pytest.fixture(scope="module")
def small() -> ARSampler:
    """Pictures of 2 x 2 codes, of three each: 81 pictures."""
    return sampler(ARSampler)


@pytest.fixture(scope="module")
def larger() -> ARSampler:
    """Pictures of 4 x 4 codes, of seven each."""
    return sampler(ARSampler, side=4, codes=7)


def some_codes(model: ARSampler, rows: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (rows, model.side**2)
    return torch.randint(model.codes, shape, generator=generator)


def told_from(
    model: ARSampler, codes: Tensor, captions: list[str] = CAPTIONS
) -> Tensor:
    """Logits (B, N, K) of all codes, from the true ones before each."""
    tokens, lengths = model.read_captions(captions)
    with torch.no_grad():
        return model.writer(tokens, lengths, shifted(model.writer, codes))


class Recorded:
    """What ``write`` filters, and what it chooses from, code by code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.every: list[Tensor] = []
        self.shared: list[Tensor] = []

        def filter_too(logits: Tensor, *choice: Any) -> Tensor:
            self.every.append(logits)
            self.shared.append(filtered(logits, *choice))
            return self.shared[-1]

        monkeypatch.setattr(autoregressive, "filtered", filter_too)

    @property
    def logits(self) -> Tensor:
        return torch.stack(self.every, dim=1)

    @property
    def shares(self) -> Tensor:
        return torch.stack(self.shared, dim=1)


def test_it_can_do_what_it_says(small: ARSampler) -> None:
    for verb in (Draws, Exports, Matches, Weighs):
        assert isinstance(small, verb)
    images = small.sample(CAPTIONS)
    assert images.shape == (3, 3, 16, 16) and images.abs().max() <= 1
    codes = small.write(CAPTIONS)
    assert codes.dtype == torch.int64 and codes.shape == (3, 2, 2)
    assert torch.equal(small.tokenizer.decode(codes), images)
    assert not torch.equal(
        small.write(CAPTIONS * 20, seed=1), small.write(CAPTIONS * 20)
    )


# ------------------------------------------------------------------- what sees what


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_no_later_code_reaches_an_earlier_logit(positions: str) -> None:
    model = sampler(ARSampler, side=4, codes=7, positions=positions)
    writer = model.writer
    tokens, lengths = model.read_captions(CAPTIONS)
    words, size = tokens.shape[1], model.side**2
    told = writer.told(tokens, lengths)
    read = writer.read(told, shifted(writer, some_codes(model)), writer.table())
    read = read.detach().requires_grad_()
    seen = writer.seen(lengths, words)
    features = writer.transformer(read, writer.places(words), seen)
    told = linear(features[:, words:], writer.weights(), writer.head.bias)  # (B, N, K)
    for i in range(size):
        (gradient,) = torch.autograd.grad(
            told[:, i].square().sum(), read, retain_graph=True
        )
        reached = gradient.abs().amax(dim=2) > 0  # (B, words + N)
        upto = torch.arange(words + size) <= words + i
        # the start and the codes before, and every word of the caption; no padding
        assert torch.equal(reached, seen & upto)


def test_a_changed_code_changes_what_is_told_after_it_alone(larger: ARSampler) -> None:
    codes = some_codes(larger)
    before = told_from(larger, codes)
    for j in range(16):
        changed = codes.clone()
        changed[:, j] = (codes[:, j] + 1) % larger.codes
        after = told_from(larger, changed)
        assert torch.equal(after[:, : j + 1], before[:, : j + 1])
        if j < 15:
            gap = (after[:, j + 1] - before[:, j + 1]).abs().amax(dim=1)
            assert gap.min() > 1e-4


def test_the_caption_tells_the_first_code(larger: ARSampler) -> None:
    codes = some_codes(larger, 2)
    one, other = told_from(larger, codes, ["a red star", "a blue star"])[:, 0]
    assert (one - other).abs().max() > 0.01
    # without a caption none of it is left
    tokens, lengths = larger.read_captions(["a red star", "a blue star"])
    same = codes[:1].expand(2, -1)
    with torch.no_grad():
        logits = larger.writer(
            tokens, torch.zeros_like(lengths), shifted(larger.writer, same)
        )
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------ the cache


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_the_cache_changes_nothing(
    guidance: float, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrices of other shapes add up in another order: equal to rounding."""
    model = sampler(ARSampler, side=4, codes=7).to(kind)
    noise = seeded_noise(3, 16, seed=4)
    codes, logits = write_anew(model, CAPTIONS, noise, guidance)
    recorded = Recorded(monkeypatch)
    written = model.write(CAPTIONS, noise=noise, guidance=guidance)
    assert recorded.logits.dtype == kind
    gap = 1e-12 if kind == torch.float64 else 1e-5
    torch.testing.assert_close(recorded.logits, logits, rtol=gap, atol=gap)
    assert torch.equal(written.flatten(1), codes)
    if guidance == 1:  # and both are what teacher forcing told
        forced = told_from(model, codes)
        torch.testing.assert_close(logits.float(), forced, rtol=1e-5, atol=1e-5)


def test_noise_draws_the_same_whatever_else_is_drawn(larger: ARSampler) -> None:
    many = [CAPTIONS[i % 3] for i in range(70)]  # more than a part
    noise = seeded_noise(70, 16, seed=6)
    codes = larger.write(many, noise=noise)
    for rows in ([0], [1, 69], [4, 3, 2]):
        alone = larger.write([many[i] for i in rows], noise=noise[rows])
        assert torch.equal(alone, codes[rows])
    assert torch.equal(larger.write(many, seed=6), codes)


# ------------------------------------------------------------------- probabilities


def every_picture(model: ARSampler) -> Tensor:
    """All grids of the codebook, (K^N, N)."""
    choices = [range(model.codes)] * model.side**2
    return torch.tensor(list(itertools.product(*choices)))


def likelihoods(model: ARSampler, caption: str) -> Tensor:
    """Of every picture, (K^N,) nats."""
    pictures = every_picture(model)
    tokens, lengths = model.read_captions([caption])
    count = len(pictures)
    with torch.no_grad():
        return model.log_probability(
            tokens.expand(count, -1), lengths.expand(count), pictures
        )


def test_the_probabilities_of_all_pictures_sum_to_one(small: ARSampler) -> None:
    for caption in CAPTIONS:
        nats = likelihoods(small, caption)
        assert len(nats) == 81 and nats.std() > 0.5
        assert nats.double().exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_pictures_are_drawn_as_often_as_they_are_likely(small: ARSampler) -> None:
    draws = 4000
    codes = small.write([CAPTIONS[1]] * draws, seed=8).flatten(1)
    numbers = (codes * small.codes ** torch.arange(3, -1, -1)).sum(dim=1)
    counts = torch.bincount(numbers, minlength=81).double()

    def chi_square(shares: Tensor) -> tuple[float, int]:
        """Rare pictures, of less than five expected, are counted as one."""
        expected = shares * draws
        rare = expected < 5
        rare[expected.argmin()] = True
        parts = [
            torch.cat([each[~rare], each[rare].sum()[None]])
            for each in (counts, expected)
        ]
        return ((parts[0] - parts[1]).square() / parts[1]).sum().item(), len(parts[0])

    found, cells = chi_square(likelihoods(small, CAPTIONS[1]).double().exp())
    assert cells > 10
    limit = cells - 1 + 4 * math.sqrt(2 * (cells - 1))
    assert found < limit
    # another caption's pictures would be seen
    other, cells = chi_square(likelihoods(small, CAPTIONS[0]).double().exp())
    assert other > 5 * (cells - 1)


def test_the_likelihood_of_real_pictures(small: ARSampler) -> None:
    batch = world().batch(range(5))
    nats = small.log_likelihood(batch.images, batch.captions)
    codes = small.tokenizer.encode(batch.images).flatten(1)
    shares = told_from(small, codes, batch.captions).double().softmax(dim=2)
    by_hand = [
        sum(math.log(shares[row, i, codes[row, i]]) for i in range(4))
        for row in range(5)
    ]
    torch.testing.assert_close(nats, torch.tensor(by_hand), rtol=1e-5, atol=1e-5)
    scores = small.scores(batch.images, batch.captions[:3])
    assert scores.shape == (5, 3)
    torch.testing.assert_close(scores.diagonal(), nats[:3], rtol=1e-5, atol=1e-5)
    other = small.log_likelihood(batch.images[1:2], batch.captions[2:3])
    torch.testing.assert_close(scores[1, 2], other[0], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="one for each picture; got 4 for 5"):
        small.log_likelihood(batch.images, batch.captions[:4])
    larger = batch.images.repeat(1, 1, 2, 2)  # would be another grid
    for ask in (small.log_likelihood, small.scores):
        with pytest.raises(ValueError, match=r"\(B, 3, 16, 16\).*got \(5, 3, 32, 32\)"):
            ask(larger, batch.captions)


def test_training_pays_what_the_likelihood_says(small: ARSampler) -> None:
    """Its nats are those of a code on average, and its bits those of a picture."""
    config = ARConfig(caption_dropout=0.0, **SIZES)
    task = ARTask.build(config, world(), {"tokenizer": small.tokenizer})
    task.model.load_state_dict(small.writer.state_dict())
    batch = world().batch(range(9))
    found = task.training_step(batch, OneStep())
    nats = -small.log_likelihood(batch.images, batch.captions).mean()
    torch.testing.assert_close(found["loss"], nats / 4)
    torch.testing.assert_close(found["bits"], nats / math.log(2))


# ------------------------------------------------------------------------- options


def test_guidance_is_that_of_the_equation(
    larger: ARSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded(monkeypatch)
    codes = larger.write(CAPTIONS, seed=5, guidance=3.0).flatten(1)
    told = told_from(larger, codes)
    tokens, lengths = larger.read_captions(CAPTIONS)
    with torch.no_grad():
        untold = larger.writer(
            tokens, torch.zeros_like(lengths), shifted(larger.writer, codes)
        )
    expected = untold + 3 * (told - untold)
    torch.testing.assert_close(recorded.logits, expected, rtol=1e-4, atol=1e-4)
    assert (expected - told).abs().max() > 0.1


@pytest.mark.parametrize("nothing", [{"top_k": 7}, {"top_k": 10**9}, {"top_p": 1.0}])
def test_options_that_change_nothing(
    nothing: dict[str, Any], larger: ARSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Recorded(monkeypatch)
    codes = larger.write(CAPTIONS, seed=2)
    other = Recorded(monkeypatch)
    assert torch.equal(larger.write(CAPTIONS, seed=2, **nothing), codes)
    assert torch.equal(other.shares, one.shares)


def test_guidance_one_is_none_and_the_configs_is_taken(larger: ARSampler) -> None:
    model = sampler(ARSampler, side=4, codes=7, guidance=3.0)  # of the same weights
    many = CAPTIONS * 4
    assert torch.equal(model.write(many, guidance=1.0), larger.write(many))
    assert torch.equal(model.write(many), larger.write(many, guidance=3.0))
    assert not torch.equal(model.write(many), larger.write(many))


def test_guidance_needs_empty_captions_in_training() -> None:
    model = sampler(ARSampler, caption_dropout=0.0)
    model.sample(CAPTIONS)
    with pytest.raises(ValueError, match="trained with empty captions"):
        model.sample(CAPTIONS, guidance=2.0)


def test_temperature_zero_is_greedy(larger: ARSampler) -> None:
    codes = larger.write(CAPTIONS, seed=1, temperature=0.0)
    assert torch.equal(larger.write(CAPTIONS, seed=2, temperature=0.0), codes)
    flat = codes.flatten(1)
    assert torch.equal(told_from(larger, flat).argmax(dim=2), flat)
    # and what low ones come to, also where a quotient would leave the floats
    for cold in (1e-4, 1e-40, 1e-320):
        assert torch.equal(larger.write(CAPTIONS, temperature=cold), codes)
    assert torch.equal(larger.write(CAPTIONS, top_k=1), codes)
    assert torch.equal(larger.write(CAPTIONS, top_p=1e-9), codes)


def test_given_codes_are_kept_and_seen_by_those_after_them(larger: ARSampler) -> None:
    free = larger.write(CAPTIONS, seed=3)
    given = torch.full_like(free, OPEN)
    given[:, :2] = (free[:, :2] + 1) % larger.codes  # the upper half
    written = larger.write(CAPTIONS, seed=3, codes=given)
    assert torch.equal(written[:, :2], given[:, :2])
    assert not torch.equal(written[:, 2:], free[:, 2:])
    assert ((written >= 0) & (written < larger.codes)).all()
    # what is given at the end is not seen by those before
    given = torch.full_like(free, OPEN)
    given[:, 3, 3] = (free[:, 3, 3] + 1) % larger.codes
    written = larger.write(CAPTIONS, seed=3, codes=given)
    assert torch.equal(written.flatten(1)[:, :-1], free.flatten(1)[:, :-1])
    assert torch.equal(written[:, 3, 3], given[:, 3, 3])
    images = larger.complete(CAPTIONS, given, seed=3)
    assert torch.equal(images, larger.tokenizer.decode(written))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": -0.1}, "temperature must be .*got -0.1"),
        ({"temperature": math.nan}, "temperature must be .*got nan"),
        ({"top_k": 0}, "top_k must be at least 1.*got 0"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\]; got 0.0"),
        ({"top_p": 1.5}, r"top_p must lie in \(0, 1\]; got 1.5"),
        ({"guidance": -1.0}, r"guidance must lie in 0\.\.1000.*got -1.0"),
        ({"guidance": 1e308}, r"guidance must lie in 0\.\.1000"),
        ({"guidance": math.nan}, r"guidance must lie in 0\.\.1000.*got nan"),
        ({"noise": torch.zeros(3, 5)}, r"noise must have shape \(3, 4\).*\(3, 5\)"),
        ({"codes": torch.zeros(3, 4, 4).long()}, r"shape \(3, 2, 2\).*\(3, 4, 4\)"),
        ({"codes": torch.full((3, 2, 2), 3)}, r"lie in 0\.\.2, the codebook; got 3"),
        ({"codes": torch.full((3, 2, 2), -2)}, r"lie in 0\.\.2, the codebook; got -2"),
        ({"codes": torch.zeros(3, 2, 2)}, "codes must be int64"),
    ],
)
def test_bad_options(small: ARSampler, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small.sample(CAPTIONS, **options)


def test_captions_that_cannot_be_read(small: ARSampler) -> None:
    for captions in ([], "a star", [""], ["qwxz"]):
        with pytest.raises(ValueError, match="captions must"):
            small.sample(captions)
    long = " ".join(["a", "red", "star"] * 20)
    with pytest.warns(UserWarning, match="longer than .* tokens; not read"):
        images = small.sample([long])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut = " ".join(long.split()[: small.max_tokens])
        assert torch.equal(small.sample([cut]), images)


# ----------------------------------------------------------------------------- ONNX


@pytest.mark.slow
@pytest.mark.filterwarnings("error:.*requires gradient:UserWarning")
def test_a_file_writes_what_write_writes(small: ARSampler, tmp_path: Path) -> None:
    """The words, "start", and each code: fed one by one, with the cache handed on."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from mmgen.export import export_onnx

    session = onnxruntime.InferenceSession(export_onnx(small, tmp_path / "ar.onnx"))
    shapes = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    vocabulary = len(small.vocabulary)
    noise = seeded_noise(3, 4, seed=9)
    expected = small.write(CAPTIONS, noise=noise).flatten(1)
    for row, caption in enumerate(CAPTIONS):
        tokens, lengths = small.vocabulary.encode([caption], small.max_tokens)
        length = int(lengths)
        cache = {name: torch.zeros(shapes[name]).numpy() for name in ("keys", "values")}
        sentence = [*tokens[0, :length].tolist(), vocabulary + small.codes]
        codes: list[int] = []
        for at in range(length + 4):
            inputs = {"token": [sentence[at]], "at": [at], "length": [length]}
            given = {name: torch.tensor(v).numpy() for name, v in inputs.items()}
            logits, keys, values = session.run(None, given | cache)
            cache = {"keys": keys, "values": values}
            if at >= length:
                shares = filtered(torch.from_numpy(logits))
                codes.append(int(choose(shares, noise[row, at - length][None])))
                sentence.append(vocabulary + codes[-1])
        assert codes == expected[row].tolist()
    assert len({tuple(codes) for codes in expected.tolist()}) > 1


def test_its_options() -> None:
    assert ARSampler.options() == {
        "guidance": float,
        "temperature": float,
        "top_k": int,
        "top_p": float,
    }
