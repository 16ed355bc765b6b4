"""Tasks from a table: one row an example, one column the task that it belongs to."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quickstudy.arguments import check_real, check_seed
from quickstudy.tasks.collection import Labels, check_kind, collections, part_tasks
from quickstudy.tasks.source import Kind, Split, TaskSource
from quickstudy.tasks.table_columns import TableColumns
from quickstudy.tasks.table_file import as_frame, check_columns, rows_by_task
from quickstudy.tasks.table_target import TableTarget, kind_of

__all__ = ["TableSource", "from_table"]


class TableSource(TaskSource):
    """Tasks that were made of a table.

    Args:
        train, validation, test, protocol: as those of any `TaskSource`.
        task: the column that names the task.
        columns: how the features became numbers.
        target: what the numbers of the target mean.
    """

    def __init__(
        self,
        train: Split,
        validation: Split,
        test: Split,
        protocol: dict[str, Any],
        task: str,
        columns: TableColumns,
        target: TableTarget,
    ) -> None:
        super().__init__(train, validation, test, protocol)
        self.task, self.columns, self.target = task, columns, target


def from_table(
    table: pd.DataFrame | Path | str,
    *,
    task: str,
    target: str,
    features: Sequence[str] | None = None,
    kind: Kind | None = None,
    shots: float = 0.5,
    labels: Labels = "shared",
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> TableSource:
    """Tasks from a CSV file or a data frame: the rows that share a value in the column `task` are one task.

    Numbers are standardised and missing ones set to the median (with a column that says so), text becomes one column
    per value (the hundred most frequent; the others share one); for regression the target is standardised. All of this
    is learned from the training tasks alone.

    Args:
        table: a data frame, or the path of a CSV file with a header.
        task: the column that names the task.
        target: the column to predict.
        features: the columns to predict it from; all others by default.
        kind: `classification` or `regression`; by default classification when the target is text, true/false, or
            integers of at most 20 different values.
        shots, labels, validation, test, seed: as in `from_arrays`.

    Returns:
        The tasks, and what rows that come later must go through (`estimators.TablePredictor`). `protocol` holds
        `target_mean` and `target_std` (regression) or `classes` (classification).

    Warns:
        UserWarning: rows without a task or a target; a column of words that most likely are no categories; tasks of
            one row.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing (the nearest name is suggested), a target that is not finite, too few tasks, or
            an argument that is none of those allowed.
    """
    if kind is not None:
        check_kind(kind)
    check_real(shots=shots, validation=validation, test=test)
    check_seed(seed)
    for name, column in (("task", task), ("target", target)):
        if not isinstance(column, str):
            raise TypeError(f"{name} must be the name of a column, got {column!r}")
    if features is not None and (not isinstance(features, list | tuple) or not features):
        raise TypeError(f"features must be a list of names of columns, got {features!r}")
    if task == target:
        raise ValueError(f"task and target must be two columns, got {task!r} for both")
    frame = as_frame(table)
    check_columns(frame, {"task": task, "target": target}, features)
    unknown = frame[task].isna() | frame[target].isna()
    if unknown.any():
        warnings.warn(
            f"{int(unknown.sum())} of {len(frame)} rows have no {task!r} or {target!r}; left out", stacklevel=2
        )
        frame = frame[~unknown]
    frame = frame.reset_index(drop=True)
    rows = list(rows_by_task(frame, task).values())
    parts = part_tasks(len(rows), validation, test, seed)
    training = np.concatenate([rows[number] for number in parts["train"]])

    chosen = [column for column in frame.columns if column not in (task, target)] if features is None else features
    if not list(chosen):
        raise ValueError(f"the table has no columns but {task!r} and {target!r}; none is left to predict from")
    columns = TableColumns.learned(frame[list(chosen)], training)
    kind = kind_of(frame[target]) if kind is None else kind
    meaning = TableTarget.learned(frame[target], training, kind)
    x, y = columns(frame), meaning(frame[target])
    protocol: dict[str, Any] = {"data": "table", "task": task, "target": target, "split_seed": seed}
    if meaning.classes is None:
        protocol |= {"target_mean": meaning.mean, "target_std": meaning.std}
    else:
        protocol["classes"] = meaning.classes
    pairs = [(x[index], y[index]) for index in rows]
    source = collections(pairs, parts, kind, shots, labels, protocol)
    return TableSource(source.train, source.validation, source.test, source.protocol, task, columns, meaning)
