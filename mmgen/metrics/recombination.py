"""Which of the known pictures was drawn? For data whose answers all exist as pictures.

Of the emoji roles all 830 combinations of woman or man, skin tone and role exist as
art, those too that a model never saw. A drawn picture is taken for the one that it is
nearest to, pixel by pixel, and so is right or wrong in each attribute without any
network that could err. What the measure forgives and does not is plain: neighbouring
skin tones differ by a few grey levels of the face, and a picture that is right but
shifted by a few pixels counts as whatever it then covers best.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.metrics.interval import Proportion


@dataclass(frozen=True)
class RecombinationReport:
    """How many pictures are nearest to what was asked for.

    Args:
        overall: nearest to the very picture that was asked for.
        attributes: nearest to one that agrees in an attribute, for each of them.
        nearest: positions of the nearest known pictures, (B,) int64.
    """

    overall: Proportion
    attributes: dict[str, Proportion]
    nearest: Tensor

    def to_json(self) -> dict[str, object]:
        """Everything but the single positions."""
        return {
            "overall": self.overall.to_json(),
            "attributes": {k: v.to_json() for k, v in self.attributes.items()},
        }

    def __str__(self) -> str:
        rows = [("everything", self.overall)]
        rows += [(f"  {name}", value) for name, value in self.attributes.items()]
        return "\n".join(f"{name:24}{value}" for name, value in rows)


def nearest_pictures(images: Tensor, known: Tensor) -> Tensor:
    """The known picture with the smallest squared difference, summed over all pixels.

    Args:
        images: (B, 3, H, W), any range.
        known: (N, 3, H, W), in the same range.

    Returns:
        Positions in ``known``, (B,) int64.

    Raises:
        ValueError: pictures of different sizes, or none that is known.
    """
    if images.shape[1:] != known.shape[1:] or not len(known):
        raise ValueError(
            f"known must hold at least one picture of the size of images; got shapes "
            f"{tuple(known.shape)} and {tuple(images.shape)}."
        )
    # float64: the expanded square below loses small distances between large norms
    a, b = images.double().flatten(1), known.double().flatten(1)
    # |a - b|^2 = |a|^2 - 2 a.b + |b|^2, and |a|^2 is the same for every b
    return (b.square().sum(1) - 2 * a @ b.T).argmin(1)


def recombination_accuracy(
    images: Tensor,
    asked: Tensor,
    known: Tensor,
    known_attributes: Tensor,
    names: Iterable[str],
) -> RecombinationReport:
    """Decide for every picture which known one it shows, and compare attributes.

    Args:
        images: drawn pictures, (B, 3, H, W) in [-1, 1].
        asked: what was asked for, (B, A) int64.
        known: all pictures that exist, (N, 3, H, W) in [-1, 1].
        known_attributes: what they show, (N, A) int64.
        names: of the A attributes.

    Returns:
        The report, with every proportion's n and 95 % interval. Attributes in which all
        known pictures agree are left out: nothing could be wrong in them.

    Raises:
        ValueError: no pictures, shapes that do not fit, or something asked for that no
            known picture shows.
    """
    if not len(images) or len(images) != len(asked):
        raise ValueError(
            f"images and asked must hold one row for each of at least one picture; got "
            f"{len(images)} and {len(asked)}."
        )
    asked, known_attributes = asked.cpu(), known_attributes.cpu()
    exists = (asked[:, None] == known_attributes[None]).all(-1).any(1)
    if not exists.all():
        raise ValueError(
            f"asked must name combinations that known pictures show; those at "
            f"{(~exists).nonzero().flatten().tolist()[:5]} are shown by none."
        )
    nearest = nearest_pictures(images.cpu(), known.cpu())
    right = known_attributes[nearest] == asked  # (B, A)
    varies = (known_attributes != known_attributes[0]).any(0)
    return RecombinationReport(
        overall=_share(right.all(1)),
        attributes={
            name: _share(right[:, i]) for i, name in enumerate(names) if varies[i]
        },
        nearest=nearest,
    )


def _share(right: Tensor) -> Proportion:
    return Proportion(int(right.sum()), len(right))


def emoji_gallery(image_size: int, subset: str = "roles") -> tuple[Tensor, Tensor]:
    """All pictures of a subset of the emoji, whatever split they belong to.

    Args:
        image_size: H = W, pixels.
        subset: as for ``EmojiDataset``.

    Returns:
        Pictures, (N, 3, H, W) in [-1, 1], and their attributes, (N, A) int64.
    """
    from mmgen.data.emoji import SPLITS, EmojiDataset

    pictures, attributes = [], []
    for split in SPLITS:
        dataset = EmojiDataset(split, image_size, subset=subset)
        batch = dataset.batch(range(len(dataset)))
        assert batch.attributes is not None  # emoji have them
        pictures.append(batch.images)
        attributes.append(batch.attributes)
    return torch.cat(pictures), torch.cat(attributes)
