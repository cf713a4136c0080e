"""Write what the playground loads: models as ONNX graphs, and the world as JavaScript.

    python book/tools/playground.py

Everything lands in book/_static/models, which is not committed. A model that is offered
here appears on the page once its weights are published. What has not changed since it
was written is left as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The rest is imported where something has to be written: torch takes seconds.
from mmgen.pretrained import FOLDER, available, load

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "book" / "_static" / "models"
RUNTIME = ROOT / "book" / "_static" / "vendor" / "onnxruntime"  # see vendor.py
MOST_BYTES = 12_000_000  # of a model


@dataclass(frozen=True)
class Offer:
    """A model on the page."""

    label: str  # in the list
    draws: str  # how it draws, a sentence


OFFERS = {
    "flow-shapes64": Offer(
        "Flow matching",
        "It starts from noise and takes many small steps toward a picture.",
    ),
    "attngan-shapes64": Offer(
        "AttnGAN",
        "It draws in two stages, and in the second looks at every word.",
    ),
    "cvae-shapes64": Offer(
        "Conditional VAE",
        "It draws a code that fits the caption, and decodes it.",
    ),
}


def main(folder: Path = MODELS) -> None:
    before = _read_index(folder)
    known = {entry["name"]: entry for entry in before.get("models", ())}
    models = []
    for name, offer in OFFERS.items():
        if name not in available():
            continue
        about = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
        made_of = _of_model(about)
        entry = known.get(name, {})
        if entry.get("made_of") != made_of or not _there(entry, folder):
            print(f"writing {name} for the playground", flush=True)
            entry = {"name": name, "made_of": made_of}
            entry |= export(load(name), name, folder)
        # how many objects its captions had in training
        taught = max(about["data"]["options"]["objects"])
        said = {"label": offer.label, "draws": offer.draws, "taught": taught}
        models.append({**entry, **said})
    world = before.get("world", {})
    own = Path(__file__).with_name("shapes_in_javascript.py")
    made_of = _hash(_sources(ROOT / "mmgen" / "data" / "shapes", own))
    if world.get("made_of") != made_of or not _there(world, folder):
        world = {"made_of": made_of, **export_world(folder)}
    sizes = {path.name: path.stat().st_size for path in RUNTIME.glob("*.wasm")}
    index = {"models": models, "world": world, "runtime": {"bytes": sizes}}
    if index != before:
        _write(folder / "index.json", json.dumps(index, ensure_ascii=False))


def export_world(folder: Path = MODELS) -> dict[str, Any]:
    """Write what the verdict needs; captions to suggest, and "bytes" of each file."""
    from shapes_in_javascript import captions, grammar_module, world_module

    modules = {"world.mjs": world_module(), "grammar.mjs": grammar_module()}
    for name, text in modules.items():
        _write(folder / name, text)
    sizes = {name: len(text.encode("utf-8")) for name, text in modules.items()}
    return {"captions": captions(), "bytes": sizes}


def export(sampler: Any, name: str, folder: Path = MODELS) -> dict[str, Any]:
    """Write a sampler's graphs, and say what the page must know of them.

    Args:
        sampler: that draws pictures of captions.
        name: of its files.
        folder: of its files.

    Returns:
        JSON values: "graphs" from role to file, "bytes" of each, the vocabulary, and
        what can be chosen.

    Raises:
        ValueError: graphs of more than ``MOST_BYTES``.
    """
    from mmgen.export import export_graph
    from mmgen.models.flow import FlowSampler

    of_steps = isinstance(sampler, FlowSampler)
    graphs = flow_graphs(sampler) if of_steps else {"draw": sampler.graph()}
    folder.mkdir(parents=True, exist_ok=True)
    files = {role: f"{name}.{role}.onnx" for role in graphs}
    sizes = {}
    for role, graph in graphs.items():
        path = folder / files[role]
        export_graph(graph, path, {}, halves=True)
        sizes[files[role]] = path.stat().st_size
    if sum(sizes.values()) > MOST_BYTES:
        raise ValueError(
            f"the graphs of {name} take {sum(sizes.values()) / 1e6:.1f} MB; at most "
            f"{MOST_BYTES / 1e6:.0f} MB can be asked of a reader."
        )
    entry: dict[str, Any] = {
        "graphs": files,
        "bytes": sizes,
        "parameters": sum(p.numel() for p in sampler.parameters()),
        "vocabulary": sampler.vocabulary.to_json(),
        "max_tokens": sampler.max_tokens,
    }
    if of_steps:
        entry["noise"] = [sampler.channels, sampler.side, sampler.side]
        entry["options"] = {
            "steps": sampler.config.draw_steps,
            "guidance": sampler.config.guidance,
        }
        # guidance and the empty caption need a model that met it in its training
        entry["unconditional"] = sampler.config.caption_dropout > 0
        return entry
    (graph,) = graphs.values()
    images = [output for output in graph.outputs if output.startswith("image")]
    maps = [output for output in graph.outputs if output.startswith("attention")]
    entry["noise"] = list(graph.inputs["noise"].shape[1:])
    entry["image"], entry["options"], entry["unconditional"] = images[-1], {}, False
    if maps:
        entry["attention"] = maps[-1]
    return entry


def flow_graphs(sampler: Any) -> dict[str, Any]:
    """A flow in three graphs, between which the page does the arithmetic of a solver.

    The caption is read once for all steps; ``sampler.step_graph()`` reads it in each.
    """
    import torch

    from mmgen.models.flow import Words
    from mmgen.sampling import Graph

    step = sampler.step_graph().inputs
    captions = {name: step[name] for name in ("tokens", "lengths")}
    with torch.no_grad():
        words = sampler.network.read(**captions)
    points, time = step["points"], step["time"]
    told = {"features": words.features, "mask": words.mask}
    network = sampler.network
    return {
        "read": Graph.of(sampler, network.read, captions, tuple(told)),
        "step": Graph.of(
            sampler,
            lambda points, time, *words: (
                network.velocity(points, time, Words(*words)),
            ),
            {"points": points, "time": time, **told},
            ("velocity",),
        ),
        "decode": Graph.of(
            sampler,
            lambda points: (sampler.space.decode(points),),
            {"points": points},
            ("image",),
        ),
    }


def _of_model(about: dict[str, Any]) -> str:
    """A hash of all that a model's graphs follow from, by its card."""
    weights = [about["sha256"], json.dumps(about["init_args"])]
    weights += [part["sha256"] for part in about.get("parts", {}).values()]
    module = ROOT.joinpath(*about["sampler"].partition(":")[0].split("."))
    own = module.with_suffix(".py") if module.parent.name == "models" else module.parent
    return _hash([*weights, *_sources(own, ROOT / "mmgen/export.py", Path(__file__))])


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sources(*places: Path) -> list[str]:
    """Texts of files, and of the modules in folders."""
    files = [sorted(p.glob("*.py")) if p.is_dir() else [p] for p in places]
    return [path.read_text("utf-8") for found in files for path in found]


def _read_index(folder: Path) -> dict[str, Any]:
    """What was written before; nothing where it cannot be read."""
    path = folder / "index.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _there(entry: dict[str, Any], folder: Path) -> bool:
    """Whether all files of an entry are there, whole."""
    return all(
        (folder / name).exists() and (folder / name).stat().st_size == size
        for name, size in entry.get("bytes", {}).items()
    )


def _write(path: Path, text: str) -> None:
    from mmgen.data.files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode("utf-8"))


if __name__ == "__main__":
    main()
