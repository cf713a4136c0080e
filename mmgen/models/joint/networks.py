"""The language model M, the fusion F and the generator G."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from mmgen.data.batch import word_mask
from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.captions import State, Writer, caption_log_p
from mmgen.layers.fusion import FUSIONS, Fusion, FusionName, check_fusion
from mmgen.layers.images import Coordinates, ImageEncoder
from mmgen.layers.transformer import INITIAL_STD, Cache, Transformer
from mmgen.models.autoregressive import codes_log_p
from mmgen.models.codes import CodesConfig, CodeTransformer, Told

TERMS = ("text", "multi", "generate")


@dataclass(frozen=True)
class JointConfig(CodesConfig):
    """Sizes of M, F and G, and how they learn; G's are those of ``CodesConfig``."""

    TRAINING: ClassVar[frozenset[str]] = CodesConfig.TRAINING | {
        "aligned",
        "begun",
        "language_rate",
    }

    rank: int = 48  # of G's last table: a code has this many numbers of its own
    image_size: int = 64  # height and width of the pictures; the data set's
    language_width: int = 96  # of what M says of a word
    language_depth: int = 2  # blocks of M
    language_heads: int = 4  # of M's attention
    feature_dim: int = 128  # D, of a region, of the whole picture and of what is fused
    picture_width: int = 48  # channels of the image encoder's first layer
    grid: int = 8  # regions across and down
    patch: int = 4  # step of the image encoder's first layer
    # how picture and words become one vector
    fusion: FusionName = "cross-attention"
    hidden: int = 48  # size of what the fusion computes with
    # of the three terms of the loss; at 0 a term is not computed, and what only it
    # would teach is not made
    text_weight: float = 1.0
    multi_weight: float = 1.0
    generate_weight: float = 1.0
    # factor of M's learning rate: a small one keeps what it learned of captions alone;
    # at 0 M does not change
    language_rate: float = 0.2
    # matching model whose picture encoder F begins with: a pretrained name, or a run's
    # folder; none: from random weights
    aligned: str = ""
    # autoregressive model of the same codes that G begins as: likewise
    begun: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fusion(self.fusion)
        weights = {term: self.weight(term) for term in TERMS}
        if min(weights.values()) < 0 or not any(weights.values()):
            raise ValueError(
                f"text_weight, multi_weight and generate_weight must be at least 0, "
                f"and one of them above; got {list(weights.values())}."
            )
        if self.language_rate < 0:
            raise ValueError(
                f"language_rate must be at least 0; got {self.language_rate}."
            )
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1; got {self.rank}.")

    def weight(self, term: str) -> float:
        """Of one of ``TERMS``."""
        return float(getattr(self, f"{term}_weight"))


class Language(Writer):
    r"""M: a causal Transformer over the words of captions, without a picture.

    .. math:: p_M(t_i \mid t_{<i}) = \operatorname{softmax}(W s_{i-1} + b), \qquad
              s_0, s_1, \ldots = \mathrm{Transformer}(\text{start}, t_1, t_2, \ldots)

    Args:
        config: sizes.
        vocabulary: V words.
        max_tokens: T, longest caption.
    """

    def __init__(
        self, config: JointConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        super().__init__(vocabulary)
        width, self.room = config.language_width, max_tokens + 1  # with the start
        self.embedding = nn.Embedding(self.symbols, width)
        nn.init.normal_(self.embedding.weight, std=INITIAL_STD)
        self.transformer = Transformer(
            width,
            config.language_depth,
            config.language_heads,
            (self.room,),
            causal=True,
            positions=config.positions,
        )
        self.words = nn.Linear(width, self.first_start)

    def forward(self, tokens: Tensor) -> Tensor:
        """States s (B, T + 1, W) after the start, and after each word of (B, T)."""
        read = torch.cat([self.start(tokens)[:, None], tokens], dim=1)
        places = torch.arange(read.shape[1], device=tokens.device)[:, None]
        return self.transformer(self.embedding(read), places)

    def enter(self, about: Tensor) -> State:
        """Keys and values (B, depth, heads, T + 1, d), empty, as many as ``about``."""
        like = self.words.weight
        cache = self.transformer.new_cache(len(about), self.room, like)
        return cache.keys.transpose(0, 1), cache.values.transpose(0, 1)

    def step(self, last: Tensor, at: int, state: State) -> tuple[Tensor, State]:
        """As for ``Writer``; keys and values are written into the state itself."""
        return self.words(self.read(last, at, state)), state

    def read(self, last: Tensor, at: int, state: State) -> Tensor:
        """The state s (B, W) after one token more; arguments as for ``step``."""
        place = torch.tensor([at], device=last.device)
        cache = Cache(*(part.transpose(0, 1) for part in state))
        read = self.embedding(last)[:, None]
        return self.transformer(read, place[:, None], None, place, cache)[:, 0]


class PictureFusion(nn.Module):
    r"""F: what M says, together with the tokens of a picture.

    .. math:: f(x, s) = \operatorname{relu} \mathrm{fusion}(x, s), \qquad
              p_{M,F}(t_i \mid t_{<i}, x) = \operatorname{softmax}\big(
              W s_{i-1} + b + U f(x, s_{<i}) + c\big)

    So a picture adds to the logits that M has without it. What stands before is fused
    by ``Fusion.each``: most fusions read s_{i-1} alone, cross-attention all of it. With
    no picture, and with what M says of all words of a caption, f is what G is told of
    the whole of it.

    Args:
        config: sizes.
        words: V, of the captions.
    """

    def __init__(self, config: JointConfig, words: int) -> None:
        super().__init__()
        size, read = config.feature_dim, bool(config.multi_weight)
        if read:
            self.pictures = ImageEncoder.small(
                config.image_size,
                size,
                config.picture_width,
                config.grid,
                config.patch,
            )
            self.norm = nn.LayerNorm(size)
            self.coordinates = Coordinates(config.grid, size)
        self.fusion: Fusion = FUSIONS[config.fusion](
            (size, config.language_width), size, config.hidden
        )
        if read:
            self.words = nn.Linear(size, words)

    def look(self, images: Tensor) -> Tensor:
        """Tokens of pictures (B, 3, H, W), (B, 1 + R, D): the whole, then regions."""
        return self.coordinates(self.norm(self.pictures.tokens(images)))

    def fuse(
        self, pictures: Tensor | None, states: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """One vector f (B, D) of tokens of pictures, or none, and states (B, S, W)."""
        return relu(self.fusion([pictures, states], [None, mask]))

    def tell(self, pictures: Tensor, states: Tensor) -> Tensor:
        """What pictures add to the logits of the words after each state, (B, S, V).

        Args:
            pictures: tokens of them, (B, 1 + R, D).
            states: what M says after each word, (B, S, W), in order; none is fused with
                one after it.
        """
        return self.words(relu(self.fusion.each(pictures, states)))


class Generator(CodeTransformer):
    r"""G: the codes of a picture, given what M and F say of its caption.

    A word stands before the codes as its own vector and a linear map of what M says
    there; what F says of the whole caption is added to the "start" of the codes. Both
    maps begin as 0. The two tables with a row for each code are of low rank, that which
    is read of the codebook's: most of what a code is, its vector there tells.

    Args:
        config: sizes.
        vocabulary_size, max_tokens, codebook, side: as for ``CodeTransformer``.
    """

    def __init__(
        self,
        config: JointConfig,
        vocabulary_size: int,
        max_tokens: int,
        codebook: Tensor,
        side: int,
    ) -> None:
        super().__init__(
            config, vocabulary_size, max_tokens, codebook, side, causal=True
        )
        width, read = config.width, codebook.shape[1]
        self.pieces = nn.Embedding(self.codes + 1, read)
        self.head = nn.Linear(config.rank, self.codes)
        nn.init.normal_(self.pieces.weight, std=INITIAL_STD)
        nn.init.normal_(self.head.weight, std=INITIAL_STD)
        nn.init.zeros_(self.head.bias)
        self.read_piece = nn.Linear(read, width, bias=False)
        self.tell_piece = nn.Linear(config.rank, width, bias=False)
        self.from_states = nn.Linear(config.language_width, width, bias=False)
        self.from_fused = nn.Linear(config.feature_dim, width, bias=False)
        nn.init.zeros_(self.from_states.weight)
        nn.init.zeros_(self.from_fused.weight)

    def table(self) -> Tensor:
        """As for ``CodeTransformer``."""
        own = self.read_piece(self.pieces.weight)
        return own + pad(self.read_vector(self.codebook), (0, 0, 0, 1))

    def weights(self) -> Tensor:
        """As for ``CodeTransformer``."""
        return self.tell_piece(self.head.weight) + self.tell_vector(self.codebook)

    def hear(
        self, tokens: Tensor, lengths: Tensor, states: Tensor, fused: Tensor
    ) -> Told:
        """What stands before the codes.

        Args:
            tokens: captions, (B, T).
            lengths: (B,), of which 0 is no caption at all: nothing is told then.
            states: what M says after each word, (B, T, W).
            fused: what F says of the whole, (B, D).
        """
        words = self.words(tokens) + self.from_states(states)
        start = self.from_fused(fused) * (lengths > 0)[:, None]
        return Told(words, lengths, start)


class Parts(Protocol):
    """Whatever has M, F and G."""

    language: Language
    fusion: PictureFusion
    writer: Any  # a Generator


def told_by(
    parts: Parts, tokens: Tensor, lengths: Tensor, states: Tensor | None = None
) -> Told:
    """What G is told by captions: M reads them, F fuses what it says of all words.

    Args:
        parts: that have M, F and G.
        tokens, lengths: captions, (B, T) and (B,); of length 0: none at all.
        states: what M says after each word, (B, T, W), where it was computed before.
    """
    if states is None:
        states = parts.language(tokens)[:, 1:]
    # F needs a word; what it says of no caption is dropped again
    mask = word_mask(lengths.clamp(min=1), tokens.shape[1])
    fused = parts.fusion.fuse(None, states, mask)
    return parts.writer.hear(tokens, lengths, states, fused)


class JointNetwork(nn.Module):
    """M, F and G, to the log-probabilities that the loss is made of.

    What no term of the loss would teach is not made: G without ``generate_weight``, F
    without that and ``multi_weight``, what reads pictures in it without the latter.

    Args:
        config: sizes, and the weights of the terms.
        vocabulary: V words.
        max_tokens: T, longest caption.
        codebook: (K, C), the vectors of the codes.
        side: h = w of the grid of codes.
    """

    def __init__(
        self,
        config: JointConfig,
        vocabulary: Vocabulary,
        max_tokens: int,
        codebook: Tensor,
        side: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.language = Language(config, vocabulary, max_tokens)
        if not (config.text_weight or config.multi_weight):
            self.language.words.requires_grad_(False)  # no term tells words
        if config.multi_weight or config.generate_weight:
            self.fusion = PictureFusion(config, len(vocabulary))
        if config.generate_weight:
            self.writer = Generator(config, len(vocabulary), max_tokens, codebook, side)

    def forward(
        self,
        images: Tensor,
        tokens: Tensor,
        lengths: Tensor,
        codes: Tensor | None,
        heard: Tensor,
    ) -> dict[str, Tensor]:
        """log p of all words and codes for each term that has a weight, in nats.

        Args:
            images: (B, 3, H, W).
            tokens, lengths: their captions, (B, T) and (B,).
            codes: theirs, (B, N); None where none are to be told.
            heard: (B,), lengths of the captions for G: 0 where it is told nothing.

        Returns:
            "text" and "multi" (B, T), 0 after the end; "generate" (B, N).
        """
        config = self.config
        found: dict[str, Tensor] = {}
        states = self.language(tokens)  # (B, T + 1, W)
        before, after = states[:, :-1], states[:, 1:]
        if config.text_weight:
            found["text"] = caption_log_p(self.language.words(before), tokens, lengths)
        if config.multi_weight:
            added = self.fusion.tell(self.fusion.look(images), before)
            logits = self.language.words(before) + added
            found["multi"] = caption_log_p(logits, tokens, lengths)
        if config.generate_weight and codes is not None:
            told = told_by(self, tokens, heard, after)
            found["generate"] = codes_log_p(self.writer, told, codes)
        return found


class PictureWriter(Writer):
    """M and F as one writer of captions of pictures.

    Args:
        language, fusion: M and F.
        vocabulary: of both.
    """

    def __init__(
        self, language: Language, fusion: PictureFusion, vocabulary: Vocabulary
    ) -> None:
        super().__init__(vocabulary)
        self.language, self.fusion = language, fusion

    def enter(self, about: Tensor) -> State:
        """What M keeps, room for its states, and the tokens (B, 1 + R, D) of pictures.

        The states are (B, T + 1, W), of zeros.
        """
        kept = self.language.enter(about)
        room, width = self.language.room, self.language.transformer.width
        return *kept, about.new_zeros(len(about), room, width), about

    def step(self, last: Tensor, at: int, state: State) -> tuple[Tensor, State]:
        """As for ``Writer``; what M says is written into the state itself."""
        *kept, states, pictures = state
        states[:, at] = self.language.read(last, at, tuple(kept))
        added = self.fusion.tell(pictures, states[:, : at + 1])[:, -1]
        return self.language.words(states[:, at]) + added, state
