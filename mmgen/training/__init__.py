"""One loop for every method: `fit` trains, `Run.resume` goes on.

Lightning Fabric brings devices, precision and processes; it is imported only when a run
begins.
"""

from mmgen.training.config import TrainingConfig, scale
from mmgen.training.errors import CheckpointError, NonFiniteError, TrainingError
from mmgen.training.loop import Run, fit, reproducible
from mmgen.training.step import Step
from mmgen.training.task import Task

__all__ = [
    "CheckpointError",
    "NonFiniteError",
    "Run",
    "Step",
    "Task",
    "TrainingConfig",
    "TrainingError",
    "fit",
    "reproducible",
    "scale",
]
