"""Picture encoders that begin as those of a model which matches pictures with captions.

Such a model was taught by captions what in a picture is spoken of.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmgen.layers.images import ImageEncoder

# Where matching models keep their picture encoder: of word and region, of two towers.
PLACES = ("image_encoder.", "images.")


def begin_pictures(encoder: ImageEncoder, matcher: Any, name: str) -> None:
    """Give a picture encoder the weights of a matching model's.

    A model of two towers compares whole pictures: it has no map to features of regions,
    and that of the encoder stays as it is.

    Args:
        encoder: a small one.
        matcher: such as damsm-shapes64 or align-shapes64.
        name: of the matcher, for messages.

    Raises:
        ValueError: a model that has no such encoder, or one of other sizes.
    """
    given: dict[str, Tensor] = {}
    for key, value in matcher.state_dict().items():
        for place in PLACES:
            if key.startswith(place):
                given[key.removeprefix(place)] = value
    own = encoder.state_dict()
    wanted = [key for key in own if key in given or key != "to_regions.weight"]
    wrong = [k for k in wanted if k not in given or own[k].shape != given[k].shape]
    if wrong:
        raise ValueError(
            f"config.aligned must name a matching model whose picture encoder has the "
            f"sizes of this one (image_size, feature_dim, width, grid and patch), such "
            f"as align-shapes64 for the defaults; in {name!r} {len(wrong)} of "
            f"{len(own)} tensors do not fit, {wrong[0]} the first."
        )
    for key in wanted:
        own[key].copy_(given[key])
