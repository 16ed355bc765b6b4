"""Trained models beside what was learned of their table: raw rows in, predictions in the table's own terms out."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quickstudy.learners import Learner
from quickstudy.multitask import NamedModule, TableTasks
from quickstudy.networks import evaluating
from quickstudy.rebuild import register
from quickstudy.tasks import Examples, TableColumns, TableSource, TableTarget, pad
from quickstudy.tasks.table_file import as_frame, check_columns, rows_by_task

__all__ = ["TablePredictor", "TargetsPredictor"]

Places: TypeAlias = NDArray[np.int64]

# What is predicted at a time: tasks of about one size, padded to that of the largest, or rows.
_TASKS, _ROWS = 64, 4096


@register
class TablePredictor(nn.Module):
    """A learner for tasks that are rows of a table, such as those of `tasks.from_table`; `of` makes it.

    `quickstudy.save` writes it to one file, with all that rows of a new task must go through.

    Args:
        learner: what learns a task from its rows.
        task: the column that names the task.
        columns: how the features become numbers.
        target: what is predicted.
        shared: for classification, whether classes mean the same in every task.
    """

    def __init__(
        self, learner: Learner, task: str, columns: TableColumns, target: TableTarget, shared: bool = True
    ) -> None:
        super().__init__()
        self.learner, self.task, self.columns, self.target, self.shared = learner, task, columns, target, shared

    @classmethod
    def of(cls, learner: Learner, source: TableSource) -> "TablePredictor":
        """The learner beside what `from_table` learned of the table that it was trained on.

        Raises:
            TypeError: it is no learner, or the source is not of a table.
            ValueError: the learner is for another kind of target.
        """
        if not isinstance(learner, Learner):
            raise TypeError(f"learner must be a Learner, got {type(learner).__name__}")
        if not isinstance(source, TableSource):
            raise TypeError(f"source must be what tasks.from_table returned, got {type(source).__name__}")
        if learner.likelihood.kind != source.train.kind:
            raise ValueError(
                f"the learner is for {learner.likelihood.kind}, but the target {source.target.name!r} is for "
                f"{source.train.kind}; give the learner that was trained on these tasks"
            )
        return cls(learner, source.task, source.columns, source.target, source.protocol["labels"] != "own")

    @torch.no_grad()
    def predict(self, table: pd.DataFrame | Path | str) -> pd.DataFrame:
        """What is missing in the column of the target, from the rows of the same task where it is there.

        Args:
            table: a data frame, or the path of a CSV file, with the columns of the table that was learned from.

        Returns:
            A row for each row without a target, under its index: the task, and the prediction. A quantity is its
            mean, and its standard deviation where the learner predicts that; of classes the most probable, and the
            probability of each.

        Raises:
            ValueError: a column is missing, a row names no task, every row has a target, or holds what was not there
                when the table was learned; or a task has no row to learn from and the learner needs one.
        """
        task, name = self.task, self.target.name
        frame = _some_rows(table)
        if name not in frame.columns:
            raise ValueError(f"the table has no column {name!r}; add it, empty where it is to be predicted")
        check_columns(frame, {"task": task, "target": name}, None)
        if frame[task].isna().any():
            raise ValueError(f"{int(frame[task].isna().sum())} rows have no {task!r}; name the task of each")
        asked = frame[name].isna().to_numpy()
        if not asked.any():
            raise ValueError(f"no row is without {name!r}; leave it empty where it is to be predicted")
        device, precision = _weights(self.learner)
        x = torch.from_numpy(self.columns(frame)).to(device, precision)
        y = torch.zeros(len(frame), device=device, dtype=precision if self.target.classes is None else torch.int64)
        y[torch.from_numpy(~asked)] = torch.from_numpy(self.target(frame.loc[~asked, name])).to(y)
        rows = {whose: own for whose, own in rows_by_task(frame, task).items() if asked[own].any()}
        if self.target.classes is not None and not self.shared:
            strangers = [whose for whose, own in rows.items() if asked[own].all()]
            if strangers:
                raise ValueError(
                    f"the {task} {strangers[0]!r} has no row with a {name!r}: classes are each task's own here, and "
                    "nothing tells which there are"
                )
        found = []
        with evaluating(self):
            for some in _alike(list(rows.values())):
                known, sought = ([own[part[own]] for own in some] for part in (~asked, asked))
                found.append(self._predicted(x, y, known, sought))
        predictions = pd.concat(found).sort_index()
        predictions.index = frame.index[asked]
        return pd.concat([frame.loc[asked, [task]], predictions], axis=1)

    def _predicted(self, x: Tensor, y: Tensor, known: list[Places], sought: list[Places]) -> pd.DataFrame:
        """Predictions of the rows of each task that are asked about, by their places."""
        (support, real), (targets, _) = (pad([of[places] for places in known]) for of in (x, y))
        query, mask = pad([x[places] for places in sought])
        classes = None
        if self.target.classes is not None and self.shared:
            classes = torch.ones(len(known), len(self.target.classes), dtype=torch.bool, device=x.device)
        phi = self.learner.adapt(Examples(support, targets, real), classes)
        found = self.target.readable(self.learner.predict(phi, query, mask), self.learner.likelihood)
        here = mask.cpu().numpy()
        return pd.DataFrame({name: values[here] for name, values in found.items()}, index=np.concatenate(sought))


@register
class TargetsPredictor(nn.Module):
    """A module for tasks that are columns of a table, such as those of `multitask.tasks_from_table`; `of` makes it.

    Args:
        module: what predicts all of them.
        columns: how the features become numbers.
        targets: what is predicted.
    """

    def __init__(self, module: NamedModule, columns: TableColumns, targets: list[TableTarget]) -> None:
        super().__init__()
        self.module, self.columns, self.targets = module, columns, targets

    @classmethod
    def of(cls, module: NamedModule, tasks: TableTasks) -> "TargetsPredictor":
        """The module beside what `tasks_from_table` learned of the table that it was trained on.

        Raises:
            TypeError: it is no such module, or the tasks are not of a table.
            ValueError: the module lacks a task.
        """
        if not isinstance(module, NamedModule):
            raise TypeError(f"module must be a NamedModule such as SharedBottom, got {type(module).__name__}")
        if not isinstance(tasks, TableTasks):
            raise TypeError(f"tasks must be what multitask.tasks_from_table returned, got {type(tasks).__name__}")
        lacking = [target.name for target in tasks.targets if target.name not in module.tasks]
        if lacking:
            raise ValueError(f"the module has no task {lacking[0]!r}; it has {', '.join(module.tasks)}")
        return cls(module, tasks.columns, tasks.targets)

    @torch.no_grad()
    def predict(self, table: pd.DataFrame | Path | str) -> pd.DataFrame:
        """Every target, of every row.

        Args:
            table: a data frame, or the path of a CSV file, with the columns that the targets are predicted from.

        Returns:
            A row for each row, under its index: for each target what `TablePredictor.predict` gives of one.

        Raises:
            ValueError: a column is missing, or holds what was not there when the table was learned.
        """
        frame = _some_rows(table)
        device, precision = _weights(self.module)
        x = torch.from_numpy(self.columns(frame)).to(device, precision)
        with evaluating(self):
            parts = [self._predicted(part) for part in x.split(_ROWS)]
        return pd.concat(parts, ignore_index=True).set_axis(frame.index)

    def _predicted(self, x: Tensor) -> pd.DataFrame:
        parts = []
        for target in self.targets:
            likelihood = self.module.objectives[target.name].likelihood
            found = target.readable(self.module.predict(target.name, x[None]), likelihood)
            parts.append(pd.DataFrame({name: values[0] for name, values in found.items()}))
        return pd.concat(parts, axis=1)


def _weights(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where they are, and in what precision."""
    first = next((leaf for leaf in chain(module.parameters(), module.buffers()) if leaf.is_floating_point()), None)
    return (torch.device("cpu"), torch.float32) if first is None else (first.device, first.dtype)


def _alike(rows: list[Places]) -> Iterator[list[Places]]:
    """Tasks of about one size, so that padding costs no more than they do."""
    rows, begin = sorted(rows, key=len), 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or end - begin == _TASKS or len(rows[end]) > 2 * len(rows[begin]) + 8:
            yield rows[begin:end]
            begin = end


def _some_rows(table: Any) -> pd.DataFrame:
    frame = as_frame(table)
    if not len(frame):
        raise ValueError("the table has no rows")
    return frame
