"""Learners with the face of scikit-learn: `fit` adapts to a table, `predict` asks about rows."""

from quickstudy.estimators.in_context_classifier import InContextClassifier
from quickstudy.estimators.in_context_regressor import InContextRegressor

__all__ = ["InContextClassifier", "InContextRegressor"]
