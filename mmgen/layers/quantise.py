r"""From vectors to codes and back: vector quantisation and finite scalar quantisation.

A quantiser puts the nearest of finitely many vectors in place of each vector that it is
given. The number of that vector is a code, and a picture becomes a grid of codes.

van den Oord, Vinyals and Kavukcuoglu, *Neural Discrete Representation Learning*,
NeurIPS 2017.
Mentzer et al., *Finite Scalar Quantization: VQ-VAE Made Simple*, ICLR 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, mse_loss

from mmgen.layers.validation import require_decay

EPSILON = 1e-5  # vectors a step, on average, below which a code stays where it is


class Quantised(NamedTuple):
    """What a quantiser makes of vectors."""

    vectors: Tensor  # (..., D) quantised, with the gradient of what was given
    codes: Tensor  # (...) int64 in 0..K-1
    codebook_loss: Tensor  # moves codes to their vectors
    commitment_loss: Tensor  # moves vectors to their codes


def straight_through(given: Tensor, chosen: Tensor) -> Tensor:
    """The values of ``chosen`` with the gradient of ``given``, of one shape.

    Rounding has a gradient of zero wherever it has one; here it is skipped on the way
    back, as if it were the identity (van den Oord et al. 2017, section 3.2).
    """
    return given + (chosen - given).detach()


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    r"""The code of each vector, :math:`k = \arg\min_k \lVert z - e_k \rVert^2`.

    Args:
        vectors: (N, D).
        codebook: (K, D).

    Returns:
        (N,) int64. N K distances stand in memory at once.
    """
    # |z|² is the same for all k
    return (codebook.square().sum(dim=1) - 2 * vectors @ codebook.T).argmin(dim=1)


class VectorQuantiser(nn.Module):
    r"""The nearest vector of a codebook.

    Codes move to the vectors that chose them, in one of two ways. By "gradient",
    through :math:`\lVert \mathrm{sg}[z] - e_k \rVert^2`. By "average" (exponential
    moving average, EMA), where the code is the mean of its vectors over the last steps,
    weighted by :math:`\gamma^{\text{age}}`; then ``update`` must be called once a step.

    Args:
        codes: K, at least 2.
        code_dim: D.
        learned: "average" or "gradient".
        decay: gamma of the average, in [0, 1); 0 makes every step one of k-means.

    Raises:
        ValueError: sizes out of range.

    Source:
        van den Oord et al. 2017, eq. 3 and appendix A.1.
    """

    codebook: Tensor  # (K, D)
    counts: Tensor  # (K,) average number of a step's vectors that chose each code
    sums: Tensor  # (K, D) average of their sums

    def __init__(
        self,
        codes: int,
        code_dim: int,
        learned: Literal["average", "gradient"] = "average",
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        if codes < 2:
            raise ValueError(
                f"codes must be at least 2: one code says nothing about a picture; "
                f"got {codes}."
            )
        if code_dim < 1:
            raise ValueError(f"code_dim must be at least 1; got {code_dim}.")
        if learned not in ("average", "gradient"):
            raise ValueError(
                f'learned must be "average" or "gradient"; got {learned!r}.'
            )
        require_decay(decay)
        self.size, self.code_dim = codes, code_dim
        self.learned, self.decay = learned, decay
        start = torch.empty(codes, code_dim).uniform_(-1 / codes, 1 / codes)
        if learned == "gradient":
            self.codebook = nn.Parameter(start)
        else:
            self.register_buffer("codebook", start)
        # Nobody has chosen any yet: a first ``restart`` takes them all from the data.
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, code_dim))

    def forward(self, vectors: Tensor) -> Quantised:
        """Quantise vectors (..., D); losses are means over all their entries.

        Raises:
            ValueError: vectors of another size.
        """
        _check_vectors(vectors, self.code_dim)
        flat = vectors.detach().reshape(-1, self.code_dim).float()
        # in full precision: in half of it, near codes are mistaken for each other
        with torch.autocast(vectors.device.type, enabled=False):
            codes = nearest(flat, self.codebook.detach())
        codes = codes.view(vectors.shape[:-1])
        chosen = self.lookup(codes)
        codebook_loss = vectors.new_zeros(())
        if self.learned == "gradient":
            codebook_loss = mse_loss(chosen, vectors.detach())
        commitment_loss = mse_loss(vectors, chosen.detach())
        # the losses come first: behind this line z and its code cannot be told apart
        return Quantised(
            straight_through(vectors, chosen.detach()),
            codes,
            codebook_loss,
            commitment_loss,
        )

    def lookup(self, codes: Tensor) -> Tensor:
        """The vectors (..., D) of codes (...)."""
        return embedding(codes, self.codebook)

    @torch.no_grad()
    def update(self, vectors: Tensor, codes: Tensor) -> None:
        r"""Take a step's choices into the averages, and move a codebook made of them.

        .. math:: N_k \leftarrow \gamma N_k + (1 - \gamma) n_k, \quad
                  m_k \leftarrow \gamma m_k + (1 - \gamma) \sum_{i \to k} z_i, \quad
                  e_k = m_k / N_k

        Call it when the step's losses are computed, or codes no longer are those of the
        vectors that they were chosen for.

        Args:
            vectors: (N, D) of the whole step, of all processes.
            codes: (N,) that they chose.
        """
        vectors = vectors.float()
        counts = torch.bincount(codes, minlength=self.size).to(self.counts)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, vectors)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        if self.learned == "average":
            used = self.counts > EPSILON
            means = self.sums / self.counts.clamp(min=EPSILON)[:, None]
            self.codebook.copy_(torch.where(used[:, None], means, self.codebook))

    @torch.no_grad()
    def restart(self, pool: Tensor, draws: Tensor, below: float) -> Tensor:
        """Put vectors of the data in place of codes that are hardly ever chosen.

        Args:
            pool: (N, D) vectors of a batch.
            draws: (K,) uniform in [0, 1): which of them each code would take.
            below: least average of vectors a step that keeps a code.

        Returns:
            Which codes were replaced, (K,) bool.
        """
        dead = self.counts < below
        chosen = pool[(draws * len(pool)).long().clamp(max=len(pool) - 1)].float()
        self.codebook.copy_(torch.where(dead[:, None], chosen, self.codebook))
        # With its old sum, the next average would undo what was just done.
        self.counts.masked_fill_(dead, below)
        self.sums.copy_(torch.where(dead[:, None], chosen * below, self.sums))
        return dead


class FiniteScalarQuantiser(nn.Module):
    r"""Every channel rounded to one of a few levels; the codebook is their grid.

    A channel is squashed into the range of its L levels and rounded,

    .. math:: q = \mathrm{round}\bigl(h \tanh(z + s) - o\bigr) / \lfloor L/2 \rfloor,
              \quad h = (L - 1)(1 + \epsilon)/2,
              \quad o = \tfrac{1}{2}[L \text{ even}], \quad s = \mathrm{atanh}(o/h)

    so that z = 0 lands on 0. Nothing is learned, and no code can die: what has to be
    learned is an encoder that uses the grid.

    Args:
        levels: L of each channel, at least 3 (at 2 the shift s leaves tanh no slope).

    Raises:
        ValueError: no level, or one below 3.

    Source:
        Mentzer et al. 2024, section 3.1 and the authors' notebook; there epsilon has
        the other sign, which loses the outermost levels.
    """

    EPSILON = 1e-3

    reach: Tensor  # (D,) h
    offset: Tensor  # (D,) o
    shift: Tensor  # (D,) s
    width: Tensor  # (D,) L // 2
    basis: Tensor  # (D,) 1, L1, L1 L2, …: the first channel counts fastest

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or min(levels) < 3:
            raise ValueError(
                f"levels must be at least one number, each 3 or more; got "
                f"{tuple(levels)}."
            )
        self.levels = tuple(levels)
        self.size, self.code_dim = math.prod(levels), len(levels)
        many = torch.tensor(levels, dtype=torch.float64)
        half = (many - 1) * (1 + self.EPSILON) / 2
        offset = torch.where(many % 2 == 0, 0.5, 0.0)
        basis = torch.tensor([1, *levels[:-1]]).cumprod(dim=0)
        for name, value in {
            "reach": half.float(),
            "offset": offset.float(),
            "shift": torch.atanh(offset / half).float(),
            "width": (many // 2).float(),
            "basis": basis,
        }.items():
            self.register_buffer(name, value, persistent=False)

    def bound(self, vectors: Tensor) -> Tensor:
        """Vectors (..., D) squashed to the range of the levels, before rounding."""
        return self.reach * torch.tanh(vectors + self.shift) - self.offset

    def forward(self, vectors: Tensor) -> Quantised:
        """Quantise vectors (..., D), in float32; both losses are 0.

        Raises:
            ValueError: vectors of another size.
        """
        _check_vectors(vectors, self.code_dim)
        bounded = self.bound(vectors.float())
        rounded = straight_through(bounded, bounded.round())
        none = vectors.new_zeros(())
        codes = self._number(rounded.detach())
        return Quantised(rounded / self.width, codes, none, none)

    def _number(self, rounded: Tensor) -> Tensor:
        """The codes (...) of rounded vectors (..., D), not yet divided by ``width``."""
        digits = (rounded + self.width).round().long()  # 0..L-1 each
        return (digits * self.basis).sum(dim=-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """The vectors (..., D) of codes (...)."""
        levels = self.basis.new_tensor(self.levels)
        digits = codes[..., None] // self.basis % levels
        return (digits - self.width) / self.width


def _check_vectors(vectors: Tensor, size: int) -> None:
    # one number each would be taken as often as there are levels, without a word
    if not vectors.ndim or vectors.shape[-1] != size:
        raise ValueError(
            f"vectors must be of shape (..., {size}); got {tuple(vectors.shape)}."
        )


def usage(codes: Tensor, size: int) -> tuple[float, float]:
    r"""How many codes are used, and how evenly.

    Args:
        codes: any shape, int64 in 0..size-1, at least one.
        size: K.

    Returns:
        The share of the K codes that occur, and the perplexity
        :math:`2^{-\sum_k p_k \log_2 p_k}` of their frequencies: 1 where all codes are
        the same, K where all are equally frequent.

    Raises:
        ValueError: no code, or one outside the codebook.
    """
    check_codes(codes, size)
    shares = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    entropy = torch.special.entr(shares).sum()  # nats
    return float((shares > 0).double().mean()), float(entropy.exp())


def check_codes(codes: Tensor, size: int) -> None:
    """Refuse what are no codes of a codebook of ``size``.

    Raises:
        ValueError: none at all, another type, or one outside 0..size-1 (looked at on
            the CPU only).
    """
    if codes.dtype != torch.int64 or not codes.numel():
        raise ValueError(
            f"codes must be int64, at least one; got {codes.dtype}, "
            f"{tuple(codes.shape)}."
        )
    if codes.device.type != "cpu" or torch.compiler.is_compiling():
        return
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= size:
        raise ValueError(
            f"codes must lie in 0..{size - 1}, the codebook; got {low}..{high}."
        )
