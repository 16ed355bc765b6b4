"""How much better than alone: relative changes of the tasks' metrics, and their mean over tasks, Δm.

    Δ_j = (−1)^{l_j} (M_j − B_j) / |B_j|,    Δm = 1/T Σ_j Δ_j

M_j is the metric of task j, B_j that of the same task trained alone; l_j = 1 where lower is better.

Maninis, Radosavovic & Kokkinos, "Attentive Single-Tasking of Multiple Tasks", CVPR 2019.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike, NDArray

from quickstudy.evaluation.intervals import Interval, interval

__all__ = ["mean_relative_change", "over_seeds", "relative_change"]


def relative_change(
    scores: ArrayLike, alone: ArrayLike, higher_is_better: Sequence[bool] | Bool[np.ndarray, " task"]
) -> Float[np.ndarray, "*seed task"]:
    """Δ_j, as a part of one; above zero is better than alone.

    Args:
        scores, alone: metrics `[..., task]`, paired.
        higher_is_better: of every task's metric.

    Raises:
        ValueError: shapes that differ, values that are not finite, or a zero to divide by.
    """
    mine, base = (np.asarray(given, dtype=np.float64) for given in (scores, alone))
    up = np.asarray(higher_is_better, dtype=bool)
    if mine.shape != base.shape or mine.shape[-1:] != up.shape or not mine.size:
        raise ValueError(
            f"scores, alone and higher_is_better must be [..., task] alike, got the shapes {list(mine.shape)}, "
            f"{list(base.shape)} and {list(up.shape)}"
        )
    if not (np.isfinite(mine).all() and np.isfinite(base).all()):
        raise ValueError("scores and alone must be finite")
    if (base == 0).any():
        raise ValueError("alone has a metric of 0, of which nothing can be a part; take another metric")
    return np.where(up, 1.0, -1.0) * (mine - base) / np.abs(base)


def mean_relative_change(
    scores: Float[np.ndarray, "seed task"], alone: Float[np.ndarray, "seed task"], higher_is_better: Sequence[bool]
) -> Interval:
    """Δm, with a 95% interval over seeds: tasks are fixed, and no sample of anything.

    Raises:
        ValueError: as `relative_change`.
    """
    return over_seeds(relative_change(scores, alone, higher_is_better).mean(-1))


def over_seeds(values: NDArray[np.float64]) -> Interval:
    """The mean of `[seed]` and Student's 95% interval over them; of a single one, none."""
    return interval(np.asarray(values)[:, None])
