r"""DAMSM: how well does a picture match a caption, word by word and as a whole?

Two encoders put regions v and words e into one space. Two scores compare a picture with
a caption: one through word-region attention, R, and one between the global features
(``mmgen.objectives.word_regions``). Both are trained so that, within a batch, each
picture finds its own caption and each caption its own picture: four cross-entropies,
added.

Xu et al., *AttnGAN*, CVPR 2018, section 3.2, equations 7-13. Where paper and code
differ, this follows the code, whose weights were published: R has no outer exponent
:math:`1/\gamma_2`, all words are summed, losses are means over the batch, and pairs
of one class are not used as negatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mmgen.data.batch import Batch, word_mask
from mmgen.data.storage.features import FeatureDataset
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.images import ImageEncoder
from mmgen.layers.text import TextEncoder
from mmgen.layers.validation import (
    require_finite,
    require_image_size,
    require_positive,
)
from mmgen.objectives.contrastive import in_batch_losses, require_negatives
from mmgen.objectives.word_regions import (
    sentence_scores,
    word_region_attention,
    word_region_scores,
)
from mmgen.sampling import CaptionSampler

_MATCHED_AT_ONCE = 64  # pictures encoded and scored at a time when nothing is trained


@dataclass(frozen=True)
class DAMSMConfig:
    """Sizes of the two encoders, and how they are matched."""

    image_size: int = 64  # height and width of the pictures; the data set's by default
    feature_dim: int = 256  # D, size of word, region, sentence and picture features
    embedding_dim: int = 128  # size of the learned vector of a token
    width: int = 32  # channels of the image encoder's first layer
    grid: int = 8  # regions across and down
    patch: int = 2  # step of the image encoder's first layer; 4 saves 2/3 of its time
    # of pictures: trained from scratch, or a frozen ImageNet trunk under two maps
    encoder: Literal["small", "inception", "efficientnet-lite0"] = "small"
    # of Inception: torchvision, which downloads them, or a path
    encoder_weights: str = "torchvision"
    # sentence feature: last states (AttnGAN), or mean of the words
    pooling: Literal["last", "mean"] = "last"
    dropout: float = 0.2  # share of a token's vector that is dropped in training
    word_range: float = 0.1  # fresh token vectors lie within; 1.73 gives unit variance
    gamma1: float = 4.0  # sharpness of the attention over regions
    gamma2: float = 5.0  # how much the best-matching words count
    gamma3: float = 10.0  # inverse temperature of the matching losses
    learning_rate: float = 1e-3  # of Adam

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        {"encoder_weights", "dropout", "word_range", "gamma3", "learning_rate"}
    )


def text_encoder(config: DAMSMConfig, vocabulary: Vocabulary) -> TextEncoder:
    """The text encoder that a config asks for, with fresh weights."""
    return TextEncoder(
        len(vocabulary),
        config.embedding_dim,
        config.feature_dim,
        config.pooling,
        config.dropout,
        config.word_range,
    )


def image_encoder(config: DAMSMConfig, trained: bool = True) -> ImageEncoder:
    """The image encoder that a config asks for.

    Args:
        config: its ``encoder``, and the sizes of a small one.
        trained: give a frozen trunk its ImageNet weights; otherwise random ones, to be
            replaced by those of a checkpoint.

    Raises:
        ValueError: sizes that do not fit, or a file of weights of something else.
        FileNotFoundError, RuntimeError, ModuleNotFoundError: no weights to be had.
    """
    if config.encoder == "inception":
        weights = config.encoder_weights if trained else None
        return ImageEncoder.inception(config.feature_dim, weights)
    if config.encoder == "efficientnet-lite0":
        return ImageEncoder.efficientnet_lite0(config.feature_dim, trained)
    return ImageEncoder.small(
        config.image_size, config.feature_dim, config.width, config.grid, config.patch
    )


def matching_loss(
    scores: Tensor, gamma3: float = 10.0, class_ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""How surely each picture picks its caption, and each caption its picture (11-12).

    .. math::
        L_0 = -\frac{1}{B} \sum_i \log
              \frac{\exp(\gamma_3 S_{ii})}{\sum_j \exp(\gamma_3 S_{ij})}, \qquad
        L_1 = -\frac{1}{B} \sum_i \log
              \frac{\exp(\gamma_3 S_{ii})}{\sum_j \exp(\gamma_3 S_{ji})}

    The negatives are the other captions of the batch: chance is log B. Pairs of
    different samples of one class are left out of both sums.

    Args:
        scores: S, (B, B), pictures by captions, true pairs on the diagonal.
        gamma3: inverse temperature, above 0.
        class_ids: (B,) integers; equal ids mean that either caption suits either
            picture. None keeps all negatives.

    Returns:
        Image-to-text loss L_0 and text-to-image loss L_1, scalars in nats.

    Raises:
        ValueError: scores that are not square or of one pair only, class ids of another
            length, or a gamma3 that is not above 0.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not len(scores):
        raise ValueError(
            f"scores must be square, (B, B), with true pairs on the diagonal; got "
            f"{tuple(scores.shape)}."
        )
    require_positive(gamma3=gamma3)
    require_finite(scores=scores)
    if class_ids is not None and class_ids.shape != scores.shape[:1]:
        raise ValueError(
            f"class_ids must be of shape ({len(scores)},), one for each row of "
            f"scores {tuple(scores.shape)}; got {tuple(class_ids.shape)}."
        )
    return in_batch_losses(gamma3 * scores, class_ids)


class DAMSMLosses(NamedTuple):
    """The four matching losses, scalars in nats."""

    word_image_to_text: Tensor
    word_text_to_image: Tensor
    sentence_image_to_text: Tensor
    sentence_text_to_image: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum, the DAMSM loss (eq. 13)."""
        return sum(self[1:], self[0])

    @classmethod
    def of(
        cls, word: Tensor, sentence: Tensor, gamma3: float, class_ids: Tensor | None
    ) -> DAMSMLosses:
        """From both scores of all pairs, (B, B) each; see ``matching_loss``."""
        return cls(
            *matching_loss(word, gamma3, class_ids),
            *matching_loss(sentence, gamma3, class_ids),
        )


def damsm_losses(
    regions: Tensor,
    image_features: Tensor,
    words: Tensor,
    sentence: Tensor,
    mask: Tensor,
    class_ids: Tensor | None = None,
    *,
    gamma1: float = 4.0,
    gamma2: float = 5.0,
    gamma3: float = 10.0,
    chunk_size: int | None = None,
) -> DAMSMLosses:
    """All four losses of B pictures with their captions (eq. 13).

    Args:
        regions, image_features: of the pictures, (B, D, H, W) and (B, D).
        words, sentence, mask: of the captions, (B, T, D), (B, D) and (B, T) bool.
        class_ids, gamma3: as for ``matching_loss``.
        gamma1, gamma2, chunk_size: as for ``word_region_scores``.

    Raises:
        ValueError: as for the functions named.
    """
    word = word_region_scores(regions, words, mask, gamma1, gamma2, chunk_size)
    overall = sentence_scores(image_features, sentence)
    return DAMSMLosses.of(word, overall, gamma3, class_ids)


class DAMSMTask(Task):
    """Pretrain both encoders: every picture finds its caption, and the other way round.

    Args:
        config: sizes and objective.
        vocabulary: of the captions.
        max_tokens: longest caption of the data.
    """

    phases = ("matching",)
    averaged = ("text_encoder", "image_encoder")

    def __init__(
        self, config: DAMSMConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        self.config = config
        self.vocabulary, self.max_tokens = vocabulary, max_tokens
        self.networks: dict[str, nn.Module] = {
            "text_encoder": text_encoder(config, vocabulary),
            "image_encoder": image_encoder(config),
        }

    @classmethod
    def build(
        cls,
        config: DAMSMConfig,
        data: DataInfo,
        frozen: Mapping[str, nn.Module] = NOTHING,
    ) -> DAMSMTask:
        """New encoders for the captions and the picture size of a data set.

        Raises:
            ValueError: the data set's pictures are of another size, or it holds the
                features of another trunk in their place.
            FileNotFoundError, RuntimeError: the trunk's weights are not to be had.
        """
        require_image_size(config.image_size, data.image_size)
        task = cls(config, data.vocabulary, data.max_tokens)
        if isinstance(data, FeatureDataset):
            encoder = task.networks["image_encoder"]
            assert isinstance(encoder, ImageEncoder)
            data.check_trunk(config.encoder, encoder.fingerprint())
        return task

    def check_parts(self, part: int, together: int) -> None:
        """Refuse parts without negatives."""
        require_negatives(together)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam over what is trained of both encoders."""
        parameters = [p for net in self.networks.values() for p in net.parameters()]
        trained = [p for p in parameters if p.requires_grad]
        rate = self.config.learning_rate
        return {"matching": torch.optim.Adam(trained, lr=rate, betas=(0.9, 0.99))}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The four matching losses of a batch.

        Every process scores its own pictures against the captions of all, and the rows
        are put together: nothing is computed twice, and the loss is that of the whole
        batch.
        """
        config = self.config
        words, sentence = self.networks["text_encoder"](batch.tokens, batch.lengths)
        shown: Tensor | tuple[Tensor, Tensor] = batch.images
        if batch.trunk_map is not None and batch.trunk_vector is not None:
            shown = batch.trunk_map.float(), batch.trunk_vector.float()
        regions, features = self.networks["image_encoder"](shown)
        word = word_region_scores(
            regions.float(),  # (B, D, H, W) of this process
            step.gather(words.float()),  # (N, T, D) of all
            word_mask(step.gather(batch.lengths), words.shape[1]),
            config.gamma1,
            config.gamma2,
        )
        overall = sentence_scores(features.float(), step.gather(sentence.float()))
        word, overall = step.gather(word), step.gather(overall)  # (N, N)
        class_ids = step.gather(batch.class_ids)
        losses = DAMSMLosses.of(word, overall, config.gamma3, class_ids)
        # How often the true caption is first in its row, of those in the batch.
        own = torch.arange(len(word), device=word.device)
        found = (word + overall).argmax(dim=1) == own
        return {
            "loss": losses.total,
            **losses._asdict(),
            "retrieval_in_batch": found.float().mean(),
        }

    def sampler(self, networks: Mapping[str, nn.Module]) -> DAMSMMatcher:
        """A matcher with these encoders."""
        matcher = DAMSMMatcher(self.config, self.vocabulary, self.max_tokens)
        for name in self.averaged:
            getattr(matcher, name).load_state_dict(networks[name].state_dict())
        return matcher.eval()


class DAMSMMatcher(CaptionSampler):
    """Two trained encoders: which caption suits which picture?"""

    config_class = DAMSMConfig

    def __init__(
        self, config: DAMSMConfig, vocabulary: Vocabulary, max_tokens: int
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.text_encoder = text_encoder(config, vocabulary)
        self.image_encoder = image_encoder(config, trained=False)

    def encode_captions(self, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Word features (B, T, D), sentence features (B, D) and mask (B, T).

        Raises:
            ValueError: no caption, an empty one, or one without a known word.
        """
        tokens, lengths = self.read_captions(captions)
        mask = word_mask(lengths, tokens.shape[1])
        return *self.text_encoder(tokens, lengths), mask

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Region features (B, D, h, w) and picture features (B, D), in parts."""
        parts = [
            self.image_encoder(part.to(self.device))
            for part in images.split(_MATCHED_AT_ONCE)
        ]
        regions, features = zip(*parts, strict=True)
        return torch.cat(regions), torch.cat(features)

    @torch.no_grad()
    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """How well every picture suits every caption; more is better.

        The sum of the word-level score R and the sentence-level cosine, each as it was
        trained: comparable within a row or a column. (On validation data the sum finds
        more than either; the cosine alone, which R-precision was first defined with, is
        clearly worse on two objects.)

        Args:
            images: (B_images, 3, H, W) in [-1, 1], of the size of the training.
            captions: B_captions texts.

        Returns:
            Scores, shape (B_images, B_captions).

        Raises:
            ValueError: pictures or captions that the encoders cannot take.
        """
        return self._match(self.encode_images(images), self.encode_captions(captions))

    @torch.no_grad()
    def candidate_scores(
        self,
        images: Tensor,
        captions: Sequence[str],
        chosen: Tensor,
        direction: str = "image_to_text",
    ) -> Tensor:
        """Scores (N, K) of chosen pairs only, each side encoded once.

        Args:
            images, captions: N of each, as for ``scores``.
            chosen: (N, K) int64, for each picture the captions to score; for
                ``direction`` "text_to_image", for each caption the pictures.
        """
        shown, said = self.encode_images(images), self.encode_captions(captions)
        rows = []
        for i, others in enumerate(chosen.to(self.device)):
            pictures, texts = slice(i, i + 1), others
            if direction == "text_to_image":
                pictures, texts = texts, pictures
            row = self._match([v[pictures] for v in shown], [e[texts] for e in said])
            rows.append(row.flatten())
        return torch.stack(rows)

    def _match(self, shown: Sequence[Tensor], said: Sequence[Tensor]) -> Tensor:
        """Scores of encoded pictures with encoded captions."""
        (regions, features), (words, sentence, mask) = shown, said
        config = self.config
        word = word_region_scores(
            regions, words, mask, config.gamma1, config.gamma2, _MATCHED_AT_ONCE
        )
        return word + sentence_scores(features, sentence)

    def image_to_text(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Captions of each picture from best to worst: (B_images, B_captions)."""
        return self.scores(images, captions).argsort(dim=1, descending=True)

    def text_to_image(self, captions: Sequence[str], images: Tensor) -> Tensor:
        """Pictures of each caption from best to worst: (B_captions, B_images)."""
        return self.scores(images, captions).t().argsort(dim=1, descending=True)

    @torch.no_grad()
    def attention_maps(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Where each word of a caption looks in its picture: (B, T, h, w)."""
        words, _, mask = self.encode_captions(captions)
        regions, _ = self.image_encoder(images.to(self.device))
        return word_region_attention(words, regions, mask, self.config.gamma1)[1]
