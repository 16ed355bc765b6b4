"""Sawtooth waves: functions that no smooth kernel describes, since they jump.

    f(x) = √12 (frac(± ω x + φ) − 1/2),   ω uniform in a range,   φ uniform in [0, 1)

Their mean over φ is 0 and their variance 1. Gordon et al., "Convolutional Conditional Neural Processes", ICLR 2020,
where they stand for functions of which a Gaussian process is no model.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.arguments import check_real
from quickstudy.tasks.episodes import Range
from quickstudy.tasks.functions import FunctionSplit
from quickstudy.tasks.source import TaskSource

__all__ = ["SawtoothSplit", "sawtooths"]


class SawtoothSplit(FunctionSplit):
    """An endless stream of sawtooth waves of one input.

    Args:
        name, shots, queries, noise, scale, query_scale: as of `FunctionSplit`.
        frequency: the least and the most teeth per unit of the input.
    """

    family = "sawtooths"

    def __init__(
        self,
        name: str,
        shots: Range,
        queries: int,
        noise: float = 0.0,
        frequency: tuple[float, float] = (0.5, 1.5),
        scale: float = 1.0,
        query_scale: float | None = None,
    ) -> None:
        super().__init__(name, 1, shots, queries, noise, scale, query_scale)
        if not isinstance(frequency, tuple | list) or len(frequency) != 2:
            raise ValueError(f"frequency must be a pair (least, most), got {frequency!r}")
        least, most = frequency
        check_real(**{"least frequency": least, "most frequency": most})
        if not 0 < least <= most:
            raise ValueError(f"frequency must be positive, the least first, got {frequency}")
        self.frequency = (float(least), float(most))

    @property
    def parameters(self) -> int:
        return 3

    def values(self, parameters: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        (least, most), (rate, phase, side) = self.frequency, parameters.T[..., None]
        teeth = np.where(side < 0.5, -1, 1) * (least + (most - least) * rate) * x[..., 0] + phase
        return np.sqrt(12) * (teeth - np.floor(teeth) - 0.5)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "frequency": list(self.frequency)}


def sawtooths(
    shots: Range = (3, 47),
    queries: int = 50,
    noise: float = 0.05,
    frequency: tuple[float, float] = (0.5, 1.5),
    scale: float = 1.0,
    query_scale: float | None = None,
) -> TaskSource:
    """Regression on sawtooth waves.

    Args:
        shots: support examples, fixed or (least, most).
        queries: query examples per task.
        noise: standard deviation of the noise on y, whose own is 1.
        frequency: the least and the most teeth per unit of the input.
        scale: standard deviation of inputs.
        query_scale: that of queries; None for the same.

    Raises:
        TypeError, ValueError: a number of another type or out of range.
    """
    train, validation, test = (
        SawtoothSplit(name, shots, queries, noise, frequency, scale, query_scale)
        for name in ("train", "validation", "test")
    )
    return TaskSource(train, validation, test, train.describe())
