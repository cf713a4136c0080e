"""ONNX files draw what PyTorch draws, caption by caption."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmgen.data.vocabulary import Vocabulary
from mmgen.models.attngan import AttnGANConfig, AttnGANSampler
from mmgen.models.captioning import DECODERS, CaptioningConfig, CaptioningSampler
from mmgen.models.cgan import CGANConfig, CGANSampler
from mmgen.models.multimodal_vae import MultimodalVAEConfig, MultimodalVAESampler
from mmgen.models.vae import (
    ConditionalVAEConfig,
    ConditionalVAESampler,
    VAEConfig,
    VAESampler,
)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from mmgen.export import export_onnx  # noqa: E402 - after the skips

VOCABULARY = Vocabulary.build(["a red circle left of a blue star", "红色 圆形"], "both")
ATTRIBUTES = {"shape": ("circle", "star"), "colour": ("red", "blue", "green")}


def attngan(**changes: object) -> AttnGANSampler:
    config = AttnGANConfig.small(
        sizes=(8, 16),
        generator_channels=4,
        residual_blocks=1,
        noise_dim=5,
        condition_dim=3,
        feature_dim=6,
        **changes,
    )
    return AttnGANSampler(config, VOCABULARY, max_tokens=7, embedding_dim=4)


def test_attngan_with_its_attention_maps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sampler = attngan().eval()
    path = export_onnx(sampler, tmp_path / "attngan.onnx")
    session = onnxruntime.InferenceSession(path)
    texts = ["a red star", "blue circle left of a red circle", "红色圆形", "a", "star"]
    tokens, lengths = VOCABULARY.encode(texts, 7)
    noise = torch.randn(5, sampler.noise_dim)
    names = [output.name for output in session.get_outputs()]
    for i in range(5):
        inputs = {
            "tokens": tokens[i : i + 1].numpy(),
            "lengths": lengths[i : i + 1].numpy(),
            "noise": noise[i : i + 1].numpy(),
        }
        given = dict(zip(names, session.run(None, inputs), strict=True))
        drawn = sampler.stages(texts[i : i + 1], noise=noise[i : i + 1])
        for name, ours in (
            ("image8", drawn.images[0]),
            ("image16", drawn.images[1]),
            ("attention8", drawn.attention[0]),
        ):
            torch.testing.assert_close(
                torch.from_numpy(given[name]), ours, rtol=0, atol=1e-4
            )
    (entry,) = onnx.load(path).metadata_props
    about = json.loads(entry.value)
    assert Vocabulary.from_json(about["vocabulary"]) == VOCABULARY
    assert about["inputs"] == {"tokens": [7], "lengths": [], "noise": [8]}


SAMPLERS = {
    "cgan-sentence": CGANSampler(
        CGANConfig(noise_dim=4, condition_dim=8, width=4, max_width=16),
        VOCABULARY,
        attributes=ATTRIBUTES,
        max_tokens=7,
    ),
    "cgan-attributes": CGANSampler(
        CGANConfig(
            condition="attributes", noise_dim=4, condition_dim=8, width=4, max_width=16
        ),
        VOCABULARY,
        attributes=ATTRIBUTES,
        max_tokens=7,
    ),
    "vae": VAESampler(VAEConfig(hidden_dim=32, channels=8), 16),
    "cvae": ConditionalVAESampler(
        ConditionalVAEConfig(hidden_dim=32, channels=8), 16, VOCABULARY, 7, ATTRIBUTES
    ),
    "mvae": MultimodalVAESampler(
        MultimodalVAEConfig(hidden_dim=32, channels=8), 16, VOCABULARY, 7
    ),
    "mvae-without-style": MultimodalVAESampler(
        MultimodalVAEConfig(hidden_dim=32, channels=8, style_dim=0, fusion="poe"),
        16,
        VOCABULARY,
        7,
    ),
    "attngan": attngan(),
}
# Long and short, in both languages, with a word that is unknown and one cut off.
CAPTIONS = [
    "a red circle left of a blue",
    "star",
    "红色圆形",
    "a blue zebra",
    "blue circle left of a red star of a star",
]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_file_draws_what_sample_draws(name: str, tmp_path: Path) -> None:
    """The file against the sampler's own reading of captions, not against its graph."""
    sampler = SAMPLERS[name].eval()
    if name.startswith("cgan"):  # fresh ones hardly look at what they are told
        for parameter in sampler.parameters():
            parameter.data.mul_(2)
    path = export_onnx(sampler, tmp_path / "sampler.onnx")
    session = onnxruntime.InferenceSession(path)
    taken = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(len(CAPTIONS), taken["noise"][1], generator=generator)
    captions: list = CAPTIONS
    if "attributes" in taken:
        captions = ["red star", "circle", "blue", "green circle", "red"]
        given = {"attributes": sampler.read(captions)[0]}
    elif "tokens" in taken:
        about = json.loads(onnx.load(path).metadata_props[0].value)
        vocabulary = Vocabulary.from_json(about["vocabulary"])
        (width,) = about["inputs"]["tokens"]
        with pytest.warns(UserWarning, match="of a star"):
            tokens, lengths = vocabulary.encode(captions, width)
        given = {"tokens": tokens, "lengths": lengths}
    else:
        given = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is unknown and what is cut
        expected = sampler.sample(captions, noise=noise)
    assert expected.flatten(1).std(dim=0).max() > 0.01  # they differ from one another
    names = [output.name for output in session.get_outputs()]
    last = names.index("image16" if name == "attngan" else "image")
    drawn = []
    for row in range(len(captions)):
        inputs = {key: rows[row : row + 1] for key, rows in given.items()}
        inputs["noise"] = noise[row : row + 1]
        drawn.append(session.run(None, {k: v.numpy() for k, v in inputs.items()})[last])
    images = torch.cat([torch.from_numpy(image) for image in drawn])
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-4)
    if given:  # and hang on their captions: another's would be seen
        same = sampler.sample(captions[:1] * len(captions), noise=noise)
        assert (same - expected).abs().max() > 0.01


def test_a_file_that_draws_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = attngan().eval()
    graph = sampler.graph()
    path = export_onnx(sampler, tmp_path / "good.onnx")
    with torch.no_grad():
        sampler.generator.heads[0].weight.mul_(1.1)
    from mmgen.export import _check

    with pytest.raises(RuntimeError, match="image8 differs from PyTorch's"):
        _check(path, graph)


def test_unknown_samplers_are_told_how(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Linear cannot be exported.*graph\(\)"):
        export_onnx(nn.Linear(2, 2), tmp_path / "x.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="nothing-like-this"):
            export_onnx("nothing-like-this", tmp_path / "x.onnx")


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_file_writes_word_by_word_what_describe_writes(
    decoder: str, language: str, tmp_path: Path
) -> None:
    """The file has one step; the words that it chooses are read back here."""
    torch.manual_seed(3)
    config = CaptioningConfig(
        16, feature_dim=8, width=4, grid=4, patch=2, decoder=decoder, hidden=8, heads=2
    )
    sampler = CaptioningSampler(config, VOCABULARY, 7).eval()
    for parameter in sampler.parameters():  # so that it says different things
        nn.init.normal_(parameter)
    nn.init.zeros_(sampler.network.writer.words.bias)
    images = (2 * torch.rand(12, 3, 1, 1) - 1).repeat(1, 1, 16, 16)
    images[:, :, 4:9, 4:9] = 2 * torch.rand(12, 3, 1, 1) - 1
    expected = sampler.describe(images, language)
    assert len(set(expected)) > 1

    path = export_onnx(sampler, tmp_path / "writer.onnx")
    session = onnxruntime.InferenceSession(path)
    taken = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    never = sampler.network.writer.never(language).numpy()
    kept = ("h", "c") if decoder == "lstm" else ("keys", "values")
    written = []
    for image in images:
        token, words = np.array([len(VOCABULARY) + (language == "zh")]), []
        state = {name: np.zeros(taken[name], np.float32) for name in kept}
        for place in range(7):
            step = {"image": image[None].numpy(), "token": token, **state}
            step["at"] = np.array([place])
            found = dict(zip(names, session.run(None, step), strict=True))
            logits = np.where(never, -np.inf, found["logits"][0])
            if place == 0:
                logits[0] = -np.inf
            token = logits.argmax(keepdims=True)
            if token[0] == 0:
                break
            words.append(int(token[0]))
            state = {name: found[f"new_{name}"] for name in kept}
        written.append(VOCABULARY.decode(torch.tensor(words))[0])
    assert written == expected
