"""Explorers: complete without a kernel, small, and the same text on every machine."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from PIL import Image

from mmgen import explore


def _frames(count):
    frames = -torch.ones(count, 3, 16, 16)
    for i in range(count):
        frames[i, :, : i + 1] = 1
    return list(frames)


def _alternative(tile):
    return re.search(r'alt="([^"]*)"', tile.value)[1]


def test_frames_explorer_holds_all_frames_and_links_in_the_browser():
    box = explore.frames_explorer(_frames(4), ["a", "b", 'say "c"', "d"], "step")
    slider, stack = box.children
    words = [_alternative(tile) for tile in stack.children]
    assert words == ["a", "b", "say &quot;c&quot;", "d"]
    assert len({tile.value.split(" alt=")[0] for tile in stack.children}) == 4
    links = [
        (w.source, w.target) for w in _instances.values() if type(w).__name__ == "Link"
    ]
    assert ((slider, "index"), (stack, "selected_index")) in links


def test_frames_are_lossless():
    frames = _frames(2)
    box = explore.frames_explorer(frames, ["a", "b"], "step")
    for frame, tile in zip(frames, box.children[1].children, strict=True):
        content = re.search(r";base64,([^\"]+)", tile.value)[1]
        picture = Image.open(io.BytesIO(base64.b64decode(content)))
        pixels = np.asarray(picture.convert("RGB"))
        assert (pixels == ((frame + 1) * 127.5).permute(1, 2, 0).numpy()).all()


def test_grid_explorer_names_both_positions():
    rows = [_frames(3), _frames(3)]
    box = explore.grid_explorer(rows, ["red", "blue"], list("abc"), "colour", "size")
    table = box.children[2]
    assert [len(stack.children) for stack in table.children] == [3, 3]
    assert _alternative(table.children[1].children[2]) == "blue; c"


def test_grid_explorer_starts_where_it_is_told():
    rows = [_frames(3), _frames(3)]
    given = (rows, ["red", "blue"], list("abc"), "colour", "size")
    box = explore.grid_explorer(*given, start=(1, 2))
    assert [slider.value for slider in box.children[:2]] == ["blue", "c"]
    table = box.children[2]
    assert table.selected_index == 1
    assert [stack.selected_index for stack in table.children] == [2, 2]
    for outside in ((2, 0), (0, 3), (-1, 0)):
        with pytest.raises(ValueError, match="2 x 3 frames; got"):
            explore.grid_explorer(*given, start=outside)


def test_plain_text_names_the_frames_and_no_identifier():
    box = explore.frames_explorer(_frames(2), ["first", "last"], "Training step")
    bundle = box._repr_mimebundle_()
    first, second = bundle["text/plain"].splitlines()
    assert first == "Explorer with 2 pictures. Training step: first, last."
    assert re.fullmatch("#[0-9a-f]{6},#[0-9a-f]{6}", second)
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == box.model_id


@pytest.mark.parametrize(
    ("count", "labels", "message"),
    [
        (1, ["a"], "at least two"),
        (3, ["a", "b"], "2 labels"),
        (2, ["a", "a"], "distinct"),
    ],
)
def test_labels_that_do_not_fit_are_refused(count, labels, message):
    with pytest.raises(ValueError, match=message):
        explore.frames_explorer(_frames(count), labels, "step")


def test_a_ragged_table_is_refused():
    with pytest.raises(ValueError, match="column_labels"):
        explore.grid_explorer(
            [_frames(2), _frames(3)], ["a", "b"], ["c", "d"], "row", "column"
        )


def test_an_explorer_too_large_for_a_page_is_refused():
    generator = torch.Generator().manual_seed(0)
    noise = [torch.rand(3, 256, 256, generator=generator) * 2 - 1 for _ in range(5)]
    with pytest.raises(ValueError, match="fewer or smaller"):
        explore.frames_explorer(noise, list("abcde"), "noise")
