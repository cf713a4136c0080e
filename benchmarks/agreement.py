"""Shapes: how often the measure and people agree, and where each fault turns a verdict.

    python -m benchmarks.agreement [--pictures FOLDER]

Prints the tables and writes ``results/benchmarks/agreement.json``. Three questions:

* Do people agree? 216 pictures, real, spoilt, and drawn by networks, with captions and
  two careful labels each (``tests/data/judged``): yes, no or borderline.
* Where do verdicts turn? Real renders are spoilt more and more, in eight ways.
* Can the measure be gamed? Pictures are searched for that it calls right.

Each is answered for the measure and, as "explained", for its first step alone: the
scene that explains a picture best, believed if it explains half of it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.utils import make_grid, save_image

from benchmarks.timing import write
from mmgen.data.shapes import (
    COLOURS,
    Scene,
    SceneTable,
    describe,
    explain,
    judge,
    palettes,
    parse,
    read,
    render,
    sample_scenes,
)
from mmgen.data.shapes import evidence as limits
from mmgen.data.shapes.drawing import coverage
from mmgen.metrics.interval import Proportion

JUDGED = Path(__file__).parent.parent / "tests/data/judged"
SEED = 1_000_003  # of no data set
PICTURES = 100  # for each severity
SIZE = 64


def measured(images: Tensor, captions: Sequence[str]) -> list[bool]:
    """Whether the measure finds each picture right."""
    readings = read(images)
    return [
        all(judge(parse(caption), scene, evidence).values())
        for caption, scene, evidence in zip(
            captions, readings.scenes, readings.evidence, strict=True
        )
    ]


def explained(images: Tensor, captions: Sequence[str]) -> list[bool]:
    """The same by the first step alone, believed where it explains half a picture."""
    scenes, confidence = explain(images)
    return [
        share >= 0.5 and all(judge(parse(caption), scene).values())
        for caption, scene, share in zip(
            captions, scenes, confidence.tolist(), strict=True
        )
    ]


WAYS = {"measure": measured, "explained": explained}


# Do people agree?


def judged() -> tuple[Tensor, list[dict[str, Any]]]:
    """The pictures (N, 3, 64, 64) in [-1, 1], and what people said of them."""
    with np.load(JUDGED / "pictures.npz") as stored:
        images = torch.from_numpy(stored["images"]).float() / 127.5 - 1
    return images, json.loads((JUDGED / "labels.json").read_text(encoding="utf-8"))


def people() -> dict[str, Any]:
    """Agreement with two people's labels, whole and by where pictures come from."""
    images, labels = judged()
    captions = [label["caption"] for label in labels]
    said = [label["first"][0] + label["second"][0] for label in labels]
    same = Proportion(sum(a == b for a, b in said), len(said))
    clear = [i for i, pair in enumerate(said) if pair in ("YY", "NN")]
    results: dict[str, Any] = {
        "pictures": len(labels),
        "people_with_each_other": same.to_json(),
        "clear": len(clear),
    }
    print(f"people with each other: {same}; clear: {len(clear)} of {len(labels)}")
    for name, way in WAYS.items():
        right = way(images, captions)
        passed, refused = (
            Proportion(
                sum(right[i] != (label == "YY") for i in clear if said[i] == label),
                sum(said[i] == label for i in clear),
            )
            for label in ("NN", "YY")
        )
        agrees = Proportion(
            sum(right[i] == (said[i] == "YY") for i in clear), len(clear)
        )
        results[name] = {
            "agreement": agrees.to_json(),
            "passed_of_no": passed.to_json(),
            "refused_of_yes": refused.to_json(),
            "passed_of_borderline": Proportion(
                sum(right[i] for i in range(len(said)) if i not in clear),
                len(said) - len(clear),
            ).to_json(),
            "by_source": by_source(labels, said, right),
        }
        print(f"{name}: {agrees}; passed of no {passed}; refused of yes {refused}")
    return results


def by_source(
    labels: list[dict[str, Any]], said: list[str], right: list[bool]
) -> dict[str, dict[str, int]]:
    """How many pictures of each source people and the measure call right."""
    table: dict[str, dict[str, int]] = defaultdict(
        lambda: {"yes": 0, "yes passed": 0, "no": 0, "no passed": 0, "borderline": 0}
    )
    for label, pair, passed in zip(labels, said, right, strict=True):
        row = table[label["source"]]
        kind = {"YY": "yes", "NN": "no"}.get(pair, "borderline")
        row[kind] += 1
        if kind != "borderline" and passed:
            row[f"{kind} passed"] += 1
    return dict(sorted(table.items()))


# Where do verdicts turn?


def spoil_blend(table: SceneTable, share: float, seed: int = SEED) -> Tensor:
    """The same share of the picture of another caption over each."""
    images = render(table, SIZE)
    other = images.roll(1 + (seed - SEED) % (len(images) - 1), 0)
    return images + share * (other - images)


def spoil_noise(table: SceneTable, share: float, seed: int = SEED) -> Tensor:
    """Objects' colours give way to a colour by lot in every pixel."""
    images = render(table, SIZE)
    alpha = coverage(torch.from_numpy(table.codes).long(), SIZE).sum(1, keepdim=True)
    grain = torch.rand(images.shape, generator=seeded(seed)) * 2 - 1
    return images + share * alpha * (grain - images)


def spoil_outline(table: SceneTable, pixels: float, seed: int = SEED) -> Tensor:
    """Every point moves by a smooth random field of this deviation."""
    images = render(table, SIZE)
    coarse = torch.randn(len(images), 2, 16, 16, generator=seeded(seed))
    field = functional.interpolate(coarse, SIZE, mode="bicubic", align_corners=False)
    field = field / field.std() * pixels * 2 / SIZE
    still = functional.affine_grid(
        torch.eye(2, 3).expand(len(images), -1, -1), list(images.shape), False
    )
    grid = still + field.permute(0, 2, 3, 1)
    return functional.grid_sample(
        images, grid, align_corners=False, padding_mode="border"
    )


def spoil_ghost(table: SceneTable, strength: float, seed: int = SEED) -> Tensor:
    """The first object as it is, the second as strongly as this."""
    alone = table.codes.copy()
    alone[:, 1:, 0] = -1
    images = render(SceneTable(alone, table.backgrounds, table.mentions), SIZE)
    return images + strength * (render(table, SIZE) - images)


def spoil_hue(table: SceneTable, degrees: float, seed: int = SEED) -> Tensor:
    """Hues turned, lightness and saturation kept."""
    return turn_hue(render(table, SIZE), degrees)


def turn_hue(images: Tensor, degrees: float) -> Tensor:
    """Pictures with their hues turned about the grey axis of RGB."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    third, root = (1 - cos) / 3, sin / math.sqrt(3)
    turn = torch.tensor(
        [
            [cos + third, third - root, third + root],
            [third + root, cos + third, third - root],
            [third - root, third + root, cos + third],
        ]
    )
    return torch.einsum("ij,bjhw->bihw", turn, images).clamp(-1, 1)


def spoil_size(table: SceneTable, ratio: float, seed: int = SEED) -> Tensor:
    """Objects drawn with radii between their size (0) and the other one (1)."""
    fine = 256
    codes = torch.from_numpy(table.codes[:, :1]).long()
    radius = torch.tensor([50.0, 82.0])
    own = radius[codes[:, 0, 2]]
    other = radius[1 - codes[:, 0, 2]]
    wanted = own * (other / own) ** ratio
    codes[..., 2] = 1  # the large one, shrunk
    alpha = coverage(codes, fine)
    centre = codes[:, 0, 3:].float() / 256 - 1
    scale = 82 / wanted
    theta = torch.zeros(len(codes), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = centre * (1 - scale[:, None])
    grid = functional.affine_grid(theta, list(alpha.shape), False)
    alpha = functional.grid_sample(alpha, grid, align_corners=False)
    alpha = functional.avg_pool2d(alpha, fine // SIZE)
    colours, grounds = palettes()
    ground = grounds[torch.from_numpy(table.backgrounds).long()][..., None, None]
    colour = colours[codes[:, 0, 1]][..., None, None]
    return ground + alpha * (colour - ground)


def spoil_blur(table: SceneTable, pixels: float, seed: int = SEED) -> Tensor:
    """Blurred by a Gaussian."""
    images = render(table, SIZE)
    if not pixels:
        return images
    steps = torch.arange(-24, 25)
    line = torch.exp(-steps.square() / (2 * pixels**2))
    line = (line / line.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(images, (24, 24, 24, 24), mode="replicate")
    across = functional.conv2d(padded, line, groups=3)
    return functional.conv2d(across, line.transpose(2, 3), groups=3)


def spoil_grain(table: SceneTable, sigma: float, seed: int = SEED) -> Tensor:
    """White noise over the whole picture, cut off at the ends of the range."""
    images = render(table, SIZE)
    grain = torch.randn(images.shape, generator=seeded(seed))
    return (images + sigma * grain).clamp(-1, 1)


def seeded(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Spoil:
    """A way to spoil pictures more and more."""

    apply: Callable[[SceneTable, float, int], Tensor]
    unit: str
    amounts: tuple[float, ...]
    objects: tuple[int, ...] = (1, 2)
    asked: int = 2  # objects that the caption names, at most


SPOILS = {
    "blend": Spoil(
        spoil_blend,
        "share of another picture",
        (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0),
        (1,),
    ),
    "coloured noise": Spoil(
        spoil_noise,
        "share of noise in objects",
        (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
    ),
    "outline": Spoil(
        spoil_outline,
        "displacement, pixels of 64",
        (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0),
    ),
    "ghost": Spoil(
        spoil_ghost,
        "strength of one object more",
        (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0),
        (2,),
        asked=1,
    ),
    "hue": Spoil(
        spoil_hue, "degrees", (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 90.0, 120.0)
    ),
    "size": Spoil(
        spoil_size,
        "way to the other size",
        (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
        (1,),
    ),
    "blur": Spoil(
        spoil_blur,
        "standard deviation, pixels of 64",
        (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0),
    ),
    "grain": Spoil(
        spoil_grain,
        "standard deviation, of [-1, 1]",
        (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0),
    ),
}
# The hue of black cannot be turned; what is black stays so.
HUED = tuple(i for i, name in enumerate(COLOURS) if name != "black")


def scenes_for(spoil: Spoil) -> tuple[SceneTable, list[str]]:
    """Scenes to spoil, and captions that tell their colours and sizes."""
    table = sample_scenes(8 * PICTURES, seed=SEED + 3, objects=spoil.objects)
    if spoil.apply is spoil_hue:
        colours = np.where(table.codes[..., 0] >= 0, table.codes[..., 1], HUED[0])
        table = table[np.isin(colours, HUED).all(axis=1)]
    table = table[np.arange(PICTURES)]
    told = [
        Scene(scene.objects[: spoil.asked], scene.background, ("colour", "size"))
        for scene in table
    ]
    return table, [describe(scene, rng=i) for i, scene in enumerate(told)]


def turning() -> dict[str, Any]:
    """The share called right against how much pictures are spoilt."""
    results = {}
    for name, spoil in SPOILS.items():
        table, captions = scenes_for(spoil)
        shares: dict[str, list[float]] = {way: [] for way in WAYS}
        for amount in spoil.amounts:
            images = spoil.apply(table, amount)
            for way, decide in WAYS.items():
                right = decide(images, captions)
                shares[way].append(sum(right) / len(right))
        results[name] = {
            "unit": spoil.unit,
            "amounts": spoil.amounts,
            "pictures": len(captions),
            "passed": shares,
        }
        print(f"{name} ({spoil.unit})")
        print("   amount    " + " ".join(f"{a:5g}" for a in spoil.amounts))
        for way, row in shares.items():
            print(f"   {way:9} " + " ".join(f"{share:5.2f}" for share in row))
    return results


# Can the measure be gamed?

GAMED = 24  # pictures in each attack
LUCK = 64  # spoilt pictures of each, of which the luckiest counts
ROUNDS = 80  # of the search
TRIES = 8  # pictures tried in a round, each
STEPS = tuple(step / 20 for step in range(21))
# Amounts at which no careful person says yes.
HOPELESS = {"outline": 3.0, "coloured noise": 0.8, "blend": 0.5}


def descent(start: Tensor, target: Tensor, share: float) -> Tensor:
    """What gradient descent makes of a picture, on a surrogate of the first step.

    The surrogate is the squared distance from the caption's render, both averaged to
    32 pixels, where the first step looks. Its gradient leaves finer detail alone, so
    that descent moves along a line; this is the picture after ``share`` of the way.
    """
    off = functional.avg_pool2d(target - start, SIZE // 32)
    step = functional.interpolate(off, scale_factor=SIZE / 32)
    return (start + share * step).clamp(-1, 1)


def descend(
    start: Tensor, target: Tensor, captions: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """How many pictures are called right on the way, and how soon."""
    reached = {way: torch.full((len(start),), torch.nan) for way in WAYS}
    for share in STEPS:
        images = descent(start, target, share)
        for way, decide in WAYS.items():
            new = torch.tensor(decide(images, captions)) & reached[way].isnan()
            reached[way][new] = share
    return {
        way: {
            **Proportion(int((~shares.isnan()).sum()), len(start)).to_json(),
            "median_share": shares.nanmedian().item(),
        }
        for way, shares in reached.items()
    }


def luck(name: str) -> tuple[dict[str, Any], Tensor]:
    """Pictures of which one of ``LUCK`` spoilt ones is called right, and those."""
    spoil = SPOILS[name]
    table, captions = scenes_for(spoil)
    table, captions = table[np.arange(GAMED)], captions[:GAMED]
    lucky = {way: torch.zeros(GAMED, dtype=torch.bool) for way in WAYS}
    through = []
    for seed in range(LUCK):
        # another seed, and another neighbour in a blend
        images = spoil.apply(table, HOPELESS[name], SEED + seed)
        for way, decide in WAYS.items():
            right = torch.tensor(decide(images, captions))
            if way == "measure":
                through.append(images[right])
            lucky[way] |= right
    return (
        {way: Proportion(int(r.sum()), GAMED).to_json() for way, r in lucky.items()},
        torch.cat(through),
    )


def score(way: str, images: Tensor, captions: Sequence[str]) -> list[float]:
    """What the search climbs: demands met, and how little is missing."""
    if way == "explained":
        scenes, confidence = explain(images)
        return [
            mean(judge(parse(caption), scene).values()) + share
            for caption, scene, share in zip(
                captions, scenes, confidence.tolist(), strict=True
            )
        ]
    readings = read(images)
    values = []
    for caption, scene, seen in zip(
        captions, readings.scenes, readings.evidence, strict=True
    ):
        verdict = judge(parse(caption), scene, seen)
        nearest = judge(parse(caption), scene)
        excess = math.log1p(seen.left_over / limits.LEFT_OVER)
        for thing in seen.objects:
            excess += thing.shape.distance / limits.LEAST_ALIKE
            excess += thing.colour.distance / limits.UNNAMED
            excess += thing.spread / limits.MANY_COLOURS
        excess /= 1 + len(seen.objects)
        values.append(mean(verdict.values()) + mean(nearest.values()) - 0.2 * excess)
    return values


def search(way: str, images: Tensor, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Climb by random changes until the way calls pictures right.

    Changes are soft blobs of any colour, place and width. Returns the pictures, and
    which are called right.
    """
    generator = seeded()
    best = images.clone()
    values = torch.tensor(score(way, best, captions))
    done = torch.tensor(WAYS[way](best, captions))
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    for _ in range(ROUNDS):
        rows = (~done).nonzero()[:, 0].repeat_interleave(TRIES)
        if not len(rows):
            break
        x, y, width = torch.rand(3, len(rows), 1, generator=generator)
        width = 0.015 + 0.2 * width.square()
        across = torch.exp(-(axis - x).square() / (2 * width**2))
        down = torch.exp(-(axis - y).square() / (2 * width**2))
        colour = torch.rand(len(rows), 3, 1, 1, generator=generator) * 2 - 1
        alpha = (down[:, :, None] * across[:, None])[:, None]
        alpha = alpha * torch.rand(len(rows), 1, 1, 1, generator=generator)
        tried = best[rows] + alpha * (colour - best[rows])
        asked = [captions[row] for row in rows.tolist()]
        reached = torch.tensor(score(way, tried, asked)).view(-1, TRIES)
        top = reached.argmax(dim=1)
        chosen = torch.arange(len(top)) * TRIES + top
        better = reached.gather(1, top[:, None])[:, 0] > values[rows[chosen]]
        chosen = chosen[better]
        best[rows[chosen]], values[rows[chosen]] = (
            tried[chosen],
            reached.flatten()[chosen],
        )
        done[rows[chosen]] = torch.tensor(
            WAYS[way](tried[chosen], [captions[r] for r in rows[chosen].tolist()]),
            dtype=torch.bool,
        )
    return best, done


def gaming() -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Share of pictures that are made to pass, and pictures that did."""
    table = sample_scenes(GAMED, seed=SEED + 5, objects=(1, 2))
    told = [replace(scene, mentions=("colour",)) for scene in table]
    captions = [describe(scene, rng=i) for i, scene in enumerate(told)]
    target = render(table, SIZE)
    results: dict[str, Any] = {}
    pictures: dict[str, Tensor] = {}
    starts = {
        "noise": torch.rand(target.shape, generator=seeded()) * 2 - 1,
        "another caption's picture": target.roll(1, 0),
    }
    for name, start in starts.items():
        results[f"gradient descent from {name}"] = descend(start, target, captions)
    for name in HOPELESS:
        key = f"best of {LUCK}: {name}, {HOPELESS[name]:g}"
        results[key], pictures[key] = luck(name)
    ragged = spoil_outline(table, HOPELESS["outline"])
    key = "search from ragged outlines"
    results[key] = {}
    for way in WAYS:
        found, right = search(way, ragged, captions)
        results[key][way] = Proportion(int(right.sum()), GAMED).to_json()
        pictures[f"{key}, {way}"] = found[right]
    for name, row in results.items():
        print(
            f"{name}: ", {way: round(found["value"], 2) for way, found in row.items()}
        )
    return results, pictures


def mean(values: Iterable[float]) -> float:
    several = list(values)
    return sum(several) / len(several)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--pictures", type=Path, help="folder for the pictures that the search made"
    )
    given = parser.parse_args()
    agreement, curves = people(), turning()
    attacks, pictures = gaming()
    known = {
        name.lower(): value
        for name, value in vars(limits).items()
        if name.isupper() and isinstance(value, int | float)
    }
    results = {
        "limits": known,
        "people": agreement,
        "spoilt": curves,
        "attacks": attacks,
    }
    if given.pictures:
        given.pictures.mkdir(parents=True, exist_ok=True)
        for name, images in pictures.items():
            if not len(images):
                continue
            sheet = make_grid(images, nrow=12, normalize=True, value_range=(-1, 1))
            save_image(sheet, given.pictures / f"{name.replace(' ', '-')}.png")
    print(f"written to {write('agreement', results, 'cpu')}")


if __name__ == "__main__":
    main()
