"""Episodes: N-way K-shot classification tasks drawn from the classes of one split.

Which classes, which examples, which class gets which number and in what order the examples stand: all are a pure
function of the task's number and the seed (a `Plan`). A batch is then one gather from the tensor of examples.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.source import Split

__all__ = ["ClassSampling", "EpisodeShape", "Episodes", "Plan", "Range", "as_floats"]

ClassSampling: TypeAlias = Literal["uniform", "proportional"]
"""Whether a class is drawn as often as any other, or in proportion to its number of examples."""

Range: TypeAlias = int | tuple[int, int]
"""A fixed number, or (least, most) for a uniform draw."""


@dataclass(frozen=True)
class EpisodeShape:
    """How many classes, and how many examples of each.

    Attributes:
        ways: classes per task.
        shots: support examples per class; every class draws its own number. 0 is allowed.
        queries: query examples per class, likewise.
        separate_groups: support and query of a class come from different groups of the pool (see `ClassPool.groups`).
    """

    ways: Range
    shots: Range
    queries: Range
    separate_groups: bool = False

    def __post_init__(self) -> None:
        for name, least in (("ways", 1), ("shots", 0), ("queries", 1)):
            value = getattr(self, name)
            low, high = bounds(value)
            whole = all(isinstance(end, Integral) and not isinstance(end, bool) for end in (low, high))
            if not (whole and least <= low <= high):
                raise ValueError(
                    f"{name} must be an integer of at least {least}, or a pair (least, most) of such, got {value!r}"
                )


def bounds(value: Range) -> tuple[int, int]:
    """(least, most) of a range."""
    return (value[0], value[1]) if isinstance(value, tuple) and len(value) == 2 else (value, value)


@dataclass(frozen=True)
class Plan:
    """Which examples make up T tasks; rows of the pool's `examples`, −1 where there is none.

    Attributes:
        classes: `[task, way]`, positions in the split's list of classes; the position in this axis is the label.
        support, query: `[task, n]` rows of examples.
        support_labels, query_labels: `[task, n]` labels, 0 where there is no example.
    """

    classes: NDArray[np.int64]
    support: NDArray[np.int64]
    support_labels: NDArray[np.int64]
    query: NDArray[np.int64]
    query_labels: NDArray[np.int64]


class Episodes(Split):
    """An endless stream of episodes from the classes of one split, and from no others.

    Args:
        name: the split's name.
        examples: `[example, ...]`, the tensor to gather from.
        table: `[class, most]`, the rows of `examples` of each class of this split, −1 where it has no more.
        names: the classes' names.
        shape: ways, shots, queries.
        groups: `[example]`, needed when support and query come from different groups.
        class_sampling: draw every class equally often, or in proportion to its number of examples.

    Raises:
        ValueError: the split has too few classes, or a class has too few examples (the message names it).
    """

    kind = "classification"

    def __init__(
        self,
        name: str,
        examples: Tensor,
        table: NDArray[np.int64],
        names: Sequence[str],
        shape: EpisodeShape,
        groups: NDArray[np.int64] | None = None,
        class_sampling: ClassSampling = "uniform",
    ) -> None:
        if class_sampling not in ("uniform", "proportional"):
            raise ValueError(f"class_sampling must be 'uniform' or 'proportional', got {class_sampling!r}")
        self.class_sampling = class_sampling
        self.name, self.examples, self.table, self.names, self.shape = name, examples, table, tuple(names), shape
        self.ways = ways = bounds(shape.ways)[1]
        if ways > len(names):
            raise ValueError(f"ways is {ways}, but the {name} split has {len(names)} classes")
        self._sizes = (table >= 0).sum(1)
        self._groups = _local_groups(table, groups) if shape.separate_groups else None
        if shape.separate_groups and groups is None:
            raise ValueError("separate_groups needs a pool whose examples have groups; this one has none")
        self._check_sizes()

    def _check_sizes(self) -> None:
        shots, queries = bounds(self.shape.shots)[0], bounds(self.shape.queries)[0]
        if self._groups is None:
            for name, size in zip(self.names, self._sizes, strict=True):
                if size < shots + queries:
                    raise ValueError(
                        f"the class {name!r} of the {self.name} split has {size} examples, but {shots} shots and "
                        f"{queries} queries take {shots + queries}: {shots + queries - size} are lacking"
                    )
            return
        for name, row in zip(self.names, self._groups, strict=True):
            # The half of the groups that happens to be drawn may be the one with the fewest examples.
            each = np.sort(np.bincount(row[row >= 0]))
            for role, wanted, has in (
                ("shots", shots, int(each[: (len(each) + 1) // 2].sum())),
                ("queries", queries, int(each[: len(each) // 2].sum())),
            ):
                if has < wanted:
                    raise ValueError(
                        f"the class {name!r} of the {self.name} split has groups of {each.tolist()} examples; when "
                        f"support and query come from different groups, {wanted} {role} may lack {wanted - has}"
                    )

    def to(self, device: Any) -> "Episodes":
        """The same episodes, gathered on `device`."""
        moved = copy.copy(self)
        moved.examples = self.examples.to(device)
        return moved

    def with_classes(self, count: int) -> "Episodes":
        """Episodes of the same form from `count` of the classes, the same ones every time.

        Raises:
            ValueError: fewer classes than an episode has ways, or more than there are.
        """
        ways = bounds(self.shape.ways)[1]
        if not ways <= count <= len(self.names):
            raise ValueError(f"count must be between {ways} (ways) and {len(self.names)} (classes), got {count}")
        rows = np.sort(np.argsort(draws.uniforms(0, "with classes", 0, 1, len(self.names))[0])[:count])
        fewer = copy.copy(self)
        fewer.table, fewer.names = self.table[rows], tuple(self.names[row] for row in rows)
        fewer._sizes, fewer._groups = self._sizes[rows], None if self._groups is None else self._groups[rows]
        return fewer

    def plan(self, first: int, count: int, seed: int) -> Plan:
        """Which examples the tasks `first` … `first + count − 1` are made of."""
        (ways_low, ways), (shots_low, shots_high) = bounds(self.shape.ways), bounds(self.shape.shots)
        queries_low, queries_high = bounds(self.shape.queries)
        most = self.table.shape[1]
        groups = 0 if self._groups is None else int(self._groups.max()) + 1
        columns = {
            "ways": 1,
            "classes": 2 * ways if self.class_sampling == "uniform" else len(self.names),
            "shots": ways,
            "queries": ways,
            "examples": ways * most,
            "groups": ways * groups,
            "support": ways * shots_high,
            "query": ways * queries_high,
        }
        numbers = draws.uniforms(seed, f"episodes/{self.name}", first, count, sum(columns.values()))
        ends = np.cumsum(list(columns.values()))
        uniform = dict(zip(columns, np.split(numbers, ends[:-1], axis=1), strict=True))

        way = draws.integers(uniform["ways"][:, 0], ways_low, ways)
        if self.class_sampling == "uniform":
            classes = draws.distinct(uniform["classes"], len(self.names))
        else:
            classes = draws.weighted(uniform["classes"], self._sizes, ways)
        classes[np.arange(ways) >= way[:, None]] = -1
        present, rows = classes >= 0, np.maximum(classes, 0)

        # Every class puts its examples in random order (what it does not have goes last); the support is taken from
        # the front, the query from `start` on.
        keys = uniform["examples"].reshape(count, ways, most) + 4.0 * (self.table[rows] < 0)
        if self._groups is None:
            room = self._sizes[rows]
            shots = draws.integers(uniform["shots"], shots_low, np.minimum(shots_high, room - queries_low))
            start, room = shots, room - shots
        else:
            far = _query_side(uniform["groups"].reshape(count, ways, groups), self._groups[rows])
            keys += far
            start = ((~far) & (self.table[rows] >= 0)).sum(-1)
            room = far.sum(-1)
            shots = draws.integers(uniform["shots"], shots_low, np.minimum(shots_high, start))
        queries = draws.integers(uniform["queries"], queries_low, np.minimum(queries_high, room))
        order = np.take_along_axis(self.table[rows], np.argsort(keys, -1), -1)

        support = _take(order, np.zeros_like(start), np.where(present, shots, 0), shots_high)
        query = _take(order, start, np.where(present, queries, 0), queries_high)
        return Plan(classes, *_shuffled(support, uniform["support"]), *_shuffled(query, uniform["query"]))

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The tasks `first` … `first + count − 1`; images come as floats in [0, 1]."""
        plan = self.plan(first, count, seed)
        device, length = self.examples.device, plan.support.shape[1]
        index = torch.from_numpy(np.concatenate([plan.support, plan.query], 1)).to(device)
        labels = torch.from_numpy(np.concatenate([plan.support_labels, plan.query_labels], 1)).to(device)
        x = as_floats(self.examples.index_select(0, index.clamp(min=0).flatten())).unflatten(0, index.shape)
        mask = index >= 0
        classes = torch.from_numpy(plan.classes >= 0).to(device)
        return TaskBatch(
            Examples(x[:, :length], labels[:, :length], mask[:, :length]),
            Examples(x[:, length:], labels[:, length:], mask[:, length:]),
            classes,
        )


def as_floats(examples: Tensor) -> Tensor:
    """Examples as learners get them: uint8 as floats in [0, 1], all else as it is."""
    # One pass; converting and then dividing takes ten times as long.
    return examples * (1 / 255) if examples.dtype == torch.uint8 else examples


def _local_groups(table: NDArray[np.int64], groups: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """`[class, most]`: every example's group, numbered from 0 within its class; −1 where there is no example."""
    if groups is None:
        return None
    local = np.full_like(table, -1)
    for row, members in enumerate(table):
        real = members >= 0
        local[row, real] = np.unique(groups[members[real]], return_inverse=True)[1]
    return local


def _query_side(uniform: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """`[task, way, most]`: the examples of the half of the groups, drawn at random, that the query is taken from.

    Args:
        uniform: `[task, way, group]`.
        groups: `[task, way, most]` group numbers, −1 where there is no example.
    """
    number = groups.max(-1, keepdims=True) + 1
    keys = np.where(np.arange(uniform.shape[-1]) < number, uniform, 2.0)
    rank = np.argsort(np.argsort(keys, -1), -1)
    far = rank >= (number + 1) // 2
    return np.take_along_axis(far, np.maximum(groups, 0), -1) & (groups >= 0)


def _take(
    order: NDArray[np.int64], start: NDArray[np.int64], number: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """`[task, way, most]`: `number` entries of the last axis of `order` from `start` on, −1 beyond."""
    offset = np.arange(most)
    index = np.minimum(start[..., None] + offset, order.shape[-1] - 1)
    return np.where(offset < number[..., None], np.take_along_axis(order, index, -1), -1)


def _shuffled(chosen: NDArray[np.int64], uniform: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and labels `[task, n]` in random order, padding at the end."""
    tasks, ways, each = chosen.shape
    flat = chosen.reshape(tasks, ways * each)
    labels = np.broadcast_to(np.repeat(np.arange(ways), each), flat.shape)
    order = np.argsort(uniform + 2.0 * (flat < 0), -1)
    rows = np.take_along_axis(flat, order, -1)
    return rows, np.where(rows >= 0, np.take_along_axis(labels, order, -1), 0)
