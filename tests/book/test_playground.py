"""The playground as a reader meets it: typed and drawn in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from built_book import BUILT, Visit, visit

from mmgen.metrics import semantic_accuracy
from mmgen.pretrained import load

pytestmark = [pytest.mark.book, pytest.mark.xdist_group("playground")]

PAGE = "book/playground.html"
MOST_BEFORE = 1_000_000  # bytes of the page before anything is started
READY = "#playground form:visible"
DONE = """() => /^(Drew|That failed|.*(must|empty|knows no|too long))/.test(
    document.querySelector("#playground [data-part=status]").textContent)"""


@pytest.fixture(scope="module")
def opened(browser, address) -> Iterator[Visit]:
    """The page, once for all tests that draw: what is loaded stays loaded."""
    for seen in visit(browser, address, PAGE, theme="light", width=1280):
        seen.page.wait_for_selector(READY)
        yield seen


def _models() -> list[dict[str, Any]]:
    path = BUILT / "_static" / "models" / "index.json"
    # with none of them, where nothing was built, other tests fail
    return json.loads(path.read_text("utf-8"))["models"] if path.exists() else []


def _status(page) -> str:
    return page.locator("[data-part=status]").text_content()


def _draw(page, **fields: str) -> str:
    """Fill in fields, press the button, and wait for what the page says."""
    for name, value in fields.items():
        field = page.locator(f"#playground [name={name}]")
        if name == "model":
            field.select_option(value)
        else:
            field.fill(value)
    page.locator("[data-part=draw]").click()
    page.wait_for_function(DONE, timeout=120_000)
    return _status(page)


def _pictures(page) -> list[str]:
    """What the canvases of the pictures hold."""
    return page.eval_on_selector_all(
        "#playground figure > canvas", "all => all.map((e) => e.toDataURL())"
    )


# First, while nothing is loaded.
def test_the_page_is_small_before_it_is_started(opened, address):
    assert opened.received < MOST_BEFORE
    loaded = [url for url in opened.requests if url.endswith((".wasm", ".onnx"))]
    assert loaded == []
    about = opened.page.locator("[data-part=about]").text_content()
    assert "MB of weights, and once 14" in about  # said before it is loaded
    assert opened.messages == []


def test_a_caption_is_drawn_and_judged(opened, address):
    said = _draw(
        opened.page,
        model="cvae-shapes64",
        caption="a large green square in the center",
        pictures="3",
    )
    assert said.startswith("Drew 3 pictures: ")
    assert len(set(_pictures(opened.page))) == 3
    verdicts = opened.page.locator("#playground figcaption strong").all_text_contents()
    right = sum(verdict == "✓ right" for verdict in verdicts)
    assert said == f"Drew 3 pictures: {right} right, {3 - right} wrong."
    label = opened.page.locator("figure > canvas").first.get_attribute("aria-label")
    assert label.startswith("Picture of seed 0, read as 1 ")
    local = (address, "data:", "blob:")
    assert [url for url in opened.requests if not url.startswith(local)] == []
    assert opened.failures == [] and opened.messages == []


_DRAW = """async ({name, captions, noise, options}) => {
    const { Model, index } = await import("../_static/playground/models.mjs");
    const { demandOf, judge } = await import("../_static/playground/judging.mjs");
    const entry = (await index()).models.find((one) => one.name === name);
    const model = await Model.load(entry, () => {});
    const drawn = [];
    for (const [i, caption] of captions.entries()) {
        const given = Float32Array.from(noise[i]);
        const { pixels, side, maps } = await model.draw(
            model.read(caption), given, options);
        const { demand } = demandOf(caption);
        const { verdict, reasons } = judge({ pixels, side }, demand);
        drawn.push({ verdict, reasons, pixels: [...pixels],
            maps: maps.map((map) => [...map.weights]) });
    }
    return drawn;
}"""


@pytest.mark.parametrize("entry", _models(), ids=lambda e: e["name"])
def test_pictures_are_those_of_pytorch_and_so_are_verdicts(opened, entry):
    captions = [
        "a small yellow heart in the lower right corner",
        "左上角有一个红色的正方形",
        "two blue circles on white",
        "a zebra star",
    ]
    captions += [""] if entry["unconditional"] else []
    few = {"steps": 5, "guidance": 2.0}
    options = {name: few[name] for name in entry["options"]}
    size = int(np.prod(entry["noise"]))
    noise = torch.randn(len(captions), size, generator=torch.Generator().manual_seed(3))
    given = {"name": entry["name"], "captions": captions, "options": options}
    drawn = opened.page.evaluate(_DRAW, {**given, "noise": noise.tolist()})
    sampler = load(entry["name"])
    with pytest.warns(UserWarning, match="zebra"):
        expected = sampler.sample(captions, noise=noise, **options)
    images = torch.tensor([one["pixels"] for one in drawn]).view_as(expected)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-3)
    report = semantic_accuracy(images[:3], captions[:3])
    assert [one["verdict"] for one in drawn[:3]] == report.verdicts
    assert [one["reasons"] for one in drawn[:3]] == report.reasons
    assert [one["verdict"] for one in drawn[3:]] == [None] * len(drawn[3:])
    if "attention" in entry:
        with pytest.warns(UserWarning, match="zebra"):
            maps = sampler.stages(captions, noise=noise).attention[-1]
        for row, one in enumerate(drawn):
            shown = torch.tensor(one["maps"])
            torch.testing.assert_close(
                shown, maps[row, : len(shown)].flatten(1), rtol=0, atol=1e-3
            )


def test_maps_show_where_words_were_read(opened):
    _draw(opened.page, model="attngan-shapes64", caption="一个红色的圆形", pictures="1")
    figure = opened.page.locator("#playground figure")
    figure.locator("summary").click()
    words = figure.locator("details span").all_text_contents()
    assert "".join(words) == "一个红色的圆形"
    labels = figure.locator("details canvas").evaluate_all(
        "all => all.map((e) => e.getAttribute('aria-label'))"
    )
    assert labels[2].startswith("attention to “红”, most at the ")


def test_a_link_carries_the_state(opened, browser, address):
    _draw(
        opened.page,
        model="cvae-shapes64",
        caption="一个小的蓝色圆形 & star",
        seed="41",
        pictures="2",
    )
    hash_ = opened.page.evaluate("location.hash")
    state = {name: value for name, (value,) in parse_qs(hash_[1:]).items()}
    assert state == {
        "model": "cvae-shapes64",
        "caption": "一个小的蓝色圆形 & star",
        "seed": "41",
        "pictures": "2",
    }
    drawn = _pictures(opened.page)
    for other in visit(browser, address, PAGE + hash_, theme="dark", width=375):
        other.page.wait_for_selector(READY)
        for name, value in state.items():
            assert other.page.locator(f"[name={name}]").input_value() == value
        other.page.locator("[data-part=link]").click()
        status = other.page.locator("[data-part=status]")
        status.filter(has_text="link").wait_for()
        # by keyboard, as everything can be done
        other.page.locator("[name=caption]").focus()
        other.page.keyboard.press("Enter")
        other.page.wait_for_function(DONE, timeout=120_000)
        assert _pictures(other.page) == drawn
        # what was drawn fits a phone, and is said to those who do not see it
        assert other.page.evaluate("document.documentElement.scrollWidth") <= 375
        options = {"resultTypes": ["violations"], "preload": False}
        found = Axe().run(other.page, context="#playground", options=options)
        assert [one["id"] for one in found.response["violations"]] == []
        assert other.messages == []


def test_the_keyboard_reaches_everything_in_order(opened):
    page = opened.page
    page.locator("[name=caption]").focus()
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.name || document.activeElement.dataset.part"
            )
        )
    assert reached == [
        *("suggest-en", "suggest-zh", "model", "seed", "pictures", "draw", "link"),
    ]


@pytest.mark.parametrize(
    ("fields", "message", "blamed"),
    [
        ({"caption": "  "}, "The caption is empty", "caption"),
        ({"caption": "qwxz"}, "knows no word of this caption: qwxz", "caption"),
        ({"caption": "zz " * 40 + "star"}, "too long", "caption"),
        ({"seed": "-1"}, "Seed must be a whole number from 0", "seed"),
        ({"seed": ""}, "Seed must be a whole number from 0", "seed"),
        ({"pictures": "0"}, "Pictures must be a whole number from 1 to 16", "pictures"),
        ({"pictures": "2.5"}, "Pictures must be a whole number", "pictures"),
    ],
)
def test_what_cannot_be_drawn_is_refused(opened, fields, message, blamed):
    good = {"model": "cvae-shapes64", "caption": "a star", "seed": "0", "pictures": "1"}
    said = _draw(opened.page, **{**good, **fields})
    assert message in said
    focused = "[document.activeElement.name, document.activeElement.ariaInvalid]"
    assert opened.page.evaluate(focused) == [blamed, "true"]


def test_words_that_no_model_saw_and_what_is_cut_off_are_named(opened):
    good = {"model": "cvae-shapes64", "seed": "0", "pictures": "1"}
    said = _draw(opened.page, caption="a furry red star", **good)
    assert said == "Drew 1 picture."
    notes = opened.page.locator("[data-part=notes] li").all_text_contents()
    assert "The model never saw “furry”, and cannot follow." in notes
    assert any(note.startswith("No verdict") and "'furry'" in note for note in notes)
    said = _draw(opened.page, caption="a star " * 16, **good)
    assert said == "Drew 1 picture."
    notes = opened.page.locator("[data-part=notes] li").all_text_contents()
    assert "longer than the 30 words that the model reads" in notes[0]
    said = _draw(opened.page, caption="a star and a heart", **good)
    notes = opened.page.locator("[data-part=notes] li").all_text_contents()
    assert "asks for 2 objects; in its training the model met at most 1" in notes[0]


def test_suggestions_are_captions_of_the_language(opened):
    page = opened.page
    for language, ascii_ in (("en", True), ("zh", False)):
        page.locator(f"[data-part=suggest-{language}]").click()
        caption = page.locator("[name=caption]").input_value()
        assert caption.isascii() == ascii_
        assert _status(page) == f"Suggested: {caption}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": "0"}, "Steps must be a whole number from 1 to 1000"),
        ({"steps": "1001"}, "Steps must be a whole number from 1 to 1000"),
        ({"guidance": "-1"}, "Guidance must be a number from 0 to 1000"),
        ({"guidance": ""}, "Guidance must be a number from 0 to 1000"),
    ],
)
def test_options_of_models_of_many_steps_are_checked(browser, address, fields, message):
    # whether such weights are published or not
    index = json.loads((BUILT / "_static/models/index.json").read_text("utf-8"))
    index["models"] = [
        {**index["models"][0], "options": {"steps": 25, "guidance": 3.0}},
    ]
    context = browser.new_context()
    page = context.new_page()
    page.route("**/models/index.json", lambda route: route.fulfill(json=index))
    page.goto(address + PAGE)
    page.wait_for_selector(READY)
    assert page.locator("[name=steps]").input_value() == "25"
    assert message in _draw(page, caption="a star", **fields)
    context.close()


def test_a_browser_without_vectors_is_told(browser, address):
    context = browser.new_context()
    context.add_init_script("WebAssembly.validate = () => false")
    page = context.new_page()
    page.goto(address + PAGE)
    page.wait_for_function("() => /SIMD/.test(document.body.textContent)")
    assert "This browser cannot run the models" in _status(page)
    assert page.locator("#playground form:visible").count() == 0
    context.close()


def test_a_page_opened_from_a_file_says_how_to_serve_it(browser):
    context = browser.new_context()
    page = context.new_page()
    page.goto((BUILT / PAGE).as_uri())
    page.wait_for_function("() => /make serve/.test(document.body.textContent)")
    assert "make serve" in _status(page)
    context.close()


def test_a_link_to_a_model_that_is_not_here_is_told(browser, address):
    context = browser.new_context()
    page = context.new_page()
    page.goto(address + PAGE + "#model=nothing-like-this")
    page.wait_for_selector(READY)
    assert "names a model that is not here: nothing-like-this" in _status(page)
    context.close()
