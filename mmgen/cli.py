"""The command line: ``mmgen train | sample | evaluate | data | info | export | grade``.

Only the standard library is imported up here, so that ``mmgen --help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import importlib
import inspect
import io
import json
import os
import re
import sys
import textwrap
import typing
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mmgen.registry import METHODS

# Name -> what it does, and the function that takes the words behind it.
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("train a method on a data set, or go on with a run", "mmgen.cli:train"),
    "sample": ("draw captions with trained weights or a run", "mmgen.cli:sample"),
    "evaluate": ("measure trained weights or a run", "mmgen.cli:evaluate"),
    "data": ("look at a data set, or pack one for many readers", "mmgen.cli:data"),
    "info": ("this machine, the methods and the weights", "mmgen.cli:info"),
    "export": ("write trained weights as ONNX", "mmgen.cli:export"),
    "grade": ("grade a class's assignments", "mmgen.classroom.command:grade"),
}
# Options of TrainingConfig that --help lists; --help-all lists the others too.
COMMON = (
    *("steps", "batch_size", "seed", "precision", "devices", "compile", "max_minutes"),
    *("checkpoint_every", "sample_every", "workers", "out"),
)
MOST = 26  # options of a method that --help lists, so that it fits a screen
BATCH = 64  # pictures drawn at a time


class UsageError(Exception):
    """Words on the command line that mean nothing here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0, or 2 after an error, which is printed as one line; 130 after
        Ctrl-C. The environment variable MMGEN_TRACEBACK=1 shows where it came from.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _run(words)
    except KeyboardInterrupt as stop:
        print(f"mmgen: {stop or 'stopped'}", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("MMGEN_TRACEBACK") or not isinstance(error, _expected()):
            raise
        print(f"mmgen: error: {_one_line(error)}", file=sys.stderr)
        return 2


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0
    if words[0] == "--version":
        from mmgen import __version__

        print(__version__)
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise UsageError(_unknown("command", name, COMMANDS))
    module, _, function = COMMANDS[name][1].partition(":")
    command: Callable[[list[str]], int] = getattr(
        importlib.import_module(module), function
    )
    return command(rest)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "usage: mmgen COMMAND …",
        "",
        "Multimodal generation, taught and tested.",
        "",
    ]
    lines += [f"  {name:{width}}  {text}" for name, (text, _) in COMMANDS.items()]
    lines += ["", "mmgen COMMAND --help tells more, mmgen --version the version. E.g.:"]
    lines += [
        "  mmgen train cgan --data shapes --scale laptop --out runs/cgan",
        '  mmgen sample cgan-shapes64 "a large red star" --out star.png',
    ]
    return "\n".join(lines)


# ------------------------------------------------------------------------------- train


def train(words: list[str]) -> int:
    """``mmgen train METHOD --data NAME …`` or ``mmgen train --resume RUN …``."""
    method = words.pop(0) if words and not words[0].startswith("-") else None
    head = _Parser("mmgen train")
    head.add_argument("--data", default="shapes")
    head.add_argument("--scale")
    head.add_argument("--resume")
    head.add_argument("-h", "--help", action="store_true")
    head.add_argument("--help-all", action="store_true")
    known, rest = head.parse_known_args(words)
    if method is not None and method not in METHODS:
        raise UsageError(_unknown("method", method, METHODS))
    if known.resume:
        return _resume(known.resume, method, rest)
    if method is None:
        if known.help or known.help_all:
            print(_train_help())
            return 0
        raise UsageError(f"name a method: {', '.join(METHODS)}.")

    from mmgen.registry import find_class
    from mmgen.training import TrainingConfig, fit, scale

    task_class = find_class(METHODS[method])
    size = scale(known.scale)
    config, training_defaults, data_defaults = task_class.defaults(size, known.data)
    training = TrainingConfig(
        **{"out": f"runs/{method}-{known.data}", **training_defaults}
    )
    options = [
        *data_options(known.data, data_defaults, ("split",)),
        *dataclass_options("method", config),
        *dataclass_options("training", training),
    ]
    options = _distinct(options)
    if known.help or known.help_all:
        usage = (
            f"usage: mmgen train {method} [--data {known.data}] [--scale {size}] "
            f"[options]\nDefaults are those of --data {known.data} --scale {size}."
        )
        print(_options_help(usage, options, known.help_all))
        return 0
    values = parse(f"mmgen train {method}", options, rest)

    import torch

    training = dataclasses.replace(training, **values["training"])
    dataset = _dataset(known.data, values["data"])
    shared = {
        field.name: values["data"][field.name]
        for field in dataclasses.fields(config)
        if field.name in values["data"]
    }
    config = dataclasses.replace(config, **values["method"], **shared)
    torch.manual_seed(training.seed)  # of the first weights
    run = fit(task_class.build(config, dataset), dataset, training)
    _report_run(run)
    return 0


def _resume(folder: str, method: str | None, words: list[str]) -> int:
    from mmgen.configs import from_json
    from mmgen.training import Run, TrainingConfig
    from mmgen.training.run import CHANGEABLE

    try:
        about = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        before = from_json(TrainingConfig, about["training"])
        task = about["task"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--resume {folder}: no run can be read there ({error})."
        ) from (error)
    if method is not None and METHODS[method] != task:
        raise UsageError(f"--resume {folder}: this run trains {task}, not {method}.")
    before = dataclasses.replace(before, max_minutes=None)
    options = [
        option
        for option in dataclass_options("training", before)
        if option.name in CHANGEABLE
    ]
    values = parse("mmgen train --resume", options, words)["training"]
    changes = {
        name: value for name, value in values.items() if value != getattr(before, name)
    }
    _report_run(Run.resume(folder, **changes))
    return 0


def _report_run(run: Any) -> None:
    if not run.history or not run.folder:
        return
    row, steps = run.history[-1], run.manifest["steps"]
    losses = ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k.endswith("loss"))
    print(
        f"{run.folder}: {steps} steps in {run.manifest['seconds']:.0f} s "
        f"({run.manifest['stopped'].replace('_', ' ')}); {losses}"
    )
    print(f'next: mmgen sample {run.folder} "…" --out picture.png')


def _train_help() -> str:
    lines = ["usage: mmgen train METHOD [--data NAME] [--scale SCALE] [options]"]
    lines += ["       mmgen train --resume RUN [options]", ""]
    lines += [f"  METHOD    {', '.join(METHODS)}"]
    lines += [f"  --data    {', '.join(_datasets())} [shapes]"]
    lines += ["  --scale   smoke (seconds), laptop (a minute or two), full (a GPU);"]
    lines += ["            by default MMGEN_SCALE, or else what the machine has"]
    lines += ["  --resume  go on with the run in this folder", ""]
    lines += ["mmgen train METHOD --help lists the options of a method."]
    return "\n".join(lines)


# ------------------------------------------------------------------------------ sample


def sample(words: list[str]) -> int:
    """``mmgen sample NAME "caption" … --out file.png``."""
    parser = _Parser("mmgen sample", "Draw captions, one picture each.")
    parser.add_argument("model", metavar="NAME", help="weights (mmgen info), or a run")
    parser.add_argument("captions", nargs="+", metavar="CAPTION", help="what to draw")
    parser.add_argument(
        "--out", default="sample.png", help="PNG to write [%(default)s]"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the noise [%(default)s]"
    )
    parser.add_argument("--copies", type=int, default=1, help="of each caption [1]")
    parser.add_argument("--device", help="cpu or cuda [cpu]")
    parser.with_help()
    given = parser.parse_args(words)
    if given.copies < 1:
        raise UsageError(f"--copies must be at least 1; got {given.copies}.")
    out = _writable(given.out, (".png",))
    empty = [caption for caption in given.captions if not caption.strip()]
    if empty:
        raise UsageError("a caption must not be empty; write at least one word.")
    sampler = _sampler(given.model, given.device)
    if not hasattr(sampler, "sample"):
        raise UsageError(f"{given.model} matches pictures and captions; it draws none.")
    captions = [caption for caption in given.captions for _ in range(given.copies)]
    images = sampler.sample(captions, seed=given.seed)

    from mmgen.training.logs import save_grid

    save_grid(out, images, columns=given.copies if given.copies > 1 else 8)
    print(f"{out}: {len(images)} of {images.shape[3]} x {images.shape[2]} pixels")
    return 0


# ---------------------------------------------------------------------------- evaluate


def evaluate(words: list[str]) -> int:
    """``mmgen evaluate NAME|RUN --data NAME --split SPLIT``."""
    parser = _Parser(
        "mmgen evaluate",
        "Measure weights or a run on captions of a split; data options as in train.",
    )
    parser.add_argument("model", metavar="NAME", help="weights (mmgen info), or a run")
    parser.add_argument("--data", help="data set [the one it was trained on]")
    parser.add_argument("--split", default="test", help="of the data set [%(default)s]")
    parser.add_argument(
        "--count", type=int, default=2000, help="captions [%(default)s]"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the noise [%(default)s]"
    )
    parser.add_argument("--scorer", help="weights that judge R-precision [NAME-scorer]")
    parser.add_argument("--device", help="cpu or cuda [what there is]")
    parser.add_argument("--out", help="JSON to write [printed only]")
    parser.with_help()
    given, rest = parser.parse_known_args(words)
    out = _writable(given.out, (".json",)) if given.out else None

    import torch

    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    sampler, trained_on = _sampler(given.model, device), _trained_on(given.model)
    name = given.data or trained_on["name"]
    defaults = {"image_size": trained_on["image_size"]}
    if name == trained_on["name"]:
        defaults |= {"language": trained_on["language"], **trained_on["options"]}
        defaults.pop("size", None)  # the split has its own
    options = data_options(name, defaults, ("split",))
    chosen = parse("mmgen evaluate", options, rest)["data"]
    dataset = _dataset(name, {**chosen, "split": given.split})
    count = min(given.count, len(dataset))
    if count < 1:
        raise UsageError(f"--count must be at least 1; got {given.count}.")
    report = {
        "model": Path(given.model).stem,  # a name; a path would tell of the machine
        "data": {
            "name": name,
            "split": given.split,
            "image_size": dataset.image_size,
            "language": dataset.language,
            "options": dataset.options,
        },
        "count": count,
        "seed": given.seed,
        "metrics": measure(sampler, dataset, count, given.seed, device, given.scorer),
    }
    print(_table(report))
    if out:
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        out.write_text(text, encoding="utf-8")
    return 0


def measure(
    sampler: Any,
    dataset: Any,
    count: int,
    seed: int,
    device: str,
    scorer: str | None = None,
) -> dict[str, Any]:
    """What a sampler or matcher reaches on the first ``count`` samples of a data set.

    Args:
        sampler: with ``.sample(captions, seed)``, or a matcher with ``.scores``.
        dataset: whose captions are drawn.
        count: how many of them.
        seed: of the noise; every batch of pictures takes the next one.
        device: where the scorer computes.
        scorer: name of the weights that judge R-precision, if any.

    Returns:
        Metric -> its result as JSON values.
    """
    import torch

    captions: list[str] = []
    pictures, class_ids, attributes = [], [], []
    scenes: list[Any] = []
    draws = hasattr(sampler, "sample")
    for start in range(0, count, BATCH):
        batch = dataset.batch(range(start, min(start + BATCH, count)))
        captions += batch.captions
        class_ids.append(batch.class_ids)
        attributes.append(batch.attributes)
        scenes += batch.scenes or []
        if draws:
            images = sampler.sample(batch.captions, seed=seed + start // BATCH)
        else:
            images = batch.images  # a matcher is asked about the real ones
        pictures.append(images.float())
    images = torch.cat(pictures)
    results: dict[str, Any] = {}
    if draws and dataset.name == "shapes":
        from mmgen.metrics import semantic_accuracy

        results["semantic_accuracy"] = semantic_accuracy(images, captions).to_json()
        if hasattr(sampler, "imagine"):  # it also writes captions, and makes both
            from mmgen.metrics.coherence import cross_modal_coherence

            coherence = cross_modal_coherence(sampler, dataset, count, seed)
            results["coherence"] = coherence.to_json()
    if draws and dataset.name == "emoji" and dataset.options["subset"] == "roles":
        from mmgen.metrics.recombination import emoji_gallery, recombination_accuracy

        known = emoji_gallery(dataset.image_size)
        asked = torch.cat(attributes)
        found = recombination_accuracy(images, asked, *known, dataset.attributes)
        results["recombination"] = found.to_json()
        if dataset.language in getattr(sampler, "languages", ()):  # it also names them
            from mmgen.metrics.coherence import naming_accuracy

            named = naming_accuracy(sampler, dataset, dataset.language)
            results["naming"] = named.to_json()
    judge, name = (sampler, None) if not draws else _scorer(dataset, device, scorer)
    if judge is not None:
        from mmgen.metrics.retrieval import DIRECTIONS, r_precision

        # A matcher is asked both ways; pictures only whether they show their captions.
        for direction in ("image_to_text",) if draws else DIRECTIONS:
            precision = r_precision(
                images,
                captions,
                judge,
                seed=seed,
                class_ids=torch.cat(class_ids),
                trained_with=sampler if draws else None,
                scenes=scenes if dataset.name == "shapes" else None,
                direction=direction,
            )
            key = "r_precision" if draws else f"r_precision_{direction}"
            results[key] = {**precision.to_json(), "scorer": name or "itself"}
    return results


def _scorer(dataset: Any, device: str, name: str | None) -> tuple[Any, str | None]:
    from mmgen.pretrained import available, load

    default = f"damsm-{dataset.name}{dataset.image_size}-scorer"
    if name is None and default not in available():
        return None, None
    return load(name or default, device), name or default


def _table(report: dict[str, Any]) -> str:
    """The proportions of a report, with their intervals, as lines."""
    data = report["data"]
    lines = [
        f"{report['model']} on {data['name']} ({data['split']}), "
        f"{report['count']} captions, seed {report['seed']}"
    ]
    rows = list(_leaves(report["metrics"]))
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([*lines, *(f"  {name:{width}}  {text}" for name, text in rows)])


def _leaves(data: dict[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for key, value in data.items():
        name = f"{above}{key}".replace("_", " ")
        if isinstance(value, dict) and {"value", "low", "high"} <= set(value):
            text = f"{value['value']:.3f}  [{value['low']:.3f}, {value['high']:.3f}]"
            yield name, text + (f"  n = {value['n']}" if "n" in value else "")
        elif isinstance(value, dict):
            yield from _leaves(value, f"{name}: ")
        elif isinstance(value, float):
            yield name, f"{value:.4g}"
        elif isinstance(value, int | str):
            yield name, str(value)


# -------------------------------------------------------------------------------- data


def data(words: list[str]) -> int:
    """``mmgen data NAME``, ``mmgen data pack NAME``, ``mmgen data features NAME``."""
    if words[:1] == ["features"]:
        return _features(words[1:])
    packs = words[:1] == ["pack"]
    prog = "mmgen data pack" if packs else "mmgen data"
    text = (
        "Write a split as tar shards."
        if packs
        else "Describe a data set; mmgen data pack NAME writes one as tar shards, "
        "mmgen data features NAME what a frozen network sees in it."
    )
    parser = _Parser(prog, text + " Other options as in train.")
    parser.add_argument("name", metavar="NAME", help=", ".join(_datasets()))
    parser.add_argument("--split", default="train", help="[%(default)s]")
    if packs:
        parser.add_argument("--out", required=True, help="folder of the shards")
    else:
        parser.add_argument("--preview", action="store_true", help="draw a few samples")
        parser.add_argument(
            "--count", type=int, default=16, help="of them [%(default)s]"
        )
        parser.add_argument("--out", default="preview.png", help="PNG [%(default)s]")
    parser.with_help()
    given, rest = parser.parse_known_args(words[1:] if packs else words)
    options = data_options(given.name, {}, ("split",))
    chosen = parse(prog, options, rest)["data"]
    dataset = _dataset(given.name, {**chosen, "split": given.split})
    if packs:
        from mmgen.data.storage.shards import pack

        packed = pack(dataset, _folder(given.out))
        print(
            f"{packed.manifest}: {packed.samples} samples in {packed.shards} shards, "
            f"{packed.bytes / 1e6:.1f} MB"
        )
        for name, why in packed.left_out.items():
            print(f"left out: {name} ({why})")
        return 0
    if given.preview and not 1 <= given.count <= len(dataset):
        raise UsageError(f"--count must lie in 1..{len(dataset)}; got {given.count}.")
    print(
        f"{given.name} ({given.split}): {len(dataset)} samples of "
        f"{dataset.image_size} x {dataset.image_size} pixels, language "
        f"{dataset.language}, "
        f"{len(dataset.vocabulary) - 2} words, at most {dataset.max_tokens} a caption"
    )
    for name, values in dataset.attributes.items():
        text = f"{name}: {', '.join(values)}"
        print(textwrap.shorten(text, 88, placeholder=" …"))
    if given.preview:
        from mmgen.training.logs import save_grid

        out = _writable(given.out, (".png",))
        batch = dataset.batch(range(given.count))
        save_grid(out, batch.images)
        for i, caption in enumerate(batch.captions):
            print(f"{i:3d}  {caption}")
        print(out)
    return 0


def _features(words: list[str]) -> int:
    """``mmgen data features NAME --out FOLDER``."""
    prog = "mmgen data features"
    parser = _Parser(
        prog,
        "Write what a frozen network gives for each picture, so that mmgen train damsm "
        "--data features never runs it. Other options as in train.",
    )
    parser.add_argument("name", metavar="NAME", help=", ".join(_datasets()))
    parser.add_argument("--split", default="train", help="[%(default)s]")
    parser.add_argument("--out", required=True, help="folder of the features")
    parser.add_argument(
        "--encoder",
        choices=("inception", "efficientnet-lite0"),
        default="inception",
        help="the network [%(default)s]",
    )
    parser.add_argument(
        "--encoder-weights",
        default="torchvision",
        help="of Inception: torchvision, which downloads them, or a path",
    )
    parser.add_argument(
        "--augmentations", type=int, default=1, help="cuts of a picture [%(default)s]"
    )
    parser.add_argument("--device", help="cpu or cuda [what there is]")
    parser.with_help()
    given, rest = parser.parse_known_args(words)
    options = data_options(given.name, {"image_size": 299}, ("split",))
    chosen = parse(prog, options, rest)["data"]
    dataset = _dataset(given.name, {**chosen, "split": given.split})

    import torch

    from mmgen.data.storage.features import pack_features
    from mmgen.models.damsm import DAMSMConfig, image_encoder

    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    config = DAMSMConfig(encoder=given.encoder, encoder_weights=given.encoder_weights)
    encoder = image_encoder(config).eval().to(device)
    packed = pack_features(
        dataset,
        encoder.trunk,
        _folder(given.out),
        given.augmentations,
        encoder=given.encoder,
        fingerprint=encoder.fingerprint(),
        device=device,
        progress=lambda done, of: print(f"{done} of {of} samples", flush=True),
    )
    print(
        f"{packed.manifest}: {packed.samples} samples in {packed.augmentations} cuts, "
        f"{packed.bytes / 1e6:.1f} MB"
    )
    print(
        f"next: mmgen train damsm --data features --data-root {given.out} --encoder "
        f"{given.encoder} --image-size {dataset.image_size} --language "
        f"{dataset.language}"
    )
    return 0


# ------------------------------------------------------------------------ info, export


def info(words: list[str]) -> int:
    """``mmgen info``."""
    parser = _Parser("mmgen info", "This machine, the methods and the weights.")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.with_help()
    given = parser.parse_args(words)

    import torch

    from mmgen.pretrained import available, card
    from mmgen.training import scale
    from mmgen.training.manifest import environment

    device = torch.device("cuda", 0) if torch.cuda.is_available() else "cpu"
    about: dict[str, Any] = environment(torch.device(device))
    about["scale"] = scale()
    cards = {name: card(name) for name in available()}
    if given.json:
        about |= {"methods": METHODS, "data": list(_datasets()), "weights": cards}
        print(json.dumps(about, indent=1, ensure_ascii=False))
        return 0
    for key in ("mmgen", "commit", "python", "torch", "cuda", "device", "scale"):
        print(f"{key:8} {about[key] if about[key] is not None else '-'}")
    print(f"{'methods':8} {', '.join(METHODS)}")
    print(f"{'data':8} {', '.join(_datasets())}")
    print("weights" if cards else "weights  none")
    for name, each in cards.items():
        minutes = f"{each['minutes']:.0f} min" if "minutes" in each else ""
        print(
            f"  {name:24} {each['bytes'] / 1e6:5.1f} MB  {minutes:>8}  "
            f"{each.get('device', '')}"
        )
    return 0


def export(words: list[str]) -> int:
    """``mmgen export NAME --out FILE.onnx``."""
    parser = _Parser("mmgen export", "Write weights as ONNX, with the same results.")
    parser.add_argument("model", metavar="NAME", help="weights (mmgen info), or a run")
    parser.add_argument("--out", help="file to write [NAME.onnx]")
    parser.with_help()
    given = parser.parse_args(words)
    out = _writable(given.out or f"{Path(given.model).name}.onnx", (".onnx",))
    sampler = _sampler(given.model, "cpu")

    from mmgen.export import export_onnx

    export_onnx(sampler, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0


# ----------------------------------------------------------------------------- options


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a command, made from a field or an argument of ours."""

    group: str
    name: str  # of the field
    kind: Any  # its type
    default: Any
    text: str
    prefix: str = ""  # what stands before its name on the command line

    @property
    def key(self) -> str:
        """Its name on the command line, with underscores."""
        return self.prefix + self.name


def dataclass_options(group: str, config: Any) -> list[Option]:
    """The fields of a dataclass, with the values of ``config`` as defaults."""
    hints, texts = typing.get_type_hints(type(config)), field_texts(type(config))
    return [
        Option(group, f.name, hints[f.name], getattr(config, f.name), texts[f.name])
        for f in dataclasses.fields(config)
    ]


def data_options(
    name: str, defaults: dict[str, Any], without: Sequence[str] = ()
) -> list[Option]:
    """The arguments of a data set's class, with ``defaults`` in place of its own.

    Those that every data set has keep their names; others begin with ``data_``.
    """
    from mmgen.data import DATASETS
    from mmgen.registry import find_class

    if name not in DATASETS:
        raise UsageError(_unknown("data set", name, DATASETS))
    cls = find_class(DATASETS[name])
    hints = typing.get_type_hints(cls.__init__)
    texts = _argument_texts(cls)
    options = []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.name in without:
            continue
        own = parameter.name in ("split", "image_size", "language")
        options.append(
            Option(
                "data",
                parameter.name,
                hints[parameter.name],
                defaults.get(parameter.name, parameter.default),
                texts.get(parameter.name, ""),
                "" if own else "data_",
            )
        )
    return options


def field_texts(cls: type) -> dict[str, str]:
    """What a dataclass says of each field: the string below it, or its comment."""
    import ast
    import tokenize

    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        source = textwrap.dedent(inspect.getsource(base))
        comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        definition = ast.parse(source).body[0]
        assert isinstance(definition, ast.ClassDef)
        following = [*definition.body[1:], None]
        for node, after in zip(definition.body, following, strict=True):
            if not isinstance(node, ast.AnnAssign) or not isinstance(
                node.target, ast.Name
            ):
                continue
            text = comments.get(node.end_lineno or node.lineno, "")
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = str(after.value.value)
            texts[node.target.id] = " ".join(text.split())
    return texts


def _argument_texts(cls: type) -> dict[str, str]:
    """The lines below "Args:" of a class's docstring."""
    inside = (inspect.getdoc(cls) or "").partition("Args:\n")[2].partition("\n\n")[0]
    texts: dict[str, str] = {}
    for line in textwrap.dedent(inside).splitlines():
        match = re.match(r"(\w+): (.*)", line)
        if match:
            name, text = match.groups()
            texts[name] = text
        elif texts:
            texts[name] += " " + line.strip()
    return texts


def _distinct(options: list[Option]) -> list[Option]:
    """Leave out a method's field that the data set's option of that name decides."""
    kept: dict[str, Option] = {}
    for option in options:
        if option.key not in kept:
            kept[option.key] = option
        elif option.group != "method":
            raise TypeError(
                f"--{option.key} is an option of the method and of training; rename it."
            )
    return list(kept.values())


def parse(prog: str, options: list[Option], words: list[str]) -> dict[str, Any]:
    """Read options from words: group -> name -> value, defaults included.

    Raises:
        UsageError: an option that there is not, or a value of another type.
    """
    import tyro

    flat = dataclasses.make_dataclass(
        "Options",
        [
            (option.key, option.kind, dataclasses.field(default=_fixed(option.default)))
            for option in options
        ],
    )
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            found: Any = tyro.cli(flat, prog=prog, args=words, add_help=False)
    except SystemExit as stop:
        raise UsageError(_complaint(said.getvalue(), options, words)) from stop
    values: dict[str, Any] = {option.group: {} for option in options}
    for option in options:
        values[option.group][option.name] = getattr(found, option.key)
    return values


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _complaint(box: str, options: list[Option], words: list[str]) -> str:
    """One line of what tyro draws a box around."""
    names = ["--" + option.key.replace("_", "-") for option in options]
    for word in words:
        name = word.partition("=")[0].replace("_", "-")
        plain = name.replace("--no-", "--")
        if word.startswith("--") and name not in names and plain not in names:
            return _unknown("option", name, names, show=False)
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()]
    body = []
    for line in lines[1:]:
        if not line.strip("─ "):
            break
        body.append(line)
    return " ".join(body) or "the options cannot be read."


def _options_help(usage: str, options: list[Option], everything: bool) -> str:
    lines = [usage]
    groups = {"data": "data set", "method": "method", "training": "training"}
    hidden = 0
    for group, title in groups.items():
        rows = [option for option in options if option.group == group]
        if not everything:
            listed = rows[:MOST] if group == "method" else rows
            if group == "training":
                listed = [option for option in rows if option.name in COMMON]
            hidden += len(rows) - len(listed)
            rows = listed
        if rows:
            lines.append(f"{title}:")
            lines += [_option_line(option) for option in rows]
    if hidden:
        lines.append(f"--help-all lists {hidden} more.")
    return "\n".join(lines)


def _option_line(option: Option) -> str:
    name = option.key.replace("_", "-")
    if option.kind is bool:
        name = f"[no-]{name}"
    default = option.default
    if isinstance(default, list | tuple):
        default = " ".join(map(str, default)) or "none"
    if option.kind is bool:
        default = "yes" if default else "no"
    shown = "none" if default is None else str(default)
    ending = f" [{textwrap.shorten(shown, 30, placeholder=' …')}]"
    choices = typing.get_args(option.kind) if _is_literal(option.kind) else ()
    text = option.text.replace("``", "").rstrip(".")
    if choices and not all(str(choice) in text for choice in choices):
        text = f"{text}: {', '.join(map(str, choices))}"
    room = 88 - 26 - len(ending)
    text = textwrap.shorten(text, max(room, 20), placeholder=" …")
    return f"  --{name:<21} {text}{ending}"


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Literal


# ----------------------------------------------------------------------------- helpers


class _Parser(argparse.ArgumentParser):
    """An argparse parser whose complaints end as one line like all others."""

    def __init__(self, prog: str, description: str | None = None) -> None:
        super().__init__(
            prog=prog, description=description, add_help=False, allow_abbrev=False
        )

    def with_help(self) -> None:
        """Add --help, last in the list."""
        self.add_argument("-h", "--help", action="help", help="show this")

    def error(self, message: str) -> typing.NoReturn:
        raise UsageError(f"{message} ({self.prog} --help tells more)")


def _datasets() -> tuple[str, ...]:
    from mmgen.data import DATASETS

    return tuple(DATASETS)


def _dataset(name: str, options: dict[str, Any]) -> Any:
    from mmgen.data import load_dataset

    return load_dataset(name, **options)


def _sampler(model: str, device: str | None) -> Any:
    """The sampler of a run's folder, or of weights that come with the package."""
    import torch

    place = torch.device(device or "cpu")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: torch finds no CUDA device here.")
    if Path(model).is_dir():
        from mmgen.training import Run

        return Run.load(model).sampler().to(place)
    from mmgen.pretrained import available, load

    name, folder = _weights(model)
    if name not in available(folder):
        text = _unknown("model", name, available(folder))
        raise UsageError(f"{text} The folder of a run can be named too.")
    return load(name, place, folder)


def _weights(model: str) -> tuple[str, Path | None]:
    """Name and folder of weights: of the package, or of a file elsewhere."""
    if model.endswith(".safetensors"):
        return Path(model).stem, Path(model).parent
    return model, None


def _trained_on(model: str) -> dict[str, Any]:
    """The data set of a run or of weights: name, image_size, language, options."""
    if Path(model).is_dir():
        path = Path(model) / "config.json"
        return json.loads(path.read_text(encoding="utf-8"))["dataset"]
    from mmgen.pretrained import card

    return card(*_weights(model))["data"]


def _writable(path: str, endings: tuple[str, ...]) -> Path:
    """A path to write to; an error now is better than one after an hour."""
    out = Path(path)
    if out.suffix.lower() not in endings:
        raise UsageError(f"--out must end in {' or '.join(endings)}; got {path!r}.")
    if out.is_dir():
        raise UsageError(f"--out {path}: this is a folder.")
    if not out.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {str(out.parent)!r}.")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise UsageError(f"--out {path}: it cannot be written.")
    return out


def _folder(path: str) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {path}: {error.strerror}.") from error
    return folder


def _unknown(what: str, name: str, known: Iterable[str], show: bool = True) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    hint = f" Did you mean {close[0]}?" if close else ""
    listing = f"; there are {', '.join(names)}" if show and names else ""
    return f"unknown {what} {name!r}{listing}.{hint}"


def _expected() -> tuple[type[Exception], ...]:
    """Errors that say what to do; anything else is a fault of ours, shown in full."""
    kinds: list[type[Exception]] = [UsageError, ValueError, OSError, ImportError]
    for module, name in (
        ("mmgen.training.errors", "TrainingError"),
        ("mmgen.pretrained", "WeightsError"),
        ("mmgen.data.storage.shards", "ShardError"),
        ("mmgen.data.workers", "WorkerError"),
    ):
        if module in sys.modules:  # else it cannot have been raised
            kinds.append(getattr(sys.modules[module], name))
    return tuple(kinds)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print(f"mmgen: warning: {_one_line(message)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
