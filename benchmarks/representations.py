"""What three kinds of shared space know: contrastive, autoencoder, variational.

``python -m benchmarks.representations`` puts test scenes of Shapes and their captions
into the spaces of three models and asks of each what follows below. Two of them are
published; the autoencoder is to be trained first: ``mmgen train bimodal --scale full
--out runs/bimodal-shapes64``.

- a linear **probe** for every fact, fitted on pictures of the training set: does it
  read the fact from new pictures, and, without another fit, from captions that say it?
- **retrieval** of the own caption among a hundred, and of the own picture;
- the **modality gap**: how far the mean picture lies from the mean caption, and how
  often a linear probe tells which of the two a vector is;
- **binding**: whether a caption with the colours or shapes of its two objects exchanged
  lies farther from the picture.

Writes ``results/benchmarks/representations.json``.

Alain and Bengio, *Understanding Intermediate Layers Using Linear Classifier Probes*,
2016; Liang et al., *Mind the Gap*, NeurIPS 2022.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from benchmarks import timing
from mmgen.data import CaptionedDataset, load_dataset
from mmgen.metrics import r_precision
from mmgen.metrics.binding import binding_accuracy
from mmgen.metrics.interval import Proportion
from mmgen.metrics.retrieval import DIRECTIONS
from mmgen.models.multimodal_vae import MultimodalVAESampler
from mmgen.pretrained import load

SLOW = "one of its models must be trained first"  # so make bench leaves it out
RIDGE = 1e-3  # of a probe, times the number of samples
CANDIDATES = 100
# in a scene that a model's training showed
OBJECTS = {"contrastive": (1, 2), "autoencoder": (1, 2), "variational": (1,)}


class Space(Protocol):
    """Pictures and captions as vectors of one space."""

    def embed_images(self, images: Tensor) -> Tensor:
        """Vectors (B, D) of pictures (B, 3, H, W)."""

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """Vectors (B, D) of captions."""

    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Cosines (B, N)."""


@dataclass(frozen=True)
class Means:
    """The means of a multimodal VAE's posteriors, as a space."""

    model: MultimodalVAESampler

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors (B, Z) of pictures."""
        mus = [self.model.model.posterior(part)[0] for part in images.split(256)]
        return normalize(torch.cat(mus), dim=1)

    @torch.no_grad()
    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """Unit vectors (B, Z) of captions."""
        read = self.model.read_captions(captions)
        return normalize(self.model.model.posterior(None, *read)[0], dim=1)

    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Cosines (B, N)."""
        return self.embed_images(images) @ self.embed_captions(captions).T


class Probe:
    """A linear classifier of vectors, fitted in closed form: ridge on one-hot rows.

    Args:
        vectors: (N, D).
        labels: (N,) int64 in 0..classes - 1.
        classes: number of values.
    """

    def __init__(self, vectors: Tensor, labels: Tensor, classes: int) -> None:
        rows = self._with_one(vectors)
        gram = rows.T @ rows
        gram += RIDGE * len(rows) * torch.eye(len(gram), dtype=gram.dtype)
        targets = one_hot(labels, classes).double()
        self.weights = torch.linalg.solve(gram, rows.T @ targets)

    @staticmethod
    def _with_one(vectors: Tensor) -> Tensor:
        return torch.cat([vectors.double(), torch.ones(len(vectors), 1).double()], 1)

    def right(self, vectors: Tensor, labels: Tensor) -> Proportion:
        """How many of (N, D) vectors get their label."""
        found = (self._with_one(vectors) @ self.weights).argmax(dim=1)
        return Proportion(int((found == labels).sum()), len(labels))


def probes(
    space: Space, known: CaptionedDataset, asked: CaptionedDataset, fit: int, count: int
) -> dict[str, dict[str, Any]]:
    """Shares right for every attribute, from pictures and from captions.

    Args:
        space: that is probed.
        known: whose first ``fit`` pictures the probes are fitted on.
        asked: whose first ``count`` pictures and captions they read.
        fit, count: numbers of samples.

    Returns:
        Attribute -> {"pictures", "captions"}, without a side that has none to ask.
        Pictures are asked what applies to them, captions what they say.
    """
    first, then = known.batch(range(fit)), asked.batch(range(count))
    assert first.attributes is not None and then.attributes is not None
    assert asked.alternatives is not None  # data sets that know what captions say
    said = asked.alternatives.specified(then)
    learned = space.embed_images(first.images)
    shown = space.embed_images(then.images)
    told = space.embed_captions(then.captions)
    found = {}
    for i, (name, values) in enumerate(known.attributes.items()):
        rows, fact = first.attributes[:, i] >= 0, then.attributes[:, i]
        if first.attributes[rows, i].unique().numel() < 2:
            continue  # a count or a relation that is always the same
        probe = Probe(learned[rows], first.attributes[rows, i], len(values))
        sides = {"pictures": (shown, fact >= 0), "captions": (told, said[:, i])}
        found[name] = {  # what no caption says is asked of pictures alone
            side: probe.right(vectors[rows], fact[rows]).to_json()
            for side, (vectors, rows) in sides.items()
            if rows.any()
        }
    return found


def modality_gap(shown: Tensor, told: Tensor) -> dict[str, Any]:
    """How far pictures lie from captions, as two clouds of unit vectors.

    Args:
        shown, told: (N, D) each.

    Returns:
        "distance" between the two means, in 0..2; and "told_apart", the share of the
        second half of both whose modality a linear probe tells that was fitted on the
        first half.

    Source:
        Liang et al. 2022, section 2.
    """
    half = len(shown) // 2
    labels = torch.arange(2).repeat_interleave(half)
    probe = Probe(torch.cat([shown[:half], told[:half]]), labels, 2)
    rest = torch.cat([shown[half : 2 * half], told[half : 2 * half]])
    return {
        "distance": float((shown.mean(dim=0) - told.mean(dim=0)).norm()),
        "told_apart": probe.right(rest, labels).to_json(),
    }


def measure(
    space: Space, objects: int, size: int, fit: int, count: int
) -> dict[str, Any]:
    """All that is asked of a space about scenes of one number of objects.

    Args:
        space: of pictures and captions.
        objects: in every scene, 1 or 2.
        size: H = W of the pictures.
        fit: pictures that probes are fitted on.
        count: scenes that are asked about.
    """
    known = load_dataset("shapes", "train", size, "en", objects=(objects,))
    asked = load_dataset("shapes", "test", size, "en", objects=(objects,))
    batch = asked.batch(range(count))
    facts: dict[str, Any] = {"probes": probes(space, known, asked, fit, count)}
    for direction in DIRECTIONS:
        facts[direction] = r_precision(
            batch.images,
            batch.captions,
            space,
            CANDIDATES,
            class_ids=batch.class_ids,
            scenes=batch.scenes,
            direction=direction,
        ).to_json()
    facts["gap"] = modality_gap(
        space.embed_images(batch.images), space.embed_captions(batch.captions)
    )
    if objects == 2:
        facts["binding"] = binding_accuracy(
            batch.images, batch.captions, space
        ).to_json()
    return facts


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fit", type=int, default=4000)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--autoencoder", default="runs/bimodal-shapes64")
    given = parser.parse_args()
    models = {
        "contrastive": "align-shapes64",
        "autoencoder": given.autoencoder,
        "variational": "mvae-shapes64",
    }
    report: dict[str, Any] = {}
    for kind, name in models.items():
        model = load(name)
        space = Means(model) if isinstance(model, MultimodalVAESampler) else model
        report[kind] = {"model": name}
        for objects in OBJECTS[kind]:
            found = measure(space, objects, 64, given.fit, given.count)
            report[kind][str(objects)] = found
            retrieved = found["image_to_text"]["value"]
            print(f"{name}, {objects}: {retrieved:.3f}, gap {found['gap']}", flush=True)
    facts = {"fit": given.fit, "scenes": given.count, "spaces": report}
    print(timing.write("representations", facts))


if __name__ == "__main__":
    main()
