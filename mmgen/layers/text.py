"""From captions to features of words and sentences.

Xu et al., *AttnGAN: Fine-Grained Text to Image Generation with Attentional Generative
Adversarial Networks*, CVPR 2018, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgen.data.batch import word_mask

UNIT_RANGE = math.sqrt(3)  # of a uniform distribution with unit variance


class TextEncoder(nn.Module):
    r"""Word features and a sentence feature from a bidirectional LSTM.

    Each direction is an LSTM over all T positions. The backward one reads every caption
    reversed *within its own length*, so padding comes after the words in both
    directions and cannot change them. That equals ``pack_padded_sequence``, and unlike
    it needs no sorting, no copy of the lengths to the CPU (which makes a GPU wait), and
    no data-dependent shapes (which stop an ONNX export).

    Args:
        vocabulary_size: V, number of tokens, padding included.
        embedding_dim: size of the learned vector of a token.
        feature_dim: D, size of a word feature; even, one half from each direction.
        pooling: what the sentence feature is: "last", the last state of each direction
            (AttnGAN), or "mean", the mean of the word features.
        dropout: probability that an entry of a token's vector is dropped in training.
        word_range: a fresh token's vector is uniform within this of zero, above 0.
            AttnGAN's 0.1 is small beside the LSTM's biases: fresh features of any two
            captions are almost the same, and differences are long in coming.
            ``UNIT_RANGE`` gives unit variance.

    Raises:
        ValueError: an odd ``feature_dim``, an unknown ``pooling``, a size below 1, a
            ``dropout`` outside [0, 1), or a ``word_range`` that is not above 0.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int = 300,
        feature_dim: int = 256,
        pooling: str = "last",
        dropout: float = 0.5,
        word_range: float = 0.1,
    ) -> None:
        super().__init__()
        for name, size in (
            ("vocabulary_size", vocabulary_size),
            ("embedding_dim", embedding_dim),
            ("feature_dim", feature_dim),
        ):
            if size < 1:
                raise ValueError(f"{name} must be at least 1; got {size}.")
        if feature_dim % 2:
            raise ValueError(
                f"feature_dim must be even, one half from each reading direction; got "
                f"{feature_dim}. Choose {feature_dim + 1}."
            )
        if pooling not in ("last", "mean"):
            raise ValueError(f'pooling must be "last" or "mean"; got {pooling!r}.')
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1); got {dropout}.")
        if not word_range > 0:
            raise ValueError(f"word_range must be above 0; got {word_range}.")
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.feature_dim = feature_dim
        self.pooling = pooling
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim)
        nn.init.uniform_(self.embedding.weight, -word_range, word_range)
        self.dropout = nn.Dropout(dropout)
        half = feature_dim // 2
        self.forward_lstm = nn.LSTM(embedding_dim, half, batch_first=True)
        self.backward_lstm = nn.LSTM(embedding_dim, half, batch_first=True)

    @classmethod
    def from_attngan(
        cls, state: Mapping[str, Tensor], dropout: float = 0.5
    ) -> TextEncoder:
        """The encoder of a ``text_encoder*.pth`` that the original AttnGAN saved.

        Args:
            state: its state dictionary, sizes are read off the tensors; loaded by
                ``torch.load(path, weights_only=True)``.
            dropout: as for the constructor.

        Raises:
            ValueError: ``state`` is not one of a one-layer bidirectional LSTM.
        """
        lstm = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        names = {"encoder.weight": "embedding.weight"}
        for name in lstm:
            names[f"rnn.{name}"] = f"forward_lstm.{name}"
            names[f"rnn.{name}_reverse"] = f"backward_lstm.{name}"
        if set(state) != set(names):
            missing = sorted(set(names) - set(state))
            extra = sorted(set(state) - set(names))
            raise ValueError(
                f"state must be the original's text encoder (a token embedding and one "
                f"bidirectional LSTM layer); missing {missing}, not expected {extra}."
            )
        vocabulary_size, embedding_dim = state["encoder.weight"].shape
        gates, half = state["rnn.weight_hh_l0"].shape
        if gates != 4 * half:
            raise ValueError(
                f"state must hold an LSTM, whose rnn.weight_hh_l0 has 4 rows a column; "
                f"got shape {(gates, half)}. (A GRU has 3; it is not supported.)"
            )
        encoder = cls(vocabulary_size, embedding_dim, 2 * half, "last", dropout)
        encoder.load_state_dict({names[name]: state[name] for name in names})
        return encoder

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode captions; their order in the batch is free.

        Args:
            tokens: (B, T) int64 in 0..V-1; what stands after a caption's end has no
                influence.
            lengths: (B,) int64 in 1..T, on the device of ``tokens``.

        Returns:
            Word features, shape (B, T, D), zero at padding, and sentence features,
            shape (B, D).

        Raises:
            ValueError: wrong shapes or types; on the CPU also a length outside 1..T or
                a token outside the vocabulary. (On a GPU such values stop the kernel
                that meets them: looking at them here would make every step wait.)
        """
        self._check(tokens, lengths)
        padded = tokens.shape[1]
        if tokens.device.type == "cpu" and not torch.compiler.is_compiling():
            # Nothing to compute after the longest caption. (On a GPU to know its length
            # would mean to wait.)
            tokens = tokens[:, : int(lengths.max())]
        width = tokens.shape[1]
        positions = torch.arange(width, device=tokens.device)[None, :]  # (1, T)
        ends = lengths[:, None]  # (B, 1)
        mask = word_mask(lengths, width)  # (B, T)
        # t -> T_b - 1 - t inside caption b; its own inverse. Padding stays where it is.
        reverse = torch.where(mask, ends - 1 - positions, positions)  # (B, T)

        embedded = self.dropout(self.embedding(tokens))  # (B, T, E)
        ahead, _ = self.forward_lstm(embedded)  # (B, T, D/2)
        back, _ = self.backward_lstm(_take_steps(embedded, reverse))
        words = torch.cat([ahead, _take_steps(back, reverse)], dim=2)  # (B, T, D)
        words = words.masked_fill(~mask[:, :, None], 0.0)
        words = F.pad(words, (0, 0, 0, padded - width))

        if self.pooling == "mean":
            return words, words.sum(dim=1) / ends.to(words.dtype)
        # Each direction ends at its last word: step T_b - 1 of both readings.
        last = torch.cat([ahead, back], dim=2)
        return words, _take_steps(last, ends - 1).squeeze(1)

    def _check(self, tokens: Tensor, lengths: Tensor) -> None:
        if tokens.ndim != 2 or tokens.dtype != torch.int64 or tokens.shape[1] == 0:
            raise ValueError(
                f"tokens must be int64 of shape (B, T) with T >= 1; got "
                f"{tokens.dtype}, {tuple(tokens.shape)}."
            )
        if lengths.shape != tokens.shape[:1] or lengths.dtype != torch.int64:
            raise ValueError(
                f"lengths must be int64 of shape ({len(tokens)},), one a caption of "
                f"tokens {tuple(tokens.shape)}; got {lengths.dtype}, "
                f"{tuple(lengths.shape)}."
            )
        if lengths.device != tokens.device:
            raise ValueError(
                f"lengths must be on the device of tokens ({tokens.device}); got "
                f"{lengths.device}."
            )
        if tokens.device.type != "cpu" or torch.compiler.is_compiling():
            return
        width = tokens.shape[1]
        if bool(((lengths < 1) | (lengths > width)).any()):
            raise ValueError(
                f"lengths must lie in 1..{width} for tokens {tuple(tokens.shape)}; got "
                f"{int(lengths.min())}..{int(lengths.max())}."
            )
        if bool(((tokens < 0) | (tokens >= self.vocabulary_size)).any()):
            raise ValueError(
                f"tokens must lie in 0..{self.vocabulary_size - 1}, the encoder's "
                f"vocabulary; got {int(tokens.min())}..{int(tokens.max())}. Encode the "
                f"captions with the vocabulary that the encoder was built for."
            )


def _take_steps(sequence: Tensor, steps: Tensor) -> Tensor:
    """Rows of ``sequence`` (B, T, C) at ``steps`` (B, S), shape (B, S, C)."""
    index = steps[:, :, None].expand(-1, -1, sequence.shape[2])
    return sequence.gather(1, index)
