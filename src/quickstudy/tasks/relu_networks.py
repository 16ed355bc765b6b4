"""Random networks of two layers as tasks.

    f(x) = √(2 / (h d)) Σ_i a_i max(0, w_i · x),   a_i ~ N(0, 1),   w_i ~ N(0, I),   i = 1 … h

Garg et al., NeurIPS 2022, section 5.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.arguments import check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.episodes import Range
from quickstudy.tasks.functions import FunctionSplit
from quickstudy.tasks.source import TaskSource

__all__ = ["ReLUNetworkSplit", "relu_networks"]


class ReLUNetworkSplit(FunctionSplit):
    """An endless stream of random networks.

    Args:
        name, dimensions, shots, queries, noise, scale, query_scale: as of `FunctionSplit`.
        hidden: hidden units h.
    """

    family = "ReLU networks"

    def __init__(
        self,
        name: str,
        dimensions: int,
        hidden: int,
        shots: Range,
        queries: int,
        noise: float = 0.0,
        scale: float = 1.0,
        query_scale: float | None = None,
    ) -> None:
        super().__init__(name, dimensions, shots, queries, noise, scale, query_scale)
        check_whole(hidden=hidden)
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1 unit, got {hidden}")
        self.hidden = hidden

    @property
    def parameters(self) -> int:
        return self.hidden * (self.dimensions + 1)

    def values(self, parameters: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        last, first = np.split(draws.normals(parameters), [self.hidden], axis=1)
        first = first.reshape(-1, self.dimensions, self.hidden)
        # Summed coordinate by coordinate, in an order that does not depend on how many tasks there are, as that of a
        # matrix product may.
        units = np.zeros((*x.shape[:2], self.hidden))
        for coordinate in range(self.dimensions):
            units += x[:, :, coordinate, None] * first[:, None, coordinate]
        total = (last[:, None] * np.maximum(units, 0.0)).sum(-1)
        return np.sqrt(2 / (self.hidden * self.dimensions)) * total

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "hidden": self.hidden}


def relu_networks(
    dimensions: int = 8,
    hidden: int = 100,
    shots: Range = 32,
    queries: int = 16,
    noise: float = 0.0,
    scale: float = 1.0,
    query_scale: float | None = None,
) -> TaskSource:
    """Regression on random ReLU networks; E f(x)² is 1 at scale 1, and grows with the square of the scale.

    Args:
        dimensions: length d of an input.
        hidden: hidden units; 100 in the paper.
        shots: support examples, fixed or (least, most).
        queries: query examples per task.
        noise: standard deviation of the noise on y.
        scale: standard deviation of every coordinate of an input, 1 in training as a rule and another in tests.
        query_scale: that of queries; None for the same.

    Raises:
        TypeError, ValueError: a number of another type or out of range.
    """
    train, validation, test = (
        ReLUNetworkSplit(name, dimensions, hidden, shots, queries, noise, scale, query_scale)
        for name in ("train", "validation", "test")
    )
    return TaskSource(train, validation, test, train.describe())
