"""What can be asked about the pictures of a data set that knows what they show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

TRUE = "true"  # the verdict on a caption with nothing wrong


@dataclass(frozen=True)
class Examination:
    """What a model is asked about pictures and captions, and what it may answer.

    Args:
        wrong: kinds of facts of which a caption may have one wrong.
        questions: kinds of questions.
        answers: all that a question may be answered with.
        words: of questions, that captions do not have.
    """

    wrong: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What may be said of a caption: it is true, or which kind of fact is wrong."""
        return (TRUE, *self.wrong)

    def to_json(self) -> dict[str, Any]:
        """Lists by their names; ``from_json`` reads them back."""
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What ``to_json`` wrote."""
        return cls(**{name: tuple(value) for name, value in data.items()})
