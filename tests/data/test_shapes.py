"""The world of Shapes: scenes, pictures, captions and what is read back."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mmgen.data import load_dataset
from mmgen.data.shapes import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    KINDS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    SPLITS,
    TASKS,
    Demand,
    Object,
    Scene,
    SceneTable,
    facts,
    judge,
    palettes,
    parse,
    read,
    render,
    sample_scenes,
)
from mmgen.data.shapes.drawing import coverage
from mmgen.data.shapes.world import GAP, SCALE, UNITS, holds, relation_of

STAR = Object.at("star", "red", "large", "upper left")
CIRCLE = Object.at("circle", "blue", "small", "lower right")


def differences(truth: Scene, seen: Scene) -> list[str]:
    """Attributes in which a scene read differs from the one that was drawn."""
    if len(truth.objects) != len(seen.objects):
        return ["count"]
    wrong = ["background"] if truth.background != seen.background else []
    left = list(seen.objects)
    for thing in truth.objects:
        match = min(left, key=lambda o: np.hypot(o.x - thing.x, o.y - thing.y))
        left.remove(match)
        wrong += [
            name
            for name in ("shape", "colour", "size", "position")
            if getattr(thing, name) != getattr(match, name)
            # the nearest position of several objects may be any of two
            and (name != "position" or len(truth.objects) == 1)
        ]
        if np.hypot(match.x - thing.x, match.y - thing.y) > 0.03:
            wrong.append("place")
    return wrong


def share_right(scenes: SceneTable, images: torch.Tensor) -> float:
    seen = read(images).scenes
    return np.mean([not differences(*pair) for pair in zip(scenes, seen, strict=True)])


def disturbed(images: torch.Tensor) -> torch.Tensor:
    """Blurred with the binomial kernel 1 2 1 and noisy with sigma 0.05."""
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(3, 1, 3, 3)
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator)
    return functional.conv2d(padded, kernel, groups=3) + 0.05 * noise


# The world


def test_the_world_is_as_large_as_it_should_be():
    sizes = [len(v) for v in (COLOURS, SHAPES, SIZES, POSITIONS, RELATIONS)]
    assert sizes == [8, 6, 2, 5, 4] and len(BACKGROUNDS) >= 4


@pytest.fixture(scope="module")
def scenes() -> SceneTable:
    return sample_scenes(3000, seed=11)


def test_scenes_hold_what_their_kinds_ask_for(scenes):
    tasks = {facts(scene).task for scene in scenes}
    assert tasks == set(TASKS)
    assert set(scenes.counts().tolist()) == {1, 2, 3, 4}
    present = scenes.codes[scenes.codes[..., 0] >= 0]
    for column, values in enumerate((SHAPES, COLOURS, SIZES)):
        assert set(present[:, column].tolist()) == set(range(len(values)))
    assert set(scenes.backgrounds.tolist()) == set(range(len(BACKGROUNDS)))


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("single", "single object"),
        ("colours", "colours"),
        ("two", "two objects"),
        ("counting", "counting"),
        ("position", "position"),
        ("binding", "attribute binding"),
    ],
)
def test_a_kind_serves_its_task(kind, task):
    for scene in sample_scenes(200, kinds=(kind,)):
        assert facts(scene).task == task


def test_no_two_objects_touch_and_none_leaves_the_picture():
    table = sample_scenes(1500, seed=2, objects=(2, 3, 4))
    alpha = coverage(torch.from_numpy(table.codes).long(), 128)
    assert ((alpha > 0).sum(1) <= 1).all()
    ring = torch.ones(128, 128, dtype=torch.bool)
    ring[1:-1, 1:-1] = False
    assert (alpha[..., ring] == 0).all()
    for scene in table:
        for a, b in combinations(scene.objects, 2):
            space = np.hypot(a.x - b.x, a.y - b.y) * UNITS
            assert space >= SCALE[a.size] + SCALE[b.size] + GAP


def test_relations_are_clear_and_in_their_order():
    seen = set()
    for scene in sample_scenes(500, kinds=("position",)):
        relation = relation_of(scene.objects)
        seen.add(relation)
        first, second = scene.objects
        assert holds(relation, first, second)
        others = [r for r in RELATIONS if r != relation]
        assert not any(holds(r, first, second) for r in others)
    assert seen == set(RELATIONS)


def test_a_diagonal_pair_satisfies_two_words_and_an_upright_one_a_single():
    low = Object("star", "red", "small", 0.3, 0.3)
    diagonal = Object("star", "red", "small", 0.7, 0.7)
    assert [r for r in RELATIONS if holds(r, low, diagonal)] == ["left of", "above"]
    upright = Object("star", "red", "small", 0.32, 0.7)
    assert [r for r in RELATIONS if holds(r, low, upright)] == ["above"]
    assert not any(holds(r, low, low) for r in RELATIONS)


def test_held_out_pairs_stay_out_and_come_back_in_their_split():
    for split in SPLITS:
        for scene in sample_scenes(1000, split=split):
            held = [(o.colour, o.shape) in HELD_OUT for o in scene.objects]
            assert any(held) == (split == "compositional")
            if split == "compositional":
                assert "colour" in scene.mentions
    # every colour and every shape is known from other pairs
    assert {c for c, _ in HELD_OUT} == set(COLOURS) and len(HELD_OUT) == len(COLOURS)
    assert all(sum(s == shape for _, s in HELD_OUT) < 3 for shape in SHAPES)


def test_sample_i_is_the_same_on_every_machine_and_in_every_company():
    table = sample_scenes(100, seed=7)
    known = [
        (3, 3, 0, 365, 382, 3, 7),
        (0, 5, 1, 256, 242, 0, 1),
        (0, 2, 0, 381, 139, 0, 1),
        (1, 4, 1, 379, 123, 1, 23),
    ]
    rows = [
        (*table.codes[i, 0].tolist(), int(b), int(m))
        for i, (b, m) in enumerate(
            zip(table.backgrounds[:4], table.mentions[:4], strict=True)
        )
    ]
    assert rows == known
    assert list(sample_scenes(5, seed=7, start=90)) == list(table[90:95])
    assert list(sample_scenes(9000, seed=7)[8990:]) == list(
        sample_scenes(10, seed=7, start=8990)
    )
    assert list(table) != list(sample_scenes(100, seed=8))


def test_tables_and_scenes_are_the_same(scenes):
    again = SceneTable.of(list(scenes[:200]))
    for name in ("codes", "backgrounds", "mentions"):
        assert np.array_equal(getattr(again, name), getattr(scenes[:200], name)), name


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("ring", "red", "large", 0.5, 0.5), "shape must be one of .* got 'ring'"),
        (("star", "teal", "large", 0.5, 0.5), "colour must be one of .* got 'teal'"),
        (("star", "red", "medium", 0.5, 0.5), "size must be one of .* got 'medium'"),
        (("star", "red", "large", 1.5, 0.5), r"x must lie in 0\.\.1; got 1\.5"),
        (("star", "red", "large", 0.5, float("nan")), r"y must lie in 0\.\.1; got nan"),
    ],
)
def test_an_object_refuses_what_the_world_lacks(arguments, match):
    with pytest.raises(ValueError, match=match):
        Object(*arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (((STAR,), "teal"), "background must be one of"),
        (((STAR,), "white", ("taste",)), "mentions must be one of"),
        (((STAR, CIRCLE), "white", ("position",)), "position is stated of one object"),
        (((STAR,), "white", ("relation",)), "relation is stated of two objects"),
        (((STAR, STAR), "white", ("relation",)), "relation is stated of two objects"),
    ],
)
def test_a_scene_refuses_mentions_that_do_not_fit(arguments, match):
    with pytest.raises(ValueError, match=match):
        Scene(*arguments)


def test_an_unknown_position_is_refused():
    with pytest.raises(ValueError, match="position must be one of center"):
        Object.at("star", "red", "large", "top")


# Pictures


def test_pictures_have_the_colours_of_the_palette():
    colours, grounds = palettes()
    for background in BACKGROUNDS:
        for colour in COLOURS:
            thing = Object.at("square", colour, "large", "center")
            picture = render([Scene((thing,), background)], 64)[0]
            torch.testing.assert_close(
                picture[:, 32, 32], colours[COLOURS.index(colour)]
            )
            torch.testing.assert_close(
                picture[:, 0, 0], grounds[BACKGROUNDS.index(background)]
            )


def test_a_circle_covers_the_area_of_a_circle():
    codes = torch.tensor([[[0, 0, 1, 211, 307], [0, 0, 0, 100, 100]]])
    for size in (32, 64, 128):
        area = coverage(codes, size).sum((2, 3))[0] * (UNITS / size) ** 2
        wanted = torch.tensor(
            [np.pi * SCALE["large"] ** 2, np.pi * SCALE["small"] ** 2]
        )
        torch.testing.assert_close(area, wanted.float(), rtol=2e-3, atol=0)


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_a_smaller_picture_is_the_mean_over_the_pixels_of_a_larger_one(size, scenes):
    small, large = render(scenes[:40], size), render(scenes[:40], 512)
    torch.testing.assert_close(
        functional.avg_pool2d(large, 512 // size), small, atol=2e-5, rtol=0
    )


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from(SIZES),
    start=st.tuples(st.integers(110, 200), st.integers(110, 200)),
    move=st.tuples(st.integers(0, 25), st.integers(0, 25)),
)
def test_moving_an_object_by_pixels_moves_its_picture(shape, size, start, move):
    pixel = UNITS // 64
    before = Object(shape, "blue", size, start[0] / UNITS, start[1] / UNITS)
    after = Object(
        shape, "blue", size, before.x + move[0] / 64, before.y + move[1] / 64
    )
    assert round(after.x * UNITS) - round(before.x * UNITS) == pixel * move[0]
    a, b = render([Scene((before,)), Scene((after,))], 64)
    assert torch.equal(a.roll((move[1], move[0]), (1, 2)), b)


def test_every_shape_is_upright_and_symmetric():
    table = SceneTable.of(
        Scene((Object(shape, "black", "large", 0.5, 0.5),)) for shape in SHAPES
    )
    pictures = render(table, 64)
    torch.testing.assert_close(pictures, pictures.flip(3), atol=1e-5, rtol=0)
    upside = pictures.flip(2)
    changed = [(a - b).abs().max() > 0.5 for a, b in zip(pictures, upside, strict=True)]
    assert [SHAPES[i] for i, c in enumerate(changed) if c] == [
        "triangle",
        "star",
        "heart",
    ]


def test_a_picture_hangs_on_its_scene_alone(scenes):
    together = render(scenes[:50], 32)
    for i in (0, 17, 49):
        torch.testing.assert_close(render([scenes[i]], 32)[0], together[i])
    assert together.min() >= -1 and together.max() <= 1
    assert render([], 32).shape == (0, 3, 32, 32)


def test_sizes_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match=r"image_size must be one of .* got 48"):
        render([Scene((STAR,))], 48)


# Demands


def test_a_demand_and_its_id_are_the_same(scenes):
    demands = {facts(scene) for scene in scenes}
    assert len({demand.id for demand in demands}) == len(demands)
    assert all(Demand.of_id(demand.id) == demand for demand in demands)
    assert max(demand.id for demand in demands) < 2**48


# Reading


@pytest.mark.parametrize(("size", "objects"), [(64, (1, 2, 3, 4)), (32, (1, 2))])
def test_read_finds_what_was_drawn(size, objects):
    table = sample_scenes(150, seed=31, objects=objects)
    pictures = render(table, size)
    assert share_right(table, pictures) == 1
    assert share_right(table, disturbed(pictures)) >= 0.97
    assert read(pictures).confidence.min() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("size", "objects"), [(64, (1, 2, 3, 4)), (32, (1, 2))])
def test_read_finds_two_thousand_scenes(size, objects):
    table = sample_scenes(2000, seed=41, objects=objects)
    pictures = render(table, size)
    assert share_right(table, pictures) >= 0.995
    assert share_right(table, disturbed(pictures)) >= 0.97


def test_read_bears_colours_a_little_off_and_sizes_between():
    table = sample_scenes(100, seed=51, objects=(1, 2))
    pictures = (render(table, 64) * 0.85 + 0.08).clamp(-1, 1)
    assert share_right(table, pictures) >= 0.97
    for size in (128, 256):
        assert share_right(table[:20], render(table[:20], size)) == 1


def test_a_picture_is_read_the_same_in_any_company(scenes):
    pictures = disturbed(render(scenes[:40], 64))
    together = read(pictures)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    shuffled = read(pictures[order])
    assert shuffled.scenes == [together.scenes[i] for i in order.tolist()]
    torch.testing.assert_close(shuffled.confidence, together.confidence[order])
    assert read(pictures[7:8]).scenes == [together.scenes[7]]


def test_an_empty_picture_shows_nothing_and_noise_is_not_believed():
    empty = read(render([Scene((), ground) for ground in BACKGROUNDS], 64))
    assert [scene.objects for scene in empty.scenes] == [()] * len(BACKGROUNDS)
    assert [scene.background for scene in empty.scenes] == list(BACKGROUNDS)
    assert empty.confidence.min() > 0.99
    noise = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert read(noise * 2 - 1).confidence.max() < 0.5
    assert len(read(torch.empty(0, 3, 64, 64))) == 0


def test_a_stain_is_no_object():
    stain = render([Scene((Object.at("circle", "pink", "large", "center"),))], 64)
    paper = render([Scene(())], 64)
    seen = [read(paper + share * (stain - paper)).scenes[0] for share in (0.2, 0.8)]
    assert [len(scene.objects) for scene in seen] == [0, 1]


def test_a_fifth_object_is_seen():
    things = tuple(
        Object.at("circle", "red", "small", position) for position in POSITIONS
    )
    assert len(read(render([Scene(things)], 64)).scenes[0].objects) == 5


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (torch.zeros(3, 64, 64), r"shape \(B, 3, H, W\)"),
        (torch.zeros(1, 1, 64, 64), r"shape \(B, 3, H, W\)"),
        (torch.zeros(1, 3, 64, 32), r"H = W"),
        (torch.zeros(1, 3, 48, 48), "pixels wide to be read; got 48"),
        (torch.zeros(1, 3, 16, 16), "pixels wide to be read; got 16"),
        (torch.full((1, 3, 64, 64), float("nan")), "must be finite"),
    ],
)
def test_read_refuses_what_is_no_picture(images, match):
    with pytest.raises(ValueError, match=match):
        read(images)


# Judging


def change(thing: Object, **changes) -> Object:
    fields = ("shape", "colour", "size", "x", "y")
    return Object(**{name: getattr(thing, name) for name in fields} | changes)


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"shape": "heart"}, ["shape"]),
        ({"colour": "green"}, ["colour"]),
        ({"size": "small"}, ["size"]),
        ({"x": 0.7}, ["position"]),
    ],
)
def test_one_changed_attribute_is_wrong_and_no_other(changed, wrong):
    demand = facts(Scene((STAR,), "gray", ("colour", "size", "position", "background")))
    verdict = judge(demand, Scene((change(STAR, **changed),), "gray"))
    assert [name for name, right in verdict.items() if not right] == wrong
    assert list(verdict) == [
        "count",
        "shape",
        "colour",
        "size",
        "position",
        "background",
    ]


@pytest.mark.parametrize(
    ("caption", "objects", "wrong"),
    [
        ("a red star and a blue circle", (STAR, CIRCLE), []),
        ("a red star and a blue circle", (CIRCLE, STAR), []),
        ("a blue star and a red circle", (STAR, CIRCLE), ["colour"]),
        (
            "a red star and a blue circle",
            (STAR,),
            ["count", "shape", "colour"],
        ),
        ("a red star", (STAR, CIRCLE), ["count"]),
        ("a red star above a blue circle", (STAR, CIRCLE), []),
        ("a red star below a blue circle", (STAR, CIRCLE), ["relation"]),
        ("three red stars", (STAR, STAR), ["count"]),
        ("two red stars", (STAR, change(STAR, colour="pink")), ["colour"]),
        ("a red star on a gray background", (STAR,), ["background"]),
        ("a small star", (), ["count", "shape", "size"]),
        ("a star", (change(STAR, colour="black"),), []),
    ],
)
def test_what_is_asked_for_and_not_shown_is_wrong(caption, objects, wrong):
    verdict = judge(parse(caption), Scene(objects))
    assert [name for name, right in verdict.items() if not right] == wrong


# The data set


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_batches_fit_together(language):
    dataset = load_dataset("shapes", "test", 32, language, size=300)
    batch = dataset.batch(range(300), epoch=2)
    assert batch.images.shape == (300, 3, 32, 32)
    assert batch.tokens.shape == (300, dataset.max_tokens)
    assert (batch.tokens != 1).all()  # the vocabulary knows every word
    scenes = list(batch.scenes)
    torch.testing.assert_close(batch.images, render(scenes, 32))
    demands = [facts(scene) for scene in scenes]
    assert [parse(caption) for caption in batch.captions] == demands
    assert batch.class_ids.tolist() == [demand.id for demand in demands]
    same = batch.class_ids[:, None] == batch.class_ids
    assert same.tolist() == [[a == b for b in demands] for a in demands]
    tokens, lengths = dataset.vocabulary.encode(batch.captions, dataset.max_tokens)
    assert torch.equal(tokens, batch.tokens) and torch.equal(lengths, batch.lengths)
    for name, column in zip(dataset.attributes, batch.attributes.T, strict=True):
        values = [dataset.attributes[name][i] for i in column.tolist()]
        first = [in_reading_order(scene.objects)[0] for scene in scenes]
        assert values == [getattr(thing, name) for thing in first], name


def in_reading_order(objects):
    """Of two objects the one on the left, or above, first; more as they are."""
    turned = relation_of(objects) in ("right of", "below")
    return objects[::-1] if turned else objects


def test_labels_say_what_is_shown():
    names = ("background", "count", "relation", "other_shape", "other_size", "colour")
    dataset = load_dataset("shapes", "test", 16, attributes=names, size=400)
    assert tuple(dataset.attributes) == names
    batch = dataset.batch(range(400))
    for scene, row in zip(batch.scenes, batch.attributes.tolist(), strict=True):
        first, *others = objects = in_reading_order(scene.objects)
        shown = {
            "background": scene.background,
            "count": str(len(objects)),
            "relation": relation_of(objects),
            "other_shape": others[0].shape if others else None,
            "other_size": others[0].size if others else None,
            "colour": first.colour,
        }
        said = {
            name: dataset.attributes[name][value] if value >= 0 else None
            for name, value in zip(names, row, strict=True)
        }
        assert said == shown
    counts = {len(scene.objects) for scene in batch.scenes}
    relations = {relation_of(scene.objects) for scene in batch.scenes}
    assert counts == {1, 2, 3, 4} and relations == {None, *RELATIONS}


PAIRED = ("shape", "colour", "size")
ALL_LABELS = (*PAIRED, "relation", *(f"other_{name}" for name in PAIRED))


def test_labels_that_a_caption_allows_as_well():
    dataset = load_dataset(
        "shapes", "test", 16, objects=(1, 2), attributes=ALL_LABELS, size=400
    )
    batch = dataset.batch(range(400))
    allowed = dataset.alternatives.equally_right(batch)
    assert allowed.shape == (3, 400, 7) and allowed.dtype == batch.attributes.dtype
    open_pairs = 0
    rows = zip(batch.scenes, batch.attributes, allowed.unbind(1), strict=True)
    for scene, own, others in rows:
        if len(scene.objects) == 1 or "relation" in scene.mentions:
            assert (others == own).all()
            continue
        open_pairs += 1
        # every order of the objects beside and above each other, and nothing else
        first, second, relation = own[:3].tolist(), own[4:].tolist(), int(own[3])
        expected = {
            (*a, at, *b)
            for a, b in ((first, second), (second, first))
            for at in (RELATIONS.index("left of"), RELATIONS.index("above"))
        }
        found = {tuple(row) for row in (own.tolist(), *others.tolist())}
        assert found == expected and RELATIONS[relation] in ("left of", "above")
        # what the label says is a scene that the caption describes
        label = others[0].tolist()
        things = [
            replace(thing, shape=SHAPES[s], colour=COLOURS[c], size=SIZES[z])
            for thing, (s, c, z) in zip(
                in_reading_order(scene.objects), (label[:3], label[4:]), strict=True
            )
        ]
        assert facts(replace(scene, objects=tuple(things))) == facts(scene)
    assert open_pairs > 50
    assert torch.equal(allowed[:, :5], dataset.alternatives.equally_right(batch[:5]))
    alone = load_dataset("shapes", "test", 16, size=8)  # of one object of each scene
    assert len(alone.alternatives.equally_right(alone.batch(range(8)))) == 0


def test_labels_that_a_caption_tells():
    """Another value of a label changes what is demanded exactly if it is told."""
    names = ("shape", "colour", "size", "position", "background")
    dataset = load_dataset("shapes", "test", 16, attributes=names, size=300)
    batch = dataset.batch(range(300))
    told = dataset.alternatives.specified(batch)
    assert told.shape == (300, 5) and told.dtype == torch.bool
    for scene, row in zip(batch.scenes, told.tolist(), strict=True):
        first = in_reading_order(scene.objects)[0]
        others = tuple(thing for thing in scene.objects if thing is not first)
        values = dict(zip(names, row, strict=True))
        for name, known in (("shape", SHAPES), ("colour", COLOURS), ("size", SIZES)):
            other = known[(known.index(getattr(first, name)) + 1) % len(known)]
            changed = replace(scene, objects=(replace(first, **{name: other}), *others))
            assert (facts(changed) != facts(scene)) == values[name]
        ground = BACKGROUNDS[BACKGROUNDS.index(scene.background) - 1]
        changed = replace(scene, background=ground)
        assert (facts(changed) != facts(scene)) == values["background"]
        assert values["position"] == (facts(scene).objects[0].position is not None)
    assert told.any(dim=0).all() and not told[:, 1:].all(dim=0).any()


def test_labels_of_the_other_object_are_told_of_pairs():
    names = ("count", "relation", *(f"other_{name}" for name in PAIRED))
    dataset = load_dataset(
        "shapes", "test", 16, objects=(1, 2), attributes=names, size=200
    )
    batch = dataset.batch(range(200))
    told = dataset.alternatives.specified(batch).tolist()
    for scene, row in zip(batch.scenes, told, strict=True):
        pair = len(scene.objects) == 2
        said = {*scene.mentions, "shape", "count"}
        assert row == [
            True,
            *(pair and fact in said for fact in ("relation", *PAIRED)),
        ]


def test_both_mixes_languages_and_epochs_paraphrase():
    dataset = load_dataset("shapes", "train", 16, "both", size=200)
    first, second = (dataset.batch(range(200), epoch) for epoch in (0, 1))
    chinese = sum(not caption.isascii() for caption in first.captions)
    assert 70 < chinese < 130
    assert (
        sum(a != b for a, b in zip(first.captions, second.captions, strict=True)) > 90
    )
    assert torch.equal(first.images, second.images)
    again = load_dataset("shapes", "train", 16, "both", size=200)
    assert again.batch(range(200), 1).captions == second.captions


def test_options_restrict_what_is_shown():
    dataset = load_dataset("shapes", "train", 16, objects=(1, 2), size=300)
    assert set(dataset.scenes.counts().tolist()) == {1, 2}
    single = load_dataset(
        "shapes", "train", 16, objects=(1,), kinds=("single",), size=9
    )
    assert all(
        scene.mentions[:3] == ("colour", "size", "position")
        for scene in single.batch(range(9)).scenes
    )
    assert single.options == {
        "objects": (1,),
        "kinds": ("single",),
        "seed": 0,
        "size": 9,
    }
    assert set(KINDS) == set(dataset.options["kinds"])


def test_options_of_a_data_set_make_it_again():
    dataset = load_dataset("shapes", "validation", 16, seed=3, size=20, objects=[1, 3])
    again = load_dataset("shapes", "validation", 16, **dataset.options)
    assert list(again.scenes) == list(dataset.scenes)
    # a smaller set is the beginning of a larger one
    small = load_dataset("shapes", "validation", 16, seed=3, size=5, objects=[1, 3])
    assert list(small.scenes) == list(dataset.scenes[:5])
