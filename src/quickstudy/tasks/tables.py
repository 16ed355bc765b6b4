"""Tasks from a table: one row an example, one column the task that it belongs to."""

import difflib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from quickstudy.arguments import check_real, check_seed
from quickstudy.tasks.collection import Labels, check_kind, collections, part_tasks
from quickstudy.tasks.source import Kind, TaskSource

__all__ = ["check_columns", "class_numbers", "from_table", "kind_of", "read_table", "table_features"]

# An integer target with more values than this is taken for a quantity.
_MOST_CLASSES = 20
# A text with more values than this is a name or a date; the rarer ones share a column.
_MOST_VALUES = 101


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
) -> TaskSource:
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
        The tasks. `protocol` holds `target_mean` and `target_std` (regression) or `classes` (classification).

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
    if not isinstance(table, pd.DataFrame | str | Path):
        raise TypeError(f"table must be a data frame or the path of a CSV file, got {type(table).__name__}")
    if task == target:
        raise ValueError(f"task and target must be two columns, got {task!r} for both")
    frame = table if isinstance(table, pd.DataFrame) else read_table(Path(table))
    frame = frame.rename(columns=str)
    check_columns(frame, {"task": task, "target": target}, features)
    unknown = frame[task].isna() | frame[target].isna()
    if unknown.any():
        warnings.warn(
            f"{int(unknown.sum())} of {len(frame)} rows have no {task!r} or {target!r}; left out", stacklevel=2
        )
        frame = frame[~unknown]
    frame = frame.reset_index(drop=True)
    try:
        rows = list(frame.groupby(task, sort=True, observed=True).indices.values())
    except TypeError as error:
        raise TypeError(f"the task column {task!r} holds values that do not name tasks: {error}") from error
    parts = part_tasks(len(rows), validation, test, seed)
    training = np.concatenate([rows[number] for number in parts["train"]])

    chosen = [column for column in frame.columns if column not in (task, target)] if features is None else features
    if not list(chosen):
        raise ValueError(f"the table has no columns but {task!r} and {target!r}; none is left to predict from")
    x = table_features(frame[list(chosen)], training)
    protocol: dict[str, Any] = {"data": "table", "task": task, "target": target, "split_seed": seed}
    kind = kind_of(frame[target]) if kind is None else kind
    if kind == "classification":
        protocol["classes"], y = class_numbers(frame[target])
    else:
        try:
            y = pd.to_numeric(frame[target]).to_numpy(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the target {target!r} does not hold numbers, as regression wants: {error}") from error
        if not np.isfinite(y).all():
            raise ValueError(f"the target {target!r} has values that are not finite; remove those rows")
        mean, std = float(y[training].mean()), float(y[training].std())
        if std == 0:
            raise ValueError(f"the target {target!r} has one value in all training tasks; there is nothing to predict")
        y = (y - mean) / std
        protocol |= {"target_mean": mean, "target_std": std}
    pairs = [(x[index], y[index]) for index in rows]
    return collections(pairs, parts, kind, shots, labels, protocol)


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file with a header.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is no table.
    """
    if not path.exists():
        raise FileNotFoundError(f"no table at {path}")
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error


def check_columns(frame: pd.DataFrame, roles: dict[str, str], features: Sequence[str] | None) -> None:
    """Whether the table has the columns that are named; `roles` are names by what they are given for.

    Raises:
        ValueError: one is missing (the nearest name is suggested), or is target and feature at once.
    """
    names = [*roles.items(), *(("features", name) for name in features or ())]
    for role, name in names:
        if name not in frame.columns:
            near = difflib.get_close_matches(str(name), [str(column) for column in frame.columns], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(map(str, frame.columns[:20]))}"
            raise ValueError(f"{role} names the column {name!r}, which the table does not have{hint}")
        if role == "features" and name in roles.values():
            raise ValueError(f"features must not hold the task or target column {name!r}")


def table_features(frame: pd.DataFrame, training: np.ndarray) -> np.ndarray:
    """`[row, feature]`; what is fitted is fitted on the rows `training`."""
    # Yes and no as numbers; pandas has two kinds, one of which knows missing values.
    frame = frame.astype(dict.fromkeys(frame.select_dtypes(["bool", "boolean"]).columns, "Float64"))
    numbers = list(frame.select_dtypes("number").columns)
    words = [column for column in frame.columns if column not in numbers]
    for column in numbers:
        # Missing is NaN, and imputed; what is beyond float32 would be infinite to a learner.
        if (frame[column].abs() > np.finfo(np.float32).max).any():
            raise ValueError(f"the column {column!r} of the features has a value that is not finite as float32")
    transform = make_column_transformer(
        # The imputer would drop a column that is empty in the training tasks; without values it tells nothing.
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        (
            OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=_MOST_VALUES, sparse_output=False),
            words,
        ),
    )
    for word in words:
        _warn_of_words(frame[word])
    frame = frame.assign(
        **{word: frame[word].astype(object).where(frame[word].notna(), "missing").astype(str) for word in words}
    )
    transform.fit(frame.iloc[training])
    return np.asarray(transform.transform(frame), dtype=np.float64)


def class_numbers(target: pd.Series) -> tuple[list[str], NDArray[np.int64]]:
    """The names of the classes, in the order of their numbers, and the number of each row's; none is missing.

    Raises:
        ValueError: most rows have a class of their own.
    """
    if _is_number(target):
        values, numbers = np.unique(target.to_numpy(np.float64) + 0.0, return_inverse=True)  # −0 is 0
        names = [f"{value:.15g}" for value in values]
    else:
        words, numbers = np.unique(target.astype(str), return_inverse=True)
        names = words.tolist()
    if len(names) > max(_MOST_CLASSES, len(target) / 2):
        hint = "" if _is_number(target) else _numbers_in(target.astype(str))
        raise ValueError(
            f"the target {str(target.name)!r} has {len(names)} different values in {len(target)} rows, such as "
            f"{names[0]!r}: as classes, they cannot be learned{hint}"
        )
    return names, numbers


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _warn_of_words(column: pd.Series) -> None:
    """Say what most likely is no category, unless pandas was told that it is."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return
    words = column[column.notna()].astype(str)
    count, values, hint = len(words), words.nunique(), _numbers_in(words)
    if hint or values > max(_MOST_CLASSES, count / 2):
        warnings.warn(
            f"the column {str(column.name)!r} is taken for categories, of which it has {values} in {count} rows"
            f"{hint or '; a name or a date tells nothing about other rows: leave it out of the features'}",
            stacklevel=4,
        )


def _numbers_in(words: pd.Series) -> str:
    """What to do about words most of which are numbers; nothing about others."""
    other = words[pd.to_numeric(words.str.replace(",", ".", regex=False), errors="coerce").isna()]
    if not len(words) or len(other) > len(words) / 2:
        return ""
    example = (other if len(other) else words).iloc[0]
    return (
        f"; most are numbers: if they are quantities, make it numeric (what is read as text is {example!r}), with "
        "missing values empty; if they are none, make it pandas' category"
    )


def kind_of(target: pd.Series) -> Kind:
    """Classification where the values are text, true/false, or at most 20 whole numbers."""
    if not _is_number(target):
        return "classification"
    whole = (target == target.round()).all()
    return "classification" if whole and target.nunique() <= _MOST_CLASSES else "regression"
