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
from quickstudy.tasks.table_target import MOST_CLASSES, numbers_in, quantities, words

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
        frame = frame.rename(columns=str)
        numbers = list(frame.select_dtypes(["number", "bool", "boolean"]).columns)
        texts = [column for column in frame.columns if column not in numbers]
        for name in texts:
            _warn_of_words(frame[name])
        rows = frame.iloc[training]
        return cls(
            [_number(name, _quantities(frame, name)[training]) for name in numbers],
            [_word(name, _categories(rows, name)) for name in texts],
        )

    @property
    def names(self) -> list[str]:
        """The columns that a table must have."""
        return [str(one["name"]) for one in (*self.numbers, *self.words)]

    def __call__(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """`[row, feature]`: first the numbers, then what says that they were missing, then the words.

        Raises:
            ValueError: a column is missing (the nearest name is suggested), or does not hold numbers as it did.

        Warns:
            UserWarning: no value of a column of words was there when it was learned.
        """
        frame = frame.rename(columns=str)
        check_columns(frame, {}, self.names)
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
            texts = _categories(frame, one["name"])
            known = [texts == value for value in one["values"]]
            other = ~np.any(known, axis=0)
            # Where others share a column, a word may have been there and been rare.
            if not one["others"] and other.any() and (other | (texts == _MISSING)).all():
                warnings.warn(
                    f"no value of the column {one['name']!r}, such as {texts[other][0]!r}, was there when it was "
                    f"learned; there were {', '.join(one['values'][:20])}",
                    stacklevel=3,
                )
            shares += [*known, other] if one["others"] else known
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
    others = frozenset() if rare is None else frozenset(rare)
    kept = [str(value) for value in encoder.categories_[0] if value not in others]
    return {"name": name, "values": kept, "others": rare is not None}


def _quantities(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    column = quantities(frame[name], f"the column {name!r} of the features")
    # What is beyond float32 would be infinite to a learner.
    if (np.abs(column) > np.finfo(np.float32).max).any():
        raise ValueError(f"the column {name!r} of the features has a value that is not finite as float32")
    return column


def _categories(frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    """A column of words; to be missing is a word too."""
    column = words(frame[name])
    column[pd.isna(column)] = _MISSING
    return column


def _warn_of_words(column: pd.Series) -> None:
    """Say what most likely is no category, unless pandas was told that it is."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return
    texts = column[column.notna()].astype(str)
    count, values, hint = len(texts), texts.nunique(), numbers_in(texts)
    if hint or values > max(MOST_CLASSES, count / 2):
        warnings.warn(
            f"the column {str(column.name)!r} is taken for categories, of which it has {values} in {count} rows"
            f"{hint or '; a name or a date tells nothing about other rows: leave it out of the features'}",
            stacklevel=4,
        )
