"""Means with 95% intervals, over tasks and over seeds."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["Interval", "interval"]

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and how far off it may be.

    Attributes:
        mean: the mean over tasks (and seeds).
        ci95: half the width of its 95% interval; NaN when there is but one task and one run.
        tasks: how many tasks.
        seeds: how many training runs.
    """

    mean: float
    ci95: float
    tasks: int
    seeds: int = 1

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.ci95

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.ci95

    def to_json(self) -> dict[str, Any]:
        """As result files hold it; a half width that is not known is null."""
        return {**asdict(self), "ci95": None if math.isnan(self.ci95) else self.ci95}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Interval":
        """The inverse of `to_json`."""
        ci95 = math.nan if value["ci95"] is None else value["ci95"]
        return cls(value["mean"], ci95, value["tasks"], value.get("seeds", 1))


def interval(values: Values) -> Interval:
    """The mean of `values` and its 95% interval.

    With one run, `[task]`, this is Student's interval over tasks. With several runs on the same tasks, `[seed, task]`,
    both the runs and the tasks are samples. Student's half widths of the means over runs and of the means over tasks
    are added in squares: with three runs that is wide, as it should be. Of several runs on one task, the runs alone are
    the sample: the interval is about training anew on that very task.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"values must be [task] or [seed, task] and not empty, got the shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite; a learner that predicts NaN cannot be scored")
    seeds, tasks = values.shape
    over_tasks, over_runs = _half_width(values.mean(0)), _half_width(values.mean(1))
    half = over_runs if tasks == 1 else over_tasks if seeds == 1 else math.hypot(over_tasks, over_runs)
    return Interval(float(values.mean()), half, tasks, seeds)


def _half_width(sample: Values) -> float:
    """Half of Student's 95% interval for the mean."""
    n = len(sample)
    if n < 2:
        return math.nan
    return float(stdtrit(n - 1, 0.975) * sample.std(ddof=1) / math.sqrt(n))
