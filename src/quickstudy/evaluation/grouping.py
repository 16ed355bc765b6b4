"""Which named tasks to train together: the split into groups in which tasks help each other most.

    maximise  1/T Σ_j  mean_{i ∈ G(j), i ≠ j} A_ij        over splits of the tasks into at most B groups

A_ij is how much i helps j: an affinity, or what j gains from being trained with i. A task alone gains nothing.

Standley, Zamir, Chen, Guibas, Malik & Savarese, "Which Tasks Should Be Learned Together in Multi-task Learning?", ICML
2020; Fifty et al., NeurIPS 2021 (means of pairs for larger groups).
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstudy.arguments import check_whole

__all__ = ["grouping", "mean_gain"]

Gains: TypeAlias = NDArray[np.float64]
Groups: TypeAlias = list[list[int]]

_EXACT = 12  # tasks: 3¹² pairs of a set and its first group, for every number of groups


def grouping(gains: ArrayLike, groups: int | None = None) -> Groups:
    """The best split of the tasks, numbers of tasks in order.

    Of up to 12 tasks it is the best there is, by dynamic programming over sets of tasks. Of more it is found step by
    step: starting with each task alone, the two groups are joined whose union gains most, as long as there are too many
    groups or joining gains; then single tasks move to other groups, as long as that gains. That may miss the best one.

    Args:
        gains: A `[task, task]`; the diagonal is not read.
        groups: B; any number by default.

    Raises:
        ValueError: no square matrix of finite numbers, or no group.
    """
    gains = _checked(gains)
    tasks = len(gains)
    most = tasks if groups is None else groups
    check_whole(groups=most)
    if most < 1:
        raise ValueError(f"groups must be at least 1, got {most}")
    most = min(most, tasks)
    # Which split is best is the same in any unit, and sums of the largest numbers there are would be infinite.
    gains = gains / (np.abs(gains).max() or 1.0)
    found = _exact(gains, most) if tasks <= _EXACT else _greedy(gains, most)
    return sorted(sorted(group) for group in found)


def mean_gain(gains: ArrayLike, groups: Sequence[Sequence[int]]) -> float:
    """What is maximised: the mean over tasks of what a task gains from the others in its group.

    Raises:
        ValueError: no square matrix of finite numbers, or groups that are no split of its tasks.
    """
    gains = _checked(gains)
    if sorted(task for group in groups for task in group) != list(range(len(gains))):
        raise ValueError(f"groups must have every task 0 … {len(gains) - 1} once, got {[list(g) for g in groups]}")
    return sum(_gain(gains, list(group)) for group in groups) / len(gains)


def _checked(gains: ArrayLike) -> Gains:
    gains = np.array(gains, dtype=np.float64)
    if gains.ndim != 2 or gains.shape[0] != gains.shape[1] or not len(gains):
        raise ValueError(f"gains must be [task, task], got the shape {list(gains.shape)}")
    np.fill_diagonal(gains, 0)
    if not np.isfinite(gains).all():
        helper, helped = (int(place[0]) for place in np.nonzero(~np.isfinite(gains)))
        raise ValueError(f"gains[{helper}, {helped}] is not finite")
    return gains


def _gain(gains: Gains, group: list[int]) -> float:
    """The sum over a group of what each gains from the others."""
    return float(gains[np.ix_(group, group)].sum()) / (len(group) - 1) if len(group) > 1 else 0.0


def _exact(gains: Gains, most: int) -> Groups:
    """Sets of tasks as the bits of a number: the best split of a set is its best first group, the one with the set's
    lowest task, and the best split of the rest into one group fewer."""
    tasks = len(gains)
    bits = (np.arange(2**tasks)[:, None] >> np.arange(tasks) & 1).astype(np.float64)
    of_group = ((bits @ gains) * bits).sum(1) / np.maximum(bits.sum(1) - 1, 1)
    value = np.where(np.arange(2**tasks) == 0, 0.0, -np.inf)  # with no group, only the empty set is split
    chosen: list[NDArray[np.int64]] = []
    for _ in range(min(most, tasks)):
        fewer, value, first = value, value.copy(), np.zeros(2**tasks, np.int64)
        for those in range(1, 2**tasks):
            lowest = those & -those
            group = _subsets(those ^ lowest) | lowest
            found = of_group[group] + fewer[those ^ group]
            best = int(found.argmax())
            if found[best] > value[those]:
                value[those], first[those] = found[best], group[best]
        chosen.append(first)
    groups, rest = list[list[int]](), 2**tasks - 1
    for first in reversed(chosen):
        if first[rest]:  # zero where one group fewer does as well
            groups.append([task for task in range(tasks) if first[rest] >> task & 1])
            rest ^= int(first[rest])
    return groups


def _subsets(those: int) -> NDArray[np.int64]:
    """All sets within a set."""
    found = np.zeros(1, np.int64)
    while those:
        lowest = those & -those
        found, those = np.concatenate([found, found | lowest]), those ^ lowest
    return found


def _greedy(gains: Gains, most: int) -> Groups:
    groups: Groups = [[task] for task in range(len(gains))]
    while len(groups) > 1:
        merges = [
            (_gain(gains, a + b) - _gain(gains, a) - _gain(gains, b), i, i + 1 + k)
            for i, a in enumerate(groups)
            for k, b in enumerate(groups[i + 1 :])
        ]
        gain, i, j = max(merges, key=lambda merge: merge[0])
        if gain <= 0 and len(groups) <= most:
            break
        groups[i] = groups[i] + groups.pop(j)
    moved = True
    while moved:
        moved = False
        for task in range(len(gains)):
            source = next(group for group in groups if task in group)
            rest = [other for other in source if other != task]
            lost = _gain(gains, source) - _gain(gains, rest)
            targets = [group for group in groups if group is not source]
            options = [(_gain(gains, [*group, task]) - _gain(gains, group) - lost, group) for group in targets]
            if rest and len(groups) < most:
                options.append((-lost, []))
            gain, target = max(options, key=lambda option: option[0], default=(0.0, []))
            if gain > 1e-12:
                source.remove(task)
                if target:
                    target.append(task)
                else:
                    groups.append([task])
                groups = [group for group in groups if group]
                moved = True
    return groups
