"""Evaluation mode for a while, on a device for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

__all__ = ["evaluating"]

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def evaluating(module: Module, device: torch.device | str | None = None) -> Iterator[Module]:
    """A module in evaluation mode; afterwards all its parts are in the mode, and it is where, they were before.

    Args:
        module: gets what the body of the `with` statement needs, and back what it had, also when the body raises.
        device: where it is meanwhile; by default where it is now.

    Yields:
        The module.

    Examples:
        >>> with evaluating(learner, "cuda") as learner:
        ...     phi = learner.adapt(support)
    """
    modes = [(part, part.training) for part in module.modules()]
    home = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    try:
        yield (module if device is None else module.to(device)).eval()
    finally:
        if device is not None:
            module.to(home)
        for part, training in modes:
            part.training = training
