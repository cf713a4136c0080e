"""One loop for every method: `fit` trains, `Run.resume` goes on.

Lightning Fabric brings devices, precision and processes; it is imported only when a run
begins. What is learned depends on the seed and the batch size, not on how the batch is
divided: noise is drawn by sample, gradients are averaged over processes and parts.
Three things still differ:

- **Batch normalisation** takes its statistics from the samples that pass through at
  once: those of one process and one part. More processes or parts therefore train
  another network; the running statistics that are kept are those of the first process.
- **Losses over pairs of a batch**, and means over what its captions specify, see the
  samples of all processes, but only those of one part. The published AttnGAN's wrong
  captions, each that of the next picture, are those of one process.
- **Dropout** draws from each process's own generator.
"""

from mmgen.interfaces import Task
from mmgen.training.config import TrainingConfig, scale
from mmgen.training.devices import reproducible
from mmgen.training.errors import CheckpointError, NonFiniteError, TrainingError
from mmgen.training.run import Run, build, fit
from mmgen.training.step import Step

__all__ = [
    "CheckpointError",
    "NonFiniteError",
    "Run",
    "Step",
    "Task",
    "TrainingConfig",
    "TrainingError",
    "build",
    "fit",
    "reproducible",
    "scale",
]
