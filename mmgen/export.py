"""Samplers as ONNX: the same pictures outside PyTorch, in a browser for example.

A sampler is exported through ``graph_of``, a function that one adds a sampler class to:

    @graph_of.register
    def _(sampler: MySampler) -> Graph:
        return Graph(module, {"tokens": tokens, "noise": noise}, ("image",))

where ``module`` turns tensors into tensors, without a shape that depends on values. The
text encoders of this package already read captions backwards by an explicit reversal,
with a mask in place of packed sequences, so nothing is rewritten here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmgen.models.attngan import AttnGANSampler
from mmgen.models.cgan import CGANSampler
from mmgen.models.multimodal_vae import MultimodalVAESampler
from mmgen.models.vae import ConditionalVAESampler, VAESampler, reparameterise

TOLERANCE = 1e-4  # between ONNX and PyTorch, on pictures in [-1, 1]
_EXAMPLES = 3  # captions that the file is compared on


@dataclass
class Graph:
    """What of a sampler is exported: tensors in, tensors out."""

    module: nn.Module  # called with the inputs in their order
    inputs: dict[str, Tensor]  # examples, a sample a row; the first is traced
    outputs: tuple[str, ...]  # names of what the module gives


@singledispatch
def graph_of(sampler: Any) -> Graph:
    """The graph of a sampler; register further classes with ``@graph_of.register``.

    Raises:
        TypeError: a class that nobody registered.
    """
    known = ", ".join(sorted(c.__name__ for c in graph_of.registry if c is not object))
    raise TypeError(
        f"{type(sampler).__name__} cannot be exported: known are {known}. Register a "
        f"function for it with mmgen.export.graph_of.register."
    )


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
        TypeError: a sampler that no graph is known for.
        RuntimeError: onnxruntime is installed and disagrees by more than 1e-4.
        ImportError: the packages of ``pip install mmgen-book[export]`` are missing.
    """
    sampler: Any = model
    if isinstance(model, str):
        from mmgen.pretrained import load

        sampler = load(model)
    path = Path(path)
    sampler = sampler.to("cpu").eval()
    graph = graph_of(sampler)
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
    onnx.helper.set_model_props(proto, {"mmgen": json.dumps(_about(sampler, graph))})
    path.write_bytes(proto.SerializeToString())
    _check(path, graph)
    return path


def _about(sampler: Any, graph: Graph) -> dict[str, Any]:
    """What somebody needs to encode a caption for the file."""
    about = {name: list(value.shape[1:]) for name, value in graph.inputs.items()}
    result: dict[str, Any] = {"inputs": about, "outputs": list(graph.outputs)}
    if hasattr(sampler, "vocabulary"):
        result["vocabulary"] = sampler.vocabulary.to_json()
    if "attributes" in graph.inputs:
        result["attributes"] = {k: list(v) for k, v in sampler.attributes.items()}
    return result


def _check(path: Path, graph: Graph) -> None:
    """Compare with PyTorch, on captions of several lengths."""
    try:
        import onnxruntime
    except ImportError:
        return
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for row in range(_EXAMPLES):
        inputs = {name: value[row : row + 1] for name, value in graph.inputs.items()}
        with torch.no_grad():
            expected = graph.module(*inputs.values())
        got = session.run(None, {name: v.numpy() for name, v in inputs.items()})
        for name, ours, theirs in zip(graph.outputs, expected, got, strict=True):
            gap = (ours - torch.from_numpy(theirs)).abs().max().item()
            if gap > TOLERANCE:
                raise RuntimeError(
                    f"{path}: {name} differs from PyTorch's by {gap:.2g}, more than "
                    f"{TOLERANCE:g}. Please report it with the versions of torch "
                    f"({torch.__version__}) and onnxruntime."
                )


class _Drawing(nn.Module):
    """A function of tensors as a module that owns the sampler's weights."""

    def __init__(
        self, sampler: nn.Module, draw: Callable[..., tuple[Tensor, ...]]
    ) -> None:
        super().__init__()
        self.sampler, self.draw = sampler, draw

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.draw(*inputs)


def _captions(sampler: Any) -> dict[str, Tensor]:
    """Example captions of the longest, the shortest and a middle length."""
    width = sampler.max_tokens
    lengths = torch.linspace(width, 1, _EXAMPLES).round().long()
    generator = torch.Generator().manual_seed(0)
    shape, size = (_EXAMPLES, width), len(sampler.vocabulary)
    tokens = torch.randint(2, max(size, 3), shape, generator=generator)
    tokens[torch.arange(width)[None] >= lengths[:, None]] = 0
    return {"tokens": tokens, "lengths": lengths}


def _noise(size: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"noise": torch.randn(_EXAMPLES, size, generator=generator)}


def _condition(sampler: Any) -> dict[str, Tensor]:
    """Example captions, or attributes where the model is told those."""
    if sampler.config.condition == "sentence":
        return _captions(sampler)
    generator = torch.Generator().manual_seed(0)
    columns = [
        torch.randint(-1, len(values), (_EXAMPLES,), generator=generator)
        for values in sampler.attributes.values()
    ]
    return {"attributes": torch.stack(columns, dim=1)}


@graph_of.register
def _(sampler: AttnGANSampler) -> Graph:
    def draw(tokens: Tensor, lengths: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        drawn = sampler.draw(tokens, lengths, noise)
        return (*drawn.images, *drawn.attention)

    sizes = sampler.config.sizes
    attended = sizes[:-1] if sampler.config.attention else ()
    return Graph(
        _Drawing(sampler, draw),
        _captions(sampler) | _noise(sampler.noise_dim),
        (*(f"image{s}" for s in sizes), *(f"attention{s}" for s in attended)),
    )


@graph_of.register
def _(sampler: CGANSampler) -> Graph:
    def draw(*inputs: Tensor) -> tuple[Tensor, ...]:
        *told, noise = inputs
        condition = sampler.encoder(*told)
        if len(told) == 2:  # tokens and lengths give words and the sentence
            condition = condition[1]
        return (sampler.generator(noise, condition),)

    inputs = _condition(sampler) | _noise(sampler.config.noise_dim)
    return Graph(_Drawing(sampler, draw), inputs, ("image",))


@graph_of.register
def _(sampler: VAESampler) -> Graph:
    def draw(noise: Tensor) -> tuple[Tensor, ...]:
        return (sampler.model.decode(noise),)

    return Graph(_Drawing(sampler, draw), _noise(sampler.config.latent_dim), ("image",))


@graph_of.register
def _(sampler: ConditionalVAESampler) -> Graph:
    def draw(*inputs: Tensor) -> tuple[Tensor, ...]:
        *told, noise = inputs
        if len(told) == 2:
            condition = sampler.model.condition(told[0], told[1], None)
        else:
            condition = sampler.model.condition_norm(sampler.model.attributes(told[0]))
        return (sampler.model.draw(condition, noise),)

    inputs = _condition(sampler) | _noise(sampler.model.prior.noise_dim)
    return Graph(_Drawing(sampler, draw), inputs, ("image",))


@graph_of.register
def _(sampler: MultimodalVAESampler) -> Graph:
    sizes = (sampler.config.latent_dim, 2 * sampler.config.style_dim)

    def draw(tokens: Tensor, lengths: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        mu, logvar = sampler.model.posterior(tokens=tokens, lengths=lengths)
        z_noise, w_noise = noise.split(sizes, dim=1)
        z = reparameterise(mu, logvar, z_noise)
        return (sampler.model.decode(z, w_noise),)

    return Graph(
        _Drawing(sampler, draw), _captions(sampler) | _noise(sum(sizes)), ("image",)
    )
