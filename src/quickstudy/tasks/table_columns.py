"""How the columns of a table become numbers: learned from some of its rows, and applied to any, now or later."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from quickstudy.rebuild import register
from quickstudy.tasks.table_file import check_columns
from quickstudy.tasks.table_target import MOST_CLASSES, is_number, numbers_in

__all__ = ["TableColumns"]

# A text with more values than this is a name or a date; the rarer ones share a column.
_MOST_VALUES = 101
_MISSING = "missing"


@register
class TableColumns:
    """Numbers are standardised, missing ones set to the median (with a column that says so, where some were missing);
    text becomes a column for each of its values.

    What scikit-learn's imputer, scaler and one-hot encoder learn is kept as plain numbers, so that it can be saved
    beside a learner without pickle, and read by another version. `learned` makes it.

    Args:
        numbers: for every column of numbers its `name`, the `median` that stands for what is missing, the `mean` and
            `std` by which it is standardised, and `missing`: None, or mean and std of the column that says so.
        words: for every other its `name`, the `values` that have a column each, and whether all others share one more
            (`others`); if not, they are zeros.
    """

    def __init__(self, numbers: list[dict[str, Any]], words: list[dict[str, Any]]) -> None:
        self.numbers, self.words = numbers, words

    @classmethod
    def learned(cls, frame: pd.DataFrame, training: NDArray[np.int64]) -> "TableColumns":
        """From the rows `training` of a table of features.

        Raises:
            ValueError: a number is not finite as float32.

        Warns:
            UserWarning: a column of words that most likely are no categories.
        """
        frame = _yes_and_no(frame)
        numbers = [str(column) for column in frame.select_dtypes("number").columns]
        words = [str(column) for column in frame.columns if column not in numbers]
        for name in words:
            _warn_of_words(frame[name])
        rows = frame.iloc[training]
        return cls(
            [_number(name, _quantities(frame, name)[training]) for name in numbers],
            [_word(name, _categories(rows, name)) for name in words],
        )

    @property
    def names(self) -> list[str]:
        """The columns that a table must have."""
        return [str(one["name"]) for one in (*self.numbers, *self.words)]

    def __call__(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """`[row, feature]`: first the numbers, then what says that they were missing, then the words.

        Raises:
            ValueError: a column is missing (the nearest name is suggested), or does not hold what it held.
        """
        check_columns(frame, {}, self.names)
        frame = _yes_and_no(frame)
        values, flags = [], []
        for one in self.numbers:
            column = _quantities(frame, one["name"])
            absent = np.isnan(column)
            if one["median"] is not None:  # without values it tells nothing
                values.append((np.where(absent, one["median"], column) - one["mean"]) / one["std"])
            if one["missing"] is not None:
                mean, std = one["missing"]
                flags.append((absent - mean) / std)
        shares = []
        for one in self.words:
            words = _categories(frame, one["name"])
            shares += [words == value for value in one["values"]]
            if one["others"]:
                shares.append(~np.isin(words, one["values"]))
        parts = [np.asarray(part, dtype=np.float64) for part in (*values, *flags, *shares)]
        return np.stack(parts, 1) if parts else np.zeros((len(frame), 0))


def _number(name: str, column: NDArray[np.float64]) -> dict[str, Any]:
    if np.isnan(column).all():  # that is all it can say, if elsewhere it is not empty
        return {"name": name, "median": None, "mean": None, "std": None, "missing": [1.0, 1.0]}
    pipeline = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    imputer, scaler = pipeline.fit(column[:, None]).named_steps.values()
    moments = list(zip(scaler.mean_.tolist(), scaler.scale_.tolist(), strict=True))
    (mean, std), missing = moments[0], list(moments[1]) if len(moments) > 1 else None
    return {"name": name, "median": float(imputer.statistics_[0]), "mean": mean, "std": std, "missing": missing}


def _word(name: str, column: NDArray[np.object_]) -> dict[str, Any]:
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=_MOST_VALUES, sparse_output=False)
    encoder.fit(column[:, None])
    rare = encoder.infrequent_categories_[0]
    kept = [value for value in encoder.categories_[0] if rare is None or value not in rare]
    return {"name": name, "values": [str(value) for value in kept], "others": rare is not None}


def _yes_and_no(frame: pd.DataFrame) -> pd.DataFrame:
    """Yes and no as numbers; pandas has two kinds, one of which knows missing values."""
    return frame.astype(dict.fromkeys(frame.select_dtypes(["bool", "boolean"]).columns, "Float64"))


def _quantities(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A column of numbers; missing is NaN."""
    try:
        column = pd.to_numeric(frame[name]).to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the column {name!r} of the features held numbers, but now does not: {error}") from error
    # What is beyond float32 would be infinite to a learner.
    if (np.abs(column) > np.finfo(np.float32).max).any():
        raise ValueError(f"the column {name!r} of the features has a value that is not finite as float32")
    return column


def _categories(frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    """A column of words; to be missing is a word too."""
    column = frame[name].astype(object)
    if is_number(frame[name]):  # words among which the numbers are left: as they were written
        column = column.map("{:.15g}".format, na_action="ignore")
    return column.where(frame[name].notna(), _MISSING).astype(str).to_numpy(object)


def _warn_of_words(column: pd.Series) -> None:
    """Say what most likely is no category, unless pandas was told that it is."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return
    words = column[column.notna()].astype(str)
    count, values, hint = len(words), words.nunique(), numbers_in(words)
    if hint or values > max(MOST_CLASSES, count / 2):
        warnings.warn(
            f"the column {str(column.name)!r} is taken for categories, of which it has {values} in {count} rows"
            f"{hint or '; a name or a date tells nothing about other rows: leave it out of the features'}",
            stacklevel=4,
        )
