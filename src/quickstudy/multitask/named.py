"""A named, fixed set of tasks, each with a data set of its own.

Where exchangeable tasks are drawn and learned from a few examples, these are all there is: income and marital status,
left digit and right digit. A batch has some examples of every one of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from quickstudy.multitask.batch import NamedBatch
from quickstudy.multitask.checks import as_inputs, as_targets, check_sizes, parted
from quickstudy.multitask.mixed import MixedSplit, Sampling
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.source import SPLITS, Sampler

__all__ = ["NamedSplit", "NamedTasks", "named_tasks"]


class NamedSplit(Sampler[NamedBatch]):
    """Examples of several data sets side by side.

    In training every data set is gone through in shuffled rounds of its own, so that a small one comes round more
    often. In the other splits the draws follow the data, and those beyond the end of a data set are masked: the draws
    0 … size − 1 are every example exactly once.

    Args:
        name: the split's name.
        data: (x `[n, ...]`, y `[n, ...]`) of every task.
    """

    def __init__(self, name: str, data: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        self.name, self.data = name, dict(data)
        self.size = max(len(x) for x, _ in self.data.values())

    def to(self, device: Any) -> "NamedSplit":
        """The same examples on `device`."""
        return NamedSplit(self.name, {task: (x.to(device), y.to(device)) for task, (x, y) in self.data.items()})

    def draw(self, first: int, count: int, seed: int) -> NamedBatch:
        """The draws `first` … `first + count − 1` of every task."""
        training = self.name == "train"
        batch = {}
        for task, (x, y) in self.data.items():
            stream = f"named/{self.name}/{task}"
            rows = torch.from_numpy(draws.rounds(seed, stream, first, count, len(x), shuffle=training)).to(x.device)
            mask = torch.arange(first, first + count, device=x.device) < len(x)
            batch[task] = Examples(x[rows][None], y[rows][None], (mask | training)[None])
        return batch


@dataclass(frozen=True)
class NamedTasks:
    """The train, validation and test examples of named tasks."""

    train: Sampler[Any]
    validation: Sampler[Any]
    test: Sampler[Any]

    def mixed(self, sampling: Sampling = "proportional", temperature: float | None = None) -> "NamedTasks":
        """The same data sets drawn together: D = ∪ D_i, every draw an example of one task.

        Args:
            sampling: how the task of a draw is chosen, see `MixedSplit`.
            temperature: for `temperature` sampling.

        Raises:
            TypeError: the tasks share their inputs, so that there is nothing to draw.
        """
        splits = [self.train, self.validation, self.test]
        if not all(isinstance(split, NamedSplit) for split in splits):
            raise TypeError("mixed() draws from data sets that are separate; these tasks share their inputs")
        return NamedTasks(*(MixedSplit(split.name, split.data, sampling, temperature) for split in splits))  # type: ignore[attr-defined]


def named_tasks(
    data: Mapping[str, tuple[ArrayLike, ArrayLike]], *, validation: float = 0.2, test: float = 0.2, seed: int = 0
) -> NamedTasks:
    """Named tasks from arrays; the examples of each are parted at random.

    Args:
        data: (X `[n, ...]`, y `[n, ...]`) of every task; integer y are class numbers, and what is NaN in real y is
            missing: those examples are left out. The inputs of all tasks have one form, their numbers may differ.
        validation, test: shares of the examples that are held out.
        seed: draws which.

    Raises:
        ValueError: no task, lengths or forms that differ, inputs that are not finite, no target at all, or a split left
            empty; the message names the task.

    Warns:
        UserWarning: a task's targets are all the same, or one task has more than a hundred times as many as another.
    """
    if not data:
        raise ValueError("data is empty: there must be at least one task")
    parts: dict[str, dict[str, tuple[Tensor, Tensor]]] = {split: {} for split in SPLITS}
    form = None
    for task, (given, targets) in data.items():
        x = as_inputs(given, f"the task {task!r}")
        y, there = as_targets(task, targets, None, len(x))
        form = x.shape[1:] if form is None else form
        if x.shape[1:] != form:
            raise ValueError(f"the inputs of {task!r} have the form {x.shape[1:]}, those before it {form}")
        x, y = x[there], y[there]
        held = [round(share * len(x)) for share in (validation, test)]
        if min(*held, len(x) - sum(held)) < 1:
            raise ValueError(
                f"the task {task!r} has {len(x)} examples; shares of {validation} and {test} leave a split empty"
            )
        for split, rows in parted(len(x), validation, test, seed, f"part examples/{task}").items():
            parts[split][task] = (torch.as_tensor(x[rows]), torch.as_tensor(y[rows]))
    check_sizes({task: len(y) for task, (_, y) in parts["train"].items()})
    return NamedTasks(*(NamedSplit(split, parts[split]) for split in SPLITS))
