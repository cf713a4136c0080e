"""What is left when training is over: pictures to captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.captions import Writer, caption_log_p
from mmgen.models.captioning.networks import (
    AttentionWriter,
    CaptioningConfig,
    CaptioningNetwork,
)
from mmgen.models.describing import PART, PictureDescriber
from mmgen.sampling import EXAMPLES, Graph, in_parts


class CaptioningSampler(PictureDescriber):
    """Describes pictures, and says how likely captions of them are.

    Args:
        config: sizes.
        vocabulary: of captions.
        max_tokens: T, where a caption is cut.
    """

    config_class = CaptioningConfig

    def __init__(
        self, config: CaptioningConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.network = CaptioningNetwork(config, vocabulary, max_tokens)

    def look(self, images: Tensor) -> Tensor:
        """Tokens of pictures, (B, 1 + R, D)."""
        return self.network.look(images)

    @property
    def caption_writer(self) -> Writer:
        """The decoder."""
        return self.network.writer

    @torch.no_grad()
    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """log p(caption | picture) of pairs, the end included, (B,) nats.

        Raises:
            ValueError: captions that cannot be read, another number of them, or
                pictures of another size.
        """
        images, tokens, lengths = self._pairs(images, captions)

        def weigh(part: Tensor, told: Tensor, sizes: Tensor) -> Tensor:
            return caption_log_p(self.network(part, told), told, sizes).sum(dim=1)

        return in_parts(weigh, images, tokens, lengths, part=PART)

    @torch.no_grad()
    def maps(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Where the decoder looks for each word, (B, T, h, w), shares of attention.

        Arguments and errors as for ``log_likelihood``.
        """
        side = self.config.grid

        def look(part: Tensor, told: Tensor) -> Tensor:
            return self.network.writer.maps(self.network.look(part), told)

        images, tokens, _ = self._pairs(images, captions)
        return in_parts(look, images, tokens, part=PART).unflatten(2, (side, side))

    def graph(self) -> Graph:
        """One word more: a picture, the last word and what is kept, to logits and kept.

        ``token`` (1,) is a word (0..V-1), or V or V + 1, the start of an English or a
        Chinese caption; ``at`` (1,) counts the words before. What is kept of the words
        begins as zeros: ``keys`` and ``values`` (1, depth, heads, T, d) of the
        Transformer, ``h`` and ``c`` (1, hidden) of the LSTM.
        """
        writer, size = self.network.writer, self.config.image_size
        generator = torch.Generator().manual_seed(0)
        shape = (EXAMPLES, 3, size, size)
        inputs = {
            "image": torch.rand(shape, generator=generator) * 2 - 1,
            "token": torch.tensor([writer.first_start, 2, 3]),
            "at": torch.tensor([0, 1, 4]).clamp(max=self.max_tokens - 1),
        }
        sizes: dict[str, tuple[int, ...]]
        if isinstance(writer, AttentionWriter):
            sizes = {"h": (self.config.hidden,), "c": (self.config.hidden,)}
        else:
            sizes = {"keys": writer.shape, "values": writer.shape}
        for name, each in sizes.items():
            inputs[name] = torch.randn(EXAMPLES, *each, generator=generator)

        def step(
            image: Tensor, token: Tensor, at: Tensor, one: Tensor, other: Tensor
        ) -> tuple[Tensor, ...]:
            begun = writer.enter(self.network.look(image))
            if isinstance(writer, AttentionWriter):
                first = (at == 0)[:, None]
                h = torch.where(first, begun[0], one)
                c = torch.where(first, begun[1], other)
                logits, state, _ = writer.look_and_step(token, (h, c, begun[2]))
                return logits, *state[:2]
            kept = one.clone(), other.clone(), *begun[2:]
            return writer.read(token, at, kept), *kept[:2]

        return Graph.of(self, step, inputs, ("logits", *(f"new_{k}" for k in sizes)))
