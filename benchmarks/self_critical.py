"""Captions that are trained by what they are worth, with two rewards side by side.

    python -m benchmarks.self_critical           # from caption-shapes64
    python -m benchmarks.self_critical --weights runs/caption

Self-critical training goes on from weights that were trained word by word. Of each
picture one caption is drawn; what it earns beyond the likeliest caption makes it
likelier. Two rewards:

- *facts told*: ``Telling.reward``, which saying less does not raise;
- *nothing wrong*: 1 if all that a caption states is so, else 0, whatever it leaves out.

The writer is trained, the picture encoder is left as it is. Every few steps the
captions of test pictures are asked for: the likeliest ones and ten drawn ones each, how
many of these differ, what they state, what is wrong in it and what is missing.

Writes ``results/benchmarks/self_critical.json``.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from benchmarks import timing
from mmgen.data import Batch, load_dataset
from mmgen.data.shapes import Scene
from mmgen.data.shapes.telling import Telling, told
from mmgen.layers.captions import END_TOKEN, Choice, caption_log_p
from mmgen.layers.validation import require_finite
from mmgen.metrics.captions import caption_facts, distinct
from mmgen.metrics.interval import Proportion, pooled
from mmgen.models.captioning import CaptioningSampler, self_critical_loss
from mmgen.pretrained import load
from mmgen.training import reproducible

SLOW = "it trains for many minutes"  # so make bench leaves it out
LANGUAGE = "en"
DRAWN = Choice(temperature=1.0)  # from all that the model says, as the gradient asks
REWARDS: Mapping[str, Callable[[Telling], float]] = {
    "facts told": lambda telling: telling.reward,
    "nothing wrong": lambda telling: float(telling.right),
}


def rewards_of(
    reward: Callable[[Telling], float], captions: Sequence[str], scenes: Sequence[Scene]
) -> Tensor:
    """What captions of scenes are worth, (B,)."""
    pairs = zip(captions, scenes, strict=True)
    return torch.tensor([reward(told(c, scene, LANGUAGE)) for c, scene in pairs])


def log_p(sampler: CaptioningSampler, pictures: Tensor, tokens: Tensor) -> Tensor:
    """log p of captions as ``Writer.write`` draws them, (B, T) nats.

    Words of the other language, and an end before the first word, are never drawn.

    Args:
        sampler: whose writer has a gradient.
        pictures: tokens of them, (B, 1 + R, D).
        tokens: captions, (B, T).
    """
    writer = sampler.network.writer
    lengths = (tokens != END_TOKEN).sum(dim=1)
    tokens = tokens[:, : int(lengths.max()) + 1]  # nothing to tell after the longest
    logits = writer(pictures, tokens)
    never = writer.never(LANGUAGE).expand(logits.shape).clone()
    never[:, 0, END_TOKEN] = True
    return caption_log_p(logits.masked_fill(never, -math.inf), tokens, lengths)


@torch.no_grad()
def draw(
    sampler: CaptioningSampler, pictures: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Captions of pictures' tokens, (B, T); without a generator the likeliest words."""
    noise = None
    if generator is not None:
        noise = torch.randn(len(pictures), sampler.max_tokens, generator=generator)
    choice = DRAWN if generator is not None else Choice()
    return sampler.network.writer.write(
        pictures, LANGUAGE, sampler.max_tokens, noise, choice
    )


@torch.no_grad()
def examine(sampler: CaptioningSampler, test: Batch, drawn: int) -> dict[str, Any]:
    """What captions of test pictures tell: the likeliest, and some drawn ones each.

    Args:
        sampler: to be asked.
        test: pictures with their scenes.
        drawn: captions drawn of each picture.
    """
    assert test.scenes is not None  # Shapes have them
    decode = sampler.vocabulary.decode
    pictures = sampler.network.look(test.images)
    likeliest = draw(sampler, pictures, None)
    generator = torch.Generator().manual_seed(0)
    several = [draw(sampler, pictures, generator) for _ in range(drawn)]
    texts = [decode(tokens) for tokens in several]
    # of captions that were drawn, -log p is the entropy in the mean
    surprise = torch.stack(
        [-log_p(sampler, pictures, tokens).sum(dim=1) for tokens in several]
    )
    return {
        "greedy": caption_facts(decode(likeliest), test.scenes, LANGUAGE).to_json(),
        "drawn": caption_facts(
            [text for each in texts for text in each],
            list(test.scenes) * drawn,
            LANGUAGE,
        ).to_json(),
        "distinct": distinct(list(zip(*texts, strict=True))),
        "entropy": surprise.mean().item(),
        "words": (torch.stack(several) != END_TOKEN).sum(dim=2).float().mean().item(),
        "first": decode(likeliest[:4]),
    }


def train(
    start: CaptioningSampler,
    reward: Callable[[Telling], float],
    given: Batch,
    test: Batch,
    *,
    steps: int,
    every: int,
    batch_size: int,
    learning_rate: float,
    drawn: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Self-critical training from some weights, and what became of the captions.

    Args:
        start: left as it is.
        reward: of what a caption tells.
        given: training pictures with their scenes; their captions are not used.
        test: pictures that are asked about.
        steps, batch_size, learning_rate: of AdamW.
        every: steps after which captions are asked for.
        drawn: captions drawn of each test picture.
        seed: of pictures and draws.

    Returns:
        A row each time: step, seconds of training, mean reward, and ``examine``'s.
    """
    assert given.scenes is not None
    generator = torch.Generator().manual_seed(seed)
    sampler = copy.deepcopy(start).eval()  # the encoder's statistics stay
    writer = sampler.network.writer.requires_grad_(True)  # weights come frozen
    with torch.no_grad():
        parts = [sampler.network.look(part) for part in given.images.split(100)]
    known = torch.cat(parts)
    optimizer = AdamW(
        writer.parameters(), learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    decode = sampler.vocabulary.decode
    rows = [{"step": 0, "seconds": 0.0, **examine(sampler, test, drawn)}]
    seconds, earned = 0.0, []
    for step in range(1, steps + 1):
        began = time.process_time()
        chosen = torch.randint(len(known), (batch_size,), generator=generator)
        pictures = known[chosen]
        scenes = [given.scenes[i] for i in chosen.tolist()]
        tokens = draw(sampler, pictures, generator)
        own = rewards_of(reward, decode(tokens), scenes)
        baseline = rewards_of(reward, decode(draw(sampler, pictures, None)), scenes)
        loss = self_critical_loss(log_p(sampler, pictures, tokens), own, baseline)
        require_finite(loss=loss)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(writer.parameters(), 1.0)
        optimizer.step()
        seconds += time.process_time() - began
        earned.append(own.mean().item())
        if step % every == 0 or step == steps:
            found = examine(sampler, test, drawn)
            mean = sum(earned) / len(earned)
            rows.append({"step": step, "seconds": seconds, "earned": mean, **found})
            earned = []
    return rows


def main() -> None:
    """Train with both rewards from all seeds, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", default="caption-shapes64", help="or a run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=40, help="steps between rows")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--pictures", type=int, default=2000, help="to train on")
    parser.add_argument("--asked", type=int, default=100, help="test pictures")
    parser.add_argument("--drawn", type=int, default=10, help="captions of each")
    given = parser.parse_args()
    reproducible(0)
    start = load(given.weights)
    size = start.config.image_size

    def pictures(split: str, count: int) -> Batch:
        objects = tuple(given.objects)
        data = load_dataset("shapes", split, size, LANGUAGE, objects=objects)
        return data.batch(range(count))

    batches = pictures("train", given.pictures), pictures("test", given.asked)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in REWARDS}
    for seed in given.seeds:
        for name, reward in REWARDS.items():
            rows = train(
                start,
                reward,
                *batches,
                steps=given.steps,
                every=given.every,
                batch_size=given.batch_size,
                learning_rate=given.learning_rate,
                drawn=given.drawn,
                seed=seed,
            )
            runs[name].append({"seed": seed, "rows": rows})
            print(f"{name}, seed {seed}")
            print("\n".join(map(line, rows)), flush=True)
            timing.write("self_critical", report(runs, given))  # so far


def line(row: Mapping[str, Any]) -> str:
    """A row for people."""
    greedy, drawn = row["greedy"], row["drawn"]
    return (
        f"  step {row['step']:4}  right {greedy['overall']['value']:.2f}, drawn "
        f"{drawn['overall']['value']:.2f}  stated {drawn['stated']:.2f}  missing "
        f"{drawn['missing']['value']:.2f}  distinct {row['distinct']:.2f}  entropy "
        f"{row['entropy']:.1f}  {row['seconds']:.0f} s  {row['first'][0]!r}"
    )


def together(moments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, of rows of one moment; shares of captions are pooled."""

    def share(*path: str) -> dict[str, Any]:
        found = []
        for row in moments:
            counted = row[path[0]][path[1]]
            found.append(Proportion(counted["successes"], counted["n"]))
        return pooled(found).to_json()

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    return {
        "greedy_right": share("greedy", "overall"),
        "drawn_right": share("drawn", "overall"),
        "drawn_missing": share("drawn", "missing"),
        "drawn_stated": mean([row["drawn"]["stated"] for row in moments]),
        "distinct": mean([row["distinct"] for row in moments]),
        "entropy": mean([row["entropy"] for row in moments]),
        "words": mean([row["words"] for row in moments]),
        "first": moments[0]["first"][0],
    }


def report(
    runs: Mapping[str, list[dict[str, Any]]], given: argparse.Namespace
) -> dict[str, Any]:
    """All runs so far, and what captions were before and after each reward."""
    ends = {name: [run["rows"][-1] for run in each] for name, each in runs.items()}
    starts = [run["rows"][0] for each in runs.values() for run in each[:1]]
    rows = {"before": starts[:1], **ends}  # all begin alike
    return {
        "weights": given.weights,
        "language": LANGUAGE,
        "objects": given.objects,
        "steps": given.steps,
        "learning_rate": given.learning_rate,
        "batch_size": given.batch_size,
        "asked": given.asked,
        "drawn": given.drawn,
        "seeds": len(given.seeds),
        "threads": torch.get_num_threads(),
        "rows": {name: together(found) for name, found in rows.items() if found},
        "runs": dict(runs),
    }


if __name__ == "__main__":
    main()
