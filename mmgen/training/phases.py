"""The optimisers of a task's phases, their rates, and what each of them may change."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from mmgen.interfaces import Task
from mmgen.training.config import TrainingConfig
from mmgen.training.errors import CheckpointError


class Phases:
    """One optimiser a phase, over the parameters that the phase changes.

    Args:
        task: its networks are wrapped already.
        networks: the same without their wrappers.
        fabric: that of the run.

    Raises:
        ValueError: optimisers that do not fit the phases.
    """

    def __init__(self, task: Task, networks: dict[str, nn.Module], fabric: Any) -> None:
        self.optimizers = task.optimizers()
        if set(self.optimizers) != set(task.phases):
            raise ValueError(
                f"optimizers() must give one optimiser for each of the phases "
                f"{', '.join(task.phases)}; got {', '.join(self.optimizers)}."
            )
        if fabric.device.type in ("cuda", "cpu"):
            _fuse(self.optimizers)
        self._steppers = {
            phase: fabric.setup_optimizers(optimizer)
            for phase, optimizer in self.optimizers.items()
        }
        self._rates = {
            phase: [group["lr"] for group in optimizer.param_groups]
            for phase, optimizer in self.optimizers.items()
        }
        self._parameters = {
            phase: [p for group in optimizer.param_groups for p in group["params"]]
            for phase, optimizer in self.optimizers.items()
        }
        self._trained = {p for group in self._parameters.values() for p in group}
        # Nobody would read or clear the gradients of the others.
        self._untrained = [
            p
            for network in networks.values()
            for p in network.parameters()
            if p.requires_grad and p not in self._trained
        ]
        for parameter in self._untrained:
            parameter.requires_grad_(False)
        # Phase -> parameters of no later phase: frozen once it is over.
        self._freeze: dict[str, list[nn.Parameter]] = {}
        for i, phase in enumerate(task.phases):
            later = {p for o in task.phases[i + 1 :] for p in self._parameters[o]}
            self._freeze[phase] = [p for p in self._parameters[phase] if p not in later]

    def states(self) -> dict[str, Any]:
        """The optimisers' states, by phase."""
        return {phase: o.state_dict() for phase, o in self.optimizers.items()}

    def restore(self, states: dict[str, Any]) -> None:
        """Go on with the optimisers' states of a checkpoint.

        Raises:
            CheckpointError: states of other optimisers.
        """
        try:
            for phase, optimizer in self.optimizers.items():
                optimizer.load_state_dict(states[phase])
                _check_shapes(optimizer)
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint is of another config: its optimisers do not fit "
                f"({error})."
            ) from error

    def begin(self, factor: float) -> None:
        """Begin a step: all parameters learn, at their rates times ``factor``."""
        for phase, rates in self._rates.items():
            groups = self.optimizers[phase].param_groups
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * factor
        for parameter in self._trained:
            parameter.requires_grad_(True)

    def clear(self, phase: str) -> None:
        """Forget the gradients of a phase's parameters."""
        self.optimizers[phase].zero_grad(set_to_none=True)

    def check_gradient(self, phase: str) -> None:
        """Refuse a first step that would teach a phase nothing.

        Raises:
            ValueError: every gradient is zero.
        """
        gradients = (p.grad for p in self._parameters[phase] if p.grad is not None)
        if not any(bool(gradient.any()) for gradient in gradients):
            raise ValueError(
                f"the first batch teaches phase {phase!r} nothing: its gradient is 0. "
                f"Where a loss takes its negatives from the batch, all captions of a "
                f"part may ask for the same (equal class_ids): raise batch_size, lower "
                f"accumulate, or train on data that differ."
            )

    def clip(self, phase: str, largest: float) -> Tensor:
        """Bound the norm of a phase's gradient; returns the norm before."""
        return nn.utils.clip_grad_norm_(self._parameters[phase], largest)

    def step(self, phase: str) -> None:
        """Change a phase's parameters and freeze those of no later phase."""
        self._steppers[phase].step()
        for parameter in self._freeze[phase]:
            parameter.requires_grad_(False)

    def give_back(self) -> None:
        """Let every parameter learn that did before the run."""
        for parameter in [*self._trained, *self._untrained]:
            parameter.requires_grad_(True)


def _check_shapes(optimizer: Optimizer) -> None:
    """Refuse a state of parameters of other shapes, which a fused step does not see.

    A checkpoint names parameters by their number: in another order, one would be
    stepped with the averages of another, and past the end of their memory.

    Raises:
        ValueError: there is one.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            # numbers, such as that of the steps, have no shape
            if value.ndim and value.shape != parameter.shape:
                raise ValueError(
                    f"{name} of shape {tuple(value.shape)} for a parameter of shape "
                    f"{tuple(parameter.shape)}"
                )


def _fuse(optimizers: dict[str, Optimizer]) -> None:
    """One pass over all parameters, unless the task chose otherwise."""
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            if group.get("fused", False) is None and not group.get("foreach"):
                group["fused"] = True


def rate_factor(config: TrainingConfig, index: int) -> float:
    """What the learning rate of step ``index`` is multiplied by, in [0, 1].

    A linear warm-up, then constant, or half a cosine down to 0 at the last step.
    """
    if index < config.warmup_steps:
        return (index + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    length = max(config.steps - config.warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * (index - config.warmup_steps) / length))


def check_scalars(values: dict[str, Tensor], phase: str) -> None:
    """Say early what a task's step must return.

    Raises:
        ValueError: no loss, one without a gradient, or values that are no scalars.
    """
    if "loss" not in values:
        raise ValueError(
            f"training_step must return a 'loss' in phase {phase!r}; got "
            f"{', '.join(values) or 'nothing'}."
        )
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.ndim:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value)
            raise ValueError(
                f"training_step must return scalar tensors; {name!r} in phase "
                f"{phase!r} has {shape}."
            )
    if not values["loss"].requires_grad:
        raise ValueError(
            f"the loss of phase {phase!r} depends on no parameter that it may change."
        )
