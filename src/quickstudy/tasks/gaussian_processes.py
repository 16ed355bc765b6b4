"""Functions drawn from a Gaussian process: a family of regression tasks for which the best possible is known.

    f ~ GP(0, k),   x uniform in an interval,   y = f(x) + noise

The Bayes-optimal predictor is `quickstudy.evaluation.GaussianProcessOracle`.

Garnelo et al., "Conditional Neural Processes", ICML 2018; with the ranges of Lee et al., "Bootstrapping Neural
Processes", NeurIPS 2020, and Nguyen & Grover, "Transformer Neural Processes", ICML 2022.
"""

import math

import numpy as np
import torch

from quickstudy.arguments import check_real, check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.episodes import Range, bounds
from quickstudy.tasks.kernels import RBF, Kernel
from quickstudy.tasks.source import Split, TaskSource

__all__ = ["JITTER", "GaussianProcessSplit", "gaussian_processes"]

JITTER = 1e-9
"""Of the variance, is noise too: without, rounding makes the covariance of near inputs indefinite."""


class GaussianProcessSplit(Split):
    """An endless stream of functions; the splits differ in their random streams.

    Args:
        name: the split's name.
        kernel: of the process, with the ranges of what differs between tasks.
        shots: support examples, fixed or (least, most).
        queries: query examples per task.
        noise: standard deviation of the noise on y, support and query alike.
        interval: where inputs lie.
    """

    kind = "regression"

    def __init__(
        self, name: str, kernel: Kernel, shots: Range, queries: int, noise: float, interval: tuple[float, float]
    ) -> None:
        low, high = bounds(shots)
        check_whole(queries=queries, **{"least shots": low, "most shots": high})
        check_real(noise=noise)
        if not isinstance(kernel, Kernel):
            raise TypeError(f"kernel must be a kernel such as RBF(), got {kernel!r}")
        if not 0 <= low <= high or queries < 1:
            raise ValueError(f"shots must not be negative and queries at least 1, got {shots} and {queries}")
        if not noise >= 0:
            raise ValueError(f"noise must be a standard deviation of at least 0, got {noise}")
        if not isinstance(interval, tuple | list) or len(interval) != 2:
            raise ValueError(f"interval must be the two ends of where inputs lie, got {interval!r}")
        check_real(**{"interval[0]": interval[0], "interval[1]": interval[1]})
        if not -math.inf < interval[0] < interval[1] < math.inf:
            raise ValueError(f"interval must rise from its first end to its second, got {interval!r}")
        self.name, self.kernel, self.shots, self.queries, self.noise = name, kernel, shots, queries, noise
        self.interval = (float(interval[0]), float(interval[1]))

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The tasks `first` … `first + count − 1`; x `[task, n, 1]`, y `[task, n]`."""
        low, high = bounds(self.shots)
        total, own = high + self.queries, self.kernel.dimensions
        numbers = draws.uniforms(seed, f"gaussian processes/{self.name}", first, count, 1 + own + 3 * total)
        sizes, member, x, value, noise = np.split(numbers, np.cumsum([1, own, total, total]), axis=1)
        x = self.interval[0] + (self.interval[1] - self.interval[0]) * x
        value, noise = draws.normals(value), draws.normals(noise)
        places = torch.from_numpy(x)
        covariance = self.kernel.covariance(torch.from_numpy(member), places, places)
        jitter = JITTER * covariance.diagonal(dim1=1, dim2=2)
        root = torch.linalg.cholesky(covariance + torch.diag_embed(jitter))
        # Not a matrix product: its order of summation, and so the last digit, may depend on how many tasks there are.
        y = (root * torch.from_numpy(value)[:, None]).sum(-1) + self.noise * torch.from_numpy(noise)
        mask = torch.from_numpy(np.arange(high) < draws.integers(sizes[:, 0], low, high)[:, None])
        inputs, targets = places.float()[..., None], y.float()
        support = Examples(inputs[:, :high], targets[:, :high], mask)
        return TaskBatch(support, Examples.of(inputs[:, high:], targets[:, high:]))


def gaussian_processes(
    kernel: Kernel | None = None,
    shots: Range = (3, 47),
    queries: int = 50,
    noise: float = 0.02,
    interval: tuple[float, float] = (-2.0, 2.0),
) -> TaskSource:
    """Regression on functions of a Gaussian process.

    Args:
        kernel: of the process; `RBF()` by default.
        shots: support examples, fixed or (least, most).
        queries: query examples per task.
        noise: standard deviation of the noise on y.
        interval: where inputs lie. (To ask outside of what was trained on, give the test tasks another.)

    Raises:
        TypeError: something else than a kernel.
        ValueError: a number out of range.
    """
    kernel = RBF() if kernel is None else kernel
    train, validation, test = (
        GaussianProcessSplit(name, kernel, shots, queries, noise, interval) for name in ("train", "validation", "test")
    )
    protocol = {
        "data": "gaussian processes", "kernel": kernel.describe(), "shots": shots, "queries": queries, "noise": noise,
        "interval": list(train.interval),
    }  # fmt: skip
    return TaskSource(train, validation, test, protocol)
