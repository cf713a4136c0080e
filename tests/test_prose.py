"""What pages say of commands: every command line parses, every claim is computed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import mmgen.cli.evaluate
import mmgen.cli.train
import mmgen.presets
from mmgen.cli import main
from mmgen.cli.options import Parser
from mmgen.configs import to_json
from mmgen.data import load_dataset
from mmgen.presets import find
from mmgen.registry import COMMANDS, METHODS, class_path, find_class
from mmgen.training import TrainingConfig, build, fit
from tests.code_blocks import blocks

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("book/**/*.md"), *ROOT.glob("notebooks/*.ipynb")]
)
HOW_TO_USE = ROOT / "book" / "how-to-use.md"
FULL_SIZE = ROOT / "book" / "train-full-size.md"
# A span of code may go on in the next line.
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LAUNCH = re.compile(r"^(?:mmgen|torchrun (?P<launcher>.*?)-m mmgen\.cli)(?: |$)")


class Line(NamedTuple):
    """A command line of a page."""

    page: str
    text: str  # as it is written, on one line
    words: tuple[str, ...]  # behind ``mmgen``
    processes: int | None  # that torchrun starts

    @property
    def name(self) -> str:
        return f"{self.page}: {self.text}"


def text_of(page: Path) -> str:
    """A page, or the Markdown of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join(
        "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
    )


def written(page: Path) -> Iterator[str]:
    """Lines of shell blocks, and spans of code in the text."""
    text = text_of(page)
    if page.suffix == ".md":
        for block in blocks(page):
            if block.language == "bash":
                yield from block.code.replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in SPAN.findall(prose):
        yield " ".join(span.split())


def lines() -> list[Line]:
    found = {}
    for page in PAGES:
        for text in written(page):
            launch = LAUNCH.match(text)
            if launch is None:
                continue
            words = shlex.split(text[launch.end() :], comments=True)
            words = [word for word in words if word not in ("...", "…")]
            launcher = launch["launcher"]
            count = re.search(r"--nproc-per-node (\d+)", launcher or "")
            processes = int(count[1]) if count else None
            line = Line(page.stem, text, tuple(words), processes)
            if words and not any(word in ("COMMAND", "NAME=…") for word in words):
                found[line.name] = line
    return list(found.values())


LINES = lines()
OUT = {  # folders of runs that the pages make: what they are trained on
    line.words[line.words.index("--out") + 1]: line.words
    for line in LINES
    if line.words[0] == "train" and "--out" in line.words
}


class ParsedError(Exception):
    """The command line is understood: nothing more is to happen."""


def trained_on(run: str) -> dict[str, Any]:
    """The data of a run that a page makes, from its command line."""
    if run not in OUT:
        return {"name": "shapes", "image_size": 64, "language": "en"}
    words = OUT[run]
    data = words[words.index("--data") + 1]
    return dict(find(words[1], "full", data).data)


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands stop when they have understood their words."""
    read = Parser.read
    stops = ("mmgen train",)  # whose values are put together first, and then checked

    def and_stop(self: Parser, words: Any) -> dict[str, Any]:
        values = read(self, words)
        if self.prog.startswith(stops) and "--resume" not in self.prog:
            return values
        raise ParsedError

    def stop(*_: Any, **__: Any) -> None:
        raise ParsedError

    monkeypatch.setattr(Parser, "read", and_stop)
    monkeypatch.setattr(mmgen.presets, "fit_preset", stop)
    monkeypatch.setattr(mmgen.cli.evaluate, "sampler_of", lambda *_: None)
    monkeypatch.setattr(mmgen.cli.evaluate, "trained_on", trained_on)
    monkeypatch.setattr("mmgen.classroom.command.grade_folder", stop)

    def told(folder: str) -> tuple[dict[str, Any], TrainingConfig]:
        method = OUT.get(folder, ("train", "attngan"))[1]
        config = find(method, "smoke", "shapes").config
        about = {
            "task": class_path(find_class(METHODS[method])),
            "config": class_path(type(config)),
            "task_config": to_json(config),
        }
        return about, TrainingConfig()

    monkeypatch.setattr(mmgen.cli.train, "_told", told)
    monkeypatch.setattr(mmgen.cli.train, "trained_on", trained_on)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_every_command_line_of_the_pages_is_understood(
    line: Line, parse_only: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = list(line.words)
    assert words[0] in (*COMMANDS, "--help")
    if len(words) == 1:
        return  # the command is only mentioned
    monkeypatch.chdir(tmp_path)
    try:
        code = main(words)
    except ParsedError:
        code = 0
    assert code == 0
    if line.processes is not None:
        devices = words[words.index("--devices") + 1]
        assert int(devices) == line.processes


def test_the_pages_hold_command_lines() -> None:
    """So that a change of their marks does not empty the test above."""
    assert len(LINES) >= 35
    assert {line.words[0] for line in LINES} >= {"train", "sample", "evaluate", "data"}
    assert sum(line.processes is not None for line in LINES) >= 3


def test_a_command_line_with_a_wrong_option_would_be_seen(parse_only: None) -> None:
    for words in (
        ["train", "cgan", "--batchsize", "4"],
        ["train", "cgan", "--batch-size", "4", "--accumulate", "3"],
        ["sample", "cgan-shapes64", "a star", "--output", "x.png"],
        ["evaluate", "runs/damsm-cub", "--splits", "test"],
        ["data", "features", "cub", "--cuts", "10", "--out", "x"],
    ):
        assert main(words) == 2


@pytest.mark.parametrize("page", [HOW_TO_USE, FULL_SIZE], ids=lambda page: page.stem)
def test_every_option_that_a_page_names_exists(
    page: Path, capsys: pytest.CaptureFixture
) -> None:
    named = set()
    for text in written(page):
        if not text.startswith("torchrun"):
            named |= set(re.findall(r"(?<!\S)--[a-z][a-z-]+", text))
    known = {"--help", "--help-all"}
    for words in (
        *(["train", method, "--data", "cub"] for method in ("attngan", "damsm")),
        ["train", "attngan"],
        ["train"],
        ["sample"],
        ["describe"],
        ["evaluate"],
        ["data"],
        ["data", "features", "cub"],
    ):
        assert main([*words, "--help-all"]) == 0
        known |= set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    assert named and named <= known, named - known


# ------------------------------------------------------------------------------ claims


def sentence(page: Path, pattern: str) -> re.Match[str]:
    """What a page says, with its line breaks as spaces."""
    text = " ".join(page.read_text(encoding="utf-8").split())
    found = re.search(pattern, text)
    assert found is not None, f"{page.stem} no longer says {pattern!r}"
    return found


def first_gradient(method: str, batch_size: int, accumulate: int) -> torch.Tensor:
    """What the first step of a method changes, by plain descent with rate 1."""
    preset = find(method, "smoke", "shapes")
    data = load_dataset(**preset.data)
    torch.manual_seed(0)
    task = build(find_class(METHODS[method]), preset.config, data)
    parameters = {
        phase: [p for group in optimizer.param_groups for p in group["params"]]
        for phase, optimizer in task.optimizers().items()
    }
    task.optimizers = lambda: {  # type: ignore[method-assign]
        phase: torch.optim.SGD(group, lr=1.0) for phase, group in parameters.items()
    }
    learned = parameters[task.phases[0]]  # later phases begin where this one ends
    before = [p.detach().clone() for p in learned]
    training = TrainingConfig(
        steps=1,
        batch_size=batch_size,
        accumulate=accumulate,
        accelerator="cpu",
        progress="none",
        tensorboard=False,
    )
    fit(task, data, training)
    return torch.cat(
        [(b - p.detach()).flatten() for b, p in zip(before, learned, strict=True)]
    )


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / one.norm()).item()


def summing_methods() -> list[str]:
    said = sentence(HOW_TO_USE, r"For ([^.]*?) the parts add up to the same gradient")
    return re.findall(r"`([\w-]+)`", said[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_parts_of_a_batch_do_to_the_gradient_what_the_page_says(method: str) -> None:
    gap = difference(first_gradient(method, 8, 1), first_gradient(method, 8, 2))
    near = sentence(HOW_TO_USE, r"they give a near one: ([^.]*)\.")[1]
    if method in summing_methods():
        assert gap < 1e-6
        assert f"`{method}`" not in near
    else:
        assert gap > 1e-6
        assert f"`{method}`" in near  # which says why


@pytest.mark.slow
def test_the_size_of_a_batch_is_that_of_the_whole_step() -> None:
    """Halving it and doubling the parts is another gradient: no page may advise it."""
    assert summing_methods()
    sentence(HOW_TO_USE, r"keep `--batch-size` and raise `--accumulate`")
    for method in summing_methods():
        whole = first_gradient(method, 8, 1)
        assert difference(whole, first_gradient(method, 4, 2)) > 0.05
    for page in PAGES:
        text = " ".join(text_of(page).split())
        advice = r"(halve|half|smaller|lower|reduce)[^.]{0,40}`?--batch-size"
        assert not re.search(advice, text, re.IGNORECASE), page.stem


def test_parts_without_negatives_are_refused_as_the_pages_say(
    capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    sentence(HOW_TO_USE, r"A part without two samples .*? is refused")
    sentence(FULL_SIZE, r"A part must hold at least two samples on each device")
    words = ["train", "damsm", "--data", "shapes", "--scale", "smoke", "--out"]
    sizes = ["--batch-size", "4", "--accumulate", "4", "--progress", "none"]
    assert main([*words, str(tmp_path / "run"), *sizes]) == 2
    assert "at least 2 samples" in capsys.readouterr().err


def test_full_size_numbers_are_those_of_the_presets() -> None:
    preset = find("attngan", "full", "cub")
    said = sentence(
        FULL_SIZE,
        r"Multiply by ([\d,]+) steps for the (\d+) epochs .*? batches of (\d+)",
    )
    steps, epochs, size = (int(number.replace(",", "")) for number in said.groups())
    assert (preset.training.steps, preset.training.batch_size) == (steps, size)
    assert steps == epochs * (8855 // size)  # CUB's training pictures
    every = sentence(FULL_SIZE, r"Sample sheets come every ([\d,]+) steps")[1]
    assert preset.training.sample_every == int(every.replace(",", ""))
    gpus, total, each = map(
        int,
        sentence(
            FULL_SIZE, r"--nproc-per-node (\d+) .*?--batch-size (\d+)`, (\d+) for each"
        ).groups(),
    )
    assert total == gpus * each == gpus * size
    assert replace(preset.training, batch_size=total).batch_size == total
