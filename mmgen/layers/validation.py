"""Checks that several layers and objectives share."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as modules


def require_finite(**tensors: Tensor | None) -> None:
    """Refuse NaN and infinity in tensors on the CPU.

    On a GPU nothing is looked at, because reading the answer would make every call wait
    for the device; the training loop stops at a loss that is not finite instead. While
    a graph is compiled or exported the check is left out too.

    Raises:
        ValueError: an entry is not finite; the message names the argument.
    """
    if torch.compiler.is_compiling():
        return
    for name, tensor in tensors.items():
        if tensor is None or tensor.device.type != "cpu":
            continue
        # One sum finds any NaN or infinity at a tenth of the price of looking at every
        # entry; it can also overflow, so a bad sum is only the reason to look. (A sum
        # in a wider type would first make a wide copy.)
        values = tensor.detach()
        if torch.isfinite(values.sum()):
            continue
        bad = int(torch.isfinite(values).logical_not().sum())
        if bad:
            raise ValueError(
                f"{name} must be finite; got {bad} entries of {values.numel()} that "
                f"are NaN or infinite, shape {tuple(values.shape)}."
            )


def require_range(images: Tensor) -> None:
    """Refuse pictures outside of [-1, 1].

    Raises:
        ValueError: they are, or hold NaN.
    """
    if not -1 <= images.min().item() <= images.max().item() <= 1:
        raise ValueError(
            f"images must lie in [-1, 1]; got values in [{images.min():g}, "
            f"{images.max():g}]."
        )


def require_one_each(
    texts: Sequence[str], images: Tensor, what: str = "captions"
) -> None:
    """Refuse pictures and texts that are not pairs.

    Raises:
        ValueError: their numbers differ; the message says ``what`` the texts are.
    """
    if len(texts) != len(images):
        raise ValueError(
            f"{what} must be one for each picture; got {len(texts)} for {len(images)}."
        )


def require_image_size(given: int, of_data: int) -> None:
    """Refuse a config for pictures of another size than the data set's.

    Raises:
        ValueError: it is.
    """
    if given != of_data:
        raise ValueError(
            f"config.image_size must be the data set's, {of_data}; got {given}."
        )


def require_positive(**numbers: float) -> None:
    """Refuse numbers that are not above 0.

    Raises:
        ValueError: one is not, or NaN; the message names the argument.
    """
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0; got {value}.")


def require_decay(decay: float) -> None:
    """Refuse what cannot be the share that an average keeps in a step.

    Raises:
        ValueError: it does not lie in [0, 1).
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must lie in [0, 1); got {decay}.")


@contextlib.contextmanager
def at_most(tensors: int, error: Exception) -> Iterator[None]:
    """Stop this thread's making of networks at a number of parameter tensors.

    A number of layers that was mistyped would else fill the memory one by one.

    Args:
        tensors: that may be made, and 64 times as many modules.
        error: raised at one more.
    """
    left, thread = [tensors, 64 * tensors], threading.get_ident()

    def count(which: int) -> Any:
        def seen(*_: Any) -> None:
            if threading.get_ident() != thread:
                return
            left[which] -= 1
            if left[which] < 0:
                raise error

        return seen

    handles = [
        modules.register_module_parameter_registration_hook(count(0)),
        modules.register_module_module_registration_hook(count(1)),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
