r"""Two towers: pictures and captions as unit vectors of one space.

.. math:: v = \frac{f(\text{picture})}{\|f(\text{picture})\|}, \qquad
          t = \frac{g(\text{caption})}{\|g(\text{caption})\|}, \qquad
          \text{score} = v^\top t

Each tower reads its own side alone, so that a million pictures are encoded once and
searched by one product of matrices. What the towers learn from is the objective
(``mmgen.objectives.contrastive``): CLIP's, SigLIP's or VSE++'s. Behind the captions of
a batch may stand as many that are wrong in one fact: other captions of the batch are
usually wrong in everything, and teach neither which colour belongs to which shape nor
what is on the left.

Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*,
ICML 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.images import ImageEncoder
from mmgen.layers.text import UNIT_RANGE, TextEncoder
from mmgen.layers.validation import require_finite, require_image_size
from mmgen.objectives.contrastive import (
    Temperature,
    info_nce,
    require_negatives,
    sigmoid_loss,
    triplet_loss,
)
from mmgen.sampling import CaptionSampler, in_parts

OBJECTIVES = ("clip", "sigmoid", "triplet")
MARGIN = 0.2  # of triplets, in cosines: that of VSE++
# Of the sigmoid: where features that know nothing cost least among 150 captions,
# -ln 149. SigLIP's -10 is for batches of 22,000.
FIRST_BIAS = -5.0


@dataclass(frozen=True)
class AlignmentConfig:
    """Sizes of the two towers, and what they learn from."""

    image_size: int = 64  # height and width of the pictures; the data set's by default
    feature_dim: int = 128  # D, of the space of both
    embedding_dim: int = 64  # of a token's vector
    sentence_dim: int = 128  # of the text encoder's states, both directions together
    width: int = 48  # channels of the image encoder's first layer
    grid: int = 8  # cells of its map across and down; the picture is read from half
    patch: int = 4  # step of its first layer
    # what makes pairs near: CLIP's cross-entropy, SigLIP's sigmoids, VSE++'s triplets
    objective: Literal["clip", "sigmoid", "triplet"] = "clip"
    hard_negatives: bool = False  # captions wrong in one fact are negatives too
    learning_rate: float = 2e-3  # of Adam

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        {"objective", "hard_negatives", "learning_rate"}
    )


class ImageTower(nn.Module):
    """Pictures (B, 3, H, W) to features (B, D), of any length."""

    def __init__(self, config: AlignmentConfig) -> None:
        super().__init__()
        encoder = ImageEncoder.small(
            config.image_size,
            config.feature_dim,
            config.width,
            config.grid,
            config.patch,
        )
        # of its two outputs the vector alone: regions are for words, and there are none
        self.trunk, self.to_features = encoder.trunk, encoder.to_features

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must be of shape (B, 3, H, W); got {tuple(images.shape)}."
            )
        require_finite(images=images)
        _, overall = self.trunk(images)
        return self.to_features(overall)


class CaptionTower(nn.Module):
    """Captions, tokens (B, T) and lengths (B,), to features (B, D), of any length.

    The last states of a bidirectional LSTM know the order of the words.
    """

    def __init__(self, config: AlignmentConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.encoder = TextEncoder(
            len(vocabulary),
            config.embedding_dim,
            config.sentence_dim,
            dropout=0.0,
            word_range=UNIT_RANGE,
        )
        self.to_features = nn.Linear(config.sentence_dim, config.feature_dim)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        _, sentence = self.encoder(tokens, lengths)
        return self.to_features(sentence)


class Similarity(nn.Module):
    """What an objective learns besides the towers: a scale, and SigLIP's bias.

    Args:
        objective: "clip", whose scale begins at 1 / 0.07, or "sigmoid", at 10 and with
            a bias.
    """

    def __init__(self, objective: str) -> None:
        super().__init__()
        sigmoid = objective == "sigmoid"
        self.temperature = Temperature(10.0) if sigmoid else Temperature()
        self.bias: nn.Parameter | None = None
        if sigmoid:
            self.bias = nn.Parameter(torch.tensor(FIRST_BIAS))

    def clamp_(self) -> None:
        """Bring the scale back into 1..100."""
        self.temperature.clamp_()

    def forward(self) -> tuple[Tensor, Tensor | None]:
        """The scale, and the bias if there is one."""
        return self.temperature(), self.bias


class AlignmentTask(Task):
    """Both towers, trained end to end from pairs.

    Args:
        config: sizes and objective.
        data: whose captions and pictures are aligned.
    """

    phases = ("alignment",)
    averaged = ("images", "captions")

    def __init__(self, config: AlignmentConfig, data: DataInfo) -> None:
        self.config, self.data = config, data
        self.networks: dict[str, nn.Module] = {
            "images": ImageTower(config),
            "captions": CaptionTower(config, data.vocabulary),
        }
        if config.objective != "triplet":  # which compares cosines as they are
            self.networks["similarity"] = Similarity(config.objective)

    @classmethod
    def build(
        cls,
        config: AlignmentConfig,
        data: DataInfo,
        frozen: Mapping[str, nn.Module] = NOTHING,
    ) -> AlignmentTask:
        """New towers for the captions and the picture size of a data set.

        Raises:
            ValueError: an unknown objective, pictures of another size, or hard
                negatives of a data set that cannot write any.
        """
        if config.objective not in OBJECTIVES:
            raise ValueError(
                f"objective must be one of {', '.join(OBJECTIVES)}; got "
                f"{config.objective!r}."
            )
        require_image_size(config.image_size, data.image_size)
        if config.hard_negatives and data.alternatives is None:
            raise ValueError(
                f"hard_negatives needs a data set that knows which captions are wrong "
                f"in one fact, such as shapes; {data.name!r} does not. Set it to False."
            )
        return cls(config, data)

    def check_parts(self, part: int, together: int) -> None:
        """Refuse parts without negatives."""
        require_negatives(together)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam over all networks."""
        parameters = [p for net in self.networks.values() for p in net.parameters()]
        rate = self.config.learning_rate
        return {"alignment": torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The objective over a batch, of all processes.

        Every process compares all pictures with all captions: vectors are small, and
        so each has the loss of the whole batch.
        """
        count = len(batch)
        similarity: Any = self.networks.get("similarity")
        if similarity is not None:
            similarity.clamp_()
        tokens, lengths, ids = batch.tokens, batch.lengths, batch.class_ids
        if self.config.hard_negatives:
            assert self.data.alternatives is not None  # as build() made sure
            chances = step.rand(count, 3).tolist()
            wrong = self.data.alternatives.hard_negatives(batch, chances)
            tokens, lengths, ids = (
                torch.cat(both)
                for both in zip((tokens, lengths, ids), wrong, strict=True)
            )
        shown = step.gather(self.networks["images"](batch.images).float())  # (N, D)
        said = self.networks["captions"](tokens, lengths).float()
        # right captions of all processes first: those are the pictures' own
        said = torch.cat([step.gather(part) for part in said.split(count)])
        caption_ids = torch.cat([step.gather(part) for part in ids.split(count)])
        class_ids = caption_ids[: len(shown)]
        cosines = normalize(shown, dim=1) @ normalize(said, dim=1).T  # (N, N or 2 N)
        logged: dict[str, Tensor] = {}
        if similarity is None:
            loss = triplet_loss(cosines, MARGIN, class_ids, caption_ids)
        else:
            scale, bias = similarity()
            logged["scale"] = scale
            if bias is None:
                loss = info_nce(shown, said, scale, class_ids, caption_ids)
            else:
                loss = sigmoid_loss(shown, said, scale, bias, class_ids, caption_ids)
        own, everyone = cosines.diagonal(), len(shown)
        found = cosines[:, :everyone].argmax(dim=1) == torch.arange(
            everyone, device=own.device
        )
        logged["retrieval_in_batch"] = found.float().mean()
        if self.config.hard_negatives:
            wrong_score = cosines[:, everyone:].diagonal()
            logged["hard_negatives_refused"] = (own > wrong_score).float().mean()
        return {"loss": loss, **logged}

    def sampler(self, networks: Mapping[str, nn.Module]) -> AlignmentMatcher:
        """A matcher with these towers."""
        data = self.data
        matcher = AlignmentMatcher(self.config, data.vocabulary, data.max_tokens)
        for name in self.averaged:
            getattr(matcher, name).load_state_dict(networks[name].state_dict())
        return matcher.eval()


class AlignmentMatcher(CaptionSampler):
    """Two trained towers: unit vectors of pictures and captions, and their cosines."""

    config_class = AlignmentConfig

    def __init__(
        self, config: AlignmentConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.images = ImageTower(config)
        self.captions = CaptionTower(config, vocabulary)

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors (B, D) of pictures (B, 3, H, W) in [-1, 1].

        Raises:
            ValueError: pictures of another size, or that are not finite.
        """

        def embed(part: Tensor) -> Tensor:
            return normalize(self.images(part.to(self.device)), dim=1)

        return in_parts(embed, images)

    @torch.no_grad()
    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """Unit vectors (B, D) of captions.

        Raises:
            ValueError: no caption, an empty one, or one without a known word.
        """

        def embed(tokens: Tensor, lengths: Tensor) -> Tensor:
            return normalize(self.captions(tokens, lengths), dim=1)

        return in_parts(embed, *self.read_captions(captions))

    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Cosines (B_images, B_captions) of pictures with captions.

        Args:
            images: (B_images, 3, H, W) in [-1, 1], of the size of the training.
            captions: B_captions texts.

        Raises:
            ValueError: pictures or captions that the towers cannot take.
        """
        return self.embed_images(images) @ self.embed_captions(captions).T

    def candidate_scores(
        self,
        images: Tensor,
        captions: Sequence[str],
        chosen: Tensor,
        direction: str = "image_to_text",
    ) -> Tensor:
        """Cosines (N, K) of chosen pairs only.

        Args:
            images, captions: N of each, as for ``scores``.
            chosen: (N, K) int64, for each picture the captions to score; for
                ``direction`` "text_to_image", for each caption the pictures.
        """
        every = self.scores(images, captions)
        every = every.T if direction == "text_to_image" else every
        return every.gather(1, chosen.to(self.device))
