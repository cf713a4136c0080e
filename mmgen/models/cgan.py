"""Conditional generative adversarial networks.

A generator turns noise and a condition into a picture; a discriminator scores how real
a picture is *for that condition*. The file reads in the chapter's order: the objectives
on logits and what theory says about them, the condition, the two networks, the training
task, and the sampler that is left when training is over.

Goodfellow et al., *Generative Adversarial Nets*, NeurIPS 2014.
Mirza and Osindero, *Conditional Generative Adversarial Nets*, 2014.
Reed et al., *Generative Adversarial Text to Image Synthesis*, ICML 2016 (wrong pairs).
Miyato and Koyama, *cGANs with Projection Discriminator*, ICLR 2018.
Lim and Ye, *Geometric GAN*, 2017 (hinge).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, leaky_relu, relu, softplus

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.blocks import (
    SLOPE,
    ConditionalBatchNorm2d,
    DownBlock,
    UpBlock,
    shift_and_cover,
)
from mmgen.layers.text import TextEncoder

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmgen.data.batch import Batch
    from mmgen.data.dataset import CaptionedDataset


@dataclass(frozen=True)
class CGANConfig:
    """Sizes and choices of a conditional GAN.

    Raises:
        ValueError: a choice that does not exist, or a size the networks cannot have.
    """

    image_size: int = 32  # H = W, pixels: 32, 64 or 128; the data set's, when trained
    condition: str = "sentence"  # "sentence" reads captions, "attributes" reads labels
    objective: str = "hinge"  # "minimax", "non-saturating" or "hinge"
    noise_dim: int = 64  # Z
    embedding_dim: int = 64  # of a word, where sentences are read
    condition_dim: int = 128  # C, of the sentence or the attributes together
    width: int = 32  # channels at full resolution; doubled at every halving
    max_width: int = 128  # and no wider than this
    depth: int = 0  # residual convolutions at every resolution
    matching_weight: float = 1.0  # of picking the caption among the batch's
    labels: bool = False  # sentences: labels and nearly right captions teach as well
    augment: bool = False  # shift and cover what the discriminator sees (small data)
    generator_rate: float = 4e-4  # Adam's learning rate
    discriminator_rate: float = 6e-4  # of the discriminator, which leads
    encoder_rate: float = 2e-3  # of the encoder, whose rows are seldom all in use

    def __post_init__(self) -> None:
        if self.image_size not in (32, 64, 128):
            raise ValueError(
                f"image_size must be 32, 64 or 128; got {self.image_size}."
            )
        if self.condition not in ("sentence", "attributes"):
            raise ValueError(
                f'condition must be "sentence" or "attributes"; got {self.condition!r}.'
            )
        if self.objective not in OBJECTIVES:
            raise ValueError(
                f"objective must be one of {', '.join(map(repr, OBJECTIVES))}; got "
                f"{self.objective!r}."
            )
        if self.labels and self.condition == "attributes":
            raise ValueError(
                'labels=True adds labels to sentences; with condition="attributes" the '
                "labels are the condition already. Leave one of them out."
            )

    def channels(self, resolution: int) -> int:
        """Channels of a feature map of height and width ``resolution``."""
        return min(self.width * self.image_size // resolution, self.max_width)

    @property
    def resolutions(self) -> list[int]:
        """Heights of the feature maps, from 4 up to ``image_size``."""
        return [2**i for i in range(2, self.image_size.bit_length())]


# ---------------------------------------------------------------- objectives

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


def minimax_discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    wrong_logits: Tensor | None = None,
    wrong_mask: Tensor | None = None,
) -> Tensor:
    r"""-V for the discriminator: cross-entropy of "real" against what must be refused.

    Args:
        real_logits: of real pictures with their own captions, any shape.
        fake_logits: of generated pictures with the captions they were made for.
        wrong_logits: of real pictures with captions of something else, any shape; their
            mean and the fakes' then count half each (Reed et al. 2016, algorithm 1).
        wrong_mask: which wrong logits count, bool of the same shape; all by default.

    Returns:
        A scalar, at least 0.
    """
    wrong_costs = None if wrong_logits is None else softplus(wrong_logits)
    refused = _refused(softplus(fake_logits), wrong_costs, wrong_mask)
    return softplus(-real_logits).mean() + refused


def minimax_generator_loss(fake_logits: Tensor) -> Tensor:
    r"""E[log(1 - D(G(z)))], the generator's side of the minimax game: it saturates.

    Its derivative with respect to a logit s is -sigmoid(s): near 0 exactly where the
    discriminator is sure of a fake and the generator has most to learn.

    Args:
        fake_logits: any shape.

    Returns:
        A scalar, at most 0. (Goodfellow et al. 2014, eq. 1.)
    """
    return -softplus(fake_logits).mean()


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    r"""-E[log D(G(z))]: the same fixed point, a gradient of -1 for refused fakes.

    Args:
        fake_logits: any shape.

    Returns:
        A scalar, at least 0. (Goodfellow et al. 2014, section 3.)
    """
    return softplus(-fake_logits).mean()


def hinge_discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    wrong_logits: Tensor | None = None,
    wrong_mask: Tensor | None = None,
) -> Tensor:
    r"""E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]: no reward beyond the margin.

    Args:
        real_logits, fake_logits, wrong_logits, wrong_mask: as for
            ``minimax_discriminator_loss``.

    Returns:
        A scalar, at least 0. (Lim and Ye 2017; Miyato and Koyama 2018, eq. 17.)
    """
    wrong_costs = None if wrong_logits is None else relu(1 + wrong_logits)
    refused = _refused(relu(1 + fake_logits), wrong_costs, wrong_mask)
    return relu(1 - real_logits).mean() + refused


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    r"""-E[D(G(z))]: every generated picture pushes with the same force.

    Args:
        fake_logits: any shape.

    Returns:
        A scalar of either sign. (Lim and Ye 2017; Miyato and Koyama 2018, eq. 18.)
    """
    return -fake_logits.mean()


class Objective(NamedTuple):
    """Both sides of a game."""

    # (real_logits, fake_logits, wrong_logits, wrong_mask) -> scalar
    discriminator: Callable[..., Tensor]
    generator: Callable[[Tensor], Tensor]  # (fake_logits) -> scalar


OBJECTIVES: dict[str, Objective] = {
    "minimax": Objective(minimax_discriminator_loss, minimax_generator_loss),
    "non-saturating": Objective(
        minimax_discriminator_loss, non_saturating_generator_loss
    ),
    "hinge": Objective(hinge_discriminator_loss, hinge_generator_loss),
}


def _refused(
    fake_costs: Tensor, wrong_costs: Tensor | None, wrong_mask: Tensor | None
) -> Tensor:
    """Mean cost of what a discriminator must refuse."""
    fake = fake_costs.mean()
    if wrong_costs is None:
        return fake
    if wrong_mask is None:
        return (fake + wrong_costs.mean()) / 2
    count = wrong_mask.sum()
    wrong = (wrong_costs * wrong_mask).sum() / count.clamp_min(1)
    # A batch in which no caption is wrong has its fakes only. Chosen by `where`: an
    # `if` would make the processor wait for the GPU.
    return (fake + torch.where(count > 0, wrong, fake)) / 2


def _check_same_shape(p_data: Tensor, p_model: Tensor) -> None:
    if p_data.shape != p_model.shape:
        raise ValueError(
            f"p_data and p_model must be given at the same points; got shapes "
            f"{tuple(p_data.shape)} and {tuple(p_model.shape)}."
        )


# ----------------------------------------------------------------- condition


def wrong_pairs(class_ids: Tensor, caption_ids: Tensor) -> Tensor:
    """Which captions say something else than a picture shows.

    Shuffling the captions will not do: it leaves some pictures beside a caption that is
    right for them (1.6 on average, for a batch of 64 of 100 classes), and the
    discriminator is punished for seeing so.

    Args:
        class_ids: what each picture shows, shape (B,) int64.
        caption_ids: what each caption asks for, shape (N,) int64.

    Returns:
        Shape (B, N) bool.
    """
    return class_ids[:, None] != caption_ids[None, :]


def pair_matching_loss(
    logits: Tensor, class_ids: Tensor, caption_ids: Tensor
) -> Tensor:
    r"""How surely each picture picks its caption, and each caption its picture.

    .. math::
        -\frac{1}{B} \sum_i \Big[ \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}}
        + \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}} \Big]

    The mean over wrong pairs is soon 0 for most of them; a softmax pushes hardest at
    the wrong caption that is believed most. On one-object Shapes a discriminator's
    choice between a caption and the same with another shape was right in 58 cases of
    100 after 300 steps without this loss, in 77 with it.

    Args:
        logits: of pictures with captions, shape (B, N), N >= B: caption i is picture
            i's, those beyond B belong to no picture.
        class_ids: what each picture shows, shape (B,) int64.
        caption_ids: what each caption asks for, shape (N,) int64. Other captions that
            ask for the same are left out of both sums.

    Returns:
        A scalar in nats, at least 0.
    """
    own = torch.arange(len(logits), device=logits.device)
    rivals = wrong_pairs(class_ids, caption_ids)
    rivals[own, own] = True
    shown = logits.masked_fill(~rivals, -torch.inf)
    return cross_entropy(shown, own) + cross_entropy(shown[:, : len(own)].T, own)


def near_misses(attributes: Tensor, sizes: Sequence[int], draws: Tensor) -> Tensor:
    """The same attributes with one of those that apply changed to another value.

    Args:
        attributes: (B, A) int64, -1 where one does not apply.
        sizes: number of values of each of the A attributes, each at least 2.
        draws: uniform in [0, 1), shape (B, 2): which attribute, and by how much.

    Returns:
        Shape (B, A). A row to which nothing applies stays as it is.
    """
    count = torch.tensor(sizes, device=attributes.device)
    applies = attributes >= 0
    # the drawn one is that before which so many others apply
    rank = (draws[:, :1] * applies.sum(dim=1, keepdim=True)).long()
    drawn = applies & (applies.cumsum(dim=1) == rank + 1)
    # a step of 1 to many - 1 around the circle of values never ends where it began
    step = 1 + (draws[:, 1:] * (count - 1)).long()
    return torch.where(drawn, (attributes + step) % count, attributes)


class AttributeEncoder(nn.Module):
    """The sum of one learned vector per attribute.

    Args:
        sizes: number of values of each of the A attributes.
        feature_dim: C, size of the result.
    """

    def __init__(self, sizes: Sequence[int], feature_dim: int) -> None:
        super().__init__()
        # one table for all; row 0 of each attribute's part means "does not apply"
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + size + 1)
        self.table = nn.Embedding(starts[-1], feature_dim)
        self.starts: Tensor
        self.register_buffer("starts", torch.tensor(starts[:-1]), persistent=False)

    def forward(self, attributes: Tensor) -> Tensor:
        """Attributes (B, A) int64, -1 where one does not apply, to (B, feature_dim)."""
        return self.table(attributes + 1 + self.starts).sum(dim=1)


# ------------------------------------------------------------------ networks


class Generator(nn.Module):
    """Noise and a condition to a picture.

    Noise and condition are mixed once by a small network; what comes out sets the first
    4x4 feature map and, through conditional batch normalisation, scale and shift of
    every channel in every later layer. So "red" need not survive six convolutions to
    reach the pixels that it colours.
    """

    def __init__(self, config: CGANConfig) -> None:
        super().__init__()
        style = config.condition_dim
        self.mix = nn.Sequential(
            nn.Linear(config.noise_dim + config.condition_dim, style),
            nn.ReLU(),
            nn.Linear(style, style),
            nn.ReLU(),
        )
        self.first_width = config.channels(4)
        self.start = nn.Linear(style, self.first_width * 16)
        widths = [config.channels(resolution) for resolution in config.resolutions]
        self.blocks = nn.ModuleList(
            UpBlock(narrow, wide, style, config.depth)
            for narrow, wide in pairwise(widths)
        )
        self.norm = ConditionalBatchNorm2d(widths[-1], style)
        self.to_rgb = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Noise (B, Z) and condition (B, C) to images (B, 3, H, W) in [-1, 1]."""
        style = self.mix(torch.cat([noise, condition], dim=1))
        features = self.start(style).view(-1, self.first_width, 4, 4)
        for block in self.blocks:
            features = block(features, style)
        return torch.tanh(self.to_rgb(torch.relu(self.norm(features, style))))


class ProjectionDiscriminator(nn.Module):
    r"""How real a picture looks, plus how well it fits a condition.

    .. math:: s(x, c) = \psi^\top \phi(x) + \phi(x)^\top V c

    The first term is a critic of the picture alone; the second compares it with the
    condition by an inner product, so that one matrix product scores every picture of a
    batch with every caption. (Miyato and Koyama 2018, eq. 3 and figure 1d; here
    :math:`\phi` keeps the 4x4 layout until its last layer instead of summing over it,
    because captions say where things are.)
    """

    def __init__(self, config: CGANConfig) -> None:
        super().__init__()
        widths = [config.channels(r) for r in reversed(config.resolutions)]
        # at full resolution, before anything is halved: a shape 6 pixels wide is told
        # by its edges
        self.from_rgb = nn.Conv2d(3, widths[0], 3, padding=1)
        self.blocks = nn.Sequential(
            *(
                DownBlock(before, after, config.depth)
                for before, after in pairwise(widths)
            )
        )
        self.feature_dim = 2 * config.condition_dim
        self.flatten = nn.Linear(widths[-1] * 16, self.feature_dim)
        self.realness = nn.Linear(self.feature_dim, 1)  # psi
        # V
        self.project = nn.Linear(config.condition_dim, self.feature_dim, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # PyTorch's own start shrinks a signal to a third at every layer
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)

    def features(self, images: Tensor) -> Tensor:
        """phi(x), shape (B, F), of images (B, 3, H, W)."""
        maps = self.blocks(leaky_relu(self.from_rgb(images), SLOPE))
        return leaky_relu(self.flatten(maps.flatten(1)), SLOPE)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Logits of every picture with every condition.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            condition: (N, C).

        Returns:
            Logits, float32, shape (B, N).
        """
        phi = self.features(images)
        return (self.realness(phi) + phi @ self.project(condition).T).float()


# ---------------------------------------------------------------------- task

LABELLED = ("shapes", "emoji")  # data sets whose pictures come with attributes
# What labels teach besides captions. A background is said in a quarter of them only,
# and without its label pictures of one object had it wrong most often.
TAUGHT = (
    *("shape", "colour", "size", "position", "background", "count"),
    *("relation", "other_shape", "other_colour", "other_size"),
)


# (batch, chances) -> tokens, lengths and ids of captions wrong in one fact, or None
NearlyRight = Callable[
    ["Batch", Sequence[Sequence[float]]], tuple[Tensor, Tensor, Tensor] | None
]


# (batch, noise) -> (B, A) attributes that meet its captions, and which of them count
ByLot = Callable[["Batch", Tensor], tuple[Tensor, Tensor] | None]

# batch -> (R, B, A) further attributes that its captions allow, or None
EquallyRight = Callable[["Batch"], Tensor | None]


# batch -> (B, A) bool, which attributes its captions tell, or None
Told = Callable[["Batch"], Tensor | None]


class Choices(NamedTuple):
    """Conditions that pictures are compared with, and a number for what each says."""

    conditions: Tensor  # (N, C); the first of them are the pictures' own
    ids: Tensor  # (N,), equal where the same is said
    allowed: int = 0  # at the end: so many more for each picture that its caption fits

    def detach(self) -> Choices:
        """The same without gradients."""
        return self._replace(conditions=self.conditions.detach())


def label_ids(attributes: Tensor, sizes: Sequence[int]) -> Tensor:
    """A number for each row of attributes (B, A), equal where the rows are equal."""
    ids = torch.zeros_like(attributes[:, 0])
    for column, size in enumerate(sizes):
        ids = ids * (size + 1) + attributes[:, column] + 1
    return ids


def with_nearly_right(
    captions: Choices,
    batch: Batch,
    nearly_right: NearlyRight,
    encode: Callable[[Tensor, Tensor], Tensor],
    step: Any,
) -> Choices:
    """Captions followed by as many that are wrong in one fact, if a set writes them.

    The data set writes text, so that the processor waits here for a GPU's draws.

    Args:
        captions: those of all processes, N of them.
        batch: this process's.
        nearly_right: of the data set.
        encode: tokens and lengths of captions to their conditions, (B, C).
        step: the loop's step: ``rand`` and ``gather``.

    Returns:
        2N choices, or ``captions`` where the data set cannot tell what is wrong.
    """
    nearly = nearly_right(batch, step.rand(len(batch), 3).tolist())
    if nearly is None:
        return captions
    tokens, lengths, wrong = nearly
    features = encode(tokens, lengths)
    return Choices(
        torch.cat([captions.conditions, step.gather(features)]),
        torch.cat([captions.ids, step.gather(wrong)]),
    )


def label_choices(
    attributes: Tensor,
    sizes: Sequence[int],
    encode: Callable[[Tensor], Tensor],
    step: Any,
    right: Tensor | None = None,
    allowed: Tensor | None = None,
) -> Choices:
    """Labels of the whole batch, as many near misses, then what captions allow.

    Args:
        attributes: (B, A), -1 where one does not apply.
        sizes: number of values of each of the A attributes.
        encode: attributes to conditions, (B, C).
        step: the loop's step: ``rand`` and ``gather``.
        right: what ``encode`` gives for ``attributes``, if that is known.
        allowed: further attributes that the captions allow, (R, B, A); none by default.

    Returns:
        (2 + R) N choices for the N pictures of all processes.
    """
    near = near_misses(attributes, sizes, step.rand(len(attributes), 2))
    right = encode(attributes) if right is None else right
    others = [near, *([] if allowed is None else allowed)]
    conditions = torch.cat([step.gather(c) for c in (right, *map(encode, others))])
    ids = [step.gather(label_ids(row, sizes)) for row in (attributes, *others)]
    return Choices(conditions, torch.cat(ids), len(others) - 1)


def value_rows(sizes: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Attributes that name one value each, "does not apply" (-1) first of every column.

    Args:
        sizes: number of values of each of the A attributes.
        device: where to.

    Returns:
        (sum of ``sizes`` + A, A) int64. Columns that a row does not name are -1.
    """
    rows = [
        [value if other == column else -1 for other in range(len(sizes))]
        for column, size in enumerate(sizes)
        for value in range(-1, size)
    ]
    return torch.tensor(rows, device=device)


def _by_attribute(logits: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Scores with ``value_rows``, a tensor (B, 1 + size) for each attribute."""
    return logits.split([size + 1 for size in sizes], dim=1)


def values_loss(
    logits: Tensor, right: Tensor, sizes: Sequence[int], told: Tensor | None = None
) -> Tensor:
    r"""How surely pictures pick their attributes among all that there are.

    .. math::
        -\frac{1}{B} \sum_i \log \frac{e^{s(x_i, a_i)}}{\sum_{a'} e^{s(x_i, a')}}
        = -\frac{1}{B} \sum_i \sum_k
        \log \frac{e^{s_k(x_i, a_{ik})}}{\sum_v e^{s_k(x_i, v)}}

    The sum on the left goes over every combination of values. A condition that is a sum
    of one vector for each attribute has a score that is a sum as well, and so the sum
    over combinations is a product of short sums: exact, and no near miss is drawn.

    Args:
        logits: of pictures with the conditions of ``value_rows``, (B, R). All scores of
            an attribute may be off by the same number.
        right: attributes that each picture may show, (N, B, A) int64, -1 where one does
            not apply; of N the surest counts.
        sizes: number of values of each of the A attributes.
        told: (B, A) bool, False where an attribute shall not count; all do by default.

    Returns:
        A scalar in nats, at least 0.
    """
    return _value_costs(logits, right, sizes, told).sum(dim=2).amin(dim=0).mean()


def _value_costs(
    logits: Tensor, right: Tensor, sizes: Sequence[int], told: Tensor | None
) -> Tensor:
    """Surprise at every attribute of every row, (N, B, A); arguments as above."""
    parts = _by_attribute(logits.float(), sizes)
    costs = [
        -part.log_softmax(dim=1).gather(1, column.T + 1).T  # (N, B)
        for part, column in zip(parts, right.unbind(dim=2), strict=True)
    ]
    together = torch.stack(costs, dim=2)
    return together if told is None else together * told


def completed(
    logits: Tensor, right: Tensor, sizes: Sequence[int], told: Tensor | None = None
) -> Tensor:
    """Of what pictures may show what they fit best, and where it is open their own.

    Args:
        logits, right, sizes, told: as for ``values_loss``.

    Returns:
        Attributes (B, A), -1 where one does not apply.
    """
    best = _value_costs(logits, right, sizes, told).sum(dim=2).argmin(dim=0)
    row = right[best, torch.arange(right.shape[1], device=right.device)]
    if told is None:
        return row
    parts = _by_attribute(logits, sizes)
    shown = torch.stack([part.argmax(dim=1) - 1 for part in parts], dim=1)
    return torch.where(told, row, shown)


def rows_score(logits: Tensor, rows: Tensor, sizes: Sequence[int]) -> Tensor:
    """Scores of pictures with whole rows of attributes, from those of single values.

    A row of ``value_rows`` differs from that in which nothing applies in one value, so
    the differences add up.

    Args:
        logits: of pictures with the conditions of ``value_rows``, (B, R).
        rows: a picture's attributes each, (B, A) int64, -1 where one does not apply.
        sizes: number of values of each of the A attributes.

    Returns:
        (B,), what the discriminator gives for the condition of these rows.
    """
    nothing = logits[:, 0]
    parts = _by_attribute(logits, sizes)
    differences = [
        part.gather(1, column[:, None] + 1)[:, 0] - nothing
        for part, column in zip(parts, rows.unbind(dim=1), strict=True)
    ]
    return nothing + torch.stack(differences).sum(dim=0)


def choices_loss(
    logits: Sequence[Tensor],
    choices: Sequence[Choices],
    step: Any,
    generated: bool = False,
) -> Tensor:
    """How surely pictures pick what is theirs among each group of choices, summed.

    A real picture has one right label, and what its caption allows besides is wrong for
    it. A picture drawn from the caption may choose: "a red circle and a blue square"
    says nothing about sides, and to be held to those of a picture that it has not seen
    would teach a generator to draw neither.

    Args:
        logits: of this process's pictures with each group's conditions, (B, N) each.
        choices: the groups.
        step: the loop's step: ``gather``.
        generated: of what is allowed, compare each picture with what it fits best.

    Returns:
        A scalar (see ``pair_matching_loss``).
    """
    losses = []
    for part, (_, ids, allowed) in zip(logits, choices, strict=True):
        everyone = step.gather(part)
        if generated and allowed:
            kept = _best_fitting(everyone, allowed)
            everyone, ids = everyone[:, kept], ids[kept]
        losses.append(pair_matching_loss(everyone, ids[: len(everyone)], ids))
    return torch.stack(losses).sum()


def _best_fitting(logits: Tensor, allowed: int) -> Tensor:
    """Columns of what each picture fits best of its own and allowed, then the rest."""
    size, end = logits.shape
    own = torch.arange(size, device=logits.device)
    starts = [0, *range(end - allowed * size, end, size)]
    columns = torch.stack([own + start for start in starts])  # (1 + R, N)
    best = logits.detach()[own, columns].argmax(dim=0)
    rest = torch.arange(size, end - allowed * size, device=logits.device)
    return torch.cat([columns[best, own], rest])


class CGANTask:
    """What the training loop needs to know: networks, optimisers, losses.

    One pass through the generator a step: the discriminator learns from its pictures
    first, then the same pictures carry the new discriminator's gradient back. The
    encoder of the condition learns with the discriminator, whose wrong pairs are the
    only place where real pictures teach what words mean; the generator takes its
    features as they are.
    """

    phases: tuple[str, ...] = ("discriminator", "generator")
    averaged: tuple[str, ...] = ("encoder", "generator")

    def __init__(
        self,
        config: CGANConfig,
        vocabulary: Vocabulary,
        attributes: Mapping[str, Sequence[str]],
        max_tokens: int,
        nearly_right: NearlyRight = lambda batch, chances: None,
        equally_right: EquallyRight = lambda batch: None,
    ) -> None:
        self.config = config
        self.vocabulary = vocabulary
        self.attributes = dict(attributes)
        self.max_tokens = max_tokens
        self.nearly_right, self.equally_right = nearly_right, equally_right
        self.networks: dict[str, nn.Module] = {
            "encoder": _encoder(config, vocabulary, self.attributes),
            "generator": Generator(config),
            "discriminator": ProjectionDiscriminator(config),
        }
        if config.labels:
            sizes = [len(values) for values in self.attributes.values()]
            self.networks["labels"] = AttributeEncoder(sizes, config.condition_dim)
        # what the discriminator's phase has drawn, and compared it with
        self._shown: tuple[Tensor, list[Choices]] | None = None

    @staticmethod
    def defaults(scale: str, dataset_name: str) -> tuple[CGANConfig, dict, dict]:
        """What to train at "smoke", "laptop" or "full" scale on a data set.

        Returns:
            The config, fields of ``TrainingConfig``, and options of ``load_dataset``.

        Raises:
            ValueError: an unknown scale.
        """
        if scale not in ("smoke", "laptop", "full"):
            raise ValueError(f"scale must be smoke, laptop or full; got {scale!r}.")
        data: dict[str, Any] = {"image_size": 64 if scale == "full" else 32}
        if dataset_name == "shapes" and scale == "full":
            data |= {"objects": (1, 2), "attributes": TAUGHT}
        elif dataset_name == "shapes":
            data["objects"] = (1,)
            if scale == "laptop":  # labels are the condition: captions that state all
                data["kinds"] = ("single",)
        if dataset_name == "emoji":
            # recombination is asked for: each part of a test picture was seen before
            data |= {"subset": "roles", "split_by": "combination"}
        # a few thousand pictures are soon known by heart; Shapes are endless
        augment = dataset_name != "shapes"
        if scale == "smoke":
            small = CGANConfig(noise_dim=8, condition_dim=16, width=4, max_width=16)
            return replace(small, augment=augment), {"steps": 4, "batch_size": 8}, data
        if scale == "laptop":
            short = {"steps": 500, "batch_size": 48, "ema_decay": 0.99}
            # one run in several would otherwise lose half of it in a single burst
            short["gradient_clip"] = 5.0
            config = CGANConfig(
                # labels are learned in a minute and a half, sentences in half an hour
                condition="attributes" if dataset_name in LABELLED else "sentence",
                width=16,
                augment=augment,
                generator_rate=8e-4,
                discriminator_rate=1e-3,
            )
            return config, short, data
        data["language"] = "both"
        config = CGANConfig(
            image_size=64,
            embedding_dim=128,
            condition_dim=256,
            max_width=256,
            depth=1,
            labels=dataset_name in LABELLED,
            augment=augment,
            generator_rate=2e-4,
        )
        training = {
            "steps": 20_000,
            "batch_size": 128,
            "ema_decay": 0.999,
            "precision": "bf16-mixed",
            "channels_last": True,
            # without it, one burst at step 2,600 undid what 1,500 steps had taught
            "gradient_clip": 5.0,
        }
        return config, training, data

    @classmethod
    def build(cls, config: CGANConfig, dataset: CaptionedDataset) -> CGANTask:
        """A task for a data set, which also sets the size of the pictures.

        Raises:
            ValueError: attributes wanted, where the data set has none.
        """
        config = replace(config, image_size=dataset.image_size)
        wanted = config.labels or config.condition == "attributes"
        if wanted and not dataset.attributes:
            raise ValueError(
                f'condition="attributes" and labels=True need a data set with '
                f'attributes; {dataset.name!r} has none. Use condition="sentence".'
            )
        return cls(
            config,
            dataset.vocabulary,
            dataset.attributes,
            dataset.max_tokens,
            dataset.nearly_right,
            dataset.equally_right,
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each phase, with the momentum that GANs are trained with."""
        generator = list(self.networks["generator"].parameters())
        rates = {
            "discriminator": self.config.discriminator_rate,
            "encoder": self.config.encoder_rate,
            "labels": self.config.encoder_rate,
        }
        judging = [
            {"params": list(self.networks[name].parameters()), "lr": rate}
            for name, rate in rates.items()
            if name in self.networks
        ]
        # beta1 = 0.5: a long memory of gradients that an opponent has since answered
        # makes both players overshoot (Radford et al. 2016)
        return {
            "generator": torch.optim.Adam(
                generator, lr=self.config.generator_rate, betas=(0.5, 0.999)
            ),
            "discriminator": torch.optim.Adam(judging, betas=(0.5, 0.999)),
        }

    def training_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        """The loss of one phase.

        Args:
            batch: captioned pictures.
            step: the loop's step: ``phase``, ``accumulating``, ``rank``, ``rand``,
                ``randn`` and ``gather``.

        Returns:
            "loss", and scalars to log.
        """
        if self.config.condition == "attributes":
            batch = _hide(batch, step.rand(len(batch), len(self.attributes)))
        if step.phase == "discriminator":
            return self._discriminator_step(batch, step)
        return self._generator_step(batch, step)

    def _discriminator_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        condition = self._encode(batch)
        fakes = self._generate(condition.detach(), step)
        groups = self._captions(batch, condition, step)
        # with accumulation other microbatches come in between: drawn again then
        self._shown = (
            None
            if step.accumulating
            else (
                fakes,
                [group.detach() for group in groups],
            )
        )

        reals = self._augmented(batch.images, step)
        fakes = self._augmented(fakes.detach(), step).to(reals.dtype)
        # real and generated pictures together, every one with every caption
        scores = self._score(torch.cat([reals, fakes]), groups)
        of_reals, of_fakes = scores[0].split(len(batch))  # (B, N) each
        first = step.rank * len(batch)
        real, fake = of_reals.diagonal(first), of_fakes.diagonal(first)
        asked = groups[0].ids
        wrong = wrong_pairs(asked[first : first + len(batch)], asked)  # (B, N)
        objective = OBJECTIVES[self.config.objective].discriminator
        adversarial = objective(real, fake, of_reals, wrong)
        matching = choices_loss([part[: len(batch)] for part in scores], groups, step)
        return {
            "loss": adversarial + self.config.matching_weight * matching,
            "adversarial": adversarial,
            "matching": matching,
            "real": real.mean(),
            "fake": fake.mean(),
        }

    def _generator_step(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        if self._shown is None:
            condition = self._encode(batch).detach()
            fakes = self._generate(condition, step)
            with torch.no_grad():
                groups = self._captions(batch, condition, step)
        else:
            (fakes, groups), self._shown = self._shown, None
        scores = self._score(self._augmented(fakes, step), groups)
        fake = scores[0].diagonal(step.rank * len(batch))
        adversarial = OBJECTIVES[self.config.objective].generator(fake)
        matching = choices_loss(scores, groups, step, generated=True)
        return {
            "loss": adversarial + self.config.matching_weight * matching,
            "adversarial": adversarial,
            "matching": matching,
        }

    def _captions(self, batch: Batch, condition: Tensor, step: Any) -> list[Choices]:
        """What pictures are compared with: the captions first, then labels if wanted.

        Those of all processes, as in one big batch. Where there are labels, wrong
        captions and labels can be made as hard as they get, and follow the right ones.
        """
        groups = []
        sizes = [len(values) for values in self.attributes.values()]
        if self.config.condition == "sentence":
            ids = step.gather(batch.class_ids)
            captions = Choices(step.gather(condition), ids)
            if not self.config.labels:
                return [captions]
            groups.append(
                with_nearly_right(captions, batch, self.nearly_right, self._read, step)
            )
        assert batch.attributes is not None  # build() has made sure
        labels = self.networks["labels" if self.config.labels else "encoder"]
        right = allowed = None
        if self.config.labels:
            allowed = self.equally_right(batch)
        else:  # the condition itself, which leaves nothing open
            right = condition
        groups.append(
            label_choices(batch.attributes, sizes, labels, step, right, allowed)
        )
        return groups

    def _score(self, images: Tensor, groups: list[Choices]) -> Sequence[Tensor]:
        """Logits of pictures with the captions of each group, (B, N) each."""
        conditions = torch.cat([group.conditions for group in groups])
        logits = self.networks["discriminator"](images, conditions)
        return logits.split([len(group.ids) for group in groups], dim=1)

    def sampler(self, networks: dict[str, nn.Module]) -> CGANSampler:
        """A sampler with the weights of ``networks`` ("encoder", "generator")."""
        sampler = CGANSampler(
            self.config, self.vocabulary, self.attributes, self.max_tokens
        )
        for name in self.averaged:
            getattr(sampler, name).load_state_dict(networks[name].state_dict())
        device = next(networks["generator"].parameters()).device
        return sampler.to(device).eval()

    def _encode(self, batch: Batch) -> Tensor:
        """The condition of every caption, shape (B, C)."""
        if self.config.condition == "attributes":
            return self.networks["encoder"](batch.attributes)
        return self._read(batch.tokens, batch.lengths)

    def _read(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The condition of every sentence, shape (B, C)."""
        return self.networks["encoder"](tokens, lengths)[1]

    def _generate(self, condition: Tensor, step: Any) -> Tensor:
        noise = step.randn(len(condition), self.config.noise_dim)
        return self.networks["generator"](noise, condition)

    def _augmented(self, images: Tensor, step: Any) -> Tensor:
        if not self.config.augment:
            return images
        return shift_and_cover(images, step.rand(len(images), 4))


def _hide(batch: Batch, draws: Tensor) -> Batch:
    """The batch with 3 % of its attributes left open.

    So the encoder learns what "nothing said" means, and a sampler may be asked for a
    red star of any size.
    """
    assert batch.attributes is not None  # build() has made sure
    return replace(batch, attributes=batch.attributes.masked_fill(draws < 0.03, -1))


def _encoder(
    config: CGANConfig,
    vocabulary: Vocabulary,
    attributes: Mapping[str, Sequence[str]],
) -> nn.Module:
    """The network that turns captions or attributes into the condition."""
    if config.condition == "attributes":
        sizes = [len(values) for values in attributes.values()]
        return AttributeEncoder(sizes, config.condition_dim)
    # No dropout: a caption here is a few words, and each of them changes the picture.
    encoder = TextEncoder(
        len(vocabulary),
        config.embedding_dim,
        config.condition_dim,
        pooling="mean",
        dropout=0.0,
    )
    # Trained from scratch beside a discriminator, a sentence feature must tell captions
    # apart from the first steps. After 50 of them a wrong caption's logit was the lower
    # one 87 times in 100 with this start and the mean of the words, but 67 times with
    # AttnGAN's (uniform in +-0.1, last state).
    nn.init.normal_(encoder.embedding.weight)
    return encoder


# ------------------------------------------------------------------- sampler


LITTLE_WORDS = {"a", "an", "and", "at", "in", "of", "on", "the", "with"}


def read_attributes(
    caption: str | Mapping[str, str], attributes: Mapping[str, Sequence[str]]
) -> list[int]:
    """What a caption or a dictionary says about each attribute.

    Args:
        caption: text that names values, in any order ("large red star"), or a mapping
            from attribute to value.
        attributes: each attribute's values.

    Returns:
        One position among its values for each attribute, -1 where nothing is said.

    Raises:
        ValueError: an empty caption, an attribute or value that does not exist, or an
            attribute with two values.
    """
    if isinstance(caption, str):
        named = _named_values(caption, attributes)
    else:
        named = dict(caption)
    if not named:
        examples = ", ".join(repr(values[0]) for values in attributes.values())
        raise ValueError(
            f"captions must name at least one attribute's value; got {caption!r}. "
            f"Values are, for example, {examples}."
        )
    for name, value in named.items():
        if name not in attributes:
            raise ValueError(
                f"attributes are {', '.join(attributes)}; got {name!r} in {caption!r}."
            )
        if value not in attributes[name]:
            raise ValueError(
                f"{name} must be one of {', '.join(attributes[name])}; got {value!r}."
            )
    return [
        values.index(named[name]) if name in named else -1
        for name, values in ((name, list(v)) for name, v in attributes.items())
    ]


def _named_values(
    caption: str, attributes: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Attribute -> value for every value that stands in the text."""
    named: dict[str, str] = {}
    # emoji say "women wrestling" of two who are each a woman
    rest = re.sub(r"\b(wo)?men\b", r"\1man", f" {caption.lower()} ")
    known = [(value, name) for name, values in attributes.items() for value in values]
    # longest first: "medium-light" is not "light"
    for value, name in sorted(known, key=lambda pair: -len(pair[0])):
        pattern = rf"(?<![\w-]){re.escape(value.lower())}(?![\w-])"
        rest, found = re.subn(pattern, " ", rest)
        if not found:
            continue
        if name in named:
            raise ValueError(
                f"a caption must name one {name}; got {named[name]!r} and {value!r} in "
                f"{caption!r}."
            )
        named[name] = value
    silent = {word for name in attributes for word in name.split("_")} | LITTLE_WORDS
    left = [word for word in re.findall(r"[\w-]+", rest) if word not in silent]
    if left and named:
        warnings.warn(
            f"{caption!r}: no attribute has the value {', '.join(map(repr, left))}; "
            f"the picture will not show it.",
            stacklevel=4,
        )
    return named


class CGANSampler(nn.Module):
    """A trained generator with the encoder of its condition: captions to pictures.

    Args:
        config: as trained.
        vocabulary: of the captions.
        attributes: each attribute's values, where attributes are the condition.
        max_tokens: longest caption of the training; longer ones are cut.
    """

    def __init__(
        self,
        config: CGANConfig,
        vocabulary: Vocabulary,
        attributes: Mapping[str, Sequence[str]],
        max_tokens: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        self.max_tokens = max_tokens
        self.encoder = _encoder(config, vocabulary, attributes)
        self.generator = Generator(config)

    def init_args(self) -> dict[str, Any]:
        """What ``from_args`` needs to build this sampler again, fit for JSON."""
        return {
            "config": asdict(self.config),
            "vocabulary": self.vocabulary.to_json(),
            "attributes": {name: list(v) for name, v in self.attributes.items()},
            "max_tokens": self.max_tokens,
        }

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> CGANSampler:
        """An untrained sampler of the sizes that ``init_args`` wrote down."""
        return cls(
            CGANConfig(**args["config"]),
            Vocabulary.from_json(args["vocabulary"]),
            args["attributes"],
            args["max_tokens"],
        )

    def condition(self, captions: Sequence[str | Mapping[str, str]]) -> Tensor:
        """What the generator is told about each caption, shape (B, C).

        Args:
            captions: text; where attributes are the condition, text that names their
                values, or mappings from attribute to value.

        Raises:
            ValueError: no caption, an empty one, one without a known word, or a wrong
                attribute.
        """
        if isinstance(captions, str) or not captions:
            raise ValueError(
                f"captions must be a list with at least one caption; got {captions!r}."
            )
        device = next(self.parameters()).device
        if self.config.condition == "attributes":
            rows = [read_attributes(caption, self.attributes) for caption in captions]
            return self.encoder(torch.tensor(rows, device=device))
        texts = [str(caption) for caption in captions]
        tokens, lengths = self.vocabulary.read(texts, self.max_tokens)
        return self.encoder(tokens.to(device), lengths.to(device))[1]

    @torch.no_grad()
    def sample(
        self,
        captions: Sequence[str | Mapping[str, str]],
        seed: int = 0,
        noise: Tensor | None = None,
    ) -> Tensor:
        """One picture for each caption.

        Args:
            captions: as for ``condition``.
            seed: of the noise; the same seed and captions give the same pictures.
            noise: (B, Z), in place of a seed's.

        Returns:
            Images (B, 3, H, W) in [-1, 1], on the sampler's device.

        Raises:
            ValueError: as ``condition``, or noise of another shape.
        """
        shape = (len(captions), self.config.noise_dim)
        if noise is None:
            # on the CPU, so that a seed means the same pictures on every device
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(shape, generator=generator)
        elif tuple(noise.shape) != shape:
            raise ValueError(
                f"noise must have shape {shape}, a row a caption; got "
                f"{tuple(noise.shape)}."
            )
        condition = self.condition(captions)
        noise = noise.to(condition)
        # in parts: a thousand 64 px pictures at once would need gigabytes
        parts = zip(noise.split(256), condition.split(256), strict=True)
        return torch.cat([self.generator(z, c) for z, c in parts])
