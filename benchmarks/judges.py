"""What a run's discriminators tell apart, on real pictures.

``python -m benchmarks.judges RUN --name NAME`` shows the discriminators real scenes of
two different objects, with the right caption and with one that is wrong in one fact,
and counts how often the right one gets the higher logit. What neither these judges nor
the matching model can tell, a generator is never told. Then it asks the judges which
labels they see in pictures, real ones and drawn ones, and holds their answers about the
drawn ones against what a program recognises there. Writes
``results/attngan-judges.json``, an entry for each name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.data import load_dataset
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.files import write_json
from mmgen.data.shapes import (
    COLOURS,
    Demand,
    ObjectDemand,
    describe,
    facts,
    language_of,
    parse,
    read,
)
from mmgen.data.shapes import judge as verdict_of
from mmgen.data.shapes.demand import OPPOSITE, canonical
from mmgen.data.shapes.hard_negatives import exchanged
from mmgen.metrics.interval import Proportion
from mmgen.models.attngan import AttnGANTask, pictures_of_stages
from mmgen.models.cgan import TAUGHT, completed, value_rows
from mmgen.training import Run
from mmgen.training.manifest import environment

SLOW = "it needs the folder of a run"  # so make bench leaves it out
RESULTS = Path(__file__).resolve().parent.parent / "results"
KINDS = ("another colour", "colours exchanged", "shapes exchanged", "relation turned")


def wrong(demand: Demand, kind: str, draw: int) -> Demand | None:
    """The demand with one fact changed, None where it states none of that kind.

    Args:
        demand: of two different objects.
        kind: of ``KINDS``.
        draw: at least 0, picks one of several.
    """
    first, second = demand.objects
    relation, ground = demand.relation, demand.background

    def made(groups: list[ObjectDemand]) -> Demand | None:
        changed = canonical(groups, relation, ground)
        return None if changed.id == demand.id else changed

    if kind == "relation turned":
        return (
            None if relation is None else replace(demand, relation=OPPOSITE[relation])
        )
    if first.colour is None or second.colour is None:
        return None
    if kind == "another colour":
        others = [c for c in COLOURS if c not in (first.colour, second.colour)]
        return made([replace(first, colour=others[draw % len(others)]), second])
    name = "colour" if kind == "colours exchanged" else "shape"
    return made(exchanged(first, second, name))


def pairs(side: int, count: int) -> CaptionedDataset:
    """Scenes of two different objects, with all labels."""
    return load_dataset(
        "shapes",
        "validation",
        side,
        "both",
        objects=(2,),
        kinds=("position", "binding"),
        attributes=TAUGHT,
        size=count,
    )


@torch.no_grad()
def measure(task: AttnGANTask, count: int) -> dict[str, Proportion]:
    """How often the right caption wins, for every kind of wrong ones."""
    batch = pairs(task.config.sizes[-1], count).batch(range(count))
    assert batch.scenes is not None  # of Shapes they are known
    reals = pictures_of_stages(batch.images, task.config.sizes)
    judges = task.networks["discriminator"].eval()
    reader = "judge_text" if task.config.train_text else "matcher_text"

    def scores(rows: Sequence[int], captions: Sequence[str]) -> Tensor:
        tokens, lengths = task.vocabulary.encode(captions, task.max_tokens)
        sentence = task.networks[reader](tokens, lengths)[1]
        shown = [images[list(rows)] for images in reals]
        return torch.stack([judged[0] for judged in judges(shown, sentence)]).sum(0)

    found = {}
    for kind in KINDS:
        rows, captions = [], []
        for row, (scene, right) in enumerate(
            zip(batch.scenes, batch.captions, strict=True)
        ):
            changed = wrong(facts(scene), kind, row)
            if changed is not None:
                rows.append(row)
                captions.append(describe(changed, language_of(right), row))
        own = scores(rows, [batch.captions[row] for row in rows])
        wins = int((own > scores(rows, captions)).sum())
        found[kind] = Proportion(wins, len(rows))
    return found


@torch.no_grad()
def seen(run: Run, count: int) -> dict[str, dict[str, Proportion]]:
    """How often both shapes, and both colours, are what the caption asks for.

    Returns:
        For "shape" and "colour": "real", in real pictures by the judges' labels;
        "believed", in drawn pictures by the judges' labels; "read", in drawn pictures
        by the program that decides, which must recognise both. Captions that leave the
        part open are left out.
    """
    assert isinstance(run.task, AttnGANTask)  # main() has made sure
    task, sampler = run.task, run.sampler()
    dataset = pairs(task.config.sizes[-1], count)
    batch = dataset.batch(range(count))
    drawn = sampler.sample(batch.captions, seed=0)
    readings = read(drawn)
    looks = zip(readings.scenes, readings.evidence, strict=True)
    verdicts = [
        verdict_of(parse(caption), scene, evidence)
        for caption, (scene, evidence) in zip(batch.captions, looks, strict=True)
    ]
    judges = task.networks["discriminator"].eval()
    labels, sizes = task.networks["labels"], task.label_sizes
    rows = labels(value_rows(sizes))
    told, own = dataset.told(batch), batch.attributes
    assert told is not None and own is not None
    allowed = dataset.equally_right(batch)
    assert allowed is not None
    right = torch.cat([own[None], allowed])

    def agreement(images: Tensor, rows_right: Tensor) -> Tensor:
        """Whether the judges see what is told, (B, A)."""
        shown = pictures_of_stages(images, task.config.sizes)
        judged = judges(shown, torch.zeros(len(images), rows.shape[1]), rows)
        logits = torch.stack([stage[2] for stage in judged]).sum(0)
        # where nothing is told, only what the judges see is left
        answers = completed(logits, rows_right, sizes, torch.zeros_like(told))
        return (answers == completed(logits, rows_right, sizes, told)) | ~told

    on_real, on_drawn = agreement(batch.images, own[None]), agreement(drawn, right)
    found = {}
    for part in ("shape", "colour"):
        columns = [TAUGHT.index(part), TAUGHT.index(f"other_{part}")]
        asked = told[:, columns].all(dim=1)
        total = int(asked.sum())
        asks = asked.tolist()
        truly = [v[part] for v, ask in zip(verdicts, asks, strict=True) if ask]
        seen_right = [
            int(held[asked][:, columns].all(dim=1).sum())
            for held in (on_real, on_drawn)
        ]
        found[part] = {
            "real": Proportion(seen_right[0], total),
            "believed": Proportion(seen_right[1], total),
            "read": Proportion(sum(truly), total),
        }
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of an AttnGAN run on Shapes")
    parser.add_argument("--name", required=True, help="of its entry in the results")
    parser.add_argument("--count", type=int, default=2000, help="scenes to judge")
    parser.add_argument("--out", type=Path, default=RESULTS / "attngan-judges.json")
    given = parser.parse_args()
    run = Run.load(given.run)
    if not isinstance(run.task, AttnGANTask):
        parser.error(f"{given.run} is no AttnGAN run.")
    shares = measure(run.task, given.count)
    for kind, share in shares.items():
        print(f"{kind:18} {share}")
    labels = seen(run, given.count)
    for part, shares_of in labels.items():
        for name, share in shares_of.items():
            print(f"{part:8} {name:9} {share}")
    known: dict[str, Any] = {}
    if given.out.exists():
        known = json.loads(given.out.read_text(encoding="utf-8"))["judges"]
    known[given.name] = {
        "steps": run.manifest["steps"],
        "commits": run.manifest.get("commits", [run.manifest["commit"]]),
        "kinds": {kind: share.to_json() for kind, share in shares.items()},
        "labels": {
            part: {name: share.to_json() for name, share in shares_of.items()}
            for part, shares_of in labels.items()
        },
    }
    about = {"environment": environment(torch.device("cpu")), "scenes": given.count}
    write_json(given.out, {**about, "judges": known})
    print(given.out)


if __name__ == "__main__":
    main()
