"""Trained models beside what was learned of their table: raw rows in, predictions in the table's own terms out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from quickstudy.learners import Learner
from quickstudy.multitask import NamedModule, TableTasks
from quickstudy.networks import evaluating
from quickstudy.rebuild import register
from quickstudy.tasks import Examples, TableColumns, TableSource, TableTarget, pad
from quickstudy.tasks.table_file import check_columns, read_table

__all__ = ["TablePredictor", "TargetsPredictor"]

_TASKS_AT_ONCE = 64


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
            TypeError: the source is not of a table.
        """
        if not isinstance(learner, Learner):
            raise TypeError(f"learner must be a Learner, got {type(learner).__name__}")
        if not isinstance(source, TableSource):
            raise TypeError(f"source must be what tasks.from_table returned, got {type(source).__name__}")
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
        name = self.target.name
        frame = _frame(table)
        check_columns(frame, {"task": self.task, "target": name}, None)
        if frame[self.task].isna().any():
            raise ValueError(f"{int(frame[self.task].isna().sum())} rows have no {self.task!r}; name the task of each")
        asked = frame[name].isna().to_numpy()
        if not asked.any():
            raise ValueError(f"no row is without {name!r}; leave it empty where it is to be predicted")
        x = torch.from_numpy(self.columns(frame).astype(np.float32))
        kind = torch.int64 if self.target.classes is not None else torch.float32
        y = torch.zeros(len(frame), dtype=kind)
        y[~asked] = torch.from_numpy(self.target(frame.loc[~asked, name])).to(kind)
        rows = [own for own in frame.groupby(self.task, sort=False, observed=True).indices.values() if asked[own].any()]
        parts = []
        with evaluating(self):
            for first in range(0, len(rows), _TASKS_AT_ONCE):
                some = rows[first : first + _TASKS_AT_ONCE]
                known = [own[~asked[own]] for own in some]
                parts.append(self._predicted(x, y, known, [own[asked[own]] for own in some]))
        found = pd.concat(parts).sort_index()
        found.index = frame.index[asked]
        return pd.concat([frame.loc[asked, [self.task]], found], axis=1)

    def _predicted(self, x: Tensor, y: Tensor, known: list[np.ndarray], asked: list[np.ndarray]) -> pd.DataFrame:
        """Predictions of the rows of each task that are asked about, by their places."""
        device = next((leaf.device for leaf in self.learner.parameters()), torch.device("cpu"))
        support, real = pad([x[places] for places in known])
        targets, _ = pad([y[places] for places in known])
        query, mask = pad([x[places] for places in asked])
        classes = None
        if self.target.classes is not None and self.shared:
            classes = torch.ones(len(known), len(self.target.classes), dtype=torch.bool, device=device)
        phi = self.learner.adapt(Examples(support, targets, real).to(device), classes)
        prediction = self.learner.predict(phi, query.to(device), mask.to(device))
        found = self.target.readable(prediction, self.learner.likelihood)
        here = mask.numpy()
        return pd.DataFrame({name: values[here] for name, values in found.items()}, index=np.concatenate(asked))


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
            TypeError: the tasks are not of a table.
        """
        if not isinstance(tasks, TableTasks):
            raise TypeError(f"tasks must be what multitask.tasks_from_table returned, got {type(tasks).__name__}")
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
        frame = _frame(table)
        device = next(leaf.device for leaf in self.module.parameters())
        x = torch.from_numpy(self.columns(frame).astype(np.float32)).to(device)
        found: dict[str, np.ndarray] = {}
        with evaluating(self):
            for target in self.targets:
                likelihood = self.module.objectives[target.name].likelihood
                found |= target.readable(self.module.predict(target.name, x[None]), likelihood)
        return pd.DataFrame({name: values[0] for name, values in found.items()}, index=frame.index)


def _frame(table: Any) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame | str | Path):
        raise TypeError(f"table must be a data frame or the path of a CSV file, got {type(table).__name__}")
    frame = table if isinstance(table, pd.DataFrame) else read_table(Path(table))
    if not len(frame):
        raise ValueError("the table has no rows")
    return frame.rename(columns=str)
