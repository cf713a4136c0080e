"""Features kept on disk are those of the pictures, and only what fits is read."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmgen.data import load_dataset
from mmgen.data.storage.features import FeatureDataset, pack_features
from tests.data.fakes import make_cub


def pooled(images: Tensor) -> tuple[Tensor, Tensor]:
    """A trunk whose map and vector are means of the pixels."""
    return F.adaptive_avg_pool2d(images, 4), images.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cub(tmp_path_factory.mktemp("cub"))


@pytest.fixture(scope="module")
def folder(birds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures in three cuts each, four to a file."""
    folder = tmp_path_factory.mktemp("features")
    data = load_dataset("cub", "train", 32, root=birds, captions_per_image=3)
    packed = pack_features(
        data, pooled, folder, 3, encoder="mean", fingerprint="f", samples_per_shard=4
    )
    assert (packed.samples, packed.augmentations) == (6, 3)
    assert packed.bytes == sum(p.stat().st_size for p in folder.glob("*.npy"))
    return folder


def test_an_epoch_is_that_of_the_pictures(birds: Path, folder: Path) -> None:
    pictures = load_dataset("cub", "train", 32, root=birds, captions_per_image=3)
    features = load_dataset("features", "train", 32, root=folder)
    rows = [5, 0, 3]
    for epoch in (0, 1, 2, 3):
        expected, found = pictures.batch(rows, epoch), features.batch(rows, epoch)
        assert found.captions == expected.captions
        for name in ("tokens", "lengths", "class_ids", "indices"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
        assert found.images.shape == (3, 3, 0, 0)
        # the fourth epoch sees the first one's cuts again
        local, overall = pooled(pictures.batch(rows, epoch % 3).images)
        assert torch.equal(found.trunk_map, local.half())
        assert torch.equal(found.trunk_vector, overall.half())


def test_cuts_differ(folder: Path) -> None:
    data = load_dataset("features", "train", 32, root=folder)
    maps = [data.batch([0], epoch).trunk_map for epoch in range(3)]
    assert not torch.equal(maps[0], maps[1]) or not torch.equal(maps[0], maps[2])


def test_steps_and_slices_and_workers(folder: Path) -> None:
    data = load_dataset("features", "train", 32, root=folder)
    here = data.batches(4, seed=1)
    there = data.batches(4, seed=1, workers=1)
    for _ in range(3):
        batch, other = next(here), next(there)
        assert torch.equal(batch.trunk_map, other.trunk_map)
        assert batch.captions == other.captions
    assert torch.equal(batch[1:3].trunk_vector, batch.trunk_vector[1:3])


def test_mapped_files_are_not_pickled(folder: Path) -> None:
    data = load_dataset("features", "train", 32, root=folder)
    expected = data.batch([1]).trunk_map
    again = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) < 20_000
    assert torch.equal(again.batch([1]).trunk_map, expected)


def test_drawn_pictures_keep_captions_of_some_epochs(tmp_path: Path) -> None:
    shapes = load_dataset("shapes", "train", 16, "both", size=5)
    pack_features(
        shapes, pooled, tmp_path, encoder="mean", fingerprint="f", captions_per_sample=3
    )
    data = load_dataset("features", "train", 16, "both", root=tmp_path)
    for epoch in range(4):
        batch = data.batch(range(5), epoch)
        for i, text in enumerate(batch.captions):
            said = [shapes.batch([i], e).captions[0] for e in range(3)]
            assert text in said
            tokens, _ = shapes.vocabulary.encode([text], shapes.max_tokens)
            assert torch.equal(batch.tokens[i : i + 1], tokens)


def test_other_trunks_are_refused(folder: Path) -> None:
    data = load_dataset("features", "train", 32, root=folder)
    assert isinstance(data, FeatureDataset)
    data.check_trunk("mean", "f")
    with pytest.raises(ValueError, match=r"encoder must be 'mean'.*got 'inception'"):
        data.check_trunk("inception", "f")
    with pytest.raises(ValueError, match="those of other weights of mean"):
        data.check_trunk("mean", "g")


def test_what_was_not_packed_is_refused(folder: Path) -> None:
    for change, message in (
        ({"image_size": 64}, "image_size must be 32"),
        ({"language": "zh"}, "language must be 'en'"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"split": "../train"}, "split must be a plain word"),
    ):
        arguments = {"split": "train", "image_size": 32, **change}
        with pytest.raises(ValueError, match=message):
            load_dataset("features", root=folder, **arguments)
    with pytest.raises(FileNotFoundError, match="splits there: train"):
        load_dataset("features", "test", 32, root=folder)


def test_a_damaged_file_is_named(birds: Path, tmp_path: Path) -> None:
    data = load_dataset("cub", "test", 32, root=birds, captions_per_image=3)
    pack_features(data, pooled, tmp_path, encoder="mean", fingerprint="f")
    with pytest.raises(FileExistsError, match="holds the split 'test' already"):
        pack_features(data, pooled, tmp_path, encoder="mean", fingerprint="f")
    file = tmp_path / "test-000000.map.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(ValueError, match=r"map\.npy has .* damaged, or copied in part"):
        load_dataset("features", "test", 32, root=tmp_path)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"map\.npy is missing"):
        load_dataset("features", "test", 32, root=tmp_path)
    (tmp_path / "test.json").write_text(json.dumps({"format": 7}))
    with pytest.raises(ValueError, match=r"no manifest of features: .* is 7, not 1"):
        load_dataset("features", "test", 32, root=tmp_path)


def test_a_forged_manifest_or_file_is_named(birds: Path, tmp_path: Path) -> None:
    data = load_dataset("cub", "test", 32, root=birds, captions_per_image=3)
    pack_features(data, pooled, tmp_path, encoder="mean", fingerprint="f")
    path = tmp_path / "test.json"
    whole = json.loads(path.read_text())
    (shard,) = whole["shards"]
    for fields, message in (
        ({"shards": [{**shard, "name": "../../etc/x-000000"}]}, "it lists a shard"),
        ({"shards": [{**shard, "samples": "3"}]}, "it lists a shard"),
        ({"augmentations": 0}, "it has no such augmentations: 0"),
        ({"encoder": None}, "it has no such encoder"),
    ):
        path.write_text(json.dumps(whole | fields))
        with pytest.raises(ValueError, match=rf"no manifest of features: .*{message}"):
            load_dataset("features", "test", 32, root=tmp_path)
    file = tmp_path / "test-000000.map.npy"
    np.save(file, np.array([{"an": "object"}] * 3), allow_pickle=True)
    sizes = {**shard["bytes"], "map": file.stat().st_size}
    path.write_text(json.dumps(whole | {"shards": [{**shard, "bytes": sizes}]}))
    with pytest.raises(ValueError, match=r"map\.npy is damaged: Array can't be memory"):
        load_dataset("features", "test", 32, root=tmp_path).batch([0])
    captions = tmp_path / "test-000000.json"
    captions.write_text(json.dumps([[[[9999], "a", 1]]] * 3))
    with pytest.raises(ValueError, match=r"000000\.json is damaged: it holds some"):
        load_dataset("features", "test", 32, root=tmp_path)


def test_values_beyond_half_precision_leave_nothing(
    birds: Path, tmp_path: Path
) -> None:
    data = load_dataset("cub", "test", 32, root=birds, captions_per_image=3)

    def large(images: Tensor) -> tuple[Tensor, Tensor]:
        local, overall = pooled(images)
        return local, overall + 1e6

    with pytest.raises(ValueError, match="the trunk's vector has values that half"):
        pack_features(data, large, tmp_path, encoder="large", fingerprint="f")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="augmentations must be at least 1; got 0"):
        pack_features(data, pooled, tmp_path, 0, encoder="mean", fingerprint="f")


def test_a_picture_that_does_not_decode_keeps_no_features_of_another(
    tmp_path: Path,
) -> None:
    root = make_cub(tmp_path / "cub")
    data = load_dataset("cub", "test", 32, root=root, captions_per_image=3)
    data.path(0).write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="does not decode"):
        pack_features(data, pooled, tmp_path / "out", encoder="m", fingerprint="f")
    features = load_dataset("features", "test", 32, root=tmp_path / "out")
    batch = features.batch([0, 1])
    assert np.array_equal(batch.trunk_map[0], batch.trunk_map[1])
    assert batch.captions[0] == batch.captions[1]  # of the picture that is shown
