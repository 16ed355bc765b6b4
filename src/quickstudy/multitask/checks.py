"""What can be wrong with the data of named tasks, said before anything is trained, with the task's name."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstudy.tasks import draws

__all__ = ["as_inputs", "as_targets", "check_sizes", "parted"]

# From here on the small task is seen once where the large one is seen a hundred times, or the other way round.
_UNEVEN = 100


def as_inputs(x: ArrayLike, whose: str) -> NDArray[np.float32]:
    """Inputs `[n, ...]` as float32.

    Raises:
        ValueError: there is a value that is not finite.
    """
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.number) and x.dtype != bool:
        raise TypeError(f"the inputs of {whose} are {x.dtype}, not numbers; encode texts and categories first")
    if x.ndim < 1 or not np.isfinite(x).all():
        raise ValueError(f"{whose} has a value that is not finite in its inputs; remove or impute it")
    return x.astype(np.float32)


def as_targets(task: str, y: ArrayLike, there: ArrayLike | None, length: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Targets as int64 (class numbers) or float32, and which of them there are; zeros where there is none.

    Args:
        task: its name.
        y: `[n, ...]`; NaN is missing.
        there: `[n]` bool, which targets there are; None for all that are not NaN.
        length: how many inputs there are.

    Raises:
        TypeError: targets that are no numbers, or a mask that is not bool.
        ValueError: another length, an infinite target, a NaN that the mask says is there, or no target at all.

    Warns:
        UserWarning: the targets are all the same.
    """
    y = np.asarray(y)
    if not np.issubdtype(y.dtype, np.number) and y.dtype != bool:
        raise TypeError(f"the targets of {task!r} are {y.dtype}, not numbers; number the classes from 0")
    if y.ndim < 1 or len(y) != length:
        raise ValueError(f"the task {task!r} has {length} inputs and {len(y) if y.ndim else 1} targets")
    missing = np.isnan(y.reshape(length, -1)).any(1) if np.issubdtype(y.dtype, np.floating) else np.zeros(length, bool)
    if there is None:
        mask = ~missing
    else:
        mask = np.asarray(there)
        if mask.dtype != bool or mask.shape != (length,):
            raise TypeError(f"the mask of {task!r} must be bool [{length}], got {mask.dtype} {list(mask.shape)}")
        if (mask & missing).any():
            row = int(np.flatnonzero(mask & missing)[0])
            raise ValueError(f"the target of {task!r} is NaN for example {row}, which its mask says has one")
    if not mask.any():
        raise ValueError(f"the task {task!r} has no target at all; leave it out")
    if not np.isfinite(y[mask]).all():
        raise ValueError(f"the task {task!r} has a value that is not finite in its targets; remove or impute it")
    if mask.sum() > 1 and (y[mask] == y[mask][0]).all():
        warnings.warn(
            f"the targets of {task!r} are all {y[mask].reshape(-1)[0]:g}: there is nothing to learn from it, and what "
            "is trained together with it gains nothing; leave it out",
            stacklevel=3,
        )
    wide = mask.reshape(-1, *[1] * (y.ndim - 1))
    integral = np.issubdtype(y.dtype, np.integer)
    return np.where(wide, y, np.zeros((), y.dtype)).astype(np.int64 if integral else np.float32), mask


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Say so when tasks have wildly different numbers of training targets.

    Warns:
        UserWarning: the most is more than a hundred times the least.
    """
    most, least = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    if sizes[most] > _UNEVEN * sizes[least]:
        warnings.warn(
            f"{most!r} has {sizes[most]} training targets and {least!r} {sizes[least]}: drawn in proportion, the small "
            "task is hardly seen; drawn alike, it is soon known by heart. Try tasks.mixed('temperature', 3), a weight "
            "in its Objective, and stop by validation",
            stacklevel=3,
        )


def parted(length: int, validation: float, test: float, seed: int, stream: str) -> dict[str, NDArray[np.int64]]:
    """Row numbers of the three splits, drawn at random.

    Raises:
        ValueError: a split is left empty.
    """
    held = [round(share * length) for share in (validation, test)]
    if min(*held, length - sum(held)) < 1:
        raise ValueError(f"there are {length} examples; shares of {validation} and {test} leave a split empty")
    order = np.argsort(draws.uniforms(seed, stream, 0, 1, length)[0])
    return dict(zip(("validation", "test", "train"), np.split(order, np.cumsum(held)), strict=True))
