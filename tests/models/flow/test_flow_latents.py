"""The space that is drawn in: its scale, its nearest codes, and the way back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import embedding

from mmgen.models.flow import CodeLatents, GridLatents, PixelLatents
from mmgen.models.flow.latents import space_of
from mmgen.models.vqvae import VQVAESampler
from mmgen.pretrained import load
from tests.models.tiny_codes import autoencoder_config, tokenizer, world


def test_published_latents_have_mean_0_and_variance_1() -> None:
    """Of pictures that are not those whose codes were counted."""
    from mmgen.data import load_dataset

    space = CodeLatents(load("vq-shapes64"), 6)
    assert (space.channels, space.side) == (6, 8)
    data = load_dataset("shapes", "test", 64, objects=(1, 2, 3, 4), size=128)
    latents = space.encode(data.batch(range(128)).images)
    assert latents.shape == (128, 6, 8, 8)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.15
    deviation = latents.std(dim=(0, 2, 3))
    assert deviation.min() > 0.85 and deviation.max() < 1.15
    # and directions are not correlated, as the vectors' numbers are
    flat = latents.permute(1, 0, 2, 3).flatten(1)
    assert (torch.corrcoef(flat) - torch.eye(6)).abs().max() < 0.25
    deviation = space.directions.deviation
    spread = deviation.flip(0) / deviation.max()
    assert spread[3] < 0.3  # three directions hold almost all, and outlines are others
    # of all codes alike, the scale would be far off
    alike = space.vectors().std(dim=0)
    assert alike.max() > 1.5


def test_the_scale_is_that_of_the_counts() -> None:
    coder = tokenizer(side=4, codes=7)
    quantiser = coder.model.quantiser
    quantiser.counts.copy_(torch.tensor([3.0, 0, 1, 0, 0, 4, 0]))
    space = CodeLatents(coder, 3)
    seen = coder.codebook()[[0, 0, 0, 2, 5, 5, 5, 5]]
    torch.testing.assert_close(space.directions.mean, seen.mean(dim=0))
    chosen = space.vectors()[[0, 0, 0, 2, 5, 5, 5, 5]]
    # of three vectors two directions differ; the third stays, and is divided by no 0
    spread = chosen.T @ chosen / 8
    torch.testing.assert_close(spread[1:, 1:], torch.eye(2), rtol=0, atol=1e-4)
    two = CodeLatents(coder, 2)
    assert two.channels == 2
    torch.testing.assert_close(two.vectors(), space.vectors()[:, 1:])
    quantiser.counts.zero_()  # not trained, or without: all alike
    alike = CodeLatents(coder, 3).directions.mean
    torch.testing.assert_close(alike, coder.codebook().mean(dim=0))
    quantiser.codebook.copy_(torch.ones(7, 3))  # nothing to be drawn
    assert torch.isfinite(CodeLatents(coder, 3).vectors()).all()


def test_there_and_back() -> None:
    coder = tokenizer(side=4, codes=7)
    space = CodeLatents(coder, 3)
    images = world().batch(range(6)).images
    latents, codes = space.encode(images), coder.encode(images)
    assert torch.equal(space.codes(latents), codes)
    assert torch.equal(space.decode(latents), coder.reconstruct(images))
    torch.testing.assert_close(
        space.decode(latents, snap=False), coder.reconstruct(images), rtol=0, atol=1e-5
    )


def test_the_nearest_code_is_that_of_the_latents() -> None:
    coder = tokenizer(side=4, codes=7)
    coder.model.quantiser.counts.copy_(torch.rand(7) + 0.1)
    space = CodeLatents(coder, 3)
    latents = torch.randn(70, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    flat = latents.permute(0, 2, 3, 1).reshape(-1, 3)
    distances = torch.cdist(flat, space.vectors())
    codes = space.codes(latents)
    found = distances.gather(1, codes.view(-1, 1)).squeeze(1)  # codes may be equal
    torch.testing.assert_close(found, distances.amin(dim=1), rtol=1e-4, atol=1e-4)
    snapped = embedding(codes, space.vectors()).permute(0, 3, 1, 2)
    torch.testing.assert_close(
        space.decode(latents), space.decode(snapped, snap=False), rtol=0, atol=1e-5
    )
    gap = space.decode(latents) - space.decode(latents, snap=False)
    assert gap.abs().max() > 1e-3


def test_scalar_codes_have_latents_too() -> None:
    torch.manual_seed(0)
    config = replace(autoencoder_config(), quantiser="scalar", levels=(4, 3, 5))
    space = CodeLatents(VQVAESampler(config, 16).eval(), 8)
    assert space.channels == 3
    torch.testing.assert_close(space.vectors().mean(dim=0), torch.zeros(3))
    codes = torch.arange(60).view(15, 2, 2)
    latents = embedding(codes, space.vectors()).permute(0, 3, 1, 2)
    assert torch.equal(space.codes(latents), codes)


def test_an_autoencoder_without_codes() -> None:
    config = replace(autoencoder_config(), quantiser="none")
    with pytest.raises(ValueError, match=r'no codes.*quantiser="none"'):
        CodeLatents(VQVAESampler(config, 16), 3)


def continuous(side: int = 4) -> VQVAESampler:
    """An untrained autoencoder without codes that has seen a few pictures."""
    torch.manual_seed(1)
    config = replace(autoencoder_config(side), quantiser="none", noise=0.1)
    made = VQVAESampler(config, 16).eval()
    vectors = made.latents(world().batch(range(64)).images)
    assert made.model.channel is not None
    made.model.channel.update(vectors.movedim(1, -1).flatten(0, 2))
    return made


def test_vectors_without_codes_have_mean_0_and_variance_1() -> None:
    space = GridLatents(continuous(), 3)
    images = world().batch(range(64)).images
    latents = space.encode(images)
    assert latents.shape == (64, 3, 4, 4)
    flat = latents.movedim(1, -1).flatten(0, 2).double()
    torch.testing.assert_close(
        flat.T @ flat / len(flat), torch.eye(3).double(), rtol=0, atol=1e-3
    )
    assert flat.mean(dim=0).abs().max() < 1e-3
    # there and back
    torch.testing.assert_close(
        space.decode(latents), space.tokenizer.reconstruct(images), rtol=0, atol=1e-4
    )
    # the two directions of the most variance are the last two of the three
    two = GridLatents(space.tokenizer, 2)
    torch.testing.assert_close(two.encode(images), latents[:, 1:], rtol=0, atol=1e-4)


def test_each_autoencoder_has_its_space() -> None:
    assert isinstance(space_of(None, 3, 16), PixelLatents)
    assert isinstance(space_of(tokenizer(), 3, 16), CodeLatents)
    assert isinstance(space_of(continuous(), 3, 16), GridLatents)
    with pytest.raises(ValueError, match="autoencoder without codes"):
        GridLatents(tokenizer(), 3)


def test_pixels_are_latents_as_they_are() -> None:
    space = PixelLatents(16)
    images = world().batch(range(3)).images
    assert torch.equal(space.decode(space.encode(images)), images)
    assert space.decode(3 * images).abs().max() == 1
    assert (space.channels, space.side) == (3, 16)
