"""Comparing two learners on the same tasks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quickstudy.evaluation.evaluate import Scores, same_tasks
from quickstudy.evaluation.intervals import Interval, interval
from quickstudy.evaluation.metrics import HIGHER_IS_BETTER

__all__ = ["Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """How much one learner differs from another, task by task.

    Attributes:
        metric: which metric.
        value: mean of (first − second) with its 95% interval.
    """

    metric: str
    value: Interval

    @property
    def shown(self) -> bool:
        """Whether the interval excludes zero."""
        return abs(self.value.mean) > self.value.ci95

    @property
    def better(self) -> bool | None:
        """Whether the first is better; None when no difference is shown."""
        return ((self.value.mean > 0) == HIGHER_IS_BETTER[self.metric]) if self.shown else None

    def __str__(self) -> str:
        factor, digits = (100, 2) if self.metric == "accuracy" else (1, 4)
        unsure = math.isnan(self.value.ci95)
        spread = ", of too few tasks for an interval" if unsure else f" ± {factor * self.value.ci95:.{digits}f}"
        words = {None: "no difference shown", True: "better", False: "worse"}
        return f"{words[self.better]} ({self.metric} {factor * self.value.mean:+.{digits}f}{spread})"


def compare(first: Scores | Sequence[Scores], second: Scores | Sequence[Scores], metric: str) -> Difference:
    """The paired difference first − second on the same tasks.

    Args:
        first, second: scores of one run each, or of several (training seeds), paired in order; one run of a learner
            that learns nothing across tasks stands against all of the other's.
        metric: any metric that both have per task.

    Raises:
        ValueError: different tasks, an unknown metric, or numbers of runs that cannot be paired.
    """
    a, b = ([scores] if isinstance(scores, Scores) else list(scores) for scores in (first, second))
    if not same_tasks([*a, *b]):
        raise ValueError("the learners were scored on different tasks; use the same split, seed and number of tasks")
    for run in (*a, *b):
        if metric not in run.values:
            raise ValueError(f"metric must be one of {', '.join(run.values)}, got {metric!r}")
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise ValueError(f"{len(a)} runs cannot be paired with {len(b)}")
    difference = np.stack([run.values[metric] for run in a]) - np.stack([run.values[metric] for run in b])
    return Difference(metric, interval(difference))
