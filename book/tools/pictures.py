"""Draw the book's own pictures: logo, favicon, landing page, data pages, casebook.

    python book/tools/pictures.py

Everything is made by the package: pictures of scenes by ``mmgen.data``, grids by
``mmgen.explore``. The results are committed, so that building the book draws nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from execute import few_colours
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the benchmarks

from benchmarks import agreement, casebook
from mmgen import explore
from mmgen.data import load_dataset
from mmgen.data.shapes import (
    NOT_SHOWN,
    Object,
    Scene,
    describe,
    judge,
    language_of,
    parse,
    read,
    reasons,
    render,
)
from mmgen.explore.digests import digest
from mmgen.metrics.coherence import pair_coherence
from mmgen.pretrained import load

BOOK = Path(__file__).resolve().parents[1]
FIGURES = BOOK / "figures"
LOGOS = BOOK / "_static"

# A star is described by its ten points; the rest of the mark is a circle and a square.
LOGO = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 64" role="img" \
aria-label="{label}">
<rect x="3" y="3" width="58" height="58" rx="14" fill="#fbfaf6" stroke="#0072b2" \
stroke-width="3"/>
<circle cx="24" cy="25" r="12" fill="#0072b2"/>
<rect x="31" y="31" width="20" height="20" rx="3" fill="#d55e00" opacity="0.92"/>
<path d="M45 9l2.6 5.4 5.9.8-4.3 4.1 1 5.9-5.2-2.8-5.2 2.8 1-5.9-4.3-4.1 5.9-.8z" \
fill="#009e73"/>
<path d="M13 46h12M13 52h8" stroke="#26262b" stroke-width="3" stroke-linecap="round"/>
{words}</svg>
"""
WORDS = """\
<style>text{{font:600 18px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;\
fill:{ink}}}</style>
<text x="74" y="28">Multimodal</text>
<text x="74" y="51">Generation</text>
"""

# what each caption of the landing page demands, drawn: (shape, colour, size, x, y)
LANDING = {
    "a large red star left of a small blue circle": (
        "white",
        [("star", "red", "large", 0.3, 0.5), ("circle", "blue", "small", 0.74, 0.55)],
    ),
    "three small green hearts": (
        "beige",
        [
            ("heart", "green", "small", 0.25, 0.3),
            ("heart", "green", "small", 0.7, 0.4),
            ("heart", "green", "small", 0.45, 0.75),
        ],
    ),
    "一个黄色的三角形在右上角": ("gray", [("triangle", "yellow", "large", 0.72, 0.3)]),
    "a purple square above an orange cross": (
        "light blue",
        [
            ("square", "purple", "large", 0.5, 0.27),
            ("cross", "orange", "large", 0.48, 0.73),
        ],
    ),
    "two large pink circles on a light blue background": (
        "light blue",
        [
            ("circle", "pink", "large", 0.28, 0.36),
            ("circle", "pink", "large", 0.7, 0.66),
        ],
    ),
    "一颗蓝色的星星和一个黑色的正方形": (
        "white",
        [("star", "blue", "large", 0.7, 0.3), ("square", "black", "small", 0.28, 0.68)],
    ),
}


def draw_logos() -> None:
    """The mark alone, and with the book's name for light and for dark pages."""
    mark = LOGO.format(width=64, label="Multimodal Generation", words="")
    (LOGOS / "favicon.svg").write_text(mark, "utf-8")
    for name, ink in (("logo", "#26262b"), ("logo-dark", "#f0eee6")):
        words = WORDS.format(ink=ink)
        logo = LOGO.format(width=200, label="Multimodal Generation", words=words)
        (LOGOS / f"{name}.svg").write_text(logo, "utf-8")


def save(
    figure: Figure, name: str, dpi: int = 150, few: bool = True, varies: bool = False
) -> None:
    """Write a figure as a PNG, of few colours if that turns no soft shades to steps.

    What it plots is written into the file in rounded numbers, for the test that draws
    it again.
    """
    path = FIGURES / name
    plotted = PngInfo()
    plotted.add_text("Description", digest(figure, varies))
    figure.savefig(path, dpi=dpi, metadata={"Software": None})
    with Image.open(path) as picture:
        small = few_colours(picture) if few else picture.convert("RGB")
    small.save(path, optimize=True, pnginfo=plotted)


def draw_landing() -> None:
    """Captions and one scene that each of them demands."""
    scenes = [
        Scene(tuple(Object(*row) for row in rows), background)
        for background, rows in LANDING.values()
    ]
    grid = explore.image_grid(render(scenes, 128), list(LANDING), columns=3, tile=1.9)
    save(grid, "landing.png")


def draw_data() -> None:
    """What the two data sets hold."""
    shapes = load_dataset("shapes", "test", 128, language="both")
    batch = shapes.batch(range(10))
    save(explore.image_grid(batch.images, batch.captions, columns=5), "shapes.png")
    scene = shapes.scenes[4]
    paraphrases = [describe(scene, "en", rng=i) for i in range(3)]
    paraphrases += [describe(scene, "zh", rng=i) for i in range(3)]
    picture = render([scene] * 6, 128)
    save(explore.image_grid(picture, paraphrases, columns=6), "paraphrases.png")

    emoji = load_dataset("emoji", "train", 64, language="both")
    rows = torch.linspace(0, len(emoji) - 1, 14).long()
    batch = emoji.batch(rows)
    save(explore.image_grid(batch.images, batch.captions, columns=7), "emoji.png")


# Pictures that people labelled, by number: each kind of verdict, real and drawn.
JUDGED = (4, 43, 150, 30, 118, 90, 131, 72, 59, 47, 116, 115, 38, 177, 110, 163, 41, 32)
SHORTER = {
    "something else is left over": "something is left over",
    "hardly anything of the picture is explained": "hardly anything is explained",
}


def draw_evidence() -> None:
    """Labelled pictures with their verdicts."""
    images, labels = agreement.judged()
    chosen = images[list(JUDGED)]
    readings = read(chosen)
    words = []
    for number, scene, seen in zip(
        JUDGED, readings.scenes, readings.evidence, strict=True
    ):
        caption = labels[number]["caption"]
        found = reasons(verdict := judge(parse(caption), scene, seen), seen)
        if all(verdict.values()):
            words.append(f"{caption}: RIGHT")
            continue
        name = next((name for name in found if name != "count"), "count")
        why = found[name]
        kind = "WRONG" if why == NOT_SHOWN else "NOT RECOGNISABLE"
        why = f"{name} {why}" if why == NOT_SHOWN else SHORTER.get(why, why)
        words.append(f"{caption}: {kind}, {why}")
    save(
        explore.image_grid(chosen, words, columns=6, tile=1.75),
        "evidence.png",
        110,
        few=False,
    )


def draw_spoilt() -> None:
    """Pictures that are spoilt more and more, and the share called right."""
    stored = BOOK.parent / "results/benchmarks/agreement.json"
    curves = json.loads(stored.read_text(encoding="utf-8"))["spoilt"]
    shown = 6
    figure, axes = explore.new_figure(
        len(curves), shown + 1, width=9.2, height=1.36 * len(curves)
    )
    for line, (name, curve) in zip(axes, curves.items(), strict=True):
        spoil = agreement.SPOILS[name]
        table, captions = agreement.scenes_for(spoil)
        row, amounts = 4, np.array(curve["amounts"])
        few = amounts[np.linspace(0, len(amounts) - 1, shown).round().astype(int)]
        for place, amount in zip(line, few, strict=False):
            images = spoil.apply(table[np.arange(8)], float(amount))
            right = agreement.measured(images[row : row + 1], captions[row : row + 1])[
                0
            ]
            place.imshow(((images[row] + 1) / 2).clamp(0, 1).permute(1, 2, 0))
            place.set_xticks([])
            place.set_yticks([])
            place.set_xlabel(f"{amount:g}: {'right' if right else 'wrong'}", fontsize=8)
        line[0].set_ylabel(name, fontsize=9)
        last = line[-1]
        last.plot(amounts, curve["passed"]["measure"], color=explore.PALETTE[0])
        last.plot(
            amounts, curve["passed"]["explained"], color=explore.PALETTE[1], ls="--"
        )
        last.set_ylim(-0.05, 1.05)
        last.set_yticks([0, 0.5, 1])
        last.yaxis.tick_right()
        last.set_xlabel(curve["unit"], fontsize=7)
        last.tick_params(labelsize=7)
    save(figure, "spoilt.png", 110, few=False)


def draw_runaway() -> None:
    """The discriminators' loss of five trainings that ran away."""
    stored = BOOK.parent / "results/attngan-runaway.json"
    runs = json.loads(stored.read_text(encoding="utf-8"))["runs"]
    figure, axis = explore.new_figure(width=4.8, height=3.6)
    for i, run in enumerate(runs):
        rows = [row for row in run["history"] if row["step"] >= 250]
        steps = [row["step"] + run["after"] for row in rows]
        losses = np.array([row["discriminator/loss"] for row in rows])
        axis.plot(
            steps,
            losses / min(row["discriminator/loss"] for row in run["history"]),
            color=explore.PALETTE[i],
            linestyle=("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))[i],
            label=f"run {i + 1}",
        )
    axis.set(yscale="log", ylim=(0.8, 300), xlabel="training step")
    axis.set_ylabel("discriminators' loss / its lowest")
    axis.legend(frameon=False)
    save(figure, "casebook-runaway.png", 200)


def draw_one_picture() -> None:
    """One caption, six noises, three models."""
    models = {"AttnGAN": "attngan", "CGAN": "cgan", "VAE": "cvae"}
    figure, axes = explore.new_figure(len(models), 6, width=4.8, height=2.5)
    for line, (name, method) in zip(axes, models.items(), strict=True):
        drawn = load(f"{method}-shapes64").sample(["a red circle"] * 6, seed=1)
        for place, picture in zip(line, drawn, strict=True):
            pixels = ((picture + 1) / 2).clamp(0, 1).permute(1, 2, 0)
            place.imshow(pixels, interpolation="nearest")
            place.set(xticks=[], yticks=[])
            place.spines[:].set(visible=True, color="#d9d7cf", linewidth=0.6)
        line[0].set_ylabel(name, fontsize=10)
    save(figure, "casebook-one-picture.png", 200, few=False)


def draw_pairs_of_the_prior() -> None:
    """Pictures and captions of the same codes, from the prior of the bound."""
    speaker = load("mvae-shapes64")
    generator = torch.Generator().manual_seed(7)
    model, count = speaker.model, 9
    with torch.no_grad():
        noise = torch.randn(count, model.prior.noise_dim, generator=generator)
        z = model.prior.sample(noise)
        styles = torch.randn(count, 2 * speaker.config.style_dim, generator=generator)
        pictures = model.decode(z, styles)
        written = model.captions.write(z, "en", speaker.max_tokens)
    captions = speaker.vocabulary.decode(written)
    verdicts = pair_coherence(pictures, captions).verdicts
    words = [
        f"{caption}: {'RIGHT' if right else 'WRONG'}"
        for caption, right in zip(captions, verdicts, strict=True)
    ]
    grid = explore.image_grid(pictures, words, columns=3, tile=1.1)
    save(grid, "casebook-pairs.png", 200, few=False)


def draw_climbed() -> None:
    """Noise that has climbed a matcher's score."""
    batch, _, after = casebook.climbers(steps=60)
    rows = [i for i, each in enumerate(batch.captions) if language_of(each) == "en"][:6]
    captions = [batch.captions[i] for i in rows]
    grid = explore.image_grid(after[rows], captions, columns=3, tile=1.1)
    save(grid, "casebook-climbed.png", 200, few=False, varies=True)


def draw_casebook() -> None:
    """Figures of the casebook's stories."""
    draw_runaway()
    draw_one_picture()
    draw_pairs_of_the_prior()
    draw_climbed()


def draw_all() -> None:
    """Everything that is committed."""
    FIGURES.mkdir(exist_ok=True)
    draw_logos()
    draw_landing()
    draw_data()
    draw_evidence()
    draw_spoilt()
    draw_casebook()


if __name__ == "__main__":
    draw_all()
