"""What a step for one named task does to the loss of another: affinities of tasks, in one joint training (TAG).

    Z_{i→j} = 1 − L_j(θ − η ∇_θ L_i, ψ_j) / L_j(θ, ψ_j)

θ is what tasks share, ψ_j what belongs to task j. Above zero, the step for i has helped j.

Fifty, Amid, Zhao, Yu, Anil & Finn, "Efficiently Identifying Task Groupings for Multi-Task Learning", NeurIPS 2021.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from quickstudy.arguments import check_real
from quickstudy.evaluation.gradient_cosines import measured, rows_of_gradients, shared_layers
from quickstudy.multitask import NamedModule

__all__ = ["task_affinity"]


def task_affinity(module: NamedModule, batch: Any, rate: float = 1e-2) -> Float[Tensor, "task task"]:
    """Z_{i→j} on one batch, [i, j]; the lookaheads of all tasks are one mapped call.

    The module is asked in evaluation mode, and left as it was. Where L_j is negative, as that of a density may be, its
    size is divided by, so that above zero is better all the same; where it is zero, Z is NaN.

    Args:
        module: with the weights that it has.
        batch: examples of its tasks; rows and columns are in the order of the batch.
        rate: η, of one step of plain gradient descent.

    Raises:
        TypeError, ValueError: a module that shares nothing, a rate that is not positive, or a malformed batch.
    """
    check_real(rate=rate)
    if not rate > 0:
        raise ValueError(f"rate must be positive, got {rate}")
    layers = shared_layers(module)
    shared = {id(parameter) for those in layers.values() for parameter in those}
    named = {name: parameter for name, parameter in module.named_parameters() if id(parameter) in shared}
    with measured(module):
        values = torch.stack(list(module(batch).values()))
        steps = rows_of_gradients(values, {name: [parameter] for name, parameter in named.items()})

        def losses(shared: dict[str, Tensor]) -> Tensor:
            return torch.stack(list(functional_call(module, shared, (batch,)).values()))

        with torch.no_grad():
            ahead = {name: weight - rate * steps[name].view(-1, *weight.shape) for name, weight in named.items()}
            after = torch.vmap(losses)(ahead)
    before = values.detach()
    gain = (before - after) / before.abs()
    return torch.where(before == 0, torch.nan, gain)
