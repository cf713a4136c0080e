"""How long it takes to describe pictures.

``python -m benchmarks.captioning`` compares, with the published weights and on 64
pictures of the test split:

- writing word by word with a cache of keys and values, against reading picture and
  words anew for every word. The words are the same. Limit: the cache is 3 times faster.
- a search with four beams against writing the likeliest word each time.

Writes ``results/benchmarks/captioning.json``.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from torch import Tensor

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.layers.captions import END_TOKEN
from mmgen.models.captioning import CaptioningSampler
from mmgen.pretrained import load

TIMES = 3.0  # limit: of the cache
COUNT, BEAMS = 64, 4
LANGUAGE = "en"


@torch.no_grad()
def write_anew(sampler: CaptioningSampler, pictures: Tensor) -> Tensor:
    """What ``Writer.write`` writes with the likeliest word each time, without a cache.

    Args:
        sampler: of either decoder.
        pictures: tokens of them, (B, 1 + R, D).

    Returns:
        Tokens (B, T), padded with 0.
    """
    writer, never = sampler.network.writer, sampler.network.writer.never(LANGUAGE)
    tokens = torch.zeros(len(pictures), sampler.max_tokens, dtype=torch.int64)
    ended = torch.zeros(len(pictures), dtype=torch.bool)
    for i in range(sampler.max_tokens):
        logits = writer(pictures, tokens[:, : i + 1])[:, -1].masked_fill(
            never, -math.inf
        )
        if i == 0:
            logits[:, END_TOKEN] = -math.inf
        tokens[:, i] = logits.argmax(dim=1).masked_fill(ended, END_TOKEN)
        ended |= tokens[:, i] == END_TOKEN
        if ended.all():
            break
    return tokens


def measure(
    sampler: CaptioningSampler, images: Tensor, beams: int, repetitions: int
) -> dict[str, Any]:
    """Both comparisons, with the limit that the first is held against.

    Args:
        sampler: that writes.
        images: (B, 3, H, W) in [-1, 1].
        beams: of the search.
        repetitions: of each way.

    Raises:
        RuntimeError: the cache changes what is written.
    """
    writer, most = sampler.network.writer, sampler.max_tokens
    with torch.no_grad():
        pictures = sampler.network.look(images)

    def cached() -> Tensor:
        return writer.write(pictures, LANGUAGE, most)

    def anew() -> Tensor:
        return write_anew(sampler, pictures)

    written = cached()
    if not torch.equal(written, anew()):
        raise RuntimeError("with the cache other words are written than without.")
    of_cache = timing.compare({"cached": cached, "anew": anew}, repetitions, warmup=1)
    of_beams = timing.compare(
        {
            "greedy": lambda: sampler.describe(images, LANGUAGE),
            "beams": lambda: sampler.describe(images, LANGUAGE, beams=beams),
        },
        repetitions,
        warmup=1,
    )
    print(f"{of_cache.table()}\n{of_beams.table()}", flush=True)
    return {
        "pictures": len(images),
        "words": (written != END_TOKEN).sum(dim=1).float().mean().item(),
        "beams": beams,
        "cache": of_cache.to_json(),
        "search": of_beams.to_json(),
        "times_faster_with_cache": of_cache.ratios["anew"],
        "times_slower_with_beams": of_beams.ratios["beams"],
        "limits": {"times_faster_with_cache": TIMES},
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", default="caption-shapes64", help="or a run")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sampler = load(given.weights)
    size = sampler.config.image_size
    images = load_dataset("shapes", "test", size, LANGUAGE).batch(range(COUNT)).images
    report = measure(sampler, images, BEAMS, given.repetitions)
    named = {"weights": given.weights, "threads": given.threads}
    print(timing.write("captioning", {**named, **report}))


if __name__ == "__main__":
    main()
