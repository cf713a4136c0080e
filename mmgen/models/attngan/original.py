"""Checkpoints of the published AttnGAN, loaded into the classes of this package.

The original repository saves a state dictionary a network: ``netG*.pth``, ``netD0.pth``
and so on, ``text_encoder*.pth`` and ``image_encoder*.pth``. Sizes are read off the
tensors, names are translated, and no file is ever unpickled beyond plain tensors.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmgen.layers.images import ImageEncoder
from mmgen.layers.text import TextEncoder
from mmgen.models.attngan.paper import AttnGANConfig, Discriminator, Generator

# The original's name of a layer -> ours; the stage, counted from 1 there, is group 1.
_GENERATOR_NAMES = (
    (r"ca_net\.fc", "augmentation.linear"),
    (r"h_net1\.fc\.0", "first.linear"),
    (r"h_net1\.fc\.1", "first.norm"),
    (r"h_net1\.upsample(\d)\.1", "first.enlarge.{0}.conv"),
    (r"h_net1\.upsample(\d)\.2", "first.enlarge.{0}.norm.norm"),
    (r"h_net(\d)\.att\.conv_context", "refinements.{1}.attend.project"),
    (r"h_net(\d)\.residual\.(\d)\.block\.0", "refinements.{1}.residuals.{s}.widen"),
    (
        r"h_net(\d)\.residual\.(\d)\.block\.1",
        "refinements.{1}.residuals.{s}.widen_norm.norm",
    ),
    (r"h_net(\d)\.residual\.(\d)\.block\.3", "refinements.{1}.residuals.{s}.narrow"),
    (
        r"h_net(\d)\.residual\.(\d)\.block\.4",
        "refinements.{1}.residuals.{s}.narrow_norm.norm",
    ),
    (r"h_net(\d)\.upsample\.1", "refinements.{1}.enlarge.conv"),
    (r"h_net(\d)\.upsample\.2", "refinements.{1}.enlarge.norm.norm"),
    (r"img_net(\d)\.img\.0", "heads.{0}"),
)
# Where each of the original's blocks begins in our one sequence of layers.
_TRUNK_STARTS = (
    {"img_code_s16": 0},
    {"img_code_s16": 0, "img_code_s32": 11, "img_code_s32_1": 14},
    {
        "img_code_s16": 0,
        "img_code_s32": 11,
        "img_code_s64": 14,
        "img_code_s64_1": 17,
        "img_code_s64_2": 20,
    },
)
_HEADS = {
    "UNCOND_DNET.outlogits.0": "unconditional",
    "COND_DNET.jointConv.0": "joint.0",
    "COND_DNET.jointConv.1": "joint.1",
    "COND_DNET.outlogits.0": "conditional",
}


@dataclass
class Original:
    """The networks found in a folder, in evaluation mode; None where there was none."""

    config: AttnGANConfig  # sizes read off the tensors; CUB's for networks not found
    generator: Generator | None = None
    discriminators: list[Discriminator] = field(default_factory=list)
    text_encoder: TextEncoder | None = None
    image_encoder: ImageEncoder | None = None


def load_original(folder: str | Path, *, legacy_mask: bool = False) -> Original:
    """Load the checkpoints of the published AttnGAN into these classes.

    Args:
        folder: holds ``netG*.pth``, ``netD0.pth`` .. ``netD2.pth``,
            ``text_encoder*.pth`` or ``image_encoder*.pth``, whichever there are.
        legacy_mask: mask words as the original did, misplaced, to get the very pictures
            of weights that were trained with that mistake.

    Returns:
        The networks found, in evaluation mode on the CPU: ``.generator``,
        ``.discriminators``, ``.text_encoder``, ``.image_encoder``, and ``.config``.

    Raises:
        FileNotFoundError: no such folder, or none of these files in it.
        ValueError: a file that is damaged, that holds more than tensors, or tensors of
            another network.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder must be a directory; got {str(folder)!r}.")
    paths = {
        name: _last_epoch(folder, name)
        for name in ("netG", "netD0", "netD1", "netD2", "text_encoder", "image_encoder")
    }
    if not any(paths.values()):
        raise FileNotFoundError(
            f"folder must hold netG*.pth, netD0.pth, text_encoder*.pth or "
            f"image_encoder*.pth; {str(folder)!r} has none of them."
        )
    states = {name: _read(path) for name, path in paths.items() if path is not None}
    sizes: dict[str, Any] = {"legacy_mask": legacy_mask}
    if "netG" in states:
        sizes |= _checked(paths["netG"], _generator_sizes, states["netG"])
    found_discriminators = [f"netD{i}" for i in range(3) if f"netD{i}" in states]
    if found_discriminators != [f"netD{i}" for i in range(len(found_discriminators))]:
        raise ValueError(
            f"discriminators must be there from netD0.pth on; {str(folder)!r} has only "
            f"{', '.join(found_discriminators)}."
        )
    if found_discriminators:
        sizes |= _checked(paths["netD0"], _discriminator_sizes, states["netD0"])
    stages = sizes.pop("stages", 3)
    config = AttnGANConfig(sizes=(64, 128, 256)[:stages], **sizes)

    original = Original(config)
    if "netG" in states:
        original.generator = Generator(config)
        _fill(original.generator, states["netG"], _generator_name, paths["netG"])
    for stage, name in enumerate(found_discriminators):
        discriminator = Discriminator(config, stage)
        _fill(discriminator, states[name], _discriminator_names(stage).get, paths[name])
        original.discriminators.append(discriminator)
    if "text_encoder" in states:
        original.text_encoder = _checked(
            paths["text_encoder"], TextEncoder.from_attngan, states["text_encoder"]
        ).eval()
    image_path = paths["image_encoder"]
    if image_path is not None:
        head = states["image_encoder"].get("emb_features.weight")
        features = config.feature_dim if head is None else head.shape[0]
        original.image_encoder = ImageEncoder.inception(features, image_path).eval()
    return original


def _last_epoch(folder: Path, name: str) -> Path | None:
    """The file of a network with the highest number in its name."""

    def epoch(path: Path) -> int:
        return int((re.findall(r"\d+", path.stem.removeprefix(name)) or ["0"])[-1])

    return max(sorted(folder.glob(f"{name}*.pth")), key=epoch, default=None)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(
            f"{path} must be a state dictionary of plain tensors; it is damaged or "
            f"holds other objects, which are never loaded ({error})."
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ValueError(f"{path} must be a state dictionary; got {type(state)}.")
    # networks saved from within DataParallel carry its prefix
    return {name.removeprefix("module."): value for name, value in state.items()}


def _checked(
    path: Path | None,
    read: Callable[[dict[str, Tensor]], Any],
    state: dict[str, Tensor],
) -> Any:
    """What ``read`` makes of a state, or an error that names the file."""
    try:
        return read(state)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not the network of its name: {error}.") from error


def _generator_sizes(state: dict[str, Tensor]) -> dict[str, int]:
    rows, feature_dim = state["ca_net.fc.weight"].shape
    condition_dim = rows // 4
    return {
        "stages": sum(name.startswith("img_net") for name in state),
        "generator_channels": state["img_net1.img.0.weight"].shape[1],
        "residual_blocks": sum(
            bool(re.fullmatch(r"h_net2\.residual\.\d\.block\.0\.weight", name))
            for name in state
        ),
        "condition_dim": condition_dim,
        "noise_dim": state["h_net1.fc.0.weight"].shape[1] - condition_dim,
        "feature_dim": feature_dim,
    }


def _discriminator_sizes(state: dict[str, Tensor]) -> dict[str, int]:
    channels = state["img_code_s16.0.weight"].shape[0]
    joint = state["COND_DNET.jointConv.0.weight"].shape[1]
    return {
        "discriminator_channels": channels,
        "feature_dim": joint - 8 * channels,
    }


def _generator_name(layer: str) -> str | None:
    for pattern, ours in _GENERATOR_NAMES:
        match = re.fullmatch(pattern, layer)
        if match is None:
            continue
        numbers = [int(group) for group in match.groups()]
        # {0} counts from 1 there, {1} is a refinement stage, which counts from 2
        first = numbers[0] if numbers else 0
        return ours.format(first - 1, first - 2, s=numbers[-1] if numbers else 0)
    return None


def _discriminator_names(stage: int) -> dict[str, str]:
    names = dict(_HEADS)
    for block, start in _TRUNK_STARTS[stage].items():
        layers = 10 if block == "img_code_s16" else 2
        names |= {f"{block}.{i}": f"trunk.{start + i}" for i in range(layers)}
    return names


def _fill(
    network: nn.Module,
    state: dict[str, Tensor],
    rename: Callable[[str], str | None],
    path: Path | None,
) -> None:
    """Load a translated state dictionary into a network and set it to evaluation."""
    wanted = network.state_dict()
    found = {}
    for name, value in state.items():
        layer, _, tensor = name.rpartition(".")
        ours = rename(layer)
        if ours is None:
            raise ValueError(f"{path} holds {name!r}, which no network of AttnGAN has.")
        found[f"{ours}.{tensor}"] = value
    for name, value in wanted.items():
        # PyTorch 0.3, with which the weights were published, did not count batches
        if name.endswith("num_batches_tracked"):
            found.setdefault(name, value)
    if set(found) != set(wanted):
        missing = sorted(set(wanted) - set(found))
        raise ValueError(f"{path} lacks {len(missing)} tensors, e.g. {missing[:3]}.")
    for name, value in found.items():
        if value.numel() != wanted[name].numel():
            raise ValueError(
                f"{path}: {name} must have shape {tuple(wanted[name].shape)}; got "
                f"{tuple(value.shape)}."
            )
    # a 1x1 convolution there is a linear map here
    network.load_state_dict({n: v.reshape(wanted[n].shape) for n, v in found.items()})
    network.eval()
