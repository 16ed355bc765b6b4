"""Linear functions, dense or sparse, as tasks.

    f(x) = w · x / √k,   w ~ N(0, I) in k coordinates, 0 in the others (k = d when it is dense)

The Bayes-optimal predictor is `quickstudy.evaluation.LinearOracle`.

Garg et al., NeurIPS 2022, sections 3 and 4.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.arguments import check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.episodes import Range
from quickstudy.tasks.functions import FunctionSplit
from quickstudy.tasks.source import TaskSource

__all__ = ["LinearFunctionSplit", "linear_functions"]


class LinearFunctionSplit(FunctionSplit):
    """An endless stream of linear functions.

    Args:
        name, dimensions, shots, queries, noise, scale, query_scale: as of `FunctionSplit`.
        sparsity: how many coordinates count, others in every task; None for all.
    """

    family = "linear functions"

    def __init__(
        self,
        name: str,
        dimensions: int,
        shots: Range,
        queries: int,
        noise: float = 0.0,
        sparsity: int | None = None,
        scale: float = 1.0,
        query_scale: float | None = None,
    ) -> None:
        super().__init__(name, dimensions, shots, queries, noise, scale, query_scale)
        if sparsity is not None:
            check_whole(sparsity=sparsity)
            if not 1 <= sparsity <= dimensions:
                raise ValueError(f"sparsity must be None or of 1 … dimensions ({dimensions}), got {sparsity}")
        self.sparsity = sparsity

    @property
    def parameters(self) -> int:
        # A weight for every coordinate, and what chooses coordinates.
        return 2 * self.dimensions

    def weights(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """w / √k `[task, d]`."""
        weights, keys = np.split(draws.normals(parameters), 2, axis=1)
        if self.sparsity is None:
            return weights / np.sqrt(self.dimensions)
        rank = keys.argsort(1).argsort(1)  # a random order of the coordinates
        return np.where(rank < self.sparsity, weights, 0.0) / np.sqrt(self.sparsity)

    def values(self, parameters: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        # Not a matrix product: its order of summation, and so the last digit, may depend on how many tasks there are.
        return (x * self.weights(parameters)[:, None]).sum(-1)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "sparsity": self.sparsity}


def linear_functions(
    dimensions: int = 8,
    shots: Range = 16,
    queries: int = 16,
    noise: float = 0.0,
    sparsity: int | None = None,
    scale: float = 1.0,
    query_scale: float | None = None,
) -> TaskSource:
    """Linear regression tasks; E f(x)² is 1 at scale 1, and grows with the square of the scale.

    Args:
        dimensions: length d of an input.
        shots: support examples, fixed or (least, most).
        queries: query examples per task.
        noise: standard deviation of the noise on y.
        sparsity: how many coordinates count; None for all.
        scale: standard deviation of every coordinate of an input, 1 in training as a rule and another in tests.
        query_scale: that of queries; None for the same.

    Raises:
        TypeError, ValueError: a number of another type or out of range.
    """
    train, validation, test = (
        LinearFunctionSplit(name, dimensions, shots, queries, noise, sparsity, scale, query_scale)
        for name in ("train", "validation", "test")
    )
    return TaskSource(train, validation, test, train.describe())
