r"""A layer that lets numbers through and turns their gradient round.

.. math:: R(x) = x, \qquad \frac{\partial L}{\partial x} =
          -\lambda \frac{\partial L}{\partial R}

Whatever stands behind it, such as a network that tells pictures from captions, is
trained to lower its loss; whatever stands before it is trained by the same step to
raise it.

Ganin and Lempitsky, *Unsupervised Domain Adaptation by Backpropagation*, ICML 2015.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradients[0], None


def reverse_gradient(x: Tensor, scale: float = 1.0) -> Tensor:
    r"""The same numbers, with a gradient of the other sign.

    Args:
        x: any shape.
        scale: :math:`\lambda`, at least 0: by how much the gradient is multiplied
            besides.

    Returns:
        x.

    Raises:
        ValueError: a scale below 0, which would turn nothing round.
    """
    if not scale >= 0:
        raise ValueError(f"scale must be at least 0; got {scale}.")
    return _Reverse.apply(x, scale)
