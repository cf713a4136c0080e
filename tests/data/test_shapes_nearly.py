"""Captions that are wrong in one fact: never right, in the same words and language."""

from collections import Counter

import numpy as np
import pytest
import torch

from mmgen.data import load_dataset
from mmgen.data.shapes import (
    HELD_OUT,
    Demand,
    describe,
    facts,
    judge,
    parse,
    sample_scenes,
)
from mmgen.data.shapes.demand import ObjectDemand, canonical
from mmgen.data.shapes.hard_negatives import (
    WRONG_KINDS,
    nearly,
    nearly_of_kind,
    wrong_in_one_fact,
)

CHANCES = np.random.default_rng(0).random((3000, 2)).tolist()


@pytest.fixture(scope="module")
def pairs() -> list:
    scenes = sample_scenes(3000, seed=7)
    rows = zip(scenes, CHANCES, strict=True)
    return [(scene, nearly(facts(scene), *chance)) for scene, chance in rows]


def test_no_scene_meets_the_changed_demand(pairs):
    for scene, wrong in pairs:
        assert not all(judge(wrong, scene).values()), (scene, wrong)


def test_every_changed_demand_can_be_told_and_read(pairs):
    for i, (_, wrong) in enumerate(pairs):
        assert parse(describe(wrong, ("en", "zh")[i % 2], i)) == wrong


def test_what_is_changed_is_little(pairs):
    """One group, or one exchange between two, or the relation, or the background."""
    for scene, wrong in pairs:
        right = facts(scene)
        before, after = (
            Counter(
                {(g.shape, g.colour, g.size, g.position): g.count for g in d.objects}
            )
            for d in (right, wrong)
        )
        parts = [
            before != after,
            # told of the other object first, a relation may turn round by itself
            before == after and right.relation != wrong.relation,
            right.background != wrong.background,
        ]
        assert sum(parts) == 1
        assert (right.relation is None) == (wrong.relation is None)
        assert (right.background is None) == (wrong.background is None)
        assert len(before - after) <= 2 and wrong.count <= 4


def test_every_kind_of_fact_is_changed_sometimes(pairs):
    said = [(s, w) for s, w in pairs if "background" in s.mentions]
    grounds = sum(facts(s).background != w.background for s, w in said)
    assert 0.1 < grounds / len(said) < 0.5
    related = [(s, w) for s, w in pairs if "relation" in s.mentions]
    turned = sum(facts(s).objects == w.objects for s, w in related)
    assert 0.1 < turned / len(related) < 0.6


def test_the_kind_of_fact_that_is_wrong_is_known(pairs):
    """Every changed demand is one of those listed."""
    names = Counter()
    for scene, wrong in pairs[:500]:
        kinds = wrong_in_one_fact(facts(scene))
        found = [name for name, options in kinds.items() if wrong in options]
        assert found, (scene, wrong)
        names.update(found)
        for name, options in kinds.items():
            assert options and facts(scene) not in options
            same = [option.background == facts(scene).background for option in options]
            assert not any(same) if name == "background" else all(same)
            assert all(o.relation is not None for o in options) == (
                facts(scene).relation is not None
            )
    assert set(names) == {
        "shape",
        "colour",
        "size",
        "position",
        "number",
        "relation",
        "background",
        "shapes exchanged",
        "colours exchanged",
    }


def test_pairs_that_training_never_shows_are_not_made(pairs):
    named = {(g.colour, g.shape) for _, wrong in pairs for g in wrong.objects}
    assert not named & HELD_OUT and len(named) > 30


def test_captions_of_held_out_pairs_keep_them():
    """Nothing but its one wrong fact tells a wrong caption from the right one."""
    held_out = sorted(HELD_OUT)[:2]
    things = tuple(ObjectDemand(shape, colour, "small") for colour, shape in held_out)
    demand = canonical(things, "right of", "white")
    options = wrong_in_one_fact(demand)
    assert set(options) >= {"shape", "colour", "size", "relation", "background"}
    for wrong in options["size"] + options["relation"] + options["background"]:
        assert {(g.colour, g.shape) for g in wrong.objects} == set(held_out)
    for found in options.values():
        named = {(g.colour, g.shape) for wrong in found for g in wrong.objects}
        assert not (named & HELD_OUT) - set(held_out)


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_a_batch_gets_captions_of_its_languages(language):
    dataset = load_dataset("shapes", "train", 16, language, size=64)
    batch = dataset.batch(range(64))
    chances = np.random.default_rng(1).random((64, 3)).tolist()
    tokens, lengths, ids = dataset.alternatives.hard_negatives(batch, chances)
    assert tokens.shape == batch.tokens.shape and lengths.min() > 0
    assert (ids != batch.class_ids).all()
    texts = dataset.vocabulary.decode(tokens)
    for text, right, identity in zip(texts, batch.captions, ids.tolist(), strict=True):
        assert text.isascii() == right.isascii() and "<unk>" not in text
        assert parse(text) == Demand.of_id(identity)
    again = dataset.alternatives.hard_negatives(batch, chances)
    assert all(map(torch.equal, (tokens, lengths, ids), again))


def test_data_that_cannot_tell_says_so():
    dataset = load_dataset("emoji", "train", 16, subset="roles")
    assert dataset.alternatives is None


# What a changed fact leaves as it was: all but these parts of a demand's groups.
_PARTS = {
    "shape": ("colour", "size", "position", "count"),
    "colour": ("shape", "size", "position", "count"),
    "size": ("shape", "colour", "position", "count"),
    "position": ("shape", "colour", "size", "count"),
    "number": ("shape", "colour", "size", "position"),
}


def _rest(demand: Demand, parts: tuple[str, ...]) -> Counter:
    rows = [group for group in demand.objects for _ in range(group.count)]
    kept = [tuple(getattr(g, part) for part in parts if part != "count") for g in rows]
    return Counter(kept) if "count" in parts else Counter(set(kept))


def test_the_kind_says_what_is_wrong():
    """Each kind is decided anew from the two demands, and all kinds occur."""
    seen: Counter[str] = Counter()
    for scene, chance in zip(sample_scenes(3000, seed=7), CHANCES, strict=True):
        right = facts(scene)
        kind, wrong = nearly_of_kind(right, *chance)
        assert wrong == nearly(right, *chance)
        seen[kind] += 1
        same_groups = right.objects == wrong.objects
        assert (kind == "background") == (right.background != wrong.background)
        assert (kind == "relation") == (
            right.relation != wrong.relation and same_groups
        )
        assert (kind == "number") == (right.count != wrong.count)
        if kind in _PARTS:
            assert _rest(right, _PARTS[kind]) == _rest(wrong, _PARTS[kind])
        if kind == "binding":  # the same shapes, and the same colours, bound anew
            for part in ("shape", "colour"):
                assert _rest(right, (part,)) == _rest(wrong, (part,))
            assert not same_groups
    assert set(seen) == set(WRONG_KINDS)
    assert min(seen.values()) > 30


def test_two_exchanges_that_turn_a_relation_around_are_a_wrong_relation():
    """A red circle left of a red square: shapes exchanged, or right of it, is one."""
    pair = (ObjectDemand("circle", "red"), ObjectDemand("square", "red"))
    right = Demand(pair, "left of")
    made = {
        nearly_of_kind(right, which, what)
        for which in np.linspace(0, 0.999, 40)
        for what in np.linspace(0, 0.999, 12)
    }
    kinds: dict[Demand, set[str]] = {}
    for kind, wrong in made:
        kinds.setdefault(wrong, set()).add(kind)
    assert all(len(found) == 1 for found in kinds.values())
    assert kinds[Demand(pair, "right of")] == {"relation"}
    assert "binding" not in {kind for kind, _ in made}


def test_of_a_batch_texts_and_kinds_are_those_of_the_hard_negatives():
    data = load_dataset("shapes", "train", 16, language="both", size=64)
    batch = data.batch(range(32))
    chances = np.random.default_rng(1).random((32, 3)).tolist()
    tokens, lengths, ids = data.alternatives.hard_negatives(batch, chances)
    captions, kinds = data.alternatives.wrong_captions(batch, chances)
    again, sizes = data.vocabulary.encode(captions, data.max_tokens)
    assert torch.equal(tokens, again) and torch.equal(lengths, sizes)
    assert [parse(caption).id for caption in captions] == ids.tolist()
    made = [
        nearly_of_kind(Demand.of_id(right), *chance[:2])[0]
        for right, chance in zip(batch.class_ids.tolist(), chances, strict=True)
    ]
    assert kinds == made
    assert data.alternatives.wrong_captions(batch[:0], []) == ([], [])
