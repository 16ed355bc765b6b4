"""Tables as they are read, and whether they have the columns that are asked for."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

__all__ = ["check_columns", "read_table"]


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
