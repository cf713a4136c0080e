"""The methods and the measures of the book, one line each, from their names.

A value is ``"module:class"``; the module is imported only when it is used. The
presets of a method stand in the module of its name in ``mmgen.presets``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any

METHODS: dict[str, str] = {
    "cgan": "mmgen.models.cgan:CGANTask",
    "damsm": "mmgen.models.damsm:DAMSMTask",
    "vae": "mmgen.models.vae:VAETask",
    "cvae": "mmgen.models.vae:ConditionalVAETask",
    "mvae": "mmgen.models.multimodal_vae:MultimodalVAETask",
    "reader": "mmgen.models.reader:ReaderTask",
    "attngan": "mmgen.models.attngan:AttnGANTask",
    "attngan-modern": "mmgen.models.attngan:ModernTask",
}

# What ``mmgen evaluate`` computes where it applies: key of the report -> a Measure.
MEASURES: dict[str, str] = {
    "semantic_accuracy": "mmgen.evaluation:SEMANTIC_ACCURACY",
    "coherence": "mmgen.evaluation:COHERENCE",
    "recombination": "mmgen.evaluation:RECOMBINATION",
    "naming": "mmgen.evaluation:NAMING",
    "r_precision": "mmgen.evaluation:R_PRECISION",
    "r_precision_image_to_text": "mmgen.evaluation:R_PRECISION_IMAGE_TO_TEXT",
    "r_precision_text_to_image": "mmgen.evaluation:R_PRECISION_TEXT_TO_IMAGE",
}


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


def unknown(what: str, name: str, known: Iterable[str], listed: bool = True) -> str:
    """What an error says of a name that is none of those known: which is nearest."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    listing = f"; there are {', '.join(names)}" if names and listed else ""
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"unknown {what} {name!r}{listing}.{hint}"
