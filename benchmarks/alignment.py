"""How many pairs alignment needs, and where terms that need none help at all.

    python -m benchmarks.alignment                # minutes

Pictures of one object have the features of a variational autoencoder that never saw a
caption, captions the first components of their bags of words. Of 4,000 pictures and
their captions 0, 50, 500 or all are known to be pairs; of the others both are known,
and not which belongs to which. The alignments are those of ``mmgen.models.alignment``:
canonical correlations in closed form, and maps trained by the contrastive term, with
the adversarial term, the cycle, or both besides; without pairs, by the latter alone.
Maps are linear, or networks of one hidden layer. Asked is one true counterpart among a
hundred on test scenes. Writes
``results/benchmarks/alignment.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.metrics import r_precision
from mmgen.metrics.interval import Proportion, pooled
from mmgen.metrics.retrieval import DIRECTIONS
from mmgen.models.alignment import Maps, canonical_correlations
from mmgen.objectives.contrastive import Temperature
from mmgen.pretrained import load

PICTURES = "vae-shapes64"  # whose code of a picture is its features: of pictures alone
COMPONENTS = 32  # of the bags of words
TRAIN, TEST = 4000, 1000  # samples
PAIRS = (0, 50, 500, TRAIN)
RIDGE = 50.0  # over the pairs: of canonical correlations, in mean variances
MAPS = {"linear": None, "network": 128}  # -> the hidden layer
CLOSED_FORM = "canonical correlations"
STEPS, BATCH, RATE = 800, 128, 2e-3  # BATCH pairs, and as many of which none are known
SLOW = "it trains for minutes"  # so make bench leaves it out

# name -> weights of the contrastive, the adversarial and the cycle term
TERMS: dict[str, tuple[float, float, float]] = {
    "contrastive": (1, 0, 0),
    "contrastive + adversarial": (1, 0.3, 0),
    "contrastive + cycle": (1, 0, 1),
    "contrastive + both": (1, 0.3, 1),
    "adversarial": (0, 1, 0),
    "cycle": (0, 0, 1),
    "adversarial + cycle": (0, 1, 1),
}


@dataclass(frozen=True)
class Samples:
    """Features of pictures and captions, row by row of the same sample."""

    images: Tensor  # (N, Dx), mean 0 and variance 1 in training
    captions: Tensor  # (N, Dy), likewise
    texts: list[str]
    class_ids: Tensor  # (N,)
    scenes: Sequence[Any]


class Scores(Protocol):
    """An alignment that is done: features to scores (N, M)."""

    def scores(self, images: Tensor, captions: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Matcher:
    """An alignment that is asked about features as a matcher about pictures."""

    alignment: Scores
    samples: Samples

    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Scores (N, N) of all features with all captions, which are the samples'."""
        assert list(captions) == self.samples.texts
        return self.alignment.scores(images, self.samples.captions)


def bags(tokens: Tensor, words: int) -> Tensor:
    """How often each word stands in captions (B, T): (B, words)."""
    counts = torch.zeros(len(tokens), words)
    counts.scatter_add_(1, tokens, (tokens != 0).float())
    return counts


def samples() -> tuple[Samples, Samples]:
    """Features of training and test samples; all statistics are of training."""
    encoder = load(PICTURES)
    found = []
    for split, count in (("train", TRAIN), ("test", TEST)):
        data = load_dataset("shapes", split, 64, "en", objects=(1,))
        batches = [data.batch(range(i, i + 250)) for i in range(0, count, 250)]
        with torch.no_grad():
            codes = [encoder.model.encode(batch.images)[0] for batch in batches]
        words = [bags(batch.tokens, len(data.vocabulary)) for batch in batches]
        found.append(
            Samples(
                torch.cat(codes),
                torch.cat(words),
                [text for batch in batches for text in batch.captions],
                torch.cat([batch.class_ids for batch in batches]),
                [scene for batch in batches for scene in batch.scenes or ()],
            )
        )
    train, _ = found
    mean = train.captions.mean(dim=0)
    components = torch.linalg.svd(train.captions - mean, full_matrices=False)[2]
    components = components[:COMPONENTS].T
    deviation = ((train.captions - mean) @ components).std(dim=0)

    def features(given: Samples) -> Samples:
        captions = (given.captions - mean) @ components
        images = (given.images - train.images.mean(dim=0)) / train.images.std(dim=0)
        return Samples(
            images,
            captions / deviation,
            given.texts,
            given.class_ids,
            given.scenes,
        )

    return features(found[0]), features(found[1])


def train_maps(
    train: Samples,
    pairs: int,
    terms: tuple[float, float, float],
    hidden_dim: int | None,
    seed: int,
) -> Maps:
    """Maps by some of the terms, with the first pairs of an order that a seed shuffles.

    Args:
        train: samples of which these pairs are known.
        pairs: how many.
        terms: weights of the contrastive, the adversarial and the cycle term.
        hidden_dim: of the maps; None: linear.
        seed: of the order, of the first weights and of the batches.
    """
    torch.manual_seed(seed)
    order = torch.randperm(len(train.images))
    images, captions = train.images[order], train.captions[order]
    maps = Maps(images.shape[1], captions.shape[1], hidden_dim)
    temperature = Temperature()
    parameters = [*maps.parameters(), *temperature.parameters()]
    optimizer = torch.optim.AdamW(parameters, RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        temperature.clamp_()
        known = torch.randperm(pairs)[:BATCH] if terms[0] else torch.arange(0)
        shown = torch.cat([known, torch.randint(len(images), (BATCH,))])
        said = torch.cat([known, torch.randint(len(images), (BATCH,))])
        each = maps.terms(images[shown], captions[said], len(known), temperature())
        loss = sum(weight * term for weight, term in zip(terms, each, strict=True))
        optimizer.zero_grad()
        torch.as_tensor(loss).backward()
        optimizer.step()
        schedule.step()
    return maps.eval()


def align(train: Samples, pairs: int, way: str, maps: str, seed: int) -> Scores:
    """One alignment, of ``TERMS`` by maps of ``MAPS``, or in closed form."""
    if way != CLOSED_FORM:
        return train_maps(train, pairs, TERMS[way], MAPS[maps], seed)
    torch.manual_seed(seed)
    order = torch.randperm(len(train.images))[:pairs]
    return canonical_correlations(
        train.images[order], train.captions[order], ridge=RIDGE / pairs
    )


def ways(pairs: int) -> list[tuple[str, str]]:
    """Ways and maps to try with so many pairs; what needs none is tried with none."""
    trained = [
        (way, maps)
        for maps in MAPS
        for way, (contrastive, *_) in TERMS.items()
        if bool(contrastive) == bool(pairs)
    ]
    return [(CLOSED_FORM, "linear"), *trained] if pairs else trained


def retrieval(alignment: Scores, test: Samples) -> dict[str, Proportion]:
    """One of a hundred in both directions."""
    return {
        direction: r_precision(
            test.images,
            test.texts,
            Matcher(alignment, test),
            class_ids=test.class_ids,
            scenes=test.scenes,
            direction=direction,
        ).precision
        for direction in DIRECTIONS
    }


def main() -> None:
    """Align in every way from every seed, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    given = parser.parse_args()
    torch.set_num_threads(1)
    train, test = samples()
    rows: list[dict[str, Any]] = []
    began = time.process_time()
    for pairs in PAIRS:
        for way, maps in ways(pairs):
            runs = [
                retrieval(align(train, pairs, way, maps, seed), test)
                for seed in given.seeds
            ]
            values = [run[name].value for run in runs for name in DIRECTIONS]
            row: dict[str, Any] = {"pairs": pairs, "way": way, "maps": maps}
            for name in DIRECTIONS:
                row[name] = pooled(run[name] for run in runs).to_json()
            row |= {"least": min(values), "largest": max(values)}
            rows.append(row)
            shares = "  ".join(
                f"{name} {row[name]['value']:.3f}" for name in DIRECTIONS
            )
            print(f"{pairs:5} pairs  {way:26} {maps:8} {shares}", flush=True)
    facts = {
        "pictures": PICTURES,
        "components": COMPONENTS,
        "train": TRAIN,
        "test": TEST,
        "candidates": 100,
        "seeds": len(given.seeds),
        "steps": STEPS,
        "ridge_times_pairs": RIDGE,
        "weights": {way: list(weights) for way, weights in TERMS.items()},
        "cpu_seconds": time.process_time() - began,
        "rows": rows,
    }
    print(timing.write("alignment", facts))


if __name__ == "__main__":
    main()
