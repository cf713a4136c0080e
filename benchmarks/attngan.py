"""A whole training step of AttnGAN: ours by default against the original's recipe.

    python -m benchmarks.attngan [--device cuda|cpu] [--size cub|tiny] [--rounds N]

A step is: encode the captions, draw, update the discriminators, score by them and by
the matching model, update the generator, average its weights. The ways take turns on
the same random batch at the paper's CUB size (batch 20, 64 to 256 pixels, Inception-v3
with random weights as the image encoder: values do not change the time).

Ours is the loop of ``mmgen train attngan --data cub --scale full``. The original recipe
is written here from its description: float32, default layout, an optimiser a
discriminator, gradients of the discriminators computed again in the generator's update
and thrown away, a loop over captions in the matching loss, an average updated parameter
by parameter. PyTorch's default lets float32 convolutions use TF32 on such GPUs; the
recipe is timed with that default, and once more without.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import compare, write
from mmgen.data.batch import Batch
from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.images import ImageEncoder
from mmgen.layers.text import TextEncoder
from mmgen.models.attngan import (
    AttnGANConfig,
    AttnGANTask,
    Discriminator,
    Generator,
    condition_kl,
    pictures_of_stages,
)
from mmgen.models.damsm import (
    DAMSMConfig,
    DAMSMMatcher,
    matching_loss,
    sentence_scores,
    word_region_scores,
)
from mmgen.presets import find
from mmgen.training import TrainingConfig
from mmgen.training.devices import backends
from mmgen.training.loop import Loop

# Dense bf16 TFLOP/s that the makers state (data sheets, SXM modules).
STATED_PEAK = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
# Kernels by what they do; the first line with a matching word counts.
KERNELS = (
    (
        "convolutions and matrix products",
        "conv gemm xmma cutlass wgrad dgrad nvjet mma",
    ),
    ("batch norm", "batch_norm batchnorm bn_ bnorm"),
    ("layout changes and copies", "nchw nhwc memcpy memset copy transpose cat"),
    ("optimisers and averages", "adam multi_tensor lerp foreach"),
    ("fused by the compiler", "triton"),
    ("pointwise and reductions", "elementwise reduce softmax pool upsample index"),
)


def random_batch(
    config: AttnGANConfig, batch_size: int, tokens: int, device: torch.device
) -> Batch:
    """Captions of 8 to 18 words, as CUB has them, with random pictures."""
    lengths = torch.linspace(18, 8, batch_size).long()  # longest first
    words = torch.randint(2, tokens, (batch_size, 18))
    words[torch.arange(18)[None] >= lengths[:, None]] = 0
    side = config.sizes[-1]
    images = torch.rand(batch_size, 3, side, side) * 2 - 1
    ids = torch.arange(batch_size) % max(batch_size - 1, 1)  # one pair is of one class
    captions = ["random"] * batch_size
    return Batch(images, words, lengths, ids, captions).to(device)


def matcher(config: AttnGANConfig, tokens: int, inception: bool) -> DAMSMMatcher:
    """A matching model with random weights."""
    vocabulary = Vocabulary(["<pad>", "<unk>", *(f"w{i}" for i in range(tokens - 2))])
    side = config.sizes[-1]
    sizes = DAMSMConfig(side, config.feature_dim, 300, width=8, grid=side // 4)
    model = DAMSMMatcher(sizes, vocabulary, max_tokens=18)
    if inception:
        model.image_encoder = ImageEncoder.inception(config.feature_dim, weights=None)
    return model


class Ours:
    """Steps of the training loop, one at a time, so that ways can take turns."""

    def __init__(
        self,
        config: AttnGANConfig,
        matcher: DAMSMMatcher,
        training: dict[str, Any],
        batch: Batch,
        device: torch.device,
    ) -> None:
        self.batch, self.count = batch, itertools.count()
        data: Any = SimpleNamespace(
            image_size=config.sizes[-1], vocabulary=matcher.vocabulary
        )
        task = AttnGANTask.build(config, data, {"damsm": matcher})
        settings = TrainingConfig(
            **training, batch_size=len(batch), accelerator=device.type
        )
        # The loop looks at its data set only between steps.
        self.loop = Loop(task, None, settings)  # type: ignore[arg-type]
        self.loop.set_up()

    def __call__(self) -> None:
        self.loop.step(self.batch, next(self.count))
        self.loop.interval.steps.clear()


def scores_by_caption(
    regions: Tensor, words: Tensor, lengths: list[int], gamma1: float, gamma2: float
) -> Tensor:
    """R for every picture and caption, one caption after the other."""
    flat, columns = regions.flatten(2), []  # (B, D, R)
    for caption, length in zip(words, lengths, strict=True):
        query = caption[:length].repeat(len(regions), 1, 1)  # (B, t, D)
        competed = torch.softmax(query @ flat, dim=1)  # over words
        weights = torch.softmax(gamma1 * competed, dim=2)  # over regions
        context = weights @ flat.transpose(1, 2)  # (B, t, D)
        cosine = F.cosine_similarity(context, query, dim=2)
        columns.append((gamma2 * cosine).exp().sum(dim=1).log())
    return torch.stack(columns, dim=1)


class Original:
    """The original's training step, with or without TF32."""

    def __init__(
        self,
        config: AttnGANConfig,
        matcher: DAMSMMatcher,
        batch: Batch,
        device: torch.device,
        tf32: bool = True,
    ) -> None:
        self.config, self.batch, self.tf32 = config, batch, tf32
        self.text: TextEncoder = matcher.text_encoder.to(device).eval()
        self.image: ImageEncoder = matcher.image_encoder.to(device).eval()
        self.text.requires_grad_(False)
        self.image.requires_grad_(False)
        self.generator = Generator(config).to(device)
        self.discriminators = [
            Discriminator(config, i).to(device) for i in range(len(config.sizes))
        ]
        self.optimizer = self._adam(self.generator)
        self.discriminator_optimizers = [
            self._adam(network) for network in self.discriminators
        ]
        self.average = [p.detach().clone() for p in self.generator.parameters()]
        self.one = torch.ones(len(batch), device=device)
        self.zero = torch.zeros(len(batch), device=device)

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(
            network.parameters(), lr=self.config.learning_rate, betas=(0.5, 0.999)
        )

    def __call__(self) -> None:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=True, allow_tf32=self.tf32
        ):
            self._step()

    def _step(self) -> None:
        config, batch = self.config, self.batch
        bce = F.binary_cross_entropy_with_logits
        with torch.no_grad():
            words, sentence = self.text(batch.tokens, batch.lengths)
        noise = torch.randn(len(batch), config.noise_dim, device=words.device)
        drawn = self.generator(noise, words, sentence, batch.mask)
        reals = pictures_of_stages(batch.images, config.sizes)
        for network, optimizer, real, fake in zip(
            self.discriminators,
            self.discriminator_optimizers,
            reals,
            drawn.images,
            strict=True,
        ):
            optimizer.zero_grad()
            right, seen, wrong = network(real, sentence, sentence[1:])
            false, drawn_alone = network(fake.detach(), sentence)
            loss = (bce(seen, self.one) + bce(right, self.one)) / 2 + (
                bce(drawn_alone, self.zero)
                + bce(false, self.zero)
                + bce(wrong, self.zero[1:])
            ) / 3
            loss.backward()
            optimizer.step()
        self.optimizer.zero_grad()
        loss = condition_kl(drawn.mu, drawn.logvar)
        for network, fake in zip(self.discriminators, drawn.images, strict=True):
            for logits in network(fake, sentence):
                loss = loss + bce(logits, self.one)
        regions, features = self.image(drawn.images[-1])
        scores = scores_by_caption(
            regions, words, batch.lengths.tolist(), config.gamma1, config.gamma2
        )
        terms = [
            *matching_loss(scores, config.gamma3, batch.class_ids),
            *matching_loss(
                sentence_scores(features, sentence), config.gamma3, batch.class_ids
            ),
        ]
        loss = loss + config.damsm_weight * torch.stack(terms).sum()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            parameters = self.generator.parameters()
            for kept, now in zip(self.average, parameters, strict=True):
                kept.mul_(0.999).add_(now, alpha=0.001)


def flops(step: Callable[[], None]) -> float:
    """Floating-point operations of a step's convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def peak_memory(build: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """What ``build`` gives, and the most memory (bytes) that it and its steps held."""
    if device.type != "cuda":
        way = build()
        way()
        return way, float("nan")
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    way = build()
    way()  # the first step makes the optimisers' moments and searches for algorithms
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    way()
    torch.cuda.synchronize(device)
    return way, float(torch.cuda.max_memory_allocated(device) - before)


def matrix_speed(device: torch.device) -> float:
    """TFLOP/s that one large bf16 matrix product reaches here."""
    side = 8192
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(3):
        a @ b
    start.record()
    for _ in range(10):
        a @ b
    end.record()
    torch.cuda.synchronize(device)
    return 10 * 2 * side**3 / (start.elapsed_time(end) / 1e3) / 1e12


def where_time_goes(
    step: Callable[[], None], device: torch.device, steps: int = 5
) -> dict[str, float]:
    """Milliseconds of the GPU a step, by kind of kernel."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(steps):
            step()
        torch.cuda.synchronize(device)
    kinds: dict[str, float] = defaultdict(float)
    for event in profile.key_averages():
        name = event.key.lower()
        fitting = (
            kind
            for kind, marks in KERNELS
            if any(mark in name for mark in marks.split())
        )
        kinds[next(fitting, "other")] += event.self_device_time_total / 1e3 / steps
    return dict(sorted(kinds.items(), key=lambda item: -item[1]))


def main() -> None:
    """Measure, print, write ``results/benchmarks/attngan.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--size", choices=("cub", "tiny"))
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    cuda = device.type == "cuda"
    paper = (arguments.size or ("cub" if cuda else "tiny")) == "cub"
    rounds = arguments.rounds or (30 if cuda else 8)

    torch.manual_seed(0)
    preset = find("attngan", "full", "cub")
    config, batch_size, tokens = preset.config, preset.training.batch_size, 5450
    if not paper:
        config = replace(
            config,
            sizes=(16, 32, 64),
            generator_channels=16,
            discriminator_channels=16,
        )
        batch_size = 8
    kept = ("precision", "channels_last", "compile", "ema_decay")
    training = {name: getattr(preset.training, name) for name in kept}
    if not cuda:
        # bf16 and the compiler serve GPUs; here the rest of our ways is compared
        training = {"ema_decay": training["ema_decay"]}
    batch = random_batch(config, batch_size, tokens, device)

    check_scores(config, device)
    results: dict[str, Any] = {
        "what": "one training step of AttnGAN (generator, discriminators, matching "
        "loss, moving average); image encoder: Inception-v3 with random weights"
        if paper
        else "the same step at a size for CPUs, small image encoder",
        "batch_size": batch_size,
        "sizes": config.sizes,
        "ours": training,
    }
    with backends(False):
        builds: dict[str, Callable[[], Any]] = {
            "original": lambda: Original(
                config, matcher(config, tokens, paper), batch, device
            ),
            "ours": lambda: Ours(
                config, matcher(config, tokens, paper), training, batch, device
            ),
        }
        if cuda:
            builds["original, no TF32"] = lambda: Original(
                config, matcher(config, tokens, paper), batch, device, tf32=False
            )
        if training.get("compile"):
            plain = {**training, "compile": False}
            builds["ours, not compiled"] = lambda: Ours(
                config, matcher(config, tokens, paper), plain, batch, device
            )
        ways, memory = {}, {}
        for name, build in builds.items():
            ways[name], memory[name] = peak_memory(build, device)
        comparison = compare(ways, repetitions=rounds, warmup=5, device=device)
        counted = {
            name: flops(ways[name])
            for name in ways
            if not (name == "ours" and training.get("compile"))
        }
        counted.setdefault("ours", counted.get("ours, not compiled", 0.0))

    print(comparison.table())
    seconds = comparison.seconds
    speed = {name: batch_size / seconds[name] for name in seconds}
    rate = {name: counted[name] / seconds[name] / 1e12 for name in seconds}
    for name in seconds:
        print(
            f"{name:20} {speed[name]:7.1f} images/s  {counted[name] / 1e12:.2f} TFLOP "
            f"a step  {rate[name]:.2f} TFLOP/s"
            + (f"  peak {memory[name] / 2**30:.2f} GiB" if cuda else "")
        )
    times = seconds["original"] / seconds["ours"]
    print(f"ours is {times:.2f} times as fast as the original's recipe")
    results |= {
        "comparison": comparison.to_json(),
        "images_per_second": speed,
        "speedup": times,
        "flop_per_step": counted,
        "tflops": rate,
        "peak_memory_bytes": memory if cuda else None,
    }
    if cuda:
        reached = matrix_speed(device)
        stated = next(
            (v for k, v in STATED_PEAK.items() if k in comparison.device), None
        )
        results["bf16_matrix_tflops"] = reached
        results["bf16_stated_tflops"] = stated
        results["share_of_matrix_speed"] = rate["ours"] / reached
        results["share_of_stated_peak"] = stated and rate["ours"] / stated
        print(f"a large bf16 matrix product here: {reached:.0f} TFLOP/s; ", end="")
        print(f"ours reaches {rate['ours'] / reached:.1%} of that")
        results["gpu_milliseconds_by_kind"] = {}
        for name in ("original", "ours"):
            kinds = where_time_goes(ways[name], device)
            kinds["idle"] = max(0.0, 1e3 * seconds[name] - sum(kinds.values()))
            results["gpu_milliseconds_by_kind"][name] = kinds
            print(f"where a step of {name!r} goes, ms:")
            for kind, spent in kinds.items():
                print(f"  {kind:34} {spent:8.2f}")
    print(write("attngan", results, device))


def check_scores(config: AttnGANConfig, device: torch.device) -> None:
    """Both ways of scoring must agree before they are timed."""
    torch.manual_seed(1)
    regions = torch.randn(4, 32, 5, 5, device=device)
    words = torch.randn(4, 6, 32, device=device)
    lengths = torch.tensor([6, 5, 3, 1], device=device)
    mask = torch.arange(6, device=device)[None] < lengths[:, None]
    gammas = config.gamma1, config.gamma2
    one = scores_by_caption(regions, words, lengths.tolist(), *gammas)
    torch.testing.assert_close(
        one, word_region_scores(regions, words, mask, *gammas), rtol=1e-2, atol=1e-2
    )


if __name__ == "__main__":
    main()
