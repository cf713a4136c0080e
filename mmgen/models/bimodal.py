r"""One code for a picture, its caption, or both: a bimodal autoencoder.

Each modality has an encoder; the code of what is there is the mean of their codes, and
two decoders make picture and caption from it. In training the network is shown the
picture alone, the caption alone and both, and has to make both each time: a code of
both that was trained on both alone could keep the two apart, half of it for each.

.. math:: L = \frac13 \sum_{S} \Big[ -\log p(x \mid h_S) - \lambda \log p(t \mid h_S)
          \Big], \qquad h_S = \frac{1}{|S|} \sum_{m \in S} f_m(m), \quad
          S \in \{\{x\}, \{t\}, \{x, t\}\}

A mean where Ngiam et al. concatenate: so one missing modality needs no zeros in its
place. Without noise and prior it is no generative model: a multimodal variational
autoencoder is this with both.

Ngiam et al., *Multimodal Deep Learning*, ICML 2011, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.optim import Optimizer

from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo, Step, Task
from mmgen.layers.captions import CaptionDecoder
from mmgen.layers.pictures import PictureDecoder, PictureEncoder
from mmgen.layers.text import UNIT_RANGE, TextEncoder
from mmgen.models.vae import adam
from mmgen.objectives.variational import PixelLikelihood
from mmgen.sampling import CaptionSampler, in_parts

VIEWS = (("image",), ("caption",), ("image", "caption"))


@dataclass(frozen=True)
class BimodalConfig:
    """Sizes, likelihood and optimiser of an autoencoder of two modalities."""

    TRAINING: ClassVar[frozenset[str]] = frozenset({"learning_rate", "caption_weight"})

    code_dim: int = 64  # D, dimensions of the code
    channels: int = 32  # of the largest feature map; doubled with each halving
    patch: int = 4  # side of the squares of pixels that the networks take as one
    hidden_dim: int = 256  # of the vectors between convolutions and codes
    sentence_dim: int = 192  # of the caption's feature
    embedding_dim: int = 64  # of a word's vector
    sigma: float = 0.5  # of a pixel's Gaussian, in [-1, 1] units
    caption_weight: float = 50.0  # lambda: words are far fewer than pixels
    learning_rate: float = 2e-3  # of Adam


class Bimodal(nn.Module):
    """Encoders and decoders of both modalities, with one code between them.

    Args:
        config: sizes and likelihood.
        image_size: H = W of the pictures.
        vocabulary: of the captions.

    Raises:
        ValueError: sizes that the networks cannot have.
    """

    def __init__(
        self, config: BimodalConfig, image_size: int, vocabulary: Vocabulary
    ) -> None:
        super().__init__()
        pictures = (image_size, config.channels, config.patch, config.hidden_dim)
        self.encoder = PictureEncoder(*pictures)
        self.text = TextEncoder(
            len(vocabulary),
            config.embedding_dim,
            config.sentence_dim,
            dropout=0.0,
            word_range=UNIT_RANGE,
        )
        self.image_code = nn.Linear(config.hidden_dim, config.code_dim)
        self.caption_code = nn.Linear(config.sentence_dim, config.code_dim)
        self.decoder = PictureDecoder(config.code_dim, *pictures)
        self.likelihood = PixelLikelihood("gaussian", config.sigma, learn_sigma=False)
        self.captions = CaptionDecoder(
            vocabulary, config.code_dim, config.embedding_dim, config.hidden_dim
        )

    def encode(
        self,
        images: Tensor | None = None,
        tokens: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """The code (B, D) of pictures, of captions, or of pairs of both.

        Args:
            images: (B, 3, H, W) in [-1, 1], where seen.
            tokens, lengths: captions, (B, T) and (B,), where seen.

        Raises:
            ValueError: neither is given.
        """
        codes = []
        if images is not None:
            codes.append(self.image_code(self.encoder(images)))
        if tokens is not None and lengths is not None:
            codes.append(self.caption_code(self.text(tokens, lengths)[1]))
        if not codes:
            raise ValueError(
                "images or captions must be given: nothing has no code. Give either, "
                "or both."
            )
        return torch.stack(codes).mean(dim=0)

    def forward(
        self, images: Tensor, tokens: Tensor, lengths: Tensor
    ) -> dict[tuple[str, ...], tuple[Tensor, Tensor]]:
        """For each of ``VIEWS``, log p of picture and of caption, (B,) nats each.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            tokens, lengths: their captions, (B, T) and (B,).
        """
        image = self.encode(images)
        caption = self.encode(None, tokens, lengths)
        codes = torch.cat([image, caption, (image + caption) / 2])  # (3 B, D)
        views = len(VIEWS)
        shown = images.repeat(views, 1, 1, 1)
        pixels = self.likelihood(shown, self.decoder(codes))
        words = self.captions(codes, tokens.repeat(views, 1), lengths.repeat(views))
        parts = zip(pixels.chunk(views), words.chunk(views), strict=True)
        return dict(zip(VIEWS, parts, strict=True))


class BimodalTask(Task):
    """Trains a ``Bimodal`` on every view of a batch."""

    phases = averaged = ("bimodal",)

    def __init__(self, config: BimodalConfig, data: DataInfo) -> None:
        self.config, self.data = config, data
        network = Bimodal(config, data.image_size, data.vocabulary)
        self.networks: dict[str, nn.Module] = {"bimodal": network}

    @classmethod
    def build(
        cls,
        config: BimodalConfig,
        data: DataInfo,
        frozen: Mapping[str, nn.Module] = NOTHING,
    ) -> BimodalTask:
        """The task for a data set's pictures and captions."""
        return cls(config, data)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam (see ``adam``) for everything."""
        return {"bimodal": adam(self.networks["bimodal"], self.config.learning_rate)}

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The mean loss of the three views, in nats a pair, and its parts."""
        tokens = batch.tokens
        if tokens.device.type == "cpu":
            # No step for positions that no caption reaches, but for one end.
            tokens = tokens[:, : int(batch.lengths.max()) + 1]
        views = self.networks["bimodal"](batch.images, tokens, batch.lengths)
        costs, logged = [], {}
        for seen, (image, caption) in views.items():
            name = "+".join(seen)
            logged[f"image given {name}"] = image.mean()
            logged[f"caption given {name}"] = caption.mean()
            costs.append(-(image + self.config.caption_weight * caption).mean())
        return {"loss": torch.stack(costs).mean(), **logged}

    def sampler(self, networks: Mapping[str, nn.Module]) -> BimodalSampler:
        """A sampler with the given network's weights."""
        data = self.data
        sampler = BimodalSampler(
            self.config, data.image_size, data.vocabulary, data.max_tokens
        )
        sampler.model.load_state_dict(networks["bimodal"].state_dict())
        return sampler.eval()


class BimodalSampler(CaptionSampler):
    """Codes of pictures and of captions, in one space, and what they decode to.

    Args:
        config: of the autoencoder.
        image_size: H = W of its pictures.
        vocabulary: of its captions.
        max_tokens: T, the longest caption it reads.
    """

    config_class = BimodalConfig
    stored = ("image_size", *CaptionSampler.stored)

    def __init__(
        self,
        config: BimodalConfig,
        image_size: int,
        vocabulary: Vocabulary,
        max_tokens: int,
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.image_size = image_size
        self.model = Bimodal(config, image_size, vocabulary)

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> Tensor:
        """Codes (B, D) of pictures (B, 3, H, W) in [-1, 1], of length 1."""
        codes = in_parts(self.model.encode, images.to(self.device))
        return normalize(codes, dim=1)

    @torch.no_grad()
    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """Codes (B, D) of captions, of length 1.

        Raises:
            ValueError: no caption, an empty one, or one without a known word.
        """
        tokens, lengths = self.read_captions(captions)
        return normalize(self.model.encode(None, tokens, lengths), dim=1)

    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Cosines of the codes of pictures with those of captions, (B, N)."""
        return self.embed_images(images) @ self.embed_captions(captions).T
