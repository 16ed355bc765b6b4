"""The inner loop: gradient descent on the supports of T tasks, as a function of all that is learned across tasks.

It runs outside of any vectorisation (each slope is vectorised by itself), so that how its derivative is taken is free:
through every step, through recomputed steps, through none, or implicitly (`quickstudy.learners.MetaGradient`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from quickstudy.learners.weights import Weights

__all__ = ["InnerLoop", "Shared", "at_step"]

Shared: TypeAlias = dict[str, dict[str, Tensor]]
"""What all tasks share, by the name of a weight, without a task axis: `weights` that do not adapt, learned `rates`
`[step, *weight]` or `[step]`, and `tables` `[step, *weight]` of weights that differ by step and do not adapt."""


def at_step(table: Tensor, step: int) -> Tensor:
    """The entry of a step; steps beyond the table take the last."""
    return table[min(step, len(table) - 1)]


@dataclass(frozen=True)
class InnerLoop:
    """φ ← φ − α (∇L(φ, support) + λ (φ − θ)), begun at θ.

    Attributes:
        begin: θ, the weights that adapt, without a task axis.
        shared: see `Shared`.
        steps: how many.
        rate: α, for weights that have no learned rate.
        pull: λ; 0 for plain descent.
        gradients: (step, weights, shared) → ∇L, `[task, *weight]`; the weights of step 0 have no task axis.
    """

    begin: Weights
    shared: Shared
    steps: int
    rate: float
    pull: float
    gradients: Callable[[int, Weights, Shared], Weights]

    def slopes(self, step: int, weights: Weights, begin: Weights, shared: Shared) -> Weights:
        """What a step goes down: the gradient of the support's loss and of the pull towards θ."""
        found = self.gradients(step, weights, shared)
        if not self.pull:
            return found
        return {name: slope + self.pull * (weights[name] - begin[name]) for name, slope in found.items()}

    def move(self, step: int, weights: Weights, slopes: Weights, shared: Shared) -> Weights:
        """One step along the slopes."""
        rates = {name: at_step(table, step) for name, table in shared["rates"].items()}
        return {name: weights[name] - rates.get(name, self.rate) * slope for name, slope in slopes.items()}

    def step(self, step: int, weights: Weights, begin: Weights, shared: Shared) -> Weights:
        """One step, differentiable in all that it is given."""
        return self.move(step, weights, self.slopes(step, weights, begin, shared), shared)

    def exact_step(self, step: int, weights: Weights) -> Weights:
        """One step."""
        return self.step(step, weights, self.begin, self.shared)

    def first_order_step(self, step: int, weights: Weights) -> Weights:
        """One step whose slopes count as constants."""
        with torch.no_grad():
            slopes = self.slopes(step, weights, self.begin, self.shared)
        return self.move(step, weights, slopes, self.shared)
