"""The networks: what they begin as, what they see, and how they learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.layers.transformer import rotation_of
from mmgen.models.flow import FlowConfig, VelocityTransformer, VelocityUNet, Words
from mmgen.models.flow.networks import patchify, time_features, unpatchify
from mmgen.models.flow.unet import mean_word, velocity_network
from tests.models.flow.tiny_flow import SIZES


def network(fresh: bool = False, **changes: Any) -> VelocityTransformer:
    """Of latents (3, 4, 4), captions of up to 5 of 9 words."""
    torch.manual_seed(0)
    made = VelocityTransformer(FlowConfig(**{**SIZES, **changes}), 9, 5, 3, 4)
    if not fresh:
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def given(rows: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points, times, tokens and lengths."""
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(rows, 3, 4, 4, generator=generator)
    tokens = torch.randint(2, 9, (rows, 5), generator=generator)
    time = torch.linspace(0.2, 0.7, rows)
    return points, time, tokens, torch.tensor([3, 5, 1, 4])[:rows]


def test_the_default_sizes() -> None:
    """Of the published codes: vectors of 16 numbers on a grid of 8 x 8."""
    made = VelocityTransformer(FlowConfig(), 101, 24, 16, 8)
    count = sum(p.numel() for p in made.parameters())
    assert 2.0e6 < count < 2.5e6
    assert made(torch.randn(1, 16, 8, 8), *(v[:1] for v in given(1)[1:])).shape == (
        1,
        16,
        8,
        8,
    )


def test_at_first_every_block_is_the_identity_and_the_velocity_is_0() -> None:
    made = network(fresh=True)
    points, time, tokens, lengths = given()
    assert torch.equal(made(points, time, tokens, lengths), torch.zeros_like(points))
    words = made.read(tokens, lengths)
    places = torch.arange(6)[:, None].expand(6, 3) * torch.tensor([1, 0, 0])
    at = made.places
    turns = [rotation_of(p, at.frequencies, points) for p in (at.grid, places)]
    pieces = torch.randn(2, 16, 24)
    modulation = made.modulate(torch.randn(2, 24))
    for block in made.blocks:
        after = block(pieces, modulation, turns[0], words, turns[1])
        assert torch.equal(after, pieces)


def test_what_learns_in_the_first_steps() -> None:
    """Of zeros in a row, the last learns first; attention begins in the third step."""
    made = network(fresh=True)
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    target = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    learning: list[set[str]] = []
    for _ in range(3):
        optimizer.zero_grad()
        (made(*given()) - target).square().mean().backward()
        learning.append(
            {
                n
                for n, p in made.named_parameters()
                if p.grad is not None and p.grad.any()
            }
        )
        optimizer.step()
    assert learning[0] == {"last.weight", "last.bias"}
    assert "modulate.weight" in learning[1] and "blocks.0.offsets" in learning[1]
    assert "blocks.0.attention.project.weight" not in learning[1]
    every = {name for name, _ in made.named_parameters()}
    assert learning[2] == every


def test_times_are_told_apart() -> None:
    """A network of times 0..1 in place of 0..1000 could hardly."""
    features = time_features(torch.linspace(0, 1, 21))
    assert features.shape == (21, 128)
    distance = torch.cdist(features, features) / features.norm(dim=1).mean()
    distance.fill_diagonal_(1)
    assert distance.min() > 0.3
    made = network()
    points, _, tokens, lengths = given()
    early, late = (
        made(points, torch.full((2,), t), tokens, lengths) for t in (0.3, 0.35)
    )
    assert (early - late).abs().max() > 0.01


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_squares_come_back_in_their_places(patch: int) -> None:
    latents = torch.arange(2 * 3 * 8 * 8).float().view(2, 3, 8, 8)
    tokens = patchify(latents, patch)
    many = 8 // patch
    assert tokens.shape == (2, many**2, 3 * patch**2)
    assert torch.equal(unpatchify(tokens, patch, 8), latents)
    # the second token is the second square of the first row; channels come last
    square = latents[:, :, :patch, patch % 8 : 2 * patch]
    if many > 1:
        assert torch.equal(tokens[:, 1], square.permute(0, 2, 3, 1).flatten(1))


# --------------------------------------------------------------------- what it sees


def test_padding_changes_nothing_and_every_word_does() -> None:
    made = network()
    points, time, tokens, lengths = (v[:1] for v in given())
    velocity = made(points, time, tokens, lengths)
    other = tokens.clone()
    other[:, 3:] = 0
    torch.testing.assert_close(made(points, time, other, lengths), velocity)
    torch.testing.assert_close(made(points, time, tokens[:, :3], lengths), velocity)
    for at in range(3):
        changed = tokens.clone()
        changed[:, at] = (tokens[:, at] - 1) % 7 + 2
        gap = (made(points, time, changed, lengths) - velocity).abs()
        assert gap.amax(dim=1).min() > 1e-4  # at every place


def test_the_order_of_words_is_read() -> None:
    made = network()
    points, time, _, _ = (v[:1] for v in given())
    one, other = torch.tensor([[2, 3, 4]]), torch.tensor([[4, 3, 2]])
    length = torch.tensor([3])
    gap = made(points, time, one, length) - made(points, time, other, length)
    assert gap.abs().max() > 0.01


def test_an_empty_caption_is_none() -> None:
    made = network()
    points, time, tokens, _ = given()
    none = torch.zeros(2, dtype=torch.int64)
    velocity = made(points, time, tokens, none)
    torch.testing.assert_close(made(points, time, tokens[:, :0], none), velocity)
    torch.testing.assert_close(made(points, time, tokens.flip(0), none), velocity)
    assert torch.isfinite(velocity).all()


@pytest.mark.parametrize("part", ["attention", "reading"])
def test_places_reach_every_attention(part: str) -> None:
    """The same tokens at other places, without the vectors of places."""
    made = network(depth=1)
    torch.nn.init.zeros_(made.places.vectors)
    block: Any = made.blocks[0]
    for name in {"attention", "reading"} - {part}:
        torch.nn.init.zeros_(getattr(block, name).out.weight)
    points, time, tokens, lengths = (v[:1] for v in given())
    turned = points.transpose(2, 3)
    velocity = made(points, time, tokens, lengths).transpose(2, 3)
    gap = (made(turned, time, tokens, lengths) - velocity).abs().max()
    made.places.grid = torch.zeros_like(made.places.grid)
    none = made(points, time, tokens, lengths).transpose(2, 3)
    torch.testing.assert_close(made(turned, time, tokens, lengths), none)
    assert gap > 1e-3


def test_rows_of_a_batch_do_not_meet() -> None:
    made = network()
    batch = given(4)
    together = made(*batch)
    for row in range(4):
        alone = made(*(v[row : row + 1] for v in batch))
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-4, atol=1e-5)


# --------------------------------------------------------------------------- the U-Net


def unet(fresh: bool = False, **changes: Any) -> VelocityUNet:
    """As ``network``: a fine grid of 4 x 4, and a coarse one of 2 x 2."""
    torch.manual_seed(0)
    made = VelocityUNet(FlowConfig(**{**SIZES, **changes}), 9, 5, 3, 4)
    if not fresh:
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def test_a_fresh_unet_says_0_and_its_blocks_are_the_identity() -> None:
    made = unet(fresh=True)
    points, time, tokens, lengths = given()
    assert torch.equal(made(points, time, tokens, lengths), torch.zeros_like(points))
    told, words = torch.randn(2, 24), made.read(tokens, lengths)
    fine, coarse = torch.randn(2, 12, 4, 4), torch.randn(2, 24, 2, 2)
    for block in (*made.down, *made.up):
        assert torch.equal(block(fine, told), fine)
    placed = made.places(coarse.flatten(2).transpose(1, 2), words)
    for block in made.coarse:
        after = block(coarse, told, placed.rotation, words, placed.word_rotation)
        assert torch.equal(after, coarse)


def test_all_of_a_unet_learns_in_a_few_steps() -> None:
    made = unet(fresh=True)
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    target = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    for _ in range(4):
        optimizer.zero_grad()
        (made(*given()) - target).square().mean().backward()
        optimizer.step()
    still = [
        n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()
    ]
    # of the words that no caption of these had, nothing is learned
    assert still == []


def test_what_a_unet_sees() -> None:
    """Time, every word, every place; no padding and no other row."""
    made = unet()
    points, time, tokens, lengths = given()
    velocity = made(points, time, tokens, lengths)
    assert (made(points, time + 0.1, tokens, lengths) - velocity).abs().max() > 1e-3
    longer = tokens.clone()
    longer[0, 3:] = 7  # behind the end of a caption of 3
    torch.testing.assert_close(made(points, time, longer, lengths), velocity)
    for place in range(3):
        other = tokens.clone()
        other[0, place] = (other[0, place] + 1) % 9
        gap = made(points, time, other, lengths) - velocity
        assert gap[0].abs().max() > 1e-4
        assert gap[1].abs().max() == 0
    moved = points.clone()
    moved[0, 0, 0, 0] += 1  # far from the other corner: through the attention
    assert (made(moved, time, tokens, lengths) - velocity)[0, :, 3, 3].abs().max() > 0


@pytest.mark.parametrize("part", ["attention", "reading"])
def test_places_reach_every_attention_of_a_unet(part: str) -> None:
    """By rotation alone; where all places are one, exchanged features stay so."""
    made = unet(depth=1)
    words = made.read(*given()[2:])
    block: Any = made.coarse[0]
    others = {"attention", "reading"} - {part}
    for linear in (block.near.conv2, *(getattr(block, name).out for name in others)):
        for parameter in linear.parameters():
            torch.nn.init.zeros_(parameter)
    features = torch.randn(2, 24, 2, 2, generator=torch.Generator().manual_seed(3))
    told = torch.randn(2, 24)

    def gap() -> float:
        tokens = features.flatten(2).transpose(1, 2)
        _, *turns = made.places(tokens, words)
        turns.insert(1, words)
        after = block(features, told, *turns)
        turned = block(features.transpose(2, 3), told, *turns)
        return (turned.transpose(2, 3) - after).abs().max().item()

    assert gap() > 1e-3
    made.places.grid = torch.zeros_like(made.places.grid)
    assert gap() < 1e-5


def test_every_convolution_of_a_unet_hears_the_caption() -> None:
    """Without attention to words, through the mean over them."""
    made = unet()
    for block in made.coarse:
        torch.nn.init.zeros_(block.reading.out.weight)  # type: ignore[union-attr]
    points, time, tokens, lengths = given()
    velocity = made(points, time, tokens, lengths)
    assert (made(points, time, tokens.flip(0), lengths) - velocity).abs().max() > 1e-3
    torch.nn.init.zeros_(made.whole.weight)
    velocity = made(points, time, tokens, lengths)
    torch.testing.assert_close(made(points, time, tokens.flip(0), lengths), velocity)


def test_a_mean_word_is_of_real_words() -> None:
    features = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    found = mean_word(Words(features, mask))
    torch.testing.assert_close(found, torch.tensor([[1.0, 2.0], [6.0, 7.0]]))


def test_a_unet_knows_where_a_place_is() -> None:
    """The same noise everywhere, and yet another velocity at each place."""
    made = unet()
    _, time, tokens, lengths = given()
    before = made(torch.zeros(2, 3, 4, 4), time, tokens, lengths)
    torch.nn.init.zeros_(made.places.vectors)
    after = made(torch.zeros(2, 3, 4, 4), time, tokens, lengths)
    assert (before - after).abs().max() > 1e-3


@pytest.mark.parametrize("patch", [1, 2])
def test_a_unet_of_squares(patch: int) -> None:
    """Squares of pixels become channels, and come back in their places."""
    made = VelocityUNet(FlowConfig(**SIZES, patch=patch), 9, 5, 3, 8)
    assert made.places.grid.shape == ((8 // patch // 2) ** 2, 3)
    _, *rest = given()
    assert made(torch.randn(2, 3, 8, 8), *rest).shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch": 3}, "config.patch must divide the side of the latents, 4; got 3"),
        ({"patch": 4}, "side 4 must be a multiple of twice config.patch"),
        ({"width": 25, "heads": 1}, "config.width even; got patch 1 and width 25"),
        ({"width": 28, "heads": 2}, "channels must be a multiple of 4; got 14"),
        ({"depth": 0}, "config.depth must be at least 1"),
    ],
)
def test_sizes_that_no_unet_can_have(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        unet(**changes)


def test_latents_of_another_size_for_a_unet() -> None:
    with pytest.raises(ValueError, match=r"latents must be of shape \(B, 3, 4, 4\)"):
        unet()(torch.zeros(2, 3, 8, 8), *given()[1:])


def test_networks_by_their_names() -> None:
    sizes = (9, 5, 3, 4)
    for name, kind in (("transformer", VelocityTransformer), ("unet", VelocityUNet)):
        config: Any = FlowConfig(**SIZES, network=name)  # type: ignore[arg-type]
        assert isinstance(velocity_network(config, *sizes), kind)
    with pytest.raises(ValueError, match='"transformer" or "unet"; got \'mlp\''):
        velocity_network(FlowConfig(**SIZES, network="mlp"), *sizes)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 4, 4, 4), (3, 4, 4)])
def test_latents_of_another_size(shape: tuple[int, ...]) -> None:
    _, *rest = (v[:1] for v in given())
    with pytest.raises(ValueError, match=r"latents must be of shape \(B, 3, 4, 4\)"):
        network()(torch.zeros(shape), *rest)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch": 3}, "config.patch must divide the side of the latents, 4; got 3"),
        ({"patch": 8}, "config.patch must divide the side of the latents, 4; got 8"),
        ({"depth": 0}, "config.depth must be at least 1.*got depth 0"),
        ({"width": 8}, "width at least 6 x heads.*width 8 and 2 heads"),
        ({"width": 30, "heads": 4}, "multiple of 2 x heads"),
        ({"text_depth": 0}, "depth must be at least 1"),
    ],
)
def test_sizes_that_do_not_fit(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        network(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"caption_dropout": 1.0}, r"caption_dropout must lie in \[0, 1\); got 1.0"),
        ({"guidance": -1.0}, r"guidance must lie in 0\.\.1000.*got -1.0"),
        ({"caption_dropout": 0.0, "guidance": 2.0}, "trained with empty captions"),
        ({"draw_steps": 0}, r"steps must lie in 1\.\.1000; got 0"),
        ({"time_deviation": 0.0}, "time_deviation must be above 0; got 0.0"),
        ({"time_mean": float("nan")}, "time_mean must be a number; got nan"),
        ({"patch": 0}, "patch must be above 0; got 0"),
    ],
)
def test_configs_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FlowConfig(**changes)
