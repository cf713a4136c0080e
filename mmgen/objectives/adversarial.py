r"""The two-player game: its objectives on logits, and what theory says about them.

Goodfellow et al., *Generative Adversarial Nets*, NeurIPS 2014.
Reed et al., *Generative Adversarial Text to Image Synthesis*, ICML 2016 (wrong pairs).
Lim and Ye, *Geometric GAN*, 2017 (hinge).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

__all__ = [
    "EQUILIBRIUM_VALUE",
    "OBJECTIVES",
    "Objective",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "minimax_discriminator_loss",
    "minimax_generator_loss",
    "minimax_value",
    "non_saturating_generator_loss",
    "optimal_discriminator",
    "value_at_optimum",
]

EQUILIBRIUM_VALUE = -math.log(4)  # of the minimax game, where both densities agree


def optimal_discriminator(p_data: Tensor, p_model: Tensor) -> Tensor:
    r"""The discriminator that no other can beat, for two known densities.

    .. math:: D^*(x) = \frac{p_{data}(x)}{p_{data}(x) + p_{model}(x)}

    Args:
        p_data, p_model: densities at the same points, any equal shape, not negative.

    Returns:
        Probabilities that x is real, same shape; 1/2 where both densities vanish, where
        every value is optimal. (Goodfellow et al. 2014, proposition 1.)

    Raises:
        ValueError: different shapes.
    """
    _check_same_shape(p_data, p_model)
    total = p_data + p_model
    return torch.where(total > 0, p_data / total.clamp_min(torch.finfo().tiny), 0.5)


def value_at_optimum(p_data: Tensor, p_model: Tensor) -> Tensor:
    r"""What the minimax game is worth to a generator whose discriminator is optimal.

    .. math:: \max_D V(D, G) = -\log 4 + 2\, \mathrm{JSD}(p_{data} \| p_{model})

    Args:
        p_data, p_model: two distributions over the same outcomes, shape (K,), each
            summing to 1.

    Returns:
        A scalar in [-log 4, 0], in nats: -log 4 where they agree, 0 where they never
        overlap. (Goodfellow et al. 2014, theorem 1.)

    Raises:
        ValueError: different shapes.
    """
    _check_same_shape(p_data, p_model)
    total = p_data + p_model
    # x log(x / y) with 0 log 0 = 0: an outcome that never comes costs nothing
    real = torch.xlogy(p_data, p_data) - torch.xlogy(p_data, total)
    fake = torch.xlogy(p_model, p_model) - torch.xlogy(p_model, total)
    return (real + fake).sum()


def minimax_value(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""The game of the first GAN, estimated on samples.

    .. math:: V(D, G) = E[\log D(x)] + E[\log(1 - D(G(z)))], \quad D = \sigma(logit)

    Args:
        real_logits, fake_logits: of any shape.

    Returns:
        A scalar in (-inf, 0], in nats. (Goodfellow et al. 2014, eq. 1.)
    """
    # log sigmoid(s) = -softplus(-s); log(1 - sigmoid(s)) = -softplus(s): no log of 0
    return -softplus(-real_logits).mean() - softplus(fake_logits).mean()


class Objective(NamedTuple):
    """Both sides of a game: what one logit costs, elementwise."""

    real_cost: Callable[[Tensor], Tensor]  # the discriminator, of what it must accept
    fake_cost: Callable[[Tensor], Tensor]  # the discriminator, of what it must refuse
    drawn_cost: Callable[[Tensor], Tensor]  # the generator, of what it has drawn

    def discriminator(
        self,
        real_logits: Tensor,
        fake_logits: Tensor,
        wrong_logits: Tensor | None = None,
        wrong_mask: Tensor | None = None,
    ) -> Tensor:
        """Mean cost of a batch to the discriminator.

        Args:
            real_logits: of real pictures with their own captions, any shape.
            fake_logits: of generated pictures with the captions they were made for.
            wrong_logits: of real pictures with captions of something else, any shape;
                their mean and the fakes' then count half each (Reed et al. 2016,
                algorithm 1).
            wrong_mask: which wrong logits count, bool of the same shape; all by
                default.

        Returns:
            A scalar, at least 0.
        """
        refused = self.fake_cost(fake_logits).mean()
        if wrong_logits is not None:
            costs = self.fake_cost(wrong_logits)
            if wrong_mask is None:
                wrong = costs.mean()
            else:
                count = wrong_mask.sum()
                wrong = (costs * wrong_mask).sum() / count.clamp_min(1)
                # A batch in which no caption is wrong has its fakes only. Chosen by
                # `where`: an `if` would make the processor wait for the GPU.
                wrong = torch.where(count > 0, wrong, refused)
            refused = (refused + wrong) / 2
        return self.real_cost(real_logits).mean() + refused

    def generator(self, fake_logits: Tensor) -> Tensor:
        """Mean cost of generated pictures to the generator, a scalar."""
        return self.drawn_cost(fake_logits).mean()


OBJECTIVES: dict[str, Objective] = {
    # E[log(1 - D(G(z)))]: its derivative with respect to a logit s is -sigmoid(s), near
    # 0 exactly where a fake is refused and the generator has most to learn
    "minimax": Objective(lambda s: softplus(-s), softplus, lambda s: -softplus(s)),
    # -E[log D(G(z))]: the same fixed point, a gradient of -1 for refused fakes
    "non-saturating": Objective(
        lambda s: softplus(-s), softplus, lambda s: softplus(-s)
    ),
    # no reward beyond the margin; every fake pushes with the same force
    "hinge": Objective(lambda s: relu(1 - s), lambda s: relu(1 + s), lambda s: -s),
}


def minimax_discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    wrong_logits: Tensor | None = None,
    wrong_mask: Tensor | None = None,
) -> Tensor:
    r"""-V for the discriminator: cross-entropy of "real" against what must be refused.

    Arguments and result as for ``Objective.discriminator``.
    """
    return OBJECTIVES["minimax"].discriminator(
        real_logits, fake_logits, wrong_logits, wrong_mask
    )


def minimax_generator_loss(fake_logits: Tensor) -> Tensor:
    r"""E[log(1 - D(G(z)))] <= 0, the generator's side of the minimax game.

    It saturates. (Goodfellow et al. 2014, eq. 1.)
    """
    return OBJECTIVES["minimax"].generator(fake_logits)


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    r"""-E[log D(G(z))] >= 0. (Goodfellow et al. 2014, section 3.)"""
    return OBJECTIVES["non-saturating"].generator(fake_logits)


def hinge_discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    wrong_logits: Tensor | None = None,
    wrong_mask: Tensor | None = None,
) -> Tensor:
    r"""E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]: no reward beyond the margin.

    Arguments and result as for ``Objective.discriminator``. (Lim and Ye 2017;
    Miyato and Koyama 2018, eq. 17.)
    """
    return OBJECTIVES["hinge"].discriminator(
        real_logits, fake_logits, wrong_logits, wrong_mask
    )


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    r"""-E[D(G(z))]: every generated picture pushes with the same force.

    (Lim and Ye 2017; Miyato and Koyama 2018, eq. 18.)
    """
    return OBJECTIVES["hinge"].generator(fake_logits)


def _check_same_shape(p_data: Tensor, p_model: Tensor) -> None:
    if p_data.shape != p_model.shape:
        raise ValueError(
            f"p_data and p_model must be given at the same points; got shapes "
            f"{tuple(p_data.shape)} and {tuple(p_model.shape)}."
        )
