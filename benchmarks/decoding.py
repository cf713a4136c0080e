"""How long it takes to write a picture's codes.

``python -m benchmarks.decoding`` compares, on untrained models of the published sizes
(64 codes; how long the arithmetic takes does not depend on what it computes):

- writing code by code with a cache of keys and values, against reading all that was
  written anew for every code. Limit: the cache is 5 times faster.
- the masked model against the autoregressive one, for one picture and for 64;
- seconds of 64 pictures. Limit: 5 s, on two threads.

Writes ``results/benchmarks/decoding.json``.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.layers.logits import choose, filtered, guided
from mmgen.models.autoregressive import ARSampler, shifted
from mmgen.models.codes import CodeSampler, CodesConfig
from mmgen.models.masked import MaskedSampler
from mmgen.models.vqvae import VQVAESampler
from mmgen.presets import published
from mmgen.sampling import seeded_noise

TIMES, SECONDS = 5.0, 5.0  # limits: of the cache, and of 64 pictures
COUNT = 64
CAPTION = "a large red star in the upper left and a small blue circle"


@torch.no_grad()
def write_anew(
    sampler: ARSampler,
    captions: list[str],
    noise: Tensor,
    guidance: float = 1.0,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """What ``ARSampler.write`` writes, without a cache.

    Args:
        sampler: autoregressive.
        captions: B.
        noise: (B, N) standard normal.
        guidance, temperature: as for ``write``.

    Returns:
        Codes (B, N) and the logits (B, N, K) that they were drawn from, guided.
    """
    writer = sampler.writer
    tokens, lengths = sampler.read_captions(captions)
    tokens = tokens[:, : int(lengths.max())]
    words, size = tokens.shape[1], noise.shape[1]
    table, weights = writer.table(), writer.weights()
    codes = torch.zeros(len(tokens), size, dtype=torch.int64)
    every = []

    def read(told: Tensor, upto: int) -> Tensor:
        """Logits (B, K) of the next code, from words and all codes before it."""
        end = words + upto + 1
        features = writer.transformer(
            writer.read(
                writer.told(tokens, told), shifted(writer, codes)[:, : upto + 1], table
            ),
            writer.places(words)[:end],
            writer.seen(told, words)[:, :end],
        )
        return linear(features[:, -1], weights, writer.head.bias)

    for i in range(size):
        logits = read(lengths, i)
        if guidance != 1:
            untold = read(torch.zeros_like(lengths), i)
            logits = guided(logits, untold, guidance)
        codes[:, i] = choose(filtered(logits, temperature), noise[:, i])
        every.append(logits)
    return codes, torch.stack(every, dim=1)


def samplers(config: dict[str, Any] | None = None) -> tuple[ARSampler, MaskedSampler]:
    """Untrained models of the published sizes, the masked one of the same network.

    Args:
        config: fields of both configs in place of the published ones.
    """
    presets = published()
    tokenizer = presets["vq-shapes64"]
    image_size = tokenizer.data["image_size"]
    autoencoder = VQVAESampler(tokenizer.config, image_size).init_args()

    def built(cls: type[CodeSampler], name: str) -> Any:
        preset = presets[name]
        fields = {**vars(preset.config), **(config or {})}
        kind: type[CodesConfig] = type(preset.config)
        data = load_dataset(**{**preset.data, "split": "test", "size": 1})
        sampler = cls(kind(**fields), data.vocabulary, data.max_tokens, autoencoder)
        return sampler.eval()

    return built(ARSampler, "ar-shapes64"), built(MaskedSampler, "masked-shapes64")


def measure(
    ar: ARSampler, masked: MaskedSampler, count: int, repetitions: int
) -> dict[str, Any]:
    """All comparisons, with the limits that they are held against.

    Args:
        ar, masked: of one size.
        count: pictures at once, beside one.
        repetitions: of each way.
    """
    report: dict[str, Any] = {}
    for many in (1, count):
        captions = [CAPTION] * many
        noise = seeded_noise(many, ar.side**2, seed=0)

        def cached(captions: list[str] = captions, noise: Tensor = noise) -> Any:
            return ar.write(captions, noise=noise, guidance=1.0)

        def anew(captions: list[str] = captions, noise: Tensor = noise) -> Any:
            return write_anew(ar, captions, noise)

        def whole(captions: list[str] = captions, noise: Tensor = noise) -> Any:
            return ar.sample(captions, noise=noise)

        def passes(captions: list[str] = captions) -> Any:
            return masked.sample(captions)

        of_cache = timing.compare(
            {"cached": cached, "anew": anew}, repetitions, warmup=1
        )
        of_models = timing.compare(
            {"masked": passes, "ar": whole}, repetitions, warmup=1
        )
        report[str(many)] = {
            "cache": of_cache.to_json(),
            "models": of_models.to_json(),
            "times_faster_with_cache": of_cache.ratios["anew"],
            "times_faster_masked": of_models.ratios["ar"],
            "seconds": of_models.seconds,
        }
        print(f"{many} at once\n{of_cache.table()}\n{of_models.table()}", flush=True)
    return {
        "codes": ar.side**2,
        "guidance": ar.config.guidance,
        "passes": masked.config.passes,
        "parameters": sum(p.numel() for p in ar.writer.parameters()),
        "weights": "untrained",
        "limits": {"times_faster_with_cache": TIMES, "seconds": SECONDS},
        "pictures_at_once": report,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    report = measure(*samplers(), COUNT, given.repetitions)
    print(timing.write("decoding", {"threads": given.threads, **report}))


if __name__ == "__main__":
    main()
