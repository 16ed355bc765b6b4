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
from quickstudy.tasks.tables import check_columns, class_numbers, kind_of, read_table, table_features

__all__ = ["TableTasks", "tasks_from_table"]


@dataclass(frozen=True)
class TableTasks(NamedTasks):
    """Named tasks that are columns of a table.

    Attributes:
        objectives: of every task: a yes or no (scored by AUC), classes (accuracy), or a number (rmse, in standard
            deviations of the training targets).
        about: by task, its `classes` in the order of their numbers, or the `mean` and `std` that its targets were
            standardised with.
    """

    objectives: dict[str, Objective]
    about: dict[str, dict[str, Any]]


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
    if not isinstance(table, pd.DataFrame | str | Path):
        raise TypeError(f"table must be a data frame or the path of a CSV file, got {type(table).__name__}")
    for name, given in (("targets", targets), ("features", features)):
        if given is None and name == "features":
            continue
        if not isinstance(given, list | tuple) or not given or not all(isinstance(each, str) for each in given):
            raise TypeError(f"{name} must be a list of names of columns, got {given!r}")
    frame = (table if isinstance(table, pd.DataFrame) else read_table(Path(table))).rename(columns=str)
    for target in targets:
        check_columns(frame, {"targets": target}, features)
    if len(set(targets)) < len(targets):
        raise ValueError(f"targets must be different columns, got {', '.join(targets)}")
    chosen = [column for column in frame.columns if column not in targets] if features is None else list(features)
    if not chosen:
        raise ValueError("targets names all columns of the table; none is left to predict them from")
    rows = part_rows(len(frame), validation, test, seed)
    known, objectives, about = {}, {}, {}
    for target in targets:
        known[target], objectives[target], about[target] = _target(frame[target], rows)
    x = as_inputs(table_features(frame[chosen].reset_index(drop=True), rows["train"]), "the table")
    parts = split_targets(x, known, rows)
    return TableTasks(parts.train, parts.validation, parts.test, objectives, about)


def _target(
    column: pd.Series, rows: Mapping[str, NDArray[np.int64]]
) -> tuple[tuple[NDArray[Any], NDArray[np.bool_]], Objective, dict[str, Any]]:
    """Targets and which there are, what they mean, and how they were made."""
    name, there = str(column.name), column.notna().to_numpy()
    if not there.any():
        raise ValueError(f"the target {name!r} has no value at all; leave it out")
    seen = column[there]
    training = there[rows["train"]]
    if seen.nunique() == 2 or kind_of(seen) == "classification":
        classes, numbers = class_numbers(seen)
        y = np.zeros(len(column), dtype=np.int64)
        y[there] = numbers
        if len(np.unique(y[rows["train"]][training])) < 2:
            raise ValueError(f"the target {name!r} has one value in all training rows; there is nothing to predict")
        binary = len(classes) == 2
        objective = Objective(Bernoulli(), metric="auc") if binary else Objective(Categorical(len(classes)))
        known = as_targets(name, y.astype(np.float32) if binary else y, there, len(y))
        return known, objective, {"classes": classes}
    values = pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan)
    if not np.isfinite(values[there]).all():
        raise ValueError(f"the target {name!r} has values that are not finite; remove those rows")
    mine = values[rows["train"]][training]
    mean, std = (float(mine.mean()), float(mine.std())) if len(mine) else (0.0, 0.0)
    if std == 0:
        raise ValueError(f"the target {name!r} has one value in all training rows; there is nothing to predict")
    standardised = ((values - mean) / std).astype(np.float32)
    return as_targets(name, standardised, None, len(values)), Objective(Gaussian()), {"mean": mean, "std": std}
