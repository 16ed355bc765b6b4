"""Gradients of tasks' losses where they share parameters: one for each, their inner products, or a weighted sum."""

from collections.abc import Iterator, Sequence
from functools import reduce

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from quickstudy.multitask.representation import Representation

__all__ = ["TaskGradients", "layers", "mean"]


class TaskGradients:
    """The gradients of one step, from the graph of its losses; averaged over processes.

    Where the module keeps the features that its heads see, the heads are gone through once, for all tasks and for their
    own parameters; what follows goes through the rest only.

    Args:
        losses: of this process.
        module: what they are of.
        shared: the parameters that tasks share.
        own: those of single tasks.
        fabric: for the averages.

    Attributes:
        own: the gradient of the sum with respect to the parameters of single tasks.
        kept: the features that heads see, if the module keeps them.
        slopes: the gradient of each loss with respect to its probe there.
    """

    kept: Representation | None = None
    slopes: Float[Tensor, "task n _"] | None = None

    def __init__(
        self,
        losses: Float[Tensor, " task"],
        module: nn.Module,
        shared: Sequence[Tensor],
        own: Sequence[Tensor],
        fabric: Fabric,
    ) -> None:
        self.losses, self.shared, self.fabric = losses, shared, fabric
        kept = getattr(module, "representation", None)
        if isinstance(kept, Representation) and kept.features.requires_grad and len(kept.probes) == len(losses):
            self.kept = kept
            self.slopes, *parts = _gradients(losses.sum(), [kept.probes, *own])
        else:
            parts = [*_gradients(losses.sum(), own)] if own else []
        self.own = mean(_flat(parts), fabric) if own else losses.new_empty(0)

    def rows(self, parameters: Sequence[Tensor] | None = None) -> Float[Tensor, "task n"]:
        """The gradient of each loss with respect to `parameters`, by default all that tasks share.

        A pass for each task: measured faster than one pass mapped over tasks, and whatever compiled can do it.
        """
        parameters = self.shared if parameters is None else parameters
        dtype = reduce(torch.promote_types, (parameter.dtype for parameter in parameters))
        size = sum(parameter.numel() for parameter in parameters)
        rows = parameters[0].new_empty(len(self.losses), size, dtype=dtype)
        for row, (of, along) in zip(rows, self._roots(), strict=True):
            torch.cat([part.flatten() for part in _gradients(of, parameters, along)], out=row)
        return mean(rows, self.fabric)

    def gramian(self, layers: Sequence[Sequence[Tensor]]) -> Float[Tensor, "task task"]:
        """The inner products of `rows`, Σ_l J_l J_lᵀ over layers l, of which one J_l is held at a time.

        Every layer costs a pass for each task, down to that layer. TorchJD's `autogram.Engine` needs one pass for all
        layers, but cannot average J_l over processes before the product, loses what is compiled, and misses parameters
        that a module holds itself beside modules that belong to single tasks.
        """
        found = self.losses.new_zeros(len(self.losses), len(self.losses))
        for layer in layers:
            rows = self.rows(layer)
            found = found + rows @ rows.mT
            del rows  # before the next is made
        return found

    def gramian_there(self) -> Float[Tensor, "task task"]:
        """The inner products of the gradients with respect to the features that heads see, which must be kept."""
        assert self.kept is not None
        assert self.slopes is not None
        # A process's losses are means over its part: in the mean over processes its examples count by 1/processes.
        return mean(self.kept.gramian(self.slopes), self.fabric) / self.fabric.world_size

    def weighted(self, weights: Float[Tensor, " task"]) -> Float[Tensor, " n"]:
        """Σ_i w_i ∇L_i with respect to all that tasks share, in one pass."""
        if self.kept is None or self.slopes is None:
            return mean(_flat(_gradients((weights * self.losses).sum(), self.shared)), self.fabric)
        along = self.kept.weighted(self.slopes, weights)
        return mean(_flat(_gradients(self.kept.features, self.shared, along)), self.fabric)

    def _roots(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Where each task's pass begins, and with which gradient."""
        for task, loss in enumerate(self.losses):
            if self.kept is None or self.slopes is None:
                yield loss, None
            else:
                yield self.kept.features, self.kept.of_task(self.slopes, task)


def layers(module: nn.Module, shared: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """The shared parameters by the modules that hold them, small ones together, none larger than the largest alone."""
    left = {id(parameter): parameter for parameter in shared}
    held = []
    for part in module.modules():
        mine = [left.pop(id(one)) for one in part.parameters(recurse=False) if id(one) in left]
        held += [mine] if mine else []
    largest = max(_size(mine) for mine in held)
    together: list[list[nn.Parameter]] = []
    for mine in held:
        if together and _size(together[-1]) + _size(mine) <= largest:
            together[-1] += mine
        else:
            together.append(mine)
    return together


def mean(tensor: Tensor, fabric: Fabric) -> Tensor:
    """The mean over processes."""
    if fabric.world_size == 1:
        return tensor
    reduced = fabric.all_reduce(tensor, reduce_op="mean")
    assert isinstance(reduced, Tensor)  # Fabric also reduces trees
    return reduced


def _gradients(of: Tensor, parameters: Sequence[Tensor], along: Tensor | None = None) -> tuple[Tensor, ...]:
    return torch.autograd.grad(of, parameters, along, retain_graph=True, allow_unused=True, materialize_grads=True)


def _flat(parts: Sequence[Tensor]) -> Float[Tensor, " n"]:
    return torch.cat([part.flatten() for part in parts])


def _size(parameters: Sequence[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)
