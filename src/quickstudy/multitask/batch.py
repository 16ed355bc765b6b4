"""Batches of named tasks in their two forms, and the one view of both that every architecture works on."""

from collections.abc import ItemsView
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils._pytree import tree_map

from quickstudy.networks.vectorised import in_func
from quickstudy.tasks.batch import Examples, Tree, map_tensors, masked_to_zero

__all__ = ["Labels", "NamedBatch", "Rows", "SharedBatch", "hidden", "rows"]

NamedBatch: TypeAlias = dict[str, Examples]
"""Some examples of every named task; the task axis of each has length one."""


@dataclass
class SharedBatch:
    """Inputs that several named tasks have in common, with the targets of each, some of which are missing.

    Attributes:
        x: inputs, a tree `[1, n, ...]`.
        y: the targets of every task, `[1, n, ...]`; anything where they are missing.
        mask: `[1, n]` bool for every task, True where there is a target.
        count: `[1]` for every task: over how many targets a mean is taken. In a batch that several processes share,
            that is the number in all of it divided by the number of processes, so that the mean of their means is the
            mean of the whole.
    """

    x: Tree
    y: dict[str, Tree]
    mask: dict[str, Tree]
    count: dict[str, Tree]

    def items(self) -> ItemsView[str, Examples]:
        """Every task's name and its examples, those without a target masked."""
        return {task: Examples(self.x, self.y[task], self.mask[task]) for task in self.y}.items()

    def __getitem__(self, task: str) -> Examples:
        return Examples(self.x, self.y[task], self.mask[task])


torch.export.register_dataclass(SharedBatch)


@dataclass
class Labels:
    """The targets of one task in a batch: y `[1, n, ...]`, mask `[1, n]`, and the divisor of a mean `[1]`."""

    y: Tree
    mask: Bool[Tensor, "1 n"]
    count: Float[Tensor, " 1"]


@dataclass
class Rows:
    """A batch as architectures take it.

    Attributes:
        x, mask: inputs `[row, n, ...]` and which of them are real: a row for each task with inputs of its own, or one
            row for all.
        of: the row of each task.
        labels: each task's targets, by its name.
    """

    x: Tree
    mask: Bool[Tensor, "row n"]
    of: list[int]
    labels: dict[str, Labels]


def rows(batch: Any) -> Rows:
    """The one view of both kinds of batch, whose inputs are zeros where there is padding.

    Raises:
        TypeError: the batch is of another type.
        ValueError: there is no task, or the tasks have unequal numbers of (masked) examples.
    """
    if not isinstance(batch, dict | SharedBatch):
        raise TypeError(f"batch must be a dict of Examples or a SharedBatch, got {type(batch).__name__}")
    examples = dict(batch.items())
    if not examples:
        raise ValueError("the batch holds no task")
    for task, those in examples.items():
        if not isinstance(those, Examples):
            raise TypeError(f"batch must hold Examples for the task {task!r}, got {type(those).__name__}")
        those.check(task)
    if len({those.mask.shape for those in examples.values()}) > 1:
        lengths = {task: those.mask.shape[1] for task, those in examples.items()}
        raise ValueError(f"the tasks of a batch must have equally many (masked) examples, got {lengths}")
    masks = torch.cat([those.mask for those in examples.values()])
    labels = {
        task: Labels(
            those.y,
            those.mask,
            batch.count[task] if isinstance(batch, SharedBatch) else those.mask.sum(1).to(torch.float32),
        )
        for task, those in examples.items()
    }
    if isinstance(batch, SharedBatch):
        mask, x, of = masks.any(0, keepdim=True), batch.x, [0] * len(examples)
    else:
        # One pass for all: the tasks become the task axis, so that normalization keeps them apart.
        mask, of = masks, list(range(len(examples)))
        x = tree_map(lambda *leaves: torch.cat(leaves), *(those.x for those in examples.values()))
    return Rows(hidden(x, mask), mask, of, labels)


def hidden(tree: Tree, mask: Bool[Tensor, "row n"]) -> Tree:
    """A copy of `tree` with zeros where `mask` is False; on a CPU it is made faster where there is nothing to hide."""
    if mask.device.type == "cpu" and not (torch.compiler.is_compiling() or in_func()) and mask.all():
        return map_tensors(torch.clone, tree)
    return masked_to_zero(tree, mask)
