"""Figures: what is drawn, and that they cannot be shown without their words."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmgen import explore


def _drawn(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return np.asarray(Image.open(buffer).convert("RGB")).astype(int)


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _contrast(a, b):
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_stand_out_against_the_card():
    assert _contrast(explore.INK, explore.CARD) > 7
    # curves are 1.8 points wide: WCAG 1.4.11 asks 3:1; the first four, which charts use
    # most, must reach it, the two light ones are never used without a second sign
    assert all(_contrast(colour, explore.CARD) > 3 for colour in explore.PALETTE[:4])


def test_palette_is_told_apart_without_red_green_vision():
    # Machado, Oliveira and Fernandes (2009), table 1, deuteranomaly of severity 1.0
    matrix = np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    )
    rgb = np.array(
        [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in explore.PALETTE]
    )
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.2)
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert distance.min() > 0.12


def test_grid_draws_every_picture_in_its_place():
    images = -torch.ones(3, 3, 8, 8)
    for i in range(3):
        images[i, i] = 1  # pure red, green, blue
    pixels = _drawn(explore.image_grid(images, ["a", "b", "红色的圆"], columns=3))
    height, width, _ = pixels.shape
    row = pixels[height // 3]
    for i in range(3):
        middle = row[int((i + 0.5) * width / 3)]
        assert middle.tolist() == [255 if channel == i else 0 for channel in range(3)]


def test_grid_takes_pictures_and_arrays_too():
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    pixels = _drawn(explore.image_grid([red, np.asarray(red)]))
    assert (pixels == [255, 0, 0]).all(axis=-1).mean() > 0.5


def test_without_a_chinese_font_boxes_stand_for_the_letters(monkeypatch, recwarn):
    monkeypatch.setattr(explore.figures, "_CHINESE_FONTS", ())
    figure = explore.image_grid(torch.zeros(1, 3, 8, 8), ["红色 star"])
    _drawn(figure)
    assert figure.texts[0].get_text() == "\u25a1\u25a1 star"
    assert [str(w.message) for w in recwarn if "Glyph" in str(w.message)] == []


def test_long_captions_wrap_inside_the_figure():
    caption = "a large red star left of a small blue circle on a grey background"
    figure = explore.image_grid(torch.zeros(2, 3, 8, 8), [caption, "圆形" * 20])
    pixels = _drawn(figure)
    card = [int(explore.CARD[i : i + 2], 16) for i in (1, 3, 5)]
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == card).all()  # nothing is cut off at the border


@pytest.mark.parametrize(
    ("images", "captions", "message"),
    [
        ([], None, "at least one"),
        (torch.zeros(2, 3, 4, 4), ["one"], "one for each"),
        (torch.zeros(2, 1, 4, 4), None, r"\(3, H, W\)"),
        ([np.zeros((4, 4, 3))], None, "uint8"),
    ],
)
def test_bad_grids_are_refused(images, captions, message):
    with pytest.raises(ValueError, match=message):
        explore.image_grid(images, captions)


def test_curves_go_through_the_history():
    history = [{"step": i, "a": 2.0 * i} for i in range(5)] + [{"step": 9, "b": 1.0}]
    figure = explore.loss_curves(history, {"a": "first", "b": "second"})
    first, second = figure.axes[0].lines
    assert first.get_xydata().tolist() == [[i, 2 * i] for i in range(5)]
    assert second.get_xydata().tolist() == [[9, 1]]
    assert figure.axes[0].get_xlabel() == "training step"


def test_smoothing_is_a_running_mean():
    history = [{"step": i, "a": float(i % 2)} for i in range(10)]
    figure = explore.loss_curves(history, ["a"], smooth=2)
    smooth = figure.axes[0].lines[1].get_xydata()
    assert smooth.tolist() == [[i, 0.5] for i in range(1, 10)]


def test_a_key_that_was_not_logged_is_named():
    with pytest.raises(ValueError, match=r"'x' is not among \['a'\]"):
        explore.loss_curves([{"step": 0, "a": 1.0}], ["x"])


def test_overlay_keeps_what_is_looked_at():
    image = torch.ones(3, 8, 8)
    weights = torch.zeros(2, 2)
    weights[0, 0] = 0.5
    seen = explore.attention_overlay(image, weights)
    torch.testing.assert_close(seen[:, 0, 0], torch.ones(3))
    assert (seen[:, -1, -1] < 0).all()
    assert seen.min() >= -1
    assert seen.max() <= 1


def _display(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display",
        lambda data, raw, metadata: shown.append((data, metadata)),
    )
    return shown


def test_show_carries_the_alternative_text(monkeypatch):
    shown = _display(monkeypatch)
    figure = explore.loss_curves([{"step": 0, "a": 1.0}], ["a"])
    explore.show(figure, alt="The loss stands\n at one at the first step.")
    data, metadata = shown[0]
    text = "The loss stands at one at the first step."
    assert metadata["image/png"]["alt"] == text
    # the words, and below them what the comparison of outputs sees of the data
    assert data["text/plain"] == f"{text}\n{explore.digests.digest(figure)}"
    assert data["image/png"].startswith(b"\x89PNG")


def test_the_same_figure_gives_the_same_file(monkeypatch):
    shown = _display(monkeypatch)
    for _ in range(2):
        figure = explore.image_grid(torch.zeros(2, 3, 8, 8), ["one", "two"])
        explore.show(figure, alt="Two grey squares side by side.")
    assert shown[0][0]["image/png"] == shown[1][0]["image/png"]


def test_a_figure_of_pyplot_is_not_shown_again(monkeypatch):
    from matplotlib import pyplot

    _display(monkeypatch)
    figure, axis = pyplot.subplots()
    axis.plot([0, 1], [0, 1])
    axis.set(xlabel="step", ylabel="loss")
    assert pyplot.fignum_exists(figure.number)
    explore.show(figure, alt="A line that rises from zero to one.")
    assert not pyplot.fignum_exists(figure.number)


@pytest.mark.parametrize("alt", ["", "a figure", "image of a red star on the left"])
def test_show_refuses_empty_words(alt):
    with pytest.raises(ValueError, match="alt must say"):
        explore.show(explore.image_grid(torch.zeros(1, 3, 4, 4)), alt=alt)


def test_show_refuses_axes_without_labels():
    figure, axis = explore.new_figure()
    axis.plot([0, 1], [0, 1])
    axis.set_xlabel("step")
    with pytest.raises(ValueError, match="set_ylabel"):
        explore.show(figure, alt="A line that rises from zero to one.")


def test_importing_explore_loads_no_drawing_package():
    code = (
        "import sys, mmgen.explore as e; "
        "print({'matplotlib', 'ipywidgets', 'IPython'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
