"""What is left of AttnGAN when training is over: captions to pictures of stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from mmgen.data.batch import word_mask
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import DataInfo
from mmgen.layers.text import TextEncoder
from mmgen.models.attngan.networks import GeneratorOutput, GeneratorSizes
from mmgen.sampling import (
    CaptionSampler,
    Graph,
    example_captions,
    example_noise,
    in_parts,
    seeded_noise,
)


class StagedSampler(CaptionSampler):
    """A trained generator of several stages with its text encoder.

    Args:
        config: as trained.
        vocabulary: of the captions.
        max_tokens: longest caption of the training; longer ones are cut.
        embedding_dim: size of a token's vector in the text encoder.
    """

    config: GeneratorSizes
    generator_class: ClassVar[type[nn.Module]]
    stored = (*CaptionSampler.stored, "embedding_dim")

    def __init__(
        self,
        config: GeneratorSizes,
        vocabulary: Vocabulary,
        max_tokens: int,
        embedding_dim: int,
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.embedding_dim = embedding_dim
        self.text = TextEncoder(
            len(vocabulary), embedding_dim, config.feature_dim, dropout=0.0
        )
        self.generator = self.generator_class(config)

    @classmethod
    def of(
        cls,
        config: GeneratorSizes,
        data: DataInfo,
        text: nn.Module,
        generator: nn.Module,
    ) -> Self:
        """A sampler with the weights of a text encoder and a generator."""
        encoder = text.state_dict()
        table = encoder["embedding.weight"]
        sampler = cls(config, data.vocabulary, data.max_tokens, table.shape[1])
        sampler.text.load_state_dict(encoder)
        sampler.generator.load_state_dict(generator.state_dict())
        return sampler.to(table.device).eval()

    @property
    def noise_dim(self) -> int:
        """Random numbers for a picture: z, then the augmentation's epsilon."""
        return self.config.noise_dim + self.config.condition_dim

    def draw(self, tokens: Tensor, lengths: Tensor, noise: Tensor) -> GeneratorOutput:
        """Draw encoded captions.

        Args:
            tokens: (B, T) int64, 0 = padding.
            lengths: (B,) int64.
            noise: (B, noise_dim), standard normal.

        Returns:
            Pictures and attention maps of every stage.
        """
        words, sentence = self.text(tokens, lengths)
        mask = word_mask(lengths, tokens.shape[1])
        z, eps = noise.split([self.config.noise_dim, self.config.condition_dim], dim=1)
        return self.generator(z, words, sentence, mask, eps)

    @torch.no_grad()
    def stages(
        self, captions: Sequence[str], seed: int = 0, noise: Tensor | None = None
    ) -> GeneratorOutput:
        """Pictures of every stage and where each word went.

        Args:
            captions: at least one; words that the model never saw are named in a
                warning.
            seed: of the noise; the same seed and captions give the same pictures.
            noise: (B, noise_dim), in place of a seed's.

        Returns:
            As the generator's; attention maps have ``max_tokens`` words, zero past a
            caption's end.

        Raises:
            ValueError: no caption, an empty one, or one without a known word.
        """
        tokens, lengths = self.read_captions(captions)
        noise = seeded_noise(len(captions), self.noise_dim, seed, noise)
        return self.draw(tokens, lengths, noise.to(self.device))

    @torch.no_grad()
    def sample(
        self, captions: Sequence[str], seed: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        """One picture for each caption; arguments as for ``stages``.

        Returns:
            Images (B, 3, S, S) of the last stage, in [-1, 1].
        """
        tokens, lengths = self.read_captions(captions)
        noise = seeded_noise(len(captions), self.noise_dim, seed, noise)

        def last(*part: Tensor) -> Tensor:
            return self.draw(*part).images[-1]

        # attention over more than 64 at once would need gigabytes
        return in_parts(last, tokens, lengths, noise.to(self.device), part=64)

    def graph(self) -> Graph:
        """Captions and noise to the pictures and attention maps of all stages."""

        def draw(tokens: Tensor, lengths: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
            drawn = self.draw(tokens, lengths, noise)
            return (*drawn.images, *drawn.attention)

        sizes = self.config.sizes
        inputs = example_captions(self.vocabulary, self.max_tokens)
        names = (*(f"image{s}" for s in sizes), *(f"attention{s}" for s in sizes[:-1]))
        return Graph.of(self, draw, inputs | example_noise(self.noise_dim), names)
