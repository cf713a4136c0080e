"""What each term of the joint loss buys, and what a language model forgets.

    python -m benchmarks.joint                 # seeds 0 and 1

The world of the chapter is small and known: 400 equally likely pictures of 16 x 16
pixels, one object each, of which a caption names colour and shape, and with chance one
half each the place and the background. So all entropies are known, and how far a model
is above them is an exact divergence, summed over the whole world:

- *terms*: all three terms, and each of them at weight 0.
- *begin*: M trained on captions alone first, then together with F and G, at a factor of
  its learning rate, with the term of captions alone and without it. What M has
  forgotten of captions alone is how far its divergence has grown.
- *apart*: a captioner and a writer of codes, two separate models trained for as many
  steps, together in the CPU time that the joint model took.

Writes ``results/benchmarks/joint.json``.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.fusion import together
from mmgen.data.shapes import BACKGROUNDS, COLOURS, SHAPES, Object, Scene, render
from mmgen.data.vocabulary import Vocabulary
from mmgen.layers.captions import Choice, caption_log_p
from mmgen.layers.logits import choose
from mmgen.metrics.interval import Proportion
from mmgen.models.autoregressive import ARConfig, codes_log_p
from mmgen.models.codes import CodeTransformer
from mmgen.models.joint import JointConfig, JointNetwork, PictureWriter
from mmgen.models.joint.networks import TERMS, told_by
from mmgen.pretrained import load
from mmgen.sampling import seeded_noise
from mmgen.training import reproducible

SLOW = "it trains for minutes"  # so make bench leaves it out
PIXELS, SIDE = 16, 4  # of a picture; of its grid of codes
BATCH, RATE = 48, 3e-3
CONFIG = JointConfig(
    image_size=PIXELS,
    width=96,
    depth=2,
    heads=4,
    language_width=64,
    feature_dim=64,
    picture_width=32,
    grid=4,
    patch=2,
    fusion="film",
    caption_dropout=0.1,
)
# 16 pixels hardly tell a square from a circle
SEEN = tuple(shape for shape in SHAPES if shape != "square")
SPOTS = {
    "in the middle": (0.5, 0.5),
    "at the top left": (0.25, 0.25),
    "at the top right": (0.75, 0.25),
    "at the bottom left": (0.25, 0.75),
    "at the bottom right": (0.75, 0.75),
}


@dataclass(frozen=True)
class World:
    """All pictures and captions that there are.

    Args:
        scenes: P, all equally likely.
        images: (P, 3, 16, 16).
        codes: (P, N).
        tokens, lengths: (P, 4, T) and (P, 4), the captions of each picture, all equally
            likely.
        texts: 4 P, the captions as texts.
        codebook: (K, C), of the codes that occur.
        vocabulary: of the captions.
        true: (4 P, P) bool, whether a picture is as a caption says.
    """

    scenes: list[Scene]
    images: Tensor
    codes: Tensor
    tokens: Tensor
    lengths: Tensor
    texts: list[str]
    codebook: Tensor
    vocabulary: Vocabulary
    true: Tensor

    @classmethod
    def of(
        cls,
        shapes: Sequence[str] = SEEN,
        colours: Sequence[str] = COLOURS[:4],
    ) -> World:
        """One large object at 5 places on 4 backgrounds; by default the chapter's."""
        scenes: list[Scene] = []
        texts: list[str] = []
        for shape in shapes:
            for colour in colours:
                for where, spot in SPOTS.items():
                    for ground in BACKGROUNDS:
                        thing = Object(shape, colour, "large", *spot)
                        scenes.append(Scene((thing,), ground))
                        said = f"a {colour} {shape}"
                        texts += [said, f"{said} {where}", f"{said} on {ground}"]
                        texts.append(f"{said} {where} on {ground}")
        tokenizer = load("vq-shapes32")
        images = render(scenes, PIXELS)
        used, codes = tokenizer.encode(images).flatten(1).unique(return_inverse=True)
        vocabulary = Vocabulary.build(texts)
        longest = max(len(text.split()) for text in texts)
        tokens, lengths = vocabulary.encode(texts, longest + 1)  # room for the end
        # of a caption and a picture: the same words, for the same facts are named
        own = tokens.unflatten(0, (len(scenes), 4))  # (P, 4, T)
        true = (tokens[:, None, None] == own[None]).all(dim=3).any(dim=2)
        return cls(
            scenes,
            images,
            codes,
            own,
            lengths.unflatten(0, (len(scenes), 4)),
            texts,
            tokenizer.codebook()[used],
            vocabulary,
            true,
        )

    @property
    def max_tokens(self) -> int:
        """T, with room for the end of the longest caption."""
        return self.tokens.shape[2]

    def pairs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images, tokens, lengths and codes of all 4 P pairs."""
        return (
            self.images.repeat_interleave(4, dim=0),
            self.tokens.flatten(0, 1),
            self.lengths.flatten(),
            self.codes.repeat_interleave(4, dim=0),
        )

    def log_p(self) -> dict[str, Tensor]:
        """The truth: log p of captions, of pictures and of each given the other."""
        many = self.true.sum(dim=1).float()  # pictures that fit a caption, (4 P,)
        count = len(self.scenes)
        return {
            "t": (many / (4 * count)).log(),
            "t | x": torch.full_like(many, -math.log(4)),
            "x | t": -many.log(),
            "x": torch.full_like(many, -math.log(count)),
        }


# ----------------------------------------------------------------------------- training


def groups(network: nn.Module, language_rate: float) -> list[dict[str, Any]]:
    """Groups of an optimiser: M at its own rate, all others; at 0 M is left out."""
    rates: dict[float, list[nn.Parameter]] = {}
    for name, part in network.named_children():
        factor = language_rate if name == "language" else 1.0
        rates.setdefault(factor, []).extend(part.parameters())
    return [{"params": part, "lr": RATE * f} for f, part in rates.items() if f]


Loss = Callable[[World, Tensor, Tensor], Tensor]


def train(
    world: World,
    parts: list[dict[str, Any]],
    loss_of: Loss,
    steps: int,
    seed: int,
) -> float:
    """Train for some steps; CPU seconds.

    Args:
        world: of which pictures and captions are drawn.
        parts: groups of the optimiser.
        loss_of: rows of pictures and which of their four captions, to the loss.
        steps: of 48 pairs.
        seed: of the draws.
    """
    torch.manual_seed(seed)
    rates = [part["lr"] for part in parts]
    optimizer = torch.optim.AdamW(parts, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    start = time.process_time()
    for _ in range(steps):
        rows = torch.randint(len(world.scenes), (BATCH,))
        loss = loss_of(world, rows, torch.randint(4, (BATCH,)))
        optimizer.zero_grad()
        loss.backward()
        for part in parts:
            nn.utils.clip_grad_norm_(part["params"], 1.0)
        optimizer.step()
        schedule.step()
    return time.process_time() - start


def heard(lengths: Tensor) -> Tensor:
    """Lengths of captions, of which one in ten is left out."""
    dropped = torch.rand(len(lengths)) < CONFIG.caption_dropout
    return lengths.masked_fill(dropped, 0)


def joint_loss(network: JointNetwork) -> Loss:
    """The weighted sum of the means over words and codes, as the package trains."""

    def loss_of(world: World, rows: Tensor, which: Tensor) -> Tensor:
        tokens, lengths = world.tokens[rows, which], world.lengths[rows, which]
        codes = world.codes[rows]
        told = network(world.images[rows], tokens, lengths, codes, heard(lengths))
        costs = {}
        for term, log_p in told.items():
            if term == "generate":
                costs[term] = -log_p.mean()
            else:
                costs[term] = -(log_p.sum(dim=1) / (lengths + 1)).mean()
        weight = network.config.weight
        return torch.stack([weight(term) * cost for term, cost in costs.items()]).sum()

    return loss_of


def writer_loss(writer: CodeTransformer) -> Loss:
    """Of a writer of codes without M and F, which reads words by itself."""

    def loss_of(world: World, rows: Tensor, which: Tensor) -> Tensor:
        lengths = heard(world.lengths[rows, which])
        told = writer.told(world.tokens[rows, which], lengths)
        return -codes_log_p(writer, told, world.codes[rows]).mean()

    return loss_of


# ---------------------------------------------------------------------------- measuring


@torch.no_grad()
def weigh(
    world: World, network: JointNetwork | None, writer: CodeTransformer | None
) -> dict[str, Tensor]:
    """log p of all 4 P pairs by a model, of each kind that it has, (4 P,) nats.

    Args:
        world: whose pairs.
        network: a joint one, or a captioner; None: only the writer is asked.
        writer: one without M and F; None: the network's own, if it has one.
    """
    found: dict[str, list[Tensor]] = {}
    for images, tokens, lengths, codes in zip(
        *(x.split(240) for x in world.pairs()), strict=True
    ):

        def note(name: str, log_p: Tensor) -> None:
            found.setdefault(name, []).append(log_p.sum(dim=1))

        if network is not None:
            states = network.language(tokens)[:, :-1]
            alone = network.language.words(states)
            # where no term trained it, the words' map alone says nothing
            if network.config.text_weight:
                note("t", caption_log_p(alone, tokens, lengths))
            if network.config.multi_weight:
                seen = network.fusion.look(images)
                added = network.fusion.tell(seen, states)
                note("t | x", caption_log_p(alone + added, tokens, lengths))
        for name, length in (("x | t", lengths), ("x", 0 * lengths)):
            if writer is not None:
                told = writer.told(tokens, length)
                note(name, codes_log_p(writer, told, codes))
            elif network is not None and network.config.generate_weight:
                told = told_by(network, tokens, length)
                note(name, codes_log_p(network.writer, told, codes))
    return {name: torch.cat(parts) for name, parts in found.items()}


@torch.no_grad()
def alone(world: World, network: JointNetwork) -> float:
    """Mean divergence of M from the captions' distribution, nats a caption."""
    tokens, lengths = world.tokens.flatten(0, 1), world.lengths.flatten()
    logits = network.language.words(network.language(tokens)[:, :-1])
    told = caption_log_p(logits, tokens, lengths).sum(dim=1)
    return (world.log_p()["t"] - told).mean().item()


def divergences(world: World, told: Mapping[str, Tensor]) -> dict[str, float]:
    """Exact KL of the truth from a model, nats a caption or a picture."""
    truth = world.log_p()
    return {name: (truth[name] - nats).mean().item() for name, nats in told.items()}


@torch.no_grad()
def drawn(
    world: World, network: JointNetwork | None, writer: CodeTransformer | None
) -> dict[str, Proportion]:
    """Of drawn pictures and captions those that are right, in each direction.

    Each of the P pictures is described once, and each in turn gives one of its captions
    to paint; "both" are captions of M and pictures of these. A picture is right if it
    is, code for code, one that fits.
    """
    count, longest = len(world.scenes), world.max_tokens
    noise = seeded_noise(count, longest + SIDE**2, 0)
    which = torch.arange(count) % 4
    tokens = world.tokens[torch.arange(count), which]
    found: dict[str, Proportion] = {}
    anything = Choice(temperature=1.0)

    def fits(said: Tensor, codes: Tensor) -> Proportion:
        row = (codes[:, None] == world.codes).all(dim=2)  # (P, P): which picture it is
        same = (said[:, None] == world.tokens.flatten(0, 1)).all(dim=2)  # (P, 4 P)
        first = same.float().argmax(dim=1)  # of equal captions any
        right = (world.true[first] & row).any(dim=1) & same.any(dim=1)
        return Proportion(int(right.sum()), count)

    def paint(words: Tensor) -> Tensor:
        lengths = (words != 0).sum(dim=1)
        if writer is not None:
            return write_codes(writer, writer.told(words, lengths), noise[:, longest:])
        assert network is not None
        told = told_by(network, words, lengths)
        return write_codes(network.writer, told, noise[:, longest:])

    writes = network is not None and network.config.generate_weight > 0
    if writer is not None or writes:
        found["text to picture"] = fits(tokens, paint(tokens))
    if network is not None and network.config.multi_weight:
        captioner = PictureWriter(network.language, network.fusion, world.vocabulary)
        seen = network.fusion.look(world.images)
        said = captioner.write(seen, "en", longest, noise[:, :longest], anything)
        found["picture to text"] = fits(said, world.codes)
    if network is not None and writes and network.config.text_weight:
        like = torch.empty(count, 1)
        said = network.language.write(like, "en", longest, noise[:, :longest], anything)
        found["both"] = fits(said, paint(said))
    return found


def write_codes(writer: Any, told: Any, noise: Tensor) -> Tensor:
    """Codes (B, N), drawn one after the other; noise as for ``choose``."""
    table, weights = writer.table(), writer.weights()
    pieces = torch.full_like(noise, writer.codes, dtype=torch.int64)
    codes = torch.zeros_like(pieces)
    for i in range(noise.shape[1]):
        logits = writer.tell(told, pieces, (table, weights))[:, i]
        codes[:, i] = choose(logits.softmax(dim=1), noise[:, i])
        pieces[:, i + 1 : i + 2] = codes[:, i : i + 1]
    return codes


def measured(
    world: World, network: JointNetwork | None, writer: CodeTransformer | None = None
) -> dict[str, Any]:
    """Everything that can be asked of a model, or of two separate ones."""
    told = weigh(world, network, writer)
    result: dict[str, Any] = {"divergence": divergences(world, told)}
    if len(told) == 4:  # two ways to the probability of a pair
        one, other = told["t"] + told["x | t"], told["x"] + told["t | x"]
        result["disagreement"] = (one - other).abs().mean().item()
    result["right"] = {k: v.to_json() for k, v in drawn(world, network, writer).items()}
    return result


# --------------------------------------------------------------------------------- runs


def new_network(world: World, seed: int, **changes: Any) -> JointNetwork:
    """A joint network of untrained weights."""
    reproducible(seed)
    config = replace(CONFIG, **changes)
    return JointNetwork(
        config, world.vocabulary, world.max_tokens, world.codebook, SIDE
    )


def terms(world: World, seed: int, steps: int) -> Iterable[tuple[str, dict[str, Any]]]:
    """All terms, and each of them at weight 0."""
    for left_out in (None, *TERMS):
        changes = {} if left_out is None else {f"{left_out}_weight": 0.0}
        network = new_network(world, seed, **changes)
        seconds = train(world, groups(network, 1.0), joint_loss(network), steps, seed)
        name = "all three" if left_out is None else f"without {left_out}"
        found = measured(world, network.eval())
        yield name, {"cpu_seconds": seconds, **found}


def begin(
    world: World,
    seed: int,
    steps: int,
    first: int,
    rates: Iterable[float],
) -> Iterable[tuple[str, dict[str, Any]]]:
    """M on captions alone first, then together at factors of its learning rate."""
    captions = new_network(world, seed, multi_weight=0.0, generate_weight=0.0)
    train(world, groups(captions, 1.0), joint_loss(captions), first, seed)
    before = alone(world, captions)
    learned = copy.deepcopy(captions.language.state_dict())
    for weight in (1.0, 0.0):
        for rate in rates:
            network = new_network(world, seed, text_weight=weight)
            network.language.load_state_dict(learned)
            parts = groups(network, rate)
            train(world, parts, joint_loss(network), steps, seed)
            found = measured(world, network.eval())
            name = f"rate {rate:g}, {'with' if weight else 'without'} text"
            now = alone(world, network)
            yield name, {"captions_before": before, "captions_after": now, **found}


def apart(
    world: World, seed: int, seconds: float, probe: int = 20
) -> Iterable[tuple[str, dict[str, Any]]]:
    """A captioner and a writer of codes, for as many steps each.

    Args:
        world, seed: as for ``train``.
        seconds: of CPU for both together.
        probe: steps that are timed, to know how many fit.
    """

    def both() -> tuple[JointNetwork, CodeTransformer]:
        network = new_network(world, seed, text_weight=0.0, generate_weight=0.0)
        sizes = {size.name: getattr(CONFIG, size.name) for size in fields(ARConfig)}
        writer = CodeTransformer(
            ARConfig(**sizes),
            len(world.vocabulary),
            world.max_tokens,
            world.codebook,
            SIDE,
            causal=True,
        )
        return network, writer

    def spent(network: JointNetwork, writer: CodeTransformer, steps: int) -> float:
        one = train(world, groups(network, 1.0), joint_loss(network), steps, seed)
        whole = [{"params": list(writer.parameters()), "lr": RATE}]
        return one + train(world, whole, writer_loss(writer), steps, seed)

    steps = max(round(seconds / spent(*both(), probe) * probe), 1)
    network, writer = both()
    took = spent(network, writer, steps)
    found = measured(world, network.eval(), writer.eval())
    yield "two models", {"cpu_seconds": took, "steps": steps, **found}


# ------------------------------------------------------------------------------- report


def row_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, with the least and most; proportions pooled."""

    def mean(values: list[float]) -> dict[str, float]:
        middle = sum(values) / len(values)
        return {"mean": middle, "least": min(values), "most": max(values)}

    first = runs[0]
    row: dict[str, Any] = {}
    for key, value in first.items():
        if isinstance(value, int | float) and key != "seed":
            row[key] = mean([run[key] for run in runs])
    row["divergence"] = {
        name: mean([run["divergence"][name] for run in runs])
        for name in first["divergence"]
    }
    row["right"] = {name: together(runs, "right", name) for name in first["right"]}
    return row


def report(
    world: World, runs: list[dict[str, Any]], given: argparse.Namespace
) -> dict[str, Any]:
    """All runs so far, and a row of each kind."""
    rows: dict[str, dict[str, Any]] = {}
    for run in runs:
        same = [r for r in runs if (r["part"], r["name"]) == (run["part"], run["name"])]
        rows.setdefault(run["part"], {}).setdefault(run["name"], row_of(same))
    return {
        "seeds": len(given.seeds),
        "steps": {"joint": given.steps, "captions": given.first},
        "threads": torch.get_num_threads(),
        "pictures": len(world.scenes),
        "captions": len(set(world.texts)),
        "entropies": {k: -v.mean().item() for k, v in world.log_p().items()},
        "rows": rows,
        "runs": runs,
    }


def main() -> None:
    """Train and measure all from all seeds, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--first", type=int, default=300, help="on captions alone")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.1, 1.0])
    given = parser.parse_args()
    torch.set_num_threads(1)
    world = World.of()
    runs: list[dict[str, Any]] = []

    def note(part: str, seed: int, name: str, found: dict[str, Any]) -> None:
        runs.append({"part": part, "seed": seed, "name": name, **found})
        nats = "  ".join(f"{k} {v:.3f}" for k, v in found["divergence"].items())
        shares = "  ".join(f"{k} {v['value']:.3f}" for k, v in found["right"].items())
        print(f"seed {seed}  {part} {name:24} {nats}  right: {shares}", flush=True)
        timing.write("joint", report(world, runs, given), torch.device("cpu"))

    for seed in given.seeds:
        seconds = 0.0
        for name, found in terms(world, seed, given.steps):
            note("terms", seed, name, found)
            seconds = seconds or found["cpu_seconds"]  # of all three, the first
        for name, found in begin(world, seed, given.steps, given.first, given.rates):
            note("begin", seed, name, found)
        for name, found in apart(world, seed, seconds):
            note("apart", seed, name, found)


if __name__ == "__main__":
    main()
