"""Sinusoids: the regression family on which meta-learning is explained, and where the best possible is known.

    y = a sin(x − p) + noise,  a uniform in [0.1, 5],  p uniform in [0, π],  x uniform in [−5, 5]

Finn, Abbeel & Levine, ICML 2017. The Bayes-optimal predictor is `quickstudy.evaluation.SinusoidOracle`.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.arguments import check_real, check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.episodes import Range, bounds
from quickstudy.tasks.source import Split, TaskSource

__all__ = ["AMPLITUDE", "PHASE", "SinusoidSplit", "sinusoids"]

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, math.pi)
INPUT = (-5.0, 5.0)


class SinusoidSplit(Split):
    """An endless stream of sinusoids; the splits differ in their random streams.

    Args:
        name: the split's name.
        shots: support examples, fixed or (least, most).
        queries: query examples per task.
        noise: standard deviation of the noise on y, support and query alike.
    """

    kind = "regression"

    def __init__(self, name: str, shots: Range, queries: int, noise: float) -> None:
        low, high = bounds(shots)
        check_whole(queries=queries, **{"least shots": low, "most shots": high})
        check_real(noise=noise)
        if not 0 <= low <= high or queries < 1:
            raise ValueError(f"shots must not be negative and queries at least 1, got {shots} and {queries}")
        if not noise >= 0:
            raise ValueError(f"noise must be a standard deviation of at least 0, got {noise}")
        self.name, self.shots, self.queries, self.noise = name, shots, queries, noise

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The tasks `first` … `first + count − 1`; x `[task, n, 1]`, y `[task, n]`."""
        low, high = bounds(self.shots)
        total = high + self.queries
        numbers = self._numbers(first, count, seed)
        amplitude, phase = _amplitude_and_phase(numbers)
        x = INPUT[0] + (INPUT[1] - INPUT[0]) * numbers[:, 3 : 3 + total]
        y = amplitude * np.sin(x - phase) + self.noise * draws.normals(numbers[:, 3 + total :])
        mask = np.arange(high) < draws.integers(numbers[:, 2], low, high)[:, None]
        inputs, targets = torch.from_numpy(x).float()[..., None], torch.from_numpy(y).float()
        support = Examples(inputs[:, :high], targets[:, :high], torch.from_numpy(mask))
        return TaskBatch(support, Examples.of(inputs[:, high:], targets[:, high:]))

    def truth(self, task: int, x: Float[Tensor, "*n"], seed: int = 0) -> Float[Tensor, "*n"]:
        """What y is at `x` in a task, without noise: the function that its examples are of.

        Args:
            task: its number in the stream.
            x: where, in any shape.
            seed: of the stream.
        """
        amplitude, phase = (column.item() for column in _amplitude_and_phase(self._numbers(task, 1, seed)))
        return amplitude * torch.sin(x - phase)

    def _numbers(self, first: int, count: int, seed: int) -> NDArray[np.float64]:
        """`[task, 3 + 2 n]` uniform numbers: amplitude, phase, shots, then x and noise of all examples."""
        return draws.uniforms(
            seed, f"sinusoids/{self.name}", first, count, 3 + 2 * (bounds(self.shots)[1] + self.queries)
        )


def _amplitude_and_phase(numbers: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Both `[task, 1]`, from the first two uniform numbers of each task."""
    return [least + (most - least) * numbers[:, [column]] for column, (least, most) in enumerate((AMPLITUDE, PHASE))]


def sinusoids(shots: Range = 10, queries: int = 50, noise: float = 0.0) -> TaskSource:
    """Sinusoid regression tasks.

    Args:
        shots: support examples, fixed or (least, most).
        queries: query examples per task.
        noise: standard deviation of the noise on y.
    """
    train, validation, test = (SinusoidSplit(name, shots, queries, noise) for name in ("train", "validation", "test"))
    protocol = {"data": "sinusoids", "shots": shots, "queries": queries, "noise": noise}
    return TaskSource(train, validation, test, protocol)
