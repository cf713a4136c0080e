"""``mmgen info``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mmgen.cli.options import Parser
from mmgen.data import DATASETS
from mmgen.registry import METHODS


@dataclass(frozen=True)
class Options:
    """How it is said."""

    json: bool = False
    """everything, as JSON"""


def info(words: list[str]) -> int:
    """Say what this machine, the methods and the weights are."""
    text = "This machine, the methods and the weights."
    parser = Parser("mmgen info", text, {"command": Options})
    given: Options = parser.read(words)["command"]

    import torch

    from mmgen.pretrained import available, card
    from mmgen.training import scale
    from mmgen.training.manifest import environment

    device = torch.device("cuda", 0) if torch.cuda.is_available() else "cpu"
    about: dict[str, Any] = environment(torch.device(device))
    about["scale"] = scale()
    cards = {name: card(name) for name in available()}
    if given.json:
        about |= {"methods": METHODS, "data": list(DATASETS), "weights": cards}
        print(json.dumps(about, indent=1))  # ASCII: whole in every encoding
        return 0
    for key in ("mmgen", "commit", "python", "torch", "cuda", "device", "scale"):
        print(f"{key:8} {about[key] if about[key] is not None else '-'}")
    print(f"{'methods':8} {', '.join(METHODS)}")
    print(f"{'data':8} {', '.join(DATASETS)}")
    print("weights" if cards else "weights  none")
    for name, each in cards.items():
        size = _number(each.get("bytes"), 1e-6, "5.1f", "MB")
        minutes = _number(each.get("minutes"), 1, ".0f", "min")
        print(f"  {name:24} {size}  {minutes:>8}  {each.get('device', '')}")
    return 0


def _number(value: Any, factor: float, form: str, unit: str) -> str:
    """A number of a card with its unit; nothing where the card has none."""
    if not isinstance(value, int | float):
        return ""
    return f"{value * factor:{form}} {unit}"
