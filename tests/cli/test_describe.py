"""``mmgen describe``: captions of picture files of every kind, and refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgen.cli import main
from mmgen.data import load_dataset
from mmgen.pretrained import load, save
from tests.cli.calls import QUIET, fails
from tests.models.captioning.tiny import pictures, sampler


@pytest.fixture(scope="session")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a model that writes captions of pictures of 16 pixels."""
    data = {"name": "shapes", "image_size": 16, "language": "both"}
    place = tmp_path_factory.mktemp("weights")
    return save("captioner", sampler("lstm"), {"data": data}, place)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three pictures of the model's size."""
    paths = []
    for i, image in enumerate(pictures(3)):
        pixels = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


def said(capsys: pytest.CaptureFixture, *words: str | Path) -> list[list[str]]:
    """Cells of the lines that are printed; nothing is said beside them."""
    capsys.readouterr()
    assert main(["describe", *map(str, words)]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    return [line.split("\t") for line in out.splitlines()]


class TestCaptions:
    def test_a_line_for_each_picture(self, captioner, files, capsys):
        lines = said(capsys, captioner, *files)
        model = load("captioner", None, captioner.parent)
        assert [line[0] for line in lines] == files
        assert [line[1] for line in lines] == model.describe(pictures(3))
        # nothing to note of pictures of the model's size
        assert all(len(line) == 2 for line in lines)

    def test_options(self, captioner, files, capsys):
        model = load("captioner", None, captioner.parent)
        images = pictures(3)
        for words, options in (
            (["--language", "zh"], {"language": "zh"}),
            (["--beams", "3"], {"beams": 3}),
            (
                ["--temperature", "1.5", "--seed", "4"],
                {"temperature": 1.5, "seed": 4},
            ),
            (["--prompt", "a large"], {"prompt": "a large"}),
        ):
            lines = said(capsys, captioner, *files, *words)
            assert [line[1] for line in lines] == model.describe(images, **options)

    def test_copies(self, captioner, files, capsys):
        words = ["--copies", "4", "--temperature", "2"]
        lines = said(capsys, captioner, *files, *words)
        assert [line[0] for line in lines] == [name for name in files for _ in range(4)]
        assert len({line[1] for line in lines[:4]}) > 1
        assert said(capsys, captioner, *files, *words) == lines
        assert said(capsys, captioner, *files, *words, "--seed", "1") != lines

    def test_a_name_that_would_part_a_line(self, captioner, files, tmp_path, capsys):
        strange = tmp_path / "a\tb\n.png"
        strange.write_bytes(Path(files[0]).read_bytes())
        ((name, caption),) = said(capsys, captioner, strange)
        assert name.endswith("a\\tb\\n.png")
        assert caption == said(capsys, captioner, files[0])[0][1]

    def test_a_run_from_its_training_to_its_captions(self, tmp_path, files, capsys):
        out = tmp_path / "run"
        words = ["train", "caption", "--scale", "smoke", "--data-size", "16", *QUIET]
        assert main([*words, "--out", str(out)]) == 0
        assert f"next: mmgen describe {out} picture.png" in capsys.readouterr().out
        for place in (out, out / "checkpoints" / "step-00000003"):
            lines = said(capsys, place, *files)
            assert len(lines) == 3 and all(line[1] for line in lines)

    def test_a_multimodal_autoencoder_describes_too(self, tmp_path, capsys):
        data = load_dataset("shapes", "test", 64, objects=(1,), size=8)
        batch = data.batch(range(4))
        paths = []
        for i, image in enumerate(batch.images):
            pixels = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            paths.append(tmp_path / f"{i}.png")
            Image.fromarray(pixels).save(paths[-1])
        lines = said(capsys, "mvae-shapes64", *paths)
        expected = load("mvae-shapes64").describe(batch.images)
        assert [line[1] for line in lines] == expected
        line = fails(capsys, "describe", "mvae-shapes64", paths[0], "--beams", "2")
        assert "--beams 2: mvae-shapes64 describes pictures without" in line
        assert "it takes --language" in line
        for words in (["--temperature", "1"], ["--prompt", "a"], ["--seed", "1"]):
            line = fails(capsys, "describe", "mvae-shapes64", paths[0], *words)
            assert f"{words[0]} {words[1]}" in line or words[0] in line
        copies = fails(capsys, "describe", "mvae-shapes64", paths[0], "--copies", "2")
        assert "would be the same caption" in copies

    def test_what_is_unknown_is_said_to_be_so(self, tmp_path, capsys):
        data = load_dataset("shapes", "test", 64, objects=(1,), size=2)
        image = data.batch([0]).images[0]
        noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
        paths = []
        for i, pixels in enumerate((image / 2 + 0.5, noise)):
            rows = (pixels * 255).round().byte().permute(1, 2, 0).numpy()
            paths.append(tmp_path / f"{i}.png")
            Image.fromarray(rows).save(paths[-1])
        known, unknown = said(capsys, "caption-shapes64", *paths)
        assert len(known) == 2  # nothing to be noted
        assert unknown[2].startswith("not a picture like those of shapes: ")
        (emoji,) = said(capsys, "caption-emoji64", paths[0])
        assert emoji[2].startswith("not a picture like those of emoji: ")

    @pytest.mark.parametrize("name", ["caption-emoji64", "caption-shapes64"])
    def test_it_loads_nothing_slow(self, files, name):
        """Of pictures that need not be resized."""
        for path in files:
            Image.open(path).resize((64, 64)).save(path)
        words = ["describe", name, *files]
        code = f"""
import sys
from mmgen.cli import main
assert main({words!r}) == 0
slow = {{"torchvision", "lightning_fabric", "torchmetrics", "torch._dynamo",
        "matplotlib", "scipy"}}
assert not slow & set(sys.modules), slow & set(sys.modules)
"""
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


class TestPictures:
    """Files as people have them; each says what the plain one says."""

    @pytest.fixture
    def plain(self, files) -> Image.Image:
        return Image.open(files[1]).convert("RGB")

    @pytest.fixture
    def expected(self, captioner, files, capsys) -> str:
        return said(capsys, captioner, files[1])[0][1]

    def test_formats_that_lose_nothing(
        self, captioner, plain, expected, tmp_path, capsys
    ):
        paths = [tmp_path / f"a.{ending}" for ending in ("png", "bmp", "tif", "ppm")]
        for path in paths:
            plain.save(path)
        wrong_ending = tmp_path / "a.jpg"
        wrong_ending.write_bytes(paths[0].read_bytes())
        lines = said(capsys, captioner, *paths, wrong_ending)
        assert [line[1:] for line in lines] == [[expected]] * 5

    def test_few_colours(self, captioner, plain, tmp_path, capsys):
        few = plain.quantize(16)
        few.save(tmp_path / "few.png")
        assert Image.open(tmp_path / "few.png").mode == "P"
        few.convert("RGB").save(tmp_path / "same.png")
        palette, same = said(
            capsys, captioner, tmp_path / "few.png", tmp_path / "same.png"
        )
        assert palette[1:] == same[1:]

    def test_transparent_pixels_are_white(self, captioner, plain, tmp_path, capsys):
        pixels = np.array(plain.convert("RGBA"))
        pixels[:8, :, 3] = 0
        Image.fromarray(pixels).save(tmp_path / "glass.png")
        white = np.array(plain)
        white[:8] = 255
        Image.fromarray(white).save(tmp_path / "white.png")
        glass, same = said(
            capsys, captioner, tmp_path / "glass.png", tmp_path / "white.png"
        )
        assert glass[1:] == same[1:]

    def test_grey_of_1_8_and_16_bits(self, captioner, plain, tmp_path, capsys):
        grey = np.array(plain.convert("L"))
        paths = [tmp_path / f"{name}.png" for name in ("8", "16", "rgb", "1", "bits")]
        Image.fromarray(grey).save(paths[0])
        Image.fromarray(grey.astype(np.uint16) * 257).save(paths[1])
        Image.fromarray(grey).convert("RGB").save(paths[2])
        bits = Image.fromarray(grey).convert("1")
        bits.save(paths[3])
        bits.convert("RGB").save(paths[4])
        found = [line[1:] for line in said(capsys, captioner, *paths)]
        assert found[0] == found[1] == found[2] and found[3] == found[4]

    def test_pictures_are_turned_upright(self, captioner, plain, tmp_path, capsys):
        turned = plain.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 270 degrees
        turned.save(tmp_path / "turned.png", exif=exif)
        plain.save(tmp_path / "plain.png")
        found = said(capsys, captioner, tmp_path / "turned.png", tmp_path / "plain.png")
        assert found[0][1:] == found[1][1:]

    def test_another_size_is_brought_to_the_model_s_and_said(
        self, captioner, plain, expected, tmp_path, capsys
    ):
        plain.resize((160, 160), Image.Resampling.NEAREST).save(tmp_path / "large.png")
        wide = Image.new("RGB", (28, 16), "black")
        wide.paste(plain, (6, 0))
        wide.save(tmp_path / "wide.png")
        large, middle = said(
            capsys, captioner, tmp_path / "large.png", tmp_path / "wide.png"
        )
        note = "pixels, seen as their middle square at 16 x 16"
        assert large[1:] == [large[1], f"160 x 160 {note}"]
        assert middle[1:] == [expected, f"28 x 16 {note}"]

    def test_a_model_sees_what_a_folder_of_pictures_shows_it(
        self, plain, tmp_path, capsys
    ):
        from mmgen.cli.describe import read_pictures

        own = tmp_path / "own"
        own.mkdir()
        plain.resize((90, 61)).save(own / "a.png")
        (own / "a.txt").write_text("a red star", encoding="utf-8")
        data = load_dataset("folder", "all", 16, root=str(own))
        images, _ = read_pictures([own / "a.png"], 16)
        assert torch.equal(images[0], data.batch([0]).images[0])


class TestBadInput:
    def test_no_picture(self, capsys, captioner):
        assert "at least one PICTURE" in fails(capsys, "describe", captioner)

    def test_files_that_are_not_there(self, capsys, captioner, files, tmp_path):
        line = fails(capsys, "describe", captioner, files[0], tmp_path / "nothing.png")
        assert "there is no picture" in line and "nothing.png" in line
        line = fails(capsys, "describe", captioner, files[0][:-4] + ".jpg")
        assert "There is 0.png in its place" in line
        line = fails(capsys, "describe", captioner, tmp_path)
        assert "is a folder; name the pictures in it" in line and "/*.png" in line
        line = fails(capsys, "describe", captioner, "https://example.org/a.png")
        assert "is no file on this machine; download it" in line

    def test_files_that_are_no_pictures(self, capsys, captioner, files, tmp_path):
        text, page, cut = (tmp_path / name for name in ("a.png", "b.png", "c.png"))
        text.write_text("a red star", encoding="utf-8")
        page.write_text("<!DOCTYPE html><p>not found", encoding="utf-8")
        cut.write_bytes(Path(files[0]).read_bytes()[:60])
        line = fails(capsys, "describe", captioner, files[0], text, page, cut)
        assert "3 of 4 pictures cannot be opened" in line
        assert all(str(path) in line for path in (text, page, cut))
        assert "a web page that was saved under this name" in line
        clear = tmp_path / "clear.png"
        Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(clear)
        line = fails(capsys, "describe", captioner, clear)
        assert "all of its pixels are transparent" in line

    def test_models_that_do_not_describe(self, capsys, files, weights):
        for model in (weights, "damsm-shapes64", "fuse-shapes64"):
            line = fails(capsys, "describe", model, files[0])
            assert f"{model} describes no pictures" in line

    def test_model(self, capsys, captioner, files):
        line = fails(capsys, "describe", captioner.with_stem("captionr"), files[0])
        assert "Did you mean captioner" in line

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--beams", "0"], "beams must be a whole number, at least 1; got 0"),
            (["--beams", "x"], "--beams"),
            (["--language", "fr"], "language must be one of en, zh"),
            (["--temperature", "-1"], "temperature must be a number from 0"),
            (["--temperature", "nan"], "--temperature must be a finite number"),
            (["--prompt", ""], "prompt must not be empty"),
            (["--prompt", "zorp"], "known word"),
            (["--prompt", "a zorp"], "does not write zorp"),
            (["--beams", "2", "--prompt", "a"], "leave temperature at 0 and prompt"),
            (["--copies", "0"], "--copies must lie in 1..10000"),
            (["--copies", "10001"], "--copies must lie in 1..10000"),
            (["--copies", "2"], "would be the same caption each time"),
            (["--device", "gpu"], "--device must be cpu, cuda"),
            (["--colour", "red"], "--colour"),
            (["--seed", "9" * 20], "--seed must lie in"),
        ],
    )
    def test_options(self, capsys, captioner, files, words, message):
        assert message in fails(capsys, "describe", captioner, files[0], *words)
