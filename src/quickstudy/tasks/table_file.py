"""Tables as they are given: read, checked for the columns that are asked for, and parted by the task of each row."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["as_frame", "check_columns", "read_table", "rows_by_task"]


def as_frame(table: Any) -> pd.DataFrame:
    """A data frame, or the CSV file at a path, whose columns have texts for names.

    Raises:
        TypeError, FileNotFoundError, ValueError: it is neither, there is no such file, or it is no table.
    """
    if not isinstance(table, pd.DataFrame | str | Path):
        raise TypeError(f"table must be a data frame or the path of a CSV file, got {type(table).__name__}")
    frame = table if isinstance(table, pd.DataFrame) else read_table(Path(table))
    return frame.rename(columns=str)


def rows_by_task(frame: pd.DataFrame, task: str) -> dict[Any, NDArray[np.int64]]:
    """The places of each task's rows, by what the column `task` calls it.

    Raises:
        TypeError: it holds what names nothing, such as lists.
    """
    try:
        return frame.groupby(task, sort=True, observed=True).indices
    except TypeError as error:
        raise TypeError(f"the task column {task!r} holds values that do not name tasks: {error}") from error


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file with a header.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is no table.
    """
    if not path.exists():
        raise FileNotFoundError(f"no table at {path}")
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what has no name for names of rows
        raise ValueError(
            f"{path} has rows with more values than its header has names ({', '.join(map(str, frame.columns[:20]))}); "
            "name every column, and remove commas at the ends of rows"
        )
    return frame


def check_columns(frame: pd.DataFrame, roles: dict[str, str], features: Sequence[str] | None) -> None:
    """Whether the table has the columns that are named; `roles` are names by what they are given for.

    Raises:
        ValueError: one is missing (the nearest name is suggested), stands there twice, or is target and feature at
            once.
    """
    names = [*roles.items(), *(("features", name) for name in features or ())]
    for role, name in names:
        if list(frame.columns).count(name) > 1:
            raise ValueError(f"{role} names the column {name!r}, which the table has more than once; rename one")
        if name not in frame.columns:
            near = difflib.get_close_matches(str(name), [str(column) for column in frame.columns], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(map(str, frame.columns[:20]))}"
            raise ValueError(f"{role} names the column {name!r}, which the table does not have{hint}")
        if role == "features" and name in roles.values():
            raise ValueError(f"features must not hold the task or target column {name!r}")
