"""Whether named tasks pull what they share in one direction: cosines of their gradients, layer by layer.

    cos_ij = ⟨∇L_i, ∇L_j⟩ / ‖∇L_i‖ ‖∇L_j‖

Yu, Kumar, Gupta, Levine, Hausman & Finn, "Gradient Surgery for Multi-Task Learning", NeurIPS 2020 (conflict: a cosine
below zero); Du, Czarnecki, Jayakumar, Farajtabar, Pascanu & Lakshminarayanan, "Adapting Auxiliary Losses Using Gradient
Similarity", 2018.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.multitask import NamedModule
from quickstudy.networks import evaluating

__all__ = ["gradient_cosines", "measured", "shared_layers"]


def shared_layers(module: NamedModule) -> dict[str, list[nn.Parameter]]:
    """The parameters that tasks share, by the layer that they belong to; a layer has its name in the module.

    Raises:
        TypeError: no module of named tasks.
        ValueError: its tasks share nothing.
    """
    if not isinstance(module, NamedModule):
        raise TypeError(f"module must be a NamedModule such as SharedBottom(…), got {type(module).__name__}")
    shared = {id(parameter) for parameter in module.shared_parameters()}
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if id(parameter) in shared and parameter.requires_grad:
            layers.setdefault(name.rpartition(".")[0] or name, []).append(parameter)
    if not layers:
        raise ValueError(f"the tasks of {type(module).__name__} share nothing that is trained")
    return layers


def gradient_cosines(module: NamedModule, batch: Any) -> dict[str, Float[Tensor, "task task"]]:
    """The cosine between the gradients of every two tasks, for every layer that they share.

    The module is asked in evaluation mode, and left as it was. A task whose gradient is zero, as that of one without
    targets in the batch, has no direction: its cosines are NaN.

    Args:
        module: with the weights that it has.
        batch: examples of its tasks; rows and columns are in the order of the batch.

    Raises:
        TypeError, ValueError: a module that shares nothing, or a malformed batch.
    """
    layers = shared_layers(module)
    with measured(module):
        values = torch.stack(list(module(batch).values()))
        jacobian = rows_of_gradients(values, layers)
    return {layer: _cosines(rows) for layer, rows in jacobian.items()}


def rows_of_gradients(
    values: Float[Tensor, " task"], layers: Mapping[str, list[nn.Parameter]]
) -> dict[str, Float[Tensor, "task n"]]:
    """∂L_i/∂θ of every layer: one backward pass, mapped over tasks."""
    flat = [parameter for those in layers.values() for parameter in those]
    parts = iter(
        torch.autograd.grad(
            values,
            flat,
            torch.eye(len(values), dtype=values.dtype, device=values.device),
            is_grads_batched=True,
            allow_unused=True,
            materialize_grads=True,
        )
    )
    return {layer: torch.cat([next(parts).flatten(1) for _ in those], 1) for layer, those in layers.items()}


def _cosines(rows: Float[Tensor, "task n"]) -> Float[Tensor, "task task"]:
    rows = rows.double()  # products of small gradients would vanish
    unit = rows / rows.norm(dim=1, keepdim=True)
    return (unit @ unit.mT).clamp(-1, 1).float()


@contextmanager
def measured(module: NamedModule) -> Iterator[None]:
    """The module in evaluation mode, as one that keeps no features for balancing, for a while."""
    keeps = module.keeps_representation
    module.keeps_representation = False
    try:
        with evaluating(module):
            yield
    finally:
        module.keeps_representation = keeps
