"""What the stories of the casebook can still measure: six short tests.

``python -m benchmarks.casebook [NAME …]`` prints them and writes
``results/benchmarks/casebook.json``, an entry for each:

* ``wrong captions``: does a matcher prefer a real picture's own caption to one that is
  wrong in one fact?
* ``bag``: can a sum of label scores say which colour belongs to which shape?
* ``words``: what the initial range of word vectors does to a conditional VAE.
* ``priors``: do picture and caption of one code agree, wherever the code comes from?
* ``climb``: pixels that climb a matcher's score.
* ``runaway``: the losses of ``results/attngan-runaway.json`` in short.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import RESULTS, write
from mmgen.data import Batch, Vocabulary, load_dataset
from mmgen.data.shapes import (
    COLOURS,
    Demand,
    Object,
    ObjectDemand,
    Scene,
    describe,
    facts,
    language_of,
    render,
)
from mmgen.data.shapes.demand import OPPOSITE, canonical
from mmgen.data.shapes.hard_negatives import exchanged
from mmgen.layers.mixtures import MixturePrior
from mmgen.layers.text import UNIT_RANGE, TextEncoder
from mmgen.metrics import r_precision, semantic_accuracy
from mmgen.metrics.coherence import PairReport, pair_coherence
from mmgen.metrics.interval import Proportion, pooled
from mmgen.models.damsm import DAMSMMatcher, damsm_losses
from mmgen.models.multimodal_vae import MultimodalVAE, MultimodalVAESampler
from mmgen.models.vae import ConditionalVAEConfig, ConditionalVAETask
from mmgen.objectives.variational import reparameterise
from mmgen.pretrained import load

SLOW = "it trains for minutes"  # so make bench leaves it out
MATCHERS = ("damsm-shapes64", "damsm-shapes64-scorer")


# ------------------------------------------------- captions wrong in one fact

WRONG = ("another colour", "colours exchanged", "shapes exchanged", "relation turned")


def wrong(demand: Demand, kind: str, draw: int) -> Demand | None:
    """The demand with one fact changed, None where it states none of that kind.

    Args:
        demand: of two different objects.
        kind: of ``WRONG``.
        draw: at least 0, picks one of several.
    """
    first, second = demand.objects

    def made(groups: list[ObjectDemand]) -> Demand | None:
        changed = canonical(groups, demand.relation, demand.background)
        return None if changed.id == demand.id else changed

    if kind == "relation turned":
        turned = demand.relation and OPPOSITE[demand.relation]
        return replace(demand, relation=turned) if turned else None
    if first.colour is None or second.colour is None:
        return None
    if kind == "another colour":
        others = [c for c in COLOURS if c not in (first.colour, second.colour)]
        return made([replace(first, colour=others[draw % len(others)]), second])
    name = "colour" if kind == "colours exchanged" else "shape"
    return made(exchanged(first, second, name))


def wrong_captions(count: int = 2000, part: int = 40) -> dict[str, Any]:
    """How often a matcher prefers the right caption, for each kind of wrong ones."""
    pairs = load_dataset(
        "shapes",
        "validation",
        64,
        "both",
        objects=(2,),
        kinds=("position", "binding"),
        size=count,
    ).batch(range(count))
    found: dict[str, Any] = {"scenes": count}
    for name in MATCHERS:
        matcher = load(name)
        found[name] = {}
        for kind in WRONG:
            rows, captions = [], []
            for row, caption in enumerate(pairs.captions):
                changed = wrong(facts(pairs.scenes[row]), kind, row)
                if changed is not None:
                    rows.append(row)
                    captions.append(describe(changed, language_of(caption), row))
            wins = 0
            for start in range(0, len(rows), part):
                some = rows[start : start + part]
                own = [pairs.captions[row] for row in some]
                scores = matcher.scores(
                    pairs.images[some], own + captions[start : start + part]
                )
                right, other = scores.split(len(some), dim=1)
                wins += int((right.diagonal() > other.diagonal()).sum())
            share = Proportion(wins, len(rows))
            found[name][kind] = share.to_json()
            print(f"{name:24}{kind:20}{share}", flush=True)
    return found


# ------------------------------------------------- a sum of label scores


def bag(steps: int = 400, values: int = 6, count: int = 4000) -> dict[str, Any]:
    """Which of two descriptions that exchange colours a sum of label scores prefers.

    The features tell everything: which colour and which shape stand left and right. A
    linear map scores every value of four labels, and learns by the cross-entropy of
    each. Labels list the two objects from left to right, or in either order by lot.
    """
    found = {}
    for order in ("left first", "either first"):
        generator = torch.Generator().manual_seed(0)
        # (count, 4): shape and colour on the left, shape and colour on the right
        world = torch.randint(values, (count, 4), generator=generator)
        different = (world[:, 0] != world[:, 2]) & (world[:, 1] != world[:, 3])
        world = world[different]
        labels = world.clone()
        if order == "either first":
            turned = torch.rand(len(world), generator=generator) < 0.5
            labels[turned] = world[turned][:, [2, 3, 0, 1]]
        features = nn.functional.one_hot(world, values).flatten(1).float()
        half = len(world) // 2
        torch.manual_seed(0)
        scores = nn.Linear(4 * values, 4 * values)
        optimizer = torch.optim.Adam(scores.parameters(), 0.02)
        for _ in range(steps):
            each = scores(features[:half]).unflatten(1, (4, values))
            loss = nn.functional.cross_entropy(each.transpose(1, 2), labels[:half])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            each = scores(features[half:]).unflatten(1, (4, values))

        def total(rows: Tensor, each: Tensor = each) -> Tensor:
            return each.gather(2, rows[..., None]).sum(dim=(1, 2))

        shown = world[half:]
        others = shown[:, [0, 3, 2, 1]]  # the colours have changed places
        share = Proportion(int((total(shown) > total(others)).sum()), len(shown))
        found[order] = share.to_json()
        print(f"labels list {order}: colours told apart in {share}")
    return found


# ------------------------------------------------- the range of word vectors


def small_world(count: int, seed: int) -> tuple[Tensor, list[str]]:
    """Twelve combinations of shape, colour and place, jittered, with captions."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(count, 6, generator=generator).tolist()
    scenes = []
    for shape, colour, place, dx, dy, _ in draws:
        x, y = ((0.28, 0.28), (0.72, 0.72))[int(2 * place)]
        thing = Object(
            ("circle", "cross")[int(2 * shape)],
            ("red", "blue", "green")[int(3 * colour)],
            "large",
            x + 0.06 * (dx - 0.5),
            y + 0.06 * (dy - 0.5),
        )
        scenes.append(Scene((thing,), "white", ("colour", "position")))
    captions = [
        describe(scene, "en", int(4 * row[5]))
        for scene, row in zip(scenes, draws, strict=True)
    ]
    return render(scenes, 32), captions


@torch.no_grad()
def apart(vocabulary: Vocabulary, captions: Sequence[str], word_range: float) -> float:
    """How far fresh sentence features lie apart, as a share of their length."""
    torch.manual_seed(0)
    encoder = TextEncoder(len(vocabulary), 32, 64, dropout=0.0, word_range=word_range)
    sentence = encoder(*vocabulary.encode(list(captions)))[1]
    spread = torch.cdist(sentence, sentence)
    differ = spread[spread > 1e-6]  # of captions that are not the same
    return (differ.mean() / sentence.norm(dim=1).mean()).item()


def words(seeds: int = 3, steps: int = 500) -> dict[str, Any]:
    """A conditional VAE whose words begin faint, and one whose words begin loud."""
    images, captions = small_world(1500, seed=0)
    new_images, new_captions = small_world(200, seed=1)
    vocabulary = Vocabulary.build(captions)
    tokens, lengths = vocabulary.encode(captions)
    new_tokens, new_lengths = vocabulary.encode(new_captions)
    data = SimpleNamespace(
        image_size=32,
        vocabulary=vocabulary,
        max_tokens=tokens.shape[1],
        attributes={},
        synonyms={},
    )
    config = ConditionalVAEConfig(
        latent_dim=8,
        channels=16,
        patch=4,
        hidden_dim=64,
        condition_dim=64,
        embedding_dim=32,
        sigma=0.3,
        learn_sigma=False,
        learning_rate=4e-3,
    )

    def trained(word_range: float, seed: int) -> Any:
        torch.manual_seed(seed)
        task = ConditionalVAETask.build(config, data)
        table = task.networks["cvae"].text.embedding.weight
        nn.init.uniform_(table, -word_range, word_range)
        (optimizer,) = task.optimizers().values()
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, steps, pct_start=0.1
        )
        for index in range(steps):
            rows = torch.randint(len(images), (48,))
            batch = Batch(
                images[rows],
                tokens[rows],
                lengths[rows],
                rows,
                [captions[row] for row in rows.tolist()],
            )
            step = SimpleNamespace(index=index, randn=torch.randn)
            loss = task.training_step(batch, step)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return task.sampler(task.networks)

    ranges = {"faint": 0.1, "loud": UNIT_RANGE}
    found: dict[str, Any] = {
        "steps": steps,
        "apart": {
            name: apart(vocabulary, sorted(set(captions)), each)
            for name, each in ranges.items()
        },
    }
    print(f"features of captions lie apart, of their length: {found['apart']}")
    for name, word_range in ranges.items():
        reports: dict[str, list[PairReport]] = {}
        nats = []
        for seed in range(seeds):
            sampler = trained(word_range, seed)
            model = sampler.model
            with torch.no_grad():
                noise = torch.randn(len(new_images), config.latent_dim)
                seen = model(new_images, new_tokens, new_lengths, None, noise)
                # codes of these pictures, words of the next ones
                z = reparameterise(seen.mu, seen.logvar, noise)
                others = model.condition(new_tokens.roll(1, 0), new_lengths.roll(1, 0))
                mixed = model.decode(z, others)
                drawn = {
                    "reconstructions": (
                        model.likelihood.mean(seen.decoded),
                        new_captions,
                    ),
                    "from words alone": (sampler.sample(new_captions), new_captions),
                    "exchanged, as the code": (mixed, new_captions),
                    "exchanged, as the words": (
                        mixed,
                        new_captions[-1:] + new_captions[:-1],
                    ),
                    # real pictures, held against the captions of the next ones
                    "by chance": (new_images, new_captions[-1:] + new_captions[:-1]),
                }
            nats.append(seen.elbo.kl.mean().item())
            for way, pair in drawn.items():
                reports.setdefault(way, []).append(pair_coherence(*pair))
        found[name] = {
            "nats": sum(nats) / len(nats),
            **{
                way: {
                    "overall": pooled([r.overall for r in each]).to_json(),
                    "seeds": [r.overall.value for r in each],
                    "attributes": {
                        part: pooled([r.attributes[part] for r in each]).to_json()
                        for part in each[0].attributes
                    },
                }
                for way, each in reports.items()
            },
        }
        for way, each in reports.items():
            values = [round(r.overall.value, 2) for r in each]
            parts = {
                part: round(share["value"], 2)
                for part, share in found[name][way]["attributes"].items()
            }
            print(f"{name:6} {way:24} {values} {parts}", flush=True)
    return found


# ------------------------------------------------- where a code comes from


ORIGINS = {"pictures' codes": (0,), "captions' codes": (1,), "both": (0, 1)}
FIT_STEPS = 1500


@torch.no_grad()
def posteriors(model: MultimodalVAE, count: int) -> tuple[Tensor, Tensor]:
    """mu and logvar, (2, count, Z) each: of training pictures, then of captions."""
    data = load_dataset("shapes", "train", 64, "both", objects=(1,), size=count)
    parts: tuple[list[tuple[Tensor, Tensor]], ...] = ([], [])
    for start in range(0, count, 500):
        some = data.batch(range(start, start + 500))
        parts[0].append(model.posterior(images=some.images))
        parts[1].append(model.posterior(tokens=some.tokens, lengths=some.lengths))
    mu, logvar = (
        torch.stack([torch.cat([each[i] for each in part]) for part in parts])
        for i in range(2)
    )
    return mu, logvar


@torch.enable_grad()
def fitted(
    codes: tuple[Tensor, Tensor], origin: Sequence[int], like: MixturePrior
) -> MixturePrior:
    """A fresh prior, fitted to codes of some origins that stay as they are.

    Args:
        codes: mu and logvar as of ``posteriors``.
        origin: of its first dimension, each equally often.
        like: another prior, of the size that the new one shall have.
    """
    torch.manual_seed(0)
    mu, logvar = codes
    hidden = like.first.out_features
    prior = MixturePrior(mu.shape[2], 0, hidden, like.components)
    optimizer = torch.optim.Adam(prior.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 4e-3, FIT_STEPS, pct_start=0.1
    )
    for _ in range(FIT_STEPS):
        which = torch.tensor(origin)[torch.randint(len(origin), (512,))]
        row = torch.randint(mu.shape[1], (512,))
        means = mu[which, row]
        z = reparameterise(means, logvar[which, row], torch.randn_like(means))
        loss = -prior(z).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(prior.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    print(f"  fitted: {loss.item():.2f} nats a code", flush=True)
    return prior


@torch.no_grad()
def priors(count: int = 1000) -> dict[str, Any]:
    """Decode codes of several origins twice: do picture and caption agree?"""
    speaker = load("mvae-shapes64")
    assert isinstance(speaker, MultimodalVAESampler) and speaker.joint_prior
    model, size = speaker.model, speaker.config.latent_dim
    data = load_dataset("shapes", "test", 64, "both", objects=(1,), size=count)
    batch = data.batch(range(count))
    generator = torch.Generator().manual_seed(7)

    def normal(width: int) -> Tensor:
        return torch.randn(count, width, generator=generator)

    of_pictures = model.posterior(images=batch.images)
    of_captions = model.posterior(tokens=batch.tokens, lengths=batch.lengths)
    assert model.prior is not None
    codes = {
        "pictures' codes": reparameterise(*of_pictures, normal(size)),
        "captions' codes": reparameterise(*of_captions, normal(size)),
        "N(0, I)": normal(size),
        "prior of the bound": model.prior.sample(normal(model.prior.noise_dim)),
        "second prior": speaker.joint_prior.sample(
            normal(speaker.joint_prior.noise_dim)
        ),
    }
    given = posteriors(model, 6000)
    for name, origin in ORIGINS.items():
        prior = fitted(given, origin, model.prior)
        codes[f"fitted to {name}"] = prior.sample(normal(prior.noise_dim))
    found: dict[str, Any] = {"pairs": count, "fit_steps": FIT_STEPS}
    styles = normal(2 * speaker.config.style_dim)
    for name, z in codes.items():
        drawn = model.decode(z, styles)
        written = model.captions.write(z, "en", speaker.max_tokens)
        report = pair_coherence(drawn, speaker.vocabulary.decode(written))
        found[name] = report.to_json()
        print(f"{name:26}{report.overall} facts {report.facts:.1f}")
    sigma = [(logvar / 2).exp().mean() for _, logvar in (of_captions, of_pictures)]
    found["captions' spread over pictures'"] = (sigma[0] / sigma[1]).item()
    return found


# ------------------------------------------------- a score that is climbed


def climbed(
    matcher: DAMSMMatcher, images: Tensor, captions: Sequence[str], steps: int
) -> Tensor:
    """Pixels that please a matcher: AttnGAN's matching losses, and nothing else."""
    with torch.no_grad():
        told = matcher.encode_captions(captions)
    pixels = images.clone().requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=0.05)
    for _ in range(steps):
        regions, features = matcher.image_encoder(pixels.clamp(-1, 1))
        losses = damsm_losses(regions, features, *told)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    return pixels.detach().clamp(-1, 1)


CLIMBED = 50  # captions of a batch, which the matching losses compare


def climbers(steps: int) -> tuple[Batch, Tensor, Tensor]:
    """Captions with real pictures, noise, and the noise after climbing."""
    data = load_dataset("shapes", "test", 64, "both", objects=(1, 2))
    batch = data.batch(range(2 * CLIMBED))
    matcher = load(MATCHERS[0])
    assert isinstance(matcher, DAMSMMatcher)
    generator = torch.Generator().manual_seed(0)
    noise = 0.3 * torch.randn(batch.images.shape, generator=generator)
    noise = noise.clamp(-1, 1)
    parts = [slice(i, i + CLIMBED) for i in range(0, len(noise), CLIMBED)]
    after = [climbed(matcher, noise[p], batch.captions[p], steps) for p in parts]
    return batch, noise, torch.cat(after)


def climb(steps: int = 60) -> dict[str, Any]:
    """Real pictures, the CGAN's, noise, and noise that climbs a matcher's score."""
    batch, noise, after = climbers(steps)
    shown = {
        "real pictures": batch.images,
        "drawn by the CGAN": load("cgan-shapes64").sample(batch.captions, seed=0),
        "noise": noise,
        "noise, climbed": after,
    }
    networks = dict(zip(("matcher", "scorer"), map(load, MATCHERS), strict=True))
    known = {"class_ids": batch.class_ids, "scenes": batch.scenes}
    found: dict[str, Any] = {"pictures": len(noise), "steps": steps, "candidates": 50}
    for name, images in shown.items():
        shares = {
            way: r_precision(images, batch.captions, network, 50, **known).precision
            for way, network in networks.items()
        }
        shares["exact"] = semantic_accuracy(images, batch.captions).overall
        found[name] = {way: share.to_json() for way, share in shares.items()}
        print(f"{name:20}" + "".join(f"{s.value:8.2f}" for s in shares.values()))
    return found


# ------------------------------------------------- trainings that ran away


def runaway() -> dict[str, Any]:
    """The discriminators' loss of each: its lowest value, and the last."""
    file = RESULTS.parent / "attngan-runaway.json"
    runs = json.loads(file.read_text(encoding="utf-8"))["runs"]
    found: dict[str, Any] = {}
    for number, run in enumerate(runs, start=1):
        losses = [row["discriminator/loss"] for row in run["history"]]
        found[f"run {number}"] = {"lowest": min(losses), "end": losses[-1]}
        print(f"run {number}: lowest {min(losses):.1f}, at its end {losses[-1]:,.0f}")
    return found


MEASURES: dict[str, Callable[[], dict[str, Any]]] = {
    "wrong captions": wrong_captions,
    "bag": bag,
    "words": words,
    "priors": priors,
    "climb": climb,
    "runaway": runaway,
}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    given = parser.parse_args()
    names = given.names or list(MEASURES)
    if unknown := [name for name in names if name not in MEASURES]:
        parser.error(f"names must be of {', '.join(MEASURES)}; got {unknown}.")
    file = RESULTS / "casebook.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known.pop("environment", None)
    for name in names:
        print(f"== {name}", flush=True)
        known[name] = MEASURES[name]()
        print(write("casebook", known), flush=True)


if __name__ == "__main__":
    main()
