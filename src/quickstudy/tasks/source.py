"""Where tasks come from: three disjoint splits, each a pure function from numbers to batches."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from quickstudy.tasks.batch import TaskBatch

__all__ = ["SPLITS", "Kind", "Sampler", "Split", "TaskSource"]

SPLITS = ("train", "validation", "test")

Kind: TypeAlias = Literal["classification", "binary", "regression"]

Batch = TypeVar("Batch")


class Sampler(ABC, Generic[Batch]):
    """Numbered draws. Getting one needs nothing but its number and a seed: there is no state to save or to share.

    Attributes:
        name: `train`, `validation` or `test`; part of the random stream, so equal numbers give different draws.
        size: how many different draws there are; None when they have no end.
    """

    name: str
    size: int | None = None

    @abstractmethod
    def draw(self, first: int, count: int, seed: int) -> Batch:
        """The draws `first` … `first + count − 1` of the stream that `seed` names, as one batch."""

    def sample(self, step: int, size: int, seed: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The batch of a training step: draws `step · size` onwards, or the part of them that process `rank` has.

        Raises:
            ValueError: `size` is not a positive multiple of `world` (a mean over processes would weigh tasks
                unequally).
        """
        if size < 1 or size % world:
            raise ValueError(f"batch_size must be a positive multiple of the number of processes ({world}), got {size}")
        part = size // world
        return self.draw(step * size + rank * part, part, seed)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {'without end' if self.size is None else f'size {self.size}'})"

    def to(self: Any, device: Any) -> Any:
        """The same draws with the data on `device`; a sampler without data is its own copy."""
        return self


class Split(Sampler[TaskBatch]):
    """The exchangeable tasks of one split.

    Attributes:
        kind: what the targets are.
        ways: the most classes that a task may have; None for regression.
    """

    kind: Kind
    ways: int | None = None


class TaskSource:
    """Tasks to train on, tasks to choose by, tasks to be judged by: three disjoint splits.

    Args:
        train, validation, test: a split, or a function that makes it when it is first asked for (a split that is never
            used need not be possible: training with 60 ways asks nothing of 20 test classes).
        protocol: what a reader must know to compare a score: data, split, ways, shots, resizing …
    """

    def __init__(
        self,
        train: Split | Callable[[], Split],
        validation: Split | Callable[[], Split],
        test: Split | Callable[[], Split],
        protocol: dict[str, Any] | None = None,
    ) -> None:
        self._splits: dict[str, Split | Callable[[], Split]] = {"train": train, "validation": validation, "test": test}
        self.protocol = protocol or {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.protocol.items())})"

    def _split(self, name: str) -> Split:
        split = self._splits[name]
        if not isinstance(split, Split):
            split = self._splits[name] = split()
        return split

    @property
    def train(self) -> Split:
        """Tasks to train on."""
        return self._split("train")

    @property
    def validation(self) -> Split:
        """Tasks to choose by."""
        return self._split("validation")

    @property
    def test(self) -> Split:
        """Tasks to be judged by."""
        return self._split("test")
