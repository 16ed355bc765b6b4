"""Regression tasks that are functions of a class: inputs are normal, and every task has a function of its own.

    x ~ N(0, scale² I),   y = f(x) + noise,   E f(x)² = 1 at scale 1

Garg, Tsipras, Liang & Valiant, "What Can Transformers Learn In-Context? A Case Study of Simple Function Classes",
NeurIPS 2022. There the functions have the variance d and errors are divided by d; here f is divided by √d. The classes
are `linear_functions`, `relu_networks` and `decision_trees`.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.arguments import check_real, check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.episodes import Range, bounds
from quickstudy.tasks.source import Split

__all__ = ["FunctionSplit"]


class FunctionSplit(Split):
    """An endless stream of functions of one class; the splits differ in their random streams.

    Functions do not depend on the scale of inputs, nor on the noise: tests at other scales ask about the same ones.

    Args:
        name: the split's name.
        dimensions: length d of an input.
        shots: support examples, fixed or (least, most).
        queries: query examples per task.
        noise: standard deviation of the noise on y, support and query alike.
        scale: standard deviation of every coordinate of an input.
        query_scale: that of queries; None for the same.

    Attributes:
        family: what the functions are; part of the random stream.
    """

    kind = "regression"
    family: str

    def __init__(
        self,
        name: str,
        dimensions: int,
        shots: Range,
        queries: int,
        noise: float = 0.0,
        scale: float = 1.0,
        query_scale: float | None = None,
    ) -> None:
        low, high = bounds(shots)
        check_whole(dimensions=dimensions, queries=queries, **{"least shots": low, "most shots": high})
        asked = scale if query_scale is None else query_scale
        check_real(noise=noise, scale=scale, query_scale=asked)
        if dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, got {dimensions}")
        if not 0 <= low <= high or queries < 1:
            raise ValueError(f"shots must not be negative and queries at least 1, got {shots} and {queries}")
        if not noise >= 0:
            raise ValueError(f"noise must be a standard deviation of at least 0, got {noise}")
        if not (scale > 0 and asked > 0):
            raise ValueError(f"scale and query_scale must be positive, got {scale} and {query_scale}")
        self.name, self.dimensions, self.shots, self.queries, self.noise = name, dimensions, shots, queries, noise
        self.scale, self.query_scale = scale, asked

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many uniform numbers make a function."""

    @abstractmethod
    def values(self, parameters: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """f(x) `[task, n]` of the functions that `parameters` `[task, parameters]` make, at `x` `[task, n, d]`."""

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The tasks `first` … `first + count − 1`; x `[task, n, d]`, y `[task, n]`."""
        low, high = bounds(self.shots)
        total = high + self.queries
        numbers = self._numbers(first, count, seed)
        sizes, own, places, noise = np.split(numbers, np.cumsum([1, self.parameters, total * self.dimensions]), axis=1)
        x = draws.normals(places).reshape(count, total, self.dimensions)
        x *= np.where(np.arange(total) < high, self.scale, self.query_scale)[:, None]
        y = self.values(own, x) + self.noise * draws.normals(noise)
        mask = torch.from_numpy(np.arange(high) < draws.integers(sizes[:, 0], low, high)[:, None])
        inputs, targets = torch.from_numpy(x).float(), torch.from_numpy(y).float()
        support = Examples(inputs[:, :high], targets[:, :high], mask)
        return TaskBatch(support, Examples.of(inputs[:, high:], targets[:, high:]))

    def truth(self, task: int, x: Float[Tensor, "n d"], seed: int = 0) -> Float[Tensor, " n"]:
        """What y is at `x` in a task, without noise: the function that its examples are of.

        Args:
            task: its number in the stream.
            x: inputs.
            seed: of the stream.
        """
        own = self._numbers(task, 1, seed)[:, 1 : 1 + self.parameters]
        return torch.from_numpy(self.values(own, x.double().cpu().numpy()[None])[0]).to(x)

    def _numbers(self, first: int, count: int, seed: int) -> NDArray[np.float64]:
        """`[task, …]` uniform numbers: for the number of shots, the function, the inputs, and the noise."""
        total = bounds(self.shots)[1] + self.queries
        each = 1 + self.parameters + total * (self.dimensions + 1)
        return draws.uniforms(seed, f"{self.family}/{self.name}", first, count, each)

    def describe(self) -> dict[str, Any]:
        """What a reader must know to compare a score."""
        return {
            "data": self.family, "dimensions": self.dimensions, "shots": self.shots, "queries": self.queries,
            "noise": self.noise, "scale": self.scale, "query scale": self.query_scale,
        }  # fmt: skip
