"""Regression of tables by a transformer that has learned to learn them: `fit` reads, `predict` asks.

Müller et al., "Transformers Can Do Bayesian Inference", ICLR 2022.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.feature_selection import r_regression
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from quickstudy.estimators.in_context_estimator import InContextEstimator

__all__ = ["InContextRegressor"]


class InContextRegressor(RegressorMixin, InContextEstimator):
    """A scikit-learn regressor without training: the support set is the table that `fit` is given.

    As `InContextClassifier`; columns of a wide table are chosen by their correlation with the target, which is
    standardised by the table.

    Args:
        weights, readings, most_rows, random_state: as for `InContextClassifier`.

    Attributes:
        n_features_in_: columns of the table.
        columns_: those that are read.

    Raises:
        ValueError: in `fit`, weights of something else, or a table that is none.
    """

    kind = "regression"
    default = "tabular_regressor.safetensors"

    def fit(self, X: Any, y: Any) -> "InContextRegressor":  # noqa: N803 - scikit-learn's name
        """Read the table: X `[n, features]`, y `[n]` numbers."""
        x, y = self._begin(X, y)
        y = y.astype(np.float64)
        generator = check_random_state(self.random_state)
        x = self._orders(x, y, lambda x, y: np.abs(r_regression(x, y)), generator)
        self.mean_, spread = float(y.mean()), float(y.std())
        self.spread_ = spread if spread > 0 else 1.0
        most = min(len(y), self.most_rows)
        rows = np.stack([np.sort(generator.permutation(len(y))[:most]) for _ in range(self.readings)])
        self._read(x, rows, ((y - self.mean_) / self.spread_)[rows], None)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The mean of the predictive distribution of each row, averaged over readings."""
        check_is_fitted(self)
        return self.mean_ + self.spread_ * self._ask(X, lambda prediction: prediction.mean).mean(0)
