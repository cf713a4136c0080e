"""Maps between two spaces, and the three terms that teach them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from mmgen.models.alignment import AlignmentNetwork, Maps, ModalityDiscriminator
from mmgen.objectives.contrastive import info_nce


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def maps() -> Maps:
    return Maps(5, 4, hidden_dim=8)


def test_the_smallest_alignment_network_is_a_linear_map() -> None:
    network, x = AlignmentNetwork(5, 4), torch.randn(3, 5)
    (weight, bias) = network.parameters()
    assert torch.equal(network(x), linear(x, weight, bias))
    wide = AlignmentNetwork(5, 4, hidden_dim=7)
    assert wide(x).shape == (3, 4)
    sizes = [tuple(p.shape) for p in wide.parameters()]
    assert sizes == [(7, 5), (7,), (4, 7), (4,)]


def test_terms_are_what_they_say(maps: Maps) -> None:
    images, captions = torch.randn(6, 5), torch.randn(6, 4)
    found = maps.terms(images, captions, 4, scale=10.0)
    there, back = maps.there(images), maps.back(captions)
    contrastive = (
        info_nce(there[:4], captions[:4], 10.0) + info_nce(images[:4], back[:4], 10.0)
    ) / 2
    torch.testing.assert_close(found.contrastive, contrastive)
    adversarial = torch.zeros(())
    for discriminator, own, mapped in (
        (maps.is_caption, captions, there),
        (maps.is_image, images, back),
    ):
        logits = torch.cat([discriminator(own), discriminator(mapped)])
        is_own = (torch.arange(12) < 6).float()
        adversarial = adversarial + binary_cross_entropy_with_logits(logits, is_own)
    torch.testing.assert_close(found.adversarial, adversarial)
    cycle = (maps.back(there) - images).square().mean() + (
        maps.there(back) - captions
    ).square().mean()
    torch.testing.assert_close(found.cycle, cycle)


def test_inverse_maps_have_no_cycle_left() -> None:
    maps = Maps(4, 4)
    turn = torch.linalg.qr(torch.randn(4, 4))[0]
    with torch.no_grad():
        for network, weight in ((maps.there, turn), (maps.back, turn.T)):
            assert isinstance(network.map, nn.Linear)
            network.map.weight.copy_(weight)
            network.map.bias.zero_()
    found = maps.terms(torch.randn(6, 4), torch.randn(6, 4), 0, scale=1.0)
    assert found.cycle < 1e-10


def test_discriminators_at_a_loss_cost_two_bits(maps: Maps) -> None:
    for discriminator in (maps.is_caption, maps.is_image):
        for parameter in discriminator.parameters():
            nn.init.zeros_(parameter)
    found = maps.terms(torch.randn(6, 5), torch.randn(9, 4), 0, scale=1.0)
    torch.testing.assert_close(found.adversarial, torch.tensor(2 * math.log(2)))


@pytest.mark.parametrize("paired", [0, 1])
def test_without_two_pairs_nothing_says_who_belongs_to_whom(
    maps: Maps, paired: int
) -> None:
    images, captions = torch.randn(6, 5), torch.randn(6, 4)
    found = maps.terms(images, captions, paired, scale=10.0)
    assert found.contrastive == 0
    order = torch.randperm(6)
    again = maps.terms(images, captions[order], paired, scale=10.0)
    torch.testing.assert_close(again, found)


def test_unpaired_rows_change_no_contrastive_term(maps: Maps) -> None:
    images, captions = torch.randn(6, 5), torch.randn(8, 4)
    found = maps.terms(images, captions, 4, scale=10.0).contrastive
    images[4:], captions[4:] = torch.randn(2, 5), torch.randn(4, 4)
    assert maps.terms(images, captions, 4, scale=10.0).contrastive == found


def test_one_step_teaches_both_players(maps: Maps) -> None:
    """Discriminators go down the adversarial term, maps go up."""
    images, captions = torch.randn(6, 5), torch.randn(6, 4)

    def term() -> Tensor:
        return maps.terms(images, captions, 0, scale=1.0, strength=1.0).adversarial

    players = {
        "discriminators": [maps.is_caption, maps.is_image],
        "maps": [maps.there, maps.back],
    }
    signs = {}
    for name, modules in players.items():
        before = term()
        maps.zero_grad()
        before.backward()
        mine = [p for module in modules for p in module.parameters()]
        with torch.no_grad():
            for parameter in mine:
                parameter -= 1e-3 * parameter.grad
            signs[name] = (term() - before).sign().item()
            for parameter in mine:
                parameter += 1e-3 * parameter.grad
    assert signs == {"discriminators": -1, "maps": 1}


def test_scores_are_cosines_in_both_spaces() -> None:
    maps = Maps(2, 2)
    with torch.no_grad():
        for network in (maps.there, maps.back):
            assert isinstance(network.map, nn.Linear)
            network.map.weight.copy_(torch.eye(2))
            network.map.bias.zero_()
    scores = maps.scores(torch.tensor([[3.0, 0], [0, 2]]), torch.tensor([[1.0, 0]]))
    torch.testing.assert_close(scores, torch.tensor([[1.0], [0.0]]))


def test_what_cannot_be_mapped_is_refused(maps: Maps) -> None:
    images, captions = torch.randn(6, 5), torch.randn(4, 4)
    for paired in (-1, 5):
        with pytest.raises(ValueError, match=rf"paired must lie in 0\.\.4.*{paired}"):
            maps.terms(images, captions, paired, scale=1.0)
    with pytest.raises(ValueError, match=r"got 0 and 4\. A modality that is absent"):
        maps.terms(images[:0], captions, 0, scale=1.0)
    with pytest.raises(ValueError, match=r"shape \(B, 5\); got \(6, 4\)"):
        maps.terms(torch.randn(6, 4), captions, 0, scale=1.0)
    with pytest.raises(ValueError, match="captions must be finite"):
        maps.terms(images, captions / 0, 0, scale=1.0)
    for sizes in ((0, 4), (5, 0), (5, 4, 0)):
        with pytest.raises(ValueError, match="at least 1; got 0"):
            AlignmentNetwork(*sizes)


def test_a_discriminator_gives_a_logit_a_row() -> None:
    assert ModalityDiscriminator(4, 3)(torch.randn(5, 4)).shape == (5,)
