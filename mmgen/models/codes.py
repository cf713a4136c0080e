"""What models that write codes share: the network, its training and its sampler.

A picture is a grid of codes of a frozen ``VQVAE``; a caption stands before it. The
causal model of ``mmgen.models.autoregressive`` and the bidirectional one of
``mmgen.models.masked`` differ in what a code may see, and in the order of writing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, pad
from torch.optim import AdamW, Optimizer

from mmgen.data.batch import Batch, word_mask
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.guidance import (
    check_caption_dropout,
    check_guidance,
    heard,
    up_to_longest,
)
from mmgen.layers.quantise import check_codes
from mmgen.layers.transformer import INITIAL_STD, Transformer, decay_groups
from mmgen.models.vqvae import VQVAESampler
from mmgen.sampling import CaptionSampler

OPEN = -1  # a code that is to be written


@dataclass(frozen=True)
class CodesConfig:
    """Sizes and training of a Transformer over words and codes."""

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        ["tokenizer", "learning_rate", "weight_decay"]
    )

    tokenizer: str = ""  # that makes the codes: a pretrained name, or a run's folder
    width: int = 192  # D of a token
    depth: int = 6  # blocks
    heads: int = 6  # of the attention
    positions: Literal["rotary", "learned"] = "rotary"  # how places are told
    caption_dropout: float = 0.1  # share of captions left out, which guidance needs
    guidance: float = 1.0  # of drawing, where nothing else is asked for
    learning_rate: float = 2e-3  # of AdamW
    weight_decay: float = 0.01  # of the blocks' matrices

    def __post_init__(self) -> None:
        check_caption_dropout(self.caption_dropout)
        check_guidance(self.guidance, self.caption_dropout)


class Told(NamedTuple):
    """What stands before the codes of pictures, as vectors."""

    words: Tensor  # (B, T, D)
    lengths: Tensor  # (B,), of which 0 is no caption at all
    start: Tensor | None = None  # (B, D), what is added to "start"; None: nothing


class CodeTransformer(nn.Module):
    """Words, then codes, to logits of the codes.

    Args:
        config: sizes.
        vocabulary_size: V of the captions.
        max_tokens: T, longest caption.
        codebook: (K, C), the vector of every code, which the decoder is given.
        side: h = w of the grid of codes.
        causal: whether a code sees only what stands before it.
    """

    codebook: Tensor

    def __init__(
        self,
        config: CodesConfig,
        vocabulary_size: int,
        max_tokens: int,
        codebook: Tensor,
        side: int,
        causal: bool,
    ) -> None:
        super().__init__()
        codes, vector_dim = codebook.shape
        self.codes, self.side, self.max_tokens = codes, side, max_tokens
        self.register_buffer("codebook", codebook.clone())
        self.words = nn.Embedding(vocabulary_size, config.width)
        # one more than there are codes: "start" of a causal model, "open" of the other
        self.pieces = nn.Embedding(codes + 1, config.width)
        nn.init.normal_(self.words.weight, std=INITIAL_STD)
        nn.init.normal_(self.pieces.weight, std=INITIAL_STD)
        # words, rows, columns; place 0: not on this axis
        axes = (max_tokens + 1, side + 1, side + 1)
        self.transformer = Transformer(
            config.width, config.depth, config.heads, axes, causal, config.positions
        )
        self.head = nn.Linear(config.width, codes)
        nn.init.zeros_(self.head.weight)  # at first all codes are equally likely
        nn.init.zeros_(self.head.bias)
        # Codes with near vectors look alike. What is learned of one holds for its
        # neighbours too, if a code is read and told by its vector besides its number.
        self.read_vector = _from_vector(vector_dim, config.width)
        self.tell_vector = _from_vector(vector_dim, config.width)

    def places(self, words: int) -> Tensor:
        """Places (words + h w, 3) of a caption of this many tokens and of a grid."""
        device = self.head.weight.device
        grid = torch.arange(self.side**2, device=device)
        zeros = torch.zeros_like(grid)
        pieces = [zeros, grid // self.side + 1, grid % self.side + 1]
        places = torch.arange(1, words + 1, device=device)
        none = torch.zeros_like(places)
        text = torch.stack([places, none, none], dim=1)
        return torch.cat([text, torch.stack(pieces, dim=1)])

    def told(self, tokens: Tensor, lengths: Tensor) -> Told:
        """Captions (B, T) of lengths (B,), each word as its vector."""
        return Told(self.words(tokens), lengths)

    def read(self, told: Told, pieces: Tensor, table: Tensor) -> Tensor:
        """Vectors (B, T + N, D) of captions and of codes (B, N) of a table."""
        vectors = embedding(pieces, table)
        if told.start is not None:
            begun = vectors[:, :1] + told.start[:, None]
            vectors = torch.cat([begun, vectors[:, 1:]], dim=1)
        return torch.cat([told.words, vectors], dim=1)

    def table(self) -> Tensor:
        """What stands for each code and for "start" or "open", (K + 1, D)."""
        return self.pieces.weight + pad(self.read_vector(self.codebook), (0, 0, 0, 1))

    def weights(self) -> Tensor:
        """What features are compared with, for each code, (K, D)."""
        return self.head.weight + self.tell_vector(self.codebook)

    def seen(self, lengths: Tensor, words: int) -> Tensor:
        """What is no padding, (B, words + h w) bool; a length of 0: no caption."""
        mask = word_mask(lengths, words)
        return torch.cat([mask, mask.new_ones(len(mask), self.side**2)], dim=1)

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor,
        pieces: Tensor,
        tables: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Logits (B, N, K) at every place of the grid.

        Args:
            tokens: (B, T) int64.
            lengths: (B,), of which 0 is no caption at all.
            pieces, tables: as for ``tell``.
        """
        return self.tell(self.told(tokens, lengths), pieces, tables)

    def tell(
        self,
        told: Told,
        pieces: Tensor,
        tables: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Logits (B, N, K) at every place of the grid, whatever stands before it.

        Args:
            told: what does.
            pieces: (B, N) int64 in 0..K: what stands at the places; K is "start" or
                "open".
            tables: ``table`` and ``weights``, computed before by whoever reads again
                and again with the same network.
        """
        table, weights = tables or (self.table(), self.weights())
        words = told.words.shape[1]
        read = self.read(told, pieces, table)
        seen = self.seen(told.lengths, words)
        features = self.transformer(read, self.places(words), seen)
        return linear(features[:, words:], weights, self.head.bias).float()


def _from_vector(vector_dim: int, width: int) -> nn.Sequential:
    """From a code's vector to a row of a table."""
    last = nn.Linear(width, width, bias=False)
    nn.init.normal_(last.weight, std=INITIAL_STD)
    return nn.Sequential(nn.Linear(vector_dim, width), nn.GELU(), last)


def tokenizer_of(name: str, data: DataInfo, frozen: Mapping) -> VQVAESampler:
    """The autoencoder ``frozen["tokenizer"]``, which must be of a data set's pictures.

    Args:
        name: that ``config.tokenizer`` gave it.
        data: that the method is built for.
        frozen: what the loop has loaded.

    Raises:
        ValueError: no autoencoder of codes, or one of pictures of another size.
    """
    tokenizer = frozen.get("tokenizer")
    if not isinstance(tokenizer, VQVAESampler):
        raise ValueError(
            f"config.tokenizer must name an autoencoder of codes: mmgen train "
            f"vqvae --data {data.name}; {name!r} is a "
            f"{type(tokenizer).__name__}."
        )
    if tokenizer.image_size != data.image_size:
        raise ValueError(
            f"config.tokenizer must be of pictures of {data.image_size} pixels, as "
            f"the data set has; {name!r} was trained on "
            f"{tokenizer.image_size}."
        )
    return tokenizer


def _writer(
    config: CodesConfig,
    vocabulary: Vocabulary,
    max_tokens: int,
    tokenizer: VQVAESampler,
    causal: bool,
) -> CodeTransformer:
    """A network that writes the codes of an autoencoder."""
    codebook, side = tokenizer.codebook(), tokenizer.side
    return CodeTransformer(config, len(vocabulary), max_tokens, codebook, side, causal)


class CodesTask(Task):
    """The training of a model over codes, which a frozen autoencoder gives.

    Args:
        config: sizes.
        data: whose captions and pictures.
        tokenizer: the autoencoder.

    A subclass sets ``sampler_class``, and says its loss in ``_loss``.
    """

    phases = averaged = ("writer",)
    sampler_class: ClassVar[type[CodeSampler]]

    def __init__(
        self, config: CodesConfig, data: DataInfo, tokenizer: VQVAESampler
    ) -> None:
        self.config, self.data, self.tokenizer = config, data, tokenizer
        causal = self.sampler_class.causal
        self.model = _writer(
            config, data.vocabulary, data.max_tokens, tokenizer, causal
        )
        self.networks: dict[str, nn.Module] = {"writer": self.model}

    @staticmethod
    def requires(config: CodesConfig) -> Mapping[str, str]:
        """The autoencoder whose codes are written."""
        return {"tokenizer": config.tokenizer}

    @classmethod
    def build(
        cls, config: CodesConfig, data: DataInfo, frozen: Mapping = NOTHING
    ) -> CodesTask:
        """The task for a data set, with ``frozen["tokenizer"]``.

        Raises:
            ValueError: as for ``tokenizer_of``.
        """
        return cls(config, data, tokenizer_of(config.tokenizer, data, frozen))

    def optimizers(self) -> dict[str, Optimizer]:
        """AdamW, whose decay is of the blocks' matrices alone."""
        groups = decay_groups(self.networks["writer"], self.config.weight_decay)
        return {"writer": AdamW(groups, self.config.learning_rate, betas=(0.9, 0.98))}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The cost of the codes of a batch, captions left out now and then."""
        codes = self.tokenizer.to(batch.images.device).encode(batch.images).flatten(1)
        lengths = heard(batch.lengths, self.config.caption_dropout, step)
        tokens = up_to_longest(batch.tokens, batch.lengths)
        return self._loss(tokens, lengths, codes, step)

    def _loss(
        self, tokens: Tensor, lengths: Tensor, codes: Tensor, step: Step
    ) -> dict[str, Tensor]:
        """Scalars to log, "loss" among them, of codes (B, N)."""
        raise NotImplementedError  # in what order codes are written, a subclass says

    def sampler(self, networks: Mapping[str, nn.Module]) -> CodeSampler:
        """A sampler with the given network's weights, and the autoencoder."""
        data = self.data
        sampler = self.sampler_class(
            self.config, data.vocabulary, data.max_tokens, self.tokenizer.init_args()
        )
        sampler.writer.load_state_dict(networks["writer"].state_dict())
        sampler.tokenizer.load_state_dict(self.tokenizer.state_dict())
        return sampler.to(next(networks["writer"].parameters()).device).eval()


class CodeSampler(CaptionSampler):
    """A model over codes with its autoencoder.

    Args:
        config: of the method.
        vocabulary: of the captions.
        max_tokens: T, longest caption; longer ones are cut.
        autoencoder: ``init_args`` of the ``VQVAESampler``.

    A subclass sets ``causal``, whether a code sees only what stands before it, and says
    in ``write`` how codes are drawn.
    """

    stored: ClassVar[tuple[str, ...]] = (*CaptionSampler.stored, "autoencoder")
    causal: ClassVar[bool]
    write: Callable[..., Tensor]  # a subclass's: the codes (B, h, w) of captions

    def __init__(
        self,
        config: Any,
        vocabulary: Vocabulary,
        max_tokens: int,
        autoencoder: Mapping[str, Any],
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.autoencoder = dict(autoencoder)
        self.tokenizer = VQVAESampler.from_args(autoencoder)
        self.side, self.codes = self.tokenizer.side, self.tokenizer.codes
        self.writer = self.new_writer()

    def new_writer(self) -> CodeTransformer:
        """The network that writes the codes, untrained."""
        return _writer(
            self.config, self.vocabulary, self.max_tokens, self.tokenizer, self.causal
        )

    @property
    def bits(self) -> float:
        """What a picture costs as codes of equal length."""
        return self.tokenizer.bits

    def read_open(self, codes: Tensor | None, count: int) -> Tensor:
        """Codes (count, h w) on the device, OPEN where they are to be written.

        Args:
            codes: (count, h, w) int64 in 0..K-1 or OPEN; None: all are open.

        Raises:
            ValueError: another grid, or codes outside the codebook.
        """
        if codes is None:
            shape = (count, self.side**2)
            return torch.full(shape, OPEN, dtype=torch.int64, device=self.device)
        if tuple(codes.shape) != (count, self.side, self.side):
            raise ValueError(
                f"codes must have shape {(count, self.side, self.side)}, a grid for "
                f"each caption; got {tuple(codes.shape)}."
            )
        check_codes(codes.masked_fill(codes == OPEN, 0), self.codes)
        return codes.flatten(1).to(self.device)

    def check_guidance(self, guidance: float | None) -> float:
        """The scale that was asked for, or the config's.

        Raises:
            ValueError: as for ``check_guidance``.
        """
        scale = self.config.guidance if guidance is None else guidance
        check_guidance(scale, self.config.caption_dropout)
        return scale

    def complete(
        self, captions: Sequence[str], codes: Tensor, seed: int = 0, **options: Any
    ) -> Tensor:
        """Pictures (B, 3, H, W) of which some codes are given.

        Args:
            captions: B.
            codes: (B, h, w), OPEN (-1) where something is to be written.
            seed: of the noise.
            options: as for ``sample``.

        Raises:
            ValueError: as for ``sample``, or codes of another grid.
        """
        return self.sample(captions, seed, codes=codes, **options)

    def sample(
        self,
        captions: Sequence[str],
        seed: int = 0,
        noise: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """One picture (B, 3, H, W) in [-1, 1] a caption; options as for ``write``."""
        codes = self.write(captions, seed, noise, **options)
        return self.tokenizer.decode(codes)
