"""Your own tasks: a finite collection, each with its own data set of its own size.

Every task's examples are parted at random into support and query, anew each time the task is drawn. Tasks are drawn in
shuffled rounds, so that none is seen twice before all are seen once; a finite split is evaluated on every task once.
"""

import copy
import warnings
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from quickstudy.arguments import check_real, check_seed
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.likelihood import MOST_WAYS
from quickstudy.tasks.source import Kind, Split, TaskSource

__all__ = ["Collection", "Labels", "collections", "from_arrays", "part_tasks"]

Labels: TypeAlias = Literal["shared", "own"]


class Collection(Split):
    """The tasks of one split, each with arrays of its own.

    Args:
        name: the split's name.
        tasks: (x `[n, ...]`, y `[n]` or `[n, targets]`) of each task.
        kind: what the targets are.
        shots: support examples per task: a number, or a share of the task's examples (below 1).
        ways: for classification, the number of class numbers; None for regression.
        labels: `shared` when a class number means the same in every task; `own` when it does not, and is shuffled at
            every draw.
    """

    def __init__(
        self,
        name: str,
        tasks: Sequence[tuple[Tensor, Tensor]],
        kind: Kind,
        shots: float,
        ways: int | None = None,
        labels: Labels = "shared",
    ) -> None:
        self.name, self.kind, self.shots, self.ways, self.labels = name, kind, shots, ways, labels
        self._count = self.size = len(tasks)
        sizes = np.array([len(x) for x, _ in tasks], dtype=np.int64)
        self._sizes, self._starts = sizes, np.concatenate([[0], np.cumsum(sizes)])
        self._x, self._y = torch.cat([x for x, _ in tasks]), torch.cat([y for _, y in tasks])
        if ways is not None:
            # Where classes mean the same in every task all of them are possible, also one that a task never shows:
            # to rule it out would give away the labels of the query.
            own = [torch.bincount(y, minlength=ways) > 0 for _, y in tasks]
            self._classes = torch.stack(own) | (labels == "shared")
        # A task of one example keeps it as its query: it can be asked about, not learned from.
        support = np.floor(shots * sizes) if shots < 1 else np.full(len(sizes), shots)
        self._support = np.clip(support, 0, sizes - 1).astype(np.int64)
        self._bounds = _few_bounds(self._support, sizes - self._support)

    def to(self, device: Any) -> "Collection":
        """The same tasks with their data on `device`."""
        moved = copy.copy(self)
        moved._x, moved._y = self._x.to(device), self._y.to(device)
        if self.ways is not None:
            moved._classes = self._classes.to(device)
        return moved

    def members(self, first: int, count: int, seed: int) -> NDArray[np.int64]:
        """Which tasks of the collection the draws `first` … `first + count − 1` are."""
        return draws.rounds(seed, f"rounds/{self.name}", first, count, self._count, shuffle=self.name == "train")

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The draws `first` … `first + count − 1`, padded to common lengths."""
        which = self.members(first, count, seed)
        most, ways = int(self._sizes.max()), self.ways or 0
        numbers = draws.uniforms(seed, f"collection/{self.name}", first, count, most + ways)
        sizes, support = self._sizes[which], self._support[which]
        keys = numbers[:, :most] + 2.0 * (np.arange(most) >= sizes[:, None])
        order = np.argsort(keys, 1) + self._starts[which][:, None]
        lengths = next(pair for pair in self._bounds if pair[0] >= support.max() and pair[1] >= (sizes - support).max())
        learned = self._gather(order, np.zeros_like(support), support, lengths[0])
        asked = self._gather(order, support, sizes - support, lengths[1])
        if self.ways is None:
            return TaskBatch(learned, asked)
        classes = self._classes[torch.from_numpy(which).to(self._classes.device)]
        if self.labels == "own":
            names = torch.from_numpy(np.argsort(numbers[:, most:], 1)).to(classes.device)
            classes = torch.zeros_like(classes).scatter(1, names, classes)
            for part in (learned, asked):
                part.y = names.gather(1, part.y)
        return TaskBatch(learned, asked, classes)

    def _gather(self, order: NDArray, start: NDArray, number: NDArray, length: int) -> Examples:
        """`number` examples of every row of `order` from `start` on, padded to `length`."""
        offset = np.arange(length)
        mask = offset < number[:, None]
        columns = np.minimum(start[:, None] + offset, order.shape[1] - 1)
        rows = np.where(mask, np.take_along_axis(order, columns, 1), 0)
        index = torch.from_numpy(rows).to(self._x.device)
        return Examples(self._x[index], self._y[index], torch.from_numpy(mask).to(self._x.device))


def _few_bounds(support: NDArray[np.int64], query: NDArray[np.int64]) -> list[tuple[int, int]]:
    """At most four padded lengths of support and query together, as compiled shapes should be few.

    The largest is that of the longest tasks; each before it is half as long.
    """
    bounds = [(int(support.max()), int(query.max()))]
    while len(bounds) < 4 and bounds[0][0] // 2 >= support.min() and bounds[0][1] // 2 >= max(1, query.min()):
        bounds.insert(0, (bounds[0][0] // 2, bounds[0][1] // 2))
    return bounds


def from_arrays(
    tasks: Sequence[tuple[ArrayLike, ArrayLike]],
    *,
    kind: Kind | None = None,
    shots: float = 0.5,
    labels: Labels = "shared",
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> TaskSource:
    """Tasks from your own arrays, of unequal size, parted by task into train, validation and test.

    Args:
        tasks: one (X, y) per task: X `[n, ...]` numbers, y `[n]` class numbers or real values, or `[n, targets]`.
        kind: `classification` or `regression`; by default classification when every y holds integers.
        shots: how much of a task is its support: a share below 1, or a number of examples.
        labels: for classification, `shared` when class 2 means the same in every task, `own` when it does not.
        validation, test: shares of the tasks that are held out.
        seed: draws which tasks are held out.

    Raises:
        TypeError: an array does not hold numbers.
        ValueError: too few tasks for three splits, unequal lengths or forms, values that are not finite; the message
            names the task.
    """
    if not isinstance(tasks, Sequence) or not all(isinstance(task, list | tuple) and len(task) == 2 for task in tasks):
        raise TypeError("tasks must be a list of pairs (X, y)")
    pairs = [_arrays(number, x, y) for number, (x, y) in enumerate(tasks)]
    whole = all(np.issubdtype(y.dtype, np.integer) or y.dtype == bool for _, y in pairs)
    if kind is None:
        kind = "classification" if whole else "regression"
    check_kind(kind)
    if kind == "classification" and not whole:
        raise ValueError("kind is classification, but some y hold real numbers; number the classes from 0")
    for number, (_, y) in enumerate(pairs):
        if kind == "classification" and y.ndim != 1:
            raise ValueError(f"y of task {number} must be class numbers [n], got the shape {y.shape}")
        if y.ndim > 2:
            raise ValueError(f"y of task {number} must be [n] or [n, targets], got the shape {y.shape}")
        if kind == "classification" and not 0 <= y.min() <= y.max() < MOST_WAYS:
            wrong = y.min() if y.min() < 0 else y.max()
            raise ValueError(f"y of task {number} has the class number {wrong}; number the classes from 0")
    forms = {(x.shape[1:], y.shape[1:]) for x, y in pairs}
    if len(forms) > 1:
        raise ValueError(f"all tasks must have examples of one form, got x and y of {sorted(forms)}")
    parts = part_tasks(len(pairs), validation, test, seed)
    protocol = {"data": "own tasks", "split_seed": seed}
    return collections(pairs, parts, kind, shots, labels, protocol)


def check_kind(kind: str) -> None:
    """Refuse a kind of task that arrays and tables do not have.

    Raises:
        ValueError: it is one.
    """
    if kind not in ("classification", "regression"):
        raise ValueError(f"kind must be 'classification' or 'regression', got {kind!r}")


def part_tasks(count: int, validation: float, test: float, seed: int) -> dict[str, NDArray[np.int64]]:
    """Which of `count` tasks are of which split, drawn from `seed`.

    Raises:
        ValueError: a split would be empty.
    """
    check_real(validation=validation, test=test)
    check_seed(seed)
    held = [round(share * count) for share in (validation, test)]
    if min(*held, count - sum(held)) < 1:
        raise ValueError(
            f"{count} tasks with shares of {validation} for validation and {test} for test leave a split empty; "
            "give more tasks or other shares"
        )
    order = np.argsort(draws.uniforms(seed, "part tasks", 0, 1, count)[0])
    ends = np.cumsum([0, *held, count - sum(held)])
    names = ("validation", "test", "train")
    return {name: np.sort(order[a:b]) for name, a, b in zip(names, ends, ends[1:], strict=False)}


def collections(
    pairs: Sequence[tuple[NDArray, NDArray]],
    parts: dict[str, NDArray[np.int64]],
    kind: Kind,
    shots: float,
    labels: Labels,
    protocol: dict[str, Any],
) -> TaskSource:
    """A source of three collections, from checked arrays and the numbers of the tasks of each split.

    Raises:
        ValueError: `shots` or `labels` are none that there are.
    """
    if labels not in ("shared", "own"):
        raise ValueError(f"labels must be 'shared' or 'own', got {labels!r}")
    check_real(shots=shots)
    if not shots >= 0 or (shots >= 1 and shots != int(shots)):
        raise ValueError(f"shots must be a share below 1 or a whole number of examples, got {shots}")
    largest, alone = max(len(y) for _, y in pairs), sum(len(y) < 2 for _, y in pairs)
    if shots >= largest:
        raise ValueError(
            f"shots is {shots:g}, but the largest task has {largest} examples, of which one is to be asked about; give "
            "less, or a share such as 0.5"
        )
    if alone:
        warnings.warn(
            f"{alone} of {len(pairs)} tasks have one example, and so nothing to learn from; leave them out",
            stacklevel=3,
        )
    ways = 1 + max(int(y.max()) for _, y in pairs) if kind == "classification" else None
    splits = {
        name: Collection(name, [_tensors(pairs[n], kind) for n in numbers], kind, shots, ways, labels)
        for name, numbers in parts.items()
    }
    protocol = {
        **protocol,
        "tasks": {name: len(numbers) for name, numbers in parts.items()},
        "shots": shots,
        "labels": labels if kind == "classification" else None,
    }
    return TaskSource(splits["train"], splits["validation"], splits["test"], protocol)


def _arrays(number: int, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
    """One task's arrays, checked."""
    try:
        x, y = np.asarray(x), np.asarray(y)
    except (TypeError, ValueError) as error:
        raise TypeError(f"X and y of task {number} must hold numbers, in rows of one length: {error}") from error
    for name, array in (("X", x), ("y", y)):
        if array.dtype.kind not in "biuf":  # bool, integers, floating point
            raise TypeError(f"{name} of task {number} must hold real numbers, got {array.dtype}")
        with np.errstate(over="ignore"):  # float32 is what learners are given
            if not np.isfinite(array.astype(np.float32)).all():
                raise ValueError(
                    f"{name} of task {number} has a value that is not finite as float32; remove, impute or scale it"
                )
    if x.ndim < 1 or y.ndim < 1 or len(x) != len(y):
        raise ValueError(f"X and y of task {number} must be as long as one another, got {x.shape} and {y.shape}")
    if len(x) == 0:
        raise ValueError(f"task {number} has no examples")
    return x, y


def _tensors(pair: tuple[NDArray, NDArray], kind: Kind) -> tuple[Tensor, Tensor]:
    x, y = pair
    targets = torch.as_tensor(y.astype(np.int64 if kind == "classification" else np.float32))
    return torch.as_tensor(x.astype(np.float32)), targets
