"""Several columns of one table as named tasks, predicted from the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quickstudy.arguments import check_real, check_seed
from quickstudy.multitask.checks import as_inputs, as_targets
from quickstudy.multitask.from_targets import part_rows, split_targets
from quickstudy.multitask.named import NamedTasks
from quickstudy.multitask.objective import Objective
from quickstudy.tasks.likelihood import Bernoulli, Categorical, Gaussian
from quickstudy.tasks.table_columns import TableColumns
from quickstudy.tasks.table_file import as_frame, check_columns
from quickstudy.tasks.table_target import TableTarget, kind_of

__all__ = ["TableTasks", "tasks_from_table"]


@dataclass(frozen=True)
class TableTasks(NamedTasks):
    """Named tasks that are columns of a table.

    Attributes:
        objectives: of every task: a yes or no (scored by AUC), classes (accuracy), or a number (rmse, in standard
            deviations of the training targets).
        columns: how the features became numbers.
        targets: what the numbers of every task's targets mean.
    """

    objectives: dict[str, Objective]
    columns: TableColumns
    targets: list[TableTarget]


def tasks_from_table(
    table: pd.DataFrame | Path | str,
    targets: Sequence[str],
    *,
    features: Sequence[str] | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> TableTasks:
    """Named tasks from a CSV file or a data frame: each column of `targets` is one, the rows are parted at random.

    A target that is missing is masked. A target of two values is a yes or no; of text, true/false or at most 20 whole
    numbers, a class; anything else a number. Features are as those of `tasks.from_table`: numbers standardised, a
    column for each value of a text; all is learned from the training rows.

    Args:
        table: a data frame, or the path of a CSV file with a header.
        targets: the columns to predict.
        features: the columns to predict them from; all others by default.
        validation, test: shares of the rows that are held out.
        seed: draws which.

    Raises:
        FileNotFoundError: no such file.
        TypeError: an argument of another type.
        ValueError: a column is missing (the nearest name is suggested), no target or feature, a target without a value
            in a split, or of one value in training.

    Warns:
        UserWarning: one task has more than a hundred times as many targets as another.
    """
    check_real(validation=validation, test=test)
    check_seed(seed)
    for name, given in (("targets", targets), ("features", features)):
        if given is None and name == "features":
            continue
        if not isinstance(given, list | tuple) or not given or not all(isinstance(each, str) for each in given):
            raise TypeError(f"{name} must be a list of names of columns, got {given!r}")
    frame = as_frame(table)
    for target in targets:
        check_columns(frame, {"targets": target}, features)
    if len(set(targets)) < len(targets):
        raise ValueError(f"targets must be different columns, got {', '.join(targets)}")
    chosen = [column for column in frame.columns if column not in targets] if features is None else list(features)
    if not chosen:
        raise ValueError("targets names all columns of the table; none is left to predict them from")
    rows = part_rows(len(frame), validation, test, seed)
    known, objectives, meanings = {}, {}, []
    for target in targets:
        known[target], objectives[target], meaning = _target(frame[target], rows)
        meanings.append(meaning)
    columns = TableColumns.learned(frame[chosen].reset_index(drop=True), rows["train"])
    parts = split_targets(as_inputs(columns(frame), "the table"), known, rows)
    return TableTasks(parts.train, parts.validation, parts.test, objectives, columns, meanings)


def _target(
    column: pd.Series, rows: Mapping[str, NDArray[np.int64]]
) -> tuple[tuple[NDArray[Any], NDArray[np.bool_]], Objective, TableTarget]:
    """Targets and which there are, what is asked of them, and what their numbers mean."""
    name, there = str(column.name), column.notna().to_numpy()
    if not there.any():
        raise ValueError(f"the target {name!r} has no value at all; leave it out")
    seen = column[there]
    training = np.isin(np.arange(len(column)), rows["train"])[there]
    kind = "classification" if seen.nunique() == 2 else kind_of(seen)
    meaning = TableTarget.learned(seen, training, kind)
    numbers = meaning(seen)
    if len(np.unique(numbers[training])) < 2:
        raise ValueError(f"the target {name!r} has one value in all training rows; there is nothing to predict")
    binary = meaning.classes is not None and len(meaning.classes) == 2
    y = np.zeros(len(column), dtype=np.float32 if meaning.classes is None or binary else np.int64)
    y[there] = numbers
    if meaning.classes is None:
        objective = Objective(Gaussian())
    else:
        objective = Objective(Bernoulli(), metric="auc") if binary else Objective(Categorical(len(meaning.classes)))
    return as_targets(name, y, there, len(y)), objective, meaning
