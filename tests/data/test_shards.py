"""Shards: packed and streamed, by one process or two, whole or damaged."""

import functools
import http.server
import io
import itertools
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import sys
import tarfile
import threading

import pytest
import torch
from fakes import make_coco, make_cub
from torch import distributed

from mmgen.data import load_dataset
from mmgen.data.storage import shards as shards_module
from mmgen.data.storage.shards import ShardedDataset, ShardError, pack
from mmgen.data.workers import WorkerError

IMAGES, PER_IMAGE = 53, 2


def take(stream, count):
    return list(itertools.islice(stream, count))


def assert_same(one, other):
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.tokens, other.tokens)
    assert torch.equal(one.lengths, other.lengths)
    assert torch.equal(one.class_ids, other.class_ids)
    assert torch.equal(one.indices, other.indices)
    assert one.captions == other.captions


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """53 photographs without classes."""
    root = make_coco(tmp_path_factory.mktemp("coco"), PER_IMAGE, train=IMAGES, test=3)
    return load_dataset("coco", "train", 8, root=root, captions_per_image=PER_IMAGE)


@pytest.fixture(scope="module")
def packed(scenes, tmp_path_factory):
    """The photographs in seven shards: six of 8 and one of 5."""
    folder = tmp_path_factory.mktemp("shards")
    pack(scenes, folder, 8)
    return folder


@pytest.fixture
def copy(packed, tmp_path):
    """Shards to damage."""
    return shutil.copytree(packed, tmp_path / "copy")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Windows that end within a shard, within a lane and within a step."""
    monkeypatch.setattr(shards_module, "WINDOW", 5)
    monkeypatch.setattr(shards_module, "GIVE_UP", 2)


def streamed(folder, **options):
    return load_dataset("shards", "train", 8, root=folder, **options)


# ------------------------------------------------------------------- packing


def test_packing_says_what_it_wrote(scenes, tmp_path):
    steps = []
    result = pack(scenes, tmp_path / "s", 8, progress=lambda *x: steps.append(x))
    assert (result.shards, result.samples, result.left_out) == (7, IMAGES, {})
    assert result.manifest == tmp_path / "s" / "train.json"
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert names == [f"train-{i:06d}.tar" for i in range(7)] + ["train.json"]
    assert result.bytes == sum(p.stat().st_size for p in (tmp_path / "s").glob("*.tar"))
    assert steps[0] == (8, IMAGES) and steps[-1] == (IMAGES, IMAGES)


def test_packing_twice_gives_the_same_bytes(scenes, packed, tmp_path):
    pack(scenes, tmp_path, 8)
    for path in packed.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_other_tools_for_the_format_read_the_shards(packed, scenes):
    import webdataset

    urls = sorted(str(path) for path in packed.glob("*.tar"))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(samples) == IMAGES
    facts = json.loads(samples[5]["json"])
    assert samples[5]["jpg"] == scenes.path(facts["index"]).read_bytes()
    assert facts["captions"] == scenes.captions(facts["index"])


def test_a_packed_sample_is_the_sample(scenes, packed):
    dataset = streamed(packed)
    numbers = [0, 17, 52, 30]
    first = dataset.batch(numbers, epoch=3)
    order = shards_module.epoch_order(IMAGES, 0, 0)
    wanted = scenes.batch(order[numbers], epoch=3)
    assert torch.equal(first.images, wanted.images)
    assert torch.equal(first.tokens, wanted.tokens)
    assert first.captions == wanted.captions
    assert torch.equal(first.class_ids, wanted.class_ids)
    assert dataset.vocabulary == scenes.vocabulary
    assert dataset.max_tokens == scenes.max_tokens == first.tokens.shape[1]


def test_boxes_classes_and_attributes_travel_too(tmp_path):
    root = make_cub(tmp_path / "birds")
    birds = load_dataset("cub", "test", 16, root=root, captions_per_image=3)
    pack(birds, tmp_path / "shards", 2)
    dataset = load_dataset("shards", "test", 32, root=tmp_path / "shards")
    order = shards_module.epoch_order(3, 0, 0)
    larger = load_dataset("cub", "test", 32, root=root, captions_per_image=3)
    batch, wanted = dataset.batch([0, 1, 2], 1), larger.batch(order, 1)
    assert torch.equal(batch.images, wanted.images)
    assert torch.equal(batch.class_ids, wanted.class_ids)
    assert torch.equal(batch.attributes, wanted.attributes)
    assert dataset.attributes == birds.attributes
    few = load_dataset("shards", "test", 16, root=tmp_path / "shards", max_tokens=4)
    assert few.batch([0, 1]).tokens.shape == (2, 4)


def test_drawn_pictures_are_packed_with_captions_of_several_epochs(tmp_path):
    shapes = load_dataset("shapes", "train", 16, "both", size=40)
    pack(shapes, tmp_path, 16, captions_per_sample=3)
    dataset = load_dataset("shards", "train", 16, "both", root=tmp_path)
    order = shards_module.epoch_order(40, 0, 0)
    wanted = shapes.batch(order, 0)
    plain = load_dataset("shards", "train", 16, "both", root=tmp_path, augment=False)
    batch = plain.batch(range(40), 0)
    # one rounding to bytes: half a level of 2 / 255
    torch.testing.assert_close(batch.images, wanted.images, rtol=0, atol=1.01 / 255)
    assert batch.captions == wanted.captions
    assert torch.equal(batch.tokens, wanted.tokens)
    assert torch.equal(batch.class_ids, wanted.class_ids)
    assert torch.equal(batch.attributes, wanted.attributes)
    said = {c for epoch in range(12) for c in dataset.batch([7], epoch).captions}
    allowed = {shapes.batch([order[7]], epoch).captions[0] for epoch in range(3)}
    assert said == allowed


def test_a_picture_that_does_not_decode_is_named_and_left_out(tmp_path):
    root = make_cub(tmp_path / "birds")
    birds = load_dataset("cub", "train", 16, root=root, captions_per_image=3)
    birds.path(2).write_bytes(b"")
    with pytest.warns(UserWarning, match=r"Bird_0002\.jpg does not decode .* left out"):
        result = pack(birds, tmp_path / "shards", 4)
    assert list(result.left_out) == [str(birds.path(2))] and result.samples == 5
    assert len(load_dataset("shards", "train", 16, root=tmp_path / "shards")) == 5
    for index in range(6):
        birds.path(index).write_bytes(b"")
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match=r"no picture of cub .* decodes"),
    ):
        pack(birds, tmp_path / "none")


def test_packing_over_a_split_is_refused_and_beside_it_is_not(packed, scenes, copy):
    with pytest.raises(FileExistsError, match="holds the split 'train' already"):
        pack(scenes, copy)
    test = load_dataset(
        "coco", "test", 8, root=scenes.root, captions_per_image=PER_IMAGE
    )
    pack(test, copy)
    assert len(load_dataset("shards", "test", 8, root=copy)) == 3


def test_a_full_disk_leaves_nothing_that_looks_complete(scenes, tmp_path, monkeypatch):
    written, replace = [], os.replace

    def full_after_two(source, target):
        written.append(target)
        if len(written) > 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full_after_two)
    with pytest.raises(OSError, match="No space left"):
        pack(scenes, tmp_path, 8)
    monkeypatch.undo()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["train-000000.tar", "train-000001.tar"]
    with pytest.raises(FileNotFoundError, match="packing did not come to its end"):
        streamed(tmp_path)
    pack(scenes, tmp_path, 8)  # and it can be done again
    assert len(streamed(tmp_path)) == IMAGES


@pytest.mark.parametrize("argument", ["samples_per_shard", "captions_per_sample"])
def test_packing_nothing_is_refused(scenes, tmp_path, argument):
    with pytest.raises(ValueError, match=f"{argument} must be at least 1; got 0"):
        pack(scenes, tmp_path, **{argument: 0})


# ------------------------------------------------------------------- streaming


@pytest.mark.parametrize("batch_size", [1, 4, 6, 20, 53])
def test_an_epoch_shows_every_sample_at_most_once_in_a_new_order(packed, batch_size):
    dataset = streamed(packed)
    steps = IMAGES // batch_size
    batches = take(dataset.batches(batch_size, seed=1), 3 * steps)
    numbers = torch.cat([batch.indices for batch in batches]).reshape(3, -1).tolist()
    for epoch in numbers:
        assert len(set(epoch)) == steps * batch_size
        assert epoch != sorted(epoch)
    assert numbers[0] != numbers[1] and numbers[1] != numbers[2]
    other = next(dataset.batches(batch_size, seed=2)).indices.tolist()
    assert batch_size == 1 or other != numbers[0][:batch_size]


def test_over_epochs_every_sample_is_seen(packed):
    # 53 = 2 * 20 + 13: each epoch leaves 13 out, and not always the same
    dataset = streamed(packed)
    seen = torch.cat([b.indices for b in take(dataset.batches(20), 2 * 12)])
    assert len(seen.unique()) == IMAGES


@pytest.mark.parametrize("batch_size, world_size", [(4, 2), (12, 3), (20, 4), (6, 6)])
def test_processes_together_see_what_one_sees(packed, batch_size, world_size):
    dataset = streamed(packed)
    alone = take(dataset.batches(batch_size, seed=5), 2 * (IMAGES // batch_size) + 1)
    ranks = [
        dataset.batches(batch_size, seed=5, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for batch in alone:
        share = batch_size // world_size
        for rank, stream in enumerate(ranks):
            assert_same(next(stream), batch[rank * share : (rank + 1) * share])


def test_a_run_goes_on_at_any_step(packed):
    dataset = streamed(packed)
    run = take(dataset.batches(6, seed=3), 20)  # 8 steps an epoch
    for step in range(20):
        assert_same(next(dataset.batches(6, seed=3, start_step=step)), run[step])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(packed, workers):
    dataset = streamed(packed)
    here = take(dataset.batches(6, seed=3, start_step=5), 6)
    there = take(dataset.batches(6, seed=3, start_step=5, workers=workers), 6)
    for one, other in zip(here, there, strict=True):
        assert_same(one, other)


def test_a_process_opens_only_the_shards_of_its_part(packed, monkeypatch):
    # 2 processes, 4 shards' worth of lanes each: neither reads what the other reads,
    # but for the shards at the cut
    opened = {0: set(), 1: set()}
    read = ShardedDataset._read
    for rank in opened:
        dataset = streamed(packed)

        def spy(self, shard, start, stop, rank=rank):
            opened[rank].add(shard)
            return read(self, shard, start, stop)

        monkeypatch.setattr(ShardedDataset, "_read", spy)
        take(dataset.batches(6, seed=3, rank=rank, world_size=2), 8)
        monkeypatch.setattr(ShardedDataset, "_read", read)
    assert opened[0] | opened[1] == set(range(7))
    assert len(opened[0] & opened[1]) <= 1


def _rank_reads(rank, folder, port, out):
    """One of two processes of a job."""
    torch.set_num_threads(1)  # a forked process has no threads of its parent's
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    dataset = load_dataset("shards", "train", 8, root=folder)
    stream = dataset.batches(
        6, seed=3, start_step=4, rank=rank, world_size=2, workers=1
    )
    for batch in take(stream, 6):
        parts = [torch.empty_like(batch.images) for _ in range(2)]
        distributed.all_gather(parts, batch.images)
        if rank == 0:
            out.put(torch.cat(parts).numpy())
    distributed.destroy_process_group()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to be quick")
def test_two_real_processes_stream_what_one_streams(packed):
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    port = _free_port()
    processes = [
        context.Process(target=_rank_reads, args=(rank, packed, port, out))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    joined = [torch.from_numpy(out.get(timeout=300)) for _ in range(6)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    alone = take(streamed(packed).batches(6, seed=3, start_step=4), 6)
    for together, batch in zip(joined, alone, strict=True):
        assert torch.equal(together, batch.images)


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_shard_is_opened_once_an_epoch(packed, monkeypatch):
    opened, read = [], ShardedDataset._read

    def spy(self, shard, start, stop):
        opened.append(shard)
        return read(self, shard, start, stop)

    monkeypatch.setattr(ShardedDataset, "_read", spy)
    take(streamed(packed).batches(6), 8)
    # in this order the six lanes of 8 samples are six shards, in two windows each
    assert sorted(opened) == [0, 1, 2, 3, 4, 5]


def test_shards_behind_an_address_stream_the_same(copy):
    handler = functools.partial(_Quiet, directory=str(copy))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}/"
    try:
        away = take(streamed(root).batches(6, seed=2), 9)
        for one, other in zip(
            away, take(streamed(copy).batches(6, seed=2), 9), strict=True
        ):
            assert_same(one, other)
        with pytest.raises(FileNotFoundError, match="no manifest at http"):
            load_dataset("shards", "test", 8, root=root)
        truncate(copy / "train-000003.tar", 0.5)
        with pytest.raises(ShardError, match=r"http.*train-000003\.tar ends early"):
            take(streamed(root).batches(6), 9)
        (copy / "train-000003.tar").unlink()
        with pytest.raises(ShardError, match=r"train-000003\.tar ends early: 0 of 8"):
            take(streamed(root).batches(6), 9)
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_options_make_the_set_again(packed):
    dataset = streamed(packed, max_tokens=4, augment=False)
    options = json.loads(json.dumps(dataset.options))
    again = load_dataset("shards", "train", 8, **options)
    assert_same(again.batch([3, 50]), dataset.batch([3, 50]))
    copied = pickle.loads(pickle.dumps(dataset))
    assert_same(copied.batch([3, 50]), dataset.batch([3, 50]))


# ------------------------------------------------------------------- damage


def truncate(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def accept_sizes(folder):
    """As behind an address, where sizes are not known before reading."""
    manifest = json.loads((folder / "train.json").read_text())
    for shard in manifest["shards"]:
        shard["bytes"] = (folder / shard["name"]).stat().st_size
    (folder / "train.json").write_text(json.dumps(manifest))


def test_a_shard_cut_off_is_noticed_before_training(copy):
    truncate(copy / "train-000003.tar", 0.5)
    with pytest.raises(ValueError, match=r"train-000003\.tar has .* bytes: it was cut"):
        streamed(copy)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_ends_early_is_named_while_streaming(copy, keep, workers):
    truncate(copy / "train-000003.tar", keep)
    accept_sizes(copy)
    dataset = streamed(copy)
    with pytest.raises(ShardError, match=r"train-000003\.tar ends early: . of 8"):
        take(dataset.batches(6, workers=workers), 9)


def test_a_shard_that_lost_samples_but_is_whole_is_named(copy):
    path = copy / "train-000002.tar"
    with tarfile.open(path) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar.getmembers()[:6]]
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    accept_sizes(copy)
    with pytest.raises(
        ShardError, match=r"ends early: 3 of 8 samples could be read \(its end is miss"
    ):
        take(streamed(copy).batches(6), 9)


def test_after_the_shard_is_mended_the_run_goes_on_where_it_was(copy, packed):
    wanted = take(streamed(packed).batches(6), 10)
    truncate(copy / "train-000003.tar", 0.4)
    accept_sizes(copy)
    stream, done = streamed(copy).batches(6), []
    with pytest.raises(ShardError):
        done.extend(stream)  # loses what came before the error: count from outside
    shutil.copy(packed / "train-000003.tar", copy)
    shutil.copy(packed / "train.json", copy)
    for step, batch in enumerate(take(streamed(copy).batches(6, start_step=3), 7), 3):
        assert_same(batch, wanted[step])


def test_a_missing_shard_is_named(copy):
    (copy / "train-000001.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"train-000001\.tar is missing"):
        streamed(copy)


def replace_picture(path, number, content):
    with tarfile.open(path) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar.getmembers()]
    pictures = [i for i, (m, _) in enumerate(members) if m.name.endswith(".jpg")]
    member, _ = members[pictures[number]]
    member.size = len(content)
    members[pictures[number]] = (member, content)
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return members[pictures[number]][0].name


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_does_not_decode_is_named_and_replaced(copy, workers):
    name = replace_picture(copy / "train-000004.tar", 2, b"no picture")
    accept_sizes(copy)
    dataset = streamed(copy)
    with pytest.warns(UserWarning, match=f"{name} in .*train-000004.tar does not deco"):
        batches = take(dataset.batches(6, seed=1, workers=workers), 16)
    numbers = torch.cat([batch.indices for batch in batches])
    assert 4 * 8 + 2 not in numbers
    assert len(dataset.skipped) == 1
    for batch in batches[:3]:  # what stands in brings its own caption
        assert_same(dataset.batch(batch.indices, 0), batch)


def rewrite_facts(path, number, change):
    with tarfile.open(path) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar.getmembers()]
    which = [i for i, (m, _) in enumerate(members) if m.name.endswith(".json")][number]
    member, content = members[which]
    content = content if change is None else json.dumps(change(json.loads(content)))
    content = content.encode() if isinstance(content, str) else content[:-5]
    member.size = len(content)
    members[which] = (member, content)
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    "change, fault",
    [
        (None, "it is not JSON"),
        (lambda f: [f], "TypeError"),
        (lambda f: {**f, "index": -1}, "index is not as it is packed"),
        (lambda f: {**f, "captions": []}, "captions is not"),
        (lambda f: {**f, "captions": [1, 2]}, "captions is not"),
        (lambda f: {**f, "tokens": [[9999]] * 2}, "tokens is not"),
        (lambda f: {**f, "tokens": [[], []]}, "tokens is not"),
        (lambda f: {**f, "class_ids": ["a", "b"]}, "class_ids is not"),
        (lambda f: {**f, "box": [1, 2, 3]}, "box is not"),
        (lambda f: {**f, "box": [1, 2, 3, None]}, "box is not"),
        (lambda f: {**f, "attributes": [1]}, "attributes is not"),
        (lambda f: {k: v for k, v in f.items() if k != "box"}, "KeyError: 'box'"),
    ],
)
def test_facts_that_were_never_packed_stop_the_run(copy, change, fault):
    rewrite_facts(copy / "train-000001.tar", 2, change)
    accept_sizes(copy)
    dataset = streamed(copy)
    with pytest.raises(ShardError, match=rf"json in .*0001\.tar is damaged: .*{fault}"):
        take(dataset.batches(6), 9)
    assert len(dataset.batch([0, 1, 30])) == 3  # other shards can still be read


def test_only_plain_files_are_read_of_a_shard(copy, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"not yours")
    path = copy / "train-000000.tar"
    with tarfile.open(path) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar.getmembers()]
    with tarfile.open(path, "w") as tar:
        for name, kind in (("../a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE)):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, str(secret)
            tar.addfile(link)
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    accept_sizes(copy)
    before = sorted(path.name for path in copy.parent.iterdir())
    assert len(streamed(copy).batch(range(8))) == 8
    assert sorted(path.name for path in copy.parent.iterdir()) == before


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_a_killed_worker_is_named_with_the_step_to_go_on_from(
    packed, deaths_are_polled
):
    dataset = streamed(packed)
    wanted = take(dataset.batches(6), 12)
    # Workers of a loader that is already forgotten may still be ending.
    others = multiprocessing.active_children()
    stream = dataset.batches(6, workers=2)
    done = take(stream, 2)
    own = [p for p in multiprocessing.active_children() if p not in others]
    os.kill(own[0].pid, signal.SIGKILL)
    with pytest.raises(
        WorkerError, match=r"died before step (\d+) .*start_step=\1"
    ) as e:
        done += itertools.islice(stream, 10)  # the stream itself never ends
    assert 2 <= len(done) < 12 and f"step {len(done)} " in str(e.value)
    for step, batch in enumerate(done):
        assert_same(batch, wanted[step])
    later = dataset.batches(6, start_step=len(done), workers=2)
    assert_same(next(later), wanted[len(done)])


# ------------------------------------------------------------------- manifest


def change(folder, **fields):
    path = folder / "train.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"format": 99}, "its format is 99, not 1"),
        ({"shards": []}, "it lists no shards"),
        ({"shards": [{"name": "../x-000000.tar", "samples": 1}]}, "it lists a shard"),
        ({"shards": [{"name": "pipe:rm -rf x", "samples": 1}]}, "it lists a shard"),
        ({"shards": [{"name": "train-000000.tar", "samples": 0}]}, "it lists a shard"),
        ({"vocabulary": {"tokens": ["a"], "language": "en"}}, "tokens must begin with"),
        ({"attributes": 3}, "it has no such attributes"),
        ({"attributes": ""}, "it has no such attributes"),
        ({"attributes": {"a": 3}}, "it has no such attributes"),
        ({"max_tokens": "9"}, "it has no such max_tokens"),
        ({"image_size": -4}, "it has no such image_size"),
        ({"language": ["en"]}, "it has no such language"),
        ({"shards": {"name": "train-000000.tar"}}, "TypeError"),
        ({"shards": [{"name": "train-000000.tar", "samples": 1.5}]}, "lists a shard"),
        ({"vocabulary": None}, "TypeError"),
    ],
)
def test_a_manifest_that_is_none(copy, fields, message):
    change(copy, **fields)
    with pytest.raises(ValueError, match=f"is no manifest of shards: .*{message}"):
        streamed(copy)


def test_a_manifest_cut_off(copy):
    truncate(copy / "train.json", 0.5)
    with pytest.raises(ValueError, match="is no manifest of shards: JSONDecodeError"):
        streamed(copy)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"split": "test"}, FileNotFoundError, "splits there: train"),
        ({"split": "../train"}, ValueError, "split must be a plain word"),
        ({"language": "zh"}, ValueError, "language must be 'en', which was packed"),
        ({"image_size": 0}, ValueError, "must be at least 1; got 0"),
        ({"max_tokens": 0}, ValueError, "must be at least 1; got 8 and 0"),
    ],
)
def test_bad_arguments_are_named(packed, arguments, error, message):
    with pytest.raises(error, match=message):
        ShardedDataset(**({"root": packed, "image_size": 8} | arguments))


def test_drawn_pictures_come_at_their_size_only(copy):
    change(copy, photographs=False, image_size=16)
    with pytest.raises(ValueError, match="image_size must be 16: the pictures of coco"):
        streamed(copy)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"batch_size": 54}, r"batch_size must lie in 1\.\.53, the samples of shards"),
        ({"batch_size": 5, "world_size": 2}, "a multiple of the 2 processes; got 5"),
    ],
)
def test_batches_that_cannot_be_filled(packed, arguments, message):
    with pytest.raises(ValueError, match=message):
        next(streamed(packed).batches(**arguments))


def test_only_packing_needs_the_library_and_says_so(
    scenes, packed, tmp_path, monkeypatch
):
    for name in ("webdataset", "webdataset.gopen", "webdataset.writer"):
        monkeypatch.setitem(sys.modules, name, None)
    assert len(streamed(packed).batch([0, 9])) == 2
    with pytest.raises(ImportError, match=r"pip install 'mmgen-book\[data\]'"):
        pack(scenes, tmp_path)
