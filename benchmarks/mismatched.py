"""What mismatched pairs do to a small matcher, and whether it notices them.

    python -m benchmarks.mismatched                # seeds 0 to 3, a minute or two

A share of the training captions of Emoji is handed around among its pictures. The
matcher of the chapter on preprocessing (8 x 8 colours of a picture, the mean of the
words' vectors, a contrastive loss) trains on what results, and is asked for one true
caption among a hundred on combinations that it never saw, whose pairs are right.
Writes ``results/benchmarks/mismatched.json``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import timing
from mmgen.data import Batch, Vocabulary, load_dataset
from mmgen.metrics import r_precision
from mmgen.objectives.contrastive import in_batch_losses

SHARES = (0.0, 0.05, 0.2, 0.5)  # of the training pairs
STEPS = (300, 1500)
BATCH = 128
SIDE = 8  # of the thumbnails, pixels


class Matcher(nn.Module):
    """A picture's thumbnail and a caption's mean word vector in one space."""

    def __init__(self, vocabulary: Vocabulary, images: Tensor, dim: int = 128) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        vectors = thumbnails(images)
        self.register_buffer("mean", vectors.mean(dim=0))
        self.register_buffer("deviation", vectors.std(dim=0))
        self.words = nn.Embedding(len(vocabulary), dim, padding_idx=0)
        self.picture = nn.Sequential(nn.Dropout(0.3), nn.Linear(vectors.shape[1], dim))
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors of pictures (B, 3, H, W), shape (B, dim)."""
        vectors = (thumbnails(images) - self.mean) / self.deviation
        return F.normalize(self.picture(vectors), dim=1)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Unit vectors of captions (B, T), shape (B, dim): the words' order is lost."""
        real = (tokens > 0).float()[..., None]
        return F.normalize((self.words(tokens) * real).sum(1) / real.sum(1), dim=1)

    @torch.no_grad()
    def scores(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Cosines of all pictures with all captions, (B, N)."""
        tokens, _ = self.vocabulary.encode(captions)
        return self.embed_images(images) @ self.embed_tokens(tokens).T


def thumbnails(images: Tensor) -> Tensor:
    """Mean colours of 8 x 8 parts of each picture, (B, 192)."""
    return F.adaptive_avg_pool2d(images, SIDE).flatten(1)


def mismatch(tokens: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Captions of which a share was handed on to another picture, and which ones."""
    wrong = torch.randperm(len(tokens))[: round(share * len(tokens))]
    mixed = tokens.clone()
    mixed[wrong] = tokens[wrong.roll(1)]
    moved = torch.zeros(len(tokens), dtype=torch.bool)
    moved[wrong] = True
    return mixed, moved


def train(matcher: Matcher, pairs: Batch, tokens: Tensor, steps: int) -> float:
    """Train on pictures with these captions; mean loss of the last 50 steps, nats."""
    optimizer = torch.optim.AdamW(matcher.parameters(), lr=3e-3, weight_decay=0.1)
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(pairs), (BATCH,))
        images = matcher.embed_images(pairs.images[rows])
        captions = matcher.embed_tokens(tokens[rows])
        logits = matcher.log_scale.exp() * images @ captions.T
        by_image, by_caption = in_batch_losses(logits, pairs.class_ids[rows])
        loss = (by_image + by_caption) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    matcher.eval()
    return sum(losses[-50:]) / len(losses[-50:])


def noticed(own: Tensor, moved: Tensor) -> float:
    """How often a right pair scores above a wrong one, of all such two (chance 0.5)."""
    right, wrong = own[~moved][:, None], own[moved][None, :]
    return ((right > wrong).float() + (right == wrong).float() / 2).mean().item()


@dataclass(frozen=True)
class World:
    """Pairs to train on, and pairs of combinations that are held out."""

    vocabulary: Vocabulary
    pairs: Batch
    images: Tensor
    captions: list[str]
    class_ids: Tensor

    @classmethod
    def load(cls) -> World:
        """Emoji and their English names."""
        splits = [
            load_dataset("emoji", split, 64, split_by="combination")
            for split in ("train", "validation", "test")
        ]
        pairs, *held = [split.batch(range(len(split))) for split in splits]
        return cls(
            splits[0].vocabulary,
            pairs,
            torch.cat([part.images for part in held]),
            [caption for part in held for caption in part.captions],
            torch.cat([part.class_ids for part in held]),
        )


def measure(world: World, share: float, steps: int, seed: int) -> dict[str, Any]:
    """One training, with what it finds among combinations that it never saw."""
    torch.manual_seed(seed)
    tokens, moved = mismatch(world.pairs.tokens, share)
    matcher = Matcher(world.vocabulary, world.pairs.images)
    loss = train(matcher, world.pairs, tokens, steps)
    with torch.no_grad():
        images = matcher.embed_images(world.pairs.images)
        own = (images * matcher.embed_tokens(tokens)).sum(dim=1)
    found = r_precision(
        world.images, world.captions, matcher, class_ids=world.class_ids
    )
    return {
        "share": share,
        "steps": steps,
        "seed": seed,
        "loss": loss,
        "retrieval": found.precision.value,
        "noticed": noticed(own, moved) if moved.any() else None,
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, least and largest over the seeds of what runs of one kind found."""
    kept: dict[str, Any] = {"share": runs[0]["share"], "steps": runs[0]["steps"]}
    for name in ("loss", "retrieval", "noticed"):
        values = [run[name] for run in runs]
        kept[name] = None
        if values[0] is not None:
            mean = sum(values) / len(values)
            kept[name] = {"value": mean, "low": min(values), "high": max(values)}
    return kept


def main() -> None:
    """Train for every share, number of steps and seed, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    given = parser.parse_args()
    world = World.load()
    rows = []
    for steps in STEPS:
        for share in SHARES:
            runs = [measure(world, share, steps, seed) for seed in given.seeds]
            rows.append(summary(runs))
            said = "  ".join(
                f"{name} {rows[-1][name]['value']:.3f}"
                for name in ("loss", "retrieval", "noticed")
                if rows[-1][name] is not None
            )
            print(f"{steps} steps, {share:.0%} mismatched: {said}", flush=True)
    report = {
        "pairs": len(world.pairs),
        "held_out": len(world.captions),
        "candidates": 100,
        "batch_size": BATCH,
        "seeds": len(given.seeds),
        "rows": rows,
    }
    timing.write("mismatched", report)


if __name__ == "__main__":
    main()
