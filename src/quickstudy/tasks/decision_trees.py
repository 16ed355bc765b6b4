"""Random decision trees as tasks: full trees that ask for the signs of coordinates.

Every inner node asks whether one coordinate, drawn uniformly, is positive; every leaf has a value, drawn from N(0, 1).
The scale of inputs changes nothing.

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

__all__ = ["DecisionTreeSplit", "decision_trees"]

_DEEPEST = 16


class DecisionTreeSplit(FunctionSplit):
    """An endless stream of decision trees.

    Args:
        name, dimensions, shots, queries, noise, scale, query_scale: as of `FunctionSplit`.
        depth: questions from the root to a leaf.
    """

    family = "decision trees"

    def __init__(
        self,
        name: str,
        dimensions: int,
        depth: int,
        shots: Range,
        queries: int,
        noise: float = 0.0,
        scale: float = 1.0,
        query_scale: float | None = None,
    ) -> None:
        super().__init__(name, dimensions, shots, queries, noise, scale, query_scale)
        check_whole(depth=depth)
        if not 1 <= depth <= _DEEPEST:
            raise ValueError(f"depth must be of 1 … {_DEEPEST}, got {depth}")
        self.depth = depth

    @property
    def parameters(self) -> int:
        return 2 ** (self.depth + 1) - 1

    def values(self, parameters: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        inner = 2**self.depth - 1
        asks = draws.integers(parameters[:, :inner], 0, self.dimensions - 1)
        leaves = draws.normals(parameters[:, inner:])
        node = np.zeros(x.shape[:2], dtype=np.int64)  # the children of node i are 2 i + 1 and 2 i + 2
        for _ in range(self.depth):
            coordinate = np.take_along_axis(asks, node, 1)
            positive = np.take_along_axis(x, coordinate[..., None], 2)[..., 0] > 0
            node = 2 * node + 1 + positive
        return np.take_along_axis(leaves, node - inner, 1)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "depth": self.depth}


def decision_trees(
    dimensions: int = 8,
    depth: int = 4,
    shots: Range = 32,
    queries: int = 16,
    noise: float = 0.0,
    scale: float = 1.0,
    query_scale: float | None = None,
) -> TaskSource:
    """Regression on random decision trees; E f(x)² is 1 at any scale.

    Args:
        dimensions: length d of an input.
        depth: questions from the root to a leaf; 4 in the paper.
        shots: support examples, fixed or (least, most).
        queries: query examples per task.
        noise: standard deviation of the noise on y.
        scale: standard deviation of every coordinate of an input.
        query_scale: that of queries; None for the same.

    Raises:
        TypeError, ValueError: a number of another type or out of range.
    """
    train, validation, test = (
        DecisionTreeSplit(name, dimensions, depth, shots, queries, noise, scale, query_scale)
        for name in ("train", "validation", "test")
    )
    return TaskSource(train, validation, test, train.describe())
