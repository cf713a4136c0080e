"""Methods, measures, data sets and commands, one line each, from their names.

No other file names a module in a string. A value is ``"module:class"``; the module is
imported only when it is used. The presets of a method stand in the module of its name
in ``mmgen.presets``.
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Iterable
from typing import Any

METHODS: dict[str, str] = {
    "cgan": "mmgen.models.cgan:CGANTask",
    "damsm": "mmgen.models.damsm:DAMSMTask",
    "align": "mmgen.models.alignment:AlignmentTask",
    "vae": "mmgen.models.vae:VAETask",
    "cvae": "mmgen.models.vae:ConditionalVAETask",
    "mvae": "mmgen.models.multimodal_vae:MultimodalVAETask",
    "reader": "mmgen.models.reader:ReaderTask",
    "attngan": "mmgen.models.attngan:AttnGANTask",
    "attngan-modern": "mmgen.models.attngan:ModernTask",
    "vqvae": "mmgen.models.vqvae:VQVAETask",
    "ar": "mmgen.models.autoregressive:ARTask",
    "masked": "mmgen.models.masked:MaskedTask",
    "flow": "mmgen.models.flow:FlowTask",
    "bimodal": "mmgen.models.bimodal:BimodalTask",
    "fuse": "mmgen.models.fusion:FusionTask",
    "caption": "mmgen.models.captioning:CaptioningTask",
    "joint": "mmgen.models.joint:JointTask",
}

# What ``mmgen evaluate`` computes where it applies: key of the report -> a Measure.
MEASURES: dict[str, str] = {
    "semantic_accuracy": "mmgen.evaluation:SEMANTIC_ACCURACY",
    "coherence": "mmgen.evaluation:COHERENCE",
    "captions": "mmgen.evaluation:CAPTIONS",
    "recombination": "mmgen.evaluation:RECOMBINATION",
    "naming": "mmgen.evaluation:NAMING",
    "labels_read": "mmgen.evaluation:LABELS_READ",
    "reconstruction": "mmgen.evaluation:RECONSTRUCTION",
    "bits": "mmgen.evaluation:BITS",
    "verification": "mmgen.evaluation:VERIFICATION",
    "answers": "mmgen.evaluation:ANSWERING",
    "r_precision": "mmgen.evaluation:R_PRECISION",
    "r_precision_image_to_text": "mmgen.evaluation:R_PRECISION_IMAGE_TO_TEXT",
    "r_precision_text_to_image": "mmgen.evaluation:R_PRECISION_TEXT_TO_IMAGE",
    "binding": "mmgen.evaluation:BINDING",
}

# name -> the class of a data set
DATASETS: dict[str, str] = {
    "shapes": "mmgen.data.shapes:ShapesDataset",
    "emoji": "mmgen.data.emoji:EmojiDataset",
    "cub": "mmgen.data.photographs:CUBDataset",
    "coco": "mmgen.data.photographs:COCODataset",
    "folder": "mmgen.data.storage.folder:FolderDataset",  # pictures of your own
    "shards": "mmgen.data.storage.shards:ShardedDataset",  # any of these, packed
    # any of the above, seen through a frozen network once and for all
    "features": "mmgen.data.storage.features:FeatureDataset",
}

# name on the command line -> what it does, and who takes the words behind it
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("train a method on a data set, or go on", "mmgen.cli.train:train"),
    "sample": ("draw captions with weights or a run", "mmgen.cli.sample:sample"),
    "describe": ("write captions of pictures", "mmgen.cli.describe:describe"),
    "evaluate": ("measure weights or a run", "mmgen.cli.evaluate:evaluate"),
    "data": ("look at a data set, or pack one", "mmgen.cli.data:data"),
    "info": ("this machine, the methods and the weights", "mmgen.cli.info:info"),
    "export": ("write weights as ONNX", "mmgen.cli.export:export"),
    "weights": ("make published weights again", "mmgen.cli.weights:weights"),
    "grade": ("grade a class's assignments", "mmgen.classroom.command:grade"),
}

_METHOD = re.compile(r"mmgen\.models(\.[a-z_][a-z0-9_]*)+")  # what a file may import


def class_path(cls: type) -> str:
    """Where a class is found again: ``"module:name"``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def find_class(path: str) -> Any:
    """The class at ``"module:name"``.

    Raises:
        ValueError: no such module or class.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"the class {path!r} cannot be found ({error}). Define or install it in "
            f"this Python first."
        ) from error
    return found


def stored_class(path: Any, *members: str) -> Any:
    """The class that a file names, which must not decide what is imported.

    To import a module is to run it. So only methods are imported here, those below
    ``mmgen.models``; any other class must be in a module that is imported already.

    Args:
        path: ``"module:name"``, as read from a run or a card.
        members: what the class must have, such as "from_args".

    Raises:
        ValueError: no such class, or none that a file may name.
    """
    module, _, names = str(path).partition(":")
    if not (_METHOD.fullmatch(module) or module in sys.modules):
        raise ValueError(
            f"the class {path!r} is refused: a file may name methods of mmgen "
            f"(mmgen.models…), or classes of modules that are imported already. "
            f"Nothing was imported; import {module!r} yourself if you trust it."
        )
    found: Any = find_class(f"{module}:{names.partition('.')[0]}")
    for name in names.split(".")[1:]:
        found = getattr(found, name, None) if isinstance(found, type) else None
    if not isinstance(found, type) or not all(hasattr(found, m) for m in members):
        raise ValueError(
            f"{path!r} is refused: it must name a class that has {', '.join(members)}."
        )
    return found


def unknown(what: str, name: str, known: Iterable[str], listed: bool = True) -> str:
    """What an error says of a name that is none of those known: which is nearest."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    listing = f"; there are {', '.join(names)}" if names and listed else ""
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"unknown {what} {name!r}{listing}.{hint}"
