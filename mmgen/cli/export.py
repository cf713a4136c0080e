"""``mmgen export NAME --out FILE.onnx``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from mmgen.cli.inputs import sampler_of, writable
from mmgen.cli.options import Parser


@dataclass(frozen=True)
class Options:
    """What is written."""

    model: Positional[str]
    """weights (mmgen info lists them), or the folder of a run"""
    out: str | None = None
    """file to write; none: NAME.onnx"""


def export(words: list[str]) -> int:
    """Write weights as ONNX."""
    text = "Write weights as ONNX, with the same results."
    parser = Parser("mmgen export", text, {"command": Options})
    given: Options = parser.read(words)["command"]
    out = writable(given.out or f"{Path(given.model).name}.onnx", ".onnx")
    sampler = sampler_of(given.model, "cpu")

    from mmgen.export import export_onnx

    export_onnx(sampler, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0
