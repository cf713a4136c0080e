"""What a sampler reaches on a data set: every measure that applies to the two.

``mmgen.registry.MEASURES`` has a line a measure. What a sampler can do is asked by the
verbs of ``mmgen.interfaces``, so that a new method is measured without a word here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mmgen.data.dataset import CaptionedDataset
from mmgen.data.emoji import SPLITS, EmojiDataset
from mmgen.data.shapes import ShapesDataset
from mmgen.errors import MmgenError
from mmgen.interfaces import (
    NOTHING,
    Answers,
    Describes,
    Draws,
    Examines,
    Imagines,
    Matches,
    ReadsLabels,
    Reconstructs,
    Verifies,
    Weighs,
)
from mmgen.objectives.labels import Labels
from mmgen.pretrained import available, load
from mmgen.registry import MEASURES, find_class
from mmgen.sampling import named_numbers

BATCH = 64  # pictures drawn at a time
REFERENCES = 5  # captions that a picture's own is compared with
MANY_PICTURES, MANY_CAPTIONS = 200, 10  # of which several captions each are drawn
NOT_MEASURED = "not_measured"  # in place of a result: why there is none


@dataclass(frozen=True)
class Asked:
    """A sampler, and the first samples of the data set that it is asked about."""

    sampler: Any
    dataset: CaptionedDataset
    count: int
    seed: int
    device: str
    scorer: str | None  # name of the weights that R-precision is measured with
    options: Mapping[str, Any]  # of drawing

    @cached_property
    def matcher(self) -> Any:
        """The scorer of R-precision: weights, or the sampler itself.

        Raises:
            ValueError: no such weights, or a model that compares nothing.
        """
        name = _scorer(self) if isinstance(self.sampler, Draws) else None
        if name is None:
            return self.sampler
        try:
            found = load(name, self.device)
        except ValueError as error:
            raise ValueError(f"scorer: {error}") from error
        if not isinstance(found, Matches):
            raise ValueError(
                f"scorer must name a model that compares pictures with captions, such "
                f"as damsm-shapes64-scorer; {name!r} is a {type(found).__name__}."
            )
        return found

    @cached_property
    def samples(self) -> Samples:
        """Captions and the pictures for them: drawn, or real where it draws none."""
        captions: list[str] = []
        scenes: list[Any] = []
        images, class_ids, attributes = [], [], []
        for start in range(0, self.count, BATCH):
            batch = self.dataset.batch(range(start, min(start + BATCH, self.count)))
            captions += batch.captions
            scenes += batch.scenes or []
            class_ids.append(batch.class_ids)
            attributes.append(batch.attributes)
            if isinstance(self.sampler, Draws):
                seed = self.seed + start // BATCH
                drawn = self.sampler.sample(batch.captions, seed=seed, **self.options)
                images.append(drawn.float())
            else:
                images.append(batch.images.float())
        told = [rows for rows in attributes if rows is not None]
        return Samples(
            torch.cat(images),
            captions,
            torch.cat(class_ids),
            torch.cat(told) if told else None,
            scenes,
        )


@dataclass(frozen=True)
class Samples:
    """What was asked for and what came."""

    images: Tensor  # (count, 3, H, W)
    captions: list[str]
    class_ids: Tensor  # (count,)
    attributes: Tensor | None  # (count, A)
    scenes: list[Any]  # of data sets that know what is shown


@dataclass(frozen=True)
class Measure:
    """One line of the report."""

    applies: Callable[[Any, CaptionedDataset], bool]  # to a sampler and a data set
    compute: Callable[[Asked], dict[str, Any] | None]  # None: it cannot be had here


def measure(
    sampler: Any,
    dataset: CaptionedDataset,
    count: int,
    seed: int,
    device: str,
    scorer: str | None = None,
    options: Mapping[str, Any] = NOTHING,
) -> dict[str, Any]:
    """What a sampler reaches on the first ``count`` samples of a data set.

    Args:
        sampler: that draws, or a matcher, which is asked about the real pictures.
        dataset: whose captions are drawn.
        count: how many of them.
        seed: of the noise; every batch of pictures takes the next one.
        device: where the scorer computes.
        scorer: name of the weights that R-precision is measured with; by default those
            trained for it on this data set, if there are any.
        options: of drawing, by name, where the sampler has any.

    Returns:
        Measure -> its result as JSON values, for all of ``MEASURES`` that apply. Of one
        that cannot be computed, ``{"not_measured": why}``: the others are kept.

    Raises:
        ValueError: no such scorer, or options out of range.
        MmgenError: none of the measures that apply can be computed.
    """
    asked = Asked(sampler, dataset, count, seed, device, scorer, options)
    # what is wrong with these ends it here, and is no reason for one measure alone
    if scorer is not None:
        _ = asked.matcher
    if options:
        sampler.sample(dataset.batch(range(1)).captions, **options)
    results: dict[str, Any] = {}
    for name, path in MEASURES.items():
        each: Measure = find_class(path)
        if each.applies(sampler, dataset):
            try:
                result = each.compute(asked)
            except (MmgenError, ValueError, OSError, ImportError) as error:
                result = {NOT_MEASURED: " ".join(str(error).split())}
            if result is not None:
                results[name] = result
    reasons = [found.get(NOT_MEASURED) for found in results.values()]
    if reasons and all(reasons):
        raise MmgenError("; ".join(dict.fromkeys(map(str, reasons))))
    return results


# ------------------------------------------------------------------ decided by the data


def _draws_shapes(sampler: Any, dataset: CaptionedDataset) -> bool:
    return isinstance(sampler, Draws) and isinstance(dataset, ShapesDataset)


def _are_roles(dataset: CaptionedDataset) -> bool:
    """Emoji all of whose combinations exist as pictures."""
    return isinstance(dataset, EmojiDataset) and dataset.subset == "roles"


def _captions_only(sampler: Any) -> bool:
    """Who also makes pictures is measured by its coherence."""
    return isinstance(sampler, Describes) and not isinstance(sampler, Draws | Imagines)


def _semantic_accuracy(asked: Asked) -> dict[str, Any]:
    from mmgen.metrics import semantic_accuracy

    return semantic_accuracy(asked.samples.images, asked.samples.captions).to_json()


def _coherence(asked: Asked) -> dict[str, Any]:
    from mmgen.metrics.coherence import cross_modal_coherence

    return cross_modal_coherence(
        asked.sampler, asked.dataset, asked.count, asked.seed
    ).to_json()


def _recombination(asked: Asked) -> dict[str, Any]:
    from mmgen.metrics.recombination import emoji_gallery, recombination_accuracy

    dataset, samples = asked.dataset, asked.samples
    assert samples.attributes is not None  # emoji have them
    return recombination_accuracy(
        samples.images,
        samples.attributes,
        *emoji_gallery(dataset.image_size),
        dataset.attributes,
    ).to_json()


def _naming(asked: Asked) -> dict[str, Any]:
    from mmgen.metrics.coherence import naming_accuracy, naming_parts

    sampler, data = asked.sampler, asked.dataset
    if not _captions_only(sampler):
        return naming_accuracy(sampler, data, data.language).to_json()
    found = {}
    for language in sampler.languages:
        chosen, *others = (
            EmojiDataset(split, data.image_size, language, **data.options)
            for split in sorted(SPLITS, key=lambda split: split != data.split)
        )
        found[language] = naming_parts(sampler, chosen, others, language).to_json()
    return found


def _captions(asked: Asked) -> dict[str, Any]:
    """Facts and words of a captioner's captions in each language that it writes."""
    from mmgen.metrics.captions import CiderD, bleu, caption_facts, paraphrases

    sampler, samples = asked.sampler, asked.samples
    found: dict[str, Any] = {}
    for language in sampler.languages:
        captions = sampler.describe(samples.images, language)
        references = [
            paraphrases(scene, language, REFERENCES, seed)
            for seed, scene in enumerate(samples.scenes)
        ]
        found[language] = {
            **caption_facts(captions, samples.scenes, language).to_json(),
            "bleu": bleu(captions, references),
        }
        if len(references) > 1:  # in one picture alone no words are rare
            scores = CiderD(references).scores(captions)
            found[language]["cider_d"] = sum(scores) / len(scores)
        if "temperature" in named_numbers(sampler.describe):
            found[language]["samples"] = _sampled(asked, language)
    return found


def _sampled(asked: Asked, language: str) -> dict[str, Any]:
    """Captions drawn by chance for the same pictures: how different, how right."""
    from mmgen.metrics.captions import caption_facts, distinct

    images = asked.samples.images[:MANY_PICTURES]
    scenes = asked.samples.scenes[:MANY_PICTURES]
    drawn = [
        asked.sampler.describe(
            images, language, seed=asked.seed + number, temperature=1.0
        )
        for number in range(MANY_CAPTIONS)
    ]
    every = [caption for captions in drawn for caption in captions]
    right = caption_facts(every, scenes * MANY_CAPTIONS, language)
    return {
        "of_a_picture": MANY_CAPTIONS,
        "distinct": distinct(list(zip(*drawn, strict=True))),
        "overall": right.overall.to_json(),
    }


def _knows_labels(sampler: Any, dataset: CaptionedDataset) -> bool:
    return (
        isinstance(sampler, ReadsLabels)
        and dataset.alternatives is not None
        and dict(sampler.attributes) == dataset.attributes
    )


def _labels_read(asked: Asked) -> dict[str, Any]:
    """Captions of which every label that they specify is read, in one order of two."""
    from mmgen.metrics.interval import Proportion

    right = 0
    for start in range(0, asked.count, BATCH):
        batch = asked.dataset.batch(range(start, min(start + BATCH, asked.count)))
        rows, counted = Labels.of_captions(batch, asked.dataset.alternatives)
        assert counted is not None  # of captions some labels are open
        read = asked.sampler.read_labels(batch.captions).to(rows.device)  # (B, A)
        same = ((read == rows) | ~counted).all(dim=2)  # (1 + R, B)
        right += int(same.any(dim=0).sum())
    return {"overall": Proportion(right, asked.count).to_json()}


def _reconstruction(asked: Asked) -> dict[str, Any]:
    """What is left of the real pictures when they were codes, and what codes cost.

    Of an autoencoder without codes: what its vectors leave, and can tell at most.
    """
    from mmgen.layers.quantise import usage
    from mmgen.metrics import semantic_accuracy

    sampler, samples = asked.sampler, asked.samples
    found: dict[str, Any] = {}
    if math.isfinite(sampler.bits):  # without codes and without noise there is no end
        found["bits"] = sampler.bits
    if sampler.has_codes:
        codes = sampler.encode(samples.images)
        again = sampler.decode(codes).cpu()
        found["codes_used"], found["perplexity"] = usage(codes, sampler.codes)
    else:
        again = sampler.reconstruct(samples.images).cpu()
    wrong = (again - samples.images.cpu()).square().mean()
    found["psnr"] = float(10 * torch.log10(4 / wrong))  # dB, of a range of 2
    if isinstance(asked.dataset, ShapesDataset):
        found |= semantic_accuracy(again, samples.captions).to_json()
    return found


def _bits(asked: Asked) -> dict[str, Any]:
    """Bits of the real pictures' codes, under the model and at equal length."""
    costs = []
    for start in range(0, asked.count, BATCH):
        batch = asked.dataset.batch(range(start, min(start + BATCH, asked.count)))
        nats = asked.sampler.log_likelihood(batch.images, batch.captions)
        costs.append(-nats.double().cpu() / math.log(2))
    return {
        "a_picture": float(torch.cat(costs).mean()),
        "equal_length": asked.sampler.bits,
    }


def _verification(asked: Asked) -> dict[str, Any]:
    from mmgen.metrics.examination import verification

    return verification(asked.sampler, asked.dataset, asked.count, asked.seed).to_json()


def _answering(asked: Asked) -> dict[str, Any]:
    from mmgen.metrics.examination import answering

    return answering(asked.sampler, asked.dataset, asked.count, asked.seed).to_json()


SEMANTIC_ACCURACY = Measure(_draws_shapes, _semantic_accuracy)
LABELS_READ = Measure(_knows_labels, _labels_read)
COHERENCE = Measure(
    lambda sampler, data: (
        _draws_shapes(sampler, data) and isinstance(sampler, Imagines)
    ),
    _coherence,
)
RECOMBINATION = Measure(
    lambda sampler, data: isinstance(sampler, Draws) and _are_roles(data),
    _recombination,
)
CAPTIONS = Measure(
    lambda sampler, data: _captions_only(sampler) and isinstance(data, ShapesDataset),
    _captions,
)
RECONSTRUCTION = Measure(
    lambda sampler, data: isinstance(sampler, Reconstructs), _reconstruction
)
BITS = Measure(lambda sampler, data: isinstance(sampler, Weighs), _bits)
VERIFICATION = Measure(
    lambda sampler, data: (
        isinstance(sampler, Verifies) and isinstance(data.alternatives, Examines)
    ),
    _verification,
)
ANSWERING = Measure(
    lambda sampler, data: (
        isinstance(sampler, Answers) and isinstance(data.alternatives, Examines)
    ),
    _answering,
)
NAMING = Measure(
    lambda sampler, data: (
        isinstance(data, EmojiDataset)
        if _captions_only(sampler)
        else (
            _are_roles(data)
            and isinstance(sampler, Draws)
            and isinstance(sampler, Describes)
            and data.language in sampler.languages
        )
    ),
    _naming,
)


# ----------------------------------------------------------------- decided by a matcher


def _r_precision(asked: Asked, direction: str = "image_to_text") -> dict[str, Any]:
    """Of drawn pictures by another scorer, or of real ones by the matcher itself."""
    from mmgen.metrics.retrieval import TooFewError, r_precision

    samples, drawn = asked.samples, isinstance(asked.sampler, Draws)
    name = _scorer(asked) if drawn else None
    try:
        found = r_precision(
            samples.images,
            samples.captions,
            asked.matcher,
            seed=asked.seed,
            class_ids=samples.class_ids,
            trained_with=asked.sampler if drawn else None,
            scenes=samples.scenes if isinstance(asked.dataset, ShapesDataset) else None,
            direction=direction,
        )
    except TooFewError as error:
        raise MmgenError(
            f"{error.found} R-precision is one of 100, so that figures can be "
            f"compared: measure more captions than {asked.count} (--count), or on a "
            f"split that has more."
        ) from error
    return {**found.to_json(), "scorer": name or "itself"}


def _drawn_r_precision(asked: Asked) -> dict[str, Any] | None:
    return _r_precision(asked) if _scorer(asked) else None


def _scorer(asked: Asked) -> str | None:
    """Weights that were asked for, or those trained apart on this data set."""
    default = f"damsm-{asked.dataset.name}{asked.dataset.image_size}-scorer"
    return asked.scorer or (default if default in available() else None)


def _matches_only(sampler: Any, dataset: CaptionedDataset) -> bool:
    return isinstance(sampler, Matches) and not isinstance(sampler, Draws)


# Pictures are asked only whether they show their captions, a matcher both ways.
R_PRECISION = Measure(
    lambda sampler, data: isinstance(sampler, Draws), _drawn_r_precision
)
R_PRECISION_IMAGE_TO_TEXT = Measure(
    _matches_only, lambda asked: _r_precision(asked, "image_to_text")
)
R_PRECISION_TEXT_TO_IMAGE = Measure(
    _matches_only, lambda asked: _r_precision(asked, "text_to_image")
)


def _asked_of_two(sampler: Any, dataset: CaptionedDataset) -> bool:
    """A matcher, about Shapes among which there are two objects."""
    return (
        _matches_only(sampler, dataset)
        and isinstance(dataset, ShapesDataset)
        and 2 in dataset.options["objects"]
    )


def _binding(asked: Asked) -> dict[str, Any] | None:
    from mmgen.metrics.binding import binding_accuracy

    samples = asked.samples
    found = binding_accuracy(samples.images, samples.captions, asked.sampler)
    return found.to_json() or None


BINDING = Measure(_asked_of_two, _binding)
