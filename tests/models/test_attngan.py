"""AttnGAN against the original's numbers, its equations, and what must not happen."""

from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmgen.data import load_dataset
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.text import TextEncoder
from mmgen.models.attngan import (
    AttnGANConfig,
    AttnGANSampler,
    AttnGANTask,
    Discriminator,
    Discriminators,
    Generator,
    adversarial_loss,
    condition_kl,
    discriminator_loss,
    load_original,
    mismatch_weights,
    pictures_of_stages,
)
from mmgen.models.cgan import (
    TAUGHT,
    Choices,
    choices_loss,
    completed,
    rows_score,
    value_rows,
    values_loss,
)
from mmgen.models.damsm import DAMSMConfig, DAMSMMatcher, DAMSMTask, damsm_losses
from mmgen.training import Run, TrainingConfig, fit
from mmgen.training.step import stream_seed

ORIGINAL = Path(__file__).parents[1] / "data" / "attngan_tiny"
SIZES = {
    "sizes": (8, 16),
    "generator_channels": 4,
    "residual_blocks": 1,
    "noise_dim": 5,
    "condition_dim": 3,
    "feature_dim": 6,
    "discriminator_channels": 2,
}
TINY = AttnGANConfig(**SIZES)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def captions(batch: int, words: int, config: AttnGANConfig) -> tuple[Tensor, ...]:
    """Noise, words, sentence, mask and eps, captions of different lengths."""
    lengths = torch.arange(words, words - batch, -1).clamp_min(1)
    mask = torch.arange(words)[None] < lengths[:, None]
    features = torch.randn(batch, words, config.feature_dim) * mask[:, :, None]
    return (
        torch.randn(batch, config.noise_dim),
        features,
        torch.randn(batch, config.feature_dim),
        mask,
        torch.randn(batch, config.condition_dim),
    )


# ---------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("config", "generator", "judges"),
    [
        (AttnGANConfig.cub(), 7_084_592, (6_313_730, 19_424_002, 71_858_946)),
        (AttnGANConfig.coco(), 13_811_456, (13_304_450, 42_800_258, 160_774_274)),
    ],
)
def test_sizes_are_the_papers(
    config: AttnGANConfig, generator: int, judges: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        assert parameters(Generator(config)) == generator
        assert tuple(parameters(Discriminator(config, i)) for i in range(3)) == judges


def test_the_original_widths_of_captions() -> None:
    with torch.device("meta"):
        for tokens in (5450, 27_297):
            assert parameters(TextEncoder(tokens)) == 440_320 + 300 * tokens


def test_a_small_sampler_fits_twelve_megabytes_in_half_precision() -> None:
    config = AttnGANConfig.small()
    with torch.device("meta"):
        network = Generator(config)
    # every emoji name, English and Chinese, needs some 3,200 tokens
    assert 2 * (parameters(network) + parameters(TextEncoder(3200))) < 12e6


# ------------------------------------------------------------------- original


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    with np.load(ORIGINAL / "expected.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.mark.parametrize("legacy_mask", [False, True])
def test_generator_draws_what_the_original_draws(
    expected: dict[str, Tensor], legacy_mask: bool
) -> None:
    original = load_original(ORIGINAL, legacy_mask=legacy_mask)
    assert original.text_encoder is not None and original.generator is not None
    lengths = expected["lengths"]
    with torch.no_grad():
        words, sentence = original.text_encoder(expected["captions"], lengths)
        torch.testing.assert_close(words.transpose(1, 2), expected["words"])
        torch.testing.assert_close(sentence, expected["sentence"])
        scale, mask = expected["scale"], torch.arange(7)[None] < lengths[:, None]
        drawn = original.generator(
            expected["z"], scale * words, scale * sentence, mask, expected["eps"]
        )
    kind = "misaligned_mask/" if legacy_mask else "aligned_mask/"
    for got, name in (
        (drawn.images[0], "image64"),
        (drawn.images[1][..., ::2, ::2], "image128_every_2"),
        (drawn.images[2][..., ::4, ::4], "image256_every_4"),
        (drawn.attention[0][..., ::2, ::2], "attention64_every_2"),
        (drawn.attention[1][..., ::4, ::4], "attention128_every_4"),
    ):
        torch.testing.assert_close(got, expected[kind + name], rtol=0, atol=1e-5)
    torch.testing.assert_close(drawn.mu, expected["mu"])
    torch.testing.assert_close(drawn.logvar, expected["logvar"])
    torch.testing.assert_close(condition_kl(drawn.mu, drawn.logvar), expected["kl"])


def test_the_two_masks_differ_by_far_more_than_rounding(
    expected: dict[str, Tensor],
) -> None:
    one, other = expected["aligned_mask/image64"], expected["misaligned_mask/image64"]
    torch.testing.assert_close(one, other)  # the first stage looks at no word
    later = "image256_every_4"
    change = expected[f"aligned_mask/{later}"] - expected[f"misaligned_mask/{later}"]
    assert change.abs().max() > 1e-3


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_discriminator_judges_as_the_original(
    expected: dict[str, Tensor], stage: int
) -> None:
    original = load_original(ORIGINAL)
    assert original.generator is not None
    judge, side = original.discriminators[stage], 64 * 2**stage
    sentence = expected["scale"] * expected["sentence"]
    words = expected["scale"] * expected["words"].transpose(1, 2)
    mask = torch.arange(7)[None] < expected["lengths"][:, None]
    with torch.no_grad():
        fakes = original.generator(
            expected["z"], words, sentence, mask, expected["eps"]
        ).images[stage]
        fake = judge(fakes, sentence)
        for logits, name in zip(fake, ("conditional", "unconditional"), strict=True):
            torch.testing.assert_close(
                logits.sigmoid(), expected[f"D{stage}/{name}"], rtol=0, atol=1e-5
            )
        b, c, y, x = torch.meshgrid(
            *(torch.arange(float(n)) for n in (3, 3, side, side)), indexing="ij"
        )
        pictures = torch.sin(0.05 * (b + 1) * x + 0.07 * (c + 1) * y)
        real = judge(pictures, sentence, sentence[1:])
        loss = discriminator_loss(real, fake, "non-saturating")
    torch.testing.assert_close(loss, expected[f"D{stage}/loss"], rtol=0, atol=1e-5)


def test_weights_of_old_pytorch_lack_the_count_of_batches(tmp_path: Path) -> None:
    state = torch.load(ORIGINAL / "netG.pth", weights_only=True)
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "netG_9.pth")
    torch.save({}, tmp_path / "netG_10.pth.part")
    original = load_original(tmp_path)
    assert original.generator is not None and original.discriminators == []
    assert original.text_encoder is None
    assert original.config.sizes == (64, 128, 256)


def test_the_last_epoch_is_taken(tmp_path: Path) -> None:
    state = torch.load(ORIGINAL / "netG.pth", weights_only=True)
    torch.save(state, tmp_path / "netG_epoch_100.pth")
    old = {k: torch.zeros_like(v) for k, v in state.items()}
    torch.save(old, tmp_path / "netG_epoch_99.pth")
    generator = load_original(tmp_path).generator
    assert generator is not None and generator.heads[0].weight.abs().sum() > 0


class _Malice:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("touched-by-a-pickle"),))


def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"ca_net.fc.weight": _Malice()}, tmp_path / "netG.pth")
    with pytest.raises(ValueError, match=r"netG\.pth.*never loaded"):
        load_original(tmp_path)
    (tmp_path / "netG.pth").write_bytes(pickle.dumps(_Malice(), protocol=2))
    with pytest.raises(ValueError, match=r"netG\.pth"):
        load_original(tmp_path)
    assert not (tmp_path / "touched-by-a-pickle").exists()


def test_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="directory"):
        load_original(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="netG"):
        load_original(tmp_path)
    text = torch.load(ORIGINAL / "text_encoder.pth", weights_only=True)
    torch.save(text, tmp_path / "netG.pth")
    with pytest.raises(ValueError, match=r"netG\.pth is not the network of its name"):
        load_original(tmp_path)
    (tmp_path / "netG.pth").unlink()
    judge = (ORIGINAL / "netD1.pth").read_bytes()
    (tmp_path / "netD1.pth").write_bytes(judge)
    with pytest.raises(ValueError, match=r"from netD0\.pth on.*only netD1"):
        load_original(tmp_path)
    (tmp_path / "netD0.pth").write_bytes(judge[: len(judge) // 2])
    with pytest.raises(ValueError, match=r"netD0\.pth.*damaged"):
        load_original(tmp_path)
    (tmp_path / "netD0.pth").write_bytes((ORIGINAL / "netD0.pth").read_bytes())
    (tmp_path / "netD1.pth").write_bytes((ORIGINAL / "netD0.pth").read_bytes())
    with pytest.raises(ValueError, match=r"netD1\.pth lacks"):
        load_original(tmp_path)


# ------------------------------------------------------------------ generator


@pytest.mark.parametrize("modulate", [False, True])
@pytest.mark.parametrize("attention", [False, True])
def test_shapes_of_every_stage(modulate: bool, attention: bool) -> None:
    config = replace(TINY, modulate=modulate, attention=attention)
    drawn = Generator(config)(*captions(3, 4, config))
    assert [tuple(x.shape) for x in drawn.images] == [(3, 3, 8, 8), (3, 3, 16, 16)]
    assert [tuple(a.shape) for a in drawn.attention] == [(3, 4, 8, 8)] * attention
    assert drawn.mu.shape == drawn.logvar.shape == (3, 3)
    assert max(float(x.detach().abs().max()) for x in drawn.images) <= 1


def test_a_picture_does_not_depend_on_its_batch_mates() -> None:
    for legacy_mask in (False, True):
        config = replace(TINY, legacy_mask=legacy_mask)
        torch.manual_seed(0)
        generator = Generator(config).eval()
        arguments = captions(3, 4, config)
        together = generator(*arguments).images[-1][1:2]
        alone = generator(*(a[1:2] for a in arguments)).images[-1]
        # the published code's mask mixes up the captions of a batch
        assert torch.allclose(together, alone, atol=1e-5) != legacy_mask


def test_attention_is_over_real_words_only() -> None:
    arguments = captions(3, 4, TINY)
    (weights,) = Generator(TINY)(*arguments).attention
    mask = arguments[3][:, :, None, None].expand_as(weights)
    assert (weights[~mask] == 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, 8, 8))


def test_without_attention_words_change_nothing() -> None:
    config = replace(TINY, attention=False)
    generator = Generator(config).eval()
    noise, words, sentence, mask, eps = captions(2, 4, config)
    images = generator(noise, words, sentence, mask, eps).images
    others = generator(noise, words + 1, sentence, mask, eps).images
    torch.testing.assert_close(images, others)
    with_words = Generator(TINY).eval()
    one = with_words(noise, words, sentence, mask, eps).images
    two = with_words(noise, words.flip(2), sentence, mask, eps).images
    torch.testing.assert_close(one[0], two[0])  # the first stage sees the sentence
    assert not torch.allclose(one[1], two[1])


def test_eps_is_drawn_when_not_given() -> None:
    generator = Generator(TINY).eval()
    arguments = captions(2, 4, TINY)
    drawn = [generator(*arguments[:4]).images[0] for _ in range(2)]
    assert not torch.allclose(*drawn)
    fixed = [generator(*arguments).images[0] for _ in range(2)]
    torch.testing.assert_close(*fixed)


@pytest.mark.parametrize("sizes", [(), (12, 24), (16, 64), (4, 8), (32, 16)])
def test_sizes_that_no_generator_can_have(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sizes must begin with a power of two"):
        AttnGANConfig(sizes=sizes)


def test_unknown_choices_are_named() -> None:
    with pytest.raises(ValueError, match=r"objective must be one of.*got 'hing'"):
        AttnGANConfig(objective="hing")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='mismatch="all" judges every'):
        AttnGANConfig(mismatch="all")
    with pytest.raises(ValueError, match=r'need mismatch="all"; got .next'):
        replace(TINY, matching_weight=1.0)
    with pytest.raises(ValueError, match=r"needs labels=True and train_text=True"):
        replace(RECIPES["reading"], train_text=False)
    with pytest.raises(ValueError, match=r"reading_only=True.*reading_weight=0"):
        replace(RECIPES["reading"], reading_weight=0.0, reading_only=True)
    with pytest.raises(ValueError, match=r"every_value=True.*got labels=False"):
        replace(RECIPES["small"], labels=False, every_value=True)
    with pytest.raises(ValueError, match=r"noise_labels.*got every_value=False"):
        replace(RECIPES["small"], noise_labels=True)
    with pytest.raises(ValueError, match=r"labels_weight.*got every_value=False"):
        replace(RECIPES["small"], labels_weight=1.0)
    with pytest.raises(ValueError, match=r"labels=True adds.*matching_weight=0"):
        replace(RECIPES["matching"], matching_weight=0.0)
    with pytest.raises(ValueError, match=r"mismatch must be one of.*got 'none'"):
        AttnGANConfig(mismatch="none")  # type: ignore[arg-type]


# ------------------------------------------------------------- discriminators


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_logits_of_right_and_wrong_pairs(projection: bool, norm: str) -> None:
    config = replace(TINY, projection=projection, judge_norm=norm)
    judges = Discriminators(config).eval()
    images = [torch.randn(3, 3, s, s) for s in config.sizes]
    sentence = torch.randn(3, config.feature_dim)
    for judge, pictures, judged in zip(
        judges, images, judges(images, sentence, sentence[1:]), strict=True
    ):
        conditional, unconditional, wrong = judged
        assert conditional.shape == unconditional.shape == (3,)
        assert wrong.shape == (2,)
        pair = judge(pictures[:2], sentence[1:])
        torch.testing.assert_close(pair[0], wrong)
        torch.testing.assert_close(pair[1], unconditional[:2])
    other = judges(images, sentence + 1)[0]
    torch.testing.assert_close(other[1], judges(images, sentence)[0][1])
    assert not torch.allclose(other[0], judges(images, sentence)[0][0])


def test_discriminator_refuses_another_stage_or_size() -> None:
    with pytest.raises(ValueError, match=r"stage must lie in 0\.\.1.*got 2"):
        Discriminator(TINY, 2)
    with pytest.raises(ValueError, match="images must be 8 x 8 pixels"):
        Discriminator(TINY, 0)(torch.zeros(1, 3, 16, 16), torch.zeros(1, 6))


# ----------------------------------------------------------------- objectives


def test_losses_are_the_originals_written_out() -> None:
    real, fake = torch.randn(3, 5), torch.randn(2, 5)
    one, zero = torch.ones(5), torch.zeros(5)
    bce = nn.BCELoss()
    right = bce(real[0].sigmoid(), one) + bce(real[1].sigmoid(), one)
    wrong = bce(real[2].sigmoid(), zero)
    drawn = bce(fake[0].sigmoid(), zero) + bce(fake[1].sigmoid(), zero)
    torch.testing.assert_close(
        discriminator_loss(tuple(real), tuple(fake), "non-saturating"),
        right / 2 + (wrong + drawn) / 3,
    )
    stages = [tuple(fake), tuple(real[:2])]
    fooled = sum(bce(logits.sigmoid(), one) for pair in stages for logits in pair)
    torch.testing.assert_close(adversarial_loss(stages, "non-saturating"), fooled)
    torch.testing.assert_close(
        adversarial_loss(stages, "hinge"), -sum(x.mean() for s in stages for x in s)
    )


def test_kl_is_the_mean_of_the_divergence() -> None:
    mu, logvar = torch.randn(4, 7), torch.randn(4, 7)
    posterior = torch.distributions.Normal(mu, (logvar / 2).exp())
    prior = torch.distributions.Normal(torch.zeros(4, 7), torch.ones(4, 7))
    exact = torch.distributions.kl_divergence(posterior, prior).mean()
    torch.testing.assert_close(condition_kl(mu, logvar), exact)
    assert condition_kl(torch.zeros(2, 3), torch.zeros(2, 3)) == 0


def test_pictures_of_stages_keep_the_mean() -> None:
    images = torch.randn(2, 3, 16, 16)
    small, same = pictures_of_stages(images, (8, 16))
    assert same is images
    torch.testing.assert_close(small[0, 0, 2, 3], images[0, 0, 4:6, 6:8].mean())


# -------------------------------------------------------------------- sampler


@pytest.fixture
def sampler() -> AttnGANSampler:
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(["a red circle", "a blue star"])
    return AttnGANSampler(TINY, vocabulary, max_tokens=5, embedding_dim=4).eval()


def test_sampler_is_built_again_from_plain_data(sampler: AttnGANSampler) -> None:
    args = json.loads(json.dumps(sampler.init_args()))
    again = AttnGANSampler.from_args(args).eval()
    again.load_state_dict(sampler.state_dict())
    texts = ["a red star", "blue"]
    images = sampler.sample(texts, seed=3)
    assert images.shape == (2, 3, 16, 16)
    assert torch.equal(images, again.sample(texts, seed=3))
    assert not torch.equal(images, sampler.sample(texts, seed=4))


def test_many_captions_are_drawn_in_parts(sampler: AttnGANSampler) -> None:
    texts = ["a red circle", "a blue star"] * 40
    images = sampler.sample(texts, seed=1)
    assert images.shape == (80, 3, 16, 16)
    torch.testing.assert_close(images, sampler.stages(texts, seed=1).images[-1])


def test_sampler_refuses_what_it_cannot_draw(sampler: AttnGANSampler) -> None:
    with pytest.raises(ValueError, match="list with at least one caption"):
        sampler.sample([])
    with pytest.raises(ValueError, match="list with at least one caption"):
        sampler.sample("a red circle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be empty"):
        sampler.sample(["a red circle", ""])
    with pytest.raises(ValueError, match="at least one known word"):
        sampler.sample(["zebra"])
    with pytest.warns(UserWarning, match="zebra"):
        sampler.sample(["a red zebra"])
    with pytest.raises(ValueError, match="noise must have shape"):
        sampler.stages(["red"], noise=torch.zeros(2, 8))


# ----------------------------------------------------------------------- task


@pytest.fixture(scope="module")
def dataset() -> CaptionedDataset:
    return load_dataset("shapes", "train", image_size=16, objects=(1,), size=64)


@pytest.fixture(scope="module")
def matcher(dataset: CaptionedDataset) -> DAMSMMatcher:
    torch.manual_seed(0)
    config = DAMSMConfig(16, feature_dim=6, embedding_dim=4, width=8, grid=4)
    return DAMSMMatcher(config, dataset.vocabulary, dataset.max_tokens)


SMALL = AttnGANConfig.small(**SIZES)
RECIPES = {
    "original": TINY,
    "small": SMALL,
    "reading": replace(SMALL, reading_weight=0.5),
    "values": replace(SMALL, every_value=True),
    "labels": replace(SMALL, every_value=True, labels_weight=0.5),
    "labels, batch norm": replace(
        SMALL, every_value=True, labels_weight=0.5, judge_norm="batch"
    ),
    "everything": replace(
        TINY, augment=True, r1_weight=1.0, judge_norm="none", train_text=True
    ),
    "matching": replace(
        TINY,
        projection=True,
        mismatch="all",
        matching_weight=1.0,
        labels=True,
        judge_norm="none",
    ),
}


def a_task(
    config: AttnGANConfig, matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> AttnGANTask:
    torch.manual_seed(0)
    sizes = [len(values) for values in dataset.attributes.values()]
    return AttnGANTask(config, copy.deepcopy(matcher), dataset.max_tokens, sizes)


def one_step(
    config: AttnGANConfig, matcher: DAMSMMatcher, dataset: CaptionedDataset, **training
) -> tuple[AttnGANTask, Run]:
    task = a_task(config, matcher, dataset)
    settings = {"steps": 1, "batch_size": 4, "log_every": 1, "progress": "none"}
    return task, fit(task, dataset, TrainingConfig(**(settings | training)))


def test_the_penalty_on_gradients_trains_in_half_precision_too(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    penalised = RECIPES["everything"]
    losses = [
        one_step(
            replace(penalised, r1_weight=weight),
            matcher,
            dataset,
            precision="bf16-mixed",
        )[1].history[0]["discriminator/loss"]
        for weight in (0.0, 1.0)
    ]
    assert losses[1] > losses[0]


@pytest.mark.parametrize("recipe", ["small", "labels"])
def test_the_penalty_is_on_every_logit_that_says_real(
    recipe: str, matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    task = a_task(replace(RECIPES[recipe], r1_weight=3.0), matcher, dataset)
    batch, sentence = dataset.batch(range(4)), torch.randn(4, 6)
    reals = pictures_of_stages(batch.images, task.config.sizes)
    found = task._penalty(reals, sentence, batch)
    expected = torch.zeros(())
    for judge, real in zip(task.networks["discriminator"], reals, strict=True):
        real = real.clone().requires_grad_()
        conditional, unconditional = judge(real, sentence)
        total = conditional.sum() + unconditional.sum()
        if recipe == "labels":
            total = (
                total + judge(real, task.networks["labels"](batch.attributes))[0].sum()
            )
        (gradient,) = torch.autograd.grad(total, real)
        expected = expected + 1.5 * gradient.square().sum() / 4
    torch.testing.assert_close(found, expected)
    # it reaches what the labels mean, for their size is the judges' slope too
    found.backward()
    label = next(task.networks["labels"].parameters())
    assert (label.grad is not None) == (recipe == "labels")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_changes_what_is_trained_and_nothing_else(
    recipe: str, matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    config = RECIPES[recipe]
    before = a_task(config, matcher, dataset).networks
    task, run = one_step(config, matcher, dataset)
    for name, network in task.networks.items():
        old = dict(before[name].named_parameters())
        moved = [k for k, p in network.named_parameters() if not torch.equal(p, old[k])]
        if name.startswith("matcher"):
            assert not moved
            for key, buffer in network.named_buffers():
                assert torch.equal(buffer, dict(before[name].named_buffers())[key])
        else:
            # a token that no caption holds has no gradient; everything else has one
            still = set(old) - set(moved)
            assert still <= {"joint.bias"}, (name, still)
    row = run.history[-1]
    assert {"discriminator/loss", "generator/damsm", "generator/kl"} <= set(row)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"modulate": True, "residual_blocks": 2, "sizes": (8, 16, 32)},
        {"attention": False},
        {"taper": True, "legacy_mask": True},
    ],
)
def test_a_widened_generator_draws_the_same_and_learns_with_all_its_channels(
    changes: dict,
) -> None:
    torch.manual_seed(0)
    config = replace(TINY, **changes)
    asked = captions(4, 5, config)
    narrow = Generator(config)
    for _ in range(3):  # so that running statistics are not those of a new network
        narrow(*asked)
    wide = Generator(replace(config, generator_channels=7))
    wide.widen(narrow.state_dict())
    for training in (True, False):
        one, other = narrow.train(training)(*asked), wide.train(training)(*asked)
        for before, after in zip(
            one.images + one.attention, other.images + other.attention, strict=True
        ):
            torch.testing.assert_close(before, after, rtol=0, atol=1e-5)
    wide.train()
    optimizer = torch.optim.SGD(wide.parameters(), lr=0.1)
    for _ in range(2):  # the first step opens the ways to the new channels
        start = {name: p.detach().clone() for name, p in wide.named_parameters()}
        optimizer.zero_grad()
        wide(*asked).images[-1].square().mean().backward()
        optimizer.step()
    last = f"heads.{len(config.sizes) - 1}."
    for name, parameter in wide.named_parameters():
        if not name.startswith("heads.") or name.startswith(last):
            moved = (parameter != start[name]).flatten(1 if parameter.ndim > 1 else 0)
            assert moved.any(dim=-1).all(), name


def test_a_generator_widens_what_is_narrower_and_nothing_else() -> None:
    wide = Generator(replace(TINY, generator_channels=7))
    before = copy.deepcopy(wide.state_dict())
    for changes, named in (
        ({"generator_channels": 8}, "fewer channels"),
        ({"noise_dim": 4}, "fewer channels"),
        ({"condition_dim": 2}, "fewer channels"),
        ({"residual_blocks": 2}, "in one of the two only"),
        ({"sizes": (8,)}, "in one of the two only"),
    ):
        other = Generator(replace(TINY, **changes))
        with pytest.raises(ValueError, match=named):
            wide.widen(other.state_dict())
    foreign = before | {"heads.1.weight": torch.zeros(3, 8, 3, 3)}
    foreign["first.linear.weight"] = torch.zeros_like(foreign["first.linear.weight"])
    with pytest.raises(ValueError, match=r"heads\.1\.weight"):
        wide.widen(foreign)
    # what is refused late has changed nothing either
    assert torch.equal(
        wide.state_dict()["first.linear.weight"], before["first.linear.weight"]
    )
    wide.widen(before)  # of equal width: a copy
    for name, value in wide.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_run_may_begin_with_a_narrower_generator(
    matcher: DAMSMMatcher, dataset: CaptionedDataset, tmp_path: Path
) -> None:
    config = replace(RECIPES["small"], generator_channels=3)
    _, first = one_step(config, matcher, dataset, out=tmp_path / "narrow")
    wide = replace(config, generator_channels=5, learning_rate=0.0)
    start = {"start_from": tmp_path / "narrow", "ema_decay": 0.0}
    _, run = one_step(wide, matcher, dataset, out=tmp_path / "wide", **start)
    assert run.manifest["started_from"]["fresh"] == []
    asked = captions(4, 5, config)
    # the step has moved running means: statistics of this batch are used
    drawn = [r.task.networks["generator"].train()(*asked) for r in (first, run)]
    torch.testing.assert_close(*(output.images for output in drawn), rtol=0, atol=1e-5)
    other = replace(wide, noise_dim=4)  # not the same generator at all
    _, run = one_step(other, matcher, dataset, out=tmp_path / "other", **start)
    fresh = run.manifest["started_from"]["fresh"]
    assert "generator.first.linear.weight" in fresh
    assert not any(name.startswith("discriminator.") for name in fresh)


def test_one_step_is_the_originals(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    """The shared forward pass and skipped gradients against a step written out."""
    task, _ = one_step(TINY, matcher, dataset, ema_decay=0.0)
    torch.manual_seed(0)
    plain = AttnGANTask(TINY, copy.deepcopy(matcher), dataset.max_tokens).networks
    generator, judges = plain["generator"], plain["discriminator"]
    assert isinstance(judges, Discriminators)
    adam = {"lr": 2e-4, "betas": (0.5, 0.999)}
    of_generator = torch.optim.Adam(generator.parameters(), **adam)
    of_judges = [torch.optim.Adam(judge.parameters(), **adam) for judge in judges]

    batch = next(dataset.batches(4, seed=0))
    noise, eps = (
        torch.randn(
            4,
            size,
            generator=torch.Generator().manual_seed(
                stream_seed(0, 0, "discriminator", call)
            ),
        )
        for call, size in enumerate((TINY.noise_dim, TINY.condition_dim))
    )
    with torch.no_grad():
        words, sentence = plain["matcher_text"](batch.tokens, batch.lengths)
    drawn = generator(noise, words, sentence, batch.mask, eps)
    bce = nn.functional.binary_cross_entropy_with_logits
    one, zero = torch.ones(4), torch.zeros(4)
    reals = (nn.functional.interpolate(batch.images, 8, mode="area"), batch.images)
    for judge, optimizer, real, fake in zip(
        judges, of_judges, reals, drawn.images, strict=True
    ):
        optimizer.zero_grad()
        features = judge.trunk(real)
        right = bce(judge._judge_together(features, sentence), one)
        right = right + bce(judge.unconditional(features).flatten(), one)
        wrong = bce(judge._judge_together(features[:3], sentence[1:]), zero[:3])
        features = judge.trunk(fake.detach())
        false = bce(judge._judge_together(features, sentence), zero)
        false = false + bce(judge.unconditional(features).flatten(), zero)
        (right / 2 + (wrong + false) / 3).backward()
        optimizer.step()
    of_generator.zero_grad()
    loss = torch.zeros(())
    for judge, fake in zip(judges, drawn.images, strict=True):
        for logits in judge(fake, sentence):
            loss = loss + bce(logits, one)
    regions, features = plain["matcher_image"](drawn.images[-1])
    match = damsm_losses(
        regions, features, words, sentence, batch.mask, batch.class_ids
    ).total
    (loss + 5 * match + condition_kl(drawn.mu, drawn.logvar)).backward()
    of_generator.step()
    for name in ("generator", "discriminator"):
        for key, value in plain[name].state_dict().items():
            torch.testing.assert_close(
                task.networks[name].state_dict()[key], value, msg=lambda m, k=key: k + m
            )


def test_parts_of_a_batch_add_up_without_batch_statistics(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    # the generator has batch norm and the matching loss negatives of the batch, so
    # only the judges can be the same; wrong pairs too are drawn within a part
    config = replace(RECIPES["small"], damsm_weight=0.0)
    _, whole = one_step(config, matcher, dataset)
    _, parts = one_step(config, matcher, dataset, accumulate=2)
    assert torch.isfinite(torch.tensor(parts.history[-1]["generator/loss"]))
    assert set(whole.history[-1]) == set(parts.history[-1])


def test_a_first_training_teaches_the_text_encoders_alone(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    config = replace(RECIPES["reading"], reading_only=True)
    before = a_task(config, matcher, dataset).networks
    task, run = one_step(config, matcher, dataset)
    learned = {
        name
        for name, network in task.networks.items()
        for old, new in zip(
            before[name].parameters(), network.parameters(), strict=True
        )
        if not torch.equal(old, new)
    }
    assert learned == {"text", "judge_text", "reader", "judge_reader"}
    # the training proper begins with all of them
    following = replace(config, reading_only=False)
    assert set(a_task(following, matcher, dataset).networks) == set(task.networks)
    assert run.history[-1]["loss"] > 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_labels_of_pairs_come_with_those_that_captions_allow(
    accumulate: int, matcher: DAMSMMatcher
) -> None:
    pairs = load_dataset(
        "shapes", "train", 16, objects=(2,), attributes=TAUGHT, size=16
    )
    task = a_task(RECIPES["small"], matcher, pairs)
    task.equally_right = pairs.equally_right  # what build() hands over
    step = SimpleNamespace(gather=lambda x: x, rand=torch.rand)
    labels = task._choices(pairs.batch(range(8)), torch.randn(8, 6), step)[1]
    assert labels.allowed == 3 and len(labels.ids) == 5 * 8
    own, others = labels.ids[:8], labels.ids[16:].view(3, 8)
    told = torch.tensor(
        ["relation" in s.mentions for s in pairs.batch(range(8)).scenes]
    )
    assert told.any() and (others[:, told] == own[told]).all()
    # exchanging two alike changes nothing, another relation always does
    assert not told.all() and (others[1:, ~told] != own[~told]).all()
    settings = {"steps": 2, "batch_size": 8, "log_every": 1, "progress": "none"}
    run = fit(task, pairs, TrainingConfig(**settings, accumulate=accumulate))
    assert all(math.isfinite(v) for row in run.history for v in row.values())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_all_values_of_labels_are_compared_as_by_hand(
    accumulate: int, matcher: DAMSMMatcher
) -> None:
    pairs = load_dataset(
        "shapes", "train", 16, objects=(1, 2), attributes=TAUGHT, size=16
    )
    config = replace(RECIPES["small"], every_value=True)
    task = a_task(config, matcher, pairs)
    task.equally_right, task.told = pairs.equally_right, pairs.told
    task.nearly_right = pairs.nearly_right
    step = SimpleNamespace(gather=lambda x: x, rand=torch.rand)
    batch, sizes = pairs.batch(range(8)), task.label_sizes
    choices = task._choices(batch, torch.randn(8, 6), step)
    asked = task._asked(choices)
    # captions and their near misses, then every value of every label
    assert [len(group.ids) for group in choices] == [16]
    assert asked.shape == (16 + sum(sizes) + len(sizes), 6)
    logits = [torch.randn(8, len(asked)) for _ in config.sizes]
    values = [stage[:, 16:] for stage in logits]
    own, allowed = batch.attributes[None], pairs.equally_right(batch)
    step.randn = torch.randn
    for drawn, right, told in (
        (None, own, None),
        (task._draw(batch, step), torch.cat([own, allowed]), pairs.told(batch)),
    ):
        generated = drawn is not None
        found = task._matching(logits, choices, batch, step, drawn)
        expected = [values_loss(stage, right, sizes, told) for stage in values]
        expected += [
            choices_loss([stage[:, :16]], choices, step, generated) for stage in logits
        ]
        torch.testing.assert_close(found, torch.stack(expected).sum())
    settings = {"steps": 2, "batch_size": 8, "log_every": 1, "progress": "none"}
    run = fit(task, pairs, TrainingConfig(**settings, accumulate=accumulate))
    assert all(math.isfinite(v) for row in run.history for v in row.values())


@pytest.mark.parametrize("objective", ["hinge", "non-saturating"])
def test_pictures_are_judged_with_their_labels_as_by_hand(
    objective: str, matcher: DAMSMMatcher
) -> None:
    """Both phases with the term, less the same without it."""
    pairs = load_dataset(
        "shapes", "train", 16, objects=(1, 2), attributes=TAUGHT, size=16
    )
    config = replace(RECIPES["values"], objective=objective, damsm_weight=0.0)
    batch = pairs.batch(range(8))
    draws = torch.Generator()
    found = {}
    for weight in (0.0, 0.5):
        task = a_task(replace(config, labels_weight=weight), matcher, pairs)
        task.equally_right, task.told = pairs.equally_right, pairs.told
        draws.manual_seed(1)
        step = SimpleNamespace(
            gather=lambda x: x,
            rand=lambda *shape: torch.rand(shape, generator=draws),
            randn=lambda *shape: torch.randn(shape, generator=draws),
            accumulating=False,
            index=1,
        )
        for phase in ("discriminator", "generator"):
            step.phase = phase
            if phase == "generator":
                drawn = task._drawn
            found[phase, weight] = task.training_step(batch, step)["loss"]
    judges, labels = task.networks["discriminator"], task.networks["labels"]
    sizes = task.label_sizes
    sentence = task._read_judging(batch.tokens, batch.lengths)
    right = torch.cat([batch.attributes[None], pairs.equally_right(batch)])
    reals = pictures_of_stages(batch.images, config.sizes)
    of_judges, of_generator = torch.zeros(()), torch.zeros(())
    for judge, real, fake in zip(judges, reals, drawn.output.images, strict=True):
        values = judge(fake, sentence, labels(value_rows(sizes)))[2]
        rows = completed(values, right, sizes, pairs.told(batch))
        accepted = judge(real, labels(batch.attributes))[0]
        refused = judge(fake, labels(rows))[0]
        if objective == "hinge":
            of_judges = of_judges + (1 - accepted).relu().mean() / 2
            of_judges = of_judges + (1 + refused).relu().mean() / 3
            of_generator = of_generator - refused.mean()
        else:
            softplus = torch.nn.functional.softplus
            of_judges = of_judges + softplus(-accepted).mean() / 2
            of_judges = of_judges + softplus(refused).mean() / 3
            of_generator = of_generator + softplus(-refused).mean()
    for phase, term in (("discriminator", of_judges), ("generator", of_generator)):
        difference = found[phase, 0.5] - found[phase, 0.0]
        torch.testing.assert_close(difference, 0.5 * term, rtol=1e-4, atol=1e-4)


def test_the_loss_of_reading_by_hand(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    task = a_task(RECIPES["reading"], matcher, dataset)
    batch = dataset.batch(range(5))
    batch.attributes[2, 1] = -1  # does not apply: costs nothing
    sentence = torch.randn(5, 6)
    found = task._reading("text", sentence, task._meeting(batch))
    logits = task.networks["reader"](torch.nn.functional.layer_norm(sentence, (6,)))
    costs, first = [], 0
    for column, size in zip(batch.attributes.T, task.label_sizes, strict=True):
        options = logits[:, first : first + size + 1]  # "does not apply" is the first
        for row, value in zip(options, column, strict=True):
            if value >= 0:
                costs.append(-row.log_softmax(0)[value + 1])
        first += size + 1
    assert len(costs) == batch.attributes.numel() - 1
    torch.testing.assert_close(found, torch.stack(costs).mean())
    # who knows nothing pays log (n + 1) for each label
    torch.nn.init.zeros_(task.networks["reader"].weight)
    torch.nn.init.zeros_(task.networks["reader"].bias)
    meeting = task._meeting(dataset.batch(range(5)))
    ignorant = task._reading("text", sentence, meeting).item()
    mean = sum(math.log(n + 1) for n in task.label_sizes) / len(task.label_sizes)
    assert ignorant == pytest.approx(mean, rel=1e-5)


def test_reading_a_pair_whose_sides_are_open_either_order_will_do(
    matcher: DAMSMMatcher,
) -> None:
    pairs = load_dataset(
        "shapes", "train", 16, objects=(2,), attributes=TAUGHT, size=64
    )
    task = a_task(RECIPES["reading"], matcher, pairs)
    task.equally_right, task.told = pairs.equally_right, pairs.told
    batch = pairs.batch(range(64))
    said = torch.tensor(["relation" in scene.mentions for scene in batch.scenes])
    one, other, told = (
        batch.attributes,
        pairs.equally_right(batch)[0],
        pairs.told(batch),
    )
    reader = task.networks["reader"]
    sentences = torch.zeros(64, 6)

    def cost(row: int, rows: Tensor) -> float:
        """Of somebody who is sure of these rows, about one caption."""
        parts = zip(rows[row], task.label_sizes, strict=True)
        sure = [
            20.0 * torch.nn.functional.one_hot(value + 1, size + 1)
            for value, size in parts
        ]
        with torch.no_grad():
            reader.weight.zero_()
            reader.bias.copy_(torch.cat(sure))
        meeting = task._meeting(pairs.batch([row]))
        return task._reading("text", sentences[:1], meeting).item()

    both = (one != other) & told
    assert (both.any(dim=1) & ~said).any()
    for row in range(64):
        assert cost(row, one) < 1e-5 and cost(row, other) < 1e-5
        # half of one order and half of the other is no order
        mixed = one.clone()
        if both[row].sum() > 1:
            first = both[row].nonzero()[0]
            mixed[row, first] = other[row, first]
            assert cost(row, mixed) > 1


def test_the_noise_tells_drawn_pictures_what_captions_leave_open(
    matcher: DAMSMMatcher,
) -> None:
    pairs = load_dataset(
        "shapes", "train", 16, objects=(1, 2), attributes=TAUGHT, size=16
    )
    config = replace(RECIPES["labels"], noise_labels=True, noise_dim=20)
    task = a_task(config, matcher, pairs)
    task.equally_right, task.told = pairs.equally_right, pairs.told
    task.by_lot = pairs.by_lot  # what build() hands over
    batch, sizes = pairs.batch(range(8)), task.label_sizes
    count = sum(sizes) + len(sizes)
    logits = [torch.randn(8, count) for _ in config.sizes]
    noise = torch.randn(8, 20)
    step = SimpleNamespace(
        randn=lambda *shape: noise if shape == noise.shape else torch.randn(shape)
    )
    drawn = task._draw(batch, step)
    row, counted = pairs.by_lot(batch, noise)
    assert (counted & ~pairs.told(batch)).any()
    # real pictures have their own labels
    own = task._labels_of(batch, None)
    assert torch.equal(own[0][0], batch.attributes) and own[1] is None
    right, told = task._labels_of(batch, drawn)
    assert torch.equal(right[0], row) and torch.equal(told, counted)
    scores = task._with_labels(logits, batch, drawn)
    for stage, score in zip(logits, scores, strict=True):
        shown = completed(stage, row[None], sizes, counted)
        assert torch.equal(shown[counted], row[counted])
        torch.testing.assert_close(score, rows_score(stage, shown, sizes))
    settings = {"steps": 2, "batch_size": 8, "log_every": 1, "progress": "none"}
    run = fit(task, pairs, TrainingConfig(**settings))
    assert all(math.isfinite(v) for row in run.history for v in row.values())


def test_labels_by_noise_need_a_data_set_that_knows_what_is_open() -> None:
    emoji = load_dataset("emoji", image_size=64, language="both")
    config = AttnGANTask.defaults("smoke", "emoji")[0]
    config = replace(
        config, sizes=(32, 64), labels=True, every_value=True, noise_labels=True
    )
    with pytest.raises(ValueError, match=r"noise_labels=True.*'emoji' does not"):
        AttnGANTask.build(config, emoji)
    shapes = load_dataset("shapes", image_size=32, language="both", objects=(1,))
    config = replace(
        AttnGANTask.defaults("smoke", "shapes")[0], noise_labels=True, noise_dim=7
    )
    with pytest.raises(ValueError, match=r"must hold 8 numbers .* got 7"):
        AttnGANTask.build(config, shapes)


def test_wrong_pairs_never_say_the_same(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    batch = dataset.batch(range(16))
    batch.class_ids[:8] = batch.class_ids[0]
    sentence = torch.arange(16.0)[:, None].expand(16, 6)
    step = SimpleNamespace(gather=lambda x: x, rand=torch.rand)
    task = AttnGANTask(
        replace(TINY, mismatch="drawn"), copy.deepcopy(matcher), dataset.max_tokens
    )
    for _ in range(20):
        partner = task._mismatched(batch, sentence, step)[0][:, 0].long()
        assert (batch.class_ids[partner] != batch.class_ids).all()
    batch.class_ids[:] = 7  # nobody has a wrong caption
    assert (task._mismatched(batch, sentence, step)[0] == 0).all()


def test_weights_of_wrong_pairs() -> None:
    logits = torch.tensor([[9.0, 1.0, 2.0], [0.0, 9.0, 0.0], [3.0, 3.0, 3.0]])
    different = ~torch.eye(3, dtype=torch.bool)
    different[2] = False
    even = mismatch_weights(logits, different, 0.0)
    torch.testing.assert_close(
        even, torch.tensor([[0, 0.5, 0.5], [0.5, 0, 0.5], [0, 0, 0]])
    )
    focused = mismatch_weights(logits, different, 1.0)
    assert focused[0, 2] / focused[0, 1] == pytest.approx(2.718282, rel=1e-5)


def test_every_pair_is_the_mean_over_drawn_pairs() -> None:
    """What ``all`` computes is what ``drawn`` estimates."""
    config = replace(RECIPES["small"], matching_weight=0.0, labels=False)
    every = Discriminator(config, 0).eval()
    drawn = Discriminator(replace(config, mismatch="drawn"), 0).eval()
    drawn.load_state_dict(every.state_dict())
    images, sentence = torch.randn(4, 3, 8, 8), torch.randn(4, 6)
    matrix = every(images, sentence, sentence)[2]
    assert matrix.shape == (4, 4)
    torch.testing.assert_close(matrix.diagonal(), every(images, sentence)[0])
    for shift in range(4):
        rolled = sentence.roll(-shift, 0)
        torch.testing.assert_close(
            drawn(images, sentence, rolled)[2],
            matrix[torch.arange(4), (torch.arange(4) + shift) % 4],
        )


def test_pictures_pick_captions_and_labels_among_near_misses(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    task = a_task(RECIPES["matching"], matcher, dataset)
    batch = dataset.batch(range(8))
    step = SimpleNamespace(gather=lambda x: x, rand=torch.rand)
    captions = torch.randn(8, 6)
    (first, asked, _), (labels, ids, _) = task._choices(batch, captions, step)
    assert first is captions and asked is batch.class_ids
    assert labels.shape == (16, 6) and ids.shape == (16,)
    torch.testing.assert_close(labels[:8], task.networks["labels"](batch.attributes))
    same_scene = batch.class_ids[:, None] == batch.class_ids
    assert (ids[:8, None] == ids[:8])[same_scene].all()
    assert (ids[8:] != ids[:8]).any()  # most rows have a value that can be changed
    task.nearly_right = dataset.nearly_right  # what build() hands over
    (with_near, all_ids, _), _ = task._choices(batch, captions, step)
    assert with_near.shape == (16, 6)
    assert with_near[:8].equal(captions) and all_ids[:8].equal(batch.class_ids)
    assert (all_ids[8:] != batch.class_ids).all()  # each wrong in one fact
    # a judge that is sure of the right choice pays nothing, an ignorant one log n
    sure = torch.cat([torch.eye(8), torch.eye(8), torch.zeros(8, 8)], dim=1) * 100
    choices = [Choices(first, torch.arange(8)), Choices(labels, torch.arange(16))]
    assert task._matching([sure], choices, batch, step) == pytest.approx(0, abs=1e-6)
    ignorant = task._matching([torch.zeros(8, 24)], choices, batch, step)
    expected = 2 * math.log(8) + math.log(16) + math.log(8)
    assert ignorant == pytest.approx(expected, rel=1e-5)


def test_build_says_what_does_not_fit(
    dataset: CaptionedDataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"config\.damsm must name a trained"):
        AttnGANTask.build(TINY, dataset)
    with pytest.raises(ValueError, match=r"sizes must end with.*16; got \(64"):
        AttnGANTask.build(AttnGANConfig.cub(damsm="x"), dataset)


def test_matcher_of_another_size_is_refused(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    with pytest.raises(ValueError, match=r"feature_dim must be.*6; got 256"):
        AttnGANTask(AttnGANConfig.cub(), matcher, dataset.max_tokens)


def test_training_from_the_folder_of_a_matching_run(
    dataset: CaptionedDataset, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = DAMSMConfig(16, feature_dim=6, embedding_dim=4, width=8, grid=4)
    fit(
        DAMSMTask.build(config, dataset),
        dataset,
        TrainingConfig(
            steps=1, batch_size=4, out=str(tmp_path / "damsm"), progress="none"
        ),
    )
    gan = replace(RECIPES["small"], damsm=str(tmp_path / "damsm"))
    out = str(tmp_path / "gan")
    run = fit(
        AttnGANTask.build(gan, dataset),
        dataset,
        TrainingConfig(steps=2, batch_size=4, out=out, progress="none", sample_every=1),
    )
    pictures = run.sampler().sample(["a red circle"])
    assert pictures.shape == (1, 3, 16, 16)
    again = Run.load(out).sampler()
    assert torch.equal(pictures, again.sample(["a red circle"]))
    assert sorted((tmp_path / "gan" / "samples").glob("*.png"))
    longer = Run.resume(out, steps=3)
    assert longer.manifest["steps"] == 3


@pytest.mark.parametrize("scale", ["smoke", "laptop", "full"])
@pytest.mark.parametrize("name", ["shapes", "emoji", "cub", "coco"])
def test_defaults_fit_together(scale: str, name: str) -> None:
    config, training, data = AttnGANTask.defaults(scale, name)
    TrainingConfig(**training)
    assert data["image_size"] == config.sizes[-1]
    if name in ("cub", "coco") and scale == "full":
        paper = getattr(AttnGANConfig, name)()
        assert config == paper
