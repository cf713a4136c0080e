"""The networks of the autoencoders at their limits."""

import torch

from mmgen.layers.pictures import LOGVAR_BOUND, GaussianHead
from mmgen.objectives.variational import reparameterise


def test_gaussian_head_cannot_overflow() -> None:
    head = GaussianHead(4, 3)
    torch.nn.init.constant_(head.layers[-1].bias, 1e30)  # raw log-variances of 1e30
    _, logvar = head(torch.randn(2, 4) * 1e12)
    assert logvar.abs().max() <= LOGVAR_BOUND
    assert reparameterise(torch.zeros(2, 3), logvar, torch.ones(2, 3)).isfinite().all()
