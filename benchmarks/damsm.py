"""The word-level DAMSM loss, all pairs at once against a loop over captions.

    python -m benchmarks.damsm                 # CPU, two threads
    python -m benchmarks.damsm --device cuda   # also B = 1024 in chunks

Forward and backward of both directions of the loss at the size of AttnGAN on CUB: 48
pictures of 17 x 17 regions, 48 captions of up to 18 words, 256 features. Writes
``results/benchmarks/damsm.json``; the CPU's part and the GPU's are kept side by side.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import timing
from mmgen.data.batch import word_mask
from mmgen.models.damsm import matching_loss
from mmgen.objectives.word_regions import word_region_scores


def scores_by_caption(
    regions: Tensor,
    words: Tensor,
    mask: Tensor,
    gamma1: float = 4.0,
    gamma2: float = 5.0,
) -> Tensor:
    """R of all pictures with all captions, one caption after the other.

    Written from the equations for reading, as public code computes it: each caption is
    held against all pictures, and autograd finds the gradient.

    Args:
        regions, words, mask: (B_images, D, H, W), (B_captions, T, D), (B_captions, T).

    Returns:
        Scores, shape (B_images, B_captions).
    """
    pictures = regions.flatten(2)  # (B, D, R)
    columns = []
    for caption, real in zip(words, mask, strict=True):
        word = caption[real].expand(len(pictures), -1, -1)  # (B, T_c, D)
        scores = word @ pictures  # (B, T_c, R)
        competed = scores.softmax(dim=1)
        weights = (gamma1 * competed).softmax(dim=2)
        context = weights @ pictures.transpose(1, 2)  # (B, T_c, D)
        cosine = F.cosine_similarity(context, word, dim=2, eps=1e-8)
        columns.append((gamma2 * cosine).logsumexp(dim=1))
    return torch.stack(columns, dim=1)


def operations(
    pictures: int, words: int, regions: int, features: int
) -> dict[str, int]:
    """Floating-point operations of the matrix products, multiply and add counted.

    "loop" forms contexts (two products forward, four backward); "batched" uses the
    regions' Gram matrix (see ``word_region_scores``).
    """
    pairs = 2 * pictures * words * regions
    return {
        "loop": 6 * pairs * features,
        "batched": pairs * (3 * features + 2 * regions),
    }


def inputs(
    batch: int, device: torch.device, *, full: bool, words: int = 18
) -> tuple[Tensor, Tensor, Tensor]:
    """Regions, words and mask; captions of 18 words, or of 8 to 18 as in CUB."""
    generator = torch.Generator().manual_seed(0)
    regions = 0.3 * torch.randn(batch, 256, 17, 17, generator=generator)
    features = 0.3 * torch.randn(batch, words, 256, generator=generator)
    lengths = torch.randint(8, words + 1, (batch,), generator=generator)
    lengths = torch.full_like(lengths, words) if full else lengths
    mask = word_mask(lengths, words)
    features = features * mask[:, :, None]
    return regions.to(device), features.to(device), mask.to(device)


def step(
    scores: Callable[..., Tensor], data: tuple[Tensor, Tensor, Tensor], **options: Any
) -> Callable[[], tuple[Tensor, Tensor]]:
    """A function of no arguments: both losses, and the gradients for both features."""
    regions, words = (tensor.clone().requires_grad_() for tensor in data[:2])

    def call() -> tuple[Tensor, Tensor]:
        losses = matching_loss(scores(regions, words, data[2], **options))
        return torch.autograd.grad(sum(losses), (regions, words))

    return call


def products(batch: int, data: tuple[Tensor, Tensor, Tensor]) -> Callable[[], None]:
    """Plain matrix products of the same sizes and number as the batched way makes."""
    regions, words, mask = data
    flat = regions.flatten(2)
    rows = words[mask] if regions.device.type == "cpu" else words.flatten(0, 1)
    columns = flat.transpose(0, 1).flatten(1)  # (D, B R)
    pairs = rows @ columns  # (N, B R)
    gram = flat.transpose(1, 2) @ flat
    mixed = pairs.view(len(rows), batch, -1).transpose(0, 1).contiguous()
    buffers = torch.empty_like(pairs), torch.empty_like(mixed)

    def call() -> None:
        torch.mm(rows, columns, out=buffers[0])  # s
        torch.bmm(mixed, gram, out=buffers[1])  # G alpha
        torch.bmm(mixed.transpose(1, 2), mixed)  # gradient for G
        rows.t() @ pairs  # for v
        pairs @ columns.t()  # for e

    return call


def compare(device: torch.device, *, full: bool, repetitions: int) -> dict[str, Any]:
    """Both ways and the plain products at B = 48, after checking that they agree."""
    data = inputs(48, device, full=full)
    loop, batched = step(scores_by_caption, data), step(word_region_scores, data)
    for ours, expected in zip(batched(), loop(), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)
    ways: dict[str, Callable[[], Any]] = {
        "loop over captions": loop,
        "all at once": batched,
        "in chunks of 8": step(word_region_scores, data, chunk_size=8),
        "plain matrix products": products(48, data),
    }
    found = timing.compare(ways, repetitions, device=device)
    print(f"B = 48, captions of {'18' if full else '8 to 18'} words, {found.device}")
    print(found.table())
    real = int(data[2].sum()) if device.type == "cpu" else data[2].numel()
    count = operations(48, real, 289, 256)
    seconds = found.seconds
    result = {
        **found.to_json(),
        "speedup": 1 / found.ratios["all at once"],
        "operations": count,
        "teraflops": count["batched"] / seconds["all at once"] / 1e12,
        "share_of_matrix_products": seconds["plain matrix products"]
        / seconds["all at once"],
    }
    print(
        f"{result['speedup']:.2f} times as fast; {count['batched'] / 1e9:.1f} GFLOP, "
        f"{result['teraflops']:.2f} TFLOP/s, "
        f"{100 * result['share_of_matrix_products']:.0f} % of the rate of plain "
        f"matrix products of the same sizes\n"
    )
    return result


def large(
    device: torch.device, repetitions: int, chunk_size: int = 32
) -> dict[str, Any]:
    """B = 1024 in chunks on a GPU: time and peak memory."""
    batch = 1024
    data = inputs(batch, device, full=True)
    call = step(word_region_scores, data, chunk_size=chunk_size)
    call()
    torch.cuda.reset_peak_memory_stats(device)
    call()
    peak = torch.cuda.max_memory_allocated(device)
    found = timing.compare({"in chunks": call}, repetitions, warmup=1, device=device)
    seconds = found.seconds["in chunks"]
    pairs = 2 * batch * data[2].numel() * 289
    # the backward pass makes the two products of the forward pass again
    count = pairs * (3 * 256 + 2 * 289) + pairs * (256 + 289)
    print(
        f"B = {batch} in chunks of {chunk_size}: {1e3 * seconds:.0f} ms, peak "
        f"{peak / 2**30:.2f} GiB, {count / seconds / 1e12:.1f} TFLOP/s\n"
    )
    return {
        **found.to_json(),
        "batch": batch,
        "chunk_size": chunk_size,
        "peak_bytes": peak,
        "operations": count,
        "teraflops": count / seconds / 1e12,
    }


def main() -> None:
    """Measure, print, and put the part for this device into the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--repetitions", type=int, default=10)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cpu":
        torch.set_num_threads(2)
    found: dict[str, Any] = {
        "environment": timing.environment(device),
        "captions_of_18_words": compare(
            device, full=True, repetitions=arguments.repetitions
        ),
        "captions_of_8_to_18_words": compare(
            device, full=False, repetitions=arguments.repetitions
        ),
    }
    if device.type == "cuda":
        found["large_batch"] = large(device, arguments.repetitions)
        torch.set_float32_matmul_precision("high")
        print("with TensorFloat-32:")
        found["tensorfloat32"] = {
            "captions_of_18_words": compare(
                device, full=True, repetitions=arguments.repetitions
            ),
            "large_batch": large(device, arguments.repetitions),
        }
    path = timing.RESULTS / "damsm.json"
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    known.pop("environment", None)  # every part has its own
    timing.write("damsm", {**known, device.type: found}, device)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
