"""A table with words and holes as numbers with holes, learned from the rows that `fit` is given."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.preprocessing import OrdinalEncoder
from sklearn.utils.validation import check_array, validate_data

__all__ = ["TableEncoder"]


class TableEncoder:
    """Columns of a data frame that hold words (or categories) become the numbers of their values in sorted order.

    A value that was not there in `fit` is missing, as None and NaN are. Arrays and frames of numbers stay as they are.
    """

    def fit(self, owner: BaseEstimator, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray]:
        """The encoded rows, and the targets.

        Args:
            owner: the estimator that keeps the names and the number of the features.
            x: rows `[n, features]`.
            y: targets `[n]`.

        Raises:
            ValueError, TypeError: as scikit-learn has it for a table that is none.
        """
        self.words = _words(x)
        self.codes = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan
        )
        if not self.words:
            return validate_data(owner, x, y, dtype=np.float64, ensure_all_finite="allow-nan")
        validate_data(owner, x, y, skip_check_array=True)
        self.codes.fit(_as_words(x, self.words))
        return self._encoded(x), np.asarray(y)

    def transform(self, owner: BaseEstimator, x: Any) -> NDArray[np.float64]:
        """Further rows, encoded.

        Raises:
            ValueError, TypeError: they are not of the form of those in `fit`.
        """
        if not self.words:
            return validate_data(owner, x, reset=False, dtype=np.float64, ensure_all_finite="allow-nan")
        validate_data(owner, x, reset=False, skip_check_array=True)
        return self._encoded(x)

    def _encoded(self, x: pd.DataFrame) -> NDArray[np.float64]:
        numbers = x.drop(columns=self.words).astype(np.float64)
        coded = pd.DataFrame(self.codes.transform(_as_words(x, self.words)), columns=self.words, index=x.index)
        return check_array(pd.concat([numbers, coded], axis=1)[list(x.columns)], ensure_all_finite="allow-nan")


def _words(x: Any) -> list[str]:
    """The columns of a frame that do not hold numbers."""
    if not isinstance(x, pd.DataFrame):
        return []
    return list(x.columns.difference(x.select_dtypes(["number", "bool", "boolean"]).columns, sort=False))


def _as_words(x: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    words = x[columns].astype(object)
    return words.where(words.isna(), words.map(str)).where(words.notna(), np.nan)
