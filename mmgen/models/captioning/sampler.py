"""What is left when training is over: pictures to captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.beam import Beams, beam_search, check_beams
from mmgen.layers.captions import (
    UNKNOWN_TOKEN,
    Choice,
    caption_log_p,
    chosen_language,
    languages_of,
)
from mmgen.layers.logits import check_choice
from mmgen.layers.validation import require_finite, require_range
from mmgen.models.captioning.networks import (
    AttentionWriter,
    CaptioningConfig,
    CaptioningNetwork,
)
from mmgen.sampling import EXAMPLES, CaptionSampler, Graph, in_parts, seeded_noise

PART = 64  # pictures described at a time


class CaptioningSampler(CaptionSampler):
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

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages it writes: "en", "zh" or both."""
        return languages_of(self.vocabulary)

    @torch.no_grad()
    def describe(
        self,
        images: Tensor,
        language: str | None = None,
        seed: int = 0,
        *,
        beams: int = 1,
        length_power: float = 1.0,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        prompt: str | None = None,
    ) -> list[str]:
        """A caption for each picture, by default the likeliest word each time.

        Args:
            images: (B, 3, H, W) in [-1, 1], of the size of the training.
            language: "en" or "zh", one that the model learned; the first by default.
            seed: of the noise, where the temperature is above 0.
            beams: sequences that are kept open; with more than 1 the best caption by
                log p / length ** ``length_power`` is given.
            length_power: a; 0 prefers short captions.
            temperature, top_k, top_p: as for ``filtered``; 0: no chance.
            prompt: the first words of every caption.

        Raises:
            ValueError: pictures out of range or of another size, a language that the
                model does not write, beams together with a temperature or a prompt, or
                a prompt that is empty or has words that are not of the language.
        """
        check_beams(beams, length_power)
        check_choice(temperature, top_k, top_p)
        language = chosen_language(language, self.vocabulary)
        begun = self._prompt(prompt, language)
        if beams > 1 and (temperature or begun is not None):
            raise ValueError(
                f"beams look for the likeliest caption: leave temperature at 0 and "
                f"prompt out, or set beams to 1; got beams {beams}, temperature "
                f"{temperature} and prompt {prompt!r}."
            )
        images = self._check(images)
        choice = Choice(temperature, top_k, top_p)
        noise = seeded_noise(len(images), self.max_tokens, seed).to(images.device)

        def write(part: Tensor, drawn: Tensor) -> Tensor:
            if beams > 1:
                return self._search(part, language, beams, length_power).tokens[:, 0]
            about = self.network.look(part)
            chance = drawn if temperature else None
            return self.network.writer.write(
                about, language, self.max_tokens, chance, choice, begun
            )

        return self.vocabulary.decode(in_parts(write, images, noise, part=PART))

    @torch.no_grad()
    def search(
        self,
        images: Tensor,
        language: str | None = None,
        beams: int = 4,
        length_power: float = 1.0,
    ) -> Beams:
        """Beam search with all that it found, best first; see ``beam_search``.

        Args:
            images, language, beams, length_power: as for ``describe``.

        Raises:
            ValueError: as for ``describe``.
        """
        check_beams(beams, length_power)
        language = chosen_language(language, self.vocabulary)
        return self._search(self._check(images), language, beams, length_power)

    def _search(
        self, images: Tensor, language: str, beams: int, length_power: float
    ) -> Beams:
        writer = self.network.writer
        state = writer.enter(self.network.look(images))
        return beam_search(
            writer.step,
            state,
            writer.starts(language, images),
            writer.never(language),
            beams,
            self.max_tokens,
            length_power,
        )

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

    def _pairs(
        self, images: Tensor, captions: Sequence[str]
    ) -> tuple[Tensor, Tensor, Tensor]:
        if len(images) != len(captions):
            raise ValueError(
                f"captions must be one for each picture; got {len(captions)} for "
                f"{len(images)}."
            )
        return self._check(images), *self.read_captions(captions)

    def _check(self, images: Tensor) -> Tensor:
        size = self.config.image_size
        if tuple(images.shape[1:]) != (3, size, size) or not len(images):
            raise ValueError(
                f"images must be of shape (B, 3, {size}, {size}), the size of the "
                f"training, with B at least 1; got {tuple(images.shape)}."
            )
        require_finite(images=images)
        require_range(images)
        return images.to(self.device)

    def _prompt(self, prompt: str | None, language: str) -> Tensor | None:
        if prompt is None:
            return None
        if not prompt.strip():
            raise ValueError(
                "prompt must not be empty: write at least one word, or leave it out."
            )
        tokens, lengths = self.vocabulary.encode([prompt], self.max_tokens)
        begun = tokens[0, : int(lengths[0])].to(self.device)
        strange = set(begun[self.network.writer.never(language)[begun]].tolist())
        if strange:
            words = self.vocabulary.unknown(prompt)
            strange.discard(UNKNOWN_TOKEN)
            words += [self.vocabulary.tokens[i] for i in sorted(strange)]
            raise ValueError(
                f"prompt must have words that the model writes in {language!r}; got "
                f"{prompt!r}, of which it does not write {', '.join(words)}."
            )
        return begun

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
