"""G, begun as an autoregressive model of the same codes."""

from __future__ import annotations

from typing import Any

import torch

from mmgen.data.vocabulary import Vocabulary
from mmgen.models.autoregressive import ARSampler
from mmgen.models.joint.networks import Generator


@torch.no_grad()
def begin_writer(
    writer: Generator, vocabulary: Vocabulary, model: Any, name: str
) -> None:
    """Give G the weights of an autoregressive model of the same codes and words.

    Its tables are given the nearest of their rank.

    Args:
        writer: G.
        vocabulary: of the captions.
        model: such as ar-shapes64.
        name: of the model, for messages.

    Raises:
        ValueError: another kind of model, or one of other words, codes or sizes.
    """
    if not isinstance(model, ARSampler):
        raise ValueError(
            f"config.begun must name an autoregressive model of codes, such as "
            f"ar-shapes64; {name!r} is a {type(model).__name__}."
        )
    if model.vocabulary.tokens != vocabulary.tokens:
        raise ValueError(
            f"config.begun must name a model of the data set's words; {name!r} has "
            f"{len(model.vocabulary)} others. Train it on the same data."
        )
    given, own = model.writer.state_dict(), writer.state_dict()
    if not torch.equal(given["codebook"].cpu(), own["codebook"].cpu()):
        raise ValueError(
            f"config.begun must name a model of the codes of config.tokenizer; those "
            f"of {name!r} are others."
        )
    for rows, columns in (("pieces", "read_piece"), ("head", "tell_piece")):
        left, sizes, right = torch.linalg.svd(
            given[f"{rows}.weight"], full_matrices=False
        )
        kept = torch.zeros_like(own[f"{rows}.weight"])
        rank = min(kept.shape[1], len(sizes))
        roots = sizes[:rank].sqrt()
        kept[:, :rank] = left[:, :rank] * roots
        lifted = torch.zeros(right.shape[1], own[f"{columns}.weight"].shape[1])
        lifted[:, :rank] = (right[:rank].T) * roots
        given[f"{rows}.weight"], given[f"{columns}.weight"] = kept, lifted
    wanted = [key for key in own if not key.startswith("from_")]
    wrong = [k for k in wanted if k not in given or own[k].shape != given[k].shape]
    if wrong or set(given) - set(wanted):
        raise ValueError(
            f"config.begun must name a model whose writer has the sizes of this one "
            f"(width, depth, heads and positions), such as ar-shapes64 for the "
            f"defaults; in {name!r} {len(wrong)} of {len(own)} tensors do not fit, "
            f"{(wrong or ['none'])[0]} the first."
        )
    for key in wanted:
        own[key].copy_(given[key])
