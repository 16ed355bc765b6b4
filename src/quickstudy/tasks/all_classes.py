"""Examples of all training classes at once, as supervised learning has them: no episodes, one label space."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.arguments import check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.episodes import ClassSampling, as_floats
from quickstudy.tasks.source import Split

__all__ = ["AllClasses"]


class AllClasses(Split):
    """A stream of "tasks" that are just examples with the numbers of their classes, among all classes of a split.

    What plain pre-training learns from. A task has no support, and `size` query examples, drawn with replacement.

    Args:
        name: the split's name.
        examples: `[example, ...]`, the tensor to gather from.
        table: `[class, most]`, the rows of `examples` of each class, −1 where it has no more.
        names: the classes' names.
        size: examples per task.
        sampling: `proportional` draws among all examples, `uniform` first a class and then one of its examples.

    Raises:
        ValueError: a size below one, or an unknown sampling.
    """

    kind = "classification"

    def __init__(
        self,
        name: str,
        examples: Tensor,
        table: NDArray[np.int64],
        names: Sequence[str],
        size: int,
        sampling: ClassSampling = "proportional",
    ) -> None:
        check_whole(size=size)
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if sampling not in ("proportional", "uniform"):
            raise ValueError(f"sampling must be 'proportional' or 'uniform', got {sampling!r}")
        self.name, self.examples, self.table, self.names = name, examples, table, tuple(names)
        self.examples_per_task, self.sampling, self.ways = size, sampling, len(names)
        self._sizes = (table >= 0).sum(1)
        if not self._sizes.all():
            raise ValueError(f"the class {names[int(self._sizes.argmin())]!r} of the {name} split has no example")
        self._classes, self._columns = np.nonzero(table >= 0)

    def to(self, device: Any) -> "AllClasses":
        """The same draws, gathered on `device`."""
        moved = copy.copy(self)
        moved.examples = self.examples.to(device)
        return moved

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The draws `first` … `first + count − 1`; images come as floats in [0, 1]."""
        size, device = self.examples_per_task, self.examples.device
        numbers = draws.uniforms(seed, f"all classes/{self.name}", first, count, 2 * size)
        which, member = numbers[:, :size], numbers[:, size:]
        if self.sampling == "proportional":
            place = draws.integers(which, 0, len(self._classes) - 1)
            labels, columns = self._classes[place], self._columns[place]
        else:
            labels = draws.integers(which, 0, len(self.names) - 1)
            columns = draws.integers(member, 0, self._sizes[labels] - 1)
        rows = torch.from_numpy(self.table[labels, columns]).to(device)
        x = as_floats(self.examples.index_select(0, rows.flatten()).unflatten(0, rows.shape))
        y = torch.from_numpy(labels).to(device)
        query = Examples(x, y, torch.ones_like(y, dtype=torch.bool))
        classes = torch.ones(count, len(self.names), dtype=torch.bool, device=device)
        return TaskBatch(query.map(lambda leaf: leaf[:, :0]), query, classes)
