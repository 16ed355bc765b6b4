"""Learners with the face of scikit-learn: `fit` adapts to a table, `predict` asks about rows."""

from quickstudy.estimators.in_context_classifier import InContextClassifier

__all__ = ["InContextClassifier"]
