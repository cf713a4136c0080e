"""Samplers as ONNX: the same pictures outside PyTorch, in a browser for example.

A sampler offers its computation itself, by ``graph()``: a module that turns tensors
into tensors, without a shape that depends on values (``mmgen.sampling.Graph``). The
text encoders of this package already read captions backwards by an explicit reversal,
with a mask in place of packed sequences, so nothing is rewritten here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmgen.errors import MmgenError
from mmgen.interfaces import Exports
from mmgen.sampling import CaptionSampler, Graph

# Between ONNX and PyTorch, on pictures in [-1, 1]; of larger numbers, such as logits,
# in parts of the largest.
TOLERANCE = 1e-4


class NoGraphError(MmgenError, TypeError):
    """A model that offers no graph to be exported."""


class ExportError(MmgenError, RuntimeError):
    """A graph that does not compute what the model does."""


def export_onnx(model: str | nn.Module, path: str | Path) -> Path:
    """Write a sampler as ONNX, and check that it draws what PyTorch draws.

    The file draws one caption at a call: ``tokens`` (1, T) int64 padded with 0 to the
    model's fixed T, ``lengths`` (1,) int64 and standard normal ``noise`` (1, Z); a
    model of attributes takes ``attributes`` (1, A) in place of the first two. It gives
    images in [-1, 1], and attention maps where the model attends. Its metadata hold the
    vocabulary, T and Z as JSON under the key "mmgen". (One at a call, because the
    exporter of PyTorch fixes the batch of an LSTM to that of the example.)

    Args:
        model: a name of ``mmgen.pretrained.available()``, or a sampler.
        path: of the file.

    Returns:
        The path.

    Raises:
        NoGraphError: a sampler that offers no graph.
        ExportError: onnxruntime is installed and disagrees by more than ``TOLERANCE``.
        ImportError: the packages of ``pip install mmgen-book[export]`` are missing.
    """
    sampler: Any = model
    if isinstance(model, str):
        from mmgen.pretrained import load

        sampler = load(model)
    if not isinstance(sampler, Exports):
        raise NoGraphError(
            f"{type(sampler).__name__} cannot be exported: it offers no graph. Write a "
            f"method graph() for it that returns a mmgen.sampling.Graph."
        )
    sampler = sampler.to("cpu").eval()
    graph: Graph = sampler.graph()
    return export_graph(graph, path, _about(sampler, graph))


def export_graph(
    graph: Graph, path: str | Path, about: Mapping[str, Any], halves: bool = False
) -> Path:
    """Write a graph as ONNX, and check that it computes what PyTorch does.

    Args:
        graph: on the CPU.
        path: of the file.
        about: JSON values for the file's metadata, under the key "mmgen".
        halves: whether weights that half precision holds exactly, as it does all that
            is published, are stored in it. The file computes the same as without.

    Returns:
        The path.

    Raises:
        ExportError, ImportError: as for ``export_onnx``.
    """
    path = Path(path)
    try:
        import onnx
        import onnxscript  # noqa: F401 - what torch.onnx needs, said before it fails
    except ImportError as error:
        raise ImportError(
            f"exporting needs {error.name}: pip install mmgen-book[export]"
        ) from error
    with torch.no_grad():
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(value[:1] for value in graph.inputs.values()),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for part in (proto.graph, *proto.functions):
        _forget_source(part)
    if halves:
        _store_halves(proto.graph)
    onnx.helper.set_model_props(proto, {"mmgen": json.dumps(about)})
    path.write_bytes(proto.SerializeToString())
    _check(path, graph)
    return path


def _store_halves(graph: Any) -> None:
    """Keep large weights in half precision where nothing is lost, and cast them."""
    import onnx
    from onnx import numpy_helper

    casts = []
    for stored in graph.initializer:
        if stored.data_type != onnx.TensorProto.FLOAT or math.prod(stored.dims) < 64:
            continue
        values = torch.from_numpy(numpy_helper.to_array(stored).copy())
        if not torch.equal(values.half().float(), values):
            continue
        name = stored.name
        stored.CopyFrom(numpy_helper.from_array(values.half().numpy(), f"{name}.half"))
        to = onnx.TensorProto.FLOAT
        casts.append(onnx.helper.make_node("Cast", [stored.name], [name], to=to))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _forget_source(part: Any) -> None:
    """Leave out the lines of Python that nodes came from: half of a large graph."""
    for node in part.node:
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.HasField("g"):  # the body of a loop
                _forget_source(attribute.g)


def _about(sampler: Any, graph: Graph) -> dict[str, Any]:
    """What somebody needs to encode a caption for a sampler's file, as JSON values."""
    inputs = {name: list(value.shape[1:]) for name, value in graph.inputs.items()}
    result: dict[str, Any] = {"inputs": inputs, "outputs": list(graph.outputs)}
    if isinstance(sampler, CaptionSampler):
        result["vocabulary"] = sampler.vocabulary.to_json()
    if "attributes" in graph.inputs:
        result["attributes"] = {k: list(v) for k, v in sampler.attributes.items()}
    return result


def _check(path: Path, graph: Graph) -> None:
    """Compare with PyTorch, on all the example inputs."""
    try:
        import onnxruntime
    except ImportError:
        return
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = len(next(iter(graph.inputs.values())))
    for row in range(rows):
        inputs = {name: value[row : row + 1] for name, value in graph.inputs.items()}
        with torch.no_grad():
            expected = graph.module(*inputs.values())
        got = session.run(None, {name: v.numpy() for name, v in inputs.items()})
        for name, ours, theirs in zip(graph.outputs, expected, got, strict=True):
            ours = ours.float()  # of masks as well
            gap = (ours - torch.from_numpy(theirs).float()).abs().max().item()
            gap /= max(1.0, ours.abs().max().item())
            if gap > TOLERANCE:
                raise ExportError(
                    f"{path}: {name} differs from PyTorch's by {gap:.2g}, more than "
                    f"{TOLERANCE:g}. Please report it with the versions of torch "
                    f"({torch.__version__}) and onnxruntime."
                )
