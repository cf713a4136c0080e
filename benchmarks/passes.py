"""How many passes the masked model needs, and what they cost beside code by code.

``python -m benchmarks.passes`` draws the same test captions of one object with the
published masked model in several numbers of passes and with the published
autoregressive model, and counts right pictures and processor time. Writes
``results/benchmarks/passes.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.interfaces import Draws
from mmgen.metrics import semantic_accuracy
from mmgen.pretrained import load

SLOW = "it draws for many minutes"  # so make bench leaves it out
CAUSAL, MASKED = "ar-shapes64", "masked-shapes64"
PASSES = (8, 12, 16, 32, 64)  # the last draws one code in each


def measure(model: Draws, captions: Sequence[str], **options: int) -> dict[str, Any]:
    """Right pictures, and seconds of processor time that drawing one takes.

    Args:
        model: draws Shapes.
        captions: each drawn once.
        options: how it draws.
    """
    before = time.process_time()
    images = model.sample(captions, **options)
    seconds = (time.process_time() - before) / len(captions)
    right = semantic_accuracy(images, captions).overall
    return {"right": right.to_json(), "processor_seconds": seconds}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=500, help="captions")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset("shapes", "test", 64, "en", objects=(1,))
    captions = data.batch(range(given.count)).captions
    report = {"code by code": measure(load(CAUSAL), captions)}
    print(report, flush=True)
    masked = load(MASKED)
    for passes in PASSES:
        report[str(passes)] = found = measure(masked, captions, passes=passes)
        print(passes, found, flush=True)
    facts = {"captions": given.count, "passes": report}
    print(timing.write("passes", facts))


if __name__ == "__main__":
    main()
