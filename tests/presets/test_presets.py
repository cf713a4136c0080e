"""Presets: found by name, equal to the cards of their weights, and ready to train."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgen.data import load_dataset
from mmgen.interfaces import Task
from mmgen.presets import DECISIVE, Preset, chain, find, published
from mmgen.presets.datasets import ENGLISH
from mmgen.pretrained import available, card
from mmgen.registry import METHODS, class_path, find_class
from mmgen.training import TrainingConfig, build
from mmgen.training.config import SCALES
from tests.data.fakes import make_coco, make_cub


def of_method(method: str) -> tuple[Preset, ...]:
    """The published presets of a method's module, and their stages."""
    return find_class(f"mmgen.presets.{method.replace('-', '_')}:PUBLISHED")


PUBLISHED = published()
NAMED = {preset.name: preset for method in METHODS for preset in of_method(method)}
INCEPTION = {("damsm", name) for name in ("cub", "coco")}  # waits for its weights
REFUSED = {
    ("attngan", "cub"): "damsm-cub",  # a matching model has to be trained first
    ("attngan", "coco"): "damsm-coco",
    ("attngan-modern", "cub"): "damsm-cub",
    ("attngan-modern", "coco"): "damsm-coco",
    ("reader", "coco"): "attributes",
    # only Shapes knows what its pictures show
    **{("fuse", name): f"'{name}' cannot" for name in ("emoji", "cub", "coco")},
    # codes of these pictures have to be made first
    **{
        (method, name): f"vq-{name}32"
        for method in ("ar", "masked", "joint", "flow")
        for name in ("emoji", "cub", "coco")
    },
}
# The family of a weight's name, where it is shorter than the method's; an autoencoder
# without codes quantises nothing.
SHORTER = {"vqvae": "(vq|ae)"}
BOOKKEEPING = {
    *("accelerator", "devices", "strategy", "checkpoint_every", "log_every"),
    *("sample_every", "workers", "max_minutes", "compile", "channels_last"),
    *("deterministic", "tensorboard", "progress", "out", "start_from"),
}


def plain(value: Any) -> Any:
    """As JSON has it: tuples are lists."""
    return json.loads(json.dumps(value))


def same_place(path: str) -> str:
    """Where a class is defined, whatever module it was named by."""
    return class_path(find_class(path))


@cache
def full_data(arguments: str) -> dict[str, Any]:
    """What a card says of the data set with these arguments, defaults included."""
    data = load_dataset(**json.loads(arguments))
    return {
        "name": data.name,
        "split": data.split,
        "image_size": data.image_size,
        "language": data.language,
        "options": plain(data.options),
    }


def differences(about: dict[str, Any], preset: Preset) -> dict[str, tuple[Any, Any]]:
    """Field -> what the card says and what the preset says, where these differ."""
    here: dict[str, Any] = {
        "preset": preset.name,
        "task": same_place(METHODS[preset.method]),
        "start": preset.start,
        "stopped": "finished",
        "steps": preset.training.steps,
    }
    there: dict[str, Any] = {name: about.get(name) for name in here}
    there["task"] = same_place(about["task"])
    data = full_data(json.dumps(preset.data))
    for group, ours, theirs in (
        ("data", data, {name: about["data"].get(name) for name in data}),
        ("task_config", plain(dataclasses.asdict(preset.config)), about["task_config"]),
        (
            "training",
            {name: getattr(preset.training, name) for name in DECISIVE},
            {name: about["training"].get(name) for name in DECISIVE},
        ),
    ):
        for name in ours.keys() | theirs.keys():
            here[f"{group}.{name}"] = ours.get(name, "not there")
            there[f"{group}.{name}"] = theirs.get(name, "not there")
    return {key: (there[key], here[key]) for key in here if there[key] != here[key]}


# --- published weights ----------------------------------------------------------------


def test_every_published_weight_has_a_preset_and_the_reverse() -> None:
    assert set(PUBLISHED) == set(available())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_card_equals_the_preset(name: str) -> None:
    if PUBLISHED[name].data["name"] == "emoji":
        pytest.importorskip("emoji")
    assert differences(card(name), PUBLISHED[name]) == {}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_weights_are_of_the_architecture_of_the_preset(name: str) -> None:
    stored = card(name)["init_args"]["config"]
    config = PUBLISHED[name].config
    kept = {
        key: value
        for key, value in plain(dataclasses.asdict(config)).items()
        if key not in type(config).TRAINING
    }
    assert stored == kept


def test_a_difference_is_found() -> None:
    preset = PUBLISHED["vae-shapes64"]
    about: dict[str, Any] = {
        "preset": preset.name,
        "task": METHODS["vae"],
        "start": None,
        "stopped": "finished",
        "steps": preset.training.steps,
        "data": full_data(json.dumps(preset.data)),
        "task_config": plain(dataclasses.asdict(preset.config)),
        "training": dataclasses.asdict(preset.training),
    }
    assert differences(about, preset) == {}
    for group, field, value in (
        ("data", "language", "zh"),
        ("data", "options", {**about["data"]["options"], "objects": [1, 2]}),
        ("task_config", "sigma", 0.25),
        ("task_config", "gone", 1),
        ("training", "seed", 1),
    ):
        other = {**about, group: {**about[group], field: value}}
        assert len(differences(other, preset)) == 1, field
    assert list(differences({**about, "start": "other"}, preset)) == ["start"]


def test_every_field_of_a_training_is_decisive_or_bookkeeping() -> None:
    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    assert set(DECISIVE) | BOOKKEEPING >= fields
    assert set(DECISIVE) <= fields and not set(DECISIVE) & BOOKKEEPING


@pytest.mark.parametrize("name", NAMED)
def test_chains_end_and_each_link_exists(name: str) -> None:
    links = [NAMED[name]]
    while links[0].start is not None:
        links.insert(0, NAMED[links[0].start])
        names = [link.name for link in links]
        assert len(set(names)) == len(names), "a chain in a circle"
    assert chain(name) == tuple(links)
    # a word's vector must stand for the same word in all of them
    assert len({(link.data["name"], link.data["language"]) for link in links}) == 1


def test_no_name_twice_and_no_stage_that_nothing_starts_from() -> None:
    names = [preset.name for method in METHODS for preset in of_method(method)]
    assert len(set(names)) == len(names)
    started = {preset.start for preset in NAMED.values()}
    stages = {preset.name for preset in NAMED.values() if preset.stage}
    assert stages <= started
    assert stages.isdisjoint(PUBLISHED)


@pytest.mark.parametrize("name", NAMED)
def test_a_preset_names_its_method_and_no_folder(name: str) -> None:
    preset = NAMED[name]
    assert preset in of_method(preset.method)
    # "attngan-shapes64" is of a variant of its method, "attngan-paper-…" says of which
    family = preset.method.partition("-")[0]
    family = SHORTER.get(family, family)
    pattern = rf"{family}(-[a-z]+)?-{preset.data['name']}\d+"
    assert re.match(pattern, name)
    assert (preset.training.out, preset.training.start_from) == (None, None)
    assert preset.training.max_minutes is None


# --- scales ---------------------------------------------------------------------------


def tiny(preset: Preset, folder: Path) -> Any:
    """The data set of a preset, as small as it can be had."""
    name = preset.data["name"]
    if name == "shapes":
        return load_dataset(**{**preset.data, "size": 64})
    if name == "emoji":
        pytest.importorskip("emoji")
        return load_dataset(**{**preset.data, "split": "validation"})
    make = {"cub": make_cub, "coco": make_coco}[name]
    return load_dataset(
        **preset.data, root=make(folder, per_image=3), captions_per_image=3
    )


@pytest.mark.parametrize("name", ["shapes", "emoji", "cub", "coco"])
@pytest.mark.parametrize("method", METHODS)
def test_a_task_is_built_at_smoke_scale(method: str, name: str, tmp_path: Path) -> None:
    preset = find(method, "smoke", name)
    data = tiny(preset, tmp_path)
    task_class: type[Task] = find_class(METHODS[method])
    if (method, name) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[method, name]):
            build(task_class, preset.config, data)
        return
    if (method, name) in INCEPTION:
        weights = tmp_path / "inception.pth"  # what torchvision would fetch
        torch.save({}, weights)
        config = dataclasses.replace(preset.config, encoder_weights=str(weights))
        with pytest.raises((ValueError, RuntimeError), match="inception"):
            build(task_class, config, data)
        return
    task = build(task_class, preset.config, data)
    assert isinstance(task, task_class) and task.networks
    assert set(task.averaged) <= set(task.networks)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["shapes", "emoji", "cub", "coco"])
@pytest.mark.parametrize("method", METHODS)
def test_presets_are_named_after_what_they_train(
    method: str, name: str, scale: str
) -> None:
    preset = find(method, scale, name)
    assert preset.name == f"{method}-{name}-{scale}" and preset.method == method
    assert preset.data["name"] == name and preset.data["split"] == "train"
    assert preset.data["image_size"] > 0
    # photographs have English captions only
    assert preset.data["language"] in (("en",) if name in ENGLISH else ("en", "both"))
    assert not preset.stage and preset.start is None
    assert preset.training.out is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "name"),
    [
        (method, name)
        for method in METHODS
        for name in ("shapes", "emoji")
        if (method, name) != ("fuse", "emoji")  # refused, as above
    ],
)
def test_networks_of_the_full_scale_fit_into_the_repository(
    method: str, name: str, tmp_path: Path
) -> None:
    preset = find(method, "full", name)
    task = build(find_class(METHODS[method]), preset.config, tiny(preset, tmp_path))
    sampler = task.sampler(task.networks)
    # what is published under a name of its own is not stored again
    state = sampler.state_dict().items()
    stored = sum(v.numel() for k, v in state if not k.startswith("tokenizer."))
    half_precision = 2 * stored
    assert half_precision < 12e6


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "steps"), [("cub", 36_800), ("coco", 172_400)])
def test_photographs_are_matched_as_in_the_paper(
    scale: str, name: str, steps: int
) -> None:
    preset = find("damsm", scale, name)
    config, training = preset.config, preset.training
    assert (config.encoder, config.feature_dim, config.embedding_dim) == (
        "inception",
        256,
        300,
    )
    assert (preset.data["image_size"], preset.data["language"]) == (299, "en")
    assert training.steps <= steps
    if scale == "full":  # 200 and 100 epochs of batches of 48
        assert (training.steps, training.batch_size) == (steps, 48)
    assert find("damsm", scale, "features").config == config


# --- names that do not exist ----------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cgann", "smoke", "shapes"), r"unknown method 'cgann'; .*mean cgan\?"),
        (("cgan", "labtop", "shapes"), r"unknown scale 'labtop'; .*mean laptop\?"),
        (("cgan", "smoke", "shape"), r"unknown data set 'shape'; .*mean shapes\?"),
    ],
)
def test_find_says_the_nearest_name(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find(*arguments)


def test_chain_says_the_nearest_name() -> None:
    message = r"preset 'vae-shapes46'; .*mean vae-shapes64\?"
    with pytest.raises(ValueError, match=message):
        chain("vae-shapes46")


def test_importing_the_room_loads_no_torch() -> None:
    code = "import sys, mmgen.presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
