"""What a task is: examples to learn from, examples to be asked about, and which classes there are.

A batch holds T tasks of unequal size, padded to common bounds. The leading axes of every tensor are `[task, n]`, and
`mask` says which of the n examples are real. Both types are plain dataclasses registered as pytrees, so `torch.vmap`,
`torch.compile` and Lightning Fabric take them as they take tensors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["Examples", "TaskBatch", "Tree", "map_tensors", "masked_to_zero", "pad"]

Tree: TypeAlias = Any
"""A tensor, or nested dicts, lists and tuples of tensors."""


def map_tensors(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """`function` applied to every tensor of `tree`; everything else is passed through."""
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def masked_to_zero(tree: Tree, mask: Bool[Tensor, "task n"]) -> Tree:
    """`tree` with zeros where `mask` is False.

    Multiplying by the mask would not do: NaN times zero is NaN.
    """

    def replace(leaf: Tensor) -> Tensor:
        wide = mask.reshape(*mask.shape, *[1] * (leaf.ndim - mask.ndim))
        return torch.where(wide, leaf, torch.zeros((), dtype=leaf.dtype, device=leaf.device))

    return map_tensors(replace, tree)


Batch = TypeVar("Batch", bound="_Tasks")


class _Tasks:
    """What both batch types share: every tensor in them has the task axis first."""

    def map(self: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
        """A copy with `function` applied to every tensor."""
        return tree_map(function, self)

    def to(self: Batch, *args: Any, **kwargs: Any) -> Batch:
        """As `Tensor.to`, applied to every tensor (so name a device; a dtype would cast labels and masks too)."""
        return self.map(lambda leaf: leaf.to(*args, **kwargs))

    def __getitem__(self: Batch, tasks: int | slice | Tensor | list[int]) -> Batch:
        """Some of the tasks; a single number keeps the task axis, with length one."""
        if isinstance(tasks, int):
            tasks = [tasks]
        return self.map(lambda leaf: leaf[tasks])


@dataclass
class Examples(_Tasks):
    """Labelled examples of T tasks.

    Attributes:
        x: inputs, a tensor or tree of tensors `[task, n, ...]`.
        y: targets, `[task, n]` class numbers (int64), or `[task, n, ...]` real values.
        mask: `[task, n]` bool, True where an example is real and False where it is padding.
    """

    # Trees, not tensors, in the eyes of a type checker: vmap and the compiler put axis numbers into the same structure.
    x: Tree
    y: Tree
    mask: Tree

    @classmethod
    def of(cls, x: Tree, y: Tree) -> "Examples":
        """Examples without padding, from `x` and `y` with the axes `[task, n]`."""
        first = tree_leaves(y)[0]
        return cls(x, y, torch.ones(first.shape[:2], dtype=torch.bool, device=first.device))

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return self.mask.shape[0]

    @property
    def count(self) -> Int[Tensor, " task"]:
        """How many real examples each task has."""
        return self.mask.sum(1)

    def inert(self) -> "Examples":
        """The same examples with whatever stood in padded entries replaced by zeros."""
        return Examples(masked_to_zero(self.x, self.mask), masked_to_zero(self.y, self.mask), self.mask)

    def check(self, name: str) -> None:
        """Structural checks: every tensor has the axes `[task, n]` of the mask.

        Raises:
            TypeError: something is not a tensor, or the mask is not bool.
            ValueError: the leading axes differ.
        """
        if not isinstance(self.mask, Tensor) or self.mask.dtype != torch.bool:
            kind = getattr(self.mask, "dtype", type(self.mask).__name__)
            raise TypeError(f"{name}.mask must be a bool tensor [task, n], got {kind}")
        if self.mask.ndim != 2:
            raise ValueError(f"{name}.mask must have the axes [task, n], got the shape {tuple(self.mask.shape)}")
        for part in ("x", "y"):
            leaves = tree_leaves(getattr(self, part))
            if not leaves:
                raise TypeError(f"{name}.{part} holds no tensor")
            for leaf in leaves:
                if not isinstance(leaf, Tensor):
                    raise TypeError(f"{name}.{part} must hold tensors, got {type(leaf).__name__}")
                if leaf.shape[:2] != self.mask.shape:
                    raise ValueError(
                        f"{name}.{part} has the shape {tuple(leaf.shape)}; its first two axes must be those of the "
                        f"mask, [task, n] = {list(self.mask.shape)}"
                    )


@dataclass
class TaskBatch(_Tasks):
    """T exchangeable tasks: what each is learned from, and what it is asked.

    Attributes:
        support: examples to learn from; a task may have none.
        query: examples to predict.
        classes: `[task, way]` bool, which classes exist in the task; None for regression.
        descriptor: what is known of a task beside its examples, a tree `[task, ...]`; None when nothing is.
    """

    support: Examples
    query: Examples
    classes: Tree = None
    descriptor: Tree = None

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return self.query.tasks

    def check(self) -> None:
        """Structural checks (shapes and dtypes only, so they are free under `torch.compile`).

        Raises:
            TypeError, ValueError: as `Examples.check`, or support, query and classes disagree on the number of tasks.
        """
        self.support.check("support")
        self.query.check("query")
        counts = {"support": self.support.tasks, "query": self.query.tasks}
        if self.classes is not None:
            if self.classes.dtype != torch.bool or self.classes.ndim != 2:
                raise TypeError(
                    f"classes must be a bool tensor [task, way], got {self.classes.dtype} {tuple(self.classes.shape)}"
                )
            counts["classes"] = self.classes.shape[0]
        if len(set(counts.values())) > 1:
            raise ValueError(f"support, query and classes must have the same number of tasks, got {counts}")

    def check_values(self) -> None:
        """Checks that read the data: finite inputs and targets, labels of classes that exist.

        Raises:
            ValueError: naming the part, the task and the value.
        """
        self.check()
        for name, examples in (("support", self.support), ("query", self.query)):
            for part in ("x", "y"):
                _check_finite(f"{name}.{part}", getattr(examples, part), examples.mask)
            if self.classes is not None:
                _check_labels(name, examples, self.classes)


def _check_finite(name: str, tree: Tree, mask: Tensor) -> None:
    for leaf in tree_leaves(masked_to_zero(tree, mask)):
        finite = torch.isfinite(leaf).reshape(leaf.shape[0], -1).all(1)
        if not finite.all():
            task = int((~finite).nonzero()[0])
            raise ValueError(f"{name} has a value that is not finite in task {task}; remove or impute it")


def _check_labels(name: str, examples: Examples, classes: Tensor) -> None:
    labels, way = examples.y, classes.shape[1]
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"{name}.y must hold class numbers (int64) when the tasks have classes, got {labels.dtype}")
    outside = examples.mask & ((labels < 0) | (labels >= way))
    known = classes.gather(1, labels.clamp(0, max(way - 1, 0)))
    wrong = outside | (examples.mask & ~known)
    if wrong.any():
        task, index = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"{name}.y is {int(labels[task, index])} for example {index} of task {task}, "
            f"whose classes are {classes[task].nonzero()[:, 0].tolist()}"
        )


# Registered as pytrees under their field names; a field that is None has no leaf.
torch.export.register_dataclass(Examples)
torch.export.register_dataclass(TaskBatch)


def pad(trees: Sequence[Tree], length: int | None = None) -> tuple[Tree, Bool[Tensor, "task n"]]:
    """Stack trees of tensors `[n_i, ...]` of unequal n_i into one of `[task, n, ...]`, zeros at the end, with its mask.

    Args:
        trees: one tree per task.
        length: the padded n; the longest by default.

    Raises:
        ValueError: there is no task, `length` is too short, or the tasks' trees differ in form.
    """
    if not trees:
        raise ValueError("trees is empty: there must be at least one task")
    counts = [tree_leaves(tree)[0].shape[0] for tree in trees]
    length = max(counts) if length is None else length
    if max(counts) > length:
        raise ValueError(f"length is {length}, but a task has {max(counts)} examples")

    def stack(*leaves: Tensor) -> Tensor:
        shapes = {leaf.shape[1:] for leaf in leaves}
        if len(shapes) > 1:
            raise ValueError(f"the tasks' examples differ in shape: {sorted(map(tuple, shapes))}")
        dtype = reduce(torch.promote_types, (leaf.dtype for leaf in leaves))
        out = leaves[0].new_zeros((len(leaves), length, *leaves[0].shape[1:]), dtype=dtype)
        for row, leaf in zip(out, leaves, strict=True):
            row[: leaf.shape[0]] = leaf
        return out

    mask = torch.arange(length) < torch.tensor(counts)[:, None]
    return tree_map(stack, *trees), mask.to(tree_leaves(trees[0])[0].device)
