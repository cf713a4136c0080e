r"""Codes written many at a time: masked generation (MaskGIT).

A bidirectional Transformer learns to fill in codes that are hidden, any share of them.
A picture begins all hidden; in each of a few passes all hidden codes are drawn, and
those that the network is surest of are kept.

Chang et al., *MaskGIT: Masked Generative Image Transformer*, CVPR 2022.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmgen.interfaces import Step
from mmgen.layers.guidance import guide, told_and_untold
from mmgen.layers.logits import check_choice, choose, filtered, quantile
from mmgen.models.codes import (
    OPEN,
    CodeSampler,
    CodesConfig,
    CodesTask,
)
from mmgen.sampling import (
    Graph,
    example_captions,
    in_parts,
    named_numbers,
    seeded_noise,
)

PART = 64  # pictures drawn at a time
MOST_ANNEALING = 1e6  # at which what the network is sure of has no say left
MOST_TRIES = 60  # seeds of noise for the examples of an exported graph
MEAN_SHARE = 2 / math.pi  # of the cosine schedule, over r uniform in [0, 1]


_Drawn = tuple[Tensor, ...]
_Draw = Callable[[Tensor, Tensor, Tensor], _Drawn]


@dataclass(frozen=True)
class MaskedConfig(CodesConfig):
    """Sizes and training of a bidirectional Transformer over words and codes."""

    passes: int = 10  # of drawing a picture, where nothing else is asked for
    annealing: float = 4.5  # tau, how much chance there is in what is kept at first

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.passes < 1:
            raise ValueError(f"passes must be at least 1; got {self.passes}.")
        check_annealing(self.annealing)


def check_annealing(annealing: float) -> None:
    """Refuse a size of the noise on confidences that is none.

    Raises:
        ValueError: a number outside 0..1e6.
    """
    if not 0 <= annealing <= MOST_ANNEALING:
        raise ValueError(
            f"annealing must lie in 0..{MOST_ANNEALING:.0e}; got {annealing}."
        )


def hidden_share(progress: Tensor | float) -> Tensor | float:
    r"""Share of hidden codes, :math:`\gamma(r) = \cos(\pi r / 2)`, r in [0, 1].

    Source:
        Chang et al. 2022, section 3.3.
    """
    angle = progress * (math.pi / 2)
    return angle.cos() if isinstance(angle, Tensor) else math.cos(angle)


def open_counts(count: Tensor, passes: int) -> Tensor:
    r"""How many codes are still open after each pass.

    After pass i of T, :math:`\lfloor \gamma(i/T)\, n \rfloor` of n, and at least one;
    but one fewer than before in any case, and none after the last.

    Args:
        count: (B,) int64, n.
        passes: T.

    Returns:
        (T, B) int64.
    """
    left, before = [], count
    for i in range(1, passes):
        planned = (hidden_share(i / passes) * count).floor().long().clamp(min=1)
        before = torch.minimum(planned, before - 1).clamp(min=0)
        left.append(before)
    return torch.stack([*left, torch.zeros_like(count)])


class MaskedTask(CodesTask):
    """The training of a masked model: to tell hidden codes from the others."""

    def _loss(
        self, tokens: Tensor, lengths: Tensor, codes: Tensor, step: Step
    ) -> dict[str, Tensor]:
        """Cross-entropy of hidden codes alone.

        The sum is divided by how many are hidden on average, not by how many are: so
        parts of a batch weigh what they would weigh together.
        """
        count, size = codes.shape
        share = hidden_share(step.rand(count))
        assert isinstance(share, Tensor)
        many = (share * size).ceil().clamp(min=1)  # (B,)
        order = step.rand(count, size).argsort(dim=1).argsort(dim=1)
        hidden = order < many[:, None]
        pieces = codes.masked_fill(hidden, self.model.codes)
        logits = self.networks["writer"](tokens, lengths, pieces)  # (B, N, K)
        nats = cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none")
        nats = nats * hidden.flatten()
        loss = nats.sum() / (count * size * MEAN_SHARE)
        return {"loss": loss, "nats a hidden code": nats.sum() / hidden.sum()}


class MaskedSampler(CodeSampler):
    """Writes pictures in a few passes; arguments as for ``CodeSampler``."""

    config_class = MaskedConfig
    causal = False

    def stages(
        self,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
        *,
        codes: Tensor | None = None,
        passes: int | None = None,
        guidance: float | None = None,
        temperature: float = 1.0,
        annealing: float | None = None,
    ) -> Tensor:
        """The codes of one picture for each caption after every pass.

        Args:
            captions: B.
            seed: of the noise.
            noise: (B, 2 passes h w) standard normal, in place of a seed's.
            codes: (B, h, w) of which those that are not OPEN are kept, and seen.
            passes: how often all open codes are drawn; None: the config's.
            guidance: scale s of ``guided``; None: the config's.
            temperature: of the draws; 0: the likeliest code. How sure the network is of
                what was drawn is told at temperature 1.
            annealing: how much chance there is at first in which codes are kept, from
                0, the surest; None: the config's.

        Returns:
            (passes, B, h, w) int64, OPEN where nothing is kept yet; none is at last.

        Raises:
            ValueError: captions that cannot be read, noise or codes of another shape,
                or options out of range.
        """
        scale = self.check_guidance(guidance)
        check_choice(temperature, None, 1.0)
        passes = self.config.passes if passes is None else passes
        annealing = self.config.annealing if annealing is None else annealing
        if not 1 <= passes <= self.side**2:
            raise ValueError(
                f"passes must lie in 1..{self.side**2}, the codes of a picture; got "
                f"{passes}."
            )
        check_annealing(annealing)
        tokens, lengths = self.read_captions(captions)
        tokens = tokens[:, : int(lengths.max())]
        given = self.read_open(codes, len(tokens))
        numbers = 2 * passes * self.side**2
        noise = seeded_noise(len(tokens), numbers, seed, noise).to(self.device)

        def draw(*rows: Tensor) -> Tensor:
            return torch.stack(
                self._write(rows, passes, annealing, scale, temperature), dim=1
            )

        with torch.no_grad():
            kept = in_parts(draw, tokens, lengths, given, noise, part=PART)
        return kept.transpose(0, 1).unflatten(2, (self.side, self.side))

    def _write(
        self,
        rows: tuple[Tensor, ...],
        passes: int,
        annealing: float,
        scale: float,
        temperature: float,
    ) -> list[Tensor]:
        """Codes (B, N) after every pass, OPEN where nothing is kept yet."""
        tokens, lengths, known, noise = rows
        tokens, lengths = told_and_untold(tokens, lengths, scale)
        tables = self.writer.table(), self.writer.weights()
        stages = []
        for draws, chance, left in self._schedule(known, noise, passes, annealing):
            is_open = known == OPEN
            pieces = known.masked_fill(is_open, self.writer.codes)
            pieces = pieces.repeat(len(tokens) // len(pieces), 1)
            logits = self.writer(tokens, lengths, pieces, tables)
            logits = guide(logits, scale)
            believed = filtered(logits, 1.0)  # (B, N, K)
            cooled = temperature != 1
            drawn = choose(filtered(logits, temperature) if cooled else believed, draws)
            # At temperature 0 every draw would have probability 1, and which are kept
            # would have nothing to do with how sure the network is.
            sure = believed.gather(2, drawn[:, :, None]).squeeze(2).log()
            # what is known is never drawn again, and never opened
            kept = torch.where(is_open, drawn, known)
            confidence = torch.where(is_open, sure + chance, torch.inf)
            rank = confidence.argsort(dim=1).argsort(dim=1)
            known = kept.masked_fill(rank < left[:, None], OPEN)
            stages.append(known)
        return stages

    def _schedule(
        self, known: Tensor, noise: Tensor, passes: int, annealing: float
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each pass: normal noise (B, N) to draw with, chance (B, N) in what is
        kept, and how many codes (B,) stay open."""
        noise = noise.view(len(known), passes, 2, -1)
        left = open_counts((known == OPEN).sum(dim=1), passes)
        chances = [annealing * (1 - (i + 1) / passes) for i in range(passes)]
        return [
            (noise[:, i, 0], chance * gumbel(noise[:, i, 1]), left[i])
            for i, chance in enumerate(chances)
        ]

    @classmethod
    def options(cls) -> dict[str, type]:
        """The numbers that ``stages`` takes by name."""
        return named_numbers(cls.stages)

    def write(
        self,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """The codes (B, h, w) of one picture for each caption, as ``stages`` end."""
        return self.stages(captions, seed, noise, **options)[-1]

    def graph(self) -> Graph:
        """Tokens, lengths and noise to a picture, all passes in one."""
        size = self.side**2

        def drawing(sampler: MaskedSampler) -> _Draw:
            config, grid = sampler.config, torch.full((1, size), OPEN)

            def draw(tokens: Tensor, lengths: Tensor, noise: Tensor) -> _Drawn:
                rows = (tokens, lengths, grid.expand(len(tokens), -1), noise)
                *_, known = sampler._write(
                    rows, config.passes, config.annealing, config.guidance, 1.0
                )
                codes = known.unflatten(1, (sampler.side, sampler.side))
                return (sampler.tokenizer.decode(codes),)

            return draw

        draw, exact = drawing(self), drawing(copy.deepcopy(self).double())
        inputs = example_captions(self.vocabulary, self.max_tokens)
        numbers = 2 * self.config.passes * size
        inputs["noise"] = _steady_noise(draw, exact, inputs, numbers)
        return Graph.of(self, draw, inputs, ("image",))


@torch.no_grad()
def _steady_noise(
    draw: _Draw, exact: _Draw, captions: dict[str, Tensor], numbers: int
) -> Tensor:
    """A row of noise for each caption, of which double precision makes the same codes.

    Two programs that round differently choose other codes where a draw or a rank lies
    on the border, and then other pictures: both are right, and cannot be compared.
    """
    rows = []
    for row in range(len(captions["tokens"])):
        tokens, lengths = (captions[name][row, None] for name in ("tokens", "lengths"))
        for seed in range(row, MOST_TRIES, len(captions["tokens"])):
            noise = seeded_noise(1, numbers, seed)
            (here,) = draw(tokens, lengths, noise)
            (there,) = exact(tokens, lengths, noise.double())
            if (here - there).abs().max() < 1e-4:
                break
        rows.append(noise)
    return torch.cat(rows)


def gumbel(noise: Tensor) -> Tensor:
    r"""Gumbel noise :math:`-\log(-\log \Phi(n))` of standard normal noise."""
    return -(-quantile(noise).log()).log()


MaskedTask.sampler_class = MaskedSampler
