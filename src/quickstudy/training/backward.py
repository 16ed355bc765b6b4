"""From the losses of tasks or objectives to gradients: the one place where they are weighed against one another."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

__all__ = ["Backward", "Losses", "Mean", "Sum", "flat"]

Losses: TypeAlias = Tensor | dict[str, Tensor]
"""What a module's forward returns: `[task]`, or a number per objective by its name."""


def flat(losses: Losses) -> Tensor:
    """All losses as one vector, in order."""
    if isinstance(losses, dict):
        return torch.cat([loss.reshape(-1) for loss in losses.values()])
    return losses.reshape(-1)


class Backward(ABC):
    """Puts gradients into `.grad` of the parameters that the losses depend on.

    Pass your own to `fit` to balance gradients, by subclassing or as a plain function of the same two arguments.

    Class attributes:
        reduces: it averages over processes itself, before it aggregates (balancing methods must: each process
            aggregating its own part gives every process another update). Otherwise gradients are averaged over
            processes as they are made.
    """

    reduces: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, losses: Losses, fabric: Fabric) -> None:
        """Run the backward pass.

        Args:
            losses: of this process's part of the batch.
            fabric: for `fabric.backward` (which scales under float16) and `fabric.all_reduce`.
        """

    def check(self, module: nn.Module) -> None:  # noqa: B027 - most fit every module
        """Refuse a module that this was not made for, before it is trained.

        Raises:
            ValueError: it was made for another.
        """

    def state_dict(self) -> dict[str, Any]:
        """What it remembers from step to step, for the checkpoint: tensors, numbers and containers of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - most remember nothing
        """Go on from what `state_dict` gave."""


class Mean(Backward):
    """The gradient of the mean over tasks, or over objectives."""

    def __call__(self, losses: Losses, fabric: Fabric) -> None:
        fabric.backward(flat(losses).mean())


class Sum(Backward):
    """The gradient of the sum over tasks, or over objectives, of the whole batch."""

    def __call__(self, losses: Losses, fabric: Fabric) -> None:
        # Gradients are averaged over processes, each of which holds an equal part of the batch. Objectives are summed
        # over their names alone: every process has all of them.
        parts = 1 if isinstance(losses, dict) else fabric.world_size
        fabric.backward(flat(losses).sum() * parts)
