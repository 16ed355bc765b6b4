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
from torch.utils._pytree import tree_leaves, tree_map, tree_structure

__all__ = ["Examples", "TaskBatch", "Tree", "map_tensors", "masked_to_zero", "pad"]

Tree: TypeAlias = Any
"""A tensor, or nested dicts, lists and tuples of tensors."""


def map_tensors(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """`function` applied to every tensor of `tree`; everything else is passed through."""
    if isinstance(tree, Tensor):  # as most are: the tree of one leaf takes longer to walk than many a function
        return function(tree)
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
        """Examples without padding, from `x` and `y` with the axes `[task, n]`.

        Raises:
            TypeError, ValueError: as `check`.
        """
        examples = cls(x, y, whole_mask("y", y))
        examples.check("examples")
        return examples

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
            ValueError: the leading axes differ, or there is no task.
        """
        check_tree(f"{name}.x", self.x, self.mask, f"{name}.mask")
        check_tree(f"{name}.y", self.y, self.mask, f"{name}.mask")

    def check_values(self, name: str, classes: Bool[Tensor, "task way"] | None = None) -> None:
        """Checks that read the data: finite inputs and targets, labels of `classes`. Padding may hold anything.

        Raises:
            ValueError: naming the part, the task and the value.
        """
        leaves = [leaf for leaf in tree_leaves((self.x, self.y)) if leaf.is_floating_point() or leaf.is_complex()]
        # A sum is finite only where every number is: when all is well that is one pass and one answer of the device.
        doubts = [~torch.isfinite(leaf.detach().sum()) for leaf in leaves]
        if classes is not None:
            doubts += [_wrong_labels(name, self, classes).any(), ~classes.any(1).all()]
        if not doubts or not bool(torch.stack(doubts).any()):
            return
        for part in ("x", "y"):
            _check_finite(f"{name}.{part}", getattr(self, part), self.mask)
        if classes is not None:
            _check_labels(name, self, classes)


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
            TypeError, ValueError: as `Examples.check`; or support, query and classes disagree on the number of tasks,
                or support and query on the form of an example.
        """
        for name, part in (("support", self.support), ("query", self.query)):
            if not isinstance(part, Examples):
                raise TypeError(f"{name} must be Examples, got {type(part).__name__}")
            part.check(name)
        if self.support.tasks != self.query.tasks:
            counts = {"support": self.support.tasks, "query": self.query.tasks}
            raise ValueError(f"support, query and classes must have the same number of tasks, got {counts}")
        if self.classes is not None:
            check_classes(self.classes, self.query.tasks)
        for name in ("x", "y"):
            learned, asked = (_form(getattr(part, name)) for part in (self.support, self.query))
            if learned != asked:
                raise ValueError(
                    f"support.{name} and query.{name} must hold examples of one form, got {learned} and {asked}"
                )

    def check_values(self) -> None:
        """Checks that read the data: finite inputs and targets, labels of classes that exist.

        Raises:
            ValueError: naming the part, the task and the value.
        """
        self.check()
        self.support.check_values("support", self.classes)
        self.query.check_values("query", self.classes)


def whole_mask(name: str, tree: Tree) -> Bool[Tensor, "task n"]:
    """The mask of examples without padding.

    Raises:
        TypeError, ValueError: `tree` does not hold tensors `[task, n, ...]`.
    """
    first = next(iter(tree_leaves(tree)), None)
    if not isinstance(first, Tensor):
        raise TypeError(f"{name} must hold tensors [task, n, ...], got {type(first).__name__}")
    if first.ndim < 2:
        raise ValueError(f"{name} must have the axes [task, n, ...], got the shape {tuple(first.shape)}")
    return torch.ones(first.shape[:2], dtype=torch.bool, device=first.device)


def check_tree(name: str, tree: Tree, mask: Any, mask_name: str = "mask") -> None:
    """Structural checks of inputs or targets.

    Raises:
        TypeError: something is not a tensor, or the mask is not bool.
        ValueError: the leading axes are not those of the mask, or there is no task.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        found = getattr(mask, "dtype", type(mask).__name__)
        raise TypeError(f"{mask_name} must be a bool tensor [task, n], got {found}")
    if mask.ndim != 2 or not mask.shape[0]:
        raise ValueError(f"{mask_name} must have the axes [task, n] and a task, got the shape {tuple(mask.shape)}")
    leaves = [tree] if isinstance(tree, Tensor) else tree_leaves(tree)
    if not leaves:
        raise TypeError(f"{name} holds no tensor")
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(f"{name} must hold tensors, got {type(leaf).__name__}")
        if leaf.shape[:2] != mask.shape:
            raise ValueError(
                f"{name} has the shape {tuple(leaf.shape)}; its first two axes must be those of the "
                f"mask, [task, n] = {list(mask.shape)}"
            )


def check_classes(classes: Any, tasks: int) -> None:
    """Structural checks of which classes exist.

    Raises:
        TypeError: not a bool tensor `[task, way]`.
        ValueError: not of `tasks` tasks, or there is no class.
    """
    if not isinstance(classes, Tensor) or classes.dtype != torch.bool or classes.ndim != 2:
        found = f"{classes.dtype} {tuple(classes.shape)}" if isinstance(classes, Tensor) else type(classes).__name__
        raise TypeError(f"classes must be a bool tensor [task, way], got {found}")
    if classes.shape[0] != tasks or not classes.shape[1]:
        raise ValueError(f"classes must be [task, way] for {tasks} tasks, got the shape {tuple(classes.shape)}")


def _form(tree: Tree) -> Any:
    """What an example looks like: its tree, with shapes for tensors."""
    return tree_map(lambda leaf: list(leaf.shape[2:]), tree)


def _check_finite(name: str, tree: Tree, mask: Tensor) -> None:
    for leaf in tree_leaves(masked_to_zero(tree, mask)):
        finite = torch.isfinite(leaf).reshape(leaf.shape[0], -1).all(1)
        if not finite.all():
            task = int((~finite).nonzero()[0])
            raise ValueError(f"{name} has a value that is not finite in task {task}; remove or impute it")


def _wrong_labels(name: str, examples: Examples, classes: Tensor) -> Bool[Tensor, "task n"]:
    """Which real examples are of no class that exists."""
    labels, way = examples.y, classes.shape[1]
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 2:
        found = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"{name}.y must hold class numbers (int64) [task, n] when the tasks have classes, got {found}")
    known = classes.gather(1, labels.clamp(0, way - 1)) & (labels >= 0) & (labels < way)
    return examples.mask & ~known


def _check_labels(name: str, examples: Examples, classes: Tensor) -> None:
    none = ~classes.any(1)
    if none.any():
        raise ValueError(f"classes are all False for task {int(none.nonzero()[0])}; a task must have one at least")
    labels, wrong = examples.y, _wrong_labels(name, examples, classes)
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
        TypeError: a tree does not hold tensors.
        ValueError: there is no task, `length` is too short, or the tasks' trees differ in form.
    """
    if not isinstance(trees, Sequence):
        raise TypeError(f"trees must be a sequence of trees, got {type(trees).__name__}")
    if not trees:
        raise ValueError("trees is empty: there must be at least one task")
    for number, tree in enumerate(trees):
        leaves = tree_leaves(tree)
        if not leaves or not all(isinstance(leaf, Tensor) and leaf.ndim for leaf in leaves):
            raise TypeError(f"trees must hold tensors [n, ...], which that of task {number} does not")
        if tree_structure(tree) != tree_structure(trees[0]) or len({len(leaf) for leaf in leaves}) > 1:
            raise ValueError(f"trees must be of one form and their tensors of one length, which task {number} is not")
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
