"""All families on one data set: every published model that draws Shapes, asked alike.

``python -m benchmarks.leaderboard [--count N] [--only NAME …]`` finds the published
models that draw Shapes of 64 pixels from captions, and asks each of them the same
captions: of one object and of two, with pairs of colour and shape that training never
showed, and of three and four alike; in English and in Chinese. A model gets no figure
for what it was not trained on, by its card. Beside right pictures stand what varies in
them, parameters, minutes of training, and seconds a picture.

Writes ``results/benchmarks/leaderboard.json``, and the pictures of the first captions
below ``results/benchmarks/leaderboard/``. ``--only`` measures some models and keeps the
rows of the others.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import timing
from benchmarks.coverage import CAPTIONS
from mmgen.data import CaptionedDataset, load_dataset
from mmgen.data.shapes import TASKS, describe, parse
from mmgen.evaluation import Asked
from mmgen.explore.verdicts import verdict_words
from mmgen.interfaces import Draws
from mmgen.metrics import semantic_accuracy
from mmgen.metrics.coverage import ModeCoverage, mode_coverage, world_coverage
from mmgen.metrics.interval import Proportion, pooled
from mmgen.metrics.semantic import SemanticReport
from mmgen.presets import chain, published
from mmgen.pretrained import available, card, load
from mmgen.registry import METHODS, find_class, stored_class, unknown
from mmgen.sampling import CaptionSampler
from mmgen.training.logs import save_grid
from mmgen.training.manifest import environment

SLOW = "it draws for many minutes"  # so make bench leaves it out
IMAGE_SIZE = 64
LANGUAGES = {"en": ("en",), "zh": ("zh",), "both": ("en", "zh")}
WORLDS = {"en": 0, "zh": 1}  # seeds of the data set
GENEVAL = TASKS[:6]  # the last of TASKS is none of GenEval's
COVERED = CAPTIONS[::4]  # captions that are drawn again and again
PICTURES = 32  # of each of these
SHOWN = 2  # first captions whose pictures are kept, of one object and of two
AT_ONCE = (1, 16)  # pictures whose drawing is timed
WORK = "fixed work"


@dataclass(frozen=True)
class Question:
    """Captions of one sort: the first ones of a split of Shapes."""

    name: str
    split: str
    objects: int  # in each picture
    kinds: tuple[str, ...]  # of scenes: all that have so many objects
    known: bool  # whether training had such scenes: they count for GenEval's tasks

    def captions(self, language: str, count: int) -> CaptionedDataset:
        """The data set of its first captions in a language.

        Each language has scenes of its own: of the same ones, two captions would not be
        two independent trials, and an interval of both would be too narrow.
        """
        return load_dataset(
            "shapes",
            self.split,
            IMAGE_SIZE,
            language,
            objects=(self.objects,),
            kinds=self.kinds,
            seed=WORLDS[language],
            size=count,
        )

    def trained(self, data: Mapping[str, Any], language: str) -> bool:
        """Whether a model was trained for it, by the data on its card."""
        options = data["options"]
        return (
            language in LANGUAGES[data["language"]]
            and self.objects in options["objects"]
            and set(self.kinds) <= set(options["kinds"])
        )


_ONE, _TWO = ("single", "colours"), ("two", "counting", "position", "binding")
QUESTIONS = (
    Question("one object", "test", 1, _ONE, known=True),
    Question("two objects", "test", 2, _TWO, known=True),
    Question("never seen, one object", "compositional", 1, _ONE, known=False),
    Question("never seen, two objects", "compositional", 2, _TWO, known=False),
    Question("three alike", "test", 3, ("counting",), known=False),
    Question("four alike", "test", 4, ("counting",), known=False),
)
EVERY = tuple((q, language) for q in QUESTIONS for language in ("en", "zh"))
FIRST = tuple((q, language) for q, language in EVERY if q.known)  # of those shown


def models() -> tuple[str, ...]:
    """Names of the published models that draw Shapes of 64 pixels from captions."""
    return tuple(
        name
        for name, preset in published().items()
        if (preset.data["name"], preset.data["image_size"]) == ("shapes", IMAGE_SIZE)
        and name in available()
        and _draws_captions(card(name)["sampler"])
    )


def _draws_captions(path: str) -> bool:
    sampler = stored_class(path)
    return issubclass(sampler, Draws) and issubclass(sampler, CaptionSampler)


# ---------------------------------------------------------------------------- accuracy


def answers(
    sampler: Draws, data: Mapping[str, Any], count: int
) -> Iterator[tuple[Question, str, SemanticReport, Tensor]]:
    """Verdicts of all that a model was trained for, and its first pictures.

    Args:
        sampler: draws Shapes.
        data: from its card.
        count: captions of each question in each language.
    """
    for question, language in EVERY:
        if question.trained(data, language):
            asked = question.captions(language, count)
            samples = Asked(sampler, asked, count, 0, "cpu", None, {}).samples
            report = semantic_accuracy(samples.images, samples.captions)
            yield question, language, report, samples.images[:SHOWN]


def averaged(shares: Sequence[Proportion]) -> dict[str, float]:
    """The mean of several tasks' shares, each counting alike, and its 95 % interval.

    Args:
        shares: of independent samples.

    Returns:
        "value", "low" and "high", and "n", the pictures of all.

    Source:
        Zou and Donner, *Construction of confidence limits about effect measures*,
        Statistics in Medicine 27 (2008): the distances of a sum's limits are the roots
        of the summed squares of its terms' distances.
    """
    mean = statistics.fmean(share.value for share in shares)

    def distance(end: int) -> float:
        apart = (share.interval[end] - share.value for share in shares)
        return math.hypot(*apart) / len(shares)

    return {
        "value": mean,
        "low": mean - distance(0),
        "high": mean + distance(1),
        "n": sum(share.n for share in shares),
    }


def accuracy(
    reports: Iterable[tuple[Question, str, SemanticReport]],
) -> dict[str, Any]:
    """Right pictures by question, by question and language, and by task.

    Returns:
        "questions", "languages" and "tasks", each from a name to a share; and
        "six tasks", their mean, if each of them was asked.
    """
    questions: dict[str, list[Proportion]] = {}
    languages: dict[str, Any] = {}
    tasks: dict[str, list[Proportion]] = {}
    for question, language, report in reports:
        questions.setdefault(question.name, []).append(report.overall)
        languages[f"{question.name}, {language}"] = report.overall.to_json()
        for task, share in report.tasks.items() if question.known else ():
            tasks.setdefault(task, []).append(share)
    shares = {task: pooled(tasks[task]) for task in GENEVAL if task in tasks}
    found = {
        "questions": {name: pooled(each).to_json() for name, each in questions.items()},
        "languages": languages,
        "tasks": {task: share.to_json() for task, share in shares.items()},
    }
    if len(shares) == len(GENEVAL):
        found["six tasks"] = averaged(list(shares.values()))
    return found


# ---------------------------------------------------------------------------- coverage


def share_of_world(found: ModeCoverage, world: ModeCoverage) -> dict[str, float | None]:
    """How much of the world's variety a model has: 0 none, 1 all of it.

    Of place, size and ground the effective number of values above one, as a share of
    the world's, whose pictures are as many; the mean of the three.

    Returns:
        "value", and "error", its standard error as if the three were independent; None
        where too little could be recognised.
    """
    shares, errors = [], []
    for name, all_of_it in world.effective.items():
        room = all_of_it - 1
        shares.append((found.effective[name] - 1) / room)
        errors.append(found.standard_error[name] / room)
    value, error = statistics.fmean(shares), math.hypot(*errors) / len(errors)
    return {
        "value": None if math.isnan(value) else value,
        "error": None if math.isnan(error) else error,
    }


# ------------------------------------------------------------------------------- speed


def fixed_work() -> Callable[[], Any]:
    """Work that no model changes, to measure speeds by: a convolution of 64 channels.

    Rows that were measured on different days get one scale through it.
    """
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False)
    images = torch.zeros(16, 64, 32, 32)
    return lambda: layer(images)


def speeds(
    samplers: Mapping[str, Draws], languages: Mapping[str, str], repetitions: int
) -> dict[str, dict[str, Any]]:
    """Processor time of drawing, in turns with the fixed work.

    Args:
        samplers: name -> a model.
        languages: name -> one that it reads.
        repetitions: of each.

    Returns:
        Name -> "works", the time a picture in units of the fixed work, by pictures
        drawn at once; and "work_seconds", what the fixed work took.
    """
    question, work = QUESTIONS[0], fixed_work()
    found: dict[str, dict[str, Any]] = {name: {"works": {}} for name in samplers}
    for count in AT_ONCE:

        def drawing(name: str, count: int = count) -> Callable[[], Any]:
            captions = question.captions(languages[name], count).batch(range(count))
            return lambda: samplers[name].sample(captions.captions)

        ways = {WORK: work, **{name: drawing(name) for name in samplers}}
        # no round is made again: what other programs take is no processor time of this
        times = timing.compare(ways, repetitions, warmup=1, patience=1)
        for name, speed in found.items():
            speed["works"][str(count)] = times.cpu_ratios[name] / count
            speed["work_seconds"] = times.cpu_seconds[WORK]
    return found


# -------------------------------------------------------------------------------- rows


def needs(name: str) -> dict[str, float]:
    """Minutes of the other trainings that a published model was built on, by name.

    Those that it starts from are in its own minutes.
    """
    found: dict[str, float] = {}
    counted = {link.name for link in chain(name)}
    for link in chain(name):
        task = find_class(METHODS[link.method])
        for other in task.requires(link.config).values():
            if other not in counted:
                found |= {other: card(other)["minutes"], **needs(other)}
    return {other: minutes for other, minutes in found.items() if other not in counted}


def family(name: str) -> dict[str, str]:
    """What a published model is: its method's module, and how that begins."""
    path = METHODS[published()[name].method]
    find_class(path)  # imports it
    module = path.partition(":")[0]
    words = sys.modules[module].__doc__ or ""
    return {"module": module, "family": words.splitlines()[0].rstrip(".")}


def row(
    name: str, sampler: Draws, count: int, pictures: int, world: ModeCoverage
) -> tuple[dict[str, Any], Tensor]:
    """All that is measured of a model but its speed, and its first pictures.

    Args:
        name: of a published model.
        sampler: the same, loaded.
        count: captions of each question in each language.
        pictures: of each caption of which coverage is measured.
        world: coverage of the world's own pictures, of the same captions.

    Returns:
        JSON values, and pictures (N, 3, H, W) in the order of ``FIRST``.
    """
    about = card(name)
    found, kept, verdicts = [], [], {}
    for question, language, report, images in answers(sampler, about["data"], count):
        found.append((question, language, report))
        if question.known:
            kept.append(images)
            verdicts[question, language] = verdict_words(report)[:SHOWN]
    covered = mode_coverage(sampler, COVERED, pictures)
    needed = needs(name)
    facts = {
        **family(name),
        "sha256": about["sha256"],
        "count": count,
        **accuracy(found),
        "coverage": {**covered.to_json(), "share": share_of_world(covered, world)},
        "parameters": about["parameters"],
        "minutes": {
            "own": about["minutes"],
            "needs": needed,
            "all": about["minutes"] + sum(needed.values()),
        },
        "trained_on": {"device": about["device"], "threads": about["threads"]},
        "first": [
            {"verdict": verdict, "what": what}
            for each in FIRST
            for verdict, what in verdicts.get(each, [(None, None)] * SHOWN)
        ],
        "environment": environment(torch.device("cpu")),
    }
    return facts, torch.cat(kept)


def first_captions() -> list[dict[str, str]]:
    """The captions whose pictures are kept, with a gloss of those in Chinese."""
    found = []
    for question, language in FIRST:
        captions = question.captions(language, SHOWN).batch(range(SHOWN)).captions
        for caption in captions:
            gloss = describe(parse(caption), "en") if language == "zh" else ""
            found.append({"caption": caption, "language": language, "gloss": gloss})
    return found


def merged(
    known: Mapping[str, Any], new: Mapping[str, Any], names: Iterable[str]
) -> dict[str, Any]:
    """Rows measured before and now, of the models that there are, on one clock.

    "seconds" of each row are its works times what the fixed work takes: the median
    over all rows.
    """
    rows = {name: row for name in names if (row := new.get(name) or known.get(name))}
    work = statistics.median(row["speed"]["work_seconds"] for row in rows.values())
    for each in rows.values():
        works = each["speed"]["works"]
        each["seconds"] = {count: work * value for count, value in works.items()}
    return rows


def measure(
    only: Sequence[str] = (),
    count: int = 100,
    pictures: int = PICTURES,
    repetitions: int = 5,
) -> Iterator[dict[str, Any]]:
    """Measure models, and put their rows beside those that are known.

    Args:
        only: names; all of ``models()`` if there are none.
        count: captions of each question in each language.
        pictures: of each caption of which coverage is measured.
        repetitions: of each drawing that is timed.

    Yields:
        What is written to ``leaderboard.json``, after each model.

    Raises:
        ValueError: a name that is none of ``models()``, or too few captions.
    """
    names = models()
    for name in only:
        if name not in names:
            raise ValueError(unknown("model that draws Shapes", name, names))
    if count < SHOWN:
        raise ValueError(f"count must be at least {SHOWN} captions; got {count}.")
    file = timing.RESULTS / "leaderboard.json"
    rows: dict[str, Any] = {}
    if file.exists():
        rows = json.loads(file.read_text(encoding="utf-8"))["models"]
    captions, world = first_captions(), world_coverage(COVERED, pictures)
    samplers = {name: load(name) for name in only or names}
    read = {name: LANGUAGES[card(name)["data"]["language"]][0] for name in samplers}
    for name, speed in speeds(samplers, read, repetitions).items():
        facts, images = row(name, samplers[name], count, pictures, world)
        save_grid(timing.RESULTS / "leaderboard" / f"{name}.png", images, len(images))
        rows = merged(rows, {name: {**facts, "speed": speed}}, names)
        yield {
            "captions": captions,
            "world": world.to_json(),
            "at_once": AT_ONCE[-1],
            "models": rows,
        }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=100, help="captions of each sort in each language"
    )
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="NAME", help="keep the others' rows"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        for report in measure(given.only, given.count):
            path = timing.write("leaderboard", report)
            print(f"{path}: {', '.join(report['models'])}", flush=True)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
