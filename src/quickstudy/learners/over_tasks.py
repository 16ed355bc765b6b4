"""The one place that chooses between a loop over tasks and vectorising over them."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["at_once", "over_tasks"]

Result = TypeVar("Result")


# Images of one task beyond which a loop over tasks is faster on a CPU.
_FEW_IMAGES = 8


def at_once(tasks_at_once: int | None, x: Any) -> int | None:
    """How many tasks to vectorise over, for `over_tasks`: as asked, or else what is faster for inputs such as these.

    Vectorising turns convolutions with weights per task into grouped ones. These win for many small tasks and on a
    GPU; on a CPU they lose to a loop when a task has many images (measured: 8 tasks of 80 images, twice as slow).

    Args:
        tasks_at_once: as asked; None for the default.
        x: inputs `[task, n, ...]`; three axes or more after these make an image.
    """
    if tasks_at_once is not None:
        return tasks_at_once
    many_images = any(leaf.ndim >= 5 and leaf.shape[1] > _FEW_IMAGES for leaf in tree_leaves(x))
    return 1 if many_images and tree_leaves(x)[0].device.type == "cpu" else None


def over_tasks(function: Callable[..., Result], tasks_at_once: int | None, *arguments: Any) -> Result:
    """`function` of one task, applied to T tasks.

    Args:
        function: takes trees of tensors without the task axis and returns such a tree.
        tasks_at_once: how many tasks to vectorise over; 1 is a plain loop, None is all.
        arguments: trees of tensors with the task axis first, or None.

    Returns:
        The tree of results, with the task axis first.
    """
    first = tree_leaves([argument for argument in arguments if argument is not None])[0]
    # Autocast reaches only some operations inside vmap (linear layers, not convolutions: torch 2.13), and what follows
    # fails on mixed types. So precision stays as it is here, in the loop too: both must give the same.
    with torch.autocast(first.device.type, enabled=False):
        if tasks_at_once == 1:
            results = [
                function(*(None if a is None else tree_map(lambda leaf, task=task: leaf[task], a) for a in arguments))
                for task in range(first.shape[0])
            ]
            return tree_map(lambda *leaves: torch.stack(leaves), *results)
        axes = tuple(None if argument is None else 0 for argument in arguments)
        # Dropout inside `function` must differ by task.
        return torch.vmap(function, axes, chunk_size=tasks_at_once, randomness="different")(*arguments)
