"""A reversed gradient has the other sign, and the scale that was asked for."""

import pytest
import torch
from torch import nn

from mmgen.layers.reversal import reverse_gradient


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0, 3.0])
def test_numbers_pass_and_gradients_turn(scale: float) -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, 3, dtype=torch.float64)
    passed = reverse_gradient(x, scale)
    assert torch.equal(passed, x)
    (weights * passed.square()).sum().backward()
    assert torch.equal(x.grad, -scale * (2 * weights * x).detach())


def test_what_stands_behind_learns_as_ever() -> None:
    torch.manual_seed(0)
    before, behind = nn.Linear(3, 3), nn.Linear(3, 1)
    x = torch.randn(5, 3)

    def gradients(reverse: bool) -> tuple[torch.Tensor, torch.Tensor]:
        before.zero_grad()
        behind.zero_grad()
        h = before(x)
        behind(reverse_gradient(h, 2.0) if reverse else h).square().sum().backward()
        return before.weight.grad.clone(), behind.weight.grad.clone()

    plain, reversed_ = gradients(False), gradients(True)
    torch.testing.assert_close(reversed_[0], -2 * plain[0])
    assert torch.equal(reversed_[1], plain[1])


def test_a_negative_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be at least 0; got -1"):
        reverse_gradient(torch.ones(2), -1.0)
