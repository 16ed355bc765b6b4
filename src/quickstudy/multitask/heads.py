"""The part of a multi-task network that belongs to single tasks: all heads as one batched product."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.networks.vectorised import in_func

__all__ = ["Heads", "Parallel", "check_widths", "in_order", "of_rows"]


class Parallel(nn.Module):
    """Several linear layers of one size, each applied to an input of its own, in one batched product.

    Args:
        copies: how many.
        inputs, outputs: of each.
    """

    def __init__(self, copies: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # as torch.nn.Linear draws them
        self.weight = nn.Parameter(torch.empty(copies, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(copies, outputs).uniform_(-bound, bound))

    def leaves(self, numbers: Sequence[int] | None) -> tuple[Tensor, Tensor]:
        """Weight and bias of the layers with these numbers, or of all."""
        weight, bias = self.weight, self.bias
        if numbers is None or list(numbers) == list(range(len(weight))):
            return weight, bias
        return weight[list(numbers)], bias[list(numbers)]

    def forward(
        self, x: Float[Tensor, "each *n inputs"], numbers: Sequence[int] | None = None
    ) -> Float[Tensor, "copy *n outputs"]:
        """The layers applied to `x`, one to each (or all to the only one); those with these numbers, or all."""
        weight, bias = self.leaves(numbers)
        flat = x.flatten(1, -2)
        weight, bias = weight.to(flat.dtype), bias.to(flat.dtype)
        if len(flat) == 1 < len(weight):
            raw = _same_input(flat[0], weight, bias)
        elif len(flat) > 1 and flat.stride(0) == 0 and not (torch.compiler.is_compiling() or in_func()):
            raw = cast(Tensor, _Views.apply(flat, weight, bias))
        else:
            raw = torch.baddbmm(bias[:, None], flat, weight)
        return raw.view(len(raw), *x.shape[1:-1], weight.shape[-1])


def _same_input(
    x: Float[Tensor, "n inputs"], weight: Float[Tensor, "copy inputs outputs"], bias: Float[Tensor, "copy outputs"]
) -> Float[Tensor, "copy n outputs"]:
    """Layers that all see one input, as one product: many times faster than a batched one of narrow layers."""
    raw = torch.addmm(bias.reshape(-1, 1), weight.mT.flatten(0, 1), x.mT)
    return raw.view(len(weight), weight.shape[-1], len(x)).mT


class _Views(torch.autograd.Function):
    """The same for views of one input, with a gradient for each of them: what every layer asks of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return _same_input(x[0], weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight, bias = ctx.saved_tensors
        matrix = weight.mT.to(grad.dtype)  # autocast does not reach backward
        of_x: Tensor | None = None
        if ctx.needs_input_grad[0]:
            of_x = (grad * matrix if grad.shape[-1] == 1 else grad @ matrix).to(x.dtype)
        # `reshape`: batched backward passes have no rule for `flatten`.
        of_weight = (grad.mT.reshape(-1, grad.shape[1]) @ x[0].to(grad.dtype)).reshape(matrix.shape).mT
        return of_x, of_weight.to(weight.dtype), grad.sum(1).to(bias.dtype)


class Heads(nn.Module):
    """A head for every task: hidden layers with ReLU (a tower), then a linear layer.

    The outputs are as many as the task with most of them needs; the others leave theirs unread.

    Args:
        tasks: how many.
        width: of the features.
        outputs: of every head.
        tower: widths of the hidden layers; none by default.
    """

    def __init__(self, tasks: int, width: int, outputs: int, tower: Sequence[int] = ()) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Parallel(tasks, a, b) for a, b in pairwise((width, *tower, outputs)))

    @property
    def linear(self) -> bool:
        """Whether outputs are W x + b and no more: there is no tower, and nobody has changed what `forward` does."""
        hooked = any(part._forward_hooks or part._forward_pre_hooks for part in (self, *self.layers))
        return type(self) is Heads and len(self.layers) == 1 and not hooked

    def forward(
        self, features: Float[Tensor, "each n width"], tasks: Sequence[int] | None = None
    ) -> Float[Tensor, "task n outputs"]:
        """The outputs for features of each task, or for the same features for all."""
        for layer in list(self.layers)[:-1]:
            features = F.relu(layer(features, tasks))
        return self.layers[-1](features, tasks)


def of_rows(rows: Float[Tensor, "row n *rest"], of: Sequence[int]) -> Float[Tensor, "task n *rest"]:
    """The row of every task; where all have the same, without a copy."""
    return rows.expand(len(of), *rows.shape[1:]) if len(rows) == 1 else rows[list(of)]


def in_order(
    parts: Sequence[Float[Tensor, "_ n _"]], places: Sequence[Sequence[int]]
) -> Float[Tensor, "task n outputs"]:
    """Outputs of several groups of tasks as those of all: the places of a group's tasks are in `places`, and what has
    fewer outputs is filled up with zeros, which nobody reads."""
    most = max(part.shape[-1] for part in parts)
    joined = torch.cat([F.pad(part, (0, most - part.shape[-1])) for part in parts])
    order = [place for group in places for place in group]
    return joined[[order.index(place) for place in range(len(order))]]


def check_widths(name: str, widths: Sequence[int], least: int = 1) -> tuple[int, ...]:
    """`widths` if they are those of at least `least` layers.

    Raises:
        TypeError, ValueError: they are not.
    """
    if not isinstance(widths, Sequence) or isinstance(widths, str):
        raise TypeError(f"{name} must be a sequence of widths such as (64, 64), got {widths!r}")
    check_whole(**{f"{name}[{place}]": width for place, width in enumerate(widths)})
    if len(widths) < least or min(widths, default=1) < 1:
        raise ValueError(f"{name} must be positive widths of {least} or more layers, got {widths!r}")
    return tuple(widths)
