"""Several targets of the same inputs as named tasks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from quickstudy.multitask.checks import as_inputs, as_targets, check_sizes, parted
from quickstudy.multitask.named import NamedTasks
from quickstudy.multitask.shared import SharedSplit
from quickstudy.tasks.source import SPLITS

__all__ = ["part_rows", "shared_tasks", "split_targets"]


def shared_tasks(
    x: ArrayLike,
    targets: Mapping[str, ArrayLike],
    masks: Mapping[str, ArrayLike] | None = None,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> NamedTasks:
    """Named tasks that are several targets of the same inputs; the examples are parted at random, once for all.

    Args:
        x: inputs `[n, ...]`.
        targets: y `[n, ...]` of every task; integers are class numbers, and NaN in real ones is missing.
        masks: `[n]` bool of some tasks, True where there is a target; the way to say that a class number is missing.
        validation, test: shares of the examples that are held out.
        seed: draws which.

    Raises:
        TypeError: targets that are no numbers, or a mask that is not bool.
        ValueError: no task, lengths that differ, values that are not finite, a task without targets (in all, or in
            a split), or a split left empty; the message names the task.

    Warns:
        UserWarning: a task's targets are all the same, or one task has more than a hundred times as many as another.
    """
    if not targets:
        raise ValueError("targets is empty: there must be at least one task")
    masks = masks or {}
    if unknown := sorted(set(masks) - set(targets)):
        raise ValueError(f"masks names {unknown[0]!r}, of which there are no targets")
    inputs = as_inputs(x, "x")
    known = {task: as_targets(task, y, masks.get(task), len(inputs)) for task, y in targets.items()}
    return split_targets(inputs, known, part_rows(len(inputs), validation, test, seed))


def part_rows(length: int, validation: float, test: float, seed: int) -> dict[str, NDArray[np.int64]]:
    """Which examples belong to which split, the same for all targets.

    Raises:
        ValueError: a split is left empty.
    """
    return parted(length, validation, test, seed, "part shared examples")


def split_targets(
    inputs: NDArray[np.float32],
    known: Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]],
    rows: Mapping[str, NDArray[np.int64]],
) -> NamedTasks:
    """Named tasks of targets that are checked, and which of them there are.

    Raises:
        ValueError: a task without targets in a split.

    Warns:
        UserWarning: one task has more than a hundred times as many targets as another.
    """
    for task, (_, there) in known.items():
        for split in SPLITS:
            if not there[rows[split]].any():
                raise ValueError(f"the task {task!r} has {there.sum()} targets, none of them in the {split} split")
    check_sizes({task: int(there[rows["train"]].sum()) for task, (_, there) in known.items()})
    return NamedTasks(
        *(
            SharedSplit(
                split,
                torch.as_tensor(inputs[rows[split]]),
                {task: torch.as_tensor(y[rows[split]]) for task, (y, _) in known.items()},
                {task: torch.as_tensor(there[rows[split]]) for task, (_, there) in known.items()},
            )
            for split in SPLITS
        )
    )
