"""What is left when training is over: pictures of captions, drawn along a flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.guidance import check_guidance, guide, told_and_untold
from mmgen.models.flow.latents import space_of
from mmgen.models.flow.networks import FlowConfig
from mmgen.models.flow.solvers import (
    LINEAR,
    Field,
    Held,
    Solver,
    euler_step,
    solve,
    time_grid,
)
from mmgen.models.flow.unet import velocity_network
from mmgen.models.vqvae import VQVAESampler
from mmgen.sampling import (
    EXAMPLES,
    CaptionSampler,
    Graph,
    example_captions,
    in_parts,
    named_numbers,
    seeded_noise,
)

PART = 64  # pictures drawn at a time


class FlowSampler(CaptionSampler):
    """Draws pictures of captions by solving the equation dx/dt = v(x, t, caption).

    Args:
        config: of the method.
        vocabulary: of the captions.
        max_tokens: T, longest caption; longer ones are cut.
        image_size: H = W of the pictures.
        autoencoder: ``init_args`` of the ``VQVAESampler`` in whose latents is drawn;
            None: pixels are.

    Raises:
        ValueError: an autoencoder of pictures of another size, or sizes that do not
            fit.
    """

    config_class = FlowConfig
    stored = (*CaptionSampler.stored, "image_size", "autoencoder")

    def __init__(
        self,
        config: FlowConfig,
        vocabulary: Vocabulary,
        max_tokens: int,
        image_size: int,
        autoencoder: Mapping[str, Any] | None,
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.image_size = image_size
        self.autoencoder = None if autoencoder is None else dict(autoencoder)
        tokenizer = None
        if autoencoder is not None:
            tokenizer = VQVAESampler.from_args(autoencoder)
            if tokenizer.image_size != image_size:
                raise ValueError(
                    f"autoencoder must be of pictures of {image_size} pixels; got "
                    f"{tokenizer.image_size}."
                )
        self.space = space_of(tokenizer, config.channels, image_size)
        self.channels, self.side = self.space.channels, self.space.side
        self.network = velocity_network(
            config, len(vocabulary), max_tokens, self.channels, self.side
        )

    @classmethod
    def options(cls) -> dict[str, type]:
        """The numbers that ``sample`` takes by name."""
        return named_numbers(cls.sample)

    def read_captions(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens (B, T) and lengths (B,); an empty caption is one of length 0.

        Raises:
            ValueError: no caption, one without any known word, or an empty one for a
                model that never met any in its training.
        """
        is_empty = [isinstance(text, str) and not text.strip() for text in captions]
        if isinstance(captions, str) or not any(is_empty):
            tokens, lengths = self.vocabulary.read(captions, self.max_tokens)
            return tokens.to(self.device), lengths.to(self.device)
        if not self.config.caption_dropout:
            raise ValueError(
                "captions must not be empty: this model was trained with "
                "caption_dropout 0, and never met the empty caption."
            )
        rows = torch.tensor(is_empty).logical_not()
        tokens = torch.zeros(len(captions), self.max_tokens, dtype=torch.int64)
        lengths = torch.zeros(len(captions), dtype=torch.int64)
        if rows.any():
            said = [c for c, empty in zip(captions, is_empty, strict=True) if not empty]
            tokens[rows], lengths[rows] = self.vocabulary.read(said, self.max_tokens)
        return tokens.to(self.device), lengths.to(self.device)

    def sample(
        self,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        solver: Solver = "euler",
        snap: bool = True,
    ) -> Tensor:
        """One picture for each caption; of an empty one, "", a picture of anything.

        Args:
            captions: B; "" is the unconditional model, for which guidance does nothing.
            seed: of the noise.
            noise: (B, Z) standard normal, in place of a seed's; Z = C h w, and for
                "ancestral" (1 + steps) C h w.
            steps: of the solver, of equal length, 1..1000; None: the config's.
            guidance: scale s of ``guided``, here of velocities; None: the config's.
            solver: "euler", "heun", "ddim" (which on the linear path is "euler") or
                "ancestral".
            snap: whether latents end at the nearest code.

        Returns:
            (B, 3, H, W) in [-1, 1].

        Raises:
            ValueError: captions that cannot be read, noise of another shape, or options
                out of range.
        """
        latents = self.draw(
            captions, seed, noise, steps=steps, guidance=guidance, solver=solver
        )
        return self.space.decode(latents, snap)

    def edit(
        self,
        images: Tensor,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
        *,
        begin: float = 0.0,
        mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Pictures of captions, begun from given ones, or held where a mask says so.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            captions: B.
            seed, noise: as for ``sample``.
            begin: time of the given pictures to which noise is added (SDEdit), in
                [0, 1); 0 forgets them, near 1 hardly changes them.
            mask: (B, h, w) bool, places of the latents that stay (inpainting).
            options: ``steps``, ``guidance`` and ``solver`` as for ``sample``.

        Returns:
            (B, 3, H, W) in [-1, 1].

        Raises:
            ValueError: as for ``sample``; pictures or a mask of another shape, or a
                time out of range.

        Source:
            Meng et al. 2022, algorithm 1; Lugmayr et al. 2022, eq. 8, without
            resampling.
        """
        size = (len(captions), 3, self.image_size, self.image_size)
        if tuple(images.shape) != size:
            raise ValueError(
                f"images must have shape {size}, one for each caption, of the size "
                f"that this model draws; got {tuple(images.shape)}."
            )
        known = self.space.encode(images.to(self.device))
        latents = self.draw(
            captions, seed, noise, begin=begin, known=known, mask=mask, **options
        )
        return self.space.decode(latents)

    def draw(
        self,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        solver: Solver = "euler",
        begin: float = 0.0,
        known: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Latents (B, C, h, w) of pictures, before they are snapped and decoded.

        Args:
            captions, seed, noise, steps, guidance, solver: as for ``sample``.
            begin, mask: as for ``edit``.
            known: (B, C, h, w) latents to begin from or to hold.

        Raises:
            ValueError: as for ``edit``, or a time or a mask without latents.
        """
        steps = self.config.draw_steps if steps is None else steps
        scale = self.config.guidance if guidance is None else guidance
        check_guidance(scale, self.config.caption_dropout)
        times = time_grid(steps, begin)
        tokens, lengths = self.read_captions(captions)
        tokens = tokens[:, : int(lengths.max())]
        count, shape = len(tokens), (self.channels, self.side, self.side)
        known, mask = self._given(count, begin, known, mask)
        draws = 1 + steps if solver == "ancestral" else 1
        size = draws * self.channels * self.side**2
        noise = seeded_noise(count, size, seed, noise).to(self.device)

        def follow(*rows: Tensor) -> Tensor:
            tokens, lengths, noise, known, mask = rows
            first, *fresh = noise.view(-1, draws, *shape).unbind(dim=1)
            time = first.new_full((len(first),), begin)
            return solve(
                self._field(tokens, lengths, scale),
                LINEAR.point(known, first, time),
                times,
                solver,
                noise=torch.stack(fresh) if fresh else None,
                held=Held(known, first, mask[:, None]),
            )

        with torch.no_grad():
            return in_parts(follow, tokens, lengths, noise, known, mask, part=PART)

    def _given(
        self, count: int, begin: float, known: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Latents to begin from and the mask of those that stay; or none that do."""
        shape = (count, self.channels, self.side, self.side)
        grid = (count, self.side, self.side)
        if known is None:
            if begin or mask is not None:
                raise ValueError(
                    "known must be given with begin or mask: there are no latents to "
                    "begin from, or to hold."
                )
            known = torch.zeros(shape)
        if tuple(known.shape) != shape:
            raise ValueError(
                f"known must be latents of shape {shape}; got {tuple(known.shape)}."
            )
        if mask is None:
            mask = torch.zeros(grid, dtype=torch.bool)
        if tuple(mask.shape) != grid or mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be bool of shape {grid}, True = stays; got {mask.dtype}, "
                f"{tuple(mask.shape)}."
            )
        return known.to(self.device), mask.to(self.device)

    def _field(self, tokens: Tensor, lengths: Tensor, scale: float) -> Field:
        """The guided velocity of captions, a function of points and times."""
        words = self.network.read(*told_and_untold(tokens, lengths, scale))
        copies = len(words.mask) // len(tokens)

        def field(points: Tensor, time: Tensor) -> Tensor:
            both = points.repeat(copies, 1, 1, 1)
            return guide(self.network.velocity(both, time.repeat(copies), words), scale)

        return field

    def graph(self) -> Graph:
        """Tokens, lengths and noise to a picture, all steps in one.

        They are Euler's, as many and as guided as the config says.
        """
        inputs = example_captions(self.vocabulary, self.max_tokens)
        size = self.channels * self.side**2
        generator = torch.Generator().manual_seed(1)
        inputs["noise"] = torch.randn(EXAMPLES, size, generator=generator)
        # as numbers: a graph that is traced cannot look at a tensor
        times = time_grid(self.config.draw_steps).tolist()
        scale = self.config.guidance

        def draw(tokens: Tensor, lengths: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
            points = noise.view(-1, self.channels, self.side, self.side)
            field = self._field(tokens, lengths, scale)
            for now, then in pairwise(times):
                points = euler_step(field, points, now, then)
            return (self.space.decode(points),)

        return Graph.of(self, draw, inputs, ("image",))

    def step_graph(self) -> Graph:
        """The velocity of one step: a caption, a point and its time.

        For guidance it is asked twice, the second time with length 0.
        """
        shape = (EXAMPLES, self.channels, self.side, self.side)
        generator = torch.Generator().manual_seed(1)
        inputs = example_captions(self.vocabulary, self.max_tokens)
        inputs["points"] = torch.randn(shape, generator=generator)
        inputs["time"] = torch.linspace(0, 0.9, EXAMPLES)

        def step(
            tokens: Tensor, lengths: Tensor, points: Tensor, time: Tensor
        ) -> tuple[Tensor, ...]:
            return (self.network(points, time, tokens, lengths),)

        return Graph.of(self, step, inputs, ("velocity",))
