"""AttnGAN against the original's numbers, its equations, and what must not happen."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path

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
    pictures_of_stages,
)
from mmgen.models.damsm import DAMSMConfig, DAMSMMatcher, DAMSMTask, damsm_losses
from mmgen.training import Run, TrainingConfig, build, fit
from mmgen.training.step import stream_seed

ORIGINAL = Path(__file__).parents[2] / "data" / "attngan_tiny"
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
    ("config", "generator", "discriminators"),
    [
        (AttnGANConfig.cub(), 7_084_592, (6_313_730, 19_424_002, 71_858_946)),
        (AttnGANConfig.coco(), 13_811_456, (13_304_450, 42_800_258, 160_774_274)),
    ],
)
def test_sizes_are_the_papers(
    config: AttnGANConfig, generator: int, discriminators: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        assert parameters(Generator(config)) == generator
        assert (
            tuple(parameters(Discriminator(config, i)) for i in range(3))
            == discriminators
        )


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
    """What the test above allows is less than what the mask changes."""
    scale, words = expected["scale"], expected["words"].transpose(1, 2)
    mask = torch.arange(7)[None] < expected["lengths"][:, None]
    drawn = []
    for legacy_mask in (False, True):
        generator = load_original(ORIGINAL, legacy_mask=legacy_mask).generator
        assert generator is not None
        given = scale * words, scale * expected["sentence"], mask
        with torch.no_grad():
            drawn.append(generator(expected["z"], *given, expected["eps"]).images)
    torch.testing.assert_close(drawn[0][0], drawn[1][0])  # which looks at no word
    for one, other in zip(drawn[0][1:], drawn[1][1:], strict=True):
        assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_discriminator_scores_as_the_original(
    expected: dict[str, Tensor], stage: int
) -> None:
    original = load_original(ORIGINAL)
    assert original.generator is not None
    network, side = original.discriminators[stage], 64 * 2**stage
    sentence = expected["scale"] * expected["sentence"]
    words = expected["scale"] * expected["words"].transpose(1, 2)
    mask = torch.arange(7)[None] < expected["lengths"][:, None]
    with torch.no_grad():
        fakes = original.generator(
            expected["z"], words, sentence, mask, expected["eps"]
        ).images[stage]
        fake = network(fakes, sentence)
        for logits, name in zip(fake, ("conditional", "unconditional"), strict=True):
            torch.testing.assert_close(
                logits.sigmoid(), expected[f"D{stage}/{name}"], rtol=0, atol=1e-5
            )
        b, c, y, x = torch.meshgrid(
            *(torch.arange(float(n)) for n in (3, 3, side, side)), indexing="ij"
        )
        pictures = torch.sin(0.05 * (b + 1) * x + 0.07 * (c + 1) * y)
        real = network(pictures, sentence, sentence[1:])
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
    network = (ORIGINAL / "netD1.pth").read_bytes()
    (tmp_path / "netD1.pth").write_bytes(network)
    with pytest.raises(ValueError, match=r"from netD0\.pth on.*only netD1"):
        load_original(tmp_path)
    (tmp_path / "netD0.pth").write_bytes(network[: len(network) // 2])
    with pytest.raises(ValueError, match=r"netD0\.pth.*damaged"):
        load_original(tmp_path)
    (tmp_path / "netD0.pth").write_bytes((ORIGINAL / "netD0.pth").read_bytes())
    (tmp_path / "netD1.pth").write_bytes((ORIGINAL / "netD0.pth").read_bytes())
    with pytest.raises(ValueError, match=r"netD1\.pth lacks"):
        load_original(tmp_path)


# ------------------------------------------------------------------ generator


def test_shapes_of_every_stage() -> None:
    drawn = Generator(TINY)(*captions(3, 4, TINY))
    assert [tuple(x.shape) for x in drawn.images] == [(3, 3, 8, 8), (3, 3, 16, 16)]
    assert [tuple(a.shape) for a in drawn.attention] == [(3, 4, 8, 8)]
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


def test_the_first_stage_sees_the_sentence_and_later_ones_the_words() -> None:
    noise, words, sentence, mask, eps = captions(2, 4, TINY)
    generator = Generator(TINY).eval()
    one = generator(noise, words, sentence, mask, eps).images
    two = generator(noise, words.flip(2), sentence, mask, eps).images
    torch.testing.assert_close(one[0], two[0])
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


# ------------------------------------------------------------- discriminators


def a_discriminator_for_each_stage(config: AttnGANConfig) -> Discriminators:
    return Discriminators(Discriminator(config, i) for i in range(len(config.sizes)))


def test_logits_of_right_and_wrong_pairs() -> None:
    networks = a_discriminator_for_each_stage(TINY).eval()
    images = [torch.randn(3, 3, s, s) for s in TINY.sizes]
    sentence = torch.randn(3, TINY.feature_dim)
    for network, pictures, scored in zip(
        networks, images, networks(images, sentence, sentence[1:]), strict=True
    ):
        conditional, unconditional, wrong = scored
        assert conditional.shape == unconditional.shape == (3,)
        assert wrong.shape == (2,)
        pair = network(pictures[:2], sentence[1:])
        torch.testing.assert_close(pair[0], wrong)
        torch.testing.assert_close(pair[1], unconditional[:2])
    other = networks(images, sentence + 1)[0]
    torch.testing.assert_close(other[1], networks(images, sentence)[0][1])
    assert not torch.allclose(other[0], networks(images, sentence)[0][0])


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


def a_task(matcher: DAMSMMatcher, dataset: CaptionedDataset) -> AttnGANTask:
    torch.manual_seed(0)
    return AttnGANTask.build(TINY, dataset, {"damsm": copy.deepcopy(matcher)})


def one_step(
    matcher: DAMSMMatcher, dataset: CaptionedDataset, **training
) -> tuple[AttnGANTask, Run]:
    task = a_task(matcher, dataset)
    settings = {"steps": 1, "batch_size": 4, "log_every": 1, "progress": "none"}
    return task, fit(task, dataset, TrainingConfig(**(settings | training)))


def test_a_step_changes_what_is_trained_and_nothing_else(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    before = a_task(matcher, dataset).networks
    task, run = one_step(matcher, dataset)
    for name, network in task.networks.items():
        old = dict(before[name].named_parameters())
        moved = {k for k, p in network.named_parameters() if not torch.equal(p, old[k])}
        assert moved == (set() if name.startswith("matcher") else set(old)), name
        if name.startswith("matcher"):
            for key, buffer in network.named_buffers():
                assert torch.equal(buffer, dict(before[name].named_buffers())[key])
    row = run.history[-1]
    assert {"discriminator/loss", "generator/damsm", "generator/kl"} <= set(row)


def test_one_step_is_the_originals(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    """The shared forward pass and skipped gradients against a step written out."""
    task, _ = one_step(matcher, dataset, ema_decay=0.0)
    plain = a_task(matcher, dataset).networks
    generator, discriminators = plain["generator"], plain["discriminator"]
    assert isinstance(discriminators, Discriminators)
    adam = {"lr": 2e-4, "betas": (0.5, 0.999)}
    of_generator = torch.optim.Adam(generator.parameters(), **adam)
    of_networks = [
        torch.optim.Adam(network.parameters(), **adam) for network in discriminators
    ]

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
    for network, optimizer, real, fake in zip(
        discriminators, of_networks, reals, drawn.images, strict=True
    ):
        optimizer.zero_grad()
        features = network.trunk(real)
        right = bce(network._with(features, sentence), one)
        right = right + bce(network.unconditional(features).flatten(), one)
        wrong = bce(network._with(features[:3], sentence[1:]), zero[:3])
        features = network.trunk(fake.detach())
        false = bce(network._with(features, sentence), zero)
        false = false + bce(network.unconditional(features).flatten(), zero)
        (right / 2 + (wrong + false) / 3).backward()
        optimizer.step()
    of_generator.zero_grad()
    loss = torch.zeros(())
    for network, fake in zip(discriminators, drawn.images, strict=True):
        for logits in network(fake, sentence):
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


def test_build_says_what_does_not_fit(
    matcher: DAMSMMatcher, dataset: CaptionedDataset
) -> None:
    with pytest.raises(ValueError, match=r"config\.damsm must name a matching model"):
        AttnGANTask.build(TINY, dataset)
    with pytest.raises(ValueError, match=r"sizes must end with.*16; got \(64"):
        AttnGANTask.build(AttnGANConfig.cub(), dataset, {"damsm": matcher})
    chinese = load_dataset("shapes", "train", 16, "zh", size=8)
    with pytest.raises(ValueError, match="of this data set's vocabulary"):
        AttnGANTask.build(TINY, chinese, {"damsm": matcher})
    assert AttnGANTask.requires(AttnGANConfig.cub(damsm="x")) == {"damsm": "x"}


def test_training_from_the_folder_of_a_matching_run(
    dataset: CaptionedDataset, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = DAMSMConfig(16, feature_dim=6, embedding_dim=4, width=8, grid=4)
    settings = {"batch_size": 4, "progress": "none"}
    fit(
        DAMSMTask.build(config, dataset),
        dataset,
        TrainingConfig(steps=1, out=str(tmp_path / "damsm"), **settings),
    )
    gan, out = replace(TINY, damsm=str(tmp_path / "damsm")), str(tmp_path / "gan")
    run = fit(
        build(AttnGANTask, gan, dataset),
        dataset,
        TrainingConfig(steps=2, out=out, sample_every=1, **settings),
    )
    pictures = run.sampler().sample(["a red circle"])
    assert pictures.shape == (1, 3, 16, 16)
    assert torch.equal(pictures, Run.load(out).sampler().sample(["a red circle"]))
    assert sorted((tmp_path / "gan" / "samples").glob("*.png"))
    assert Run.resume(out, steps=3).manifest["steps"] == 3
