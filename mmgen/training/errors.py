"""What can go wrong with a run, each with a message that says what to do."""

from mmgen.errors import MmgenError


class TrainingError(MmgenError, RuntimeError):
    """A run cannot go on."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be written, or is damaged, foreign or of another config."""


class NonFiniteError(TrainingError):
    """A loss or a weight is NaN or infinite."""
