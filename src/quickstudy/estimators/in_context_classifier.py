"""Classification of tables by a transformer that has learned to learn them: `fit` reads, `predict` asks.

Several readings of the same table are averaged, since the network knows columns by their place and classes by their
number, which mean nothing: each reading puts both in another order, and reads other rows when there are too many.

Hollmann, Müller, Eggensperger & Hutter, "TabPFN", ICLR 2023.
"""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.feature_selection import f_classif
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from quickstudy.estimators.in_context_estimator import InContextEstimator

__all__ = ["InContextClassifier"]


class InContextClassifier(ClassifierMixin, InContextEstimator):
    """A scikit-learn classifier without training: the support set is the table that `fit` is given.

    Missing values may be NaN; columns of words in a data frame are categories. A table with more columns than the
    network was trained for is read by those that tell most of the class one by one (the largest F of a one-way
    analysis of variance); more classes are refused. For probabilities to be the same however rows are asked together,
    everything is computed in float64.

    Args:
        weights: a file that `quickstudy.save` wrote of an `InContextTransformer` on a `TableNetwork`, as a run of
            `tabular-prior` leaves in its folder; None for those that come with the package.
        readings: how many, averaged.
        most_rows: rows that one reading reads; of a longer table each reads a part drawn at random.
        random_state: of the orders and parts, as anywhere in scikit-learn.

    Attributes:
        classes_: labels of the classes.
        n_features_in_: columns of the table.
        columns_: those that are read.

    Raises:
        ValueError: in `fit`, more classes than the network has outputs, weights of something else, or a table that is
            none.
    """

    kind = "classification"
    default = "tabular_classifier.safetensors"

    def fit(self, X: Any, y: Any) -> "InContextClassifier":  # noqa: N803 - scikit-learn's name
        """Read the table: X `[n, features]`, y `[n]` labels of any kind."""
        x, y = self._begin(X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        number, ways = len(self.classes_), self.learner_.likelihood.outputs
        if number > ways:
            raise ValueError(f"y has {number} classes, but the network was trained for up to {ways}")
        generator = check_random_state(self.random_state)
        x = self._orders(x, codes, _analysis_of_variance, generator)
        # What each class is called in each reading.
        self.labels_ = np.stack([generator.permutation(number) for _ in range(self.readings)])
        rows = np.stack([_some(codes, self.most_rows, generator) for _ in range(self.readings)])
        targets = np.take_along_axis(self.labels_, codes[rows], 1)
        self._read(x, rows, targets, torch.ones(self.readings, number, dtype=torch.bool))
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities `[n, class]` in the order of `classes_`: the mean over readings."""
        probs = self._ask(X, lambda prediction: prediction.probs)
        found = np.take_along_axis(probs, self.labels_[:, None], 2).mean(0)
        return found / found.sum(1, keepdims=True)

    def predict(self, X: Any) -> NDArray:  # noqa: N803
        """The most probable label of each row."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]


def _analysis_of_variance(x: NDArray[np.float64], codes: NDArray) -> NDArray[np.float64]:
    """F of every column, without scikit-learn's word on columns that are constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return f_classif(x, codes)[0]


def _some(codes: NDArray[np.int64], most: int, generator: np.random.RandomState) -> NDArray[np.int64]:
    """Rows to read, at random and, while there is room, one of every class at least."""
    if len(codes) <= most:
        return np.arange(len(codes))
    order = generator.permutation(len(codes))
    first = np.unique(codes[order], return_index=True)[1]
    return np.sort(np.concatenate([order[first], np.delete(order, first)])[:most])
