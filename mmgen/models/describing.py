"""What all samplers that describe pictures share: how captions are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmgen.layers.beam import Beams, beam_search, check_beams
from mmgen.layers.captions import (
    UNKNOWN_TOKEN,
    Choice,
    Writer,
    chosen_language,
    languages_of,
)
from mmgen.layers.logits import check_choice
from mmgen.layers.validation import require_finite, require_one_each, require_range
from mmgen.sampling import CaptionSampler, in_parts, seeded_noise

PART = 64  # pictures described at a time


class PictureDescriber(CaptionSampler):
    """Describes pictures of the ``image_size`` of its config, by a ``Writer``.

    A subclass says in ``look`` what the writer is told of pictures, and which it is.
    """

    def look(self, images: Tensor) -> Tensor:
        """What the writer is told of pictures (B, 3, H, W), a row each."""
        raise NotImplementedError  # what that is, a subclass says

    @property
    def caption_writer(self) -> Writer:
        """What writes the captions."""
        raise NotImplementedError  # what that is, a subclass says

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
            chance = drawn if temperature else None
            return self.caption_writer.write(
                self.look(part), language, self.max_tokens, chance, choice, begun
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
        writer = self.caption_writer
        state = writer.enter(self.look(images))
        return beam_search(
            writer.step,
            state,
            writer.starts(language, images),
            writer.never(language),
            beams,
            self.max_tokens,
            length_power,
        )

    def _pairs(
        self, images: Tensor, captions: Sequence[str]
    ) -> tuple[Tensor, Tensor, Tensor]:
        require_one_each(captions, images)
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
        strange = set(begun[self.caption_writer.never(language)[begun]].tolist())
        if strange:
            words = self.vocabulary.unknown(prompt)
            strange.discard(UNKNOWN_TOKEN)
            words += [self.vocabulary.tokens[i] for i in sorted(strange)]
            raise ValueError(
                f"prompt must have words that the model writes in {language!r}; got "
                f"{prompt!r}, of which it does not write {', '.join(words)}."
            )
        return begun
