"""What is left when training is over: every way between captions and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.captions import Choice, Writer, caption_log_p, chosen_language
from mmgen.models.autoregressive import ARSampler, shifted
from mmgen.models.codes import CodeTransformer, Told
from mmgen.models.describing import PART, PictureDescriber
from mmgen.models.joint.networks import (
    Generator,
    JointConfig,
    Language,
    PictureFusion,
    PictureWriter,
    told_by,
)
from mmgen.sampling import Graph, example_captions, in_parts, seeded_noise


class JointSampler(PictureDescriber, ARSampler):
    """Draws captions, describes pictures, makes both from nothing, and weighs all.

    ``sample``, ``write``, ``complete``, ``log_likelihood`` and ``scores`` are those of
    ``ARSampler``: log p(codes | caption) is the likelihood of pictures.

    Args:
        config: of the method.
        vocabulary: of the captions.
        max_tokens: T, longest caption; longer ones are cut.
        autoencoder: ``init_args`` of the ``VQVAESampler``.
    """

    config_class = JointConfig
    stored = ARSampler.stored

    def __init__(
        self,
        config: JointConfig,
        vocabulary: Vocabulary,
        max_tokens: int,
        autoencoder: Mapping[str, Any],
    ) -> None:
        ARSampler.__init__(self, config, vocabulary, max_tokens, autoencoder)
        self.language = Language(config, vocabulary, max_tokens)
        self.fusion = PictureFusion(config, len(vocabulary))

    def new_writer(self) -> CodeTransformer:
        """G, untrained."""
        return Generator(
            self.config,
            len(self.vocabulary),
            self.max_tokens,
            self.tokenizer.codebook(),
            self.side,
        )

    def _need(self, term: str, what: str) -> None:
        """Refuse what was not trained.

        Raises:
            ValueError: the term of the loss has no weight.
        """
        if not self.config.weight(term):
            raise ValueError(
                f"{what} needs a model that was trained with {term}_weight above 0; "
                f"this one was trained with 0."
            )

    # -- captions to pictures ----------------------------------------------------------

    def told(self, tokens: Tensor, lengths: Tensor) -> Told:
        """What G is told by captions, from M and F.

        Raises:
            ValueError: a model that was trained without ``generate_weight``.
        """
        self._need("generate", "a picture of a caption")
        return told_by(self, tokens, lengths)

    # -- pictures to captions ----------------------------------------------------------

    def look(self, images: Tensor) -> Tensor:
        """Tokens of pictures, (B, 1 + R, D).

        Raises:
            ValueError: a model that was trained without ``multi_weight``.
        """
        self._need("multi", "a caption of a picture")
        return self.fusion.look(images)

    @property
    def caption_writer(self) -> Writer:
        """M and F together."""
        writer = PictureWriter(self.language, self.fusion, self.vocabulary)
        return writer.to(self.device)

    @torch.no_grad()
    def caption_log_likelihood(
        self, captions: Sequence[str], images: Tensor | None = None
    ) -> Tensor:
        """log p(caption), or log p(caption | picture), the end included, (B,) nats.

        Args:
            captions: B.
            images: (B, 3, H, W) in [-1, 1]; None: what M says without pictures.

        Raises:
            ValueError: captions that cannot be read, pictures of another size or
                number, or a model that was trained without this term.
        """
        if images is not None:
            images, tokens, lengths = self._pairs(images, captions)
        else:
            tokens, lengths = self.read_captions(captions)

        def weigh(told: Tensor, sizes: Tensor, *shown: Tensor) -> Tensor:
            states = self.language(told)[:, :-1]
            logits = self.language.words(states)
            if shown:
                logits = logits + self.fusion.tell(self.look(*shown), states)
            return caption_log_p(logits, told, sizes).sum(dim=1)

        rows = [tokens, lengths] if images is None else [tokens, lengths, images]
        return in_parts(weigh, *rows, part=PART)

    # -- both from nothing -------------------------------------------------------------

    @torch.no_grad()
    def say(
        self,
        count: int,
        seed: int = 0,
        language: str | None = None,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        prompt: str | None = None,
    ) -> list[str]:
        """Captions that M draws without a picture.

        Args:
            count: of captions, at least 1.
            seed: of the noise.
            language: "en" or "zh", one that the model learned; the first by default.
            temperature, top_k, top_p: as for ``filtered``.
            prompt: the first words of every caption.

        Raises:
            ValueError: no caption, a language that the model does not write, an empty
                prompt, or options out of range.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1; got {count}.")
        language = chosen_language(language, self.vocabulary)
        begun = self._prompt(prompt, language)
        noise = seeded_noise(count, self.max_tokens, seed).to(self.device)
        tokens = self.language.write(
            noise,
            language,
            self.max_tokens,
            noise if temperature else None,
            Choice(temperature, top_k, top_p),
            begun,
        )
        return self.vocabulary.decode(tokens)

    def imagine(
        self, count: int, seed: int = 0, language: str | None = None
    ) -> tuple[Tensor, list[str]]:
        """Captions that M draws, and pictures (count, 3, H, W) of them.

        Arguments and errors as for ``say`` and ``sample``.
        """
        captions = self.say(count, seed, language)
        # other numbers than those that chose the words
        both = seeded_noise(count, self.max_tokens + self.side**2, seed)
        return self.sample(captions, noise=both[:, self.max_tokens :]), captions

    # -- export ------------------------------------------------------------------------

    def graph(self) -> Graph:
        """Captions and codes to the logits of every code, given those before it.

        ``codes`` (B, h w) may hold anything from the first that is to be told on: so
        pictures are written by as many calls as they have codes.
        """
        inputs = example_captions(self.vocabulary, self.max_tokens)
        generator = torch.Generator().manual_seed(0)
        shape = (len(inputs["tokens"]), self.side**2)
        inputs["codes"] = torch.randint(self.codes, shape, generator=generator)

        def tell(tokens: Tensor, lengths: Tensor, codes: Tensor) -> tuple[Tensor, ...]:
            told = self.told(tokens, lengths)
            return (self.writer.tell(told, shifted(self.writer, codes)),)

        return Graph.of(self, tell, inputs, ("logits",))
