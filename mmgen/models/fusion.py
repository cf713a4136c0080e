r"""Fusion: what picture and text say together, and neither alone.

Two questions need both. Is this caption true of this picture, and if not, which kind of
fact is wrong in it? Half of the captions are true; the others have one fact changed.
What a caption gives away by itself is measured: nothing about one object; but where two
are the most, who counts three is never right. And what is the answer to a question
about the picture? Each pair is fused to one vector (``mmgen.layers.fusion``), from
which two linear maps tell the verdict and the answer.

Both encoders may begin as those of a model which matches pictures with captions: what
is aligned already need only be fused (Li et al., *Align before Fuse*, NeurIPS 2021).
In training a pair loses one of its sides now and then (Neverova et al., *ModDrop*,
TPAMI 2016), so that the network knows what to say without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from mmgen.data.batch import Batch, word_mask
from mmgen.data.examination import TRUE, Examination
from mmgen.data.vocabulary import Vocabulary
from mmgen.interfaces import NOTHING, DataInfo, Examines, Step
from mmgen.layers.fusion import FUSIONS, Fusion, FusionName, check_fusion
from mmgen.layers.images import ImageEncoder
from mmgen.layers.text import UNIT_RANGE, TextEncoder
from mmgen.layers.validation import require_image_size, require_one_each
from mmgen.models.aligned import AlignedTask, begin_pictures
from mmgen.sampling import CaptionSampler, Graph, example_captions, in_parts

PART = 64  # pairs fused at a time when nothing is trained


@dataclass(frozen=True)
class FusionConfig:
    """Sizes of the encoders and of what fuses them, and how they learn."""

    image_size: int = 64  # height and width of the pictures; the data set's
    feature_dim: int = 128  # D, of a region, of a word and of what is fused
    width: int = 48  # channels of the image encoder's first layer
    grid: int = 8  # regions across and down
    patch: int = 4  # step of the image encoder's first layer
    embedding_dim: int = 64  # of a token's vector
    # how picture and text become one vector
    fusion: FusionName = "cross-attention"
    hidden: int = 128  # size of what the fusion computes with
    # matching model whose encoders these begin with: a pretrained name, or a run's
    # folder; none: from random weights
    aligned: str = ""
    questions: int = 2  # asked of a picture in a step, beside two captions
    modality_dropout: float = 0.1  # share of pairs that lose picture or text
    learning_rate: float = 1e-3  # of AdamW
    weight_decay: float = 0.01  # of matrices

    TRAINING: ClassVar[frozenset[str]] = frozenset(
        ["aligned", "questions", "modality_dropout", "learning_rate", "weight_decay"]
    )

    def __post_init__(self) -> None:
        check_fusion(self.fusion)
        if self.questions < 0:
            raise ValueError(f"questions must be at least 0; got {self.questions}.")
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(
                f"modality_dropout must lie in [0, 1); got {self.modality_dropout}."
            )


class FusionNetwork(nn.Module):
    """A picture and a text to one vector, and from it a verdict and an answer.

    Args:
        config: sizes.
        vocabulary_size: V, of captions and questions.
        verdicts, answers: how many there are of each.
    """

    def __init__(
        self, config: FusionConfig, vocabulary_size: int, verdicts: int, answers: int
    ) -> None:
        super().__init__()
        width, sizes = config.feature_dim, (config.width, config.grid, config.patch)
        self.pictures = ImageEncoder.small(config.image_size, width, *sizes)
        # The picture's own feature is one token more, the first.
        self.places = nn.Parameter(torch.randn(config.grid**2 + 1, width) / 10)
        self.texts = TextEncoder(
            vocabulary_size,
            config.embedding_dim,
            width,
            dropout=0.0,
            word_range=UNIT_RANGE,
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.fusion: Fusion = FUSIONS[config.fusion](
            (width, width), width, config.hidden
        )
        self.verdict = nn.Linear(width, verdicts)
        self.answer = nn.Linear(width, answers)

    def look(self, images: Tensor) -> Tensor:
        """Tokens of pictures (B, 3, H, W), (B, 1 + R, D): the whole, then regions."""
        return self.norms[0](self.pictures.tokens(images)) + self.places

    def forward(
        self,
        images: Tensor | None,
        tokens: Tensor | None,
        lengths: Tensor | None,
        keeps: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits of verdicts (N, V) and of answers (N, A).

        Args:
            images: (B, 3, H, W); None: no pictures.
            tokens, lengths: texts, (N, T) and (N,), the first B of the pictures in
                their order, the next B again, and so on; None: no texts.
            keeps: (N, 2) bool, whether a pair has its picture, and its text; all have,
                by default.
        """
        pictures = words = None
        masks: list[Tensor | None] = [None, None]
        if images is not None:
            pictures = self.look(images)
        if tokens is not None and lengths is not None:
            if tokens.device.type == "cpu" and not torch.compiler.is_compiling():
                # Nothing to fuse after the longest text.
                tokens = tokens[:, : int(lengths.max())]
            words = self.norms[1](self.texts(tokens, lengths)[0])  # (N, T, D)
            masks[1] = word_mask(lengths, words.shape[1])
        if pictures is not None and words is not None:
            pictures = pictures.repeat(len(words) // len(pictures), 1, 1)
        if keeps is not None:
            assert pictures is not None and masks[1] is not None  # who drops has both
            masks[0] = keeps[:, :1].expand(pictures.shape[:2])
            masks[1] = masks[1] & keeps[:, 1:]
        fused = relu(self.fusion([pictures, words], masks))
        return self.verdict(fused), self.answer(fused)


def begin_with(
    network: FusionNetwork, vocabulary: Vocabulary, matcher: Any, name: str
) -> None:
    """Give both encoders the weights of a matching model's.

    Tokens that it does not know keep the vectors that they have.

    Raises:
        ValueError: a model that has no such encoders, or some of other sizes.
    """
    begin_pictures(network.pictures, matcher, name)
    own, prefix = network.texts.state_dict(), "text_encoder."
    state = matcher.state_dict()
    given = {
        k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)
    }
    known = getattr(matcher, "vocabulary", None)
    table = "embedding.weight"
    if isinstance(known, Vocabulary) and table in given:
        rows = dict(zip(known.tokens, given[table], strict=True))
        vectors = zip(vocabulary.tokens, own[table].clone(), strict=True)
        if own[table].shape[1:] == given[table].shape[1:]:
            given[table] = torch.stack([rows.get(token, v) for token, v in vectors])
    wrong = [
        key for key in own if key not in given or own[key].shape != given[key].shape
    ]
    if wrong:
        raise ValueError(
            f"config.aligned must name a matching model whose text encoder has the "
            f"sizes of this one (feature_dim and embedding_dim), such as "
            f"damsm-shapes64 for the defaults; in {name!r} {len(wrong)} of "
            f"{len(own)} tensors do not fit, {wrong[0]} the first."
        )
    for key, value in own.items():
        value.copy_(given[key])


class FusionTask(AlignedTask):
    """The training of a fusion: verdicts on captions, and answers to questions.

    Args:
        config: sizes and training.
        data: a data set that can be examined.
    """

    phases = ("fusion",)

    def __init__(self, config: FusionConfig, data: DataInfo) -> None:
        self.config, self.data = config, data
        assert data.examination is not None  # ``build`` looked
        self.examination: Examination = data.examination
        words = [*data.vocabulary.tokens, *self.examination.words]
        self.vocabulary = Vocabulary(words, data.language)
        self.verdicts = {v: i for i, v in enumerate(self.examination.verdicts)}
        self.answers = {a: i for i, a in enumerate(self.examination.answers)}
        self.networks: dict[str, nn.Module] = {
            "network": FusionNetwork(
                config, len(self.vocabulary), len(self.verdicts), len(self.answers)
            )
        }

    @classmethod
    def build(
        cls, config: FusionConfig, data: DataInfo, frozen: Mapping = NOTHING
    ) -> FusionTask:
        """A task for a data set, its encoders begun as those of ``frozen["aligned"]``.

        Raises:
            ValueError: pictures of another size, a data set that does not know what its
                pictures show, or a model without encoders of these sizes.
        """
        require_image_size(config.image_size, data.image_size)
        if data.examination is None:
            raise ValueError(
                f"fuse needs a data set that can make a caption wrong in one fact and "
                f"ask questions, such as shapes; {data.name!r} cannot."
            )
        task = cls(config, data)
        if config.aligned:
            network = task.networks["network"]
            assert isinstance(network, FusionNetwork)
            begin_with(network, task.vocabulary, frozen["aligned"], config.aligned)
        return task

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Surprise at verdicts and answers, in nats.

        Each picture meets its own caption, one that is wrong in one fact, and some
        questions; it is looked at once. The data set writes texts, so that the
        processor waits for a GPU's draws.
        """
        count, asked = len(batch), self.config.questions
        chances = step.rand(count, 2 + asked, 4)  # three for a text, one for dropout
        tokens, lengths, verdicts, answers = self.examined(batch, chances)
        # As many lose their picture as their text, and none loses both.
        half = self.config.modality_dropout / 2
        losing = chances[:, :, 3].T.flatten()  # in the order of the texts
        keeps = torch.stack(
            [losing >= half, (losing < half) | (losing >= 2 * half)], dim=1
        )
        network = self.networks["network"]
        said, told = network(batch.images, tokens, lengths, keeps)
        said, told = said[: 2 * count].float(), told[2 * count :].float()
        surprise = cross_entropy(said, verdicts)
        true = said.softmax(dim=1)[:, 0] > 0.5
        found = {
            "loss": surprise,
            "verdict": surprise,
            "truth_right": (true == (verdicts == 0)).float().mean(),
        }
        if asked:
            found["answer"] = cross_entropy(told, answers)
            found["answer_right"] = (told.argmax(dim=1) == answers).float().mean()
            found["loss"] = surprise + found["answer"]
        return found

    def examined(
        self, batch: Batch, chances: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Texts about the pictures of a batch, and what is right.

        Args:
            batch: B samples.
            chances: (B, 2 + Q, 4) in [0, 1).

        Returns:
            Tokens ((2 + Q) B, T) and lengths, of all captions, of all wrong captions,
            and of questions; verdicts (2 B,) and answers (Q B,) int64.

        Raises:
            ValueError: a data set that cannot make these texts.
        """
        examiner = self.data.alternatives
        if not isinstance(examiner, Examines):
            raise ValueError(
                f"data must be a data set that can be examined; {self.data.name!r} is "
                f"only a description of one."
            )
        drawn = [chances[:, i, :3].tolist() for i in range(1, chances.shape[1])]
        wrong, kinds = examiner.wrong_captions(batch, drawn[0])
        questions = [q for draw in drawn[1:] for q in examiner.questions(batch, draw)]
        texts = [*wrong, *(question.text for question in questions)]
        tokens, lengths = self.vocabulary.encode(texts, self.data.max_tokens)
        device = batch.tokens.device
        right = [self.verdicts[TRUE]] * len(batch)
        verdicts = right + [self.verdicts[kind] for kind in kinds]
        answers = [self.answers[question.answer] for question in questions]
        return (
            torch.cat([batch.tokens, tokens.to(device)]),
            torch.cat([batch.lengths, lengths.to(device)]),
            torch.tensor(verdicts, device=device),
            torch.tensor(answers, dtype=torch.int64, device=device),
        )

    def sampler(self, networks: Mapping[str, nn.Module]) -> FusionSampler:
        """What verifies and answers, with this network."""
        trained = networks["network"]
        sampler = FusionSampler(
            self.config,
            self.vocabulary,
            self.data.max_tokens,
            self.examination.verdicts,
            self.examination.answers,
        )
        sampler.network.load_state_dict(trained.state_dict())
        return sampler.to(next(trained.parameters()).device).eval()


class FusionSampler(CaptionSampler):
    """Verifies captions of pictures, and answers questions about them.

    Args:
        config: as trained.
        vocabulary: of captions and questions.
        max_tokens: longest caption of the training; longer ones are cut.
        verdicts: "true" first, then kinds of facts that a caption may have wrong.
        answers: all that a question may be answered with.
    """

    config_class = FusionConfig
    stored = (*CaptionSampler.stored, "verdicts", "answers")

    def __init__(
        self,
        config: FusionConfig,
        vocabulary: Vocabulary,
        max_tokens: int,
        verdicts: Sequence[str],
        answers: Sequence[str],
    ) -> None:
        super().__init__(config, vocabulary, max_tokens)
        self.verdicts, self.answers = tuple(verdicts), tuple(answers)
        self.network = FusionNetwork(
            config, len(vocabulary), len(self.verdicts), len(self.answers)
        )

    @torch.no_grad()
    def verify(self, images: Tensor | None, captions: Sequence[str] | None) -> Tensor:
        """The probability of every verdict on each caption of its picture.

        Args:
            images: (B, 3, H, W) in [-1, 1], of the size of the training; None: what
                would be said of these captions without their pictures.
            captions: B; None: what would be said of these pictures without captions.

        Returns:
            (B, V), rows of sum 1; "true" is the first of ``verdicts``.

        Raises:
            ValueError: neither pictures nor captions, other numbers of them, or what
                the network cannot take.
        """
        return self._logits(0, images, captions, "captions").softmax(dim=1)

    @torch.no_grad()
    def answer(
        self, images: Tensor | None, questions: Sequence[str] | None
    ) -> list[str]:
        """The likeliest answer to each question about its picture, of ``answers``.

        Arguments and errors as for ``verify``.
        """
        chosen = self._logits(1, images, questions, "questions").argmax(dim=1)
        return [self.answers[i] for i in chosen.tolist()]

    def _logits(
        self, head: int, images: Tensor | None, texts: Sequence[str] | None, what: str
    ) -> Tensor:
        """Logits of verdicts (head 0) or of answers (head 1), (B, ...), in parts."""
        if images is None and texts is None:
            raise ValueError(
                f"images and {what} must not both be None: there is nothing to fuse."
            )
        if images is not None and texts is not None:
            require_one_each(texts, images, what)
        shown = [] if images is None else [images.to(self.device)]
        said = [] if texts is None else [*self.read_captions(texts)]

        def part(*rows: Tensor) -> Tensor:
            pictures = rows[0] if shown else None
            tokens, lengths = rows[-2:] if said else (None, None)
            return self.network(pictures, tokens, lengths)[head].float()

        return in_parts(part, *shown, *said, part=PART)

    def graph(self) -> Graph:
        """Pictures and texts to logits of verdicts and of answers, for export."""

        def judge(
            images: Tensor, tokens: Tensor, lengths: Tensor
        ) -> tuple[Tensor, ...]:
            return self.network(images, tokens, lengths)

        inputs = example_captions(self.vocabulary, self.max_tokens)
        size, generator = self.config.image_size, torch.Generator().manual_seed(0)
        shape = (len(inputs["tokens"]), 3, size, size)
        images = torch.rand(shape, generator=generator) * 2 - 1
        return Graph.of(
            self, judge, {"images": images, **inputs}, ("verdicts", "answers")
        )
