r"""A causal Transformer that writes a caption's picture, one code after the other.

.. math:: \log p(k \mid \text{caption})
          = \sum_{i=1}^{N} \log p(k_i \mid k_1, \ldots, k_{i-1}, \text{caption})

Nothing is approximated: every picture of the codebook has a probability, and they sum
to one.

van den Oord, Kalchbrenner and Kavukcuoglu, *Pixel Recurrent Neural Networks*, ICML
2016.
Ramesh et al., *Zero-Shot Text-to-Image Generation*, ICML 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, pad

from mmgen.interfaces import Step
from mmgen.layers.guidance import guide, told_and_untold
from mmgen.layers.logits import check_choice, choose, filtered
from mmgen.layers.transformer import Cache
from mmgen.layers.validation import require_one_each
from mmgen.models.codes import (
    OPEN,
    CodeSampler,
    CodesConfig,
    CodesTask,
    CodeTransformer,
    Told,
)
from mmgen.sampling import Graph, in_parts, named_numbers, seeded_noise

PART = 64  # pictures drawn or weighed at a time


@dataclass(frozen=True)
class ARConfig(CodesConfig):
    """Sizes and training of a causal Transformer over words and codes."""


def shifted(model: CodeTransformer, codes: Tensor) -> Tensor:
    """What stands where each code is to be told, (B, N): "start", k_1, ..., k_{N-1}."""
    return pad(codes[:, :-1], (1, 0), value=model.codes)


def codes_log_p(model: CodeTransformer, told: Told, codes: Tensor) -> Tensor:
    """log p of each of the codes (B, N), given those before it, (B, N) nats."""
    logits = model.tell(told, shifted(model, codes))  # (B, N, K)
    return -cross_entropy(logits.transpose(1, 2), codes, reduction="none")


class ARTask(CodesTask):
    """The training of an autoregressive model: to tell every code from those before."""

    def _loss(
        self, tokens: Tensor, lengths: Tensor, codes: Tensor, step: Step
    ) -> dict[str, Tensor]:
        """Cross-entropy with the true codes before each (teacher forcing), and bits."""
        writer = self.networks["writer"]
        logits = writer(tokens, lengths, shifted(self.model, codes))  # (B, N, K)
        nats = cross_entropy(logits.flatten(0, 1), codes.flatten())
        return {"loss": nats, "bits": nats / math.log(2) * codes.shape[1]}


class ARSampler(CodeSampler):
    """Writes pictures code by code, in reading order, and weighs them.

    Arguments as for ``CodeSampler``.
    """

    config_class: ClassVar[type[CodesConfig]] = ARConfig
    causal = True

    @classmethod
    def options(cls) -> dict[str, type]:
        """The numbers that ``write`` takes by name."""
        return named_numbers(cls.write)

    def write(
        self,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
        *,
        codes: Tensor | None = None,
        guidance: float | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
    ) -> Tensor:
        """The codes (B, h, w) of one picture for each caption.

        Args:
            captions: B.
            seed: of the noise.
            noise: (B, h w) standard normal, one number a code, in place of a seed's.
            codes: (B, h, w) of which those that are not OPEN are kept. A code is told
                from those before it alone: what is given below, it does not see.
            guidance: scale s of ``guided``; None: the config's.
            temperature, top_k, top_p: as for ``filtered``.

        Raises:
            ValueError: captions that cannot be read, noise or codes of another shape,
                or options out of range.
        """
        scale = self.check_guidance(guidance)
        check_choice(temperature, top_k, top_p)
        tokens, lengths = self.read_captions(captions)
        given = self.read_open(codes, len(tokens))
        noise = seeded_noise(len(tokens), self.side**2, seed, noise).to(self.device)

        def draw(*rows: Tensor) -> Tensor:
            return self._write(rows, scale, (temperature, top_k, top_p))

        with torch.no_grad():
            written = in_parts(draw, tokens, lengths, given, noise, part=PART)
        return written.unflatten(1, (self.side, self.side))

    def told(self, tokens: Tensor, lengths: Tensor) -> Told:
        """What the writer is told by captions (B, T) of lengths (B,)."""
        return self.writer.told(tokens, lengths)

    def _write(
        self,
        rows: tuple[Tensor, ...],
        scale: float,
        choice: tuple[float, int | None, float],
    ) -> Tensor:
        """Codes (B, N), one after the other; every token is read once and kept."""
        tokens, lengths, given, noise = rows
        writer, count = self.writer, len(tokens)
        tokens = tokens[:, : int(lengths.max())]
        tokens, lengths = told_and_untold(tokens, lengths, scale)
        told = self.told(tokens, lengths)
        words, size = tokens.shape[1], self.side**2
        places, seen = writer.places(words), writer.seen(lengths, words)
        like = writer.head.weight
        cache = writer.transformer.new_cache(len(tokens), words + size, like)
        at = torch.arange(words + size, device=self.device)
        writer.transformer(told.words, places[:words], seen, at[:words], cache)
        table, weights = writer.table(), writer.weights()
        read = table[writer.codes].expand(len(tokens), -1)  # "start"
        if told.start is not None:
            read = read + told.start
        written = []
        for i in range(size):
            here = slice(words + i, words + i + 1)
            features = writer.transformer(
                read[:, None], places[here], seen, at[here], cache
            )
            logits = linear(features[:, 0], weights, writer.head.bias)
            shares = filtered(guide(logits, scale), *choice)  # (B, K)
            code = choose(shares, noise[:, i])
            code = torch.where(given[:, i] == OPEN, code, given[:, i])
            written.append(code)
            read = table[code.repeat(len(tokens) // count)]
        return torch.stack(written, dim=1)

    @torch.no_grad()
    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """log p(codes of a picture | its caption), exact, (B,) nats.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            captions: B.

        Raises:
            ValueError: captions that cannot be read, another number of them, or
                pictures of another size.
        """
        require_one_each(captions, images)
        tokens, lengths = self.read_captions(captions)
        codes = self._codes_of(images)
        return in_parts(self.log_probability, tokens, lengths, codes, part=PART)

    def log_probability(self, tokens: Tensor, lengths: Tensor, codes: Tensor) -> Tensor:
        """log p(codes (B, N) | words (B, T)), (B,) nats; a length of 0: no caption."""
        told = self.told(tokens, lengths)
        return codes_log_p(self.writer, told, codes).sum(dim=1)

    @torch.no_grad()
    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        r"""log p(picture | caption) for all pairs, (B_images, B_captions) nats.

        By Bayes' rule the caption that makes a picture likeliest is the likeliest
        caption, if all were equally likely before. A pair costs a reading of all codes.

        Raises:
            ValueError: captions that cannot be read, or pictures of another size.
        """
        tokens, lengths = self.read_captions(captions)
        codes = self._codes_of(images)
        rows, many = len(codes), len(tokens)
        pairs = in_parts(
            self.log_probability,
            tokens.repeat(rows, 1),
            lengths.repeat(rows),
            codes.repeat_interleave(many, dim=0),
            part=PART,
        )
        return pairs.view(rows, many)

    def _codes_of(self, images: Tensor) -> Tensor:
        """Codes (B, N) of pictures of the size that the network was trained on."""
        size = self.tokenizer.image_size
        if tuple(images.shape[1:]) != (3, size, size):
            raise ValueError(
                f"images must have shape (B, 3, {size}, {size}), the size that this "
                f"model writes; got {tuple(images.shape)}."
            )
        return self.tokenizer.encode(images).flatten(1)

    def graph(self) -> Graph:
        """One token more: it, its place and the cache to logits and the cache.

        ``token`` (1,) is a word (0..V-1), or V + code, or V + K for the first code's
        "start"; ``at`` (1,) counts the tokens before it; ``length`` (1,) is the
        caption's; ``keys`` and ``values`` (1, layers, heads, room, d) begin as zeros.
        """
        writer = self.writer
        room = self.max_tokens + self.side**2
        vocabulary = len(self.vocabulary)
        places = writer.places(self.max_tokens)
        words, grid = places[: self.max_tokens], places[self.max_tokens :]
        with torch.no_grad():
            table = torch.cat([writer.words.weight, writer.table()])
            weights = writer.weights()
        empty = writer.transformer.new_cache(3, room, writer.head.weight)
        inputs = {
            "token": torch.tensor([2, vocabulary, vocabulary + self.codes]),
            "at": torch.tensor([0, 4, 3]),
            "length": torch.tensor([3, 3, 3]),
            "keys": empty.keys.transpose(0, 1).contiguous(),
            "values": empty.values.transpose(0, 1).contiguous(),
        }

        def step(
            token: Tensor, at: Tensor, length: Tensor, keys: Tensor, values: Tensor
        ) -> tuple[Tensor, ...]:
            is_word = (token < vocabulary)[:, None]
            word = words[at.clamp(max=self.max_tokens - 1)]
            piece = grid[(at - length).clamp(min=0, max=self.side**2 - 1)]
            before = (part.transpose(0, 1).clone() for part in (keys, values))
            cache, place = Cache(*before), torch.where(is_word, word, piece)
            features = writer.transformer(table[token][:, None], place, None, at, cache)
            kept = (cache.keys.transpose(0, 1), cache.values.transpose(0, 1))
            return linear(features[:, 0], weights, writer.head.bias), *kept

        return Graph.of(self, step, inputs, ("logits", "new_keys", "new_values"))


ARTask.sampler_class = ARSampler
